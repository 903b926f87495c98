//! What a room is told to do: wait for a leg with which it begins, play music to whoever is alone, work at a rate.

use mixminus::capture::Recording;
use mixminus::codec::{Codec, Encoding};
use mixminus::dsp::Music;
use mixminus::engine::{Command, Event};
use mixminus::frame::Rate;
use mixminus::id::{RecordingSlot, RoomId};
use mixminus::leg::{Hold, LegChange, LegSettings};
use mixminus::room::{RoomChange, RoomSettings};

use crate::support::voice::{Voice, power, power_at};
use crate::support::world::{Frame, World, encoding};

const TONE_A: f32 = 500.0;
const TONE_B: f32 = 1_200.0;

fn l16() -> Encoding {
    encoding(Codec::L16(Rate::Hz8000))
}

fn waiting() -> LegSettings {
    LegSettings {
        starts_room: false,
        ..LegSettings::default()
    }
}

/// Two rooms; in the first two who wait, and who would be heard as two tones.
fn two_who_wait(seed: u64, room: RoomSettings) -> World {
    let mut world = World::seeded(seed);
    world.open(0, 0, room);
    world.open(0, 1, RoomSettings::default());
    for hz in [TONE_A, TONE_B] {
        world.join_with(0, 0, l16(), Voice::steady(hz, -20.0), waiting());
    }
    world
}

/// Steps, and gives what each party hears in each tick.
fn step(world: &mut World) -> Vec<Vec<f32>> {
    for party in &mut world.parties {
        party.heard.clear();
    }
    world.step();
    let heard = world.parties.iter_mut().map(|party| party.hear_tick());
    heard.map(Option::unwrap_or_default).collect()
}

fn hears(frame: &[f32], hz: f32) -> bool {
    power_at(hz, frame, 8_000) > 0.3 * Voice::steady(hz, -20.0).power()
}

fn is_silent(frame: &[f32]) -> bool {
    frame.len() == 160 && power(frame) == 0.0
}

/// Who was told to have joined, and whether to wait; takes the events.
fn joined(world: &mut World) -> Vec<(u32, bool)> {
    let events = std::mem::take(&mut world.events);
    let joined = events.iter().filter_map(|event| match event {
        Event::Joined { leg, waits, .. } => Some((leg.0, *waits)),
        _ => None,
    });
    joined.collect()
}

#[test]
fn nobody_is_heard_before_a_leg_that_starts_the_room_has_come_and_then_all_are_at_once() {
    let mut world = two_who_wait(1, RoomSettings::default());
    for _ in 0..50 {
        assert!(step(&mut world).iter().all(|heard| is_silent(heard)));
    }
    let told = |event: &Event| matches!(event, Event::Talking { .. });
    assert!(!world.events.iter().any(told), "nobody contributes");
    assert_eq!(joined(&mut world), [(0, true), (1, true)]);

    world.join(0, 0, l16(), Voice::silent());
    step(&mut world);
    assert_eq!(joined(&mut world), [(2, false)]);
    let heard = step(&mut world);
    assert!(hears(&heard[0], TONE_B) && !hears(&heard[0], TONE_A));
    assert!(hears(&heard[1], TONE_A) && !hears(&heard[1], TONE_B));
    assert!(hears(&heard[2], TONE_A) && hears(&heard[2], TONE_B));

    // It stays begun without the one that started it, also for who comes later.
    world.end(2);
    step(&mut world);
    world.join_with(0, 0, l16(), Voice::silent(), waiting());
    step(&mut world);
    assert_eq!(joined(&mut world), [(3, false)]);
    let heard = step(&mut world);
    assert!(hears(&heard[0], TONE_B) && hears(&heard[1], TONE_A));
    assert!(hears(&heard[3], TONE_A) && hears(&heard[3], TONE_B));
}

