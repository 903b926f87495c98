//! What is believed of what the remote reports, and what is not.

use std::net::SocketAddr;
use std::time::Duration;

use mixminus::engine::Event;
use mixminus::leg::{Dropped, LegSettings, MediaTerms};
use mixminus::load::network::Conditions;
use mixminus::room::RoomSettings;
use mixminus::rtp::ntp;
use mixminus::rtp::rtcp::ReportBlock;
use mixminus::srtp::Suite;

use super::{SECOND, TONE, bye_of, pcmu, sender_report, speaker_and_listener, told};
use crate::support::keys::keys;
use crate::support::voice::{Voice, power_at};
use crate::support::world::World;

#[test]
fn a_sender_report_of_the_remote_is_quoted_with_its_delay_and_the_round_trip_comes_out_right() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(2 * SECOND);
    let remote = world.parties[0].says().ssrc;
    world.send_rtcp(0, &sender_report(remote, 0x1234_5678_9ABC_DEF0, &[], b"remote"));
    let sent = world.tick.due(0);
    world.run(10 * SECOND);
    let report = told(&world, 0)
        .into_iter()
        .find(|report| report.at > sent)
        .unwrap();
    let block = report.blocks[0];
    assert_eq!(block.last_sender_report, 0x5678_9ABC);
    let delay = f64::from(block.delay_since_last_sender_report) / 65_536.0;
    let passed = report.at.since(sent).as_secs_f64();
    assert!((delay - passed).abs() < 0.021, "{delay} of {passed} s");

    // The remote has had our last report for as long as it says; the rest of the time it was under way.
    let last = told(&world, 0).pop().unwrap();
    let held = Duration::from_millis(700);
    let passed = world.tick.due(0).since(last.at);
    world.run((held.saturating_sub(passed) + Duration::from_millis(100)).as_millis() as u64 / 20);
    let passed = world.tick.due(0).since(last.at);
    assert!(passed > held);
    let block = ReportBlock {
        ssrc: last.ssrc,
        fraction_lost: 64,
        cumulative_lost: 17,
        jitter: 80,
        last_sender_report: ntp::middle(last.sender.unwrap().ntp),
        delay_since_last_sender_report: ntp::short(held).unwrap(),
        ..ReportBlock::default()
    };
    assert_eq!(world.report(0).round_trip_ms, None);
    world.send_rtcp(0, &sender_report(remote, 1, &[block], b"remote"));
    let report = world.report(0);
    let expected = (passed - held).as_secs_f32() * 1_000.0;
    let round_trip = report.round_trip_ms.unwrap();
    assert!(
        (round_trip - expected).abs() < 20.0,
        "{round_trip} for {expected} ms"
    );
    assert_eq!(report.remote_loss_percent, Some(25.0));
    assert_eq!(report.remote_packets_lost, Some(17));
    assert_eq!(report.remote_jitter_ms, Some(10.0));
    assert_eq!(report.ssrc_received, Some(remote));
    assert_eq!(report.ssrc_sent, last.ssrc);
}

#[test]
fn a_remote_that_answers_to_another_is_reported_from_its_first_packet() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(20 * SECOND);
    world.parties[0].change_ssrc(0xABCD);
    world.run(20 * SECOND);
    let last = told(&world, 0).pop().unwrap();
    assert_eq!(last.blocks[0].ssrc, 0xABCD);
    assert_eq!(last.blocks[0].cumulative_lost, 0);
    assert_eq!(world.report(0).ssrc_received, Some(0xABCD));
}

#[test]
fn an_encrypted_leg_reports_and_takes_leave_encrypted_and_believes_only_what_is_authentic() {
    for suite in Suite::ALL {
        let mut world = World::seeded(7);
        world.open(0, 0, RoomSettings::default());
        let voice = Voice::steady(TONE, -20.0);
        world.join_on(0, 0, pcmu(), voice, LegSettings::default(), |terms| MediaTerms {
            srtp: Some(keys(suite, 1)),
            ..terms
        });
        world.run(20 * SECOND);
        let reports = told(&world, 0);
        assert!(reports.len() > 2 && reports.iter().all(|report| report.sender.is_some()));
        let (ours, theirs) = (reports[0].ssrc, world.parties[0].says().ssrc);
        let address = world.parties[0].address;
        let block = ReportBlock {
            ssrc: ours,
            fraction_lost: 128,
            ..ReportBlock::default()
        };
        // Plain, and then as it should be.
        let report = sender_report(theirs, 5, &[block], b"remote");
        world.send_raw(0, address, &report);
        assert_eq!(world.report(0).remote_loss_percent, None);
        world.send_rtcp(0, &report);
        assert_eq!(world.report(0).remote_loss_percent, Some(50.0));
        world.send_rtcp(0, &bye_of(theirs));
        assert!(world.report(0).bye_received, "{}", suite.name());
        world.end(0);
        world.run(2);
        assert_eq!(told(&world, 0).pop().unwrap().byes, [ours]);
    }
}

