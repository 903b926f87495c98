//! Offer and answer (RFC 3264): from two descriptions to what will be sent and what may arrive.
//!
//! `answer` replies to a remote offer; `offer` and `accept` are the two halves of the other way round. A later
//! re-offer in the same call uses the same functions with a higher `session_version`. The audio agreed on is the
//! first audio m-line whose transport we speak; all others are refused with port 0 in their place.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::format::{
    Described, bitrate, common_codec, encoding_name, parameters, shown_codecs, shown_name, shown_payloads,
};
use super::session::{Direction, Family, Media, Payload, Session};
use super::{Codecs, Format, SdpError};
use crate::codec::{Codec, Encoding};
use crate::frame::Rate;

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
    /// A sentence for each choice that was made.
    pub negotiation: Vec<String>,
}

/// Which side of the exchange we are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
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
    let mut agreed = agree(&session.media[audio], local, Role::Answerer)?;

    let mut text = String::new();
    write_session(&mut text, local, session.timing);
    for (index, media) in session.media.iter().enumerate() {
        if index == audio {
            write_answered_audio(&mut text, local, media.protocol, &agreed);
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
    let mut text = String::new();
    write_session(&mut text, local, (0, 0));
    let lines: Vec<(u8, Codec)> = local.codecs.numbered().collect();
    write_audio(&mut text, "RTP/AVP", local.rtp_port, &lines);
    write_attributes(&mut text, local.ptime_ms, true, Direction::SendReceive);
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
    agree(&session.media[audio], local, Role::Offerer)
}

/// One codec both sides have.
struct Common {
    receive: u8,
    send: u8,
    /// Where the codec stands in our list.
    preference: usize,
    codec: Codec,
    theirs: Described,
}

fn agree(audio: &Media, local: &LocalMedia, role: Role) -> Result<Agreed, SdpError> {
    let address = audio.address.ok_or(SdpError::NoConnection)?;
    let common = common_formats(audio, local, role);
    let Some(first) = common.first() else {
        return Err(SdpError::NoCommonCodec {
            offered: shown_payloads(audio.payloads.iter()),
            supported: shown_codecs(local.codecs.as_slice()),
        });
    };

    let formats: Vec<Format> = common
        .iter()
        .map(|common| Format {
            payload_type_receive: common.receive,
            payload_type_send: common.send,
            encoding: encoding(common, audio, local, role),
        })
        .collect();
    let held = address.is_unspecified();
    let rtcp_mux = audio.rtcp_mux && formats.iter().all(distinct_from_rtcp);
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
        negotiation: Vec::new(),
    };
    agreed.negotiation = explain(&agreed, audio, local, role, first);
    Ok(agreed)
}

/// The codecs both sides have, each once, the preferred one first.
fn common_formats(audio: &Media, local: &LocalMedia, role: Role) -> Vec<Common> {
    let ours: Vec<(u8, Codec)> = local.codecs.numbered().collect();
    let mut common: Vec<Common> = Vec::with_capacity(ours.len());
    for payload in &audio.payloads {
        let Some(theirs) = describe(payload, &ours, role) else {
            continue;
        };
        let found = ours.iter().enumerate().find_map(|(preference, (number, codec))| {
            Some((preference, *number, common_codec(*codec, theirs.codec)?))
        });
        let Some((preference, number, codec)) = found else {
            continue;
        };
        // A codec offered twice is one codec; the offerer prefers the first.
        if common.iter().any(|earlier| earlier.preference == preference) {
            continue;
        }
        let receive = if role == Role::Offerer {
            number
        } else {
            payload.number
        };
        common.push(Common {
            receive,
            send: payload.number,
            preference,
            codec,
            theirs,
        });
    }
    if local.order == Order::OursFirst {
        common.sort_by_key(|common| common.preference);
    }
    common
}

/// There are answers that leave out the `rtpmap` of a number our offer has defined.
fn describe(payload: &Payload, ours: &[(u8, Codec)], role: Role) -> Option<Described> {
    let as_offered = || {
        let (_, codec) = ours.iter().find(|(number, _)| *number == payload.number)?;
        (role == Role::Offerer && payload.encoding.is_none()).then_some(Described::plain(*codec))
    };
    Described::new(payload).or_else(as_offered)
}

