//! Callbacks: what a receiver gets, in which order, signed; what it may do wrong; where none is ever sent.

mod restart;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::digits::{press, telephone};
use crate::support::http::{Served, place_of_its_own};
use crate::support::receiver::{Answer, Callback, Receiver};

const SECRET: &[u8] = b"a secret of callbacks";

/// A file with the secret of `app`, for its owner alone.
fn secret_file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let (_, dir) = place_of_its_own();
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("secret");
        write_secret(&path, SECRET);
        path
    })
}

fn write_secret(path: &PathBuf, secret: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("app:{}\n", STANDARD.encode(secret))).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What has to be set beside a URL so that a receiver on this machine is reached.
fn sets() -> Vec<String> {
    vec![
        "webhooks.key=app".to_owned(),
        format!("webhooks.secret_file={}", secret_file().display()),
        "webhooks.allow=[\"127.0.0.1\"]".to_owned(),
    ]
}

fn served(more: &[&str]) -> Served {
    let sets = sets();
    let all: Vec<&str> = sets
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    Served::start(&all)
}

/// One that has its events sent to the receiver.
fn telling(receiver: &Receiver, more: &[&str]) -> Served {
    let url = format!("webhooks.events_url={}", receiver.url());
    served(&[&[url.as_str()], more].concat())
}

/// Waits, with patience for a busy machine.
#[track_caller]
fn in_time(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a machine that is slow may tell beside, as nobody sends any media here.
const BESIDE: [&str; 3] = ["leg.one_way", "leg.media_timeout", "leg.report"];

/// The types of what came of the room, in its order.
fn kinds_of(callbacks: &[Callback], room: &str) -> Vec<String> {
    let events = callbacks.iter().map(Callback::json);
    events
        .filter(|event| event["conferenceId"] == room)
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .filter(|kind| !BESIDE.contains(&kind.as_str()))
        .collect()
}

/// HMAC-SHA256 (RFC 2104) by hand, so that the daemon's own is not held against itself.
fn hmac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let padded = |with: u8| -> Vec<u8> {
        let byte = |index: usize| secret.get(index).unwrap_or(&0) ^ with;
        (0..64).map(byte).collect()
    };
    let inner = Sha256::digest([&padded(0x36), text].concat());
    Sha256::digest([&padded(0x5c), &inner[..]].concat()).to_vec()
}

/// As platform contract, section 12, says.
fn is_signed(callback: &Callback, secret: &[u8]) -> bool {
    let path = callback.head.split(' ').nth(1).unwrap();
    let text = format!(
        "POST\n{}\n{}\nx-timestamp:{}\n{path}",
        STANDARD.encode(Md5::digest(&callback.body)),
        callback.header("content-type"),
        callback.header("x-timestamp"),
    );
    let expected = format!(
        "application app:{}",
        STANDARD.encode(hmac(secret, text.as_bytes()))
    );
    callback.header("authorization") == expected
}

