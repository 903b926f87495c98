//! RTCP of whole conferences on the virtual clock: what we report, what we believe, and what becomes of a remote that has
//! our SSRC.

use mixminus::codec::{Codec, Encoding};
use mixminus::dsp::Music;
use mixminus::engine::Event;
use mixminus::frame::Rate;
use mixminus::leg::{Dropped, Hold, LegChange, LegSettings, MediaTerms};
use mixminus::load::network::{Conditions, Jitter};
use mixminus::room::RoomSettings;
use mixminus::rtp::ntp;
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use mixminus::rtp::rtcp::{self, CNAME, ReportBlock, Rtcp, SenderInfo};
use mixminus::srtp::{MasterKey, Suite, Terms};
use mixminus::time::{Tick, Time};
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::voice::{Voice, power_at};
use crate::support::world::{PAYLOAD_TYPE, WALL_CLOCK, World, encoding};

const TONE: f32 = 500.0;
const SECOND: u64 = 50;

/// What a compound datagram of ours said.
#[derive(Debug, Clone, Default)]
struct Told {
    at: Time,
    ssrc: u32,
    sender: Option<SenderInfo>,
    blocks: Vec<ReportBlock>,
    cname: Vec<u8>,
    byes: Vec<u32>,
}

fn told(world: &World, party: usize) -> Vec<Told> {
    let reports = &world.parties[party].reports;
    reports.iter().map(|(at, datagram)| read(*at, datagram)).collect()
}

fn read(at: Time, datagram: &[u8]) -> Told {
    let mut told = Told {
        at,
        ..Told::default()
    };
    for packet in rtcp::validate(datagram).expect("our own reports are valid") {
        match packet {
            Rtcp::SenderReport(report) => {
                told.ssrc = report.ssrc;
                told.sender = Some(report.sender);
                told.blocks = report.blocks.collect();
            }
            Rtcp::ReceiverReport(report) => {
                told.ssrc = report.ssrc;
                told.blocks = report.blocks.collect();
            }
            Rtcp::SourceDescription(items) => {
                for item in items {
                    assert_eq!((item.ssrc, item.kind), (told.ssrc, CNAME));
                    told.cname = item.text.to_vec();
                }
            }
            Rtcp::Bye(bye) => told.byes.extend(bye.sources()),
            Rtcp::Other { packet_type, .. } => panic!("we never send packet type {packet_type}"),
        }
    }
    assert!(told.cname.len() >= 14, "every datagram names its source");
    told
}

/// A speaks, B listens.
fn speaker_and_listener(one: Encoding, conditions: Conditions) -> World {
    let mut world = World::seeded(3).network(conditions);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, one, Voice::steady(TONE, -20.0));
    world.join(0, 0, encoding(Codec::Pcmu), Voice::silent());
    world
}

fn pcmu() -> Encoding {
    encoding(Codec::Pcmu)
}

/// Where the timeline is at a time, by a report.
fn place(sender: &SenderInfo, at: u64, clock_hz: u32) -> f64 {
    let seconds = at.wrapping_sub(sender.ntp) as i64 as f64 / 4_294_967_296.0;
    f64::from(sender.timestamp) + seconds * f64::from(clock_hz)
}

/// Each report continues the one before it: by the clock given, to a sample.
fn assert_continuous(reports: &[Told], clock_hz: u32) {
    for pair in reports.windows(2) {
        let (Some(one), Some(next)) = (pair[0].sender, pair[1].sender) else {
            panic!("sender reports: {pair:?}");
        };
        let expected = place(&one, next.ntp, clock_hz) as i64 as u32;
        let off = next.timestamp.wrapping_sub(expected) as i32;
        assert!(
            off.abs() <= 1,
            "{off} units beside the timeline at {:?}",
            pair[1].at
        );
    }
}

fn bye_of(ssrc: u32) -> Vec<u8> {
    let mut datagram = vec![0; rtcp::DATAGRAM_BYTES_MAX];
    let len = rtcp::write_bye(&mut datagram, ssrc, b"somebody").unwrap();
    datagram.truncate(len);
    datagram
}

fn sender_report(ssrc: u32, ntp: u64, blocks: &[ReportBlock], cname: &[u8]) -> Vec<u8> {
    let sender = SenderInfo {
        ntp,
        timestamp: 0,
        packets: 1,
        octets: 160,
    };
    let mut datagram = vec![0; rtcp::DATAGRAM_BYTES_MAX];
    let len = rtcp::write_sender_report(&mut datagram, ssrc, &sender, blocks, cname).unwrap();
    datagram.truncate(len);
    datagram
}

