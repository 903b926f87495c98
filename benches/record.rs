//! What recording adds to a tick of a room of 10 that works at 8 kHz: 2 of the legs talk, the others send noise at
//! −65 dBFS. Up to the ring, which another thread empties. Files are at 8 and at 16 kHz.
//!
//! `room_of_10` is the engine alone, `room_of_10_on_sockets` with what the kernel takes of its thread: one datagram in
//! and one out for each leg, on the loopback.

mod thread_time;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mixminus::capture::Recording;
use mixminus::codec::{Codec, Encoder, Encoding};
use mixminus::driver::socket;
use mixminus::engine::outbox::Outbox;
use mixminus::engine::{Command, Engine, EngineLimits};
use mixminus::frame::Rate;
use mixminus::id::{LegId, RecordingSlot, RoomId, TrackNumber};
use mixminus::leg::{Format, Identity, Leg, LegMedia, LegSettings, MediaTerms};
use mixminus::record::{TAP_RING_BYTES, TapSender, tap_ring};
use mixminus::room::{Room, RoomChange, RoomSettings};
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use mixminus::time::Tick;

use thread_time::ThreadTime;

const LEGS: usize = 10;

const TALKERS: usize = 2;

/// A second of packets that are sent again and again.
const LOOP_TICKS: usize = 50;

struct Bench {
    engine: Engine,
    out: Outbox,
    tick: Tick,
    legs: usize,
    encoding: Encoding,
    speech: Vec<Vec<u8>>,
    noise: Vec<Vec<u8>>,
    datagram: Vec<u8>,
    tap: TapSender,
    /// Of each leg the engine's socket and the party's.
    sockets: Vec<(UdpSocket, UdpSocket)>,
}

