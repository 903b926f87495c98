//! A room that hears only so many at once hears the loudest, whole, and whoever is crowded out hears them too.

use std::f32::consts::TAU;

use mixminus::codec::{Codec, Encoding};
use mixminus::engine::{Command, Event};
use mixminus::frame::Rate;
use mixminus::id::{RecordingSlot, RoomId};
use mixminus::leg::{Hold, LegChange};
use mixminus::room::{Recording, RoomChange, RoomSettings};

use crate::support::voice::{Voice, largest_step, power_at};
use crate::support::world::{World, encoding};

const TONES: [f32; 4] = [500.0, 1_200.0, 1_900.0, 2_600.0];

/// Ticks after which everything has settled: playout, fades, hangover, the choice.
const SETTLED: u64 = 100;

fn l16() -> Encoding {
    encoding(Codec::L16(Rate::Hz8000))
}

fn room(seed: u64, talkers_max: Option<u16>) -> World {
    let mut world = World::seeded(seed);
    let settings = RoomSettings {
        talkers_max,
        ..RoomSettings::default()
    };
    world.open(0, 0, settings);
    world
}

/// Parties that speak all the time at these levels (dBFS), and after them one that only listens.
fn talkers_and_a_listener(talkers_max: Option<u16>, dbfs: &[f32]) -> World {
    let mut world = room(41, talkers_max);
    for (hz, dbfs) in TONES.iter().zip(dbfs) {
        world.join(0, 0, l16(), Voice::steady(*hz, *dbfs));
    }
    world.join(0, 0, l16(), Voice::silent());
    world.run(SETTLED);
    forget(&mut world);
    world
}

fn forget(world: &mut World) {
    world.parties.iter_mut().for_each(|party| party.heard.clear());
    world.events.clear();
}

fn set(world: &mut World, change: RoomChange) {
    let room = RoomId(0);
    world.apply(0, Command::ChangeRoom { room, change });
}

/// Whom each party hears in one step, by the number of the talker.
fn who_hears_whom(world: &mut World) -> Vec<Vec<usize>> {
    world.step();
    (0..world.parties.len())
        .map(|hearer| {
            let frame = world.parties[hearer]
                .hear_tick()
                .expect("a packet comes each tick");
            let heard = |talker: &usize| {
                let share = power_at(TONES[*talker], &frame, 8_000) / world.parties[*talker].voice.power();
                assert!(
                    !(0.001..0.5).contains(&share),
                    "{hearer} hears {talker} at {share}"
                );
                share > 0.5
            };
            (0..world.parties.len() - 1).filter(heard).collect()
        })
        .collect()
}

#[test]
fn the_loudest_are_heard_and_the_crowded_out_hear_them_and_nobody_hears_himself() {
    let mut world = talkers_and_a_listener(Some(2), &[-26.0, -20.0, -32.0, -38.0]);
    for _ in 0..50 {
        let heard = who_hears_whom(&mut world);
        assert_eq!(heard, [vec![1], vec![0], vec![0, 1], vec![0, 1], vec![0, 1]]);
    }
    let reports: Vec<_> = (0..5).map(|party| world.report(party)).collect();
    let contributing: Vec<_> = reports.iter().map(|report| report.contributing).collect();
    let crowded_out: Vec<_> = reports.iter().map(|report| report.crowded_out).collect();
    assert_eq!(contributing, [true, true, false, false, false]);
    assert_eq!(
        crowded_out,
        [false, false, true, true, false],
        "who is silent is not crowded out"
    );
    assert!(
        world.events.is_empty(),
        "nothing changes while nobody's level does"
    );
    set(&mut world, RoomChange::TalkersMax(None));
    world.step();
    forget(&mut world);
    assert_eq!(
        who_hears_whom(&mut world)[4],
        [0, 1, 2, 3],
        "all are heard where nothing is said of it"
    );
    assert!((0..5).all(|party| !world.report(party).crowded_out));
    set(&mut world, RoomChange::TalkersMax(Some(1)));
    world.step();
    forget(&mut world);
    assert_eq!(
        who_hears_whom(&mut world)[4],
        [1],
        "it takes effect with the next tick"
    );
}

