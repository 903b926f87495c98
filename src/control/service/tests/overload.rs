//! What gives way when engines cannot keep their time, and how it comes back.

use super::*;
use crate::control::admission::Strain;
use crate::control::service::overload::{strain, talkers_heard};
use crate::driver::Beat;
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
    let mut state = inner.state();
    let told = |state: &State| {
        ["a", "b", "c"].map(|call| state.legs[&CallId::parse(call).unwrap()].is_told_contributing)
    };
    talks(inner, &mut state, "a", true);
    assert_eq!(told(&state), [true, false, false]);
    inner.set_level(&mut state, 1);
    talks(inner, &mut state, "a", false);
    talks(inner, &mut state, "b", true);
    talks(inner, &mut state, "c", true);
    talks(inner, &mut state, "c", false);
    assert_eq!(told(&state), [true, false, false], "as it was told last");
    assert_eq!(inner.overload.untold(), 4);
    inner.set_level(&mut state, 0);
    assert_eq!(told(&state), [false, true, false]);
    assert_eq!(inner.overload.untold(), 4);
}

/// Fault row S4.
#[tokio::test]
async fn what_gives_way_does_so_in_its_order_and_is_undone_in_reverse() {
    let unheard = Unheard::start("ladder");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    let mut state = inner.state();
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
        inner.set_level(&mut state, level);
        assert_eq!(so(), expected, "at level {level}");
    }
    assert_eq!(overload.degradations(), 4);
}

/// The rooms that hear fewer talkers than they were set to.
fn lowered(state: &State) -> Vec<ConferenceId> {
    let rooms = state.rooms.iter().filter(|(_, room)| room.is_lowered);
    rooms.map(|(conference, _)| conference.clone()).collect()
}

/// Makes the room look as if many more sat in it: its members are counted, not looked at.
fn crowd(state: &mut State, conference: &str) {
    let crowd = (0..20).map(|number| CallId::parse(&format!("crowd-{number}")).unwrap());
    state
        .rooms
        .get_mut(&room(conference))
        .unwrap()
        .members
        .extend(crowd);
}

/// Fault row S4.
#[tokio::test]
async fn only_large_rooms_hear_fewer_at_once_and_what_they_were_set_to_comes_back() {
    let unheard = Unheard::start("lowered");
    unheard.leg("small", "a").await.unwrap();
    unheard.leg("large", "b").await.unwrap();
    let inner = &unheard.service.inner;
    let mut state = inner.state();
    crowd(&mut state, "large");
    state.rooms.get_mut(&room("large")).unwrap().talkers_max = Some(7);
    inner.set_level(&mut state, 4);
    assert_eq!(lowered(&state), [room("large")]);
    assert_eq!(
        state.rooms[&room("large")].talkers_max,
        Some(7),
        "as the switch set it"
    );
    inner.set_level(&mut state, 3);
    assert_eq!(lowered(&state), []);
}

/// Fault row S4.
#[tokio::test]
async fn a_room_that_comes_back_small_under_the_name_of_a_large_one_hears_all() {
    let unheard = Unheard::start("reborn");
    unheard.leg("r", "a").await.unwrap();
    let inner = &unheard.service.inner;
    {
        let mut state = inner.state();
        crowd(&mut state, "r");
        inner.set_level(&mut state, 4);
        assert_eq!(lowered(&state), [room("r")]);
        state.rooms.remove(&room("r"));
    }
    unheard.leg("r", "b").await.unwrap();
    let mut state = inner.state();
    inner.set_level(&mut state, 4);
    assert_eq!(lowered(&state), []);
}

#[test]
fn a_lowered_room_hears_few_whatever_it_is_set_to() {
    for (set, is_lowered, heard) in [
        (None, false, None),
        (Some(7), false, Some(7)),
        (None, true, Some(3)),
        (Some(7), true, Some(3)),
        (Some(2), true, Some(2)),
    ] {
        assert_eq!(talkers_heard(set, is_lowered), heard, "{set:?} {is_lowered}");
    }
}

#[test]
fn strain_is_what_was_used_and_late_since_the_last_look() {
    let beat = |cpu_ms: u64, busy_ms: u64, phases, late| Beat {
        cpu: Duration::from_millis(cpu_ms),
        busy: Duration::from_millis(busy_ms),
        phases,
        late,
    };
    let (before, now) = (beat(5_000, 6_000, 1_000, 50), beat(5_500, 7_500, 1_400, 54));
    let elapsed = Duration::from_secs(2);
    let expected = Strain {
        cpu_percent: 25.0,
        busy_percent: 75.0,
        late_percent: 1.0,
    };
    assert_eq!(strain(&before, &now, elapsed), expected);
    // Nothing has run, no time has gone by, or a count has begun anew.
    assert_eq!(strain(&now, &now, elapsed), Strain::default());
    assert_eq!(strain(&before, &now, Duration::ZERO).cpu_percent, 0.0);
    assert_eq!(strain(&now, &before, elapsed), Strain::default());
}
