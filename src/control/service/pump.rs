//! Carries what engines and recorder say into the state, to those who wait for it, and to the log of events.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Map;

use super::legs::{change, millis};
use super::overload::LOOKED_AT_EVERY;
use super::recordings::{record_leg, recording_fields, subject};
use super::reports::FOR_ALL;
use super::{Inner, Service, locked};
use crate::control::blocking;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::negotiation::registered_name;
use crate::control::news::{RecordingNews, Untold};
use crate::control::state::{Motion, Place, RoomEntry, RunningRecording, State};
use crate::control::views::final_report;
use crate::driver::ports::Sockets;
use crate::driver::{Command, Event};
use crate::engine::{self, Recorded};
use crate::id::{LegId, RecordingSlot, TrackNumber};
use crate::leg::{DEFAULT_MAX_DELAY, Leg, LegChange};
use crate::record::{RecordingState, RecordingStatus};
use crate::room::RoomChange;
use crate::time::Tick;

/// How often engines are listened to.
const INTERVAL: Duration = Duration::from_millis(10);

/// How often while somebody waits for an answer, and for how long after it was asked for.
const INTERVAL_AWAITED: Duration = Duration::from_millis(2);
const AWAITED: Duration = Duration::from_millis(40);

/// Events taken from an engine before the lock is given to others.
const BATCH: usize = 256;

/// Engines that were not listened to for so long are as good as gone.
const STALE: Duration = Duration::from_secs(5);

/// That the pump goes round, for those who watch it.
pub(super) struct Pulse {
    began: Instant,
    rounds: AtomicU64,
    /// When the last round was, in milliseconds from the beginning.
    last_ms: AtomicU64,
}

impl Pulse {
    pub(super) fn new(began: Instant) -> Pulse {
        Pulse {
            began,
            rounds: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
        }
    }

    fn beat(&self, now: Instant) {
        let since = now.saturating_duration_since(self.began);
        self.last_ms.store(since.as_millis() as u64, Ordering::Relaxed);
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(super) fn is_stale(&self, now: Instant) -> bool {
        let last = self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(last) > STALE
    }
}

/// What comes back from a media thread to be freed: done after the lock is released.
type Returned = Vec<Box<dyn Any + Send>>;

/// Runs for as long as the service is to do anything.
pub async fn pump(service: Service, recording_news: Arc<RecordingNews>) {
    let inner = &service.inner;
    let mut awaited_until = Instant::now();
    let mut looked_at = Instant::now();
    loop {
        let interval = if Instant::now() < awaited_until {
            INTERVAL_AWAITED
        } else {
            INTERVAL
        };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = inner.awaited.notified() => awaited_until = Instant::now() + AWAITED,
            news = recording_news.next() => news.iter().for_each(|status| inner.tell_of_recording(status)),
        }
        for engine in 0..inner.driver.engines() {
            while inner.listen(engine) == BATCH {}
        }
        inner.ask_for_reports(Instant::now());
        inner.events.tend();
        inner.forget_what_is_told();
        inner.pulse.beat(Instant::now());
        if looked_at.elapsed() >= LOOKED_AT_EVERY {
            inner.look_at_load(looked_at.elapsed());
            inner.have_memory_looked_at();
            looked_at = Instant::now();
        }
    }
}

impl Inner {
    /// Gives an engine what waits for it and takes what it has to say; gives how many events those were.
    pub(super) fn listen(&self, engine: usize) -> usize {
        let events: Vec<Event> = std::iter::from_fn(|| self.driver.poll(engine))
            .take(BATCH)
            .collect();
        let count = events.len();
        let mut returned = Returned::new();
        let mut state = self.state();
        while let Some(command) = state.engines[engine].outbox.pop_front() {
            if let Err(full) = self.driver.send(engine, command) {
                state.engines[engine].outbox.push_front(full.0);
                break;
            }
        }
        for event in events {
            self.hear(&mut state, engine, event, &mut returned);
        }
        drop(state);
        count
    }

