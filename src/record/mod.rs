//! Recording: what a room, or one leg, hears, on the disk before anything else is done with it, then as a file where
//! the customer wants it, with a receipt. Media threads only push frames into a ring; everything that can block
//! happens on threads of the [`Recorder`]. Nothing here decides who may record: the control plane does.
//!
//! ```text
//! engine ─▶ driver ─▶ ring ─▶ writer: take ─▶ journal ─▶ renderer: rendering ─▶ image ─▶ finisher ─┬─▶ recording.dir
//!           (full: counted)    (every 40 ms)   (synced      (every 500 ms)    wav ogg flac  hash     └─▶ store ─▶ bucket
//!                                               every 250 ms)                   └── parts, while it grows ──▶┘
//! ```
//!
//! The sequence of calls:
//!
//! 1. at start: one [`Recorder::start`] with the ring of each engine; it also takes up what a crash has left;
//! 2. [`Destination::parse`] → [`Recorder::begin`], which makes the journal and gives a [`RecordingSlot`]; then
//!    [`Recorder::track`], [`Recorder::joined`] (and [`Recorder::muted`]) for each leg already there;
//! 3. only now the engine is told to tap the room for that slot. The file begins with the first frame;
//! 4. while it runs: [`Recorder::joined`], [`Recorder::left`], [`Recorder::muted`], [`Recorder::unmuted`]. A pause is
//!    the engine's: no sound leaves it then;
//! 5. [`Recorder::finish`] with the last tick wanted, and the engine's tap taken off. States are told as they change:
//!    `finishing`, `uploading`, then `available` or `failed`;
//! 6. [`Recorder::stop`] at shutdown.
//!
//! The invariants: the journal is the only truth, all else can be made anew from it; it is erased when the place the
//! recording was meant for has confirmed it, not before. Sample `n` of a file is the sound `n / rate` seconds after the
//! recording's first frame, whatever was lost, late or paused on the way; and what is not sound (gaps, pauses, a cut end)
//! stands in the receipt.

mod attendance;
mod consignment;
mod credentials;
mod destination;
pub mod disk;
pub mod image;
pub mod journal;
mod naming;
mod note;
mod orders;
mod receipt;
mod recorder;
mod renderer;
mod rendering;
mod shelf;
mod spool;
mod store;
mod take;
mod tap;
mod turns;
mod watermark;
mod writer;

#[cfg(test)]
mod scratch;
#[cfg(test)]
pub(crate) mod test_disk;

pub use credentials::{Credentials, CredentialsError, CredentialsFileError};
pub use destination::{BucketRules, Destination, DestinationError, Place, Rules};
pub use receipt::{Anchor, Attendee, Receipt, Span, Stretch, TrackReceipt};
pub use recorder::{Audio, BeginRecording, Begun, RecordError, Recorder, RecorderFigures};
pub use shelf::{RecordingState, RecordingStatus};
pub use spool::{Length, SpoolEntry, list_spool};
pub use store::{
    Counts, Delivered, Delivery, DeliveryStatus, Encryption, Endpoint, Finished, Object, PART_BYTES,
    Progress, Reason, Store, StoreSettings, Tempo,
};
pub use tap::{Passed, RecordedFrame, RecordingSlot, TAP_RING_BYTES, TapReceiver, TapSender, tap_ring};
