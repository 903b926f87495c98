//! The play: who says what when, what control does meanwhile, and who should hear it.
//!
//! Everything is known before the start, so each party's sound is made and encoded in advance, and the checks know
//! to the sample what was said. Between any two turns lies more silence than a voice may be late, so that what is
//! heard after a turn is of that turn.

use std::time::Duration;

use super::check::{self, flattened};
use super::keys;
use crate::codec::Codec;
use crate::codec::ilbc::Mode;
use crate::frame::Rate;
use crate::load::correlation::energy;
use crate::load::speech::{SpeechError, VOICES, Voice};
use crate::load::track::noise;
use crate::srtp::Suite;

pub const PARTIES: usize = 7;

/// The codec of each; the names and voices are those of `load::speech`.
pub const CODECS: [Codec; PARTIES] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::Opus(Rate::Hz48000),
    Codec::G722,
    Codec::L16(Rate::Hz16000),
    Codec::G729,
    Codec::Ilbc(Mode::Ms30),
];

/// What each encrypts with.
pub const SUITES: [Option<Suite>; PARTIES] = [
    None,
    Some(Suite::AesCm128HmacSha1_80),
    Some(Suite::AeadAes128Gcm),
    None,
    None,
    None,
    None,
];

/// Whose turn it is where the play needs names.
pub const ALMA: usize = 0;
const BORIS: usize = 1;
const CRAIG: usize = 2;
const EDGAR: usize = 4;
pub const FAY: usize = 5;

/// Nobody may be heard later than this after he spoke.
pub const LAG_MAX: Duration = Duration::from_millis(400);

/// What each sends while he is silent, as any real line does.
const NOISE_DBFS: f32 = -65.0;

/// Root mean square of each voice after its spectrum was flattened; about −20 dBFS before.
const CLEARNESS: f32 = 0.022;

/// Faded at both ends of a turn, so that a cut into a word is no click.
const FADE_MS: usize = 5;

pub fn name(party: usize) -> &'static str {
    VOICES[party].name
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub speaker: usize,
    pub at_ms: usize,
    pub length_ms: usize,
    pub scene: Scene,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// One after the other; all others hear him.
    InTurn,
    /// Four at once; all hear the others. Under more, the voice of a codec that models speech cannot be told from chance.
    Together,
    /// The speaker is muted: nobody hears him.
    Muted,
    /// Another speaks, and the muted hears it too.
    WhileMuted,
    /// The speaker is held: nobody hears him.
    Held,
    /// One who was muted speaks again: all hear him but the held.
    WhileHeld,
    /// The speaker is no longer in the room: nobody hears him.
    Kicked,
    /// One who was held speaks again: all hear him but the kicked.
    AfterKick,
}

impl Turn {
    /// Whether `listener` should hear this turn.
    pub fn heard_by(&self, listener: usize) -> bool {
        let deaf = match self.scene {
            Scene::Muted | Scene::Held | Scene::Kicked => return false,
            Scene::WhileHeld => Some(CRAIG),
            Scene::AfterKick => Some(EDGAR),
            Scene::InTurn | Scene::Together | Scene::WhileMuted => None,
        };
        listener != self.speaker && deaf != Some(listener)
    }

