//! The verdict: each thing that was said against what each party, and the recording, heard.
//!
//! Pure: sounds go in, checks come out. A voice that should be heard must be found by its likeness; one that should
//! not must be quieter than a leak would be.

use std::ops::Range;
use std::time::Duration;

use super::check::{Match, RATE, compare, flattened};
use super::keys;
use super::script::{self, LAG_MAX, PARTIES, Scene, TURNS, Texts, Turn};
use super::tracks;
use crate::load::speech::SpeechError;

/// A voice alone: 0.8 and more on a machine with time between codecs that carry the waveform, 0.5 from G.729 to iLBC or
/// back; two thirds of that where late packets had to be concealed; somebody else's gives at most 0.2.
pub const LIKENESS_MIN_ALONE: f32 = 0.35;

/// One of four at once, none of them coded by a model of speech, looked for near the lag it had alone: 0.34 and more where
/// it is there (to G.729, 0.39 to others), two thirds of that on a machine without time, at most 0.15 where it is not.
const LIKENESS_MIN_TOGETHER: f32 = 0.2;

/// Quieter than this is not heard; a correct mixer gives −45 or less (what noise correlates by chance).
pub const LEVEL_DB_MAX_UNHEARD: f32 = -28.0;

/// A voice that should be heard is not heard more quietly than this.
pub const LEVEL_DB_MIN_HEARD: f32 = -12.0;

/// While all speak, how far from its lag alone a voice's lag is looked for: playout adapts meanwhile.
const LAG_CHANGE: Duration = Duration::from_millis(100);

/// How late, or early, a recording may begin against what is said: it is found by the first turn.
const RECORDING_SHIFT: Duration = Duration::from_millis(1_500);

/// Mono sound at 8 kHz; its first sample is `start_ms` after the start of the play (or before it).
#[derive(Debug, Clone)]
pub struct Timeline {
    pub start_ms: f64,
    pub sound: Vec<f32>,
}

/// The mix and each party's track, sample by sample at the same times.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub mix: Timeline,
    pub tracks: Vec<Timeline>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub sentence: String,
    pub passed: bool,
}

#[derive(Debug)]
pub struct Verdict {
    /// By listener, then speaker, of the turns that each had alone; the last row is the recording.
    pub matrix: Vec<[Match; PARTIES]>,
    pub checks: Vec<Check>,
}

