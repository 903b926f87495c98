//! What nobody sends on purpose, in a party's own name: counted by kind, heard by nobody, and the party goes on.

use mixminus::codec::Codec;
use mixminus::leg::Dropped;
use mixminus::room::RoomSettings;

use crate::support::voice::{Voice, power_at};
use crate::support::world::{PAYLOAD_TYPE, World, encoding};

const TONE: f32 = 500.0;

fn speaker_and_listener() -> World {
    let mut world = World::seeded(11);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, encoding(Codec::Pcmu), Voice::steady(TONE, -20.0));
    world.join(0, 0, encoding(Codec::Pcmu), Voice::silent());
    world.run(50);
    world
}

/// An RTP header of version 2 with these flags, and what comes after it.
fn rtp(flags: u8, after: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x80 | flags, PAYLOAD_TYPE, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7];
    datagram.extend(after);
    datagram
}

/// An RTCP packet of a type and count, with the length it says in words.
fn rtcp(count: u8, kind: u8, words: u16, body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x80 | count, kind];
    datagram.extend(words.to_be_bytes());
    datagram.extend(body);
    datagram
}

fn after_a_report(packet: Vec<u8>) -> Vec<u8> {
    [rtcp(0, 201, 1, &[0, 0, 0, 5]), packet].concat()
}

#[test]
fn garbage_in_a_partys_name_is_counted_by_kind_and_disturbs_nobody() {
    use Dropped::{BadCsrc, BadExtension, BadPadding, BadRtcp, TooShort, UnknownPayloadType, WrongVersion};
    const CSRC_CUT: [u8; 59] = [0; 59];
    let rows: [(Vec<u8>, Dropped); 29] = [
        (vec![], TooShort),
        (vec![0x80], TooShort),
        (rtp(0, &[])[..11].to_vec(), TooShort),
        (vec![0x40; 172], WrongVersion),
        (vec![0x00; 172], WrongVersion),
        ([&[0xc0, 0][..], &[0; 170]].concat(), WrongVersion),
        (rtp(0x0f, &CSRC_CUT), BadCsrc),
        (rtp(0x10, &[]), BadExtension),
        (rtp(0x10, &[0xbe, 0xde, 0]), BadExtension),
        (rtp(0x10, &[0xbe, 0xde, 0, 2, 0x10, 0, 0, 0]), BadExtension),
        (rtp(0x10, &[0xbe, 0xde, 0xff, 0xff, 0, 0, 0, 0]), BadExtension),
        (rtp(0x1f, &[0; 60]), BadExtension),
        (rtp(0x20, &[]), BadPadding),
        (rtp(0x20, &[1, 2, 0]), BadPadding),
        (rtp(0x20, &[1, 2, 4]), BadPadding),
        (rtp(0x20, &[255; 254]), BadPadding),
        (
            {
                let mut other = rtp(0, &[0; 160]);
                other[1] = 77;
                other
            },
            UnknownPayloadType,
        ),
        // RTCP on the same port (RFC 5761): a compound that does not begin with a report, or lies about a length.
        (rtcp(0, 201, 0, &[]), BadRtcp),
        (rtcp(0, 201, 9, &[0, 0, 0, 5]), BadRtcp),
        (rtcp(31, 200, 6, &[0; 24]), BadRtcp),
        (rtcp(1, 203, 1, &[0, 0, 0, 5]), BadRtcp),
        (rtcp(1, 202, 1, &[0, 0, 0, 5]), BadRtcp),
        (after_a_report(rtcp(31, 203, 1, &[0, 0, 0, 5])), BadRtcp),
        (
            after_a_report(rtcp(1, 203, 2, &[0, 0, 0, 5, 200, 1, 2, 3])),
            BadRtcp,
        ),
        (
            after_a_report(rtcp(1, 202, 2, &[0, 0, 0, 5, 1, 2, 97, 98])),
            BadRtcp,
        ),
        (
            after_a_report(rtcp(1, 202, 2, &[0, 0, 0, 5, 1, 200, 97, 98])),
            BadRtcp,
        ),
        (after_a_report(rtcp(0, 207, 300, &[0; 8])), BadRtcp),
        (after_a_report(vec![0x80, 204]), BadRtcp),
        (after_a_report(vec![0x40, 204, 0, 0]), BadRtcp),
    ];
    let mut world = speaker_and_listener();
    let (leg, address) = (world.parties[0].leg, world.parties[0].address);
    let mut expected = [0; Dropped::COUNT];
    for (datagram, reason) in &rows {
        for _ in 0..3 {
            let now = world.tick.due(0);
            world.engines[0].receive(now, leg, address, &mut datagram.clone());
            expected[*reason as usize] += 1;
            world.run(1);
        }
    }
    for reason in Dropped::ALL {
        assert_eq!(
            world.dropped(reason),
            expected[reason as usize],
            "{}",
            reason.name()
        );
    }
    assert_heard_whole(&mut world);
}

