//! What control asks for is heard from one tick on, and only by those it concerns.

use mixminus::codec::{Codec, Encoding};
use mixminus::dsp::Music;
use mixminus::engine::{Command, Event};
use mixminus::frame::Rate;
use mixminus::id::RoomId;
use mixminus::leg::{Hold, LegChange, LegMedia, LegSettings};
use mixminus::room::{Recording, RoomChange, RoomSettings};

use crate::support::voice::{Voice, largest_step, power, power_at};
use crate::support::world::{World, encoding, terms};

const TONE_A: f32 = 500.0;
const TONE_B: f32 = 1_200.0;

/// Ticks after which everything has settled: playout, fades, hangover.
const SETTLED: u64 = 50;

fn l16(rate: Rate) -> Encoding {
    encoding(Codec::L16(rate))
}

/// A and B speak all the time at −20 dBFS, C only listens; L16 at the room's rate, so that what is heard is exact.
fn two_talkers_and_a_listener() -> World {
    let mut world = World::seeded(5);
    world.open(
        0,
        0,
        RoomSettings {
            phase: 2,
            ..RoomSettings::default()
        },
    );
    world.join(0, 0, l16(Rate::Hz8000), Voice::steady(TONE_A, -20.0));
    world.join(0, 0, l16(Rate::Hz8000), Voice::steady(TONE_B, -20.0));
    world.join(0, 0, l16(Rate::Hz8000), Voice::silent());
    world.run(SETTLED);
    forget(&mut world);
    world
}

/// As above, with tones so low that a step of their size stands out from their own slope, and that are not at zero
/// whenever a tick ends.
fn two_hummers_and_a_listener() -> World {
    let mut world = two_talkers_and_a_listener();
    world.parties[0].voice = Voice::steady(163.0, -20.0);
    world.parties[1].voice = Voice::steady(271.0, -20.0);
    world.run(SETTLED);
    world
}

fn forget(world: &mut World) {
    world.parties.iter_mut().for_each(|party| party.heard.clear());
    world.events.clear();
}

/// One step; what the party heard in it.
fn step_and_hear(world: &mut World, party: usize) -> Vec<f32> {
    world.step();
    world.parties[party]
        .hear_tick()
        .expect("a packet comes each tick")
}

fn hears(frame: &[f32], hz: f32) -> bool {
    power_at(hz, frame, 8_000) > 0.3 * Voice::steady(hz, -20.0).power()
}

fn hears_nothing_of(frame: &[f32], hz: f32) -> bool {
    power_at(hz, frame, 8_000) < 1e-7
}

#[test]
fn everybody_hears_everybody_else_and_never_himself() {
    let mut world = two_talkers_and_a_listener();
    world.step();
    let heard: Vec<Vec<f32>> = (0..3)
        .map(|party| world.parties[party].hear_tick().unwrap())
        .collect();
    assert!(hears(&heard[0], TONE_B) && hears_nothing_of(&heard[0], TONE_A));
    assert!(hears(&heard[1], TONE_A) && hears_nothing_of(&heard[1], TONE_B));
    assert!(hears(&heard[2], TONE_A) && hears(&heard[2], TONE_B));
}

#[test]
fn a_mute_fades_within_one_tick_and_is_complete_with_the_next() {
    let mut world = two_talkers_and_a_listener();
    world.change(0, LegChange::Muted(true));
    let fading = step_and_hear(&mut world, 2);
    let tail: f32 = power_at(TONE_A, &fading[120..], 8_000);
    assert!(
        tail < 0.05 * Voice::steady(TONE_A, -20.0).power(),
        "the mute takes effect at once: {tail}"
    );
    for _ in 0..10 {
        let muted = step_and_hear(&mut world, 2);
        assert!(hears_nothing_of(&muted, TONE_A) && hears(&muted, TONE_B));
    }
    assert!(world.parties[0].heard.len() >= 160, "a muted party still hears");
    world.change(0, LegChange::Muted(false));
    step_and_hear(&mut world, 2);
    assert!(
        hears(&step_and_hear(&mut world, 2), TONE_A),
        "an unmuted party is heard from the next tick on"
    );
}

