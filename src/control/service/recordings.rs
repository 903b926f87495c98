//! Recordings of rooms: at most one runs in a room; it ends when it is told to, or with the room.

use std::sync::Arc;

use serde_json::Map;
use tokio::sync::oneshot;

use super::rooms::no_such_conference;
use super::{Inner, Service, locked};
use crate::control::ids::ConferenceId;
use crate::control::refusal::{INTERNAL, NO_STORAGE, Refusal};
use crate::control::requests::{RecordingCommand, RecordingOptions};
use crate::control::state::RoomRecording;
use crate::control::views::{Listed, Page};
use crate::driver::Command;
use crate::engine;
use crate::id::{RecordingSlot, RoomId};
use crate::record::{Anchor, Audio, BeginRecording, RecordError, RecordingStatus};
use crate::room::{Recording, RoomChange};
use crate::time::{TICK, Tick};

/// A recording that runs, and whether the request made it or found it.
pub struct Started {
    pub status: RecordingStatus,
    pub is_new: bool,
    pub notes: Vec<String>,
}

impl Service {
    pub async fn start_recording(
        &self,
        conference: &ConferenceId,
        options: RecordingOptions,
    ) -> Result<Started, Refusal> {
        let inner = &self.inner;
        let _turn = inner.recordings_in_turn.take(conference).await?;
        if let Some(running) = inner.running(conference)? {
            return Ok(Started {
                status: inner.status(&running.id)?,
                is_new: false,
                notes: options.notes,
            });
        }
        let request = BeginRecording {
            recording_id: uuid::Uuid::new_v4().to_string(),
            conference_id: conference.to_string(),
            destination: options.destination,
            rate: options.rate,
            now: Anchor {
                tick: inner.tick_now(),
                at: jiff::Timestamp::now(),
            },
        };
        let recorder = Arc::clone(inner);
        let begun = tokio::task::spawn_blocking(move || recorder.recorder.begin(request))
            .await
            .map_err(|_| Refusal::new(INTERNAL, "The recorder failed."))?
            .map_err(refused)?;

        let mut state = inner.state();
        let Some(room) = state.rooms.get_mut(conference) else {
            drop(state);
            // The last leg left meanwhile: an empty recording is all there can be.
            let _ = inner.recorder.finish(begun.slot, None);
            return Err(no_such_conference());
        };
        room.recording = Some(RoomRecording {
            id: begun.status.recording_id.clone(),
            slot: begun.slot,
        });
        let (engine, slot, members) = (room.engine, room.slot, room.members.clone());
        let tick = inner.tick_now();
        for call in &members {
            let is_in = state
                .legs
                .get(call)
                .is_some_and(|leg| leg.has_joined && leg.place.conference == *conference);
            if is_in {
                inner.attend(&mut state, call, begun.slot, tick);
            }
        }
        let recording = Recording {
            slot: begun.slot,
            rate: options.rate,
            legs: false,
        };
        let change = RoomChange::Record(Some(recording));
        inner.send_surely(
            &mut state,
            engine,
            Command::Engine(engine::Command::ChangeRoom { room: slot, change }),
        );
        inner.tell_recording(conference, "recording.started", &begun.status);
        tracing::info!(conference = %conference, recording = begun.status.recording_id, "recording started");
        Ok(Started {
            status: begun.status,
            is_new: true,
            notes: options.notes,
        })
    }

    pub async fn change_recording(
        &self,
        conference: &ConferenceId,
        command: RecordingCommand,
    ) -> Result<RecordingStatus, Refusal> {
        let inner = &self.inner;
        let _turn = inner.recordings_in_turn.take(conference).await?;
        let running = inner.running(conference)?.ok_or_else(no_recording)?;
        let was_paused = inner.status(&running.id)?.paused;
        let is_pause = command == RecordingCommand::Pause;
        if was_paused != is_pause {
            inner.pause_room(conference, running.slot, is_pause).await?;
        }
        let status = inner.status(&running.id)?;
        if was_paused != is_pause {
            let kind = if is_pause {
                "recording.paused"
            } else {
                "recording.resumed"
            };
            let _in_order = inner.state();
            inner.tell_recording(conference, kind, &status);
        }
        Ok(status)
    }

    /// Ends the recording; returns when no more of the room goes into it.
    pub async fn stop_recording(&self, conference: &ConferenceId) -> Result<RecordingStatus, Refusal> {
        let inner = &self.inner;
        let _turn = inner.recordings_in_turn.take(conference).await?;
        let (running, off) = {
            let mut state = inner.state();
            let room = state.rooms.get_mut(conference).ok_or_else(no_such_conference)?;
            let running = room.recording.take().ok_or_else(no_recording)?;
            let (engine, slot) = (room.engine, room.slot);
            let (waiting, off) = oneshot::channel();
            locked(&inner.answers.recordings_off).insert(running.slot.0, waiting);
            let change = RoomChange::Record(None);
            inner.send_surely(
                &mut state,
                engine,
                Command::Engine(engine::Command::ChangeRoom { room: slot, change }),
            );
            (running, off)
        };
        inner.answer(off).await.inspect_err(|_| {
            locked(&inner.answers.recordings_off).remove(&running.slot.0);
        })?;
        inner.status(&running.id)
    }

