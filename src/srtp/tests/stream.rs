//! Streams through their wraps, losses and late packets, several sources, and the ends of a key.

use super::super::index::INDEX_MAX;
use super::super::{ProtectError, Receiver, SOURCES_MAX, Sender, UnprotectError};
use super::{Protects, Suite, key, rtcp, rtp};

/// A sender that protects packets of the source 1 by their true index, and a receiver.
struct Pair {
    sender: Sender,
    receiver: Receiver,
}

impl Pair {
    fn new(suite: Suite) -> Pair {
        Pair {
            sender: Sender::new(&key(suite, 1)),
            receiver: Receiver::new(&key(suite, 1), 0),
        }
    }

    /// The packet of this index, whatever the sender has sent before: only a test may.
    fn packet(&mut self, index: u64) -> Vec<u8> {
        self.sender.sources[0] = index.checked_sub(1).map(|before| (1, before));
        let packet = self.sender.protected(&rtp(1, index as u16));
        assert_eq!(self.sender.sources[0], Some((1, index)));
        packet
    }

    fn receive(&mut self, index: u64) -> Result<(), UnprotectError> {
        let mut packet = self.packet(index);
        let bytes = self.receiver.unprotect(&mut packet)?;
        assert_eq!(packet[..bytes], rtp(1, index as u16));
        Ok(())
    }
}

const CYCLE: u64 = 1 << 16;

#[test]
fn streams_are_heard_through_wrap_loss_and_disorder() {
    use UnprotectError::{BadTag, Replayed};
    type Steps = Vec<(u64, Result<(), UnprotectError>)>;
    let heard = |indices: &[u64]| indices.iter().map(|index| (*index, Ok(()))).collect::<Steps>();
    let mut cases: Vec<(&str, Steps)> = vec![
        (
            "in order through a wrap",
            heard(&[65_534, 65_535, 65_536, 65_537]),
        ),
        (
            "starting with the last of a cycle",
            heard(&[65_535, 65_536, 65_537]),
        ),
        (
            "the last of a cycle after the first of the next",
            heard(&[65_534, 65_536, 65_535, 65_537]),
        ),
        (
            "disorder through a wrap",
            heard(&[65_530, 65_540, 65_535, 65_536, 65_534, 65_541, 65_531]),
        ),
        (
            "starting before a wrap, with what was before it late",
            heard(&[65_536, 65_535, 65_537, 65_534]),
        ),
        (
            "starting before a wrap, with all before it lost",
            heard(&[
                CYCLE + 3,
                CYCLE + 4,
                CYCLE + 30_000,
                CYCLE + 60_000,
                2 * CYCLE + 5,
            ]),
        ),
        (
            "a jump of more than half a cycle within the first",
            heard(&[5, 40_000, 65_000, 65_536]),
        ),
        (
            "joining after the second wrap, which nothing in the packets shows",
            vec![(2 * CYCLE + 5, Err(BadTag)), (2 * CYCLE + 6, Err(BadTag))],
        ),
        (
            "joining late in the second cycle",
            vec![(CYCLE + 32_768, Err(BadTag)), (CYCLE + 40_000, Err(BadTag))],
        ),
        (
            "the edge of the window",
            vec![
                (1_000, Ok(())),
                (873, Ok(())),
                (872, Err(Replayed)),
                (873, Err(Replayed)),
                (1_000, Err(Replayed)),
                (1_127, Ok(())),
                (999, Err(Replayed)),
                (1_001, Ok(())),
            ],
        ),
        (
            "the window across a wrap",
            vec![
                (65_500, Ok(())),
                (65_600, Ok(())),
                (65_500, Err(Replayed)),
                (65_473, Ok(())),
                (65_472, Err(Replayed)),
                (65_535, Ok(())),
                (65_535, Err(Replayed)),
                (65_536, Ok(())),
                (65_536, Err(Replayed)),
            ],
        ),
        (
            "a loss of more than half a cycle later on",
            vec![
                (CYCLE + 10, Ok(())),
                (CYCLE + 10 + 32_769, Err(Replayed)),
                (CYCLE + 11, Ok(())),
            ],
        ),
    ];
    // RFC 3711 appendix A looks half a cycle ahead, from wherever.
    for lost in [1, 2, 100, 127, 128, 129, 16_384, 32_766, 32_767] {
        for last in [
            32_767,
            32_768,
            65_535 - lost / 2,
            65_535,
            CYCLE,
            3 * CYCLE + 40_000,
        ] {
            let mut steps = if last < CYCLE { vec![] } else { heard(&[65_535]) };
            while steps.last().is_some_and(|(index, _)| index + 30_000 < last) {
                let next = steps.last().expect("one at least").0 + 30_000;
                steps.push((next, Ok(())));
            }
            steps.extend(
                heard(&[last, last + lost, last + lost + 1])
                    .into_iter()
                    .filter(|(index, _)| !(*index == last && last == 65_535 && lost == 0)),
            );
            cases.push(("loss", steps));
        }
    }
    for (name, steps) in cases {
        for suite in [
            Suite::AesCm128HmacSha1_80,
            Suite::AesCm128HmacSha1_32,
            Suite::AeadAes128Gcm,
        ] {
            let mut pair = Pair::new(suite);
            for (index, expected) in &steps {
                assert_eq!(pair.receive(*index), *expected, "{name}: {index} of {steps:?}");
            }
        }
    }
}

