//! Figures of an engine: plain numbers, written by the tick, copied out on request.

pub use crate::leg::LegReport;

use crate::leg::{Counts, Direction, Dropped};

/// One engine's figures since the start.
#[derive(Debug, Clone)]
pub struct EngineStats {
    pub legs: u32,
    pub rooms: u32,
    pub contributing: u32,
    pub packets_received: u64,
    pub packets_sent: u64,
    /// Of these, RTCP: what came and was heeded, and what was sent.
    pub rtcp_received: u64,
    pub rtcp_sent: u64,
    pub dropped: [u64; Dropped::COUNT],
    pub samples_concealed: u64,
    /// Encoder runs, shared ones counted once.
    pub encodes: u64,
    /// Ticks that were left out because the thread was held up too long.
    pub ticks_skipped: u64,
    /// Panics that were caught and cost a room or a packet: defects of ours.
    pub panics: u64,
    /// Digits for parties that had too many to be sent already.
    pub digits_lost: u64,
    /// Events that found the queue full.
    pub events_lost: u64,
    /// Recorded frames that found the recorder's queue full.
    pub recorded_frames_lost: u64,
    /// Packets that the socket did not take.
    pub send_errors: u64,
    /// How often one-way audio began, in the order of `Direction::ALL`.
    pub one_way: [u64; Direction::ALL.len()],
    pub media_timeouts: u64,
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
            rtcp_received: 0,
            rtcp_sent: 0,
            dropped: [0; Dropped::COUNT],
            samples_concealed: 0,
            encodes: 0,
            ticks_skipped: 0,
            panics: 0,
            digits_lost: 0,
            events_lost: 0,
            recorded_frames_lost: 0,
            send_errors: 0,
            one_way: [0; Direction::ALL.len()],
            media_timeouts: 0,
            tick_lateness: Histogram::new(),
            tick_duration: Histogram::new(),
        }
    }
}

impl EngineStats {
    /// Adds what a leg's playout has counted.
    pub(crate) fn add(&mut self, counts: &Counts) {
        self.samples_concealed += counts.samples_concealed;
        for (total, packets) in self.dropped.iter_mut().zip(counts.dropped) {
            *total += packets;
        }
    }

    pub(crate) fn note(&mut self, outcome: Result<(), Dropped>) {
        if let Err(reason) = outcome {
            self.dropped[reason as usize] += 1;
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
        Histogram {
            counts: [0; Histogram::EDGES_MICROS.len() + 1],
            sum_nanos: 0,
        }
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
