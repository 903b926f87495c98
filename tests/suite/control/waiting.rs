//! Conferences that wait for the leg they begin with, and end with the one that ends them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Events, Served, eventually, offer};
use crate::support::phone::{Phone, listen};
use crate::support::voice::power;

fn body(room: &str, call: &str, more: &Value) -> Value {
    let mut body = json!({ "conferenceId": room, "callId": call, "sdp": offer(5004) });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

fn leg(served: &Served, room: &str, call: &str, more: &Value) -> Value {
    served.post("/v1/legs", &body(room, call, more)).json(201)
}

/// Whether the leg waits, as it is shown in each place.
#[track_caller]
fn waits(served: &Served, room: &str, call: &str) -> bool {
    let leg = served.get(&format!("/v1/legs/{call}")).json(200);
    let conference = served.get(&format!("/v1/conferences/id/{room}")).json(200);
    let participants = conference["participants"].as_array().unwrap();
    let participant = participants.iter().find(|one| one["id"] == call).unwrap();
    assert_eq!(leg["waiting"], participant["waiting"]);
    assert_eq!(json!(leg["waiting"] == false), conference["begun"]);
    leg["waiting"].as_bool().unwrap()
}

#[test]
fn legs_that_do_not_start_a_conference_wait_until_one_that_does_has_come() {
    let served = Served::start(&[]);
    let mut events = Events::open(served.http, "?conferenceId=r", "");
    let guest = json!({ "startOnEnter": false, "moh": "music1" });
    let made = leg(&served, "r", "guest", &guest);
    assert_eq!(
        (&made["waiting"], &made["contributing"], &made["onhold"]),
        (&json!(true), &json!(false), &json!(false))
    );
    let again = served.post("/v1/legs", &body("r", "guest", &guest));
    assert_eq!(again.json(200)["waiting"], true);
    served
        .post("/v1/legs", &body("r", "guest", &json!({ "moh": "music1" })))
        .refused(40900);
    assert_eq!(events.until("leg.joined")["waiting"], true);
    assert!(waits(&served, "r", "guest"));
    leg(&served, "r", "other", &json!({ "startOnEnter": false }));
    assert!(waits(&served, "r", "other"));
    let why = served.get("/v1/explain?from=guest&to=other").json(200);
    let links = why["links"].as_array().unwrap();
    let route = links.iter().find(|link| link["link"] == "route").unwrap();
    assert_eq!(route["ok"], false, "{why}");
    assert!(route["fact"].as_str().unwrap().contains("has not begun"), "{why}");
    // Mute and hold are flags of their own.
    let command = |command: &str| {
        served
            .patch("/v1/conferences/id/r/guest", &json!({ "command": command }))
            .empty(200);
    };
    command("mute");
    command("onhold");
    command("resume");
    command("unmute");
    assert!(waits(&served, "r", "guest"));

    let host = leg(&served, "r", "host", &json!({ "startOnEnter": true }));
    assert_eq!(host["waiting"], false);
    assert!(!waits(&served, "r", "guest") && !waits(&served, "r", "other"));
    while events.until("leg.joined")["callId"] != "other" {}
    let host = events.until("leg.joined");
    assert_eq!(
        (&host["callId"], &host["waiting"]),
        (&json!("host"), &json!(false))
    );
    served.delete("/v1/legs/host").empty(204);
    assert!(!waits(&served, "r", "guest"), "it stays begun");
}

#[test]
fn a_leg_that_moves_waits_or_starts_as_the_other_conference_has_it() {
    let served = Served::start(&[]);
    leg(&served, "r", "host", &json!({}));
    leg(&served, "r", "guest", &json!({ "startOnEnter": false }));
    leg(&served, "lobby", "early", &json!({ "startOnEnter": false }));
    let to = |call: &str, room: &str| {
        let moved = served.patch(&format!("/v1/legs/{call}"), &json!({ "conferenceId": room }));
        moved.json(200)["waiting"].as_bool().unwrap()
    };
    assert!(!waits(&served, "r", "guest"));
    assert!(to("guest", "lobby"), "nobody has started it");
    assert!(!to("guest", "r"), "that one has begun");
    assert!(to("guest", "new"));
    assert!(waits(&served, "lobby", "early"));
    assert!(!to("host", "lobby"));
    assert!(!waits(&served, "lobby", "early"));
}

#[test]
fn a_leg_that_moves_is_told_where_it_comes_with_what_is_in_force_of_it() {
    let served = Served::start(&[]);
    leg(&served, "r", "a", &json!({}));
    let mut events = Events::open(served.http, "?conferenceId=other", "");
    let body = json!({ "conferenceId": "other", "muted": true, "onhold": true });
    served.patch("/v1/legs/a", &body).json(200);
    let joined = events.until("leg.joined");
    assert_eq!(
        (&joined["muted"], &joined["onhold"], &joined["waiting"]),
        (&json!(true), &json!(true), &json!(false))
    );
    served.patch("/v1/legs/a", &json!({ "onhold": false })).json(200);
    assert_eq!(events.next().1["type"], "leg.resumed");
}

/// Ends the conference `r` of a host and two others by what is done to the host, and gives the host's own reason.
fn ended_by(done: impl FnOnce(&Served)) -> String {
    let served = Served::start(&[]);
    let mut events = Events::open(served.http, "?conferenceId=r", "");
    let host = json!({ "endOnExit": true, "endOnMediaTimeout": true });
    for (call, more) in [
        ("a", json!({})),
        ("host", host),
        ("b", json!({ "startOnEnter": false })),
    ] {
        leg(&served, "r", call, &more);
    }
    done(&served);
    let left: Vec<(String, String)> = (0..3)
        .map(|_| events.until("leg.left"))
        .map(|event| ["callId", "reason"].map(|field| event[field].as_str().unwrap().to_owned()))
        .map(|[call, reason]| (call, reason))
        .collect();
    events.until("room.ended");
    served.get("/v1/conferences/id/r").refused(40400);
    assert_eq!(left[0].0, "host");
    assert!(
        left[1..]
            .iter()
            .all(|(call, reason)| call != "host" && reason == "room_ended"),
        "{left:?}"
    );
    left[0].1.clone()
}

#[test]
fn a_conference_ends_with_the_leg_that_ends_it_however_that_leaves() {
    let deleted = |path: &'static str| move |served: &Served| served.delete(path).empty(204);
    assert_eq!(ended_by(deleted("/v1/legs/host")), "ended");
    assert_eq!(ended_by(deleted("/v1/conferences/id/r/host")), "kicked");
    // Moving out is leaving.
    let moves = |served: &Served| {
        let body = json!({ "conferenceId": "elsewhere" });
        assert_eq!(
            served.patch("/v1/legs/host", &body).json(200)["conferenceId"],
            "elsewhere"
        );
        eventually("the others leave", || {
            served.get("/v1/legs").json(200)["total"] == 1
        });
    };
    assert_eq!(ended_by(moves), "moved");
    let falls_silent = |served: &Served| {
        let body = json!({ "mediaTimeoutS": 1 });
        served.patch("/v1/legs/host", &body).json(200);
    };
    assert_eq!(ended_by(falls_silent), "media_timeout");
}

/// What a party hears: runs of music and of silence, `true` for music, each of half a second or more.
fn runs(sound: &[f32]) -> Vec<bool> {
    let mut runs: Vec<bool> = Vec::new();
    for half_second in sound.chunks_exact(4_000) {
        let is_music = power(half_second) > 1e-5;
        let is_pure = is_music || power(half_second) == 0.0;
        if is_pure && runs.last() != Some(&is_music) {
            runs.push(is_music);
        }
    }
    runs
}

#[test]
fn whoever_is_alone_in_a_conference_hears_its_music_each_time_and_so_does_who_waits() {
    let served = Served::start(&[]);
    let mut phone = Phone::bind("127.0.0.1");
    let port = phone.socket.local_addr().unwrap().port();
    let more = json!({ "startOnEnter": false, "moh": "music1", "sdp": offer(port).replace(" 0 8", " 0") });
    let made = leg(&served, "r", "a", &more);
    let to = made["media"]["local"].as_str().unwrap().parse().unwrap();
    phone.speak_to(to, 0.0);
    let sent = || {
        served.get("/v1/legs/a").json(200)["media"]["packetsSent"]
            .as_u64()
            .unwrap()
    };
    let for_a_while = || {
        let until = sent() + 70;
        eventually("1.4 s have passed", || sent() >= until);
    };
    for_a_while();
    leg(&served, "r", "b", &json!({}));
    for_a_while();
    served
        .patch("/v1/conferences/id/r/b", &json!({ "command": "onhold" }))
        .empty(200);
    for_a_while();
    served
        .patch("/v1/conferences/id/r/b", &json!({ "command": "resume" }))
        .empty(200);
    for_a_while();
    served.delete("/v1/legs/b").empty(204);
    for_a_while();
    std::thread::sleep(Duration::from_millis(20));
    let heard = listen(&phone.hang_up());
    assert_eq!(runs(&heard), [true, false, true, false, true]);
}
