//! Who can be heard in what: the likeness of what was said and what was heard, whatever the delay, the codec and
//! the other voices.
//!
//! Both sounds are mono at 8 kHz. A likeness is a normalised cross-correlation of the two after the spectrum of
//! speech was flattened, so that it tells voices apart and not vowels: 1 is the same sound, about 1/√n a voice
//! among n as loud, under 0.2 somebody else. A level is how loud the one is in the other, by the same correlation.

use std::ops::Range;
use std::time::Duration;

use crate::frame::Rate;
use crate::load::correlation::{energies, energy, product};

/// All comparing is done at this rate, which every codec carries.
pub const RATE: Rate = Rate::Hz8000;

/// Within this of the best lag of the whole each block may have its own: a jitter buffer that adapts moves it.
const DRIFT: Duration = Duration::from_millis(45);

const BLOCK: Duration = Duration::from_millis(300);

/// How one sound is found in another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// −1 to 1; the mean over blocks, weighted by what was said in them.
    pub likeness: f32,
    /// How much louder it was heard than said, in dB; at most what the correlation allows.
    pub level_db: f32,
    /// How much later.
    pub lag: Duration,
}

impl Match {
    const NONE: Match = Match {
        likeness: 0.0,
        level_db: LEVEL_DB_MIN,
        lag: Duration::ZERO,
    };
}

/// What is less is nothing.
const LEVEL_DB_MIN: f32 = -99.0;

/// Flattens the spectrum of speech: what `compare` takes.
pub fn flattened(sound: &[f32]) -> Vec<f32> {
    // Long-term speech falls by about 6 dB an octave, and a first difference rises by as much.
    let mut flat = Vec::with_capacity(sound.len());
    let mut last = 0.0;
    for &sample in sound {
        flat.push(sample - 0.95 * last);
        last = sample;
    }
    flat
}

/// Finds `said` in `heard` at one of `lags` (in samples): `heard[lag..]` against `said`. Both flattened. What
/// `heard` is too short for is taken for silence.
pub fn compare(said: &[f32], heard: &[f32], lags: Range<usize>) -> Match {
    let mut heard = heard.to_vec();
    heard.resize(heard.len().max(lags.end + said.len()), 0.0);
    let Some(Found { lag, .. }) = best(said, &heard, lags.clone()) else {
        return Match::NONE;
    };
    let block = RATE.samples(BLOCK);
    let drift = RATE.samples(DRIFT);
    let (mut alike, mut product_sum, mut weight) = (0.0, 0.0, 0.0);
    for start in (0..said.len()).step_by(block) {
        let said = &said[start..(start + block).min(said.len())];
        let near = lag.saturating_sub(drift).max(lags.start)..(lag + drift + 1).min(lags.end);
        let said_energy = energy(said);
        if let Some(found) = best(said, &heard[start..], near) {
            alike += found.likeness * said_energy;
            product_sum += found.product;
            weight += said_energy;
        }
    }
    if weight <= 0.0 {
        return Match::NONE;
    }
    let gain = (product_sum / weight).max(0.0);
    Match {
        likeness: alike / weight,
        level_db: (20.0 * gain.log10()).max(LEVEL_DB_MIN),
        lag: RATE.duration(lag),
    }
}

/// The highest normalised correlation.
struct Found {
    lag: usize,
    product: f32,
    likeness: f32,
}

/// The weights by which a correlation half way between two lags follows from eight to each side: both sounds are limited
/// in band, so it is a sine over its argument, here within a Hann window. A codec's delay is no whole number of samples,
/// and of flattened speech half a sample costs a quarter of the likeness.
const HALF_WAY: [f32; 8] = [0.6305, -0.1943, 0.099, -0.0543, 0.0285, -0.0129, 0.0041, -0.0004];

