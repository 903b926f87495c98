//! Voices that can be told apart: each a tone of its own, on a 50 Hz grid so that one tick holds whole periods, in
//! spurts with pauses between, from a seed.

use std::f32::consts::TAU;

/// Spurts are long enough to be heard through any playout delay, pauses long enough for the hangover to end.
const SPURT_TICKS: std::ops::Range<u64> = 45..150;
const PAUSE_TICKS: std::ops::Range<u64> = 40..250;

#[derive(Clone)]
pub struct Voice {
    pub hz: f32,
    /// Amplitude of the tone; full scale is 1.
    amplitude: f32,
    phase: f32,
    /// A second tone beside the first: its frequency and phase.
    beside: Option<(f32, f32)>,
    /// What is said instead of tones, at the rate of the party's codec, and how much of it has been.
    text: Option<(Vec<f32>, usize)>,
    chance: fastrand::Rng,
    /// Always speaking when `None`.
    left: Option<u64>,
    speaking: bool,
}

impl Voice {
    /// A tone of this level (dBFS, RMS) that never pauses.
    pub fn steady(hz: f32, dbfs: f32) -> Voice {
        let amplitude = std::f32::consts::SQRT_2 * 10_f32.powf(dbfs / 20.0);
        Voice {
            hz,
            amplitude,
            phase: 0.0,
            beside: None,
            text: None,
            chance: fastrand::Rng::with_seed(0),
            left: None,
            speaking: true,
        }
    }

    /// The two tones of a key that is held down.
    pub fn key(low_hz: f32, high_hz: f32) -> Voice {
        Voice {
            beside: Some((high_hz, 0.0)),
            ..Voice::steady(low_hz, -12.0)
        }
    }

    /// Says this once, at the rate of the party's codec, and is silent then.
    pub fn saying(text: Vec<f32>) -> Voice {
        Voice {
            text: Some((text, 0)),
            ..Voice::silent()
        }
    }

    pub fn silent() -> Voice {
        Voice {
            speaking: false,
            ..Voice::steady(0.0, -127.0)
        }
    }

    pub fn in_spurts(hz: f32, dbfs: f32, seed: u64) -> Voice {
        let mut chance = fastrand::Rng::with_seed(seed);
        let left = Some(chance.u64(PAUSE_TICKS));
        Voice {
            chance,
            left,
            speaking: false,
            ..Voice::steady(hz, dbfs)
        }
    }

    pub fn power(&self) -> f32 {
        self.amplitude * self.amplitude / 2.0
    }

    pub fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// Fills one tick at `rate_hz`.
    pub fn speak(&mut self, pcm: &mut [f32], rate_hz: u32) {
        if let Some((text, said)) = &mut self.text {
            let rest = &text[*said..];
            let now = rest.len().min(pcm.len());
            pcm[..now].copy_from_slice(&rest[..now]);
            pcm[now..].fill(0.0);
            *said += now;
            return;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                self.speaking = !self.speaking;
                let length = if self.speaking { SPURT_TICKS } else { PAUSE_TICKS };
                self.left = Some(self.chance.u64(length));
            }
        }
        if !self.speaking {
            pcm.fill(0.0);
            return;
        }
        let step = TAU * self.hz / rate_hz as f32;
        for sample in pcm {
            *sample = self.amplitude * self.phase.sin();
            self.phase = (self.phase + step) % TAU;
            if let Some((hz, phase)) = &mut self.beside {
                *sample += self.amplitude * phase.sin();
                *phase = (*phase + TAU * *hz / rate_hz as f32) % TAU;
            }
        }
    }
}

/// The power of one tone in a frame (Goertzel); for a tone alone, its mean square.
pub fn power_at(hz: f32, pcm: &[f32], rate_hz: u32) -> f32 {
    let coefficient = 2.0 * (TAU * hz / rate_hz as f32).cos();
    let (mut last, mut before) = (0.0_f32, 0.0_f32);
    for sample in pcm {
        let next = sample + coefficient * last - before;
        before = last;
        last = next;
    }
    let magnitude = last * last + before * before - coefficient * last * before;
    2.0 * magnitude / (pcm.len() * pcm.len()) as f32
}

pub fn power(pcm: &[f32]) -> f32 {
    pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len() as f32
}

/// The largest step from one sample to the next.
pub fn largest_step(pcm: &[f32]) -> f32 {
    pcm.windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .fold(0.0, f32::max)
}