    /// Whether the room's mix, and so the recording, has it.
    pub fn in_the_mix(&self) -> bool {
        !matches!(self.scene, Scene::Muted | Scene::Held | Scene::Kicked)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Command {
        party: usize,
        command: &'static str,
    },
    Kick {
        party: usize,
    },
    /// Only a sentence.
    Say,
}

#[derive(Debug, Clone, Copy)]
pub struct Cue {
    pub at_ms: usize,
    pub deed: Deed,
    pub sentence: &'static str,
}

const fn turn(speaker: usize, at_ms: usize, length_ms: usize, scene: Scene) -> Turn {
    Turn {
        speaker,
        at_ms,
        length_ms,
        scene,
    }
}

/// In the order of time.
pub const TURNS: [Turn; 17] = [
    turn(0, 700, 1_100, Scene::InTurn),
    turn(1, 2_250, 1_100, Scene::InTurn),
    turn(2, 3_800, 1_100, Scene::InTurn),
    turn(3, 5_350, 1_100, Scene::InTurn),
    turn(4, 6_900, 1_100, Scene::InTurn),
    turn(5, 8_450, 1_100, Scene::InTurn),
    turn(6, 10_000, 1_100, Scene::InTurn),
    turn(ALMA, 11_550, 1_600, Scene::Together),
    turn(BORIS, 11_550, 1_600, Scene::Together),
    turn(CRAIG, 11_550, 1_600, Scene::Together),
    turn(EDGAR, 11_550, 1_600, Scene::Together),
    turn(BORIS, 14_100, 1_100, Scene::Muted),
    turn(FAY, 15_650, 1_100, Scene::WhileMuted),
    turn(CRAIG, 17_700, 1_000, Scene::Held),
    turn(BORIS, 19_150, 1_100, Scene::WhileHeld),
    turn(EDGAR, 21_200, 900, Scene::Kicked),
    turn(CRAIG, 22_550, 1_100, Scene::AfterKick),
];

pub const CUES: [Cue; 11] = [
    Cue {
        at_ms: 500,
        deed: Deed::Say,
        sentence: "Each speaks in turn; the other six should hear it.",
    },
    Cue {
        at_ms: 11_500,
        deed: Deed::Say,
        sentence: "Four speak at once.",
    },
    Cue {
        at_ms: 13_300,
        deed: Deed::Say,
        sentence: "fay presses 4 and 2 (telephone events); the daemon collects them, and nobody should hear a tone.",
    },
    Cue {
        at_ms: 13_300,
        deed: Deed::Command {
            party: BORIS,
            command: "mute",
        },
        sentence: "boris is muted, and speaks all the same; then fay answers him.",
    },
    Cue {
        at_ms: 16_900,
        deed: Deed::Say,
        sentence: "alma presses 7, a tone in her sound; nobody should hear it either.",
    },
    Cue {
        at_ms: 16_900,
        deed: Deed::Command {
            party: BORIS,
            command: "unmute",
        },
        sentence: "boris is unmuted.",
    },
    Cue {
        at_ms: 16_900,
        deed: Deed::Command {
            party: CRAIG,
            command: "onhold",
        },
        sentence: "craig is held, and speaks all the same; then boris speaks.",
    },
    Cue {
        at_ms: 20_400,
        deed: Deed::Command {
            party: CRAIG,
            command: "resume",
        },
        sentence: "craig is resumed.",
    },
    Cue {
        at_ms: 20_400,
        deed: Deed::Kick { party: EDGAR },
        sentence: "edgar is kicked, and speaks all the same; then craig speaks.",
    },
    Cue {
        at_ms: KICKED_SILENT_FROM_MS,
        deed: Deed::Say,
        sentence: "From here on edgar should get no packet.",
    },
    Cue {
        at_ms: END_MS,
        deed: Deed::Say,
        sentence: "The conference is over.",
    },
];

/// When nothing may reach the kicked any more.
pub const KICKED_SILENT_FROM_MS: usize = 21_000;

/// The party that is kicked.
pub const KICKED: usize = EDGAR;

/// All turns have been said and heard.
pub const END_MS: usize = 24_100;

/// A command must have been answered this long before the turn that depends on it.
pub const COMMAND_MARGIN: Duration = Duration::from_millis(250);

/// What all say, at one rate.
pub struct Texts {
    rate: Rate,
    voices: Vec<Vec<f32>>,
}

impl Texts {
    /// All voices at `rate`, each brought to the level at which the checks find all of them equally well: a dark
    /// voice would else drown when all speak at once.
    pub fn decode(rate: Rate) -> Result<Texts, SpeechError> {
        let clear = |voice: &Voice| {
            let flat = flattened(&voice.decode(check::RATE)?);
            let gain = CLEARNESS / (energy(&flat) / flat.len() as f32).sqrt();
            Ok(voice
                .decode(rate)?
                .into_iter()
                .map(|sample| sample * gain)
                .collect())
        };
        let voices = VOICES[..PARTIES]
            .iter()
            .map(clear)
            .collect::<Result<_, SpeechError>>()?;
        Ok(Texts { rate, voices })
    }