#[test]
fn a_deaf_party_hears_nothing_and_is_heard() {
    let mut world = two_talkers_and_a_listener();
    world.change(0, LegChange::Deaf(true));
    step_and_hear(&mut world, 0);
    world.parties[2].heard.clear();
    for _ in 0..20 {
        assert_eq!(power(&step_and_hear(&mut world, 0)), 0.0);
        assert!(hears(&world.parties[2].hear_tick().unwrap(), TONE_A));
    }
}

#[test]
fn a_held_party_neither_speaks_nor_hears_until_resumed() {
    let mut world = two_talkers_and_a_listener();
    world.change(0, LegChange::Hold(Some(Hold { music: None })));
    step_and_hear(&mut world, 0);
    world.parties[2].heard.clear();
    for _ in 0..20 {
        assert_eq!(
            power(&step_and_hear(&mut world, 0)),
            0.0,
            "silence where no music is named"
        );
        assert!(hears_nothing_of(&world.parties[2].hear_tick().unwrap(), TONE_A));
    }
    world.change(
        0,
        LegChange::Hold(Some(Hold {
            music: Some(Music::Music1),
        })),
    );
    let music: Vec<f32> = (0..100).flat_map(|_| step_and_hear(&mut world, 0)).collect();
    assert!(power(&music) > 1e-4, "music is heard on hold");
    world.change(0, LegChange::Hold(None));
    step_and_hear(&mut world, 0);
    world.parties[2].heard.clear();
    assert!(hears(&step_and_hear(&mut world, 0), TONE_B));
    assert!(hears(&world.parties[2].hear_tick().unwrap(), TONE_A));
}

/// The steepest step that a party hears while `work` is done.
fn steepest(world: &mut World, party: usize, work: impl FnOnce(&mut World)) -> f32 {
    forget(world);
    // What is done is joined to what was heard before.
    world.step();
    work(world);
    largest_step(&world.parties[party].heard)
}

const CHANGES: [LegChange; 9] = [
    LegChange::Muted(true),
    LegChange::Muted(false),
    LegChange::Gain(0.25),
    LegChange::Gain(1.0),
    LegChange::Deaf(true),
    LegChange::Deaf(false),
    LegChange::Hold(Some(Hold { music: None })),
    LegChange::Hold(Some(Hold {
        music: Some(Music::Music2),
    })),
    LegChange::Hold(None),
];

/// Every change, at several places of the signal; then a kick.
fn assert_no_clicks(mut world: World) {
    // The steepest that the signals themselves are: the sum of both tones at full gain.
    let natural = steepest(&mut world, 2, |world| world.run(50));
    let music = Some(Hold {
        music: Some(Music::Music2),
    });
    world.change(0, LegChange::Hold(music));
    world.run(SETTLED);
    let plucked = steepest(&mut world, 0, |world| world.run(1_000));
    world.change(0, LegChange::Hold(None));
    world.run(SETTLED);
    for length in 3..20 {
        for change in CHANGES {
            // Into and out of music, its own plucks are heard as well.
            let natural = match change {
                LegChange::Hold(_) => plucked.max(natural),
                _ => natural,
            };
            forget(&mut world);
            world.step();
            world.change(0, change);
            world.run(length);
            for party in [0, 2] {
                let step = largest_step(&world.parties[party].heard);
                assert!(
                    step < 1.3 * natural,
                    "party {party} hears a step of {step} at {change:?}"
                );
            }
        }
    }
    let step = steepest(&mut world, 2, |world| {
        world.leave(0);
        world.run(5);
    });
    assert!(step < 1.3 * natural, "a kick fades");
}

#[test]
fn every_change_is_free_of_clicks() {
    assert_no_clicks(two_hummers_and_a_listener());
}

