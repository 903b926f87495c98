//! The reading end of a journal, while it grows or when it is over, whatever a crash has left of it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::disk::{Disk, DiskFile};

use super::entry::{ENTRY_BYTES_MAX, Entry, OPENED};
use super::frame::{self, HEAD_BYTES};
use super::segment;

/// Read at once; more only for an entry that is longer.
const READ_BYTES: usize = 64 << 10;

/// Gives the entries of a journal in order, each once.
pub struct Reader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segment: Option<OpenSegment>,
    /// The segment that was opened last; zero before the first.
    segment_number: u32,
    /// Of the record read last.
    number: Option<u64>,
    holes: u64,
    unknown: u64,
    unreadable: u64,
}

struct OpenSegment {
    file: Box<dyn DiskFile>,
    /// The next one is there: this one does not change any more.
    is_final: bool,
    /// Read ahead: from the start of a record on.
    bytes: Vec<u8>,
    /// What of `bytes` is not taken yet.
    ahead: Range<usize>,
    /// Where in the file `bytes` begin.
    at: u64,
}

/// A whole record in `bytes`.
struct Record {
    number: u64,
    kind: u8,
    payload: Range<usize>,
}

impl Reader {
    /// A reader at the start of the journal in `folder`, which may have no segment yet.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Reader {
        Reader {
            disk,
            folder: folder.to_owned(),
            segment: None,
            segment_number: 0,
            number: None,
            holes: 0,
            unknown: 0,
            unreadable: 0,
        }
    }

    /// What recording the journal in `folder` is of: the payload of [`Entry::Opened`], from the first segment that
    /// tells. `None` when none does.
    pub fn opened_of(disk: &dyn Disk, folder: &Path) -> io::Result<Option<Vec<u8>>> {
        for number in segment::numbers(disk, folder)? {
            let Ok(file) = disk.open(&folder.join(segment::name(number))) else {
                continue;
            };
            let mut segment = OpenSegment::new(file);
            if let Ok(Some(record)) = segment.next()
                && record.kind == OPENED
            {
                return Ok(Some(segment.bytes[record.payload].to_vec()));
            }
        }
        Ok(None)
    }

    /// The next entry; `None` when there is nothing whole now. Called again it looks again: whether the journal is over
    /// is known to the one who knows its writer. After an error it can be called again too.
    #[expect(clippy::should_implement_trait, reason = "an entry is lent, and can fail")]
    pub fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        let Some(record) = self.advance()? else {
            return Ok(None);
        };
        let segment = self.segment.as_ref().expect("a record was read from it");
        Ok(Entry::of(record.kind, &segment.bytes[record.payload]))
    }

    /// How often records were missing between one and the next.
    pub fn holes(&self) -> u64 {
        self.holes
    }

    /// Records of no known kind or form, which were passed over.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Segments whose rest the disk would not give, and which were left for the next one.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// To the next record that was not read yet and is an entry.
    fn advance(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some(segment) = &mut self.segment else {
                match self.next_segment()? {
                    Some(next) => self.enter(next)?,
                    None => return Ok(None),
                }
                continue;
            };
            let trouble = match segment.next() {
                Ok(Some(record)) => {
                    if self.is_news(record.number) {
                        let segment = self.segment.as_ref().expect("just read from");
                        if Entry::of(record.kind, &segment.bytes[record.payload.clone()]).is_some() {
                            return Ok(Some(record));
                        }
                        self.unknown += 1;
                    }
                    continue;
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            if segment.is_final {
                self.unreadable += u64::from(trouble.is_some());
                self.segment = None;
                continue;
            }
            // Between the look and the next segment's making more may have come: it is looked at once more.
            let is_final = self.next_segment()?.is_some();
            match (is_final, trouble) {
                (true, _) => self.segment.as_mut().expect("just read from").is_final = true,
                (false, Some(error)) => return Err(error),
                (false, None) => return Ok(None),
            }
        }
    }

    /// Whether a record was not read before. Counts what is missing before it.
    fn is_news(&mut self, number: u64) -> bool {
        let expected = match self.number {
            Some(last) if number <= last => return false,
            Some(last) => last + 1,
            None => 0,
        };
        self.holes += u64::from(number != expected);
        self.number = Some(number);
        true
    }

    /// The number of the segment after the one opened last.
    fn next_segment(&self) -> io::Result<Option<u32>> {
        let numbers = segment::numbers(&*self.disk, &self.folder)?;
        Ok(numbers.into_iter().find(|&number| number > self.segment_number))
    }

    fn enter(&mut self, number: u32) -> io::Result<()> {
        match self.disk.open(&self.folder.join(segment::name(number))) {
            Ok(file) => self.segment = Some(OpenSegment::new(file)),
            // One that could not be begun was taken away again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let before = std::mem::replace(&mut self.segment_number, number);
                if self.next_segment()?.is_none() {
                    self.segment_number = before;
                    return Err(error);
                }
                self.unreadable += 1;
            }
        }
        self.segment_number = number;
        Ok(())
    }
}

impl OpenSegment {
    fn new(file: Box<dyn DiskFile>) -> OpenSegment {
        OpenSegment {
            file,
            is_final: false,
            bytes: Vec::new(),
            ahead: 0..0,
            at: 0,
        }
    }

    /// The next record, if it is whole.
    fn next(&mut self) -> io::Result<Option<Record>> {
        if let Some(record) = self.take() {
            return Ok(Some(record));
        }
        // What is ahead may have been read while it was written, so it is read anew.
        self.at += self.ahead.start as u64;
        self.ahead = 0..0;
        self.bytes.truncate(READ_BYTES);
        self.bytes.shrink_to(READ_BYTES);
        self.bytes.resize(READ_BYTES, 0);
        let mut read = self.file.read_at(&mut self.bytes, self.at)?;
        let wanted = wanted_bytes(&self.bytes[..read]);
        if read == READ_BYTES && wanted > READ_BYTES {
            self.bytes.reserve_exact(wanted - READ_BYTES);
            self.bytes.resize(wanted, 0);
            let more_at = self.at + READ_BYTES as u64;
            read += self.file.read_at(&mut self.bytes[READ_BYTES..], more_at)?;
        }
        self.ahead = 0..read;
        Ok(self.take())
    }

    fn take(&mut self) -> Option<Record> {
        let frame = frame::take(&self.bytes[self.ahead.clone()])?;
        if frame.payload.len() > ENTRY_BYTES_MAX {
            return None;
        }
        let payload = self.ahead.start + HEAD_BYTES;
        let record = Record {
            number: frame.number,
            kind: frame.kind,
            payload: payload..payload + frame.payload.len(),
        };
        self.ahead.start = record.payload.end;
        Some(record)
    }
}

/// Bytes of the record that begins here; zero when its length is damaged, or not there.
fn wanted_bytes(bytes: &[u8]) -> usize {
    match bytes.first_chunk() {
        Some(length) => match u32::from_le_bytes(*length) as usize {
            length if length <= ENTRY_BYTES_MAX => HEAD_BYTES + length,
            _ => 0,
        },
        None => 0,
    }
}
