//! Whether a leg says something, so that only those who do have a signal of their own in the mix.
//!
//! A tick counts when its level is above −60 dBFS and 6 dB above the leg's own noise floor, or, in the narrow band
//! where the level alone cannot tell, when the speech detector says so; half a second of hangover bridges pauses.
//! It decides nothing about fades or decoding: that is for whoever mixes.

use webrtc_vad::{SampleRate, Vad, VadMode};

use super::level::{dbfs_to_power, mean_square, power_to_dbfs};
use crate::frame::Rate;

/// Any tick above this and [`ABOVE_FLOOR_DB`] over the noise floor counts.
const LOUD_DBFS: f32 = -60.0;

/// 6 dB, as a ratio of powers.
const LOUD_OVER_FLOOR: f32 = 3.981;

/// Below this nothing counts: it would not be heard.
const QUIET_DBFS: f32 = -70.0;

/// 3 dB, as a ratio of powers: a tick nearer to the noise floor is noise, and is not worth the detector's time.
const QUIET_OVER_FLOOR: f32 = 1.995;

/// 500 ms.
const HANGOVER_TICKS: u8 = 25;

/// The activity of one leg.
pub struct Activity {
    detector: SpeechDetector,
    floor: NoiseFloor,
    /// Thresholds as mean squares.
    loud: f32,
    quiet: f32,
    /// The mean square of the last tick.
    power: f32,
    /// Ticks for which the leg contributes, the last one included.
    remaining: u8,
}

impl Activity {
    pub fn new() -> Activity {
        Activity {
            detector: SpeechDetector::new(),
            floor: NoiseFloor::new(),
            loud: dbfs_to_power(LOUD_DBFS),
            quiet: dbfs_to_power(QUIET_DBFS),
            power: 0.0,
            remaining: 0,
        }
    }

    /// Hears one tick of the leg, `rate.samples_per_tick()` samples, and tells whether the leg contributes to it.
    pub fn update(&mut self, pcm: &[f32], rate: Rate) -> bool {
        debug_assert_eq!(pcm.len(), rate.samples_per_tick());
        let power = mean_square(pcm);
        if !power.is_finite() {
            return self.silence();
        }
        self.power = power;
        let floor = self.floor.power();
        let loud = power > self.loud.max(floor * LOUD_OVER_FLOOR);
        let unclear = power > self.quiet.max(floor * QUIET_OVER_FLOOR);
        self.floor.observe(power);
        if loud || unclear && self.detector.hears_speech(pcm, rate) {
            self.remaining = 1 + HANGOVER_TICKS;
            return true;
        }
        self.count_down()
    }

    /// One tick for which the leg has no sound (DTX, or nothing arrived): tells whether it still contributes.
    /// Its noise floor stays as it was.
    pub fn silence(&mut self) -> bool {
        self.power = 0.0;
        self.count_down()
    }

    /// Whether the leg contributed to the last tick.
    pub fn contributes(&self) -> bool {
        self.remaining > 0
    }

    /// The mean square of the last tick, zero where it had no sound.
    pub fn power(&self) -> f32 {
        self.power
    }

    /// The level of the last tick (see [`super::level`]).
    pub fn level_dbfs(&self) -> f32 {
        power_to_dbfs(self.power)
    }

    /// The noise floor as known so far, −73 to −40 dBFS.
    pub fn noise_floor_dbfs(&self) -> f32 {
        power_to_dbfs(self.floor.power())
    }

    fn count_down(&mut self) -> bool {
        self.remaining = self.remaining.saturating_sub(1);
        self.contributes()
    }
}

impl Default for Activity {
    fn default() -> Activity {
        Activity::new()
    }
}

/// The level below which a leg has not been for longer than a breath: the least smoothed power of the last
/// two and a half seconds (minimum statistics). It falls at once and rises slowly.
struct NoiseFloor {
    /// Mean square.
    power: f32,
    /// The power of the last ticks, smoothed: single ticks of low-pitched noise scatter by several decibels.
    smoothed: f32,
    /// The least smoothed power of each past part of the window, the one being filled included.
    least: [f32; NoiseFloor::PARTS],
    /// Ticks into the part being filled, and which that is.
    ticks: u8,
    part: u8,
    bounds: (f32, f32),
}

impl NoiseFloor {
    const PARTS: usize = 5;
    const TICKS_PER_PART: u8 = 25;

    /// Of the power so far, in one tick.
    const SMOOTHING: f32 = 0.7;

