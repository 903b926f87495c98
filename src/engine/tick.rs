//! One 20 ms step of a room: hear every leg (here), mix those who are chosen (`talkers`), then choose streams and feed
//! every leg (`feed`).
//!
//! ```text
//! playout ─▶ activity ─▶ who is heard ─▶ resample, gain ─▶ total ─┬─ limit ─▶ shared streams ─▶ who only listens
//!                                             │ voice             ├─ − voice ─ limit ─▶ own stream ─▶ who contributes
//!                                             └───────────────────┘          └─▶ recording
//! ```

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::dsp::{self, Limiter, Music};
use crate::dtmf::{self, Digit};
use crate::engine::feed::{SETTLE_TICKS, choose_streams, feed_all, run_shared_streams};
use crate::engine::outbox::Outbox;
use crate::engine::record::{end_recording, record_room};
use crate::engine::report::report_all;
use crate::engine::talkers::{Said, enters_at, mix_all, tell_whether_heard};
use crate::engine::watch::{stop_watching, watch_all};
use crate::engine::{Engine, EngineStats, Event, Recorded};
use crate::frame::{FRAME_SAMPLES_MAX, FrameBuffer, Rate};
use crate::id::{LegId, RoomId};
use crate::jitter::PlayedKind;
use crate::leg::{Leg, Told};
use crate::room::{Candidate, Heard, Place, Progress, Room, Seat, SharedStreams, Turn};
use crate::time::{Tick, Time};

/// Packets that a leg is given at most for ticks it missed between two rooms.
pub(super) const OWED_MAX: u64 = 2;

/// Frames that live for one room's tick.
pub(super) struct Scratch {
    /// Who says something in this tick.
    pub said: Vec<Said>,
    /// One frame for each of them; of those in the mix then at the room's rate, gain applied. One stretch of memory, of
    /// which no more is ever touched than there were voices at once.
    pub voices: Box<[f32]>,
    /// Of these, who is not muted or the like, where the room is to choose; and room to order them in.
    pub candidates: Vec<Candidate>,
    pub order: Vec<u32>,
    pub frame: FrameBuffer,
    pub total: FrameBuffer,
    /// The total behind the limiter: what everybody hears who does not contribute.
    pub mix: FrameBuffer,
    pub music: [FrameBuffer; Music::ALL.len()],
    pub music_ready: [bool; Music::ALL.len()],
    pub own: FrameBuffer,
    pub leaving: Vec<LegId>,
    /// Digits of this tick for everybody but who pressed them.
    pub relayed: Vec<(LegId, Digit)>,
}

impl Scratch {
    pub(super) fn new(legs: usize) -> Scratch {
        Scratch {
            said: Vec::with_capacity(legs),
            candidates: Vec::with_capacity(legs),
            order: Vec::with_capacity(legs),
            voices: vec![0.0; legs * FRAME_SAMPLES_MAX].into_boxed_slice(),
            frame: [0.0; FRAME_SAMPLES_MAX],
            total: [0.0; FRAME_SAMPLES_MAX],
            mix: [0.0; FRAME_SAMPLES_MAX],
            music: [[0.0; FRAME_SAMPLES_MAX]; Music::ALL.len()],
            music_ready: [false; Music::ALL.len()],
            own: [0.0; FRAME_SAMPLES_MAX],
            leaving: Vec::with_capacity(legs),
            relayed: Vec::with_capacity(legs),
        }
    }
}

/// Where in `Scratch::voices` a voice lies.
pub(super) fn voice_at(voice: usize, samples: usize) -> Range<usize> {
    let start = voice * FRAME_SAMPLES_MAX;
    start..start + samples
}

impl Engine {
    /// One 20 ms step of the room. `out` must be empty of datagrams.
    ///
    /// A panic on the way is a defect of ours, and the room's alone: it is counted, and the room's legs leave.
    pub fn tick_room(&mut self, id: RoomId, tick: Tick, now: Time, out: &mut Outbox) {
        let ticked = catch_unwind(AssertUnwindSafe(|| self.step_room(id, tick, now, out)));
        if ticked.is_err() {
            self.give_up_room(id, tick, out);
        }
    }

