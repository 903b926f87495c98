//! One recording while it runs: frames by tick in, entries of its journal out, each track without a hole.
//!
//! The writer's calls each round: [`Take::obey`], then [`Take::hear`] for each frame of the rings, then
//! [`Take::settle`]. There is no clock here: a round is the unit of waiting. The invariant after each `settle`: the
//! journal holds every tick of the main track from the first to before `next`, each once and in order.
//!
//! A frame behind a hole waits for one round: a leg that moves from engine to engine sends by two rings, and they are
//! not read at the same moment. A hole that is still there then is a gap, and stands in the journal as one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::journal::{AddError, Entry, Journal, Why, WriteError};
use super::note::{Ending, Note};
use super::orders::{End, Orders};
use super::tap::{Content, RecordedFrame};
use crate::frame::Rate;
use crate::id::{RecordingSlot, TrackNumber};
use crate::time::Tick;

/// A gap longer than an hour ends the recording: something else than loss has happened to its time.
const GAP_TICKS_MAX: u64 = 3_600 * 50;

/// Frames that wait behind a hole. Where more come the hole is a gap at once.
const WAITING_MAX: usize = 64;

/// Rounds of 40 ms to wait for frames that were still on their way when the end was ordered.
const GRACE_ROUNDS: u32 = 5;

/// Bytes of sound in one entry: a round that had to wait for the disk has many seconds to write.
const RUN_BYTES_MAX: usize = 64 << 10;

/// Ticks of a leg's silence that are put together into one entry.
const QUIET_TICKS_MAX: u32 = 50;

/// Pauses of which the ticks are known.
const PAUSES_MAX: usize = 1_000;

/// A recording and its journal.
pub struct Take {
    pub slot: RecordingSlot,
    pub recording_id: String,
    pub journal: Journal,
    rate: Rate,
    orders: Arc<Mutex<Orders>>,
    main: Track,
    /// Of the legs that are known by name.
    legs: BTreeMap<TrackNumber, Track>,
    calls: BTreeMap<String, TrackNumber>,
    /// Legs that left, and when: what lacks until they are heard again is no loss.
    away: BTreeMap<TrackNumber, Tick>,
    /// Ticks of the main track that were paused: from, and the first that was not.
    pauses: Vec<(Tick, Tick)>,
    /// Frames behind a hole, of this round and of the one before.
    waiting: Vec<RecordedFrame>,
    waited: Vec<RecordedFrame>,
    samples: u64,
    samples_max: u64,
    end: Option<End>,
    rounds_since_end: u32,
    late_frames: u64,
    trouble: Option<String>,
    is_disk_full: bool,
}

/// A track up to now; `run` is what this round adds to it.
struct Track {
    number: TrackNumber,
    next: Option<Tick>,
    run: Run,
}

/// Consecutive ticks of one kind.
struct Run {
    from: Tick,
    ticks: u32,
    kind: RunKind,
    sound: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunKind {
    Sound,
    Silence(Why),
}

impl Track {
    fn new(number: TrackNumber) -> Track {
        Track {
            number,
            next: None,
            run: Run {
                from: Tick(0),
                ticks: 0,
                kind: RunKind::Silence(Why::Quiet),
                sound: Vec::new(),
            },
        }
    }

    fn push(
        &mut self,
        journal: &mut Journal,
        kind: RunKind,
        ticks: u32,
        samples: &[i16],
    ) -> Result<(), WriteError> {
        let from = self.next.unwrap_or(Tick(0));
        let is_full = self.run.sound.len() + 2 * samples.len() > RUN_BYTES_MAX;
        if self.run.kind != kind || self.run.ticks == 0 || is_full {
            self.put(journal)?;
            self.run.from = from;
            self.run.kind = kind;
        }
        self.run.ticks += ticks;
        self.run
            .sound
            .extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.next = Some(Tick(from.0 + u64::from(ticks)));
        Ok(())
    }

