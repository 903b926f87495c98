//! A set of numbers as the ranges that it has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Written as a list of `[first, last]`, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges {
    /// First and last; they neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

/// What was taken out of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    pub first: u64,
    pub last: u64,
    pub count: u64,
}

impl Ranges {
    pub fn first(&self) -> Option<u64> {
        self.ranges.first_key_value().map(|(first, _)| *first)
    }

    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Nothing where `first` is above `last`.
    pub fn insert(&mut self, mut first: u64, mut last: u64) {
        if first > last {
            return;
        }
        // Those that begin in it or right behind it, and the one that it begins in or right behind.
        let behind = self.ranges.range(..=last.saturating_add(1));
        let joined: Vec<(u64, u64)> = behind
            .rev()
            .take_while(|(_, end)| end.saturating_add(1) >= first)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in joined {
            self.ranges.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// Whether it was there.
    pub fn remove(&mut self, number: u64) -> bool {
        self.remove_all(number, number).is_some()
    }

    /// `None` where none of them was there.
    pub fn remove_all(&mut self, first: u64, last: u64) -> Option<Removed> {
        let mut removed: Option<Removed> = None;
        let touched: Vec<(u64, u64)> = self
            .ranges
            .range(..=last)
            .rev()
            .take_while(|(_, end)| **end >= first)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touched.into_iter().rev() {
            self.ranges.remove(&start);
            if start < first {
                self.ranges.insert(start, first - 1);
            }
            if end > last {
                self.ranges.insert(last + 1, end);
            }
            let (from, to) = (start.max(first), end.min(last));
            removed = Some(Removed {
                first: removed.map_or(from, |removed| removed.first),
                last: to,
                count: removed.map_or(0, |removed| removed.count) + (to - from + 1),
            });
        }
        removed
    }
}

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(list: Vec<(u64, u64)>) -> Ranges {
        let mut ranges = Ranges::default();
        for (first, last) in list {
            ranges.insert(first, last);
        }
        ranges
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Vec<(u64, u64)> {
        ranges.ranges.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_are_the_set_that_they_stand_for() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..30 {
                let first = rng.u64(0..40);
                let last = first + rng.u64(0..8);
                if rng.bool() {
                    ranges.insert(first, last);
                    set.extend(first..=last);
                } else {
                    let gone: Vec<u64> = set.range(first..=last).copied().collect();
                    set.retain(|number| !gone.contains(number));
                    let removed = gone.first().map(|&first| Removed {
                        first,
                        last: gone[gone.len() - 1],
                        count: gone.len() as u64,
                    });
                    assert_eq!(ranges.remove_all(first, last), removed);
                }
                let list = Vec::from(ranges.clone());
                let all: BTreeSet<u64> = list.iter().flat_map(|(first, last)| *first..=*last).collect();
                assert_eq!((&all, ranges.count()), (&set, set.len() as u64));
                assert_eq!(ranges.first(), set.first().copied());
                assert!(list.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{list:?}");
                assert_eq!(Ranges::from(list), ranges);
            }
        }
        let mut none = Ranges::default();
        none.insert(2, 1);
        assert_eq!((none.first(), none.remove(1)), (None, false));
    }
}
