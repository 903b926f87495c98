//! From one of the mixer's rates to another: ratios of 2, 3 and 6, up and down, one tick at a time.
//!
//! One interpolation filter serves every ratio: a Kaiser-windowed sinc of ±24 samples of the lower rate, cut off at
//! half that rate. Sampled at a fraction of that period it gives 48 taps; at no fraction it is 1 and otherwise 0, so
//! one phase in each ratio is a plain copy. The work is done over time (many outputs of one phase), not over taps.
//!
//! Delay: 23 samples of the lower rate down, 24 less one sample of the higher rate up (at 8 kHz 2.9 and 3.0 ms).
//! Flat within 0.01 dB to 0.43 of the lower rate; images and aliases of that band are 90 dB down.

use crate::frame::{FRAME_SAMPLES_MAX, Rate};

/// Taps of each phase that is not a copy.
const TAPS: usize = 48;

/// Samples of the lower rate on either side of the centre of the filter.
const REACH: usize = TAPS / 2;

/// The largest ratio between two rates; the others divide it.
const RATIO_MAX: usize = 6;

/// What a phase has to know of the ticks before: lower-rate samples going up, groups of `ratio` samples going down.
const HISTORY: usize = TAPS - 1;

/// Samples of one tick at the lower rate, at most (16 kHz, when the other is 48).
const LOW_SAMPLES_MAX: usize = Rate::Hz16000.samples_per_tick();

/// Sets the window: about 95 dB of rejection (Kaiser's formula, β = 0.1102 (A − 8.7)), from 0.43 of the lower rate on.
const KAISER_BETA: f64 = 9.5;

/// `FRACTION_TAPS[f - 1][i]` is the filter at `REACH - 1 - i + f / 6` samples of the lower rate from its centre.
static FRACTION_TAPS: [[f32; TAPS]; RATIO_MAX - 1] = design();

/// Changes the rate of one voice. Plain data: a clone goes on as the original would have.
///
/// Each tick of the voice must pass either [`process`](Self::process) or [`remember`](Self::remember), so that
/// there is no seam when the next is processed.
#[derive(Debug, Clone)]
pub struct Resampler {
    from: Rate,
    to: Rate,
    /// The last input samples, oldest first: `HISTORY` going up, `HISTORY * ratio` going down, none at equal rates.
    history: [f32; HISTORY * RATIO_MAX],
}

impl Resampler {
    pub fn new(from: Rate, to: Rate) -> Resampler {
        Resampler {
            from,
            to,
            history: [0.0; HISTORY * RATIO_MAX],
        }
    }

    /// As if the input had always been this sample: what begins there goes on without a step.
    pub fn resting_at(from: Rate, to: Rate, sample: f32) -> Resampler {
        Resampler {
            from,
            to,
            history: [sample; HISTORY * RATIO_MAX],
        }
    }

    pub fn from(&self) -> Rate {
        self.from
    }

    pub fn to(&self) -> Rate {
        self.to
    }

    /// Resamples one tick: `from.samples_per_tick()` samples to `to.samples_per_tick()`.
    ///
    /// # Panics
    ///
    /// When a slice has another length: a mistake in the program, not in its input.
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) {
        assert_eq!(input.len(), self.from.samples_per_tick());
        assert_eq!(output.len(), self.to.samples_per_tick());
        let ratio = self.ratio();
        if ratio == 1 {
            output.copy_from_slice(input);
        } else if self.from < self.to {
            match ratio {
                2 => interpolate::<2>(&self.history, input, output),
                3 => interpolate::<3>(&self.history, input, output),
                _ => interpolate::<6>(&self.history, input, output),
            }
        } else {
            match ratio {
                2 => decimate::<2>(&self.history, input, output),
                3 => decimate::<3>(&self.history, input, output),
                _ => decimate::<6>(&self.history, input, output),
            }
        }
        self.remember(input);
    }

    /// Takes note of a tick whose output nobody needs.
    pub fn remember(&mut self, input: &[f32]) {
        assert_eq!(input.len(), self.from.samples_per_tick());
        let len = match self.ratio() {
            1 => 0,
            _ if self.from < self.to => HISTORY,
            ratio => HISTORY * ratio,
        };
        self.history[..len].copy_from_slice(&input[input.len() - len..]);
    }

    /// Becomes what `other` is, past included.
    pub fn copy_from(&mut self, other: &Resampler) {
        self.clone_from(other);
    }

    fn ratio(&self) -> usize {
        let (from, to) = (self.from.samples_per_ms(), self.to.samples_per_ms());
        from.max(to) / from.min(to)
    }
}

