//! Recordings whose room, leg or recorder does something else meanwhile.

use std::pin::pin;

use super::*;
use crate::control::requests::{RecordingCommand, RecordingOptions};
use crate::engine::Recorded;
use crate::frame::Rate;
use crate::id::RecordingSlot;
use crate::record::RecordingState;

const WHOLE: Page = Page { page: 1, size: 100 };

fn options(json: serde_json::Value) -> RecordingOptions {
    let fields = Fields::parse(json.to_string().as_bytes()).unwrap();
    RecordingOptions::parse(fields, &Rules::default()).unwrap()
}

fn call(name: &str) -> CallId {
    CallId::parse(name).unwrap()
}

impl Unheard {
    async fn record(&self, json: serde_json::Value) -> Started {
        let (conference, actor) = (room("r"), tester());
        let started = self.service.start_recording(&conference, options(json), &actor);
        started.await.unwrap()
    }

    async fn record_leg(&self, leg: &str) -> Started {
        let (leg, actor) = (call(leg), tester());
        let started = self.service.start_leg_recording(&leg, options(json!({})), &actor);
        started.await.unwrap()
    }

    fn hear(&self, leg: &str, event: impl FnOnce(crate::id::LegId) -> engine::Event) {
        let inner = &self.service.inner;
        let place = inner.state().legs[&call(leg)].place.clone();
        let event = Event::Engine(event(place.slot));
        inner.hear(&mut inner.state(), place.engine, event, &mut Vec::new());
    }

    /// Of the recording that was begun last.
    fn slot(&self) -> RecordingSlot {
        let running = self.service.inner.state().recordings_in(&room("r"));
        *running.last().expect("one runs")
    }

    /// As the recorder does when a recording cannot go on.
    fn ends_by_itself(&self, started: &Started) {
        self.service.inner.recorder.finish(self.slot(), None).unwrap();
        assert_ne!(self.state(started), RecordingState::Recording);
    }

    fn state(&self, started: &Started) -> RecordingState {
        let status = self.service.inner.recorder.status(&started.status.recording_id);
        status.unwrap().state
    }

    /// What was told of recordings so far.
    async fn told(&self) -> Vec<&'static str> {
        let messages = told(&self.service, None).await;
        let kinds = messages.iter().map(|message| message.kind);
        kinds.filter(|kind| kind.starts_with("recording.")).collect()
    }
}

/// Lets a request run until it waits for the disk, then something else happens, then it goes on. On a runtime as
/// [`with_one_disk`] has it.
async fn meanwhile<T>(request: impl Future<Output = T>, happens: impl FnOnce()) -> T {
    let (free, busy) = std::sync::mpsc::channel::<()>();
    let occupied = tokio::task::spawn_blocking(move || {
        let _ = busy.recv();
    });
    let mut request = pin!(request);
    tokio::select! {
        biased;
        _ = &mut request => panic!("it waits for the disk"),
        () = std::future::ready(()) => happens(),
    }
    drop(free);
    occupied.await.unwrap();
    request.await
}

