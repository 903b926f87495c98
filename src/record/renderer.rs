//! The threads between journals and delivery: some bring the files of all recordings up to their journals, again and
//! again; one more ends those that are over, which takes as long as reading them.
//!
//! ```text
//! begin, leftovers ─▶ render (every 500 ms) ─▶ finish ─┬─▶ in its place, receipt ─▶ available
//!                          ▲                           └─▶ consignment ─▶ store ─▶ receipt ─▶ available
//!                          └── again, after an error ──┘
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::consignment::Consignment;
use super::destination::Names;
use super::disk::{Ballast, Disk, says_full};
use super::image::FinishError;
use super::naming;
use super::note::Opening;
use super::orders::Written;
use super::receipt::{self, Receipt};
use super::rendering::{Pass, Rendering};
use super::shelf::{Hindrance, RecordingState, RecordingStatus, Shelf};
use super::spool::{Leftover, Spool, destination};
use super::store::Store;
use super::turns::Turns;
use crate::id::RecordingSlot;

/// Between two passes: how old the files are that grow.
const INTERVAL: Duration = Duration::from_millis(500);

/// A thread with nothing to do sleeps at least this long, so that it finds several recordings due when it wakes up.
const SLEEP_MIN: Duration = Duration::from_millis(50);

/// After an error, before the next attempt.
const RETRY: Duration = Duration::from_secs(5);

/// Leftovers that are at work at once: each holds files open.
const LEFTOVERS_AT_WORK: usize = 16;

/// Attempts to end a recording on a disk that fails, beyond those on one that is full, which may take as long as it is.
const ATTEMPTS_MAX: u32 = 5;

/// One carries about 200 recordings in Opus, and many times as many of the other formats.
const THREADS_MAX: usize = 4;

/// How many threads are to render: as many as there are cores, up to four.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX))
}

/// One recording on its way from its journal to its place.
pub struct Job {
    pub slot: RecordingSlot,
    pub rendering: Rendering,
    /// The way to the object store; `None` for a file below `recording.dir`.
    pub consignment: Option<Consignment>,
    attempts: u32,
    /// Among the leftovers at work.
    place: Option<PlaceAtWork>,
}

impl Job {
    pub fn new(slot: RecordingSlot, rendering: Rendering, consignment: Option<Consignment>) -> Job {
        Job {
            slot,
            rendering,
            consignment,
            attempts: 0,
            place: None,
        }
    }
}

/// A leftover that waits to be taken up, or taken up again.
pub struct Waiting {
    slot: RecordingSlot,
    leftover: Leftover,
    attempts: u32,
}

/// Counts a leftover at work for as long as it is.
struct PlaceAtWork(Arc<AtomicUsize>);

impl PlaceAtWork {
    fn take(places: &Arc<AtomicUsize>) -> PlaceAtWork {
        places.fetch_add(1, Ordering::AcqRel);
        PlaceAtWork(places.clone())
    }
}

impl Drop for PlaceAtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the finisher is given to do.
pub enum Task {
    /// To end a recording's files and to send them where they belong.
    Finish(Box<Job>),
    /// To look how far the store is with a recording.
    Look(RecordingSlot),
    /// To see that the workshop closes.
    Close,
}

/// What the threads work with.
pub struct Workshop {
    pub spool: Arc<Spool>,
    pub shelf: Arc<Shelf>,
    pub disk: Arc<dyn Disk>,
    pub ballast: Arc<Mutex<Ballast>>,
    /// The way to the object store, where there is one.
    pub store: Option<Arc<Store>>,
    pub to_finisher: mpsc::Sender<Task>,
    /// Recordings that are at work.
    pub turns: Mutex<Turns<Box<Job>>>,
    /// Heard by those who wait for a turn.
    pub turned: Condvar,
    /// Recordings that a crash or a shutdown has interrupted.
    pub leftovers: Mutex<Turns<Waiting>>,
    /// Recordings on their way to the store.
    pub sent: Mutex<BTreeMap<RecordingSlot, Consignment>>,
    /// Of the leftovers, how many are at work.
    pub leftovers_at_work: Arc<AtomicUsize>,
    pub(super) is_closing: AtomicBool,
}

