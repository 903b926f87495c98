//! Legs: create, change, move, end. Each request about a leg waits for its turn, and then for the leg to sit still.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Map;
use tokio::sync::oneshot;

use super::admission::Why;
use super::settings::{differences, factor, settings_after};
use super::{Inner, Service, locked};
use crate::control::admission::{Asker, Full, LegLoad, Need};
use crate::control::deeds::{Actor, Deeds};
use crate::control::digits::PendingDigits;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::negotiation::Negotiation;
use crate::control::refusal::{INTERNAL, NOT_FOUND, Refusal};
use crate::control::requests::{ChangeLeg, CreateLeg};
use crate::control::state::{LegEntry, Motion, Place, RoomEntry, State};
use crate::control::turns::PATIENCE;
use crate::control::views::{LegView, Listed, Page};
use crate::driver::Command;
use crate::driver::ports::{PortsError, Sockets};
use crate::engine;
use crate::id::{LegId, RoomId, TrackNumber};
use crate::leg::{DEFAULT_MAX_DELAY, Identity, Leg, LegChange, LegMedia, LegReport, LegSettings};
use crate::room::{Room, RoomSettings};

/// Why a leg is not let into a room, or not changed.
enum Denied {
    /// The room has begun to end: who waits for that comes into another.
    Ending,
    Refused(Refusal),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        Denied::Refused(refusal)
    }
}

/// A leg, and whether the request made it or found it.
pub struct Created {
    pub leg: LegView,
    pub is_new: bool,
}

impl Service {
    pub async fn create_leg(&self, request: CreateLeg, actor: Actor) -> Result<Created, Refusal> {
        let inner = &self.inner;
        let call = request.call.clone().unwrap_or_else(CallId::made);
        let _turn = inner.legs_in_turn.take(&call).await?;
        let created = loop {
            inner.ready(&call, Some(&request.conference)).await?;
            match inner.create(&call, &request, &actor) {
                Ok(created) => break created,
                Err(Denied::Ending) => {}
                Err(Denied::Refused(refusal)) => return Err(refusal),
            }
        };
        if created.is_new
            && let Some(options) = request.record
            && let Err(refusal) = self.start_recording(&request.conference, options, &actor).await
        {
            // The caller asked for a recorded leg and gets none at all.
            let _ = inner.end(&call, "failed").await;
            return Err(match refusal.code {
                // It was there, with this leg in it.
                NOT_FOUND => Refusal::conflict("The conference has ended."),
                _ => refusal,
            });
        }
        Ok(created)
    }

    pub fn legs(&self, page: Page) -> Listed<LegView> {
        let state = self.inner.state();
        page.of(&state.legs, |call, leg| LegView::new(call, leg, &state))
    }

    /// The leg with its media figures.
    pub async fn leg(&self, call: &CallId) -> Result<LegView, Refusal> {
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        inner.settled(call).await?;
        let asked = inner.ask_for_report(&mut inner.state(), call)?;
        let report = inner.reported(asked).await?;
        let state = inner.state();
        let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
        Ok(LegView::new(call, leg, &state).with_figures(&report))
    }

    /// Does all of the change or none of it. `within` names the room in which the leg has to be.
    pub async fn change_leg(
        &self,
        call: &CallId,
        change: ChangeLeg,
        within: Option<&ConferenceId>,
        actor: Actor,
    ) -> Result<LegView, Refusal> {
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        let moved = loop {
            inner.ready(call, change.conference.as_ref()).await?;
            match inner.change(call, change.clone(), within, &actor) {
                Ok(moved) => break moved,
                Err(Denied::Ending) => {}
                Err(Denied::Refused(refusal)) => return Err(refusal),
            }
        };
        if let Some(moved) = moved {
            inner.answer(moved).await?;
        }
        let state = inner.state();
        let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
        Ok(LegView::new(call, leg, &state))
    }

    /// Ends a leg; returns when it has left.
    pub async fn end_leg(
        &self,
        call: &CallId,
        reason: &'static str,
        within: Option<&ConferenceId>,
    ) -> Result<(), Refusal> {
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        inner.settled(call).await?;
        inner.leg_within(&inner.state(), call, within)?;
        inner.end(call, reason).await
    }
}

