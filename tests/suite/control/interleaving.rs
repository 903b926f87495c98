//! Many clients at once on the same legs and rooms: nothing is refused oddly, nothing is left behind.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mixminus::load::api::Api;
use mixminus::load::commands::{self, Mutable};
use serde_json::json;

use crate::support::http::{Served, eventually, offer, send};

const CLIENTS: u64 = 8;
const REQUESTS: usize = 60;

/// Fault row C6.
#[test]
fn eight_clients_at_the_same_legs_leave_no_leg_room_port_or_slot() {
    let served = Served::start(&["engine.legs=4", "engine.rooms=16"]);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (served, done) = (&served, &done);
            scope.spawn(move || {
                let mut chance = fastrand::Rng::with_seed(client + 1);
                for _ in 0..REQUESTS {
                    let call = format!("call-{}", chance.u8(0..4));
                    let room = format!("room-{}", chance.u8(0..3));
                    let reply = match chance.u8(0..9) {
                        0..3 => served.post(
                            "/v1/legs",
                            &json!({ "conferenceId": room, "callId": call, "sdp": offer(5004) }),
                        ),
                        3 => served.patch(&format!("/v1/legs/{call}"), &json!({ "conferenceId": room })),
                        4 => served.patch(&format!("/v1/legs/{call}"), &json!({ "muted": chance.bool() })),
                        5 => served.delete(&format!("/v1/legs/{call}")),
                        6 => served.delete(&format!("/v1/conferences/id/{room}")),
                        7 => served.get(&format!("/v1/legs/{call}")),
                        _ => served.patch(
                            &format!("/v1/conferences/id/{room}/{call}"),
                            &json!({ "command": if chance.bool() { "onhold" } else { "resume" } }),
                        ),
                    };
                    // Made, done, gone, not there, taken by another request, or a room that is just ending: nothing else.
                    let is_ending = reply.status == 503 && reply.text().contains("The conference is ending.");
                    assert!(
                        is_ending || [200, 201, 204, 404, 409].contains(&reply.status),
                        "{} {}",
                        reply.status,
                        reply.text()
                    );
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), CLIENTS as usize * REQUESTS);
    let rooms = served.get("/v1/conferences").json(200);
    for room in rooms["conferences"].as_array().unwrap() {
        served
            .delete(&format!("/v1/conferences/id/{}", room["id"].as_str().unwrap()))
            .empty(204);
    }
    assert_eq!(served.get("/v1/legs").json(200)["total"], 0);
    assert_eq!(served.get("/v1/conferences").json(200)["total"], 0);
    eventually("every slot and port is free", || {
        let engines = |name: &str| -> f64 {
            (0..2)
                .map(|engine| served.metric(&format!("{name}{{engine=\"{engine}\"}}")))
                .sum()
        };
        engines("mixminus_engine_legs") == 0.0
            && engines("mixminus_engine_rooms") == 0.0
            && served.metric("mixminus_ports_free") == 20.0
    });
}

/// Fault row C6.
#[test]
fn commands_beside_legs_are_measured_by_their_answers_and_by_ear() {
    let served = Served::start(&[]);
    let legs: Vec<Mutable> = (0..4)
        .map(|number| {
            let call = format!("call-{number}");
            served.leg("r", &call);
            Mutable {
                conference: "r".to_owned(),
                call,
            }
        })
        .collect();
    let api = Api::new(&format!("http://{}", served.http), None);
    let over = AtomicBool::new(false);
    let bind = std::net::Ipv4Addr::LOCALHOST.into();
    let measured = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| commands::run(&api, &legs, 50, bind, &over));
        std::thread::sleep(Duration::from_secs(3));
        over.store(true, Ordering::Relaxed);
        measuring.join().unwrap()
    });
    assert!(measured.answered > 0 && measured.heard > 0, "{measured}");
    assert_eq!((measured.failed, &measured.failure), (0, &None), "{measured}");
    assert_eq!(
        served.get("/v1/legs").json(200)["total"],
        4,
        "its own legs are gone"
    );
}

#[test]
fn a_leg_that_many_make_at_once_is_made_once() {
    let served = Served::start(&[]);
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let body = json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) });
                let reply = served.post("/v1/legs", &body);
                assert!([200, 201].contains(&reply.status), "{}", reply.text());
                made.fetch_add(usize::from(reply.status == 201), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert_eq!(served.metric("mixminus_ports_free"), 19.0);
}

/// Fault row C6.
#[test]
fn a_client_that_hangs_up_leaves_a_whole_leg_or_none() {
    let served = Served::start(&[]);
    for index in 0..15 {
        let body = json!({ "conferenceId": "r", "callId": format!("call-{index}"), "sdp": offer(5004), "record": true });
        let body = body.to_string();
        let mut client = TcpStream::connect(served.http).unwrap();
        write!(
            client,
            "POST /v1/legs HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        if index % 3 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let legs = || served.get("/v1/legs").json(200)["total"].as_f64().unwrap();
    eventually("each leg has a port and a seat", || {
        let seated: f64 = (0..2)
            .map(|engine| served.metric(&format!("mixminus_engine_legs{{engine=\"{engine}\"}}")))
            .sum();
        legs() == seated && served.metric("mixminus_ports_free") == 20.0 - seated
    });
    // What is still under way may make one after all others have gone.
    eventually("every port is free again", || {
        let ended = served.delete("/v1/conferences/id/r");
        assert!([204, 404].contains(&ended.status), "{}", ended.text());
        served.metric("mixminus_ports_free") == 20.0
    });
}

#[test]
fn what_a_client_that_hung_up_had_asked_for_under_a_key_is_not_done_again() {
    let served = Served::start(&[]);
    let body = json!({ "conferenceId": "r", "sdp": offer(5004), "record": true }).to_string();
    for key in 0..15 {
        let mut client = TcpStream::connect(served.http).unwrap();
        write!(
            client,
            "POST /v1/legs HTTP/1.1\r\nhost: localhost\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        std::thread::sleep(Duration::from_micros(300 * (key % 4)));
    }
    for key in 0..15 {
        let key = key.to_string();
        let headers = [("idempotency-key", key.as_str())];
        send(served.http, "POST", "/v1/legs", &headers, body.as_bytes()).json(201);
    }
    assert_eq!(served.get("/v1/legs").json(200)["total"], 15);
}