    /// Puts what has come together into the journal.
    fn put(&mut self, journal: &mut Journal) -> Result<(), WriteError> {
        let run = &mut self.run;
        if run.ticks == 0 {
            return Ok(());
        }
        let entry = match run.kind {
            RunKind::Sound => Entry::Sound {
                track: self.number,
                tick: run.from,
                samples: &run.sound,
            },
            RunKind::Silence(why) => Entry::Silence {
                track: self.number,
                tick: run.from,
                ticks: run.ticks,
                why,
            },
        };
        put(journal, &entry)?;
        run.ticks = 0;
        run.sound.clear();
        Ok(())
    }
}

/// Adds an entry; where what waits to be written leaves no room for it, that is written first.
fn put(journal: &mut Journal, entry: &Entry) -> Result<(), WriteError> {
    match journal.add(entry) {
        Err(AddError::Crowded) => {
            journal.write()?;
            journal
                .add(entry)
                .map_err(|error| WriteError::Failed(std::io::Error::other(error)))
        }
        Err(error @ AddError::TooLong) => Err(WriteError::Failed(std::io::Error::other(error))),
        Ok(()) => Ok(()),
    }
}

impl Take {
    /// Takes no more than `samples_max` samples of the main track: what the file can hold.
    pub fn new(
        slot: RecordingSlot,
        recording_id: String,
        rate: Rate,
        journal: Journal,
        orders: Arc<Mutex<Orders>>,
        samples_max: u64,
    ) -> Take {
        Take {
            slot,
            recording_id,
            journal,
            rate,
            orders,
            main: Track::new(TrackNumber::MAIN),
            legs: BTreeMap::new(),
            calls: BTreeMap::new(),
            away: BTreeMap::new(),
            pauses: Vec::new(),
            waiting: Vec::new(),
            waited: Vec::new(),
            samples: 0,
            samples_max,
            end: None,
            rounds_since_end: 0,
            late_frames: 0,
            trouble: None,
            is_disk_full: false,
        }
    }

    /// Takes over what was ordered and noted since the last round.
    pub fn obey(&mut self) {
        let (notes, end) = {
            let mut orders = self.lock_orders();
            (orders.take_notes(), orders.end)
        };
        self.end = end;
        for note in notes {
            match &note {
                Note::Track { track, call_id } => {
                    let number = TrackNumber(*track);
                    self.legs.entry(number).or_insert_with(|| Track::new(number));
                    self.calls.insert(call_id.clone(), number);
                }
                Note::Left { call_id, tick } => {
                    if let Some(number) = self.calls.get(call_id) {
                        self.away.insert(*number, Tick(*tick));
                    }
                }
                _ => {}
            }
            let json = serde_json::to_vec(&note).unwrap_or_default();
            let put = put(&mut self.journal, &Entry::Note(&json));
            self.heed(put);
        }
    }

    /// One frame from a ring. What comes after its time is left out and counted.
    pub fn hear(&mut self, frame: RecordedFrame) {
        let is_after_the_end = matches!(self.end, Some(End::After(last)) if frame.tick > last);
        if self.trouble.is_some() || is_after_the_end || frame.rate() != self.rate {
            return;
        }
        let track = match frame.track {
            TrackNumber::MAIN => &self.main,
            number => match self.legs.get(&number) {
                Some(track) => track,
                // One more than a recording has tracks for.
                None => return,
            },
        };
        match track.next {
            Some(next) if frame.tick < next => self.late_frames += 1,
            Some(next) if frame.tick > next => self.let_wait(frame),
            _ if self.is_ahead(&frame) => self.let_wait(frame),
            _ => self.take_in(&frame),
        }
    }

