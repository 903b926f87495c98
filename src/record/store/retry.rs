//! When to try again after a failure, and how long to wait for an answer.

use std::time::Duration;

use fastrand::Rng;

use super::answer::{Reason, Refusal};

/// Doublings of the patience. Six let a part of 5 MiB through at 1 KB/s.
const PATIENCE_LEVELS: u32 = 6;

/// The times of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tempo {
    /// Before the second try.
    pub back_off_min: Duration,
    /// Between tries, whatever comes.
    pub back_off_max: Duration,
    /// Between tries that somebody has to make possible first.
    pub back_off_lasting_max: Duration,
    /// For a call without a body.
    pub patience: Duration,
    /// On top for each byte of the body, until a time-out doubles it all.
    pub bytes_per_s: u64,
}

impl Default for Tempo {
    fn default() -> Tempo {
        Tempo {
            back_off_min: Duration::from_millis(500),
            back_off_max: Duration::from_secs(60),
            back_off_lasting_max: Duration::from_secs(300),
            patience: Duration::from_secs(30),
            bytes_per_s: 64 * 1024,
        }
    }
}

/// Successes after which the patience is halved again.
const SUCCESSES_A_LEVEL: u32 = 4;

pub struct Retry {
    tempo: Tempo,
    rng: Rng,
    /// In a row.
    failures: u32,
    not_before: Duration,
    patience_level: u32,
    /// Since the patience last changed.
    successes: u32,
    last: Option<Refusal>,
    /// Times that everything had to be sent anew.
    restarts: u32,
    /// Why, the last time.
    setback: Option<Refusal>,
}

impl Retry {
    pub fn new(tempo: Tempo, seed: u64) -> Retry {
        Retry {
            tempo,
            rng: Rng::with_seed(seed),
            failures: 0,
            not_before: Duration::ZERO,
            patience_level: 0,
            successes: 0,
            last: None,
            restarts: 0,
            setback: None,
        }
    }

    pub fn failed(&mut self, now: Duration, refusal: Refusal) {
        let most = match refusal.reason.is_lasting() {
            true => self.tempo.back_off_lasting_max,
            false => self.tempo.back_off_max,
        };
        self.not_before = now + self.back_off(self.failures, most);
        self.failures = self.failures.saturating_add(1);
        match refusal.reason {
            // Slow, or gone: only waiting longer can tell.
            Reason::TimedOut => self.patience_level = (self.patience_level + 1).min(PATIENCE_LEVELS),
            // An answer of any kind: it is not slow.
            reason if reason.is_certain() => self.patience_level = 0,
            _ => {}
        }
        self.last = Some(refusal);
    }

    /// `after`: failures before this one.
    fn back_off(&mut self, after: u32, most: Duration) -> Duration {
        let doubled = self.tempo.back_off_min.saturating_mul(1 << after.min(20));
        // Half of it by chance, so that those who failed together do not come back together.
        doubled.min(most).mul_f64(0.5 + 0.5 * self.rng.f64())
    }

    /// All that was sent has come to nothing. What succeeds on the way to the same end again says nothing of the end,
    /// so that the waits grow, and the reason stays, until [`Retry::delivered`].
    pub fn set_back(&mut self, now: Duration, refusal: Refusal) {
        let wait = self.back_off(self.restarts, self.tempo.back_off_lasting_max);
        self.failed(now, refusal.clone());
        self.not_before = self.not_before.max(now + wait);
        self.setback = Some(refusal);
    }

    /// Counts one restart.
    pub fn began_anew(&mut self) {
        self.restarts = self.restarts.saturating_add(1);
    }

    pub fn delivered(&mut self) {
        self.restarts = 0;
        self.setback = None;
        self.last = None;
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.successes += 1;
        // A slow peer is still slow at the next part: one time-out in five parts, not one in two.
        if self.successes >= SUCCESSES_A_LEVEL {
            self.successes = 0;
            self.patience_level = self.patience_level.saturating_sub(1);
        }
        self.last = None;
    }

    pub fn not_before(&self) -> Duration {
        self.not_before
    }

