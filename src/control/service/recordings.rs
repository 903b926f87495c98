//! Recordings of rooms: at most one runs in a room; it ends when it is told to, or with the room.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::admission::Why;
use super::legs::no_such_leg;
use super::rooms::no_such_conference;
use super::{Inner, Service, locked};
use crate::control::admission::{Asker, Need};
use crate::control::blocking::{self, Failed};
use crate::control::deeds::Actor;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::{INTERNAL, NO_STORAGE, Refusal};
use crate::control::requests::{RecordingCommand, RecordingOptions};
use crate::control::state::{RunningRecording, State, fds_of_recording};
use crate::control::views::{Listed, Page};
use crate::driver::Command;
use crate::engine;
use crate::frame::Rate;
use crate::id::{LegId, RecordingSlot};
use crate::record::{Anchor, Audio, BeginRecording, Begun, RecordError, Recorder, RecordingStatus, Rules};
use crate::room::{Recording, RoomChange};
use crate::time::{TICK, Tick};

/// A recording that runs, and whether the request made it or found it.
pub struct Started {
    pub status: RecordingStatus,
    pub is_new: bool,
    pub notes: Vec<String>,
}

/// A recording of which the recorder says that it runs.
struct Running {
    recording: RunningRecording,
    status: RecordingStatus,
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
            return Ok(running.found(options.notes));
        }
        let (rate, legs) = (options.rate, options.legs);
        // Before anything is made for it.
        inner.has_room_for_recording(&inner.state(), conference, legs)?;
        let (begun, notes) = inner.begin(conference, None, options, actor).await?;

        if let Err(refusal) = inner.record_room(conference, &begun, rate, legs) {
            // The last leg left meanwhile, or others came.
            inner.cancel(begun.slot).await;
            return Err(refusal);
        }
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
        if let Some(running) = inner.running_of_leg(call)? {
            return Ok(running.found(options.notes));
        }
        let conference = {
            let state = inner.state();
            let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
            leg.place.conference.clone()
        };
        let rate = options.rate;
        let (begun, notes) = inner.begin(&conference, Some(call), options, actor).await?;

        if let Err(refusal) = inner.record_what_is_sent(call, &begun, rate) {
            // It was let go meanwhile.
            inner.cancel(begun.slot).await;
            return Err(refusal);
        }
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
        let Running { recording, status } = inner.running_of_leg(call)?.ok_or_else(no_leg_recording)?;
        let is_pause = command == RecordingCommand::Pause;
        if status.paused != is_pause {
            let paused = {
                let mut state = inner.state();
                let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
                let (engine, slot) = (leg.place.engine, leg.place.slot);
                let (waiting, paused) = oneshot::channel();
                locked(&inner.answers.recordings_paused).insert(recording.slot.0, waiting);
                let pause = engine::Command::PauseLegRecording {
                    leg: slot,
                    on: is_pause,
                };
                inner.send_surely(&mut state, engine, Command::Engine(pause));
                paused
            };
            inner.paused(recording.slot, paused).await?;
        }
        inner
            .status_while_it_runs(&recording)
            .ok_or_else(no_leg_recording)
    }

    /// Ends the recording; returns when no more of what the leg is sent goes into it.
    pub async fn stop_leg_recording(&self, call: &CallId) -> Result<RecordingStatus, Refusal> {
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        inner.settled(call).await?;
        let (running, off) = {
            let mut state = inner.state();
            let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
            let (engine, slot) = (leg.place.engine, leg.place.slot);
            let running = state.unrecord_leg(call, |_| true).ok_or_else(no_leg_recording)?;
            let (waiting, off) = oneshot::channel();
            locked(&inner.answers.recordings_off).insert(running.slot.0, waiting);
            inner.send_surely(&mut state, engine, record_leg(slot, None));
            (running, off)
        };
        inner.is_off(running.slot, off).await?;
        inner.status(&running.id).await
    }

    pub async fn change_recording(
        &self,
        conference: &ConferenceId,
        command: RecordingCommand,
    ) -> Result<RecordingStatus, Refusal> {
        let inner = &self.inner;
        let _turn = inner.recordings_in_turn.take(conference).await?;
        let Running { recording, status } = inner.running(conference)?.ok_or_else(no_recording)?;
        let is_pause = command == RecordingCommand::Pause;
        if status.paused != is_pause {
            inner.pause_room(conference, recording.slot, is_pause).await?;
        }
        inner.status_while_it_runs(&recording).ok_or_else(no_recording)
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
            state.account_for_room(conference);
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
        inner.is_off(running.slot, off).await?;
        inner.status(&running.id).await
    }

    /// All that is known, oldest first.
    pub async fn recordings(&self, page: Page) -> Result<Listed<RecordingStatus>, Refusal> {
        let skipped = (page.page - 1).saturating_mul(page.size);
        let read = self.inner.read(move |recorder| recorder.page(skipped, page.size));
        let (total, items) = read.await?;
        Ok(Listed { items, page, total })
    }

    pub async fn recording(&self, id: &str) -> Result<RecordingStatus, Refusal> {
        self.inner.status(id).await
    }

    pub async fn recording_audio(&self, id: String) -> Result<Audio, Refusal> {
        let audio = self.inner.read(move |recorder| recorder.audio(&id));
        audio.await?.ok_or_else(no_such_recording)
    }
}

