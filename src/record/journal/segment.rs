//! One file of a journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::record::disk::{Disk, DiskFile, PRIVATE};

/// What the names of segments begin with.
const PREFIX: &str = "journal-";

/// The name of a segment: `journal-0001`.
pub fn name(number: u32) -> String {
    format!("{PREFIX}{number:04}")
}

/// The numbers of the segments in `folder`, rising.
pub fn numbers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers: Vec<u32> = disk
        .names(folder)?
        .iter()
        .filter_map(|found| {
            let number = found.strip_prefix(PREFIX)?.parse().ok()?;
            (*found == name(number)).then_some(number)
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A file that the journal writes and the syncer syncs.
pub struct Segment {
    file: Box<dyn DiskFile>,
    folder: PathBuf,
    /// Bytes of whole records in it.
    written: AtomicU64,
    /// Of these, how many would outlive a loss of power.
    synced: AtomicU64,
    is_dead: AtomicBool,
    is_closed: AtomicBool,
    /// Whether its name would outlive a loss of power too. Held while it is synced: of two that sync a failing file
    /// at once, the system would tell one that all is well.
    is_name_synced: Mutex<bool>,
}

impl Segment {
    pub(super) fn create(disk: &dyn Disk, folder: &Path, number: u32) -> io::Result<Segment> {
        Ok(Segment {
            file: disk.create(&folder.join(name(number)), PRIVATE)?,
            folder: folder.to_owned(),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            is_dead: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_name_synced: Mutex::new(false),
        })
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// A write or a sync failed: it is left as it is.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Whether there is something to sync.
    pub fn is_dirty(&self) -> bool {
        !self.is_dead() && self.synced() < self.written()
    }

    /// Nothing more is written.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Nothing more is to be written or synced.
    pub(super) fn is_over(&self) -> bool {
        self.is_dead() || (self.is_closed() && !self.is_dirty())
    }

    /// Adds whole records. After an error it is as it was before, or is so again after the next append.
    pub(super) fn append(&self, records: &[u8]) -> io::Result<()> {
        let at = self.written();
        if let Err(error) = self.file.write_at(records, at) {
            // Where this fails too, the same records come to the same place with the next append.
            let _ = self.file.set_size(at);
            return Err(error);
        }
        self.written.store(at + records.len() as u64, Ordering::Release);
        Ok(())
    }

    /// Returns when what was written before the call would outlive a loss of power. An error is final: the segment is
    /// dead.
    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut is_name_synced = self.is_name_synced.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_dead() {
            return Err(io::Error::other("an earlier sync or write of it failed"));
        }
        let written = self.written();
        let outcome = self.file.sync_data().and_then(|()| {
            if !*is_name_synced {
                disk.sync_folder(&self.folder)?;
                *is_name_synced = true;
            }
            Ok(())
        });
        match outcome {
            Ok(()) => self.synced.store(written, Ordering::Release),
            Err(_) => self.abandon(),
        }
        outcome
    }

    pub(super) fn abandon(&self) {
        self.is_dead.store(true, Ordering::Release);
    }

    /// Nothing more will be written.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::disk::LocalDisk;
    use crate::record::scratch::Scratch;

    #[test]
    fn segments_are_found_by_their_names_and_nothing_else_is() {
        let scratch = Scratch::new();
        for found in [
            "journal-0010",
            "journal-0002",
            "journal-10000",
            "journal-2",
            "journal-00003",
            "journal-",
            "journal-+001",
            "journal-0004~",
            "credentials",
        ] {
            std::fs::write(scratch.path(found), "").expect("writable");
        }
        assert_eq!(numbers(&LocalDisk, scratch.dir()).unwrap(), [2, 10, 10_000]);
    }
}
