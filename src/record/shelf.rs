//! What is known of every recording, running or over: the one place where states change and are told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::orders::Orders;
use super::receipt::Receipt;
use super::recorder::RecordError;
use super::tap::RecordingSlot;

/// Recordings that run or are being finished at one time.
pub const ACTIVE_MAX: usize = 1_024;

/// Recordings that are over and still listed; the oldest go first. Their files stay.
pub const SETTLED_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingState {
    Recording,
    /// Over; the last samples, the hash and the receipt are being written.
    Finishing,
    /// Sound and receipt lie in `recording.dir`.
    Available,
    /// There is no receipt on the disk; `error` says why, and `receipt` what is known.
    Failed,
}

impl RecordingState {
    /// Nothing will change any more.
    pub fn is_settled(self) -> bool {
        matches!(self, RecordingState::Available | RecordingState::Failed)
    }
}

/// One recording, in the form it has in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingStatus {
    pub recording_id: String,
    pub conference_id: String,
    pub state: RecordingState,
    /// Silence is written now; the time goes on.
    pub paused: bool,
    /// Path of the sound, relative to `recording.dir`.
    pub key: String,
    /// The name that was asked for, when it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_key: Option<String>,
    /// Samples per second.
    pub rate: u32,
    /// RFC 3339.
    pub start: String,
    /// Size of the file now.
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

impl RecordingStatus {
    /// As it is when a recording begins, or, after a restart, when a receipt was found.
    pub fn new(receipt: &Receipt, state: RecordingState) -> RecordingStatus {
        RecordingStatus {
            recording_id: receipt.recording_id.clone(),
            conference_id: receipt.conference_id.clone(),
            state,
            paused: false,
            key: receipt.key.clone(),
            requested_key: receipt.requested_key.clone(),
            rate: receipt.rate,
            start: receipt.start.clone(),
            bytes: receipt.bytes,
            error: None,
            receipt: (state == RecordingState::Available).then(|| receipt.clone()),
        }
    }
}

/// Told of each change of state.
pub type Tell = Box<dyn Fn(&RecordingStatus) + Send + Sync>;

pub struct Shelf {
    entries: Mutex<Entries>,
    settled: Condvar,
    tell: Tell,
}

#[derive(Default)]
struct Entries {
    by_slot: BTreeMap<RecordingSlot, Entry>,
    slots: HashMap<String, RecordingSlot>,
    slots_used: u32,
    active: usize,
}

struct Entry {
    status: RecordingStatus,
    /// `None` when it is over since before this daemon started.
    orders: Option<Arc<Mutex<Orders>>>,
}

impl Shelf {
    pub fn new(tell: Tell) -> Shelf {
        Shelf {
            entries: Mutex::default(),
            settled: Condvar::new(),
            tell,
        }
    }

    /// A slot nobody had.
    pub fn new_slot(&self) -> RecordingSlot {
        let mut entries = self.lock();
        entries.slots_used += 1;
        RecordingSlot(entries.slots_used)
    }

    /// Whether another recording can begin under this id.
    pub fn admits(&self, recording_id: &str) -> Result<(), RecordError> {
        let entries = self.lock();
        if entries.active >= ACTIVE_MAX {
            return Err(RecordError::TooMany);
        }
        if entries.slots.contains_key(recording_id) {
            Err(RecordError::TakenId)
        } else {
            Ok(())
        }
    }

    pub fn add(&self, slot: RecordingSlot, status: RecordingStatus, orders: Option<Arc<Mutex<Orders>>>) {
        let mut entries = self.lock();
        if !status.state.is_settled() {
            entries.active += 1;
        }
        entries.slots.insert(status.recording_id.clone(), slot);
        entries.by_slot.insert(slot, Entry { status, orders });
        while entries.by_slot.len() - entries.active > SETTLED_MAX {
            let oldest = entries
                .by_slot
                .iter()
                .find(|(_, entry)| entry.status.state.is_settled());
            let Some((&slot, entry)) = oldest else { break };
            let recording_id = entry.status.recording_id.clone();
            entries.by_slot.remove(&slot);
            entries.slots.remove(&recording_id);
        }
    }

