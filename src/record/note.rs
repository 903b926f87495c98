//! What the journal of a recording holds beside sound: what it is, who came and went, how it ended. JSON, so that a later
//! version reads what an earlier one left behind.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::destination::Names;
use super::receipt::Anchor;
use crate::frame::Rate;
use crate::time::Tick;

/// What recording this is and where it is to lie: all that is needed to finish it without the daemon that began it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    pub recording_id: String,
    pub conference_id: String,
    /// The leg of which it is what that leg was sent; absent: the room's mix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The bucket of an object store; absent: a file below `recording.dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The key without its ending.
    pub stem: String,
    /// With its dot, as the caller spelled it.
    pub ending: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_key: Option<String>,
    /// `wav`, `ogg` or `flac`.
    pub format: String,
    /// Samples per second.
    pub rate: u32,
    /// With a track of each leg.
    pub legs: bool,
    /// Whether credentials of its own lie beside the journal.
    pub has_credentials: bool,
    pub notifies: bool,
    /// A tick, and the wall clock then, in microseconds since 1970.
    pub anchor_tick: u64,
    pub anchor_us: i64,
}

impl Opening {
    /// Of a recording of which nothing is known but its id.
    pub fn unknown(recording_id: String) -> Opening {
        Opening {
            recording_id,
            conference_id: String::new(),
            call_id: None,
            bucket: None,
            stem: String::new(),
            ending: String::new(),
            requested_key: None,
            format: String::new(),
            rate: 0,
            legs: false,
            has_credentials: false,
            notifies: true,
            anchor_tick: 0,
            anchor_us: 0,
        }
    }

    pub fn key(&self) -> String {
        format!("{}{}", self.stem, self.ending)
    }

    /// The names it may have, without their ending: its own, and the one made from it where that is taken.
    pub fn stems(&self) -> [String; 2] {
        let aside = self.names().aside(&self.recording_id);
        [self.stem.clone(), aside.base().to_owned()]
    }

    /// It has this name now. What was asked for is remembered.
    pub fn is_called(&mut self, stem: String) {
        if stem != self.stem {
            let key = self.key();
            self.requested_key.get_or_insert(key);
            self.stem = stem;
        }
    }

    /// What lies beside the main file is called after it.
    pub fn names(&self) -> Names {
        Names::new(self.stem.clone(), self.ending.clone())
    }

    pub fn anchor(&self) -> Anchor {
        Anchor {
            tick: Tick(self.anchor_tick),
            at: Timestamp::from_microsecond(self.anchor_us).unwrap_or_default(),
        }
    }

    /// `None` for a rate no recording has.
    pub fn rate(&self) -> Option<Rate> {
        Rate::from_hz(self.rate)
    }
}

/// Something that happened in the room, with the tick it holds from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "what")]
pub enum Note {
    /// The leg whose track has this number.
    Track {
        track: u32,
        call_id: String,
    },
    Joined {
        call_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cli: Option<String>,
        tick: u64,
    },
    Left {
        call_id: String,
        tick: u64,
    },
    Muted {
        call_id: String,
        tick: u64,
    },
    Unmuted {
        call_id: String,
        tick: u64,
    },
    /// More legs than a recording has tracks for.
    TrackRefused {
        call_id: String,
    },
}

/// The last entry of a journal that was ended and not cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// Why it ended before it was told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_because: Option<String>,
    /// Frames that came too late to be taken in.
    #[serde(default)]
    pub late_frames: u64,
    /// Comings, goings and mutes beyond as many as are noted.
    #[serde(default)]
    pub notes_left_out: u64,
}
