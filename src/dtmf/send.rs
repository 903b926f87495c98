//! Digits to one party: one queue, sent as telephone-event packets (RFC 4733 §2.5.1) or, where those were not agreed,
//! as tones (ITU-T Q.23, levels and twist within Q.24).
//!
//! ```text
//! tick      0     1     2     3     4     5     6     7
//! packets   160M  320   480   480E  480E  480E  ·     160M …      a tone of 60 ms, a gap of 80 ms, 8 kHz
//! sound     ◀──── tone ────▶◀──────── silence ───────▶◀─ tone …
//! ```

use std::f32::consts::{PI, TAU};

use thiserror::Error;

use super::Digit;
use super::events::{EVENT_BYTES, EventPayload};
use crate::frame::Rate;
use crate::time::TICK;

/// Digits that may wait.
pub const QUEUED_MAX: usize = 64;

/// Length of a tone and of the gap after it, where nobody says otherwise, and what may be said.
pub const TONE_MS: u16 = 100;
pub const TONE_MS_MIN: u16 = 40;
pub const TONE_MS_MAX: u16 = 2_000;
pub const GAP_MS: u16 = 60;
pub const GAP_MS_MIN: u16 = 40;
pub const GAP_MS_MAX: u16 = 2_000;

/// What one tick sends to the party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// No digit: sound as ever.
    Idle,
    /// An event packet instead of sound.
    Event {
        payload: [u8; EVENT_BYTES],
        /// The first packet of a press: its marker bit is set.
        first: bool,
        /// The packet's timestamp is so many units of the clock before that of the tick.
        start_offset: u32,
    },
    /// The rest of the gap after a press: neither packet nor sound.
    Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{QUEUED_MAX} digits wait to be sent already")]
pub struct Full;

/// The digits one party is yet to be sent. Per tick, either [`tick`](DigitSender::tick) or
/// [`render`](DigitSender::render) is called; which of them may change at any tick.
#[derive(Debug)]
pub struct DigitSender {
    queue: [Press; QUEUED_MAX],
    /// The press under way, or the next one, when there is any.
    head: usize,
    len: usize,
    /// Ticks of the press at `head` that are done.
    done: u32,
    /// Turns of the low and of the high tone so far, less the whole ones.
    phases: [f32; 2],
}

#[derive(Debug, Clone, Copy)]
struct Press {
    digit: Digit,
    tone_ticks: u32,
    gap_ticks: u32,
}

/// RFC 4733 §2.5.1.4: the end is sent three times.
const ENDS: u32 = 3;

/// What is said of the level of a tone, in −dBm0.
const VOLUME: u8 = 10;

/// RFC 4733 §2.5.1.3: a longer press is reported in segments.
const SEGMENT_UNITS: u32 = 0xFFFF;

/// Peaks of the low and the high tone: −10 and −8 dBFS, the high one being what lines weaken.
const PEAKS: [f32; 2] = [0.316, 0.398];

/// A tone swells and fades over this long, so that it does not click.
const RAMP_MS: f32 = 2.5;

const TICK_MS: u32 = TICK.as_millis() as u32;

impl DigitSender {
    pub fn new() -> DigitSender {
        let nothing = Press {
            digit: Digit::POUND,
            tone_ticks: 0,
            gap_ticks: 0,
        };
        DigitSender {
            queue: [nothing; QUEUED_MAX],
            head: 0,
            len: 0,
            done: 0,
            phases: [0.0; 2],
        }
    }

    /// One more digit, after those that wait. Tone and gap are kept within their limits and rounded up to whole
    /// ticks; the gap is no shorter than the three ticks its ends take.
    pub fn push(&mut self, digit: Digit, tone_ms: u16, gap_ms: u16) -> Result<(), Full> {
        if self.len == QUEUED_MAX {
            return Err(Full);
        }
        let tone_ms = tone_ms.clamp(TONE_MS_MIN, TONE_MS_MAX);
        let gap_ms = gap_ms.clamp(GAP_MS_MIN, GAP_MS_MAX);
        self.queue[(self.head + self.len) % QUEUED_MAX] = Press {
            digit,
            tone_ticks: u32::from(tone_ms).div_ceil(TICK_MS),
            gap_ticks: u32::from(gap_ms).div_ceil(TICK_MS).max(ENDS),
        };
        self.len += 1;
        Ok(())
    }

