//! What the recorder says of its recordings, on its way to the pump. Nobody waits here: where too much does, a recording
//! keeps the newest of its states only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::record::{RecordingState, RecordingStatus};

/// States that wait in their order: more than can run at once, each with its few states.
const IN_ORDER_MAX: usize = 8_192;

/// Why no event tells of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// Too much waited: a newer state of the recording took its place.
    Crowded,
    /// The recording cannot be read, and nobody knows in which room it was.
    NoRoom,
}

impl Untold {
    pub const ALL: [Untold; 2] = [Untold::Crowded, Untold::NoRoom];

    pub fn name(self) -> &'static str {
        match self {
            Untold::Crowded => "crowded",
            Untold::NoRoom => "no_room",
        }
    }
}

/// Filled on any thread, emptied by one.
#[derive(Default)]
pub struct RecordingNews {
    waiting: Mutex<Waiting>,
    rung: Notify,
    /// States that the reader has taken and done with.
    handed_on: watch::Sender<u64>,
    untold: [AtomicU64; Untold::ALL.len()],
}

#[derive(Default)]
struct Waiting {
    in_order: VecDeque<RecordingStatus>,
    /// Of recordings whose states found no room: at most one for each there is.
    newest: BTreeMap<String, RecordingStatus>,
    /// States that were told here, and how many of them the reader has taken.
    told: u64,
    taken: u64,
}

impl RecordingNews {
    pub fn tell(&self, status: &RecordingStatus) {
        let mut waiting = self.waiting();
        waiting.told += 1;
        let Waiting { in_order, newest, .. } = &mut *waiting;
        if in_order.len() < IN_ORDER_MAX && !newest.contains_key(&status.recording_id) {
            in_order.push_back(status.clone());
        } else if newest
            .insert(status.recording_id.clone(), status.clone())
            .is_some_and(|before| before.state != RecordingState::Uploading)
        {
            self.count(Untold::Crowded);
        }
        self.rung.notify_one();
    }

    /// No event tells of a state.
    pub fn count(&self, why: Untold) {
        self.untold[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// States that no event tells of, by [`Untold`].
    pub fn untold(&self) -> [u64; Untold::ALL.len()] {
        self.untold.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// All that waits, at least one: of each recording in the order it was told. Whoever asks again has handed on what
    /// came before.
    pub async fn next(&self) -> Vec<RecordingStatus> {
        self.handed_on.send_replace(self.waiting().taken);
        loop {
            let waiting = self.take();
            if !waiting.newest.is_empty() {
                tracing::warn!(
                    recordings = waiting.newest.len(),
                    "of too much news of recordings only the newest is told"
                );
            }
            let news = Vec::from_iter(waiting.in_order.into_iter().chain(waiting.newest.into_values()));
            if !news.is_empty() {
                return news;
            }
            self.rung.notified().await;
        }
    }

    /// Returns when all that was told before has been handed on by who reads.
    pub async fn all_handed_on(&self) {
        let told = self.waiting().told;
        // The sender is here: it cannot be gone.
        let _ = self
            .handed_on
            .subscribe()
            .wait_for(|handed_on| *handed_on >= told)
            .await;
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting();
        let told = waiting.told;
        let rest = Waiting {
            told,
            taken: told,
            ..Waiting::default()
        };
        std::mem::replace(&mut *waiting, rest)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn status(recording_id: &str, state: RecordingState) -> RecordingStatus {
        RecordingStatus {
            recording_id: recording_id.to_owned(),
            conference_id: "r".to_owned(),
            call_id: None,
            state,
            paused: false,
            destination: "file://a.wav".to_owned(),
            key: "a.wav".to_owned(),
            requested_key: None,
            receipt_key: None,
            format: "wav".to_owned(),
            rate: 8_000,
            start: String::new(),
            bytes: 0,
            error: None,
            notifies: true,
            was_told: false,
            receipt: None,
        }
    }

    #[tokio::test]
    async fn where_too_much_waits_the_last_state_of_each_recording_is_told_all_the_same() {
        let news = RecordingNews::default();
        for _ in 0..IN_ORDER_MAX - 1 {
            news.tell(&status("flood", RecordingState::Finishing));
        }
        for state in [
            RecordingState::Finishing,
            RecordingState::Uploading,
            RecordingState::Available,
        ] {
            news.tell(&status("a", state));
            news.tell(&status("b", state));
        }
        let told = news.next().await;
        let of = |id: &str| -> Vec<RecordingState> {
            let of = told.iter().filter(|status| status.recording_id == id);
            of.map(|status| status.state).collect()
        };
        assert_eq!(of("a"), [RecordingState::Finishing, RecordingState::Available]);
        assert_eq!(of("b"), [RecordingState::Available]);
        assert_eq!(news.untold(), [1, 0], "that b is over");
        news.tell(&status("b", RecordingState::Failed));
        assert_eq!(news.next().await.len(), 1, "there is room again");
    }

    /// What a future has to say without being waited for.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(future).poll(&mut context) {
            Poll::Ready(told) => Some(told),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_is_taken_is_handed_on_no_sooner_than_the_next_is_asked_for() {
        let news = RecordingNews::default();
        let is_handed_on = || now(news.all_handed_on()).is_some();
        assert!(is_handed_on(), "there is nothing");
        news.tell(&status("a", RecordingState::Finishing));
        assert!(!is_handed_on(), "nobody has taken it");
        assert_eq!(news.next().await.len(), 1);
        assert!(!is_handed_on(), "who took it has not told it yet");
        news.tell(&status("a", RecordingState::Available));
        assert_eq!(news.next().await.len(), 1);
        assert!(!is_handed_on());
        assert!(now(news.next()).is_none());
        assert!(is_handed_on());
    }
}
