//! One RTP packet as a view of the datagram it came in (RFC 3550 §5.1): nothing is copied, and once parsed it cannot
//! be wrong. And the twelve bytes we put before a payload of our own.

use thiserror::Error;

/// The header without contributing sources and extension: all that we send.
pub const HEADER_BYTES: usize = 12;

/// Whether a datagram on a port that carries both is RTCP rather than RTP.
///
/// RFC 5761 §4: the second byte of RTCP is a packet type from 192 to 223, which for RTP were a payload type from 64 to 95
/// with the marker; those are not to be used.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram
        .get(1)
        .is_some_and(|packet_type| (192..=223).contains(packet_type))
}

/// Why a datagram is no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Malformed {
    #[error("the datagram is shorter than an RTP header")]
    TooShort,
    #[error("the version is not 2")]
    WrongVersion,
    #[error("the contributing sources reach past the end")]
    BadCsrc,
    #[error("the header extension reaches past the end")]
    BadExtension,
    #[error("the padding is none, or more than the payload")]
    BadPadding,
}

/// A well-formed RTP packet, padding removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// How many sources a mixer before us has put into this packet, 0 to 15.
    pub csrc_count: u8,
    pub extension: Option<Extension<'a>>,
    /// May be empty: a packet of padding alone counts in the sequence and carries no sound.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let Some((header, mut rest)) = datagram.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed::TooShort);
        };
        let [flags, kind, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *header;
        if flags >> 6 != 2 {
            return Err(Malformed::WrongVersion);
        }
        let csrc_count = flags & 0x0F;
        if csrc_count > 0 {
            rest = rest
                .get(4 * usize::from(csrc_count)..)
                .ok_or(Malformed::BadCsrc)?;
        }
        let mut extension = None;
        if flags & 0x10 != 0 {
            let (&[p0, p1, w0, w1], after) = rest.split_first_chunk().ok_or(Malformed::BadExtension)?;
            let bytes = 4 * usize::from(u16::from_be_bytes([w0, w1]));
            let (data, after) = after.split_at_checked(bytes).ok_or(Malformed::BadExtension)?;
            extension = Some(Extension {
                profile: u16::from_be_bytes([p0, p1]),
                data,
            });
            rest = after;
        }
        if flags & 0x20 != 0 {
            let padding = usize::from(*rest.last().ok_or(Malformed::BadPadding)?);
            if padding == 0 || padding > rest.len() {
                return Err(Malformed::BadPadding);
            }
            rest = &rest[..rest.len() - padding];
        }
        Ok(Packet {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7F,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
            csrc_count,
            extension,
            payload: rest,
        })
    }
}

/// The header extension of a packet (RFC 3550 §5.3.1), a whole number of 32 bit words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    pub profile: u16,
    pub data: &'a [u8],
}

impl<'a> Extension<'a> {
    /// The elements of RFC 8285, as identifier and value; none for another profile.
    pub fn elements(&self) -> Elements<'a> {
        match self.profile {
            0xBEDE => Elements {
                form: Form::OneByte,
                rest: self.data,
            },
            // RFC 8285 §4.3: the last four bits belong to the application.
            0x1000..=0x100F => Elements {
                form: Form::TwoByte,
                rest: self.data,
            },
            _ => Elements {
                form: Form::OneByte,
                rest: &[],
            },
        }
    }
}

/// Ends at the first element that cannot be, and keeps those before it.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    form: Form,
    rest: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum Form {
    OneByte,
    TwoByte,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let (id, bytes, rest) = match (self.form, self.rest) {
            (Form::OneByte, &[head, ref rest @ ..]) => (head >> 4, usize::from(head & 0x0F) + 1, rest),
            (Form::TwoByte, &[id, bytes, ref rest @ ..]) => (id, usize::from(bytes), rest),
            _ => (0, 0, self.rest),
        };
        // RFC 8285 §4.2: in the one-byte form the identifier 15, and 0 with a length, end the extension.
        let ends = matches!((self.form, id), (_, 0) | (Form::OneByte, 15));
        match rest.split_at_checked(bytes) {
            Some((value, rest)) if !ends => {
                self.rest = rest;
                Some((id, value))
            }
            _ => {
                self.rest = &[];
                None
            }
        }
    }
}

