//! The wall clock as RTCP tells it (RFC 3550 §4): seconds since 1900 in the upper 32 bits, their fraction in the lower.
//! The seconds begin anew in 2036, and every 136 years after it: only differences count.

use std::time::Duration;

use crate::time::Time;

/// From 1900 to 1970.
const UNIX_EPOCH_SECONDS: u64 = 2_208_988_800;

/// What the wall clock showed when the engines' time began. From there on it runs as their time does, so that two
/// reports never contradict each other, whatever becomes of the system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallClock {
    at_zero: u64,
}

impl WallClock {
    /// `at_zero` is the NTP timestamp of [`Time::ZERO`].
    pub const fn starting_at(at_zero: u64) -> WallClock {
        WallClock { at_zero }
    }

    /// [`Time::ZERO`] lies so long after 1970.
    pub const fn after_unix_epoch(elapsed: Duration) -> WallClock {
        let seconds = elapsed.as_secs().wrapping_add(UNIX_EPOCH_SECONDS);
        WallClock {
            at_zero: seconds << 32 | fraction(elapsed.subsec_nanos() as u64),
        }
    }

    /// The NTP timestamp of a time of the engines.
    pub const fn at(self, time: Time) -> u64 {
        let (seconds, nanos) = (time.as_nanos() / 1_000_000_000, time.as_nanos() % 1_000_000_000);
        self.at_zero.wrapping_add(seconds << 32 | fraction(nanos))
    }
}

const fn fraction(nanos: u64) -> u64 {
    (nanos << 32) / 1_000_000_000
}

/// The middle 32 bits: seconds of 18 hours, in 65,536ths. Reports quote these.
pub const fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A duration in 65,536ths of a second; `None` where 32 bits do not hold it.
pub fn short(duration: Duration) -> Option<u32> {
    let nanos = duration.as_nanos();
    u32::try_from((nanos << 16) / 1_000_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unix_epoch_and_the_era_of_2036_are_where_they_belong() {
        // RFC 5905 figure 4: 1970-01-01 is second 2,208,988,800, and 2036-02-07 06:28:16 begins era 1.
        let epoch = WallClock::after_unix_epoch(Duration::ZERO);
        assert_eq!(epoch.at(Time::ZERO), 2_208_988_800 << 32);
        let half = WallClock::after_unix_epoch(Duration::from_millis(500));
        assert_eq!(half.at(Time::ZERO) as u32, 1 << 31);
        let before = WallClock::after_unix_epoch(Duration::from_secs(2_085_978_495));
        assert_eq!(before.at(Time::ZERO), u64::from(u32::MAX) << 32);
        assert_eq!(before.at(Time::from_millis(1_500)), 1 << 31);
    }

    #[test]
    fn over_ten_years_a_second_stays_a_second() {
        const YEAR: u64 = 31_557_600_000_000_000;
        let clock = WallClock::starting_at(0xDEAD_BEEF_0123_4567);
        for years in 0..=10 {
            let time = Time::from_nanos(years * YEAR + 123_456_789);
            let later = time + Duration::from_secs(5);
            assert_eq!(clock.at(later).wrapping_sub(clock.at(time)), 5 << 32, "{years}");
            let short_later = middle(clock.at(later)).wrapping_sub(middle(clock.at(time)));
            assert_eq!(short_later, 5 << 16, "{years}");
        }
    }

    #[test]
    fn a_short_duration_is_exact_until_it_no_longer_fits() {
        assert_eq!(short(Duration::from_millis(1_500)), Some(3 << 15));
        assert_eq!(short(Duration::from_secs(65_535)), Some(65_535 << 16));
        assert_eq!(short(Duration::from_secs(65_536)), None);
    }
}
