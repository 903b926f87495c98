//! The promises of the reader of journals, whatever lies in their segments and changes while it reads.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mixminus::record::disk::{Disk, DiskFile, Space};
use mixminus::record::journal::frame::{self, HEAD_BYTES};
use mixminus::record::journal::{ENTRY_BYTES_MAX, Entry, Reader};

/// Steps on segments, each with arguments: a record put, raw bytes put, a new segment, a cut, a bit flipped, a look by
/// the reader, the writer gone. Then the reader reads to the end.
pub fn journal(script: &[u8]) {
    let memory = Memory::default();
    let mut bytes_put = 0;
    let mut number = 0_u64;
    let mut segment = 1_u32;
    memory.change(segment, |_| {});
    let mut reader = Reader::open(Arc::new(memory.clone()), Path::new("/"));
    let mut script = script.iter().copied();
    let mut next = || script.next().map(usize::from);
    while let Some(step) = next() {
        let (one, two) = (next().unwrap_or(0), next().unwrap_or(0));
        match step % 9 {
            0..=2 => {
                number = number.wrapping_add_signed(i64::from(one as u8 as i8));
                let kind = (two % 7) as u8;
                // Up to some more than the longest entry there is.
                let length = if step > 127 { two * 1_100 } else { two % 32 };
                let mut record = Vec::new();
                frame::put(&mut record, number, kind, &[&vec![one as u8; length]]);
                bytes_put += record.len();
                memory.change(segment, |bytes| bytes.extend(record));
            }
            3 => {
                let raw: Vec<u8> = (0..one % 64)
                    .map_while(|_| next())
                    .map(|byte| byte as u8)
                    .collect();
                bytes_put += raw.len();
                memory.change(segment, |bytes| bytes.extend(raw));
            }
            4 => {
                segment += 1 + one as u32 % 3;
                memory.change(segment, |_| {});
            }
            5 => memory.change(1 + one as u32 % segment, |bytes| {
                bytes.truncate(bytes.len() * two / 256)
            }),
            6 => memory.change(1 + one as u32 % segment, |bytes| {
                let bits = 8 * bytes.len();
                if bits > 0 {
                    let bit = (256 * step + two) * 31 % bits;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }),
            7 => (0..one).for_each(|_| look(&mut reader)),
            _ => reader.writer_is_gone(),
        }
    }
    reader.writer_is_gone();
    // Nothing is read twice, so there is an end.
    for _ in 0..=bytes_put / HEAD_BYTES + 1 {
        look(&mut reader);
    }
    assert_eq!(reader.next().expect("memory is readable"), None);
    if let Some(opened) = Reader::opened_of(&memory, Path::new("/")).expect("memory is readable") {
        assert!(opened.len() <= ENTRY_BYTES_MAX);
    }
}

/// One entry, or none. Numbers rise.
fn look(reader: &mut Reader) {
    let before = reader.number();
    let length = match reader.next().expect("memory is readable") {
        Some(Entry::Opened(json) | Entry::Note(json) | Entry::Ended(json)) => json.len(),
        Some(Entry::Sound { samples, .. }) => samples.len(),
        Some(Entry::Silence { .. }) => 0,
        None => return,
    };
    assert!(length <= ENTRY_BYTES_MAX);
    assert!(reader.number() > before);
}

/// Files in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<PathBuf, Content>>>);

type Content = Arc<Mutex<Vec<u8>>>;

struct MemoryFile(Content);

impl Memory {
    fn change(&self, segment: u32, change: impl FnOnce(&mut Vec<u8>)) {
        let path = PathBuf::from(format!("/journal-{segment:04}"));
        let mut files = self.0.lock().expect("not poisoned");
        change(&mut files.entry(path).or_default().lock().expect("not poisoned"));
    }
}

fn not_for_readers<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Disk for Memory {
    fn space(&self, _: &Path) -> io::Result<Space> {
        not_for_readers()
    }

    fn create(&self, _: &Path, _: u32) -> io::Result<Box<dyn DiskFile>> {
        not_for_readers()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let files = self.0.lock().expect("not poisoned");
        let content = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile(content.clone())))
    }

    fn open_to_write(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        not_for_readers()
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        not_for_readers()
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        let files = self.0.lock().expect("not poisoned");
        let names = files.keys().filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        not_for_readers()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        not_for_readers()
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        not_for_readers()
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(bytes.len() <= HEAD_BYTES + ENTRY_BYTES_MAX, "memory is bounded");
        let content = self.0.lock().expect("not poisoned");
        let rest = content.get(offset as usize..).unwrap_or_default();
        let read = bytes.len().min(rest.len());
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        not_for_readers()
    }

    fn size(&self) -> io::Result<u64> {
        not_for_readers()
    }

    fn set_size(&self, _: u64) -> io::Result<()> {
        not_for_readers()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        not_for_readers()
    }

    fn sync_data(&self) -> io::Result<()> {
        not_for_readers()
    }
}