    pub(super) fn hear(&self, state: &mut State, engine: usize, event: Event, returned: &mut Returned) {
        let event = match event {
            Event::Left {
                leg,
                tick,
                state: leg_state,
                sockets,
            } => {
                return self.left(state, engine, leg, tick, leg_state, sockets, returned);
            }
            Event::Engine(event) => event,
        };
        match event {
            engine::Event::Joined { leg, tick, waits } => self.joined(state, engine, leg, tick, waits),
            // The driver gives the sockets along, as its own event.
            engine::Event::Left { state, .. } => returned.push(state),
            engine::Event::Closed {
                room,
                state: room_state,
            } => {
                state.engines[engine].rooms.release(room.0);
                returned.push(room_state);
            }
            engine::Event::Talking { leg, on, .. } => self.talking(state, engine, leg, on),
            engine::Event::OneWay { leg, one_way, .. } => self.one_way(state, engine, leg, one_way),
            engine::Event::MediaTimeout {
                leg, last_arrival, ..
            } => {
                self.media_timeout(state, engine, leg, last_arrival);
            }
            engine::Event::Digits { leg, digits, .. } => self.pressed(state, engine, leg, digits),
            engine::Event::Renegotiated { before, .. } => returned.push(before),
            engine::Event::Recording { on: true, .. } => {}
            engine::Event::Recording { of, slot, tick, .. } => {
                state.untapped(engine, of, slot);
                self.recording_off(slot, tick);
            }
            engine::Event::RecordingPaused { slot, on, .. } => self.recording_paused(state, slot, on),
            engine::Event::Changed { leg, tick } => self.changed(state, engine, leg, tick),
            engine::Event::LegReported {
                leg,
                request: FOR_ALL,
                report,
            } => {
                self.tell_report(state, engine, leg, &report);
                returned.push(report);
            }
            engine::Event::LegReported { request, report, .. } => {
                if let Some(waiting) = locked(&self.answers.legs).remove(&request) {
                    let _ = waiting.send(report);
                }
            }
            engine::Event::Reported { request, report } => {
                if let Some(waiting) = locked(&self.answers.engines).remove(&request) {
                    let _ = waiting.send(report);
                }
            }
        }
    }

    fn joined(&self, state: &mut State, engine: usize, slot: LegId, tick: Tick, waits: bool) {
        let Some(call) = state.leg_at(engine, slot) else {
            return;
        };
        let Some(leg) = state.legs.get_mut(&call) else {
            return;
        };
        leg.has_joined = true;
        let untold = std::mem::take(&mut leg.untold);
        let fields = Map::from_iter([
            ("cli".to_owned(), leg.request.cli.clone().into()),
            (
                "codec".to_owned(),
                leg.negotiation.codec().map(registered_name).into(),
            ),
            ("muted".to_owned(), leg.was_muted.into()),
            ("onhold".to_owned(), leg.was_held.into()),
            ("waiting".to_owned(), waits.into()),
        ]);
        tracing::info!(conference = %leg.place.conference, call = %call, engine, "leg joined");
        self.tell_of_leg(state, &call, "leg.joined", fields);
        for (kind, fields) in untold {
            self.tell_of_leg(state, &call, kind, fields);
        }
        self.has_come(state, &call, tick);
    }

    /// Tells the recording of a room whose voice a track will be, before the leg comes into the room.
    pub(super) fn name_track(
        &self,
        state: &State,
        call: &CallId,
        track: TrackNumber,
        conference: &ConferenceId,
    ) {
        let room = state.rooms.get(conference);
        if let Some(recording) = room.and_then(|room| room.recording.as_ref())
            && recording.legs
        {
            let _ = self.recorder.track(recording.slot, track, call.as_str());
        }
    }

    fn changed(&self, state: &mut State, engine: usize, slot: LegId, tick: Tick) {
        if let Some(call) = state.leg_at(engine, slot) {
            self.is_muted_or_not(state, &call, tick);
        }
    }

