//! A bad network as a pure value: when, and how often, a datagram that is sent now will arrive.
//!
//! It has no clock and no socket: the time is an argument, chance comes from a seed. The same seed and the same
//! offers give the same deliveries, on a virtual clock and on a real one. Loss, delay and all the rest draw from
//! streams of chance of their own: with another jitter the same datagrams are lost.

mod jitter;
mod loss;
mod spells;

use std::time::Duration;

pub use self::jitter::Jitter;
use self::loss::Loss;
use self::spells::Spell;
pub use self::spells::Spells;
use crate::time::Time;

/// What a path does to the datagrams of one direction. Times count from the first datagram offered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// Mean number of datagrams lost in a row; 1 loses each independently of the last.
    pub loss_burst: f64,
    /// What the way takes at least.
    pub delay: Duration,
    /// What it takes on top, drawn for each datagram.
    pub jitter: Jitter,
    /// From then on the way is another, and takes at least so long. What is still on the old one may be overtaken.
    pub rerouted: Option<(Duration, Duration)>,
    /// While one lasts nothing gets through, and all that waited arrives at its end.
    pub stalls: Option<Spells>,
    /// While one lasts everything is lost.
    pub outages: Option<Spells>,
    /// Share of datagrams that arrive twice.
    pub duplication: f64,
    /// Share of datagrams overtaken by those sent up to `reordering_by` later. All others keep their order.
    pub reordering: f64,
    pub reordering_by: Duration,
    /// The narrowest link of the way; `None` is as wide as needed. Datagrams queue for it.
    pub bytes_per_second: Option<u32>,
    /// By how many millionths the sender's clock is fast. No way can hurry it: whoever sends asks `departure`.
    pub drift_ppm: f64,
}

impl Conditions {
    /// Everything arrives at once.
    pub const PERFECT: Conditions = Conditions {
        loss: 0.0,
        loss_burst: 1.0,
        delay: Duration::ZERO,
        jitter: Jitter::NONE,
        rerouted: None,
        stalls: None,
        outages: None,
        duplication: 0.0,
        reordering: 0.0,
        reordering_by: Duration::ZERO,
        bytes_per_second: None,
        drift_ppm: 0.0,
    };

    /// How long after it began to send the sender sends what it owes by its own clock after `owed`.
    pub fn departure(&self, owed: Duration) -> Duration {
        let gained = owed.mul_f64(self.drift_ppm.abs() / (1.0e6 + self.drift_ppm));
        if self.drift_ppm > 0.0 {
            owed - gained
        } else {
            owed + gained
        }
    }
}

/// One direction of a path.
///
/// Offers are made in the order of their time; only then is the order of arrival what a queue would make it.
#[derive(Debug, Clone)]
pub struct Network {
    conditions: Conditions,
    loss: Loss,
    stall: Option<Spell>,
    outage: Option<Spell>,
    jitter_chance: fastrand::Rng,
    order_chance: fastrand::Rng,
    twice_chance: fastrand::Rng,
    began: Option<Time>,
    is_rerouted: bool,
    link_free: Time,
    last_arrival: Time,
    lost: u64,
}

impl Network {
    pub fn seeded(seed: u64, conditions: Conditions) -> Network {
        let mut chance = fastrand::Rng::with_seed(seed);
        Network {
            conditions,
            loss: Loss::new(conditions.loss, conditions.loss_burst, chance.fork()),
            jitter_chance: chance.fork(),
            order_chance: chance.fork(),
            twice_chance: chance.fork(),
            stall: conditions.stalls.map(|stalls| Spell::new(stalls, chance.fork())),
            outage: conditions
                .outages
                .map(|outages| Spell::new(outages, chance.fork())),
            began: None,
            is_rerouted: false,
            link_free: Time::ZERO,
            last_arrival: Time::ZERO,
            lost: 0,
        }
    }

    /// How many of the datagrams offered so far never arrive.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// A datagram of this size is sent `now`: the times of its arrival, none when it is lost.
    pub fn offer(&mut self, now: Time, datagram_bytes: usize) -> Deliveries {
        let began = *self.began.get_or_insert(now);
        let elapsed = now.since(began);
        let is_out = self
            .outage
            .as_mut()
            .is_some_and(|outage| outage.end_at(elapsed).is_some());
        if self.loss.takes_next() || is_out {
            self.lost += 1;
            return Deliveries::default();
        }
        let stalled_until = self.stall.as_mut().and_then(|stall| stall.end_at(elapsed));
        let departs = stalled_until.map_or(now, |until| began + until);
        let carried = self.carried(departs, datagram_bytes);
        let due = carried + self.way(elapsed) + self.conditions.jitter.draw(&mut self.jitter_chance);
        let arrival = if self.order_chance.f64() < self.conditions.reordering {
            due + self.conditions.reordering_by.mul_f64(self.order_chance.f64())
        } else {
            self.last_arrival = due.max(self.last_arrival);
            self.last_arrival
        };
        let again = self.twice_chance.f64() < self.conditions.duplication;
        Deliveries {
            times: [arrival; 2],
            count: 1 + usize::from(again),
        }
    }

    /// What the way takes at least. Nobody waits behind what is still on another way.
    fn way(&mut self, elapsed: Duration) -> Duration {
        match self.conditions.rerouted {
            Some((at, delay)) if elapsed >= at => {
                if !self.is_rerouted {
                    self.is_rerouted = true;
                    self.last_arrival = Time::ZERO;
                }
                delay
            }
            _ => self.conditions.delay,
        }
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
mod tests;
