//! One packet in and one tick out, on a clean network, under jitter, with loss, and while the delay is lowered.

mod thread_time;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mixminus::codec::{Codec, Decoder};
use mixminus::frame::{FRAME_SAMPLES_MAX, Rate};
use mixminus::jitter::{Content, Playout, PlayoutConfig};
use mixminus::time::Time;

use thread_time::ThreadTime;

/// A leg whose packets of 20 ms all arrive between two ticks, but for those lost.
struct Leg {
    playout: Playout,
    decoders: [Decoder; 1],
    payload: Vec<u8>,
    packet: u64,
    /// Packets come up to so much later.
    jitter_ms: u64,
    pcm: [f32; FRAME_SAMPLES_MAX],
}

impl Leg {
    fn new(codec: Codec) -> Leg {
        let bytes = if codec == Codec::Pcmu { 1 } else { 2 } * codec.rate().samples_per_tick();
        Leg {
            playout: Playout::new(PlayoutConfig::new(&[codec])),
            decoders: [Decoder::new(codec).expect("a codec that needs no library")],
            payload: (0..bytes).map(|n| (n * 7 % 128) as u8).collect(),
            packet: 0,
            jitter_ms: 0,
            pcm: [0.0; FRAME_SAMPLES_MAX],
        }
    }

    fn insert(&mut self) {
        let late_ms = self.packet * 7_919 % (self.jitter_ms + 1);
        let arrival = Time::from_millis(20 * self.packet + 7 + late_ms);
        let timestamp = self.packet as u32 * self.decoders[0].codec().rate().samples_per_tick() as u32;
        self.payload[3] = self.packet as u8;
        let taken = self.playout.insert(
            arrival,
            Content::Sound(0),
            1,
            self.packet as u16,
            timestamp,
            black_box(&self.payload),
        );
        debug_assert_eq!(taken, Ok(()));
        self.packet += 1;
    }

    fn pull(&mut self) {
        let now = Time::from_millis(20 * self.packet + self.jitter_ms);
        black_box(self.playout.pull(now, &mut self.decoders, &mut self.pcm));
    }
}

fn playout(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("playout_20ms");
    for (name, codec) in [
        ("pcmu", Codec::Pcmu),
        ("l16_8k", Codec::L16(Rate::Hz8000)),
        ("l16_16k", Codec::L16(Rate::Hz16000)),
    ] {
        let mut leg = Leg::new(codec);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                leg.insert();
                leg.pull();
            });
        });
    }
    let mut leg = Leg::new(Codec::Pcmu);
    leg.jitter_ms = 40;
    group.bench_function("pcmu_jitter_40_ms", |bencher| {
        bencher.iter(|| {
            leg.insert();
            leg.pull();
        });
    });
    let mut leg = Leg::new(Codec::Pcmu);
    group.bench_function("pcmu_every_tenth_lost", |bencher| {
        bencher.iter(|| {
            if leg.packet % 10 == 9 {
                leg.packet += 1;
            } else {
                leg.insert();
            }
            leg.pull();
        });
    });
    group.bench_function("pcmu_300_ms_waiting", |bencher| {
        let mut leg = Leg::new(Codec::Pcmu);
        leg.playout.set_max_delay(Duration::from_millis(300));
        bencher.iter(|| {
            // Two packets a tick: always at the bound, dropping and shortening.
            leg.insert();
            leg.insert();
            leg.pull();
        });
    });
    group.finish();
}

criterion_group!(name = benches; config = thread_time::criterion(); targets = playout);
criterion_main!(benches);
