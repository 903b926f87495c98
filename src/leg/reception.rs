//! How a leg hears the remote's stream, as RTCP tells it: counted by sequence numbers as they arrive (RFC 3550 A.1, A.3),
//! whatever playout makes of the packets.

use crate::rtp::ntp;
use crate::rtp::rtcp::ReportBlock;
use crate::time::Time;

/// RFC 3550 A.1: what leaps farther ahead, or farther back, has begun anew, if the next packet says the same.
const DROPOUT_MAX: u16 = 3_000;
const MISORDER_MAX: u16 = 100;

/// The last sender report that came.
#[derive(Debug, Clone, Copy)]
struct SenderReported {
    ssrc: u32,
    /// The middle of its NTP timestamp.
    last: u32,
    arrival: Time,
}

/// The stream that playout follows, and another that it may turn to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reception {
    followed: Option<Counted>,
    other: Option<Counted>,
    reported: Option<SenderReported>,
}

impl Reception {
    /// A packet of the remote's has come; `followed` is whose stream is played.
    pub fn note(&mut self, ssrc: u32, sequence: u16, followed: Option<u32>) {
        let known = [&mut self.followed, &mut self.other]
            .into_iter()
            .flatten()
            .find(|counted| counted.ssrc == ssrc);
        match known {
            Some(counted) => counted.note(sequence),
            None => self.other = Some(Counted::new(ssrc, sequence)),
        }
        self.follow(followed);
    }

    /// The remote has sent a report about its own stream.
    pub fn note_sender_report(&mut self, arrival: Time, ssrc: u32, last: u32) {
        self.reported = Some(SenderReported { ssrc, last, arrival });
    }

    /// Whose stream is heard.
    pub fn ssrc(&self) -> Option<u32> {
        self.followed.as_ref().map(|counted| counted.ssrc)
    }

    /// What is to be reported, and begins the next interval; `None` where nothing has come since the last report (§6.4).
    /// `jitter` is in the timestamp units of the stream that is played.
    pub fn report(&mut self, now: Time, followed: Option<u32>, jitter: u32) -> Option<ReportBlock> {
        self.follow(followed);
        let counted = self.followed.as_mut()?;
        let mut block = counted.report()?;
        block.jitter = jitter;
        let reported = self
            .reported
            .filter(|reported| reported.ssrc == counted.ssrc && reported.last != 0);
        if let Some(reported) = reported
            && let Some(delay) = ntp::short(now.since(reported.arrival))
        {
            block.last_sender_report = reported.last;
            block.delay_since_last_sender_report = delay;
        }
        Some(block)
    }

    fn follow(&mut self, followed: Option<u32>) {
        let is_followed =
            |counted: &Option<Counted>| counted.as_ref().map(|counted| counted.ssrc) == followed;
        if followed.is_some() && !is_followed(&self.followed) && is_followed(&self.other) {
            self.followed = self.other.take();
        }
    }
}

/// One source (RFC 3550 A.1), in numbers that do not wrap.
#[derive(Debug, Clone)]
struct Counted {
    ssrc: u32,
    first: u64,
    highest: u64,
    received: u64,
    /// The number after one that leapt too far.
    leapt_to: Option<u16>,
    /// As of the last report.
    expected_before: u64,
    received_before: u64,
}

impl Counted {
    fn new(ssrc: u32, sequence: u16) -> Counted {
        Counted {
            ssrc,
            first: u64::from(sequence),
            highest: u64::from(sequence),
            received: 1,
            leapt_to: None,
            expected_before: 0,
            received_before: 0,
        }
    }

    fn note(&mut self, sequence: u16) {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < DROPOUT_MAX {
            self.highest += u64::from(ahead);
        } else if ahead <= u16::MAX - MISORDER_MAX {
            if self.leapt_to == Some(sequence) {
                *self = Counted::new(self.ssrc, sequence);
            } else {
                self.leapt_to = Some(sequence.wrapping_add(1));
            }
            return;
        }
        self.received += 1;
    }

