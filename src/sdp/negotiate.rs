//! Offer and answer (RFC 3264): from two descriptions to what will be sent and what may arrive.
//!
//! `answer` replies to a remote offer; `offer` and `accept` are the two halves of the other way round. A later
//! re-offer in the same call uses the same functions with a higher `session_version`. The audio agreed on is the
//! first audio m-line whose transport we speak; all others are refused with port 0 in their place.

use std::net::{IpAddr, SocketAddr};

use super::companion::{Companion, Kind};
use super::crypto::{self, Selection};
use super::explain::explain;
use super::format::{own_number, shown_codecs, shown_name, shown_payloads};
use super::parameters::{Described, OPUS_BITRATE_MAX, bitrate, common_codec, pauses_by_itself};
use super::session::{Direction, Family, Media, Payload, Session};
use super::write::{Audio, write_audio, write_refused, write_session};
use super::{Codecs, Format, SdpError};
use crate::codec::ilbc::Mode;
use crate::codec::{Codec, Encoding};
use crate::frame::Rate;
use crate::srtp::{MasterKey, Terms};

/// What a remote gets that asks for no packet time (RFC 3551 §4.5, table 1).
const PTIME_MS_DEFAULT: u8 = 20;
/// L16 at 48 kHz: 20 ms would be 1,920 bytes, more than an Ethernet frame takes.
const PTIME_MS_DEFAULT_L16_48K: u8 = 10;

/// What we bring to a negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// The address remote parties reach us under, which may not be the one that is bound.
    pub address: IpAddr,
    /// Where RTP arrives; RTCP arrives on the next port where it does not share this one.
    pub rtp_port: u16,
    /// Stays the same for a call.
    pub session_id: u64,
    /// Rises with each description we send in a call (RFC 3264 §8).
    pub session_version: u64,
    pub codecs: Codecs,
    pub order: Order,
    /// The packet time our own offers ask for: 10, 20, 30, 40, 50 or 60.
    pub ptime_ms: u8,
    /// Opus bits per second; `None` takes [`super::opus_bitrate_default`]. The remote can lower it.
    pub opus_bitrate: Option<u32>,
    /// Opus: 0 (cheapest) to 10.
    pub opus_complexity: u8,
    /// A key for each suite we speak, in the order of our own offers. One that is in use stays as it is for the rest of
    /// the call; the others may be new each time.
    pub keys: Vec<MasterKey>,
    pub srtp_offer: SrtpOffer,
}

/// Whether our own offers are for SRTP, and how its keys are agreed. What a remote offers is answered either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SrtpOffer {
    #[default]
    Off,
    /// With `a=crypto` lines on `RTP/SAVP` (RFC 4568).
    Sdes,
}

/// Whose preference decides which common codec comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The remote's: the order of its offer or of its answer.
    #[default]
    OffererFirst,
    /// That of [`LocalMedia::codecs`].
    OursFirst,
}

/// What both sides have agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Where RTP goes; `None` while the remote has no address (`c=0.0.0.0`).
    pub remote: Option<SocketAddr>,
    /// Where RTCP goes: `remote` with rtcp-mux.
    pub remote_rtcp: Option<SocketAddr>,
    /// The family the remote's address is written in, also while that is unspecified. It may not be ours:
    /// whether that can work is for the caller to say.
    pub remote_family: Family,
    pub rtcp_mux: bool,
    /// What we do, not what the remote does.
    pub direction: Direction,
    /// What may arrive, each codec once; the first is what we send. Never empty, at most [`super::FORMATS_MAX`].
    pub formats: Vec<Format>,
    /// At most one for each clock rate.
    pub comfort_noise: Vec<Companion>,
    /// At most one for each clock rate.
    pub telephone_events: Vec<Companion>,
    /// The keys, where the media is encrypted.
    pub srtp: Option<Terms>,
    /// A sentence for each choice that was made.
    pub negotiation: Vec<String>,
}

/// Which side of the exchange we are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Offerer,
    Answerer,
}

/// The family the offer's audio will be received in, so that a socket of that family can be bound before the
/// answer. `None` when the offer cannot be answered; [`answer`] says why.
pub fn offered_family(offer: &str) -> Option<Family> {
    let session = Session::parse(offer).ok()?;
    let audio = session.usable_audio().ok()?;
    session.media[audio].address.map(Family::of)
}

