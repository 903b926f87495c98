//! The spool: a folder for each recording that is not delivered yet, and the receipts of those that are.
//!
//! ```text
//! recording.dir/.spool/lock                      held by the daemon that works here
//!                     /ballast                   room to end recordings with when the disk is full
//!                     /receipts/<id>.json        what was delivered, the newest 10,000
//!                              /<id>.untold      that nobody has been told of that yet
//!                     /<id>/journal-0001 …       what was heard, and what is to become of it
//!                          /credentials          of the request, where it gave some
//!                          /mix.wav, 7.wav …     files on their way, made from the journal; below `recording.dir` they
//!                                                have their other names
//!                          /mix.delivery …       what the object store has answered
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::credentials::Credentials;
use super::disk::{Disk, LocalDisk};
use super::journal::Reader;
use super::naming;
use super::note::Opening;
use super::receipt::{self, Receipt};
use super::shelf::SETTLED_MAX;

/// The folder below `recording.dir` that no recording is called by.
pub const SPOOL: &str = ".spool";

/// The file of a recording's folder that says again what the journal begins with.
const SIDECAR: &str = "opening.json";

/// The same before it is whole.
const SIDECAR_PART: &str = "opening.json.part";

/// The spool below `recording.dir`, held for this process alone.
pub struct Spool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    root: PathBuf,
    /// Released when it is closed.
    _lock: File,
}

/// A recording that is not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub folder: PathBuf,
    pub opening: Opening,
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
        make_folder(&root.join("receipts"))?;
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
        // First, so that no receipt is without it; the folder is synced with the receipt.
        let untold = self.untold_path(&receipt.recording_id);
        fs::write(untold, if notifies { "1" } else { "0" })?;
        let path = self.receipt_path(&receipt.recording_id);
        match receipt::write_new(&path, receipt) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            written => written,
        }
    }

    /// Of a delivered recording that nobody has been told of: whether who ordered it wants to be.
    pub fn untold(&self, recording_id: &str) -> Option<bool> {
        let mark = fs::read(self.untold_path(recording_id)).ok()?;
        Some(mark != b"0")
    }

    /// All who were to be told of it have been.
    pub fn is_told(&self, recording_id: &str) -> io::Result<()> {
        match fs::remove_file(self.untold_path(recording_id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn untold_path(&self, recording_id: &str) -> PathBuf {
        self.root.join("receipts").join(format!("{recording_id}.untold"))
    }

    fn receipt_path(&self, recording_id: &str) -> PathBuf {
        self.root.join("receipts").join(format!("{recording_id}.json"))
    }

    /// Takes a recording out of the spool, credentials first.
    pub fn forget(&self, folder: &Path) -> io::Result<()> {
        Credentials::erase(folder)?;
        fs::remove_dir_all(folder)
    }

    /// The receipts of what was delivered, oldest first; those beyond as many as are listed are removed.
    pub fn take_stock(&self) -> io::Result<Vec<Receipt>> {
        let mut receipts = receipts(&self.root)?;
        let beyond = receipts.len().saturating_sub(SETTLED_MAX);
        for old in receipts.drain(..beyond) {
            let _ = fs::remove_file(self.receipt_path(&old.recording_id));
            let _ = self.is_told(&old.recording_id);
        }
        Ok(receipts)
    }

    /// What a crash or a shutdown has left behind. A recording that never got as far as its journal is taken away, with
    /// the credentials and the name it may have had.
    pub fn leftovers(&self) -> io::Result<Leftovers> {
        let mut leftovers = Leftovers::default();
        for folder in folders(&self.root)? {
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
        let has_journal = fs::read_dir(folder).is_ok_and(|mut items| {
            items
                .any(|item| item.is_ok_and(|item| item.file_name().to_string_lossy().starts_with("journal-")))
        });
        if has_journal {
            return false;
        }
        if let Some(opening) = sidecar(folder).filter(|opening| opening.bucket.is_none()) {
            naming::let_go(&self.dir, folder, &opening);
            if !naming::held(folder, &opening).is_file() {
                self.let_go_of_unheld(&opening);
            }
        }
        self.forget(folder).is_ok()
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

fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for item in fs::read_dir(root)? {
        let item = item?;
        if item.file_type()?.is_dir() && item.file_name() != "receipts" {
            folders.push(item.path());
        }
    }
    Ok(folders)
}

fn opening_of(disk: &dyn Disk, folder: &Path) -> io::Result<Opening> {
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

/// In the order of their starts. Where nothing was ever delivered there may be no folder of them.
fn receipts(root: &Path) -> io::Result<Vec<Receipt>> {
    let mut receipts = Vec::new();
    let items = match fs::read_dir(root.join("receipts")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(receipts),
        items => items?,
    };
    for item in items {
        receipts.extend(receipt::read(&item?.path()));
    }
    receipts.sort_by(|a, b| {
        a.start
            .cmp(&b.start)
            .then_with(|| a.recording_id.cmp(&b.recording_id))
    });
    Ok(receipts)
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
    let mut entries: Vec<_> = receipts(&root)?
        .into_iter()
        .map(|receipt| SpoolEntry::Delivered(Box::new(receipt)))
        .collect();
    let mut folders = folders(&root)?;
    folders.sort();
    for folder in folders {
        entries.push(match opening_of(&LocalDisk, &folder) {
            Ok(opening) => SpoolEntry::Waiting(Box::new(opening), bytes_of(&folder)),
            Err(error) => SpoolEntry::Damaged(folder, error),
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
