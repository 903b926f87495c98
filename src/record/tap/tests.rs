//! Frames through the ring, and rings that are full.

use super::*;

const SLOT: RecordingSlot = RecordingSlot(7);

fn tapped<'a>(
    recording: RecordingSlot,
    track: TrackNumber,
    tick: Tick,
    rate: Rate,
    content: outbox::Content<'a>,
) -> Tapped<'a> {
    Tapped {
        recording,
        track,
        tick,
        rate,
        content,
    }
}

pub fn sound(slot: RecordingSlot, track: TrackNumber, tick: Tick, rate: Rate, signal: &[f32]) -> Tapped<'_> {
    tapped(slot, track, tick, rate, outbox::Content::Sound(signal))
}

pub fn quiet(slot: RecordingSlot, track: TrackNumber, tick: Tick, rate: Rate) -> Tapped<'static> {
    tapped(slot, track, tick, rate, outbox::Content::Quiet)
}

pub fn paused(slot: RecordingSlot, track: TrackNumber, tick: Tick, rate: Rate) -> Tapped<'static> {
    tapped(slot, track, tick, rate, outbox::Content::Paused)
}

/// As it comes out of a ring.
pub fn recorded(tapped: &Tapped) -> RecordedFrame {
    let (mut sender, mut receiver) = tap_ring(2 * BYTES_MAX);
    sender.push(tapped).expect("it is empty");
    receiver.pop().expect("one was pushed")
}

/// Pushes a tick of one value, on track 3.
fn push(sender: &mut TapSender, tick: u64, rate: Rate, value: f32) -> Result<(), Full> {
    let signal = [value; FRAME_SAMPLES_MAX];
    sender.push(&sound(SLOT, TrackNumber(3), Tick(tick), rate, &signal))
}

fn samples(frame: &RecordedFrame) -> &[i16] {
    match frame.content() {
        Content::Sound(samples) => samples,
        content => panic!("{content:?} is no sound"),
    }
}

#[test]
fn full_scale_clips_and_not_a_number_is_silence() {
    let mix = [
        1.0,
        -1.0,
        2.0,
        -2.0,
        f32::NAN,
        f32::INFINITY,
        0.5,
        -0.25,
        1.0 / 32_768.0,
    ];
    let frame = recorded(&sound(SLOT, TrackNumber::MAIN, Tick(0), Rate::Hz8000, &mix));
    assert_eq!(
        samples(&frame)[..9],
        [32_767, -32_768, 32_767, -32_768, 0, 32_767, 16_384, -8_192, 1]
    );
}

#[test]
fn samples_are_rounded_to_the_nearest_and_ties_to_even() {
    for whole in -32_768..=32_767 {
        for part in [-0.5, -0.25, 0.0, 0.25, 0.499, 0.5] {
            let scaled = whole as f32 + part;
            assert_eq!(
                to_i16(scaled / 32_768.0),
                scaled.round_ties_even() as i16,
                "{scaled}"
            );
        }
    }
}

#[test]
fn a_frame_is_one_tick_long_whatever_it_is_made_from() {
    let frame = |signal: &[f32]| {
        let (rate, other) = (Rate::Hz16000, [0.9; FRAME_SAMPLES_MAX]);
        let (mut sender, mut receiver) = tap_ring(10_000);
        // Nothing is left of the one before.
        for signal in [&other, signal] {
            sender
                .push(&sound(SLOT, TrackNumber::MAIN, Tick(0), rate, signal))
                .expect("there is room");
        }
        receiver
            .pop()
            .and_then(|_| receiver.pop())
            .expect("two were pushed")
    };
    assert_eq!(samples(&frame(&[0.5; 10])).len(), 320);
    assert_eq!(samples(&frame(&[0.5; 10]))[9..11], [16_384, 0]);
    assert_eq!(samples(&frame(&[0.5; 2_000])).len(), 320);
}

#[test]
fn every_frame_comes_out_as_it_went_in_also_round_the_end_of_the_ring() {
    let (mut sender, mut receiver) = tap_ring(5_000);
    let mut chance = fastrand::Rng::with_seed(1);
    for number in 0..2_000 {
        let slot = RecordingSlot(chance.u32(..));
        let (track, tick) = (TrackNumber(chance.u32(..)), Tick(chance.u64(..)));
        let rate = Rate::ALL[chance.usize(..3)];
        let signal: Vec<f32> = (0..rate.samples_per_tick()).map(|_| chance.f32() - 0.5).collect();
        let pcm: Vec<i16> = signal.iter().map(|value| to_i16(*value)).collect();
        let (pushed, content) = match number % 3 {
            0 => (sound(slot, track, tick, rate, &signal), Content::Sound(&pcm)),
            1 => (quiet(slot, track, tick, rate), Content::Quiet),
            _ => (paused(slot, track, tick, rate), Content::Paused),
        };
        sender.push(&pushed).expect("it is empty");
        let popped = receiver.pop().expect("one was pushed");
        assert_eq!(
            (popped.slot, popped.track, popped.tick, popped.rate()),
            (slot, track, tick, rate)
        );
        assert_eq!(popped.content(), content);
        assert!(receiver.pop().is_none());
    }
}

