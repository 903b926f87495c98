//! Tables for playout: arrivals in, sound out, on a virtual clock. The voice is a function of its position, so what is
//! heard tells by itself which moment of it is played, and hence the delay.

use super::*;
use crate::codec::{Codec, Decoder, Encoder, Encoding};
use crate::frame::{FRAME_SAMPLES_MAX, Rate};
use crate::time::{TICK, Time};
use std::time::Duration;

const L16: Codec = Codec::L16(Rate::Hz8000);
const SSRC: u32 = 0xfeed;

/// A voice at 140 Hz that swells and fades, with a little breath, at 8 kHz.
fn voice(n: u64) -> f32 {
    let at = n as f32 / 8_000.0;
    let swell = 0.6 + 0.4 * (std::f32::consts::TAU * 1.7 * at).sin();
    let phase = (n % 8_000) as f32 / 8_000.0 * 140.0 * std::f32::consts::TAU;
    let breath = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1u32 << 24) as f32 - 0.5;
    0.3 * swell * (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (5.0 * phase).sin()) + 0.01 * breath
}

fn linear(sample: f32) -> [u8; 2] {
    ((sample * 32_768.0) as i16).to_be_bytes()
}

#[derive(Debug, Clone)]
struct Sent {
    arrival_us: u64,
    format: u8,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

/// A sender of linear 16 bit; each packet leaves when its last sample has been spoken.
struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Position in the voice, which is also the time in samples.
    spoken: u64,
    /// Microseconds of real time for each millisecond of the sender's.
    ms_us: f64,
    sent: Vec<Sent>,
}

impl Sender {
    fn new() -> Sender {
        Sender {
            ssrc: SSRC,
            sequence: 65_500,
            timestamp: u32::MAX - 40_000,
            spoken: 0,
            ms_us: 1_000.0,
            sent: vec![],
        }
    }

    fn say(&mut self, packets: usize, ptime_ms: u64) -> &mut Sender {
        for _ in 0..packets {
            let samples = ptime_ms * 8;
            let payload = (self.spoken..self.spoken + samples)
                .flat_map(|n| linear(voice(n)))
                .collect();
            self.spoken += samples;
            let arrival_us = (self.spoken as f64 / 8.0 * self.ms_us) as u64;
            let (ssrc, sequence, timestamp) = (self.ssrc, self.sequence, self.timestamp);
            self.sent.push(Sent {
                arrival_us,
                format: 0,
                ssrc,
                sequence,
                timestamp,
                payload,
            });
            self.sequence = self.sequence.wrapping_add(1);
            self.timestamp = self.timestamp.wrapping_add(samples as u32);
        }
        self
    }

    /// Says nothing for a while, as a sender that suppresses silence.
    fn pause(&mut self, ms: u64) -> &mut Sender {
        self.spoken += ms * 8;
        self.timestamp = self.timestamp.wrapping_add(ms as u32 * 8);
        self
    }

    /// Talks in packets of 20 ms.
    fn talk(ms: u64) -> Sender {
        let mut sender = Sender::new();
        sender.say(ms as usize / 20, 20);
        sender
    }

    fn delayed(mut self, delay_us: impl Fn(usize) -> u64) -> Sender {
        self.sent
            .iter_mut()
            .enumerate()
            .for_each(|(n, sent)| sent.arrival_us += delay_us(n));
        self
    }

    fn without(mut self, lost: impl Fn(usize) -> bool) -> Sender {
        let mut n = 0;
        self.sent.retain(|_| {
            n += 1;
            !lost(n - 1)
        });
        self
    }
}

/// A leg's playout under a clock of its own. Ticks fall 7 ms after the packets of a punctual sender.
struct Line {
    playout: Playout,
    decoders: Vec<Decoder>,
    now_us: u64,
    heard: Vec<f32>,
    ticks: Vec<Heard>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    rate: Rate,
    kind: PlayedKind,
    stats: PlayoutStats,
}

const PHASE_US: u64 = 7_000;

impl Line {
    fn new(codecs: &[Codec]) -> Line {
        Line {
            playout: Playout::new(PlayoutConfig::new(codecs)),
            decoders: codecs.iter().map(|codec| Decoder::new(*codec).unwrap()).collect(),
            now_us: PHASE_US,
            heard: vec![],
            ticks: vec![],
        }
    }