    /// What is said in a turn. Each speaker goes on in his text where his last turn ended.
    pub fn said(&self, index: usize) -> Vec<f32> {
        let turn = TURNS[index];
        let before = TURNS[..index]
            .iter()
            .filter(|before| before.speaker == turn.speaker);
        let from_ms: usize = before.map(|before| before.length_ms).sum();
        let from = from_ms * self.rate.samples_per_ms();
        let mut said =
            self.voices[turn.speaker][from..from + turn.length_ms * self.rate.samples_per_ms()].to_vec();
        let fade = FADE_MS * self.rate.samples_per_ms();
        let last = said.len() - 1;
        for n in 0..fade {
            let gain = n as f32 / fade as f32;
            said[n] *= gain;
            said[last - n] *= gain;
        }
        said
    }

    /// All that a party sends from the start to the end.
    pub fn part(&self, party: usize) -> Vec<f32> {
        let mut chance = fastrand::Rng::with_seed(party as u64);
        let length = Duration::from_millis((END_MS + 1_000) as u64);
        let mut part = noise(self.rate, length, NOISE_DBFS, &mut chance);
        for (index, turn) in TURNS.iter().enumerate().filter(|(_, turn)| turn.speaker == party) {
            let start = turn.at_ms * self.rate.samples_per_ms();
            for (sample, said) in part[start..].iter_mut().zip(self.said(index)) {
                *sample += said;
            }
        }
        keys::add_tones(party, self.rate, &mut part);
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_turns_lies_more_silence_than_a_voice_may_be_late() {
        for pair in TURNS.windows(2) {
            let end = pair[0].at_ms + pair[0].length_ms;
            let together = pair[0].at_ms == pair[1].at_ms;
            assert!(
                together || pair[1].at_ms >= end + LAG_MAX.as_millis() as usize,
                "{pair:?}"
            );
        }
        let last = TURNS[TURNS.len() - 1];
        assert!(END_MS >= last.at_ms + last.length_ms + LAG_MAX.as_millis() as usize);
    }

    #[test]
    fn every_cue_has_time_to_take_effect_before_the_next_turn_and_after_the_last() {
        for cue in CUES.iter().filter(|cue| cue.deed != Deed::Say) {
            for turn in &TURNS {
                let end = turn.at_ms + turn.length_ms;
                let early = turn.at_ms < cue.at_ms && end + 150 <= cue.at_ms;
                let late = turn.at_ms >= cue.at_ms + 700;
                assert!(early || late, "{cue:?} and {turn:?}");
            }
        }
        assert!(CUES.is_sorted_by_key(|cue| cue.at_ms));
        assert!(TURNS.is_sorted_by_key(|turn| turn.at_ms));
    }

    #[test]
    fn a_part_has_speech_where_its_turns_are_and_noise_elsewhere() {
        let rate = Rate::Hz8000;
        let level = |sound: &[f32]| {
            10.0 * (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32).log10()
        };
        let texts = Texts::decode(rate).expect("the speech decodes");
        for party in 0..PARTIES {
            let mut part = texts.part(party);
            let mut tones = vec![0.0; part.len()];
            keys::add_tones(party, rate, &mut tones);
            for (sample, tone) in part.iter_mut().zip(tones) {
                *sample -= tone;
            }
            let mut end = 0;
            for turn in TURNS.iter().filter(|turn| turn.speaker == party) {
                let start = turn.at_ms * 8;
                assert!(
                    level(&part[end..start]) < -62.0,
                    "{} before {}",
                    name(party),
                    turn.at_ms
                );
                end = start + turn.length_ms * 8;
                let spoken = level(&part[start..end]);
                assert!(
                    (-32.0..-14.0).contains(&spoken),
                    "{} at {}: {spoken}",
                    name(party),
                    turn.at_ms
                );
            }
        }
    }
}
