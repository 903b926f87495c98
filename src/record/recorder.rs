//! The recorder as the control plane sees it. `begin`, `start` and `stop` touch the disk (milliseconds, or as long as
//! the disk stalls), and so does what gives receipts (`status`, `page`, `wait_until_settled`) or sound: call them
//! where blocking is allowed. The rest waits for no disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::consignment::Consignment;
use super::credentials::Credentials;
use super::destination::Destination;
use super::disk::{Ballast, Disk, LocalDisk, Space};
use super::image::Format;
use super::journal::{Journal, SYNC_INTERVAL, SyncGroup, Syncer};
use super::naming;
use super::note::{Note, Opening};
use super::orders::{End, Orders, Written};
use super::receipt::Anchor;
use super::renderer::{self, Job, Task, Workshop};
use super::rendering::Rendering;
use super::shelf::{RecordingState, RecordingStatus, SETTLED_MAX, Shelf};
use super::spool::{Spool, make_folder, write_sidecar};
use super::store::{Counts, Store};
use super::take::Take;
use super::tap::TapReceiver;
use super::watermark::Watermark;
use super::writer::{self, Writer};
use crate::frame::Rate;
use crate::id::{RecordingSlot, TrackNumber};
use crate::time::Tick;

/// Bytes of a recording's id: what `~<recordingId>` may add to a file name.
const RECORDING_ID_BYTES_MAX: usize = 64;

/// How long what is not delivered yet may take when the recorder is dropped.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(20);

/// What is to be recorded, and where to.
#[derive(Debug, Clone)]
pub struct BeginRecording {
    /// 1-64 ASCII letters, digits and `-`; it becomes part of file names.
    pub recording_id: String,
    pub conference_id: String,
    /// The leg of which what it is sent is recorded; `None`: the room's mix.
    pub call_id: Option<String>,
    pub destination: Destination,
    /// The key of the application that asked: part of a name of ours.
    pub application: String,
    /// Of the file, from its beginning to its end.
    pub rate: Rate,
    /// A track of each leg beside the mix.
    pub legs: bool,
    /// Whether who asked wants to hear of the end.
    pub notifies: bool,
    /// The tick and the wall clock now.
    pub now: Anchor,
}

/// A recording that was begun: tap the room for `slot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    pub slot: RecordingSlot,
    pub status: RecordingStatus,
}

/// The sound of a recording, to be served.
#[derive(Debug)]
pub struct Audio {
    /// Open at its first byte.
    pub file: File,
    /// Bytes to serve: the file is never shorter, and longer only while it grows.
    pub bytes: u64,
    pub content_type: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// 507 / 50700.
    #[error("there is no room left on the disk for a recording")]
    NoSpace,
    /// 503 / 50300.
    #[error("too many recordings run at once")]
    TooMany,
    /// 503 / 50300.
    #[error("the recorder is stopping")]
    Stopping,
    /// A mistake of ours: ids are not the caller's to choose.
    #[error("an id is 1 to 64 letters, digits and -")]
    BadId,
    /// 409 / 40900.
    #[error("there is a recording of this id already")]
    TakenId,
    /// 409 / 40900.
    #[error("this name is taken, and so is the one made from it")]
    TakenName,
    /// 400 / 40001.
    #[error("what should be a folder of the destination is a file")]
    NoFolder,
    /// 400 / 40001.
    #[error("there is no object store on this daemon")]
    NoStore,
    /// 404 / 40400 or 409 / 40900.
    #[error("the recording is not running")]
    NotRunning,
    /// 500 / 50000; the text is for the log, it holds paths.
    #[error("the file cannot be made: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for RecordError {
    fn from(error: io::Error) -> RecordError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RecordError::NoSpace,
            _ => RecordError::Disk(error),
        }
    }
}

/// What an operator wants to see of the recorder.
#[derive(Debug, Clone, Default)]
pub struct RecorderFigures {
    pub recordings: BTreeMap<RecordingState, usize>,
    /// Syncs of journals that failed.
    pub sync_failures: u64,
    /// Rounds of syncing that took longer than half a second.
    pub late_syncs: u64,
    /// Of the disk below `recording.dir`.
    pub space: Option<Space>,
    /// `None` where there is no object store.
    pub store: Option<Counts>,
}