impl Verdict {
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// Judges what all heard and what the recording has.
pub fn judge(heard: &[Timeline], recording: Option<&Recorded>) -> Result<Verdict, SpeechError> {
    let texts = Texts::decode(RATE)?;
    let said: Vec<Vec<f32>> = (0..TURNS.len())
        .map(|turn| flattened(&texts.said(turn)))
        .collect();
    let mut verdict = Verdict {
        matrix: Vec::new(),
        checks: Vec::new(),
    };
    for (listener, timeline) in heard.iter().enumerate() {
        let ear = Ear::new(timeline, 0..RATE.samples(LAG_MAX));
        let hears = |turn: &Turn| turn.heard_by(listener);
        listen(
            &mut verdict,
            script::name(listener),
            Some(listener),
            &ear,
            &said,
            hears,
        );
        verdict
            .checks
            .extend(keys::unheard(script::name(listener), Some(listener), timeline));
    }
    match recording {
        None => verdict.checks.push(Check {
            sentence: "there is a recording".into(),
            passed: false,
        }),
        Some(recorded) => {
            let timeline = &recorded.mix;
            let ear = Ear::recording(timeline, &said[0]);
            listen(&mut verdict, "the recording", None, &ear, &said, Turn::in_the_mix);
            // The ear is laid out so that voices lag by half of what they may; here they should not lag at all, or the end
            // of a turn would be heard in the pause after it.
            let aligned = Timeline {
                start_ms: ear.start_ms - LAG_MAX.as_secs_f64() * 1e3 / 2.0,
                sound: timeline.sound.clone(),
            };
            verdict
                .checks
                .extend(keys::unheard("the recording", None, &aligned));
            if let Some(in_mix) = verdict.matrix.last() {
                let checks = tracks::judge(recorded, &ear, in_mix, &said);
                verdict.checks.extend(checks);
            }
        }
    }
    Ok(verdict)
}

/// Compares every turn with what one ear heard, and adds a row and its checks.
fn listen(
    verdict: &mut Verdict,
    name: &str,
    own: Option<usize>,
    ear: &Ear,
    said: &[Vec<f32>],
    hears: impl Fn(&Turn) -> bool,
) {
    let mut row = [ear.hear(&TURNS[0], &said[0], ear.lags.clone()); PARTIES];
    for (turn, said) in TURNS.iter().zip(said) {
        let lags = match turn.scene {
            Scene::Together => near(row[turn.speaker].lag, &ear.lags),
            _ => ear.lags.clone(),
        };
        let found = ear.hear(turn, said, lags);
        if turn.scene == Scene::InTurn {
            row[turn.speaker] = found;
        }
        let together = turn.scene == Scene::Together;
        if together && own == Some(turn.speaker) {
            // Under three others a leak of oneself cannot be told from chance; alone it can, and was.
            continue;
        }
        let speaker = if own == Some(turn.speaker) {
            "itself"
        } else {
            script::name(turn.speaker)
        };
        let likeness_min = if together {
            LIKENESS_MIN_TOGETHER
        } else {
            LIKENESS_MIN_ALONE
        };
        let is_heard = found.likeness >= likeness_min && found.level_db >= LEVEL_DB_MIN_HEARD;
        let is_unheard = found.level_db <= LEVEL_DB_MAX_UNHEARD;
        let wanted = hears(turn);
        verdict.checks.push(Check {
            sentence: format!(
                "{name} {} {speaker} {} (likeness {:.2}, level {:.0} dB)",
                if wanted { "hears" } else { "does not hear" },
                when(turn.scene),
                found.likeness,
                found.level_db
            ),
            passed: if wanted { is_heard } else { is_unheard },
        });
    }
    verdict.matrix.push(row);
}

/// The lags about that of a voice alone.
pub fn near(alone: Duration, lags: &Range<usize>) -> Range<usize> {
    let (alone, change) = (RATE.samples(alone), RATE.samples(LAG_CHANGE));
    alone.saturating_sub(change).max(lags.start)..(alone + change).min(lags.end)
}

pub fn when(scene: Scene) -> &'static str {
    match scene {
        Scene::InTurn => "speaking alone",
        Scene::Together => "among four speaking at once",
        Scene::Muted => "speaking while muted",
        Scene::WhileMuted => "answering the muted",
        Scene::Held => "speaking while held",
        Scene::WhileHeld => "unmuted again, while craig is held",
        Scene::Kicked => "speaking after the kick",
        Scene::AfterKick => "resumed, after the kick",
    }
}

/// A sound to be listened to, prepared once.
pub struct Ear {
    pub start_ms: f64,
    flat: Vec<f32>,
    pub lags: Range<usize>,
}

impl Ear {
    pub fn new(timeline: &Timeline, lags: Range<usize>) -> Ear {
        Ear {
            start_ms: timeline.start_ms,
            flat: flattened(&timeline.sound),
            lags,
        }
    }

    /// A recording's start is not known to the millisecond: the first turn tells where it lies.
    fn recording(timeline: &Timeline, first_said: &[f32]) -> Ear {
        let shift_ms = RECORDING_SHIFT.as_secs_f64() * 1e3;
        let mut ear = Ear::new(timeline, 0..2 * RATE.samples(RECORDING_SHIFT));
        ear.start_ms += shift_ms;
        let found = ear.hear(&TURNS[0], first_said, ear.lags.clone());
        // From here on the first turn's lag is half of what is allowed, and the others' may differ from it.
        ear.start_ms -= found.lag.as_secs_f64() * 1e3 - LAG_MAX.as_secs_f64() * 1e3 / 2.0;
        ear.lags = 0..RATE.samples(LAG_MAX);
        ear
    }

