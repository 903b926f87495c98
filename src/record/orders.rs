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
    tracks: BTreeSet<u32>,
    pub(super) end: Option<End>,
    pub paused: bool,
}

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
    pub fn note(&mut self, note: Note) {
        let note = match note {
            // Named when it was here before.
            Note::Track { track, .. } if self.tracks.contains(&track) => return,
            Note::Track { call_id, .. } if self.tracks.len() >= TRACKS_MAX => Note::TrackRefused { call_id },
            note => note,
        };
        if self.noted < NOTES_MAX {
            self.noted += 1;
            if let Note::Track { track, .. } = note {
                self.tracks.insert(track);
            }
            self.notes.push(note);
        }
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
