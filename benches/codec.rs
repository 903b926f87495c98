//! 20 ms of sound (30 of the longer iLBC frames) through each codec, the copies of encoders' states, and comfort noise.

mod thread_time;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mixminus::codec::comfort_noise::ComfortNoise;
use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Decoder, Encoder, Encoding, PAYLOAD_BYTES_MAX, PAYLOAD_SAMPLES_MAX};
use mixminus::frame::Rate;

use thread_time::ThreadTime;

const CODECS: [(&str, Codec); 10] = [
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
    ("g722", Codec::G722),
    ("g729", Codec::G729),
    ("ilbc_20ms", Codec::Ilbc(Mode::Ms20)),
    ("ilbc_30ms", Codec::Ilbc(Mode::Ms30)),
    ("l16_16k", Codec::L16(Rate::Hz16000)),
    ("opus_8k", Codec::Opus(Rate::Hz8000)),
    ("opus_16k", Codec::Opus(Rate::Hz16000)),
    ("opus_48k", Codec::Opus(Rate::Hz48000)),
];

fn encoding(codec: Codec) -> Encoding {
    let bitrate = if codec.rate() == Rate::Hz48000 {
        32_000
    } else {
        24_000
    };
    Encoding {
        codec,
        ptime_ms: if codec == Codec::Ilbc(Mode::Ms30) { 30 } else { 20 },
        bitrate,
        complexity: 5,
        dtx: false,
        loss_percent: 0,
    }
}

/// Four seconds of a gliding, syllabic buzz: the encoders must work for it as for a voice.
fn voice(rate: Rate) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut phase = 0.0f32;
    (0..4 * rate.hz())
        .map(|i| {
            let seconds = i as f32 / rate.hz() as f32;
            phase += (110.0 + 30.0 * (2.1 * seconds).sin()) / rate.hz() as f32;
            let syllable = (std::f32::consts::TAU * 3.0 * seconds).sin().max(0.0);
            let buzz: f32 = (1..20)
                .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / h as f32)
                .sum();
            0.2 * syllable * buzz + 0.01 * (random.f32() - 0.5)
        })
        .collect()
}

/// Encodes the frames of one packet and returns how many bytes they took.
fn encode_packet(encoder: &mut Encoder, packet: &[f32], payload: &mut [u8]) -> usize {
    let mut bytes = 0;
    for frame in packet.chunks_exact(encoder.frame_samples()) {
        bytes += encoder.encode(frame, &mut payload[bytes..]).bytes();
    }
    bytes
}

fn encode(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("encode_20ms");
    let with_dtx = [("g729_dtx", Codec::G729, true)];
    for (name, codec, dtx) in CODECS
        .map(|(name, codec)| (name, codec, false))
        .into_iter()
        .chain(with_dtx)
    {
        let sound = voice(codec.rate());
        let encoding = Encoding {
            dtx,
            ..encoding(codec)
        };
        let mut packets = sound.chunks_exact(encoding.samples()).cycle();
        let mut encoder = Encoder::new(encoding).expect("a valid encoding");
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let packet = black_box(packets.next().unwrap_or_default());
                encode_packet(&mut encoder, packet, &mut payload)
            });
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("decode_20ms");
    for (name, codec) in CODECS {
        let mut encoder = Encoder::new(encoding(codec)).expect("a valid encoding");
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let payloads: Vec<Vec<u8>> = voice(codec.rate())
            .chunks_exact(encoding(codec).samples())
            .map(|packet| {
                let bytes = encode_packet(&mut encoder, packet, &mut payload);
                payload[..bytes].to_vec()
            })
            .collect();
        let mut payloads = payloads.iter().cycle();
        let mut decoder = Decoder::new(codec).expect("a valid codec");
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let payload = payloads.next().map(Vec::as_slice).unwrap_or_default();
                decoder.decode(black_box(payload), &mut pcm)
            });
        });
        if let Decoder::Opus(_) | Decoder::Ilbc(_) = decoder {
            let samples = encoding(codec).samples();
            group.bench_function(format!("{name}_conceal"), |bencher| {
                bencher.iter(|| decoder.conceal(black_box(&mut pcm[..samples])));
            });
        }
    }
    group.finish();
}

fn copy(criterion: &mut Criterion<ThreadTime>) {
    for (name, codec) in CODECS
        .into_iter()
        .filter(|(_, codec)| matches!(codec, Codec::G729 | Codec::Opus(_)))
    {
        let original = Encoder::new(encoding(codec)).expect("a valid encoding");
        let mut twins: Vec<Encoder> = (0..64)
            .map(|_| Encoder::new(encoding(codec)).expect("a valid encoding"))
            .collect();
        let mut next = 0;
        criterion.bench_function(&format!("copy_state/{name}"), |bencher| {
            bencher.iter(|| {
                // Another of 64 twins each time, so that the target is not in the nearest cache.
                next = (next + 1) % 64;
                twins[next].copy_from(black_box(&original));
            });
        });
    }
}

fn pause(criterion: &mut Criterion<ThreadTime>) {
    let mut noise = ComfortNoise::new(Rate::Hz8000, 1);
    noise
        .set(&[50, 60, 140, 120, 130, 125, 128])
        .expect("a description");
    let mut pcm = [0.0; 160];
    criterion.bench_function("comfort_noise_8k_20ms", |bencher| {
        bencher.iter(|| noise.fill(black_box(&mut pcm)));
    });
}

criterion_group!(name = benches; config = thread_time::criterion(); targets = encode, decode, copy, pause);
criterion_main!(benches);
