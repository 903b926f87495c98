//! What the control plane can ask of an engine. A command takes effect with the next tick of its room.
//!
//! Whoever sends a command pays for its memory: boxes go in filled and come back in an event, to be dropped outside
//! the media thread. Ids are slots that the sender chooses and owns until the event that gives them back
//! (`Event::Left`, `Event::Closed`), so a command can neither miss nor hit a stranger.

use crate::dsp::Music;
use crate::engine::stats::{EngineStats, LegReport};
use crate::frame::Rate;
use crate::leg::{Leg, LegMedia};
use crate::room::Room;

/// A leg's slot in its engine: below the engine's `legs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u32);

/// A room's slot in its engine: below the engine's `rooms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u32);

/// A recording's slot, unique in the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingSlot(pub u32);

pub enum Command {
    /// Puts an empty room into its slot.
    Open { room: RoomId, state: Box<Room> },
    /// Takes an empty room out; answered by `Event::Closed`. Its last leg must have left.
    Close { room: RoomId },
    /// Seats a leg; answered by `Event::Joined` at its first tick.
    Join { leg: LegId, state: Box<Leg>, room: RoomId },
    /// Takes a leg out after one last tick, in which it fades; answered by `Event::Left`.
    /// The same for a kick and for the first half of a move.
    Leave { leg: LegId },
    /// Changes what a leg says or hears.
    Change { leg: LegId, change: LegChange },
    /// New remote address, formats or direction; answered by `Event::Renegotiated` with what was before.
    Renegotiate { leg: LegId, media: Box<LegMedia> },
    /// Changes a room.
    ChangeRoom { room: RoomId, change: RoomChange },
    /// Asks for a leg's figures; answered by `Event::LegReported` with the same box.
    ReportLeg { leg: LegId, request: u64, report: Box<LegReport> },
    /// Asks for the engine's figures; answered by `Event::Reported` with the same box.
    Report { request: u64, report: Box<EngineStats> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LegChange {
    /// Its voice is left out of the mix; it still hears.
    Muted(bool),
    /// It hears silence; it is still heard.
    Deaf(bool),
    /// It neither speaks nor hears the room; it hears the music, or silence. `None` resumes.
    Hold(Option<Hold>),
    /// Gain on its voice before the mix, as a factor (1.0 = unchanged).
    Gain(f32),
    /// What it hears while it is alone in the room.
    MusicWhileAlone(Option<Music>),
    /// Hard bound of its playout delay.
    MaxDelayMs(u16),
}

/// On hold: what the held party hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Silence when absent.
    pub music: Option<Music>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RoomChange {
    /// A fixed rate, or `None`: the highest that a codec in use needs.
    SampleRate(Option<Rate>),
    /// `false` mixes every leg always.
    ActivityDetection(bool),
    /// What whoever is alone hears, when the leg has no music of its own.
    MusicWhileAlone(Option<Music>),
    /// Starts sending the mix to this recording at this rate, `None` stops; answered by `Event::Recording`.
    Record(Option<Recording>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    pub slot: RecordingSlot,
    pub rate: Rate,
}
