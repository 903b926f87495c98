//! How late packets come.
//!
//! The transit of a packet (arrival less timestamp) is known up to a constant, so delays are relative to the fastest
//! packet of the last one to two seconds: short enough to follow the drift of two clocks. A histogram that forgets
//! gives the target, and so do spikes that recur.

use super::peaks::Peaks;
use crate::time::Time;

/// A packet this much faster than the fastest before is no packet of the same timeline: its sender has jumped.
/// More than what a change of packet time, 60 to 10 ms, makes of an unchanged timeline.
const FORWARD_JUMP_NS: i64 = 60_000_000;

/// The fastest packet is looked for in two stretches of this length, the running one and the one before.
const STRETCH_NS: u64 = 1_000_000_000;

const BIN_US: u32 = 5_000;
const BINS: usize = 64;

/// Share of packets that the target covers.
const QUANTILE: f32 = 0.97;

/// By this each packet weighs more than the one before: 400 packets (8 s of 20 ms) fade to 1/e.
const GROWTH: f32 = 1.0 + 1.0 / 400.0;

/// Before the first packet as many are taken to have come at once: one late packet among the first is no network.
const PUNCTUAL_BEFORE: f32 = 40.0;

/// Weights are scaled back before they leave the exact range of `f32`.
const WEIGHT_MAX: f32 = 1.0e6;

/// So many packets in a row later than the histogram can tell: the path, or the sender's clock, has moved for good.
const BEYOND_MAX: u8 = 3;

#[derive(Debug)]
pub(super) struct DelayEstimator {
    last: Option<Last>,
    /// Transit of the last arrival; zero is that of the first packet of the timeline.
    transit_ns: i64,
    fastest_ns: i64,
    fastest_before_ns: i64,
    slowest_us: u32,
    slowest_before_us: u32,
    stretch_start: Time,
    beyond: u8,
    jitter_ns: f32,
    weights: [f32; BINS],
    /// What of them was added in the running stretch, and in the one before.
    stretch_weights: [[f32; BINS]; 2],
    weight: f32,
    total: f32,
    quantile_us: u32,
    peaks: Peaks,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    arrival: Time,
    timestamp: u32,
    clock_hz: u32,
    /// Timestamp of the newest packet in sequence.
    newest: u32,
}

/// What an arrival says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Observation {
    pub relative_delay_us: u32,
    /// How much faster it was than the fastest packets before.
    pub lead_us: u32,
    /// The timestamp does not go on from those before: jumped ahead of real time, back, or stuck.
    pub fresh: bool,
}

impl Observation {
    /// A packet with which measuring begins.
    const FIRST: Observation = Observation {
        relative_delay_us: 0,
        lead_us: 0,
        fresh: true,
    };
}

impl DelayEstimator {
    pub fn new() -> DelayEstimator {
        DelayEstimator {
            last: None,
            transit_ns: 0,
            fastest_ns: 0,
            fastest_before_ns: 0,
            slowest_us: 0,
            slowest_before_us: 0,
            stretch_start: Time::ZERO,
            beyond: 0,
            jitter_ns: 0.0,
            weights: std::array::from_fn(|bin| if bin == 0 { PUNCTUAL_BEFORE } else { 0.0 }),
            stretch_weights: [[0.0; BINS]; 2],
            weight: 1.0,
            total: PUNCTUAL_BEFORE,
            quantile_us: 0,
            peaks: Peaks::default(),
        }
    }

