//! Comfort noise (RFC 3389): what a pause sounds like, as its sender describes it beside codecs that have no
//! silence descriptions of their own.
//!
//! The noise is white, shaped by an all-pole lattice in its normalised form: each stage is a rotation, so the power
//! of what comes out is that of what goes in, whatever the coefficients are and however they change.

use super::PayloadError;
use crate::frame::Rate;

/// The most reflection coefficients that shape the noise. RFC 3389 §3 lets a receiver cut the order.
pub const ORDER_MAX: usize = 12;

/// Level of a description that says that there is nothing to hear, in −dBov.
pub const LEVEL_SILENT: u8 = 127;

/// Beyond this a stage rings longer than a pause lasts, and the level of the noise is a matter of chance.
const REFLECTION_MAX: f32 = 0.98;

/// A new description is reached in so many milliseconds.
const SLIDE_MS: usize = 30;

/// The shape follows in steps of a millisecond, the level with each sample.
const STEPS_PER_S: usize = 1_000;

/// Loud noise has peaks above full scale; as with an overshooting Opus signal, the limiter of the mix deals with them.
const PEAK_MAX: f32 = 2.0;

/// How a noise sounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Description {
    /// RMS, where 1.0 is that of a square wave at full scale (0 dBov).
    rms: f32,
    /// Of the all-pole filter 1/A(z), A(z) = 1 + a₁z⁻¹ + …: a negative first coefficient makes the noise darker.
    /// RFC 3389 does not name the sign; libwebrtc and ffmpeg have it so (bcg729 has it the other way).
    reflection: [f32; ORDER_MAX],
}

impl Description {
    pub const SILENT: Description = Description {
        rms: 0.0,
        reflection: [0.0; ORDER_MAX],
    };

    /// Reads a CN payload: the level (RFC 3389 §3.1), then any number of reflection coefficients (§3.2). Those past
    /// `ORDER_MAX` and the reserved value do not shape the noise.
    pub fn parse(payload: &[u8]) -> Result<Description, PayloadError> {
        const RESERVED: u8 = 255;
        let (level, coefficients) = payload.split_first().ok_or(PayloadError::Empty)?;
        let mut description = Description {
            rms: rms_of(level & 0x7F),
            ..Description::SILENT
        };
        for (reflection, byte) in description.reflection.iter_mut().zip(coefficients) {
            if *byte != RESERVED {
                let exact = 258.0 / 32_768.0 * (f32::from(*byte) - 127.0);
                *reflection = exact.clamp(-REFLECTION_MAX, REFLECTION_MAX);
            }
        }
        Ok(description)
    }

    /// The description of a noise by its autocorrelation at lags 0, 1, 2, …, each the mean of the products.
    pub(crate) fn of_autocorrelation(autocorrelation: &[f32]) -> Description {
        let mut description = Description::SILENT;
        let Some((power, _)) = autocorrelation.split_first() else {
            return description;
        };
        if !power.is_finite() || *power <= 0.0 {
            return description;
        }
        description.rms = power.sqrt();
        // Levinson's recursion; `predictor[0]` is that of the sample before.
        let mut predictor = [0.0; ORDER_MAX];
        let mut error = *power;
        let order = ORDER_MAX.min(autocorrelation.len() - 1);
        for stage in 0..order {
            let known: f32 = (0..stage)
                .map(|lag| predictor[lag] * autocorrelation[stage - lag])
                .sum();
            let reflection = -(autocorrelation[stage + 1] + known) / error;
            if !reflection.is_finite() || reflection.abs() > REFLECTION_MAX {
                break;
            }
            description.reflection[stage] = reflection;
            let before = predictor;
            for lag in 0..stage {
                predictor[lag] += reflection * before[stage - 1 - lag];
            }
            predictor[stage] = reflection;
            error *= 1.0 - reflection * reflection;
        }
        description
    }
}

/// Writes the payload that describes white noise of that level (dBov, at most 0) and returns its length: one byte, or
/// none where `payload` has no room.
pub fn describe(level_dbov: f32, payload: &mut [u8]) -> usize {
    let Some(byte) = payload.first_mut() else {
        return 0;
    };
    // No level at all, as of pure silence, is the lowest; a cast saturates.
    *byte = if level_dbov.is_nan() {
        LEVEL_SILENT
    } else {
        (-level_dbov).round().clamp(0.0, f32::from(LEVEL_SILENT)) as u8
    };
    1
}

