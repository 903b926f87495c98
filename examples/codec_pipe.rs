//! One of our codecs between two pipes, so that other programs can hold it against theirs (`make quality` does).
//!
//! ```text
//! codec_pipe CODEC encode     16 bit little-endian PCM at the codec's rate ─▶ packets
//! codec_pipe CODEC decode     packets ─▶ PCM
//! ```
//!
//! The names of codecs, and how packets are written, are those of `packets/mod.rs`. A lost packet the decoder recovers
//! from the next one where that repeats it, and else conceals.

mod packets;

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};

use mixminus::codec::{Codec, Decoder, Encoded, Encoder, PAYLOAD_BYTES_MAX, PAYLOAD_SAMPLES_MAX};

use packets::{FULL_SCALE, encoding, named, split, write_pcm};

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
        write_pcm(&mut pcm, &decoded[..samples]);
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
