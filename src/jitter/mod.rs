//! Playout: packets arrive when the network likes, sound leaves at every tick.
//!
//! ```text
//! insert ─▶ arrival ──────────────▶ buffer ─────────▶ playout ──────────▶ sound ─▶ pull
//!             ├ stream (does it        (packets,        ├ decode
//!             │  belong?)               in order)       ├ cover       nothing there: repair, bridge, expand, pause, background
//!             ├ stamps (by what clock?)                 └ depth
//!             └ delay, peaks (how late                     ├ accelerate   too much there: drop, shorten
//!                do packets come?)                         └ preemptive   too little, by the arrivals or drift: lengthen
//! ```
//!
//! Sequence numbers order packets, timestamps alone measure sound, so that packets may hold any stretch and
//! change it at will. Nothing here knows RTP headers, rooms or rates other than the codec's own.

mod accelerate;
mod arrival;
mod background;
mod bridge;
mod buffer;
mod companion;
mod cover;
mod delay;
mod depth;
mod drift;
mod envelope;
mod expand;
mod low_water;
mod noise;
mod operation;
mod peaks;
mod pitch;
mod playout;
mod preemptive;
mod refit;
mod repair;
mod sound;
mod stamps;
mod stats;
mod stream;

#[cfg(test)]
mod tests;

pub use buffer::Content;
pub use operation::Operation;
pub use playout::{DELAY_MAX, DELAY_MIN, Played, PlayedKind, Playout, PlayoutConfig};
pub use stats::{Discard, PlayoutStats};
