//! Rounds of the writer, one at a time: what is pushed, ordered, and then in the file and in the receipt.

use super::*;
use crate::record::TrackNumber;
use crate::record::scratch::Scratch;
use std::fs;

/// A recording at 8 kHz driven round by round; frame `n` of the room holds the samples `n * 160..`.
struct Desk {
    scratch: Scratch,
    take: Take,
    orders: Arc<Mutex<Orders>>,
}

impl Desk {
    fn new() -> Desk {
        let scratch = Scratch::new();
        let paths = Paths::new(scratch.dir(), "a", ".wav");
        let file = fs::File::create_new(&paths.sound).expect("a fresh directory");
        let wav = WavFile::create(file, 8_000).expect("a writable disk");
        let beginning = Beginning {
            slot: RecordingSlot(7),
            recording_id: "r-1".to_owned(),
            conference_id: "room".to_owned(),
            key: "a.wav".to_owned(),
            requested_key: None,
            paths,
            rate: Rate::Hz8000,
            anchor: Anchor {
                tick: Tick(90),
                at: "2026-01-02T03:04:05Z".parse().expect("a valid time"),
            },
        };
        let orders = Arc::new(Mutex::new(Orders::new(wav.bytes())));
        Desk {
            scratch,
            take: Take::new(beginning, wav, orders.clone()),
            orders,
        }
    }

    /// One round of the writer in which the frames of these ticks are in the queue.
    fn round(&mut self, ticks: impl IntoIterator<Item = u64>) -> bool {
        self.take.obey();
        ticks
            .into_iter()
            .for_each(|tick| self.take.write(&frame(tick, Rate::Hz8000)));
        self.take.settle()
    }

    fn order(&self, order: impl FnOnce(&mut Orders)) {
        order(&mut self.orders.lock().unwrap());
    }

    fn sound(&self) -> Vec<i16> {
        let bytes = fs::read(self.scratch.path("a.wav")).unwrap();
        bytes[44..]
            .chunks(2)
            .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
            .collect()
    }

    /// What each tick in the file is: the number of the room's tick, or `None` for silence.
    fn ticks(&self) -> Vec<Option<u64>> {
        let tick = |samples: &[i16]| {
            assert_eq!(samples.len(), 160, "whole ticks only");
            let number = (samples[0] != 0).then(|| samples[0] as u64 / 160);
            match number {
                Some(number) => assert_eq!(samples, &expected(number)[..]),
                None => assert!(samples.iter().all(|&sample| sample == 0)),
            }
            number
        };
        self.sound().chunks(160).map(tick).collect()
    }
}

fn expected(tick: u64) -> Vec<i16> {
    (0..160).map(|n| (tick % 200) as i16 * 160 + n).collect()
}

fn frame(tick: u64, rate: Rate) -> RecordedFrame {
    let mix: Vec<_> = expected(tick)
        .iter()
        .map(|&sample| f32::from(sample) / 32_768.0)
        .collect();
    RecordedFrame::sound(RecordingSlot(7), TrackNumber::MAIN, Tick(tick), rate, &mix)
}

fn stretch(from_tick: u64, ticks: u64) -> Stretch {
    Stretch {
        from_sample: from_tick * 160,
        samples: ticks * 160,
    }
}

#[test]
fn every_sample_of_the_room_is_in_the_file_once() {
    let mut desk = Desk::new();
    assert!(!desk.round(100..103));
    assert!(!desk.round([]));
    assert!(!desk.round(103..105));
    desk.order(|orders| orders.end(End::After(Tick(105))));
    assert!(desk.round([105]));
    assert_eq!(desk.sound(), (100..106).flat_map(expected).collect::<Vec<_>>());
    let receipt = desk.take.receipt();
    assert_eq!(
        (receipt.samples, receipt.gap_samples, receipt.truncated),
        (6 * 160, 0, false)
    );
    assert_eq!(
        receipt.start, "2026-01-02T03:04:05.200Z",
        "ten ticks after the anchor"
    );
}

