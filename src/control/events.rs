//! What happened, in order, for all who listen: one number without gaps for everything, one without gaps per room.
//!
//! The log is a ring in memory. Readers keep nothing here but a number: each reads on from where it was, at its own
//! pace, so a slow one costs nothing and is told what it missed. A room that is born again goes on counting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::control::ids::{CallId, ConferenceId};

/// Rooms whose count is remembered after they have ended.
const ROOM_COUNTS_MAX: usize = 65_536;

/// Events that a reader takes out at a time.
const BATCH: usize = 256;

/// An event before it has its numbers.
pub struct Happening {
    pub conference: ConferenceId,
    pub call: Option<CallId>,
    pub kind: &'static str,
    pub at: SystemTime,
    /// The fields of this type of event.
    pub fields: Map<String, Value>,
}

#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    log: Mutex<Log>,
    /// The newest global number, to wake readers.
    newest: watch::Sender<u64>,
}

struct Log {
    ring: VecDeque<Entry>,
    capacity: usize,
    newest: u64,
    counts: HashMap<ConferenceId, Count>,
    /// Names by the global number of their last event, to forget the oldest.
    by_age: BTreeMap<u64, ConferenceId>,
    /// The highest count that was forgotten: a room not known begins above it, so no number comes twice.
    floor: u64,
}

struct Count {
    seq: u64,
    last_global: u64,
}

#[derive(Clone)]
struct Entry {
    seq: u64,
    conference: ConferenceId,
    kind: &'static str,
    json: Arc<str>,
}

/// What a reader hands on: an event, or that some are no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The number to resume after.
    pub id: u64,
    pub kind: &'static str,
    pub json: Arc<str>,
}

impl EventLog {
    pub fn new(capacity: usize) -> EventLog {
        let log = Log {
            ring: VecDeque::with_capacity(capacity.min(1024)),
            capacity,
            newest: 0,
            counts: HashMap::new(),
            by_age: BTreeMap::new(),
            floor: 0,
        };
        EventLog {
            inner: Arc::new(Inner {
                log: Mutex::new(log),
                newest: watch::Sender::new(0),
            }),
        }
    }

    pub fn append(&self, happening: Happening) {
        let newest = self.lock().append(happening);
        self.inner.newest.send_replace(newest);
    }

