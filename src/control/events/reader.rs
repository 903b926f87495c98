//! A reader: where somebody is in the events of one room or of all, and what comes next for him.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::journal::{Archive, Spot};
use super::kinds::SNAPSHOT;
use super::log::{Entry, Log};
use super::{EventLog, timestamp};
use crate::control::blocking;
use crate::control::ids::{CallId, ConferenceId};

/// What a reader is told instead of events that are not there.
const LOST: &str = "lost";

/// Events that a reader takes out at a time.
const BATCH: usize = 256;

/// What a reader hands on: an event, or that some are no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The number to resume after: of the room for a reader of one room, of all for a reader of all.
    pub id: u64,
    /// The room it is of; none where a reader of all is told that it missed something.
    pub conference: Option<ConferenceId>,
    pub call: Option<CallId>,
    pub kind: &'static str,
    pub json: Arc<str>,
}

pub struct Reader {
    log: EventLog,
    wake: watch::Receiver<u64>,
    place: Place,
    /// Where it is on the disk.
    spot: Option<Spot>,
    /// What it hands on before all else.
    first: Option<Message>,
}

enum Step {
    /// The disk may have something that memory no longer has: the numbers between these two.
    Behind(Arc<Archive>, (u64, u64)),
    /// What memory has.
    Told(Vec<Message>),
}

/// How far a reader has come.
pub(super) struct Place {
    conference: Option<ConferenceId>,
    /// The number, of this stream, of what was handed on last.
    after: u64,
    /// Every event up to this number of all has been looked at.
    scanned: u64,
    /// It asked for what comes after a number that was never given here: it is told so, and begins with what there is.
    is_astray: bool,
    /// It was told that something is missing before what comes next.
    is_warned: bool,
}

impl Reader {
    pub(super) fn new(
        log: EventLog,
        wake: watch::Receiver<u64>,
        conference: Option<ConferenceId>,
        after: Option<u64>,
    ) -> Reader {
        let place = Place::new(&log.lock().log, conference, after);
        Reader {
            log,
            wake,
            place,
            spot: None,
            first: None,
        }
    }

    /// Hands on first how things stand, as of the number it begins after. `fields` say it.
    pub(super) fn begin_with(&mut self, fields: Map<String, Value>) {
        let mut object = self.place.message(SNAPSHOT, self.place.after);
        object.extend(fields);
        self.first = Some(self.place.addressed(SNAPSHOT, self.place.after, object));
    }

    /// The next messages, at least one; waits while there are none. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Vec<Message> {
        if self.first.is_some() {
            // What it says has to be what the next start goes on from.
            let as_of = self.place.scanned;
            while self.log.told() < as_of && self.wake.changed().await.is_ok() {}
        }
        if let Some(first) = self.first.take() {
            return vec![first];
        }
        loop {
            self.wake.mark_unchanged();
            let messages = match self.step() {
                Step::Behind(archive, between) => self.catch_up(archive, between).await,
                Step::Told(messages) => {
                    if messages.is_empty() && self.wake.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    messages
                }
            };
            if !messages.is_empty() {
                return messages;
            }
        }
    }

    /// What is in memory now, oldest first, a bounded number at a time.
    #[cfg(test)]
    pub(super) fn take(&mut self) -> Vec<Message> {
        self.place.take(&self.log.lock().log)
    }

    /// Where to read on. Decided and taken under one lock: what left the memory between would count as lost.
    fn step(&mut self) -> Step {
        let archive = self.log.archive();
        let state = self.log.lock();
        match archive.zip(self.place.behind(&state.log)) {
            Some((archive, between)) => Step::Behind(archive, between),
            None => Step::Told(self.place.take(&state.log)),
        }
    }

    /// The next of what is on the disk; none where that had nothing of this stream.
    async fn catch_up(&mut self, archive: Arc<Archive>, (after, below): (u64, u64)) -> Vec<Message> {
        // The disk is asked by few at a time, and nobody else waits for it.
        let _permit = archive.permits.acquire().await;
        let (read_by, mut spot) = (archive.clone(), self.spot);
        let read = blocking::in_the_end(move || {
            let entries = read_by.read(after, below, BATCH, &mut spot);
            (entries, spot)
        });
        let (entries, spot) = read.await.unwrap_or_default();
        self.spot = spot;
        self.place.catch_up(&entries, below)
    }
}

