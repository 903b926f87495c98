//! G.729 Annex A with the silence descriptions of Annex B, for RTP (RFC 3551 §4.5.6), on the codec of `codec_core`.
//!
//! What is ours: payloads are taken apart and judged here, pauses longer than that codec can fill are filled, and a
//! state can be copied.

use std::fmt;

use codec_core::codecs::g729::G729Codec;
use codec_core::types::{AudioCodec, AudioCodecExt, CodecConfig, CodecType};

use super::comfort_noise::{ComfortNoise, Description};
use super::{CodecError, Encoded, Encoding, PayloadError, saturate};
use crate::frame::Rate;

/// 10 ms at 8 kHz: a frame of sound, of silence, or of nothing.
pub(super) const FRAME_SAMPLES: usize = 80;
const SOUND_BYTES: usize = 10;
const SILENCE_BYTES: usize = 2;

const FULL_SCALE: f32 = 32_768.0;

/// The codec falls silent after so many missing frames in a row, be they lost or never sent.
const MISSING_MAX: usize = 10;

/// It does so from one sample to the next, so the last of them are faded.
const FADED: usize = 3;

/// The autocorrelation of comfort noise is taken over a whole frame, to the order of its synthesis filter.
const LAGS: usize = 11;

/// Any seed will do: no two legs' noise can be compared.
const NOISE_SEED: u32 = 729;

/// The codec's state in both directions, one of which lies idle: 3.6 KB.
struct State(G729Codec);

// What follows would be wrong for a type that owns memory.
const _: () = assert!(!std::mem::needs_drop::<G729Codec>());

impl State {
    fn new(annex_b: bool) -> Result<State, CodecError> {
        let kind = if annex_b {
            CodecType::G729BA
        } else {
            CodecType::G729A
        };
        let codec = G729Codec::new(CodecConfig::new(kind));
        codec
            .map(State)
            .map_err(|_| CodecError::Unavailable(super::Codec::G729))
    }

