//! Every room and leg of one media thread, as one value without thread, socket or clock.
//!
//! Things happen to it (`receive`, `apply`), time passes for it (`tick_room`), and what it has to say lies in the
//! outbox it is lent. Datagrams only fill buffers; the tick does the work.
//!
//! Invariants: a room's tick number rises by one or more each time it is ticked; a leg sits in exactly one room, and
//! in at most one group of listeners there; nothing allocates but `apply`, and that only where a leg joins or brings
//! new streams.

pub mod command;
pub mod event;
mod feed;
pub mod outbox;
mod record;
mod report;
mod send;
pub mod stats;
mod talkers;
mod tick;
mod watch;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use command::Command;
pub use event::{Event, Recorded};
pub use outbox::Outbox;
pub use stats::EngineStats;

use crate::capture::{Recording, Tap};
use crate::frame::Rate;
use crate::id::{LegId, RoomId};
use crate::leg::{Dropped, Leg, LegMedia};
use crate::room::{Heard, Place, Progress, Room, RoomChange, Seat, Turn};
use crate::rtp::is_rtcp;
use crate::rtp::ntp::WallClock;
use crate::time::{PHASES, Time};
use record::end_recording;
use tick::Scratch;

/// How many legs and rooms an engine has slots for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    pub legs: usize,
    pub rooms: usize,
}

pub struct Engine {
    legs: Box<[Option<Box<Leg>>]>,
    rooms: Box<[Option<Box<Room>>]>,
    /// Which room a leg sits in.
    room_of: Box<[Option<RoomId>]>,
    phases: [Vec<RoomId>; PHASES],
    scratch: Scratch,
    stats: EngineStats,
    wall_clock: WallClock,
    /// Of Opus encoders, 0 to 10.
    complexity_max: u8,
}

impl Engine {
    /// All memory that does not belong to a leg or a room.
    pub fn new(limits: EngineLimits) -> Engine {
        Engine {
            legs: (0..limits.legs).map(|_| None).collect(),
            rooms: (0..limits.rooms).map(|_| None).collect(),
            room_of: vec![None; limits.legs].into_boxed_slice(),
            phases: std::array::from_fn(|_| Vec::with_capacity(limits.rooms)),
            scratch: Scratch::new(limits.legs),
            stats: EngineStats::default(),
            wall_clock: WallClock::default(),
            complexity_max: 10,
        }
    }

    /// The wall clock that RTCP quotes: the same for all engines that legs move between.
    pub fn set_wall_clock(&mut self, wall_clock: WallClock) {
        self.wall_clock = wall_clock;
    }

    pub fn rooms_in_phase(&self, phase: usize) -> &[RoomId] {
        &self.phases[phase]
    }

    /// How many legs sit in the room.
    pub fn seats(&self, room: RoomId) -> usize {
        self.room(room).map_or(0, |room| room.seats.len())
    }

    /// The leg on a seat, `seat` below `seats(room)`.
    pub fn leg_at(&self, room: RoomId, seat: usize) -> Option<LegId> {
        Some(self.room(room)?.seats.get(seat)?.leg)
    }

    /// The rate the room works at now.
    pub fn room_rate(&self, room: RoomId) -> Option<Rate> {
        Some(self.room(room)?.rate.current())
    }

    /// The effort that the encoders of Opus may make at most.
    #[cfg(test)]
    pub fn complexity_max(&self) -> u8 {
        self.complexity_max
    }

    pub fn stats(&self) -> &EngineStats {
        &self.stats
    }

    /// For what only the driver knows: lateness, full queues, socket errors.
    pub fn stats_mut(&mut self) -> &mut EngineStats {
        &mut self.stats
    }

    /// A datagram came on a leg's RTP socket at `arrival`; it is deciphered where it lies.
    pub fn receive(&mut self, arrival: Time, leg: LegId, from: SocketAddr, datagram: &mut [u8]) {
        let (rtcp, wall_clock) = (is_rtcp(datagram), self.wall_clock);
        self.take_in(leg, rtcp, |leg| leg.receive(arrival, from, datagram, wall_clock));
    }

    /// A datagram came on a leg's RTCP socket at `arrival`; it is deciphered where it lies.
    pub fn receive_rtcp(&mut self, arrival: Time, leg: LegId, from: SocketAddr, datagram: &mut [u8]) {
        let wall_clock = self.wall_clock;
        self.take_in(leg, true, |leg| {
            leg.receive_rtcp(arrival, from, datagram, wall_clock)
        });
    }

    fn take_in(&mut self, leg: LegId, rtcp: bool, take: impl FnOnce(&mut Leg) -> Result<(), Dropped>) {
        let Some(leg) = self.legs[leg.0 as usize].as_deref_mut() else {
            return;
        };
        self.stats.packets_received += 1;
        // A panic here is a defect of ours; the sender of the packet must not stop a media thread with it.
        match catch_unwind(AssertUnwindSafe(|| take(leg))) {
            Ok(outcome) => {
                self.stats.rtcp_received += u64::from(rtcp && outcome.is_ok());
                self.stats.note(outcome);
            }
            Err(_) => self.stats.panics += 1,
        }
    }

