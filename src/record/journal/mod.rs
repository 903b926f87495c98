//! The journal of a recording: what was heard, on the disk before anything else is done with it. A folder holds it in
//! files that only grow, the *segments* `journal-0001`, `journal-0002` and so on; each begins with what the recording
//! is, and holds checksummed records that are numbered through.
//!
//! ```text
//! add ─▶ tail (memory) ─ write ─▶ segment ─ sync, in groups ─▶ what outlives a loss of power ─▶ Reader
//!          └ from the oldest record not known to be synced: written again into a new segment when one fails
//! ```
//!
//! The calls: one [`SyncGroup`] and one [`Syncer`] for the spool; for each recording [`Journal::create`], then over
//! and over [`Journal::add`] and one [`Journal::write`] for all that was added; at its end [`Journal::sync`]. A
//! [`Reader`] can follow from the start.
//!
//! The invariant: a reader is given every record that was synced, in order and once, whatever became of the rest; and
//! nothing that was never added.

mod append;
mod entry;
pub mod frame;
mod reader;
mod segment;
mod syncer;

#[cfg(test)]
mod tests;

pub use append::{AddError, Journal, WriteError};
pub use entry::{ENTRY_BYTES_MAX, Entry, Why};
pub use reader::Reader;
pub use segment::Segment;
pub use syncer::{SYNC_INTERVAL, SyncGroup, Syncer};
