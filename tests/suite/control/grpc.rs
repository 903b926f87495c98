//! The gRPC face: the same operations, the same refusals, the same memory.

use serde_json::{Value, json};
use tonic::Code;

use crate::support::grpc::Client;
use crate::support::http::{Served, offer};

/// Without what is null, false, zero or empty, which a message does not carry.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), said(value)))
            .filter(|(_, value)| {
                !matches!(value, Value::Null | Value::Bool(false))
                    && *value != json!([])
                    && *value != json!("")
                    && *value != json!({})
                    && value.as_f64() != Some(0.0)
            })
            .collect(),
        Value::Array(items) => items.iter().map(said).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}

#[test]
fn a_leg_lives_its_life_over_grpc_and_is_seen_alike_over_http() {
    let served = Served::start(&[]);
    let client = Client::new(served.grpc);
    let leg = json!({
        "conferenceId": "r/1", "callId": "a", "sdp": offer(5004), "gainDb": -6, "custom": {"any": [1, null, "x"]}
    });
    let made = client.ask("CreateLeg", &leg).unwrap();
    assert_eq!(made.metadata("mixminus-status"), Some("201"));
    assert_eq!(made.json["gainDb"], -6.0);
    let again = client.ask("CreateLeg", &leg).unwrap();
    assert_eq!(again.metadata("mixminus-status"), Some("200"));
    let same = served.post("/v1/legs", &leg);
    assert_eq!(said(&same.json(200)), said(&again.json));

    let of = json!({ "callId": "a" });
    let held = json!({ "callId": "a", "onhold": true, "moh": "music1" });
    assert_eq!(client.call("ChangeLeg", &held).unwrap()["moh"], "music1");
    let silent = client
        .call("ChangeLeg", &json!({ "callId": "a", "clear": ["moh"] }))
        .unwrap();
    assert_eq!(silent.get("moh"), None, "{silent}");
    let participant = json!({ "conferenceId": "r/1", "callId": "a", "command": "resume" });
    assert_eq!(
        client.call("CommandParticipant", &participant).unwrap(),
        json!({})
    );
    let sent = client
        .call("SendDigits", &json!({ "callId": "a", "digits": "12#" }))
        .unwrap();
    assert_eq!(sent["toneMs"], 100);

    let over_grpc = client
        .call("GetConference", &json!({ "conferenceId": "r/1" }))
        .unwrap();
    assert_eq!(
        said(&over_grpc),
        said(&served.get("/v1/conferences/id/r%2F1").json(200))
    );
    let limited = json!({ "conferenceId": "r/1", "maxTalkers": 3, "locked": true });
    assert_eq!(
        client.call("ChangeConference", &limited).unwrap()["maxTalkers"],
        3
    );
    let cleared = json!({ "conferenceId": "r/1", "clear": ["max_talkers"] });
    let cleared = client.call("ChangeConference", &cleared).unwrap();
    assert_eq!(cleared.get("maxTalkers"), None);
    assert_eq!(cleared["locked"], true);

    let legs = client.call("ListLegs", &json!({ "pageSize": 1 })).unwrap();
    assert_eq!((&legs["total"], &legs["pageSize"]), (&json!(1), &json!(1)));
    assert!(
        client.call("GetMetrics", &json!({})).unwrap()["text"]
            .as_str()
            .unwrap()
            .contains("mixminus_rooms 1")
    );
    assert_eq!(client.call("EndLeg", &of).unwrap(), json!({}));
    assert_eq!(client.call("EndLeg", &of).unwrap_err().code, Code::NotFound);
}

