//! What the recorder says of its recordings, on its way to the pump. Nobody waits here: where too much does, a recording
//! keeps the newest of its states only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::record::RecordingStatus;

/// States that wait in their order: more than can run at once, each with its few states.
const IN_ORDER_MAX: usize = 8_192;

/// Filled on any thread, emptied by one.
#[derive(Default)]
pub struct RecordingNews {
    waiting: Mutex<Waiting>,
    rung: Notify,
}

#[derive(Default)]
struct Waiting {
    in_order: VecDeque<RecordingStatus>,
    /// Of recordings whose states found no room: at most one for each there is.
    newest: BTreeMap<String, RecordingStatus>,
}

impl RecordingNews {
    pub fn tell(&self, status: &RecordingStatus) {
        let mut waiting = self.waiting();
        let Waiting { in_order, newest } = &mut *waiting;
        if in_order.len() < IN_ORDER_MAX && !newest.contains_key(&status.recording_id) {
            in_order.push_back(status.clone());
        } else {
            newest.insert(status.recording_id.clone(), status.clone());
        }
        self.rung.notify_one();
    }

    /// All that waits, at least one: of each recording in the order it was told.
    pub async fn next(&self) -> Vec<RecordingStatus> {
        loop {
            let waiting = std::mem::take(&mut *self.waiting());
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

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordingState;

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
            format: "wav".to_owned(),
            rate: 8_000,
            start: String::new(),
            bytes: 0,
            error: None,
            notifies: true,
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
        news.tell(&status("b", RecordingState::Failed));
        assert_eq!(news.next().await.len(), 1, "there is room again");
    }
}