#[test]
fn mute_hold_and_leave_free_the_place_in_the_same_tick() {
    let frees: [fn(&mut World); 3] = [
        |world| world.change(1, LegChange::Muted(true)),
        |world| world.change(1, LegChange::Hold(Some(Hold { music: None }))),
        |world| world.leave(1),
    ];
    for free in frees {
        let mut world = talkers_and_a_listener(Some(2), &[-26.0, -20.0, -32.0, -38.0]);
        let tick = world.tick;
        free(&mut world);
        world.step();
        let told: Vec<_> = world
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Talking { leg, on, tick } => Some((leg.0, *on, *tick)),
                _ => None,
            })
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told.contains(&(1, false, tick)) && told.contains(&(2, true, tick)),
            "{told:?}"
        );
    }
}

#[test]
fn without_activity_detection_the_levels_still_decide() {
    let mut world = talkers_and_a_listener(Some(1), &[-40.0, -30.0, -50.0, -20.0]);
    set(&mut world, RoomChange::ActivityDetection(false));
    world.run(SETTLED);
    forget(&mut world);
    assert_eq!(who_hears_whom(&mut world)[4], [3]);
    world.change(3, LegChange::Muted(true));
    world.step();
    forget(&mut world);
    assert_eq!(who_hears_whom(&mut world)[4], [1]);
}

#[test]
fn one_who_gives_way_to_another_does_it_without_a_click() {
    let mut world = room(42, Some(1));
    // So low that a step of their size stands out from their own slope.
    world.join(0, 0, l16(), Voice::steady(163.0, -20.0));
    world.join(0, 0, l16(), Voice::steady(271.0, -20.0));
    world.join(0, 0, l16(), Voice::silent());
    world.run(SETTLED);
    forget(&mut world);
    set(&mut world, RoomChange::TalkersMax(None));
    world.run(SETTLED);
    let natural = largest_step(&world.parties[2].heard);
    set(&mut world, RoomChange::TalkersMax(Some(1)));
    let (mut changes, mut steepest) = (0, 0.0_f32);
    for turn in 0..20 {
        forget(&mut world);
        for party in 0..2 {
            let gain = if (turn + party) % 2 == 0 { 1.0 } else { 0.2 };
            world.change(party, LegChange::Gain(gain));
        }
        world.run(60 + turn as u64);
        changes += world
            .events
            .iter()
            .filter(|event| matches!(event, Event::Talking { on: true, .. }))
            .count();
        steepest = steepest.max(largest_step(&world.parties[2].heard));
    }
    assert!(
        changes >= 19,
        "{changes}: each turn the louder one takes the place"
    );
    // Whoever is crowded out while he is as loud as the other.
    (0..2).for_each(|party| world.change(party, LegChange::Gain(1.0)));
    for length in 3..20 {
        forget(&mut world);
        set(&mut world, RoomChange::TalkersMax(None));
        world.run(length);
        set(&mut world, RoomChange::TalkersMax(Some(1)));
        world.run(length);
        steepest = steepest.max(largest_step(&world.parties[2].heard));
    }
    assert!(
        steepest < 1.2 * natural,
        "{steepest} beside {natural} of both together"
    );
}

#[test]
fn a_word_that_begins_at_once_is_heard_with_its_first_consonant() {
    let mut world = room(45, None);
    let mut word = vec![0.0; 160 * 100];
    word.extend((0..160 * 20).map(|i| 0.2 * (TAU * TONES[0] * i as f32 / 8_000.0).cos()));
    world.join(0, 0, l16(), Voice::saying(word));
    world.join(0, 0, l16(), Voice::silent());
    world.run(150);
    let heard = &world.parties[1].heard;
    let onset = heard
        .iter()
        .position(|sample| *sample != 0.0)
        .expect("it is heard");
    let power = power_at(TONES[0], &heard[onset + 40..onset + 120], 8_000) / 0.02;
    assert!(
        power > 0.95,
        "from the sixth to the fifteenth millisecond at {power} of its power"
    );
}

