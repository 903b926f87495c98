//! The form of requests and refusals: paths, ids, bodies, methods, repetition.

use std::io::{BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::http::{Served, eventually, offer, raw, read_reply, send};

const UNKNOWN_LEG: &str = "/v1/legs/nobody";
const UNKNOWN_ROOM: &str = "/v1/conferences/id/nowhere";

#[test]
fn every_refusal_has_its_status_and_code_in_the_one_form() {
    let served = Served::start(&[]);
    let room = format!("{UNKNOWN_ROOM}/recording");
    let participant = format!("{UNKNOWN_ROOM}/nobody");
    for (method, path, body, code) in [
        ("GET", "/", "", 40400),
        ("GET", "/v2/legs", "", 40400),
        ("GET", "/v1", "", 40400),
        ("POST", "/v1/legs/x/hum", "{}", 40400),
        ("POST", "/v1/legs/x/dtmf", r#"{"digits":"1"}"#, 40400),
        ("POST", "/v1/legs/x/dtmf", "{}", 40002),
        ("PUT", "/v1/conferences/id/r/routes", "{}", 40400),
        ("POST", "/v1/conferences/id/r/play", "{}", 40400),
        ("GET", "/calling/v1/legs", "", 40400),
        ("GET", UNKNOWN_LEG, "", 40400),
        ("PATCH", UNKNOWN_LEG, "{}", 40400),
        ("DELETE", UNKNOWN_LEG, "", 40400),
        ("GET", UNKNOWN_ROOM, "", 40400),
        ("PATCH", UNKNOWN_ROOM, "{}", 40400),
        ("DELETE", UNKNOWN_ROOM, "", 40400),
        ("PATCH", &participant, r#"{"command":"mute"}"#, 40400),
        ("DELETE", &participant, "", 40400),
        ("POST", &room, "", 40400),
        ("PATCH", &room, r#"{"command":"pause"}"#, 40400),
        ("DELETE", &room, "", 40400),
        ("GET", "/v1/recordings/none", "", 40400),
        ("GET", "/v1/recordings/none/audio", "", 40400),
        ("PUT", "/v1/legs", "", 40500),
        ("POST", UNKNOWN_LEG, "", 40500),
        ("POST", UNKNOWN_ROOM, "", 40500),
        ("GET", &participant, "", 40500),
        ("GET", &room, "", 40500),
        ("DELETE", "/v1/recordings", "", 40500),
        ("POST", "/v1/events", "", 40500),
        ("POST", "/healthz", "", 40500),
        ("POST", "/metrics", "", 40500),
        ("POST", "/v1/legs", "{}", 40002),
        ("POST", "/v1/legs", r#"{"conferenceId":1}"#, 40001),
        ("POST", "/v1/legs", r#"{"conferenceId":"r","surprise":1}"#, 40001),
        ("POST", "/v1/legs", r#"{"conferenceId":"r","moh":"polka"}"#, 40001),
        (
            "POST",
            "/v1/legs",
            r#"{"conferenceId":"r","callId":"recording"}"#,
            40001,
        ),
        (
            "POST",
            "/v1/legs",
            r#"{"conferenceId":"r","sdp":"nonsense"}"#,
            40001,
        ),
        ("PATCH", &participant, "{}", 40002),
        ("PATCH", &participant, r#"{"command":"shout"}"#, 40001),
        ("PATCH", UNKNOWN_ROOM, r#"{"maxTalkers":0}"#, 40001),
        ("GET", "/v1/legs?page=0", "", 40001),
        ("GET", "/v1/legs?pageSize=1001", "", 40001),
        ("GET", "/v1/events?after=x", "", 40001),
        ("GET", "/v1/events?conferenceId=", "", 40001),
        ("GET", "/v1/events?conferenceId=%FF", "", 40001),
        ("GET", "/v1/events?conferenceId=a&conferenceId=b", "", 40001),
        ("GET", "/v1/legs?page=1&page=2", "", 40001),
    ] {
        let reply = send(served.http, method, path, &[], body.as_bytes());
        assert_eq!(
            reply.json((code / 100) as u16)["errorCode"],
            code,
            "{method} {path} {body}"
        );
        reply.refused(code);
        assert_eq!(reply.header("allow").is_some(), code == 40500, "{method} {path}");
    }
    let wrong = send(served.http, "PUT", UNKNOWN_LEG, &[], b"");
    let allowed: Vec<&str> = wrong.header("allow").unwrap().split(',').map(str::trim).collect();
    assert_eq!(allowed, ["GET", "HEAD", "PATCH", "DELETE"]);
    assert_eq!(served.metric("mixminus_rooms"), 0.0);
}

#[test]
fn the_open_paths_say_how_the_daemon_is() {
    let served = Served::start(&[]);
    assert_eq!(served.get("/healthz").json(200), json!({ "status": "up" }));
    assert_eq!(served.get("/readyz").json(200), json!({ "status": "ready" }));
    let head = send(served.http, "HEAD", "/healthz", &[], b"");
    assert_eq!(head.status, 200);
    served.drain();
    assert!(served.get("/readyz").refused(50300).contains("draining"));
    assert_eq!(served.get("/healthz").status, 200);
    let refused = served.post("/v1/legs", &json!({ "conferenceId": "new" }));
    refused.refused(50300);
    assert!(refused.header("retry-after").is_some());
}

/// Fault row C1.
#[test]
fn a_conference_id_is_decoded_once_and_compared_byte_for_byte() {
    let served = Served::start(&[]);
    let sixty_four = "😀".repeat(64);
    let encoded_sixty_four = "%F0%9F%98%80".repeat(64);
    let ids = [
        ("plain", "plain"),
        ("/", "%2F"),
        (".", "%2e"),
        ("..", "%2E%2e"),
        ("..", ".."),
        ("%2F", "%252F"),
        ("%2e%2e%2f", "%252e%252e%252f"),
        ("%", "%25"),
        ("a+b c", "a+b%20c"),
        ("a?b#c", "a%3Fb%23c"),
        ("é", "%C3%A9"),
        ("e\u{301}", "e%CC%81"),
        ("\u{202e}مرحبا", "%E2%80%AE%D9%85%D8%B1%D8%AD%D8%A8%D8%A7"),
        (&sixty_four, &encoded_sixty_four),
    ];
    let mut rooms = 0;
    for (index, (id, path)) in ids.iter().enumerate() {
        let call = format!("call-{index}");
        served.leg(id, &call);
        for prefix in ["/v1", "/calling/v1"] {
            let conference = served.get(&format!("{prefix}/conferences/id/{path}")).json(200);
            assert_eq!(conference["conferenceId"], *id, "{path}");
            let calls = conference["participants"].as_array().unwrap();
            assert!(
                calls.iter().any(|participant| participant["id"] == call.as_str()),
                "{path}"
            );
        }
        let command = served.patch(
            &format!("/v1/conferences/id/{path}/{call}"),
            &json!({ "command": "mute" }),
        );
        command.empty(200);
        rooms += usize::from(index == 0 || ids[index - 1].0 != *id);
    }
    assert_eq!(served.get("/v1/conferences").json(200)["total"], rooms);
}

/// Fault row C1.
#[test]
fn a_conference_id_that_is_too_long_empty_or_unprintable_is_refused_everywhere() {
    let served = Served::start(&[]);
    let long = "a".repeat(65);
    for (id, path) in [
        (long.as_str(), long.as_str()),
        ("", ""),
        ("\0", "%00"),
        ("a\nb", "a%0Ab"),
        ("\u{85}", "%C2%85"),
    ] {
        let refused = served
            .post("/v1/legs", &json!({ "conferenceId": id, "sdp": offer(5004) }))
            .refused(40001);
        assert!(refused.contains("`conferenceId`"), "{refused}");
        assert!(
            served
                .get(&format!("/v1/conferences/id/{path}"))
                .refused(40001)
                .contains("`conferenceId`")
        );
        served
            .delete(&format!("/calling/v1/conferences/id/{path}"))
            .refused(40001);
    }
    served.get("/v1/conferences/id/%FF").refused(40001);
    let of_leg = served.delete("/v1/conferences/id/r/%FF").refused(40001);
    assert!(of_leg.contains("`callId`"), "{of_leg}");
    let of_type = served
        .post("/v1/legs", &json!({ "conferenceId": 1 }))
        .refused(40001);
    assert_eq!(of_type, "`conferenceId` must be a string.");
    // An escape that is none stands for itself.
    served.get("/v1/conferences/id/%zz").refused(40400);
    served.get("/v1/legs/a%20b").refused(40001);
    assert_eq!(served.metric("mixminus_ports_free"), 20.0);
}

/// Fault row C2.
#[test]
fn a_body_that_is_no_json_object_is_refused_fast_and_not_repeated() {
    let served = Served::start(&[]);
    let deep = format!("{{\"conferenceId\":{}", "[".repeat(10_000));
    for body in [
        b"{".as_slice(),
        b"[]",
        b"null",
        b"\xef\xbb\xbf{\"conferenceId\":\"r\"}",
        b"{\"conferenceId\":\"\xff\xfe\"}",
        b"{\"conferenceId\":\"secret\",\"conferenceId\":\"r\"}",
        b"{\"conferenceId\":\"secret\",\"gainDb\":1e999}",
        b"{\"conferenceId\":\"\\ud800\"}",
        deep.as_bytes(),
    ] {
        let reply = send(served.http, "POST", "/v1/legs", &[], body);
        let message = reply.refused(40003);
        assert!(!message.contains("secret"), "{message}");
    }
    for (body, field) in [
        (r#"{"conferenceId":"r","gainDb":100}"#, "`gainDb`"),
        (r#"{"conferenceId":"r","maxDelayMs":-1}"#, "`maxDelayMs`"),
        (r#"{"conferenceId":"r","maxDelayMs":481}"#, "40 to 480"),
        (r#"{"conferenceId":"r","muted":"true"}"#, "`muted`"),
        (r#"{"conferenceId":"r","<script>":1}"#, "`?script?`"),
    ] {
        let message = send(served.http, "POST", "/v1/legs", &[], body.as_bytes()).refused(40001);
        assert!(message.contains(field), "{message}");
    }
    // What the header says of the type does not matter.
    let headers = [("content-type", "text/plain")];
    let body = json!({ "conferenceId": "r", "sdp": offer(5004) }).to_string();
    assert_eq!(
        send(served.http, "POST", "/v1/legs", &headers, body.as_bytes()).status,
        201
    );
}

/// Fault row C3.
#[test]
fn a_body_over_64_kib_is_refused_whatever_its_header_says() {
    let served = Served::start(&[]);
    let announced = raw(
        served.http,
        b"POST /v1/legs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 65537\r\n\r\n",
    );
    announced.refused(41300);
    assert_eq!(announced.header("connection"), Some("close"));
    let mut chunked =
        b"POST /v1/legs HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..5 {
        chunked.extend_from_slice(b"4000\r\n");
        chunked.resize(chunked.len() + 0x4000, b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    raw(served.http, &chunked).refused(41300);
    for lengths in ["content-length: -1", "content-length: 1\r\ncontent-length: 2"] {
        let request = format!("POST /v1/legs HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n\r\n{{}}");
        raw(served.http, request.as_bytes()).refused(40003);
    }
    // Just fits.
    let mut body = br#"{"conferenceId":1"#.to_vec();
    body.resize(65_535, b' ');
    body.push(b'}');
    send(served.http, "POST", "/v1/legs", &[], &body).refused(40001);
}

/// Before any route is found.
#[test]
fn what_is_no_request_of_http_is_refused_in_the_form_of_all_errors_and_counted() {
    let served = Served::start(&[]);
    let wide = format!("GET /v1/legs HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    let long = format!("GET /v1/legs HTTP/1.1\r\na: {}", "b".repeat(16 << 10));
    let cases: [(&[u8], u64); 5] = [
        (b"hum\r\n\r\n", 40003),
        (b"GET /v1/legs HTTP/3.7\r\n\r\n", 40003),
        (b"GET /v1/legs HTTP/1.1\r\nno colon\r\n\r\n", 40003),
        (wide.as_bytes(), 43100),
        (long.as_bytes(), 43100),
    ];
    for to in [served.http, served.grpc] {
        for (request, code) in cases {
            raw(to, request).refused(code);
        }
    }
    // On a connection that was good until then.
    let good = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut stream = BufReader::new(TcpStream::connect(served.http).unwrap());
    stream.get_mut().write_all(good.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream, true).status, 200);
    stream.get_mut().write_all(b"hum\r\n\r\n").unwrap();
    read_reply(&mut stream, true).refused(40003);
    eventually("each is counted", || {
        served.metric("mixminus_refused_connections_total{reason=\"malformed\"}") == 11.0
    });
}

#[test]
fn a_wrong_method_is_counted_wherever_it_is_tried() {
    let served = Served::start(&[]);
    let methods = || served.metric("mixminus_refused_total{reason=\"method\"}");
    for (count, path) in [(1.0, "/healthz"), (2.0, "/v1/events"), (3.0, "/readyz")] {
        served.delete(path).refused(40500);
        assert_eq!(methods(), count, "{path}");
    }
}

#[test]
fn a_post_with_an_idempotency_key_is_done_once() {
    let served = Served::start(&[]);
    let body = json!({ "conferenceId": "r", "sdp": offer(5004) }).to_string();
    let post = |key: &str, body: &str| {
        send(
            served.http,
            "POST",
            "/v1/legs",
            &[("idempotency-key", key)],
            body.as_bytes(),
        )
    };
    let first = post("k1", &body);
    let again = post("k1", &body);
    let leg: Value = first.json(201);
    assert_eq!(again.json(201), leg);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    post("k1", &body.replace("5004", "5006")).refused(40900);
    assert_ne!(post("k2", &body).json(201)["callId"], leg["callId"]);
    post(&"x".repeat(256), &body).refused(40001);
    assert_eq!(served.get("/v1/legs").json(200)["total"], 2);
    // What was refused may be tried again under the same key.
    post("k3", "{}").refused(40002);
    post("k3", &body).json(201);
}

#[test]
fn a_long_list_comes_in_pages() {
    let served = Served::start(&[]);
    for index in 0..5 {
        served.leg(&format!("room-{index}"), &format!("call-{index}"));
    }
    let page = served.get("/v1/legs?page=2&pageSize=2").json(200);
    assert_eq!(
        (&page["total"], &page["page"], &page["pageSize"]),
        (&json!(5), &json!(2), &json!(2))
    );
    let calls: Vec<&Value> = page["legs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|leg| &leg["callId"])
        .collect();
    assert_eq!(calls, ["call-2", "call-3"]);
    assert_eq!(
        served.get("/v1/conferences?page=3&pageSize=2").json(200)["conferences"][0]["id"],
        "room-4"
    );
    assert_eq!(served.get("/v1/legs?page=9").json(200)["legs"], json!([]));
}

#[test]
fn the_daemon_ends_in_time_though_every_connection_is_taken() {
    let served = Served::start(&["http.connections=2"]);
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let mut client = TcpStream::connect(served.http).unwrap();
            let head = b"POST /v1/legs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n";
            client.write_all(head).unwrap();
            client
        })
        .collect();
    // Both are served by then, and their bodies waited for.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let begun = std::time::Instant::now();
    drop(served);
    // A body has ten seconds to come.
    assert!(begun.elapsed().as_secs() < 9, "{:?}", begun.elapsed());
    drop(slow);
}
