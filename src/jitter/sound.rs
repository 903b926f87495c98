//! Decoded sound at one rate: what is still to be played, and the last 40 ms before it.
//!
//! One stretch of memory; reading moves on, and what is older than the history is overwritten once the end is near.
//! Concealment repeats the newest sound, played or not, so both lie in one piece.

use super::playout::PlayedKind;
use crate::codec::PAYLOAD_MS_MAX;
use crate::frame::Rate;

/// Enough for two of the longest pitch periods and the windows that compare them.
const HISTORY_MS: usize = 40;

/// The most that waits decoded: a tick, and what shortening looks at, when one more payload comes on top.
const AHEAD_MS_MAX: usize = 50 + PAYLOAD_MS_MAX;

#[derive(Debug)]
pub(super) struct Sound {
    rate: Rate,
    samples: Vec<f32>,
    /// The next sample to play; at least a history before it is always there.
    at: usize,
    end: usize,
    /// After the last sample of a voice, and after the last that is more than silence.
    voice_end: usize,
    noise_end: usize,
}

impl Sound {
    pub fn new(rate: Rate, rate_max: Rate) -> Sound {
        let ms = HISTORY_MS + AHEAD_MS_MAX + PAYLOAD_MS_MAX / 4;
        let samples = vec![0.0; ms * rate_max.max(rate).samples_per_ms()];
        let at = HISTORY_MS * rate.samples_per_ms();
        Sound {
            rate,
            samples,
            at,
            end: at,
            voice_end: at,
            noise_end: at,
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Forgets everything and goes on at another rate.
    pub fn restart(&mut self, rate: Rate) {
        self.rate = rate;
        self.at = self.history_samples();
        self.end = self.at;
        self.voice_end = self.at;
        self.noise_end = self.at;
        self.samples[..self.at].fill(0.0);
    }

    /// Goes on at another rate when all has been played: what was heard stays at hand, as if it had been at that rate.
    /// Straight lines between samples will do for what is only led over from.
    pub fn change_rate(&mut self, rate: Rate) {
        const HISTORY_MAX: usize = HISTORY_MS * Rate::Hz48000.samples_per_ms();
        let mut heard = [0.0; HISTORY_MAX];
        let heard = &mut heard[..self.history_samples()];
        heard.copy_from_slice(self.newest());
        let step = heard.len() as f32;
        self.restart(rate);
        let length = self.at;
        let step = step / length as f32;
        for (n, sample) in self.samples[..length].iter_mut().enumerate() {
            // From the end, so that the last sample is the last sample.
            let back = (length - 1 - n) as f32 * step;
            let whole = back as usize;
            let at = |back: usize| heard[heard.len().saturating_sub(1 + back)];
            *sample = at(whole) + (back - whole as f32) * (at(whole + 1) - at(whole));
        }
    }

    /// Goes on where `other` is, whose memory is no larger.
    pub fn go_on_from(&mut self, other: &Sound) {
        self.rate = other.rate;
        self.samples[..other.end].copy_from_slice(&other.samples[..other.end]);
        self.at = other.at;
        self.end = other.end;
        self.voice_end = other.voice_end;
        self.noise_end = other.noise_end;
    }

    /// Samples of memory.
    pub fn capacity(&self) -> usize {
        self.samples.len()
    }

    /// Samples still to be played.
    pub fn ahead(&self) -> usize {
        self.end - self.at
    }

    pub fn ahead_mut(&mut self) -> &mut [f32] {
        &mut self.samples[self.at..self.end]
    }

    /// The newest 40 ms, played or not; silence before the start.
    pub fn newest(&self) -> &[f32] {
        &self.samples[self.end - self.history_samples()..self.end]
    }

    /// Room after the newest sample, at most `samples` of it, to be written to before `extend`.
    pub fn room(&mut self, samples: usize) -> &mut [f32] {
        if self.end + samples > self.samples.len() {
            let start = self.at - self.history_samples();
            self.samples.copy_within(start..self.end, 0);
            self.at -= start;
            self.end -= start;
            self.voice_end = self.voice_end.saturating_sub(start);
            self.noise_end = self.noise_end.saturating_sub(start);
        }
        let end = (self.end + samples).min(self.samples.len());
        &mut self.samples[self.end..end]
    }

    /// Takes the first `samples` of the room as sound of that kind.
    pub fn extend(&mut self, samples: usize, kind: PlayedKind) {
        self.end = (self.end + samples).min(self.samples.len());
        match kind {
            PlayedKind::Voice => self.voice_end = self.end,
            PlayedKind::Noise => self.noise_end = self.end,
            PlayedKind::Silence => {}
        }
    }

    /// What the next samples are; a voice is more than noise, and that more than silence.
    pub fn kind(&self) -> PlayedKind {
        if self.voice_end > self.at {
            PlayedKind::Voice
        } else if self.noise_end > self.at {
            PlayedKind::Noise
        } else {
            PlayedKind::Silence
        }
    }

    /// What the newest sample is.
    pub fn newest_kind(&self) -> PlayedKind {
        if self.voice_end == self.end {
            PlayedKind::Voice
        } else if self.noise_end == self.end {
            PlayedKind::Noise
        } else {
            PlayedKind::Silence
        }
    }

    /// Plays the next samples; there must be as many ahead.
    pub fn play(&mut self, pcm: &mut [f32]) {
        let end = self.at + pcm.len();
        pcm.copy_from_slice(&self.samples[self.at..end]);
        self.at = end;
    }

    /// Takes out the next samples, as if they had never been: the history moves up to what follows.
    pub fn cut(&mut self, samples: usize) {
        let start = self.at - self.history_samples();
        self.samples.copy_within(start..self.at, start + samples);
        self.at += samples;
    }

    /// The sound in one piece, and how much of it has been played.
    pub fn around(&self) -> (&[f32], usize) {
        let played = self.history_samples();
        (&self.samples[self.at - played..self.end], played)
    }

    /// Puts samples, of the kind that comes next, in front of all that is still to be played. Returns whether there was
    /// room.
    pub fn insert(&mut self, samples: &[f32]) -> bool {
        let kind = self.kind();
        if self.room(samples.len()).len() < samples.len() {
            return false;
        }
        self.samples
            .copy_within(self.at..self.end, self.at + samples.len());
        self.samples[self.at..self.at + samples.len()].copy_from_slice(samples);
        self.end += samples.len();
        for end in [&mut self.voice_end, &mut self.noise_end] {
            if *end > self.at {
                *end += samples.len();
            }
        }
        debug_assert_eq!(self.kind(), kind);
        true
    }

    fn history_samples(&self) -> usize {
        HISTORY_MS * self.rate.samples_per_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_comes_out_as_it_went_in_and_the_newest_is_at_hand() {
        let mut sound = Sound::new(Rate::Hz8000, Rate::Hz8000);
        let (mut said, mut heard) = (0, 0);
        for round in 0..500 {
            let payload = [80, 160, 480, 960][round % 4];
            for sample in &mut sound.room(960)[..payload] {
                *sample = said as f32;
                said += 1;
            }
            sound.extend(payload, PlayedKind::Voice);
            assert_eq!(sound.newest().last(), Some(&(said as f32 - 1.0)));
            while sound.ahead() >= 160 {
                let mut pcm = [0.0; 160];
                sound.play(&mut pcm);
                for sample in pcm {
                    assert_eq!(sample, heard as f32);
                    heard += 1;
                }
            }
        }
    }

    #[test]
    fn a_full_load_of_the_longest_payloads_fits_at_every_rate() {
        for rate in Rate::ALL {
            let mut sound = Sound::new(rate, Rate::Hz8000);
            let longest = PAYLOAD_MS_MAX * rate.samples_per_ms();
            let before = 49 * rate.samples_per_ms();
            sound.room(before);
            sound.extend(before, PlayedKind::Voice);
            assert_eq!(sound.room(longest).len(), longest);
            sound.extend(longest, PlayedKind::Voice);
            assert_eq!(sound.ahead(), before + longest);
        }
    }

    #[test]
    fn a_cut_leaves_the_history_in_front_of_what_follows() {
        let mut sound = Sound::new(Rate::Hz8000, Rate::Hz8000);
        for (n, sample) in sound.room(960).iter_mut().enumerate() {
            *sample = n as f32;
        }
        sound.extend(960, PlayedKind::Voice);
        sound.play(&mut [0.0; 400]);
        sound.cut(50);
        assert_eq!(sound.ahead(), 510);
        assert_eq!(sound.samples[sound.at - 1], 399.0);
        assert_eq!(sound.ahead_mut()[0], 450.0);
    }

    #[test]
    fn what_is_inserted_comes_between_what_was_played_and_what_was_to_come() {
        let mut sound = Sound::new(Rate::Hz8000, Rate::Hz8000);
        let longest = 49 * 8 + 960;
        for (n, sample) in sound.room(longest).iter_mut().enumerate() {
            *sample = n as f32;
        }
        sound.extend(longest, PlayedKind::Voice);
        sound.play(&mut [0.0; 160]);
        assert!(sound.insert(&[-1.0; 120]));
        assert_eq!((sound.ahead(), sound.kind()), (longest - 40, PlayedKind::Voice));
        let (around, played) = sound.around();
        assert_eq!(around[played - 1], 159.0);
        assert_eq!(around[played..played + 120], [-1.0; 120]);
        assert_eq!(around[played + 120], 160.0);
        assert_eq!(around.last(), Some(&(longest as f32 - 1.0)));
    }

    #[test]
    fn a_new_rate_goes_on_where_the_old_one_ended() {
        let tone = |rate: Rate, n: usize| (n as f32 * 1_256.0 / rate.hz() as f32).sin();
        for (from, to) in [
            (Rate::Hz8000, Rate::Hz48000),
            (Rate::Hz48000, Rate::Hz16000),
            (Rate::Hz16000, Rate::Hz8000),
        ] {
            let mut sound = Sound::new(from, Rate::Hz48000);
            let samples = from.samples_per_tick() * 2;
            for (n, sample) in sound.room(samples).iter_mut().enumerate() {
                *sample = tone(from, n);
            }
            sound.extend(samples, PlayedKind::Voice);
            sound.play(&mut vec![0.0; samples]);
            sound.change_rate(to);
            assert_eq!(
                (sound.rate(), sound.ahead(), sound.kind()),
                (to, 0, PlayedKind::Silence)
            );
            let heard = sound.newest();
            let last = tone(from, samples - 1);
            assert_eq!(heard.last(), Some(&last));
            let before = heard[heard.len() - 1 - 10 * to.samples_per_ms()];
            let expected = tone(from, samples - 1 - 10 * from.samples_per_ms());
            assert!(
                (before - expected).abs() < 0.01,
                "{from:?} {to:?}: {before} {expected}"
            );
        }
    }
}