/// Runs a test where one thread does all that blocks: whoever comes while it is occupied waits.
fn with_one_disk(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn what_was_begun_for_a_room_or_a_leg_that_left_meanwhile_leaves_nothing_behind() {
    with_one_disk(async {
        let unheard = Unheard::start("undone");
        unheard.leg("r", "a").await.unwrap();
        let (service, inner) = (&unheard.service, &unheard.service.inner);
        let (conference, leg, actor) = (room("r"), call("a"), tester());
        let start = service.start_leg_recording(&leg, options(json!({})), &actor);
        let refused = meanwhile(start, || inner.let_go(&mut inner.state(), &leg, "hangup")).await;
        assert_eq!(refused.err().map(|refusal| refusal.code), Some(40400));
        let start = service.start_recording(&conference, options(json!({})), &actor);
        let refused = meanwhile(start, || drop(inner.state().rooms.remove(&conference))).await;
        assert_eq!(refused.err().map(|refusal| refusal.code), Some(40400));
        assert_eq!(service.recordings(WHOLE).await.unwrap().total, 0);
        assert_eq!(unheard.told().await, [""; 0]);
        tokio::select! {
            biased;
            news = unheard.recording_news.next() => panic!("{news:?}"),
            () = std::future::ready(()) => {}
        }
    });
}

#[tokio::test]
async fn a_recording_that_ends_before_it_is_tapped_is_refused_and_never_told_to_have_begun() {
    let unheard = Unheard::start("stillborn");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    let (conference, leg, actor) = (room("r"), call("a"), tester());
    for of_leg in [None, Some(&leg)] {
        let begun = inner.begin(&conference, of_leg, options(json!({})), &actor).await;
        let (begun, _) = begun.unwrap();
        inner.recorder.finish(begun.slot, None).unwrap();
        let rate = Rate::Hz8000;
        let refused = match of_leg {
            None => inner.record_room(&conference, &begun, rate, false),
            Some(leg) => inner.record_what_is_sent(leg, &begun, rate),
        };
        assert_eq!(refused.unwrap_err().code, 50300);
    }
    assert!(inner.state().recordings_in(&conference).is_empty());
    assert_eq!(unheard.told().await, [""; 0]);
}

#[tokio::test]
async fn a_pause_is_told_when_it_begins_though_nobody_waits_for_it_and_never_after_the_end() {
    let unheard = Unheard::start("pauses");
    unheard.leg("r", "a").await.unwrap();
    let started = unheard.record(json!({})).await;
    let slot = unheard.slot();
    let paused = |on| {
        move |_| engine::Event::RecordingPaused {
            slot,
            on,
            tick: Tick(1),
        }
    };
    {
        let conference = room("r");
        let mut asked = pin!(
            unheard
                .service
                .change_recording(&conference, RecordingCommand::Pause)
        );
        tokio::select! {
            biased;
            answered = &mut asked => panic!("nobody has done it: {:?}", answered.is_ok()),
            () = std::future::ready(()) => {}
        }
        // Who asked is gone.
    }
    unheard.hear("a", paused(true));
    unheard.hear("a", paused(true));
    let told = ["recording.started", "recording.paused"];
    assert_eq!(unheard.told().await, told);
    unheard.ends_by_itself(&started);
    unheard.hear("a", paused(false));
    assert_eq!(unheard.told().await, told);
}

#[tokio::test]
async fn a_recording_that_has_ended_by_itself_keeps_no_other_from_being_begun() {
    let unheard = Unheard::start("dead");
    unheard.leg("r", "a").await.unwrap();
    let (service, conference, leg) = (&unheard.service, room("r"), call("a"));
    let first = unheard.record(json!({})).await;
    assert!(!unheard.record(json!({})).await.is_new, "it runs");
    unheard.ends_by_itself(&first);
    let paused = service
        .change_recording(&conference, RecordingCommand::Pause)
        .await;
    assert_eq!(paused.unwrap_err().code, 40400);
    let second = unheard.record(json!({})).await;
    assert!(second.is_new);

    let first = unheard.record_leg("a").await;
    assert!(!unheard.record_leg("a").await.is_new, "it runs");
    unheard.ends_by_itself(&first);
    let paused = service.change_leg_recording(&leg, RecordingCommand::Pause).await;
    assert_eq!(paused.unwrap_err().code, 40400);
    assert!(unheard.record_leg("a").await.is_new);
    assert_eq!(unheard.state(&second), RecordingState::Recording);
}

#[tokio::test]
async fn a_leg_that_fails_before_its_engine_knew_of_its_recording_ends_it() {
    let unheard = Unheard::start("untapped");
    unheard.leg("r", "a").await.unwrap();
    let started = unheard.record_leg("a").await;
    let inner = &unheard.service.inner;
    inner.let_go(&mut inner.state(), &call("a"), "failed");
    let mut returned = Vec::new();
    while unheard.legs() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        for engine in 0..2 {
            while let Some(event) = inner.driver.poll(engine) {
                // It was never tapped.
                let is_of_tap = matches!(
                    event,
                    Event::Engine(engine::Event::Recording {
                        of: Recorded::Leg(_),
                        ..
                    })
                );
                if !is_of_tap {
                    inner.hear(&mut inner.state(), engine, event, &mut returned);
                }
            }
        }
    }
    assert_ne!(unheard.state(&started), RecordingState::Recording);
}

#[tokio::test]
async fn who_is_muted_is_told_to_each_recording_that_hears_it() {
    let unheard = Unheard::start("muted");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    let tick = inner.tick_now();
    unheard.hear("a", |leg| engine::Event::Joined {
        leg,
        tick,
        waits: false,
    });
    let of_room = unheard.record(json!({})).await;
    let body = json!({ "muted": true });
    let change = ChangeLeg::parse(Fields::parse(body.to_string().as_bytes()).unwrap()).unwrap();
    let leg = call("a");
    let changed = unheard.service.change_leg(&leg, change, None, tester());
    changed.await.unwrap();
    // Between what was decided and what the engine does: this one knows of it from its beginning.
    let of_leg = unheard.record_leg("a").await;
    let slots = inner.state().recordings_in(&room("r"));
    unheard.hear("a", |leg| engine::Event::Changed { leg, tick });
    for slot in slots {
        inner.recorder.finish(slot, None).unwrap();
    }
    for started in [of_room, of_leg] {
        let settled = inner
            .recorder
            .wait_until_settled(&started.status.recording_id, Duration::from_secs(10));
        let receipt = settled.unwrap().receipt.expect("it is available");
        let muted: Vec<usize> = receipt.attendance.iter().map(|stay| stay.muted.len()).collect();
        assert_eq!(muted, [1]);
    }
}

