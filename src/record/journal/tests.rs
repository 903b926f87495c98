//! Journals on disks that fill up, fail and lose their power.

mod failing;
mod power;
mod reading;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::id::TrackNumber;
use crate::record::disk::Disk;
use crate::record::test_disk::{FailingDisk, ShadowDisk};
use crate::time::Tick;

const OPENED: &[u8] = br#"{"recordingId":"id-1"}"#;

/// One journal on a disk in memory, of which anything can be taken away.
struct Desk {
    shadow: ShadowDisk,
    disk: FailingDisk,
    group: Arc<SyncGroup>,
    journal: Journal,
    /// Entries that were taken, besides the first.
    added: u64,
}

impl Desk {
    fn new(segment_bytes: u64) -> Desk {
        let shadow = ShadowDisk::default();
        shadow.create_folder(folder()).unwrap();
        let disk = FailingDisk::new(Arc::new(shadow.clone()));
        let group = SyncGroup::new(Arc::new(disk.clone()));
        Desk {
            journal: Journal::create_with(group.clone(), folder(), OPENED, segment_bytes).expect("room"),
            shadow,
            disk,
            group,
            added: 0,
        }
    }

    /// Adds sound of so many bytes that tells its place among all that was added.
    fn add(&mut self, bytes: usize) {
        self.journal
            .add(&sound(self.added, &samples(self.added, bytes)))
            .expect("taken");
        self.added += 1;
    }

    fn reader(&self) -> Reader {
        Reader::open(Arc::new(self.disk.clone()), folder())
    }

    fn segments(&self) -> Vec<u32> {
        segment::numbers(&self.shadow, folder()).unwrap()
    }

    /// Asserts that a new reader finds every entry once, in order.
    fn assert_whole(&self) {
        let mut reader = self.reader();
        assert_eq!(read(&mut reader), (0..self.added).collect::<Vec<_>>());
        assert_eq!((reader.holes(), reader.unknown(), reader.unreadable()), (0, 0, 0));
    }
}

fn folder() -> &'static Path {
    Path::new("/spool/id-1")
}

fn segment_path(number: u32) -> PathBuf {
    folder().join(segment::name(number))
}

fn sound(place: u64, samples: &[u8]) -> Entry<'_> {
    Entry::Sound {
        track: TrackNumber::MAIN,
        tick: Tick(place),
        samples,
    }
}

fn samples(place: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(place);
    (0..bytes / 2 * 2).map(|_| random.u8(..)).collect()
}

/// Reads on, checks each entry to be as it was added, and gives their places. The first need not be there.
fn read(reader: &mut Reader) -> Vec<u64> {
    let mut places = Vec::new();
    while let Some(entry) = reader.next().expect("readable") {
        match entry {
            Entry::Opened(opened) => assert_eq!((opened, places.len()), (OPENED, 0)),
            Entry::Sound {
                track,
                tick,
                samples: found,
            } => {
                assert_eq!(track, TrackNumber::MAIN);
                assert_eq!(found, samples(tick.0, found.len()), "place {}", tick.0);
                places.push(tick.0);
            }
            other => panic!("never added: {other:?}"),
        }
    }
    places
}
