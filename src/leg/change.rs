//! What the control plane can change about a leg; each is audible from one tick on.

use crate::dsp::Music;

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
