//! Fault row S8: callers come, go, and are moved about for minutes; then nothing of it is left.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mixminus::codec::{Codec, Encoder};
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use serde_json::{Value, json};

use super::program::Process;
use crate::support::http::{Events, offer, send};
use crate::support::voice::Voice;
use crate::support::world::encoding;

/// Legs there are at a time, in so many rooms.
const LEGS: usize = 200;
const ROOMS: usize = 20;

/// With so many at least it is a soak, on whatever machine: one that is busy otherwise has no time for more.
const LEGS_MIN: usize = 20;

/// Two of them come each second, and as many go.
const BETWEEN_JOINS: Duration = Duration::from_millis(500);

/// So long every voice of every room is recorded at first: the rings between engines and recorder are touched to their
/// ends, which would look like growth later.
const EVERYTHING_RECORDED: Duration = Duration::from_secs(15);

/// By then what is allocated once is allocated: from here on memory may grow by so much, for all the time it lasts.
const WARM_UP_S: u64 = 60;
const GROWTH_MAX: f64 = 8.0 * 1_048_576.0;

/// What has ended is gone after a while: ports rest, threads that only wait are kept for some seconds.
const UNTIL_GONE: Duration = Duration::from_secs(60);

const SOCKETS: usize = 4;
const PACKET: Duration = Duration::from_millis(20);

/// The room that ends when all others have.
const LAST_ROOM: &str = "last";

/// A socket on a thread that says the same to all its legs.
pub(super) struct Callers {
    pub(super) port: u16,
    /// By name, where each hears.
    pub(super) legs: Arc<Mutex<Vec<(String, SocketAddr)>>>,
}

impl Callers {
    pub(super) fn start(hz: f32, stop: &Arc<AtomicBool>) -> (Callers, JoinHandle<()>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let legs = Arc::<Mutex<Vec<(String, SocketAddr)>>>::default();
        let port = socket.local_addr().unwrap().port();
        let (stop, told) = (Arc::clone(stop), legs.clone());
        let talking = thread::spawn(move || talk(&socket, hz, &told, &stop));
        (Callers { port, legs }, talking)
    }
}

