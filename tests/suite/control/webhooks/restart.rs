//! Callbacks of a daemon that is killed, told of another secret, or configured wrongly.

use serde_json::{Value, json};

use super::{SECRET, in_time, is_signed, kinds_of, sets, write_secret};
use crate::control::program::{Process, mixminus, refused};
use crate::support::http::{offer, place_of_its_own};
use crate::support::logs::output;
use crate::support::receiver::{Answer, Receiver};

fn leg(conference: &str, call: &str) -> Value {
    json!({ "conferenceId": conference, "callId": call, "sdp": offer(5004) })
}

fn start(more: &[String]) -> Process {
    let sets: Vec<String> = sets().into_iter().chain(more.iter().cloned()).collect();
    Process::start(&sets.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn what_was_not_delivered_before_a_kill_is_delivered_after_it() {
    let (_, dir) = place_of_its_own();
    let receiver = Receiver::start(|callback| match callback.json()["conferenceId"] == "r" {
        true => Answer::Status(200),
        false => Answer::Status(503),
    });
    let sets = [
        format!("webhooks.events_url={}", receiver.url()),
        format!("recording.dir={}", dir.display()),
    ];
    let mut first = start(&sets);
    for (room, call) in [("r", "a"), ("s", "b"), ("t", "c")] {
        assert_eq!(first.status("POST", "/v1/legs", &leg(room, call)), 201);
    }
    in_time("what is taken has come", || {
        kinds_of(&receiver.came(), "r").len() == 2
    });
    in_time("what is not was tried", || {
        !kinds_of(&receiver.came(), "t").is_empty()
    });
    let progress = dir.join(".webhooks/progress-events.json");
    in_time("that is written down", || {
        let progress: Value = serde_json::from_slice(&std::fs::read(&progress).unwrap()).unwrap();
        progress["readTo"].as_u64() >= Some(6)
    });
    first.signal("KILL");
    first.ended();
    drop(first);

    let before = receiver.came().len();
    receiver.behave(|_| Answer::Status(200));
    let second = start(&sets);
    let after = |room: &str| kinds_of(&receiver.came()[before..], room);
    for room in ["s", "t"] {
        in_time("it comes after all, and then that it was lost", || {
            after(room).last().is_some_and(|kind| kind == "room.ended")
        });
        let expected = ["room.started", "leg.joined", "lost", "leg.left", "room.ended"];
        assert_eq!(after(room), expected);
    }
    assert!(
        !after("r").contains(&"room.started".to_owned()),
        "what has come does not come again"
    );
    drop(second);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn sighup_changes_the_secret_that_signs() {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("secret");
    write_secret(&file, SECRET);
    let receiver = Receiver::start(|_| Answer::Status(200));
    let process = start(&[
        format!("webhooks.events_url={}", receiver.url()),
        format!("webhooks.secret_file={}", file.display()),
    ]);
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    in_time("the first secret signs", || receiver.came().len() >= 2);
    assert!(receiver.came().iter().all(|callback| is_signed(callback, SECRET)));
    write_secret(&file, b"another");
    process.signal("HUP");
    let number = std::cell::Cell::new(0);
    in_time("the other secret signs", || {
        number.set(number.get() + 1);
        let muted = json!({ "muted": number.get() % 2 == 1 });
        assert_eq!(process.status("PATCH", "/v1/legs/a", &muted), 200);
        receiver
            .came()
            .last()
            .is_some_and(|callback| is_signed(callback, b"another"))
    });
    std::fs::remove_dir_all(dir).unwrap();
}

/// Fault row C7.
#[test]
fn a_url_that_leads_where_no_callback_may_go_ends_the_start() {
    for (url, says) in [
        ("file:///etc/passwd", "must be an absolute URL"),
        ("http://127.0.0.2/", "must begin with https://"),
        ("https://169.254.169.254/latest", "not public (link_local)"),
        ("https://[::1]/", "not public (loopback)"),
        ("https://[::ffff:127.0.0.1]/", "not public (embedded)"),
        ("https://2130706433/", "must name a host"),
        (
            "https://me:hidden@hooks.example.com/",
            "must have neither user nor password",
        ),
        ("https://hooks.example.com:22/", "must have port 443 or 80"),
    ] {
        let mut command = mixminus(&["serve"]);
        for set in sets().iter().chain([&format!("webhooks.events_url={url}")]) {
            command.args(["--set", set]);
        }
        let said = refused(&output(&mut command), 2);
        assert!(
            said.contains(says) && said.starts_with("webhooks.events_url "),
            "{said}"
        );
        assert!(!said.contains("hidden"), "{said}");
    }
    let mut command = mixminus(&["serve", "--set", "webhooks.events_url=https://hooks.example.com/"]);
    assert!(refused(&output(&mut command), 2).contains("webhooks.key is \"\""));
}
