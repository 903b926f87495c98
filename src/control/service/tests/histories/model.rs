//! What a conference service is to do, as a machine of a few rooms and legs that does one thing at a time.
//!
//! A request is one step or a few, between any two of which others may come: a leg that moves is on its way for some
//! ticks, and so is one that leaves. Each step is one change of the whole. What an engine does by itself, letting go
//! who is to leave, is a step of nobody's.

use super::requests::{LegSeen, Reply, Request, RoomSeen};

pub const CALLS: usize = 4;
pub const ROOMS: usize = 3;

/// Numbers of a leg, a room, and the request that made something.
pub type Call = u8;
pub type Room = u8;
pub type Number = u16;

const CONFLICT: u32 = 40_900;
const NOT_FOUND: u32 = 40_400;
const UNAVAILABLE: u32 = 50_300;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct World {
    pub legs: [Option<Leg>; CALLS],
    pub rooms: [Option<RoomState>; ROOMS],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leg {
    /// The request that made it: another leg of the name is another leg.
    made_by: Number,
    made_as: Make,
    room: Room,
    muted: bool,
    held: bool,
    /// It has left its room's engine and not reached that of the other.
    to: Option<Room>,
    /// It leaves as soon as it is there.
    then: bool,
    /// It is to leave.
    let_go: bool,
}

/// As a leg was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Make {
    pub room: Room,
    pub muted: bool,
    pub starts: bool,
    pub ends: bool,
    pub record: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RoomState {
    /// Who sits there, or is on the way in or out, in the order of coming.
    members: Vec<Call>,
    begun: bool,
    locked: bool,
    max: Option<u8>,
    ending: bool,
    /// The request that started it, and whether it is paused.
    recording: Option<(Number, bool)>,
}

/// How far a request has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Nothing is done yet.
    Asked,
    /// The leg of that request is on its way, to answer for it there.
    Moving(Number),
    /// It answers for the leg of that request.
    Moved(Number),
    /// The leg of that request is to be gone.
    Leaving(Number),
    /// These legs are to have left the room.
    Clearing(Vec<(Call, Number)>),
    /// A leg is made; the recording is to begin.
    Made(LegSeen),
    /// The recording that that request started is to have been paused, or not.
    Pausing(Number),
    Answered,
}

/// A request on its way, with the reply it got.
pub struct Asked<'a> {
    pub number: Number,
    pub request: &'a Request,
    pub reply: &'a Reply,
    /// Whether the engines have so little room that anything may be refused for it.
    pub tight: bool,
    /// The request that made each recording, of those that are known.
    pub recordings: &'a dyn Fn(&str) -> Option<Number>,
}

impl World {
    /// What becomes of the world and of a request with its next step; `None` where that cannot be, or not yet, or would
    /// be answered otherwise than it was.
    pub fn step(&self, asked: &Asked, stage: &Stage) -> Option<(World, Stage)> {
        let mut world = self.clone();
        let next = world.proceed(asked, stage)?;
        Some((world, next))
    }

    /// What can happen by itself: each leg that is to leave may.
    pub fn departures(&self) -> impl Iterator<Item = World> {
        let leaves = |call: &usize| self.legs[*call].as_ref().is_some_and(|leg| leg.let_go);
        (0..CALLS).filter(leaves).map(|call| {
            let mut world = self.clone();
            world.depart(call as Call);
            world
        })
    }

