//! How many packets a leg is heard in a second: as many as any sender of sound makes, and what a network holds back and
//! lets go at once, but no flood.

use crate::time::Time;

/// A token bucket: what it holds is kept as the moment at which it would be full again.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    nanos_per_packet: u64,
    burst: u64,
    full_at: u64,
}

impl Pace {
    /// 500 packets a second, five times what 10 ms of sound a packet make, and 200 at once: two seconds of those.
    pub fn of_rtp() -> Pace {
        Pace::new(500, 200)
    }

    /// Ten a second, and twenty at once: fifty times what a report each five seconds makes.
    pub fn of_rtcp() -> Pace {
        Pace::new(10, 20)
    }

    fn new(per_second: u64, burst: u64) -> Pace {
        Pace {
            nanos_per_packet: 1_000_000_000 / per_second,
            burst,
            full_at: 0,
        }
    }

    /// Whether a packet that arrives now is within bounds; then it counts.
    pub fn admits(&mut self, now: Time) -> bool {
        let now = now.as_nanos();
        let full_at = self.full_at.max(now).saturating_add(self.nanos_per_packet);
        let admits = full_at - now <= self.burst * self.nanos_per_packet;
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
            let mut pace = Pace::of_rtp();
            assert_eq!(admitted(&mut pace, (0..500).map(|n| n * ptime_ms * 1_000)), 500);
            let after = 500 * ptime_ms * 1_000;
            let held_back = 2_000 / ptime_ms;
            assert_eq!(
                admitted(&mut pace, (0..held_back).map(|n| after + n)) as u64,
                held_back
            );
        }
    }

    #[test]
    fn of_a_flood_five_hundred_a_second_pass_and_a_minute_later_all_again() {
        let mut pace = Pace::of_rtp();
        let passed = admitted(&mut pace, (0..100_000).map(|n| n * 100));
        assert!((5_000..=5_201).contains(&passed), "{passed} in ten seconds");
        assert_eq!(admitted(&mut pace, (0..50).map(|n| 70_000_000 + n * 20_000)), 50);
    }

    #[test]
    fn no_more_reports_are_heard_than_anybody_has_to_send() {
        let mut pace = Pace::of_rtcp();
        assert_eq!(admitted(&mut pace, (0..1_000).map(|n| n * 1_000)), 29);
        assert_eq!(
            admitted(&mut pace, (0..20).map(|n| 10_000_000 + n * 5_000_000)),
            20
        );
    }

    #[test]
    fn packets_stamped_out_of_order_are_admitted_alike() {
        let mut pace = Pace::of_rtp();
        assert_eq!(admitted(&mut pace, (0..50).rev().map(|n| n * 1_000)), 50);
    }
}
