//! The codecs as SDP names them: payload types, encoding names, clock rates and the parameters of
//! Opus (RFC 3551, RFC 7587).

use super::SdpError;
use super::session::Payload;
use crate::codec::{Codec, Encoding};
use crate::frame::Rate;

/// The most formats one agreement holds: one for each codec (and rate) there is.
pub const FORMATS_MAX: usize = SUPPORTED.len();

/// Every codec there is, in the order of our own offers.
const SUPPORTED: [Codec; 6] = [
    Codec::Opus(Rate::Hz48000),
    Codec::Pcmu,
    Codec::Pcma,
    Codec::L16(Rate::Hz48000),
    Codec::L16(Rate::Hz16000),
    Codec::L16(Rate::Hz8000),
];

/// RFC 3551 §3: payload types from here on mean what an `rtpmap` says.
const DYNAMIC_MIN: u8 = 96;

/// Names and lists in sentences are cut here.
const SHOWN_NAME_BYTES: usize = 24;
const SHOWN_NAMES: usize = 8;

/// Bits per second Opus takes (RFC 7587 §3.1.1, §6.1).
const OPUS_BITRATE_MIN: u32 = 6_000;
const OPUS_BITRATE_MAX: u32 = 510_000;

/// One agreed payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// The payload type in packets that arrive.
    pub payload_type_receive: u8,
    /// The payload type in packets we send; each side numbers what it receives (RFC 3264 §6.1).
    pub payload_type_send: u8,
    /// What we send. What arrives has the same codec, and any packet time. Bit rate and complexity are 0
    /// where the codec has none.
    pub encoding: Encoding,
}

/// The codecs one leg may use, the preferred one first: at least one, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codecs(Vec<Codec>);

impl Codecs {
    /// All there are.
    pub fn supported() -> Codecs {
        Codecs(SUPPORTED.to_vec())
    }

    /// These, in this order; an Opus of a lower rate plays and captures no more than that.
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
        Ok(Codecs(distinct))
    }

    /// The codecs of an allow-list, in its order.
    ///
    /// A name is the registered one, alone or with its clock rate (`opus`, `PCMA/8000`, `opus/48000/2`),
    /// in any case; `L16` alone means all its rates.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Codecs, SdpError> {
        let mut codecs = Vec::new();
        for name in names {
            let known = codecs.len();
            codecs.extend(SUPPORTED.iter().filter(|codec| is_name_of(name, **codec)));
            if codecs.len() == known {
                return Err(SdpError::UnknownCodec {
                    name: shown_name(name),
                    supported: shown_codecs(&SUPPORTED),
                });
            }
        }
        Codecs::new(codecs)
    }

    pub fn as_slice(&self) -> &[Codec] {
        &self.0
    }

    /// The payload types of our own offer: the static one, or the next free dynamic one.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u8, Codec)> {
        let mut dynamic = DYNAMIC_MIN;
        self.0.iter().map(move |codec| {
            let number = match codec {
                Codec::Pcmu => 0,
                Codec::Pcma => 8,
                Codec::G722 => 9,
                Codec::G729 => 18,
                Codec::Ilbc(_) | Codec::L16(_) | Codec::Opus(_) => {
                    dynamic += 1;
                    dynamic - 1
                }
            };
            (number, *codec)
        })
    }
}

fn is_name_of(name: &str, codec: Codec) -> bool {
    let registered = encoding_name(codec);
    let without_channels = registered.strip_suffix("/2").unwrap_or(registered);
    [codec.name(), registered, without_channels]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// What a payload type of the remote side is, were it agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Described {
    pub codec: Codec,
    /// Opus: the most bits per second the remote wants, where it says so.
    pub bitrate_max: Option<u32>,
}

impl Described {
    /// A codec without parameters.
    pub const fn plain(codec: Codec) -> Described {
        Described {
            codec,
            bitrate_max: None,
        }
    }

    /// What `payload` is; `None` when it is nothing we speak.
    pub fn new(payload: &Payload) -> Option<Described> {
        let Some(encoding) = payload.encoding else {
            return match payload.number {
                0 => Some(Described::plain(Codec::Pcmu)),
                8 => Some(Described::plain(Codec::Pcma)),
                _ => None,
            };
        };
        let name = |name: &str| encoding.name.eq_ignore_ascii_case(name);
        match (encoding.clock_hz, encoding.channels) {
            (8_000, 1) if name("PCMU") => Some(Described::plain(Codec::Pcmu)),
            (8_000, 1) if name("PCMA") => Some(Described::plain(Codec::Pcma)),
            (hz, 1) if name("L16") => Rate::from_hz(hz).map(Codec::L16).map(Described::plain),
            // RFC 7587 §7: always /2, whatever is sent; there are senders that leave it out.
            (48_000, 1 | 2) if name("opus") => Some(Described::opus(payload.parameters)),
            _ => None,
        }
    }

    /// RFC 7587 §6.1. What a remote does not play need not be sent; one that only says what it captures
    /// is taken to play no more than that. Parameters that are not numbers count as absent.
    fn opus(parameters: &str) -> Described {
        let rate_hz = parameter(parameters, "maxplaybackrate")
            .or_else(|| parameter(parameters, "sprop-maxcapturerate"));
        let rate = match rate_hz {
            Some(..=8_000) => Rate::Hz8000,
            Some(..=16_000) => Rate::Hz16000,
            _ => Rate::Hz48000,
        };
        let bitrate_max = parameter(parameters, "maxaveragebitrate")
            .map(|bitrate| bitrate.clamp(OPUS_BITRATE_MIN, OPUS_BITRATE_MAX));
        Described {
            codec: Codec::Opus(rate),
            bitrate_max,
        }
    }
}

/// The codec two sides can use together; for Opus at the lower rate.
pub(super) fn common_codec(ours: Codec, theirs: Codec) -> Option<Codec> {
    match (ours, theirs) {
        (Codec::Opus(ours), Codec::Opus(theirs)) => Some(Codec::Opus(ours.min(theirs))),
        _ => (ours == theirs).then_some(ours),
    }
}

/// Bits per second of Opus for speech where nothing else is configured or asked.
pub const fn opus_bitrate_default(rate: Rate) -> u32 {
    match rate {
        Rate::Hz8000 => 16_000,
        Rate::Hz16000 => 24_000,
        Rate::Hz48000 => 32_000,
    }
}

/// The bit rate to send with: what is configured (or the default), no more than the remote wants.
pub(super) fn bitrate(codec: Codec, configured: Option<u32>, remote_max: Option<u32>) -> u32 {
    let Codec::Opus(rate) = codec else { return 0 };
    let wanted = configured
        .unwrap_or(opus_bitrate_default(rate))
        .clamp(OPUS_BITRATE_MIN, OPUS_BITRATE_MAX);
    wanted.min(remote_max.unwrap_or(OPUS_BITRATE_MAX))
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

/// The value of our own `fmtp`, without the number: what we play and capture.
pub(super) fn parameters(codec: Codec) -> Option<String> {
    match codec {
        Codec::Opus(rate) => {
            let hz = rate.hz();
            Some(format!("maxplaybackrate={hz};sprop-maxcapturerate={hz};stereo=0"))
        }
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 | Codec::Ilbc(_) | Codec::L16(_) => None,
    }
}

/// The number that `name` has in `a=1;b=2`.
fn parameter(parameters: &str, name: &str) -> Option<u32> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim_ascii()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_ascii().parse().ok())
            .flatten()
    })
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
