//! The adaptive codebook (RFC 3951 §3.6.3, §4.4): stretches of what is already decoded of this frame, at any lag,
//! each plain and filtered. Three of them, each with a gain, make a block.
//!
//! Lags go from 20 samples; those shorter than a subframe are repeated with a soft seam (augmentation).

use super::filter::correlate;
use super::tables::{CODEBOOK_FILTER, GAIN_FIRST, GAIN_SECOND, GAIN_THIRD};
use super::{MEMORY, STAGES, SUBFRAME};

/// The shortest lag, and with it the number of lags shorter than a subframe.
pub const LAG_MIN: usize = 20;
/// Samples over which a repetition is blended into the next.
const SEAM: usize = 5;
/// The least gain that the gain of the next stage is relative to.
const GAIN_SCALE_MIN: f32 = 0.1;

/// The coded form of one block: for each stage a codebook vector and a gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stages {
    pub vectors: [u8; STAGES],
    pub gains: [u8; STAGES],
}

/// A codebook vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector {
    /// 0 for the plain section, 1 for the filtered one.
    pub section: usize,
    pub lag: usize,
}

/// The codebook for one block.
pub struct Codebook {
    sections: [[f32; MEMORY]; 2],
    memory: usize,
    block: usize,
}

impl Codebook {
    /// `memory` is what was decoded next to the block, newest last; `block` is the length of the vectors.
    pub fn new(memory: &[f32], block: usize) -> Codebook {
        const BEFORE: usize = 3;
        let mut backward = CODEBOOK_FILTER;
        backward.reverse();
        let mut padded = [0.0; MEMORY + CODEBOOK_FILTER.len() - 1];
        padded[BEFORE..BEFORE + memory.len()].copy_from_slice(memory);
        let mut sections = [[0.0; MEMORY]; 2];
        sections[0][..memory.len()].copy_from_slice(memory);
        correlate(&backward, &padded, &mut sections[1][..memory.len()]);
        Codebook {
            sections,
            memory: memory.len(),
            block,
        }
    }

    pub fn section(&self, section: usize) -> &[f32] {
        &self.sections[section][..self.memory]
    }

    /// The shortest lag at which a vector needs no repetition is the length of the block; below it only subframes go.
    pub const fn lag_min(&self) -> usize {
        if self.block == SUBFRAME {
            LAG_MIN
        } else {
            self.block
        }
    }

    const fn lags(&self) -> usize {
        self.memory - self.lag_min() + 1
    }

    /// The index of a vector: the lags from the length of the block on come first, the shorter ones after them.
    pub const fn index(&self, vector: Vector) -> u8 {
        let place = if vector.lag >= self.block {
            vector.lag - self.block
        } else {
            self.memory + 1 - self.block + vector.lag - LAG_MIN
        };
        (vector.section * self.lags() + place) as u8
    }

    /// The vector of an index; none where the codebook is smaller than the index can tell.
    pub const fn vector(&self, index: u8) -> Option<Vector> {
        let (section, place) = (index as usize / self.lags(), index as usize % self.lags());
        let long = self.memory + 1 - self.block;
        let lag = if place < long {
            place + self.block
        } else {
            place - long + LAG_MIN
        };
        if section < 2 {
            Some(Vector { section, lag })
        } else {
            None
        }
    }

    /// The samples of a vector, in the front of what is returned.
    pub fn samples(&self, vector: Vector) -> [f32; SUBFRAME] {
        let section = self.section(vector.section);
        let mut samples = [0.0; SUBFRAME];
        if vector.lag >= self.block {
            samples[..self.block].copy_from_slice(&section[self.memory - vector.lag..][..self.block]);
        } else {
            repeat(section, vector.lag, &mut samples);
        }
        samples
    }

    /// The sum of the stages' vectors (§4.4.1); none where there is no such vector.
    pub fn construct(&self, stages: &Stages) -> Option<[f32; SUBFRAME]> {
        let mut sum = [0.0; SUBFRAME];
        let mut gain = 1.0;
        for stage in 0..STAGES {
            let samples = self.samples(self.vector(stages.vectors[stage])?);
            let table = gains(stage);
            gain = gain_scale(gain) * table[usize::from(stages.gains[stage]) % table.len()];
            for (sum, sample) in sum.iter_mut().zip(&samples) {
                *sum += gain * sample;
            }
        }
        Some(sum)
    }
}

/// Continues `section` with its last `lag` samples, blended at the seam into what followed them the cycle before.
fn repeat(section: &[f32], lag: usize, samples: &mut [f32; SUBFRAME]) {
    let cycle = &section[section.len() - lag..];
    for (samples, cycle) in samples.chunks_mut(lag).zip([cycle, cycle]) {
        samples.copy_from_slice(&cycle[..samples.len()]);
    }
    let before = &section[section.len() - lag - SEAM..][..SEAM];
    for (n, (sample, before)) in samples[lag - SEAM..lag].iter_mut().zip(before).enumerate() {
        let share = n as f32 / SEAM as f32;
        *sample = (1.0 - share) * *sample + share * before;
    }
}

/// The gains of a stage, as far as the gain of the stage before is 1.
pub const fn gains(stage: usize) -> &'static [f32] {
    match stage {
        0 => &GAIN_FIRST,
        1 => &GAIN_SECOND,
        _ => &GAIN_THIRD,
    }
}

/// What the gains of a stage are relative to, given the gain of the stage before, or 1 for the first.
pub fn gain_scale(before: f32) -> f32 {
    before.abs().max(GAIN_SCALE_MIN)
}
