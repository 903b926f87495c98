//! Engines, parties and the network between them on a virtual clock. The same seed gives the same conference, to the
//! last bit of every packet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use mixminus::codec::{Codec, Decoder, Encoding, PAYLOAD_SAMPLES_MAX};
use mixminus::engine::outbox::{Content as Tapped, Outbox};
use mixminus::engine::{Command, Engine, EngineLimits, Event};
use mixminus::frame::Rate;
use mixminus::id::{LegId, RecordingSlot, RoomId, TrackNumber};
use mixminus::leg::{
    Companion, Dropped, Format, Identity, Leg, LegChange, LegMedia, LegReport, LegSettings, MediaTerms, Port,
    Timeline,
};
use mixminus::load::network::{Conditions, Network};
use mixminus::room::{Room, RoomSettings};
use mixminus::rtp::is_rtcp;
use mixminus::rtp::ntp::WallClock;
use mixminus::rtp::packet::{HEADER_BYTES, Header, Packet};
use mixminus::srtp;
use mixminus::stream::{Content, Stream, Stretch};
use mixminus::time::{PHASES, TICK, Tick, Time};

use super::voice::Voice;

pub const PAYLOAD_TYPE: u8 = 96;
pub const EVENT_PAYLOAD_TYPE: u8 = 101;

