//! AES in counter mode with a tag by HMAC-SHA1 (RFC 3711 §4.1.1 and §4.2.1): encrypted first, and the tag is of what is
//! encrypted, so a datagram is not touched before it is known to be authentic.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::aes::Aes;
use super::cipher::{ENCRYPTED, NotAuthentic, Trailer};
use super::derive::left_aligned;
use super::head::RTCP_HEAD_BYTES;
use super::hmac::Hmac;

/// The session keys of one protocol.
pub struct CounterMode {
    aes: Aes,
    pub hmac: Hmac,
    /// In the upper 14 bytes.
    salt: u128,
    pub tag_bytes: usize,
}

impl CounterMode {
    /// `key` has 16 or 32 bytes, `authentication_key` 20, `salt` 14.
    pub fn new(key: &[u8], authentication_key: &[u8], salt: &[u8], tag_bytes: usize) -> CounterMode {
        CounterMode {
            aes: Aes::new(key),
            hmac: Hmac::new(authentication_key),
            salt: left_aligned(salt),
            tag_bytes,
        }
    }

    #[inline]
    pub fn seal_rtp(&self, ssrc: u32, index: u64, packet: &mut [u8], head_bytes: usize, trailer: &mut [u8]) {
        self.crypt(ssrc, index, &mut packet[head_bytes..]);
        let tag = self.hmac.tag(packet, roll_overs(index));
        trailer.copy_from_slice(&tag[..self.tag_bytes]);
    }

    pub fn seal_rtcp(&self, ssrc: u32, word: u32, packet: &mut [u8], trailer: &mut [u8]) {
        self.crypt(ssrc, u64::from(word & !ENCRYPTED), &mut packet[RTCP_HEAD_BYTES..]);
        let (word_room, tag_room) = trailer.split_at_mut(4);
        word_room.copy_from_slice(&word.to_be_bytes());
        tag_room.copy_from_slice(&self.hmac.tag(packet, word)[..self.tag_bytes]);
    }

    #[inline]
    pub fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        datagram: &mut [u8],
        head_bytes: usize,
        trailer: Trailer,
    ) -> Result<(), NotAuthentic> {
        self.check(datagram, roll_overs(index), trailer)?;
        self.crypt(ssrc, index, &mut datagram[head_bytes..trailer.packet_bytes]);
        Ok(())
    }

    pub fn open_rtcp(
        &self,
        ssrc: u32,
        word: u32,
        datagram: &mut [u8],
        trailer: Trailer,
    ) -> Result<(), NotAuthentic> {
        self.check(datagram, word, trailer)?;
        if word & ENCRYPTED != 0 {
            let body = &mut datagram[RTCP_HEAD_BYTES..trailer.packet_bytes];
            self.crypt(ssrc, u64::from(word & !ENCRYPTED), body);
        }
        Ok(())
    }

    /// Takes the same time wherever the tags differ.
    #[inline]
    fn check(&self, datagram: &[u8], word: u32, trailer: Trailer) -> Result<(), NotAuthentic> {
        let tag = self.hmac.tag(&datagram[..trailer.packet_bytes], word);
        let found = &datagram[trailer.tag_at..][..self.tag_bytes];
        let is_authentic = bool::from(tag[..self.tag_bytes].ct_eq(found));
        is_authentic.then_some(()).ok_or(NotAuthentic)
    }

    /// The salt with the source and the index laid over it; the lowest 16 bits count blocks.
    #[inline]
    fn crypt(&self, ssrc: u32, index: u64, part: &mut [u8]) {
        let first = self.salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        self.aes.apply_key_stream(first, part);
    }
}

impl Drop for CounterMode {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

/// They are authenticated, though they are not sent.
#[inline]
fn roll_overs(index: u64) -> u32 {
    (index >> 16) as u32
}
