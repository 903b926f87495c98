//! Legs: offer and answer, change, move, end; and what a refused one leaves behind.

use serde_json::{Value, json};

use crate::support::http::{Served, eventually, offer, sdp};

/// The port of the audio line.
fn port(leg: &Value) -> u16 {
    let text = leg["sdp"].as_str().unwrap();
    let line = text.lines().find(|line| line.starts_with("m=audio ")).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_offer_is_answered_and_the_leg_shows_what_it_is() {
    let served = Served::start(&[]);
    let body = json!({
        "conferenceId": "r", "callId": "a", "cli": "+46", "sdp": offer(5004), "muted": true, "deaf": true,
        "gainDb": -3.5, "moh": "music1", "custom": { "tenant": 7 }, "startOnEnter": true, "maxDelayMs": 100,
    });
    let leg = served.post("/v1/legs", &body).json(201);
    assert_eq!(leg["codec"], "PCMU/8000");
    assert_eq!(leg["state"], "connected");
    assert!(port(&leg).is_multiple_of(2));
    assert!(!leg["negotiation"].as_array().unwrap().is_empty());
    assert_eq!(leg["media"]["local"], format!("127.0.0.1:{}", port(&leg)));
    assert_eq!(leg["media"]["signalledRemote"], "127.0.0.1:5004");
    assert_eq!(served.get("/v1/legs").json(200)["legs"][0]["media"], leg["media"]);
    for (field, value) in [
        ("callId", json!("a")),
        ("conferenceId", json!("r")),
        ("cli", json!("+46")),
        ("muted", json!(true)),
        ("deaf", json!(true)),
        ("onhold", json!(false)),
        ("gainDb", json!(-3.5)),
        ("moh", json!("music1")),
        ("custom", json!({ "tenant": 7 })),
        ("contributing", json!(false)),
    ] {
        assert_eq!(leg[field], value, "{field}");
    }
    eventually("a packet is sent", || {
        served.get("/v1/legs/a").json(200)["media"]["packetsSent"]
            .as_u64()
            .unwrap()
            > 0
    });
    let media = served.get("/v1/legs/a").json(200)["media"].clone();
    assert_eq!(media["remote"], "127.0.0.1:5004");
    assert_eq!(media["local"], format!("127.0.0.1:{}", port(&leg)));
    assert_eq!(media["dropped"]["unknown_source"], 0);
    served.delete("/v1/legs/a").empty(204);
    served.get("/v1/legs/a").refused(40400);
    assert_eq!(served.metric("mixminus_ports_free"), 20.0);
}

#[test]
fn the_same_request_again_is_the_same_leg_and_another_is_a_conflict() {
    let served = Served::start(&[]);
    let leg = served.leg("r", "a");
    let body = json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) });
    assert_eq!(served.post("/v1/legs", &body).json(200), leg);
    served.patch("/v1/legs/a", &json!({ "muted": true })).json(200);
    assert_eq!(served.post("/v1/legs", &body).json(200)["muted"], true);
    let other = json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5006) });
    served.post("/v1/legs", &other).refused(40900);
    assert_eq!(served.get("/v1/legs").json(200)["total"], 1);
}

#[test]
fn without_an_offer_ours_is_answered_by_patch_and_renegotiated_later() {
    let served = Served::start(&[]);
    let body =
        json!({ "conferenceId": "r", "callId": "a", "codecs": ["PCMA", "opus"], "offer": { "ptimeMs": 30 } });
    let offered = served.post("/v1/legs", &body).json(201);
    assert_eq!(
        (&offered["state"], &offered["codec"]),
        (&json!("offered"), &Value::Null)
    );
    let text = offered["sdp"].as_str().unwrap();
    assert!(
        text.contains("a=ptime:30") && text.contains("PCMA/8000") && !text.contains("PCMU"),
        "{text}"
    );

    served
        .patch("/v1/legs/a", &json!({ "sdp": sdp(5004, "RTP/AVP 18", "") }))
        .refused(40001);
    assert_eq!(served.get("/v1/legs/a").json(200)["state"], "offered");
    let answered = served
        .patch("/v1/legs/a", &json!({ "sdp": sdp(5004, "RTP/AVP 8", "") }))
        .json(200);
    assert_eq!(
        (&answered["state"], &answered["codec"]),
        (&json!("connected"), &json!("PCMA/8000"))
    );
    assert_eq!(answered["sdp"], offered["sdp"]);

    let held = served
        .patch(
            "/v1/legs/a",
            &json!({ "sdp": sdp(5006, "RTP/AVP 8", "a=sendonly\r\n") }),
        )
        .json(200);
    let text = held["sdp"].as_str().unwrap();
    assert!(text.contains("a=recvonly"), "{text}");
    assert_eq!(port(&held), port(&offered));
    let version = |leg: &Value| {
        leg["sdp"]
            .as_str()
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .to_owned()
    };
    assert_eq!((version(&offered), version(&held)), ("1".into(), "2".into()));
    eventually("the new address is in force", || {
        served.get("/v1/legs/a").json(200)["media"]["remote"] == "127.0.0.1:5006"
    });
    // A bad re-offer changes nothing, and neither does what stands beside it.
    let refused = served
        .patch("/v1/legs/a", &json!({ "sdp": "v=1", "muted": true }))
        .refused(40001);
    assert!(refused.starts_with("`sdp`"), "{refused}");
    assert_eq!(served.get("/v1/legs/a").json(200)["muted"], false);
}

