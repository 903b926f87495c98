//! Who is let in, who is not and why, and that what a leg took is there again when it has gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Served, offer, sdp};

/// Longer than it takes until what was measured of legs that have gone is forgotten.
const PATIENCE: Duration = Duration::from_secs(60);

fn capacity(served: &Served) -> Value {
    served.get("/v1/capacity").json(200)
}

fn account_percent(served: &Served) -> f64 {
    let engines = capacity(served)["engines"].as_array().unwrap().clone();
    engines
        .iter()
        .map(|engine| engine["accountPercent"].as_f64().unwrap())
        .sum()
}

fn seat(served: &Served, conference: &str, call: &str) -> u16 {
    let body = json!({ "conferenceId": conference, "callId": call, "sdp": offer(5004) });
    served.post("/v1/legs", &body).status
}

/// Fault row S4.
#[test]
fn what_would_make_ticks_late_is_refused_with_a_reason_and_let_in_again_once_others_have_left() {
    // A hundredth of a core is enough for a handful of legs.
    let served = Served::start(&["admission.cpu_percent=1", "engine.threads=1"]);
    let mut calls = Vec::new();
    loop {
        let call = format!("call-{}", calls.len());
        match seat(&served, "r", &call) {
            201 => calls.push(call),
            status => {
                assert_eq!(status, 503);
                break;
            }
        }
        assert!(calls.len() < 20, "there are no more ports");
    }
    assert!(calls.len() > 1, "{calls:?}");
    let ports_free = served.metric("mixminus_ports_free");
    assert_eq!(ports_free, 20.0 - calls.len() as f64, "nothing was made for it");

    let refused = |body: &Value| {
        let reply = served.post("/v1/legs", body);
        let message = reply.refused(50300);
        assert!(message.contains("CPU of the media engines"), "{message}");
        assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    };
    refused(&json!({ "conferenceId": "r", "sdp": offer(5004) }));
    refused(&json!({ "conferenceId": "r" }));
    // A leg that is there may change its codec, whatever that costs.
    let before = account_percent(&served);
    let dear = json!({ "sdp": sdp(5004, "RTP/AVP 18", "a=rtpmap:18 G729/8000\r\n") });
    let leg = served.patch(&format!("/v1/legs/{}", calls[0]), &dear).json(200);
    assert_eq!(leg["codec"], "G729/8000");
    assert!(account_percent(&served) > before);
    let cheap = json!({ "sdp": offer(5004) });
    served.patch(&format!("/v1/legs/{}", calls[0]), &cheap).json(200);
    assert_eq!(account_percent(&served), before);

    let left = capacity(&served)["left"].clone();
    let opus = left
        .as_array()
        .unwrap()
        .iter()
        .find(|left| left["codec"] == "opus-48");
    assert_eq!(opus.unwrap()["legs"], 0, "{left}");
    assert!(
        opus.unwrap()["binds"].as_str().unwrap().starts_with("CPU of the"),
        "{left}"
    );
    let by_reason = ["engine", "phase", "machine"].map(|what| {
        served.metric(&format!(
            "mixminus_admission_refused_total{{reason=\"cpu_of_{what}\"}}"
        ))
    });
    assert!(by_reason.iter().sum::<f64>() >= 3.0, "{by_reason:?}");
    assert_eq!(served.get("/v1/legs").json(200)["total"], calls.len());

    for call in &calls[1..] {
        served.delete(&format!("/v1/legs/{call}")).empty(204);
    }
    let start = Instant::now();
    while seat(&served, "r", "again") != 201 {
        assert!(start.elapsed() < PATIENCE, "{}", capacity(&served));
        std::thread::sleep(Duration::from_millis(100));
    }
    served.delete("/v1/conferences/id/r").empty(204);
    assert_eq!(account_percent(&served), 0.0);
}

#[test]
fn capacity_says_what_is_used_what_is_left_and_what_binds() {
    let served = Served::start(&["engine.threads=2"]);
    served.leg("r", "a");
    served.leg("other", "b");
    let view = capacity(&served);
    assert_eq!(
        (&view["legs"], &view["rooms"], &view["draining"]),
        (&json!(2), &json!(2), &json!(false))
    );
    assert_eq!(view["engines"].as_array().unwrap().len(), 2);
    for engine in view["engines"].as_array().unwrap() {
        assert_eq!(engine["legs"], 1, "rooms are spread: {view}");
        assert_eq!(engine["limitPercent"], 70);
        for figure in ["accountPercent", "measuredPercent", "usedPercent"] {
            assert!(engine[figure].is_number(), "{view}");
        }
    }
    assert_eq!(view["ports"], json!({ "free": 18, "resting": 0 }));
    assert_eq!(view["slots"], json!({ "legs": 126, "rooms": 126 }));
    assert_eq!(view["calibration"]["source"], "assumed");
    assert_eq!(view["degradation"], json!({ "level": 0, "givenUp": [] }));
    let left = view["left"].as_array().unwrap();
    assert_eq!(left.len(), 12);
    assert_eq!(left[0], json!({ "codec": "PCMU", "legs": 18, "binds": "ports" }));
    assert!(view["fileDescriptors"]["open"].as_u64() < view["fileDescriptors"]["forLegs"].as_u64());
    assert_eq!(view["memory"]["reserveMib"], 64.0);
    served.drain();
    assert_eq!(capacity(&served)["draining"], true);
    assert_eq!(seat(&served, "new", "c"), 503);
    assert_eq!(
        served.metric("mixminus_admission_refused_total{reason=\"draining\"}"),
        1.0
    );
}

#[test]
fn after_joins_moves_and_leaves_of_many_at_once_nothing_is_left_in_the_account() {
    let served = Served::start(&["engine.threads=2"]);
    std::thread::scope(|scope| {
        for client in 0..4_u64 {
            let served = &served;
            scope.spawn(move || {
                let seed = fastrand::u64(..);
                println!("client {client}: seed {seed}");
                let mut chance = fastrand::Rng::with_seed(seed);
                for _ in 0..60 {
                    let call = format!("call-{}", chance.u8(0..8));
                    let room = format!("room-{}", chance.u8(0..4));
                    // Whatever becomes of it.
                    let _ = match chance.u8(0..5) {
                        0 | 1 => seat(served, &room, &call),
                        2 => {
                            let change = json!({ "conferenceId": room });
                            served.patch(&format!("/v1/legs/{call}"), &change).status
                        }
                        3 => served.delete(&format!("/v1/legs/{call}")).status,
                        _ => {
                            let change = json!({ "maxTalkers": chance.u8(1..4), "activity": "off" });
                            served
                                .patch(&format!("/v1/conferences/id/{room}"), &change)
                                .status
                        }
                    };
                }
            });
        }
    });
    let conferences = served.get("/v1/conferences").json(200)["conferences"].clone();
    for conference in conferences.as_array().unwrap() {
        let id = conference["id"].as_str().unwrap();
        served.delete(&format!("/v1/conferences/id/{id}")).empty(204);
    }
    assert_eq!(served.get("/v1/legs").json(200)["total"], 0);
    assert_eq!(account_percent(&served), 0.0);
}
