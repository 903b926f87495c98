//! The recorder as the control plane sees it. `begin`, `start` and `stop` touch the disk (milliseconds, or as long as
//! the disk stalls): call them where blocking is allowed. The rest waits for no disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::destination::Destination;
use super::disk::{Disk, LocalDisk};
use super::finisher;
use super::orders::{End, Orders};
use super::receipt::{Anchor, Paths};
use super::shelf::{ACTIVE_MAX, RecordingState, RecordingStatus, SETTLED_MAX, Shelf};
use super::spool::receipts;
use super::take::{Beginning, Take};
use super::tap::{RecordingSlot, TapQueue};
use super::wav::WavFile;
use super::writer::{self, Writer};
use crate::frame::Rate;
use crate::time::Tick;

/// Bytes of a recording's id: what `~<recordingId>` may add to a file name.
const RECORDING_ID_BYTES_MAX: usize = 64;

/// What is to be recorded, and where to.
#[derive(Debug, Clone)]
pub struct BeginRecording {
    /// 1-64 ASCII letters, digits and `-`; it becomes part of file names.
    pub recording_id: String,
    pub conference_id: String,
    pub destination: Destination,
    /// Of the file, from its beginning to its end.
    pub rate: Rate,
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
    /// 404 / 40400 or 409 / 40900.
    #[error("the recording is not running")]
    NotRunning,
    /// 409 / 40900.
    #[error("the recording has been paused too often")]
    TooManyPauses,
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

/// Owns the writer and the finisher. Dropped, it finishes what runs; [`Recorder::stop`] says when that is done.
pub struct Recorder {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    shelf: Arc<Shelf>,
    begun: writer::Begun,
    /// Held while a name is taken, and to keep `begin` from overtaking `stop`.
    is_stopping: Mutex<bool>,
    no_more: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Recorder {
    /// Makes `dir` where it is missing, lists the receipts in it, and starts the threads.
    ///
    /// `tell` hears each change of state from `finishing` on, in order and on whatever thread it happens. It must only
    /// hand on (`try_send`): it must not wait, nor call the recorder.
    pub fn start(
        dir: PathBuf,
        queues: Vec<Arc<TapQueue>>,
        tell: impl Fn(&RecordingStatus) + Send + Sync + 'static,
    ) -> io::Result<Recorder> {
        Recorder::start_on(Box::new(LocalDisk), dir, queues, Box::new(tell))
    }

    pub(super) fn start_on(
        disk: Box<dyn Disk>,
        dir: PathBuf,
        queues: Vec<Arc<TapQueue>>,
        tell: Box<dyn Fn(&RecordingStatus) + Send + Sync>,
    ) -> io::Result<Recorder> {
        fs::create_dir_all(&dir)?;
        let shelf = Arc::new(Shelf::new(tell));
        for receipt in receipts(&dir, SETTLED_MAX)? {
            shelf.add(
                shelf.new_slot(),
                RecordingStatus::new(&receipt, RecordingState::Available),
                None,
            );
        }
        let (to_finisher, takes) = mpsc::sync_channel::<Take>(ACTIVE_MAX);
        let finishing = shelf.clone();
        let finisher = thread::Builder::new()
            .name("record-finish".to_owned())
            .spawn(move || {
                takes
                    .into_iter()
                    .for_each(|take| finisher::finish(take, &finishing));
            })?;
        let begun = writer::Begun::default();
        let no_more = Arc::new(AtomicBool::new(false));
        let mut writer = Writer::new(queues, begun.clone(), shelf.clone(), to_finisher);
        let is_last = no_more.clone();
        let writer = thread::Builder::new()
            .name("record-write".to_owned())
            .spawn(move || {
                loop {
                    // Read before the round: what was begun before `no_more` was set is seen by the round.
                    let no_more = is_last.load(Ordering::Acquire);
                    writer.round();
                    if no_more && !writer.is_busy() {
                        break;
                    }
                    thread::sleep(writer::ROUND);
                }
            })?;
        let threads = Mutex::new(vec![writer, finisher]);
        Ok(Recorder {
            dir,
            disk,
            shelf,
            begun,
            is_stopping: Mutex::new(false),
            no_more,
            threads,
        })
    }

    /// Makes the file and its note. The recording begins with the first frame pushed for the slot.
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
        if !self.disk.space(&self.dir)?.admits_recording() {
            return Err(RecordError::NoSpace);
        }
        let (beginning, wav) = self.take_name(&request)?;
        let slot = beginning.slot;
        let mut status = RecordingStatus::new(&beginning.receipt(), RecordingState::Recording);
        status.bytes = wav.bytes();
        let orders = Arc::new(Mutex::new(Orders::new(wav.bytes())));
        self.shelf.add(slot, status.clone(), Some(orders.clone()));
        let take = Take::new(beginning, wav, orders);
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(take);
        Ok(Begun { slot, status })
    }

    /// Puts silence in the place of the sound from `tick` on; the time goes on.
    pub fn pause(&self, slot: RecordingSlot, tick: Tick) -> Result<(), RecordError> {
        let paused = self.shelf.with_orders(slot, |orders| orders.pause(tick))?;
        paused.map_err(|_| RecordError::TooManyPauses)
    }

    /// Sound again from `tick` on. What was silenced before this call stays silent.
    pub fn resume(&self, slot: RecordingSlot, tick: Tick) -> Result<(), RecordError> {
        self.shelf.with_orders(slot, |orders| orders.resume(tick))
    }

