//! What an `fmtp` line says of each codec, read from the remote's and written for ours: Opus (RFC 7587), G.729
//! Annex B (RFC 4856 §2.1.9, RFC 7261) and the frame length of iLBC (RFC 3952).

use super::session::Payload;
use crate::codec::Codec;
use crate::codec::ilbc::Mode;
use crate::frame::Rate;

/// Bits per second Opus takes (RFC 7587 §3.1.1, §6.1).
const OPUS_BITRATE_MIN: u32 = 6_000;
pub(super) const OPUS_BITRATE_MAX: u32 = 510_000;

/// What a payload type of the remote side is, were it agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Described {
    pub codec: Codec,
    /// Opus: the most bits per second the remote wants, where it says so.
    pub bitrate_max: Option<u32>,
    /// The remote takes the codec's own pauses: Annex B of G.729, DTX of Opus.
    pub dtx: bool,
    /// Opus: the remote uses in-band FEC.
    pub fec: bool,
    /// Opus: the remote would rather have a constant bit rate.
    pub constant_bitrate: bool,
}

impl Described {
    /// What `payload` is; `None` when it is nothing we speak.
    pub fn new(payload: &Payload) -> Option<Described> {
        let Some(encoding) = payload.encoding else {
            return match payload.number {
                0 => Some(Codec::Pcmu),
                8 => Some(Codec::Pcma),
                9 => Some(Codec::G722),
                18 => Some(Codec::G729),
                _ => None,
            }
            .map(|codec| Described::with_parameters(codec, payload.parameters));
        };
        let name = |name: &str| encoding.name.eq_ignore_ascii_case(name);
        let codec = match (encoding.clock_hz, encoding.channels) {
            (8_000, 1) if name("PCMU") => Codec::Pcmu,
            (8_000, 1) if name("PCMA") => Codec::Pcma,
            // RFC 3551 §4.5.2: the clock is 8,000 by an old mistake, and there are senders that write the true rate.
            (8_000 | 16_000, 1) if name("G722") => Codec::G722,
            // There are gateways that write the annex of the encoder they use.
            (8_000, 1) if name("G729") || name("G729A") => Codec::G729,
            (8_000, 1) if name("iLBC") => Codec::Ilbc(Mode::Ms30),
            (hz, 1) if name("L16") => Codec::L16(Rate::from_hz(hz)?),
            // RFC 7587 §7: always /2, whatever is sent; there are senders that leave it out.
            (48_000, 1 | 2) if name("opus") => Codec::Opus(Rate::Hz48000),
            _ => return None,
        };
        Some(Described::with_parameters(codec, payload.parameters))
    }

    /// A codec known by its name, with what its `fmtp` says. What cannot be read counts as absent.
    pub fn with_parameters(codec: Codec, parameters: &str) -> Described {
        let plain = Described {
            codec,
            bitrate_max: None,
            dtx: false,
            fec: false,
            constant_bitrate: false,
        };
        match codec {
            Codec::Opus(_) => Described::opus(parameters),
            // RFC 4856 §2.1.9: absent means yes.
            Codec::G729 => Described {
                dtx: !value(parameters, "annexb").is_some_and(|value| value.eq_ignore_ascii_case("no")),
                ..plain
            },
            // RFC 3952 §5: absent means 30.
            Codec::Ilbc(_) => Described {
                codec: Codec::Ilbc(match number(parameters, "mode") {
                    Some(20) => Mode::Ms20,
                    _ => Mode::Ms30,
                }),
                ..plain
            },
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16(_) => plain,
        }
    }

    /// RFC 7587 §6.1. What a remote does not play need not be sent; one that only says what it captures
    /// is taken to play no more than that.
    fn opus(parameters: &str) -> Described {
        let rate_hz =
            number(parameters, "maxplaybackrate").or_else(|| number(parameters, "sprop-maxcapturerate"));
        let rate = match rate_hz {
            Some(..=8_000) => Rate::Hz8000,
            Some(..=16_000) => Rate::Hz16000,
            _ => Rate::Hz48000,
        };
        let is_on = |name| number(parameters, name) == Some(1);
        Described {
            codec: Codec::Opus(rate),
            bitrate_max: number(parameters, "maxaveragebitrate")
                .map(|bitrate| bitrate.clamp(OPUS_BITRATE_MIN, OPUS_BITRATE_MAX)),
            dtx: is_on("usedtx"),
            fec: is_on("useinbandfec"),
            constant_bitrate: is_on("cbr"),
        }
    }
}

/// The codec two sides can use together: for Opus the lower rate, for iLBC the longer frame (RFC 3952 §5).
pub(super) fn common_codec(ours: Codec, theirs: Codec) -> Option<Codec> {
    match (ours, theirs) {
        (Codec::Opus(ours), Codec::Opus(theirs)) => Some(Codec::Opus(ours.min(theirs))),
        (Codec::Ilbc(Mode::Ms20), Codec::Ilbc(theirs)) => Some(Codec::Ilbc(theirs)),
        (Codec::Ilbc(Mode::Ms30), Codec::Ilbc(_)) => Some(ours),
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

/// The value of our own `fmtp`, without the number. `dtx` is whether the codec's own pauses are agreed, or offered.
pub(super) fn written(codec: Codec, dtx: bool) -> Option<String> {
    match codec {
        // What we play and capture; lost packets are recovered from what the next one repeats.
        Codec::Opus(rate) => {
            let hz = rate.hz();
            Some(format!(
                "maxplaybackrate={hz};sprop-maxcapturerate={hz};stereo=0;useinbandfec=1"
            ))
        }
        // Written in both cases: there are peers to which absent means no.
        Codec::G729 => Some(format!("annexb={}", if dtx { "yes" } else { "no" })),
        Codec::Ilbc(mode) => Some(format!("mode={}", mode.ms())),
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16(_) => None,
    }
}

/// Whether the codec describes silence by itself, so that comfort noise (RFC 3389) is not for it.
pub(super) const fn pauses_by_itself(codec: Codec) -> bool {
    matches!(codec, Codec::G729 | Codec::Opus(_))
}

/// What stands for `name` in `a=1;b=2`.
fn value<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim_ascii()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_ascii())
    })
}

fn number(parameters: &str, name: &str) -> Option<u32> {
    value(parameters, name)?.parse().ok()
}
