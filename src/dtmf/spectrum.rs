//! How much of the sound is each of the eight tones: correlations over 10 ms under a Hann window, every 5 ms, at
//! 8 kHz. Faster sound is brought down to that by a short low-pass.

use std::f64::consts::PI;

use super::{COLUMNS, ROWS};
use crate::frame::{FRAME_SAMPLES_MAX, Rate};
use crate::time::TICK;

/// One spectrum is taken in each of these.
pub(super) const HOP_MS: usize = 5;
pub(super) const HOPS_PER_TICK: usize = TICK.as_millis() as usize / HOP_MS;

/// Samples at 8 kHz of one hop, and of the window, which is the last two.
const HOP: usize = HOP_MS * Rate::Hz8000.samples_per_ms();
const WINDOW: usize = 2 * HOP;
const LOW_TICK: usize = Rate::Hz8000.samples_per_tick();

/// Four rows, then four columns.
const TONES: usize = 8;

/// What was found in one window. Powers are mean squares of samples of full scale ±1.0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spectrum {
    re: [f32; TONES],
    im: [f32; TONES],
    /// Of all the sound in the window.
    pub power: f32,
}

impl Spectrum {
    pub const SILENCE: Spectrum = Spectrum {
        re: [0.0; TONES],
        im: [0.0; TONES],
        power: 0.0,
    };

    /// The strongest row and its power.
    pub fn row(&self) -> (usize, f32) {
        self.strongest(0)
    }

    /// The strongest column and its power.
    pub fn column(&self) -> (usize, f32) {
        self.strongest(ROWS.len())
    }

    fn strongest(&self, from: usize) -> (usize, f32) {
        let mut best = (0, -1.0);
        for index in 0..ROWS.len() {
            let power = self.re[from + index].powi(2) + self.im[from + index].powi(2);
            if power > best.1 {
                best = (index, power);
            }
        }
        // A sine of amplitude 1 has half that power, and correlates to half the sum of the window.
        let window_sum = (WINDOW / 2) as f32;
        (best.0, 2.0 * best.1 / (window_sum * window_sum))
    }

    /// By how many hertz the tone of that row lies off its nominal frequency, from how its phase went on since
    /// the window before. Beyond ±100 Hz it is ambiguous.
    pub fn row_offset(&self, before: &Spectrum, row: usize) -> f32 {
        self.offset(before, row)
    }

    pub fn column_offset(&self, before: &Spectrum, column: usize) -> f32 {
        self.offset(before, ROWS.len() + column)
    }

    fn offset(&self, before: &Spectrum, tone: usize) -> f32 {
        let (re, im) = (self.re[tone], self.im[tone]);
        let (re_before, im_before) = (before.re[tone], before.im[tone]);
        let (turned_re, turned_im) = (re * re_before + im * im_before, im * re_before - re * im_before);
        let (cos, sin) = TURN_OF_A_HOP[tone];
        let angle = (turned_im * cos - turned_re * sin).atan2(turned_re * cos + turned_im * sin);
        angle / std::f32::consts::TAU * 1_000.0 / HOP_MS as f32
    }
}

/// Sound in, a spectrum for each hop out. Its low-pass delays by 0.4 ms.
#[derive(Debug)]
pub(super) struct Analyser {
    /// What of the sound before this tick the low-pass still reaches, then the tick.
    input: [f32; HISTORY_MAX + FRAME_SAMPLES_MAX],
    rate: Rate,
    /// The last hop before this tick, then the tick.
    low: [f32; HOP + LOW_TICK],
}

impl Analyser {
    pub fn new() -> Analyser {
        Analyser {
            input: [0.0; HISTORY_MAX + FRAME_SAMPLES_MAX],
            rate: Rate::Hz8000,
            low: [0.0; HOP + LOW_TICK],
        }
    }

    /// The spectra of the four windows that end in this tick. Where the sound is weaker than `floor` (a mean square)
    /// only its power is found.
    pub fn process(&mut self, frame: &[f32], rate: Rate, floor: f32) -> [Spectrum; HOPS_PER_TICK] {
        self.low.copy_within(LOW_TICK.., 0);
        self.bring_down(frame, rate);
        let mut spectra = [Spectrum::SILENCE; HOPS_PER_TICK];
        for (spectrum, window) in spectra.iter_mut().zip(self.low.windows(WINDOW).step_by(HOP)) {
            spectrum.power = power(window);
            if spectrum.power >= floor {
                correlate(window, spectrum);
            }
        }
        spectra
    }

