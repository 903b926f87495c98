//! Decisions that meet each other halfway: nothing is heard of the engines until a test lets it be.

mod admission;
mod histories;
mod ladder;
mod overload;
mod recordings;
mod scarce;

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::control::auth::{Identity, Role};
use crate::control::deeds::Actor;
use crate::control::events::Message;
use crate::control::fields::Fields;
use crate::control::requests::{ChangeConference, ChangeLeg, CreateLeg};
use crate::control::views::Page;
use crate::driver::{Command, Event};
use crate::dtmf::{Digit, Digits};
use crate::engine;
use crate::leg::DEFAULT_MAX_DELAY;
use crate::time::Tick;

/// A service that nobody pumps yet.
struct Unheard {
    service: Service,
    recording_news: Arc<RecordingNews>,
    dir: Scratch,
}

/// Gone when dropped, with what the recorder's threads have written there by then.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // The watch over the disk may be writing there: what it makes meanwhile stays in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Unheard {
    fn start(name: &str) -> Unheard {
        Unheard::on_ports(name, "44500-44699")
    }

    fn on_ports(name: &str, ports: &str) -> Unheard {
        let dir =
            Scratch(std::env::temp_dir().join(format!("mixminus-service-{}-{name}", std::process::id())));
        let sets = [
            format!("rtp.ports={ports}"),
            "engine.threads=2".to_owned(),
            "engine.legs=8".to_owned(),
            "engine.rooms=8".to_owned(),
            "admission.calibrate=assumed".to_owned(),
            format!("recording.dir={}", dir.0.display()),
        ];
        let config = Config::load(None, [], &sets).unwrap();
        let (service, recording_news) = Service::start(config).unwrap();
        Unheard {
            service,
            recording_news,
            dir,
        }
    }

    async fn leg(&self, conference: &str, call: &str) -> Result<(), Refusal> {
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n";
        let body = json!({ "conferenceId": conference, "callId": call, "sdp": sdp });
        let request = CreateLeg::parse(Fields::parse(body.to_string().as_bytes())?, &Rules::default())?;
        self.service.create_leg(request, tester()).await.map(|_| ())
    }

    /// Decides the move of a leg, which then is under way.
    async fn moving(&self, call: &str, to: &str) -> tokio::task::JoinHandle<Result<(), Refusal>> {
        let change = ChangeLeg {
            conference: Some(room(to)),
            ..ChangeLeg::default()
        };
        let (service, call) = (self.service.clone(), CallId::parse(call).unwrap());
        decided(async move {
            service
                .change_leg(&call, change, None, tester())
                .await
                .map(|_| ())
        })
        .await
    }

    fn legs(&self) -> usize {
        self.service.legs(Page { page: 1, size: 1 }).total
    }

    /// From here on the engines are heard.
    fn pumped(self) -> Scratch {
        tokio::spawn(pump(self.service, self.recording_news));
        self.dir
    }
}

fn tester() -> Actor {
    let identity = Identity {
        key: String::new(),
        role: Role::Admin,
    };
    Actor::new(identity, "a test")
}

fn room(name: &str) -> ConferenceId {
    ConferenceId::parse(name).unwrap()
}

/// All that has happened so far, of one room or of all.
async fn told(service: &Service, conference: Option<ConferenceId>) -> Vec<Message> {
    let newest = service.events().newest();
    let mut events = service.events().reader(None, Some(0));
    let (mut told, mut last) = (Vec::new(), 0);
    while last < newest {
        let messages = events.next().await;
        last = messages.last().map_or(last, |message| message.id);
        told.extend(messages);
    }
    told.retain(|message| conference.is_none() || message.conference == conference);
    told
}

/// Lets a request run as far as it can before an engine is heard.
async fn decided<T: Send + 'static>(
    request: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let task = tokio::spawn(request);
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    assert!(!task.is_finished());
    task
}

#[tokio::test]
async fn a_leg_on_its_way_into_a_room_that_is_cleared_leaves_as_it_arrives() {
    let unheard = Unheard::start("cleared");
    for (conference, call) in [("from", "moves"), ("from", "stays"), ("to", "there")] {
        unheard.leg(conference, call).await.unwrap();
    }
    let moving = unheard.moving("moves", "to").await;
    let service = unheard.service.clone();
    let clearing = {
        let service = service.clone();
        decided(async move { service.clear_conference(&room("to"), "kicked").await }).await
    };
    let mut events = service.events().reader(Some(room("to")), Some(0));
    let _dir = unheard.pumped();
    clearing.await.unwrap().unwrap();
    assert_eq!(service.conference(&room("to")).unwrap_err().code, 40400);
    assert_eq!(moving.await.unwrap().unwrap_err().code, 40400);
    assert_eq!(service.conference(&room("from")).unwrap().participants.len(), 1);
    let mut kicked = 0;
    while kicked < 2 {
        let messages = tokio::time::timeout(Duration::from_secs(5), events.next());
        for message in messages.await.unwrap() {
            kicked +=
                usize::from(message.kind == "leg.left" && message.json.contains("\"reason\":\"kicked\""));
        }
    }
}

