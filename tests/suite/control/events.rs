//! The stream of events: order, numbers, resuming.

use serde_json::json;

use crate::support::http::{Events, Served};

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

#[test]
fn who_comes_too_late_is_told_what_is_missing() {
    let served = Served::start(&["events.ring=100"]);
    served.leg("r", "a");
    Events::open(served.http, "?after=0", "").until("leg.joined");
    for round in 0..60 {
        let muted = round % 2 == 0;
        served.patch("/v1/legs/a", &json!({ "muted": muted })).json(200);
        served.patch("/v1/legs/a", &json!({ "onhold": muted })).json(200);
    }
    let mut late = Events::open(served.http, "?after=5", "");
    let (id, event) = late.next();
    assert_eq!(event["type"], "lost");
    assert_eq!(event["missed"], json!({ "from": 6, "to": id }));
    assert_eq!(event["globalSeq"], id);
    assert_eq!(late.next().0, id + 1);
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
    let begun = std::time::Instant::now();
    drop(served);
    assert_eq!(listener.join().unwrap(), (json!("shutdown"), json!("r")));
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}