fn encoding(common: &Common, audio: &Media, local: &LocalMedia, role: Role) -> Encoding {
    let is_opus = matches!(common.codec, Codec::Opus(_));
    Encoding {
        codec: common.codec,
        ptime_ms: ptime_ms(common.codec, audio, local, role),
        bitrate: bitrate(common.codec, local.opus_bitrate, common.theirs.bitrate_max),
        complexity: if is_opus { local.opus_complexity } else { 0 },
        dtx: false,
        loss_percent: 0,
    }
}

/// The packet time to send with: what the remote asks for, to the nearest 10 ms, within its `maxptime`.
fn ptime_ms(codec: Codec, audio: &Media, local: &LocalMedia, role: Role) -> u8 {
    let wanted = match (audio.ptime_ms, codec, role) {
        (Some(asked), ..) => asked.saturating_add(5) / 10 * 10,
        (None, Codec::L16(Rate::Hz48000), _) => PTIME_MS_DEFAULT_L16_48K.into(),
        // An answer that names no other packet time has taken ours.
        (None, _, Role::Offerer) => local.ptime_ms.into(),
        (None, _, Role::Answerer) => PTIME_MS_DEFAULT.into(),
    };
    let most = audio.maxptime_ms.map_or(60, |maxptime| maxptime / 10 * 10);
    wanted.min(most).clamp(10, 60) as u8
}

/// RFC 5761 §4: the marker bit makes these payload types look like RTCP.
fn distinct_from_rtcp(format: &Format) -> bool {
    let distinct = |number| !(64..=95).contains(&number);
    distinct(format.payload_type_receive) && distinct(format.payload_type_send)
}

/// RFC 3605 where the remote says it, else the port after RTP's (RFC 3550 §11).
fn rtcp_address(audio: &Media, address: IpAddr) -> Option<SocketAddr> {
    let (port, address) = match audio.rtcp {
        Some((port, other)) => (port, other.unwrap_or(address)),
        None => (audio.port.checked_add(1)?, address),
    };
    (!address.is_unspecified()).then(|| SocketAddr::new(address, port))
}

/// Why the agreement is what it is.
fn explain(agreed: &Agreed, audio: &Media, local: &LocalMedia, role: Role, first: &Common) -> Vec<String> {
    let mut sentences = Vec::new();
    let encoding = agreed.formats[0].encoding;
    let name = encoding_name(encoding.codec);
    let chosen = match (local.order, role) {
        (Order::OursFirst, _) => "the first of our codecs that the remote has",
        (Order::OffererFirst, Role::Answerer) => "the first of the offer that we have",
        (Order::OffererFirst, Role::Offerer) => "the first of the answer",
    };
    sentences.push(format!(
        "We send {name} as payload type {}: it is {chosen}.",
        first.send
    ));
    if agreed.formats.len() > 1 {
        let others: Vec<Codec> = agreed.formats[1..]
            .iter()
            .map(|format| format.encoding.codec)
            .collect();
        sentences.push(format!("May also arrive: {}.", shown_codecs(&others)));
    }
    let left_out: Vec<&Payload> = audio
        .payloads
        .iter()
        .filter(|payload| {
            agreed
                .formats
                .iter()
                .all(|format| format.payload_type_send != payload.number)
        })
        .collect();
    if !left_out.is_empty() {
        let left_out = shown_payloads(left_out.into_iter());
        sentences.push(format!(
            "Left out: {left_out} (not supported, not allowed for this leg, or a repetition)."
        ));
    }
    if let Codec::Opus(rate) = encoding.codec {
        sentences.push(explain_opus(rate, encoding.bitrate, first.theirs));
    }
    sentences.push(explain_ptime(encoding.ptime_ms, audio));
    sentences.push(explain_rtcp(agreed, audio));
    if agreed.remote.is_none() {
        sentences
            .push("The remote has no address (unspecified c= line), so nothing is sent to it.".to_owned());
    } else if agreed.direction != Direction::SendReceive {
        let (theirs, ours) = (audio.direction.name(), agreed.direction.name());
        sentences.push(format!("The remote is {theirs}, so we are {ours}."));
    }
    sentences
}

