//! Numbers, order, gaps: the log in memory and its readers.

use super::ledger::ROOM_COUNTS_MAX;
use super::*;
use serde_json::json;
use std::time::Duration;

fn happened(room: &str) -> Happening {
    Happening {
        conference: ConferenceId::parse(room).unwrap(),
        call: None,
        kind: "leg.joined",
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
        [(1, "leg.joined"), (2, "leg.joined"), (3, "leg.joined")]
    );
    let of_a = a.take();
    assert_eq!(of_a.iter().map(|message| message.id).collect::<Vec<_>>(), [1, 2]);
    let event: Value = serde_json::from_str(&of_a[1].json).unwrap();
    assert_eq!(event["seq"], 2);
    assert_eq!(event["globalSeq"], 3);
    assert_eq!(event["at"], "2023-11-14T22:13:20.005Z");
    log.append(happened("a"));
    assert_eq!(ids(&mut a), [(3, "leg.joined")]);
    assert_eq!(
        ids(&mut log.reader(room("a"), Some(1))),
        [(2, "leg.joined"), (3, "leg.joined")]
    );
    assert_eq!(ids(&mut log.reader(None, Some(3))), [(4, "leg.joined")]);
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
            (3, "leg.joined"),
            (4, "leg.joined"),
            (5, "leg.joined")
        ]
    );
    assert_eq!(ids(&mut a), [(2, "lost"), (3, "leg.joined")]);
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
        [(0, "lost"), (1, "leg.joined")]
    );
    assert_eq!(
        ids(&mut log.reader(room("a"), Some(99))),
        [(0, "lost"), (1, "leg.joined")]
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
    assert_eq!(ids(&mut reader), [(6, "leg.joined")]);
    assert_eq!(log.lock().ledger.counts.len(), ROOM_COUNTS_MAX);
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
