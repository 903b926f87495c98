//! Opus (RFC 6716) for RTP (RFC 7587): a thin safe wrapper over libopus, mono, at any rate of the mixer.
//!
//! It owns the memory of each state, so that a state can be copied over another without allocation. No DTX and no
//! in-band FEC yet: both are settings in `Encoder::new`, and FEC a third argument of `decode`.

use std::ffi::c_int;
use std::ptr;

use opusic_sys as ffi;

use super::opus_lull::Lull;
use super::{CodecError, Encoding, PAYLOAD_MS_MAX, PayloadError, saturate};
use crate::frame::Rate;

pub(super) const BITRATE_MIN: u32 = 6_000;
pub(super) const BITRATE_MAX: u32 = 510_000;
pub(super) const COMPLEXITY_MAX: u8 = 10;

/// Both ends of every leg are mono: a stereo packet is mixed down by the decoder itself.
const CHANNELS: c_int = 1;

/// The most samples of one packet we make: 60 ms at 48 kHz.
const PACKET_SAMPLES_MAX: usize = 60 * Rate::Hz48000.samples_per_ms();

/// RFC 6716 §3.2: no frame is longer, and a table of contents byte stands before it.
const FRAME_BYTES_MAX: usize = 1_275;
const FRAME_PACKET_BYTES_MAX: usize = 1 + FRAME_BYTES_MAX;

/// RFC 6716 has no frame of 30 or 50 ms; such packets are made of this many or fewer frames of 10 ms.
const FRAMES_MAX: usize = 5;

/// What goes beyond full scale in the decoder is the overshoot of a coded signal, never more than this in earnest.
const OVERSHOOT_MAX: f32 = 2.0;

/// Memory for a state of libopus, aligned as `malloc` would align it.
///
/// libopus documents its states as one stretch of memory, independent of where it lies, for which a shallow copy is a
/// copy (opus.h: "only a shallow copy is sufficient to copy it (e.g. memcpy())"). Inside, parts find each other by
/// offsets; the only pointers lead to constant tables of the library. Hence moving a state to another thread is sound
/// as well, and so `Send` and `Sync` follow from the bytes.
#[derive(Debug)]
struct State(Box<[Chunk]>);

