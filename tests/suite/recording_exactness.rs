//! What goes to recordings, sample by sample: compared with what was said, at the place where a model has it.

use std::collections::BTreeMap;
use std::ops::Range;

use mixminus::capture::Recording;
use mixminus::codec::Codec;
use mixminus::dsp::{self, Music, Resampler};
use mixminus::dtmf::Digit;
use mixminus::engine::{Command, Event, Recorded};
use mixminus::frame::Rate;
use mixminus::id::{RecordingSlot, RoomId, TrackNumber};
use mixminus::leg::{Hold, LegChange};
use mixminus::room::{RoomChange, RoomSettings};
use mixminus::time::Tick;

use crate::support::voice::Voice;
use crate::support::world::{Frame, World, encoding};

const SLOT: RecordingSlot = RecordingSlot(3);
const OF_LEG: RecordingSlot = RecordingSlot(4);

/// Between what is said and what is heard, at most.
const DELAY_MS_MAX: usize = 150;

/// After the room's rate has changed: the filters are new.
const UNSETTLED_TICKS: u64 = 2;

/// The last place of 16 bits.
const STEP: f32 = 1.0 / 32_768.0;

/// Some tones of their own, with pauses of 100 to 400 ms, at a peak of 0.15.
fn text(rate: Rate, seconds: usize, seed: u64) -> Vec<f32> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let tones: Vec<(f32, f32)> = (0..5)
        .map(|_| (150.0 + 1_500.0 * chance.f32(), chance.f32()))
        .collect();
    let mut text = Vec::new();
    while text.len() < seconds * rate.hz() as usize {
        let spurt = chance.usize(15..60) * rate.samples_per_tick();
        for _ in 0..spurt {
            let second = text.len() as f32 / rate.hz() as f32;
            let wave = |(hz, phase): &(f32, f32)| (std::f32::consts::TAU * (hz * second + phase)).sin();
            text.push(0.03 * tones.iter().map(wave).sum::<f32>());
        }
        text.resize(text.len() + chance.usize(5..20) * rate.samples_per_tick(), 0.0);
    }
    text
}

/// Somebody whose every sample is known.
struct Talker {
    party: usize,
    codec: Codec,
    text: Vec<f32>,
    joined: Tick,
    /// Samples of its codec's rate between what it says and what is heard.
    delay: usize,
    /// From this tick on its gain is this, while it is heard at all.
    gains: BTreeMap<u64, f32>,
}

impl Talker {
    fn join(world: &mut World, codec: Codec) -> Talker {
        let text = text(codec.rate(), 15, world.parties.len() as u64 + 1);
        let joined = world.tick;
        let party = world.join(0, 0, encoding(codec), Voice::saying(text.clone()));
        let gains = BTreeMap::from([(0, 1.0)]);
        Talker {
            party,
            codec,
            text,
            joined,
            delay: 0,
            gains,
        }
    }

    fn change(&mut self, world: &mut World, change: LegChange, gain: f32) {
        world.change(self.party, change);
        self.gains.insert(world.tick.0, gain);
    }

    fn track(&self) -> TrackNumber {
        TrackNumber(self.party as u32 + 1)
    }

    /// How far what is heard may be from what is said: the coarsest step of the codec at this loudness.
    fn error(&self) -> f32 {
        match self.codec {
            Codec::L16(_) => 1.01 * STEP,
            // G.711: 16 steps an octave, so that no sample is off by more than a 32nd of it.
            _ => 0.15 / 32.0,
        }
    }

    fn says(&self, tick: u64) -> Vec<f32> {
        let samples = self.codec.rate().samples_per_tick();
        let begin = (tick as i64 - self.joined.0 as i64) * samples as i64 - self.delay as i64;
        (begin..begin + samples as i64)
            .map(|at| {
                usize::try_from(at)
                    .ok()
                    .and_then(|at| self.text.get(at))
                    .copied()
                    .unwrap_or(0.0)
            })
            .collect()
    }

