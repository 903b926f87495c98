//! The files that recordings become: a second of speech, and an hour of silence, in each format.

mod thread_time;

use std::fs::OpenOptions;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use mixminus::frame::Rate;
use mixminus::record::image::{Format, Image};

use thread_time::ThreadTime;

const RATE: Rate = Rate::Hz16000;

/// In memory where the machine has it: not the disk is measured.
fn image(format: Format) -> Image {
    let dir = Path::new("/dev/shm");
    let dir = if dir.is_dir() {
        dir.to_owned()
    } else {
        std::env::temp_dir()
    };
    let path = dir.join(format!(
        "mixminus-bench-{}.{}",
        std::process::id(),
        format.extension()
    ));
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path);
    let file = file.expect("a writable directory");
    // Gone with its last handle.
    std::fs::remove_file(&path).expect("it was made just before");
    Image::create(&path, file, format, RATE, 1).expect("room for a header")
}

/// Four seconds of syllables of a gliding buzz, with noise between them as a room has it.
fn voice() -> Vec<i16> {
    let mut chance = fastrand::Rng::with_seed(1);
    let mut phase = 0.0f32;
    (0..4 * RATE.hz())
        .map(|n| {
            let seconds = n as f32 / RATE.hz() as f32;
            phase += (110.0 + 30.0 * (2.1 * seconds).sin()) / RATE.hz() as f32;
            let syllable = (std::f32::consts::TAU * 3.0 * seconds).sin().max(0.0);
            let buzz: f32 = (1..20)
                .map(|h| (std::f32::consts::TAU * phase * h as f32).sin() / h as f32)
                .sum();
            (6_500.0 * syllable * buzz + 100.0 * (chance.f32() - 0.5)) as i16
        })
        .collect()
}

fn a_second_of_speech(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("image_second");
    let voice = voice();
    let mut seconds = voice.chunks(RATE.hz() as usize).cycle();
    for format in Format::ALL {
        let mut image = image(format);
        group.bench_function(format.extension(), |bencher| {
            bencher.iter(|| {
                // As the journal is rendered: in pieces of a tick, written each second.
                let second = seconds.next().expect("it goes round");
                for piece in second.chunks(RATE.samples_per_tick()) {
                    image.append(piece);
                }
                image.write().expect("room");
                image.publish().expect("room");
                if image.bytes() > 64 << 20 {
                    image = self::image(format);
                }
            });
        });
    }
    group.finish();
}

fn an_hour_of_silence(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("image_silent_hour");
    group.sample_size(10);
    for format in Format::ALL {
        group.bench_function(format.extension(), |bencher| {
            bencher.iter(|| {
                let mut image = image(format);
                for _ in 0..3_600 {
                    image.append_silence(u64::from(RATE.hz()));
                    image.write().expect("room");
                }
                image.bytes()
            });
        });
    }
    group.finish();
}

fn the_last_pass(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("image_last_pass");
    group.sample_size(10);
    let mut image = image(Format::Wav);
    for _ in 0..600 {
        image.append_silence(u64::from(RATE.hz()));
        image.write().expect("room");
    }
    group.bench_function("wav_ten_minutes", |bencher| {
        bencher.iter(|| image.finish().expect("as it was written"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = thread_time::criterion();
    targets = a_second_of_speech, an_hour_of_silence, the_last_pass
}
criterion_main!(benches);
