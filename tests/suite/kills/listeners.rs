//! Those who listen to events while daemons are killed: numbers go on, nothing is told twice, and whoever joined leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::callers::Callers;
use super::chance;
use super::site::{BUCKET, Daemon, Site, recording_of, until};
use crate::support::http::{Events, send};

/// Who reads all events over all lives.
#[derive(Default)]
struct Listener {
    last: u64,
    present: BTreeSet<(String, String)>,
    rooms: BTreeSet<String>,
    /// What was told of each recording.
    recordings: BTreeMap<String, Vec<String>>,
}

impl Listener {
    /// Reads on from where it was until the daemon is gone, or until `is_enough`.
    fn listen(&mut self, http: SocketAddr, is_enough: impl Fn(&Listener, &Value) -> bool) {
        let mut events = Events::open(http, &format!("?after={}", self.last), "");
        while let Some((id, event)) = events.next_if_any() {
            self.hear(id, &event);
            if is_enough(self, &event) {
                return;
            }
        }
    }

    fn hear(&mut self, id: u64, event: &Value) {
        assert_eq!(
            (id, event["globalSeq"].as_u64()),
            (self.last + 1, Some(id)),
            "{event}"
        );
        assert!(event.get("missed").is_none(), "{event}");
        self.last = id;
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let (room, leg) = (text("conferenceId"), (text("conferenceId"), text("callId")));
        match text("type").as_str() {
            "room.started" => assert!(self.rooms.insert(room), "{event}"),
            "room.ended" => assert!(self.rooms.remove(&room), "{event}"),
            "leg.joined" => assert!(self.present.insert(leg), "{event}"),
            "leg.left" => assert!(self.present.remove(&leg), "{event}"),
            "lost" => {
                let legs: Vec<String> = serde_json::from_value(event["legs"].clone()).unwrap();
                let all = legs
                    .iter()
                    .all(|call| self.present.contains(&(room.clone(), call.clone())));
                assert!(all && self.rooms.contains(&room), "{event}");
            }
            kind => {
                if let Some(of_recording) = kind.strip_prefix("recording.") {
                    let told = self.recordings.entry(text("recordingId")).or_default();
                    told.push(of_recording.to_owned());
                }
            }
        }
    }

    fn last_of(&self, recording: &str) -> Option<&str> {
        self.recordings.get(recording)?.last().map(String::as_str)
    }
}

/// A leg without media, with something to echo.
fn seat(daemon: &Daemon, room: &str, call: &str) {
    let body = json!({ "conferenceId": room, "callId": call, "custom": { "of": call } });
    daemon.post("/v1/legs", &body).json(201);
}

#[test]
fn what_was_alive_at_a_kill_is_told_as_lost_and_numbers_go_on() {
    let site = Site::new();
    let daemon = site.start();
    let mut listener = Listener::default();
    for (room, call) in [("r", "a"), ("r", "b"), ("s", "c")] {
        seat(&daemon, room, call);
    }
    listener.listen(daemon.http, |listener, _| listener.present.len() == 3);
    let of_room_before = 3;
    daemon.kill();

    let daemon = site.start();
    let mut of_room = Events::open(
        daemon.http,
        &format!("?conferenceId=r&after={of_room_before}"),
        "",
    );
    let told: Vec<Value> = (0..4).map(|_| of_room.next().1).collect();
    let of = |field: &str| -> Vec<&Value> { told.iter().map(|event| &event[field]).collect() };
    assert_eq!(of("type"), ["lost", "leg.left", "leg.left", "room.ended"]);
    assert_eq!(of("seq"), [4, 5, 6, 7]);
    assert_eq!(told[0]["legs"], json!(["a", "b"]));
    for event in &told[1..] {
        assert_eq!(event["reason"], "lost");
    }
    assert_eq!(told[1]["custom"], json!({ "of": "a" }));
    assert!(told[1]["report"]["from"].is_string() && told[1]["report"]["to"].is_string());
    listener.listen(daemon.http, |listener, _| listener.rooms.is_empty());
    assert!(listener.present.is_empty());
    // What was told before the kill is still there for those who come late.
    assert_eq!(Events::open(daemon.http, "?after=0", "").next().0, 1);
    // A room reborn goes on counting.
    seat(&daemon, "r", "a");
    assert_eq!(of_room.next(), {
        let mut again = Events::open(daemon.http, "?conferenceId=r&after=7", "");
        let (id, event) = again.next();
        assert_eq!((id, &event["type"]), (8, &json!("room.started")));
        (id, event)
    });

    // After an end in order nothing was lost.
    listener.listen(daemon.http, |listener, _| listener.present.len() == 1);
    send(daemon.http, "DELETE", "/v1/conferences/id/r", &[], b"").empty(204);
    listener.listen(daemon.http, |listener, _| listener.rooms.is_empty());
    daemon.stop();
    let daemon = site.start();
    seat(&daemon, "t", "d");
    let before = listener.last;
    listener.listen(daemon.http, |_, event| event["type"] == "leg.joined");
    assert_eq!(
        listener.last,
        before + 2,
        "the room and its leg, and no word of what was"
    );
}

