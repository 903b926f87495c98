//! What there is no room for: legs, and what would make the legs that are there dearer.

use super::*;
use crate::control::negotiation::Negotiation;
use crate::control::requests::RecordingOptions;

fn recording(json: serde_json::Value) -> RecordingOptions {
    let fields = Fields::parse(json.to_string().as_bytes()).unwrap();
    RecordingOptions::parse(fields, &Rules::default()).unwrap()
}

fn changed(service: &Service, body: serde_json::Value) -> Result<(), Refusal> {
    let change = ChangeConference::parse(Fields::parse(body.to_string().as_bytes()).unwrap()).unwrap();
    service.change_conference(&room("r"), change).map(|_| ())
}

impl Unheard {
    fn account_percent(&self) -> f64 {
        let state = self.service.inner.state();
        (0..2).map(|engine| state.account.used(engine).account).sum()
    }

    fn turned_away(&self) -> u64 {
        let inner = &self.service.inner;
        let figures = inner.admission_figures(&inner.state());
        figures.refused.iter().map(|(_, count)| count).sum()
    }

    /// From here on everything costs so many times as much.
    fn costs_times(&self, times: u64) {
        let inner = &self.service.inner;
        let mut state = inner.state();
        let costs = inner.calibration.costs.scaled(times, 1);
        let mut account = Account::new(costs, state.account.limits());
        for (conference, room) in &state.rooms {
            for call in &room.members {
                let load = state.legs[call].negotiation.load(&inner.calibration.costs);
                account.enter(conference, (room.engine, room.phase), call, load, None);
            }
        }
        state.account = account;
        state.account_for_rooms();
    }
}

#[tokio::test]
async fn what_would_make_a_full_engines_rooms_dearer_is_refused_and_counted() {
    let unheard = Unheard::start("dearer");
    for call in ["a", "b", "c", "d", "e", "f"] {
        unheard.leg("r", call).await.unwrap();
    }
    let service = &unheard.service;
    changed(service, json!({ "maxTalkers": 1 })).unwrap();
    unheard.costs_times(1_000);
    let before = unheard.account_percent();
    for (turned_away, dearer) in [
        json!({ "maxTalkers": 2 }),
        json!({ "maxTalkers": null }),
        json!({ "maxTalkers": null, "activity": "off" }),
    ]
    .into_iter()
    .enumerate()
    {
        let refusal = changed(service, dearer.clone()).expect_err(&dearer.to_string());
        assert_eq!(refusal.code, 50300, "{dearer}");
        assert!(refusal.retry_after_s.is_some(), "{dearer}");
        assert_eq!(unheard.turned_away(), turned_away as u64 + 1, "{dearer}");
    }
    let actor = tester();
    let conference = room("r");
    let refused = service.start_recording(&conference, recording(json!({})), &actor);
    assert_eq!(refused.await.err().map(|refusal| refusal.code), Some(50300));
    assert_eq!(unheard.turned_away(), 4);
    let page = Page { page: 1, size: 1 };
    assert_eq!(service.recordings(page).await.unwrap().total, 0);
    assert_eq!(unheard.account_percent(), before);
    // What costs no more is for whoever asks.
    changed(service, json!({ "locked": true, "maxTalkers": 1 })).unwrap();
    assert_eq!(unheard.turned_away(), 4);
}

#[tokio::test]
async fn a_recording_is_in_the_account_from_when_it_begins_to_when_it_ends() {
    let unheard = Unheard::start("accounted");
    for call in ["a", "b"] {
        unheard.leg("r", call).await.unwrap();
    }
    let without = unheard.account_percent();
    let (service, actor) = (&unheard.service, tester());
    let tracks = recording(json!({ "tracks": "mix+legs" }));
    service.start_recording(&room("r"), tracks, &actor).await.unwrap();
    assert!(unheard.account_percent() > without);
    let mut state = service.inner.state();
    assert!(!state.unrecord_room(&room("r"), |_| false));
    assert!(state.unrecord_room(&room("r"), |_| true));
    drop(state);
    assert_eq!(unheard.account_percent(), without);
}

#[tokio::test]
async fn a_leg_comes_into_a_room_of_its_own_where_its_engine_has_no_other_slot() {
    let unheard = Unheard::start("no-slot");
    // Two engines have eight slots each.
    for leg in 0..16 {
        let conference = format!("room-{}", leg % 2);
        unheard.leg(&conference, &format!("leg-{leg}")).await.unwrap();
    }
    let refusal = unheard.leg("new", "one-more").await.unwrap_err();
    assert_eq!(refusal.code, 50300);
    let service = unheard.service.clone();
    let moving = unheard.moving("leg-0", "new").await;
    let _dir = unheard.pumped();
    moving.await.unwrap().unwrap();
    assert_eq!(service.conference(&room("new")).unwrap().participants.len(), 1);
}

#[tokio::test]
async fn a_leg_that_there_is_no_time_for_is_refused_before_a_port_is_looked_for() {
    let unheard = Unheard::on_ports("before-ports", "44700-44707");
    unheard.leg("r", "a").await.unwrap();
    unheard.costs_times(1_000);
    let inner = &unheard.service.inner;
    let (family, _) = {
        let state = inner.state();
        let request = &state.legs[&CallId::parse("a").unwrap()].request;
        Negotiation::family(request, &inner.config).unwrap()
    };
    // With no port left, who asks for one is told that.
    let all: Vec<_> = std::iter::from_fn(|| inner.ports.open(family).ok()).collect();
    let refusal = unheard.leg("r", "b").await.unwrap_err();
    let count = |wanted: &str| {
        let figures = inner.admission_figures(&inner.state());
        let found = figures.refused.iter().find(|(reason, _)| *reason == wanted);
        found.unwrap().1
    };
    assert_eq!((refusal.code, count("ports")), (50300, 0));
    assert_eq!(unheard.turned_away(), 1);
    unheard.costs_times(1);
    assert_eq!(unheard.leg("r", "b").await.unwrap_err().code, 50300);
    assert_eq!(count("ports"), 1);
    drop(all);
}
