//! The file system as a recording meets it: how much room there is, and the making of a file nobody had before.
//! Behind a trait because a full or failing disk has to be shown in tests with files that really fail.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub trait Disk: Send + Sync {
    /// Room on the file system that holds `dir`.
    fn space(&self, dir: &Path) -> io::Result<Space>;

    /// Makes a file that was not there; readable and writable, for the daemon's user and group only.
    fn create(&self, path: &Path) -> io::Result<File>;
}

/// The file system below `recording.dir`.
pub struct LocalDisk;

/// In bytes, as an unprivileged user has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub available: u64,
    pub total: u64,
}

impl Space {
    /// No new recording on a file system more than 90 % full, so that those which run can end well; unless what is
    /// left is plenty in itself: 2 GiB are 18 hours of 16 kHz.
    pub fn admits_recording(&self) -> bool {
        self.available >= 2 << 30 || self.available > self.total / 10
    }
}

impl Disk for LocalDisk {
    fn space(&self, dir: &Path) -> io::Result<Space> {
        let path = CString::new(dir.as_os_str().as_bytes())?;
        let mut stat = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` ends with a NUL and lives through the call; `stat` has room for what is written.
        if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has filled `stat`.
        let stat = unsafe { stat.assume_init() };
        let block = stat.f_frsize;
        Ok(Space {
            available: stat.f_bavail.saturating_mul(block),
            total: stat.f_blocks.saturating_mul(block),
        })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch::Scratch;

    #[test]
    fn a_disk_more_than_nine_tenths_full_takes_no_new_recording_unless_plenty_is_left() {
        const MIB: u64 = 1 << 20;
        for (available, total, admits) in [
            (4 * MIB, 4 * MIB, true),
            (MIB, 4 * MIB, true),
            (4 * MIB / 10, 4 * MIB, false),
            (0, 4 * MIB, false),
            (0, 0, false),
            (2_047 * MIB, 1_000_000 * MIB, false),
            (2_048 * MIB, 1_000_000 * MIB, true),
        ] {
            assert_eq!(
                Space { available, total }.admits_recording(),
                admits,
                "{available} of {total}"
            );
        }
    }

    #[test]
    fn the_local_disk_says_how_much_room_there_is_and_makes_no_file_twice() {
        let scratch = Scratch::new();
        let space = LocalDisk.space(scratch.dir()).expect("the directory is there");
        assert!(space.total > 0 && space.available <= space.total);
        assert!(LocalDisk.space(&scratch.path("nowhere")).is_err());
        assert!(LocalDisk.create(&scratch.path("a")).is_ok());
        let second = LocalDisk.create(&scratch.path("a")).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
    }
}
