//! The two transforms under one form, and where each puts its trailer.

use super::counter::CounterMode;
use super::gcm::{Gcm, TAG_BYTES};
use super::key::Suite;

/// The bit before the index of SRTCP that says that the packet is encrypted (RFC 3711 §3.4).
pub const ENCRYPTED: u32 = 1 << 31;

/// The tag is not that of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAuthentic;

/// Whether a datagram that is not authentic must be left as it is, to be tried with another index or another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Possible,
    No,
}

/// The session keys of one protocol.
#[allow(
    clippy::large_enum_variant,
    reason = "a direction has four, and none of them in the heap"
)]
pub enum Cipher {
    Counter(CounterMode),
    Gcm(Gcm),
}

impl Cipher {
    /// From session keys; GCM has no use for an authentication key.
    pub fn new(suite: Suite, is_rtcp: bool, key: &[u8], authentication_key: &[u8], salt: &[u8]) -> Cipher {
        if suite.is_gcm() {
            return Cipher::Gcm(Gcm::new(key, salt));
        }
        let is_short = suite == Suite::AesCm128HmacSha1_32 && !is_rtcp;
        let tag_bytes = if is_short { 4 } else { 10 };
        Cipher::Counter(CounterMode::new(key, authentication_key, salt, tag_bytes))
    }

    #[inline]
    pub fn tag_bytes(&self) -> usize {
        match self {
            Cipher::Counter(counter) => counter.tag_bytes,
            Cipher::Gcm(_) => TAG_BYTES,
        }
    }

    /// Encrypts behind the head, and fills `trailer`, which is as long as the tag.
    #[inline]
    pub fn seal_rtp(&self, ssrc: u32, index: u64, packet: &mut [u8], head_bytes: usize, trailer: &mut [u8]) {
        match self {
            Cipher::Counter(counter) => counter.seal_rtp(ssrc, index, packet, head_bytes, trailer),
            Cipher::Gcm(gcm) => gcm.seal_rtp(ssrc, index, packet, head_bytes, trailer),
        }
    }

    /// Encrypts behind the head, and fills `trailer`, which is as long as the tag and the word: the index, with
    /// [`ENCRYPTED`] above it.
    pub fn seal_rtcp(&self, ssrc: u32, word: u32, packet: &mut [u8], trailer: &mut [u8]) {
        match self {
            Cipher::Counter(counter) => counter.seal_rtcp(ssrc, word, packet, trailer),
            Cipher::Gcm(gcm) => gcm.seal_rtcp(ssrc, word, packet, trailer),
        }
    }

    /// Decrypts what is behind the head if it is authentic.
    #[inline]
    pub fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        datagram: &mut [u8],
        head_bytes: usize,
        trailer: Trailer,
        retry: Retry,
    ) -> Result<(), NotAuthentic> {
        match self {
            Cipher::Counter(counter) => counter.open_rtp(ssrc, index, datagram, head_bytes, trailer),
            Cipher::Gcm(gcm) => gcm.open_rtp(ssrc, index, datagram, head_bytes, trailer, retry),
        }
    }

    /// Decrypts what is behind the head if it is authentic, and encrypted as its word says.
    pub fn open_rtcp(
        &self,
        ssrc: u32,
        word: u32,
        datagram: &mut [u8],
        trailer: Trailer,
        retry: Retry,
    ) -> Result<(), NotAuthentic> {
        match self {
            Cipher::Counter(counter) => counter.open_rtcp(ssrc, word, datagram, trailer),
            Cipher::Gcm(gcm) => gcm.open_rtcp(ssrc, word, datagram, trailer, retry),
        }
    }
}

/// Where the parts of a protected packet are, as drawn in the documentation of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// What is before the trailer.
    pub packet_bytes: usize,
    pub tag_at: usize,
}

impl Trailer {
    /// `None` for a datagram too short for it.
    #[inline]
    pub fn of_rtp(cipher: &Cipher, mki_bytes: u8, datagram_bytes: usize) -> Option<Trailer> {
        let packet_bytes = datagram_bytes.checked_sub(cipher.tag_bytes() + usize::from(mki_bytes))?;
        let tag_at = match cipher {
            Cipher::Counter(counter) => datagram_bytes - counter.tag_bytes,
            Cipher::Gcm(_) => packet_bytes,
        };
        Some(Trailer { packet_bytes, tag_at })
    }

    /// With the word of SRTCP; `None` for a datagram too short.
    pub fn of_rtcp(cipher: &Cipher, mki_bytes: u8, datagram: &[u8]) -> Option<(Trailer, u32)> {
        let trailer_bytes = 4 + cipher.tag_bytes() + usize::from(mki_bytes);
        let packet_bytes = datagram.len().checked_sub(trailer_bytes)?;
        let (tag_at, word_at) = match cipher {
            Cipher::Counter(counter) => (datagram.len() - counter.tag_bytes, packet_bytes),
            Cipher::Gcm(_) => (packet_bytes, packet_bytes + TAG_BYTES),
        };
        let word = datagram.get(word_at..)?.first_chunk()?;
        Some((Trailer { packet_bytes, tag_at }, u32::from_be_bytes(*word)))
    }
}
