//! What recordings are called, and what becomes of a file that is moved, removed or replaced while it grows.

use super::*;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use crate::record::receipt;

#[test]
fn recordings_of_one_name_that_end_together_have_a_receipt_each() {
    let mut studio = Studio::new();
    for round in 0..25 {
        let folder = format!("round-{round}");
        let begun = ["wav", "flac"].map(|format| {
            let id = format!("{format}-{round}");
            let url = format!("file://{folder}/n");
            let begun = studio.recorder.begin(request(&id, &url, format)).unwrap();
            studio.push(begun.slot, 0, 0..5);
            begun
        });
        for begun in &begun {
            studio
                .recorder
                .finish(begun.slot, Some(Tick(4)))
                .expect("it runs");
        }
        for begun in &begun {
            let id = &begun.status.recording_id;
            let receipt = studio.settled(id).receipt.expect("it is available");
            let beside = ["n.json".to_owned(), format!("n~{id}.json")];
            let found = beside
                .iter()
                .filter_map(|name| receipt::read(&studio.dir.join(&folder).join(name)))
                .filter(|found| *found == receipt)
                .count();
            assert_eq!(found, 1, "round {round}: the receipt of {id}");
        }
    }
}

/// A recording of twenty ticks with a track of a leg, whose file has begun to grow.
fn growing(studio: &mut Studio, recording_id: &str, url: &str) -> Begun {
    let begun = studio.begin(recording_id, url).unwrap();
    studio.recorder.track(begun.slot, TrackNumber(1), "a").unwrap();
    studio.push(begun.slot, 0, 0..20);
    studio.push(begun.slot, 1, 0..20);
    studio.grown(&begun.status.key, 20);
    begun
}

fn audio(studio: &Studio, recording_id: &str) -> Vec<u8> {
    let mut audio = studio.recorder.audio(recording_id).expect("it is served");
    let mut bytes = Vec::new();
    audio.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, audio.bytes);
    bytes
}

/// What was heard lies where the receipt says, which lies beside it; and it is served.
fn delivered(studio: &Studio, receipt: &Receipt, last: u64) {
    assert_eq!(studio.ticks(&receipt.key), levels(0, 0..last + 1));
    let bytes = fs::read(studio.dir.join(&receipt.key)).unwrap();
    assert_eq!(receipt.sha256, format!("{:x}", Sha256::digest(&bytes)));
    assert_eq!(audio(studio, &receipt.recording_id), bytes);
    let stem = receipt.key.strip_suffix(".wav").unwrap();
    let beside = receipt::read(&studio.dir.join(format!("{stem}.json")));
    assert_eq!(beside.as_ref(), Some(receipt));
    let folder = studio.dir.join(".spool").join(&receipt.recording_id);
    assert!(!folder.exists(), "the journal is gone");
}

#[test]
fn a_file_that_is_moved_or_removed_while_it_grows_is_in_its_place_at_the_end() {
    let mut studio = Studio::new();
    let begun = growing(&mut studio, "id-1", "file://calls/talk");
    fs::rename(studio.dir.join("calls/talk.wav"), studio.dir.join("taken.wav")).unwrap();
    fs::remove_dir(studio.dir.join("calls")).unwrap();
    assert_eq!(audio(&studio, "id-1").len(), 44 + 20 * 640, "it is served still");
    studio.push(begun.slot, 0, 20..30);
    let receipt = studio.finished(&begun, 29);
    assert_eq!(
        (&receipt.key[..], &receipt.requested_key),
        ("calls/talk.wav", &None)
    );
    delivered(&studio, &receipt, 29);
    assert_eq!(
        studio.ticks("taken.wav"),
        levels(0, 0..30),
        "what was moved is not cut"
    );

    let begun = growing(&mut studio, "id-2", "file://second");
    fs::remove_file(studio.dir.join("second.wav")).unwrap();
    let receipt = studio.finished(&begun, 19);
    assert_eq!(receipt.key, "second.wav");
    delivered(&studio, &receipt, 19);
}

