//! A binary of its own: its global allocator notices whoever allocates or frees while a tick runs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use mixminus::codec::comfort_noise::ComfortNoise;
use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Decoder, Encoder, Encoding, PAYLOAD_BYTES_MAX, PAYLOAD_SAMPLES_MAX};
use mixminus::engine::outbox::Outbox;
use mixminus::engine::{Command, Engine, EngineLimits};
use mixminus::frame::{FRAME_SAMPLES_MAX, Rate};
use mixminus::id::{LegId, RecordingSlot, RoomId, TrackNumber};
use mixminus::leg::{
    Companion, Format, Hold, Identity, Leg, LegChange, LegMedia, LegSettings, MediaTerms, Timeline,
};
use mixminus::room::{Recording, Room, RoomChange, RoomSettings};
use mixminus::rtp::is_rtcp;
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use mixminus::srtp::{MasterKey, RTCP_OVERHEAD_MAX, Receiver, Sender, Suite};
use mixminus::stream::{Content, Stream, Stretch};
use mixminus::time::{TICK, Tick, Time};

thread_local! {
    static FORBIDDEN: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: Cell<u64> = const { Cell::new(0) };
}

struct Watchful;

fn note() {
    if FORBIDDEN.get() {
        CAUGHT.set(CAUGHT.get() + 1);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches only thread-local cells
// that need no allocation.
unsafe impl GlobalAlloc for Watchful {
    // SAFETY: as the trait asks of the caller.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise holds for the system's allocator as well.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as the trait asks of the caller.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note();
        // SAFETY: the pointer came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

/// Runs `work` and says how often it allocated or freed.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    CAUGHT.set(0);
    FORBIDDEN.set(true);
    let result = work();
    FORBIDDEN.set(false);
    (result, CAUGHT.get())
}

const PAYLOAD_TYPE: u8 = 96;

const COMFORT_NOISE: u8 = 13;

struct Talker {
    leg: LegId,
    stream: Box<Stream>,
    timeline: Timeline,
    address: SocketAddr,
}

#[test]
fn the_watchful_allocator_catches_an_allocation() {
    let (_, caught) = allocations(|| std::hint::black_box(vec![0_u8; 100]).len());
    assert!(caught >= 2, "one allocation and one release");
}

#[test]
fn no_codec_allocates_once_it_is_made() {
    let mut chance = fastrand::Rng::with_seed(2);
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
    for (codec, dtx) in [
        (Codec::G722, false),
        (Codec::G729, false),
        (Codec::G729, true),
        (Codec::Opus(Rate::Hz16000), false),
    ] {
        let encoding = Encoding {
            codec,
            ptime_ms: 20,
            bitrate: 24_000,
            complexity: 5,
            dtx,
            loss_percent: 0,
        };
        let mut encoder = Encoder::new(encoding).expect("the encoding is one of ours");
        let mut twin = Encoder::new(encoding).expect("the encoding is one of ours");
        let mut decoder = Decoder::new(codec).expect("the codec is one of ours");
        for round in 0..500 {
            let loudness = if round / 50 % 2 == 0 { 0.3 } else { 0.0001 };
            let frame = &mut pcm[..encoder.frame_samples()];
            frame.fill_with(|| loudness * (chance.f32() - 0.5));
            let (encoded, caught) = allocations(|| {
                twin.copy_from(&encoder);
                encoder.encode(frame, &mut payload)
            });
            assert_eq!(caught, 0, "{encoding:?} is encoded and copied");
            let step = decoder.conceal_step();
            let ((), caught) = allocations(|| {
                let _ = decoder.decode(&payload[..encoded.bytes()], &mut pcm);
                if round % 7 == 0 {
                    decoder.conceal(&mut pcm[..4 * step]);
                }
                if round % 50 > 30 {
                    decoder.pause(&mut pcm[..2 * step]);
                }
                if round % 100 == 99 {
                    decoder.reset();
                }
            });
            assert_eq!(caught, 0, "{codec:?} is decoded, concealed and paused");
        }
    }
    let mut noise = ComfortNoise::new(Rate::Hz8000, 1);
    let (_, caught) = allocations(|| {
        let described = noise.set(&[40, 100, 150]);
        noise.fill(&mut pcm);
        described
    });
    assert_eq!(caught, 0, "noise is made");
}

#[test]
fn receiving_and_ticking_never_allocate_whatever_happens_in_the_room() {
    let mut engine = Engine::new(EngineLimits { legs: 64, rooms: 4 });
    let mut out = Outbox::new(64);
    engine.apply(
        Command::Open {
            room: RoomId(0),
            state: Room::new(RoomSettings::default()),
        },
        &mut out,
    );
    let codecs = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::G729,
        Codec::Ilbc(Mode::Ms20),
        Codec::L16(Rate::Hz8000),
        Codec::L16(Rate::Hz16000),
        Codec::Opus(Rate::Hz8000),
        Codec::Opus(Rate::Hz16000),
        Codec::Opus(Rate::Hz48000),
    ];
    let mut talkers = Vec::new();
    for (index, (codec, ptime_ms, dtx)) in codecs
        .iter()
        .flat_map(|codec| [(*codec, 20, false), (*codec, 20, true), (*codec, 40, true)])
        .enumerate()
    {
        let encoding = Encoding {
            codec,
            ptime_ms,
            bitrate: 24_000,
            complexity: 5,
            dtx,
            loss_percent: 0,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + index as u16));
        let format = Format {
            receive_as: PAYLOAD_TYPE,
            send_as: PAYLOAD_TYPE,
            encoding,
            fec_bitrate_max: Some(30_000),
        };
        let media = LegMedia::new(MediaTerms {
            remote: Some(address),
            remote_rtcp: None,
            rtcp_mux: index % 2 == 0,
            sends: true,
            receives: true,
            symmetric: true,
            formats: vec![format],
            comfort_noise: vec![Companion {
                receive_as: COMFORT_NOISE,
                send_as: COMFORT_NOISE,
                clock_hz: codec.clock_hz(),
            }],
            ..MediaTerms::nothing()
        })
        .expect("the encoding is one of ours");
        let identity = Identity {
            ssrc: index as u32,
            sequence: 65_000,
            timestamp: u32::MAX - 10_000,
        };
        let leg = LegId(index as u32);
        let state = Leg::new(
            identity,
            TrackNumber(index as u32 + 1),
            LegSettings::default(),
            media,
        );
        engine.apply(
            Command::Join {
                leg,
                state,
                room: RoomId(0),
            },
            &mut out,
        );
        talkers.push(Talker {
            leg,
            stream: Stream::new(encoding).expect("the encoding is one of ours"),
            timeline: Timeline::new(Identity {
                ssrc: 7,
                sequence: 0,
                timestamp: 0,
            }),
            address,
        });
    }
    let recording = Recording {
        slot: RecordingSlot(0),
        rate: Rate::Hz16000,
        legs: true,
    };
    let mut chance = fastrand::Rng::with_seed(1);
    let mut reports = 0;
    let mut tracks = std::collections::BTreeSet::new();
    let mut datagram = vec![0; 8_192];
    let mut frame = [0.0; FRAME_SAMPLES_MAX];
    for number in 0..1_500_u64 {
        let tick = Tick(number);
        let now = tick.due(0) + TICK / 2;
        for talker in &mut talkers {
            let rate = talker.stream.encoding().codec.rate();
            let speaks = (number / 100 + u64::from(talker.leg.0)) % 3 == 0;
            for sample in &mut frame[..rate.samples_per_tick()] {
                *sample = if speaks { chance.f32() - 0.5 } else { 0.0 };
            }
            let frame = &frame[..rate.samples_per_tick()];
            let ((), caught) = allocations(|| talker.stream.push(frame, rate, false));
            assert_eq!(caught, 0, "a stream allocates nothing");
            for Stretch { clock, content } in talker.stream.stretches() {
                let (header, payload) = match content {
                    Content::Sound(payload) => (talker.timeline.advance(PAYLOAD_TYPE, clock), payload),
                    Content::ComfortNoise(payload) => {
                        (talker.timeline.describe(COMFORT_NOISE, clock), payload)
                    }
                    Content::Nothing => {
                        talker.timeline.pass(clock);
                        continue;
                    }
                };
                if chance.u32(0..20) == 0 {
                    continue;
                }
                header.write(datagram.first_chunk_mut().expect("longer"));
                let bytes = &mut datagram[..HEADER_BYTES + payload.len()];
                bytes[HEADER_BYTES..].copy_from_slice(payload);
                let ((), caught) = allocations(|| engine.receive(now, talker.leg, talker.address, bytes));
                assert_eq!(caught, 0, "receiving allocates nothing");
            }
            if number % 100 == 50 {
                // Each is reported to lose something else now and then (RFC 3550 §6.4.2).
                let mut report = [0; 32];
                report[..8].copy_from_slice(&[0x81, 201, 0, 7, 0, 0, 0, 1]);
                report[8..12].copy_from_slice(&talker.leg.0.to_be_bytes());
                report[12] = [0, 13, 26, 52][chance.usize(0..4)];
                let ((), caught) =
                    allocations(|| engine.receive_rtcp(now, talker.leg, talker.address, &mut report));
                assert_eq!(caught, 0, "a report allocates nothing");
            }
            let mut garbage: Vec<u8> = (0..chance.usize(0..200)).map(|_| chance.u8(..)).collect();
            let ((), caught) = allocations(|| {
                engine.receive(now, talker.leg, talker.address, &mut garbage);
                engine.receive_rtcp(now, talker.leg, talker.address, &mut garbage);
            });
            assert_eq!(caught, 0, "garbage allocates nothing");
        }
        if let Some(change) = random_changes(&mut chance, talkers.len()) {
            engine.apply(change, &mut out);
        }
        if number % 500 == 250 {
            let change = RoomChange::Record((number % 1_000 == 250).then_some(recording));
            engine.apply(
                Command::ChangeRoom {
                    room: RoomId(0),
                    change,
                },
                &mut out,
            );
        }
        if number % 200 == 120 {
            // A talker and a listener, one after the other, and the room's own recording with them.
            let leg = LegId(chance.u32(0..talkers.len() as u32));
            let recording = (number % 400 == 120).then_some(Recording {
                slot: RecordingSlot(1),
                legs: false,
                ..recording
            });
            let on = chance.bool();
            let change = RoomChange::PauseRecording(on);
            let room = RoomId(0);
            let ((), caught) = allocations(|| {
                engine.apply(Command::RecordLeg { leg, recording }, &mut out);
                engine.apply(Command::PauseLegRecording { leg, on }, &mut out);
                engine.apply(Command::ChangeRoom { room, change }, &mut out);
            });
            assert_eq!(caught, 0, "to record a leg takes no memory");
        }
        out.events().for_each(drop);
        let ((), caught) = allocations(|| engine.tick_room(RoomId(0), tick, now, &mut out));
        assert_eq!(caught, 0, "tick {number} allocates nothing");
        tracks.extend(out.tapped().map(|tapped| tapped.track));
        reports += out.datagrams().filter(|(_, datagram)| is_rtcp(datagram)).count();
        out.events().for_each(drop);
        out.clear();
    }
    for talker in &talkers {
        engine.apply(
            Command::Leave {
                leg: talker.leg,
                for_good: true,
            },
            &mut out,
        );
    }
    assert!(reports > 30 * 4, "reports were among it: {reports}");
    assert_eq!(tracks.len(), 31, "the mix and every leg were recorded");
    let now = Time::from_millis(1_501 * 20);
    let ((), caught) = allocations(|| engine.tick_room(RoomId(0), Tick(1_501), now, &mut out));
    assert_eq!(
        caught, 0,
        "leaving allocates and frees nothing: the legs go back in events"
    );
    assert_eq!(
        out.datagrams().filter(|(_, datagram)| is_rtcp(datagram)).count(),
        30,
        "each takes leave"
    );
    assert_eq!(
        out.events()
            .filter(|event| matches!(event, mixminus::engine::Event::Left { .. }))
            .count(),
        30
    );
}

