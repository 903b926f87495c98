//! Where the parts of a packet are: header, MKI, index, tag; and datagrams in which they cannot be.

use super::super::cipher::Cipher;
use super::super::{OVERHEAD_MAX, ProtectError, RTCP_OVERHEAD_MAX, Receiver, Sender, UnprotectError};
use super::{Protects, Suite, key, rtcp, rtp};

/// Suite, what is added to RTP, what is added to RTCP.
const ADDED: [(Suite, usize, usize); 5] = [
    (Suite::AesCm128HmacSha1_80, 10, 14),
    // RFC 4568 §6.2.2: the short tag is for SRTP alone.
    (Suite::AesCm128HmacSha1_32, 4, 14),
    (Suite::AesCm256HmacSha1_80, 10, 14),
    (Suite::AeadAes128Gcm, 16, 20),
    (Suite::AeadAes256Gcm, 16, 20),
];

#[test]
fn each_suite_adds_its_tag_and_srtcp_a_word_more() {
    for (suite, rtp_bytes, rtcp_bytes) in ADDED {
        let mut sender = Sender::new(&key(suite, 1));
        assert_eq!(
            sender.protected(&rtp(1, 1)).len(),
            20 + rtp_bytes,
            "{}",
            suite.name()
        );
        assert_eq!(sender.protected_rtcp(&rtcp(1)).len(), 12 + rtcp_bytes);
        assert!(rtp_bytes <= OVERHEAD_MAX && rtcp_bytes <= RTCP_OVERHEAD_MAX);
    }
}

#[test]
fn contributing_sources_and_extension_are_not_encrypted() {
    for suite in Suite::ALL {
        let mut sender = Sender::new(&key(suite, 1));
        let mut receiver = Receiver::new(&key(suite, 1), 0);
        let mut sequence = 0;
        for (flags, between) in [
            (0x80, vec![]),
            (0x82, vec![0xCC; 8]),
            (0x8F, vec![0xCC; 60]),
            (0x90, vec![0xBE, 0xDE, 0, 1, 0x10, 0x55, 0, 0]),
            (0x90, vec![0x12, 0x34, 0, 0]),
            (
                0x91,
                [vec![0xCC; 4], vec![0xBE, 0xDE, 0, 1, 0x10, 0x55, 0, 0]].concat(),
            ),
            // Padding is part of what is encrypted.
            (0xA0, vec![]),
        ] {
            for payload in [&b""[..], b"p", b"sixteen bytes...", &[7; 300]] {
                sequence += 1;
                let mut plain = rtp(1, sequence)[..12].to_vec();
                plain[0] = flags;
                plain.extend_from_slice(&between);
                let head_bytes = plain.len();
                plain.extend_from_slice(payload);

                let mut packet = sender.protected(&plain);
                assert_eq!(packet[..head_bytes], plain[..head_bytes], "{}", suite.name());
                assert!(payload.len() < 16 || packet[head_bytes..plain.len()] != *payload);
                assert_eq!(receiver.unprotect(&mut packet), Ok(plain.len()));
                assert_eq!(packet[..plain.len()], plain);
            }
        }
    }
}

