//! The delivery log of one object: its entries on the disk, each on stable storage before [`Log::append`] returns.
//!
//! Framed as the journal is. A record torn by a crash was never relied on and is overwritten; a record damaged later is
//! skipped, and the reader says so.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::plan::Entry;
use crate::record::journal::frame;

/// The only kind of record: an entry as JSON.
const KIND: u8 = 1;

/// Bytes that are read: ten thousand parts and a thousand renewed uploads are less.
const BYTES_MAX: u64 = 64 << 20;

/// Open only while something is written: an outage can leave thousands of files undelivered.
pub struct Log {
    path: PathBuf,
    /// End of the last good record.
    end: u64,
    number: u64,
    /// Encoded, and not yet on the disk.
    pending: Vec<u8>,
}

/// What a log held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    pub entries: Vec<Entry>,
    /// Something in its middle cannot be read.
    pub is_damaged: bool,
}

impl Log {
    /// Opens the log, or makes it: for the daemon's user only, it holds the names of uploads.
    pub fn open(path: &Path) -> io::Result<(Log, Recalled)> {
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if is_new && let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let length = file.metadata()?.len().min(BYTES_MAX);
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let (recalled, end, number) = read(&bytes);
        let log = Log {
            path: path.to_owned(),
            end,
            number,
            pending: Vec::new(),
        };
        Ok((log, recalled))
    }

    /// After an error the entries are kept in memory and written with the next ones.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            let payload = serde_json::to_vec(entry).expect("an entry is plain data");
            frame::put(&mut self.pending, self.number, KIND, &[&payload]);
            self.number += 1;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        // Always from the end of what is good: a second try overwrites what the first one has left.
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.write_all_at(&self.pending, self.end)?;
        file.sync_data()?;
        self.end += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// The entries in these bytes, where the good ones end, and the number of the next.
pub fn read(bytes: &[u8]) -> (Recalled, u64, u64) {
    let mut recalled = Recalled::default();
    let (mut at, mut end, mut number) = (0, 0, 0);
    while at < bytes.len() {
        // A number that goes back is a record from before the end was overwritten.
        match frame::take(&bytes[at..]).filter(|frame| frame.number >= number) {
            Some(found) => {
                recalled.is_damaged |= at != end;
                match serde_json::from_slice(found.payload) {
                    Ok(entry) if found.kind == KIND => recalled.entries.push(entry),
                    _ => recalled.is_damaged = true,
                }
                number = found.number + 1;
                at += found.bytes();
                end = at;
            }
            None => at += 1,
        }
    }
    (recalled, end as u64, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;

    fn part(number: u32) -> Entry {
        Entry::Part {
            number,
            etag: "etag".to_owned(),
            crc32c: 7,
        }
    }

    #[test]
    fn entries_come_back_and_others_follow_them() {
        let scratch = Scratch::new();
        let path = scratch.path("a.delivery");
        let (mut log, recalled) = Log::open(&path).unwrap();
        assert_eq!(recalled, Recalled::default());
        log.append(&[part(1), part(2)]).unwrap();
        let (mut log, recalled) = Log::open(&path).unwrap();
        assert_eq!(recalled.entries, [part(1), part(2)]);
        log.append(&[part(3)]).unwrap();
        log.append(&[Entry::Completing]).unwrap();
        let (_, recalled) = Log::open(&path).unwrap();
        assert_eq!(recalled.entries, [part(1), part(2), part(3), Entry::Completing]);
        assert!(!recalled.is_damaged);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_log_that_waits_holds_no_file_open() {
        let scratch = Scratch::new();
        let path = scratch.path("a.delivery");
        let (mut log, _) = Log::open(&path).unwrap();
        log.append(&[part(1)]).unwrap();
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let is_ours = |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|file| file == path);
        assert!(!open.flatten().any(is_ours));
        log.append(&[part(2)]).unwrap();
        assert_eq!(Log::open(&path).unwrap().1.entries, [part(1), part(2)]);
    }

    #[test]
    fn a_torn_record_is_no_damage_and_is_overwritten() {
        let scratch = Scratch::new();
        let path = scratch.path("a.delivery");
        let (mut log, _) = Log::open(&path).unwrap();
        log.append(&[part(1), part(2)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let first = frame::take(&whole).unwrap().bytes();
        for length in first..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (mut log, recalled) = Log::open(&path).unwrap();
            assert_eq!((recalled.entries, recalled.is_damaged), (vec![part(1)], false));
            log.append(&[part(3)]).unwrap();
            let (_, recalled) = Log::open(&path).unwrap();
            assert_eq!(
                (recalled.entries, recalled.is_damaged),
                (vec![part(1), part(3)], false)
            );
        }
    }

    #[test]
    fn a_record_damaged_in_the_middle_is_skipped_and_said() {
        let scratch = Scratch::new();
        let path = scratch.path("a.delivery");
        let (mut log, _) = Log::open(&path).unwrap();
        log.append(&[part(1), part(2), part(3)]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let first = frame::take(&bytes).unwrap().bytes();
        bytes[first + 30] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (_, recalled) = Log::open(&path).unwrap();
        assert_eq!(
            (recalled.entries, recalled.is_damaged),
            (vec![part(1), part(3)], true)
        );
    }
}