#[test]
fn the_sender_rolls_over_with_its_sequence() {
    for suite in Suite::ALL {
        let mut sender = Sender::new(&key(suite, 1));
        let mut receiver = Receiver::new(&key(suite, 1), 0);
        let mut sequence = 65_000_u16;
        for _ in 0..700 {
            let mut packet = sender.protected(&rtp(1, sequence));
            assert_eq!(receiver.unprotect(&mut packet), Ok(20));
            sequence = sequence.wrapping_add(1 + u16::from(sequence.is_multiple_of(7)) * 400);
        }
        assert!(
            sender.sources[0].is_some_and(|(_, index)| index > CYCLE),
            "{:?}",
            sender.sources
        );
    }
}

#[test]
fn no_index_is_protected_twice() {
    let mut sender = Sender::new(&key(Suite::AeadAes128Gcm, 1));
    let mut send = |ssrc, sequence| {
        let mut packet = rtp(ssrc, sequence);
        packet.resize(40, 0);
        sender.protect(&mut packet, 20)
    };
    let again = Err(ProtectError::Exhausted);
    assert!(send(1, 100).is_ok());
    assert_eq!(send(1, 100), again);
    assert_eq!(send(1, 99), again);
    assert_eq!(send(1, 0), again);
    assert!(send(1, 101).is_ok());
    assert!(send(1, 32_868).is_ok());
    assert!(send(1, 65_535).is_ok());
    assert!(send(1, 0).is_ok(), "the next cycle");
    assert_eq!(send(1, 65_535), again, "the cycle before");
    // Another source has indices of its own, and comes back to them.
    assert!(send(2, 100).is_ok());
    assert_eq!(send(1, 0), again);
    for ssrc in 3..=SOURCES_MAX as u32 {
        assert!(send(ssrc, 0).is_ok());
    }
    assert_eq!(send(99, 0), again, "a source that could not be remembered");
    assert!(send(1, 1).is_ok());
}

#[test]
fn a_key_ends_with_its_last_index() {
    for suite in Suite::ALL {
        let mut pair = Pair::new(suite);
        pair.receiver.current.rtp.note(1, INDEX_MAX - 2);
        assert_eq!(pair.receive(INDEX_MAX - 1), Ok(()));
        assert_eq!(pair.receive(INDEX_MAX), Ok(()));
        let mut packet = rtp(1, 0);
        packet.resize(40, 0);
        assert_eq!(pair.sender.protect(&mut packet, 20), Err(ProtectError::Exhausted));
        assert_eq!(
            pair.receiver.unprotect(&mut packet),
            Err(UnprotectError::Exhausted)
        );

        pair.sender.rtcp_index = (1 << 31) - 1;
        let mut packet = pair.sender.protected_rtcp(&rtcp(1));
        assert_eq!(
            pair.receiver.unprotect_rtcp(&mut packet),
            Ok(12),
            "{}",
            suite.name()
        );
        packet.resize(40, 0);
        for _ in 0..3 {
            assert_eq!(
                pair.sender.protect_rtcp(&mut packet, 12),
                Err(ProtectError::Exhausted)
            );
        }
    }
}

