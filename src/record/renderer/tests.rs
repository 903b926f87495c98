//! Many recordings at once, by way of the recorder and on real files.

use std::time::Duration;

use crate::frame::Rate;
use crate::id::{RecordingSlot, TrackNumber};
use crate::record::image::Format;
use crate::record::image::read::read;
use crate::record::scratch::Scratch;
use crate::record::tap;
use crate::record::{
    Anchor, BeginRecording, Destination, Recorder, RecordingState, Rules, TapSender, tap_ring,
};
use crate::time::Tick;

const RATE: Rate = Rate::Hz16000;
const TICKS: u64 = 150;
const PATIENCE: Duration = Duration::from_secs(60);

/// A tone that only this recording, or this track of it, has.
fn tone(which: usize, tick: u64) -> Vec<f32> {
    let samples = RATE.samples_per_tick();
    let radians = (which as f32 * 37.0 + 300.0) * std::f32::consts::TAU / RATE.hz() as f32;
    (0..samples)
        .map(|n| 0.3 * (radians * (tick as usize * samples + n) as f32).sin())
        .collect()
}

/// As it stands in a file that keeps every sample.
fn exactly(which: usize) -> Vec<i16> {
    (0..TICKS)
        .flat_map(|tick| tone(which, tick))
        .map(|sample| (sample * 32_768.0).round_ties_even() as i16)
        .collect()
}

fn begin(recorder: &Recorder, id: &str, format: &str) -> RecordingSlot {
    let url = format!("file://{id}.{format}");
    let begun = recorder.begin(BeginRecording {
        recording_id: id.to_owned(),
        conference_id: id.to_owned(),
        call_id: None,
        destination: Destination::parse(Some(&url), None, Some(format), &Rules::default())
            .expect("a good place"),
        application: "test".to_owned(),
        rate: RATE,
        legs: true,
        notifies: true,
        now: Anchor {
            tick: Tick(0),
            at: "2026-01-02T03:04:05Z".parse().expect("a time"),
        },
    });
    begun.expect("there is room").slot
}

fn push(sender: &mut TapSender, slot: RecordingSlot, track: u32, tick: u64, sound: &[f32]) {
    let tapped = tap::sound(slot, TrackNumber(track), Tick(tick), RATE, sound);
    while sender.push(&tapped).is_err() {
        std::thread::yield_now();
    }
}

/// 1 for the same, 0 for another tone.
fn likeness(one: &[i16], other: &[i16]) -> f64 {
    if one == other {
        return 1.0;
    }
    let product = |one: &[i16], other: &[i16]| -> f64 {
        let pairs = one.iter().zip(other);
        pairs
            .map(|(one, other)| f64::from(*one) * f64::from(*other))
            .sum()
    };
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}

#[test]
fn recordings_rendered_side_by_side_are_each_as_if_they_were_alone() {
    let scratch = Scratch::new();
    let (mut sender, receiver) = tap_ring(1 << 20);
    let recorder = Recorder::start(scratch.dir(), vec![receiver], None, Box::new(|_| {})).expect("it starts");
    let formats = ["wav", "flac", "ogg"];
    let recordings: Vec<_> = (0..36)
        .map(|n| (format!("r{n}"), formats[n % formats.len()]))
        .collect();
    let slots: Vec<_> = recordings
        .iter()
        .map(|(id, format)| begin(&recorder, id, format))
        .collect();
    for (n, slot) in slots.iter().enumerate() {
        recorder
            .track(*slot, TrackNumber(n as u32 + 1), "leg")
            .expect("it runs");
    }
    for tick in 0..TICKS {
        for (n, slot) in slots.iter().enumerate() {
            push(&mut sender, *slot, 0, tick, &tone(2 * n, tick));
            push(&mut sender, *slot, n as u32 + 1, tick, &tone(2 * n + 1, tick));
        }
        // So that there are many passes, of all at once.
        std::thread::sleep(Duration::from_millis(8));
    }
    for slot in &slots {
        recorder.finish(*slot, Some(Tick(TICKS - 1))).expect("it runs");
    }
    assert!(recorder.wait_until_all_settled(PATIENCE));
    for (n, (id, format)) in recordings.iter().enumerate() {
        let status = recorder.status(id).expect("it is known");
        assert_eq!(status.state, RecordingState::Available, "{status}");
        let receipt = status.receipt.expect("it is available");
        assert_eq!((receipt.gap_samples, receipt.truncated), (0, false), "{id}");
        let track = receipt.tracks.first().expect("it has its leg's track");
        for (key, which) in [(&receipt.key, 2 * n), (&track.key, 2 * n + 1)] {
            let path = scratch.path(key);
            let expected = exactly(which);
            let format = format.parse::<Format>().expect("one of ours");
            let (_, heard) = read(&path, format);
            assert_eq!(heard.len(), expected.len(), "{key}");
            let likeness = likeness(&heard, &expected);
            let likeness_min = if format == Format::Ogg { 0.9 } else { 1.0 };
            assert!(likeness >= likeness_min, "{key} holds another sound: {likeness}");
        }
    }
}
