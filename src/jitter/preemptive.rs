//! Lengthens sound by a pitch period: one period becomes two, each fading over the other.
//!
//! Raises the delay before a packet is late, so that nothing has to be made up when it is. The counterpart of
//! shortening: pitch and timbre stay, and where the sound is voiced or quiet it goes unnoticed.
//!
//! ```text
//! played   │ to play                    played   │ inserted       │ to play
//! ── period ─┤├─ period ── …      ▶     ── period ─┤├─ period⤫period ─┤├─ period ── …
//! ```

use super::accelerate::is_quiet;
use super::pitch;
use crate::frame::Rate;

/// What is compared: so much of what is to be played must be there.
const WINDOW_MS: usize = 10;

/// Writes 2.5 to 15 ms, at most `insertable` samples, to the start of `inserted`, and returns how many: they are to be
/// played between the first `played` samples of `sound` and the rest. None when no lag reaches the `likeness` (a
/// correlation) and the sound is not quiet, or when `sound` or `insertable` is too short.
pub(super) fn lengthen(
    sound: &[f32],
    played: usize,
    rate: Rate,
    insertable: usize,
    likeness: f32,
    inserted: &mut [f32],
) -> Option<usize> {
    let window = WINDOW_MS * rate.samples_per_ms();
    let (before, after) = sound.split_at_checked(played)?;
    let limit = insertable
        .min(pitch::lag_max(rate))
        .min(before.len())
        .min(after.len())
        .min(inserted.len());
    if limit < pitch::lag_min(rate) || after.len() < window {
        return None;
    }
    let length = if is_quiet(&before[played - limit..]) && is_quiet(&after[..limit]) {
        limit
    } else {
        let lag = pitch::lag_of_end(&sound[played - limit..played + window], rate, window);
        if lag.correlation < likeness {
            return None;
        }
        lag.samples
    };
    for (n, sample) in inserted[..length].iter_mut().enumerate() {
        // From what would have come next back to what came a period before.
        let weight = (n + 1) as f32 / (length + 1) as f32;
        let (fading, rising) = (after[n], before[played - length + n]);
        *sample = fading + weight * (rising - fading);
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengthened(
        sound: &[f32],
        played: usize,
        rate: Rate,
        insertable: usize,
        likeness: f32,
    ) -> Option<Vec<f32>> {
        let mut inserted = vec![f32::NAN; 15 * rate.samples_per_ms()];
        let length = lengthen(sound, played, rate, insertable, likeness, &mut inserted)?;
        Some([&sound[..played], &inserted[..length], &sound[played..]].concat())
    }

    #[test]
    fn a_voice_gains_whole_periods_and_keeps_its_shape() {
        for rate in Rate::ALL {
            let ms = rate.samples_per_ms();
            let period = 8 * ms;
            let voice = |n: usize| 0.3 * (std::f32::consts::TAU * (n % period) as f32 / period as f32).sin();
            let said: Vec<f32> = (0..60 * ms).map(voice).collect();
            let heard = lengthened(&said, 40 * ms, rate, 15 * ms, 0.9).unwrap();
            assert_eq!(heard.len(), said.len() + period);
            let worst = heard
                .iter()
                .enumerate()
                .map(|(n, heard)| (heard - voice(n)).abs())
                .fold(0.0, f32::max);
            assert!(worst < 1.0e-3, "{rate:?}: {worst}");
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_quiet_or_time_presses() {
        let mut noise = fastrand::Rng::with_seed(5);
        let mut sound: Vec<f32> = (0..480).map(|_| noise.f32() - 0.5).collect();
        assert_eq!(lengthened(&sound, 320, Rate::Hz8000, 120, 0.9), None);
        assert!(lengthened(&sound, 320, Rate::Hz8000, 120, -1.0).is_some());
        sound.iter_mut().for_each(|sample| *sample *= 1.0e-3);
        let heard = lengthened(&sound, 320, Rate::Hz8000, 120, 0.9);
        assert_eq!(heard.map(|heard| heard.len()), Some(600));
    }

    #[test]
    fn no_more_is_inserted_than_may_be_nor_without_enough_sound() {
        let sound: Vec<f32> = (0..480).map(|n| (n as f32 * 0.05).sin()).collect();
        for insertable in 0..200 {
            let heard = lengthened(&sound, 320, Rate::Hz8000, insertable, -1.0);
            assert!(
                heard
                    .as_ref()
                    .is_none_or(|heard| heard.len() - 480 <= insertable.min(120))
            );
            assert_eq!(heard.is_some(), insertable >= 20);
        }
        for played in [0, 10, 401, 480, 481] {
            assert_eq!(lengthened(&sound, played, Rate::Hz8000, 120, -1.0), None);
        }
    }
}
