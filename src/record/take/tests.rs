//! Frames in any order in, and out of the journal every tick once.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::record::disk::LocalDisk;
use crate::record::journal::{Reader, SyncGroup};
use crate::record::scratch::Scratch;
use crate::record::tap::{self, recorded};
use crate::record::test_disk::FailingDisk;

const SLOT: RecordingSlot = RecordingSlot(3);
const RATE: Rate = Rate::Hz8000;
const MAIN: TrackNumber = TrackNumber::MAIN;

/// A take whose journal lies in a directory of its own.
struct Stand {
    take: Take,
    orders: Arc<Mutex<Orders>>,
    scratch: Scratch,
}

impl Stand {
    fn new() -> Stand {
        Stand::with(u64::MAX)
    }

    fn with(samples_max: u64) -> Stand {
        let scratch = Scratch::new();
        let group = SyncGroup::new(Arc::new(LocalDisk));
        let journal = Journal::create(group, scratch.dir(), b"{}").expect("a writable directory");
        let orders = Arc::new(Mutex::new(Orders::default()));
        let take = Take::new(SLOT, "r".to_owned(), RATE, journal, orders.clone(), samples_max);
        Stand {
            take,
            orders,
            scratch,
        }
    }

    fn order(&self, order: impl FnOnce(&mut Orders)) {
        order(&mut self.orders.lock().unwrap());
    }

    fn name(&self, track: u32, call_id: &str) {
        let call_id = call_id.to_owned();
        self.order(|orders| orders.note(Note::Track { track, call_id }));
    }

    /// One round with these frames; true when it was the last.
    fn round(&mut self, frames: &[RecordedFrame]) -> bool {
        self.take.obey();
        frames.iter().for_each(|frame| self.take.hear(*frame));
        self.take.settle()
    }

    /// By track, what the journal holds: `s` sound, `q` quiet, `l` lost, `p` paused, and the tick of each. Panics where
    /// an entry does not go on where the last one of its track ended.
    fn journal(&self) -> BTreeMap<u32, String> {
        told(self.scratch.dir())
    }

    fn main(&self) -> String {
        self.journal().remove(&0).unwrap_or_default()
    }
}

fn told(folder: &Path) -> BTreeMap<u32, String> {
    let mut reader = Reader::open(Arc::new(LocalDisk), folder);
    let mut told: BTreeMap<u32, (u64, String)> = BTreeMap::new();
    while let Some(entry) = reader.next().expect("a readable directory") {
        let (track, tick, ticks, kind) = match entry {
            Entry::Sound { track, tick, samples } => {
                (track, tick, samples.len() / 2 / RATE.samples_per_tick(), 's')
            }
            Entry::Silence {
                track,
                tick,
                ticks,
                why,
            } => {
                let kind = match why {
                    Why::Quiet => 'q',
                    Why::Lost => 'l',
                    Why::Paused => 'p',
                };
                (track, tick, ticks as usize, kind)
            }
            _ => continue,
        };
        let (next, text) = told.entry(track.0).or_insert((tick.0, String::new()));
        assert_eq!(*next, tick.0, "track {}: each tick once and in order", track.0);
        for tick in tick.0..tick.0 + ticks as u64 {
            text.push_str(&format!("{kind}{tick} "));
        }
        *next = tick.0 + ticks as u64;
    }
    told.into_iter()
        .map(|(track, (_, text))| (track, text.trim_end().to_owned()))
        .collect()
}

fn sound(track: TrackNumber, tick: u64) -> RecordedFrame {
    recorded(&tap::sound(SLOT, track, Tick(tick), RATE, &[0.25; 160]))
}

fn paused(tick: u64) -> RecordedFrame {
    recorded(&tap::paused(SLOT, MAIN, Tick(tick), RATE))
}

fn main_track(ticks: std::ops::Range<u64>) -> Vec<RecordedFrame> {
    ticks.map(|tick| sound(MAIN, tick)).collect()
}

