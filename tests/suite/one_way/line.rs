//! One leg in a room, and whoever sends to it.

use std::net::SocketAddr;

use mixminus::codec::Codec;
use mixminus::engine::outbox::Outbox;
use mixminus::engine::{Command, Engine, EngineLimits, Event};
use mixminus::id::{LegId, RoomId, TrackNumber};
use mixminus::leg::{Direction, Identity, Leg, LegMedia, LegReport, LegSettings, MediaTerms, OneWay};
use mixminus::room::{Room, RoomSettings};
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use mixminus::rtp::rtcp::{self, ReportBlock};
use mixminus::time::Tick;

use crate::support::world::{PAYLOAD_TYPE, encoding, terms};

pub const LEG: LegId = LegId(0);

/// Two seconds, within which one-way audio is noticed.
pub const IN_TIME: u64 = 100;

pub const SECOND: u64 = 50;

/// What was told, and in which tick.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    Begins(Direction, &'static str),
    Ends(Direction, &'static str),
    TimedOut,
}

pub struct Line {
    pub engine: Engine,
    pub outbox: Outbox,
    pub tick: Tick,
    next: Header,
    pub told: Vec<(u64, Told)>,
}

pub fn remote(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

impl Line {
    pub fn new(codec: Codec, agree: impl FnOnce(MediaTerms) -> MediaTerms) -> Line {
        let mut engine = Engine::new(EngineLimits { legs: 2, rooms: 2 });
        let mut outbox = Outbox::new(2);
        for room in 0..2 {
            engine.apply(
                Command::Open {
                    room: RoomId(room),
                    state: Room::new(RoomSettings::default()),
                },
                &mut outbox,
            );
        }
        let media = LegMedia::new(agree(terms(remote(4_000), encoding(codec)))).unwrap();
        let identity = Identity {
            ssrc: 1,
            sequence: 0,
            timestamp: 0,
        };
        engine.apply(
            Command::Join {
                leg: LEG,
                state: Leg::new(identity, TrackNumber(1), LegSettings::default(), media),
                room: RoomId(0),
            },
            &mut outbox,
        );
        Line {
            engine,
            outbox,
            tick: Tick(1_000),
            next: Header {
                marker: false,
                payload_type: PAYLOAD_TYPE,
                sequence: 7,
                timestamp: 0,
                ssrc: 2,
            },
            told: Vec::new(),
        }
    }

    pub fn pcmu() -> Line {
        Line::new(Codec::Pcmu, |terms| terms)
    }

    pub fn apply(&mut self, command: Command) {
        self.engine.apply(command, &mut self.outbox);
    }

    /// A tick in which nothing comes.
    pub fn idle(&mut self) {
        let now = self.tick.due(0);
        for room in 0..2 {
            self.engine
                .tick_room(RoomId(room), self.tick, now, &mut self.outbox);
            self.outbox.clear();
        }
        let tick = self.tick.0;
        for event in self.outbox.events() {
            let told = match event {
                Event::OneWay { one_way, .. } => {
                    let OneWay {
                        direction,
                        on,
                        reason,
                    } = one_way;
                    match on {
                        true => Told::Begins(direction, reason),
                        false => Told::Ends(direction, reason),
                    }
                }
                Event::MediaTimeout { .. } => Told::TimedOut,
                _ => continue,
            };
            self.told.push((tick, told));
        }
        self.tick = self.tick.next();
    }

    /// A tick in which a packet comes from this port.
    pub fn packet(&mut self, port: u16, payload_type: u8, payload: &[u8]) {
        self.packet_from(remote(port), payload_type, payload);
    }

    pub fn packet_from(&mut self, from: SocketAddr, payload_type: u8, payload: &[u8]) {
        let mut datagram = vec![0; HEADER_BYTES + payload.len()];
        let header = Header {
            payload_type,
            ..self.next
        };
        header.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
        datagram[HEADER_BYTES..].copy_from_slice(payload);
        self.engine.receive(self.tick.due(0), LEG, from, &mut datagram);
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.pass();
    }

    /// A tick of the sender's time goes by.
    pub fn pass(&mut self) {
        self.next.timestamp = self.next.timestamp.wrapping_add(160);
        self.idle();
    }

    pub fn talk(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.packet(4_000, PAYLOAD_TYPE, &[0x55; 160]);
        }
    }

    pub fn silent(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.pass();
        }
    }

    /// An empty receiver report (RFC 3550 §6.4.2).
    pub fn rtcp(&mut self, from: SocketAddr) {
        let mut datagram = [0x80, 201, 0, 1, 0, 0, 0, 2];
        let now = self.tick.due(0);
        self.engine.receive_rtcp(now, LEG, from, &mut datagram);
    }

    /// A receiver report whose block about our stream, if it has one, says that it came so far; then 5 s of sound.
    pub fn reports(&mut self, highest_sequence: Option<u32>) {
        let block = highest_sequence.map(|highest_sequence| ReportBlock {
            ssrc: 1,
            highest_sequence,
            ..ReportBlock::default()
        });
        let mut datagram = [0; rtcp::DATAGRAM_BYTES_MAX];
        let bytes = rtcp::write_receiver_report(&mut datagram, 2, block.as_slice(), b"party").unwrap();
        let now = self.tick.due(0);
        self.engine
            .receive_rtcp(now, LEG, remote(4_001), &mut datagram[..bytes]);
        self.talk(5 * SECOND);
    }

    pub fn agree(&mut self, agree: impl FnOnce(MediaTerms) -> MediaTerms) {
        let terms = agree(terms(remote(4_000), encoding(Codec::Pcmu)));
        let media = LegMedia::new(terms).unwrap();
        self.apply(Command::Renegotiate { leg: LEG, media });
    }

    pub fn told(&mut self) -> Vec<Told> {
        self.told.drain(..).map(|(_, told)| told).collect()
    }

    /// The one thing that was told, at most so many ticks ago.
    #[track_caller]
    pub fn told_within(&mut self, ticks: u64) -> Told {
        let tick = self.tick.0;
        assert_eq!(self.told.len(), 1, "{:?}", self.told);
        let (at, told) = self.told.remove(0);
        assert!(at + ticks > tick, "{told:?} was told {} ticks ago", tick - at);
        told
    }

    pub fn report(&mut self) -> Box<LegReport> {
        self.apply(Command::ReportLeg {
            leg: LEG,
            request: 0,
            report: Box::default(),
        });
        let reported = self.outbox.events().find_map(|event| match event {
            Event::LegReported { report, .. } => Some(report),
            _ => None,
        });
        reported.unwrap()
    }
}
