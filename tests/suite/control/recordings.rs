//! Recordings of rooms over HTTP.

use mixminus::demo::ObjectStore;
use serde_json::{Value, json};

use crate::support::http::{Events, Served, eventually, offer, place_of_its_own, send};

const ROUTE: &str = "/v1/conferences/id/r/recording";

#[test]
fn a_recording_is_started_once_paused_stopped_and_fetched() {
    let served = Served::start(&[]);
    served.post(ROUTE, &json!({})).refused(40400);
    served.leg("r", "a");
    served.delete(ROUTE).refused(40400);
    let mut events = Events::open(served.http, "?conferenceId=r&after=0", "");
    events.until("leg.joined");
    let options =
        json!({ "destinationUrl": "file://folder/talk", "sampleRate": 8000, "transcriptionOptions": {} });
    let started = served.post(ROUTE, &options).json(201);
    assert_eq!(
        (&started["state"], &started["key"]),
        (&json!("recording"), &json!("folder/talk.wav"))
    );
    assert_eq!(started["notes"].as_array().unwrap().len(), 1);
    let id = started["recordingId"].as_str().unwrap().to_owned();
    assert_eq!(
        served.post(ROUTE, &json!({})).json(200)["recordingId"],
        id.as_str()
    );
    assert_eq!(
        served.get("/v1/conferences").json(200)["conferences"][0]["recording"],
        id.as_str()
    );
    served
        .patch("/v1/conferences/id/r/a", &json!({ "command": "mute" }))
        .empty(200);
    for (command, paused) in [("pause", true), ("pause", true), ("resume", false)] {
        assert_eq!(
            served.patch(ROUTE, &json!({ "command": command })).json(200)["paused"],
            paused
        );
    }
    served
        .patch(ROUTE, &json!({ "command": "rewind" }))
        .refused(40001);
    served.patch(ROUTE, &json!({})).refused(40002);
    eventually("sound is in the file", || {
        served.get(&format!("/v1/recordings/{id}")).json(200)["bytes"] != 44
    });
    served
        .patch("/v1/conferences/id/r/a", &json!({ "command": "unmute" }))
        .empty(200);
    let shown = || {
        served.get(&format!("/v1/recordings/{id}")).json(200)["bytes"]
            .as_u64()
            .unwrap()
    };
    let before = shown();
    eventually("sound goes on", || shown() > before + 1_000);
    assert_eq!(served.delete(ROUTE).json(200)["recordingId"], id.as_str());
    served.delete(ROUTE).refused(40400);
    // What was paused already is not told again.
    for kind in ["recording.started", "recording.paused", "recording.resumed"] {
        assert_eq!(events.until_of("recording.")["type"], kind);
    }
    let available = events.until("recording.available");
    assert_eq!(available["recordingId"], id.as_str());
    assert_eq!(available["destination"], "file://folder/talk.wav");

    let one = served.get(&format!("/v1/recordings/{id}")).json(200);
    assert_eq!(one["state"], "available");
    let receipt = &one["receipt"];
    assert_eq!(receipt["rate"], 8000);
    assert_eq!(receipt["attendance"][0]["callId"], "a");
    let muted = receipt["attendance"][0]["muted"].as_array().unwrap();
    assert_eq!(muted.len(), 1);
    assert!(
        muted[0]["from"].is_string() && muted[0]["to"].is_string(),
        "{muted:?}"
    );
    assert_eq!(receipt["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(served.get("/v1/recordings").json(200)["total"], 1);

    let path = format!("/v1/recordings/{id}/audio");
    let whole = served.get(&path);
    assert_eq!(
        (whole.status, whole.header("content-type")),
        (200, Some("audio/wav"))
    );
    assert_eq!(whole.bytes.len() as u64, receipt["bytes"].as_u64().unwrap());
    assert_eq!(&whole.bytes[..4], b"RIFF");
    let part = send(served.http, "GET", &path, &[("range", "bytes=4-43")], b"");
    assert_eq!((part.status, part.bytes.as_slice()), (206, &whole.bytes[4..44]));
    let total = whole.bytes.len();
    assert_eq!(
        part.header("content-range").unwrap(),
        format!("bytes 4-43/{total}")
    );
    let beyond = send(served.http, "GET", &path, &[("range", "bytes=999999999-")], b"");
    beyond.refused(41600);
    assert_eq!(
        beyond.header("content-range").unwrap(),
        format!("bytes */{total}")
    );
    let head = send(served.http, "HEAD", &path, &[], b"");
    assert_eq!(head.status, 200);
}

#[test]
fn the_last_leg_out_ends_the_recording() {
    let served = Served::start(&[]);
    let mut events = Events::open(served.http, "", "");
    let body = json!({
        "conferenceId": "r", "callId": "a", "sdp": offer(5004), "record": true,
        "recordingOptions": { "destination": "file://whole.wav" },
    });
    served.post("/v1/legs", &body).json(201);
    let started = events.until("recording.started");
    // One recording a room: the next leg that asks for one joins it.
    let second = json!({ "conferenceId": "r", "callId": "b", "sdp": offer(5004), "record": true });
    served.post("/v1/legs", &second).json(201);
    assert_eq!(served.get("/v1/recordings").json(200)["total"], 1);
    served.delete("/v1/conferences/id/r").empty(204);
    assert_eq!(
        events.until("recording.finished")["recordingId"],
        started["recordingId"]
    );
    let available = events.until("recording.available");
    let attendance = available["receipt"]["attendance"].as_array().unwrap();
    let calls: Vec<&Value> = attendance.iter().map(|stay| &stay["callId"]).collect();
    assert_eq!(calls, ["a", "b"]);
    assert!(
        attendance.iter().all(|stay| stay["to"].is_string()),
        "{attendance:?}"
    );
}

/// Fault row C8.
#[test]
fn what_cannot_be_recorded_is_refused_by_name() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    for (options, field) in [
        (json!({ "destinationUrl": "s3://bucket/key" }), "destinationUrl"),
        (json!({ "destinationUrl": "file:///etc/x" }), "destinationUrl"),
        (json!({ "destinationUrl": "file://../x" }), "destinationUrl"),
        (json!({ "format": "mp3" }), "format"),
        (json!({ "tracks": "legs" }), "tracks"),
        (json!({ "sampleRate": 44100 }), "sampleRate"),
        (json!({ "quality": 1 }), "quality"),
    ] {
        let message = served.post(ROUTE, &options).refused(40001);
        assert!(message.contains(field), "{message}");
    }
    let named = served.post(ROUTE, &json!({ "format": "mp3" })).refused(40001);
    assert!(named.starts_with("`format`"), "{named}");
    assert_eq!(served.get("/v1/recordings").json(200)["total"], 0);
}

#[test]
fn a_destination_below_a_file_is_refused_and_so_is_the_leg_that_wanted_it() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    served
        .post(ROUTE, &json!({ "destinationUrl": "file://talk.wav" }))
        .json(201);
    served.delete(ROUTE).json(200);
    for below in ["file://talk.wav/x", "file://talk.wav/x/y"] {
        let options = json!({ "destinationUrl": below });
        let message = served.post(ROUTE, &options).refused(40001);
        assert!(message.starts_with("`destinationUrl`"), "{message}");
        let body = json!({ "conferenceId": "s", "record": true, "recordingOptions": options });
        served.post("/v1/legs", &body).refused(40001);
    }
    assert_eq!(served.get("/v1/legs").json(200)["total"], 1);
}

