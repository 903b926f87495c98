//! Our half: RTP becomes SRTP, RTCP becomes SRTCP.
//!
//! No index is protected twice with a key (RFC 3711 §9.1: two packets under one key stream give away their difference), so
//! the sequence of a source only goes forward here, and a source is never forgotten.

use std::fmt;

use super::cipher::ENCRYPTED;
use super::derive::SessionKeys;
use super::head::{Head, rtcp_ssrc};
use super::index::{INDEX_MAX, estimate};
use super::key::{MasterKey, Suite};
use super::{ProtectError, SOURCES_MAX};

/// The last index of SRTCP (RFC 3711 §9.2).
const RTCP_INDEX_MAX: u32 = (1 << 31) - 1;

/// Protects what one leg sends.
pub struct Sender {
    master: MasterKey,
    pub(super) keys: SessionKeys,
    /// SSRC and highest index.
    pub(super) sources: [Option<(u32, u64)>; SOURCES_MAX],
    /// Of the next SRTCP packet, whichever source it is of.
    pub(super) rtcp_index: u32,
}

impl Sender {
    pub fn new(key: &MasterKey) -> Sender {
        Sender {
            master: key.clone(),
            keys: SessionKeys::derive(key),
            sources: [None; SOURCES_MAX],
            rtcp_index: 0,
        }
    }

    /// Encrypts the RTP packet `packet[..len]` in place and puts the tag behind it, at most [`OVERHEAD_MAX`] bytes.
    /// Returns the length of both.
    ///
    /// Its sequence number must be after the last one of this source, by less than half a cycle.
    ///
    /// [`OVERHEAD_MAX`]: super::OVERHEAD_MAX
    pub fn protect(&mut self, packet: &mut [u8], len: usize) -> Result<usize, ProtectError> {
        let (plain, room) = packet.split_at_mut_checked(len).ok_or(ProtectError::NoRoom)?;
        let head = Head::parse(plain).ok_or(ProtectError::Malformed)?;
        let cipher = &self.keys.rtp;
        let trailer = room.get_mut(..cipher.tag_bytes()).ok_or(ProtectError::NoRoom)?;
        let index = next_index(&mut self.sources, head.ssrc, head.sequence)?;
        cipher.seal_rtp(head.ssrc, index, plain, head.bytes, trailer);
        Ok(len + trailer.len())
    }

    /// Encrypts the compound RTCP packet `packet[..len]` in place and puts index and tag behind it, at most
    /// [`RTCP_OVERHEAD_MAX`] bytes. Returns the length of all.
    ///
    /// [`RTCP_OVERHEAD_MAX`]: super::RTCP_OVERHEAD_MAX
    pub fn protect_rtcp(&mut self, packet: &mut [u8], len: usize) -> Result<usize, ProtectError> {
        let (plain, room) = packet.split_at_mut_checked(len).ok_or(ProtectError::NoRoom)?;
        let ssrc = rtcp_ssrc(plain).ok_or(ProtectError::Malformed)?;
        let cipher = &self.keys.rtcp;
        let trailer = room
            .get_mut(..4 + cipher.tag_bytes())
            .ok_or(ProtectError::NoRoom)?;
        if self.rtcp_index > RTCP_INDEX_MAX {
            return Err(ProtectError::Exhausted);
        }
        cipher.seal_rtcp(ssrc, ENCRYPTED | self.rtcp_index, plain, trailer);
        self.rtcp_index += 1;
        Ok(len + trailer.len())
    }

    /// From now on with another key. Roll-over counters and the index of SRTCP go on (RFC 3711 §3.3.1, §3.4).
    pub fn rekey(&mut self, key: &MasterKey) {
        if *key != self.master {
            self.master = key.clone();
            self.keys = SessionKeys::derive(key);
        }
    }

    pub fn suite(&self) -> Suite {
        self.master.suite()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Sender")
            .field("suite", &self.suite())
            .field("rtcp_index", &self.rtcp_index)
            .finish_non_exhaustive()
    }
}

/// The index of the next packet of a source, which is its highest from now on.
#[inline]
fn next_index(
    sources: &mut [Option<(u32, u64)>; SOURCES_MAX],
    ssrc: u32,
    sequence: u16,
) -> Result<u64, ProtectError> {
    for place in sources {
        match place {
            None => {
                let index = u64::from(sequence);
                *place = Some((ssrc, index));
                return Ok(index);
            }
            Some((known, highest)) if *known == ssrc => {
                let index = estimate(*highest, sequence);
                if index <= *highest || index > INDEX_MAX {
                    return Err(ProtectError::Exhausted);
                }
                *highest = index;
                return Ok(index);
            }
            Some(_) => {}
        }
    }
    Err(ProtectError::Exhausted)
}
