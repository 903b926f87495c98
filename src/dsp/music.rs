//! What a leg hears that waits: the ringing tone and three short tunes for hold, made here note by note.
//!
//! Every sample is a function of the number of its tick alone, so all listeners hear the same place and whoever
//! comes late comes in there. Nothing lies above 3.4 kHz: the tunes sound the same at every rate. Mean level −20 dBFS.

use std::f64::consts::TAU;

use super::mix::{add, ramp};
use crate::frame::{FRAME_SAMPLES_MAX, Rate};
use crate::time::{TICK, Tick};

/// What can be played to a leg on hold, by the name it has for the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Music {
    /// The ringing tone of ITU-T E.180 §5: 425 Hz, one second on and four off.
    Ring,
    Music1,
    Music2,
    Music3,
}

impl Music {
    pub const ALL: [Music; 4] = [Music::Ring, Music::Music1, Music::Music2, Music::Music3];

    pub const fn name(self) -> &'static str {
        match self {
            Music::Ring => "ring",
            Music::Music1 => "music1",
            Music::Music2 => "music2",
            Music::Music3 => "music3",
        }
    }

    pub fn from_name(name: &str) -> Option<Music> {
        Music::ALL.into_iter().find(|music| music.name() == name)
    }

    /// Writes one tick: `rate.samples_per_tick()` samples. A tick joins the one before without a seam.
    ///
    /// # Panics
    ///
    /// When `pcm` has another length: a mistake in the program, not in its input.
    pub fn render(self, tick: Tick, rate: Rate, pcm: &mut [f32]) {
        assert_eq!(pcm.len(), rate.samples_per_tick());
        pcm.fill(0.0);
        match self {
            Music::Ring => ring(tick, rate, pcm),
            Music::Music1 => STROLL.render(tick, rate, pcm),
            Music::Music2 => WALTZ.render(tick, rate, pcm),
            Music::Music3 => EVENING.render(tick, rate, pcm),
        }
    }
}

fn ring(tick: Tick, rate: Rate, pcm: &mut [f32]) {
    const RING_HZ: f64 = 425.0;
    const ON: u64 = 50;
    const PERIOD: u64 = 250;
    /// −17 dBFS at its peak: a level of −20 dBFS while it sounds.
    const AMPLITUDE: f64 = 0.1413;

    let at = tick.0 % PERIOD;
    if at >= ON {
        return;
    }
    add_partial(
        Partial {
            hz: RING_HZ,
            amplitude: AMPLITUDE,
            decay_s: f64::INFINITY,
        },
        at,
        rate,
        pcm,
    );
    let edge = pcm.len() / 2;
    if at == 0 {
        ramp(&mut pcm[..edge], 0.0, 1.0);
    } else if at == ON - 1 {
        ramp(&mut pcm[edge..], 1.0, 0.0);
    }
}

/// Some lines that are played together, over and over.
struct Tune {
    /// The length of a step, the shortest note.
    step_ticks: u64,
    lines: &'static [Line],
}

/// One note after the other on one instrument.
struct Line {
    instrument: Instrument,
    /// Pitch (MIDI note number: 60 is the C of 261.6 Hz, 0 a rest) and length in steps.
    notes: &'static [(u8, u8)],
}

/// A plucked string: each partial has the time constant of the first, divided by its number.
struct Instrument {
    /// Amplitudes, the fundamental first.
    partials: &'static [f64],
    decay_s: f64,
}

/// What the narrowest codec carries.
const PARTIAL_HZ_MAX: f64 = 3_400.0;

impl Tune {
    fn render(&self, tick: Tick, rate: Rate, pcm: &mut [f32]) {
        for line in self.lines {
            line.render(tick, self.step_ticks, rate, pcm);
        }
    }
}

