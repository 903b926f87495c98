//! Shortens sound by a pitch period: two periods become one, each fading over the other.
//!
//! Lowers the delay without a click and, where the sound is voiced or quiet, without being noticed.

use super::pitch;
use crate::frame::Rate;

/// What must lie ahead: two of the longest periods.
pub(super) const NEEDED_MS: usize = 30;

const WINDOW_MS: usize = 10;

/// −50 dBFS: whatever is removed from so quiet a sound, or repeated of it, is not noticed.
const QUIET_MEAN_SQUARE: f32 = 1.0e-5;

/// Takes out 2.5 to 15 ms, at most `removable` samples: afterwards `sound[removed..]` is what to play. None when no
/// lag reaches the `likeness` (a correlation) and the sound is not quiet, or when `sound` or `removable` is too short.
pub(super) fn shorten(sound: &mut [f32], rate: Rate, removable: usize, likeness: f32) -> Option<usize> {
    let limit = removable.min(pitch::lag_max(rate)).min(sound.len() / 2);
    if limit < pitch::lag_min(rate) {
        return None;
    }
    let removed = if is_quiet(&sound[..2 * limit]) {
        limit
    } else {
        let window = (sound.len() - limit).min(WINDOW_MS * rate.samples_per_ms());
        let lag = pitch::lag_of_start(sound, rate, window, limit);
        if lag.correlation < likeness {
            return None;
        }
        lag.samples
    };
    for n in 0..removed {
        let weight = (n + 1) as f32 / (removed + 1) as f32;
        let (fading, rising) = (sound[n], sound[removed + n]);
        sound[removed + n] = fading + weight * (rising - fading);
    }
    Some(removed)
}

pub(super) fn is_quiet(sound: &[f32]) -> bool {
    let energy: f32 = sound.iter().map(|sample| sample * sample).sum();
    energy < QUIET_MEAN_SQUARE * sound.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_loses_whole_periods_and_keeps_its_shape() {
        for rate in Rate::ALL {
            let ms = rate.samples_per_ms();
            let period = 8 * ms;
            let mut sound: Vec<f32> = (0..40 * ms)
                .map(|n| 0.3 * (std::f32::consts::TAU * (n % period) as f32 / period as f32).sin())
                .collect();
            let said = sound.clone();
            let removed = shorten(&mut sound, rate, 15 * ms, 0.9);
            assert_eq!(removed, Some(period));
            let difference = sound[period..]
                .iter()
                .zip(&said)
                .map(|(heard, said)| (heard - said).abs());
            assert!(difference.fold(0.0, f32::max) < 1.0e-3, "{rate:?}");
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_quiet_or_time_presses() {
        let mut noise = fastrand::Rng::with_seed(5);
        let mut sound: Vec<f32> = (0..480).map(|_| noise.f32() - 0.5).collect();
        assert_eq!(shorten(&mut sound.clone(), Rate::Hz8000, 120, 0.9), None);
        assert!(shorten(&mut sound.clone(), Rate::Hz8000, 120, -1.0).is_some());
        sound.iter_mut().for_each(|sample| *sample *= 1.0e-3);
        assert_eq!(shorten(&mut sound, Rate::Hz8000, 120, 0.9), Some(120));
    }

    #[test]
    fn no_more_is_removed_than_may_be() {
        let mut sound: Vec<f32> = (0..480).map(|n| (n as f32 * 0.05).sin()).collect();
        for removable in 0..200 {
            let removed = shorten(&mut sound.clone(), Rate::Hz8000, removable, -1.0);
            assert!(removed.is_none_or(|removed| removed <= removable && removed >= 20));
            assert_eq!(removed.is_some(), removable >= 20);
        }
        assert_eq!(shorten(&mut sound[..30], Rate::Hz8000, 120, -1.0), None);
    }
}
