//! The remote party of every leg: one socket that says the same to all of them, and what it says tells the time.
//!
//! Each tenth of a second of the wall clock has a tone of its own, of 60 in turn. All are on a 50 Hz grid, so that 20 ms
//! hold whole periods.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mixminus::codec::{Codec, Encoder};
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use serde_json::{Value, json};

use super::site::Daemon;
use crate::support::http::offer;
use crate::support::voice::{Voice, power, power_at};
use crate::support::world::encoding;

const TONES: u64 = 60;
const STEP_MS: u64 = 100;
const PERIOD_MS: u64 = TONES * STEP_MS;
const PACKET: Duration = Duration::from_millis(20);

pub struct Callers {
    legs: Arc<Mutex<Vec<SocketAddr>>>,
    received: Arc<AtomicU64>,
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub watch: Watch,
}

impl Callers {
    pub fn new() -> Callers {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let port = socket.local_addr().unwrap().port();
        let legs = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let (received, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let talk = {
            let (legs, received, stop) = (legs.clone(), received.clone(), stop.clone());
            move || talk(&socket, &legs, &received, &stop)
        };
        Callers {
            legs,
            received,
            port,
            stop,
            thread: Some(thread::spawn(talk)),
            watch: Watch::start(),
        }
    }

    /// A PCMU leg in a room, which is spoken to from now on.
    pub fn seat(&self, daemon: &Daemon, room: &str, call: &str) {
        let body = json!({ "conferenceId": room, "callId": call, "sdp": offer(self.port) });
        let leg: Value = daemon.post("/v1/legs", &body).json(201);
        let sdp = leg["sdp"].as_str().unwrap();
        let after = |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        let ip = after("c=IN IP4 ");
        let port = after("m=audio ").split(' ').next().unwrap();
        let leg = format!("{ip}:{port}").parse().unwrap();
        self.legs.lock().unwrap().push(leg);
    }

    /// To nobody any more.
    pub fn hang_up(&self) {
        self.legs.lock().unwrap().clear();
    }

    /// Packets that have come back.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn talk(socket: &UdpSocket, legs: &Mutex<Vec<SocketAddr>>, received: &AtomicU64, stop: &AtomicBool) {
    let mut voice = Voice::steady(tone(0), -20.0);
    let mut encoder = Encoder::new(encoding(Codec::Pcmu)).unwrap();
    let mut header = Header {
        marker: false,
        payload_type: 0,
        sequence: 0,
        timestamp: 0,
        ssrc: 0,
    };
    let (mut pcm, mut datagram, mut heard) = ([0.0; 160], [0; HEADER_BYTES + 160], [0; 2_048]);
    let (start, start_ms) = (Instant::now(), unix_ms(SystemTime::now()));
    let mut due = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        voice.hz = tone((start_ms + due.as_millis() as u64) / STEP_MS % TONES);
        voice.speak(&mut pcm, 8_000);
        encoder.encode(&pcm, &mut datagram[HEADER_BYTES..]);
        for (ssrc, leg) in (1..).zip(legs.lock().unwrap().iter()) {
            header.ssrc = ssrc;
            header.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
            // A leg whose daemon was just killed hears nothing.
            let _ = socket.send_to(&datagram, leg);
        }
        header.sequence = header.sequence.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(160);
        while socket.recv_from(&mut heard).is_ok() {
            received.fetch_add(1, Ordering::Relaxed);
        }
        due += PACKET;
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

fn tone(step: u64) -> f32 {
    400.0 + 50.0 * step as f32
}

pub fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// The last that can be heard in a recording.
#[derive(Debug, Clone, Copy)]
pub struct LastHeard {
    /// Samples from there to the end.
    pub before_end: usize,
    /// When it was said, within a period of six seconds.
    said_ms: u64,
}

impl LastHeard {
    pub fn in_sound(sound: &[i16], rate_hz: u32) -> Option<LastHeard> {
        let tick = rate_hz as usize / 50;
        for (number, tick_of_sound) in sound.rchunks_exact(tick).enumerate() {
            let pcm: Vec<f32> = tick_of_sound
                .iter()
                .map(|sample| f32::from(*sample) / 32_768.0)
                .collect();
            let powers = (0..TONES).map(|step| (step, power_at(tone(step), &pcm, rate_hz)));
            let (step, loudest) = powers.max_by(|a, b| a.1.total_cmp(&b.1))?;
            if loudest > 1e-4 && loudest > 0.7 * power(&pcm) {
                return Some(LastHeard {
                    before_end: number * tick,
                    said_ms: step * STEP_MS,
                });
            }
        }
        None
    }

    /// Milliseconds from when it was said to `heard_ms`, the time of the wall clock at which the recording has it; the
    /// saying takes a tenth of a second.
    pub fn delay_ms(&self, heard_ms: u64) -> u64 {
        (heard_ms % PERIOD_MS + PERIOD_MS - self.said_ms) % PERIOD_MS
    }
}

/// A thread that wants to run each 10 ms: how long this machine keeps one like it waiting.
pub struct Watch {
    waits: Arc<Mutex<Vec<(Instant, Duration)>>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn start() -> Watch {
        let waits = Arc::<Mutex<Vec<_>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let watch = Watch {
            waits: waits.clone(),
            stop: stop.clone(),
        };
        thread::spawn(move || {
            let interval = Duration::from_millis(10);
            while !stop.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(interval);
                let wait = before.elapsed().saturating_sub(interval);
                waits.lock().unwrap().push((Instant::now(), wait));
            }
        });
        watch
    }

    /// The longest since then.
    pub fn longest_since(&self, then: Instant) -> Duration {
        let waits = self.waits.lock().unwrap();
        let since = waits.iter().rev().take_while(|(at, _)| *at >= then);
        since.map(|(_, wait)| *wait).max().unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
