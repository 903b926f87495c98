
//! Synthetic load: parties that talk and listen over real RTP.

pub mod distribution;
pub mod hearing;
pub mod network;
pub mod party;
pub mod probe;
pub mod socket;
pub mod speech;
pub mod stream;
pub mod track;