fn explain_opus(rate: Rate, bitrate: u32, theirs: Described) -> String {
    let why = match theirs.codec {
        Codec::Opus(limit) if limit == rate && rate != Rate::Hz48000 => "the remote has use for no more",
        _ if rate != Rate::Hz48000 => "our list of codecs allows no more",
        _ => "neither side asks for less",
    };
    let capped = if theirs.bitrate_max == Some(bitrate) {
        " (the remote's maxaveragebitrate)"
    } else {
        ""
    };
    format!(
        "Opus works at {} Hz, {why}, with {bitrate} bit/s{capped}.",
        rate.hz()
    )
}

fn explain_ptime(ptime_ms: u8, audio: &Media) -> String {
    let why = match (audio.ptime_ms, audio.maxptime_ms) {
        (Some(asked), _) if asked == u32::from(ptime_ms) => "as the remote asks".to_owned(),
        (_, Some(most)) if most < u32::from(ptime_ms) + 10 => {
            format!("within the remote's maxptime of {most} ms")
        }
        (Some(asked), _) => format!("nearest to the {asked} ms the remote asks for"),
        (None, _) => "the remote asks for nothing else".to_owned(),
    };
    format!("Each packet we send holds {ptime_ms} ms: {why}.")
}

fn explain_rtcp(agreed: &Agreed, audio: &Media) -> String {
    match (agreed.rtcp_mux, agreed.remote_rtcp) {
        (true, _) => "RTCP shares the RTP port, as both sides say (rtcp-mux).".to_owned(),
        (false, _) if audio.rtcp_mux => {
            "RTCP has its own port: payload types from 64 to 95 do not go with rtcp-mux.".to_owned()
        }
        (false, Some(address)) => {
            let why = if audio.rtcp.is_some() {
                "as a=rtcp says"
            } else {
                "the one after RTP"
            };
            format!(
                "RTCP goes to port {}, {why}: the remote does not say rtcp-mux.",
                address.port()
            )
        }
        (false, None) => "No RTCP is sent: the remote names no place for it.".to_owned(),
    }
}

fn write_session(text: &mut String, local: &LocalMedia, (start, stop): (u64, u64)) {
    let (id, version) = (local.session_id, local.session_version);
    let (family, address) = (Family::of(local.address).name(), local.address);
    line(text, format_args!("v=0"));
    line(
        text,
        format_args!("o=mixminus {id} {version} IN {family} {address}"),
    );
    line(text, format_args!("s=-"));
    line(text, format_args!("c=IN {family} {address}"));
    line(text, format_args!("t={start} {stop}"));
}

fn write_answered_audio(text: &mut String, local: &LocalMedia, protocol: &str, agreed: &Agreed) {
    let lines: Vec<(u8, Codec)> = agreed
        .formats
        .iter()
        .map(|format| (format.payload_type_receive, format.encoding.codec))
        .collect();
    write_audio(text, protocol, local.rtp_port, &lines);
    write_attributes(
        text,
        agreed.formats[0].encoding.ptime_ms,
        agreed.rtcp_mux,
        agreed.direction,
    );
}

fn write_audio(text: &mut String, protocol: &str, port: u16, codecs: &[(u8, Codec)]) {
    let numbers: Vec<String> = codecs.iter().map(|(number, _)| number.to_string()).collect();
    line(
        text,
        format_args!("m=audio {port} {protocol} {}", numbers.join(" ")),
    );
    for (number, codec) in codecs {
        line(text, format_args!("a=rtpmap:{number} {}", encoding_name(*codec)));
        if let Some(parameters) = parameters(*codec) {
            line(text, format_args!("a=fmtp:{number} {parameters}"));
        }
    }
}

fn write_attributes(text: &mut String, ptime_ms: u8, rtcp_mux: bool, direction: Direction) {
    line(text, format_args!("a=ptime:{ptime_ms}"));
    if rtcp_mux {
        line(text, format_args!("a=rtcp-mux"));
    }
    line(text, format_args!("a={}", direction.name()));
}

/// RFC 3264 §6: port 0, with the kind, transport and formats of the offer; the formats mean nothing, but one
/// must be there.
fn write_refused(text: &mut String, media: &Media) {
    let formats = if media.formats.is_empty() {
        "0".to_owned()
    } else {
        media.formats.join(" ")
    };
    line(
        text,
        format_args!("m={} 0 {} {formats}", media.kind, media.protocol),
    );
}

fn line(text: &mut String, content: std::fmt::Arguments) {
    write!(text, "{content}\r\n").expect("writing to a String does not fail");
}
