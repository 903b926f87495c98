//! Signatures that were used: each holds once.
//!
//! Only valid ones get here, so a stranger cannot fill the memory; full, it refuses rather than forgets what could be
//! sent again. They lie by the second of the time that they bear, and go with it once that time is no longer taken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::schemes::WINDOW;
use super::{Denied, Moment};
use crate::control::refusal::{BAD_SIGNATURE, BAD_TIMESTAMP};
use crate::control::tally::RequestRefusal;

/// At 20 to 40 bytes each: 80 MiB at most. A clock that is right has its signatures remembered for five minutes: some
/// 7,000 a second of all keys.
pub const NONCES_MAX: usize = 1 << 21;

/// The memory is not for one key alone: each has at least, and at most, such a part of it; in between what its bound
/// of requests a second takes.
const PART_MIN: usize = 4;
const PART_MAX: usize = 2;

/// Seconds for which a signature can be remembered: one from the end of the window to come.
const KEPT_MAX_S: usize = 2 * WINDOW.as_secs() as usize;

/// Enough of a signature to know it by.
type Nonce = [u8; 16];

/// A second of the clock by which signatures are made, since 1970.
type Second = i64;

/// A request whose signature is right.
#[derive(Clone, Copy)]
pub struct Signed {
    pub signature: [u8; 32],
    pub at: Timestamp,
}

/// Spans of time in which forgotten signatures lie; beyond so many, the two that are closest become one.
const SPANS_MAX: usize = 16;

pub struct Nonces {
    by_second: BTreeMap<Second, Used>,
    /// When the next of them is to be forgotten.
    due: Option<Instant>,
    by_key: HashMap<Arc<str>, usize>,
    in_all: usize,
    /// First and last of the seconds of which signatures are forgotten, in their order. Where the wall clock is set
    /// back those hold again by their time, so no signature of such a time is taken; what lies between, as after a
    /// clock that was wrong for a while, is.
    forgotten: Vec<(Second, Second)>,
    max: usize,
}

/// Signatures of one second.
struct Used {
    /// None of them is in time from here on.
    until: Instant,
    nonces: HashSet<Nonce>,
    by_key: HashMap<Arc<str>, usize>,
}

