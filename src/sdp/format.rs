//! The codecs as SDP names and numbers them (RFC 3551), what goes along with them, and how sentences list them.

use super::SdpError;
use super::companion::Kind;
use super::parameters::common_codec;
use super::session::Payload;
use crate::codec::ilbc::Mode;
use crate::codec::{Codec, Encoding};
use crate::frame::Rate;

/// The most formats one agreement holds: one for each codec (and rate) there is.
pub const FORMATS_MAX: usize = SUPPORTED.len();

/// Every codec there is, in the order of our own offers: what sounds best first, and of what sounds alike the cheaper;
/// linear sound last, which few networks carry.
const SUPPORTED: [Codec; 9] = [
    Codec::Opus(Rate::Hz48000),
    Codec::G722,
    Codec::Pcmu,
    Codec::Pcma,
    Codec::Ilbc(Mode::Ms20),
    Codec::G729,
    Codec::L16(Rate::Hz48000),
    Codec::L16(Rate::Hz16000),
    Codec::L16(Rate::Hz8000),
];

/// Names and lists in sentences are cut here.
const SHOWN_NAME_BYTES: usize = 24;
const SHOWN_NAMES: usize = 8;

/// One agreed payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// The payload type in packets that arrive.
    pub payload_type_receive: u8,
    /// The payload type in packets we send; each side numbers what it receives (RFC 3264 §6.1).
    pub payload_type_send: u8,
    /// What we send. What arrives has the same codec, and any packet time. Bit rate and complexity are 0
    /// where the codec has none; no loss is known yet.
    pub encoding: Encoding,
    /// The remote makes use of in-band FEC, so what we send may carry it, in at most so many bits per second with
    /// the sound. Opus only.
    pub fec_bitrate_max: Option<u32>,
}

/// The codecs one leg may use, the preferred one first: at least one, none twice; and what may go along with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codecs {
    codecs: Vec<Codec>,
    comfort_noise: bool,
    telephone_events: bool,
}

impl Codecs {
    /// All there are.
    pub fn supported() -> Codecs {
        Codecs {
            codecs: SUPPORTED.to_vec(),
            comfort_noise: true,
            telephone_events: true,
        }
    }

    /// These, in this order, with comfort noise and telephone events; an Opus of a lower rate plays and captures no
    /// more than that.
    pub fn new(codecs: impl IntoIterator<Item = Codec>) -> Result<Codecs, SdpError> {
        let mut distinct: Vec<Codec> = Vec::with_capacity(FORMATS_MAX);
        for codec in codecs {
            if distinct
                .iter()
                .all(|earlier| common_codec(*earlier, codec).is_none())
            {
                distinct.push(codec);
            }
        }
        if distinct.is_empty() {
            return Err(SdpError::NoCodecs {
                supported: shown_codecs(&SUPPORTED),
            });
        }
        Ok(Codecs {
            codecs: distinct,
            ..Codecs::supported()
        })
    }

    /// The codecs of an allow-list, in its order.
    ///
    /// A name is the registered one, alone or with its clock rate (`opus`, `PCMA/8000`, `opus/48000/2`),
    /// in any case; `L16` alone means all its rates. `CN` and `telephone-event` are allowed when both or neither are
    /// listed, else only the one that is.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Codecs, SdpError> {
        let mut codecs = Vec::new();
        let mut companions = Vec::new();
        for name in names {
            if let Some(kind) = Kind::named(name) {
                companions.push(kind);
                continue;
            }
            let known = codecs.len();
            codecs.extend(SUPPORTED.iter().filter(|codec| is_name_of(name, **codec)));
            if codecs.len() == known {
                return Err(SdpError::UnknownCodec {
                    name: shown_name(name),
                    supported: shown_codecs(&SUPPORTED),
                });
            }
        }
        let allows = |kind| companions.is_empty() || companions.contains(&kind);
        Ok(Codecs {
            comfort_noise: allows(Kind::ComfortNoise),
            telephone_events: allows(Kind::TelephoneEvent),
            ..Codecs::new(codecs)?
        })
    }

    pub fn as_slice(&self) -> &[Codec] {
        &self.codecs
    }

    pub(super) fn allows(&self, kind: Kind) -> bool {
        match kind {
            Kind::ComfortNoise => self.comfort_noise,
            Kind::TelephoneEvent => self.telephone_events,
        }
    }
}

