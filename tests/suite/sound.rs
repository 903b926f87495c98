//! Real speech from every codec to every codec: a room adds next to nothing to what the two codecs do to it by themselves.

use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Decoder, Encoder, Encoding, PAYLOAD_SAMPLES_MAX};
use mixminus::dsp::Resampler;
use mixminus::frame::Rate;
use mixminus::load::correlation::{energy, product};
use mixminus::load::speech::VOICES;
use mixminus::room::RoomSettings;

use crate::support::voice::Voice;
use crate::support::world::{World, encoding};

const CODECS: [Codec; 9] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::G729,
    Codec::Ilbc(Mode::Ms20),
    Codec::Ilbc(Mode::Ms30),
    Codec::L16(Rate::Hz16000),
    Codec::Opus(Rate::Hz16000),
    Codec::Opus(Rate::Hz48000),
];

/// What a room may add: playout that settles, the fade of an onset, resampling.
const ADDED_DB: f32 = 0.5;

/// Seconds of each voice.
const SECONDS: usize = 4;

/// Middles of bands about as wide as the ear's, in hertz.
const BANDS_HZ: [f32; 20] = [
    150.0, 250.0, 350.0, 450.0, 570.0, 700.0, 840.0, 1_000.0, 1_170.0, 1_370.0, 1_600.0, 1_850.0, 2_150.0,
    2_500.0, 2_900.0, 3_300.0, 4_000.0, 4_800.0, 5_800.0, 7_000.0,
];

fn encoding_of(codec: Codec) -> Encoding {
    let ptime_ms = match codec {
        Codec::Ilbc(mode) => mode.ms() as u8,
        _ => 20,
    };
    Encoding {
        ptime_ms,
        ..encoding(codec)
    }
}

fn resampled(sound: &[f32], from: Rate, to: Rate) -> Vec<f32> {
    let mut resampler = Resampler::new(from, to);
    let mut frame = vec![0.0; to.samples_per_tick()];
    let ticks = sound.chunks_exact(from.samples_per_tick());
    ticks
        .flat_map(|tick| {
            resampler.process(tick, &mut frame);
            frame.clone()
        })
        .collect()
}

/// What one codec makes of a sound, without any network or room.
fn through(encoding: Encoding, sound: &[f32]) -> Vec<f32> {
    let mut encoder = Encoder::new(encoding).unwrap();
    let mut decoder = Decoder::new(encoding.codec).unwrap();
    let mut heard = Vec::new();
    let mut packet = Vec::new();
    let mut payload = vec![0; encoding.payload_bytes_max()];
    let mut pcm = vec![0.0; PAYLOAD_SAMPLES_MAX];
    for frame in sound.chunks_exact(encoder.frame_samples()) {
        let bytes = encoder.encode(frame, &mut payload).bytes();
        packet.extend_from_slice(&payload[..bytes]);
        if decoder.samples(&packet) == Ok(encoding.samples()) {
            let samples = decoder.decode(&packet, &mut pcm).unwrap();
            heard.extend_from_slice(&pcm[..samples]);
            packet.clear();
        }
    }
    heard
}

/// Levels of the bands in dB, every 20 ms.
fn spectra(sound: &[f32], rate: Rate) -> Vec<Vec<f32>> {
    let hop = rate.samples_per_tick();
    let bands = BANDS_HZ.iter().filter(|hz| **hz < 0.45 * rate.hz() as f32);
    // Each band is a few lines of the spectrum around its middle, each line a windowed wave and one a quarter behind.
    let bands: Vec<Vec<[Vec<f32>; 2]>> = bands
        .map(|hz| (-2..=2).map(|line| wave(hz + 25.0 * line as f32, rate)).collect())
        .collect();
    let level = |frame: &[f32], lines: &Vec<[Vec<f32>; 2]>| {
        let power = lines
            .iter()
            .map(|[cosine, sine]| product(frame, cosine).powi(2) + product(frame, sine).powi(2));
        10.0 * (power.sum::<f32>() / (hop * hop) as f32 + 1.0e-8).log10()
    };
    let frames = (0..(sound.len() / hop).saturating_sub(1)).map(|n| &sound[n * hop..(n + 2) * hop]);
    frames
        .map(|frame| bands.iter().map(|lines| level(frame, lines)).collect())
        .collect()
}

