//! Senders that count oddly: in leaps, by the wrong clock, or in packets that change their length.

use super::network::uniform;
use super::*;
use crate::codec::ilbc::Mode;

/// Sound in packets of 20 ms, stamped by a clock that is `stamp` ticks where `clock` were right.
fn stamped(codec: Codec, packets: usize, stamp: u32, clock: u32) -> Vec<Sent> {
    let mut encoder = Encoder::new(Encoding {
        codec,
        ptime_ms: 20,
        bitrate: 32_000,
        complexity: 5,
        dtx: false,
        loss_percent: 0,
    })
    .unwrap();
    let rate = codec.rate();
    let step = encoder.encoding().packet_clock() * stamp / clock;
    (0..packets)
        .map(|n| {
            let pcm: Vec<f32> = (0..rate.samples_per_tick() as u64)
                .map(|k| voice(n as u64 * 160 + k * 8_000 / u64::from(rate.hz())))
                .collect();
            let mut payload = vec![0; 5_760];
            let mut bytes = 0;
            for frame in pcm.chunks_exact(encoder.frame_samples()) {
                bytes += encoder.encode(frame, &mut payload[bytes..]).bytes();
            }
            payload.truncate(bytes);
            Sent {
                arrival_us: (n as u64 + 1) * 20_000,
                content: Content::Sound(0),
                ssrc: SSRC,
                sequence: 65_000u16.wrapping_add(n as u16),
                timestamp: (n as u32).wrapping_mul(step).wrapping_sub(90_000),
                payload,
            }
        })
        .collect()
}

#[test]
fn sound_stamped_by_the_wrong_clock_is_heard_whole_and_without_delay() {
    for (codec, stamp, clock) in [
        (Codec::Pcmu, 2, 1),
        (Codec::Pcmu, 6, 1),
        (Codec::Pcma, 1, 2),
        (Codec::G722, 2, 1),
        (Codec::Opus(Rate::Hz16000), 1, 6),
        (Codec::Opus(Rate::Hz48000), 1, 3),
        (Codec::Ilbc(Mode::Ms20), 3, 2),
        (Codec::L16(Rate::Hz16000), 1, 2),
    ] {
        let mut line = Line::new(&[codec]);
        line.play(stamped(codec, 1_000, stamp, clock));
        let stats = line.stats();
        let name = format!("{codec:?} {stamp}:{clock}");
        assert_eq!(stats.reclocked, 1, "{name}");
        assert_eq!(
            (stats.concealed_samples, stats.stretches, stats.overflow),
            (0, 0, 0),
            "{name}"
        );
        assert!(
            line.ticks[1..1_000]
                .iter()
                .all(|tick| tick.kind == PlayedKind::Voice),
            "{name}"
        );
        let known = &line.ticks[6..];
        assert!(
            known.iter().all(|tick| tick.stats.target_delay_ms == 0.0),
            "{name}"
        );
        assert!(known.iter().all(|tick| tick.stats.delay_ms == 7.0), "{name}");
        assert_eq!(stats.operations[Operation::Normal as usize], 1_000, "{name}");
    }
}

#[test]
fn by_the_wrong_clock_jitter_loss_and_pauses_are_what_they_are_by_the_right_one() {
    for (stamp, clock) in [(1, 1), (2, 1), (1, 2), (6, 1)] {
        let delays = uniform(8, 40_000);
        let mut sent = stamped(Codec::Pcmu, 3_000, stamp, clock);
        for (n, sent) in sent.iter_mut().enumerate() {
            // After a minute a pause of 600 ms, which the timestamps tell of in their way.
            let pauses = u32::from(n >= 2_000);
            sent.arrival_us += delays(n) + 600_000 * u64::from(pauses);
            sent.timestamp = sent.timestamp.wrapping_add(pauses * 4_800 * stamp / clock);
        }
        let mut n = 0;
        sent.retain(|_| {
            n += 1;
            n % 100 != 60
        });
        let mut line = Line::new(&[Codec::Pcmu]);
        line.play(sent);
        let stats = line.stats();
        let late_ms = line.ticks[1_000..].iter().map(|tick| tick.stats.delay_ms);
        println!(
            "{stamp}:{clock}: delay at most {:.1} ms, target {:.0} ms, concealed {} ms",
            late_ms.clone().fold(0.0, f32::max),
            stats.target_delay_ms,
            stats.concealed_samples / 8
        );
        assert_eq!(stats.reclocked, u64::from(stamp != clock));
        assert!(late_ms.fold(0.0, f32::max) <= 75.0, "{stamp}:{clock}");
        assert!((30.0..=45.0).contains(&stats.target_delay_ms));
        assert_eq!(stats.lost_packets, 30);
        let concealed_ms = stats.concealed_samples / 8;
        assert!(
            (600..900).contains(&concealed_ms),
            "{stamp}:{clock}: {concealed_ms}"
        );
    }
}

