//! A flood of requests beside media: what it may cost the ticks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::store::said::Daemon;
use crate::support::h2;
use crate::support::http::{offer, place_of_its_own, send};

const REQUESTS_PER_S: u64 = 5_000;
const CLIENTS: u64 = 8;

/// Of them so many must have been answered, however busy the machine is.
const REQUESTS_PER_S_MIN: u64 = 500;

/// Legs of each daemon, with a packet each 20 ms to each.
const LEGS: u16 = 16;
const LEGS_OF_A_ROOM: u16 = 4;

/// The counts of `mixminus_tick_lateness_seconds`, cumulative, by upper edge in seconds.
fn lateness(daemon: &Daemon) -> Vec<(f64, f64)> {
    let basic = format!("Basic {}", STANDARD.encode("watch:d2F0Y2g="));
    let page = send(daemon.http, "GET", "/metrics", &[("authorization", &basic)], b"").text();
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("mixminus_tick_lateness_seconds_bucket{engine=\"") else {
            continue;
        };
        let edge = rest.split("le=\"").nth(1).unwrap();
        let (edge, count) = edge.split_once("\"} ").unwrap();
        let edge = edge.replace("+Inf", "inf").parse().unwrap();
        let count: f64 = count.parse().unwrap();
        match buckets.iter_mut().find(|(known, _)| *known == edge) {
            Some((_, sum)) => *sum += count,
            None => buckets.push((edge, count)),
        }
    }
    buckets
}

/// The edges between which this share of what came in between lies.
fn quantile(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> (f64, f64) {
    let between: Vec<(f64, f64)> = before
        .iter()
        .zip(after)
        .map(|((edge, before), (_, after))| (*edge, after - before))
        .collect();
    let all = between.last().unwrap().1;
    assert!(all > 0.0, "there were ticks");
    let at = between
        .iter()
        .position(|(_, count)| *count >= share * all)
        .unwrap();
    (if at == 0 { 0.0 } else { between[at - 1].0 }, between[at].0)
}

fn daemon(name: &str) -> Daemon {
    let (ports, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let keys = dir.join("keys");
    std::fs::write(&keys, "flood:Zmxvb2Q=\nwatch:d2F0Y2g=\n").unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o400)).unwrap();
    let sets = [
        "http.listen=127.0.0.1:0".to_owned(),
        "grpc.listen=127.0.0.1:0".to_owned(),
        "engine.threads=1".to_owned(),
        "log.level=warn".to_owned(),
        "admission.calibrate=assumed".to_owned(),
        // Every signature is looked at, and every request counted as one.
        "auth.requests_per_s=0".to_owned(),
        "auth.failures_per_s=1000000".to_owned(),
        format!("auth.keys_file={}", keys.display()),
    ];
    println!("{name}: media ports {ports}");
    Daemon::start(dir, &ports, &sets)
}

/// Seats legs that send to each other over real sockets; says where each takes its packets.
fn seat(daemon: &Daemon, from: &UdpSocket) -> Vec<SocketAddr> {
    let basic = format!("Basic {}", STANDARD.encode("watch:d2F0Y2g="));
    let offer = offer(from.local_addr().unwrap().port());
    (0..LEGS)
        .map(|leg| {
            let body = json!({ "conferenceId": format!("r{}", leg / LEGS_OF_A_ROOM), "sdp": offer });
            let headers = [("authorization", basic.as_str())];
            let reply = send(
                daemon.http,
                "POST",
                "/v1/legs",
                &headers,
                body.to_string().as_bytes(),
            );
            let leg = reply.json(201);
            let sdp = leg["sdp"].as_str().unwrap();
            let port = sdp
                .lines()
                .find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next());
            SocketAddr::from(([127, 0, 0, 1], port.unwrap().parse().unwrap()))
        })
        .collect()
}

/// A packet of PCMU each 20 ms to each leg; what comes back is not looked at.
fn talk(from: &UdpSocket, legs: &[SocketAddr], is_over: &AtomicBool) {
    let mut due = Instant::now();
    let mut packet = [0x55; 12 + 160];
    for number in 0u32.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&number.wrapping_mul(160).to_be_bytes());
        for (leg, to) in legs.iter().enumerate() {
            packet[8..12].copy_from_slice(&(leg as u32 + 1).to_be_bytes());
            let _ = from.send_to(&packet, to);
        }
        due += Duration::from_millis(20);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// One client's share of the flood, on connections that are kept as long as the daemon keeps them.
