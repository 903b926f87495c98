//! The decoder (RFC 3951 §4): from bits to excitation, from excitation to sound.

use super::bits::Frame;
use super::codebook::Codebook;
use super::conceal::Concealment;
use super::enhance::Enhancer;
use super::excitation::blocks;
use super::filter::{FLAT, HighPass, Lpc, settle, synthesise};
use super::lsf::{self, Lsf};
use super::state;
use super::tables::{LSF_MEAN, OUTPUT_POLES, OUTPUT_ZEROS};
use super::{FULL_SCALE, MEMORY, Mode, ORDER, SAMPLES_MAX, SUBFRAME, SUBFRAMES_MAX};
use crate::codec::PayloadError;

/// Decodes a stream, frame by frame. The sound is 5 ms (20 ms frames) or 10 ms (30 ms frames) late, by the enhancer.
#[derive(Debug, Clone)]
pub struct Decoder {
    mode: Mode,
    /// The last frequencies, from which those of the next frame are reached.
    lsf: Lsf,
    /// The filters of the frame before: the enhancer gives its end only now.
    filters: [Lpc; SUBFRAMES_MAX],
    synthesis: [f32; ORDER],
    concealment: Concealment,
    enhancer: Enhancer,
    /// The pitch at the end of the last frame, in samples.
    lag: usize,
    output: HighPass,
}

impl Decoder {
    pub const fn new(mode: Mode) -> Decoder {
        Decoder {
            mode,
            lsf: LSF_MEAN,
            filters: [FLAT; SUBFRAMES_MAX],
            synthesis: [0.0; ORDER],
            concealment: Concealment::new(mode),
            enhancer: Enhancer::new(mode),
            lag: 20,
            output: HighPass::new(OUTPUT_ZEROS, OUTPUT_POLES),
        }
    }

    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Decodes one frame of `mode.bytes()` into the first `mode.samples()` of `pcm` (8 kHz, ±1.0). A frame that says
    /// it is empty, or what no encoder says, is concealed. `PayloadError::Partial` for another length.
    pub fn decode(&mut self, frame: &[u8], pcm: &mut [f32]) -> Result<(), PayloadError> {
        if frame.len() != self.mode.bytes() {
            return Err(PayloadError::Partial);
        }
        match Frame::unpack(self.mode, frame).and_then(|frame| self.excite(&frame)) {
            Some((excitation, filters)) => self.sound(&excitation, &filters, false, pcm),
            None => self.conceal(pcm),
        }
        Ok(())
    }

    /// Fills the first `mode.samples()` of `pcm` with what a lost frame may have held.
    pub fn conceal(&mut self, pcm: &mut [f32]) {
        let (excitation, filter) = self.concealment.conceal(self.lag);
        let (excitation, filters) = (*excitation, [*filter; SUBFRAMES_MAX]);
        self.sound(&excitation, &filters, true, pcm);
    }

    /// Forgets all that was decoded.
    pub fn reset(&mut self) {
        *self = Decoder::new(self.mode);
    }

    /// The excitation and the filters of a frame (§4.1 to §4.4); none if it names what is not there.
    fn excite(&mut self, frame: &Frame) -> Option<([f32; SAMPLES_MAX], [Lpc; SUBFRAMES_MAX])> {
        let sets = frame.lsf.map(lsf::dequantise);
        let filters = lsf::interpolate(self.mode, &self.lsf, &sets);
        let mut excitation = [0.0; SAMPLES_MAX];
        let begin = frame.place.begin(self.mode);
        state::decode(
            &frame.state,
            &filters[frame.place.subframe],
            &mut excitation[begin..][..self.mode.state_samples()],
        );
        for block in blocks(self.mode, frame.place) {
            let stages = block
                .number
                .map_or(&frame.remainder, |number| &frame.blocks[number]);
            let mut memory = [0.0; MEMORY];
            let memory = block.memory(&excitation, &mut memory);
            let decoded = Codebook::new(memory, block.samples).construct(stages)?;
            block.write(&decoded, &mut excitation);
        }
        self.lsf = sets[self.mode.lsf_sets() - 1];
        self.concealment
            .keep(&excitation, &filters[self.mode.subframes() - 1]);
        Some((excitation, filters))
    }

    /// Enhances the excitation and filters it into sound (§4.6 to §4.8).
    fn sound(
        &mut self,
        excitation: &[f32; SAMPLES_MAX],
        filters: &[Lpc; SUBFRAMES_MAX],
        is_lost: bool,
        pcm: &mut [f32],
    ) {
        let mode = self.mode;
        let mut sound = [0.0; ORDER + SAMPLES_MAX];
        let sound = &mut sound[..ORDER + mode.samples()];
        sound[..ORDER].copy_from_slice(&self.synthesis);
        self.lag = self
            .enhancer
            .enhance(&excitation[..mode.samples()], is_lost, &mut sound[ORDER..]);
        // The enhancer is so many subframes late, and so are the filters.
        let late = Enhancer::delay(mode) / SUBFRAME;
        let now = self.filters[mode.subframes() - late..mode.subframes()]
            .iter()
            .chain(filters);
        for (begin, filter) in (0..mode.samples()).step_by(SUBFRAME).zip(now) {
            synthesise(filter, &mut sound[begin..][..ORDER + SUBFRAME]);
        }
        self.filters = *filters;
        self.synthesis.copy_from_slice(&sound[mode.samples()..]);
        settle(&mut self.synthesis);
        self.output.filter(&mut sound[ORDER..]);
        for (pcm, sample) in pcm.iter_mut().zip(&sound[ORDER..]) {
            *pcm = (sample / FULL_SCALE).clamp(-1.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_hears_nothing_any_more_comes_to_rest() {
        for mode in [Mode::Ms20, Mode::Ms30] {
            let mut decoder = Decoder::new(mode);
            let mut random = fastrand::Rng::with_seed(1);
            let (mut frame, mut pcm) = ([0; 50], [0.0; SAMPLES_MAX]);
            for _ in 0..10 {
                random.fill(&mut frame);
                decoder.decode(&frame[..mode.bytes()], &mut pcm).unwrap();
            }
            for _ in 0..400 {
                decoder.conceal(&mut pcm);
                let is_denormal = |sample: &f32| sample.is_subnormal();
                assert!(!decoder.synthesis.iter().any(is_denormal), "{decoder:?}");
            }
            assert_eq!(decoder.synthesis, [0.0; ORDER]);
        }
    }
}
