//! Every operation with what is right, over HTTP and over gRPC: a whole life of a room.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mixminus::control::operation::{OPERATIONS, Operation};
use serde_json::{Value, json};

use super::described::{Document, ask};
use super::names;
use crate::support::grpc::Client;
use crate::support::http::{Events, Served, sdp};

/// Requests of a life, in their order. `RECORDING` stands for the id of the room's recording.
fn life() -> Vec<(&'static str, Value)> {
    let offer = sdp(5004, "RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000\r\n");
    let room = json!({ "conferenceId": "r/1" });
    let leg = json!({ "callId": "a" });
    vec![
        (
            "CreateLeg",
            json!({
                "conferenceId": "r/1", "callId": "a", "cli": "+46", "sdp": offer, "muted": false, "deaf": false,
                "gainDb": -1.5, "moh": "ring", "endOnExit": false, "record": true,
                "recordingOptions": { "format": "wav", "tracks": "mix+legs", "sampleRate": 8000, "transcriptionOptions": { "enabled": true } },
                "conferenceDtmfOptions": { "mode": "detect", "maxDigits": 4, "timeoutMills": 1000, "inBand": true },
                "mediaTimeoutS": 30, "endOnMediaTimeout": true, "maxDelayMs": 200, "codecs": ["PCMU", "PCMA"],
                "offer": { "srtp": "off", "ptimeMs": 20 }, "symmetric": true,
                "custom": { "any": ["JSON", 1, 2.5, null, { "x": true }] },
            }),
        ),
        ("CreateLeg", json!({ "conferenceId": "r/1", "callId": "b" })),
        (
            "CreateLeg",
            json!({ "conferenceId": "r/1", "callId": "c", "sdp": sdp(5006, "RTP/AVP 8", "") }),
        ),
        ("ListLegs", json!({ "page": 1, "pageSize": 2 })),
        ("GetLeg", leg.clone()),
        (
            "ChangeLeg",
            json!({
                "callId": "a", "muted": true, "deaf": true, "gainDb": 3, "onhold": true, "moh": "music1",
                "conferenceDtmfOptions": { "mode": "forward" }, "mediaTimeoutS": 0, "endOnMediaTimeout": false,
            }),
        ),
        (
            "ChangeLeg",
            json!({ "callId": "a", "clear": ["moh", "mediaTimeoutS"], "onhold": false }),
        ),
        ("ChangeLeg", json!({ "callId": "c", "conferenceId": "other" })),
        ("ChangeLeg", json!({ "callId": "c", "conferenceId": "r/1" })),
        (
            "SendDigits",
            json!({ "callId": "a", "digits": "12#", "toneMs": 40, "gapMs": 40 }),
        ),
        ("StartRecording", json!({ "conferenceId": "r/1" })),
        (
            "CommandRecording",
            json!({ "conferenceId": "r/1", "command": "pause" }),
        ),
        (
            "CommandRecording",
            json!({ "conferenceId": "r/1", "command": "resume" }),
        ),
        (
            "StartLegRecording",
            json!({ "callId": "a", "format": "wav", "credentials": "k:s:r" }),
        ),
        (
            "CommandLegRecording",
            json!({ "callId": "a", "command": "pause" }),
        ),
        ("StopLegRecording", leg.clone()),
        ("ListConferences", json!({})),
        (
            "ChangeConference",
            json!({
                "conferenceId": "r/1", "locked": true, "maxParticipants": 5, "maxTalkers": 3, "moh": "music2",
                "maxDelayMs": 100, "sampleRate": 16000, "activity": "off",
            }),
        ),
        ("GetConference", room.clone()),
        (
            "CommandParticipant",
            json!({ "conferenceId": "r/1", "callId": "c", "command": "onhold", "moh": "ring" }),
        ),
        (
            "CommandParticipant",
            json!({ "conferenceId": "r/1", "callId": "c", "command": "resume" }),
        ),
        ("Explain", json!({ "from": "a", "to": "c" })),
        ("GetRecording", json!({ "recordingId": "RECORDING" })),
        ("StopRecording", room.clone()),
        ("ListRecordings", json!({ "pageSize": 10 })),
        ("GetCapacity", json!({})),
        ("GetMetrics", json!({})),
        ("GetOpenApi", json!({})),
        ("GetLiveness", json!({})),
        ("GetReadiness", json!({})),
        ("KickParticipant", json!({ "conferenceId": "r/1", "callId": "c" })),
        ("EndLeg", json!({ "callId": "b" })),
        ("EndConference", room),
    ]
}