#[test]
fn events_come_signed_in_their_order_to_the_very_end() {
    let receiver = Receiver::start(|_| Answer::Status(204));
    let served = telling(&receiver, &[]);
    served.leg("r", "a");
    for muted in [true, false, true, false] {
        served.patch("/v1/legs/a", &json!({ "muted": muted })).json(200);
    }
    served.leg("s", "b");
    served.delete("/v1/legs/a").empty(204);
    // What is left ends with the daemon, which tells that too.
    drop(served);
    let came = receiver.came();
    assert_eq!(
        kinds_of(&came, "r"),
        [
            "room.started",
            "leg.joined",
            "leg.muted",
            "leg.unmuted",
            "leg.muted",
            "leg.unmuted",
            "leg.left",
            "room.ended"
        ]
    );
    assert_eq!(
        kinds_of(&came, "s"),
        ["room.started", "leg.joined", "leg.left", "room.ended"]
    );
    for callback in &came {
        assert!(is_signed(callback, SECRET), "{callback:?}");
        assert_eq!(callback.head, "POST /hooks/voice?of=test HTTP/1.1");
        assert_eq!(callback.header("content-type"), "application/json");
        assert_eq!(
            callback.header("x-event-id"),
            callback.json()["globalSeq"].to_string()
        );
        for unasked in ["accept-encoding", "cookie", "proxy-authorization"] {
            assert_eq!(callback.header(unasked), "");
        }
    }
    let mut numbers: Vec<u64> = came
        .iter()
        .map(|event| event.json()["globalSeq"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.len() >= 12);
    assert_eq!(numbers, Vec::from_iter(1..=numbers.len() as u64));
}

#[test]
fn a_room_waits_for_what_was_not_taken_and_no_other_room_does() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let receiver = Receiver::start(move |callback| {
        let is_r = callback.json()["conferenceId"] == "r";
        Answer::Status(if is_r && failing.load(Ordering::Relaxed) {
            500
        } else {
            200
        })
    });
    let served = telling(&receiver, &[]);
    served.leg("r", "a");
    served.leg("s", "b");
    in_time("the other room has told all it has", || {
        kinds_of(&receiver.came(), "s").len() == 2
    });
    in_time("it is tried again", || kinds_of(&receiver.came(), "r").len() >= 2);
    let before = kinds_of(&receiver.came(), "r");
    assert!(before.iter().all(|kind| kind == "room.started"), "{before:?}");
    assert!(served.metric("mixminus_webhook_pending{form=\"events\"}") >= 2.0);
    fails.store(false, Ordering::Relaxed);
    in_time("the room goes on", || {
        kinds_of(&receiver.came(), "r").contains(&"leg.joined".to_owned())
    });
    assert!(served.metric("mixminus_webhook_failures_total{form=\"events\",reason=\"status_5xx\"}") >= 2.0);
    assert!(served.metric("mixminus_webhook_retries_total{form=\"events\"}") >= 2.0);
    in_time("all is delivered", || {
        served.metric("mixminus_webhook_delivered_total{form=\"events\"}") >= 4.0
    });
}

/// Fault row C7.
#[test]
fn what_the_first_url_does_not_take_in_time_goes_to_the_fallback_at_once() {
    let silent = Receiver::start(|_| Answer::Nothing);
    let fallback = Receiver::start(|_| Answer::Status(200));
    let second = format!("webhooks.events_fallback_url={}", fallback.url());
    let served = telling(&silent, &[&second, "webhooks.timeout_s=5"]);
    served.leg("r", "a");
    in_time("the fallback has both", || {
        kinds_of(&fallback.came(), "r").len() >= 2
    });
    // On a machine that stands still one may come twice.
    let mut kinds = kinds_of(&fallback.came(), "r");
    kinds.dedup();
    assert_eq!(kinds, ["room.started", "leg.joined"]);
    assert_eq!(fallback.came()[0].body, silent.came()[0].body);
    let failures = "mixminus_webhook_failures_total{form=\"events\",reason=\"timeout\"}";
    assert!(served.metric(failures) >= 2.0);
    in_time("both are counted", || {
        served.metric("mixminus_webhook_fallback_total{form=\"events\"}") >= 2.0
    });
}

/// Fault row C7.
#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start(|_| Answer::Status(200));
    let to = format!("location: {}", elsewhere.url());
    let receiver = Receiver::start(move |_| Answer::With(307, to.clone()));
    let served = telling(&receiver, &[]);
    served.leg("r", "a");
    in_time("it is tried again", || receiver.came().len() >= 2);
    assert!(served.metric("mixminus_webhook_failures_total{form=\"events\",reason=\"redirect\"}") >= 1.0);
    assert!(elsewhere.came().is_empty());
}

