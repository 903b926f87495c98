//! A leg's figures, copied out on request.

use std::net::SocketAddr;

use crate::codec::Codec;
use crate::leg::{Dropped, Lately};

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
    /// It would contribute, but its room hears only so many at once, and others are louder.
    pub crowded_out: bool,
    /// Level of the last tick in dBFS, −127 for silence.
    pub level_dbfs: f32,
    pub noise_floor_dbfs: f32,
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub rtcp_received: u64,
    pub rtcp_sent: u64,
    /// The remote's source that is played, `None` before any packet.
    pub ssrc_received: Option<u32>,
    pub ssrc_sent: u32,
    /// RFC 3550 §6.4.1, by the remote's last report that tells; `None` before any.
    pub round_trip_ms: Option<f32>,
    /// What the remote party lost of what we send between its last two reports; `None` before any.
    pub remote_loss_percent: Option<f32>,
    /// The same since the beginning; negative where duplicates outnumber losses.
    pub remote_packets_lost: Option<i32>,
    /// Interarrival jitter at the remote party.
    pub remote_jitter_ms: Option<f32>,
    /// The remote party has said that it leaves (RFC 3550 §6.6), and no packet of its has come since.
    pub bye_received: bool,
    pub packets_lost: u64,
    /// Samples at the codec's rate that were made up for missing ones.
    pub samples_concealed: u64,
    /// Samples taken out to bring the delay down.
    pub samples_accelerated: u64,
    /// Samples put in to bring the delay up.
    pub samples_expanded: u64,
    /// Samples of packets that came after their turn.
    pub samples_late: u64,
    /// Samples of packets that came and were given up.
    pub samples_discarded: u64,
    /// How often playout moved to another stream, or to another place in it.
    pub resyncs: u64,
    /// How often timestamps were found to run at another clock than their format's.
    pub reclocked: u64,
    pub delay_ms: f32,
    pub delay_target_ms: f32,
    pub delay_ms_max: f32,
    /// Interarrival jitter, RFC 3550 §6.4.1.
    pub jitter_ms: f32,
    /// Datagrams that were not heard, by reason (`Dropped::ALL` gives the order).
    pub dropped: [u64; Dropped::COUNT],
    /// Nanoseconds of the engine's clock at the last arrival; zero before any.
    pub last_arrival_nanos: u64,
    /// Packets that the socket did not take.
    pub send_errors: u64,
    pub lately: Lately,
}