#[test]
fn what_never_came_is_silence_of_the_same_length_and_listed() {
    let mut desk = Desk::new();
    desk.round([100, 101, 104]);
    desk.round([106, 105, 107]);
    assert_eq!(
        desk.ticks(),
        [
            Some(100),
            Some(101),
            None,
            None,
            Some(104),
            None,
            Some(106),
            Some(107)
        ],
        "a frame after its time is left out"
    );
    let receipt = desk.take.receipt();
    assert_eq!(receipt.gaps, [stretch(2, 2), stretch(5, 1)]);
    assert_eq!(receipt.gap_samples, 3 * 160);
}

#[test]
fn a_frame_that_comes_twice_or_at_another_rate_changes_nothing() {
    let mut desk = Desk::new();
    desk.round([100, 100, 101]);
    desk.take.write(&frame(102, Rate::Hz16000));
    desk.round([103]);
    assert_eq!(desk.ticks(), [Some(100), Some(101), None, Some(103)]);
    assert_eq!(desk.take.receipt().gaps, [stretch(2, 1)]);
}

#[test]
fn a_pause_is_silence_and_the_time_goes_on() {
    let mut desk = Desk::new();
    desk.round(100..102);
    desk.order(|orders| orders.pause(Tick(103)).unwrap());
    desk.round(102..106);
    desk.order(|orders| orders.resume(Tick(107)));
    desk.round(106..109);
    assert_eq!(
        desk.ticks(),
        [
            Some(100),
            Some(101),
            Some(102),
            None,
            None,
            None,
            None,
            Some(107),
            Some(108)
        ]
    );
    let receipt = desk.take.receipt();
    assert_eq!(receipt.pauses, [stretch(3, 4)]);
    assert_eq!(receipt.gaps, []);
}

#[test]
fn a_pause_ordered_late_takes_back_what_is_in_the_file() {
    let mut desk = Desk::new();
    desk.round(100..110);
    assert_eq!(desk.ticks()[7], Some(107));
    desk.order(|orders| {
        orders.pause(Tick(105)).unwrap();
        orders.resume(Tick(108));
    });
    desk.round([110]);
    let silent: Vec<_> = (100..111)
        .map(|tick| (!(105..108).contains(&tick)).then_some(tick))
        .collect();
    assert_eq!(desk.ticks(), silent);
    assert_eq!(desk.take.receipt().pauses, [stretch(5, 3)]);
}

#[test]
fn a_pause_from_before_the_beginning_silences_from_the_beginning() {
    let mut desk = Desk::new();
    desk.order(|orders| orders.pause(Tick(50)).unwrap());
    desk.round(100..102);
    desk.order(|orders| orders.resume(Tick(102)));
    desk.round(102..104);
    assert_eq!(desk.ticks(), [None, None, Some(102), Some(103)]);
    assert_eq!(desk.take.receipt().pauses, [stretch(0, 2)]);
}

#[test]
fn a_late_resume_is_told_as_it_was_done() {
    let mut desk = Desk::new();
    desk.order(|orders| orders.pause(Tick(101)).unwrap());
    desk.round(100..105);
    desk.order(|orders| orders.resume(Tick(102)));
    desk.round(105..107);
    assert_eq!(
        desk.ticks(),
        [Some(100), None, None, None, None, Some(105), Some(106)]
    );
    assert_eq!(desk.take.receipt().pauses, [stretch(1, 4)]);
}

#[test]
fn frames_that_lack_during_a_pause_are_no_gap() {
    let mut desk = Desk::new();
    desk.order(|orders| orders.pause(Tick(101)).unwrap());
    desk.round([100]);
    desk.order(|orders| orders.resume(Tick(104)));
    desk.round([106]);
    assert_eq!(desk.ticks(), [Some(100), None, None, None, None, None, Some(106)]);
    let receipt = desk.take.receipt();
    assert_eq!(receipt.pauses, [stretch(1, 3)]);
    assert_eq!(receipt.gaps, [stretch(4, 2)]);
}

#[test]
fn the_end_takes_back_what_was_written_beyond_it() {
    let mut desk = Desk::new();
    desk.round(100..110);
    desk.order(|orders| orders.end(End::After(Tick(104))));
    assert!(desk.round(110..112));
    assert_eq!(desk.ticks(), (100..105).map(Some).collect::<Vec<_>>());
    assert_eq!(desk.take.receipt().samples, 5 * 160);
}

