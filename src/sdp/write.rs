//! The lines of our own descriptions: offers and answers.

use std::fmt::Write;

use super::LocalMedia;
use super::companion::{Companion, Kind};
use super::format::encoding_name;
use super::parameters;
use super::session::{Direction, Family, Media};
use crate::codec::Codec;

/// What stands on our audio m-line and below it.
pub(super) struct Audio<'a> {
    pub protocol: &'a str,
    /// The payload type we receive, the codec, and whether its own pauses are agreed or offered.
    pub codecs: Vec<(u8, Codec, bool)>,
    pub comfort_noise: &'a [Companion],
    pub telephone_events: &'a [Companion],
    /// The values of `a=crypto` lines.
    pub crypto: Vec<String>,
    pub ptime_ms: u8,
    pub rtcp_mux: bool,
    pub direction: Direction,
}

pub(super) fn write_session(text: &mut String, local: &LocalMedia, (start, stop): (u64, u64)) {
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

pub(super) fn write_audio(text: &mut String, port: u16, audio: &Audio) {
    let companions: Vec<(Kind, &Companion)> = [
        (Kind::ComfortNoise, audio.comfort_noise),
        (Kind::TelephoneEvent, audio.telephone_events),
    ]
    .into_iter()
    .flat_map(|(kind, companions)| companions.iter().map(move |companion| (kind, companion)))
    .collect();
    let numbers: Vec<String> = audio
        .codecs
        .iter()
        .map(|(number, ..)| *number)
        .chain(
            companions
                .iter()
                .map(|(_, companion)| companion.payload_type_receive),
        )
        .map(|number| number.to_string())
        .collect();
    let (protocol, numbers) = (audio.protocol, numbers.join(" "));
    line(text, format_args!("m=audio {port} {protocol} {numbers}"));
    for (number, codec, dtx) in &audio.codecs {
        line(text, format_args!("a=rtpmap:{number} {}", encoding_name(*codec)));
        if let Some(parameters) = parameters::written(*codec, *dtx) {
            line(text, format_args!("a=fmtp:{number} {parameters}"));
        }
    }
    for (kind, companion) in companions {
        let (number, name) = (companion.payload_type_receive, kind.name());
        line(
            text,
            format_args!("a=rtpmap:{number} {name}/{}", companion.clock_hz),
        );
        if let Some(parameters) = kind.parameters() {
            line(text, format_args!("a=fmtp:{number} {parameters}"));
        }
    }
    for crypto in &audio.crypto {
        line(text, format_args!("a=crypto:{crypto}"));
    }
    line(text, format_args!("a=ptime:{}", audio.ptime_ms));
    if audio.rtcp_mux {
        line(text, format_args!("a=rtcp-mux"));
    }
    line(text, format_args!("a={}", audio.direction.name()));
}

/// RFC 3264 §6: port 0, with the kind, transport and formats of the offer; the formats mean nothing, but one
/// must be there.
pub(super) fn write_refused(text: &mut String, media: &Media) {
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