impl Place {
    pub(super) fn new(log: &Log, conference: Option<ConferenceId>, after: Option<u64>) -> Place {
        let newest = match &conference {
            None => log.ledger.newest,
            Some(id) => log.ledger.count_of(id),
        };
        let is_unborn = conference
            .as_ref()
            .is_some_and(|id| !log.ledger.counts.contains_key(id));
        // A number from the future was given by a daemon whose memory is gone: its numbers say nothing here.
        let is_astray = after.is_some_and(|after| after > newest);
        let after = match after {
            _ if is_astray => 0,
            // Its first number may be far above 1; who has heard of it before is told what it misses.
            Some(0) if is_unborn => newest,
            after => after.unwrap_or(newest),
        };
        let scanned = match &conference {
            _ if is_astray => log.oldest() - 1,
            None => after,
            Some(_) if after >= newest => log.ledger.newest,
            // Where its numbers stand among all is known only of what is in memory.
            Some(id) => match log.after(0).find(|entry| entry.conference == *id) {
                Some(entry) if entry.seq <= after + 1 => log.oldest() - 1,
                _ => 0,
            },
        };
        Place {
            after,
            conference,
            scanned,
            is_astray,
            is_warned: false,
        }
    }

    pub(super) fn take(&mut self, log: &Log) -> Vec<Message> {
        let mut messages = Vec::new();
        if std::mem::take(&mut self.is_astray) {
            messages.push(self.lost(None));
            self.is_warned = true;
        }
        for entry in log.after(self.scanned) {
            self.look_at(entry, &mut messages);
            if messages.len() >= BATCH {
                return messages;
            }
        }
        // All that was still to come may have left the memory.
        let newest = match &self.conference {
            None => Some(log.told()),
            Some(id) => log.ledger.counts.get(id).map(|count| count.seq),
        };
        if log.is_all_told()
            && let Some(newest) = newest
            && newest > self.after
        {
            messages.push(self.lost(Some((self.after + 1, newest))));
            self.after = newest;
        }
        messages
    }

    /// The numbers between which memory has nothing any more, and the disk may.
    pub(super) fn behind(&self, log: &Log) -> Option<(u64, u64)> {
        let between = (self.scanned, log.oldest());
        (between.0 + 1 < between.1).then_some(between)
    }

    /// The next messages from what the disk has below that number; where it has nothing, memory goes on.
    pub(super) fn catch_up(&mut self, entries: &[Entry], below: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        for entry in entries {
            self.look_at(entry, &mut messages);
        }
        if entries.is_empty() {
            self.scanned = self.scanned.max(below - 1);
        }
        messages
    }

    /// Hands an event on if it is of this stream and new, after a word of what is missing before it.
    fn look_at(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        self.scanned = entry.global;
        let number = match &self.conference {
            None => entry.global,
            Some(id) if *id == entry.conference => entry.seq,
            Some(_) => return,
        };
        if number <= self.after {
            return;
        }
        let is_warned = std::mem::take(&mut self.is_warned);
        if number > self.after + 1 && !is_warned {
            messages.push(self.lost(Some((self.after + 1, number - 1))));
        }
        self.after = number;
        messages.push(Message {
            id: number,
            conference: Some(entry.conference.clone()),
            call: entry.call.clone(),
            kind: entry.kind,
            json: entry.json.clone(),
        });
    }

    fn lost(&self, missed: Option<(u64, u64)>) -> Message {
        let id = missed.map_or(self.after, |(_, last)| last);
        let mut object = self.message(LOST, id);
        let message = match missed {
            Some((first, last)) => {
                object.insert("missed".into(), json!({ "from": first, "to": last }));
                "These events are no longer kept, or never were."
            }
            None => {
                "The number asked for was given by a daemon whose memory of events is gone; this is what there is."
            }
        };
        object.insert("message".into(), message.into());
        self.addressed(LOST, id, object)
    }

    /// What is said to this reader alone begins so.
    fn message(&self, kind: &'static str, id: u64) -> Map<String, Value> {
        let mut object = Map::new();
        match &self.conference {
            Some(conference) => {
                object.insert("seq".into(), id.into());
                object.insert("conferenceId".into(), conference.as_str().into());
            }
            None => {
                object.insert("globalSeq".into(), id.into());
            }
        }
        object.insert("at".into(), timestamp(SystemTime::now()).into());
        object.insert("type".into(), kind.into());
        object
    }

    fn addressed(&self, kind: &'static str, id: u64, object: Map<String, Value>) -> Message {
        Message {
            id,
            conference: self.conference.clone(),
            call: None,
            kind,
            json: Value::Object(object).to_string().into(),
        }
    }
}
