//! Rooms: look, change, clear. A room needs no request to begin or to end: its first leg makes it, its last ends it.

use tokio::sync::oneshot;

use super::legs::{change, millis};
use super::overload::talkers_heard;
use super::{Inner, Service};
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::Refusal;
use crate::control::requests::ChangeConference;
use crate::control::state::{Motion, State};
use crate::control::turns::PATIENCE;
use crate::control::views::{ConferenceSummary, ConferenceView, Listed, Page};
use crate::driver::Command;
use crate::engine;
use crate::leg::{DEFAULT_MAX_DELAY, LegChange};
use crate::room::RoomChange;

impl Service {
    pub fn conferences(&self, page: Page) -> Listed<ConferenceSummary> {
        let state = self.inner.state();
        page.of(&state.rooms, |id, room| ConferenceSummary::new(id, room, &state))
    }

    pub fn conference(&self, id: &ConferenceId) -> Result<ConferenceView, Refusal> {
        let state = self.inner.state();
        let room = state.rooms.get(id).ok_or_else(no_such_conference)?;
        Ok(ConferenceView::new(id, room, &state))
    }

    /// Does all of the change or none of it.
    pub fn change_conference(
        &self,
        id: &ConferenceId,
        change: ChangeConference,
    ) -> Result<ConferenceView, Refusal> {
        let mut guard = self.inner.state();
        let state = &mut *guard;
        self.inner.decide_conference_change(state, id, change)?;
        let room = state.rooms.get(id).ok_or_else(no_such_conference)?;
        Ok(ConferenceView::new(id, room, state))
    }

    /// Ends every leg of a room; returns when the last has left.
    pub async fn clear_conference(&self, id: &ConferenceId, reason: &'static str) -> Result<(), Refusal> {
        let left = {
            let mut state = self.inner.state();
            let members = state
                .rooms
                .get(id)
                .ok_or_else(no_such_conference)?
                .members
                .clone();
            self.inner.let_all_go(&mut state, id, &members, reason)
        };
        for left in left {
            self.inner.answer(left).await?;
        }
        Ok(())
    }

    /// Ends every leg there is, admits no other, and waits for them as long as anything may wait.
    pub async fn clear(&self, reason: &'static str) {
        let all = async {
            loop {
                let left = self.let_everyone_go(reason);
                if left.is_empty() {
                    return;
                }
                self.inner.awaited.notify_one();
                for left in left {
                    // A leg whose engine is gone leaves no word.
                    let _ = left.await;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not every leg has left in time");
        }
    }

    fn let_everyone_go(&self, reason: &'static str) -> Vec<oneshot::Receiver<()>> {
        let mut guard = self.inner.state();
        let state = &mut *guard;
        // Under the lock that takes stock: who is not in it is not admitted either.
        state.is_stopping = true;
        let rooms: Vec<_> = state
            .rooms
            .iter()
            .map(|(id, room)| (id.clone(), room.members.clone()))
            .collect();
        rooms
            .iter()
            .flat_map(|(id, members)| self.inner.let_all_go(state, id, members, reason))
            .collect()
    }
}

impl Inner {
    /// Ends the room: lets go who sits in it, or is on the way to it and then leaves at once; gives what to wait for.
    /// Who is on the way out to another room goes there.
    pub(super) fn let_all_go(
        &self,
        state: &mut State,
        room: &ConferenceId,
        members: &[CallId],
        reason: &'static str,
    ) -> Vec<oneshot::Receiver<()>> {
        if let Some(room) = state.rooms.get_mut(room) {
            room.is_ending = true;
        }
        let mut left = Vec::with_capacity(members.len());
        for call in members {
            if let Some(leg) = state.legs.get_mut(call)
                && let Some(Motion::Moving { to, then }) = &mut leg.motion
                && to.conference == *room
            {
                then.get_or_insert(reason);
            } else {
                self.let_go(state, call, reason);
            }
            if let Some(leg) = state.legs.get_mut(call) {
                let (waiting, gone) = oneshot::channel();
                leg.waiting.push(waiting);
                left.push(gone);
            }
        }
        left
    }

    /// What to wait for before anybody comes into the room; `None`: nothing.
    pub(super) fn end_of(&self, conference: &ConferenceId) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        if state.is_stopping {
            return None;
        }
        let room = state.rooms.get_mut(conference).filter(|room| room.is_ending)?;
        let (waiting, ended) = oneshot::channel();
        room.waiting.push(waiting);
        Some(ended)
    }

    fn decide_conference_change(
        &self,
        state: &mut State,
        id: &ConferenceId,
        asked: ChangeConference,
    ) -> Result<(), Refusal> {
        let room = state.rooms.get(id).ok_or_else(no_such_conference)?;
        let (engine, slot) = (room.engine, room.slot);
        let mut terms = room.terms();
        terms.talkers_max = asked.talkers_max.unwrap_or(terms.talkers_max);
        terms.activity_detection = asked.activity_detection.unwrap_or(terms.activity_detection);
        state
            .account
            .fits_terms(id, terms)
            .map_err(|full| self.turn_down(full))?;
        let talkers_max = asked.talkers_max.map(|max| talkers_heard(max, room.is_lowered));
        let mut commands: Vec<Command> = [
            asked.sample_rate.map(RoomChange::SampleRate),
            asked.activity_detection.map(RoomChange::ActivityDetection),
            talkers_max.map(RoomChange::TalkersMax),
            asked.music.map(RoomChange::MusicWhileAlone),
        ]
        .into_iter()
        .flatten()
        .map(|change| Command::Engine(engine::Command::ChangeRoom { room: slot, change }))
        .collect();
        // A leg that has a bound of its own keeps it.
        let mut bounded = Vec::new();
        if let Some(max_delay) = asked.max_delay {
            let max_delay = max_delay.unwrap_or(DEFAULT_MAX_DELAY);
            for call in &room.members {
                let Some(leg) = state.legs.get(call) else { continue };
                let is_here = leg.place.conference == *id && leg.motion.is_none();
                if is_here && leg.request.max_delay.is_none() && leg.settings.max_delay != max_delay {
                    commands.push(change(leg.place.slot, LegChange::MaxDelayMs(millis(max_delay))));
                    bounded.push((call.clone(), max_delay));
                }
            }
        }
        self.send(state, engine, commands)?;
        for (call, max_delay) in bounded {
            if let Some(leg) = state.legs.get_mut(&call) {
                leg.settings.max_delay = max_delay;
            }
        }
        if let Some(room) = state.rooms.get_mut(id) {
            room.is_locked = asked.locked.unwrap_or(room.is_locked);
            room.participants_max = asked.participants_max.unwrap_or(room.participants_max);
            room.talkers_max = asked.talkers_max.unwrap_or(room.talkers_max);
            room.music = asked.music.unwrap_or(room.music);
            room.max_delay = asked.max_delay.unwrap_or(room.max_delay);
            room.sample_rate = asked.sample_rate.unwrap_or(room.sample_rate);
            room.activity_detection = asked.activity_detection.unwrap_or(room.activity_detection);
        }
        state.account_for_room(id);
        Ok(())
    }
}

pub(super) fn no_such_conference() -> Refusal {
    Refusal::not_found("There is no such conference.")
}
