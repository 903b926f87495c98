//! The memory of events: gives them their numbers, keeps those not told yet, and the newest of those that were.
//!
//! ```text
//! happening ─ numbered ─▶ untold ─ told ─▶ ring ─ (full) ─▶ gone from memory
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ledger::Ledger;
use super::{Happening, timestamp};
use crate::control::ids::{CallId, ConferenceId};

/// An event with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Of all events.
    pub global: u64,
    /// Of those of its room.
    pub seq: u64,
    pub conference: ConferenceId,
    pub call: Option<CallId>,
    pub kind: &'static str,
    pub json: Arc<str>,
}

pub struct Log {
    pub(super) ledger: Ledger,
    /// Told, oldest first. Numbers rise; some may be missing.
    ring: VecDeque<Entry>,
    capacity: usize,
    /// Numbered and not told, oldest first.
    untold: VecDeque<Entry>,
    /// Every event up to this number is told.
    told: u64,
}

impl Log {
    /// Goes on from what a ledger says; `told` are the last events before that, oldest first.
    pub fn new(capacity: usize, ledger: Ledger, told: Vec<Entry>) -> Log {
        let mut ring = VecDeque::from(told);
        ring.drain(..ring.len().saturating_sub(capacity));
        Log {
            told: ledger.newest,
            ledger,
            ring,
            capacity,
            untold: VecDeque::new(),
        }
    }

    /// Gives an event its numbers. It is told with the next [`Log::tell`].
    pub fn number(&mut self, happening: Happening) -> Entry {
        let Happening {
            conference,
            call,
            kind,
            at,
            fields,
        } = happening;
        let (global, seq) = self.ledger.next(&conference);
        let mut object = Map::new();
        object.insert("seq".into(), seq.into());
        object.insert("globalSeq".into(), global.into());
        object.insert("conferenceId".into(), conference.as_str().into());
        if let Some(call) = &call {
            object.insert("callId".into(), call.as_str().into());
        }
        object.insert("at".into(), timestamp(at).into());
        object.insert("type".into(), kind.into());
        object.extend(fields);
        let entry = Entry {
            global,
            seq,
            conference,
            call,
            kind,
            json: Value::Object(object).to_string().into(),
        };
        self.ledger.note(&entry);
        self.untold.push_back(entry.clone());
        entry
    }

    /// Tells every event up to this number; gives how many those were.
    pub fn tell(&mut self, up_to: u64) -> usize {
        let count = self.untold.partition_point(|entry| entry.global <= up_to);
        for entry in self.untold.drain(..count) {
            self.told = entry.global;
            if self.ring.len() == self.capacity {
                self.ring.pop_front();
            }
            self.ring.push_back(entry);
        }
        count
    }

    /// Events that have numbers and are not told.
    pub fn untold(&self) -> usize {
        self.untold.len()
    }

    /// Gives up the oldest of those where there are more than so many: readers are told that it is missing.
    pub fn forget_untold(&mut self, most: usize) -> bool {
        self.untold.len() > most && self.untold.pop_front().is_some()
    }

    /// The number of the newest event that is told.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Whether every event that has a number is told.
    pub fn is_all_told(&self) -> bool {
        self.untold.is_empty()
    }

    /// The number of the oldest event in memory, or of the next where there is none.
    pub fn oldest(&self) -> u64 {
        self.ring.front().map_or(self.told + 1, |entry| entry.global)
    }

    /// The events in memory above this number, oldest first.
    pub fn after(&self, global: u64) -> impl Iterator<Item = &Entry> {
        let first = self.ring.partition_point(|entry| entry.global <= global);
        self.ring.range(first..)
    }
}
