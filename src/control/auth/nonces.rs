//! Signatures that were used: each holds once.
//!
//! Only valid ones get here, so a stranger cannot fill the memory; full, it refuses rather than forgets what could be
//! sent again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::Denied;
use crate::control::refusal::{BAD_SIGNATURE, BAD_TIMESTAMP};
use crate::control::tally::RequestRefusal;

/// Longer than the window in which a signature holds.
const KEPT: Duration = Duration::from_secs(600);

/// Some 80 MiB: 1,700 signed requests a second for as long as they are kept.
pub const NONCES_MAX: usize = 1 << 20;

/// Enough of a signature to know it by.
type Nonce = [u8; 16];

/// A request whose signature is right.
#[derive(Clone, Copy)]
pub struct Signed {
    pub signature: [u8; 32],
    pub at: Timestamp,
}

/// Spans of time in which forgotten signatures lie; beyond so many, the two that are oldest become one.
const SPANS_MAX: usize = 16;
/// Forgotten signatures that are no further apart belong to one span.
const SPAN_GAP: SignedDuration = SignedDuration::from_secs(300);

/// The memory is not for one key alone: each has so much of it.
const SHARES: usize = 4;

pub struct Nonces {
    used: HashSet<Nonce>,
    by_age: VecDeque<Used>,
    by_key: HashMap<Arc<str>, usize>,
    /// From the earliest to the latest time that forgotten signatures bear, in the order of forgetting. Where the wall
    /// clock is set back those hold again by their time, so no signature of such a time is taken; what lies between,
    /// as after a clock that was wrong for a while, is.
    forgotten: Vec<(Timestamp, Timestamp)>,
    max: usize,
}

struct Used {
    since: Instant,
    at: Timestamp,
    nonce: Nonce,
    key: Arc<str>,
}

impl Nonces {
    pub fn new(max: usize) -> Nonces {
        Nonces {
            used: HashSet::new(),
            by_age: VecDeque::new(),
            by_key: HashMap::new(),
            forgotten: Vec::new(),
            max,
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Remembers a signature of a key, or says why it does not hold any more.
    pub fn take(&mut self, key: &str, signed: Signed, now: Instant) -> Result<(), Denied> {
        while let Some(oldest) = self.by_age.front()
            && now.saturating_duration_since(oldest.since) >= KEPT
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.forget(&oldest);
        }
        if self
            .forgotten
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&signed.at))
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
        if self.used.contains(&nonce) {
            return Err(Denied::new(
                RequestRefusal::Replayed,
                BAD_SIGNATURE,
                "This signature was used before: sign each request anew, with its own `x-timestamp`.",
            ));
        }
        let of_key = self.by_key.get(key).copied().unwrap_or(0);
        if self.used.len() >= self.max || of_key >= self.max / SHARES {
            return Err(Denied::too_many(
                RequestRefusal::NoncesFull,
                "More signed requests in ten minutes than can be remembered.",
            ));
        }
        self.used.insert(nonce);
        let known = self.by_key.get_key_value(key).map(|(key, _)| Arc::clone(key));
        let key = known.unwrap_or_else(|| key.into());
        *self.by_key.entry(Arc::clone(&key)).or_default() += 1;
        self.by_age.push_back(Used {
            since: now,
            at: signed.at,
            nonce,
            key,
        });
        Ok(())
    }

    fn forget(&mut self, used: &Used) {
        self.used.remove(&used.nonce);
        if let Some(count) = self.by_key.get_mut(&used.key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(&used.key);
            }
        }
        let near = |(from, to): &&mut (Timestamp, Timestamp)| {
            from.duration_since(used.at) <= SPAN_GAP && used.at.duration_since(*to) <= SPAN_GAP
        };
        match self.forgotten.iter_mut().rev().find(near) {
            Some((from, to)) => (*from, *to) = ((*from).min(used.at), (*to).max(used.at)),
            None => self.forgotten.push((used.at, used.at)),
        }
        if self.forgotten.len() > SPANS_MAX {
            let (from, to) = self.forgotten.remove(0);
            let (next_from, next_to) = self.forgotten[0];
            self.forgotten[0] = (from.min(next_from), to.max(next_to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    fn signed(number: u8, at: Timestamp) -> Signed {
        Signed {
            signature: [number; 32],
            at,
        }
    }

    #[test]
    fn a_signature_holds_once_and_what_is_forgotten_does_not_hold_again() {
        let mut nonces = Nonces::new(8);
        let start = Instant::now();
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        nonces.take("a", signed(1, at), start).unwrap();
        let again = nonces
            .take("a", signed(1, at), start + Duration::from_secs(599))
            .unwrap_err();
        assert_eq!(
            (again.reason, again.refusal.code),
            (RequestRefusal::Replayed, 40102)
        );
        nonces.take("a", signed(2, at + 1.second()), start).unwrap();
        // As where the wall clock was set back in between.
        let later = start + Duration::from_secs(600);
        for number in [1, 2, 3] {
            let old = nonces
                .take("a", signed(number, at + 1.second()), later)
                .unwrap_err();
            assert_eq!((old.reason, old.refusal.code), (RequestRefusal::Forgotten, 40101));
        }
        nonces.take("a", signed(3, at + 2.seconds()), later).unwrap();
        assert_eq!(nonces.used.len(), nonces.by_age.len());
        assert_eq!(nonces.by_key.values().sum::<usize>(), nonces.by_age.len());
    }

    #[test]
    fn one_key_fills_its_share_of_the_memory_and_no_more() {
        let mut nonces = Nonces::new(8);
        let start = Instant::now();
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for number in 0..2 {
            nonces.take("a", signed(number, at), start).unwrap();
        }
        let full = nonces.take("a", signed(2, at), start).unwrap_err();
        assert_eq!(
            (full.reason, full.refusal.code),
            (RequestRefusal::NoncesFull, 42900)
        );
        assert_eq!(full.refusal.retry_after_s, Some(1));
        nonces.take("b", signed(2, at), start).unwrap();
        let later = start + Duration::from_secs(600);
        nonces.take("a", signed(3, at + 1.second()), later).unwrap();
    }

    /// Fault row S2.
    #[test]
    fn a_clock_that_was_wrong_for_a_while_does_not_shut_out_who_is_right_again() {
        let mut nonces = Nonces::new(400);
        let start = Instant::now();
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let minute = |count: u64| start + Duration::from_secs(60 * count);
        nonces.take("a", signed(1, at), minute(0)).unwrap();
        // A day ahead, and right again.
        nonces.take("a", signed(2, at + 24.hours()), minute(1)).unwrap();
        nonces
            .take("a", signed(3, at + 12.minutes()), minute(12))
            .unwrap();
        assert_eq!(nonces.forgotten.len(), 2);
        let old = nonces
            .take("a", signed(2, at + 24.hours()), minute(13))
            .unwrap_err();
        assert_eq!(old.reason, RequestRefusal::Forgotten);
        for number in 0..90 {
            let jump = (i64::from(number) * 11).hours();
            let when = minute(100 + 11 * u64::from(number));
            nonces
                .take("a", signed(number, at + 400.hours() + jump), when)
                .unwrap();
            assert!(nonces.forgotten.len() <= SPANS_MAX);
        }
    }
}
