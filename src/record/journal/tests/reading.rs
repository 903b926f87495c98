//! Readers beside a writer, and of what is left.

use super::*;

/// Bytes of a segment that holds these records.
fn segment_of(records: &[(u64, &Entry<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, entry) in records {
        entry.put(&mut bytes, *number);
    }
    bytes
}

fn disk_of(segments: &[(u32, Vec<u8>)]) -> FailingDisk {
    let shadow = ShadowDisk::default();
    shadow.create_folder(folder()).unwrap();
    for (number, bytes) in segments {
        let file = shadow.create(&segment_path(*number), 0).unwrap();
        file.write_at(bytes, 0).unwrap();
    }
    FailingDisk::new(Arc::new(shadow))
}

fn reader_of(segments: &[(u32, Vec<u8>)]) -> Reader {
    Reader::open(Arc::new(disk_of(segments)), folder())
}

#[test]
fn a_record_is_read_when_all_of_it_is_there() {
    let first = samples(0, 100_000);
    let second = samples(1, 640);
    let bytes = segment_of(&[
        (0, &Entry::Opened(OPENED)),
        (1, &sound(0, &first)),
        (2, &sound(1, &second)),
    ]);
    let disk = disk_of(&[(1, Vec::new())]);
    let file = disk.open_to_write(&segment_path(1)).unwrap();
    let mut reader = Reader::open(Arc::new(disk), folder());
    let mut found = Vec::new();
    for end in [
        0,
        10,
        39,
        40,
        70_000,
        100_067,
        100_068,
        100_069,
        100_100,
        bytes.len() - 1,
        bytes.len(),
    ] {
        file.write_at(&bytes[..end], 0).unwrap();
        found.extend(read(&mut reader).into_iter().map(|place| (end, place)));
    }
    assert_eq!(found, [(100_068, 0), (bytes.len(), 1)]);
    assert_eq!(reader.holes(), 0);
}

#[test]
fn what_was_half_written_and_cut_off_again_is_read_as_it_became() {
    let disk = disk_of(&[(1, segment_of(&[(0, &Entry::Opened(OPENED))]))]);
    let file = disk.open_to_write(&segment_path(1)).unwrap();
    let at = file.size().unwrap();
    let mut reader = Reader::open(Arc::new(disk), folder());
    let sounds = [samples(0, 640), samples(1, 640)];
    let records = segment_of(&[(1, &sound(0, &sounds[0])), (2, &sound(1, &sounds[1]))]);
    file.write_at(&records[..1_000], at).unwrap();
    assert_eq!(read(&mut reader), [0]);
    file.set_size(at).unwrap();
    assert_eq!(read(&mut reader), [0; 0]);
    file.write_at(&records, at).unwrap();
    assert_eq!(read(&mut reader), [1]);
}

#[test]
fn a_hole_is_counted_and_what_is_behind_it_read() {
    let sounds: Vec<_> = (0..9).map(|place| samples(place, 100)).collect();
    let record = |place: usize| (place as u64 + 1, sound(place as u64, &sounds[place]));
    let opened = Entry::Opened(OPENED);
    let segment = |places: &[usize]| {
        let mut bytes = segment_of(&[(0, &opened)]);
        for &place in places {
            let (number, entry) = record(place);
            entry.put(&mut bytes, number);
        }
        bytes
    };
    let mut reader = reader_of(&[
        (1, segment(&[0, 1])),
        (2, segment(&[1, 2])),
        (4, segment(&[5, 6])),
    ]);
    assert_eq!(read(&mut reader), [0, 1, 2, 5, 6]);
    assert_eq!(reader.holes(), 1);

    // Damage in the first segment: the second brings again what it hides, the third does not.
    let mut damaged = segment(&[0, 1, 2, 3]);
    let at = damaged.len() - 2 * segment_of(&[(1, &record(2).1)]).len() - 50;
    damaged[at] ^= 1;
    let mut reader = reader_of(&[(1, damaged.clone()), (2, segment(&[1, 2, 3, 4]))]);
    assert_eq!(read(&mut reader), [0, 1, 2, 3, 4]);
    assert_eq!(reader.holes(), 0);
    let mut reader = reader_of(&[(1, damaged.clone()), (2, segment(&[4]))]);
    assert_eq!(read(&mut reader), [0, 2, 3, 4]);
    assert_eq!(reader.holes(), 1);

    // As long as it is not known what the next segment brings, it is waited for.
    let disk = disk_of(&[(1, damaged.clone()), (2, segment(&[]))]);
    let second = disk.open_to_write(&segment_path(2)).unwrap();
    let mut reader = Reader::open(Arc::new(disk.clone()), folder());
    assert_eq!(read(&mut reader), [0]);
    second.write_at(&segment(&[1, 2, 3]), 0).unwrap();
    assert_eq!(read(&mut reader), [1, 2, 3]);

    // The last segment's damage may be a write that is under way, until its writer is gone.
    let mut reader = reader_of(&[(1, damaged)]);
    assert_eq!(read(&mut reader), [0]);
    reader.writer_is_gone();
    assert_eq!(read(&mut reader), [2, 3]);
    assert_eq!(reader.holes(), 1);
    assert_eq!(read(&mut reader), [0; 0]);
}

#[test]
fn zeros_and_rubbish_behind_the_last_record_are_its_end() {
    let whole = segment_of(&[(0, &Entry::Opened(OPENED)), (1, &sound(0, b""))]);
    for rest in [vec![0; 100_000], samples(9, 200_000), vec![0xff; 40]] {
        let bytes = [&whole[..], &rest].concat();
        let mut reader = reader_of(&[(1, bytes)]);
        assert_eq!(read(&mut reader), [0]);
        reader.writer_is_gone();
        assert_eq!(read(&mut reader), [0; 0]);
    }
}

#[test]
fn what_a_journal_is_of_is_told_by_any_segment_that_can() {
    let opened = segment_of(&[(0, &Entry::Opened(OPENED))]);
    let rubbish = samples(1, 64);
    let told = |segments: &[(u32, Vec<u8>)]| Reader::opened_of(&disk_of(segments), folder()).unwrap();
    assert_eq!(told(&[]), None);
    assert_eq!(told(&[(1, rubbish.clone())]), None);
    assert_eq!(told(&[(1, opened.clone())]).as_deref(), Some(OPENED));
    assert_eq!(told(&[(1, rubbish), (3, opened)]).as_deref(), Some(OPENED));
    assert!(Reader::opened_of(&disk_of(&[]), Path::new("/nowhere")).is_err());
}

#[test]
fn a_segment_the_disk_will_not_give_is_left_for_the_next_one_if_there_is_one() {
    let sounds = [samples(0, 640), samples(1, 640)];
    let opened = Entry::Opened(OPENED);
    let first = segment_of(&[(0, &opened), (1, &sound(0, &sounds[0]))]);
    let second = segment_of(&[(0, &opened), (2, &sound(1, &sounds[1]))]);

    let disk = disk_of(&[(1, first.clone())]);
    let mut reader = Reader::open(Arc::new(disk.clone()), folder());
    disk.fail_read(1);
    assert!(reader.next().is_err());
    assert_eq!(read(&mut reader), [0], "it can be tried again");

    let disk = disk_of(&[(1, first), (2, second)]);
    let mut reader = Reader::open(Arc::new(disk.clone()), folder());
    disk.fail_reads();
    assert!(reader.next().is_err());
    disk.fail_read(0);
    assert_eq!(read(&mut reader), [1]);
    assert_eq!((reader.unreadable(), reader.holes()), (1, 1));
}

#[test]
fn an_entry_of_an_unknown_kind_is_passed_over() {
    let mut bytes = segment_of(&[(0, &Entry::Opened(OPENED))]);
    frame::put(&mut bytes, 1, 99, &[b"of a later version"]);
    frame::put(&mut bytes, 2, 2, &[b"too short"]);
    sound(0, b"").put(&mut bytes, 3);
    let mut reader = reader_of(&[(1, bytes)]);
    assert_eq!(read(&mut reader), [0]);
    assert_eq!((reader.holes(), reader.unknown()), (0, 2));
}
