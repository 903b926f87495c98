use super::*;

fn opening(recording_id: &str) -> Opening {
    Opening {
        recording_id: recording_id.to_owned(),
        conference_id: "room".to_owned(),
        call_id: None,
        bucket: None,
        stem: "a".to_owned(),
        ending: ".wav".to_owned(),
        requested_key: None,
        format: "wav".to_owned(),
        rate: 8_000,
        legs: false,
        has_credentials: false,
        notifies: true,
        anchor_tick: 0,
        anchor_us: 0,
    }
}

fn receipt(recording_id: &str) -> Receipt {
    Receipt {
        recording_id: recording_id.to_owned(),
        conference_id: "room".to_owned(),
        call_id: None,
        destination: "file://a.wav".to_owned(),
        key: "a.wav".to_owned(),
        requested_key: None,
        receipt_key: None,
        bytes: 0,
        sha256: String::new(),
        samples: 0,
        format: "wav".to_owned(),
        rate: 8_000,
        start: "1970-01-01T00:00:00.000Z".to_owned(),
        gaps: Vec::new(),
        gap_samples: 0,
        pauses: Vec::new(),
        truncated: false,
        truncated_because: None,
        late_frames: 0,
        journal_holes: 0,
        attendance: Vec::new(),
        attendance_left_out: 0,
        tracks: Vec::new(),
        tracks_refused: Vec::new(),
    }
}

fn begin(shelf: &Shelf, recording_id: &str) -> RecordingSlot {
    let slot = shelf.new_slot();
    let status = RecordingStatus::of(&opening(recording_id), RecordingState::Recording);
    shelf.add(slot, status, Some(Arc::default()), None);
    slot
}

fn settle(shelf: &Shelf, slot: RecordingSlot, recording_id: &str) {
    assert!(shelf.settled(slot, receipt(recording_id), None, None).is_empty());
}

#[test]
fn no_more_recordings_run_at_once_than_the_limit_and_each_end_makes_room() {
    let shelf = Shelf::new(Box::new(|_| {}));
    for n in 0..ACTIVE_MAX {
        assert!(shelf.admits(&n.to_string()).is_ok());
        begin(&shelf, &n.to_string());
    }
    assert!(matches!(shelf.admits("one more"), Err(RecordError::TooMany)));
    let slot = shelf.running()[5];
    shelf.finishing(slot).expect("it runs");
    assert!(
        matches!(shelf.admits("one more"), Err(RecordError::TooMany)),
        "what is being finished counts"
    );
    settle(&shelf, slot, "5");
    assert!(shelf.admits("one more").is_ok());
    assert!(matches!(shelf.admits("5"), Err(RecordError::TakenId)));
}

#[test]
fn one_that_is_taken_back_while_its_files_are_finished_is_counted_out_once() {
    let shelf = Shelf::new(Box::new(|_| {}));
    for n in 0..ACTIVE_MAX {
        begin(&shelf, &n.to_string());
    }
    let slot = shelf.running()[0];
    shelf.remove(slot);
    shelf.uploading(slot, &receipt("0"));
    begin(&shelf, "in its place");
    assert!(matches!(shelf.admits("one more"), Err(RecordError::TooMany)));
}

#[test]
fn those_that_are_over_since_longest_are_forgotten_and_none_that_runs() {
    let shelf = Shelf::new(Box::new(|_| {}));
    shelf.list_at_most(10);
    begin(&shelf, "runs");
    let long = begin(&shelf, "long");
    let mut forgotten = Vec::new();
    for n in 0..12 {
        let slot = begin(&shelf, &n.to_string());
        forgotten.extend(shelf.settled(slot, receipt(&n.to_string()), None, None));
    }
    assert_eq!(forgotten, ["0", "1"]);
    forgotten = shelf.settled(long, receipt("long"), None, None);
    forgotten.extend(shelf.given_up(begin(&shelf, "lost"), "it cannot be read".to_owned()));
    assert_eq!(forgotten, ["2", "3"]);
    let listed: Vec<_> = shelf
        .list()
        .into_iter()
        .map(|status| status.recording_id)
        .collect();
    assert_eq!(listed.len(), 11);
    assert_eq!(listed[..3], ["runs", "long", "4"]);
    assert_eq!(shelf.status("3"), None);
    assert!(shelf.admits("3").is_ok());
    assert_eq!(shelf.count_unsettled(), 1);
}

