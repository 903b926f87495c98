//! How the delay follows the network: up before packets are late, down when that is over, and never beyond its bound.

use super::network::{quantile, uniform};
use super::*;

/// A leg that hears G.711 for hours: nothing is kept of it but what it counts.
struct Hours {
    playout: Playout,
    decoders: [Decoder; 1],
    packets: Vec<Vec<u8>>,
}

/// What an hour was like.
#[derive(Debug)]
struct Hour {
    stats: PlayoutStats,
    delay_ms: (f32, f32),
    /// The fewest ticks from one stretch to the next.
    closest_ticks: u64,
}

impl Hours {
    fn new() -> Hours {
        let mut encoder = Encoder::new(Encoding {
            codec: Codec::Pcmu,
            ptime_ms: 20,
            bitrate: 64_000,
            complexity: 5,
            dtx: false,
            loss_percent: 0,
        })
        .unwrap();
        let packets = (0..500u64).map(|packet| {
            let said: Vec<f32> = (packet * 160..(packet + 1) * 160).map(voice).collect();
            let mut payload = vec![0; 160];
            encoder.encode(&said, &mut payload);
            payload
        });
        Hours {
            playout: Playout::new(PlayoutConfig::new(&[Codec::Pcmu])),
            decoders: [Decoder::new(Codec::Pcmu).unwrap()],
            packets: packets.collect(),
        }
    }

    /// The sender's clock is so much faster than ours; packets come up to `uneven_us` late. After ten seconds figures
    /// begin.
    fn play(&mut self, ticks: u64, ppm: i64, phase_us: u64, uneven_us: u64, seed: u64) -> Hour {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pcm = [0.0; FRAME_SAMPLES_MAX];
        let mut packet = 0u64;
        let mut arrival_us = 0;
        let mut hour = Hour {
            stats: *self.playout.stats(),
            delay_ms: (f32::MAX, 0.0),
            closest_ticks: u64::MAX,
        };
        let (mut stretches, mut stretched_at) = (0, None);
        for tick in 0..ticks {
            let now_us = tick * 20_000 + phase_us;
            while arrival_us <= now_us {
                let arrival = Time::from_nanos(arrival_us * 1_000);
                let (sequence, timestamp) = (packet as u16, (packet as u32).wrapping_mul(160));
                let payload = &self.packets[packet as usize % 500];
                self.playout
                    .insert(arrival, Content::Sound(0), SSRC, sequence, timestamp, payload)
                    .unwrap();
                packet += 1;
                let sent_ns = (packet * 20_000) as i64 * (1_000_000 - ppm) / 1_000;
                arrival_us = (arrival_us + 1).max(sent_ns as u64 / 1_000 + random.u64(0..=uneven_us));
            }
            let now = Time::from_nanos(now_us * 1_000);
            self.playout.pull(now, &mut self.decoders, &mut pcm);
            let stats = *self.playout.stats();
            if tick == 500 {
                hour.stats = stats;
            }
            if tick >= 500 {
                hour.delay_ms.0 = hour.delay_ms.0.min(stats.delay_ms);
                hour.delay_ms.1 = hour.delay_ms.1.max(stats.delay_ms);
            }
            if stats.stretches > stretches {
                let since = stretched_at.map_or(u64::MAX, |at| tick - at);
                hour.closest_ticks = hour.closest_ticks.min(since);
                (stretches, stretched_at) = (stats.stretches, Some(tick));
            }
        }
        let (now, then) = (*self.playout.stats(), hour.stats);
        hour.stats = PlayoutStats {
            concealed_samples: now.concealed_samples - then.concealed_samples,
            accelerated_samples: now.accelerated_samples - then.accelerated_samples,
            expanded_samples: now.expanded_samples - then.expanded_samples,
            stretches: now.stretches - then.stretches,
            operations: std::array::from_fn(|n| now.operations[n] - then.operations[n]),
            ..now
        };
        hour
    }
}

