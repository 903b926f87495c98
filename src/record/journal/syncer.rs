//! What makes journals outlive a loss of power: a thread that syncs whatever was written, many files together.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::record::disk::Disk;

use super::segment::Segment;

/// From one round to the next.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(250);

/// What a loss of power may take: a round that lasts longer than this, with the wait before it, is late.
const LATE: Duration = Duration::from_millis(500);

/// With more segments to sync than this, several threads do it: of 500 files, one after the other took 74 ms, eight at
/// a time 43 ms. (`syncfs` took 13 ms, but waits for whatever others have written to the file system.)
const APIECE_MAX: usize = 32;
const SYNCING_AT_ONCE: usize = 8;

/// Failures are logged no more often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The segments of one file system that are written to.
pub struct SyncGroup {
    disk: Arc<dyn Disk>,
    segments: Mutex<Vec<Arc<Segment>>>,
    failures: AtomicU64,
    late_rounds: AtomicU64,
    last_log: Mutex<Option<Instant>>,
}

impl SyncGroup {
    pub fn new(disk: Arc<dyn Disk>) -> Arc<SyncGroup> {
        Arc::new(SyncGroup {
            disk,
            segments: Mutex::default(),
            failures: AtomicU64::new(0),
            late_rounds: AtomicU64::new(0),
            last_log: Mutex::default(),
        })
    }

    /// Syncs that failed, each the end of a segment.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Rounds that took so long that more than 500 ms of sound stood at risk.
    pub fn late_rounds(&self) -> u64 {
        self.late_rounds.load(Ordering::Relaxed)
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Syncs it from now on, until it is dead, or closed and nothing of it is left to sync.
    pub(super) fn watch(&self, segment: Arc<Segment>) {
        self.lock().push(segment);
    }

    /// Syncs one segment now.
    pub(super) fn sync(&self, segment: &Segment) -> io::Result<()> {
        let was_dead = segment.is_dead();
        let outcome = segment.sync(self.disk());
        if let Err(error) = &outcome
            && !was_dead
        {
            self.failed(error);
        }
        outcome
    }

    /// Syncs what was written before the call.
    pub fn round(&self) {
        let dirty: Vec<_> = {
            let mut segments = self.lock();
            segments.retain(|segment| !segment.is_over());
            segments
                .iter()
                .filter(|segment| segment.is_dirty())
                .cloned()
                .collect()
        };
        let sync_all = |segments: &[Arc<Segment>]| {
            for segment in segments {
                let _ = self.sync(segment);
            }
        };
        if dirty.len() <= APIECE_MAX {
            return sync_all(&dirty);
        }
        // The file system makes one commit of what several threads ask of it at once.
        thread::scope(|scope| {
            for part in dirty.chunks(dirty.len().div_ceil(SYNCING_AT_ONCE)) {
                let spawned = thread::Builder::new().spawn_scoped(scope, move || sync_all(part));
                if spawned.is_err() {
                    sync_all(part);
                }
            }
        });
    }

    fn failed(&self, error: &io::Error) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last_log = self.last_log.lock().unwrap_or_else(PoisonError::into_inner);
        if last_log.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            *last_log = Some(Instant::now());
            tracing::error!(%error, failures, "a journal cannot be synced: what is not safe goes into a new segment");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Segment>>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that syncs a group.
pub struct Syncer {
    is_stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub fn start(group: Arc<SyncGroup>, interval: Duration) -> io::Result<Syncer> {
        let is_stopped: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let told = is_stopped.clone();
        let thread = thread::Builder::new()
            .name("record-sync".to_owned())
            .spawn(move || sync_until_stopped(&group, interval, &told))?;
        Ok(Syncer {
            is_stopped,
            thread: Some(thread),
        })
    }

    /// Returns when all that was written is synced.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let (is_stopped, changed) = &*self.is_stopped;
        *is_stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sync_until_stopped(group: &SyncGroup, interval: Duration, stop: &(Mutex<bool>, Condvar)) {
    let (is_stopped, changed) = stop;
    let mut last = Instant::now();
    loop {
        let begun = Instant::now();
        group.round();
        // The oldest of what this round made safe was written when the last one began.
        if last.elapsed() > LATE {
            group.late_rounds.fetch_add(1, Ordering::Relaxed);
        }
        last = begun;
        let is_stopped = is_stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = interval.saturating_sub(begun.elapsed());
        let (is_stopped, _) = changed
            .wait_timeout_while(is_stopped, wait, |is_stopped| !*is_stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *is_stopped {
            drop(is_stopped);
            return group.round();
        }
    }
}
