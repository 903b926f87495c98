//! The recorder on real files: what it leaves, and what the next one makes of what a crash has left.

use super::*;
use crate::record::disk::LocalDisk;
use crate::record::image::read::read;
use crate::record::receipt::Receipt;
use crate::record::scratch::Scratch;
use crate::record::spool::{Spool, SpoolEntry, list_spool};
use crate::record::tap::{TapSender, paused, sound, tap_ring};
use crate::record::{Place, Rules};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::os::unix::fs::DirEntryExt;
use std::path::PathBuf;

mod spooled;

const PATIENCE: Duration = Duration::from_secs(20);
const RATE: Rate = Rate::Hz16000;

/// A recorder on a directory of its own, and what it told.
struct Studio {
    recorder: Recorder,
    ring: TapSender,
    told: mpsc::Receiver<(String, RecordingState)>,
    dir: PathBuf,
    _scratch: Option<Scratch>,
}

impl Studio {
    fn new() -> Studio {
        let scratch = Scratch::new();
        let studio = Studio::in_dir(scratch.path("recordings")).expect("a writable directory");
        Studio {
            _scratch: Some(scratch),
            ..studio
        }
    }

    fn in_dir(dir: PathBuf) -> io::Result<Studio> {
        let (ring, taken) = tap_ring(4 << 20);
        let (tell, told) = mpsc::channel();
        let tell = Box::new(move |status: &RecordingStatus| {
            if !status.was_told {
                let _ = tell.send((status.recording_id.clone(), status.state));
            }
        });
        let recorder = Recorder::start(&dir, vec![taken], None, tell)?;
        Ok(Studio {
            recorder,
            ring,
            told,
            dir,
            _scratch: None,
        })
    }

    fn begin(&self, recording_id: &str, url: &str) -> Result<Begun, RecordError> {
        self.recorder.begin(request(recording_id, url, "wav"))
    }

    /// Pushes one frame a tick, each sample of it the tick's number and the track's.
    fn push(&mut self, slot: RecordingSlot, track: u32, ticks: std::ops::Range<u64>) {
        for tick in ticks {
            let level = f32::from(level(track, tick)) / 32_768.0;
            let signal = [level; 320];
            let tapped = sound(slot, TrackNumber(track), Tick(tick), RATE, &signal);
            self.ring.push(&tapped).expect("the writer keeps up");
        }
    }

    fn settled(&self, recording_id: &str) -> RecordingStatus {
        let status = self
            .recorder
            .wait_until_settled(recording_id, PATIENCE)
            .expect("it was begun");
        assert!(status.state.is_settled(), "{status:?}");
        status
    }

    fn finished(&self, begun: &Begun, last: u64) -> Receipt {
        self.recorder
            .finish(begun.slot, Some(Tick(last)))
            .expect("it runs");
        let status = self.settled(&begun.status.recording_id);
        assert_eq!(status.state, RecordingState::Available, "{status:?}");
        status.receipt.expect("it is available")
    }

    fn states_told_of(&self, recording_id: &str) -> Vec<RecordingState> {
        self.told
            .try_iter()
            .filter(|(id, _)| id == recording_id)
            .map(|(_, state)| state)
            .collect()
    }

    /// One sample of each tick of a WAV file, all of which are alike.
    fn ticks(&self, key: &str) -> Vec<i16> {
        let (rate, samples) = read(&self.dir.join(key), Format::Wav);
        assert_eq!(rate, RATE);
        let ticks = samples.chunks(320);
        ticks
            .map(|tick| {
                assert!(tick.len() == 320 && tick.iter().all(|sample| *sample == tick[0]));
                tick[0]
            })
            .collect()
    }

