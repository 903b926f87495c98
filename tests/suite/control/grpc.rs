//! The gRPC face: the same operations, the same refusals, the same memory.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::grpc::{Client, encoded, method};
use crate::support::http::{Served, eventually, offer, place_of_its_own, send};

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
    let first = send(
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

#[test]
fn a_key_does_over_grpc_what_its_role_allows_and_no_key_nothing() {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    std::fs::write(&file, "viewer:c2VjcmV0:read\nswitch:czNjcjN0\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let served = Served::start(&[&format!("auth.keys_file={}", file.display())]);
    let with = |credentials: &str| {
        let authorization = format!("Basic {}", STANDARD.encode(credentials));
        Client::new(served.grpc).with("authorization", &authorization)
    };
    let leg = json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) });
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let health = "/grpc.health.v1.Health/Check";

    let nobody = Client::new(served.grpc);
    for method in ["CreateLeg", "ListLegs", "Hum"] {
        let refused = nobody.send(method, Default::default()).unwrap_err();
        assert_eq!(
            (refused.code, refused.error_code),
            (Code::Unauthenticated, Some(40100)),
            "{method}"
        );
    }
    let stream = nobody.stream("StreamEvents", &json!({})).err().unwrap();
    assert_eq!(stream.code, Code::Unauthenticated);
    let refused = nobody.send_to(reflection, Default::default()).unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated);
    nobody.call("GetReadiness", &json!({})).unwrap();
    nobody.send_to(health, Default::default()).unwrap();

    let viewer = with("viewer:c2VjcmV0");
    viewer.call("ListLegs", &json!({})).unwrap();
    // A request for the list of services.
    viewer.send_to(reflection, b"\x3a\x00".as_slice().into()).unwrap();
    let refused = viewer.call("CreateLeg", &leg).unwrap_err();
    assert_eq!(
        (refused.code, refused.error_code),
        (Code::PermissionDenied, Some(40300))
    );
    assert_eq!(
        with("viewer:wrong")
            .call("ListLegs", &json!({}))
            .unwrap_err()
            .code,
        Code::Unauthenticated
    );
    with("switch:czNjcjN0").call("CreateLeg", &leg).unwrap();
    let by_whom = json!({ "conferenceId": "r", "callId": "a", "command": "mute" });
    with("switch:czNjcjN0")
        .call("CommandParticipant", &by_whom)
        .unwrap();
    let muted = viewer.call("GetLeg", &json!({ "callId": "a" })).unwrap();
    assert_eq!(muted["mutedBy"]["key"], "switch");
    std::fs::remove_dir_all(dir).unwrap();
}

/// Whenever a client hangs up, what it asked for is done as a whole or not at all.
#[test]
fn nothing_half_made_stays_when_clients_hang_up() {
    use std::io::Write;
    let served = Served::start(&[]);
    let ports = served.metric("mixminus_ports_free");
    for index in 0..15 {
        let message = encoded(
            &method("CreateLeg").input(),
            &json!({ "conferenceId": "r", "callId": format!("c{index}"), "sdp": offer(5004) }),
        );
        let mut request = format!(
            "POST /mixminus.v1.Control/CreateLeg HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/grpc\r\ncontent-length: {}\r\n\r\n",
            message.len() + 5
        )
        .into_bytes();
        request.push(0);
        request.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        request.extend(message);
        let mut stream = std::net::TcpStream::connect(served.grpc).unwrap();
        stream.write_all(&request).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(200 * index));
        drop(stream);
    }
    eventually("the connections are over", || {
        served.metric("mixminus_connections{face=\"grpc\"}") == 0.0
    });
    // What is begun is done to its end, which may be later.
    eventually("what was made was whole, and every port is free again", || {
        for leg in served.get("/v1/legs").json(200)["legs"].as_array().unwrap() {
            assert_eq!(leg["state"], "connected", "{leg}");
            served
                .delete(&format!("/v1/legs/{}", leg["callId"].as_str().unwrap()))
                .empty(204);
        }
        served.metric("mixminus_ports_free") == ports && served.metric("mixminus_rooms") == 0.0
    });
}

fn keys(lines: &str) -> (std::path::PathBuf, String) {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, lines).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let set = format!("auth.keys_file={}", file.display());
    (file, set)
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

#[test]
fn a_signed_call_is_done_once_as_it_was_signed() {
    use mixminus::control::signature::{Signable, SigningKey};
    let (_, set) = keys("switch:czNjcjN0\n");
    let served = Served::start(&[&set]);
    let message = encoded(
        &method("CreateLeg").input(),
        &json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) }),
    );
    let timestamp = jiff::Timestamp::now().to_string();
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    };
    let signed = |method: &str, message: &[u8]| {
        let signature = SigningKey::new(b"s3cr3t").sign(&Signable {
            verb: "POST",
            path: &format!("/mixminus.v1.Control/{method}"),
            content_type: "application/grpc",
            timestamp: &timestamp,
            body: &framed(message),
        });
        Client::new(served.grpc)
            .with("authorization", &format!("application switch:{signature}"))
            .with("x-timestamp", &timestamp)
    };
    let client = signed("CreateLeg", &message);
    let (_, metadata) = client.send("CreateLeg", message.clone()).unwrap();
    assert_eq!(metadata.get("mixminus-status").unwrap(), "201");
    let again = client.send("CreateLeg", message.clone()).unwrap_err();
    assert_eq!(
        (again.code, again.error_code),
        (Code::Unauthenticated, Some(40102))
    );
    assert!(again.message.contains("used before"), "{again:?}");
    // Another method, and another message, than what was signed.
    for (method, of) in [("EndLeg", &message[..]), ("CreateLeg", b"")] {
        let refused = signed(method, of).send("CreateLeg", message.clone()).unwrap_err();
        assert_eq!(refused.error_code, Some(40102), "{method}");
    }
}

