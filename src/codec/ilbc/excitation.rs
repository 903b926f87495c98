//! The order in which a frame is coded around its start state (RFC 3951 §3.6, §4.3): first what the state leaves
//! of its two subframes, then the subframes after them, then those before them, these backwards in time.

use super::state::Place;
use super::{MEMORY, Mode, SAMPLES_MAX, SUBFRAME};

/// What the codebook of the remainder is made of at most.
const MEMORY_REMAINDER: usize = 85;

/// One block that is coded from what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first sample within the frame.
    pub begin: usize,
    pub samples: usize,
    /// Whether it is coded from its end to its beginning, out of what comes after it.
    pub is_backward: bool,
    /// The subframe it lies in.
    pub subframe: usize,
    /// None for the remainder of the start state's subframes, or the number of the subframe in coding order.
    pub number: Option<usize>,
    /// What is decoded before this block.
    known: (usize, usize),
}

/// The blocks of a frame, in coding order.
pub fn blocks(mode: Mode, place: Place) -> impl Iterator<Item = Block> {
    let state = (place.begin(mode), place.begin(mode) + mode.state_samples());
    let both = (place.subframe * SUBFRAME, (place.subframe + 2) * SUBFRAME);
    let samples = both.1 - both.0 - mode.state_samples();
    let remainder = Block {
        begin: if place.first { state.1 } else { both.0 },
        samples,
        is_backward: !place.first,
        subframe: place.subframe + usize::from(place.first),
        number: None,
        known: state,
    };
    let after = (place.subframe + 2..mode.subframes()).map(move |subframe| (subframe, false));
    let before = (0..place.subframe).rev().map(|subframe| (subframe, true));
    let subframes = after
        .chain(before)
        .enumerate()
        .map(move |(number, (subframe, is_backward))| {
            let begin = subframe * SUBFRAME;
            Block {
                begin,
                samples: SUBFRAME,
                is_backward,
                subframe,
                number: Some(number),
                known: if is_backward {
                    (begin + SUBFRAME, mode.samples())
                } else {
                    (both.0, begin)
                },
            }
        });
    std::iter::once(remainder).chain(subframes)
}

impl Block {
    const fn memory_samples(&self) -> usize {
        match self.number {
            None => MEMORY_REMAINDER,
            Some(_) => MEMORY,
        }
    }

    /// What is decoded next to the block, in coding direction (§3.6.1): newest last, zeros where there is too
    /// little.
    pub fn memory<'a>(&self, excitation: &[f32; SAMPLES_MAX], memory: &'a mut [f32; MEMORY]) -> &'a [f32] {
        let known = &excitation[self.known.0..self.known.1];
        let memory = &mut memory[..self.memory_samples()];
        memory.fill(0.0);
        let newest_first = memory.iter_mut().rev();
        if self.is_backward {
            newest_first
                .zip(known)
                .for_each(|(memory, sample)| *memory = *sample);
        } else {
            newest_first
                .zip(known.iter().rev())
                .for_each(|(memory, sample)| *memory = *sample);
        }
        memory
    }

    /// The block's samples in coding direction, in the front of what is returned.
    pub fn read(&self, excitation: &[f32; SAMPLES_MAX]) -> [f32; SUBFRAME] {
        let mut samples = [0.0; SUBFRAME];
        let front = &mut samples[..self.samples];
        front.copy_from_slice(&excitation[self.begin..][..self.samples]);
        if self.is_backward {
            front.reverse();
        }
        samples
    }

    /// The reverse of `read`.
    pub fn write(&self, samples: &[f32; SUBFRAME], excitation: &mut [f32; SAMPLES_MAX]) {
        let place = &mut excitation[self.begin..][..self.samples];
        place.copy_from_slice(&samples[..self.samples]);
        if self.is_backward {
            place.reverse();
        }
    }
}