    fn tick(&mut self) {
        let mut pcm = [f32::NAN; FRAME_SAMPLES_MAX];
        let played = self.playout.pull(
            Time::from_nanos(self.now_us * 1_000),
            &mut self.decoders,
            &mut pcm,
        );
        let pcm = &pcm[..played.rate.samples_per_tick()];
        if played.kind == PlayedKind::Silence {
            assert!(pcm.iter().all(|sample| *sample == 0.0));
        }
        assert!(
            pcm.iter().all(|sample| sample.abs() <= 2.0),
            "at {} us",
            self.now_us
        );
        self.heard.extend_from_slice(pcm);
        self.ticks.push(Heard {
            rate: played.rate,
            kind: played.kind,
            stats: *self.playout.stats(),
        });
        self.now_us += TICK.as_micros() as u64;
    }

    fn insert(&mut self, sent: &Sent) -> Result<(), Discard> {
        let arrival = Time::from_nanos(sent.arrival_us * 1_000);
        let Sent {
            format,
            ssrc,
            sequence,
            timestamp,
            ref payload,
            ..
        } = *sent;
        self.playout
            .insert(arrival, format, ssrc, sequence, timestamp, payload)
    }

    /// Plays all of it, and two ticks more.
    fn play(&mut self, mut sent: Vec<Sent>) {
        sent.sort_by_key(|sent| sent.arrival_us);
        let end_us = sent.last().map_or(0, |sent| sent.arrival_us) + 40_000;
        let mut sent = sent.into_iter().peekable();
        while self.now_us < end_us {
            while let Some(next) = sent.next_if(|next| next.arrival_us <= self.now_us) {
                let _ = self.insert(&next);
            }
            self.tick();
        }
    }

    fn heard(sender: Sender) -> Line {
        let mut line = Line::new(&[L16]);
        line.play(sender.sent);
        line
    }

    fn stats(&self) -> PlayoutStats {
        *self.playout.stats()
    }

    fn settled_within(&self, ms: std::ops::Range<u64>) -> Vec<f32> {
        let ticks = &self.ticks[(ms.start / 20) as usize..(ms.end / 20) as usize];
        let mut delays: Vec<f32> = ticks.iter().map(|tick| tick.stats.delay_ms).collect();
        delays.sort_by(f32::total_cmp);
        delays
    }

    /// What moment of the voice the 10 ms from `at_ms` on hold, exactly; none where they are made up or altered.
    fn position(&self, at_ms: usize) -> Option<u64> {
        let heard = &self.heard[at_ms * 8..at_ms * 8 + 80];
        let latest = (at_ms as u64 + 20) * 8;
        (latest.saturating_sub(6_000)..latest).find(|from| {
            (*from..)
                .zip(heard)
                .all(|(n, heard)| (voice(n) - heard).abs() < 1.0 / 16_000.0)
        })
    }

    /// From being spoken to being heard, in milliseconds.
    fn delay_at(&self, at_ms: usize) -> Option<f32> {
        let played_us = PHASE_US as f32 + at_ms as f32 * 1_000.0;
        self.position(at_ms)
            .map(|from| played_us / 1_000.0 - from as f32 / 8.0)
    }
}

/// A packet of 20 ms is whole 20 ms after its first sample, and the tick 7 ms later.
const CLEAN_DELAY_MS: f32 = 27.0;

#[test]
fn the_voice_is_heard_whole_and_at_the_first_tick_after_each_packet() {
    let line = Line::heard(Sender::talk(2_000));
    assert_eq!(line.ticks[0].kind, PlayedKind::Silence);
    // The first 4 ms are faded in.
    let said: Vec<f32> = (32..15_000).map(voice).collect();
    let heard = &line.heard[160 + 32..160 + 15_000];
    assert!(
        said.iter()
            .zip(heard)
            .all(|(said, heard)| (said - heard).abs() < 1.0 / 16_000.0)
    );
    assert_eq!(line.delay_at(1_000), Some(CLEAN_DELAY_MS));
    assert_eq!(line.ticks[50].stats.delay_ms, 7.0);
}

/// One row: what happens on the way, and what becomes of it.
struct Row {
    name: &'static str,
    sender: fn() -> Sender,
    /// Delay of the last second, above that of a clean network: at least, at most.
    extra_delay_ms: (f32, f32),
    /// Milliseconds of sound made up: at least, at most.
    concealed_ms: (u64, u64),
    lost: u64,
    late: u64,
    duplicate: u64,
    overflow: u64,
    resyncs: u64,
}

const CLEAN: Row = Row {
    name: "clean",
    sender: || Sender::talk(5_000),
    extra_delay_ms: (0.0, 0.0),
    concealed_ms: (0, 0),
    lost: 0,
    late: 0,
    duplicate: 0,
    overflow: 0,
    resyncs: 0,
};