    fn proceed(&mut self, asked: &Asked, stage: &Stage) -> Option<Stage> {
        let Asked { request, reply, .. } = asked;
        match stage {
            Stage::Asked if asked.tight && **reply == Reply::Refused(UNAVAILABLE) => Some(Stage::Answered),
            Stage::Asked => self.begin(asked),
            Stage::Moving(made_by) => self.arrive(request.call()?, *made_by),
            Stage::Moved(made_by) => match self.leg(request.call()?, *made_by) {
                Some(leg) if !leg.then => {
                    (**reply == Reply::Leg(self.seen(request.call()?)?, None)).then_some(Stage::Answered)
                }
                Some(_) => None,
                None => answers(reply, NOT_FOUND),
            },
            Stage::Leaving(made_by) => {
                self.is_gone(request.call()?, *made_by)?;
                (**reply == Reply::Done).then_some(Stage::Answered)
            }
            Stage::Clearing(legs) => {
                let room = request.room()?;
                let is_here = |(call, made_by): &(Call, Number)| {
                    self.leg(*call, *made_by)
                        .is_some_and(|leg| leg.room == room || leg.to == Some(room))
                };
                let is_clear = !legs.iter().any(is_here);
                (is_clear && **reply == Reply::Done).then_some(Stage::Answered)
            }
            Stage::Made(seen) => {
                let room = self.rooms[usize::from(seen.room)].as_mut();
                if let Some(room) = room {
                    room.recording.get_or_insert((asked.number, false));
                    return (**reply == Reply::Leg(seen.clone(), Some(true))).then_some(Stage::Answered);
                }
                // Its room ended, so it was let go: nobody moves it while it is being made.
                answers(reply, CONFLICT)
            }
            Stage::Pausing(started_by) => self.paused(asked, *started_by),
            Stage::Answered => None,
        }
    }

    fn begin(&mut self, asked: &Asked) -> Option<Stage> {
        let Asked { request, reply, .. } = asked;
        match **request {
            Request::Create { call, make } => self.create(asked, call, make),
            Request::Look { call } => match self.seen(call) {
                None => answers(reply, NOT_FOUND),
                Some(seen) => (**reply == Reply::Leg(seen, None)).then_some(Stage::Answered),
            },
            Request::Set {
                call,
                within,
                muted,
                held,
                to,
            } => self.set(reply, call, within, (muted, held), to),
            Request::End { call, within } => {
                if let Some(gone) = self.unreached(reply, call, within)? {
                    return Some(gone);
                }
                let leg = self.legs[usize::from(call)].as_mut()?;
                leg.let_go = true;
                Some(Stage::Leaving(leg.made_by))
            }
            Request::Clear { room } => {
                let Some(members) = self.room(room).map(|room| room.members.clone()) else {
                    return answers(reply, NOT_FOUND);
                };
                let legs = members
                    .iter()
                    .filter_map(|call| Some((*call, self.legs[usize::from(*call)].as_ref()?.made_by)))
                    .collect();
                self.let_all_go(room);
                Some(Stage::Clearing(legs))
            }
            Request::Room { room } => match self.room_seen(room, asked) {
                None => answers(reply, NOT_FOUND),
                Some(seen) => self.shows(reply, &seen, asked),
            },
            Request::Tune { room, locked, max } => {
                let Some(state) = self.rooms[usize::from(room)].as_mut() else {
                    return answers(reply, NOT_FOUND);
                };
                state.locked = locked.unwrap_or(state.locked);
                state.max = max.unwrap_or(state.max);
                let seen = self.room_seen(room, asked)?;
                self.shows(reply, &seen, asked)
            }
            Request::List => {
                let legs = (0..CALLS as Call).filter_map(|call| self.seen(call));
                (**reply == Reply::Legs(legs.collect())).then_some(Stage::Answered)
            }
            Request::Record { room } => {
                let Some(state) = self.rooms[usize::from(room)].as_mut() else {
                    return answers(reply, NOT_FOUND);
                };
                let is_new = state.recording.is_none();
                let (started_by, paused) = *state.recording.get_or_insert((asked.number, false));
                shows_recording(asked, started_by, Some(is_new), paused)
            }
            Request::Pause { room, on } => {
                let recording = self.room(room).map(|room| room.recording);
                match recording.flatten() {
                    None => answers(reply, NOT_FOUND),
                    Some((started_by, paused)) if paused == on => {
                        shows_recording(asked, started_by, None, paused)
                    }
                    Some((started_by, _)) => Some(Stage::Pausing(started_by)),
                }
            }
            Request::Stop { room } => {
                let state = self.rooms[usize::from(room)].as_mut();
                match state.and_then(|room| room.recording.take()) {
                    None => answers(reply, NOT_FOUND),
                    Some((started_by, _)) => match **reply {
                        Reply::Recording { ref id, is_new, .. } => {
                            let is_it = (asked.recordings)(id).is_none_or(|number| number == started_by);
                            (is_it && is_new.is_none()).then_some(Stage::Answered)
                        }
                        _ => None,
                    },
                }
            }
        }
    }

