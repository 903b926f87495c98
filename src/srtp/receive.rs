//! The peer's half: SRTP becomes RTP, SRTCP becomes RTCP, or the datagram has a reason not to.
//!
//! In this order: where the parts are, which index is meant, whether it was there before, whether the tag is right. Only then
//! is anything remembered. A forger costs us at most four tags a datagram: two while a source is unknown or its
//! key is new, twice that until the key before is given up.

use std::fmt;

use super::UnprotectError;
use super::cipher::{ENCRYPTED, NotAuthentic, Retry, Trailer};
use super::derive::SessionKeys;
use super::head::{Head, RTCP_HEAD_BYTES, rtcp_ssrc};
use super::index::INDEX_MAX;
use super::key::{MasterKey, Suite};
use super::source::{Numbering, Sources, candidates};

/// So many packets under a new key give up the one before, with which packets may still be on their way.
const GRACE_PACKETS: u32 = 64;

/// Unprotects what one leg receives.
pub struct Receiver {
    pub(super) current: Epoch,
    /// The key before this one, and how many packets it has left.
    previous: Option<(Epoch, u32)>,
}

impl Receiver {
    /// `mki_bytes` is the length of the MKI in the peer's packets, 0 for none.
    pub fn new(key: &MasterKey, mki_bytes: u8) -> Receiver {
        Receiver {
            current: Epoch::new(key, mki_bytes, Sources::default()),
            previous: None,
        }
    }

    /// Decrypts an SRTP packet in place if it is authentic; then `datagram[..n]` is the RTP packet of the length `n` returned.
    /// Otherwise what is in the datagram is of no more use.
    pub fn unprotect(&mut self, datagram: &mut [u8]) -> Result<usize, UnprotectError> {
        let head = Head::parse(datagram).ok_or(UnprotectError::Malformed)?;
        let outcome = self.current.unprotect(&head, datagram, self.retry());
        match (outcome, &mut self.previous) {
            (Err(_), Some((previous, _))) => {
                let (bytes, index) = previous.unprotect(&head, datagram, Retry::No).or(outcome)?;
                self.current.rtp.keep(head.ssrc, index);
                Ok(bytes)
            }
            (Ok((bytes, _)), Some((_, left))) => {
                *left -= 1;
                if *left == 0 {
                    self.previous = None;
                }
                Ok(bytes)
            }
            (outcome, None) => outcome.map(|(bytes, _)| bytes),
        }
    }

    /// Decrypts an SRTCP packet in place if it is authentic and encrypted (it need not be); then `datagram[..n]` is the compound
    /// RTCP packet of the length `n` returned. Otherwise what is in the datagram is of no more use.
    pub fn unprotect_rtcp(&mut self, datagram: &mut [u8]) -> Result<usize, UnprotectError> {
        let outcome = self.current.unprotect_rtcp(datagram, self.retry());
        match &mut self.previous {
            Some((previous, _)) if outcome.is_err() => {
                previous.unprotect_rtcp(datagram, Retry::No).or(outcome)
            }
            _ => outcome,
        }
    }

    /// From now on with another key. Each source goes on where it is, or, with a peer that resets its roll-over counter,
    /// starts again at zero; which of the two its first authentic packet shows.
    ///
    /// Packets under the key before are heard until [`GRACE_PACKETS`] have come under the new one.
    pub fn rekey(&mut self, key: &MasterKey, mki_bytes: u8) {
        if *key == self.current.master && mki_bytes == self.current.mki_bytes {
            return;
        }
        let sources = self.current.rtp.under_a_new_key();
        let before = std::mem::replace(&mut self.current, Epoch::new(key, mki_bytes, sources));
        // A key that nothing has come under is not the one in use.
        if self.previous.is_none() || before.is_in_use() {
            self.previous = Some((before, GRACE_PACKETS));
        }
    }

    pub fn suite(&self) -> Suite {
        self.current.master.suite()
    }

    fn retry(&self) -> Retry {
        if self.previous.is_some() {
            Retry::Possible
        } else {
            Retry::No
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("suite", &self.suite())
            .field("mki_bytes", &self.current.mki_bytes)
            .finish_non_exhaustive()
    }
}

/// One key and all that was heard under it. What is replayed is so under one key alone.
pub(super) struct Epoch {
    master: MasterKey,
    pub(super) keys: SessionKeys,
    mki_bytes: u8,
    pub(super) rtp: Sources,
    rtcp: Sources,
}

impl Epoch {
    fn new(key: &MasterKey, mki_bytes: u8, rtp: Sources) -> Epoch {
        Epoch {
            master: key.clone(),
            keys: SessionKeys::derive(key),
            mki_bytes,
            rtp,
            // The index of SRTCP is sent, so there is none to go on from.
            rtcp: Sources::default(),
        }
    }

    fn is_in_use(&self) -> bool {
        self.rtp.is_heard() || self.rtcp.is_heard()
    }

    /// The length of the RTP packet, and its index.
    #[inline]
    fn unprotect(
        &mut self,
        head: &Head,
        datagram: &mut [u8],
        retry: Retry,
    ) -> Result<(usize, u64), UnprotectError> {
        let cipher = &self.keys.rtp;
        let trailer = Trailer::of_rtp(cipher, self.mki_bytes, datagram.len())
            .filter(|trailer| trailer.packet_bytes >= head.bytes)
            .ok_or(UnprotectError::Malformed)?;
        let numbering = self.rtp.find(head.ssrc);
        let mut open = |index: u64, retry: Retry| {
            check_fresh(numbering, index)?;
            cipher
                .open_rtp(head.ssrc, index, datagram, head.bytes, trailer, retry)
                .map_err(|NotAuthentic| UnprotectError::BadTag)?;
            Ok(index)
        };
        let index = match candidates(numbering, head.sequence) {
            (likely, None) => open(likely, retry)?,
            (likely, Some(other)) => {
                open(likely, Retry::Possible).or_else(|error| open(other, retry).map_err(|_| error))?
            }
        };
        self.rtp.note(head.ssrc, index);
        Ok((trailer.packet_bytes, index))
    }

    fn unprotect_rtcp(&mut self, datagram: &mut [u8], retry: Retry) -> Result<usize, UnprotectError> {
        let ssrc = rtcp_ssrc(datagram).ok_or(UnprotectError::Malformed)?;
        let cipher = &self.keys.rtcp;
        let (trailer, word) = Trailer::of_rtcp(cipher, self.mki_bytes, datagram)
            .filter(|(trailer, _)| trailer.packet_bytes >= RTCP_HEAD_BYTES)
            .ok_or(UnprotectError::Malformed)?;
        let index = u64::from(word & !ENCRYPTED);
        check_fresh(self.rtcp.find(ssrc), index)?;
        cipher
            .open_rtcp(ssrc, word, datagram, trailer, retry)
            .map_err(|NotAuthentic| UnprotectError::BadTag)?;
        self.rtcp.note(ssrc, index);
        Ok(trailer.packet_bytes)
    }
}

/// Before the tag is computed, so that a replay costs nothing.
#[inline]
fn check_fresh(numbering: Option<&Numbering>, index: u64) -> Result<(), UnprotectError> {
    match numbering {
        _ if index > INDEX_MAX => Err(UnprotectError::Exhausted),
        Some(Numbering::Heard(window)) if !window.is_fresh(index) => Err(UnprotectError::Replayed),
        _ => Ok(()),
    }
}