impl Bench {
    fn new(recording: Option<Recording>, on_sockets: bool) -> Bench {
        let (codec, legs) = (Codec::Pcmu, LEGS);
        let encoding = Encoding {
            codec,
            ptime_ms: 20,
            bitrate: 32_000,
            complexity: 5,
            dtx: false,
            loss_percent: 0,
        };
        let bind = || {
            let bound = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            bound.set_nonblocking(true).expect("it does not wait");
            bound
        };
        let sockets: Vec<_> = (0..legs * usize::from(on_sockets))
            .map(|_| (bind(), bind()))
            .collect();
        let mut engine = Engine::new(EngineLimits { legs, rooms: 1 });
        let mut out = Outbox::new(legs);
        engine.apply(
            Command::Open {
                room: RoomId(0),
                state: Room::new(RoomSettings::default()),
            },
            &mut out,
        );
        for index in 0..legs {
            let format = Format {
                receive_as: 96,
                send_as: 96,
                encoding,
                fec_bitrate_max: None,
            };
            let terms = MediaTerms {
                remote: Some(match sockets.get(index) {
                    Some((_, party)) => party.local_addr().expect("it is bound"),
                    None => address(index),
                }),
                remote_rtcp: None,
                rtcp_mux: true,
                sends: true,
                receives: true,
                symmetric: true,
                formats: vec![format],
                ..MediaTerms::nothing()
            };
            let identity = Identity {
                ssrc: index as u32,
                sequence: 0,
                timestamp: 0,
            };
            let media = LegMedia::new(terms).expect("the encoding is one of ours");
            let state = Leg::new(
                identity,
                TrackNumber(index as u32 + 1),
                LegSettings::default(),
                media,
            );
            engine.apply(
                Command::Join {
                    leg: LegId(index as u32),
                    state,
                    room: RoomId(0),
                },
                &mut out,
            );
        }
        if let Some(recording) = recording {
            let change = RoomChange::Record(Some(recording));
            let room = RoomId(0);
            engine.apply(Command::ChangeRoom { room, change }, &mut out);
        }
        out.events().for_each(drop);
        let (tap, mut frames) = tap_ring(TAP_RING_BYTES);
        std::thread::spawn(move || {
            while !frames.is_abandoned() {
                while frames.pop().is_some() {}
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let mut bench = Bench {
            engine,
            out,
            tick: Tick(0),
            legs,
            encoding,
            speech: packets(encoding, 0.1),
            noise: packets(encoding, 0.000_56 * 3.0_f32.sqrt()),
            datagram: vec![0; 8_192],
            tap,
            sockets,
        };
        for _ in 0..2 * LOOP_TICKS {
            bench.any_step();
        }
        bench
    }

    /// Gives the thread's time that was the engine's.
    fn any_step(&mut self) -> Duration {
        let is_on_sockets = !self.sockets.is_empty();
        if is_on_sockets {
            self.converse();
        }
        let start = ThreadTime.start();
        match is_on_sockets {
            true => self.step_on_sockets(),
            false => self.step(),
        }
        ThreadTime.end(start)
    }

    fn step(&mut self) {
        let now = self.tick.due(0);
        for index in 0..self.legs {
            let len = self.write_packet(index);
            let datagram = &mut self.datagram[..len];
            self.engine
                .receive(now, LegId(index as u32), address(index), datagram);
        }
        self.tick_room();
    }

    /// What the parties do, which is not the engine's: they send a packet each, and take theirs.
    fn converse(&mut self) {
        for index in 0..self.legs {
            let len = self.write_packet(index);
            let (ours, party) = &self.sockets[index];
            let to = ours.local_addr().expect("it is bound");
            party.send_to(&self.datagram[..len], to).expect("sent");
            while socket::receive(party, &mut self.datagram).is_ok() {}
        }
    }

    /// A tick of a media thread that has this room alone.
    fn step_on_sockets(&mut self) {
        let now = self.tick.due(0);
        for (index, (ours, _)) in self.sockets.iter().enumerate() {
            while let Ok(received) = socket::receive(ours, &mut self.datagram) {
                let datagram = &mut self.datagram[..received.len];
                self.engine
                    .receive(now, LegId(index as u32), received.from, datagram);
                if self.engine.is_fed(LegId(index as u32)) {
                    break;
                }
            }
        }
        self.tick_room();
    }

    /// Makes the next packet of a leg; gives its bytes.
    fn write_packet(&mut self, index: usize) -> usize {
        let packets = if index < TALKERS {
            &self.speech
        } else {
            &self.noise
        };
        let payload = &packets[(self.tick.0 as usize + index) % LOOP_TICKS];
        let header = Header {
            marker: false,
            payload_type: 96,
            sequence: self.tick.0 as u16,
            timestamp: (self.tick.0 as u32).wrapping_mul(self.encoding.packet_clock()),
            ssrc: index as u32,
        };
        header.write((&mut self.datagram[..HEADER_BYTES]).try_into().expect("12 bytes"));
        self.datagram[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
        HEADER_BYTES + payload.len()
    }

    fn tick_room(&mut self) {
        let now = self.tick.due(0);
        self.engine.tick_room(RoomId(0), self.tick, now, &mut self.out);
        if !self.sockets.is_empty() {
            for (outgoing, datagram) in self.out.datagrams() {
                let (ours, _) = &self.sockets[outgoing.leg.0 as usize];
                ours.send_to(datagram, outgoing.to).expect("sent");
            }
        }
        // As the driver does it.
        for tapped in self.out.tapped() {
            // A tick is done sooner here than it lasts: the ring may fill, which costs no less.
            let _ = self.tap.push(&tapped);
        }
        self.out.events().for_each(drop);
        self.out.clear();
        self.tick = self.tick.next();
    }
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1_024 + index as u16))
}

/// White noise of this amplitude: what matters here is its level.
fn packets(encoding: Encoding, amplitude: f32) -> Vec<Vec<u8>> {
    let mut chance = fastrand::Rng::with_seed(1);
    let mut encoder = Encoder::new(encoding).expect("the encoding is one of ours");
    let mut payload = vec![0; encoding.payload_bytes_max()];
    (0..LOOP_TICKS)
        .map(|_| {
            let pcm: Vec<f32> = (0..encoding.samples())
                .map(|_| amplitude * (chance.f32() * 2.0 - 1.0))
                .collect();
            let len = encoder.encode(&pcm, &mut payload).bytes();
            payload[..len].to_vec()
        })
        .collect()
}

/// To no file, to files of the mix, and to those of the legs besides.
fn recordings() -> [(&'static str, Option<Recording>); 5] {
    let to = |rate, legs| {
        let slot = RecordingSlot(0);
        Some(Recording { slot, rate, legs })
    };
    [
        ("not", None),
        ("mix_8k", to(Rate::Hz8000, false)),
        ("mix_16k", to(Rate::Hz16000, false)),
        ("mix+legs_8k", to(Rate::Hz8000, true)),
        ("mix+legs_16k", to(Rate::Hz16000, true)),
    ]
}

fn record(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("record/room_of_10");
    for (name, recording) in recordings() {
        let mut bench = Bench::new(recording, false);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| bench.step())
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("record/room_of_10_on_sockets");
    for (name, recording) in recordings() {
        let mut bench = Bench::new(recording, true);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|ticks| (0..ticks).map(|_| bench.any_step()).sum())
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = thread_time::criterion(); targets = record);
criterion_main!(benches);
