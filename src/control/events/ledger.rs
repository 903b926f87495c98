//! The numbers that have been given, and who is there: what a start has to know to go on where another life ended.
//!
//! All of it follows from the events themselves, in their order: whoever notes the same events has the same ledger.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::log::Entry;
use crate::control::ids::{CallId, ConferenceId};

/// Rooms whose count is remembered after they have ended.
pub const ROOM_COUNTS_MAX: usize = 65_536;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    /// The highest number of all that was given.
    pub(super) newest: u64,
    pub(super) counts: HashMap<ConferenceId, Count>,
    /// Names by the number of their last event, to forget the oldest.
    by_age: BTreeMap<u64, ConferenceId>,
    /// The highest count that was forgotten: a room not known begins above it, so no number comes twice.
    pub(super) floor: u64,
    /// The rooms there are, with their legs in the order of coming.
    pub(super) rooms: BTreeMap<ConferenceId, Vec<Present>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub seq: u64,
    /// The number, of all, of its last event.
    pub last: u64,
}

/// A leg that has joined and not left.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    pub call: CallId,
    /// When it joined, as its event says.
    pub since: Box<str>,
    pub codec: Option<Box<str>>,
    /// What its maker wants echoed.
    pub custom: Option<Value>,
}

/// What of `leg.joined` is remembered.
#[derive(Deserialize)]
struct Joined {
    at: Box<str>,
    codec: Option<Box<str>>,
    custom: Option<Value>,
}

impl Ledger {
    /// The number of the room's last event; of a room that is not known, the one before its first.
    pub fn count_of(&self, conference: &ConferenceId) -> u64 {
        self.counts.get(conference).map_or(self.floor, |count| count.seq)
    }

    /// The numbers of the next event: of all, and of its room.
    pub fn next(&self, conference: &ConferenceId) -> (u64, u64) {
        (self.newest + 1, self.count_of(conference) + 1)
    }

    /// Enters an event that has its numbers. Its number must be above all before it.
    pub fn note(&mut self, entry: &Entry) {
        self.newest = entry.global;
        let count = Count {
            seq: entry.seq,
            last: entry.global,
        };
        self.remember(entry.conference.clone(), count);
        self.follow(entry);
    }

    pub(super) fn remember(&mut self, conference: ConferenceId, count: Count) {
        self.by_age.insert(count.last, conference.clone());
        if let Some(before) = self.counts.insert(conference, count)
            && before.last != count.last
        {
            self.by_age.remove(&before.last);
        }
        if self.counts.len() > ROOM_COUNTS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
            && let Some(forgotten) = self.counts.remove(&oldest)
        {
            self.floor = self.floor.max(forgotten.seq);
        }
    }

    /// Moves all numbers on, those of rooms too: what another life may have given is not given again.
    pub fn skip(&mut self, by: u64) {
        self.newest += by;
        self.floor += by;
        for count in self.counts.values_mut() {
            count.seq += by;
        }
    }

    fn follow(&mut self, entry: &Entry) {
        match entry.kind {
            "room.started" => {
                self.rooms.entry(entry.conference.clone()).or_default();
            }
            "room.ended" => {
                self.rooms.remove(&entry.conference);
            }
            "leg.joined" => {
                let (Some(call), Ok(joined)) = (&entry.call, serde_json::from_str::<Joined>(&entry.json))
                else {
                    return;
                };
                let legs = self.rooms.entry(entry.conference.clone()).or_default();
                legs.retain(|leg| leg.call != *call);
                legs.push(Present {
                    call: call.clone(),
                    since: joined.at,
                    codec: joined.codec,
                    custom: joined.custom,
                });
            }
            "leg.left" => {
                if let Some(legs) = self.rooms.get_mut(&entry.conference) {
                    legs.retain(|leg| Some(&leg.call) != entry.call.as_ref());
                }
            }
            _ => {}
        }
    }
}