fn requests(to: SocketAddr, is_over: &AtomicBool, sent: &AtomicU64, refused: &AtomicU64) {
    let right = format!("Basic {}", STANDARD.encode("flood:Zmxvb2Q="));
    let wrong = "application flood:w+esR7Gp3dpdVjZDm4yBVFK5RPaOTaFPZPW1R6G+cnU=";
    let pause = Duration::from_nanos(1_000_000_000 * CLIENTS / REQUESTS_PER_S);
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(to) else {
            continue;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        for number in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            due += pause;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let authorization = if number % 2 == 0 { &right } else { wrong };
            let timestamp = jiff::Timestamp::now();
            let request = format!(
                "GET /v1/legs?pageSize=1 HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\nx-timestamp: {timestamp}\r\n\r\n"
            );
            let mut answer = [0; 4096];
            let Ok(()) = stream.write_all(request.as_bytes()) else {
                break;
            };
            match stream.read(&mut answer) {
                Ok(length) if length > 12 => {
                    sent.fetch_add(1, Ordering::Relaxed);
                    refused.fetch_add(u64::from(answer.starts_with(b"HTTP/1.1 4")), Ordering::Relaxed);
                }
                _ => break,
            }
        }
    }
}

/// Fault rows C4 and C5.
#[test]
#[ignore = "long: make torture"]
fn a_flood_makes_no_tick_later_than_those_of_a_daemon_beside_it() {
    let seconds = std::env::var("MIXMINUS_FLOOD_S").map_or(60, |text| text.parse().unwrap());
    let (flooded, beside) = (daemon("flooded"), daemon("beside"));
    let grpc = flooded.grpc;
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let legs = [seat(&flooded, &sockets[0]), seat(&beside, &sockets[1])];
    let is_over = AtomicBool::new(false);
    let (sent, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let before = (lateness(&flooded), lateness(&beside));
    let after = std::thread::scope(|scope| {
        for (socket, legs) in sockets.iter().zip(&legs) {
            scope.spawn(|| talk(socket, legs, &is_over));
        }
        for _ in 0..CLIENTS {
            scope.spawn(|| requests(flooded.http, &is_over, &sent, &refused));
        }
        // Headers byte by byte.
        for _ in 0..50 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if let Ok(mut stream) = TcpStream::connect(flooded.http) {
                        while !is_over.load(Ordering::Relaxed) && stream.write_all(b"x").is_ok() {
                            std::thread::sleep(Duration::from_millis(500));
                        }
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        // Streams that are reset as soon as they are opened, a connection of them each 100 ms.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                h2::flood(grpc, |number| {
                    let stream = 2 * number + 1;
                    let flags = h2::END_STREAM | h2::END_HEADERS;
                    let mut frames = h2::frame(h2::HEADERS, flags, stream, &h2::get("/v1/legs"));
                    frames.extend(h2::frame(h2::RST_STREAM, 0, stream, &8u32.to_be_bytes()));
                    frames
                });
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        std::thread::sleep(Duration::from_secs(seconds));
        let after = (lateness(&flooded), lateness(&beside));
        is_over.store(true, Ordering::Relaxed);
        after
    });
    let ours = quantile(&before.0, &after.0, 0.999);
    let reference = quantile(&before.1, &after.1, 0.999);
    println!(
        "{} requests, {} refused in {seconds} s; p99.9 of tick lateness between {} and {} ms, beside it between {} and {} ms",
        sent.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed),
        ours.0 * 1e3,
        ours.1 * 1e3,
        reference.0 * 1e3,
        reference.1 * 1e3,
    );
    let (sent, refused) = (sent.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    assert!(sent >= REQUESTS_PER_S_MIN * seconds, "no flood: {sent} requests");
    assert!(
        refused >= sent / 4 && refused <= sent / 4 * 3,
        "{refused} of {sent}"
    );
    // Not in a higher bucket than the reference's.
    assert!(ours.1 <= reference.1, "{ours:?} {reference:?}");
}
