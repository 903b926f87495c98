//! How a leg sounds while nobody speaks, as far as it has been heard: what is played where sound is missing for so long
//! that any guess at a voice has faded. Where the background is digital silence, or has not been heard, so is that.

use super::noise::Noise;
use crate::codec::comfort_noise::{Description, ORDER_MAX};
use crate::frame::Rate;

/// One packet of so many is looked at.
const EVERY: u8 = 32;

/// The quietest of so many looks is remembered, and of as many before them: 10 to 20 s of packets of 20 ms.
const LOOKS: u8 = 16;

/// So much of a packet is looked at.
const LOOK_MS: usize = 20;

/// −45 dBFS, in mean squares: what was never quieter is no background.
const LOUD: f32 = 3.2e-5;

/// Who has not been heard for so long is not there any more.
const HEARD_MS_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Quiet {
    /// Mean square.
    power: f32,
    description: Description,
}

const NOTHING: Quiet = Quiet {
    power: f32::MAX,
    description: Description::SILENT,
};

#[derive(Debug)]
pub(super) struct Background {
    rate: Rate,
    /// The quietest of late, and of the time before.
    now: Quiet,
    before: Quiet,
    packets: u8,
    looks: u8,
    noise: Noise,
    /// How many samples of it have been played since it was last silent.
    heard: usize,
}

impl Background {
    pub fn new(rate: Rate) -> Background {
        Background {
            rate,
            now: NOTHING,
            before: NOTHING,
            packets: 0,
            looks: 0,
            noise: Noise::new(rate),
            heard: 0,
        }
    }

    /// Learns from what a packet held.
    #[inline]
    pub fn note(&mut self, sound: &[f32], rate: Rate) {
        self.packets += 1;
        if self.packets >= EVERY || rate != self.rate {
            self.look(sound, rate);
        }
    }

    #[cold]
    fn look(&mut self, sound: &[f32], rate: Rate) {
        self.packets = 0;
        if rate != self.rate {
            self.forget(rate);
        }
        let sound = &sound[..sound.len().min(LOOK_MS * rate.samples_per_ms())];
        let power = mean_product(sound, 0);
        if power < self.now.power {
            let mut autocorrelation = [0.0; ORDER_MAX + 1];
            for (lag, mean) in autocorrelation.iter_mut().enumerate() {
                *mean = mean_product(sound, lag);
            }
            self.now = Quiet {
                power,
                description: Description::of_autocorrelation(&autocorrelation),
            };
        }
        self.looks += 1;
        if self.looks == LOOKS {
            self.looks = 0;
            self.before = self.now;
            self.now = NOTHING;
        }
    }

    /// Another leg's sound may come now, or another rate.
    pub fn forget(&mut self, rate: Rate) {
        self.rate = rate;
        self.now = NOTHING;
        self.before = NOTHING;
        self.packets = 0;
        self.looks = 0;
        self.heard = 0;
    }

    /// Begins to sound, and does for 10 s at most. `seed` tells legs apart.
    pub fn begin(&mut self, seed: u32) {
        let quietest = if self.now.power < self.before.power {
            self.now
        } else {
            self.before
        };
        if self.heard == 0 && quietest.power <= LOUD {
            self.noise.restart(self.rate, seed);
            self.noise.slide_to(quietest.description);
            self.heard = 1;
        }
    }

    /// Adds what is to be heard of it; false where that is nothing.
    pub fn add(&mut self, sound: &mut [f32]) -> bool {
        if self.heard == 0 {
            return false;
        }
        let most = HEARD_MS_MAX * self.rate.samples_per_ms();
        if self.heard <= most && self.heard + sound.len() > most {
            self.noise.slide_to(Description::SILENT);
        }
        self.heard = self.heard.saturating_add(sound.len());
        self.noise.add(sound)
    }

    /// Fades out under the beginning of what follows.
    #[inline]
    pub fn leave(&mut self, sound: &mut [f32]) {
        if self.heard > 0 {
            self.fade_out(sound);
        }
    }

    #[cold]
    fn fade_out(&mut self, sound: &mut [f32]) {
        self.noise.leave(sound);
        self.heard = 0;
    }
}

