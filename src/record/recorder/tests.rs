//! The recorder on real files, on files that fail, and on directories that go away.

use super::*;
use crate::record::destination::Rules;
use crate::record::disk::Space;
use crate::record::receipt::Receipt;
use crate::record::scratch::Scratch;
use crate::record::tap::{RecordedFrame, TAP_QUEUE_FRAMES};
use crate::record::{SpoolState, list_spool, recover};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};

const PATIENCE: Duration = Duration::from_secs(20);

/// A recorder on a directory of its own, and what it told.
struct Studio {
    recorder: Recorder,
    queue: Arc<TapQueue>,
    told: mpsc::Receiver<(String, RecordingState)>,
    scratch: Scratch,
}

impl Studio {
    fn new() -> Studio {
        Studio::on(Box::new(LocalDisk))
    }

    fn on(disk: Box<dyn Disk>) -> Studio {
        let scratch = Scratch::new();
        let queue = Arc::new(TapQueue::new(TAP_QUEUE_FRAMES));
        let (tell, told) = mpsc::channel();
        let tell = Box::new(move |status: &RecordingStatus| {
            let _ = tell.send((status.recording_id.clone(), status.state));
        });
        let recorder = Recorder::start_on(disk, scratch.path("recordings"), vec![queue.clone()], tell);
        Studio {
            recorder: recorder.expect("a writable directory"),
            queue,
            told,
            scratch,
        }
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path("recordings")
    }

    fn begin(&self, recording_id: &str, url: &str) -> Result<Begun, RecordError> {
        self.recorder.begin(request(recording_id, url))
    }

