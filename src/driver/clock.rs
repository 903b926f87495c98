//! The one place that reads the real clock. The engines' time is CLOCK_MONOTONIC since the daemon's start.

use std::time::{Duration, SystemTime};

use crate::rtp::ntp::WallClock;
use crate::time::Time;

/// The zero of the engines' time, as the two system clocks see it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin_nanos: u64,
    started: SystemTime,
    /// What it shows where a test turns it.
    #[cfg(test)]
    hand: Option<Hand>,
}

/// Turns a clock that does not run by itself.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub struct Hand(&'static std::sync::atomic::AtomicU64);

#[cfg(test)]
impl Hand {
    /// Never back.
    pub fn turn_to(&self, time: Time) {
        self.0
            .fetch_max(time.as_nanos(), std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock {
    pub fn start() -> Clock {
        Clock {
            origin_nanos: read(libc::CLOCK_MONOTONIC),
            started: SystemTime::now(),
            #[cfg(test)]
            hand: None,
        }
    }

    /// A clock that stands still until its hand is turned.
    #[cfg(test)]
    pub fn by_hand() -> (Clock, Hand) {
        let hand = Hand(Box::leak(Box::default()));
        let clock = Clock {
            hand: Some(hand),
            ..Clock::start()
        };
        (clock, hand)
    }

    pub fn now(&self) -> Time {
        #[cfg(test)]
        if let Some(Hand(nanos)) = self.hand {
            return Time::from_nanos(nanos.load(std::sync::atomic::Ordering::Relaxed));
        }
        Time::from_nanos(read(libc::CLOCK_MONOTONIC) - self.origin_nanos)
    }

    /// The wall clock at a time of the engines, as it ran when the daemon started: later steps of the wall clock
    /// do not move what was said before.
    pub fn wall_clock(&self, time: Time) -> SystemTime {
        self.started + Duration::from_nanos(time.as_nanos())
    }

    /// The same for the engines, which have no calendar.
    pub fn ntp(&self) -> WallClock {
        let elapsed = self.started.duration_since(SystemTime::UNIX_EPOCH);
        WallClock::after_unix_epoch(elapsed.unwrap_or(Duration::ZERO))
    }

    /// What to add to a CLOCK_REALTIME stamp of the kernel to get the engines' time; read anew each tick, because
    /// the wall clock may step.
    pub fn from_realtime(&self) -> i64 {
        let realtime = read(libc::CLOCK_REALTIME) as i64;
        self.now().as_nanos() as i64 - realtime
    }

    /// Sleeps until `due`; returns at once when it has passed.
    pub fn sleep_until(&self, due: Time) {
        let nanos = self.origin_nanos + due.as_nanos();
        let until = libc::timespec {
            tv_sec: (nanos / 1_000_000_000) as libc::time_t,
            tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
        };
        loop {
            // SAFETY: `until` is a valid timespec that outlives the call; no remainder is asked for.
            let result = unsafe {
                libc::clock_nanosleep(
                    libc::CLOCK_MONOTONIC,
                    libc::TIMER_ABSTIME,
                    &raw const until,
                    std::ptr::null_mut(),
                )
            };
            if result != libc::EINTR {
                return;
            }
        }
    }
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
