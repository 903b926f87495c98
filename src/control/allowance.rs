//! A bucket of one second's share that fills evenly: so much at once, and as much each second.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Full at first use. The rate is told with each use, so that it may change in between.
#[derive(Debug, Default)]
pub struct Allowance(Mutex<Option<(Instant, f64)>>);

impl Allowance {
    /// Takes one of `per_s` a second; false where there is none left.
    pub fn take(&self, per_s: u32, now: Instant) -> bool {
        self.spend(per_s, now, 1.0)
    }

    /// Whether one could be taken.
    pub fn has(&self, per_s: u32, now: Instant) -> bool {
        self.left(per_s, now) >= 1.0
    }

    fn spend(&self, per_s: u32, now: Instant, share: f64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let available = refilled(*state, per_s, now);
        let granted = available >= share;
        *state = Some((now, if granted { available - share } else { available }));
        granted
    }

    fn left(&self, per_s: u32, now: Instant) -> f64 {
        refilled(*self.0.lock().unwrap_or_else(PoisonError::into_inner), per_s, now)
    }
}

fn refilled(state: Option<(Instant, f64)>, per_s: u32, now: Instant) -> f64 {
    let (since, left) = state.unwrap_or((now, f64::from(per_s)));
    let refilled = left + now.saturating_duration_since(since).as_secs_f64() * f64::from(per_s);
    refilled.min(f64::from(per_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_of_it_can_be_had_at_once_and_the_rest_comes_with_time() {
        let allowance = Allowance::default();
        let start = Instant::now();
        let granted = (0..200).filter(|_| allowance.take(100, start)).count();
        assert_eq!(granted, 100);
        assert!(!allowance.has(100, start));
        let later = start + Duration::from_millis(100);
        assert!(allowance.has(100, later));
        assert_eq!((0..200).filter(|_| allowance.take(100, later)).count(), 10);
        let much_later = start + Duration::from_secs(100);
        assert_eq!((0..200).filter(|_| allowance.take(100, much_later)).count(), 100);
    }

    #[test]
    fn another_rate_holds_from_its_first_use_on() {
        let allowance = Allowance::default();
        let start = Instant::now();
        assert_eq!((0..9).filter(|_| allowance.take(5, start)).count(), 5);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..9).filter(|_| allowance.take(2, later)).count(), 2);
    }
}
