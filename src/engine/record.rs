//! What of a room's tick goes to recordings: its mix, what each leg adds to that, and what single legs are sent.

use crate::capture::{Tap, Turned};
use crate::engine::outbox::Outbox;
use crate::engine::tick::{Scratch, Step, voice_at};
use crate::engine::{Event, Recorded};
use crate::id::{LegId, RoomId, TrackNumber};
use crate::leg::Leg;
use crate::room::{Progress, Room};
use crate::time::Tick;

/// Hands the recorder the mix that listeners hear and, where they are wanted, the voices it was made of: behind their
/// gains, before the limiter.
pub(super) fn record_room(
    id: RoomId,
    room: &mut Room,
    legs: &mut [Option<Box<Leg>>],
    step: Step,
    scratch: &Scratch,
    out: &mut Outbox,
) {
    let Step { tick, rate, .. } = step;
    let samples = rate.samples_per_tick();
    let Room { tap, seats, .. } = room;
    let Some(tap) = tap else { return };
    if !begin_tick(Recorded::Room(id), tap, tick, out) {
        return;
    }
    let Tap { recording, line, .. } = tap;
    let (recording, to) = (*recording, recording.rate);
    out.tap(recording, TrackNumber::MAIN, tick, |frame| {
        line.follow(tick, Some(&scratch.mix[..samples]), rate, false, to, frame)
    });
    if !recording.legs {
        return;
    }
    for seat in seats.iter().filter(|seat| !seat.early) {
        let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
            continue;
        };
        let (track, line) = (leg.track, &mut leg.track_line);
        let voice = seat
            .voice
            .map(|voice| &scratch.voices[voice_at(voice as usize, samples)]);
        out.tap(recording, track, tick, |frame| {
            line.follow(tick, voice, rate, false, to, frame)
        });
        if seat.progress == Progress::Leaving && line.holds_back() {
            // The mix brings it out with the next tick, when the leg is no longer here.
            let tick = tick.next();
            out.tap(recording, track, tick, |frame| {
                line.follow(tick, None, rate, false, to, frame)
            });
        }
    }
}

/// Hands the recorder what a leg is given to hear, `None` for silence, where that is recorded. `seam`: it does not
/// continue what the leg heard before.
pub(super) fn record_leg(
    id: LegId,
    leg: &mut Leg,
    signal: Option<&[f32]>,
    step: Step,
    seam: bool,
    out: &mut Outbox,
) {
    let Step { tick, rate, .. } = step;
    let Some(tap) = &mut leg.tap else { return };
    if !begin_tick(Recorded::Leg(id), tap, tick, out) {
        return;
    }
    let Tap { recording, line, .. } = tap;
    let to = recording.rate;
    out.tap(*recording, TrackNumber::MAIN, tick, |frame| {
        line.follow(tick, signal, rate, seam, to, frame)
    });
}

/// Hands the recorder the silence that a leg gets for the ticks before this one, which it was on its way from another
/// room. A recording that begins with this tick knows nothing of them.
pub(super) fn record_owed(id: LegId, leg: &mut Leg, owed: u8, step: Step, out: &mut Outbox) {
    for tick in step.tick.0 - u64::from(owed)..step.tick.0 {
        let goes_on = |tap: &Tap| tap.next.is_some_and(|next| next.0 <= tick);
        if leg.tap.as_ref().is_some_and(goes_on) {
            let step = Step {
                tick: Tick(tick),
                ..step
            };
            record_leg(id, leg, None, step, true, out);
        }
    }
}

/// Tells what a tick changes about a recording; says whether there is to be sound in it.
fn begin_tick(of: Recorded, tap: &mut Tap, tick: Tick, out: &mut Outbox) -> bool {
    let slot = tap.recording.slot;
    let Turned { begins, pauses } = tap.step(tick);
    if begins {
        out.events.push(Event::Recording {
            of,
            slot,
            on: true,
            tick,
        });
    }
    if let Some(on) = pauses {
        out.events.push(Event::RecordingPaused { slot, on, tick });
    }
    if tap.is_paused {
        out.tap_pause(tap.recording, tick);
    }
    !tap.is_paused
}

/// Takes a tap off, and tells so.
pub(super) fn end_recording(of: Recorded, tap: &mut Option<Tap>, out: &mut Outbox) {
    if let Some(tap) = tap.take() {
        out.events.push(Event::Recording {
            of,
            slot: tap.recording.slot,
            on: false,
            tick: tap.end(),
        });
    }
}