/// Fault row C7.
#[test]
fn of_an_answer_without_end_little_is_read_and_its_status_counts() {
    let receiver = Receiver::start(|callback| match callback.json()["type"] == "room.started" {
        true => Answer::Endless,
        false => Answer::Stalling,
    });
    let served = telling(&receiver, &["webhooks.timeout_s=5"]);
    served.leg("r", "a");
    in_time("the endless one is closed", || !receiver.endless().is_empty());
    // What the kernels on both sides hold is some megabytes; ten gigabytes were announced.
    assert!(receiver.endless()[0] < 64 << 20, "{:?}", receiver.endless());
    in_time("both count", || {
        served.metric("mixminus_webhook_delivered_total{form=\"events\"}") >= 2.0
    });
}

#[test]
fn what_a_receiver_refuses_for_good_is_a_dead_letter_and_the_room_goes_on() {
    let receiver = Receiver::start(|callback| match callback.json()["type"] == "leg.muted" {
        true => Answer::Status(422),
        false => Answer::Status(200),
    });
    let served = telling(&receiver, &[]);
    served.leg("r", "a");
    served.patch("/v1/legs/a", &json!({ "muted": true })).json(200);
    served.patch("/v1/legs/a", &json!({ "muted": false })).json(200);
    in_time("the room goes on", || kinds_of(&receiver.came(), "r").len() == 4);
    assert_eq!(
        kinds_of(&receiver.came(), "r"),
        ["room.started", "leg.joined", "leg.muted", "leg.unmuted"]
    );
    let dead = "mixminus_webhook_dead_total{form=\"events\",reason=\"refused\"}";
    assert_eq!(served.metric(dead), 1.0);
    let path = served.dir.join("recordings/.webhooks/dead-letter.jsonl");
    let letters = std::fs::read_to_string(&path).unwrap();
    assert_eq!(letters.lines().count(), 1);
    let letter: Value = serde_json::from_str(&letters).unwrap();
    assert_eq!(
        (&letter["reason"], &letter["status"]),
        (&json!("refused"), &json!(422))
    );
    assert_eq!(letter["body"]["type"], "leg.muted");
    assert!(!letters.contains("hooks/voice"), "a URL may hold a secret");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn an_event_nobody_takes_is_given_up_when_it_is_too_old() {
    let receiver = Receiver::start(|_| Answer::Status(503));
    let served = telling(&receiver, &["webhooks.give_up_after_s=0"]);
    served.leg("r", "a");
    let given_up = "mixminus_webhook_dead_total{form=\"events\",reason=\"given_up\"}";
    in_time("both are given up", || served.metric(given_up) >= 2.0);
    assert_eq!(kinds_of(&receiver.came(), "r"), ["room.started", "leg.joined"]);
}

#[test]
fn only_the_types_that_are_asked_for_are_sent() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let served = telling(&receiver, &["webhooks.types=[\"leg.joined\", \"leg.left\"]"]);
    served.leg("r", "a");
    served.patch("/v1/legs/a", &json!({ "muted": true })).json(200);
    drop(served);
    assert_eq!(kinds_of(&receiver.came(), "r"), ["leg.joined", "leg.left"]);
}

#[test]
fn the_platform_hears_of_recordings_and_of_digits_in_its_own_form() {
    let receiver = Receiver::start(|_| Answer::Status(200));
    let url = format!("webhooks.platform_url={}", receiver.url());
    let served = served(&[&url]);
    let socket = telephone(&served, &json!({ "mode": "detect", "maxDigits": 2 }));
    press(&socket, 1, 4);
    press(&socket, 20, 2);
    in_time("the digits are told", || !receiver.came().is_empty());
    let pie = receiver.came()[0].json();
    let at = pie["timestamp"].as_str().unwrap();
    assert!(
        at.ends_with('Z') && at.len() == "2026-01-02T03:04:05.678Z".len(),
        "{at}"
    );
    assert_eq!(
        pie,
        json!({
            "event": "pie", "callid": "a", "conferenceId": "r", "timestamp": at, "version": 1,
            "applicationKey": "app",
            "menuResult": { "menuId": "r", "type": "sequence", "value": "42", "inputMethod": "dtmf" },
        })
    );

    let recording = "/v1/conferences/id/r/recording";
    served
        .post(recording, &json!({ "notificationEvents": false }))
        .json(201);
    served.delete(recording).json(200);
    let started = served.post(recording, &json!({})).json(201);
    served.delete(recording).json(200);
    in_time("the recording is told of", || receiver.came().len() >= 3);
    let notes: Vec<Value> = receiver.came()[1..].iter().map(Callback::json).collect();
    assert_eq!(
        notes,
        [
            json!({
                "event": "notify", "type": "recording_finished", "conferenceId": "r", "version": 1,
                "applicationKey": "app",
            }),
            json!({
                "event": "notify", "type": "recording_available", "destination": started["destination"],
                "conferenceId": "r", "version": 1, "applicationKey": "app",
            }),
        ]
    );
    assert!(receiver.came().iter().all(|callback| is_signed(callback, SECRET)));
}