#[test]
fn each_source_has_a_numbering_of_its_own_and_the_longest_silent_is_forgotten_first() {
    let suite = Suite::AesCm128HmacSha1_80;
    let mut receiver = Receiver::new(&key(suite, 1), 0);
    let mut senders: Vec<_> = (0..=SOURCES_MAX).map(|_| Sender::new(&key(suite, 1))).collect();
    let mut send = |ssrc: usize, sequence| senders[ssrc].protected(&rtp(ssrc as u32, sequence));

    let first: Vec<_> = (0..=SOURCES_MAX).map(|ssrc| send(ssrc, 65_535)).collect();
    let (fifth, first_four) = first.split_last().expect("five");
    for (ssrc, first) in first_four.iter().enumerate() {
        assert_eq!(receiver.unprotect(&mut first.clone()), Ok(20));
        assert_eq!(
            receiver.unprotect(&mut send(ssrc, 0)),
            Ok(20),
            "in its second cycle"
        );
    }
    assert_eq!(
        receiver.unprotect(&mut send(0, 1)),
        Ok(20),
        "now source 1 is silent for longest"
    );
    let mut forged = fifth.clone();
    forged[15] ^= 1;
    assert_eq!(receiver.unprotect(&mut forged), Err(UnprotectError::BadTag));
    for first in first_four {
        let outcome = receiver.unprotect(&mut first.clone());
        assert_eq!(
            outcome,
            Err(UnprotectError::Replayed),
            "forgers make no source be forgotten"
        );
    }
    assert_eq!(receiver.unprotect(&mut fifth.clone()), Ok(20));
    for ssrc in [0, 2, 3] {
        let outcome = receiver.unprotect(&mut first_four[ssrc].clone());
        assert_eq!(outcome, Err(UnprotectError::Replayed), "source {ssrc} is known");
    }
    // A forgotten source starts again, like any other.
    assert_eq!(receiver.unprotect(&mut send(1, 2)), Ok(20));
}

#[test]
fn only_an_authentic_packet_moves_a_window() {
    for suite in Suite::ALL {
        let mut pair = Pair::new(suite);
        assert_eq!(pair.receive(1_000), Ok(()));
        for ahead in [1, 100, 127, 128, 10_000, 32_767] {
            let mut forged = pair.packet(1_000 + ahead);
            *forged.last_mut().expect("a tag") ^= 1;
            assert_eq!(pair.receiver.unprotect(&mut forged), Err(UnprotectError::BadTag));
        }
        assert_eq!(pair.receive(873), Ok(()), "the window is where it was");
        assert_eq!(pair.receive(1_001), Ok(()));

        let packets: Vec<_> = (0..200).map(|_| pair.sender.protected_rtcp(&rtcp(1))).collect();
        assert_eq!(pair.receiver.unprotect_rtcp(&mut packets[20].clone()), Ok(12));
        let mut forged = packets[199].clone();
        forged[8] ^= 1;
        assert_eq!(
            pair.receiver.unprotect_rtcp(&mut forged),
            Err(UnprotectError::BadTag)
        );
        assert_eq!(pair.receiver.unprotect_rtcp(&mut packets[0].clone()), Ok(12));
        assert_eq!(
            pair.receiver.unprotect_rtcp(&mut packets[0].clone()),
            Err(UnprotectError::Replayed)
        );
        assert_eq!(pair.receiver.unprotect_rtcp(&mut packets[148].clone()), Ok(12));
        assert_eq!(
            pair.receiver.unprotect_rtcp(&mut packets[20].clone()),
            Err(UnprotectError::Replayed)
        );
        assert_eq!(
            pair.receiver.unprotect_rtcp(&mut packets[21].clone()),
            Ok(12),
            "the oldest in the window"
        );
    }
}