/// Answers a remote offer: the text to send back, and what that agrees to.
pub fn answer(offer: &str, local: &LocalMedia) -> Result<(String, Agreed), SdpError> {
    let session = Session::parse(offer)?;
    let audio = session.usable_audio()?;
    let crypto = Selection::of_offer(&session.media[audio].crypto, &local.keys);
    let mut agreed = agree(&session.media[audio], &crypto, local, Role::Answerer)?;

    let mut text = String::new();
    write_session(&mut text, local, session.timing);
    for (index, media) in session.media.iter().enumerate() {
        if index == audio {
            let lines = Audio {
                protocol: media.protocol,
                codecs: agreed
                    .formats
                    .iter()
                    .map(|format| {
                        let Encoding { codec, dtx, .. } = format.encoding;
                        (format.payload_type_receive, codec, dtx)
                    })
                    .collect(),
                comfort_noise: &agreed.comfort_noise,
                telephone_events: &agreed.telephone_events,
                // RFC 4568 §5.1.2: the tag and the suite of the line that is used, with our key.
                crypto: agreed
                    .srtp
                    .iter()
                    .zip(&crypto.line)
                    .map(|(terms, line)| crypto::written(line.tag, line.suite_name, &terms.ours))
                    .collect(),
                ptime_ms: agreed.formats[0].encoding.ptime_ms,
                rtcp_mux: agreed.rtcp_mux,
                direction: agreed.direction,
            };
            write_audio(&mut text, local.rtp_port, &lines);
        } else {
            write_refused(&mut text, media);
            let kind = shown_name(media.kind);
            agreed.negotiation.push(format!(
                "M-line {} ({kind}) is refused: one audio m-line is used.",
                index + 1
            ));
        }
    }
    Ok((text, agreed))
}

/// Our own offer, with rtcp-mux, sending and receiving.
pub fn offer(local: &LocalMedia) -> String {
    let codecs = ours(local, Role::Offerer);
    let offered = |kind: Kind| match local.codecs.allows(kind) {
        true => kind.offered(&codecs),
        false => Vec::new(),
    };
    let mut text = String::new();
    write_session(&mut text, local, (0, 0));
    let (protocol, crypto) = match local.srtp_offer {
        SrtpOffer::Off => ("RTP/AVP", Vec::new()),
        SrtpOffer::Sdes => ("RTP/SAVP", crypto::offered(&local.keys)),
    };
    let lines = Audio {
        protocol,
        codecs: codecs
            .iter()
            .map(|codec| (own_number(*codec), *codec, true))
            .collect(),
        comfort_noise: &offered(Kind::ComfortNoise),
        telephone_events: &offered(Kind::TelephoneEvent),
        crypto,
        ptime_ms: local.ptime_ms,
        rtcp_mux: true,
        direction: Direction::SendReceive,
    };
    write_audio(&mut text, local.rtp_port, &lines);
    text
}

/// Takes the remote's answer to `offer(local)`; `local` is what that offer was made from.
pub fn accept(local: &LocalMedia, answer: &str) -> Result<Agreed, SdpError> {
    let session = Session::parse(answer)?;
    if session.media.len() != 1 {
        return Err(SdpError::AnswerMediaCount {
            count: session.media.len(),
        });
    }
    let audio = session.usable_audio()?;
    let audio = &session.media[audio];
    let crypto = match local.srtp_offer {
        SrtpOffer::Off => Selection::default(),
        SrtpOffer::Sdes => Selection::of_answer(&audio.crypto, &local.keys),
    };
    agree(audio, &crypto, local, Role::Offerer)
}

/// One codec both sides have.
pub(super) struct Common {
    pub receive: u8,
    pub send: u8,
    /// Where the codec stands in our list.
    preference: usize,
    pub codec: Codec,
    /// As in our list.
    pub ours: Codec,
    pub theirs: Described,
}

