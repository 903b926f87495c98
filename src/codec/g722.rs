//! G.722 at 64 kbit/s (ITU-T G.722): 16 kHz sound in two bands of ADPCM, a byte for each two samples.
//!
//! Written after the block diagrams of the Recommendation, whose block names stand beside the lines that are them, in
//! its integer arithmetic. There is nothing in it against loss; its states are plain values.

use super::{Encoding, saturate};

const FULL_SCALE: f32 = 32_768.0;

/// Coefficients of the quadrature mirror filters (table 5); the other half is their mirror image. Their sum is 4,096.
const QMF: [i32; TAPS] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];
const TAPS: usize = 12;

/// Bytes that are worked on at once.
const BLOCK: usize = 40;

/// Decision levels of the lower band's quantizer, per unit of its scale factor in 4,096ths (table 6, Q6).
#[rustfmt::skip]
const LOW_LEVELS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219,
    1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];

/// Decision level of the higher band's quantizer (table 6, Q2).
const HIGH_LEVEL: i32 = 564;

/// What the six bits of the lower band stand for, per unit of its scale factor in 32,768ths (table 7, QQ6). The first
/// four codes are no codes: the encoder avoids them, so that there is no byte of zeros.
#[rustfmt::skip]
const LOW_VALUES: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040, 728,
    432, 136, -432, -136,
];

/// What the upper four of those bits stand for (table 7, QQ4): both ends predict from these alone.
#[rustfmt::skip]
const LOW_VALUES_COARSE: [i32; 16] = [
    0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0,
];

/// What the two bits of the higher band stand for (table 7, QQ2).
const HIGH_VALUES: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];

/// What a code adds to the logarithm of the scale factor (table 9, WL by way of table 10, RL4 and IL4; WH).
#[rustfmt::skip]
const LOW_STEPS: [i32; 16] = [
    -60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60,
];
const HIGH_STEPS: [i32; 4] = [798, -214, 798, -214];

/// 2,048 · 2^(n/32) (table 11, ILB).
#[rustfmt::skip]
const POWERS: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];

/// Into 16 bits, as every addition of the Recommendation ends.
fn clip(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// A factor in 32,768ths.
fn scaled(value: i32, factor: i32) -> i32 {
    (value * factor) >> 15
}

/// What both ends of one band know: its adaptive predictor and quantizer.
#[derive(Debug, Clone)]
struct Band {
    /// Of the predictor, in 16,384ths: a₁, a₂ and b₁ to b₆.
    poles: [i32; 2],
    zeros: [i32; 6],
    /// The newest first: reconstructed (r), partially reconstructed (p), and quantized differences (d).
    reconstructed: [i32; 2],
    partial: [i32; 2],
    differences: [i32; 6],
    /// What the zeros predict, and what all of it does.
    zeros_predict: i32,
    predicted: i32,
    /// The quantizer's scale factor and its logarithm in 2,048ths of an octave.
    scale: i32,
    scale_log: i32,
}

impl Band {
    /// At reset the logarithm is zero (§3.6), and this the scale factor that belongs to it.
    const fn new(scale: i32) -> Band {
        Band {
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: [0; 2],
            partial: [0; 2],
            differences: [0; 6],
            zeros_predict: 0,
            predicted: 0,
            scale,
            scale_log: 0,
        }
    }

    /// Blocks LOGSCL and SCALEL of the lower band; `code` is of four bits.
    fn adapt_low_scale(&mut self, code: usize) {
        self.scale_log = (((self.scale_log * 127) >> 7) + LOW_STEPS[code]).clamp(0, 18_432);
        self.scale = power(self.scale_log, 8);
    }

    /// Blocks LOGSCH and SCALEH of the higher band.
    fn adapt_high_scale(&mut self, code: usize) {
        self.scale_log = (((self.scale_log * 127) >> 7) + HIGH_STEPS[code]).clamp(0, 22_528);
        self.scale = power(self.scale_log, 10);
    }

    /// Blocks RECONS to PREDIC (§3.6.3 ff.): takes the quantized difference in and predicts the next sample.
    fn adapt_prediction(&mut self, difference: i32) {
        let reconstructed = clip(self.predicted + difference);
        let partial = clip(self.zeros_predict + difference);
        let like = |one: i32, other: i32| (one ^ other) >= 0;

        // UPPOL2, UPPOL1.
        let [a1, a2] = self.poles;
        let first = clip(a1 << 2);
        let first = if like(partial, self.partial[0]) {
            (-first).min(32_767)
        } else {
            first
        };
        let second = if like(partial, self.partial[1]) { 128 } else { -128 };
        let a2 = ((first >> 7) + second + scaled(a2, 32_512)).clamp(-12_288, 12_288);
        let step = if like(partial, self.partial[0]) { 192 } else { -192 };
        let limit = 15_360 - a2;
        let a1 = clip(step + scaled(a1, 32_640)).clamp(-limit, limit);
        self.poles = [a1, a2];

        // UPZERO.
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, past) in self.zeros.iter_mut().zip(&self.differences) {
            let step = if like(*past, difference) { step } else { -step };
            *zero = clip(step + scaled(*zero, 32_640));
        }

        // DELAYA.
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];

        // FILTEP, FILTEZ, PREDIC.
        let [r1, r2] = self.reconstructed;
        let poles_predict = clip(scaled(a1, clip(r1 << 1)) + scaled(a2, clip(r2 << 1)));
        let products = self.zeros.iter().zip(&self.differences);
        self.zeros_predict = clip(products.map(|(b, d)| scaled(*b, clip(d << 1))).sum());
        self.predicted = clip(poles_predict + self.zeros_predict);
    }
}

