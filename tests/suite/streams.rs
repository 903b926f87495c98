//! What a leg is sent when its stream has pauses, repeats packets, or changes its codec: shared as far as it goes, and
//! on one timeline (the world itself holds that sequence and timestamp never jump, and that every pause is announced).

use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Encoding};
use mixminus::engine::{Command, Event};
use mixminus::frame::Rate;
use mixminus::leg::{Dropped, LegSettings, MediaTerms};
use mixminus::room::RoomSettings;

use crate::support::voice::{Voice, largest_step, power_at};
use crate::support::world::{COMFORT_NOISE, PAYLOAD_TYPE, World, encoding};

const TONE: f32 = 500.0;

fn with_dtx(codec: Codec, ptime_ms: u8) -> Encoding {
    Encoding {
        dtx: true,
        ptime_ms,
        ..encoding(codec)
    }
}

fn room(seed: u64) -> World {
    let mut world = World::seeded(seed);
    world.open(0, 0, RoomSettings::default());
    world
}

fn takes_repeats(mut terms: MediaTerms) -> MediaTerms {
    terms
        .formats
        .iter_mut()
        .for_each(|format| format.fec_bitrate_max = Some(510_000));
    terms
}

fn join_lossy(world: &mut World, encoding: Encoding, voice: Voice) -> usize {
    world.join_on(0, 0, encoding, voice, LegSettings::default(), takes_repeats)
}

#[test]
fn a_silent_room_costs_whoever_agreed_to_pauses_two_packets_a_second() {
    for codec in [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::G729,
        Codec::Ilbc(Mode::Ms20),
        Codec::L16(Rate::Hz16000),
        Codec::Opus(Rate::Hz16000),
        Codec::Opus(Rate::Hz48000),
    ] {
        let mut world = room(41);
        world.join(0, 0, encoding(codec), Voice::silent());
        for ptime_ms in [20, 20, 40, 60] {
            world.join(0, 0, with_dtx(codec, ptime_ms), Voice::silent());
        }
        world.run(150);
        world.parties.iter_mut().for_each(|party| party.packets.clear());
        world.run(50 * 20);
        assert_eq!(world.parties[0].packets.len(), 50 * 20);
        for party in &world.parties[1..] {
            let packets = party.packets.len();
            // G.729 describes a silence again only once it has changed, or for whoever has heard nothing of late.
            let least = if codec == Codec::G729 { 8 } else { 30 };
            assert!(
                (least..=100).contains(&packets),
                "{codec:?} at {} ms: {packets} in 20 s",
                party.encoding.ptime_ms
            );
        }
    }
}

/// Fault row S4.
#[test]
fn less_effort_for_opus_parts_nobody_from_a_shared_stream_and_reaches_those_who_come_later() {
    let mut world = room(43);
    let opus = encoding(Codec::Opus(Rate::Hz16000));
    world.join(0, 0, opus, Voice::steady(TONE, -20.0));
    for _ in 0..8 {
        world.join(0, 0, opus, Voice::silent());
    }
    world.run(150);
    let encodes = |world: &mut World| {
        let before = world.engines[0].stats().encodes;
        world.run(50);
        world.engines[0].stats().encodes - before
    };
    // One for the talker, one for all who listen.
    assert_eq!(encodes(&mut world), 100);
    world.apply(0, Command::LimitComplexity(0));
    assert_eq!(encodes(&mut world), 100);
    let late = world.join(0, 0, opus, Voice::silent());
    world.run(50);
    assert_eq!(encodes(&mut world), 100);
    world.apply(0, Command::LimitComplexity(10));
    assert_eq!(encodes(&mut world), 100);
    world.leave(late);
    world.run(50);
    assert_eq!(encodes(&mut world), 100);
}

#[test]
fn a_voice_after_a_pause_is_heard_from_its_first_packet_by_all_who_share_the_stream() {
    for codec in [Codec::Pcmu, Codec::L16(Rate::Hz16000), Codec::Opus(Rate::Hz16000)] {
        let mut world = room(42);
        let talker = world.join(0, 0, encoding(codec), Voice::silent());
        world.join(0, 0, with_dtx(codec, 20), Voice::silent());
        world.join(0, 0, with_dtx(codec, 20), Voice::silent());
        world.join(0, 0, encoding(codec), Voice::silent());
        world.run(200);
        let encodes = world.engines[0].stats().encodes;
        world.run(100);
        let per_tick = (world.engines[0].stats().encodes - encodes) as f32 / 100.0;
        assert!(per_tick < 1.2, "{codec:?}: {per_tick}");
        for party in &mut world.parties {
            party.heard.clear();
        }
        world.parties[talker].voice = Voice::steady(TONE, -20.0);
        world.run(60);
        // With and without pauses the same is heard, but for the pause before it.
        let samples = 40 * codec.rate().samples_per_tick();
        let heard = |party: usize| {
            let heard = &world.parties[party].heard;
            &heard[heard.len() - samples..]
        };
        assert_eq!(heard(1), heard(2), "{codec:?}");
        if !matches!(codec, Codec::Opus(_)) {
            assert_eq!(heard(1), heard(3), "{codec:?}");
        }
        assert!(power_at(TONE, heard(1), codec.rate().hz()) > 0.5 * Voice::steady(TONE, -20.0).power());
    }
}