fn agree(audio: &Media, crypto: &Selection, local: &LocalMedia, role: Role) -> Result<Agreed, SdpError> {
    let address = audio.address.ok_or(SdpError::NoConnection)?;
    let srtp = srtp(audio, crypto, local, role)?;
    let common = common_formats(audio, local, role);
    if common.is_empty() {
        return Err(SdpError::NoCommonCodec {
            offered: shown_payloads(audio.payloads.iter()),
            supported: shown_codecs(local.codecs.as_slice()),
        });
    }
    let codecs: Vec<Codec> = common.iter().map(|common| common.codec).collect();
    let comfort_noise = common_companions(Kind::ComfortNoise, &codecs, audio, local, role);
    let telephone_events = common_companions(Kind::TelephoneEvent, &codecs, audio, local, role);

    let formats: Vec<Format> = common
        .iter()
        .map(|common| Format {
            payload_type_receive: common.receive,
            payload_type_send: common.send,
            encoding: encoding(common, &comfort_noise, audio, local, role),
            fec_bitrate_max: common
                .theirs
                .fec
                .then(|| common.theirs.bitrate_max.unwrap_or(OPUS_BITRATE_MAX)),
        })
        .collect();
    let held = address.is_unspecified();
    let numbers = formats
        .iter()
        .map(|format| (format.payload_type_receive, format.payload_type_send));
    let companions = comfort_noise
        .iter()
        .chain(&telephone_events)
        .map(|companion| (companion.payload_type_receive, companion.payload_type_send));
    let rtcp_mux = audio.rtcp_mux && numbers.chain(companions).all(distinct_from_rtcp);
    let remote = (!held).then(|| SocketAddr::new(address, audio.port));
    let mut agreed = Agreed {
        remote,
        remote_rtcp: if rtcp_mux {
            remote
        } else {
            rtcp_address(audio, address)
        },
        remote_family: Family::of(address),
        rtcp_mux,
        direction: Direction::new(audio.direction.receives() && !held, audio.direction.sends()),
        formats,
        comfort_noise,
        telephone_events,
        srtp,
        negotiation: Vec::new(),
    };
    agreed.negotiation = explain(&agreed, audio, crypto, local, role, &common);
    Ok(agreed)
}

/// Our codecs, as we offer them or hold them against an offer.
fn ours(local: &LocalMedia, role: Role) -> Vec<Codec> {
    local
        .codecs
        .as_slice()
        .iter()
        .map(|codec| match (*codec, role, local.ptime_ms) {
            // Then one frame makes the packet that our offer asks for.
            (Codec::Ilbc(_), Role::Offerer, 30) => Codec::Ilbc(Mode::Ms30),
            (codec, ..) => codec,
        })
        .collect()
}

/// The codecs both sides have, each once, the preferred one first.
fn common_formats(audio: &Media, local: &LocalMedia, role: Role) -> Vec<Common> {
    let ours = ours(local, role);
    let mut common: Vec<Common> = Vec::with_capacity(ours.len());
    for payload in &audio.payloads {
        let Some(theirs) = describe(payload, &ours, role) else {
            continue;
        };
        let found = ours
            .iter()
            .enumerate()
            .find_map(|(preference, ours)| Some((preference, *ours, common_codec(*ours, theirs.codec)?)));
        let Some((preference, ours, codec)) = found else {
            continue;
        };
        // A codec offered twice is one codec; the offerer prefers the first.
        if common.iter().any(|earlier| earlier.preference == preference) {
            continue;
        }
        let receive = match role {
            Role::Offerer => own_number(ours),
            Role::Answerer => payload.number,
        };
        common.push(Common {
            receive,
            send: payload.number,
            preference,
            codec,
            ours,
            theirs,
        });
    }
    if local.order == Order::OursFirst {
        common.sort_by_key(|common| common.preference);
    }
    common
}

/// There are answers that leave out the `rtpmap` of a number our offer has defined.
fn describe(payload: &Payload, ours: &[Codec], role: Role) -> Option<Described> {
    let as_offered = || {
        let codec = ours.iter().find(|codec| own_number(**codec) == payload.number)?;
        (role == Role::Offerer && payload.encoding.is_none())
            .then(|| Described::with_parameters(*codec, payload.parameters))
    };
    Described::new(payload).or_else(as_offered)
}

/// What goes along with the agreed codecs: at most one for each clock, the one the remote names first.
fn common_companions(
    kind: Kind,
    codecs: &[Codec],
    audio: &Media,
    local: &LocalMedia,
    role: Role,
) -> Vec<Companion> {
    let mut common: Vec<Companion> = Vec::new();
    if !local.codecs.allows(kind) {
        return common;
    }
    let offered = match role {
        Role::Offerer => kind.offered(&ours(local, role)),
        Role::Answerer => Vec::new(),
    };
    let as_offered = |payload: &Payload| {
        let same = |companion: &&Companion| companion.payload_type_receive == payload.number;
        let companion = offered.iter().find(same)?;
        payload.encoding.is_none().then_some((kind, companion.clock_hz))
    };
    for payload in &audio.payloads {
        let Some((found, clock_hz)) = Kind::of(payload).or_else(|| as_offered(payload)) else {
            continue;
        };
        let is_taken = common.iter().any(|earlier| earlier.clock_hz == clock_hz);
        if found != kind || is_taken || !kind.has_use(codecs, clock_hz) {
            continue;
        }
        let own = offered.iter().find(|companion| companion.clock_hz == clock_hz);
        common.push(Companion {
            payload_type_receive: own.map_or(payload.number, |own| own.payload_type_receive),
            payload_type_send: payload.number,
            clock_hz,
        });
    }
    common
}

