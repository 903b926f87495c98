//! What holds for iLBC beyond what holds for every codec. The reference is the implementation printed in RFC 3951.

mod vectors;

use fastrand::Rng;

use super::bits::Frame;
use super::codebook::{Codebook, LAG_MIN, Stages};
use super::filter::Lpc;
use super::search::search;
use super::state::{Place, StateIndex};
use super::*;
use vectors::{FRAMES_20_MS, FRAMES_30_MS, SAMPLES_20_MS, SAMPLES_30_MS};

const MODES: [Mode; 2] = [Mode::Ms20, Mode::Ms30];

/// Pulses at a gliding pitch, and noise in their place at times, through two resonances: a voice made of nothing but
/// additions and products, which are the same everywhere.
fn voice(samples: usize) -> Vec<f32> {
    let (mut seed, mut since, mut low, mut high) = (1u32, 0, [0.0f64; 2], [0.0f64; 2]);
    (0..samples)
        .map(|n| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(seed >> 8) / 16_777_216.0 - 0.5;
            since += 1;
            let mut pulse = 0.0;
            if since >= 50 + n / 400 % 5 * 9 {
                (since, pulse) = (0, 1.0);
            }
            let is_voiced = n / 1_200 % 3 != 2;
            let excitation = if is_voiced {
                0.3 * pulse + 0.01 * noise
            } else {
                0.1 * noise
            };
            let first = excitation + 1.79 * low[0] - 0.94 * low[1];
            low = [first, low[0]];
            let second = first + 0.44 * high[0] - 0.9 * high[1];
            high = [second, high[0]];
            (0.4 * second) as f32
        })
        .collect()
}

fn encode(mode: Mode, pcm: &[f32]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(mode);
    pcm.chunks_exact(mode.samples())
        .map(|frame| {
            let mut payload = vec![0; mode.bytes()];
            encoder.encode(frame, &mut payload);
            payload
        })
        .collect()
}

/// Decodes frames, those at `lost` concealed.
fn decode(mode: Mode, frames: &[Vec<u8>], lost: &[usize]) -> Vec<f32> {
    let mut decoder = Decoder::new(mode);
    let mut pcm = vec![0.0; frames.len() * mode.samples()];
    for (n, (frame, pcm)) in frames
        .iter()
        .zip(pcm.chunks_exact_mut(mode.samples()))
        .enumerate()
    {
        if lost.contains(&n) {
            decoder.conceal(pcm);
        } else {
            decoder.decode(frame, pcm).unwrap();
        }
    }
    pcm
}

fn reference_frames(mode: Mode) -> Vec<Vec<u8>> {
    let hex: &[&str] = match mode {
        Mode::Ms20 => &FRAMES_20_MS,
        Mode::Ms30 => &FRAMES_30_MS,
    };
    hex.iter()
        .map(|hex| {
            (0..mode.bytes())
                .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
                .collect()
        })
        .collect()
}

fn energy(pcm: &[f32]) -> f32 {
    pcm.iter().map(|sample| sample * sample).sum()
}

#[test]
fn a_voice_is_coded_as_the_reference_codes_it() {
    for mode in MODES {
        let expected = reference_frames(mode);
        let coded = encode(mode, &voice(expected.len() * mode.samples()));
        let same = coded.iter().zip(&expected).filter(|(a, b)| a == b).count();
        // Two vectors of the codebook may be equally good but for rounding.
        assert!(
            same + 1 >= expected.len(),
            "{mode:?}: {same} of {}",
            expected.len()
        );
    }
}

#[test]
fn a_voice_with_losses_is_decoded_as_the_reference_decodes_it() {
    for (mode, expected) in [(Mode::Ms20, &SAMPLES_20_MS[..]), (Mode::Ms30, &SAMPLES_30_MS[..])] {
        let heard = decode(mode, &reference_frames(mode), &[9, 14]);
        let heard: Vec<f32> = heard[7..]
            .iter()
            .step_by(32)
            .map(|sample| sample * FULL_SCALE)
            .collect();
        assert_eq!(heard.len(), expected.len());
        for (n, (heard, expected)) in heard.iter().zip(expected).enumerate() {
            let off = (heard - f32::from(*expected)).abs();
            assert!(off < 4.0, "{mode:?}, sample {n}: {heard} for {expected}");
        }
    }
}

#[test]
fn the_sound_is_like_what_was_said_in_each_stretch_of_it() {
    for mode in MODES {
        let said = voice(8_000);
        let heard = decode(mode, &encode(mode, &said), &[]);
        // The filters of both ends turn phases a little; what is coded is late by the enhancer.
        let late = enhance::Enhancer::delay(mode);
        let stretches = said.chunks_exact(160).zip(heard[late..].chunks_exact(160));
        let snrs: Vec<f32> = stretches
            .map(|(said, heard)| {
                let off: Vec<f32> = said.iter().zip(heard).map(|(said, heard)| said - heard).collect();
                (10.0 * (energy(said) / energy(&off)).log10()).clamp(-10.0, 35.0)
            })
            .collect();
        let mean = snrs.iter().sum::<f32>() / snrs.len() as f32;
        assert!(mean > 5.0, "{mode:?}: {mean} dB");
    }
}