    /// A datagram was dropped before it could be given to the leg.
    pub fn dropped(&mut self, leg: LegId, reason: Dropped) {
        if let Some(leg) = self.legs[leg.0 as usize].as_deref_mut() {
            let outcome = leg.note(Err(reason));
            self.stats.note(outcome);
        }
    }

    /// The socket did not take a packet of the leg's.
    pub fn unsent(&mut self, leg: LegId) {
        self.stats.send_errors += 1;
        if let Some(leg) = self.legs[leg.0 as usize].as_deref_mut() {
            leg.counts.send_errors += 1;
        }
    }

    /// Whether the leg's playout holds at least the sound of the next tick.
    pub fn is_fed(&self, leg: LegId) -> bool {
        let Some(leg) = self.leg(leg) else { return false };
        let holds = || leg.media.playout.holds_a_tick(&leg.media.decoders);
        catch_unwind(AssertUnwindSafe(holds)).unwrap_or(false)
    }

    /// The control plane asked for something; it takes effect with the next tick. Answers go to `out`.
    ///
    /// What breaks the rules of `Command` is a defect of the sender: counted, and lost.
    pub fn apply(&mut self, command: Command, out: &mut Outbox) {
        if catch_unwind(AssertUnwindSafe(|| self.obey(command, out))).is_err() {
            self.stats.panics += 1;
        }
    }

    fn obey(&mut self, command: Command, out: &mut Outbox) {
        match command {
            Command::Open { room, state } => self.open(room, state),
            Command::Close { room } => self.close(room, out),
            Command::Join { leg, state, room } => self.join(leg, state, room),
            Command::Leave { leg, for_good } => {
                if for_good && let Some(state) = self.legs[leg.0 as usize].as_deref_mut() {
                    state.reports.leave();
                }
                if let Some(seat) = self.seat_mut(leg) {
                    seat.progress = Progress::Leaving;
                    seat.ends |= for_good;
                }
            }
            Command::Change { leg, change } => {
                if let Some(state) = self.legs[leg.0 as usize].as_deref_mut() {
                    state.change(change);
                }
                if let Some(seat) = self.seat_mut(leg) {
                    seat.changed = true;
                }
            }
            Command::SendDigits {
                leg,
                digits,
                tone_ms,
                gap_ms,
            } => {
                if let Some(state) = self.legs[leg.0 as usize].as_deref_mut() {
                    for digit in digits.as_slice() {
                        let sent = state.digits.sender.push(*digit, tone_ms, gap_ms);
                        self.stats.digits_lost += u64::from(sent.is_err());
                    }
                }
            }
            Command::RecordLeg { leg, recording } => self.record_leg(leg, recording, out),
            Command::PauseLegRecording { leg, on } => {
                let leg = self.legs[leg.0 as usize].as_deref_mut();
                if let Some(tap) = leg.and_then(|leg| leg.tap.as_mut()) {
                    tap.asked = Some(on);
                }
            }
            Command::LimitComplexity(max) => self.limit_complexity(max),
            Command::Renegotiate { leg, media } => self.renegotiate(leg, media, out),
            Command::ChangeRoom { room, change } => self.change_room(room, change, out),
            Command::ReportLeg {
                leg,
                request,
                mut report,
            } => {
                if let Some(leg) = self.legs[leg.0 as usize].as_deref_mut() {
                    self.stats.add(&leg.settle());
                    *report = leg.report();
                }
                out.events.push(Event::LegReported { leg, request, report });
            }
            Command::Report { request, mut report } => {
                for leg in self.legs.iter_mut().flatten() {
                    self.stats.add(&leg.settle());
                }
                (*report).clone_from(&self.stats);
                let delays = self.legs.iter().flatten().map(|leg| leg.delay().max_ms);
                report.playout_delay_ms_max = delays.fold(0.0, f32::max);
                report.legs = self.legs.iter().flatten().count() as u32;
                report.rooms = self.rooms.iter().flatten().count() as u32;
                report.contributing =
                    self.legs.iter().flatten().filter(|leg| leg.contributing).count() as u32;
                out.events.push(Event::Reported { request, report });
            }
        }
    }

    fn open(&mut self, id: RoomId, state: Box<Room>) {
        assert!(
            self.rooms[id.0 as usize].is_none(),
            "a room's slot is free before it is opened"
        );
        self.phases[state.settings.phase].push(id);
        self.rooms[id.0 as usize] = Some(state);
    }

    fn close(&mut self, id: RoomId, out: &mut Outbox) {
        let Some(mut state) = self.rooms[id.0 as usize].take() else {
            return;
        };
        end_recording(Recorded::Room(id), &mut state.tap, out);
        assert!(
            state.seats.is_empty(),
            "a room is closed after its last leg has left"
        );
        self.phases[state.settings.phase].retain(|room| *room != id);
        out.events.push(Event::Closed { room: id, state });
    }

