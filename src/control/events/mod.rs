//! What happened, in order, for all who listen: one number without gaps for everything, one without gaps per room.
//!
//! ```text
//! service ─ append ─▶ numbered ─▶ journal (disk) ─▶ told ─▶ memory ─▶ readers: SSE, gRPC, webhooks
//!                                    └──────── for readers that were away for longer ──▶┘
//! ```
//!
//! Readers keep nothing here but a number: each reads on from where it was, at its own pace, so a slow one costs
//! nothing and is told what it missed. A room that is born again goes on counting, also over a restart; what a daemon
//! that was killed has left open is closed by the next one, so joins and leaves pair.

mod journal;
mod keeper;
mod kinds;
mod ledger;
mod log;
mod obituary;
mod queue;
mod reader;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::watch;

pub use kinds::{KINDS, SNAPSHOT};
pub use log::Entry;
pub use queue::Unwritten;
pub use reader::{Message, Reader};

use crate::control::ids::{CallId, ConferenceId};
use crate::record::disk::{Disk, LocalDisk, says_full};
use journal::Archive;
use keeper::{Keeper, Lock};
use ledger::Ledger;
use log::Log;
use queue::{Queue, Telling};

/// The folder of the journal below `recording.dir`, where no other is configured.
pub const FOLDER: &str = ".events";

/// Events that wait to be told, written or not; the oldest are given up for those beyond.
const UNTOLD_MAX: usize = 131_072;

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
    core: Arc<Core>,
    /// None where all is forgotten with the process.
    keeper: Option<Keeper>,
    /// The first and the last number that the start has skipped.
    skipped: Option<(u64, u64)>,
}

/// What the threads of the journal share with all others.
struct Core {
    state: Mutex<State>,
    /// Rung when there is something to write, or nothing more will be.
    rung: Condvar,
    /// The number of the newest event that is told, to wake readers.
    told: watch::Sender<u64>,
}

struct State {
    log: Log,
    /// None where nothing is written.
    queue: Option<Queue>,
}

/// What the metrics say of events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EventFigures {
    /// The number of the newest.
    pub newest: u64,
    /// Told before they were on the disk, by [`Unwritten`].
    pub unwritten: [u64; Unwritten::ALL.len()],
    /// Happened after the log was closed: nobody is told.
    pub too_late: u64,
    /// Syncs of the journal that failed.
    pub sync_failures: u64,
    /// Of the journal.
    pub disk_bytes: u64,
    /// Numbers have skipped ahead at the start.
    pub has_skipped: bool,
}

impl EventLog {
    /// A log that keeps this many events in memory and forgets all with the process.
    pub fn in_memory(capacity: usize) -> EventLog {
        let core = Core::new(Log::new(capacity, Ledger::default(), Vec::new()), None);
        EventLog {
            inner: Arc::new(Inner {
                core,
                keeper: None,
                skipped: None,
            }),
        }
    }

    /// A log that goes on from what lies in `dir`, and keeps `capacity` events in memory and about `disk_bytes` there. It
    /// has told by then what has become of the rooms and legs of a daemon that was killed. `WouldBlock` where another
    /// process writes there.
    pub fn open(dir: &Path, capacity: usize, disk_bytes: u64) -> io::Result<EventLog> {
        let lock = Arc::new(Lock::of(dir));
        match lock.hold() {
            // Calls go before events: they are told, and kept from when there is a disk.
            Err(error) if takes_nothing(&error) => {
                tracing::error!(%error, "the folder of the journal of events cannot be locked");
            }
            held => held?,
        }
        EventLog::open_on(
            Arc::new(LocalDisk),
            dir,
            &journal::boot_id(),
            capacity,
            disk_bytes,
            Some(lock),
        )
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        boot: &str,
        capacity: usize,
        disk_bytes: u64,
        lock: Option<Arc<Lock>>,
    ) -> io::Result<EventLog> {
        let past = journal::read_past(&*disk, dir, boot, capacity)?;
        let writer = journal::Writer::begin(disk.clone(), dir, boot, disk_bytes, &past);
        let archive = Arc::new(Archive::new(disk, dir.to_owned(), writer.segments()));
        let has_skipped = past.has_skipped;
        let log = Log::new(capacity, past.ledger, past.recent);
        let left_open = obituary::of(&log);
        let mut queue = Queue::default();
        if !writer.has_begun() {
            queue.cut();
        }
        let core = Core::new(log, Some(queue));
        let keeper = Keeper::start(core.clone(), writer, archive, has_skipped, lock)?;
        let events = EventLog {
            inner: Arc::new(Inner {
                core,
                keeper: Some(keeper),
                skipped: past.skipped,
            }),
        };
        left_open.into_iter().for_each(|happening| {
            events.append(happening);
        });
        Ok(events)
    }

