//! The playout of a leg between two pipes, on a clock of its own: what a network does to a stream of packets, and what
//! is heard of it. The same packets and the same trace give the same sound on every run.
//!
//! ```text
//! playout_pipe CODEC TRACE [--phase-us N] [--max-delay-ms N]     packets ─▶ PCM; figures as JSON on standard error
//! codec_pipe PCMU encode < said.s16 | playout_pipe PCMU trace.txt > heard.s16 2> figures.json
//! ```
//!
//! The packets are those that were sent, the names and the writing as in `packets/mod.rs`. Packet n, counted from zero,
//! is sent when its last sample has been spoken, that is at (n + 1) packet times. TRACE is a file with a line for each
//! packet that arrives: its number and by how many microseconds later than sent, which may be negative. A packet that
//! has no line is lost, one with two lines is duplicated; the order of lines does not matter.
//!
//! A tick of 20 ms falls `--phase-us` (7000) after a packet of 20 ms is sent. PCM is 16 bit little-endian at the codec's
//! rate, and begins with the first tick, a packet time before anything can be heard. Delays are those of `PlayoutStats`,
//! one a tick: from when the fastest packets arrive to when that sound is played.

mod packets;

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::time::Duration;

use mixminus::codec::{Codec, Decoder};
use mixminus::frame::FRAME_SAMPLES_MAX;
use mixminus::jitter::{Content, PlayedKind, Playout, PlayoutConfig};
use mixminus::time::{TICK, Time};
use serde_json::json;

use packets::{encoding, named, split, write_pcm};

const USAGE: &str = "usage: playout_pipe CODEC TRACE [--phase-us N] [--max-delay-ms N]";

/// As in the daemon, and so that no tick falls together with a packet that is sent.
const PHASE_US: u64 = 7_000;
const MAX_DELAY_MS: u64 = 300;

/// After the last arrival; what is in hand then is heard to its end.
const END_US: u64 = 500_000;

const SSRC: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(name), Some(trace)) = (arguments.next(), arguments.next()) else {
        return Err(USAGE.into());
    };
    let (mut phase_us, mut max_delay_ms) = (PHASE_US, MAX_DELAY_MS);
    while let Some(option) = arguments.next() {
        let value = match option.as_str() {
            "--phase-us" => &mut phase_us,
            "--max-delay-ms" => &mut max_delay_ms,
            _ => return Err(USAGE.into()),
        };
        *value = arguments.next().ok_or(USAGE)?.parse()?;
    }
    let codec = named(&name).ok_or_else(|| format!("there is no codec {name}"))?;
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let payloads = split(&input).ok_or("the input ends within a packet")?;
    let ptime_us = u64::from(encoding(codec).ptime_ms) * 1_000;
    let arrivals = arrivals(&fs::read_to_string(trace)?, payloads.len(), ptime_us)?;

    let (pcm, figures) = play(codec, &payloads, &arrivals, phase_us, max_delay_ms)?;
    io::stdout().lock().write_all(&pcm)?;
    writeln!(io::stderr().lock(), "{figures}")?;
    Ok(())
}

/// When packets arrive, in microseconds, and which; by time.
fn arrivals(trace: &str, packets: usize, ptime_us: u64) -> Result<Vec<(u64, usize)>, Box<dyn Error>> {
    let mut arrivals = Vec::new();
    for line in trace.lines().filter(|line| !line.trim().is_empty()) {
        let (packet, delay_us) = line
            .split_once(' ')
            .ok_or_else(|| format!("`{line}` is not a packet and a delay"))?;
        let (packet, delay_us): (usize, i64) = (packet.parse()?, delay_us.trim().parse()?);
        if packet >= packets {
            return Err(format!("packet {packet} arrives, but only {packets} were sent").into());
        }
        let sent_us = (packet as u64 + 1) * ptime_us;
        arrivals.push((sent_us.saturating_add_signed(delay_us), packet));
    }
    arrivals.sort_unstable();
    Ok(arrivals)
}

fn play(
    codec: Codec,
    payloads: &[&[u8]],
    arrivals: &[(u64, usize)],
    phase_us: u64,
    max_delay_ms: u64,
) -> Result<(Vec<u8>, serde_json::Value), Box<dyn Error>> {
    let packet_clock = codec.clock_of(encoding(codec).samples());
    let mut playout = Playout::new(PlayoutConfig {
        max_delay: Duration::from_millis(max_delay_ms),
        ..PlayoutConfig::new(&[codec])
    });
    let mut decoders = [Decoder::new(codec)?];
    let tick_us = TICK.as_micros() as u64;
    let end_us = arrivals.last().map_or(0, |(at_us, _)| at_us + END_US);
    let mut to_come = arrivals.iter().copied().peekable();
    let mut pcm = Vec::new();
    let mut frame = [0.0; FRAME_SAMPLES_MAX];
    let mut delays_ms = Vec::new();
    let (mut voice, mut noise, mut silence) = (0, 0, 0);
    let mut now_us = phase_us % tick_us;
    while now_us < end_us {
        while let Some((at_us, packet)) = to_come.next_if(|(at_us, _)| *at_us <= now_us) {
            // What is refused is counted.
            let _ = playout.insert(
                Time::from_nanos(at_us * 1_000),
                Content::Sound(0),
                SSRC,
                packet as u16,
                packet_clock.wrapping_mul(packet as u32),
                payloads[packet],
            );
        }
        let now = Time::from_nanos(now_us * 1_000);
        let played = playout.pull(now, &mut decoders, &mut frame);
        *match played.kind {
            PlayedKind::Voice => &mut voice,
            PlayedKind::Noise => &mut noise,
            PlayedKind::Silence => &mut silence,
        } += 1;
        write_pcm(&mut pcm, &frame[..codec.rate().samples_per_tick()]);
        if playout.stats().played_packets > 0 {
            delays_ms.push(playout.stats().delay_ms);
        }
        now_us += tick_us;
    }
    delays_ms.sort_by(f32::total_cmp);
    let delay_at = |share: f32| delays_ms.get(((delays_ms.len().max(1) - 1) as f32 * share) as usize);
    let stats = playout.stats();
    let figures = json!({
        "delay_ms_p50": delay_at(0.5),
        "delay_ms_p99": delay_at(0.99),
        "delay_ms_max": stats.delay_ms_max,
        "target_delay_ms": stats.target_delay_ms,
        "jitter_ms": stats.jitter_ms,
        "received_packets": stats.received_packets,
        "played_packets": stats.played_packets,
        "lost_packets": stats.lost_packets,
        "late": stats.late,
        "duplicate": stats.duplicate,
        "overflow": stats.overflow,
        "resyncs": stats.resyncs,
        "played_samples": stats.played_samples,
        "concealed_samples": stats.concealed_samples,
        "recovered_samples": stats.recovered_samples,
        "accelerated_samples": stats.accelerated_samples,
        "expanded_samples": stats.expanded_samples,
        "stretches": stats.stretches,
        "voice_ticks": voice,
        "noise_ticks": noise,
        "silence_ticks": silence,
    });
    Ok((pcm, figures))
}