impl Nonces {
    pub fn new(max: usize) -> Nonces {
        Nonces {
            by_second: BTreeMap::new(),
            due: None,
            by_key: HashMap::new(),
            in_all: 0,
            forgotten: Vec::new(),
            max,
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.in_all
    }

    /// Remembers a signature of a key that may ask so often a second (0: without bound), or says why it does not hold
    /// any more. It is in time at `now`.
    pub fn take(
        &mut self,
        key: &str,
        signed: Signed,
        requests_per_s: u32,
        now: Moment,
    ) -> Result<(), Denied> {
        self.forget(now.monotonic);
        let second = signed.at.as_second();
        if self
            .forgotten
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&second))
        {
            tracing::warn!(
                "a signature bears a time of which signatures are forgotten: was the wall clock set back?"
            );
            return Err(Denied::new(
                RequestRefusal::Forgotten,
                BAD_TIMESTAMP,
                "`x-timestamp` is of a time that this daemon remembers no signatures of.",
            ));
        }
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&signed.signature[..size_of::<Nonce>()]);
        // Whoever sends one again has to send its time with it.
        let is_known = |used: &Used| used.nonces.contains(&nonce);
        if self.by_second.get(&second).is_some_and(is_known) {
            return Err(Denied::new(
                RequestRefusal::Replayed,
                BAD_SIGNATURE,
                "This signature was used before: sign each request anew, with its own `x-timestamp`.",
            ));
        }
        let of_key = self.by_key.get(key).copied().unwrap_or(0);
        if self.in_all >= self.max || of_key >= self.part(requests_per_s) {
            return Err(Denied::too_many(
                RequestRefusal::NoncesFull,
                "More signed requests than can be remembered until their time is past.",
            ));
        }
        let until = now.monotonic + rest(second, now.wall);
        let known = self.by_key.get_key_value(key).map(|(key, _)| Arc::clone(key));
        let key = known.unwrap_or_else(|| key.into());
        let used = self.by_second.entry(second).or_insert_with(|| Used {
            until,
            nonces: HashSet::new(),
            by_key: HashMap::new(),
        });
        used.until = used.until.max(until);
        used.nonces.insert(nonce);
        *used.by_key.entry(Arc::clone(&key)).or_default() += 1;
        *self.by_key.entry(key).or_default() += 1;
        self.in_all += 1;
        self.due = Some(self.due.map_or(until, |due| due.min(until)));
        Ok(())
    }

    /// How many one key may have.
    fn part(&self, requests_per_s: u32) -> usize {
        match requests_per_s as usize {
            0 => self.max / PART_MAX,
            per_s => (per_s * KEPT_MAX_S).clamp(self.max / PART_MIN, self.max / PART_MAX),
        }
    }

    /// Lets go of all whose time is past.
    fn forget(&mut self, now: Instant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let past: Vec<Second> = self
            .by_second
            .iter()
            .filter(|(_, used)| used.until <= now)
            .map(|(second, _)| *second)
            .collect();
        for second in past {
            let Some(used) = self.by_second.remove(&second) else {
                continue;
            };
            self.in_all -= used.nonces.len();
            for (key, count) in used.by_key {
                if let Some(in_all) = self.by_key.get_mut(&key) {
                    *in_all -= count;
                    if *in_all == 0 {
                        self.by_key.remove(&key);
                    }
                }
            }
            self.lose(second);
        }
        self.due = self.by_second.values().map(|used| used.until).min();
    }

    /// Notes a second as one of which signatures are forgotten.
    fn lose(&mut self, second: Second) {
        let place = self.forgotten.partition_point(|(_, to)| *to < second);
        if self.forgotten.get(place).is_some_and(|(from, _)| *from <= second) {
            return;
        }
        self.forgotten.insert(place, (second, second));
        if self.forgotten.len() <= SPANS_MAX {
            return;
        }
        let gap = |index: &usize| self.forgotten[*index].0 - self.forgotten[*index - 1].1;
        if let Some(closest) = (1..self.forgotten.len()).min_by_key(gap) {
            let (_, to) = self.forgotten.remove(closest);
            self.forgotten[closest - 1].1 = to;
        }
    }
}