/// The mean over all of `sound` of the products of samples that are `lag` apart.
fn mean_product(sound: &[f32], lag: usize) -> f32 {
    let later = sound.get(lag..).unwrap_or_default();
    super::envelope::dot(later, &sound[..later.len()]) / sound.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::Hz8000;

    fn rms(sound: &[f32]) -> f32 {
        super::super::envelope::rms(sound)
    }

    /// Packets of a voice with a pause of `noise` each second.
    fn talk(background: &mut Background, seconds: usize, mut noise: impl FnMut() -> f32) {
        for packet in 0..50 * seconds {
            let voice = if packet % 50 < 35 { 0.2 } else { 0.0 };
            let sound: Vec<f32> = (0..160)
                .map(|n| voice * (n as f32 * 0.3).sin() + noise())
                .collect();
            background.note(&sound, RATE);
        }
    }

    fn heard(background: &mut Background, samples: usize) -> Vec<f32> {
        let mut sound = vec![0.0; samples];
        background.begin(3);
        for tick in sound.chunks_mut(160) {
            background.add(tick);
        }
        sound
    }

    #[test]
    fn the_noise_is_as_loud_and_as_dark_as_the_pauses_were() {
        for level in [0.0003, 0.002] {
            let mut random = fastrand::Rng::with_seed(5);
            let mut dark = 0.0;
            let mut background = Background::new(RATE);
            talk(&mut background, 15, || {
                dark += 0.3 * ((random.f32() - 0.5) * level * 8.0 - dark);
                dark
            });
            let said: Vec<f32> = (0..8_000)
                .map(|_| {
                    dark += 0.3 * ((random.f32() - 0.5) * level * 8.0 - dark);
                    dark
                })
                .collect();
            let sound = heard(&mut background, 8_000);
            let ratio = rms(&sound[400..]) / rms(&said);
            assert!((0.6..1.2).contains(&ratio), "{level}: {ratio}");
            let slope = |sound: &[f32]| {
                let steps: Vec<f32> = sound.windows(2).map(|pair| pair[1] - pair[0]).collect();
                rms(&steps) / rms(sound)
            };
            let (found, expected) = (slope(&sound[400..]), slope(&said));
            assert!((0.7..1.4).contains(&(found / expected)), "{found} {expected}");
        }
    }

    #[test]
    fn digital_silence_stays_so_and_what_was_never_quiet_is_no_background() {
        let mut background = Background::new(RATE);
        talk(&mut background, 5, || 0.0);
        assert!(heard(&mut background, 1_600).iter().all(|sample| *sample == 0.0));

        let mut random = fastrand::Rng::with_seed(6);
        let mut background = Background::new(RATE);
        talk(&mut background, 5, || 0.1 * (random.f32() - 0.5));
        assert!(heard(&mut background, 1_600).iter().all(|sample| *sample == 0.0));

        assert!(
            heard(&mut Background::new(RATE), 160)
                .iter()
                .all(|sample| *sample == 0.0)
        );
    }

    #[test]
    fn a_background_that_grows_louder_is_followed_and_ends_after_ten_seconds() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut background = Background::new(RATE);
        talk(&mut background, 20, || 0.0005 * (random.f32() - 0.5));
        talk(&mut background, 25, || 0.005 * (random.f32() - 0.5));
        let sound = heard(&mut background, 12 * 8_000);
        let expected = 0.005 / 12.0_f32.sqrt();
        let ratio = rms(&sound[8_000..72_000]) / expected;
        assert!((0.7..1.1).contains(&ratio), "{ratio}");
        assert!(sound[11 * 8_000..].iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn it_comes_and_goes_without_a_step() {
        let mut random = fastrand::Rng::with_seed(8);
        let mut background = Background::new(RATE);
        talk(&mut background, 5, || 0.01 * (random.f32() - 0.5));
        let mut sound = heard(&mut background, 1_600);
        let mut after = vec![0.0; 160];
        background.leave(&mut after);
        sound.extend(after);
        let loudest = sound
            .iter()
            .fold(0.0, |loudest: f32, sample| loudest.max(sample.abs()));
        assert!(sound[..16].iter().all(|sample| sample.abs() < 0.3 * loudest));
        assert!(sound[1_624..].iter().all(|sample| sample.abs() < 0.5 * loudest));
        assert!(sound[1_632..].iter().all(|sample| *sample == 0.0));
        assert!(!background.add(&mut [0.0; 160]));
    }
}