    /// Marks a running recording as finishing and tells it; `Err` when it is not running.
    pub fn finishing(&self, slot: RecordingSlot) -> Result<(), RecordError> {
        let mut entries = self.lock();
        let entry = entries.by_slot.get_mut(&slot).ok_or(RecordError::NotRunning)?;
        if entry.status.state != RecordingState::Recording {
            return Err(RecordError::NotRunning);
        }
        entry.status.state = RecordingState::Finishing;
        // Told under the lock: states are heard in the order they come.
        (self.tell)(&entry.seen());
        Ok(())
    }

    pub fn settled(&self, slot: RecordingSlot, receipt: Receipt, error: Option<String>) {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_slot.get_mut(&slot) {
            entry.status.state = if error.is_none() {
                RecordingState::Available
            } else {
                RecordingState::Failed
            };
            entry.status.start = receipt.start.clone();
            entry.status.bytes = receipt.bytes;
            entry.status.receipt = Some(receipt);
            entry.status.error = error;
            entry.orders = None;
            (self.tell)(&entry.seen());
            entries.active -= 1;
        }
        self.settled.notify_all();
    }

    /// Does something with the orders of a recording that runs.
    pub fn with_orders<T>(
        &self,
        slot: RecordingSlot,
        order: impl FnOnce(&mut Orders) -> T,
    ) -> Result<T, RecordError> {
        let entries = self.lock();
        let entry = entries.by_slot.get(&slot).ok_or(RecordError::NotRunning)?;
        let orders = entry.orders.as_ref().ok_or(RecordError::NotRunning)?;
        Ok(order(&mut orders.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub fn status(&self, recording_id: &str) -> Option<RecordingStatus> {
        let entries = self.lock();
        let slot = entries.slots.get(recording_id)?;
        entries.by_slot.get(slot).map(Entry::seen)
    }

    /// All, in the order they began.
    pub fn list(&self) -> Vec<RecordingStatus> {
        self.lock().by_slot.values().map(Entry::seen).collect()
    }

    pub fn running(&self) -> Vec<RecordingSlot> {
        let entries = self.lock();
        let runs = |entry: &Entry| entry.status.state == RecordingState::Recording;
        entries
            .by_slot
            .iter()
            .filter(|(_, entry)| runs(entry))
            .map(|(&slot, _)| slot)
            .collect()
    }

    /// Waits until the recording is over and its receipt written; gives what is known then, or at the timeout.
    pub fn wait_until_settled(&self, recording_id: &str, timeout: Duration) -> Option<RecordingStatus> {
        let waits = |entries: &mut Entries| {
            let slot = entries.slots.get(recording_id);
            slot.and_then(|slot| entries.by_slot.get(slot))
                .is_some_and(|entry| !entry.status.state.is_settled())
        };
        let waited = self.settled.wait_timeout_while(self.lock(), timeout, waits);
        let (entries, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let slot = entries.slots.get(recording_id)?;
        entries.by_slot.get(slot).map(Entry::seen)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn seen(&self) -> RecordingStatus {
        let mut status = self.status.clone();
        if let Some(orders) = &self.orders {
            let orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
            status.paused = status.state == RecordingState::Recording && orders.paused();
            status.bytes = orders.bytes;
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::receipt::{Anchor, Paths};
    use crate::record::take::Beginning;
    use crate::{frame::Rate, time::Tick};

    fn receipt(recording_id: String) -> Receipt {
        let beginning = Beginning {
            slot: RecordingSlot(0),
            recording_id,
            conference_id: "room".to_owned(),
            key: "a.wav".to_owned(),
            requested_key: None,
            paths: Paths::new("".as_ref(), "a", ".wav"),
            rate: Rate::Hz8000,
            anchor: Anchor {
                tick: Tick(0),
                at: jiff::Timestamp::UNIX_EPOCH,
            },
        };
        beginning.receipt()
    }

    fn begin(shelf: &Shelf, recording_id: &str) -> RecordingSlot {
        let slot = shelf.new_slot();
        let status = RecordingStatus::new(&receipt(recording_id.to_owned()), RecordingState::Recording);
        shelf.add(slot, status, Some(Arc::default()));
        slot
    }

    #[test]
    fn no_more_recordings_run_at_once_than_the_limit_and_each_end_makes_room() {
        let shelf = Shelf::new(Box::new(|_| {}));
        for n in 0..ACTIVE_MAX {
            assert!(shelf.admits(&n.to_string()).is_ok());
            begin(&shelf, &n.to_string());
        }
        assert!(matches!(shelf.admits("one more"), Err(RecordError::TooMany)));
        let slot = shelf.running()[5];
        shelf.finishing(slot).expect("it runs");
        assert!(
            matches!(shelf.admits("one more"), Err(RecordError::TooMany)),
            "what is being finished counts"
        );
        shelf.settled(slot, receipt("5".to_owned()), None);
        assert!(shelf.admits("one more").is_ok());
        assert!(matches!(shelf.admits("5"), Err(RecordError::TakenId)));
    }

    #[test]
    fn the_oldest_that_are_over_are_forgotten_and_none_that_runs() {
        let shelf = Shelf::new(Box::new(|_| {}));
        begin(&shelf, "runs");
        for n in 0..SETTLED_MAX + 3 {
            let status = RecordingStatus::new(&receipt(n.to_string()), RecordingState::Available);
            shelf.add(shelf.new_slot(), status, None);
        }
        let listed: Vec<_> = shelf
            .list()
            .into_iter()
            .map(|status| status.recording_id)
            .collect();
        assert_eq!(listed.len(), SETTLED_MAX + 1);
        assert_eq!(listed[..2], ["runs", "3"]);
        assert_eq!(shelf.status("2"), None);
        assert!(shelf.admits("2").is_ok());
    }

    #[test]
    fn a_status_has_the_names_of_the_contract() {
        let mut status = RecordingStatus::new(&receipt("r".to_owned()), RecordingState::Recording);
        status.error = Some("why".to_owned());
        let expected = serde_json::json!({
            "recordingId": "r", "conferenceId": "room", "state": "recording", "paused": false, "key": "a.wav",
            "rate": 8000, "start": "1970-01-01T00:00:00.000Z", "bytes": 0, "error": "why",
        });
        assert_eq!(serde_json::to_value(&status).expect("plain data"), expected);
        let available = RecordingStatus::new(&receipt("r".to_owned()), RecordingState::Available);
        let json = serde_json::to_value(&available).expect("plain data");
        assert_eq!(
            (&json["state"], &json["receipt"]["recordingId"]),
            (&"available".into(), &"r".into())
        );
    }

    #[test]
    fn waiting_ends_with_the_receipt_or_with_the_patience() {
        let shelf = Shelf::new(Box::new(|_| {}));
        let slot = begin(&shelf, "r");
        let waited = shelf
            .wait_until_settled("r", Duration::from_millis(1))
            .expect("it is known");
        assert_eq!(waited.state, RecordingState::Recording);
        shelf.settled(slot, receipt("r".to_owned()), Some("the disk is gone".to_owned()));
        let waited = shelf
            .wait_until_settled("r", Duration::from_secs(60))
            .expect("it is known");
        assert_eq!(
            (waited.state, waited.error.as_deref()),
            (RecordingState::Failed, Some("the disk is gone"))
        );
        assert_eq!(shelf.wait_until_settled("unknown", Duration::from_secs(60)), None);
    }
}
