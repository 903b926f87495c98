//! Digits: sent to a leg, within what may wait, and what becomes of those its party presses.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Events, Served, offer, sdp, send};

/// Of telephone events, as most have it.
const EVENT_TYPE: u8 = 101;

/// A party that has telephone events: its socket, connected to the port of its leg `a`.
pub(super) fn telephone(served: &Served, options: &Value) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let offer = sdp(port, "RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000\r\n");
    let body = json!({ "conferenceId": "r", "callId": "a", "sdp": offer, "conferenceDtmfOptions": options });
    let leg = served.post("/v1/legs", &body).json(201);
    socket.connect(leg["media"]["local"].as_str().unwrap()).unwrap();
    socket
}

/// Presses a key for 40 ms of RTP time, all in one go.
pub(super) fn press(socket: &UdpSocket, sequence: u16, event: u8) {
    for (number, (flags, duration)) in [(10, 160u16), (10, 320), (0x8a, 320), (0x8a, 320)]
        .into_iter()
        .enumerate()
    {
        let marker = if number == 0 { 0x80 } else { 0 };
        let mut packet = vec![0x80, marker | EVENT_TYPE];
        packet.extend_from_slice(&(sequence + number as u16).to_be_bytes());
        packet.extend_from_slice(&(u32::from(sequence) * 1_000).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 7, event, flags]);
        packet.extend_from_slice(&duration.to_be_bytes());
        socket.send(&packet).unwrap();
    }
}

#[test]
fn digits_are_taken_with_the_lengths_given_or_usual() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    let sent = served
        .post("/v1/legs/a/dtmf", &json!({ "digits": "12#d" }))
        .json(202);
    assert_eq!(
        sent,
        json!({ "callId": "a", "digits": "12#D", "toneMs": 100, "gapMs": 60 })
    );
    let body = json!({ "digits": "*", "toneMs": 200, "gapMs": 40 });
    let sent = served.post("/v1/legs/a/dtmf", &body).json(202);
    assert_eq!((&sent["toneMs"], &sent["gapMs"]), (&json!(200), &json!(40)));

    served.post("/v1/legs/a/dtmf", &json!({})).refused(40002);
    for (body, names) in [
        (json!({ "digits": "" }), "`digits`"),
        (json!({ "digits": "12x" }), "`digits`"),
        (json!({ "digits": "1w2" }), "`w`"),
        (json!({ "digits": "1", "toneMs": 10 }), "`toneMs`"),
        (json!({ "digits": "1", "gapMs": 10_000 }), "`gapMs`"),
        (json!({ "digits": "1", "volume": 3 }), "`volume`"),
    ] {
        let message = served.post("/v1/legs/a/dtmf", &body).refused(40001);
        assert!(message.contains(names), "{message}");
    }
    served
        .post("/v1/legs/b/dtmf", &json!({ "digits": "1" }))
        .refused(40400);
    assert_eq!(served.get("/v1/legs/a/dtmf").status, 405);
}

#[test]
fn a_leg_that_is_sent_nothing_takes_no_digits() {
    let served = Served::start(&[]);
    served
        .post("/v1/legs", &json!({ "conferenceId": "r", "callId": "a" }))
        .json(201);
    let press = json!({ "digits": "1" });
    let message = served.post("/v1/legs/a/dtmf", &press).refused(40900);
    assert!(message.contains("answered"), "{message}");
    let change = |attributes: &str| {
        let body = json!({ "sdp": sdp(5004, "RTP/AVP 0", attributes) });
        served.patch("/v1/legs/a", &body).json(200);
    };
    change("");
    served.post("/v1/legs/a/dtmf", &press).json(202);
    change("a=inactive\r\n");
    let message = served.post("/v1/legs/a/dtmf", &press).refused(40900);
    assert!(message.contains("takes no media"), "{message}");
}