    /// All that is known, oldest first.
    pub fn recordings(&self, page: Page) -> Listed<RecordingStatus> {
        let all = self.inner.recorder.list();
        let total = all.len();
        let skipped = (page.page - 1).saturating_mul(page.size);
        Listed {
            items: all.into_iter().skip(skipped).take(page.size).collect(),
            page,
            total,
        }
    }

    pub fn recording(&self, id: &str) -> Result<RecordingStatus, Refusal> {
        self.inner.status(id)
    }

    pub fn recording_audio(&self, id: &str) -> Result<Audio, Refusal> {
        self.inner.recorder.audio(id).ok_or_else(no_such_recording)
    }
}

impl Inner {
    pub(super) fn tick_now(&self) -> Tick {
        Tick(self.driver.clock().now().as_nanos() / TICK.as_nanos() as u64)
    }

    fn running(&self, conference: &ConferenceId) -> Result<Option<RoomRecording>, Refusal> {
        Ok(self
            .state()
            .rooms
            .get(conference)
            .ok_or_else(no_such_conference)?
            .recording
            .clone())
    }

    fn status(&self, id: &str) -> Result<RecordingStatus, Refusal> {
        self.recorder.status(id).ok_or_else(no_such_recording)
    }

    /// Tells the engine to send no more sound of the room, or to send it again; returns when that is so, and the recorder
    /// knows since which tick.
    async fn pause_room(
        &self,
        conference: &ConferenceId,
        recording: RecordingSlot,
        on: bool,
    ) -> Result<(), Refusal> {
        let paused = {
            let mut state = self.state();
            let room = state.rooms.get(conference).ok_or_else(no_such_conference)?;
            if room.recording.as_ref().map(|running| running.slot) != Some(recording) {
                return Err(no_recording());
            }
            let (engine, slot) = (room.engine, room.slot);
            let (waiting, paused) = oneshot::channel();
            locked(&self.answers.recordings_paused).insert(recording.0, waiting);
            self.send_surely(&mut state, engine, pause(slot, on));
            paused
        };
        let answer = self.answer(paused).await.inspect_err(|_| {
            locked(&self.answers.recordings_paused).remove(&recording.0);
        })?;
        answer.ok_or_else(no_recording)?.map_err(|error| {
            // A pause that the recorder has no place for is none.
            let mut state = self.state();
            if let Some(room) = state.rooms.get(conference) {
                let (engine, slot) = (room.engine, room.slot);
                self.send_surely(&mut state, engine, pause(slot, !on));
            }
            refused(error)
        })
    }

    /// Since this tick the engine sends no sound of the recording, or does again.
    pub(super) fn recording_paused(&self, slot: RecordingSlot, on: bool, tick: Tick) {
        let noted = match on {
            true => self.recorder.pause(slot, tick),
            false => self.recorder.resume(slot, tick),
        };
        if let Some(waiting) = locked(&self.answers.recordings_paused).remove(&slot.0) {
            let _ = waiting.send(Some(noted));
        }
    }

    /// The engine no longer taps the room: `tick` is the first that is not in the recording, 0 if none was.
    pub(super) fn recording_off(&self, slot: RecordingSlot, tick: Tick) {
        let last = tick.0.checked_sub(1).map(Tick);
        // One that ended by itself, at a full disk, is over already.
        let _ = self.recorder.finish(slot, last);
        if let Some(waiting) = locked(&self.answers.recordings_off).remove(&slot.0) {
            let _ = waiting.send(());
        }
        if let Some(waiting) = locked(&self.answers.recordings_paused).remove(&slot.0) {
            let _ = waiting.send(None);
        }
    }

    fn tell_recording(&self, conference: &ConferenceId, kind: &'static str, status: &RecordingStatus) {
        let fields = Map::from_iter([
            ("recordingId".to_owned(), status.recording_id.clone().into()),
            ("destination".to_owned(), format!("file://{}", status.key).into()),
        ]);
        self.tell(conference, None, kind, fields);
    }
}

fn pause(room: RoomId, on: bool) -> Command {
    let change = RoomChange::PauseRecording(on);
    Command::Engine(engine::Command::ChangeRoom { room, change })
}

fn refused(error: RecordError) -> Refusal {
    match error {
        RecordError::NoSpace => {
            Refusal::new(NO_STORAGE, "There is no room left on the disk for a recording.")
        }
        RecordError::NoFolder => Refusal::bad(format!("`destinationUrl`: {error}.")),
        RecordError::TooMany | RecordError::Stopping => Refusal::unavailable(sentence(&error), 5),
        RecordError::TakenId
        | RecordError::TakenName
        | RecordError::NotRunning
        | RecordError::TooManyPauses => Refusal::conflict(sentence(&error)),
        RecordError::BadId | RecordError::Disk(_) => {
            tracing::error!(%error, "a recording could not be made");
            Refusal::new(INTERNAL, "The recording's file could not be made.")
        }
    }
}

fn sentence(error: &RecordError) -> String {
    format!("Recording: {error}.")
}

fn no_recording() -> Refusal {
    Refusal::not_found("No recording runs in this conference.")
}

fn no_such_recording() -> Refusal {
    Refusal::not_found("There is no such recording.")
}
