//! The only time types of the core. Time is an argument everywhere: one file of the shell
//! (`driver/clock.rs`) reads the real clock, a simulation makes it up.

use std::ops::Add;
use std::time::Duration;

/// One step of every room.
pub const TICK: Duration = Duration::from_millis(20);

/// Rooms are spread over this many phases of the tick, so that neither CPU nor network sees bursts.
pub const PHASES: usize = 4;

/// Monotonic time since the daemon's start, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(u64);

impl Time {
    pub const ZERO: Time = Time(0);

    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    pub const fn from_millis(millis: u64) -> Time {
        Time(millis * 1_000_000)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// The number of a 20 ms step, counted from the daemon's start and the same for all engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// When the given phase of this tick is due.
    pub const fn due(self, phase: usize) -> Time {
        let step = TICK.as_nanos() as u64;
        Time(self.0 * step + phase as u64 * (step / PHASES as u64))
    }

    pub const fn next(self) -> Tick {
        Tick(self.0 + 1)
    }
}