    /// What of it is in a file, tick by tick, in a room that has worked at this rate all along.
    fn model(&self, room: Rate, diary: &Diary, ticks: Range<u64>) -> Vec<Vec<f32>> {
        let mut inbound = Resampler::new(self.codec.rate(), room);
        let mut outbound = Resampler::new(room, diary.file);
        let mut before = 0.0;
        let mut model = Vec::new();
        for tick in ticks {
            if diary.begins.contains(&tick) {
                outbound = Resampler::new(room, diary.file);
            }
            let mut voice = vec![0.0; room.samples_per_tick()];
            inbound.process(&self.says(tick), &mut voice);
            let set = self
                .gains
                .range(..=tick)
                .next_back()
                .map_or(0.0, |(_, gain)| *gain);
            let gain = if diary.is_heard(self.party, tick) {
                set
            } else {
                0.0
            };
            // A beginning takes 5 ms, any other change the tick.
            let fading = if before == 0.0 {
                5 * room.samples_per_ms()
            } else {
                voice.len()
            };
            let (fade, rest) = voice.split_at_mut(fading);
            dsp::ramp(fade, before, gain);
            rest.iter_mut().for_each(|sample| *sample *= gain);
            before = gain;
            let mut frame = vec![0.0; diary.file.samples_per_tick()];
            outbound.process(&voice, &mut frame);
            model.push(frame);
        }
        model
    }

    /// Finds out by how much what is heard is late, from some ticks in which it is heard.
    fn find_delay(&mut self, diary: &Diary, room: Rate, tracks: &BTreeMap<(TrackNumber, u64), Vec<f32>>) {
        let from = diary.first_of(self.party) + 30;
        let ticks = from - 4..from + 16;
        let distance = |talker: &Talker| -> f32 {
            let model = talker.model(room, diary, ticks.clone());
            let far = |(tick, model): (u64, &Vec<f32>)| {
                tracks
                    .get(&(talker.track(), tick))
                    .map_or(1.0, |track| furthest(track, model))
            };
            ticks.clone().zip(&model).skip(6).map(far).fold(0.0, f32::max)
        };
        let mut best = (f32::MAX, 0);
        for delay in 0..DELAY_MS_MAX * self.codec.rate().samples_per_ms() {
            self.delay = delay;
            let distance = distance(self);
            if distance < best.0 {
                best = (distance, delay);
            }
        }
        self.delay = best.1;
        assert!(best.0 < 2.0 * self.error(), "{:?}: {best:?}", self.codec);
    }
}

/// What happened when, as far as a model must know.
struct Diary {
    file: Rate,
    /// Ticks with which sound begins in the recording.
    begins: Vec<u64>,
    /// Who was told to be heard, and from when to when.
    heard: Vec<(usize, Range<u64>)>,
    joined: BTreeMap<usize, u64>,
    left: BTreeMap<usize, u64>,
}

impl Diary {
    fn new(file: Rate, events: &[Event]) -> Diary {
        let mut diary = Diary {
            file,
            begins: Vec::new(),
            heard: Vec::new(),
            joined: BTreeMap::new(),
            left: BTreeMap::new(),
        };
        for event in events {
            match event {
                Event::Recording { on: true, tick, .. } | Event::RecordingPaused { on: false, tick, .. } => {
                    diary.begins.push(tick.0);
                }
                Event::Talking { leg, on: true, tick } => {
                    diary.heard.push((leg.0 as usize, tick.0..u64::MAX));
                }
                Event::Talking { leg, on: false, tick } => {
                    let mut spells = diary.heard.iter_mut().rev();
                    if let Some((_, spell)) = spells.find(|(party, _)| *party == leg.0 as usize) {
                        spell.end = tick.0;
                    }
                }
                Event::Joined { leg, tick, .. } => {
                    diary.joined.insert(leg.0 as usize, tick.0);
                }
                Event::Left { leg, tick, .. } => {
                    diary.left.insert(leg.0 as usize, tick.0);
                }
                _ => {}
            }
        }
        diary
    }