impl Inner {
    /// Asks a leg's engine for its figures.
    pub(super) fn ask_for_report(&self, state: &mut State, call: &CallId) -> Result<Asked, Refusal> {
        let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
        let Place { engine, slot, .. } = leg.place;
        let (request, answer) = oneshot::channel();
        let number = self.answers.number();
        locked(&self.answers.legs).insert(number, request);
        let command = engine::Command::ReportLeg {
            leg: slot,
            request: number,
            report: Box::<LegReport>::default(),
        };
        match self.send(state, engine, vec![Command::Engine(command)]) {
            Ok(()) => Ok(Asked { number, answer }),
            Err(refusal) => {
                locked(&self.answers.legs).remove(&number);
                Err(refusal)
            }
        }
    }

    pub(super) async fn reported(&self, asked: Asked) -> Result<Box<LegReport>, Refusal> {
        let Asked { number, answer } = asked;
        self.answer(answer).await.inspect_err(|_| {
            locked(&self.answers.legs).remove(&number);
        })
    }

    /// Waits until the leg is neither leaving nor moving.
    pub(super) async fn settled(&self, call: &CallId) -> Result<(), Refusal> {
        loop {
            let still = {
                let mut state = self.state();
                match state.legs.get_mut(call) {
                    Some(leg) if leg.motion.is_some() => {
                        let (waiting, still) = oneshot::channel();
                        leg.waiting.push(waiting);
                        still
                    }
                    _ => return Ok(()),
                }
            };
            self.answer(still).await?;
        }
    }

    /// The same, and until the room it is to come to is not just ending.
    async fn ready(&self, call: &CallId, to: Option<&ConferenceId>) -> Result<(), Refusal> {
        loop {
            self.settled(call).await?;
            match to.and_then(|conference| self.end_of(conference)) {
                Some(ended) => self.answer(ended).await?,
                None => return Ok(()),
            }
        }
    }

