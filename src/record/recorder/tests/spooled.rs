//! What lies in the spool: what is taken away, and what stays whatever happens.

use super::*;
use crate::demo::ObjectStore;
use crate::record::spool::Spool;
use crate::record::store::{Encryption, Endpoint, StoreSettings, Tempo};
use crate::record::{BucketRules, Length};

/// Waits until it is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A spool that a daemon has left in good order, with one recording delivered if `recorded`.
fn left_behind(recorded: bool) -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let dir = scratch.path("recordings");
    let mut studio = Studio::in_dir(dir.clone()).unwrap();
    if recorded {
        let begun = studio.begin("id-1", "file://talk").unwrap();
        studio.push(begun.slot, 0, 0..10);
        studio.finished(&begun, 9);
        studio.recorder.is_told("id-1", RecordingState::Available);
    }
    drop(studio);
    (scratch, dir)
}

#[test]
fn a_folder_with_anything_of_others_in_it_stays_as_it_is() {
    let (_scratch, dir) = left_behind(false);
    let spool = dir.join(".spool");
    let foreign = [
        "saved/copy/journal-0001",
        "saved/note",
        "lost+found/journal",
        "id-9/credentials",
        "id-9/note",
        "id-7/opening.json/note",
        "id-6.gone.not/note",
    ];
    for file in foreign {
        let file = spool.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "mine").unwrap();
    }
    // Only this one never got as far as its journal.
    make_folder(&spool.join("id-8")).unwrap();

    let next = Studio::in_dir(dir).unwrap();
    for file in foreign {
        let there = fs::read(spool.join(file));
        assert_eq!(there.ok().as_deref(), Some(&b"mine"[..]), "{file}");
    }
    assert!(!spool.join("id-8").exists());
    let listed: Vec<_> = next
        .recorder
        .list()
        .into_iter()
        .map(|of| of.recording_id)
        .collect();
    assert!(listed.contains(&"saved".to_owned()), "{listed:?}");
    assert!(
        !listed.contains(&"lost+found".to_owned()),
        "no id of ours: {listed:?}"
    );
}

#[test]
fn a_folder_whose_journal_is_gone_is_not_taken_for_a_recording_of_nothing() {
    let (_scratch, dir) = left_behind(false);
    let folder = dir.join(".spool/id-9");
    make_folder(&folder).unwrap();
    let opening = naming::opening(&request("id-9", "file://talk", "wav"));
    write_sidecar(&folder, &opening).unwrap();
    fs::write(folder.join("7.wav"), "all there is").unwrap();

    let next = Studio::in_dir(dir).unwrap();
    assert_eq!(next.settled("id-9").state, RecordingState::Failed);
    assert_eq!(fs::read(folder.join("7.wav")).unwrap(), b"all there is");
    assert_eq!(next.names(), [".spool"]);
}

#[test]
fn only_whole_receipts_are_read_each_once_and_what_is_left_of_others_is_taken_away() {
    let (_scratch, dir) = left_behind(true);
    let receipts = dir.join(".spool/receipts");
    for copy in ["id-1.json.part", ".id-1.json.part", "id-2.json", "id-1"] {
        fs::copy(receipts.join("id-1.json"), receipts.join(copy)).unwrap();
    }
    assert_eq!(list_spool(&dir).unwrap().len(), 1);
    let next = Studio::in_dir(dir).unwrap();
    assert_eq!(next.recorder.list().len(), 1);
    for (name, stays) in [
        ("id-1.json", true),
        ("id-1.json.part", false),
        (".id-1.json.part", false),
        ("id-2.json", true),
        ("id-1", true),
    ] {
        assert_eq!(receipts.join(name).exists(), stays, "{name}");
    }
}

#[test]
fn as_many_receipts_stay_as_recordings_are_listed_and_the_newest_of_them() {
    let (_scratch, dir) = left_behind(true);
    let receipts = dir.join(".spool/receipts");
    let receipt = fs::read_to_string(receipts.join("id-1.json")).unwrap();
    for n in 0..4 {
        let id = format!("old-{n}");
        let path = receipts.join(format!("{id}.json"));
        // One that cannot be read does not stay for that.
        let receipt = receipt.replace("id-1", &id);
        fs::write(&path, if n == 0 { "{" } else { &receipt }).unwrap();
        fs::write(receipts.join(format!("{id}.untold")), "1").unwrap();
        let age = Duration::from_secs(1_000 - n);
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    let is_there = |id: &str| {
        let [json, untold] =
            ["json", "untold"].map(|ending| receipts.join(format!("{id}.{ending}")).exists());
        json || untold
    };
    // What lies here is delivered, and only the receipt says so.
    let folder = dir.join(".spool/old-1");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("journal-0001"), "").unwrap();
    let spool = Spool::open(Arc::new(LocalDisk), &dir).unwrap();
    spool.take_stock(3).unwrap();
    drop(spool);
    assert!(!is_there("old-0") && is_there("old-1") && is_there("old-2"));

    let mut next = Studio::in_dir(dir.clone()).unwrap();
    assert!(!folder.exists());
    assert_eq!(next.recorder.list().len(), 4);
    next.recorder.shelf.list_at_most(4);
    let begun = next.begin("new", "file://new").unwrap();
    next.push(begun.slot, 0, 0..10);
    next.finished(&begun, 9);
    // They began at one time: by their ids it is the first.
    until("the oldest receipt stays", || !is_there("id-1"));
    assert_eq!(next.recorder.status("id-1"), None);
    for id in ["old-1", "old-2", "old-3", "new"] {
        assert!(is_there(id) && next.recorder.status(id).is_some(), "{id}");
    }
    assert!(dir.join("talk.json").exists(), "the customer's own stays");
}