fn best(said: &[f32], heard: &[f32], lags: Range<usize>) -> Option<Found> {
    let said_energy = energy(said);
    let reach = (lags.end + said.len()).saturating_sub(1).min(heard.len());
    let within = heard.get(lags.start..reach)?;
    let products: Vec<f32> = within
        .windows(said.len().max(1))
        .map(|window| product(said, window))
        .collect();
    let half_way = |lag: usize| -> f32 {
        let at = |lag: Option<usize>| lag.and_then(|lag| products.get(lag)).copied().unwrap_or(0.0);
        let weighted = HALF_WAY.iter().enumerate();
        weighted
            .map(|(n, weight)| weight * (at(lag.checked_sub(n)) + at(Some(lag + 1 + n))))
            .sum()
    };
    let heard_energies: Vec<f32> = energies(within, said.len()).collect();
    let likeness = |product: f32, heard_energy: f32| {
        product / (said_energy * heard_energy).sqrt().max(f32::MIN_POSITIVE.sqrt())
    };
    products
        .iter()
        .enumerate()
        .map(|(lag, &product)| {
            let between = half_way(lag);
            // At the edge of silence its neighbours have more than the place itself.
            let reach =
                lag.saturating_sub(HALF_WAY.len() - 1)..(lag + HALF_WAY.len() + 1).min(products.len());
            let energy = heard_energies[reach].iter().copied().fold(0.0, f32::max);
            let (at, between_at) = (likeness(product, heard_energies[lag]), likeness(between, energy));
            let (product, likeness) = if at >= between_at {
                (product, at)
            } else {
                (between, between_at)
            };
            Found {
                lag: lags.start + lag,
                product,
                likeness,
            }
        })
        .max_by(|one, other| one.likeness.total_cmp(&other.likeness))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sound::at_check_rate;
    use crate::load::speech::VOICES;

    fn voice(n: usize) -> Vec<f32> {
        VOICES[n].decode(RATE).expect("the speech decodes")
    }

    const LAGS: Range<usize> = 0..3_200;

    /// The voices, from their first half second on, `delay` later and each `gain` loud.
    fn mixed(length: usize, delay: usize, gains: [f32; 5]) -> Vec<f32> {
        let mut mix = vec![0.0; length + LAGS.end];
        for (n, gain) in gains.into_iter().enumerate() {
            for (mixed, sample) in mix[delay..].iter_mut().zip(&voice(n)[4_000..4_000 + length]) {
                *mixed += gain * sample;
            }
        }
        flattened(&mix)
    }

    fn said(n: usize, length: usize) -> Vec<f32> {
        flattened(&voice(n)[4_000..4_000 + length])
    }

    #[test]
    fn a_voice_alone_is_found_with_its_lag_and_level() {
        let heard = mixed(10_000, 700, [0.0, 0.5, 0.0, 0.0, 0.0]);
        let found = compare(&said(1, 10_000), &heard, LAGS);
        assert!(found.likeness > 0.99, "{found:?}");
        assert!((found.level_db + 6.0).abs() < 0.2, "{found:?}");
        assert_eq!(found.lag, RATE.duration(700));
    }

    #[test]
    fn four_voices_at_once_are_each_found_and_the_fifth_is_not() {
        for missing in 0..5 {
            let mut gains = [1.0; 5];
            gains[missing] = 0.0;
            let heard = mixed(13_600, 700, gains);
            for n in 0..5 {
                let found = compare(&said(n, 13_600), &heard, 400..1_000);
                assert_eq!(
                    found.likeness > 0.2,
                    n != missing,
                    "{n} without {missing}: {found:?}"
                );
                assert!(
                    found.likeness > 0.28 || found.likeness < 0.12,
                    "{n} without {missing}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_lag_that_changes_on_the_way_is_followed() {
        let said = said(0, 10_400);
        let mut heard = vec![0.0; 600];
        heard.extend_from_slice(&voice(0)[4_000..4_000 + 5_000]);
        // The jitter buffer grows by a packet: 20 ms more of the same.
        heard.extend_from_slice(&voice(0)[4_000 + 4_840..4_000 + 10_400]);
        heard.resize(20_000, 0.0);
        let found = compare(&said, &flattened(&heard), LAGS);
        assert!(found.likeness > 0.85, "{found:?}");
    }

    #[test]
    fn half_a_sample_of_delay_costs_no_likeness() {
        let fine = VOICES[3].decode(Rate::Hz16000).expect("the speech decodes");
        let early = at_check_rate(&fine[8_000..36_000], Rate::Hz16000);
        let late = at_check_rate(&fine[7_999..35_999], Rate::Hz16000);
        let heard = flattened(&[vec![0.0; 700], late].concat());
        let found = compare(&flattened(&early), &heard, LAGS);
        assert!(found.likeness > 0.93, "{found:?}");
        assert!(found.level_db.abs() < 0.7, "{found:?}");
    }

    #[test]
    fn silence_is_like_nothing() {
        let found = compare(&said(0, 8_000), &[0.0; 20_000], LAGS);
        assert_eq!((found.likeness, found.level_db), (0.0, LEVEL_DB_MIN));
        let mut edge = vec![0.0; 20_000];
        edge[3_000..].copy_from_slice(&flattened(&voice(1)[..17_000]));
        let found = compare(&said(0, 8_000), &edge, LAGS);
        assert!(found.likeness < 0.2, "{found:?}");
        assert_eq!(compare(&said(0, 8_000), &[], LAGS).level_db, LEVEL_DB_MIN);
        assert_eq!(compare(&[], &said(0, 8_000), LAGS), Match::NONE);
    }
}
