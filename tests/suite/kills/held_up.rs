//! A daemon that is told to end while a thread of its recorder is held up.

use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::callers::Callers;
use super::site::{Daemon, Site, until};

/// A daemon that cannot get on with a recording of the one before it: whoever opens the second part of its journal waits
/// there for a writer who never comes.
fn held_up(site: &Site) -> Daemon {
    let callers = Callers::new();
    let daemon = site.start();
    callers.seat(&daemon, "a", "leg-a");
    let id = daemon.record("a", &json!({ "destinationUrl": "file://talk.wav" }));
    until("it has sound", || {
        (daemon.recording(&id)["bytes"].as_u64() > Some(16_000)).then_some(())
    });
    daemon.kill();
    let journal = site.recordings().join(".spool").join(id).join("journal-0002");
    let made = Command::new("mkfifo").arg(journal).status().unwrap();
    assert!(made.success());
    let daemon = site.start();
    until("a thread is at it", || {
        daemon
            .log()
            .contains("a recording that was interrupted is finished")
            .then_some(())
    });
    // Its next step is the one that is held up.
    thread::sleep(Duration::from_millis(300));
    daemon
}

#[test]
fn a_thread_that_a_disk_holds_up_keeps_no_daemon_from_ending() {
    let site = Site::new();
    held_up(&site).stop();
}

#[test]
fn a_daemon_that_is_told_twice_ends_at_once_whatever_holds_a_thread_of_it_up() {
    let site = Site::new();
    let daemon = held_up(&site);
    let body = json!({ "conferenceId": "b", "callId": "leg-b" });
    daemon.post("/v1/legs", &body).json(201);
    daemon.terminate();
    until("it drains", || daemon.log().contains("draining").then_some(()));
    daemon.terminate();
    daemon.has_ended();
}