fn talk(socket: &UdpSocket, hz: f32, legs: &Mutex<Vec<(String, SocketAddr)>>, stop: &AtomicBool) {
    let mut voice = Voice::steady(hz, -25.0);
    let mut encoder = Encoder::new(encoding(Codec::Pcmu)).unwrap();
    let (mut pcm, mut datagram, mut buffer) = ([0.0; 160], [0; HEADER_BYTES + 160], [0; 2_048]);
    let mut header = Header {
        marker: false,
        payload_type: 0,
        sequence: 0,
        timestamp: 0,
        ssrc: 0,
    };
    let (start, mut due) = (Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        voice.speak(&mut pcm, 8_000);
        encoder.encode(&pcm, &mut datagram[HEADER_BYTES..]);
        for (_, leg) in legs.lock().unwrap().iter() {
            header.ssrc = u32::from(leg.port());
            header.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
            let _ = socket.send_to(&datagram, leg);
        }
        header.sequence = header.sequence.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(160);
        while socket.recv_from(&mut buffer).is_ok() {}
        due += PACKET;
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

/// What its recordings may take, as those that have ended are removed at once.
const RECORDINGS_BYTES: u64 = 512 << 20;

/// How recordings end on the disk, and how long they have been left alone when they are whole.
const SOUND: [&str; 3] = [".wav", ".flac", ".ogg"];
const WHOLE_AFTER: Duration = Duration::from_secs(20);

/// Where its recordings go: into memory where the machine has such a place with room for them.
struct Recordings(PathBuf);

impl Recordings {
    fn new() -> Recordings {
        let memory = PathBuf::from("/dev/shm");
        let place = if free_bytes(&memory) >= RECORDINGS_BYTES {
            memory
        } else {
            std::env::temp_dir()
        };
        Recordings(place.join(format!("mixminus-soak-{}", std::process::id())))
    }
}

/// None where there is no such place, or nobody can say.
fn free_bytes(place: &Path) -> u64 {
    let said = Command::new("df").args(["-P", "-B1"]).arg(place).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let free = |said: String| said.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok();
    said.ok().and_then(free).unwrap_or(0)
}

/// Removes recordings that have ended: minutes of them fill any disk.
fn remove_finished(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_dir = path.is_dir();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if is_dir && !name.starts_with('.') {
            remove_finished(&path);
        } else if !is_dir && SOUND.iter().any(|end| name.ends_with(end)) && is_whole(&path) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn is_whole(path: &Path) -> bool {
    let changed = std::fs::metadata(path).and_then(|file| file.modified());
    let age = changed.ok().and_then(|changed| changed.elapsed().ok());
    age.is_some_and(|age| age >= WHOLE_AFTER)
}

impl Drop for Recordings {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the daemon holds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    ports: f64,
    fds: f64,
    threads: u64,
}

struct Soak {
    process: Process,
    callers: Vec<Callers>,
    chance: fastrand::Rng,
    /// Names of the legs there are, oldest first.
    legs: Vec<String>,
    made: usize,
}

impl Soak {
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Vec<u8>) {
        let reply = send(self.process.http, method, path, &[], body.to_string().as_bytes());
        (reply.status, reply.bytes)
    }

    /// False where the machine has no time for another leg.
    fn join(&mut self, room: &str) -> bool {
        let call = format!("call-{}", self.made);
        let callers = &self.callers[self.made % SOCKETS];
        let body = json!({ "conferenceId": room, "callId": call, "sdp": offer(callers.port) });
        let (status, reply) = self.ask("POST", "/v1/legs", &body);
        if status == 503 && self.legs.len() >= LEGS_MIN {
            return false;
        }
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&reply));
        let leg: Value = serde_json::from_slice(&reply).unwrap();
        let sdp = leg["sdp"].as_str().unwrap();
        let after = |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        let port = after("m=audio ").split(' ').next().unwrap();
        let address = format!("{}:{port}", after("c=IN IP4 ")).parse().unwrap();
        callers.legs.lock().unwrap().push((call.clone(), address));
        self.legs.push(call);
        self.made += 1;
        true
    }

    fn leave(&mut self, index: usize) {
        let call = self.legs.swap_remove(index);
        for callers in &self.callers {
            callers.legs.lock().unwrap().retain(|(leg, _)| *leg != call);
        }
        let (status, _) = self.ask("DELETE", &format!("/v1/legs/{call}"), &Value::Null);
        assert_eq!(status, 204);
    }

    fn room(&mut self) -> String {
        format!("room-{}", self.chance.usize(..ROOMS))
    }

    /// Something happens to somebody. What is asked of a room that is not there just now is refused, and so may be what
    /// is asked twice.
    fn happen(&mut self) {
        let call = self.legs[self.chance.usize(..self.legs.len())].clone();
        let leg = format!("/v1/legs/{call}");
        let room = self.room();
        let recording = format!("/v1/conferences/id/{room}/recording");
        let (status, reply) = match self.chance.u8(..8) {
            0 => self.ask("PATCH", &leg, &json!({ "muted": true })),
            1 => self.ask("PATCH", &leg, &json!({ "muted": false })),
            2 => self.ask("PATCH", &leg, &json!({ "onhold": true })),
            3 => self.ask("PATCH", &leg, &json!({ "onhold": false })),
            4 => self.ask("PATCH", &leg, &json!({ "conferenceId": room })),
            5 => self.ask("POST", &format!("{leg}/dtmf"), &json!({ "digits": "12#" })),
            6 => self.ask("POST", &recording, &json!({})),
            _ => self.ask("DELETE", &recording, &Value::Null),
        };
        // To move or be recorded takes time of the machine as well.
        assert!(
            status < 500 || [503, 507].contains(&status),
            "{status}: {}",
            String::from_utf8_lossy(&reply)
        );
    }

    fn record_everything(&self) {
        let recordings = (0..ROOMS).map(|number| format!("/v1/conferences/id/room-{number}/recording"));
        let recordings: Vec<_> = recordings.collect();
        for recording in &recordings {
            let (status, _) = self.ask("POST", recording, &json!({ "tracks": "mix+legs" }));
            assert!([201, 404, 503, 507].contains(&status), "{status}");
        }
        let begun = Instant::now();
        while begun.elapsed() < EVERYTHING_RECORDED {
            // Whoever listens to events hears some.
            for muted in [true, false] {
                self.ask(
                    "PATCH",
                    &format!("/v1/legs/{}", self.legs[0]),
                    &json!({ "muted": muted }),
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
        for recording in &recordings {
            self.ask("DELETE", recording, &Value::Null);
        }
    }

    fn metric(&self, series: &str) -> f64 {
        let page = String::from_utf8(self.ask("GET", "/metrics", &Value::Null).1).unwrap();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    /// A number of `/proc/PID/status`.
    fn of_process(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let number = line.trim_start_matches(':').split_whitespace().next();
        number.unwrap().parse().unwrap()
    }

    fn resident(&self) -> f64 {
        self.of_process("VmRSS") as f64 * 1_024.0
    }

    fn held(&self) -> Held {
        Held {
            ports: self.metric("mixminus_ports_free"),
            fds: self.metric("process_open_fds"),
            threads: self.of_process("Threads"),
        }
    }
}

/// Counts what events tell, by type and by what they are of, until the last room has ended.
fn count(mut events: Events) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    let mut last = 0;
    loop {
        let (_, event) = events.next();
        let number = event["globalSeq"].as_u64().unwrap();
        assert_eq!(number, last + 1, "numbers have no gap: {event}");
        last = number;
        let kind = event["type"].as_str().unwrap();
        let of = match kind.split('.').next() {
            Some("leg") => &event["callId"],
            Some("recording") => &event["recordingId"],
            _ => &event["conferenceId"],
        };
        let of = of.as_str().unwrap_or_default().to_owned();
        let is_last = kind == "room.ended" && of == LAST_ROOM;
        *counts.entry((kind.to_owned(), of)).or_default() += 1;
        if is_last {
            return counts;
        }
    }
}

/// Growth an hour of a straight line through the points of seconds and bytes.
fn slope_per_hour(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let along: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let across: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    3_600.0 * along / across.max(f64::MIN_POSITIVE)
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / 1_048_576.0
}

fn seconds(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_slope_of_a_line_is_its_growth_an_hour() {
    let points = [(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)];
    assert!((slope_per_hour(&points) - 7_200.0).abs() < 1e-6);
}

/// Fault row S8. `MIXMINUS_SOAK_S` is how long it lasts.
#[test]
#[ignore = "long: make torture"]
fn after_a_churn_of_callers_memory_ports_descriptors_and_threads_are_back_at_base() {
    let lasts = Duration::from_secs(seconds("MIXMINUS_SOAK_S", 600));
    let warm_up = Duration::from_secs(WARM_UP_S).min(lasts / 2);
    let seed = seconds("MIXMINUS_SEED", fastrand::u64(..));
    println!("MIXMINUS_SEED={seed}, {lasts:?}");
    // An address of its own has all ports.
    let process_id = std::process::id().to_le_bytes();
    let bind = format!("rtp.bind=127.{}.{}.250", process_id[1], process_id[0]);
    let recordings = Recordings::new();
    let process = Process::start(&[
        &bind,
        &format!("recording.dir={}", recordings.0.display()),
        "rtp.ports=20000-21999",
        "engine.threads=2",
        "admission.calibrate=assumed",
        "admission.cpu_percent=95",
        "engine.legs=400",
        "engine.rooms=100",
        "rtp.port_rest_s=1",
        "events.ring=1000",
        "log.level=warn",
    ]);
    let stop = Arc::<AtomicBool>::default();
    let started = (0..SOCKETS).map(|number| Callers::start(500.0 + 100.0 * number as f32, &stop));
    let (callers, talking): (Vec<_>, Vec<_>) = started.unzip();
    let mut soak = Soak {
        process,
        callers,
        chance: fastrand::Rng::with_seed(seed),
        legs: Vec::new(),
        made: 0,
    };
    let base = soak.held();
    let counted = {
        let events = Events::open(soak.process.http, "?after=0", "");
        thread::spawn(move || count(events))
    };

    let mut has_time = true;
    while soak.legs.len() < LEGS && has_time {
        let room = soak.room();
        has_time = soak.join(&room);
    }
    soak.record_everything();
    let start = Instant::now();
    let (mut points, mut next_join) = (Vec::new(), Duration::ZERO);
    while start.elapsed() < lasts {
        soak.happen();
        if start.elapsed() >= next_join {
            next_join += BETWEEN_JOINS;
            let index = soak.chance.usize(..soak.legs.len());
            soak.leave(index);
            let room = soak.room();
            soak.join(&room);
            points.push((start.elapsed().as_secs_f64(), soak.resident()));
            if points.len().is_multiple_of(40) {
                remove_finished(&recordings.0);
                println!(
                    "{:>6.0} s  {:6.1} MiB",
                    points[points.len() - 1].0,
                    mebibytes(soak.resident())
                );
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    while !soak.legs.is_empty() {
        soak.leave(0);
    }
    assert!(soak.join(LAST_ROOM));
    soak.leave(0);

    let counts = counted.join().expect("every event has come");
    let count_of = |kind: &str, of: &str| counts.get(&(kind.to_owned(), of.to_owned())).copied();
    for (begins, ends) in [("leg.joined", "leg.left"), ("room.started", "room.ended")] {
        let begun = counts.iter().filter(|((kind, _), _)| kind == begins);
        for ((_, of), count) in begun {
            assert_eq!(
                count_of(ends, of),
                Some(*count),
                "{begins} and {ends} of {of} are pairs"
            );
        }
    }
    let joined = counts.keys().filter(|(kind, _)| kind == "leg.joined").count();
    assert_eq!(joined, soak.made, "each leg was told of");

    let deadline = Instant::now() + UNTIL_GONE;
    let mut held = soak.held();
    while held.ports != base.ports || held.fds > base.fds || held.threads > base.threads {
        assert!(Instant::now() < deadline, "{held:?} stays, from {base:?}");
        thread::sleep(Duration::from_millis(200));
        held = soak.held();
    }
    assert_eq!(soak.metric("mixminus_rooms"), 0.0);
    let warm: Vec<_> = points
        .into_iter()
        .filter(|(at, _)| *at >= warm_up.as_secs_f64())
        .collect();
    let at_warm_up = warm.first().expect("it lasts longer than the warm-up").1;
    let resident = soak.resident();
    println!(
        "{} legs, {} events, base {base:?}, at the end {held:?}; resident {:.1} MiB after {warm_up:?}, {:.1} MiB at the end, slope {:.2} MiB/h",
        soak.made,
        counts.values().sum::<u64>(),
        mebibytes(at_warm_up),
        mebibytes(resident),
        mebibytes(slope_per_hour(&warm)),
    );
    assert!(resident <= at_warm_up + GROWTH_MAX, "memory has grown");
    stop.store(true, Ordering::Relaxed);
    talking.into_iter().for_each(|thread| thread.join().unwrap());
}