#[test]
fn what_a_recording_with_a_leg_ignores_stands_in_the_reply() {
    let served = Served::start(&[]);
    let body = json!({
        "conferenceId": "r", "sdp": offer(5004), "record": true,
        "recordingOptions": { "transcriptionOptions": {} },
    });
    let leg = served.post("/v1/legs", &body).json(201);
    let last = leg["negotiation"].as_array().unwrap().last().unwrap();
    assert!(last.as_str().unwrap().contains("`transcriptionOptions`"), "{leg}");
}

#[test]
fn what_one_leg_is_sent_is_recorded_beside_the_room_until_it_leaves() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    served.leg("r", "b");
    let of_leg = "/v1/legs/a/recording";
    served.delete(of_leg).refused(40400);
    served
        .post("/v1/legs/nobody/recording", &json!({}))
        .refused(40400);
    served
        .post(of_leg, &json!({ "tracks": "mix+legs" }))
        .refused(40001);
    let mut events = Events::open(served.http, "?conferenceId=r&after=0", "");
    let started = served
        .post(
            of_leg,
            &json!({ "destinationUrl": "file://call", "format": "flac" }),
        )
        .json(201);
    assert_eq!(
        (&started["callId"], &started["key"], &started["format"]),
        (&json!("a"), &json!("call.flac"), &json!("flac"))
    );
    let id = started["recordingId"].as_str().unwrap().to_owned();
    assert_eq!(
        served.post(of_leg, &json!({})).json(200)["recordingId"],
        id.as_str()
    );
    let event = events.until("recording.started");
    assert_eq!(
        (&event["callId"], &event["recordingId"]),
        (&json!("a"), &json!(id))
    );
    // The room's own is another.
    let room = served.post(ROUTE, &json!({})).json(201);
    assert_ne!(room["recordingId"], id.as_str());
    for (command, paused) in [("pause", true), ("resume", false), ("resume", false)] {
        let status = served.patch(of_leg, &json!({ "command": command })).json(200);
        assert_eq!(status["paused"], paused);
    }
    // It goes along into another room.
    served
        .patch("/v1/legs/a", &json!({ "conferenceId": "s" }))
        .json(200);
    served.patch(of_leg, &json!({ "command": "pause" })).json(200);
    served.delete("/v1/legs/a").empty(204);
    let available = events.until("recording.available");
    assert_eq!(available["recordingId"], id.as_str());
    let receipt = &available["receipt"];
    assert_eq!(
        (&receipt["callId"], &receipt["truncated"]),
        (&json!("a"), &json!(false))
    );
    assert_eq!(receipt["pauses"].as_array().unwrap().len(), 2);
    assert_eq!(receipt["attendance"][0]["callId"], "a");
    served.delete(of_leg).refused(40400);
    assert_eq!(
        served
            .get(&format!(
                "/v1/recordings/{}",
                room["recordingId"].as_str().unwrap()
            ))
            .json(200)["state"],
        "recording"
    );
}

