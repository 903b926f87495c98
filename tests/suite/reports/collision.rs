//! A remote with our SSRC (RFC 3550 §8.2): by chance, or because what we send comes back.

use std::net::SocketAddr;

use mixminus::leg::{Dropped, LegSettings, MediaTerms};
use mixminus::load::network::Conditions;
use mixminus::room::RoomSettings;
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use mixminus::srtp::Suite;

use super::{SECOND, TONE, Told, pcmu, sender_report, speaker_and_listener, told};
use crate::support::keys::keys;
use crate::support::voice::{Voice, power_at};
use crate::support::world::{PAYLOAD_TYPE, World};

fn datagram(ssrc: u32, sequence: u16, timestamp: u32) -> Vec<u8> {
    let mut datagram = vec![0xFF; HEADER_BYTES + 160];
    let header = Header {
        marker: false,
        payload_type: PAYLOAD_TYPE,
        sequence,
        timestamp,
        ssrc,
    };
    header.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
    datagram
}

#[test]
fn a_remote_with_our_ssrc_is_heard_and_we_take_another_and_take_leave_of_the_old() {
    for suite in [None, Some(Suite::AesCm128HmacSha1_80), Some(Suite::AeadAes128Gcm)] {
        let mut world = World::seeded(8);
        world.open(0, 0, RoomSettings::default());
        let voice = Voice::steady(TONE, -20.0);
        world.join_on(0, 0, pcmu(), voice, LegSettings::default(), |terms| MediaTerms {
            srtp: suite.map(|suite| keys(suite, 1)),
            ..terms
        });
        world.join(0, 0, pcmu(), Voice::silent());
        world.run(6 * SECOND);
        let before = told(&world, 0).pop().unwrap();
        let header = world.parties[0].last_header().unwrap();
        world.parties[0].collides = true;
        world.parties[0].change_ssrc(header.ssrc);
        world.run(2 * SECOND);
        assert_eq!(world.report(0).ssrc_received, Some(header.ssrc), "{suite:?}");
        world.parties[1].heard.clear();
        world.run(12 * SECOND);
        // The world has seen that numbers and timestamps go on.
        let &[old, new] = &world.parties[0].ssrcs[..] else {
            panic!("one change: {:?}", world.parties[0].ssrcs);
        };
        assert_eq!((old, world.report(0).ssrc_sent), (header.ssrc, new));
        let reports = told(&world, 0);
        let byes: Vec<&Told> = reports.iter().filter(|report| !report.byes.is_empty()).collect();
        assert_eq!(byes.len(), 1);
        assert_eq!((byes[0].byes[0], byes[0].ssrc), (old, old));
        let last = reports.last().unwrap();
        assert_eq!(last.ssrc, new);
        assert_eq!(last.cname, before.cname, "the name stays");
        assert!(last.sender.unwrap().packets < before.sender.unwrap().packets + 14 * 50);
        let heard = &world.parties[1].heard;
        assert!(power_at(TONE, heard, 8_000) > 0.3 * Voice::steady(TONE, -20.0).power());
    }
}

#[test]
fn what_we_sent_and_comes_back_is_dropped_by_name_and_nobody_hears_it() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(6 * SECOND);
    let address = world.parties[1].address;
    let ssrcs = world.parties[1].ssrcs.clone();
    // B's own packets return to it after 200 ms, beside what it says.
    for number in 0..100_u64 {
        let header = world.parties[1].last_header().unwrap();
        let (sequence, timestamp) = (
            header.sequence.wrapping_sub(10),
            header.timestamp.wrapping_sub(1_600),
        );
        world.send_raw(1, address, &datagram(header.ssrc, sequence, timestamp));
        assert_eq!(world.dropped(Dropped::Looped), number + 1);
        world.run(1);
    }
    let reports = world.parties[1].reports.clone();
    let mut looped = 100;
    for (_, report) in reports {
        world.send_raw(1, address, &report);
        looped += 1;
        assert_eq!(world.dropped(Dropped::Looped), looped);
    }
    assert_eq!(world.parties[1].ssrcs, ssrcs, "we need no other SSRC");
}

#[test]
fn our_own_packets_do_not_make_the_address_they_come_from_ours() {
    // Nothing of the party's arrives: any address may still pass probation.
    let deaf = Conditions {
        loss: 1.0,
        ..Conditions::PERFECT
    };
    let mut world = World::seeded(9).network(deaf);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, pcmu(), Voice::silent());
    world.run(1);
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9_000));
    world.run(SECOND);
    for _ in 0..20 {
        let header = world.parties[0].last_header().unwrap();
        let looped = datagram(header.ssrc, header.sequence, header.timestamp);
        world.send_raw(0, elsewhere, &looped);
        // The world sees that nothing goes elsewhere than to the party.
        world.run(1);
    }
    assert_eq!(world.dropped(Dropped::Looped), 20);
}

#[test]
fn a_remote_that_follows_us_to_every_new_ssrc_is_heard_and_we_change_once_a_minute() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(6 * SECOND);
    world.parties[0].collides = true;
    for round in 0..5 {
        let ours = world.report(0).ssrc_sent;
        world.parties[0].change_ssrc(ours);
        world.run(10 * SECOND);
        assert_eq!(
            world.parties[0].ssrcs.len(),
            2,
            "round {round}: one change in a minute"
        );
    }
    for minute in 0..4 {
        let ours = world.report(0).ssrc_sent;
        world.parties[0].change_ssrc(ours);
        world.parties[1].heard.clear();
        world.run(61 * SECOND);
        let heard = &world.parties[1].heard;
        let last = &heard[heard.len() - 8_000..];
        let power = power_at(TONE, last, 8_000) / Voice::steady(TONE, -20.0).power();
        assert!(power > 0.3, "minute {minute}: {power}");
    }
    assert_eq!(world.parties[0].ssrcs.len(), 4, "three changes in a life");
}

#[test]
fn a_stranger_with_our_ssrc_changes_nothing() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(6 * SECOND);
    let ours = world.report(0).ssrc_sent;
    let stranger = SocketAddr::from(([192, 0, 2, 66], 20_000));
    for number in 0..200 {
        world.send_raw(0, stranger, &datagram(ours, 30_000 + number, 7));
        world.send_raw(0, stranger, &sender_report(ours, 1, &[], b"somebody"));
    }
    assert_eq!(world.dropped(Dropped::UnknownSource), 400);
    assert_eq!(world.report(0).ssrc_sent, ours);
}

#[test]
fn two_remotes_with_one_ssrc_do_not_disturb_each_other() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.join(0, 0, pcmu(), Voice::steady(1_200.0, -20.0));
    for party in 0..3 {
        world.parties[party].change_ssrc(0x5555_5555);
    }
    world.run(20 * SECOND);
    world.parties[1].heard.clear();
    world.run(SECOND);
    let heard = &world.parties[1].heard;
    for hz in [TONE, 1_200.0] {
        assert!(
            power_at(hz, heard, 8_000) > 0.3 * Voice::steady(hz, -20.0).power(),
            "{hz}"
        );
    }
    for party in 0..3 {
        let last = told(&world, party).pop().unwrap();
        assert_eq!(
            (last.blocks[0].ssrc, last.blocks[0].cumulative_lost),
            (0x5555_5555, 0)
        );
    }
}