    fn bring_down(&mut self, frame: &[f32], rate: Rate) {
        if self.rate != rate {
            self.rate = rate;
            self.input.fill(0.0);
        }
        let low = &mut self.low[HOP..];
        match rate {
            Rate::Hz8000 => low.copy_from_slice(frame),
            Rate::Hz16000 => {
                decimate::<2, { 2 * TAPS_A_SAMPLE }>(&mut self.input, frame, &LOW_PASS_OF_2, low)
            }
            Rate::Hz48000 => {
                decimate::<6, { 6 * TAPS_A_SAMPLE }>(&mut self.input, frame, &LOW_PASS_OF_6, low)
            }
        }
    }
}

/// Length of the low-passes, in samples at 8 kHz: 0.75 ms.
const TAPS_A_SAMPLE: usize = 6;
const HISTORY_MAX: usize = 5 * RATIO_MAX;
const RATIO_MAX: usize = 6;

/// What lies above 6.2 kHz, and would be taken for a tone, is lowered by 45 dB and more; the tones by less than 0.2.
static LOW_PASS_OF_2: [f32; 12] = low_pass(2);
static LOW_PASS_OF_6: [f32; 36] = low_pass(6);

fn decimate<const RATIO: usize, const TAPS: usize>(
    input: &mut [f32; HISTORY_MAX + FRAME_SAMPLES_MAX],
    frame: &[f32],
    taps: &[f32; TAPS],
    low: &mut [f32],
) {
    const LANES: usize = 4;
    let history = TAPS - RATIO;
    let input = &mut input[..history + frame.len()];
    input[history..].copy_from_slice(frame);
    for (sample, reach) in low.iter_mut().zip(input.windows(TAPS).step_by(RATIO)) {
        let mut sums = [0.0; LANES];
        for (reach, taps) in reach.chunks_exact(LANES).zip(taps.chunks_exact(LANES)) {
            for lane in 0..LANES {
                sums[lane] += reach[lane] * taps[lane];
            }
        }
        *sample = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
    input.copy_within(frame.len().., 0);
}

/// Mean square of the sound under the window.
fn power(window: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    for (sound, weights) in window.chunks_exact(LANES).zip(HANN.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let weighed = sound[lane] * weights[lane];
            sums[lane] += weighed * weighed;
        }
    }
    // The mean square of a Hann window is 3/8.
    sums.iter().sum::<f32>() / (WINDOW as f32 * 3.0 / 8.0)
}

fn correlate(window: &[f32], spectrum: &mut Spectrum) {
    let (mut re, mut im) = ([0.0; TONES], [0.0; TONES]);
    for (sample, wave) in window.iter().zip(&WAVES) {
        for tone in 0..TONES {
            re[tone] += sample * wave[tone];
            im[tone] += sample * wave[TONES + tone];
        }
    }
    (spectrum.re, spectrum.im) = (re, im);
}

static HANN: [f32; WINDOW] = {
    let mut hann = [0.0; WINDOW];
    let mut n = 0;
    while n < WINDOW {
        hann[n] = hann_at(n) as f32;
        n += 1;
    }
    hann
};

/// Cosines and negative sines of the eight tones, under the window.
static WAVES: [[f32; 2 * TONES]; WINDOW] = {
    let mut waves = [[0.0; 2 * TONES]; WINDOW];
    let mut n = 0;
    while n < WINDOW {
        let mut tone = 0;
        while tone < TONES {
            let (cos, sin) = turn(nominal(tone) * n as f64 / 8_000.0);
            waves[n][tone] = (cos * hann_at(n)) as f32;
            waves[n][TONES + tone] = (-sin * hann_at(n)) as f32;
            tone += 1;
        }
        n += 1;
    }
    waves
};

/// Cosine and sine of how far each tone turns in a hop.
static TURN_OF_A_HOP: [(f32, f32); TONES] = {
    let mut turns = [(0.0, 0.0); TONES];
    let mut tone = 0;
    while tone < TONES {
        let (cos, sin) = turn(nominal(tone) * HOP_MS as f64 / 1_000.0);
        turns[tone] = (cos as f32, sin as f32);
        tone += 1;
    }
    turns
};

