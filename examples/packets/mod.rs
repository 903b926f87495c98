//! What the pipes have between them: codecs by name, and packets one after the other.
//!
//! A packet is its length in two bytes, little-endian, and its payload; no bytes stand for a lost one.

use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Encoding};
use mixminus::frame::Rate;
use mixminus::sdp::opus_bitrate_default;

/// As the daemon has it where nothing is configured.
const OPUS_COMPLEXITY: u8 = 5;

/// The scale of 16 bit samples.
pub const FULL_SCALE: f32 = 32_768.0;

/// PCMU, PCMA, G722, G729, iLBC20, iLBC30, or opus or L16 with a rate in kHz: opus48, L16/8.
pub fn named(name: &str) -> Option<Codec> {
    Some(match name {
        "PCMU" => Codec::Pcmu,
        "PCMA" => Codec::Pcma,
        "G722" => Codec::G722,
        "G729" => Codec::G729,
        "iLBC20" => Codec::Ilbc(Mode::Ms20),
        "iLBC30" => Codec::Ilbc(Mode::Ms30),
        "opus8" => Codec::Opus(Rate::Hz8000),
        "opus16" => Codec::Opus(Rate::Hz16000),
        "opus48" => Codec::Opus(Rate::Hz48000),
        "L16/8" => Codec::L16(Rate::Hz8000),
        "L16/16" => Codec::L16(Rate::Hz16000),
        "L16/48" => Codec::L16(Rate::Hz48000),
        _ => return None,
    })
}

/// Packets of 20 ms, those of iLBC30 of 30.
pub fn encoding(codec: Codec) -> Encoding {
    Encoding {
        codec,
        ptime_ms: if codec == Codec::Ilbc(Mode::Ms30) { 30 } else { 20 },
        bitrate: opus_bitrate_default(codec.rate()),
        complexity: OPUS_COMPLEXITY,
        dtx: false,
        loss_percent: 0,
    }
}

/// None where the bytes end within a packet.
pub fn split(mut packets: &[u8]) -> Option<Vec<&[u8]>> {
    let mut payloads = Vec::new();
    while !packets.is_empty() {
        let (length, rest) = packets.split_first_chunk::<2>()?;
        let (payload, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        payloads.push(payload);
        packets = rest;
    }
    Some(payloads)
}

/// As 16 bit little-endian PCM.
pub fn write_pcm(pcm: &mut Vec<u8>, sound: &[f32]) {
    for sample in sound {
        let scaled = (sample * FULL_SCALE).round_ties_even() as i16;
        pcm.extend_from_slice(&scaled.to_le_bytes());
    }
}