const ROWS: &[Row] = &[
    CLEAN,
    Row {
        name: "one packet lost",
        sender: || Sender::talk(5_000).without(|n| n == 100),
        concealed_ms: (20, 20),
        lost: 1,
        ..CLEAN
    },
    Row {
        name: "two packets lost",
        sender: || Sender::talk(5_000).without(|n| n / 2 == 50),
        concealed_ms: (40, 40),
        lost: 2,
        ..CLEAN
    },
    Row {
        name: "five packets lost",
        sender: || Sender::talk(5_000).without(|n| n / 5 == 20),
        concealed_ms: (100, 100),
        lost: 5,
        ..CLEAN
    },
    Row {
        name: "every tenth packet lost",
        sender: || Sender::talk(5_000).without(|n| n % 10 == 9),
        concealed_ms: (24 * 20, 24 * 20),
        lost: 24,
        ..CLEAN
    },
    Row {
        name: "neighbours swapped, both in time",
        sender: || Sender::talk(5_000).delayed(|n| if n % 20 == 10 { 21_000 } else { 0 }),
        extra_delay_ms: (0.0, 25.0),
        concealed_ms: (20, 40),
        ..CLEAN
    },
    Row {
        name: "each packet twice",
        sender: || {
            let mut sender = Sender::talk(5_000);
            sender.sent = sender
                .sent
                .into_iter()
                .flat_map(|sent| [sent.clone(), sent])
                .collect();
            sender
        },
        duplicate: 250,
        ..CLEAN
    },
    Row {
        name: "one packet 5 ms late, still before its tick",
        sender: || Sender::talk(5_000).delayed(|n| if n == 100 { 5_000 } else { 0 }),
        ..CLEAN
    },
    Row {
        name: "one packet 10 ms late, after its tick",
        sender: || Sender::talk(5_000).delayed(|n| if n == 50 { 10_000 } else { 0 }),
        extra_delay_ms: (0.0, 7.5),
        concealed_ms: (20, 20),
        ..CLEAN
    },
    Row {
        name: "one packet so late that others have been played",
        sender: || Sender::talk(5_000).delayed(|n| if n == 100 { 90_000 } else { 0 }),
        concealed_ms: (20, 20),
        lost: 1,
        late: 1,
        ..CLEAN
    },
    Row {
        name: "a burst after 200 ms of nothing",
        sender: || {
            Sender::talk(8_000).delayed(|n| {
                if (100..110).contains(&n) {
                    (110 - n as u64) * 20_000
                } else {
                    0
                }
            })
        },
        extra_delay_ms: (0.0, 20.0),
        concealed_ms: (120, 220),
        ..CLEAN
    },
    Row {
        name: "packet time 10, 20, 60, 20",
        sender: || {
            let mut sender = Sender::new();
            sender.say(100, 10).say(100, 20).say(50, 60).say(400, 20);
            sender
        },
        extra_delay_ms: (0.0, 7.5),
        concealed_ms: (20, 80),
        ..CLEAN
    },
    Row {
        name: "packet time from 20 down to 10",
        sender: || {
            let mut sender = Sender::new();
            sender.say(100, 20).say(500, 10);
            sender
        },
        extra_delay_ms: (-10.0, 0.0),
        ..CLEAN
    },
    Row {
        name: "talk spurts with pauses of 200 to 900 ms",
        sender: || {
            let mut sender = Sender::new();
            for pause in 2..10 {
                sender.say(20, 20).pause(pause * 100);
            }
            sender.say(60, 20);
            sender
        },
        ..CLEAN
    },
    Row {
        name: "a timestamp jump of an hour ahead",
        sender: || jumping(0, 28_800_000),
        ..CLEAN
    },
    Row {
        name: "a timestamp jump of 2^31",
        sender: || jumping(0, 1 << 31),
        ..CLEAN
    },
    Row {
        name: "a timestamp jump of an hour back",
        sender: || jumping(0, 28_800_000u32.wrapping_neg()),
        ..CLEAN
    },
    Row {
        name: "a timestamp that stands still",
        sender: || {
            let mut sender = Sender::talk(5_000);
            sender.sent.iter_mut().for_each(|sent| sent.timestamp = 7);
            sender
        },
        ..CLEAN
    },
    Row {
        name: "timestamps of a 48 kHz clock",
        sender: || {
            let mut sender = Sender::talk(5_000);
            sender
                .sent
                .iter_mut()
                .for_each(|sent| sent.timestamp = sent.timestamp.wrapping_mul(6));
            sender
        },
        ..CLEAN
    },
    Row {
        name: "timestamps of a clock six times too slow",
        sender: || {
            let mut sender = Sender::talk(5_000);
            let first = sender.sent[0].timestamp;
            sender
                .sent
                .iter_mut()
                .for_each(|sent| sent.timestamp = sent.timestamp.wrapping_sub(first) / 6);
            sender
        },
        ..CLEAN
    },
    Row {
        name: "a sequence jump ahead by 1000",
        sender: || jumping(1_000, 0),
        extra_delay_ms: (0.0, 20.0),
        resyncs: 1,
        ..CLEAN
    },
    Row {
        name: "a sequence jump back by 1000",
        sender: || jumping(1_000u16.wrapping_neg(), 0),
        extra_delay_ms: (0.0, 20.0),
        resyncs: 1,
        ..CLEAN
    },
    Row {
        name: "a sequence jump by 32768 and another timestamp",
        sender: || jumping(32_768, 99_999_999),
        extra_delay_ms: (0.0, 20.0),
        resyncs: 1,
        ..CLEAN
    },
    Row {
        name: "a sender that begins again 20 numbers back",
        sender: || jumping(20u16.wrapping_neg(), 3_200u32.wrapping_neg()),
        duplicate: 2,
        resyncs: 1,
        ..CLEAN
    },
    Row {
        name: "another SSRC",
        sender: || {
            let mut sender = jumping(12_345, 99_999_999);
            sender.sent[100..].iter_mut().for_each(|sent| sent.ssrc = 0xbeef);
            sender
        },
        resyncs: 1,
        ..CLEAN
    },
    Row {
        name: "a stray packet of another SSRC now and then",
        sender: || {
            let mut sender = Sender::talk(5_000);
            for n in (10..240).step_by(30) {
                let sent = sender.sent[n].clone();
                sender.sent.push(Sent {
                    ssrc: n as u32,
                    sequence: 9,
                    arrival_us: sent.arrival_us + 3_000,
                    ..sent
                });
            }
            sender
        },
        ..CLEAN
    },
    Row {
        name: "a stray packet of 30 seconds ago",
        sender: || {
            let mut sender = Sender::talk(5_000);
            let sent = sender.sent[200].clone();
            sender.sent.push(Sent {
                sequence: sent.sequence.wrapping_sub(1_500),
                timestamp: 5,
                ..sent
            });
            sender
        },
        ..CLEAN
    },
];