#[test]
fn whoever_comes_into_a_pause_or_falls_silent_in_one_is_told_of_it() {
    for codec in [Codec::Pcmu, Codec::G729, Codec::Opus(Rate::Hz48000)] {
        for ptime_ms in [10, 20, 30, 60] {
            let mut world = room(43);
            world.join(0, 0, with_dtx(codec, ptime_ms), Voice::silent());
            world.join(0, 0, with_dtx(codec, ptime_ms), Voice::silent());
            world.run(200);
            let late = world.join(0, 0, with_dtx(codec, ptime_ms), Voice::silent());
            world.run(3);
            assert!(!world.parties[late].packets.is_empty(), "{codec:?} {ptime_ms}");
            world.run(100);
            // Speaks itself, so that its stream is its own for a while.
            world.parties[late].voice = Voice::steady(TONE, -20.0);
            world.run(33);
            world.parties[late].voice = Voice::silent();
            world.run(200);
            let before = world.engines[0].stats().encodes;
            world.run(100);
            let packets = world.engines[0].stats().encodes - before;
            assert!(packets <= 20, "all share the pause again: {packets}");
        }
    }
}

#[test]
fn described_silence_is_heard_as_noise_by_nobody_but_is_no_loss_either() {
    let mut world = room(44);
    world.join(0, 0, with_dtx(Codec::Pcmu, 20), Voice::in_spurts(TONE, -20.0, 44));
    world.join(
        0,
        0,
        with_dtx(Codec::Opus(Rate::Hz16000), 20),
        Voice::in_spurts(900.0, -20.0, 45),
    );
    world.join(0, 0, encoding(Codec::L16(Rate::Hz8000)), Voice::silent());
    world.run(50 * 120);
    for party in 0..3 {
        let report = world.report(party);
        assert_eq!(report.packets_lost, 0);
        // An Opus sender may stop without a word once its refresh has come.
        assert!(
            report.samples_concealed <= 50,
            "{party}: {}",
            report.samples_concealed
        );
    }
    for reason in [
        Dropped::Late,
        Dropped::Duplicate,
        Dropped::Undecodable,
        Dropped::UnknownPayloadType,
    ] {
        assert_eq!(world.dropped(reason), 0, "{reason:?}");
    }
}

#[test]
fn reported_loss_turns_repetition_on_for_whoever_agreed_and_for_him_alone() {
    let opus = encoding(Codec::Opus(Rate::Hz16000));
    let mut world = room(45);
    world.join(
        0,
        0,
        encoding(Codec::L16(Rate::Hz16000)),
        Voice::in_spurts(TONE, -20.0, 5),
    );
    let lossy = join_lossy(&mut world, opus, Voice::silent());
    let other = join_lossy(&mut world, opus, Voice::silent());
    let never = world.join(0, 0, opus, Voice::silent());
    world.run(100);
    let repeats = |world: &World, party: usize| world.parties[party].repeating_packets;
    let encodes = |world: &mut World| {
        let before = world.engines[0].stats().encodes;
        world.run(50);
        world.engines[0].stats().encodes - before
    };
    // The talker has a stream of its own while it speaks, else it shares none: it is the only one of its codec.
    assert_eq!(encodes(&mut world), 2 * 50);
    for _ in 0..5 {
        world.report_loss(lossy, 10);
        world.report_loss(never, 10);
        world.run(60);
    }
    world.run(300);
    assert!(repeats(&world, lossy) > 20, "{}", repeats(&world, lossy));
    assert_eq!((repeats(&world, other), repeats(&world, never)), (0, 0));
    assert_eq!(
        encodes(&mut world),
        3 * 50,
        "one more encode for those of another class"
    );
    world.report_loss(other, 10);
    for _ in 0..5 {
        world.report_loss(other, 10);
        world.run(60);
    }
    assert_eq!(encodes(&mut world), 3 * 50, "of which there may be several");
    for _ in 0..12 {
        world.report_loss(lossy, 0);
        world.report_loss(other, 0);
        world.run(60);
    }
    assert_eq!(
        encodes(&mut world),
        2 * 50,
        "and all share again when nothing is lost"
    );
}

