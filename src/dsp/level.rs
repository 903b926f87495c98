//! How loud a tick of a voice is.
//!
//! Levels are the root mean square of the samples against full scale 1.0 (dBov: a full-scale square wave is
//! 0 dBFS, a full-scale sine −3.01 dBFS), the measure of RFC 6464 §3 with its sign.

/// The level of digital silence, and the lowest that is told (RFC 6464 §3).
pub const LEVEL_DBFS_MIN: f32 = -127.0;

/// The level of `pcm` in dBFS; [`LEVEL_DBFS_MIN`] for silence, for an empty slice and for samples that are no numbers.
pub fn level_dbfs(pcm: &[f32]) -> f32 {
    power_to_dbfs(mean_square(pcm))
}

/// The mean of the squared samples, so 1.0 at 0 dBFS.
pub fn mean_square(pcm: &[f32]) -> f32 {
    if pcm.is_empty() {
        0.0
    } else {
        sum_of_squares(pcm) / pcm.len() as f32
    }
}

/// A mean square as a level.
pub fn power_to_dbfs(power: f32) -> f32 {
    // `max` answers with the other side when one is no number.
    (10.0 * power.log10()).max(LEVEL_DBFS_MIN)
}

/// A level as a mean square.
pub fn dbfs_to_power(dbfs: f32) -> f32 {
    10f32.powf(dbfs / 10.0)
}

fn sum_of_squares(pcm: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2_fma() {
        // SAFETY: AVX2 and FMA were found just now.
        return unsafe { sum_of_squares_avx2(pcm) };
    }
    sum_of_squares_portable(pcm)
}

fn sum_of_squares_portable(pcm: &[f32]) -> f32 {
    sum_of_squares_in_lanes::<16>(pcm, |sample, sum| sample * sample + sum)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sum_of_squares_avx2(pcm: &[f32]) -> f32 {
    sum_of_squares_in_lanes::<32>(pcm, |sample, sum| sample.mul_add(sample, sum))
}

/// Several sums side by side: a single one would make each addition wait for the one before.
#[inline(always)]
fn sum_of_squares_in_lanes<const LANES: usize>(pcm: &[f32], add_square: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (blocks, rest) = pcm.as_chunks::<LANES>();
    for block in blocks {
        for (sum, sample) in sums.iter_mut().zip(block) {
            *sum = add_square(*sample, *sum);
        }
    }
    for (sum, sample) in sums.iter_mut().zip(rest) {
        *sum = add_square(*sample, *sum);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Rate;

    #[test]
    fn a_full_scale_sine_is_three_decibels_below_a_full_scale_square() {
        for rate in Rate::ALL {
            let samples = rate.samples_per_tick();
            let square: Vec<f32> = (0..samples)
                .map(|i| if i / 4 % 2 == 0 { 1.0 } else { -1.0 })
                .collect();
            let sine: Vec<f32> = (0..samples)
                .map(|i| (std::f32::consts::TAU * 400.0 * i as f32 / rate.hz() as f32).sin())
                .collect();
            assert!(level_dbfs(&square).abs() < 0.001);
            assert!((level_dbfs(&sine) + 3.01).abs() < 0.01, "{}", level_dbfs(&sine));
            let quiet: Vec<f32> = sine.iter().map(|sample| sample * 0.001).collect();
            assert!((level_dbfs(&quiet) + 63.01).abs() < 0.01);
        }
    }

    #[test]
    fn silence_nothing_and_what_is_no_number_have_the_lowest_level() {
        assert_eq!(level_dbfs(&[0.0; 160]), LEVEL_DBFS_MIN);
        assert_eq!(level_dbfs(&[]), LEVEL_DBFS_MIN);
        assert_eq!(level_dbfs(&[f32::NAN; 160]), LEVEL_DBFS_MIN);
        assert_eq!(level_dbfs(&[1e-10; 160]), LEVEL_DBFS_MIN);
    }

    #[test]
    fn every_length_counts_every_sample_on_every_path() {
        for len in 1..200 {
            let pcm: Vec<f32> = (0..len).map(|i| 0.1 + i as f32 / 100.0).collect();
            let exact: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
            for sum in [sum_of_squares(&pcm), sum_of_squares_portable(&pcm)] {
                assert!(
                    (f64::from(sum) / exact - 1.0).abs() < 1e-6,
                    "{len} samples: {sum} for {exact}"
                );
            }
        }
    }

    #[test]
    fn level_and_power_are_each_others_inverse() {
        for dbfs in [-100.0, -60.0, -3.0, 0.0, 6.0] {
            assert!((power_to_dbfs(dbfs_to_power(dbfs)) - dbfs).abs() < 1e-3);
        }
    }
}
