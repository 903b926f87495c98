//! The start state (RFC 3951 §3.5, §4.2): the 57 or 58 samples of the residual with the most energy, coded on
//! their own, sample by sample. All else in the frame is predicted from them, so a frame needs no other frame.
//!
//! A largest amplitude and three bits a sample would spend most bits on one pulse. Hence the state goes through an
//! all-pass filter made of the synthesis filter, which levels it; the decoder filters it backwards in time.

use super::filter::{Lpc, energy, predict, prediction, synthesise};
use super::tables::{STATE_LEVELS, STATE_SCALE};
use super::{Mode, ORDER, STATE_MAX, SUBFRAME, SUBFRAMES_MAX};

/// Where the quantiser's largest level lies in units of the largest amplitude.
const HEADROOM: f32 = 4.5;

/// Where the start state lies (§3.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first of its two subframes.
    pub subframe: usize,
    /// Whether it begins at the beginning of these two, or ends at their end.
    pub first: bool,
}

impl Place {
    /// The first sample of the state within the frame.
    pub const fn begin(self, mode: Mode) -> usize {
        if self.first {
            self.subframe * SUBFRAME
        } else {
            (self.subframe + 2) * SUBFRAME - mode.state_samples()
        }
    }

    /// The place with the most energy. Its edges count less, and so do the outer subframes of the frame: more can
    /// be predicted from a state in the middle.
    pub fn find(mode: Mode, residual: &[f32]) -> Place {
        const FAVOUR: [f32; SUBFRAMES_MAX - 1] = [0.8, 0.9, 1.0, 0.9, 0.8];
        const RAMP: usize = 5;
        let favour = match mode {
            Mode::Ms20 => &FAVOUR[1..4],
            Mode::Ms30 => &FAVOUR[..],
        };
        let lost = |edge: &mut dyn Iterator<Item = &f32>| -> f32 {
            edge.take(RAMP)
                .enumerate()
                .map(|(n, sample)| (RAMP - n) as f32 / 6.0 * sample * sample)
                .sum()
        };
        let (mut subframe, mut most) = (0, f32::MIN);
        for (n, favour) in favour.iter().enumerate() {
            let two = &residual[n * SUBFRAME..][..2 * SUBFRAME];
            let weighted = favour * (energy(two) - lost(&mut two.iter()) - lost(&mut two.iter().rev()));
            if weighted > most {
                (subframe, most) = (n, weighted);
            }
        }
        let [first, last] = [true, false].map(|first| {
            let begin = Place { subframe, first }.begin(mode);
            energy(&residual[begin..][..mode.state_samples()])
        });
        Place {
            subframe,
            first: first > last,
        }
    }
}

/// A coded start state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateIndex {
    /// Of the largest amplitude.
    pub scale: u8,
    /// Of each sample; the last is spare in 20 ms frames.
    pub levels: [u8; STATE_MAX],
}

/// Codes `state`, the residual at `place` (§3.5.2, §3.5.3). The filters are those of the frame's subframes.
pub fn encode(
    place: Place,
    state: &[f32],
    synthesis: &[Lpc; SUBFRAMES_MAX],
    weighting: &[Lpc; SUBFRAMES_MAX],
) -> StateIndex {
    let mut levelled = [0.0; STATE_MAX];
    let levelled = &mut levelled[..state.len()];
    all_pass(&synthesis[place.subframe], state, levelled);
    let largest = levelled
        .iter()
        .fold(0.0f32, |most, sample| most.max(sample.abs()));
    let scale = nearest(&STATE_SCALE, largest.max(10.0).log10());
    let factor = HEADROOM / 10f32.powf(STATE_SCALE[usize::from(scale)]);

    // The state's two parts lie in two subframes with a weighting filter each.
    let boundary = if place.first {
        SUBFRAME
    } else {
        state.len() - SUBFRAME
    };
    let filter = |n: usize| &weighting[place.subframe + usize::from(n >= boundary)];
    let mut target = [0.0; ORDER + STATE_MAX];
    for (target, sample) in target[ORDER..].iter_mut().zip(&*levelled) {
        *target = factor * sample;
    }
    synthesise(filter(0), &mut target[..ORDER + boundary]);
    synthesise(filter(boundary), &mut target[boundary..ORDER + state.len()]);

    // The error of each sample is weighted into the ones after it.
    let mut coded = [0.0; ORDER + STATE_MAX];
    let mut levels = [0; STATE_MAX];
    for n in 0..state.len() {
        let predicted = prediction(filter(n), &coded[n..n + ORDER]);
        levels[n] = nearest(&STATE_LEVELS, target[ORDER + n] - predicted);
        coded[ORDER + n] = predicted + STATE_LEVELS[usize::from(levels[n])];
    }
    StateIndex { scale, levels }
}

/// The residual that the decoder has for the state (§4.2); `synthesis` is the filter of the first of its two
/// subframes.
pub fn decode(index: &StateIndex, synthesis: &Lpc, state: &mut [f32]) {
    let scale = 10f32.powf(STATE_SCALE[usize::from(index.scale) % STATE_SCALE.len()]) / HEADROOM;
    let mut levels = [0.0; STATE_MAX];
    let levels = &mut levels[..state.len()];
    for (level, index) in levels.iter_mut().rev().zip(&index.levels) {
        *level = scale * STATE_LEVELS[usize::from(*index) % STATE_LEVELS.len()];
    }
    all_pass(synthesis, levels, state);
    state.reverse();
}

/// Filters circularly with the mirror image of `lpc` over `lpc`: what rings on after the end is added at the
/// beginning.
fn all_pass(lpc: &Lpc, signal: &[f32], out: &mut [f32]) {
    let mut padded = [0.0; ORDER + 2 * STATE_MAX];
    padded[ORDER..ORDER + signal.len()].copy_from_slice(signal);
    let mut mirrored = *lpc;
    mirrored.reverse();
    let mut ringing = [0.0; ORDER + 2 * STATE_MAX];
    let ringing = &mut ringing[..ORDER + 2 * signal.len()];
    predict(&mirrored, &padded, &mut ringing[ORDER..]);
    synthesise(lpc, ringing);
    let (once, again) = ringing[ORDER..].split_at(signal.len());
    for (out, (once, again)) in out.iter_mut().zip(once.iter().zip(again)) {
        *out = once + again;
    }
}

/// The index of the nearest of ascending levels; the lower one halfway between two.
fn nearest(levels: &[f32], value: f32) -> u8 {
    levels
        .windows(2)
        .take_while(|two| value > (two[0] + two[1]) / 2.0)
        .count() as u8
}
