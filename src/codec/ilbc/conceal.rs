//! Concealment of lost frames (RFC 3951 §4.5): the excitation goes on with its last pitch cycles, or with noise
//! where there was no pitch, and fades; the filter stays as it was.

use super::filter::{FLAT, Lpc, energy};
use super::{Mode, SAMPLES_MAX};

/// Over how many samples two pitch cycles are compared.
const COMPARED: usize = 60;
/// How far the pitch is looked for around the lag that the enhancer found.
const LAG_SLACK: usize = 3;
/// The noise repeats single samples from this far back,
const NOISE_LAG_MIN: usize = 50;
/// and up to this much farther.
const NOISE_LAGS: u32 = 70;
/// Excitation weaker than this (16-bit units, RMS) is replaced by noise only.
const FAINT_RMS: f32 = 30.0;

/// What is known of the last excitation.
#[derive(Debug, Clone)]
pub struct Concealment {
    mode: Mode,
    excitation: [f32; SAMPLES_MAX],
    filter: Lpc,
    /// Frames lost in a row.
    lost: u32,
    lag: usize,
    /// How alike the last two pitch cycles were: 0 to 1.
    periodicity: f32,
    seed: u32,
}

impl Concealment {
    pub const fn new(mode: Mode) -> Concealment {
        Concealment {
            mode,
            excitation: [0.0; SAMPLES_MAX],
            filter: FLAT,
            lost: 0,
            lag: 120,
            periodicity: 0.0,
            seed: 777,
        }
    }

    /// Keeps a frame that arrived, with its last filter, for the time when one does not (§4.5.1).
    pub fn keep(&mut self, excitation: &[f32; SAMPLES_MAX], filter: &Lpc) {
        self.excitation = *excitation;
        self.filter = *filter;
        self.lost = 0;
    }

    /// Makes up a frame of excitation and the filter for it (§4.5.2). `lag` is the pitch of the last frame, 20 to 118
    /// samples.
    pub fn conceal(&mut self, lag: usize) -> (&[f32; SAMPLES_MAX], &Lpc) {
        self.lost = self.lost.saturating_add(1);
        if self.lost == 1 {
            (self.lag, self.periodicity) = self.pitch(lag);
        }
        let samples = self.mode.samples();
        let voicing = ((self.periodicity.sqrt() - 0.4) / (0.7 - 0.4)).clamp(0.0, 1.0);
        // Repeating one short cycle would buzz.
        let lag = if self.lag < 80 { 2 * self.lag } else { self.lag };
        let gain = self.gain();

        // What is made continues what was: sample `n` of the new frame is `samples + n`.
        let mut pitched = [0.0; 2 * SAMPLES_MAX];
        pitched[..samples].copy_from_slice(&self.excitation[..samples]);
        let mut noise = pitched;
        for n in 0..samples {
            self.seed = self.seed.wrapping_mul(69_069).wrapping_add(1) & 0x7fff_ffff;
            let noise_lag = NOISE_LAG_MIN + (self.seed % NOISE_LAGS) as usize;
            noise[samples + n] = noise[samples + n - noise_lag];
            let fade = [1.0, 0.95, 0.9][n / 80];
            let mixed = voicing * pitched[samples + n - lag] + (1.0 - voicing) * noise[samples + n];
            pitched[samples + n] = fade * gain * mixed;
        }
        let made = &pitched[samples..2 * samples];
        if (energy(made) / samples as f32).sqrt() < FAINT_RMS {
            for (sample, noise) in self.excitation.iter_mut().zip(&noise[samples..2 * samples]) {
                *sample = gain * noise;
            }
        } else {
            self.excitation[..samples].copy_from_slice(made);
        }
        (&self.excitation, &self.filter)
    }

    /// The lag close to `lag` at which the end of the excitation is most like what it was a cycle before, and how
    /// much so.
    fn pitch(&self, lag: usize) -> (usize, f32) {
        let excitation = &self.excitation[..self.mode.samples()];
        let mut found = (lag, 0.0);
        let mut most = 0.0;
        for lag in lag - LAG_SLACK..=lag + LAG_SLACK {
            let compared = COMPARED.min(excitation.len() - lag);
            let end = &excitation[excitation.len() - compared..];
            let before = &excitation[excitation.len() - compared - lag..][..compared];
            let product: f32 = end.iter().zip(before).map(|(a, b)| a * b).sum();
            let energy_before = energy(before);
            let likeness = product * product / energy_before;
            if energy_before > 0.0 && likeness > most {
                most = likeness;
                found = (lag, product.abs() / (energy_before * energy(end)).sqrt());
            }
        }
        found
    }

    /// The longer the loss, the faster what is left fades: nothing after 320 ms. The program printed in the RFC means
    /// to be silent after 160 ms, but by the order of its tests never gets beyond the first of its steps, which in
    /// bursts of losses is heard as the better choice; and it does not fade faint noise at all.
    fn gain(&self) -> f32 {
        match (self.lost as usize).saturating_mul(self.mode.samples()) {
            0..=320 => 1.0,
            321..=1_280 => 0.9,
            1_281..=2_560 => 0.7,
            _ => 0.0,
        }
    }
}