    fn is_heard(&self, party: usize, tick: u64) -> bool {
        self.heard
            .iter()
            .any(|(who, spell)| *who == party && spell.contains(&tick))
    }

    /// The first tick in which a party could be recorded.
    fn first_of(&self, party: usize) -> u64 {
        self.begins[0].max(self.joined[&party])
    }
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn change_room(world: &mut World, change: RoomChange) {
    let room = RoomId(0);
    world.apply(0, Command::ChangeRoom { room, change });
}

fn record(world: &mut World, rate: Rate, legs: bool) {
    let recording = Recording {
        slot: SLOT,
        rate,
        legs,
    };
    change_room(world, RoomChange::Record(Some(recording)));
}

fn record_leg(world: &mut World, party: usize, rate: Rate) {
    let leg = world.parties[party].leg;
    let recording = Some(Recording {
        slot: OF_LEG,
        rate,
        legs: false,
    });
    world.apply(0, Command::RecordLeg { leg, recording });
}

fn frames(world: &World, slot: RecordingSlot) -> Vec<&Frame> {
    world.tapped.iter().filter(|frame| frame.slot == slot).collect()
}

#[test]
fn mix_and_tracks_are_what_was_said_sample_by_sample_and_the_tracks_add_up_to_the_mix() {
    for file in Rate::ALL {
        let mut world = World::seeded(5);
        world.open(0, 0, RoomSettings::default());
        let mut talkers =
            [Codec::Pcmu, Codec::L16(Rate::Hz8000), Codec::Pcma].map(|codec| Talker::join(&mut world, codec));
        let mut rooms = BTreeMap::new();
        let mut run = |world: &mut World, ticks: u64| {
            for _ in 0..ticks {
                rooms.insert(
                    world.tick.0,
                    world.engines[0].room_rate(RoomId(0)).expect("it is open"),
                );
                world.step();
            }
        };
        run(&mut world, 100);
        record(&mut world, file, true);
        run(&mut world, 60);
        talkers[0].change(&mut world, LegChange::Muted(true), 0.0);
        run(&mut world, 40);
        talkers[0].change(&mut world, LegChange::Muted(false), 1.0);
        run(&mut world, 30);
        talkers[1].change(&mut world, LegChange::Gain(1.5), 1.5);
        run(&mut world, 40);
        let hold = Hold {
            music: Some(Music::Music1),
        };
        talkers[2].change(&mut world, LegChange::Hold(Some(hold)), 0.0);
        run(&mut world, 30);
        talkers[2].change(&mut world, LegChange::Hold(None), 1.0);
        run(&mut world, 30);
        let paused = world.tick.0..world.tick.0 + 25;
        change_room(&mut world, RoomChange::PauseRecording(true));
        run(&mut world, 25);
        change_room(&mut world, RoomChange::PauseRecording(false));
        run(&mut world, 60);
        // Both make the room's rate rise.
        let late = Talker::join(&mut world, Codec::L16(Rate::Hz16000));
        run(&mut world, 80);
        world.join(0, 0, encoding(Codec::Opus(Rate::Hz48000)), Voice::silent());
        run(&mut world, 60);
        world.end(talkers[1].party);
        run(&mut world, 40);
        change_room(&mut world, RoomChange::Record(None));
        run(&mut world, 5);
        assert_eq!(
            rooms.values().collect::<std::collections::BTreeSet<_>>().len(),
            3,
            "the room has worked at every rate"
        );

        let diary = Diary::new(file, &world.events);
        let (begin, end) = (diary.begins[0], world.tick.0 - 5);
        let mut tracks = BTreeMap::new();
        for frame in frames(&world, SLOT) {
            assert_eq!(frame.rate, file);
            let Some(sound) = &frame.sound else {
                assert!(frame.track == TrackNumber::MAIN && paused.contains(&frame.tick.0));
                continue;
            };
            assert!(!paused.contains(&frame.tick.0), "no sound while it is paused");
            let doubled = tracks.insert((frame.track, frame.tick.0), sound.clone());
            assert!(doubled.is_none(), "{:?} of {:?} twice", frame.tick, frame.track);
        }
        let mut talkers: Vec<Talker> = talkers.into_iter().chain([late]).collect();
        for talker in &mut talkers {
            let room = rooms[&(diary.first_of(talker.party) + 30)];
            talker.find_delay(&diary, room, &tracks);
        }
        // From the start: a filter has heard all that there was.
        let models: Vec<BTreeMap<Rate, Vec<Vec<f32>>>> = talkers
            .iter()
            .map(|talker| {
                let at = |room| (room, talker.model(room, &diary, 1_000..end));
                Rate::ALL.into_iter().map(at).collect()
            })
            .collect();
        let mut compared = 0;
        for tick in (begin..end).filter(|tick| !paused.contains(tick)) {
            let mix = &tracks[&(TrackNumber::MAIN, tick)];
            let of_tick = tracks
                .range(..)
                .filter(|((track, at), _)| *track != TrackNumber::MAIN && *at == tick);
            let mut sum = vec![0.0; file.samples_per_tick()];
            for (_, track) in of_tick {
                dsp::add(&mut sum, track);
            }
            assert!(
                furthest(&sum, mix) < 1e-5,
                "{file:?}: the tracks of {tick} add up to {}",
                furthest(&sum, mix)
            );
            let is_settled = (tick - UNSETTLED_TICKS..tick).all(|before| rooms[&before] == rooms[&tick]);
            if !is_settled {
                continue;
            }
            let mut expected = vec![0.0; file.samples_per_tick()];
            let mut allowed = 1e-4;
            for (talker, model) in talkers.iter().zip(&models) {
                let model = &model[&rooms[&tick]][tick as usize - 1_000];
                dsp::add(&mut expected, model);
                allowed += 1.5 * talker.error();
                let was_there = diary.joined[&talker.party] <= tick
                    && diary.left.get(&talker.party).is_none_or(|left| tick <= *left);
                let track = tracks.get(&(talker.track(), tick));
                assert!(
                    track.is_some() || !was_there,
                    "{tick} of {:?} is missing",
                    talker.codec
                );
                if let Some(track) = track {
                    let distance = furthest(track, model);
                    assert!(
                        distance < 1.5 * talker.error() + 1e-4,
                        "{file:?}: {tick} of {:?} is off by {distance}",
                        talker.codec
                    );
                    compared += 1;
                }
            }
            assert!(furthest(mix, &expected) < allowed, "{file:?}: the mix of {tick}");
        }
        assert!(compared > 1_000);
    }
}

#[test]
fn a_track_has_every_tick_from_its_legs_first_to_its_last_in_the_room() {
    let mut world = World::seeded(6);
    world.open(0, 0, RoomSettings::default());
    let stays = world.join(0, 0, encoding(Codec::Pcmu), Voice::steady(400.0, -20.0));
    record(&mut world, Rate::Hz16000, true);
    world.run(30);
    let guest = world.join(0, 0, encoding(Codec::Pcmu), Voice::steady(600.0, -20.0));
    world.run(30);
    world.end(guest);
    world.run(30);
    let diary = Diary::new(Rate::Hz16000, &world.events);
    let ticks = |party: usize| -> Vec<u64> {
        let of_track = frames(&world, SLOT).into_iter();
        let of_track = of_track.filter(|frame| frame.track == TrackNumber(party as u32 + 1));
        of_track.map(|frame| frame.tick.0).collect()
    };
    assert_eq!(ticks(stays), Vec::from_iter(1_000..1_090));
    // What the filter held back comes a tick after the last.
    let expected = diary.joined[&guest]..=diary.left[&guest] + 1;
    assert_eq!(ticks(guest), Vec::from_iter(expected));
    let last = frames(&world, SLOT)
        .into_iter()
        .filter(|frame| frame.track == TrackNumber(guest as u32 + 1))
        .nth_back(1)
        .and_then(|frame| frame.sound.clone())
        .expect("it is not paused");
    let (begin, end) = (&last[80..160], &last[300..]);
    let loudest = |part: &[f32]| part.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    assert!(
        loudest(begin) > 0.05 && loudest(end) < 0.3 * loudest(begin),
        "it fades"
    );
}

#[test]
fn what_a_leg_was_sent_is_what_it_heard_whatever_it_was() {
    let mut world = World::seeded(7);
    world.open(0, 0, RoomSettings::default());
    let l16 = encoding(Codec::L16(Rate::Hz8000));
    let one = world.join(0, 0, l16, Voice::saying(text(Rate::Hz8000, 15, 11)));
    record_leg(&mut world, one, Rate::Hz8000);
    for seed in 12..14 {
        world.join(
            0,
            0,
            encoding(Codec::Pcmu),
            Voice::saying(text(Rate::Hz8000, 15, seed)),
        );
    }
    world.run(120);
    let hold = |music| LegChange::Hold(Some(Hold { music }));
    for change in [
        hold(Some(Music::Music1)),
        hold(None),
        LegChange::Hold(None),
        LegChange::Deaf(true),
        LegChange::Deaf(false),
        LegChange::Muted(true),
        LegChange::Muted(false),
    ] {
        world.change(one, change);
        world.run(40);
    }
    let leg = world.parties[one].leg;
    let digits = Digit::from_char('1').expect("a key").into();
    world.apply(
        0,
        Command::SendDigits {
            leg,
            digits,
            tone_ms: 90,
            gap_ms: 70,
        },
    );
    world.run(40);
    world.join(
        0,
        0,
        encoding(Codec::L16(Rate::Hz16000)),
        Voice::saying(text(Rate::Hz16000, 5, 15)),
    );
    world.run(60);
    world.join(0, 0, encoding(Codec::Opus(Rate::Hz48000)), Voice::silent());
    world.run(60);
    world.end(one);
    world.run(10);
    let recorded: Vec<f32> = frames(&world, OF_LEG)
        .iter()
        .flat_map(|frame| frame.sound.clone().expect("it is not paused"))
        .collect();
    let heard = &world.parties[one].heard;
    assert_eq!(recorded.len(), heard.len());
    for (tick, (recorded, heard)) in recorded.chunks(160).zip(heard.chunks(160)).enumerate() {
        assert!(
            furthest(recorded, heard) < 1.01 * STEP,
            "tick {tick}: {}",
            furthest(recorded, heard)
        );
    }
    let loud = recorded
        .chunks(160)
        .filter(|tick| tick.iter().any(|sample| sample.abs() > 0.01));
    assert!(loud.count() > 300, "it was something");
    assert!(matches!(
        world.events.iter().rev().find(|event| matches!(event, Event::Recording { .. })),
        Some(Event::Recording { of: Recorded::Leg(of), slot: OF_LEG, on: false, tick })
            if *of == leg && tick.0 == 1_000 + recorded.len() as u64 / 160
    ));
}

#[test]
fn the_recording_of_a_leg_goes_with_it_to_another_engine_and_has_the_silence_it_was_sent_on_the_way() {
    let mut world = World::seeded(8).engine();
    for engine in 0..2 {
        world.open(engine, engine as u32, RoomSettings::default());
        world.join(
            engine,
            engine as u32,
            encoding(Codec::Pcmu),
            Voice::steady(500.0, -20.0),
        );
    }
    let one = world.join(0, 0, encoding(Codec::L16(Rate::Hz8000)), Voice::silent());
    record_leg(&mut world, one, Rate::Hz16000);
    record(&mut world, Rate::Hz8000, true);
    world.run(50);
    world.leave(one);
    world.run(3);
    world.seat_again(one, 1, 1);
    world.run(50);
    let of_leg = frames(&world, OF_LEG);
    let ticks: Vec<u64> = of_leg.iter().map(|frame| frame.tick.0).collect();
    assert_eq!(ticks, Vec::from_iter(1_000..1_103));
    let last_owed = of_leg[52].sound.as_ref().expect("it is not paused");
    assert!(last_owed.iter().all(|sample| *sample == 0.0));
    let of_room = frames(&world, SLOT);
    let track = of_room
        .iter()
        .filter(|frame| frame.track == TrackNumber(one as u32 + 1));
    assert_eq!(track.count(), 51, "the room's recording stays where it is");
    // More than two packets a leg is not owed: what it was sent later has a hole.
    world.leave(one);
    world.run(7);
    world.seat_again(one, 0, 0);
    world.run(3);
    let ticks = frames(&world, OF_LEG).into_iter().map(|frame| frame.tick.0);
    let after: Vec<u64> = ticks.skip_while(|tick| *tick < 1_103).collect();
    assert_eq!(after, [1_103, 1_108, 1_109, 1_110, 1_111, 1_112]);
    let ends = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::Recording { on: false, .. }));
    assert_eq!(ends.count(), 0);
}