/// Owns the recorder's threads. Dropped, it finishes what runs; [`Recorder::stop`] says when that is done.
pub struct Recorder {
    disk: Arc<dyn Disk>,
    spool: Arc<Spool>,
    shelf: Arc<Shelf>,
    syncs: Arc<SyncGroup>,
    workshop: Arc<Workshop>,
    watermark: Arc<Watermark>,
    begun: writer::Begun,
    /// Held by each `begin`, which does not overtake `stop`.
    is_stopping: RwLock<bool>,
    /// Held while a local name is looked for.
    naming: Mutex<()>,
    no_more: Arc<AtomicBool>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    syncer: Option<Syncer>,
    workers: Vec<JoinHandle<()>>,
}

/// Whether a recording can be called so.
pub(super) fn is_recording_id(id: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=RECORDING_ID_BYTES_MAX).contains(&id.len()) && id.chars().all(is_safe)
}

/// Told of each change of state.
pub type Tell = Box<dyn Fn(&RecordingStatus) + Send + Sync>;

impl Recorder {
    /// Makes `dir` where it is missing, takes up what a crash has left there, and starts the threads. `store`: the way
    /// to an object store, where there is one.
    ///
    /// `tell` hears each change of state from `finishing` on, in order and on whatever thread it happens. It must only
    /// hand on (`try_send`): it must not wait, nor call the recorder. Until [`Recorder::is_told`] was called of one that
    /// is finishing, available or has failed, the next start tells it again, what is available after that it is over.
    pub fn start(
        dir: &Path,
        rings: Vec<TapReceiver>,
        store: Option<Store>,
        tell: Tell,
    ) -> io::Result<Recorder> {
        Recorder::start_on(Arc::new(LocalDisk), dir, rings, store, tell)
    }

