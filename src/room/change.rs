//! What the control plane can change about a room.

use crate::dsp::Music;
use crate::frame::Rate;
use crate::id::RecordingSlot;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RoomChange {
    /// A fixed rate, or `None`: the highest that a codec in use needs.
    SampleRate(Option<Rate>),
    /// `false` mixes every leg always.
    ActivityDetection(bool),
    /// How many are heard at once at most, at least one; `None`: all who contribute.
    TalkersMax(Option<u16>),
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
