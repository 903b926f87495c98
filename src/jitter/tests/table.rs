//! One stream, one mishap a row.

use super::*;

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
        sender: || Sender::talk(10_000).delayed(|n| if n == 50 { 10_000 } else { 0 }),
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
        name: "three packets on a slower path, beside which others flow",
        sender: || {
            Sender::talk(5_000).delayed(|n| {
                if (100..103).contains(&n) {
                    150_000 - 19_000 * (n as u64 - 100)
                } else {
                    0
                }
            })
        },
        concealed_ms: (60, 60),
        lost: 3,
        late: 3,
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
        // What packets of 60 ms needed is not forgotten at once.
        extra_delay_ms: (0.0, 20.0),
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