fn encoding(
    common: &Common,
    comfort_noise: &[Companion],
    audio: &Media,
    local: &LocalMedia,
    role: Role,
) -> Encoding {
    let codec = common.codec;
    let has_noise = comfort_noise
        .iter()
        .any(|companion| companion.clock_hz == codec.clock_hz());
    Encoding {
        codec,
        ptime_ms: ptime_ms(codec, audio, local, role),
        bitrate: bitrate(codec, local.opus_bitrate, common.theirs.bitrate_max),
        complexity: if matches!(codec, Codec::Opus(_)) {
            local.opus_complexity
        } else {
            0
        },
        dtx: if pauses_by_itself(codec) {
            common.theirs.dtx
        } else {
            has_noise
        },
        loss_percent: 0,
    }
}

/// The packet time to send with: what the remote asks for, to the nearest whole number of frames, within its
/// `maxptime`.
fn ptime_ms(codec: Codec, audio: &Media, local: &LocalMedia, role: Role) -> u8 {
    let frame_ms = frame_ms(codec);
    let wanted = match (audio.ptime_ms, codec, role) {
        (Some(asked), ..) => asked,
        (None, Codec::L16(Rate::Hz48000), _) => PTIME_MS_DEFAULT_L16_48K.into(),
        // An answer that names no other packet time has taken ours.
        (None, _, Role::Offerer) => local.ptime_ms.into(),
        (None, Codec::Ilbc(_), Role::Answerer) => frame_ms,
        (None, _, Role::Answerer) => PTIME_MS_DEFAULT.into(),
    };
    let whole = wanted.saturating_add(frame_ms / 2) / frame_ms * frame_ms;
    let most = audio
        .maxptime_ms
        .map_or(60, |maxptime| maxptime / frame_ms * frame_ms);
    whole.min(most).clamp(frame_ms, 60) as u8
}

/// Of which a packet holds a whole number.
pub(super) const fn frame_ms(codec: Codec) -> u32 {
    match codec {
        Codec::Ilbc(mode) => mode.ms() as u32,
        _ => 10,
    }
}

/// The keys of both sides, where they have a suite in common; an error where they need one.
fn srtp(
    audio: &Media,
    crypto: &Selection,
    local: &LocalMedia,
    role: Role,
) -> Result<Option<Terms>, SdpError> {
    let is_needed = match (role, local.srtp_offer) {
        (Role::Answerer, _) => audio.needs_srtp(),
        (Role::Offerer, SrtpOffer::Sdes) => true,
        (Role::Offerer, SrtpOffer::Off) if audio.needs_srtp() => return Err(SdpError::AnswerNeedsSrtp),
        (Role::Offerer, SrtpOffer::Off) => false,
    };
    let terms = crypto.line.as_ref().and_then(|line| {
        Some(Terms {
            ours: crypto::key_for(&local.keys, line.key.suite())?.clone(),
            theirs: line.key.clone(),
            their_mki_bytes: line.mki_bytes,
        })
    });
    if is_needed && terms.is_none() {
        return Err(SdpError::NoUsableCrypto {
            reasons: crypto.reasons(),
        });
    }
    Ok(terms)
}

/// RFC 5761 §4: the marker bit makes these payload types look like RTCP.
fn distinct_from_rtcp((receive, send): (u8, u8)) -> bool {
    let distinct = |number| !(64..=95).contains(&number);
    distinct(receive) && distinct(send)
}

/// RFC 3605 where the remote says it, else the port after RTP's (RFC 3550 §11).
fn rtcp_address(audio: &Media, address: IpAddr) -> Option<SocketAddr> {
    let (port, address) = match audio.rtcp {
        Some((port, other)) => (port, other.unwrap_or(address)),
        None => (audio.port.checked_add(1)?, address),
    };
    (!address.is_unspecified()).then(|| SocketAddr::new(address, port))
}
