//! The disk of this machine.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use super::{Disk, DiskFile, Space};

/// The file system below `recording.dir`.
pub struct LocalDisk;

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

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match FileExt::read_at(self, &mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let size = libc::off_t::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        // SAFETY: the descriptor is open through the call.
        match unsafe { libc::posix_fallocate(self.as_raw_fd(), 0, size) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::disk::PRIVATE;
    use crate::record::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_local_disk_says_how_much_room_there_is_and_makes_no_file_twice() {
        let scratch = Scratch::new();
        let disk: &dyn Disk = &LocalDisk;
        let space = disk.space(scratch.dir()).expect("the directory is there");
        assert!(space.total > 0 && space.available <= space.total);
        assert!(disk.space(&scratch.path("nowhere")).is_err());
        assert!(disk.create(&scratch.path("a"), PRIVATE).is_ok());
        let second = disk.create(&scratch.path("a"), PRIVATE).err().expect("refused");
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
        let mode = |name: &str| {
            let metadata = fs::metadata(scratch.path(name)).expect("it is there");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode("a"), 0o600);
        disk.create_folder(&scratch.path("b/c")).expect("made");
        disk.create_folder(&scratch.path("b/c")).expect("it may be there");
        assert_eq!((mode("b"), mode("b/c")), (0o700, 0o700));
        let mut names = disk.names(scratch.dir()).expect("readable");
        names.sort();
        assert_eq!(names, ["a", "b"]);
        disk.sync_folder(scratch.dir()).expect("synced");
    }

    #[test]
    fn a_file_is_written_and_read_at_places_and_reading_ends_with_it() {
        let scratch = Scratch::new();
        let disk: &dyn Disk = &LocalDisk;
        let file = disk.create(&scratch.path("a"), PRIVATE).expect("made");
        file.write_at(b"sound", 3).expect("written");
        assert_eq!(file.size().unwrap(), 8);
        let mut bytes = [9; 10];
        assert_eq!(file.read_at(&mut bytes, 2).unwrap(), 6);
        assert_eq!(bytes, *b"\0sound\x09\x09\x09\x09");
        assert_eq!(file.read_at(&mut bytes, 100).unwrap(), 0);
        file.set_size(4).expect("cut");
        file.allocate(4_096).expect("there is room");
        assert_eq!(file.size().unwrap(), 4_096);
        file.sync_data().expect("synced");
        disk.rename(&scratch.path("a"), &scratch.path("b")).unwrap();
        assert!(disk.open(&scratch.path("a")).is_err());
        let again = disk.open_to_write(&scratch.path("b")).expect("it is there");
        again.write_at(b"S", 3).expect("writable");
        disk.remove(&scratch.path("b")).unwrap();
    }
}
