//! Makes up sound where none has come: the last pitch period again and again, fading out.
//!
//! For codecs without a concealment of their own, and for every place where two pieces of sound do not belong
//! together. It starts without a step, and `merge` blends it into what follows.
//!
//! ```text
//! level  ├────── 20 ms ──────┐ ╲
//!                              ╲ ... silence at 120 ms
//! ```

use super::pitch;
use crate::frame::Rate;

/// Sound stays as loud as it was for this long.
const HOLD_MS: usize = 20;

/// Sound is gone after this; speech hardly ever goes on unchanged for longer.
pub(super) const FADED_MS: usize = 120;

/// A known pause is no loss: the sound before it ends quickly, but without a click.
const RELEASE_MS: usize = 5;

/// How long the made-up sound and the real one overlap.
const MERGE_MS: usize = 4;

const WINDOW_MS: usize = 12;

/// A gain of −60 dB is the end of the fade.
const INAUDIBLE: f32 = 1.0e-3;

/// Less alike than this is no voice; repeated at a short lag it would buzz, so a long stretch is repeated.
const VOICED: f32 = 0.5;
const UNVOICED_MS: usize = 25;

#[derive(Debug)]
pub(super) struct Expand {
    rate: Rate,
    /// One period that ends as it begins.
    period: Vec<f32>,
    length: usize,
    at: usize,
    /// What is left of the step between the sound before and the period, and by how much it shrinks each sample.
    step: f32,
    step_ramp: f32,
    gain: f32,
    hold: usize,
    decay: f32,
    active: bool,
}

impl Expand {
    pub fn new(rate_max: Rate) -> Expand {
        Expand {
            rate: rate_max,
            period: vec![0.0; UNVOICED_MS * rate_max.samples_per_ms()],
            length: 1,
            at: 0,
            step: 0.0,
            step_ramp: 0.0,
            gain: 0.0,
            hold: 0,
            decay: 0.0,
            active: false,
        }
    }

    /// Goes on where `other` is, whose memory is no larger.
    pub fn go_on_from(&mut self, other: &Expand) {
        let Expand {
            rate,
            ref period,
            length,
            at,
            step,
            step_ramp,
            gain,
            hold,
            decay,
            active,
        } = *other;
        self.period[..period.len()].copy_from_slice(period);
        (self.rate, self.length, self.at) = (rate, length, at);
        (self.step, self.step_ramp) = (step, step_ramp);
        (self.gain, self.hold, self.decay) = (gain, hold, decay);
        self.active = active;
    }

    /// From `start` to `merge`.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Nothing but silence is left to come.
    pub fn is_faded(&self) -> bool {
        self.gain <= 0.0
    }

    pub fn stop(&mut self) {
        self.active = false;
        self.gain = 0.0;
    }

    /// Learns from the last 40 ms before the gap.
    pub fn start(&mut self, history: &[f32], rate: Rate) {
        let per_ms = rate.samples_per_ms();
        let lag = pitch::lag_of_end(history, rate, WINDOW_MS * per_ms);
        let length = if lag.correlation >= VOICED {
            lag.samples
        } else {
            UNVOICED_MS * per_ms
        }
        .min(self.period.len());
        let end = history.len();
        let seam = length / 4;
        self.period[..length].copy_from_slice(&history[end - length..]);
        // The end of the period leans over to what came before its beginning, so that it closes in a circle.
        for n in 0..seam {
            let weight = (n + 1) as f32 / (seam + 1) as f32;
            let before = history[end - length - seam + n];
            let sample = &mut self.period[length - seam + n];
            *sample += weight * (before - *sample);
        }
        let ramp = per_ms * 5 / 2;
        self.rate = rate;
        self.length = length;
        self.at = 0;
        self.step = history[end - 1] - history[end - length - 1];
        self.step_ramp = self.step / ramp as f32;
        self.gain = 1.0;
        self.hold = HOLD_MS * per_ms;
        self.decay = 1.0 / ((FADED_MS - HOLD_MS) * per_ms) as f32;
        self.active = true;
    }

    /// From silence: what follows is faded in.
    pub fn start_silent(&mut self, rate: Rate) {
        self.rate = rate;
        self.gain = 0.0;
        self.active = true;
    }

