//! The codecs: payload bytes ⇄ mono `f32` samples (full scale ±1.0) at the codec's own rate.
//!
//! A codec is one file here, one arm in each of the enums below and its vectors. Nothing in
//! `decode` or `encode` allocates: joining pays for every codec's memory.

pub mod g711;
pub mod l16;
pub mod opus;

use crate::frame::Rate;
use crate::time::TICK;

/// The longest payload any codec accepts or makes, in milliseconds of sound.
pub const PAYLOAD_MS_MAX: usize = 120;

/// The most samples one payload can hold: 120 ms at 48 kHz.
pub const PAYLOAD_SAMPLES_MAX: usize = PAYLOAD_MS_MAX * Rate::Hz48000.samples_per_ms();

/// The largest payload we make: L16 at 48 kHz is cut to a packet that fits an Ethernet frame by SDP (`ptime`).
pub const PAYLOAD_BYTES_MAX: usize = 5_760;

/// A codec as negotiated: what its payloads mean and at which rate its sound is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
    /// Linear 16 bit, network byte order, mono (RFC 3551 §4.5.11).
    L16(Rate),
    /// Opus; the rate is the bandwidth both sides have use for (RFC 7587 `maxplaybackrate`), the RTP clock is 48 kHz always.
    Opus(Rate),
}

impl Codec {
    /// The encoding name as registered with IANA.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::L16(_) => "L16",
            Codec::Opus(_) => "opus",
        }
    }

    /// The rate of the decoded sound.
    pub const fn rate(self) -> Rate {
        match self {
            Codec::Pcmu | Codec::Pcma => Rate::Hz8000,
            Codec::L16(rate) | Codec::Opus(rate) => rate,
        }
    }

    /// The RTP timestamp clock, in Hz.
    pub const fn clock_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma => 8_000,
            Codec::L16(rate) => rate.hz(),
            Codec::Opus(_) => 48_000,
        }
    }

    /// RTP timestamp units for each sample of decoded sound: 1, or 3 for Opus worked on at 16 kHz.
    pub const fn clock_per_sample(self) -> u32 {
        self.clock_hz() / self.rate().hz()
    }
}

/// Everything that decides what an encoder makes of a signal: two legs with equal encodings can share one encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    pub codec: Codec,
    /// Milliseconds of sound in each packet: 10, 20, 30, 40, 50 or 60.
    pub ptime_ms: u8,
    /// Opus only: bits per second, 6,000 to 510,000.
    pub bitrate: u32,
    /// Opus only: 0 (cheapest) to 10.
    pub complexity: u8,
}

impl Encoding {
    /// The most bytes one of our payloads takes.
    pub const fn payload_bytes_max(self) -> usize {
        let samples = self.ptime_ms as usize * self.codec.rate().samples_per_ms();
        match self.codec {
            Codec::Pcmu | Codec::Pcma => samples,
            Codec::L16(_) => 2 * samples,
            // The encoder keeps within what it is given: a packet that fits an Ethernet frame.
            Codec::Opus(_) => 1_400,
        }
    }

    /// The most packets that one 20 ms tick can complete.
    pub const fn packets_per_tick_max(self) -> usize {
        (TICK.as_millis() as usize).div_ceil(self.ptime_ms as usize)
    }

    /// RTP timestamp units in one packet.
    pub const fn packet_clock(self) -> u32 {
        self.codec.clock_hz() / 1_000 * self.ptime_ms as u32
    }
}