    /// Notes a packet of the stream, in the order of arrival; `newest` when none of a later sequence came before.
    pub fn observe(&mut self, arrival: Time, timestamp: u32, clock_hz: u32, newest: bool) -> Observation {
        let Some(last) = self.last else {
            self.restart_timeline(arrival, timestamp, clock_hz);
            self.weigh(0);
            return Observation::FIRST;
        };
        let stuck = newest && timestamp.wrapping_sub(last.newest) as i32 <= 0;
        let deviation_ns = nanos_between(last.arrival, arrival).saturating_sub(timestamp_nanos(
            timestamp.wrapping_sub(last.timestamp) as i32,
            clock_hz,
        ));
        let transit_ns = self.transit_ns.saturating_add(deviation_ns);
        let fastest_ns = self.fastest_ns.min(self.fastest_before_ns);
        let ahead = newest && transit_ns < fastest_ns.saturating_sub(FORWARD_JUMP_NS);
        if stuck || ahead || clock_hz != last.clock_hz {
            self.restart_timeline(arrival, timestamp, clock_hz);
            self.weigh(0);
            return Observation::FIRST;
        }
        self.last = Some(Last {
            arrival,
            timestamp,
            clock_hz,
            newest: if newest { timestamp } else { last.newest },
        });
        self.transit_ns = transit_ns;
        // RFC 3550 A.8: J += (|D| − J) / 16.
        self.jitter_ns += (deviation_ns.unsigned_abs() as f32 - self.jitter_ns) / 16.0;
        let lead_us = micros(fastest_ns.saturating_sub(transit_ns));
        self.keep_fastest(arrival);

        let relative_us = micros(
            self.transit_ns
                .saturating_sub(self.fastest_ns.min(self.fastest_before_ns)),
        );
        self.peaks.note(arrival, relative_us, self.quantile_us);
        if relative_us >= BIN_US * BINS as u32 {
            // No delay to plan for: it is beyond what a buffer may hold.
            self.beyond += 1;
            if self.beyond >= BEYOND_MAX {
                self.restart_fastest(arrival);
                return Observation {
                    fresh: false,
                    ..Observation::FIRST
                };
            }
        } else {
            self.beyond = 0;
            self.slowest_us = self.slowest_us.max(relative_us);
            self.weigh(relative_us);
        }
        Observation {
            relative_delay_us: relative_us,
            lead_us,
            fresh: false,
        }
    }

    /// Measures afresh from the next packet on; what was learned about the network stays.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// Measures afresh, and forgets what was learned by a clock that was wrong.
    pub fn forget(&mut self) {
        *self = DelayEstimator {
            jitter_ns: self.jitter_ns,
            ..DelayEstimator::new()
        };
    }

    /// What most packets need, or what the spikes need that come again and again.
    pub fn target_us(&self) -> u32 {
        self.quantile_us.max(self.peaks.expected_us())
    }

    /// The most that the last one to two seconds have needed.
    pub fn slowest_us(&self) -> u32 {
        self.slowest_us.max(self.slowest_before_us)
    }

    pub fn jitter_ms(&self) -> f32 {
        self.jitter_ns * 1.0e-6
    }

    fn restart_timeline(&mut self, arrival: Time, timestamp: u32, clock_hz: u32) {
        self.last = Some(Last {
            arrival,
            timestamp,
            clock_hz,
            newest: timestamp,
        });
        self.transit_ns = 0;
        self.restart_fastest(arrival);
    }

    fn restart_fastest(&mut self, arrival: Time) {
        self.fastest_ns = self.transit_ns;
        self.fastest_before_ns = self.transit_ns;
        self.slowest_us = 0;
        self.slowest_before_us = 0;
        self.stretch_weights = [[0.0; BINS]; 2];
        self.stretch_start = arrival;
        self.beyond = 0;
        self.peaks.forget_current();
    }

    fn keep_fastest(&mut self, arrival: Time) {
        let age_ns = arrival.as_nanos().saturating_sub(self.stretch_start.as_nanos());
        if age_ns >= 2 * STRETCH_NS {
            // After a long pause neither stretch says anything about now.
            self.restart_fastest(arrival);
        } else if age_ns >= STRETCH_NS {
            self.lengthen_path(self.fastest_ns.saturating_sub(self.fastest_before_ns));
            self.fastest_before_ns = self.fastest_ns;
            self.slowest_before_us = self.slowest_us;
            let [running, before] = &mut self.stretch_weights;
            std::mem::swap(running, before);
            running.fill(0.0);
            self.fastest_ns = self.transit_ns;
            self.slowest_us = 0;
            self.stretch_start = arrival;
        } else {
            self.fastest_ns = self.fastest_ns.min(self.transit_ns);
        }
    }

    /// All packets of a stretch were later by `rise_ns` than the fastest before it: the path has become longer, and
    /// what was taken for lateness of theirs, and of those that were as late in the stretch before, was none.
    fn lengthen_path(&mut self, rise_ns: i64) {
        let rise = (micros(rise_ns) / BIN_US) as usize;
        if rise == 0 {
            return;
        }
        for stretch in &mut self.stretch_weights {
            for bin in rise..BINS {
                let weight = std::mem::take(&mut stretch[bin]);
                stretch[bin - rise] += weight;
                self.weights[bin] = (self.weights[bin] - weight).max(0.0);
                self.weights[bin - rise] += weight;
            }
        }
        self.slowest_us = self.slowest_us.saturating_sub(micros(rise_ns));
        self.slowest_before_us = 0;
        self.peaks.forget_current();
    }

