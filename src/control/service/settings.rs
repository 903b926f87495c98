//! What a change of a leg comes to: its settings after it, the commands that lead there, and what is told of it.

use serde_json::Map;

use super::Inner;
use super::legs::millis;
use crate::control::ids::CallId;
use crate::control::requests::ChangeLeg;
use crate::control::state::State;
use crate::leg::{Hold, LegChange, LegSettings};

pub(super) fn settings_after(before: LegSettings, gain_db: f64, change: &ChangeLeg) -> (LegSettings, f64) {
    let mut after = before;
    after.muted = change.muted.unwrap_or(before.muted);
    after.deaf = change.deaf.unwrap_or(before.deaf);
    after.digits = change.digits.unwrap_or(before.digits);
    let gain_db = change.gain_db.unwrap_or(gain_db);
    after.gain = factor(gain_db);
    match (change.onhold, before.hold) {
        (Some(true), held) | (None, held @ Some(_)) => {
            let music = change.music.unwrap_or(held.and_then(|hold| hold.music));
            after.hold = Some(Hold { music });
        }
        (Some(false), _) | (None, None) => {
            after.hold = None;
            after.music_while_alone = change.music.unwrap_or(before.music_while_alone);
        }
    }
    (after, gain_db)
}

/// The commands that lead from one to the other.
pub(super) fn differences(before: &LegSettings, after: &LegSettings) -> impl Iterator<Item = LegChange> {
    [
        (before.muted != after.muted).then_some(LegChange::Muted(after.muted)),
        (before.deaf != after.deaf).then_some(LegChange::Deaf(after.deaf)),
        (before.hold != after.hold).then_some(LegChange::Hold(after.hold)),
        (before.gain != after.gain).then_some(LegChange::Gain(after.gain)),
        (before.music_while_alone != after.music_while_alone)
            .then_some(LegChange::MusicWhileAlone(after.music_while_alone)),
        (before.max_delay != after.max_delay).then_some(LegChange::MaxDelayMs(millis(after.max_delay))),
        (before.digits != after.digits).then_some(LegChange::Digits(after.digits)),
        (before.media_timeout != after.media_timeout).then_some(LegChange::MediaTimeout(after.media_timeout)),
    ]
    .into_iter()
    .flatten()
}

/// Decibels as a factor.
pub(super) fn factor(gain_db: f64) -> f32 {
    10f64.powf(gain_db / 20.0) as f32
}

impl Inner {
    pub(super) fn tell_of_settings(
        &self,
        state: &mut State,
        call: &CallId,
        before: &LegSettings,
        after: &LegSettings,
    ) {
        let mut told = Vec::new();
        if before.muted != after.muted {
            told.push(if after.muted { "leg.muted" } else { "leg.unmuted" });
        }
        if before.hold.is_some() != after.hold.is_some() {
            told.push(if after.hold.is_some() {
                "leg.held"
            } else {
                "leg.resumed"
            });
        }
        for kind in told {
            self.tell_once_joined(state, call, kind, Map::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::Music;

    #[test]
    fn music_is_for_the_hold_of_a_held_leg_and_for_being_alone_otherwise() {
        let free = LegSettings::default();
        let ring = ChangeLeg {
            music: Some(Some(Music::Ring)),
            ..ChangeLeg::default()
        };
        assert_eq!(
            settings_after(free, 0.0, &ring).0.music_while_alone,
            Some(Music::Ring)
        );
        let hold = ChangeLeg {
            onhold: Some(true),
            ..ring.clone()
        };
        let held = settings_after(free, 0.0, &hold).0;
        assert_eq!(
            held.hold,
            Some(Hold {
                music: Some(Music::Ring)
            })
        );
        assert_eq!(held.music_while_alone, None);
        // A second hold that says nothing of music keeps it; one that clears it is silent.
        let again = ChangeLeg {
            onhold: Some(true),
            ..ChangeLeg::default()
        };
        assert_eq!(settings_after(held, 0.0, &again).0, held);
        let silent = ChangeLeg {
            music: Some(None),
            ..again
        };
        assert_eq!(
            settings_after(held, 0.0, &silent).0.hold,
            Some(Hold { music: None })
        );
        let resume = ChangeLeg {
            onhold: Some(false),
            ..ChangeLeg::default()
        };
        assert_eq!(settings_after(held, 0.0, &resume).0, free);
    }

    #[test]
    fn only_what_differs_is_sent() {
        let before = LegSettings::default();
        let change = ChangeLeg {
            muted: Some(true),
            deaf: Some(false),
            gain_db: Some(6.0),
            ..ChangeLeg::default()
        };
        let (after, gain_db) = settings_after(before, 0.0, &change);
        let sent: Vec<LegChange> = differences(&before, &after).collect();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0], LegChange::Muted(true));
        assert!(matches!(sent[1], LegChange::Gain(gain) if (gain - 1.995).abs() < 0.001));
        assert_eq!(gain_db, 6.0);
    }
}
