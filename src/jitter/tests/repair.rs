//! Packets that repeat the one before them (in-band FEC).

use super::*;

const RATE: Rate = Rate::Hz16000;
const CODEC: Codec = Codec::Opus(RATE);
const PACKETS: usize = 1_500;

/// A voice at 16 kHz that is never the same twice.
fn speech() -> Vec<f32> {
    let mut chance = fastrand::Rng::with_seed(5);
    let mut phase = 0.0f32;
    (0..PACKETS * RATE.samples_per_tick())
        .map(|n| {
            let at = n as f32 / RATE.hz() as f32;
            phase = (phase + (120.0 + 40.0 * (2.3 * at).sin() + 15.0 * (9.1 * at).sin()) / RATE.hz() as f32)
                .fract();
            let syllable = (std::f32::consts::TAU * 3.1 * at).sin().max(0.05);
            let vowel = 4.0 + 3.0 * (1.7 * at).sin();
            let buzz: f32 = (1..20)
                .map(|h| {
                    (std::f32::consts::TAU * phase * h as f32).sin() / (1.0 + (h as f32 - vowel).powi(2))
                })
                .sum();
            0.25 * syllable * buzz + 0.003 * (chance.f32() - 0.5)
        })
        .collect()
}

fn packets(loss_percent: u8) -> Vec<Sent> {
    let mut encoder = Encoder::new(Encoding {
        codec: CODEC,
        ptime_ms: 20,
        bitrate: 24_000,
        complexity: 5,
        dtx: false,
        loss_percent,
    })
    .unwrap();
    let mut payload = [0; 1_400];
    speech()
        .chunks_exact(RATE.samples_per_tick())
        .enumerate()
        .map(|(n, pcm)| {
            let bytes = encoder.encode(pcm, &mut payload).bytes();
            Sent {
                arrival_us: 20_000 * (n as u64 + 1),
                content: Content::Sound(0),
                ssrc: SSRC,
                sequence: n as u16,
                timestamp: n as u32 * 960,
                payload: payload[..bytes].to_vec(),
            }
        })
        .collect()
}

fn played(sent: Vec<Sent>, lost: &[bool]) -> Line {
    let mut line = Line::new(&[CODEC]);
    let mut n = 0;
    let sent = sent.into_iter().filter(|_| {
        n += 1;
        !lost[n - 1]
    });
    line.play(sent.collect());
    line
}

/// Mean over pieces of 40 ms of how far `heard` is from `clean`, wherever within 70 ms it is played: −5 to 35 dB.
fn segmental_snr(clean: &[f32], heard: &[f32]) -> f32 {
    let piece = 40 * RATE.samples_per_ms();
    let mut sum = 0.0;
    let mut pieces = 0;
    for start in (50 * piece..clean.len().min(heard.len()) - 3 * piece).step_by(piece) {
        let said = &clean[start..start + piece];
        let power: f32 = said.iter().map(|sample| sample * sample).sum();
        if power < 1e-4 * piece as f32 {
            continue;
        }
        let nearest = (0..70 * RATE.samples_per_ms())
            .map(|lag| {
                let heard = &heard[start + lag..start + lag + piece];
                said.iter()
                    .zip(heard)
                    .map(|(a, b)| (a - b) * (a - b))
                    .sum::<f32>()
            })
            .fold(f32::MAX, f32::min);
        sum += (10.0 * (power / nearest.max(1e-9)).log10()).clamp(-5.0, 35.0);
        pieces += 1;
    }
    sum / pieces as f32
}

#[test]
fn what_the_next_packet_repeats_sounds_better_than_a_guess() {
    let nothing_lost = vec![false; PACKETS];
    for (percent, class) in [(5, 5), (10, 10)] {
        let mut chance = fastrand::Rng::with_seed(percent);
        let lost: Vec<bool> = (0..PACKETS)
            .map(|n| n > 50 && chance.u64(0..100) < percent)
            .collect();
        let mut snr = [0.0; 2];
        for (which, loss_percent) in [(0, 0), (1, class)] {
            let clean = played(packets(loss_percent), &nothing_lost);
            let line = played(packets(loss_percent), &lost);
            snr[which] = segmental_snr(&clean.heard, &line.heard);
            let stats = line.stats();
            println!(
                "{percent} % lost, repeats {loss_percent}: {:.1} dB, recovered {} ms, concealed {} ms, delay {} ms",
                snr[which],
                stats.recovered_samples / 16,
                stats.concealed_samples / 16,
                stats.delay_ms
            );
            if loss_percent == 0 {
                assert_eq!(stats.recovered_samples, 0);
                assert!(stats.delay_ms <= 8.0, "nothing to wait for: {}", stats.delay_ms);
            } else {
                // The encoder repeats only what it takes for a voice.
                assert!(stats.recovered_samples > stats.concealed_samples * 3 / 4);
                assert!(
                    (20.0..=35.0).contains(&stats.delay_ms),
                    "one packet: {}",
                    stats.delay_ms
                );
            }
        }
        assert!(snr[1] > snr[0] + 1.0, "{percent} %: {snr:?}");
    }
}

#[test]
fn the_delay_for_repairs_is_given_back_when_nothing_is_lost_any_more() {
    let lost: Vec<bool> = (0..PACKETS).map(|n| n > 50 && n < 400 && n % 17 == 0).collect();
    let line = played(packets(10), &lost);
    assert!(
        line.ticks[390].stats.delay_ms > 20.0,
        "{}",
        line.ticks[390].stats.delay_ms
    );
    assert!(line.stats().delay_ms < 12.0, "{}", line.stats().delay_ms);
}

#[test]
fn of_several_lost_packets_the_last_is_repeated() {
    let lost: Vec<bool> = (0..PACKETS).map(|n| n > 50 && n % 40 < 3).collect();
    let line = played(packets(20), &lost);
    let stats = line.stats();
    let holes = lost.windows(2).filter(|pair| pair[0] && !pair[1]).count() as u64;
    assert!(stats.recovered_samples / 320 > holes / 2, "{stats:?} of {holes}");
    assert!(stats.concealed_samples / 320 < 3 * holes, "{stats:?}");
}

#[test]
fn the_first_packet_that_is_lost_and_repeated_is_played() {
    let sent = packets(10);
    let decoder = Decoder::new(CODEC).unwrap();
    let repeated = (200..PACKETS).find(|n| decoder.repeated(&sent[n + 1].payload) > 0);
    let lost: Vec<bool> = (0..PACKETS).map(|n| Some(n) == repeated).collect();
    let stats = played(sent, &lost).stats();
    assert_eq!(stats.recovered_samples, 320, "packet {repeated:?}: {stats:?}");
}
