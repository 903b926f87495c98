//! The enhancer (RFC 3951 §4.6): the excitation is drawn towards the mean of its neighbouring pitch cycles, which
//! takes away noise of the coding, within a limit that leaves onsets alone. It looks one or two subframes ahead,
//! so that is its delay.
//!
//! After a loss it also mends the end of what was concealed, once the frame after it has come (§4.5.3).

use super::filter::{correlate, energy};
use super::tables::{DECIMATION_FILTER, UPSAMPLING_FILTERS};
use super::{Mode, SAMPLES_MAX};

/// Samples that are enhanced at a time.
const BLOCK: usize = 80;
/// Blocks of excitation that are kept.
const BLOCKS: usize = 8;
const KEPT: usize = BLOCKS * BLOCK;
/// Pitch cycles to each side.
const CYCLES: usize = 3;
/// How much of the energy may be changed.
const CHANGE_MAX: f32 = 0.05;
/// How far a cycle is looked for around its expected place, in samples.
const SLACK: usize = 2;
const PHASES: usize = UPSAMPLING_FILTERS.len();
/// Samples to each side of the centre of an upsampling filter.
const REACH: usize = UPSAMPLING_FILTERS[0].len() / 2;
/// The weights of three cycles before, the block itself (of which it is no mean), and three cycles after.
const WEIGHTS: [f32; 2 * CYCLES + 1] = [0.146_446_6, 0.5, 0.853_553_4, 0.0, 0.853_553_4, 0.5, 0.146_446_6];

/// Lags of the pitch search, in samples at 4 kHz.
const LAG_MIN: usize = 10;
const LAG_END: usize = 60;

/// The excitation and its pitch, as far back as three cycles reach.
#[derive(Debug, Clone)]
pub struct Enhancer {
    mode: Mode,
    excitation: [f32; KEPT],
    /// The pitch period in each block, in samples.
    periods: [f32; BLOCKS],
    was_lost: bool,
}

impl Enhancer {
    pub const fn new(mode: Mode) -> Enhancer {
        Enhancer {
            mode,
            excitation: [0.0; KEPT],
            periods: [40.0; BLOCKS],
            was_lost: false,
        }
    }

    /// Samples that what comes out is behind what went in: one subframe, or two.
    pub const fn delay(mode: Mode) -> usize {
        match mode {
            Mode::Ms20 => 40,
            Mode::Ms30 => 80,
        }
    }

    /// Takes one frame of excitation and fills `out` with one that is enhanced. Returns the pitch period at the end,
    /// in samples. (The program printed in the RFC returns twice the period of the beginning after a loss, which is
    /// not what its concealment looks for.)
    pub fn enhance(&mut self, frame: &[f32], is_lost: bool, out: &mut [f32]) -> usize {
        let samples = self.mode.samples();
        let blocks = samples / BLOCK;
        self.excitation.copy_within(samples.., 0);
        self.excitation[KEPT - samples..].copy_from_slice(frame);
        self.periods.copy_within(blocks.., 0);
        let lag = self.estimate_pitch(blocks);
        if self.was_lost {
            self.mend(blocks);
        }
        self.was_lost = is_lost;
        let begin = KEPT - samples - Enhancer::delay(self.mode);
        for (n, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let cycles = self.cycles(begin + n * BLOCK);
            smooth(&cycles, out);
        }
        lag
    }

    /// The pitch of the last `blocks` blocks, at half the rate (§4.6.1). Returns the last one.
    fn estimate_pitch(&mut self, blocks: usize) -> usize {
        const HISTORY: usize = LAG_END;
        const HALF_BLOCK: usize = BLOCK / 2;
        const CENTRE: usize = DECIMATION_FILTER.len() / 2;
        let halved = HISTORY + blocks * HALF_BLOCK;
        let begin = KEPT - 2 * halved - CENTRE;
        let mut padded = [0.0; 2 * HISTORY + SAMPLES_MAX + 2 * CENTRE];
        padded[..KEPT - begin].copy_from_slice(&self.excitation[begin..]);
        let mut decimated = [0.0; HISTORY + SAMPLES_MAX / 2];
        for (sample, window) in decimated[..halved]
            .iter_mut()
            .zip(padded.windows(DECIMATION_FILTER.len()).step_by(2))
        {
            *sample = window.iter().zip(&DECIMATION_FILTER).map(|(a, b)| a * b).sum();
        }
        let mut lag = LAG_MIN;
        for n in 0..blocks {
            let at = HISTORY + n * HALF_BLOCK;
            lag = best_lag(&decimated[..at + HALF_BLOCK], HALF_BLOCK);
            self.periods[BLOCKS - blocks + n] = 2.0 * lag as f32;
        }
        2 * lag
    }

