//! The spool: a folder for each recording that is not delivered yet, and the receipts of those that are.
//!
//! ```text
//! recording.dir/.spool/lock                      held by the daemon that works here
//!                     /ballast                   room to end recordings with when the disk is full
//!                     /receipts/<id>.json        what was delivered, the newest 10,000
//!                              /<id>.untold      that nobody has been told of that yet, or of the end either
//!                     /<id>/journal-0001 …       what was heard, and what is to become of it
//!                          /credentials          of the request, where it gave some
//!                          /mix.wav, 7.wav …     files on their way, made from the journal; below `recording.dir` they
//!                                                have their other names
//!                          /mix.delivery …       what the object store has answered
//!                          /finished.told        that all have been told that it is over
//!                          /failed.told          or that it has failed
//! ```

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::credentials::{self, Credentials};
use super::disk::{Disk, LocalDisk};
use super::journal::Reader;
use super::naming;
use super::note::Opening;
use super::receipt::{self, Receipt};
use super::recorder::is_recording_id;
use super::shelf::{RecordingState, RecordingStatus};

/// The folder below `recording.dir` that no recording is called by.
pub const SPOOL: &str = ".spool";

/// The file of a recording's folder that says again what the journal begins with.
const SIDECAR: &str = "opening.json";

/// The same before it is whole.
const SIDECAR_PART: &str = "opening.json.part";

/// Second in `.untold`: that the recording is over is to be told too.
const OWES_FINISHED: u8 = b'f';

/// What a recording's folder may hold before its journal does: beside these, files for sound that are empty.
const BEFORE_A_JOURNAL: [&str; 5] = [
    SIDECAR,
    SIDECAR_PART,
    credentials::SPOOL_FILE,
    "finished.told",
    "failed.told",
];

/// The folder of the receipts.
const RECEIPTS: &str = "receipts";

/// Ends the name of a folder that is being removed.
const GONE: &str = "gone";

/// The spool below `recording.dir`, held for this process alone.
pub struct Spool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    root: PathBuf,
    /// Held while it is written down what was told and what was not.
    telling: Mutex<()>,
    /// Released when it is closed.
    _lock: File,
}

/// A recording that is not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub folder: PathBuf,
    pub opening: Opening,
}

/// What of the end of a recording that is not delivered all have been told, in this life or an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub finished: bool,
    pub failed: bool,
}

/// What is to be told of a delivered recording, beside that it is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold {
    /// Whether who ordered it wants to be told.
    pub notifies: bool,
    /// Before it, that it is over.
    pub finished: bool,
}

/// What a crash or a shutdown has left behind.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Oldest first.
    pub recordings: Vec<Leftover>,
    /// Folders that do not say what they hold, and why not.
    pub damaged: Vec<(PathBuf, io::Error)>,
}