#[test]
fn silence_and_pauses_take_24_bytes_and_sound_as_much_as_its_samples_besides() {
    let (mut sender, receiver) = tap_ring(5_000);
    let mut before = 0;
    let mut taken = |receiver: &TapReceiver| {
        let taken = receiver.bytes() - before;
        before = receiver.bytes();
        taken
    };
    for (rate, value, bytes) in [
        (Rate::Hz48000, 0.0, 24),
        (Rate::Hz48000, 0.4 / 32_768.0, 24),
        (Rate::Hz8000, 0.1, 24 + 320),
        (Rate::Hz48000, 0.1, 24 + 1_920),
    ] {
        push(&mut sender, 0, rate, value).expect("there is room");
        assert_eq!(taken(&receiver), bytes);
    }
    for silent in [quiet, paused] {
        let tapped = silent(SLOT, TrackNumber(3), Tick(0), Rate::Hz48000);
        sender.push(&tapped).expect("there is room");
        assert_eq!(taken(&receiver), 24);
    }
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_what_comes_later_is_in_its_place() {
    // Two frames and 62 bytes in each.
    let (mut sender, mut receiver) = tap_ring(1_500);
    for tick in 0..4 {
        assert_eq!(push(&mut sender, tick, Rate::Hz8000, 0.1), Ok(()));
    }
    // Too few bytes are left for sound, and enough for silence.
    assert_eq!(push(&mut sender, 4, Rate::Hz8000, 0.1), Err(Full));
    assert_eq!(push(&mut sender, 5, Rate::Hz8000, 0.0), Ok(()));
    let mut pop = || receiver.pop().map(|frame| frame.tick.0);
    assert_eq!([pop(), pop(), pop()], [Some(0), Some(1), Some(2)]);
    assert_eq!(push(&mut sender, 6, Rate::Hz8000, 0.1), Ok(()));
    assert_eq!(std::iter::from_fn(pop).collect::<Vec<_>>(), [3, 5, 6]);
}

#[test]
fn a_reader_who_was_late_finds_everything_in_order_and_one_in_time_needs_no_more_than_the_short_ring() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut sender, mut receiver) = tap_ring(20_000);
    let (mut pushed, mut popped, mut was_behind) = (0, 0, false);
    for _ in 0..5_000 {
        for _ in 0..chance.u64(..40) {
            match push(&mut sender, pushed, Rate::Hz8000, 0.1) {
                Ok(()) => pushed += 1,
                Err(Full) => break,
            }
        }
        was_behind |= !receiver.long.is_empty();
        for _ in 0..chance.u64(..50) {
            let Some(frame) = receiver.pop() else { break };
            assert_eq!(frame.tick.0, popped);
            popped += 1;
        }
    }
    assert!(was_behind);
    while receiver.pop().is_some() {}
    for tick in 0..1_000 {
        push(&mut sender, tick, Rate::Hz8000, 0.1).expect("there is room");
        assert!(receiver.long.is_empty());
        receiver.pop().expect("one was pushed");
    }
}

#[test]
fn five_hundred_rooms_at_16_khz_get_through_a_second_without_a_reader() {
    let (mut sender, receiver) = tap_ring(TAP_RING_BYTES);
    for tick in 0..50 {
        for _ in 0..500 {
            assert_eq!(push(&mut sender, tick, Rate::Hz16000, 0.1), Ok(()));
        }
    }
    assert!(receiver.bytes() <= receiver.capacity());
}

#[test]
fn frames_cross_from_one_thread_to_another_in_order() {
    let (mut sender, mut receiver) = tap_ring(20_000);
    let pusher = std::thread::spawn(move || {
        let mut lost = 0;
        for tick in 0..20_000 {
            let value = (tick % 100 + 1) as f32 / 32_768.0;
            lost += u64::from(push(&mut sender, tick, Rate::Hz8000, value).is_err());
        }
        lost
    });
    let (mut popped, mut next) = (0, 0);
    loop {
        let is_last = receiver.is_abandoned();
        while let Some(frame) = receiver.pop() {
            assert!(frame.tick.0 >= next);
            next = frame.tick.0 + 1;
            assert_eq!(samples(&frame), [(frame.tick.0 % 100 + 1) as i16; 160]);
            popped += 1;
        }
        if is_last {
            break;
        }
    }
    assert_eq!(popped + pusher.join().expect("it does not fail"), 20_000);
}

#[test]
fn what_was_popped_of_a_ring_was_touched() {
    let (mut sender, mut receiver) = tap_ring(TAP_RING_BYTES);
    let passed = receiver.passed();
    let whole = TAP_RING_BYTES as u64;
    assert_eq!(passed.untouched_bytes(), whole);
    let signal = [0.5; 960];
    let frame = sound(
        RecordingSlot(7),
        TrackNumber::MAIN,
        Tick(1),
        Rate::Hz48000,
        &signal,
    );
    let bytes = (HEADER_BYTES + 2 * signal.len()) as u64;
    sender.push(&frame).unwrap();
    receiver.pop().unwrap();
    assert_eq!(passed.untouched_bytes(), whole - bytes);
    // By a reader in time the short ring alone is used, however long that goes on.
    for _ in 0..=whole / bytes {
        sender.push(&frame).unwrap();
        receiver.pop().unwrap();
    }
    assert_eq!(passed.untouched_bytes(), whole - SHORT_RING_BYTES_MAX as u64);
    while sender.push(&frame).is_ok() {}
    while receiver.pop().is_some() {}
    assert!(passed.untouched_bytes() < bytes, "{passed:?}");
}