    /// Fades from the concealed end of what went before into the new frame's first cycle, repeated backwards.
    fn mend(&mut self, blocks: usize) {
        let length = Enhancer::delay(self.mode);
        let (before, frame) = self.excitation.split_at_mut(KEPT - self.mode.samples());
        let estimate = self.periods[BLOCKS - blocks] as usize;
        let (mut lag, mut most) = (estimate - 1, f32::MIN);
        for candidate in estimate - 1..=estimate + 1 {
            let likeness = likeness(&frame[..length], &frame[candidate..][..length]);
            if likeness > most {
                (lag, most) = (candidate, likeness);
            }
        }
        self.periods[BLOCKS - blocks - 1] = lag as f32;

        let mut backward = [0.0; BLOCK];
        let backward = &mut backward[..length];
        let cycle = lag.min(length);
        backward[length - cycle..].copy_from_slice(&frame[lag - cycle..lag]);
        let rest = length - cycle;
        backward[..rest].copy_from_slice(&before[before.len() - rest..]);

        let concealed_at = before.len() - length;
        let concealed = &mut before[concealed_at..];
        let (rms, limit) = (energy(backward).sqrt(), 2.0 * energy(concealed).sqrt());
        if rms > limit {
            const RAMP: usize = 10;
            for (n, sample) in backward.iter_mut().enumerate() {
                let ramp = (n + RAMP).saturating_sub(length) as f32 / RAMP as f32;
                *sample *= limit / rms + ramp * (1.0 - limit / rms);
            }
        }
        for (n, (concealed, backward)) in concealed.iter_mut().zip(backward).enumerate() {
            let share = (length - n) as f32 / (length + 1) as f32;
            *concealed = share * *concealed + (1.0 - share) * *backward;
        }
    }

    /// The block at `begin` and, aligned with it, the cycles before and after it (§4.6.2); silence in place of those
    /// that lie beyond what is kept.
    fn cycles(&self, begin: usize) -> [[f32; BLOCK]; 2 * CYCLES + 1] {
        const MARGIN: f32 = 2.0;
        const HALF_BLOCK: f32 = (BLOCK / 2) as f32;
        let mut cycles = [[0.0; BLOCK]; 2 * CYCLES + 1];
        cycles[CYCLES].copy_from_slice(&self.excitation[begin..][..BLOCK]);

        let own = self.nearest_block(begin as f32 + HALF_BLOCK - 0.5, 0.0);
        let (mut at, mut block) = (begin as f32, own);
        for cycle in cycles[..CYCLES].iter_mut().rev() {
            let period = self.periods[block];
            at -= period;
            block = self.nearest_block(at + HALF_BLOCK - period, 0.0);
            if at >= MARGIN {
                at = self.align(begin, at, cycle);
            }
        }
        at = begin as f32;
        for cycle in &mut cycles[CYCLES + 1..] {
            // The block from which one period back leads here.
            block = self.nearest_block(at + HALF_BLOCK, 1.0);
            at += self.periods[block];
            if at + BLOCK as f32 + MARGIN < KEPT as f32 {
                at = self.align(begin, at, cycle);
            }
        }
        cycles
    }

    /// The block whose centre, less so many of its periods, is nearest to `position`.
    fn nearest_block(&self, position: f32, periods: f32) -> usize {
        let (mut nearest, mut least) = (0, f32::MAX);
        for (block, period) in self.periods.iter().enumerate() {
            let centre = (block * BLOCK + BLOCK / 2) as f32 - periods * period;
            let distance = (centre - position).abs();
            if distance < least {
                (nearest, least) = (block, distance);
            }
        }
        nearest
    }

