//! The thread between the queues and the files. Each round takes what came, writes it, and hands on what is over.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::shelf::Shelf;
use super::take::Take;
use super::tap::{RecordedFrame, RecordingSlot, TapReceiver, TrackNumber};

/// Between two rounds: what a killed daemon can lose of a recording, beside what the disk has not yet.
pub const ROUND: Duration = Duration::from_millis(50);

/// Takes that were begun and not yet seen by the writer.
pub type Begun = Arc<Mutex<Vec<Take>>>;

pub struct Writer {
    rings: Vec<TapReceiver>,
    begun: Begun,
    takes: BTreeMap<RecordingSlot, Take>,
    shelf: Arc<Shelf>,
    /// Has room for every recording that can be active at once: handing on never waits.
    finisher: SyncSender<Take>,
}

impl Writer {
    pub fn new(
        rings: Vec<TapReceiver>,
        begun: Begun,
        shelf: Arc<Shelf>,
        finisher: SyncSender<Take>,
    ) -> Writer {
        Writer {
            rings,
            begun,
            takes: BTreeMap::new(),
            shelf,
            finisher,
        }
    }

    pub fn round(&mut self) {
        self.admit();
        self.takes.values_mut().for_each(Take::obey);
        for ring in 0..self.rings.len() {
            // No more than waits now: a flood cannot keep the round from its end.
            let mut waiting = self.rings[ring].bytes();
            while waiting > 0
                && let Some(frame) = self.rings[ring].pop()
            {
                waiting = waiting.saturating_sub(frame.bytes());
                self.write(&frame);
            }
        }
        let over: Vec<_> = self.takes.extract_if(.., |_, take| take.settle()).collect();
        for (slot, take) in over {
            if let Some(trouble) = take.trouble() {
                let recording_id = &take.beginning.recording_id;
                tracing::warn!(recording_id, trouble, "recording ends before its time");
            }
            // Not running any more when the end was ordered: then that was told already.
            let _ = self.shelf.finishing(slot);
            let handed_on = self.finisher.send(take);
            debug_assert!(handed_on.is_ok(), "the finisher outlives the writer");
        }
    }

    /// Whether a recording runs that has not been handed on.
    pub fn is_busy(&self) -> bool {
        !self.takes.is_empty()
            || !self
                .begun
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
    }

    fn write(&mut self, frame: &RecordedFrame) {
        if !self.takes.contains_key(&frame.slot) {
            // Begun after this round was: its first frame may be here before its take was seen.
            self.admit();
        }
        if let Some(take) = self.takes.get_mut(&frame.slot)
            && frame.track == TrackNumber::MAIN
        {
            take.write(frame);
        }
    }

    fn admit(&mut self) {
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        self.takes
            .extend(begun.into_iter().map(|take| (take.beginning.slot, take)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::frame::Rate;
    use crate::record::receipt::{Anchor, Paths};
    use crate::record::scratch::Scratch;
    use crate::record::take::Beginning;
    use crate::record::wav::WavFile;
    use crate::time::Tick;

    #[test]
    fn the_first_frame_of_a_recording_begun_during_a_round_is_not_lost() {
        let scratch = Scratch::new();
        let begun = Begun::default();
        let shelf = Arc::new(Shelf::new(Box::new(|_| {})));
        let mut writer = Writer::new(Vec::new(), begun.clone(), shelf, mpsc::sync_channel(1).0);
        writer.round();

        let paths = Paths::new(scratch.dir(), "a", ".wav");
        let file = std::fs::File::create_new(&paths.sound).expect("a fresh directory");
        let beginning = Beginning {
            slot: RecordingSlot(3),
            recording_id: "r".to_owned(),
            conference_id: "room".to_owned(),
            key: "a.wav".to_owned(),
            requested_key: None,
            paths,
            rate: Rate::Hz8000,
            anchor: Anchor {
                tick: Tick(0),
                at: jiff::Timestamp::UNIX_EPOCH,
            },
        };
        let wav = WavFile::create(file, 8_000).expect("a writable disk");
        begun
            .lock()
            .unwrap()
            .push(Take::new(beginning, wav, Arc::default()));
        writer.write(&RecordedFrame::sound(
            RecordingSlot(3),
            TrackNumber::MAIN,
            Tick(1),
            Rate::Hz8000,
            &[0.5; 160],
        ));
        writer.round();
        assert_eq!(writer.takes[&RecordingSlot(3)].wav.samples(), 160);
        assert!(writer.is_busy());
    }
}
