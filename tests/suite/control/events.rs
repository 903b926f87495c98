//! The stream of events: order, numbers, resuming.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::http::{Events, Served, offer, send};

#[test]
fn what_happens_is_told_in_order_with_numbers_without_gaps() {
    let served = Served::start(&[]);
    // A room that is not there yet can be listened to.
    let mut of_room = Events::open(served.http, "?conferenceId=r", "");
    let mut of_all = Events::open(served.http, "", "");
    served
        .post(
            "/v1/legs",
            &json!({ "conferenceId": "r", "callId": "a", "cli": "+46", "custom": { "x": 1 } }),
        )
        .json(201);
    for body in [
        json!({ "muted": true }),
        json!({ "muted": true }),
        json!({ "muted": false, "onhold": true }),
    ] {
        served.patch("/v1/legs/a", &body).json(200);
    }
    served.patch("/v1/legs/a", &json!({ "onhold": false })).json(200);
    served.leg("other", "b");
    served.delete("/v1/legs/a").empty(204);
    let told: Vec<_> = (0..8).map(|_| of_room.next()).collect();
    let kinds: Vec<&str> = told
        .iter()
        .map(|(_, event)| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "room.started",
            "leg.joined",
            "leg.muted",
            "leg.unmuted",
            "leg.held",
            "leg.resumed",
            "leg.left",
            "room.ended"
        ]
    );
    for (index, (id, event)) in told.iter().enumerate() {
        assert_eq!(*id, index as u64 + 1);
        assert_eq!(event["seq"], *id);
        assert_eq!(event["conferenceId"], "r");
        assert!(event["at"].as_str().unwrap().ends_with('Z'));
    }
    let (joined, left) = (&told[1].1, &told[6].1);
    assert_eq!(
        (&joined["callId"], &joined["cli"], &joined["custom"]),
        (&json!("a"), &json!("+46"), &json!({ "x": 1 }))
    );
    assert_eq!(left["reason"], "ended");
    assert!(left["report"]["packetsSent"].is_u64());
    assert!(left["report"]["from"].is_string() && left["report"]["to"].is_string());

    let mut last = 0;
    for _ in 0..10 {
        let (id, event) = of_all.next();
        assert_eq!((id, &event["globalSeq"]), (last + 1, &json!(last + 1)));
        last = id;
    }
}

#[test]
fn a_reader_resumes_where_it_was_and_a_room_reborn_counts_on() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    served.delete("/v1/legs/a").empty(204);
    served.leg("r", "b");
    let mut resumed = Events::open(served.http, "?conferenceId=r&after=3", "");
    let (id, event) = resumed.next();
    assert_eq!((id, &event["type"]), (4, &json!("room.ended")));
    let (id, event) = resumed.next();
    assert_eq!((id, &event["type"]), (5, &json!("room.started")));
    // A browser that comes back says so in a header, which counts more than the old query.
    let mut browser = Events::open(served.http, "?after=0", "last-event-id: 2\r\n");
    assert_eq!(browser.next().0, 3);
    // A number of a daemon that is no more.
    let mut lost = Events::open(served.http, "?conferenceId=r&after=4711", "");
    let (_, event) = lost.next();
    assert_eq!(
        (&event["type"], &event["conferenceId"]),
        (&json!("lost"), &json!("r"))
    );
    assert_eq!(lost.next().0, 1);
}

/// Two events, of more than a kilobyte each.
fn two_events(served: &Served, round: usize) {
    let on = round.is_multiple_of(2);
    let both = json!({ "muted": on, "onhold": on });
    served.patch("/v1/legs/a", &both).json(200);
}

fn verbose_leg(served: &Served) {
    let long = "x".repeat(1_000);
    let body = json!({ "conferenceId": "r", "callId": "a", "custom": long });
    served.post("/v1/legs", &body).json(201);
}