#[test]
fn the_recording_is_the_mix_of_those_who_are_chosen() {
    let mut world = talkers_and_a_listener(Some(1), &[-26.0, -20.0]);
    let recording = Recording {
        slot: RecordingSlot(0),
        rate: Rate::Hz8000,
        legs: false,
    };
    set(&mut world, RoomChange::Record(Some(recording)));
    world.run(50);
    let share = |talker: usize| {
        let power = power_at(TONES[talker], &world.recorded[160..], 8_000);
        power / world.parties[talker].voice.power()
    };
    assert!(
        share(1) > 0.9 && share(0) < 0.001,
        "{} and {}",
        share(1),
        share(0)
    );
    let heard = &world.parties[2].heard;
    assert_eq!(
        heard[heard.len() - 160..],
        world.recorded[world.recorded.len() - 160..],
        "what a listener hears"
    );
}

/// Who contributes, by the events, and how many events there were.
#[derive(Default)]
struct Talking {
    on: Vec<u32>,
    changes: usize,
}

impl Talking {
    fn follow(&mut self, world: &mut World) {
        for event in world.events.drain(..) {
            if let Event::Talking { leg, on, .. } = event {
                self.changes += 1;
                let known = self.on.iter().position(|known| *known == leg.0);
                assert_eq!(known.is_some(), !on, "seed {}: events come in pairs", world.seed);
                match known {
                    Some(known) => drop(self.on.swap_remove(known)),
                    None => self.on.push(leg.0),
                }
            }
        }
    }
}

#[test]
fn a_hundred_who_all_talk_are_the_loudest_few_and_a_limiter() {
    for talkers_max in [Some(5), None] {
        let mut world = room(43, talkers_max);
        for party in 0..100_u32 {
            let voice = Voice::in_spurts(200.0 + 30.0 * party as f32, -6.0, u64::from(party));
            world.join(0, 0, l16(), voice);
        }
        let (mut talking, mut talking_most) = (Talking::default(), 0);
        let seconds = 20;
        for _ in 0..50 * seconds {
            world.step();
            talking.follow(&mut world);
            talking_most = talking_most.max(talking.on.len());
            for party in &mut world.parties {
                let frame = party.hear_tick().expect("one packet each tick");
                assert!(
                    frame.iter().all(|sample| sample.abs() <= 1.0),
                    "within full scale"
                );
            }
        }
        match talkers_max {
            Some(max) => {
                assert_eq!(talking_most, usize::from(max));
                let each_second = talking.changes / seconds;
                assert!(each_second <= 10, "{each_second} changes a second of who talks");
            }
            None => assert!(talking_most > 30, "{talking_most} at once"),
        }
        let seated = world.engines[0].seats(RoomId(0));
        assert_eq!((seated, world.engines[0].stats().panics), (100, 0));
    }
}

#[test]
fn whatever_a_leg_sends_the_others_hear_what_is_finite_and_within_full_scale() {
    let square =
        |period: usize| (0..8_000).map(move |i| if (i / period).is_multiple_of(2) { 1.0 } else { -1.0 });
    let sounds: [(&str, Vec<f32>); 5] = [
        ("the most negative sample", vec![-1.0; 8_000]),
        ("the most positive sample", vec![1.0; 8_000]),
        ("a square wave at full scale", square(4).collect()),
        ("every sample the other extreme", square(1).collect()),
        ("one extreme sample in silence", {
            let mut click = vec![0.0; 8_000];
            click[4_000] = -1.0;
            click
        }),
    ];
    for codec in [
        Codec::L16(Rate::Hz8000),
        Codec::Pcmu,
        Codec::Pcma,
        Codec::Opus(Rate::Hz8000),
    ] {
        for (name, sound) in &sounds {
            let mut world = room(44, None);
            for _ in 0..4 {
                world.join(0, 0, encoding(codec), Voice::saying(sound.clone()));
            }
            let listener = world.join(0, 0, l16(), Voice::silent());
            let speaker = world.join(0, 0, l16(), Voice::steady(TONES[0], -20.0));
            for _ in 0..60 {
                world.step();
                for party in [listener, speaker] {
                    let frame = world.parties[party].hear_tick().expect("one packet each tick");
                    assert!(
                        frame.iter().all(|sample| sample.abs() <= 1.0),
                        "{codec:?}, {name}: within full scale"
                    );
                }
            }
            forget(&mut world);
            world.run(30);
            let heard = &world.parties[listener].heard;
            let share =
                power_at(TONES[0], &heard[heard.len() - 160..], 8_000) / world.parties[speaker].voice.power();
            assert!(share > 0.7, "{codec:?}, {name}: the room goes on, {share}");
        }
    }
}