/// RFC 3551 Table 4.
pub const COMFORT_NOISE: u8 = 13;

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
            fec_bitrate_max: None,
        }],
        comfort_noise: vec![Companion {
            receive_as: COMFORT_NOISE,
            send_as: COMFORT_NOISE,
            clock_hz: encoding.codec.clock_hz(),
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
    /// When in a tick it sends, as long as its clock goes right.
    offset: Time,
    joined: Tick,
    spoken_ticks: u32,
    /// Of its way to the engine.
    conditions: Conditions,
    /// Of sound, both ways.
    payload_type: u8,
    stream: Box<Stream>,
    timeline: Timeline,
    /// Its stream is new, and begins softly.
    seam: bool,
    decoder: Decoder,
    network: Network,
    pub last_header: Option<Header>,
    /// Timestamp after the last packet heard.
    expected: u32,
    /// That packet said that there is nothing to hear for a while.
    told: bool,
    /// Something else has been agreed on since.
    renegotiated: bool,
    /// Of the packets it sent, those that have come to its leg; one that came twice is two.
    pub packets_arrived: u64,
    pub packets_heard: u64,
    /// Payload type, payload bytes and the samples of pause before it, of each packet since the test took them.
    pub packets: Vec<(u8, usize, usize)>,
    /// Of these, packets that repeat what was in the one before.
    pub repeating_packets: u64,
    /// Sound it was sent and that the test has not taken yet, at its codec's rate.
    pub heard: Vec<f32>,
    /// Telephone events it was sent: header and payload.
    pub events_heard: Vec<(Header, Vec<u8>)>,
    ciphers: Option<(srtp::Sender, srtp::Receiver)>,
    /// Where it wants its RTCP, if not where its RTP.
    pub rtcp_address: Option<SocketAddr>,
    /// RTCP it was sent, and when.
    pub reports: Vec<(Time, Vec<u8>)>,
    /// SSRC of what it was sent: one, unless the party collides with it.
    pub ssrcs: Vec<u32>,
    pub collides: bool,
    /// Between two rooms packets wait where they arrived.
    seated: bool,
    waiting: Vec<(Time, Vec<u8>)>,
}

impl Party {
    pub fn rate(&self) -> Rate {
        self.encoding.codec.rate()
    }

    /// Of the packets it sent, those its network lost.
    pub fn lost(&self) -> u64 {
        self.network.lost()
    }

    /// When it has the next tick of sound.
    fn speaks_next(&self) -> Time {
        let owed = TICK * self.spoken_ticks;
        self.joined.due(0) + self.offset.since(Time::ZERO) + self.conditions.departure(owed)
    }

    fn unprotect(&mut self, datagram: &mut Vec<u8>) {
        if let Some((_, receiver)) = &mut self.ciphers {
            let len = if is_rtcp(datagram) {
                receiver.unprotect_rtcp(datagram)
            } else {
                receiver.unprotect(datagram)
            };
            datagram.truncate(len.expect("our own packets are authentic"));
        }
    }

    /// SSRC of what it sends, and the number and the timestamp of its next packet.
    pub fn says(&self) -> Identity {
        Identity {
            ssrc: self.timeline.ssrc(),
            sequence: self.timeline.sequence(),
            timestamp: self.timeline.timestamp(),
        }
    }

    /// The last header it was sent.
    pub fn last_header(&self) -> Option<Header> {
        self.last_header
    }

    /// From here on it sends as another source.
    pub fn change_ssrc(&mut self, ssrc: u32) {
        self.timeline.change_ssrc(ssrc);
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

fn protect(ciphers: &mut Option<(srtp::Sender, srtp::Receiver)>, datagram: &mut Vec<u8>) {
    if let Some((sender, _)) = ciphers {
        let len = datagram.len();
        datagram.resize(len + srtp::OVERHEAD_MAX, 0);
        let len = sender.protect(datagram, len).expect("one packet after the other");
        datagram.truncate(len);
    }
}

/// The remote's end of an encrypted leg.
fn ciphers(terms: &srtp::Terms) -> (srtp::Sender, srtp::Receiver) {
    (
        srtp::Sender::new(&terms.theirs),
        srtp::Receiver::new(&terms.ours, 0),
    )
}

/// What every wall clock shows when the engines' time begins: 2026-03-01 12:00 and some.
pub const WALL_CLOCK: WallClock = WallClock::starting_at(0xED4E_A8C0_5A5A_5A5A);

fn engine() -> Engine {
    let mut engine = Engine::new(EngineLimits { legs: 128, rooms: 16 });
    engine.set_wall_clock(WALL_CLOCK);
    engine
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

/// A tick of a track of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub slot: RecordingSlot,
    pub track: TrackNumber,
    pub tick: Tick,
    pub rate: Rate,
    /// `None` where the recording is paused.
    pub sound: Option<Vec<f32>>,
}

pub struct World {
    pub seed: u64,
    pub engines: Vec<Engine>,
    outbox: Outbox,
    pub tick: Tick,
    /// When the last phase began.
    now: Time,
    pub parties: Vec<Party>,
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
    /// FNV-1a over every datagram the engines sent.
    pub hash: u64,
    pub events: Vec<Event>,
    /// What main tracks of recordings were given, in order.
    pub recorded: Vec<f32>,
    /// All frames for the recorder, in order.
    pub tapped: Vec<Frame>,
    /// Of the ways to the engines, for those who join from now on. The ways back are perfect.
    pub conditions: Conditions,
    /// What else befalls them, where all the rest is to stay the same.
    pub network_seed: u64,
}

impl World {
    pub fn seeded(seed: u64) -> World {
        World {
            seed,
            engines: vec![engine()],
            outbox: Outbox::new(128),
            tick: Tick(1_000),
            now: Time::ZERO,
            parties: Vec::new(),
            flying: BinaryHeap::new(),
            sent: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            events: Vec::new(),
            recorded: Vec::new(),
            tapped: Vec::new(),
            conditions: Conditions::PERFECT,
            network_seed: 0,
        }
    }

    pub fn network(mut self, conditions: Conditions) -> World {
        self.conditions = conditions;
        self
    }

    pub fn engine(mut self) -> World {
        self.engines.push(engine());
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
        self.join_on(engine, room, encoding, voice, settings, |terms| terms)
    }

    /// As agreed on by the terms that `agree` makes of plain ones.
    pub fn join_on(
        &mut self,
        engine: usize,
        room: u32,
        encoding: Encoding,
        voice: Voice,
        settings: LegSettings,
        agree: impl FnOnce(MediaTerms) -> MediaTerms,
    ) -> usize {
        let index = self.parties.len();
        let mut chance = fastrand::Rng::with_seed(self.seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9));
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + 2 * index as u16));
        let identity = Identity {
            ssrc: chance.u32(..),
            sequence: chance.u16(..),
            timestamp: chance.u32(..),
        };
        let terms = agree(terms(address, encoding));
        let ciphers = terms.srtp.as_ref().map(ciphers);
        let media = LegMedia::new(terms).expect("the encoding is one of ours");
        let leg = LegId(index as u32);
        self.apply(
            engine,
            Command::Join {
                leg,
                state: Leg::new(identity, TrackNumber(index as u32 + 1), settings, media),
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
            joined: self.tick,
            spoken_ticks: 0,
            conditions: self.conditions,
            payload_type: PAYLOAD_TYPE,
            stream: {
                let mut stream = Stream::new(encoding).expect("the encoding is one of ours");
                stream.align(self.tick);
                stream
            },
            decoder: Decoder::new(encoding.codec).expect("the codec is one of ours"),
            network: Network::seeded(chance.u64(..) ^ self.network_seed, self.conditions),
            timeline: Timeline::new(Identity {
                sequence: chance.u16(..),
                timestamp: chance.u32(..),
                ssrc: chance.u32(..),
            }),
            seam: false,
            last_header: None,
            expected: identity.timestamp,
            told: true,
            renegotiated: false,
            packets_arrived: 0,
            packets_heard: 0,
            packets: Vec::new(),
            repeating_packets: 0,
            heard: Vec::new(),
            events_heard: Vec::new(),
            ciphers,
            rtcp_address: None,
            reports: Vec::new(),
            ssrcs: Vec::new(),
            collides: false,
            seated: true,
            waiting: Vec::new(),
        });
        index
    }

    pub fn change(&mut self, party: usize, change: LegChange) {
        let (engine, leg) = (self.parties[party].engine, self.parties[party].leg);
        self.apply(engine, Command::Change { leg, change });
    }

    /// The party and its leg agree on another encoding, by the terms that `agree` makes of plain ones.
    pub fn renegotiate(
        &mut self,
        party: usize,
        encoding: Encoding,
        agree: impl FnOnce(MediaTerms) -> MediaTerms,
    ) {
        let (engine, leg, address) = {
            let party = &self.parties[party];
            (party.engine, party.leg, party.address)
        };
        // RFC 3264 §8.3.2: a number is not given to another codec while a call lasts.
        let same = self.parties[party].encoding.shape() == encoding.shape();
        let payload_type = match self.parties[party].payload_type {
            last if same => last,
            127 | ..103 => 103,
            last => last + 1,
        };
        let mut terms = terms(address, encoding);
        for format in &mut terms.formats {
            (format.receive_as, format.send_as) = (payload_type, payload_type);
        }
        let media = LegMedia::new(agree(terms)).expect("the encoding is one of ours");
        self.apply(engine, Command::Renegotiate { leg, media });
        let tick = self.tick;
        let party = &mut self.parties[party];
        if same {
            party.encoding = encoding;
            return;
        }
        party.payload_type = payload_type;
        let before = std::mem::replace(&mut party.encoding, encoding);
        party.stream = Stream::new(encoding).expect("the encoding is one of ours");
        let clock = party.stream.follow(before, tick);
        party.timeline.pass(clock);
        party.stream.align(tick);
        party.decoder = Decoder::new(encoding.codec).expect("the codec is one of ours");
        party.heard.clear();
        party.renegotiated = true;
        party.seam = true;
    }

    /// The party reports that it loses so much of what its leg sends (RFC 3550 §6.4.2).
    pub fn report_loss(&mut self, party: usize, percent: u32) {
        let party = &self.parties[party];
        let ssrc = party.last_header.map_or(0, |header| header.ssrc);
        let mut datagram = vec![0x81, 201, 0, 7, 0, 0, 0, 1];
        datagram.extend(ssrc.to_be_bytes());
        datagram.push((percent * 256 / 100) as u8);
        datagram.extend([0; 19]);
        let now = self.tick.due(0);
        self.engines[party.engine].receive_rtcp(now, party.leg, party.address, &mut datagram);
    }

    pub fn leave(&mut self, party: usize) {
        let (engine, leg) = (self.parties[party].engine, self.parties[party].leg);
        self.apply(engine, Command::Leave { leg, for_good: false });
    }

    /// The same for good.
    pub fn end(&mut self, party: usize) {
        let (engine, leg) = (self.parties[party].engine, self.parties[party].leg);
        self.apply(engine, Command::Leave { leg, for_good: true });
    }

    /// The figures of a party's leg.
    pub fn report(&mut self, party: usize) -> Box<LegReport> {
        let (engine, leg) = (self.parties[party].engine, self.parties[party].leg);
        self.apply(
            engine,
            Command::ReportLeg {
                leg,
                request: 0,
                report: Box::default(),
            },
        );
        match self.events.pop() {
            Some(Event::LegReported { report, .. }) => report,
            _ => unreachable!("a report is answered at once"),
        }
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
        let end = self.tick.next().due(0);
        for index in 0..self.parties.len() {
            // One whose clock is fast speaks twice now and then, and a slow one not at all.
            while self.parties[index].speaks_next() < end {
                self.speak(index);
            }
        }
    }

    pub fn run_phase(&mut self, phase: usize) {
        let now = self.tick.due(phase);
        self.now = now;
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
        party.stream.push(&frame, rate, std::mem::take(&mut party.seam));
        let sent_at = party.speaks_next();
        party.spoken_ticks += 1;
        for Stretch { clock, content } in party.stream.stretches() {
            let (header, payload) = match content {
                Content::Sound(payload) => (party.timeline.advance(party.payload_type, clock), payload),
                Content::ComfortNoise(payload) => (party.timeline.describe(COMFORT_NOISE, clock), payload),
                Content::Nothing => {
                    party.timeline.pass(clock);
                    continue;
                }
            };
            let mut datagram = vec![0; HEADER_BYTES + payload.len()];
            header.write(
                (&mut datagram[..HEADER_BYTES])
                    .try_into()
                    .expect("a header's length"),
            );
            datagram[HEADER_BYTES..].copy_from_slice(payload);
            protect(&mut party.ciphers, &mut datagram);
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

    /// A packet of the party's own making, of the payload type given and at a timestamp so many units after that of its
    /// next packet of sound; it arrives at once.
    pub fn send_packet(&mut self, index: usize, payload_type: u8, marker: bool, ahead: u32, payload: &[u8]) {
        let now = self.tick.due(0);
        let party = &mut self.parties[index];
        let timestamp = party.timeline.timestamp().wrapping_add(ahead);
        let header = party.timeline.event(payload_type, timestamp, marker);
        let mut datagram = vec![0; HEADER_BYTES + payload.len()];
        header.write(
            (&mut datagram[..HEADER_BYTES])
                .try_into()
                .expect("a header's length"),
        );
        datagram[HEADER_BYTES..].copy_from_slice(payload);
        protect(&mut party.ciphers, &mut datagram);
        self.engines[party.engine].receive(now, party.leg, party.address, &mut datagram);
    }

    /// An RTCP datagram of the party's own making; it arrives at once, by the socket that serves both.
    pub fn send_rtcp(&mut self, index: usize, report: &[u8]) {
        let address = self.parties[index].address;
        self.send_rtcp_from(index, address, report);
    }

    /// The same from an address that need not be its own.
    pub fn send_rtcp_from(&mut self, index: usize, from: SocketAddr, report: &[u8]) {
        let now = self.now;
        let party = &mut self.parties[index];
        let mut datagram = report.to_vec();
        if let Some((sender, _)) = &mut party.ciphers {
            datagram.resize(report.len() + srtp::RTCP_OVERHEAD_MAX, 0);
            let len = sender.protect_rtcp(&mut datagram, report.len());
            datagram.truncate(len.expect("the key is young"));
        }
        self.engines[party.engine].receive(now, party.leg, from, &mut datagram);
    }

    /// An RTP datagram from anywhere, as it is.
    pub fn send_raw(&mut self, index: usize, from: SocketAddr, datagram: &[u8]) {
        let party = &self.parties[index];
        self.engines[party.engine].receive(self.now, party.leg, from, &mut datagram.to_vec());
    }

    /// The party moves: from here on its packets come from another address, and it is there that it hears.
    pub fn move_party(&mut self, index: usize, address: SocketAddr) {
        self.parties[index].address = address;
    }

    /// New keys, as both sides have agreed on them. `resets`: the party begins its roll-over counter anew.
    pub fn rekey(&mut self, index: usize, terms: &srtp::Terms, resets: bool) {
        let party = &mut self.parties[index];
        match &mut party.ciphers {
            Some((sender, receiver)) if !resets => {
                sender.rekey(&terms.theirs);
                receiver.rekey(&terms.ours, 0);
            }
            Some((sender, receiver)) => {
                *sender = srtp::Sender::new(&terms.theirs);
                receiver.rekey(&terms.ours, 0);
            }
            None => party.ciphers = Some(ciphers(terms)),
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
            party.packets_arrived += 1;
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
            let rtcp = is_rtcp(datagram);
            let (by, to) = match party.rtcp_address.filter(|_| rtcp) {
                Some(address) => (Port::Rtcp, address),
                None => (Port::Rtp, party.address),
            };
            assert_eq!(
                (outgoing.by, outgoing.to),
                (by, to),
                "seed {seed}: a packet goes to its leg's party"
            );
            let mut datagram = datagram.to_vec();
            party.unprotect(&mut datagram);
            if rtcp {
                party.reports.push((self.now, datagram));
                continue;
            }
            let packet = Packet::parse(&datagram).expect("our own packets are well-formed");
            let header = Header {
                marker: packet.marker,
                payload_type: packet.payload_type,
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                ssrc: packet.ssrc,
            };
            if packet.payload_type == EVENT_PAYLOAD_TYPE {
                party.events_heard.push((header, packet.payload.to_vec()));
                if let Some(last) = &mut party.last_header {
                    assert_eq!(packet.sequence, last.sequence.wrapping_add(1), "seed {seed}");
                    *last = header;
                }
                continue;
            }
            let after_event = party
                .last_header
                .is_some_and(|last| last.payload_type == EVENT_PAYLOAD_TYPE);
            let codec = party.encoding.codec;
            let pause = packet.timestamp.wrapping_sub(party.expected);
            let after_change = std::mem::take(&mut party.renegotiated);
            assert!(
                pause == 0 || party.encoding.dtx && party.told || after_event || after_change,
                "seed {seed}: the timestamp rises by the packet's length, unless a pause was announced"
            );
            let sound = packet.payload_type == party.payload_type;
            party.repeating_packets += u64::from(sound && party.decoder.repeated(packet.payload) > 0);
            party.told = !sound || party.decoder.pauses(packet.payload);
            assert!(
                pause < 1 << 31 && pause.is_multiple_of(codec.clock_hz() / 100),
                "seed {seed}: a pause is a number of frames: {pause}"
            );
            if let Some(last) = party.last_header {
                assert_eq!(
                    packet.sequence,
                    last.sequence.wrapping_add(1),
                    "seed {seed}: one more each packet"
                );
                let paused = pause > 0 || last.payload_type == COMFORT_NOISE;
                assert_eq!(
                    packet.marker,
                    sound && paused,
                    "seed {seed}: the first sound after a pause is marked"
                );
            }
            party.last_header = Some(header);
            if party.ssrcs.last() != Some(&packet.ssrc) {
                party.ssrcs.push(packet.ssrc);
                assert!(
                    party.ssrcs.len() == 1 || party.collides,
                    "seed {seed}: one SSRC for a leg's life"
                );
            }
            let pause = codec.samples_of(pause) as usize;
            party.heard.resize(party.heard.len() + pause, 0.0);
            party.expected = packet.timestamp;
            if sound {
                let mut pcm = vec![0.0; PAYLOAD_SAMPLES_MAX];
                let len = party
                    .decoder
                    .decode(packet.payload, &mut pcm)
                    .expect("our own payloads decode");
                party.heard.extend_from_slice(&pcm[..len]);
                party.expected = packet.timestamp.wrapping_add(codec.clock_of(len));
            }
            party
                .packets
                .push((packet.payload_type, packet.payload.len(), pause));
            party.packets_heard += 1;
        }
        for tapped in self.outbox.tapped() {
            let samples = tapped.rate.samples_per_tick();
            let content = match tapped.content {
                Tapped::Sound(sound) => Some(sound.to_vec()),
                Tapped::Quiet => Some(vec![0.0; samples]),
                Tapped::Paused => None,
            };
            if tapped.track == TrackNumber::MAIN {
                self.recorded
                    .extend(content.clone().unwrap_or(vec![0.0; samples]));
            }
            self.tapped.push(Frame {
                slot: tapped.recording,
                track: tapped.track,
                tick: tapped.tick,
                rate: tapped.rate,
                sound: content,
            });
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
