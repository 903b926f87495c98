//! What a segment holds: records in the frame that recordings have too. First the parts of a snapshot, then events.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::control::events::kinds::kind_of;
use crate::control::events::ledger::{Count, Ledger, Present};
use crate::control::events::log::Entry;
use crate::control::ids::{CallId, ConferenceId};
use crate::record::journal::frame::{self, HEAD_BYTES, PAYLOAD_BYTES_MAX};

/// What the names of segments begin with.
const PREFIX: &str = "events-";

const SNAPSHOT: u8 = 1;
const EVENT: u8 = 2;

/// Rooms, or legs, in one part of a snapshot.
const PART: usize = 256;

/// Events in a segment are fewer than this.
pub const EVENTS_MAX: u64 = 500_000;

/// The name of the segment whose first event has, or will have, this number.
pub fn name(first: u64) -> String {
    format!("{PREFIX}{first:020}")
}

/// The first number of the segment of this name.
pub fn first_of(found: &str) -> Option<u64> {
    let first = found.strip_prefix(PREFIX)?.parse().ok()?;
    (found == name(first)).then_some(first)
}

#[derive(Serialize, Deserialize)]
struct Part {
    part: usize,
    parts: usize,
    newest: u64,
    floor: u64,
    /// Name, number of its last event, number of that event among all.
    counts: Vec<(String, u64, u64)>,
    rooms: Vec<String>,
    legs: Vec<Leg>,
}

#[derive(Serialize, Deserialize)]
struct Leg {
    room: String,
    call: String,
    since: String,
    codec: Option<String>,
    custom: Option<Value>,
}

/// Adds a snapshot of the ledger.
pub fn put_snapshot(out: &mut Vec<u8>, ledger: &Ledger) {
    let counts: Vec<(String, u64, u64)> = ledger
        .counts
        .iter()
        .map(|(room, count)| (room.to_string(), count.seq, count.last))
        .collect();
    let rooms: Vec<String> = ledger.rooms.keys().map(ToString::to_string).collect();
    let present = ledger.rooms.iter();
    let legs: Vec<Leg> = present
        .flat_map(|(room, legs)| legs.iter().map(move |leg| (room, leg)))
        .map(|(room, leg)| Leg {
            room: room.to_string(),
            call: leg.call.to_string(),
            since: leg.since.to_string(),
            codec: leg.codec.as_deref().map(str::to_owned),
            custom: leg.custom.clone(),
        })
        .collect();
    let parts = [counts.len(), rooms.len(), legs.len()]
        .map(|items| items.div_ceil(PART))
        .into_iter()
        .max()
        .unwrap_or(0)
        .max(1);
    let (mut counts, mut rooms, mut legs) = (counts.into_iter(), rooms.into_iter(), legs.into_iter());
    for part in 0..parts {
        let part = Part {
            part,
            parts,
            newest: ledger.newest,
            floor: ledger.floor,
            counts: counts.by_ref().take(PART).collect(),
            rooms: rooms.by_ref().take(PART).collect(),
            legs: legs.by_ref().take(PART).collect(),
        };
        let json = serde_json::to_vec(&part).unwrap_or_default();
        frame::put(out, ledger.newest, SNAPSHOT, &[&json]);
    }
}

/// Adds an event. True where it is too long for a record: then it is there with its numbers, its type and little else.
pub fn put_event(out: &mut Vec<u8>, entry: &Entry) -> bool {
    let is_too_long = entry.json.len() > PAYLOAD_BYTES_MAX;
    match is_too_long {
        true => frame::put(out, entry.global, EVENT, &[stub(entry).to_string().as_bytes()]),
        false => frame::put(out, entry.global, EVENT, &[entry.json.as_bytes()]),
    }
    is_too_long
}

fn stub(entry: &Entry) -> Value {
    let mut event: Value = serde_json::from_str(&entry.json).unwrap_or_default();
    if let Some(fields) = event.as_object_mut() {
        let kept = [
            "seq",
            "globalSeq",
            "conferenceId",
            "callId",
            "at",
            "type",
            "reason",
        ];
        fields.retain(|name, _| kept.contains(&name.as_str()));
        fields.insert(
            "message".into(),
            "What else this event says is too long to be kept.".into(),
        );
    }
    event
}

/// What was read of a segment.
#[derive(Debug, Default)]
pub struct Content {
    /// The ledger it begins with, where all of that is there.
    pub snapshot: Option<Ledger>,
    pub entries: Vec<Entry>,
    /// Something of it is not as it was written.
    pub is_damaged: bool,
}