#[test]
fn a_header_that_lies_about_its_length_is_malformed_on_both_sides() {
    let headers: [&[u8]; 9] = [
        &[],
        &[0x80; 11],
        &[0x00; 60],
        &[0x40; 60],
        &[0xC0; 60],
        // Fifteen sources, an extension behind them, one longer than the packet.
        &[0x8F; 60],
        &[0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xBE, 0xDE, 0],
        &[0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xBE, 0xDE, 0, 1, 0, 0, 0],
        &[
            0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xBE, 0xDE, 0xFF, 0xFF, 0, 0, 0, 0,
        ],
    ];
    for suite in Suite::ALL {
        for header in headers {
            let mut sender = Sender::new(&key(suite, 1));
            let mut packet = header.to_vec();
            packet.resize(header.len() + OVERHEAD_MAX, 0);
            assert_eq!(
                sender.protect(&mut packet, header.len()),
                Err(ProtectError::Malformed),
                "{header:x?}"
            );
            let mut receiver = Receiver::new(&key(suite, 1), 0);
            assert_eq!(
                receiver.unprotect(&mut header.to_vec()),
                Err(UnprotectError::Malformed),
                "{header:x?}"
            );
        }
        // The extension fits into the datagram, though not without the tag.
        let mut packet = rtp(1, 1);
        packet[0] = 0x90;
        packet[12..16].copy_from_slice(&[0xBE, 0xDE, 0, 1]);
        let outcome = Receiver::new(&key(suite, 1), 0).unprotect(&mut packet);
        assert_eq!(outcome, Err(UnprotectError::Malformed), "{}", suite.name());
    }
}

#[test]
fn every_shorter_datagram_is_refused() {
    for (suite, rtp_bytes, rtcp_bytes) in ADDED {
        for mki_bytes in [0, 1, 4, 255] {
            let mut sender = Sender::new(&key(suite, 1));
            let (long, long_rtcp) = (sender.protected(&rtp(1, 1)), sender.protected_rtcp(&rtcp(1)));
            let mut receiver = Receiver::new(&key(suite, 1), mki_bytes);
            for bytes in 0..long.len() {
                let is_short = bytes < 12 + rtp_bytes + usize::from(mki_bytes);
                let expected = if is_short {
                    UnprotectError::Malformed
                } else {
                    UnprotectError::BadTag
                };
                let mut datagram = long[..bytes].to_vec();
                assert_eq!(
                    receiver.unprotect(&mut datagram),
                    Err(expected),
                    "{} of {bytes}",
                    suite.name()
                );
            }
            for bytes in 0..long_rtcp.len() {
                let is_short = bytes < 8 + rtcp_bytes + usize::from(mki_bytes);
                let expected = if is_short {
                    UnprotectError::Malformed
                } else {
                    UnprotectError::BadTag
                };
                let mut datagram = long_rtcp[..bytes].to_vec();
                assert_eq!(
                    receiver.unprotect_rtcp(&mut datagram),
                    Err(expected),
                    "{} of {bytes}",
                    suite.name()
                );
            }
        }
    }
}

#[test]
fn every_changed_bit_is_refused_and_the_true_packet_is_heard_after_it() {
    for suite in Suite::ALL {
        let mut sender = Sender::new(&key(suite, 1));
        let mut receiver = Receiver::new(&key(suite, 1), 0);
        let mut good = sender.protected(&rtp(1, 1));
        for bit in 0..8 * good.len() {
            let mut forged = good.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                receiver.unprotect(&mut forged).is_err(),
                "{} bit {bit}",
                suite.name()
            );
        }
        assert_eq!(receiver.unprotect(&mut good), Ok(20));

        let mut good = sender.protected_rtcp(&rtcp(1));
        for bit in 0..8 * good.len() {
            let mut forged = good.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                receiver.unprotect_rtcp(&mut forged).is_err(),
                "{} bit {bit}",
                suite.name()
            );
        }
        assert_eq!(receiver.unprotect_rtcp(&mut good), Ok(12));
    }
}

