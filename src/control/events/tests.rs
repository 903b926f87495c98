//! Numbers, order, gaps: the log in memory and its readers.

use super::ledger::ROOM_COUNTS_MAX;
use super::*;
use crate::record::test_disk::{FailingDisk, ShadowDisk};
use serde_json::json;
use std::time::Duration;

fn happened(room: &str) -> Happening {
    Happening {
        conference: ConferenceId::parse(room).unwrap(),
        call: None,
        kind: "leg.talking",
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_005),
        fields: Map::new(),
    }
}

fn ids(reader: &mut Reader) -> Vec<(u64, &'static str)> {
    reader
        .take()
        .iter()
        .map(|message| (message.id, message.kind))
        .collect()
}

fn room(name: &str) -> Option<ConferenceId> {
    Some(ConferenceId::parse(name).unwrap())
}

#[test]
fn numbers_have_no_gap_per_room_nor_over_all() {
    let log = EventLog::in_memory(100);
    let mut all = log.reader(None, None);
    let mut a = log.reader(room("a"), None);
    for name in ["a", "b", "a"] {
        log.append(happened(name));
    }
    assert_eq!(
        ids(&mut all),
        [(1, "leg.talking"), (2, "leg.talking"), (3, "leg.talking")]
    );
    let of_a = a.take();
    assert_eq!(of_a.iter().map(|message| message.id).collect::<Vec<_>>(), [1, 2]);
    let event: Value = serde_json::from_str(&of_a[1].json).unwrap();
    assert_eq!(event["seq"], 2);
    assert_eq!(event["globalSeq"], 3);
    assert_eq!(event["at"], "2023-11-14T22:13:20.005Z");
    log.append(happened("a"));
    assert_eq!(ids(&mut a), [(3, "leg.talking")]);
    assert_eq!(
        ids(&mut log.reader(room("a"), Some(1))),
        [(2, "leg.talking"), (3, "leg.talking")]
    );
    assert_eq!(ids(&mut log.reader(None, Some(3))), [(4, "leg.talking")]);
    assert_eq!(ids(&mut log.reader(room("nobody yet"), None)), []);
}

#[test]
fn a_reader_that_fell_out_of_the_ring_is_told_what_it_missed() {
    let log = EventLog::in_memory(3);
    let mut all = log.reader(None, Some(0));
    let mut a = log.reader(room("a"), Some(0));
    for name in ["a", "a", "b", "a", "b"] {
        log.append(happened(name));
    }
    assert_eq!(
        ids(&mut all),
        [
            (2, "lost"),
            (3, "leg.talking"),
            (4, "leg.talking"),
            (5, "leg.talking")
        ]
    );
    assert_eq!(ids(&mut a), [(2, "lost"), (3, "leg.talking")]);
    let missed: Value = serde_json::from_str(&log.reader(room("a"), Some(1)).take()[0].json).unwrap();
    assert_eq!(missed["missed"], json!({ "from": 2, "to": 2 }));
    assert_eq!((&missed["seq"], &missed["globalSeq"]), (&json!(2), &Value::Null));
    let of_all: Value = serde_json::from_str(&log.reader(None, Some(0)).take()[0].json).unwrap();
    assert_eq!((&of_all["seq"], &of_all["globalSeq"]), (&Value::Null, &json!(2)));
    for _ in 0..3 {
        log.append(happened("b"));
    }
    // Nothing of the room is left in the ring.
    assert_eq!(ids(&mut log.reader(room("a"), Some(1))), [(3, "lost")]);
    assert_eq!(ids(&mut log.reader(room("a"), Some(3))), []);
}

#[test]
fn a_number_of_an_earlier_daemon_begins_again_with_a_word_of_it() {
    let log = EventLog::in_memory(10);
    log.append(happened("a"));
    assert_eq!(
        ids(&mut log.reader(None, Some(99))),
        [(0, "lost"), (1, "leg.talking")]
    );
    assert_eq!(
        ids(&mut log.reader(room("a"), Some(99))),
        [(0, "lost"), (1, "leg.talking")]
    );
}

#[test]
fn a_forgotten_room_never_uses_a_number_twice() {
    let log = EventLog::in_memory(10);
    for _ in 0..5 {
        log.append(happened("old"));
    }
    for number in 0..ROOM_COUNTS_MAX {
        log.append(happened(&number.to_string()));
    }
    let mut reader = log.reader(room("old"), None);
    log.append(happened("old"));
    assert_eq!(ids(&mut reader), [(6, "leg.talking")]);
    assert_eq!(log.lock().log.ledger.counts.len(), ROOM_COUNTS_MAX);
}

