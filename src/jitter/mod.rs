//! Playout: packets arrive when the network likes, sound leaves at every tick.
//!
//! ```text
//! insert ─▶ arrival ──────────────▶ buffer ─────────▶ playout ──────────▶ sound ─▶ pull
//!             ├ stream (does it        (packets,        ├ decode
//!             │  belong?)               in order)       ├ cover       nothing there: repair, conceal, pause
//!             └ delay (how late do                      └ depth, accelerate
//!                packets come?)                                       too much there: drop, shorten
//! ```
//!
//! Sequence numbers order packets, timestamps alone measure sound, so that packets may hold any stretch and
//! change it at will. Nothing here knows RTP headers, rooms or rates other than the codec's own.

mod accelerate;
mod arrival;
mod background;
mod bridge;
mod buffer;
mod cover;
mod delay;
mod depth;
mod envelope;
mod expand;
mod noise;
mod pitch;
mod playout;
mod refit;
mod repair;
mod sound;
mod stats;
mod stream;

#[cfg(test)]
mod tests;

pub use buffer::Content;
pub use playout::{DELAY_MAX, DELAY_MIN, Played, PlayedKind, Playout, PlayoutConfig};
pub use stats::{Discard, PlayoutStats};