impl Line {
    fn render(&self, tick: Tick, step_ticks: u64, rate: Rate, pcm: &mut [f32]) {
        let ticks_of = |note: &(u8, u8)| u64::from(note.1) * step_ticks;
        let length: u64 = self.notes.iter().map(ticks_of).sum();
        let Some(mut before) = self.notes.last() else {
            return;
        };
        let mut at = tick.0 % length;
        for note in self.notes {
            if at < ticks_of(note) {
                if at == 0 {
                    // The note before ends under the attack of this one.
                    self.play(before.0, ticks_of(before), rate, pcm, |voice| {
                        ramp(voice, 1.0, 0.0)
                    });
                    self.play(note.0, 0, rate, pcm, |voice| {
                        let attack = voice.len() / 4;
                        ramp(&mut voice[..attack], 0.0, 1.0);
                    });
                } else {
                    self.play(note.0, at, rate, pcm, |_| ());
                }
                return;
            }
            at -= ticks_of(note);
            before = note;
        }
    }

    /// Adds one tick of a note that began `elapsed` ticks ago, shaped by `envelope`.
    fn play(&self, pitch: u8, elapsed: u64, rate: Rate, pcm: &mut [f32], envelope: impl Fn(&mut [f32])) {
        if pitch == 0 {
            return;
        }
        let mut voice = [0.0; FRAME_SAMPLES_MAX];
        let voice = &mut voice[..pcm.len()];
        let fundamental = 440.0 * ((f64::from(pitch) - 69.0) / 12.0).exp2();
        for (number, amplitude) in (1..).zip(self.instrument.partials) {
            let (hz, decay_s) = (
                fundamental * f64::from(number),
                self.instrument.decay_s / f64::from(number),
            );
            if hz <= PARTIAL_HZ_MAX {
                add_partial(
                    Partial {
                        hz,
                        amplitude: *amplitude,
                        decay_s,
                    },
                    elapsed,
                    rate,
                    voice,
                );
            }
        }
        envelope(voice);
        add(pcm, voice);
    }
}

/// A sine that dies away.
#[derive(Clone, Copy)]
struct Partial {
    hz: f64,
    amplitude: f64,
    /// The time in which it falls to 1/e.
    decay_s: f64,
}

/// Adds the tick of `partial` that comes `elapsed` ticks after its start.
///
/// The phase is exact at the start of the tick; within it, eight samples side by side are turned by eight
/// samples' angle at a time.
fn add_partial(partial: Partial, elapsed: u64, rate: Rate, pcm: &mut [f32]) {
    const LANES: usize = 8;
    /// −100 dBFS: nobody hears it start or stop.
    const AMPLITUDE_MIN: f64 = 1e-5;

    let elapsed_s = elapsed as f64 * TICK.as_secs_f64();
    let amplitude = partial.amplitude * (-elapsed_s / partial.decay_s).exp();
    if amplitude < AMPLITUDE_MIN {
        return;
    }
    let sample_s = 1.0 / f64::from(rate.hz());
    let (sin, cos) = (TAU * partial.hz * sample_s).sin_cos();
    let decay = (-sample_s / partial.decay_s).exp();
    let turn = (cos * decay, sin * decay);
    let (sin, cos) = (TAU * (partial.hz * elapsed_s).fract()).sin_cos();

    let multiply = |a: (f64, f64), b: (f64, f64)| (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0);
    let (mut re, mut im) = ([0.0; LANES], [0.0; LANES]);
    let (mut value, mut turn_all) = ((cos * amplitude, sin * amplitude), (1.0, 0.0));
    for (re, im) in re.iter_mut().zip(&mut im) {
        (*re, *im) = (value.0 as f32, value.1 as f32);
        value = multiply(value, turn);
        turn_all = multiply(turn_all, turn);
    }
    let turn = (turn_all.0 as f32, turn_all.1 as f32);
    for samples in pcm.as_chunks_mut::<LANES>().0 {
        for lane in 0..LANES {
            samples[lane] += im[lane];
            let next = re[lane] * turn.0 - im[lane] * turn.1;
            im[lane] = re[lane] * turn.1 + im[lane] * turn.0;
            re[lane] = next;
        }
    }
}

