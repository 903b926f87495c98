//! The recorder as the control plane sees it. `begin`, `start` and `stop` touch the disk (milliseconds, or as long as
//! the disk stalls): call them where blocking is allowed. The rest waits for no disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::consignment::Consignment;
use super::credentials::Credentials;
use super::destination::{Destination, Place};
use super::disk::{Ballast, Disk, LocalDisk, Space};
use super::image::Format;
use super::journal::{Journal, SYNC_INTERVAL, SyncGroup, Syncer};
use super::note::{Note, Opening};
use super::orders::{End, Orders, Written};
use super::receipt::Anchor;
use super::renderer::{self, Job, Task, Workshop};
use super::rendering::Rendering;
use super::shelf::{RecordingState, RecordingStatus, Shelf};
use super::spool::{Spool, make_folder};
use super::store::{Counts, Store};
use super::take::Take;
use super::tap::TapReceiver;
use super::writer::{self, Writer};
use crate::frame::Rate;
use crate::id::{RecordingSlot, TrackNumber};
use crate::time::Tick;

/// Bytes of a recording's id: what `~<recordingId>` may add to a file name.
const RECORDING_ID_BYTES_MAX: usize = 64;

/// How long the files of recordings may take to be finished at shutdown; after it they are finished by the next start.
const FINISHING: Duration = Duration::from_secs(30);

/// How long uploads may take at shutdown; after it they go on with the next start.
const UPLOADING: Duration = Duration::from_secs(10);

/// Between two looks at how full the disk is.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(5);

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    pub path: PathBuf,
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
    begun: writer::Begun,
    /// Held while a name is taken, and to keep `begin` from overtaking `stop`.
    is_stopping: Mutex<bool>,
    no_more: Arc<AtomicBool>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    syncer: Option<Syncer>,
    workers: Vec<JoinHandle<()>>,
}

/// Told of each change of state.
pub type Tell = Box<dyn Fn(&RecordingStatus) + Send + Sync>;

