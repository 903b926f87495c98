//! Digits: told once each, heard by nobody, sent on to those they are for.

use std::time::Duration;

use mixminus::codec::Codec;
use mixminus::dtmf::{Digit, DigitSender, Digits, EventPayload, Mode, Sending};
use mixminus::engine::{Command, Event};
use mixminus::frame::Rate;
use mixminus::leg::{Companion, DigitSettings, Dropped, InBand, LegSettings, MediaTerms};
use mixminus::room::RoomSettings;

use crate::support::voice::{Voice, power, power_at};
use crate::support::world::{EVENT_PAYLOAD_TYPE, World, encoding};

const TONE: f32 = 500.0;

fn with_events(clock_hz: u32) -> impl FnOnce(MediaTerms) -> MediaTerms {
    move |terms| MediaTerms {
        telephone_events: vec![Companion {
            receive_as: EVENT_PAYLOAD_TYPE,
            send_as: EVENT_PAYLOAD_TYPE,
            clock_hz,
        }],
        ..terms
    }
}

fn settings(mode: Mode, in_band: InBand) -> LegSettings {
    LegSettings {
        digits: DigitSettings { mode, in_band },
        ..LegSettings::default()
    }
}

fn detect(max_digits: u8) -> Mode {
    Mode::Detect {
        max_digits,
        timeout: Duration::from_secs(1),
    }
}

/// A speaks and presses, in the mode given, B and C listen; B takes events, C does not.
fn presser_and_listeners(mode: Mode) -> World {
    let mut world = World::seeded(3);
    world.open(0, 0, RoomSettings::default());
    let pcmu = encoding(Codec::Pcmu);
    let voice = Voice::steady(TONE, -20.0);
    world.join_on(
        0,
        0,
        pcmu,
        voice,
        settings(mode, InBand::Auto),
        with_events(8_000),
    );
    world.join_on(
        0,
        0,
        pcmu,
        Voice::silent(),
        LegSettings::default(),
        with_events(8_000),
    );
    world.join(0, 0, pcmu, Voice::silent());
    world.run(50);
    forget(&mut world);
    world
}

fn forget(world: &mut World) {
    world.parties.iter_mut().for_each(|party| party.heard.clear());
    world.events.clear();
}

/// The party presses keys, 60 ms each with gaps of 60 ms; the world goes on meanwhile.
fn press(world: &mut World, party: usize, keys: &str) {
    let mut sender = DigitSender::new();
    for key in keys.chars() {
        sender.push(Digit::from_char(key).unwrap(), 60, 60).unwrap();
    }
    while !sender.is_idle() {
        if let Sending::Event {
            payload,
            first,
            start_offset,
        } = sender.tick(8_000)
        {
            let ahead = 0u32.wrapping_sub(start_offset);
            world.send_packet(party, EVENT_PAYLOAD_TYPE, first, ahead, &payload);
        }
        world.step();
    }
}

fn told(world: &World) -> Vec<String> {
    world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Digits { digits, .. } => Some(digits.to_string()),
            _ => None,
        })
        .collect()
}

/// The digits that the party was sent as events.
fn sent(world: &World, party: usize) -> String {
    let mut digits = String::new();
    for (header, payload) in &world.parties[party].events_heard {
        let event = EventPayload::parse(payload).unwrap();
        if header.marker {
            digits.push(Digit::from_event(event.event).unwrap().to_char());
        }
    }
    digits
}

fn row_of(digits: &str) -> Digits {
    let mut row = Digits::new();
    for key in digits.chars() {
        assert!(row.push(Digit::from_char(key).unwrap()));
    }
    row
}

#[test]
fn ignored_digits_are_told_and_neither_event_nor_sound_of_them_reaches_the_others() {
    let mut world = presser_and_listeners(Mode::Ignore);
    press(&mut world, 0, "1#");
    assert_eq!(told(&world), ["1", "#"]);
    for listener in [1, 2] {
        assert!(world.parties[listener].events_heard.is_empty());
        let heard = &world.parties[listener].heard;
        // From the tick after the first event on, to its last.
        let pressed = &heard[160..heard.len() - 480];
        assert_eq!(power(pressed), 0.0, "what goes on beside the events is not heard");
    }
    forget(&mut world);
    world.run(20);
    let heard = &world.parties[2].heard;
    let after = power_at(TONE, &heard[heard.len() - 800..], 8_000);
    assert!(
        after > 0.3 * Voice::steady(TONE, -20.0).power(),
        "the voice comes back: {after}"
    );
}

#[test]
fn digits_pressed_in_a_room_that_has_not_begun_are_told_and_reach_nobody() {
    let mut world = World::seeded(4);
    world.open(0, 0, RoomSettings::default());
    for _ in 0..2 {
        let waits = LegSettings {
            starts_room: false,
            ..settings(Mode::Forward, InBand::Auto)
        };
        let pcmu = encoding(Codec::Pcmu);
        world.join_on(0, 0, pcmu, Voice::silent(), waits, with_events(8_000));
    }
    world.run(20);
    forget(&mut world);
    press(&mut world, 0, "1#");
    world.run(20);
    assert_eq!(told(&world), ["1", "#"]);
    assert_eq!(sent(&world, 1), "");
}

