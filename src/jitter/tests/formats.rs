//! Formats that change in mid-call: from packet to packet, and by a new agreement.

use super::*;
use crate::codec::ilbc::Mode;

/// One encoder for each format, and what they send: a tone that goes on through all of them.
struct Switcher {
    encoders: Vec<Encoder>,
    sent: Vec<Sent>,
    ms: u64,
    timestamp: u32,
}

const TONE_HZ: f32 = 200.0;
const AMPLITUDE: f32 = 0.4;

/// The steepest that the tone is from one sample to the next.
fn natural(rate: Rate) -> f32 {
    AMPLITUDE * std::f32::consts::TAU * TONE_HZ / rate.hz() as f32
}

impl Switcher {
    fn new(codecs: &[Codec]) -> Switcher {
        let encoder = |codec: &Codec| {
            Encoder::new(Encoding {
                codec: *codec,
                ptime_ms: 20,
                bitrate: 32_000,
                complexity: 5,
                dtx: false,
                loss_percent: 0,
            })
            .unwrap()
        };
        Switcher {
            encoders: codecs.iter().map(encoder).collect(),
            sent: vec![],
            ms: 0,
            timestamp: u32::MAX - 4_000,
        }
    }

    fn say(&mut self, format: usize, packets: usize) -> &mut Switcher {
        let mut payload = vec![0; 5_760];
        for _ in 0..packets {
            let encoder = &mut self.encoders[format];
            let codec = encoder.encoding().codec;
            let step = TONE_HZ / codec.rate().hz() as f32;
            let start = self.ms as f32 * TONE_HZ / 1_000.0;
            let pcm: Vec<f32> = (0..codec.rate().samples_per_tick())
                .map(|n| AMPLITUDE * (std::f32::consts::TAU * (start + n as f32 * step).fract()).sin())
                .collect();
            let mut bytes = 0;
            for frame in pcm.chunks_exact(encoder.frame_samples()) {
                bytes += encoder.encode(frame, &mut payload[bytes..]).bytes();
            }
            self.ms += 20;
            self.sent.push(Sent {
                arrival_us: self.ms * 1_000,
                content: Content::Sound(format as u8),
                ssrc: SSRC,
                sequence: self.sent.len() as u16,
                timestamp: self.timestamp,
                payload: payload[..bytes].to_vec(),
            });
            self.timestamp = self.timestamp.wrapping_add(encoder.encoding().packet_clock());
        }
        self
    }
}

/// The steepest step within the sound of a tick or from one to the next, as a share of what the tone has of itself.
fn steepest_share(line: &Line, ticks: std::ops::Range<usize>) -> f32 {
    let mut at = line.ticks[..ticks.start]
        .iter()
        .map(|tick| tick.rate.samples_per_tick())
        .sum::<usize>();
    let mut last: Option<f32> = None;
    let mut worst = 0.0f32;
    for tick in &line.ticks[ticks] {
        let sound = &line.heard[at..at + tick.rate.samples_per_tick()];
        at += sound.len();
        let before = last.unwrap_or(sound[0]);
        for pair in std::iter::once(&before)
            .chain(sound)
            .collect::<Vec<_>>()
            .windows(2)
        {
            worst = worst.max((pair[1] - pair[0]).abs() / natural(tick.rate));
        }
        last = sound.last().copied();
    }
    worst
}

#[test]
fn another_payload_type_is_heard_with_its_first_packet_and_without_a_click() {
    let codecs = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::L16(Rate::Hz16000),
        Codec::Opus(Rate::Hz48000),
        Codec::Opus(Rate::Hz8000),
        Codec::G722,
        Codec::G729,
        Codec::Ilbc(Mode::Ms20),
    ];
    let mut switcher = Switcher::new(&codecs);
    let order = [0, 1, 5, 3, 7, 0, 6, 3, 0, 2, 5, 2, 3, 4, 7, 6, 4, 0, 4, 1, 3, 2];
    for format in order {
        switcher.say(format, 25);
    }
    let mut line = Line::new(&codecs);
    let sent = std::mem::take(&mut switcher.sent);
    line.play(sent);
    let stats = line.stats();
    assert_eq!(
        (
            stats.lost_packets,
            stats.late,
            stats.undecodable,
            stats.concealed_samples
        ),
        (0, 0, 0, 0)
    );
    for (spurt, format) in order.iter().enumerate() {
        for tick in 1 + spurt * 25..1 + (spurt + 1) * 25 {
            let heard = line.ticks[tick];
            assert_eq!(heard.rate, codecs[*format].rate(), "tick {tick}");
            assert_eq!(heard.kind, PlayedKind::Voice, "tick {tick}");
        }
        let around = spurt * 25 + 1..(spurt * 25 + 12).min(line.ticks.len());
        // Down from 48 kHz a step within the slower rate's sample is allowed for.
        let steepest = steepest_share(&line, around.start.saturating_sub(3).max(1)..around.end);
        assert!(
            steepest < 2.5,
            "switch {spurt} to {:?}: {steepest}",
            codecs[*format]
        );
    }
}