impl Recorder {
    /// Makes `dir` where it is missing, takes up what a crash has left there, and starts the threads. `store`: the way
    /// to an object store, where there is one.
    ///
    /// `tell` hears each change of state from `finishing` on, in order and on whatever thread it happens. It must only
    /// hand on (`try_send`): it must not wait, nor call the recorder.
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
        let shelf = Arc::new(Shelf::new(tell));
        for receipt in spool.take_stock()? {
            let path = receipt
                .destination
                .starts_with("file://")
                .then(|| dir.join(&receipt.key));
            let status = RecordingStatus::new(&receipt, RecordingState::Available);
            shelf.add(shelf.new_slot(), status, None, path);
        }
        let syncs = SyncGroup::new(disk.clone(), spool.root());
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
            is_closing: AtomicBool::new(false),
        });
        let mut recorder = Recorder {
            spool,
            shelf,
            syncs,
            workshop,
            begun: writer::Begun::default(),
            is_stopping: Mutex::new(false),
            no_more: Arc::new(AtomicBool::new(false)),
            threads: Mutex::default(),
            disk,
        };
        for leftover in recorder.spool.leftovers()? {
            recorder.workshop.take_up_leftover(leftover);
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
        let workshop = self.workshop.clone();
        threads
            .workers
            .push(named("record-finish").spawn(move || workshop.finish(&tasks))?);
        for renderer in 1..=renderer::threads() {
            let workshop = self.workshop.clone();
            let thread = named(&format!("record-render-{renderer}")).spawn(move || workshop.render())?;
            threads.workers.push(thread);
        }
        threads.syncer = Some(Syncer::start(self.syncs.clone(), SYNC_INTERVAL)?);
        let mut writer = Writer::new(rings, self.begun.clone(), self.shelf.clone(), ballast.clone());
        let (no_more, disk, root) = (
            self.no_more.clone(),
            self.disk.clone(),
            self.spool.root().to_owned(),
        );
        threads.writer = Some(named("record-write").spawn(move || {
            let mut next_look = Instant::now();
            loop {
                // Read before the round: what was begun before `no_more` was set is seen by the round.
                let is_last = no_more.load(Ordering::Acquire);
                writer.round();
                if is_last && !writer.is_busy() {
                    break;
                }
                if Instant::now() >= next_look {
                    next_look = Instant::now() + WATERMARK_INTERVAL;
                    look_at(disk.as_ref(), &root, &ballast);
                }
                thread::sleep(writer::ROUND);
            }
        })?);
        Ok(())
    }

    /// Makes the journal and takes the name. The recording begins with the first frame pushed for the slot.
    pub fn begin(&self, request: BeginRecording) -> Result<Begun, RecordError> {
        let id = &request.recording_id;
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if id.is_empty() || id.len() > RECORDING_ID_BYTES_MAX || !id.chars().all(is_safe) {
            return Err(RecordError::BadId);
        }
        let is_stopping = self.is_stopping.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_stopping {
            return Err(RecordError::Stopping);
        }
        self.shelf.admits(id)?;
        if !self.disk.space(self.spool.root())?.admits_recording() {
            return Err(RecordError::NoSpace);
        }
        let mut opening = opening(&request);
        let folder = self.spool.folder(id);
        let path = match &request.destination.place {
            Place::Local => self.take_name(&mut opening)?,
            Place::S3 { .. } if self.workshop.store.is_none() => return Err(RecordError::NoStore),
            Place::S3 { .. } => folder.join(format!("mix{}", opening.ending)),
        };
        let slot = self.shelf.new_slot();
        let made = self.make(slot, &request, &opening, &folder, &path);
        let (journal, rendering, consignment) = made.map_err(|error| {
            // Nothing half-made stays behind.
            let _ = fs::remove_file(&path);
            let _ = self.spool.forget(&folder);
            RecordError::from(error)
        })?;

        let status = RecordingStatus::of(&opening, RecordingState::Recording);
        let orders = Arc::new(Mutex::new(Orders::default()));
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

    fn make(
        &self,
        slot: RecordingSlot,
        request: &BeginRecording,
        opening: &Opening,
        folder: &Path,
        path: &Path,
    ) -> io::Result<(Journal, Rendering, Option<Consignment>)> {
        make_folder(folder)?;
        let credentials = request.destination.credentials.clone();
        if let Some(credentials) = &credentials {
            credentials.keep(folder)?;
        }
        let journal = Journal::create(self.syncs.clone(), folder, &serde_json::to_vec(opening)?)?;
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

    /// There is silence in the place of the sound now; the time goes on.
    pub fn pause(&self, slot: RecordingSlot) -> Result<(), RecordError> {
        self.shelf.with_orders(slot, |orders| orders.paused = true)
    }

    /// Sound again.
    pub fn resume(&self, slot: RecordingSlot) -> Result<(), RecordError> {
        self.shelf.with_orders(slot, |orders| orders.paused = false)
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

    pub fn status(&self, recording_id: &str) -> Option<RecordingStatus> {
        self.shelf.status(recording_id)
    }

    /// All that is known, oldest first; those of earlier runs come from their receipts.
    pub fn list(&self) -> Vec<RecordingStatus> {
        self.shelf.list()
    }

    /// The file to serve; also while it grows. `None` when there is no such recording, or its sound is not on this
    /// machine any more.
    pub fn audio(&self, recording_id: &str) -> Option<Audio> {
        let status = self.shelf.status(recording_id)?;
        let path = self.shelf.path(recording_id)?;
        let length = fs::metadata(&path).ok()?.len();
        Some(Audio {
            path,
            bytes: length,
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
            space: self.disk.space(self.spool.root()).ok(),
            store: self.workshop.store.as_ref().map(|store| store.counts()),
        }
    }

    /// Waits until it is available or has failed; gives the state then, or at the timeout.
    pub fn wait_until_settled(&self, recording_id: &str, timeout: Duration) -> Option<RecordingStatus> {
        self.shelf.wait_until_settled(recording_id, timeout)
    }

    /// Waits until every recording is available or has failed, or for the timeout; true when none is left.
    pub fn wait_until_all_settled(&self, timeout: Duration) -> bool {
        self.shelf.wait_until_none(timeout, |state| !state.is_settled())
    }

    /// Begins nothing more, ends what runs, and returns when every receipt is written, or what is not delivered is safe
    /// in the spool for the next start.
    pub fn stop(&self) {
        *self.is_stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
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
        if !self.shelf.wait_until_none(FINISHING, RecordingState::is_active)
            || !self.shelf.wait_until_none(UPLOADING, |state| !state.is_settled())
        {
            tracing::warn!("recordings are not delivered yet: the next start goes on with them");
        }
        self.workshop.close();
        threads.workers.drain(..).for_each(join);
        if let Some(syncer) = threads.syncer.take() {
            syncer.stop();
        }
    }

    /// Takes the name asked for, or the one made from it, by making its file. Tells where that is.
    fn take_name(&self, opening: &mut Opening) -> Result<PathBuf, RecordError> {
        let asked = opening.stem.clone();
        for stem in [asked.clone(), format!("{asked}~{}", opening.recording_id)] {
            let key = format!("{stem}{}", opening.ending);
            let path = self.spool.dir().join(&key);
            match make_new(&path, &self.spool.dir().join(format!("{stem}.json"))) {
                Ok(()) => {
                    opening.requested_key = (stem != asked).then(|| format!("{asked}{}", opening.ending));
                    opening.stem = stem;
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(RecordError::NoFolder);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(RecordError::TakenName)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

fn opening(request: &BeginRecording) -> Opening {
    let subject = request.call_id.as_ref().unwrap_or(&request.conference_id);
    let names = request
        .destination
        .names(request.now.at, &request.application, subject);
    Opening {
        recording_id: request.recording_id.clone(),
        conference_id: request.conference_id.clone(),
        call_id: request.call_id.clone(),
        bucket: match &request.destination.place {
            Place::Local => None,
            Place::S3 { bucket } => Some(bucket.clone()),
        },
        stem: names.base().to_owned(),
        ending: names.ending().to_owned(),
        requested_key: None,
        format: request.destination.format.extension().to_owned(),
        rate: request.rate.hz(),
        legs: request.legs,
        has_credentials: request.destination.credentials.is_some(),
        notifies: request.notifies,
        anchor_tick: request.now.tick.0,
        anchor_us: request.now.at.as_microsecond(),
    }
}

/// Makes a file and the folders above it; `AlreadyExists` when it or its receipt is there, `NotADirectory` when a
/// folder above it is a file.
fn make_new(path: &Path, receipt: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| match error.kind() {
            // The last folder itself is a file: not what this name means elsewhere here.
            io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
            _ => error,
        })?;
    }
    if fs::exists(receipt)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::File::create_new(path).map(drop)
}

/// Warns of a disk that fills up, and sees to the ballast.
fn look_at(disk: &dyn Disk, root: &Path, ballast: &Mutex<Ballast>) {
    match disk.space(root) {
        Ok(space) => {
            if space.alarms() {
                tracing::warn!(
                    full_percent = space.fullness(),
                    "the disk of recordings fills up: at 90 % none begins, at 100 % those that run end"
                );
            }
            let mut ballast = ballast.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = ballast.restore() {
                tracing::warn!(%error, "no room can be kept back to end recordings with");
            }
        }
        Err(error) => tracing::warn!(%error, "how full the disk of recordings is cannot be told"),
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