#[test]
fn a_status_has_the_names_of_the_contract() {
    let mut status = RecordingStatus::of(&opening("r"), RecordingState::Recording);
    status.error = Some("why".to_owned());
    let expected = serde_json::json!({
        "recordingId": "r", "conferenceId": "room", "state": "recording", "paused": false,
        "destination": "file://a.wav", "key": "a.wav", "format": "wav", "rate": 8000, "start": "1970-01-01T00:00:00.000Z", "bytes": 0, "error": "why",
    });
    assert_eq!(serde_json::to_value(&status).expect("plain data"), expected);
    let available = RecordingStatus::new(&receipt("r"), RecordingState::Available);
    let json = serde_json::to_value(&available).expect("plain data");
    assert_eq!(
        (&json["state"], &json["receipt"]["recordingId"]),
        (&"available".into(), &"r".into())
    );
}

#[test]
fn waiting_ends_with_the_receipt_or_with_the_patience() {
    let shelf = Shelf::new(Box::new(|_| {}));
    let slot = begin(&shelf, "r");
    let waited = shelf
        .wait_until_settled("r", Duration::from_millis(1))
        .expect("it is known");
    assert_eq!(waited.state, RecordingState::Recording);
    let forgotten = shelf.settled(slot, receipt("r"), None, Some("the disk is gone".to_owned()));
    assert!(forgotten.is_empty());
    let waited = shelf
        .wait_until_settled("r", Duration::from_secs(60))
        .expect("it is known");
    assert_eq!(
        (waited.state, waited.error.as_deref()),
        (RecordingState::Failed, Some("the disk is gone"))
    );
    assert_eq!(shelf.wait_until_settled("unknown", Duration::from_secs(60)), None);
}

#[test]
fn what_a_crash_has_left_keeps_nobody_from_beginning_however_much_it_is() {
    let shelf = Shelf::new(Box::new(|_| {}));
    let leftover = |recording_id: &str| {
        let slot = shelf.new_slot();
        let status = RecordingStatus::of(&opening(recording_id), RecordingState::Recording);
        shelf.add(slot, status, None, None);
        shelf.finishing(slot).expect("as the start does");
        slot
    };
    let left: Vec<_> = (0..ACTIVE_MAX + 3).map(|n| leftover(&n.to_string())).collect();
    assert!(shelf.admits("new").is_ok());
    for n in 0..ACTIVE_MAX - 1 {
        begin(&shelf, &format!("new-{n}"));
    }
    // None of these ends makes room that was never taken.
    shelf.uploading(left[0], &receipt("0"));
    settle(&shelf, left[0], "0");
    settle(&shelf, left[1], "1");
    assert!(shelf.given_up(left[2], "it cannot be read".to_owned()).is_empty());
    shelf.remove(left[3]);
    assert!(shelf.admits("new").is_ok());
    begin(&shelf, "new");
    assert!(matches!(shelf.admits("one more"), Err(RecordError::TooMany)));
}

#[test]
fn what_was_told_to_be_over_is_not_taken_back() {
    let shelf = Shelf::new(Box::new(|_| {}));
    let slot = begin(&shelf, "r");
    settle(&shelf, slot, "r");
    shelf.remove(slot);
    assert_eq!(shelf.count_unsettled(), 0);
    assert!(shelf.status("r").is_some());
    shelf.remove(begin(&shelf, "s"));
    assert_eq!((shelf.count_unsettled(), shelf.status("s")), (0, None));
}

#[test]
fn receipts_are_told_and_not_kept_but_those_of_the_last_that_have_failed() {
    let told = Arc::<Mutex<Vec<bool>>>::default();
    let teller = told.clone();
    let shelf = Shelf::new(Box::new(move |status| {
        let mut told = teller.lock().expect("nobody panics with it");
        told.push(status.receipt.is_some());
    }));
    settle(&shelf, begin(&shelf, "r"), "r");
    let has_receipt = |recording_id: &str| shelf.status(recording_id).is_some_and(|of| of.receipt.is_some());
    assert!(!has_receipt("r"));
    for n in 0..=FAILED_RECEIPTS_MAX {
        let (slot, id) = (begin(&shelf, &n.to_string()), n.to_string());
        let forgotten = shelf.settled(slot, receipt(&id), None, Some("why".to_owned()));
        assert!(forgotten.is_empty());
    }
    assert!(!has_receipt("0") && has_receipt("1") && has_receipt("100"));
    assert_eq!(
        *told.lock().expect("nobody panics with it"),
        [true; FAILED_RECEIPTS_MAX + 2]
    );
}
