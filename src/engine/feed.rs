//! The second half of a room's tick: who shares an encode, and everybody's packets.
//!
//! A leg that only listens is fed from the stream of all who hear the same in the same encoding. One whose signal is
//! its own takes a copy of that stream along, and comes back to it when the signals have been equal for a while.

use crate::dsp::{self, Music};
use crate::engine::EngineStats;
use crate::engine::outbox::Outbox;
use crate::engine::record::{record_leg, record_owed};
use crate::engine::send::send;
use crate::engine::tick::{Scratch, Step, voice_at};
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};
use crate::leg::Leg;
use crate::room::{Heard, Place, Progress, Room};
use crate::stream::Stream;
use crate::time::Tick;

/// How long a leg keeps a stream of its own after its signal has become the shared one: its encoder, a copy of the
/// shared one that has heard something else meanwhile, and the shared encoder grow alike again.
pub(super) const SETTLE_TICKS: u8 = 10;

const SILENCE: FrameBuffer = [0.0; FRAME_SAMPLES_MAX];

/// Seats every leg at a stream for this tick: its own while its signal is its own, else the one it shares.
pub(super) fn choose_streams(room: &mut Room, legs: &mut [Option<Box<Leg>>], step: Step) {
    let Step {
        tick, limiter_before, ..
    } = step;
    let Room { seats, shared, .. } = room;
    for (_, stream) in shared.each() {
        if !stream.is_at(tick) {
            // Ticks were left out.
            stream.align(tick);
        }
    }
    for seat in seats.iter_mut().filter(|seat| !seat.early) {
        let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
            continue;
        };
        let tones = leg.is_sent_tones();
        leg.remote_loss.step();
        let wanted = leg.sent_encoding();
        let (Some(stream), Some(wanted)) = (leg.media.stream.as_deref_mut(), wanted) else {
            seat.place = Place::None;
            continue;
        };
        let given = match seat.place {
            Place::Shared(group) => shared.stream(group).map(Stream::encoding),
            Place::Private | Place::None => Some(stream.encoding()),
        };
        if given != Some(wanted) && seat.place != Place::None {
            seat.settle = SETTLE_TICKS;
        }
        let goes_on_with = Tick(tick.0 - u64::from(seat.owed));
        if seat.place == Place::Private && !stream.is_at(goes_on_with) {
            stream.align(goes_on_with);
            seat.seam = true;
        }
        let own_signal = seat.heard == Heard::Mix && seat.voice.is_some() || tones;
        if own_signal {
            seat.settle = SETTLE_TICKS;
        }
        if !matches!(seat.place, Place::Shared(_)) && given != Some(wanted) {
            stream.retune(wanted);
        }
        let private = own_signal || seat.settle > 0 || seat.progress == Progress::Leaving;
        match seat.place {
            Place::Shared(group) if private => {
                if let Some(common) = shared.stream(group) {
                    stream.copy_from(common);
                    stream.retune(wanted);
                    leg.limiter = limiter_before;
                }
                shared.leave(group);
                seat.place = Place::Private;
            }
            Place::Private | Place::None if !private => {
                let group = match shared.find(seat.heard, wanted) {
                    // Whoever has not been told that there is nothing to hear would take a pause for loss.
                    Some(group) if !stream.pauses() && shared.pauses(group) => None,
                    Some(group) => Some(group),
                    None => {
                        if seat.place == Place::None {
                            stream.align(tick);
                        }
                        shared.open(seat.heard, stream)
                    }
                };
                if let Some(group) = group {
                    shared.enter(group);
                    seat.place = Place::Shared(group);
                    seat.seam = false;
                } else if seat.place == Place::None {
                    stream.align(tick);
                    seat.place = Place::Private;
                }
            }
            Place::None => {
                stream.align(tick);
                seat.place = Place::Private;
            }
            Place::Shared(_) | Place::Private => {}
        }
    }
}

/// Encodes once for everybody who hears the same in the same encoding.
pub(super) fn run_shared_streams(
    room: &mut Room,
    step: Step,
    scratch: &mut Scratch,
    stats: &mut EngineStats,
) {
    let Step { tick, rate, .. } = step;
    let Scratch {
        mix,
        music,
        music_ready,
        ..
    } = scratch;
    for (heard, stream) in room.shared.each() {
        let signal = match heard {
            Heard::Mix => &*mix,
            Heard::Music(piece) => render(piece, rate, tick, music, music_ready),
            Heard::Silence => &SILENCE,
        };
        stream.push(&signal[..rate.samples_per_tick()], rate, false);
        stats.encodes += stream.encodes();
    }
}