#[test]
fn every_change_is_free_of_clicks_in_a_room_of_a_higher_rate_too() {
    let mut world = two_hummers_and_a_listener();
    world.join(0, 0, encoding(Codec::Opus(Rate::Hz48000)), Voice::silent());
    world.run(SETTLED);
    assert_no_clicks(world);
}

#[test]
fn a_change_of_the_rooms_rate_is_free_of_clicks() {
    let mut world = two_hummers_and_a_listener();
    let recording = Recording {
        slot: mixminus::id::RecordingSlot(3),
        rate: Rate::Hz16000,
        legs: false,
    };
    let change = RoomChange::Record(Some(recording));
    world.apply(
        0,
        Command::ChangeRoom {
            room: RoomId(0),
            change,
        },
    );
    world.run(SETTLED);
    let natural = steepest(&mut world, 2, |world| world.run(50));
    for _ in 0..4 {
        let mut opus = 0;
        world.recorded.clear();
        let rise = steepest(&mut world, 2, |world| {
            opus = world.join(0, 0, encoding(Codec::Opus(Rate::Hz48000)), Voice::silent());
            world.run(10);
        });
        assert_eq!(world.engines[0].room_rate(RoomId(0)), Some(Rate::Hz48000));
        let fall = steepest(&mut world, 2, |world| {
            world.leave(opus);
            world.run(520);
        });
        assert_eq!(world.engines[0].room_rate(RoomId(0)), Some(Rate::Hz8000));
        let recorded = largest_step(&world.recorded);
        for (where_heard, step) in [("rise", rise), ("fall", fall), ("recording", recorded)] {
            // A new filter begins with a corner, which it rounds with some overshoot.
            assert!(step < 1.4 * natural, "{where_heard}: {step} beside {natural}");
        }
    }
}

#[test]
fn a_loud_listener_who_begins_or_ceases_to_speak_hears_no_step_in_the_limiter() {
    let mut world = World::seeded(16);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, l16(Rate::Hz8000), Voice::silent());
    world.join(0, 0, l16(Rate::Hz8000), Voice::steady(163.0, -5.0));
    world.run(SETTLED);
    let natural = steepest(&mut world, 0, |world| world.run(20));
    world.parties[0].voice = Voice::steady(271.0, -5.0);
    let onset = steepest(&mut world, 0, |world| world.run(20));
    assert!(onset < 1.2 * natural, "{onset} beside {natural}");
    for length in 20..40 {
        for muted in [true, false] {
            let step = steepest(&mut world, 0, |world| {
                world.change(0, LegChange::Muted(muted));
                world.run(length);
            });
            assert!(step < 1.2 * natural, "muted {muted}: {step} beside {natural}");
        }
    }
}

#[test]
fn a_kicked_party_is_not_heard_after_one_fading_tick_and_is_sent_nothing_more() {
    let mut world = two_talkers_and_a_listener();
    world.leave(0);
    world.step();
    let sent = world.parties[0].packets_heard;
    forget(&mut world);
    for _ in 0..10 {
        assert!(hears_nothing_of(&step_and_hear(&mut world, 2), TONE_A));
    }
    assert_eq!(world.parties[0].packets_heard, sent);
}

#[test]
fn the_gain_of_a_leg_is_what_was_asked_for() {
    let mut world = two_talkers_and_a_listener();
    let before = power_at(TONE_A, &step_and_hear(&mut world, 2), 8_000);
    world.change(0, LegChange::Gain(0.5));
    step_and_hear(&mut world, 2);
    let after = power_at(TONE_A, &step_and_hear(&mut world, 2), 8_000);
    assert!(
        (after / before - 0.25).abs() < 0.01,
        "half the gain is a quarter of the power: {}",
        after / before
    );
}