    fn create(&mut self, asked: &Asked, call: Call, make: Make) -> Option<Stage> {
        let Asked { reply, number, .. } = asked;
        if self.is_ending(make.room) {
            return None;
        }
        if let Some(leg) = &self.legs[usize::from(call)] {
            if leg.let_go || leg.to.is_some() {
                return None;
            }
            if leg.made_as != make {
                return answers(reply, CONFLICT);
            }
            let seen = self.seen(call)?;
            return (**reply == Reply::Leg(seen, Some(false))).then_some(Stage::Answered);
        }
        if !self.admits(make.room) {
            return answers(reply, CONFLICT);
        }
        self.legs[usize::from(call)] = Some(Leg {
            made_by: *number,
            made_as: make,
            room: make.room,
            muted: make.muted,
            held: false,
            to: None,
            then: false,
            let_go: false,
        });
        self.enter(call, make.room);
        self.start(make.starts, make.room);
        let seen = self.seen(call)?;
        if make.record {
            return Some(Stage::Made(seen));
        }
        (**reply == Reply::Leg(seen, Some(true))).then_some(Stage::Answered)
    }

    fn set(
        &mut self,
        reply: &Reply,
        call: Call,
        within: Option<Room>,
        (muted, held): (Option<bool>, Option<bool>),
        to: Option<Room>,
    ) -> Option<Stage> {
        if to.is_some_and(|to| self.is_ending(to)) {
            return None;
        }
        if let Some(gone) = self.unreached(reply, call, within)? {
            return Some(gone);
        }
        let room = self.legs[usize::from(call)].as_ref()?.room;
        let to = to.filter(|to| *to != room);
        if to.is_some_and(|to| !self.admits(to)) {
            return answers(reply, CONFLICT);
        }
        let leg = self.legs[usize::from(call)].as_mut()?;
        leg.muted = muted.unwrap_or(leg.muted);
        leg.held = held.unwrap_or(leg.held);
        let made_by = leg.made_by;
        if let Some(to) = to {
            leg.to = Some(to);
            self.enter(call, to);
            return Some(Stage::Moving(made_by));
        }
        let shown = match within {
            // The platform's form shows nothing.
            Some(_) => Reply::Done,
            None => Reply::Leg(self.seen(call)?, None),
        };
        (*reply == shown).then_some(Stage::Answered)
    }

    /// `Some(Some)`: there is no such leg where it should be, and so it was answered. `None`: not now, or not so.
    fn unreached(&self, reply: &Reply, call: Call, within: Option<Room>) -> Option<Option<Stage>> {
        let leg = self.legs[usize::from(call)].as_ref();
        if leg.is_some_and(|leg| leg.let_go || leg.to.is_some()) {
            return None;
        }
        match leg {
            Some(leg) if within.is_none_or(|room| room == leg.room) => Some(None),
            _ => Some(Some(answers(reply, NOT_FOUND)?)),
        }
    }

    fn arrive(&mut self, call: Call, made_by: Number) -> Option<Stage> {
        self.leg(call, made_by)?;
        let leg = self.legs[usize::from(call)].as_mut()?;
        let to = leg.to.take()?;
        let (from, make) = (std::mem::replace(&mut leg.room, to), leg.made_as);
        leg.let_go = leg.then;
        self.exit(call, from, make.ends);
        self.start(make.starts, to);
        Some(Stage::Moved(made_by))
    }

    fn depart(&mut self, call: Call) {
        if let Some(leg) = self.legs[usize::from(call)].take() {
            self.exit(call, leg.room, leg.made_as.ends);
        }
    }

    fn paused(&mut self, asked: &Asked, started_by: Number) -> Option<Stage> {
        let Request::Pause { room, on } = *asked.request else {
            return None;
        };
        let state = self.rooms[usize::from(room)].as_mut();
        match state.and_then(|room| room.recording.as_mut()) {
            Some((running, paused)) if *running == started_by => {
                *paused = on;
                shows_recording(asked, started_by, None, on)
            }
            _ => answers(asked.reply, NOT_FOUND),
        }
    }

    fn enter(&mut self, call: Call, room: Room) {
        let room = self.rooms[usize::from(room)].get_or_insert_default();
        room.members.push(call);
    }