/// Puts the recording's id where it belongs.
fn named(asked: Value, recording: &str) -> Value {
    match asked["recordingId"] == "RECORDING" {
        true => json!({ "recordingId": recording }),
        false => asked,
    }
}

fn operation(name: &str) -> Operation {
    Operation::named(name).unwrap_or_else(|| panic!("{name} is an operation"))
}

/// Waits until a recording lies where it belongs.
fn available(get: impl Fn() -> Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let recording = get();
        match recording["state"] == "available" {
            true => return recording,
            false => assert!(Instant::now() < deadline, "never: {recording}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_operation_answers_over_http_as_it_is_described() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let mut asked_for = BTreeSet::from(["DownloadRecording".to_owned(), "StreamEvents".to_owned()]);
    let mut recording = String::new();
    for (name, asked) in life() {
        let described = operation(name).described();
        let asked = named(asked, &recording);
        let (path, body) = super::described::request(described, &asked);
        if let Some(body) = &body {
            assert!(document.allows(described, body), "{name} {body}");
        }
        let reply = ask(&served, described, &asked);
        assert!(reply.status < 300, "{name} {path}: {}", reply.text());
        document.check(described, &path, &reply);
        if name == "StartRecording" {
            recording = reply.json(200)["recordingId"].as_str().unwrap().to_owned();
        }
        asked_for.insert(name.to_owned());
    }
    assert_eq!(asked_for, names());

    let path = format!("/v1/recordings/{recording}");
    let described = Operation::GetRecording.described();
    let done = available(|| served.get(&path).json(200));
    document.check(described, "when it is available", &served.get(&path));
    let audio = served.get(&format!("{path}/audio"));
    document.check(Operation::DownloadRecording.described(), "all", &audio);
    assert_eq!(json!(audio.bytes.len()), done["bytes"]);
    let range = [("range", "bytes=0-43")];
    let part = crate::support::http::send(served.http, "GET", &format!("{path}/audio"), &range, b"");
    document.check(Operation::DownloadRecording.described(), "a part", &part);
    assert_eq!((part.status, part.bytes.len()), (206, 44));
}

#[test]
fn each_operation_answers_over_grpc_with_what_http_shows() {
    let served = Served::start(&[]);
    let client = Client::new(served.grpc);
    let mut asked_for = BTreeSet::new();
    let mut recording = String::new();
    for (name, asked) in life() {
        let described = operation(name).described();
        let asked = named(asked, &recording);
        let answer = client
            .ask(name, &asked)
            .unwrap_or_else(|refused| panic!("{name} {asked}: {refused:?}"));
        let status: u16 = answer.metadata("mixminus-status").unwrap().parse().unwrap();
        assert!(described.done.contains(&status), "{name}: {status}");
        if name == "StartRecording" {
            recording = answer.json["recordingId"].as_str().unwrap().to_owned();
        }
        asked_for.insert(name.to_owned());
    }
    let asked = json!({ "recordingId": recording });
    let done = available(|| client.call("GetRecording", &asked).unwrap());
    let audio = served.get(&format!("/v1/recordings/{recording}/audio")).bytes;
    assert_eq!(
        fetched(&client, asked.clone()),
        (audio.clone(), json!(audio.len()))
    );
    assert_eq!(done["bytes"], audio.len());
    let part = json!({ "recordingId": recording, "fromByte": 8, "bytes": 4 });
    assert_eq!(fetched(&client, part), (b"WAVE".to_vec(), json!(audio.len())));
    let behind = json!({ "recordingId": recording, "fromByte": audio.len() });
    let refused = client.stream("DownloadRecording", &behind).err().unwrap();
    assert_eq!(
        (refused.code, refused.error_code),
        (tonic::Code::OutOfRange, Some(41600))
    );
    let nothing = json!({ "recordingId": recording, "bytes": 0 });
    let refused = client.stream("DownloadRecording", &nothing).err().unwrap();
    assert_eq!(refused.error_code, Some(40001));
    asked_for.insert("DownloadRecording".to_owned());

    let mut events = client.stream("StreamEvents", &json!({ "after": 0 })).unwrap();
    assert_eq!(events.next().unwrap().unwrap()["type"], "room.started");
    let mut snapshot = client
        .stream("StreamEvents", &json!({ "snapshot": true }))
        .unwrap();
    assert_eq!(snapshot.next().unwrap().unwrap()["type"], "snapshot");
    let both = json!({ "snapshot": true, "after": 1 });
    assert_eq!(
        client.stream("StreamEvents", &both).err().unwrap().error_code,
        Some(40001)
    );
    asked_for.insert("StreamEvents".to_owned());
    assert_eq!(asked_for, names());
}

/// The sound that comes in chunks, and how much the first says there is.
fn fetched(client: &Client, asked: Value) -> (Vec<u8>, Value) {
    use base64::Engine as _;
    let mut chunks = client.stream("DownloadRecording", &asked).unwrap();
    let mut sound = Vec::new();
    let mut total = None;
    while let Some(chunk) = chunks.next().unwrap() {
        if total.is_none() {
            assert_eq!(chunk["contentType"], "audio/wav");
            total = Some(chunk["totalBytes"].clone());
        }
        let data = chunk["data"].as_str().unwrap_or_default();
        sound.extend(base64::engine::general_purpose::STANDARD.decode(data).unwrap());
    }
    (sound, total.unwrap())
}

/// A message can carry all that an event says, and both faces say the same.
#[test]
fn events_are_the_same_over_both_faces_and_as_they_are_described() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let client = Client::new(served.grpc);
    for (name, asked) in life() {
        if name != "GetRecording" {
            let reply = ask(&served, operation(name).described(), &asked);
            assert!(reply.status < 300, "{name}: {}", reply.text());
        }
    }
    let mut over_http = Events::open(served.http, "?conferenceId=r%2F1&after=0", "");
    let mut over_grpc = client
        .stream("StreamEvents", &json!({ "conferenceId": "r/1", "after": 0 }))
        .unwrap();
    let message = crate::support::grpc::method("StreamEvents").output();
    let mut seen = BTreeSet::new();
    // The room's recording is delivered after all have gone.
    while !seen.contains("room.ended") || !seen.contains("recording.available") {
        let (_, event) = over_http.next();
        document.validate("Event", &event);
        let as_message =
            crate::support::grpc::decoded(&message, crate::support::grpc::encoded(&message, &event));
        assert_eq!(over_grpc.next().unwrap().unwrap(), as_message);
        seen.insert(event["type"].as_str().unwrap().to_owned());
    }
    for kind in [
        "room.started",
        "leg.joined",
        "leg.muted",
        "leg.held",
        "leg.resumed",
        "leg.left",
        "recording.started",
    ] {
        assert!(seen.contains(kind), "{kind} in {seen:?}");
    }
}

#[test]
fn the_platforms_routes_answer_below_its_path_alike() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    served.leg("r", "a");
    for described in OPERATIONS.iter().filter(|described| described.is_platforms()) {
        let asked = super::asks_for_nothing(described);
        let (path, body) = super::described::request(described, &asked);
        let body = body.map_or(String::new(), |body| body.to_string());
        let reply = crate::support::http::send(
            served.http,
            described.verb(),
            &format!("/calling{path}"),
            &[],
            body.as_bytes(),
        );
        document.check(described, &path, &reply);
        if described.ids().next().is_some() {
            reply.refused(40400);
        }
    }
    document.check(
        Operation::GetConference.described(),
        "of the platform",
        &served.get("/calling/v1/conferences/id/r"),
    );
}
