//! What gives way when engines cannot keep their time, and how it comes back.

use super::*;
use crate::control::service::overload::Watch;
use crate::id::LegId;

/// The engine says that the leg talks, or no longer does.
fn talks(inner: &Inner, state: &mut State, call: &str, on: bool) {
    let place = state.legs[&CallId::parse(call).unwrap()].place.clone();
    let (leg, tick): (LegId, Tick) = (place.slot, Tick(1));
    let event = Event::Engine(engine::Event::Talking { leg, on, tick });
    inner.hear(state, place.engine, event, &mut Vec::new());
}

/// Fault row S4.
#[tokio::test]
async fn who_talks_is_not_told_while_that_has_given_way_and_what_differs_is_told_once_it_is_back() {
    let unheard = Unheard::start("talking");
    for call in ["a", "b", "c"] {
        unheard.leg("r", call).await.unwrap();
    }
    let inner = &unheard.service.inner;
    let (mut state, mut watch) = (inner.state(), Watch::default());
    let told = |state: &State| {
        ["a", "b", "c"].map(|call| state.legs[&CallId::parse(call).unwrap()].is_told_contributing)
    };
    talks(inner, &mut state, "a", true);
    assert_eq!(told(&state), [true, false, false]);
    inner.set_level(&mut state, &mut watch, 1);
    talks(inner, &mut state, "a", false);
    talks(inner, &mut state, "b", true);
    talks(inner, &mut state, "c", true);
    talks(inner, &mut state, "c", false);
    assert_eq!(told(&state), [true, false, false], "as it was told last");
    assert_eq!(inner.overload.untold(), 4);
    inner.set_level(&mut state, &mut watch, 0);
    assert_eq!(told(&state), [false, true, false]);
    assert_eq!(inner.overload.untold(), 4);
}

/// Fault row S4.
#[tokio::test]
async fn what_gives_way_does_so_in_its_order_and_is_undone_in_reverse() {
    let unheard = Unheard::start("ladder");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    let (mut state, mut watch) = (inner.state(), Watch::default());
    let overload = &inner.overload;
    let so = || {
        (
            overload.talking_is_told(),
            overload.report_stretch(),
            overload.given_up().len(),
        )
    };
    for (level, expected) in [
        (0, (true, 1, 0)),
        (1, (false, 1, 1)),
        (2, (false, 4, 2)),
        (3, (false, 4, 3)),
        (4, (false, 4, 4)),
        (3, (false, 4, 3)),
        (1, (false, 1, 1)),
        (0, (true, 1, 0)),
    ] {
        inner.set_level(&mut state, &mut watch, level);
        assert_eq!(so(), expected, "at level {level}");
    }
    assert_eq!(overload.degradations(), 4);
}

/// Fault row S4.
#[tokio::test]
async fn only_large_rooms_hear_fewer_at_once_and_what_they_were_set_to_comes_back() {
    let unheard = Unheard::start("lowered");
    unheard.leg("small", "a").await.unwrap();
    unheard.leg("large", "b").await.unwrap();
    let inner = &unheard.service.inner;
    let (mut state, mut watch) = (inner.state(), Watch::default());
    // Its members are counted, not looked at.
    let crowd = (0..20).map(|number| CallId::parse(&format!("crowd-{number}")).unwrap());
    state.rooms.get_mut(&room("large")).unwrap().members.extend(crowd);
    state.rooms.get_mut(&room("large")).unwrap().talkers_max = Some(7);
    inner.set_level(&mut state, &mut watch, 4);
    assert_eq!(watch.lowered(), [room("large")]);
    assert_eq!(
        state.rooms[&room("large")].talkers_max,
        Some(7),
        "as the switch set it"
    );
    inner.set_level(&mut state, &mut watch, 3);
    assert_eq!(watch.lowered(), []);
}