    fn copy_from(&mut self, other: &State) {
        // SAFETY: both are whole values of one type and lie apart. A bitwise copy of this type is a value of its own:
        // version 0.4.0, which Cargo.toml holds to, consists of arrays of integers, integers, flags and options of them
        // (`EncoderState`, `VadState`, `DtxState`, `DecoderState`, `CngState` and the two configurations, all of
        // which are `Clone`), no pointer or reference among them, and nothing is dropped (asserted above).
        unsafe { std::ptr::copy_nonoverlapping(&other.0, &mut self.0, 1) };
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// One G.729 stream in.
#[derive(Debug)]
pub struct Decoder {
    state: Box<State>,
    /// What was decoded last said that its sender pauses.
    paused: bool,
    /// Frames since something was decoded.
    missing: usize,
    /// Recent mean of the codec's own comfort noise, as long as it lasts; ours goes on in its likeness.
    autocorrelation: [f32; LAGS],
    noise: ComfortNoise,
}

impl Decoder {
    pub(super) fn new() -> Result<Decoder, CodecError> {
        Ok(Decoder {
            // Annex B whatever was agreed: without it the codec repeats its last frame in place of a lost one.
            state: Box::new(State::new(true)?),
            paused: false,
            missing: 0,
            autocorrelation: [0.0; LAGS],
            noise: ComfortNoise::new(Rate::Hz8000, NOISE_SEED),
        })
    }

    /// `payload` is as long as `samples` wants it, and `pcm` as long as `samples` says.
    pub(super) fn decode(&mut self, payload: &[u8], pcm: &mut [f32]) {
        for (frame, pcm) in payload.chunks(SOUND_BYTES).zip(pcm.chunks_mut(FRAME_SAMPLES)) {
            self.missing = 0;
            self.paused = frame.len() == SILENCE_BYTES;
            self.decode_frame(frame, pcm);
        }
    }

    /// Fills the stretch with comfort noise in a pause and with the codec's guess at what was lost otherwise, if it is
    /// one of whole frames.
    pub(super) fn fill(&mut self, pcm: &mut [f32]) -> bool {
        if !pcm.len().is_multiple_of(FRAME_SAMPLES) {
            return false;
        }
        for pcm in pcm.chunks_mut(FRAME_SAMPLES) {
            self.fill_frame(pcm);
        }
        true
    }

    fn fill_frame(&mut self, pcm: &mut [f32]) {
        if self.missing < MISSING_MAX {
            self.missing += 1;
            self.decode_frame(&[], pcm);
            if self.paused {
                self.listen(pcm);
            } else {
                fade(self.missing, pcm);
            }
        } else if self.paused {
            if self.missing == MISSING_MAX {
                self.missing += 1;
                self.noise
                    .start(Description::of_autocorrelation(&self.autocorrelation));
            }
            self.noise.fill(pcm);
        } else {
            pcm.fill(0.0);
        }
    }

    /// Decodes a frame of sound, of silence, or, when there is none, of nothing.
    fn decode_frame(&mut self, frame: &[u8], pcm: &mut [f32]) {
        let mut decoded = [0; FRAME_SAMPLES];
        // It refuses lengths only, and these are right.
        let _ = self.state.0.decode_to_buffer(frame, &mut decoded);
        for (to, from) in pcm.iter_mut().zip(decoded) {
            *to = f32::from(from) * (1.0 / FULL_SCALE);
        }
    }

    /// Learns what the codec's comfort noise sounds like.
    fn listen(&mut self, noise: &[f32]) {
        let part = if self.missing == 1 { 1.0 } else { 0.2 };
        for (lag, mean) in self.autocorrelation.iter_mut().enumerate() {
            let sum: f32 = noise.iter().zip(&noise[lag..]).map(|(a, b)| a * b).sum();
            *mean += part * (sum / FRAME_SAMPLES as f32 - *mean);
        }
    }

    pub(super) fn reset(&mut self) {
        // It cannot fail: it makes the two states anew, as `new` did.
        let _ = self.state.0.reset();
        self.paused = false;
        self.missing = 0;
    }
}

/// How many samples a payload holds: up to any number of frames of sound, and one of silence at the end (RFC 3551
/// §4.5.6).
pub(super) fn samples(payload: &[u8]) -> Result<usize, PayloadError> {
    match payload.len() % SOUND_BYTES {
        0 | SILENCE_BYTES => Ok(payload.len().div_ceil(SOUND_BYTES) * FRAME_SAMPLES),
        _ => Err(PayloadError::Partial),
    }
}

/// Whether the payload ends in a description of silence.
pub(super) fn pauses(payload: &[u8]) -> bool {
    payload.len() % SOUND_BYTES == SILENCE_BYTES
}

/// Fades the last of the frames before the codec falls silent.
fn fade(missing: usize, pcm: &mut [f32]) {
    let faded = missing.saturating_sub(MISSING_MAX - FADED);
    if faded == 0 {
        return;
    }
    let left = ((FADED + 1 - faded) * FRAME_SAMPLES) as f32;
    for (n, sample) in pcm.iter_mut().enumerate() {
        *sample *= (left - n as f32) / (FADED * FRAME_SAMPLES) as f32;
    }
}

/// One G.729 stream out.
#[derive(Debug)]
pub struct Encoder {
    encoding: Encoding,
    state: Box<State>,
}

impl Encoder {
    pub(super) fn new(encoding: Encoding) -> Result<Encoder, CodecError> {
        Ok(Encoder {
            encoding,
            state: Box::new(State::new(encoding.dtx)?),
        })
    }

    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(super) const fn retune(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// Encodes one frame of 80 samples into the front of `payload`, which has room for ten bytes.
    pub(super) fn encode(&mut self, pcm: &[f32], payload: &mut [u8]) -> Encoded {
        let mut frame = [0; FRAME_SAMPLES];
        for (to, from) in frame.iter_mut().zip(pcm) {
            // A cast saturates.
            *to = (saturate(*from) * FULL_SCALE).round() as i16;
        }
        match self.state.0.encode_to_buffer(&frame, payload) {
            Ok(SOUND_BYTES) => Encoded::Sound(SOUND_BYTES),
            Ok(SILENCE_BYTES) => Encoded::Silence(SILENCE_BYTES),
            _ => Encoded::Nothing,
        }
    }

    pub(super) fn copy_from(&mut self, other: &Encoder) {
        self.encoding = other.encoding;
        self.state.copy_from(&other.state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::encoding;
    use super::super::{Codec, Decoder, Encoder, PAYLOAD_SAMPLES_MAX};
    use super::*;

    /// Of a middling level.
    const SID: [u8; 2] = [0x3A, 0x9E];

    fn encoder(dtx: bool) -> Encoder {
        Encoder::new(Encoding {
            dtx,
            ..encoding(Codec::G729, 20)
        })
        .unwrap()
    }

    fn decoder() -> Decoder {
        Decoder::new(Codec::G729).unwrap()
    }

    /// A gliding buzz with syllables, at about −20 dBFS, and a faint noise beneath.
    fn voice(samples: usize) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut phase = 0.0_f32;
        (0..samples)
            .map(|i| {
                let seconds = i as f32 / 8_000.0;
                phase += (110.0 + 30.0 * (2.1 * seconds).sin()) / 8_000.0;
                let syllable = 0.6 + 0.4 * (std::f32::consts::TAU * 3.0 * seconds).sin();
                let buzz: f32 = (1..20)
                    .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / h as f32)
                    .sum();
                0.1 * syllable * buzz + 0.002 * (random.f32() - 0.5)
            })
            .collect()
    }

    /// White noise of that RMS.
    fn hiss(rms: f32, samples: usize) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(2);
        (0..samples)
            .map(|_| rms * 3.0_f32.sqrt() * (2.0 * random.f32() - 1.0))
            .collect()
    }

    fn frames(encoder: &mut Encoder, sound: &[f32]) -> Vec<(Encoded, Vec<u8>)> {
        let mut payload = [0; SOUND_BYTES];
        sound
            .chunks_exact(encoder.frame_samples())
            .map(|frame| {
                let encoded = encoder.encode(frame, &mut payload);
                (encoded, payload[..encoded.bytes()].to_vec())
            })
            .collect()
    }

    fn rms_db(pcm: &[f32]) -> f32 {
        10.0 * (pcm.iter().map(|s| s * s).sum::<f32>() / pcm.len() as f32).log10()
    }

    fn step_max(pcm: &[f32]) -> f32 {
        pcm.windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn a_payload_is_whole_frames_of_sound_with_at_most_one_of_silence_at_the_end() {
        let decoder = decoder();
        let payload = [0x55; 140];
        for bytes in 1..=payload.len() {
            let payload = &payload[..bytes];
            let frames = bytes.div_ceil(10);
            let expected = match bytes % 10 {
                0 | 2 if frames <= 12 => Ok(frames * 80),
                0 | 2 => Err(PayloadError::TooLong),
                _ => Err(PayloadError::Partial),
            };
            assert_eq!(decoder.samples(payload), expected, "{bytes} bytes");
            assert_eq!(decoder.pauses(payload), bytes % 10 == 2, "{bytes} bytes");
        }
        assert_eq!(decoder.samples(&[]), Err(PayloadError::Empty));
    }

    #[test]
    fn a_voice_is_heard_at_its_level() {
        let said = voice(16_000);
        let mut decoder = decoder();
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        let mut heard = Vec::new();
        for pair in frames(&mut encoder(false), &said).chunks(2) {
            let payload = [pair[0].1.as_slice(), &pair[1].1].concat();
            assert_eq!(decoder.decode(&payload, &mut pcm), Ok(160));
            heard.extend_from_slice(&pcm[..160]);
        }
        let off = rms_db(&heard[4_000..]) - rms_db(&said[4_000..]);
        assert!(off.abs() < 1.0, "{off} dB");
    }

    #[test]
    fn without_dtx_each_frame_is_sound_and_with_it_a_pause_is_described_once_and_then_not_sent() {
        let sound = [voice(16_000), hiss(0.001, 32_000)].concat();
        let sent = frames(&mut encoder(false), &sound);
        assert!(sent.iter().all(|(encoded, _)| *encoded == Encoded::Sound(10)));
        let sent = frames(&mut encoder(true), &sound);
        let count = |what, from: usize, to: usize| {
            sent[from..to]
                .iter()
                .filter(|(encoded, _)| *encoded == what)
                .count()
        };
        assert!(
            count(Encoded::Sound(10), 0, 200) > 150,
            "speech {}",
            count(Encoded::Sound(10), 0, 200)
        );
        assert!(count(Encoded::Nothing, 300, 600) > 250, "a pause");
        let described = count(Encoded::Silence(2), 200, 600);
        assert!((1..40).contains(&described), "{described}");
    }

    #[test]
    fn a_pause_is_heard_as_comfort_noise_of_its_level_for_as_long_as_it_lasts() {
        for level in [0.0005, 0.002, 0.01] {
            let sound = [voice(16_000), hiss(level, 64_000)].concat();
            let sent = frames(&mut encoder(true), &sound);
            let mut decoder = decoder();
            let mut heard = Vec::new();
            let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
            let last = sent
                .iter()
                .rposition(|(_, bytes)| bytes.len() == 2)
                .expect("the silence is described");
            for (_, bytes) in &sent[..=last] {
                if bytes.is_empty() {
                    assert!(decoder.pause(&mut pcm[..80]));
                } else {
                    assert_eq!(decoder.decode(bytes, &mut pcm), Ok(80));
                }
            }
            for _ in 0..300 {
                assert!(decoder.pause(&mut pcm[..160]));
                heard.extend_from_slice(&pcm[..160]);
            }
            let expected = 20.0 * level.log10();
            let own = rms_db(&heard[..800]);
            assert!(
                (own - expected).abs() < 4.0,
                "the codec's own: {own} for {expected}"
            );
            for (n, second) in heard.chunks(8_000).enumerate() {
                let heard = rms_db(second);
                assert!((heard - own).abs() < 2.0, "second {n}: {heard} after {own}");
            }
            assert!(
                step_max(&heard) < 8.0 * level,
                "no click where one noise takes over"
            );
        }
    }

    #[test]
    fn a_frame_lost_in_a_pause_is_comfort_noise_as_well() {
        let mut paused = decoder();
        let mut lost = decoder();
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        paused.decode(&SID, &mut pcm).unwrap();
        lost.decode(&SID, &mut pcm).unwrap();
        for _ in 0..30 {
            let (mut one, mut other) = ([0.0; 160], [0.0; 160]);
            assert!(paused.pause(&mut one) && lost.conceal(&mut other));
            assert_eq!(one, other);
            assert!(one.iter().any(|sample| *sample != 0.0));
        }
    }

    #[test]
    fn a_lost_frame_is_concealed_and_the_next_one_is_heard() {
        let said = voice(16_000);
        let (mut whole, mut holed) = (decoder(), decoder());
        let (mut all, mut guess) = ([0.0; 80], [0.0; 80]);
        for (n, (_, bytes)) in frames(&mut encoder(false), &said).iter().enumerate() {
            whole.decode(bytes, &mut all).unwrap();
            let is_lost = n % 25 == 24;
            if is_lost {
                assert!(holed.conceal(&mut guess));
            } else {
                holed.decode(bytes, &mut guess).unwrap();
            }
            let off = rms_db(&guess) - rms_db(&all);
            match n % 25 {
                _ if n < 24 => assert_eq!(all, guess),
                24 | 0..5 => assert!(
                    (-14.0..6.0).contains(&off),
                    "frame {n}, lost: {is_lost}: {off} dB"
                ),
                _ => {}
            }
        }
    }

    #[test]
    fn a_long_loss_fades_into_silence_without_a_click() {
        let said = voice(8_000);
        let mut decoder = decoder();
        let mut heard = vec![0.0; 80];
        for (_, bytes) in frames(&mut encoder(false), &said) {
            decoder.decode(&bytes, &mut heard).unwrap();
        }
        let mut guess = vec![0.0; 30 * 80];
        assert!(decoder.conceal(&mut guess));
        assert!(rms_db(&guess[..80]) > -30.0);
        assert!(guess[10 * 80..].iter().all(|sample| *sample == 0.0));
        let faded = rms_db(&guess[9 * 80 + 60..10 * 80]) - rms_db(&guess[6 * 80..7 * 80]);
        assert!(faded < -16.0, "{faded} dB");
        let edge = &guess[10 * 80 - 20..10 * 80 + 20];
        assert!(step_max(edge) < 0.2 * step_max(&guess[..400]), "{edge:?}");
    }

    #[test]
    fn a_stretch_that_is_not_of_whole_frames_is_left_alone() {
        let mut decoder = decoder();
        assert_eq!(decoder.conceal_step(), 80);
        for samples in [1, 79, 81, 200] {
            let mut pcm = vec![0.5; samples];
            assert!(!decoder.conceal(&mut pcm) && !decoder.pause(&mut pcm));
            assert!(pcm.iter().all(|sample| *sample == 0.5));
        }
    }

    #[test]
    fn a_copied_encoder_is_a_twin_and_the_original_goes_on_by_itself() {
        for dtx in [false, true] {
            let sound = [voice(8_000), hiss(0.001, 8_000), voice(8_000)].concat();
            let (mut one, mut other) = (encoder(dtx), encoder(dtx));
            frames(&mut one, &sound[..12_000]);
            frames(&mut other, &hiss(0.1, 4_000));
            other.copy_from(&one);
            let expected = frames(&mut one, &sound[12_000..]);
            frames(&mut one, &voice(800));
            assert_eq!(frames(&mut other, &sound[12_000..]), expected, "dtx: {dtx}");
        }
    }

    #[test]
    fn a_reset_decoder_is_new() {
        let sent = frames(&mut encoder(false), &voice(8_000));
        let mut decoder = decoder();
        let hear = |decoder: &mut Decoder| {
            let mut heard = Vec::new();
            let mut pcm = [0.0; 80];
            for (n, (_, bytes)) in sent.iter().enumerate() {
                if n % 7 == 6 {
                    decoder.conceal(&mut pcm);
                } else {
                    decoder.decode(bytes, &mut pcm).unwrap();
                }
                heard.extend_from_slice(&pcm);
            }
            heard
        };
        let first = hear(&mut decoder);
        decoder.decode(&SID, &mut [0.0; 80]).unwrap();
        decoder.pause(&mut [0.0; 1_600]);
        decoder.reset();
        assert_eq!(hear(&mut decoder), first);
    }

    #[test]
    fn any_mix_of_frames_and_gaps_is_bounded_sound() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut decoder = decoder();
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        let mut payload = [0; 122];
        for round in 0..20_000 {
            let samples = match random.u32(0..10) {
                0 => {
                    let samples = 80 * random.usize(1..=12);
                    assert!(decoder.conceal(&mut pcm[..samples]));
                    samples
                }
                1 => {
                    assert!(decoder.pause(&mut pcm[..160]));
                    160
                }
                2 if random.u32(0..50) == 0 => {
                    decoder.reset();
                    0
                }
                kind => {
                    let bytes = 10 * random.usize(0..=2) + if kind < 5 { 2 } else { 10 };
                    random.fill(&mut payload[..bytes]);
                    decoder.decode(&payload[..bytes], &mut pcm).unwrap()
                }
            };
            assert!(
                pcm[..samples].iter().all(|sample| sample.abs() <= PEAK),
                "round {round}"
            );
        }
    }

    /// Comfort noise in the likeness of garbage may overshoot; the codec's own sound has 16 bits.
    const PEAK: f32 = 2.0;
}
