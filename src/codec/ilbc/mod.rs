//! iLBC (RFC 3951): a codec for 8 kHz speech whose frames stand alone, so that a lost one harms no other.
//!
//! A frame is split into subframes of 40 samples. The encoder takes away what linear prediction (`lpc`, `lsf`) can
//! tell, codes the strongest stretch of what is left by itself (`state`), and everything around it, forwards and
//! then backwards in time (`excitation`), by likeness to what is coded already (`codebook`, `search`). The decoder
//! does the same from the bits (`bits`), smooths the excitation from pitch cycle to pitch cycle (`enhance`), invents
//! that of lost frames (`conceal`), and filters it into sound.
//!
//! Arithmetic is `f32` throughout, with samples in units of 16-bit PCM; the interface has them within ±1.0.

mod bits;
mod codebook;
mod conceal;
mod decoder;
mod encoder;
mod enhance;
mod excitation;
mod filter;
mod lpc;
mod lsf;
mod search;
mod state;
mod tables;

pub use decoder::Decoder;
pub use encoder::Encoder;

use super::PayloadError;

/// The two frame lengths; both sides of a call use one (RFC 3952 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    Ms20,
    Ms30,
}

impl Mode {
    /// Milliseconds of sound in a frame.
    pub const fn ms(self) -> usize {
        match self {
            Mode::Ms20 => 20,
            Mode::Ms30 => 30,
        }
    }

    /// Samples of a frame, at 8 kHz.
    pub const fn samples(self) -> usize {
        8 * self.ms()
    }

    /// Bytes of a coded frame.
    pub const fn bytes(self) -> usize {
        match self {
            Mode::Ms20 => 38,
            Mode::Ms30 => 50,
        }
    }

    /// How many samples the frames of a payload hold. `PayloadError::Partial` where it ends within one, or is of the
    /// other mode.
    pub(super) const fn samples_of(self, payload: &[u8]) -> Result<usize, PayloadError> {
        if payload.len().is_multiple_of(self.bytes()) {
            Ok(payload.len() / self.bytes() * self.samples())
        } else {
            Err(PayloadError::Partial)
        }
    }

    const fn subframes(self) -> usize {
        self.samples() / SUBFRAME
    }

    /// Sets of line spectral frequencies in a frame.
    const fn lsf_sets(self) -> usize {
        match self {
            Mode::Ms20 => 1,
            Mode::Ms30 => 2,
        }
    }

    /// Samples of the start state.
    const fn state_samples(self) -> usize {
        match self {
            Mode::Ms20 => 57,
            Mode::Ms30 => 58,
        }
    }
}

/// The order of linear prediction.
const ORDER: usize = 10;
/// Samples of a subframe.
const SUBFRAME: usize = 40;
const SUBFRAMES_MAX: usize = Mode::Ms30.subframes();
const SAMPLES_MAX: usize = Mode::Ms30.samples();
const BYTES_MAX: usize = Mode::Ms30.bytes();
const STATE_MAX: usize = Mode::Ms30.state_samples();
/// Subframes beside the two of the start state.
const BLOCKS_MAX: usize = SUBFRAMES_MAX - 2;
/// The most samples that a codebook is made of.
const MEMORY: usize = 147;
/// Codebook vectors in a block.
const STAGES: usize = 3;
/// Full scale of the interface, in the codec's own units.
const FULL_SCALE: f32 = 32_768.0;

#[cfg(test)]
mod tests;
