//! Fills a hole from both sides: what goes on from before it fades into what leads up to what comes after.
//!
//! Sound played backwards has the same pitch and the same envelope, so what leads up to a packet is made as what goes on
//! from one, with time reversed. A hole is filled tick by tick, and all is made anew at each, up to the packet that is
//! next by then: one that was late may still come and make the hole smaller.

use super::expand::{Expand, LEARNT_MS_MIN};
use super::pitch::Lag;
use crate::frame::{FRAME_SAMPLES_MAX, Rate};

/// How much of what comes after is looked at.
pub(super) const AFTER_MS: usize = 20;

/// A hole is bridged once no more than this is left of it: to the end of it sound is made at each tick.
const LEFT_MS_MAX: usize = 160;
const LEFT_SAMPLES_MAX: usize = 1_920;

/// Makes up what leads to a packet, last sample first.
#[derive(Debug)]
pub(super) struct Bridge {
    backwards: Expand,
    /// The packet that the last bridge reached, while no other was played since.
    reached: Option<u64>,
}

impl Bridge {
    pub fn new(rate: Rate) -> Bridge {
        Bridge {
            backwards: Expand::new(rate),
            reached: None,
        }
    }

    /// A hole has been filled up to this packet.
    pub fn reach(&mut self, packet: u64) {
        self.reached = Some(packet);
    }

    /// Whether the packet played now is another than a bridge has led up to: one of the hole that came all the same.
    pub fn misses(&mut self, packet: u64) -> bool {
        self.reached.take().is_some_and(|reached| reached != packet)
    }

    /// Fills `sound`, at most a tick of the `left` samples of a hole, from `forwards`, which goes on from before it, and
    /// `after`, which is what follows it: 20 ms, or what is known. Returns false, and changes nothing, where too much is
    /// left or too little is known.
    pub fn fill(
        &mut self,
        forwards: &mut Expand,
        after: &[f32],
        rate: Rate,
        left: usize,
        sound: &mut [f32],
    ) -> bool {
        let per_ms = rate.samples_per_ms();
        let bridges = (sound.len()..=LEFT_SAMPLES_MAX.min(LEFT_MS_MAX * per_ms)).contains(&left);
        if !bridges || sound.len() > FRAME_SAMPLES_MAX || !self.learn(after, rate, forwards.pitch()) {
            return false;
        }
        // What lies beyond `sound` is made for the sake of what lies before it.
        let mut made = [0.0; FRAME_SAMPLES_MAX];
        let mut beyond = left - sound.len();
        while beyond > 0 {
            let chunk = beyond.min(FRAME_SAMPLES_MAX);
            self.backwards.fill(&mut made[..chunk]);
            beyond -= chunk;
        }
        let backwards = &mut made[..sound.len()];
        self.backwards.fill(backwards);

        forwards.fill(sound);
        let step = 1.0 / (left + 1) as f32;
        for (n, (sample, backwards)) in sound.iter_mut().zip(backwards.iter().rev()).enumerate() {
            *sample += (n + 1) as f32 * step * (backwards - *sample);
        }
        true
    }