#[test]
fn while_a_recording_is_paused_nothing_but_that_leaves_the_engine() {
    let mut world = World::seeded(9);
    world.open(0, 0, RoomSettings::default());
    for _ in 0..2 {
        world.join(
            0,
            0,
            encoding(Codec::L16(Rate::Hz8000)),
            Voice::steady(500.0, -20.0),
        );
    }
    world.run(60);
    record(&mut world, Rate::Hz48000, true);
    record_leg(&mut world, 0, Rate::Hz48000);
    let leg = world.parties[0].leg;
    world.run(10);
    let pause = |world: &mut World, on| {
        change_room(world, RoomChange::PauseRecording(on));
        world.apply(0, Command::PauseLegRecording { leg, on });
    };
    pause(&mut world, true);
    world.run(10);
    // Silence again before it goes on: what comes after a pause must not bring out what went in during it.
    for party in 0..2 {
        world.parties[party].voice = Voice::silent();
    }
    world.run(20);
    pause(&mut world, false);
    world.run(10);
    for slot in [SLOT, OF_LEG] {
        for frame in frames(&world, slot) {
            match frame.tick.0 {
                1_070..1_100 => assert!(frame.sound.is_none() && frame.track == TrackNumber::MAIN),
                1_100.. => assert!(frame.sound.iter().flatten().all(|sample| *sample == 0.0)),
                _ => assert!(frame.sound.is_some()),
            }
        }
        let mains: Vec<u64> = frames(&world, slot)
            .iter()
            .filter(|frame| frame.track == TrackNumber::MAIN)
            .map(|frame| frame.tick.0)
            .collect();
        assert_eq!(mains, Vec::from_iter(1_060..1_110), "its time goes on");
        let told: Vec<(bool, u64)> = world
            .events
            .iter()
            .filter_map(|event| match event {
                Event::RecordingPaused { slot: of, on, tick } if *of == slot => Some((*on, tick.0)),
                _ => None,
            })
            .collect();
        assert_eq!(told, [(true, 1_070), (false, 1_100)]);
    }
}

#[test]
fn a_pause_that_ends_before_a_tick_is_answered_once_and_a_recording_that_ends_answers_it_too() {
    let mut world = World::seeded(10);
    world.open(0, 0, RoomSettings::default());
    world.join(0, 0, encoding(Codec::Pcmu), Voice::silent());
    record(&mut world, Rate::Hz8000, false);
    world.run(5);
    let told = |world: &mut World| -> Vec<(&'static str, bool, u64)> {
        world
            .events
            .drain(..)
            .filter_map(|event| match event {
                Event::Recording { on, tick, .. } => Some(("runs", on, tick.0)),
                Event::RecordingPaused { on, tick, .. } => Some(("pauses", on, tick.0)),
                _ => None,
            })
            .collect()
    };
    told(&mut world);
    change_room(&mut world, RoomChange::PauseRecording(true));
    change_room(&mut world, RoomChange::PauseRecording(false));
    world.run(2);
    assert_eq!(told(&mut world), [("pauses", false, 1_005)]);
    change_room(&mut world, RoomChange::PauseRecording(true));
    change_room(&mut world, RoomChange::Record(None));
    world.run(2);
    assert_eq!(told(&mut world), [("runs", false, 1_007)]);
}