/// `output[n * RATIO + p]` is the voice `(p + 1) / RATIO` of a sample after `input[n - REACH]`.
fn interpolate<const RATIO: usize>(history: &[f32], input: &[f32], output: &mut [f32]) {
    let low = input.len();
    let mut stream = [0.0; HISTORY + LOW_SAMPLES_MAX];
    stream[..HISTORY].copy_from_slice(&history[..HISTORY]);
    stream[HISTORY..HISTORY + low].copy_from_slice(input);
    let stream = &stream[..HISTORY + low];

    // The phases lie one behind the other here; the last needs no filter.
    let mut phases = [0.0; FRAME_SAMPLES_MAX];
    let phases = &mut phases[..low * RATIO];
    let (filtered, copied) = phases.split_at_mut(low * (RATIO - 1));
    filter_phases::<RATIO>(stream, filtered);
    copied.copy_from_slice(&stream[REACH..REACH + low]);

    for (n, group) in output.as_chunks_mut::<RATIO>().0.iter_mut().enumerate() {
        for (p, sample) in group.iter_mut().enumerate() {
            *sample = phases[p * low + n];
        }
    }
}

/// `output[n]` is the voice at `input[(n - REACH + 1) * RATIO]`, less what the lower rate cannot carry.
fn decimate<const RATIO: usize>(history: &[f32], input: &[f32], output: &mut [f32]) {
    let low = output.len();
    let len = HISTORY + low;
    let mut streams = [0.0; (HISTORY * RATIO_MAX) + FRAME_SAMPLES_MAX];
    let streams = &mut streams[..len * RATIO];
    let (past, _) = history[..HISTORY * RATIO].as_chunks::<RATIO>();
    let (present, _) = input.as_chunks::<RATIO>();
    for p in 0..RATIO {
        let (before, now) = streams[p * len..(p + 1) * len].split_at_mut(HISTORY);
        for (sample, group) in before.iter_mut().zip(past) {
            *sample = group[p];
        }
        for (sample, group) in now.iter_mut().zip(present) {
            *sample = group[p];
        }
    }

    let (unfiltered, filtered) = streams.split_at(len);
    output.copy_from_slice(&unfiltered[REACH..REACH + low]);
    filter_streams::<RATIO>(filtered, output);
}

/// The taps of the phases of `RATIO` that need a filter, by their fraction: `1 / RATIO` first.
const fn taps_of<const RATIO: usize, const PHASES: usize>() -> [&'static [f32; TAPS]; PHASES] {
    assert!(RATIO_MAX.is_multiple_of(RATIO) && PHASES + 1 == RATIO);
    let mut taps = [&FRACTION_TAPS[0]; PHASES];
    let mut p = 0;
    while p < PHASES {
        taps[p] = &FRACTION_TAPS[(p + 1) * (RATIO_MAX / RATIO) - 1];
        p += 1;
    }
    taps
}

static TAPS_OF_2: [&[f32; TAPS]; 1] = taps_of::<2, 1>();
static TAPS_OF_3: [&[f32; TAPS]; 2] = taps_of::<3, 2>();
static TAPS_OF_6: [&[f32; TAPS]; 5] = taps_of::<6, 5>();

