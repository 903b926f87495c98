//! What was ordered of a running recording: its end, and what is to be noted. The control plane writes it, the take
//! reads it each round; nothing is carried out here.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::note::{Ending, Note};
use crate::time::Tick;

/// Notes of one recording: what is beyond is left out of the receipt and counted there.
const NOTES_MAX: usize = 100_000;

/// Tracks of legs in one recording.
pub const TRACKS_MAX: usize = 256;

/// What the control plane wants of a running recording, and what it may see of it. Held for moments only.
#[derive(Debug, Default)]
pub struct Orders {
    notes: Vec<Note>,
    noted: usize,
    left_out: u64,
    /// It has tracks of legs.
    legs: bool,
    tracks: BTreeSet<u32>,
    refused: BTreeSet<String>,
    pub(super) end: Option<End>,
    pub paused: bool,
}

/// Calls without a track that are named.
const REFUSED_MAX: usize = 1_000;

/// Where a recording shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this tick.
    After(Tick),
    /// With the last frame that was in the queue when the end was ordered.
    WithWhatCame,
}

/// What whoever reads a journal must know and cannot read there: whether it is over, and with what ending where the disk
/// took none.
#[derive(Debug, Default)]
pub struct Written(OnceLock<Option<Ending>>);

impl Written {
    /// Of a journal that is over since before a crash.
    pub fn before() -> Written {
        Written(OnceLock::from(None))
    }

    /// The writer has written its last, but for `unwritten`.
    pub(super) fn is_over_now(&self, unwritten: Option<Ending>) {
        // Over already: the first end counts.
        let _ = self.0.set(unwritten);
    }

    pub fn is_over(&self) -> bool {
        self.0.get().is_some()
    }

    /// The ending that the disk did not take.
    pub fn unwritten(&self) -> Option<&Ending> {
        self.0.get()?.as_ref()
    }
}

impl Orders {
    /// Of a recording, with tracks of its legs or without.
    pub fn new(legs: bool) -> Orders {
        Orders {
            legs,
            ..Orders::default()
        }
    }

    pub fn note(&mut self, note: Note) {
        match note {
            // Named when it was here before.
            Note::Track { track, .. } if self.tracks.contains(&track) => {}
            Note::Track { call_id, .. } if self.tracks.len() >= TRACKS_MAX => {
                if self.refused.len() < REFUSED_MAX && self.refused.insert(call_id.clone()) {
                    self.notes.push(Note::TrackRefused { call_id });
                }
            }
            // As many as there are tracks: what is said next is lost without them.
            Note::Track { track, .. } => {
                self.tracks.insert(track);
                self.notes.push(note);
            }
            // Tells absence from loss.
            Note::Left { .. } if self.legs => self.notes.push(note),
            _ if self.noted < NOTES_MAX => {
                self.noted += 1;
                self.notes.push(note);
            }
            _ => self.left_out += 1,
        }
    }

    /// Notes that were left out because there are too many.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What was noted since the last time.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The first order counts.
    pub fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }
}
