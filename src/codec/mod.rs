//! The codecs: payload bytes ⇄ mono `f32` samples (full scale ±1.0) at the codec's own rate.
//!
//! A codec is one file here, one arm in each of the enums below and its vectors. Nothing in
//! `decode` or `encode` allocates: joining pays for every codec's memory.

pub mod g711;
pub mod l16;
pub mod opus;
mod opus_lull;

use thiserror::Error;

use crate::frame::Rate;
use crate::time::TICK;

/// The longest payload any codec accepts or makes, in milliseconds of sound.
pub const PAYLOAD_MS_MAX: usize = 120;

/// The most samples one payload can hold: 120 ms at 48 kHz.
pub const PAYLOAD_SAMPLES_MAX: usize = PAYLOAD_MS_MAX * Rate::Hz48000.samples_per_ms();

/// The largest payload we make: 60 ms of L16 at 48 kHz, where a remote asks for it. Then it goes in IP fragments.
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

    /// The largest payload taken from a remote party, in bytes: 60 ms of sound, the most that SDP agrees to.
    pub const fn payload_bytes_received_max(self) -> usize {
        match self {
            Codec::Pcmu | Codec::Pcma => 60 * Rate::Hz8000.samples_per_ms(),
            Codec::L16(rate) => 60 * 2 * rate.samples_per_ms(),
            // No sender makes one that does not fit an Ethernet frame.
            Codec::Opus(_) => 1_500,
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

    /// Samples of one packet, at `codec.rate()`.
    pub const fn samples(&self) -> usize {
        self.ptime_ms as usize * self.codec.rate().samples_per_ms()
    }

    fn validate(&self) -> Result<(), CodecError> {
        if !matches!(self.ptime_ms, 10 | 20 | 30 | 40 | 50 | 60) {
            return Err(CodecError::Ptime(self.ptime_ms));
        }
        if matches!(self.codec, Codec::Opus(_)) {
            if !(opus::BITRATE_MIN..=opus::BITRATE_MAX).contains(&self.bitrate) {
                return Err(CodecError::Bitrate(self.bitrate));
            }
            if self.complexity > opus::COMPLEXITY_MAX {
                return Err(CodecError::Complexity(self.complexity));
            }
        }
        Ok(())
    }
}

/// Why a codec could not be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    #[error("a packet time of {0} ms is not one of 10, 20, 30, 40, 50, 60")]
    Ptime(u8),
    #[error("an Opus bitrate of {0} bit/s is not within 6,000 to 510,000")]
    Bitrate(u32),
    #[error("an Opus complexity of {0} is not within 0 to 10")]
    Complexity(u8),
    #[error("libopus refused to start, with error {0}")]
    Library(i32),
}

/// Why a payload was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum PayloadError {
    #[error("the payload is empty")]
    Empty,
    #[error("the payload ends within a sample or frame")]
    Partial,
    #[error("the payload holds more than 120 ms")]
    TooLong,
    #[error("the payload is not what its codec makes")]
    Corrupt,
}

impl PayloadError {
    pub const ALL: [PayloadError; 4] = [
        PayloadError::Empty,
        PayloadError::Partial,
        PayloadError::TooLong,
        PayloadError::Corrupt,
    ];
}

/// Turns the payloads of one stream into sound.
///
/// What comes out is finite whatever went in. Only Opus can exceed ±1.0, by the overshoot of a signal that was
/// coded at full scale, and then stays within ±2.0: the limiter of the mix has more room to be gentle than a clip here.
#[derive(Debug)]
pub enum Decoder {
    Pcmu,
    Pcma,
    L16(Rate),
    Opus(opus::Decoder),
}

impl Decoder {
    /// Allocates all that decoding will ever need.
    pub fn new(codec: Codec) -> Result<Decoder, CodecError> {
        Ok(match codec {
            Codec::Pcmu => Decoder::Pcmu,
            Codec::Pcma => Decoder::Pcma,
            Codec::L16(rate) => Decoder::L16(rate),
            Codec::Opus(rate) => Decoder::Opus(opus::Decoder::new(rate)?),
        })
    }

