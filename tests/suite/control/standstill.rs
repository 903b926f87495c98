//! A daemon whose machine stands still for a while: paused, starved, or moved to another host.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mixminus::codec::{Codec, Decoder, Encoder, PAYLOAD_SAMPLES_MAX};
use mixminus::rtp::is_rtcp;
use mixminus::rtp::packet::{HEADER_BYTES, Header, Packet};
use serde_json::{Value, json};

use super::program::Process;
use crate::support::http::{eventually, offer, send};
use crate::support::voice::{Voice, power_at};
use crate::support::world::encoding;

const PACKET: Duration = Duration::from_millis(20);

/// What is said before the daemon stands still, meanwhile, and from a little before it goes on.
const BEFORE: u32 = 500;
const MEANWHILE: u32 = 900;
const AFTER: u32 = 1_400;

/// Legs beside the two that are listened to.
const CROWD: usize = 12;

/// Old sound that may be heard of what was said meanwhile: what a tenth of a second has.
const STALE_MAX: usize = 5;

/// Shorter than the daemon stands still, longer than a busy machine keeps a party of the test from sending.
const MEDIA_TIMEOUT_S: u64 = 3;

/// A tick is left out where the thread is late by more than this many of them.
const CAUGHT_UP_MAX: u64 = 5;

