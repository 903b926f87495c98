//! What a voice is made of between codecs: mono `f32` samples, full scale ±1.0, one tick at a time.

use std::time::Duration;

use crate::time::TICK;

/// Sampling rates the mixer works at. Every ratio between two of them is 2, 3 or 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    Hz8000,
    Hz16000,
    Hz48000,
}

/// Samples of one tick at the highest rate: the size of every frame buffer.
pub const FRAME_SAMPLES_MAX: usize = Rate::Hz48000.samples_per_tick();

/// Room for one tick at any rate; the rate says how much of it counts.
pub type FrameBuffer = [f32; FRAME_SAMPLES_MAX];

impl Rate {
    pub const ALL: [Rate; 3] = [Rate::Hz8000, Rate::Hz16000, Rate::Hz48000];

    pub const fn hz(self) -> u32 {
        match self {
            Rate::Hz8000 => 8_000,
            Rate::Hz16000 => 16_000,
            Rate::Hz48000 => 48_000,
        }
    }

    pub const fn from_hz(hz: u32) -> Option<Rate> {
        match hz {
            8_000 => Some(Rate::Hz8000),
            16_000 => Some(Rate::Hz16000),
            48_000 => Some(Rate::Hz48000),
            _ => None,
        }
    }

    /// Samples in one 20 ms tick: 160, 320 or 960.
    pub const fn samples_per_tick(self) -> usize {
        self.samples_per_ms() * TICK.as_millis() as usize
    }

    pub const fn samples_per_ms(self) -> usize {
        self.hz() as usize / 1_000
    }

    /// Whole samples in `duration`.
    pub const fn samples(self, duration: Duration) -> usize {
        (duration.as_micros() as usize * self.samples_per_ms()) / 1_000
    }

    /// How long `samples` last.
    pub const fn duration(self, samples: usize) -> Duration {
        Duration::from_nanos(samples as u64 * 1_000_000_000 / self.hz() as u64)
    }
}
