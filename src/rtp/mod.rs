//! RTP and RTCP on the wire (RFC 3550): bytes ⇄ packets, and the counting of what wraps.
//!
//! Nothing here remembers anything: whose packet it is, and whether it is wanted, is the leg's business.

pub mod ntp;
pub mod packet;
pub mod rtcp;
pub mod sequence;

pub use packet::{Header, Packet, is_rtcp};