    /// Finds a turn in what was heard from the moment it was said on.
    pub fn hear(&self, turn: &Turn, said: &[f32], lags: Range<usize>) -> Match {
        let from = ((turn.at_ms as f64 - self.start_ms) * RATE.samples_per_ms() as f64).round() as i64;
        let to = from + (said.len() + lags.end) as i64;
        let length = self.flat.len() as i64;
        let before = (-from).clamp(0, to - from) as usize;
        let mut heard = vec![0.0; before];
        heard.extend_from_slice(&self.flat[from.clamp(0, length) as usize..to.clamp(0, length) as usize]);
        compare(said, &heard, lags)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::load::track::noise;

    /// What a perfect mixer lets be heard by one for whom `gain` says how loud each turn is.
    fn timeline(start_ms: f64, lag_ms: f64, gain: impl Fn(&Turn) -> f32) -> Timeline {
        static TEXTS: LazyLock<Texts> = LazyLock::new(|| Texts::decode(RATE).expect("the speech decodes"));
        let length = Duration::from_millis(script::END_MS as u64 + 3_000);
        let mut sound = noise(RATE, length, -70.0, &mut fastrand::Rng::with_seed(9));
        for (index, turn) in TURNS.iter().enumerate() {
            let start = ((turn.at_ms as f64 + lag_ms - start_ms) * 8.0) as usize;
            let gain = gain(turn);
            for (sample, said) in sound[start..].iter_mut().zip(TEXTS.said(index)) {
                *sample += gain * said;
            }
        }
        Timeline { start_ms, sound }
    }

    /// What all hear as it should be, but for the gain that `change` gives to a listener and a turn.
    fn heard(change: impl Fn(usize, &Turn) -> Option<f32>) -> Vec<Timeline> {
        let of = |listener: usize| {
            timeline(
                -400.0 + 11.0 * listener as f64,
                30.0 + 15.0 * listener as f64,
                |turn| change(listener, turn).unwrap_or(f32::from(u8::from(turn.heard_by(listener)))),
            )
        };
        (0..PARTIES).map(of).collect()
    }

    /// The same of a recording: the mix is number 0, the parties' tracks follow.
    fn recorded(change: impl Fn(usize, &Turn) -> Option<f32>) -> Recorded {
        let of = |number, has: &dyn Fn(&Turn) -> bool| {
            timeline(-300.0, -150.0, |turn| {
                change(number, turn).unwrap_or(f32::from(u8::from(turn.in_the_mix() && has(turn))))
            })
        };
        let tracks = (0..PARTIES).map(|party| of(1 + party, &|turn| turn.speaker == party));
        Recorded {
            mix: of(0, &|_| true),
            tracks: tracks.collect(),
        }
    }

    /// Judges those who hear; that there is no recording is left out.
    fn judged(heard: &[Timeline]) -> Verdict {
        let mut verdict = judge(heard, None).expect("the speech decodes");
        let last = verdict.checks.pop().expect("there are checks");
        assert_eq!(
            (last.sentence.as_str(), last.passed),
            ("there is a recording", false)
        );
        verdict
    }

    fn judged_recording(recorded: &Recorded) -> Verdict {
        judge(&[], Some(recorded)).expect("the speech decodes")
    }

    fn failures(verdict: &Verdict) -> Vec<&str> {
        verdict
            .checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| check.sentence.as_str())
            .collect()
    }

    #[test]
    fn a_perfect_conference_passes_every_check() {
        let recorded = recorded(|_, _| None);
        let verdict = judge(&heard(|_, _| None), Some(&recorded)).expect("the speech decodes");
        assert_eq!(failures(&verdict), Vec::<&str>::new());
        assert_eq!(verdict.matrix.len(), PARTIES + 1);
        for (listener, row) in verdict.matrix.iter().enumerate() {
            for (speaker, found) in row.iter().enumerate() {
                assert_eq!(
                    found.likeness > 0.9,
                    listener != speaker,
                    "{listener} {speaker} {found:?}"
                );
            }
        }
    }

    #[test]
    fn ones_own_voice_leaking_20_db_down_is_caught() {
        let verdict = judged(&heard(|listener, turn| {
            (listener == 3 && turn.speaker == 3).then_some(0.1)
        }));
        let failures = failures(&verdict);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(
            failures[0].starts_with("dora does not hear itself"),
            "{failures:?}"
        );
    }