/// C major, four quarters of 480 ms, eight bars.
static STROLL: Tune = Tune {
    step_ticks: 12,
    lines: &[
        Line {
            instrument: Instrument {
                partials: &[0.16, 0.06, 0.025],
                decay_s: 0.7,
            },
            #[rustfmt::skip]
            notes: &[
                (76, 2), (79, 2), (76, 1), (74, 1), (72, 2),
                (69, 2), (72, 2), (76, 4),
                (77, 2), (81, 2), (79, 1), (77, 1), (76, 2),
                (74, 2), (71, 2), (74, 4),
                (76, 1), (76, 1), (79, 2), (84, 2), (83, 2),
                (81, 2), (76, 2), (72, 4),
                (81, 1), (79, 1), (77, 2), (74, 2), (77, 2),
                (76, 2), (74, 2), (72, 4),
            ],
        },
        Line {
            instrument: Instrument {
                partials: &[0.08, 0.04, 0.025, 0.012],
                decay_s: 0.4,
            },
            #[rustfmt::skip]
            notes: &[
                (48, 1), (55, 1), (60, 1), (64, 1), (60, 1), (55, 1), (60, 1), (55, 1),
                (45, 1), (52, 1), (57, 1), (60, 1), (57, 1), (52, 1), (57, 1), (52, 1),
                (53, 1), (48, 1), (57, 1), (60, 1), (57, 1), (53, 1), (57, 1), (53, 1),
                (43, 1), (50, 1), (55, 1), (59, 1), (55, 1), (50, 1), (55, 1), (50, 1),
                (48, 1), (55, 1), (60, 1), (64, 1), (60, 1), (55, 1), (60, 1), (55, 1),
                (45, 1), (52, 1), (57, 1), (60, 1), (57, 1), (52, 1), (57, 1), (52, 1),
                (53, 1), (48, 1), (57, 1), (60, 1), (57, 1), (53, 1), (57, 1), (53, 1),
                (43, 1), (50, 1), (55, 1), (59, 1), (48, 1), (55, 1), (60, 1), (52, 1),
            ],
        },
    ],
};

/// G major, three quarters of 400 ms, sixteen bars.
static WALTZ: Tune = Tune {
    step_ticks: 10,
    lines: &[
        Line {
            instrument: Instrument {
                partials: &[0.17, 0.025, 0.04],
                decay_s: 0.8,
            },
            #[rustfmt::skip]
            notes: &[
                (74, 4), (71, 2),
                (72, 2), (71, 2), (69, 2),
                (71, 4), (67, 2),
                (76, 4), (74, 1), (72, 1),
                (74, 2), (79, 2), (83, 2),
                (84, 4), (81, 2),
                (78, 2), (81, 2), (74, 2),
                (79, 6),
                (79, 2), (78, 2), (76, 2),
                (74, 4), (78, 2),
                (76, 2), (79, 2), (84, 2),
                (83, 2), (81, 4),
                (83, 2), (79, 2), (74, 2),
                (76, 4), (72, 2),
                (71, 2), (69, 2), (66, 2),
                (67, 6),
            ],
        },
        Line {
            instrument: Instrument {
                partials: &[0.09, 0.05, 0.025, 0.016],
                decay_s: 0.35,
            },
            #[rustfmt::skip]
            notes: &[
                (43, 2), (59, 2), (62, 2),
                (50, 2), (57, 2), (60, 2),
                (52, 2), (59, 2), (64, 2),
                (48, 2), (55, 2), (64, 2),
                (43, 2), (59, 2), (62, 2),
                (45, 2), (60, 2), (64, 2),
                (50, 2), (57, 2), (66, 2),
                (43, 2), (59, 2), (62, 2),
                (52, 2), (59, 2), (64, 2),
                (47, 2), (59, 2), (62, 2),
                (48, 2), (55, 2), (64, 2),
                (50, 2), (57, 2), (66, 2),
                (43, 2), (59, 2), (62, 2),
                (48, 2), (55, 2), (64, 2),
                (50, 2), (57, 2), (60, 2),
                (43, 2), (59, 2), (55, 2),
            ],
        },
    ],
};

