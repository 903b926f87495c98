//! Recordings of rooms: at most one runs in a room; it ends when it is told to, or with the room.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::legs::no_such_leg;
use super::rooms::no_such_conference;
use super::{Inner, Service, locked};
use crate::control::deeds::Actor;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::{INTERNAL, NO_STORAGE, Refusal};
use crate::control::requests::{RecordingCommand, RecordingOptions};
use crate::control::state::RunningRecording;
use crate::control::views::{Listed, Page};
use crate::driver::Command;
use crate::engine;
use crate::id::{LegId, RecordingSlot};
use crate::record::{Anchor, Audio, BeginRecording, Begun, RecordError, RecordingStatus, Rules};
use crate::room::{Recording, RoomChange};
use crate::time::{TICK, Tick};

/// A recording that runs, and whether the request made it or found it.
pub struct Started {
    pub status: RecordingStatus,
    pub is_new: bool,
    pub notes: Vec<String>,
}

/// What files are called that were made for nobody in particular.
const NO_APPLICATION: &str = "mixminus";

impl Service {
    /// What the configuration says about destinations.
    pub fn recording_rules(&self) -> &Rules {
        &self.inner.recording_rules
    }

    pub async fn start_recording(
        &self,
        conference: &ConferenceId,
        options: RecordingOptions,
        actor: &Actor,
    ) -> Result<Started, Refusal> {
        let inner = &self.inner;
        let _turn = inner.recordings_in_turn.take(conference).await?;
        if let Some(running) = inner.running(conference)? {
            return inner.found(&running, options.notes);
        }
        let (rate, legs) = (options.rate, options.legs);
        let (begun, notes) = inner.begin(conference, None, options, actor).await?;

        let mut state = inner.state();
        let Some(room) = state.rooms.get_mut(conference) else {
            drop(state);
            // The last leg left meanwhile: an empty recording is all there can be.
            let _ = inner.recorder.finish(begun.slot, None);
            return Err(no_such_conference());
        };
        room.recording = Some(RunningRecording {
            id: begun.status.recording_id.clone(),
            slot: begun.slot,
            legs,
        });
        let (engine, slot, members) = (room.engine, room.slot, room.members.clone());
        let tick = inner.tick_now();
        for call in &members {
            let Some(leg) = state.legs.get(call) else { continue };
            if legs {
                let _ = inner.recorder.track(begun.slot, leg.track, call.as_str());
            }
            if leg.has_joined && leg.place.conference == *conference {
                inner.attend(&mut state, call, begun.slot, tick);
            }
        }
        let recording = Recording {
            slot: begun.slot,
            rate,
            legs,
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
            notes,
        })
    }

    /// Starts recording what the leg is sent, whatever room it is in, until it leaves.
    pub async fn start_leg_recording(
        &self,
        call: &CallId,
        options: RecordingOptions,
        actor: &Actor,
    ) -> Result<Started, Refusal> {
        if options.legs {
            return Err(Refusal::bad(
                "`tracks`: what one leg is sent is one track; allowed: mix.",
            ));
        }
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        inner.settled(call).await?;
        let conference = {
            let state = inner.state();
            let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
            if let Some(running) = &leg.recording {
                return inner.found(running, options.notes);
            }
            leg.place.conference.clone()
        };
        let rate = options.rate;
        let (begun, notes) = inner.begin(&conference, Some(call), options, actor).await?;

        let mut state = inner.state();
        let Some(leg) = state.legs.get_mut(call).filter(|leg| leg.motion.is_none()) else {
            drop(state);
            // It was let go meanwhile.
            let _ = inner.recorder.finish(begun.slot, None);
            return Err(no_such_leg());
        };
        leg.recording = Some(RunningRecording {
            id: begun.status.recording_id.clone(),
            slot: begun.slot,
            legs: false,
        });
        let (engine, slot) = (leg.place.engine, leg.place.slot);
        inner.attend(&mut state, call, begun.slot, inner.tick_now());
        let recording = Recording {
            slot: begun.slot,
            rate,
            legs: false,
        };
        inner.send_surely(&mut state, engine, record_leg(slot, Some(recording)));
        inner.tell_recording(&conference, "recording.started", &begun.status);
        tracing::info!(call = %call, recording = begun.status.recording_id, "recording of a leg started");
        Ok(Started {
            status: begun.status,
            is_new: true,
            notes,
        })
    }

    pub async fn change_leg_recording(
        &self,
        call: &CallId,
        command: RecordingCommand,
    ) -> Result<RecordingStatus, Refusal> {
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        inner.settled(call).await?;
        let running = inner.running_of_leg(call)?.ok_or_else(no_leg_recording)?;
        let was_paused = inner.status(&running.id)?.paused;
        let is_pause = command == RecordingCommand::Pause;
        if was_paused != is_pause {
            let paused = {
                let mut state = inner.state();
                let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
                let (engine, slot) = (leg.place.engine, leg.place.slot);
                let (waiting, paused) = oneshot::channel();
                locked(&inner.answers.recordings_paused).insert(running.slot.0, waiting);
                let pause = engine::Command::PauseLegRecording {
                    leg: slot,
                    on: is_pause,
                };
                inner.send_surely(&mut state, engine, Command::Engine(pause));
                paused
            };
            inner.paused(running.slot, paused).await?;
        }
        let status = inner.status(&running.id)?;
        if was_paused != is_pause {
            inner.tell_paused(is_pause, &status);
        }
        Ok(status)
    }

    /// Ends the recording; returns when no more of what the leg is sent goes into it.
    pub async fn stop_leg_recording(&self, call: &CallId) -> Result<RecordingStatus, Refusal> {
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        inner.settled(call).await?;
        let (running, off) = {
            let mut state = inner.state();
            let leg = state.legs.get_mut(call).ok_or_else(no_such_leg)?;
            let running = leg.recording.take().ok_or_else(no_leg_recording)?;
            let (engine, slot) = (leg.place.engine, leg.place.slot);
            let (waiting, off) = oneshot::channel();
            locked(&inner.answers.recordings_off).insert(running.slot.0, waiting);
            inner.send_surely(&mut state, engine, record_leg(slot, None));
            (running, off)
        };
        inner.answer(off).await.inspect_err(|_| {
            locked(&inner.answers.recordings_off).remove(&running.slot.0);
        })?;
        inner.status(&running.id)
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
            inner.tell_paused(is_pause, &status);
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

    fn running(&self, conference: &ConferenceId) -> Result<Option<RunningRecording>, Refusal> {
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

    /// Makes a recording that nothing goes into yet.
    async fn begin(
        self: &Arc<Inner>,
        conference: &ConferenceId,
        call: Option<&CallId>,
        options: RecordingOptions,
        actor: &Actor,
    ) -> Result<(Begun, Vec<String>), Refusal> {
        let request = BeginRecording {
            recording_id: uuid::Uuid::new_v4().to_string(),
            conference_id: conference.to_string(),
            call_id: call.map(ToString::to_string),
            destination: options.destination,
            application: actor.key().unwrap_or(NO_APPLICATION).to_owned(),
            rate: options.rate,
            legs: options.legs,
            notifies: options.notifies,
            now: Anchor {
                tick: self.tick_now(),
                at: jiff::Timestamp::now(),
            },
        };
        let inner = Arc::clone(self);
        let begun = tokio::task::spawn_blocking(move || inner.recorder.begin(request))
            .await
            .map_err(|_| Refusal::new(INTERNAL, "The recorder failed."))?
            .map_err(refused)?;
        Ok((begun, options.notes))
    }

    fn found(&self, running: &RunningRecording, notes: Vec<String>) -> Result<Started, Refusal> {
        Ok(Started {
            status: self.status(&running.id)?,
            is_new: false,
            notes,
        })
    }

    fn running_of_leg(&self, call: &CallId) -> Result<Option<RunningRecording>, Refusal> {
        let state = self.state();
        Ok(state.legs.get(call).ok_or_else(no_such_leg)?.recording.clone())
    }

    /// Tells the engine to send no more sound of the room, or to send it again; returns when that is so.
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
            let (engine, room) = (room.engine, room.slot);
            let (waiting, paused) = oneshot::channel();
            locked(&self.answers.recordings_paused).insert(recording.0, waiting);
            let change = RoomChange::PauseRecording(on);
            let pause = engine::Command::ChangeRoom { room, change };
            self.send_surely(&mut state, engine, Command::Engine(pause));
            paused
        };
        self.paused(recording, paused).await
    }

    /// Waits until the engine has obeyed.
    async fn paused(
        &self,
        recording: RecordingSlot,
        paused: oneshot::Receiver<Option<()>>,
    ) -> Result<(), Refusal> {
        let answer = self.answer(paused).await.inspect_err(|_| {
            locked(&self.answers.recordings_paused).remove(&recording.0);
        })?;
        answer.ok_or_else(no_recording)
    }

    /// The engine sends no sound of the recording now, or does again.
    pub(super) fn recording_paused(&self, slot: RecordingSlot, on: bool) {
        // What fails here was said of a recording that has just ended.
        let _ = match on {
            true => self.recorder.pause(slot),
            false => self.recorder.resume(slot),
        };
        if let Some(waiting) = locked(&self.answers.recordings_paused).remove(&slot.0) {
            let _ = waiting.send(Some(()));
        }
    }

    fn tell_paused(&self, is_pause: bool, status: &RecordingStatus) {
        let kind = if is_pause {
            "recording.paused"
        } else {
            "recording.resumed"
        };
        if let Ok(conference) = ConferenceId::parse(&status.conference_id) {
            let _in_order = self.state();
            self.tell_recording(&conference, kind, status);
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
        let call = status
            .call_id
            .as_deref()
            .and_then(|call| CallId::parse(call).ok());
        self.tell(conference, call.as_ref(), kind, recording_fields(status));
    }
}

/// What an event says of a recording.
pub(super) fn recording_fields(status: &RecordingStatus) -> Map<String, Value> {
    Map::from_iter([
        ("recordingId".to_owned(), status.recording_id.clone().into()),
        ("destination".to_owned(), status.destination.clone().into()),
    ])
}

fn record_leg(leg: LegId, recording: Option<Recording>) -> Command {
    Command::Engine(engine::Command::RecordLeg { leg, recording })
}

fn refused(error: RecordError) -> Refusal {
    match error {
        RecordError::NoSpace => {
            Refusal::new(NO_STORAGE, "There is no room left on the disk for a recording.")
        }
        RecordError::NoFolder | RecordError::NoStore => Refusal::bad(format!("`destinationUrl`: {error}.")),
        RecordError::TooMany | RecordError::Stopping => Refusal::unavailable(sentence(&error), 5),
        RecordError::TakenId | RecordError::TakenName | RecordError::NotRunning => {
            Refusal::conflict(sentence(&error))
        }
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

fn no_leg_recording() -> Refusal {
    Refusal::not_found("What this leg is sent is not being recorded.")
}

fn no_such_recording() -> Refusal {
    Refusal::not_found("There is no such recording.")
}
