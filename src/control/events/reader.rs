//! A reader: where somebody is in the events of one room or of all, and what comes next for him.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use tokio::sync::watch;

use super::log::{Entry, Log};
use super::{EventLog, timestamp};
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
}

/// How far a reader has come.
struct Place {
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
        let place = Place::new(&log.lock(), conference, after);
        Reader { log, wake, place }
    }

    /// The next messages, at least one; waits while there are none. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Vec<Message> {
        loop {
            self.wake.mark_unchanged();
            let messages = self.take();
            if !messages.is_empty() {
                return messages;
            }
            if self.wake.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What there is now, oldest first, a bounded number at a time.
    pub(super) fn take(&mut self) -> Vec<Message> {
        self.place.take(&self.log.lock())
    }
}

impl Place {
    fn new(log: &Log, conference: Option<ConferenceId>, after: Option<u64>) -> Place {
        let newest = match &conference {
            None => log.ledger.newest,
            Some(id) => log.ledger.count_of(id),
        };
        // A number from the future was given by a daemon whose memory is gone: its numbers say nothing here.
        let is_astray = after.is_some_and(|after| after > newest);
        Place {
            after: if is_astray { 0 } else { after.unwrap_or(newest) },
            conference,
            scanned: 0,
            is_astray,
            is_warned: false,
        }
    }

    fn take(&mut self, log: &Log) -> Vec<Message> {
        let mut messages = Vec::new();
        if std::mem::take(&mut self.is_astray) {
            messages.push(self.lost(None));
            self.is_warned = true;
        }
        if self.conference.is_none() {
            self.scanned = self.scanned.max(self.after);
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
        let mut object = json!({ "type": LOST, "at": timestamp(SystemTime::now()) });
        match &self.conference {
            Some(conference) => {
                object["conferenceId"] = conference.as_str().into();
                object["seq"] = id.into();
            }
            None => object["globalSeq"] = id.into(),
        }
        object["message"] = match missed {
            Some((first, last)) => {
                object["missed"] = json!({ "from": first, "to": last });
                "These events are no longer kept, or never were.".into()
            }
            None => {
                "The number asked for was given by a daemon whose memory of events is gone; this is what there is."
                    .into()
            }
        };
        Message {
            id,
            conference: self.conference.clone(),
            call: None,
            kind: LOST,
            json: object.to_string().into(),
        }
    }
}
