//! The engine itself, with legs that nobody sits behind, and the system calls of a leg on loopback.

use std::f32::consts::TAU;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::codec::{Codec, CodecError, Encoder, Encoding};
use crate::control::admission::cost::{Costs, Kind};
use crate::driver::clock::{Clock, thread_cpu};
use crate::driver::socket::{self, DATAGRAM_BYTES_MAX};
use crate::engine::outbox::Outbox;
use crate::engine::{Command, Engine, EngineLimits};
use crate::frame::Rate;
use crate::id::{LegId, RoomId, TrackNumber};
use crate::leg::{Format, Identity, Leg, LegMedia, LegSettings, MediaTerms};
use crate::room::{Room, RoomSettings};
use crate::rtp::packet::{HEADER_BYTES, Header};
use crate::srtp::{self, MasterKey, OVERHEAD_MAX, Suite};
use crate::time::{TICK, Tick};

/// Legs of the room that is measured, and ticks before and while it is.
const LEGS: usize = 8;
const WARM_UP: usize = 25;
const MEASURED: usize = 25;

/// What comes is a second that comes again and again.
const LOOP_MS: usize = 3_000;

/// −65 dBFS: a line on which nobody speaks.
const NOISE: f32 = 0.000_97;

/// The most telling first, for when there is no time for all.
const ORDER: [Kind; Kind::COUNT] = [
    Kind::Pcmu,
    Kind::OpusAt48,
    Kind::G729,
    Kind::OpusAt16,
    Kind::G722,
    Kind::Ilbc20,
    Kind::Pcma,
    Kind::Ilbc30,
    Kind::OpusAt8,
    Kind::L16At16,
    Kind::L16At48,
    Kind::L16At8,
];

/// Measures for no longer than `bound` beyond the first kind.
pub fn measure(opus_complexity: u8, bound: Duration) -> Costs {
    let clock = Clock::start();
    let begun = clock.now();
    let mut measured: [Option<(u64, u64)>; Kind::COUNT] = [None; Kind::COUNT];
    let (mut taken, mut assumed) = (0, 0);
    for kind in ORDER {
        if taken > 0 && clock.now().since(begun) > bound {
            break;
        }
        if let Ok((leg, encode)) = measure_kind(kind.encoding(opus_complexity)) {
            let index = kind as usize;
            measured[index] = Some((leg, encode));
            taken += leg + encode;
            assumed += Costs::ASSUMED.leg[index] + Costs::ASSUMED.encode[index];
        }
    }
    let mut costs = Costs::ASSUMED.scaled(taken, assumed);
    for (index, (leg, encode)) in measured
        .iter()
        .enumerate()
        .filter_map(|(index, m)| Some((index, (*m)?)))
    {
        (costs.leg[index], costs.encode[index]) = (leg, encode);
    }
    // Playout and the rest cost every leg as much as that of the plainest codec; what is measured below is noise.
    let plainest = costs.leg[Kind::Pcmu as usize];
    costs.leg = costs.leg.map(|nanos| nanos.max(plainest));
    if let Some(nanos) = measure_sockets() {
        costs.socket = nanos;
    }
    if let Some(nanos) = measure_srtp() {
        costs.srtp = nanos;
    }
    costs
}

/// One leg and one stream, from a room where nobody speaks and one where all are heard always:
/// `quiet = legs · leg + stream`, `loud = legs · (leg + stream)`.
fn measure_kind(encoding: Encoding) -> Result<(u64, u64), CodecError> {
    let quiet = measure_room(encoding, false)?;
    let loud = measure_room(encoding, true)?;
    let encode = (loud.saturating_sub(quiet) / (LEGS as u64 - 1)).max(10);
    let leg = (quiet.saturating_sub(encode) / LEGS as u64).max(100);
    Ok((leg, encode))
}

/// Nanoseconds that a tick of the room takes.
fn measure_room(encoding: Encoding, loud: bool) -> Result<u64, CodecError> {
    let mut room = Bench::new(encoding, loud)?;
    (0..WARM_UP).for_each(|_| room.step());
    let before = thread_cpu();
    (0..MEASURED).for_each(|_| room.step());
    Ok((thread_cpu() - before).as_nanos() as u64 / MEASURED as u64)
}

struct Bench {
    engine: Engine,
    out: Outbox,
    tick: Tick,
    encoding: Encoding,
    packets: Vec<Vec<u8>>,
    datagram: Vec<u8>,
}

impl Bench {
    fn new(encoding: Encoding, loud: bool) -> Result<Bench, CodecError> {
        let mut engine = Engine::new(EngineLimits { legs: LEGS, rooms: 1 });
        let mut out = Outbox::new(LEGS);
        let settings = RoomSettings {
            activity_detection: !loud,
            ..RoomSettings::default()
        };
        let (room, state) = (RoomId(0), Room::new(settings));
        engine.apply(Command::Open { room, state }, &mut out);
        for index in 0..LEGS {
            let format = Format {
                receive_as: 96,
                send_as: 96,
                encoding,
                fec_bitrate_max: None,
            };
            let terms = MediaTerms {
                remote: Some(address(index)),
                sends: true,
                receives: true,
                formats: vec![format],
                ..MediaTerms::nothing()
            };
            let identity = Identity {
                ssrc: index as u32,
                sequence: 0,
                timestamp: 0,
            };
            let track = TrackNumber(index as u32 + 1);
            let state = Leg::new(identity, track, LegSettings::default(), LegMedia::new(terms)?);
            let leg = LegId(index as u32);
            engine.apply(Command::Join { leg, state, room }, &mut out);
        }
        Ok(Bench {
            engine,
            out,
            tick: Tick(0),
            encoding,
            packets: packets(encoding, loud)?,
            datagram: vec![0; DATAGRAM_BYTES_MAX],
        })
    }

