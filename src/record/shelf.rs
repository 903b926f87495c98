//! What is known of every recording, running or over: the one place where states change and are told.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::note::Opening;
use super::orders::Orders;
use super::receipt::{Receipt, rfc3339};
use super::recorder::RecordError;
use super::spool::{Length, destination};
use super::tap::RecordingSlot;

/// Recordings that run or are being finished at one time. Those on their way to a store do not count: an outage must not
/// keep others from being begun.
pub const ACTIVE_MAX: usize = 1_024;

/// Recordings that are over and still listed; the oldest go first. Their files stay.
pub const SETTLED_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingState {
    Recording,
    /// Over; the last samples and the hash are being written.
    Finishing,
    /// On its way to the object store.
    Uploading,
    /// Sound and receipt lie where they belong.
    Available,
    /// It cannot be finished; `error` says why, and `receipt` what is known. What there is of it stays in the spool.
    Failed,
}

impl RecordingState {
    pub const ALL: [RecordingState; 5] = [
        RecordingState::Recording,
        RecordingState::Finishing,
        RecordingState::Uploading,
        RecordingState::Available,
        RecordingState::Failed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            RecordingState::Recording => "recording",
            RecordingState::Finishing => "finishing",
            RecordingState::Uploading => "uploading",
            RecordingState::Available => "available",
            RecordingState::Failed => "failed",
        }
    }

    /// Nothing will change any more.
    pub fn is_settled(self) -> bool {
        matches!(self, RecordingState::Available | RecordingState::Failed)
    }

    /// It runs or is being finished.
    pub fn is_active(self) -> bool {
        matches!(self, RecordingState::Recording | RecordingState::Finishing)
    }
}

/// One recording, in the form it has in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingStatus {
    pub recording_id: String,
    pub conference_id: String,
    /// The leg of which this is what that leg is sent; absent: the room's mix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    pub state: RecordingState,
    /// Silence is written now; the time goes on.
    pub paused: bool,
    /// `file://` or `s3://bucket/`, and the key.
    pub destination: String,
    /// Path of the sound, relative to `recording.dir` or in the bucket.
    pub key: String,
    /// The name that was asked for, when it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_key: Option<String>,
    /// Path of the receipt, when `<name>.json` was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<String>,
    /// `wav`, `ogg` or `flac`.
    pub format: String,
    /// Samples per second.
    pub rate: u32,
    /// RFC 3339.
    pub start: String,
    /// Size of the file now.
    pub bytes: u64,
    /// What keeps it from getting on; gone when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether who started it wants to hear of its end.
    #[serde(skip)]
    pub notifies: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A line for the terminal.
impl fmt::Display for RecordingStatus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{}  {}  {}",
            self.recording_id,
            self.destination,
            self.state.name()
        )?;
        if let Some(receipt) = &self.receipt {
            write!(f, ", {}", Length(receipt))?;
        }
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

impl RecordingStatus {
    /// As it is before anything is known but what it was ordered to be.
    pub fn of(opening: &Opening, state: RecordingState) -> RecordingStatus {
        let key = opening.key();
        RecordingStatus {
            recording_id: opening.recording_id.clone(),
            conference_id: opening.conference_id.clone(),
            call_id: opening.call_id.clone(),
            state,
            paused: false,
            destination: destination(opening.bucket.as_deref(), &key),
            key,
            requested_key: opening.requested_key.clone(),
            receipt_key: None,
            format: opening.format.clone(),
            rate: opening.rate,
            start: rfc3339(opening.anchor().at),
            bytes: 0,
            error: None,
            notifies: opening.notifies,
            receipt: None,
        }
    }

    /// As it is when a recording begins, or, after a restart, when a receipt was found.
    pub fn new(receipt: &Receipt, state: RecordingState) -> RecordingStatus {
        RecordingStatus {
            recording_id: receipt.recording_id.clone(),
            conference_id: receipt.conference_id.clone(),
            call_id: receipt.call_id.clone(),
            state,
            paused: false,
            destination: receipt.destination.clone(),
            key: receipt.key.clone(),
            requested_key: receipt.requested_key.clone(),
            receipt_key: receipt.receipt_key.clone(),
            format: receipt.format.clone(),
            rate: receipt.rate,
            start: receipt.start.clone(),
            bytes: receipt.bytes,
            error: None,
            notifies: true,
            receipt: (state == RecordingState::Available).then(|| receipt.clone()),
        }
    }
}

