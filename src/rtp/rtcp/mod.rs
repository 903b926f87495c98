//! RTCP (RFC 3550 §6): compound datagrams in, checked as a whole before anything is read from them, and reports out.
//!
//! Nothing here is authenticated: what a report or a BYE says is a hint, and no more. Every datagram we write begins with a
//! report and names its source, as §6.1 wants.

use thiserror::Error;

use crate::rtp::ntp;

#[cfg(test)]
mod oracle;
mod write;

pub use write::{DATAGRAM_BYTES_MAX, write_bye, write_receiver_report, write_sender_report};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;

/// The SDES item that names a source for good (RFC 3550 §6.5.1).
pub const CNAME: u8 = 1;

/// A report block on the wire, and the five bits that count them.
const BLOCK_BYTES: usize = 24;
const BLOCKS_MAX: usize = 31;

/// Why a datagram is not valid RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Malformed {
    #[error("the datagram or its last packet is shorter than a header")]
    TooShort,
    #[error("the version of a packet is not 2")]
    WrongVersion,
    #[error("the first packet is not a report")]
    BadFirst,
    #[error("the length of a packet reaches past the end")]
    BadLength,
    #[error("padding before the last packet, of no length, or longer than the packet")]
    BadPadding,
    #[error("a report is shorter than its blocks")]
    BadReport,
    #[error("a source description runs past its end")]
    BadDescription,
    #[error("a BYE is shorter than its sources or its reason")]
    BadBye,
}

impl Malformed {
    pub const ALL: [Malformed; 8] = [
        Malformed::TooShort,
        Malformed::WrongVersion,
        Malformed::BadFirst,
        Malformed::BadLength,
        Malformed::BadPadding,
        Malformed::BadReport,
        Malformed::BadDescription,
        Malformed::BadBye,
    ];
}

/// Checks a whole datagram (RFC 3550 A.2, and each packet against its own counts): what it returns cannot be wrong.
///
/// The reduced size of RFC 5506, without a report at the head, is refused: we never agree to it.
pub fn validate(datagram: &[u8]) -> Result<Compound<'_>, Malformed> {
    let mut rest = datagram;
    let mut first = true;
    while first || !rest.is_empty() {
        let (packet, after) = split(rest)?;
        if first && !matches!(packet, Rtcp::SenderReport(_) | Rtcp::ReceiverReport(_)) {
            return Err(Malformed::BadFirst);
        }
        first = false;
        rest = after;
    }
    Ok(Compound { rest: datagram })
}

/// A valid datagram, as an iterator over its packets.
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = Rtcp<'a>;

    fn next(&mut self) -> Option<Rtcp<'a>> {
        let (packet, rest) = split(self.rest).ok()?;
        self.rest = rest;
        Some(packet)
    }
}

/// One packet of a compound datagram.
#[derive(Debug, Clone)]
pub enum Rtcp<'a> {
    SenderReport(SenderReport<'a>),
    ReceiverReport(ReceiverReport<'a>),
    SourceDescription(Items<'a>),
    Bye(Bye<'a>),
    /// Feedback, extended reports and what else there may be; `count` is what the five bits after the padding bit say.
    Other {
        packet_type: u8,
        count: u8,
        body: &'a [u8],
    },
}

/// RFC 3550 §6.4.1: what a source has sent, and how it hears others.
#[derive(Debug, Clone)]
pub struct SenderReport<'a> {
    pub ssrc: u32,
    pub sender: SenderInfo,
    pub blocks: Blocks<'a>,
}

/// RFC 3550 §6.4.2: how a source that does not send hears others.
#[derive(Debug, Clone)]
pub struct ReceiverReport<'a> {
    pub ssrc: u32,
    pub blocks: Blocks<'a>,
}

/// The sender's part of a sender report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock at the sender: seconds since 1900 in the upper 32 bits, their fraction in the lower.
    pub ntp: u64,
    /// The same instant on the RTP timeline.
    pub timestamp: u32,
    pub packets: u32,
    /// Of payload, without headers and padding.
    pub octets: u32,
}