    /// Waits until the growing file has as many ticks.
    fn grown(&self, key: &str, ticks: u64) {
        let deadline = Instant::now() + PATIENCE;
        while fs::metadata(self.dir.join(key)).map_or(0, |file| file.len()) < 44 + ticks * 640 {
            assert!(Instant::now() < deadline, "{key} does not grow");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.dir).expect("the directory is there");
        let mut names: Vec<_> = names
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn level(track: u32, tick: u64) -> i16 {
    (track * 1_000) as i16 + tick as i16
}

fn levels(track: u32, ticks: std::ops::Range<u64>) -> Vec<i16> {
    ticks.map(|tick| level(track, tick)).collect()
}

fn request(recording_id: &str, url: &str, format: &str) -> BeginRecording {
    BeginRecording {
        recording_id: recording_id.to_owned(),
        conference_id: "room 1".to_owned(),
        call_id: None,
        destination: Destination::parse(Some(url), None, Some(format), &Rules::default())
            .expect("a good name"),
        application: "app".to_owned(),
        rate: RATE,
        legs: true,
        notifies: true,
        now: Anchor {
            tick: Tick(0),
            at: "2026-01-02T03:04:05Z".parse().expect("a valid time"),
        },
    }
}

/// The directory as a crash would leave it now: a file with two names has two again.
fn copied(from: &Path, to: &Path) {
    copy(from, to, &mut HashMap::new());
}

fn copy(from: &Path, to: &Path, copies: &mut HashMap<u64, PathBuf>) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let to = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &to, copies);
        } else if let Some(copy) = copies.get(&item.ino()) {
            let _ = fs::remove_file(&to);
            fs::hard_link(copy, to).unwrap();
        } else {
            fs::copy(item.path(), &to).unwrap();
            copies.insert(item.ino(), to);
        }
    }
}

#[test]
fn a_recording_is_a_file_and_a_receipt_and_nothing_else_stays() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://calls/talk").expect("room for it");
    assert_eq!(begun.status.destination, "file://calls/talk.wav");
    studio
        .recorder
        .joined(begun.slot, "a", Some("+46"), Tick(50))
        .unwrap();
    studio.push(begun.slot, 0, 100..150);
    studio.recorder.muted(begun.slot, "a", Tick(120)).unwrap();
    let receipt = studio.finished(&begun, 149);

    assert_eq!(studio.ticks("calls/talk.wav"), levels(0, 100..150));
    let bytes = fs::read(studio.dir.join("calls/talk.wav")).unwrap();
    assert_eq!(receipt.bytes, bytes.len() as u64);
    assert_eq!(receipt.sha256, format!("{:x}", Sha256::digest(&bytes)));
    assert_eq!(
        (receipt.samples, receipt.rate, &receipt.format[..]),
        (16_000, 16_000, "wav")
    );
    assert_eq!(receipt.start, "2026-01-02T03:04:07.000Z");
    assert!(!receipt.truncated && receipt.gaps.is_empty());
    assert_eq!(receipt.attendance[0].cli.as_deref(), Some("+46"));
    assert_eq!(receipt.attendance[0].muted[0].from, "2026-01-02T03:04:07.400Z");
    let beside: Receipt =
        serde_json::from_slice(&fs::read(studio.dir.join("calls/talk.json")).unwrap()).unwrap();
    assert_eq!(beside, receipt);
    use RecordingState::*;
    assert_eq!(studio.states_told_of("id-1"), [Finishing, Available]);
    assert_eq!(studio.names(), [".spool", "calls"]);
    assert!(!studio.dir.join(".spool/id-1").exists(), "the journal is gone");
}

#[test]
fn gaps_and_pauses_keep_the_time_and_stand_in_the_receipt() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0, 0..10);
    for tick in 10..20 {
        let paused = paused(begun.slot, TrackNumber::MAIN, Tick(tick), RATE);
        studio.ring.push(&paused).unwrap();
    }
    studio.push(begun.slot, 0, 20..30);
    studio.push(begun.slot, 0, 35..40);
    let receipt = studio.finished(&begun, 44);
    let silence = |ticks| vec![0; ticks];
    let expected = [
        levels(0, 0..10),
        silence(10),
        levels(0, 20..30),
        silence(5),
        levels(0, 35..40),
        silence(5),
    ];
    assert_eq!(studio.ticks("talk.wav"), expected.concat());
    let stretches = |stretches: &[crate::record::Stretch]| {
        let ticks = stretches
            .iter()
            .map(|stretch| (stretch.from_sample / 320, stretch.samples / 320));
        ticks.collect::<Vec<_>>()
    };
    assert_eq!(stretches(&receipt.pauses), [(10, 10)]);
    assert_eq!(stretches(&receipt.gaps), [(30, 5), (40, 5)]);
    assert_eq!(receipt.gap_samples, 3_200);
}

