//! Disks that fill up, fail and come back.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn a_sync_that_fails_ends_a_segment_and_the_next_brings_again_what_was_not_safe() {
    let mut desk = Desk::new(u64::MAX);
    let mut reader = desk.reader();
    for round in 0..4 {
        (0..5).for_each(|_| desk.add(640));
        desk.journal.write().expect("written");
        if round == 1 {
            desk.disk.fail_sync(1);
        }
        desk.group.round();
    }
    assert_eq!((desk.group.failures(), desk.segments()), (1, vec![1, 2]));
    let second = desk.shadow.open(&segment_path(2)).unwrap().size().unwrap();
    let record = (frame::HEAD_BYTES + 12 + 640) as u64;
    assert_eq!(second, (frame::HEAD_BYTES + OPENED.len()) as u64 + 15 * record);
    assert_eq!(read(&mut reader), (0..20).collect::<Vec<_>>());
    desk.assert_whole();
    assert_eq!(desk.journal.forgotten(), 0);
}

#[test]
fn a_segment_whose_sync_failed_is_not_synced_or_written_again() {
    let mut desk = Desk::new(u64::MAX);
    let first = desk.journal.segment();
    desk.add(640);
    desk.journal.write().unwrap();
    desk.disk.fail_sync(1);
    desk.group.round();
    assert!(first.is_dead() && !first.is_dirty());
    let (written, synced) = (first.written(), first.synced());
    desk.group.round();
    desk.add(640);
    desk.journal.write().unwrap();
    desk.group.round();
    assert_eq!((first.written(), first.synced()), (written, synced));
    assert_eq!(desk.group.failures(), 1);
    let second = desk.journal.segment();
    assert!(!second.is_dead() && !second.is_dirty());
    assert_eq!(desk.journal.bytes(), written + second.written());
}

#[test]
fn a_journal_that_is_synced_at_once_stands_a_failure_of_that() {
    let mut desk = Desk::new(u64::MAX);
    desk.add(640);
    desk.disk.fail_sync(1);
    desk.journal.sync().expect("in the next segment");
    assert_eq!(desk.segments(), [1, 2]);
    assert!(!desk.journal.segment().is_dirty());
    desk.assert_whole();
}

#[test]
fn a_write_that_fails_is_done_again_in_a_new_segment_at_once() {
    let mut desk = Desk::new(u64::MAX);
    let mut reader = desk.reader();
    (0..5).for_each(|_| desk.add(640));
    desk.journal.write().unwrap();
    assert_eq!(read(&mut reader).len(), 5);
    (0..5).for_each(|_| desk.add(640));
    desk.disk.fail_write(1);
    desk.journal.write().expect("written in the next one");
    assert_eq!(desk.segments(), [1, 2]);
    assert_eq!(desk.group.failures(), 0);
    assert_eq!(read(&mut reader), (5..10).collect::<Vec<_>>());
    desk.assert_whole();
}

#[test]
fn a_disk_that_takes_no_new_segment_either_is_said_and_nothing_is_lost_once_it_does() {
    let mut desk = Desk::new(u64::MAX);
    desk.add(640);
    desk.disk.fail_write(1);
    desk.disk.fail_creation(1);
    assert!(matches!(desk.journal.write(), Err(WriteError::Failed(_))));
    assert_eq!(desk.journal.waiting_bytes(), frame::HEAD_BYTES + 12 + 640);
    desk.disk.make_read_only(true);
    desk.add(640);
    assert!(matches!(desk.journal.write(), Err(WriteError::Failed(_))));
    desk.disk.make_read_only(false);
    desk.add(640);
    desk.journal.write().expect("the disk is well");
    desk.assert_whole();
}

#[test]
fn a_full_disk_is_said_and_what_waits_is_written_once_there_is_room() {
    for room in 0..2_500 {
        let mut desk = Desk::new(u64::MAX);
        let mut reader = desk.reader();
        desk.add(100);
        desk.journal.write().unwrap();
        (0..5).for_each(|_| desk.add(400));
        desk.disk.leave_room(room);
        let written = desk.journal.write();
        if room < 5 * (frame::HEAD_BYTES + 12 + 400) as u64 {
            assert!(
                matches!(written, Err(WriteError::Full)),
                "room {room}: {written:?}"
            );
            assert_eq!(read(&mut reader), [0], "no half of it is left");
            desk.add(400);
            assert!(matches!(desk.journal.write(), Err(WriteError::Full)));
        }
        desk.disk.leave_room(u64::MAX);
        desk.add(400);
        desk.journal.write().expect("there is room");
        assert_eq!(read(&mut reader).last(), Some(&(desk.added - 1)));
        assert_eq!(desk.segments(), [1]);
        desk.assert_whole();
    }
}

