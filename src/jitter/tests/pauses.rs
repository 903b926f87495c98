//! Pauses that a sender announces: how they sound, that they are no loss, and that what follows is whole.

use super::*;
use crate::dsp::level_dbfs;

/// Half a second of voice, a pause of so many milliseconds, a second of voice.
fn around_a_pause(describe: impl Fn(&mut Sender), ms: u64) -> Sender {
    let mut sender = Sender::new();
    sender.say(25, 20);
    describe(&mut sender);
    sender.pause(ms).say(50, 20);
    sender
}

fn assert_nothing_was_lost(line: &Line) {
    let stats = line.stats();
    assert_eq!(
        (
            stats.lost_packets,
            stats.late,
            stats.concealed_samples,
            stats.undecodable,
            stats.resyncs
        ),
        (0, 0, 0, 0, 0)
    );
    assert_eq!(stats.played_packets, stats.received_packets);
}

#[test]
fn a_described_silence_sounds_at_its_level_and_the_voice_around_it_is_whole() {
    for level in [0, 1, 10, 25, 40, 55, 70, 90, 126, 127] {
        let line = Line::heard(around_a_pause(
            |sender| {
                sender.describe(level);
            },
            1_000,
        ));
        assert_nothing_was_lost(&line);
        let within = 600..1_500;
        let expected = if level == 127 {
            PlayedKind::Silence
        } else {
            PlayedKind::Noise
        };
        assert_eq!(line.kinds_within(within), [expected], "level {level}");
        let heard = level_dbfs(&line.heard[600 * 8..1_500 * 8]);
        if level == 127 {
            assert!(heard <= -127.0, "{heard}");
        } else {
            // What is beyond full scale is cut off here, at the loudest levels.
            assert!((heard + f32::from(level)).abs() < 1.5, "level {level}: {heard}");
        }
        for at_ms in (1_540..2_400).step_by(20) {
            assert_eq!(line.delay_at(at_ms), Some(27.0), "level {level} at {at_ms}");
        }
        if level >= 25 {
            let natural = steepest(&line.heard[100 * 8..500 * 8]);
            let noise = 4.0 * 10f32.powf(f32::from(level) / -20.0);
            assert!(steepest(&line.heard) < 1.1 * natural + noise, "level {level}");
        }
    }
}

#[test]
fn ten_minutes_of_described_silence_are_noise_to_the_end() {
    let line = Line::heard(around_a_pause(
        |sender| {
            sender.describe(50);
        },
        600_000,
    ));
    assert_nothing_was_lost(&line);
    assert_eq!(line.kinds_within(600..600_400), [PlayedKind::Noise]);
    assert_eq!(line.delay_at(600_800), Some(27.0));
}

#[test]
fn a_silence_may_be_described_anew_at_any_moment() {
    let mut sender = Sender::new();
    sender.say(25, 20).describe(40).pause(500);
    // Twice within a packet time, and not on the grid of the voice.
    sender.describe(30).pause(7).describe(60).pause(493).say(50, 20);
    let line = Line::heard(sender);
    assert_nothing_was_lost(&line);
    assert_eq!(line.kinds_within(600..1_480), [PlayedKind::Noise]);
    let level = |ms: std::ops::Range<usize>| level_dbfs(&line.heard[ms.start * 8..ms.end * 8]);
    assert!((level(600..1_000) + 40.0).abs() < 1.5);
    assert!((level(1_080..1_480) + 60.0).abs() < 1.5);
    assert_eq!(line.delay_at(1_800), Some(27.0));
}

#[test]
fn a_stream_may_begin_with_silence() {
    let mut sender = Sender::new();
    sender.describe(45).pause(1_000).say(50, 20);
    let line = Line::heard(sender);
    assert_nothing_was_lost(&line);
    assert_eq!(line.kinds_within(40..960), [PlayedKind::Noise]);
    assert!((level_dbfs(&line.heard[800..7_600]) + 45.0).abs() < 1.5);
    assert_eq!(line.delay_at(1_200), Some(27.0));
}

