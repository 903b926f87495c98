//! One recording while it runs: frames by tick in, samples at their exact place in the file out.
//!
//! The writer's calls each round: [`Take::obey`], then [`Take::write`] for each frame of the queue, then
//! [`Take::settle`]. There is no clock here: a round is the unit of waiting. The invariant after each call: file and
//! buffer together hold one tick of samples for every tick from `first` to before `next`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::orders::{End, Orders, Pause};
use super::receipt::{Anchor, Paths, Receipt, Stretch, rfc3339};
use super::tap::{Content, RecordedFrame, RecordingSlot};
use super::wav::{DATA_BYTES_MAX, WavFile};
use crate::frame::Rate;
use crate::time::Tick;

/// Gaps a receipt lists; all are in its total.
const GAPS_MAX: usize = 10_000;

/// A gap longer than an hour ends the recording: something else than loss has happened to its time.
const GAP_TICKS_MAX: u64 = 3_600 * 50;

/// Samples on their way to the file beyond which they are written at once: what a long gap may take of memory.
const BUFFER_BYTES: usize = 64 * 1_024;

/// Rounds of 50 ms to wait for frames that were still on their way when the end was ordered.
const GRACE_ROUNDS: u32 = 4;

/// Rounds of 50 ms between two updates of the sizes in the header.
const HEADER_ROUNDS: u32 = 10;

/// What is known of a recording when it begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    pub slot: RecordingSlot,
    pub recording_id: String,
    pub conference_id: String,
    pub key: String,
    pub requested_key: Option<String>,
    pub paths: Paths,
    pub rate: Rate,
    pub anchor: Anchor,
}

impl Beginning {
    /// The receipt of a recording that has nothing yet; what `recover` starts from.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            recording_id: self.recording_id.clone(),
            conference_id: self.conference_id.clone(),
            key: self.key.clone(),
            requested_key: self.requested_key.clone(),
            bytes: 0,
            sha256: String::new(),
            samples: 0,
            rate: self.rate.hz(),
            start: rfc3339(self.anchor.at),
            gaps: Vec::new(),
            gap_samples: 0,
            pauses: Vec::new(),
            truncated: false,
            truncated_because: None,
            attendance: Vec::new(),
        }
    }
}

/// A recording and its file.
#[derive(Debug)]
pub struct Take {
    pub beginning: Beginning,
    pub wav: WavFile,
    orders: Arc<Mutex<Orders>>,
    first: Option<Tick>,
    next: Tick,
    /// As carried out, which is not always as ordered: sound once replaced by silence does not come back.
    pauses: Vec<Pause>,
    gaps: Vec<Stretch>,
    gap_ticks: u64,
    end: Option<End>,
    buffer: Vec<u8>,
    rounds_since_end: u32,
    rounds_since_header: u32,
    trouble: Option<String>,
    data_bytes_max: u64,
}

impl Take {
    pub fn new(beginning: Beginning, wav: WavFile, orders: Arc<Mutex<Orders>>) -> Take {
        Take {
            beginning,
            wav,
            orders,
            first: None,
            next: Tick(0),
            pauses: Vec::new(),
            gaps: Vec::new(),
            gap_ticks: 0,
            end: None,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            rounds_since_end: 0,
            rounds_since_header: 0,
            trouble: None,
            data_bytes_max: DATA_BYTES_MAX,
        }
    }

