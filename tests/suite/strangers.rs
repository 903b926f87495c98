//! Ports cannot bleed: who may be heard on one, who is sent anything, and what a flood does. Over real sockets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mixminus::rtp::packet::{HEADER_BYTES, Header};
use serde_json::json;

use crate::support::http::{Served, eventually};
use crate::support::phone::{Phone, TONE_A, TONE_B, listen, share_with, wait};

/// Full-scale PCMU, as loud as it gets.
const LOUD: [u8; 160] = [0x80; 160];

fn header(chance: &mut fastrand::Rng) -> Header {
    Header {
        marker: false,
        payload_type: 0,
        sequence: chance.u16(..),
        timestamp: chance.u32(..),
        ssrc: chance.u32(..),
    }
}

fn packet(header: &Header) -> [u8; HEADER_BYTES + 160] {
    let mut datagram = [0; HEADER_BYTES + 160];
    header.write(datagram.first_chunk_mut().unwrap());
    datagram[HEADER_BYTES..].copy_from_slice(&LOUD);
    datagram
}

fn dropped(served: &Served, call: &str, reason: &str) -> u64 {
    let leg = served.get(&format!("/v1/legs/{call}")).json(200);
    leg["media"]["dropped"][reason].as_u64().unwrap()
}

/// Sends so many packets a millisecond, as `make` makes them, until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Flood {
    fn begin(
        socket: &UdpSocket,
        to: SocketAddr,
        per_ms: u64,
        mut make: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Flood {
        let socket = socket.try_clone().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                for _ in 0..per_ms {
                    let _ = socket.send_to(&make(sent), to);
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        Flood { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn phones<const N: usize>() -> [Phone; N] {
    std::array::from_fn(|_| Phone::bind("127.0.0.1"))
}

#[test]
fn a_stranger_is_neither_heard_nor_sent_anything_and_is_counted() {
    let served = Served::start(&[]);
    let (mut a, mut b, mut stranger) = (
        Phone::bind("127.0.0.1"),
        Phone::bind("127.0.0.1"),
        Phone::bind("127.0.0.2"),
    );
    let port_of_a = a.seat(&served, "room", "a", TONE_A);
    b.seat(&served, "room", "b", 0.0);
    wait(300);
    stranger.speak_to(port_of_a, TONE_B);
    wait(1_000);
    assert!(stranger.hang_up().is_empty());
    assert_eq!(share_with(&listen(&b.hang_up()), TONE_B), 0.0);
    let dropped = served.get("/v1/legs/a").json(200)["media"]["dropped"]["unknown_source"].clone();
    assert!(dropped.as_u64().unwrap() > 30, "{dropped}");
    a.hang_up();
}

#[test]
fn a_spray_over_all_ports_is_neither_heard_nor_answered_before_and_after_the_latch() {
    let served = Served::start(&[]);
    let [mut a, mut b] = phones();
    let port_of_b = b.seat(&served, "room", "b", 0.0);
    // A says nothing yet: nobody is latched.
    let body = json!({ "conferenceId": "room", "callId": "a", "sdp": a.offer() });
    let leg = served.post("/v1/legs", &body).json(201);
    let port_of_a: SocketAddr = leg["media"]["local"].as_str().unwrap().parse().unwrap();
    let attacker = UdpSocket::bind(("127.0.0.3", 0)).unwrap();
    attacker.set_nonblocking(true).unwrap();
    let mut chance = fastrand::Rng::with_seed(53_399);
    let first = port_of_a.port().min(port_of_b.port());
    let mut spray = || {
        for _ in 0..50 {
            for port in first..first + 8 {
                let to = SocketAddr::new(port_of_a.ip(), port);
                let mut datagram = packet(&header(&mut chance)).to_vec();
                match chance.u8(0..4) {
                    // Right in everything but its source.
                    0 | 1 => {}
                    // Of a payload type that nobody agreed on.
                    2 => datagram[1] = 99,
                    // A report.
                    _ => datagram = vec![0x80, 201, 0, 1, 0, 0, 0, 1],
                }
                attacker.send_to(&datagram, to).unwrap();
            }
            wait(4);
        }
    };
    spray();
    assert!(dropped(&served, "a", "probation") > 8, "before the latch");
    a.speak_to(port_of_a, TONE_A);
    wait(200);
    spray();
    wait(800);
    assert!(dropped(&served, "a", "unknown_source") > 8, "after it");
    assert!(dropped(&served, "a", "unknown_payload_type") > 5);
    let (a, b) = (a.hang_up(), listen(&b.hang_up()));
    listen(&a);
    assert!(share_with(&b, TONE_A) > 0.8, "the party is heard");
    let loud = b.iter().filter(|sample| sample.abs() > 0.5).count();
    assert_eq!(loud, 0, "and nobody else");
    let answered = attacker.recv_from(&mut [0; 2_048]);
    assert!(
        answered.is_err(),
        "nothing goes to whom nobody knows: {answered:?}"
    );
}

#[test]
fn a_party_flooded_by_a_stranger_is_heard_through_the_flood() {
    let served = Served::start(&[]);
    let [mut a, mut b] = phones();
    let port_of_a = a.seat(&served, "room", "a", TONE_A);
    b.seat(&served, "room", "b", 0.0);
    wait(200);
    let stranger = UdpSocket::bind(("127.0.0.2", 0)).unwrap();
    let mut chance = fastrand::Rng::with_seed(22);
    let flood = Flood::begin(&stranger, port_of_a, 3, move |_| {
        packet(&header(&mut chance)).to_vec()
    });
    wait(1_500);
    let heard = listen(&b.hang_up());
    let sent = flood.end();
    let counted = dropped(&served, "a", "unknown_source");
    assert!(share_with(&heard, TONE_A) > 0.8, "{sent} sent, {counted} counted");
    assert!(counted > 1_000, "{sent} sent, {counted} counted");
    a.hang_up();
}

#[test]
fn a_flood_in_a_partys_own_name_is_cut_down_to_a_rate_and_the_others_hear_each_other() {
    let served = Served::start(&[]);
    let [mut a, mut b, mut c] = phones();
    let port_of_a = a.seat(&served, "room", "a", 0.0);
    b.seat(&served, "room", "b", TONE_B);
    c.seat(&served, "room", "c", 0.0);
    wait(200);
    let mut chance = fastrand::Rng::with_seed(1_000);
    // Of silence, so that what it does to the sound of the others can be heard.
    let flood = Flood::begin(&a.socket, port_of_a, 2, move |_| {
        let mut datagram = packet(&header(&mut chance));
        datagram[HEADER_BYTES..].fill(0xff);
        datagram.to_vec()
    });
    wait(1_500);
    let heard = listen(&c.hang_up());
    flood.end();
    assert!(share_with(&heard, TONE_B) > 0.9);
    assert!(dropped(&served, "a", "too_fast") > 300);
    b.hang_up();
    a.hang_up();
}

#[test]
fn datagrams_of_any_length_end_nothing_and_are_counted() {
    let served = Served::start(&[]);
    let [mut a, mut b] = phones();
    let port_of_a = a.seat(&served, "room", "a", TONE_A);
    b.seat(&served, "room", "b", 0.0);
    wait(200);
    for len in [0, 1, 11, 65_507] {
        for to in [port_of_a, SocketAddr::new(port_of_a.ip(), port_of_a.port() + 1)] {
            a.socket.send_to(&vec![0x80; len], to).unwrap();
        }
    }
    wait(800);
    assert_eq!(dropped(&served, "a", "too_long"), 1);
    assert_eq!(dropped(&served, "a", "too_short"), 3);
    assert_eq!(dropped(&served, "a", "bad_rtcp"), 4);
    assert!(share_with(&listen(&b.hang_up()), TONE_A) > 0.8);
    a.hang_up();
}

#[test]
fn a_party_whose_port_is_closed_stays_and_hears_again_once_it_is_open() {
    let served = Served::start(&[]);
    let [mut a, mut b] = phones();
    b.seat(&served, "room", "b", TONE_B);
    let address = a.socket.local_addr().unwrap();
    let body = json!({ "conferenceId": "room", "callId": "a", "sdp": a.offer() });
    served.post("/v1/legs", &body).json(201);
    let other = Phone::bind("127.0.0.1");
    a = other;
    // Now each packet to it is answered by the kernel: port unreachable.
    wait(1_000);
    assert_eq!(served.get("/v1/legs/a").json(200)["state"], "connected");
    let again = UdpSocket::bind(address).unwrap();
    again.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(again.recv_from(&mut [0; 2_048]).is_ok());
    assert!(served.get("/v1/legs/a").json(200)["media"]["packetsSent"].as_u64() > Some(40));
    b.hang_up();
    drop(a);
}

#[test]
fn a_released_port_meets_no_new_leg_while_somebody_still_sends_to_it() {
    let served = Served::start(&["rtp.ports=23910-23913", "rtp.port_rest_s=1"]);
    let [mut a, mut b, c] = phones();
    let port_of_a = a.seat(&served, "room", "a", TONE_A);
    served.delete("/v1/legs/a").empty(204);
    // More often than there are ports, and for longer than the rest.
    for _ in 0..4 {
        wait(350);
        let port_of_b = b.seat(&served, "room", "b", 0.0);
        assert_ne!(port_of_b, port_of_a);
        b.hang_up();
        b = Phone::bind("127.0.0.1");
        served.delete("/v1/legs/b").empty(204);
        wait(1_200);
    }
    assert!(served.metric("mixminus_ports_resting") >= 1.0);
    assert!(served.metric("mixminus_resting_port_packets_total") > 2.0);
    a.hang_up();
    eventually("both ports are free", || {
        served.metric("mixminus_ports_free") == 2.0
    });
    for phone in [&b, &c] {
        let call = phone.socket.local_addr().unwrap().port().to_string();
        let body = json!({ "conferenceId": "room", "callId": call, "sdp": phone.offer() });
        served.post("/v1/legs", &body).json(201);
    }
}
