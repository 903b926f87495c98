//! What the control plane can change about a leg; each is audible from one tick on.

use std::time::Duration;

use crate::dsp::Music;
use crate::dtmf;

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
    /// What becomes of the keys it presses. A collection that has begun is over, and told.
    Digits(DigitSettings),
    /// So long there may be neither RTP nor RTCP where there should be; `None`: for ever.
    MediaTimeout(Option<Duration>),
}

/// On hold: what the held party hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Silence when absent.
    pub music: Option<Music>,
}

/// What becomes of the keys that a leg presses, and where they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigitSettings {
    pub mode: dtmf::Mode,
    pub in_band: InBand,
}

/// Whether keys are looked for as tones in the sound. It costs the leg delay: tones are cut out from their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InBand {
    #[default]
    Off,
    /// Where the remote does not send telephone events.
    Auto,
    On,
}
