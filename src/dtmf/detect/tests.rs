//! The limits of ITU-T Q.24, and that nothing of a press is heard.

use std::f32::consts::TAU;

use super::*;

/// One press and the gap after it.
#[derive(Clone, Copy)]
struct Tone {
    digit: Digit,
    tone_ms: f32,
    gap_ms: f32,
    /// dBFS of the low tone, a full-scale sine being 0.
    level: f32,
    /// Of the high tone against the low one, in dB.
    twist: f32,
    /// Off the nominal frequencies, in percent.
    low_off: f32,
    high_off: f32,
}

impl Tone {
    fn of(digit: Digit) -> Tone {
        Tone {
            digit,
            tone_ms: 60.0,
            gap_ms: 60.0,
            level: -12.0,
            twist: 2.0,
            low_off: 0.0,
            high_off: 0.0,
        }
    }

    fn render(&self, rate: Rate, sound: &mut Vec<f32>) {
        let (low, high) = self.digit.frequencies();
        let (low, high) = (
            low * (1.0 + self.low_off / 100.0),
            high * (1.0 + self.high_off / 100.0),
        );
        let amplitude = |db: f32| 10f32.powf(db / 20.0);
        let (low_peak, high_peak) = (amplitude(self.level), amplitude(self.level + self.twist));
        let samples = |ms: f32| (ms * rate.hz() as f32 / 1_000.0) as usize;
        for n in 0..samples(self.tone_ms) {
            let turns = |hz: f32| (f64::from(hz) * n as f64 / f64::from(rate.hz())).fract() as f32 * TAU;
            sound.push(low_peak * turns(low).sin() + high_peak * (turns(high) + 1.0).sin());
        }
        sound.extend(std::iter::repeat_n(0.0, samples(self.gap_ms)));
    }
}

fn all_digits() -> Vec<Digit> {
    Digit::all().collect()
}

fn sound_of(tones: &[Tone], lead_in_ms: f32, rate: Rate) -> Vec<f32> {
    let mut sound = vec![0.0; (lead_in_ms * rate.hz() as f32 / 1_000.0) as usize];
    for tone in tones {
        tone.render(rate, &mut sound);
    }
    sound
}

/// The digits found, and the sound that came out.
fn hear(detector: &mut ToneDetector, sound: &[f32], rate: Rate) -> (Vec<Digit>, Vec<f32>) {
    let (mut digits, mut out) = (Vec::new(), Vec::new());
    let mut sound = sound.to_vec();
    let tick = rate.samples_per_tick();
    // As much silence as it takes to end the last press and empty the line.
    sound.resize((sound.len() / tick + 6) * tick, 0.0);
    for frame in sound.chunks_exact_mut(tick) {
        digits.extend(detector.process(frame, rate));
        out.extend_from_slice(frame);
    }
    (digits, out)
}

fn digits_in(sound: &[f32], rate: Rate) -> Vec<Digit> {
    hear(&mut ToneDetector::new(), sound, rate).0
}

/// Each digit with that change, at several offsets to the tick: how many of all were found, none being wrong.
fn found(rate: Rate, change: impl Fn(&mut Tone)) -> f32 {
    let mut count = 0;
    let offsets = [0.0, 1.3, 2.6, 3.9, 5.2, 9.1, 13.0, 17.7];
    for offset in offsets {
        let mut tones: Vec<_> = Digit::all().map(Tone::of).collect();
        tones.iter_mut().for_each(&change);
        let digits = digits_in(&sound_of(&tones, offset, rate), rate);
        let mut expected = Digit::all();
        for digit in &digits {
            assert!(
                expected.any(|next| next == *digit),
                "{digit} was never pressed, or not now"
            );
        }
        count += digits.len();
    }
    count as f32 / (16 * offsets.len()) as f32
}

/// White noise of a power in dBFS where a full-scale sine is 0.
fn noise(sound: &mut [f32], dbfs: f32, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let amplitude = (3.0f32 * 0.5).sqrt() * 10f32.powf(dbfs / 20.0);
    for sample in sound {
        *sample += amplitude * (2.0 * random.f32() - 1.0);
    }
}

#[test]
fn every_digit_of_40_ms_with_gaps_of_40_is_found_once_at_each_rate() {
    for rate in Rate::ALL {
        let share = found(rate, |tone| (tone.tone_ms, tone.gap_ms) = (40.0, 40.0));
        assert_eq!(share, 1.0, "{rate:?}");
    }
}

#[test]
fn a_tone_of_24_ms_is_no_digit() {
    for rate in Rate::ALL {
        for ms in [10.0, 20.0, 24.0] {
            assert_eq!(found(rate, |tone| tone.tone_ms = ms), 0.0, "{ms} ms at {rate:?}");
        }
    }
}

