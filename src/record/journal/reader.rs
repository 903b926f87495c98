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

/// With more records missing than this, what follows is not taken for a part of the journal.
const RECORDS_LOST_MAX: u64 = 1 << 32;

/// Gives the entries of a journal in order, each once.
pub struct Reader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segment: Option<OpenSegment>,
    /// The segment that was opened last; zero before the first.
    segment_number: u32,
    /// Of the record read last.
    number: Option<u64>,
    is_writer_gone: bool,
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

/// What there is in a segment behind damage.
enum PastDamage {
    More,
    Nothing,
    /// The next segment may bring again what is missing, but has nothing yet.
    NotKnown,
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
            is_writer_gone: false,
            holes: 0,
            unknown: 0,
            unreadable: 0,
        }
    }

    /// Whether there is a journal in `folder`.
    pub fn is_begun(disk: &dyn Disk, folder: &Path) -> io::Result<bool> {
        Ok(!segment::numbers(disk, folder)?.is_empty())
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
    ///
    /// The first is [`Entry::Opened`] unless that is damaged: [`Reader::opened_of`] may find it elsewhere.
    #[expect(clippy::should_implement_trait, reason = "an entry is lent, and can fail")]
    pub fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        let Some(record) = self.advance()? else {
            return Ok(None);
        };
        let segment = self.segment.as_ref().expect("a record was read from it");
        Ok(Entry::of(record.kind, &segment.bytes[record.payload]))
    }

    /// Nobody writes this journal any more. From now on what is damaged in its last segment is passed over too, and
    /// `None` is the end.
    pub fn writer_is_gone(&mut self) {
        self.is_writer_gone = true;
    }

    /// The number of the record read last: it only rises.
    pub fn number(&self) -> Option<u64> {
        self.number
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
            if !segment.is_final {
                let next = self.next_segment()?;
                match trouble {
                    Some(error) if next.is_none() => return Err(error),
                    None if next.is_none() && !self.is_writer_gone => return Ok(None),
                    // Since it was looked at more may have come: it is looked at once more.
                    _ => self.segment.as_mut().expect("just read from").is_final = true,
                }
                continue;
            }
            let past_damage = match trouble {
                Some(error) => Err(error),
                None if segment.is_at_its_end() => Ok(PastDamage::Nothing),
                None => self.look_past_damage(),
            };
            match past_damage {
                Ok(PastDamage::More) => {}
                Ok(PastDamage::NotKnown) => return Ok(None),
                Ok(PastDamage::Nothing) => self.segment = None,
                Err(error) => {
                    if self.next_segment()?.is_none() {
                        return Err(error);
                    }
                    self.unreadable += 1;
                    self.segment = None;
                }
            }
        }
    }

    /// To the next whole record in a segment that does not change any more, unless the next segment brings again what
    /// is missing.
    fn look_past_damage(&mut self) -> io::Result<PastDamage> {
        let expected = self.expected();
        let again_from = self.first_number_after()?;
        match again_from {
            None if !self.is_writer_gone => return Ok(PastDamage::NotKnown),
            Some(again_from) if again_from <= expected => return Ok(PastDamage::Nothing),
            _ => {}
        }
        let numbers = expected
            ..again_from
                .unwrap_or(u64::MAX)
                .min(expected.saturating_add(RECORDS_LOST_MAX));
        let segment = self.segment.as_mut().expect("damage was found in it");
        Ok(match segment.find(&numbers)? {
            true => PastDamage::More,
            false => PastDamage::Nothing,
        })
    }

    /// The number of the first record in the segments after this one, but for what each of them begins with.
    fn first_number_after(&self) -> io::Result<Option<u64>> {
        for number in segment::numbers(&*self.disk, &self.folder)? {
            if number <= self.segment_number {
                continue;
            }
            let Ok(file) = self.disk.open(&self.folder.join(segment::name(number))) else {
                continue;
            };
            let mut segment = OpenSegment::new(file);
            while let Ok(Some(record)) = segment.next() {
                if record.kind != OPENED {
                    return Ok(Some(record.number));
                }
            }
        }
        Ok(None)
    }

    /// The number of the next record if none is missing.
    fn expected(&self) -> u64 {
        self.number.map_or(0, |last| last.saturating_add(1))
    }

    /// Whether a record was not read before. Counts what is missing before it.
    fn is_news(&mut self, number: u64) -> bool {
        if self.number.is_some_and(|last| number <= last) {
            return false;
        }
        self.holes += u64::from(number != self.expected());
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

    /// Whether nothing is left in it, not even damage, when the last look found no record.
    fn is_at_its_end(&self) -> bool {
        self.ahead.is_empty()
    }

    /// To the next whole record with one of these numbers behind damage; says whether there is one.
    fn find(&mut self, numbers: &Range<u64>) -> io::Result<bool> {
        let damage = self.at + self.ahead.start as u64;
        // Most often the damage is inside a record, and the next one is where it should be.
        let declared = wanted_bytes(&self.bytes[self.ahead.clone()]);
        if declared > 0 && self.is_at(damage + declared as u64, numbers)? {
            return Ok(true);
        }
        let mut scanned = vec![0; READ_BYTES];
        let mut from = damage + 1;
        loop {
            let read = self.file.read_at(&mut scanned, from)?;
            for (at, head) in scanned[..read].windows(HEAD_BYTES).enumerate() {
                if could_begin(head, numbers) && self.is_at(from + at as u64, numbers)? {
                    return Ok(true);
                }
            }
            if read < READ_BYTES {
                return Ok(false);
            }
            from += (READ_BYTES - HEAD_BYTES + 1) as u64;
        }
    }

    /// Goes to a place in the file; says whether a whole record with one of these numbers is there.
    fn is_at(&mut self, at: u64, numbers: &Range<u64>) -> io::Result<bool> {
        self.at = at;
        self.ahead = 0..0;
        Ok(self.next()?.is_some_and(|record| {
            self.ahead.start = record.payload.start - HEAD_BYTES;
            numbers.contains(&record.number)
        }))
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

/// Whether a record with one of these numbers could begin with these bytes.
fn could_begin(head: &[u8], numbers: &Range<u64>) -> bool {
    let number = head[8..16].try_into().expect("eight bytes");
    wanted_bytes(head) > 0 && numbers.contains(&u64::from_le_bytes(number))
}