    /// Takes over what was ordered since the last round. A pause that comes late silences what is in the file already.
    pub fn obey(&mut self) {
        let mut too_late = Vec::new();
        {
            let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, ordered) in orders.pauses.iter().enumerate() {
                match self.pauses.get_mut(at) {
                    None => {
                        too_late.extend((ordered.from < self.next).then_some(*ordered));
                        self.pauses.push(*ordered);
                    }
                    Some(pause) if pause.to.is_none() => pause.to = ordered.to.map(|to| to.max(self.next)),
                    Some(_) => {}
                }
            }
            self.end = orders.end;
        }
        for pause in too_late {
            let silence = self.stretch(pause.from, pause.to.unwrap_or(self.next));
            let written = self
                .flush()
                .and_then(|()| self.wav.blank(silence.from_sample, silence.samples));
            self.note_trouble(written);
        }
    }

    /// One frame from the queue. What lacks before it becomes a gap; what comes after its time is left out.
    pub fn write(&mut self, frame: &RecordedFrame) {
        let is_after_the_end = matches!(self.end, Some(End::After(last)) if frame.tick > last);
        if self.trouble.is_some() || is_after_the_end || frame.rate() != self.beginning.rate {
            return;
        }
        if self.first.is_none() {
            self.first = Some(frame.tick);
            self.next = frame.tick;
        }
        if frame.tick < self.next {
            return;
        }
        self.fill(frame.tick);
        if self.trouble.is_none() && self.has_room_for_a_tick() {
            match frame.content() {
                Content::Sound(samples) if !self.is_paused(frame.tick) => self
                    .buffer
                    .extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
                Content::Sound(_) | Content::Quiet | Content::Paused => self.add_silence(),
            }
            self.next = frame.tick.next();
            self.flush_if_full();
        }
    }

    /// Ends a round: what came is in the file. True when the recording is over, in good order or not.
    pub fn settle(&mut self) -> bool {
        let written = self.flush();
        self.note_trouble(written);
        self.rounds_since_header += 1;
        if self.rounds_since_header >= HEADER_ROUNDS && self.trouble.is_none() {
            self.rounds_since_header = 0;
            let written = self.wav.write_sizes();
            self.note_trouble(written);
        }
        self.lock_orders().bytes = self.wav.bytes();
        if self.trouble.is_some() {
            return true;
        }
        match self.end {
            None => false,
            Some(End::WithWhatCame) => true,
            Some(End::After(last)) => {
                self.rounds_since_end += 1;
                let is_over = self.next > last || self.rounds_since_end >= GRACE_ROUNDS;
                if is_over {
                    self.end_after(last);
                }
                is_over
            }
        }
    }

    /// What the file and this recording's history say; size and hash are the finisher's.
    pub fn receipt(&self) -> Receipt {
        let samples = self.wav.samples();
        let start = self.first.map_or(self.beginning.anchor.at, |first| {
            self.beginning.anchor.wall_clock(first)
        });
        let inside = |stretch: Stretch| {
            let until = (stretch.from_sample + stretch.samples).min(samples);
            let inside = Stretch {
                samples: until.saturating_sub(stretch.from_sample),
                ..stretch
            };
            (inside.samples > 0).then_some(inside)
        };
        let pause = |pause: &Pause| inside(self.stretch(pause.from, pause.to.unwrap_or(self.next)));
        let gaps: Vec<_> = self.gaps.iter().copied().filter_map(inside).collect();
        let are_all_listed = self.gaps.len() < GAPS_MAX;
        Receipt {
            samples,
            start: rfc3339(start),
            gap_samples: if are_all_listed {
                gaps.iter().map(|gap| gap.samples).sum()
            } else {
                self.gap_ticks * self.samples_per_tick()
            },
            gaps,
            pauses: self.pauses.iter().filter_map(pause).collect(),
            truncated: self.trouble.is_some(),
            truncated_because: self.trouble.clone(),
            attendance: self
                .lock_orders()
                .attendance
                .by_wall_clock(&self.beginning.anchor),
            ..self.beginning.receipt()
        }
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn end_after(&mut self, last: Tick) {
        let Some(first) = self.first else { return };
        if self.next > last {
            let ticks = last.next().0.saturating_sub(first.0);
            self.next = Tick(first.0 + ticks);
            let cut = self.wav.cut(ticks * self.samples_per_tick());
            self.note_trouble(cut);
        } else {
            self.fill(last.next());
            let written = self.flush();
            self.note_trouble(written);
        }
    }

    /// Silence for every tick from `next` to before `until`.
    fn fill(&mut self, until: Tick) {
        let missing = until.0.saturating_sub(self.next.0);
        if missing > GAP_TICKS_MAX {
            self.trouble
                .get_or_insert(format!("a gap of {} s, which is more than an hour", missing / 50));
        }
        while self.next < until && self.trouble.is_none() && self.has_room_for_a_tick() {
            if !self.is_paused(self.next) {
                self.note_gap(self.next);
            }
            self.add_silence();
            self.next = self.next.next();
            self.flush_if_full();
        }
    }

    fn note_gap(&mut self, tick: Tick) {
        let gap = self.stretch(tick, tick.next());
        self.gap_ticks += 1;
        if let Some(last) = self.gaps.last_mut()
            && last.from_sample + last.samples == gap.from_sample
        {
            last.samples += gap.samples;
        } else if self.gaps.len() < GAPS_MAX {
            self.gaps.push(gap);
        }
    }

    fn add_silence(&mut self) {
        self.buffer
            .resize(self.buffer.len() + self.samples_per_tick() as usize * 2, 0);
    }

    fn has_room_for_a_tick(&mut self) -> bool {
        let bytes = (self.wav.samples() + self.samples_per_tick()) * 2 + self.buffer.len() as u64;
        if bytes > self.data_bytes_max {
            self.trouble
                .get_or_insert("the file has reached the 4 GiB a WAV file can have".to_owned());
        }
        bytes <= self.data_bytes_max
    }

    fn is_paused(&self, tick: Tick) -> bool {
        let last_begun = self.pauses.iter().rev().find(|pause| pause.from <= tick);
        last_begun.is_some_and(|pause| pause.to.is_none_or(|to| tick < to))
    }

    /// Where the ticks from `from` to before `to` are in the file.
    fn stretch(&self, from: Tick, to: Tick) -> Stretch {
        let first = self.first.unwrap_or(self.next);
        let (from, to) = (
            from.max(first).min(self.next.next()),
            to.max(first).min(self.next.next()),
        );
        Stretch {
            from_sample: (from.0 - first.0) * self.samples_per_tick(),
            samples: to.0.saturating_sub(from.0) * self.samples_per_tick(),
        }
    }

    fn samples_per_tick(&self) -> u64 {
        self.beginning.rate.samples_per_tick() as u64
    }

    fn flush_if_full(&mut self) {
        if self.buffer.len() >= BUFFER_BYTES {
            let written = self.flush();
            self.note_trouble(written);
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.wav.append(&self.buffer);
        self.buffer.clear();
        written
    }

    fn note_trouble(&mut self, outcome: std::io::Result<()>) {
        if let Err(error) = outcome {
            self.trouble.get_or_insert(error.to_string());
        }
    }

    fn lock_orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
