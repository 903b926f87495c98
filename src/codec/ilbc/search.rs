//! The search in the adaptive codebook (RFC 3951 §3.6.2, §3.6.4, §3.7): stage by stage the vector that is most
//! like what is left of the target, both seen through the weighting filter.

use super::codebook::{Codebook, LAG_MIN, Stages, Vector, gain_scale, gains};
use super::filter::{Lpc, correlate, energy, synthesise};
use super::{MEMORY, ORDER, STAGES, SUBFRAME};

/// No gain is larger than this, of either sign.
const GAIN_MAX: f32 = 1.3;
/// How many lags of the filtered section are tried, around the best of the plain one.
const FILTERED_LAGS: usize = 34;
/// Lags shorter than a subframe.
const SHORT_LAGS: usize = SUBFRAME - LAG_MIN;

/// One section of the codebook, prepared for the search: all that does not change from stage to stage.
struct Section<'a> {
    samples: &'a [f32],
    block: usize,
    /// The vectors of the lags from `LAG_MIN` on that are shorter than the block: none or `SHORT_LAGS`.
    short: &'a [[f32; SUBFRAME]],
    /// 1 / energy of the vector at each lag.
    inverse: [f32; MEMORY + 1],
}

impl<'a> Section<'a> {
    /// `lags_end` is one more than the longest lag that will be tried; `short` is room for the short lags' vectors.
    fn new(
        codebook: &'a Codebook,
        section: usize,
        block: usize,
        lags_end: usize,
        short: &'a mut [[f32; SUBFRAME]; SHORT_LAGS],
    ) -> Section<'a> {
        let samples = codebook.section(section);
        let mut energies = [0.0; MEMORY + 1];
        // From lag to lag one sample enters the vector and one leaves it; nothing enters after the longest.
        let mut sum = energy(&samples[samples.len() - block..]);
        let leaves = samples.iter().rev();
        let enters = samples.iter().rev().skip(block);
        for (at, (enters, leaves)) in energies[block..lags_end]
            .iter_mut()
            .zip(enters.chain([&0.0]).zip(leaves))
        {
            *at = sum;
            sum += enters * enters - leaves * leaves;
        }
        let short = if codebook.lag_min() < block {
            &mut short[..]
        } else {
            &mut []
        };
        for (lag, vector) in (LAG_MIN..).zip(&mut *short) {
            *vector = codebook.samples(Vector { section, lag });
            energies[lag] = dot(vector, vector);
        }
        Section {
            samples,
            block,
            short,
            inverse: energies.map(|energy| if energy > 0.0 { 1.0 / energy } else { 0.0 }),
        }
    }

    /// The inner product of `target` with the vector at each lag from `lags.0` on, before `lags.1`, in
    /// `products[lag]`.
    fn products(&self, target: &[f32], lags: (usize, usize), products: &mut [f32; MEMORY + 1]) {
        let long = (lags.0.max(self.block), lags.1);
        let mut by_place = [0.0; MEMORY];
        let by_place = &mut by_place[..long.1 - long.0];
        let begin = self.samples.len() + 1 - long.1;
        correlate(target, &self.samples[begin..], by_place);
        for (product, by_place) in products[long.0..long.1].iter_mut().rev().zip(by_place) {
            *product = *by_place;
        }
        for (lag, vector) in (LAG_MIN..).zip(self.short) {
            if lags.0 <= lag && lag < lags.1 {
                products[lag] = dot(target, vector);
            }
        }
    }
}

/// The best vector so far.
struct Best {
    vector: Vector,
    measure: f32,
    gain: f32,
}

impl Best {
    /// Looks through the vectors at `lags`, the long ones first.
    fn improve(
        &mut self,
        which: usize,
        section: &Section,
        products: &[f32],
        lags: (usize, usize),
        stage: usize,
    ) {
        let long = lags.0.max(section.block)..lags.1;
        let short = lags.0..lags.1.min(section.block);
        for lag in long.chain(short) {
            let product = products[lag];
            let gain = product * section.inverse[lag];
            let measure = product * gain;
            // The gain of the first stage has no sign.
            if measure > self.measure && gain.abs() < GAIN_MAX && (stage > 0 || product > 0.0) {
                *self = Best {
                    vector: Vector { section: which, lag },
                    measure,
                    gain,
                };
            }
        }
    }
}