#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
struct Chunk(#[expect(dead_code, reason = "only the library looks inside")] [u8; 16]);

impl State {
    fn zeroed(bytes: c_int) -> State {
        let bytes = usize::try_from(bytes).expect("the size of a mono state is positive");
        State(vec![Chunk([0; 16]); bytes.div_ceil(size_of::<Chunk>())].into_boxed_slice())
    }

    fn as_mut_ptr<T>(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }

    fn copy_from(&mut self, other: &State) {
        self.0.copy_from_slice(&other.0);
    }
}

/// One Opus stream out.
#[derive(Debug)]
pub struct Encoder {
    encoding: Encoding,
    state: State,
    /// Where the frames of a 30 or 50 ms packet are put together; means nothing between two packets.
    repacketizer: State,
}

impl Encoder {
    /// `encoding` has been validated, and `rate` is that of its codec.
    pub(super) fn new(rate: Rate, encoding: Encoding) -> Result<Encoder, CodecError> {
        // SAFETY: the sizes are constants of the library, asked for without any state.
        let (encoder_bytes, repacketizer_bytes) = unsafe {
            (
                ffi::opus_encoder_get_size(CHANNELS),
                ffi::opus_repacketizer_get_size(),
            )
        };
        let mut encoder = Encoder {
            encoding,
            state: State::zeroed(encoder_bytes),
            repacketizer: State::zeroed(repacketizer_bytes),
        };
        let hz = rate.hz() as i32;
        // SAFETY: the state has the size the library asked for with the same number of channels.
        let error = unsafe {
            ffi::opus_encoder_init(
                encoder.state.as_mut_ptr(),
                hz,
                CHANNELS,
                ffi::OPUS_APPLICATION_VOIP,
            )
        };
        succeeded(error)?;
        // Nobody who reaches a mix has more than 16 bits: with them the encoder sees that a telephone's sound
        // ends at 4 kHz where it would take the images of a resampler for sound.
        const SOUND_BITS: c_int = 16;
        for (request, value) in [
            (ffi::OPUS_SET_BITRATE_REQUEST, encoding.bitrate as c_int),
            (ffi::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(encoding.complexity)),
            (ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE),
            (ffi::OPUS_SET_VBR_REQUEST, 1),
            (ffi::OPUS_SET_VBR_CONSTRAINT_REQUEST, 1),
            (ffi::OPUS_SET_LSB_DEPTH_REQUEST, SOUND_BITS),
            (ffi::OPUS_SET_DTX_REQUEST, 0),
            (ffi::OPUS_SET_INBAND_FEC_REQUEST, 0),
        ] {
            succeeded(encoder.set(request, value))?;
        }
        Ok(encoder)
    }

    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// `pcm` is one packet time. Returns the bytes of the packet, zero on an error of the library.
    pub(super) fn encode(&mut self, pcm: &[f32], payload: &mut [u8]) -> usize {
        let mut saturated = [0.0; PACKET_SAMPLES_MAX];
        let Some(saturated) = saturated.get_mut(..pcm.len()) else {
            return 0;
        };
        for (to, from) in saturated.iter_mut().zip(pcm) {
            *to = saturate(*from);
        }
        match self.encoding.ptime_ms {
            10 | 20 | 40 | 60 => self.encode_frame(saturated, payload),
            _ => self.encode_frames(saturated, payload),
        }
    }

    /// One frame of a length that Opus has.
    fn encode_frame(&mut self, pcm: &[f32], payload: &mut [u8]) -> usize {
        let room = i32::try_from(payload.len()).unwrap_or(i32::MAX);
        // SAFETY: the state was initialised for mono; the library reads `pcm.len()` samples and writes at most `room` bytes.
        let bytes = unsafe {
            ffi::opus_encode_float(
                self.state.as_mut_ptr(),
                pcm.as_ptr(),
                pcm.len() as c_int,
                payload.as_mut_ptr(),
                room,
            )
        };
        usize::try_from(bytes).unwrap_or(0)
    }

    /// Frames of 10 ms in one packet. RFC 6716 §3.2 gives a packet one configuration for all its frames, so after the first
    /// the bandwidth is held. The mode depends on bandwidth and bitrate alone, as long as the signal is declared
    /// to be voice.
    fn encode_frames(&mut self, pcm: &[f32], payload: &mut [u8]) -> usize {
        let mut packets = [0; FRAMES_MAX * FRAME_PACKET_BYTES_MAX];
        // SAFETY: the repacketizer has the size the library asked for; this only clears its list of frames.
        unsafe { ffi::opus_repacketizer_init(self.repacketizer.as_mut_ptr()) };
        let frame_samples = self.encoding.samples() * 10 / usize::from(self.encoding.ptime_ms);
        let frames = pcm.chunks_exact(frame_samples);
        // RFC 6716 §3.2.5: two bytes at the head of such a packet, and two for the length of each frame but the last.
        let room = payload.len().saturating_sub(2 * FRAMES_MAX) / frames.len();
        let room = room.min(FRAME_PACKET_BYTES_MAX);
        for (index, (frame, packet)) in frames
            .zip(packets.chunks_exact_mut(FRAME_PACKET_BYTES_MAX))
            .enumerate()
        {
            let bytes = self.encode_frame(frame, &mut packet[..room]);
            if index == 0 && bytes > 0 {
                // SAFETY: the library looks at the first byte only, and there is one.
                let bandwidth = unsafe { ffi::opus_packet_get_bandwidth(packet.as_ptr()) };
                self.set(ffi::OPUS_SET_BANDWIDTH_REQUEST, bandwidth);
            }
            // SAFETY: the repacketizer was initialised, `packet` holds at least `bytes`, and `packets`, to which it keeps
            // pointers, outlives its use below.
            let error = unsafe {
                ffi::opus_repacketizer_cat(self.repacketizer.as_mut_ptr(), packet.as_ptr(), bytes as i32)
            };
            debug_assert_eq!(
                error,
                ffi::OPUS_OK,
                "frame {index} of a packet has a configuration of its own"
            );
        }
        self.set(ffi::OPUS_SET_BANDWIDTH_REQUEST, ffi::OPUS_AUTO);
        let room = i32::try_from(payload.len()).unwrap_or(i32::MAX);
        // SAFETY: the frames the repacketizer points to are in `packets`; it writes at most `room` bytes.
        let bytes =
            unsafe { ffi::opus_repacketizer_out(self.repacketizer.as_mut_ptr(), payload.as_mut_ptr(), room) };
        usize::try_from(bytes).unwrap_or(0)
    }

    pub(super) fn copy_from(&mut self, other: &Encoder) {
        if self.encoding == other.encoding {
            self.state.copy_from(&other.state);
        }
    }

    fn set(&mut self, request: c_int, value: c_int) -> c_int {
        // SAFETY: the state was initialised, and each request used here takes one integer.
        unsafe { ffi::opus_encoder_ctl(self.state.as_mut_ptr(), request, value) }
    }
}

/// One Opus stream in.
#[derive(Debug)]
pub struct Decoder {
    rate: Rate,
    state: State,
    lull: Lull,
}

impl Decoder {
    pub(super) fn new(rate: Rate) -> Result<Decoder, CodecError> {
        // SAFETY: the size is a constant of the library, asked for without any state.
        let bytes = unsafe { ffi::opus_decoder_get_size(CHANNELS) };
        let mut decoder = Decoder {
            rate,
            state: State::zeroed(bytes),
            lull: Lull::new(),
        };
        // SAFETY: the state has the size the library asked for with the same number of channels.
        let error = unsafe { ffi::opus_decoder_init(decoder.state.as_mut_ptr(), rate.hz() as i32, CHANNELS) };
        succeeded(error)?;
        // Complexity 5 and more would turn on concealment by neural networks where the library has it, at
        // 0.4 ms a lost frame.
        succeeded(decoder.set(ffi::OPUS_SET_COMPLEXITY_REQUEST, 0))?;
        Ok(decoder)
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// RFC 6716 §3.1 and §3.2: the first byte and, for some, the second tell the length; the rest must agree (§3.4).
    pub(super) fn samples(&self, payload: &[u8]) -> Result<usize, PayloadError> {
        let &[toc, ref rest @ ..] = payload else {
            return Err(PayloadError::Empty);
        };
        let frames = match (toc & 0b11, rest) {
            (0, _) => 1,
            (1 | 2, _) => 2,
            (_, []) => return Err(PayloadError::Partial),
            (_, [count, ..]) => usize::from(count & 0b11_1111),
        };
        // SAFETY: the library looks at the first byte only, and there is one.
        let frame = unsafe { ffi::opus_packet_get_samples_per_frame(&toc, self.rate.hz() as i32) };
        let samples = frames * usize::try_from(frame).map_err(|_| PayloadError::Corrupt)?;
        if samples > PAYLOAD_MS_MAX * self.rate.samples_per_ms() {
            return Err(PayloadError::TooLong);
        }
        let bytes = i32::try_from(payload.len()).map_err(|_| PayloadError::Corrupt)?;
        let mut sizes = [0; 48];
        // SAFETY: the library reads `bytes` bytes and writes at most 48 sizes, the number of frames of 2.5 ms in
        // 120 ms; it documents that the other results may be null.
        let parsed = unsafe {
            ffi::opus_packet_parse(
                payload.as_ptr(),
                bytes,
                ptr::null_mut(),
                ptr::null_mut(),
                sizes.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        if parsed < 1 {
            return Err(PayloadError::Corrupt);
        }
        Ok(samples)
    }

    pub(super) fn set_unheard(&mut self, unheard: bool) {
        self.lull.set_unheard(unheard);
    }

    /// Whether the last payload was passed over, and silence put in its place.
    pub(super) fn has_passed(&self) -> bool {
        self.lull.has_passed()
    }

    /// `pcm` has the length that `samples` told.
    pub(super) fn decode(&mut self, payload: &[u8], pcm: &mut [f32]) -> Result<(), PayloadError> {
        if self.lull.passes(payload) {
            pcm.fill(0.0);
            return Ok(());
        }
        if self.lull.has_passed() {
            let (before, len) = self.lull.end();
            let before = &before[..len];
            // Only the state that it leaves behind counts.
            if let Ok(samples) = self.samples(before)
                && samples <= pcm.len()
            {
                let _ = self.run(before, &mut pcm[..samples]);
            }
        }
        self.run(payload, pcm)?;
        self.lull.hear(pcm);
        Ok(())
    }

    fn run(&mut self, payload: &[u8], pcm: &mut [f32]) -> Result<(), PayloadError> {
        let bytes = i32::try_from(payload.len()).map_err(|_| PayloadError::Corrupt)?;
        // SAFETY: the state was initialised for mono; the library reads `bytes` bytes and writes at most `pcm.len()` samples.
        let decoded = unsafe {
            ffi::opus_decode_float(
                self.state.as_mut_ptr(),
                payload.as_ptr(),
                bytes,
                pcm.as_mut_ptr(),
                pcm.len() as c_int,
                0,
            )
        };
        bound(pcm);
        if usize::try_from(decoded) == Ok(pcm.len()) {
            Ok(())
        } else {
            Err(PayloadError::Corrupt)
        }
    }

    pub(super) fn conceal(&mut self, pcm: &mut [f32]) -> bool {
        // 2.5 ms is a whole number of samples at every rate: 20, 40 or 120.
        let step = self.rate.hz() as usize / 400;
        if pcm.is_empty()
            || !pcm.len().is_multiple_of(step)
            || pcm.len() > PAYLOAD_MS_MAX * self.rate.samples_per_ms()
        {
            return false;
        }
        // SAFETY: no payload stands for a lost one; the library writes at most `pcm.len()` samples.
        let concealed = unsafe {
            ffi::opus_decode_float(
                self.state.as_mut_ptr(),
                ptr::null(),
                0,
                pcm.as_mut_ptr(),
                pcm.len() as c_int,
                0,
            )
        };
        bound(pcm);
        usize::try_from(concealed) == Ok(pcm.len())
    }

    pub(super) fn reset(&mut self) {
        self.lull.reset();
        // Not by a new start: that asks the processor for its abilities, which under a hypervisor costs far more.
        // SAFETY: the state was initialised, and this request takes no argument.
        unsafe { ffi::opus_decoder_ctl(self.state.as_mut_ptr(), ffi::OPUS_RESET_STATE) };
    }

    fn set(&mut self, request: c_int, value: c_int) -> c_int {
        // SAFETY: the state was initialised, and each request used here takes one integer.
        unsafe { ffi::opus_decoder_ctl(self.state.as_mut_ptr(), request, value) }
    }
}

/// Keeps what a hostile stream makes the decoder say from spreading into the mix.
fn bound(pcm: &mut [f32]) {
    for sample in pcm {
        let number = if sample.is_nan() { 0.0 } else { *sample };
        *sample = number.clamp(-OVERSHOOT_MAX, OVERSHOOT_MAX);
    }
}

fn succeeded(error: c_int) -> Result<(), CodecError> {
    if error == ffi::OPUS_OK {
        Ok(())
    } else {
        Err(CodecError::Library(error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{encoding, tone};
    use super::super::{Codec, Decoder, Encoder, Encoding, PAYLOAD_BYTES_MAX, PAYLOAD_SAMPLES_MAX};
    use super::*;

    /// A voice-like sound: a gliding buzz with syllables and breath between them, never the same twice.
    fn voice(rate: Rate, samples: usize, seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut phase = 0.0f32;
        (0..samples)
            .map(|i| {
                let seconds = i as f32 / rate.hz() as f32;
                phase += (110.0 + 30.0 * (2.1 * seconds).sin()) / rate.hz() as f32;
                let syllable = (std::f32::consts::TAU * 3.0 * seconds).sin().max(0.0);
                let buzz: f32 = (1..12)
                    .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / h as f32)
                    .sum();
                0.2 * syllable * buzz + 0.01 * (random.f32() - 0.5)
            })
            .collect()
    }

    fn encode_all(encoder: &mut Encoder, pcm: &[f32]) -> Vec<Vec<u8>> {
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        pcm.chunks_exact(encoder.encoding().samples())
            .map(|packet| {
                let bytes = encoder.encode(packet, &mut payload).bytes();
                payload[..bytes].to_vec()
            })
            .collect()
    }

    fn decode_all(decoder: &mut Decoder, payloads: &[Vec<u8>]) -> Vec<f32> {
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        let mut heard = Vec::new();
        for payload in payloads {
            let samples = decoder.decode(payload, &mut pcm).unwrap();
            heard.extend_from_slice(&pcm[..samples]);
        }
        heard
    }

    #[test]
    fn a_copied_encoder_makes_the_very_bytes_of_its_original() {
        for (rate, ptime_ms) in [
            (Rate::Hz8000, 20),
            (Rate::Hz16000, 20),
            (Rate::Hz48000, 20),
            (Rate::Hz16000, 30),
            (Rate::Hz48000, 60),
        ] {
            let encoding = encoding(Codec::Opus(rate), ptime_ms);
            let sound = voice(rate, 3 * rate.hz() as usize, 3);
            let (before, after) = sound.split_at(encoding.samples() * 20);
            let mut original = Encoder::new(encoding).unwrap();
            encode_all(&mut original, before);
            let mut copy = Encoder::new(encoding).unwrap();
            encode_all(&mut copy, &tone(rate, encoding.samples() * 7));
            copy.copy_from(&original);
            let mut fresh = Encoder::new(encoding).unwrap();
            let expected = encode_all(&mut original, after);
            assert_eq!(encode_all(&mut copy, after), expected, "{encoding:?}");
            assert_ne!(
                encode_all(&mut fresh, after),
                expected,
                "a state that makes no difference proves nothing"
            );
        }
    }

    #[test]
    fn a_listener_hears_no_jump_when_a_copy_takes_over() {
        let encoding = encoding(Codec::Opus(Rate::Hz16000), 20);
        let sound = tone(Rate::Hz16000, 16_000 * 2);
        let (before, after) = sound.split_at(16_000);
        let (mut shared, mut copy, mut fresh) = (
            Encoder::new(encoding).unwrap(),
            Encoder::new(encoding).unwrap(),
            Encoder::new(encoding).unwrap(),
        );
        let head = encode_all(&mut shared, before);
        copy.copy_from(&shared);

        let distortion_of = |encoder: &mut Encoder| {
            let mut decoder = Decoder::new(encoding.codec).unwrap();
            decode_all(&mut decoder, &head);
            let heard = decode_all(&mut decoder, &encode_all(encoder, after));
            // Second differences of a 440 Hz tone at −12 dBFS stay below 0.0075; a jump stands out.
            heard[..1_600]
                .windows(3)
                .map(|w| (w[0] - 2.0 * w[1] + w[2]).abs())
                .fold(0.0, f32::max)
        };
        let (with_copy, with_fresh) = (distortion_of(&mut copy), distortion_of(&mut fresh));
        assert!(with_copy < 0.012, "{with_copy}");
        assert!(
            with_fresh > 2.0 * with_copy,
            "a fresh encoder is heard: {with_fresh} against {with_copy}"
        );
    }

    #[test]
    fn every_setting_makes_packets_of_the_whole_packet_time_within_the_room_lent() {
        for rate in Rate::ALL {
            let sound = voice(rate, 360 * rate.samples_per_ms(), 5);
            for ptime_ms in [10, 20, 30, 40, 50, 60] {
                for bitrate in [6_000, 9_000, 12_000, 16_000, 24_000, 40_000, 64_000, 510_000] {
                    for complexity in [0, 5, 10] {
                        let encoding = Encoding {
                            codec: Codec::Opus(rate),
                            ptime_ms,
                            bitrate,
                            complexity,
                            dtx: false,
                            loss_percent: 0,
                        };
                        let mut encoder = Encoder::new(encoding).unwrap();
                        let decoder = Decoder::new(encoding.codec).unwrap();
                        let mut payload = [0; 1_200];
                        for packet in sound.chunks_exact(encoding.samples()) {
                            let bytes = encoder.encode(packet, &mut payload).bytes();
                            assert_eq!(
                                decoder.samples(&payload[..bytes]),
                                Ok(packet.len()),
                                "{encoding:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_reset_decoder_is_as_new() {
        let encoding = encoding(Codec::Opus(Rate::Hz48000), 20);
        let payloads = encode_all(
            &mut Encoder::new(encoding).unwrap(),
            &voice(Rate::Hz48000, 48_000, 1),
        );
        let mut new = Decoder::new(encoding.codec).unwrap();
        let expected = decode_all(&mut new, &payloads);
        assert_ne!(
            decode_all(&mut new, &payloads),
            expected,
            "a state that makes no difference proves nothing"
        );
        new.reset();
        assert_eq!(decode_all(&mut new, &payloads), expected);
    }

    #[test]
    fn a_lost_packet_is_concealed_in_steps_of_two_and_a_half_milliseconds() {
        let encoding = encoding(Codec::Opus(Rate::Hz16000), 20);
        let payloads = encode_all(&mut Encoder::new(encoding).unwrap(), &tone(Rate::Hz16000, 16_000));
        let mut decoder = Decoder::new(encoding.codec).unwrap();
        decode_all(&mut decoder, &payloads);
        let mut pcm = [0.0; 1_960];
        assert!(decoder.conceal(&mut pcm[..320]));
        let energy: f32 = pcm[..320].iter().map(|sample| sample * sample).sum();
        let tone_energy = 320.0 * 0.25 * 0.25 / 2.0;
        assert!(
            energy > 0.05 * tone_energy,
            "the tone goes on, fading: {energy} of {tone_energy}"
        );
        assert!(decoder.conceal(&mut pcm[..40]));
        assert!(decoder.conceal(&mut pcm[..1_920]));
        // What it cannot conceal it leaves alone.
        pcm.fill(9.0);
        for samples in [0, 1, 39, 41, 1_960] {
            assert!(!decoder.conceal(&mut pcm[..samples]), "{samples}");
        }
        assert!(pcm.iter().all(|sample| *sample == 9.0));
    }

    #[test]
    fn packets_of_several_frames_stay_whole_while_the_bandwidth_changes() {
        let mut random = fastrand::Rng::with_seed(2);
        // Turns of a rumble and of hiss, at no multiple of any packet time.
        let mut low = [0.0f32; 4];
        let sound: Vec<f32> = (0..48_000 * 3)
            .map(|i| {
                let hiss = 0.5 * (random.f32() - 0.5);
                let rumble = low.iter_mut().fold(hiss, |input, pole| {
                    *pole += 0.05 * (input - *pole);
                    *pole
                });
                if i / 31_337 % 2 == 0 { rumble } else { hiss }
            })
            .collect();
        for ptime_ms in [30, 50] {
            for bitrate in [20_000, 32_000, 46_000] {
                let encoding = Encoding {
                    codec: Codec::Opus(Rate::Hz48000),
                    ptime_ms,
                    bitrate,
                    complexity: 10,
                    dtx: false,
                    loss_percent: 0,
                };
                let decoder = Decoder::new(encoding.codec).unwrap();
                let payloads = encode_all(&mut Encoder::new(encoding).unwrap(), &sound);
                for payload in &payloads {
                    assert_eq!(decoder.samples(payload), Ok(encoding.samples()), "{encoding:?}");
                }
                // SAFETY: the library looks at the first byte only, and there is one.
                let bandwidth =
                    |payload: &Vec<u8>| unsafe { ffi::opus_packet_get_bandwidth(payload.as_ptr()) };
                let narrowest = payloads.iter().map(bandwidth).min();
                let widest = payloads.iter().map(bandwidth).max();
                assert!(
                    narrowest < widest,
                    "{encoding:?}: it did not change, which proves nothing"
                );
            }
        }
    }

    #[test]
    fn a_stereo_packet_is_mixed_down() {
        // SAFETY: the size is a constant of the library, asked for without any state.
        let mut state = State::zeroed(unsafe { ffi::opus_encoder_get_size(2) });
        // SAFETY: the state has the size the library asked for with two channels.
        let error =
            unsafe { ffi::opus_encoder_init(state.as_mut_ptr(), 48_000, 2, ffi::OPUS_APPLICATION_AUDIO) };
        assert_eq!(error, ffi::OPUS_OK);
        let mut decoder = Decoder::new(Codec::Opus(Rate::Hz48000)).unwrap();
        let mut heard = Vec::new();
        for packet in tone(Rate::Hz48000, 48_000).chunks_exact(960) {
            // The tone is on the left only.
            let stereo: Vec<f32> = packet.iter().flat_map(|sample| [*sample, 0.0]).collect();
            let mut payload = [0; 1_275];
            // SAFETY: 960 samples of each of two channels, and room for as many bytes as told.
            let bytes = unsafe {
                ffi::opus_encode_float(
                    state.as_mut_ptr(),
                    stereo.as_ptr(),
                    960,
                    payload.as_mut_ptr(),
                    1_275,
                )
            };
            // SAFETY: the library looks at the first byte only, and there is one.
            assert_eq!(unsafe { ffi::opus_packet_get_nb_channels(payload.as_ptr()) }, 2);
            heard.extend(decode_all(&mut decoder, &[payload[..bytes as usize].to_vec()]));
        }
        assert_eq!(heard.len(), 48_000);
        let rms = (heard[24_000..].iter().map(|s| s * s).sum::<f32>() / 24_000.0).sqrt();
        let expected = 0.25 / 2.0f32.sqrt() / 2.0;
        assert!((rms / expected - 1.0).abs() < 0.2, "{rms} against {expected}");
    }
}
