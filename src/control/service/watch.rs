//! What engines notice by themselves: audio that goes one way only, media that has died.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Inner;
use crate::control::events::timestamp;
use crate::control::state::{Motion, State};
use crate::id::LegId;
use crate::leg::OneWay;
use crate::time::Time;

const MEDIA_TIMEOUT: &str = "media_timeout";

impl Inner {
    pub(super) fn one_way(&self, state: &mut State, engine: usize, slot: LegId, one_way: OneWay) {
        let Some(call) = state.leg_at(engine, slot) else {
            return;
        };
        let OneWay {
            direction,
            on,
            reason,
        } = one_way;
        if let Some(leg) = state.legs.get(&call) {
            let conference = &leg.place.conference;
            let direction = direction.name();
            tracing::info!(%conference, %call, on, direction, reason, "one-way audio");
        }
        let fields = Map::from_iter([
            ("on".to_owned(), on.into()),
            ("direction".to_owned(), direction.name().into()),
            ("reason".to_owned(), reason.into()),
        ]);
        self.tell_once_joined(state, &call, "leg.one_way", fields);
    }

    pub(super) fn media_timeout(
        &self,
        state: &mut State,
        engine: usize,
        slot: LegId,
        last_arrival: Option<Time>,
    ) {
        let Some(call) = state.leg_at(engine, slot) else {
            return;
        };
        let Some(leg) = state.legs.get_mut(&call) else {
            return;
        };
        // It may have been taken away since the engine went by it.
        let Some(timeout) = leg.settings.media_timeout else {
            return;
        };
        let ends = leg.ends_on_media_timeout;
        if ends && let Some(Motion::Moving { then, .. }) = &mut leg.motion {
            then.get_or_insert(MEDIA_TIMEOUT);
        }
        let last_arrival = last_arrival.map(|time| timestamp(self.driver.clock().wall_clock(time)));
        tracing::info!(conference = %leg.place.conference, %call, ends, "media timeout");
        let fields = Map::from_iter([
            ("seconds".to_owned(), Value::from(timeout.as_secs())),
            ("lastArrival".to_owned(), last_arrival.into()),
            ("ends".to_owned(), ends.into()),
        ]);
        self.tell_once_joined(state, &call, "leg.media_timeout", fields);
        if ends {
            self.let_go(state, &call, MEDIA_TIMEOUT);
        }
    }

    /// A leg's media timeout: the one asked for, else the configured one. Zero is none.
    pub(super) fn media_timeout_of(&self, asked_s: Option<u64>) -> Option<Duration> {
        let seconds = asked_s.unwrap_or(self.config.rtp.media_timeout_s);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    pub(super) fn ends_on_media_timeout(&self, asked: Option<bool>) -> bool {
        asked.unwrap_or(self.config.rtp.end_on_media_timeout)
    }
}
