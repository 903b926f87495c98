//! Tables for playout: arrivals in, sound out, on a virtual clock. The voice is a function of its position, so what is
//! heard tells by itself which moment of it is played, and hence the delay.

mod clocks;
mod formats;
mod holes;
mod network;
mod pauses;
mod repair;
mod table;
mod timing;
mod torture;

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

/// The greatest step from one sample to the next.
fn steepest(sound: &[f32]) -> f32 {
    sound
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .fold(0.0, f32::max)
}

fn linear(sample: f32) -> [u8; 2] {
    ((sample * 32_768.0) as i16).to_be_bytes()
}

#[derive(Debug, Clone)]
struct Sent {
    arrival_us: u64,
    content: Content,
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
                content: Content::Sound(0),
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

    /// Sends a packet that is no sound, `ms` after the last sample was spoken, with the timestamp of what is spoken next.
    fn companion(&mut self, content: Content, payload: &[u8], ms: u64) -> &mut Sender {
        let (ssrc, sequence, timestamp) = (self.ssrc, self.sequence, self.timestamp);
        self.sent.push(Sent {
            arrival_us: ((self.spoken / 8 + ms) as f64 * self.ms_us) as u64,
            content,
            ssrc,
            sequence,
            timestamp,
            payload: payload.to_vec(),
        });
        self.sequence = self.sequence.wrapping_add(1);
        self
    }

    /// Describes the silence that begins here (RFC 3389).
    fn describe(&mut self, level: u8) -> &mut Sender {
        self.companion(Content::ComfortNoise { clock_hz: 8_000 }, &[level], 0)
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

    /// Plays all ticks before then.
    fn run_until(&mut self, us: u64) {
        while self.now_us < us {
            self.tick();
        }
    }

    fn insert(&mut self, sent: &Sent) -> Result<(), Discard> {
        let arrival = Time::from_nanos(sent.arrival_us * 1_000);
        let Sent {
            content,
            ssrc,
            sequence,
            timestamp,
            ref payload,
            ..
        } = *sent;
        self.playout
            .insert(arrival, content, ssrc, sequence, timestamp, payload)
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

    /// The kinds of the ticks within a stretch of time, each once.
    fn kinds_within(&self, ms: std::ops::Range<usize>) -> Vec<PlayedKind> {
        let mut kinds: Vec<PlayedKind> = self.ticks[ms.start / 20..ms.end / 20]
            .iter()
            .map(|tick| tick.kind)
            .collect();
        kinds.dedup();
        kinds
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