#[test]
fn tracks_lie_beside_the_mix_each_as_long_as_it() {
    let mut studio = Studio::new();
    // What two calls would both be called, and a file of somebody else that is there already.
    fs::write(studio.dir.join("talk.b.wav"), "of another").unwrap();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    for (track, call) in [(1, "a:1"), (2, "a+1"), (3, "b")] {
        studio
            .recorder
            .track(begun.slot, TrackNumber(track), call)
            .unwrap();
    }
    studio.push(begun.slot, 0, 5..20);
    studio.push(begun.slot, 1, 5..20);
    studio.push(begun.slot, 2, 15..18);
    studio.push(begun.slot, 3, 8..10);
    let receipt = studio.finished(&begun, 19);
    let tracks: Vec<_> = receipt
        .tracks
        .iter()
        .map(|track| (&track.call_id[..], &track.key[..], track.samples))
        .collect();
    assert_eq!(
        tracks,
        [
            ("a:1", "talk.a_1.wav", 4_800),
            ("a+1", "talk.a_1-2.wav", 4_800),
            ("b", "talk.b-2.wav", 4_800)
        ]
    );
    assert_eq!(studio.ticks("talk.a_1.wav"), levels(1, 5..20));
    let late = [vec![0; 10], levels(2, 15..18), vec![0; 2]].concat();
    assert_eq!(studio.ticks("talk.a_1-2.wav"), late);
    assert_eq!(fs::read(studio.dir.join("talk.b.wav")).unwrap(), b"of another");
    for track in &receipt.tracks {
        let bytes = fs::read(studio.dir.join(&track.key)).unwrap();
        assert_eq!(track.sha256, format!("{:x}", Sha256::digest(&bytes)));
    }
}

#[test]
fn a_name_that_is_taken_is_left_alone_and_the_receipt_says_so() {
    let mut studio = Studio::new();
    fs::write(studio.dir.join("talk.wav"), "mine").unwrap();
    fs::write(studio.dir.join("other.json"), "mine too").unwrap();
    for (id, name) in [("id-1", "talk"), ("id-2", "other")] {
        let begun = studio.begin(id, &format!("file://{name}")).unwrap();
        studio.push(begun.slot, 0, 0..5);
        let receipt = studio.finished(&begun, 4);
        assert_eq!(receipt.key, format!("{name}~{id}.wav"));
        assert_eq!(receipt.requested_key, Some(format!("{name}.wav")));
        assert!(studio.dir.join(format!("{name}~{id}.json")).exists());
    }
    assert_eq!(fs::read(studio.dir.join("talk.wav")).unwrap(), b"mine");
    assert!(matches!(
        studio.begin("id-3", "file://talk.wav/below"),
        Err(RecordError::NoFolder)
    ));
    assert!(matches!(
        studio.begin("id-1", "file://again"),
        Err(RecordError::TakenId)
    ));
    assert!(matches!(
        studio.begin("../id", "file://again"),
        Err(RecordError::BadId)
    ));
    assert!(!studio.dir.join("again.wav").exists(), "nothing half-made stays");
}

#[test]
fn what_a_crash_leaves_is_finished_by_the_next_start_and_by_hand() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://calls/talk").unwrap();
    studio.recorder.track(begun.slot, TrackNumber(1), "a").unwrap();
    studio.recorder.joined(begun.slot, "a", None, Tick(0)).unwrap();
    studio.push(begun.slot, 0, 0..100);
    studio.push(begun.slot, 1, 50..100);
    studio.grown("calls/talk.wav", 100);

    let crashed = Scratch::new();
    copied(&studio.dir, &crashed.path("recordings"));
    // As a crash may leave it: the file torn, the journal whole.
    fs::write(crashed.path("recordings/calls/talk.wav"), "RIFF").unwrap();
    let listed = list_spool(&crashed.path("recordings")).unwrap();
    assert!(matches!(&listed[..], [SpoolEntry::Waiting(opening, _)] if opening.recording_id == "id-1"));

    let next = Studio::in_dir(crashed.path("recordings")).unwrap();
    let status = next.settled("id-1");
    assert_eq!(status.state, RecordingState::Available, "{status:?}");
    let receipt = status.receipt.unwrap();
    assert_eq!(next.ticks("calls/talk.wav"), levels(0, 0..100));
    assert_eq!(
        next.ticks(&receipt.tracks[0].key),
        [vec![0; 50], levels(1, 50..100)].concat()
    );
    assert_eq!(
        receipt.truncated_because.as_deref(),
        Some("the daemon ended before the recording did")
    );
    assert_eq!(receipt.attendance[0].call_id, "a");
    use RecordingState::*;
    assert_eq!(next.states_told_of("id-1"), [Finishing, Available]);
    next.recorder.is_told("id-1", Finishing);
    next.recorder.is_told("id-1", Available);
    drop(next);

    let third = Studio::in_dir(crashed.path("recordings")).unwrap();
    assert_eq!(third.recorder.status("id-1").unwrap().receipt, Some(receipt));
    assert!(third.told.try_recv().is_err(), "once is enough");
    let again = Studio::in_dir(crashed.path("recordings"));
    let refused = again.err().expect("one daemon in a directory").kind();
    assert_eq!(refused, io::ErrorKind::WouldBlock);
}