#[test]
fn ticks_come_one_after_the_other_and_a_hole_is_a_loss() {
    let mut stand = Stand::new();
    stand.round(&main_track(7..9));
    stand.round(&main_track(9..10));
    stand.round(&main_track(12..13));
    assert_eq!(stand.main(), "s7 s8 s9", "what lacks may still come");
    stand.round(&main_track(13..14));
    assert_eq!(stand.main(), "s7 s8 s9 l10 l11 s12 s13", "but not for ever");
    stand.round(&main_track(10..11));
    stand.order(|orders| orders.end(End::WithWhatCame));
    assert!(stand.round(&[]));
    assert_eq!(stand.main(), "s7 s8 s9 l10 l11 s12 s13", "too late is too late");
    assert_eq!(stand.take.late_frames, 1);
}

#[test]
fn frames_of_a_leg_that_moved_are_put_in_order_and_nothing_is_lost() {
    let mut stand = Stand::new();
    stand.round(&main_track(1..3));
    // The ring of the engine it went to was read first.
    stand.round(&[sound(MAIN, 5), sound(MAIN, 6)]);
    stand.round(&[sound(MAIN, 7), sound(MAIN, 3), sound(MAIN, 4)]);
    stand.round(&[]);
    assert_eq!(stand.main(), "s1 s2 s3 s4 s5 s6 s7");
}

#[test]
fn an_endless_hole_does_not_take_endless_memory() {
    let mut stand = Stand::new();
    stand.round(&main_track(0..1));
    stand.round(&main_track(2..2 + 2 * WAITING_MAX as u64));
    assert!(stand.take.waiting.len() + stand.take.waited.len() <= WAITING_MAX);
    stand.round(&[]);
    assert!(stand.main().starts_with("s0 l1 s2 s3"));
    assert!(stand.main().ends_with(&format!("s{}", 1 + 2 * WAITING_MAX)));
}

#[test]
fn what_is_quiet_and_what_is_paused_is_told_apart_from_loss() {
    let mut stand = Stand::new();
    stand.round(&[
        sound(MAIN, 1),
        recorded(&tap::quiet(SLOT, MAIN, Tick(2), RATE)),
        paused(3),
        paused(4),
        sound(MAIN, 5),
    ]);
    assert_eq!(stand.main(), "s1 q2 p3 p4 s5");
}

#[test]
fn a_leg_is_silent_where_it_was_away_or_nothing_was_recorded_and_lost_elsewhere() {
    let mut stand = Stand::new();
    stand.name(9, "a");
    stand.round(&main_track(1..3));
    stand.round(&[sound(MAIN, 3), sound(TrackNumber(9), 3)]);
    stand.round(&[paused(4), paused(5), sound(MAIN, 6), sound(TrackNumber(9), 6)]);
    stand.round(&[]);
    stand.round(&main_track(7..9));
    // It leaves with tick 7, comes back with 10, and a frame of it is lost after that.
    stand.order(|orders| {
        let (call_id, tick) = ("a".to_owned(), 7);
        orders.note(Note::Left { call_id, tick });
    });
    stand.round(&[sound(MAIN, 9), sound(TrackNumber(9), 7)]);
    stand.round(&[sound(MAIN, 10), sound(TrackNumber(9), 10)]);
    stand.round(&[]);
    stand.round(&[sound(MAIN, 11), sound(MAIN, 12), sound(TrackNumber(9), 12)]);
    stand.order(|orders| orders.end(End::After(Tick(12))));
    stand.round(&[]);
    assert!(stand.round(&[]));
    let journal = stand.journal();
    assert_eq!(journal[&9], "s3 q4 q5 s6 s7 q8 q9 s10 l11 s12");
    assert_eq!(journal[&0], "s1 s2 s3 p4 p5 s6 s7 s8 s9 s10 s11 s12");
}

#[test]
fn a_leg_is_never_ahead_of_the_mix() {
    let mut stand = Stand::new();
    stand.name(9, "a");
    let leg = TrackNumber(9);
    stand.round(&[sound(MAIN, 1), sound(leg, 1), sound(leg, 2)]);
    assert_eq!(stand.journal().get(&9).map(String::as_str), Some("s1"));
    stand.round(&[sound(MAIN, 2)]);
    stand.round(&[sound(MAIN, 3), sound(leg, 3), sound(leg, 4)]);
    stand.order(|orders| orders.end(End::After(Tick(3))));
    assert!(stand.round(&[]));
    assert_eq!(
        stand.journal()[&9],
        "s1 s2 s3",
        "of a tick that never came nothing is left"
    );
}