#[test]
fn an_hour_of_a_clock_200_ppm_off_is_heard_whole_with_less_than_one_stretch_in_five_seconds() {
    const HOUR: u64 = 180_000;
    for (ppm, phase_us, uneven_us) in [
        (200, 7_000, 500),
        (-200, 7_000, 500),
        (200, 13_000, 3_000),
        (-200, 13_000, 3_000),
        (-300, 18_000, 1_000),
        (300, 1_000, 1_000),
    ] {
        let hour = Hours::new().play(HOUR, ppm, phase_us, uneven_us, 7);
        let Hour {
            stats,
            delay_ms: (least_ms, most_ms),
            closest_ticks,
        } = hour;
        println!(
            "{ppm:+} ppm, uneven {uneven_us} us, an hour: delay {least_ms:.1} to {most_ms:.1} ms, {} stretches, no closer than {closest_ticks} ticks, accelerated {} ms, expanded {} ms, concealed {} ms",
            stats.stretches,
            stats.accelerated_samples / 8,
            stats.expanded_samples / 8,
            stats.concealed_samples / 8
        );
        assert_eq!(stats.concealed_samples, 0, "{ppm} ppm");
        let idle = [
            Operation::Silence,
            Operation::ComfortNoise,
            Operation::Expand,
            Operation::Merge,
        ];
        assert!(
            idle.iter()
                .all(|operation| stats.operations[*operation as usize] == 0)
        );
        assert_eq!((stats.overflow, stats.late, stats.lost_packets), (0, 0, 0));
        assert!(stats.stretches <= 720 && closest_ticks >= 250, "{closest_ticks}");
        assert!(most_ms <= 45.0, "{most_ms}");
        // Drift is all that there was to make up for.
        let net_ms = (stats.accelerated_samples as i64 - stats.expanded_samples as i64) / 8;
        let drift_ms = 36 * ppm / 10;
        assert!((net_ms - drift_ms).abs() <= 50, "{net_ms} of {drift_ms}");
    }
}

#[test]
fn on_a_clean_network_nothing_is_ever_added_or_stretched_whatever_the_phase_of_the_tick() {
    for phase_ms in 0..20 {
        let line = {
            let mut line = Line::new(&[L16]);
            line.now_us = phase_ms * 1_000;
            line.play(Sender::talk(30_000).sent);
            line
        };
        let stats = line.stats();
        assert_eq!(
            (stats.stretches, stats.concealed_samples, stats.target_delay_ms),
            (0, 0, 0.0)
        );
        let delays = line.settled_within(40..29_000);
        assert_eq!(
            (delays[0], quantile(&delays, 1.0)),
            (phase_ms as f32, phase_ms as f32)
        );
        // After the last packet there is a tick or two with nothing to play.
        assert_eq!(stats.operations[Operation::Normal as usize], 1_500);
        assert!(stats.operations[Operation::Expand as usize] <= 2);
    }
}

#[test]
fn the_delay_that_spikes_need_again_and_again_is_gained_without_a_hole_and_kept() {
    for (height_ms, every) in [(120, 125), (120, 300), (240, 200), (60, 40)] {
        let height_us = height_ms * 1_000;
        let spikes = move |n: usize| {
            let since = (n + every / 2) % every;
            if n > 125 {
                (height_us as u64).saturating_sub(since as u64 * 20_000)
            } else {
                0
            }
        };
        let line = Line::heard(Sender::talk(120_000).delayed(spikes));
        let (early, late) = (line.ticks[1_000].stats, line.stats());
        let concealed_ms = (late.concealed_samples - early.concealed_samples) / 8;
        let spikes = 5_000 / every as u64;
        println!(
            "spikes of {height_ms} ms every {} ms: concealed {concealed_ms} ms of {}, expanded {} ms, accelerated {} ms, delay p50 {:.0} ms",
            every * 20,
            spikes * height_ms as u64,
            late.expanded_samples / 8,
            late.accelerated_samples / 8,
            quantile(&line.settled_within(20_000..119_000), 0.5),
        );
        assert!(concealed_ms * 20 <= spikes * height_ms as u64, "{concealed_ms}");
        assert!(late.target_delay_ms >= height_ms as f32 - 20.0);
    }
}