/// From the hundredth packet on, sequence and timestamp are elsewhere.
fn jumping(sequence: u16, timestamp: u32) -> Sender {
    let mut sender = Sender::talk(5_000);
    for sent in &mut sender.sent[100..] {
        sent.sequence = sent.sequence.wrapping_add(sequence);
        sent.timestamp = sent.timestamp.wrapping_add(timestamp);
    }
    sender
}

#[test]
fn each_row_of_the_table_comes_out_as_it_says() {
    let mut wrong = vec![];
    for row in ROWS {
        let line = Line::heard((row.sender)());
        let stats = line.stats();
        let end_ms = line.heard.len() / 8;
        let delays: Vec<f32> = (end_ms - 1_000..end_ms - 60)
            .step_by(20)
            .filter_map(|at| line.delay_at(at))
            .collect();
        let extra = |delay: f32| delay - CLEAN_DELAY_MS;
        let least = delays.iter().copied().map(extra).fold(f32::MAX, f32::min);
        let most = delays.iter().copied().map(extra).fold(f32::MIN, f32::max);
        let concealed_ms = stats.concealed_samples / 8;
        println!(
            "{:50} extra delay {least:5.1}..{most:5.1} ms  concealed {concealed_ms} ms  accelerated {} ms",
            row.name,
            stats.accelerated_samples / 8
        );
        let counters = [
            stats.lost_packets,
            stats.late,
            stats.duplicate,
            stats.overflow,
            stats.resyncs,
        ];
        let right = delays.len() > 30
            && least >= row.extra_delay_ms.0
            && most <= row.extra_delay_ms.1
            && (row.concealed_ms.0..=row.concealed_ms.1).contains(&concealed_ms)
            && counters == [row.lost, row.late, row.duplicate, row.overflow, row.resyncs];
        if !right {
            wrong.push(format!(
                "{}: delays {}, counters {counters:?}",
                row.name,
                delays.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A delay for each packet, the same on each run: uniform, in microseconds.
fn uniform(seed: u64, most_us: u64) -> impl Fn(usize) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let delays: Vec<u64> = (0..30_011).map(|_| random.u64(0..=most_us)).collect();
    move |n| delays[n % delays.len()]
}

fn quantile(sorted: &[f32], share: f32) -> f32 {
    sorted[((sorted.len() - 1) as f32 * share) as usize]
}

#[test]
fn jitter_of_40_ms_is_met_by_a_delay_of_70_and_hardly_ever_heard() {
    for seed in 1..=5 {
        let mut sender = Sender::talk(60_000);
        sender.sequence = 0;
        let line = Line::heard(sender.delayed(uniform(seed, 40_000)));
        let delays = line.settled_within(5_000..59_000);
        let early = line.ticks[250].stats;
        let concealed = line.stats().concealed_samples - early.concealed_samples;
        let share = concealed as f32 / (55.0 * 8_000.0);
        println!(
            "jitter 0-40 ms, seed {seed}: delay p50 {:.1} p99 {:.1} ms, target {:.0}, concealed {:.2} % (first 5 s {} ms), accelerated {} ms, late {}",
            quantile(&delays, 0.5),
            quantile(&delays, 0.99),
            line.stats().target_delay_ms,
            100.0 * share,
            early.concealed_samples / 8,
            line.stats().accelerated_samples / 8,
            line.stats().late,
        );
        assert!(quantile(&delays, 0.5) <= 70.0);
        assert!(quantile(&delays, 0.99) <= 90.0);
        assert!(share < 0.01, "{share}");
        assert!((30.0..=45.0).contains(&line.stats().target_delay_ms));
    }
}

#[test]
fn after_a_spike_of_300_ms_the_delay_is_back_within_5_seconds() {
    // 300 ms of the path's queue: what came in it arrives at once.
    let spike = |n: usize| {
        if (500..515).contains(&n) {
            (515 - n as u64) * 20_000
        } else {
            0
        }
    };
    let line = Line::heard(Sender::talk(20_000).delayed(spike));
    let end_of_spike_ms = 10_320;
    let highest = quantile(&line.settled_within(10_000..11_000), 1.0);
    let back = line
        .ticks
        .iter()
        .enumerate()
        .skip(end_of_spike_ms / 20 + 10)
        .find(|(_, tick)| tick.stats.delay_ms <= tick.stats.target_delay_ms.max(7.0) + 20.0);
    let (tick, _) = back.unwrap();
    let end = line.stats();
    println!(
        "spike 300 ms: highest {highest:.0} ms, back after {:.1} s, at the end {:.1} ms, target {:.0} ms",
        tick as f32 * 0.02 - 10.32,
        end.delay_ms,
        end.target_delay_ms
    );
    assert!(highest > 250.0, "nothing was thrown away: {highest}");
    assert!(tick * 20 - end_of_spike_ms <= 5_000);
    assert!(
        line.settled_within(16_000..19_900)
            .iter()
            .all(|delay| *delay <= 27.5)
    );
    assert_eq!((end.overflow, end.lost_packets), (0, 0));
}

#[test]
fn a_clock_300_ppm_off_costs_a_stretch_now_and_then_and_no_delay() {
    for ppm in [-300.0, -200.0, 200.0, 300.0] {
        let mut sender = Sender::new();
        sender.ms_us = 1_000.0 - ppm / 1_000.0;
        sender.say(30_000, 20);
        // A path is never quite still.
        let line = Line::heard(sender.delayed(uniform(9, 500)));
        let delays = line.settled_within(1_000..599_000);
        let stats = line.stats();
        let mut operations = 0;
        for pair in line.ticks.windows(2) {
            let cost = |tick: &Heard| tick.stats.concealed_samples + tick.stats.accelerated_samples;
            operations += usize::from(cost(&pair[1]) > cost(&pair[0]));
        }
        println!(
            "drift {ppm:+} ppm, 10 min: delay p50 {:.1} max {:.1} ms, {operations} operations, concealed {} ms, accelerated {} ms",
            quantile(&delays, 0.5),
            quantile(&delays, 1.0),
            stats.concealed_samples / 8,
            stats.accelerated_samples / 8
        );
        assert!(quantile(&delays, 1.0) <= 45.0);
        assert!(operations <= 120, "one in five seconds");
        assert_eq!((stats.overflow, stats.late, stats.lost_packets), (0, 0, 0));
        assert!(stats.concealed_samples / 8 <= 40 * 20);
    }
}

#[test]
fn what_exceeds_the_greatest_delay_is_dropped_oldest_first() {
    for (max_ms, outage) in [(100, 50), (300, 50), (480, 200)] {
        let spike = move |n: usize| {
            if n < outage {
                (outage - n) as u64 * 20_000
            } else {
                0
            }
        };
        let mut line = Line::new(&[L16]);
        line.playout.set_max_delay(Duration::from_millis(max_ms));
        line.play(Sender::talk(20_000).delayed(spike).sent);
        let highest = line
            .ticks
            .iter()
            .map(|tick| tick.stats.delay_ms)
            .fold(0.0, f32::max);
        assert!(highest <= max_ms as f32 + 7.0, "{highest} of {max_ms}");
        let stats = line.stats();
        assert!(
            stats.overflow as usize >= outage - max_ms as usize / 20 - 1,
            "{stats:?}"
        );
        assert_eq!(stats.lost_packets, 0);
        assert!(
            line.settled_within(8_000..19_000)
                .iter()
                .all(|delay| *delay <= 27.5)
        );
    }
}

#[test]
fn a_voice_that_stops_fades_out_and_is_silence_after_120_ms() {
    let mut line = Line::heard(Sender::talk(1_000));
    let spoken = line.ticks.len() - 1;
    for _ in 0..50 {
        line.tick();
    }
    let kinds: Vec<PlayedKind> = line.ticks[spoken - 1..].iter().map(|tick| tick.kind).collect();
    let voiced = kinds
        .iter()
        .take_while(|kind| **kind == PlayedKind::Voice)
        .count();
    assert!((6..=8).contains(&voiced), "{voiced}");
    assert!(kinds[voiced..].iter().all(|kind| *kind == PlayedKind::Silence));
    assert_eq!(
        line.stats().concealed_samples,
        0,
        "the end of a talk spurt is no loss"
    );
}

#[test]
fn neither_loss_nor_lateness_nor_a_pause_nor_shortening_clicks() {
    let steepest = |samples: &[f32]| {
        samples
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max)
    };
    let alone = steepest(&(0..80_000).map(voice).collect::<Vec<_>>());
    let mut pauses = Sender::new();
    for _ in 0..20 {
        pauses.say(21, 20).pause(140);
    }
    let senders = [
        ("loss", Sender::talk(10_000).without(|n| n % 13 == 5)),
        ("long loss", Sender::talk(10_000).without(|n| n % 30 > 20)),
        ("pauses", pauses),
    ];
    let jittery = (0..30).map(|seed| {
        (
            "jitter",
            Sender::talk(10_000).delayed(uniform(seed, 20_000 * (1 + seed % 5))),
        )
    });
    for (name, sender) in senders.into_iter().chain(jittery) {
        let line = Line::heard(sender);
        let heard = steepest(&line.heard);
        println!("steepest step: voice {alone:.3}, with {name} {heard:.3}");
        assert!(heard < 1.6 * alone, "{name}: {heard} against {alone}");
    }
}

#[test]
fn a_known_pause_is_silence_and_no_loss() {
    // The delay is large, so the packet after the pause is there before the pause is over.
    let mut sender = Sender::new();
    sender.say(30, 20).pause(60).say(30, 20);
    let burst = |n: usize| if n < 10 { (10 - n as u64) * 20_000 } else { 0 };
    let line = Line::heard(sender.delayed(burst));
    assert_eq!(line.stats().concealed_samples, 0);
    assert!(
        line.ticks[15..45]
            .iter()
            .any(|tick| tick.kind == PlayedKind::Silence)
    );
}

#[test]
fn another_ssrc_is_heard_within_100_ms_at_any_packet_time_and_the_former_does_not_take_it_back() {
    for ptime_ms in [10, 20, 40, 60] {
        for overlap in [false, true] {
            let mut line = Line::new(&[L16]);
            let mut old = Sender::new();
            old.say(1_200 / ptime_ms as usize, ptime_ms);
            let mut new = Sender::new();
            (new.ssrc, new.sequence, new.timestamp) = (0xbeef, 3, 3);
            new.pause(1_200).say(2_400 / ptime_ms as usize, ptime_ms);
            let switched_ms = 1_200 + ptime_ms;
            if overlap {
                old.say(1_200 / ptime_ms as usize, ptime_ms);
            }
            line.play([old.sent, new.sent].concat());
            let heard = (1_200..1_400)
                .step_by(2)
                .find(|at| line.position(*at + 6).is_some_and(|from| from > 9_600));
            // Both say the same thing here, so ask the counters too.
            assert!(
                heard.is_some_and(|at| at as u64 <= switched_ms + 100),
                "{ptime_ms}: {heard:?}"
            );
            assert_eq!(line.stats().resyncs, 1, "{ptime_ms} {overlap}");
            assert_eq!(line.playout.stream.unwrap().ssrc, 0xbeef);
        }
    }
}

#[test]
fn formats_may_change_from_packet_to_packet_at_equal_and_at_other_rates() {
    let wide = Codec::L16(Rate::Hz16000);
    let mut line = Line::new(&[Codec::Pcmu, Codec::Pcma, wide]);
    let mut encoders: Vec<Encoder> = [Codec::Pcmu, Codec::Pcma, wide]
        .map(|codec| {
            Encoder::new(Encoding {
                codec,
                ptime_ms: 20,
                bitrate: 32_000,
                complexity: 5,
            })
            .unwrap()
        })
        .into();
    let mut timestamp = 0u32;
    let mut sent = vec![];
    for n in 0..300u64 {
        let format = (n / 50 % 3) as usize;
        let rate = encoders[format].encoding().codec.rate();
        let pcm: Vec<f32> = (0..rate.samples_per_tick())
            .map(|k| (k as f32 * 0.1).sin() * 0.4)
            .collect();
        let mut payload = vec![0; 5_760];
        let length = encoders[format].encode(&pcm, &mut payload);
        payload.truncate(length);
        let arrival_us = n * 20_000;
        sent.push(Sent {
            arrival_us,
            format: format as u8,
            ssrc: 1,
            sequence: n as u16,
            timestamp,
            payload,
        });
        timestamp = timestamp.wrapping_add(rate.samples_per_tick() as u32);
    }
    line.play(sent);
    for (n, tick) in line.ticks[1..300].iter().enumerate() {
        assert_eq!(tick.kind, PlayedKind::Voice, "tick {n}");
        let expected = if (n + 1) / 50 % 3 == 2 {
            Rate::Hz16000
        } else {
            Rate::Hz8000
        };
        assert_eq!(tick.rate, expected, "tick {n}");
    }
    let stats = line.stats();
    assert_eq!(
        (stats.played_packets, stats.concealed_samples, stats.resyncs),
        (300, 0, 0)
    );
}

#[test]
fn opus_is_played_concealed_by_itself_and_silent_in_its_pauses() {
    for rate in Rate::ALL {
        let codec = Codec::Opus(rate);
        let mut encoder = Encoder::new(Encoding {
            codec,
            ptime_ms: 20,
            bitrate: 32_000,
            complexity: 5,
        })
        .unwrap();
        let mut sent = vec![];
        for n in 0..200u64 {
            let pcm: Vec<f32> = (0..rate.samples_per_tick() as u64)
                .map(|k| voice((n * 160) + k * 8_000 / u64::from(rate.hz())))
                .collect();
            let mut payload = vec![0; 1_275];
            let length = encoder.encode(&pcm, &mut payload);
            payload.truncate(length);
            if n == 150 {
                payload.truncate(1); // a pause is announced
            }
            let (sequence, timestamp) = (n as u16, n as u32 * 960);
            sent.push(Sent {
                arrival_us: n * 20_000,
                format: 0,
                ssrc: 1,
                sequence,
                timestamp,
                payload,
            });
        }
        sent.retain(|sent| !(50..52).contains(&sent.sequence) && !(151..170).contains(&sent.sequence));
        for sent in &mut sent {
            sent.sequence -= if sent.sequence >= 170 { 19 } else { 0 };
        }
        let mut line = Line::new(&[codec]);
        line.play(sent);
        let stats = line.stats();
        assert_eq!(stats.lost_packets, 2);
        assert_eq!(
            stats.concealed_samples,
            40 * rate.samples_per_ms() as u64,
            "{rate:?}"
        );
        assert_eq!(stats.delay_ms, 7.0);
        let level = |tick: usize| {
            let samples = rate.samples_per_tick();
            line.heard[tick * samples..(tick + 1) * samples]
                .iter()
                .map(|sample| sample * sample)
                .sum::<f32>()
        };
        assert!(
            level(50) > 0.1 * level(48),
            "{rate:?}: {} after {}",
            level(50),
            level(48)
        );
        assert!(
            line.ticks[153..168]
                .iter()
                .all(|tick| tick.kind == PlayedKind::Silence)
        );
        assert_eq!(line.ticks[175].kind, PlayedKind::Voice);
    }
}

#[test]
fn after_a_flush_nothing_old_is_heard() {
    let mut line = Line::heard(Sender::talk(1_000).delayed(|n| if n < 10 { 200_000 } else { 0 }));
    line.playout.flush();
    for _ in 0..20 {
        line.tick();
        assert_eq!(line.ticks.last().map(|tick| tick.kind), Some(PlayedKind::Silence));
    }
    let mut again = Sender::new();
    again.pause(2_000).say(50, 20);
    line.play(again.sent);
    assert_eq!(line.ticks.last().map(|tick| tick.kind), Some(PlayedKind::Voice));
}

#[test]
fn unfit_packets_are_refused_by_name_and_undecodable_ones_are_concealed() {
    let mut line = Line::new(&[Codec::Pcmu, L16]);
    let at = Time::ZERO;
    let slot = 960;
    assert_eq!(
        line.playout.insert(at, 2, 1, 0, 0, &[0; 160]),
        Err(Discard::UnknownFormat)
    );
    assert_eq!(
        line.playout.insert(at, 0, 1, 0, 0, &vec![0; slot + 1]),
        Err(Discard::TooLarge)
    );
    assert_eq!(line.playout.insert(at, 1, 1, 0, 0, &[0; 320]), Ok(()));
    assert_eq!(line.playout.insert(at, 1, 1, 1, 160, &[0; 319]), Ok(()));
    assert_eq!(line.playout.insert(at, 1, 1, 2, 320, &[]), Ok(()));
    assert_eq!(line.playout.insert(at, 1, 1, 3, 480, &[0; 320]), Ok(()));
    for _ in 0..5 {
        line.tick();
    }
    let stats = line.stats();
    assert_eq!(
        (stats.unknown_format, stats.too_large, stats.undecodable),
        (1, 1, 2)
    );
    assert_eq!((stats.received_packets, stats.played_packets), (6, 2));
    assert_eq!(stats.concealed_samples, 320);
}

/// Any fields whatever, on a clock of up to year ten: no panic, no sound that is not a number (`tick` looks), no more
/// in hand than the bound and a packet, every packet accounted for.
#[test]
fn whatever_arrives_playout_stays_within_its_bounds() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let codecs = [
            Codec::Pcmu,
            L16,
            Codec::Opus(Rate::Hz16000),
            Codec::L16(Rate::Hz48000),
        ];
        let mut line = Line::new(&codecs[..1 + seed as usize % 4]);
        if seed % 3 == 0 {
            line.now_us = 10 * 365 * 86_400 * 1_000_000;
        }
        let (mut ssrc, mut sequence, mut timestamp) = (1u32, random.u16(..), random.u32(..));
        for round in 0..4_000 {
            let burst = if random.u8(..) < 3 {
                200
            } else {
                random.usize(0..3)
            };
            for _ in 0..burst {
                match random.u8(..) {
                    0..3 => ssrc = random.u32(0..4),
                    3..6 => sequence = random.u16(..),
                    6..9 => timestamp = random.u32(..),
                    9..12 => timestamp = timestamp.wrapping_sub(random.u32(0..100_000)),
                    12..40 => sequence = sequence.wrapping_add(random.u16(0..5)).wrapping_sub(2),
                    40..50 => timestamp = timestamp.wrapping_add(random.u32(0..100_000)),
                    _ => {}
                }
                sequence = sequence.wrapping_add(1);
                timestamp = timestamp.wrapping_add(160);
                let length = match random.u8(..) {
                    0..10 => random.usize(0..2_000),
                    10..20 => random.usize(0..4),
                    _ => 160,
                };
                let mut payload = vec![0; length];
                random.fill(&mut payload);
                let arrival_us = match random.u8(..) {
                    0 => line.now_us + random.u64(..) / 1_000_000,
                    _ => line.now_us.saturating_sub(random.u64(0..30_000)),
                };
                let format = if random.u8(..) < 250 { 0 } else { random.u8(0..5) };
                let _ = line.insert(&Sent {
                    arrival_us,
                    format,
                    ssrc,
                    sequence,
                    timestamp,
                    payload,
                });
            }
            if random.u16(..) < 20 {
                line.playout.flush();
            }
            if random.u16(..) < 20 {
                line.playout
                    .set_max_delay(Duration::from_millis(random.u64(0..1_000)));
            }
            line.tick();
            line.heard.clear();
            line.ticks.clear();
            let playout = &line.playout;
            for packet in playout.packets.iter() {
                let age = Time::from_nanos(line.now_us * 1_000).since(packet.arrival);
                assert!(
                    age <= DELAY_MAX + Duration::from_millis(200),
                    "seed {seed} round {round}: {age:?}"
                );
            }
            let stats = line.stats();
            assert!(stats.delay_ms.is_finite() && stats.jitter_ms.is_finite());
            let ended = stats.played_packets
                + stats.late
                + stats.duplicate
                + stats.overflow
                + stats.too_large
                + stats.unknown_format
                + stats.undecodable
                + stats.abandoned;
            let waiting = playout.packets.len() + usize::from(playout.packets.aside().is_some());
            assert_eq!(
                stats.received_packets,
                ended + waiting as u64,
                "seed {seed} round {round}: {stats:?}"
            );
        }
        assert!(
            line.stats().played_packets > 500,
            "seed {seed}: {:?}",
            line.stats()
        );
    }
}