    fn join(&mut self, id: LegId, mut state: Box<Leg>, room_id: RoomId) {
        assert!(
            self.legs[id.0 as usize].is_none(),
            "a leg's slot is free before it is seated"
        );
        let room = self.rooms[room_id.0 as usize]
            .as_deref_mut()
            .expect("a room is open before a leg is seated");
        state.media.limit_complexity(self.complexity_max);
        if let Some(stream) = state.media.seat.take() {
            room.shared.bring(stream);
        }
        if state.rate_in_use() > room.rate.current() {
            room.rate.need(state.rate_in_use());
        }
        state.track_line.restart();
        // A leg that was in another room goes on with its own stream until it hears the same as others.
        let travelled = state.next_tick.is_some() && state.media.stream.is_some();
        room.seats.push(Seat {
            leg: id,
            place: if travelled { Place::Private } else { Place::None },
            heard: Heard::Silence,
            settle: if travelled { feed::SETTLE_TICKS } else { 0 },
            gain: 0.0,
            turn: Turn::default(),
            voice: None,
            progress: Progress::Joining,
            joined: false,
            ends: false,
            early: false,
            owed: 0,
            changed: false,
            seam: true,
        });
        self.room_of[id.0 as usize] = Some(room_id);
        self.legs[id.0 as usize] = Some(state);
    }

    fn renegotiate(&mut self, id: LegId, mut media: Box<LegMedia>, out: &mut Outbox) {
        let room = self.room_of[id.0 as usize].and_then(|room| self.rooms[room.0 as usize].as_deref_mut());
        let (Some(leg), Some(room)) = (self.legs[id.0 as usize].as_deref_mut(), room) else {
            // The leg has left meanwhile: the box goes back all the same.
            out.events.push(Event::Renegotiated {
                leg: id,
                before: media,
            });
            return;
        };
        self.stats.add(&leg.settle());
        media.limit_complexity(self.complexity_max);
        let stream_continues = leg.renegotiate(&mut media);
        let Room { seats, shared, .. } = room;
        if let Some(seat) = seats.iter_mut().find(|seat| seat.leg == id) {
            if !stream_continues {
                if let Place::Shared(group) = seat.place {
                    shared.leave(group);
                }
                // A new encoder begins softly, for a decoder that is new as well.
                seat.place = Place::None;
                seat.seam = true;
                seat.settle = feed::SETTLE_TICKS;
                if let Some(format) = media.sent_format() {
                    media.seat = shared.take(format.encoding.shape());
                }
                if let Some(stream) = leg.media.seat.take() {
                    shared.bring(stream);
                }
            }
            seat.changed = true;
        }
        out.events.push(Event::Renegotiated {
            leg: id,
            before: media,
        });
    }

    /// What streams share is what was agreed, so nobody who shares one leaves it for this.
    fn limit_complexity(&mut self, max: u8) {
        self.complexity_max = max;
        for room in self.rooms.iter_mut().flatten() {
            room.shared.limit_complexity(max);
        }
        for leg in self.legs.iter_mut().flatten() {
            leg.media.limit_complexity(max);
        }
    }

    fn change_room(&mut self, id: RoomId, change: RoomChange, out: &mut Outbox) {
        let Some(room) = self.rooms[id.0 as usize].as_deref_mut() else {
            return;
        };
        match change {
            RoomChange::SampleRate(rate) => room.rate.fix(rate),
            RoomChange::ActivityDetection(on) => room.settings.activity_detection = on,
            RoomChange::TalkersMax(max) => {
                room.settings.talkers_max = max;
                if max.is_none() {
                    room.seats.iter_mut().for_each(|seat| seat.turn = Turn::default());
                }
            }
            RoomChange::MusicWhileAlone(music) => room.settings.music_while_alone = music,
            RoomChange::Record(recording) => {
                end_recording(Recorded::Room(id), &mut room.tap, out);
                room.tap = recording.map(Tap::new);
                for seat in &room.seats {
                    if let Some(leg) = self.legs[seat.leg.0 as usize].as_deref_mut() {
                        leg.track_line.restart();
                    }
                }
            }
            RoomChange::PauseRecording(on) => {
                if let Some(tap) = &mut room.tap {
                    tap.asked = Some(on);
                }
            }
        }
    }

    fn record_leg(&mut self, id: LegId, recording: Option<Recording>, out: &mut Outbox) {
        let Some(leg) = self.legs[id.0 as usize].as_deref_mut() else {
            return;
        };
        end_recording(Recorded::Leg(id), &mut leg.tap, out);
        leg.tap = recording.map(Tap::new);
    }

    fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs[id.0 as usize].as_deref()
    }

    fn room(&self, id: RoomId) -> Option<&Room> {
        self.rooms[id.0 as usize].as_deref()
    }

    fn seat_mut(&mut self, leg: LegId) -> Option<&mut Seat> {
        let room = self.room_of[leg.0 as usize]?;
        let room = self.rooms[room.0 as usize].as_deref_mut()?;
        let seat = room.seat_of(leg)?;
        Some(&mut room.seats[seat])
    }
}