#[test]
fn garbage_of_any_length_is_concealed_and_counted() {
    let codecs = [Codec::Opus(Rate::Hz16000), L16];
    let mut switcher = Switcher::new(&codecs);
    let mut sent = std::mem::take(&mut switcher.say(0, 50).sent);
    for (n, payload) in [
        (20, vec![]),
        (24, vec![0xff; 40]),
        // 48 frames of 2.5 ms, and one of 60 ms three times: the first is just allowed, the second is 180 ms.
        (28, vec![0x1b, 0x03, 1, 2, 3]),
    ] {
        sent[n].payload = payload;
    }
    sent[32].content = Content::Sound(1);
    sent[32].payload = vec![1; 319];
    let mut line = Line::new(&codecs);
    line.play(sent);
    assert_eq!(line.stats().undecodable, 4);
    assert_eq!(line.kinds_within(40..1_000), [PlayedKind::Voice]);
}

/// A playout for other formats takes the place of the line's; `formats` tells where each former one stands.
fn refit(line: &mut Line, codecs: &[Codec], formats: &[Option<u8>]) {
    let mut new = Playout::new(PlayoutConfig::new(codecs));
    let mut decoders: Vec<Decoder> = codecs.iter().map(|codec| Decoder::new(*codec).unwrap()).collect();
    for (former, now) in line.decoders.iter_mut().zip(formats) {
        if let Some(now) = now {
            std::mem::swap(former, &mut decoders[usize::from(*now)]);
        }
    }
    line.playout.refit(&mut new, |former| {
        formats.get(usize::from(former)).copied().flatten()
    });
    line.decoders = decoders;
}

#[test]
fn a_new_agreement_changes_formats_without_a_click_or_a_gap() {
    let (pcmu, opus) = (Codec::Pcmu, Codec::Opus(Rate::Hz48000));
    for (before, now, format_before, format_now) in [
        // What is sent goes on under another number.
        (&[pcmu, opus][..], &[opus, pcmu][..], 0, 1),
        (&[opus, pcmu], &[pcmu, opus], 0, 1),
        // From a small memory to a large one and back.
        (&[pcmu], &[opus], 0, 0),
        (&[opus], &[pcmu], 0, 0),
    ] {
        let mut line = Line::new(before);
        let mut switcher = Switcher::new(before);
        for sent in std::mem::take(&mut switcher.say(format_before, 50).sent) {
            line.run_until(sent.arrival_us);
            assert_eq!(line.insert(&sent), Ok(()));
        }
        line.run_until(switcher.ms * 1_000 + PHASE_US + 1_000);
        let formats: Vec<Option<u8>> = before
            .iter()
            .map(|former| now.iter().position(|codec| codec == former).map(|at| at as u8))
            .collect();
        refit(&mut line, now, &formats);
        let played = line.ticks.len();
        let mut after = Switcher::new(now);
        for (former, now) in switcher.encoders.into_iter().zip(&formats) {
            if let Some(now) = now {
                after.encoders[usize::from(*now)] = former;
            }
        }
        after.ms = switcher.ms;
        after.timestamp = switcher.timestamp;
        for (n, mut sent) in std::mem::take(&mut after.say(format_now, 50).sent)
            .into_iter()
            .enumerate()
        {
            sent.sequence = 50 + n as u16;
            line.run_until(sent.arrival_us);
            assert_eq!(line.insert(&sent), Ok(()));
        }
        line.run_until(after.ms * 1_000 + PHASE_US + 1_000);
        let stats = line.stats();
        assert_eq!(
            (
                stats.lost_packets,
                stats.abandoned,
                stats.undecodable,
                stats.resyncs
            ),
            (0, 0, 0, 0),
            "{before:?} {now:?}"
        );
        assert_eq!(stats.played_packets, 100);
        assert!(
            line.ticks[played + 2..played + 40]
                .iter()
                .all(|tick| tick.kind == PlayedKind::Voice && tick.rate == now[format_now].rate())
        );
        let steepest = steepest_share(&line, played - 5..played + 10);
        assert!(steepest < 2.5, "{before:?} {now:?}: {steepest}");
    }
}

#[test]
fn packets_that_wait_survive_a_new_agreement_unless_their_format_is_gone() {
    let (pcmu, pcma) = (Codec::Pcmu, Codec::Pcma);
    let mut line = Line::new(&[pcmu, pcma]);
    let mut switcher = Switcher::new(&[pcmu, pcma]);
    switcher.say(0, 10).say(1, 10).say(0, 10);
    for mut sent in std::mem::take(&mut switcher.sent) {
        sent.arrival_us = 1_000;
        assert_eq!(line.insert(&sent), Ok(()));
    }
    line.playout.set_max_delay(DELAY_MAX);
    line.tick();
    refit(&mut line, &[Codec::Opus(Rate::Hz48000), pcmu], &[Some(1), None]);
    assert_eq!(line.stats().abandoned, 10);
    for _ in 0..40 {
        line.tick();
    }
    let stats = line.stats();
    assert_eq!((stats.received_packets, stats.abandoned), (30, 10));
    assert_eq!(stats.played_packets + stats.overflow, 20);
}
