//! The burst by which added delay is measured: a 20 ms chirp marked into a talker's speech and found again in what
//! another party hears.
//!
//! A chirp correlates with itself at one place only, so its onset is found to a sample or two under other voices,
//! after companding and after Opus. Two sweeps, up and down, keep the bursts of two talkers in a room apart.

use std::f32::consts::TAU;

use super::correlation::{energies, energy, product};
use crate::frame::Rate;

/// How long a burst sounds.
pub const BURST_MS: usize = 20;

/// 20 dB above the speech around it, and still within what every codec carries.
const AMPLITUDE: f32 = 0.5;

/// The band of a telephone, so that every codec passes it.
const LOWEST_HZ: f32 = 400.0;
const HIGHEST_HZ: f32 = 3_000.0;

/// Faded in and out over a millisecond: a hard edge would be smeared by Opus before the chirp itself.
const EDGE_MS: usize = 1;

/// Below this normalised correlation what was found is speech, not a burst: unrelated speech reaches about 0.4.
const LIKENESS_MIN: f32 = 0.6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    Up,
    Down,
}

/// The burst, `BURST_MS` of it at `rate`.
pub fn burst(rate: Rate, sweep: Sweep) -> Vec<f32> {
    let samples = BURST_MS * rate.samples_per_ms();
    let edge = (EDGE_MS * rate.samples_per_ms()) as f32;
    let length_s = BURST_MS as f32 / 1_000.0;
    let mut burst: Vec<f32> = (0..samples)
        .map(|n| {
            let t = (n as f32 + 0.5) / rate.hz() as f32;
            let phase = TAU * (LOWEST_HZ * t + (HIGHEST_HZ - LOWEST_HZ) * t * t / (2.0 * length_s));
            let to_edge = (n.min(samples - 1 - n) as f32 + 0.5) / edge;
            AMPLITUDE * phase.sin() * to_edge.min(1.0)
        })
        .collect();
    if sweep == Sweep::Down {
        burst.reverse();
    }
    burst
}

/// Where the burst starts within `sound`: the place of the highest correlation, if it is high enough to be one.
pub fn find(sound: &[f32], burst: &[f32]) -> Option<usize> {
    let burst_energy = energy(burst);
    let (at, likeness) = sound
        .windows(burst.len())
        .zip(energies(sound, burst.len()))
        // What lies 30 dB below the burst is not one, however much it is like it.
        .map(|(window, energy)| {
            product(window, burst) / (burst_energy * energy.max(burst_energy / 1_000.0)).sqrt()
        })
        .enumerate()
        .max_by(|one, other| one.1.total_cmp(&other.1))?;
    (likeness >= LIKENESS_MIN).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::speech;

    /// A second of one voice with a burst of another at `at`, mixed as a room would.
    fn room(rate: Rate, sweep: Sweep, at: usize) -> Vec<f32> {
        let one = speech::VOICES[0].decode(rate).expect("the speech decodes");
        let other = speech::VOICES[1].decode(rate).expect("the speech decodes");
        let burst = burst(rate, sweep);
        (0..rate.hz() as usize)
            .map(|n| {
                let marked = if n >= at && n < at + burst.len() {
                    burst[n - at]
                } else {
                    one[n]
                };
                marked + other[n]
            })
            .collect()
    }

    #[test]
    fn a_burst_is_found_to_the_sample_under_speech() {
        for rate in Rate::ALL {
            for sweep in [Sweep::Up, Sweep::Down] {
                for at_ms in [0, 333, 980] {
                    let at = at_ms * rate.samples_per_ms() + at_ms % 7;
                    let at = at.min(rate.hz() as usize - BURST_MS * rate.samples_per_ms());
                    let found = find(&room(rate, sweep, at), &burst(rate, sweep));
                    assert_eq!(found, Some(at), "{rate:?} {sweep:?} {at_ms}");
                }
            }
        }
    }

    #[test]
    fn speech_silence_and_the_other_sweep_are_no_burst() {
        let rate = Rate::Hz8000;
        for voice in &speech::VOICES {
            assert_eq!(
                find(
                    &voice.decode(rate).expect("the speech decodes"),
                    &burst(rate, Sweep::Up)
                ),
                None
            );
        }
        assert_eq!(find(&[0.0; 8_000], &burst(rate, Sweep::Up)), None);
        assert_eq!(
            find(&room(rate, Sweep::Up, 3_000), &burst(rate, Sweep::Down)),
            None
        );
        assert_eq!(find(&[], &burst(rate, Sweep::Up)), None);
    }
}
