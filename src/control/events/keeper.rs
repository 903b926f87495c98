//! The threads of the journal: one writes, one syncs, one marks that something is told that is not written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Core;
use super::journal::{Archive, Mark, SYNC_INTERVAL, Syncing, Writer};
use super::ledger::Ledger;
use super::log::Entry;
use super::queue::{Unwritten, Work};
use crate::record::disk::{Disk, LocalDisk};

/// From one write to the next, so that many events make one.
const GROUP: Duration = Duration::from_millis(2);

/// After a failure the disk is tried again so late.
const RETRY: Duration = Duration::from_secs(1);

/// Failures are logged no more often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The threads, and what they share with readers.
pub struct Keeper {
    pub archive: Arc<Archive>,
    pub has_skipped: bool,
    syncing: Arc<Syncing>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: Option<Arc<Lock>>,
}

/// Holds the folder for this process alone, from when that is possible.
pub struct Lock {
    dir: PathBuf,
    /// Released when it is closed.
    file: Mutex<Option<File>>,
}

impl Lock {
    pub fn of(dir: &Path) -> Lock {
        Lock {
            dir: dir.to_owned(),
            file: Mutex::default(),
        }
    }

    /// Makes the folder and takes hold of it, unless that is done. `WouldBlock` where another process has it.
    pub fn hold(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = Some(lock(&self.dir)?);
        }
        Ok(())
    }
}

fn lock(dir: &Path) -> io::Result<File> {
    LocalDisk.create_folder(dir)?;
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        LocalDisk.sync_folder(above)?;
    }
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "another mixminus writes there",
        )),
        // A file system without locks has to do without.
        _ => Ok(lock),
    }
}

impl Keeper {
    pub fn start(
        core: Arc<Core>,
        writer: Writer,
        archive: Arc<Archive>,
        has_skipped: bool,
        lock: Option<Arc<Lock>>,
    ) -> io::Result<Keeper> {
        let syncing = writer.syncing();
        let is_over = Arc::new(AtomicBool::new(false));
        let sync = {
            let (syncing, is_over) = (syncing.clone(), is_over.clone());
            thread::Builder::new()
                .name("events-sync".to_owned())
                .spawn(move || sync_until(&is_over, &syncing))?
        };
        let waker = sync.thread().clone();
        let mark = {
            let (core, is_over, mark) = (core.clone(), is_over.clone(), writer.mark());
            thread::Builder::new()
                .name("events-mark".to_owned())
                .spawn(move || mark_until(&is_over, &core, mark))?
        };
        let lock_of_writer = lock.clone();
        let write = thread::Builder::new()
            .name("events-write".to_owned())
            .spawn(move || {
                write_until_closed(&core, writer, lock_of_writer.as_deref());
                is_over.store(true, Ordering::Release);
                waker.unpark();
                // Under the lock, so that who looks before it waits has seen it, or hears.
                let _state = core.lock();
                core.rung.notify_all();
            })?;
        Ok(Keeper {
            archive,
            has_skipped,
            syncing,
            threads: Mutex::new(vec![write, sync, mark]),
            _lock: lock,
        })
    }

    /// Returns when all that was told would outlive a loss of power, and the threads have ended.
    pub fn end(&self, core: &Core) {
        if let Some(queue) = &mut core.lock().queue {
            queue.close();
        }
        core.rung.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal of events has failed");
            }
        }
    }

    pub fn sync_failures(&self) -> u64 {
        self.syncing.failures()
    }
}

fn sync_until(is_over: &AtomicBool, syncing: &Syncing) {
    let mut alarm = Alarm::default();
    while !is_over.load(Ordering::Acquire) {
        thread::park_timeout(SYNC_INTERVAL);
        if let Err(error) = syncing.sync() {
            alarm.ring(
                &error,
                "the journal of events cannot be synced: it goes on in a new part",
            );
        }
    }
}

fn mark_until(is_over: &AtomicBool, core: &Core, mut mark: Mark) {
    let mut alarm = Alarm::default();
    while let Some(up_to) = core.next_marking(is_over) {
        let marked = mark.set(up_to);
        core.is_marked(up_to, marked.is_ok());
        if let Err(error) = marked {
            alarm.ring(
                &error,
                "it cannot be marked that events are told which are not written: after a kill numbers may be given again",
            );
            if is_over.load(Ordering::Acquire) {
                return;
            }
            thread::sleep(RETRY);
        }
    }
}

