//! What legs and rooms cost: nanoseconds of one core in each 20 ms tick.

use serde::{Deserialize, Serialize};

use crate::codec::ilbc::Mode;
use crate::codec::{Codec, Encoding};
use crate::frame::Rate;
use crate::time::TICK;

/// Codecs that are told apart by what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Pcmu,
    Pcma,
    G722,
    G729,
    Ilbc20,
    Ilbc30,
    L16At8,
    L16At16,
    L16At48,
    OpusAt8,
    OpusAt16,
    OpusAt48,
}

impl Kind {
    pub const COUNT: usize = 12;

    pub const ALL: [Kind; Kind::COUNT] = [
        Kind::Pcmu,
        Kind::Pcma,
        Kind::G722,
        Kind::G729,
        Kind::Ilbc20,
        Kind::Ilbc30,
        Kind::L16At8,
        Kind::L16At16,
        Kind::L16At48,
        Kind::OpusAt8,
        Kind::OpusAt16,
        Kind::OpusAt48,
    ];

    pub const fn of(codec: Codec) -> Kind {
        match codec {
            Codec::Pcmu => Kind::Pcmu,
            Codec::Pcma => Kind::Pcma,
            Codec::G722 => Kind::G722,
            Codec::G729 => Kind::G729,
            Codec::Ilbc(Mode::Ms20) => Kind::Ilbc20,
            Codec::Ilbc(Mode::Ms30) => Kind::Ilbc30,
            Codec::L16(Rate::Hz8000) => Kind::L16At8,
            Codec::L16(Rate::Hz16000) => Kind::L16At16,
            Codec::L16(Rate::Hz48000) => Kind::L16At48,
            Codec::Opus(Rate::Hz8000) => Kind::OpusAt8,
            Codec::Opus(Rate::Hz16000) => Kind::OpusAt16,
            Codec::Opus(Rate::Hz48000) => Kind::OpusAt48,
        }
    }

    pub const fn codec(self) -> Codec {
        match self {
            Kind::Pcmu => Codec::Pcmu,
            Kind::Pcma => Codec::Pcma,
            Kind::G722 => Codec::G722,
            Kind::G729 => Codec::G729,
            Kind::Ilbc20 => Codec::Ilbc(Mode::Ms20),
            Kind::Ilbc30 => Codec::Ilbc(Mode::Ms30),
            Kind::L16At8 => Codec::L16(Rate::Hz8000),
            Kind::L16At16 => Codec::L16(Rate::Hz16000),
            Kind::L16At48 => Codec::L16(Rate::Hz48000),
            Kind::OpusAt8 => Codec::Opus(Rate::Hz8000),
            Kind::OpusAt16 => Codec::Opus(Rate::Hz16000),
            Kind::OpusAt48 => Codec::Opus(Rate::Hz48000),
        }
    }

    /// As figures name it: the codec, and its rate or frame where there are several.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Pcmu => "PCMU",
            Kind::Pcma => "PCMA",
            Kind::G722 => "G722",
            Kind::G729 => "G729",
            Kind::Ilbc20 => "iLBC-20",
            Kind::Ilbc30 => "iLBC-30",
            Kind::L16At8 => "L16-8",
            Kind::L16At16 => "L16-16",
            Kind::L16At48 => "L16-48",
            Kind::OpusAt8 => "opus-8",
            Kind::OpusAt16 => "opus-16",
            Kind::OpusAt48 => "opus-48",
        }
    }

    /// The packet time that is common, in milliseconds.
    pub const fn usual_ptime_ms(self) -> u8 {
        match self {
            Kind::Ilbc30 => 30,
            _ => 20,
        }
    }

    /// As a leg of this codec usually is encoded.
    pub const fn encoding(self, complexity: u8) -> Encoding {
        let codec = self.codec();
        let (bitrate, complexity) = match codec {
            Codec::Opus(Rate::Hz48000) => (32_000, complexity),
            Codec::Opus(_) => (24_000, complexity),
            _ => (0, 0),
        };
        Encoding {
            codec,
            ptime_ms: self.usual_ptime_ms(),
            bitrate,
            complexity,
            dtx: false,
            loss_percent: 0,
        }
    }
}

/// Nanoseconds of one core, in each tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// A leg by kind: its packets read and written, playout, decoder, activity. Without sockets and encoder.
    pub leg: [u64; Kind::COUNT],
    /// One stream by kind: mix-minus, limiter, resampler, encoder; and the decoder of a voice that is heard, where that
    /// costs more than one that is not.
    pub encode: [u64; Kind::COUNT],
    /// A datagram received and one sent.
    pub socket: u64,
    /// The same two deciphered and enciphered.
    pub srtp: u64,
    /// A room, however few sit in it.
    pub room: u64,
    /// A frame that goes to a recording.
    pub record: u64,
}

