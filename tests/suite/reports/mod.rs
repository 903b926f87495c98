//! RTCP of whole conferences on the virtual clock: what we report (here), what we believe (`remote`), and what becomes of
//! a remote that has our SSRC (`collision`).

mod collision;
mod remote;

use mixminus::codec::{Codec, Encoding};
use mixminus::dsp::Music;
use mixminus::frame::Rate;
use mixminus::leg::{Hold, LegChange, LegSettings, MediaTerms};
use mixminus::load::network::{Conditions, Jitter};
use mixminus::room::RoomSettings;
use mixminus::rtp::ntp;
use mixminus::rtp::rtcp::{self, CNAME, ReportBlock, Rtcp, SenderInfo};
use mixminus::time::{Tick, Time};
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::voice::Voice;
use crate::support::world::{WALL_CLOCK, World, encoding};

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
