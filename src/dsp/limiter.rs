//! Keeps a sum of voices within full scale without being heard.
//!
//! The gain is a line with one corner each millisecond: down in time for the loudest sample of the next
//! millisecond, up again slowly. Only a peak in the first millisecond of a tick can meet a gain that is still on
//! its way down; what is over then is clipped. After it every sample is finite and within ±1.

use crate::frame::Rate;
use crate::time::TICK;

/// Peaks up to here (−0.5 dBFS) pass untouched; louder ones come down to it.
const CEILING: f32 = 0.944;

/// The least gain (−60 dB: a thousand full-scale voices), so that one absurd sample does not silence a room for long.
const GAIN_MIN: f32 = 1e-3;

/// How much of the missing gain remains after one millisecond of release: a time constant of 150 ms.
const RELEASE: f32 = 0.993_355_5;

/// A gain this near to unity is unity.
const GAIN_SETTLED: f32 = 0.9999;

const STEPS: usize = TICK.as_millis() as usize;

/// The limiter of one signal. A copy goes on as the original would have.
#[derive(Debug, Clone, Copy)]
pub struct Limiter {
    /// What the last sample was multiplied by, 0 to 1.
    gain: f32,
}

impl Limiter {
    pub fn new() -> Limiter {
        Limiter { gain: 1.0 }
    }

    /// Limits one tick of a signal in place; samples that are no finite numbers become 0.
    ///
    /// # Panics
    ///
    /// When `pcm` is not one tick long: a mistake in the program, not in its input.
    pub fn process(&mut self, pcm: &mut [f32], rate: Rate) {
        assert_eq!(pcm.len(), rate.samples_per_tick());
        let mut peak = peak_bits(pcm);
        if peak >= f32::INFINITY.to_bits() as i32 {
            silence_what_is_not_finite(pcm);
            peak = peak_bits(pcm);
        }
        if self.gain == 1.0 && f32::from_bits(peak as u32) <= CEILING {
            return;
        }
        match rate {
            Rate::Hz8000 => self.limit::<{ Rate::Hz8000.samples_per_ms() }>(pcm),
            Rate::Hz16000 => self.limit::<{ Rate::Hz16000.samples_per_ms() }>(pcm),
            Rate::Hz48000 => self.limit::<{ Rate::Hz48000.samples_per_ms() }>(pcm),
        }
    }

    /// The gain now, 0 to 1.
    pub fn gain(&self) -> f32 {
        self.gain
    }

    fn limit<const SAMPLES_PER_MS: usize>(&mut self, pcm: &mut [f32]) {
        let (steps, _) = pcm.as_chunks_mut::<SAMPLES_PER_MS>();
        // One more than there are steps: nothing is known of the next tick, so nothing is asked for it.
        let mut allowed = [1.0; STEPS + 1];
        for (allowed, step) in allowed.iter_mut().zip(steps.iter()) {
            let peak = f32::from_bits(peak_bits_portable(step) as u32);
            *allowed = if peak > CEILING {
                (CEILING / peak).max(GAIN_MIN)
            } else {
                1.0
            };
        }
        for (step, allowed) in steps.iter_mut().zip(allowed.windows(2)) {
            let released = 1.0 - (1.0 - self.gain) * RELEASE;
            let released = if released > GAIN_SETTLED { 1.0 } else { released };
            let target = released.min(allowed[0]).min(allowed[1]);
            let slope = (target - self.gain) / SAMPLES_PER_MS as f32;
            for (left, sample) in (0..SAMPLES_PER_MS as i32).rev().zip(step) {
                *sample = (*sample * (target - slope * left as f32)).clamp(-1.0, 1.0);
            }
            self.gain = target;
        }
    }
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter::new()
    }
}