    /// A reader of one room or of all, that goes on after the number it names, or begins with what comes next.
    pub fn reader(&self, conference: Option<ConferenceId>, after: Option<u64>) -> Reader {
        let wake = self.inner.newest.subscribe();
        let log = self.lock();
        let newest_of_stream = match &conference {
            None => log.newest,
            Some(id) => log.counts.get(id).map_or(log.floor, |count| count.seq),
        };
        // A number from the future was given by a daemon that is no more: its numbers say nothing here.
        let from_another_life = after.is_some_and(|after| after > newest_of_stream);
        let after = if from_another_life {
            0
        } else {
            after.unwrap_or(newest_of_stream)
        };
        Reader {
            log: self.clone(),
            wake,
            conference,
            after,
            scanned: 0,
            from_another_life,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.inner.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn append(&mut self, happening: Happening) -> u64 {
        let Happening {
            conference,
            call,
            kind,
            at,
            fields,
        } = happening;
        self.newest += 1;
        let seq = self.count(&conference);
        let mut object = Map::new();
        object.insert("seq".into(), seq.into());
        object.insert("globalSeq".into(), self.newest.into());
        object.insert("conferenceId".into(), conference.as_str().into());
        if let Some(call) = call {
            object.insert("callId".into(), call.as_str().into());
        }
        object.insert("at".into(), timestamp(at).into());
        object.insert("type".into(), kind.into());
        object.extend(fields);
        if self.ring.len() == self.capacity {
            self.ring.pop_front();
        }
        let json = Value::Object(object).to_string().into();
        self.ring.push_back(Entry {
            seq,
            conference,
            kind,
            json,
        });
        self.newest
    }

    fn count(&mut self, conference: &ConferenceId) -> u64 {
        let newest = self.newest;
        let floor = self.floor;
        let count = self.counts.entry(conference.clone()).or_insert(Count {
            seq: floor,
            last_global: 0,
        });
        self.by_age.remove(&count.last_global);
        count.seq += 1;
        count.last_global = newest;
        let seq = count.seq;
        self.by_age.insert(newest, conference.clone());
        if self.counts.len() > ROOM_COUNTS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
            && let Some(forgotten) = self.counts.remove(&oldest)
        {
            self.floor = self.floor.max(forgotten.seq);
        }
        seq
    }

    fn oldest(&self) -> u64 {
        self.newest + 1 - self.ring.len() as u64
    }
}

pub struct Reader {
    log: EventLog,
    wake: watch::Receiver<u64>,
    conference: Option<ConferenceId>,
    /// The number, of this stream, of what was handed on last.
    after: u64,
    /// Every event up to this global number has been looked at.
    scanned: u64,
    from_another_life: bool,
}

impl Reader {
    /// The next messages, at least one; waits while there are none.
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
    fn take(&mut self) -> Vec<Message> {
        let log = self.log.clone();
        let log = log.lock();
        let mut messages = Vec::new();
        let of_another_life = std::mem::take(&mut self.from_another_life);
        let oldest = log.oldest();
        if self.conference.is_none() {
            self.scanned = self.scanned.max(self.after);
        }
        if of_another_life {
            messages.push(self.lost(None));
        }
        let first = self.scanned.max(oldest - 1) + 1;
        for global in first..=log.newest {
            let entry = &log.ring[(global - oldest) as usize];
            self.scanned = global;
            let number = match &self.conference {
                None => global,
                Some(id) if *id == entry.conference => entry.seq,
                Some(_) => continue,
            };
            if number <= self.after {
                continue;
            }
            if number > self.after + 1 && !of_another_life {
                messages.push(self.lost(Some((self.after + 1, number - 1))));
            }
            self.after = number;
            messages.push(Message {
                id: number,
                kind: entry.kind,
                json: entry.json.clone(),
            });
            if messages.len() >= BATCH {
                return messages;
            }
        }
        // All that the room still had coming may have left the ring.
        if let Some(id) = &self.conference
            && let Some(count) = log.counts.get(id)
            && count.seq > self.after
        {
            messages.push(self.lost(Some((self.after + 1, count.seq))));
            self.after = count.seq;
        }
        messages
    }

    fn lost(&self, missed: Option<(u64, u64)>) -> Message {
        let id = missed.map_or(self.after, |(_, last)| last);
        let mut object = json!({ "type": "lost", "at": timestamp(SystemTime::now()) });
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
                "These events are no longer kept.".into()
            }
            None => {
                "The daemon has started anew since the number asked for; what it kept before is gone.".into()
            }
        };
        Message {
            id,
            kind: "lost",
            json: object.to_string().into(),
        }
    }
}