#[test]
fn what_comes_long_after_the_end_is_none_of_its_business() {
    let mut desk = Desk::new();
    desk.round(100..103);
    desk.order(|orders| orders.end(End::After(Tick(104))));
    assert!(!desk.round([105 + 2 * GAP_TICKS_MAX]));
    assert!(desk.round([103, 104]));
    assert_eq!(desk.ticks(), (100..105).map(Some).collect::<Vec<_>>());
    assert!(!desk.take.receipt().truncated);
}

#[test]
fn the_end_waits_for_the_last_frames_and_then_fills_up() {
    let mut desk = Desk::new();
    desk.round(100..102);
    desk.order(|orders| orders.end(End::After(Tick(104))));
    assert!(!desk.round([102]));
    assert!(!desk.round([]));
    assert!(!desk.round([]));
    assert!(desk.round([]));
    assert_eq!(desk.ticks(), [Some(100), Some(101), Some(102), None, None]);
    assert_eq!(desk.take.receipt().gaps, [stretch(3, 2)]);
    assert!(!desk.take.receipt().truncated);
}

#[test]
fn a_recording_without_a_single_frame_ends_empty() {
    for end in [End::After(Tick(500)), End::WithWhatCame] {
        let mut desk = Desk::new();
        desk.order(|orders| orders.end(end));
        assert!((0..5).any(|_| desk.round([])));
        assert!(desk.sound().is_empty());
        assert_eq!(desk.take.receipt().samples, 0);
        assert_eq!(desk.take.receipt().start, "2026-01-02T03:04:05.000Z");
    }
}

#[test]
fn an_end_before_the_beginning_leaves_nothing() {
    let mut desk = Desk::new();
    desk.round(100..103);
    desk.order(|orders| orders.end(End::After(Tick(50))));
    assert!(desk.round([]));
    assert!(desk.sound().is_empty());
}

#[test]
fn the_header_follows_the_sound_within_ten_rounds() {
    let mut desk = Desk::new();
    let mut tick = 100;
    for _ in 0..30 {
        desk.round(tick..tick + 3);
        tick += 3;
        let bytes = fs::read(desk.scratch.path("a.wav")).unwrap();
        let header = bytes[..44].try_into().expect("44 bytes");
        let (rate_hz, data_bytes) =
            crate::record::wav::parse_header(header).expect("a valid header at any moment");
        assert_eq!(rate_hz, 8_000);
        let written = bytes.len() as u64 - 44;
        assert!(data_bytes <= written, "it promises no more than there is");
        assert!(
            written - data_bytes <= 9 * 3 * 320,
            "and lags by less than ten rounds"
        );
        assert_eq!(desk.orders.lock().unwrap().bytes, bytes.len() as u64);
    }
}

#[test]
fn a_gap_of_an_hour_is_filled_and_a_longer_one_ends_the_recording() {
    let mut desk = Desk::new();
    desk.round([100]);
    assert!(!desk.round([101 + GAP_TICKS_MAX]));
    assert_eq!(desk.take.wav.samples(), (GAP_TICKS_MAX + 2) * 160);
    assert!(desk.round([102 + 2 * GAP_TICKS_MAX + 1]));
    let receipt = desk.take.receipt();
    assert!(receipt.truncated);
    assert!(
        receipt
            .truncated_because
            .is_some_and(|why| why.contains("more than an hour"))
    );
    assert_eq!(receipt.samples, (GAP_TICKS_MAX + 2) * 160);
}

#[test]
fn a_full_file_ends_the_recording_with_what_it_holds() {
    let mut desk = Desk::new();
    desk.take.data_bytes_max = 3 * 320 + 100;
    assert!(!desk.round(100..103));
    assert!(desk.round(103..105));
    assert_eq!(desk.ticks(), [Some(100), Some(101), Some(102)]);
    let receipt = desk.take.receipt();
    assert!(receipt.truncated);
    assert!(receipt.truncated_because.is_some_and(|why| why.contains("4 GiB")));
}