    /// Enters a delay into the histogram. New packets weigh more instead of old ones less: one addition for each.
    fn weigh(&mut self, relative_us: u32) {
        let bin = ((relative_us / BIN_US) as usize).min(BINS - 1);
        self.weight *= GROWTH;
        self.weights[bin] += self.weight;
        self.stretch_weights[0][bin] += self.weight;
        self.total += self.weight;
        if self.weight > WEIGHT_MAX {
            let scale = 1.0 / self.weight;
            let stretches = self.stretch_weights.iter_mut().flatten();
            for weight in self.weights.iter_mut().chain(stretches) {
                *weight *= scale;
            }
            self.total = self.weights.iter().sum();
            self.weight = 1.0;
        }
        let covered = QUANTILE * self.total;
        let mut below = 0.0;
        let quantile = self.weights.iter().position(|weight| {
            below += weight;
            below >= covered
        });
        // Less than one bin is what a packet time and a tick hide: no reason to wait.
        self.quantile_us = match quantile.unwrap_or(BINS - 1) {
            0 => 0,
            bin => (bin as u32 + 1) * BIN_US,
        };
    }
}

fn nanos_between(earlier: Time, later: Time) -> i64 {
    later.as_nanos().wrapping_sub(earlier.as_nanos()) as i64
}

fn timestamp_nanos(difference: i32, clock_hz: u32) -> i64 {
    i64::from(difference) * 1_000_000_000 / i64::from(clock_hz.max(1))
}

fn micros(nanos: i64) -> u32 {
    u32::try_from(nanos.max(0) / 1_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 20 ms at 8 kHz, each later by what `delay_us` says.
    fn observe(estimator: &mut DelayEstimator, packets: std::ops::Range<u64>, delay_us: impl Fn(u64) -> u64) {
        for n in packets {
            let arrival = Time::from_nanos(n * 20_000_000 + delay_us(n) * 1_000);
            estimator.observe(arrival, (n as u32).wrapping_mul(160), 8_000, true);
        }
    }

    #[test]
    fn a_clean_network_asks_for_no_delay() {
        let mut estimator = DelayEstimator::new();
        observe(&mut estimator, 0..1_000, |n| n % 3 * 900);
        assert_eq!(estimator.target_us(), 0);
        assert!(estimator.jitter_ms() < 1.5);
    }

    #[test]
    fn the_target_is_what_97_in_100_packets_need_and_falls_when_the_network_calms_down() {
        let mut estimator = DelayEstimator::new();
        observe(&mut estimator, 0..1_000, |n| n * 7_919 % 40_000);
        assert!(
            (35_000..=40_000).contains(&estimator.target_us()),
            "{}",
            estimator.target_us()
        );
        observe(&mut estimator, 1_000..1_100, |_| 0);
        assert!(estimator.target_us() > 20_000, "not forgotten at once");
        observe(&mut estimator, 1_100..3_000, |_| 0);
        assert_eq!(estimator.target_us(), 0);
    }

    #[test]
    fn the_drift_of_a_clock_is_no_jitter() {
        let mut estimator = DelayEstimator::new();
        observe(&mut estimator, 0..30_000, |n| n * 6); // 300 ppm slow
        assert_eq!(estimator.target_us(), 0);
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let mut estimator = DelayEstimator::new();
        observe(&mut estimator, 0..1_000, |n| n % 2 * 8_000);
        assert!(
            (estimator.jitter_ms() - 8.0).abs() < 0.1,
            "{}",
            estimator.jitter_ms()
        );
    }

    #[test]
    fn a_timestamp_ahead_of_real_time_or_not_moving_starts_a_new_timeline() {
        let mut estimator = DelayEstimator::new();
        observe(&mut estimator, 0..100, |_| 0);
        let at = |n: u64| Time::from_millis(n * 20);
        assert!(!estimator.observe(at(100), 100 * 160, 8_000, true).fresh);
        assert!(estimator.observe(at(101), 101 * 160 + 8_000, 8_000, true).fresh);
        assert!(!estimator.observe(at(102), 102 * 160 + 8_000, 8_000, true).fresh);
        assert!(estimator.observe(at(103), 102 * 160 + 8_000, 8_000, true).fresh);
        assert!(estimator.observe(at(104), 50, 8_000, true).fresh);
    }
}
