//! A synthetic party: a UDP socket that sends a track packet by packet and counts what comes back, and the worker
//! thread that paces many of them.
//!
//! One thread serves hundreds of parties: it wakes on a grid of half a millisecond, and at each party's own moment
//! sends its packet and fetches what has arrived, two system calls a packet time. Times of arrival are the kernel's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::distribution::Distribution;
use super::keys::Press;
use super::sdp::EVENT_PAYLOAD_TYPE;
use super::socket::{Inbox, WallTime};
use super::stream::{Capture, Captured, Stream};
use super::track::Track;
use crate::srtp::{self, UnprotectError};

/// All sending happens at multiples of this, so that a thousand parties do not wake the thread a thousand times.
pub const GRID: Duration = Duration::from_micros(500);

/// How long a worker sleeps when no party is due: it must still hear orders.
const IDLE: Duration = Duration::from_millis(5);

const RTP_HEADER_BYTES: usize = 12;

/// The marker bit, which the first packet of a key press bears (RFC 4733 §2.3.1).
const MARKER: u8 = 0x80;

/// One end of a leg.
pub struct Party {
    /// Which leg of the run it is.
    pub leg: usize,
    socket: UdpSocket,
    track: Arc<Track>,
    next_packet: usize,
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Sent since measuring began.
    pub sent: Sent,
    /// Received since measuring began.
    pub stream: Stream,
    pub capture: Option<Capture>,
    /// Protects what it sends and opens what it receives; plain where it is absent.
    pub srtp: Option<Srtp>,
    /// From one packet to the next: that of the track, unless its clock is fast or slow.
    pub packet_time: Duration,
    /// Pressed in place of the track, in the order of time.
    pub presses: Vec<Press>,
    /// When each burst's first sample was sent, since measuring began.
    pub bursts: Vec<WallTime>,
    /// Received and not RTP of ours: RTCP, or what no one should send.
    pub other_datagrams: u64,
    /// Received as SRTP that is not authentic.
    pub unauthentic: u64,
    /// Received as authentic SRTP, and not for the first time.
    pub replayed: u64,
}

/// Both halves of an encrypted leg.
pub struct Srtp {
    sender: srtp::Sender,
    receiver: srtp::Receiver,
}

