//! The verdict on the tracks: each has what its own party said into the mix and nothing of the others, and together
//! they are the mix.

use super::check::{Match, RATE};
use super::judge::{
    Check, Ear, LEVEL_DB_MAX_UNHEARD, LEVEL_DB_MIN_HEARD, LIKENESS_MIN_ALONE, Recorded, Timeline, near, when,
};
use super::script::{self, PARTIES, Scene, TURNS};
use crate::load::correlation::{energy, product};

/// The mix is the sum but for rounding, for what the limiter takes off, and for one resampling of each.
const LIKENESS_MIN_OF_SUM: f32 = 0.98;

/// Judges the tracks. `ear` listens to the mix, whose samples are at the same times as theirs, and has found the
/// parties there as `in_mix` tells.
pub fn judge(recorded: &Recorded, ear: &Ear, in_mix: &[Match; PARTIES], said: &[Vec<f32>]) -> Vec<Check> {
    let mut checks = vec![sum(recorded)];
    for (party, track) in recorded.tracks.iter().enumerate() {
        let timeline = Timeline {
            start_ms: ear.start_ms,
            sound: track.sound.clone(),
        };
        let ear = Ear::new(&timeline, ear.lags.clone());
        let speaks_among_others = TURNS
            .iter()
            .any(|turn| turn.scene == Scene::Together && turn.speaker == party);
        for (turn, said) in TURNS.iter().zip(said) {
            let is_own = turn.speaker == party;
            if turn.scene == Scene::Together && speaks_among_others && !is_own {
                // Beside the party's own voice another cannot be told from chance; alone it can, and was.
                continue;
            }
            let found = ear.hear(turn, said, near(in_mix[turn.speaker].lag, &ear.lags));
            let is_wanted = is_own && turn.in_the_mix();
            checks.push(Check {
                sentence: format!(
                    "the track of {} {} {} {} (likeness {:.2}, level {:.0} dB)",
                    script::name(party),
                    if is_wanted { "has" } else { "does not have" },
                    script::name(turn.speaker),
                    when(turn.scene),
                    found.likeness,
                    found.level_db
                ),
                passed: match is_wanted {
                    true => found.likeness >= LIKENESS_MIN_ALONE && found.level_db >= LEVEL_DB_MIN_HEARD,
                    false => found.level_db <= LEVEL_DB_MAX_UNHEARD,
                },
            });
        }
    }
    checks
}

fn sum(recorded: &Recorded) -> Check {
    let mix = &recorded.mix.sound;
    let mut sum = vec![0.0; mix.len()];
    for track in &recorded.tracks {
        for (sum, sample) in sum.iter_mut().zip(&track.sound) {
            *sum += sample;
        }
    }
    let norm = (energy(mix) * energy(&sum)).sqrt().max(f32::MIN_POSITIVE);
    let likeness = product(mix, &sum) / norm;
    Check {
        sentence: format!(
            "the tracks together are the mix (likeness {likeness:.3}, {:.1} s)",
            RATE.duration(mix.len()).as_secs_f64()
        ),
        passed: likeness >= LIKENESS_MIN_OF_SUM,
    }
}
