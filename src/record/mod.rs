//! Recording of a room's mix: a WAV file below `recording.dir`, its timeline exact to the sample, and a receipt
//! beside it. Media threads only push frames into a bounded queue ([`TapQueue`]); everything that can block
//! (files, hashes, receipts) happens on two ordinary threads owned by the [`Recorder`]. Nothing here decides who
//! may record or where to: the control plane does, with [`Destination::parse`].
//!
//! ```text
//! engine ─▶ driver ─▶ TapQueue ─▶ writer thread (every 50 ms) ─▶ finisher thread ─▶ name.wav + name.json
//!            (full: counted there)  tick by tick into the file     sync, SHA-256, receipt
//! ```
//!
//! The sequence of calls:
//!
//! 1. at start: a [`TapQueue`] for each engine, one [`Recorder::start`] for all of them;
//! 2. [`Destination::parse`] → [`Recorder::begin`], which makes the file and gives a [`RecordingSlot`]; then
//!    [`Recorder::joined`] (and [`Recorder::muted`]) for each leg already there;
//! 3. only now the engine is told to tap the room for that slot; its driver pushes one
//!    [`RecordedFrame::from_mix`] a tick. The file begins with the first of them;
//! 4. while it runs: [`Recorder::joined`], [`Recorder::left`], [`Recorder::muted`], [`Recorder::unmuted`],
//!    [`Recorder::pause`], [`Recorder::resume`]. The engine need not know of a pause: the recorder puts silence in
//!    its place, also where the sound was written already;
//! 5. [`Recorder::finish`] with the last tick wanted, and the engine's tap taken off. States are told as they change:
//!    `finishing`, then `available` or `failed`;
//! 6. [`Recorder::stop`] at shutdown finishes what still runs and returns when every receipt is written.
//!
//! The invariant: sample `n` of a file is the room's sound `n / rate` seconds after its first frame, whatever was
//! lost, late or paused on the way; and what is not sound (gaps, pauses, a cut end) stands in the receipt.

mod attendance;
mod credentials;
mod destination;
mod disk;
mod finisher;
mod journal;
mod orders;
mod receipt;
mod recorder;
mod shelf;
mod spool;
mod store;
mod take;
mod tap;
mod wav;
mod writer;

#[cfg(test)]
mod scratch;

pub use credentials::{Credentials, CredentialsError, CredentialsFileError};
pub use destination::{
    BucketRules, Destination, DestinationError, Format, Names, Place, Rules as DestinationRules,
};
pub use receipt::Anchor;
pub use receipt::{Attendee, Receipt, Span, Stretch};
pub use recorder::{Audio, BeginRecording, Begun, RecordError, Recorder};
pub use shelf::{RecordingState, RecordingStatus};
pub use spool::{Recovered, SpoolEntry, SpoolState, list_spool, recover};
pub use store::{
    Counts, Delivered, Delivery, DeliveryStatus, Encryption, Endpoint, Finished, OBJECT_BYTES_MAX, Object,
    PART_BYTES, Progress, Reason, Store, StoreSettings, Tempo,
};
pub use tap::{RecordedFrame, RecordingSlot, TAP_QUEUE_FRAMES, TapQueue};
