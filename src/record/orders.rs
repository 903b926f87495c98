//! What was ordered of a running recording, by tick: pauses, the end, who is in the room. The control plane writes it,
//! the take reads it each round; nothing is carried out here.

use super::attendance::Attendance;
use crate::time::Tick;

/// Pauses of one recording.
pub const PAUSES_MAX: usize = 1_000;

/// What the control plane wants of a running recording, and what it may see of it. Held for moments only.
#[derive(Debug, Default)]
pub struct Orders {
    pub(super) pauses: Vec<Pause>,
    pub(super) end: Option<End>,
    pub attendance: Attendance,
    /// Size of the file now.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub from: Tick,
    /// The first tick with sound again.
    pub to: Option<Tick>,
}

/// Where a recording shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this tick.
    After(Tick),
    /// With the last frame that was in the queue when the end was ordered.
    WithWhatCame,
}

/// More pauses than a recording can have.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyPauses;

impl Orders {
    /// Of a recording that begins with a file of `bytes`.
    pub fn new(bytes: u64) -> Orders {
        Orders {
            bytes,
            ..Orders::default()
        }
    }

    /// Silence from `tick` on; nothing new while paused.
    pub fn pause(&mut self, tick: Tick) -> Result<(), TooManyPauses> {
        let from = match self.pauses.last() {
            Some(Pause { to: None, .. }) => return Ok(()),
            // Spans follow each other, also if the caller's ticks go back.
            Some(Pause { to: Some(to), .. }) => tick.max(*to),
            None => tick,
        };
        if self.pauses.len() == PAUSES_MAX {
            return Err(TooManyPauses);
        }
        self.pauses.push(Pause { from, to: None });
        Ok(())
    }

    /// Sound from `tick` on; nothing new while not paused.
    pub fn resume(&mut self, tick: Tick) {
        if let Some(pause) = self.pauses.last_mut()
            && pause.to.is_none()
        {
            pause.to = Some(tick.max(pause.from));
        }
    }

    /// The first order counts.
    pub fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    pub fn paused(&self) -> bool {
        self.pauses.last().is_some_and(|pause| pause.to.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_idempotent_and_bounded() {
        let mut orders = Orders::default();
        orders.resume(Tick(1));
        for tick in 0..PAUSES_MAX as u64 {
            assert_eq!(orders.pause(Tick(tick)), Ok(()));
            assert_eq!(orders.pause(Tick(tick)), Ok(()));
            assert!(orders.paused());
            orders.resume(Tick(tick));
            orders.resume(Tick(tick));
            assert!(!orders.paused());
        }
        assert_eq!(orders.pauses.len(), PAUSES_MAX);
        assert_eq!(orders.pause(Tick(9_999)), Err(TooManyPauses));
    }
}