    fn learn(&mut self, after: &[f32], rate: Rate, near: Lag) -> bool {
        const AFTER_MAX: usize = AFTER_MS * Rate::Hz48000.samples_per_ms();
        let per_ms = rate.samples_per_ms();
        let length = after.len().min(AFTER_MS * per_ms);
        if length < LEARNT_MS_MIN * per_ms {
            return false;
        }
        let mut reversed = [0.0; AFTER_MAX];
        let reversed = &mut reversed[..length];
        for (reversed, sample) in reversed.iter_mut().rev().zip(after) {
            *reversed = *sample;
        }
        self.backwards.start_near(reversed, rate, near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A voice that goes from one vowel to another, and grows or fades tenfold, around the hole after the first 60 ms, while
    /// its pitch glides: as speech does where it is hard to conceal. From a seed.
    fn speech(rate: Rate, samples: usize, hole_ms: usize, seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let pitch_hz = 90.0 + 120.0 * random.f32();
        let glide = 0.2 * (random.f32() - 0.5);
        let grows = if random.bool() { 1.0 } else { -1.0 };
        let formants = [(350.0, 750.0), (2_200.0, 1_000.0)];
        let (mut phase, mut swing) = (0.0f32, [0.0f32; 4]);
        let mut said: Vec<f32> = (0..samples)
            .map(|n| {
                let ms = n as f32 / rate.samples_per_ms() as f32;
                let at = ((ms - 60.0) / hole_ms as f32).clamp(0.0, 1.0);
                phase += pitch_hz * (1.0 + glide * at) / rate.hz() as f32;
                let mut excitation = 0.01 * (random.f32() - 0.5);
                if phase >= 1.0 {
                    phase -= 1.0;
                    excitation += 0.02;
                }
                let mut heard = 0.0;
                for (swing, (from, to)) in swing.chunks_exact_mut(2).zip(formants) {
                    let angle = std::f32::consts::TAU * (from + at * (to - from)) / rate.hz() as f32;
                    let ring = (-std::f32::consts::TAU * 60.0 / rate.hz() as f32).exp();
                    let next = excitation + 2.0 * ring * angle.cos() * swing[0] - ring * ring * swing[1];
                    (swing[1], swing[0]) = (swing[0], next);
                    heard += next;
                }
                heard * 10.0_f32.powf(grows * (at - 0.5))
            })
            .collect();
        let peak = said.iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
        said.iter_mut().for_each(|sample| *sample *= 0.5 / peak);
        said
    }

    /// The hole of that many milliseconds after the first 60, filled tick by tick.
    fn filled(said: &[f32], rate: Rate, hole_ms: usize, bridged: bool) -> Vec<f32> {
        let ms = rate.samples_per_ms();
        let (from, to) = (60 * ms, (60 + hole_ms) * ms);
        let mut line = said.to_vec();
        line[from..to].fill(f32::NAN);
        let mut expand = Expand::new(rate);
        expand.start(&line[from - 40 * ms..from], rate);
        let mut bridge = Bridge::new(rate);
        let mut at = from;
        while at < to {
            let tick = (20 * ms).min(to - at);
            let (before, after) = line.split_at_mut(to);
            if bridged {
                let after = &after[..20 * ms];
                assert!(bridge.fill(&mut expand, after, rate, to - at, &mut before[at..at + tick]));
                at += tick;
                expand.start(&line[at - 40 * ms..at], rate);
            } else {
                expand.fill(&mut before[at..at + tick]);
                at += tick;
            }
        }
        if !bridged {
            expand.merge(&mut line[to..]);
        }
        line
    }

    fn steepest(sound: &[f32]) -> f32 {
        sound
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max)
    }

    /// Decibels from what was said to how far what is heard is off, in the powers of bands: phase is not heard.
    fn distance_db(said: &[f32], heard: &[f32], rate: Rate) -> f32 {
        let window = 10 * rate.samples_per_ms();
        let bands: Vec<f32> = (1..16).map(|band| band as f32 * 200.0).collect();
        let power = |sound: &[f32], hz: f32| {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, sample) in sound.iter().enumerate() {
                let angle = std::f32::consts::TAU * hz * n as f32 / rate.hz() as f32;
                let weight = 1.0 - (std::f32::consts::TAU * n as f32 / sound.len() as f32).cos();
                re += weight * sample * angle.cos();
                im += weight * sample * angle.sin();
            }
            10.0 * (re * re + im * im + 1.0e-5).log10()
        };
        let mut total = 0.0;
        let mut count = 0;
        for (said, heard) in said.chunks_exact(window).zip(heard.chunks_exact(window)) {
            for hz in &bands {
                total += (power(said, *hz) - power(heard, *hz)).abs();
                count += 1;
            }
        }
        total / count as f32
    }

    #[test]
    fn a_hole_between_two_sounds_is_filled_better_from_both_sides_than_from_one() {
        for rate in [Rate::Hz8000, Rate::Hz16000] {
            let ms = rate.samples_per_ms();
            for hole_ms in [20, 40, 60, 100] {
                let (mut one, mut both) = (0.0, 0.0);
                for seed in 0..20 {
                    let said = speech(rate, (100 + hole_ms) * ms, hole_ms, seed);
                    let hole = 60 * ms..(60 + hole_ms) * ms;
                    let distance = |bridged| {
                        let heard = filled(&said, rate, hole_ms, bridged);
                        distance_db(&said[hole.clone()], &heard[hole.clone()], rate)
                    };
                    one += distance(false) / 20.0;
                    both += distance(true) / 20.0;
                }
                println!(
                    "{rate:?}, hole of {hole_ms} ms: off by {one:.2} dB from one side, {both:.2} from both"
                );
                assert!(both < 0.9 * one, "{rate:?} {hole_ms} ms: {one} {both}");
            }
        }
    }

    #[test]
    fn a_bridge_has_no_step_in_it_nor_at_its_ends() {
        for rate in Rate::ALL {
            let ms = rate.samples_per_ms();
            for seed in 0..20 {
                for hole_ms in [10, 20, 40] {
                    let said = speech(rate, (100 + hole_ms) * ms, hole_ms, seed);
                    let heard = filled(&said, rate, hole_ms, true);
                    let (alone, heard) = (steepest(&said[50 * ms..]), steepest(&heard[50 * ms..]));
                    assert!(
                        heard < 1.3 * alone,
                        "{rate:?} seed {seed}, {hole_ms} ms: {heard} beside {alone}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_too_long_or_known_too_little_is_not_bridged() {
        let rate = Rate::Hz8000;
        let said = speech(rate, 800, 20, 1);
        let mut expand = Expand::new(rate);
        expand.start(&said[..320], rate);
        let mut bridge = Bridge::new(rate);
        let mut sound = [7.0; 160];
        for (after, left) in [(79, 160), (0, 160), (160, 1_281), (160, 159)] {
            assert!(!bridge.fill(&mut expand, &said[400..400 + after], rate, left, &mut sound));
        }
        assert_eq!(sound, [7.0; 160]);
        assert!(bridge.fill(&mut expand, &said[400..560], rate, 1_280, &mut sound));
    }
}