#[test]
fn whoever_is_alone_hears_the_music_asked_for_until_somebody_comes() {
    let mut world = World::seeded(9);
    world.open(0, 0, RoomSettings::default());
    let settings = LegSettings {
        music_while_alone: Some(Music::Music3),
        ..LegSettings::default()
    };
    world.join_with(0, 0, l16(Rate::Hz8000), Voice::silent(), settings);
    let alone: Vec<f32> = (0..100).flat_map(|_| step_and_hear(&mut world, 0)).collect();
    assert!(power(&alone) > 1e-4);
    world.join(0, 0, l16(Rate::Hz8000), Voice::silent());
    step_and_hear(&mut world, 0);
    let together: Vec<f32> = (0..20).flat_map(|_| step_and_hear(&mut world, 0)).collect();
    assert_eq!(power(&together), 0.0);
    world.change(1, LegChange::Hold(Some(Hold { music: None })));
    step_and_hear(&mut world, 0);
    let alone_again: Vec<f32> = (0..100).flat_map(|_| step_and_hear(&mut world, 0)).collect();
    assert!(
        power(&alone_again) > 1e-4,
        "a held party does not count as company"
    );
}

#[test]
fn a_room_of_one_talker_and_ninety_nine_listeners_costs_two_encodes_a_tick() {
    for codec in [Codec::Pcmu, Codec::Opus(Rate::Hz16000)] {
        let mut world = World::seeded(3);
        world.open(0, 0, RoomSettings::default());
        world.join(0, 0, encoding(codec), Voice::steady(TONE_A, -20.0));
        for _ in 0..99 {
            world.join(0, 0, encoding(codec), Voice::silent());
        }
        world.run(SETTLED);
        let before = world.engines[0].stats().encodes;
        world.run(50);
        assert_eq!(world.engines[0].stats().encodes - before, 2 * 50, "{codec:?}");
    }
}

#[test]
fn listeners_of_each_codec_and_packet_time_share_one_encode_among_themselves() {
    let mut world = World::seeded(4);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, encoding(Codec::Pcmu), Voice::steady(TONE_A, -20.0));
    let kinds = [
        encoding(Codec::Pcmu),
        encoding(Codec::Pcma),
        Encoding {
            ptime_ms: 40,
            ..encoding(Codec::Pcmu)
        },
        Encoding {
            ptime_ms: 10,
            ..encoding(Codec::Pcmu)
        },
    ];
    for kind in kinds {
        for _ in 0..5 {
            world.join(0, 0, kind, Voice::silent());
        }
    }
    world.run(SETTLED);
    let before = world.engines[0].stats().encodes;
    world.run(100);
    // The talker's own, then 1, 1, ½ and 2 packets a tick.
    assert_eq!(
        world.engines[0].stats().encodes - before,
        100 + 100 + 100 + 50 + 200
    );
}

#[test]
fn a_party_gets_one_packet_each_ptime_whatever_the_ptime() {
    let mut world = World::seeded(6);
    world.open(
        0,
        0,
        RoomSettings {
            phase: 3,
            ..RoomSettings::default()
        },
    );
    for ptime_ms in [10, 20, 30, 40, 50, 60] {
        for codec in [Codec::Pcmu, Codec::Opus(Rate::Hz48000)] {
            world.join(
                0,
                0,
                Encoding {
                    ptime_ms,
                    ..encoding(codec)
                },
                Voice::in_spurts(TONE_A, -20.0, 6),
            );
        }
    }
    // Forty times what all of them divide.
    let ticks = 1_200;
    world.run(ticks);
    for party in &world.parties {
        let expected = ticks * 20 / u64::from(party.encoding.ptime_ms);
        assert!(
            party.packets_heard.abs_diff(expected) <= 1,
            "{} of {expected}",
            party.packets_heard
        );
    }
}