    fn leg_within<'a>(
        &self,
        state: &'a State,
        call: &CallId,
        within: Option<&ConferenceId>,
    ) -> Result<&'a LegEntry, Refusal> {
        if let Some(conference) = within
            && !state.rooms.contains_key(conference)
        {
            return Err(Refusal::not_found("There is no such conference."));
        }
        let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
        match within.is_none_or(|conference| leg.place.conference == *conference) {
            true => Ok(leg),
            false => Err(Refusal::not_found("There is no such leg in this conference.")),
        }
    }

    /// Makes the leg, or finds it.
    fn create(&self, call: &CallId, request: &CreateLeg, actor: &Actor) -> Result<Created, Denied> {
        {
            let state = self.state();
            if let Some(leg) = state.legs.get(call) {
                if leg.request != *request {
                    let conflict = "There is a leg of this `callId`, made by another request.";
                    return Err(Refusal::conflict(conflict).into());
                }
                return Ok(Created {
                    leg: LegView::new(call, leg, &state),
                    is_new: false,
                });
            }
            self.admit(&state, &request.conference)?;
        }
        // Before anything is made for it.
        self.has_room_for(request)?;
        let (entry, leg, sockets) = self.make(request.clone(), actor)?;
        Ok(Created {
            leg: self.seat(call, entry, leg, sockets)?,
            is_new: true,
        })
    }

    /// Decides a change; gives what to wait for when the leg moves.
    fn change(
        &self,
        call: &CallId,
        change: ChangeLeg,
        within: Option<&ConferenceId>,
        actor: &Actor,
    ) -> Result<Option<oneshot::Receiver<()>>, Denied> {
        let negotiated = match &change.sdp {
            None => None,
            Some(remote) => {
                let (negotiation, legs) = {
                    let state = self.state();
                    let leg = self.leg_within(&state, call, within)?;
                    (leg.negotiation.clone(), state.legs.len())
                };
                let (next, terms) = negotiation.go_on(remote)?;
                let kind = next.load(&self.calibration.costs).kind();
                self.has_memory_for(Need::of_leg(kind), Asker::Resident, legs)?;
                Some((next, LegMedia::new(terms).map_err(no_codec)?))
            }
        };
        let mut state = self.state();
        self.leg_within(&state, call, within)?;
        self.decide_change(&mut state, call, change, negotiated, actor)
    }

    /// Whether a leg may come into this room, which may not be there yet.
    fn admit(&self, state: &State, conference: &ConferenceId) -> Result<(), Denied> {
        if state.is_stopping {
            return Err(self.turn_away(Why::Stopping).into());
        }
        match state.rooms.get(conference) {
            None if state.is_draining => Err(self.turn_away(Why::Draining).into()),
            None => Ok(()),
            Some(room) if room.is_ending => Err(Denied::Ending),
            Some(room) if room.is_locked => Err(Refusal::conflict("The conference is locked.").into()),
            Some(room)
                if room
                    .participants_max
                    .is_some_and(|max| room.members.len() as u64 >= max) =>
            {
                let full = "The conference has as many participants as `maxParticipants` allows.";
                Err(Refusal::conflict(full).into())
            }
            Some(_) => Ok(()),
        }
    }

    /// Ports, SDP and all memory of a leg; what is made is gone again when it is dropped.
    fn make(&self, request: CreateLeg, actor: &Actor) -> Result<(LegEntry, Box<Leg>, Sockets), Refusal> {
        let (family, address) = Negotiation::family(&request, &self.config)?;
        let sockets = self.ports.open(family).map_err(|error| self.no_port(error))?;
        // The kernel gives the lowest free number, so the number says how many are in use.
        if sockets.rtcp.as_raw_fd() as u64 >= self.fds_for_legs {
            return Err(self.no_port(PortsError::NoFileDescriptor));
        }
        let local = sockets.local();
        let (negotiation, terms) = Negotiation::begin(&request, &self.config, address, local.port())?;
        let settings = LegSettings {
            muted: request.muted,
            deaf: request.deaf,
            hold: None,
            gain: factor(request.gain_db),
            music_while_alone: request.music,
            max_delay: request.max_delay.unwrap_or(DEFAULT_MAX_DELAY),
            digits: request.digits.unwrap_or_default(),
            media_timeout: self.media_timeout_of(request.media_timeout_s),
            starts_room: request.start_on_enter,
        };
        let mut deeds = Deeds::default();
        deeds.note(&LegSettings::default(), &settings, actor);
        let media = LegMedia::new(terms).map_err(no_codec)?;
        let identity = Identity {
            ssrc: fastrand::u32(..),
            // RFC 3550 §5.1: random; the upper half is left out so that no one meets a wrap in the first ten minutes.
            sequence: fastrand::u16(..1 << 15),
            timestamp: fastrand::u32(..),
        };
        let track = TrackNumber(self.next_track.fetch_add(1, Ordering::Relaxed));
        let leg = Leg::new(identity, track, settings, media);
        let entry = LegEntry {
            gain_db: request.gain_db,
            settings,
            negotiation,
            local,
            track,
            // Known once it is seated.
            place: Place {
                conference: request.conference.clone(),
                engine: 0,
                slot: LegId(0),
            },
            created: SystemTime::now(),
            since: Instant::now(),
            is_contributing: false,
            is_told_contributing: false,
            was_muted: request.muted,
            was_held: false,
            has_joined: false,
            untold: Vec::new(),
            motion: None,
            waiting: Vec::new(),
            recording: None,
            unsettled_recordings: BTreeSet::new(),
            muted_in: BTreeSet::new(),
            pending_digits: PendingDigits::default(),
            deeds,
            ends_on_media_timeout: self.ends_on_media_timeout(request.end_on_media_timeout),
            request,
        };
        Ok((entry, leg, sockets))
    }

    /// Gives a leg its slot, in a room that is made for it if need be.
    fn seat(
        &self,
        call: &CallId,
        mut entry: LegEntry,
        leg: Box<Leg>,
        mut sockets: Sockets,
    ) -> Result<LegView, Denied> {
        let mut guard = self.state();
        let state = &mut *guard;
        let conference = entry.request.conference.clone();
        self.admit(state, &conference)?;
        let load = entry.negotiation.load(&self.calibration.costs);
        let mut reserved = self.reserve(state, call, &conference, None, load)?;
        let slot = reserved.place.slot;
        let mut commands: Vec<Command> = reserved.open.take().into_iter().collect();
        sockets.tell();
        commands.push(Command::Seat {
            leg: slot,
            state: leg,
            sockets,
            room: reserved.room,
        });
        if entry.request.max_delay.is_none()
            && let Some(max_delay) = state.rooms.get(&conference).and_then(|room| room.max_delay)
        {
            entry.settings.max_delay = max_delay;
            commands.push(change(slot, LegChange::MaxDelayMs(millis(max_delay))));
        }
        let engine = reserved.place.engine;
        // Before it is sent: what is said by nobody who has a name is not recorded.
        self.name_track(state, call, entry.track, &conference);
        if let Err(refusal) = self.send(state, engine, commands) {
            self.unreserve(state, reserved);
            return Err(refusal.into());
        }
        entry.place = reserved.place.clone();
        self.occupy(state, call, reserved);
        state.begin(&conference, entry.settings.starts_room);
        let view = LegView::new(call, &entry, state);
        state.legs.insert(call.clone(), entry);
        Ok(view)
    }

    /// A seat in a room whose engine has room for it: its slots are taken, nothing is sent and nobody is counted yet. A leg
    /// that stays on its engine keeps its slot.
    fn reserve(
        &self,
        state: &mut State,
        call: &CallId,
        conference: &ConferenceId,
        current: Option<&Place>,
        load: LegLoad,
    ) -> Result<Reserved, Refusal> {
        let full = || self.turn_away(Why::Full(Full::Slots));
        let from = current.map(|place| (&place.conference, call));
        let too_much = |full| self.turn_away(Why::Full(full));
        let (engine, new_room) = match state.rooms.get(conference) {
            Some(room) => {
                let at = (room.engine, room.phase);
                state.account.fits(conference, at, load, from).map_err(too_much)?;
                (room.engine, None)
            }
            None => {
                let (engine, phase) = state.place_for_room(load, from).map_err(too_much)?;
                let slot = state.engines[engine]
                    .rooms
                    .take(conference.clone())
                    .map(RoomId)
                    .ok_or_else(full)?;
                (engine, Some((slot, phase)))
            }
        };
        let slot = match current {
            Some(place) if place.engine == engine => Some(place.slot),
            _ => state.engines[engine].legs.take(call.clone()).map(LegId),
        };
        let Some(slot) = slot else {
            if let Some((room, _)) = new_room {
                state.engines[engine].rooms.release(room.0);
            }
            return Err(full());
        };
        let room = new_room
            .map(|(room, _)| room)
            .or(state.rooms.get(conference).map(|room| room.slot));
        let room = room.expect("the room is there or its slot was just taken");
        let open = new_room.map(|(room, phase)| {
            let settings = RoomSettings {
                phase,
                ..RoomSettings::default()
            };
            Command::Engine(engine::Command::Open {
                room,
                state: Room::new(settings),
            })
        });
        Ok(Reserved {
            place: Place {
                conference: conference.clone(),
                engine,
                slot,
            },
            room,
            new_room_phase: new_room.map(|(_, phase)| phase),
            load,
            from: current.map(|place| place.conference.clone()),
            keeps_slot: current.is_some_and(|place| place.engine == engine),
            open,
        })
    }

    fn unreserve(&self, state: &mut State, reserved: Reserved) {
        let engine = &mut state.engines[reserved.place.engine];
        if !reserved.keeps_slot {
            engine.legs.release(reserved.place.slot.0);
        }
        if reserved.new_room_phase.is_some() {
            engine.rooms.release(reserved.room.0);
        }
    }

    /// Makes the room, where it is new, and counts the leg into it.
    fn occupy(&self, state: &mut State, call: &CallId, reserved: Reserved) {
        let Place {
            conference, engine, ..
        } = reserved.place;
        if let Some(phase) = reserved.new_room_phase {
            let room = RoomEntry {
                engine,
                slot: reserved.room,
                phase,
                has_begun: false,
                is_ending: false,
                waiting: Vec::new(),
                members: Vec::new(),
                since: SystemTime::now(),
                is_locked: false,
                participants_max: None,
                music: None,
                max_delay: None,
                sample_rate: None,
                activity_detection: true,
                talkers_max: None,
                is_lowered: false,
                recording: None,
            };
            state.rooms.insert(conference.clone(), room);
            tracing::info!(conference = %conference, engine, "room started");
            self.tell(&conference, None, "room.started", Map::new());
        }
        state.enter(&conference, call.clone(), reserved.load, reserved.from.as_ref());
    }

    /// Queues what a change takes; gives what to wait for when the leg moves.
    fn decide_change(
        &self,
        state: &mut State,
        call: &CallId,
        change_leg: ChangeLeg,
        negotiated: Option<(Negotiation, Box<LegMedia>)>,
        actor: &Actor,
    ) -> Result<Option<oneshot::Receiver<()>>, Denied> {
        let leg = state.legs.get(call).ok_or_else(no_such_leg)?;
        if leg.motion.is_some() {
            return Err(Refusal::not_found("The leg is leaving.").into());
        }
        let place = leg.place.clone();
        let (before, gain_db_before) = (leg.settings, leg.gain_db);
        let (mut settings, gain_db) = settings_after(before, gain_db_before, &change_leg);
        if let Some(seconds) = change_leg.media_timeout_s {
            settings.media_timeout = self.media_timeout_of(seconds);
        }
        let mut commands = Vec::new();
        let mut negotiation = None;
        let mut load = leg.negotiation.load(&self.calibration.costs);
        if let Some((next, media)) = negotiated {
            load = next.load(&self.calibration.costs);
            commands.push(Command::Engine(engine::Command::Renegotiate {
                leg: place.slot,
                media,
            }));
            negotiation = Some(next);
        }
        commands.extend(differences(&before, &settings).map(|difference| change(place.slot, difference)));
        let ends = match change_leg.end_on_media_timeout {
            Some(asked) => self.ends_on_media_timeout(asked),
            None => leg.ends_on_media_timeout,
        };
        if ends && !leg.ends_on_media_timeout && settings.media_timeout == before.media_timeout {
            // Media that has timed out already is told to have done so again, which then ends the leg.
            commands.push(change(
                place.slot,
                LegChange::MediaTimeout(settings.media_timeout),
            ));
        }

        let to = change_leg
            .conference
            .filter(|conference| *conference != place.conference);
        let mut reserved = None;
        if let Some(conference) = &to {
            self.admit(state, conference)?;
            reserved = Some(self.reserve(state, call, conference, Some(&place), load)?);
            commands.push(Command::Engine(engine::Command::Leave {
                leg: place.slot,
                for_good: false,
            }));
        }
        if let Err(refusal) = self.send(state, place.engine, commands) {
            if let Some(reserved) = reserved {
                self.unreserve(state, reserved);
            }
            return Err(refusal.into());
        }

        if let Some(leg) = state.legs.get_mut(call) {
            leg.settings = settings;
            leg.gain_db = gain_db;
            leg.deeds.note(&before, &settings, actor);
            leg.ends_on_media_timeout = ends;
            if let Some(negotiation) = negotiation {
                leg.negotiation = negotiation;
            }
        }
        // Another codec is never refused for what it costs.
        state.account.change_leg(&place.conference, call, load);
        self.tell_of_settings(state, call, &before, &settings);
        let Some(mut reserved) = reserved else {
            return Ok(None);
        };
        if let Some(open) = reserved.open.take() {
            self.send_surely(state, reserved.place.engine, open);
        }
        let to = reserved.place.clone();
        self.occupy(state, call, reserved);
        let (waiting, moved) = oneshot::channel();
        if let Some(leg) = state.legs.get_mut(call) {
            leg.motion = Some(Motion::Moving { to, then: None });
            leg.waiting.push(waiting);
        }
        Ok(Some(moved))
    }

    /// Tells the engine to let a leg go, unless it was told already.
    pub(super) fn let_go(&self, state: &mut State, call: &CallId, reason: &'static str) {
        let Some(leg) = state.legs.get_mut(call) else {
            return;
        };
        if leg.motion.is_none() {
            leg.motion = Some(Motion::Leaving { reason });
            let Place { engine, slot, .. } = leg.place;
            self.send_surely(
                state,
                engine,
                Command::Engine(engine::Command::Leave {
                    leg: slot,
                    for_good: true,
                }),
            );
        }
    }

    pub(super) async fn end(&self, call: &CallId, reason: &'static str) -> Result<(), Refusal> {
        let left = {
            let mut state = self.state();
            self.let_go(&mut state, call, reason);
            let Some(leg) = state.legs.get_mut(call) else {
                return Err(no_such_leg());
            };
            let (waiting, left) = oneshot::channel();
            leg.waiting.push(waiting);
            left
        };
        self.answer(left).await
    }
}

/// Figures of a leg that its engine was asked for.
pub(super) struct Asked {
    number: u64,
    answer: oneshot::Receiver<Box<LegReport>>,
}

/// Slots taken for a leg that is about to sit there.
struct Reserved {
    place: Place,
    room: RoomId,
    /// The phase of a room that is not there yet.
    new_room_phase: Option<usize>,
    /// What the leg asks of the engine, and the room that it comes from.
    load: LegLoad,
    from: Option<ConferenceId>,
    keeps_slot: bool,
    open: Option<Command>,
}

pub(super) fn change(leg: LegId, change: LegChange) -> Command {
    Command::Engine(engine::Command::Change { leg, change })
}

pub(super) fn millis(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis()).unwrap_or(u16::MAX)
}

pub(super) fn no_such_leg() -> Refusal {
    Refusal::not_found("There is no such leg.")
}

fn no_codec(error: crate::codec::CodecError) -> Refusal {
    tracing::error!(%error, "a codec could not be made");
    Refusal::new(INTERNAL, "A codec could not be made.")
}

// A request waits no longer for an engine than a client waits for us.
const _: () = assert!(PATIENCE.as_secs() < 30);