fn write_until_closed(core: &Core, mut writer: Writer, lock: Option<&Lock>) {
    let mut alarm = Alarm::default();
    let mut failed_at: Option<Instant> = None;
    loop {
        match next_work(core, failed_at) {
            Step::Write(entries) => {
                let written = writer.write(&entries);
                failed_at = written.is_err().then(Instant::now);
                match written {
                    Ok(too_long) => core.is_written(&entries, too_long),
                    Err(error) => {
                        core.has_failed(entries.len());
                        alarm.ring(
                            &error,
                            "the journal of events cannot be written: events are told all the same",
                        );
                    }
                }
            }
            Step::BeginAnew(ledger) => {
                let newest = ledger.newest;
                // What could not be had at the start may be had by now.
                let held = lock.map_or(Ok(()), Lock::hold);
                let begun = held.and_then(|()| writer.begin_anew(ledger));
                failed_at = begun.is_err().then(Instant::now);
                match begun {
                    Ok(()) => {
                        core.has_begun(newest);
                        tracing::info!("the journal of events goes on");
                    }
                    Err(error) => {
                        core.has_failed(0);
                        alarm.ring(
                            &error,
                            "the journal of events cannot be written: events are told all the same",
                        );
                    }
                }
            }
            Step::End { is_ahead } => {
                if let Err(error) = writer.end(is_ahead) {
                    tracing::error!(%error, "the journal of events cannot be closed");
                }
                return;
            }
        }
        thread::sleep(GROUP);
    }
}

enum Step {
    Write(Vec<Entry>),
    BeginAnew(Ledger),
    End { is_ahead: bool },
}

/// Waits for something to do.
fn next_work(core: &Core, failed_at: Option<Instant>) -> Step {
    let mut state = core.lock();
    loop {
        let super::State { log, queue } = &mut *state;
        let Some(queue) = queue else {
            return Step::End { is_ahead: false };
        };
        let rest = failed_at.map_or(Duration::ZERO, |at| RETRY.saturating_sub(at.elapsed()));
        match queue.work() {
            Work::Write(entries) => return Step::Write(entries),
            Work::BeginAnew if rest.is_zero() => {
                queue.begin_anew(Instant::now());
                return Step::BeginAnew(log.ledger.clone());
            }
            _ if queue.is_closed() => {
                return Step::End {
                    is_ahead: queue.is_ahead(),
                };
            }
            _ => {}
        }
        let wait = if rest.is_zero() { RETRY } else { rest };
        let waited = core.rung.wait_timeout(state, wait);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Core {
    /// Tells what the writer has written.
    fn is_written(&self, entries: &[Entry], too_long: usize) {
        let Some(last) = entries.last() else { return };
        let mut state = self.lock();
        let super::State { log, queue } = &mut *state;
        log.tell(last.global);
        if let Some(queue) = queue {
            queue.is_written(Instant::now());
            queue.count(Unwritten::TooLong, too_long as u64);
        }
        self.tell_ahead(state);
    }

    /// Tells what the new segment begins after.
    fn has_begun(&self, newest: u64) {
        let mut state = self.lock();
        let super::State { log, queue } = &mut *state;
        log.tell(newest);
        if let Some(queue) = queue {
            queue.has_begun(Instant::now());
        }
        self.tell_ahead(state);
    }

    /// What will not be written is told as soon as that is marked.
    fn has_failed(&self, taken: usize) {
        let mut state = self.lock();
        if let Some(queue) = &mut state.queue {
            queue.has_failed(taken);
        }
        self.tell_ahead(state);
    }

    fn is_marked(&self, up_to: u64, is_done: bool) {
        let mut state = self.lock();
        if let Some(queue) = &mut state.queue {
            queue.is_marked(up_to, is_done);
        }
        self.tell_ahead(state);
    }

    /// Waits until the mark has to be changed; none once all is over and it is as it should be.
    fn next_marking(&self, is_over: &AtomicBool) -> Option<u64> {
        let mut state = self.lock();
        loop {
            let super::State { log, queue } = &mut *state;
            let newest = log.ledger.newest;
            let marking = queue.as_mut().and_then(|queue| queue.marking(newest));
            if marking.is_some() || is_over.load(Ordering::Acquire) {
                return marking;
            }
            state = self.rung.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells the operator, not too often.
#[derive(Default)]
struct Alarm {
    last: Option<Instant>,
}

impl Alarm {
    fn ring(&mut self, error: &io::Error, what: &str) {
        if self.last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            self.last = Some(Instant::now());
            tracing::error!(%error, "{what}");
        }
    }
}