    pub const fn codec(&self) -> Codec {
        match self {
            Decoder::Pcmu => Codec::Pcmu,
            Decoder::Pcma => Codec::Pcma,
            Decoder::L16(rate) => Codec::L16(*rate),
            Decoder::Opus(decoder) => Codec::Opus(decoder.rate()),
        }
    }

    /// How many samples at `codec().rate()` the payload holds, without decoding it; at most 120 ms.
    pub fn samples(&self, payload: &[u8]) -> Result<usize, PayloadError> {
        if payload.is_empty() {
            return Err(PayloadError::Empty);
        }
        let samples = match self {
            Decoder::Pcmu | Decoder::Pcma => payload.len(),
            Decoder::L16(_) => l16::samples(payload)?,
            Decoder::Opus(decoder) => decoder.samples(payload)?,
        };
        if samples > PAYLOAD_MS_MAX * self.codec().rate().samples_per_ms() {
            return Err(PayloadError::TooLong);
        }
        Ok(samples)
    }

    /// Decodes one payload into the front of `pcm`, which has room for `PAYLOAD_SAMPLES_MAX`, and returns how many
    /// samples at `codec().rate()` it holds. After an error `pcm` may hold anything, and the decoder lives on.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [f32]) -> Result<usize, PayloadError> {
        let samples = self.samples(payload)?;
        debug_assert!(
            pcm.len() >= samples,
            "{samples} samples do not fit into {}",
            pcm.len()
        );
        let Some(pcm) = pcm.get_mut(..samples) else {
            return Err(PayloadError::TooLong);
        };
        match self {
            Decoder::Pcmu => g711::decode_mu(payload, pcm),
            Decoder::Pcma => g711::decode_a(payload, pcm),
            Decoder::L16(_) => l16::decode(payload, pcm),
            Decoder::Opus(decoder) => decoder.decode(payload, pcm)?,
        }
        Ok(samples)
    }

    /// Tells whether the sound is in nobody's mix. An Opus decoder then passes over packets that hold nothing to be
    /// heard, and gives silence in their place.
    pub fn set_unheard(&mut self, unheard: bool) {
        if let Decoder::Opus(decoder) = self {
            decoder.set_unheard(unheard);
        }
    }

    /// Whether the last payload was passed over.
    pub fn has_passed(&self) -> bool {
        matches!(self, Decoder::Opus(decoder) if decoder.has_passed())
    }

    /// Fills `pcm` with the codec's own guess at a lost stretch of that length, where it has one: Opus, for multiples
    /// of 2.5 ms up to 120 ms. Otherwise returns false and leaves `pcm` as it is.
    pub fn conceal(&mut self, pcm: &mut [f32]) -> bool {
        match self {
            Decoder::Pcmu | Decoder::Pcma | Decoder::L16(_) => false,
            Decoder::Opus(decoder) => decoder.conceal(pcm),
        }
    }

    /// Forgets all that was decoded: the next payload meets a decoder as new.
    pub fn reset(&mut self) {
        match self {
            Decoder::Pcmu | Decoder::Pcma | Decoder::L16(_) => {}
            Decoder::Opus(decoder) => decoder.reset(),
        }
    }
}

/// Turns sound into the payloads of one encoding.
///
/// Samples beyond ±1.0 saturate, and those that are not a number are silence.
#[derive(Debug)]
pub enum Encoder {
    Pcmu(Encoding),
    Pcma(Encoding),
    L16(Encoding),
    Opus(opus::Encoder),
}

impl Encoder {
    /// Allocates all that encoding will ever need.
    pub fn new(encoding: Encoding) -> Result<Encoder, CodecError> {
        encoding.validate()?;
        Ok(match encoding.codec {
            Codec::Pcmu => Encoder::Pcmu(encoding),
            Codec::Pcma => Encoder::Pcma(encoding),
            Codec::L16(_) => Encoder::L16(encoding),
            Codec::Opus(rate) => Encoder::Opus(opus::Encoder::new(rate, encoding)?),
        })
    }

