//! SRTP and SRTCP (RFC 3711) with AES in counter mode and HMAC-SHA1 (RFC 3711, RFC 6188) or AES-GCM (RFC 7714):
//! what stands between an RTP packet and the wire of an encrypted leg.
//!
//! A [`Sender`] protects and a [`Receiver`] unprotects in place; neither allocates, and neither changes state for a packet
//! that is not authentic. How keys are agreed is not known here: [`Terms`] come from outside.
//!
//! ```text
//! HMAC-SHA1   RTP header | payload, encrypted          | MKI | tag           (tag over all before the MKI, and the ROC)
//! GCM         RTP header | payload, encrypted          | tag | MKI
//! HMAC-SHA1   8 bytes of RTCP | the rest, encrypted    | E and index | MKI | tag
//! GCM         8 bytes of RTCP | the rest, encrypted    | tag | E and index | MKI
//! ```
//!
//! Supported: a key derivation rate of zero, an MKI in what is received (its length is known, its value is not looked at),
//! SRTCP without encryption in what is received. Not supported: other derivation rates, an MKI or unencrypted SRTCP in what
//! is sent, encrypted header extensions (RFC 6904), and joining a stream that has rolled over more than once before its
//! first packet comes: nothing in the packets says how often.

mod aes;
mod cipher;
mod counter;
mod derive;
mod gcm;
mod head;
mod hmac;
mod index;
mod key;
mod receive;
mod send;
mod source;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use key::{MasterKey, Suite, Terms};
pub use receive::Receiver;
pub use send::Sender;

/// The most bytes that [`Sender::protect`] adds to an RTP packet: the tag of GCM.
pub const OVERHEAD_MAX: usize = 16;

/// The most bytes that [`Sender::protect_rtcp`] adds to a compound RTCP packet: the tag of GCM, and the word with the index.
pub const RTCP_OVERHEAD_MAX: usize = 20;

/// How many sources (SSRC) each direction remembers; a leg has one, and another after a transfer.
pub const SOURCES_MAX: usize = 4;

/// Why a packet of ours cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ProtectError {
    #[error("what is to be protected is no packet")]
    Malformed,
    #[error("there is no room for the tag behind the packet")]
    NoRoom,
    /// Also for a sequence number that does not go on, and for a source too many: no index is used twice with a key.
    #[error("the index of the packet is not to be had with this key")]
    Exhausted,
}

/// Why a datagram is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum UnprotectError {
    #[error("the datagram is too short, or its header reaches past the end")]
    Malformed,
    #[error("the tag is not that of the packet")]
    BadTag,
    #[error("the packet was there before, or is too old to know")]
    Replayed,
    #[error("the key has no further index")]
    Exhausted,
}
