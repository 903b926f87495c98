//! `mixminus recordings` on what a kill has left.

use std::process::Output;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::callers::Callers;
use super::delivered::delivered;
use super::site::{BUCKET, Site};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_a_kill_left_is_listed_and_finished_by_hand_and_never_beside_a_daemon() {
    let (site, callers) = (Site::new(), Callers::new());
    let daemon = site.start();
    callers.seat(&daemon, "a", "leg-a");
    callers.seat(&daemon, "b", "leg-b");
    let local = daemon.record("a", &json!({ "destinationUrl": "file://talk.wav" }));
    let remote = daemon.record(
        "b",
        &json!({ "destinationUrl": format!("s3://{BUCKET}/talk.wav") }),
    );
    thread::sleep(Duration::from_millis(800));

    let listed = site.by_hand("list");
    assert!(listed.status.success());
    assert_eq!(
        said(&listed).matches("not delivered").count(),
        2,
        "{}",
        said(&listed)
    );
    let refused = site.by_hand("recover");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("another mixminus works in this directory"), "{why}");
    for id in [&local, &remote] {
        assert_eq!(
            daemon.recording(id)["state"],
            "recording",
            "nothing was taken from the daemon"
        );
    }

    daemon.kill();
    let listed = said(&site.by_hand("list"));
    for (id, to) in [(&local, "file://talk.wav"), (&remote, "s3://calls/talk.wav")] {
        let line = listed.lines().find(|line| line.starts_with(id.as_str()));
        let line = line.unwrap_or_else(|| panic!("{listed}"));
        assert!(line.contains(to) && line.contains("not delivered"), "{line}");
    }
    let recovered = site.by_hand("recover");
    assert!(recovered.status.success(), "{recovered:?}");
    for id in [&local, &remote] {
        let is_told = said(&recovered)
            .lines()
            .any(|line| line.starts_with(id.as_str()) && line.contains("available"));
        assert!(is_told, "{}", said(&recovered));
    }
    let listed = said(&site.by_hand("list"));
    assert_eq!(
        (
            listed.matches("available").count(),
            listed.matches("truncated").count()
        ),
        (2, 2),
        "{listed}"
    );
    let again = site.by_hand("recover");
    assert!(again.status.success() && again.stdout.is_empty(), "{again:?}");

    // The next daemon knows them.
    let daemon = site.start();
    for (id, call) in [(&local, "leg-a"), (&remote, "leg-b")] {
        let status = daemon.wait_until_available(id);
        let delivered = delivered(&site, &status);
        assert_eq!(delivered.receipt["truncated"], true, "{status}");
        assert!(delivered.attended(call), "{status}");
        delivered.last_heard();
    }
    assert_eq!(site.store.keys(BUCKET).unwrap(), ["talk.json", "talk.wav"]);
}
