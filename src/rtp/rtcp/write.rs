//! The RTCP we send: whole datagrams into the caller's buffer, each beginning with a report and naming its source
//! (RFC 3550 §6.1).

use super::{BLOCK_BYTES, BLOCKS_MAX, BYE, CNAME, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION};
use super::{ReportBlock, SenderInfo};

/// SDES gives a text one byte for its length.
const CNAME_BYTES_MAX: usize = 255;

/// The longest datagram the writers make: a sender report with all its blocks and the longest name.
pub const DATAGRAM_BYTES_MAX: usize = 28 + BLOCKS_MAX * BLOCK_BYTES + 8 + 2 + CNAME_BYTES_MAX + 4;

/// Writes a sender report and the name of its source; returns the length of the datagram. `None` when `out` is too short
/// (`DATAGRAM_BYTES_MAX` never is), there are more than 31 blocks, or the name is longer than 255 bytes.
pub fn write_sender_report(
    out: &mut [u8],
    ssrc: u32,
    sender: &SenderInfo,
    blocks: &[ReportBlock],
    cname: &[u8],
) -> Option<usize> {
    let mut writer = Writer { out, written: 0 };
    let report = writer.begin(blocks.len(), SENDER_REPORT)?;
    let (ntp_seconds, ntp_fraction) = ((sender.ntp >> 32) as u32, sender.ntp as u32);
    for word in [
        ssrc,
        ntp_seconds,
        ntp_fraction,
        sender.timestamp,
        sender.packets,
        sender.octets,
    ] {
        writer.put(&word.to_be_bytes())?;
    }
    writer.blocks(blocks)?;
    writer.end(report);
    writer.description(ssrc, cname)?;
    Some(writer.written)
}

/// Writes a receiver report and the name of its source, on the terms of `write_sender_report`.
pub fn write_receiver_report(
    out: &mut [u8],
    ssrc: u32,
    blocks: &[ReportBlock],
    cname: &[u8],
) -> Option<usize> {
    let mut writer = Writer { out, written: 0 };
    writer.receiver_report(ssrc, blocks)?;
    writer.description(ssrc, cname)?;
    Some(writer.written)
}

/// Writes the leave of a source after an empty report and its name, on the terms of `write_sender_report`.
pub fn write_bye(out: &mut [u8], ssrc: u32, cname: &[u8]) -> Option<usize> {
    let mut writer = Writer { out, written: 0 };
    writer.receiver_report(ssrc, &[])?;
    writer.description(ssrc, cname)?;
    let bye = writer.begin(1, BYE)?;
    writer.put(&ssrc.to_be_bytes())?;
    writer.end(bye);
    Some(writer.written)
}