/// One socket on a thread that says the same to all its legs, in packets of PCMU, and keeps what comes back.
pub(super) struct Party {
    port: u16,
    legs: Arc<Mutex<Vec<SocketAddr>>>,
    hz: Arc<AtomicU32>,
    /// Rounds so far: in each, everybody is sent one packet and what has come is taken.
    rounds: Arc<AtomicU64>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The longest time between two rounds, in milliseconds.
    silent_ms: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Party {
    pub(super) fn new(hz: u32) -> Party {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut party = Party {
            port: socket.local_addr().unwrap().port(),
            legs: Arc::default(),
            hz: Arc::new(AtomicU32::new(hz)),
            rounds: Arc::default(),
            heard: Arc::default(),
            silent_ms: Arc::default(),
            stop: Arc::default(),
            thread: None,
        };
        let (legs, hz, rounds) = (party.legs.clone(), party.hz.clone(), party.rounds.clone());
        let (heard, stop) = (party.heard.clone(), party.stop.clone());
        let silent_ms = party.silent_ms.clone();
        party.thread = Some(std::thread::spawn(move || {
            let mut last = Instant::now();
            let after_each = || {
                silent_ms.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
                last = Instant::now();
                rounds.fetch_add(1, Ordering::Relaxed);
            };
            talk(&socket, &legs, &hz, after_each, &heard, &stop);
        }));
        party
    }

    pub(super) fn seat(&self, process: &Process, room: &str, call: &str) {
        let body = json!({ "conferenceId": room, "callId": call, "sdp": offer(self.port) });
        let body = body.to_string();
        let leg: Value = send(process.http, "POST", "/v1/legs", &[], body.as_bytes()).json(201);
        let sdp = leg["sdp"].as_str().unwrap();
        let port = sdp
            .lines()
            .find_map(|line| line.strip_prefix("m=audio "))
            .unwrap();
        let port: u16 = port.split(' ').next().unwrap().parse().unwrap();
        self.legs.lock().unwrap().push((Ipv4Addr::LOCALHOST, port).into());
    }

    fn says(&self, hz: u32) {
        self.hz.store(hz, Ordering::Relaxed);
    }

    fn wait_for_rounds(&self, rounds: u64) {
        let until = self.rounds.load(Ordering::Relaxed) + rounds;
        eventually("everybody is sent packets", || {
            self.rounds.load(Ordering::Relaxed) >= until
        });
    }

    pub(super) fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// How many of the packets from the one with this number on carry the tone.
    fn heard_with(&self, from: usize, hz: u32) -> usize {
        let heard = self.heard.lock().unwrap();
        let mut decoder = Decoder::new(Codec::Pcmu).unwrap();
        let mut pcm = vec![0.0; PAYLOAD_SAMPLES_MAX];
        let enough = 0.2 * Voice::steady(hz as f32, -20.0).power();
        let mut carries = |datagram: &Vec<u8>| {
            let packet = Packet::parse(datagram).unwrap();
            let samples = decoder.decode(packet.payload, &mut pcm).unwrap();
            power_at(hz as f32, &pcm[..samples], 8_000) > enough
        };
        heard[from..].iter().filter(|datagram| carries(datagram)).count()
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn talk(
    socket: &UdpSocket,
    legs: &Mutex<Vec<SocketAddr>>,
    hz: &AtomicU32,
    mut after_each: impl FnMut(),
    heard: &Mutex<Vec<Vec<u8>>>,
    stop: &AtomicBool,
) {
    let mut voice = Voice::steady(0.0, -20.0);
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
        voice.hz = hz.load(Ordering::Relaxed) as f32;
        voice.speak(&mut pcm, 8_000);
        encoder.encode(&pcm, &mut datagram[HEADER_BYTES..]);
        for (ssrc, leg) in (1..).zip(legs.lock().unwrap().iter()) {
            header.ssrc = ssrc;
            header.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
            let _ = socket.send_to(&datagram, leg);
        }
        header.sequence = header.sequence.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(160);
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            if !is_rtcp(&buffer[..length]) {
                heard.lock().unwrap().push(buffer[..length].to_vec());
            }
        }
        after_each();
        due += PACKET;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

pub(super) fn metric(process: &Process, series: &str) -> f64 {
    let page = send(process.http, "GET", "/metrics", &[], b"").text();
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("{series} in {page}"))
        .parse()
        .unwrap()
}

fn stands_still(for_so_long: Duration) {
    let process = Process::start(&[
        &format!("rtp.media_timeout_s={MEDIA_TIMEOUT_S}"),
        "rtp.end_on_media_timeout=true",
    ]);
    let (speaker, listener) = (Party::new(BEFORE), Party::new(0));
    speaker.seat(&process, "r", "speaker");
    listener.seat(&process, "r", "listener");
    (0..CROWD).for_each(|number| speaker.seat(&process, "crowd", &format!("crowd-{number}")));
    eventually("the listener hears the speaker", || {
        listener.heard_with(listener.heard().saturating_sub(25), BEFORE) >= 20
    });
    let skipped = || metric(&process, "mixminus_ticks_skipped_total{engine=\"0\"}");
    let skipped_before = skipped();

    process.signal("STOP");
    let stat = format!("/proc/{}/stat", process.id());
    eventually("the daemon stands still", || {
        std::fs::read_to_string(&stat).unwrap().contains(") T ")
    });
    let stopped = Instant::now();
    speaker.says(MEANWHILE);
    // What was sent before has come.
    listener.wait_for_rounds(3);
    let boundary = listener.heard();
    let rounds = for_so_long.as_millis() / PACKET.as_millis();
    speaker.wait_for_rounds((rounds as u64).saturating_sub(25));
    speaker.says(AFTER);
    speaker.wait_for_rounds(25);
    let (stood, goes_on) = (stopped.elapsed(), Instant::now());
    process.signal("CONT");
    eventually("what is said now is heard", || {
        listener.heard_with(listener.heard().saturating_sub(10).max(boundary), AFTER) >= 9
    });
    eventually("and goes on being heard", || listener.heard() >= boundary + 100);

    let (came, since) = (listener.heard() - boundary, goes_on.elapsed());
    let due = (since.as_millis() / PACKET.as_millis()) as u64;
    assert!(
        came as u64 <= due + CAUGHT_UP_MAX + 2,
        "{came} packets in {since:?} after {stood:?}: what was not sent is not sent in a burst"
    );
    let stale = listener.heard_with(boundary, MEANWHILE);
    assert!(
        stale <= STALE_MAX,
        "{stale} packets of what was said while the daemon stood still"
    );
    let left_out = skipped() - skipped_before;
    assert!(
        left_out >= 0.8 * (stood.as_millis() / PACKET.as_millis()) as f64,
        "{left_out} ticks were left out in {stood:?}"
    );
    // Nobody was silent: it was the daemon that did not listen. A machine that kept the parties waiting proves nothing.
    let silent_ms = [&speaker, &listener].map(|party| party.silent_ms.load(Ordering::Relaxed));
    if silent_ms.iter().all(|ms| *ms < 500 * MEDIA_TIMEOUT_S) {
        assert_eq!(metric(&process, "mixminus_media_timeouts_total"), 0.0);
        let legs = send(process.http, "GET", "/v1/legs", &[], b"").json(200);
        assert_eq!(legs["legs"].as_array().unwrap().len(), CROWD + 2);
    }
    println!(
        "after {stood:?}: {came} packets in {since:?}, {stale} of them stale, {left_out} ticks left out"
    );
}

/// Fault row S1.
#[test]
fn a_daemon_that_stood_still_goes_on_with_what_is_said_now() {
    stands_still(Duration::from_millis(3_500));
}

/// Fault row S1.
#[test]
#[ignore = "long: make torture"]
fn a_daemon_that_stood_still_for_five_seconds_goes_on_with_what_is_said_now() {
    stands_still(Duration::from_secs(5));
}