    /// RFC 3550 A.3.
    fn report(&mut self) -> Option<ReportBlock> {
        if self.received == self.received_before {
            return None;
        }
        let expected = self.highest - self.first + 1;
        let of_interval = expected.saturating_sub(self.expected_before);
        let lost_of_interval = of_interval.saturating_sub(self.received - self.received_before);
        self.expected_before = expected;
        self.received_before = self.received;
        let fraction = (lost_of_interval << 8).checked_div(of_interval).unwrap_or(0);
        let lost = i128::from(expected) - i128::from(self.received);
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            // Written with 24 bits, at which it saturates.
            cumulative_lost: lost.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
            highest_sequence: self.highest as u32,
            ..ReportBlock::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AT: Time = Time::from_millis(1_000);

    fn heard(sequences: impl IntoIterator<Item = u16>) -> Reception {
        let mut reception = Reception::default();
        for sequence in sequences {
            reception.note(7, sequence, Some(7));
        }
        reception
    }

    fn block(reception: &mut Reception) -> ReportBlock {
        reception.report(AT, Some(7), 0).expect("something has come")
    }

    #[test]
    fn loss_is_counted_by_sequence_numbers_over_their_wrap_and_per_interval() {
        // Of 100 numbers over the wrap every tenth is missing, the last two are swapped.
        let mut numbers: Vec<u16> = (0..100_u16)
            .map(|number| 65_500_u16.wrapping_add(number))
            .collect();
        numbers.swap(98, 99);
        let mut reception = heard(
            numbers
                .iter()
                .enumerate()
                .filter(|(index, _)| index % 10 != 4)
                .map(|(_, number)| *number),
        );
        let first = block(&mut reception);
        assert_eq!((first.cumulative_lost, first.fraction_lost), (10, 25));
        assert_eq!(first.highest_sequence, 65_536 + 63);
        // The next interval has no loss; the sum stays.
        (64..164).for_each(|number| reception.note(7, number, Some(7)));
        let second = block(&mut reception);
        assert_eq!((second.cumulative_lost, second.fraction_lost), (10, 0));
        assert_eq!(second.highest_sequence, 65_536 + 163);
    }

    #[test]
    fn duplicates_make_the_loss_negative_and_its_fraction_zero() {
        let mut reception = heard([10, 11, 11, 11, 12]);
        let block = block(&mut reception);
        assert_eq!((block.cumulative_lost, block.fraction_lost), (-2, 0));
    }

    #[test]
    fn an_interval_in_which_nothing_came_is_not_reported() {
        let mut reception = heard([10]);
        assert!(reception.report(AT, Some(7), 0).is_some());
        assert_eq!(reception.report(AT, Some(7), 0), None);
        assert_eq!(Reception::default().report(AT, None, 0), None);
    }

    #[test]
    fn a_sender_that_begins_anew_is_counted_anew_and_one_stray_number_changes_nothing() {
        let mut reception = heard((0..50).chain([40_000]).chain(50..60));
        let stray = block(&mut reception);
        assert_eq!((stray.cumulative_lost, stray.highest_sequence), (0, 59));
        [40_000, 40_001, 40_002]
            .into_iter()
            .for_each(|number| reception.note(7, number, Some(7)));
        let anew = block(&mut reception);
        assert_eq!((anew.cumulative_lost, anew.highest_sequence), (0, 40_002));
    }

    #[test]
    fn the_report_is_of_the_stream_that_is_played_and_counts_its_packets_from_the_first() {
        let mut reception = heard(0..10);
        // A stray of another source, then a stream that playout turns to at its second packet.
        reception.note(8, 500, Some(7));
        assert_eq!(block(&mut reception).ssrc, 7);
        reception.note(9, 600, Some(7));
        reception.note(9, 602, Some(9));
        let turned = reception.report(AT, Some(9), 0).unwrap();
        assert_eq!((turned.ssrc, turned.cumulative_lost), (9, 1));
        assert_eq!(reception.ssrc(), Some(9));
    }

    #[test]
    fn the_last_sender_report_of_the_stream_that_is_played_is_quoted_with_its_age() {
        let mut reception = heard(0..10);
        reception.note_sender_report(AT, 8, 0x1234_5678);
        assert_eq!(block(&mut reception).last_sender_report, 0, "of another stream");
        reception.note_sender_report(AT, 7, 0x1234_5678);
        for (after, quoted) in [
            (Duration::from_millis(1_500), (0x1234_5678, 3 << 15)),
            (Duration::from_hours(18), (0x1234_5678, 64_800 << 16)),
            (Duration::from_hours(19), (0, 0)),
        ] {
            reception.note(7, 10, Some(7));
            let block = reception.report(AT + after, Some(7), 33).unwrap();
            assert_eq!(
                (block.last_sender_report, block.delay_since_last_sender_report),
                quoted,
                "{after:?}"
            );
            assert_eq!(block.jitter, 33);
        }
    }
}
