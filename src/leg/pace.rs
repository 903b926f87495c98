//! How many packets a leg is heard in a second: as many as any sender of sound makes, and what a network holds back and
//! lets go at once, but no flood.

use crate::time::Time;

/// Packets a second: three times what 10 ms of sound a packet make.
const RATE: u64 = 300;

/// Packets at once: a network that stands still for two seconds and then delivers all of 50 a second.
const BURST: u64 = 100;

const NANOS_PER_PACKET: u64 = 1_000_000_000 / RATE;

/// A token bucket: what it holds is kept as the moment at which it would be full again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    full_at: u64,
}

impl Pace {
    /// Whether a packet that arrives now is within bounds; then it counts.
    pub fn admits(&mut self, now: Time) -> bool {
        let now = now.as_nanos();
        let full_at = self.full_at.max(now) + NANOS_PER_PACKET;
        let admits = full_at - now <= BURST * NANOS_PER_PACKET;
        if admits {
            self.full_at = full_at;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(pace: &mut Pace, times: impl Iterator<Item = u64>) -> usize {
        times
            .filter(|us| pace.admits(Time::from_nanos(us * 1_000)))
            .count()
    }

    #[test]
    fn sound_of_any_packet_time_passes_after_an_outage_too() {
        for ptime_ms in [10, 20, 60] {
            let mut pace = Pace::default();
            assert_eq!(admitted(&mut pace, (0..500).map(|n| n * ptime_ms * 1_000)), 500);
            let after = 500 * ptime_ms * 1_000;
            let held_back = 1_000 / ptime_ms;
            assert_eq!(
                admitted(&mut pace, (0..held_back).map(|n| after + n)) as u64,
                held_back
            );
        }
    }

    #[test]
    fn of_a_flood_three_hundred_a_second_pass_and_a_minute_later_all_again() {
        let mut pace = Pace::default();
        let passed = admitted(&mut pace, (0..100_000).map(|n| n * 100));
        assert!((3_000..=3_101).contains(&passed), "{passed} in ten seconds");
        assert_eq!(admitted(&mut pace, (0..50).map(|n| 70_000_000 + n * 20_000)), 50);
    }

    #[test]
    fn packets_stamped_out_of_order_are_admitted_alike() {
        let mut pace = Pace::default();
        assert_eq!(admitted(&mut pace, (0..50).rev().map(|n| n * 1_000)), 50);
    }
}
