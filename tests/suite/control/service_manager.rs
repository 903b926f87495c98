//! What a service manager hears of the daemon: a socket of the test's own takes the place of systemd's.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::program::{Process, leg, mixminus};
use crate::support::http::place_of_its_own;
use crate::support::logs;

/// Half a minute, asked for every few seconds.
const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=30000000";

/// Takes what is told, one datagram of lines at a time.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new() -> Manager {
        let (_, dir) = place_of_its_own();
        let path = format!("{}.notify", dir.display());
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Manager { socket, path }
    }

    fn start(&self, watchdog_usec: Option<&str>, sets: &[&str]) -> Process {
        let mut environment = vec![("NOTIFY_SOCKET", self.path.as_str())];
        environment.extend(watchdog_usec.map(|usec| ("WATCHDOG_USEC", usec)));
        Process::start_under("", &environment, &[], sets)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4_096];
        let length = self.socket.recv(&mut buffer).expect("something is told in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next that says this, whatever comes before.
    fn until(&self, line: &str) -> String {
        loop {
            let told = self.next();
            if told.lines().any(|told| told.starts_with(line)) {
                return told;
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn a_service_manager_hears_of_readiness_reloads_and_the_end() {
    let manager = Manager::new();
    let mut process = manager.start(None, &[]);
    assert_eq!(manager.next().trim(), MORE_TIME, "a start may take its time");
    let ready = manager.until("READY=1");
    let serving = format!("STATUS=Serving on http {}", process.http);
    assert!(ready.contains(&serving), "{ready}");

    process.signal("HUP");
    let reloading = manager.next();
    assert!(reloading.lines().any(|line| line == "RELOADING=1"), "{reloading}");
    let at = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(at.unwrap().parse::<u64>().unwrap() > 0);
    assert!(manager.next().contains("READY=1"), "the reload has an end");

    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    process.signal("TERM");
    let stopping = manager.next();
    assert!(stopping.lines().any(|line| line == "STOPPING=1"), "{stopping}");
    assert!(stopping.contains("STATUS=Draining: 1 room"), "{stopping}");
    assert!(stopping.contains(MORE_TIME), "{stopping}");
    // However long it drains, more time is asked for again and again.
    for _ in 0..3 {
        assert_eq!(manager.next().trim(), MORE_TIME);
    }
    assert_eq!(process.status("DELETE", "/v1/legs/a", &Value::Null), 204);
    manager.until("STATUS=Ending");
    assert_eq!(process.ended().0, Some(0));
}

#[test]
fn the_watchdog_is_fed_again_and_again_also_while_the_daemon_drains() {
    let manager = Manager::new();
    let mut process = manager.start(Some("400000"), &[]);
    for _ in 0..3 {
        assert_eq!(manager.until("WATCHDOG=1").trim(), "WATCHDOG=1");
    }
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    process.signal("TERM");
    manager.until("STOPPING=1");
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    assert_eq!(process.status("DELETE", "/v1/legs/a", &Value::Null), 204);
    assert_eq!(process.ended().0, Some(0));
}

#[test]
fn without_a_watchdog_nothing_is_fed_and_a_manager_that_is_gone_is_no_matter() {
    let manager = Manager::new();
    let mut process = manager.start(None, &[]);
    manager.until("READY=1");
    manager
        .socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "nothing more is told");
    drop(manager);
    process.signal("HUP");
    process.signal("TERM");
    let (status, log) = process.ended();
    assert_eq!(status, Some(0));
    assert!(log.contains("the service manager cannot be told"), "{log}");
}

#[test]
fn a_daemon_that_is_told_to_end_while_it_starts_ends() {
    let manager = Manager::new();
    let dir = PathBuf::from(format!("{}.start", manager.path));
    std::fs::create_dir_all(&dir).unwrap();
    // A pipe that nobody writes to takes for ever to be read.
    let keys = dir.join("keys");
    let made = Command::new("mkfifo").args(["-m", "0600"]).arg(&keys).status();
    assert!(made.unwrap().success());
    let mut command = mixminus(&["serve", "--set", "http.listen=127.0.0.1:0"]);
    command.args(["--set", &format!("auth.keys_file={}", keys.display())]);
    command.current_dir(&dir).env("NOTIFY_SOCKET", &manager.path);
    let mut process = logs::Process::start(command, &dir.join("log"));
    assert_eq!(manager.next().trim(), MORE_TIME);
    let killed = Command::new("kill").arg(process.id().to_string()).status();
    assert!(killed.unwrap().success());
    let status = in_time("the daemon ends", || process.ended());
    assert_eq!(status.code(), Some(0));
    let _ = std::fs::remove_dir_all(dir);
}

fn in_time<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