impl Spool {
    /// Makes what is missing. `WouldBlock` where another process works in the same directory.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Spool> {
        fs::create_dir_all(dir)?;
        let root = dir.join(SPOOL);
        make_folder(&root)?;
        make_folder(&root.join(RECEIPTS))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join("lock"))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another mixminus works in this directory",
            )),
            // A file system without locks has to do without.
            _ => Ok(Spool {
                disk,
                dir: dir.to_owned(),
                root,
                telling: Mutex::default(),
                _lock: lock,
            }),
        }
    }

    /// `recording.dir`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn folder(&self, recording_id: &str) -> PathBuf {
        self.root.join(recording_id)
    }

    /// Remembers what was delivered, and that nobody has been told yet. `notifies`: whether who ordered it wants to be.
    pub fn keep_receipt(&self, receipt: &Receipt, notifies: bool) -> io::Result<()> {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mark = vec![if notifies { b'1' } else { b'0' }];
        if !self.told(&self.folder(&receipt.recording_id)).finished {
            mark.push(OWES_FINISHED);
        }
        // First, so that no receipt is without it; the folder is synced with the receipt.
        fs::write(self.untold_path(&receipt.recording_id), mark)?;
        let path = self.receipt_path(&receipt.recording_id);
        match receipt::write_new(&path, receipt) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            written => written,
        }
    }

    /// What was delivered under this id, if that is known here.
    pub fn receipt(&self, recording_id: &str) -> Option<Receipt> {
        receipt_of(&self.root, recording_id)
    }

    /// With the receipt of one that is available.
    pub fn with_receipt(&self, mut status: RecordingStatus) -> RecordingStatus {
        if status.state == RecordingState::Available {
            status.receipt = self.receipt(&status.recording_id);
        }
        status
    }

    /// What is to be told of a delivered recording; `None` where all have been.
    pub fn untold(&self, recording_id: &str) -> Option<Untold> {
        let mark = fs::read(self.untold_path(recording_id)).ok()?;
        Some(Untold {
            notifies: mark.first() != Some(&b'0'),
            finished: mark.get(1) == Some(&OWES_FINISHED),
        })
    }

    /// What all have been told of the end of a recording that is not delivered.
    pub fn told(&self, folder: &Path) -> Told {
        let is_told = |state| told_mark(state).is_some_and(|mark| folder.join(mark).exists());
        Told {
            finished: is_told(RecordingState::Finishing),
            failed: is_told(RecordingState::Failed),
        }
    }

    /// All who were to be told that the recording is in this state have been: no start tells it again.
    pub fn is_told(&self, recording_id: &str, state: RecordingState) -> io::Result<()> {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = self.untold_path(recording_id);
        if state == RecordingState::Available {
            return unless_gone(fs::remove_file(untold));
        }
        let Some(mark) = told_mark(state) else {
            return Ok(());
        };
        if self.receipt_path(recording_id).exists() {
            // It was delivered meanwhile, and its folder goes. What is left of the mark stays valid throughout.
            let untold = OpenOptions::new().write(true).open(untold);
            return unless_gone(untold.and_then(|untold| untold.set_len(1)));
        }
        let made = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.folder(recording_id).join(mark));
        unless_gone(made.map(drop))
    }

    fn untold_path(&self, recording_id: &str) -> PathBuf {
        self.root.join(RECEIPTS).join(format!("{recording_id}.untold"))
    }

    fn receipt_path(&self, recording_id: &str) -> PathBuf {
        self.root.join(RECEIPTS).join(format!("{recording_id}.json"))
    }

    /// Takes a recording out of the spool, credentials first.
    pub fn forget(&self, folder: &Path) -> io::Result<()> {
        Credentials::erase(folder)?;
        // What a crash leaves of it then is no recording any more.
        let gone = folder.with_added_extension(GONE);
        match fs::rename(folder, &gone) {
            Ok(()) => fs::remove_dir_all(gone),
            Err(_) => fs::remove_dir_all(folder),
        }
    }

    /// What was delivered, oldest first and without the receipts, which may be large; those beyond the newest `most`
    /// are removed, and so is what a crash has left of writing one.
    pub fn take_stock(&self, most: usize) -> io::Result<Vec<RecordingStatus>> {
        for item in fs::read_dir(self.root.join(RECEIPTS))? {
            let path = item?.path();
            // As `receipt::write_new` calls it.
            if path.extension().is_some_and(|ending| ending == "part") {
                let _ = fs::remove_file(path);
            }
        }
        let mut ids = kept(&self.root)?;
        let beyond = ids.len().saturating_sub(most);
        self.forget_receipts(ids.drain(..beyond));
        let light = |receipt: Receipt| RecordingStatus {
            receipt: None,
            ..RecordingStatus::new(&receipt, RecordingState::Available)
        };
        let mut stock: Vec<_> = ids.iter().filter_map(|id| self.receipt(id).map(light)).collect();
        stock.sort_by(|a, b| (&a.start, &a.recording_id).cmp(&(&b.start, &b.recording_id)));
        Ok(stock)
    }

    /// Removes what is kept of recordings that are listed no more. What lies beside their sound stays.
    pub fn forget_receipts(&self, recording_ids: impl IntoIterator<Item = String>) {
        for id in recording_ids {
            // It tells the next start that what lies in the folder is delivered.
            if self.folder(&id).exists() {
                continue;
            }
            let removed = self
                .is_told(&id, RecordingState::Available)
                .and_then(|()| unless_gone(fs::remove_file(self.receipt_path(&id))));
            if let Err(error) = removed {
                tracing::warn!(recording = id, %error, "an old receipt stays in the spool");
            }
        }
    }

    /// What a crash or a shutdown has left behind. What was delivered is taken away, and so is what never got as far as
    /// its journal, with the credentials and the name it may have had. What is none of ours stays as it is.
    pub fn leftovers(&self) -> io::Result<Leftovers> {
        let mut leftovers = Leftovers::default();
        self.clear_gone()?;
        for folder in folders(&self.root)? {
            if self.is_delivered(&folder) {
                if let Err(error) = self.forget(&folder) {
                    tracing::warn!(folder = %folder.display(), %error, "a delivered recording stays in the spool");
                }
                continue;
            }
            if self.clear_unbegun(&folder) {
                continue;
            }
            match opening_of(self.disk.as_ref(), &folder) {
                Ok(opening) => leftovers.recordings.push(Leftover { folder, opening }),
                Err(error) => leftovers.damaged.push((folder, error)),
            }
        }
        leftovers
            .recordings
            .sort_by_key(|leftover| leftover.opening.anchor_us);
        Ok(leftovers)
    }

    /// Goes on with what [`Spool::forget`] was kept from.
    fn clear_gone(&self) -> io::Result<()> {
        for item in fs::read_dir(&self.root)? {
            let item = item?;
            let name = item.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_suffix(GONE)?.strip_suffix('.'));
            if id.is_some_and(is_recording_id)
                && item.file_type()?.is_dir()
                && let Err(error) = fs::remove_dir_all(item.path())
            {
                tracing::warn!(folder = %item.path().display(), %error, "what is left of a recording stays in the spool");
            }
        }
        Ok(())
    }

    /// Whether the receipt of a folder's recording is kept.
    fn is_delivered(&self, folder: &Path) -> bool {
        let id = folder.file_name().and_then(|name| name.to_str());
        id.is_some_and(|id| self.receipt(id).is_some())
    }

    /// Takes away the empty file that a recording without another name for it has taken, the one with its id first: the
    /// name asked for may be somebody else's then.
    fn let_go_of_unheld(&self, opening: &Opening) {
        for stem in opening.stems().iter().rev() {
            let file = self.dir.join(format!("{stem}{}", opening.ending));
            if fs::metadata(&file).is_ok_and(|file| file.len() == 0) {
                let _ = fs::remove_file(&file);
                return;
            }
        }
    }

    /// Whether there was nothing but what comes before a journal: then it is gone.
    fn clear_unbegun(&self, folder: &Path) -> bool {
        // What cannot be read may be a recording.
        let Ok(Some(files)) = fs::read_dir(folder).and_then(|items| unbegun(items.map(looked_at))) else {
            return false;
        };
        if let Some(opening) = sidecar(folder).filter(|opening| opening.bucket.is_none()) {
            naming::let_go(&self.dir, folder, &opening);
            if !naming::held(folder, &opening).is_file() {
                self.let_go_of_unheld(&opening);
            }
        }
        let removed = Credentials::erase(folder)
            .and_then(|()| {
                files
                    .iter()
                    .try_for_each(|name| unless_gone(fs::remove_file(folder.join(name))))
            })
            .and_then(|()| fs::remove_dir(folder));
        removed.is_ok()
    }
}

