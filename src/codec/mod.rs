//! The codecs: payload bytes ⇄ mono `f32` samples (full scale ±1.0) at the codec's own rate.
//!
//! A codec is one file here, one arm in each of the enums below and its vectors. Nothing in
//! `decode` or `encode` allocates: joining pays for every codec's memory.

pub mod comfort_noise;
pub mod g711;
pub mod g722;
pub mod g729;
pub mod ilbc;
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
    /// 64 kbit/s. Its sound is 16 kHz, its RTP clock 8 kHz (RFC 3551 §4.5.2).
    G722,
    /// Annex A, with the silence descriptions of Annex B where they are agreed (RFC 3551 §4.5.6).
    G729,
    Ilbc(ilbc::Mode),
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
            Codec::G722 => "G722",
            Codec::G729 => "G729",
            Codec::Ilbc(_) => "iLBC",
            Codec::L16(_) => "L16",
            Codec::Opus(_) => "opus",
        }
    }

    /// The rate of the decoded sound.
    pub const fn rate(self) -> Rate {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G729 | Codec::Ilbc(_) => Rate::Hz8000,
            Codec::G722 => Rate::Hz16000,
            Codec::L16(rate) | Codec::Opus(rate) => rate,
        }
    }

    /// The RTP timestamp clock, in Hz.
    pub const fn clock_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 | Codec::Ilbc(_) => 8_000,
            Codec::L16(rate) => rate.hz(),
            Codec::Opus(_) => 48_000,
        }
    }

    /// The largest payload taken from a remote party, in bytes: 60 ms of sound, the most that SDP agrees to.
    pub const fn payload_bytes_received_max(self) -> usize {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 60 * Rate::Hz8000.samples_per_ms(),
            Codec::G729 => 60 / 10 * 10,
            Codec::Ilbc(mode) => 60 / mode.ms() * mode.bytes(),
            Codec::L16(rate) => 60 * 2 * rate.samples_per_ms(),
            // No sender makes one that does not fit an Ethernet frame.
            Codec::Opus(_) => 1_500,
        }
    }

    /// RTP timestamp units that so many samples of decoded sound take.
    pub const fn clock_of(self, samples: usize) -> u32 {
        let (samples, clock_hz, hz) = (samples as u64, self.clock_hz() as u64, self.rate().hz() as u64);
        (samples * clock_hz / hz) as u32
    }

    /// Samples of decoded sound that so many RTP timestamp units take.
    pub const fn samples_of(self, clock: u32) -> u64 {
        clock as u64 * self.rate().hz() as u64 / self.clock_hz() as u64
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
    /// Nothing but a description of the silence is sent while there is nothing to hear: G.729 Annex B, Opus DTX, or
    /// comfort noise (RFC 3389) beside the other codecs.
    pub dtx: bool,
    /// Opus only: percent of the packets that the remote loses; above zero each packet repeats the one before it
    /// coarsely (in-band FEC, RFC 6716 §2.1.7).
    pub loss_percent: u8,
}