    fn start(&mut self, starts: bool, room: Room) {
        if let Some(room) = self.rooms[usize::from(room)].as_mut() {
            room.begun |= starts;
        }
    }

    fn exit(&mut self, call: Call, room: Room, ends: bool) {
        let Some(state) = self.rooms[usize::from(room)].as_mut() else {
            return;
        };
        state.members.retain(|member| *member != call);
        if state.members.is_empty() {
            self.rooms[usize::from(room)] = None;
        } else if ends {
            self.let_all_go(room);
        }
    }

    fn let_all_go(&mut self, room: Room) {
        let Some(state) = self.rooms[usize::from(room)].as_mut() else {
            return;
        };
        state.ending = true;
        for call in state.members.clone() {
            if let Some(leg) = self.legs[usize::from(call)].as_mut() {
                match leg.to {
                    Some(to) => leg.then |= to == room,
                    None => leg.let_go = true,
                }
            }
        }
    }

    fn admits(&self, room: Room) -> bool {
        self.room(room).is_none_or(|room| {
            let is_full = room.max.is_some_and(|max| room.members.len() >= usize::from(max));
            !room.locked && !is_full
        })
    }

    fn is_ending(&self, room: Room) -> bool {
        self.room(room).is_some_and(|room| room.ending)
    }

    fn room(&self, room: Room) -> Option<&RoomState> {
        self.rooms[usize::from(room)].as_ref()
    }

    /// The leg, if it is still that which the request made.
    fn leg(&self, call: Call, made_by: Number) -> Option<&Leg> {
        let leg = self.legs[usize::from(call)].as_ref()?;
        (leg.made_by == made_by).then_some(leg)
    }

    fn is_gone(&self, call: Call, made_by: Number) -> Option<()> {
        self.leg(call, made_by).is_none().then_some(())
    }

    fn seen(&self, call: Call) -> Option<LegSeen> {
        let leg = self.legs[usize::from(call)].as_ref()?;
        Some(LegSeen {
            call,
            room: leg.room,
            muted: leg.muted,
            held: leg.held,
            waits: self.room(leg.room).is_some_and(|room| !room.begun),
            state: match leg {
                Leg { to: Some(_), .. } => "moving",
                Leg { let_go: true, .. } => "leaving",
                _ => "connected",
            },
        })
    }

    fn room_seen(&self, room: Room, asked: &Asked) -> Option<RoomSeen> {
        let state = self.room(room)?;
        let here = state.members.iter().filter_map(|call| {
            let leg = self.legs[usize::from(*call)].as_ref()?;
            (leg.room == room).then_some((*call, leg.muted, leg.held))
        });
        let recording = match asked.reply {
            // By the recording's name, where it is one that could be this.
            Reply::Room(shown) => shown.recording.clone().filter(|id| {
                let known = (asked.recordings)(id);
                state
                    .recording
                    .is_some_and(|(started_by, _)| known.is_none_or(|number| number == started_by))
            }),
            _ => None,
        };
        Some(RoomSeen {
            participants: here.collect(),
            begun: state.begun,
            locked: state.locked,
            max: state.max,
            recording,
        })
    }

    fn shows(&self, reply: &Reply, seen: &RoomSeen, asked: &Asked) -> Option<Stage> {
        let room = asked.request.room()?;
        let is_recorded = self.room(room)?.recording.is_some();
        let is_right = *reply == Reply::Room(seen.clone()) && is_recorded == seen.recording.is_some();
        is_right.then_some(Stage::Answered)
    }
}

fn answers(reply: &Reply, code: u32) -> Option<Stage> {
    (*reply == Reply::Refused(code)).then_some(Stage::Answered)
}

fn shows_recording(asked: &Asked, started_by: Number, is_new: Option<bool>, paused: bool) -> Option<Stage> {
    let Reply::Recording {
        id,
        is_new: shown_new,
        paused: shown_paused,
    } = asked.reply
    else {
        return None;
    };
    let is_it = (asked.recordings)(id).is_none_or(|number| number == started_by);
    (is_it && *shown_new == is_new && *shown_paused == paused).then_some(Stage::Answered)
}