#[test]
fn a_recording_that_was_delivered_just_before_the_crash_is_not_delivered_twice() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0, 0..100);
    studio.grown("talk.wav", 100);
    let before = Scratch::new();
    copied(&studio.dir, &before.path("recordings"));
    let receipt = studio.finished(&begun, 99);
    // The journal is there still, and so is everything that came after it.
    let crashed = Scratch::new();
    let dir = crashed.path("recordings");
    copied(&before.path("recordings"), &dir);
    copied(&studio.dir, &dir);

    let next = Studio::in_dir(dir).unwrap();
    assert!(next.recorder.wait_until_all_settled(PATIENCE));
    assert_eq!(next.recorder.list().len(), 1);
    assert_eq!(next.recorder.status("id-1").unwrap().receipt, Some(receipt));
    assert_eq!(next.names(), [".spool", "talk.json", "talk.wav"]);
    assert!(!next.dir.join(".spool/id-1").exists());
}

#[test]
fn what_nobody_was_told_of_is_told_by_the_next_start() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0, 0..10);
    studio.finished(&begun, 9);
    let crashed = Scratch::new();
    let dir = crashed.path("recordings");
    copied(&studio.dir, &dir);
    use RecordingState::*;
    let start = || Studio::in_dir(dir.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!(start().states_told_of("id-1"), [Finishing, Available]);
    }
    start().recorder.is_told("id-1", Finishing);
    for _ in 0..2 {
        assert_eq!(start().states_told_of("id-1"), [Available]);
    }
    start().recorder.is_told("id-1", Available);
    let next = start();
    assert_eq!(next.states_told_of("id-1"), []);
    assert_eq!(next.recorder.list().len(), 1);
}

#[test]
fn that_a_recording_is_over_is_told_once_however_often_it_is_taken_up_and_before_it_is_available() {
    use RecordingState::*;
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0, 0..100);
    studio.grown("talk.wav", 100);
    let crashed = |told: &[RecordingState]| {
        let scratch = Scratch::new();
        let dir = scratch.path("recordings");
        copied(&studio.dir, &dir);
        let spool = Spool::open(Arc::new(LocalDisk), &dir).unwrap();
        for state in told {
            spool.is_told("id-1", *state).unwrap();
        }
        (scratch, dir)
    };
    let (_scratch, dir) = crashed(&[Finishing]);
    let next = Studio::in_dir(dir.clone()).unwrap();
    assert_eq!(next.settled("id-1").state, Available);
    assert_eq!(next.states_told_of("id-1"), [Available]);
    drop(next);
    let next = Studio::in_dir(dir).unwrap();
    assert_eq!(
        next.states_told_of("id-1"),
        [Available],
        "the receipt knows as well"
    );

    // Recovered by hand, where nobody listens.
    let (_scratch, dir) = crashed(&[]);
    drop(Studio::in_dir(dir.clone()).unwrap());
    let next = Studio::in_dir(dir).unwrap();
    assert_eq!(next.states_told_of("id-1"), [Finishing, Available]);
}

#[test]
fn that_a_recording_has_failed_is_told_once_and_seen_at_every_start() {
    let scratch = Scratch::new();
    let dir = scratch.path("recordings");
    drop(Studio::in_dir(dir.clone()).unwrap());
    let folder = dir.join(".spool/id-8");
    make_folder(&folder).unwrap();
    fs::write(folder.join("journal-0001"), [7; 1_000]).unwrap();
    let next = Studio::in_dir(dir.clone()).unwrap();
    assert_eq!(next.states_told_of("id-8"), [RecordingState::Failed]);
    next.recorder.is_told("id-8", RecordingState::Failed);
    drop(next);
    let next = Studio::in_dir(dir).unwrap();
    assert_eq!(next.states_told_of("id-8"), []);
    assert_eq!(next.settled("id-8").state, RecordingState::Failed);
}