impl Costs {
    /// As measured in a release build on one core of a 2-core x86-64 virtual machine (AMD EPYC): for tests, and for
    /// what a measurement had no time for.
    pub const ASSUMED: Costs = Costs {
        leg: [
            4_500, 4_500, 12_000, 32_000, 14_000, 14_000, 5_000, 6_000, 10_000, 9_000, 12_000, 20_000,
        ],
        encode: [
            3_000, 3_000, 14_000, 130_000, 28_000, 28_000, 3_000, 4_000, 8_000, 65_000, 110_000, 140_000,
        ],
        socket: 5_000,
        srtp: 3_000,
        room: 3_000,
        record: 1_000,
    };

    /// All of it times `numerator / denominator`.
    pub fn scaled(&self, numerator: u64, denominator: u64) -> Costs {
        let scale = |nanos: u64| {
            let scaled = u128::from(nanos) * u128::from(numerator) / u128::from(denominator.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Costs {
            leg: self.leg.map(scale),
            encode: self.encode.map(scale),
            socket: scale(self.socket),
            srtp: scale(self.srtp),
            room: scale(self.room),
            record: scale(self.record),
        }
    }

    /// Each of them, but no less than here.
    pub fn at_least(&self, floor: &Costs) -> Costs {
        let each = |costs: &[u64; Kind::COUNT], floor: &[u64; Kind::COUNT]| {
            std::array::from_fn(|kind| costs[kind].max(floor[kind]))
        };
        Costs {
            leg: each(&self.leg, &floor.leg),
            encode: each(&self.encode, &floor.encode),
            socket: self.socket.max(floor.socket),
            srtp: self.srtp.max(floor.srtp),
            room: self.room.max(floor.room),
            record: self.record.max(floor.record),
        }
    }

    /// One leg without what it has encoded.
    fn of_leg(&self, leg: &LegLoad) -> u64 {
        let packets = self.socket + if leg.encrypted { self.srtp } else { 0 };
        let ptime_ms = u64::from(leg.encoding.ptime_ms.max(1));
        self.leg[leg.kind() as usize] + packets * TICK.as_millis() as u64 / ptime_ms
    }

    fn of_encode(&self, encoding: &Encoding) -> u64 {
        self.encode[Kind::of(encoding.codec) as usize]
    }

    /// The dearest of these codecs, for a leg that may come to have any of them.
    pub fn dearest(&self, codecs: &[Codec]) -> Option<Codec> {
        let cost = |codec: &Codec| {
            let kind = Kind::of(*codec) as usize;
            self.leg[kind] + self.encode[kind]
        };
        codecs.iter().copied().max_by_key(cost)
    }
}

/// What a leg asks of its room's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegLoad {
    /// What we send. What comes is taken to cost the same.
    pub encoding: Encoding,
    pub encrypted: bool,
}

impl LegLoad {
    pub fn kind(&self) -> Kind {
        Kind::of(self.encoding.codec)
    }
}

/// Settings of a room that change what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomTerms {
    pub talkers_max: Option<u16>,
    /// Whether a leg contributes only while it says something.
    pub activity_detection: bool,
    pub recorded: bool,
    /// With a track of each leg.
    pub tracks: bool,
}

impl Default for RoomTerms {
    fn default() -> RoomTerms {
        RoomTerms {
            talkers_max: None,
            activity_detection: true,
            recorded: false,
            tracks: false,
        }
    }
}

/// Who talks at once in a room where people take turns: so many, and one more for so many legs, because of somebody
/// there is always noise. Where more do, the measured load tells.
const TALKERS: u64 = 3;
const LEGS_PER_TALKER: u64 = 50;

/// Who sits in a room, by what each asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomLoad {
    pub terms: RoomTerms,
    /// Few: legs of a room are mostly alike.
    pub(super) legs: Vec<(LegLoad, u64)>,
}

impl RoomLoad {
    pub fn add(&mut self, leg: LegLoad) {
        match self.legs.iter_mut().find(|(known, _)| *known == leg) {
            Some((_, count)) => *count += 1,
            None => self.legs.push((leg, 1)),
        }
    }

    /// False where there was none such.
    pub fn remove(&mut self, leg: &LegLoad) -> bool {
        let Some(index) = self.legs.iter().position(|(known, _)| known == leg) else {
            return false;
        };
        self.legs[index].1 -= 1;
        if self.legs[index].1 == 0 {
            self.legs.swap_remove(index);
        }
        true
    }