/// Told of each change of state.
pub type Tell = Box<dyn Fn(&RecordingStatus) + Send + Sync>;

pub struct Shelf {
    entries: Mutex<Entries>,
    changed: Condvar,
    tell: Tell,
}

#[derive(Default)]
struct Entries {
    by_slot: BTreeMap<RecordingSlot, Entry>,
    slots: HashMap<String, RecordingSlot>,
    slots_used: u32,
    active: usize,
    settled: usize,
}

struct Entry {
    status: RecordingStatus,
    /// While it runs.
    orders: Option<Arc<Mutex<Orders>>>,
    /// Where the sound lies on this machine, as long as it does.
    path: Option<PathBuf>,
    /// What is in its way, by [`Hindrance`].
    hindrances: [Option<String>; 2],
}

/// Where something is in a recording's way: each clears only its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// The disk.
    File,
    /// The object store.
    Store,
}

impl Shelf {
    pub fn new(tell: Tell) -> Shelf {
        Shelf {
            entries: Mutex::default(),
            changed: Condvar::new(),
            tell,
        }
    }

    /// Says how a recording stands to who is told of changes.
    pub fn tell(&self, status: &RecordingStatus) {
        (self.tell)(status);
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

    pub fn add(
        &self,
        slot: RecordingSlot,
        status: RecordingStatus,
        orders: Option<Arc<Mutex<Orders>>>,
        path: Option<PathBuf>,
    ) {
        let mut entries = self.lock();
        if status.state.is_active() {
            entries.active += 1;
        }
        if status.state.is_settled() {
            entries.settled += 1;
        }
        entries.slots.insert(status.recording_id.clone(), slot);
        let entry = Entry {
            status,
            orders,
            path,
            hindrances: [None, None],
        };
        entries.by_slot.insert(slot, entry);
        entries.drop_oldest();
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

    /// Its files are whole and on their way.
    pub fn uploading(&self, slot: RecordingSlot, receipt: &Receipt) {
        let mut guard = self.lock();
        let entries = &mut *guard;
        // One that was taken back meanwhile is counted out already.
        if let Some(entry) = entries.by_slot.get_mut(&slot) {
            entries.active -= usize::from(entry.status.state.is_active());
            entry.status.state = RecordingState::Uploading;
            entry.status.start = receipt.start.clone();
            entry.status.bytes = receipt.bytes;
            entry.hindrances[Hindrance::File as usize] = None;
            entry.orders = None;
            (self.tell)(&entry.seen());
        }
        self.changed.notify_all();
    }

    /// What keeps a recording from getting on, or that nothing does any more.
    pub fn hindered(&self, slot: RecordingSlot, by: Hindrance, error: Option<String>) {
        if let Some(entry) = self.lock().by_slot.get_mut(&slot)
            && !entry.status.state.is_settled()
        {
            entry.hindrances[by as usize] = error;
        }
        self.changed.notify_all();
    }

    /// It cannot even be read: it fails with nothing but the reason.
    pub fn given_up(&self, slot: RecordingSlot, error: String) {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_slot.get_mut(&slot) {
            let was_active = entry.status.state.is_active();
            entry.status.state = RecordingState::Failed;
            entry.status.error = Some(error);
            entry.path = None;
            (self.tell)(&entry.seen());
            entries.active -= usize::from(was_active);
            entries.settled += 1;
        }
        self.changed.notify_all();
    }

    /// The size of its file.
    pub fn grown(&self, slot: RecordingSlot, bytes: u64) {
        if let Some(entry) = self.lock().by_slot.get_mut(&slot) {
            entry.status.bytes = bytes;
        }
    }

    /// Its sound lies here from now on.
    pub fn lies_at(&self, slot: RecordingSlot, path: PathBuf) {
        if let Some(entry) = self.lock().by_slot.get_mut(&slot) {
            entry.path = Some(path);
        }
    }

    /// It lies where it belongs, or with an error never will. `path`: where its sound is on this machine.
    pub fn settled(
        &self,
        slot: RecordingSlot,
        receipt: Receipt,
        path: Option<PathBuf>,
        error: Option<String>,
    ) {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_slot.get_mut(&slot) {
            let was_active = entry.status.state.is_active();
            entry.status.state = if error.is_none() {
                RecordingState::Available
            } else {
                RecordingState::Failed
            };
            entry.status.start = receipt.start.clone();
            entry.status.bytes = receipt.bytes;
            entry.status.key = receipt.key.clone();
            entry.status.requested_key = receipt.requested_key.clone();
            entry.status.receipt_key = receipt.receipt_key.clone();
            entry.status.destination = receipt.destination.clone();
            entry.status.receipt = Some(receipt);
            entry.status.error = error;
            entry.orders = None;
            entry.path = path;
            (self.tell)(&entry.seen());
            entries.active -= usize::from(was_active);
            entries.settled += 1;
            entries.drop_oldest();
        }
        self.changed.notify_all();
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

    /// So many of them after so many, in the order they began, and how many there are.
    pub fn page(&self, skip: usize, take: usize) -> (usize, Vec<RecordingStatus>) {
        let entries = self.lock();
        let page = entries.by_slot.values().skip(skip).take(take).map(Entry::seen);
        (entries.by_slot.len(), page.collect())
    }

    /// It never began: as if it had not been there.
    pub fn remove(&self, slot: RecordingSlot) {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_slot.remove(&slot) {
            entries.slots.remove(&entry.status.recording_id);
            entries.active -= usize::from(entry.status.state.is_active());
        }
        self.changed.notify_all();
    }

    /// All, in the order they began.
    pub fn list(&self) -> Vec<RecordingStatus> {
        self.lock().by_slot.values().map(Entry::seen).collect()
    }

    /// Where the sound of a recording lies on this machine.
    pub fn path(&self, recording_id: &str) -> Option<PathBuf> {
        let entries = self.lock();
        let slot = entries.slots.get(recording_id)?;
        entries.by_slot.get(slot)?.path.clone()
    }

    /// How many there are in each state.
    pub fn count(&self) -> BTreeMap<RecordingState, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.lock().by_slot.values() {
            *counts.entry(entry.status.state).or_default() += 1;
        }
        counts
    }

    /// Waits until each is available, has failed, or has something in its way, or for the timeout; true when it is so.
    pub fn wait_until_delivered_or_hindered(&self, timeout: Duration) -> bool {
        let waits = |entries: &mut Entries| {
            entries
                .by_slot
                .values()
                .any(|entry| !entry.status.state.is_settled() && entry.hindrances.iter().all(Option::is_none))
        };
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, waits);
        let (entries, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(entries);
        !waited.timed_out()
    }

    /// How many are neither available nor have failed.
    pub fn count_unsettled(&self) -> usize {
        let entries = self.lock();
        entries.by_slot.len() - entries.settled
    }

    /// Whether it is known.
    pub fn has(&self, slot: RecordingSlot) -> bool {
        self.lock().by_slot.contains_key(&slot)
    }

    /// Waits until none is in such a state, or the timeout; true when none is.
    pub fn wait_until_none(&self, timeout: Duration, state: impl Fn(RecordingState) -> bool) -> bool {
        let waits = |entries: &mut Entries| entries.by_slot.values().any(|entry| state(entry.status.state));
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, waits);
        let (entries, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(entries);
        !waited.timed_out()
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
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, waits);
        let (entries, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let slot = entries.slots.get(recording_id)?;
        entries.by_slot.get(slot).map(Entry::seen)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Forgets the oldest that are over, where there are too many of them.
    fn drop_oldest(&mut self) {
        while self.settled > SETTLED_MAX {
            let oldest = self
                .by_slot
                .iter()
                .find(|(_, entry)| entry.status.state.is_settled());
            let Some((&slot, entry)) = oldest else { break };
            let recording_id = entry.status.recording_id.clone();
            self.by_slot.remove(&slot);
            self.slots.remove(&recording_id);
            self.settled -= 1;
        }
    }
}

impl Entry {
    fn seen(&self) -> RecordingStatus {
        let mut status = self.status.clone();
        if !status.state.is_settled() {
            status.error = self.hindrances.iter().flatten().next().cloned();
        }
        if let Some(orders) = &self.orders {
            let orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
            status.paused = status.state == RecordingState::Recording && orders.paused;
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(recording_id: &str) -> Opening {
        Opening {
            recording_id: recording_id.to_owned(),
            conference_id: "room".to_owned(),
            call_id: None,
            bucket: None,
            stem: "a".to_owned(),
            ending: ".wav".to_owned(),
            requested_key: None,
            format: "wav".to_owned(),
            rate: 8_000,
            legs: false,
            has_credentials: false,
            notifies: true,
            anchor_tick: 0,
            anchor_us: 0,
        }
    }

    fn receipt(recording_id: &str) -> Receipt {
        Receipt {
            recording_id: recording_id.to_owned(),
            conference_id: "room".to_owned(),
            call_id: None,
            destination: "file://a.wav".to_owned(),
            key: "a.wav".to_owned(),
            requested_key: None,
            receipt_key: None,
            bytes: 0,
            sha256: String::new(),
            samples: 0,
            format: "wav".to_owned(),
            rate: 8_000,
            start: "1970-01-01T00:00:00.000Z".to_owned(),
            gaps: Vec::new(),
            gap_samples: 0,
            pauses: Vec::new(),
            truncated: false,
            truncated_because: None,
            late_frames: 0,
            attendance: Vec::new(),
            attendance_left_out: 0,
            tracks: Vec::new(),
            tracks_refused: Vec::new(),
        }
    }

    fn begin(shelf: &Shelf, recording_id: &str) -> RecordingSlot {
        let slot = shelf.new_slot();
        let status = RecordingStatus::of(&opening(recording_id), RecordingState::Recording);
        shelf.add(slot, status, Some(Arc::default()), None);
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
        shelf.settled(slot, receipt("5"), None, None);
        assert!(shelf.admits("one more").is_ok());
        assert!(matches!(shelf.admits("5"), Err(RecordError::TakenId)));
    }

    #[test]
    fn one_that_is_taken_back_while_its_files_are_finished_is_counted_out_once() {
        let shelf = Shelf::new(Box::new(|_| {}));
        for n in 0..ACTIVE_MAX {
            begin(&shelf, &n.to_string());
        }
        let slot = shelf.running()[0];
        shelf.remove(slot);
        shelf.uploading(slot, &receipt("0"));
        begin(&shelf, "in its place");
        assert!(matches!(shelf.admits("one more"), Err(RecordError::TooMany)));
    }

    #[test]
    fn the_oldest_that_are_over_are_forgotten_and_none_that_runs() {
        let shelf = Shelf::new(Box::new(|_| {}));
        begin(&shelf, "runs");
        for n in 0..SETTLED_MAX + 3 {
            let status = RecordingStatus::new(&receipt(&n.to_string()), RecordingState::Available);
            shelf.add(shelf.new_slot(), status, None, None);
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
        let mut status = RecordingStatus::of(&opening("r"), RecordingState::Recording);
        status.error = Some("why".to_owned());
        let expected = serde_json::json!({
            "recordingId": "r", "conferenceId": "room", "state": "recording", "paused": false,
            "destination": "file://a.wav", "key": "a.wav", "format": "wav", "rate": 8000, "start": "1970-01-01T00:00:00.000Z", "bytes": 0, "error": "why",
        });
        assert_eq!(serde_json::to_value(&status).expect("plain data"), expected);
        let available = RecordingStatus::new(&receipt("r"), RecordingState::Available);
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
        shelf.settled(slot, receipt("r"), None, Some("the disk is gone".to_owned()));
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
