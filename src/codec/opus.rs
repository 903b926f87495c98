//! Opus (RFC 6716) for RTP (RFC 7587): a thin safe wrapper over libopus, mono, at any rate of the mixer.
//!
//! It owns the memory of each state, so that a state can be copied over another without allocation. Pauses (DTX) and
//! repeated packets (in-band FEC) are the library's own; what they are asked for can change in mid-stream.

use std::ffi::c_int;
use std::ptr;

use opusic_sys as ffi;

use super::opus_lull::Lull;
use super::{CodecError, Encoded, Encoding, PAYLOAD_MS_MAX, PayloadError, saturate};
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

/// A payload this short holds no sound: its sender pauses (RFC 6716 §3.1, RFC 7587 §3.1.3).
const PAUSE_BYTES_MAX: usize = 2;

/// One Opus stream out.
#[derive(Debug)]
pub struct Encoder {
    encoding: Encoding,
    /// Whatever the encoding says, no more effort than this.
    complexity_max: u8,
    state: State,
    /// The last packet time held no sound, and the far end has been told.
    pauses: bool,
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
            complexity_max: COMPLEXITY_MAX,
            state: State::zeroed(encoder_bytes),
            pauses: false,
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
            (ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE),
            (ffi::OPUS_SET_VBR_REQUEST, 1),
            (ffi::OPUS_SET_VBR_CONSTRAINT_REQUEST, 1),
            (ffi::OPUS_SET_LSB_DEPTH_REQUEST, SOUND_BITS),
        ] {
            succeeded(encoder.set(request, value))?;
        }
        succeeded(encoder.tune())?;
        Ok(encoder)
    }

    /// Asks the library for what the encoding says; all of it may change in mid-stream.
    fn tune(&mut self) -> c_int {
        let encoding = self.encoding;
        let settings = [
            (
                ffi::OPUS_SET_BITRATE_REQUEST,
                bitrate_with_repeats(encoding) as c_int,
            ),
            (
                ffi::OPUS_SET_COMPLEXITY_REQUEST,
                c_int::from(encoding.complexity.min(self.complexity_max)),
            ),
            (ffi::OPUS_SET_DTX_REQUEST, c_int::from(encoding.dtx)),
            (
                ffi::OPUS_SET_INBAND_FEC_REQUEST,
                c_int::from(encoding.loss_percent > 0),
            ),
            (
                ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
                c_int::from(encoding.loss_percent.min(100)),
            ),
        ];
        let errors = settings.map(|(request, value)| self.set(request, value));
        errors
            .into_iter()
            .find(|error| *error != ffi::OPUS_OK)
            .unwrap_or(ffi::OPUS_OK)
    }

    pub(super) fn retune(&mut self, encoding: Encoding) {
        if encoding != self.encoding {
            self.encoding = encoding;
            self.tune();
        }
    }

    pub(super) fn limit_complexity(&mut self, max: u8) {
        if max != self.complexity_max {
            self.complexity_max = max;
            self.tune();
        }
    }

    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// `pcm` is one packet time. The first packet of a pause is sent, for it tells the far end that what follows is no
    /// loss; `Nothing` stands also for an error of the library.
    pub(super) fn encode(&mut self, pcm: &[f32], payload: &mut [u8]) -> Encoded {
        let bytes = self.encode_packet(pcm, payload);
        if bytes == 0 {
            return Encoded::Nothing;
        }
        let paused = self.pauses;
        self.pauses = self.encoding.dtx && bytes <= PAUSE_BYTES_MAX;
        match (paused, self.pauses) {
            (_, false) => Encoded::Sound(bytes),
            (false, true) => Encoded::Silence(bytes),
            (true, true) => Encoded::Nothing,
        }
    }

    /// Returns the bytes of the packet, zero on an error of the library.
    fn encode_packet(&mut self, pcm: &[f32], payload: &mut [u8]) -> usize {
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

    /// Only before the first packet. Of speech in 16 kHz and 32 kb/s, the coder of speech leaves the least noise (26 dB
    /// below it, the transform 19); in 48 kHz and 64 kb/s the transform does, and the two layers of the other way
    /// would be 40 µs apart.
    pub(super) fn keep_waveform(&mut self) {
        let signal = match self.encoding.codec.rate() {
            Rate::Hz8000 | Rate::Hz16000 => ffi::OPUS_SIGNAL_VOICE,
            Rate::Hz48000 => ffi::OPUS_SIGNAL_MUSIC,
        };
        for (request, value) in [
            (ffi::OPUS_SET_APPLICATION_REQUEST, ffi::OPUS_APPLICATION_AUDIO),
            (ffi::OPUS_SET_SIGNAL_REQUEST, signal),
        ] {
            let error = self.set(request, value);
            debug_assert_eq!(error, ffi::OPUS_OK, "an encoder that has not begun takes it");
        }
    }

    /// Samples by which the decoded sound is late.
    pub(super) fn lookahead(&mut self) -> usize {
        let mut samples: c_int = 0;
        // SAFETY: the state was initialised, and this request writes one integer.
        let error = unsafe {
            ffi::opus_encoder_ctl(
                self.state.as_mut_ptr(),
                ffi::OPUS_GET_LOOKAHEAD_REQUEST,
                &raw mut samples,
            )
        };
        debug_assert_eq!(error, ffi::OPUS_OK, "every encoder knows its delay");
        usize::try_from(samples).unwrap_or(0)
    }

    pub(super) fn copy_from(&mut self, other: &Encoder) {
        if self.encoding.shape() == other.encoding.shape() {
            self.encoding = other.encoding;
            self.complexity_max = other.complexity_max;
            self.pauses = other.pauses;
            self.state.copy_from(&other.state);
        }
    }

    fn set(&mut self, request: c_int, value: c_int) -> c_int {
        // SAFETY: the state was initialised, and each request used here takes one integer.
        unsafe { ffi::opus_encoder_ctl(self.state.as_mut_ptr(), request, value) }
    }
}