    /// Pushes one frame a tick, each sample of it the tick's number.
    fn push(&self, slot: RecordingSlot, ticks: std::ops::Range<u64>) {
        for tick in ticks {
            let mix = [tick as f32 / 32_768.0; 320];
            let frame = RecordedFrame::from_mix(slot, Tick(tick), Rate::Hz16000, &mix);
            self.queue.push(frame).expect("the writer keeps up");
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

    fn states_told_of(&self, recording_id: &str) -> Vec<RecordingState> {
        self.told
            .try_iter()
            .filter(|(id, _)| id == recording_id)
            .map(|(_, state)| state)
            .collect()
    }

    fn file(&self, key: &str) -> Vec<u8> {
        fs::read(self.dir().join(key)).expect("the file is there")
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir())
            .expect("the directory is there")
            .map(|item| {
                let name = item.expect("a readable entry").file_name();
                name.into_string().expect("plain names")
            });
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

fn request(recording_id: &str, url: &str) -> BeginRecording {
    BeginRecording {
        recording_id: recording_id.to_owned(),
        conference_id: "room 1".to_owned(),
        destination: Destination::parse(Some(url), None, None, &Rules::default()).expect("a good name"),
        rate: Rate::Hz16000,
        now: Anchor {
            tick: Tick(0),
            at: "2026-01-02T03:04:05Z".parse().expect("a valid time"),
        },
    }
}

fn wav_of(ticks: std::ops::Range<u64>) -> Vec<u8> {
    let sound: Vec<_> = ticks
        .flat_map(|tick| (tick as i16).to_le_bytes().repeat(320))
        .collect();
    [
        &crate::record::wav::header(16_000, sound.len() as u64)[..],
        &sound,
    ]
    .concat()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[test]
fn a_recording_is_the_sound_and_a_receipt_that_vouches_for_it() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://calls/talk.wav").unwrap();
    assert_eq!(begun.status.state, RecordingState::Recording);
    assert_eq!(begun.status.key, "calls/talk.wav");
    studio
        .recorder
        .joined(begun.slot, "leg-1", Some("+46"), Tick(0))
        .unwrap();
    studio.push(begun.slot, 10..60);
    studio.recorder.muted(begun.slot, "leg-1", Tick(20)).unwrap();
    studio.recorder.left(begun.slot, "leg-1", Tick(50)).unwrap();
    studio.recorder.finish(begun.slot, Some(Tick(59))).unwrap();
    let status = studio.settled("id-1");
    assert_eq!((status.state, status.error), (RecordingState::Available, None));

    let file = studio.file("calls/talk.wav");
    assert!(file == wav_of(10..60), "sample by sample");
    let receipt = status.receipt.expect("available means with a receipt");
    assert_eq!(receipt.bytes, file.len() as u64);
    assert_eq!(receipt.sha256, sha256(&file));
    assert_eq!(
        (receipt.samples, receipt.rate, receipt.truncated),
        (50 * 320, 16_000, false)
    );
    assert_eq!(receipt.start, "2026-01-02T03:04:05.200Z");
    assert_eq!(receipt.conference_id, "room 1");
    let attendee = &receipt.attendance[0];
    assert_eq!(attendee.stay.to.as_deref(), Some("2026-01-02T03:04:06.000Z"));
    assert_eq!(attendee.muted[0].from, "2026-01-02T03:04:05.400Z");

    let beside: Receipt = serde_json::from_slice(&studio.file("calls/talk.json")).unwrap();
    assert_eq!(beside, receipt);
    assert_eq!(
        studio.states_told_of("id-1"),
        [RecordingState::Finishing, RecordingState::Available]
    );
    let audio = studio.recorder.audio("id-1").expect("there to be served");
    assert_eq!(
        (audio.bytes, audio.path),
        (receipt.bytes, studio.dir().join("calls/talk.wav"))
    );
}

#[test]
fn without_a_name_it_gets_one_of_ours() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://").unwrap();
    assert_eq!(begun.status.key, "20260102030405_mixminus_room_1.wav");
}

#[test]
fn two_recordings_of_one_name_are_both_kept() {
    let studio = Studio::new();
    let first = studio.begin("id-1", "file://talk.wav").unwrap();
    let second = studio.begin("id-2", "file://talk.WAV").unwrap();
    assert_eq!(first.status.requested_key, None);
    assert_eq!(second.status.key, "talk~id-2.WAV");
    studio.push(first.slot, 1..5);
    studio.push(second.slot, 101..103);
    studio.recorder.finish(second.slot, None).unwrap();
    studio.recorder.finish(first.slot, None).unwrap();
    let (first, second) = (studio.settled("id-1"), studio.settled("id-2"));
    assert!(studio.file("talk.wav") == wav_of(1..5));
    assert!(studio.file("talk~id-2.WAV") == wav_of(101..103));
    assert_eq!(first.receipt.unwrap().requested_key, None);
    assert_eq!(second.receipt.unwrap().requested_key.as_deref(), Some("talk.WAV"));
    assert_eq!(
        studio.names(),
        ["talk.json", "talk.wav", "talk~id-2.WAV", "talk~id-2.json"]
    );

    fs::write(studio.dir().join("other.json"), "not ours").unwrap();
    let third = studio.begin("id-3", "file://other").unwrap();
    assert_eq!(third.status.key, "other~id-3.wav");
    fs::write(studio.dir().join("a~id-4.wav"), "not ours").unwrap();
    fs::write(studio.dir().join("a.wav"), "not ours").unwrap();
    assert!(matches!(
        studio.begin("id-4", "file://a"),
        Err(RecordError::TakenName)
    ));
    fs::write(studio.dir().join("b"), "a file where a folder should be").unwrap();
    for below in ["file://b/x", "file://b/x/y"] {
        assert!(matches!(studio.begin("id-5", below), Err(RecordError::NoFolder)));
    }
    assert_eq!(studio.file("a.wav"), b"not ours");
    assert!(
        !studio.names().iter().any(|name| name.starts_with("a~id-4.json")),
        "nothing half-made stays"
    );
}

#[test]
fn an_id_serves_once_and_only_as_part_of_a_name() {
    let studio = Studio::new();
    studio.begin("id-1", "file://").unwrap();
    assert!(matches!(
        studio.begin("id-1", "file://x"),
        Err(RecordError::TakenId)
    ));
    for bad in ["", "a/b", "..", "a b", "ü", &"x".repeat(65)] {
        assert!(
            matches!(studio.begin(bad, "file://"), Err(RecordError::BadId)),
            "{bad}"
        );
    }
}

#[test]
fn a_growing_file_can_be_read_and_its_header_is_no_more_than_a_second_late() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0..100);
    let whole = wav_of(0..100);
    let deadline = std::time::Instant::now() + PATIENCE;
    while studio.file("talk.wav") != whole {
        let file = studio.file("talk.wav");
        let header = file[..44].try_into().expect("44 bytes");
        let (_, data_bytes) = crate::record::wav::parse_header(header).expect("valid at any moment");
        assert!(data_bytes as usize <= file.len() - 44);
        assert!(
            std::time::Instant::now() < deadline,
            "the header is brought up to date"
        );
        thread::sleep(Duration::from_millis(10));
    }
    let status = studio.recorder.status("id-1").unwrap();
    assert_eq!(
        (status.state, status.bytes),
        (RecordingState::Recording, whole.len() as u64)
    );
}

