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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::disk::{LocalDisk, Space};
    use crate::record::scratch::Scratch;
    use crate::record::test_disk::FailingDisk;
    use std::os::unix::fs::MetadataExt;

    fn space(available: u64, total: u64) -> Space {
        Space { available, total }
    }

    #[test]
    fn ballast_has_blocks_of_its_own_is_given_up_once_and_taken_again_when_there_is_room() {
        let scratch = Scratch::new();
        let disk = FailingDisk::new(Arc::new(LocalDisk));
        let mut ballast = Ballast::new(Arc::new(disk.clone()), scratch.dir());
        assert!(!ballast.is_held() && !ballast.release());
        disk.tell_space(space(64 << 20, 64 << 20));
        assert!(ballast.restore().unwrap() && ballast.restore().unwrap() && ballast.is_held());
        let file = std::fs::metadata(scratch.path("ballast")).expect("it is there");
        assert_eq!((file.len(), file.blocks() * 512 >= 1 << 20), (1 << 20, true));

        assert!(ballast.release() && !ballast.is_held() && !ballast.release());
        assert!(!scratch.path("ballast").exists());
        disk.tell_space(space(1 << 30, 10 << 30));
        assert!(!ballast.restore().unwrap(), "nine tenths are in use");
        disk.tell_space(space(2 << 30, 10 << 30));
        assert!(ballast.restore().unwrap());
        let file = std::fs::metadata(scratch.path("ballast")).expect("it is there");
        assert_eq!(file.len(), 4 << 20, "no more than that");
    }

    #[test]
    fn ballast_that_an_earlier_run_left_is_taken_over_and_none_is_held_that_found_no_room() {
        let scratch = Scratch::new();
        let disk = FailingDisk::new(Arc::new(LocalDisk));
        disk.tell_space(space(64 << 20, 64 << 20));
        let mut ballast = Ballast::new(Arc::new(disk.clone()), scratch.dir());
        disk.leave_room(1 << 10);
        assert_eq!(ballast.restore().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!ballast.is_held() && !scratch.path("ballast").exists());
        disk.leave_room(u64::MAX);
        assert!(ballast.restore().unwrap());
        let mut again = Ballast::new(Arc::new(disk.clone()), scratch.dir());
        assert!(again.is_held());
        disk.make_read_only(true);
        assert!(!again.release() && again.is_held());
        disk.make_read_only(false);
        assert!(again.release());
    }
}
