//! Who is heard in which recordings: those of the room, and those of what its legs are sent, which follow their leg.
//!
//! What fails here was said of a recording that has just ended.

use super::Inner;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::state::State;
use crate::id::RecordingSlot;
use crate::time::Tick;

impl Inner {
    /// Writes a leg into a recording's attendance.
    fn attend(&self, state: &mut State, call: &CallId, recording: RecordingSlot, tick: Tick) {
        let Some(leg) = state.legs.get_mut(call) else {
            return;
        };
        let cli = leg.request.cli.as_deref();
        let _ = self.recorder.joined(recording, call.as_str(), cli, tick);
        leg.muted_in.remove(&recording);
        if leg.settings.muted {
            leg.muted_in.insert(recording);
            let _ = self.recorder.muted(recording, call.as_str(), tick);
        }
    }

    /// Writes all who are in the room into a recording's attendance.
    pub(super) fn attend_all(
        &self,
        state: &mut State,
        conference: &ConferenceId,
        recording: RecordingSlot,
        tick: Tick,
    ) {
        for call in state.present_in(conference) {
            self.attend(state, &call, recording, tick);
        }
    }

    /// A leg has joined a room.
    pub(super) fn has_come(&self, state: &mut State, call: &CallId, tick: Tick) {
        let Some(leg) = state.legs.get(call) else { return };
        let (conference, own) = (leg.place.conference.clone(), leg.recording.clone());
        for recording in state.recordings_in(&conference) {
            match own.as_ref().is_some_and(|own| own.slot == recording) {
                true => self.attend_all(state, &conference, recording, tick),
                false => self.attend(state, call, recording, tick),
            }
        }
    }

    /// A leg leaves its room, with what is recorded of it.
    pub(super) fn has_gone(&self, state: &mut State, call: &CallId, tick: Tick) {
        let Some(leg) = state.legs.get_mut(call) else {
            return;
        };
        leg.muted_in.clear();
        let (conference, own) = (leg.place.conference.clone(), leg.recording.clone());
        for recording in state.recordings_in(&conference) {
            let _ = self.recorder.left(recording, call.as_str(), tick);
        }
        let Some(own) = own else { return };
        for other in state.present_in(&conference) {
            if let Some(leg) = state.legs.get_mut(&other).filter(|_| other != *call) {
                leg.muted_in.remove(&own.slot);
                let _ = self.recorder.left(own.slot, other.as_str(), tick);
            }
        }
    }

    /// The engine has obeyed a change of the leg's settings.
    pub(super) fn is_muted_or_not(&self, state: &mut State, call: &CallId, tick: Tick) {
        let Some(leg) = state.legs.get(call) else { return };
        let recordings = state.recordings_in(&leg.place.conference);
        let Some(leg) = state.legs.get_mut(call) else {
            return;
        };
        leg.muted_in.retain(|recording| recordings.contains(recording));
        for recording in recordings {
            let _ = match leg.settings.muted {
                true if leg.muted_in.insert(recording) => self.recorder.muted(recording, call.as_str(), tick),
                false if leg.muted_in.remove(&recording) => {
                    self.recorder.unmuted(recording, call.as_str(), tick)
                }
                _ => Ok(()),
            };
        }
    }
}
