//! Line spectral frequencies: from a predictor and back, quantised, kept apart and interpolated
//! (RFC 3951 §3.2.3 to §3.2.6, §4.1).
//!
//! The frequencies are in radians, ascending between 0 and π. As long as they ascend the filter they stand for is
//! stable; `keep_apart` sees to it, whatever the bits were.

use std::f32::consts::{PI, TAU};

use super::filter::Lpc;
use super::tables::{LSF_HIGH, LSF_LOW, LSF_MIDDLE};
use super::{Mode, ORDER, SUBFRAMES_MAX};

pub type Lsf = [f32; ORDER];

/// A quantised set: indices into the three codebooks.
pub type LsfIndex = [u8; 3];

const HALF: usize = ORDER / 2;

/// The finest step of the root search, in turns.
const STEP: f64 = 0.000_793_75;
/// Steps between the points that are looked at first.
const COARSE: usize = 8;
/// The first coarse point at or beyond half a turn.
const COARSE_LAST: usize = 79;
/// The first step beyond half a turn.
const STEPS_HALF_TURN: usize = 630;

/// The cosine at each step.
static COSINES: [f32; COARSE * COARSE_LAST + 1] = {
    let angle = std::f64::consts::TAU * STEP;
    let square = angle * angle;
    let cosine = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0));
    let mut cosines = [0.0; COARSE * COARSE_LAST + 1];
    let (mut last, mut this) = (cosine, 1.0);
    let mut n = 0;
    while n < cosines.len() {
        cosines[n] = this as f32;
        (last, this) = (this, 2.0 * cosine * this - last);
        n += 1;
    }
    cosines
};

/// The frequencies at which the two symmetric halves of the predictor vanish in turn (§3.2.3), found on a grid
/// of 6.35 Hz.
pub fn from_lpc(lpc: &Lpc) -> Lsf {
    let halves = symmetric_halves(lpc);
    let mut coarse = [[0.0; COARSE_LAST + 1]; 2];
    for (values, half) in coarse.iter_mut().zip(&halves) {
        for (value, cosine) in values.iter_mut().zip(COSINES.iter().step_by(COARSE)) {
            *value = spectrum(half, *cosine);
        }
    }
    let mut signs = [1.0f32; 2];
    let mut point = 0;
    let mut lsf = [0.0; ORDER];
    for (n, frequency) in lsf.iter_mut().enumerate() {
        let (half, values, sign) = (&halves[n % 2], &coarse[n % 2], &mut signs[n % 2]);
        let mut before = *sign * f32::MAX;
        while point < COARSE_LAST && values[point] * *sign > 0.0 {
            before = values[point];
            point += 1;
        }
        // The root is at most `COARSE` steps before `point`.
        let (mut step, mut after) = (point * COARSE, values[point]);
        for width in [4, 2, 1] {
            let Some(middle) = step.checked_sub(width) else {
                break;
            };
            let value = spectrum(half, COSINES[middle]);
            if value * *sign <= 0.0 || middle >= STEPS_HALF_TURN {
                (step, after) = (middle, value);
            } else {
                before = value;
            }
        }
        if after.abs() >= before.abs() {
            step = step.saturating_sub(1);
        }
        *frequency = TAU * STEP as f32 * step as f32;
        *sign = -*sign;
    }
    lsf
}

/// The sum and the difference of the predictor and its mirror image, without their roots at half a turn and at
/// none: the first coefficients of two symmetric polynomials, the last of them halved.
fn symmetric_halves(lpc: &Lpc) -> [[f32; HALF]; 2] {
    let mut halves = [[0.0; HALF]; 2];
    let (mut sum, mut difference) = (1.0, 1.0);
    for n in 0..HALF {
        sum = lpc[n + 1] + lpc[ORDER - n] - sum;
        difference += lpc[n + 1] - lpc[ORDER - n];
        (halves[0][n], halves[1][n]) = (sum, difference);
    }
    for half in &mut halves {
        half[HALF - 1] /= 2.0;
    }
    halves
}

/// The value of a symmetric polynomial on the unit circle, as a sum of cosines of up to five times the angle.
#[inline(always)]
fn spectrum(half: &[f32; HALF], cosine: f32) -> f32 {
    let twice = 2.0 * cosine;
    let one = twice + half[0];
    let two = twice * one - 1.0 + half[1];
    let three = twice * two - one + half[2];
    let four = twice * three - two + half[3];
    cosine * four - three + half[4]
}