#[test]
fn a_pause_is_seen_in_the_status_and_in_the_receipt() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.recorder.pause(begun.slot, Tick(12)).unwrap();
    assert!(studio.recorder.status("id-1").unwrap().paused);
    studio.recorder.resume(begun.slot, Tick(15)).unwrap();
    assert!(!studio.recorder.status("id-1").unwrap().paused);
    studio.push(begun.slot, 10..20);
    studio.recorder.finish(begun.slot, Some(Tick(19))).unwrap();
    let receipt = studio.settled("id-1").receipt.unwrap();
    assert_eq!(receipt.pauses.len(), 1);
    assert_eq!(
        (receipt.pauses[0].from_sample, receipt.pauses[0].samples),
        (2 * 320, 3 * 320)
    );
    assert!(
        studio.file("talk.wav")[44 + 2 * 640..][..3 * 640]
            .iter()
            .all(|&byte| byte == 0)
    );
    assert!(matches!(
        studio.recorder.pause(begun.slot, Tick(99)),
        Err(RecordError::NotRunning)
    ));
    assert!(matches!(
        studio.recorder.finish(begun.slot, None),
        Err(RecordError::NotRunning)
    ));
    assert!(matches!(
        studio.recorder.finish(RecordingSlot(999), None),
        Err(RecordError::NotRunning)
    ));
}

#[test]
fn stopping_finishes_what_runs_and_begins_nothing_more() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0..25);
    studio.recorder.stop();
    let status = studio.recorder.status("id-1").unwrap();
    assert_eq!(status.state, RecordingState::Available);
    assert!(studio.file("talk.wav") == wav_of(0..25));
    assert!(matches!(
        studio.begin("id-2", "file://"),
        Err(RecordError::Stopping)
    ));
    studio.recorder.stop();
}

#[test]
fn stopping_waits_for_what_is_about_to_end() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0..5);
    studio.recorder.finish(begun.slot, Some(Tick(9))).unwrap();
    studio.recorder.stop();
    let status = studio.recorder.status("id-1").unwrap();
    assert_eq!(status.state, RecordingState::Available);
    assert_eq!(status.receipt.unwrap().gap_samples, 5 * 320);
}

#[test]
fn after_a_restart_the_receipts_are_listed_and_nothing_else() {
    let studio = Studio::new();
    let begun = studio.begin("id-1", "file://calls/talk").unwrap();
    studio.push(begun.slot, 0..5);
    studio.recorder.stop();
    let before = studio.recorder.list();
    let again = Recorder::start(studio.dir(), vec![], |_| {}).unwrap();
    assert_eq!(again.list(), before);
    assert!(again.audio("id-1").is_some());
    assert!(matches!(
        again.begin(request("id-1", "file://x")),
        Err(RecordError::TakenId)
    ));
}

/// A disk whose files are memory that can be sealed against growing: writes then fail as on a full one.
struct Sealable(Arc<Mutex<Vec<File>>>);

impl Disk for Sealable {
    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            available: 1,
            total: 1,
        })
    }

    fn create(&self, _: &Path) -> io::Result<File> {
        // SAFETY: the name ends with a NUL; the result is checked before it is used.
        let fd = unsafe { libc::memfd_create(c"recording".as_ptr(), libc::MFD_ALLOW_SEALING) };
        assert!(fd >= 0, "memfd_create: {}", io::Error::last_os_error());
        // SAFETY: a fresh descriptor that nobody else owns.
        let file = unsafe { File::from_raw_fd(fd) };
        self.0.lock().unwrap().push(file.try_clone()?);
        Ok(file)
    }
}

