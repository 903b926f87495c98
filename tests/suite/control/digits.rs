//! Digits: sent to a leg, within what may wait, and what becomes of those its party presses.

use serde_json::{Value, json};

use crate::support::http::{Served, offer, sdp, send};

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
