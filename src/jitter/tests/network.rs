//! Networks, clocks and switches as they are: what is heard, and how late.

use super::*;

/// A delay for each packet, the same on each run: uniform, in microseconds.
pub(super) fn uniform(seed: u64, most_us: u64) -> impl Fn(usize) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let delays: Vec<u64> = (0..30_011).map(|_| random.u64(0..=most_us)).collect();
    move |n| delays[n % delays.len()]
}

pub(super) fn quantile(sorted: &[f32], share: f32) -> f32 {
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
        let later = line.settled_within(outage as u64 * 20 + 5_000..19_000);
        println!(
            "bound {max_ms}, outage {outage}: highest {highest}, later {}",
            quantile(&later, 1.0)
        );
        assert!(quantile(&later, 1.0) <= 27.5);
    }
}

#[test]
fn a_voice_that_stops_fades_out_and_is_silence_after_160_ms() {
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
    assert!((8..=10).contains(&voiced), "{voiced}");
    assert!(kinds[voiced..].iter().all(|kind| *kind == PlayedKind::Silence));
    assert_eq!(
        line.stats().concealed_samples,
        0,
        "the end of a talk spurt is no loss"
    );
}

#[test]
fn neither_loss_nor_lateness_nor_a_pause_nor_shortening_clicks() {
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
                dtx: false,
                loss_percent: 0,
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
        let length = encoders[format].encode(&pcm, &mut payload).bytes();
        payload.truncate(length);
        let arrival_us = n * 20_000;
        sent.push(Sent {
            arrival_us,
            content: Content::Sound(format as u8),
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
fn opus_is_played_concealed_by_itself_and_makes_the_noise_of_its_pauses() {
    for rate in Rate::ALL {
        let codec = Codec::Opus(rate);
        let mut encoder = Encoder::new(Encoding {
            codec,
            ptime_ms: 20,
            bitrate: 32_000,
            complexity: 5,
            dtx: false,
            loss_percent: 0,
        })
        .unwrap();
        let mut sent = vec![];
        for n in 0..200u64 {
            let pcm: Vec<f32> = (0..rate.samples_per_tick() as u64)
                .map(|k| voice((n * 160) + k * 8_000 / u64::from(rate.hz())))
                .collect();
            let mut payload = vec![0; 1_275];
            let length = encoder.encode(&pcm, &mut payload).bytes();
            payload.truncate(length);
            if n == 150 {
                payload.truncate(1); // a pause is announced
            }
            let (sequence, timestamp) = (n as u16, n as u32 * 960);
            sent.push(Sent {
                arrival_us: n * 20_000,
                content: Content::Sound(0),
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
                .all(|tick| tick.kind == PlayedKind::Noise)
        );
        // A voice that is cut off fades into the noise.
        let late: f32 = (160..168).map(level).sum::<f32>() / 8.0;
        assert!(late < 0.2 * level(148), "{rate:?}: {late} after {}", level(148));
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
        line.playout.insert(at, Content::Sound(2), 1, 0, 0, &[0; 160]),
        Err(Discard::UnknownFormat)
    );
    assert_eq!(
        line.playout
            .insert(at, Content::Sound(0), 1, 0, 0, &vec![0; slot + 1]),
        Err(Discard::TooLarge)
    );
    assert_eq!(
        line.playout.insert(at, Content::Sound(1), 1, 0, 0, &[0; 320]),
        Ok(())
    );
    assert_eq!(
        line.playout.insert(at, Content::Sound(1), 1, 1, 160, &[0; 319]),
        Ok(())
    );
    assert_eq!(line.playout.insert(at, Content::Sound(1), 1, 2, 320, &[]), Ok(()));
    assert_eq!(
        line.playout.insert(at, Content::Sound(1), 1, 3, 480, &[0; 320]),
        Ok(())
    );
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

#[test]
fn a_new_stream_begins_with_the_delay_that_the_network_is_known_to_ask_for() {
    let mut sender = Sender::new();
    sender.say(300, 20);
    for _ in 0..40 {
        sender.pause(200).say(50, 20);
    }
    let sender = sender.delayed(uniform(3, 40_000));
    let mut line = Line::new(&[L16]);
    let (learning, spurts) = sender.sent.split_at(300);
    line.play(learning.to_vec());
    let learned = line.stats();
    for spurt in spurts.chunks(50) {
        line.playout.flush();
        line.play(spurt.to_vec());
    }
    let concealed_ms = (line.stats().concealed_samples - learned.concealed_samples) / 8;
    println!("40 streams under 40 ms of jitter: concealed {concealed_ms} ms");
    assert!(concealed_ms <= 40 * 12, "{concealed_ms}");
}

#[test]
fn the_delay_of_one_stream_says_nothing_about_the_next() {
    let mut old = Sender::new();
    old.say(50, 20);
    let mut new = Sender::new();
    new.pause(1_300).say(50, 20);
    for (n, sent) in new.sent.iter_mut().enumerate() {
        // It goes on where the old one stopped, 300 ms later.
        sent.ssrc = 0xbeef;
        sent.timestamp = old.timestamp.wrapping_add(n as u32 * 160);
    }
    let line = Line::heard(Sender {
        sent: [old.sent, new.sent].concat(),
        ..Sender::new()
    });
    assert!(line.stats().delay_ms_max < 30.0, "{}", line.stats().delay_ms_max);
}

#[test]
fn a_pause_takes_surplus_delay_at_once() {
    let mut sender = Sender::new();
    sender.say(72, 20).pause(200).say(100, 20);
    let burst = |n: usize| if n < 12 { (12 - n as u64) * 20_000 } else { 0 };
    let line = Line::heard(sender.delayed(burst));
    let most = line
        .ticks
        .windows(2)
        .map(|pair| pair[1].stats.accelerated_samples - pair[0].stats.accelerated_samples)
        .fold(0, u64::max);
    assert!(most / 8 > 30, "{} ms", most / 8);
}

#[test]
fn delay_falls_in_short_talk_spurts_too() {
    let mut sender = Sender::new();
    for _ in 0..12 {
        // The pauses are not long enough to be known while the surplus lasts: shortening has to do it.
        sender.say(30, 20).pause(60);
    }
    let burst = |n: usize| if n < 12 { (12 - n as u64) * 20_000 } else { 0 };
    let line = Line::heard(sender.delayed(burst));
    assert!(line.stats().delay_ms <= 12.5, "{}", line.stats().delay_ms);
}

#[test]
fn a_sender_that_stops_its_clock_while_it_is_silent_has_lost_nothing() {
    let mut sender = Sender::talk(2_000);
    let timestamp = sender.timestamp;
    sender.pause(900);
    sender.timestamp = timestamp;
    sender.say(100, 20);
    let line = Line::heard(sender);
    let soon_after = line.ticks[145 + 5].stats;
    assert!(soon_after.delay_ms < 30.0, "{}", soon_after.delay_ms);
    assert_eq!(line.stats().target_delay_ms, 0.0);
    assert_eq!(line.stats().concealed_samples, 160 * 8);
}