#[test]
fn forwarded_digits_reach_each_other_party_as_events_or_as_tones() {
    let mut world = presser_and_listeners(Mode::Forward);
    press(&mut world, 0, "19D");
    world.run(40);
    assert_eq!(told(&world), ["1", "9", "D"]);
    assert_eq!(sent(&world, 1), "19D");
    assert!(sent(&world, 0).is_empty(), "nobody is sent his own digits");
    for (digit, hz) in [
        ("1", [697.0, 1_209.0]),
        ("9", [852.0, 1_477.0]),
        ("D", [941.0, 1_633.0]),
    ] {
        let frames = world.parties[2].heard.chunks_exact(160);
        let with_both = frames
            .filter(|frame| hz.iter().all(|hz| power_at(*hz, frame, 8_000) > 0.01))
            .count();
        assert!(
            (3..=6).contains(&with_both),
            "{digit}: {with_both} frames of 20 ms"
        );
    }
}

#[test]
fn collected_digits_are_told_as_one_and_their_party_is_out_of_the_rooms_hearing_meanwhile() {
    let mut world = presser_and_listeners(detect(4));
    press(&mut world, 0, "12");
    assert!(told(&world).is_empty());
    forget(&mut world);
    world.run(20);
    let heard = std::mem::take(&mut world.parties[2].heard);
    assert_eq!(power(&heard), 0.0, "a collecting party is not heard");
    press(&mut world, 0, "3#");
    assert_eq!(told(&world), ["123"]);
    world.run(10);
    world.parties[2].heard.clear();
    world.run(5);
    assert!(power_at(TONE, &world.parties[2].heard, 8_000) > 0.001);

    forget(&mut world);
    press(&mut world, 0, "7");
    world.run(40);
    assert!(told(&world).is_empty());
    world.run(10);
    assert_eq!(told(&world), ["7"], "no other came within the second");
    press(&mut world, 0, "4567");
    assert_eq!(told(&world), ["7", "4567"]);
}

#[test]
fn digits_are_sent_on_the_legs_own_timeline_and_the_sound_goes_on_after_them() {
    for (codec, ptime_ms, clock_hz) in [
        (Codec::Pcmu, 20, 8_000),
        (Codec::Pcma, 30, 8_000),
        (Codec::Pcmu, 10, 8_000),
        (Codec::L16(Rate::Hz16000), 20, 16_000),
        (Codec::Opus(Rate::Hz48000), 60, 48_000),
    ] {
        let mut world = World::seeded(9);
        world.open(0, 0, RoomSettings::default());
        let encoding = mixminus::codec::Encoding {
            ptime_ms,
            ..encoding(codec)
        };
        world.join(0, 0, encoding, Voice::steady(TONE, -20.0));
        world.join_on(
            0,
            0,
            encoding,
            Voice::silent(),
            LegSettings::default(),
            with_events(clock_hz),
        );
        world.run(51);
        let leg = world.parties[1].leg;
        let digits = row_of("5*");
        world.apply(
            0,
            Command::SendDigits {
                leg,
                digits,
                tone_ms: 100,
                gap_ms: 60,
            },
        );
        world.run(30);
        assert_eq!(sent(&world, 1), "5*", "{codec:?}");
        let events = &world.parties[1].events_heard;
        let starts: Vec<u32> = events
            .iter()
            .filter(|(header, _)| header.marker)
            .map(|(header, _)| header.timestamp)
            .collect();
        // A tone and a gap of 160 ms.
        assert_eq!(
            starts[1].wrapping_sub(starts[0]),
            clock_hz / 1_000 * 160,
            "{codec:?} at {ptime_ms} ms"
        );
        for start in starts {
            let ends: Vec<u16> = events
                .iter()
                .filter(|(header, _)| header.timestamp == start)
                .map(|(_, payload)| EventPayload::parse(payload).unwrap())
                .filter(|event| event.end)
                .map(|event| event.duration)
                .collect();
            assert_eq!(ends, [(clock_hz / 10) as u16; 3]);
        }
        world.parties[1].heard.clear();
        world.run(20);
        let heard = &world.parties[1].heard;
        let hz = codec.rate().hz();
        assert!(power_at(TONE, heard, hz) > 0.3 * Voice::steady(TONE, -20.0).power());
    }
}

#[test]
fn tones_in_the_sound_are_digits_and_nothing_of_them_reaches_the_others() {
    let mut world = World::seeded(4);
    world.open(0, 0, RoomSettings::default());
    let pcmu = encoding(Codec::Pcmu);
    world.join_with(0, 0, pcmu, Voice::silent(), settings(Mode::Ignore, InBand::Auto));
    world.join(0, 0, pcmu, Voice::silent());
    world.run(50);
    for (low, high) in [(770.0, 1_336.0), (941.0, 1_477.0)] {
        world.parties[0].voice = Voice::key(low, high);
        world.run(5);
        world.parties[0].voice = Voice::silent();
        world.run(15);
    }
    assert_eq!(told(&world), ["5", "#"]);
    assert!(
        power(&world.parties[1].heard) < 1e-9,
        "tones are cut out from their beginning: {}",
        power(&world.parties[1].heard)
    );
}

#[test]
fn a_flood_of_events_is_refused_and_counted() {
    let mut world = presser_and_listeners(Mode::Ignore);
    for n in 0..400u32 {
        let event = EventPayload {
            event: (n % 10) as u8,
            end: false,
            volume: 10,
            duration: 160,
        };
        world.send_packet(0, EVENT_PAYLOAD_TYPE, true, n * 160, &event.write());
        if n % 2 == 1 {
            world.step();
        }
    }
    world.send_packet(0, EVENT_PAYLOAD_TYPE, true, 0, &[1, 2, 3]);
    assert!(told(&world).len() < 110, "{} of 400 in 4 s", told(&world).len());
    assert!(world.dropped(Dropped::EventFlood) > 250);
    assert_eq!(world.dropped(Dropped::BadEvent), 1);
}