#[test]
fn an_opus_leg_raises_the_rooms_rate_at_once_and_its_departure_lowers_it_ten_seconds_later() {
    let mut world = World::seeded(8);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, l16(Rate::Hz16000), Voice::steady(5_000.0, -20.0));
    world.join(0, 0, l16(Rate::Hz16000), Voice::silent());
    world.run(SETTLED);
    forget(&mut world);
    let frame = step_and_hear(&mut world, 1);
    assert!(
        power_at(5_000.0, &frame, 16_000) > 0.5 * Voice::steady(5_000.0, -20.0).power(),
        "wideband is kept"
    );
    world.join(0, 0, encoding(Codec::Opus(Rate::Hz48000)), Voice::silent());
    world.step();
    assert_eq!(world.engines[0].room_rate(RoomId(0)), Some(Rate::Hz48000));
    world.leave(2);
    world.run(499);
    assert_eq!(world.engines[0].room_rate(RoomId(0)), Some(Rate::Hz48000));
    world.run(10);
    assert_eq!(world.engines[0].room_rate(RoomId(0)), Some(Rate::Hz16000));
}

#[test]
fn a_leg_moves_to_a_room_of_another_engine_without_a_gap_on_the_wire() {
    let mut world = World::seeded(10).engine();
    world.open(
        0,
        0,
        RoomSettings {
            phase: 3,
            ..RoomSettings::default()
        },
    );
    world.open(
        1,
        0,
        RoomSettings {
            phase: 0,
            ..RoomSettings::default()
        },
    );
    world.join(0, 0, l16(Rate::Hz8000), Voice::steady(TONE_A, -20.0));
    world.join(0, 0, l16(Rate::Hz8000), Voice::silent());
    let other = world.join(1, 0, l16(Rate::Hz8000), Voice::silent());
    world.run(SETTLED);
    for (engine, room, missed) in [(1, 0, 0), (0, 0, 1), (1, 0, 2)] {
        let (sent, since) = (world.parties[0].packets_heard, world.tick);
        world.leave(0);
        world.step();
        world.run(missed);
        world.seat_again(0, engine, room);
        world.run(SETTLED);
        // The sequence and timestamp of every packet are held by the world itself.
        assert_eq!(
            world.parties[0].packets_heard - sent,
            world.tick.0 - since.0,
            "a packet for every tick"
        );
    }
    forget(&mut world);
    assert!(
        hears(&step_and_hear(&mut world, other), TONE_A),
        "it is heard where it went"
    );
    let left_behind: Vec<f32> = world.parties[1].hear_tick().unwrap();
    assert!(hears_nothing_of(&left_behind, TONE_A), "and not where it was");
}

#[test]
fn a_leg_that_arrives_within_the_tick_it_has_already_had_is_not_given_it_twice() {
    for ptime_ms in [20, 40] {
        let mut world = World::seeded(17);
        world.open(
            0,
            0,
            RoomSettings {
                phase: 0,
                ..RoomSettings::default()
            },
        );
        world.open(
            0,
            1,
            RoomSettings {
                phase: 3,
                ..RoomSettings::default()
            },
        );
        let kind = Encoding {
            ptime_ms,
            ..l16(Rate::Hz8000)
        };
        world.join(0, 0, kind, Voice::steady(TONE_A, -20.0));
        world.run(SETTLED);
        let (sent, since) = (world.parties[0].packets_heard, world.tick);
        for room in [1, 0, 1, 0, 1] {
            world.leave(0);
            world.begin_tick();
            for phase in 0..4 {
                world.run_phase(phase);
                if world.has_left(0) {
                    world.seat_again(0, 0, room);
                }
            }
            world.end_tick();
            world.run(10);
        }
        let expected = (world.tick.0 - since.0) * 20 / u64::from(ptime_ms);
        let got = world.parties[0].packets_heard - sent;
        assert!(
            got.abs_diff(expected) <= 1,
            "{got} packets in {expected} packet times of {ptime_ms} ms"
        );
        world.apply(
            0,
            Command::ReportLeg {
                leg: world.parties[0].leg,
                request: 0,
                report: Box::default(),
            },
        );
        let Some(Event::LegReported { report, .. }) = world.events.pop() else {
            unreachable!("a report is answered at once")
        };
        assert_eq!(
            report.samples_concealed, 0,
            "and what it says is not asked for twice"
        );
    }
}

