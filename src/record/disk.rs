//! The file system as a recording meets it. Behind a trait because full, failing and powerless disks have to be
//! shown in tests.

mod ballast;
mod local;

use std::io;
use std::path::Path;

pub use ballast::Ballast;
pub use local::LocalDisk;

/// Permissions of what only the daemon may read.
pub const PRIVATE: u32 = 0o600;

/// What recordings ask of a file system. Paths are whole ones.
pub trait Disk: Send + Sync {
    /// Room on the file system that holds `dir`.
    fn space(&self, dir: &Path) -> io::Result<Space>;

    /// Makes a file that was not there, with these permissions (less the daemon's umask).
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, to read it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, to write it too.
    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a folder, for the daemon's user only, and those above it. It may be there already.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Names of what is in `folder`, in no order; such as are not Unicode are left out.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name on the same file system; a file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in `folder` would outlive a loss of power.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads from `offset` on as much as there is and fits: less than `bytes` only at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`. When that fails, any part of them may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    fn size(&self) -> io::Result<u64>;

    /// Cuts the file, or lengthens it with zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Gives the file `size` bytes whose blocks are its own.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Returns when what was written would outlive a loss of power. After an error nobody knows what of it would,
    /// and a later success says nothing of it either.
    fn sync_data(&self) -> io::Result<()>;
}

/// Of a disk this full an operator should hear, in percent.
const ALARM_PERCENT: u8 = 80;

/// From here on no recording begins, so that those which run can end well, in percent.
const ADMISSION_PERCENT: u8 = 90;

/// Room that is plenty whatever part of the disk it is: 16 GiB are six days of 16 kHz.
const PLENTY_BYTES: u64 = 16 << 30;

/// In bytes, as an unprivileged user has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub available: u64,
    pub total: u64,
}

impl Space {
    /// How much of it is in use, in whole percent: 100 only when nothing is left.
    pub fn fullness(&self) -> u8 {
        if self.available == 0 || self.total == 0 {
            return 100;
        }
        let used = self.total.saturating_sub(self.available);
        (u128::from(used) * 100 / u128::from(self.total)) as u8
    }

    /// Whether an operator should see to it that there is room again.
    pub fn alarms(&self) -> bool {
        self.fullness() >= ALARM_PERCENT
    }

    pub fn admits_recording(&self) -> bool {
        self.fullness() < ADMISSION_PERCENT || self.available >= PLENTY_BYTES
    }
}

/// Whether an error says that there is no room: none on the disk, or none within the user's quota.
pub fn says_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_disk_nine_tenths_full_takes_no_new_recording_unless_plenty_is_left() {
        for (available, total, admits) in [
            (4 * MIB, 4 * MIB, true),
            (MIB, 4 * MIB, true),
            (4 * MIB / 10, 4 * MIB, false),
            (0, 4 * MIB, false),
            (0, 0, false),
            (16_383 * MIB, 1_000_000 * MIB, false),
            (16_384 * MIB, 1_000_000 * MIB, true),
        ] {
            assert_eq!(
                Space { available, total }.admits_recording(),
                admits,
                "{available} of {total}"
            );
        }
    }

    #[test]
    fn fullness_is_whole_percent_and_a_hundred_only_when_nothing_is_left() {
        for (available, total, fullness, alarms) in [
            (1_000, 1_000, 0, false),
            (201, 1_000, 79, false),
            (200, 1_000, 80, true),
            (1, 1_000, 99, true),
            (0, 1_000, 100, true),
            (0, 0, 100, true),
            (u64::MAX, u64::MAX, 0, false),
            (2, 1, 0, false),
        ] {
            let space = Space { available, total };
            assert_eq!(
                (space.fullness(), space.alarms()),
                (fullness, alarms),
                "{space:?}"
            );
        }
    }
}