const fn nominal(tone: usize) -> f64 {
    if tone < ROWS.len() {
        ROWS[tone] as f64
    } else {
        COLUMNS[tone - ROWS.len()] as f64
    }
}

const fn hann_at(n: usize) -> f64 {
    let (cos, _) = turn(n as f64 / WINDOW as f64);
    0.5 - 0.5 * cos
}

/// A Hamming-windowed low-pass at 4 kHz, of `6 × ratio` taps for sound at `ratio × 8` kHz.
const fn low_pass<const TAPS: usize>(ratio: usize) -> [f32; TAPS] {
    assert!(TAPS == TAPS_A_SAMPLE * ratio);
    let mut exact = [0.0; TAPS];
    let mut sum = 0.0;
    let mut n = 0;
    while n < TAPS {
        let t = (n as f64 - (TAPS as f64 - 1.0) / 2.0) / ratio as f64;
        let (_, sine) = turn(t / 2.0);
        let (hamming, _) = turn((n as f64 + 0.5) / TAPS as f64);
        exact[n] = sine / (PI * t) * (0.54 - 0.46 * hamming);
        sum += exact[n];
        n += 1;
    }
    let mut taps = [0.0; TAPS];
    let mut n = 0;
    while n < TAPS {
        taps[n] = (exact[n] / sum) as f32;
        n += 1;
    }
    taps
}

/// Cosine and sine of an angle in turns, by their power series.
const fn turn(turns: f64) -> (f64, f64) {
    let whole = turns as i64;
    let angle = (turns - whole as f64) * 2.0 * PI;
    let (mut cos, mut sin) = (0.0, 0.0);
    let mut term = 1.0;
    let mut k = 0;
    while k < 40 {
        match k % 4 {
            0 => cos += term,
            1 => sin += term,
            2 => cos -= term,
            _ => sin -= term,
        }
        k += 1;
        term *= angle / k as f64;
    }
    (cos, sin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    fn sine(hz: f32, amplitude: f32, rate: Rate) -> Vec<f32> {
        let step = f64::from(hz) / f64::from(rate.hz());
        (0..2 * rate.samples_per_tick())
            .map(|n| amplitude * (TAU * (step * n as f64).fract() as f32).sin())
            .collect()
    }

    fn spectra(sound: &[f32], rate: Rate) -> [Spectrum; HOPS_PER_TICK] {
        let mut analyser = Analyser::new();
        let (before, after) = sound.split_at(rate.samples_per_tick());
        analyser.process(before, rate, 0.0);
        analyser.process(after, rate, 0.0)
    }

    #[test]
    fn a_tone_has_its_power_and_its_frequency_at_each_rate() {
        for rate in Rate::ALL {
            for (tone, nominal) in ROWS.iter().chain(&COLUMNS).enumerate() {
                for off in [-0.02, 0.0, 0.02] {
                    let hz = nominal * (1.0 + off);
                    let [.., before, last] = spectra(&sine(hz, 0.5, rate), rate);
                    let ((index, power), offset) = if tone < 4 {
                        (last.row(), last.row_offset(&before, tone))
                    } else {
                        (last.column(), last.column_offset(&before, tone - 4))
                    };
                    assert_eq!(index, tone % 4, "{hz} Hz at {rate:?}");
                    let db = 10.0 * (power / 0.125).log10();
                    assert!((-0.8..0.1).contains(&db), "{hz} Hz at {rate:?}: {db} dB");
                    let wrong = offset - nominal * off;
                    assert!(wrong.abs() < 0.5, "{hz} Hz at {rate:?}: wrong by {wrong} Hz");
                    assert!((10.0 * (last.power / 0.125).log10()).abs() < 0.3);
                }
            }
        }
    }

    #[test]
    fn what_would_fold_onto_a_tone_is_taken_away_first() {
        for rate in [Rate::Hz16000, Rate::Hz48000] {
            for nominal in ROWS.iter().chain(&COLUMNS) {
                let mut folded = vec![8_000.0 - nominal];
                if rate == Rate::Hz48000 {
                    folded.extend([8_000.0 + nominal, 16_000.0 - nominal, 24_000.0 - nominal]);
                }
                for hz in folded {
                    let [.., last] = spectra(&sine(hz, 0.5, rate), rate);
                    let db = 10.0 * (last.power / 0.125).log10();
                    assert!(db < -40.0, "{hz} Hz at {rate:?}: {db} dB");
                }
            }
        }
    }
}
