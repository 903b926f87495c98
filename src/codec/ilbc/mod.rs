//! iLBC (RFC 3951): a codec for 8 kHz speech whose frames stand alone, so that a lost one harms no other.

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
}
