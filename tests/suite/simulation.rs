//! Whole conferences on a virtual clock: what holds for an hour of any network.

use mixminus::codec::Codec;
use mixminus::engine::{Command, Event};
use mixminus::frame::Rate;
use mixminus::id::RoomId;
use mixminus::load::network::{Conditions, Jitter};
use mixminus::room::RoomSettings;
use std::time::Duration;

use crate::support::has_time;
use crate::support::voice::{Voice, power_at};
use crate::support::world::{World, encoding};

/// The hard bound of playout delay, and what fade, concealment and the ticks on both sides add.
const DELAY_BOUND_TICKS: u64 = 15 + 5;

/// A tone counts as heard from a tenth of its power on.
const HEARD_SHARE: f32 = 0.1;

/// Whoever hears itself at less than this share of what others hear of it does not hear itself.
const LEAK_SHARE: f64 = 0.001;

/// What each listener heard of each talker.
struct Hearing {
    power_sum: Vec<Vec<f64>>,
    frames: Vec<Vec<u64>>,
    /// Ticks since each talker began its spurt.
    spoken: Vec<u64>,
    heard_in_spurt: Vec<Vec<bool>>,
    spurts: u64,
    unheard: Vec<(usize, usize)>,
}

impl Hearing {
    fn new(parties: usize) -> Hearing {
        Hearing {
            power_sum: vec![vec![0.0; parties]; parties],
            frames: vec![vec![0; parties]; parties],
            spoken: vec![0; parties],
            heard_in_spurt: vec![vec![false; parties]; parties],
            spurts: 0,
            unheard: Vec::new(),
        }
    }

    fn listen(&mut self, world: &mut World) {
        let count = world.parties.len();
        for talker in 0..count {
            if world.parties[talker].voice.is_speaking() {
                self.spoken[talker] += 1;
                if self.spoken[talker] == DELAY_BOUND_TICKS {
                    self.spurts += 1;
                    let missing = (0..count).filter(|hearer| *hearer != talker);
                    let missing = missing.filter(|hearer| !self.heard_in_spurt[*hearer][talker]);
                    self.unheard.extend(missing.map(|hearer| (hearer, talker)));
                }
            } else {
                self.spoken[talker] = 0;
                self.heard_in_spurt.iter_mut().for_each(|row| row[talker] = false);
            }
        }
        for hearer in 0..count {
            let Some(frame) = world.parties[hearer].hear_tick() else {
                continue;
            };
            let rate_hz = world.parties[hearer].rate().hz();
            for talker in 0..count {
                if self.spoken[talker] == 0 {
                    continue;
                }
                let voice = &world.parties[talker].voice;
                let power = power_at(voice.hz, &frame, rate_hz);
                if power > HEARD_SHARE * voice.power() {
                    self.heard_in_spurt[hearer][talker] = true;
                }
                if self.spoken[talker] >= DELAY_BOUND_TICKS {
                    self.power_sum[hearer][talker] += f64::from(power / voice.power());
                    self.frames[hearer][talker] += 1;
                }
            }
        }
    }

    fn mean(&self, hearer: usize, talker: usize) -> f64 {
        self.power_sum[hearer][talker] / self.frames[hearer][talker].max(1) as f64
    }

    fn assert_promises(&self, seed: u64, allowed_late: f64) {
        let parties = self.power_sum.len();
        assert!(self.spurts > 0, "seed {seed}: somebody has spoken");
        let late = self.unheard.len() as f64 / (self.spurts * (parties as u64 - 1)) as f64;
        assert!(
            late <= allowed_late,
            "seed {seed}: {late} of the spurts were not heard in time: {:?}",
            self.unheard
        );
        for hearer in 0..parties {
            for talker in 0..parties {
                let mean = self.mean(hearer, talker);
                if hearer == talker {
                    assert!(
                        mean < LEAK_SHARE,
                        "seed {seed}: party {hearer} hears itself at {mean} of its power"
                    );
                } else {
                    assert!(
                        mean > 0.5,
                        "seed {seed}: party {hearer} hears {talker} at only {mean} of its power"
                    );
                }
            }
        }
    }
}

fn bursts_of_loss(loss: f64) -> Conditions {
    Conditions {
        loss,
        loss_burst: 2.0,
        delay: Duration::from_millis(5),
        jitter: Jitter::Exponential(Duration::from_millis(4)),
        duplication: 0.005,
        reordering: 0.005,
        reordering_by: Duration::from_millis(30),
        ..Conditions::PERFECT
    }
}