/// A minor, slow: four quarters of 600 ms, eight bars.
static EVENING: Tune = Tune {
    step_ticks: 15,
    lines: &[
        Line {
            instrument: Instrument {
                partials: &[0.155, 0.08, 0.018, 0.018],
                decay_s: 1.1,
            },
            #[rustfmt::skip]
            notes: &[
                (69, 2), (76, 3), (74, 1), (72, 2),
                (72, 3), (69, 1), (72, 4),
                (79, 2), (76, 3), (74, 1), (76, 2),
                (74, 6), (71, 2),
                (72, 2), (76, 2), (81, 3), (79, 1),
                (81, 3), (79, 1), (76, 4),
                (74, 2), (77, 2), (76, 2), (74, 2),
                (76, 2), (71, 2), (69, 4),
            ],
        },
        Line {
            instrument: Instrument {
                partials: &[0.09, 0.055, 0.035, 0.018],
                decay_s: 1.2,
            },
            #[rustfmt::skip]
            notes: &[
                (45, 4), (52, 4),
                (53, 4), (48, 4),
                (48, 4), (55, 4),
                (43, 4), (50, 4),
                (45, 4), (52, 4),
                (53, 4), (57, 4),
                (50, 4), (45, 4),
                (52, 4), (45, 4),
            ],
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::super::{Resampler, level_dbfs};
    use super::*;

    /// Long enough for every tune and four rings.
    const TICKS: u64 = 1_000;

    fn rendered(music: Music, first: u64, ticks: u64, rate: Rate) -> Vec<f32> {
        let mut pcm = vec![f32::NAN; rate.samples_per_tick() * ticks as usize];
        for (tick, pcm) in (first..).zip(pcm.chunks_exact_mut(rate.samples_per_tick())) {
            music.render(Tick(tick), rate, pcm);
        }
        pcm
    }

    fn tunes() -> [(Music, &'static Tune); 3] {
        [
            (Music::Music1, &STROLL),
            (Music::Music2, &WALTZ),
            (Music::Music3, &EVENING),
        ]
    }

    fn ticks_of(tune: &Tune, line: &Line) -> u64 {
        line.notes.iter().map(|note| u64::from(note.1)).sum::<u64>() * tune.step_ticks
    }

    #[test]
    fn every_music_is_known_by_its_name() {
        for music in Music::ALL {
            assert_eq!(Music::from_name(music.name()), Some(music));
        }
        assert_eq!(Music::from_name("music4"), None);
        assert_eq!(Music::from_name("Ring"), None);
    }

    #[test]
    fn the_ringing_tone_is_425_hertz_one_second_on_and_four_off() {
        for rate in Rate::ALL {
            let pcm = rendered(Music::Ring, 500, 250, rate);
            let (on, off) = pcm.split_at(rate.hz() as usize);
            assert!((level_dbfs(on) + 20.0).abs() < 0.2, "{}", level_dbfs(on));
            assert!(off.iter().all(|sample| *sample == 0.0));
            let rises = on
                .windows(2)
                .filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0)
                .count();
            assert!((423..=426).contains(&rises), "{rises}");
        }
    }

    #[test]
    fn the_tunes_have_a_mean_level_of_minus_20_and_never_come_near_full_scale() {
        for (music, _) in tunes() {
            let pcm = rendered(music, 0, TICKS, Rate::Hz16000);
            assert!(
                (level_dbfs(&pcm) + 20.0).abs() < 0.5,
                "{music:?}: {}",
                level_dbfs(&pcm)
            );
            assert!(pcm.iter().all(|sample| sample.abs() < 0.6));
            // Nobody should think that the call is dead.
            assert!(pcm.chunks(16_000 * 2).all(|seconds| level_dbfs(seconds) > -30.0));
        }
    }

    #[test]
    fn nothing_clicks_from_tick_to_tick_nor_from_end_to_start() {
        for music in Music::ALL {
            for rate in Rate::ALL {
                let pcm = rendered(music, 0, TICKS, rate);
                let bend = |i: usize| (pcm[i + 1] - 2.0 * pcm[i] + pcm[i - 1]).abs();
                let step = rate.samples_per_tick();
                let within = (step..pcm.len() - 1).filter(|i| (2..step - 2).contains(&(i % step)));
                let smooth = within.map(bend).fold(0.0, f32::max);
                for seam in (step..pcm.len()).step_by(step) {
                    for i in [seam - 1, seam] {
                        assert!(bend(i) <= smooth * 1.2, "{music:?} {rate:?}, tick {}", i / step);
                    }
                }
            }
        }
    }

    #[test]
    fn the_lines_of_a_tune_come_round_together_and_begin_again() {
        for (music, tune) in tunes() {
            let length = ticks_of(tune, &tune.lines[0]);
            for line in tune.lines {
                assert_eq!(ticks_of(tune, line), length);
            }
            assert!(length < TICKS);
            assert_eq!(
                rendered(music, 7, 50, Rate::Hz8000),
                rendered(music, 7 + 40 * length, 50, Rate::Hz8000)
            );
        }
    }

    #[test]
    fn every_rate_plays_the_same_at_the_same_time() {
        for music in Music::ALL {
            let low = rendered(music, 0, TICKS, Rate::Hz8000);
            for rate in [Rate::Hz16000, Rate::Hz48000] {
                let high = rendered(music, 0, TICKS, rate);
                let ratio = rate.samples_per_ms() / Rate::Hz8000.samples_per_ms();
                for (i, sample) in low.iter().enumerate() {
                    // Fades are a sample apart.
                    assert!(
                        (sample - high[i * ratio]).abs() < 0.01,
                        "{music:?} {rate:?} at {i}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_on_the_way_through_8_khz() {
        for music in Music::ALL {
            let pcm = rendered(music, 0, TICKS, Rate::Hz48000);
            let (mut down, mut up) = (
                Resampler::new(Rate::Hz48000, Rate::Hz8000),
                Resampler::new(Rate::Hz8000, Rate::Hz48000),
            );
            let mut back = Vec::new();
            for tick in pcm.chunks_exact(960) {
                let (mut low, mut high) = ([0.0; 160], [0.0; 960]);
                down.process(tick, &mut low);
                up.process(&low, &mut high);
                back.extend_from_slice(&high);
            }
            let delay = 23 * 6 + 24 * 6 - 1;
            let lost: Vec<f32> = pcm
                .iter()
                .zip(&back[delay..])
                .map(|(pcm, back)| pcm - back)
                .collect();
            assert!(
                level_dbfs(&lost) < level_dbfs(&pcm) - 60.0,
                "{music:?}: {}",
                level_dbfs(&lost)
            );
        }
    }

    #[test]
    fn partials_that_a_narrow_codec_cannot_carry_are_left_out() {
        let rate = Rate::Hz48000;
        for (music, tune) in tunes() {
            let pcm = rendered(music, 0, TICKS, rate);
            let pitches = tune.lines.iter().flat_map(|line| line.notes).map(|note| note.0);
            let fundamental = 440.0 * ((f64::from(pitches.max().unwrap_or(0)) - 69.0) / 12.0).exp2();
            for hz in (1..=6)
                .map(|k| fundamental * f64::from(k))
                .filter(|hz| *hz > 3_400.0)
            {
                let (mut re, mut im) = (0.0, 0.0);
                for (i, sample) in pcm.iter().enumerate() {
                    let window = 1.0 - (TAU * i as f64 / pcm.len() as f64).cos();
                    let (sin, cos) = (TAU * hz * i as f64 / f64::from(rate.hz())).sin_cos();
                    re += f64::from(*sample) * cos * window;
                    im += f64::from(*sample) * sin * window;
                }
                let amplitude = 2.0 * re.hypot(im) / pcm.len() as f64;
                assert!(amplitude < 1e-5, "{music:?}: {amplitude} of {hz} Hz");
            }
        }
    }

    #[test]
    fn the_largest_tick_number_plays_as_well() {
        for music in Music::ALL {
            let mut pcm = [f32::NAN; 960];
            music.render(Tick(u64::MAX), Rate::Hz48000, &mut pcm);
            assert!(pcm.iter().all(|sample| sample.is_finite()));
        }
    }
}
