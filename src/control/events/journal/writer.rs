//! The writing end: segments that only grow, one after the other, and the syncing of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::life::{Life, Mark, State};
use super::past::{Past, UNFINISHED};
use super::segment;
use crate::control::events::ledger::Ledger;
use crate::control::events::log::Entry;
use crate::record::disk::{Disk, DiskFile, PRIVATE, says_full};

/// What a loss of power may take.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// The journal is kept in so many segments, of no more than so many bytes, snapshots not counted.
const SEGMENTS: u64 = 8;
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// However short they are, there are no more files than this.
const FILES_MAX: usize = 256;

/// The segments there are, by first number, with their bytes, rising.
pub type Segments = Arc<Mutex<Vec<(u64, u64)>>>;

/// Driven by one thread.
pub struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    boot: String,
    /// Once it says that the daemon runs.
    life: Option<Life>,
    bytes_max: u64,
    /// As of what is written.
    ledger: Ledger,
    segment: Option<Open>,
    segments: Segments,
    syncing: Arc<Syncing>,
}

struct Open {
    file: Arc<dyn DiskFile>,
    /// Bytes of whole records in it.
    bytes: u64,
    /// Of these, those of events.
    event_bytes: u64,
}

impl Writer {
    /// Begins a segment after what there is of the past, and says that the daemon runs. Both would outlive a loss of
    /// power when this returns. On a full disk the oldest segments make room; where that does not help, nor anything
    /// else, [`Writer::has_begun`] says so, and the next thing has to be [`Writer::begin_anew`].
    pub fn begin(disk: Arc<dyn Disk>, dir: &Path, boot: &str, bytes_max: u64, past: &Past) -> Writer {
        let mut writer = Writer {
            boot: boot.to_owned(),
            life: None,
            syncing: Arc::new(Syncing {
                disk: disk.clone(),
                dir: dir.to_owned(),
                whole: Mutex::default(),
                dirty: Mutex::default(),
                has_failed: AtomicBool::new(false),
                failures: AtomicU64::new(0),
            }),
            disk,
            dir: dir.to_owned(),
            bytes_max,
            ledger: Ledger::default(),
            segment: None,
            segments: Arc::new(Mutex::new(past.segments.clone())),
        };
        let begun = loop {
            match writer.begin_anew(past.ledger.clone()) {
                Err(error) if says_full(&error) && writer.makes_room() => {}
                begun => break begun,
            }
        };
        // Nothing is told yet, and what an earlier life told is skipped.
        if let Err(error) = begun.and_then(|()| writer.mark().set(0)) {
            tracing::error!(%error, "the journal of events cannot be begun: events are told all the same");
            writer.segment = None;
        }
        writer
    }

    pub fn has_begun(&self) -> bool {
        self.segment.is_some()
    }

    pub fn mark(&self) -> Mark {
        Mark::new(self.disk.clone(), &self.dir)
    }

    /// Goes on in a new segment from this ledger, in which is all that was told, and says that the daemon runs where that
    /// is not said yet.
    pub fn begin_anew(&mut self, ledger: Ledger) -> io::Result<()> {
        self.segment = None;
        if self.life.is_none() {
            // At the start there may have been no disk to make it on.
            self.disk.create_folder(&self.dir)?;
        }
        self.begin_segment(ledger)?;
        if self.life.is_none() {
            self.syncing.sync()?;
            let life = Life::open(&*self.disk, &self.dir, &self.boot)?;
            life.say(State::Running)?;
            self.life = Some(life);
        }
        Ok(())
    }

    /// Removes the oldest segment; false where there is but one.
    fn makes_room(&self) -> bool {
        let mut segments = locked(&self.segments);
        if segments.len() < 2 {
            return false;
        }
        let (oldest, _) = segments.remove(0);
        self.disk.remove(&self.dir.join(segment::name(oldest))).is_ok()
    }

    pub fn segments(&self) -> Segments {
        self.segments.clone()
    }

    pub fn syncing(&self) -> Arc<Syncing> {
        self.syncing.clone()
    }