#[tokio::test]
async fn a_waiting_reader_wakes() {
    let log = EventLog::in_memory(10);
    let mut reader = log.reader(None, None);
    let writer = log.clone();
    let waiting = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    writer.append(happened("a"));
    assert_eq!(waiting.await.unwrap().len(), 1);
}

/// A log on a disk that can fail.
fn on(disk: &FailingDisk) -> EventLog {
    let dir = Path::new("/events");
    EventLog::open_on(Arc::new(disk.clone()), dir, "boot", 100, 1 << 20, None).unwrap()
}

async fn heard(reader: &mut Reader) -> Vec<Message> {
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, reader.next())
        .await
        .expect("told in time")
}

/// Reads until the event of this number, or a word that it is missing.
async fn heard_until(reader: &mut Reader, id: u64) -> Vec<(u64, &'static str)> {
    let mut all = Vec::new();
    while all.last().is_none_or(|(last, _)| *last < id) {
        all.extend(
            heard(reader)
                .await
                .iter()
                .map(|message| (message.id, message.kind)),
        );
    }
    all
}

#[tokio::test]
async fn a_disk_that_fails_keeps_nobody_waiting_and_the_journal_goes_on_once_it_works_again() {
    let disk = FailingDisk::new(Arc::new(ShadowDisk::default()));
    disk.create_folder(Path::new("/events")).unwrap();
    let log = on(&disk);
    let mut all = log.reader(None, None);
    let failed = |log: &EventLog| log.figures().unwritten[Unwritten::Failed as usize];
    log.append(happened("a"));
    assert_eq!(heard_until(&mut all, 1).await, [(1, "leg.talking")]);
    assert_eq!(failed(&log), 0);
    assert_eq!(log.kept(), 1);
    disk.leave_room(0);
    for number in 2..7 {
        log.append(happened("a"));
        assert_eq!(heard_until(&mut all, number).await, [(number, "leg.talking")]);
    }
    assert_eq!(failed(&log), 5);
    assert_eq!(
        (log.told(), log.kept()),
        (6, 0),
        "who forgets what it told would never tell it"
    );
    disk.leave_room(u64::MAX);
    let mut number = 6;
    loop {
        let before = failed(&log);
        log.append(happened("a"));
        number += 1;
        heard_until(&mut all, number).await;
        if failed(&log) == before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(log.kept(), number);
    log.close();
    log.append(happened("a"));
    assert_eq!(log.newest(), number, "what is closed tells nothing more");
    drop((log, all));

    let log = on(&disk);
    assert!(!log.figures().has_skipped);
    let told = heard_until(&mut log.reader(None, Some(0)), number).await;
    assert_eq!(told[..2], [(1, "leg.talking"), (number - 1, "lost")]);
    assert_eq!(log.reader(None, Some(number)).take(), []);
    assert!(log.newest() >= number);
}

#[tokio::test]
async fn who_comes_back_over_a_restart_reads_on_also_what_memory_never_had() {
    let disk = FailingDisk::new(Arc::new(ShadowDisk::default()));
    disk.create_folder(Path::new("/events")).unwrap();
    for life in 0..3 {
        let log = on(&disk);
        for number in 1..=400 {
            log.append(happened(if number % 2 == 0 { "a" } else { "b" }));
        }
        let newest = 400 * (life + 1);
        let mut all = log.reader(None, Some(7));
        let told = heard_until(&mut all, newest).await;
        assert!(told.iter().map(|(id, _)| *id).eq(8..=newest));
        let mut a = log.reader(room("a"), Some(7));
        let told = heard_until(&mut a, newest / 2).await;
        assert!(told.iter().map(|(id, _)| *id).eq(8..=newest / 2));
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_at_the_start_keeps_nobody_waiting_either() {
    for is_full in [true, false] {
        let disk = FailingDisk::new(Arc::new(ShadowDisk::default()));
        // Nobody has ever made the folder.
        match is_full {
            true => disk.leave_room(0),
            false => disk.make_read_only(true),
        }
        let log = on(&disk);
        let mut all = log.reader(None, None);
        log.append(happened("a"));
        assert_eq!(heard_until(&mut all, 1).await, [(1, "leg.talking")]);
        let failed = |log: &EventLog| log.figures().unwritten[Unwritten::Failed as usize];
        assert_eq!(failed(&log), 1);
        disk.leave_room(u64::MAX);
        disk.make_read_only(false);
        let mut number = 1;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let before = failed(&log);
            log.append(happened("a"));
            number += 1;
            heard_until(&mut all, number).await;
            if failed(&log) == before {
                break;
            }
            assert!(Instant::now() < deadline, "the journal does not begin");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        log.close();
        drop((log, all));
        let log = on(&disk);
        assert!(!log.figures().has_skipped);
        assert_eq!(log.newest(), number);
    }
}

#[tokio::test]
async fn an_outage_of_the_disk_however_long_has_no_number_given_twice() {
    let disk = FailingDisk::new(Arc::new(ShadowDisk::default()));
    disk.create_folder(Path::new("/events")).unwrap();
    let log = on(&disk);
    // The journal cannot go on; the files that are there take what they are given.
    disk.fail_write(1);
    disk.fail_creation(u64::MAX);
    let numbers = |log: &EventLog| {
        let ledger = &log.lock().log.ledger;
        (ledger.newest, ledger.count_of(&room("a").unwrap()))
    };
    let mut all = log.reader(None, None);
    for _ in 0..4 {
        log.append(happened("a"));
        heard_until(&mut all, log.newest()).await;
        // As if so many had happened.
        log.lock().log.ledger.skip(journal::SKIP * 9 / 10);
    }
    log.append(happened("a"));
    heard_until(&mut all, log.newest()).await;
    let told = numbers(&log);
    log.close();
    drop((log, all));
    disk.fail_creation(0);
    let log = on(&disk);
    let next = numbers(&log);
    assert!(
        log.figures().has_skipped && next.0 >= told.0 && next.1 >= told.1,
        "{next:?} after {told:?}"
    );
}

#[test]
fn a_reader_of_a_room_that_never_was_takes_its_first_number_as_it_is() {
    let log = EventLog::in_memory(10);
    log.lock().log.ledger.skip(1_000_000);
    let mut unborn = log.reader(room("a"), Some(0));
    let mut heard_of_it = log.reader(room("a"), Some(3));
    log.append(happened("a"));
    assert_eq!(ids(&mut unborn), [(1_000_001, "leg.talking")]);
    assert_eq!(
        ids(&mut heard_of_it),
        [(1_000_000, "lost"), (1_000_001, "leg.talking")]
    );
}

#[tokio::test]
async fn a_snapshot_waits_until_all_that_it_knows_is_told() {
    let log = EventLog::in_memory(10);
    log.append(happened("a"));
    log.lock().log.number(happened("a"));
    let mut readers = [None, room("a")].map(|of| log.reader_with_snapshot(of, Map::new()));
    for reader in &mut readers {
        let patience = Duration::from_millis(20);
        assert!(tokio::time::timeout(patience, reader.next()).await.is_err());
    }
    log.lock().log.tell(u64::MAX);
    log.inner.core.told.send_replace(2);
    for reader in &mut readers {
        assert_eq!(heard(reader).await[0].id, 2);
    }
}

#[test]
fn what_happens_after_the_end_is_counted() {
    let disk = FailingDisk::new(Arc::new(ShadowDisk::default()));
    disk.create_folder(Path::new("/events")).unwrap();
    let log = on(&disk);
    log.close();
    assert_eq!(log.append(happened("a")), None);
    assert_eq!(log.figures().too_late, 1);
}

#[test]
fn numbers_that_were_skipped_are_known_never_to_have_been() {
    let disk = FailingDisk::new(Arc::new(ShadowDisk::default()));
    disk.create_folder(Path::new("/events")).unwrap();
    let log = on(&disk);
    log.append(happened("a"));
    log.close();
    assert_eq!(log.never_were(1, u64::MAX), 0);
    drop(log);
    let mut mark = journal::Mark::new(Arc::new(disk.clone()), Path::new("/events"));
    mark.set(9).unwrap();
    let log = on(&disk);
    assert!(log.figures().has_skipped);
    assert_eq!(log.never_were(1, 1), 0);
    assert_eq!(log.never_were(1, 2), 1);
    assert_eq!(log.never_were(1, log.newest() + 9), log.newest() - 1);
    assert_eq!(log.never_were(log.newest() + 1, log.newest() + 9), 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_had_at_first_is_locked_once_it_can_and_as_long_as_the_log_is_there() {
    let dir = std::env::temp_dir().join(format!("mixminus-events-late-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let begin = |lock| EventLog::open_on(disk.clone(), &dir, "boot", 100, 1 << 20, lock).unwrap();
    // A file is in its place.
    std::fs::write(&dir, "").unwrap();
    assert!(Lock::of(&dir).hold().is_err());
    std::fs::remove_file(&dir).unwrap();
    let lock = Arc::new(Lock::of(&dir));
    lock.hold().unwrap();
    lock.hold().unwrap();
    let log = begin(Some(Arc::clone(&lock)));
    assert_eq!(
        Lock::of(&dir).hold().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop((log, lock));
    Lock::of(&dir).hold().unwrap();
    let _ = std::fs::remove_dir_all(dir);
}
