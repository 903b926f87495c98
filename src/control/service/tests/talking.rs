//! Who talks, while that is told and while it is not.

use super::*;

#[tokio::test]
async fn after_a_time_in_which_nobody_was_told_who_talks_what_has_changed_is_told() {
    let unheard = Unheard::start("talking");
    let inner = &unheard.service.inner;
    for call in ["a", "b"] {
        unheard.leg("r", call).await.unwrap();
    }
    let hear = |call: &str, event: &dyn Fn(crate::id::LegId) -> engine::Event| {
        let mut state = inner.state();
        let place = state.legs[call].place.clone();
        inner.hear(
            &mut state,
            place.engine,
            Event::Engine(event(place.slot)),
            &mut Vec::new(),
        );
    };
    let tick = Tick(7);
    let talks = |call: &str, on: bool| hear(call, &|leg| engine::Event::Talking { leg, on, tick });
    for call in ["a", "b"] {
        hear(call, &|leg| engine::Event::Joined { leg, tick });
    }
    talks("a", true);
    unheard.service.tell_talking(false);
    for (call, on) in [("a", false), ("b", true), ("b", false)] {
        talks(call, on);
    }
    unheard.service.tell_talking(true);
    talks("b", true);
    let told: Vec<(String, bool)> = told(&unheard.service, None)
        .await
        .into_iter()
        .filter(|message| message.kind == "leg.talking")
        .map(|message| {
            (
                message.call.unwrap().to_string(),
                message.json.contains("\"on\":true"),
            )
        })
        .collect();
    let told: Vec<_> = told.iter().map(|(call, on)| (call.as_str(), *on)).collect();
    assert_eq!(told, [("a", true), ("a", false), ("b", true)]);
}