/// The predictor that the frequencies stand for (§3.2.6).
pub fn to_lpc(lsf: &Lsf) -> Lpc {
    let mut lsf = *lsf;
    if lsf[0] <= 0.0 || lsf[ORDER - 1] >= PI {
        spread(&mut lsf);
    }
    // Two polynomials of order 11: one vanishes at half a turn, the other at none.
    let mut halves = [[0.0f32; ORDER + 2]; 2];
    for (which, half) in halves.iter_mut().enumerate() {
        half[0] = 1.0;
        half[1] = if which == 0 { 1.0 } else { -1.0 };
        for (n, frequency) in lsf.iter().skip(which).step_by(2).enumerate() {
            let twice = 2.0 * frequency.cos();
            for k in (0..2 * n + 4).rev() {
                let one = if k >= 1 { half[k - 1] } else { 0.0 };
                let two = if k >= 2 { half[k - 2] } else { 0.0 };
                half[k] += two - twice * one;
            }
        }
    }
    std::array::from_fn(|n| (halves[0][n] + halves[1][n]) / 2.0)
}

/// Draws frequencies that reach beyond the ends evenly in between.
fn spread(lsf: &mut Lsf) {
    if lsf[0] <= 0.0 {
        lsf[0] = TAU * 0.022;
    }
    if lsf[ORDER - 1] >= PI {
        lsf[ORDER - 1] = TAU * 0.499;
    }
    let (low, step) = (lsf[0], (lsf[ORDER - 1] - lsf[0]) / (ORDER - 1) as f32);
    for (n, frequency) in lsf.iter_mut().enumerate() {
        *frequency = low + n as f32 * step;
    }
}

/// The nearest vectors of the three codebooks (§3.2.4).
pub fn quantise(lsf: &Lsf) -> LsfIndex {
    [
        nearest(&LSF_LOW, &lsf[..3]),
        nearest(&LSF_MIDDLE, &lsf[3..6]),
        nearest(&LSF_HIGH, &lsf[6..]),
    ]
}

fn nearest<const N: usize>(codebook: &[[f32; N]], vector: &[f32]) -> u8 {
    let (mut best, mut distance_best) = (0, f32::MAX);
    for (index, entry) in codebook.iter().enumerate() {
        let distance = entry.iter().zip(vector).map(|(a, b)| (a - b) * (a - b)).sum();
        if distance < distance_best {
            (best, distance_best) = (index as u8, distance);
        }
    }
    best
}

/// The frequencies of a quantised set, apart from each other. An index has as many bits as its codebook.
pub fn dequantise(index: LsfIndex) -> Lsf {
    let mut lsf = [0.0; ORDER];
    lsf[..3].copy_from_slice(&LSF_LOW[usize::from(index[0]) % LSF_LOW.len()]);
    lsf[3..6].copy_from_slice(&LSF_MIDDLE[usize::from(index[1]) % LSF_MIDDLE.len()]);
    lsf[6..].copy_from_slice(&LSF_HIGH[usize::from(index[2]) % LSF_HIGH.len()]);
    keep_apart(&mut lsf);
    lsf
}

/// Pushes frequencies apart that are closer than 50 Hz or in the wrong order (§3.2.5).
fn keep_apart(lsf: &mut Lsf) {
    const DISTANCE: f32 = 0.039;
    const PUSH: f32 = 0.019_5;
    const LOWEST: f32 = 0.01;
    const HIGHEST: f32 = PI - 0.001_6;
    for _ in 0..2 {
        for n in 0..ORDER - 1 {
            let gap = lsf[n + 1] - lsf[n];
            if gap < 0.0 {
                (lsf[n], lsf[n + 1]) = (lsf[n], lsf[n] + PUSH);
            } else if gap < DISTANCE {
                (lsf[n], lsf[n + 1]) = (lsf[n] - PUSH, lsf[n + 1] + PUSH);
            }
            lsf[n] = lsf[n].clamp(LOWEST, HIGHEST);
        }
    }
    // Two rounds need not be enough for what no encoder sends.
    if !lsf.is_sorted_by(|a, b| a < b) || lsf[ORDER - 1] > HIGHEST {
        lsf.sort_by(f32::total_cmp);
        for n in 0..ORDER {
            let least = LOWEST + PUSH * n as f32;
            let most = HIGHEST - PUSH * (ORDER - 1 - n) as f32;
            let above = if n > 0 { lsf[n - 1] + PUSH } else { 0.0 };
            lsf[n] = lsf[n].max(above).clamp(least, most);
        }
    }
}

/// The predictor of each subframe (§3.2.6, §3.2.7), between the last set of the frame before and the sets of this
/// one: one for 20 ms, two for 30.
pub fn interpolate(mode: Mode, before: &Lsf, sets: &[Lsf; 2]) -> [Lpc; SUBFRAMES_MAX] {
    let mut filters = [super::filter::FLAT; SUBFRAMES_MAX];
    for (n, filter) in filters[..mode.subframes()].iter_mut().enumerate() {
        let (from, to, share) = match (mode, n) {
            (Mode::Ms20, _) => (before, &sets[0], [0.75, 0.5, 0.25, 0.0][n]),
            (Mode::Ms30, 0) => (before, &sets[0], 0.5),
            (Mode::Ms30, _) => (&sets[0], &sets[1], [1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0][n - 1]),
        };
        *filter = to_lpc(&std::array::from_fn(|k| share * from[k] + (1.0 - share) * to[k]));
    }
    filters
}