#[tokio::test]
async fn whoever_wants_no_word_of_an_end_hears_of_a_bad_one() {
    let unheard = Unheard::start("unwanted");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    let unwanted = json!({ "notificationEvents": false });
    let told_of = |started: &Started, state: RecordingState| {
        let mut status = started.status.clone();
        status.state = state;
        inner.tell_of_recording(&status);
    };
    let good = unheard.record(unwanted.clone()).await;
    inner.state().rooms.get_mut(&room("r")).unwrap().recording = None;
    told_of(&good, RecordingState::Finishing);
    told_of(&good, RecordingState::Available);
    assert_eq!(unheard.told().await, ["recording.started"]);
    let bad = unheard.record(unwanted).await;
    told_of(&bad, RecordingState::Finishing);
    assert_eq!(inner.state().rooms[&room("r")].recording, None);
    told_of(&bad, RecordingState::Failed);
    let expected = [
        "recording.started",
        "recording.started",
        "recording.finished",
        "recording.failed",
    ];
    assert_eq!(unheard.told().await, expected);
    let wanted = unheard.record(json!({})).await;
    told_of(&wanted, RecordingState::Available);
    assert_eq!(unheard.told().await.last(), Some(&"recording.available"));
}

#[tokio::test]
async fn without_file_descriptors_no_recording_begins() {
    let mut unheard = Unheard::start("descriptors");
    unheard.leg("r", "a").await.unwrap();
    let mut leave = |fds| {
        let inner = Arc::get_mut(&mut unheard.service.inner).expect("nobody else has it");
        inner.fds_for_recordings = fds;
    };
    leave(2 + 4 + 4);
    let (conference, actor) = (room("r"), tester());
    let tracks = options(json!({ "tracks": "mix+legs" }));
    unheard.record(json!({})).await;
    unheard.record_leg("a").await;
    unheard.leg("s", "b").await.unwrap();
    let refused = unheard
        .service
        .start_recording(&room("s"), options(json!({})), &actor)
        .await;
    assert_eq!(refused.err().map(|refusal| refusal.code), Some(50300));
    {
        let mut state = unheard.service.inner.state();
        state.rooms.get_mut(&conference).unwrap().recording = None;
    }
    // Two legs have four; a mix takes as much again, and each of its tracks two more.
    let refused = unheard.service.start_recording(&conference, tracks, &actor).await;
    let refusal = refused.err().expect("one would be too many");
    assert!(refusal.retry_after_s.is_some());
    for limit in [44, 1_024, 4_096, 65_536] {
        let (legs, recordings) = fds_for(limit, 1_024);
        assert!(
            legs < recordings && recordings < limit,
            "{limit}: {legs}, {recordings}"
        );
    }
}

#[tokio::test]
async fn a_recording_of_which_nobody_knows_the_room_is_counted() {
    let unheard = Unheard::start("no-room");
    unheard.leg("r", "a").await.unwrap();
    let mut status = unheard.record(json!({})).await.status;
    status.conference_id.clear();
    status.state = RecordingState::Failed;
    unheard.service.inner.tell_of_recording(&status);
    assert_eq!(unheard.told().await, ["recording.started"]);
    assert_eq!(unheard.service.figures().await.recordings_untold, [0, 1]);
}

#[tokio::test]
async fn a_leg_to_be_recorded_in_a_conference_that_ends_meanwhile_is_a_conflict() {
    let unheard = Unheard::start("record-in-what-ends");
    let service = unheard.service.clone();
    let _dir = unheard.pumped();
    let turn = service.inner.recordings_in_turn.take(&room("r")).await.unwrap();
    let body = json!({ "conferenceId": "r", "callId": "a", "record": true });
    let fields = Fields::parse(body.to_string().as_bytes()).unwrap();
    let request = CreateLeg::parse(fields, &Rules::default()).unwrap();
    let creating = tokio::spawn({
        let service = service.clone();
        async move { service.create_leg(request, tester()).await.map(|_| ()) }
    });
    while service.legs(WHOLE).total == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    service.clear_conference(&room("r"), "ended").await.unwrap();
    drop(turn);
    let refusal = creating.await.unwrap().unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (crate::control::refusal::CONFLICT, "The conference has ended.")
    );
}