#[test]
fn what_is_refused_is_a_status_with_the_code_and_the_sentence_of_http() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    let client = Client::new(served.grpc);
    for (method, message, code, error_code, says) in [
        (
            "CreateLeg",
            json!({}),
            Code::InvalidArgument,
            40002,
            "`conferenceId` is required.",
        ),
        (
            "CreateLeg",
            json!({ "conferenceId": "" }),
            Code::InvalidArgument,
            40001,
            "`conferenceId`",
        ),
        (
            "CreateLeg",
            json!({ "conferenceId": "r", "gainDb": 99 }),
            Code::InvalidArgument,
            40001,
            "`gainDb`",
        ),
        (
            "CreateLeg",
            json!({ "conferenceId": "r", "callId": "a" }),
            Code::AlreadyExists,
            40900,
            "",
        ),
        ("GetLeg", json!({ "callId": "b" }), Code::NotFound, 40400, ""),
        ("GetLeg", json!({}), Code::InvalidArgument, 40001, "`callId`"),
        (
            "ListLegs",
            json!({ "page": 0 }),
            Code::InvalidArgument,
            40001,
            "`page`",
        ),
        (
            "Explain",
            json!({ "from": "a" }),
            Code::InvalidArgument,
            40002,
            "`to` is required.",
        ),
        (
            "ChangeLeg",
            json!({ "callId": "a", "clear": ["muted"] }),
            Code::InvalidArgument,
            40001,
            "`clear`",
        ),
        (
            "ChangeLeg",
            json!({ "callId": "a", "moh": "ring", "clear": ["moh"] }),
            Code::InvalidArgument,
            40001,
            "`moh`",
        ),
        (
            "CommandRecording",
            json!({ "conferenceId": "r", "command": "pause" }),
            Code::NotFound,
            40400,
            "",
        ),
    ] {
        let refused = client.call(method, &message).unwrap_err();
        assert_eq!(
            (refused.code, refused.error_code),
            (code, Some(error_code)),
            "{method} {message}: {refused:?}"
        );
        assert!(refused.message.contains(says), "{refused:?}");
        assert!(refused.metadata.contains_key("mixminus-reference"));
    }
    let unknown = client.send("Hum", Default::default()).unwrap_err();
    assert_eq!(
        (unknown.code, unknown.error_code),
        (Code::Unimplemented, Some(40500))
    );
    served.drain();
    let refused = client
        .call("CreateLeg", &json!({ "conferenceId": "new" }))
        .unwrap_err();
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.metadata.contains_key("retry-after"));
    assert_eq!(
        client.call("GetReadiness", &json!({})).unwrap_err().code,
        Code::Unavailable
    );
    assert_eq!(client.call("GetLiveness", &json!({})).unwrap()["status"], "up");
}

#[test]
fn an_idempotency_key_is_remembered_for_both_faces() {
    let served = Served::start(&[]);
    let body = json!({ "conferenceId": "r", "sdp": offer(5004) });
    let first = crate::support::http::send(
        served.http,
        "POST",
        "/v1/legs",
        &[("idempotency-key", "k")],
        body.to_string().as_bytes(),
    );
    let client = Client::new(served.grpc).with("idempotency-key", "k");
    let again = client.ask("CreateLeg", &body).unwrap();
    assert_eq!(again.json["callId"], first.json(201)["callId"]);
    assert_eq!(again.metadata("idempotency-replayed"), Some("true"));
    let other = client
        .call("CreateLeg", &json!({ "conferenceId": "other" }))
        .unwrap_err();
    assert_eq!(other.code, Code::AlreadyExists);
    let other_key = Client::new(served.grpc).with("idempotency-key", &"x".repeat(256));
    assert_eq!(
        other_key.call("CreateLeg", &body).unwrap_err().error_code,
        Some(40001)
    );
    assert_eq!(served.get("/v1/legs").json(200)["total"], 1);
}

#[test]
fn events_are_streamed_and_resumed_by_number() {
    let served = Served::start(&[]);
    let client = Client::new(served.grpc);
    let mut room = client
        .stream("StreamEvents", &json!({ "conferenceId": "r" }))
        .unwrap();
    served.leg("r", "a");
    assert_eq!(room.until("leg.joined")["callId"], "a");
    served.delete("/v1/legs/a").empty(204);
    let left = room.until("leg.left");
    assert_eq!(
        (&left["reason"], &left["report"]["codec"]),
        (&json!("ended"), &json!("PCMU/8000"))
    );
    let mut resumed = client
        .stream("StreamEvents", &json!({ "conferenceId": "r", "after": 1 }))
        .unwrap();
    assert_eq!(resumed.next().unwrap().unwrap()["seq"], 2);
    let refused = client
        .stream("StreamEvents", &json!({ "conferenceId": "" }))
        .err()
        .unwrap();
    assert_eq!(refused.code, Code::InvalidArgument);
    drop(served);
    let ended = loop {
        match room.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if there was no more to come"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(ended.code, Code::Unavailable, "{ended:?}");
}