    /// Ends a round: what came is in the journal. True when the recording is over, in good order or not.
    pub fn settle(&mut self) -> bool {
        let waited = std::mem::take(&mut self.waited);
        self.accept_holes(waited);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by_key(|frame| (frame.track, frame.tick));
        for frame in waiting {
            match self.next_of(frame.track) {
                Some(next) if frame.tick > next => self.waited.push(frame),
                _ if self.is_ahead(&frame) => self.waited.push(frame),
                _ => self.take_in_after_hole(&frame),
            }
        }
        let is_over = match self.end {
            _ if self.trouble.is_some() => true,
            None => false,
            Some(End::WithWhatCame) => true,
            Some(End::After(last)) => {
                self.rounds_since_end += 1;
                let is_complete = self.main.next.is_some_and(|next| next > last);
                is_complete || self.rounds_since_end >= GRACE_ROUNDS
            }
        };
        if is_over {
            let waited = std::mem::take(&mut self.waited);
            self.accept_holes(waited);
            if let (Some(End::After(last)), Some(_)) = (self.end, self.main.next) {
                self.fill(TrackNumber::MAIN, last.next());
            }
        }
        let written = self.write_runs(is_over);
        self.heed(written);
        is_over || self.trouble.is_some()
    }

    /// Writes what this round added to the tracks, and the end where it is one in good order.
    fn write_runs(&mut self, is_over: bool) -> Result<(), WriteError> {
        self.main.put(&mut self.journal)?;
        for track in self.legs.values_mut() {
            let is_growing = track.run.kind != RunKind::Sound && track.run.ticks < QUIET_TICKS_MAX;
            if is_over || !is_growing {
                track.put(&mut self.journal)?;
            }
        }
        if is_over && self.trouble.is_none() {
            self.put_ending()?;
        }
        self.journal.write()
    }

    fn heed(&mut self, outcome: Result<(), WriteError>) {
        if let Err(error) = outcome {
            self.give_up(&error);
        }
    }

    /// Ends it before its time, for a reason that is told.
    pub fn break_off(&mut self, why: &str) {
        self.trouble.get_or_insert_with(|| why.to_owned());
    }

    /// Ends it before its time: the disk is full, or takes no more.
    pub fn give_up(&mut self, error: &WriteError) {
        self.is_disk_full |= matches!(error, WriteError::Full);
        self.trouble.get_or_insert_with(|| match error {
            WriteError::Full => "the disk was full".to_owned(),
            WriteError::Failed(error) => format!("the disk failed: {error}"),
        });
    }

    /// Puts the reason of a premature end into the journal. Gives it where the disk does not take it.
    pub fn write_ending(&mut self) -> Option<Ending> {
        let written = self.put_ending().and_then(|()| self.journal.write());
        if let Err(error) = written {
            tracing::warn!(
                recording = self.recording_id,
                %error,
                "the end of a recording could not be journaled"
            );
            return Some(self.ending());
        }
        None
    }

