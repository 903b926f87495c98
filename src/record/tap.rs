//! What crosses the wall between a media thread and the recorder: a tick of one track at a time, through a ring of
//! bytes that belongs to one engine and one reader.
//!
//! ```text
//! slot u32 │ track u32 │ tick u64 │ kind u8 │ rate u8 │ 6 × 0 │ samples i16 … (of sound only, one tick)
//! ```
//!
//! Nothing here blocks or allocates. A message that does not fit is left out whole; the pusher counts it, and the
//! reader sees by the ticks that it is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::frame::{FRAME_SAMPLES_MAX, Rate};
pub use crate::id::{RecordingSlot, TrackNumber};
use crate::time::Tick;

/// Through a second in which nobody reads: 500 rooms at 16 kHz (50 frames of 664 bytes each). A page of it takes
/// memory once something has been written there.
pub const TAP_RING_BYTES: usize = 16 * 1_024 * 1_024;

const HEADER_BYTES: usize = 24;

const BYTES_MAX: usize = HEADER_BYTES + 2 * FRAME_SAMPLES_MAX;

const SOUND: u8 = 0;
const QUIET: u8 = 1;
const PAUSED: u8 = 2;

/// The ring of one engine.
pub fn tap_ring(bytes: usize) -> (TapSender, TapReceiver) {
    let (producer, consumer) = RingBuffer::new(bytes);
    let receiver = TapReceiver {
        ring: consumer,
        passed: Arc::default(),
    };
    (TapSender(producer), receiver)
}

/// There was no room for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder is behind by as much as its ring holds")]
pub struct Full;

/// The media thread's end.
pub struct TapSender(Producer<u8>);

impl TapSender {
    /// All of the frame, or nothing of it. Takes no lock and no memory.
    pub fn push(&mut self, frame: &RecordedFrame) -> Result<(), Full> {
        let mut message = [0; BYTES_MAX];
        let (header, rest) = message.split_at_mut(HEADER_BYTES);
        header[..4].copy_from_slice(&frame.slot.0.to_le_bytes());
        header[4..8].copy_from_slice(&frame.track.0.to_le_bytes());
        header[8..16].copy_from_slice(&frame.tick.0.to_le_bytes());
        header[16] = frame.kind;
        header[17] = Rate::ALL
            .iter()
            .position(|rate| *rate == frame.rate)
            .unwrap_or_default() as u8;
        let samples = match frame.content() {
            Content::Sound(samples) => samples,
            Content::Quiet | Content::Paused => &[],
        };
        for (bytes, sample) in rest.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
            *bytes = sample.to_le_bytes();
        }
        let message = &message[..frame.bytes()];
        self.0.push_entire_slice(message).map_err(|_| Full)
    }
}

/// The recorder's end.
pub struct TapReceiver {
    ring: Consumer<u8>,
    passed: Arc<AtomicU64>,
}

/// How many bytes were popped from a ring, whoever has it.
#[derive(Debug, Clone)]
pub struct Passed(Arc<AtomicU64>);

impl Passed {
    /// Bytes of the ring that take no memory yet: nothing was ever written there.
    pub fn untouched_bytes(&self) -> u64 {
        (TAP_RING_BYTES as u64).saturating_sub(self.0.load(Ordering::Relaxed))
    }
}

