//! What the remote party reports of the stream we send it, and of its own end.
//!
//! Reports are not authenticated on a plain leg: what cannot be is not believed, and nothing here ends anything.

use crate::rtp::ntp;
use crate::rtp::rtcp::{Compound, ReportBlock, Rtcp};
use crate::time::Time;

/// Sender reports of ours that can still be quoted: a minute of them.
const QUOTABLE_REPORTS: usize = 16;

/// A longer round trip is none.
const ROUND_TRIP_MAX: u32 = 60 << 16;

/// The remote's clock is not ours: its delay may come out longer than what we measure around it by so much, 4 ms.
const ROUND_TRIP_SLACK: u32 = 1 << 8;

#[derive(Debug, Clone, Default)]
pub(crate) struct RemoteReport {
    /// The middles of the NTP timestamps of our last sender reports.
    quotable: [u32; QUOTABLE_REPORTS],
    next: u8,
    last: Option<ReportBlock>,
    /// In 65,536ths of a second.
    round_trip: Option<u32>,
    /// When the remote said that it leaves.
    left: Option<Time>,
}

impl RemoteReport {
    /// We have sent a sender report.
    pub fn may_quote(&mut self, ntp: u64) {
        self.quotable[usize::from(self.next)] = ntp::middle(ntp);
        self.next = (self.next + 1) % QUOTABLE_REPORTS as u8;
    }

    /// Hears what the remote, whose stream is `heard`, reports about `ours`; `ntp` is the wall clock at the arrival.
    pub fn hear(&mut self, arrival: Time, ntp: u64, reports: Compound<'_>, ours: u32, heard: Option<u32>) {
        for packet in reports {
            match packet {
                Rtcp::SenderReport(report) => self.hear_blocks(ntp, report.blocks, ours),
                Rtcp::ReceiverReport(report) => self.hear_blocks(ntp, report.blocks, ours),
                Rtcp::Bye(bye) => {
                    if bye.sources().any(|ssrc| heard.is_none_or(|heard| ssrc == heard)) {
                        self.left = Some(arrival);
                    }
                }
                Rtcp::SourceDescription(_) | Rtcp::Other { .. } => {}
            }
        }
    }

    fn hear_blocks(&mut self, ntp: u64, blocks: impl Iterator<Item = ReportBlock>, ours: u32) {
        for block in blocks.filter(|block| block.ssrc == ours) {
            self.last = Some(block);
            self.round_trip = self.measure(ntp, &block).or(self.round_trip);
        }
    }

    /// RFC 3550 §6.4.1: what is left of the time since our report when the remote's own delay is taken off.
    fn measure(&self, ntp: u64, block: &ReportBlock) -> Option<u32> {
        let quoted = block.last_sender_report;
        if quoted == 0 || !self.quotable.contains(&quoted) {
            return None;
        }
        let since = ntp::middle(ntp).wrapping_sub(quoted);
        match since.checked_sub(block.delay_since_last_sender_report) {
            Some(round_trip) => (round_trip <= ROUND_TRIP_MAX).then_some(round_trip),
            None => (block.delay_since_last_sender_report - since <= ROUND_TRIP_SLACK).then_some(0),
        }
    }

    /// A packet of sound came that was sent after all: whoever said that it leaves has not, or somebody else said it.
    pub fn hear_sound(&mut self, arrival: Time) {
        self.left = self.left.filter(|left| arrival <= *left);
    }

    pub fn round_trip_ms(&self) -> Option<f32> {
        let round_trip = self.round_trip?;
        Some(round_trip as f32 * (1_000.0 / 65_536.0))
    }

    /// Since the report before it.
    pub fn loss_percent(&self) -> Option<f32> {
        let block = self.last?;
        Some(f32::from(block.fraction_lost) * (100.0 / 256.0))
    }

    pub fn packets_lost(&self) -> Option<i32> {
        Some(self.last?.cumulative_lost)
    }

    /// `clock_hz` is that of what we send.
    pub fn jitter_ms(&self, clock_hz: u32) -> Option<f32> {
        let block = self.last?;
        Some((f64::from(block.jitter) * 1_000.0 / f64::from(clock_hz)) as f32)
    }

