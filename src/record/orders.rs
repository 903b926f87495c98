//! What was ordered of a running recording: its end, and what is to be noted. The control plane writes it, the take
//! reads it each round; nothing is carried out here.

use std::collections::BTreeSet;

use super::note::Note;
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