    /// Whether nothing is being sent nor waits.
    pub fn is_idle(&self) -> bool {
        self.len == 0
    }

    /// Digits that can still be pushed.
    pub fn room(&self) -> usize {
        QUEUED_MAX - self.len
    }

    /// One tick of a party that takes telephone-event packets of this RTP clock.
    pub fn tick(&mut self, clock_hz: u32) -> Sending {
        let Some((press, done)) = self.advance() else {
            return Sending::Idle;
        };
        let per_tick = (clock_hz / 1_000 * TICK_MS).clamp(1, SEGMENT_UNITS);
        // Units since the start of the press: until this tick begins, and as far as is reported.
        let begins = done * per_tick;
        let (reported, end) = match done.checked_sub(press.tone_ticks) {
            None => (begins + per_tick, false),
            Some(ends) if ends < ENDS => (press.tone_ticks * per_tick, true),
            Some(_) => return Sending::Gap,
        };
        // The segment that was open when the tick began, or the last one, is reported to its end at most.
        let open = if end { reported - 1 } else { begins };
        let segment = open / SEGMENT_UNITS * SEGMENT_UNITS;
        let duration = (reported - segment).min(SEGMENT_UNITS);
        let payload = EventPayload {
            event: press.digit.event(),
            end,
            volume: VOLUME,
            duration: duration as u16,
        };
        Sending::Event {
            payload: payload.write(),
            first: done == 0,
            start_offset: begins - segment,
        }
    }

    /// One tick of a party that hears tones: `pcm` becomes tone or silence, full scale ±1.0, for as long as there is
    /// a digit; without one it is left as it is, and `false` is returned. `pcm` is one tick at `rate`.
    pub fn render(&mut self, rate: Rate, pcm: &mut [f32]) -> bool {
        let Some((press, done)) = self.advance() else {
            return false;
        };
        pcm.fill(0.0);
        if done >= press.tone_ticks {
            return true;
        }
        if done == 0 {
            self.phases = [0.0; 2];
        }
        let (low, high) = press.digit.frequencies();
        for ((phase, peak), hz) in self.phases.iter_mut().zip(PEAKS).zip([low, high]) {
            add_sine(pcm, phase, hz / rate.hz() as f32, peak);
        }
        let ramp = (RAMP_MS * rate.samples_per_ms() as f32) as usize;
        let swell = |step: usize| (1.0 - (PI * (step as f32 + 0.5) / ramp as f32).cos()) / 2.0;
        if done == 0 {
            for (step, sample) in pcm.iter_mut().take(ramp).enumerate() {
                *sample *= swell(step);
            }
        }
        if done + 1 == press.tone_ticks {
            for (step, sample) in pcm.iter_mut().rev().take(ramp).enumerate() {
                *sample *= swell(step);
            }
        }
        true
    }

    /// The press this tick belongs to, and how many ticks of it are done before.
    fn advance(&mut self) -> Option<(Press, u32)> {
        if self.len == 0 {
            return None;
        }
        let (press, done) = (self.queue[self.head], self.done);
        self.done += 1;
        if self.done == press.tone_ticks + press.gap_ticks {
            self.done = 0;
            self.head = (self.head + 1) % QUEUED_MAX;
            self.len -= 1;
        }
        Some((press, done))
    }
}

impl Default for DigitSender {
    fn default() -> DigitSender {
        DigitSender::new()
    }
}

/// Adds a sine that goes on from `phase`, in turns, by `step` turns a sample. A rotating pointer makes it, set anew
/// each tick, so that its error cannot grow.
fn add_sine(pcm: &mut [f32], phase: &mut f32, step: f32, peak: f32) {
    let (mut sin, mut cos) = (TAU * *phase).sin_cos();
    let (step_sin, step_cos) = (TAU * step).sin_cos();
    for sample in pcm.iter_mut() {
        *sample += peak * sin;
        (sin, cos) = (sin * step_cos + cos * step_sin, cos * step_cos - sin * step_sin);
    }
    *phase = (*phase + step * pcm.len() as f32).fract();
}

#[cfg(test)]
mod tests;
