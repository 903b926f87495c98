//! The filters and the inner product that all stages are made of. Loops run over several outputs at a time and
//! take the terms of each in order, so that they vectorise and still sum as the text does.

use super::ORDER;

/// A linear predictor: ten coefficients after a leading 1.
pub type Lpc = [f32; ORDER + 1];

/// The predictor that predicts nothing.
pub const FLAT: Lpc = {
    let mut flat = [0.0; ORDER + 1];
    flat[0] = 1.0;
    flat
};

/// What is weaker than this (full scale is 32,768) is taken for zero, lest a filter rings on in denormal numbers.
const INAUDIBLE: f32 = 1e-12;

const LANES: usize = 16;

/// `out[n]` is the inner product of `pattern` with as much of `signal` from `n` on, which has
/// `pattern.len() + out.len() - 1` samples.
pub fn correlate(pattern: &[f32], signal: &[f32], out: &mut [f32]) {
    debug_assert!(signal.len() + 1 >= pattern.len() + out.len());
    let mut done = 0;
    while let Some(out) = out.get_mut(done..done + LANES) {
        out.copy_from_slice(&products::<LANES>(pattern, &signal[done..]));
        done += LANES;
    }
    while let Some(out) = out.get_mut(done..done + 4) {
        out.copy_from_slice(&products::<4>(pattern, &signal[done..]));
        done += 4;
    }
    for (n, out) in out.iter_mut().enumerate().skip(done) {
        [*out] = products::<1>(pattern, &signal[n..]);
    }
}

/// The first `N` inner products.
#[inline(always)]
fn products<const N: usize>(pattern: &[f32], signal: &[f32]) -> [f32; N] {
    let mut sums = [0.0; N];
    for (weight, window) in pattern.iter().zip(signal.windows(N)) {
        for (sum, sample) in sums.iter_mut().zip(window) {
            *sum += weight * sample;
        }
    }
    sums
}

pub fn energy(signal: &[f32]) -> f32 {
    signal.iter().map(|sample| sample * sample).sum()
}

/// Takes from each sample of `signal` what `lpc` predicts from the `ORDER` samples before it. The first `ORDER`
/// samples of `signal` are the state; `residual` is that much shorter.
pub fn predict(lpc: &Lpc, signal: &[f32], residual: &mut [f32]) {
    let mut backward = *lpc;
    backward.reverse();
    correlate(&backward, signal, residual);
}

/// Filters `signal` in place with 1 / `lpc`, but for its first `ORDER` samples, which are the state.
pub fn synthesise(lpc: &Lpc, signal: &mut [f32]) {
    // Four samples at a time: what the past adds to each of them is known before any of them is.
    const STEP: usize = 4;
    let mut rows = [[0.0; STEP]; ORDER];
    for (age, row) in rows.iter_mut().rev().enumerate() {
        let weights = &lpc[age + 1..(age + 1 + STEP).min(ORDER + 1)];
        row[..weights.len()].copy_from_slice(weights);
    }
    let mut at = ORDER;
    while at + STEP <= signal.len() {
        let (past, now) = signal[at - ORDER..at + STEP].split_at_mut(ORDER);
        let mut sums = [now[0], now[1], now[2], now[3]];
        for (row, sample) in rows.iter().zip(&*past) {
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum -= weight * sample;
            }
        }
        sums[1] -= lpc[1] * sums[0];
        sums[2] -= lpc[2] * sums[0] + lpc[1] * sums[1];
        sums[3] -= lpc[3] * sums[0] + lpc[2] * sums[1] + lpc[1] * sums[2];
        now.copy_from_slice(&sums);
        at += STEP;
    }
    for at in at..signal.len() {
        signal[at] += prediction(lpc, &signal[at - ORDER..at]);
    }
}

/// What `lpc` predicts from the last `ORDER` samples, the newest last.
pub fn prediction(lpc: &Lpc, past: &[f32]) -> f32 {
    let newest_first = past.iter().rev();
    -lpc[1..]
        .iter()
        .zip(newest_first)
        .map(|(weight, sample)| weight * sample)
        .sum::<f32>()
}