#[test]
fn a_file_that_is_put_in_the_place_of_one_that_grows_stays_and_the_recording_has_another_name() {
    let mut studio = Studio::new();
    let begun = growing(&mut studio, "id-1", "file://talk");
    fs::remove_file(studio.dir.join("talk.wav")).unwrap();
    fs::write(studio.dir.join("talk.wav"), "mine").unwrap();
    let receipt = studio.finished(&begun, 19);
    assert_eq!(receipt.key, "talk~id-1.wav");
    assert_eq!(receipt.destination, "file://talk~id-1.wav");
    assert_eq!(receipt.requested_key.as_deref(), Some("talk.wav"));
    assert_eq!(receipt.tracks[0].key, "talk~id-1.a.wav");
    let status = studio.recorder.status("id-1").unwrap();
    assert_eq!(
        (status.key, status.requested_key),
        (receipt.key.clone(), receipt.requested_key.clone())
    );
    delivered(&studio, &receipt, 19);
    assert_eq!(fs::read(studio.dir.join("talk.wav")).unwrap(), b"mine");

    // And so where one is put that is taken back.
    let begun = studio.begin("id-2", "file://never").unwrap();
    fs::remove_file(studio.dir.join("never.wav")).unwrap();
    fs::write(studio.dir.join("never.wav"), "mine too").unwrap();
    studio.recorder.cancel(begun.slot);
    let deadline = Instant::now() + PATIENCE;
    while studio.dir.join(".spool/id-2").exists() {
        assert!(Instant::now() < deadline, "it stays");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(fs::read(studio.dir.join("never.wav")).unwrap(), b"mine too");
}

#[test]
fn what_is_done_to_names_while_no_daemon_runs_takes_nothing_and_nothing_is_written_over() {
    let mut studio = Studio::new();
    for id in ["replaced", "moved", "left"] {
        growing(&mut studio, id, &format!("file://{id}"));
    }
    let crashed = Scratch::new();
    let dir = crashed.path("recordings");
    copied(&studio.dir, &dir);
    fs::remove_file(dir.join("replaced.wav")).unwrap();
    fs::write(dir.join("replaced.wav"), "mine").unwrap();
    fs::rename(dir.join("moved.wav"), dir.join("taken.wav")).unwrap();

    let next = Studio::in_dir(dir).unwrap();
    for (id, key, requested) in [
        ("replaced", "replaced~replaced.wav", Some("replaced.wav")),
        ("moved", "moved.wav", None),
        ("left", "left.wav", None),
    ] {
        let receipt = next.settled(id).receipt.expect("it is available");
        assert_eq!(
            (&receipt.key[..], receipt.requested_key.as_deref()),
            (key, requested)
        );
        delivered(&next, &receipt, 19);
    }
    assert_eq!(fs::read(next.dir.join("replaced.wav")).unwrap(), b"mine");
    assert_eq!(next.ticks("taken.wav"), levels(0, 0..20));
}

#[test]
fn what_an_earlier_version_left_without_a_second_name_is_finished_under_the_first() {
    let mut studio = Studio::new();
    growing(&mut studio, "id-1", "file://talk");
    let crashed = Scratch::new();
    let dir = crashed.path("recordings");
    copied(&studio.dir, &dir);
    fs::remove_file(dir.join(".spool/id-1/mix.wav")).unwrap();
    let next = Studio::in_dir(dir).unwrap();
    let receipt = next.settled("id-1").receipt.expect("it is available");
    assert_eq!(receipt.key, "talk.wav");
    delivered(&next, &receipt, 19);
}

#[test]
fn on_a_file_system_that_the_spool_is_not_on_a_file_has_one_name() {
    let mut studio = Studio::new();
    let far = Path::new("/dev/shm").join(format!("mixminus-{}", uuid::Uuid::new_v4()));
    let is_another = |far: &Path| {
        fs::metadata(far).ok().map(|far| far.dev()) != fs::metadata(&studio.dir).ok().map(|near| near.dev())
    };
    if fs::create_dir(&far).is_err() || !is_another(&far) {
        println!("there is no second file system here");
        return;
    }
    std::os::unix::fs::symlink(&far, studio.dir.join("far")).unwrap();
    fs::write(far.join("taken.wav"), "mine").unwrap();
    for (id, name, key) in [
        ("id-1", "far/talk", "far/talk.wav"),
        ("id-2", "far/taken", "far/taken~id-2.wav"),
    ] {
        let begun = studio.begin(id, &format!("file://{name}")).unwrap();
        assert!(!studio.dir.join(".spool").join(id).join("mix.wav").exists());
        studio.push(begun.slot, 0, 0..20);
        let receipt = studio.finished(&begun, 19);
        assert_eq!(receipt.key, key);
        delivered(&studio, &receipt, 19);
    }
    assert_eq!(fs::read(far.join("taken.wav")).unwrap(), b"mine");
    let begun = studio.begin("id-3", "file://far/never").unwrap();
    studio.recorder.cancel(begun.slot);
    let deadline = Instant::now() + PATIENCE;
    while studio.dir.join(".spool/id-3").exists() || far.join("never.wav").exists() {
        assert!(Instant::now() < deadline, "it stays");
        thread::sleep(Duration::from_millis(5));
    }
    fs::remove_dir_all(far).unwrap();
}

#[test]
fn a_name_that_differs_in_the_ending_only_is_taken_and_each_receipt_is_beside_its_sound() {
    let mut studio = Studio::new();
    fs::write(studio.dir.join("other.FLAC"), "mine").unwrap();
    for (id, name, format, key) in [
        ("id-1", "talk", "wav", "talk.wav"),
        ("id-2", "talk", "flac", "talk~id-2.flac"),
        ("id-3", "other", "ogg", "other~id-3.ogg"),
    ] {
        let url = format!("file://{name}");
        let begun = studio.recorder.begin(request(id, &url, format)).unwrap();
        let requested = format!("{name}.{format}");
        let other = (key != requested).then_some(requested);
        assert_eq!(
            (&begun.status.key[..], &begun.status.requested_key),
            (key, &other)
        );
        studio.push(begun.slot, 0, 0..20);
        let receipt = studio.finished(&begun, 19);
        assert_eq!((&receipt.key[..], &receipt.requested_key), (key, &other));
        let beside = key.strip_suffix(format).unwrap().to_owned() + "json";
        assert_eq!(receipt::read(&studio.dir.join(beside)), Some(receipt));
    }
}

#[test]
fn where_the_name_of_a_receipt_is_taken_the_recording_says_where_its_own_lies() {
    let mut studio = Studio::new();
    let begun = growing(&mut studio, "id-1", "file://calls/talk");
    fs::write(studio.dir.join("calls/talk.json"), "mine").unwrap();
    let receipt = studio.finished(&begun, 19);
    assert_eq!(receipt.receipt_key.as_deref(), Some("calls/talk~id-1.json"));
    let status = studio.recorder.status("id-1").unwrap();
    assert_eq!(
        (status.receipt_key, status.key),
        (receipt.receipt_key.clone(), "calls/talk.wav".to_owned())
    );
    let beside = receipt::read(&studio.dir.join("calls/talk~id-1.json"));
    assert_eq!(beside, Some(receipt));
    assert_eq!(fs::read(studio.dir.join("calls/talk.json")).unwrap(), b"mine");
}

#[test]
fn a_name_is_taken_by_a_recording_whose_folder_says_what_it_is() {
    let studio = Studio::new();
    for round in 0..20 {
        let (id, name) = (format!("id-{round}"), format!("talk-{round}"));
        let sound = studio.dir.join(format!("{name}.wav"));
        let sidecar = studio.dir.join(".spool").join(&id).join("opening.json");
        // What a crash would leave at the moment the name is there.
        let is_said = thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let deadline = Instant::now() + PATIENCE;
                while !sound.exists() && Instant::now() < deadline {
                    std::hint::spin_loop();
                }
                sidecar.exists()
            });
            let begun = studio.begin(&id, &format!("file://{name}")).unwrap();
            let is_said = watcher.join().expect("no panic");
            studio.recorder.cancel(begun.slot);
            is_said
        });
        assert!(is_said, "round {round}");
    }
}