    /// 20 dB a second: what is in the mix until it is known for noise is so for three to four seconds. Over less than two
    /// and a half, words over the babble of others are cut up more often (`make quality TABLES=talkers`).
    const RISE: f32 = 1.0966;

    /// Below, a floor changes nothing but the time that is needed to rise from it.
    const DBFS_MIN: f32 = -73.0;

    /// Above, it is no noise any more: whoever plays music at −34 dBFS is heard for as long as it lasts.
    const DBFS_MAX: f32 = -40.0;

    /// Before anything is known: typical idle noise then never counts.
    const DBFS_AT_FIRST: f32 = -66.0;

    fn new() -> NoiseFloor {
        let power = dbfs_to_power(NoiseFloor::DBFS_AT_FIRST);
        NoiseFloor {
            power,
            smoothed: power,
            least: [power; NoiseFloor::PARTS],
            ticks: 0,
            part: 0,
            bounds: (
                dbfs_to_power(NoiseFloor::DBFS_MIN),
                dbfs_to_power(NoiseFloor::DBFS_MAX),
            ),
        }
    }

    fn power(&self) -> f32 {
        self.power
    }

    fn observe(&mut self, power: f32) {
        // Bounded here already: left to itself it would fade into numbers too small to be calculated with quickly.
        self.smoothed = (power + NoiseFloor::SMOOTHING * (self.smoothed - power)).max(self.bounds.0);
        self.ticks += 1;
        if self.ticks > NoiseFloor::TICKS_PER_PART {
            self.ticks = 1;
            self.part = (self.part + 1) % NoiseFloor::PARTS as u8;
            self.least[usize::from(self.part)] = self.smoothed;
        }
        let least = &mut self.least[usize::from(self.part)];
        *least = least.min(self.smoothed);
        let least = self
            .least
            .iter()
            .fold(f32::INFINITY, |least, part| least.min(*part));
        self.power = least
            .min(self.power * NoiseFloor::RISE)
            .clamp(self.bounds.0, self.bounds.1);
    }
}

/// The detector works at 16 kHz at most; higher rates come down to that by plain averages.
const DETECTOR_SAMPLES_MAX: usize = Rate::Hz16000.samples_per_tick();

struct SpeechDetector {
    vad: Vad,
}

// SAFETY: the raw pointer in `Vad` owns a block of plain C data from malloc; nothing in it belongs to a thread, and
// it is only used through `&mut`.
unsafe impl Send for SpeechDetector {}

impl SpeechDetector {
    fn new() -> SpeechDetector {
        // The strictest mode: it misses no speech that matters here (the level finds it), and the others take the
        // first ticks of idle noise for speech.
        SpeechDetector {
            vad: Vad::new_with_mode(VadMode::VeryAggressive),
        }
    }

    /// One tick. Allocates nothing.
    fn hears_speech(&mut self, pcm: &[f32], rate: Rate) -> bool {
        self.vad.set_sample_rate(match rate {
            Rate::Hz8000 => SampleRate::Rate8kHz,
            // The library's own way down from 48 kHz reads the first 10 ms of each frame twice.
            Rate::Hz16000 | Rate::Hz48000 => SampleRate::Rate16kHz,
        });
        let mut samples = [0; DETECTOR_SAMPLES_MAX];
        let len = match rate {
            Rate::Hz8000 | Rate::Hz16000 => {
                for (sample, pcm) in samples.iter_mut().zip(pcm) {
                    *sample = (pcm * 32768.0) as i16;
                }
                pcm.len().min(samples.len())
            }
            Rate::Hz48000 => {
                for (sample, [a, b, c]) in samples.iter_mut().zip(pcm.as_chunks().0) {
                    *sample = ((a + b + c) * (32768.0 / 3.0)) as i16;
                }
                samples.len()
            }
        };
        self.vad.is_voice_segment(&samples[..len]).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::level_dbfs;
    use super::*;

    fn scaled_to(pcm: &[f32], dbfs: f32) -> Vec<f32> {
        let gain = 10f32.powf((dbfs - level_dbfs(pcm)) / 20.0);
        pcm.iter().map(|sample| sample * gain).collect()
    }

    fn white_noise(rate: Rate, seconds: usize, dbfs: f32) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(11);
        let pcm: Vec<f32> = (0..rate.hz() as usize * seconds)
            .map(|_| random.f32() - 0.5)
            .collect();
        scaled_to(&pcm, dbfs)
    }

    fn tone(rate: Rate, seconds: usize, dbfs: f32) -> Vec<f32> {
        let pcm: Vec<f32> = (0..rate.hz() as usize * seconds)
            .map(|i| (std::f32::consts::TAU * 440.0 * i as f32 / rate.hz() as f32).sin())
            .collect();
        scaled_to(&pcm, dbfs)
    }