/// Six parties whose tones can be told apart, in one room.
fn room_of_six(seed: u64, conditions: Conditions, codec: Codec) -> World {
    let mut world = World::seeded(seed).network(conditions);
    world.open(
        0,
        0,
        RoomSettings {
            phase: 1,
            ..RoomSettings::default()
        },
    );
    for party in 0..6_u32 {
        let voice = Voice::in_spurts(400.0 + 350.0 * party as f32, -20.0, seed ^ u64::from(party));
        world.join(0, 0, encoding(codec), voice);
    }
    world
}

/// Everybody leaves, the room closes, and everything that was lent is back.
fn assert_all_is_given_back(world: &mut World) {
    let seed = world.seed;
    for party in 0..world.parties.len() {
        world.leave(party);
    }
    world.step();
    world.apply(0, Command::Close { room: RoomId(0) });
    let left = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::Left { .. }))
        .count();
    assert_eq!(left, world.parties.len(), "seed {seed}: every leg was given back");
    let room = world.events.iter().find_map(|event| match event {
        Event::Closed { state, .. } => Some(state),
        _ => None,
    });
    assert_eq!(
        room.map(|room| room.streams()),
        Some((0, 0)),
        "seed {seed}: every stream left with its leg"
    );
    for event in &world.events {
        if let Event::Left { state, .. } = event {
            assert!(
                state.has_its_streams(),
                "seed {seed}: a leg leaves with the streams it brought"
            );
        }
    }
    assert_eq!(world.engines[0].seats(RoomId(0)), 0);
    assert!((0..4).all(|phase| world.engines[0].rooms_in_phase(phase).is_empty()));
}

#[test]
fn an_hour_of_bursty_loss_breaks_no_promise() {
    let seed = 7;
    let ticks = 50 * 3_600;
    let mut world = room_of_six(seed, bursts_of_loss(0.06), Codec::L16(Rate::Hz8000));
    let mut hearing = Hearing::new(6);
    for _ in 0..ticks {
        world.step();
        hearing.listen(&mut world);
        world.events.clear();
    }
    for party in &world.parties {
        assert_eq!(party.packets_heard, ticks, "seed {seed}: one packet each ptime");
    }
    hearing.assert_promises(seed, 0.001);
    assert_all_is_given_back(&mut world);
}

#[test]
fn the_same_seed_gives_the_same_conference_to_the_last_bit_and_another_seed_another() {
    let hash = |seed| {
        let mut world = room_of_six(seed, bursts_of_loss(0.03), Codec::Pcmu);
        world.run(1_500);
        world.hash
    };
    assert_eq!(hash(11), hash(11));
    assert_ne!(hash(11), hash(12));
}

#[test]
fn every_codec_keeps_the_promises_for_some_minutes() {
    let seconds = if has_time() { 60 } else { 30 };
    for (seed, codec) in [
        (21, Codec::Pcmu),
        (22, Codec::Pcma),
        (23, Codec::L16(Rate::Hz16000)),
        (24, Codec::Opus(Rate::Hz16000)),
        (25, Codec::Opus(Rate::Hz48000)),
    ] {
        let mut world = room_of_six(seed, bursts_of_loss(0.02), codec);
        let mut hearing = Hearing::new(6);
        for _ in 0..50 * seconds {
            world.step();
            hearing.listen(&mut world);
            world.events.clear();
        }
        hearing.assert_promises(seed, 0.01);
        assert_all_is_given_back(&mut world);
    }
}

#[test]
fn speech_at_minus_45_dbfs_is_heard() {
    let mut world = World::seeded(31);
    world.open(0, 0, RoomSettings::default());
    world.join(
        0,
        0,
        encoding(Codec::L16(Rate::Hz8000)),
        Voice::in_spurts(500.0, -45.0, 31),
    );
    world.join(0, 0, encoding(Codec::L16(Rate::Hz8000)), Voice::silent());
    let mut heard = Vec::new();
    let mut spoken = Vec::new();
    for _ in 0..50 * 120 {
        world.step();
        let frame = world.parties[1].hear_tick().expect("one frame each tick");
        heard.push(power_at(500.0, &frame, 8_000));
        spoken.push(world.parties[0].voice.is_speaking());
    }
    let full = world.parties[0].voice.power();
    let steady = (20..spoken.len()).filter(|tick| spoken[tick - 10..=*tick].iter().all(|speaks| *speaks));
    let (mut frames, mut audible) = (0, 0);
    for tick in steady {
        frames += 1;
        audible += usize::from(heard[tick] > 0.5 * full);
    }
    assert!(
        frames > 500 && audible == frames,
        "{audible} of {frames} frames were audible"
    );
}
