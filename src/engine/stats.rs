//! Figures of an engine: plain numbers, written by the tick, copied out on request.

pub use crate::leg::LegReport;

use crate::jitter::Operation;
use crate::leg::{Counts, Direction, Dropped, LegDelay};

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
    /// Packets that had not come when a later one was played.
    pub packets_lost: u64,
    pub samples_concealed: u64,
    pub samples_accelerated: u64,
    pub samples_expanded: u64,
    pub samples_late: u64,
    pub samples_discarded: u64,
    /// How often a leg's sound was shortened or lengthened.
    pub stretches: u64,
    pub resyncs: u64,
    pub reclocked: u64,
    /// Ticks of legs, by what was decided for them.
    pub operations: [u64; Operation::COUNT],
    /// Seconds of legs, by their delay and by what their arrivals ask for.
    pub playout_delay: Histogram,
    pub playout_target: Histogram,
    /// The highest delay that any leg there is has had, at the moment of the report.
    pub playout_delay_ms_max: f32,
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
    /// Recorded frames that found the recorder's ring full.
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
            packets_lost: 0,
            samples_concealed: 0,
            samples_accelerated: 0,
            samples_expanded: 0,
            samples_late: 0,
            samples_discarded: 0,
            stretches: 0,
            resyncs: 0,
            reclocked: 0,
            operations: [0; Operation::COUNT],
            playout_delay: Histogram::new(&Histogram::DELAY_MICROS),
            playout_target: Histogram::new(&Histogram::DELAY_MICROS),
            playout_delay_ms_max: 0.0,
            encodes: 0,
            ticks_skipped: 0,
            panics: 0,
            digits_lost: 0,
            events_lost: 0,
            recorded_frames_lost: 0,
            send_errors: 0,
            one_way: [0; Direction::ALL.len()],
            media_timeouts: 0,
            tick_lateness: Histogram::new(&Histogram::LATENESS_MICROS),
            tick_duration: Histogram::new(&Histogram::DURATION_MICROS),
        }
    }
}

impl EngineStats {
    /// Adds what a leg's playout has counted.
    pub(crate) fn add(&mut self, counts: &Counts) {
        self.packets_lost += counts.packets_lost;
        self.samples_concealed += counts.samples_concealed;
        self.samples_accelerated += counts.samples_accelerated;
        self.samples_expanded += counts.samples_expanded;
        self.samples_late += counts.samples_late;
        self.samples_discarded += counts.samples_discarded;
        self.stretches += counts.stretches;
        self.resyncs += counts.resyncs;
        self.reclocked += counts.reclocked;
        for (total, ticks) in self.operations.iter_mut().zip(counts.operations) {
            *total += ticks;
        }
        for (total, packets) in self.dropped.iter_mut().zip(counts.dropped) {
            *total += packets;
        }
    }

    /// Notes a leg's delay of this moment: once in each of its seconds.
    pub(crate) fn note_delay(&mut self, leg: LegDelay) {
        self.playout_delay.observe((leg.now_ms * 1.0e6) as u64);
        self.playout_target.observe((leg.target_ms * 1.0e6) as u64);
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
    edges_micros: &'static [u64],
    /// Observations up to each edge (not cumulative), then those beyond the last.
    counts: [u64; Histogram::EDGES_MAX + 1],
    sum_nanos: u64,
}

impl Histogram {
    const EDGES_MAX: usize = 34;

    /// Of a tick's lateness: fine where the last of ten thousand is promised to lie.
    #[rustfmt::skip]
    pub const LATENESS_MICROS: [u64; Histogram::EDGES_MAX] = [
        50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000,
        1_100, 1_200, 1_300, 1_400, 1_500, 1_600, 1_700, 1_800, 1_900, 2_000,
        2_100, 2_200, 2_300, 2_400, 2_500, 2_600, 2_700, 2_800, 2_900, 3_000,
        5_000, 10_000, 20_000,
    ];

    /// Of a tick's duration.
    pub const DURATION_MICROS: [u64; 9] = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000];

    /// Of a leg's delay.
    pub const DELAY_MICROS: [u64; 9] = [
        10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 150_000, 200_000, 300_000,
    ];

    pub const fn new(edges_micros: &'static [u64]) -> Histogram {
        assert!(edges_micros.len() <= Histogram::EDGES_MAX);
        Histogram {
            edges_micros,
            counts: [0; Histogram::EDGES_MAX + 1],
            sum_nanos: 0,
        }
    }

    pub fn observe(&mut self, nanos: u64) {
        let bucket = self.edges_micros.iter().position(|edge| nanos <= edge * 1_000);
        self.counts[bucket.unwrap_or(self.edges_micros.len())] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// Each edge in microseconds, with the observations between it and the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.edges_micros.iter().copied().zip(self.counts.iter().copied())
    }

    /// Observations beyond the last edge.
    pub fn beyond(&self) -> u64 {
        self.counts[self.edges_micros.len()]
    }

    pub fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }
}