#[tokio::test]
async fn whoever_comes_while_a_conference_ends_comes_into_another_of_its_name() {
    let unheard = Unheard::start("ending");
    for (conference, call) in [("r", "a"), ("from", "moves")] {
        unheard.leg(conference, call).await.unwrap();
    }
    let service = unheard.service.clone();
    let locked = ChangeConference {
        locked: Some(true),
        ..ChangeConference::default()
    };
    service.change_conference(&room("r"), locked).unwrap();
    let clearing = {
        let service = service.clone();
        decided(async move { service.clear_conference(&room("r"), "kicked").await }).await
    };
    let moving = unheard.moving("moves", "r").await;
    let unheard = Arc::new(unheard);
    let coming = {
        let unheard = Arc::clone(&unheard);
        decided(async move { unheard.leg("r", "new").await }).await
    };
    assert_eq!(service.conference(&room("r")).unwrap().participants.len(), 1);
    let (events, news) = (service.events().clone(), Arc::clone(&unheard.recording_news));
    let _pumping = tokio::spawn(pump(service.clone(), news));
    for wanted in [clearing, moving, coming] {
        wanted.await.unwrap().unwrap();
    }
    let shown = service.conference(&room("r")).unwrap();
    assert_eq!((shown.participants.len(), shown.locked), (2, false));
    let mut told = events.reader(Some(room("r")), Some(0));
    let mut rooms = Vec::new();
    while rooms.len() < 3 {
        let messages = tokio::time::timeout(Duration::from_secs(5), told.next())
            .await
            .unwrap();
        rooms.extend(
            messages
                .iter()
                .map(|message| message.kind)
                .filter(|kind| kind.starts_with("room.")),
        );
    }
    assert_eq!(rooms, ["room.started", "room.ended", "room.started"]);
}

#[tokio::test]
async fn keys_pressed_before_a_leg_is_told_to_have_joined_are_told_after() {
    let unheard = Unheard::start("digits");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    let call = CallId::parse("a").unwrap();
    let place = inner.state().legs[&call].place.clone();
    let hear = |event| {
        inner.hear(
            &mut inner.state(),
            place.engine,
            Event::Engine(event),
            &mut Vec::new(),
        )
    };
    let (leg, tick) = (place.slot, Tick(7));
    let press = |keys: &str| {
        let mut digits = Digits::new();
        assert!(
            keys.chars()
                .all(|key| digits.push(Digit::from_char(key).unwrap()))
        );
        engine::Event::Digits { leg, digits, tick }
    };
    hear(press("1"));
    hear(engine::Event::Talking { leg, on: true, tick });
    hear(engine::Event::Joined {
        leg,
        tick,
        waits: false,
    });
    let detect = json!({ "conferenceDtmfOptions": { "mode": "detect", "maxDigits": 4 } });
    let change = ChangeLeg::parse(Fields::parse(detect.to_string().as_bytes()).unwrap()).unwrap();
    unheard
        .service
        .change_leg(&call, change, None, tester())
        .await
        .unwrap();
    hear(press("23*A"));
    hear(press(""));
    let told: Vec<(&str, serde_json::Value)> = told(&unheard.service, Some(room("r")))
        .await
        .iter()
        .map(|message| (message.kind, serde_json::from_str(&message.json).unwrap()))
        .map(|(kind, event): (_, serde_json::Value)| (kind, json!([event["digits"], event["mode"]])))
        .collect();
    let none = json!([null, null]);
    assert_eq!(
        told,
        [
            ("room.started", none.clone()),
            ("leg.joined", none.clone()),
            ("leg.digits", json!(["1", "ignore"])),
            ("leg.talking", none),
            ("leg.digits", json!(["23*A", "detect"])),
            ("leg.digits", json!(["", "detect"])),
        ]
    );
}

#[tokio::test]
async fn a_media_timeout_that_was_taken_away_meanwhile_neither_ends_the_leg_nor_is_told() {
    let unheard = Unheard::start("timeout");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    let call = CallId::parse("a").unwrap();
    let place = inner.state().legs[&call].place.clone();
    for (seconds, ends) in [(0, false), (5, true)] {
        let body = json!({ "mediaTimeoutS": seconds, "endOnMediaTimeout": true });
        let change = ChangeLeg::parse(Fields::parse(body.to_string().as_bytes()).unwrap()).unwrap();
        unheard
            .service
            .change_leg(&call, change, None, tester())
            .await
            .unwrap();
        let event = engine::Event::MediaTimeout {
            leg: place.slot,
            last_arrival: None,
            tick: Tick(7),
        };
        inner.hear(
            &mut inner.state(),
            place.engine,
            Event::Engine(event),
            &mut Vec::new(),
        );
        let state = inner.state();
        let leg = &state.legs[&call];
        assert_eq!(leg.motion.is_some(), ends, "{seconds} s");
        assert_eq!(
            leg.untold.iter().any(|(kind, _)| *kind == "leg.media_timeout"),
            ends,
            "{seconds} s"
        );
    }
}

