//! What one 20 ms tick of signal processing costs: `cargo bench --bench dsp`.

use std::f32::consts::TAU;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mixminus::dsp::{Activity, Limiter, Music, Resampler, add, level_dbfs, mix_minus, ramp};
use mixminus::dtmf::{Digit, DigitSender, GAP_MS, TONE_MS, TONE_MS_MAX, ToneDetector};
use mixminus::frame::Rate;
use mixminus::time::Tick;

fn sine(rate: Rate, amplitude: f32) -> Vec<f32> {
    (0..rate.samples_per_tick())
        .map(|i| amplitude * (TAU * 450.0 * i as f32 / rate.hz() as f32).sin())
        .collect()
}

fn resample(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample");
    for from in Rate::ALL {
        for to in Rate::ALL {
            let (input, mut output) = (sine(from, 0.5), vec![0.0; to.samples_per_tick()]);
            let mut resampler = Resampler::new(from, to);
            group.bench_function(format!("{} to {}", from.hz(), to.hz()), |b| {
                b.iter(|| resampler.process(black_box(&input), black_box(&mut output)));
            });
        }
    }
    let mut resampler = Resampler::new(Rate::Hz48000, Rate::Hz8000);
    let input = sine(Rate::Hz48000, 0.5);
    group.bench_function("remember 48000 to 8000", |b| {
        b.iter(|| resampler.remember(black_box(&input)))
    });
}

fn limit(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter");
    for rate in Rate::ALL {
        for (name, amplitude) in [("below", 0.5), ("above", 2.0)] {
            let (input, mut pcm) = (sine(rate, amplitude), sine(rate, amplitude));
            let mut limiter = Limiter::new();
            group.bench_function(format!("{name} the ceiling at {}", rate.hz()), |b| {
                b.iter(|| {
                    pcm.copy_from_slice(&input);
                    limiter.process(black_box(&mut pcm), rate);
                });
            });
        }
    }
}

fn mix(c: &mut Criterion) {
    let mut group = c.benchmark_group("mix");
    let (mut total, voice, mut heard) = (vec![0.0; 960], sine(Rate::Hz48000, 0.5), vec![0.0; 960]);
    group.bench_function("level of 960", |b| b.iter(|| level_dbfs(black_box(&voice))));
    group.bench_function("level of 160", |b| {
        b.iter(|| level_dbfs(black_box(&voice[..160])))
    });
    group.bench_function("add 960", |b| {
        b.iter(|| add(black_box(&mut total), black_box(&voice)))
    });
    group.bench_function("mix-minus 960", |b| {
        b.iter(|| mix_minus(black_box(&total), black_box(&voice), black_box(&mut heard)));
    });
    group.bench_function("ramp 960", |b| b.iter(|| ramp(black_box(&mut heard), 1.0, 1.0)));
}

fn activity(c: &mut Criterion) {
    let mut group = c.benchmark_group("activity");
    for rate in Rate::ALL {
        let mut random = fastrand::Rng::with_seed(1);
        let mut noise = |dbfs: f32| -> Vec<f32> {
            let amplitude = 3f32.sqrt() * 10f32.powf(dbfs / 20.0);
            (0..rate.samples_per_tick())
                .map(|_| amplitude * (random.f32() * 2.0 - 1.0))
                .collect()
        };
        let (idle, faint, silence) = (noise(-65.0), noise(-62.0), vec![0.0; rate.samples_per_tick()]);
        let loud = sine(rate, 0.1);
        let mut leg = Activity::new();
        group.bench_function(format!("silence at {}", rate.hz()), |b| {
            b.iter(|| leg.update(black_box(&silence), rate));
        });
        let mut leg = Activity::new();
        group.bench_function(format!("noise of -65 dBFS at {}", rate.hz()), |b| {
            b.iter(|| leg.update(black_box(&idle), rate));
        });
        let mut leg = Activity::new();
        group.bench_function(format!("a loud voice at {}", rate.hz()), |b| {
            b.iter(|| leg.update(black_box(&loud), rate));
        });
        // Silence keeps the noise floor down, so that every other tick is one for the detector.
        let mut leg = Activity::new();
        group.bench_function(format!("silence, then the detector at {}", rate.hz()), |b| {
            b.iter(|| {
                leg.update(black_box(&silence), rate);
                leg.update(black_box(&faint), rate)
            });
        });
    }
}

fn keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("keys");
    for rate in Rate::ALL {
        let mut random = fastrand::Rng::with_seed(1);
        let samples = 50 * rate.samples_per_tick();
        let noise: Vec<f32> = (0..samples).map(|_| 0.2 * (random.f32() - 0.5)).collect();
        let mut tones = vec![0.0; samples];
        let mut sender = DigitSender::new();
        for pcm in tones.chunks_exact_mut(rate.samples_per_tick()) {
            if sender.is_idle() {
                sender.push(Digit::POUND, TONE_MS, GAP_MS).expect("room");
            }
            sender.render(rate, pcm);
        }
        for (name, sound) in [
            ("silence", vec![0.0; samples]),
            ("noise", noise),
            ("tones", tones),
        ] {
            let mut detector = ToneDetector::new();
            let mut frames = sound.chunks_exact(rate.samples_per_tick()).cycle();
            let mut pcm = vec![0.0; rate.samples_per_tick()];
            group.bench_function(format!("look for them in {name} at {}", rate.hz()), |b| {
                b.iter(|| {
                    pcm.copy_from_slice(frames.next().expect("without end"));
                    detector.process(black_box(&mut pcm), rate)
                });
            });
        }
        let mut sender = DigitSender::new();
        let mut pcm = vec![0.0; rate.samples_per_tick()];
        group.bench_function(format!("a tone at {}", rate.hz()), |b| {
            b.iter(|| {
                if sender.is_idle() {
                    sender.push(Digit::POUND, TONE_MS_MAX, GAP_MS).expect("room");
                }
                sender.render(rate, black_box(&mut pcm))
            });
        });
    }
}

fn music(c: &mut Criterion) {
    let mut group = c.benchmark_group("music");
    for rate in [Rate::Hz8000, Rate::Hz48000] {
        for music in Music::ALL {
            let mut pcm = vec![0.0; rate.samples_per_tick()];
            // Over all ticks, since some have more notes than others; the ring is silent most of the time.
            let mut tick = Tick(0);
            group.bench_function(format!("{} at {}", music.name(), rate.hz()), |b| {
                b.iter(|| {
                    music.render(tick, rate, black_box(&mut pcm));
                    tick = tick.next();
                });
            });
        }
    }
}

criterion_group! {
    name = dsp;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = resample, limit, mix, activity, keys, music
}
criterion_main!(dsp);