impl SenderInfo {
    /// What a receiver quotes of this report: the middle 32 bits of the wall clock.
    pub const fn last_sender_report(&self) -> u32 {
        ntp::middle(self.ntp)
    }
}

/// RFC 3550 §6.4.1: how one source is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Of the packets expected since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Since the beginning; negative when duplicates outnumber losses. 24 bits on the wire, where it saturates.
    pub cumulative_lost: i32,
    /// The highest sequence number in the lower 16 bits, its wraps in the upper.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the wall clock of the last sender report; zero for none.
    pub last_sender_report: u32,
    /// Since that report, in 65,536ths of a second.
    pub delay_since_last_sender_report: u32,
}

/// The blocks of a report.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    rest: &'a [[u8; BLOCK_BYTES]],
}

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.rest.split_first()?;
        self.rest = rest;
        let [source, loss, highest_sequence, jitter, last_sender_report, delay] = words(block);
        Some(ReportBlock {
            ssrc: source,
            fraction_lost: (loss >> 24) as u8,
            // Shifted up and back, the 24 bits keep their sign.
            cumulative_lost: (loss << 8) as i32 >> 8,
            highest_sequence,
            jitter,
            last_sender_report,
            delay_since_last_sender_report: delay,
        })
    }
}

/// The items of a source description, in the order of its chunks.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    body: &'a [u8],
    offset: usize,
    chunks: u8,
    /// Whose chunk the offset is in.
    ssrc: Option<u32>,
}

/// One item of a source description (RFC 3550 §6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    pub ssrc: u32,
    /// `CNAME` or another.
    pub kind: u8,
    /// Meant to be UTF-8, which nobody has checked.
    pub text: &'a [u8],
}

impl<'a> Items<'a> {
    fn step(&mut self) -> Result<Option<Item<'a>>, Malformed> {
        loop {
            let rest = self.body.get(self.offset..).ok_or(Malformed::BadDescription)?;
            match (self.ssrc, rest) {
                (None, _) if self.chunks == 0 => return Ok(None),
                (None, &[i0, i1, i2, i3, ..]) => {
                    self.ssrc = Some(u32::from_be_bytes([i0, i1, i2, i3]));
                    self.chunks -= 1;
                    self.offset += 4;
                }
                (Some(_), &[0, ..]) => {
                    // The list ends with a null, and the chunk with the 32 bit word that has it.
                    self.ssrc = None;
                    self.offset = (self.offset / 4 + 1) * 4;
                }
                (Some(ssrc), &[kind, bytes, ref rest @ ..]) => {
                    let bytes = usize::from(bytes);
                    let text = rest.get(..bytes).ok_or(Malformed::BadDescription)?;
                    self.offset += 2 + bytes;
                    return Ok(Some(Item { ssrc, kind, text }));
                }
                _ => return Err(Malformed::BadDescription),
            }
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        self.step().ok().flatten()
    }
}

/// RFC 3550 §6.6: sources that say they leave.
#[derive(Debug, Clone)]
pub struct Bye<'a> {
    sources: &'a [[u8; 4]],
    /// Empty when none was given; meant to be UTF-8, which nobody has checked.
    pub reason: &'a [u8],
}

impl Bye<'_> {
    pub fn sources(&self) -> impl Iterator<Item = u32> {
        self.sources.iter().map(|ssrc| u32::from_be_bytes(*ssrc))
    }
}

/// The first packet, and what follows it.
fn split(datagram: &[u8]) -> Result<(Rtcp<'_>, &[u8]), Malformed> {
    let Some((&[flags, packet_type, w0, w1], rest)) = datagram.split_first_chunk() else {
        return Err(Malformed::TooShort);
    };
    if flags >> 6 != 2 {
        return Err(Malformed::WrongVersion);
    }
    let bytes = 4 * usize::from(u16::from_be_bytes([w0, w1]));
    let (mut body, after) = rest.split_at_checked(bytes).ok_or(Malformed::BadLength)?;
    if flags & 0x20 != 0 {
        // RFC 3550 §6.4.1: only the last packet is padded, by a multiple of four.
        let padding = usize::from(*body.last().ok_or(Malformed::BadPadding)?);
        if !after.is_empty() || padding == 0 || !padding.is_multiple_of(4) || padding > body.len() {
            return Err(Malformed::BadPadding);
        }
        body = &body[..body.len() - padding];
    }
    Ok((parse(packet_type, flags & 0x1F, body)?, after))
}