impl TapReceiver {
    /// The oldest frame that waits, if any.
    pub fn pop(&mut self) -> Option<RecordedFrame> {
        let mut header = [0; HEADER_BYTES];
        self.ring.pop_entire_slice(&mut header).ok()?;
        let (slot, rest) = header.split_first_chunk()?;
        let (track, rest) = rest.split_first_chunk()?;
        let (tick, rest) = rest.split_first_chunk()?;
        let mut frame = RecordedFrame {
            slot: RecordingSlot(u32::from_le_bytes(*slot)),
            track: TrackNumber(u32::from_le_bytes(*track)),
            tick: Tick(u64::from_le_bytes(*tick)),
            rate: *Rate::ALL.get(usize::from(rest[1]))?,
            kind: rest[0],
            samples: [0; FRAME_SAMPLES_MAX],
        };
        if frame.kind == SOUND {
            let mut bytes = [0; 2 * FRAME_SAMPLES_MAX];
            let bytes = &mut bytes[..2 * frame.rate.samples_per_tick()];
            // A message is put in whole.
            self.ring.pop_entire_slice(bytes).ok()?;
            for (sample, bytes) in frame.samples.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *sample = i16::from_le_bytes(*bytes);
            }
        }
        self.passed.fetch_add(frame.bytes() as u64, Ordering::Relaxed);
        Some(frame)
    }

    pub fn passed(&self) -> Passed {
        Passed(Arc::clone(&self.passed))
    }

    /// How many bytes wait to be popped.
    pub fn bytes(&self) -> usize {
        self.ring.slots()
    }

    /// How many bytes can wait.
    pub fn capacity(&self) -> usize {
        self.ring.buffer().capacity()
    }

    /// Whether nobody can push any more.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

/// 20 ms of one track of a recording, inline: 16 bit mono at the recording's rate.
#[derive(Debug, Clone, Copy)]
pub struct RecordedFrame {
    pub slot: RecordingSlot,
    pub track: TrackNumber,
    pub tick: Tick,
    rate: Rate,
    kind: u8,
    samples: [i16; FRAME_SAMPLES_MAX],
}

/// What a tick of a track is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// One tick of samples: 160, 320 or 960.
    Sound(&'a [i16]),
    /// Digital silence.
    Quiet,
    /// The recording is paused: what there was is not told.
    Paused,
}

impl RecordedFrame {
    /// `signal` is one tick at `rate` (160, 320 or 960 samples, full scale ±1.0). What is missing is silence, what is
    /// too much is left out; over full scale clips, and what is not a number is silence. All silence makes it `Quiet`.
    pub fn sound(
        slot: RecordingSlot,
        track: TrackNumber,
        tick: Tick,
        rate: Rate,
        signal: &[f32],
    ) -> RecordedFrame {
        let mut frame = RecordedFrame::without_sound(slot, track, tick, rate, SOUND);
        let mut any = 0;
        for (sample, &value) in frame.samples[..rate.samples_per_tick()].iter_mut().zip(signal) {
            *sample = to_i16(value);
            any |= *sample;
        }
        if any == 0 {
            frame.kind = QUIET;
        }
        frame
    }

    pub fn quiet(slot: RecordingSlot, track: TrackNumber, tick: Tick, rate: Rate) -> RecordedFrame {
        RecordedFrame::without_sound(slot, track, tick, rate, QUIET)
    }

    pub fn paused(slot: RecordingSlot, track: TrackNumber, tick: Tick, rate: Rate) -> RecordedFrame {
        RecordedFrame::without_sound(slot, track, tick, rate, PAUSED)
    }

    fn without_sound(
        slot: RecordingSlot,
        track: TrackNumber,
        tick: Tick,
        rate: Rate,
        kind: u8,
    ) -> RecordedFrame {
        RecordedFrame {
            slot,
            track,
            tick,
            rate,
            kind,
            samples: [0; FRAME_SAMPLES_MAX],
        }
    }

    /// What it takes of a ring.
    pub fn bytes(&self) -> usize {
        let samples = match self.kind {
            SOUND => self.rate.samples_per_tick(),
            _ => 0,
        };
        HEADER_BYTES + 2 * samples
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    pub fn content(&self) -> Content<'_> {
        match self.kind {
            SOUND => Content::Sound(&self.samples[..self.rate.samples_per_tick()]),
            QUIET => Content::Quiet,
            _ => Content::Paused,
        }
    }
}

/// To the nearest, ties to even; written so that eight fit into a vector instruction.
fn to_i16(value: f32) -> i16 {
    /// At this magnitude a float's last place is 1: adding it rounds.
    const ROUND: f32 = 12_582_912.0;
    let scaled = value * 32_768.0;
    let number = if scaled.is_nan() { 0.0 } else { scaled };
    let clipped = number.clamp(-32_768.0, 32_767.0);
    ((clipped + ROUND).to_bits() as i32 - ROUND.to_bits() as i32) as i16
}

#[cfg(test)]
mod tests;
