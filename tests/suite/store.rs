//! Deliveries to a real S3 server in the process, through everything that can be in the way. What must hold each time:
//! one object, byte for byte, nobody else's touched, no upload left open, no secret told.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mixminus::demo::ObjectStore;
use mixminus::record::{
    Counts, Credentials, Delivered, Delivery, DeliveryStatus, Encryption, Endpoint, Finished, Object,
    PART_BYTES, Progress, Store, StoreSettings, Tempo,
};
use tokio::sync::watch;

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::logs::{self, Log};

pub mod said;

const BUCKET: &str = "calls";
const SECRET: &str = "hush+Secret/of:calls";
const KEY_ID: &str = "AKIDEXAMPLE";

/// A customer's bucket, the way to it, and files to deliver.
struct Site {
    dir: PathBuf,
    bucket: ObjectStore,
    proxy: FaultProxy,
    told: Arc<Mutex<Vec<DeliveryStatus>>>,
    /// What is logged meanwhile.
    _log: Log,
}

impl Site {
    fn new() -> Site {
        let dir = std::env::temp_dir().join(format!("mixminus-store-{}", uuid::Uuid::new_v4()));
        let bucket = ObjectStore::start(&dir.join("s3"), KEY_ID, SECRET).expect("a free port");
        bucket.make_bucket(BUCKET).unwrap();
        logs::learn_credentials(&format!("{KEY_ID}:{SECRET}:eu-central-1"));
        let proxy = FaultProxy::start(bucket.address());
        Site {
            dir,
            bucket,
            proxy,
            told: Arc::default(),
            _log: Log::within(&[]),
        }
    }

    fn store(&self) -> Store {
        self.store_at(&self.proxy.url(), Duration::from_secs(3))
    }

    fn store_at(&self, url: &str, patience: Duration) -> Store {
        Store::start(StoreSettings {
            endpoint: Endpoint::Url(url.to_owned()),
            region: None,
            path_style: true,
            encryption: Encryption::Bucket,
            credentials: None,
            tempo: Tempo {
                back_off_min: Duration::from_millis(10),
                back_off_max: Duration::from_millis(100),
                back_off_lasting_max: Duration::from_millis(100),
                patience,
                bytes_per_s: 64 << 20,
            },
        })
        .expect("threads are to be had")
    }

    fn object(&self, name: &str) -> Object {
        Object {
            bucket: BUCKET.to_owned(),
            key: format!("2026/{name}.wav"),
            recording_id: "id-7".to_owned(),
            content_type: "audio/wav",
            file: self.dir.join(format!("{name}.image")),
            log: self.dir.join(format!("{name}.delivery")),
            credentials: Some(Credentials::parse(&format!("{KEY_ID}:{SECRET}:eu-central-1")).unwrap()),
        }
    }

    /// A file of so many bytes, whole.
    fn file(&self, name: &str, bytes: usize) -> Progress {
        let sound = sound(bytes);
        fs::write(self.dir.join(format!("{name}.image")), &sound).unwrap();
        progress(&sound)
    }

    fn deliver(&self, store: &Store, name: &str, progress: Progress) -> Delivery {
        let (_, progress) = watch::channel(progress);
        self.deliver_growing(store, name, progress)
    }

    fn deliver_growing(&self, store: &Store, name: &str, progress: watch::Receiver<Progress>) -> Delivery {
        let told = self.told.clone();
        store.deliver(self.object(name), progress, move |status| {
            told.lock().unwrap().push(status.clone());
        })
    }

    /// The whole way of one file with these faults in it.
    fn through(&self, bytes: usize) -> (Delivered, Counts) {
        let store = self.store();
        let progress = self.file("talk", bytes);
        let delivery = self.deliver(&store, "talk", progress);
        let delivered = arrival(&delivery);
        self.check("talk", bytes, &delivered);
        (delivered, store.counts())
    }

    fn check(&self, name: &str, bytes: usize, delivered: &Delivered) {
        let object = fs::read(self.bucket.object(BUCKET, &delivered.key)).expect("it is in the bucket");
        assert!(object == sound(bytes), "{name} is there byte for byte");
        let ours = format!("2026/{name}");
        let keys = self.bucket.keys(BUCKET).unwrap();
        let of_this = keys.iter().filter(|key| key.starts_with(&ours)).count();
        let strangers = usize::from(delivered.is_renamed);
        assert_eq!(of_this, 1 + strangers, "once: {keys:?}");
        let calls = self.proxy.calls();
        let known = ["Create", "Part", "Complete", "Abort", "Put"];
        assert!(
            calls.iter().all(|call| known.contains(&call.as_str())),
            "nothing is read, listed or deleted: {calls:?}"
        );
        let told = format!("{:?}", self.told.lock().unwrap());
        let log = fs::read(self.dir.join(format!("{name}.delivery"))).unwrap();
        let log = String::from_utf8_lossy(&log).into_owned();
        for secret in [SECRET, KEY_ID] {
            assert!(
                !told.contains(secret) && !log.contains(secret),
                "{secret} is told"
            );
        }
    }

