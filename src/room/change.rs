//! What the control plane can change about a room.

use crate::capture::Recording;
use crate::dsp::Music;
use crate::frame::Rate;

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
    /// Starts sending the mix to this recording, and where it says so what each leg adds to it; `None` stops. Both are
    /// answered by `Event::Recording`.
    Record(Option<Recording>),
    /// No sound goes to the recording that runs until it is resumed; answered by `Event::RecordingPaused`.
    PauseRecording(bool),
}
