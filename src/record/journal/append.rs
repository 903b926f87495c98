//! The writing end of a journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::record::disk::says_full;

use super::entry::{ENTRY_BYTES_MAX, Entry};
use super::frame::HEAD_BYTES;
use super::segment::{self, Segment};
use super::syncer::SyncGroup;

/// A segment this long is followed by another as soon as all in it is synced.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes of records kept in memory: those not written yet, and those written but not known to be synced.
const TAIL_BYTES_MAX: usize = 128 << 10;

/// Room beyond that for what is not of the timeline: it cannot be told again as lost.
const RESERVE_BYTES: usize = 64 << 10;

/// The tail's memory grows in such steps.
const TAIL_STEP_BYTES: usize = 16 << 10;

/// An entry that was not taken.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum AddError {
    #[error("an entry of more than {ENTRY_BYTES_MAX} bytes")]
    TooLong,
    #[error("the disk takes nothing, and there is no more room for what waits to be written")]
    Crowded,
}

/// Nothing of what waits was written, or not all; it waits for the next write, and no reader sees it twice.
#[derive(Debug, Error)]
pub enum WriteError {
    #[error("the disk is full")]
    Full,
    /// A new segment could not be made either.
    #[error("the journal cannot be written: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        match says_full(&error) {
            true => WriteError::Full,
            false => WriteError::Failed(error),
        }
    }
}

/// Written by one thread.
pub struct Journal {
    group: Arc<SyncGroup>,
    folder: PathBuf,
    opened: Box<[u8]>,
    segment: Arc<Segment>,
    /// Of the segment that was made last, or tried.
    segment_number: u32,
    /// A segment longer than this is followed by another.
    segment_bytes: u64,
    /// Bytes of the segments before this one.
    earlier_bytes: u64,
    /// Of the record added next. Zero is what each segment begins with.
    next_number: u64,
    /// Whole records, from the oldest not known to be synced to the newest.
    tail: Vec<u8>,
    /// How much of the tail is in the segment.
    written: usize,
    /// Where in the segment the tail begins.
    tail_at: u64,
    forgotten: u64,
}

impl Journal {
    /// Makes the first segment, readable by the daemon's user only, and returns when it would outlive a loss of
    /// power (if `folder`, which must be there and have no journal yet, does). `opened` says what recording it is.
    pub fn create(group: Arc<SyncGroup>, folder: &Path, opened: &[u8]) -> io::Result<Journal> {
        Journal::create_with(group, folder, opened, SEGMENT_BYTES)
    }