#[test]
fn a_bye_ends_nothing_and_is_taken_back_by_the_next_packet() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(2 * SECOND);
    let remote = world.parties[0].says().ssrc;
    let stranger = SocketAddr::from(([192, 0, 2, 66], 20_000));
    world.send_rtcp_from(0, stranger, &bye_of(remote));
    assert_eq!(world.dropped(Dropped::UnknownSource), 1);
    assert!(!world.report(0).bye_received, "from another source");
    world.send_rtcp(0, &bye_of(remote ^ 1));
    assert!(!world.report(0).bye_received, "of another stream");
    world.send_rtcp(0, &bye_of(remote));
    assert!(world.report(0).bye_received);
    for _ in 0..100 {
        world.send_rtcp(0, &bye_of(remote));
        world.run(1);
    }
    world.parties[1].heard.clear();
    world.run(SECOND);
    assert!(!world.report(0).bye_received, "it speaks all the same");
    assert!(!world.has_left(0));
    assert!(
        !world
            .events
            .iter()
            .any(|event| matches!(event, Event::Left { .. }))
    );
    let heard = &world.parties[1].heard;
    assert!(power_at(TONE, heard, 8_000) > 0.3 * Voice::steady(TONE, -20.0).power());
}

/// Malformed RTCP by name: row M5 of the faults.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let report: &[u8] = &[0x80, 201, 0, 1, 0, 0, 0, 9];
    let after = |packet: &[u8]| [report, packet].concat();
    vec![
        ("length 0", vec![0x80, 200, 0, 0]),
        ("past the end", vec![0x80, 200, 0, 9, 0, 0, 0, 9]),
        (
            "31 blocks in one's length",
            [&[0x9F, 200, 0, 12][..], &[0; 48]].concat(),
        ),
        (
            "a BYE of sources that are not there",
            after(&[0x9F, 203, 0, 1, 0, 0, 0, 9]),
        ),
        (
            "a BYE with an endless reason",
            after(&[0x81, 203, 0, 2, 0, 0, 0, 9, 200, 1, 2, 3]),
        ),
        (
            "a description without end",
            after(&[0x81, 202, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4]),
        ),
        (
            "a description's item past the end",
            after(&[0x81, 202, 0, 2, 0, 0, 0, 9, 1, 255, 0, 0]),
        ),
        ("no report first", vec![0x80, 203, 0, 0]),
        ("XR first", vec![0x80, 207, 0, 1, 0, 0, 0, 9]),
        ("a tail of two bytes", after(&[0x80, 200])),
        ("version 1 behind a report", after(&[0x40, 203, 0, 0])),
        ("padding of everything", vec![0xA0, 201, 0, 1, 0, 0, 0, 8]),
    ]
}

#[test]
fn malformed_rtcp_is_counted_and_disturbs_nobody() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(2 * SECOND);
    let address = world.parties[0].address;
    for (number, (what, datagram)) in malformed().into_iter().enumerate() {
        world.send_raw(0, address, &datagram);
        assert_eq!(world.dropped(Dropped::BadRtcp), number as u64 + 1, "{what}");
    }
    assert_eq!(world.report(0).rtcp_received, 0);
    world.run(SECOND);
    world.parties[1].heard.clear();
    world.run(SECOND);
    let heard = &world.parties[1].heard;
    assert!(power_at(TONE, heard, 8_000) > 0.3 * Voice::steady(TONE, -20.0).power());
}

#[test]
fn what_is_unknown_in_a_valid_datagram_is_passed_over() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(2 * SECOND);
    let address = world.parties[0].address;
    let report: &[u8] = &[0x80, 201, 0, 1, 0, 0, 0, 9];
    for packet in [
        &[0x80, 207, 0, 2, 0, 0, 0, 9, 4, 0, 0, 0][..],
        &[0x80, 207, 0, 2, 0, 0, 0, 9, 4, 0, 255, 255],
        &[0x80, 204, 0, 2, 0, 0, 0, 9, b'n', b'a', b'm', b'e'],
        &[0x81, 205, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1],
        &[0x9F, 206, 0, 0],
    ] {
        world.send_raw(0, address, &[report, packet].concat());
    }
    assert_eq!(world.report(0).rtcp_received, 5);
    assert_eq!(world.dropped(Dropped::BadRtcp), 0);
}

#[test]
fn random_datagrams_and_damaged_reports_never_stop_a_leg() {
    for seed in 0..4 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
        world.run(6 * SECOND);
        let address = world.parties[0].address;
        let (ours, theirs) = (told(&world, 0)[0].ssrc, world.parties[0].says().ssrc);
        world.parties[0].collides = true;
        for _ in 0..2_000 {
            let block = ReportBlock {
                ssrc: [ours, theirs][chance.usize(0..2)],
                fraction_lost: chance.u8(..),
                cumulative_lost: chance.i32(..),
                highest_sequence: chance.u32(..),
                jitter: chance.u32(..),
                last_sender_report: chance.u32(..),
                delay_since_last_sender_report: chance.u32(..),
            };
            let mut datagram = sender_report(theirs, chance.u64(..), &[block], b"remote");
            for _ in 0..chance.usize(0..4) {
                let at = chance.usize(0..datagram.len());
                datagram[at] = chance.u8(..);
            }
            world.send_raw(0, address, &datagram);
            if chance.u8(0..20) == 0 {
                world.run(1);
            }
        }
        world.run(10 * SECOND);
        assert_eq!(world.engines[0].stats().panics, 0, "seed {seed}");
        let figures = world.report(0);
        let sane = |value: Option<f32>| value.is_none_or(|value| value.is_finite() && value >= 0.0);
        assert!(
            sane(figures.round_trip_ms) && sane(figures.remote_jitter_ms),
            "seed {seed}: {figures:?}"
        );
        assert!(!world.has_left(0));
    }
}