    /// Never waits for a disk. Gives the number, of all, that it has; once the log is closed it is only counted.
    pub fn append(&self, happening: Happening) -> Option<u64> {
        self.inner.core.append(happening, Instant::now())
    }

    /// A reader of one room or of all, that goes on after the number it names, or begins with what comes next.
    pub fn reader(&self, conference: Option<ConferenceId>, after: Option<u64>) -> Reader {
        let wake = self.inner.core.told.subscribe();
        Reader::new(self.clone(), wake, conference, after)
    }

    /// A reader that is told first how things stand, and then what comes next. `fields` must say how they stand now, and
    /// nothing may happen between.
    pub fn reader_with_snapshot(
        &self,
        conference: Option<ConferenceId>,
        fields: Map<String, Value>,
    ) -> Reader {
        let mut reader = self.reader(conference, None);
        reader.begin_with(fields);
        reader
    }

    /// The number, of all, of the newest event that happened.
    pub fn newest(&self) -> u64 {
        self.lock().log.ledger.newest
    }

    /// The number, of all, of the newest event that readers have been given.
    pub fn told(&self) -> u64 {
        self.lock().log.told()
    }

    /// The number up to which readers have been given all events and the next start will have them; 0 while something is
    /// told that is not in the journal. As good as [`EventLog::told`] where nothing is kept.
    pub fn kept(&self) -> u64 {
        let state = self.lock();
        match state.queue.as_ref().is_some_and(Queue::is_ahead) {
            true => 0,
            false => state.log.told(),
        }
    }

    /// Tells what has waited for the disk for too long. To be called from time to time.
    pub fn tend(&self) {
        self.inner.core.tend(Instant::now());
    }

    /// Writes what is not written yet and returns when all that was told would outlive a loss of power. Nothing is told
    /// any more. Waits for the disk.
    pub fn close(&self) {
        if let Some(keeper) = &self.inner.keeper {
            keeper.end(&self.inner.core);
        }
    }

    /// How many of the numbers from `first` to `last` were skipped by the start: as far as is known no event ever had one.
    pub fn never_were(&self, first: u64, last: u64) -> u64 {
        self.inner.skipped.map_or(0, |(from, to)| {
            to.min(last).saturating_add(1).saturating_sub(from.max(first))
        })
    }

    pub fn figures(&self) -> EventFigures {
        let state = self.lock();
        let keeper = self.inner.keeper.as_ref();
        EventFigures {
            newest: state.log.ledger.newest,
            unwritten: state.queue.as_ref().map(Queue::unwritten).unwrap_or_default(),
            too_late: state.queue.as_ref().map_or(0, Queue::too_late),
            sync_failures: keeper.map_or(0, Keeper::sync_failures),
            disk_bytes: keeper.map_or(0, |keeper| keeper.archive.bytes()),
            has_skipped: keeper.is_some_and(|keeper| keeper.has_skipped),
        }
    }

    fn archive(&self) -> Option<Arc<Archive>> {
        self.inner.keeper.as_ref().map(|keeper| keeper.archive.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.core.lock()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.end(&self.core);
        }
    }
}

impl Core {
    fn new(log: Log, queue: Option<Queue>) -> Arc<Core> {
        Arc::new(Core {
            told: watch::Sender::new(log.told()),
            state: Mutex::new(State { log, queue }),
            rung: Condvar::new(),
        })
    }

    fn append(&self, happening: Happening, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        let State { log, queue } = &mut *state;
        if let Some(queue) = queue
            && queue.is_closed()
        {
            queue.came_too_late();
            return None;
        }
        let entry = log.number(happening);
        let global = entry.global;
        let is_told = match queue {
            None => true,
            Some(queue) => queue.push(entry, now) == Telling::AtOnce,
        };
        if is_told {
            log.tell(global);
            drop(state);
            self.told.send_replace(global);
        } else if let Some(queue) = queue
            && log.forget_untold(UNTOLD_MAX)
        {
            queue.count(Unwritten::Unmarked, 1);
        }
        self.rung.notify_all();
        Some(global)
    }

    fn tend(&self, now: Instant) {
        let mut state = self.lock();
        let State { log, queue } = &mut *state;
        if let Some(queue) = queue
            && queue.gives_up_waiting(now, log.untold())
        {
            self.tell_ahead(state);
        }
    }

    /// Tells what is not written, where it is time for that, and wakes readers.
    fn tell_ahead(&self, mut state: MutexGuard<'_, State>) {
        let State { log, queue } = &mut *state;
        log.tell(queue.as_ref().map_or(0, Queue::tells_ahead_to));
        let told = log.told();
        drop(state);
        self.told.send_replace(told);
        // Whoever marks may have to do something.
        self.rung.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a disk is full, or only to be read.
fn takes_nothing(error: &io::Error) -> bool {
    says_full(error) || error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

/// RFC 3339 in UTC, to the millisecond.
pub fn timestamp(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|at| format!("{at:.3}"))
        .unwrap_or_default()
}