/// What is spent so that repeating lost packets takes next to nothing from the sound itself: the library divides one
/// bitrate between the two. At 16 kHz and 24 kb/s this costs 0.04 of PESQ while nothing is lost (4.21 for 4.25; 3.96
/// within the 24), and at 5 and 10 % of loss it is 3.86 and 3.61 for 2.53 and 2.06. A greater loss is met by finer
/// repetitions.
fn bitrate_with_repeats(encoding: Encoding) -> u32 {
    let percent = u64::from(repeats_percent(encoding.loss_percent));
    let bitrate = u64::from(encoding.bitrate) * (100 + percent) / 100;
    u32::try_from(bitrate).map_or(BITRATE_MAX, |bitrate| bitrate.min(BITRATE_MAX))
}

/// The most that the sound may take for all to stay within `bitrate_max`.
pub(super) fn bitrate_within(bitrate_max: u32, loss_percent: u8) -> u32 {
    let percent = u64::from(repeats_percent(loss_percent));
    let bitrate = u64::from(bitrate_max) * 100 / (100 + percent);
    u32::try_from(bitrate).map_or(BITRATE_MAX, |bitrate| bitrate.clamp(BITRATE_MIN, BITRATE_MAX))
}

/// What repetitions take, in percent of the sound's own bitrate.
const fn repeats_percent(loss_percent: u8) -> u32 {
    match loss_percent {
        0 => 0,
        1..=5 => 40,
        6..=10 => 50,
        _ => 60,
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
        const AS_IT_IS: c_int = 0;
        self.run_as(payload, pcm, AS_IT_IS)
    }

    fn run_as(&mut self, payload: &[u8], pcm: &mut [f32], repetition: c_int) -> Result<(), PayloadError> {
        let bytes = i32::try_from(payload.len()).map_err(|_| PayloadError::Corrupt)?;
        // SAFETY: the state was initialised for mono; the library reads `bytes` bytes and writes at most `pcm.len()` samples.
        let decoded = unsafe {
            ffi::opus_decode_float(
                self.state.as_mut_ptr(),
                payload.as_ptr(),
                bytes,
                pcm.as_mut_ptr(),
                pcm.len() as c_int,
                repetition,
            )
        };
        bound(pcm);
        if usize::try_from(decoded) == Ok(pcm.len()) {
            Ok(())
        } else {
            Err(PayloadError::Corrupt)
        }
    }

    pub(super) fn pauses(&self, payload: &[u8]) -> bool {
        payload.len() <= PAUSE_BYTES_MAX
    }

    /// The library's concealment becomes the noise it has learned from what was no speech. Of a leg that nobody hears
    /// it is not worth the time.
    pub(super) fn pause(&mut self, pcm: &mut [f32]) -> bool {
        !self.lull.is_unheard() && self.conceal(pcm)
    }

    /// Samples before the packet that it repeats: a frame, where its first frame says so (RFC 6716 §4.2.4).
    pub(super) fn repeated(&self, next: &[u8]) -> usize {
        if self.lull.has_passed() || self.samples(next).is_err() {
            return 0;
        }
        let bytes = i32::try_from(next.len()).unwrap_or(0);
        // SAFETY: the library reads at most `bytes` bytes, and `samples` has found at least one.
        let repeats = unsafe { ffi::opus_packet_has_lbrr(next.as_ptr(), bytes) };
        // SAFETY: the library looks at the first byte only, and there is one.
        let frame = unsafe { ffi::opus_packet_get_samples_per_frame(next.as_ptr(), self.rate.hz() as i32) };
        if repeats > 0 {
            usize::try_from(frame).unwrap_or(0)
        } else {
            0
        }
    }

    pub(super) fn recover(&mut self, next: &[u8], pcm: &mut [f32]) -> bool {
        const REPETITION: c_int = 1;
        let repeated = self.repeated(next);
        repeated > 0 && pcm.len() == repeated && self.run_as(next, pcm, REPETITION).is_ok()
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
mod tests;