#[test]
fn a_recording_of_a_leg_follows_it_and_names_all_it_has_heard() {
    let served = Served::start(&[]);
    let mut events = Events::open(served.http, "?after=0", "");
    let mut seat = |room: &str, call: &str| {
        served.leg(room, call);
        assert_eq!(events.until("leg.joined")["callId"], call);
    };
    for (room, call) in [("r", "a"), ("r", "b"), ("s", "d"), ("t", "f")] {
        seat(room, call);
    }
    let of_leg = "/v1/legs/a/recording";
    let started = served.post(of_leg, &json!({})).json(201);
    seat("r", "c");
    served.delete("/v1/legs/c").empty(204);
    served
        .patch("/v1/legs/a", &json!({ "conferenceId": "s" }))
        .json(200);
    assert_eq!(events.until("leg.joined")["conferenceId"], "s");
    served.leg("s", "e");
    events.until("leg.joined");
    served.patch(of_leg, &json!({ "command": "pause" })).json(200);
    served.delete(of_leg).json(200);
    for kind in ["paused", "finished", "available"] {
        let event = events.until(&format!("recording.{kind}"));
        assert_eq!(
            (&event["conferenceId"], &event["callId"]),
            (&json!("s"), &json!("a"))
        );
    }
    let id = started["recordingId"].as_str().unwrap();
    let status = served.get(&format!("/v1/recordings/{id}")).json(200);
    assert_eq!(status["conferenceId"], "r", "where it began");
    let attendance = status["receipt"]["attendance"].as_array().unwrap();
    let mut stays: Vec<(&str, bool)> = attendance
        .iter()
        .map(|stay| (stay["callId"].as_str().unwrap(), stay["to"].is_string()))
        .collect();
    stays[2..].sort_unstable();
    let expected = [
        ("a", true),
        ("b", true),
        ("a", false),
        ("c", true),
        ("d", false),
        ("e", false),
    ];
    assert_eq!(stays, expected);
}

