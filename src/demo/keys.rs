//! Keys that are pressed in the play, as telephone events or as tones in the sound: nobody may hear them, and control is
//! told of each.

use std::f32::consts::TAU;

use serde_json::{Value, json};

use super::check::RATE;
use super::judge::{Check, Timeline};
use super::script::{self, ALMA, FAY, LAG_MAX};
use crate::dtmf::Digit;
use crate::frame::Rate;
use crate::load::keys::Press;

/// What one party presses, when nobody speaks.
#[derive(Debug, Clone, Copy)]
pub struct Pressing {
    pub party: usize,
    pub keys: &'static str,
    pub at_ms: usize,
    pub means: Means,
    /// What becomes of them: they are told one by one (`ignore`), or together (`detect`).
    mode: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// RFC 4733.
    Events,
    /// ITU-T Q.23, by one who has not agreed on events.
    Tones,
}

pub const PRESSINGS: [Pressing; 2] = [
    Pressing {
        party: FAY,
        keys: "42",
        at_ms: 13_300,
        means: Means::Events,
        mode: "detect",
    },
    Pressing {
        party: ALMA,
        keys: "7",
        at_ms: 16_900,
        means: Means::Tones,
        mode: "ignore",
    },
];

const TONE_MS: usize = 100;
const GAP_MS: usize = 80;

/// Of each of the two tones, as a telephone makes them.
const AMPLITUDE: f32 = 0.2;

/// Faded at both ends, or the click is heard where the tone is not.
const FADE_MS: usize = 3;

/// A tone that is louder somewhere is heard. One that was let through would be at about −14, a line at rest is below −70.
const LEVEL_DB_MAX: f32 = -45.0;

/// A tone is looked for in pieces of this length, each half a piece after the one before.
const PIECE_MS: usize = 40;

impl Pressing {
    /// What is said of it before the play.
    pub fn options(&self) -> Value {
        json!({ "mode": self.mode, "maxDigits": self.keys.len() })
    }

    /// Each key with its beginning.
    fn presses(&self) -> impl Iterator<Item = (Digit, usize)> {
        let begins = (self.at_ms..).step_by(TONE_MS + GAP_MS);
        self.keys.chars().filter_map(Digit::from_char).zip(begins)
    }

    /// When the last one is over.
    fn end_ms(&self) -> usize {
        self.at_ms + self.keys.len() * (TONE_MS + GAP_MS)
    }
}

/// Whether a party's telephone sends events.
pub fn has_events(party: usize) -> bool {
    !PRESSINGS
        .iter()
        .any(|pressing| pressing.party == party && pressing.means == Means::Tones)
}

/// What a party presses as events, in its packets.
pub fn events(party: usize, ptime_ms: u8) -> Vec<Press> {
    let ptime_ms = usize::from(ptime_ms);
    PRESSINGS
        .iter()
        .filter(|pressing| pressing.party == party && pressing.means == Means::Events)
        .flat_map(Pressing::presses)
        .map(|(digit, at_ms)| Press {
            event: digit.event(),
            first_packet: at_ms / ptime_ms,
            packets: TONE_MS / ptime_ms,
        })
        .collect()
}

/// Adds what a party presses as tones to its part.
pub fn add_tones(party: usize, rate: Rate, part: &mut [f32]) {
    let pressings = PRESSINGS
        .iter()
        .filter(|pressing| pressing.party == party && pressing.means == Means::Tones);
    for (digit, at_ms) in pressings.flat_map(Pressing::presses) {
        let (low_hz, high_hz) = digit.frequencies();
        let per_ms = rate.samples_per_ms();
        let tone = &mut part[at_ms * per_ms..][..TONE_MS * per_ms];
        let last = tone.len() - 1;
        for (n, sample) in tone.iter_mut().enumerate() {
            let t = n as f32 / rate.hz() as f32;
            let faded = (n.min(last - n) as f32 / (FADE_MS * per_ms) as f32).min(1.0);
            *sample += AMPLITUDE * faded * ((TAU * low_hz * t).sin() + (TAU * high_hz * t).sin());
        }
    }
}

/// Whether a listener hears any of the keys that others press. `listener` is `None` for the recording.
pub fn unheard(name: &str, listener: Option<usize>, timeline: &Timeline) -> Vec<Check> {
    PRESSINGS
        .iter()
        .filter(|pressing| Some(pressing.party) != listener)
        .map(|pressing| {
            let at = |ms: f64| ((ms - timeline.start_ms) * RATE.samples_per_ms() as f64).max(0.0) as usize;
            let to = at(pressing.end_ms() as f64 + LAG_MAX.as_secs_f64() * 1e3).min(timeline.sound.len());
            let sound = &timeline.sound[at(pressing.at_ms as f64).min(to)..to];
            let loudest = pressing
                .presses()
                .map(|(digit, _)| level_db(sound, digit))
                .fold(f32::NEG_INFINITY, f32::max);
            Check {
                sentence: format!(
                    "{name} does not hear {} press {} ({loudest:.0} dB)",
                    script::name(pressing.party),
                    pressing.keys
                ),
                passed: loudest <= LEVEL_DB_MAX,
            }
        })
        .collect()
}