#[test]
fn srtp_never_allocates_whatever_arrives_and_whichever_key_it_has() {
    let mut chance = fastrand::Rng::with_seed(1);
    for (suite, next_suite) in Suite::ALL.into_iter().zip(Suite::ALL.into_iter().rev()) {
        let key =
            |suite: Suite, byte| MasterKey::new(suite, &vec![byte; suite.master_bytes()]).expect("as long");
        let (old, new) = (key(suite, 1), key(next_suite, 2));
        let mut sender = Sender::new(&old);
        let mut receiver = Receiver::new(&old, 0);
        for number in 0..300_u16 {
            let mut packet = [chance.u8(..); 200 + RTCP_OVERHEAD_MAX];
            let header = Header {
                marker: false,
                payload_type: PAYLOAD_TYPE,
                sequence: number.wrapping_sub(100),
                timestamp: 0,
                ssrc: 7,
            };
            header.write(packet.first_chunk_mut().expect("longer"));
            let mut rtcp = packet;
            let mut forged = packet;
            let (heard, caught) = allocations(|| {
                if number == 100 {
                    receiver.rekey(&new, 0);
                }
                if number == 150 {
                    sender.rekey(&new);
                }
                let is_refused = receiver.unprotect(&mut forged).is_err();
                let len = sender.protect(&mut packet, 172).expect("in sequence");
                let heard = receiver.unprotect(&mut packet[..len]);
                let len = sender.protect_rtcp(&mut rtcp, 172).expect("RTCP");
                is_refused && heard == receiver.unprotect_rtcp(&mut rtcp[..len])
            });
            assert!(heard, "{} at {number}", suite.name());
            assert_eq!(caught, 0, "{} at {number}", suite.name());
        }
    }
}

fn random_changes(chance: &mut fastrand::Rng, legs: usize) -> Option<Command> {
    if chance.u32(0..5) != 0 {
        return None;
    }
    if chance.u32(0..8) == 0 {
        let max = chance.u16(0..4);
        let change = RoomChange::TalkersMax((max > 0).then_some(max));
        let room = RoomId(0);
        return Some(Command::ChangeRoom { room, change });
    }
    let leg = LegId(chance.u32(0..legs as u32));
    let change = match chance.u32(0..8) {
        0 => LegChange::Muted(true),
        1 => LegChange::Muted(false),
        2 => LegChange::Deaf(chance.bool()),
        3 => LegChange::Hold(Some(Hold { music: None })),
        4 => LegChange::Hold(Some(Hold {
            music: Some(mixminus::dsp::Music::Music1),
        })),
        5 => LegChange::Gain(chance.f32() * 2.0),
        6 => LegChange::MaxDelayMs(chance.u16(40..400)),
        _ => LegChange::Hold(None),
    };
    Some(Command::Change { leg, change })
}
