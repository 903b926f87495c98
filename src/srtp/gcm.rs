//! AES-GCM (RFC 7714) by `ring`: authenticated and encrypted in one pass.
//!
//! The pass decrypts what it then finds to be forged. Where a datagram may have to be tried again, with another index or
//! another key, it is therefore tried as a copy.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::cipher::{ENCRYPTED, NotAuthentic, Retry, Trailer};
use super::derive::left_aligned;
use super::head::RTCP_HEAD_BYTES;

pub const TAG_BYTES: usize = 16;

/// Of the copy: more than any packet of sound has.
const COPY_BYTES: usize = 8_192;

/// The session keys of one protocol. `ring` does not wipe its own.
pub struct Gcm {
    key: LessSafeKey,
    /// In the upper 12 bytes.
    salt: u128,
}

impl Gcm {
    /// `key` has 16 or 32 bytes, `salt` 12.
    pub fn new(key: &[u8], salt: &[u8]) -> Gcm {
        let algorithm = if key.len() == 16 {
            &AES_128_GCM
        } else {
            &AES_256_GCM
        };
        let key = UnboundKey::new(algorithm, key).expect("a key has 16 or 32 bytes");
        Gcm {
            key: LessSafeKey::new(key),
            salt: left_aligned(salt),
        }
    }

    #[inline]
    pub fn seal_rtp(&self, ssrc: u32, index: u64, packet: &mut [u8], head_bytes: usize, trailer: &mut [u8]) {
        let (head, body) = packet.split_at_mut(head_bytes);
        trailer.copy_from_slice(&self.seal(ssrc, index, head, body));
    }

    /// RFC 7714 §9.2: the word is associated data, as if it stood behind the head.
    pub fn seal_rtcp(&self, ssrc: u32, word: u32, packet: &mut [u8], trailer: &mut [u8]) {
        let (head, body) = packet.split_at_mut(RTCP_HEAD_BYTES);
        let tag = self.seal(ssrc, index_of(word), &head_and_word(head, word), body);
        let (tag_room, word_room) = trailer.split_at_mut(TAG_BYTES);
        tag_room.copy_from_slice(&tag);
        word_room.copy_from_slice(&word.to_be_bytes());
    }

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
        let (head, rest) = datagram.split_at_mut(head_bytes);
        let body_and_tag = &mut rest[..trailer.tag_at + TAG_BYTES - head_bytes];
        self.open(ssrc, index, head, body_and_tag, retry)
    }

    pub fn open_rtcp(
        &self,
        ssrc: u32,
        word: u32,
        datagram: &mut [u8],
        trailer: Trailer,
        retry: Retry,
    ) -> Result<(), NotAuthentic> {
        let index = index_of(word);
        let after_tag = trailer.tag_at + TAG_BYTES;
        if word & ENCRYPTED != 0 {
            let (head, rest) = datagram.split_at_mut(RTCP_HEAD_BYTES);
            let associated = head_and_word(head, word);
            return self.open(
                ssrc,
                index,
                &associated,
                &mut rest[..after_tag - RTCP_HEAD_BYTES],
                retry,
            );
        }
        // RFC 7714 §9.3: all but the tag is associated data. For the time being the word stands in its place.
        let (packet_and_tag, _) = datagram.split_at_mut(after_tag);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&packet_and_tag[trailer.tag_at..]);
        let after_word = trailer.tag_at + 4;
        packet_and_tag[trailer.tag_at..after_word].copy_from_slice(&word.to_be_bytes());
        let outcome = self.open(
            ssrc,
            index,
            &packet_and_tag[..after_word],
            &mut tag.clone(),
            Retry::No,
        );
        packet_and_tag[trailer.tag_at..].copy_from_slice(&tag);
        outcome
    }

    #[inline]
    fn seal(&self, ssrc: u32, index: u64, associated: &[u8], body: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = self.nonce(ssrc, index);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(associated), body)
            .expect("a packet is shorter than 64 GiB");
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    #[inline]
    fn open(
        &self,
        ssrc: u32,
        index: u64,
        associated: &[u8],
        body_and_tag: &mut [u8],
        retry: Retry,
    ) -> Result<(), NotAuthentic> {
        if retry == Retry::Possible && body_and_tag.len() <= COPY_BYTES {
            return self.open_copy(ssrc, index, associated, body_and_tag);
        }
        let nonce = self.nonce(ssrc, index);
        let opened = self.key.open_in_place(nonce, Aad::from(associated), body_and_tag);
        opened.map(drop).map_err(|_| NotAuthentic)
    }

    /// Leaves what is not authentic as it is.
    #[inline(never)]
    fn open_copy(
        &self,
        ssrc: u32,
        index: u64,
        associated: &[u8],
        body_and_tag: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let mut copy = [0; COPY_BYTES];
        let copy = &mut copy[..body_and_tag.len()];
        copy.copy_from_slice(body_and_tag);
        self.open(ssrc, index, associated, copy, Retry::No)?;
        body_and_tag.copy_from_slice(copy);
        Ok(())
    }

    /// RFC 7714 §8.1 and §9.1: two zeros, the source, the index in six bytes, with the salt laid over them.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let iv = self.salt ^ (u128::from(ssrc) << 80) ^ (u128::from(index) << 32);
        let iv = *iv.to_be_bytes().first_chunk().expect("16 bytes begin with 12");
        Nonce::assume_unique_for_key(iv)
    }
}

fn head_and_word(head: &[u8], word: u32) -> [u8; RTCP_HEAD_BYTES + 4] {
    let mut both = [0; RTCP_HEAD_BYTES + 4];
    both[..RTCP_HEAD_BYTES].copy_from_slice(head);
    both[RTCP_HEAD_BYTES..].copy_from_slice(&word.to_be_bytes());
    both
}

fn index_of(word: u32) -> u64 {
    u64::from(word & !ENCRYPTED)
}