#[test]
fn every_leg_is_told_within_three_seconds_and_then_every_five_on_average() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    let begun = world.tick.due(0);
    world.run(100 * SECOND);
    for party in 0..2 {
        let told = told(&world, party);
        let first = told[0].at.since(begun).as_millis();
        assert!((1_000..=2_540).contains(&first), "the first after {first} ms");
        assert!((16..=26).contains(&told.len()), "{} in 100 s", told.len());
        for pair in told.windows(2) {
            let apart = pair[1].at.since(pair[0].at).as_millis();
            assert!((2_500..=7_520).contains(&apart), "{apart} ms apart");
        }
        assert!(
            told.iter()
                .all(|one| one.cname == told[0].cname && one.ssrc == told[0].ssrc)
        );
        assert_eq!(world.report(party).rtcp_sent, told.len() as u64);
    }
    assert_ne!(told(&world, 0)[0].cname, told(&world, 1)[0].cname);
}

#[test]
fn a_sender_report_counts_what_was_sent_and_tells_the_place_of_the_timeline_at_its_wall_clock() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus(Rate::Hz48000)] {
        for ptime_ms in [20, 30, 60] {
            let with_ptime = Encoding {
                ptime_ms,
                ..encoding(codec)
            };
            let mut world = speaker_and_listener(with_ptime, Conditions::PERFECT);
            world.run(30 * SECOND);
            let reports = told(&world, 0);
            assert_continuous(&reports, codec.clock_hz());
            for one in &reports {
                assert_eq!(one.sender.unwrap().ntp, WALL_CLOCK.at(one.at));
            }
            let party = &world.parties[0];
            // The last packet that was sent began at its timestamp, which the reports place within its own length.
            let last = reports.last().unwrap().sender.unwrap();
            let header = party.last_header().unwrap();
            let now = place(&last, WALL_CLOCK.at(world.tick.due(0)), codec.clock_hz()) as i64 as u32;
            let age = now.wrapping_sub(header.timestamp) as f32 / codec.clock_hz() as f32;
            let length = f32::from(ptime_ms) / 1_000.0;
            assert!(
                (length - 0.001..length + 0.061).contains(&age),
                "{codec:?} {ptime_ms}: {age} s"
            );
        }
    }
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(30 * SECOND);
    let last = told(&world, 0).pop().unwrap();
    let (sender, header) = (last.sender.unwrap(), world.parties[0].last_header().unwrap());
    let since = (world.tick.due(0).since(last.at).as_millis() as u32 - 20) / 20;
    let sent = world.parties[0].packets_heard as u32 - since;
    assert_eq!((sender.packets, sender.octets), (sent, 160 * sent));
    assert_eq!(last.ssrc, header.ssrc);
}

#[test]
fn the_mapping_holds_through_hold_silence_and_a_move_to_another_room_of_another_engine() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT).engine();
    // Its ticks come at another moment.
    let elsewhere = RoomSettings {
        phase: 3,
        ..RoomSettings::default()
    };
    world.open(1, 5, elsewhere);
    world.run(8 * SECOND);
    world.change(0, LegChange::Hold(Some(Hold { music: None })));
    world.run(8 * SECOND);
    let music = Some(Music::Music1);
    world.change(0, LegChange::Hold(Some(Hold { music })));
    world.run(8 * SECOND);
    world.change(0, LegChange::Hold(None));
    world.leave(0);
    world.run(1);
    assert!(world.has_left(0));
    world.seat_again(0, 1, 5);
    world.run(20 * SECOND);
    let reports = told(&world, 0);
    assert!(
        reports.iter().all(|report| report.byes.is_empty()),
        "a move is no leave"
    );
    assert!(reports.len() > 5);
    assert_continuous(&reports, 8_000);
}

#[test]
fn pauses_in_what_we_send_do_not_bend_the_mapping() {
    for codec in [Codec::Pcmu, Codec::G729, Codec::Opus(Rate::Hz16000)] {
        let pausing = Encoding {
            dtx: true,
            ..encoding(codec)
        };
        let mut world = speaker_and_listener(pausing, Conditions::PERFECT);
        world.change(0, LegChange::Deaf(true));
        world.run(40 * SECOND);
        assert_continuous(&told(&world, 0), codec.clock_hz());
        let packets = world.parties[0].packets_heard;
        assert!(packets < 1_000, "{codec:?} pauses: {packets}");
    }
}

