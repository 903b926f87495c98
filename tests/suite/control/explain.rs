//! Why A is not heard by B, asked of a running daemon about legs with real sockets; and what it tells by itself.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mixminus::codec::{Codec, Encoder};
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use serde_json::{Value, json};

use crate::support::http::{Events, Served, eventually, place_of_its_own, sdp, send};
use crate::support::voice::Voice;
use crate::support::world::encoding;

/// What a phone does at the moment.
const SPEAKS: u8 = 0;
const SENDS_NOTHING: u8 = 1;
const SENDS_ANOTHER_PAYLOAD_TYPE: u8 = 2;
const SENDS_FROM_ELSEWHERE: u8 = 3;
const WHISPERS: u8 = 4;

/// A remote party on a thread that sends PCMU.
struct Phone {
    port: u16,
    does: Arc<AtomicU8>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Phone {
    /// Sits down in a room and speaks.
    fn seat(served: &Served, room: &str, call: &str) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let body = json!({ "conferenceId": room, "callId": call, "sdp": sdp(port, "RTP/AVP 0", "") });
        let leg = served.post("/v1/legs", &body).json(201);
        let to: SocketAddr = leg["media"]["local"].as_str().unwrap().parse().unwrap();
        let (does, is_over) = (Arc::new(AtomicU8::new(SPEAKS)), Arc::new(AtomicBool::new(false)));
        let (doing, over) = (Arc::clone(&does), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let mut encoder = Encoder::new(encoding(Codec::Pcmu)).unwrap();
            let mut speaks = Voice::steady(500.0, -20.0);
            let mut whispers = Voice::steady(500.0, -66.0);
            let (mut pcm, mut datagram) = ([0.0; 160], [0; HEADER_BYTES + 160]);
            let mut due = Instant::now();
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let doing = doing.load(Ordering::Relaxed);
                let voice = if doing == WHISPERS {
                    &mut whispers
                } else {
                    &mut speaks
                };
                voice.speak(&mut pcm, 8_000);
                encoder.encode(&pcm, &mut datagram[HEADER_BYTES..]);
                let header = Header {
                    marker: false,
                    payload_type: if doing == SENDS_ANOTHER_PAYLOAD_TYPE {
                        18
                    } else {
                        0
                    },
                    sequence: number as u16,
                    timestamp: number * 160,
                    ssrc: 7,
                };
                header.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
                let from = if doing == SENDS_FROM_ELSEWHERE {
                    &elsewhere
                } else {
                    &socket
                };
                if doing != SENDS_NOTHING {
                    from.send_to(&datagram, to).unwrap();
                }
                due += Duration::from_millis(20);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Phone {
            port,
            does,
            is_over,
            thread: Some(thread),
        }
    }

    fn now(&self, does: u8) {
        self.does.store(does, Ordering::Relaxed);
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn explained(served: &Served) -> Value {
    served.get("/v1/explain?from=a&to=b").json(200)
}

/// Waits until this link is the first broken one (none: until it is heard), and gives its fact.
#[track_caller]
fn broken(served: &Served, link: Option<&str>) -> String {
    let what = format!("broken is {link:?}");
    let explained = std::cell::RefCell::new(Value::Null);
    eventually(&what, || {
        let now = self::explained(served);
        let is_so = now["broken"] == json!(link) && now["heard"] == json!(link.is_none());
        explained.replace(now);
        is_so
    });
    let explained = explained.into_inner();
    let links = explained["links"].as_array().unwrap();
    let marked: Vec<&Value> = links
        .iter()
        .filter(|link| link["firstBroken"] == json!(true))
        .collect();
    assert_eq!(marked.len(), usize::from(link.is_some()), "{explained}");
    let fact = marked.first().map_or("", |link| link["fact"].as_str().unwrap());
    assert!(explained["summary"].as_str().unwrap().ends_with(fact));
    fact.to_owned()
}

#[test]
fn the_first_broken_link_between_two_legs_is_named_as_it_breaks_and_heals() {
    let served = Served::start(&[]);
    let a = Phone::seat(&served, "r", "a");
    let b = Phone::seat(&served, "r", "b");
    // From then on its address is nobody else's.
    eventually("it has shown who it is", || {
        served.get("/v1/legs/a").json(200)["media"]["packetsReceived"].as_u64() > Some(5)
    });
    broken(&served, None);
    let links = explained(&served)["links"].clone();
    for link in links.as_array().unwrap() {
        assert!(link["fact"].as_str().unwrap().ends_with('.'), "{link}");
        assert!(link["ok"] == json!(true) || link["ok"] == Value::Null, "{link}");
    }
    assert_eq!(
        (&links[0]["link"], &links[0]["callId"]),
        (&json!("agreed"), &json!("a"))
    );
    assert_eq!(
        (&links[16]["link"], &links[16]["callId"]),
        (&json!("received"), &json!("b"))
    );

    a.now(SENDS_NOTHING);
    let fact = broken(&served, Some("arriving"));
    assert!(fact.contains(&format!("127.0.0.1:{}", a.port)), "{fact}");
    a.now(SENDS_FROM_ELSEWHERE);
    let fact = broken(&served, Some("source"));
    assert!(
        fact.contains(&format!("signalled is 127.0.0.1:{}", a.port)),
        "{fact}"
    );
    a.now(SENDS_ANOTHER_PAYLOAD_TYPE);
    let fact = broken(&served, Some("payload_type"));
    assert!(fact.contains("the last 18; agreed is 0 (PCMU/8000)"), "{fact}");
    a.now(WHISPERS);
    let fact = broken(&served, Some("level"));
    assert!(fact.contains("-6"), "{fact}");
    a.now(SPEAKS);
    broken(&served, None);

    for (call, change, undo, link, says) in [
        (
            "a",
            json!({ "muted": true }),
            json!({ "muted": false }),
            "muted",
            "PATCH /v1/legs/{callId}",
        ),
        (
            "a",
            json!({ "onhold": true }),
            json!({ "onhold": false }),
            "held",
            "without a key",
        ),
        (
            "b",
            json!({ "deaf": true }),
            json!({ "deaf": false }),
            "listening",
            "deaf",
        ),
        (
            "b",
            json!({ "onhold": true }),
            json!({ "onhold": false }),
            "listening",
            "hears silence",
        ),
        (
            "b",
            json!({ "conferenceId": "other" }),
            json!({ "conferenceId": "r" }),
            "route",
            "`other`",
        ),
        (
            "b",
            json!({ "sdp": sdp(b.port, "RTP/AVP 0", "a=sendonly\r\n") }),
            json!({ "sdp": sdp(b.port, "RTP/AVP 0", "") }),
            "sent",
            "takes nothing now",
        ),
        (
            "b",
            json!({ "sdp": sdp(b.port, "RTP/AVP 0", "").replace("127.0.0.1", "0.0.0.0") }),
            json!({ "sdp": sdp(b.port, "RTP/AVP 0", "") }),
            "sent",
            "no address",
        ),
    ] {
        let path = format!("/v1/legs/{call}");
        served.patch(&path, &change).json(200);
        let fact = broken(&served, Some(link));
        assert!(fact.contains(says), "{fact}");
        served.patch(&path, &undo).json(200);
        broken(&served, None);
    }
    // The platform's command is another request.
    let participant = "/calling/v1/conferences/id/r/a";
    served
        .patch(participant, &json!({ "command": "mute" }))
        .empty(200);
    let leg = served.get("/v1/legs/a").json(200);
    assert_eq!(
        leg["mutedBy"]["via"],
        "PATCH /v1/conferences/id/{conferenceId}/{callId}"
    );
    assert_eq!(
        (&leg["mutedBy"]["key"], &leg["heldBy"]),
        (&Value::Null, &Value::Null)
    );
    assert!(broken(&served, Some("muted")).contains("/conferences/"));
    // It is right about the other way as well.
    assert_eq!(served.get("/v1/explain?from=b&to=a").json(200)["heard"], true);
}

#[test]
fn a_listener_that_is_gone_does_not_hear() {
    let served = Served::start(&[]);
    let a = Phone::seat(&served, "r", "a");
    let b = Phone::seat(&served, "r", "b");
    broken(&served, None);
    b.now(SENDS_NOTHING);
    eventually("nobody is sure that it hears", || {
        explained(&served)["heard"] != json!(true)
    });
    let fact = broken(&served, Some("received"));
    assert!(fact.contains("Nothing has come from `b`"), "{fact}");
    b.now(SPEAKS);
    broken(&served, None);
    drop((a, b));
}

#[test]
fn an_address_that_cannot_be_reached_is_named_and_told() {
    let served = Served::start(&[]);
    let mut events = Events::open(served.http, "?conferenceId=r", "");
    let a = Phone::seat(&served, "r", "a");
    let b = Phone::seat(&served, "r", "b");
    // From a socket that is bound to loopback there is no way there.
    let gone =
        json!({ "sdp": sdp(b.port, "RTP/AVP 0", "").replace("c=IN IP4 127.0.0.1", "c=IN IP4 192.0.2.1") });
    eventually("it is heard", || {
        served.get("/v1/legs/b").json(200)["contributing"] == true
    });
    b.now(SENDS_NOTHING);
    served.patch("/v1/legs/b", &gone).json(200);
    let fact = broken(&served, Some("sent"));
    assert!(
        fact.contains("The socket refused") && fact.contains("192.0.2.1"),
        "{fact}"
    );
    let mut told = [events.until("leg.one_way"), events.until("leg.one_way")];
    told.sort_by_key(|event| event["direction"].to_string());
    assert_eq!(
        told.map(|event| json!([event["callId"], event["on"], event["direction"], event["reason"]])),
        [
            json!(["b", true, "in", "stopped"]),
            json!(["b", true, "out", "not_sent"])
        ]
    );
    assert_eq!(served.metric("mixminus_one_way_total{direction=\"out\"}"), 1.0);
    assert!(
        served.get("/v1/legs/b").json(200)["media"]["sendErrors"]
            .as_u64()
            .unwrap()
            > 50
    );
    drop(a);
}

#[test]
fn who_muted_a_leg_is_known_by_the_key_and_a_reader_may_ask() {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    std::fs::write(&file, "viewer:c2VjcmV0:read\nswitch:czNjcjN0\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let served = Served::start(&[&format!("auth.keys_file={}", file.display())]);
    let ask = |method: &str, path: &str, credentials: &str, body: &Value| {
        let authorization = format!("Basic {}", STANDARD.encode(credentials));
        let headers = [("authorization", &authorization[..])];
        send(served.http, method, path, &headers, body.to_string().as_bytes())
    };
    for call in ["a", "b"] {
        let body = json!({ "conferenceId": "r", "callId": call, "muted": call == "a", "sdp": sdp(5004, "RTP/AVP 0", "") });
        ask("POST", "/v1/legs", "switch:czNjcjN0", &body).json(201);
    }
    let explained = ask("GET", "/v1/explain?from=a&to=b", "viewer:c2VjcmV0", &Value::Null).json(200);
    let muted = explained["links"]
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["link"] == "muted")
        .unwrap();
    assert_eq!(muted["ok"], false);
    let fact = muted["fact"].as_str().unwrap();
    assert!(
        fact.contains("by the key `switch` (POST /v1/legs) at 20"),
        "{fact}"
    );
    let leg = ask("GET", "/v1/legs/a", "viewer:c2VjcmV0", &Value::Null).json(200);
    assert_eq!(leg["mutedBy"]["key"], "switch");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_is_asked_wrongly_is_refused_by_name() {
    let served = Served::start(&[]);
    served.leg("r", "a");
    for (query, code, says) in [
        ("", 40002, "`from`"),
        ("?from=a", 40002, "`to`"),
        ("?to=a", 40002, "`from`"),
        ("?from=a&to=a", 40001, "`to`"),
        ("?from=a&to=b&x=1", 40001, "`from` and `to`"),
        ("?from=a&from=b&to=c", 40001, "once"),
        ("?from=a%20b&to=c", 40001, "`from`"),
        ("?from=a&to=", 40001, "`to`"),
        ("?from=a&to=b", 40400, "`to`"),
        ("?from=b&to=a", 40400, "`from`"),
    ] {
        let message = served.get(&format!("/v1/explain{query}")).refused(code);
        assert!(message.contains(says), "{query}: {message}");
    }
    served.post("/v1/explain?from=a&to=b", &json!({})).refused(40500);
}

#[test]
fn a_party_that_is_not_heard_is_told_and_so_is_its_return() {
    let served = Served::start(&[]);
    let mut events = Events::open(served.http, "?conferenceId=r", "");
    let phone = Phone::seat(&served, "r", "a");
    eventually("it is heard", || {
        served.get("/v1/legs/a").json(200)["contributing"] == true
    });
    phone.now(SENDS_ANOTHER_PAYLOAD_TYPE);
    let begins = events.until("leg.one_way");
    assert_eq!(
        json!([
            begins["callId"],
            begins["on"],
            begins["direction"],
            begins["reason"]
        ]),
        json!(["a", true, "in", "unknown_payload_type"])
    );
    assert_eq!(
        served.get("/v1/legs/a").json(200)["media"]["oneWay"],
        json!({ "in": "unknown_payload_type", "out": null })
    );
    phone.now(SPEAKS);
    let ends = events.until("leg.one_way");
    assert_eq!((&ends["on"], &ends["direction"]), (&json!(false), &json!("in")));
    assert_eq!(served.metric("mixminus_one_way_total{direction=\"in\"}"), 1.0);
}

#[test]
fn media_that_has_died_is_told_and_ends_the_leg_where_that_is_asked_for() {
    let served = Served::start(&["rtp.media_timeout_s=3"]);
    let mut events = Events::open(served.http, "?conferenceId=r", "");
    let phone = Phone::seat(&served, "r", "a");
    let body = json!({
        "conferenceId": "r", "callId": "b", "sdp": sdp(5004, "RTP/AVP 0", ""), "mediaTimeoutS": 5, "endOnMediaTimeout": true,
    });
    let leg = served.post("/v1/legs", &body).json(201);
    assert_eq!(
        (&leg["mediaTimeoutS"], &leg["endOnMediaTimeout"]),
        (&json!(5), &json!(true))
    );
    eventually("it is heard", || {
        served.get("/v1/legs/a").json(200)["media"]["packetsReceived"].as_u64() > Some(10)
    });
    phone.now(SENDS_NOTHING);
    let of_a = events.until("leg.media_timeout");
    assert_eq!(
        json!([of_a["callId"], of_a["seconds"], of_a["ends"]]),
        json!(["a", 3, false])
    );
    assert!(of_a["lastArrival"].as_str().unwrap().ends_with('Z'));
    let of_b = events.until("leg.media_timeout");
    assert_eq!(
        json!([of_b["callId"], of_b["seconds"], of_b["ends"], of_b["lastArrival"]]),
        json!(["b", 5, true, null])
    );
    let left = events.until("leg.left");
    assert_eq!(
        (&left["callId"], &left["reason"]),
        (&json!("b"), &json!("media_timeout"))
    );
    served.get("/v1/legs/b").refused(40400);
    let kept = served.get("/v1/legs/a").json(200);
    assert_eq!(
        (&kept["mediaTimeoutS"], &kept["endOnMediaTimeout"]),
        (&json!(3), &json!(false))
    );
    assert_eq!(served.metric("mixminus_media_timeouts_total"), 2.0);
    let changed = served
        .patch(
            "/v1/legs/a",
            &json!({ "mediaTimeoutS": 0, "endOnMediaTimeout": true }),
        )
        .json(200);
    assert_eq!(
        (&changed["mediaTimeoutS"], &changed["endOnMediaTimeout"]),
        (&json!(0), &json!(true))
    );
    let cleared = served
        .patch(
            "/v1/legs/a",
            &json!({ "mediaTimeoutS": null, "endOnMediaTimeout": null }),
        )
        .json(200);
    assert_eq!(
        (&cleared["mediaTimeoutS"], &cleared["endOnMediaTimeout"]),
        (&json!(3), &json!(false))
    );
    // Its timeout is another again, which is told. Whoever asks for its end now does not wait for the media's return.
    assert_eq!(events.until("leg.media_timeout")["ends"], false);
    served
        .patch("/v1/legs/a", &json!({ "endOnMediaTimeout": true }))
        .json(200);
    let of_a = events.until("leg.media_timeout");
    assert_eq!((&of_a["callId"], &of_a["ends"]), (&json!("a"), &json!(true)));
    let left = events.until("leg.left");
    assert_eq!(
        (&left["callId"], &left["reason"]),
        (&json!("a"), &json!("media_timeout"))
    );
}
