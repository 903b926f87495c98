//! The daemon is killed while long recordings go up in parts: between a part and the note of it, between the last word
//! and its answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use mixminus::engine::outbox::{Content, Tapped};
use mixminus::frame::Rate;
use mixminus::id::TrackNumber;
use mixminus::record::{
    Anchor, BeginRecording, BucketRules, Credentials, Destination, Encryption, Endpoint, Recorder,
    RecordingSlot, Rules, Store, StoreSettings, TAP_RING_BYTES, TapSender, Tempo, tap_ring,
};
use mixminus::time::Tick;

use super::delivered::delivered;
use super::site::{BUCKET, CREDENTIALS, PATIENCE, Site, until};
use super::{chance, setting};
use crate::support::fault_proxy::Fault;

/// Names, and seconds at 48 kHz: a part of 5 MiB is 54.6 s of wav.
const RECORDINGS: [(&str, u64); 3] = [("long.wav", 190), ("short.wav", 60), ("noise.flac", 130)];

const RATE: Rate = Rate::Hz48000;

const TICKS_PER_SECOND: u64 = 50;

/// Journals as a kill leaves them, and the objects that a daemon makes of them whom nobody disturbs.
struct Example {
    site: Site,
    /// The folders of a spool.
    journals: PathBuf,
    ids: Vec<String>,
}

impl Example {
    fn new() -> Example {
        let site = Site::new();
        let (mut sender, receiver) = tap_ring(TAP_RING_BYTES);
        let store = Store::start(StoreSettings {
            endpoint: Endpoint::Url(site.store.url()),
            region: None,
            path_style: true,
            encryption: Encryption::Bucket,
            credentials: Some(Credentials::parse(CREDENTIALS).unwrap()),
            tempo: Tempo::default(),
        });
        let recorder = Recorder::start(
            &site.recordings(),
            vec![receiver],
            Some(store.unwrap()),
            Box::new(|_| {}),
        )
        .unwrap();
        let journals = site.dir.join("journals");
        let mut ids = Vec::new();
        for (name, seconds) in RECORDINGS {
            let slot = record(&recorder, name);
            push(&mut sender, slot, seconds);
            let id = id_of(name);
            let folder = site.recordings().join(".spool").join(&id);
            // When nothing more comes, what lies there is what a kill leaves.
            let bytes = seconds * 2 * u64::from(RATE.hz());
            until("all of it is in the journal", || {
                (bytes_of(&folder) >= bytes).then_some(())
            });
            thread::sleep(Duration::from_millis(200));
            copy_journal(&folder, &journals.join(&id));
            recorder.finish(slot, None).unwrap();
            ids.push(id);
        }
        assert!(recorder.wait_until_all_settled(PATIENCE));
        drop(recorder);
        Example { site, journals, ids }
    }

    fn lay_out(&self, site: &Site) {
        let spool = site.recordings().join(".spool");
        for id in &self.ids {
            copy_journal(&self.journals.join(id), &spool.join(id));
        }
    }
}

fn id_of(name: &str) -> String {
    name.replace('.', "-")
}

fn record(recorder: &Recorder, name: &str) -> RecordingSlot {
    let rules = Rules {
        default: "file://".to_owned(),
        s3: Some(BucketRules::default()),
    };
    let url = format!("s3://{BUCKET}/{name}");
    let format = name.rsplit('.').next();
    let begun = recorder.begin(BeginRecording {
        recording_id: id_of(name),
        conference_id: "room".to_owned(),
        call_id: None,
        destination: Destination::parse(Some(&url), None, format, &rules).unwrap(),
        application: "tests".to_owned(),
        rate: RATE,
        legs: false,
        notifies: false,
        now: Anchor {
            tick: Tick(0),
            at: jiff::Timestamp::now(),
        },
    });
    begun.unwrap().slot
}

/// Noise, so that no two parts are alike and FLAC makes nothing small of it.
fn push(sender: &mut TapSender, slot: RecordingSlot, seconds: u64) {
    let mut chance = fastrand::Rng::with_seed(seconds);
    for tick in 0..seconds * TICKS_PER_SECOND {
        let pcm: Vec<f32> = (0..RATE.samples_per_tick()).map(|_| chance.f32() - 0.5).collect();
        let tapped = Tapped {
            recording: slot,
            track: TrackNumber::MAIN,
            tick: Tick(tick),
            rate: RATE,
            content: Content::Sound(&pcm),
        };
        while sender.push(&tapped).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn bytes_of(folder: &Path) -> u64 {
    journal_of(folder)
        .map(|path| fs::metadata(path).unwrap().len())
        .sum()
}

fn journal_of(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let items = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    items.filter(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("journal-")
    })
}

fn copy_journal(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in journal_of(from) {
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_daemon_killed_while_it_uploads_makes_one_object_of_each_recording_byte_for_byte() {
    let stories: usize = setting("MIXMINUS_UPLOAD_STORIES", 3);
    let mut rng = chance("uploads");
    let example = Example::new();
    let (mut kills, mut orphans) = (0, 0);
    for _ in 0..stories {
        let site = Site::new();
        example.lay_out(&site);
        let mut killed = 0;
        for _ in 0..rng.usize(2..6) {
            // Each part takes a quarter of a second and more, and some answers are lost on the way.
            site.proxy.fault("Part", 12, Fault::Slow(20 << 20));
            match rng.u8(0..4) {
                0 => drop(site.proxy.fault("Complete", 1, Fault::LoseAnswer)),
                1 => drop(site.proxy.fault("Part", 1, Fault::LoseAnswer)),
                2 => drop(site.proxy.fault("Complete", 1, Fault::Freeze)),
                _ => {}
            }
            let daemon = site.start();
            thread::sleep(Duration::from_millis(rng.u64(0..2_500)));
            daemon.kill();
            killed += 1;
        }
        let daemon = site.start();
        let mut keys: Vec<String> = Vec::new();
        for id in &example.ids {
            let delivered = delivered(&site, &daemon.wait_until_available(id));
            let name = delivered.path.file_name().unwrap().to_str().unwrap();
            let undisturbed = fs::read(example.site.store.object(BUCKET, name)).unwrap();
            assert!(
                fs::read(&delivered.path).unwrap() == undisturbed,
                "{name} is not what it is without kills"
            );
            keys.extend(delivered.keys);
        }
        keys.sort();
        assert_eq!(site.store.keys(BUCKET).unwrap(), keys);
        // That somebody has yet to be told is marked there until just after it has been.
        let files = until("all who listen have been told", || {
            let files = site.files();
            (!files.iter().any(|file| file.ends_with(".untold"))).then_some(files)
        });
        assert_eq!(
            files.len(),
            2 + example.ids.len(),
            "a lock, ballast and receipts: {files:?}"
        );
        // An upload whose id never reached the disk is for the bucket's lifecycle rule: one for each file and kill at most.
        let open = site.store.open_uploads().unwrap();
        assert!(open <= killed * example.ids.len(), "{open} uploads are left open");
        (kills, orphans) = (kills + killed, orphans + open);
    }
    println!(
        "{kills} kills while parts went up; {orphans} uploads of unknown id left to the bucket's lifecycle rule"
    );
}
