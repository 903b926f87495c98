//! How much of what we send the remote party loses, by its own reports, in steps coarse enough to act upon.
//!
//! Reports are not authenticated on a plain leg, and anybody can send many: what came within a second counts as one,
//! so what we send changes no more often than that.

use crate::rtp::rtcp::{Compound, ReportBlock, Rtcp};

/// Reports are taken together over so many ticks: a second.
const STRETCH_TICKS: u8 = 50;

/// From which share on the loss counts as what percentage.
const STEPS: [(f32, u8); 3] = [(0.15, 20), (0.07, 10), (0.02, 5)];

/// The share must fall below this part of a step's own before that step is left.
const HYSTERESIS: f32 = 0.6;

/// Less than this is a clean report, and so many in a row end it.
const CLEAN: f32 = 0.01;
const CLEAN_MIN: u8 = 3;

#[derive(Debug, Clone, Default)]
pub(crate) struct RemoteLoss {
    /// Of the stretch that runs: 256ths, and the blocks that they come from.
    fractions: u32,
    blocks: u32,
    ticks: u8,
    /// A share, smoothed over stretches with reports.
    share: f32,
    clean: u8,
    percent: u8,
}

impl RemoteLoss {
    /// Hears what a datagram reports about the source `ssrc`, our own.
    pub fn hear(&mut self, reports: Compound<'_>, ssrc: u32) {
        for packet in reports {
            let blocks = match packet {
                Rtcp::SenderReport(report) => report.blocks,
                Rtcp::ReceiverReport(report) => report.blocks,
                Rtcp::SourceDescription(_) | Rtcp::Bye(_) | Rtcp::Other { .. } => continue,
            };
            for ReportBlock { fraction_lost, .. } in blocks.filter(|block| block.ssrc == ssrc) {
                self.fractions = self.fractions.saturating_add(u32::from(fraction_lost));
                self.blocks = self.blocks.saturating_add(1);
            }
        }
    }

    /// A tick goes by.
    pub fn step(&mut self) {
        self.ticks += 1;
        if self.ticks < STRETCH_TICKS {
            return;
        }
        self.ticks = 0;
        if self.blocks == 0 {
            return;
        }
        let share = self.fractions as f32 / (256.0 * self.blocks as f32);
        (self.fractions, self.blocks) = (0, 0);
        self.clean = if share < CLEAN {
            self.clean.saturating_add(1)
        } else {
            0
        };
        let weight = if share > self.share { 0.5 } else { 0.25 };
        self.share += weight * (share - self.share);
        let lowest = if self.clean >= CLEAN_MIN {
            0
        } else {
            self.percent.min(5)
        };
        self.percent = percent_of(self.share)
            .max(self.percent.min(percent_of(self.share / HYSTERESIS)))
            .max(lowest);
    }

    /// 0, 5, 10 or 20.
    pub fn percent(&self) -> u8 {
        self.percent
    }
}

fn percent_of(share: f32) -> u8 {
    let step = STEPS.iter().find(|(from, _)| share >= *from);
    step.map_or(0, |(_, percent)| *percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::rtcp;

    const SSRC: u32 = 7;

    /// A receiver report (RFC 3550 §6.4.2) about `ssrc`.
    fn report(ssrc: u32, percent: u32) -> Vec<u8> {
        let mut datagram = vec![0x81, 201, 0, 7, 0, 0, 0, 1];
        datagram.extend(ssrc.to_be_bytes());
        datagram.push((percent * 256 / 100).min(255) as u8);
        datagram.extend([0; 19]);
        datagram
    }

    /// One report each five seconds; what is believed after each.
    fn believed(loss: &mut RemoteLoss, percents: &[u32]) -> Vec<u8> {
        let mut believed = vec![];
        for percent in percents {
            let datagram = report(SSRC, *percent);
            loss.hear(rtcp::validate(&datagram).unwrap(), SSRC);
            for _ in 0..250 {
                loss.step();
            }
            believed.push(loss.percent());
        }
        believed
    }

    #[test]
    fn loss_is_believed_by_steps_and_forgotten_after_several_clean_reports() {
        for (reports, expected) in [
            (&[0, 1, 1, 1, 1][..], &[0, 0, 0, 0, 0][..]),
            (&[5, 5, 5], &[5, 5, 5]),
            (&[10, 10, 10, 10], &[5, 10, 10, 10]),
            (&[20, 20, 20], &[10, 10, 20]),
            // Around a step it does not go to and fro.
            (&[9, 9, 9, 6, 8, 6, 8, 6], &[5, 5, 10, 10, 10, 10, 10, 10]),
            (&[5, 5, 0, 0, 0, 0, 0, 0], &[5, 5, 5, 5, 5, 0, 0, 0]),
            (&[5, 2, 2, 2, 2, 2, 2, 2], &[5, 5, 5, 5, 5, 5, 5, 5]),
        ] {
            assert_eq!(
                believed(&mut RemoteLoss::default(), reports),
                expected,
                "{reports:?}"
            );
        }
    }

    #[test]
    fn a_flood_of_reports_changes_no_more_than_one_a_second() {
        let mut loss = RemoteLoss::default();
        let mut changes = 0;
        for number in 0..50 * 60 {
            for percent in [0, 100] {
                let datagram = report(SSRC, percent);
                for _ in 0..100 {
                    loss.hear(rtcp::validate(&datagram).unwrap(), SSRC);
                }
            }
            let before = loss.percent();
            loss.step();
            changes += u32::from(loss.percent() != before);
            assert!(number >= 49 || changes == 0);
        }
        assert_eq!(changes, 1, "half of it lost, all the time");
    }

    #[test]
    fn reports_about_others_say_nothing() {
        let mut loss = RemoteLoss::default();
        let datagram = report(8, 50);
        loss.hear(rtcp::validate(&datagram).unwrap(), SSRC);
        (0..100).for_each(|_| loss.step());
        assert_eq!(loss.percent(), 0);
    }
}