    /// The last failure, until something succeeds; the last setback, until the delivery.
    pub fn last(&self) -> Option<&Refusal> {
        self.last.as_ref().or(self.setback.as_ref())
    }

    /// Calls have timed out lately, so that the next may take up to hours.
    pub fn is_patient(&self) -> bool {
        self.patience_level > 0
    }

    /// For a call with a body of so many bytes.
    pub fn patience(&self, bytes: u64) -> Duration {
        let base =
            self.tempo.patience + Duration::from_secs_f64(bytes as f64 / self.tempo.bytes_per_s as f64);
        base * (1 << self.patience_level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reason: Reason) -> Refusal {
        Refusal {
            reason,
            text: String::new(),
        }
    }

    /// Waits after failures of this kind, one after the other.
    fn waits(reason: Reason, failures: usize) -> Vec<Duration> {
        let mut retry = Retry::new(Tempo::default(), 7);
        let mut wait = || {
            retry.failed(Duration::ZERO, refusal(reason));
            retry.not_before()
        };
        (0..failures).map(|_| wait()).collect()
    }

    #[test]
    fn the_wait_doubles_to_a_minute_and_to_five_where_somebody_has_to_act() {
        for (reason, longest_s) in [(Reason::Busy, 60), (Reason::Denied, 300), (Reason::NoBucket, 300)] {
            let waits = waits(reason, 40);
            for (n, wait) in waits.iter().enumerate() {
                let full = (0.5 * 2f64.powi(n as i32)).min(longest_s as f64);
                let wait = wait.as_secs_f64();
                assert!(
                    wait <= full && wait >= full / 2.0,
                    "{reason:?} {n}: {wait} of {full}"
                );
            }
            assert_ne!(waits[30], waits[31], "by chance");
        }
    }

    #[test]
    fn a_success_begins_anew() {
        let mut retry = Retry::new(Tempo::default(), 7);
        (0..10).for_each(|_| retry.failed(Duration::ZERO, refusal(Reason::Busy)));
        assert!(retry.last().is_some());
        retry.succeeded();
        assert_eq!(retry.last(), None);
        retry.failed(Duration::ZERO, refusal(Reason::Busy));
        assert!(retry.not_before() <= Duration::from_millis(500));
    }

    #[test]
    fn setbacks_wait_longer_each_time_whatever_succeeds_between_them() {
        let mut retry = Retry::new(Tempo::default(), 7);
        let mut longest = Duration::ZERO;
        for n in 0..20 {
            retry.set_back(Duration::ZERO, refusal(Reason::BadPart));
            retry.began_anew();
            retry.succeeded();
            assert!(retry.last().is_some(), "it is still in the way");
            let full = (0.5 * 2f64.powi(n)).min(300.0);
            longest = longest.max(retry.not_before());
            assert!(retry.not_before().as_secs_f64() >= full / 2.0, "{n}");
        }
        assert!(longest <= Duration::from_secs(300));
        retry.delivered();
        assert_eq!(retry.last(), None);
    }

    #[test]
    fn patience_grows_until_one_kilobyte_a_second_gets_through_and_shrinks_slowly() {
        let mut retry = Retry::new(Tempo::default(), 7);
        let part = 5 << 20;
        assert_eq!(retry.patience(part), Duration::from_secs(110));
        for _ in 0..20 {
            retry.failed(Duration::ZERO, refusal(Reason::TimedOut));
        }
        assert!(retry.patience(part) > Duration::from_secs(part / 1_000));
        assert!(
            retry.patience(part) < Duration::from_secs(3 * 3_600),
            "a peer that is gone is left"
        );
        (0..3).for_each(|_| retry.succeeded());
        assert_eq!(retry.patience(0), Duration::from_secs(30 * 64));
        retry.succeeded();
        assert_eq!(retry.patience(0), Duration::from_secs(30 * 32));
        retry.failed(Duration::ZERO, refusal(Reason::Busy));
        assert_eq!(retry.patience(0), Duration::from_secs(30));
    }
}