/// How loud a key's two tones are where they are loudest, in dB of full scale: the weaker of the two.
fn level_db(sound: &[f32], digit: Digit) -> f32 {
    let (low_hz, high_hz) = digit.frequencies();
    let piece = PIECE_MS * RATE.samples_per_ms();
    let pieces = sound.windows(piece).step_by(piece / 2);
    let loudest = pieces
        .map(|piece| amplitude(piece, low_hz).min(amplitude(piece, high_hz)))
        .fold(0.0, f32::max);
    20.0 * loudest.max(1e-6).log10()
}

/// Of the part of `sound` that has this frequency.
fn amplitude(sound: &[f32], hz: f32) -> f32 {
    let step = TAU * hz / RATE.hz() as f32;
    let (mut real, mut imaginary, mut weights) = (0.0, 0.0, 0.0);
    for (n, sample) in sound.iter().enumerate() {
        // A window that keeps speech nearby out.
        let weight = (TAU / 2.0 * (n as f32 + 0.5) / sound.len() as f32).sin().powi(2);
        let (sin, cos) = (step * n as f32).sin_cos();
        real += weight * sample * cos;
        imaginary += weight * sample * sin;
        weights += weight;
    }
    2.0 * f32::hypot(real, imaginary) / weights
}

/// Whether control was told of each pressing, and of no other.
pub fn told(events: &[Value]) -> Check {
    let told: Vec<(&str, &str, &str)> = events
        .iter()
        .filter(|event| event["type"] == "leg.digits")
        .map(|event| {
            let text = |field: &str| event[field].as_str().unwrap_or("?");
            (text("callId"), text("digits"), text("mode"))
        })
        .collect();
    let pressed = PRESSINGS.map(|pressing| (script::name(pressing.party), pressing.keys, pressing.mode));
    let sentences: Vec<String> = told
        .iter()
        .map(|(party, keys, mode)| format!("{keys} of {party} ({mode})"))
        .collect();
    Check {
        sentence: format!(
            "the keys pressed are told, and no others: {}",
            sentences.join(", ")
        ),
        passed: told == pressed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{CODECS, TURNS};
    use super::*;

    #[test]
    fn keys_are_pressed_when_nobody_speaks_or_is_still_to_be_heard() {
        for pressing in PRESSINGS {
            for turn in TURNS {
                let over = turn.at_ms + turn.length_ms + 150 <= pressing.at_ms;
                let later = pressing.end_ms() + LAG_MAX.as_millis() as usize <= turn.at_ms;
                assert!(over || later, "{pressing:?} and {turn:?}");
            }
            // One key told at a time is one event.
            assert!(pressing.mode == "detect" || pressing.keys.len() == 1);
        }
    }

    #[test]
    fn events_are_of_those_that_have_them_and_do_not_overlap() {
        let presses = events(FAY, 20);
        assert_eq!(presses.len(), 2);
        assert_eq!((presses[0].event, presses[1].event), (4, 2));
        // Three packets more tell the end.
        assert!(presses[0].first_packet + presses[0].packets + 3 <= presses[1].first_packet);
        assert!(events(ALMA, 20).is_empty());
        assert!(has_events(FAY) && !has_events(ALMA));
    }

    #[test]
    fn a_tone_let_through_is_caught_in_the_mix_and_by_whoever_hears_it() {
        let mut sound = vec![0.0; script::END_MS * 8];
        let timeline = |sound: &[f32]| Timeline {
            start_ms: 30.0,
            sound: sound.to_vec(),
        };
        let passed = |sound: &[f32], listener| -> Vec<bool> {
            unheard("x", listener, &timeline(sound))
                .iter()
                .map(|check| check.passed)
                .collect()
        };
        assert_eq!(passed(&sound, None), [true, true]);
        add_tones(ALMA, RATE, &mut sound);
        assert_eq!(passed(&sound, None), [true, false]);
        assert_eq!(passed(&sound, Some(ALMA)), [true]);
        let faint: Vec<f32> = sound.iter().map(|sample| sample * 0.03).collect();
        assert_eq!(passed(&faint, None), [true, false]);
        // A start of 15 ms that was let through.
        let mut cut = sound.clone();
        cut[(16_900 + 15) * 8..].fill(0.0);
        assert_eq!(passed(&cut, None), [true, false]);
        assert_eq!(passed(&[], None), [true, true]);
        assert_eq!(CODECS.len(), script::PARTIES);
    }

    #[test]
    fn what_is_told_must_be_what_was_pressed() {
        let event = |party: &str, keys: &str, mode: &str| json!({ "type": "leg.digits", "callId": party, "digits": keys, "mode": mode });
        let (fay, alma) = (event("fay", "42", "detect"), event("alma", "7", "ignore"));
        let joined = json!({ "type": "leg.joined" });
        assert!(told(&[joined.clone(), fay.clone(), alma.clone()]).passed);
        assert!(!told(std::slice::from_ref(&fay)).passed);
        assert!(!told(&[fay.clone(), alma.clone(), alma.clone()]).passed);
        assert!(!told(&[fay, event("alma", "8", "ignore")]).passed);
    }
}
