//! The last stage of a room's tick: each leg looks after itself, and what it notices is told.

use crate::engine::outbox::Outbox;
use crate::engine::tick::Step;
use crate::engine::{EngineStats, Event};
use crate::id::LegId;
use crate::leg::{Leg, Noticed};
use crate::room::{Progress, Room};
use crate::time::Tick;

/// How often a leg's delay is noted: once a second.
const DELAY_NOTED_TICKS: u64 = 50;

pub(super) fn watch_all(
    room: &Room,
    legs: &mut [Option<Box<Leg>>],
    step: Step,
    stats: &mut EngineStats,
    out: &mut Outbox,
) {
    let mixes_everybody = !room.settings.activity_detection;
    let stays = |progress| matches!(progress, Progress::Joining | Progress::Seated);
    for seat in room
        .seats
        .iter()
        .filter(|seat| !seat.early && stays(seat.progress))
    {
        let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
            continue;
        };
        // Not all of them in one tick.
        if (step.tick.0 + u64::from(seat.leg.0)).is_multiple_of(DELAY_NOTED_TICKS) {
            stats.note_delay(leg.delay());
        }
        if leg.watch.needs_counters() {
            stats.add(&leg.settle());
        }
        let Noticed {
            one_way,
            media_timeout,
        } = leg.notice(mixes_everybody);
        for one_way in one_way.into_iter().flatten() {
            stats.one_way[one_way.direction as usize] += u64::from(one_way.on);
            out.events.push(Event::OneWay {
                leg: seat.leg,
                one_way,
                tick: step.tick,
            });
        }
        if media_timeout {
            stats.media_timeouts += 1;
            out.events.push(Event::MediaTimeout {
                leg: seat.leg,
                last_arrival: leg.last_arrival,
                tick: step.tick,
            });
        }
    }
}

/// A leg goes out of its room: what was told there to have begun is told to have ended.
pub(super) fn stop_watching(id: LegId, leg: &mut Leg, tick: Tick, out: &mut Outbox) {
    for one_way in leg.watch.end() {
        out.events.push(Event::OneWay {
            leg: id,
            one_way,
            tick,
        });
    }
}