/// How long it takes, as of this time, until nothing of this second is taken any more.
fn rest(second: Second, wall: Timestamp) -> Duration {
    let end = SignedDuration::from_secs(second + 1) + WINDOW;
    let rest = end - wall.as_duration();
    Duration::try_from(rest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    const BEGINNING: &str = "2026-01-02T03:04:05Z";

    fn signed(number: u64, at: Timestamp) -> Signed {
        let mut signature = [0; 32];
        signature[..8].copy_from_slice(&number.to_be_bytes());
        Signed { signature, at }
    }

    /// Clocks that agree: so many seconds after the beginning.
    fn after(start: Instant, seconds: u64) -> Moment {
        let wall: Timestamp = BEGINNING.parse().unwrap();
        Moment {
            monotonic: start + Duration::from_secs(seconds),
            wall: wall + SignedDuration::from_secs(seconds as i64),
        }
    }

    #[test]
    fn a_signature_holds_once_and_what_is_forgotten_does_not_hold_again() {
        let mut nonces = Nonces::new(8);
        let start = Instant::now();
        let now = after(start, 0);
        nonces.take("a", signed(1, now.wall), 0, now).unwrap();
        nonces
            .take("a", signed(2, now.wall + 1.second()), 0, now)
            .unwrap();
        // As long as it is in time.
        let again = nonces
            .take("a", signed(1, now.wall), 0, after(start, 300))
            .unwrap_err();
        assert_eq!(
            (again.reason, again.refusal.code),
            (RequestRefusal::Replayed, 40102)
        );
        // As where the wall clock was set back in between.
        let later = Moment {
            wall: now.wall,
            ..after(start, 302)
        };
        for number in [1, 2, 3] {
            let old = nonces
                .take("a", signed(number, now.wall + 1.second()), 0, later)
                .unwrap_err();
            assert_eq!((old.reason, old.refusal.code), (RequestRefusal::Forgotten, 40101));
        }
        nonces
            .take("a", signed(3, now.wall + 2.seconds()), 0, later)
            .unwrap();
        assert_eq!((nonces.len(), &nonces.by_key["a"]), (1, &1));
    }

    #[test]
    fn a_signature_is_remembered_for_as_long_as_its_time_is_taken_and_no_longer() {
        for ahead in [-300, -299, 0, 1, 300] {
            let mut nonces = Nonces::new(8);
            let start = Instant::now();
            let now = after(start, 0);
            let at = now.wall + SignedDuration::from_secs(ahead);
            nonces.take("a", signed(1, at), 0, now).unwrap();
            let taken_until = (ahead + 300) as u64;
            nonces.forget(after(start, taken_until).monotonic);
            assert_eq!(nonces.len(), 1, "{ahead}");
            nonces.forget(after(start, taken_until + 1).monotonic);
            assert_eq!((nonces.len(), nonces.by_key.len()), (0, 0), "{ahead}");
            assert_eq!(nonces.due, None);
        }
    }

    #[test]
    fn one_key_fills_its_part_of_the_memory_and_no_more() {
        let mut nonces = Nonces::new(8);
        let start = Instant::now();
        let now = after(start, 0);
        for number in 0..4 {
            nonces.take("a", signed(number, now.wall), 0, now).unwrap();
        }
        let full = nonces.take("a", signed(4, now.wall), 0, now).unwrap_err();
        assert_eq!(
            (full.reason, full.refusal.code),
            (RequestRefusal::NoncesFull, 42900)
        );
        assert_eq!(full.refusal.retry_after_s, Some(1));
        nonces.take("b", signed(4, now.wall), 0, now).unwrap();
        let later = after(start, 301);
        nonces.take("a", signed(5, later.wall), 0, later).unwrap();
    }

    #[test]
    fn a_key_can_sign_as_many_requests_as_it_may_make() {
        let nonces = Nonces::new(NONCES_MAX);
        let by_default = crate::config::Config::defaults().auth.requests_per_s;
        assert!(nonces.part(by_default) >= 600 * by_default as usize);
        assert_eq!(nonces.part(1), NONCES_MAX / 4);
        assert_eq!(nonces.part(u32::MAX), NONCES_MAX / 2);
    }

    /// Fault row S2: a day ahead and right again, with a request each ten minutes.
    #[test]
    fn a_clock_that_was_wrong_for_a_while_does_not_shut_out_who_is_right_again() {
        let mut nonces = Nonces::new(400);
        let start = Instant::now();
        let day = 24.hours();
        nonces
            .take("a", signed(0, after(start, 0).wall), 0, after(start, 0))
            .unwrap();
        let wrong = Moment {
            wall: after(start, 1).wall + day,
            ..after(start, 1)
        };
        nonces.take("a", signed(1, wrong.wall), 0, wrong).unwrap();
        for number in 2..400 {
            let now = after(start, 600 * (number - 1));
            nonces.take("a", signed(number, now.wall), 0, now).unwrap();
            assert!(nonces.forgotten.len() <= SPANS_MAX);
            assert!(nonces.forgotten.is_sorted());
        }
        // What was signed by the wrong clock is forgotten for good.
        let late = after(start, 1);
        let old = nonces.take("a", signed(1, wrong.wall), 0, late).unwrap_err();
        assert_eq!(old.reason, RequestRefusal::Forgotten);
    }

    /// Fault row S2: the other way about, and so long that there are more spans than are kept.
    #[test]
    fn a_clock_that_was_wrong_for_hours_does_not_join_its_times_to_those_that_are_right() {
        let mut nonces = Nonces::new(400);
        let start = Instant::now();
        nonces
            .take("a", signed(0, after(start, 0).wall), 0, after(start, 0))
            .unwrap();
        for number in 1..40 {
            let now = after(start, 600 * number);
            let wrong = Moment {
                wall: now.wall + 24.hours(),
                ..now
            };
            nonces.take("a", signed(number, wrong.wall), 0, wrong).unwrap();
        }
        for number in 40..80 {
            let now = after(start, 600 * number);
            nonces.take("a", signed(number, now.wall), 0, now).unwrap();
        }
    }
}