#[test]
fn a_new_stream_gains_the_delay_that_is_known_to_be_needed_before_any_packet_is_late() {
    // Every 2.5 s the path stops for 200 ms. What is spoken goes on, as another stream.
    let stops = |n: usize| {
        let since = (n + 60) % 125;
        if n > 125 {
            200_000u64.saturating_sub(since as u64 * 20_000)
        } else {
            0
        }
    };
    let mut sent = Sender::talk(22_600).delayed(stops).sent;
    let again = sent.split_off(1_010);
    let mut line = Line::new(&[L16]);
    line.play(sent);
    line.playout.flush();
    let learned = line.stats();
    line.play(again);
    let stats = line.stats();
    let (concealed_ms, expanded_ms) = (
        (stats.concealed_samples - learned.concealed_samples) / 8,
        (stats.expanded_samples - learned.expanded_samples) / 8,
    );
    println!(
        "after the change: concealed {concealed_ms} ms, expanded {expanded_ms} ms, delay {} ms",
        stats.delay_ms
    );
    assert_eq!(concealed_ms, 0);
    assert!((100..=220).contains(&expanded_ms), "{expanded_ms}");
    assert!((200.0..=235.0).contains(&stats.delay_ms), "{}", stats.delay_ms);
}

#[test]
fn one_spike_raises_no_target_beyond_what_most_packets_need() {
    let spike = |n: usize| {
        if (500..515).contains(&n) {
            (515 - n as u64) * 20_000
        } else {
            0
        }
    };
    let line = Line::heard(Sender::talk(20_000).delayed(spike));
    let highest = line.ticks[530..].iter().map(|tick| tick.stats.target_delay_ms);
    assert!(highest.fold(0.0, f32::max) <= 150.0);
    assert!(
        line.ticks[700..]
            .iter()
            .all(|tick| tick.stats.target_delay_ms == 0.0)
    );
}

/// Plays all of it, and sees at every tick that no more is in hand than may be.
fn bounded(max_ms: u64, mut sent: Vec<Sent>) -> Line {
    let mut line = Line::new(&[L16]);
    line.playout.set_max_delay(Duration::from_millis(max_ms));
    sent.sort_by_key(|sent| sent.arrival_us);
    for sent in sent {
        while line.now_us < sent.arrival_us {
            line.tick();
            let in_hand_us = line.playout.in_hand_us(&line.decoders);
            assert!(in_hand_us <= max_ms * 1_000, "{in_hand_us} us of {max_ms} ms");
        }
        let _ = line.insert(&sent);
    }
    line
}

#[test]
fn a_target_is_never_above_the_bound_and_a_low_bound_is_kept_under_jitter() {
    for max_ms in [40, 60, 100] {
        let line = bounded(max_ms, Sender::talk(60_000).delayed(uniform(4, 150_000)).sent);
        // A packet that comes later than that is played all the same, if none after it was.
        let usual = quantile(&line.settled_within(1_000..59_000), 0.5);
        assert!(usual <= max_ms as f32 + 27.0, "{usual} of {max_ms}");
    }
}

