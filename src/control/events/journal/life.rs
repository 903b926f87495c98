//! Two files that say how the daemon that wrote the journal last has ended. `life` says that it runs, or has stopped;
//! `ahead` holds, as long as something may be told that is not in the journal, the number up to which that may be. Both
//! have their bytes from the start, so that they can be changed on a full disk.
//!
//! The mark is set before such a thing is told, and is not synced: the memory of the machine keeps it where the daemon is
//! killed, also while the disk hangs, and after a loss of power the boot id says as much.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::disk::{Disk, DiskFile, PRIVATE};
use crate::record::journal::frame;

pub const NAME: &str = "life";
pub const MARK: &str = "ahead";

/// Bytes of a boot id.
const BOOT_BYTES: usize = 36;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, or was ended by force.
    Running,
    /// It ended by itself, and all it told is on the disk.
    Stopped,
}

/// What the machine calls the time since it was started; empty where it does not say.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().chars().take(BOOT_BYTES).collect()
}

/// The mark that something may be told that is not in the journal.
pub struct Mark {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
}

impl Mark {
    /// Touches no disk yet.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Mark {
        Mark {
            disk,
            path: dir.join(MARK),
            file: None,
        }
    }

    /// Up to this number events may be told that are not in the journal; 0: none is. Returns when the next start would
    /// see it so, unless power is lost.
    pub fn set(&mut self, up_to: u64) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open_or_make(&*self.disk, &self.path)?,
        };
        let file = self.file.insert(file);
        let mut bytes = Vec::with_capacity(frame::HEAD_BYTES);
        match up_to {
            0 => bytes.resize(frame::HEAD_BYTES, 0),
            up_to => frame::put(&mut bytes, up_to, 0, &[]),
        }
        file.write_at(&bytes, 0)
    }
}

fn open_or_make(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    match disk.open_to_write(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path, PRIVATE),
        opened => opened,
    }
}

pub struct Life {
    file: Box<dyn DiskFile>,
    boot: [u8; BOOT_BYTES],
}

impl Life {
    /// Opens or makes the file.
    pub fn open(disk: &dyn Disk, dir: &Path, boot: &str) -> io::Result<Life> {
        let file = open_or_make(disk, &dir.join(NAME))?;
        let mut padded = [b' '; BOOT_BYTES];
        let bytes = boot.len().min(BOOT_BYTES);
        padded[..bytes].copy_from_slice(&boot.as_bytes()[..bytes]);
        Ok(Life { file, boot: padded })
    }

    /// Returns when the file says so and would say so after a loss of power.
    pub fn say(&self, state: State) -> io::Result<()> {
        let kind = match state {
            State::Running => 0,
            State::Stopped => 1,
        };
        let mut bytes = Vec::new();
        frame::put(&mut bytes, 0, kind, &[&self.boot]);
        self.file.write_at(&bytes, 0)?;
        self.file.sync_data()
    }
}

/// How the last daemon ended; `None` where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    None,
    /// All that it told is in the journal.
    Sure,
    /// It may have told more, as far as it has said up to this number.
    Unsure(u64),
}

pub fn last(disk: &dyn Disk, dir: &Path, boot: &str) -> Last {
    let mut bytes = [0; frame::HEAD_BYTES + BOOT_BYTES];
    let read = match disk.open(&dir.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Last::None,
        Err(_) => return Last::Unsure(0),
        Ok(file) => file.read_at(&mut bytes, 0).unwrap_or(0),
    };
    let told_to = match disk.open(&dir.join(MARK)) {
        Ok(file) => marked(&*file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
        Err(_) => None,
    };
    let Some(frame) = frame::take(&bytes[..read]) else {
        return Last::Unsure(told_to.unwrap_or(0));
    };
    if told_to != Some(0) {
        return Last::Unsure(told_to.unwrap_or(0));
    }
    let is_same_boot = !boot.is_empty() && frame.payload.trim_ascii_end() == boot.as_bytes();
    match frame.kind {
        1 => Last::Sure,
        // What was written is in the memory of the machine as long as that runs.
        0 if is_same_boot => Last::Sure,
        _ => Last::Unsure(0),
    }
}

/// What the mark says; `None` where it cannot be read. Zeros are 0, also where only some of them are there.
fn marked(file: &dyn DiskFile) -> Option<u64> {
    let mut bytes = [0; frame::HEAD_BYTES];
    let read = file.read_at(&mut bytes, 0).ok()?;
    if bytes[..read].iter().all(|byte| *byte == 0) {
        return Some(0);
    }
    Some(frame::take(&bytes[..read])?.number)
}
