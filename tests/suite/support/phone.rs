//! A telephone on real sockets.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mixminus::codec::{Codec, Decoder, Encoder, PAYLOAD_SAMPLES_MAX};
use mixminus::rtp::is_rtcp;
use mixminus::rtp::packet::{HEADER_BYTES, Header, Packet};
use serde_json::json;

use super::http::Served;
use super::voice::{Voice, power_at};
use super::world::encoding;

pub const TONE_A: f32 = 500.0;
pub const TONE_B: f32 = 1_200.0;

/// A remote party on a thread: a packet of PCMU each 20 ms, and everything that comes back.
pub struct Phone {
    pub socket: UdpSocket,
    /// Nobody else gets the port above, to which RTCP is sent.
    _rtcp: UdpSocket,
    stop: Arc<AtomicBool>,
    /// RTCP that came where its RTP does.
    pub reports: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Lines of its offer beside the usual ones.
    pub attributes: String,
    thread: Option<JoinHandle<Vec<Vec<u8>>>>,
}

impl Phone {
    pub fn bind(ip: &str) -> Phone {
        let ip: IpAddr = ip.parse().unwrap();
        let (socket, rtcp) = pair_on(ip);
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        Phone {
            socket,
            _rtcp: rtcp,
            stop: Arc::new(AtomicBool::new(false)),
            reports: Arc::default(),
            attributes: String::new(),
            thread: None,
        }
    }

    pub fn offer(&self) -> String {
        let address = self.socket.local_addr().unwrap();
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let ip = address.ip();
        format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n{}",
            address.port(),
            self.attributes
        )
    }

    /// Where the answer wants its packets.
    pub fn seat(&mut self, served: &Served, room: &str, call: &str, hz: f32) -> SocketAddr {
        let body = json!({ "conferenceId": room, "callId": call, "sdp": self.offer() });
        let leg = served.post("/v1/legs", &body).json(201);
        let answer = leg["sdp"].as_str().unwrap();
        let port: u16 = answer
            .lines()
            .find_map(|line| line.strip_prefix("m=audio "))
            .and_then(|rest| rest.split(' ').next())
            .unwrap()
            .parse()
            .unwrap();
        let to = SocketAddr::new(self.socket.local_addr().unwrap().ip(), port);
        self.speak_to(to, hz);
        to
    }

    pub fn speak_to(&mut self, to: SocketAddr, hz: f32) {
        let socket = self.socket.try_clone().unwrap();
        let stop = Arc::clone(&self.stop);
        let reports = Arc::clone(&self.reports);
        self.thread = Some(std::thread::spawn(move || {
            let mut voice = if hz > 0.0 {
                Voice::steady(hz, -20.0)
            } else {
                Voice::silent()
            };
            let mut encoder = Encoder::new(encoding(Codec::Pcmu)).unwrap();
            let mut next = Header {
                marker: true,
                payload_type: 0,
                sequence: 65_500,
                timestamp: 7,
                ssrc: hz as u32,
            };
            let mut heard = Vec::new();
            let (mut pcm, mut datagram, mut buffer) = ([0.0; 160], [0; HEADER_BYTES + 160], [0; 2_048]);
            let mut due = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                voice.speak(&mut pcm, 8_000);
                encoder.encode(&pcm, &mut datagram[HEADER_BYTES..]);
                next.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
                socket.send_to(&datagram, to).unwrap();
                next.sequence = next.sequence.wrapping_add(1);
                next.timestamp = next.timestamp.wrapping_add(160);
                due += Duration::from_millis(20);
                while Instant::now() < due {
                    if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                        if is_rtcp(&buffer[..len]) {
                            reports.lock().unwrap().push(buffer[..len].to_vec());
                            continue;
                        }
                        assert_eq!(from, to, "what comes, comes from where we send to");
                        heard.push(buffer[..len].to_vec());
                    }
                }
            }
            heard
        }));
    }

    pub fn hang_up(mut self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// An even port and the one above it.
fn pair_on(ip: IpAddr) -> (UdpSocket, UdpSocket) {
    loop {
        let rtp = UdpSocket::bind((ip, 0)).unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1))
        {
            return (rtp, rtcp);
        }
    }
}

/// Holds the timeline of what was received, and gives the sound.
pub fn listen(heard: &[Vec<u8>]) -> Vec<f32> {
    let mut decoder = Decoder::new(Codec::Pcmu).unwrap();
    let mut sound = Vec::new();
    let mut pcm = vec![0.0; PAYLOAD_SAMPLES_MAX];
    let mut last: Option<(u16, u32, u32)> = None;
    for datagram in heard {
        let packet = Packet::parse(datagram).unwrap();
        if let Some((sequence, timestamp, ssrc)) = last {
            assert_eq!(
                packet.sequence,
                sequence.wrapping_add(1),
                "nothing lost, nothing out of order"
            );
            assert_eq!(packet.timestamp, timestamp.wrapping_add(160));
            assert_eq!(packet.ssrc, ssrc);
        }
        last = Some((packet.sequence, packet.timestamp, packet.ssrc));
        let samples = decoder.decode(packet.payload, &mut pcm).unwrap();
        sound.extend_from_slice(&pcm[..samples]);
    }
    sound
}

/// In how many of the last ticks a tone is heard.
pub fn share_with(sound: &[f32], hz: f32) -> f32 {
    let frames: Vec<&[f32]> = sound.chunks_exact(160).rev().take(25).collect();
    let enough = 0.1 * Voice::steady(hz, -20.0).power();
    let with = frames.iter().filter(|frame| power_at(hz, frame, 8_000) > enough);
    with.count() as f32 / frames.len() as f32
}

pub fn wait(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