/// Its name, and of a file the size.
fn looked_at(item: io::Result<DirEntry>) -> io::Result<(OsString, Option<u64>)> {
    let item = item?;
    let metadata = item.metadata()?;
    Ok((item.file_name(), metadata.is_file().then_some(metadata.len())))
}

/// The names of all that a folder holds, where it is nothing but what comes before a journal.
fn unbegun(
    items: impl Iterator<Item = io::Result<(OsString, Option<u64>)>>,
) -> io::Result<Option<Vec<OsString>>> {
    let mut names = Vec::new();
    for item in items {
        let (name, bytes) = item?;
        let is_known = bytes.is_some() && BEFORE_A_JOURNAL.iter().any(|known| name == *known);
        let is_empty_sound = bytes == Some(0) && name.as_bytes().starts_with(b"mix.");
        if !is_known && !is_empty_sound {
            return Ok(None);
        }
        names.push(name);
    }
    Ok(Some(names))
}

/// The file of a recording's folder that says that all have been told of this state.
fn told_mark(state: RecordingState) -> Option<&'static str> {
    match state {
        RecordingState::Finishing => Some("finished.told"),
        RecordingState::Failed => Some("failed.told"),
        RecordingState::Recording | RecordingState::Uploading | RecordingState::Available => None,
    }
}