#[test]
fn a_leg_is_muted_deafened_held_and_given_gain_by_patch() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    let patched = served
        .patch(
            "/v1/legs/a",
            &json!({ "muted": true, "deaf": true, "gainDb": 6, "onhold": true, "moh": "ring" }),
        )
        .json(200);
    for (field, value) in [
        ("muted", json!(true)),
        ("deaf", json!(true)),
        ("gainDb", json!(6.0)),
        ("onhold", json!(true)),
        ("moh", json!("ring")),
    ] {
        assert_eq!(patched[field], value, "{field}");
    }
    let resumed = served
        .patch("/v1/legs/a", &json!({ "onhold": false, "moh": null }))
        .json(200);
    assert_eq!(
        (&resumed["onhold"], &resumed["moh"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(resumed["muted"], true);
    let refused = served
        .patch("/v1/legs/a", &json!({ "moh": "polka" }))
        .refused(40001);
    assert_eq!(refused, "`moh` must be ring, music1, music2 or music3.");
    served.patch("/v1/legs/a", &json!({ "cli": "1" })).refused(40001);
}

#[test]
fn a_leg_moves_to_another_room_and_engine_with_its_port() {
    let served = Served::start(&[]);
    let leg = served.leg("one", "a");
    served.leg("one", "b");
    // The next room goes to the engine that has fewer legs.
    served.leg("two", "c");
    let engine = |room: &str| served.get(&format!("/v1/conferences/id/{room}")).json(200)["engine"].clone();
    assert_ne!(engine("one"), engine("two"));
    for (to, from) in [("two", "one"), ("one", "two"), ("three", "one"), ("three", "one")] {
        let moved = served
            .patch("/v1/legs/a", &json!({ "conferenceId": to }))
            .json(200);
        assert_eq!((&moved["conferenceId"], &moved["sdp"]), (&json!(to), &leg["sdp"]));
        assert_eq!(moved["state"], "connected");
        let names = |room: &str| served.get(&format!("/v1/conferences/id/{room}")).text();
        assert!(names(to).contains("\"id\":\"a\""));
        assert!(!names(from).contains("\"id\":\"a\""));
    }
    let sent = || {
        served.get("/v1/legs/a").json(200)["media"]["packetsSent"]
            .as_u64()
            .unwrap()
    };
    let before = sent();
    eventually("it goes on sending", || sent() > before + 2);
    // The last one out ends the room it came from.
    served
        .patch("/v1/legs/c", &json!({ "conferenceId": "three" }))
        .json(200);
    served.get("/v1/conferences/id/two").refused(40400);
    assert_eq!(served.metric("mixminus_rooms"), 2.0);
    for call in ["a", "b", "c"] {
        served.delete(&format!("/v1/legs/{call}")).empty(204);
    }
    eventually("the slots are free", || {
        (0..2).all(|engine| served.metric(&format!("mixminus_engine_rooms{{engine=\"{engine}\"}}")) == 0.0)
    });
    assert_eq!(served.metric("mixminus_ports_free"), 20.0);
}

#[test]
fn a_refused_leg_leaves_nothing_behind() {
    let served = Served::start(&[]);
    for body in [
        json!({ "conferenceId": "r", "sdp": "v=0" }),
        json!({ "conferenceId": "r", "sdp": sdp(5004, "RTP/AVP 3", "") }),
        json!({ "conferenceId": "r", "sdp": sdp(5004, "RTP/SAVP 0", "") }),
        json!({ "conferenceId": "r", "sdp": offer(5004).replace("IP4 127.0.0.1", "IP6 ::1") }),
        json!({ "conferenceId": "r", "sdp": offer(5004), "advertise": "::1" }),
        json!({ "conferenceId": "r", "sdp": offer(5004), "codecs": ["opus"] }),
        json!({ "conferenceId": "r", "record": true, "recordingOptions": { "destinationUrl": "s3://b/k" } }),
    ] {
        let message = served.post("/v1/legs", &body).refused(40001);
        assert!(
            message.contains("`sdp`") || message.contains("advertise") || message.contains("destinationUrl")
        );
    }
    assert_eq!(served.metric("mixminus_ports_free"), 20.0);
    assert_eq!(served.get("/v1/conferences").json(200)["total"], 0);
    assert_eq!(served.get("/v1/legs").json(200)["total"], 0);
}

/// Fault row S3.
#[test]
fn what_is_full_is_refused_with_a_time_to_come_back_and_recovers() {
    let served = Served::start(&["engine.legs=2", "engine.rooms=1", "engine.threads=1"]);
    served.leg("r", "a");
    let full = served.post(
        "/v1/legs",
        &json!({ "conferenceId": "other", "sdp": offer(5004) }),
    );
    full.refused(50300);
    assert!(full.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    served.leg("r", "b");
    served
        .post("/v1/legs", &json!({ "conferenceId": "r", "sdp": offer(5004) }))
        .refused(50300);
    served
        .patch("/v1/legs/b", &json!({ "conferenceId": "other", "muted": true }))
        .refused(50300);
    assert_eq!(served.get("/v1/legs/b").json(200)["muted"], false);
    let refused = |served: &Served, reason: &str| {
        served.metric(&format!(
            "mixminus_admission_refused_total{{reason=\"{reason}\"}}"
        ))
    };
    assert_eq!(refused(&served, "slots"), 3.0);
    served.delete("/v1/legs/b").empty(204);
    served.leg("r", "c");
    assert_eq!(served.metric("mixminus_ports_free"), 18.0);

    let ports = Served::start(&["rtp.ports=23900-23903"]);
    ports.leg("r", "a");
    ports.leg("r", "b");
    let message = ports
        .post("/v1/legs", &json!({ "conferenceId": "r", "sdp": offer(5004) }))
        .refused(50300);
    assert!(message.contains("rtp.ports"), "{message}");
    assert_eq!(refused(&ports, "ports"), 1.0);
    ports.delete("/v1/legs/a").empty(204);
    ports.leg("r", "c");
}

#[test]
fn the_advertised_address_stands_in_sdp_and_the_bound_one_takes_the_packets() {
    let served = Served::start(&["rtp.advertise=192.0.2.7"]);
    let leg = served.leg("r", "a");
    assert!(leg["sdp"].as_str().unwrap().contains("c=IN IP4 192.0.2.7"));
    let body = json!({ "conferenceId": "r", "callId": "b", "sdp": offer(5004), "advertise": "198.51.100.1" });
    let other = served.post("/v1/legs", &body).json(201);
    assert!(other["sdp"].as_str().unwrap().contains("c=IN IP4 198.51.100.1"));
    let media = served.get("/v1/legs/b").json(200)["media"].clone();
    assert_eq!(media["local"], format!("127.0.0.1:{}", port(&other)));
}

#[test]
fn an_offer_over_ipv6_is_answered_over_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let served = Served::start(&["rtp.bind=[\"127.0.0.1\", \"::1\"]"]);
    let body =
        json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004).replace("IP4 127.0.0.1", "IP6 ::1") });
    let leg = served.post("/v1/legs", &body).json(201);
    assert!(leg["sdp"].as_str().unwrap().contains("c=IN IP6 ::1"));
    assert_eq!(
        served.get("/v1/legs/a").json(200)["media"]["local"],
        format!("[::1]:{}", port(&leg))
    );
    assert!(
        served.leg("r", "b")["sdp"]
            .as_str()
            .unwrap()
            .contains("c=IN IP4 127.0.0.1")
    );
    // The port is of one family for good.
    served
        .patch("/v1/legs/a", &json!({ "sdp": offer(5004) }))
        .refused(40001);
}

