//! A flood of requests beside media: what it may cost the ticks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mixminus::driver::clock::Clock;
use mixminus::driver::realtime;
use mixminus::engine::stats::Histogram;
use mixminus::load::scrape::{Buckets, Scrape};
use mixminus::time::{PHASES, Tick};
use serde_json::json;

use crate::store::said::Daemon;
use crate::support::h2;
use crate::support::http::{offer, place_of_its_own, send};

const REQUESTS_PER_S: u64 = 5_000;
const CLIENTS: u64 = 8;

/// Of them so many must have been answered, however busy the machine is.
const REQUESTS_PER_S_MIN: u64 = 500;

/// So many of the reference's wakings are not later than the one that is compared.
const SHARE: f64 = 0.999;

/// How much later than that as many ticks may be.
const EXCESS: Duration = Duration::from_micros(200);

/// Into so many the time is cut.
const WINDOWS: u32 = 6;

/// How many standard deviations a count of late ticks may lie above what is expected: the reference varies as well.
const DEVIATIONS: f64 = 4.0;

/// Legs, with a packet each 20 ms to each, in as many rooms as a tick has phases.
const LEGS: u16 = 16;
const LEGS_OF_A_ROOM: u16 = 4;

/// What the daemon says of itself at this moment.
fn scrape(daemon: &Daemon) -> Scrape {
    let basic = format!("Basic {}", STANDARD.encode("watch:d2F0Y2g="));
    let page = send(daemon.http, "GET", "/metrics", &[("authorization", &basic)], b"").text();
    Scrape::parse(Instant::now(), &page)
}

/// How late a thread wakes, in nanoseconds, that asks the kernel for what a media thread asks for, wakes whenever one
/// does, and does nothing then. What makes it late is the machine.
struct Reference {
    is_realtime: bool,
    late: Vec<u64>,
}

impl Reference {
    fn measure(is_over: &AtomicBool) -> Reference {
        let is_realtime = realtime::run_first();
        let clock = Clock::start();
        let mut late = Vec::with_capacity(1 << 16);
        for step in 1.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let due = Tick(step / PHASES as u64).due((step % PHASES as u64) as usize);
            clock.sleep_until(due);
            late.push(clock.now().since(due).as_nanos() as u64);
        }
        late.sort_unstable();
        Reference { is_realtime, late }
    }

    /// In seconds.
    fn quantile(&self, share: f64) -> f64 {
        let rank = (self.late.len() as f64 * share).ceil() as usize;
        self.late[rank - 1] as f64 / 1e9
    }
}

/// Whether the ticks were no later than the reference and `EXCESS`, as far as chance lets one tell: of them as few lie
/// beyond that as of its wakings beyond its quantile. What delays one phase of a tick may delay the others with it, so
/// that late ones come in bunches. The bucket in which the limit lies counts as below it.
///
/// Of the windows the worst third is left out: what else a machine does may hit one processor and not the other for a
/// moment, and what a flood does it does all the time.
fn are_as_late(windows: &[Buckets], reference: &Reference) -> bool {
    let limit = reference.quantile(SHARE) + EXCESS.as_secs_f64();
    let later = |ticks: &Buckets| -> f64 {
        let beyond = ticks.counts.iter().skip_while(|(edge, _)| *edge < limit).skip(1);
        beyond.map(|(_, count)| count).sum()
    };
    let mut counted: Vec<(f64, f64)> = windows
        .iter()
        .map(|ticks| (later(ticks), ticks.count()))
        .collect();
    counted.sort_by(|one, other| one.0.total_cmp(&other.0));
    println!(
        "later than {:.1} ms, of all, by windows: {counted:?}",
        1e3 * limit
    );
    counted.truncate(counted.len() - counted.len() / 3);
    let later: f64 = counted.iter().map(|(later, _)| later).sum();
    let all: f64 = counted.iter().map(|(_, all)| all).sum();
    let expected = all * (1.0 - SHARE);
    let possible = expected + DEVIATIONS * (expected * PHASES as f64).sqrt();
    println!("of {all} were {later} later; {expected:.0} may be, {possible:.0} by chance");
    later <= possible
}

