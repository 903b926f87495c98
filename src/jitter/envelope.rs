//! The spectral envelope of sound, as linear prediction has it: each sample from the sixteen before it, and what is left
//! over, the excitation, which is flat and hence can be repeated, mixed with noise and made anew at will.

use crate::frame::Rate;

pub(super) const ORDER: usize = 16;

/// How much sound it is learnt from.
const LEARNT_MS: usize = 20;

/// Of what it is learnt from, the last part over which the window falls again: the newest counts most.
const FALL: f32 = 0.15;

/// Peaks are taken to be this wide at least, or a tone would ring for ever.
const WIDTH_HZ: f32 = 30.0;

/// Noise 40 dB below the sound, which keeps the recursion in bounds.
const FLOOR: f32 = 1.0e-4;

/// By how much a resonance is damped from one sample to the next.
const DAMPING: f32 = 0.994;

/// 1 + a₁z⁻¹ + … + a₁₆z⁻¹⁶.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    /// a₁ first.
    coefficients: [f32; ORDER],
}

impl Envelope {
    pub const FLAT: Envelope = Envelope {
        coefficients: [0.0; ORDER],
    };

    /// Of the last 20 ms of `sound`, which holds at least that.
    pub fn of_end(sound: &[f32], rate: Rate) -> Envelope {
        const LEARNT_MAX: usize = LEARNT_MS * Rate::Hz48000.samples_per_ms();
        let mut windowed = [0.0; LEARNT_MAX];
        let length = (LEARNT_MS * rate.samples_per_ms()).min(sound.len());
        let windowed = &mut windowed[..length];
        let fall = length as f32 * FALL;
        let rise = length as f32 - fall;
        let end = &sound[sound.len() - length..];
        for (n, (windowed, sample)) in windowed.iter_mut().zip(end).enumerate() {
            let at = n as f32 + 0.5;
            let away = if at < rise {
                1.0 - at / rise
            } else {
                (at - rise) / fall
            };
            *windowed = sample * (1.0 - away * away);
        }
        let mut autocorrelation = [0.0; ORDER + 1];
        let width = std::f32::consts::TAU * WIDTH_HZ / rate.hz() as f32;
        for (lag, correlation) in autocorrelation.iter_mut().enumerate() {
            let wide = width * lag as f32;
            let later = &windowed[lag.min(length)..];
            *correlation = dot(later, &windowed[..later.len()]) * (1.0 - 0.5 * wide * wide).max(0.0);
        }
        // Silence is flat.
        autocorrelation[0] = autocorrelation[0] * (1.0 + FLOOR) + 1.0e-9;
        Envelope::of_autocorrelation(&autocorrelation)
    }

    /// Levinson's recursion.
    fn of_autocorrelation(autocorrelation: &[f32; ORDER + 1]) -> Envelope {
        let mut coefficients = [0.0; ORDER];
        let mut error = autocorrelation[0];
        for stage in 0..ORDER {
            let known: f32 = (0..stage)
                .map(|lag| coefficients[lag] * autocorrelation[stage - lag])
                .sum();
            let reflection = -(autocorrelation[stage + 1] + known) / error;
            if !reflection.is_finite() || reflection.abs() >= 1.0 {
                break;
            }
            let before = coefficients;
            for lag in 0..stage {
                coefficients[lag] += reflection * before[stage - 1 - lag];
            }
            coefficients[stage] = reflection;
            error *= 1.0 - reflection * reflection;
        }
        let mut damped = 1.0;
        for coefficient in &mut coefficients {
            damped *= DAMPING;
            *coefficient *= damped;
        }
        Envelope { coefficients }
    }

    /// What the sixteen samples before it, the newest first, leave unexplained of a sample.
    #[inline]
    pub fn excitation(&self, sample: f32, before: &[f32; ORDER]) -> f32 {
        sample + self.weighed(before)
    }

    /// The sample that this excitation makes after those sixteen, the newest first.
    #[inline]
    pub fn sample(&self, excitation: f32, before: &[f32; ORDER]) -> f32 {
        excitation - self.weighed(before)
    }

    #[inline]
    fn weighed(&self, before: &[f32; ORDER]) -> f32 {
        let (mut even, mut odd) = (0.0, 0.0);
        for n in (0..ORDER).step_by(2) {
            even += self.coefficients[n] * before[n];
            odd += self.coefficients[n + 1] * before[n + 1];
        }
        even + odd
    }
}

/// Of two stretches of one length.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

pub(super) fn rms(sound: &[f32]) -> f32 {
    (dot(sound, sound) / sound.len().max(1) as f32).sqrt()
}
