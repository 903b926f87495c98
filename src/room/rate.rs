//! A room's sampling rate: the highest that a codec in use needs, or a fixed one.
//!
//! A rise takes effect with the next tick. A fall waits, so that a leg that comes and goes does not make the room
//! change its rate each time.

use crate::frame::Rate;

/// How long a lower rate must have sufficed before the room falls to it: 10 s.
const FALL_TICKS: u32 = 500;

#[derive(Debug, Clone)]
pub struct RoomRate {
    fixed: Option<Rate>,
    current: Rate,
    /// The highest rate needed since the current one was last needed, and for how long.
    lower: Rate,
    lower_ticks: u32,
}

impl RoomRate {
    pub fn new(fixed: Option<Rate>) -> RoomRate {
        RoomRate {
            fixed,
            current: fixed.unwrap_or(Rate::Hz8000),
            lower: Rate::Hz8000,
            lower_ticks: 0,
        }
    }

    pub fn fix(&mut self, fixed: Option<Rate>) {
        self.fixed = fixed;
        if let Some(rate) = fixed {
            self.current = rate;
        }
        self.lower_ticks = 0;
    }

    pub fn current(&self) -> Rate {
        self.current
    }

    /// Told once a tick what the codecs in use need.
    pub fn need(&mut self, needed: Rate) {
        if self.fixed.is_some() {
            return;
        }
        if needed >= self.current {
            self.current = needed;
            self.lower_ticks = 0;
            self.lower = Rate::Hz8000;
            return;
        }
        self.lower = self.lower.max(needed);
        self.lower_ticks += 1;
        if self.lower_ticks >= FALL_TICKS {
            self.current = self.lower;
            self.lower = Rate::Hz8000;
            self.lower_ticks = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_immediate_and_a_fall_takes_ten_seconds_of_no_need() {
        let mut rate = RoomRate::new(None);
        rate.need(Rate::Hz48000);
        assert_eq!(rate.current(), Rate::Hz48000);
        for _ in 0..FALL_TICKS - 1 {
            rate.need(Rate::Hz8000);
            assert_eq!(rate.current(), Rate::Hz48000);
        }
        rate.need(Rate::Hz8000);
        assert_eq!(rate.current(), Rate::Hz8000);
    }

    #[test]
    fn a_fall_goes_to_the_highest_rate_that_was_needed_meanwhile() {
        let mut rate = RoomRate::new(None);
        rate.need(Rate::Hz48000);
        for tick in 0..FALL_TICKS {
            rate.need(if tick == 3 { Rate::Hz16000 } else { Rate::Hz8000 });
        }
        assert_eq!(rate.current(), Rate::Hz16000);
    }

    #[test]
    fn a_fixed_rate_neither_rises_nor_falls() {
        let mut rate = RoomRate::new(Some(Rate::Hz16000));
        for _ in 0..2 * FALL_TICKS {
            rate.need(Rate::Hz48000);
            assert_eq!(rate.current(), Rate::Hz16000);
        }
    }
}