#[test]
fn what_is_delivered_and_cannot_be_taken_out_of_the_spool_is_available_all_the_same() {
    let scratch = Scratch::new();
    let dir = scratch.path("recordings");
    let mut studio = Studio::in_dir(dir.clone()).unwrap();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio.push(begun.slot, 0, 0..10);
    // No file, so nothing can be written over it.
    let stands_in_the_way = dir.join(".spool/id-1/credentials");
    fs::create_dir(&stands_in_the_way).unwrap();
    let receipt = studio.finished(&begun, 9);
    assert!(stands_in_the_way.exists());
    studio.recorder.is_told("id-1", RecordingState::Available);
    assert_eq!(list_spool(&dir).unwrap().len(), 1, "and listed once");
    drop(studio);

    let next = Studio::in_dir(dir.clone()).unwrap();
    assert_eq!(next.recorder.list().len(), 1);
    assert_eq!(next.recorder.status("id-1").unwrap().receipt, Some(receipt));
    assert!(next.told.try_recv().is_err(), "and nobody hears of it again");
    drop(next);
    fs::remove_dir(&stands_in_the_way).unwrap();
    Studio::in_dir(dir.clone()).unwrap();
    assert!(!dir.join(".spool/id-1").exists());
}

#[test]
fn a_journal_that_lacks_something_is_said_to_in_the_receipt() {
    let mut studio = Studio::new();
    let begun = studio.begin("id-1", "file://talk").unwrap();
    studio
        .recorder
        .joined(begun.slot, "leg-a", None, Tick(0))
        .unwrap();
    studio.push(begun.slot, 0, 0..50);
    studio.grown("talk.wav", 50);
    let crashed = Scratch::new();
    let dir = crashed.path("recordings");
    copied(&studio.dir, &dir);
    let receipt = studio.finished(&begun, 49);
    let holes = |receipt: &Receipt| serde_json::to_value(receipt).unwrap()["journalHoles"].clone();
    assert_eq!(holes(&receipt), serde_json::Value::Null);
    assert_eq!(receipt.attendance.len(), 1);

    let journal = dir.join(".spool/id-1/journal-0001");
    let mut bytes = fs::read(&journal).unwrap();
    let note = bytes
        .windows(5)
        .position(|bytes| bytes == b"leg-a")
        .expect("it is noted");
    bytes[note] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let next = Studio::in_dir(dir).unwrap();
    let receipt = next.settled("id-1").receipt.unwrap();
    assert!(receipt.attendance.is_empty());
    assert_eq!(holes(&receipt), 1);
    assert!(Length(&receipt).to_string().contains("journal"));
}

/// A bucket, and a recorder that has a way to it.
struct WithBucket {
    studio: Studio,
    store: ObjectStore,
    scratch: Scratch,
}

const SECRET: &str = "hush+Secret/of:calls";

impl WithBucket {
    fn new() -> WithBucket {
        let scratch = Scratch::new();
        let store = ObjectStore::start(&scratch.path("s3"), "AKIDEXAMPLE", SECRET).expect("a free port");
        store.make_bucket("calls").unwrap();
        let settings = StoreSettings {
            endpoint: Endpoint::Url(store.url()),
            region: None,
            path_style: true,
            encryption: Encryption::Bucket,
            credentials: None,
            tempo: Tempo::default(),
        };
        let (ring, taken) = tap_ring(1 << 20);
        let (tell, told) = mpsc::channel();
        let tell = Box::new(move |status: &RecordingStatus| {
            let _ = tell.send((status.recording_id.clone(), status.state));
        });
        let dir = scratch.path("recordings");
        let way = Store::start(settings).expect("threads are to be had");
        let recorder = Recorder::start(&dir, vec![taken], Some(way), tell).expect("a writable directory");
        WithBucket {
            studio: Studio {
                recorder,
                ring,
                told,
                dir,
                _scratch: None,
            },
            store,
            scratch,
        }
    }

    fn begin(&self, recording_id: &str, key: &str) -> Begun {
        let rules = Rules {
            s3: Some(BucketRules::default()),
            ..Rules::default()
        };
        let url = format!("s3://calls/{key}");
        let credentials = format!("AKIDEXAMPLE:{SECRET}:eu-north-1");
        let destination = Destination::parse(Some(&url), Some(&credentials), None, &rules);
        let request = BeginRecording {
            destination: destination.expect("a good place"),
            ..request(recording_id, "file://x", "wav")
        };
        self.studio.recorder.begin(request).expect("there is room")
    }
}

#[test]
fn a_delivered_recording_is_available_once_its_receipt_is_kept_and_its_secret_is_gone_then() {
    let mut site = WithBucket::new();
    let begun = site.begin("id-1", "talk.wav");
    site.studio.push(begun.slot, 0, 0..50);
    let spool = site.studio.dir.join(".spool");
    let (receipts, away) = (spool.join("receipts"), site.scratch.path("away"));
    fs::rename(&receipts, &away).unwrap();
    site.studio.recorder.finish(begun.slot, Some(Tick(49))).unwrap();
    until("nobody says what is in the way", || {
        let status = site.studio.recorder.status("id-1").unwrap();
        assert!(!status.state.is_settled(), "{status}");
        status
            .error
            .is_some_and(|error| error.contains("the receipt has to wait"))
    });
    assert_eq!(site.store.keys("calls").unwrap(), ["talk.json", "talk.wav"]);
    assert!(spool.join("id-1/credentials").exists());

    fs::rename(&away, &receipts).unwrap();
    let status = site.studio.settled("id-1");
    assert_eq!((status.state, status.error), (RecordingState::Available, None));
    assert!(!spool.join("id-1").exists());
    use RecordingState::*;
    assert_eq!(
        site.studio.states_told_of("id-1"),
        [Finishing, Uploading, Available]
    );
}
