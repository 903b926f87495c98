//! The bad networks a call meets, each with every codec, over the whole engine on the virtual clock: what each row of
//! the table promises, measured by what the others of the room heard.

mod measure;
mod rows;

use std::time::Duration;

use mixminus::codec::Codec;
use mixminus::codec::ilbc::Mode;
use mixminus::frame::Rate;
use mixminus::load::network::{Conditions, Jitter};
use mixminus::room::RoomSettings;

use crate::support::has_time;
use crate::support::voice::{Voice, power_at};
use crate::support::world::{World, encoding};
use measure::{Call, Figures};
use rows::Row;

const CODECS: [Codec; 9] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::G729,
    Codec::Ilbc(Mode::Ms20),
    Codec::Ilbc(Mode::Ms30),
    Codec::Opus(Rate::Hz16000),
    Codec::Opus(Rate::Hz48000),
    Codec::L16(Rate::Hz16000),
];

/// One of each kind, as playout sees them: without memory, with a little, with much, of 10, 20 and 30 ms.
const KINDS: [Codec; 6] = [
    Codec::Pcmu,
    Codec::G722,
    Codec::G729,
    Codec::Ilbc(Mode::Ms20),
    Codec::Ilbc(Mode::Ms30),
    Codec::Opus(Rate::Hz48000),
];

/// Every codec where there is time for all.
fn codecs() -> &'static [Codec] {
    if has_time() { &CODECS } else { &KINDS }
}

/// Every row with every codec; each broken promise is one line, and the seed is in it.
fn assert_rows(rows: &[Row], codecs: &[Codec]) {
    let mut broken = Vec::new();
    for codec in codecs {
        let clean = Call::clean(*codec);
        for row in rows {
            let figures = Figures::of(&Call::through(*codec, row), &clean, row);
            let line = format!("{}, {codec:?}, seed {}: {figures}", row.name, row.seed);
            println!("{line}");
            let promises = figures.broken(row);
            broken.extend(promises.iter().map(|promise| format!("{promise} in {line}")));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_clean_way_conceals_nothing_and_adds_nothing() {
    assert_rows(&rows::clean(), &CODECS);
}

#[test]
fn random_loss_costs_what_is_lost_and_no_delay() {
    assert_rows(&rows::random_loss(), &KINDS);
}

#[test]
fn bursts_of_loss_cost_what_is_lost_and_no_delay() {
    assert_rows(&rows::bursts_of_loss(), &KINDS);
}

#[test]
fn jitter_is_covered_by_no_more_delay_than_it_asks_for() {
    assert_rows(&rows::jitter(), &KINDS);
}

#[test]
fn disorder_is_put_right() {
    assert_rows(&rows::disorder(), &KINDS);
}

#[test]
fn the_drift_of_a_clock_is_not_heard() {
    assert_rows(&rows::drift(), &KINDS);
}

#[test]
fn after_a_spike_an_outage_or_a_new_route_all_is_as_before_within_five_seconds() {
    assert_rows(&rows::upheavals(), codecs());
}

#[test]
fn everything_at_once_is_survived() {
    assert_rows(&rows::everything(), codecs());
}

#[test]
fn for_an_hour_clocks_that_drift_apart_leave_no_hole_and_no_delay() {
    let seed = 81;
    let mut world = World::seeded(seed);
    world.open(0, 0, RoomSettings::default());
    for drift_ppm in [200.0, -200.0] {
        world.conditions = Conditions {
            jitter: Jitter::Uniform(Duration::from_millis(2)),
            drift_ppm,
            ..Conditions::PERFECT
        };
        let hz = 600.0 + drift_ppm as f32;
        world.join(
            0,
            0,
            encoding(Codec::Pcmu),
            Voice::in_spurts(hz, -20.0, seed + hz as u64),
        );
    }
    let mut spoken_ticks = [0; 2];
    let (mut heard_ticks, mut holes, mut delay_ms_max) = ([0; 2], [0; 2], 0.0_f32);
    for tick in 0..50 * 3_600 {
        world.step();
        for talker in 0..2 {
            let voice = world.parties[talker].voice.clone();
            let frame = world.parties[1 - talker].hear_tick().expect("a frame each tick");
            spoken_ticks[talker] = if voice.is_speaking() {
                spoken_ticks[talker] + 1
            } else {
                0
            };
            // By then its beginning has been heard.
            if spoken_ticks[talker] > 10 {
                heard_ticks[talker] += 1;
                holes[talker] += u64::from(power_at(voice.hz, &frame, 8_000) < 0.25 * voice.power());
            }
            if tick % 50 == 0 {
                delay_ms_max = delay_ms_max.max(world.report(talker).delay_ms);
            }
        }
        world.events.clear();
    }
    for talker in 0..2 {
        let report = world.report(talker);
        println!(
            "{} of {} ticks are holes, concealed {} accelerated {} delay at most {delay_ms_max:.0} ms",
            holes[talker], heard_ticks[talker], report.samples_concealed, report.samples_accelerated
        );
        assert!(heard_ticks[talker] > 40_000, "seed {seed}");
        assert_eq!(
            holes[talker], 0,
            "seed {seed}: party {talker} is not heard for a while"
        );
        // What the slower clock leaves out, and no more.
        let owed = 3_600.0 * 8_000.0 * 200.0e-6;
        assert!(
            (report.samples_concealed as f64) < 1.5 * owed,
            "seed {seed}: {}",
            report.samples_concealed
        );
        assert_eq!(report.packets_lost, 0, "seed {seed}");
    }
    assert!(delay_ms_max < 60.0, "seed {seed}: {delay_ms_max} ms");
}