/// Fills `filtered` with the first `RATIO - 1` phases, one behind the other: each is `stream` less `HISTORY` long.
fn filter_phases<const RATIO: usize>(stream: &[f32], filtered: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2_fma() {
        // A load serves every phase; phases × vectors are the ten sums that the registers hold.
        // SAFETY: AVX2 and FMA were found just now.
        return unsafe {
            match RATIO {
                2 => interpolate_avx2::<1, 10>(stream, &TAPS_OF_2, filtered),
                3 => interpolate_avx2::<2, 5>(stream, &TAPS_OF_3, filtered),
                _ => interpolate_avx2::<5, 2>(stream, &TAPS_OF_6, filtered),
            }
        };
    }
    match RATIO {
        2 => interpolate_portable(stream, &TAPS_OF_2, filtered),
        3 => interpolate_portable(stream, &TAPS_OF_3, filtered),
        _ => interpolate_portable(stream, &TAPS_OF_6, filtered),
    }
}

/// Adds to `output` the `RATIO - 1` streams that lie one behind the other in `streams`, filtered, and scales the sum.
fn filter_streams<const RATIO: usize>(streams: &[f32], output: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2_fma() {
        // SAFETY: AVX2 and FMA were found just now.
        return unsafe {
            match RATIO {
                2 => decimate_avx2(streams, &TAPS_OF_2, output),
                3 => decimate_avx2(streams, &TAPS_OF_3, output),
                _ => decimate_avx2(streams, &TAPS_OF_6, output),
            }
        };
    }
    match RATIO {
        2 => decimate_portable(streams, &TAPS_OF_2, output),
        3 => decimate_portable(streams, &TAPS_OF_3, output),
        _ => decimate_portable(streams, &TAPS_OF_6, output),
    }
}

/// Outputs that the portable kernels work on side by side. Every tick is a multiple of it.
const LANES: usize = 32;

fn interpolate_portable(stream: &[f32], taps: &[&[f32; TAPS]], filtered: &mut [f32]) {
    let low = stream.len() - HISTORY;
    for (phase, taps) in filtered.chunks_exact_mut(low).zip(taps) {
        for (block, output) in phase.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            *output = [0.0; LANES];
            add_filtered(&stream[block * LANES..], taps, output);
        }
    }
}

fn decimate_portable(streams: &[f32], taps: &[&[f32; TAPS]], output: &mut [f32]) {
    let len = output.len() + HISTORY;
    let scale = 1.0 / (taps.len() + 1) as f32;
    for (block, output) in output.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        // The first stream lies behind the output by the whole ratio, so it wants the largest fraction.
        for (stream, taps) in streams.chunks_exact(len).zip(taps.iter().rev()) {
            add_filtered(&stream[block * LANES..], taps, output);
        }
        for sample in output {
            *sample *= scale;
        }
    }
}

/// `output[n]` grows by the sum of `taps[i] * stream[n + i]`.
#[inline]
fn add_filtered(stream: &[f32], taps: &[f32; TAPS], output: &mut [f32; LANES]) {
    let mut sums = *output;
    for (i, tap) in taps.iter().enumerate() {
        for (sum, sample) in sums.iter_mut().zip(&stream[i..i + LANES]) {
            *sum += tap * sample;
        }
    }
    *output = sums;
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps};

/// Samples in one AVX register.
#[cfg(target_arch = "x86_64")]
const WIDTH: usize = 8;

/// The register's worth of samples that begins at `at`.
///
/// # Safety
///
/// `at + WIDTH` must not exceed the length. (The load intrinsic would check that in builds with debug assertions,
/// and be five times slower there.)
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn load(samples: &[f32], at: usize) -> __m256 {
    // SAFETY: the caller's promise; alignment is not asked for.
    unsafe {
        samples
            .as_ptr()
            .wrapping_add(at)
            .cast::<__m256>()
            .read_unaligned()
    }
}

