//! A bad network as a pure value: when, and how often, a datagram that is sent now will arrive.
//!
//! It has no clock and no socket: the time is an argument, chance comes from a seed. The same seed and the same
//! offers give the same deliveries, on a virtual clock and on a real one.

use std::time::Duration;

use crate::time::Time;

/// What a path does to the datagrams of one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// Mean number of datagrams lost in a row; 1 loses each independently of the last.
    pub loss_burst: f64,
    /// What the way takes at least.
    pub delay: Duration,
    /// Mean of the exponentially distributed delay on top; at most ten times this.
    pub jitter: Duration,
    /// Share of datagrams that arrive twice.
    pub duplication: f64,
    /// Share of datagrams overtaken by those sent up to `reordering_by` later. All others keep their order.
    pub reordering: f64,
    pub reordering_by: Duration,
    /// The narrowest link of the way; `None` is as wide as needed. Datagrams queue for it.
    pub bytes_per_second: Option<u32>,
}

impl Conditions {
    /// Everything arrives at once.
    pub const PERFECT: Conditions = Conditions {
        loss: 0.0,
        loss_burst: 1.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        duplication: 0.0,
        reordering: 0.0,
        reordering_by: Duration::ZERO,
        bytes_per_second: None,
    };
}

/// One direction of a path.
///
/// Offers are made in the order of their time; only then is the order of arrival what a queue would make it.
#[derive(Debug, Clone)]
pub struct Network {
    conditions: Conditions,
    chance: fastrand::Rng,
    losing: bool,
    link_free: Time,
    last_arrival: Time,
}

impl Network {
    pub fn seeded(seed: u64, conditions: Conditions) -> Network {
        Network {
            conditions,
            chance: fastrand::Rng::with_seed(seed),
            losing: false,
            link_free: Time::ZERO,
            last_arrival: Time::ZERO,
        }
    }

    /// A datagram of this size is sent `now`: the times of its arrival, none when it is lost.
    pub fn offer(&mut self, now: Time, datagram_bytes: usize) -> Deliveries {
        if self.loses() {
            return Deliveries::default();
        }
        let carried = self.carried(now, datagram_bytes);
        let due = carried + self.conditions.delay + self.jitter();
        let arrival = if self.chance.f64() < self.conditions.reordering {
            due + self.conditions.reordering_by.mul_f64(self.chance.f64())
        } else {
            self.last_arrival = due.max(self.last_arrival);
            self.last_arrival
        };
        let again = self.chance.f64() < self.conditions.duplication;
        Deliveries {
            times: [arrival; 2],
            count: 1 + usize::from(again),
        }
    }

    /// Gilbert's two states: everything is lost in one, nothing in the other, and the chances of changing over
    /// give the wanted share and mean length of bursts.
    fn loses(&mut self) -> bool {
        let loss = self.conditions.loss;
        if loss >= 1.0 {
            return true;
        }
        let recover = 1.0 / self.conditions.loss_burst.max(1.0);
        let start = (recover * loss / (1.0 - loss)).min(1.0);
        // A burst of one needs no memory: whatever came before, the chance is the share.
        self.losing = if self.conditions.loss_burst <= 1.0 {
            self.chance.f64() < loss
        } else if self.losing {
            self.chance.f64() >= recover
        } else {
            self.chance.f64() < start
        };
        self.losing
    }

    /// When the last byte has passed the narrowest link.
    fn carried(&mut self, now: Time, datagram_bytes: usize) -> Time {
        let Some(bytes_per_second) = self.conditions.bytes_per_second else {
            return now;
        };
        let takes =
            Duration::from_secs(1).mul_f64(datagram_bytes as f64 / f64::from(bytes_per_second.max(1)));
        self.link_free = self.link_free.max(now) + takes;
        self.link_free
    }

    fn jitter(&mut self) -> Duration {
        let exponential = -(1.0 - self.chance.f64()).ln();
        self.conditions.jitter.mul_f64(exponential.min(10.0))
    }
}