#[test]
fn a_leg_that_moves_within_an_engine_loses_none_of_what_it_said() {
    let mut world = World::seeded(14);
    world.open(
        0,
        0,
        RoomSettings {
            phase: 0,
            ..RoomSettings::default()
        },
    );
    world.open(
        0,
        1,
        RoomSettings {
            phase: 2,
            ..RoomSettings::default()
        },
    );
    world.join(0, 0, l16(Rate::Hz8000), Voice::steady(TONE_A, -20.0));
    world.run(SETTLED);
    world.leave(0);
    world.step();
    world.seat_again(0, 0, 1);
    world.run(SETTLED);
    world.leave(0);
    world.step();
    let report = world.events.iter().find_map(|event| match event {
        Event::Left { state, .. } => Some(state.report()),
        _ => None,
    });
    let report = report.expect("the leg has left");
    assert_eq!(report.samples_concealed, 0, "nothing had to be made up");
    assert_eq!(report.dropped.iter().sum::<u64>(), 0);
}

#[test]
fn a_new_address_and_codec_take_effect_without_a_jump_in_what_is_sent() {
    let mut world = two_talkers_and_a_listener();
    let moved = std::net::SocketAddr::from(([127, 0, 0, 1], 30_000));
    let mut terms = terms(moved, l16(Rate::Hz8000));
    world.parties[2].address = moved;
    let leg = world.parties[2].leg;
    let media = LegMedia::new(terms.clone()).unwrap();
    world.apply(0, Command::Renegotiate { leg, media });
    // The world itself holds that sequence, timestamp and destination are what they should be.
    for _ in 0..5 {
        assert!(hears(&step_and_hear(&mut world, 2), TONE_A));
    }
    terms.sends = false;
    let media = LegMedia::new(terms).unwrap();
    world.apply(0, Command::Renegotiate { leg, media });
    let sent = world.parties[2].packets_heard;
    world.run(10);
    assert_eq!(world.parties[2].packets_heard, sent, "recvonly: nothing is sent");
}

#[test]
fn the_recording_is_the_mix_of_all_who_speak_at_the_files_own_rate() {
    let mut world = two_talkers_and_a_listener();
    let recording = Recording {
        slot: mixminus::id::RecordingSlot(3),
        rate: Rate::Hz16000,
        legs: false,
    };
    world.apply(
        0,
        Command::ChangeRoom {
            room: RoomId(0),
            change: RoomChange::Record(Some(recording)),
        },
    );
    world.run(100);
    world.apply(
        0,
        Command::ChangeRoom {
            room: RoomId(0),
            change: RoomChange::Record(None),
        },
    );
    world.run(10);
    assert_eq!(world.recorded.len(), 100 * 320);
    let frame = &world.recorded[320 * 50..320 * 51];
    for hz in [TONE_A, TONE_B] {
        let share = power_at(hz, frame, 16_000) / Voice::steady(hz, -20.0).power();
        assert!(
            (0.9..1.1).contains(&share),
            "{hz} Hz is recorded at {share} of its power"
        );
    }
    let ticks: Vec<u64> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Recording { tick, .. } => Some(tick.0),
            _ => None,
        })
        .collect();
    assert_eq!(
        ticks[1] - ticks[0],
        100,
        "the first tick, and the first that is no longer in it"
    );
}

#[test]
fn without_activity_detection_everybody_is_mixed_always() {
    let mut world = World::seeded(12);
    world.open(
        0,
        0,
        RoomSettings {
            activity_detection: false,
            ..RoomSettings::default()
        },
    );
    world.join(0, 0, l16(Rate::Hz8000), Voice::steady(TONE_A, -75.0));
    world.join(0, 0, l16(Rate::Hz8000), Voice::silent());
    world.run(SETTLED);
    forget(&mut world);
    let heard = power_at(TONE_A, &step_and_hear(&mut world, 1), 8_000);
    assert!(heard > 0.3 * Voice::steady(TONE_A, -75.0).power());
    world.apply(
        0,
        Command::ChangeRoom {
            room: RoomId(0),
            change: RoomChange::ActivityDetection(true),
        },
    );
    world.run(SETTLED);
    forget(&mut world);
    assert_eq!(
        power(&step_and_hear(&mut world, 1)),
        0.0,
        "with it, whisper below every threshold is left out"
    );
}

