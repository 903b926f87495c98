//! The suites by their names in SDP, and the master keys that are agreed on.
//!
//! A master key never shows: not in `Debug`, and not in memory once it is dropped.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// What a packet is encrypted and authenticated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    AesCm128HmacSha1_80,
    /// As the one above with a tag of 32 bits in SRTP; in SRTCP it has 80 bits all the same (RFC 4568 §6.2.2).
    AesCm128HmacSha1_32,
    AesCm256HmacSha1_80,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

impl Suite {
    pub const ALL: [Suite; 5] = [
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    /// As it is written in `a=crypto` (RFC 4568 §6.2, RFC 6188 §6.1, RFC 7714 §14.1).
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of this name, in capitals as in the standards.
    pub fn from_name(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Of the master key, and of the session key for encryption.
    pub const fn key_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::AesCm256HmacSha1_80 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Of the master salt, and of the session salt.
    pub const fn salt_bytes(self) -> usize {
        if self.is_gcm() { 12 } else { 14 }
    }

    /// Key and salt together, as they are written after `inline:`.
    pub const fn master_bytes(self) -> usize {
        self.key_bytes() + self.salt_bytes()
    }

    pub(super) const fn is_gcm(self) -> bool {
        matches!(self, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm)
    }
}

const MASTER_BYTES_MAX: usize = 46;

/// Master key and salt of one direction.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    /// Key, salt, zeros.
    bytes: [u8; MASTER_BYTES_MAX],
}

impl MasterKey {
    /// From the key with the salt behind it; `None` unless they are [`Suite::master_bytes`] long.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<MasterKey> {
        if key_and_salt.len() != suite.master_bytes() {
            return None;
        }
        let mut bytes = [0; MASTER_BYTES_MAX];
        bytes[..key_and_salt.len()].copy_from_slice(key_and_salt);
        Some(MasterKey { suite, bytes })
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The key with the salt behind it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.suite.master_bytes()]
    }

    pub(super) fn key_and_salt(&self) -> (&[u8], &[u8]) {
        self.as_bytes().split_at(self.suite.key_bytes())
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &MasterKey) -> bool {
        self.suite == other.suite && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("MasterKey")
            .field(&self.suite)
            .finish_non_exhaustive()
    }
}

/// What was agreed on for both directions of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub ours: MasterKey,
    pub theirs: MasterKey,
    /// The length of the MKI that the peer puts into its packets, 0 for none.
    pub their_mki_bytes: u8,
}
