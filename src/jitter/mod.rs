//! Playout: packets arrive when the network likes, sound leaves at every tick.
//!
//! ```text
//! insert ─▶ stream (does it belong?) ─▶ buffer (packets, in order) ─▶ playout (what to do this tick) ─▶ pull
//!              └▶ delay (how late do packets come?)                     ├ decode
//!                                                                       ├ expand      nothing there: conceal
//!                                                                       └ accelerate  too much there: shorten
//! ```
//!
//! Sequence numbers order packets, timestamps alone measure sound, so that packets may hold any stretch and
//! change it at will. Nothing here knows RTP headers, rooms or rates other than the codec's own.

mod accelerate;
mod arrival;
mod buffer;
mod delay;
mod depth;
mod expand;
mod pitch;
mod playout;
mod sound;
mod stats;
mod stream;

#[cfg(test)]
mod tests;

pub use playout::{DELAY_MAX, DELAY_MIN, Played, PlayedKind, Playout, PlayoutConfig};
pub use stats::{Discard, PlayoutStats};