    #[test]
    fn a_missing_talker_is_caught_alone_and_among_all() {
        let missing = [
            (1, 3, Scene::InTurn),
            (0, 2, Scene::Together),
            (3, 2, Scene::AfterKick),
        ];
        let verdict = judged(&heard(|listener, turn| {
            missing
                .contains(&(listener, turn.speaker, turn.scene))
                .then_some(0.0)
        }));
        let failures = failures(&verdict);
        for name in [
            "alma hears craig among four",
            "boris hears dora speaking alone",
            "dora hears craig resumed",
        ] {
            assert!(
                failures.iter().any(|failure| failure.starts_with(name)),
                "{name}: {failures:?}"
            );
        }
        assert_eq!(failures.len(), 3, "{failures:?}");
    }

    #[test]
    fn a_muted_held_or_kicked_voice_that_is_heard_faintly_is_caught_and_a_held_party_that_hears() {
        let leaks = [
            (3, Scene::Muted, 0.1),
            (0, Scene::Held, 0.1),
            (1, Scene::Kicked, 0.1),
            (2, Scene::WhileHeld, 1.0),
        ];
        let verdict = judged(&heard(|listener, turn| {
            leaks
                .iter()
                .find(|leak| (leak.0, leak.1) == (listener, turn.scene))
                .map(|leak| leak.2)
        }));
        let failures = failures(&verdict);
        assert_eq!(failures.len(), leaks.len(), "{failures:?}");
        for name in ["dora", "alma", "boris", "craig"] {
            assert!(
                failures
                    .iter()
                    .any(|failure| failure.starts_with(&format!("{name} does not hear"))),
                "{failures:?}"
            );
        }
    }

    #[test]
    fn a_recording_with_the_muted_or_without_a_talker_or_none_at_all_is_caught() {
        let with = judged_recording(&recorded(|number, turn| {
            (number == 0 && turn.scene == Scene::Muted).then_some(1.0)
        }));
        // And the tracks are not what is in the mix.
        assert_eq!(failures(&with).len(), 2, "{:?}", failures(&with));
        let without = judged_recording(&recorded(|number, turn| {
            (number == 0 && turn.speaker == 4 && turn.in_the_mix()).then_some(0.0)
        }));
        assert_eq!(failures(&without).len(), 3, "{:?}", failures(&without));
        let verdict = judge(&[], None).expect("the speech decodes");
        assert_eq!(failures(&verdict), ["there is a recording"]);
    }

    #[test]
    fn a_track_without_its_voice_or_with_anothers_or_the_muted_is_caught() {
        let track = |party: usize| 1 + party;
        let wrong = [
            (track(3), 3, Scene::InTurn, 0.0),
            (track(0), 1, Scene::InTurn, 0.1),
            (track(1), 1, Scene::Muted, 1.0),
            (track(6), 4, Scene::Kicked, 1.0),
        ];
        let verdict = judged_recording(&recorded(|number, turn| {
            wrong
                .iter()
                .find(|wrong| (wrong.0, wrong.1, wrong.2) == (number, turn.speaker, turn.scene))
                .map(|wrong| wrong.3)
        }));
        let failures = failures(&verdict);
        for name in [
            "the tracks together are",
            "the track of dora has dora speaking alone",
            "the track of alma does not have boris speaking alone",
            "the track of boris does not have boris speaking while muted",
            "the track of gus does not have edgar speaking after the kick",
        ] {
            assert!(
                failures.iter().any(|failure| failure.contains(name)),
                "{name}: {failures:?}"
            );
        }
        assert_eq!(failures.len(), 5, "{failures:?}");
    }

    #[test]
    fn hearing_nothing_at_all_is_caught() {
        let silent = Timeline {
            start_ms: 0.0,
            sound: Vec::new(),
        };
        let recorded = Recorded {
            mix: silent.clone(),
            tracks: vec![silent.clone(); PARTIES],
        };
        let verdict = judge(std::slice::from_ref(&silent), Some(&recorded)).expect("the speech decodes");
        assert!(failures(&verdict).len() > 15);
        let tracks = |failure: &&&str| failure.starts_with("the track");
        assert!(failures(&verdict).iter().filter(tracks).count() > PARTIES);
    }
}
