//! Engines, parties and the network between them on a virtual clock. The same seed gives the same conference, to the
//! last bit of every packet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use mixminus::codec::{Codec, Decoder, Encoder, Encoding, PAYLOAD_SAMPLES_MAX};
use mixminus::engine::outbox::Outbox;
use mixminus::engine::{Command, Engine, EngineLimits, Event};
use mixminus::frame::Rate;
use mixminus::id::{LegId, RoomId};
use mixminus::leg::{Dropped, Format, Identity, Leg, LegChange, LegMedia, LegSettings, MediaTerms};
use mixminus::load::network::{Conditions, Network};
use mixminus::room::{Room, RoomSettings};
use mixminus::rtp::packet::{HEADER_BYTES, Header, Packet};
use mixminus::time::{PHASES, TICK, Tick, Time};

use super::voice::Voice;

pub const PAYLOAD_TYPE: u8 = 96;

/// 20 ms of a codec with the bitrate it has by default.
pub fn encoding(codec: Codec) -> Encoding {
    Encoding {
        codec,
        ptime_ms: 20,
        bitrate: 32_000,
        complexity: 5,
        dtx: false,
        loss_percent: 0,
    }
}

pub fn terms(address: SocketAddr, encoding: Encoding) -> MediaTerms {
    MediaTerms {
        remote: Some(address),
        remote_rtcp: None,
        rtcp_mux: true,
        sends: true,
        receives: true,
        symmetric: true,
        formats: vec![Format {
            receive_as: PAYLOAD_TYPE,
            send_as: PAYLOAD_TYPE,
            encoding,
        }],
        ..MediaTerms::nothing()
    }
}

/// A remote party: speaks through an encoder and a bad network, hears through a decoder.
pub struct Party {
    pub voice: Voice,
    pub encoding: Encoding,
    pub leg: LegId,
    pub engine: usize,
    pub address: SocketAddr,
    /// When in a tick it sends.
    offset: Time,
    encoder: Encoder,
    decoder: Decoder,
    pending: Vec<f32>,
    network: Network,
    next: Header,
    last_header: Option<Header>,
    pub packets_heard: u64,
    /// Sound it was sent and that the test has not taken yet, at its codec's rate.
    pub heard: Vec<f32>,
    /// Between two rooms packets wait where they arrived.
    seated: bool,
    waiting: Vec<(Time, Vec<u8>)>,
}

impl Party {
    pub fn rate(&self) -> Rate {
        self.encoding.codec.rate()
    }

    /// Takes one tick of what was heard, if that much has come.
    pub fn hear_tick(&mut self) -> Option<Vec<f32>> {
        let samples = self.rate().samples_per_tick();
        if self.heard.len() < samples {
            return None;
        }
        let rest = self.heard.split_off(samples);
        Some(std::mem::replace(&mut self.heard, rest))
    }
}

struct Flying {
    arrival: Time,
    order: u64,
    party: usize,
    datagram: Vec<u8>,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Flying) -> bool {
        self.order == other.order
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Flying) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Flying) -> std::cmp::Ordering {
        (self.arrival, self.order).cmp(&(other.arrival, other.order))
    }
}

pub struct World {
    pub seed: u64,
    pub engines: Vec<Engine>,
    outbox: Outbox,
    pub tick: Tick,
    pub parties: Vec<Party>,
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
    /// FNV-1a over every datagram the engines sent.
    pub hash: u64,
    pub events: Vec<Event>,
    /// Frames for the recorder, in order.
    pub recorded: Vec<f32>,
    conditions: Conditions,
}

impl World {
    pub fn seeded(seed: u64) -> World {
        World {
            seed,
            engines: vec![Engine::new(EngineLimits { legs: 128, rooms: 16 })],
            outbox: Outbox::new(128),
            tick: Tick(1_000),
            parties: Vec::new(),
            flying: BinaryHeap::new(),
            sent: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            events: Vec::new(),
            recorded: Vec::new(),
            conditions: Conditions::PERFECT,
        }
    }

    pub fn network(mut self, conditions: Conditions) -> World {
        self.conditions = conditions;
        self
    }

    pub fn engine(mut self) -> World {
        self.engines
            .push(Engine::new(EngineLimits { legs: 128, rooms: 16 }));
        self
    }