#[test]
fn a_key_held_for_seconds_is_one_digit() {
    let mut tone = Tone::of(Digit::POUND);
    tone.tone_ms = 5_000.0;
    let twice = [tone, tone];
    assert_eq!(
        digits_in(&sound_of(&twice, 3.0, Rate::Hz8000), Rate::Hz8000),
        [Digit::POUND; 2]
    );
}

#[test]
fn frequencies_may_be_off_by_one_and_a_half_percent_but_not_by_three_and_a_half() {
    let off = |low: f32, high: f32| {
        found(Rate::Hz8000, |tone| {
            (tone.tone_ms, tone.low_off, tone.high_off) = (40.0, low, high)
        })
    };
    for (low, high) in [
        (1.5, 1.5),
        (-1.5, 1.5),
        (1.5, -1.5),
        (-1.5, -1.5),
        (1.5, 0.0),
        (0.0, -1.5),
    ] {
        assert_eq!(off(low, high), 1.0, "{low} and {high} %");
    }
    for (low, high) in [
        (3.5, 0.0),
        (-3.5, 0.0),
        (0.0, 3.5),
        (0.0, -3.5),
        (3.5, 3.5),
        (-3.5, -3.5),
    ] {
        assert_eq!(off(low, high), 0.0, "{low} and {high} %");
    }
}

#[test]
fn the_high_tone_may_be_4_db_stronger_or_8_db_weaker_but_not_much_more() {
    let twisted = |twist: f32| found(Rate::Hz8000, |tone| (tone.tone_ms, tone.twist) = (40.0, twist));
    for twist in [-8.0, -4.0, 0.0, 4.0] {
        assert_eq!(twisted(twist), 1.0, "{twist} dB");
    }
    for twist in [-12.0, 8.0] {
        assert_eq!(twisted(twist), 0.0, "{twist} dB");
    }
}

#[test]
fn tones_are_found_from_full_scale_down_to_36_dbm0() {
    let loud = |level: f32| {
        found(Rate::Hz8000, |tone| {
            (tone.tone_ms, tone.level, tone.twist) = (40.0, level, 0.0)
        })
    };
    for level in [-6.1, -20.0, -30.0, -39.0] {
        assert_eq!(loud(level), 1.0, "{level} dBFS");
    }
    assert_eq!(loud(-46.0), 0.0);
}

#[test]
fn a_drop_out_within_a_press_does_not_make_two_of_it() {
    for rate in Rate::ALL {
        for drop_out_ms in [1, 5, 10, 15, 19] {
            for shift_ms in 0..20 {
                let mut tone = Tone::of(Digit::POUND);
                tone.tone_ms = 300.0;
                let mut sound = sound_of(&[tone], 7.0, rate);
                let from = (100 + shift_ms) * rate.samples_per_ms();
                sound[from..from + drop_out_ms * rate.samples_per_ms()].fill(0.0);
                let digits = digits_in(&sound, rate);
                assert_eq!(digits, [Digit::POUND], "{drop_out_ms} ms out after {shift_ms}");
            }
        }
    }
}

#[test]
fn a_gap_of_40_ms_makes_two_of_the_same_key() {
    for rate in Rate::ALL {
        for shift in 0..40 {
            let tone = Tone {
                tone_ms: 40.0,
                gap_ms: 40.0,
                ..Tone::of(Digit::POUND)
            };
            let sound = sound_of(&[tone; 5], 0.5 * shift as f32, rate);
            assert_eq!(digits_in(&sound, rate), [Digit::POUND; 5], "{shift} at {rate:?}");
        }
    }
}

#[test]
fn the_next_key_without_a_gap_is_the_next_digit() {
    let tones: Vec<_> = Digit::all()
        .map(|digit| Tone {
            gap_ms: 0.0,
            ..Tone::of(digit)
        })
        .collect();
    assert_eq!(
        digits_in(&sound_of(&tones, 2.0, Rate::Hz8000), Rate::Hz8000),
        all_digits()
    );
}

#[test]
fn tones_in_noise_are_found() {
    for rate in Rate::ALL {
        for (snr, tone_ms, least) in [(20.0, 40.0, 0.99), (15.0, 40.0, 0.95), (15.0, 60.0, 1.0)] {
            let (mut pressed, mut right) = (0, 0);
            for seed in 0..40 {
                let tones: Vec<_> = Digit::all()
                    .map(|digit| Tone {
                        tone_ms,
                        level: -20.0,
                        twist: 0.0,
                        ..Tone::of(digit)
                    })
                    .collect();
                let mut sound = sound_of(&tones, seed as f32 * 0.7, rate);
                // Both tones together are 3 dB above one; at 48 kHz, noise in the telephone band is what counts.
                let wide = 10.0 * (rate.hz() as f32 / 8_000.0).log10();
                noise(&mut sound, -17.0 - snr + wide, seed);
                let digits = digits_in(&sound, rate);
                pressed += 16;
                right += digits.len();
                let mut expected = Digit::all();
                assert!(digits.iter().all(|digit| expected.any(|next| next == *digit)));
            }
            let share = right as f32 / pressed as f32;
            assert!(share >= least, "{share} at {snr} dB, {tone_ms} ms, {rate:?}");
        }
    }
}

