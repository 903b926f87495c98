//! What one 20 ms tick of signal processing costs: `cargo bench --bench dsp`.

use std::f32::consts::TAU;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mixminus::dsp::{Limiter, Resampler, add, level_dbfs, mix_minus, ramp};
use mixminus::frame::Rate;

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
    group.bench_function("remember 48000 to 8000", |b| b.iter(|| resampler.remember(black_box(&input))));
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
    group.bench_function("level of 160", |b| b.iter(|| level_dbfs(black_box(&voice[..160]))));
    group.bench_function("add 960", |b| b.iter(|| add(black_box(&mut total), black_box(&voice))));
    group.bench_function("mix-minus 960", |b| {
        b.iter(|| mix_minus(black_box(&total), black_box(&voice), black_box(&mut heard)));
    });
    group.bench_function("ramp 960", |b| b.iter(|| ramp(black_box(&mut heard), 1.0, 1.0)));
}

criterion_group! {
    name = dsp;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = resample, limit, mix
}
criterion_main!(dsp);
