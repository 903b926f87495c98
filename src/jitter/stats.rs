//! What a playout counts. Every packet received is played or counted under exactly one reason for not being so.

use thiserror::Error;

use super::operation::Operation;

/// Why a packet was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Discard {
    #[error("its turn has passed")]
    Late,
    #[error("it came before")]
    Duplicate,
    #[error("the buffer is full of newer packets")]
    Overflow,
    #[error("its payload is longer than any the leg agreed to")]
    TooLarge,
    #[error("its format is none of the leg's")]
    UnknownFormat,
}

/// Counters since the playout was made, and gauges of the last tick.
///
/// `received_packets` = `played_packets` + `late` + `duplicate` + `overflow` + `too_large` + `unknown_format` +
/// `undecodable` + `abandoned` + the packets still waiting.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlayoutStats {
    pub received_packets: u64,
    /// Decoded, or heeded where they hold no sound.
    pub played_packets: u64,
    /// Packets that had not come when a later one was played; they may count as `late` afterwards.
    pub lost_packets: u64,

    /// Came after their turn.
    pub late: u64,
    pub duplicate: u64,
    /// Given up because the buffer was full or held more than the greatest delay.
    pub overflow: u64,
    pub too_large: u64,
    pub unknown_format: u64,
    /// Its codec, or RFC 3389, does not know such a payload.
    pub undecodable: u64,
    /// Of a stream that was left for another, or strays that no other packet followed.
    pub abandoned: u64,
    /// How often playout moved to another stream, or to another place in it.
    pub resyncs: u64,
    /// How often the sender's timestamps were found to run at another clock than its format's.
    pub reclocked: u64,

    /// Samples decoded from packets, each at its codec's rate.
    pub played_samples: u64,
    /// Samples made up for packets lost or late. Counted once it is known that there was something to conceal: the
    /// end of a talk spurt is no loss.
    pub concealed_samples: u64,
    /// Samples of lost packets that were taken from what the packet after them repeats.
    pub recovered_samples: u64,
    /// Samples taken out to lower the delay.
    pub accelerated_samples: u64,
    /// Samples put in to raise the delay.
    pub expanded_samples: u64,
    /// Samples of packets that came late, taken to be as long as the packet played last.
    pub late_samples: u64,
    /// Samples of packets that were given up, for the delay's sake or with their stream; as long as the packet
    /// played last, too.
    pub discarded_samples: u64,
    /// How often sound was shortened or lengthened.
    pub stretches: u64,
    /// Ticks, by what was decided for them.
    pub operations: [u64; Operation::COUNT],

    /// From the moment when the fastest packets arrive to the moment when that sound is played.
    pub delay_ms: f32,
    /// The highest `delay_ms` since the start.
    pub delay_ms_max: f32,
    /// What the arrivals ask for: 97 % of packets are later than the fastest by no more than this, nor are spikes that
    /// recur.
    pub target_delay_ms: f32,
    /// Interarrival jitter as in RFC 3550 §6.4.1 and A.8.
    pub jitter_ms: f32,
}
