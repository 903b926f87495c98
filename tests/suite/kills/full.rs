//! A daemon whose recordings lie on a disk of 4 MiB, and on one that takes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::callers::Callers;
use super::delivered::delivered_below;
use super::site::{Daemon, Site, recording_of, until};
use crate::support::http::Reply;
use crate::support::logs::{PROGRAM, output};

const KIB: usize = 1 << 10;
const DISK_KIB: usize = 4 << 10;

/// Runs what follows with a small disk of its own at the directory of recordings; only this process and its children see
/// it. `None` where the machine does not let anybody mount.
fn with_a_disk(site: &Site, options: &str) -> Option<Command> {
    fs::create_dir_all(site.recordings()).unwrap();
    let wrapper = |last: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o {options} none \"$0\" && {last}");
        command.args(["-Urm", "sh", "-c", &script]).arg(site.recordings());
        command
    };
    let may = wrapper("true").output();
    if may.is_ok_and(|output| output.status.success()) {
        return Some(wrapper("exec \"$@\""));
    }
    println!("skipped: this machine lets nobody mount a disk in a namespace");
    None
}

/// The daemon's own view of a directory.
fn seen_by(daemon: &Daemon, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", daemon.pid()));
    root.join(path.strip_prefix("/").unwrap())
}

fn begin(daemon: &Daemon, room: &str) -> Reply {
    let options = json!({ "destinationUrl": format!("file://{room}.wav"), "sampleRate": 48_000 });
    daemon.post(&recording_of(room), &options)
}

#[test]
fn a_disk_that_fills_up_is_told_of_then_refuses_then_cuts_and_calls_go_on_all_the_while() {
    let (site, callers) = (Site::new(), Callers::new());
    let Some(wrapper) = with_a_disk(&site, "size=4m") else {
        return;
    };
    let daemon = site.start_in(wrapper);
    let disk = seen_by(&daemon, &site.recordings());
    let fill =
        |percent: usize| fs::write(disk.join("filler"), vec![1; DISK_KIB * percent / 100 * KIB]).unwrap();
    let calls_go_on = || {
        let before = callers.received();
        until("packets come back", || {
            (callers.received() > before + 20).then_some(())
        });
    };
    let rooms = ["a", "b", "c"];
    rooms.iter().for_each(|room| callers.seat(&daemon, room, room));

    assert!(!daemon.log().contains("fills up"));
    fill(82);
    until("a warning", || daemon.log().contains("fills up").then_some(()));
    fill(93);
    begin(&daemon, "a").refused(50700);
    calls_go_on();

    fill(50);
    let ids: Vec<_> = rooms
        .iter()
        .map(|room| {
            begin(&daemon, room).json(201)["recordingId"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    // A recording of 48 kHz takes 96 KB/s twice: the journal's and the file's.
    until("the disk is full", || {
        ids.iter()
            .all(|id| daemon.recording(id)["state"] != "recording")
            .then_some(())
    });
    // What was put by for that may suffice for the last bytes of some of them, or of all.
    until("each is whole or says what is in its way", || {
        ids.iter()
            .all(|id| {
                let status = daemon.recording(id);
                match status["state"].as_str().unwrap() {
                    "finishing" => status["error"].is_string(),
                    state => state == "available",
                }
            })
            .then_some(())
    });
    // To the brim, whatever was freed meanwhile.
    fs::write(disk.join("rest"), vec![1; DISK_KIB * KIB]).unwrap_err();
    begin(&daemon, "a").refused(50700);
    calls_go_on();

    for filler in ["filler", "rest"] {
        fs::remove_file(disk.join(filler)).unwrap();
    }
    for (id, room) in ids.iter().zip(rooms) {
        let status = daemon.wait_until_available(id);
        let delivered = delivered_below(&disk, &status);
        let why = delivered.receipt["truncatedBecause"].as_str();
        assert_eq!(why, Some("the disk was full"), "{status}");
        assert!(delivered.attended(room), "{status}");
        assert!(delivered.ms(delivered.sound.len()) > 1_000, "{status}");
        assert_eq!(delivered.receipt["gapSamples"], 0, "{status}");
        // To its last sample it is what was heard: there is no silence in the place of what the disk did not take.
        assert!(delivered.ms(delivered.last_heard().before_end) <= 100, "{status}");
    }
    calls_go_on();
    until("the spool holds receipts only", || {
        let left = fs::read_dir(disk.join(".spool")).unwrap();
        let folders = left.filter(|item| item.as_ref().unwrap().path().is_dir()).count();
        (folders == 1).then_some(())
    });
    let options = json!({ "destinationUrl": "file://after.wav" });
    daemon.post(&recording_of("a"), &options).json(201);
}

#[test]
fn a_daemon_that_cannot_write_its_recordings_says_so_and_does_not_start() {
    let site = Site::new();
    let Some(mut wrapper) = with_a_disk(&site, "size=4m,ro") else {
        return;
    };
    let words: Vec<_> = site
        .command(&["serve"])
        .get_args()
        .map(ToOwned::to_owned)
        .collect();
    let output = output(wrapper.arg(PROGRAM).args(words));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(
        said.contains("recording.dir") && said.contains("Read-only file system"),
        "{said}"
    );
}
