//! Whose turn it is: recordings wait here for their next pass, and each of several threads takes the one that is due
//! the longest. Taken means out of here, so that no recording is ever on two threads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub struct Turns<T> {
    /// By when they are due, then by who came first.
    waiting: BTreeMap<(Instant, u64), T>,
    came: u64,
    taken: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns {
            waiting: BTreeMap::new(),
            came: 0,
            taken: 0,
        }
    }
}

impl<T> Turns<T> {
    /// Lets it wait until it is due.
    pub fn put(&mut self, item: T, due: Instant) {
        self.came += 1;
        self.waiting.insert((due, self.came), item);
    }

    /// The one that is due the longest. To each belongs one [`Turns::is_done`].
    pub fn take(&mut self, now: Instant) -> Option<T> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        self.taken += 1;
        Some(first.remove())
    }

    /// Counts one as taken that did not wait here.
    pub fn take_from_elsewhere(&mut self) {
        self.taken += 1;
    }

    /// A turn is over, whether what was taken was put back or not.
    pub fn is_done(&mut self) {
        self.taken -= 1;
    }

    /// How many wait and how many are taken.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.waiting.len() + self.taken
    }

    /// How long until the next is due; `None` when none waits.
    pub fn until_next(&self, now: Instant) -> Option<Duration> {
        let ((due, _), _) = self.waiting.first_key_value()?;
        Some(due.saturating_duration_since(now))
    }

    /// All that wait are due.
    pub fn hurry(&mut self, now: Instant) {
        for ((due, _), item) in std::mem::take(&mut self.waiting) {
            self.put(item, due.min(now));
        }
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_due_the_longest_is_next_and_who_is_not_due_waits() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut turns = Turns::default();
        for (name, due) in [('c', at(20)), ('a', at(10)), ('b', at(10)), ('d', at(30))] {
            turns.put(name, due);
        }
        assert_eq!(turns.take(at(9)), None);
        assert_eq!(turns.until_next(at(9)), Some(Duration::from_millis(1)));
        let taken: Vec<_> = std::iter::from_fn(|| turns.take(at(29))).collect();
        assert_eq!(taken, ['a', 'b', 'c']);
        assert_eq!(turns.until_next(at(29)), Some(Duration::from_millis(1)));
        turns.clear();
        assert_eq!(turns.until_next(at(29)), None);
    }

    #[test]
    fn what_is_taken_counts_until_its_turn_is_over_and_nobody_else_gets_it() {
        let now = Instant::now();
        let mut turns = Turns::default();
        turns.put('a', now);
        assert_eq!(turns.take(now), Some('a'));
        assert_eq!((turns.take(now), turns.len()), (None, 1));
        turns.put('a', now);
        turns.is_done();
        assert_eq!(turns.len(), 1);
        turns.take_from_elsewhere();
        assert_eq!(turns.len(), 2);
    }

    #[test]
    fn in_a_hurry_all_are_due_in_their_order() {
        let now = Instant::now();
        let mut turns = Turns::default();
        turns.put('b', now + Duration::from_secs(9));
        turns.put('a', now - Duration::from_secs(9));
        turns.hurry(now);
        assert_eq!((turns.take(now), turns.take(now)), (Some('a'), Some('b')));
    }
}