#[test]
fn a_leg_recording_that_is_stopped_can_be_begun_again() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    let of_leg = "/v1/legs/a/recording";
    let first = served.post(of_leg, &json!({})).json(201);
    let stopped = served.delete(of_leg).json(200);
    assert_eq!(stopped["recordingId"], first["recordingId"]);
    let second = served.post(of_leg, &json!({})).json(201);
    assert_ne!(second["recordingId"], first["recordingId"]);
}

#[test]
fn each_leg_has_a_track_as_long_as_the_mix() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    let mut events = Events::open(served.http, "?conferenceId=r&after=0", "");
    let options = json!({ "destinationUrl": "file://talk", "tracks": "mix+legs" });
    served.post(ROUTE, &options).json(201);
    served.leg("r", "b:1");
    events.until("leg.joined");
    events.until("leg.joined");
    served.delete("/v1/conferences/id/r").empty(204);
    let receipt = events.until("recording.available")["receipt"].clone();
    let tracks: Vec<_> = receipt["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| {
            assert_eq!(track["samples"], receipt["samples"]);
            (track["callId"].as_str().unwrap(), track["key"].as_str().unwrap())
        })
        .collect();
    assert_eq!(tracks, [("a", "talk.a.wav"), ("b:1", "talk.b_1.wav")]);
}

#[test]
fn a_recording_goes_to_the_bucket_with_the_credentials_of_the_request() {
    let (_, dir) = place_of_its_own();
    let secret = "se/cr+et:of~the-request";
    let store = ObjectStore::start(&dir, "THEKEY", secret).expect("a free port");
    store.make_bucket("bucket").unwrap();
    let endpoint = format!("s3.endpoint={}", store.url());
    let served = Served::start(&[&endpoint, "s3.allow_http=true", "s3.path_style=true"]);
    served.leg("r", "a");
    let mut events = Events::open(served.http, "?conferenceId=r&after=0", "");
    let credentials = format!("THEKEY:{secret}:eu-north-1");
    for (options, field) in [
        (
            json!({ "destinationUrl": "s3://bucket/x", "credentials": "no colons" }),
            "credentials",
        ),
        (
            json!({ "destinationUrl": "s3://bucket:9000/x", "credentials": credentials }),
            "destinationUrl",
        ),
        (
            json!({ "destinationUrl": "https://elsewhere.example/bucket/x", "credentials": credentials }),
            "destinationUrl",
        ),
    ] {
        let message = served.post(ROUTE, &options).refused(40001);
        assert!(message.contains(field), "{message}");
        assert!(
            !message.contains(secret) && !message.contains("no colons"),
            "{message}"
        );
    }
    assert_eq!(served.get("/v1/recordings").json(200)["total"], 0);

    let options = json!({
        "destinationUrl": "s3://bucket/calls/talk", "credentials": credentials, "tracks": "mix+legs",
    });
    let started = served.post(ROUTE, &options).json(201);
    assert_eq!(started["destination"], "s3://bucket/calls/talk.wav");
    events.until("leg.joined");
    let status = format!("/v1/recordings/{}", started["recordingId"].as_str().unwrap());
    eventually("sound is there", || {
        served.get(&status).json(200)["bytes"].as_u64().unwrap() > 2_000
    });
    let head = send(served.http, "GET", &format!("{status}/audio"), &[], b"");
    assert_eq!((head.status, &head.bytes[..4]), (200, &b"RIFF"[..]));
    served.delete(ROUTE).json(200);
    let available = events.until("recording.available");
    assert_eq!(available["destination"], "s3://bucket/calls/talk.wav");
    let receipt = &available["receipt"];
    let object = std::fs::read(store.object("bucket", "calls/talk.wav")).unwrap();
    assert_eq!(receipt["bytes"], object.len());
    assert_eq!(
        store.keys("bucket").unwrap(),
        ["calls/talk.a.wav", "calls/talk.json", "calls/talk.wav"]
    );
    let beside = std::fs::read(store.object("bucket", "calls/talk.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&beside).unwrap(), *receipt);
    for told in [available.to_string(), served.get("/v1/recordings").text()] {
        assert!(!told.contains(secret) && !told.contains("THEKEY"), "{told}");
    }
    send(served.http, "GET", &format!("{status}/audio"), &[], b"").refused(40400);
}