fn parse(packet_type: u8, count: u8, body: &[u8]) -> Result<Rtcp<'_>, Malformed> {
    Ok(match packet_type {
        SENDER_REPORT => {
            let (head, rest) = body.split_first_chunk::<24>().ok_or(Malformed::BadReport)?;
            let [ssrc, ntp_seconds, ntp_fraction, timestamp, packets, octets] = words(head);
            let ntp = u64::from(ntp_seconds) << 32 | u64::from(ntp_fraction);
            let sender = SenderInfo {
                ntp,
                timestamp,
                packets,
                octets,
            };
            Rtcp::SenderReport(SenderReport {
                ssrc,
                sender,
                blocks: blocks(count, rest)?,
            })
        }
        RECEIVER_REPORT => {
            let (head, rest) = body.split_first_chunk::<4>().ok_or(Malformed::BadReport)?;
            let [ssrc] = words(head);
            Rtcp::ReceiverReport(ReceiverReport {
                ssrc,
                blocks: blocks(count, rest)?,
            })
        }
        SOURCE_DESCRIPTION => {
            let items = Items {
                body,
                offset: 0,
                chunks: count,
                ssrc: None,
            };
            let mut walk = items.clone();
            while walk.step()?.is_some() {}
            Rtcp::SourceDescription(items)
        }
        BYE => {
            let (sources, rest) = body
                .split_at_checked(4 * usize::from(count))
                .ok_or(Malformed::BadBye)?;
            let reason = match rest {
                [] => &[],
                [bytes, text @ ..] => text.get(..usize::from(*bytes)).ok_or(Malformed::BadBye)?,
            };
            Rtcp::Bye(Bye {
                sources: sources.as_chunks().0,
                reason,
            })
        }
        _ => Rtcp::Other {
            packet_type,
            count,
            body,
        },
    })
}

/// The blocks of a report; what a profile adds after them is not read.
fn blocks(count: u8, body: &[u8]) -> Result<Blocks<'_>, Malformed> {
    let rest = body
        .as_chunks()
        .0
        .get(..usize::from(count))
        .ok_or(Malformed::BadReport)?;
    Ok(Blocks { rest })
}