impl Srtp {
    pub fn new(terms: &srtp::Terms) -> Srtp {
        Srtp {
            sender: srtp::Sender::new(&terms.ours),
            receiver: srtp::Receiver::new(&terms.theirs, terms.their_mki_bytes),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub packets: u64,
    pub bytes: u64,
    /// The socket did not take them.
    pub refused: u64,
}

impl Party {
    /// A party that will send `track` from `first_packet` on over a socket connected to its leg's port.
    pub fn new(
        leg: usize,
        socket: UdpSocket,
        payload_type: u8,
        track: Arc<Track>,
        first_packet: usize,
        seed: u64,
    ) -> Party {
        let mut chance = fastrand::Rng::with_seed(seed);
        Party {
            packet_time: Duration::from_millis(u64::from(track.encoding().ptime_ms)),
            leg,
            socket,
            track,
            next_packet: first_packet,
            payload_type,
            ssrc: chance.u32(..),
            sequence: chance.u16(..),
            timestamp: chance.u32(..),
            sent: Sent::default(),
            stream: Stream::default(),
            capture: None,
            srtp: None,
            presses: Vec::new(),
            bursts: Vec::new(),
            other_datagrams: 0,
            unauthentic: 0,
            replayed: 0,
        }
    }

    fn send(&mut self, packet: &mut Vec<u8>, measuring: bool) {
        let step = self.track.encoding().packet_clock();
        let pressed = self
            .presses
            .iter()
            .find_map(|press| press.in_packet(self.next_packet, step));
        let event = pressed.as_ref().map(|pressed| &pressed.payload[..]);
        let (second_byte, since) = match &pressed {
            Some(pressed) if pressed.is_first => (EVENT_PAYLOAD_TYPE | MARKER, 0),
            Some(pressed) => (EVENT_PAYLOAD_TYPE, pressed.since),
            None => (self.payload_type, 0),
        };
        // RFC 3550 §5.1: version 2, no padding, extension or sources.
        packet.clear();
        packet.extend_from_slice(&[0x80, second_byte]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.wrapping_sub(since).to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(event.unwrap_or_else(|| self.track.payload(self.next_packet)));
        if let Some(srtp) = &mut self.srtp {
            let bytes = packet.len();
            packet.resize(bytes + srtp::OVERHEAD_MAX, 0);
            // What cannot be protected goes out empty, and is missing at the other end.
            let bytes = srtp.sender.protect(packet, bytes).unwrap_or(0);
            packet.truncate(bytes);
        }
        if measuring && let Some(offset) = self.track.burst_in(self.next_packet) {
            self.bursts.push(WallTime::now().after(offset));
        }
        match self.socket.send(packet) {
            Ok(bytes) => {
                self.sent.packets += 1;
                self.sent.bytes += bytes as u64;
            }
            Err(_) => self.sent.refused += 1,
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(step);
        self.next_packet += 1;
    }

    fn fetch(&mut self, inbox: &mut Inbox, gaps: &mut Distribution, measuring: bool) {
        let Party {
            socket,
            stream,
            capture,
            srtp,
            other_datagrams,
            unauthentic,
            replayed,
            payload_type,
            ..
        } = self;
        inbox.drain(socket, |at, datagram| {
            // The header is in the clear.
            if rtp(datagram, *payload_type).is_none() {
                *other_datagrams += 1;
                return;
            }
            let datagram_bytes = datagram.len();
            let opened = match srtp {
                None => Ok(datagram_bytes),
                Some(srtp) => srtp.receiver.unprotect(datagram),
            };
            if opened == Err(UnprotectError::Replayed) {
                *replayed += 1;
                return;
            }
            let Some((header, payload)) = opened
                .ok()
                .and_then(|bytes| rtp(&datagram[..bytes], *payload_type))
            else {
                *unauthentic += 1;
                return;
            };
            let gap = stream.arrive(at, header.ssrc, header.sequence, datagram_bytes);
            if !measuring {
                return;
            }
            if let Some(gap) = gap {
                gaps.record(gap);
            }
            if let Some(capture) = capture {
                let RtpHeader {
                    sequence, timestamp, ..
                } = header;
                capture.keep(Captured {
                    at,
                    sequence,
                    timestamp,
                    payload: payload.into(),
                });
            }
        });
    }

    fn restart(&mut self) {
        self.sent = Sent::default();
        (self.unauthentic, self.replayed) = (0, 0);
        self.bursts.clear();
        self.stream.restart();
    }
}

struct RtpHeader {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

/// The header and payload of an RTP packet of our payload type; RTCP (RFC 5761 §4: types 192 to 223) is none.
fn rtp(datagram: &[u8], payload_type: u8) -> Option<(RtpHeader, &[u8])> {
    let (header, payload) = datagram.split_at_checked(RTP_HEADER_BYTES)?;
    // What a mixer sends to us needs neither padding nor extension nor (one of us speaks) a list of sources.
    if header[0] != 0x80 || header[1] & 0x7f != payload_type {
        return None;
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let sequence = u16::from_be_bytes([header[2], header[3]]);
    Some((
        RtpHeader {
            sequence,
            timestamp: word(4),
            ssrc: word(8),
        },
        payload,
    ))
}

/// A thread that paces parties. All workers of a run share one epoch, to which every time of sending is relative.
pub struct Worker {
    orders: Sender<Order>,
    thread: JoinHandle<Outcome>,
}

enum Order {
    Join(Box<Party>, Duration),
    Measure,
    Finish,
}

/// What a worker has when it is done.
pub struct Outcome {
    /// In the order in which they joined.
    pub parties: Vec<Party>,
    /// Between arrivals, of all its parties' streams.
    pub gaps: Distribution,
    /// How much later than due packets were sent: the generator's own fault.
    pub lateness: Distribution,
}

impl Worker {
    pub fn start(epoch: Instant) -> io::Result<Worker> {
        let (orders, to_do) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("load".into())
            .spawn(move || work(epoch, &to_do))?;
        Ok(Worker { orders, thread })
    }

    /// Lets a party send its first packet at `first_due` after the epoch (rounded up to the grid), and then one
    /// each packet time.
    pub fn join(&self, party: Party, first_due: Duration) {
        // A worker hears orders until it is told to finish, and that takes the worker.
        let _ = self.orders.send(Order::Join(Box::new(party), first_due));
    }

    /// Forgets all figures so far; from here on they count.
    pub fn measure(&self) {
        let _ = self.orders.send(Order::Measure);
    }

    pub fn finish(self) -> Outcome {
        let _ = self.orders.send(Order::Finish);
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn work(epoch: Instant, orders: &Receiver<Order>) -> Outcome {
    let mut outcome = Outcome {
        parties: Vec::new(),
        gaps: Distribution::new(),
        lateness: Distribution::new(),
    };
    let mut due: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut inbox = Inbox::new();
    let mut packet = Vec::new();
    let mut measuring = false;
    loop {
        loop {
            match orders.try_recv() {
                Ok(Order::Join(party, first_due)) => {
                    due.push(Reverse((on_grid(first_due), outcome.parties.len())));
                    outcome.parties.push(*party);
                }
                Ok(Order::Measure) => {
                    measuring = true;
                    for party in &mut outcome.parties {
                        party.fetch(&mut inbox, &mut outcome.gaps, false);
                        party.restart();
                    }
                    outcome.gaps = Distribution::new();
                    outcome.lateness = Distribution::new();
                }
                Ok(Order::Finish) | Err(TryRecvError::Disconnected) => {
                    for party in &mut outcome.parties {
                        party.fetch(&mut inbox, &mut outcome.gaps, measuring);
                    }
                    return outcome;
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        let now = epoch.elapsed();
        while let Some(&Reverse((at, index))) = due.peek()
            && at <= now
        {
            due.pop();
            let party = &mut outcome.parties[index];
            party.send(&mut packet, measuring);
            party.fetch(&mut inbox, &mut outcome.gaps, measuring);
            if measuring {
                outcome.lateness.record(epoch.elapsed().saturating_sub(at));
            }
            due.push(Reverse((at + party.packet_time, index)));
        }
        let idle_until = now + IDLE;
        let wake_at = due
            .peek()
            .map_or(idle_until, |Reverse((at, _))| (*at).min(idle_until));
        thread::sleep(wake_at.saturating_sub(epoch.elapsed()));
    }
}

fn on_grid(at: Duration) -> Duration {
    let steps = at.as_nanos().div_ceil(GRID.as_nanos());
    Duration::from_nanos((steps * GRID.as_nanos()) as u64)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::codec::Codec;
    use crate::load::codecs::encoding;
    use crate::load::sdp;
    use crate::load::socket;
    use crate::srtp::Suite;

    fn a_second_of_ramp() -> Arc<Track> {
        let sound: Vec<f32> = (0..8_000).map(|n| n as f32 / 8_000.0).collect();
        Arc::new(Track::encode(&sound, encoding(Codec::Pcmu, 20), &[400]).expect("the encoding is good"))
    }

    /// Two parties whose sockets are connected to each other.
    fn pair(track: &Arc<Track>) -> [Party; 2] {
        let sockets =
            [0, 1].map(|_| socket::bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port"));
        let ports = [0, 1].map(|n: usize| sockets[n].local_addr().expect("it is bound"));
        let party = |leg, socket: UdpSocket, to| {
            socket.connect(to).expect("loopback has a route");
            Party::new(leg, socket, 0, Arc::clone(track), 0, leg as u64)
        };
        let [one, other] = sockets;
        [party(0, one, ports[1]), party(1, other, ports[0])]
    }

    #[test]
    fn two_parties_hear_each_other_whole_and_on_time() {
        let track = a_second_of_ramp();
        let epoch = Instant::now();
        let worker = Worker::start(epoch).expect("a thread can be had");
        for (party, ms) in pair(&track).into_iter().zip([10, 17]) {
            worker.join(
                Party {
                    capture: Some(Capture::up_to(1 << 20)),
                    ..party
                },
                Duration::from_millis(ms),
            );
        }
        worker.measure();
        thread::sleep(Duration::from_millis(700));
        let Outcome { parties, gaps, .. } = worker.finish();
        let median = gaps.quantile(0.5).expect("packets came");
        assert!(
            median.abs_diff(Duration::from_millis(20)) < Duration::from_millis(5),
            "{median:?}"
        );
        for (party, other) in parties.iter().zip(parties.iter().rev()) {
            assert!(
                (20..=36).contains(&party.stream.packets),
                "{} packets",
                party.stream.packets
            );
            assert_eq!(party.stream.missing(), 0);
            assert!(other.sent.packets - party.stream.packets <= 1);
            assert_eq!(party.stream.bytes, party.stream.packets * 172);
            let captured = &party.capture.as_ref().expect("it was asked for").packets;
            assert_eq!(captured[3].payload[..], *track.payload(3));
            assert_eq!(captured[3].timestamp.wrapping_sub(captured[0].timestamp), 480);
            // The burst at sample 400 starts 10 ms into packet 2.
            let sent_at = other.bursts[0].nanos_since(captured[2].at) - 10_000_000;
            assert!(
                (-20_000_000..=0).contains(&sent_at),
                "{sent_at} ns from its arrival"
            );
        }
    }

    #[test]
    fn encrypted_parties_hear_each_other_and_a_forger_is_counted() {
        let track = a_second_of_ramp();
        let worker = Worker::start(Instant::now()).expect("a thread can be had");
        let keys = [0, 1].map(|_| sdp::key(Suite::AeadAes128Gcm));
        for (n, mut party) in pair(&track).into_iter().enumerate() {
            // The second believes that the first has another key than it has.
            let theirs = if n == 0 {
                &keys[1]
            } else {
                &sdp::key(Suite::AeadAes128Gcm)
            };
            party.srtp = Some(Srtp::new(&srtp::Terms {
                ours: keys[n].clone(),
                theirs: theirs.clone(),
                their_mki_bytes: 0,
            }));
            party.capture = Some(Capture::up_to(1 << 20));
            worker.join(party, Duration::from_millis(10));
        }
        worker.measure();
        thread::sleep(Duration::from_millis(300));
        let parties = worker.finish().parties;
        let heard = &parties[0].capture.as_ref().expect("it was asked for").packets;
        assert!(
            heard.len() >= 10 && parties[0].unauthentic == 0,
            "{}",
            heard.len()
        );
        assert_eq!(heard[3].payload[..], *track.payload(3));
        assert_eq!(parties[0].stream.bytes, parties[0].stream.packets * (172 + 16));
        assert!(parties[1].stream.packets == 0 && parties[1].unauthentic >= 10);
    }

    #[test]
    fn a_pressed_key_takes_the_place_of_sound() {
        let track = a_second_of_ramp();
        let [mut party, other] = pair(&track);
        party.presses = vec![Press {
            event: 5,
            first_packet: 1,
            packets: 1,
        }];
        let mut packet = Vec::new();
        let sent: Vec<Vec<u8>> = (0..6)
            .map(|_| {
                party.send(&mut packet, false);
                packet.clone()
            })
            .collect();
        drop(other);
        let word = |packet: &[u8]| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let start = word(&sent[0]);
        let seen: Vec<(u8, u32, usize)> = sent
            .iter()
            .map(|packet| (packet[1], word(packet).wrapping_sub(start), packet.len()))
            .collect();
        let (event, end) = ((0x80 | 101, 160, 16), (101, 160, 16));
        assert_eq!(
            seen,
            [(0, 0, 172), event, end, end, end, (0, 800, 172)],
            "an event, its end three times, and sound again"
        );
        assert!(sent[2][13] & 0x80 != 0 && sent[1][13] & 0x80 == 0);
    }

    #[test]
    fn measuring_forgets_what_was_before() {
        let track = a_second_of_ramp();
        let worker = Worker::start(Instant::now()).expect("a thread can be had");
        for party in pair(&track) {
            worker.join(party, Duration::ZERO);
        }
        thread::sleep(Duration::from_millis(300));
        worker.measure();
        thread::sleep(Duration::from_millis(100));
        for party in worker.finish().parties {
            assert!(
                party.stream.packets < 12 && party.sent.packets < 12,
                "{:?}",
                party.sent
            );
            assert!(party.bursts.is_empty());
        }
    }

    #[test]
    fn what_is_no_rtp_of_ours_is_told_apart() {
        let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9];
        let (header, payload) = rtp(&packet, 0).expect("it is one");
        assert_eq!(
            (header.sequence, header.timestamp, header.ssrc, payload),
            (1, 2, 3, &[9][..])
        );
        assert!(rtp(&packet[..11], 0).is_none());
        assert!(rtp(&packet, 8).is_none());
        packet[1] = 200; // a sender report
        assert!(rtp(&packet, 0).is_none());
        packet[0..2].copy_from_slice(&[0x40, 0]);
        assert!(rtp(&packet, 0).is_none());
    }
}