/// What is gone needs no more care.
fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Says what recording a folder is of, beside its journal, whose first record says the same: one of them may be
/// damaged. What was said before is replaced.
pub fn write_sidecar(folder: &Path, opening: &Opening) -> io::Result<()> {
    let part = folder.join(SIDECAR_PART);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(&serde_json::to_vec(opening)?)?;
    file.sync_all()?;
    fs::rename(part, folder.join(SIDECAR))
}

fn sidecar(folder: &Path) -> Option<Opening> {
    serde_json::from_slice(&fs::read(folder.join(SIDECAR)).ok()?).ok()
}

/// Makes a folder nobody else looks into, where it is missing.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Folders with the name of a recording.
fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for item in fs::read_dir(root)? {
        let item = item?;
        let name = item.file_name();
        let is_ours = name != RECEIPTS && name.to_str().is_some_and(is_recording_id);
        if is_ours && item.file_type()?.is_dir() {
            folders.push(item.path());
        }
    }
    Ok(folders)
}

fn opening_of(disk: &dyn Disk, folder: &Path) -> io::Result<Opening> {
    if !Reader::is_begun(disk, folder)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has no journal"));
    }
    let told = Reader::opened_of(disk, folder)?.and_then(|json| serde_json::from_slice(&json).ok());
    let opening: Opening = told.or_else(|| sidecar(folder)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not say what recording it is of",
        )
    })?;
    // Names of folders and of what is in them have to agree: nothing is made or removed by the word of a damaged file.
    match folder
        .file_name()
        .is_some_and(|name| name == opening.recording_id.as_str())
    {
        true => Ok(opening),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the journal is of another recording",
        )),
    }
}

/// The ids whose receipts are kept, by the time they are since. Where nothing was ever delivered there may be no folder
/// of them.
fn kept(root: &Path) -> io::Result<Vec<String>> {
    let mut kept = Vec::new();
    let items = match fs::read_dir(root.join(RECEIPTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items?,
    };
    for item in items {
        let item = item?;
        let name = item.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
        if let Some(id) = id.filter(|id| is_recording_id(id)) {
            // Gone meanwhile: then it is the oldest.
            let since = item.metadata().and_then(|metadata| metadata.modified());
            kept.push((since.unwrap_or(SystemTime::UNIX_EPOCH), id.to_owned()));
        }
    }
    kept.sort_unstable();
    Ok(kept.into_iter().map(|(_, id)| id).collect())
}

/// What is kept under an id. Another may be a copy that somebody has made.
fn receipt_of(root: &Path, id: &str) -> Option<Receipt> {
    let receipt = receipt::read(&root.join(RECEIPTS).join(format!("{id}.json")))?;
    (receipt.recording_id == id).then_some(receipt)
}

/// One recording of the spool, as `mixminus recordings list` shows it.
#[derive(Debug)]
pub enum SpoolEntry {
    Delivered(Box<Receipt>),
    /// Not delivered yet, with the bytes that lie here.
    Waiting(Box<Opening>, u64),
    /// Not to be read; says why.
    Damaged(PathBuf, io::Error),
}

impl fmt::Display for SpoolEntry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SpoolEntry::Delivered(receipt) => {
                write!(
                    f,
                    "{}  {}  {} bytes  available, {}",
                    receipt.recording_id,
                    receipt.destination,
                    receipt.bytes,
                    Length(receipt)
                )
            }
            SpoolEntry::Waiting(opening, bytes) => {
                let to = destination(opening.bucket.as_deref(), &opening.key());
                write!(
                    f,
                    "{}  {to}  {bytes} bytes in the spool  not delivered: a running daemon sees to it, or `mixminus recordings recover`",
                    opening.recording_id
                )
            }
            SpoolEntry::Damaged(folder, error) => {
                write!(f, "{}  left alone: {error}", folder.display())
            }
        }
    }
}

