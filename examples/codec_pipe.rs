//! One of our codecs between two pipes, so that other programs can hold it against theirs (`make quality` does).
//!
//! ```text
//! codec_pipe CODEC encode     16 bit little-endian PCM at the codec's rate ─▶ packets
//! codec_pipe CODEC decode     packets ─▶ PCM
//! ```
//!
//! CODEC is PCMU, PCMA, G722, G729, iLBC20, iLBC30, or opus or L16 with a rate in kHz: opus48, L16/8. A packet is its
//! length in two bytes, little-endian, and its payload; no bytes stand for a lost packet, which the decoder recovers
//! from the next one where that repeats it, and else conceals. Packets are of 20 ms, those of iLBC30 of 30.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};

use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Decoder, Encoded, Encoder, Encoding, PAYLOAD_BYTES_MAX, PAYLOAD_SAMPLES_MAX};
use mixminus::frame::Rate;
use mixminus::sdp::opus_bitrate_default;

/// As the daemon has it where nothing is configured.
const OPUS_COMPLEXITY: u8 = 5;

/// The scale of 16 bit samples.
const FULL_SCALE: f32 = 32_768.0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, direction] = arguments.as_slice() else {
        return Err("usage: codec_pipe CODEC encode|decode".into());
    };
    let codec = named(name).ok_or_else(|| format!("there is no codec {name}"))?;
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let output = match direction.as_str() {
        "encode" => encode(codec, &input)?,
        "decode" => decode(codec, &input)?,
        _ => return Err(format!("{direction} is neither encode nor decode").into()),
    };
    io::stdout().lock().write_all(&output)?;
    Ok(())
}

fn named(name: &str) -> Option<Codec> {
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

fn encoding(codec: Codec) -> Encoding {
    Encoding {
        codec,
        ptime_ms: if codec == Codec::Ilbc(Mode::Ms30) { 30 } else { 20 },
        bitrate: opus_bitrate_default(codec.rate()),
        complexity: OPUS_COMPLEXITY,
        dtx: false,
        loss_percent: 0,
    }
}

/// PCM to packets; the last one is filled up with silence.
fn encode(codec: Codec, pcm: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let encoding = encoding(codec);
    let mut encoder = Encoder::new(encoding)?;
    let mut samples: Vec<f32> = pcm
        .chunks_exact(2)
        .map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / FULL_SCALE)
        .collect();
    samples.resize(samples.len().next_multiple_of(encoding.samples()), 0.0);
    let mut packets = Vec::new();
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    for packet in samples.chunks_exact(encoding.samples()) {
        let mut bytes = 0;
        for frame in packet.chunks_exact(encoder.frame_samples()) {
            match encoder.encode(frame, &mut payload[bytes..]) {
                Encoded::Sound(more) => bytes += more,
                other => return Err(format!("a frame became {other:?}").into()),
            }
        }
        packets.extend_from_slice(&u16::try_from(bytes)?.to_le_bytes());
        packets.extend_from_slice(&payload[..bytes]);
    }
    Ok(packets)
}

/// Packets to PCM, as many samples for a lost one as for any other.
fn decode(codec: Codec, packets: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut decoder = Decoder::new(codec)?;
    let payloads = split(packets).ok_or("the input ends within a packet")?;
    let packet_samples = encoding(codec).samples();
    let mut pcm = Vec::new();
    let mut decoded = [0.0; PAYLOAD_SAMPLES_MAX];
    for (index, payload) in payloads.iter().enumerate() {
        let samples = match payload {
            [] => {
                let next = payloads.get(index + 1).copied().unwrap_or_default();
                fill(&mut decoder, next, &mut decoded[..packet_samples]);
                packet_samples
            }
            payload => decoder.decode(payload, &mut decoded)?,
        };
        for sample in &decoded[..samples] {
            let scaled = (sample * FULL_SCALE).round_ties_even() as i16;
            pcm.extend_from_slice(&scaled.to_le_bytes());
        }
    }
    Ok(pcm)
}

/// What can be known of a lost packet before `next`, which may itself be lost (empty).
fn fill(decoder: &mut Decoder, next: &[u8], pcm: &mut [f32]) {
    let recovered = !next.is_empty() && decoder.recover(next, pcm);
    if !recovered && !decoder.conceal(pcm) {
        pcm.fill(0.0);
    }
}

fn split(mut packets: &[u8]) -> Option<Vec<&[u8]>> {
    let mut payloads = Vec::new();
    while !packets.is_empty() {
        let (length, rest) = packets.split_first_chunk::<2>()?;
        let (payload, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        payloads.push(payload);
        packets = rest;
    }
    Some(payloads)
}