#[test]
fn a_segment_that_fails_on_a_full_disk_is_followed_by_another_once_there_is_room() {
    let mut desk = Desk::new(u64::MAX);
    let mut reader = desk.reader();
    desk.add(640);
    desk.journal.write().unwrap();
    desk.disk.fail_sync(1);
    desk.group.round();
    for room in [0, 10, 100, 300] {
        desk.disk.leave_room(room);
        desk.add(640);
        assert!(matches!(desk.journal.write(), Err(WriteError::Full)));
        read(&mut reader);
        assert_eq!(
            desk.segments(),
            [1],
            "a segment that could not be begun is taken away"
        );
    }
    desk.disk.leave_room(u64::MAX);
    desk.journal.write().unwrap();
    assert_eq!(desk.segments(), [1, 6]);
    assert_eq!(read(&mut reader), [1, 2, 3, 4]);
    desk.assert_whole();
}

#[test]
fn what_waits_for_a_full_disk_has_a_limit_and_the_end_still_finds_room() {
    let mut desk = Desk::new(u64::MAX);
    desk.disk.leave_room(0);
    let silence = samples(0, 1_000);
    while desk.journal.add(&sound(desk.added, &silence)).is_ok() {
        desk.added += 1;
        assert!(matches!(desk.journal.write(), Err(WriteError::Full)));
    }
    assert_eq!(desk.journal.add(&sound(0, &silence)), Err(AddError::Crowded));
    assert!((122..=128).contains(&(desk.journal.waiting_bytes() >> 10)));
    desk.journal.add(&Entry::Note(&[b' '; 2_000])).expect("a reserve");
    desk.journal
        .add(&Entry::Ended(&[b' '; 20_000]))
        .expect("a reserve");
    while desk.journal.add(&Entry::Note(&[b' '; 2_000])).is_ok() {}
    assert!(desk.journal.waiting_bytes() <= (256 + 64) << 10);
    let long = vec![b' '; ENTRY_BYTES_MAX + 1];
    assert_eq!(desk.journal.add(&Entry::Note(&long)), Err(AddError::TooLong));
    desk.disk.leave_room(u64::MAX);
    desk.journal.write().unwrap();
    desk.journal
        .add(&Entry::Note(&long[1..]))
        .expect("the longest there is");
    desk.journal.write().unwrap();
    let (mut reader, mut entries) = (desk.reader(), 0);
    while reader.next().unwrap().is_some() {
        entries += 1;
    }
    assert!(entries > desk.added + 2 && reader.holes() == 0);
}

#[test]
fn syncs_that_lag_behind_cost_counted_records_and_only_if_they_fail() {
    let mut desk = Desk::new(u64::MAX);
    for _ in 0..1_000 {
        desk.add(1_000);
        desk.journal.write().unwrap();
    }
    let forgotten = desk.journal.forgotten();
    assert!((700..900).contains(&forgotten), "{forgotten}");
    desk.assert_whole();
    desk.disk.fail_sync(1);
    desk.group.round();
    desk.add(1_000);
    desk.journal.write().unwrap();
    desk.assert_whole();
    desk.group.round();
    // Of the first segment the disk has nothing but what it was made with.
    let found = desk.shadow.after_power_loss(&mut fastrand::Rng::with_seed(1));
    found
        .open_to_write(&segment_path(1))
        .unwrap()
        .set_size(40)
        .unwrap();
    let mut reader = Reader::open(Arc::new(found), folder());
    let places = read(&mut reader);
    assert_eq!(places, (forgotten..=1_000).collect::<Vec<_>>());
    assert_eq!(reader.holes(), 1);
}

#[test]
fn a_long_segment_is_followed_by_another_when_all_in_it_is_synced_or_at_twice_the_length() {
    let mut desk = Desk::new(10_000);
    for _ in 0..15 {
        desk.add(1_000);
        desk.journal.write().unwrap();
    }
    assert_eq!(
        desk.segments(),
        [1],
        "a failed sync would have to bring again what is in it"
    );
    desk.group.round();
    desk.journal.write().unwrap();
    assert_eq!(desk.segments(), [1], "there is nothing to write");
    desk.add(1_000);
    desk.journal.write().unwrap();
    assert_eq!(desk.segments(), [1, 2]);
    let second = desk.journal.segment();
    for _ in 0..30 {
        desk.add(1_000);
        desk.journal.write().unwrap();
    }
    assert_eq!(desk.segments(), [1, 2, 3]);
    assert!(second.written() > 20_000 && second.synced() == second.written());
    let bytes = (1..=3).map(|number| desk.shadow.open(&segment_path(number)).unwrap().size().unwrap());
    assert_eq!(desk.journal.bytes(), bytes.sum::<u64>());
    desk.assert_whole();
}

