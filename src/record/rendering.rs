//! One recording on its way from the journal to its files: entries in, samples of every track out, and all that the
//! receipt says.
//!
//! It reads what the writer has written, while it is being written or long after; what it makes depends on the journal
//! alone. The invariant: sample `n` of every file is the sound `n / rate` seconds after the first frame of the main
//! track.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::attendance::Attendance;
use super::disk::Disk;
use super::image::{FinishError, Finished, Format, Image};
use super::journal::{Entry, Reader, Why};
use super::note::{Ending, Note, Opening};
use super::orders::Written;
use super::receipt::{Receipt, Stretch, TrackReceipt, rfc3339};
use crate::frame::Rate;
use crate::id::TrackNumber;
use crate::time::Tick;

/// Gaps a receipt lists for each track; all are in its total.
const GAPS_MAX: usize = 10_000;

/// Pauses a receipt lists.
const PAUSES_MAX: usize = 10_000;

/// Entries taken in one go, so that no recording keeps the others waiting: about twenty minutes of one.
const ENTRIES_PER_PASS_MAX: usize = 30_000;

const CRASH: &str = "the daemon ended before the recording did";

/// How far a pass came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// There is more to read now.
    More,
    /// All that is written is in the files.
    Caught,
    /// And nothing more will come.
    Complete,
}

pub struct Rendering {
    pub opening: Opening,
    pub format: Format,
    pub rate: Rate,
    /// The recording's folder in the spool.
    pub folder: PathBuf,
    reader: Reader,
    /// Whether the writer has written its last.
    written: Arc<Written>,
    main: Piece,
    legs: BTreeMap<u32, Piece>,
    calls: BTreeMap<u32, String>,
    refused: Vec<String>,
    attendance: Attendance,
    first: Option<Tick>,
    main_next: Option<Tick>,
    leg_next: BTreeMap<u32, Tick>,
    /// What the last entry asked for and an error kept from being done.
    work: VecDeque<Work>,
    pauses: Vec<Stretch>,
    ending: Option<Ending>,
    /// Calls that are in the room.
    present: BTreeSet<String>,
    /// Entries of the journal that are whole and say nothing that is understood here.
    not_understood: u64,
    /// What lacks at the end of the tracks stands in their gaps.
    is_padded: bool,
}

/// One file and how far it is.
pub struct Piece {
    pub path: PathBuf,
    image: Image,
    gaps: Vec<Stretch>,
    gap_samples: u64,
    pub finished: Option<Finished>,
}

impl Piece {
    fn create(path: PathBuf, format: Format, rate: Rate, serial: u32) -> io::Result<Piece> {
        // The one of the main track was made when its name was taken, and all may be there since before a crash.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&path)?;
        Ok(Piece {
            image: Image::create(&path, file, format, rate, serial)?,
            path,
            gaps: Vec::new(),
            gap_samples: 0,
            finished: None,
        })
    }

    /// Bytes that never change any more.
    pub fn stable(&self) -> (u64, u64) {
        self.image.stable()
    }

    fn note_gap(&mut self, from_sample: u64, samples: u64) {
        self.gap_samples += samples;
        add_stretch(&mut self.gaps, GAPS_MAX, from_sample, samples);
    }
}