    fn give_up_room(&mut self, id: RoomId, tick: Tick, out: &mut Outbox) {
        let Engine {
            legs,
            rooms,
            room_of,
            scratch,
            stats,
            ..
        } = self;
        stats.panics += 1;
        scratch.leaving.clear();
        let Some(room) = rooms[id.0 as usize].as_deref_mut() else {
            return;
        };
        room.shared = SharedStreams::default();
        for seat in room.seats.drain(..) {
            room_of[seat.leg.0 as usize] = None;
            if let Some(mut leg) = legs[seat.leg.0 as usize].take() {
                end_recording(Recorded::Leg(seat.leg), &mut leg.tap, out);
                take_leave(seat.leg, leg, tick, out);
            }
        }
    }

    fn step_room(&mut self, id: RoomId, tick: Tick, now: Time, out: &mut Outbox) {
        let Engine {
            legs,
            rooms,
            room_of,
            scratch,
            stats,
            wall_clock,
            ..
        } = self;
        let Some(room) = rooms[id.0 as usize].as_deref_mut() else {
            return;
        };
        let legs = &mut **legs;
        let rate = room.rate.current();

        let step = Step {
            tick,
            now,
            rate,
            limiter_before: room.limiter,
        };
        room.begun = room.begun || begins(room, legs, tick);
        let needed = hear_all(room, legs, step, scratch, out);
        relay_digits(room, legs, scratch, stats);
        limit_mix(room, step, scratch);
        choose_streams(room, legs, step);
        run_shared_streams(room, step, scratch, stats);
        feed_all(room, legs, step, scratch, stats, out);
        report_all(room, legs, step.now, *wall_clock, stats, out);
        record_room(id, room, legs, step, scratch, out);
        watch_all(room, legs, step, stats, out);

        room.rate.need(needed);
        for seat in &mut room.seats {
            if seat.progress == Progress::Joining && !seat.early {
                seat.progress = Progress::Seated;
            }
            // Also of one that leaves with its first tick: whoever listens sees pairs.
            if !seat.early && !std::mem::replace(&mut seat.joined, true) {
                out.events.push(Event::Joined {
                    leg: seat.leg,
                    tick,
                    waits: !room.begun,
                });
            }
            if std::mem::take(&mut seat.changed) {
                out.events.push(Event::Changed { leg: seat.leg, tick });
            }
        }
        if !scratch.leaving.is_empty() {
            for leg in scratch.leaving.drain(..) {
                unseat(room, legs, leg, tick, stats, out);
                room_of[leg.0 as usize] = None;
            }
        }
    }
}

/// What all stages of one room's tick go by.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub tick: Tick,
    pub now: Time,
    /// The room's.
    pub rate: Rate,
    /// The shared signal's limiter as it was before this tick.
    pub limiter_before: Limiter,
}

/// Whether somebody is here with whom the room begins.
fn begins(room: &Room, legs: &[Option<Box<Leg>>], tick: Tick) -> bool {
    room.seats.iter().any(|seat| {
        let leg = legs[seat.leg.0 as usize].as_deref();
        leg.is_some_and(|leg| leg.settings.starts_room && !is_early(leg, tick))
    })
}

/// From a room of an earlier phase a leg can come within the tick that it has had there.
fn is_early(leg: &Leg, tick: Tick) -> bool {
    leg.next_tick.is_some_and(|next| next > tick)
}

