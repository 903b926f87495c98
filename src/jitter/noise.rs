//! The comfort noise of a pause that its sender describes (RFC 3389).

use crate::codec::PayloadError;
use crate::codec::comfort_noise::{ComfortNoise, Description};
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};

/// How long it lies under the sound that ends the pause, fading; as long as made-up sound leads over to real one.
const LEAVE_MS: usize = 4;

/// Nothing decoded goes beyond this, nor does it with noise on top.
const PEAK_MAX: f32 = 2.0;

#[derive(Debug)]
pub(super) struct Noise {
    generator: ComfortNoise,
    rate: Rate,
}

impl Noise {
    pub fn new(rate: Rate) -> Noise {
        Noise {
            generator: ComfortNoise::new(rate, 1),
            rate,
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Begins in silence. Streams of different seeds do not sound in step, which would add up in a mix.
    pub fn restart(&mut self, rate: Rate, seed: u32) {
        self.generator = ComfortNoise::new(rate, seed);
        self.rate = rate;
    }

    /// Changes softly to what the payload describes; after an error it goes on as it was.
    pub fn describe(&mut self, payload: &[u8]) -> Result<(), PayloadError> {
        self.generator.set(payload)
    }

    /// Changes softly to that.
    pub fn slide_to(&mut self, description: Description) {
        self.generator.slide_to(description);
    }

    /// Adds the noise that comes next; false where there is none to hear.
    pub fn add(&mut self, sound: &mut [f32]) -> bool {
        if self.generator.is_silent() {
            return false;
        }
        let mut noise: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];
        for sound in sound.chunks_mut(FRAME_SAMPLES_MAX) {
            let noise = &mut noise[..sound.len()];
            self.generator.fill(noise);
            for (sample, noise) in sound.iter_mut().zip(noise) {
                *sample = (*sample + *noise).clamp(-PEAK_MAX, PEAK_MAX);
            }
        }
        true
    }

    /// Fades out under the beginning of what follows the pause.
    pub fn leave(&mut self, sound: &mut [f32]) {
        let overlap = (LEAVE_MS * self.rate.samples_per_ms()).min(sound.len());
        let mut noise: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];
        let noise = &mut noise[..overlap];
        self.generator.fill(noise);
        for (n, (sample, noise)) in sound.iter_mut().zip(noise).enumerate() {
            let weight = 1.0 - (n + 1) as f32 / (overlap + 1) as f32;
            *sample = (*sample + *noise * weight).clamp(-PEAK_MAX, PEAK_MAX);
        }
    }
}