/// Makes the noise of one stream's pauses. Equal seeds make equal noise.
#[derive(Debug, Clone)]
pub struct ComfortNoise {
    random: u32,
    samples_per_step: usize,
    /// What is heard now, what it slides to, and how many steps that takes from here.
    now: Description,
    target: Description,
    steps_left: usize,
    /// Sines and cosines of the lattice's rotations, for the reflection coefficients of `now`.
    rotation: [(f32, f32); ORDER_MAX],
    /// How many of these turn anything.
    order: usize,
    /// What each stage reflected at the last sample.
    reflected: [f32; ORDER_MAX],
}

impl ComfortNoise {
    /// Silent until it is told what to sound like.
    pub fn new(rate: Rate, seed: u32) -> ComfortNoise {
        ComfortNoise {
            // Xorshift stands still at zero.
            random: seed.max(1),
            samples_per_step: rate.hz() as usize / STEPS_PER_S,
            now: Description::SILENT,
            target: Description::SILENT,
            steps_left: 0,
            rotation: [(0.0, 1.0); ORDER_MAX],
            order: 0,
            reflected: [0.0; ORDER_MAX],
        }
    }

    /// Slides to what a CN payload describes. After an error the noise goes on as it was.
    pub fn set(&mut self, payload: &[u8]) -> Result<(), PayloadError> {
        self.slide_to(Description::parse(payload)?);
        Ok(())
    }

    /// Slides to a description within 30 ms.
    pub fn slide_to(&mut self, target: Description) {
        self.target = target;
        self.steps_left = SLIDE_MS * STEPS_PER_S / 1_000;
    }

    /// Sounds like the description from the next sample.
    pub(super) fn start(&mut self, description: Description) {
        self.now = description;
        self.target = description;
        self.steps_left = 0;
        self.turn();
    }

    /// Whether all that follows is zero, until a description says otherwise.
    pub fn is_silent(&self) -> bool {
        self.now.rms == 0.0 && self.target.rms == 0.0
    }

    /// Fills `pcm` with what follows, within ±2.0.
    pub fn fill(&mut self, pcm: &mut [f32]) {
        if self.is_silent() {
            pcm.fill(0.0);
            return;
        }
        for step in pcm.chunks_mut(self.samples_per_step) {
            let rms = self.now.rms;
            self.advance();
            let slope = (self.now.rms - rms) / step.len() as f32;
            for (n, sample) in step.iter_mut().enumerate() {
                let shaped = self.shaped() * (rms + slope * (n + 1) as f32);
                *sample = shaped.clamp(-PEAK_MAX, PEAK_MAX);
            }
        }
    }

    /// One step on the way to the target.
    fn advance(&mut self) {
        if self.steps_left == 0 {
            return;
        }
        if self.steps_left == 1 {
            self.now = self.target;
        } else {
            let part = 1.0 / self.steps_left as f32;
            self.now.rms += part * (self.target.rms - self.now.rms);
            for (now, target) in self.now.reflection.iter_mut().zip(&self.target.reflection) {
                *now += part * (target - *now);
            }
        }
        self.steps_left -= 1;
        self.turn();
    }

    fn turn(&mut self) {
        for (rotation, reflection) in self.rotation.iter_mut().zip(&self.now.reflection) {
            *rotation = (*reflection, (1.0 - reflection * reflection).sqrt());
        }
        let last = self
            .now
            .reflection
            .iter()
            .rposition(|reflection| *reflection != 0.0);
        self.order = last.map_or(0, |last| last + 1);
    }

    /// One sample of shaped noise with an RMS of 1.
    fn shaped(&mut self) -> f32 {
        let mut forward = self.white();
        for stage in (0..self.order).rev() {
            let (sine, cosine) = self.rotation[stage];
            let back = self.reflected[stage];
            let turned = cosine * forward - sine * back;
            if stage + 1 < ORDER_MAX {
                self.reflected[stage + 1] = sine * forward + cosine * back;
            }
            forward = turned;
        }
        self.reflected[0] = forward;
        forward
    }

    /// One sample of even white noise with an RMS of 1: within ±√3.
    fn white(&mut self) -> f32 {
        // Marsaglia, "Xorshift RNGs" (2003): all 32 bits but zero, once each.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        const SCALE: f32 = 1.732_050_8 / 2_147_483_648.0;
        self.random.cast_signed() as f32 * SCALE
    }
}