struct Writer<'a> {
    out: &'a mut [u8],
    written: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.out
            .get_mut(self.written..)?
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
        self.written += bytes.len();
        Some(())
    }

    /// Writes a header whose length `end` fills in; returns where it stands.
    fn begin(&mut self, count: usize, packet_type: u8) -> Option<usize> {
        if count > BLOCKS_MAX {
            return None;
        }
        let start = self.written;
        self.put(&[0x80 | count as u8, packet_type, 0, 0])?;
        Some(start)
    }

    fn end(&mut self, start: usize) {
        let words = (self.written - start) / 4 - 1;
        self.out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
    }

    fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) -> Option<()> {
        let report = self.begin(blocks.len(), RECEIVER_REPORT)?;
        self.put(&ssrc.to_be_bytes())?;
        self.blocks(blocks)?;
        self.end(report);
        Some(())
    }

    fn blocks(&mut self, blocks: &[ReportBlock]) -> Option<()> {
        for block in blocks {
            let lost = block.cumulative_lost.clamp(-(1 << 23), (1 << 23) - 1);
            let loss = u32::from(block.fraction_lost) << 24 | (lost as u32 & 0x00FF_FFFF);
            for word in [
                block.ssrc,
                loss,
                block.highest_sequence,
                block.jitter,
                block.last_sender_report,
                block.delay_since_last_sender_report,
            ] {
                self.put(&word.to_be_bytes())?;
            }
        }
        Some(())
    }

    fn description(&mut self, ssrc: u32, cname: &[u8]) -> Option<()> {
        let description = self.begin(1, SOURCE_DESCRIPTION)?;
        self.put(&ssrc.to_be_bytes())?;
        self.put(&[CNAME, u8::try_from(cname.len()).ok()?])?;
        self.put(cname)?;
        // At least one null ends the list, and the chunk ends with a word.
        let nulls = 4 - self.written % 4;
        self.put(&[0; 4][..nulls])?;
        self.end(description);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Item, Malformed, Rtcp, validate};
    use super::*;

    const NAME: &[u8] = b"7f3a@mixminus";

    fn sender() -> SenderInfo {
        SenderInfo {
            ntp: 0x8321_5678_9ABC_DEF0,
            timestamp: 0x0102_0304,
            packets: 50,
            octets: 8_000,
        }
    }

    fn block(ssrc: u32) -> ReportBlock {
        ReportBlock {
            ssrc,
            fraction_lost: 64,
            cumulative_lost: -5,
            highest_sequence: 0x0001_FFFE,
            jitter: 33,
            last_sender_report: 0x5678_9ABC,
            delay_since_last_sender_report: 65_536,
        }
    }

    #[test]
    fn a_sender_report_is_laid_out_as_in_section_6() {
        let mut out = [0xEE; DATAGRAM_BYTES_MAX];
        let bytes = write_sender_report(&mut out, 0xAABB_CCDD, &sender(), &[block(7)], b"abc").unwrap();
        #[rustfmt::skip]
        let expected = [
            0x81, 200, 0, 12, 0xAA, 0xBB, 0xCC, 0xDD,
            0x83, 0x21, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0, 1, 2, 3, 4, 0, 0, 0, 50, 0, 0, 0x1F, 0x40,
            0, 0, 0, 7, 64, 0xFF, 0xFF, 0xFB, 0, 1, 0xFF, 0xFE, 0, 0, 0, 33, 0x56, 0x78, 0x9A, 0xBC, 0, 1, 0, 0,
            0x81, 202, 0, 3, 0xAA, 0xBB, 0xCC, 0xDD, 1, 3, b'a', b'b', b'c', 0, 0, 0,
        ];
        assert_eq!(out[..bytes], expected);
    }

    #[test]
    fn what_we_write_we_read() {
        let mut out = [0xEE; DATAGRAM_BYTES_MAX];
        let all: Vec<ReportBlock> = (0..31).map(block).collect();
        let bytes = write_sender_report(&mut out, 1, &sender(), &all, NAME).unwrap();
        let packets: Vec<Rtcp<'_>> = validate(&out[..bytes]).unwrap().collect();
        let [Rtcp::SenderReport(report), Rtcp::SourceDescription(items)] = &packets[..] else {
            panic!("{packets:?}");
        };
        assert_eq!((report.ssrc, report.sender), (1, sender()));
        assert_eq!(report.sender.last_sender_report(), 0x5678_9ABC);
        assert_eq!(report.blocks.clone().collect::<Vec<_>>(), all);
        assert_eq!(
            items.clone().collect::<Vec<_>>(),
            [Item {
                ssrc: 1,
                kind: CNAME,
                text: NAME
            }]
        );

        let bytes = write_receiver_report(&mut out, 2, &[block(8)], NAME).unwrap();
        let packets: Vec<Rtcp<'_>> = validate(&out[..bytes]).unwrap().collect();
        let [Rtcp::ReceiverReport(report), Rtcp::SourceDescription(_)] = &packets[..] else {
            panic!("{packets:?}");
        };
        assert_eq!(report.ssrc, 2);
        assert_eq!(report.blocks.clone().collect::<Vec<_>>(), [block(8)]);

        let bytes = write_bye(&mut out, 3, NAME).unwrap();
        let packets: Vec<Rtcp<'_>> = validate(&out[..bytes]).unwrap().collect();
        let [
            Rtcp::ReceiverReport(_),
            Rtcp::SourceDescription(_),
            Rtcp::Bye(bye),
        ] = &packets[..]
        else {
            panic!("{packets:?}");
        };
        assert_eq!(bye.sources().collect::<Vec<_>>(), [3]);
        assert_eq!(bye.reason, b"");
    }

    #[test]
    fn a_name_of_any_length_is_written_whole_or_not_at_all() {
        let mut out = [0xEE; DATAGRAM_BYTES_MAX];
        for length in 0..=CNAME_BYTES_MAX {
            let name = vec![b'n'; length];
            let bytes = write_receiver_report(&mut out, 2, &[], &name).unwrap();
            let Some(Rtcp::SourceDescription(mut items)) = validate(&out[..bytes]).unwrap().nth(1) else {
                panic!("no name of {length} bytes");
            };
            assert_eq!(items.next().unwrap().text, name);
            assert_eq!(write_receiver_report(&mut out[..bytes - 1], 2, &[], &name), None);
        }
        assert_eq!(write_receiver_report(&mut out, 2, &[], &[b'n'; 256]), None);
        let many = [block(1); 32];
        assert_eq!(write_receiver_report(&mut out, 2, &many, NAME), None);
        let longest = write_sender_report(&mut out, 2, &sender(), &many[..31], &[b'n'; 255]).unwrap();
        assert!(
            longest <= DATAGRAM_BYTES_MAX && longest + 4 > DATAGRAM_BYTES_MAX,
            "{longest}"
        );
    }

    #[test]
    fn losses_saturate_at_24_bits() {
        for (lost, expected) in [
            (i32::MAX, (1 << 23) - 1),
            (i32::MIN, -(1 << 23)),
            (-1, -1),
            (8_388_607, 8_388_607),
        ] {
            let mut out = [0; DATAGRAM_BYTES_MAX];
            let written = ReportBlock {
                cumulative_lost: lost,
                ..block(1)
            };
            let bytes = write_receiver_report(&mut out, 2, &[written], NAME).unwrap();
            let Some(Rtcp::ReceiverReport(mut report)) = validate(&out[..bytes]).unwrap().next() else {
                panic!("no report");
            };
            let read = report.blocks.next().unwrap();
            assert_eq!((read.cumulative_lost, read.fraction_lost), (expected, 64));
        }
    }

    #[test]
    fn damaged_datagrams_are_read_to_their_end_or_refused() {
        let mut random = fastrand::Rng::with_seed(9);
        let mut out = [0; DATAGRAM_BYTES_MAX];
        let (mut valid, mut refused) = (0, [0; Malformed::ALL.len()]);
        for _ in 0..50_000 {
            let blocks = [block(1); 3];
            let bytes = match random.u8(0..3) {
                0 => write_sender_report(&mut out, 1, &sender(), &blocks[..random.usize(0..4)], NAME),
                1 => write_receiver_report(&mut out, 1, &blocks[..random.usize(0..4)], NAME),
                _ => write_bye(&mut out, 1, NAME),
            };
            let mut datagram = out[..bytes.unwrap()].to_vec();
            if random.u8(0..10) == 0 {
                datagram.truncate(random.usize(1..datagram.len()));
            }
            for _ in 0..random.usize(0..4) {
                let at = random.usize(0..datagram.len());
                datagram[at] = if random.bool() {
                    random.u8(..)
                } else {
                    datagram[at] ^ 1 << random.u8(0..8)
                };
            }
            match validate(&datagram) {
                Ok(compound) => {
                    let mut read = 0;
                    for packet in compound {
                        read += match packet {
                            Rtcp::SenderReport(report) => 28 + BLOCK_BYTES * report.blocks.count(),
                            Rtcp::ReceiverReport(report) => 8 + BLOCK_BYTES * report.blocks.count(),
                            Rtcp::SourceDescription(items) => {
                                4 + items.map(|item| 2 + item.text.len()).sum::<usize>()
                            }
                            Rtcp::Bye(bye) => 4 + 4 * bye.sources().count() + bye.reason.len(),
                            Rtcp::Other { body, .. } => 4 + body.len(),
                        };
                    }
                    assert!(
                        read >= 8 && read <= datagram.len(),
                        "{read} of {}",
                        datagram.len()
                    );
                    valid += 1;
                }
                Err(malformed) => {
                    let at = Malformed::ALL
                        .iter()
                        .position(|reason| *reason == malformed)
                        .unwrap();
                    refused[at] += 1;
                }
            }
        }
        assert!(
            valid > 10_000 && refused.iter().all(|count| *count > 10),
            "{valid} valid, {refused:?}"
        );
    }
}
