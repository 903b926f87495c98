//! Reports of legs while they live: one after the other all the time, so that each is told of once in an interval and
//! never all at once.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::Inner;
use crate::control::ids::CallId;
use crate::control::state::{Place, State};
use crate::control::views::interim_report;
use crate::driver::Command;
use crate::engine;
use crate::id::LegId;
use crate::leg::LegReport;

/// Requests of this number are nobody's: the report is told as an event.
pub(super) const FOR_ALL: u64 = u64::MAX;

/// No more legs are asked at a time, however late it is.
const AT_A_TIME: usize = 32;

/// Whose turn it is. What was missed while the daemon was held up is not made up for.
#[derive(Debug, Default)]
pub struct Rounds {
    last: Option<CallId>,
    at: Option<Instant>,
    /// Legs that are due; below one between two of them.
    due: f64,
    /// Turns that were passed over because a queue was full.
    pub passed_over: u64,
}

impl Rounds {
    /// The legs whose turn has come, where each has one in `interval`.
    pub fn next<V>(
        &mut self,
        legs: &BTreeMap<CallId, V>,
        now: Instant,
        interval: Option<Duration>,
    ) -> Vec<CallId> {
        let since = self
            .at
            .replace(now)
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let Some(interval) = interval.filter(|_| !legs.is_empty()) else {
            self.due = 0.0;
            return Vec::new();
        };
        let most = legs.len().min(AT_A_TIME) as f64;
        self.due = (self.due + legs.len() as f64 * since.as_secs_f64() / interval.as_secs_f64()).min(most);
        let count = self.due as usize;
        self.due -= count as f64;
        let mut turns = Vec::with_capacity(count);
        while turns.len() < count {
            let behind = match &self.last {
                Some(last) => (Bound::Excluded(last), Bound::Unbounded),
                None => (Bound::Unbounded, Bound::Unbounded),
            };
            let next = legs
                .range::<CallId, _>(behind)
                .next()
                .or_else(|| legs.iter().next());
            let Some((call, _)) = next else { break };
            self.last = Some(call.clone());
            turns.push(call.clone());
        }
        turns
    }
}

impl Inner {
    /// Asks for the reports that are due.
    pub(super) fn ask_for_reports(&self, now: Instant) {
        let stretch = self.overload.report_stretch();
        let interval = self.config.events.report_interval;
        let mut guard = self.state();
        let state = &mut *guard;
        let turns = state
            .reports
            .next(&state.legs, now, interval.map(|interval| interval * stretch));
        for call in turns {
            let Some(leg) = state
                .legs
                .get(&call)
                .filter(|leg| leg.has_joined && leg.motion.is_none())
            else {
                continue;
            };
            let Place { engine, slot, .. } = leg.place;
            let command = engine::Command::ReportLeg {
                leg: slot,
                request: FOR_ALL,
                report: Box::<LegReport>::default(),
            };
            // Where the queue is full the leg's next turn has to do.
            let is_asked = self.send(state, engine, vec![Command::Engine(command)]).is_ok();
            state.reports.passed_over += u64::from(!is_asked);
        }
    }

    /// Tells what an engine said of a leg whose turn it was.
    pub(super) fn tell_report(&self, state: &mut State, engine: usize, slot: LegId, report: &LegReport) {
        let Some(call) = state.leg_at(engine, slot) else {
            return;
        };
        if let Some(leg) = state.legs.get(&call).filter(|leg| leg.has_joined) {
            let fields = interim_report(leg, report);
            self.tell_of_leg(state, &call, "leg.report", fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legs(names: &[&str]) -> BTreeMap<CallId, ()> {
        names
            .iter()
            .map(|name| (CallId::parse(name).unwrap(), ()))
            .collect()
    }

    fn minutes(rounds: &mut Rounds, legs: &BTreeMap<CallId, ()>, from: Instant, seconds: u64) -> Vec<String> {
        let interval = Some(Duration::from_secs(60));
        let times = (0..seconds * 100).map(|hundredth| from + Duration::from_millis(10 * hundredth));
        times
            .flat_map(|now| {
                let turns = rounds.next(legs, now, interval);
                assert!(turns.len() <= 1, "never many at once");
                turns
            })
            .map(|call| call.to_string())
            .collect()
    }

    #[test]
    fn each_leg_has_its_turn_once_in_an_interval_and_they_are_spread_over_it() {
        let mut rounds = Rounds::default();
        let begun = Instant::now();
        let three = legs(&["a", "b", "c"]);
        assert_eq!(
            minutes(&mut rounds, &three, begun, 121),
            ["a", "b", "c", "a", "b", "c"]
        );
        // One has gone, one has come.
        let other = legs(&["b", "c", "d"]);
        let later = begun + Duration::from_secs(121);
        assert_eq!(minutes(&mut rounds, &other, later, 60), ["d", "b", "c"]);
    }

    #[test]
    fn after_a_stand_still_no_flood_of_reports_is_asked_for() {
        let names: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut rounds, legs, begun) = (Rounds::default(), legs(&names), Instant::now());
        let minute = Some(Duration::from_secs(60));
        assert!(rounds.next(&legs, begun, minute).is_empty());
        let an_hour_later = begun + Duration::from_secs(3_600);
        assert_eq!(rounds.next(&legs, an_hour_later, minute).len(), AT_A_TIME);
        assert!(rounds.next(&legs, an_hour_later, minute).is_empty());
        assert!(
            rounds
                .next(&legs, an_hour_later + Duration::from_secs(9), None)
                .is_empty()
        );
    }
}