#[test]
fn a_leg_shows_what_was_agreed_beside_its_codec() {
    let served = Served::start(&[]);
    let key = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    let events = "a=rtpmap:101 telephone-event/8000\r\na=rtpmap:13 CN/8000\r\n";
    for (formats, attributes, srtp, has_events, has_noise) in [
        ("RTP/AVP 0", "", Value::Null, false, false),
        ("RTP/AVP 8 101 13", events, Value::Null, true, true),
        (
            "RTP/SAVP 0 101",
            &(crypto + "a=rtpmap:101 telephone-event/8000\r\n"),
            json!("AES_CM_128_HMAC_SHA1_80"),
            true,
            false,
        ),
    ] {
        let body = json!({ "conferenceId": "r", "callId": "a", "sdp": sdp(5004, formats, attributes) });
        let media = served.post("/v1/legs", &body).json(201)["media"].clone();
        assert_eq!(media["srtp"], srtp, "{formats}");
        assert_eq!(media["telephoneEvent"], has_events, "{formats}");
        assert_eq!(media["comfortNoise"], has_noise, "{formats}");
        assert_eq!(media["dtmfMode"], "ignore");
        assert_eq!(served.get("/v1/legs/a").json(200)["media"]["srtp"], srtp);
        served.delete("/v1/legs/a").empty(204);
    }
    served
        .post("/v1/legs", &json!({ "conferenceId": "r", "callId": "b" }))
        .json(201);
    assert_eq!(
        served.get("/v1/legs/b").json(200)["media"]["telephoneEvent"],
        false
    );
}
