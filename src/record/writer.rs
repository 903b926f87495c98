//! The thread between the rings and the journals. Each round takes what came, writes it, and lets go of what is over.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::disk::Ballast;
use super::journal::WriteError;
use super::orders::Written;
use super::shelf::Shelf;
use super::take::Take;
use super::tap::{RecordedFrame, TapReceiver};
use crate::id::RecordingSlot;

/// Between two rounds: the most of a recording that lies in memory only.
pub const ROUND: Duration = Duration::from_millis(40);

/// Frames taken from one ring in one round: more than a ring holds, so that a flood cannot keep the round from its end.
const FRAMES_PER_ROUND_MAX: usize = 65_536;

/// A take that was begun and not yet seen by the writer, and that by which whoever reads its journal learns that
/// nothing more comes.
pub type Begun = Arc<Mutex<Vec<(Take, Arc<Written>)>>>;

pub struct Writer {
    rings: Vec<TapReceiver>,
    begun: Begun,
    takes: BTreeMap<RecordingSlot, (Take, Arc<Written>)>,
    shelf: Arc<Shelf>,
    ballast: Arc<Mutex<Ballast>>,
}

impl Writer {
    pub fn new(
        rings: Vec<TapReceiver>,
        begun: Begun,
        shelf: Arc<Shelf>,
        ballast: Arc<Mutex<Ballast>>,
    ) -> Writer {
        Writer {
            rings,
            begun,
            takes: BTreeMap::new(),
            shelf,
            ballast,
        }
    }

    pub fn round(&mut self) {
        self.admit();
        for (take, _) in self.takes.values_mut() {
            guarded(take, Take::obey);
        }
        for ring in 0..self.rings.len() {
            for _ in 0..FRAMES_PER_ROUND_MAX {
                let Some(frame) = self.rings[ring].pop() else {
                    break;
                };
                self.hear(frame);
            }
        }
        let mut over: Vec<_> = self
            .takes
            .extract_if(.., |_, (take, _)| guarded(take, Take::settle).unwrap_or(true))
            .map(|(_, over)| over)
            .collect();
        if over.iter().any(|(take, _)| take.is_disk_full()) {
            self.ballast
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .release();
            // What runs ends here as well: it would only use up what the others need to end well.
            for (_, (mut take, written)) in std::mem::take(&mut self.takes) {
                take.give_up(&WriteError::Full);
                over.push((take, written));
            }
        }
        for (mut take, written) in over {
            let mut unwritten = None;
            if let Some(trouble) = take.trouble() {
                tracing::error!(
                    recording = take.recording_id,
                    trouble,
                    "recording ends before its time"
                );
                unwritten = guarded(&mut take, Take::write_ending).flatten();
            }
            // Not running any more when the end was ordered: then that was told already.
            let _ = self.shelf.finishing(take.slot);
            written.is_over_now(unwritten);
        }
    }

    /// Whether a recording runs.
    pub fn is_busy(&self) -> bool {
        !self.takes.is_empty()
            || !self
                .begun
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
    }

    fn hear(&mut self, frame: RecordedFrame) {
        if !self.takes.contains_key(&frame.slot) {
            // Begun after this round was: its first frame may be here before its take was seen.
            self.admit();
        }
        if let Some((take, _)) = self.takes.get_mut(&frame.slot) {
            guarded(take, |take| take.hear(frame));
        }
    }

    fn admit(&mut self) {
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        for (mut take, written) in begun {
            guarded(&mut take, Take::obey);
            self.takes.insert(take.slot, (take, written));
        }
    }
}

/// Does something with a take. A panic is a defect of ours, and that recording's alone: it ends with what is in its
/// journal, and the others go on.
fn guarded<T>(take: &mut Take, act: impl FnOnce(&mut Take) -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(|| act(take)));
    if done.is_err() {
        take.break_off("a defect of the recorder");
    }
    done.ok()
}
