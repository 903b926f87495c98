//! A new key in the middle of a stream: with peers that go on, and peers that start again.

use super::super::{Receiver, Sender, UnprotectError};
use super::{Protects, Suite, key, rtcp, rtp};

const SUITE: Suite = Suite::AesCm128HmacSha1_80;

/// A stream in its third cycle, at the sequence number 10 of source 1, on both sides.
fn in_the_third_cycle(suite: Suite) -> (Sender, Receiver) {
    let (mut sender, mut receiver) = (Sender::new(&key(suite, 1)), Receiver::new(&key(suite, 1), 0));
    for sequence in [65_000, 20_000, 50_000, 10] {
        assert_eq!(
            receiver.unprotect(&mut sender.protected(&rtp(1, sequence))),
            Ok(20)
        );
    }
    assert_eq!(sender.sources[0], Some((1, 2 << 16 | 10)));
    (sender, receiver)
}

#[test]
fn the_roll_over_counter_goes_on_under_a_new_key() {
    for suite in Suite::ALL {
        for next_suite in Suite::ALL {
            let (mut sender, mut receiver) = in_the_third_cycle(suite);
            sender.rekey(&key(next_suite, 2));
            receiver.rekey(&key(next_suite, 2), 0);
            assert_eq!((sender.suite(), receiver.suite()), (next_suite, next_suite));
            for sequence in 11..200 {
                assert_eq!(
                    receiver.unprotect(&mut sender.protected(&rtp(1, sequence))),
                    Ok(20),
                    "{sequence}"
                );
            }
        }
    }
}

#[test]
fn a_peer_that_resets_its_counter_is_heard_wherever_it_starts() {
    for suite in Suite::ALL {
        for start in [0, 11, 10, 9, 5_000, 32_767, 32_768, 40_000, 65_535] {
            let (_, mut receiver) = in_the_third_cycle(suite);
            receiver.rekey(&key(suite, 2), 0);
            let mut sender = Sender::new(&key(suite, 2));
            for step in 0..70 {
                let mut packet = sender.protected(&rtp(1, start + step));
                assert_eq!(receiver.unprotect(&mut packet), Ok(20), "{start} + {step}");
                if start + step == 65_535 {
                    break;
                }
            }
            assert_eq!(
                receiver.unprotect(&mut sender.protected(&rtp(1, start.wrapping_add(70)))),
                Ok(20),
                "after {start}"
            );
        }
    }
}

#[test]
fn a_reset_counter_is_not_tried_once_one_was_authentic() {
    let (mut sender, mut receiver) = in_the_third_cycle(SUITE);
    sender.rekey(&key(SUITE, 2));
    receiver.rekey(&key(SUITE, 2), 0);
    assert_eq!(receiver.unprotect(&mut sender.protected(&rtp(1, 11))), Ok(20));
    let mut of_the_first_cycle = Sender::new(&key(SUITE, 2)).protected(&rtp(1, 12));
    assert_eq!(
        receiver.unprotect(&mut of_the_first_cycle),
        Err(UnprotectError::BadTag)
    );
    assert_eq!(receiver.unprotect(&mut sender.protected(&rtp(1, 12))), Ok(20));
}

#[test]
fn forgers_do_not_use_up_the_chance_of_a_peer_that_starts_again() {
    let (_, mut receiver) = in_the_third_cycle(SUITE);
    receiver.rekey(&key(SUITE, 2), 0);
    let mut forger = Sender::new(&key(SUITE, 3));
    for sequence in 0..1_000 {
        let outcome = receiver.unprotect(&mut forger.protected(&rtp(1, sequence)));
        assert!(outcome.is_err());
    }
    let mut sender = Sender::new(&key(SUITE, 2));
    assert_eq!(receiver.unprotect(&mut sender.protected(&rtp(1, 0))), Ok(20));
}

#[test]
fn packets_on_their_way_are_heard_for_a_while_and_each_but_once() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = in_the_third_cycle(suite);
        let old: Vec<_> = (11..200)
            .map(|sequence| sender.protected(&rtp(1, sequence)))
            .collect();
        sender.rekey(&key(suite, 2));
        receiver.rekey(&key(suite, 2), 0);

        // The peer does not know yet, or its packets come late.
        assert_eq!(receiver.unprotect(&mut old[100].clone()), Ok(20));
        assert_eq!(
            receiver.unprotect(&mut old[100].clone()),
            Err(UnprotectError::BadTag),
            "replayed"
        );
        for sequence in 200..263 {
            assert_eq!(
                receiver.unprotect(&mut sender.protected(&rtp(1, sequence))),
                Ok(20)
            );
        }
        assert_eq!(
            receiver.unprotect(&mut old[101].clone()),
            Ok(20),
            "the last place of 64 is left"
        );
        assert_eq!(receiver.unprotect(&mut sender.protected(&rtp(1, 263))), Ok(20));
        assert!(receiver.unprotect(&mut old[102].clone()).is_err(), "given up");
        assert!(receiver.unprotect(&mut sender.protected(&rtp(1, 264))).is_ok());
    }
}

#[test]
fn packets_on_their_way_do_not_disturb_a_peer_that_starts_again() {
    let (mut old, mut receiver) = in_the_third_cycle(SUITE);
    receiver.rekey(&key(SUITE, 2), 0);
    let mut new = Sender::new(&key(SUITE, 2));
    // One of each in turn: 2 << 16 | 40000 and on under the old key, 100 and on under the new.
    assert_eq!(receiver.unprotect(&mut old.protected(&rtp(1, 30_000))), Ok(20));
    for step in 0..60 {
        assert_eq!(
            receiver.unprotect(&mut old.protected(&rtp(1, 40_000 + step))),
            Ok(20),
            "old {step}"
        );
        assert_eq!(
            receiver.unprotect(&mut new.protected(&rtp(1, 100 + step))),
            Ok(20),
            "new {step}"
        );
    }
}