#[test]
fn frames_of_nobody_known_and_of_another_rate_are_left_out() {
    let mut stand = Stand::new();
    stand.round(&[
        sound(MAIN, 1),
        sound(TrackNumber(4), 1),
        recorded(&tap::sound(SLOT, MAIN, Tick(2), Rate::Hz16000, &[0.5; 320])),
    ]);
    assert_eq!(stand.journal().keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(stand.main(), "s1");
}

#[test]
fn the_end_waits_for_frames_on_their_way_and_not_for_ever() {
    let mut stand = Stand::new();
    stand.round(&main_track(1..3));
    stand.order(|orders| orders.end(End::After(Tick(5))));
    assert!(!stand.round(&main_track(3..4)));
    assert!(stand.round(&main_track(4..8)), "all is there");
    assert_eq!(stand.main(), "s1 s2 s3 s4 s5");

    let mut stand = Stand::new();
    stand.round(&main_track(1..3));
    stand.order(|orders| orders.end(End::After(Tick(5))));
    let rounds = (1..).find(|_| stand.round(&[])).unwrap();
    assert_eq!(rounds, GRACE_ROUNDS);
    assert_eq!(stand.main(), "s1 s2 l3 l4 l5");
}

#[test]
fn a_file_that_can_hold_no_more_ends_the_recording() {
    let mut stand = Stand::with(3 * 160);
    assert!(!stand.round(&main_track(1..4)));
    assert!(stand.round(&main_track(4..5)));
    assert!(stand.take.trouble().unwrap().contains("as long as"));
    assert_eq!(stand.main(), "s1 s2 s3");
}

#[test]
fn a_gap_of_more_than_an_hour_ends_the_recording() {
    let mut stand = Stand::new();
    stand.round(&main_track(1..2));
    stand.round(&main_track(200_000..200_001));
    assert!(stand.round(&[]));
    assert!(stand.take.trouble().unwrap().contains("more than an hour"));
    assert_eq!(stand.main(), "s1");
}

#[test]
fn a_full_disk_ends_the_recording_and_what_was_written_stays() {
    let scratch = Scratch::new();
    let disk = Arc::new(FailingDisk::new(Arc::new(LocalDisk)));
    let group = SyncGroup::new(disk.clone());
    let journal = Journal::create(group, scratch.dir(), b"{}").expect("a writable directory");
    let mut take = Take::new(SLOT, "r".to_owned(), RATE, journal, Arc::default(), u64::MAX);
    main_track(1..3).into_iter().for_each(|frame| take.hear(frame));
    assert!(!take.settle());
    disk.leave_room(100);
    main_track(3..5).into_iter().for_each(|frame| take.hear(frame));
    assert!(take.settle());
    assert!(take.is_disk_full());
    assert_eq!(take.trouble(), Some("the disk was full"));
    assert_eq!(told(scratch.dir())[&0], "s1 s2");
    // With room again the reason gets there too, behind what had waited.
    disk.leave_room(u64::MAX);
    take.write_ending();
    let mut reader = Reader::open(Arc::new(LocalDisk), scratch.dir());
    let mut ending = None;
    while let Some(entry) = reader.next().unwrap() {
        if let Entry::Ended(json) = entry {
            ending = Some(serde_json::from_slice::<Ending>(json).unwrap());
        }
    }
    assert_eq!(
        ending.expect("it was written").truncated_because.as_deref(),
        Some("the disk was full")
    );
}

#[test]
fn a_round_that_had_to_wait_for_half_a_minute_is_written_whole() {
    let mut stand = Stand::new();
    let frames = main_track(0..1_500);
    assert!(!stand.round(&frames));
    assert_eq!(stand.take.trouble(), None);
    let ticks: Vec<_> = (0..1_500).map(|tick| format!("s{tick}")).collect();
    assert_eq!(stand.journal()[&0], ticks.join(" "));
}