#[test]
fn a_disk_that_fails_ends_one_recording_as_truncated_and_no_other() {
    let files = Arc::new(Mutex::new(Vec::new()));
    let studio = Studio::on(Box::new(Sealable(files.clone())));
    let failing = studio.begin("id-1", "file://failing").unwrap();
    let other = studio.begin("id-2", "file://other").unwrap();
    studio.push(failing.slot, 0..10);
    studio.push(other.slot, 0..10);
    let deadline = std::time::Instant::now() + PATIENCE;
    while studio.recorder.status("id-1").unwrap().bytes < 44 + 10 * 640 {
        assert!(std::time::Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
    let fd = files.lock().unwrap()[0].as_raw_fd();
    // SAFETY: the descriptor is open for as long as `files` holds it.
    let sealed = unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_GROW) };
    assert_eq!(sealed, 0, "F_SEAL_GROW: {}", io::Error::last_os_error());

    studio.push(failing.slot, 10..20);
    studio.push(other.slot, 10..20);
    let status = studio.settled("id-1");
    let receipt = status.receipt.expect("what is known is told");
    assert!(receipt.truncated && receipt.truncated_because.is_some());
    assert_eq!(
        (receipt.samples, receipt.sha256),
        (10 * 320, sha256(&wav_of(0..10)))
    );
    assert_eq!(
        studio.states_told_of("id-1"),
        [RecordingState::Finishing, RecordingState::Available]
    );
    assert!(studio.names().contains(&"failing.json".to_owned()));

    studio.recorder.finish(other.slot, None).unwrap();
    let receipt = studio.settled("id-2").receipt.unwrap();
    assert_eq!((receipt.samples, receipt.truncated), (20 * 320, false));
}

#[test]
fn a_directory_that_goes_away_is_a_visible_failure_and_no_more() {
    let studio = Studio::new();
    let gone = studio.begin("id-1", "file://gone/talk").unwrap();
    let stays = studio.begin("id-2", "file://stays/talk").unwrap();
    fs::remove_dir_all(studio.dir().join("gone")).unwrap();
    studio.push(gone.slot, 0..5);
    studio.push(stays.slot, 0..5);
    studio.recorder.finish(gone.slot, Some(Tick(4))).unwrap();
    studio.recorder.finish(stays.slot, Some(Tick(4))).unwrap();
    let status = studio.settled("id-1");
    assert_eq!(status.state, RecordingState::Failed);
    assert!(status.error.is_some_and(|error| error.contains("receipt")));
    assert_eq!(status.receipt.unwrap().samples, 5 * 320);
    assert_eq!(
        studio.states_told_of("id-1"),
        [RecordingState::Finishing, RecordingState::Failed]
    );
    assert_eq!(studio.settled("id-2").state, RecordingState::Available);
}

/// A disk that is full: every write fails with "no space left on device".
struct Full;

impl Disk for Full {
    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            available: 1 << 40,
            total: 1 << 40,
        })
    }

    fn create(&self, _: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open("/dev/full")
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let studio = Studio::on(Box::new(Full));
    assert!(matches!(
        studio.begin("id-1", "file://talk"),
        Err(RecordError::NoSpace)
    ));
    assert_eq!(studio.names(), [""; 0]);
    assert_eq!(studio.recorder.list(), []);
}

/// A disk with nine tenths in use.
struct NearlyFull;

impl Disk for NearlyFull {
    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            available: 1 << 20,
            total: 100 << 20,
        })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        LocalDisk.create(path)
    }
}

#[test]
fn a_nearly_full_disk_takes_no_new_recording() {
    let studio = Studio::on(Box::new(NearlyFull));
    assert!(matches!(
        studio.begin("id-1", "file://talk"),
        Err(RecordError::NoSpace)
    ));
    assert_eq!(studio.names(), [""; 0]);
}

#[test]
fn a_running_recording_is_not_taken_for_a_leftover() {
    let studio = Studio::new();
    studio.begin("id-1", "file://talk").unwrap();
    let listed = list_spool(&studio.dir()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].state, SpoolState::Recording);
    assert!(recover(&studio.dir()).unwrap().is_empty());
    studio.recorder.stop();
    assert!(matches!(
        list_spool(&studio.dir()).unwrap()[0].state,
        SpoolState::Finished(_)
    ));
}
