//! What an engine tells the control plane.

use crate::dtmf::Digits;
use crate::engine::stats::EngineStats;
use crate::id::{LegId, RecordingSlot, RoomId};
use crate::leg::{Leg, LegMedia, LegReport, OneWay};
use crate::room::Room;
use crate::time::{Tick, Time};

/// What a recording is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Room(RoomId),
    /// What this leg is sent.
    Leg(LegId),
}

pub enum Event {
    /// The leg was mixed for the first time at this tick.
    Joined {
        leg: LegId,
        tick: Tick,
        /// The room had not begun.
        waits: bool,
    },
    /// The leg has had its last tick: its slot is free again, and with it goes all it needs to be seated elsewhere.
    Left {
        leg: LegId,
        tick: Tick,
        state: Box<Leg>,
    },
    /// The room's slot is free again.
    Closed {
        room: RoomId,
        state: Box<Room>,
    },
    /// The leg began or ceased to contribute to the mix.
    Talking {
        leg: LegId,
        on: bool,
        tick: Tick,
    },
    /// The party is not heard, or does not hear us, though it should; or that is over.
    OneWay {
        leg: LegId,
        one_way: OneWay,
        tick: Tick,
    },
    /// Nothing of the party's has come for as long as the leg allows.
    MediaTimeout {
        leg: LegId,
        /// When RTP came last; `None`: never.
        last_arrival: Option<Time>,
        tick: Tick,
    },
    /// The remote party pressed keys: one, or where they are collected the whole, which `#` alone leaves empty.
    Digits {
        leg: LegId,
        digits: Digits,
        tick: Tick,
    },
    /// New media is in force from the next tick on; `before` is what it replaced.
    Renegotiated {
        leg: LegId,
        before: Box<LegMedia>,
    },
    /// The recording's first (`on`) tick, or the first tick that is no longer in it (0: it never had one).
    Recording {
        of: Recorded,
        slot: RecordingSlot,
        on: bool,
        tick: Tick,
    },
    /// Since this tick the recording is paused, or is no longer. What was asked for twice before a tick is answered
    /// once, as it was asked last.
    RecordingPaused {
        slot: RecordingSlot,
        on: bool,
        tick: Tick,
    },
    /// A change of the leg is in force since this tick.
    Changed {
        leg: LegId,
        tick: Tick,
    },
    LegReported {
        leg: LegId,
        request: u64,
        report: Box<LegReport>,
    },
    Reported {
        request: u64,
        report: Box<EngineStats>,
    },
}