/// Two ticks of a cosine and a sine behind a Hann window.
fn wave(hz: f32, rate: Rate) -> [Vec<f32>; 2] {
    let hop = rate.samples_per_tick();
    let wave = |quarter: f32| {
        let sample = |n: usize| {
            let turn = std::f32::consts::PI * (n as f32 + 0.5) / hop as f32;
            let angle = std::f32::consts::TAU * (hz * n as f32 / rate.hz() as f32 + quarter);
            (0.5 - 0.5 * turn.cos()) * angle.cos()
        };
        (0..2 * hop).map(sample).collect()
    };
    [wave(0.0), wave(-0.25)]
}

/// The delay, in samples, at which the second is most like the first.
fn delay_of(said: &[f32], heard: &[f32], rate: Rate) -> usize {
    let start = rate.hz() as usize;
    let said = &said[start..2 * start];
    let likeness = |delay: &usize| {
        let heard = &heard[start + delay..2 * start + delay];
        product(said, heard) / energy(heard).max(f32::MIN_POSITIVE).sqrt()
    };
    (0..300 * rate.samples_per_ms())
        .filter(|delay| heard.len() > 2 * start + delay)
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .unwrap_or(0)
}

/// Log-spectral distance in dB over what is loud enough to matter.
fn distance(said: &[f32], heard: &[f32], rate: Rate) -> f32 {
    let delay = delay_of(said, heard, rate);
    let heard = &heard[delay..];
    let (said, heard) = (spectra(said, rate), spectra(heard, rate));
    let (mut sum, mut frames) = (0.0, 0);
    for (said, heard) in said.iter().zip(&heard).skip(15) {
        let loudest = said.iter().copied().fold(f32::MIN, f32::max);
        if loudest < -45.0 {
            continue;
        }
        // What lies 40 dB below the loudest band is masked.
        let floor = loudest - 40.0;
        let squares = said
            .iter()
            .zip(heard)
            .map(|(said, heard)| (said.max(floor) - heard.max(floor)).powi(2));
        sum += (squares.sum::<f32>() / said.len() as f32).sqrt();
        frames += 1;
    }
    assert!(frames > 50, "{frames} frames of speech");
    sum / frames as f32
}

#[test]
fn speech_goes_from_every_codec_to_every_codec_as_well_as_the_two_codecs_allow() {
    let mut failed = Vec::new();
    for (n, from) in CODECS.into_iter().enumerate() {
        let mut said = VOICES[n % VOICES.len()].decode(from.rate()).unwrap();
        said.truncate(SECONDS * from.rate().hz() as usize);

        let mut world = World::seeded(n as u64);
        world.open(0, 0, RoomSettings::default());
        world.join(0, 0, encoding_of(from), Voice::saying(said.clone()));
        for to in CODECS {
            world.join(0, 0, encoding_of(to), Voice::silent());
        }
        world.run(50 * SECONDS as u64 + 30);

        for (party, to) in CODECS.into_iter().enumerate() {
            let rate = from.rate().min(to.rate()).min(Rate::Hz16000);
            let original = resampled(&said, from.rate(), rate);
            let decoded = through(encoding_of(from), &said);
            let alone = through(encoding_of(to), &resampled(&decoded, from.rate(), to.rate()));
            let alone = distance(&original, &resampled(&alone, to.rate(), rate), rate);
            let heard = &world.parties[party + 1].heard;
            let heard = distance(&original, &resampled(heard, to.rate(), rate), rate);
            println!("{from:?} to {to:?}: {alone:.2} dB by the codecs, {heard:.2} dB through the room");
            if heard > alone + ADDED_DB {
                failed.push(format!(
                    "{from:?} to {to:?}: {heard:.2} dB, {alone:.2} dB by the codecs"
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