/// Fault row C7.
#[test]
fn a_name_that_leads_to_this_machine_is_denied_and_counted() {
    let served = served(&[
        "webhooks.events_url=http://localhost/",
        "webhooks.allow_http=true",
        "webhooks.allow=[]",
    ]);
    served.leg("r", "a");
    let denied = "mixminus_webhook_denied_total{reason=\"loopback\"}";
    in_time("it is denied", || served.metric(denied) >= 1.0);
    assert!(served.metric("mixminus_webhook_failures_total{form=\"events\",reason=\"denied\"}") >= 1.0);
}

#[test]
fn a_receiver_is_known_by_its_certificate() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let at = "127.0.0.1:0".parse().unwrap();
    let receiver = Receiver::listen(at, Some(Arc::new(tls)), |_| Answer::Status(200));
    let authority = secret_file().with_file_name("authority.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let known = telling(&receiver, &[&format!("webhooks.ca_file={}", authority.display())]);
    known.leg("r", "a");
    in_time("it is trusted", || kinds_of(&receiver.came(), "r").len() == 2);
    assert!(is_signed(&receiver.came()[0], SECRET));
    drop(known);

    let came = receiver.came().len();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&authority, stranger.cert.pem()).unwrap();
    let unknown = telling(&receiver, &[&format!("webhooks.ca_file={}", authority.display())]);
    unknown.leg("r", "a");
    let failures = "mixminus_webhook_failures_total{form=\"events\",reason=\"tls\"}";
    in_time("it is not trusted", || unknown.metric(failures) >= 1.0);
    assert_eq!(receiver.came().len(), came);
}

#[test]
fn what_is_not_taken_the_first_time_arrives_all_the_same_and_each_room_stays_in_order() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    // Every seventh is not taken the first time.
    let receiver = Receiver::start(move |_| match counter.fetch_add(1, Ordering::Relaxed) % 7 {
        6 => Answer::With(503, "retry-after: 0".to_owned()),
        _ => Answer::Status(200),
    });
    let served = telling(&receiver, &["webhooks.concurrency=4"]);
    for room in 0..8 {
        served.leg(&format!("room-{room}"), &format!("call-{room}"));
    }
    for round in 0..10 {
        for room in 0..8 {
            let muted = round % 2 == 0;
            served
                .patch(&format!("/v1/legs/call-{room}"), &json!({ "muted": muted }))
                .json(200);
        }
    }
    // One that was not taken came twice.
    let kinds_of = |room: usize| {
        let mut kinds = kinds_of(&receiver.came(), &format!("room-{room}"));
        kinds.dedup();
        kinds
    };
    for room in 0..8 {
        in_time("all has arrived", || kinds_of(room).len() >= 12);
        let kinds = kinds_of(room);
        assert_eq!(kinds[..2], ["room.started", "leg.joined"]);
        assert!(
            kinds[2..]
                .chunks(2)
                .all(|pair| pair == ["leg.muted", "leg.unmuted"]),
            "{kinds:?}"
        );
    }
    assert!(served.metric("mixminus_webhook_retries_total{form=\"events\"}") >= 1.0);
}
