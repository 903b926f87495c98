//! What the control plane can ask of an engine. A command takes effect with the next tick of its room.
//!
//! Whoever sends a command pays for its memory: boxes go in filled and come back in an event, to be dropped outside
//! the media thread. Ids are slots that the sender chooses and owns until the event that gives them back
//! (`Event::Left`, `Event::Closed`), so a command can neither miss nor hit a stranger.

pub use crate::capture::Recording;
pub use crate::id::{LegId, RecordingSlot, RoomId};
pub use crate::leg::{Hold, LegChange};
pub use crate::room::RoomChange;

use crate::dtmf::Digits;
use crate::engine::stats::EngineStats;
use crate::leg::{Leg, LegMedia, LegReport};
use crate::room::Room;

pub enum Command {
    /// Puts an empty room into its slot.
    Open { room: RoomId, state: Box<Room> },
    /// Takes an empty room out; answered by `Event::Closed`. Its last leg must have left.
    Close { room: RoomId },
    /// Seats a leg; answered by `Event::Joined` at its first tick.
    Join {
        leg: LegId,
        state: Box<Leg>,
        room: RoomId,
    },
    /// Takes a leg out after one last tick, in which it fades; answered by `Event::Left`.
    /// `for_good`: the remote is told so (RTCP BYE). The first half of a move is not.
    Leave { leg: LegId, for_good: bool },
    /// Changes what a leg says or hears.
    Change { leg: LegId, change: LegChange },
    /// Digits for the remote party, after those that it is still being sent; what does not fit behind them is lost.
    SendDigits {
        leg: LegId,
        digits: Digits,
        tone_ms: u16,
        gap_ms: u16,
    },
    /// New remote address, formats or direction; answered by `Event::Renegotiated` with what was before.
    Renegotiate { leg: LegId, media: Box<LegMedia> },
    /// Starts sending what the leg is given to hear to this recording, wherever it goes; `None` stops, and so does its
    /// end. Answered by `Event::Recording`.
    RecordLeg {
        leg: LegId,
        recording: Option<Recording>,
    },
    /// No sound goes to that recording until it is resumed; answered by `Event::RecordingPaused`.
    PauseLegRecording { leg: LegId, on: bool },
    /// No Opus stream of the engine is encoded with more effort than this from now on, 0 to 10, also those of legs that come
    /// later; 10 leaves it to what was agreed.
    LimitComplexity(u8),
    /// Changes a room.
    ChangeRoom { room: RoomId, change: RoomChange },
    /// Asks for a leg's figures; answered by `Event::LegReported` with the same box.
    ReportLeg {
        leg: LegId,
        request: u64,
        report: Box<LegReport>,
    },
    /// Asks for the engine's figures; answered by `Event::Reported` with the same box.
    Report { request: u64, report: Box<EngineStats> },
}
