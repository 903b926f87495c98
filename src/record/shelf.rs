//! What is known of every recording, running or over: the one place where states change and are told.
//!
//! The receipts of what is available are told and then let go of: one may list ten thousand stays. They are in the spool.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::note::Opening;
use super::orders::Orders;
use super::receipt::{Receipt, rfc3339};
use super::recorder::RecordError;
use super::spool::{Length, Told, destination};
use super::tap::RecordingSlot;

/// Recordings that run or are being finished at one time. Those on their way to a store do not count, nor those that an
/// earlier run has left: an outage must not keep others from being begun.
pub const ACTIVE_MAX: usize = 1_024;

/// Recordings that are over and still listed; those that are so since longest go first. Their files stay.
pub const SETTLED_MAX: usize = 10_000;

/// Receipts of recordings that have failed: they are nowhere but here.
const FAILED_RECEIPTS_MAX: usize = 100;

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
    /// It cannot be finished; `error` says why, and `receipt` what is known, of the last hundred. What there is of it stays
    /// in the spool.
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
    /// All have been told that it is in this state, by an earlier life.
    #[serde(skip)]
    pub was_told: bool,
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
            was_told: false,
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
            was_told: false,
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
    /// In the order in which they were; those of earlier runs in that of their beginnings.
    settled: VecDeque<RecordingSlot>,
    /// How many of them are listed.
    settled_max: usize,
    /// Those of them with a receipt here.
    failed: VecDeque<RecordingSlot>,
}

struct Entry {
    status: RecordingStatus,
    /// Among those that run or are being finished.
    counts: bool,
    /// While it runs.
    orders: Option<Arc<Mutex<Orders>>>,
    /// Where the sound lies on this machine, as long as it does.
    path: Option<PathBuf>,
    /// What is in its way, by [`Hindrance`].
    hindrances: [Option<String>; 2],
    /// By earlier lives.
    told: Told,
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
            entries: Mutex::new(Entries {
                settled_max: SETTLED_MAX,
                ..Entries::default()
            }),
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
        // What has nobody who orders is left from earlier.
        let counts = orders.is_some() && status.state.is_active();
        entries.active += usize::from(counts);
        if status.state.is_settled() {
            entries.settled.push_back(slot);
        }
        entries.slots.insert(status.recording_id.clone(), slot);
        let entry = Entry {
            status,
            counts,
            orders,
            path,
            hindrances: [None, None],
            told: Told::default(),
        };
        entries.by_slot.insert(slot, entry);
    }

    /// What earlier lives have told of its end is told as such.
    pub fn was_told(&self, slot: RecordingSlot, told: Told) {
        if let Some(entry) = self.lock().by_slot.get_mut(&slot) {
            entry.told = told;
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

    /// Its files are whole and on their way.
    pub fn uploading(&self, slot: RecordingSlot, receipt: &Receipt) {
        let mut guard = self.lock();
        let entries = &mut *guard;
        // One that was taken back meanwhile is counted out already.
        if let Some(entry) = entries.by_slot.get_mut(&slot) {
            entries.active -= entry.count_out();
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

    /// It cannot even be read: it fails with nothing but the reason. Gives the ids of those that are forgotten for it.
    #[must_use]
    pub fn given_up(&self, slot: RecordingSlot, error: String) -> Vec<String> {
        let mut guard = self.lock();
        let entries = &mut *guard;
        if let Some(entry) = entries.by_slot.get_mut(&slot) {
            entry.status.state = RecordingState::Failed;
            entry.status.error = Some(error);
            entry.path = None;
            (self.tell)(&entry.seen());
            entries.active -= entry.count_out();
            entries.settled.push_back(slot);
        }
        self.changed.notify_all();
        entries.drop_oldest()
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

    /// It lies where it belongs, or with an error never will. `path`: where its sound is on this machine. Gives the ids
    /// of those that are forgotten for it.
    #[must_use]
    pub fn settled(
        &self,
        slot: RecordingSlot,
        receipt: Receipt,
        path: Option<PathBuf>,
        error: Option<String>,
    ) -> Vec<String> {
        let mut guard = self.lock();
        let entries = &mut *guard;
        if let Some(entry) = entries.by_slot.get_mut(&slot) {
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
            // From now on it is read where it is kept.
            match entry.status.state {
                RecordingState::Available => entry.status.receipt = None,
                _ => entries.failed.push_back(slot),
            }
            entries.active -= entry.count_out();
            entries.settled.push_back(slot);
        }
        self.changed.notify_all();
        entries.drop_oldest()
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

    /// Without the receipt of one that is available, as all that is given from here.
    pub fn status(&self, recording_id: &str) -> Option<RecordingStatus> {
        let entries = self.lock();
        let slot = entries.slots.get(recording_id)?;
        entries.by_slot.get(slot).map(Entry::seen)
    }

    pub fn status_of(&self, slot: RecordingSlot) -> Option<RecordingStatus> {
        self.lock().by_slot.get(&slot).map(Entry::seen)
    }

    /// So many of them after so many, in the order they began, and how many there are.
    pub fn page(&self, skip: usize, take: usize) -> (usize, Vec<RecordingStatus>) {
        let entries = self.lock();
        let page = entries.by_slot.values().skip(skip).take(take).map(Entry::seen);
        (entries.by_slot.len(), page.collect())
    }

    /// It never began: as if it had not been there. What is on its way or in its place has been told, and stays.
    pub fn remove(&self, slot: RecordingSlot) {
        let mut entries = self.lock();
        let is_active = |entry: &Entry| entry.status.state.is_active();
        if entries.by_slot.get(&slot).is_some_and(is_active)
            && let Some(mut entry) = entries.by_slot.remove(&slot)
        {
            entries.slots.remove(&entry.status.recording_id);
            entries.active -= entry.count_out();
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
        entries.by_slot.len() - entries.settled.len()
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

    /// As if [`SETTLED_MAX`] were this.
    #[cfg(test)]
    pub fn list_at_most(&self, settled: usize) {
        self.lock().settled_max = settled;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Forgets those that are over since longest, where there are too many of them. Gives their ids.
    fn drop_oldest(&mut self) -> Vec<String> {
        if self.failed.len() > FAILED_RECEIPTS_MAX
            && let Some(slot) = self.failed.pop_front()
            && let Some(entry) = self.by_slot.get_mut(&slot)
        {
            entry.status.receipt = None;
        }
        let beyond = self.settled.len().saturating_sub(self.settled_max);
        let mut ids = Vec::new();
        for slot in self.settled.drain(..beyond) {
            if let Some(entry) = self.by_slot.remove(&slot) {
                self.slots.remove(&entry.status.recording_id);
                ids.push(entry.status.recording_id);
            }
        }
        ids
    }
}

impl Entry {
    /// One less of those that run or are being finished, if it is one.
    fn count_out(&mut self) -> usize {
        usize::from(mem::take(&mut self.counts))
    }

    fn seen(&self) -> RecordingStatus {
        let mut status = self.status.clone();
        status.was_told = match status.state {
            RecordingState::Finishing => self.told.finished,
            RecordingState::Failed => self.told.failed,
            RecordingState::Recording | RecordingState::Uploading | RecordingState::Available => false,
        };
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
mod tests;
