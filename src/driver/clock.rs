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
        // By hand, what comes in comes when it is read: how long a test waited between the two is no jitter.
        #[cfg(test)]
        if self.hand.is_some() {
            return i64::MAX;
        }
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

/// From the wall clock's stamps to the engines' time, also where the wall clock was stepped between stamp and reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stamps {
    /// What to add to a stamp.
    offset: i64,
    /// The same before the last step, and until when stamps from before it may still come.
    before: Option<(i64, Time)>,
}

/// What two readings of the two clocks may differ by without a step: the thread may be held up between them.
const STEP_MIN_NANOS: u64 = 10_000_000;

/// So long after a step there may be datagrams that were stamped before it.
const OLD_STAMPS: Duration = Duration::from_secs(1);

impl Stamps {
    /// The two clocks were read anew.
    pub fn read(&mut self, from_realtime: i64, now: Time) {
        let is_first = self.offset == 0;
        if !is_first && self.offset.abs_diff(from_realtime) > STEP_MIN_NANOS {
            self.before = Some((self.offset, now + OLD_STAMPS));
        } else if self.before.is_some_and(|(_, until)| until < now) {
            self.before = None;
        }
        self.offset = from_realtime;
    }

    /// When the kernel took in what it stamped so: before now, and of two times that could be meant the later.
    pub fn arrival(&self, realtime_nanos: i64, now: Time) -> Time {
        let at = |offset: i64| u64::try_from(realtime_nanos.saturating_add(offset)).unwrap_or(0);
        let latest = now.as_nanos();
        let before = self.before.map(|(offset, _)| at(offset));
        let possible = [Some(at(self.offset)), before].into_iter().flatten();
        let meant = possible.filter(|at| *at <= latest + STEP_MIN_NANOS).max();
        Time::from_nanos(meant.map_or(latest, |at| at.min(latest)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;
    const MS: i64 = 1_000_000;

    /// The wall clock that an engine started at, in its nanoseconds.
    const STARTED: i64 = 1_700_000_000_000_000_000;

    fn at(ms: i64) -> Time {
        Time::from_nanos((ms * MS) as u64)
    }

    /// Fault row S2.
    #[test]
    fn a_step_of_the_wall_clock_moves_no_arrival() {
        for step in [-HOUR, 24 * HOUR, -1_000 * MS, 1_000 * MS] {
            let mut stamps = Stamps::default();
            stamps.read(-STARTED, at(0));
            stamps.read(-STARTED - step, at(1_000));
            // Stamped before the step and after it, both read after it.
            assert_eq!(stamps.arrival(STARTED + 990 * MS, at(1_005)), at(990), "{step}");
            assert_eq!(
                stamps.arrival(STARTED + step + 1_001 * MS, at(1_005)),
                at(1_001),
                "{step}"
            );
            assert_eq!(
                stamps.arrival(STARTED + step + 1_006 * MS, at(1_005)),
                at(1_005),
                "{step}"
            );
            // In the next round as well, which sees no step any more.
            stamps.read(-STARTED - step, at(1_005));
            assert_eq!(stamps.arrival(STARTED + 990 * MS, at(1_010)), at(990), "{step}");
        }
    }

    #[test]
    fn what_comes_from_the_future_comes_now_and_a_thread_held_up_between_two_readings_makes_no_step() {
        let mut stamps = Stamps::default();
        stamps.read(-STARTED, at(0));
        assert_eq!(stamps.arrival(STARTED + 7 * MS, at(5)), at(5));
        stamps.read(-STARTED + 9 * MS, at(20));
        assert_eq!(stamps.before, None);
        stamps.read(-STARTED - HOUR, at(40));
        assert!(stamps.before.is_some());
        stamps.read(-STARTED - HOUR, at(2_000));
        assert_eq!(stamps.before, None, "nothing waits that long");
    }
}
