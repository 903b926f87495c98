//! What `--impair` asks for: a network in a line of text, `loss=5,jitter=40,seed=7`.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::network::{Conditions, Jitter, Network, Spells};

/// How far a reordered datagram falls behind at most: three packets of 20 ms.
const REORDERING_BY: Duration = Duration::from_millis(60);

/// On the mean between two, where it is not said.
const SPIKE_GAP: Duration = Duration::from_secs(10);
const OUTAGE_GAP: Duration = Duration::from_secs(30);

/// What becomes of all datagrams between the parties of a run and the daemon, each way for itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Impairment {
    /// As it was asked for.
    pub text: String,
    pub conditions: Conditions,
    pub seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImpairError {
    #[error("--impair knows no {key:?}; known are {}", known())]
    Key { key: String },
    #[error("--impair {key} needs a value: {key}=…, {allowed}")]
    NoValue { key: &'static str, allowed: String },
    #[error("--impair {key}={value} is not {allowed}")]
    Value {
        key: &'static str,
        value: String,
        allowed: String,
    },
    #[error("--impair says {key} twice; once is allowed")]
    Twice { key: &'static str },
    #[error(
        "--impair {text:?} asks for nothing; allowed is a list such as loss=5,jitter=40,seed=7 of {}",
        known()
    )]
    Empty { text: String },
}

/// What may be asked for: its name, what it counts, the least and the most.
struct Key {
    name: &'static str,
    counts: &'static str,
    least: f64,
    most: f64,
    /// It comes again and again: `=300/10` is every ten seconds on the mean.
    recurs: bool,
    set: fn(&mut Conditions, f64, Duration),
}

const KEYS: [Key; 9] = [
    Key {
        name: "loss",
        counts: "percent of the packets",
        least: 0.0,
        most: 100.0,
        recurs: false,
        set: |conditions, percent, _| conditions.loss = percent / 100.0,
    },
    Key {
        name: "burst",
        counts: "packets lost in a row on the mean",
        least: 1.0,
        most: 1_000.0,
        recurs: false,
        set: |conditions, packets, _| conditions.loss_burst = packets,
    },
    Key {
        name: "delay",
        counts: "milliseconds each way",
        least: 0.0,
        most: 10_000.0,
        recurs: false,
        set: |conditions, ms, _| conditions.delay = millis(ms),
    },
    Key {
        name: "jitter",
        counts: "milliseconds on top at most, evenly distributed",
        least: 0.0,
        most: 10_000.0,
        recurs: false,
        set: |conditions, ms, _| conditions.jitter = Jitter::Uniform(millis(ms)),
    },
    Key {
        name: "spike",
        counts: "milliseconds for which nothing gets through, then all at once, every 10 seconds or as /SECONDS says",
        least: 1.0,
        most: 60_000.0,
        recurs: true,
        set: |conditions, ms, gap| {
            let gap = if gap.is_zero() { SPIKE_GAP } else { gap };
            conditions.stalls = Some(spells(millis(ms), gap));
        },
    },
    Key {
        name: "outage",
        counts: "milliseconds for which all is lost, every 30 seconds or as /SECONDS says",
        least: 1.0,
        most: 60_000.0,
        recurs: true,
        set: |conditions, ms, gap| {
            let gap = if gap.is_zero() { OUTAGE_GAP } else { gap };
            conditions.outages = Some(spells(millis(ms), gap));
        },
    },
    Key {
        name: "reorder",
        counts: "percent of the packets, overtaken within 60 ms",
        least: 0.0,
        most: 100.0,
        recurs: false,
        set: |conditions, percent, _| {
            conditions.reordering = percent / 100.0;
            conditions.reordering_by = REORDERING_BY;
        },
    },
    Key {
        name: "duplicate",
        counts: "percent of the packets, arriving twice",
        least: 0.0,
        most: 100.0,
        recurs: false,
        set: |conditions, percent, _| conditions.duplication = percent / 100.0,
    },
    Key {
        name: "drift",
        counts: "millionths by which the parties' clocks are fast",
        least: -1_000.0,
        most: 1_000.0,
        recurs: false,
        set: |conditions, ppm, _| conditions.drift_ppm = ppm,
    },
];

const SEED: &str = "seed";

impl FromStr for Impairment {
    type Err = ImpairError;

    fn from_str(text: &str) -> Result<Impairment, ImpairError> {
        let mut impairment = Impairment {
            text: text.to_owned(),
            conditions: Conditions::PERFECT,
            seed: 1,
        };
        let mut said: Vec<&str> = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (word, None),
            };
            let key = KEYS.iter().find(|key| key.name == name);
            let name = match key {
                Some(key) => key.name,
                None if name == SEED => SEED,
                None => return Err(ImpairError::Key { key: name.to_owned() }),
            };
            if said.contains(&name) {
                return Err(ImpairError::Twice { key: name });
            }
            said.push(name);
            let allowed = || key.map_or_else(seeds, Key::allowed);
            let value = value.filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| ImpairError::NoValue {
                key: name,
                allowed: allowed(),
            })?;
            let set = match key {
                Some(key) => key.read(value, &mut impairment.conditions),
                None => value.parse().ok().map(|seed| impairment.seed = seed),
            };
            set.ok_or_else(|| ImpairError::Value {
                key: name,
                value: value.to_owned(),
                allowed: allowed(),
            })?;
        }
        if said.is_empty() {
            return Err(ImpairError::Empty {
                text: text.to_owned(),
            });
        }
        Ok(impairment)
    }
}