/// What stands before a payload that we send: no padding, no contributing sources, no extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl Header {
    #[inline]
    pub fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        debug_assert!(self.payload_type < 128, "payload type {}", self.payload_type);
        let kind = (u8::from(self.marker) << 7) | (self.payload_type & 0x7F);
        *out = [0x80, kind, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3];
    }
}

#[cfg(test)]
mod tests {
    use rtc_shared::marshal::{Marshal, Unmarshal};

    use super::*;

    const PLAIN: [u8; 12] = [0x80, 0x80 | 96, 0x12, 0x34, 0, 0, 0, 5, 0xDE, 0xAD, 0xBE, 0xEF];

    fn with(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut datagram = PLAIN.to_vec();
        datagram[0] = flags;
        datagram.extend_from_slice(rest);
        datagram
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_the_second_byte() {
        let cases: [(&[u8], bool); 10] = [
            (&[], false),
            (&[0x80], false),
            (&[0x80, 0], false),
            // PCMU with the marker, and the highest payload type with it.
            (&[0x80, 0x80], false),
            (&[0x80, 0xFF], false),
            (&[0x80, 191], false),
            (&[0x80, 192], true),
            (&[0x80, 200], true),
            (&[0x80, 223], true),
            (&[0x80, 224], false),
        ];
        for (datagram, expected) in cases {
            assert_eq!(is_rtcp(datagram), expected, "{datagram:?}");
        }
    }

    #[test]
    fn every_field_is_read_from_its_place() {
        let datagram = with(0x80, b"sound");
        let expected = Packet {
            marker: true,
            payload_type: 96,
            sequence: 0x1234,
            timestamp: 5,
            ssrc: 0xDEAD_BEEF,
            csrc_count: 0,
            extension: None,
            payload: b"sound",
        };
        assert_eq!(Packet::parse(&datagram), Ok(expected));
    }

    #[test]
    fn what_is_malformed_is_refused_by_name() {
        use Malformed::*;
        let cases: [(Vec<u8>, Malformed); 13] = [
            (vec![], TooShort),
            (PLAIN[..11].to_vec(), TooShort),
            (with(0x00, b"sound"), WrongVersion),
            (with(0x40, b"sound"), WrongVersion),
            (with(0xC0, b"sound"), WrongVersion),
            (with(0x8F, &[0; 59]), BadCsrc),
            (with(0x81, &[]), BadCsrc),
            (with(0x90, &[0xBE, 0xDE, 0]), BadExtension),
            (with(0x90, &[0xBE, 0xDE, 0, 1, 0, 0, 0]), BadExtension),
            (with(0x90, &[0xBE, 0xDE, 0xFF, 0xFF, 0, 0, 0, 0]), BadExtension),
            (with(0xA0, &[]), BadPadding),
            (with(0xA0, &[1, 2, 0]), BadPadding),
            (with(0xA0, &[1, 2, 4]), BadPadding),
        ];
        for (datagram, expected) in cases {
            assert_eq!(Packet::parse(&datagram), Err(expected), "{datagram:02x?}");
        }
    }

    #[test]
    fn padding_is_removed_and_may_be_all_there_is() {
        assert_eq!(Packet::parse(&with(0xA0, &[7, 8, 0, 2])).unwrap().payload, [7, 8]);
        assert_eq!(Packet::parse(&with(0xA0, &[0, 0, 3])).unwrap().payload, [0_u8; 0]);
        assert_eq!(Packet::parse(&with(0xA0, &[7, 1])).unwrap().payload, [7]);
        assert_eq!(Packet::parse(&with(0x80, &[])).unwrap().payload, [0_u8; 0]);
        // Padding does not reach into the extension before it.
        let extension_then_padding = with(0xB0, &[0xBE, 0xDE, 0, 1, 0x10, 9, 0, 0, 5]);
        assert_eq!(Packet::parse(&extension_then_padding), Err(Malformed::BadPadding));
    }

    #[test]
    fn sources_and_extension_stand_before_the_payload() {
        let mut rest = vec![0xCC; 60];
        rest.extend_from_slice(&[0xBE, 0xDE, 0, 1, 0x10, 0x55, 0, 0]);
        rest.extend_from_slice(b"sound");
        let datagram = with(0x9F, &rest);
        let packet = Packet::parse(&datagram).unwrap();
        assert_eq!((packet.csrc_count, packet.payload), (15, &b"sound"[..]));
        assert_eq!(
            packet.extension.unwrap().elements().collect::<Vec<_>>(),
            [(1, &[0x55][..])]
        );
    }

    #[test]
    fn elements_of_both_forms_are_found_and_end_where_they_lie() {
        type Found = &'static [(u8, &'static [u8])];
        let cases: [(u16, &[u8], Found); 13] = [
            (0xBEDE, &[], &[]),
            (
                0xBEDE,
                &[0x10, 7, 0x21, 8, 9, 0, 0, 0],
                &[(1, &[7]), (2, &[8, 9])],
            ),
            (0xBEDE, &[0, 0, 0x10, 7], &[(1, &[7])]),
            // Identifier 15, and 0 with a length.
            (0xBEDE, &[0x10, 7, 0xF0, 1, 0x20, 8, 0, 0], &[(1, &[7])]),
            (0xBEDE, &[0x10, 7, 0x01, 1, 2, 0x20, 8, 0], &[(1, &[7])]),
            // A length past the end.
            (0xBEDE, &[0x1F, 1, 2, 3], &[]),
            (0xBEDE, &[0x10, 7, 0, 0x2F], &[(1, &[7])]),
            (0x1000, &[1, 0, 2, 2, 8, 9, 0, 0], &[(1, &[]), (2, &[8, 9])]),
            (0x100F, &[15, 1, 7, 0, 0, 16, 1, 8], &[(15, &[7]), (16, &[8])]),
            (0x1000, &[1, 255, 1, 2], &[]),
            (0x1000, &[0, 0, 0, 1], &[]),
            (0x1010, &[1, 1, 7, 0], &[]),
            (0x0001, &[0x1F, 1, 2, 3], &[]),
        ];
        for (profile, data, expected) in cases {
            let found: Vec<_> = Extension { profile, data }.elements().collect();
            assert_eq!(found, expected, "{profile:04x} {data:02x?}");
        }
    }

    #[test]
    fn a_written_header_is_read_back_by_us_and_by_another_implementation() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..1_000 {
            let header = Header {
                marker: random.bool(),
                payload_type: random.u8(0..128),
                sequence: random.u16(..),
                timestamp: random.u32(..),
                ssrc: random.u32(..),
            };
            let mut written = [0; HEADER_BYTES];
            header.write(&mut written);
            let read = Packet::parse(&written).unwrap();
            assert_eq!(read.marker, header.marker);
            assert_eq!(read.payload_type, header.payload_type);
            assert_eq!(read.sequence, header.sequence);
            assert_eq!(read.timestamp, header.timestamp);
            assert_eq!(read.ssrc, header.ssrc);
            let theirs = rtc_rtp::Header {
                version: 2,
                marker: header.marker,
                payload_type: header.payload_type,
                sequence_number: header.sequence,
                timestamp: header.timestamp,
                ssrc: header.ssrc,
                ..Default::default()
            };
            assert_eq!(theirs.marshal().unwrap()[..], written);
        }
    }

    #[test]
    fn another_implementation_reads_random_datagrams_as_we_do() {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut read, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut datagram = vec![0; random.usize(0..80)];
            random.fill(&mut datagram);
            // No header extension: where its elements lie, the other panics or reads on into the payload.
            if let Some(flags) = datagram.first_mut() {
                *flags = 0x80 | (*flags & 0x23);
            }
            if let Some(last) = datagram.last_mut() {
                *last %= 80;
            }
            match (
                Packet::parse(&datagram),
                rtc_rtp::Packet::unmarshal(&mut &datagram[..]),
            ) {
                (Ok(ours), Ok(theirs)) => {
                    assert_eq!(ours.payload, &theirs.payload[..], "{datagram:02x?}");
                    assert_eq!(ours.marker, theirs.header.marker);
                    assert_eq!(ours.payload_type, theirs.header.payload_type);
                    assert_eq!(ours.sequence, theirs.header.sequence_number);
                    assert_eq!(ours.timestamp, theirs.header.timestamp);
                    assert_eq!(ours.ssrc, theirs.header.ssrc);
                    assert_eq!(usize::from(ours.csrc_count), theirs.header.csrc.len());
                    read += 1;
                }
                (Err(_), Err(_)) => refused += 1,
                // The other takes padding of zero.
                (Err(Malformed::BadPadding), Ok(_)) if datagram.last() == Some(&0) => {}
                (ours, theirs) => panic!("{datagram:02x?}: {ours:?} against {theirs:?}"),
            }
        }
        assert!(read > 10_000 && refused > 3_000, "{read} read, {refused} refused");
    }

    #[test]
    fn packets_of_another_implementation_are_read_whole() {
        let mut random = fastrand::Rng::with_seed(13);
        for _ in 0..5_000 {
            let one_byte = random.bool();
            let mut bytes = |least: usize, most: usize| {
                let length = random.usize(least..=most);
                std::iter::repeat_with(|| random.u8(..))
                    .take(length)
                    .collect::<Vec<u8>>()
            };
            let elements: Vec<(u8, Vec<u8>)> = (1..4)
                .map(|id| {
                    if one_byte {
                        (id, bytes(1, 16))
                    } else {
                        (id + 14, bytes(0, 40))
                    }
                })
                .collect();
            let payload = bytes(0, 200);
            let csrc = bytes(0, 15).into_iter().map(u32::from).collect();
            let header = rtc_rtp::Header {
                version: 2,
                padding: random.bool(),
                extension: true,
                sequence_number: random.u16(..),
                csrc,
                extension_profile: if one_byte { 0xBEDE } else { 0x1000 },
                extensions: elements
                    .iter()
                    .map(|(id, value)| rtc_rtp::header::Extension {
                        id: *id,
                        payload: value.clone().into(),
                    })
                    .collect(),
                ..Default::default()
            };
            let theirs = rtc_rtp::Packet {
                header,
                payload: payload.clone().into(),
            };
            let datagram = theirs.marshal().unwrap();
            let ours = Packet::parse(&datagram).unwrap();
            assert_eq!(ours.payload, payload, "{theirs:?}");
            assert_eq!(ours.sequence, theirs.header.sequence_number);
            assert_eq!(usize::from(ours.csrc_count), theirs.header.csrc.len());
            let found = ours
                .extension
                .unwrap()
                .elements()
                .map(|(id, value)| (id, value.to_vec()));
            assert_eq!(found.collect::<Vec<_>>(), elements, "{theirs:?}");
        }
    }

    #[test]
    fn random_bytes_are_parsed_to_a_packet_within_the_datagram_or_refused() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut bytes = [0; 1_500];
        for _ in 0..20_000 {
            let longest = if random.bool() { 40 } else { 1_500 };
            let length = random.usize(0..=longest);
            random.fill(&mut bytes[..length]);
            bytes[0] = 0x80 | (bytes[0] & 0x3F);
            if let Ok(packet) = Packet::parse(&bytes[..length]) {
                assert!(packet.payload.len() + HEADER_BYTES <= length);
                let elements = packet.extension.iter().flat_map(Extension::elements);
                assert!(elements.map(|(_, value)| value.len()).sum::<usize>() < length);
            }
        }
    }
}
