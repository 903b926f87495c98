//! Delays that are rare and recur: one packet in a hundred says nothing to a quantile, but a path that stops for 100 ms
//! every few seconds is heard to do so unless the delay is as long.
//!
//! A single spike is nothing to prepare for; after a second one within ten seconds the target is as high as the
//! higher of the two until ten seconds have passed without another. A delay that stays is a longer path, no spike.

use std::time::Duration;

use crate::time::Time;

/// A spike is this much more than what most packets need.
const OVER_US: u32 = 40_000;

/// What no buffer bridges is no delay of the network.
const HEIGHT_US_MAX: u32 = 500_000;

/// From the first packet of a spike to the first that is none.
const LENGTH_MAX: Duration = Duration::from_secs(1);

/// Spikes farther apart have nothing to do with each other.
const PERIOD_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
struct Spike {
    start: Time,
    height_us: u32,
}

#[derive(Debug, Default)]
pub(super) struct Peaks {
    /// The one that goes on.
    current: Option<Spike>,
    last: Option<Spike>,
    expected_us: u32,
}

impl Peaks {
    /// Notes how late a packet is, and what most packets need.
    pub fn note(&mut self, arrival: Time, relative_us: u32, usual_us: u32) {
        if relative_us > usual_us + OVER_US {
            let spike = self.current.get_or_insert(Spike {
                start: arrival,
                height_us: 0,
            });
            spike.height_us = spike.height_us.max(relative_us);
        } else if let Some(spike) = self.current.take()
            && arrival.since(spike.start) <= LENGTH_MAX
            && spike.height_us <= HEIGHT_US_MAX
        {
            self.expected_us = match self.last {
                Some(last) if spike.start.since(last.start) <= PERIOD_MAX => {
                    last.height_us.max(spike.height_us)
                }
                _ => 0,
            };
            self.last = Some(spike);
        }
        if self
            .last
            .is_some_and(|last| arrival.since(last.start) > PERIOD_MAX)
        {
            self.last = None;
            self.expected_us = 0;
        }
    }

    /// As high as spikes have come again and again; zero where they do not.
    pub fn expected_us(&self) -> u32 {
        self.expected_us
    }

    /// The path, or the clock it was measured by, is another one.
    pub fn forget_current(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 20 ms, each later by what `delay_us` says; what is expected after the last.
    fn expected_after(
        peaks: &mut Peaks,
        packets: std::ops::Range<u64>,
        delay_us: impl Fn(u64) -> u32,
    ) -> u32 {
        for n in packets {
            peaks.note(
                Time::from_millis(n * 20) + Duration::from_micros(u64::from(delay_us(n))),
                delay_us(n),
                0,
            );
        }
        peaks.expected_us()
    }

    fn stop(n: u64, period: u64, height_us: u32) -> u32 {
        height_us.saturating_sub((n % period) as u32 * 20_000)
    }

    #[test]
    fn one_spike_is_nothing_to_prepare_for_and_two_are() {
        let mut peaks = Peaks::default();
        assert_eq!(
            expected_after(&mut peaks, 0..1_000, |n| stop(n, 2_000, 300_000)),
            0
        );
        assert_eq!(
            expected_after(&mut peaks, 1_000..1_100, |n| stop(n, 1_000, 120_000)),
            0
        );
        assert_eq!(
            expected_after(&mut peaks, 1_100..1_600, |n| stop(n, 200, 120_000)),
            120_000
        );
        assert_eq!(expected_after(&mut peaks, 1_600..1_850, |_| 900), 120_000);
        assert_eq!(expected_after(&mut peaks, 1_850..2_150, |_| 900), 0);
    }

    #[test]
    fn a_longer_path_and_a_gap_that_no_buffer_bridges_are_no_spikes() {
        let mut peaks = Peaks::default();
        let longer = |n: u64| u32::from(!(n / 100).is_multiple_of(2)) * 150_000;
        assert_eq!(expected_after(&mut peaks, 0..1_000, longer), 0);
        assert_eq!(
            expected_after(&mut peaks, 1_000..2_000, |n| stop(n, 100, 700_000)),
            0
        );
    }
}
