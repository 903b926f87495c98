//! Linear prediction in the encoder (RFC 3951 §3.2): windows, autocorrelation, predictors, and from their line
//! spectral frequencies the filters of each subframe.

use super::filter::{FLAT, Lpc, correlate, expand_bandwidth};
use super::lsf::{self, Lsf, LsfIndex};
use super::tables::{ASYMMETRIC_WINDOW, HANN_HALF, LAG_WINDOW, LSF_MEAN};
use super::{Mode, ORDER, SAMPLES_MAX, SUBFRAMES_MAX};

/// Samples before the last window that the first window of a 30 ms frame begins with.
const LOOK_BACK: usize = 60;
/// Draws the poles of the predictor inwards.
const CHIRP: f32 = 0.902_5;
/// The same for the weighting filter, where noise may hide behind the formants (§3.4).
const CHIRP_WEIGHTING: f32 = 0.422_2;

/// What a frame is predicted with.
#[derive(Debug)]
pub struct Prediction {
    pub index: [LsfIndex; 2],
    /// A(z) of each subframe, as the decoder will have it.
    pub synthesis: [Lpc; SUBFRAMES_MAX],
    /// A(z / 0.4222) of each subframe, from frequencies that were not quantised.
    pub weighting: [Lpc; SUBFRAMES_MAX],
}

/// The memory of the analysis: the end of the sound before, and the last frequencies.
#[derive(Debug, Clone)]
pub struct Analysis {
    mode: Mode,
    sound: [f32; LOOK_BACK + SAMPLES_MAX],
    lsf: Lsf,
    lsf_quantised: Lsf,
}

impl Analysis {
    pub fn new(mode: Mode) -> Analysis {
        Analysis {
            mode,
            sound: [0.0; LOOK_BACK + SAMPLES_MAX],
            lsf: LSF_MEAN,
            lsf_quantised: LSF_MEAN,
        }
    }

    /// `frame` is one frame of sound.
    pub fn analyse(&mut self, frame: &[f32]) -> Prediction {
        self.sound.copy_within(frame.len().., 0);
        let begin = self.sound.len() - frame.len();
        self.sound[begin..].copy_from_slice(frame);

        let mut sets = [[0.0; ORDER]; 2];
        let mut quantised = sets;
        let mut index = [[0; 3]; 2];
        for n in 0..self.mode.lsf_sets() {
            // The last window ends with the frame and falls steeply; the one before it is symmetric.
            let last = n + 1 == self.mode.lsf_sets();
            let windowed: [f32; SAMPLES_MAX] = if last {
                std::array::from_fn(|k| self.sound[LOOK_BACK + k] * ASYMMETRIC_WINDOW[k])
            } else {
                std::array::from_fn(|k| self.sound[k] * HANN_HALF[k.min(SAMPLES_MAX - 1 - k)])
            };
            let lpc = levinson_durbin(&autocorrelation(&windowed));
            sets[n] = lsf::from_lpc(&expand_bandwidth(&lpc, CHIRP));
            index[n] = lsf::quantise(&sets[n]);
            quantised[n] = lsf::dequantise(index[n]);
        }
        let synthesis = lsf::interpolate(self.mode, &self.lsf_quantised, &quantised);
        let weighting =
            lsf::interpolate(self.mode, &self.lsf, &sets).map(|lpc| expand_bandwidth(&lpc, CHIRP_WEIGHTING));
        self.lsf = sets[self.mode.lsf_sets() - 1];
        self.lsf_quantised = quantised[self.mode.lsf_sets() - 1];
        Prediction {
            index,
            synthesis,
            weighting,
        }
    }
}

/// The autocorrelation at lags 0 to 10, smoothed in frequency by the lag window (§3.2.1).
fn autocorrelation(windowed: &[f32; SAMPLES_MAX]) -> [f32; ORDER + 1] {
    // Sixteen lags cost as much as eleven.
    let mut padded = [0.0; SAMPLES_MAX + 15];
    padded[..SAMPLES_MAX].copy_from_slice(windowed);
    let mut lags = [0.0; 16];
    correlate(windowed, &padded, &mut lags);
    std::array::from_fn(|lag| lags[lag] * LAG_WINDOW[lag])
}

/// The predictor of least error (§3.2.2); for silence the one that predicts nothing.
fn levinson_durbin(autocorrelation: &[f32; ORDER + 1]) -> Lpc {
    let mut lpc = FLAT;
    let mut error = autocorrelation[0];
    if error < f32::EPSILON * f32::EPSILON {
        return lpc;
    }
    for order in 1..=ORDER {
        let correlation: f32 = (0..order).map(|n| lpc[n] * autocorrelation[order - n]).sum();
        let reflection = -correlation / error;
        error += reflection * correlation;
        let before = lpc;
        for n in 1..=order {
            lpc[n] = before[n] + reflection * before[order - n];
        }
    }
    lpc
}