    pub const fn encoding(&self) -> Encoding {
        match self {
            Encoder::Pcmu(encoding) | Encoder::Pcma(encoding) | Encoder::L16(encoding) => *encoding,
            Encoder::Opus(encoder) => encoder.encoding(),
        }
    }

    /// Encodes one packet time of sound (`encoding().samples()` of it) into the front of `payload` and returns how
    /// many bytes it took. Opus never makes more than `payload.len()`; the others need room for a byte (L16: two) for
    /// each sample, at most `PAYLOAD_BYTES_MAX`. Zero, which is no packet, stands for lengths that do not fit and for
    /// an error within the codec.
    pub fn encode(&mut self, pcm: &[f32], payload: &mut [u8]) -> usize {
        let samples = self.encoding().samples();
        debug_assert_eq!(pcm.len(), samples, "one packet time of sound");
        if pcm.len() != samples {
            return 0;
        }
        match self {
            Encoder::Pcmu(_) => g711::encode_mu(pcm, payload),
            Encoder::Pcma(_) => g711::encode_a(pcm, payload),
            Encoder::L16(_) => l16::encode(pcm, payload),
            Encoder::Opus(encoder) => encoder.encode(pcm, payload),
        }
    }

    /// Becomes a twin of `other`, which has the same encoding: from here both make the same payloads of the same
    /// sound, so that a decoder that heard `other` goes on with this one's payloads without a jump.
    pub fn copy_from(&mut self, other: &Encoder) {
        debug_assert_eq!(
            self.encoding(),
            other.encoding(),
            "only equal encodings share a state"
        );
        if let (Encoder::Opus(encoder), Encoder::Opus(other)) = (self, other) {
            encoder.copy_from(other);
        }
    }
}

