//! The reading end, for readers that were away for longer than memory goes back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::segment;
use super::writer::{Segments, locked};
use crate::control::events::log::Entry;
use crate::record::disk::Disk;
use crate::record::journal::frame::{HEAD_BYTES, PAYLOAD_BYTES_MAX};

/// Bytes read at a time; more where one record has more.
const CHUNK: usize = 256 << 10;
const CHUNK_MAX: usize = HEAD_BYTES + PAYLOAD_BYTES_MAX;

/// Readers that read the disk at once; others wait for them.
const READERS_MAX: usize = 2;

pub struct Archive {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segments: Segments,
    pub(in crate::control::events) permits: Semaphore,
}

/// Where the next record of a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The first number of the segment.
    segment: u64,
    offset: u64,
}

impl Archive {
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, segments: Segments) -> Archive {
        Archive {
            disk,
            dir,
            segments,
            permits: Semaphore::new(READERS_MAX),
        }
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        locked(&self.segments).iter().map(|(_, bytes)| bytes).sum()
    }

    /// Events from the disk that have a number above `after` and below `below`, oldest first, at most `most`; none where
    /// the disk has no more. `spot` is where the last call stopped.
    pub fn read(&self, after: u64, below: u64, most: usize, spot: &mut Option<Spot>) -> Vec<Entry> {
        loop {
            let Some(here) = self.spot(after, below, *spot) else {
                return Vec::new();
            };
            let (mut entries, next) = match self.read_at(here, after, most) {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(%error, "a part of the journal of events cannot be read");
                    (Vec::new(), None)
                }
            };
            let has_reached = entries.last().is_some_and(|last| last.global >= below);
            *spot = match (has_reached, next) {
                // What lies beyond is for another call.
                (true, _) => Some(here),
                (false, Some(offset)) => Some(Spot { offset, ..here }),
                (false, None) => self.behind(here),
            };
            entries.retain(|entry| entry.global < below);
            if !entries.is_empty() || has_reached || spot.is_none() {
                return entries;
            }
        }
    }

    /// Where to read on, or to begin.
    fn spot(&self, after: u64, below: u64, spot: Option<Spot>) -> Option<Spot> {
        let segments = locked(&self.segments);
        let is_there = |spot: &Spot| segments.iter().any(|(first, _)| *first == spot.segment);
        let begin = || {
            let index = segments.partition_point(|(first, _)| *first <= after + 1);
            let (segment, _) = segments.get(index.saturating_sub(1))?;
            Some(Spot {
                segment: *segment,
                offset: 0,
            })
        };
        spot.filter(is_there)
            .or_else(begin)
            .filter(|spot| spot.segment < below)
    }

    /// The beginning of the segment after this one.
    fn behind(&self, here: Spot) -> Option<Spot> {
        let segments = locked(&self.segments);
        let (segment, _) = segments.iter().find(|(first, _)| *first > here.segment)?;
        Some(Spot {
            segment: *segment,
            offset: 0,
        })
    }

    /// Events of a segment, and where the next is; none at its end.
    fn read_at(&self, here: Spot, after: u64, most: usize) -> io::Result<(Vec<Entry>, Option<u64>)> {
        let file = self.disk.open(&self.dir.join(segment::name(here.segment)))?;
        for length in [CHUNK, CHUNK_MAX] {
            let mut buffer = vec![0; length];
            let read = file.read_at(&mut buffer, here.offset)?;
            let (entries, taken) = segment::read_some(&buffer[..read], after, most);
            if taken > 0 {
                return Ok((entries, Some(here.offset + taken as u64)));
            }
            if read < length || length == CHUNK_MAX {
                // The end, or damage: what follows may be whole.
                let next = segment::next_event(&buffer[..read], 1, None);
                return Ok((Vec::new(), next.map(|next| here.offset + next as u64)));
            }
        }
        Ok((Vec::new(), None))
    }
}
