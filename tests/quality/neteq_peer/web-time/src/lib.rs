//! In place of the crate `web-time`, so far as `neteq` uses it: a clock that stands until it is set.

use std::sync::atomic::{AtomicU64, Ordering};

pub use std::time::Duration;

static NOW_US: AtomicU64 = AtomicU64::new(0);

pub fn set(now: Duration) {
    NOW_US.store(now.as_micros() as u64, Ordering::Relaxed);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        Instant(Duration::from_micros(NOW_US.load(Ordering::Relaxed)))
    }

    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now().duration_since(*self)
    }

    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_add(duration).map(Instant)
    }
}
