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
    let mut backward = [0.0; ORDER];
    backward.copy_from_slice(&lpc[1..]);
    backward.reverse();
    for n in ORDER..signal.len() {
        // The newest output comes last: all but its term can be summed before it is known.
        let (past, rest) = signal[n - ORDER..].split_at_mut(ORDER);
        for (weight, sample) in backward.iter().zip(&*past) {
            rest[0] -= weight * sample;
        }
    }
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