/// The big-endian words of `bytes`, which are four times as many.
fn words<const WORDS: usize>(bytes: &[u8]) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet whose length field is right, unless the body is no whole number of words.
    fn packet(flags: u8, packet_type: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80 | flags, packet_type, 0, (body.len() / 4) as u8];
        packet.extend_from_slice(body);
        packet
    }

    fn after_a_report(packet: &[u8]) -> Vec<u8> {
        [&[0x80, 201, 0, 1, 0, 0, 0, 9], packet].concat()
    }

    #[test]
    fn what_is_malformed_is_refused_by_name() {
        use Malformed::*;
        let cases: [(&str, Vec<u8>, Malformed); 21] = [
            ("nothing", vec![], TooShort),
            ("half a header", vec![0x80, 201, 0], TooShort),
            ("version 1", vec![0x40, 201, 0, 1, 0, 0, 0, 9], WrongVersion),
            (
                "version 1 later",
                after_a_report(&[0x40, 203, 0, 0]),
                WrongVersion,
            ),
            ("a tail", after_a_report(&[0x80, 203]), TooShort),
            ("a BYE first", packet(0, 203, &[]), BadFirst),
            ("feedback first", packet(1, 205, &[0; 8]), BadFirst),
            ("past the end", vec![0x80, 201, 0, 2, 0, 0, 0, 9], BadLength),
            (
                "far past the end",
                vec![0x80, 201, 0xFF, 0xFF, 0, 0, 0, 9],
                BadLength,
            ),
            ("a report of length 0", vec![0x80, 201, 0, 0], BadReport),
            (
                "31 blocks that are not there",
                packet(31, 200, &[0; 24 + 30 * 24]),
                BadReport,
            ),
            (
                "a sender report without sender",
                packet(0, 200, &[0; 20]),
                BadReport,
            ),
            ("a block that is not there", packet(1, 201, &[0; 24]), BadReport),
            (
                "padding before the end",
                [packet(0x20, 201, &[0, 0, 0, 9, 0, 0, 0, 4]), packet(0, 203, &[])].concat(),
                BadPadding,
            ),
            (
                "padding of zero",
                packet(0x20, 201, &[0, 0, 0, 9, 0, 0, 0, 0]),
                BadPadding,
            ),
            (
                "padding of three",
                packet(0x20, 201, &[0, 0, 0, 9, 0, 0, 0, 3]),
                BadPadding,
            ),
            (
                "padding past the start",
                packet(0x20, 201, &[0, 0, 0, 9, 0, 0, 0, 12]),
                BadPadding,
            ),
            (
                "a description without end",
                after_a_report(&packet(1, 202, &[0, 0, 0, 9, 1, 2, b'a', b'b'])),
                BadDescription,
            ),
            (
                "an item past the end",
                after_a_report(&packet(1, 202, &[0, 0, 0, 9, 1, 200, 0, 0])),
                BadDescription,
            ),
            (
                "a chunk that is not there",
                after_a_report(&packet(2, 202, &[0, 0, 0, 9, 0, 0, 0, 0])),
                BadDescription,
            ),
            (
                "a source that is not there",
                after_a_report(&packet(2, 203, &[0, 0, 0, 9])),
                BadBye,
            ),
        ];
        for (what, datagram, expected) in cases {
            assert_eq!(validate(&datagram).err(), Some(expected), "{what}");
        }
        let endless_reason = after_a_report(&packet(1, 203, &[0, 0, 0, 9, 4, b'b', b'y', b'e']));
        assert_eq!(validate(&endless_reason).err(), Some(BadBye));
    }

    #[test]
    fn what_is_unusual_but_valid_is_read() {
        // Padding at the end; an extension of a report; packets we do not know, of any body.
        assert_eq!(
            validate(&packet(0x20, 201, &[0, 0, 0, 9, 0, 0, 0, 4]))
                .unwrap()
                .count(),
            1
        );
        assert_eq!(
            validate(&packet(0, 201, &[0, 0, 0, 9, 1, 2, 3, 4]))
                .unwrap()
                .count(),
            1
        );
        for (packet_type, body) in [
            (204, &[0; 8][..]),
            (207, &[0, 0, 0, 9, 4, 0, 0, 0]),
            (206, &[]),
            (255, &[]),
        ] {
            let datagram = after_a_report(&packet(3, packet_type, body));
            let Some(Rtcp::Other {
                packet_type: read,
                count: 3,
                body: read_body,
            }) = validate(&datagram).unwrap().nth(1)
            else {
                panic!("packet type {packet_type}");
            };
            assert_eq!((read, read_body), (packet_type, body));
        }
        // Two chunks, the first of two items and the second of none.
        let chunks = [
            0, 0, 0, 1, 1, 1, b'a', 2, 2, b'b', b'c', 0, 0, 0, 0, 2, 0, 0, 0, 0,
        ];
        let datagram = after_a_report(&packet(2, 202, &chunks));
        let Some(Rtcp::SourceDescription(items)) = validate(&datagram).unwrap().nth(1) else {
            panic!("no description");
        };
        let items: Vec<Item<'_>> = items.collect();
        assert_eq!(
            items,
            [
                Item {
                    ssrc: 1,
                    kind: 1,
                    text: b"a"
                },
                Item {
                    ssrc: 1,
                    kind: 2,
                    text: b"bc"
                }
            ]
        );
        let datagram = after_a_report(&packet(2, 203, &[0, 0, 0, 1, 0, 0, 0, 2, 3, b'b', b'y', b'e']));
        let Some(Rtcp::Bye(bye)) = validate(&datagram).unwrap().nth(1) else {
            panic!("no bye");
        };
        assert_eq!(
            (bye.sources().collect::<Vec<_>>(), bye.reason),
            (vec![1, 2], &b"bye"[..])
        );
    }
}
