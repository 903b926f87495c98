//! Recording of a room's mix: a WAV file below `recording.dir`, its timeline exact to the sample, and a receipt
//! beside it. Media threads only push frames into a bounded ring ([`tap_ring`]); everything that can block
//! (files, hashes, receipts) happens on two ordinary threads owned by the [`Recorder`]. Nothing here decides who
//! may record or where to: the control plane does, with [`Destination::parse`].
//!
//! ```text
//! engine ─▶ driver ─▶ tap ring ─▶ writer thread (every 50 ms) ─▶ finisher thread ─▶ name.wav + name.json
//!            (full: counted there)  tick by tick into the file     sync, SHA-256, receipt
//! ```
//!
//! The sequence of calls:
//!
//! 1. at start: a [`tap_ring`] for each engine, one [`Recorder::start`] for all of them;
//! 2. [`Destination::parse`] → [`Recorder::begin`], which makes the file and gives a [`RecordingSlot`]; then
//!    [`Recorder::joined`] (and [`Recorder::muted`]) for each leg already there;
//! 3. only now the engine is told to tap the room for that slot; its driver pushes one
//!    [`RecordedFrame::sound`] a tick. The file begins with the first of them;
//! 4. while it runs: [`Recorder::joined`], [`Recorder::left`], [`Recorder::muted`], [`Recorder::unmuted`],
//!    [`Recorder::pause`], [`Recorder::resume`], with the tick since which the engine sends `Paused` or sound again;
//! 5. [`Recorder::finish`] with the last tick wanted, and the engine's tap taken off. States are told as they change:
//!    `finishing`, then `available` or `failed`;
//! 6. [`Recorder::stop`] at shutdown finishes what still runs and returns when every receipt is written.
//!
//! The invariant: sample `n` of a file is the room's sound `n / rate` seconds after its first frame, whatever was
//! lost, late or paused on the way; and what is not sound (gaps, pauses, a cut end) stands in the receipt.

mod attendance;
mod destination;
mod disk;
mod finisher;
mod journal;
mod orders;
mod receipt;
mod recorder;
mod shelf;
mod spool;
mod take;
mod tap;
mod wav;
mod writer;

#[cfg(test)]
mod scratch;

pub use destination::{Destination, DestinationError, FORMATS};
pub use receipt::Anchor;
pub use receipt::{Attendee, Receipt, Span, Stretch};
pub use recorder::{Audio, BeginRecording, Begun, RecordError, Recorder};
pub use shelf::{RecordingState, RecordingStatus};
pub use spool::{Recovered, SpoolEntry, SpoolState, list_spool, recover};
pub use tap::{
    Content, Full, RecordedFrame, RecordingSlot, TAP_RING_BYTES, TapReceiver, TapSender, TrackNumber,
    tap_ring,
};