#[tokio::test]
async fn the_bound_of_a_rooms_delay_is_that_of_all_who_are_there_or_come_and_have_none_of_their_own() {
    let unheard = Unheard::start("delay");
    for call in ["here", "own"] {
        unheard.leg("r", call).await.unwrap();
    }
    let inner = &unheard.service.inner;
    let own = CallId::parse("own").unwrap();
    if let Some(leg) = inner.state().legs.get_mut(&own) {
        leg.request.max_delay = Some(leg.settings.max_delay);
    }
    let bounds = |bound| ChangeConference {
        max_delay: Some(bound),
        ..ChangeConference::default()
    };
    let shown = |calls: [&str; 3]| {
        let state = inner.state();
        calls.map(|call| state.legs[&CallId::parse(call).unwrap()].settings.max_delay)
    };
    let short = Duration::from_millis(90);
    unheard
        .service
        .change_conference(&room("r"), bounds(Some(short)))
        .unwrap();
    unheard.leg("r", "later").await.unwrap();
    assert_eq!(shown(["here", "own", "later"]), [short, DEFAULT_MAX_DELAY, short]);
    unheard
        .service
        .change_conference(&room("r"), bounds(None))
        .unwrap();
    assert_eq!(shown(["here", "own", "later"]), [DEFAULT_MAX_DELAY; 3]);
}

#[tokio::test]
async fn once_all_are_let_go_nobody_comes_in_and_nobody_is_left() {
    let unheard = Unheard::start("stopped");
    for (conference, call) in [("from", "moves"), ("to", "there")] {
        unheard.leg(conference, call).await.unwrap();
    }
    let moving = unheard.moving("moves", "to").await;
    let service = unheard.service.clone();
    let clearing = {
        let service = service.clone();
        decided(async move { service.clear("shutdown").await }).await
    };
    for conference in ["to", "from", "new"] {
        let refusal = unheard.leg(conference, "late").await.unwrap_err();
        assert_eq!(refusal.code, 50300);
        assert!(refusal.retry_after_s.is_some());
    }
    let _dir = unheard.pumped();
    clearing.await.unwrap();
    assert_eq!(service.rooms(), 0);
    assert!(moving.await.unwrap().is_err());
}

#[tokio::test]
async fn a_moving_leg_that_lost_its_streams_has_failed_and_leaves_no_room_behind() {
    let unheard = Unheard::start("broken");
    unheard.leg("from", "moves").await.unwrap();
    unheard.leg("from", "stays").await.unwrap();
    let moving = unheard.moving("moves", "to").await;
    let inner = &unheard.service.inner;
    assert_eq!(unheard.service.rooms(), 2);
    let mut is_gone = false;
    let mut returned = Vec::new();
    while !is_gone {
        tokio::time::sleep(Duration::from_millis(1)).await;
        for engine in 0..2 {
            while let Some(mut event) = inner.driver.poll(engine) {
                if let Event::Left { state, .. } = &mut event {
                    state.media.stream = None;
                    is_gone = true;
                }
                inner.hear(&mut inner.state(), engine, event, &mut returned);
            }
        }
    }
    assert_eq!((unheard.legs(), unheard.service.rooms()), (1, 1));
    {
        let state = inner.state();
        let taken = |engine: usize| {
            (
                state.engines[engine].legs.taken(),
                state.engines[engine].rooms.taken(),
            )
        };
        // The new room's slot is free once its engine has closed it.
        assert_eq!((taken(0).0 + taken(1).0, taken(0).1 + taken(1).1), (1, 2));
    }
    let _dir = unheard.pumped();
    assert_eq!(moving.await.unwrap().unwrap_err().code, 40400);
}

/// Fault row S7.
#[tokio::test]
async fn a_room_that_its_engine_gave_up_ends_with_all_its_legs_told_to_have_failed() {
    let unheard = Unheard::start("given-up");
    for (conference, call) in [("broken", "a"), ("broken", "b"), ("whole", "c")] {
        unheard.leg(conference, call).await.unwrap();
    }
    let service = unheard.service.clone();
    // An engine lets legs go that nobody asked it to: as where a panic ended their room.
    {
        let state = service.inner.state();
        for call in ["a", "b"] {
            let place = &state.legs[&CallId::parse(call).unwrap()].place;
            let (leg, for_good) = (place.slot, true);
            let command = Command::Engine(engine::Command::Leave { leg, for_good });
            assert!(service.inner.driver.send(place.engine, command).is_ok());
        }
    }
    let mut events = service.events().reader(Some(room("broken")), Some(0));
    let _dir = unheard.pumped();
    let (mut failed, mut ended) = (0, false);
    while !ended {
        let messages = tokio::time::timeout(Duration::from_secs(5), events.next());
        for message in messages.await.unwrap() {
            let has_failed = message.json.contains("\"reason\":\"failed\"");
            failed += usize::from(message.kind == "leg.left" && has_failed);
            ended |= message.kind == "room.ended";
        }
    }
    assert_eq!((failed, service.rooms()), (2, 1));
    assert_eq!(service.conference(&room("whole")).unwrap().participants.len(), 1);
}