impl Impairment {
    /// The two ways of a leg, to the daemon and from it.
    pub fn ways(&self, leg: usize) -> [Network; 2] {
        let mut chance =
            fastrand::Rng::with_seed(self.seed ^ (leg as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        [(); 2].map(|()| {
            let mut conditions = self.conditions;
            // Not all legs at once.
            for spells in [&mut conditions.stalls, &mut conditions.outages]
                .into_iter()
                .flatten()
            {
                spells.first = spells.first.mul_f64(chance.f64());
            }
            Network::seeded(chance.u64(..), conditions)
        })
    }
}

impl Key {
    /// `None` where the value is not what it may be.
    fn read(&self, value: &str, conditions: &mut Conditions) -> Option<()> {
        let (value, gap) = match value.split_once('/') {
            Some((value, gap)) if self.recurs => (value, number(gap, 0.1, 86_400.0)?),
            _ => (value, 0.0),
        };
        let value = number(value, self.least, self.most)?;
        (self.set)(conditions, value, Duration::from_secs_f64(gap));
        Some(())
    }

    fn allowed(&self) -> String {
        format!("{} to {} {}", self.least, self.most, self.counts)
    }
}

fn number(text: &str, least: f64, most: f64) -> Option<f64> {
    let number = text.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

fn known() -> String {
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).chain([SEED]).collect();
    names.join(", ")
}

fn seeds() -> String {
    "a whole number from 0 on".to_owned()
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

fn spells(lasts: Duration, mean_gap: Duration) -> Spells {
    Spells {
        first: mean_gap,
        lasts,
        mean_gap: Some(mean_gap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Conditions {
        text.parse::<Impairment>().expect(text).conditions
    }

    #[test]
    fn a_line_of_text_is_a_network() {
        let impairment: Impairment = "loss=5,jitter=40,seed=7".parse().expect("it is good");
        assert_eq!(impairment.seed, 7);
        assert_eq!(
            impairment.conditions,
            Conditions {
                loss: 0.05,
                jitter: Jitter::Uniform(Duration::from_millis(40)),
                ..Conditions::PERFECT
            }
        );
        let all = parsed(
            "burst=3, delay=30, spike=300/5, outage=2000, reorder=1.5, duplicate=2, drift=-200, loss=1",
        );
        assert_eq!(
            all,
            Conditions {
                loss: 0.01,
                loss_burst: 3.0,
                delay: Duration::from_millis(30),
                stalls: Some(spells(Duration::from_millis(300), Duration::from_secs(5))),
                outages: Some(spells(Duration::from_secs(2), OUTAGE_GAP)),
                reordering: 0.015,
                reordering_by: REORDERING_BY,
                duplication: 0.02,
                drift_ppm: -200.0,
                ..Conditions::PERFECT
            }
        );
    }

    #[test]
    fn what_is_not_understood_is_one_sentence_that_names_it_and_what_is_allowed() {
        for (text, sentence) in [
            (
                "los=5",
                "--impair knows no \"los\"; known are loss, burst, delay, jitter, spike, outage, reorder, duplicate, \
                 drift, seed",
            ),
            (
                "loss=105",
                "--impair loss=105 is not 0 to 100 percent of the packets",
            ),
            ("jitter=-1", "--impair jitter=-1 is not 0 to 10000 milliseconds"),
            ("jitter=NaN", "--impair jitter=NaN is not"),
            ("burst=0", "--impair burst=0 is not 1 to 1000 packets"),
            ("delay=5/3", "--impair delay=5/3 is not"),
            ("spike=300/0", "--impair spike=300/0 is not"),
            ("seed=x", "--impair seed=x is not a whole number from 0 on"),
            ("loss", "--impair loss needs a value: loss=…, 0 to 100"),
            ("seed=", "--impair seed needs a value"),
            ("loss=1,loss=2", "--impair says loss twice"),
            (" , ", "--impair \" , \" asks for nothing"),
        ] {
            let error = text.parse::<Impairment>().expect_err(text).to_string();
            assert!(error.starts_with(sentence), "{error}");
        }
    }

    #[test]
    fn every_leg_and_way_has_its_own_chance_and_the_same_each_time() {
        use crate::time::Time;
        let impairment: Impairment = "loss=30,jitter=40".parse().expect("it is good");
        let run = |leg: usize, way: usize| -> Vec<_> {
            let mut network = impairment.ways(leg)[way].clone();
            (0..50)
                .map(|n| network.offer(Time::from_millis(20 * n), 172))
                .collect()
        };
        assert_eq!(run(3, 0), run(3, 0));
        assert_ne!(run(3, 0), run(3, 1));
        assert_ne!(run(3, 0), run(4, 0));
    }
}