    pub fn has_left(&self) -> bool {
        self.left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::rtcp;

    const OURS: u32 = 7;
    const NTP: u64 = 0xEE00_1234_5678_9ABC;
    const SECOND: u64 = 1 << 32;

    fn hear(remote: &mut RemoteReport, ntp: u64, block: ReportBlock) {
        let mut datagram = [0; rtcp::DATAGRAM_BYTES_MAX];
        let bytes = rtcp::write_receiver_report(&mut datagram, 9, &[block], b"party").unwrap();
        let reports = rtcp::validate(&datagram[..bytes]).unwrap();
        remote.hear(Time::ZERO, ntp, reports, OURS, Some(9));
    }

    fn quoting(ntp: u64, delay: u32) -> ReportBlock {
        ReportBlock {
            ssrc: OURS,
            last_sender_report: ntp::middle(ntp),
            delay_since_last_sender_report: delay,
            ..ReportBlock::default()
        }
    }

    #[test]
    fn the_round_trip_is_what_the_remotes_own_delay_leaves() {
        let mut remote = RemoteReport::default();
        remote.may_quote(NTP);
        hear(&mut remote, NTP + 5 * SECOND + SECOND / 8, quoting(NTP, 5 << 16));
        assert_eq!(remote.round_trip_ms(), Some(125.0));
        // A remote clock that runs fast by a little makes it nothing, not enormous.
        hear(&mut remote, NTP + 5 * SECOND, quoting(NTP, (5 << 16) + 200));
        assert_eq!(remote.round_trip_ms(), Some(0.0));
    }

    #[test]
    fn the_round_trip_is_measured_over_the_wrap_of_the_short_clock() {
        let ntp = 0x0000_FFFF_FFFF_0000;
        let mut remote = RemoteReport::default();
        remote.may_quote(ntp);
        hear(&mut remote, ntp + 3 * SECOND, quoting(ntp, 5 << 15));
        assert_eq!(remote.round_trip_ms(), Some(500.0));
    }

    #[test]
    fn a_round_trip_that_cannot_be_is_not_believed() {
        let mut remote = RemoteReport::default();
        remote.may_quote(NTP);
        let cases: [(&str, u64, ReportBlock); 5] = [
            (
                "a report we never sent",
                NTP + SECOND,
                quoting(NTP + SECOND / 2, 0),
            ),
            ("no report at all", NTP + SECOND, quoting(0, 0)),
            (
                "a delay longer than the time",
                NTP + SECOND,
                quoting(NTP, 2 << 16),
            ),
            ("an endless delay", NTP + SECOND, quoting(NTP, u32::MAX)),
            ("more than a minute", NTP + 61 * SECOND, quoting(NTP, 0)),
        ];
        for (what, now, block) in cases {
            hear(&mut remote, now, block);
            assert_eq!(remote.round_trip_ms(), None, "{what}");
        }
        // Nor is one that is too old to be known.
        for later in 1..=QUOTABLE_REPORTS as u64 {
            remote.may_quote(NTP + 5 * later * SECOND);
        }
        hear(&mut remote, NTP + SECOND, quoting(NTP, 0));
        assert_eq!(remote.round_trip_ms(), None);
    }

    #[test]
    fn loss_and_jitter_are_those_that_were_reported_about_us() {
        let mut remote = RemoteReport::default();
        let block = ReportBlock {
            ssrc: 8,
            fraction_lost: 255,
            cumulative_lost: 1_000,
            jitter: 800,
            ..ReportBlock::default()
        };
        hear(&mut remote, NTP, block);
        assert_eq!(remote.loss_percent(), None, "about another");
        let block = ReportBlock {
            ssrc: OURS,
            fraction_lost: 64,
            cumulative_lost: -3,
            jitter: 80,
            ..ReportBlock::default()
        };
        hear(&mut remote, NTP, block);
        assert_eq!(remote.loss_percent(), Some(25.0));
        assert_eq!(remote.packets_lost(), Some(-3));
        assert_eq!(
            (remote.jitter_ms(8_000), remote.jitter_ms(16_000)),
            (Some(10.0), Some(5.0))
        );
    }

    #[test]
    fn a_bye_is_noted_for_the_stream_that_is_heard_and_sound_sent_after_it_says_otherwise() {
        let mut remote = RemoteReport::default();
        let mut datagram = [0; rtcp::DATAGRAM_BYTES_MAX];
        let bytes = rtcp::write_bye(&mut datagram, 9, b"party").unwrap();
        let bye = || rtcp::validate(&datagram[..bytes]).unwrap();
        let at = Time::from_millis(500);
        remote.hear(at, NTP, bye(), OURS, Some(10));
        assert!(!remote.has_left(), "another stream ended");
        remote.hear(at, NTP, bye(), OURS, Some(9));
        assert!(remote.has_left());
        remote.hear_sound(Time::from_millis(490));
        assert!(remote.has_left(), "that packet was there before it");
        remote.hear_sound(Time::from_millis(510));
        assert!(!remote.has_left());
    }
}