    /// Syllables of 180 ms with gaps of 60 ms, a pause of 480 ms after every eighth: a pitch that glides between 110
    /// and 150 Hz under two broad resonances. The first syllable comes after 480 ms.
    fn speech(rate: Rate, seconds: usize, dbfs: f32) -> Vec<f32> {
        let hz = rate.hz() as f32;
        let mut phase = 0.0f32;
        let pcm: Vec<f32> = (0..rate.hz() as usize * seconds)
            .map(|i| {
                let t = i as f32 / hz;
                phase = (phase + (130.0 + 20.0 * (t * 4.0).sin()) / hz).fract();
                let at = t % 2.4 - 0.48;
                let within = at.rem_euclid(0.24);
                if at < 0.0 || within > 0.18 {
                    return 0.0;
                }
                let envelope = (std::f32::consts::PI * within / 0.18).sin();
                let vowel = 400.0 + 300.0 * (t * 3.1).sin();
                let voice: f32 = (1..=24)
                    .map(|k| {
                        let partial = k as f32 * 130.0;
                        let near =
                            |centre: f32, width: f32| 1.0 / (1.0 + ((partial - centre) / width).powi(2));
                        (std::f32::consts::TAU * (phase * k as f32).fract()).sin()
                            * (near(vowel, 150.0) + 0.4 * near(1500.0, 250.0))
                    })
                    .sum();
                envelope * voice
            })
            .collect();
        scaled_to(&pcm, dbfs)
    }

    fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a + b).collect()
    }

    /// For each tick, whether the leg contributed.
    fn hear(activity: &mut Activity, pcm: &[f32], rate: Rate) -> Vec<bool> {
        pcm.chunks_exact(rate.samples_per_tick())
            .map(|tick| activity.update(tick, rate))
            .collect()
    }

    /// The share of the energy of `speech` that lies in the ticks that were heard.
    fn energy_heard(speech: &[f32], heard: &[bool], rate: Rate) -> f32 {
        let powers = || speech.chunks_exact(rate.samples_per_tick()).map(mean_square);
        powers()
            .zip(heard)
            .filter(|(_, heard)| **heard)
            .map(|(power, _)| power)
            .sum::<f32>()
            / powers().sum::<f32>()
    }

    #[test]
    fn speech_at_minus_45_is_heard_in_silence_and_in_a_quiet_room() {
        for rate in Rate::ALL {
            let voice = speech(rate, 30, -45.0);
            for room in [-127.0, -65.0, -58.0] {
                let pcm = sum(&voice, &white_noise(rate, 30, room));
                let energy = energy_heard(&voice, &hear(&mut Activity::new(), &pcm, rate), rate);
                assert!(energy > 0.999, "{rate:?}, room at {room} dBFS: {energy}");
            }
        }
    }

    #[test]
    fn the_first_tick_of_a_syllable_that_is_loud_enough_already_counts() {
        for rate in Rate::ALL {
            let voice = speech(rate, 1, -30.0);
            let heard = hear(&mut Activity::new(), &voice, rate);
            assert_eq!(heard.iter().position(|heard| *heard), Some(24));
        }
    }

    #[test]
    fn silence_and_idle_noise_never_contribute_nor_wake_the_detector() {
        for rate in Rate::ALL {
            for dbfs in [-127.0, -80.0, -70.0, -65.0] {
                let mut activity = Activity::new();
                let pcm = white_noise(rate, 20, dbfs);
                for tick in pcm.chunks_exact(rate.samples_per_tick()) {
                    let threshold = activity.quiet.max(activity.floor.power() * QUIET_OVER_FLOOR);
                    assert!(
                        mean_square(tick) < threshold,
                        "{rate:?}: {dbfs} dBFS costs the detector's time"
                    );
                    assert!(!activity.update(tick, rate), "{rate:?}: {dbfs} dBFS contributes");
                }
            }
        }
    }

    #[test]
    fn steady_noise_falls_silent_within_five_seconds_and_stays_so() {
        for rate in Rate::ALL {
            for dbfs in [-62.0, -60.0, -55.0, -45.0, -41.0] {
                let heard = hear(&mut Activity::new(), &white_noise(rate, 30, dbfs), rate);
                assert!(heard[250..].iter().all(|heard| !heard), "{rate:?}: {dbfs} dBFS");
            }
        }
    }

    #[test]
    fn speech_over_steady_noise_is_heard_when_it_is_ten_decibels_louder() {
        let rate = Rate::Hz8000;
        let noise = white_noise(rate, 40, -50.0);
        let mut activity = Activity::new();
        assert!(!hear(&mut activity, &noise[..rate.hz() as usize * 10], rate)[499]);
        let voice = speech(rate, 30, -40.0);
        let heard = hear(&mut activity, &sum(&voice, &noise), rate);
        assert!(energy_heard(&voice, &heard, rate) > 0.99);
    }

    #[test]
    fn a_steady_tone_or_music_is_never_taken_for_noise() {
        for rate in Rate::ALL {
            for dbfs in [-20.0, -33.5] {
                let mut activity = Activity::new();
                assert!(
                    hear(&mut activity, &tone(rate, 60, dbfs), rate)
                        .iter()
                        .all(|heard| *heard)
                );
                assert!((activity.noise_floor_dbfs() + 40.0).abs() < 0.01);
            }
        }
    }

    #[test]
    fn after_the_last_word_the_leg_contributes_for_another_500_ms() {
        let rate = Rate::Hz8000;
        for silence in [false, true] {
            let mut activity = Activity::new();
            assert!(!activity.contributes());
            assert!(activity.update(&tone(rate, 1, -20.0)[..160], rate));
            for tick in 1..=30 {
                let contributes = if silence {
                    activity.silence()
                } else {
                    activity.update(&[0.0; 160], rate)
                };
                assert_eq!(contributes, tick <= 25, "tick {tick}");
                assert_eq!(activity.contributes(), contributes);
            }
        }
    }

    #[test]
    fn the_detector_finds_speech_that_is_hardly_louder_than_the_noise() {
        for rate in Rate::ALL {
            let mut activity = Activity::new();
            hear(&mut activity, &white_noise(rate, 10, -45.0), rate);
            let pcm = sum(&speech(rate, 20, -43.0), &white_noise(rate, 20, -45.0));
            let mut found = 0;
            for tick in pcm.chunks_exact(rate.samples_per_tick()) {
                let loud = mean_square(tick) > activity.floor.power() * LOUD_OVER_FLOOR;
                activity.update(tick, rate);
                found += usize::from(!loud && activity.remaining > HANGOVER_TICKS);
            }
            assert!(found > 20, "{rate:?}: {found} ticks");
        }
    }

    #[test]
    fn the_detector_tells_speech_from_noise_at_every_rate() {
        for rate in Rate::ALL {
            let share = |pcm: &[f32]| {
                let mut detector = SpeechDetector::new();
                let ticks = pcm.chunks_exact(rate.samples_per_tick());
                let speech = ticks
                    .clone()
                    .filter(|tick| detector.hears_speech(tick, rate))
                    .count();
                speech as f32 / ticks.len() as f32
            };
            let (speech, noise) = (
                share(&speech(rate, 20, -35.0)),
                share(&white_noise(rate, 20, -50.0)),
            );
            assert!(
                speech > 0.5 && noise < 0.02,
                "{rate:?}: {speech} of speech, {noise} of noise"
            );
        }
    }

    #[test]
    fn a_leg_may_change_its_rate() {
        let mut activity = Activity::new();
        for rate in [Rate::Hz48000, Rate::Hz8000, Rate::Hz16000] {
            let voice = speech(rate, 5, -45.0);
            let heard = hear(&mut activity, &voice, rate);
            assert!(energy_heard(&voice, &heard, rate) > 0.999);
        }
    }

    #[test]
    fn what_is_no_number_counts_as_silence_and_is_forgotten() {
        let mut activity = Activity::new();
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            assert!(!activity.update(&[bad; 160], Rate::Hz8000));
        }
        assert!(activity.noise_floor_dbfs().is_finite());
        assert!(activity.update(&tone(Rate::Hz8000, 1, -45.0)[..160], Rate::Hz8000));
    }

    #[test]
    fn level_and_noise_floor_are_told() {
        let rate = Rate::Hz16000;
        let mut activity = Activity::new();
        hear(&mut activity, &white_noise(rate, 20, -50.0), rate);
        assert!(
            (activity.level_dbfs() + 50.0).abs() < 1.5,
            "{}",
            activity.level_dbfs()
        );
        assert!(
            (activity.noise_floor_dbfs() + 50.0).abs() < 1.5,
            "{}",
            activity.noise_floor_dbfs()
        );
        activity.silence();
        assert_eq!(activity.level_dbfs(), -127.0);
        assert!((activity.noise_floor_dbfs() + 50.0).abs() < 1.5);
    }

    #[test]
    fn an_activity_may_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Activity>();
    }
}