    /// Writes events that follow those before. After an error nothing of them counts as written, and the next thing has
    /// to be [`Writer::begin_anew`]. Gives how many were too long, and are written as stubs.
    pub fn write(&mut self, entries: &[Entry]) -> io::Result<usize> {
        if self.syncing.has_failed.swap(false, Ordering::AcqRel) {
            // Nobody knows what of it is safe, nor would a sync of it that succeeds say so.
            self.syncing.forget();
            self.segment = None;
            self.begin_segment(self.ledger.clone())?;
        }
        let is_long = |open: &Open| open.event_bytes >= (self.bytes_max / SEGMENTS).min(SEGMENT_BYTES_MAX);
        if self.segment.as_ref().is_some_and(is_long) {
            self.begin_segment(self.ledger.clone())?;
        }
        let Some(open) = &mut self.segment else {
            return Err(io::Error::other("there is no segment"));
        };
        let mut bytes = Vec::new();
        let too_long = entries
            .iter()
            .filter(|entry| segment::put_event(&mut bytes, entry))
            .count();
        if let Err(error) = open.file.write_at(&bytes, open.bytes) {
            let _ = open.file.set_size(open.bytes);
            self.segment = None;
            return Err(error);
        }
        open.bytes += bytes.len() as u64;
        open.event_bytes += bytes.len() as u64;
        if let Some((_, of_segment)) = locked(&self.segments).last_mut() {
            *of_segment = open.bytes;
        }
        self.syncing.is_dirty(&open.file);
        for entry in entries {
            self.ledger.note(entry);
        }
        Ok(too_long)
    }

    /// Goes on in a new segment from this ledger; the oldest segments go where there are too many bytes.
    fn begin_segment(&mut self, ledger: Ledger) -> io::Result<()> {
        let first = ledger.newest + 1;
        let unfinished = self.dir.join(UNFINISHED);
        match self.disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file: Arc<dyn DiskFile> = Arc::from(self.disk.create(&unfinished, PRIVATE)?);
        let mut bytes = Vec::new();
        segment::put_snapshot(&mut bytes, &ledger);
        file.write_at(&bytes, 0)?;
        // Whole from the moment it has its name; one of the same number has no event.
        self.disk
            .rename(&unfinished, &self.dir.join(segment::name(first)))?;
        self.syncing.is_dirty(&file);
        self.segment = Some(Open {
            file,
            bytes: bytes.len() as u64,
            event_bytes: 0,
        });
        self.ledger = ledger;
        let mut segments = locked(&self.segments);
        segments.retain(|(there, _)| *there != first);
        segments.push((first, bytes.len() as u64));
        while segments.len() > 2 && self.is_too_much(&segments) {
            let (oldest, _) = segments.remove(0);
            if let Err(error) = self.disk.remove(&self.dir.join(segment::name(oldest))) {
                tracing::warn!(%error, "an old part of the journal of events cannot be removed");
            }
        }
        Ok(())
    }

    fn is_too_much(&self, segments: &[(u64, u64)]) -> bool {
        let bytes: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        segments.len() > FILES_MAX || bytes > self.bytes_max - self.bytes_max / SEGMENTS
    }

    /// Returns when all that was written would outlive a loss of power; unless something else was told, the next start
    /// knows that there is nothing else.
    pub fn end(self, is_ahead: bool) -> io::Result<()> {
        self.syncing.sync()?;
        match &self.life {
            // A sync that succeeds says nothing of what one before it has failed with.
            _ if is_ahead || self.segment.is_none() || self.syncing.has_failed.load(Ordering::Acquire) => {
                Ok(())
            }
            None => Ok(()),
            Some(life) => life.say(State::Stopped),
        }
    }
}

/// What was written and may not outlive a loss of power.
pub struct Syncing {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Held for the whole of a sync: whoever comes meanwhile waits for what it waits for.
    whole: Mutex<()>,
    dirty: Mutex<Vec<Arc<dyn DiskFile>>>,
    has_failed: AtomicBool,
    failures: AtomicU64,
}

impl Syncing {
    fn is_dirty(&self, file: &Arc<dyn DiskFile>) {
        let mut dirty = locked(&self.dirty);
        if !dirty.iter().any(|known| Arc::ptr_eq(known, file)) {
            dirty.push(file.clone());
        }
    }

    /// Returns when what was written before the call would outlive a loss of power. After an error the writer goes on in
    /// a new segment.
    pub fn sync(&self) -> io::Result<()> {
        let _whole = locked(&self.whole);
        let dirty = std::mem::take(&mut *locked(&self.dirty));
        if dirty.is_empty() {
            return Ok(());
        }
        let files = dirty.iter().try_for_each(|file| file.sync_data());
        files
            .and_then(|()| self.disk.sync_folder(&self.dir))
            .inspect_err(|_| {
                self.has_failed.store(true, Ordering::Release);
                dirty.iter().for_each(|file| self.is_dirty(file));
                self.failures.fetch_add(1, Ordering::Relaxed);
            })
    }

    /// What is not safe is of no more use: all of it is made anew.
    fn forget(&self) {
        locked(&self.dirty).clear();
    }

    /// Syncs that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