impl Rendering {
    /// Makes the main track's file at `path` anew and starts with the journal's first entry. `written`: whether the
    /// journal is over.
    pub fn new(
        disk: Arc<dyn Disk>,
        opening: Opening,
        folder: &Path,
        path: PathBuf,
        written: Arc<Written>,
    ) -> io::Result<Rendering> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let format: Format = opening
            .format
            .parse()
            .map_err(|_| invalid("a format of another version"))?;
        let rate = opening
            .rate()
            .ok_or_else(|| invalid("a rate of another version"))?;
        Ok(Rendering {
            reader: Reader::open(disk, folder),
            main: Piece::create(path, format, rate, 0)?,
            opening,
            format,
            rate,
            folder: folder.to_owned(),
            written,
            legs: BTreeMap::new(),
            calls: BTreeMap::new(),
            refused: Vec::new(),
            attendance: Attendance::default(),
            first: None,
            main_next: None,
            leg_next: BTreeMap::new(),
            work: VecDeque::new(),
            pauses: Vec::new(),
            ending: None,
            present: BTreeSet::new(),
            not_understood: 0,
            is_padded: false,
        })
    }

    /// Brings the files up to what the journal holds now. After an error it can be called again.
    pub fn pass(&mut self) -> io::Result<Pass> {
        self.write()?;
        // Read before the journal is: what was written before this was set is read then.
        let is_written = self.written.is_over();
        if is_written {
            self.reader.writer_is_gone();
        }
        for _ in 0..ENTRIES_PER_PASS_MAX {
            if !self.take_entry()? {
                self.write()?;
                return Ok(if is_written { Pass::Complete } else { Pass::Caught });
            }
        }
        self.write()?;
        Ok(Pass::More)
    }

    /// Brings the sizes in the files' headers up to date.
    pub fn publish(&mut self) -> io::Result<()> {
        self.pieces_mut().try_for_each(|piece| piece.image.publish())
    }

    /// Ends the files: all of one length, synced, read again and hashed. After an error it can be called again.
    pub fn finish(&mut self) -> Result<(), FinishError> {
        let samples = self
            .pieces()
            .map(|piece| piece.image.samples())
            .max()
            .unwrap_or(0);
        if !std::mem::replace(&mut self.is_padded, true) {
            self.note_gaps_at_the_end(samples);
            if self.journal_holes() > 0 {
                tracing::warn!(
                    conference = self.opening.conference_id,
                    recording = self.opening.recording_id,
                    missing = self.reader.holes(),
                    unreadable = self.reader.unreadable(),
                    not_understood = self.not_understood + self.reader.unknown(),
                    "a journal was damaged: what stood there may lack in the recording and in its attendance"
                );
            }
        }
        let second = u64::from(self.rate.hz());
        for piece in std::iter::once(&mut self.main).chain(self.legs.values_mut()) {
            if piece.finished.is_some() {
                continue;
            }
            while piece.image.samples() < samples {
                piece
                    .image
                    .append_silence((samples - piece.image.samples()).min(second));
                piece.image.write().map_err(|error| FinishError::Io {
                    path: piece.path.clone(),
                    error,
                })?;
            }
            piece.finished = Some(piece.image.finish()?);
        }
        Ok(())
    }

    /// What lacks up to the end: of the main track it was lost, and so it was of a leg that was there.
    fn note_gaps_at_the_end(&mut self, samples: u64) {
        let lacking = samples - self.main.image.samples();
        if lacking > 0 {
            self.main.note_gap(samples - lacking, lacking);
        }
        for (number, piece) in &mut self.legs {
            let lacking = samples - piece.image.samples();
            let is_there = self
                .calls
                .get(number)
                .is_some_and(|call| self.present.contains(call));
            // After a crash nobody knows who was there.
            if lacking > 0 && is_there && self.ending.is_some() {
                piece.note_gap(samples - lacking, lacking);
            }
        }
    }

    /// What is known so far; sizes and hashes are those of finished files. `key` is where the main file lies.
    pub fn receipt(&self, key: &str, destination: String) -> Receipt {
        let opening = &self.opening;
        let anchor = opening.anchor();
        let start = self.first.map_or(anchor.at, |first| anchor.wall_clock(first));
        let finished = self.main.finished.as_ref();
        let asked = opening.requested_key.clone().unwrap_or_else(|| opening.key());
        let ending = self.ending.as_ref().or_else(|| self.written.unwritten());
        let ended = ending.cloned().unwrap_or_else(|| Ending {
            truncated_because: Some(CRASH.to_owned()),
            ..Ending::default()
        });
        Receipt {
            recording_id: opening.recording_id.clone(),
            conference_id: opening.conference_id.clone(),
            call_id: opening.call_id.clone(),
            destination,
            key: key.to_owned(),
            requested_key: (asked != key).then_some(asked),
            receipt_key: None,
            bytes: finished.map_or(self.main.image.bytes(), |finished| finished.bytes),
            sha256: finished.map_or_else(String::new, |finished| finished.sha256.clone()),
            samples: self.main.image.samples(),
            format: opening.format.clone(),
            rate: opening.rate,
            start: rfc3339(start),
            gaps: self.main.gaps.clone(),
            gap_samples: self.main.gap_samples,
            pauses: self.pauses.clone(),
            truncated: ended.truncated_because.is_some(),
            truncated_because: ended.truncated_because,
            late_frames: ended.late_frames,
            journal_holes: self.journal_holes(),
            attendance: self.attendance.by_wall_clock(&anchor),
            attendance_left_out: ended.notes_left_out,
            tracks: Vec::new(),
            tracks_refused: self.refused.clone(),
        }
    }

    /// Places where the journal has lost something, as far as it is read.
    fn journal_holes(&self) -> u64 {
        let reader = &self.reader;
        reader.holes() + reader.unreadable() + reader.unknown() + self.not_understood
    }

    /// What is known of the track with this number, whose file is now `key`.
    pub fn track_receipt(&self, number: u32, key: String) -> Option<TrackReceipt> {
        let piece = self.legs.get(&number)?;
        let finished = piece.finished.as_ref()?;
        Some(TrackReceipt {
            call_id: self.call_of(number),
            key,
            bytes: finished.bytes,
            sha256: finished.sha256.clone(),
            samples: piece.image.samples(),
            gaps: piece.gaps.clone(),
        })
    }

    pub fn main(&self) -> &Piece {
        &self.main
    }

    /// The tracks of the legs by their numbers.
    pub fn legs(&self) -> impl Iterator<Item = (u32, &Piece)> {
        self.legs.iter().map(|(&number, piece)| (number, piece))
    }

    /// To be told when the writer has written its last.
    pub fn written(&self) -> Arc<Written> {
        self.written.clone()
    }

    /// Whether the journal is over.
    pub fn is_written(&self) -> bool {
        self.written.is_over()
    }

    pub fn bytes(&self) -> u64 {
        self.main.image.bytes()
    }

    /// The call whose voice a track is.
    pub fn call_of(&self, number: u32) -> String {
        let call = self.calls.get(&number).cloned();
        call.unwrap_or_else(|| format!("leg-{number}"))
    }

    /// Does what the next entry of the journal says; false when there is none now.
    fn take_entry(&mut self) -> io::Result<bool> {
        while let Some(work) = self.work.pop_front() {
            self.carry_out(work)?;
        }
        let work = match self.reader.next()? {
            None => return Ok(false),
            Some(Entry::Opened(_)) => return Ok(true),
            Some(Entry::Note(json)) => {
                match serde_json::from_slice(json) {
                    Ok(note) => self.note(note),
                    Err(_) => self.not_understood += 1,
                }
                return Ok(true);
            }
            Some(Entry::Ended(json)) => {
                let ending = serde_json::from_slice(json);
                self.not_understood += u64::from(ending.is_err());
                self.ending = Some(ending.unwrap_or_default());
                return Ok(true);
            }
            Some(Entry::Sound { track, tick, samples }) => {
                let samples: Vec<i16> = samples
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|bytes| i16::from_le_bytes(*bytes))
                    .collect();
                Work {
                    track,
                    tick,
                    ticks: (samples.len() / self.rate.samples_per_tick()) as u64,
                    what: What::Sound(samples),
                }
            }
            Some(Entry::Silence {
                track,
                tick,
                ticks,
                why,
            }) => Work {
                track,
                tick,
                ticks: u64::from(ticks),
                what: What::Silence(why),
            },
        };
        self.schedule(work);
        while let Some(work) = self.work.pop_front() {
            self.carry_out(work)?;
        }
        Ok(true)
    }

    /// Puts what is new of it in its place behind what its track has; what lacks between them is silence.
    fn schedule(&mut self, mut work: Work) {
        let first = *self.first.get_or_insert(work.tick);
        let (next, is_late) = match work.track {
            TrackNumber::MAIN => (self.main_next.unwrap_or(first), false),
            number => match self.leg_next.get(&number.0) {
                Some(next) => (*next, false),
                None => (first, true),
            },
        };
        let known = next.0.saturating_sub(work.tick.0).min(work.ticks);
        work.tick = Tick(work.tick.0 + known);
        work.ticks -= known;
        if let What::Sound(samples) = &mut work.what {
            samples.drain(..known as usize * self.rate.samples_per_tick());
        }
        if work.ticks == 0 {
            return;
        }
        if work.tick > next {
            self.work.push_back(Work {
                track: work.track,
                tick: next,
                ticks: work.tick.0 - next.0,
                what: What::Silence(if is_late { Why::Quiet } else { Why::Lost }),
            });
        }
        let end = Tick(work.tick.0 + work.ticks);
        match work.track {
            TrackNumber::MAIN => self.main_next = Some(end),
            number => {
                self.leg_next.insert(number.0, end);
            }
        }
        self.work.push_back(work);
    }

    /// Silence goes second by second, so that an hour of it takes no memory. What an error leaves undone stays.
    fn carry_out(&mut self, mut work: Work) -> io::Result<()> {
        let per_tick = self.rate.samples_per_tick() as u64;
        let first = self.first.unwrap_or(work.tick);
        if let Err(error) = self.piece_of(work.track) {
            self.work.push_front(work);
            return Err(error);
        }
        while work.ticks > 0 {
            let piece = match work.track {
                TrackNumber::MAIN => &mut self.main,
                number => match self.legs.get_mut(&number.0) {
                    Some(piece) => piece,
                    None => return Ok(()),
                },
            };
            if piece.image.waiting_bytes() >= PENDING_BYTES
                && let Err(error) = piece.image.write()
            {
                self.work.push_front(work);
                return Err(error);
            }
            let from_sample = (work.tick.0 - first.0) * per_tick;
            let ticks = match &work.what {
                What::Sound(samples) => {
                    piece.image.append(samples);
                    work.ticks
                }
                What::Silence(why) => {
                    let ticks = work.ticks.min(TICKS_PER_SECOND);
                    piece.image.append_silence(ticks * per_tick);
                    match why {
                        Why::Lost => piece.note_gap(from_sample, ticks * per_tick),
                        Why::Paused if work.track == TrackNumber::MAIN => {
                            add_stretch(&mut self.pauses, PAUSES_MAX, from_sample, ticks * per_tick);
                        }
                        _ => {}
                    }
                    ticks
                }
            };
            work.tick = Tick(work.tick.0 + ticks);
            work.ticks -= ticks;
        }
        Ok(())
    }

    /// Makes the file of a leg's track when there is none.
    fn piece_of(&mut self, track: TrackNumber) -> io::Result<()> {
        if track != TrackNumber::MAIN && !self.legs.contains_key(&track.0) {
            let path = self
                .folder
                .join(format!("{}.{}", track.0, self.format.extension()));
            let piece = Piece::create(path, self.format, self.rate, track.0)?;
            self.legs.insert(track.0, piece);
        }
        Ok(())
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Track { track, call_id } => {
                self.calls.insert(track, call_id);
            }
            Note::Joined { call_id, cli, tick } => {
                self.attendance.joined(&call_id, cli.as_deref(), Tick(tick));
                self.present.insert(call_id);
            }
            Note::Left { call_id, tick } => {
                self.attendance.left(&call_id, Tick(tick));
                self.present.remove(&call_id);
            }
            Note::Muted { call_id, tick } => self.attendance.muted(&call_id, Tick(tick)),
            Note::Unmuted { call_id, tick } => self.attendance.unmuted(&call_id, Tick(tick)),
            Note::TrackRefused { call_id } => self.refused.push(call_id),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        std::iter::once(&self.main).chain(self.legs.values())
    }

    fn pieces_mut(&mut self) -> impl Iterator<Item = &mut Piece> {
        std::iter::once(&mut self.main).chain(self.legs.values_mut())
    }

    fn write(&mut self) -> io::Result<()> {
        self.pieces_mut().try_for_each(|piece| piece.image.write())
    }
}

/// Ticks to be added to a track.
struct Work {
    track: TrackNumber,
    tick: Tick,
    ticks: u64,
    what: What,
}

enum What {
    Sound(Vec<i16>),
    Silence(Why),
}

const TICKS_PER_SECOND: u64 = 50;

/// Encoded bytes of one file that are not written yet, beyond which they are: what memory a recording takes.
const PENDING_BYTES: usize = 64 * 1_024;

/// Adds a stretch to a list, to the last one where it goes on from it.
fn add_stretch(stretches: &mut Vec<Stretch>, most: usize, from_sample: u64, samples: u64) {
    if let Some(last) = stretches.last_mut()
        && last.from_sample + last.samples == from_sample
    {
        last.samples += samples;
    } else if stretches.len() < most {
        stretches.push(Stretch { from_sample, samples });
    }
}