/// The payload type of a codec in our own offers. Each has one of its own, so that no number ever changes its meaning
/// within a call (RFC 3264 §8.3.2).
pub(super) const fn own_number(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::G729 => 18,
        Codec::Opus(_) => 96,
        Codec::Ilbc(_) => 97,
        Codec::L16(Rate::Hz48000) => 98,
        Codec::L16(Rate::Hz16000) => 99,
        Codec::L16(Rate::Hz8000) => 100,
    }
}

fn is_name_of(name: &str, codec: Codec) -> bool {
    let registered = encoding_name(codec);
    let without_channels = registered.strip_suffix("/2").unwrap_or(registered);
    [codec.name(), registered, without_channels]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// The value of an `rtpmap`, without the number.
pub(super) const fn encoding_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcmu => "PCMU/8000",
        Codec::Pcma => "PCMA/8000",
        Codec::G722 => "G722/8000",
        Codec::G729 => "G729/8000",
        Codec::Ilbc(_) => "iLBC/8000",
        Codec::L16(Rate::Hz8000) => "L16/8000",
        Codec::L16(Rate::Hz16000) => "L16/16000",
        Codec::L16(Rate::Hz48000) => "L16/48000",
        Codec::Opus(_) => "opus/48000/2",
    }
}

/// The codecs in a sentence: `opus/48000/2, PCMU/8000`.
pub(super) fn shown_codecs(codecs: &[Codec]) -> String {
    codecs
        .iter()
        .map(|codec| encoding_name(*codec))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a remote offered, in a sentence: `G729/8000, GSM/8000 and 3 more`.
pub(super) fn shown_payloads<'p, 'a: 'p>(payloads: impl ExactSizeIterator<Item = &'p Payload<'a>>) -> String {
    let more = payloads.len().saturating_sub(SHOWN_NAMES);
    let names: Vec<String> = payloads.take(SHOWN_NAMES).map(shown_payload).collect();
    match (names.is_empty(), more) {
        (true, _) => "no RTP payload types".to_owned(),
        (false, 0) => names.join(", "),
        (false, _) => format!("{} and {more} more", names.join(", ")),
    }
}

fn shown_payload(payload: &Payload) -> String {
    match (payload.encoding, static_name(payload.number)) {
        (Some(encoding), _) => {
            let name = shown_name(encoding.name);
            let channels = if encoding.channels == 1 {
                String::new()
            } else {
                format!("/{}", encoding.channels)
            };
            format!("{name}/{}{channels}", encoding.clock_hz)
        }
        (None, Some(name)) => name.to_owned(),
        (None, None) => format!("payload type {} without rtpmap", payload.number),
    }
}

/// RFC 3551 §6, table 4: audio payload types with a fixed meaning that senders use without an `rtpmap`.
const fn static_name(number: u8) -> Option<&'static str> {
    match number {
        0 => Some("PCMU/8000"),
        3 => Some("GSM/8000"),
        4 => Some("G723/8000"),
        8 => Some("PCMA/8000"),
        9 => Some("G722/8000"),
        10 => Some("L16/44100/2"),
        11 => Some("L16/44100"),
        13 => Some("CN/8000"),
        15 => Some("G728/8000"),
        18 => Some("G729/8000"),
        _ => None,
    }
}

/// A name from outside as a sentence may carry it: short and printable.
pub(super) fn shown_name(name: &str) -> String {
    let shown: String = name
        .chars()
        .take(SHOWN_NAME_BYTES)
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect();
    if name.chars().nth(SHOWN_NAME_BYTES).is_some() {
        shown + "…"
    } else {
        shown
    }
}