/// Plays out every leg, decides who contributes and sums them up. Returns the highest rate a codec in use needs.
fn hear_all(
    room: &mut Room,
    legs: &mut [Option<Box<Leg>>],
    step: Step,
    scratch: &mut Scratch,
    out: &mut Outbox,
) -> Rate {
    let Step { tick, now, rate, .. } = step;
    let samples = rate.samples_per_tick();
    let listening = room.seats.iter().filter(|seat| !is_held(legs, seat)).count();
    let mut needed = Rate::Hz8000;
    scratch.said.clear();
    scratch.total[..samples].fill(0.0);
    scratch.music_ready = [false; Music::ALL.len()];
    for (index, seat) in room.seats.iter_mut().enumerate() {
        let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
            continue;
        };
        seat.early = is_early(leg, tick);
        if seat.early {
            seat.voice = None;
            needed = needed.max(leg.rate_in_use());
            continue;
        }
        if seat.progress == Progress::Joining && seat.place == Place::Private {
            seat.owed = leg
                .next_tick
                .map_or(0, |next| tick.0.saturating_sub(next.0).min(OWED_MAX)) as u8;
        }
        let media = &mut *leg.media;
        let unheard =
            !leg.contributing && seat.gain == 0.0 && (room.settings.activity_detection || leg.crowded_out);
        if let Some(decoder) = media
            .playout
            .format()
            .and_then(|format| media.decoders.get_mut(usize::from(format)))
        {
            decoder.set_unheard(unheard);
        }
        let played = media.playout.pull(now, &mut media.decoders, &mut scratch.frame);
        let frame = &mut scratch.frame[..played.rate.samples_per_tick()];
        dsp::saturate(frame);
        let playout_delay = Duration::from_secs_f32(media.playout.stats().delay_ms.max(0.0) * 1.0e-3);
        let pressed = leg.digits.listen(now, playout_delay, frame, played.rate);
        let active = match played.kind {
            PlayedKind::Voice if !pressed => leg.activity.update(frame, played.rate),
            PlayedKind::Voice | PlayedKind::Noise | PlayedKind::Silence => leg.activity.silence(),
        };
        if played.kind == PlayedKind::Voice {
            leg.codec_received = media.playout.format().and_then(|format| {
                media
                    .decoders
                    .get(usize::from(format))
                    .map(|decoder| decoder.codec())
            });
        }
        needed = needed.max(leg.rate_in_use());

        let says = match room.settings.activity_detection {
            true => active,
            false => played.kind != PlayedKind::Silence,
        };
        let settings = &leg.settings;
        let apart = settings.hold.is_some() || !room.begun;
        let silenced =
            settings.muted || apart || leg.digits.is_collecting() || seat.progress == Progress::Leaving;
        let gain = if says && !silenced { settings.gain } else { 0.0 };
        let id = seat.leg;
        leg.digits.tell(now, |told| {
            let digits = match told {
                Told::Key(digit) => digit.into(),
                Told::Relayed(digit) if apart => digit.into(),
                Told::Relayed(digit) => {
                    // As many as legs: what is beyond was pressed by somebody with more than ten fingers.
                    if scratch.relayed.len() < scratch.relayed.capacity() {
                        scratch.relayed.push((id, digit));
                    }
                    digit.into()
                }
                Told::Collected(digits) => digits,
            };
            out.events.push(Event::Digits {
                leg: id,
                digits,
                tick,
            });
        });
        seat.voice = None;
        if gain == 0.0 {
            seat.turn = Turn::default();
        }
        if gain > 0.0 || seat.gain > 0.0 {
            scratch.voices[voice_at(scratch.said.len(), frame.len())].copy_from_slice(frame);
            scratch.said.push(Said {
                seat: index,
                rate: played.rate,
                power: leg.activity.power() * gain * gain,
                gain,
                crowded_out: false,
            });
        } else {
            tell_whether_heard(leg, seat.leg, false, false, tick, out);
            enters_at(leg, played.rate, rate, frame[0]);
            leg.inbound.remember(frame);
        }

        let heard = heard_by(leg, room.begun, listening, room.settings.music_while_alone);
        if heard != seat.heard {
            seat.heard = heard;
            // Whoever has not been sent anything yet has nothing to be torn from.
            if seat.place != Place::None {
                seat.seam = true;
                seat.settle = SETTLE_TICKS;
            }
        }
    }
    mix_all(room, legs, step, scratch, out);
    needed
}

