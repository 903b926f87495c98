//! Recordings on disks that fail.

use super::*;
use crate::id::TrackNumber;
use crate::record::destination::Rules;
use crate::record::receipt::Receipt;
use crate::record::scratch::Scratch;
use crate::record::tap::{TapSender, sound, tap_ring};
use crate::record::test_disk::FailingDisk;

const RATE: Rate = Rate::Hz8000;

/// A recorder whose disk fails when it is told to, and what is recorded.
struct Studio {
    scratch: Scratch,
    disk: FailingDisk,
    sender: TapSender,
    recorder: Recorder,
    tick: u64,
}

impl Studio {
    fn new() -> Studio {
        let scratch = Scratch::new();
        let disk = FailingDisk::new(Arc::new(LocalDisk));
        // Whatever the machine's own disk has.
        disk.tell_space(Space {
            available: 64 << 20,
            total: 64 << 20,
        });
        let (sender, receiver) = tap_ring(1 << 20);
        let recorder = Recorder::start_on(
            Arc::new(disk.clone()),
            scratch.dir(),
            vec![receiver],
            None,
            Box::new(|_| {}),
        );
        Studio {
            recorder: recorder.expect("nothing fails yet"),
            scratch,
            disk,
            sender,
            tick: 0,
        }
    }

    fn begin(&self, id: &str) -> Result<Begun, RecordError> {
        let rules = Rules {
            default: format!("file://{id}.wav"),
            s3: None,
        };
        self.recorder.begin(BeginRecording {
            recording_id: id.to_owned(),
            conference_id: "room".to_owned(),
            call_id: None,
            destination: Destination::parse(None, None, None, &rules).expect("a good name"),
            application: "tests".to_owned(),
            rate: RATE,
            legs: false,
            notifies: false,
            now: Anchor {
                tick: Tick(self.tick),
                at: jiff::Timestamp::now(),
            },
        })
    }

    /// Half a second of sound.
    fn say(&mut self, begun: &Begun) {
        for _ in 0..25 {
            let tapped = sound(begun.slot, TrackNumber::MAIN, Tick(self.tick), RATE, &[0.25; 160]);
            self.sender.push(&tapped).expect("there is room in the ring");
            self.tick += 1;
        }
    }

    /// Half a second of sound that has come through the journal into the file.
    fn talk(&mut self, begun: &Begun) {
        let path = self.scratch.path(&begun.status.key);
        let bytes = || fs::metadata(&path).map_or(0, |file| file.len());
        let before = bytes();
        self.say(begun);
        until("the file grows", || bytes() >= before + 25 * 320);
    }

    fn sync_failures(&self) -> u64 {
        self.recorder.figures().sync_failures
    }

    fn settled(&self, id: &str) -> RecordingStatus {
        let patience = Duration::from_secs(60);
        let status = self.recorder.wait_until_settled(id, patience);
        status.expect("it was begun")
    }

    /// The receipt of what is available, with the file it is of.
    fn available(&self, id: &str) -> Receipt {
        let status = self.settled(id);
        assert_eq!(status.state, RecordingState::Available, "{status}");
        let receipt = status.receipt.expect("it is available");
        let file = fs::read(self.scratch.path(&receipt.key)).expect("it lies there");
        assert_eq!(
            (file.len() as u64, file.len() as u64),
            (receipt.bytes, 44 + 2 * receipt.samples)
        );
        receipt
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not after a minute");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_recording_stands_a_disk_whose_writes_and_syncs_fail() {
    let mut studio = Studio::new();
    let begun = studio.begin("r").expect("nothing fails yet");
    studio.talk(&begun);
    studio.disk.fail_write(1);
    studio.talk(&begun);
    // Each failure is over, with its new segment begun, before the next: two at once end the recording.
    studio.disk.fail_sync(1);
    studio.talk(&begun);
    until("a sync fails", || studio.sync_failures() == 1);
    studio.talk(&begun);
    studio.disk.fail_write(2);
    studio.talk(&begun);
    studio.talk(&begun);
    studio.disk.fail_sync(2);
    while studio.sync_failures() < 2 && studio.tick < 50 * 60 {
        studio.talk(&begun);
    }
    assert_eq!(studio.sync_failures(), 2);
    studio.talk(&begun);
    studio.recorder.finish(begun.slot, None).expect("it runs");
    let receipt = studio.available("r");
    assert_eq!(
        (receipt.samples, receipt.gap_samples, receipt.truncated),
        (studio.tick * 160, 0, false),
        "{receipt:?}"
    );
}

#[test]
fn a_recording_on_a_disk_that_takes_nothing_more_ends_and_says_so_and_others_can_begin_after_it() {
    let mut studio = Studio::new();
    let begun = studio.begin("r").expect("nothing fails yet");
    studio.talk(&begun);
    let taken = studio.tick;
    studio.disk.fail_write(u64::MAX);
    studio.say(&begun);
    let receipt = studio.available("r");
    assert_eq!(
        (receipt.samples, receipt.truncated),
        (taken * 160, true),
        "{receipt:?}"
    );
    let why = receipt.truncated_because.expect("it is truncated");
    assert!(why.contains("the disk failed"), "{why}");
    assert!(matches!(studio.begin("s"), Err(RecordError::Disk(_))));
    assert!(!studio.scratch.path("s.wav").exists(), "nothing half-made stays");

    studio.disk.fail_write(0);
    let begun = studio.begin("s").expect("the disk is well again");
    studio.talk(&begun);
    studio.recorder.finish(begun.slot, None).expect("it runs");
    assert!(!studio.available("s").truncated);
}

#[test]
fn a_full_disk_ends_a_recording_with_the_reason() {
    let mut studio = Studio::new();
    let begun = studio.begin("r").expect("nothing fails yet");
    studio.talk(&begun);
    let taken = studio.tick;
    studio.disk.leave_room(0);
    studio.say(&begun);
    let receipt = studio.available("r");
    assert_eq!(
        (receipt.samples, receipt.truncated),
        (taken * 160, true),
        "{receipt:?}"
    );
    assert_eq!(receipt.truncated_because.as_deref(), Some("the disk was full"));
    assert!(matches!(studio.begin("s"), Err(RecordError::NoSpace)));
}