impl Inner {
    pub(super) fn tick_now(&self) -> Tick {
        Tick(self.driver.clock().now().as_nanos() / TICK.as_nanos() as u64)
    }

    fn running(&self, conference: &ConferenceId) -> Result<Option<Running>, Refusal> {
        let state = self.state();
        let room = state.rooms.get(conference).ok_or_else(no_such_conference)?;
        let recording = room.recording.clone();
        Ok(recording.and_then(|recording| self.still(recording)))
    }

    fn running_of_leg(&self, call: &CallId) -> Result<Option<Running>, Refusal> {
        let state = self.state();
        let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
        let recording = leg.recording.clone();
        Ok(recording.and_then(|recording| self.still(recording)))
    }

    /// Whether the room's engine has time for a recording of it.
    fn has_room_for_recording(
        &self,
        state: &State,
        conference: &ConferenceId,
        legs: bool,
    ) -> Result<(), Refusal> {
        let room = state.rooms.get(conference).ok_or_else(no_such_conference)?;
        let mut terms = room.terms();
        (terms.recorded, terms.tracks) = (true, legs);
        let fits = state.account.fits_terms(conference, terms);
        fits.map_err(|full| self.turn_down(full))
    }

    /// Taps the room.
    pub(super) fn record_room(
        &self,
        conference: &ConferenceId,
        begun: &Begun,
        rate: Rate,
        legs: bool,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        self.has_room_for_recording(&state, conference, legs)?;
        let recording = RunningRecording::new(begun, legs);
        // Nobody is to hear of an end and then of the beginning.
        self.status_while_it_runs(&recording).ok_or_else(ended_already)?;
        let room = state.rooms.get_mut(conference).ok_or_else(no_such_conference)?;
        room.recording = Some(recording);
        let (engine, slot) = (room.engine, room.slot);
        state.account_for_room(conference);
        if legs {
            for call in &state.rooms[conference].members {
                if let Some(leg) = state.legs.get(call) {
                    let _ = self.recorder.track(begun.slot, leg.track, call.as_str());
                }
            }
        }
        self.attend_all(&mut state, conference, begun.slot, self.tick_now());
        let recording = Recording {
            slot: begun.slot,
            rate,
            legs,
        };
        let change = RoomChange::Record(Some(recording));
        self.send_surely(
            &mut state,
            engine,
            Command::Engine(engine::Command::ChangeRoom { room: slot, change }),
        );
        self.tell_recording(&state, "recording.started", &begun.status);
        tracing::info!(conference = %conference, recording = begun.status.recording_id, "recording started");
        Ok(())
    }

    /// Taps what the leg is sent, unless it has left or is about to.
    pub(super) fn record_what_is_sent(
        &self,
        call: &CallId,
        begun: &Begun,
        rate: Rate,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        let leg = state.legs.get(call).filter(|leg| leg.motion.is_none());
        let leg = leg.ok_or_else(no_such_leg)?;
        let recording = RunningRecording::new(begun, false);
        self.status_while_it_runs(&recording).ok_or_else(ended_already)?;
        let (engine, slot, has_joined) = (leg.place.engine, leg.place.slot, leg.has_joined);
        let conference = leg.place.conference.clone();
        state.record_leg(call, recording);
        if has_joined {
            self.attend_all(&mut state, &conference, begun.slot, self.tick_now());
        }
        let recording = Recording {
            slot: begun.slot,
            rate,
            legs: false,
        };
        self.send_surely(&mut state, engine, record_leg(slot, Some(recording)));
        self.tell_recording(&state, "recording.started", &begun.status);
        let recording = &begun.status.recording_id;
        tracing::info!(%conference, %call, recording, "recording of a leg started");
        Ok(())
    }

    /// `None` of a recording that has ended by itself, where the word of that is still on its way.
    fn still(&self, recording: RunningRecording) -> Option<Running> {
        let status = self.status_while_it_runs(&recording)?;
        Some(Running { recording, status })
    }

    fn status_while_it_runs(&self, recording: &RunningRecording) -> Option<RecordingStatus> {
        self.recorder.running(&recording.id)
    }

    /// Undoes what was begun and has no room or leg any more.
    async fn cancel(self: &Arc<Inner>, slot: RecordingSlot) {
        let inner = Arc::clone(self);
        if blocking::in_the_end(move || inner.recorder.cancel(slot))
            .await
            .is_err()
        {
            tracing::error!("a recording could not be undone");
        }
    }

