//! What recording adds to a tick of a room of 10 that works at 8 kHz: 2 of the legs talk, the others send noise at
//! −65 dBFS. Up to the ring, which another thread empties. Files are at 8 and at 16 kHz.

mod thread_time;

use std::net::SocketAddr;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mixminus::capture::Recording;
use mixminus::codec::{Codec, Encoder, Encoding};
use mixminus::engine::outbox::{Content, Outbox};
use mixminus::engine::{Command, Engine, EngineLimits};
use mixminus::frame::Rate;
use mixminus::id::{LegId, RecordingSlot, RoomId, TrackNumber};
use mixminus::leg::{Format, Identity, Leg, LegMedia, LegSettings, MediaTerms};
use mixminus::record::{RecordedFrame, TAP_RING_BYTES, TapSender, tap_ring};
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
}

impl Bench {
    fn new(recording: Option<Recording>) -> Bench {
        let (codec, legs) = (Codec::Pcmu, LEGS);
        let encoding = Encoding {
            codec,
            ptime_ms: 20,
            bitrate: 32_000,
            complexity: 5,
            dtx: false,
            loss_percent: 0,
        };
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
                remote: Some(address(index)),
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
        };
        for _ in 0..2 * LOOP_TICKS {
            bench.step();
        }
        bench
    }

    fn step(&mut self) {
        let now = self.tick.due(0);
        for index in 0..self.legs {
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
            let datagram = &mut self.datagram[..HEADER_BYTES + payload.len()];
            self.engine
                .receive(now, LegId(index as u32), address(index), datagram);
        }
        self.engine.tick_room(RoomId(0), self.tick, now, &mut self.out);
        // As the driver does it.
        for tapped in self.out.tapped() {
            let (slot, track, tick, rate) = (tapped.recording, tapped.track, tapped.tick, tapped.rate);
            let frame = match tapped.content {
                Content::Sound(samples) => RecordedFrame::sound(slot, track, tick, rate, samples),
                Content::Quiet => RecordedFrame::quiet(slot, track, tick, rate),
                Content::Paused => RecordedFrame::paused(slot, track, tick, rate),
            };
            // A tick is done sooner here than it lasts: the ring may fill, which costs no less.
            let _ = self.tap.push(&frame);
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

fn record(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("record/room_of_10");
    let to = |rate, legs| {
        let slot = RecordingSlot(0);
        Some(Recording { slot, rate, legs })
    };
    for (name, recording) in [
        ("not", None),
        ("mix_8k", to(Rate::Hz8000, false)),
        ("mix_16k", to(Rate::Hz16000, false)),
        ("mix+legs_8k", to(Rate::Hz8000, true)),
        ("mix+legs_16k", to(Rate::Hz16000, true)),
    ] {
        let mut bench = Bench::new(recording);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| bench.step())
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = thread_time::criterion(); targets = record);
criterion_main!(benches);
