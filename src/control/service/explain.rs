//! Gathers what is known of two legs, at one moment as nearly as two engines allow.

use super::{Inner, Service};
use crate::control::explain::{Explanation, LegFacts, Terms};
use crate::control::ids::CallId;
use crate::control::refusal::Refusal;
use crate::control::state::{LegEntry, Place, RoomEntry, State};
use crate::leg::LegReport;

/// Asked again so often when a leg moves meanwhile.
const ATTEMPTS: usize = 3;

impl Service {
    /// Why `from` is, or is not, heard by `to`.
    pub async fn explain(&self, from: &CallId, to: &CallId) -> Result<Explanation, Refusal> {
        for _ in 0..ATTEMPTS {
            if let Some(explanation) = self.inner.try_to_explain(from, to).await? {
                return Ok(explanation);
            }
        }
        Err(Refusal::unavailable("The legs move from room to room.", 1))
    }
}

impl Inner {
    /// `None` where a leg has moved between question and answer.
    async fn try_to_explain(&self, from: &CallId, to: &CallId) -> Result<Option<Explanation>, Refusal> {
        let calls = [("from", from), ("to", to)];
        for (_, call) in calls {
            self.settled(call).await?;
        }
        let (places, asked) = {
            let mut state = self.state();
            let places = calls.map(|(name, call)| place(&state, name, call));
            let [from_place, to_place] = places;
            let (Some(from_place), Some(to_place)) = (from_place?, to_place?) else {
                return Ok(None);
            };
            let places = [from_place, to_place];
            let asked = [
                self.ask_for_report(&mut state, from)?,
                self.ask_for_report(&mut state, to)?,
            ];
            (places, asked)
        };
        let [of_from, of_to] = asked;
        let reports = [self.reported(of_from).await?, self.reported(of_to).await?];
        let state = self.state();
        for ((name, call), before) in calls.into_iter().zip(places) {
            if place(&state, name, call)? != Some(before) {
                return Ok(None);
            }
        }
        let facts = |call: &CallId, report: &LegReport| {
            let leg = state.legs.get(call)?;
            let room = state.rooms.get(&leg.place.conference);
            Some(facts(call, leg, room, report))
        };
        let [of_from, of_to] = reports;
        Ok(facts(from, &of_from)
            .zip(facts(to, &of_to))
            .map(|(from, to)| Explanation::of(&from, &to)))
    }
}

/// Where the leg sits; `None` while it is on its way in or out.
fn place(state: &State, name: &str, call: &CallId) -> Result<Option<Place>, Refusal> {
    let leg = state
        .legs
        .get(call)
        .ok_or_else(|| Refusal::not_found(format!("`{name}`: there is no such leg.")))?;
    Ok(leg.motion.is_none().then(|| leg.place.clone()))
}

fn facts(call: &CallId, leg: &LegEntry, room: Option<&RoomEntry>, report: &LegReport) -> LegFacts {
    let negotiation = &leg.negotiation;
    LegFacts {
        call: call.to_string(),
        conference: leg.place.conference.to_string(),
        waiting: room.is_some_and(|room| !room.has_begun),
        talkers_max: room.and_then(|room| room.talkers_max),
        has_joined: leg.has_joined,
        local: leg.local,
        terms: negotiation.is_agreed().then(|| Terms {
            receives: negotiation.receives(),
            sends: negotiation.sends(),
            remote: negotiation.remote(),
            suite: negotiation.suite().map(|suite| suite.name()),
            payload_types: negotiation.payload_types(),
        }),
        muted: leg.deeds.muted.clone(),
        deaf: leg.deeds.deaf.clone(),
        held: leg.deeds.held.clone(),
        hold_music: leg
            .settings
            .hold
            .and_then(|hold| hold.music)
            .map(|music| music.name()),
        gain_db: leg.gain_db,
        report: report.clone(),
    }
}
