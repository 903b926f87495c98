//! Digits: given to a leg's engine to be sent, and told of when its party has pressed them.

use std::time::Instant;

use serde_json::Map;

use super::legs::no_such_leg;
use super::{Inner, Service};
use crate::control::digits::{SendDigits, SendingView, mode_name};
use crate::control::ids::CallId;
use crate::control::refusal::Refusal;
use crate::control::state::{Place, State};
use crate::driver::Command;
use crate::dtmf::Digits;
use crate::engine;
use crate::id::LegId;

impl Service {
    /// Gives digits to the leg's engine, to be sent behind those that it is still sending.
    pub async fn send_digits(&self, call: &CallId, sent: SendDigits) -> Result<SendingView, Refusal> {
        let inner = &self.inner;
        let _turn = inner.legs_in_turn.take(call).await?;
        inner.settled(call).await?;
        let mut guard = inner.state();
        let state = &mut *guard;
        let leg = state.legs.get_mut(call).ok_or_else(no_such_leg)?;
        if !leg.negotiation.sends() {
            return Err(Refusal::conflict(match leg.negotiation.is_agreed() {
                true => "By its SDP the remote takes no media now.",
                false => "The leg's offer has not been answered yet.",
            }));
        }
        let pending = leg.pending_digits.with(Instant::now(), &sent)?;
        let Place { engine, slot, .. } = leg.place;
        let command = engine::Command::SendDigits {
            leg: slot,
            digits: sent.digits,
            tone_ms: sent.tone_ms,
            gap_ms: sent.gap_ms,
        };
        inner.send(state, engine, vec![Command::Engine(command)])?;
        if let Some(leg) = state.legs.get_mut(call) {
            leg.pending_digits = pending;
        }
        Ok(SendingView::new(call, &sent))
    }
}

impl Inner {
    pub(super) fn pressed(&self, state: &mut State, engine: usize, slot: LegId, digits: Digits) {
        let Some(call) = state.leg_at(engine, slot) else {
            return;
        };
        let Some(leg) = state.legs.get(&call) else {
            return;
        };
        let fields = Map::from_iter([
            ("digits".to_owned(), digits.to_string().into()),
            ("mode".to_owned(), mode_name(leg.settings.digits.mode).into()),
        ]);
        self.tell_once_joined(state, &call, "leg.digits", fields);
    }
}
