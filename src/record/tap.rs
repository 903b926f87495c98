//! What crosses the wall between a media thread and the recorder: a tick of one track at a time, through two rings of
//! bytes that belong to one engine and one reader.
//!
//! ```text
//! slot u32 │ track u32 │ tick u64 │ kind u8 │ rate u8 │ 6 × 0 │ samples i16 … (of sound only, one tick)
//! ```
//!
//! A ring is written from its one end to its other, however little waits in it: each lap touches all of its memory. So
//! there is a short one, of which a reader in time needs no more, and a long one for when he is late.
//!
//! Nothing here blocks or allocates. A message that does not fit is left out whole; the pusher counts it, and the
//! reader sees by the ticks that it is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::engine::outbox::{self, Tapped};
use crate::frame::{FRAME_SAMPLES_MAX, Rate};
pub use crate::id::{RecordingSlot, TrackNumber};
use crate::time::Tick;

/// Through a second in which nobody reads: 500 rooms at 16 kHz (50 frames of 664 bytes each). A page of it takes
/// memory once something has been written there.
pub const TAP_RING_BYTES: usize = 16 * 1_024 * 1_024;

/// Of these, the most that the short ring has: what 100 rooms at 16 kHz say between two rounds of the recorder, and
/// little enough to stay in a core's cache.
pub const SHORT_RING_BYTES_MAX: usize = 256 * 1_024;

const HEADER_BYTES: usize = 24;

const BYTES_MAX: usize = HEADER_BYTES + 2 * FRAME_SAMPLES_MAX;

const SOUND: u8 = 0;
const QUIET: u8 = 1;
const PAUSED: u8 = 2;

/// The rings of one engine: together `bytes`.
pub fn tap_ring(bytes: usize) -> (TapSender, TapReceiver) {
    let short_bytes = SHORT_RING_BYTES_MAX.min(bytes / 2);
    let (to_short, from_short) = RingBuffer::new(short_bytes);
    let (to_long, from_long) = RingBuffer::new(bytes - short_bytes);
    let sender = TapSender {
        short: to_short,
        long: to_long,
        message: Box::new([0; BYTES_MAX]),
    };
    let receiver = TapReceiver {
        short: from_short,
        long: from_long,
        passed: Arc::new(Popped {
            short: AtomicU64::new(0),
            long: AtomicU64::new(0),
            bytes: [short_bytes, bytes - short_bytes],
        }),
    };
    (sender, receiver)
}

/// There was no room for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder is behind by as much as its rings hold")]
pub struct Full;

/// The media thread's end.
pub struct TapSender {
    short: Producer<u8>,
    long: Producer<u8>,
    /// The one that is being made.
    message: Box<[u8; BYTES_MAX]>,
}

impl TapSender {
    /// All of the tick, or nothing of it. Takes no lock and no memory.
    ///
    /// Samples become 16 bits, full scale ±1.0: over full scale clips, and what is not a number is silence. What is
    /// missing of a tick is silence, what is too much is left out; all silence is told as `Quiet`.
    pub fn push(&mut self, tapped: &Tapped) -> Result<(), Full> {
        let (header, sound) = self.message.split_at_mut(HEADER_BYTES);
        let (kind, sound) = match tapped.content {
            outbox::Content::Sound(signal) => {
                let sound = &mut sound[..2 * tapped.rate.samples_per_tick()];
                match put_samples(signal, sound) {
                    true => (SOUND, sound.len()),
                    false => (QUIET, 0),
                }
            }
            outbox::Content::Quiet => (QUIET, 0),
            outbox::Content::Paused => (PAUSED, 0),
        };
        header[..4].copy_from_slice(&tapped.recording.0.to_le_bytes());
        header[4..8].copy_from_slice(&tapped.track.0.to_le_bytes());
        header[8..16].copy_from_slice(&tapped.tick.0.to_le_bytes());
        header[16] = kind;
        header[17] = Rate::ALL
            .iter()
            .position(|rate| *rate == tapped.rate)
            .unwrap_or_default() as u8;
        let message = &self.message[..HEADER_BYTES + sound];
        // While something is in the long ring, what is newer goes there too.
        let is_behind = self.long.slots() < self.long.buffer().capacity();
        if !is_behind && self.short.push_entire_slice(message).is_ok() {
            return Ok(());
        }
        self.long.push_entire_slice(message).map_err(|_| Full)
    }
}

/// Says whether any of them is not zero.
fn put_samples(signal: &[f32], bytes: &mut [u8]) -> bool {
    let (samples, _) = bytes.as_chunks_mut::<2>();
    let there = signal.len().min(samples.len());
    let mut any = 0;
    for (bytes, &value) in samples[..there].iter_mut().zip(signal) {
        let sample = to_i16(value);
        any |= sample;
        *bytes = sample.to_le_bytes();
    }
    samples[there..].fill([0; 2]);
    any != 0
}

/// The recorder's end.
pub struct TapReceiver {
    short: Consumer<u8>,
    long: Consumer<u8>,
    passed: Arc<Popped>,
}

/// How many bytes were popped from each of the two rings, and how many each has.
#[derive(Debug)]
struct Popped {
    short: AtomicU64,
    long: AtomicU64,
    bytes: [usize; 2],
}

/// How much of its rings an engine has used, whoever has their other end.
#[derive(Debug, Clone)]
pub struct Passed(Arc<Popped>);

impl Passed {
    /// Bytes of the rings that take no memory yet: nothing was ever written there.
    pub fn untouched_bytes(&self) -> u64 {
        let popped = [&self.0.short, &self.0.long].map(|bytes| bytes.load(Ordering::Relaxed));
        let left = self.0.bytes.iter().zip(popped);
        left.map(|(&bytes, popped)| (bytes as u64).saturating_sub(popped))
            .sum()
    }
}

impl TapReceiver {
    /// The oldest frame that waits, if any.
    pub fn pop(&mut self) -> Option<RecordedFrame> {
        // Looked at in this order: from when something is in the long ring until it has been taken, nothing is put into
        // the short one. Found empty within that time it has nothing older.
        let is_behind = !self.long.is_empty();
        let (ring, popped) = match is_behind && self.short.is_empty() {
            true => (&mut self.long, &self.passed.long),
            false => (&mut self.short, &self.passed.short),
        };
        let frame = pop_from(ring)?;
        let sound_bytes = match frame.kind {
            SOUND => 2 * frame.rate.samples_per_tick(),
            _ => 0,
        };
        popped.fetch_add((HEADER_BYTES + sound_bytes) as u64, Ordering::Relaxed);
        Some(frame)
    }

    pub fn passed(&self) -> Passed {
        Passed(Arc::clone(&self.passed))
    }

    /// How many bytes wait to be popped.
    pub fn bytes(&self) -> usize {
        self.short.slots() + self.long.slots()
    }

    /// How many bytes can wait.
    pub fn capacity(&self) -> usize {
        self.short.buffer().capacity() + self.long.buffer().capacity()
    }

    /// Whether nobody can push any more.
    pub fn is_abandoned(&self) -> bool {
        self.short.is_abandoned() && self.long.is_abandoned()
    }
}

fn pop_from(ring: &mut Consumer<u8>) -> Option<RecordedFrame> {
    let mut header = [0; HEADER_BYTES];
    ring.pop_entire_slice(&mut header).ok()?;
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
        ring.pop_entire_slice(bytes).ok()?;
        for (sample, bytes) in frame.samples.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *sample = i16::from_le_bytes(*bytes);
        }
    }
    Some(frame)
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
#[cfg(test)]
pub(super) use tests::{paused, quiet, recorded, sound};
