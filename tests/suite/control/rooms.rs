//! Rooms: the platform's routes and our additions.

use serde_json::{Value, json};

use crate::support::http::{Served, eventually, offer};
use crate::support::phone::{Phone, TONE_A, TONE_B};

#[test]
fn a_room_is_shown_as_the_platform_shows_it() {
    let served = Served::start(&[]);
    served.get("/calling/v1/conferences/id/r").refused(40400);
    served
        .post(
            "/v1/legs",
            &json!({ "conferenceId": "r", "callId": "a", "cli": "+46", "sdp": offer(5004) }),
        )
        .json(201);
    served.leg("r", "b");
    for prefix in ["/v1", "/calling/v1"] {
        let room = served.get(&format!("{prefix}/conferences/id/r")).json(200);
        let first = &room["participants"][0];
        assert_eq!(first["cli"], "+46");
        assert_eq!(first["id"], "a");
        assert!(
            first["duration"].as_u64().is_some_and(|seconds| seconds < 60),
            "{first}"
        );
        assert_eq!(
            (&first["muted"], &first["onhold"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(
            (&room["participants"][1]["id"], &room["participants"][1]["cli"]),
            (&json!("b"), &json!(""))
        );
    }
    let listed = served.get("/v1/conferences").json(200);
    let summary = &listed["conferences"][0];
    assert_eq!(
        (&summary["id"], &summary["participants"], &summary["talkers"]),
        (&json!("r"), &json!(2), &json!(0))
    );
    assert!(summary["since"].is_string());
    assert_eq!(summary["recording"], Value::Null);
}

#[test]
fn the_platforms_commands_are_idempotent_and_seen_by_all() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    served.leg("other", "b");
    let command = |body: Value| served.patch("/calling/v1/conferences/id/r/a", &body);
    let shown = || {
        let room = served.get("/calling/v1/conferences/id/r").json(200);
        (
            room["participants"][0]["muted"].clone(),
            room["participants"][0]["onhold"].clone(),
        )
    };
    for (body, muted, onhold) in [
        (json!({ "command": "mute" }), true, false),
        (json!({ "command": "mute", "unknown": [1] }), true, false),
        (json!({ "command": "onhold", "moh": "music3" }), true, true),
        (json!({ "command": "onhold" }), true, true),
        (json!({ "command": "unmute" }), false, true),
        (json!({ "command": "resume" }), false, false),
        (json!({ "command": "resume" }), false, false),
    ] {
        command(body.clone()).empty(200);
        assert_eq!(shown(), (json!(muted), json!(onhold)), "{body}");
    }
    // A leg of another room is not of this one.
    served
        .patch("/v1/conferences/id/r/b", &json!({ "command": "mute" }))
        .refused(40400);
    served.delete("/v1/conferences/id/r/b").refused(40400);
    command(json!({ "command": "onhold", "moh": "polka" })).refused(40001);
}

#[test]
fn one_is_kicked_then_all_and_then_there_is_no_room() {
    let served = Served::start(&[]);
    for call in ["a", "b", "c"] {
        served.leg("r", call);
    }
    served.delete("/calling/v1/conferences/id/r/b").empty(204);
    served.delete("/calling/v1/conferences/id/r/b").refused(40400);
    assert_eq!(
        served.get("/v1/conferences/id/r").json(200)["participants"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    served.delete("/v1/conferences/id/r").empty(204);
    served.delete("/v1/conferences/id/r").refused(40400);
    served.get("/v1/legs/a").refused(40400);
    // The name is free at once.
    served.leg("r", "a");
    assert_eq!(served.metric("mixminus_rooms"), 1.0);
}

#[test]
fn a_room_is_locked_bounded_and_tuned() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    served.leg("other", "b");
    let set = |body: Value| served.patch("/v1/conferences/id/r", &body);
    let join = || {
        served.post(
            "/v1/legs",
            &json!({ "conferenceId": "r", "callId": "n", "sdp": offer(5004) }),
        )
    };
    let tuned =
        set(json!({ "moh": "music2", "sampleRate": 48000, "activity": "off", "maxDelayMs": 150 })).json(200);
    for (field, value) in [
        ("moh", json!("music2")),
        ("sampleRate", json!(48000)),
        ("activity", json!("off")),
        ("maxDelayMs", json!(150)),
        ("locked", json!(false)),
        ("maxParticipants", Value::Null),
    ] {
        assert_eq!(tuned[field], value, "{field}");
    }
    assert_eq!(set(json!({ "locked": true })).json(200)["locked"], true);
    assert!(join().refused(40900).contains("locked"));
    served
        .patch("/v1/legs/b", &json!({ "conferenceId": "r" }))
        .refused(40900);
    set(json!({ "locked": false, "maxParticipants": 1 })).json(200);
    assert!(join().refused(40900).contains("maxParticipants"));
    set(json!({ "maxParticipants": null })).json(200);
    join().json(201);
    assert_eq!(tuned["maxTalkers"], Value::Null);
    assert_eq!(set(json!({ "maxTalkers": 3 })).json(200)["maxTalkers"], 3);
    for wrong in [json!(0), json!(1001), json!(2.5), json!("3"), json!([3])] {
        assert!(
            set(json!({ "maxTalkers": wrong }))
                .refused(40001)
                .contains("`maxTalkers` must be a whole number from 1 to 1000")
        );
    }
    assert_eq!(
        served.get("/v1/conferences/id/r").json(200)["maxTalkers"],
        3,
        "it is kept"
    );
    assert_eq!(served.get("/v1/legs/a").json(200)["media"]["crowdedOut"], false);
    assert_eq!(
        set(json!({ "maxTalkers": null })).json(200)["maxTalkers"],
        Value::Null
    );
    set(json!({ "sampleRate": 44100 })).refused(40001);
    assert_eq!(served.metric("mixminus_ports_free"), 17.0);
}

#[test]
fn who_is_in_the_mix_follows_the_conferences_settings() {
    let served = Served::start(&[]);
    let phones = ["a", "b", "quiet"].map(|call| {
        let mut phone = Phone::bind("127.0.0.1");
        let hz = match call {
            "a" => TONE_A,
            "b" => TONE_B,
            _ => 0.0,
        };
        phone.seat(&served, "r", call, hz);
        phone
    });
    let shown = |field: &str| {
        let legs = served.get("/v1/legs").json(200);
        let calls = legs["legs"].as_array().unwrap().iter();
        let legs = calls.map(|leg| served.get(&format!("/v1/legs/{}", leg["callId"].as_str().unwrap())));
        let media = legs.map(|leg| leg.json(200)["media"][field] == true);
        media.collect::<Vec<bool>>()
    };
    let set = |body: Value| served.patch("/v1/conferences/id/r", &body).json(200);
    eventually("both who speak are heard", || {
        shown("contributing") == [true, true, false]
    });
    set(json!({ "maxTalkers": 1 }));
    eventually("one of them is", || {
        let (heard, crowded_out) = (shown("contributing"), shown("crowdedOut"));
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
        count(&heard) == 1 && count(&crowded_out) == 1 && heard[..2] != crowded_out[..2]
    });
    set(json!({ "maxTalkers": null, "activity": "off" }));
    eventually("everybody is", || shown("contributing") == [true; 3]);
    set(json!({ "activity": "auto" }));
    eventually("silence is not", || shown("contributing") == [true, true, false]);
    for phone in phones {
        phone.hang_up();
    }
}

#[test]
fn when_a_leg_that_ends_the_conference_leaves_all_others_go_with_it() {
    let served = Served::start(&[]);
    let body = json!({ "conferenceId": "r", "callId": "host", "sdp": offer(5004), "endOnExit": true });
    served.post("/v1/legs", &body).json(201);
    served.leg("r", "a");
    served.leg("r", "b");
    served.delete("/v1/legs/a").empty(204);
    assert_eq!(served.get("/v1/legs").json(200)["total"], 2);
    served.delete("/v1/legs/host").empty(204);
    eventually("all have left", || served.get("/v1/legs").json(200)["total"] == 0);
    served.get("/v1/conferences/id/r").refused(40400);
}
