//! The one place that reads the real clock. The engines' time is CLOCK_MONOTONIC since the daemon's start.

use std::time::{Duration, SystemTime};

use crate::rtp::ntp::WallClock;
use crate::time::Time;

/// The zero of the engines' time, as the two system clocks see it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin_nanos: u64,
    started: SystemTime,
}

impl Clock {
    pub fn start() -> Clock {
        Clock {
            origin_nanos: read(libc::CLOCK_MONOTONIC),
            started: SystemTime::now(),
        }
    }

    pub fn now(&self) -> Time {
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

/// Processor time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(read(libc::CLOCK_THREAD_CPUTIME_ID))
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to; these clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