#[test]
fn a_shutdown_ends_what_runs_and_begins_nothing_more() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0, 0..10);
    studio.recorder.stop(PATIENCE);
    let status = studio.recorder.status("id-1").unwrap();
    assert_eq!(status.state, RecordingState::Available);
    assert!(!status.receipt.unwrap().truncated);
    assert_eq!(studio.ticks("talk.wav"), levels(0, 0..10));
    assert!(matches!(
        studio.begin("id-2", "file://x"),
        Err(RecordError::Stopping)
    ));
}

#[test]
fn every_format_is_whole_and_served_while_it_grows() {
    let mut studio = Studio::new();
    for (id, format, content_type) in [
        ("w", "wav", "audio/wav"),
        ("f", "flac", "audio/flac"),
        ("o", "ogg", "audio/ogg; codecs=opus"),
    ] {
        let folder = format!("file://{format}/");
        let begun = studio.recorder.begin(request(id, &folder, format)).unwrap();
        let name = &begun.status.key;
        assert_eq!(*name, format!("{format}/20260102030405_app_room_1.{format}"));
        studio.push(begun.slot, 0, 0..200);
        assert_eq!(studio.recorder.audio(id).unwrap().content_type, content_type);
        let receipt = studio.finished(&begun, 199);
        assert_eq!(receipt.samples, 64_000);
        let (rate, samples) = read(&studio.dir.join(name), format.parse().unwrap());
        assert_eq!(samples.len() / rate.samples_per_tick(), 200, "{format}");
        assert_eq!(studio.recorder.audio(id).unwrap().bytes, receipt.bytes);
    }
}

#[test]
fn without_an_object_store_a_bucket_is_refused() {
    let studio = Studio::new();
    let mut request = request("id-1", "file://x", "wav");
    request.destination.place = Place::S3 {
        bucket: "bucket".to_owned(),
    };
    assert!(matches!(
        studio.recorder.begin(request),
        Err(RecordError::NoStore)
    ));
}

#[test]
fn what_never_got_its_journal_is_taken_away_with_its_secret_and_its_name() {
    let scratch = Scratch::new();
    let dir = scratch.path("recordings");
    drop(Studio::in_dir(dir.clone()).unwrap());
    let folder = dir.join(".spool/id-9");
    make_folder(&folder).unwrap();
    let opening = naming::opening(&request("id-9", "file://talk", "wav"));
    write_sidecar(&folder, &opening).unwrap();
    fs::write(folder.join("credentials"), "KEY:secret:region").unwrap();
    fs::write(dir.join("talk.wav"), "").unwrap();

    let next = Studio::in_dir(dir).unwrap();
    assert!(!folder.exists());
    assert_eq!(next.names(), [".spool"]);
    assert!(next.recorder.list().is_empty());
}

#[test]
fn a_folder_that_cannot_be_read_is_a_recording_that_has_failed_and_stays() {
    let scratch = Scratch::new();
    let dir = scratch.path("recordings");
    drop(Studio::in_dir(dir.clone()).unwrap());
    let folder = dir.join(".spool/id-8");
    make_folder(&folder).unwrap();
    fs::write(folder.join("journal-0001"), [7; 1_000]).unwrap();

    let next = Studio::in_dir(dir).unwrap();
    let status = next.settled("id-8");
    assert_eq!(status.state, RecordingState::Failed);
    assert!(status.error.unwrap().contains("cannot be read"));
    assert!(folder.join("journal-0001").exists());
}

#[test]
fn a_journal_whose_first_record_is_damaged_is_still_a_recording() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0, 0..50);
    studio.grown("talk.wav", 50);
    let crashed = Scratch::new();
    copied(&studio.dir, &crashed.path("recordings"));
    let journal = crashed.path("recordings/.spool/id-1/journal-0001");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[30] ^= 1;
    fs::write(&journal, bytes).unwrap();

    let next = Studio::in_dir(crashed.path("recordings")).unwrap();
    assert_eq!(next.settled("id-1").state, RecordingState::Available);
    assert_eq!(next.ticks("talk.wav"), levels(0, 0..50));
}

#[test]
fn what_is_taken_back_before_it_recorded_anything_was_never_there() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://calls/talk").unwrap();
    studio.recorder.cancel(begun.slot);
    assert_eq!(studio.recorder.status("id-1"), None);
    let deadline = Instant::now() + PATIENCE;
    while studio.dir.join(".spool/id-1").exists() || studio.dir.join("calls/talk.wav").exists() {
        assert!(Instant::now() < deadline, "it stays");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(studio.told.try_recv().is_err(), "and nobody hears of it");
}

mod names;