fn render<'a>(
    piece: Music,
    rate: Rate,
    tick: Tick,
    music: &'a mut [FrameBuffer; Music::ALL.len()],
    ready: &mut [bool; Music::ALL.len()],
) -> &'a FrameBuffer {
    let index = piece as usize;
    if !ready[index] {
        piece.render(tick, rate, &mut music[index][..rate.samples_per_tick()]);
        ready[index] = true;
    }
    &music[index]
}

/// Runs the streams of those whose signal is their own, and gives everybody their packets.
pub(super) fn feed_all(
    room: &mut Room,
    legs: &mut [Option<Box<Leg>>],
    step: Step,
    scratch: &mut Scratch,
    stats: &mut EngineStats,
    out: &mut Outbox,
) {
    let Step {
        tick,
        rate,
        limiter_before,
        ..
    } = step;
    let samples = rate.samples_per_tick();
    let Room { seats, shared, .. } = room;
    for seat in seats.iter_mut().filter(|seat| !seat.early) {
        let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
            continue;
        };
        leg.next_tick = Some(tick.next());
        if seat.progress == Progress::Leaving {
            scratch.leaving.push(seat.leg);
        }
        match seat.place {
            Place::None => record_leg(seat.leg, leg, None, step, false, out),
            Place::Shared(group) => {
                if leg.tap.is_some() {
                    let Scratch {
                        mix,
                        music,
                        music_ready,
                        ..
                    } = &mut *scratch;
                    let signal = match seat.heard {
                        Heard::Mix => Some(&*mix),
                        Heard::Music(piece) => Some(render(piece, rate, tick, music, music_ready)),
                        Heard::Silence => None,
                    };
                    let signal = signal.map(|signal| &signal[..samples]);
                    record_leg(seat.leg, leg, signal, step, seat.seam, out);
                }
                if let Some(stream) = shared.stream(group) {
                    send(seat.leg, leg, stream, tick, stats, out);
                }
            }
            Place::Private => {
                let Scratch {
                    voices,
                    total,
                    mix,
                    music,
                    music_ready,
                    own,
                    ..
                } = &mut *scratch;
                let own = &mut own[..samples];
                match (seat.heard, seat.voice) {
                    (Heard::Mix, Some(voice)) => {
                        dsp::mix_minus(&total[..samples], &voices[voice_at(voice as usize, samples)], own);
                        leg.limiter.process(own, rate);
                    }
                    (Heard::Mix, None) => {
                        // Where the two were turned down by different amounts, the one does not go on where the
                        // other ended.
                        seat.seam |= leg.limiter.gain() != limiter_before.gain();
                        own.copy_from_slice(&mix[..samples]);
                        leg.limiter = room.limiter;
                    }
                    (Heard::Music(piece), _) => {
                        own.copy_from_slice(&render(piece, rate, tick, music, music_ready)[..samples]);
                    }
                    (Heard::Silence, _) => own.fill(0.0),
                }
                let tones = leg.is_sent_tones();
                // Where tones begin and end, what is heard is torn.
                seat.seam |= std::mem::replace(&mut leg.digits.were_tones, tones) != tones;
                if tones {
                    leg.digits.sender.render(rate, own);
                }
                if seat.progress == Progress::Leaving {
                    dsp::ramp(own, 1.0, 0.0);
                }
                record_owed(seat.leg, leg, seat.owed, step, out);
                record_leg(seat.leg, leg, Some(own), step, seat.seam || seat.owed > 0, out);
                let Some(mut stream) = leg.media.stream.take() else {
                    continue;
                };
                for _ in 0..std::mem::take(&mut seat.owed) {
                    stream.push(&SILENCE[..samples], rate, true);
                    stats.encodes += stream.encodes();
                    send(seat.leg, leg, &stream, tick, stats, out);
                    seat.seam = true;
                }
                stream.push(own, rate, std::mem::take(&mut seat.seam));
                stats.encodes += stream.encodes();
                send(seat.leg, leg, &stream, tick, stats, out);
                leg.media.stream = Some(stream);
                seat.settle = seat.settle.saturating_sub(1);
            }
        }
    }
}