#[test]
fn a_change_of_class_is_not_heard() {
    let opus = encoding(Codec::Opus(Rate::Hz16000));
    let mut world = room(46);
    world.join(
        0,
        0,
        encoding(Codec::L16(Rate::Hz16000)),
        Voice::steady(163.0, -20.0),
    );
    let listener = join_lossy(&mut world, opus, Voice::silent());
    let steady = join_lossy(&mut world, opus, Voice::silent());
    world.run(100);
    for percent in [20, 20, 20, 20, 0, 0, 0, 0, 0, 0, 0, 0] {
        world.parties[listener].heard.clear();
        world.parties[steady].heard.clear();
        world.report_loss(listener, percent);
        world.run(100);
        let (changed, same) = (&world.parties[listener].heard, &world.parties[steady].heard);
        assert!(largest_step(changed) < 1.2 * largest_step(same));
        let (changed, same) = (power_at(163.0, changed, 16_000), power_at(163.0, same, 16_000));
        assert!((0.9..1.1).contains(&(changed / same)), "{changed} {same}");
    }
}

#[test]
fn a_party_changes_its_codec_again_and_again_and_nobody_hears_a_click() {
    let mut world = room(47);
    let changer = world.join(0, 0, encoding(Codec::Pcmu), Voice::steady(163.0, -20.0));
    let talker = world.join(
        0,
        0,
        encoding(Codec::L16(Rate::Hz8000)),
        Voice::steady(271.0, -20.0),
    );
    let listener = world.join(0, 0, encoding(Codec::L16(Rate::Hz8000)), Voice::silent());
    // The room stays at one rate.
    world.join(0, 0, encoding(Codec::Opus(Rate::Hz48000)), Voice::silent());
    world.run(100);
    world.parties[listener].heard.clear();
    world.run(50);
    let natural = largest_step(&world.parties[listener].heard);
    for (codec, ptime_ms) in [
        (Codec::Pcma, 20),
        (Codec::Opus(Rate::Hz48000), 20),
        (Codec::Pcmu, 60),
        (Codec::L16(Rate::Hz16000), 10),
        (Codec::Ilbc(Mode::Ms30), 30),
        (Codec::Opus(Rate::Hz16000), 40),
        (Codec::G729, 20),
        (Codec::G722, 20),
        (Codec::Pcmu, 30),
        (Codec::L16(Rate::Hz8000), 20),
    ] {
        for shift in 0..2 {
            world.run(7 + shift);
            world.parties[listener].heard.clear();
            let encoding = Encoding {
                ptime_ms,
                ..encoding(codec)
            };
            world.renegotiate(changer, encoding, |terms| terms);
            world.run(60);
            let report = world.report(changer);
            assert_eq!(report.codec_received, Some(codec));
            assert_eq!(report.codec_sent, Some(codec));
            let heard = &world.parties[listener].heard;
            // Some codecs make a tone rougher than it was, however long it lasts.
            let (change, after) = heard.split_at(heard.len() / 2);
            let (step, steady) = (largest_step(change), largest_step(after).max(natural));
            assert!(
                step < 1.8 * steady,
                "to {codec:?} at {ptime_ms} ms: {step} beside {steady}"
            );
            let heard = &world.parties[listener].heard;
            let frame = &heard[heard.len() - 1_600..];
            assert!(power_at(150.0, frame, 8_000) + power_at(163.0, frame, 8_000) > 0.001);
            let hz = codec.rate().hz();
            let heard = &world.parties[changer].heard;
            let frame = &heard[heard.len() - hz as usize / 5..];
            assert!(
                power_at(271.0, frame, hz) > 0.3 * Voice::steady(271.0, -20.0).power(),
                "{codec:?} at {ptime_ms} ms hears the other"
            );
        }
    }
    assert!(world.parties[talker].packets_heard > 1_000);
    for reason in [Dropped::Undecodable, Dropped::PayloadTooLarge] {
        assert_eq!(world.dropped(reason), 0, "{reason:?}");
    }
    // What was on its way under a number that is gone.
    assert!(world.dropped(Dropped::UnknownPayloadType) <= 20 * 4);
    let renegotiated = |event: &&Event| matches!(event, Event::Renegotiated { .. });
    assert_eq!(world.events.iter().filter(renegotiated).count(), 20);
}

#[test]
fn packets_of_pauses_go_under_their_own_payload_type() {
    let mut world = room(48);
    world.join(0, 0, with_dtx(Codec::Pcma, 20), Voice::silent());
    world.join(0, 0, encoding(Codec::Pcma), Voice::silent());
    world.run(100);
    let packets = &world.parties[0].packets;
    let described = packets.iter().filter(|packet| packet.0 == COMFORT_NOISE);
    assert!(described.clone().count() >= 3);
    assert!(described.into_iter().all(|packet| packet.1 == 1));
    assert!(
        packets
            .iter()
            .all(|packet| packet.0 == COMFORT_NOISE || packet.0 == PAYLOAD_TYPE)
    );
}