/// `lpc` with its poles drawn towards the origin by `factor` (bandwidth expansion).
pub fn expand_bandwidth(lpc: &Lpc, factor: f32) -> Lpc {
    let mut expanded = *lpc;
    let mut power = 1.0;
    for coefficient in &mut expanded[1..] {
        power *= factor;
        *coefficient *= power;
    }
    expanded
}

/// A high-pass filter of second order (§3.1, §4.8).
#[derive(Debug, Clone)]
pub struct HighPass {
    zeros: [f32; 3],
    poles: [f32; 3],
    input: [f32; 2],
    output: [f32; 2],
}

impl HighPass {
    pub const fn new(zeros: [f32; 3], poles: [f32; 3]) -> HighPass {
        HighPass {
            zeros,
            poles,
            input: [0.0; 2],
            output: [0.0; 2],
        }
    }

    pub fn filter(&mut self, signal: &mut [f32]) {
        for sample in signal {
            let zeros =
                self.zeros[0] * *sample + self.zeros[1] * self.input[0] + self.zeros[2] * self.input[1];
            self.input = [*sample, self.input[0]];
            *sample = zeros - self.poles[1] * self.output[0] - self.poles[2] * self.output[1];
            self.output = [*sample, self.output[0]];
        }
        settle(&mut self.output);
    }
}

/// Lets a state that nobody can hear any more come to rest.
pub fn settle(state: &mut [f32]) {
    if state.iter().all(|sample| sample.abs() < INAUDIBLE) {
        state.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inner_product_is_of_its_own_stretch() {
        let signal: Vec<f32> = (0..100).map(|n| ((n * n) % 17) as f32).collect();
        for (pattern, places) in [(1, 1), (3, 2), (8, 5), (11, 23), (40, 58), (80, 21)] {
            let pattern: Vec<f32> = (0..pattern).map(|n| (n % 5) as f32 - 2.0).collect();
            let mut products = vec![f32::NAN; places];
            correlate(&pattern, &signal[..pattern.len() + places - 1], &mut products);
            for (n, product) in products.iter().enumerate() {
                let expected: f32 = pattern.iter().zip(&signal[n..]).map(|(a, b)| a * b).sum();
                assert_eq!(*product, expected, "{} at {n}", pattern.len());
            }
        }
    }

    #[test]
    fn what_is_predicted_away_is_synthesised_again() {
        let lpc = [1.0, -1.2, 0.8, -0.3, 0.1, 0.05, -0.1, 0.07, 0.02, -0.04, 0.03];
        for samples in [1, 3, 4, 40, 57] {
            let signal: Vec<f32> = (0..ORDER + samples)
                .map(|n| ((n * n) % 23) as f32 - 11.0)
                .collect();
            let mut residual = vec![0.0; samples];
            predict(&lpc, &signal, &mut residual);
            let mut again = signal[..ORDER].to_vec();
            again.extend(residual);
            synthesise(&lpc, &mut again);
            for (again, sample) in again.iter().zip(&signal) {
                assert!(
                    (again - sample).abs() < 1e-3,
                    "{samples} samples: {again} for {sample}"
                );
            }
        }
    }

    #[test]
    fn the_high_pass_comes_to_rest() {
        use crate::codec::ilbc::tables::{OUTPUT_POLES, OUTPUT_ZEROS};

        let mut filter = HighPass::new(OUTPUT_ZEROS, OUTPUT_POLES);
        let mut frame = [1_000.0; 160];
        filter.filter(&mut frame);
        assert!(frame[159].abs() < 50.0, "a constant passes: {}", frame[159]);
        for _ in 0..100 {
            frame.fill(0.0);
            filter.filter(&mut frame);
            assert!(!frame.iter().any(|sample| sample.is_subnormal()));
        }
        assert_eq!(frame, [0.0; 160]);
    }
}