    fn talking(&self, state: &mut State, engine: usize, slot: LegId, on: bool) {
        let Some(call) = state.leg_at(engine, slot) else {
            return;
        };
        if let Some(leg) = state.legs.get_mut(&call) {
            leg.is_contributing = on;
            self.tell_of_talking(state, &call);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn left(
        &self,
        state: &mut State,
        engine: usize,
        slot: LegId,
        tick: Tick,
        leg_state: Box<Leg>,
        sockets: Sockets,
        returned: &mut Returned,
    ) {
        let Some(call) = state.leg_at(engine, slot) else {
            returned.extend([leg_state as Box<dyn Any + Send>, Box::new(sockets)]);
            return;
        };
        if state.legs.get(&call).is_some_and(|leg| !leg.has_joined) {
            // Its room was given up before its first tick; whoever listens sees pairs all the same.
            let waits = state.waits_in(&state.legs[&call].place.conference);
            self.joined(state, engine, slot, tick, waits);
        }
        let Some(leg) = state.legs.get_mut(&call) else {
            return;
        };
        let mut motion = leg.motion.take();
        let mut unreached = None;
        if !leg_state.has_its_streams()
            && let Some(Motion::Moving { to, .. }) = motion
        {
            // It left by a fault of its room, without what it needs to sit in another.
            unreached = Some(to);
            motion = None;
        }
        let mut waiting = std::mem::take(&mut leg.waiting);
        let from = leg.place.clone();
        let reason = match &motion {
            Some(Motion::Moving { .. }) => "moved",
            Some(Motion::Leaving { reason }) => reason,
            // Nobody asked for it: the engine gave the leg up.
            None => "failed",
        };
        let fields = final_report(leg, reason, &leg_state.report());
        let ends_room = leg.request.end_on_exit;
        tracing::info!(conference = %from.conference, call = %call, reason, "leg left");
        self.has_gone(state, &call, tick);
        self.tell_of_leg(state, &call, "leg.left", fields);

        match motion {
            Some(Motion::Moving { to, then }) => {
                self.arrive(state, &call, &from, to, leg_state, sockets);
                if let Some(reason) = then {
                    self.let_go(state, &call, reason);
                    // Whoever waits wants to know it gone.
                    if let Some(leg) = state.legs.get_mut(&call) {
                        leg.waiting.append(&mut waiting);
                    }
                }
            }
            _ => {
                if let Some(recording) = state.remove_leg(&call).and_then(|leg| leg.recording) {
                    // Its engine never had it, and has no word of its end: the leg failed before it was told.
                    self.recording_off(recording.slot, tick.next());
                }
                state.engines[engine].legs.release(slot.0);
                returned.extend([leg_state as Box<dyn Any + Send>, Box::new(sockets)]);
            }
        }
        if let Some(to) = unreached {
            if to.engine != engine {
                state.engines[to.engine].legs.release(to.slot.0);
            }
            if let Some(room) = state.exit(&to.conference, &call) {
                self.end_room(state, &to.conference, room);
            }
        }
        if let Some(room) = state.exit(&from.conference, &call) {
            self.end_room(state, &from.conference, room);
        } else if ends_room
            && let Some(room) = state.rooms.get(&from.conference)
            && !room.is_ending
        {
            // Once: a room of which every leg ends it would else be gone through for each.
            let members = room.members.clone();
            self.let_all_go(state, &from.conference, &members, "room_ended");
        }
        for waiting in waiting {
            // Whoever waited may have lost patience.
            let _ = waiting.send(());
        }
    }

    /// The second half of a move: the leg sits down where its slots were kept.
    fn arrive(
        &self,
        state: &mut State,
        call: &CallId,
        from: &Place,
        to: Place,
        leg_state: Box<Leg>,
        sockets: Sockets,
    ) {
        let (engine, slot) = (to.engine, to.slot);
        if engine != from.engine {
            state.engines[from.engine].legs.release(from.slot.0);
        }
        let Some(room) = state.rooms.get(&to.conference) else {
            return;
        };
        let (room_slot, room_max_delay) = (room.slot, room.max_delay);
        if let Some(leg) = state.legs.get(call) {
            self.name_track(state, call, leg.track, &to.conference);
            state.begin(&to.conference, leg.settings.starts_room);
        }
        self.send_surely(
            state,
            engine,
            Command::Seat {
                leg: slot,
                state: leg_state,
                sockets,
                room: room_slot,
            },
        );
        let Some(leg) = state.legs.get_mut(call) else {
            return;
        };
        leg.place = to;
        leg.since = Instant::now();
        leg.was_muted = leg.settings.muted;
        leg.was_held = leg.is_on_hold();
        leg.has_joined = false;
        leg.is_contributing = false;
        leg.is_told_contributing = false;
        let max_delay = leg
            .request
            .max_delay
            .or(room_max_delay)
            .unwrap_or(DEFAULT_MAX_DELAY);
        if leg.settings.max_delay != max_delay {
            leg.settings.max_delay = max_delay;
            self.send_surely(
                state,
                engine,
                change(slot, LegChange::MaxDelayMs(millis(max_delay))),
            );
        }
    }

    fn end_room(&self, state: &mut State, id: &ConferenceId, room: RoomEntry) {
        // Closing takes the recording's tap off, which the engine tells.
        let close = Command::Engine(engine::Command::Close { room: room.slot });
        self.send_surely(state, room.engine, close);
        tracing::info!(conference = %id, "room ended");
        self.tell(id, None, "room.ended", Map::new());
        for waiting in room.waiting {
            let _ = waiting.send(());
        }
    }

    pub(super) fn tell_of_recording(&self, status: &RecordingStatus) {
        let kind = match status.state {
            RecordingState::Recording | RecordingState::Uploading => return,
            // An earlier life has.
            _ if status.was_told => return,
            RecordingState::Finishing => "recording.finished",
            RecordingState::Available => "recording.available",
            RecordingState::Failed => "recording.failed",
        };
        let number = self.tell_how_it_ended(status, kind);
        // Who may not forget it has it in a journal once that number is told.
        let state = (number, status.recording_id.clone(), status.state);
        locked(&self.being_told).push(state);
    }

    /// Takes from the recorder what it need not remember: what all have been told of its recordings.
    fn forget_what_is_told(self: &Arc<Self>) {
        let told = self.told_of_recordings();
        if !told.is_empty() {
            let inner = Arc::clone(self);
            let forget = move || inner.forget(&told);
            if let Err(Some(forget)) = blocking::begin(forget) {
                tokio::spawn(blocking::in_the_end(forget));
            }
        }
    }

    /// Touches the disk.
    pub(super) fn forget(&self, told: &[(String, RecordingState)]) {
        for (id, state) in told {
            self.recorder.is_told(id, *state);
        }
    }

    /// What all have been told of recordings by now and nobody has asked for yet.
    pub(super) fn told_of_recordings(&self) -> Vec<(String, RecordingState)> {
        let told = self.events.kept();
        let mut being_told = locked(&self.being_told);
        let ready = being_told.extract_if(.., |(number, ..)| *number <= told);
        ready.map(|(_, id, state)| (id, state)).collect()
    }

    /// Gives the number of the event, 0 where nobody is to hear of it, and one that is never told where no more are.
    fn tell_how_it_ended(&self, status: &RecordingStatus, kind: &'static str) -> u64 {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(conference) = state.room_of_recording(status) else {
            self.recording_news.count(Untold::NoRoom);
            return 0;
        };
        tracing::info!(conference = %conference, recording = status.recording_id, kind, "recording");
        let mut fields = recording_fields(status);
        if let Some(error) = &status.error {
            fields.insert("error".into(), error.clone().into());
        }
        if let Some(receipt) = &status.receipt {
            fields.insert(
                "receipt".into(),
                serde_json::to_value(receipt).unwrap_or_default(),
            );
        }
        let call = subject(status);
        if status.state.is_settled()
            && let Some(leg) = call.as_ref().and_then(|call| state.legs.get_mut(call))
        {
            leg.unsettled_recordings.remove(&status.recording_id);
        }
        let ended_by_itself = self.untap(state, status);
        let is_cut_short = status.receipt.as_ref().is_some_and(|receipt| receipt.truncated);
        // Whoever wants no word of an end that was ordered still has to hear of one that was not.
        let is_bad = status.state == RecordingState::Failed || ended_by_itself || is_cut_short;
        match status.notifies || is_bad {
            true => self
                .tell(&conference, call.as_ref(), kind, fields)
                .unwrap_or(u64::MAX),
            false => 0,
        }
    }

    /// Takes off the tap of a recording that ended by itself, as at a full disk, so that another can begin; false
    /// where there was none.
    fn untap(&self, state: &mut State, status: &RecordingStatus) -> bool {
        let is_it = |recording: &RunningRecording| recording.id == status.recording_id;
        let (engine, untap) = if let Some(call) = subject(status) {
            let Some(leg) = state.legs.get(&call) else {
                return false;
            };
            let (engine, slot) = (leg.place.engine, leg.place.slot);
            if state.unrecord_leg(&call, is_it).is_none() {
                return false;
            }
            (engine, record_leg(slot, None))
        } else {
            let Ok(conference) = ConferenceId::parse(&status.conference_id) else {
                return false;
            };
            if !state.unrecord_room(&conference, is_it) {
                return false;
            }
            let Some(room) = state.rooms.get(&conference) else {
                return false;
            };
            let change = RoomChange::Record(None);
            let room_change = engine::Command::ChangeRoom {
                room: room.slot,
                change,
            };
            (room.engine, Command::Engine(room_change))
        };
        self.send_surely(state, engine, untap);
        true
    }
}

impl State {
    /// The engine has taken the tap off.
    fn untapped(&mut self, engine: usize, of: Recorded, slot: RecordingSlot) {
        let is_it = |recording: &RunningRecording| recording.slot == slot;
        match of {
            Recorded::Leg(leg) => {
                if let Some(call) = self.leg_at(engine, leg) {
                    self.unrecord_leg(&call, is_it);
                }
            }
            Recorded::Room(room) => {
                if let Some(conference) = self.engines[engine].rooms.occupant(room.0).cloned() {
                    self.unrecord_room(&conference, is_it);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pump_that_has_not_gone_round_for_five_seconds_is_stale() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let pulse = Pulse::new(began);
        assert!(!pulse.is_stale(after(5_000)));
        assert!(pulse.is_stale(after(5_001)));
        pulse.beat(after(6_000));
        assert_eq!(pulse.rounds(), 1);
        assert!(!pulse.is_stale(after(11_000)));
        assert!(pulse.is_stale(after(11_001)));
    }
}