/// RFC 3339 in UTC, to the millisecond.
pub fn timestamp(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|at| format!("{at:.3}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn happened(room: &str) -> Happening {
        Happening {
            conference: ConferenceId::parse(room).unwrap(),
            call: None,
            kind: "leg.joined",
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_005),
            fields: Map::new(),
        }
    }

    fn ids(reader: &mut Reader) -> Vec<(u64, &'static str)> {
        reader
            .take()
            .iter()
            .map(|message| (message.id, message.kind))
            .collect()
    }

    fn room(name: &str) -> Option<ConferenceId> {
        Some(ConferenceId::parse(name).unwrap())
    }

    #[test]
    fn numbers_have_no_gap_per_room_nor_over_all() {
        let log = EventLog::new(100);
        let mut all = log.reader(None, None);
        let mut a = log.reader(room("a"), None);
        for name in ["a", "b", "a"] {
            log.append(happened(name));
        }
        assert_eq!(
            ids(&mut all),
            [(1, "leg.joined"), (2, "leg.joined"), (3, "leg.joined")]
        );
        let of_a = a.take();
        assert_eq!(of_a.iter().map(|message| message.id).collect::<Vec<_>>(), [1, 2]);
        let event: Value = serde_json::from_str(&of_a[1].json).unwrap();
        assert_eq!(event["seq"], 2);
        assert_eq!(event["globalSeq"], 3);
        assert_eq!(event["at"], "2023-11-14T22:13:20.005Z");
        log.append(happened("a"));
        assert_eq!(ids(&mut a), [(3, "leg.joined")]);
        assert_eq!(
            ids(&mut log.reader(room("a"), Some(1))),
            [(2, "leg.joined"), (3, "leg.joined")]
        );
        assert_eq!(ids(&mut log.reader(None, Some(3))), [(4, "leg.joined")]);
        assert_eq!(ids(&mut log.reader(room("nobody yet"), None)), []);
    }

    #[test]
    fn a_reader_that_fell_out_of_the_ring_is_told_what_it_missed() {
        let log = EventLog::new(3);
        let mut all = log.reader(None, Some(0));
        let mut a = log.reader(room("a"), Some(0));
        for name in ["a", "a", "b", "a", "b"] {
            log.append(happened(name));
        }
        assert_eq!(
            ids(&mut all),
            [
                (2, "lost"),
                (3, "leg.joined"),
                (4, "leg.joined"),
                (5, "leg.joined")
            ]
        );
        assert_eq!(ids(&mut a), [(2, "lost"), (3, "leg.joined")]);
        let missed: Value = serde_json::from_str(&log.reader(room("a"), Some(1)).take()[0].json).unwrap();
        assert_eq!(missed["missed"], json!({ "from": 2, "to": 2 }));
        assert_eq!((&missed["seq"], &missed["globalSeq"]), (&json!(2), &Value::Null));
        let of_all: Value = serde_json::from_str(&log.reader(None, Some(0)).take()[0].json).unwrap();
        assert_eq!((&of_all["seq"], &of_all["globalSeq"]), (&Value::Null, &json!(2)));
        for _ in 0..3 {
            log.append(happened("b"));
        }
        // Nothing of the room is left in the ring.
        assert_eq!(ids(&mut log.reader(room("a"), Some(1))), [(3, "lost")]);
        assert_eq!(ids(&mut log.reader(room("a"), Some(3))), []);
    }

    #[test]
    fn a_number_of_an_earlier_daemon_begins_again_with_a_word_of_it() {
        let log = EventLog::new(10);
        log.append(happened("a"));
        assert_eq!(
            ids(&mut log.reader(None, Some(99))),
            [(0, "lost"), (1, "leg.joined")]
        );
        assert_eq!(
            ids(&mut log.reader(room("a"), Some(99))),
            [(0, "lost"), (1, "leg.joined")]
        );
    }

    #[test]
    fn a_forgotten_room_never_uses_a_number_twice() {
        let log = EventLog::new(10);
        for _ in 0..5 {
            log.append(happened("old"));
        }
        for number in 0..ROOM_COUNTS_MAX {
            log.append(happened(&number.to_string()));
        }
        let mut reader = log.reader(room("old"), None);
        log.append(happened("old"));
        assert_eq!(ids(&mut reader), [(6, "leg.joined")]);
        assert_eq!(log.lock().counts.len(), ROOM_COUNTS_MAX);
        assert_eq!(log.lock().by_age.len(), ROOM_COUNTS_MAX);
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes() {
        let log = EventLog::new(10);
        let mut reader = log.reader(None, None);
        let writer = log.clone();
        let waiting = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        writer.append(happened("a"));
        assert_eq!(waiting.await.unwrap().len(), 1);
    }
}