/// What an encoder makes of one sample from anywhere: within ±1.0, and a number.
#[inline]
fn saturate(sample: f32) -> f32 {
    let number = if sample.is_nan() { 0.0 } else { sample };
    number.clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const CODECS: [Codec; 8] = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::L16(Rate::Hz8000),
        Codec::L16(Rate::Hz16000),
        Codec::L16(Rate::Hz48000),
        Codec::Opus(Rate::Hz8000),
        Codec::Opus(Rate::Hz16000),
        Codec::Opus(Rate::Hz48000),
    ];

    pub(super) fn encoding(codec: Codec, ptime_ms: u8) -> Encoding {
        Encoding {
            codec,
            ptime_ms,
            bitrate: 32_000,
            complexity: 5,
        }
    }

    /// A tone of 440 Hz at −12 dBFS.
    pub(super) fn tone(rate: Rate, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|i| 0.25 * (std::f32::consts::TAU * 440.0 * i as f32 / rate.hz() as f32).sin())
            .collect()
    }

    /// Encodes the sound packet by packet and decodes it again; the last packet is whole.
    pub(super) fn round_trip(encoding: Encoding, pcm: &[f32]) -> Vec<f32> {
        let mut encoder = Encoder::new(encoding).unwrap();
        let mut decoder = Decoder::new(encoding.codec).unwrap();
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let mut decoded = [0.0; PAYLOAD_SAMPLES_MAX];
        let mut heard = Vec::new();
        for packet in pcm.chunks_exact(encoding.samples()) {
            let bytes = encoder.encode(packet, &mut payload);
            assert!(bytes > 0, "{encoding:?}");
            assert_eq!(
                decoder.samples(&payload[..bytes]),
                Ok(packet.len()),
                "{encoding:?}"
            );
            let samples = decoder.decode(&payload[..bytes], &mut decoded).unwrap();
            assert_eq!(samples, packet.len());
            heard.extend_from_slice(&decoded[..samples]);
        }
        heard
    }

    /// Signal over what differs from it, in dB, at the delay within 30 ms where that is best, after half a second.
    pub(super) fn snr_db(rate: Rate, said: &[f32], heard: &[f32]) -> f32 {
        let start = rate.hz() as usize / 2;
        let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|s| s * s).sum::<f32>();
        (0..30 * rate.samples_per_ms())
            .map(|delay| {
                let pairs = || said[start..].iter().zip(&heard[start + delay..]);
                let signal = energy(&mut pairs().map(|(said, _)| *said));
                let noise = energy(&mut pairs().map(|(said, heard)| heard - said));
                10.0 * (signal / noise).log10()
            })
            .fold(f32::MIN, f32::max)
    }

    #[test]
    fn a_tone_is_heard_through_every_codec_at_every_packet_time() {
        for codec in CODECS {
            let floor_db = match codec {
                Codec::Pcmu | Codec::Pcma => 36.0,
                Codec::L16(_) => 80.0,
                Codec::Opus(_) => 20.0,
            };
            for ptime_ms in [10, 20, 30, 40, 50, 60] {
                let said = tone(codec.rate(), 1_200 * codec.rate().samples_per_ms());
                let heard = round_trip(encoding(codec, ptime_ms), &said);
                let snr = snr_db(codec.rate(), &said, &heard);
                assert!(snr > floor_db, "{codec:?} at {ptime_ms} ms: {snr} dB");
            }
        }
    }

    #[test]
    fn silence_stays_silence_in_every_codec() {
        for codec in CODECS {
            let heard = round_trip(encoding(codec, 20), &vec![0.0; codec.rate().hz() as usize]);
            let peak = heard.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            // A-law has no zero: the nearest is one step of its 13 bits.
            let ceiling = if codec == Codec::Pcma { 1.0 / 4_096.0 } else { 1e-4 };
            assert!(peak <= ceiling, "{codec:?}: {peak}");
        }
    }

    #[test]
    fn what_is_beyond_full_scale_is_encoded_as_full_scale_and_what_is_no_number_as_silence() {
        let samples = [
            (f32::NAN, 0.0),
            (f32::INFINITY, 1.0),
            (f32::NEG_INFINITY, -1.0),
            (f32::MAX, 1.0),
            (-1e30, -1.0),
            (1.5, 1.0),
        ];
        for codec in CODECS {
            let encoding = encoding(codec, 20);
            let mut sane = tone(codec.rate(), codec.rate().hz() as usize);
            let mut wild = sane.clone();
            for (index, (wild, sane)) in wild.iter_mut().zip(&mut sane).enumerate().step_by(7) {
                (*wild, *sane) = samples[index / 7 % samples.len()];
            }
            let (mut one, mut other) = (Encoder::new(encoding).unwrap(), Encoder::new(encoding).unwrap());
            let (mut payload, mut expected) = ([0; PAYLOAD_BYTES_MAX], [0; PAYLOAD_BYTES_MAX]);
            for (wild, sane) in wild
                .chunks(encoding.samples())
                .zip(sane.chunks(encoding.samples()))
            {
                let bytes = one.encode(wild, &mut payload);
                let expected_bytes = other.encode(sane, &mut expected);
                assert!(bytes > 0);
                assert_eq!(payload[..bytes], expected[..expected_bytes], "{codec:?}");
            }
        }
    }

    #[test]
    fn random_payloads_decode_to_at_most_120_ms_of_finite_sound_or_to_a_named_error() {
        for codec in CODECS {
            let mut random = fastrand::Rng::with_seed(1);
            let mut decoder = Decoder::new(codec).unwrap();
            let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
            let mut payload = [0; 1_500];
            let (mut decoded, mut refused) = (0, 0);
            for round in 0..3_000 {
                let length = if round % 3 == 0 {
                    random.usize(0..12)
                } else {
                    random.usize(0..=1_500)
                };
                random.fill(&mut payload[..length]);
                pcm.fill(f32::NAN);
                let told = decoder.samples(&payload[..length]);
                match decoder.decode(&payload[..length], &mut pcm) {
                    Ok(samples) => {
                        assert_eq!(told, Ok(samples));
                        assert!(samples > 0 && samples <= PAYLOAD_MS_MAX * codec.rate().samples_per_ms());
                        assert!(
                            pcm[..samples].iter().all(|s| s.abs() <= 2.0),
                            "{codec:?} round {round}"
                        );
                        decoded += 1;
                    }
                    Err(error) => {
                        assert!(PayloadError::ALL.contains(&error));
                        refused += 1;
                    }
                }
            }
            assert!(
                decoded > 300 && refused > 300,
                "{codec:?}: {decoded} decoded, {refused} refused"
            );
        }
    }

    #[test]
    fn payloads_that_cannot_be_are_refused_by_name() {
        use PayloadError::*;
        let cases: [(Codec, &[u8], Result<usize, PayloadError>); 14] = [
            (Codec::Pcmu, &[], Err(Empty)),
            (Codec::Pcmu, &[0; 960], Ok(960)),
            (Codec::Pcmu, &[0; 961], Err(TooLong)),
            (Codec::Pcma, &[0; 961], Err(TooLong)),
            (Codec::L16(Rate::Hz8000), &[0; 3], Err(Partial)),
            (Codec::L16(Rate::Hz8000), &[0; 1_922], Err(TooLong)),
            (Codec::L16(Rate::Hz16000), &[0; 3_840], Ok(1_920)),
            (Codec::Opus(Rate::Hz16000), &[], Err(Empty)),
            // A configuration of 20 ms SILK wideband is 9: one frame, two equal frames, a count of frames.
            (Codec::Opus(Rate::Hz16000), &[9 << 3, 1, 2, 3], Ok(320)),
            (Codec::Opus(Rate::Hz16000), &[9 << 3 | 1, 1, 2, 3, 4], Ok(640)),
            (Codec::Opus(Rate::Hz16000), &[9 << 3 | 1, 1, 2, 3], Err(Corrupt)),
            (Codec::Opus(Rate::Hz16000), &[9 << 3 | 3], Err(Partial)),
            (
                Codec::Opus(Rate::Hz16000),
                &[9 << 3 | 3, 6, 1, 2, 3, 4, 5, 6],
                Ok(1_920),
            ),
            (
                Codec::Opus(Rate::Hz16000),
                &[9 << 3 | 3, 7, 1, 2, 3, 4, 5, 6, 7],
                Err(TooLong),
            ),
        ];
        for (codec, payload, expected) in cases {
            let mut decoder = Decoder::new(codec).unwrap();
            assert_eq!(
                decoder.samples(payload),
                expected,
                "{codec:?} {} bytes",
                payload.len()
            );
            assert_eq!(
                decoder.decode(payload, &mut [0.0; PAYLOAD_SAMPLES_MAX]),
                expected,
                "{codec:?}"
            );
        }
    }

    #[test]
    fn a_codec_says_what_it_was_made_of_and_refuses_what_it_cannot_be() {
        for codec in CODECS {
            assert_eq!(Decoder::new(codec).unwrap().codec(), codec);
            for ptime_ms in [10, 20, 30, 40, 50, 60] {
                let encoding = encoding(codec, ptime_ms);
                assert_eq!(Encoder::new(encoding).unwrap().encoding(), encoding);
            }
            assert_eq!(
                Encoder::new(encoding(codec, 25)).err(),
                Some(CodecError::Ptime(25))
            );
        }
        let opus = encoding(Codec::Opus(Rate::Hz48000), 20);
        let refused = |encoding| Encoder::new(encoding).err();
        assert_eq!(
            refused(Encoding {
                bitrate: 5_999,
                ..opus
            }),
            Some(CodecError::Bitrate(5_999))
        );
        assert_eq!(
            refused(Encoding {
                bitrate: 510_001,
                ..opus
            }),
            Some(CodecError::Bitrate(510_001))
        );
        assert_eq!(
            refused(Encoding {
                complexity: 11,
                ..opus
            }),
            Some(CodecError::Complexity(11))
        );
    }

    #[test]
    fn only_opus_conceals_and_the_others_leave_the_buffer_alone() {
        for codec in CODECS {
            let mut decoder = Decoder::new(codec).unwrap();
            let mut pcm = vec![0.5; codec.rate().samples_per_tick()];
            let conceals = matches!(codec, Codec::Opus(_));
            assert_eq!(decoder.conceal(&mut pcm), conceals, "{codec:?}");
            assert_eq!(pcm[0] == 0.5, !conceals);
        }
    }
}
