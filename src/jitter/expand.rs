//! Makes up sound where none has come: what excited the last pitch period again and again, through the voice's own
//! envelope, with more and more noise in it, fading out.
//!
//! For codecs without a concealment of their own, and for every place where two pieces of sound do not belong
//! together. It starts without a step, as the envelope rings on from the last real samples, and `merge` blends it into
//! what follows.
//!
//! ```text
//! level  ├─ 5 ms ─┐ ╲    half in 100 ms, sooner where the voice was fading already
//!                     ╲
//!                      120 ms ╲ ... silence at 160 ms
//! ```

use super::envelope::{Envelope, ORDER, rms};
use super::pitch::{self, Lag};
use crate::frame::Rate;

/// Sound stays as loud as it was for this long; then it falls by so much each millisecond, and from the knee on to
/// nothing.
const HOLD_MS: usize = 5;
const FALL_PER_MS: f32 = 0.005;
const KNEE_MS: usize = 120;

/// Sound is gone after this; speech hardly ever goes on unchanged for longer.
pub(super) const FADED_MS: usize = 160;

/// A voice that grew fainter from its last period but one to its last goes on doing so, twice as fast, down to this.
const TREND: f32 = 2.0;
const TREND_FLOOR: f32 = 0.4;

/// A known pause is no loss: the sound before it ends quickly, but without a click.
const RELEASE_MS: usize = 5;

/// How long the made-up sound and the real one overlap.
const MERGE_MS: usize = 3;

/// A gain of −60 dB is the end of the fade.
const INAUDIBLE: f32 = 1.0e-3;

/// The pitch is sought in so much sound, and then made to fit the shape of the last few milliseconds.
const WINDOW_MS: usize = 12;
const FIT_MS: usize = 4;

/// Correlations: up to the first it is all noise, from the second on all voice.
const UNVOICED: f32 = 0.3;
const VOICED: f32 = 0.7;

/// A voice as sure as this has much the same pitch on both sides of a gap.
const NEAR: f32 = 0.5;

/// A voice loses so much of itself to noise each millisecond, from the eleventh on, but never more than half.
const NOISE_FROM_MS: usize = 10;
const NOISE_PER_MS: f32 = 1.0 / 300.0;
const NOISE_MAX: f32 = 0.5;

/// What is repeated is no shorter, be it several periods, or it would buzz.
const REPEATED_MS_MIN: usize = 5;

/// How much sound tells how loud the excitation is, at least.
const LEVEL_MS: usize = 10;

/// Room for the longest that is repeated, rounded up, at any rate.
const EXCITATION_MAX: usize = 16 * Rate::Hz48000.samples_per_ms();

/// From less sound than this nothing is made up.
pub(super) const LEARNT_MS_MIN: usize = 10;

/// So little is not worth the time that a processor takes over it.
const DENORMAL: f32 = 1.0e-12;

#[derive(Debug, Clone)]
pub(super) struct Expand {
    rate: Rate,
    envelope: Envelope,
    /// The last samples before the fade, the newest first.
    before: [f32; ORDER],
    /// One period of what excites the envelope, or several.
    excitation: [f32; EXCITATION_MAX],
    length: usize,
    at: usize,
    /// RMS of the excitation.
    level: f32,
    /// As it was found in what came before.
    pitch: Lag,
    /// The voice's share of the amplitude, as it was found; and the shares of voice and noise at present.
    voicing: f32,
    voice: f32,
    noise: f32,
    random: u32,
    /// Samples since the start.
    made: usize,
    gain: f32,
    /// By how much the gain shrinks each sample at least.
    release: f32,
    /// A factor on top of the gain, and what it is multiplied by each sample.
    swell: f32,
    trend: f32,
    active: bool,
}

impl Expand {
    pub fn new(rate: Rate) -> Expand {
        Expand {
            rate,
            envelope: Envelope::FLAT,
            before: [0.0; ORDER],
            excitation: [0.0; EXCITATION_MAX],
            length: 1,
            at: 0,
            level: 0.0,
            pitch: Lag {
                samples: 1,
                correlation: 0.0,
            },
            voicing: 0.0,
            voice: 0.0,
            noise: 0.0,
            random: 1,
            made: 0,
            gain: 0.0,
            release: 0.0,
            swell: 1.0,
            trend: 1.0,
            active: false,
        }
    }

    /// Goes on where `other` is.
    pub fn go_on_from(&mut self, other: &Expand) {
        self.clone_from(other);
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
        let end = history.len();
        let found = pitch::lag_of_end(history, rate, WINDOW_MS * per_ms);
        let lags = (found.samples - found.samples / 7)..=(found.samples + found.samples / 7);
        let lag = pitch::lag_among(history, rate, FIT_MS * per_ms, lags).samples;
        self.learn(history, rate, lag, found.correlation);

        let stretch = lag.max(REPEATED_MS_MIN * per_ms);
        let last = rms(&history[end - stretch..]);
        let former = rms(&history[end - 2 * stretch..end - stretch]);
        if last < former {
            self.trend = (last / former).max(0.5).powf(TREND / stretch as f32);
        }
    }