    /// Ends the recording with `last_tick`, or without one with what is in the queue. Frames still on their way have
    /// 200 ms; what lacks then is a gap.
    pub fn finish(&self, slot: RecordingSlot, last_tick: Option<Tick>) -> Result<(), RecordError> {
        self.shelf.finishing(slot)?;
        let end = last_tick.map_or(End::WithWhatCame, End::After);
        // Over already when a disk error has ended it in between.
        let _ = self.shelf.with_orders(slot, |orders| orders.end(end));
        Ok(())
    }

    /// A leg came into the room at `tick`, or was in it since.
    pub fn joined(
        &self,
        slot: RecordingSlot,
        call_id: &str,
        cli: Option<&str>,
        tick: Tick,
    ) -> Result<(), RecordError> {
        self.shelf
            .with_orders(slot, |orders| orders.attendance.joined(call_id, cli, tick))
    }

    pub fn left(&self, slot: RecordingSlot, call_id: &str, tick: Tick) -> Result<(), RecordError> {
        self.shelf
            .with_orders(slot, |orders| orders.attendance.left(call_id, tick))
    }

    pub fn muted(&self, slot: RecordingSlot, call_id: &str, tick: Tick) -> Result<(), RecordError> {
        self.shelf
            .with_orders(slot, |orders| orders.attendance.muted(call_id, tick))
    }

    pub fn unmuted(&self, slot: RecordingSlot, call_id: &str, tick: Tick) -> Result<(), RecordError> {
        self.shelf
            .with_orders(slot, |orders| orders.attendance.unmuted(call_id, tick))
    }

    pub fn status(&self, recording_id: &str) -> Option<RecordingStatus> {
        self.shelf.status(recording_id)
    }

    /// All that is known, oldest first; those of earlier runs come from their receipts.
    pub fn list(&self) -> Vec<RecordingStatus> {
        self.shelf.list()
    }

    /// The file to serve; also while it grows. `None` when there is no such recording or its file is gone.
    pub fn audio(&self, recording_id: &str) -> Option<Audio> {
        let status = self.shelf.status(recording_id)?;
        let path = self.dir.join(&status.key);
        let length = fs::metadata(&path).ok()?.len();
        Some(Audio {
            path,
            bytes: length,
            content_type: "audio/wav",
        })
    }

    /// Waits until the receipt is written; gives the state then, or at the timeout.
    pub fn wait_until_settled(&self, recording_id: &str, timeout: Duration) -> Option<RecordingStatus> {
        self.shelf.wait_until_settled(recording_id, timeout)
    }

    /// Begins nothing more, finishes what runs, and returns when every receipt is written.
    pub fn stop(&self) {
        *self.is_stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        for slot in self.shelf.running() {
            // One that ended by itself just now is as good.
            let _ = self.finish(slot, None);
        }
        self.no_more.store(true, Ordering::Release);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a recorder thread has panicked");
            }
        }
    }

    /// Takes the name asked for, or the one made from it, and makes its files.
    fn take_name(&self, request: &BeginRecording) -> Result<(Beginning, WavFile), RecordError> {
        let BeginRecording {
            recording_id,
            conference_id,
            destination,
            rate,
            now,
        } = request;
        let names = destination.names(now.at, "mixminus", conference_id);
        let (asked, ending) = (names.base().to_owned(), names.ending());
        let slot = self.shelf.new_slot();
        for stem in [asked.clone(), format!("{asked}~{recording_id}")] {
            let beginning = Beginning {
                slot,
                recording_id: recording_id.clone(),
                conference_id: conference_id.clone(),
                key: format!("{stem}{ending}"),
                requested_key: (stem != asked).then(|| format!("{asked}{ending}")),
                paths: Paths::new(&self.dir, &stem, ending),
                rate: *rate,
                anchor: *now,
            };
            match self.make_files(&beginning) {
                Ok(wav) => return Ok((beginning, wav)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(RecordError::NoFolder);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(RecordError::TakenName)
    }

    /// Note first, then sound; `AlreadyExists` when any file of that name is there,
    /// `NotADirectory` when a folder above it is a file. Nothing half-made stays behind.
    fn make_files(&self, beginning: &Beginning) -> io::Result<WavFile> {
        let Paths { sound, receipt, note } = &beginning.paths;
        if let Some(folder) = sound.parent() {
            fs::create_dir_all(folder).map_err(|error| match error.kind() {
                // The last folder itself is a file: not what this name means elsewhere here.
                io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
                _ => error,
            })?;
        }
        if fs::exists(receipt)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let note_file = LocalDisk.create(note)?;
        let made = self.make_sound(sound, beginning.rate).and_then(|wav| {
            let written = serde_json::to_writer(note_file, &beginning.receipt());
            written
                .map(|()| wav)
                .map_err(|error| remove_after(sound, error.into()))
        });
        made.map_err(|error| remove_after(note, error))
    }

    fn make_sound(&self, sound: &Path, rate: Rate) -> io::Result<WavFile> {
        let file = self.disk.create(sound)?;
        // Tells `recover` in another process that this one is no leftover; a file system without locks has to do without.
        let _ = file.try_lock();
        WavFile::create(file, rate.hz()).map_err(|error| remove_after(sound, error))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Removes what was made before `error` came.
fn remove_after(path: &Path, error: io::Error) -> io::Error {
    let _ = fs::remove_file(path);
    error
}

#[cfg(test)]
mod tests;