#[test]
fn every_leap_is_followed_within_100_ms_of_sound_and_leaves_no_delay() {
    let hour = 28_800_000u32;
    for ptime_ms in [10, 20, 40, 60] {
        for (sequence, timestamp) in [
            (1_000u16, 0u32),
            (1_000, hour),
            (1_000u16.wrapping_neg(), 0),
            (1_000u16.wrapping_neg(), hour.wrapping_neg()),
            (32_768, 0),
            (32_768, 1 << 31),
            (32_767, hour),
            (0, hour),
            (0, hour.wrapping_neg()),
            (0, 1 << 31),
            (0, 400),
            (0, 4_000),
            (0, 400u32.wrapping_neg()),
            (0, 4_000u32.wrapping_neg()),
        ] {
            let mut sender = Sender::new();
            sender.say(3_000 / ptime_ms as usize, ptime_ms);
            let leaped_at = sender.spoken;
            sender.sequence = sender.sequence.wrapping_add(sequence);
            sender.timestamp = sender.timestamp.wrapping_add(timestamp);
            sender.say(6_000 / ptime_ms as usize, ptime_ms);
            let line = Line::heard(sender);
            let what = format!("{ptime_ms} ms, sequence {sequence}, timestamp {timestamp}");
            // The first sound from behind the leap could be heard at once when its packet is there.
            let there_ms = (leaped_at / 8) as usize + ptime_ms as usize;
            let heard = (there_ms - 100..there_ms + 300)
                .step_by(2)
                .find(|at| line.position(*at).is_some_and(|from| from >= leaped_at));
            assert!(heard.is_some_and(|at| at <= there_ms + 100), "{what}: {heard:?}");
            let (highest, end) = (line.stats().delay_ms_max, line.stats().delay_ms);
            assert!(highest <= 127.0, "{what}: {highest}");
            assert!(end <= 27.5, "{what}: {end}");
            assert!(
                line.ticks[line.ticks.len() - 50..]
                    .iter()
                    .all(|tick| tick.kind == PlayedKind::Voice)
            );
        }
    }
}

#[test]
fn a_second_of_sound_that_comes_thirty_seconds_late_disturbs_nothing() {
    for burst in [false, true] {
        // From the tenth second on, 30 s later, between what is sent then or all at once.
        let sender = Sender::talk(50_000).delayed(|n| match n {
            500..550 if burst => 30_000_000 + (550 - n as u64) * 20_000 + 3_000,
            500..550 => 30_003_000,
            _ => 0,
        });
        let line = Line::heard(sender);
        let stats = line.stats();
        assert_eq!(
            (stats.late, stats.resyncs, stats.stretches),
            (50, 0, 0),
            "{burst}"
        );
        assert!(
            line.ticks[600..].iter().all(|tick| tick.stats.delay_ms == 7.0),
            "{burst}"
        );
        assert!(
            line.ticks[600..2_498]
                .iter()
                .all(|tick| tick.kind == PlayedKind::Voice)
        );
        assert_eq!(stats.target_delay_ms, 0.0);
    }
}

#[test]
fn another_packet_time_in_mid_stream_neither_clicks_nor_leaves_delay() {
    let alone = steepest(&(0..80_000).map(voice).collect::<Vec<_>>());
    let times = [10, 20, 30, 40, 60];
    let mut pairs: Vec<Vec<u64>> = times
        .iter()
        .flat_map(|one| times.map(|other| vec![*one, other]))
        .collect();
    pairs.push([20, 10].repeat(6));
    pairs.push(vec![10, 20, 30, 40, 60, 40, 30, 20, 10]);
    for order in pairs {
        let mut sender = Sender::new();
        for ptime_ms in &order {
            sender.say(1_200 / *ptime_ms as usize, *ptime_ms);
        }
        let last_ms = order[order.len() - 1];
        sender.say(18_000 / last_ms as usize, last_ms);
        let line = Line::heard(sender);
        let heard = steepest(&line.heard[400..]);
        assert!(heard <= 1.15 * alone, "{order:?}: {heard}");
        let stats = line.stats();
        assert_eq!(
            (stats.late, stats.overflow, stats.lost_packets, stats.resyncs),
            (0, 0, 0, 0)
        );
        // A packet of 30 ms may have to wait for the next tick, and half of it for another.
        assert!(stats.delay_ms <= 30.0, "{order:?}: {}", stats.delay_ms);
        assert!(
            stats.target_delay_ms <= 5.0,
            "{order:?}: {}",
            stats.target_delay_ms
        );
        let longer: u64 = order.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).sum();
        assert!(stats.concealed_samples / 8 <= longer + 20, "{order:?}");
    }
}