#[test]
fn a_key_has_its_calls_a_second_and_is_told_when_to_ask_again() {
    let (_, set) = keys("switch:czNjcjN0\n");
    let served = Served::start(&[&set, "auth.requests_per_s=3"]);
    let client = Client::new(served.grpc).with("authorization", &basic("switch:czNjcjN0"));
    let refused = (0..10_000)
        .find_map(|_| client.call("ListLegs", &json!({})).err())
        .expect("one of them is too many");
    assert_eq!(
        (refused.code, refused.error_code),
        (Code::ResourceExhausted, Some(42900))
    );
    assert_eq!(refused.metadata.get("retry-after").unwrap(), "1");
}

#[test]
fn whoever_may_only_read_sees_no_key_of_media_on_either_face() {
    let (_, set) = keys("viewer:c2VjcmV0:read\nswitch:czNjcjN0\n");
    let served = Served::start(&[&set]);
    let switch = Client::new(served.grpc).with("authorization", &basic("switch:czNjcjN0"));
    let viewer = Client::new(served.grpc).with("authorization", &basic("viewer:c2VjcmV0"));
    let leg = json!({ "conferenceId": "r", "callId": "a", "offer": { "srtp": "sdes" } });
    let whole = switch.call("CreateLeg", &leg).unwrap()["sdp"].clone();
    let whole = whole.as_str().unwrap();
    assert!(whole.contains(" inline:"), "{whole}");
    let without: String = whole
        .split_inclusive("\r\n")
        .map(|line| match line.split_once("inline:") {
            Some((before, _)) => format!("{before}inline:\r\n"),
            None => line.to_owned(),
        })
        .collect();
    assert_ne!(whole, without);
    let over_http = |path: &str, credentials: &str| {
        let headers = [("authorization", basic(credentials))];
        send(served.http, "GET", path, &[(headers[0].0, &headers[0].1)], b"").json(200)
    };
    let of = json!({ "callId": "a" });
    for (client, credentials, seen) in [
        (&switch, "switch:czNjcjN0", whole),
        (&viewer, "viewer:c2VjcmV0", without.as_str()),
    ] {
        assert_eq!(client.call("GetLeg", &of).unwrap()["sdp"], seen);
        assert_eq!(
            client.call("ListLegs", &json!({})).unwrap()["legs"][0]["sdp"],
            seen
        );
        assert_eq!(over_http("/v1/legs/a", credentials)["sdp"], seen);
        assert_eq!(over_http("/v1/legs", credentials)["legs"][0]["sdp"], seen);
    }
}

#[test]
fn a_key_has_its_share_of_streams_and_they_end_with_it() {
    let (file, set) = keys("viewer:c2VjcmV0:read\nswitch:czNjcjN0\n");
    let served = Served::start(&[&set, "http.streams=8"]);
    let viewer = Client::new(served.grpc).with("authorization", &basic("viewer:c2VjcmV0"));
    let switch = Client::new(served.grpc).with("authorization", &basic("switch:czNjcjN0"));
    let all = json!({ "snapshot": true });
    let mut first = viewer.stream("StreamEvents", &all).unwrap();
    first.next().unwrap();
    let header = format!("authorization: {}\r\n", basic("viewer:c2VjcmV0"));
    let mut second = crate::support::http::Events::open(served.http, "", &header);
    let refused = viewer.stream("StreamEvents", &all).err().unwrap();
    assert_eq!(
        (refused.code, refused.error_code),
        (Code::ResourceExhausted, Some(42900))
    );
    let mut of_switch = switch.stream("StreamEvents", &all).unwrap();
    of_switch.next().unwrap();
    std::fs::write(&file, "switch:czNjcjN0\n").unwrap();
    served.reload().unwrap();
    let ended = first.next().unwrap_err();
    assert_eq!(ended.code, Code::Unauthenticated, "{ended:?}");
    assert_eq!(second.next_if_any(), None);
    switch
        .call("CreateLeg", &json!({ "conferenceId": "r", "callId": "a" }))
        .unwrap();
    of_switch.until("room.started");
}

#[test]
fn watching_the_health_is_told_of_draining_and_has_its_bound() {
    use tonic::transport::Endpoint;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let served = Served::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let to = Endpoint::from_shared(format!("http://{}", served.grpc)).unwrap();
    runtime.block_on(async {
        let mut client = HealthClient::new(to.connect().await.unwrap());
        let all = HealthCheckRequest::default();
        let mut watches = Vec::new();
        let refused = loop {
            match client.watch(all.clone()).await {
                Ok(watch) => watches.push(watch.into_inner()),
                Err(refused) => break refused,
            }
            assert!(watches.len() < 64, "there is no bound");
        };
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(watches.len(), 32);
        for watch in &mut watches {
            assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
        }
        served.drain();
        for watch in &mut watches {
            assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
        }
        watches.truncate(1);
        let stop = std::thread::spawn(move || drop(served));
        let ended = watches[0].message().await.unwrap_err();
        assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
        stop.join().unwrap();
    });
}

#[test]
fn a_health_request_that_is_too_large_is_refused() {
    let served = Served::start(&[]);
    let client = Client::new(served.grpc);
    let large = vec![0; 65_537];
    let refused = client
        .send_to("/grpc.health.v1.Health/Check", large.clone().into())
        .unwrap_err();
    assert_eq!(refused.code, Code::ResourceExhausted, "{refused:?}");
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    client.send_to(reflection, large.into()).unwrap_err();
}