#[test]
fn silence_is_coded_as_silence_and_comes_to_rest() {
    for mode in MODES {
        let mut said = voice(mode.samples() * 10);
        said.resize(mode.samples() * 200, 0.0);
        let heard = decode(mode, &encode(mode, &said), &[]);
        let peak = heard[mode.samples() * 30..]
            .iter()
            .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        assert!(peak < 1e-4, "{mode:?}: {peak}");
    }
}

#[test]
fn a_lost_frame_sounds_like_the_one_before_and_a_long_loss_fades_to_nothing() {
    for mode in MODES {
        let mut frames = encode(mode, &voice(mode.samples() * 7));
        // The seventh frame is loud in both modes.
        frames.resize(40, Vec::new());
        let lost: Vec<usize> = (7..40).collect();
        let heard = decode(mode, &frames, &lost);
        let energies: Vec<f32> = heard.chunks_exact(mode.samples()).map(energy).collect();
        assert!(
            energies[7] > 0.5 * energies[6] && energies[7] < 2.0 * energies[6],
            "{mode:?}: {energies:?}"
        );
        assert!(energies[12] < 0.7 * energies[7], "{mode:?}: {energies:?}");
        assert!(
            energies[26..].iter().all(|energy| *energy < 1e-6 * energies[7]),
            "{mode:?}: {energies:?}"
        );
        // And to rest, so that no time goes into numbers that nobody can hear.
        let last = &heard[heard.len() - mode.samples()..];
        assert!(last.iter().all(|sample| *sample == 0.0), "{mode:?}: {last:?}");
    }
}

#[test]
fn after_a_loss_the_decoder_finds_back_to_what_it_would_have_said() {
    for mode in MODES {
        let frames = encode(mode, &voice(mode.samples() * 16));
        let (whole, mended) = (decode(mode, &frames, &[]), decode(mode, &frames, &[6]));
        let from = 10 * mode.samples();
        let off: Vec<f32> = whole[from..]
            .iter()
            .zip(&mended[from..])
            .map(|(a, b)| a - b)
            .collect();
        assert!(energy(&off) < 1e-3 * energy(&whole[from..]), "{mode:?}");
        assert!(whole[6 * mode.samples()..from] != mended[6 * mode.samples()..from]);
    }
}

#[test]
fn an_empty_frame_and_one_that_cannot_be_are_lost_frames() {
    for mode in MODES {
        let frames = encode(mode, &voice(mode.samples() * 6));
        let mut empty = frames[5].clone();
        *empty.last_mut().unwrap() |= 1;
        // The place of the start state follows the frequencies, after 20 or 40 bits.
        let mut nowhere = frames[5].clone();
        match mode {
            Mode::Ms20 => nowhere[2] &= 0b1111_0011,
            Mode::Ms30 => nowhere[5] |= 0b1110_0000,
        }
        let concealed = decode(mode, &frames, &[5]);
        for frame in [empty, nowhere] {
            let mut frames = frames.clone();
            frames[5] = frame;
            assert_eq!(decode(mode, &frames, &[]), concealed, "{mode:?}");
        }
        let mut pcm = [0.0; SAMPLES_MAX];
        for bytes in [0, 37, 39, 49, 51] {
            let refused = Decoder::new(mode).decode(&[0; 51][..bytes], &mut pcm);
            assert_eq!(refused, Err(PayloadError::Partial));
        }
    }
}

#[test]
fn whatever_the_bits_are_the_sound_is_within_full_scale() {
    for mode in MODES {
        let mut random = Rng::with_seed(mode.ms() as u64);
        let mut decoder = Decoder::new(mode);
        let spoken = encode(mode, &voice(mode.samples() * 100));
        let mut pcm = [0.0; SAMPLES_MAX];
        for round in 0..4_000 {
            let mut frame = [0; BYTES_MAX];
            if round < 3_000 {
                random.fill(&mut frame);
            } else {
                frame[..mode.bytes()].copy_from_slice(&spoken[round % 100]);
                frame[random.usize(..mode.bytes())] ^= 1 << random.u8(..8);
            }
            decoder.decode(&frame[..mode.bytes()], &mut pcm).unwrap();
            assert!(
                pcm.iter().all(|sample| sample.abs() <= 1.0),
                "{mode:?} round {round}"
            );
            if round % 7 == 0 {
                decoder.conceal(&mut pcm);
                assert!(
                    pcm.iter().all(|sample| sample.abs() <= 1.0),
                    "{mode:?} round {round}"
                );
            }
        }
        for byte in [0, 0xFE] {
            for _ in 0..100 {
                decoder
                    .decode(&[byte; BYTES_MAX][..mode.bytes()], &mut pcm)
                    .unwrap();
                assert!(
                    pcm.iter().all(|sample| sample.abs() <= 1.0),
                    "{mode:?} all {byte}"
                );
            }
        }
    }
}