    pub(super) fn start_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        rings: Vec<TapReceiver>,
        store: Option<Store>,
        tell: Tell,
    ) -> io::Result<Recorder> {
        let spool = Arc::new(Spool::open(disk.clone(), dir)?);
        let stock = spool.take_stock(SETTLED_MAX)?;
        let shelf = Arc::new(Shelf::new(tell));
        for mut status in stock {
            let is_local = status.destination.starts_with("file://");
            let path = is_local.then(|| dir.join(&status.key));
            if let Some(untold) = spool.untold(&status.recording_id) {
                status.notifies = untold.notifies;
                if untold.finished {
                    shelf.tell(&RecordingStatus {
                        state: RecordingState::Finishing,
                        ..status.clone()
                    });
                }
                shelf.tell(&spool.with_receipt(status.clone()));
            }
            shelf.add(shelf.new_slot(), status, None, path);
        }
        let syncs = SyncGroup::new(disk.clone());
        let ballast = Arc::new(Mutex::new(Ballast::new(disk.clone(), spool.root())));
        let (to_finisher, tasks) = mpsc::channel();
        let workshop = Arc::new(Workshop {
            spool: spool.clone(),
            shelf: shelf.clone(),
            disk: disk.clone(),
            ballast: ballast.clone(),
            store: store.map(Arc::new),
            to_finisher,
            turns: Mutex::default(),
            turned: Condvar::new(),
            leftovers: Mutex::default(),
            leftovers_at_work: Arc::default(),
            sent: Mutex::default(),
            is_closing: AtomicBool::new(false),
        });
        let mut recorder = Recorder {
            spool,
            shelf,
            syncs,
            workshop,
            watermark: Arc::default(),
            begun: writer::Begun::default(),
            is_stopping: RwLock::new(false),
            naming: Mutex::default(),
            no_more: Arc::new(AtomicBool::new(false)),
            threads: Mutex::default(),
            disk,
        };
        let leftovers = recorder.spool.leftovers()?;
        for leftover in leftovers.recordings {
            recorder.workshop.take_up_leftover(leftover);
        }
        for (folder, error) in leftovers.damaged {
            recorder.workshop.take_up_damaged(&folder, &error);
        }
        recorder.start_threads(rings, ballast, tasks)?;
        Ok(recorder)
    }

    fn start_threads(
        &mut self,
        rings: Vec<TapReceiver>,
        ballast: Arc<Mutex<Ballast>>,
        tasks: mpsc::Receiver<Task>,
    ) -> io::Result<()> {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (watermark, disk, root) = (
            self.watermark.clone(),
            self.disk.clone(),
            self.spool.root().to_owned(),
        );
        threads
            .workers
            .push(named("record-watch").spawn(move || watermark.watch(disk.as_ref(), &root, &ballast))?);
        let tasks = Arc::new(Mutex::new(tasks));
        for renderer in 1..=renderer::threads() {
            let (workshop, tasks) = (self.workshop.clone(), tasks.clone());
            let thread =
                named(&format!("record-finish-{renderer}")).spawn(move || workshop.finish(&tasks))?;
            threads.workers.push(thread);
            let workshop = self.workshop.clone();
            let thread = named(&format!("record-render-{renderer}")).spawn(move || workshop.render())?;
            threads.workers.push(thread);
        }
        threads.syncer = Some(Syncer::start(self.syncs.clone(), SYNC_INTERVAL)?);
        let mut writer = Writer::new(
            rings,
            self.begun.clone(),
            self.shelf.clone(),
            self.workshop.ballast.clone(),
        );
        let no_more = self.no_more.clone();
        threads.writer = Some(named("record-write").spawn(move || {
            loop {
                // Read before the round: what was begun before `no_more` was set is seen by the round.
                let is_last = no_more.load(Ordering::Acquire);
                writer.round();
                if is_last && !writer.is_busy() {
                    break;
                }
                thread::sleep(writer::ROUND);
            }
        })?);
        Ok(())
    }

    /// Makes the journal and takes the name. The recording begins with the first frame pushed for the slot.
    pub fn begin(&self, request: BeginRecording) -> Result<Begun, RecordError> {
        let id = &request.recording_id;
        if !is_recording_id(id) {
            return Err(RecordError::BadId);
        }
        // Many may begin at once; who stops waits for them.
        let is_stopping = self.is_stopping.read().unwrap_or_else(PoisonError::into_inner);
        if *is_stopping {
            return Err(RecordError::Stopping);
        }
        self.shelf.admits(id)?;
        if !self.disk.space(self.spool.root())?.admits_recording() {
            return Err(RecordError::NoSpace);
        }
        let mut opening = naming::opening(&request);
        if opening.bucket.is_some() && self.workshop.store.is_none() {
            return Err(RecordError::NoStore);
        }
        let folder = self.spool.folder(id);
        make_folder(&folder)?;
        self.name(&mut opening, &folder).inspect_err(|_| {
            naming::let_go(self.spool.dir(), &folder, &opening);
            let _ = self.spool.forget(&folder);
        })?;
        let path = self.workshop.path_of(&opening, &folder);
        let slot = self.shelf.new_slot();
        let made = self.make(slot, &request, &opening, &folder, &path);
        let (journal, rendering, consignment) = made.map_err(|error| {
            // Nothing half-made stays behind.
            naming::let_go(self.spool.dir(), &folder, &opening);
            let _ = fs::remove_file(&path);
            let _ = self.spool.forget(&folder);
            RecordError::from(error)
        })?;

        let status = RecordingStatus::of(&opening, RecordingState::Recording);
        let orders = Arc::new(Mutex::new(Orders::new(request.legs)));
        self.shelf
            .add(slot, status.clone(), Some(orders.clone()), Some(path));
        let samples_max = rendering.format.samples_max();
        let take = Take::new(
            slot,
            request.recording_id,
            request.rate,
            journal,
            orders,
            samples_max,
        );
        let written = rendering.written();
        self.workshop.take_up(Job::new(slot, rendering, consignment));
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((take, written));
        Ok(Begun { slot, status })
    }

    /// Says in the recording's folder what it is, then takes a local one's name: in this order a crash on the way leaves
    /// nothing below `recording.dir` of which the next start does not know whose it is.
    fn name(&self, opening: &mut Opening, folder: &Path) -> Result<(), RecordError> {
        if opening.bucket.is_some() {
            return Ok(write_sidecar(folder, opening)?);
        }
        naming::hold(folder, opening)?;
        write_sidecar(folder, opening)?;
        naming::take(self.spool.dir(), folder, opening, &self.naming)
    }

    fn make(
        &self,
        slot: RecordingSlot,
        request: &BeginRecording,
        opening: &Opening,
        folder: &Path,
        path: &Path,
    ) -> io::Result<(Journal, Rendering, Option<Consignment>)> {
        // In this order a crash on the way leaves what the next start can tell from a recording, and take away.
        if opening.requested_key.is_some() {
            // It says the name asked for, which was taken.
            write_sidecar(folder, opening)?;
        }
        if let Some(credentials) = &request.destination.credentials {
            credentials.keep(folder)?;
        }
        let json = serde_json::to_vec(opening)?;
        let journal = Journal::create(self.syncs.clone(), folder, &json)?;
        self.disk.sync_folder(self.spool.root())?;
        let written = Arc::<Written>::default();
        let rendering = Rendering::new(
            self.disk.clone(),
            opening.clone(),
            folder,
            path.to_owned(),
            written,
        )?;
        let consignment = self.workshop.consignment(slot, opening, folder)?;
        Ok((journal, rendering, consignment))
    }

    /// All who were to be told that a recording is in this state have been, and none will forget it. Touches the disk.
    pub fn is_told(&self, recording_id: &str, state: RecordingState) {
        if let Err(error) = self.spool.is_told(recording_id, state) {
            tracing::warn!(recording = recording_id, state = state.name(), %error, "the next start tells again of a recording");
        }
    }

    /// There is silence in the place of the sound from now on, the time goes on; or sound again. Gives how the recording
    /// stands, where it runs and that is news.
    pub fn pause(&self, slot: RecordingSlot, on: bool) -> Option<RecordingStatus> {
        let order = |orders: &mut Orders| mem::replace(&mut orders.paused, on) != on;
        let is_news = self.shelf.with_orders(slot, order).ok()?;
        let status = self.shelf.status_of(slot)?;
        (is_news && status.state == RecordingState::Recording).then_some(status)
    }

    /// Ends the recording with `last_tick`, or without one with what is in the ring. Frames still on their way have
    /// 200 ms; what lacks then is a gap.
    pub fn finish(&self, slot: RecordingSlot, last_tick: Option<Tick>) -> Result<(), RecordError> {
        self.shelf.finishing(slot)?;
        let end = last_tick.map_or(End::WithWhatCame, End::After);
        // Over already when a disk error has ended it in between.
        let _ = self.shelf.with_orders(slot, |orders| orders.end(end));
        Ok(())
    }

    /// Frames of this track are the voice of this leg. To be told before the first of them comes.
    pub fn track(&self, slot: RecordingSlot, track: TrackNumber, call_id: &str) -> Result<(), RecordError> {
        self.note(
            slot,
            Note::Track {
                track: track.0,
                call_id: call_id.to_owned(),
            },
        )
    }

    /// A leg came into the room at `tick`, or was in it since.
    pub fn joined(
        &self,
        slot: RecordingSlot,
        call_id: &str,
        cli: Option<&str>,
        tick: Tick,
    ) -> Result<(), RecordError> {
        self.note(
            slot,
            Note::Joined {
                call_id: call_id.to_owned(),
                cli: cli.map(str::to_owned),
                tick: tick.0,
            },
        )
    }

    pub fn left(&self, slot: RecordingSlot, call_id: &str, tick: Tick) -> Result<(), RecordError> {
        self.note(
            slot,
            Note::Left {
                call_id: call_id.to_owned(),
                tick: tick.0,
            },
        )
    }

    pub fn muted(&self, slot: RecordingSlot, call_id: &str, tick: Tick) -> Result<(), RecordError> {
        self.note(
            slot,
            Note::Muted {
                call_id: call_id.to_owned(),
                tick: tick.0,
            },
        )
    }

    pub fn unmuted(&self, slot: RecordingSlot, call_id: &str, tick: Tick) -> Result<(), RecordError> {
        self.note(
            slot,
            Note::Unmuted {
                call_id: call_id.to_owned(),
                tick: tick.0,
            },
        )
    }

    fn note(&self, slot: RecordingSlot, note: Note) -> Result<(), RecordError> {
        self.shelf.with_orders(slot, |orders| orders.note(note))
    }

    /// What is known of one, with the receipt if it is over.
    pub fn status(&self, recording_id: &str) -> Option<RecordingStatus> {
        let status = self.shelf.status(recording_id)?;
        Some(self.spool.with_receipt(status))
    }

    /// Of one that records, paused or not.
    pub fn running(&self, recording_id: &str) -> Option<RecordingStatus> {
        let status = self.shelf.status(recording_id)?;
        (status.state == RecordingState::Recording).then_some(status)
    }

    /// Takes back what was begun and never recorded anything: it is as if it had not been.
    pub fn cancel(&self, slot: RecordingSlot) {
        // What fails here has ended by itself, and is told of.
        if self
            .shelf
            .with_orders(slot, |orders| orders.end(End::WithWhatCame))
            .is_ok()
        {
            self.shelf.remove(slot);
        }
    }

    /// Whether it records, paused or not.
    pub fn is_running(&self, recording_id: &str) -> bool {
        self.running(recording_id).is_some()
    }

    /// So many of them after so many, oldest first, and how many are known.
    pub fn page(&self, skip: usize, take: usize) -> (usize, Vec<RecordingStatus>) {
        let (known, page) = self.shelf.page(skip, take);
        let page = page.into_iter().map(|status| self.spool.with_receipt(status));
        (known, page.collect())
    }

    /// All that is known, oldest first, without the receipts of what is available.
    pub fn list(&self) -> Vec<RecordingStatus> {
        self.shelf.list()
    }

    /// The file to serve; also while it grows. `None` when there is no such recording, or its sound is not on this
    /// machine any more.
    pub fn audio(&self, recording_id: &str) -> Option<Audio> {
        let status = self.shelf.status(recording_id)?;
        let open = || File::open(self.shelf.path(recording_id)?).ok();
        // One that was put in its place just now has left where it grew.
        let file = open().or_else(open)?;
        Some(Audio {
            bytes: file.metadata().ok()?.len(),
            file,
            content_type: status.format.parse::<Format>().ok()?.content_type(),
        })
    }

    /// Other credentials for what is still to be sent, where the request gave none.
    pub fn replace_store_credentials(&self, credentials: Option<Credentials>) {
        if let Some(store) = &self.workshop.store {
            store.set_credentials(credentials);
        }
    }

    pub fn figures(&self) -> RecorderFigures {
        RecorderFigures {
            recordings: self.shelf.count(),
            sync_failures: self.syncs.failures(),
            late_syncs: self.syncs.late_rounds(),
            space: self.watermark.space(),
            store: self.workshop.store.as_ref().map(|store| store.counts()),
        }
    }

    /// Waits until it is available or has failed; gives the state then, or at the timeout.
    pub fn wait_until_settled(&self, recording_id: &str, timeout: Duration) -> Option<RecordingStatus> {
        let status = self.shelf.wait_until_settled(recording_id, timeout)?;
        Some(self.spool.with_receipt(status))
    }

    /// Waits until every recording is available or has failed, or for the timeout; true when none is left.
    pub fn wait_until_all_settled(&self, timeout: Duration) -> bool {
        self.shelf.wait_until_none(timeout, |state| !state.is_settled())
    }

    /// Begins nothing more, ends what runs, and returns when every receipt is written; after `patience`, or where the
    /// disk or the store keeps it waiting, what is not delivered stays safe in the spool for the next start.
    pub fn stop(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        *self.is_stopping.write().unwrap_or_else(PoisonError::into_inner) = true;
        for slot in self.shelf.running() {
            // One that ended by itself just now is as good.
            let _ = self.finish(slot, None);
        }
        self.no_more.store(true, Ordering::Release);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let join = |thread: JoinHandle<()>| {
            if thread.join().is_err() {
                tracing::error!("a recorder thread has panicked");
            }
        };
        let Some(writer) = threads.writer.take() else {
            return;
        };
        join(writer);
        self.workshop.hurry();
        let left = deadline.saturating_duration_since(Instant::now());
        if !self.shelf.wait_until_delivered_or_hindered(left) || self.shelf.count_unsettled() > 0 {
            tracing::warn!("recordings are not delivered yet: the next start goes on with them");
        }
        self.workshop.close();
        self.watermark.close();
        threads.workers.iter().for_each(|thread| thread.thread().unpark());
        threads.workers.drain(..).for_each(join);
        if let Some(syncer) = threads.syncer.take() {
            syncer.stop();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop(PATIENCE_AT_THE_END);
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