#[test]
fn who_listens_over_kills_at_any_moment_hears_each_event_once_and_every_join_has_its_leave() {
    let mut rng = chance("listeners");
    let site = Site::new();
    let mut listener = Listener::default();
    for round in 0..6 {
        let daemon = site.start();
        let http = daemon.http;
        let seed = rng.u64(..);
        let busy = std::thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            for number in 0.. {
                let (room, call) = (rng.u8(0..3), rng.u8(0..6));
                let (method, path, body) = match rng.u8(0..4) {
                    0 | 1 => {
                        let body =
                            json!({ "conferenceId": format!("r{room}"), "callId": format!("c{call}") });
                        ("POST", "/v1/legs".to_owned(), body)
                    }
                    2 => {
                        let muted = json!({ "muted": number % 2 == 0 });
                        ("PATCH", format!("/v1/legs/c{call}"), muted)
                    }
                    _ => ("DELETE", format!("/v1/legs/c{call}"), json!({})),
                };
                let asked =
                    std::panic::catch_unwind(|| send(http, method, &path, &[], body.to_string().as_bytes()));
                if asked.is_err() {
                    // The daemon was killed.
                    return;
                }
            }
        });
        // Killed while it is listened to, or some time after.
        let until_end = rng.bool();
        let enough = listener.last + rng.u64(5..150);
        let wait = Duration::from_millis(rng.u64(50..600));
        if until_end {
            let killer = std::thread::spawn(move || {
                std::thread::sleep(wait);
                daemon.kill();
            });
            listener.listen(http, |_, _| false);
            killer.join().unwrap();
        } else {
            listener.listen(http, |listener, _| listener.last >= enough);
            daemon.kill();
        }
        println!("round {round}: {} events", listener.last);
        busy.join().unwrap();
    }
    let daemon = site.start();
    listener.listen(daemon.http, |listener, _| listener.rooms.is_empty());
    assert!(listener.present.is_empty());
}

#[test]
fn that_a_recording_is_over_is_told_once_over_ends_in_order_kills_and_recovery_by_hand() {
    let (site, callers) = (Site::new(), Callers::new());
    let mut listener = Listener::default();
    site.proxy.close(true);
    let daemon = site.start();
    let begin = |room: &str| {
        callers.seat(&daemon, room, room);
        let url = format!("s3://{BUCKET}/{room}.wav");
        let id = daemon.record(room, &json!({ "destinationUrl": url }));
        until("it has sound", || {
            (daemon.recording(&id)["bytes"].as_u64() > Some(16_000)).then_some(())
        });
        id
    };
    let (over, killed) = (begin("over"), begin("killed"));
    daemon.delete(&recording_of("over")).json(200);
    daemon.wait_for_state(&over, "uploading");
    listener.listen(daemon.http, |listener, _| {
        listener.last_of(&over) == Some("finished")
    });
    let mark = site.recordings().join(".spool").join(&over).join("finished.told");
    until("it is noted that it was told", || mark.exists().then_some(()));
    daemon.kill();

    // Told by the next life, which ends in order, that of the one that was killed; nothing by the one after that.
    for room in ["first", "second"] {
        let daemon = site.start();
        seat(&daemon, room, room);
        daemon.delete(&format!("/v1/conferences/id/{room}")).empty(204);
        listener.listen(daemon.http, |listener, _| {
            listener.rooms.is_empty() && listener.last_of(&killed) == Some("finished")
        });
        daemon.stop();
    }
    let told = |listener: &Listener, id: &str| listener.recordings[id].join(", ");
    assert_eq!(told(&listener, &over), "started, finished");
    assert_eq!(told(&listener, &killed), "started, finished");

    // Begun and killed, then delivered where nobody listens.
    let daemon = site.start();
    callers.seat(&daemon, "again", "again");
    let url = format!("s3://{BUCKET}/again.wav");
    let by_hand = daemon.record("again", &json!({ "destinationUrl": url }));
    until("it has sound", || {
        (daemon.recording(&by_hand)["bytes"].as_u64() > Some(16_000)).then_some(())
    });
    listener.listen(daemon.http, |listener, _| {
        listener.last_of(&by_hand) == Some("started")
    });
    daemon.kill();
    site.proxy.close(false);
    assert!(site.by_hand("recover").status.success());
    let daemon = site.start();
    let all = [&over, &killed, &by_hand];
    listener.listen(daemon.http, |listener, _| {
        all.iter().all(|id| listener.last_of(id) == Some("available"))
    });
    for id in all {
        assert_eq!(told(&listener, id), "started, finished, available");
    }
}