#[test]
fn a_room_begins_with_a_starter_that_ends_before_its_first_tick_and_with_two_that_come_and_go_at_once() {
    for starters in [1, 2] {
        let mut world = two_who_wait(2, RoomSettings::default());
        world.run(20);
        joined(&mut world);
        for _ in 0..starters {
            let starter = world.join(0, 0, l16(), Voice::silent());
            world.end(starter);
        }
        step(&mut world);
        let gone = (2..2 + starters).all(|starter| world.has_left(starter));
        assert!(gone, "after the one tick that everybody has");
        let told: Vec<(u32, bool)> = (2..2 + starters as u32).map(|starter| (starter, false)).collect();
        assert_eq!(joined(&mut world), told, "who leaves has come first");
        let heard = step(&mut world);
        assert!(hears(&heard[0], TONE_B) && hears(&heard[1], TONE_A), "{starters}");
    }
}

#[test]
fn a_muted_or_held_starter_starts_the_room_all_the_same() {
    for change in [
        LegChange::Muted(true),
        LegChange::Hold(Some(Hold { music: None })),
    ] {
        let mut world = two_who_wait(3, RoomSettings::default());
        world.run(20);
        let starter = world.join(0, 0, l16(), Voice::silent());
        world.change(starter, change);
        step(&mut world);
        assert!(hears(&step(&mut world)[0], TONE_B), "{change:?}");
    }
}

#[test]
fn who_waits_hears_its_own_music_or_that_of_the_room_unless_it_is_deaf_or_held() {
    let settings = RoomSettings {
        music_while_alone: Some(Music::Music1),
        ..RoomSettings::default()
    };
    let mut world = two_who_wait(4, settings);
    world.change(1, LegChange::MusicWhileAlone(Some(Music::Ring)));
    let hear = |world: &mut World| -> Vec<f32> {
        let mut heard = [Vec::new(), Vec::new()];
        for _ in 0..100 {
            let mut tick = step(world);
            heard[1].append(&mut tick[1]);
            heard[0].append(&mut tick[0]);
        }
        assert_ne!(heard[0], heard[1], "each hears its own");
        heard.iter().map(|heard| power(heard)).collect()
    };
    assert!(hear(&mut world).iter().all(|power| *power > 1e-4));
    world.change(0, LegChange::Deaf(true));
    world.change(1, LegChange::Hold(Some(Hold { music: None })));
    step(&mut world);
    for _ in 0..50 {
        assert!(step(&mut world).iter().all(|heard| is_silent(heard)));
    }
    // Held is held, also when the room has begun.
    world.change(0, LegChange::Deaf(false));
    world.join(0, 0, l16(), Voice::silent());
    step(&mut world);
    let heard = step(&mut world);
    assert!(is_silent(&heard[0]) && is_silent(&heard[1]));
    world.change(1, LegChange::Hold(None));
    step(&mut world);
    assert!(hears(&step(&mut world)[0], TONE_B));
}

#[test]
fn who_moves_waits_where_the_room_waits_and_starts_where_it_is_a_starter() {
    let mut world = World::seeded(5);
    world.open(0, 0, RoomSettings::default());
    world.open(0, 1, RoomSettings::default());
    world.join(0, 0, l16(), Voice::steady(TONE_A, -20.0));
    world.join_with(0, 0, l16(), Voice::steady(TONE_B, -20.0), waiting());
    world.join_with(0, 1, l16(), Voice::silent(), waiting());
    world.run(20);
    let heard = step(&mut world);
    assert!(hears(&heard[0], TONE_B) && hears(&heard[1], TONE_A) && is_silent(&heard[2]));
    joined(&mut world);

    let move_over = |world: &mut World, party: usize| {
        world.leave(party);
        step(world);
        world.seat_again(party, 0, 1);
        step(world);
        joined(world)
    };
    assert_eq!(move_over(&mut world, 1), [(1, true)]);
    for _ in 0..20 {
        let heard = step(&mut world);
        assert!(is_silent(&heard[1]) && is_silent(&heard[2]), "both wait");
    }
    assert_eq!(move_over(&mut world, 0), [(0, false)]);
    world.run(20);
    let heard = step(&mut world);
    assert!(hears(&heard[0], TONE_B) && hears(&heard[1], TONE_A));
    assert!(hears(&heard[2], TONE_A) && hears(&heard[2], TONE_B));
}