#[test]
fn another_clock_bends_the_mapping_where_it_is_agreed_on_and_nowhere_else() {
    let opus = Encoding {
        ptime_ms: 60,
        ..encoding(Codec::Opus(Rate::Hz48000))
    };
    for skew in 0..3 {
        let mut world = speaker_and_listener(
            Encoding {
                ptime_ms: 40,
                ..pcmu()
            },
            Conditions::PERFECT,
        );
        world.run(15 * SECOND + skew);
        world.renegotiate(0, opus, |terms| terms);
        world.run(1);
        let agreed = world.tick.due(0);
        world.run(15 * SECOND);
        let reports = told(&world, 0);
        let after = reports.partition_point(|report| report.at < agreed);
        assert_continuous(&reports[..after], 8_000);
        assert_continuous(&reports[after..], 48_000);
        // The next packet begins where the last report says that the timeline is.
        let last = reports.last().unwrap().sender.unwrap();
        let header = world.parties[0].last_header().unwrap();
        let now = place(&last, WALL_CLOCK.at(world.tick.due(0)), 48_000) as i64 as u32;
        let age = now.wrapping_sub(header.timestamp);
        assert!((60 * 48 - 1..=120 * 48).contains(&age), "{age}");
    }
}

#[test]
fn whoever_sends_nothing_reports_as_a_receiver() {
    let mut world = World::seeded(4);
    world.open(0, 0, RoomSettings::default());
    world.join_on(
        0,
        0,
        pcmu(),
        Voice::steady(TONE, -20.0),
        LegSettings::default(),
        |terms| MediaTerms {
            sends: false,
            ..terms
        },
    );
    world.run(20 * SECOND);
    let reports = told(&world, 0);
    assert!(reports.len() > 2);
    assert!(
        reports
            .iter()
            .all(|report| report.sender.is_none() && report.blocks.len() == 1)
    );
}

#[test]
fn as_long_as_nothing_is_agreed_or_there_is_no_address_nothing_is_reported() {
    let mut world = World::seeded(5);
    world.open(0, 0, RoomSettings::default());
    let quiet = Voice::silent;
    world.join_on(0, 0, pcmu(), quiet(), LegSettings::default(), |_| {
        MediaTerms::nothing()
    });
    world.join_on(0, 0, pcmu(), quiet(), LegSettings::default(), |terms| {
        MediaTerms {
            remote: None,
            ..terms
        }
    });
    world.run(10 * SECOND);
    for party in 0..2 {
        assert_eq!(world.report(party).rtcp_sent, 0);
        assert_eq!(told(&world, party).len(), 0);
    }
}

#[test]
fn loss_jitter_and_the_highest_number_are_those_of_what_came() {
    let conditions = Conditions {
        loss: 0.1,
        ..Conditions::PERFECT
    };
    let mut world = speaker_and_listener(pcmu(), conditions);
    world.run(60 * SECOND);
    let reports = told(&world, 0);
    let last = &reports.last().unwrap().blocks[0];
    let party = world.parties[0].says();
    assert_eq!(last.ssrc, party.ssrc);
    let sent = world.tick.due(0).since(Tick(1_000).due(0)).as_millis() as i32 / 20;
    let share = last.cumulative_lost as f32 / sent as f32;
    assert!(
        (0.07..0.13).contains(&share),
        "{} of {sent}",
        last.cumulative_lost
    );
    let mean = reports
        .iter()
        .map(|report| f32::from(report.blocks[0].fraction_lost))
        .sum::<f32>();
    let mean = mean / reports.len() as f32 / 256.0;
    assert!((0.06..0.14).contains(&mean), "{mean}");
    let since = world.tick.due(0).since(reports.last().unwrap().at).as_millis() as u16 / 20;
    let highest = party.sequence.wrapping_sub(1).wrapping_sub(since);
    assert!(highest.wrapping_sub(last.highest_sequence as u16).wrapping_add(3) <= 6);
    assert_eq!(last.jitter, 0, "they came like a clock");
}

#[test]
fn the_jitter_of_the_arrivals_is_reported_in_units_of_their_clock() {
    for codec in [Codec::Pcmu, Codec::Opus(Rate::Hz48000)] {
        let conditions = Conditions {
            jitter: Jitter::Uniform(Duration::from_millis(40)),
            ..Conditions::PERFECT
        };
        let mut world = speaker_and_listener(encoding(codec), conditions);
        world.run(30 * SECOND);
        let ms = world.report(0).jitter_ms;
        let reported = told(&world, 0).pop().unwrap().blocks[0].jitter;
        let reported_ms = reported as f32 * 1_000.0 / codec.clock_hz() as f32;
        assert!(
            ms > 2.0 && (reported_ms - ms).abs() < ms,
            "{codec:?}: {reported_ms} of {ms} ms"
        );
    }
}

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
fn whoever_is_let_go_for_good_is_told_once_and_the_last_thing() {
    let mut world = speaker_and_listener(pcmu(), Conditions::PERFECT);
    world.run(10 * SECOND);
    world.end(0);
    world.run(2);
    assert!(world.has_left(0));
    let reports = told(&world, 0);
    let last = reports.last().unwrap();
    assert_eq!(last.byes, [last.ssrc]);
    assert_eq!(reports.iter().filter(|report| !report.byes.is_empty()).count(), 1);
}