/// Feedback, extended reports and what an application says to itself: valid, and nothing for us.
#[test]
fn reports_of_other_kinds_are_passed_over_and_neither_they_nor_a_bye_end_the_leg() {
    let mut world = speaker_and_listener();
    let (leg, address) = (world.parties[0].leg, world.parties[0].address);
    let ssrc = world.parties[0]
        .last_header
        .expect("it is sent sound")
        .ssrc
        .to_be_bytes();
    let rows = [
        rtcp(0, 207, 3, &[0, 0, 0, 5, 4, 0, 0, 0, 0, 0, 0, 0]),
        rtcp(0, 207, 2, &[0, 0, 0, 5, 4, 0, 0xff, 0xff]),
        rtcp(3, 204, 3, b"\0\0\0\x05NAME\x01\x02\x03\x04"),
        rtcp(1, 205, 2, &[0, 0, 0, 5, 0, 0, 0, 7]),
        rtcp(1, 206, 2, &[0, 0, 0, 5, 0, 0, 0, 7]),
        rtcp(
            15,
            206,
            4,
            &[0, 0, 0, 5, 0, 0, 0, 7, b'R', b'E', b'M', b'B', 0, 0, 0, 0],
        ),
        rtcp(0, 255, 1, &[0, 0, 0, 0]),
        rtcp(1, 203, 1, &[0, 0, 0, 5]),
        rtcp(1, 203, 1, &ssrc),
        rtcp(0, 203, 0, &[]),
    ];
    let before = world.report(0).rtcp_received;
    for packet in &rows {
        let now = world.tick.due(0);
        let mut datagram = after_a_report(packet.clone());
        world.engines[0].receive_rtcp(now, leg, address, &mut datagram);
        world.run(1);
    }
    assert_eq!(world.report(0).rtcp_received - before, rows.len() as u64);
    assert_eq!(world.dropped(Dropped::BadRtcp), 0);
    assert_heard_whole(&mut world);
}

/// Fifty packets within a tick are a network that had stood still, and all heard that is not too old; so many on and on
/// are a flood.
#[test]
fn a_burst_is_taken_and_a_flood_in_the_partys_name_is_cut_down() {
    let mut world = speaker_and_listener();
    let (leg, address) = (world.parties[0].leg, world.parties[0].address);
    let mut sequence = 40_000_u16;
    let mut flood = |world: &mut World, packets: usize| {
        for _ in 0..packets {
            let mut datagram = rtp(0, &[0xff; 160]);
            datagram[2..4].copy_from_slice(&sequence.to_be_bytes());
            datagram[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
            sequence = sequence.wrapping_add(1);
            let now = world.tick.due(0);
            world.engines[0].receive(now, leg, address, &mut datagram);
        }
        world.run(1);
    };
    flood(&mut world, 50);
    assert_eq!(world.dropped(Dropped::TooFast), 0);
    for _ in 0..50 {
        flood(&mut world, 200);
    }
    let cut = world.dropped(Dropped::TooFast);
    assert!((9_250..=9_550).contains(&cut), "{cut} of 10,000 in a second");
    world.run(50);
    assert_eq!(world.engines[0].stats().panics, 0);
    assert!(!world.has_left(0));
}

fn assert_heard_whole(world: &mut World) {
    world.parties[1].heard.clear();
    world.run(10);
    let heard = &world.parties[1].heard;
    assert!(heard.len() >= 1_440);
    let power = power_at(TONE, heard, 8_000) / Voice::steady(TONE, -20.0).power();
    assert!((0.8..1.2).contains(&power), "{power}");
    assert!(!world.has_left(0));
    let report = world.report(0);
    assert_eq!((report.packets_lost, report.samples_concealed), (0, 0));
}