    pub(super) fn create_with(
        group: Arc<SyncGroup>,
        folder: &Path,
        opened: &[u8],
        segment_bytes: u64,
    ) -> io::Result<Journal> {
        if opened.len() > ENTRY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, AddError::TooLong));
        }
        let first = Arc::new(begin_segment(&group, folder, 1, opened, &[])?);
        group.sync(&first).inspect_err(|_| {
            let _ = group.disk().remove(&folder.join(segment::name(1)));
        })?;
        group.watch(first.clone());
        Ok(Journal {
            group,
            folder: folder.to_owned(),
            opened: opened.into(),
            tail_at: first.written(),
            segment: first,
            segment_number: 1,
            segment_bytes,
            earlier_bytes: 0,
            next_number: 1,
            tail: Vec::new(),
            written: 0,
            forgotten: 0,
        })
    }

    /// Takes an entry into memory; it is written with the next [`write`](Journal::write).
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<(), AddError> {
        let payload = entry.payload_bytes();
        if payload > ENTRY_BYTES_MAX {
            return Err(AddError::TooLong);
        }
        let bytes = HEAD_BYTES + payload;
        if self.segment.is_dead() {
            self.take_back();
        }
        let waiting = self.waiting_bytes();
        let reserve = if entry.is_of_the_timeline() {
            0
        } else {
            RESERVE_BYTES
        };
        if waiting > 0 && waiting + bytes > TAIL_BYTES_MAX + reserve {
            return Err(AddError::Crowded);
        }
        if self.tail.len() + bytes > TAIL_BYTES_MAX {
            self.forget(bytes);
        }
        let room = self.tail.capacity() - self.tail.len();
        if room < bytes {
            self.tail.reserve_exact(bytes.max(TAIL_STEP_BYTES));
        }
        entry.put(&mut self.tail, self.next_number);
        self.next_number += 1;
        Ok(())
    }

    /// Writes what was added, in one piece. After an I/O error that is tried once more, in a new segment.
    pub fn write(&mut self) -> Result<(), WriteError> {
        self.let_go_of_synced();
        if self.is_to_be_renewed() {
            // Also where the next one cannot be made: a reader that saw a part of it has left this one for good.
            self.segment.close();
        }
        if self.segment.is_dead() || self.segment.is_closed() {
            self.take_back();
            return match self.tail.is_empty() {
                true => Ok(()),
                false => self.renew(),
            };
        }
        if self.waiting_bytes() == 0 {
            return Ok(());
        }
        match self.segment.append(&self.tail[self.written..]) {
            Ok(()) => {
                self.written = self.tail.len();
                Ok(())
            }
            Err(error) if says_full(&error) => Err(WriteError::Full),
            Err(error) => {
                tracing::warn!(%error, folder = %self.folder.display(), "a journal goes on in a new segment");
                self.segment.abandon();
                self.take_back();
                self.renew()
            }
        }
    }

    /// Writes what was added and returns when it would outlive a loss of power.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.write()?;
        if self.segment.is_dirty() && self.group.sync(&self.segment).is_err() {
            self.write()?;
            self.group.sync(&self.segment)?;
        }
        self.let_go_of_synced();
        Ok(())
    }

    /// Bytes on the disk, in all segments.
    pub fn bytes(&self) -> u64 {
        self.earlier_bytes + self.segment.written()
    }

    /// Bytes that were added and not written.
    pub fn waiting_bytes(&self) -> usize {
        self.tail.len() - self.written
    }

    /// Records that were dropped from memory before they were known to be synced, because syncs took too long. They
    /// are missing only where a later sync of their segment fails.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The one that is written to.
    pub fn segment(&self) -> Arc<Segment> {
        self.segment.clone()
    }

    /// Whether the segment is long enough to be followed by another. That waits until all in it is synced: what a
    /// failed sync would have to bring again must lie in one segment. If that moment does not come, it is made.
    fn is_to_be_renewed(&self) -> bool {
        let written = self.segment.written();
        !self.segment.is_dead()
            && self.waiting_bytes() > 0
            && written >= self.segment_bytes
            && (self.written == 0
                || (written >= 2 * self.segment_bytes && self.group.sync(&self.segment).is_ok()))
    }

    /// Goes on in a new segment, with all that is in the tail.
    fn renew(&mut self) -> Result<(), WriteError> {
        self.segment_number += 1;
        let (number, folder) = (self.segment_number, &self.folder);
        let segment = begin_segment(&self.group, folder, number, &self.opened, &self.tail)?;
        self.earlier_bytes += self.segment.written();
        self.segment = Arc::new(segment);
        self.group.watch(self.segment.clone());
        self.written = self.tail.len();
        self.tail_at = self.segment.written() - self.tail.len() as u64;
        Ok(())
    }

    /// Of a segment that is left, nothing after its last good sync counts as written.
    fn take_back(&mut self) {
        self.let_go_of_synced();
        self.written = 0;
    }

    fn let_go_of_synced(&mut self) {
        let safe = self.segment.synced().saturating_sub(self.tail_at);
        let safe = usize::try_from(safe).unwrap_or(usize::MAX).min(self.written);
        self.drop_front(safe);
    }

    /// Drops the oldest records that are written, a quarter of the tail at a time, until `bytes` more fit.
    fn forget(&mut self, bytes: usize) {
        let room_for = (TAIL_BYTES_MAX * 3 / 4).saturating_sub(bytes);
        let mut front = 0;
        while front < self.written && self.tail.len() - front > room_for {
            let length: [u8; 4] = self.tail[front..front + 4].try_into().expect("four bytes");
            front += HEAD_BYTES + u32::from_le_bytes(length) as usize;
            self.forgotten += 1;
        }
        self.drop_front(front);
    }

    fn drop_front(&mut self, bytes: usize) {
        if bytes > 0 {
            self.tail.drain(..bytes);
            self.written -= bytes;
            self.tail_at += bytes as u64;
            if self.tail.len() < TAIL_STEP_BYTES {
                self.tail.shrink_to(4 * TAIL_STEP_BYTES);
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.segment.close();
    }
}

/// Makes a segment that begins with what the recording is. When that fails, nothing of it is left, and its number is
/// not used again.
fn begin_segment(
    group: &SyncGroup,
    folder: &Path,
    number: u32,
    opened: &[u8],
    records: &[u8],
) -> io::Result<Segment> {
    let segment = Segment::create(group.disk(), folder, number)?;
    let mut head = Vec::with_capacity(HEAD_BYTES + opened.len());
    Entry::Opened(opened).put(&mut head, 0);
    let begun = segment.append(&head).and_then(|()| match records {
        [] => Ok(()),
        _ => segment.append(records),
    });
    match begun {
        Ok(()) => Ok(segment),
        Err(error) => {
            let _ = group.disk().remove(&folder.join(segment::name(number)));
            Err(error)
        }
    }
}