    /// What came within a tick, and the tick.
    fn step(&mut self) {
        let now = self.tick.due(0);
        let (tick_ms, ptime_ms) = (TICK.as_millis() as u64, u64::from(self.encoding.ptime_ms));
        let (first, last) = (self.tick.0 * tick_ms, (self.tick.0 + 1) * tick_ms);
        for packet in first.div_ceil(ptime_ms)..last.div_ceil(ptime_ms) {
            for index in 0..LEGS {
                // Each leg is at another place of the loop.
                let payload = &self.packets[(packet as usize + 7 * index) % self.packets.len()];
                let header = Header {
                    marker: false,
                    payload_type: 96,
                    sequence: packet as u16,
                    timestamp: (packet as u32).wrapping_mul(self.encoding.packet_clock()),
                    ssrc: index as u32,
                };
                let bytes = HEADER_BYTES + payload.len();
                let Some((head, body)) = self.datagram[..bytes].split_first_chunk_mut() else {
                    continue;
                };
                header.write(head);
                body.copy_from_slice(payload);
                let leg = LegId(index as u32);
                self.engine
                    .receive(now, leg, address(index), &mut self.datagram[..bytes]);
            }
        }
        self.engine.tick_room(RoomId(0), self.tick, now, &mut self.out);
        self.out.events().for_each(drop);
        self.out.clear();
        self.tick = self.tick.next();
    }
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1_024 + index as u16))
}

/// What a party sends: a buzz in syllables, for which encoders and decoders must work as for a voice, or noise.
fn packets(encoding: Encoding, loud: bool) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut encoder = Encoder::new(encoding)?;
    let mut payload = vec![0; encoding.payload_bytes_max()];
    let sound = sound(encoding.codec, loud);
    let packets = sound.chunks_exact(encoding.samples()).map(|packet| {
        let mut bytes = 0;
        for frame in packet.chunks_exact(encoder.frame_samples()) {
            bytes += encoder.encode(frame, &mut payload[bytes..]).bytes();
        }
        payload[..bytes].to_vec()
    });
    Ok(packets.collect())
}

fn sound(codec: Codec, loud: bool) -> Vec<f32> {
    let rate: Rate = codec.rate();
    let mut chance = fastrand::Rng::with_seed(1);
    let mut phase = 0.0_f32;
    // A third of it is enough of a loop.
    let samples = LOOP_MS / 3 * rate.samples_per_ms();
    let sample = |index: usize| {
        let noise = NOISE * (2.0 * chance.f32() - 1.0);
        if !loud {
            return noise;
        }
        let seconds = index as f32 / rate.hz() as f32;
        phase = (phase + (110.0 + 30.0 * (2.1 * seconds).sin()) / rate.hz() as f32).fract();
        let syllable = (TAU * 3.0 * seconds).sin().abs();
        let buzz: f32 = (1..12_u8)
            .map(|n| (TAU * phase * f32::from(n)).sin() / f32::from(n))
            .sum();
        0.2 * syllable * buzz + 3.0 * noise
    };
    (0..samples).map(sample).collect()
}

/// Datagrams in one burst: as many as a socket's buffer holds for sure.
const BURST: usize = 64;
const BURSTS: u32 = 8;
const DATAGRAM_BYTES: usize = 172;

/// A datagram received and one sent; `None` where there is no loopback.
fn measure_sockets() -> Option<u64> {
    let bind = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some((socket.local_addr().ok()?, socket))
    };
    let ((our_address, ours), (their_address, theirs)) = (bind()?, bind()?);
    let datagram = [0; DATAGRAM_BYTES];
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let mut taken = Duration::ZERO;
    for _ in 0..BURSTS {
        for _ in 0..BURST {
            theirs.send_to(&datagram, our_address).ok()?;
        }
        let before = thread_cpu();
        for _ in 0..BURST {
            let _ = socket::receive(&ours, &mut buffer);
            let _ = ours.send_to(&datagram, their_address);
        }
        taken += thread_cpu() - before;
        while theirs.recv_from(&mut buffer).is_ok() {}
    }
    Some(taken.as_nanos() as u64 / (u64::from(BURSTS) * BURST as u64)).filter(|nanos| *nanos > 0)
}

/// A packet protected and one unprotected, with the suite that is common.
fn measure_srtp() -> Option<u64> {
    let suite = Suite::AesCm128HmacSha1_80;
    let key = MasterKey::new(suite, &vec![7; suite.master_bytes()])?;
    let (mut sender, mut receiver) = (srtp::Sender::new(&key), srtp::Receiver::new(&key, 0));
    let mut packet = [0; DATAGRAM_BYTES + OVERHEAD_MAX];
    let packets = (BURSTS * BURST as u32) as u16;
    let before = thread_cpu();
    for sequence in 0..packets {
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        let bytes = sender.protect(&mut packet, DATAGRAM_BYTES).ok()?;
        receiver.unprotect(&mut packet[..bytes]).ok()?;
    }
    Some((thread_cpu() - before).as_nanos() as u64 / u64::from(packets)).filter(|nanos| *nanos > 0)
}
