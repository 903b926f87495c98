//! Who of those who say something is in the mix, and the mixing itself.

use crate::dsp;
use crate::engine::Event;
use crate::engine::outbox::Outbox;
use crate::engine::tick::{Scratch, Step, voice_at};
use crate::frame::Rate;
use crate::id::LegId;
use crate::leg::Leg;
use crate::room::{Candidate, Room};
use crate::time::Tick;

/// Somebody who says something in this tick, or did in the last and is to fade. What it says lies in the voice of the
/// same number, at its own rate until it is mixed.
pub(super) struct Said {
    /// Where it sits.
    pub seat: usize,
    pub rate: Rate,
    /// Mean square, gain applied.
    pub power: f32,
    /// What it is to end the tick with: zero for who fades.
    pub gain: f32,
    pub crowded_out: bool,
}

/// Sums up all who are to be heard, each with its gain on the way to what it is to be.
pub(super) fn mix_all(
    room: &mut Room,
    legs: &mut [Option<Box<Leg>>],
    step: Step,
    scratch: &mut Scratch,
    out: &mut Outbox,
) {
    choose(room, scratch);
    let Step { tick, rate, .. } = step;
    let samples = rate.samples_per_tick();
    let Scratch {
        said,
        voices,
        frame,
        total,
        ..
    } = scratch;
    for (number, said) in said.iter().enumerate() {
        let seat = &mut room.seats[said.seat];
        let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
            continue;
        };
        tell_whether_heard(leg, seat.leg, said.gain > 0.0, said.crowded_out, tick, out);
        let changes_rate = enters_at(leg, said.rate, rate, voices[voice_at(number, 1)][0]);
        let voice = &mut voices[voice_at(number, samples.max(said.rate.samples_per_tick()))];
        if said.gain == 0.0 && seat.gain == 0.0 {
            leg.inbound.remember(&voice[..said.rate.samples_per_tick()]);
            continue;
        }
        if said.rate != rate {
            leg.inbound
                .process(&voice[..said.rate.samples_per_tick()], &mut frame[..samples]);
            voice[..samples].copy_from_slice(&frame[..samples]);
        }
        let voice = &mut voice[..samples];
        if changes_rate && seat.gain > 0.0 {
            dsp::declick(voice, leg.inbound_last, rate);
        }
        leg.inbound_last = voice[samples - 1];
        // A change of gain takes the whole tick: 20 ms fades at both ends of what a leg says.
        dsp::ramp(voice, seat.gain, said.gain);
        dsp::add(&mut total[..samples], voice);
        seat.voice = Some(number as u32);
        seat.gain = said.gain;
    }
}

/// Where a room hears only so many at once, silences those who are not chosen.
fn choose(room: &mut Room, scratch: &mut Scratch) {
    let Some(max) = room.settings.talkers_max else {
        return;
    };
    let Scratch {
        said,
        candidates,
        order,
        ..
    } = scratch;
    candidates.clear();
    for said in said.iter().filter(|said| said.gain > 0.0) {
        candidates.push(Candidate {
            power: said.power,
            turn: room.seats[said.seat].turn,
        });
    }
    room.talkers.choose(usize::from(max), candidates, order);
    for (said, candidate) in said.iter_mut().filter(|said| said.gain > 0.0).zip(&*candidates) {
        room.seats[said.seat].turn = candidate.turn;
        if !candidate.turn.is_in() {
            said.gain = 0.0;
            said.crowded_out = true;
        }
    }
}

/// Notes whether a leg contributes, and tells when that changes.
pub(super) fn tell_whether_heard(
    leg: &mut Leg,
    id: LegId,
    contributing: bool,
    crowded_out: bool,
    tick: Tick,
    out: &mut Outbox,
) {
    leg.crowded_out = crowded_out;
    if leg.contributing != contributing {
        leg.contributing = contributing;
        out.events.push(Event::Talking {
            leg: id,
            on: contributing,
            tick,
        });
    }
}

/// Makes the way into the mix one between these rates, as if it had heard `first` all along; says whether it was not.
pub(super) fn enters_at(leg: &mut Leg, from: Rate, to: Rate, first: f32) -> bool {
    let changes = leg.inbound.from() != from || leg.inbound.to() != to;
    if changes {
        leg.inbound = dsp::Resampler::resting_at(from, to, first);
    }
    changes
}