/// Queues the digits of one for all the others who hear the room.
fn relay_digits(room: &Room, legs: &mut [Option<Box<Leg>>], scratch: &mut Scratch, stats: &mut EngineStats) {
    for (from, digit) in scratch.relayed.drain(..) {
        for seat in room.seats.iter().filter(|seat| seat.leg != from) {
            let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
                continue;
            };
            if leg.settings.hold.is_none() && !leg.settings.deaf {
                let sent = leg.digits.sender.push(digit, dtmf::TONE_MS, dtmf::GAP_MS);
                stats.digits_lost += u64::from(sent.is_err());
            }
        }
    }
}

fn is_held(legs: &[Option<Box<Leg>>], seat: &Seat) -> bool {
    legs[seat.leg.0 as usize]
        .as_deref()
        .is_none_or(|leg| leg.settings.hold.is_some())
}

/// What a leg is to hear. `listening` counts the legs in the room that are not on hold, this one included.
fn heard_by(leg: &Leg, begun: bool, listening: usize, room_music: Option<Music>) -> Heard {
    let settings = &leg.settings;
    let music = settings.music_while_alone.or(room_music);
    match settings.hold {
        Some(hold) => hold.music.map_or(Heard::Silence, Heard::Music),
        None if settings.deaf => Heard::Silence,
        None if !begun => music.map_or(Heard::Silence, Heard::Music),
        None if listening == 1 => music.map_or(Heard::Mix, Heard::Music),
        None => Heard::Mix,
    }
}

fn limit_mix(room: &mut Room, step: Step, scratch: &mut Scratch) {
    let rate = step.rate;
    let samples = rate.samples_per_tick();
    scratch.mix[..samples].copy_from_slice(&scratch.total[..samples]);
    room.limiter.process(&mut scratch.mix[..samples], rate);
}

/// Takes a leg out of its room with all it brought.
fn unseat(
    room: &mut Room,
    legs: &mut [Option<Box<Leg>>],
    id: LegId,
    tick: Tick,
    stats: &mut EngineStats,
    out: &mut Outbox,
) {
    let Some(index) = room.seat_of(id) else { return };
    let seat = room.seats.swap_remove(index);
    if let Place::Shared(group) = seat.place {
        room.shared.leave(group);
    }
    let Some(mut leg) = legs[id.0 as usize].take() else {
        return;
    };
    stats.add(&leg.settle());
    if seat.ends {
        end_recording(Recorded::Leg(id), &mut leg.tap, out);
    }
    if let Some(format) = leg.media.sent_format() {
        leg.media.seat = room.shared.take(format.encoding.shape());
    }
    take_leave(id, leg, tick, out);
}

