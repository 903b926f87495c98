//! Adding voices, taking a listener's own voice out again, and fading.
//!
//! Plain loops over slices of equal length that the compiler vectorises. Sums are wider than a sample is allowed
//! to be: nothing clips here, the limiter comes after.

use crate::frame::Rate;

/// Adds one tick of a voice to the sum of the room.
pub fn add(total: &mut [f32], voice: &[f32]) {
    debug_assert_eq!(total.len(), voice.len());
    for (total, voice) in total.iter_mut().zip(voice) {
        *total += voice;
    }
}

/// Takes a listener's own voice out of the sum of the room: what that listener hears, before the limiter.
pub fn mix_minus(total: &[f32], own: &[f32], heard: &mut [f32]) {
    debug_assert_eq!(total.len(), own.len());
    debug_assert_eq!(total.len(), heard.len());
    for ((heard, total), own) in heard.iter_mut().zip(total).zip(own) {
        *heard = total - own;
    }
}

/// Multiplies by a gain that goes in a straight line from `from` (the gain of the sample before this slice) to
/// `to` (the gain of its last sample), so that slices in a row make one unbroken line and equal gains are exact.
pub fn ramp(pcm: &mut [f32], from: f32, to: f32) {
    let Ok(len) = i32::try_from(pcm.len()) else {
        debug_assert!(false, "a slice of more than 2^31 samples");
        return;
    };
    let step = (to - from) / len.max(1) as f32;
    for (left, sample) in (0..len).rev().zip(pcm) {
        *sample *= to - step * left as f32;
    }
}

/// How far a decoder may overshoot full scale and leave it to the limiter: 12 dB.
const OVERSHOOT_MAX: f32 = 4.0;

/// Makes every sample one that can be calculated with: what is no number, or so small that it takes a processor long,
/// becomes 0; what is beyond 12 dB over full scale becomes that.
pub fn saturate(pcm: &mut [f32]) {
    for sample in pcm {
        let kept = if sample.abs() >= f32::MIN_POSITIVE {
            *sample
        } else {
            0.0
        };
        *sample = kept.clamp(-OVERSHOOT_MAX, OVERSHOOT_MAX);
    }
}

/// A step between what was heard and what comes next is spread over this long.
const DECLICK_MS: usize = 5;

/// Lets a frame begin where the last one ended: the step from `last` to its first sample decays linearly over 5 ms.
/// The frame is no shorter than that, and at `rate`.
pub fn declick(frame: &mut [f32], last: f32, rate: Rate) {
    let len = DECLICK_MS * rate.samples_per_ms();
    let step = last - frame[0];
    for (index, sample) in frame[..len].iter_mut().enumerate() {
        *sample += step * (1.0 - index as f32 / len as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_less_ones_own_voice_is_the_sum_of_the_others() {
        let voices: Vec<Vec<f32>> = (1..=3)
            .map(|voice| (0..160).map(|i| ((i * voice) as f32 * 0.1).sin() * 0.9).collect())
            .collect();
        let mut total = vec![0.0; 160];
        for voice in &voices {
            add(&mut total, voice);
        }
        assert!(
            total.iter().any(|sample| sample.abs() > 1.0),
            "a sum may leave the range of a sample"
        );
        let mut heard = vec![0.0; 160];
        mix_minus(&total, &voices[1], &mut heard);
        for i in 0..160 {
            assert!((heard[i] - voices[0][i] - voices[2][i]).abs() < 1e-6);
        }
    }

    #[test]
    fn a_ramp_is_a_straight_line_that_ends_exactly() {
        let mut pcm = vec![1.0; 960];
        ramp(&mut pcm, 0.0, 1.0);
        assert!((pcm[0] - 1.0 / 960.0).abs() < 1e-6);
        assert!((pcm[479] - 0.5).abs() < 1e-6);
        assert_eq!(pcm[959], 1.0);
        ramp(&mut pcm, 1.0, 0.0);
        assert_eq!(pcm[959], 0.0);
        assert!(pcm.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.003));
    }

    #[test]
    fn whatever_a_decoder_gives_becomes_finite_bounded_and_quick_to_calculate_with() {
        let tiny = f32::MIN_POSITIVE / 2.0;
        for (given, kept) in [
            (f32::NAN, 0.0),
            (-f32::NAN, 0.0),
            (f32::INFINITY, 4.0),
            (f32::NEG_INFINITY, -4.0),
            (f32::MAX, 4.0),
            (-32_768.0, -4.0),
            (tiny, 0.0),
            (-tiny, 0.0),
            (1.3, 1.3),
            (-1.0, -1.0),
            (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
        ] {
            let mut pcm = [0.25; 163];
            pcm[7] = given;
            pcm[161] = given;
            saturate(&mut pcm);
            assert_eq!((pcm[7], pcm[161], pcm[8]), (kept, kept, 0.25), "{given:e}");
        }
        let mut chance = fastrand::Rng::with_seed(3);
        for _ in 0..2_000 {
            let mut pcm: Vec<f32> = (0..160).map(|_| f32::from_bits(chance.u32(..))).collect();
            saturate(&mut pcm);
            assert!(
                pcm.iter()
                    .all(|sample| sample.abs() <= 4.0 && !sample.is_subnormal())
            );
        }
    }

    #[test]
    fn a_ramp_between_equal_gains_changes_nothing_else() {
        let voice: Vec<f32> = (0..320).map(|i| (i as f32 * 0.3).sin()).collect();
        let mut pcm = voice.clone();
        ramp(&mut pcm, 1.0, 1.0);
        assert_eq!(pcm, voice);
        ramp(&mut [], 1.0, 0.0);
    }
}