/// RFC 3711 §3.1 and §3.4: before the tag; RFC 7714 §8 and §9: the tag belongs to the cipher text, so it comes last.
#[test]
fn the_mki_of_a_peer_is_stripped_from_its_place() {
    for (suite, rtp_bytes, _) in ADDED {
        let is_gcm = suite.name().contains("GCM");
        for mki in [&[1][..], &[1, 2, 3, 4], &[9; 128], &[9; 255]] {
            let mut sender = Sender::new(&key(suite, 1));
            let mut receiver = Receiver::new(&key(suite, 1), mki.len() as u8);
            for sequence in 1..4 {
                let protected = sender.protected(&rtp(1, sequence));
                let at = if is_gcm {
                    protected.len()
                } else {
                    protected.len() - rtp_bytes
                };
                let mut packet = [&protected[..at], mki, &protected[at..]].concat();
                assert_eq!(receiver.unprotect(&mut packet), Ok(20), "{}", suite.name());
                assert_eq!(packet[..20], rtp(1, sequence));

                let protected = sender.protected_rtcp(&rtcp(1));
                let at = if is_gcm {
                    protected.len()
                } else {
                    protected.len() - 10
                };
                let mut packet = [&protected[..at], mki, &protected[at..]].concat();
                assert_eq!(receiver.unprotect_rtcp(&mut packet), Ok(12), "{}", suite.name());
                assert_eq!(packet[..12], rtcp(1));
            }
        }
    }
}

#[test]
fn srtcp_carries_its_index_and_says_that_it_is_encrypted() {
    for suite in Suite::ALL {
        let mut sender = Sender::new(&key(suite, 1));
        for index in 0..3_u32 {
            let packet = sender.protected_rtcp(&rtcp(1));
            let word_at = if suite.name().contains("GCM") {
                packet.len() - 4
            } else {
                packet.len() - 14
            };
            assert_eq!(
                packet[word_at..][..4],
                (1 << 31 | index).to_be_bytes(),
                "{}",
                suite.name()
            );
            assert_eq!(packet[..8], rtcp(1)[..8]);
            assert_ne!(packet[8..12], rtcp(1)[8..]);
        }
    }
}

/// With GCM: see the vectors.
#[test]
fn srtcp_that_is_authenticated_alone_is_heard_and_replayed_like_the_other() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AesCm256HmacSha1_80] {
        let sender = Sender::new(&key(suite, 1));
        let mut receiver = Receiver::new(&key(suite, 1), 0);
        let Cipher::Counter(counter) = &sender.keys.rtcp else {
            panic!("{}", suite.name())
        };
        let (plain, word) = (rtcp(1), 5_u32);
        let tag = &counter.hmac.tag(&plain, word)[..10];
        let packet = [&plain[..], &word.to_be_bytes(), tag].concat();
        let mut first = packet.clone();
        assert_eq!(receiver.unprotect_rtcp(&mut first), Ok(12), "{}", suite.name());
        assert_eq!(first, packet, "nothing was decrypted");
        assert_eq!(
            receiver.unprotect_rtcp(&mut packet.clone()),
            Err(UnprotectError::Replayed)
        );
    }
}

#[test]
fn there_must_be_room_for_the_tag_and_the_packet_is_left_alone_if_there_is_none() {
    for (suite, rtp_bytes, rtcp_bytes) in ADDED {
        let mut sender = Sender::new(&key(suite, 1));
        let mut packet = rtp(1, 1);
        for room in 0..rtp_bytes {
            packet.resize(20 + room, 0);
            assert_eq!(sender.protect(&mut packet, 20), Err(ProtectError::NoRoom));
            assert_eq!(packet[..20], rtp(1, 1));
        }
        assert_eq!(
            sender.protect(&mut packet, 21 + rtp_bytes),
            Err(ProtectError::NoRoom)
        );
        packet.resize(20 + rtp_bytes, 0);
        assert_eq!(
            sender.protect(&mut packet, 20),
            Ok(packet.len()),
            "no index was lost to the refusals"
        );

        let mut packet = rtcp(1);
        for room in 0..rtcp_bytes {
            packet.resize(12 + room, 0);
            assert_eq!(sender.protect_rtcp(&mut packet, 12), Err(ProtectError::NoRoom));
        }
        packet.resize(12 + rtcp_bytes, 0);
        assert_eq!(sender.protect_rtcp(&mut packet, 7), Err(ProtectError::Malformed));
        assert_eq!(sender.protect_rtcp(&mut packet, 12), Ok(packet.len()));
    }
}