#[test]
fn who_waits_is_neither_in_the_mix_nor_on_its_track() {
    let mut world = two_who_wait(6, RoomSettings::default());
    world.join_with(0, 0, l16(), Voice::silent(), waiting());
    let recording = Recording {
        slot: RecordingSlot(1),
        rate: Rate::Hz8000,
        legs: true,
    };
    world.apply(
        0,
        Command::ChangeRoom {
            room: RoomId(0),
            change: RoomChange::Record(Some(recording)),
        },
    );
    world.run(50);
    let is_quiet = |frame: &Frame| frame.sound.as_ref().is_some_and(|sound| power(sound) == 0.0);
    assert_eq!(world.tapped.len(), 4 * 50, "the mix and three tracks");
    assert!(world.tapped.iter().all(is_quiet));
    world.join(0, 0, l16(), Voice::silent());
    world.tapped.clear();
    world.run(50);
    let heard: std::collections::BTreeSet<u32> = world
        .tapped
        .iter()
        .filter(|frame| !is_quiet(frame))
        .map(|frame| frame.track.0)
        .collect();
    assert_eq!(heard.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_rate_that_is_set_holds_whatever_the_codecs_need_and_cleared_is_what_they_need() {
    let mut world = World::seeded(8);
    world.open(0, 0, RoomSettings::default());
    let set = |world: &mut World, rate: Option<Rate>| {
        let change = RoomChange::SampleRate(rate);
        world.apply(
            0,
            Command::ChangeRoom {
                room: RoomId(0),
                change,
            },
        );
        world.run(2);
        world.engines[0].room_rate(RoomId(0))
    };
    world.join(0, 0, l16(), Voice::steady(TONE_A, -20.0));
    assert_eq!(set(&mut world, None), Some(Rate::Hz8000));
    assert_eq!(set(&mut world, Some(Rate::Hz48000)), Some(Rate::Hz48000));
    world.join(0, 0, encoding(Codec::L16(Rate::Hz48000)), Voice::silent());
    assert_eq!(set(&mut world, Some(Rate::Hz8000)), Some(Rate::Hz8000));
    world.run(20);
    world.parties[1].heard.clear();
    world.step();
    let heard = world.parties[1].hear_tick().unwrap();
    assert!(power_at(TONE_A, &heard, 48_000) > 0.3 * Voice::steady(TONE_A, -20.0).power());
    assert_eq!(set(&mut world, None), Some(Rate::Hz48000));
}

#[test]
fn music_for_whoever_is_alone_begins_again_whenever_one_is_and_stops_when_somebody_comes() {
    let mut world = World::seeded(7);
    let settings = RoomSettings {
        music_while_alone: Some(Music::Music2),
        ..RoomSettings::default()
    };
    world.open(0, 0, settings);
    world.join(0, 0, l16(), Voice::silent());
    let hears_music = |world: &mut World| {
        step(world);
        let heard: Vec<f32> = (0..100).flat_map(|_| step(world).swap_remove(0)).collect();
        power(&heard) > 1e-4
    };
    assert!(hears_music(&mut world), "alone");
    for _ in 0..3 {
        let other = world.join(0, 0, l16(), Voice::silent());
        assert!(!hears_music(&mut world), "with another");
        world.change(other, LegChange::Hold(Some(Hold { music: None })));
        assert!(hears_music(&mut world), "the other is on hold");
        world.change(other, LegChange::Hold(None));
        assert!(!hears_music(&mut world), "the other is back");
        world.end(other);
        assert!(hears_music(&mut world), "alone again");
    }
    world.apply(
        0,
        Command::ChangeRoom {
            room: RoomId(0),
            change: RoomChange::MusicWhileAlone(None),
        },
    );
    assert!(!hears_music(&mut world), "no music is wanted any more");
}
