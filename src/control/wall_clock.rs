//! Notices when the wall clock is set: times in events and receipts before and after do not go together then.
//!
//! Nothing else depends on it: media, timeouts and limits go by the monotonic clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often the two clocks are compared.
const INTERVAL: Duration = Duration::from_secs(1);

/// A smaller difference between two looks is one of reading them: a busy machine holds up whoever looks.
const STEP_MIN_MS: u64 = 500;

/// Of this machine's one wall clock.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// How often it was set since the start.
pub fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed)
}

/// Says when the wall clock is set, and counts it.
pub async fn watch() {
    let start = Instant::now();
    let mut clocks = Clocks::default();
    let mut looks = tokio::time::interval(INTERVAL);
    loop {
        looks.tick().await;
        let monotonic = start.elapsed();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(step_ms) = clocks.look(monotonic, wall) {
            STEPS.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                step_ms,
                "the wall clock was set: times told before and after do not go together"
            );
        }
    }
}

/// How far the wall clock was ahead of the monotonic one at the last look.
#[derive(Debug, Default)]
struct Clocks {
    ahead_ms: Option<i128>,
}

impl Clocks {
    /// By how much the wall clock was set since the last look, in milliseconds.
    fn look(&mut self, monotonic: Duration, wall: Duration) -> Option<i64> {
        let ahead_ms = wall.as_millis() as i128 - monotonic.as_millis() as i128;
        let step = ahead_ms - self.ahead_ms.replace(ahead_ms)?;
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        (step.unsigned_abs() >= STEP_MIN_MS).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault row S2.
    #[test]
    fn a_wall_clock_that_is_set_is_noticed_once_and_one_that_drifts_is_not() {
        let mut clocks = Clocks::default();
        let mut look = |monotonic_s: u64, wall_ms: u64| {
            clocks.look(Duration::from_secs(monotonic_s), Duration::from_millis(wall_ms))
        };
        let begin = 1_700_000_000_000;
        assert_eq!(look(0, begin), None);
        assert_eq!(look(1, begin + 1_040), None, "a look that came late");
        assert_eq!(look(2, begin + 2_000 - 3_600_000), Some(-3_600_040));
        assert_eq!(look(3, begin + 3_000 - 3_600_000), None);
        assert_eq!(look(4, begin + 4_000 + 86_400_000), Some(90_000_000));
        assert_eq!(look(5, begin + 5_000 + 86_400_000), None);
        // The machine slept, and both clocks stood still or neither.
        assert_eq!(look(95, begin + 95_000 + 86_400_000), None);
    }
}
