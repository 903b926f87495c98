//! A room: who sits in it, at which rate it works, who shares an encode, whether it is recorded.
//!
//! A room knows frames, never packets. The engine's tick introduces it to the legs.

mod change;
mod rate;
mod shared;
mod talkers;

pub use crate::capture::Recording;
pub use change::RoomChange;
pub use rate::RoomRate;
pub use shared::{GroupId, Heard, SharedStreams};
pub use talkers::{Candidate, Talkers, Turn};

use crate::capture::Tap;
use crate::dsp::{Limiter, Music};
use crate::frame::Rate;
use crate::id::LegId;
use crate::time::PHASES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSettings {
    /// Which phase of the tick the room is mixed in: below `PHASES`.
    pub phase: usize,
    /// A fixed rate, or the highest that a codec in use needs.
    pub sample_rate: Option<Rate>,
    /// Whether a leg contributes only while it says something.
    pub activity_detection: bool,
    /// How many are heard at once at most: the loudest. `None`: all who contribute.
    pub talkers_max: Option<u16>,
    /// What whoever is alone or waits hears, unless the leg has music of its own.
    pub music_while_alone: Option<Music>,
}

impl Default for RoomSettings {
    fn default() -> RoomSettings {
        RoomSettings {
            phase: 0,
            sample_rate: None,
            activity_detection: true,
            talkers_max: None,
            music_while_alone: None,
        }
    }
}

pub struct Room {
    pub(crate) settings: RoomSettings,
    /// A leg that starts it has come, and it stays begun. Until then all who are here wait: nobody is heard, nobody hears
    /// the room.
    pub(crate) begun: bool,
    pub(crate) seats: Vec<Seat>,
    pub(crate) rate: RoomRate,
    /// The limiter of the signal that all who do not contribute share.
    pub(crate) limiter: Limiter,
    pub(crate) talkers: Talkers,
    pub(crate) shared: SharedStreams,
    /// The recording of its mix.
    pub(crate) tap: Option<Tap>,
}

/// A leg's place in its room.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub leg: LegId,
    pub place: Place,
    /// What the leg was given to hear in the last tick.
    pub heard: Heard,
    /// Ticks left on a stream of its own after its signal has become the shared one.
    pub settle: u8,
    /// The gain its voice had at the end of the last tick: zero when it was not in the mix.
    pub gain: f32,
    /// Its part in the choice of who is heard, in rooms that choose.
    pub turn: Turn,
    /// Which of the tick's voices is its own.
    pub voice: Option<u32>,
    pub progress: Progress,
    /// Its first tick here has been told.
    pub joined: bool,
    /// It leaves for good, not for another room.
    pub ends: bool,
    /// The leg has had this tick in the room it came from.
    pub early: bool,
    /// Packets it is owed for ticks that it missed on the way from another room.
    pub owed: u8,
    /// A change is to be reported with the next tick.
    pub changed: bool,
    /// The signal does not continue what the leg heard before.
    pub seam: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Fed by the stream of a group.
    Shared(GroupId),
    /// Fed by its own stream.
    Private,
    /// Nothing has been sent yet, or nothing can be sent.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Joining,
    Seated,
    /// The next tick is its last.
    Leaving,
}

impl Room {
    pub fn new(settings: RoomSettings) -> Box<Room> {
        assert!(settings.phase < PHASES, "a room's phase is one of the tick's");
        Box::new(Room {
            settings,
            begun: false,
            seats: Vec::new(),
            rate: RoomRate::new(settings.sample_rate),
            limiter: Limiter::new(),
            talkers: Talkers::default(),
            shared: SharedStreams::default(),
            tap: None,
        })
    }

    /// Groups that share an encode now, and streams waiting in the pool: (0, 0) in an empty room.
    pub fn streams(&self) -> (usize, usize) {
        self.shared.len()
    }

    pub(crate) fn seat_of(&self, leg: LegId) -> Option<usize> {
        self.seats.iter().position(|seat| seat.leg == leg)
    }
}
