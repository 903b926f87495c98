//! The journal of events: every event on the disk before anybody is told of it, so that no number is given twice.
//!
//! ```text
//! log ─ queue ─▶ writer ─ write, in groups ─▶ segment ─ sync, twice a second ─▶ what outlives a loss of power
//!                  └ told once written            └▶ archive, for readers that were away for long
//! ```
//!
//! A folder holds *segments*, `events-00000000000000000001` and so on: the number is that of the first event in it. Each
//! begins with a snapshot of the ledger, so the oldest can go when the journal has its bytes. The files `life` and
//! `ahead` say how the daemon that wrote last has ended. Where that is not sure, numbers skip ahead, further than any that
//! can have been given.
//!
//! Nobody waits for the disk: where it takes nothing, events are told all the same and counted as unwritten, and the
//! journal goes on in a new segment as soon as there is a disk again. Before any of them is told, `ahead` is marked with a
//! number beyond it, by a thread of its own and without a sync: those are some bytes in the memory of the machine, which a
//! disk that hangs takes as a rule. Where even that hangs, readers wait for it; where it is refused, as on a file system that nobody may write, they
//! are told without it.

mod archive;
mod life;
mod past;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub use archive::{Archive, Spot};
pub use life::{Mark, boot_id};
pub use past::{SKIP, read_past};
pub use writer::{SYNC_INTERVAL, Syncing, Writer};

// A segment of which only the name can be read has given fewer numbers than are skipped.
const _: () = assert!(SKIP > segment::EVENTS_MAX);