/// The URL of a key.
pub fn destination(bucket: Option<&str>, key: &str) -> String {
    match bucket {
        Some(bucket) => format!("s3://{bucket}/{key}"),
        None => format!("file://{key}"),
    }
}

/// `12.3 s from 2026-01-02T03:04:05.678Z`, and what is wrong with it.
pub struct Length<'a>(pub &'a Receipt);

impl fmt::Display for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let receipt = self.0;
        let seconds = receipt.samples as f64 / f64::from(receipt.rate.max(1));
        write!(f, "{seconds:.1} s from {}", receipt.start)?;
        if receipt.gap_samples > 0 {
            write!(f, ", {} samples missing", receipt.gap_samples)?;
        }
        if receipt.journal_holes > 0 {
            write!(f, ", journal damaged in {} places", receipt.journal_holes)?;
        }
        match &receipt.truncated_because {
            Some(why) => write!(f, ", truncated: {why}"),
            None => Ok(()),
        }
    }
}

/// All that lies in the spool below `dir`, with or without a daemon at work there. A directory that is not there holds
/// nothing.
pub fn list_spool(dir: &Path) -> io::Result<Vec<SpoolEntry>> {
    let root = dir.join(SPOOL);
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    // Before the receipts: what is delivered meanwhile has one of the two, or both.
    let mut folders = folders(&root)?;
    folders.sort();
    let ids = kept(&root)?;
    let mut receipts: Vec<_> = ids.iter().filter_map(|id| receipt_of(&root, id)).collect();
    receipts.sort_by(|a, b| (&a.start, &a.recording_id).cmp(&(&b.start, &b.recording_id)));
    let listed: HashSet<_> = receipts.iter().map(|of| of.recording_id.clone()).collect();
    let mut entries: Vec<_> = receipts
        .into_iter()
        .map(|receipt| SpoolEntry::Delivered(Box::new(receipt)))
        .collect();
    for folder in folders {
        let id = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if listed.contains(&id) {
            continue;
        }
        let opening = opening_of(&LocalDisk, &folder);
        entries.push(match (receipt_of(&root, &id), opening) {
            (Some(receipt), _) => SpoolEntry::Delivered(Box::new(receipt)),
            (None, Ok(opening)) => SpoolEntry::Waiting(Box::new(opening), bytes_of(&folder)),
            (None, Err(error)) => SpoolEntry::Damaged(folder, error),
        });
    }
    Ok(entries)
}

fn bytes_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_read_to_its_end_is_not_taken_for_one_without_a_journal() {
        let comes_before = |items: &[(&str, Option<u64>)], error: Option<i32>| {
            let named = items
                .iter()
                .map(|(name, bytes)| Ok((OsString::from(name), *bytes)));
            let errors = error.map(|error| Err(io::Error::from_raw_os_error(error)));
            matches!(unbegun(named.chain(errors)), Ok(Some(names)) if names.len() == items.len())
        };
        let ours = [
            ("credentials", Some(9)),
            ("opening.json", Some(9)),
            ("mix.wav", Some(0)),
        ];
        assert!(comes_before(&[], None) && comes_before(&ours, None));
        assert!(!comes_before(&ours, Some(libc::EIO)) && !comes_before(&[], Some(libc::EIO)));
        for other in [
            ("journal-0001", Some(0)),
            ("mix.wav", Some(44)),
            ("mix.wav", None),
            ("credentials", None),
            ("Credentials", Some(9)),
        ] {
            assert!(!comes_before(&[ours[1], other], None), "{other:?}");
        }
    }
}
