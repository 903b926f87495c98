//! Why an agreement is what it is: a short sentence for each choice, for whoever asks why a call sounds as it does.

use super::companion::{Companion, Kind};
use super::crypto::Selection;
use super::format::{encoding_name, shown_codecs, shown_payloads};
use super::negotiate::{Common, Role, frame_ms};
use super::parameters::pauses_by_itself;
use super::session::{Direction, Media, Payload};
use super::{Agreed, Format, LocalMedia, Order, SrtpOffer};
use crate::codec::Codec;
use crate::codec::ilbc::Mode;
use crate::frame::Rate;

/// The sentences on what is agreed; `common` is what its formats come from.
pub(super) fn explain(
    agreed: &Agreed,
    audio: &Media,
    crypto: &Selection,
    local: &LocalMedia,
    role: Role,
    common: &[Common],
) -> Vec<String> {
    let sent = agreed.formats[0];
    let mut sentences = vec![explain_choice(sent, local.order, role)];
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
        .filter(|payload| !is_agreed(agreed, payload.number))
        .collect();
    if !left_out.is_empty() {
        let left_out = shown_payloads(left_out.into_iter());
        sentences.push(format!(
            "Left out: {left_out} (not supported, not allowed for this leg, without a codec of that clock rate, or a \
             repetition)."
        ));
    }
    for (common, format) in common.iter().zip(&agreed.formats) {
        sentences.extend(explain_parameters(common, format));
    }
    sentences.push(explain_ptime(sent, audio));
    sentences.push(explain_comfort_noise(agreed));
    sentences.push(explain_telephone_events(agreed));
    sentences.push(explain_srtp(agreed, audio, crypto, local, role));
    sentences.extend(crypto.sentences());
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

fn explain_choice(sent: Format, order: Order, role: Role) -> String {
    let chosen = match (order, role) {
        (Order::OursFirst, _) => "the first of our codecs that the remote has",
        (Order::OffererFirst, Role::Answerer) => "the first of the offer that we have",
        (Order::OffererFirst, Role::Offerer) => "the first of the answer",
    };
    let name = encoding_name(sent.encoding.codec);
    format!(
        "We send {name} as payload type {}: it is {chosen}.",
        sent.payload_type_send
    )
}

fn is_agreed(agreed: &Agreed, number: u8) -> bool {
    let mut companions = agreed.comfort_noise.iter().chain(&agreed.telephone_events);
    let mut formats = agreed.formats.iter();
    formats.any(|format| format.payload_type_send == number)
        || companions.any(|companion| companion.payload_type_send == number)
}

/// What the parameters of a codec come to, for those that have any.
fn explain_parameters(common: &Common, format: &Format) -> Option<String> {
    match format.encoding.codec {
        Codec::Opus(rate) => Some(explain_opus(common, format, rate)),
        Codec::G729 => Some(match format.encoding.dtx {
            true => "G.729 has Annex B (silence is described, not sent): the remote does not say annexb=no."
                .to_owned(),
            false => "G.729 is without Annex B: the remote says annexb=no.".to_owned(),
        }),
        Codec::Ilbc(mode) => Some(explain_ilbc(common, mode)),
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16(_) => None,
    }
}

fn explain_opus(common: &Common, format: &Format, rate: Rate) -> String {
    let theirs = common.theirs;
    let why = match theirs.codec {
        Codec::Opus(limit) if limit == rate && rate != Rate::Hz48000 => "the remote has use for no more",
        _ if rate != Rate::Hz48000 => "our list of codecs allows no more",
        _ => "neither side asks for less",
    };
    let bitrate = format.encoding.bitrate;
    let capped = if theirs.bitrate_max == Some(bitrate) {
        " (the remote's maxaveragebitrate)"
    } else {
        ""
    };
    let fec = match theirs.fec {
        true => "it may carry FEC (the remote's useinbandfec)",
        false => "without FEC, which the remote does not use",
    };
    let dtx = match theirs.dtx {
        true => "with DTX (the remote's usedtx)",
        false => "without DTX, which the remote does not ask for",
    };
    let variable = match theirs.constant_bitrate {
        true => "; the constant rate the remote would like (cbr) is not to be had",
        false => "",
    };
    format!(
        "Opus works at {} Hz, {why}, with {bitrate} bit/s{capped}; {fec}; {dtx}{variable}.",
        rate.hz()
    )
}

fn explain_ilbc(common: &Common, mode: Mode) -> String {
    let why = match (common.ours == common.codec, common.theirs.codec == common.codec) {
        (true, true) => "as both sides have it",
        (true, false) => "as our offer has it: of two modes the longer one holds for both sides",
        (false, _) => "as the remote has it (no mode means 30): the longer one holds for both sides",
    };
    format!("iLBC has frames of {} ms, {why}.", mode.ms())
}

fn explain_ptime(sent: Format, audio: &Media) -> String {
    let ptime_ms = u32::from(sent.encoding.ptime_ms);
    let why = match (audio.ptime_ms, audio.maxptime_ms) {
        (Some(asked), _) if asked == ptime_ms => "as the remote asks".to_owned(),
        (_, Some(most)) if most < ptime_ms => {
            format!("the least there is, though the remote's maxptime is {most} ms")
        }
        (_, Some(most)) if most < ptime_ms + frame_ms(sent.encoding.codec) => {
            format!("within the remote's maxptime of {most} ms")
        }
        (Some(asked), _) => format!("nearest to the {asked} ms the remote asks for"),
        (None, _) => "the remote asks for nothing else".to_owned(),
    };
    format!("Each packet we send holds {ptime_ms} ms: {why}.")
}

fn explain_comfort_noise(agreed: &Agreed) -> String {
    let codec = agreed.formats[0].encoding.codec;
    let sends = match (agreed.comfort_noise.is_empty(), pauses_by_itself(codec)) {
        (true, true) => return "No comfort noise: what we send has pauses of its own, or none.".to_owned(),
        (true, false) => {
            return "No comfort noise: none is agreed on, so we send sound without a pause.".to_owned();
        }
        (false, true) => "it may arrive beside other codecs than the one we send",
        (false, false) => match agreed.formats[0].encoding.dtx {
            true => "we send it while there is nothing to hear",
            false => "it may arrive, but not beside what we send",
        },
    };
    let numbers = numbers(Kind::ComfortNoise, &agreed.comfort_noise);
    format!("Comfort noise is {numbers}: {sends}.")
}

fn explain_telephone_events(agreed: &Agreed) -> String {
    let clock_hz = agreed.formats[0].encoding.codec.clock_hz();
    let events = &agreed.telephone_events;
    if events.is_empty() {
        return "Digits go in band: no telephone-event is agreed on.".to_owned();
    }
    let numbers = numbers(Kind::TelephoneEvent, events);
    match events.iter().any(|event| event.clock_hz == clock_hz) {
        true => format!("Digits go as {numbers}."),
        false => {
            format!("Digits may arrive as {numbers}, and go in band: none has the clock of what we send.")
        }
    }
}

/// `payload type 101 (telephone-event/8000)`, and so on.
fn numbers(kind: Kind, companions: &[Companion]) -> String {
    let one = |companion: &Companion| {
        let (number, name) = (companion.payload_type_send, kind.name());
        format!("payload type {number} ({name}/{})", companion.clock_hz)
    };
    companions.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn explain_srtp(
    agreed: &Agreed,
    audio: &Media,
    crypto: &Selection,
    local: &LocalMedia,
    role: Role,
) -> String {
    let (Some(terms), Some(line)) = (&agreed.srtp, &crypto.line) else {
        return match (role, local.srtp_offer) {
            (Role::Offerer, SrtpOffer::Off) => "No SRTP: our offer asks for none.".to_owned(),
            _ if audio.crypto.is_empty() => "No SRTP: the offer has no a=crypto line.".to_owned(),
            _ => format!(
                "No SRTP: no a=crypto line can be used, and {} does without one.",
                audio.protocol
            ),
        };
    };
    let why = match role {
        Role::Answerer => "the first of the offer that can be used",
        Role::Offerer => "the line of our offer that the answer repeats",
    };
    let mki = match terms.their_mki_bytes {
        0 => String::new(),
        bytes => format!(" The remote's packets carry an MKI (length {bytes}), which is not looked at."),
    };
    let (suite, tag) = (terms.ours.suite().name(), line.tag);
    format!("SRTP with {suite}, by the a=crypto line of tag {tag}: {why}.{mki}")
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