/// The largest magnitude in `pcm`, as its bits: these order like the numbers, with infinity and all that is no
/// number above every finite one.
fn peak_bits(pcm: &[f32]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2_fma() {
        // SAFETY: AVX2 was found just now.
        return unsafe { peak_bits_avx2(pcm) };
    }
    peak_bits_portable(pcm)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn peak_bits_avx2(pcm: &[f32]) -> i32 {
    peak_bits_portable(pcm)
}

/// Integers, unlike floats, may be compared in any order: the compiler vectorises this for each of its callers.
#[inline(always)]
fn peak_bits_portable(pcm: &[f32]) -> i32 {
    pcm.iter()
        .map(|sample| (sample.to_bits() & (u32::MAX >> 1)) as i32)
        .fold(0, i32::max)
}

#[cold]
fn silence_what_is_not_finite(pcm: &mut [f32]) {
    for sample in pcm {
        if !sample.is_finite() {
            *sample = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: Rate, hz: f32, amplitude: f32) -> Vec<f32> {
        (0..rate.hz())
            .map(|i| amplitude * (std::f32::consts::TAU * hz * i as f32 / rate.hz() as f32).sin())
            .collect()
    }

    fn limit(limiter: &mut Limiter, pcm: &[f32], rate: Rate) -> Vec<f32> {
        let mut output = pcm.to_vec();
        output
            .chunks_exact_mut(rate.samples_per_tick())
            .for_each(|tick| limiter.process(tick, rate));
        output
    }

    #[test]
    fn what_stays_below_the_ceiling_is_not_touched() {
        for rate in Rate::ALL {
            let pcm = sine(rate, 440.0, 0.94);
            assert_eq!(limit(&mut Limiter::new(), &pcm, rate), pcm);
        }
    }

    #[test]
    fn whatever_comes_in_what_goes_out_is_finite_and_within_full_scale() {
        let mut random = fastrand::Rng::with_seed(3);
        for rate in Rate::ALL {
            let mut limiter = Limiter::new();
            for _ in 0..200 {
                let mut pcm: Vec<f32> = (0..rate.samples_per_tick())
                    .map(|_| f32::from_bits(random.u32(..)))
                    .collect();
                limiter.process(&mut pcm, rate);
                assert!(pcm.iter().all(|sample| sample.is_finite() && sample.abs() <= 1.0));
                assert!((GAIN_MIN..=1.0).contains(&limiter.gain()));
            }
        }
    }

    #[test]
    fn what_is_no_number_becomes_silence_and_its_neighbours_stay() {
        let mut pcm = vec![0.5; 160];
        (pcm[3], pcm[80], pcm[159]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        Limiter::new().process(&mut pcm, Rate::Hz8000);
        for (i, sample) in pcm.into_iter().enumerate() {
            assert_eq!(sample, if [3, 80, 159].contains(&i) { 0.0 } else { 0.5 });
        }
    }

    #[test]
    fn a_loud_tone_comes_down_to_the_ceiling_as_a_tone() {
        for rate in Rate::ALL {
            let output = limit(&mut Limiter::new(), &sine(rate, 440.0, 4.0), rate);
            let settled = &output[rate.samples_per_tick()..];
            let peak = settled.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            // Within a millisecond at the start of a tick the gain is still coming down from a little release.
            assert!(
                (CEILING - 1e-3..CEILING * 1.01).contains(&peak),
                "{rate:?}: {peak}"
            );
            // A sine of that peak has a level 3 dB below it; clipping would leave more.
            let level = super::super::level_dbfs(settled);
            assert!((level + 3.01 + 0.5).abs() < 0.15, "{rate:?}: {level}");
        }
    }

    #[test]
    fn a_peak_inside_a_tick_is_met_by_a_gain_already_down() {
        let rate = Rate::Hz48000;
        let mut pcm = vec![0.1; 960];
        pcm[500] = 3.0;
        Limiter::new().process(&mut pcm, rate);
        assert!((pcm[500] - CEILING).abs() < 1e-4, "{}", pcm[500]);
        assert_eq!(pcm[400], 0.1);
        // No step of the gain is larger than a millisecond's ramp allows.
        let without_peak: Vec<f32> = pcm.iter().copied().filter(|sample| *sample < 0.5).collect();
        assert!(
            without_peak
                .windows(2)
                .all(|pair| (pair[1] - pair[0]).abs() < 0.1 * 1.0 / 40.0)
        );
    }

    #[test]
    fn at_most_the_first_millisecond_of_a_sudden_noise_is_clipped() {
        let rate = Rate::Hz48000;
        let mut pcm: Vec<f32> = sine(rate, 1000.0, 8.0)[..960].to_vec();
        Limiter::new().process(&mut pcm, rate);
        assert!(pcm[..48].iter().any(|sample| sample.abs() == 1.0));
        assert!(pcm[48..].iter().all(|sample| sample.abs() <= CEILING * 1.001));
    }

    #[test]
    fn the_gain_comes_back_in_some_hundred_milliseconds() {
        let rate = Rate::Hz16000;
        let mut limiter = Limiter::new();
        limit(&mut limiter, &sine(rate, 440.0, 2.0), rate);
        assert!(limiter.gain() < 0.5);
        let mut pcm = [0.01; 320];
        let mut gains = vec![limiter.gain()];
        while limiter.gain() < 1.0 && gains.len() < 200 {
            pcm.fill(0.01);
            limiter.process(&mut pcm, rate);
            gains.push(limiter.gain());
        }
        assert!(gains.is_sorted());
        // Half of what was missing is back after 104 ms, all of it within 1.5 s.
        assert!(gains[3] < 0.72 && gains[8] > 0.75, "{gains:?}");
        assert!(gains.len() < 75, "{}", gains.len());
        pcm.fill(0.01);
        limiter.process(&mut pcm, rate);
        assert_eq!(pcm, [0.01; 320]);
    }

    #[test]
    fn one_absurd_sample_is_forgotten_within_two_seconds() {
        let mut limiter = Limiter::new();
        let mut pcm = [0.1; 160];
        pcm[80] = f32::MAX;
        limiter.process(&mut pcm, Rate::Hz8000);
        for _ in 0..100 {
            limiter.process(&mut [0.1; 160], Rate::Hz8000);
        }
        assert_eq!(limiter.gain(), 1.0);
    }

    #[test]
    fn the_peak_is_found_wherever_it_lies_on_every_path() {
        for len in [1, 31, 33, 160, 161] {
            for at in 0..len {
                let mut pcm = vec![0.25; len];
                pcm[at] = -0.5;
                assert_eq!(f32::from_bits(peak_bits(&pcm) as u32), 0.5);
                assert_eq!(peak_bits_portable(&pcm), peak_bits(&pcm));
            }
        }
    }
}
