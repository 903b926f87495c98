//! The crate `neteq` between two pipes, on the clock of the trace; beside `examples/playout_pipe.rs`, whose trace it is.
//!
//! ```text
//! neteq-peer TRACE PHASE_US     decoded packets of 20 ms at 8 kHz, float32 ─▶ PCM, float32
//! ```
//!
//! Its pulls of 10 ms fall PHASE_US after a packet is sent.

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Duration;
use std::{env, fs};

use neteq::{AudioPacket, NetEq, NetEqConfig, RtpHeader};

const RATE: u32 = 8_000;
const PACKET_MS: u32 = 20;
const PACKET_SAMPLES: u32 = RATE / 1_000 * PACKET_MS;
const PACKET_BYTES: usize = PACKET_SAMPLES as usize * 4;
const PULL_US: u64 = 10_000;

/// After the last arrival.
const END_US: u64 = 500_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [trace, phase_us] = arguments.as_slice() else {
        return Err("usage: neteq-peer TRACE PHASE_US".into());
    };
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let mut arrivals = Vec::new();
    for line in fs::read_to_string(trace)?.lines() {
        let (packet, delay_us) = line.split_once(' ').ok_or("a line without a delay")?;
        let (packet, delay_us): (u64, i64) = (packet.parse()?, delay_us.parse()?);
        let sent_us = (packet + 1) * u64::from(PACKET_MS) * 1_000;
        arrivals.push((sent_us.saturating_add_signed(delay_us), packet));
    }
    arrivals.sort_unstable();

    let mut neteq = NetEq::new(NetEqConfig {
        sample_rate: RATE,
        ..NetEqConfig::default()
    })?;
    let end_us = arrivals.last().map_or(0, |(at_us, _)| at_us + END_US);
    let mut to_come = arrivals.into_iter().peekable();
    let mut output = io::stdout().lock();
    let mut now_us = phase_us.parse::<u64>()? % PULL_US;
    while now_us < end_us {
        while let Some((at_us, packet)) = to_come.next_if(|(at_us, _)| *at_us <= now_us) {
            web_time::set(Duration::from_micros(at_us));
            let header = RtpHeader::new(packet as u16, packet as u32 * PACKET_SAMPLES, 1, 0, false);
            let payload = input
                .chunks_exact(PACKET_BYTES)
                .nth(packet as usize)
                .ok_or("a packet arrives that was not sent")?;
            neteq.insert_packet(AudioPacket::new(header, payload.to_vec(), RATE, 1, PACKET_MS))?;
        }
        web_time::set(Duration::from_micros(now_us));
        for sample in neteq.get_audio()?.samples {
            output.write_all(&sample.to_le_bytes())?;
        }
        now_us += PULL_US;
    }
    Ok(())
}
