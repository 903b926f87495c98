//! What connections and requests may take, and that others do not feel who wants more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::grpc::Client;
use crate::support::h2;
use crate::support::http::{Events, Served, eventually, offer, place_of_its_own, send};

/// Waits until it is so, as long as the bounds of time that are tested may take on a machine that is busy.
#[track_caller]
fn in_the_end(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn refused_connections(served: &Served, reason: &str) -> f64 {
    served.metric(&format!(
        "mixminus_refused_connections_total{{reason=\"{reason}\"}}"
    ))
}

fn refused(served: &Served, reason: &str) -> f64 {
    served.metric(&format!("mixminus_refused_total{{reason=\"{reason}\"}}"))
}

fn connect(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Reads until the other side ends the connection; broken off is ended, too.
fn until_closed(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let is_timeout = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!ended.is_err_and(is_timeout), "it stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fault row C4.
#[test]
fn whoever_sends_a_header_or_a_body_byte_by_byte_is_cut_off_and_others_are_answered() {
    let served = Served::start(&[]);
    let is_over = AtomicBool::new(false);
    // Nothing at all, and what either protocol may begin with.
    let beginnings: [&[u8]; 4] = [b"", b"PR", b"G", b"GET /healthz HTTP/1.1\r\nhost: localhost"];
    std::thread::scope(|scope| {
        for to in [served.http, served.grpc] {
            for beginning in beginnings.into_iter().cycle().take(40) {
                let mut stream = connect(to, beginning);
                let goes_on = !matches!(beginning, b"" | b"PR");
                let is_over = &is_over;
                scope.spawn(move || {
                    let is_cut = |stream: &mut TcpStream| goes_on && stream.write_all(b"y").is_err();
                    while !is_over.load(Ordering::Relaxed) && !is_cut(&mut stream) {
                        std::thread::sleep(Duration::from_millis(200));
                    }
                });
            }
        }
        let head = b"POST /v1/legs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{";
        let bodies: Vec<TcpStream> = (0..10).map(|_| connect(served.http, head)).collect();
        in_the_end("they are cut off", || {
            assert_eq!(served.get("/v1/legs").status, 200);
            refused_connections(&served, "slow") + refused_connections(&served, "malformed") >= 80.0
        });
        for body in bodies {
            let answer = until_closed(body);
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(refused(&served, "body_time"), 10.0);
    in_the_end("no connection is left", || {
        served.metric("mixminus_connections{face=\"http\"}") == 1.0
            && served.metric("mixminus_connections{face=\"grpc\"}") == 0.0
    });
}

/// Fault row C4.
#[test]
fn floods_of_frames_end_their_connection_and_others_are_answered() {
    let served = Served::start(&[]);
    let all = ["resets", "chatter", "protocol"];
    let ended = || -> f64 {
        all.iter()
            .map(|reason| refused_connections(&served, reason))
            .sum()
    };
    let reset_at_once = |number: u32| {
        let stream = 2 * number + 1;
        let mut frames = h2::frame(
            h2::HEADERS,
            h2::END_STREAM | h2::END_HEADERS,
            stream,
            &h2::get("/v1/legs"),
        );
        frames.extend(h2::frame(h2::RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        frames
    };
    let continued = |number: u32| match number {
        0 => h2::frame(h2::HEADERS, h2::END_STREAM, 1, &h2::get("/v1/legs")),
        _ => h2::frame(h2::CONTINUATION, 0, 1, b"\x00\x01a\x01b"),
    };
    let ping = |_| h2::frame(h2::PING, 0, 0, b"12345678");
    let settings = |_| h2::frame(h2::SETTINGS, 0, 0, b"");
    let of_no_stream = |number: u32| h2::frame(h2::DATA, 0, 2 * number + 1, b"");
    type Flood<'a> = (&'a str, &'a (dyn Fn(u32) -> Vec<u8> + Sync));
    let floods: [Flood; 5] = [
        ("requests that are reset", &reset_at_once),
        ("a header without end", &continued),
        ("pings", &ping),
        ("settings", &settings),
        ("data of no stream", &of_no_stream),
    ];
    for (what, frames) in floods {
        for to in [served.http, served.grpc] {
            let before = ended();
            h2::flood(to, frames);
            in_the_end(what, || ended() > before);
            assert_eq!(served.get("/v1/legs").status, 200);
        }
    }
}

/// Fault row C4.
#[test]
fn whoever_breaks_requests_off_in_the_middle_of_their_body_is_cut_off() {
    let served = Served::start(&[]);
    let no_error = 0u32;
    let cancel = 8u32;
    for (to, path) in [
        (served.http, "/v1/legs"),
        (served.grpc, "/mixminus.v1.Control/CreateLeg"),
    ] {
        for code in [no_error, cancel] {
            // Where the daemon comes to look after the reset only, it is against the bounds that the peer was told.
            let ended = || refused_connections(&served, "resets") + refused_connections(&served, "protocol");
            let before = ended();
            h2::flood(to, |number| {
                if number % 50 == 0 {
                    // So that those before are waited for.
                    std::thread::sleep(Duration::from_millis(50));
                }
                let mut frames = h2::frame(h2::HEADERS, h2::END_HEADERS, 2 * number + 1, &h2::post(path));
                if let Some(earlier) = number.checked_sub(50) {
                    let earlier = 2 * earlier + 1;
                    frames.extend(h2::frame(h2::RST_STREAM, 0, earlier, &code.to_be_bytes()));
                }
                frames
            });
            in_the_end("it is counted", || ended() > before);
            in_the_end("a single one is counted", || {
                let before = refused(&served, "cut_short");
                let mut stream = h2::connect(to);
                let head = h2::frame(h2::HEADERS, h2::END_HEADERS, 1, &h2::post(path));
                stream.write_all(&head).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                let reset = h2::frame(h2::RST_STREAM, 0, 1, &code.to_be_bytes());
                stream.write_all(&reset).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                refused(&served, "cut_short") > before
            });
        }
    }
    assert_eq!(refused(&served, "too_large"), 0.0);
}

#[test]
fn http_2_is_spoken_with_whoever_begins_so() {
    let served = Served::start(&[]);
    let mut stream = h2::connect(served.http);
    let request = h2::frame(
        h2::HEADERS,
        h2::END_STREAM | h2::END_HEADERS,
        1,
        &h2::get("/healthz"),
    );
    // The rest of the preface comes late.
    let mut slow = TcpStream::connect(served.http).unwrap();
    for part in [
        &h2::PREFACE[..2],
        &h2::PREFACE[2..],
        &h2::frame(h2::SETTINGS, 0, 0, b""),
        &request,
    ] {
        slow.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.write_all(&request).unwrap();
    for mut stream in [stream, slow] {
        let head = loop {
            let (kind, number, payload) = h2::read(&mut stream).unwrap();
            if kind == h2::HEADERS {
                break (number, payload[0]);
            }
        };
        // 0x88 is `:status: 200`.
        assert_eq!(head, (1, 0x88));
    }
}

#[test]
fn one_address_has_so_many_connections_and_one_more_is_closed_at_once() {
    let served = Served::start(&["http.connections_per_address=4"]);
    let head = b"GET /v1/legs HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // Served, so that they are known to be counted.
    let mut open: Vec<TcpStream> = (0..3).map(|_| connect(served.http, head)).collect();
    for stream in &mut open {
        stream.read_exact(&mut [0; 12]).unwrap();
    }
    let of_grpc = h2::connect(served.grpc);
    h2::read(&mut &of_grpc).unwrap();
    // A fifth, on either face.
    for to in [served.http, served.grpc] {
        assert_eq!(until_closed(TcpStream::connect(to).unwrap()), "");
    }
    drop((open, of_grpc));
    let answers = || {
        let mut stream = connect(
            served.http,
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        );
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes.starts_with(b"HTTP/1.1 200")
    };
    in_the_end("there is room again", answers);
    in_the_end("they are counted", || {
        refused_connections(&served, "per_address") >= 2.0
    });
}

#[test]
fn so_many_streams_are_open_and_one_more_is_refused() {
    let served = Served::start(&["http.streams=2"]);
    let first = Events::open(served.http, "", "");
    let second = Events::open(served.http, "", "");
    let third = served.get("/v1/events");
    third.refused(42900);
    assert!(third.header("retry-after").is_some());
    assert_eq!(refused(&served, "streams"), 1.0);
    drop(second);
    let opens = || {
        let mut stream = connect(served.http, b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        &status == b"HTTP/1.1 200"
    };
    in_the_end("there is room again", opens);
    drop(first);
}

/// A keys file with these lines, and the setting that names it.
fn keys(lines: &str) -> (PathBuf, String) {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    std::fs::write(&file, lines).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let set = format!("auth.keys_file={}", file.display());
    (dir, set)
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// A connection from one of the addresses of this machine, greeted in HTTP/2.
fn from_address(last: u8, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, last], 0)).into())
        .unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(h2::PREFACE).unwrap();
    stream.write_all(&h2::frame(h2::SETTINGS, 0, 0, b"")).unwrap();
    stream
}

/// Fault row C4.
#[test]
fn strangers_who_hold_every_place_keep_nobody_out_who_has_a_key_and_end_nobody() {
    let (dir, file) = keys("switch:czNjcjN0\n");
    let served = Served::start(&["http.connections=8", "http.connections_per_address=8", &file]);
    let authorization = basic("switch:czNjcjN0");
    let mut events = Events::open(served.http, "", &format!("authorization: {authorization}\r\n"));
    let ask = |method: &str, path: &str, body: &str| {
        let headers = [("authorization", authorization.as_str())];
        send(served.http, method, path, &headers, body.as_bytes())
    };
    // All others of the eight, and of the sixteen that this machine has beyond them.
    let strangers: Vec<TcpStream> = (0..23)
        .map(|number| from_address(2 + number / 8, served.http))
        .collect();
    for _ in 0..5 {
        assert_eq!(ask("GET", "/v1/legs", "").status, 200);
    }
    let body = serde_json::json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) });
    assert_eq!(ask("POST", "/v1/legs", &body.to_string()).status, 201);
    assert_eq!(events.until("leg.joined")["callId"], "a");
    let page = ask("GET", "/metrics", "").text();
    let gone = page
        .lines()
        .find_map(|line| line.strip_prefix("mixminus_refused_connections_total{reason=\"unproven\"} "));
    assert!(gone.is_some_and(|count| count != "0"), "{page}");
    drop(strangers);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Fault row C5.
#[test]
fn a_flood_is_refused_by_key_and_by_address_and_another_key_does_not_feel_it() {
    let (dir, file) = keys("flood:c2VjcmV0\nswitch:czNjcjN0\n");
    let served = Served::start(&[&file, "auth.requests_per_s=100", "auth.failures_per_s=5"]);
    let ask = |authorization: &str| {
        send(
            served.http,
            "GET",
            "/v1/legs",
            &[
                ("authorization", authorization),
                ("x-timestamp", "2026-01-02T03:04:05Z"),
            ],
            b"",
        )
    };
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    for number in 0..400 {
                        let reply = match number % 2 {
                            0 => ask(&basic("flood:c2VjcmV0")),
                            _ => ask("application stranger:w+esR7Gp3dpdVjZDm4yBVFK5RPaOTaFPZPW1R6G+cnU="),
                        };
                        let has_to_wait = reply.header("retry-after").is_some();
                        assert_eq!(has_to_wait, reply.status == 429, "{}", reply.text());
                        statuses.push(reply.status);
                    }
                    statuses
                })
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(ask(&basic("switch:czNjcjN0")).status, 200);
        }
        floods
            .into_iter()
            .flat_map(|flood| flood.join().unwrap())
            .collect()
    });
    let count = |status: u16| statuses.iter().filter(|found| **found == status).count();
    assert_eq!(count(200) + count(401) + count(429), statuses.len());
    assert!(
        count(429) > 0 && count(200) >= 100 && count(401) >= 5,
        "{statuses:?}"
    );
    let page = send(
        served.http,
        "GET",
        "/metrics",
        &[("authorization", &basic("switch:czNjcjN0"))],
        b"",
    );
    let page = page.text();
    let counted = |reason: &str| -> usize {
        let series = format!("mixminus_refused_total{{reason=\"{reason}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap().parse().unwrap()
    };
    // The time of the signature is long past.
    assert_eq!(counted("timestamp"), count(401));
    assert_eq!(counted("key_rate") + counted("address_rate"), count(429));
    assert!(counted("address_rate") > 0, "{page}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_was_refused_is_counted_by_its_reason() {
    let served = Served::start(&[]);
    served.get("/nowhere").refused(40400);
    served.post("/v1/legs", &serde_json::json!({})).refused(40002);
    let again = serde_json::json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) });
    served.post("/v1/legs", &again).json(201);
    send(served.http, "PUT", "/v1/legs/a", &[], b"").refused(40500);
    // What is open to all.
    send(served.http, "POST", "/healthz", &[], b"").refused(40500);
    send(served.grpc, "POST", "/grpc.health.v1.Health/Check", &[], b"").refused(41500);
    let client = Client::new(served.grpc);
    let large = vec![0; 65_537];
    for path in [
        "/grpc.health.v1.Health/Check",
        "/mixminus.v1.Control/GetLiveness",
        "/mixminus.v1.Control/ListLegs",
    ] {
        client.send_to(path, large.clone().into()).unwrap_err();
    }
    for (reason, count) in [
        ("not_found", 1.0),
        ("missing_parameter", 1.0),
        ("method", 2.0),
        ("conflict", 0.0),
        ("unsupported", 1.0),
        ("too_large", 3.0),
        ("other", 0.0),
    ] {
        assert_eq!(refused(&served, reason), count, "{reason}");
    }
    eventually("connections end", || {
        served.metric("mixminus_connections{face=\"http\"}") == 1.0
    });
}