#[test]
fn after_a_storm_the_delay_never_was_beyond_its_bound_and_is_back_within_five_seconds() {
    for (seed, max_ms) in [(1, 100), (2, 200), (3, 300), (4, 480), (5, 300)] {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut queue_us = 0u64;
        let storm: Vec<u64> = (0..1_500)
            .map(|_| {
                queue_us = match random.u8(..) {
                    0..6 => random.u64(0..900_000),
                    _ => queue_us.saturating_sub(20_000),
                };
                queue_us + random.u64(0..60_000)
            })
            .collect();
        let sender = Sender::talk(80_000)
            .delayed(|n| storm.get(n).copied().unwrap_or(0))
            .without(|n| n % 50 == 7);
        let line = bounded(max_ms, sender.sent);
        // A target that falls is followed within five seconds as well.
        let farthest = (1_800..3_950).map(|tick| {
            let targets = line.ticks[tick - 250..=tick]
                .iter()
                .map(|tick| tick.stats.target_delay_ms);
            line.ticks[tick].stats.delay_ms - targets.fold(7.0, f32::max)
        });
        let farthest = farthest.fold(0.0, f32::max);
        println!(
            "storm, bound {max_ms}: highest {:.0} ms, from six seconds after at most {farthest:.1} ms beyond a target of the last five",
            line.stats().delay_ms_max,
        );
        // A target is met by whole ticks, so up to one lies above it before the delay is too long at all.
        assert!(farthest <= 20.0 + 20.0, "seed {seed}: {farthest}");
        // And what spikes have asked for is forgotten when they have not come again.
        let end = quantile(&line.settled_within(70_000..79_000), 1.0);
        assert!(end <= 32.0, "seed {seed}: {end}");
    }
}

#[test]
fn a_path_that_becomes_longer_for_good_asks_for_no_delay() {
    for longer_ms in [20, 60, 150, 290, 500] {
        let line =
            Line::heard(Sender::talk(20_000).delayed(move |n| if n < 300 { 0 } else { longer_ms * 1_000 }));
        let delays = line.settled_within(13_000..19_000);
        println!(
            "{longer_ms} ms longer: delay at most {:.1} ms, target {:.0} ms",
            quantile(&delays, 1.0),
            line.stats().target_delay_ms
        );
        assert!(quantile(&delays, 1.0) <= 27.5, "{longer_ms}");
        assert!(
            line.ticks[550..]
                .iter()
                .all(|tick| tick.stats.target_delay_ms <= 5.0)
        );
    }
}

#[test]
fn every_tick_is_counted_by_what_it_was_made_of() {
    let ticks = |line: &Line, operation: Operation| line.stats().operations[operation as usize];
    let all = |line: &Line| {
        assert_eq!(
            line.stats().operations.iter().sum::<u64>(),
            line.ticks.len() as u64
        )
    };

    let lost = Line::heard(Sender::talk(4_000).without(|n| n == 100 || n == 150));
    all(&lost);
    // The end is one more, as nobody knows of it.
    assert_eq!(ticks(&lost, Operation::Expand), 3);
    assert_eq!(ticks(&lost, Operation::Merge), 2);

    let mut pauses = Sender::new();
    pauses.say(50, 20).describe(50).pause(1_000).say(50, 20);
    let pauses = Line::heard(pauses);
    all(&pauses);
    assert_eq!(ticks(&pauses, Operation::ComfortNoise), 50);
    assert_eq!(ticks(&pauses, Operation::Expand), 1);

    let burst = |n: usize| if n < 12 { (12 - n as u64) * 20_000 } else { 0 };
    let burst = Line::heard(Sender::talk(8_000).delayed(burst));
    all(&burst);
    assert!(ticks(&burst, Operation::Accelerate) >= 10);
    assert_eq!(burst.stats().stretches, ticks(&burst, Operation::Accelerate));
}

#[test]
fn what_comes_late_or_is_given_up_is_counted_in_samples() {
    let late = Line::heard(Sender::talk(5_000).delayed(|n| if n == 100 || n == 200 { 90_000 } else { 0 }));
    assert_eq!((late.stats().late, late.stats().late_samples), (2, 320));

    let outage = |n: usize| {
        if (50..100).contains(&n) {
            (100 - n as u64) * 20_000
        } else {
            0
        }
    };
    let outage = Line::heard(Sender::talk(5_000).delayed(outage)).stats();
    assert!(outage.overflow >= 30, "{}", outage.overflow);
    assert_eq!(outage.discarded_samples, outage.overflow * 160);
}