#[test]
fn a_peer_that_takes_its_time_is_heard_until_it_changes_and_after() {
    let (mut sender, mut receiver) = in_the_third_cycle(SUITE);
    receiver.rekey(&key(SUITE, 2), 0);
    // Two more cycles under the old key.
    for sequence in [20_000, 50_000, 10, 30_000, 60_000, 10] {
        assert_eq!(
            receiver.unprotect(&mut sender.protected(&rtp(1, sequence))),
            Ok(20)
        );
    }
    sender.rekey(&key(SUITE, 2));
    assert_eq!(receiver.unprotect(&mut sender.protected(&rtp(1, 11))), Ok(20));
}

#[test]
fn a_key_that_nothing_came_under_does_not_displace_the_one_in_use() {
    let (mut sender, mut receiver) = in_the_third_cycle(SUITE);
    receiver.rekey(&key(SUITE, 2), 0);
    receiver.rekey(&key(SUITE, 3), 0);
    assert_eq!(
        receiver.unprotect(&mut sender.protected(&rtp(1, 11))),
        Ok(20),
        "under the first"
    );
    sender.rekey(&key(SUITE, 3));
    assert_eq!(
        receiver.unprotect(&mut sender.protected(&rtp(1, 12))),
        Ok(20),
        "under the third"
    );
}

#[test]
fn the_same_key_again_changes_nothing() {
    let (mut sender, mut receiver) = in_the_third_cycle(SUITE);
    let mut heard = sender.protected(&rtp(1, 11));
    assert_eq!(receiver.unprotect(&mut heard.clone()), Ok(20));
    let mut heard_rtcp = sender.protected_rtcp(&rtcp(1));
    assert_eq!(receiver.unprotect_rtcp(&mut heard_rtcp.clone()), Ok(12));
    sender.rekey(&key(SUITE, 1));
    receiver.rekey(&key(SUITE, 1), 0);
    assert_eq!(receiver.unprotect(&mut heard), Err(UnprotectError::Replayed));
    assert_eq!(
        receiver.unprotect_rtcp(&mut heard_rtcp),
        Err(UnprotectError::Replayed)
    );
    assert_eq!(receiver.unprotect(&mut sender.protected(&rtp(1, 12))), Ok(20));
}

#[test]
fn an_mki_that_comes_or_goes_is_a_new_key() {
    let (mut sender, mut receiver) = in_the_third_cycle(SUITE);
    receiver.rekey(&key(SUITE, 1), 4);
    assert_eq!(
        receiver.unprotect(&mut sender.protected(&rtp(1, 11))),
        Ok(20),
        "on its way"
    );
    let plain = sender.protected(&rtp(1, 12));
    let mut with_mki = [&plain[..20], &[1, 2, 3, 4], &plain[20..]].concat();
    assert_eq!(receiver.unprotect(&mut with_mki), Ok(20));
}

#[test]
fn the_index_of_srtcp_goes_on_and_a_peer_that_starts_again_is_heard() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = in_the_third_cycle(suite);
        for _ in 0..300 {
            assert_eq!(
                receiver.unprotect_rtcp(&mut sender.protected_rtcp(&rtcp(1))),
                Ok(12)
            );
        }
        let mut old = sender.protected_rtcp(&rtcp(1));
        receiver.rekey(&key(suite, 2), 0);
        assert_eq!(
            receiver.unprotect_rtcp(&mut Sender::new(&key(suite, 2)).protected_rtcp(&rtcp(1))),
            Ok(12)
        );
        assert_eq!(receiver.unprotect_rtcp(&mut old), Ok(12), "on its way");
        sender.rekey(&key(suite, 2));
        assert_eq!(sender.rtcp_index, 301);
        let mut packet = sender.protected_rtcp(&rtcp(1));
        assert_eq!(receiver.unprotect_rtcp(&mut packet.clone()), Ok(12));
        assert_eq!(
            receiver.unprotect_rtcp(&mut packet),
            Err(UnprotectError::Replayed)
        );
    }
}

#[test]
fn a_new_source_with_a_new_key_is_heard() {
    let (_, mut receiver) = in_the_third_cycle(SUITE);
    receiver.rekey(&key(SUITE, 2), 0);
    let mut sender = Sender::new(&key(SUITE, 2));
    for sequence in [65_535, 0, 1] {
        assert_eq!(
            receiver.unprotect(&mut sender.protected(&rtp(2, sequence))),
            Ok(20)
        );
    }
}

#[test]
fn a_datagram_of_any_length_can_be_tried_with_both_keys() {
    for suite in Suite::ALL {
        for bytes in [12, 13, 1_400, 8_188, 8_189, 30_000, 65_535] {
            let (mut sender, mut receiver) = in_the_third_cycle(suite);
            let mut long = rtp(1, 11);
            long.resize(bytes, 0x55);
            let mut long = sender.protected(&long);
            receiver.rekey(&key(suite, 2), 0);
            let outcome = receiver.unprotect(&mut long);
            // What is too long to be copied is refused, and nothing worse; no packet of sound is.
            let is_refused = long.len() > 65_535 || (suite.name().contains("GCM") && bytes > 8_188);
            assert_eq!(
                outcome.is_err(),
                is_refused,
                "{} of {bytes}: {outcome:?}",
                suite.name()
            );
            assert_eq!(receiver.unprotect(&mut sender.protected(&rtp(1, 12))), Ok(20));
        }
    }
}