/// RMS of a level in −dBov.
fn rms_of(level: u8) -> f32 {
    if level >= LEVEL_SILENT {
        return 0.0;
    }
    10.0_f32.powf(f32::from(level) / -20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [Rate; 3] = [Rate::Hz8000, Rate::Hz16000, Rate::Hz48000];

    fn rms(pcm: &[f32]) -> f32 {
        (pcm.iter().map(|s| f64::from(s * s)).sum::<f64>() / pcm.len() as f64).sqrt() as f32
    }

    fn db(ratio: f32) -> f32 {
        20.0 * ratio.log10()
    }

    /// The byte of a reflection coefficient (RFC 3389 §3.2).
    fn byte(reflection: f32) -> u8 {
        (127.0 + reflection * 32_768.0 / 258.0).round() as u8
    }

    /// The power of the noise at a frequency given as a part of the sample rate, over its mean.
    fn density(pcm: &[f32], frequency: f32) -> f32 {
        const BLOCK: usize = 256;
        let blocks = pcm.as_chunks::<BLOCK>().0;
        let power: f32 = blocks
            .iter()
            .map(|block| {
                let (mut re, mut im) = (0.0, 0.0);
                for (n, sample) in block.iter().enumerate() {
                    let window = 1.0 - (std::f32::consts::TAU * n as f32 / BLOCK as f32).cos();
                    let angle = std::f32::consts::TAU * frequency * n as f32;
                    re += window * sample * angle.cos();
                    im += window * sample * angle.sin();
                }
                re * re + im * im
            })
            .sum();
        // The squares of the window have a mean of 1.5.
        power / (1.5 * BLOCK as f32 * blocks.len() as f32 * rms(pcm).powi(2))
    }

    #[test]
    fn every_level_is_reached_within_a_decibel_at_every_order() {
        let mut random = fastrand::Rng::with_seed(1);
        for order in 0..=ORDER_MAX {
            for level in 0..=126 {
                let mut payload = [0; 1 + ORDER_MAX];
                payload[0] = level;
                for coefficient in &mut payload[1..] {
                    *coefficient = byte(random.f32() - 0.5);
                }
                let mut noise = ComfortNoise::new(RATES[usize::from(level) % 3], random.u32(..));
                noise.set(&payload[..1 + order]).unwrap();
                let mut pcm = vec![0.0; 32_000];
                noise.fill(&mut pcm);
                let heard = db(rms(&pcm[2_000..]));
                let off = heard + f32::from(level);
                assert!(off.abs() < 1.0, "−{level} dBov, order {order}: {heard}");
            }
        }
    }

    #[test]
    fn the_lowest_level_is_silence() {
        let mut noise = ComfortNoise::new(Rate::Hz8000, 1);
        assert!(noise.is_silent());
        let mut pcm = [1.0; 480];
        noise.fill(&mut pcm);
        assert_eq!(pcm, [0.0; 480]);
        noise.set(&[40]).unwrap();
        assert!(!noise.is_silent());
        noise.fill(&mut pcm);
        noise.set(&[LEVEL_SILENT, 3]).unwrap();
        assert!(!noise.is_silent(), "it fades first");
        noise.fill(&mut pcm);
        assert!(noise.is_silent());
        assert_eq!(pcm[479], 0.0);
    }

    #[test]
    fn the_spectrum_is_that_of_the_all_pole_filter() {
        // RFC 3389 §3.2: of first order it is 1/(1 + k z⁻¹), so a negative k is dark and a positive one bright.
        for (first, second) in [
            (-0.9, 0.0),
            (-0.5, 0.0),
            (0.0, 0.0),
            (0.5, 0.0),
            (0.9, 0.0),
            (0.0, 0.7),
            (-0.6, 0.6),
        ] {
            let mut noise = ComfortNoise::new(Rate::Hz8000, 7);
            noise.set(&[20, byte(first), byte(second)]).unwrap();
            let mut pcm = vec![0.0; 400_000];
            noise.fill(&mut pcm);
            let step_up = [first + first * second, second];
            let gain = (1.0 - first * first) * (1.0 - second * second);
            for frequency in [0.02, 0.1, 0.2, 0.25, 0.3, 0.4, 0.48] {
                let angle = |lag: f32| std::f32::consts::TAU * frequency * lag;
                let re = 1.0 + step_up[0] * angle(1.0).cos() + step_up[1] * angle(2.0).cos();
                let im = step_up[0] * angle(1.0).sin() + step_up[1] * angle(2.0).sin();
                let expected = gain / (re * re + im * im);
                let heard = density(&pcm, frequency);
                let off = 10.0 * (heard / expected).log10();
                assert!(
                    off.abs() < 1.0,
                    "k {first} {second} at {frequency}: {heard} for {expected}"
                );
            }
        }
    }

    #[test]
    fn a_new_description_is_slid_to_without_a_step() {
        for rate in RATES {
            let mut noise = ComfortNoise::new(rate, 3);
            noise.set(&[60, byte(-0.9)]).unwrap();
            let ms = rate.samples_per_ms();
            let mut pcm = vec![0.0; 200 * ms];
            noise.fill(&mut pcm);
            noise.set(&[20, byte(0.9)]).unwrap();
            let mut pcm = vec![0.0; 200 * ms];
            for chunk in pcm.chunks_mut(10 * ms) {
                noise.fill(chunk);
            }
            assert!(db(rms(&pcm[..ms])) < -40.0, "it begins where it was");
            assert!((db(rms(&pcm[13 * ms..17 * ms])) + 26.0).abs() < 3.0, "half way");
            assert!((db(rms(&pcm[30 * ms..])) + 20.0).abs() < 1.5, "it arrives");
        }
    }

    #[test]
    fn equal_seeds_make_equal_noise_however_it_is_cut_into_pieces_of_a_millisecond() {
        let make = |seed, piece: usize| {
            let mut noise = ComfortNoise::new(Rate::Hz8000, seed);
            noise.set(&[30, 90, 140]).unwrap();
            let mut pcm = vec![0.0; 1_600];
            pcm.chunks_mut(piece).for_each(|piece| noise.fill(piece));
            pcm
        };
        assert_eq!(make(5, 160), make(5, 80));
        assert_eq!(make(5, 160), make(5, 8));
        assert_ne!(make(5, 160), make(6, 160));
        assert_eq!(make(0, 160), make(1, 160), "a seed of nothing is one as well");
    }

    #[test]
    fn any_payload_makes_bounded_noise_and_an_empty_one_is_refused() {
        let mut random = fastrand::Rng::with_seed(9);
        let mut noise = ComfortNoise::new(Rate::Hz16000, 1);
        assert_eq!(noise.set(&[]), Err(PayloadError::Empty));
        let mut payload = [0; 64];
        let mut pcm = [0.0; 320];
        for _ in 0..20_000 {
            let length = random.usize(1..=payload.len());
            random.fill(&mut payload[..length]);
            if random.bool() {
                payload[1..].fill(random.choice([0, 127, 254, 255]).unwrap());
            }
            assert_eq!(noise.set(&payload[..length]), Ok(()));
            noise.fill(&mut pcm[..random.usize(0..=320)]);
            assert!(pcm.iter().all(|sample| sample.abs() <= PEAK_MAX));
        }
    }

    #[test]
    fn what_we_describe_is_the_level_rounded_in_one_byte() {
        let cases = [
            (0.0, 0),
            (-0.4, 0),
            (-65.0, 65),
            (-65.6, 66),
            (-126.4, 126),
            (-127.0, 127),
            (-500.0, 127),
            (f32::NEG_INFINITY, 127),
            (3.0, 0),
            (f32::NAN, 127),
        ];
        for (level, byte) in cases {
            let mut payload = [255; 2];
            assert_eq!(describe(level, &mut payload), 1);
            assert_eq!(payload, [byte, 255], "{level}");
        }
        assert_eq!(describe(-60.0, &mut []), 0);
    }

    #[test]
    fn a_noise_is_described_by_its_autocorrelation() {
        let said = Description::parse(&[30, byte(-0.8), byte(0.5), byte(-0.3), byte(0.2)]).unwrap();
        let mut noise = ComfortNoise::new(Rate::Hz8000, 11);
        noise.start(said);
        let mut pcm = vec![0.0; 200_000];
        noise.fill(&mut pcm);
        let autocorrelation: Vec<f32> = (0..=6)
            .map(|lag| pcm.iter().zip(&pcm[lag..]).map(|(a, b)| a * b).sum::<f32>() / pcm.len() as f32)
            .collect();
        let heard = Description::of_autocorrelation(&autocorrelation);
        assert!(db(heard.rms / said.rms).abs() < 0.2);
        said.reflection
            .iter()
            .zip(heard.reflection)
            .for_each(|(said, heard)| {
                assert!((said - heard).abs() < 0.02, "{said} {heard}");
            });
        assert_eq!(Description::of_autocorrelation(&[0.0; 5]), Description::SILENT);
        assert_eq!(Description::of_autocorrelation(&[]), Description::SILENT);
        assert_eq!(
            Description::of_autocorrelation(&[f32::NAN; 5]),
            Description::SILENT
        );
        let tone = Description::of_autocorrelation(&[1.0, 1.0, 1.0, 1.0]);
        assert_eq!(
            tone.reflection, [0.0; ORDER_MAX],
            "what is no noise has its level only"
        );
    }
}
