//! The encoder (RFC 3951 §3): from sound to residual, from residual to bits.

use super::bits::Frame;
use super::codebook::{Codebook, Stages};
use super::excitation::{Block, blocks};
use super::filter::{HighPass, predict};
use super::lpc::{Analysis, Prediction};
use super::search::search;
use super::state::{self, Place};
use super::tables::{INPUT_POLES, INPUT_ZEROS};
use super::{BLOCKS_MAX, FULL_SCALE, MEMORY, Mode, ORDER, SAMPLES_MAX, STAGES, SUBFRAME};
use crate::codec::saturate;

/// Codes a stream, frame by frame. A copy of it goes on as the original does.
#[derive(Debug, Clone)]
pub struct Encoder {
    mode: Mode,
    input: HighPass,
    analysis: Analysis,
    /// The end of the frame before, for its prediction of this one.
    history: [f32; ORDER],
}

impl Encoder {
    pub fn new(mode: Mode) -> Encoder {
        Encoder {
            mode,
            input: HighPass::new(INPUT_ZEROS, INPUT_POLES),
            analysis: Analysis::new(mode),
            history: [0.0; ORDER],
        }
    }

    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Codes `mode.samples()` of `pcm` (8 kHz, ±1.0; what is beyond saturates, what is no number is silence) into
    /// the first `mode.bytes()` of `payload`.
    pub fn encode(&mut self, pcm: &[f32], payload: &mut [u8]) {
        let mode = self.mode;
        let mut sound = [0.0; ORDER + SAMPLES_MAX];
        let sound = &mut sound[..ORDER + mode.samples()];
        for (sample, pcm) in sound[ORDER..].iter_mut().zip(pcm) {
            *sample = saturate(*pcm) * FULL_SCALE;
        }
        self.input.filter(&mut sound[ORDER..]);
        let prediction = self.analysis.analyse(&sound[ORDER..]);

        // §3.3: the residual, each subframe by its own filter.
        sound[..ORDER].copy_from_slice(&self.history);
        let mut residual = [0.0; SAMPLES_MAX];
        for (n, lpc) in prediction.synthesis[..mode.subframes()].iter().enumerate() {
            let begin = n * SUBFRAME;
            predict(
                lpc,
                &sound[begin..][..ORDER + SUBFRAME],
                &mut residual[begin..][..SUBFRAME],
            );
        }
        self.history.copy_from_slice(&sound[mode.samples()..]);

        code_residual(mode, &residual, prediction).pack(mode, payload);
    }
}

fn code_residual(mode: Mode, residual: &[f32; SAMPLES_MAX], prediction: Prediction) -> Frame {
    let place = Place::find(mode, residual);
    let samples = place.begin(mode)..place.begin(mode) + mode.state_samples();
    let state = state::encode(
        place,
        &residual[samples.clone()],
        &prediction.synthesis,
        &prediction.weighting,
    );
    // What the decoder will have is what the rest is predicted from.
    let mut excitation = [0.0; SAMPLES_MAX];
    state::decode(
        &state,
        &prediction.synthesis[place.subframe],
        &mut excitation[samples],
    );

    let mut remainder = Stages::default();
    let mut coded = [Stages::default(); BLOCKS_MAX];
    for block in blocks(mode, place) {
        let mut memory = [0.0; MEMORY];
        let memory = block.memory(&excitation, &mut memory);
        let target = &block.read(residual)[..block.samples];
        let stages = search(
            memory,
            target,
            &prediction.weighting[block.subframe],
            lag_counts(&block),
        );
        let decoded = Codebook::new(memory, block.samples).construct(&stages);
        block.write(&decoded.unwrap_or([0.0; SUBFRAME]), &mut excitation);
        match block.number {
            None => remainder = stages,
            Some(number) => coded[number] = stages,
        }
    }
    Frame {
        lsf: prediction.index,
        place,
        state,
        remainder,
        blocks: coded,
    }
}

/// How many lags from the length of the block on each stage tries: as many as the bits of its index can tell.
const fn lag_counts(block: &Block) -> [usize; STAGES] {
    match block.number {
        None => [58, 58, 58],
        Some(0) => [108, 44, 44],
        Some(_) => [108, 108, 108],
    }
}
