//! Seeded courses of writes, syncs and failures, each ended by a loss of power.

use super::*;

/// What a course went through, so that it is known to have been worth it.
#[derive(Default, Debug)]
struct Seen {
    lost_entries: usize,
    failed_syncs: u64,
    segments: usize,
}

#[test]
fn whatever_a_loss_of_power_leaves_all_that_was_synced_is_read_and_nothing_else_than_was_added() {
    let mut seen = Seen::default();
    for seed in 0..3_000 {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| course(seed, &mut seen)))
        {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
    assert!(
        seen.lost_entries > 1_000 && seen.failed_syncs > 1_000 && seen.segments > 5_000,
        "{seen:?}"
    );
}

fn course(seed: u64, seen: &mut Seen) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut desk = Desk::new(random.u64(4_000..100_000));
    let mut reader = desk.reader();
    let mut followed = 0;
    // Of all that was added, how much is written, and how much of that is synced.
    let (mut written, mut synced) = (0, 0);
    for _ in 0..random.usize(5..120) {
        for _ in 0..random.usize(0..4) {
            let bytes = random.usize(0..2_500);
            desk.add(bytes);
        }
        match random.u8(..30) {
            0 => desk.disk.fail_sync(random.u64(1..4)),
            1 => desk.disk.fail_write(random.u64(1..4)),
            2 => desk.disk.fail_creation(1),
            _ => {}
        }
        if desk.journal.write().is_ok() {
            written = desk.added;
        }
        if random.u8(..6) == 0 {
            let failures = desk.group.failures();
            desk.group.round();
            if desk.group.failures() == failures && !desk.journal.segment().is_dead() {
                synced = written;
            }
        }
        if random.u8(..3) == 0 {
            for place in read(&mut reader) {
                assert_eq!(place, followed, "a reader beside it missed something");
                followed += 1;
            }
        }
    }
    let found = desk.shadow.after_power_loss(&mut random);
    let mut reader = Reader::open(Arc::new(found.clone()), folder());
    reader.writer_is_gone();
    let places = read(&mut reader);
    assert!(
        places.is_sorted_by(|a, b| a < b),
        "each once and in order: {places:?}"
    );
    assert!(places.iter().all(|&place| place < desk.added));
    let safe = places.iter().take_while(|&&place| place < synced).count();
    assert_eq!(safe as u64, synced, "what was synced is there: {places:?}");
    assert_eq!(
        Reader::opened_of(&found, folder()).unwrap().as_deref(),
        Some(OPENED)
    );
    seen.lost_entries += usize::try_from(desk.added).unwrap() - places.len();
    seen.failed_syncs += desk.group.failures();
    seen.segments += desk.segments().len();
}

#[test]
fn one_bit_costs_one_record_wherever_it_is() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut desk = Desk::new(20_000);
        for _ in 0..60 {
            desk.add(random.usize(0..2_000));
            desk.journal.sync().expect("synced");
        }
        let segments = desk.segments();
        assert!(segments.len() > 2);
        let path = segment_path(segments[random.usize(..segments.len())]);
        let bits = 8 * desk.shadow.open(&path).unwrap().size().unwrap() as usize;
        desk.shadow.flip(&path, random.usize(..bits));
        let mut reader = desk.reader();
        reader.writer_is_gone();
        let places = read(&mut reader);
        assert!(places.is_sorted_by(|a, b| a < b));
        assert!(places.len() as u64 + 1 >= desk.added, "seed {seed}: {places:?}");
        assert!(reader.holes() <= 1);
        assert!(Reader::opened_of(&desk.shadow, folder()).unwrap().is_some());
    }
}
