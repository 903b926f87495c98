//! A signal on its way to packets: room rate → codec rate → frames of the codec → packets of one ptime, and pauses.
//!
//! A stream serves one leg or all legs that hear the same signal in the same encoding. Its packets follow the tick
//! number, not the moment it was started, so streams of one encoding are always at the same place in their packet:
//! that is what lets a leg leave a shared stream with a copy of it and come back later. A packet time that is not
//! worth a packet is a hole in the stream, never a shift.

mod silence;

use std::ops::Range;

use crate::codec::{Codec, CodecError, Encoded, Encoder, Encoding, comfort_noise};
use crate::dsp::{Resampler, declick};
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};
use crate::time::{TICK, Tick};
use silence::{Reminder, Silence, Worth};

/// Stretches a tick can complete: two packets of 10 ms, or one of 60 ms of which each frame of 10 ms can be one.
const STRETCHES_MAX: usize = 6;

/// A stretch of the timeline and what is to be sent for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// RTP timestamp units it takes.
    pub clock: u32,
    pub content: Content<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A payload of the codec.
    Sound(&'a [u8]),
    /// A payload of RFC 3389: a pause that begins here, or goes on.
    ComfortNoise(&'a [u8]),
    /// A pause: time goes by, and nothing is sent.
    Nothing,
}

/// A stretch as it is kept.
#[derive(Debug, Clone, Default)]
struct Made {
    clock: u32,
    kind: Kind,
    bytes: Range<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    Sound,
    ComfortNoise,
    #[default]
    Nothing,
}

pub struct Stream {
    encoder: Encoder,
    resampler: Resampler,
    /// Samples at the codec's rate that do not fill a packet yet.
    pending: Box<[f32]>,
    pending_len: usize,
    /// The last sample of the signal, before its rate was changed, and the last sample sent.
    last_in: f32,
    last_out: f32,
    /// Where the codec has no pauses of its own.
    silence: Silence,
    /// Nothing, or only a description of silence, was the last to be sent.
    pauses: bool,
    /// Where it has.
    reminder: Reminder,
    /// The first packet began before it could, and is left out.
    cut: bool,
    payloads: Box<[u8]>,
    payloads_len: usize,
    made: [Made; STRETCHES_MAX],
    made_len: usize,
}

impl Stream {
    /// All memory of the stream, its encoder's included.
    pub fn new(encoding: Encoding) -> Result<Box<Stream>, CodecError> {
        let rate = encoding.codec.rate();
        Ok(Box::new(Stream {
            encoder: Encoder::new(encoding)?,
            resampler: Resampler::new(rate, rate),
            pending: vec![0.0; encoding.samples() + rate.samples_per_tick()].into_boxed_slice(),
            pending_len: 0,
            last_in: 0.0,
            last_out: 0.0,
            silence: Silence::default(),
            pauses: false,
            reminder: Reminder::default(),
            cut: false,
            payloads: vec![0; encoding.payload_bytes_max() * encoding.packets_per_tick_max()]
                .into_boxed_slice(),
            payloads_len: 0,
            made: Default::default(),
            made_len: 0,
        }))
    }

    pub fn encoding(&self) -> Encoding {
        self.encoder.encoding()
    }

    /// Goes on with another bitrate, complexity, DTX or loss; codec and packet time are as they were.
    pub fn retune(&mut self, encoding: Encoding) {
        self.encoder.retune(encoding);
        if !encoding.dtx {
            self.silence = Silence::default();
            self.pauses = false;
        }
    }

    /// Spends no more effort on encoding than this, 0 to 10, whatever the encoding says.
    pub fn limit_complexity(&mut self, max: u8) {
        self.encoder.limit_complexity(max);
    }

    /// Whether the far end knows that there is nothing to hear now: one that heard sound until now does not.
    pub fn pauses(&self) -> bool {
        self.pauses
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

    /// How much of the sound of the next packet there is before this tick, in milliseconds; negative where the timeline
    /// has left out a packet that is yet to pass (see [`Stream::follow`]).
    pub fn begun_ms(&self, tick: Tick) -> i32 {
        let ptime_ms = self.encoding().ptime_ms;
        let begun_ms = (tick.0 * TICK.as_millis() as u64 % u64::from(ptime_ms)) as i32;
        if self.cut {
            begun_ms - i32::from(ptime_ms)
        } else {
            begun_ms
        }
    }

    /// Makes the stream fit the packet rhythm of all streams, at its first tick or after ticks that were left out;
    /// what is missing of the packet is silence.
    pub fn align(&mut self, tick: Tick) {
        self.pending_len = self.pending_before(tick);
        self.pending[..self.pending_len].fill(0.0);
        self.forget_made();
    }

    /// Takes the place of a stream of encoding `before`, of which all packets before this tick were sent. Returns how
    /// much of the timeline, on this stream's clock, is left out until its first packet: less than a packet of each.
    pub fn follow(&mut self, before: Encoding, tick: Tick) -> u32 {
        let elapsed_ms = tick.0 * TICK.as_millis() as u64;
        let encoding = self.encoding();
        let unsent_ms = elapsed_ms % u64::from(before.ptime_ms);
        let begun_ms = elapsed_ms % u64::from(encoding.ptime_ms);
        self.cut = begun_ms > unsent_ms;
        let left_out_ms = if self.cut {
            unsent_ms + u64::from(encoding.ptime_ms) - begun_ms
        } else {
            unsent_ms - begun_ms
        };
        encoding.codec.clock_hz() / 1_000 * left_out_ms as u32
    }

    /// Becomes a copy of `other`, encoder state included: the far end hears no seam when one takes the other's place.
    /// The encodings must have one shape; `other`'s is taken on.
    pub fn copy_from(&mut self, other: &Stream) {
        self.encoder.copy_from(&other.encoder);
        self.resampler.copy_from(&other.resampler);
        self.pending[..other.pending_len].copy_from_slice(&other.pending[..other.pending_len]);
        self.pending_len = other.pending_len;
        self.last_in = other.last_in;
        self.last_out = other.last_out;
        self.silence = other.silence;
        self.pauses = other.pauses;
        self.reminder = other.reminder;
        self.cut = other.cut;
        self.forget_made();
    }

    fn forget_made(&mut self) {
        self.made_len = 0;
        self.payloads_len = 0;
    }

    /// Takes one tick of the signal (`rate.samples_per_tick()` samples, within ±1) and makes what it completes.
    /// `seam`: the signal does not continue the one of the last tick.
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
        self.forget_made();
        let tick_samples = codec_rate.samples_per_tick();
        let packet_samples = self.encoding().samples();
        let mut frame: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];
        let frame = &mut frame[..tick_samples];
        self.resampler.process(signal, frame);
        if changes_rate {
            declick(frame, self.last_out, codec_rate);
        }
        self.last_out = frame[tick_samples - 1];

        if self.pending_len == 0 && packet_samples == tick_samples {
            self.make_packet(frame);
            return;
        }
        let mut pending_len = self.pending_len;
        self.pending[pending_len..pending_len + tick_samples].copy_from_slice(frame);
        pending_len += tick_samples;
        let mut taken = 0;
        while pending_len - taken >= packet_samples {
            let pending = std::mem::take(&mut self.pending);
            self.make_packet(&pending[taken..taken + packet_samples]);
            self.pending = pending;
            taken += packet_samples;
        }
        self.pending.copy_within(taken..pending_len, 0);
        self.pending_len = pending_len - taken;
    }

    /// One packet time of sound.
    fn make_packet(&mut self, pcm: &[f32]) {
        if std::mem::take(&mut self.cut) {
            return;
        }
        let encoding = self.encoding();
        if encoding.dtx && pauses_by_comfort_noise(encoding.codec) {
            // The encoder stands still meanwhile, as the far end's decoder does.
            match self.silence.judge(pcm, u32::from(encoding.ptime_ms)) {
                Worth::Sound => {}
                Worth::Description(level_dbov) => {
                    let room = &mut self.payloads[self.payloads_len..];
                    let bytes = comfort_noise::describe(level_dbov, room);
                    self.append(encoding.packet_clock(), Kind::ComfortNoise, bytes);
                    self.pauses = true;
                    return;
                }
                Worth::Nothing => {
                    self.append(encoding.packet_clock(), Kind::Nothing, 0);
                    return;
                }
            }
        }
        let frame_samples = self.encoder.frame_samples();
        let clock = encoding.codec.clock_of(frame_samples);
        let frame_ms = (frame_samples / encoding.codec.rate().samples_per_ms()) as u32;
        let room_end = self.payloads_len + encoding.payload_bytes_max();
        // A description of silence is the last thing in its packet.
        let mut goes_on = false;
        for frame in pcm.chunks_exact(frame_samples) {
            let room = &mut self.payloads[self.payloads_len..room_end];
            let encoded = self.encoder.encode(frame, room);
            let encoded = self.reminder.remind(encoded, room, frame_ms);
            let kind = match encoded {
                Encoded::Nothing => Kind::Nothing,
                Encoded::Sound(_) | Encoded::Silence(_) => Kind::Sound,
            };
            match self.made[..self.made_len].last_mut() {
                Some(last) if goes_on && last.kind == kind => {
                    last.clock += clock;
                    last.bytes.end += encoded.bytes();
                    self.payloads_len += encoded.bytes();
                }
                _ => self.append(clock, kind, encoded.bytes()),
            }
            goes_on = !matches!(encoded, Encoded::Silence(_));
            self.pauses = !matches!(encoded, Encoded::Sound(_));
        }
    }

    fn append(&mut self, clock: u32, kind: Kind, bytes: usize) {
        let start = self.payloads_len;
        self.payloads_len += bytes;
        self.made[self.made_len] = Made {
            clock,
            kind,
            bytes: start..self.payloads_len,
        };
        self.made_len += 1;
    }

    /// What the last tick completed, in order: together they take as many timestamp units as its packets.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch<'_>> {
        self.made[..self.made_len].iter().map(|made| {
            let bytes = &self.payloads[made.bytes.clone()];
            Stretch {
                clock: made.clock,
                content: match made.kind {
                    Kind::Sound => Content::Sound(bytes),
                    Kind::ComfortNoise => Content::ComfortNoise(bytes),
                    Kind::Nothing => Content::Nothing,
                },
            }
        })
    }

    /// How many of them hold sound: what the last tick has cost.
    pub fn encodes(&self) -> u64 {
        let made = &self.made[..self.made_len];
        made.iter().filter(|made| made.kind == Kind::Sound).count() as u64
    }
}

/// The others have pauses of their own.
const fn pauses_by_comfort_noise(codec: Codec) -> bool {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Ilbc(_) | Codec::L16(_) => true,
        Codec::G729 | Codec::Opus(_) => false,
    }
}

#[cfg(test)]
mod tests;
