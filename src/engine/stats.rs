//! Figures of legs and engines: plain numbers, written by the tick, copied out on request.

use std::net::SocketAddr;

use crate::codec::Codec;
use crate::leg::Dropped;

/// A leg's figures since it was made.
#[derive(Debug, Clone, Default)]
pub struct LegReport {
    /// What arrives: the codec of the last sound played, `None` before any.
    pub codec_received: Option<Codec>,
    /// What we send: the first agreed format.
    pub codec_sent: Option<Codec>,
    /// Where we send to; `None` while nothing is agreed.
    pub remote: Option<SocketAddr>,
    pub contributing: bool,
    /// Level of the last tick in dBFS, −127 for silence.
    pub level_dbfs: f32,
    pub noise_floor_dbfs: f32,
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub rtcp_received: u64,
    pub packets_lost: u64,
    /// Samples at the codec's rate that were made up for missing ones.
    pub samples_concealed: u64,
    /// Samples taken out to bring the delay down.
    pub samples_accelerated: u64,
    pub delay_ms: f32,
    pub delay_target_ms: f32,
    pub delay_ms_max: f32,
    /// Interarrival jitter, RFC 3550 §6.4.1.
    pub jitter_ms: f32,
    /// Datagrams that were not heard, by reason (`Dropped::ALL` gives the order).
    pub dropped: [u64; Dropped::COUNT],
    /// Nanoseconds of the engine's clock at the last arrival; zero before any.
    pub last_arrival_nanos: u64,
}

/// One engine's figures since the start.
#[derive(Debug, Clone)]
pub struct EngineStats {
    pub legs: u32,
    pub rooms: u32,
    pub contributing: u32,
    pub packets_received: u64,
    pub packets_sent: u64,
    pub dropped: [u64; Dropped::COUNT],
    pub samples_concealed: u64,
    /// Encoder runs, shared ones counted once.
    pub encodes: u64,
    /// Ticks that were left out because the thread was held up too long.
    pub ticks_skipped: u64,
    /// Events that found the queue full.
    pub events_lost: u64,
    /// Recorded frames that found the recorder's queue full.
    pub recorded_frames_lost: u64,
    /// Packets that the socket did not take.
    pub send_errors: u64,
    /// How late each phase of each tick began.
    pub tick_lateness: Histogram,
    /// How long each phase of each tick took.
    pub tick_duration: Histogram,
}

impl Default for EngineStats {
    fn default() -> EngineStats {
        EngineStats {
            legs: 0,
            rooms: 0,
            contributing: 0,
            packets_received: 0,
            packets_sent: 0,
            dropped: [0; Dropped::COUNT],
            samples_concealed: 0,
            encodes: 0,
            ticks_skipped: 0,
            events_lost: 0,
            recorded_frames_lost: 0,
            send_errors: 0,
            tick_lateness: Histogram::new(),
            tick_duration: Histogram::new(),
        }
    }
}

/// A histogram of durations with fixed edges, as Prometheus wants it.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// Observations up to each edge (not cumulative), then those beyond the last.
    pub counts: [u64; Histogram::EDGES_MICROS.len() + 1],
    pub sum_nanos: u64,
}

impl Histogram {
    pub const EDGES_MICROS: [u64; 9] = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000];

    pub const fn new() -> Histogram {
        Histogram { counts: [0; Histogram::EDGES_MICROS.len() + 1], sum_nanos: 0 }
    }

    pub fn observe(&mut self, nanos: u64) {
        let bucket = Self::EDGES_MICROS.iter().position(|edge| nanos <= edge * 1_000);
        self.counts[bucket.unwrap_or(Self::EDGES_MICROS.len())] += 1;
        self.sum_nanos += nanos;
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}
