//! A disk that fails when told to, around another.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::record::disk::{Disk, DiskFile, Space};

/// Clones are the same disk. It fails nothing until it is told to.
#[derive(Clone)]
pub struct FailingDisk {
    inner: Arc<dyn Disk>,
    faults: Arc<Faults>,
}

struct Faults {
    /// Bytes that can still be written, at whatever place; more fill the disk.
    room: AtomicU64,
    /// Calls until one fails, counted down; zero: none does, `u64::MAX`: all do.
    writes: AtomicU64,
    syncs: AtomicU64,
    reads: AtomicU64,
    creations: AtomicU64,
    is_read_only: AtomicBool,
    space: Mutex<Option<Space>>,
}

struct FailingFile {
    inner: Box<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl FailingDisk {
    pub fn new(inner: Arc<dyn Disk>) -> FailingDisk {
        FailingDisk {
            inner,
            faults: Arc::new(Faults {
                room: AtomicU64::new(u64::MAX),
                writes: AtomicU64::new(0),
                syncs: AtomicU64::new(0),
                reads: AtomicU64::new(0),
                creations: AtomicU64::new(0),
                is_read_only: AtomicBool::new(false),
                space: Mutex::new(None),
            }),
        }
    }

    /// After so many more bytes the disk is full (ENOSPC); a write that meets the end is written in part.
    pub fn leave_room(&self, bytes: u64) {
        self.faults.room.store(bytes, Ordering::Relaxed);
    }

    /// The nth write from now fails (EIO), with half of it written.
    pub fn fail_write(&self, nth: u64) {
        self.faults.writes.store(nth, Ordering::Relaxed);
    }

    /// The nth sync of a file from now fails (EIO), and what it should have synced is not.
    pub fn fail_sync(&self, nth: u64) {
        self.faults.syncs.store(nth, Ordering::Relaxed);
    }

    /// The nth read from now fails (EIO).
    pub fn fail_read(&self, nth: u64) {
        self.faults.reads.store(nth, Ordering::Relaxed);
    }

    /// Every read fails (EIO), until told otherwise.
    pub fn fail_reads(&self) {
        self.fail_read(u64::MAX);
    }

    /// The nth making of a file from now fails (EIO).
    pub fn fail_creation(&self, nth: u64) {
        self.faults.creations.store(nth, Ordering::Relaxed);
    }

    /// Whether all that would change the disk fails (EROFS).
    pub fn make_read_only(&self, is_read_only: bool) {
        self.faults.is_read_only.store(is_read_only, Ordering::Relaxed);
    }

    /// What the disk says of its room.
    pub fn tell_space(&self, space: Space) {
        *self.faults.space.lock().expect("nobody panics with it") = Some(space);
    }
}

impl Faults {
    fn change(&self) -> io::Result<()> {
        match self.is_read_only.load(Ordering::Relaxed) {
            true => Err(io::Error::from_raw_os_error(libc::EROFS)),
            false => Ok(()),
        }
    }
}

/// Counts a call; the one that was told to fails.
fn count_down(calls: &AtomicU64) -> io::Result<()> {
    let before = calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| match calls {
        u64::MAX => Some(calls),
        _ => Some(calls.saturating_sub(1)),
    });
    match before {
        Ok(1 | u64::MAX) => Err(io::Error::from_raw_os_error(libc::EIO)),
        _ => Ok(()),
    }
}

impl Disk for FailingDisk {
    fn space(&self, dir: &Path) -> io::Result<Space> {
        let told = *self.faults.space.lock().expect("nobody panics with it");
        told.map_or_else(|| self.inner.space(dir), Ok)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        self.faults.change()?;
        count_down(&self.faults.creations)?;
        Ok(Box::new(FailingFile {
            inner: self.inner.create(path, mode)?,
            faults: self.faults.clone(),
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FailingFile {
            inner: self.inner.open(path)?,
            faults: self.faults.clone(),
        }))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.faults.change()?;
        Ok(Box::new(FailingFile {
            inner: self.inner.open_to_write(path)?,
            faults: self.faults.clone(),
        }))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.faults.change()?;
        self.inner.create_folder(folder)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.inner.names(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.change()?;
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.change()?;
        self.inner.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.inner.sync_folder(folder)
    }
}

impl FailingFile {
    /// Takes so much of the room, or all there is of it.
    fn fill(&self, bytes: u64) -> u64 {
        let room = &self.faults.room;
        let before = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| {
            Some(if room == u64::MAX {
                room
            } else {
                room.saturating_sub(bytes)
            })
        });
        before.map_or(0, |before| before.min(bytes))
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        count_down(&self.faults.reads)?;
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.change()?;
        if let Err(error) = count_down(&self.faults.writes) {
            self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        let fits = self.fill(bytes.len() as u64) as usize;
        self.inner.write_at(&bytes[..fits], offset)?;
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.faults.change()?;
        self.inner.set_size(size)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.faults.change()?;
        match self.fill(size) == size {
            true => self.inner.allocate(size),
            false => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        count_down(&self.faults.syncs)?;
        self.inner.sync_data()
    }
}
