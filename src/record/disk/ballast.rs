//! Room that is kept back, so that recordings can still be ended when the disk is full.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ADMISSION_PERCENT, Disk, PRIVATE};

/// The largest ballast.
const BYTES_MAX: u64 = 4 << 20;

/// The part of a file system it takes at most.
const PART: u64 = 64;

/// A file of no content whose blocks are given up when a write found the disk full, and taken again when there is
/// room.
pub struct Ballast {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    path: PathBuf,
    is_held: bool,
}

impl Ballast {
    /// The ballast of a spool: `ballast` in `folder`. Not held before [`restore`](Ballast::restore) was told to; what
    /// an earlier run left is taken over.
    pub fn new(disk: Arc<dyn Disk>, folder: &Path) -> Ballast {
        let path = folder.join("ballast");
        let is_held = disk
            .open(&path)
            .and_then(|file| file.size())
            .is_ok_and(|size| size > 0);
        Ballast {
            disk,
            folder: folder.to_owned(),
            path,
            is_held,
        }
    }

    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Gives its blocks up; says whether there were any to give.
    pub fn release(&mut self) -> bool {
        if !self.is_held {
            return false;
        }
        if let Err(error) = self.disk.remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "ballast cannot be given up");
            return false;
        }
        self.is_held = false;
        true
    }

    /// Takes its blocks again when there is room for more than it; says whether it is held now.
    pub fn restore(&mut self) -> io::Result<bool> {
        if self.is_held {
            return Ok(true);
        }
        let space = self.disk.space(&self.folder)?;
        if space.fullness() >= ADMISSION_PERCENT {
            return Ok(false);
        }
        let bytes = (space.total / PART).min(BYTES_MAX);
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(&self.path, PRIVATE)?;
        if let Err(error) = file.allocate(bytes) {
            drop(file);
            let _ = self.disk.remove(&self.path);
            return Err(error);
        }
        self.is_held = true;
        Ok(true)
    }
}
