//! How durations were distributed, in a fixed amount of memory whatever their number.
//!
//! Log-linear buckets: 256 to each power of two, so that every quantile is right to 0.2 %.

use std::time::Duration;

const STEPS_LOG2: u32 = 8;
const STEPS: u64 = 1 << STEPS_LOG2;

/// 2^40 ns, 18 minutes: what is longer counts as that.
const LONGEST_NS: u64 = (1 << 40) - 1;

const BUCKETS: usize = bucket(LONGEST_NS) + 1;

#[derive(Debug, Clone)]
pub struct Distribution {
    counts: Vec<u32>,
    count: u64,
    max_ns: u64,
}

impl Distribution {
    pub fn new() -> Distribution {
        Distribution {
            counts: vec![0; BUCKETS],
            count: 0,
            max_ns: 0,
        }
    }

    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns.min(LONGEST_NS))] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn merge(&mut self, other: &Distribution) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then_some(Duration::from_nanos(self.max_ns))
    }

    /// The duration that the share `quantile` (0 to 1) of all did not exceed; `None` of nothing.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * quantile).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            below += u64::from(count);
            if below >= rank {
                let lower_edge = if index == 0 { 0 } else { upper_edge(index - 1) + 1 };
                return Some(Duration::from_nanos(
                    u64::midpoint(lower_edge, upper_edge(index)).min(self.max_ns),
                ));
            }
        }
        self.max()
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution::new()
    }
}

/// Below 256 ns each nanosecond has its bucket; from there each octave has 256.
const fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let octave = ns.ilog2() - STEPS_LOG2;
    let step = (ns >> octave) - STEPS;
    ((octave as u64 + 1) * STEPS + step) as usize
}

/// The longest duration, in nanoseconds, that falls into the bucket.
const fn upper_edge(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let octave = index / STEPS - 1;
    ((index % STEPS + STEPS + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_below_the_upper_edge_of_its_own_bucket_only() {
        let mut ns = 0u64;
        while ns < LONGEST_NS {
            let index = bucket(ns);
            assert!(ns <= upper_edge(index), "{ns}");
            assert!(index == 0 || ns > upper_edge(index - 1), "{ns}");
            ns = ns * 9 / 8 + 1;
        }
    }

    #[test]
    fn quantiles_are_right_to_a_quarter_percent() {
        let mut distribution = Distribution::new();
        for us in 1..=10_000u64 {
            distribution.record(Duration::from_micros(us));
        }
        for (quantile, us) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
            let found = distribution
                .quantile(quantile)
                .expect("it is not empty")
                .as_secs_f64()
                * 1e6;
            assert!((found / us - 1.0).abs() < 0.0025, "{quantile}: {found}");
        }
        assert_eq!(distribution.max(), Some(Duration::from_millis(10)));
    }

    #[test]
    fn merged_distributions_count_both() {
        let (mut one, mut other) = (Distribution::new(), Distribution::new());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_secs(3_000));
        one.merge(&other);
        assert_eq!(one.count(), 2);
        assert_eq!(one.max(), Some(Duration::from_secs(3_000)));
        assert!(one.quantile(0.5).expect("it is not empty") < Duration::from_micros(1_003));
    }

    #[test]
    fn nothing_recorded_has_no_quantile() {
        assert_eq!(Distribution::new().quantile(0.5), None);
        assert_eq!(Distribution::new().max(), None);
    }
}