    pub fn apply(&mut self, engine: usize, command: Command) {
        self.engines[engine].apply(command, &mut self.outbox);
        self.events.extend(self.outbox.events());
    }

    pub fn open(&mut self, engine: usize, room: u32, settings: RoomSettings) {
        self.apply(
            engine,
            Command::Open {
                room: RoomId(room),
                state: Room::new(settings),
            },
        );
    }

    /// Seats a new party in a room of an engine; returns its index.
    pub fn join(&mut self, engine: usize, room: u32, encoding: Encoding, voice: Voice) -> usize {
        self.join_with(engine, room, encoding, voice, LegSettings::default())
    }

    pub fn join_with(
        &mut self,
        engine: usize,
        room: u32,
        encoding: Encoding,
        voice: Voice,
        settings: LegSettings,
    ) -> usize {
        let index = self.parties.len();
        let mut chance = fastrand::Rng::with_seed(self.seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9));
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + 2 * index as u16));
        let identity = Identity {
            ssrc: chance.u32(..),
            sequence: chance.u16(..),
            timestamp: chance.u32(..),
        };
        let media = LegMedia::new(terms(address, encoding)).expect("the encoding is one of ours");
        let leg = LegId(index as u32);
        self.apply(
            engine,
            Command::Join {
                leg,
                state: Leg::new(identity, settings, media),
                room: RoomId(room),
            },
        );
        self.parties.push(Party {
            voice,
            encoding,
            leg,
            engine,
            address,
            offset: Time::from_nanos(chance.u64(0..TICK.as_nanos() as u64)),
            encoder: Encoder::new(encoding).expect("the encoding is one of ours"),
            decoder: Decoder::new(encoding.codec).expect("the codec is one of ours"),
            pending: Vec::new(),
            network: Network::seeded(chance.u64(..), self.conditions),
            next: Header {
                marker: false,
                payload_type: PAYLOAD_TYPE,
                sequence: chance.u16(..),
                timestamp: chance.u32(..),
                ssrc: chance.u32(..),
            },
            last_header: None,
            packets_heard: 0,
            heard: Vec::new(),
            seated: true,
            waiting: Vec::new(),
        });
        index
    }

    pub fn change(&mut self, party: usize, change: LegChange) {
        let (engine, leg) = (self.parties[party].engine, self.parties[party].leg);
        self.apply(engine, Command::Change { leg, change });
    }

    pub fn leave(&mut self, party: usize) {
        let (engine, leg) = (self.parties[party].engine, self.parties[party].leg);
        self.apply(engine, Command::Leave { leg });
    }

    /// What the first engine has dropped for this reason so far.
    pub fn dropped(&mut self, reason: Dropped) -> u64 {
        self.apply(
            0,
            Command::Report {
                request: 0,
                report: Box::default(),
            },
        );
        match self.events.pop() {
            Some(Event::Reported { report, .. }) => report.dropped[reason as usize],
            _ => unreachable!("a report is answered at once"),
        }
    }

    /// One tick of everything: the parties speak, the network delivers, every phase of every engine runs.
    pub fn step(&mut self) {
        self.begin_tick();
        for phase in 0..PHASES {
            self.run_phase(phase);
        }
        self.end_tick();
    }

    pub fn begin_tick(&mut self) {
        for party in 0..self.parties.len() {
            self.speak(party);
        }
    }

    pub fn run_phase(&mut self, phase: usize) {
        let now = self.tick.due(phase);
        self.deliver_until(now);
        for engine in 0..self.engines.len() {
            for index in 0..self.engines[engine].rooms_in_phase(phase).len() {
                let room = self.engines[engine].rooms_in_phase(phase)[index];
                self.engines[engine].tick_room(room, self.tick, now, &mut self.outbox);
                self.collect();
            }
        }
    }

    pub fn end_tick(&mut self) {
        self.tick = self.tick.next();
    }

    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.step();
        }
    }

    fn speak(&mut self, index: usize) {
        let party = &mut self.parties[index];
        let rate = party.encoding.codec.rate();
        let mut frame = vec![0.0; rate.samples_per_tick()];
        party.voice.speak(&mut frame, rate.hz());
        party.pending.extend_from_slice(&frame);
        let packet_samples = usize::from(party.encoding.ptime_ms) * rate.samples_per_ms();
        let mut payload = vec![0; party.encoding.payload_bytes_max()];
        let sent_at = self.tick.due(0) + party.offset.since(Time::ZERO);
        while party.pending.len() >= packet_samples {
            let rest = party.pending.split_off(packet_samples);
            let pcm = std::mem::replace(&mut party.pending, rest);
            let len = party.encoder.encode(&pcm, &mut payload).bytes();
            let header = party.next;
            party.next.sequence = header.sequence.wrapping_add(1);
            party.next.timestamp = header.timestamp.wrapping_add(party.encoding.packet_clock());
            let mut datagram = vec![0; HEADER_BYTES + len];
            header.write(
                (&mut datagram[..HEADER_BYTES])
                    .try_into()
                    .expect("a header's length"),
            );
            datagram[HEADER_BYTES..].copy_from_slice(&payload[..len]);
            for arrival in party.network.offer(sent_at, datagram.len()).times() {
                self.sent += 1;
                self.flying.push(Reverse(Flying {
                    arrival: *arrival,
                    order: self.sent,
                    party: index,
                    datagram: datagram.clone(),
                }));
            }
        }
    }

    fn deliver_until(&mut self, now: Time) {
        while let Some(Reverse(next)) = self.flying.peek() {
            if next.arrival > now {
                return;
            }
            let Some(Reverse(mut next)) = self.flying.pop() else {
                return;
            };
            let party = &mut self.parties[next.party];
            if !party.seated {
                // As on a socket that nobody reads meanwhile.
                party.waiting.push((next.arrival, next.datagram));
                continue;
            }
            self.engines[party.engine].receive(next.arrival, party.leg, party.address, &mut next.datagram);
        }
    }

    fn collect(&mut self) {
        for (outgoing, datagram) in self.outbox.datagrams() {
            for byte in datagram {
                self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
            let seed = self.seed;
            let party = &mut self.parties[outgoing.leg.0 as usize];
            assert_eq!(
                outgoing.to, party.address,
                "seed {seed}: a packet goes to its leg's party"
            );
            let packet = Packet::parse(datagram).expect("our own packets are well-formed");
            if let Some(last) = party.last_header {
                assert_eq!(
                    packet.sequence,
                    last.sequence.wrapping_add(1),
                    "seed {seed}: one more each packet"
                );
                let expected = last.timestamp.wrapping_add(party.encoding.packet_clock());
                assert_eq!(
                    packet.timestamp, expected,
                    "seed {seed}: the timestamp rises by the packet's length"
                );
                assert_eq!(packet.ssrc, last.ssrc, "seed {seed}: one SSRC for a leg's life");
            }
            party.last_header = Some(Header {
                marker: packet.marker,
                payload_type: packet.payload_type,
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                ssrc: packet.ssrc,
            });
            let mut pcm = vec![0.0; PAYLOAD_SAMPLES_MAX];
            let len = party
                .decoder
                .decode(packet.payload, &mut pcm)
                .expect("our own payloads decode");
            party.heard.extend_from_slice(&pcm[..len]);
            party.packets_heard += 1;
        }
        for frame in self.outbox.recorded() {
            self.recorded.extend_from_slice(frame.samples());
        }
        for event in self.outbox.events() {
            if let Event::Left { leg, .. } = &event {
                self.parties[leg.0 as usize].seated = false;
            }
            self.events.push(event);
        }
        self.outbox.clear();
    }

    /// Whether the party has left and was not seated again.
    pub fn has_left(&self, party: usize) -> bool {
        !self.parties[party].seated
    }

    /// Moves a party that has left (its `Event::Left` is taken) to a room of any engine.
    pub fn seat_again(&mut self, party: usize, engine: usize, room: u32) {
        let leg = self.parties[party].leg;
        let position = self
            .events
            .iter()
            .position(|event| matches!(event, Event::Left { leg: left, .. } if *left == leg))
            .expect("the leg has left");
        let Event::Left { state, .. } = self.events.remove(position) else {
            unreachable!("matched above")
        };
        self.apply(
            engine,
            Command::Join {
                leg,
                state,
                room: RoomId(room),
            },
        );
        let party = &mut self.parties[party];
        party.engine = engine;
        party.seated = true;
        for (arrival, mut datagram) in party.waiting.drain(..) {
            self.engines[engine].receive(arrival, leg, party.address, &mut datagram);
        }
    }
}
