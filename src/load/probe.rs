//! The burst by which added delay is measured: a short chirp marked into a talker's speech and found again in what
//! another party hears.
//!
//! A chirp correlates with itself at one place only, so its onset is found to a sample or two under other voices,
//! after companding and after Opus. What models speech makes little of 20 ms that sweep through all of the band: there
//! the burst is longer, slower and told from speech all the same. Two sweeps, up and down, keep the bursts of two
//! talkers in a room apart.

use std::f32::consts::TAU;

use super::correlation::{energies, energy, product};
use crate::codec::Codec;
use crate::frame::Rate;

/// 20 dB above the speech around it, and still within what every codec carries.
const AMPLITUDE: f32 = 0.5;

/// Faded in and out over a millisecond: a hard edge would be smeared by Opus before the chirp itself.
const EDGE_MS: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    Up,
    Down,
}

/// A burst as a codec carries it there and back.
#[derive(Debug, Clone)]
pub struct Probe {
    burst: Vec<f32>,
    /// Below this normalised correlation what was found is speech, not a burst.
    likeness_min: f32,
}

impl Probe {
    /// At the codec's rate, within the band of a telephone.
    pub fn new(codec: Codec, sweep: Sweep) -> Probe {
        let rate = codec.rate();
        match codec {
            // Twice through the codec it keeps a likeness of 0.64 and more; unrelated speech reaches 0.34.
            Codec::G729 | Codec::Ilbc(_) => Probe {
                burst: chirp(rate, sweep, 60, 300.0, 1_500.0),
                likeness_min: 0.5,
            },
            // It keeps 0.71 and more; unrelated speech reaches about 0.4.
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16(_) | Codec::Opus(_) => Probe {
                burst: chirp(rate, sweep, 20, 400.0, 3_000.0),
                likeness_min: 0.6,
            },
        }
    }

    pub fn burst(&self) -> &[f32] {
        &self.burst
    }

    /// Where the burst starts within `sound`: the place of the highest correlation, if it is high enough to be one.
    pub fn find(&self, sound: &[f32]) -> Option<usize> {
        let (at, likeness) = self.most_like(sound)?;
        self.is_found(likeness).then_some(at)
    }

    /// Whether something so much like the burst is one.
    pub fn is_found(&self, likeness: f32) -> bool {
        likeness >= self.likeness_min
    }

    /// The place in `sound` that is most like the burst, and its normalised correlation with it.
    pub fn most_like(&self, sound: &[f32]) -> Option<(usize, f32)> {
        let burst = &self.burst[..];
        let burst_energy = energy(burst);
        sound
            .windows(burst.len())
            .zip(energies(sound, burst.len()))
            // What lies 30 dB below the burst is not one, however much it is like it.
            .map(|(window, energy)| {
                product(window, burst) / (burst_energy * energy.max(burst_energy / 1_000.0)).sqrt()
            })
            .enumerate()
            .max_by(|one, other| one.1.total_cmp(&other.1))
    }
}

/// So many milliseconds from one frequency to the other, in hertz.
fn chirp(rate: Rate, sweep: Sweep, length_ms: usize, lowest_hz: f32, highest_hz: f32) -> Vec<f32> {
    let samples = length_ms * rate.samples_per_ms();
    let edge = (EDGE_MS * rate.samples_per_ms()) as f32;
    let length_s = length_ms as f32 / 1_000.0;
    let mut chirp: Vec<f32> = (0..samples)
        .map(|n| {
            let t = (n as f32 + 0.5) / rate.hz() as f32;
            let phase = TAU * (lowest_hz * t + (highest_hz - lowest_hz) * t * t / (2.0 * length_s));
            let to_edge = (n.min(samples - 1 - n) as f32 + 0.5) / edge;
            AMPLITUDE * phase.sin() * to_edge.min(1.0)
        })
        .collect();
    if sweep == Sweep::Down {
        chirp.reverse();
    }
    chirp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::codecs::CODECS;
    use crate::load::speech;

    /// A second of one voice with a burst of another at `at`, mixed as a room would.
    fn room(codec: Codec, sweep: Sweep, at: usize) -> Vec<f32> {
        let rate = codec.rate();
        let one = speech::VOICES[0].decode(rate).expect("the speech decodes");
        let other = speech::VOICES[1].decode(rate).expect("the speech decodes");
        let probe = Probe::new(codec, sweep);
        let burst = probe.burst();
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
        for (name, codec) in CODECS {
            for sweep in [Sweep::Up, Sweep::Down] {
                for at_ms in [0, 333, 935] {
                    let at = at_ms * codec.rate().samples_per_ms() + at_ms % 7 / 2;
                    let found = Probe::new(codec, sweep).find(&room(codec, sweep, at));
                    assert_eq!(found, Some(at), "{name} {sweep:?} {at_ms}");
                }
            }
        }
    }

    #[test]
    fn speech_silence_and_the_other_sweep_are_no_burst() {
        for codec in [Codec::Pcmu, Codec::G729] {
            let [up, down] = [Sweep::Up, Sweep::Down].map(|sweep| Probe::new(codec, sweep));
            for voice in &speech::VOICES {
                let sound = voice.decode(codec.rate()).expect("the speech decodes");
                assert_eq!(up.find(&sound), None, "{}", voice.name);
            }
            assert_eq!(up.find(&[0.0; 8_000]), None);
            assert_eq!(down.find(&room(codec, Sweep::Up, 3_000)), None);
            assert_eq!(up.find(&[]), None);
        }
    }
}