#[test]
fn a_lost_description_is_a_pause_all_the_same_and_a_bad_one_is_counted() {
    let mut sender = Sender::new();
    sender.say(25, 20);
    sender.sequence = sender.sequence.wrapping_add(1);
    sender.pause(1_000).describe(40).pause(500).say(50, 20);
    sender
        .companion(Content::ComfortNoise { clock_hz: 8_000 }, &[], 0)
        .say(50, 20);
    let line = Line::heard(sender);
    let stats = line.stats();
    assert_eq!((stats.lost_packets, stats.late, stats.undecodable), (2, 0, 1));
    assert_eq!(line.kinds_within(1_600..1_980), [PlayedKind::Noise]);
    assert_eq!(line.delay_at(2_300), Some(27.0));
}

#[test]
fn a_voice_that_was_lost_before_its_pause_is_concealed_up_to_there() {
    let mut sender = Sender::new();
    sender.say(25, 20).describe(40).pause(1_000).say(50, 20);
    let line = Line::heard(sender.without(|n| n == 24));
    let stats = line.stats();
    assert_eq!((stats.lost_packets, stats.late), (1, 0));
    assert!(
        (160..=320).contains(&stats.concealed_samples),
        "{}",
        stats.concealed_samples
    );
    assert_eq!(line.kinds_within(600..1_480), [PlayedKind::Noise]);
    assert_eq!(line.delay_at(1_800), Some(27.0));
}

/// A key is pressed for 160 ms: packets each 20 ms, and the last of them twice again (RFC 4733 §2.5.1.4).
fn press(sender: &mut Sender) {
    for n in 0..10 {
        sender.companion(Content::Event { clock_hz: 8_000 }, &[], 20 * n.min(8));
    }
}

#[test]
fn a_described_silence_announces_a_pause_and_a_pressed_key_does_not() {
    let mut sender = Sender::talk(200);
    sender.describe(60);
    assert!(Line::heard(sender).playout.is_paused());
    let mut sender = Sender::talk(200);
    press(&mut sender);
    assert!(!Line::heard(sender).playout.is_paused());
}

#[test]
fn an_event_is_silence_and_neither_loss_nor_delay() {
    let row = |name: &str, sender: Sender, silent_ms: Option<std::ops::Range<usize>>, again_ms: usize| {
        let line = Line::heard(sender);
        let stats = line.stats();
        assert_eq!((stats.concealed_samples, stats.resyncs), (0, 0), "{name}");
        if let Some(silent_ms) = silent_ms {
            assert_eq!(line.kinds_within(silent_ms), [PlayedKind::Silence], "{name}");
        }
        for at_ms in (again_ms..again_ms + 400).step_by(20) {
            assert_eq!(line.delay_at(at_ms), Some(27.0), "{name} at {at_ms}");
        }
        stats.lost_packets
    };
    let lost = row(
        "in place of the voice",
        around_a_pause(press, 200),
        Some(540..700),
        760,
    );
    assert_eq!(lost, 0);
    let half_lost = around_a_pause(press, 200).without(|n| (25..35).contains(&n) && n % 2 == 0);
    assert_eq!(row("with losses", half_lost, Some(560..700), 760), 5);
    let all_lost = around_a_pause(press, 200).without(|n| (25..34).contains(&n));
    assert_eq!(row("all but the last lost", all_lost, None, 760), 9);
    let mut beside = Sender::new();
    beside.say(25, 20);
    for _ in 0..8 {
        beside
            .companion(Content::Event { clock_hz: 8_000 }, &[], 0)
            .say(1, 20);
    }
    beside.say(50, 20);
    assert_eq!(row("beside a voice that goes on", beside, None, 600), 0);
    let mut wide_clock = Sender::new();
    wide_clock.say(25, 20);
    wide_clock.companion(Content::Event { clock_hz: 48_000 }, &[], 0);
    wide_clock.pause(200).say(50, 20);
    assert_eq!(row("of another clock", wide_clock, Some(540..700), 760), 0);
    let mut noisy = Sender::new();
    noisy.say(25, 20).describe(50).pause(300);
    press(&mut noisy);
    noisy.pause(300).say(50, 20);
    assert_eq!(row("in a described silence", noisy, None, 1_160), 0);
}

#[test]
fn a_sender_whose_clock_stands_still_during_an_event_has_lost_nothing() {
    let mut sender = Sender::new();
    sender.say(25, 20);
    press(&mut sender);
    // Time goes by, timestamps do not.
    sender.spoken += 1_600;
    sender.say(100, 20);
    let line = Line::heard(sender);
    assert_eq!(
        (line.stats().lost_packets, line.stats().concealed_samples),
        (0, 0)
    );
    assert_eq!(line.kinds_within(540..700), [PlayedKind::Silence]);
    assert!(line.stats().delay_ms <= 27.0, "{}", line.stats().delay_ms);
}

