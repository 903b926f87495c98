//! Who may do what.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use mixminus::control::signature::{Signable, SigningKey};

use crate::support::http::{Reply, Served, offer, place_of_its_own, raw, send};

#[test]
fn a_key_does_what_its_role_allows_and_no_key_nothing() {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    std::fs::write(&file, "viewer:c2VjcmV0:read\nswitch:czNjcjN0\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let served = Served::start(&[&format!("auth.keys_file={}", file.display())]);
    let ask = |method: &str, path: &str, credentials: &str, body: &str| -> Reply {
        let authorization = format!("Basic {}", STANDARD.encode(credentials));
        send(
            served.http,
            method,
            path,
            &[("authorization", &authorization)],
            body.as_bytes(),
        )
    };
    let leg = json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) }).to_string();

    let nobody = served.get("/v1/legs");
    nobody.refused(40100);
    assert!(nobody.header("www-authenticate").unwrap().starts_with("Basic"));
    served.get("/metrics").refused(40100);
    served.get("/nowhere").refused(40100);
    assert_eq!(served.get("/healthz").status, 200);
    assert_eq!(served.get("/readyz").status, 200);

    ask("GET", "/v1/legs", "viewer:wrong", "").refused(40108);
    ask("GET", "/v1/legs", "stranger:c2VjcmV0", "").refused(40108);
    assert_eq!(ask("GET", "/v1/legs", "viewer:c2VjcmV0", "").status, 200);
    assert_eq!(ask("GET", "/metrics", "viewer:c2VjcmV0", "").status, 200);
    ask("POST", "/v1/legs", "viewer:c2VjcmV0", &leg).refused(40300);
    ask("DELETE", "/v1/legs/a", "viewer:c2VjcmV0", "").refused(40300);
    ask("POST", "/v1/legs", "switch:czNjcjN0", &leg).json(201);
    ask("DELETE", "/v1/legs/a", "switch:czNjcjN0", "").empty(204);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn without_keys_a_foreign_name_or_page_is_refused_on_both_faces() {
    let served = Served::start(&[]);
    let ask = |to, headers: &str| {
        let request = format!("GET /v1/legs HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        raw(to, request.as_bytes())
    };
    assert_eq!(ask(served.http, "host: 127.0.0.1:8080\r\n").status, 200);
    let same = "host: localhost\r\norigin: http://localhost\r\n";
    assert_eq!(ask(served.http, same).status, 200);
    ask(served.http, "host: evil.example\r\n").refused(40300);
    let across = "host: localhost\r\norigin: http://evil.example\r\n";
    ask(served.http, across).refused(40300);
    let call = |headers: &str| {
        let request = format!(
            "POST /mixminus.v1.Control/ListLegs HTTP/1.1\r\n{headers}connection: close\r\ncontent-type: application/grpc\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"
        );
        let reply = raw(served.grpc, request.as_bytes());
        reply.header("grpc-status").map(str::to_owned)
    };
    assert_eq!(call("host: evil.example\r\n").as_deref(), Some("7"));
    assert_eq!(call(across).as_deref(), Some("7"));
    // Where it is let in the status comes behind the message.
    assert_eq!(call("host: localhost\r\n"), None);
    for reason in ["foreign_host", "foreign_origin"] {
        let series = format!("mixminus_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(served.metric(&series), 2.0, "{reason}");
    }
}

/// Fault row C9.
#[test]
fn a_signed_request_is_done_once_as_it_was_signed() {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    std::fs::write(&file, "viewer:c2VjcmV0:read\nswitch:czNjcjN0\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let served = Served::start(&[&format!("auth.keys_file={}", file.display())]);
    let secret = |key: &str| {
        if key == "viewer" {
            b"secret".as_slice()
        } else {
            b"s3cr3t"
        }
    };
    // Header names in another case; no content type where there is none.
    let signed = |key: &str, verb: &str, path: &str, body: &str, timestamp: &str| {
        let content_type = if body.is_empty() { "" } else { "application/json" };
        let signature = SigningKey::new(secret(key)).sign(&Signable {
            verb,
            path,
            content_type,
            timestamp,
            body: body.as_bytes(),
        });
        let mut headers = vec![
            ("AUTHORIZATION", format!("Application {key}:{signature}")),
            ("X-Timestamp", timestamp.to_owned()),
        ];
        if !body.is_empty() {
            headers.push(("Content-Type", content_type.to_owned()));
        }
        headers
    };
    let ask = |verb: &str, path: &str, headers: &[(&str, String)], body: &str| -> Reply {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        send(served.http, verb, path, &headers, body.as_bytes())
    };
    let now = || jiff::Timestamp::now().to_string();
    let leg = json!({ "conferenceId": "r ü", "callId": "a", "sdp": offer(5004) }).to_string();

    let create = signed("switch", "POST", "/v1/legs", &leg, &now());
    ask("POST", "/v1/legs", &create, &leg).json(201);
    let again = ask("POST", "/v1/legs", &create, &leg).refused(40102);
    assert!(again.contains("used before"), "{again}");
    // The path as it is sent, and with its query.
    let room = "/calling/v1/conferences/id/r%20%C3%BC";
    assert_eq!(
        ask("GET", room, &signed("viewer", "GET", room, "", &now()), "").status,
        200
    );
    let page = "/v1/legs?page=1";
    assert_eq!(
        ask("GET", page, &signed("viewer", "GET", page, "", &now()), "").status,
        200
    );
    ask("GET", page, &signed("viewer", "GET", "/v1/legs", "", &now()), "").refused(40102);

    let mute = r#"{"command":"mute"}"#;
    let participant = format!("{room}/a");
    ask(
        "PATCH",
        &participant,
        &signed("viewer", "PATCH", &participant, mute, &now()),
        mute,
    )
    .refused(40300);
    let unmute = r#"{"command":"unmute"}"#;
    ask(
        "PATCH",
        &participant,
        &signed("switch", "PATCH", &participant, mute, &now()),
        unmute,
    )
    .refused(40102);
    ask(
        "PATCH",
        &participant,
        &signed("nobody", "PATCH", &participant, mute, &now()),
        mute,
    )
    .refused(40102);
    let old = (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(301)).to_string();
    ask(
        "PATCH",
        &participant,
        &signed("switch", "PATCH", &participant, mute, &old),
        mute,
    )
    .refused(40101);
    ask(
        "PATCH",
        &participant,
        &signed("switch", "PATCH", &participant, mute, &now())[..1],
        mute,
    )
    .refused(40101);
    ask(
        "PATCH",
        &participant,
        &signed("switch", "PATCH", &participant, mute, &now()),
        mute,
    )
    .empty(200);
    // A body that is too large is not verified.
    let large = "x".repeat(65_537);
    ask(
        "POST",
        "/v1/legs",
        &signed("switch", "POST", "/v1/legs", "{}", &now()),
        &large,
    )
    .refused(41300);
    std::fs::remove_dir_all(dir).unwrap();
}
