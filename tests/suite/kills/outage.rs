//! The object store is gone while rooms record.

use std::thread;
use std::time::Duration;

use mixminus::record::TAP_RING_BYTES;
use serde_json::json;

use super::callers::Callers;
use super::delivered::delivered;
use super::site::{BUCKET, Daemon, Site, recording_of, until};

fn to_bucket(daemon: &Daemon, room: &str, format: &str) -> String {
    daemon.record(
        room,
        &json!({ "destinationUrl": format!("s3://{BUCKET}/{room}.{format}"), "format": format }),
    )
}

#[test]
fn without_its_store_a_daemon_records_on_says_so_and_delivers_when_it_is_back() {
    let (site, callers) = (Site::new(), Callers::new());
    let daemon = site.start();
    let rooms = ["a", "b", "c", "d", "e"];
    rooms.iter().for_each(|room| callers.seat(&daemon, room, room));
    let early: Vec<_> = rooms[..2]
        .iter()
        .map(|room| to_bucket(&daemon, room, "wav"))
        .collect();
    site.proxy.close(true);
    let late: Vec<_> = rooms[2..4]
        .iter()
        .map(|room| to_bucket(&daemon, room, "ogg"))
        .collect();
    thread::sleep(Duration::from_millis(600));
    daemon.delete(&recording_of("a")).json(200);
    // The last leg out ends it as well.
    daemon.delete("/v1/conferences/id/c").empty(204);
    for id in [&early[0], &late[0]] {
        let hindered = until("what is in the way is told", || {
            let status = daemon.recording(id);
            (status["state"] == "uploading" && status["error"].is_string()).then_some(status)
        });
        let error = hindered["error"].as_str().unwrap();
        let key = hindered["key"].as_str().unwrap();
        assert!(error.starts_with(key), "it names the object: {error}");
    }
    for id in [&early[1], &late[1]] {
        assert_eq!(daemon.recording(id)["state"], "recording");
    }
    let before = callers.received();
    until("calls go on", || (callers.received() > before + 20).then_some(()));
    let another = to_bucket(&daemon, "e", "flac");
    assert_eq!(site.store.keys(BUCKET).unwrap(), [""; 0]);

    site.proxy.close(false);
    for room in ["b", "d", "e"] {
        daemon.delete(&recording_of(room)).json(200);
    }
    let ids: Vec<_> = early.iter().chain(&late).chain([&another]).collect();
    let mut keys = Vec::new();
    for id in ids {
        let status = daemon.wait_until_available(id);
        assert!(status["error"].is_null(), "{status}");
        let delivered = delivered(&site, &status);
        assert_eq!(
            (&delivered.receipt["truncated"], &delivered.receipt["gapSamples"]),
            (&json!(false), &json!(0)),
            "{status}"
        );
        keys.extend(delivered.keys);
    }
    keys.sort();
    assert_eq!(site.store.keys(BUCKET).unwrap(), keys);
}

#[test]
fn a_hundred_recordings_take_a_quarter_of_a_mebibyte_each_while_the_store_is_away() {
    const RECORDINGS: u64 = 100;
    let (site, callers) = (Site::new(), Callers::new());
    site.proxy.close(true);
    let daemon = site.start();
    let rooms: Vec<_> = (0..RECORDINGS).map(|number| format!("room-{number}")).collect();
    rooms.iter().for_each(|room| callers.seat(&daemon, room, room));
    // One recording shows what comes with the first: client, threads, certificates.
    callers.seat(&daemon, "first", "first");
    to_bucket(&daemon, "first", "wav");
    daemon.delete(&recording_of("first")).json(200);
    thread::sleep(Duration::from_secs(1));
    let before = daemon.memory();
    let ids: Vec<_> = (rooms.iter().zip(0..))
        .map(|(room, number)| to_bucket(&daemon, room, ["wav", "wav", "flac", "ogg"][number % 4]))
        .collect();
    // A recorder that was late has let more of the rings be written to: they are the engine's, however many record.
    thread::sleep(Duration::from_secs(6));
    let running = daemon.memory();
    rooms
        .iter()
        .for_each(|room| drop(daemon.delete(&recording_of(room)).json(200)));
    ids.iter()
        .for_each(|id| drop(daemon.wait_for_state(id, "uploading")));
    thread::sleep(Duration::from_secs(1));
    let waiting = daemon.memory();
    let ring = TAP_RING_BYTES as u64;
    let each = |memory: u64| memory.saturating_sub(before + ring) / RECORDINGS / 1_024;
    let (running, waiting) = (each(running), each(waiting));
    println!(
        "each recording takes {running} KiB while it runs and {waiting} KiB while it waits for the store"
    );
    assert!(
        running <= 256 && waiting <= 256,
        "{running} KiB, then {waiting} KiB"
    );
}

#[test]
fn of_two_recordings_that_differ_in_the_ending_each_says_where_in_the_bucket_its_receipt_lies() {
    let (site, callers) = (Site::new(), Callers::new());
    let daemon = site.start();
    let said: Vec<_> = ["wav", "flac"]
        .iter()
        .map(|format| {
            callers.seat(&daemon, format, format);
            let url = format!("s3://{BUCKET}/calls/n.{format}");
            let id = daemon.record(format, &json!({ "destinationUrl": url, "format": format }));
            daemon.delete(&recording_of(format)).json(200);
            (daemon.wait_until_available(&id), id)
        })
        .collect();
    let [(first, first_id), (second, second_id)] = &said[..] else {
        unreachable!("there are two")
    };
    let aside = format!("calls/n~{second_id}.json");
    assert!(first["receiptKey"].is_null(), "{first}");
    assert_eq!(second["receiptKey"], aside, "{second}");
    assert_eq!(second["receipt"]["receiptKey"], aside, "{second}");
    assert_eq!(second["key"], "calls/n.flac", "{second}");
    for (key, id) in [("calls/n.json", first_id), (&aside[..], second_id)] {
        let bytes = std::fs::read(site.store.object(BUCKET, key)).unwrap();
        let receipt: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(receipt["recordingId"], **id, "{key}");
    }
}