/// Codes `target`, which follows on `memory`, newest last. `lag_counts` is how many lags, from the length of the
/// block on, each stage tries; the short ones are tried always.
pub fn search(memory: &[f32], target: &[f32], weighting: &Lpc, lag_counts: [usize; STAGES]) -> Stages {
    let block = target.len();
    let mut weighted = [0.0; ORDER + MEMORY + SUBFRAME];
    let weighted = &mut weighted[..ORDER + memory.len() + block];
    weighted[ORDER..ORDER + memory.len()].copy_from_slice(memory);
    weighted[ORDER + memory.len()..].copy_from_slice(target);
    synthesise(weighting, weighted);
    let (memory, left) = weighted[ORDER..].split_at_mut(memory.len());
    let target_energy = energy(left);

    let codebook = Codebook::new(memory, block);
    let lags_end = block + lag_counts[0];
    let mut short = [[[0.0; SUBFRAME]; SHORT_LAGS]; 2];
    let [short_plain, short_filtered] = &mut short;
    let plain = Section::new(&codebook, 0, block, lags_end, short_plain);
    let filtered = Section::new(&codebook, 1, block, lags_end, short_filtered);
    let mut products = [0.0; MEMORY + 1];
    let mut sum = [0.0; SUBFRAME];
    let mut stages = Stages::default();
    let (mut gain, mut gain_first) = (1.0, 0.0);
    for (stage, lag_count) in lag_counts.into_iter().enumerate() {
        let lags = (codebook.lag_min(), block + lag_count);
        let mut best = Best {
            vector: Vector {
                section: 0,
                lag: block,
            },
            measure: f32::MIN,
            gain: 0.0,
        };
        plain.products(left, lags, &mut products);
        best.improve(0, &plain, &products, lags, stage);
        let begin = best
            .vector
            .lag
            .saturating_sub(FILTERED_LAGS / 2)
            .clamp(lags.0, lags.1 - FILTERED_LAGS);
        let near = (begin, begin + FILTERED_LAGS);
        filtered.products(left, near, &mut products);
        best.improve(1, &filtered, &products, near, stage);

        let scale = gain_scale(gain);
        let quantised = nearest_gain(gains(stage), best.gain / scale);
        gain = scale * gains(stage)[quantised];
        if stage == 0 {
            gain_first = gain;
        }
        stages.vectors[stage] = codebook.index(best.vector);
        stages.gains[stage] = quantised as u8;
        let vector = codebook.samples(best.vector);
        for ((left, sum), sample) in left.iter_mut().zip(&mut sum).zip(vector) {
            *sum += gain * sample;
            *left -= gain * sample;
        }
    }
    stages.gains[0] = correct_gain(stages.gains[0], gain_first, energy(&sum), target_energy);
    stages
}

/// Raises the first gain, and with it all of them, as far as the energy of the target allows (§3.7), but to no more
/// than about twice: what was not matched would be missing from the loudness otherwise.
fn correct_gain(index: u8, gain: f32, energy: f32, target_energy: f32) -> u8 {
    let table = gains(0);
    let mut corrected = index;
    for (candidate, value) in table.iter().enumerate().skip(usize::from(index)) {
        if energy * value * value < target_energy * gain * gain && table[usize::from(corrected)] < 2.0 * gain
        {
            corrected = candidate as u8;
        }
    }
    corrected
}

fn nearest_gain(table: &[f32], gain: f32) -> usize {
    let (mut best, mut distance_best) = (0, f32::MAX);
    for (index, value) in table.iter().enumerate() {
        let distance = (gain - value).abs();
        if distance < distance_best {
            (best, distance_best) = (index, distance);
        }
    }
    best
}

/// The inner product of two subframes, in eight sums.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