#[test]
fn packets_that_cannot_be_heard_are_counted_by_reason_and_change_nothing() {
    use mixminus::leg::Dropped;
    let mut world = two_talkers_and_a_listener();
    let (leg, from) = (world.parties[2].leg, world.parties[2].address);
    let stranger = std::net::SocketAddr::from(([127, 0, 0, 9], 9_999));
    let rtp = |first: u8, payload_type: u8, rest: &[u8]| {
        let mut datagram = vec![first, payload_type, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
        datagram.extend_from_slice(rest);
        datagram
    };
    let cases: Vec<(Vec<u8>, std::net::SocketAddr, Dropped)> = vec![
        (vec![], from, Dropped::TooShort),
        (vec![0x80; 11], from, Dropped::TooShort),
        (rtp(0x40, 96, &[0; 20]), from, Dropped::WrongVersion),
        (rtp(0x8f, 96, &[0; 20]), from, Dropped::BadCsrc),
        (
            rtp(0x90, 96, &[0xbe, 0xde, 0xff, 0xff]),
            from,
            Dropped::BadExtension,
        ),
        (rtp(0xa0, 96, &[1, 2, 3, 0]), from, Dropped::BadPadding),
        (rtp(0xa0, 96, &[1, 2, 3, 200]), from, Dropped::BadPadding),
        (rtp(0x80, 200, &[0; 20]), from, Dropped::BadRtcp),
        (rtp(0x80, 55, &[0; 20]), from, Dropped::UnknownPayloadType),
        (rtp(0x80, 96, &[0; 320]), stranger, Dropped::UnknownSource),
        (rtp(0x80, 96, &vec![0; 6_000]), from, Dropped::PayloadTooLarge),
    ];
    for (mut datagram, from, reason) in cases {
        let before = world.dropped(reason);
        let now = world.tick.due(0);
        world.engines[0].receive(now, leg, from, &mut datagram);
        let after = world.dropped(reason);
        assert_eq!(after, before + 1, "{}", reason.name());
    }
    forget(&mut world);
    for _ in 0..10 {
        let frame = step_and_hear(&mut world, 2);
        assert!(hears(&frame, TONE_A) && hears(&frame, TONE_B));
    }
}

/// What an Opus listener hears of a steady tone around the tick at which it begins to speak itself, if it does.
fn heard_around_an_onset(speaks: bool) -> Vec<f32> {
    let mut world = World::seeded(15);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, l16(Rate::Hz16000), Voice::steady(TONE_A, -20.0));
    let listener = world.join(0, 0, encoding(Codec::Opus(Rate::Hz16000)), Voice::silent());
    world.join(0, 0, encoding(Codec::Opus(Rate::Hz16000)), Voice::silent());
    world.run(2 * SETTLED);
    if speaks {
        world.parties[listener].voice = Voice::steady(TONE_B, -20.0);
    }
    forget(&mut world);
    (0..15)
        .flat_map(|_| step_and_hear(&mut world, listener))
        .collect()
}

#[test]
fn an_opus_listener_hears_no_seam_when_it_begins_to_speak() {
    let (listening, speaking) = (heard_around_an_onset(false), heard_around_an_onset(true));
    let difference: Vec<f32> = listening.iter().zip(&speaking).map(|(a, b)| a - b).collect();
    let share = power(&difference) / power(&listening);
    // A fresh encoder in place of the copy gives 0.1 and more.
    assert!(
        share < 0.003,
        "its own encoder goes on where the shared one was: {share}"
    );
}