#[test]
fn a_segment_that_was_to_be_followed_is_not_written_again_when_the_next_cannot_be_made() {
    let mut desk = Desk::new(1_000);
    let mut reader = desk.reader();
    desk.add(1_000);
    desk.journal.sync().unwrap();
    let first = desk.journal.segment().written();
    desk.disk.fail_creation(1);
    desk.add(1_000);
    assert!(matches!(desk.journal.write(), Err(WriteError::Failed(_))));
    assert_eq!(read(&mut reader), [0]);
    desk.disk.leave_room(100);
    assert!(matches!(desk.journal.write(), Err(WriteError::Full)));
    desk.disk.leave_room(u64::MAX);
    desk.journal.write().unwrap();
    assert_eq!(desk.shadow.open(&segment_path(1)).unwrap().size().unwrap(), first);
    assert_eq!(desk.segments(), [1, 4]);
    assert_eq!(read(&mut reader), [1]);
}

#[test]
fn a_journal_is_made_once_and_is_there_after_a_loss_of_power() {
    let desk = Desk::new(u64::MAX);
    let again = Journal::create(desk.group.clone(), folder(), OPENED)
        .err()
        .expect("it is there");
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    let found = desk.shadow.after_power_loss(&mut fastrand::Rng::with_seed(1));
    assert_eq!(
        Reader::opened_of(&found, folder()).unwrap().as_deref(),
        Some(OPENED)
    );

    let elsewhere = Path::new("/spool/id-2");
    desk.shadow.create_folder(elsewhere).unwrap();
    desk.disk.fail_sync(1);
    assert!(Journal::create(desk.group.clone(), elsewhere, OPENED).is_err());
    assert_eq!(desk.shadow.names(elsewhere).unwrap(), [""; 0]);
    let long = vec![0; ENTRY_BYTES_MAX + 1];
    assert!(Journal::create(desk.group.clone(), elsewhere, &long).is_err());
    desk.disk.leave_room(10);
    let full = Journal::create(desk.group.clone(), elsewhere, OPENED)
        .err()
        .expect("no room");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(desk.shadow.names(elsewhere).unwrap(), [""; 0]);
}

#[test]
fn many_segments_are_synced_together_and_closed_ones_only_until_they_are_safe() {
    let shadow = ShadowDisk::default();
    let group = SyncGroup::new(Arc::new(shadow.clone()));
    let mut journals: Vec<Journal> = (0..33)
        .map(|id| {
            let folder = PathBuf::from(format!("/spool/{id}"));
            shadow.create_folder(&folder).unwrap();
            Journal::create(group.clone(), &folder, OPENED).unwrap()
        })
        .collect();
    let write = |journals: &mut [Journal]| {
        for journal in journals {
            journal.add(&Entry::Note(b"{}")).unwrap();
            journal.write().unwrap();
        }
    };
    for some in [32, 33] {
        write(&mut journals[..some]);
        group.round();
        let dirty = journals.iter().filter(|journal| journal.segment().is_dirty());
        assert_eq!(dirty.count(), 0, "of {some}");
    }
    write(&mut journals);
    let segments: Vec<_> = journals.drain(..).map(|journal| journal.segment()).collect();
    assert!(segments.iter().all(|segment| segment.is_dirty()));
    group.round();
    assert!(segments.iter().all(|segment| !segment.is_dirty()));
    group.round();
    assert!(
        segments.iter().all(|segment| Arc::strong_count(segment) == 1),
        "let go of"
    );
}

#[test]
fn what_a_failed_sync_left_unsafe_is_not_forgotten_while_the_disk_is_full() {
    let mut desk = Desk::new(u64::MAX);
    (0..100).for_each(|_| desk.add(1_000));
    desk.journal.write().unwrap();
    desk.disk.fail_sync(1);
    desk.disk.leave_room(0);
    desk.group.round();
    loop {
        let samples = samples(desk.added, 1_000);
        if desk.journal.add(&sound(desk.added, &samples)) == Err(AddError::Crowded) {
            break;
        }
        desk.added += 1;
        assert!(matches!(desk.journal.write(), Err(WriteError::Full)));
    }
    assert!((100..200).contains(&desk.added));
    assert_eq!(desk.journal.forgotten(), 0);
    desk.disk.leave_room(u64::MAX);
    desk.journal.write().unwrap();
    desk.shadow.remove(&segment_path(1)).unwrap();
    desk.assert_whole();
}

/// Longer than any round of a syncer.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_syncer_syncs_by_itself_and_once_more_when_it_is_stopped() {
    let mut desk = Desk::new(u64::MAX);
    desk.add(640);
    desk.journal.write().unwrap();
    let syncer = Syncer::start(desk.group.clone(), PATIENCE * 100).expect("a thread");
    let deadline = Instant::now() + PATIENCE;
    while desk.journal.segment().is_dirty() {
        assert!(Instant::now() < deadline, "it never synced");
        std::thread::yield_now();
    }
    desk.add(640);
    desk.journal.write().unwrap();
    syncer.stop();
    assert!(!desk.journal.segment().is_dirty());
}
