//! Finds the lag at which sound is most like itself: its pitch period, or a multiple of it.
//!
//! First on every sample that 8 kHz would have, then around the best of those on all samples.

use std::ops::RangeInclusive;

use crate::frame::Rate;

/// The shortest and longest lag, in tenths of a millisecond: 400 to 67 Hz, as most talkers are.
const LAG_MIN_TENTHS: usize = 25;
const LAG_MAX_TENTHS: usize = 150;

pub(super) const fn lag_min(rate: Rate) -> usize {
    rate.samples_per_ms() * LAG_MIN_TENTHS / 10
}

pub(super) const fn lag_max(rate: Rate) -> usize {
    rate.samples_per_ms() * LAG_MAX_TENTHS / 10
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lag {
    pub samples: usize,
    /// Of the two windows, −1.0 to 1.0; zero when one of them is silent.
    pub correlation: f32,
}

/// Compares the first `window` samples of `sound` with those that start later, up to `lag_limit`.
/// `sound` holds at least `window + lag_limit` samples.
pub(super) fn lag_of_start(sound: &[f32], rate: Rate, window: usize, lag_limit: usize) -> Lag {
    best(
        rate,
        lag_limit.min(sound.len().saturating_sub(window)),
        |lag, stride| correlation(&sound[..window], &sound[lag..lag + window], stride),
    )
}

/// Compares the last `window` samples of `sound` with those that end earlier.
/// `sound` holds at least `window + lag_max(rate)` samples.
pub(super) fn lag_of_end(sound: &[f32], rate: Rate, window: usize) -> Lag {
    let start = sound.len().saturating_sub(window);
    best(rate, lag_max(rate).min(start), |lag, stride| {
        correlation(&sound[start..], &sound[start - lag..sound.len() - lag], stride)
    })
}

/// As `lag_of_end`, but of these lags only, each tried on all samples: with a short window, the lag that fits the shape of
/// the very end. `sound` holds more than `window` samples, and lags that it does not reach are passed over.
pub(super) fn lag_among(sound: &[f32], rate: Rate, window: usize, lags: RangeInclusive<usize>) -> Lag {
    let start = sound.len().saturating_sub(window);
    let lags = (*lags.start()).max(lag_min(rate))..=(*lags.end()).min(lag_max(rate)).min(start);
    among(lags, 1, |lag| {
        correlation(&sound[start..], &sound[start - lag..sound.len() - lag], 1)
    })
}

fn best(rate: Rate, lag_limit: usize, correlation_at: impl Fn(usize, usize) -> f32) -> Lag {
    let stride = rate.samples_per_ms() / Rate::Hz8000.samples_per_ms();
    let (least, most) = (lag_min(rate), lag_limit.min(lag_max(rate)));
    if most < least {
        return Lag {
            samples: most,
            correlation: 0.0,
        };
    }
    let coarse = among(least..=most, stride, |lag| correlation_at(lag, stride));
    let from = coarse.samples.saturating_sub(stride - 1).max(least);
    among(from..=(coarse.samples + stride - 1).min(most), 1, |lag| {
        correlation_at(lag, 1)
    })
}

fn among(lags: RangeInclusive<usize>, step: usize, correlation_at: impl Fn(usize) -> f32) -> Lag {
    let mut best = Lag {
        samples: *lags.start(),
        correlation: f32::MIN,
    };
    for samples in lags.step_by(step) {
        let correlation = correlation_at(samples);
        if correlation > best.correlation {
            best = Lag { samples, correlation };
        }
    }
    best
}

/// Normalised correlation of two windows of one length, on every `stride`th sample.
fn correlation(a: &[f32], b: &[f32], stride: usize) -> f32 {
    let (ab, aa, bb) = if stride == 1 {
        products(a, b)
    } else {
        products_strided(a, b, stride)
    };
    // A sum of squares below this is silence, and a number too small to divide by.
    let energy = aa * bb;
    if energy > 1.0e-12 { ab / energy.sqrt() } else { 0.0 }
}

fn products(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    const LANES: usize = 8;
    let (mut ab, mut aa, mut bb) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            ab[lane] += a[lane] * b[lane];
            aa[lane] += a[lane] * a[lane];
            bb[lane] += b[lane] * b[lane];
        }
    }
    let rest = products_strided(a_rest, b_rest, 1);
    let sum = |lanes: [f32; LANES]| lanes.iter().sum::<f32>();
    (sum(ab) + rest.0, sum(aa) + rest.1, sum(bb) + rest.2)
}

fn products_strided(a: &[f32], b: &[f32], stride: usize) -> (f32, f32, f32) {
    let pairs = a.iter().step_by(stride).zip(b.iter().step_by(stride));
    pairs.fold((0.0, 0.0, 0.0), |(ab, aa, bb), (a, b)| {
        (ab + a * b, aa + a * a, bb + b * b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_buzz_is_found_at_every_rate() {
        for rate in Rate::ALL {
            let period = rate.samples_per_ms() * 7 + 3;
            let buzz: Vec<f32> = (0..rate.samples_per_ms() * 40)
                .map(|n| (-((n % period) as f32) / 20.0).exp())
                .collect();
            let window = rate.samples_per_ms() * 12;
            for lag in [
                lag_of_end(&buzz, rate, window),
                lag_of_start(&buzz, rate, window, lag_max(rate)),
            ] {
                assert_eq!(lag.samples % period, 0, "{rate:?}");
                assert!(lag.correlation > 0.99, "{rate:?}: {lag:?}");
            }
        }
    }

    #[test]
    fn a_pitch_that_glides_is_fitted_to_the_last_period() {
        let rate = Rate::Hz16000;
        // The period shortens by a sample each time; the last begins 101 after the one before.
        let mut buzz = vec![];
        for period in (100..130).rev() {
            buzz.extend((0..period).map(|n| (-(n as f32) / 20.0).exp()));
        }
        let window = 4 * rate.samples_per_ms();
        assert_eq!(lag_among(&buzz, rate, 2 * window, 93..=123).samples, 101);
        assert_eq!(lag_among(&[0.0; 640], rate, window, 93..=123).correlation, 0.0);
    }

    #[test]
    fn silence_is_like_nothing() {
        assert_eq!(lag_of_end(&[0.0; 320], Rate::Hz8000, 96).correlation, 0.0);
    }
}
