//! Arrivals that no sender makes.

use super::*;

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
                let clock_hz = [8_000, 16_000, 48_000][random.usize(0..3)];
                let content = match random.u8(..) {
                    0..230 => Content::Sound(0),
                    230..236 => Content::Sound(random.u8(0..5)),
                    236..246 => Content::ComfortNoise { clock_hz },
                    _ => Content::Event { clock_hz },
                };
                let _ = line.insert(&Sent {
                    arrival_us,
                    content,
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
                // A packet aside may wait for 200 ms before its stream is followed, and be held for 60 ms then.
                assert!(
                    age <= DELAY_MAX + Duration::from_millis(300),
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