    /// Whether it ended because the disk was full.
    pub fn is_disk_full(&self) -> bool {
        self.is_disk_full
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn ending(&self) -> Ending {
        Ending {
            truncated_because: self.trouble.clone(),
            late_frames: self.late_frames,
            notes_left_out: self.lock_orders().left_out(),
        }
    }

    fn put_ending(&mut self) -> Result<(), WriteError> {
        let json = serde_json::to_vec(&self.ending()).unwrap_or_default();
        put(&mut self.journal, &Entry::Ended(&json))
    }

    /// Whether it is of a tick that the main track does not have yet. A leg that has left sends one such, with what the
    /// filters held back; without that tick of the main track there is no place for it.
    fn is_ahead(&self, frame: &RecordedFrame) -> bool {
        frame.track != TrackNumber::MAIN && self.main.next.is_none_or(|next| frame.tick >= next)
    }

    fn let_wait(&mut self, frame: RecordedFrame) {
        if self.waiting.len() >= WAITING_MAX {
            let mut waiting = std::mem::take(&mut self.waited);
            waiting.append(&mut self.waiting);
            self.accept_holes(waiting);
        }
        self.waiting.push(frame);
    }

    /// These are waited for no longer, nor is what lacks before them. The main track comes first.
    fn accept_holes(&mut self, mut frames: Vec<RecordedFrame>) {
        frames.sort_by_key(|frame| (frame.track, frame.tick));
        for frame in frames {
            if !self.is_ahead(&frame) {
                self.take_in_after_hole(&frame);
            }
        }
    }

    fn take_in_after_hole(&mut self, frame: &RecordedFrame) {
        match self.next_of(frame.track) {
            Some(next) if frame.tick < next => self.late_frames += 1,
            _ => {
                self.fill(frame.track, frame.tick);
                self.take_in(frame);
            }
        }
    }

    /// The next frame of its track.
    fn take_in(&mut self, frame: &RecordedFrame) {
        if self.trouble.is_some() {
            return;
        }
        let is_main = frame.track == TrackNumber::MAIN;
        if is_main && !self.has_room_for(1) {
            return;
        }
        let (kind, samples): (RunKind, &[i16]) = match frame.content() {
            Content::Sound(samples) => (RunKind::Sound, samples),
            Content::Quiet => (RunKind::Silence(Why::Quiet), &[]),
            Content::Paused => (RunKind::Silence(Why::Paused), &[]),
        };
        if is_main {
            self.samples += self.rate.samples_per_tick() as u64;
            if kind == RunKind::Silence(Why::Paused) {
                self.note_pause(frame.tick);
            }
        }
        // With the tick after it left comes what the filters held back.
        if self
            .away
            .get(&frame.track)
            .is_some_and(|left| frame.tick > left.next())
        {
            self.away.remove(&frame.track);
        }
        let track = match is_main {
            true => &mut self.main,
            false => match self.legs.get_mut(&frame.track) {
                Some(track) => track,
                None => return,
            },
        };
        track.next.get_or_insert(frame.tick);
        let put = track.push(&mut self.journal, kind, 1, samples);
        self.heed(put);
    }

    /// Silence for every tick of a track from its next to before `until`, and why there is nothing else.
    fn fill(&mut self, number: TrackNumber, until: Tick) {
        let Some(next) = self.next_of(number) else {
            return;
        };
        let missing = until.0.saturating_sub(next.0);
        if missing == 0 || self.trouble.is_some() {
            return;
        }
        let is_main = number == TrackNumber::MAIN;
        if is_main && missing > GAP_TICKS_MAX {
            self.trouble
                .get_or_insert(format!("a gap of {} s, which is more than an hour", missing / 50));
            return;
        }
        let why = match self.is_absence(number, next, until) {
            true => Why::Quiet,
            false => Why::Lost,
        };
        let ticks = u32::try_from(missing).unwrap_or(u32::MAX);
        if is_main {
            if !self.has_room_for(missing) {
                return;
            }
            self.samples += missing * self.rate.samples_per_tick() as u64;
        }
        let track = match is_main {
            true => Some(&mut self.main),
            false => self.legs.get_mut(&number),
        };
        if let Some(track) = track {
            let put = track.push(&mut self.journal, RunKind::Silence(why), ticks, &[]);
            self.heed(put);
        }
    }

    /// Whether a leg's track has nothing there because the leg was away, or the recording paused.
    fn is_absence(&self, number: TrackNumber, from: Tick, until: Tick) -> bool {
        let in_a_pause = |&(start, end): &(Tick, Tick)| start <= from && until <= end;
        let is_away = self.away.get(&number).is_some_and(|left| *left <= until);
        number != TrackNumber::MAIN && (is_away || self.pauses.iter().any(in_a_pause))
    }

    fn note_pause(&mut self, tick: Tick) {
        match self.pauses.last_mut() {
            Some((_, end)) if *end == tick => *end = tick.next(),
            _ => {
                if self.pauses.len() == PAUSES_MAX {
                    self.pauses.remove(0);
                }
                self.pauses.push((tick, tick.next()));
            }
        }
    }

    fn has_room_for(&mut self, ticks: u64) -> bool {
        let samples = self.samples + ticks * self.rate.samples_per_tick() as u64;
        if samples > self.samples_max {
            self.trouble
                .get_or_insert("the file has become as long as its format or an upload allows".to_owned());
        }
        samples <= self.samples_max
    }

    fn next_of(&self, number: TrackNumber) -> Option<Tick> {
        match number {
            TrackNumber::MAIN => self.main.next,
            number => self.legs.get(&number)?.next,
        }
    }

    fn lock_orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