/// Reads a whole segment, past what is damaged. A record at its end that was not written to its end is no damage.
pub fn read(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    let mut snapshot = Snapshot::default();
    let mut at = 0;
    while at < bytes.len() {
        let Some(frame) = frame::take(&bytes[at..]) else {
            let next = next_event(bytes, at + 1, content.entries.last());
            content.is_damaged |= next.is_some() || !is_torn(&bytes[at..], content.entries.last());
            match next {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        at += frame.bytes();
        let is_read = match frame.kind {
            SNAPSHOT => snapshot.add(frame.payload),
            EVENT => match entry(frame.number, frame.payload) {
                Some(entry)
                    if content
                        .entries
                        .last()
                        .is_none_or(|last| last.global < entry.global) =>
                {
                    content.entries.push(entry);
                    true
                }
                _ => false,
            },
            _ => false,
        };
        content.is_damaged |= !is_read;
    }
    content.snapshot = snapshot.whole();
    content
}

/// The whole events at the start of `bytes` with a number above `after`, at most so many, and how many bytes were read
/// for that: none where nothing whole is there.
pub fn read_some(bytes: &[u8], after: u64, most: usize) -> (Vec<Entry>, usize) {
    let (mut entries, mut at) = (Vec::new(), 0);
    while entries.len() < most
        && let Some(frame) = frame::take(&bytes[at..])
    {
        at += frame.bytes();
        if frame.kind == EVENT && frame.number > after {
            entries.extend(entry(frame.number, frame.payload));
        }
    }
    (entries, at)
}

/// Where the next event begins, at `from` or later.
pub fn next_event(bytes: &[u8], from: usize, last: Option<&Entry>) -> Option<usize> {
    let last = last.map_or(0, |last| last.global);
    (from..bytes.len().saturating_sub(HEAD_BYTES)).find(|at| {
        // The sum is the last to be asked: it costs the most.
        let head = &bytes[*at..];
        let number = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
        head[16] == EVENT
            && number > last
            && number - last < u64::from(u32::MAX)
            && frame::take(head).is_some_and(|frame| entry(number, frame.payload).is_some())
    })
}

/// Whether these bytes, which are no record, are the beginning of the one that follows `last`.
fn is_torn(bytes: &[u8], last: Option<&Entry>) -> bool {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
        return true;
    };
    let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
    let number = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
    let follows = last.is_none_or(|last| number == last.global + 1);
    let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(rest).is_ok();
    head[16] == EVENT && follows && rest.len() < length && length <= PAYLOAD_BYTES_MAX && !is_whole
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    seq: u64,
    global_seq: u64,
    #[serde(borrow)]
    conference_id: Cow<'a, str>,
    #[serde(borrow)]
    call_id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

fn entry(number: u64, payload: &[u8]) -> Option<Entry> {
    let json = std::str::from_utf8(payload).ok()?;
    let head: Head = serde_json::from_str(json).ok()?;
    let call = match head.call_id {
        Some(call) => Some(CallId::parse(&call).ok()?),
        None => None,
    };
    (head.global_seq == number).then_some(Entry {
        global: number,
        seq: head.seq,
        conference: ConferenceId::parse(&head.conference_id).ok()?,
        call,
        kind: kind_of(&head.kind),
        json: json.into(),
    })
}

/// A snapshot as it is read.
#[derive(Default)]
struct Snapshot {
    ledger: Ledger,
    read: usize,
    parts: usize,
}

impl Snapshot {
    fn add(&mut self, payload: &[u8]) -> bool {
        match serde_json::from_slice::<Part>(payload) {
            Ok(part) if part.part == self.read => self.enter(part).is_some(),
            _ => false,
        }
    }

    fn enter(&mut self, part: Part) -> Option<()> {
        let ledger = &mut self.ledger;
        ledger.newest = part.newest;
        ledger.floor = part.floor;
        for (room, seq, last) in part.counts {
            ledger.remember(ConferenceId::parse(&room).ok()?, Count { seq, last });
        }
        for room in part.rooms {
            ledger.rooms.entry(ConferenceId::parse(&room).ok()?).or_default();
        }
        for leg in part.legs {
            let legs = ledger.rooms.entry(ConferenceId::parse(&leg.room).ok()?);
            legs.or_default().push(Present {
                call: CallId::parse(&leg.call).ok()?,
                since: leg.since.into(),
                codec: leg.codec.map(Into::into),
                custom: leg.custom,
            });
        }
        (self.read, self.parts) = (self.read + 1, part.parts);
        Some(())
    }

    fn whole(self) -> Option<Ledger> {
        (self.parts > 0 && self.read == self.parts).then_some(self.ledger)
    }
}