/// The times at which one datagram arrives: none, one or two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    times: [Time; 2],
    count: usize,
}

impl Deliveries {
    pub fn times(&self) -> &[Time] {
        &self.times[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(network: &mut Network, datagrams: u64) -> Vec<Vec<Time>> {
        (0..datagrams)
            .map(|n| network.offer(Time::from_millis(20 * n), 172).times().to_vec())
            .collect()
    }

    #[test]
    fn a_perfect_network_delivers_all_at_once() {
        let mut network = Network::seeded(1, Conditions::PERFECT);
        for (n, times) in arrivals(&mut network, 100).into_iter().enumerate() {
            assert_eq!(times, [Time::from_millis(20 * n as u64)]);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_deliveries() {
        let conditions = Conditions {
            loss: 0.1,
            loss_burst: 3.0,
            jitter: Duration::from_millis(15),
            duplication: 0.1,
            reordering: 0.1,
            reordering_by: Duration::from_millis(50),
            ..Conditions::PERFECT
        };
        let run = |seed| arrivals(&mut Network::seeded(seed, conditions), 500);
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn loss_has_the_asked_share_and_burst_length() {
        for loss_burst in [1.0, 4.0] {
            let conditions = Conditions {
                loss: 0.05,
                loss_burst,
                ..Conditions::PERFECT
            };
            let lost: Vec<bool> = arrivals(&mut Network::seeded(3, conditions), 200_000)
                .iter()
                .map(Vec::is_empty)
                .collect();
            let losses = lost.iter().filter(|&&lost| lost).count() as f64;
            let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            assert!((losses / 200_000.0 - 0.05).abs() < 0.005, "{losses} lost");
            // Independent losses also come in a row by chance: 1 / (1 - 0.05).
            let expected = if loss_burst == 1.0 { 1.05 } else { loss_burst };
            assert!(
                (losses / bursts / expected - 1.0).abs() < 0.08,
                "bursts of {}",
                losses / bursts
            );
        }
    }

    #[test]
    fn jitter_alone_never_changes_the_order() {
        let conditions = Conditions {
            jitter: Duration::from_millis(40),
            ..Conditions::PERFECT
        };
        let times: Vec<Time> = arrivals(&mut Network::seeded(5, conditions), 5_000)
            .into_iter()
            .flatten()
            .collect();
        assert!(times.is_sorted());
        let late = times
            .iter()
            .enumerate()
            .filter(|(n, at)| at.as_millis() > 20 * *n as u64 + 40)
            .count();
        assert!(
            (1_000..3_500).contains(&late),
            "{late} of 5000 later than the mean"
        );
    }

    #[test]
    fn reordered_datagrams_are_overtaken() {
        let conditions = Conditions {
            reordering: 0.2,
            reordering_by: Duration::from_millis(100),
            ..Conditions::PERFECT
        };
        let times: Vec<Time> = arrivals(&mut Network::seeded(5, conditions), 1_000)
            .into_iter()
            .flatten()
            .collect();
        let overtaken = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((100..250).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn duplicates_come_in_the_asked_share() {
        let conditions = Conditions {
            duplication: 0.25,
            ..Conditions::PERFECT
        };
        let twice = arrivals(&mut Network::seeded(2, conditions), 10_000)
            .iter()
            .filter(|times| times.len() == 2)
            .count();
        assert!((2_300..2_700).contains(&twice), "{twice}");
    }

    #[test]
    fn a_narrow_link_makes_datagrams_wait_for_each_other() {
        let mut network = Network::seeded(
            2,
            Conditions {
                bytes_per_second: Some(10_000),
                ..Conditions::PERFECT
            },
        );
        let arrivals: Vec<u64> = (0..3)
            .map(|_| network.offer(Time::from_millis(5), 100).times()[0].as_millis())
            .collect();
        assert_eq!(arrivals, [15, 25, 35]);
    }
}
