//! What happened, in order, for all who listen: one number without gaps for everything, one without gaps per room.
//!
//! Readers keep nothing here but a number: each reads on from where it was, at its own pace, so a slow one costs
//! nothing and is told what it missed. A room that is born again goes on counting.

mod kinds;
mod ledger;
mod log;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio::sync::watch;

pub use kinds::KINDS;
pub use log::Entry;
pub use reader::{Message, Reader};

use crate::control::ids::{CallId, ConferenceId};
use ledger::Ledger;
use log::Log;

/// An event before it has its numbers.
pub struct Happening {
    pub conference: ConferenceId,
    pub call: Option<CallId>,
    /// One of [`KINDS`].
    pub kind: &'static str,
    pub at: SystemTime,
    /// The fields of this type of event.
    pub fields: Map<String, Value>,
}

/// Clones are the same log.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    log: Mutex<Log>,
    /// The number of the newest event that is told, to wake readers.
    told: watch::Sender<u64>,
}

impl EventLog {
    /// A log that keeps this many events in memory and forgets all with the process.
    pub fn in_memory(capacity: usize) -> EventLog {
        EventLog {
            inner: Arc::new(Inner {
                log: Mutex::new(Log::new(capacity, Ledger::default(), Vec::new())),
                told: watch::Sender::new(0),
            }),
        }
    }

    /// Never waits for a disk.
    pub fn append(&self, happening: Happening) {
        let told = {
            let mut log = self.lock();
            let entry = log.number(happening);
            log.tell(entry.global);
            log.told()
        };
        self.inner.told.send_replace(told);
    }

    /// A reader of one room or of all, that goes on after the number it names, or begins with what comes next.
    pub fn reader(&self, conference: Option<ConferenceId>, after: Option<u64>) -> Reader {
        Reader::new(self.clone(), self.inner.told.subscribe(), conference, after)
    }

    /// The number, of all, of the newest event that happened.
    pub fn newest(&self) -> u64 {
        self.lock().ledger.newest
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.inner.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 3339 in UTC, to the millisecond.
pub fn timestamp(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|at| format!("{at:.3}"))
        .unwrap_or_default()
}