    /// Learns from less, at least `LEARNT_MS_MIN`, for which the pitch of `near`, if it is that of a voice, tells where to
    /// look. Returns false where so little cannot hold that pitch.
    pub fn start_near(&mut self, history: &[f32], rate: Rate, near: Lag) -> bool {
        let per_ms = rate.samples_per_ms();
        let lags = if near.correlation > NEAR {
            near.samples * 4 / 5..=near.samples * 5 / 4
        } else {
            0..=usize::MAX
        };
        if *lags.start() + FIT_MS * per_ms > history.len() || history.len() < LEARNT_MS_MIN * per_ms {
            return false;
        }
        let found = pitch::lag_among(history, rate, FIT_MS * per_ms, lags);
        self.learn(history, rate, found.samples, found.correlation);
        true
    }

    fn learn(&mut self, history: &[f32], rate: Rate, lag: usize, correlation: f32) {
        let per_ms = rate.samples_per_ms();
        let at_hand = (history.len() - ORDER).min(EXCITATION_MAX);
        let several = lag * (REPEATED_MS_MIN * per_ms).div_ceil(lag);
        let repeated = if several <= at_hand {
            several
        } else {
            lag.min(at_hand)
        };
        let excited = repeated.max(LEVEL_MS * per_ms).min(at_hand);

        self.rate = rate;
        self.envelope = Envelope::of_end(history, rate);
        self.length = repeated;
        self.excite(history, excited);
        self.pitch = Lag {
            samples: lag,
            correlation,
        };
        self.voicing = ((correlation - UNVOICED) / (VOICED - UNVOICED)).clamp(0.0, 1.0);
        for (before, sample) in self.before.iter_mut().zip(history.iter().rev()) {
            *before = *sample;
        }
        self.at = 0;
        self.made = 0;
        self.gain = 1.0;
        self.release = 0.0;
        self.swell = 1.0;
        self.trend = 1.0;
        self.active = true;
    }

    /// Takes what excited the last samples, of which the last `self.length` are to be repeated.
    fn excite(&mut self, history: &[f32], excited: usize) {
        let first = history.len() - excited;
        for n in 0..excited {
            let mut before = [0.0; ORDER];
            for (before, sample) in before.iter_mut().zip(history[..first + n].iter().rev()) {
                *before = *sample;
            }
            self.excitation[n] = self.envelope.excitation(history[first + n], &before);
        }
        self.level = rms(&self.excitation[..excited]);
        self.excitation.copy_within(excited - self.length..excited, 0);
    }

    /// Of the voice before the gap; alike to nothing where there was none.
    pub fn pitch(&self) -> Lag {
        self.pitch
    }

    /// From silence: what follows is faded in.
    pub fn start_silent(&mut self, rate: Rate) {
        self.rate = rate;
        self.pitch.correlation = 0.0;
        self.gain = 0.0;
        self.active = true;
    }

    /// Goes silent within 5 ms from here on.
    pub fn release(&mut self) {
        self.release = 1.0 / (RELEASE_MS * self.rate.samples_per_ms()) as f32;
    }

    /// The next samples of made-up sound.
    #[inline(never)]
    pub fn fill(&mut self, sound: &mut [f32]) {
        for sample in sound {
            *sample = self.next_sample();
        }
    }

    /// Blends the made-up sound into the beginning of the real one, and is done.
    #[inline(never)]
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
        let per_ms = self.rate.samples_per_ms();
        if self.made.is_multiple_of(per_ms) {
            self.mix(self.made / per_ms);
        }
        let excitation = self.voice * self.excitation[self.at] + self.noise * self.white();
        self.at += 1;
        if self.at == self.length {
            self.at = 0;
        }
        let sample = self.envelope.sample(excitation, &self.before);
        self.before.copy_within(..ORDER - 1, 1);
        self.before[0] = if sample.abs() < DENORMAL { 0.0 } else { sample };
        let heard = sample.clamp(-1.0, 1.0) * self.gain * self.swell;