    /// Finds the stretch around `expected` that is most like the block at `begin`, to a quarter of a sample, writes
    /// it to `cycle` and returns where it is.
    fn align(&self, begin: usize, expected: f32, cycle: &mut [f32; BLOCK]) -> f32 {
        let rounded = (expected - 0.5) as usize;
        let low = rounded.saturating_sub(SLACK);
        let high = (rounded + SLACK).min(KEPT - BLOCK - 1);
        let places = high - low + 1;
        let mut products = [0.0; 2 * SLACK + 1];
        correlate(
            &self.excitation[begin..][..BLOCK],
            &self.excitation[low..],
            &mut products[..places],
        );
        // In quarters of a sample.
        let (mut best, mut most) = (0, f32::MIN);
        for quarter in 0..places * PHASES {
            let product = upsampled(&products[..places], quarter);
            if product > most {
                (best, most) = (quarter, product);
            }
        }
        let whole = best.div_ceil(PHASES);
        let mut padded = [0.0; BLOCK + 2 * REACH];
        for (n, sample) in padded.iter_mut().enumerate() {
            if let Some(kept) = (low + whole + n)
                .checked_sub(REACH)
                .and_then(|at| self.excitation.get(at))
            {
                *sample = *kept;
            }
        }
        correlate(&UPSAMPLING_FILTERS[whole * PHASES - best], &padded, cycle);
        low as f32 + best as f32 / PHASES as f32 + 1.0
    }
}

/// `signal`, at most five samples with zeros around it, between its samples.
fn upsampled(signal: &[f32], quarter: usize) -> f32 {
    let (at, filter) = (quarter / PHASES, &UPSAMPLING_FILTERS[quarter % PHASES]);
    // Two samples to each side suffice.
    (1..2 * REACH)
        .filter_map(|k| Some(filter[k] * signal.get((at + REACH).checked_sub(k)?)?))
        .sum()
}

/// Draws the block in the middle towards the weighted mean of the others (§4.6.3 to §4.6.5): as far as that goes
/// without changing more than its share of the energy.
fn smooth(cycles: &[[f32; BLOCK]; 2 * CYCLES + 1], out: &mut [f32]) {
    let own = &cycles[CYCLES];
    let mut mean = [0.0; BLOCK];
    for (cycle, weight) in cycles.iter().zip(WEIGHTS) {
        for (mean, sample) in mean.iter_mut().zip(cycle) {
            *mean += weight * sample;
        }
    }
    let own_energy = energy(own);
    let mean_energy = energy(&mean).max(1.0);
    let product: f32 = own.iter().zip(&mean).map(|(own, mean)| own * mean).sum();
    let level = (own_energy / mean_energy).sqrt();
    let change: f32 = own
        .iter()
        .zip(&mean)
        .map(|(own, mean)| (own - level * mean) * (own - level * mean))
        .sum();
    let (of_mean, of_own) = if change <= CHANGE_MAX * own_energy {
        (level, 0.0)
    } else {
        let own_energy = own_energy.max(1.0);
        let apart = (mean_energy * own_energy - product * product) / (own_energy * own_energy);
        if apart > 1e-4 {
            let of_mean = ((CHANGE_MAX - CHANGE_MAX * CHANGE_MAX / 4.0) / apart).sqrt();
            (of_mean, 1.0 - CHANGE_MAX / 2.0 - of_mean * product / own_energy)
        } else {
            (0.0, 1.0)
        }
    };
    for ((out, own), mean) in out.iter_mut().zip(own).zip(&mean) {
        *out = of_mean * mean + of_own * own;
    }
}

/// The lag at which the last `length` samples are most like what came before.
fn best_lag(signal: &[f32], length: usize) -> usize {
    let begin = signal.len() - length;
    let mut products = [0.0; LAG_END - LAG_MIN];
    // The longest lag comes first.
    correlate(&signal[begin..], &signal[begin + 1 - LAG_END..], &mut products);
    let (mut best, mut most) = (LAG_MIN, 0.0);
    let mut before = energy(&signal[begin - LAG_MIN..][..length]);
    for (n, product) in products.iter().rev().enumerate() {
        let lag = LAG_MIN + n;
        if n > 0 {
            before = energy(&signal[begin - lag..][..length]);
        }
        if *product > 0.0 && product * product / before > most {
            (best, most) = (lag, product * product / before);
        }
    }
    best
}

/// The part of the energy of `target` that a multiple of `other` explains; none if it takes a negative one.
fn likeness(target: &[f32], other: &[f32]) -> f32 {
    let product: f32 = target.iter().zip(other).map(|(a, b)| a * b).sum();
    if product > 0.0 {
        product * product / energy(other)
    } else {
        0.0
    }
}