/// The scale factor of a logarithm, four times 2^(`octaves` − 2,048ths) under its base.
fn power(scale_log: i32, octaves: i32) -> i32 {
    let mantissa = POWERS[(scale_log >> 6) as usize & 31];
    let shift = octaves - (scale_log >> 11);
    let shifted = if shift < 0 {
        mantissa << -shift
    } else {
        mantissa >> shift
    };
    shifted << 2
}

/// One G.722 stream in.
#[derive(Debug, Clone)]
pub struct Decoder {
    low: Band,
    high: Band,
    /// Sums and differences of the bands, the newest last.
    sums: [i32; TAPS - 1],
    differences: [i32; TAPS - 1],
}

impl Decoder {
    pub(super) const fn new() -> Decoder {
        Decoder {
            low: Band::new(32),
            high: Band::new(8),
            sums: [0; TAPS - 1],
            differences: [0; TAPS - 1],
        }
    }

    /// Two samples of `pcm` for each byte of `payload`.
    pub(super) fn decode(&mut self, payload: &[u8], pcm: &mut [f32]) {
        for (payload, pcm) in payload.chunks(BLOCK).zip(pcm.chunks_mut(2 * BLOCK)) {
            let mut sums = [0; TAPS - 1 + BLOCK];
            let mut differences = [0; TAPS - 1 + BLOCK];
            sums[..TAPS - 1].copy_from_slice(&self.sums);
            differences[..TAPS - 1].copy_from_slice(&self.differences);
            for (n, byte) in payload.iter().enumerate() {
                let low = self.decode_low(*byte);
                let high = self.decode_high(*byte);
                sums[TAPS - 1 + n] = low + high;
                differences[TAPS - 1 + n] = low - high;
            }
            for (n, pair) in pcm.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                // Receive QMF (§4.4).
                let (mut even, mut odd) = (0, 0);
                for tap in 0..TAPS {
                    even += differences[n + tap] * QMF[TAPS - 1 - tap];
                    odd += sums[n + tap] * QMF[tap];
                }
                *pair = [even, odd].map(|sum| clip(sum >> 11) as f32 * (1.0 / FULL_SCALE));
            }
            self.sums.copy_from_slice(&sums[payload.len()..][..TAPS - 1]);
            self.differences
                .copy_from_slice(&differences[payload.len()..][..TAPS - 1]);
        }
    }

    fn decode_low(&mut self, byte: u8) -> i32 {
        let code = usize::from(byte & 0x3F);
        let band = &mut self.low;
        // INVQBL, RECONS, LIMIT; then INVQAL for the prediction.
        let sample = band.predicted + scaled(band.scale, LOW_VALUES[code]);
        let difference = scaled(band.scale, LOW_VALUES_COARSE[code >> 2]);
        band.adapt_low_scale(code >> 2);
        band.adapt_prediction(difference);
        limit(sample)
    }

    fn decode_high(&mut self, byte: u8) -> i32 {
        let code = usize::from(byte >> 6);
        let band = &mut self.high;
        let difference = scaled(band.scale, HIGH_VALUES[code]);
        let sample = band.predicted + difference;
        band.adapt_high_scale(code);
        band.adapt_prediction(difference);
        limit(sample)
    }

    pub(super) const fn reset(&mut self) {
        *self = Decoder::new();
    }
}

