//! A daemon that is told to end while rooms talk.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::program::{Process, leg};
use crate::support::http::{Events, send};

/// How soon after SIGTERM nobody may find the daemon ready.
const NOT_READY_WITHIN: Duration = Duration::from_millis(100);

/// A machine that is busy with other tests may itself hold the daemon up for longer: one of so many is prompt.
const TRIES: usize = 20;

/// From the signal to the first answer that says so.
fn time_until_not_ready(process: &Process) -> Duration {
    let told = Instant::now();
    process.signal("TERM");
    while process.status("GET", "/readyz", &Value::Null) != 503 {
        assert!(told.elapsed() < Duration::from_secs(60), "it stays ready");
    }
    told.elapsed()
}

/// Fault row S5.
#[test]
fn within_100_ms_of_sigterm_the_daemon_is_not_ready() {
    let mut times = Vec::new();
    while times.len() < TRIES {
        let process = Process::start(&[]);
        assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
        assert_eq!(process.status("GET", "/readyz", &Value::Null), 200);
        times.push(time_until_not_ready(&process));
        if times.last() < Some(&NOT_READY_WITHIN) {
            println!("not ready after {times:?}");
            return;
        }
    }
    panic!("never within {NOT_READY_WITHIN:?}: {times:?}");
}

fn listed(http: SocketAddr, path: &str, of: &str) -> usize {
    send(http, "GET", path, &[], b"").json(200)[of]
        .as_array()
        .unwrap()
        .len()
}

/// Fault row S5.
#[test]
fn while_it_drains_what_is_there_goes_on_and_nothing_else_begins() {
    let mut process = Process::start(&[]);
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    time_until_not_ready(&process);
    // A leg may come into a room that is there; no room is made, neither by a new leg nor by one that moves.
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "b")), 201);
    assert_eq!(process.status("POST", "/v1/legs", &leg("other", "c")), 503);
    let away = json!({ "conferenceId": "other" });
    assert_eq!(process.status("PATCH", "/v1/legs/b", &away), 503);
    assert_eq!(
        process.status("PATCH", "/v1/legs/b", &json!({ "muted": true })),
        200
    );
    assert_eq!(process.status("GET", "/healthz", &Value::Null), 200);
    assert_eq!(listed(process.http, "/v1/legs", "legs"), 2);
    assert_eq!(listed(process.http, "/v1/conferences", "conferences"), 1);
    assert_eq!(process.status("DELETE", "/v1/legs/a", &Value::Null), 204);
    assert_eq!(listed(process.http, "/v1/legs", "legs"), 1);
    assert_eq!(process.status("DELETE", "/v1/legs/b", &Value::Null), 204);
    assert_eq!(process.ended().0, Some(0), "with its last room it ends");
}

/// Fault row S5.
#[test]
fn the_deadline_ends_rooms_with_their_events_told_and_their_recordings_closed() {
    let mut process = Process::start(&["drain.deadline_s=1"]);
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    let options = json!({ "destinationUrl": "file://call.wav" });
    let route = "/v1/conferences/id/r/recording";
    assert_eq!(process.status("POST", route, &options), 201);
    let mut events = Events::open(process.http, "?after=0", "");
    let told = Instant::now();
    process.signal("TERM");
    assert_eq!(events.until("leg.left")["reason"], "shutdown");
    assert!(
        told.elapsed() >= Duration::from_secs(1),
        "not before the deadline"
    );
    events.until("room.ended");
    events.until("recording.finished");
    let available = events.until("recording.available");
    assert_eq!(available["destination"], "file://call.wav");
    assert_eq!(process.ended().0, Some(0));
    let recordings = process.dir.join("recordings");
    let wav = std::fs::read(recordings.join("call.wav")).unwrap();
    let sizes: [u8; 4] = wav[40..44].try_into().unwrap();
    assert_eq!(
        u32::from_le_bytes(sizes) as usize,
        wav.len() - 44,
        "its header says its length"
    );
    let receipt = std::fs::read(recordings.join("call.json")).unwrap();
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    assert!(receipt["samples"].as_u64().unwrap() > 8_000, "{receipt}");
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_logged_whole() {
    let mut process = Process::start(&["log.per_s=3"]);
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    time_until_not_ready(&process);
    let suppressed = || {
        let page = send(process.http, "GET", "/metrics", &[], b"").text();
        let series = "mixminus_log_lines_suppressed_total ";
        let value = page.lines().find_map(|line| line.strip_prefix(series)).unwrap();
        value.parse::<u64>().unwrap()
    };
    let mut asked = 0;
    while suppressed() < 10 {
        assert!(asked < 10_000, "every line is logged");
        assert_eq!(process.status("POST", "/v1/legs", &leg("other", "b")), 503);
        asked += 1;
    }
    assert_eq!(process.status("DELETE", "/v1/legs/a", &Value::Null), 204);
    let (status, log) = process.ended();
    assert_eq!(status, Some(0));
    let logged = log.lines().filter(|line| line.contains("request failed")).count();
    assert!(logged <= asked, "{logged} of {asked} and some more before them");
    assert!(log.contains("lines were held back"), "{log}");
    assert!(log.contains("stopped"), "other places are logged as ever: {log}");
}
