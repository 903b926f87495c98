//! Recordings of rooms over HTTP.

use serde_json::{Value, json};

use crate::support::http::{Events, Served, eventually, offer, send};

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
