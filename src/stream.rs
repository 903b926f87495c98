//! A signal on its way to packets: room rate → codec rate → frames of one ptime → payloads.
//!
//! A stream serves one leg or all legs that hear the same signal in the same encoding. Its packets follow the tick
//! number, not the moment it was started, so streams of one encoding are always at the same place in their packet:
//! that is what lets a leg leave a shared stream with a copy of it and come back later.

use crate::codec::{CodecError, Encoder, Encoding};
use crate::dsp::{Resampler, declick};
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};
use crate::time::{TICK, Tick};

/// Packets a tick can complete at the shortest ptime.
const PACKETS_PER_TICK_MAX: usize = 2;

pub struct Stream {
    encoder: Encoder,
    resampler: Resampler,
    /// Samples at the codec's rate that do not fill a packet yet.
    pending: Box<[f32]>,
    pending_len: usize,
    /// The last sample of the signal, before its rate was changed, and the last sample sent.
    last_in: f32,
    last_out: f32,
    payloads: Box<[u8]>,
    payload_lens: [usize; PACKETS_PER_TICK_MAX],
    packets: usize,
}

impl Stream {
    /// All memory of the stream, its encoder's included.
    pub fn new(encoding: Encoding) -> Result<Box<Stream>, CodecError> {
        let rate = encoding.codec.rate();
        let packet_samples = usize::from(encoding.ptime_ms) * rate.samples_per_ms();
        Ok(Box::new(Stream {
            encoder: Encoder::new(encoding)?,
            resampler: Resampler::new(rate, rate),
            pending: vec![0.0; packet_samples + rate.samples_per_tick()].into_boxed_slice(),
            pending_len: 0,
            last_in: 0.0,
            last_out: 0.0,
            payloads: vec![0; encoding.payload_bytes_max() * encoding.packets_per_tick_max()]
                .into_boxed_slice(),
            payload_lens: [0; PACKETS_PER_TICK_MAX],
            packets: 0,
        }))
    }

    pub fn encoding(&self) -> Encoding {
        self.encoder.encoding()
    }

    /// Whether the stream is where all streams of its encoding are before this tick.
    pub fn is_at(&self, tick: Tick) -> bool {
        self.pending_len == self.pending_before(tick)
    }

    fn pending_before(&self, tick: Tick) -> usize {
        let ptime_ms = u64::from(self.encoding().ptime_ms);
        let elapsed_ms = (tick.0 * TICK.as_millis() as u64) % ptime_ms;
        elapsed_ms as usize * self.encoding().codec.rate().samples_per_ms()
    }

    /// Makes the stream fit the packet rhythm of all streams, at its first tick or after ticks that were left out;
    /// what is missing of the packet is silence.
    pub fn align(&mut self, tick: Tick) {
        self.pending_len = self.pending_before(tick);
        self.pending[..self.pending_len].fill(0.0);
        self.packets = 0;
    }

    /// Becomes a copy of `other`, encoder state included: the far end hears no seam when one takes the other's place.
    /// The encodings must be equal.
    pub fn copy_from(&mut self, other: &Stream) {
        self.encoder.copy_from(&other.encoder);
        self.resampler.copy_from(&other.resampler);
        self.pending[..other.pending_len].copy_from_slice(&other.pending[..other.pending_len]);
        self.pending_len = other.pending_len;
        self.last_in = other.last_in;
        self.last_out = other.last_out;
        self.packets = 0;
    }

    /// Takes one tick of the signal (`rate.samples_per_tick()` samples, within ±1) and makes the packets that it
    /// completes. `seam`: the signal does not continue the one of the last tick.
    pub fn push(&mut self, signal: &[f32], rate: Rate, seam: bool) {
        let codec_rate = self.encoding().codec.rate();
        // A step is taken out where it is: in the signal, before the filter delays it. A new filter is a step of its
        // own, behind it.
        let changes_rate = self.resampler.from() != rate;
        if changes_rate {
            self.resampler = Resampler::resting_at(rate, codec_rate, self.last_in);
        }
        let mut whole: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];
        let signal = if seam {
            let whole = &mut whole[..signal.len()];
            whole.copy_from_slice(signal);
            declick(whole, self.last_in, rate);
            whole
        } else {
            signal
        };
        self.last_in = signal[signal.len() - 1];
        self.packets = 0;
        let tick_samples = codec_rate.samples_per_tick();
        let packet_samples = usize::from(self.encoding().ptime_ms) * codec_rate.samples_per_ms();
        let mut frame: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];
        let frame = &mut frame[..tick_samples];
        self.resampler.process(signal, frame);
        if changes_rate {
            declick(frame, self.last_out, codec_rate);
        }
        self.last_out = frame[tick_samples - 1];

        if self.pending_len == 0 && packet_samples == tick_samples {
            self.encode_at(0, frame);
            return;
        }
        let mut pending_len = self.pending_len;
        self.pending[pending_len..pending_len + tick_samples].copy_from_slice(frame);
        pending_len += tick_samples;
        let mut taken = 0;
        while pending_len - taken >= packet_samples {
            let pending = std::mem::take(&mut self.pending);
            self.encode_at(self.packets, &pending[taken..taken + packet_samples]);
            self.pending = pending;
            taken += packet_samples;
        }
        self.pending.copy_within(taken..pending_len, 0);
        self.pending_len = pending_len - taken;
    }

    fn encode_at(&mut self, index: usize, pcm: &[f32]) {
        let size = self.encoding().payload_bytes_max();
        let payload = &mut self.payloads[index * size..(index + 1) * size];
        self.payload_lens[index] = self.encoder.encode(pcm, payload).bytes();
        self.packets = index + 1;
    }

    /// The payloads the last tick completed: none, one or two.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let size = self.encoding().payload_bytes_max();
        self.payload_lens[..self.packets]
            .iter()
            .enumerate()
            .map(move |(index, len)| &self.payloads[index * size..index * size + len])
    }
}