#[test]
fn a_copied_encoder_and_decoder_go_on_as_the_originals_do() {
    for mode in MODES {
        let said = voice(mode.samples() * 12);
        let (before, after) = said.split_at(mode.samples() * 6);
        let (mut encoder, mut decoder) = (Encoder::new(mode), Decoder::new(mode));
        let mut payload = [0; BYTES_MAX];
        let mut pcm = [0.0; SAMPLES_MAX];
        for frame in before.chunks_exact(mode.samples()) {
            encoder.encode(frame, &mut payload);
            decoder.decode(&payload[..mode.bytes()], &mut pcm).unwrap();
        }
        let (mut encoder_twin, mut decoder_twin) = (encoder.clone(), decoder.clone());
        let mut reset = decoder.clone();
        reset.reset();
        let (mut payload_twin, mut pcm_twin) = (payload, pcm);
        for frame in after.chunks_exact(mode.samples()) {
            encoder.encode(frame, &mut payload);
            encoder_twin.encode(frame, &mut payload_twin);
            assert_eq!(payload, payload_twin);
            decoder.decode(&payload[..mode.bytes()], &mut pcm).unwrap();
            decoder_twin
                .decode(&payload[..mode.bytes()], &mut pcm_twin)
                .unwrap();
            assert_eq!(pcm, pcm_twin);
        }
        let mut fresh = Decoder::new(mode);
        reset.decode(&payload[..mode.bytes()], &mut pcm).unwrap();
        fresh.decode(&payload[..mode.bytes()], &mut pcm_twin).unwrap();
        assert_eq!(pcm, pcm_twin);
    }
}

#[test]
fn every_bit_of_a_frame_belongs_to_one_parameter_and_is_read_as_it_was_written() {
    for mode in MODES {
        let mut random = Rng::with_seed(7);
        let mut possible = 0;
        for _ in 0..1_000 {
            let mut payload = [0; BYTES_MAX];
            random.fill(&mut payload[..mode.bytes()]);
            payload[mode.bytes() - 1] &= 0xFE;
            let Some(frame) = Frame::unpack(mode, &payload) else {
                continue;
            };
            possible += 1;
            let mut again = [0; BYTES_MAX];
            frame.pack(mode, &mut again);
            assert_eq!(again, payload, "{mode:?}");
        }
        assert!(possible > 500, "{mode:?}: {possible}");
    }
}

#[test]
fn the_most_sensitive_bits_come_first() {
    let frame = Frame {
        lsf: [[0b111111, 0, 0b1111111]; 2],
        place: Place {
            subframe: 1,
            first: true,
        },
        state: StateIndex {
            scale: 0b111111,
            levels: [0b100; STATE_MAX],
        },
        remainder: Stages::default(),
        blocks: [Stages::default(); BLOCKS_MAX],
    };
    let mut payload = [0; BYTES_MAX];
    frame.pack(Mode::Ms20, &mut payload);
    // Six, seven and seven bits of frequencies, two of place, one of order, six of scale; then what the other
    // parameters have in the first class.
    let expected = [0b1111_1100, 0b0000_0111, 0b1111_1011, 0b1111_1000, 0, 0];
    assert_eq!(payload[..6], expected);
    // The second class begins with the highest bits of the state.
    assert_eq!(payload[6..13], [0xFF; 7]);
}

#[test]
fn frequencies_ascend_and_lead_to_a_filter_and_back() {
    let mut random = Rng::with_seed(3);
    for round in 0..20_000 {
        let index = [random.u8(..64), random.u8(..128), random.u8(..128)];
        let lsf = lsf::dequantise(index);
        assert!(lsf.is_sorted_by(|a, b| b - a > 0.019), "{index:?}: {lsf:?}");
        assert!(
            lsf[0] > 0.0 && lsf[ORDER - 1] < std::f32::consts::PI,
            "{index:?}: {lsf:?}"
        );
        if round % 20 == 0 {
            let again = lsf::from_lpc(&lsf::to_lpc(&lsf));
            for (a, b) in lsf.iter().zip(again) {
                // The grid is 6.35 Hz wide; roots close to each other are found less exactly.
                assert!((a - b).abs() < 0.02, "{index:?}: {lsf:?}, {again:?}");
            }
        }
    }
}

