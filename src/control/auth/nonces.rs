//! Signatures that were used: each holds once.
//!
//! Only valid ones get here, so a stranger cannot fill the memory; full, it refuses rather than forgets what could be
//! sent again.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Denied;
use crate::control::refusal::{BAD_SIGNATURE, BAD_TIMESTAMP};
use crate::control::tally::RequestRefusal;

/// Longer than the window in which a signature holds.
const KEPT: Duration = Duration::from_secs(600);

/// Some 60 MiB: 1,700 signed requests a second for as long as they are kept.
pub const NONCES_MAX: usize = 1 << 20;

/// Enough of a signature to know it by.
type Nonce = [u8; 16];

/// A request whose signature is right.
#[derive(Clone, Copy)]
pub struct Signed {
    pub signature: [u8; 32],
    pub at: Timestamp,
}

pub struct Nonces {
    used: HashSet<Nonce>,
    by_age: VecDeque<(Instant, Timestamp, Nonce)>,
    /// The latest time that a forgotten signature bears. Where the wall clock is set back those hold again by their
    /// time; none that is not younger is taken.
    forgotten_to: Option<Timestamp>,
    max: usize,
}

impl Nonces {
    pub fn new(max: usize) -> Nonces {
        Nonces {
            used: HashSet::new(),
            by_age: VecDeque::new(),
            forgotten_to: None,
            max,
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Remembers a signature, or says why it does not hold any more.
    pub fn take(&mut self, signed: Signed, now: Instant) -> Result<(), Denied> {
        while let Some(&(used, at, nonce)) = self.by_age.front()
            && now.saturating_duration_since(used) >= KEPT
        {
            self.by_age.pop_front();
            self.used.remove(&nonce);
            self.forgotten_to = self.forgotten_to.max(Some(at));
        }
        if self.forgotten_to.is_some_and(|to| signed.at <= to) {
            return Err(Denied::new(
                RequestRefusal::Timestamp,
                BAD_TIMESTAMP,
                "`x-timestamp` is older than this daemon remembers signatures.",
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
        if self.used.len() >= self.max {
            return Err(Denied::too_many(
                RequestRefusal::NoncesFull,
                "More signed requests in ten minutes than can be remembered.",
            ));
        }
        self.used.insert(nonce);
        self.by_age.push_back((now, signed.at, nonce));
        Ok(())
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
        let mut nonces = Nonces::new(2);
        let start = Instant::now();
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        nonces.take(signed(1, at), start).unwrap();
        let again = nonces
            .take(signed(1, at), start + Duration::from_secs(599))
            .unwrap_err();
        assert_eq!(
            (again.reason, again.refusal.code),
            (RequestRefusal::Replayed, 40102)
        );
        nonces.take(signed(2, at + 1.second()), start).unwrap();
        let full = nonces.take(signed(3, at), start).unwrap_err();
        assert_eq!(
            (full.reason, full.refusal.code),
            (RequestRefusal::NoncesFull, 42900)
        );
        assert_eq!(full.refusal.retry_after_s, Some(1));
        // As where the wall clock was set back in between.
        let later = start + Duration::from_secs(600);
        for number in [1, 2, 3] {
            let old = nonces.take(signed(number, at + 1.second()), later).unwrap_err();
            assert_eq!((old.reason, old.refusal.code), (RequestRefusal::Timestamp, 40101));
        }
        nonces.take(signed(3, at + 2.seconds()), later).unwrap();
        assert_eq!(nonces.used.len(), nonces.by_age.len());
    }
}
