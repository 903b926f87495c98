//! What goes along with a codec under a payload type of its own: comfort noise (RFC 3389) and telephone events
//! (RFC 4733). Either is agreed for a clock rate that an agreed codec has, and never alone.

use super::parameters::pauses_by_itself;
use super::session::Payload;
use crate::codec::Codec;

/// The clocks of the codecs there are, in the order of our own offers.
const CLOCKS_HZ: [u32; 3] = [8_000, 16_000, 48_000];

/// One agreed payload type beside those of the codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Companion {
    /// The payload type in packets that arrive.
    pub payload_type_receive: u8,
    /// The payload type in packets we send.
    pub payload_type_send: u8,
    /// Of its timestamps, as that of the codecs it goes along with.
    pub clock_hz: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ComfortNoise,
    TelephoneEvent,
}

impl Kind {
    /// The encoding name as registered with IANA.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::ComfortNoise => "CN",
            Kind::TelephoneEvent => "telephone-event",
        }
    }

    /// The one an allow-list names, with a clock rate or without.
    pub fn named(name: &str) -> Option<Kind> {
        let name = match name.split_once('/') {
            Some((name, clock_hz)) if CLOCKS_HZ.iter().any(|known| known.to_string() == clock_hz) => name,
            Some(_) => return None,
            None => name,
        };
        [Kind::ComfortNoise, Kind::TelephoneEvent]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// What `payload` is, with its clock rate; `None` when it is neither, or no codec has its clock.
    pub fn of(payload: &Payload) -> Option<(Kind, u32)> {
        let Some(encoding) = payload.encoding else {
            // RFC 3551 §6: the static number of comfort noise.
            return (payload.number == 13).then_some((Kind::ComfortNoise, 8_000));
        };
        let kind = [Kind::ComfortNoise, Kind::TelephoneEvent]
            .into_iter()
            .find(|kind| encoding.name.eq_ignore_ascii_case(kind.name()))?;
        (encoding.channels == 1 && CLOCKS_HZ.contains(&encoding.clock_hz))
            .then_some((kind, encoding.clock_hz))
    }

    /// Its payload type in our own offers; with those of the codecs each number has one meaning.
    const fn own_number(self, clock_hz: u32) -> u8 {
        match (self, clock_hz) {
            (Kind::ComfortNoise, 8_000) => 13,
            (Kind::ComfortNoise, 16_000) => 104,
            (Kind::ComfortNoise, _) => 105,
            (Kind::TelephoneEvent, 8_000) => 101,
            (Kind::TelephoneEvent, 16_000) => 102,
            (Kind::TelephoneEvent, _) => 103,
        }
    }

    /// Whether it makes sense beside `codec`.
    pub const fn goes_with(self, codec: Codec) -> bool {
        match self {
            Kind::ComfortNoise => !pauses_by_itself(codec),
            Kind::TelephoneEvent => true,
        }
    }

    /// What stands in our own offer of these codecs.
    pub fn offered(self, codecs: &[Codec]) -> Vec<Companion> {
        CLOCKS_HZ
            .into_iter()
            .filter(|clock_hz| self.has_use(codecs, *clock_hz))
            .map(|clock_hz| Companion {
                payload_type_receive: self.own_number(clock_hz),
                payload_type_send: self.own_number(clock_hz),
                clock_hz,
            })
            .collect()
    }

    /// Whether any of the codecs has that clock and takes it along.
    pub fn has_use(self, codecs: &[Codec], clock_hz: u32) -> bool {
        codecs
            .iter()
            .any(|codec| codec.clock_hz() == clock_hz && self.goes_with(*codec))
    }

    /// The value of our own `fmtp`, without the number: the sixteen keys of a telephone (RFC 4733 §2.4.1, §3.2).
    pub const fn parameters(self) -> Option<&'static str> {
        match self {
            Kind::ComfortNoise => None,
            Kind::TelephoneEvent => Some("0-15"),
        }
    }
}