#[test]
fn ticks_that_are_later_than_the_reference_and_more_than_chance_are_told_from_others() {
    // Of a window's 2,000 every hundredth is late: the reference's by a millisecond.
    let late = |nanos: u64| [vec![100_000; 1_980], vec![nanos; 20]].concat();
    let reference = Reference {
        is_realtime: true,
        late: late(1_000_000),
    };
    let window = |micros: u64| {
        let mut histogram = Histogram::new(&Histogram::LATENESS_MICROS);
        late(1_000 * micros)
            .into_iter()
            .for_each(|nanos| histogram.observe(nanos));
        let buckets = histogram.buckets();
        let counts = buckets.map(|(edge, count)| (edge as f64 / 1e6, count as f64));
        Buckets {
            counts: counts.collect(),
        }
    };
    for micros in [0, 900, 1_000, 1_200] {
        assert!(are_as_late(&vec![window(micros); 6], &reference), "{micros} µs");
    }
    for micros in [1_350, 2_000, 10_000] {
        assert!(!are_as_late(&vec![window(micros); 6], &reference), "{micros} µs");
        let mut mixed = vec![window(900); 6];
        mixed[1..3].fill(window(micros));
        assert!(are_as_late(&mixed, &reference), "{micros} µs in two windows");
        mixed[1..5].fill(window(micros));
        assert!(!are_as_late(&mixed, &reference), "{micros} µs in four windows");
    }
}

fn daemon() -> Daemon {
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
fn a_flood_makes_no_tick_later_than_a_thread_beside_it_that_does_nothing() {
    let seconds = std::env::var("MIXMINUS_FLOOD_S").map_or(60, |text| text.parse().unwrap());
    let flooded = daemon();
    let grpc = flooded.grpc;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let legs = seat(&flooded, &socket);
    let is_over = AtomicBool::new(false);
    let (sent, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let (scrapes, reference) = std::thread::scope(|scope| {
        scope.spawn(|| talk(&socket, &legs, &is_over));
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
        let mut scrapes = vec![scrape(&flooded)];
        let reference = scope.spawn(|| Reference::measure(&is_over));
        for _ in 0..WINDOWS {
            std::thread::sleep(Duration::from_secs(seconds) / WINDOWS);
            scrapes.push(scrape(&flooded));
        }
        is_over.store(true, Ordering::Relaxed);
        (scrapes, reference.join().unwrap())
    });
    let (sent, refused) = (sent.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    println!("{sent} requests, {refused} refused in {seconds} s");
    let (first, last) = (&scrapes[0], &scrapes[scrapes.len() - 1]);
    let is_realtime = last.sum("mixminus_realtime") == Some(1.0);
    println!("realtime: {is_realtime}");
    assert_eq!(reference.is_realtime, is_realtime, "both run first, or neither");
    let lateness =
        |from, to| Buckets::between(from, to, "mixminus_tick_lateness_seconds").expect("there were ticks");
    let ticks = lateness(first, last);
    for share in [0.5, 0.99, SHARE] {
        println!(
            "{} % of {} wakings are up to {:.3} ms late, of {} phases up to {:.1} ms",
            100.0 * share,
            reference.late.len(),
            1e3 * reference.quantile(share),
            ticks.count(),
            1e3 * ticks.quantile(share),
        );
    }
    let windows: Vec<Buckets> = scrapes.windows(2).map(|two| lateness(&two[0], &two[1])).collect();
    assert!(are_as_late(&windows, &reference), "{:?}", ticks.counts);
    assert!(sent >= REQUESTS_PER_S_MIN * seconds, "no flood: {sent} requests");
    assert!(
        refused >= sent / 4 && refused <= sent / 4 * 3,
        "{refused} of {sent}"
    );
}
