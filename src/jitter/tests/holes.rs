//! Sound that never comes: what is heard in its place, with and without the packet behind it at hand.

use super::*;

/// What was said in a place, and what is heard there: how far off, in decibels of what was said.
fn segmental_snr_db(said: &[f32], heard: &[f32]) -> f32 {
    let frames = said.chunks_exact(80).zip(heard.chunks_exact(80));
    let (mut total, mut count) = (0.0, 0);
    for (said, heard) in frames {
        let signal: f32 = said.iter().map(|sample| sample * sample).sum();
        let noise: f32 = said
            .iter()
            .zip(heard)
            .map(|(said, heard)| (said - heard).powi(2))
            .sum();
        total += (10.0 * (signal / noise.max(1.0e-9)).log10()).clamp(-10.0, 35.0);
        count += 1;
    }
    total / count as f32
}

/// Every eleventh packet is lost, and the stream's first packets come so much later than the others that packets wait.
fn with_holes(waiting_ms: u64) -> Line {
    let late = move |n: usize| (waiting_ms * 1_000).saturating_sub(20_000 * n as u64);
    // No longer than the delay stays: what nobody needs is given back.
    Line::heard(Sender::talk(1_500).delayed(late).without(|n| n % 11 == 7))
}

#[test]
fn the_packet_behind_a_hole_is_led_up_to_when_it_waits() {
    let mut found = vec![];
    for waiting_ms in [0, 60] {
        let line = with_holes(waiting_ms);
        assert_eq!(line.stats().overflow, 0);
        let mut snr_db = 0.0;
        let mut holes = 0;
        for hole in [7, 18, 29, 40].map(|n| n * 160) {
            let said: Vec<f32> = (hole..hole + 160).map(voice).collect();
            // What comes after it tells where in the sound it is.
            let after = (0..line.heard.len() - 80).find(|at| {
                let heard = &line.heard[*at..at + 80];
                (hole + 200..)
                    .zip(heard)
                    .all(|(n, heard)| (voice(n) - heard).abs() < 1.0 / 16_000.0)
            });
            let Some(start) = after.and_then(|after| after.checked_sub(200)) else {
                continue;
            };
            snr_db += segmental_snr_db(&said, &line.heard[start..start + 160]);
            holes += 1;
        }
        assert!(holes >= 3, "{holes}");
        found.push(snr_db / holes as f32);
    }
    println!(
        "in holes of 20 ms: {:.1} dB from one side, {:.1} dB from both",
        found[0], found[1]
    );
    assert!(found[1] > found[0] + 1.0, "{found:?}");
}

#[test]
fn holes_of_any_length_are_bridged_without_a_click_whatever_waits_behind_them() {
    let alone = steepest(&(0..80_000).map(voice).collect::<Vec<_>>());
    for waiting_ms in [0, 30, 60, 100, 200] {
        for lost in 1..=9 {
            for seed in 0..3 {
                let mut random = fastrand::Rng::with_seed(seed);
                // Some packets overtake others, so that a hole grows smaller while it is filled.
                let jitter: Vec<u64> = (0..400).map(|_| random.u64(0..30_000)).collect();
                let late = |n: usize| {
                    let waiting = waiting_ms * 1_000u64;
                    waiting.saturating_sub(20_000 * n as u64) + if waiting_ms > 0 { jitter[n] } else { 0 }
                };
                let sender = Sender::talk(6_000)
                    .delayed(late)
                    .without(|n| n % 31 < lost && n > 31);
                let line = Line::heard(sender);
                let heard = steepest(&line.heard);
                assert!(
                    heard < 1.6 * alone,
                    "{lost} lost, {waiting_ms} ms waiting, seed {seed}: {heard} beside {alone}"
                );
            }
        }
    }
}

/// Talks with noise of that amplitude behind it and pauses in it, and stops in the middle of a word.
fn talks_and_stops(noise: f32) -> Sender {
    let mut sender = Sender::talk(12_000);
    for (n, sent) in sender.sent.iter_mut().enumerate() {
        let quiet = n % 50 >= 35;
        for (k, bytes) in sent.payload.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let mut random = (n * 160 + k) as u32;
            random = random.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995;
            random ^= random >> 15;
            random = random.wrapping_mul(0x85eb_ca6b);
            random ^= random >> 13;
            let white = random as f32 / (1u64 << 32) as f32 - 0.5;
            let said = if quiet {
                0.0
            } else {
                f32::from(i16::from_be_bytes(*bytes)) / 32_768.0
            };
            *bytes = linear(said + noise * white);
        }
    }
    sender.sent.truncate(585);
    sender
}

#[test]
fn after_the_fade_the_legs_own_background_is_heard_for_ten_seconds() {
    let noise = 0.004;
    let mut line = Line::heard(talks_and_stops(noise));
    let stopped = line.ticks.len() * 20;
    for _ in 0..600 {
        line.tick();
    }
    let kinds = |from_ms: usize, to_ms: usize| line.kinds_within(stopped + from_ms..stopped + to_ms);
    assert_eq!(kinds(200, 10_000), [PlayedKind::Noise]);
    assert_eq!(kinds(10_400, 11_900), [PlayedKind::Silence]);
    let heard = &line.heard[(stopped + 200) * 8..(stopped + 9_000) * 8];
    let rms = (heard.iter().map(|sample| sample * sample).sum::<f32>() / heard.len() as f32).sqrt();
    let ratio = rms / (noise / 12.0_f32.sqrt());
    assert!((0.6..1.2).contains(&ratio), "{ratio}");
    assert_eq!(
        line.stats().concealed_samples,
        0,
        "the end of a talk spurt is no loss"
    );

    // It ends when there is sound again, without a click.
    let mut line = Line::heard(talks_and_stops(noise));
    let mut again = Sender::new();
    (again.sequence, again.timestamp) = (
        again.sequence.wrapping_add(585),
        again.timestamp.wrapping_add(585 * 160),
    );
    again.pause(585 * 20 + 2_000).say(20, 20);
    line.play(again.sent);
    assert_eq!(line.ticks.last().map(|tick| tick.kind), Some(PlayedKind::Voice));
    assert!(
        line.position(line.heard.len() / 8 - 60).is_some(),
        "nothing is left under the voice"
    );
}

#[test]
fn after_the_fade_there_is_no_noise_where_the_background_was_digital_silence() {
    let mut line = Line::heard(talks_and_stops(0.0));
    let stopped = line.ticks.len() * 20;
    for _ in 0..100 {
        line.tick();
    }
    assert_eq!(
        line.kinds_within(stopped + 200..stopped + 1_900),
        [PlayedKind::Silence]
    );
}