    fn errors(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().filter_map(|status| status.error.clone()).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn sound(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(|_| byte()).collect()
}

fn progress(sound: &[u8]) -> Progress {
    let crc32c = |bytes: &[u8]| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    Progress {
        stable: 44..sound.len() as u64,
        finished: Some(Arc::new(Finished {
            bytes: sound.len() as u64,
            crc32c: crc32c(sound),
            parts: sound.chunks(PART_BYTES as usize).map(crc32c).collect(),
        })),
    }
}

/// Waits as long as it takes; what hangs is ended by whoever runs the tests, with the last word said.
fn arrival(delivery: &Delivery) -> Delivered {
    let start = Instant::now();
    loop {
        if let Some(delivered) = delivery.delivered() {
            return delivered;
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "{:?}",
            delivery.status()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const SMALL: usize = 300_000;
/// Two parts.
const LARGE: usize = PART_BYTES as usize + 70_000;

#[test]
fn a_small_file_is_one_call_and_a_large_one_goes_up_in_parts() {
    let small = Site::new();
    let (delivered, counts) = small.through(SMALL);
    assert_eq!(
        (delivered.key.as_str(), delivered.is_renamed),
        ("2026/talk.wav", false)
    );
    assert_eq!(small.proxy.calls(), ["Put"]);
    assert_eq!(
        (counts.delivered, counts.bytes, counts.renamed),
        (1, SMALL as u64, 0)
    );
    let large = Site::new();
    let (_, counts) = large.through(LARGE);
    assert_eq!(large.proxy.calls(), ["Create", "Part", "Part", "Complete"]);
    assert_eq!((counts.parts, counts.bytes), (2, LARGE as u64));
    assert!(large.errors().is_empty());
}

#[test]
fn parts_go_up_while_the_file_grows() {
    let site = Site::new();
    let store = site.store();
    let bytes = 2 * PART_BYTES as usize + 1_000;
    let sound = sound(bytes);
    let file = fs::File::create(site.dir.join("talk.image")).unwrap();
    let (grow, progress_of) = watch::channel(Progress::default());
    let delivery = site.deliver_growing(&store, "talk", progress_of);
    // The header is not what it will be.
    file.write_all_at(&sound[44..], 44).unwrap();
    grow.send_replace(Progress {
        stable: 44..bytes as u64 - 500,
        finished: None,
    });
    until("the second part goes up first", || site.proxy.count("Part") == 1);
    file.write_all_at(&sound[..44], 0).unwrap();
    grow.send_replace(progress(&sound));
    site.check("talk", bytes, &arrival(&delivery));
    assert_eq!(site.proxy.calls(), ["Create", "Part", "Part", "Part", "Complete"]);
}

#[test]
fn bursts_of_errors_are_outlasted() {
    for (status, code) in [
        (503, "SlowDown"),
        (500, "InternalError"),
        (403, "RequestTimeTooSkewed"),
    ] {
        let site = Site::new();
        site.proxy.fault("", 7, Fault::Status(status, code));
        let (_, counts) = site.through(SMALL);
        assert_eq!(counts.failures.iter().map(|(_, count)| count).sum::<u64>(), 7);
        assert!(
            site.errors().iter().all(|error| error.contains(code)),
            "{:?}",
            site.errors()
        );
    }
    let site = Site::new();
    for call in ["Create", "Part", "Complete"] {
        site.proxy.fault(call, 2, Fault::Status(503, "SlowDown"));
    }
    site.through(LARGE);
    assert_eq!(site.bucket.open_uploads().unwrap(), 0);
}

#[test]
fn a_connection_reset_half_way_costs_one_part() {
    let site = Site::new();
    site.proxy.fault("Part", 2, Fault::ResetHalfway);
    site.through(LARGE);
    assert_eq!(site.proxy.count("Part"), 4);
    let site = Site::new();
    site.proxy.fault("Put", 2, Fault::ResetHalfway);
    site.through(SMALL);
    assert_eq!(site.proxy.count("Put"), 3);
}

#[test]
fn an_object_whose_answer_was_lost_is_known_for_ours() {
    let small = Site::new();
    small.proxy.fault("Put", 1, Fault::LoseAnswer);
    let (delivered, _) = small.through(SMALL);
    assert!(!delivered.is_renamed);
    assert_eq!(small.proxy.count("Put"), 3, "again, and to prove it");
    let large = Site::new();
    large
        .proxy
        .fault("Create", 1, Fault::LoseAnswer)
        .fault("Part", 1, Fault::LoseAnswer)
        .fault("Complete", 1, Fault::LoseAnswer);
    let (delivered, _) = large.through(LARGE);
    assert!(!delivered.is_renamed);
    assert_eq!(large.proxy.count("Complete"), 2);
    assert_eq!(
        large.bucket.open_uploads().unwrap(),
        1,
        "the one whose name was lost: a lifecycle rule's"
    );
}

#[test]
fn an_error_in_an_answer_that_began_well_is_an_error() {
    let site = Site::new();
    site.proxy.fault("Complete", 2, Fault::ErrorBody);
    site.through(LARGE);
    assert_eq!(site.proxy.count("Complete"), 3);
    assert!(site.errors().iter().any(|error| error.contains("InternalError")));
}

#[test]
fn an_etag_of_other_bytes_is_not_believed() {
    let site = Site::new();
    site.proxy.fault("Part", 1, Fault::WrongEtag);
    site.through(LARGE);
    assert_eq!(site.proxy.count("Part"), 3, "that part again");
    assert!(
        site.errors().iter().any(|error| error.contains("ETag")),
        "{:?}",
        site.errors()
    );
    let site = Site::new();
    site.proxy.fault("Put", 1, Fault::WrongEtag);
    let (delivered, counts) = site.through(SMALL);
    assert!(
        !delivered.is_renamed,
        "the store holds our bytes, and it is proved"
    );
    assert!(counts.failures.contains(&("wrong_answer", 1)));
}

#[test]
fn a_bucket_that_encrypts_by_itself_is_believed_by_its_checksums() {
    let large = Site::new();
    large.proxy.fault("", usize::MAX, Fault::Kms);
    let (delivered, _) = large.through(LARGE);
    assert!(!delivered.is_renamed);
    assert_eq!(large.proxy.calls(), ["Create", "Part", "Part", "Complete"]);
    assert!(large.errors().is_empty(), "{:?}", large.errors());
    let small = Site::new();
    small.proxy.fault("", usize::MAX, Fault::Kms);
    let store = small.store();
    for name in ["first", "second"] {
        let progress = small.file(name, SMALL);
        let delivered = arrival(&small.deliver(&store, name, progress));
        assert!(!delivered.is_renamed);
        small.check(name, SMALL, &delivered);
    }
    // Where an ETag proves nothing, an upload does.
    assert_eq!(small.proxy.calls(), ["Put", "Create", "Part", "Complete"]);
}

/// Fault row S7.
#[test]
fn a_delivery_that_panics_says_so_and_begins_anew() {
    let site = Site::new();
    let store = site.store();
    let (_, progress) = watch::channel(site.file("talk", LARGE));
    let told = site.told.clone();
    let delivery = store.deliver(site.object("talk"), progress, move |status| {
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.push(status.clone());
        let count = told.len();
        drop(told);
        assert!(count != 2 && count != 3, "as the test wants it");
    });
    let delivered = arrival(&delivery);
    site.check("talk", LARGE, &delivered);
    assert!(!delivered.is_renamed);
    assert!(
        site.errors().iter().any(|error| error.contains("panicked")),
        "{:?}",
        site.errors()
    );
    assert_eq!(delivery.status().error, None);
}

#[test]
fn a_frozen_peer_is_left_and_a_slow_one_is_waited_for() {
    let site = Site::new();
    let store = site.store_at(&site.proxy.url(), Duration::from_millis(250));
    site.proxy
        .fault("Put", 1, Fault::Freeze)
        .fault("Put", 3, Fault::Slow(SMALL));
    let progress = site.file("talk", SMALL);
    let delivery = site.deliver(&store, "talk", progress);
    site.check("talk", SMALL, &arrival(&delivery));
    let counts = store.counts();
    let timed_out = counts.failures.iter().find(|(reason, _)| *reason == "timed_out");
    assert!(timed_out.is_some_and(|(_, count)| *count >= 2), "{counts:?}");
}

#[test]
fn a_store_that_is_away_is_waited_for_and_said() {
    let site = Site::new();
    site.proxy.close(true);
    let store = site.store();
    let progress = site.file("talk", LARGE);
    let delivery = site.deliver(&store, "talk", progress);
    until("it fails some times", || delivery.status().attempts >= 5);
    until("and says so", || delivery.status().error.is_some());
    site.proxy.close(false);
    site.check("talk", LARGE, &arrival(&delivery));
    assert_eq!(delivery.status().error, None);
    let nowhere = site.store_at("http://127.0.0.1:9", Duration::from_secs(3));
    let progress = site.file("other", SMALL);
    let refused = site.deliver(&nowhere, "other", progress);
    until("nobody listens there", || refused.status().attempts >= 2);
    assert!(
        nowhere
            .counts()
            .failures
            .iter()
            .any(|(reason, count)| *reason == "unsent" && *count >= 2)
    );
}

/// Fault row C8.
#[test]
fn an_object_of_somebody_else_is_never_overwritten() {
    for bytes in [SMALL, LARGE] {
        let site = Site::new();
        let theirs = site.bucket.object(BUCKET, "2026/talk.wav");
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, "theirs").unwrap();
        let (delivered, counts) = site.through(bytes);
        assert_eq!(delivered.key, "2026/talk~id-7.wav");
        assert!(delivered.is_renamed && counts.renamed == 1);
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
        assert_eq!(
            site.bucket.open_uploads().unwrap(),
            0,
            "the first upload is aborted"
        );
    }
}

#[test]
fn a_delivery_goes_on_where_another_was_dropped() {
    let site = Site::new();
    let progress = site.file("talk", 2 * PART_BYTES as usize + 5);
    {
        let store = site.store();
        let delivery = site.deliver(&store, "talk", progress.clone());
        until("two parts are up", || {
            delivery.status().bytes_up >= 2 * PART_BYTES
        });
    }
    let before = site.proxy.count("Part");
    let store = site.store();
    let delivery = site.deliver(&store, "talk", progress);
    site.check("talk", 2 * PART_BYTES as usize + 5, &arrival(&delivery));
    assert_eq!(site.proxy.count("Create"), 1, "the same upload");
    assert!(site.proxy.count("Part") - before <= 2, "and no part twice");
    assert_eq!(site.bucket.open_uploads().unwrap(), 0);
}

#[test]
fn a_wrong_secret_is_said_without_telling_it_and_another_helps() {
    let site = Site::new();
    let mut object = site.object("talk");
    object.credentials = None;
    let wrong = "another/Secret+that:is:wrong";
    let store = Store::start(StoreSettings {
        endpoint: Endpoint::Url(site.proxy.url()),
        region: Some("eu-central-1".to_owned()),
        path_style: true,
        encryption: Encryption::Bucket,
        credentials: Some(Credentials::parse(&format!("{KEY_ID}:{wrong}:eu-central-1")).unwrap()),
        tempo: Tempo {
            back_off_min: Duration::from_millis(10),
            back_off_lasting_max: Duration::from_millis(100),
            ..Tempo::default()
        },
    })
    .unwrap();
    let (_, progress) = watch::channel(site.file("talk", SMALL));
    let delivery = store.deliver(object, progress, |_| {});
    until("it is refused", || delivery.status().error.is_some());
    let error = delivery.status().error.unwrap_or_default();
    assert!(
        error.contains("403") && error.contains("SignatureDoesNotMatch"),
        "{error}"
    );
    assert!(!error.contains(wrong) && !error.contains(KEY_ID), "{error}");
    store.set_credentials(Credentials::parse(&format!("{KEY_ID}:{SECRET}:eu-central-1")).ok());
    site.check("talk", SMALL, &arrival(&delivery));
}

#[test]
fn a_bucket_that_is_not_there_is_said() {
    let site = Site::new();
    let mut object = site.object("talk");
    object.bucket = "nobodys".to_owned();
    let store = site.store();
    let (_, progress) = watch::channel(site.file("talk", SMALL));
    let delivery = store.deliver(object, progress, |_| {});
    until("it is refused", || {
        delivery
            .status()
            .error
            .is_some_and(|error| error.contains("NoSuchBucket"))
    });
}

#[test]
fn a_file_that_changed_after_it_was_finished_is_not_sent() {
    let site = Site::new();
    let store = site.store();
    let progress = site.file("talk", SMALL);
    fs::write(site.dir.join("talk.image"), vec![7; SMALL]).unwrap();
    let delivery = site.deliver(&store, "talk", progress);
    until("it is said", || {
        delivery
            .status()
            .error
            .is_some_and(|error| error.contains("not what it was"))
    });
    assert!(site.proxy.calls().is_empty());
    site.file("talk", SMALL);
    site.check("talk", SMALL, &arrival(&delivery));
}

#[test]
fn many_files_go_up_side_by_side() {
    let site = Site::new();
    let store = site.store();
    let deliveries: Vec<_> = (0..40)
        .map(|n| {
            let name = format!("n{n:02}");
            let progress = site.file(&name, 10_000 + n);
            (name.clone(), 10_000 + n, site.deliver(&store, &name, progress))
        })
        .collect();
    for (name, bytes, delivery) in &deliveries {
        site.check(name, *bytes, &arrival(delivery));
    }
    assert_eq!(store.counts().delivered, 40);
}