#[test]
fn rtcp_of_its_own_port_goes_there_or_beside_where_rtp_was_found_to_come_from() {
    let rtcp = SocketAddr::from(([127, 0, 0, 9], 6_001));
    let mut world = World::seeded(6);
    world.open(0, 0, RoomSettings::default());
    let voice = Voice::steady(TONE, -20.0);
    world.join_on(0, 0, pcmu(), voice, LegSettings::default(), |terms| MediaTerms {
        rtcp_mux: false,
        remote_rtcp: Some(rtcp),
        ..terms
    });
    world.parties[0].rtcp_address = Some(rtcp);
    world.run(10 * SECOND);
    assert!(!world.parties[0].reports.is_empty());

    // Its RTP comes from elsewhere: five packets later that is where we send.
    let mut world = World::seeded(6);
    world.open(0, 0, RoomSettings::default());
    let voice = Voice::steady(TONE, -20.0);
    world.join_on(0, 0, pcmu(), voice, LegSettings::default(), |terms| MediaTerms {
        rtcp_mux: false,
        remote_rtcp: Some(rtcp),
        sends: false,
        ..terms
    });
    world.move_party(0, SocketAddr::from(([127, 0, 0, 8], 7_000)));
    world.parties[0].rtcp_address = Some(SocketAddr::from(([127, 0, 0, 8], 7_001)));
    world.run(10 * SECOND);
    assert!(!world.parties[0].reports.is_empty());
}

fn keys(suite: Suite, seed: u64) -> Terms {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut key = || {
        let bytes: Vec<u8> = (0..suite.master_bytes()).map(|_| chance.u8(..)).collect();
        MasterKey::new(suite, &bytes).expect("as long as the suite wants it")
    };
    Terms {
        ours: key(),
        theirs: key(),
        their_mki_bytes: 0,
    }
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
    let mut world = World::seeded(9);
    world.open(0, 0, RoomSettings::default());
    // The party never speaks: any address may still pass probation.
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
fn a_remote_that_follows_us_to_every_new_ssrc_is_a_loop() {
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
    assert!(world.dropped(Dropped::Looped) > 0);
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

#[test]
fn in_the_tenth_year_of_uptime_reports_are_what_they_were_on_the_first_day() {
    const YEAR: u64 = 31_557_600;
    // In 2036 the seconds of NTP begin anew, and every 18 hours its middle bits.
    for start in [YEAR * 10, 313_611_776 - 10, 65_536 * 3_000 - 10] {
        let mut world = World::seeded(12);
        world.tick = Tick(start * SECOND);
        world.open(0, 0, RoomSettings::default());
        world.join(0, 0, pcmu(), Voice::steady(TONE, -20.0));
        world.join(0, 0, pcmu(), Voice::silent());
        world.run(30 * SECOND);
        let reports = told(&world, 0);
        assert_continuous(&reports, 8_000);
        let theirs = world.parties[0].says().ssrc;
        let mut seen = 0;
        for _ in 0..30 * SECOND {
            let before = world.parties[0].reports.len();
            world.run(1);
            if let Some(last) = told(&world, 0).get(before) {
                // It answers within a second, and says so.
                world.run(SECOND);
                let block = ReportBlock {
                    ssrc: last.ssrc,
                    last_sender_report: ntp::middle(last.sender.unwrap().ntp),
                    delay_since_last_sender_report: 1 << 15,
                    ..ReportBlock::default()
                };
                world.send_rtcp(0, &sender_report(theirs, 5, &[block], b"remote"));
                seen += 1;
            }
        }
        let round_trip = world.report(0).round_trip_ms.unwrap();
        assert!(
            seen > 2 && (450.0..550.0).contains(&round_trip),
            "{start}: {round_trip}"
        );
        let block = told(&world, 0).pop().unwrap().blocks[0];
        assert_eq!((block.cumulative_lost, block.jitter), (0, 0));
        assert_eq!(world.engines[0].stats().panics, 0);
    }
}
