//! Who was in the room while it was recorded: notes by tick, turned into wall-clock times for the receipt.
//! Bounded: what goes beyond is left out of the receipt, the recording goes on.

use super::receipt::{Anchor, Attendee, Span, rfc3339};
use crate::time::Tick;

/// Stays in one receipt.
const STAYS_MAX: usize = 10_000;

/// Muted spans of one stay.
const MUTED_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub struct Attendance(Vec<Stay>);

#[derive(Debug)]
struct Stay {
    call_id: String,
    cli: Option<String>,
    span: TickSpan,
    muted: Vec<TickSpan>,
}

#[derive(Debug, Clone, Copy)]
struct TickSpan {
    from: Tick,
    to: Option<Tick>,
}

impl Attendance {
    pub fn joined(&mut self, call_id: &str, cli: Option<&str>, tick: Tick) {
        if self.0.len() < STAYS_MAX && self.present(call_id).is_none() {
            self.0.push(Stay {
                call_id: call_id.to_owned(),
                cli: cli.map(str::to_owned),
                span: TickSpan { from: tick, to: None },
                muted: Vec::new(),
            });
        }
    }

    pub fn left(&mut self, call_id: &str, tick: Tick) {
        self.unmuted(call_id, tick);
        if let Some(stay) = self.present(call_id) {
            stay.span.to = Some(tick);
        }
    }

    pub fn muted(&mut self, call_id: &str, tick: Tick) {
        if let Some(stay) = self.present(call_id)
            && stay.muted.len() < MUTED_MAX
            && stay.muted.last().is_none_or(|muted| muted.to.is_some())
        {
            stay.muted.push(TickSpan { from: tick, to: None });
        }
    }

    pub fn unmuted(&mut self, call_id: &str, tick: Tick) {
        if let Some(stay) = self.present(call_id)
            && let Some(muted) = stay.muted.last_mut()
            && muted.to.is_none()
        {
            muted.to = Some(tick);
        }
    }

    pub fn by_wall_clock(&self, anchor: &Anchor) -> Vec<Attendee> {
        let wall_clock = |tick| rfc3339(anchor.wall_clock(tick));
        let told = |span: &TickSpan| Span {
            from: wall_clock(span.from),
            to: span.to.map(wall_clock),
        };
        let attendee = |stay: &Stay| Attendee {
            call_id: stay.call_id.clone(),
            cli: stay.cli.clone(),
            stay: told(&stay.span),
            muted: stay.muted.iter().map(told).collect(),
        };
        self.0.iter().map(attendee).collect()
    }

    /// The stay of a leg that is in the room now.
    fn present(&mut self, call_id: &str) -> Option<&mut Stay> {
        self.0
            .iter_mut()
            .rev()
            .find(|stay| stay.span.to.is_none() && stay.call_id == call_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(attendance: &Attendance) -> Vec<String> {
        let anchor = Anchor {
            tick: Tick(0),
            at: "2026-01-02T03:04:00Z".parse().expect("a valid time"),
        };
        let span = |span: &Span| {
            let seconds = |time: &str| time[17..23].to_owned();
            format!(
                "{}-{}",
                seconds(&span.from),
                span.to.as_deref().map_or("".to_owned(), seconds)
            )
        };
        let attendee = |a: &Attendee| {
            let muted: Vec<_> = a.muted.iter().map(span).collect();
            format!("{} {} [{}]", a.call_id, span(&a.stay), muted.join(","))
        };
        attendance.by_wall_clock(&anchor).iter().map(attendee).collect()
    }

    #[test]
    fn a_leg_that_comes_back_has_two_stays() {
        let mut attendance = Attendance::default();
        attendance.joined("a", Some("+46"), Tick(0));
        attendance.joined("b", None, Tick(50));
        attendance.left("a", Tick(100));
        attendance.joined("a", None, Tick(150));
        assert_eq!(
            told(&attendance),
            ["a 00.000-02.000 []", "b 01.000- []", "a 03.000- []"]
        );
    }

    #[test]
    fn muted_spans_end_with_the_unmute_or_with_the_stay() {
        let mut attendance = Attendance::default();
        attendance.joined("a", None, Tick(0));
        attendance.muted("a", Tick(50));
        attendance.muted("a", Tick(60));
        attendance.unmuted("a", Tick(100));
        attendance.unmuted("a", Tick(110));
        attendance.muted("a", Tick(150));
        attendance.left("a", Tick(200));
        attendance.muted("a", Tick(250));
        attendance.muted("stranger", Tick(250));
        assert_eq!(
            told(&attendance),
            ["a 00.000-04.000 [01.000-02.000,03.000-04.000]"]
        );
    }

    #[test]
    fn joining_twice_is_one_stay_and_the_list_is_bounded() {
        let mut attendance = Attendance::default();
        attendance.joined("a", None, Tick(0));
        attendance.joined("a", None, Tick(9));
        assert_eq!(told(&attendance), ["a 00.000- []"]);
        for tick in 0..STAYS_MAX as u64 + 10 {
            attendance.joined("b", None, Tick(tick));
            attendance.left("b", Tick(tick));
        }
        assert_eq!(attendance.0.len(), STAYS_MAX);
        for tick in 0..MUTED_MAX as u64 + 10 {
            attendance.muted("a", Tick(tick));
            attendance.unmuted("a", Tick(tick));
        }
        assert_eq!(attendance.0[0].muted.len(), MUTED_MAX);
    }
}