        self.made += 1;
        let fall = match self.made / per_ms {
            ..HOLD_MS => 0.0,
            HOLD_MS..KNEE_MS => FALL_PER_MS,
            KNEE_MS.. => (1.0 - FALL_PER_MS * (KNEE_MS - HOLD_MS) as f32) / (FADED_MS - KNEE_MS) as f32,
        };
        self.gain -= (fall / per_ms as f32).max(self.release);
        if self.gain < INAUDIBLE {
            self.gain = 0.0;
        }
        self.swell = (self.swell * self.trend).max(TREND_FLOOR);
        heard
    }

    /// The shares of voice and noise after so many milliseconds; of unrelated sounds the powers add up.
    fn mix(&mut self, after_ms: usize) {
        let lost = (after_ms.saturating_sub(NOISE_FROM_MS) as f32 * NOISE_PER_MS).min(NOISE_MAX);
        self.voice = self.voicing * (1.0 - lost);
        self.noise = self.level * (1.0 - self.voice * self.voice).sqrt();
    }

    /// Even white noise with an RMS of 1.
    fn white(&mut self) -> f32 {
        // Marsaglia, "Xorshift RNGs" (2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        const SCALE: f32 = 1.732_050_8 / 2_147_483_648.0;
        self.random.cast_signed() as f32 * SCALE
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

    fn error(heard: &[f32], said: &[f32]) -> f32 {
        let error: Vec<f32> = heard.iter().zip(said).map(|(heard, said)| heard - said).collect();
        rms(&error) / rms(said)
    }

    #[test]
    fn a_voice_goes_on_at_its_pitch_and_fades_to_silence_within_160_ms() {
        for rate in Rate::ALL {
            let ms = rate.samples_per_ms();
            let mut expand = Expand::new(rate);
            expand.start(&tone(rate, 0..40 * ms), rate);
            let mut sound = vec![0.0; 180 * ms];
            expand.fill(&mut sound);
            let said = tone(rate, 40 * ms..80 * ms);
            let early = error(&sound[..20 * ms], &said[..20 * ms]);
            assert!(early < 0.15, "{rate:?}: {early}");
            let loudness = |ms_range: std::ops::Range<usize>| {
                rms(&sound[ms_range.start * ms..ms_range.end * ms]) / rms(&said)
            };
            for (range, least, most) in [(0..5, 0.9, 1.1), (60..80, 0.5, 0.85), (120..140, 0.2, 0.5)] {
                let heard = loudness(range.clone());
                assert!((least..=most).contains(&heard), "{rate:?}, {range:?} ms: {heard}");
            }
            assert!(sound[160 * ms..].iter().all(|sample| *sample == 0.0));
            assert!(expand.is_faded());
        }
    }

    #[test]
    fn a_voice_that_was_fading_fades_on() {
        let rate = Rate::Hz8000;
        let mut said = tone(rate, 0..480);
        for (n, sample) in said.iter_mut().enumerate() {
            *sample *= 0.995_f32.powi(n as i32);
        }
        let mut expand = Expand::new(rate);
        expand.start(&said[..320], rate);
        let mut sound = [0.0; 160];
        expand.fill(&mut sound);
        let ratio = rms(&sound[80..]) / rms(&said[400..]);
        assert!((0.4..1.2).contains(&ratio), "{ratio}");
    }

    #[test]
    fn noise_goes_on_as_noise_of_its_own_colour_and_nothing_repeats_in_it() {
        let rate = Rate::Hz8000;
        let mut random = fastrand::Rng::with_seed(7);
        let mut dark = 0.0;
        let said: Vec<f32> = (0..320)
            .map(|_| {
                dark += 0.4 * (random.f32() - 0.5 - dark);
                dark
            })
            .collect();
        let mut expand = Expand::new(rate);
        expand.start(&said, rate);
        let mut sound = [0.0; 160];
        expand.fill(&mut sound);
        let loudness = rms(&sound) / rms(&said);
        assert!((0.5..1.3).contains(&loudness), "{loudness}");
        let darkness = |sound: &[f32]| error(&sound[1..], &sound[..sound.len() - 1]);
        assert!((darkness(&sound) / darkness(&said) - 1.0).abs() < 0.3);
        let most = pitch::lag_of_end(&sound, rate, 80).correlation;
        assert!(most < 0.8, "{most}");
    }

    #[test]
    fn nothing_that_was_heard_makes_it_loud_or_endless() {
        let mut random = fastrand::Rng::with_seed(11);
        for rate in Rate::ALL {
            let mut expand = Expand::new(rate);
            for kind in 0..12 {
                let history: Vec<f32> = (0..40 * rate.samples_per_ms())
                    .map(|n| match kind {
                        0 => 0.0,
                        1 => 1.0,
                        2 => -2.0,
                        3 => 1.0e-30,
                        4 => [1.0, -1.0][n % 2],
                        5 => f32::from(n % 400 == 399),
                        6 => (n as f32 * 0.1).sin() * 1.0e-7,
                        7 => (n as f32 * 3.0).sin() * 2.0,
                        _ => (random.f32() - 0.5) * 10.0_f32.powi(-random.i32(0..10)),
                    })
                    .collect();
                expand.start(&history, rate);
                let mut sound = vec![0.0; FADED_MS * rate.samples_per_ms()];
                expand.fill(&mut sound);
                assert!(sound.iter().all(|sample| sample.abs() <= 1.0), "{rate:?} {kind}");
                assert!(expand.is_faded());
                if kind == 0 {
                    assert!(sound.iter().all(|sample| *sample == 0.0));
                }
            }
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