    /// Waits until the engine has taken the tap off.
    async fn is_off(&self, slot: RecordingSlot, off: oneshot::Receiver<()>) -> Result<(), Refusal> {
        self.answer(off).await.inspect_err(|_| {
            locked(&self.answers.recordings_off).remove(&slot.0);
            // Nobody else would end it.
            let _ = self.recorder.finish(slot, None);
        })
    }

    async fn status(self: &Arc<Inner>, id: &str) -> Result<RecordingStatus, Refusal> {
        let id = id.to_owned();
        let status = self.read(move |recorder| recorder.status(&id));
        status.await?.ok_or_else(no_such_recording)
    }

    /// Asks the recorder for what it has on the disk.
    async fn read<T: Send + 'static>(
        self: &Arc<Inner>,
        ask: impl FnOnce(&Recorder) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let inner = Arc::clone(self);
        let read = blocking::wait_for(move || ask(&inner.recorder)).await;
        read.map_err(|failed| self.not_begun(&failed))
    }

    /// Makes a recording that nothing goes into yet.
    pub(super) async fn begin(
        self: &Arc<Inner>,
        conference: &ConferenceId,
        call: Option<&CallId>,
        options: RecordingOptions,
        actor: &Actor,
    ) -> Result<(Begun, Vec<String>), Refusal> {
        let (tracks, legs) = {
            let state = self.state();
            let room = state.rooms.get(conference);
            let members = room.map_or(0, |room| room.members.len());
            if state.fds() + fds_of_recording(options.legs, members) > self.fds_for_recordings {
                return Err(Refusal::unavailable(
                    "No file descriptor is left for another recording.",
                    5,
                ));
            }
            (if options.legs { members } else { 0 }, state.legs.len())
        };
        self.has_memory_for(Need::of_recording(tracks as u64), Asker::Newcomer, legs)?;
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
        let begun = blocking::wait_for(move || inner.recorder.begin(request))
            .await
            .map_err(|failed| self.not_begun(&failed))?
            .map_err(refused)?;
        Ok((begun, options.notes))
    }

    /// What the recorder was not asked for, or has not answered.
    fn not_begun(&self, failed: &Failed) -> Refusal {
        match failed {
            Failed::NoThread => self.turn_away(Why::Threads),
            Failed::Lost => Refusal::new(INTERNAL, "The recorder failed."),
        }
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

    /// The engine sends no sound of the recording now, or does again. It is told here, whatever has become of who asked
    /// for it, and under the lock: its end is told after it.
    pub(super) fn recording_paused(&self, state: &State, slot: RecordingSlot, on: bool) {
        if let Some(status) = self.recorder.pause(slot, on) {
            let kind = if on {
                "recording.paused"
            } else {
                "recording.resumed"
            };
            self.tell_recording(state, kind, &status);
        }
        if let Some(waiting) = locked(&self.answers.recordings_paused).remove(&slot.0) {
            let _ = waiting.send(Some(()));
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

    fn tell_recording(&self, state: &State, kind: &'static str, status: &RecordingStatus) {
        if let Some(conference) = state.room_of_recording(status) {
            let call = subject(status);
            self.tell(&conference, call.as_ref(), kind, recording_fields(status));
        }
    }
}

impl RunningRecording {
    fn new(begun: &Begun, legs: bool) -> RunningRecording {
        RunningRecording {
            id: begun.status.recording_id.clone(),
            slot: begun.slot,
            legs,
        }
    }
}

impl Running {
    fn found(self, notes: Vec<String>) -> Started {
        Started {
            status: self.status,
            is_new: false,
            notes,
        }
    }
}

impl State {
    /// The room whose events tell of the recording: that of a leg goes where its leg is.
    pub(super) fn room_of_recording(&self, status: &RecordingStatus) -> Option<ConferenceId> {
        let leg = subject(status).and_then(|call| self.legs.get(&call));
        match leg.filter(|leg| leg.unsettled_recordings.contains(&status.recording_id)) {
            Some(leg) => Some(leg.place.conference.clone()),
            None => ConferenceId::parse(&status.conference_id).ok(),
        }
    }
}

/// The leg of which a recording is.
pub(super) fn subject(status: &RecordingStatus) -> Option<CallId> {
    let call = status.call_id.as_deref()?;
    CallId::parse(call).ok()
}

/// What an event says of a recording.
pub(super) fn recording_fields(status: &RecordingStatus) -> Map<String, Value> {
    Map::from_iter([
        ("recordingId".to_owned(), status.recording_id.clone().into()),
        ("destination".to_owned(), status.destination.clone().into()),
        ("notificationEvents".to_owned(), status.notifies.into()),
    ])
}

pub(super) fn record_leg(leg: LegId, recording: Option<Recording>) -> Command {
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

fn ended_already() -> Refusal {
    Refusal::unavailable("The recording has ended before anything was recorded.", 5)
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