#[test]
fn of_a_recording_that_never_began_both_names_are_looked_at_and_nobody_elses_file_is_taken_away() {
    let scratch = Scratch::new();
    let dir = scratch.path("recordings");
    drop(Studio::in_dir(dir.clone()).unwrap());
    // The names each has taken; where it is the other one, an empty file of somebody has the one that was asked for.
    for (id, taken) in [
        ("id-1", None),
        ("id-2", Some("id-2.wav")),
        ("id-3", Some("id-3~id-3.wav")),
    ] {
        let folder = dir.join(".spool").join(id);
        make_folder(&folder).unwrap();
        let opening = naming::opening(&request(id, &format!("file://{id}"), "wav"));
        write_sidecar(&folder, &opening).unwrap();
        fs::write(naming::held(&folder, &opening), "").unwrap();
        if let Some(taken) = taken {
            fs::hard_link(naming::held(&folder, &opening), dir.join(taken)).unwrap();
        }
    }
    fs::write(dir.join("id-1.wav"), "").unwrap();
    fs::write(dir.join("id-3.wav"), "").unwrap();

    let next = Studio::in_dir(dir).unwrap();
    assert_eq!(next.names(), [".spool", "id-1.wav", "id-3.wav"]);
    assert!(next.recorder.list().is_empty());
    for id in ["id-1", "id-2", "id-3"] {
        assert!(!next.dir.join(".spool").join(id).exists());
    }
}