#[test]
fn more_digits_than_may_wait_are_refused_with_a_time_to_come_back() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    served.leg("r", "b");
    let body = json!({ "digits": "1".repeat(32), "toneMs": 2_000, "gapMs": 2_000 }).to_string();
    let ask = |call: &str, key: &str| {
        let path = format!("/v1/legs/{call}/dtmf");
        send(
            served.http,
            "POST",
            &path,
            &[("idempotency-key", key)],
            body.as_bytes(),
        )
    };
    let first = ask("a", "k1").json(202);
    // What is answered again is not sent again.
    for _ in 0..4 {
        let again = ask("a", "k1");
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json(202), first);
    }
    ask("a", "k2").json(202);
    let full = ask("a", "k3");
    full.refused(42900);
    let wait: u32 = full.header("retry-after").unwrap().parse().unwrap();
    assert!((120..=129).contains(&wait), "{wait}");
    // Another leg has a queue of its own.
    ask("b", "k3").json(202);
}

#[test]
fn what_becomes_of_pressed_keys_is_said_when_a_leg_is_made_and_changed_later() {
    let served = Served::start(&[]);
    let mode = |leg: &Value| leg["media"]["dtmfMode"].clone();
    let plain = served.leg("r", "a");
    assert_eq!(mode(&plain), "ignore");
    let options = json!({ "mode": "detect", "maxDigits": 4, "timoutMills": 2_000 });
    let body = json!({
        "conferenceId": "r", "callId": "b", "sdp": offer(5004), "conferenceDtmfOptions": options,
    });
    let leg = served.post("/v1/legs", &body).json(201);
    assert_eq!(mode(&leg), "detect");
    assert_eq!(served.post("/v1/legs", &body).json(200), leg);
    for (options, after) in [
        (json!({ "mode": "forward", "inBand": true }), "forward"),
        (json!({}), "ignore"),
        (json!({ "mode": "detect" }), "detect"),
        (Value::Null, "ignore"),
    ] {
        let change = json!({ "conferenceDtmfOptions": options });
        assert_eq!(mode(&served.patch("/v1/legs/b", &change).json(200)), after);
    }
    let bad = json!({ "conferenceDtmfOptions": { "mode": "detect", "maxDigits": 33 } });
    let message = served.patch("/v1/legs/b", &bad).refused(40001);
    assert!(
        message.starts_with("`conferenceDtmfOptions.maxDigits`"),
        "{message}"
    );
}

#[test]
fn pressed_keys_are_told_one_by_one_or_together_as_the_mode_has_it() {
    let served = Served::start(&[]);
    let mut events = Events::open(served.http, "?conferenceId=r", "");
    let socket = telephone(&served, &json!({ "mode": "detect", "maxDigits": 3 }));
    for (number, event) in [4, 2, 11].into_iter().enumerate() {
        press(&socket, 100 + 10 * number as u16, event);
        std::thread::sleep(Duration::from_millis(60));
    }
    let told = events.until("leg.digits");
    assert_eq!((&told["digits"], &told["mode"]), (&json!("42"), &json!("detect")));
    assert_eq!(
        (&told["callId"], &told["conferenceId"]),
        (&json!("a"), &json!("r"))
    );

    let change = json!({ "conferenceDtmfOptions": { "mode": "ignore" } });
    served.patch("/v1/legs/a", &change).json(200);
    for (number, event) in [10, 13].into_iter().enumerate() {
        press(&socket, 200 + 10 * number as u16, event);
        std::thread::sleep(Duration::from_millis(60));
    }
    for key in ["*", "B"] {
        let told = events.until("leg.digits");
        assert_eq!((&told["digits"], &told["mode"]), (&json!(key), &json!("ignore")));
    }
}

#[test]
fn digits_are_sent_as_events_to_a_party_that_has_them() {
    let served = Served::start(&[]);
    let socket = telephone(&served, &Value::Null);
    served
        .post("/v1/legs/a/dtmf", &json!({ "digits": "7#", "toneMs": 40 }))
        .json(202);
    let mut pressed = Vec::new();
    let mut packet = [0; 2_048];
    while pressed.len() < 2 {
        let bytes = socket.recv(&mut packet).unwrap();
        let is_event = bytes == 16 && packet[1] & 0x7f == EVENT_TYPE;
        if is_event && packet[1] & 0x80 != 0 {
            pressed.push(packet[12]);
        }
    }
    assert_eq!(pressed, [7, 11]);
}
