//! What the program itself says at its most talkative of those who ask, and of the secrets they bring.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mixminus::control::signature::{Signable, SigningKey};
use serde_json::json;

use super::encryption::{KEY, crypto_lines};
use crate::store::said::Daemon;
use crate::support::grpc::Client;
use crate::support::http::{offer, place_of_its_own, sdp, send};
use crate::support::logs::{PROGRAM, output};

const SECRET: &str = "YmFzaWMtc2VjcmV0LW9mLXRoZS10ZXN0";
const NEXT_SECRET: &str = "bmV4dC1zZWNyZXQtb2YtdGhlLXRlc3Q=";
const WRONG_SECRET: &str = "d3Jvbmctc2VjcmV0LW9mLXRoZS10ZXN0";

#[test]
fn no_secret_and_no_signature_is_in_the_log_at_any_level_or_in_the_configuration() {
    let (ports, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let keys = dir.join("keys");
    std::fs::write(&keys, format!("switch:{SECRET}\nswitch:{NEXT_SECRET}\n")).unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o400)).unwrap();
    let sets = [
        "http.listen=127.0.0.1:0".to_owned(),
        "grpc.listen=127.0.0.1:0".to_owned(),
        "engine.threads=1".to_owned(),
        "engine.legs=16".to_owned(),
        "engine.rooms=16".to_owned(),
        "log.level=trace".to_owned(),
        "log.per_s=0".to_owned(),
        format!("auth.keys_file={}", keys.display()),
    ];
    let daemon = Daemon::start(dir, &ports, &sets);
    let path = "/v1/legs";
    let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("switch:{secret}")));
    let ask = |verb: &str, authorization: &str, timestamp: &str, body: &str| {
        let headers = [
            ("authorization", authorization),
            ("x-timestamp", timestamp),
            ("content-type", "application/json"),
        ];
        send(daemon.http, verb, path, &headers, body.as_bytes())
    };
    let encrypted = sdp(
        5004,
        "RTP/SAVP 0",
        &format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"),
    );
    let leg = json!({ "conferenceId": "r", "callId": "a", "sdp": encrypted }).to_string();
    let timestamp = jiff::Timestamp::now().to_string();
    let signature = SigningKey::new(&STANDARD.decode(NEXT_SECRET).unwrap()).sign(&Signable {
        verb: "POST",
        path,
        content_type: "application/json",
        timestamp: &timestamp,
        body: leg.as_bytes(),
    });
    let signed = format!("application switch:{signature}");
    let ours = crypto_lines(&ask("POST", &signed, &timestamp, &leg).json(201))
        .remove(0)
        .2;
    ask("POST", &signed, &timestamp, &leg).refused(40102);
    assert_eq!(ask("GET", &basic(SECRET), "", "").status, 200);
    ask("GET", &basic(WRONG_SECRET), "", "").refused(40108);
    ask("GET", &format!("Bearer {WRONG_SECRET}"), "", "").refused(40100);
    let over_grpc = |secret: &str| {
        let client = Client::new(daemon.grpc).with("authorization", &basic(secret));
        client.call("ListLegs", &json!({}))
    };
    over_grpc(SECRET).unwrap();
    assert_eq!(over_grpc(WRONG_SECRET).unwrap_err().error_code, Some(40108));
    // With credentials of a store in the body, good and bad.
    let store = "THE-KEY:the-secret-of-a-store:eu-north-1";
    let recorded = json!({
        "conferenceId": "r",
        "sdp": offer(5006),
        "record": true,
        "recordingOptions": { "destinationUrl": "s3://bucket/call", "credentials": store },
    });
    ask("POST", &basic(SECRET), "", &recorded.to_string()).refused(40001);
    let unknown = json!({ "conferenceId": "r", "credentials": store });
    ask("POST", &basic(SECRET), "", &unknown.to_string()).refused(40001);
    let log = daemon.log();
    assert!(
        log.contains("40102") && log.contains("40108"),
        "it is the log of all that: {log}"
    );

    let mut command = Command::new(PROGRAM);
    command.arg("config");
    for set in &sets {
        command.args(["--set", set]);
    }
    let config = String::from_utf8(output(&mut command).stdout).unwrap();
    assert!(config.contains("keys_file"), "{config}");
    let headers =
        [SECRET, NEXT_SECRET, WRONG_SECRET].map(|secret| basic(secret)["Basic ".len()..].to_owned());
    let plain = [
        "basic-secret",
        "next-secret",
        "the-secret",
        "THE-KEY",
        &signature,
        &KEY[..8],
        &ours[..8],
    ];
    let secrets = [SECRET, NEXT_SECRET, WRONG_SECRET].into_iter().chain(plain);
    for secret in secrets.chain(headers.iter().map(String::as_str)) {
        for said in [&log, &config] {
            let at = said.find(secret);
            assert_eq!(at, None, "{secret} is in {said}");
        }
    }
}