/// What G.729 with Annex B, or Opus with DTX, sends of spurts and pauses; a part of it is lost.
fn by_codec(codec: Codec, ptime_ms: u8, lost: impl Fn(usize) -> bool) -> Line {
    let encoding = Encoding {
        codec,
        ptime_ms,
        bitrate: 24_000,
        complexity: 5,
        dtx: true,
        loss_percent: 0,
    };
    let mut stream = crate::stream::Stream::new(encoding).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let rate = codec.rate();
    let (mut sequence, mut timestamp) = (0u16, 0u32);
    let mut sent = vec![];
    for tick in 0..1_000u64 {
        let loud = tick % 150 < 40;
        let signal: Vec<f32> = (0..rate.samples_per_tick())
            .map(|n| {
                let at = tick * 160 + n as u64 * 8_000 / u64::from(rate.hz());
                let noise = 0.001 * (random.f32() - 0.5);
                if loud { voice(at) + noise } else { noise }
            })
            .collect();
        stream.push(&signal, rate, false);
        for stretch in stream.stretches() {
            if let crate::stream::Content::Sound(payload) = stretch.content {
                sent.push(Sent {
                    arrival_us: (tick + 1) * 20_000,
                    content: Content::Sound(0),
                    ssrc: SSRC,
                    sequence,
                    timestamp,
                    payload: payload.to_vec(),
                });
                sequence += 1;
            }
            timestamp = timestamp.wrapping_add(stretch.clock);
        }
    }
    let mut n = 0;
    sent.retain(|_| {
        n += 1;
        !lost(n - 1)
    });
    let mut line = Line::new(&[codec]);
    line.play(sent);
    line
}

#[test]
fn the_pauses_of_a_codec_are_its_own_noise_from_end_to_end() {
    for (codec, ptime_ms) in [
        (Codec::G729, 10),
        (Codec::G729, 20),
        (Codec::G729, 60),
        (Codec::Opus(Rate::Hz16000), 20),
        (Codec::Opus(Rate::Hz48000), 60),
    ] {
        let line = by_codec(codec, ptime_ms, |_| false);
        assert_nothing_was_lost(&line);
        // From the second spurt on; hangovers are up to a third of a second.
        for spurt in 1..6 {
            let pause = (spurt * 150 + 40) * 20 + 600..(spurt + 1) * 150 * 20;
            let per_ms = codec.rate().samples_per_ms();
            let level = level_dbfs(&line.heard[pause.start * per_ms..pause.end * per_ms]);
            assert!(
                (-80.0..-60.0).contains(&level),
                "{codec:?} {ptime_ms} ms: {level} dBFS"
            );
            for piece in line.heard[pause.start * per_ms..pause.end * per_ms].chunks_exact(20 * per_ms) {
                assert!(level_dbfs(piece) < -55.0, "{codec:?} {ptime_ms} ms");
                assert!(
                    level_dbfs(piece) > -90.0,
                    "{codec:?} {ptime_ms} ms: no hole in the noise"
                );
            }
            let kinds = line.kinds_within(pause);
            assert!(!kinds.contains(&PlayedKind::Silence), "{codec:?}: {kinds:?}");
            assert!(kinds.contains(&PlayedKind::Noise), "{codec:?}: {kinds:?}");
        }
    }
}

#[test]
fn loss_within_the_pauses_of_a_codec_is_noise_as_well() {
    for codec in [Codec::G729, Codec::Opus(Rate::Hz16000)] {
        for every in [5, 9] {
            let line = by_codec(codec, 20, |n| n % every == 3);
            let stats = line.stats();
            assert!(stats.lost_packets > 10 && stats.undecodable == 0);
            let per_ms = codec.rate().samples_per_ms();
            for spurt in 1..6 {
                let pause = (spurt * 150 + 40) * 20 + 600..(spurt + 1) * 150 * 20 - 100;
                let level = level_dbfs(&line.heard[pause.start * per_ms..pause.end * per_ms]);
                assert!((-90.0..-55.0).contains(&level), "{codec:?}: {level} dBFS");
            }
        }
    }
}