/// Writes a register to the samples that begin at `at`.
///
/// # Safety
///
/// `at + WIDTH` must not exceed the length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn store(samples: &mut [f32], at: usize, values: __m256) {
    // SAFETY: the caller's promise; alignment is not asked for.
    unsafe {
        samples
            .as_mut_ptr()
            .wrapping_add(at)
            .cast::<__m256>()
            .write_unaligned(values)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn interpolate_avx2<const PHASES: usize, const VECTORS: usize>(
    stream: &[f32],
    taps: &[&[f32; TAPS]; PHASES],
    filtered: &mut [f32],
) {
    let low = stream.len() - HISTORY;
    assert!(low.is_multiple_of(VECTORS * WIDTH) && filtered.len() == low * PHASES);
    for start in (0..low).step_by(VECTORS * WIDTH) {
        let mut sums: [[__m256; PHASES]; VECTORS] = [[_mm256_setzero_ps(); PHASES]; VECTORS];
        for i in 0..TAPS {
            let taps: [__m256; PHASES] = std::array::from_fn(|p| _mm256_set1_ps(taps[p][i]));
            for (v, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the last sample read is start + (TAPS - 1) + VECTORS * WIDTH - 1 <= HISTORY + low - 1.
                let samples = unsafe { load(stream, start + i + v * WIDTH) };
                for (sum, tap) in sums.iter_mut().zip(taps) {
                    *sum = _mm256_fmadd_ps(samples, tap, *sum);
                }
            }
        }
        for (v, sums) in sums.iter().enumerate() {
            for (p, sum) in sums.iter().enumerate() {
                // SAFETY: start + VECTORS * WIDTH <= low, and `filtered` holds PHASES times low.
                unsafe { store(filtered, p * low + start + v * WIDTH, *sum) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn decimate_avx2<const STREAMS: usize>(streams: &[f32], taps: &[&[f32; TAPS]; STREAMS], output: &mut [f32]) {
    const VECTORS: usize = 10;
    let low = output.len();
    let len = low + HISTORY;
    assert!(low.is_multiple_of(VECTORS * WIDTH) && streams.len() == len * STREAMS);
    let scale = _mm256_set1_ps(1.0 / (STREAMS + 1) as f32);
    for start in (0..low).step_by(VECTORS * WIDTH) {
        // SAFETY: start + VECTORS * WIDTH <= low, the length of `output`.
        let mut sums: [__m256; VECTORS] = std::array::from_fn(|v| unsafe { load(output, start + v * WIDTH) });
        for (stream, taps) in streams.chunks_exact(len).zip(taps.iter().rev()) {
            for (i, tap) in taps.iter().enumerate() {
                let tap = _mm256_set1_ps(*tap);
                for (v, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the last sample read is start + (TAPS - 1) + VECTORS * WIDTH - 1 <= len - 1.
                    let samples = unsafe { load(stream, start + i + v * WIDTH) };
                    *sum = _mm256_fmadd_ps(samples, tap, *sum);
                }
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: as for the loads above.
            unsafe { store(output, start + v * WIDTH, _mm256_mul_ps(*sum, scale)) };
        }
    }
}

/// The filter at every sixth between two samples of the lower rate.
const fn design() -> [[f32; TAPS]; RATIO_MAX - 1] {
    /// sin(π f / 6), f = 1 … 5.
    const SINES: [f64; RATIO_MAX - 1] = [0.5, 0.866_025_403_784_438_6, 1.0, 0.866_025_403_784_438_6, 0.5];
    let mut table = [[0.0; TAPS]; RATIO_MAX - 1];
    let mut f = 0;
    while f < SINES.len() {
        let mut exact = [0.0; TAPS];
        let mut sum = 0.0;
        let mut i = 0;
        while i < TAPS {
            let whole = REACH as f64 - 1.0 - i as f64;
            let t = whole + (f + 1) as f64 / RATIO_MAX as f64;
            let sine = if (REACH + 1 + i).is_multiple_of(2) {
                SINES[f]
            } else {
                -SINES[f]
            };
            exact[i] = sine / (std::f64::consts::PI * t) * kaiser(t / REACH as f64);
            sum += exact[i];
            i += 1;
        }
        // Each phase passes a constant unchanged, so that none is heard as a tone at the lower rate.
        let mut i = 0;
        while i < TAPS {
            table[f][i] = (exact[i] / sum) as f32;
            i += 1;
        }
        f += 1;
    }
    table
}

/// Kaiser's window at `x` from its centre (0) to its edge (±1), unscaled: I₀(β √(1 − x²)) by its power series.
const fn kaiser(x: f64) -> f64 {
    let square = KAISER_BETA * KAISER_BETA * (1.0 - x * x) / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-18 {
        term *= square / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    const RATIOS: [(Rate, Rate); 6] = [
        (Rate::Hz8000, Rate::Hz16000),
        (Rate::Hz16000, Rate::Hz48000),
        (Rate::Hz8000, Rate::Hz48000),
        (Rate::Hz16000, Rate::Hz8000),
        (Rate::Hz48000, Rate::Hz16000),
        (Rate::Hz48000, Rate::Hz8000),
    ];

    fn sine(rate: Rate, hz: f64, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|i| (TAU * hz * i as f64 / f64::from(rate.hz())).sin() as f32)
            .collect()
    }

    fn noise(samples: usize) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(5);
        (0..samples).map(|_| random.f32() * 2.0 - 1.0).collect()
    }

    fn resample(resampler: &mut Resampler, input: &[f32]) -> Vec<f32> {
        let mut output = vec![0.0; resampler.to().samples_per_tick()];
        let mut all = Vec::new();
        for tick in input.chunks_exact(resampler.from().samples_per_tick()) {
            resampler.process(tick, &mut output);
            all.extend_from_slice(&output);
        }
        all
    }

    /// How much of `pcm` is a tone of `hz`, and how much is anything else: both as dBFS of a sine's amplitude.
    fn tone_and_rest(pcm: &[f32], rate: Rate, hz: f64) -> (f64, f64) {
        let n = pcm.len() as f64;
        let angle = |i: usize| TAU * hz * i as f64 / f64::from(rate.hz());
        let (mut re, mut im) = (0.0, 0.0);
        for (i, sample) in pcm.iter().enumerate() {
            re += f64::from(*sample) * angle(i).cos() * 2.0 / n;
            im += f64::from(*sample) * angle(i).sin() * 2.0 / n;
        }
        let rest: f64 = (pcm.iter().enumerate())
            .map(|(i, sample)| (f64::from(*sample) - re * angle(i).cos() - im * angle(i).sin()).powi(2))
            .sum();
        (20.0 * re.hypot(im).log10(), 10.0 * (2.0 * rest / n).log10())
    }

    /// The steady part of one resampled second of a tone: the first tick holds the start, which has every frequency.
    fn steady(from: Rate, to: Rate, hz: f64) -> Vec<f32> {
        let output = resample(&mut Resampler::new(from, to), &sine(from, hz, from.hz() as usize));
        output[to.samples_per_tick()..].to_vec()
    }

    #[test]
    fn the_voice_band_passes_flat_and_without_images() {
        for (from, to) in RATIOS {
            let low = f64::from(from.hz().min(to.hz()));
            for part in [0.0125, 0.0375, 0.125, 0.25, 0.375, 0.425] {
                let hz = low * part;
                let (tone, rest) = tone_and_rest(&steady(from, to, hz), to, hz);
                assert!(tone.abs() < 0.01, "{from:?} to {to:?}: {hz} Hz at {tone:.4} dB");
                assert!(
                    rest < -90.0,
                    "{from:?} to {to:?}: {hz} Hz leaves {rest:.1} dB of other things"
                );
            }
        }
    }

    #[test]
    fn at_nine_tenths_of_the_band_less_than_half_a_decibel_is_lost() {
        for (from, to) in RATIOS {
            let hz = f64::from(from.hz().min(to.hz())) * 0.45;
            let (tone, _) = tone_and_rest(&steady(from, to, hz), to, hz);
            assert!(
                (-0.5..0.1).contains(&tone),
                "{from:?} to {to:?}: {hz} Hz at {tone:.3} dB"
            );
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_gone() {
        for (from, to) in RATIOS.into_iter().filter(|(from, to)| from > to) {
            for part in [0.575, 0.7, 0.925] {
                let hz = f64::from(to.hz()) * part;
                let level = super::super::level_dbfs(&steady(from, to, hz)) + 3.01;
                assert!(
                    level < -88.0,
                    "{from:?} to {to:?}: {hz} Hz comes back at {level:.1} dB"
                );
            }
        }
    }

    #[test]
    fn the_delay_is_three_milliseconds_at_eight_kilohertz_and_half_that_at_sixteen() {
        for (from, to) in RATIOS {
            // An impulse in the middle of the second tick is found again, later by the delay.
            let (step, ratio) = (from.samples_per_tick(), Resampler::new(from, to).ratio());
            let mut input = vec![0.0; step * 3];
            let at = step * 3 / 2;
            input[at] = 1.0;
            let output = resample(&mut Resampler::new(from, to), &input);
            let peak = (0..output.len())
                .max_by(|a, b| output[*a].total_cmp(&output[*b]))
                .unwrap_or(0);
            if from < to {
                assert_eq!(peak - at * ratio, 24 * ratio - 1, "{from:?} to {to:?}");
            } else {
                assert_eq!(peak - at / ratio, 23, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn the_wide_kernels_give_what_the_portable_ones_give() {
        for (from, to) in RATIOS {
            let ratio = Resampler::new(from, to).ratio();
            let low = from.min(to).samples_per_tick();
            let taps: &[&[f32; TAPS]] = match ratio {
                2 => &TAPS_OF_2,
                3 => &TAPS_OF_3,
                _ => &TAPS_OF_6,
            };
            let (mut wide, mut portable) = (vec![0.25; low * (ratio - 1)], vec![0.25; low * (ratio - 1)]);
            if from < to {
                let stream = noise(HISTORY + low);
                match ratio {
                    2 => filter_phases::<2>(&stream, &mut wide),
                    3 => filter_phases::<3>(&stream, &mut wide),
                    _ => filter_phases::<6>(&stream, &mut wide),
                }
                interpolate_portable(&stream, taps, &mut portable);
            } else {
                let streams = noise((HISTORY + low) * (ratio - 1));
                match ratio {
                    2 => filter_streams::<2>(&streams, &mut wide[..low]),
                    3 => filter_streams::<3>(&streams, &mut wide[..low]),
                    _ => filter_streams::<6>(&streams, &mut wide[..low]),
                }
                decimate_portable(&streams, taps, &mut portable[..low]);
            }
            for (n, (wide, portable)) in wide.iter().zip(&portable).enumerate() {
                assert!(
                    (wide - portable).abs() < 2e-6,
                    "{from:?} to {to:?} at {n}: {wide} for {portable}"
                );
            }
        }
    }

    #[test]
    fn a_voice_that_was_only_remembered_comes_in_without_a_seam() {
        for (from, to) in RATIOS {
            let step = from.samples_per_tick();
            let input = noise(step * 3);
            let whole = resample(&mut Resampler::new(from, to), &input);
            let mut late = Resampler::new(from, to);
            late.remember(&input[..step]);
            late.remember(&input[step..2 * step]);
            assert_eq!(
                resample(&mut late, &input[2 * step..]),
                whole[2 * to.samples_per_tick()..]
            );
        }
    }

    #[test]
    fn a_copy_goes_on_as_the_original_would_have() {
        for (from, to) in RATIOS {
            let input = noise(from.samples_per_tick() * 2);
            let (first, second) = input.split_at(from.samples_per_tick());
            let mut original = Resampler::new(from, to);
            resample(&mut original, first);
            let mut copy = Resampler::new(Rate::Hz8000, Rate::Hz8000);
            copy.copy_from(&original);
            assert_eq!((copy.from(), copy.to()), (from, to));
            assert_eq!(resample(&mut copy, second), resample(&mut original, second));
        }
    }

    #[test]
    fn equal_rates_pass_the_samples_as_they_are() {
        for rate in Rate::ALL {
            let input = noise(rate.samples_per_tick() * 2);
            assert_eq!(resample(&mut Resampler::new(rate, rate), &input), input);
        }
    }

    #[test]
    fn a_constant_stays_a_constant() {
        for (from, to) in RATIOS {
            let output = resample(
                &mut Resampler::new(from, to),
                &vec![0.5; from.samples_per_tick() * 3],
            );
            let settled = &output[to.samples_per_tick()..];
            assert!(
                settled.iter().all(|sample| (sample - 0.5).abs() < 1e-6),
                "{from:?} to {to:?}"
            );
        }
    }
}