    pub fn len(&self) -> u64 {
        self.legs.iter().map(|(_, count)| count).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    /// How many are taken to talk at once.
    pub fn talkers(&self) -> u64 {
        let legs = self.len();
        let at_once = match self.terms.activity_detection {
            true => legs.min(TALKERS + legs / LEGS_PER_TALKER),
            false => legs,
        };
        self.terms
            .talkers_max
            .map_or(at_once, |max| at_once.min(max.into()))
    }

    /// Nanoseconds in each tick. Whoever talks has an encoder of his own, all others of an encoding share one; those who
    /// talk are taken to be the dearest. An empty room costs nothing: there is none.
    pub fn cost(&self, costs: &Costs) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let legs: u64 = self
            .legs
            .iter()
            .map(|(leg, count)| costs.of_leg(leg) * count)
            .sum();
        let mut encodings: Vec<(u64, Encoding, u64)> = Vec::with_capacity(self.legs.len());
        for (leg, count) in &self.legs {
            match encodings.iter_mut().find(|known| known.1 == leg.encoding) {
                Some(known) => known.2 += count,
                None => encodings.push((costs.of_encode(&leg.encoding), leg.encoding, *count)),
            }
        }
        // Of equally dear ones that with more legs: so it does not matter in which order they came.
        encodings.sort_unstable_by_key(|(cost, _, count)| std::cmp::Reverse((*cost, *count)));
        let mut talkers = self.talkers();
        let mut encodes = 0;
        for (cost, _, count) in encodings {
            let own = count.min(talkers);
            talkers -= own;
            encodes += cost * (own + u64::from(count > own));
        }
        let frames = u64::from(self.terms.recorded) * (1 + u64::from(self.terms.tracks) * self.len());
        costs.room + legs + encodes + frames * costs.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn leg(kind: Kind) -> LegLoad {
        LegLoad {
            encoding: kind.encoding(5),
            encrypted: false,
        }
    }

    #[test]
    fn every_codec_has_a_kind_and_every_kind_its_codec() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(Kind::of(kind.codec()), kind);
            assert!(Costs::ASSUMED.leg[index] > 0 && Costs::ASSUMED.encode[index] > 0);
        }
    }

    #[test]
    fn listeners_share_an_encode_and_talkers_do_not() {
        let costs = Costs {
            leg: [100; Kind::COUNT],
            encode: [1_000; Kind::COUNT],
            socket: 10,
            srtp: 7,
            room: 1,
            record: 5,
        };
        let mut room = RoomLoad::default();
        assert_eq!(room.cost(&costs), 0);
        for (legs, encodes) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (49, 4), (50, 5), (200, 8)] {
            while room.len() < legs {
                room.add(leg(Kind::OpusAt16));
            }
            assert_eq!(room.cost(&costs), 1 + legs * 110 + encodes * 1_000, "{legs} legs");
        }
        room.terms.talkers_max = Some(1);
        assert_eq!(room.cost(&costs), 1 + 200 * 110 + 2 * 1_000);
        room.terms = RoomTerms {
            activity_detection: false,
            recorded: true,
            tracks: true,
            ..RoomTerms::default()
        };
        assert_eq!(
            room.cost(&costs),
            1 + 200 * 110 + 200 * 1_000 + 201 * 5,
            "all are heard always, and recorded"
        );
    }

    #[test]
    fn those_who_talk_are_taken_to_be_the_dearest_and_each_encoding_has_one_stream_more() {
        let mut costs = Costs::ASSUMED.scaled(0, 1);
        costs.encode[Kind::Pcmu as usize] = 1;
        costs.encode[Kind::G729 as usize] = 100;
        let mut room = RoomLoad::default();
        (0..5).for_each(|_| room.add(leg(Kind::Pcmu)));
        room.add(leg(Kind::G729));
        room.add(leg(Kind::G729));
        // Three talk: both of G.729 and one of PCMU, whose other legs share a fourth stream.
        assert_eq!(room.cost(&costs), 2 * 100 + 2);
        // Another packet time is another stream.
        let mut other = leg(Kind::G729);
        other.encoding.ptime_ms = 60;
        room.add(other);
        assert_eq!(room.cost(&costs), 3 * 100 + 1);
    }

    #[test]
    fn packets_are_paid_for_by_their_number_and_encryption_by_the_packet() {
        let costs = Costs {
            socket: 600,
            srtp: 60,
            ..Costs::ASSUMED.scaled(0, 1)
        };
        for (ptime_ms, encrypted, nanos) in [(20, false, 600), (10, false, 1_200), (60, true, 220)] {
            let mut load = leg(Kind::Pcma);
            load.encoding.ptime_ms = ptime_ms;
            load.encrypted = encrypted;
            let mut room = RoomLoad::default();
            room.add(load);
            assert_eq!(room.cost(&costs), nanos);
        }
    }
}
