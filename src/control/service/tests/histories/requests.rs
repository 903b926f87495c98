//! What clients ask for, at random, and what they are shown of it.

use serde_json::json;

use super::model::{CALLS, Call, Make, ROOMS, Room};
use crate::control::deeds::Actor;
use crate::control::fields::Fields;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::Refusal;
use crate::control::requests::{ChangeConference, ChangeLeg, CreateLeg, RecordingCommand, RecordingOptions};
use crate::control::service::Service;
use crate::control::views::{ConferenceView, LegView, Page};
use crate::record::Rules;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Create {
        call: Call,
        make: Make,
    },
    Look {
        call: Call,
    },
    /// With `within` the platform's command, which names the room and changes one thing.
    Set {
        call: Call,
        within: Option<Room>,
        muted: Option<bool>,
        held: Option<bool>,
        to: Option<Room>,
    },
    End {
        call: Call,
        within: Option<Room>,
    },
    Clear {
        room: Room,
    },
    Room {
        room: Room,
    },
    Tune {
        room: Room,
        locked: Option<bool>,
        max: Option<Option<u8>>,
    },
    List,
    Record {
        room: Room,
    },
    Pause {
        room: Room,
        on: bool,
    },
    Stop {
        room: Room,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Refused(u32),
    Done,
    /// With whether the request made it, where it was to.
    Leg(LegSeen, Option<bool>),
    Legs(Vec<LegSeen>),
    Room(RoomSeen),
    Recording {
        id: String,
        is_new: Option<bool>,
        paused: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LegSeen {
    pub call: Call,
    pub room: Room,
    pub muted: bool,
    pub held: bool,
    pub waits: bool,
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSeen {
    /// Who is there, muted, held.
    pub participants: Vec<(Call, bool, bool)>,
    pub begun: bool,
    pub locked: bool,
    pub max: Option<u8>,
    pub recording: Option<String>,
}

impl Request {
    /// One that concerns few enough legs and rooms that requests meet.
    pub fn random(chance: &mut fastrand::Rng, records: bool) -> Request {
        let call = chance.u8(..CALLS as u8);
        let room = chance.u8(..ROOMS as u8);
        let within = chance.bool().then_some(room);
        match chance.u8(..if records { 40 } else { 32 }) {
            0..10 => Request::Create {
                call,
                make: Make {
                    // The same leg is asked for again now and then.
                    room: if chance.bool() { call % ROOMS as u8 } else { room },
                    muted: chance.u8(..4) == 0,
                    starts: chance.u8(..3) != 0,
                    ends: chance.u8(..5) == 0,
                    record: records && chance.u8(..4) == 0,
                },
            },
            10..12 => Request::Look { call },
            12..18 => {
                let on = Some(chance.bool());
                let (muted, held) = if chance.bool() { (on, None) } else { (None, on) };
                Request::Set {
                    call,
                    within,
                    muted,
                    held,
                    to: None,
                }
            }
            18..22 => Request::Set {
                call,
                within: None,
                muted: (chance.u8(..4) == 0).then(|| chance.bool()),
                held: None,
                to: Some(room),
            },
            22..25 => Request::End { call, within },
            25..27 => Request::Clear { room },
            27..29 => Request::Room { room },
            29..31 => Request::Tune {
                room,
                locked: chance.bool().then(|| chance.bool()),
                max: chance.bool().then(|| chance.bool().then(|| chance.u8(1..3))),
            },
            31 => Request::List,
            32..34 => Request::Record { room },
            34..39 => Request::Pause {
                room,
                on: chance.bool(),
            },
            _ => Request::Stop { room },
        }
    }

    pub fn call(&self) -> Option<Call> {
        match self {
            Request::Create { call, .. }
            | Request::Look { call }
            | Request::Set { call, .. }
            | Request::End { call, .. } => Some(*call),
            _ => None,
        }
    }

    pub fn room(&self) -> Option<Room> {
        match self {
            Request::Clear { room }
            | Request::Room { room }
            | Request::Tune { room, .. }
            | Request::Record { room }
            | Request::Pause { room, .. }
            | Request::Stop { room } => Some(*room),
            _ => None,
        }
    }

    /// It changes nothing, so nobody need wait for its answer.
    pub fn only_looks(&self) -> bool {
        matches!(self, Request::Look { .. })
    }

    /// It makes files on the way.
    pub fn may_block(&self) -> bool {
        match self {
            Request::Create { make, .. } => make.record,
            _ => matches!(self, Request::Record { .. }),
        }
    }

    pub async fn ask(self, service: Service) -> Reply {
        self.asked_of(&service)
            .await
            .unwrap_or_else(|refusal| Reply::Refused(refusal.code))
    }

    async fn asked_of(self, service: &Service) -> Result<Reply, Refusal> {
        let reply = match self {
            Request::Create { call, make } => {
                let created = service.create_leg(creation(call, make), super::tester()).await?;
                Reply::Leg(leg_seen(&created.leg), Some(created.is_new))
            }
            Request::Look { call } => Reply::Leg(leg_seen(&service.leg(&call_id(call)).await?), None),
            Request::Set {
                call,
                within,
                muted,
                held,
                to,
            } => {
                let change = ChangeLeg {
                    muted,
                    onhold: held,
                    conference: to.map(room_id),
                    ..ChangeLeg::default()
                };
                let room = within.map(room_id);
                let leg = service
                    .change_leg(&call_id(call), change, room.as_ref(), super::tester())
                    .await?;
                match within {
                    Some(_) => Reply::Done,
                    None => Reply::Leg(leg_seen(&leg), None),
                }
            }
            Request::End { call, within } => {
                let room = within.map(room_id);
                service.end_leg(&call_id(call), "ended", room.as_ref()).await?;
                Reply::Done
            }
            Request::Clear { room } => {
                service.clear_conference(&room_id(room), "kicked").await?;
                Reply::Done
            }
            Request::Room { room } => Reply::Room(room_seen(&service.conference(&room_id(room))?)),
            Request::Tune { room, locked, max } => {
                let change = ChangeConference {
                    locked,
                    participants_max: max.map(|max| max.map(u64::from)),
                    ..ChangeConference::default()
                };
                Reply::Room(room_seen(&service.change_conference(&room_id(room), change)?))
            }
            Request::List => {
                let all = Page {
                    page: 1,
                    size: CALLS + 1,
                };
                Reply::Legs(service.legs(all).items.iter().map(leg_seen).collect())
            }
            Request::Record { room } => {
                let options = RecordingOptions::parse(Fields::default(), &Rules::default())?;
                let actor: Actor = super::tester();
                let started = service.start_recording(&room_id(room), options, &actor).await?;
                Reply::Recording {
                    id: started.status.recording_id,
                    is_new: Some(started.is_new),
                    paused: started.status.paused,
                }
            }
            Request::Pause { room, on } => {
                let command = match on {
                    true => RecordingCommand::Pause,
                    false => RecordingCommand::Resume,
                };
                let status = service.change_recording(&room_id(room), command).await?;
                Reply::Recording {
                    id: status.recording_id,
                    is_new: None,
                    paused: status.paused,
                }
            }
            Request::Stop { room } => {
                let status = service.stop_recording(&room_id(room)).await?;
                Reply::Recording {
                    id: status.recording_id,
                    is_new: None,
                    paused: status.paused,
                }
            }
        };
        Ok(reply)
    }
}

fn creation(call: Call, make: Make) -> CreateLeg {
    // Every other takes nothing, which spares the sending.
    let direction = if call.is_multiple_of(2) {
        "sendonly"
    } else {
        "sendrecv"
    };
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio 5004 RTP/AVP 0\r\na={direction}\r\n"
    );
    let body = json!({
        "conferenceId": room_id(make.room).as_str(), "callId": call_id(call).as_str(), "sdp": sdp,
        "muted": make.muted, "startOnEnter": make.starts, "endOnExit": make.ends, "record": make.record,
    });
    let fields = Fields::parse(body.to_string().as_bytes()).unwrap();
    CreateLeg::parse(fields, &Rules::default()).unwrap()
}

pub fn call_id(call: Call) -> CallId {
    CallId::parse(&format!("call-{call}")).unwrap()
}

pub fn room_id(room: Room) -> ConferenceId {
    ConferenceId::parse(&format!("room-{room}")).unwrap()
}

/// The number at the end of a name.
fn number(name: &str) -> u8 {
    name.rsplit('-').next().unwrap().parse().unwrap()
}

fn leg_seen(leg: &LegView) -> LegSeen {
    LegSeen {
        call: number(&leg.call_id),
        room: number(&leg.conference_id),
        muted: leg.muted,
        held: leg.onhold,
        waits: leg.waiting,
        state: leg.state,
    }
}

fn room_seen(room: &ConferenceView) -> RoomSeen {
    let participants = room.participants.iter();
    RoomSeen {
        participants: participants
            .map(|leg| (number(&leg.id), leg.muted, leg.onhold))
            .collect(),
        begun: room.begun,
        locked: room.locked,
        max: room.max_participants.map(|max| max as u8),
        recording: room.recording.clone(),
    }
}