#[test]
fn every_index_of_the_codebook_is_a_vector_and_back() {
    for (memory, block, indices) in [(147, 40, 256), (85, 23, 126), (85, 22, 128)] {
        let samples: Vec<f32> = (0..memory).map(|n| n as f32).collect();
        let codebook = Codebook::new(&samples, block);
        for index in 0..=255 {
            match codebook.vector(index) {
                Some(vector) => {
                    assert_eq!(codebook.index(vector), index);
                    assert!(vector.lag >= LAG_MIN && vector.lag <= memory);
                    assert!(
                        codebook.samples(vector)[block..]
                            .iter()
                            .all(|sample| *sample == 0.0)
                    );
                }
                None => assert!(usize::from(index) >= indices, "{memory} {block} {index}"),
            }
        }
    }
    // Index 3 of subframes is the stretch that ends three samples before the block; 108 repeats the last 20.
    let samples: Vec<f32> = (0..147).map(|n| n as f32).collect();
    let codebook = Codebook::new(&samples, 40);
    let vector = |index| codebook.samples(codebook.vector(index).unwrap());
    assert_eq!((vector(3)[0], vector(3)[39]), (104.0, 143.0));
    assert_eq!(
        (vector(108)[0], vector(108)[20], vector(108)[39]),
        (127.0, 127.0, 146.0)
    );
    assert_eq!(vector(108)[19], 0.2 * 146.0 + 0.8 * 126.0);
}

#[test]
fn the_search_finds_the_cycle_before_and_its_gain() {
    const FLAT: Lpc = filter::FLAT;
    for period in [26, 44, 90] {
        let mut random = Rng::with_seed(period as u64);
        let cycle: Vec<f32> = (0..period).map(|_| 2_000.0 * (random.f32() - 0.5)).collect();
        let signal: Vec<f32> = cycle.iter().cycle().take(187).copied().collect();
        let target: Vec<f32> = signal[147..].iter().map(|sample| 0.9 * sample).collect();
        let stages = search(&signal[..147], &target, &FLAT, [108; STAGES]);
        let codebook = Codebook::new(&signal[..147], 40);
        let vector = codebook.vector(stages.vectors[0]).unwrap();
        assert!(vector.lag.is_multiple_of(period), "{vector:?} for {period}");
        let off: Vec<f32> = codebook
            .construct(&stages)
            .unwrap()
            .iter()
            .zip(&target)
            .map(|(a, b)| a - b)
            .collect();
        assert!(
            energy(&off) < 0.01 * energy(&target),
            "{period}: {}",
            energy(&off) / energy(&target)
        );
    }
}

#[test]
fn the_tables_are_what_the_text_says_they_are() {
    use std::f64::consts::PI;

    use super::tables::*;

    let near = |a: f32, b: f64, tolerance: f64| assert!((f64::from(a) - b).abs() < tolerance, "{a} for {b}");
    for (n, value) in HANN_HALF.iter().enumerate() {
        near(
            *value,
            0.5 * (1.0 - (2.0 * PI * (n + 1) as f64 / 241.0).cos()),
            4e-5,
        );
    }
    for (n, value) in ASYMMETRIC_WINDOW.iter().enumerate() {
        let expected = match n {
            0..220 => (PI * (n + 1) as f64 / 441.0).sin().powi(2),
            _ => (PI * (n - 220) as f64 / 40.0).cos(),
        };
        near(*value, expected, 4e-5);
    }
    for (n, value) in LAG_WINDOW.iter().enumerate().skip(1) {
        near(
            *value,
            (-0.5 * (2.0 * PI * 60.0 * n as f64 / 8_000.0).powi(2)).exp(),
            1e-6,
        );
    }
    for (n, value) in GAIN_FIRST.iter().enumerate() {
        near(*value, 0.0375 * (n + 1) as f64, 4e-5);
    }
    for (n, value) in GAIN_SECOND.iter().enumerate() {
        near(*value, 0.15 * (n as f64 - 7.0), 4e-5);
    }
    for filter in UPSAMPLING_FILTERS {
        near(filter.iter().sum(), 1.0, 0.03);
    }
    assert!(
        [&STATE_SCALE[..], &STATE_LEVELS, &GAIN_THIRD, &LSF_MEAN]
            .iter()
            .all(|table| table.is_sorted())
    );
    let sum = |table: &[f32]| table.iter().map(|value| f64::from(*value)).sum::<f64>();
    let lsf = sum(LSF_LOW.as_flattened()) + sum(LSF_MIDDLE.as_flattened()) + sum(LSF_HIGH.as_flattened());
    assert!((lsf - 1_763.853_762).abs() < 1e-3, "{lsf}");
    assert!((sum(&STATE_SCALE) - 163.934_132).abs() < 1e-4);
}