#[test]
fn nothing_of_a_press_is_heard_and_all_of_the_rest_is() {
    for rate in Rate::ALL {
        for offset in 0..40 {
            for tone_ms in [40.0, 57.0, 200.0] {
                // A hum of −40 dBFS before and after shows what is let through; it is too weak to hide a tone.
                let hum = |n: usize| 0.01 * (TAU * 180.0 * n as f32 / rate.hz() as f32).sin();
                let lead_in_ms = 100.0 + offset as f32 * 0.5;
                let tone = Tone {
                    tone_ms,
                    gap_ms: 150.0,
                    ..Tone::of(Digit::POUND)
                };
                let mut sound = sound_of(&[tone], lead_in_ms, rate);
                sound
                    .iter_mut()
                    .enumerate()
                    .for_each(|(n, sample)| *sample += hum(n));
                let (digits, out) = hear(&mut ToneDetector::new(), &sound, rate);
                assert_eq!(digits, [Digit::POUND]);

                let loudest = out
                    .iter()
                    .fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
                assert!(
                    loudest <= 0.0101,
                    "{loudest} of a tone of {tone_ms} ms at {offset}"
                );
                // 5-10 ms and a fade are lost before, up to 15 and a fade after.
                let per_ms = rate.samples_per_ms();
                let delayed = |ms: f32| ((ms + LOOK_BACK_MS as f32) * per_ms as f32) as usize;
                let (start, end) = (delayed(lead_in_ms - 16.0), delayed(lead_in_ms + tone_ms + 21.0));
                for n in (LOOK_BACK_MS * per_ms..start).chain(end..delayed(lead_in_ms + tone_ms + 100.0)) {
                    let heard = sound[n - LOOK_BACK_MS * per_ms];
                    assert!(
                        (out[n] - heard).abs() < 1e-6,
                        "{n}: {} instead of {heard}",
                        out[n]
                    );
                }
            }
        }
    }
}

#[test]
fn blanking_never_clicks() {
    for rate in Rate::ALL {
        let tone = Tone {
            gap_ms: 200.0,
            ..Tone::of(Digit::POUND)
        };
        let mut sound = sound_of(&[tone], 101.0, rate);
        // What is constant shows each step.
        sound.iter_mut().for_each(|sample| *sample += 0.1);
        let (digits, out) = hear(&mut ToneDetector::new(), &sound, rate);
        assert_eq!(digits, [Digit::POUND]);
        let from = (LOOK_BACK_MS + 1) * rate.samples_per_ms();
        let steps = out[from..sound.len()]
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs());
        let steepest = steps.fold(0.0, f32::max);
        assert!(
            steepest <= 0.1 / (4 * rate.samples_per_ms()) as f32,
            "{steepest} at {rate:?}"
        );
    }
}

#[test]
fn a_change_of_rate_keeps_the_sound_that_is_under_way() {
    for from in Rate::ALL {
        for to in Rate::ALL {
            let mut detector = ToneDetector::new();
            let wave = |rate: Rate, n: usize| 0.5 * (TAU * 100.0 * n as f32 / rate.hz() as f32).sin();
            for tick in 0..6 {
                let rate = if tick < 3 { from } else { to };
                let len = rate.samples_per_tick();
                let mut frame: Vec<_> = (0..len).map(|n| wave(rate, tick * len + n)).collect();
                assert_eq!(detector.process(&mut frame, rate), None);
                for (n, sample) in frame.iter().enumerate().filter(|_| tick >= 2) {
                    let wanted = wave(rate, (tick - 2) * len + n);
                    // The last sample before the change has no successor to draw a line to.
                    assert!(
                        (sample - wanted).abs() < 0.05,
                        "{from:?} to {to:?}, tick {tick}, {n}"
                    );
                }
            }
        }
    }
}

#[test]
fn sound_that_is_no_number_harms_nothing_that_comes_after() {
    let mut detector = ToneDetector::new();
    for broken in [f32::NAN, f32::INFINITY, f32::MIN, f32::MAX] {
        for rate in Rate::ALL {
            let mut frame = vec![broken; rate.samples_per_tick()];
            assert_eq!(detector.process(&mut frame, rate), None);
            let tones: Vec<_> = Digit::all().map(Tone::of).collect();
            let (digits, out) = hear(&mut detector, &sound_of(&tones, 20.0, rate), rate);
            assert_eq!(digits, all_digits());
            assert!(out[out.len() / 2..].iter().all(|sample| sample.is_finite()));
        }
    }
}