impl Workshop {
    /// From now on nothing more is done; what is not in its place is in the spool.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        // Gone already: then there is nobody to tell.
        for _ in 0..threads() {
            let _ = self.to_finisher.send(Task::Close);
        }
        self.hurry();
    }

    /// Every recording has its next turn now.
    pub fn hurry(&self) {
        self.turns().hurry(Instant::now());
        self.turned.notify_all();
    }

    pub fn take_up(&self, job: Job) {
        self.turns().put(Box::new(job), Instant::now());
    }

    fn turns(&self) -> MutexGuard<'_, Turns<Box<Job>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a recording that a crash or a shutdown has interrupted, unless it turns out to be delivered.
    pub fn take_up_leftover(&self, mut leftover: Leftover) {
        let Leftover { folder, opening } = &mut leftover;
        if self.shelf.status(&opening.recording_id).is_some() {
            if let Err(error) = self.spool.forget(folder) {
                tracing::warn!(
                    conference = opening.conference_id, recording = opening.recording_id, %error,
                    "a delivered recording stays in the spool"
                );
            }
            return;
        }
        let path = self.path_of(opening, folder);
        if opening.bucket.is_none() && path.starts_with(&folder) {
            // What cannot be done now is done when the file is whole.
            if let Ok(stem) = naming::keep(self.spool.dir(), folder, opening) {
                opening.is_called(stem);
            }
        } else if opening.bucket.is_none() {
            naming::claim(self.spool.dir(), &path);
        }
        let slot = self.shelf.new_slot();
        let status = RecordingStatus::of(opening, RecordingState::Recording);
        self.shelf.add(slot, status, None, Some(path));
        self.shelf.was_told(slot, self.spool.told(folder));
        let _ = self.shelf.finishing(slot);
        self.put_back(slot, leftover, 0, Instant::now());
    }

    fn put_back(&self, slot: RecordingSlot, leftover: Leftover, attempts: u32, due: Instant) {
        let waiting = Waiting {
            slot,
            leftover,
            attempts,
        };
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(waiting, due);
    }

    /// A folder of the spool that cannot be read: nothing can be done for it, and everybody is to see it.
    pub fn take_up_damaged(&self, folder: &Path, error: &io::Error) {
        let id = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        tracing::error!(folder = %folder.display(), %error, "a recording in the spool cannot be read, and stays there");
        let slot = self.shelf.new_slot();
        let status = RecordingStatus::of(&Opening::unknown(id), RecordingState::Recording);
        self.shelf.add(slot, status, None, None);
        self.shelf.was_told(slot, self.spool.told(folder));
        self.give_up(slot, format!("its folder in the spool cannot be read: {error}"));
    }

    /// Where the main track's file lies while it grows.
    pub fn path_of(&self, opening: &Opening, folder: &Path) -> PathBuf {
        let held = naming::held(folder, opening);
        match opening.bucket.is_some() || held.is_file() {
            true => held,
            false => self.spool.dir().join(opening.key()),
        }
    }

    /// The way of a recording to the object store; `None` for a local one.
    pub fn consignment(
        &self,
        slot: RecordingSlot,
        opening: &Opening,
        folder: &Path,
    ) -> io::Result<Option<Consignment>> {
        match (&opening.bucket, &self.store) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "there is no object store on this daemon: s3.endpoint is empty",
            )),
            (Some(bucket), Some(store)) => {
                let (shelf, finisher) = (self.shelf.clone(), self.to_finisher.clone());
                let heard = move |hindrance| {
                    shelf.hindered(slot, Hindrance::Store, hindrance);
                    // Nobody looks any more: then the next start does.
                    let _ = finisher.send(Task::Look(slot));
                };
                let (opening, bucket) = (opening.clone(), bucket.clone());
                Consignment::new(store.clone(), opening, bucket, folder, Arc::new(heard)).map(Some)
            }
        }
    }

    /// A leftover that is due, while few enough are at work.
    fn due_leftover(&self) -> Option<Waiting> {
        if self.leftovers_at_work.load(Ordering::Acquire) >= LEFTOVERS_AT_WORK {
            return None;
        }
        let mut leftovers = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = leftovers.take(Instant::now())?;
        leftovers.is_done();
        Some(waiting)
    }

    /// Begins with a leftover. What the disk keeps from being done is tried again.
    fn begin_leftover(&self, waiting: Waiting) -> Option<Job> {
        let Waiting {
            slot,
            leftover,
            attempts,
        } = waiting;
        let Leftover { folder, opening } = &leftover;
        let begun = guarded(|| {
            let rendering = Rendering::new(
                self.disk.clone(),
                opening.clone(),
                folder,
                self.path_of(opening, folder),
                Arc::new(Written::before()),
            )?;
            Ok((rendering, self.consignment(slot, opening, folder)?))
        });
        let error = match begun {
            Ok((rendering, consignment)) => {
                tracing::info!(
                    conference = opening.conference_id,
                    recording = opening.recording_id,
                    "a recording that was interrupted is finished"
                );
                let mut job = Job::new(slot, rendering, consignment);
                job.attempts = attempts;
                job.place = Some(PlaceAtWork::take(&self.leftovers_at_work));
                return Some(job);
            }
            Err(error) => error,
        };
        tracing::error!(
            conference = opening.conference_id, recording = opening.recording_id, folder = %folder.display(), %error,
            "an interrupted recording has to wait"
        );
        let is_lasting = matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::NotConnected | io::ErrorKind::NotFound
        );
        if says_full(&error) {
            self.release_ballast();
        }
        let attempts = attempts + u32::from(!says_full(&error));
        if is_lasting || attempts >= ATTEMPTS_MAX {
            self.give_up(slot, error.to_string());
        } else {
            self.shelf
                .hindered(slot, Hindrance::File, Some(format!("it has to wait: {error}")));
            self.put_back(slot, leftover, attempts, Instant::now() + RETRY);
        }
        None
    }

    fn release_ballast(&self) {
        self.ballast
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .release();
    }

    /// A thread of the growing files; several share the work. It ends when the workshop closes; what is not in its place
    /// then is in the spool.
    pub fn render(&self) {
        while let Some(job) = self.next_job() {
            self.take_turn(job);
            self.turns().is_done();
        }
    }

    /// Waits for a recording that is due; `None` when the workshop closes.
    fn next_job(&self) -> Option<Box<Job>> {
        let mut turns = self.turns();
        while !self.is_closing.load(Ordering::Acquire) {
            if let Some(waiting) = self.due_leftover() {
                turns.take_from_elsewhere();
                drop(turns);
                if let Some(job) = self.begin_leftover(waiting) {
                    return Some(Box::new(job));
                }
                turns = self.turns();
                turns.is_done();
                continue;
            }
            let now = Instant::now();
            if let Some(job) = turns.take(now) {
                return Some(job);
            }
            let sleep = turns.until_next(now).unwrap_or(INTERVAL);
            let sleep = sleep.clamp(SLEEP_MIN, INTERVAL);
            let woken = self.turned.wait_timeout(turns, sleep);
            turns = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        // Their files are let go of.
        turns.clear();
        None
    }

    /// Brings a recording's files up to its journal, and puts it back to wait or hands it on.
    fn take_turn(&self, mut job: Box<Job>) {
        let until_next = match guarded(|| job.rendering.pass()) {
            Ok(Pass::Complete) => {
                // Nobody listens any more: then what is not finished stays in the spool.
                let _ = self.to_finisher.send(Task::Finish(job));
                return;
            }
            Ok(pass) => {
                job.attempts = 0;
                let published = guarded(|| {
                    if let Some(consignment) = &mut job.consignment {
                        consignment.grow(&job.rendering);
                    }
                    job.rendering.publish()
                });
                self.shelf.grown(job.slot, job.rendering.bytes());
                self.note(&job, published.as_ref().err());
                match pass {
                    Pass::More => Duration::ZERO,
                    _ => INTERVAL,
                }
            }
            Err(error) => {
                self.note(&job, Some(&error));
                job.attempts += u32::from(!says_full(&error));
                if job.attempts >= ATTEMPTS_MAX && job.rendering.is_written() {
                    self.fail(&job, &error);
                    return;
                }
                RETRY
            }
        };
        self.turns().put(job, Instant::now() + until_next);
    }

    /// A thread that ends recordings and sees them off; several share the work. It ends when the workshop closes; what the
    /// store does not have then is in the spool.
    pub fn finish(&self, tasks: &Mutex<mpsc::Receiver<Task>>) {
        let mut next_retry = Instant::now() + RETRY;
        while !self.is_closing.load(Ordering::Acquire) {
            // What the disk kept from being done is tried again, however much there is to hear.
            if Instant::now() >= next_retry {
                let slots: Vec<_> = self.sent().keys().copied().collect();
                slots.into_iter().for_each(|slot| self.look(slot));
                next_retry = Instant::now() + RETRY;
            }
            let task = tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv_timeout(INTERVAL);
            match task {
                Ok(Task::Finish(job)) => {
                    if let Some((slot, consignment)) = self.end(*job) {
                        self.sent().insert(slot, consignment);
                        self.look(slot);
                    }
                }
                Ok(Task::Look(slot)) => self.look(slot),
                Ok(Task::Close) | Err(_) => {}
            }
        }
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<RecordingSlot, Consignment>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the files of a recording; gives what is left to the store.
    fn end(&self, mut job: Job) -> Option<(RecordingSlot, Consignment)> {
        if !self.shelf.has(job.slot) {
            // It was taken back before it recorded anything.
            let (path, folder) = (job.rendering.main().path.clone(), job.rendering.folder.clone());
            naming::let_go(self.spool.dir(), &folder, &job.rendering.opening);
            drop(job);
            let removed = fs::remove_file(path).and_then(|()| self.spool.forget(&folder));
            if let Err(error) = removed {
                tracing::warn!(%error, folder = %folder.display(), "a recording that never began stays in the spool");
            }
            return None;
        }
        match guarded(|| Ok(job.rendering.finish())).unwrap_or_else(|error| {
            Err(FinishError::Io {
                path: job.rendering.main().path.clone(),
                error,
            })
        }) {
            Ok(()) => {}
            Err(error @ (FinishError::Damaged { .. } | FinishError::Unsynced { .. })) => {
                let opening = &job.rendering.opening;
                tracing::error!(
                    conference = opening.conference_id, recording = opening.recording_id, %error,
                    "a recording's file cannot be trusted and is made anew"
                );
                self.try_again(job, &io::Error::other(error.without_path()), true);
                return None;
            }
            Err(FinishError::Io { error, .. }) => {
                self.try_again(job, &error, false);
                return None;
            }
        }
        if let Some(mut consignment) = job.consignment.take() {
            if let Err(error) = guarded(|| {
                consignment.finish(&job.rendering);
                Ok(())
            }) {
                self.try_again(job, &error, true);
                return None;
            }
            if let Some(receipt) = consignment.receipt() {
                self.shelf.uploading(job.slot, receipt);
            }
            return Some((job.slot, consignment));
        }
        match guarded(|| self.put_in_place(job.slot, &job.rendering)) {
            Ok(receipt) => {
                let path = self.spool.dir().join(&receipt.key);
                self.settled(job.slot, receipt, Some(path), None);
            }
            Err(error) => self.try_again(job, &error, false),
        }
        None
    }

    /// Takes the next step with a recording on its way, and takes it out of the spool once it has arrived.
    fn look(&self, slot: RecordingSlot) {
        // Held throughout: whoever is told to look meanwhile looks after this.
        let mut sent = self.sent();
        let Some(consignment) = sent.get_mut(&slot) else {
            return;
        };
        match guarded(|| consignment.step()) {
            Ok(None) => {}
            Ok(Some(receipt)) => {
                // Before it leaves those that are looked at: what fails here is tried again.
                if let Err(error) = self.spool.keep_receipt(&receipt, consignment.notifies()) {
                    return self.keep_waiting(slot, &receipt, &error);
                }
                let folder = consignment.folder().to_owned();
                // Its deliveries hold files of the folder.
                sent.remove(&slot);
                drop(sent);
                self.forget_delivered(&receipt, &folder);
                self.settled(slot, receipt, None, None);
            }
            Err(error) => {
                if let Some(receipt) = consignment.receipt() {
                    self.keep_waiting(slot, receipt, &error);
                }
            }
        }
    }

    /// The disk does not take the receipt of a recording that is with the store. It is written when it does.
    fn keep_waiting(&self, slot: RecordingSlot, receipt: &Receipt, error: &io::Error) {
        tracing::warn!(
            conference = receipt.conference_id, recording = receipt.recording_id, %error,
            "a recording's receipt has to wait"
        );
        if says_full(error) {
            self.release_ballast();
        }
        let waits = format!("the receipt has to wait: {error}");
        self.shelf.hindered(slot, Hindrance::File, Some(waits));
    }

    /// Takes a recording that lies in its place out of the spool. Where that fails the next start does it.
    fn forget_delivered(&self, receipt: &Receipt, folder: &Path) {
        if let Err(error) = self.spool.forget(folder) {
            tracing::warn!(
                conference = receipt.conference_id, recording = receipt.recording_id, %error,
                "a delivered recording stays in the spool"
            );
        }
    }

    /// Ends it once more, with files made anew where those that are there are not to be trusted.
    fn try_again(&self, mut job: Job, error: &io::Error, anew: bool) {
        self.note(&job, Some(error));
        match says_full(error) {
            true => self.release_ballast(),
            false => job.attempts += 1,
        }
        if job.attempts >= ATTEMPTS_MAX {
            return self.fail(&job, error);
        }
        let due = Instant::now() + RETRY;
        if !anew {
            self.turns().put(Box::new(job), due);
            return;
        }
        let leftover = Leftover {
            folder: job.rendering.folder.clone(),
            opening: job.rendering.opening.clone(),
        };
        let (slot, attempts) = (job.slot, job.attempts);
        // Its files and deliveries are let go of first.
        drop(job);
        self.put_back(slot, leftover, attempts, due);
    }

    /// The mix under its name, the tracks beside it, then the receipt; then the spool can forget the recording.
    fn put_in_place(&self, slot: RecordingSlot, rendering: &Rendering) -> io::Result<Receipt> {
        let mut opening = rendering.opening.clone();
        let stem = naming::keep(self.spool.dir(), &rendering.folder, &opening)?;
        if stem != opening.stem {
            tracing::warn!(
                conference = opening.conference_id,
                recording = opening.recording_id,
                "another file has the recording's name: it has another now"
            );
        }
        opening.is_called(stem);
        let mut receipt = rendering.receipt(&opening.key(), destination(None, &opening.key()));
        for (number, piece) in rendering.legs() {
            let key = self.link_beside(&piece.path, &opening.names(), &rendering.call_of(number))?;
            receipt.tracks.extend(rendering.track_receipt(number, key));
        }
        for stem in opening.stems() {
            let key = format!("{stem}.json");
            let path = self.spool.dir().join(&key);
            receipt.receipt_key = (stem != opening.stem).then_some(key);
            match receipt::write_new(&path, &receipt) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let there = receipt::read(&path);
                    if there.is_some_and(|there| there.recording_id == opening.recording_id) {
                        break;
                    }
                }
                written => {
                    written?;
                    break;
                }
            }
        }
        self.spool.keep_receipt(&receipt, opening.notifies)?;
        self.shelf.lies_at(slot, self.spool.dir().join(&receipt.key));
        self.forget_delivered(&receipt, &rendering.folder);
        Ok(receipt)
    }

    /// Gives a leg's file in the spool its name beside the mix: the first of those it may have that is free.
    fn link_beside(&self, file: &Path, names: &Names, call_id: &str) -> io::Result<String> {
        // From before a crash it may be there already, the same file.
        let is_ours = |path: &Path| naming::is_same_file(file, path);
        loop {
            let key = names.track(call_id, |key| {
                let path = self.spool.dir().join(key);
                path.exists() && !is_ours(&path)
            });
            let path = self.spool.dir().join(&key);
            match fs::hard_link(file, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if is_ours(&path) {
                        return Ok(key);
                    }
                }
                linked => return linked.map(|()| key),
            }
        }
    }

    fn fail(&self, job: &Job, error: &io::Error) {
        let opening = &job.rendering.opening;
        let key = opening.key();
        let receipt = job
            .rendering
            .receipt(&key, destination(opening.bucket.as_deref(), &key));
        tracing::error!(
            conference = opening.conference_id, recording = opening.recording_id, folder = %job.rendering.folder.display(), %error,
            "recording failed: what there is of it stays in the spool"
        );
        self.settled(job.slot, receipt, None, Some(error.to_string()));
    }

    fn settled(&self, slot: RecordingSlot, receipt: Receipt, path: Option<PathBuf>, error: Option<String>) {
        let forgotten = self.shelf.settled(slot, receipt, path, error);
        self.spool.forget_receipts(forgotten);
    }

    fn give_up(&self, slot: RecordingSlot, error: String) {
        let forgotten = self.shelf.given_up(slot, error);
        self.spool.forget_receipts(forgotten);
    }

    fn note(&self, job: &Job, error: Option<&io::Error>) {
        if let Some(error) = error {
            let opening = &job.rendering.opening;
            tracing::warn!(
                conference = opening.conference_id, recording = opening.recording_id, %error,
                "a recording's file has to wait"
            );
        }
        self.shelf.hindered(
            job.slot,
            Hindrance::File,
            error.map(|error| format!("the file has to wait: {error}")),
        );
    }
}

/// Does something with a recording. A panic is a defect of ours and an error of that recording's alone.
fn guarded<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(io::Error::other("a defect of the recorder, told in the log")))
}
#[cfg(test)]
mod tests;