#[test]
fn who_comes_late_is_served_from_the_disk_and_who_comes_too_late_is_told_what_is_missing() {
    let served = Served::start(&["events.ring=100", "events.disk_mib=1"]);
    verbose_leg(&served);
    for round in 0..100 {
        two_events(&served, round);
    }
    for query in ["?after=5", "?conferenceId=r&after=5"] {
        let mut late = Events::open(served.http, query, "");
        let ids: Vec<u64> = (0..190).map(|_| late.next().0).collect();
        assert!(ids.into_iter().eq(6..196), "{query}");
    }
    for round in 0..450 {
        two_events(&served, round);
    }
    for (query, number) in [("?after=5", "globalSeq"), ("?conferenceId=r&after=5", "seq")] {
        let mut late = Events::open(served.http, query, "");
        let (id, event) = late.next();
        assert_eq!(event["type"], "lost");
        assert_eq!(event["missed"], json!({ "from": 6, "to": id }));
        assert_eq!(event[number], id);
        assert_eq!(late.next().0, id + 1);
    }
    assert!(served.metric("mixminus_events_disk_bytes") <= f64::from(1 << 20));
    assert_eq!(
        served.metric("mixminus_events_unwritten_total{reason=\"failed\"}"),
        0.0
    );
}

#[test]
fn fifty_who_read_hear_the_same_and_those_who_do_not_read_cost_nobody_anything() {
    let served = Served::start(&["events.ring=100", "events.disk_mib=1"]);
    verbose_leg(&served);
    let http = served.http;
    let mut sleepers: Vec<Events> = (0..10).map(|_| Events::open(http, "?after=0", "")).collect();
    let readers: Vec<_> = (0..50)
        .map(|number| {
            let query = if number % 2 == 0 {
                "?after=0"
            } else {
                "?conferenceId=r&after=0"
            };
            std::thread::spawn(move || {
                let mut events = Events::open(http, query, "");
                std::iter::from_fn(|| Some(events.next()))
                    .take_while(|(_, event)| event["type"] != "room.ended")
                    .map(|(id, event)| (id, event["type"].clone()))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for round in 0..600 {
        two_events(&served, round);
    }
    served.delete("/v1/legs/a").empty(204);
    for reader in readers {
        in_order(&reader.join().unwrap());
    }
    // Whoever slept hears what is left, and of what is not.
    for sleeper in &mut sleepers {
        let heard: Vec<(u64, Value)> = std::iter::from_fn(|| Some(sleeper.next()))
            .take_while(|(_, event)| event["type"] != "room.ended")
            .map(|(id, event)| (id, event["type"].clone()))
            .collect();
        in_order(&heard);
    }
}

/// Each number once, in order, or a word of those that are missing.
fn in_order(heard: &[(u64, Value)]) {
    let mut last = 0;
    for (id, kind) in heard {
        assert!(
            *id == last + 1 || (kind == "lost" && *id > last),
            "{kind} {id} after {last}"
        );
        last = *id;
    }
    assert!(last >= 1_202, "{last}");
}

#[test]
fn a_snapshot_is_how_things_stand_and_what_follows_is_neither_missed_nor_doubled() {
    let served = Served::start(&[]);
    let http = served.http;
    let busy = std::thread::spawn(move || {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..300 {
            let (room, call) = (rng.u8(0..3), rng.u8(0..6));
            let path = format!("/v1/legs/c{call}");
            if rng.bool() {
                let body = json!({ "conferenceId": format!("r{room}"), "callId": format!("c{call}") });
                send(http, "POST", "/v1/legs", &[], body.to_string().as_bytes());
            } else {
                send(http, "DELETE", &path, &[], b"");
            }
        }
        send(
            http,
            "POST",
            "/v1/legs",
            &[],
            br#"{"conferenceId":"end","callId":"end"}"#,
        );
    });
    let readers: Vec<_> = (0..12)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::thread::spawn(move || {
                let mut events = Events::open(http, "?snapshot=true", "");
                let (mut last, snapshot) = events.next();
                assert_eq!(
                    (&snapshot["type"], &snapshot["globalSeq"]),
                    (&json!("snapshot"), &json!(last))
                );
                let mut there = BTreeSet::new();
                for conference in snapshot["conferences"].as_array().unwrap() {
                    for participant in conference["participants"].as_array().unwrap() {
                        let pair = [&conference["conferenceId"], &participant["id"]];
                        assert!(there.insert(pair.map(ToString::to_string)));
                    }
                }
                loop {
                    let (id, event) = events.next();
                    assert_eq!(id, last + 1);
                    last = id;
                    let pair = [&event["conferenceId"], &event["callId"]].map(ToString::to_string);
                    match event["type"].as_str().unwrap() {
                        "leg.joined" => assert!(there.insert(pair), "{event}"),
                        "leg.left" => assert!(there.remove(&pair), "{event}"),
                        _ => {}
                    }
                    if event["callId"] == "end" {
                        return there;
                    }
                }
            })
        })
        .collect();
    busy.join().unwrap();
    let there: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(there.iter().all(|seen| *seen == there[0]));
    let (_, of_one) = Events::open(http, "?snapshot=true&conferenceId=end", "").next();
    assert_eq!(
        (&of_one["conferences"][0]["conferenceId"], &of_one["seq"]),
        (&json!("end"), &json!(2))
    );
    let (_, of_none) = Events::open(http, "?snapshot=true&conferenceId=nowhere", "").next();
    assert_eq!(
        (&of_none["conferences"], &of_none["seq"]),
        (&json!([]), &json!(0))
    );
    served.get("/v1/events?snapshot=yes").refused(40001);
    served.get("/v1/events?snapshot=true&after=1").refused(40001);
}

#[test]
fn a_leg_is_reported_of_while_it_lives_and_its_last_report_is_complete() {
    let served = Served::start(&["events.report_interval_s=1"]);
    let mut events = Events::open(served.http, "?after=0", "");
    let body = json!({ "conferenceId": "r", "callId": "a", "custom": 7, "sdp": offer(5004) });
    served.post("/v1/legs", &body).json(201);
    let (first, second) = (events.until("leg.report"), events.until("leg.report"));
    served.delete("/v1/legs/a").empty(204);
    let left = events.until("leg.left");
    for event in [&first, &second, &left] {
        assert_eq!((&event["callId"], &event["custom"]), (&json!("a"), &json!(7)));
        let report = event["report"].as_object().unwrap();
        for figure in [
            "from",
            "to",
            "durationS",
            "codec",
            "packetsReceived",
            "packetsSent",
            "packetsLost",
            "lossPercent",
            "delayMs",
            "jitterMs",
            "mos",
        ] {
            assert!(report.contains_key(figure), "{figure} in {event}");
        }
    }
    assert!(second["report"]["packetsSent"].as_u64() > first["report"]["packetsSent"].as_u64());
    assert_eq!(left["report"]["codec"], "PCMU/8000");
}

#[test]
fn a_leg_joins_as_it_was_asked_for_and_is_muted_after() {
    let served = Served::start(&[]);
    for round in 0..8 {
        let call = format!("call-{round}");
        served.leg("r", &call);
        served
            .patch(&format!("/v1/legs/{call}"), &json!({ "muted": true }))
            .json(200);
    }
    let mut events = Events::open(served.http, "?after=0", "");
    for _ in 0..8 {
        assert_eq!(events.until("leg.joined")["muted"], false);
    }
    served
        .patch("/v1/legs/call-0", &json!({ "conferenceId": "s" }))
        .json(200);
    assert_eq!(events.until("leg.joined")["muted"], true);
}

#[test]
fn a_move_is_told_in_both_rooms() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    let mut from = Events::open(served.http, "?conferenceId=r&after=2", "");
    let mut to = Events::open(served.http, "?conferenceId=s&after=0", "");
    served
        .patch("/v1/legs/a", &json!({ "conferenceId": "s" }))
        .json(200);
    assert_eq!(from.until("leg.left")["reason"], "moved");
    assert_eq!(from.next().1["type"], "room.ended");
    assert_eq!(to.next().1["type"], "room.started");
    assert_eq!(to.next().1["callId"], "a");
}

#[test]
fn streams_end_with_the_daemon() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    let mut events = Events::open(served.http, "?after=0", "");
    let listener = std::thread::spawn(move || {
        let left = events.until("leg.left");
        (
            left["reason"].clone(),
            events.until("room.ended")["conferenceId"].clone(),
        )
    });
    // Ends only when every connection has.
    drop(served);
    assert_eq!(listener.join().unwrap(), (json!("shutdown"), json!("r")));
}