/// Block LIMIT: a band has 15 bits.
fn limit(sample: i32) -> i32 {
    sample.clamp(-16_384, 16_383)
}

/// One G.722 stream out.
#[derive(Debug, Clone)]
pub struct Encoder {
    encoding: Encoding,
    low: Band,
    high: Band,
    /// The samples before, the newest last.
    past: [i32; PAST],
}

const PAST: usize = 2 * (TAPS - 1);

impl Encoder {
    pub(super) const fn new(encoding: Encoding) -> Encoder {
        Encoder {
            encoding,
            low: Band::new(32),
            high: Band::new(8),
            past: [0; PAST],
        }
    }

    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(super) const fn retune(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// A byte of `payload` for each two samples; returns how many, none when `payload` has no room for all.
    pub(super) fn encode(&mut self, pcm: &[f32], payload: &mut [u8]) -> usize {
        let Some(payload) = payload.get_mut(..pcm.len() / 2) else {
            debug_assert!(false, "{} samples do not fit", pcm.len());
            return 0;
        };
        for (pcm, payload) in pcm.chunks(2 * BLOCK).zip(payload.chunks_mut(BLOCK)) {
            let mut samples = [0; PAST + 2 * BLOCK];
            samples[..PAST].copy_from_slice(&self.past);
            for (to, from) in samples[PAST..].iter_mut().zip(pcm) {
                *to = ((saturate(*from) * FULL_SCALE).round() as i32).min(32_767);
            }
            for (n, byte) in payload.iter_mut().enumerate() {
                // Transmit QMF (§3.1).
                let (mut even, mut odd) = (0, 0);
                for (tap, pair) in samples[2 * n..][..2 * TAPS].as_chunks::<2>().0.iter().enumerate() {
                    even += pair[0] * QMF[tap];
                    odd += pair[1] * QMF[TAPS - 1 - tap];
                }
                let low = self.encode_low((odd + even) >> 14);
                let high = self.encode_high((odd - even) >> 14);
                *byte = high << 6 | low;
            }
            self.past.copy_from_slice(&samples[pcm.len()..][..PAST]);
        }
        payload.len()
    }

    fn encode_low(&mut self, sample: i32) -> u8 {
        let band = &mut self.low;
        // SUBTRA, QUANTL: a code is a sign and how many levels it exceeds, both counted from the loudest down.
        let difference = clip(sample - band.predicted);
        let magnitude = if difference < 0 { !difference } else { difference };
        let exceeded = LOW_LEVELS.partition_point(|level| magnitude >= (level * band.scale) >> 12) as u8;
        let code = match (difference < 0, exceeded) {
            (true, 0..2) => 63 - exceeded,
            (true, _) => 33 - exceeded,
            (false, _) => 61 - exceeded,
        };
        let coarse = usize::from(code >> 2);
        let difference = scaled(band.scale, LOW_VALUES_COARSE[coarse]);
        band.adapt_low_scale(coarse);
        band.adapt_prediction(difference);
        code
    }

    fn encode_high(&mut self, sample: i32) -> u8 {
        let band = &mut self.high;
        let difference = clip(sample - band.predicted);
        let magnitude = if difference < 0 { !difference } else { difference };
        let loud = magnitude >= (HIGH_LEVEL * band.scale) >> 12;
        let code = match (difference < 0, loud) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        let difference = scaled(band.scale, HIGH_VALUES[usize::from(code)]);
        band.adapt_high_scale(usize::from(code));
        band.adapt_prediction(difference);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::encoding;
    use super::super::{Codec, PAYLOAD_BYTES_MAX};
    use super::*;

    /// FNV-1a, to hold much sound by few digits.
    fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    fn hash_of_sound(pcm: &[f32]) -> u64 {
        hash(
            pcm.iter()
                .flat_map(|sample| ((sample * FULL_SCALE) as i16).to_le_bytes()),
        )
    }

    /// Chirps that fold over, in five loudnesses, the softest of which is silence.
    fn chirps() -> Vec<f32> {
        (0..4_800_i64)
            .map(|n| (((n * n * 7) % 20_001 - 10_000) * ((n / 160) % 5)) >> 2)
            .map(|sample| sample as f32 / FULL_SCALE)
            .collect()
    }

    fn encoder() -> Encoder {
        Encoder::new(encoding(Codec::G722, 20))
    }

    // The hashes in the next two are of what ffmpeg 5.1 (encoder and decoder `g722`) made of the same input.

    #[test]
    fn sound_becomes_the_bytes_that_another_encoder_makes_and_these_the_same_sound() {
        let mut payload = [0; 2_400];
        assert_eq!(encoder().encode(&chirps(), &mut payload), 2_400);
        assert_eq!(hash(payload), 0xf640_105f_2241_36ad);
        let mut pcm = [0.0; 4_800];
        Decoder::new().decode(&payload, &mut pcm);
        assert_eq!(hash_of_sound(&pcm), 0x730a_1c7d_61ff_c4d0);
    }

    #[test]
    fn bytes_that_no_encoder_makes_become_the_sound_that_another_decoder_makes_of_them() {
        let payload: Vec<u8> = (0..2_400_u32)
            .map(|i| ((i * i * 31 + i * 7) >> 3) as u8)
            .collect();
        let mut pcm = [0.0; 4_800];
        Decoder::new().decode(&payload, &mut pcm);
        assert_eq!(hash_of_sound(&pcm), 0xc8de_94d7_ac2c_727d);
    }

    #[test]
    fn it_does_not_matter_how_the_sound_is_cut_into_packets() {
        let sound = chirps();
        let mut whole = [0; 2_400];
        encoder().encode(&sound, &mut whole);
        for ptime_ms in [10, 20, 30, 50, 60] {
            let (mut encoder, mut decoder) = (encoder(), Decoder::new());
            let mut one_piece = Decoder::new();
            let mut payload = [0; PAYLOAD_BYTES_MAX];
            for (packet, expected) in sound.chunks(16 * ptime_ms).zip(whole.chunks(8 * ptime_ms)) {
                let bytes = encoder.encode(packet, &mut payload);
                assert_eq!(&payload[..bytes], expected);
                let mut pcm = vec![0.0; packet.len()];
                decoder.decode(expected, &mut pcm);
                let mut same = vec![0.0; packet.len()];
                for (byte, pair) in expected.iter().zip(same.chunks_mut(2)) {
                    one_piece.decode(&[*byte], pair);
                }
                assert_eq!(pcm, same, "{ptime_ms} ms");
            }
        }
    }

    #[test]
    fn no_code_is_made_that_the_recommendation_reserves() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut encoder = encoder();
        let mut payload = [0; 160];
        for round in 0..2_000 {
            let loudness = [0.0, 0.001, 0.3, 1.0][round / 10 % 4];
            let pcm: Vec<f32> = (0..320).map(|_| loudness * (2.0 * random.f32() - 1.0)).collect();
            encoder.encode(&pcm, &mut payload);
            assert!(payload.iter().all(|byte| byte & 0x3F >= 4), "round {round}");
        }
    }

    #[test]
    fn a_copied_encoder_is_a_twin_and_a_reset_decoder_is_new() {
        let sound = chirps();
        let (mut one, mut other) = (encoder(), encoder());
        let (mut bytes, mut same) = ([0; 1_200], [0; 1_200]);
        one.encode(&sound[..2_400], &mut bytes);
        other.clone_from(&one);
        one.encode(&sound[2_400..], &mut bytes);
        other.encode(&sound[2_400..], &mut same);
        assert_eq!(bytes, same);

        let mut decoder = Decoder::new();
        let (mut first, mut again) = ([0.0; 2_400], [0.0; 2_400]);
        decoder.decode(&bytes, &mut first);
        decoder.reset();
        decoder.decode(&bytes, &mut again);
        assert_eq!(first, again);
    }
}