/// Tells that what was told to have begun in the room has ended, and that the leg has left it.
fn take_leave(id: LegId, mut leg: Box<Leg>, tick: Tick, out: &mut Outbox) {
    leg.crowded_out = false;
    if std::mem::take(&mut leg.contributing) {
        out.events.push(Event::Talking {
            leg: id,
            on: false,
            tick,
        });
    }
    stop_watching(id, &mut leg, tick, out);
    out.events.push(Event::Left {
        leg: id,
        tick,
        state: leg,
    });
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::codec::{Codec, Encoding};
    use crate::engine::{Command, EngineLimits};
    use crate::id::TrackNumber;
    use crate::leg::{Format, Identity, LegMedia, LegSettings, MediaTerms};
    use crate::room::RoomSettings;

    fn seat(engine: &mut Engine, leg: u32, room: u32, out: &mut Outbox) {
        let encoding = Encoding {
            codec: Codec::Pcmu,
            ptime_ms: 20,
            bitrate: 0,
            complexity: 0,
            dtx: false,
            loss_percent: 0,
        };
        let media = LegMedia::new(MediaTerms {
            remote: Some(SocketAddr::from(([127, 0, 0, 1], 4_000))),
            remote_rtcp: None,
            rtcp_mux: true,
            sends: true,
            receives: true,
            symmetric: true,
            formats: vec![Format {
                receive_as: 0,
                send_as: 0,
                encoding,
                fec_bitrate_max: None,
            }],
            ..MediaTerms::nothing()
        })
        .expect("G.711 needs nothing");
        let identity = Identity {
            ssrc: leg,
            sequence: 0,
            timestamp: 0,
        };
        let state = Leg::new(identity, TrackNumber(leg + 1), LegSettings::default(), media);
        engine.apply(
            Command::Join {
                leg: LegId(leg),
                state,
                room: RoomId(room),
            },
            out,
        );
    }

    /// Fault row S7.
    #[test]
    fn a_panic_over_a_packet_of_one_leg_is_counted_and_the_leg_goes_on() {
        let mut engine = Engine::new(EngineLimits { legs: 4, rooms: 1 });
        let mut out = Outbox::new(4);
        let (room, state) = (RoomId(0), Room::new(RoomSettings::default()));
        engine.apply(Command::Open { room, state }, &mut out);
        seat(&mut engine, 0, 0, &mut out);
        engine.take_in(LegId(0), false, |_| panic!("a defect that a packet has met"));
        assert_eq!(engine.stats().panics, 1);
        engine.tick_room(room, Tick(1), Time::from_millis(20), &mut out);
        assert_eq!((engine.stats().panics, engine.seats(room)), (1, 1));
    }

    /// Fault row S7.
    #[test]
    fn a_panic_in_one_rooms_tick_ends_that_room_and_no_other() {
        let mut engine = Engine::new(EngineLimits { legs: 4, rooms: 2 });
        let mut out = Outbox::new(4);
        for room in 0..2 {
            engine.apply(
                Command::Open {
                    room: RoomId(room),
                    state: Room::new(RoomSettings::default()),
                },
                &mut out,
            );
        }
        seat(&mut engine, 0, 0, &mut out);
        seat(&mut engine, 1, 1, &mut out);
        // No frame for any voice: whoever speaks makes the tick index out of bounds.
        engine.scratch = Scratch::new(0);
        let mut loud = vec![0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
        loud.extend((0..160).map(|sample| if sample % 8 < 4 { 0x00 } else { 0x80 }));
        engine.receive(
            Time::ZERO,
            LegId(0),
            SocketAddr::from(([127, 0, 0, 1], 4_000)),
            &mut loud,
        );
        for room in 0..2 {
            engine.tick_room(RoomId(room), Tick(1), Time::from_millis(20), &mut out);
        }
        let left: Vec<LegId> = out
            .events()
            .filter_map(|event| match event {
                Event::Left { leg, .. } => Some(leg),
                _ => None,
            })
            .collect();
        assert_eq!(left, [LegId(0)]);
        assert_eq!(engine.stats().panics, 1);
        assert_eq!((engine.seats(RoomId(0)), engine.seats(RoomId(1))), (0, 1));
    }

    #[test]
    fn a_command_that_breaks_the_rules_is_counted_and_the_others_are_obeyed() {
        let mut engine = Engine::new(EngineLimits { legs: 4, rooms: 2 });
        let mut out = Outbox::new(4);
        seat(&mut engine, 0, 1, &mut out);
        assert_eq!(engine.stats().panics, 1, "no such room is open");
        engine.apply(
            Command::Open {
                room: RoomId(1),
                state: Room::new(RoomSettings::default()),
            },
            &mut out,
        );
        seat(&mut engine, 0, 1, &mut out);
        engine.tick_room(RoomId(1), Tick(1), Time::from_millis(20), &mut out);
        assert_eq!((engine.stats().panics, engine.seats(RoomId(1))), (1, 1));
    }
}