    /// Goes silent within 5 ms from here on.
    pub fn release(&mut self) {
        self.hold = 0;
        self.decay = self
            .decay
            .max(1.0 / (RELEASE_MS * self.rate.samples_per_ms()) as f32);
    }

    /// The next samples of made-up sound.
    pub fn fill(&mut self, sound: &mut [f32]) {
        for sample in sound {
            *sample = self.next_sample();
        }
    }

    /// Blends the made-up sound into the beginning of the real one, and is done.
    pub fn merge(&mut self, sound: &mut [f32]) {
        let overlap = (MERGE_MS * self.rate.samples_per_ms()).min(sound.len());
        for (n, sample) in sound[..overlap].iter_mut().enumerate() {
            let weight = (n + 1) as f32 / (overlap + 1) as f32;
            let made_up = self.next_sample();
            *sample = made_up + weight * (*sample - made_up);
        }
        self.stop();
    }

    #[inline]
    fn next_sample(&mut self) -> f32 {
        if self.gain <= 0.0 {
            return 0.0;
        }
        // The step can lift a loud period beyond full scale.
        let sample = (self.period[self.at] + self.step).clamp(-1.0, 1.0) * self.gain;
        self.at += 1;
        if self.at == self.length {
            self.at = 0;
        }
        self.step = if self.step.abs() > self.step_ramp.abs() {
            self.step - self.step_ramp
        } else {
            0.0
        };
        if self.hold > 0 {
            self.hold -= 1;
        } else {
            self.gain -= self.decay;
            if self.gain < INAUDIBLE {
                self.gain = 0.0;
            }
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: Rate, samples: std::ops::Range<usize>) -> Vec<f32> {
        samples
            .map(|n| 0.5 * (std::f32::consts::TAU * 170.0 * n as f32 / rate.hz() as f32).sin())
            .collect()
    }

    fn rms(sound: &[f32]) -> f32 {
        (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32).sqrt()
    }

    #[test]
    fn a_voice_goes_on_at_its_pitch_for_20_ms_and_is_silent_after_120() {
        for rate in Rate::ALL {
            let ms = rate.samples_per_ms();
            let mut expand = Expand::new(rate);
            expand.start(&tone(rate, 0..40 * ms), rate);
            let mut sound = vec![0.0; 140 * ms];
            expand.fill(&mut sound);
            let expected = tone(rate, 40 * ms..60 * ms);
            let error: Vec<f32> = sound
                .iter()
                .zip(&expected)
                .map(|(heard, said)| heard - said)
                .collect();
            assert!(
                rms(&error) < 0.1 * rms(&expected),
                "{rate:?}: {}",
                rms(&error) / rms(&expected)
            );
            assert!(rms(&sound[60 * ms..80 * ms]) < 0.6 * rms(&expected));
            assert!(sound[120 * ms..].iter().all(|sample| *sample == 0.0));
            assert!(expand.is_faded());
        }
    }

    #[test]
    fn it_begins_and_ends_without_a_step() {
        let rate = Rate::Hz8000;
        let mut noise = fastrand::Rng::with_seed(3);
        let mut said: Vec<f32> = tone(rate, 0..320);
        said.iter_mut()
            .for_each(|sample| *sample += 0.01 * (noise.f32() - 0.5));
        let mut expand = Expand::new(rate);
        expand.start(&said, rate);
        let mut line = said.clone();
        line.resize(320 + 160, 0.0);
        expand.fill(&mut line[320..]);
        let mut after: Vec<f32> = tone(rate, 500..660).iter().map(|sample| -sample).collect();
        expand.merge(&mut after);
        line.extend(after);
        let steepest = line
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max);
        // The tone alone rises by 0.067 a sample.
        assert!(steepest < 0.12, "{steepest}");
    }

    #[test]
    fn a_released_sound_is_gone_within_5_ms() {
        let rate = Rate::Hz16000;
        let mut expand = Expand::new(rate);
        expand.start(&tone(rate, 0..640), rate);
        expand.release();
        let mut sound = vec![1.0; 160];
        expand.fill(&mut sound);
        assert!(rms(&sound[..20]) > 0.0);
        assert!(sound[82..].iter().all(|sample| *sample == 0.0));
    }
}