impl Encoding {
    /// The most bytes one of our payloads takes.
    pub const fn payload_bytes_max(self) -> usize {
        let samples = self.ptime_ms as usize * self.codec.rate().samples_per_ms();
        match self.codec {
            Codec::Pcmu | Codec::Pcma => samples,
            Codec::G722 => samples / 2,
            Codec::G729 => samples / 8,
            Codec::Ilbc(mode) => samples / mode.samples() * mode.bytes(),
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

    /// What an encoder of it is built for.
    pub const fn shape(self) -> Shape {
        Shape {
            codec: self.codec,
            ptime_ms: self.ptime_ms,
            annex_b: matches!(self.codec, Codec::G729) && self.dtx,
        }
    }

    /// The same for a remote that loses so many percent, in at most `bitrate_max` bits per second: what repeating
    /// takes comes on top, and where that has no room, from the sound.
    pub fn against_loss(self, loss_percent: u8, bitrate_max: u32) -> Encoding {
        let bitrate = match (self.codec, loss_percent) {
            (Codec::Opus(_), 1..) => self.bitrate.min(opus::bitrate_within(bitrate_max, loss_percent)),
            _ => self.bitrate,
        };
        Encoding {
            bitrate,
            loss_percent,
            ..self
        }
    }

    fn validate(&self) -> Result<(), CodecError> {
        if !matches!(self.ptime_ms, 10 | 20 | 30 | 40 | 50 | 60) {
            return Err(CodecError::Ptime(self.ptime_ms));
        }
        if let Codec::Ilbc(mode) = self.codec
            && !usize::from(self.ptime_ms).is_multiple_of(mode.ms())
        {
            return Err(CodecError::Frames(self.ptime_ms));
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

/// What an encoder is built for: the rest of its encoding can change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    codec: Codec,
    ptime_ms: u8,
    /// G.729 only.
    annex_b: bool,
}

/// Why a codec could not be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    #[error("a packet time of {0} ms is not one of 10, 20, 30, 40, 50, 60")]
    Ptime(u8),
    #[error("a packet time of {0} ms is not a whole number of the codec's frames")]
    Frames(u8),
    #[error("an Opus bitrate of {0} bit/s is not within 6,000 to 510,000")]
    Bitrate(u32),
    #[error("an Opus complexity of {0} is not within 0 to 10")]
    Complexity(u8),
    #[error("{name} is not available", name = .0.name())]
    Unavailable(Codec),
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

/// What an encoder made of a frame, with the bytes it takes in the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    Sound(usize),
    /// A description of silence: the last thing in its packet, and the last that is sent until there is sound again
    /// or the silence changes.
    Silence(usize),
    /// Not worth a packet.
    Nothing,
}

impl Encoded {
    pub const fn bytes(self) -> usize {
        match self {
            Encoded::Sound(bytes) | Encoded::Silence(bytes) => bytes,
            Encoded::Nothing => 0,
        }
    }
}

/// Turns the payloads of one stream into sound.
///
/// What comes out is finite whatever went in. Only Opus can exceed ±1.0, by the overshoot of a signal that was
/// coded at full scale, and then stays within ±2.0: the limiter of the mix has more room to be gentle than a clip here.
#[derive(Debug)]
pub enum Decoder {
    Pcmu,
    Pcma,
    G722(g722::Decoder),
    G729(g729::Decoder),
    Ilbc(Box<ilbc::Decoder>),
    L16(Rate),
    Opus(opus::Decoder),
}

impl Decoder {
    /// Allocates all that decoding will ever need.
    pub fn new(codec: Codec) -> Result<Decoder, CodecError> {
        Ok(match codec {
            Codec::Pcmu => Decoder::Pcmu,
            Codec::Pcma => Decoder::Pcma,
            Codec::G722 => Decoder::G722(g722::Decoder::new()),
            Codec::G729 => Decoder::G729(g729::Decoder::new()?),
            Codec::Ilbc(mode) => Decoder::Ilbc(Box::new(ilbc::Decoder::new(mode))),
            Codec::L16(rate) => Decoder::L16(rate),
            Codec::Opus(rate) => Decoder::Opus(opus::Decoder::new(rate)?),
        })
    }

    pub const fn codec(&self) -> Codec {
        match self {
            Decoder::Pcmu => Codec::Pcmu,
            Decoder::Pcma => Codec::Pcma,
            Decoder::G722(_) => Codec::G722,
            Decoder::G729(_) => Codec::G729,
            Decoder::Ilbc(decoder) => Codec::Ilbc(decoder.mode()),
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
            Decoder::G722(_) => 2 * payload.len(),
            Decoder::G729(_) => g729::samples(payload)?,
            Decoder::Ilbc(decoder) => decoder.mode().samples_of(payload)?,
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
            Decoder::G722(decoder) => decoder.decode(payload, pcm),
            Decoder::G729(decoder) => decoder.decode(payload, pcm),
            Decoder::Ilbc(decoder) => {
                let mode = decoder.mode();
                let frames = payload.chunks_exact(mode.bytes());
                for (frame, pcm) in frames.zip(pcm.chunks_exact_mut(mode.samples())) {
                    decoder.decode(frame, pcm)?;
                }
            }
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

    /// Whether the sender pauses after this payload: what follows it is silence, not loss.
    pub fn pauses(&self, payload: &[u8]) -> bool {
        match self {
            Decoder::Pcmu | Decoder::Pcma | Decoder::G722(_) | Decoder::Ilbc(_) | Decoder::L16(_) => false,
            Decoder::G729(_) => g729::pauses(payload),
            Decoder::Opus(decoder) => decoder.pauses(payload),
        }
    }

    /// Fills `pcm`, a multiple of `conceal_step()`, with the comfort noise of a pause, where the codec has one.
    /// Otherwise returns false and leaves `pcm` as it is.
    pub fn pause(&mut self, pcm: &mut [f32]) -> bool {
        match self {
            Decoder::Pcmu | Decoder::Pcma | Decoder::G722(_) | Decoder::Ilbc(_) | Decoder::L16(_) => false,
            Decoder::G729(decoder) => decoder.fill(pcm),
            Decoder::Opus(decoder) => decoder.pause(pcm),
        }
    }

    /// What `decode` would make of the payload, for codecs that have no guess of their own at what was lost before it;
    /// nothing is changed by it.
    pub fn peek(&self, payload: &[u8], pcm: &mut [f32]) -> Option<usize> {
        let mut copy = match self {
            Decoder::Pcmu => Decoder::Pcmu,
            Decoder::Pcma => Decoder::Pcma,
            Decoder::L16(rate) => Decoder::L16(*rate),
            Decoder::G722(decoder) => Decoder::G722(decoder.clone()),
            Decoder::G729(_) | Decoder::Ilbc(_) | Decoder::Opus(_) => return None,
        };
        copy.decode(payload, pcm).ok()
    }

    /// How many samples at `codec().rate()` of what came before it the payload `next` repeats, as its last stretch.
    pub fn repeated(&self, next: &[u8]) -> usize {
        match self {
            Decoder::Opus(decoder) => decoder.repeated(next),
            _ => 0,
        }
    }

    /// Fills `pcm`, `repeated(next)` samples, with the lost stretch that ends where `next` begins, from what `next`
    /// repeats of it; `next` itself is to be decoded afterwards. Returns false where `next` repeats nothing.
    pub fn recover(&mut self, next: &[u8], pcm: &mut [f32]) -> bool {
        match self {
            Decoder::Opus(decoder) => decoder.recover(next, pcm),
            _ => false,
        }
    }

    /// Samples of which a stretch that is concealed or paused by the codec must be a multiple.
    pub const fn conceal_step(&self) -> usize {
        match self {
            Decoder::G729(_) => g729::FRAME_SAMPLES,
            Decoder::Ilbc(decoder) => decoder.mode().samples(),
            Decoder::Pcmu | Decoder::Pcma | Decoder::G722(_) | Decoder::L16(_) => 1,
            Decoder::Opus(decoder) => decoder.rate().hz() as usize / 400,
        }
    }

    /// Fills `pcm` with the codec's own guess at a lost stretch of that length, where it has one: iLBC, Opus up to
    /// 120 ms, and G.729, whose guess at what is lost in a pause is its comfort noise. Otherwise returns false and leaves
    /// `pcm` as it is.
    pub fn conceal(&mut self, pcm: &mut [f32]) -> bool {
        match self {
            Decoder::Pcmu | Decoder::Pcma | Decoder::G722(_) | Decoder::L16(_) => false,
            Decoder::G729(decoder) => decoder.fill(pcm),
            Decoder::Ilbc(decoder) => {
                let samples = decoder.mode().samples();
                if pcm.is_empty() || !pcm.len().is_multiple_of(samples) {
                    return false;
                }
                for frame in pcm.chunks_exact_mut(samples) {
                    decoder.conceal(frame);
                }
                true
            }
            Decoder::Opus(decoder) => decoder.conceal(pcm),
        }
    }

    /// Forgets all that was decoded: the next payload meets a decoder as new.
    pub fn reset(&mut self) {
        match self {
            Decoder::Pcmu | Decoder::Pcma | Decoder::L16(_) => {}
            Decoder::G722(decoder) => decoder.reset(),
            Decoder::G729(decoder) => decoder.reset(),
            Decoder::Ilbc(decoder) => decoder.reset(),
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
    G722(Box<g722::Encoder>),
    G729(g729::Encoder),
    Ilbc(Encoding, Box<ilbc::Encoder>),
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
            Codec::G722 => Encoder::G722(Box::new(g722::Encoder::new(encoding))),
            Codec::G729 => Encoder::G729(g729::Encoder::new(encoding)?),
            Codec::Ilbc(mode) => Encoder::Ilbc(encoding, Box::new(ilbc::Encoder::new(mode))),
            Codec::L16(_) => Encoder::L16(encoding),
            Codec::Opus(rate) => Encoder::Opus(opus::Encoder::new(rate, encoding)?),
        })
    }

    pub const fn encoding(&self) -> Encoding {
        match self {
            Encoder::Pcmu(encoding)
            | Encoder::Pcma(encoding)
            | Encoder::Ilbc(encoding, _)
            | Encoder::L16(encoding) => *encoding,
            Encoder::G722(encoder) => encoder.encoding(),
            Encoder::G729(encoder) => encoder.encoding(),
            Encoder::Opus(encoder) => encoder.encoding(),
        }
    }

    /// How many samples one call of `encode` takes: a packet time, or less where a packet is made of frames of which
    /// any can end a talk spurt.
    pub const fn frame_samples(&self) -> usize {
        match self {
            Encoder::G729(_) => g729::FRAME_SAMPLES,
            _ => self.encoding().samples(),
        }
    }

    /// Asks for what is heard to have the shape of what was said, before any of it is encoded. Without it Opus lifts a
    /// voice out of its surroundings: it cuts off what is below the voice, which shifts its lowest tones in time.
    pub fn keep_waveform(&mut self) {
        if let Encoder::Opus(encoder) = self {
            encoder.keep_waveform();
        }
    }

    /// Samples by which the sound is late when it has been encoded and decoded; only Opus tells.
    pub fn lookahead(&mut self) -> Option<usize> {
        match self {
            Encoder::Opus(encoder) => Some(encoder.lookahead()),
            _ => None,
        }
    }

    /// Encodes `frame_samples()` of sound into the front of `payload`. Opus never makes more than `payload.len()`; the
    /// others need room for a byte (L16: two) for each sample, at most `PAYLOAD_BYTES_MAX`. `Nothing` stands also for
    /// lengths that do not fit and for an error within the codec.
    pub fn encode(&mut self, pcm: &[f32], payload: &mut [u8]) -> Encoded {
        debug_assert_eq!(pcm.len(), self.frame_samples(), "one frame of sound");
        if pcm.len() != self.frame_samples() {
            return Encoded::Nothing;
        }
        let bytes = match self {
            Encoder::Pcmu(_) => g711::encode_mu(pcm, payload),
            Encoder::Pcma(_) => g711::encode_a(pcm, payload),
            Encoder::G722(encoder) => encoder.encode(pcm, payload),
            Encoder::G729(encoder) => return encoder.encode(pcm, payload),
            Encoder::Ilbc(_, encoder) => {
                let mode = encoder.mode();
                let Some(payload) = payload.get_mut(..pcm.len() / mode.samples() * mode.bytes()) else {
                    debug_assert!(false, "{} samples do not fit", pcm.len());
                    return Encoded::Nothing;
                };
                let frames = payload.chunks_exact_mut(mode.bytes());
                for (pcm, frame) in pcm.chunks_exact(mode.samples()).zip(frames) {
                    encoder.encode(pcm, frame);
                }
                payload.len()
            }
            Encoder::L16(_) => l16::encode(pcm, payload),
            Encoder::Opus(encoder) => return encoder.encode(pcm, payload),
        };
        match bytes {
            0 => Encoded::Nothing,
            bytes => Encoded::Sound(bytes),
        }
    }

    /// Goes on with another bitrate, complexity, DTX or loss; codec and packet time are as they were.
    pub fn retune(&mut self, encoding: Encoding) {
        debug_assert_eq!(
            self.encoding().shape(),
            encoding.shape(),
            "an encoder keeps its shape"
        );
        match self {
            Encoder::Pcmu(before)
            | Encoder::Pcma(before)
            | Encoder::Ilbc(before, _)
            | Encoder::L16(before) => *before = encoding,
            Encoder::G722(encoder) => encoder.retune(encoding),
            Encoder::G729(encoder) => encoder.retune(encoding),
            Encoder::Opus(encoder) => encoder.retune(encoding),
        }
    }

    /// Spends no more effort than this, 0 to 10, whatever the encoding says: the encoding stays as it is, so that whoever
    /// shares an encoder goes on sharing it.
    pub fn limit_complexity(&mut self, max: u8) {
        if let Encoder::Opus(encoder) = self {
            encoder.limit_complexity(max);
        }
    }

    /// Becomes a twin of `other`, which has the same shape: from here both make the same payloads of the same
    /// sound, so that a decoder that heard `other` goes on with this one's payloads without a jump.
    pub fn copy_from(&mut self, other: &Encoder) {
        let encoding = other.encoding();
        debug_assert_eq!(
            self.encoding().shape(),
            encoding.shape(),
            "only encoders of a shape share a state"
        );
        match (self, other) {
            (Encoder::G722(encoder), Encoder::G722(other)) => (**encoder).clone_from(other),
            (Encoder::G729(encoder), Encoder::G729(other)) => encoder.copy_from(other),
            (Encoder::Ilbc(before, encoder), Encoder::Ilbc(_, other)) => {
                *before = encoding;
                encoder.clone_from(other);
            }
            (Encoder::Opus(encoder), Encoder::Opus(other)) => encoder.copy_from(other),
            (encoder, _) => encoder.retune(encoding),
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
mod tests;
