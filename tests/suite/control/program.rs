//! The program as a process: configuration, the ready file, signals, exit status.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::encryption::{KEY, crypto_lines};
use crate::support::http::{eventually, offer, place_of_its_own, sdp, send};
use crate::support::logs::{self, PROGRAM, output};

pub(super) fn mixminus(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    command
}

#[track_caller]
pub(super) fn refused(output: &Output, status: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

/// A daemon of its own, killed if a test forgets it.
pub(crate) struct Process {
    process: logs::Process,
    pub(crate) http: SocketAddr,
    pub(crate) dir: PathBuf,
}

impl Process {
    pub(crate) fn start(sets: &[&str]) -> Process {
        Process::start_with("", &[], sets)
    }

    fn start_with(limit: &str, arguments: &[&str], sets: &[&str]) -> Process {
        Process::start_under(limit, &[], arguments, sets)
    }

    /// With variables in its environment, and a limit as `ulimit` of the shell takes it.
    pub(crate) fn start_under(
        limit: &str,
        environment: &[(&str, &str)],
        arguments: &[&str],
        sets: &[&str],
    ) -> Process {
        let (ports, dir) = place_of_its_own();
        std::fs::create_dir_all(&dir).unwrap();
        let ready = dir.join("ready.json");
        std::fs::write(&ready, "left behind").unwrap();
        let limit = match limit {
            "" => String::new(),
            limit => format!("ulimit {limit} && "),
        };
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("{limit}exec \"$@\""),
            "sh",
            PROGRAM,
            "serve",
            "--ready-file",
        ]);
        command.arg(&ready).args(arguments);
        command
            .current_dir(&dir)
            .env("MIXMINUS_RTP__PORTS", ports)
            .env("MIXMINUS_ENGINE__THREADS", "1")
            .envs(environment.iter().copied());
        let usual = [
            "http.listen=127.0.0.1:0",
            "grpc.listen=127.0.0.1:0",
            "engine.legs=16",
            "engine.rooms=16",
            "admission.calibrate=assumed",
        ];
        for set in usual.iter().chain(sets) {
            command.args(["--set", set]);
        }
        let process = logs::Process::start(command, &dir.join("log"));
        let written = || -> Option<Value> { serde_json::from_slice(&std::fs::read(&ready).ok()?).ok() };
        eventually("the ready file is there", || written().is_some());
        let written = written().unwrap();
        let grpc: SocketAddr = written["grpc"].as_str().unwrap().parse().unwrap();
        assert_ne!(grpc.port(), 0);
        let http = written["http"].as_str().unwrap().parse().unwrap();
        Process { process, http, dir }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let killed = Command::new("kill")
            .args([&format!("-{name}"), &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    pub(crate) fn status(&self, method: &str, path: &str, body: &Value) -> u16 {
        send(self.http, method, path, &[], body.to_string().as_bytes()).status
    }

    /// The exit status and what was logged.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.process.ended() {
                break status;
            }
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        (status.code(), self.process.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn leg(conference: &str, call: &str) -> Value {
    json!({ "conferenceId": conference, "callId": call, "sdp": offer(5004) })
}

#[test]
fn what_is_configured_wrongly_is_one_sentence_and_status_2() {
    for (set, says) in [
        (
            "rtp.dscp=99",
            "rtp.dscp is 99 (from --set), but must be a whole number from 0 to 63.",
        ),
        ("no.such=1", "no.such is not a configuration key"),
        ("http.listen=0.0.0.0:0", "set auth.keys_file"),
        (
            "auth.keys_file=/nonexistent/keys",
            "The keys file /nonexistent/keys cannot be read",
        ),
    ] {
        let said = refused(&output(&mut mixminus(&["serve", "--set", set])), 2);
        assert!(said.contains(says), "{said}");
    }
    let missing = output(&mut mixminus(&["serve", "--config", "/nonexistent.toml"]));
    assert!(refused(&missing, 2).contains("/nonexistent.toml cannot be read"));
    // A port that is taken is no fault of the configuration.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let set = format!("http.listen={}", taken.local_addr().unwrap());
    assert!(refused(&output(&mut mixminus(&["serve", "--set", &set])), 1).contains("cannot be bound"));
}

#[test]
fn the_effective_configuration_is_printed_with_its_sources() {
    let mut command = mixminus(&["config", "--set", "rtp.dscp=10"]);
    let output = output(command.env("MIXMINUS_LOG__LEVEL", "debug"));
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    for line in [
        "dscp = 10  # --set",
        "level = \"debug\"  # environment MIXMINUS_LOG__LEVEL",
        "complexity = 5  # default",
    ] {
        assert!(printed.lines().any(|found| found == line), "{printed}");
    }
}

/// Fault row S5.
#[test]
fn sigterm_lets_rooms_end_and_closes_recordings() {
    let mut process = Process::start(&[]);
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    assert_eq!(
        process.status("POST", "/v1/conferences/id/r/recording", &json!({})),
        201
    );
    process.signal("TERM");
    eventually("it is not ready", || {
        process.status("GET", "/readyz", &json!({})) == 503
    });
    assert_eq!(process.status("POST", "/v1/legs", &leg("new", "b")), 503);
    // Who belongs to a room that runs still comes in.
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "b")), 201);
    assert_eq!(process.status("DELETE", "/v1/conferences/id/r", &json!({})), 204);
    let (status, log) = process.ended();
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains("ready") && log.contains("draining") && log.contains("stopped"),
        "{log}"
    );
    assert!(!log.contains("m=audio"), "{log}");
    let kept: Vec<String> = std::fs::read_dir(process.dir.join("recordings"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        kept.iter().any(|name| name.ends_with(".wav")) && kept.iter().any(|name| name.ends_with(".json")),
        "{kept:?}"
    );
    assert!(!process.dir.join("ready.json").exists());
    let dir = format!("recording.dir={}", process.dir.join("recordings").display());
    let listed = output(&mut mixminus(&["recordings", "list", "--set", &dir]));
    assert!(String::from_utf8_lossy(&listed.stdout).contains(".wav"));
    let recovered = output(&mut mixminus(&["recordings", "recover", "--set", &dir]));
    assert!(recovered.status.success() && recovered.stdout.is_empty());
}

#[test]
fn whoever_reads_no_further_ends_nothing() {
    let (_, dir) = place_of_its_own();
    let folder = dir.join(".spool/no-journal");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("note"), "mine").unwrap();
    let set = format!("recording.dir={}", dir.display());
    // The recording that cannot be finished is told on whatever thread finds out.
    for (arguments, status) in [
        (vec!["recordings", "list", "--set", &set], 0),
        (vec!["recordings", "recover", "--set", &set], 1),
        (vec!["config"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = mixminus(&arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn no_key_is_logged_at_any_level() {
    let mut process = Process::start(&["log.level=trace"]);
    let offer = |crypto: &str| sdp(5004, "RTP/SAVP 0", &format!("a=crypto:{crypto}\r\n"));
    let good = offer(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
    let bad = offer(&format!("1 {KEY} inline:{KEY}"));
    let post = |call: &str, sdp: &str| {
        let body = json!({ "conferenceId": "r", "callId": call, "sdp": sdp });
        send(process.http, "POST", "/v1/legs", &[], body.to_string().as_bytes())
    };
    let ours = crypto_lines(&post("a", &good).json(201)).remove(0).2;
    let message = post("b", &bad).refused(40001);
    assert_eq!(
        process.status("PATCH", "/v1/legs/a", &json!({ "sdp": good })),
        200
    );
    assert_eq!(process.status("PATCH", "/v1/legs/a", &json!({ "sdp": bad })), 400);
    assert_eq!(process.status("DELETE", "/v1/legs/a", &json!({})), 204);
    process.signal("TERM");
    let (_, log) = process.ended();
    assert!(
        log.contains("no a=crypto line can be used"),
        "refusals are logged: {log}"
    );
    for said in [message, log] {
        assert!(!said.contains(&KEY[..8]) && !said.contains(&ours[..8]), "{said}");
    }
}

#[test]
fn an_environment_of_any_bytes_is_no_matter_but_in_a_setting() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bytes = OsStr::from_bytes(b"\xff");
    let config = |name: &str| output(mixminus(&["config"]).env(name, bytes));
    for other in ["SOMEONE_ELSES", "MIXMINUS_PORT"] {
        assert!(config(other).status.success());
    }
    assert_eq!(
        refused(&config("MIXMINUS_RTP__PORTS"), 2).trim_end(),
        "The environment variable MIXMINUS_RTP__PORTS is not UTF-8."
    );
}

#[test]
fn the_line_that_says_ready_is_logged_at_every_level() {
    let mut process = Process::start(&["log.level=error"]);
    process.signal("TERM");
    let (status, log) = process.ended();
    assert_eq!(status, Some(0));
    assert!(
        log.contains("ready") && log.contains(&process.http.to_string()),
        "{log}"
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}

/// Fault row S5.
#[test]
fn the_deadline_or_a_second_sigterm_ends_what_is_left() {
    let mut patient = Process::start(&["drain.deadline_s=3600"]);
    assert_eq!(patient.status("POST", "/v1/legs", &leg("r", "a")), 201);
    patient.signal("TERM");
    eventually("it is not ready", || {
        patient.status("GET", "/readyz", &json!({})) == 503
    });
    patient.signal("TERM");
    assert_eq!(patient.ended().0, Some(0));

    let mut hurried = Process::start(&["drain.deadline_s=0"]);
    assert_eq!(hurried.status("POST", "/v1/legs", &leg("r", "a")), 201);
    hurried.signal("TERM");
    let (status, log) = hurried.ended();
    assert_eq!(status, Some(0));
    assert!(log.contains("deadline"), "{log}");
}

/// Fault row S5.
#[test]
fn a_second_signal_waits_for_no_object_store() {
    // It takes calls and answers none.
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("s3.endpoint=http://{}", store.local_addr().unwrap());
    let mut process = Process::start(&[
        &endpoint,
        "s3.allow_http=true",
        "s3.path_style=true",
        "log.level=trace",
    ]);
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    let options =
        json!({ "destinationUrl": "s3://bucket/call", "credentials": "THEKEY:thesecret:eu-north-1" });
    let route = "/v1/conferences/id/r/recording";
    assert_eq!(process.status("POST", route, &options), 201);
    assert_eq!(process.status("DELETE", "/v1/conferences/id/r", &json!({})), 204);
    store.set_nonblocking(true).unwrap();
    let asked = std::cell::RefCell::new(Vec::new());
    eventually("the store is asked", || {
        asked.borrow_mut().extend(store.accept());
        !asked.borrow().is_empty()
    });
    process.signal("TERM");
    eventually("it is not ready", || {
        process.status("GET", "/readyz", &json!({})) == 503
    });
    process.signal("TERM");
    let (status, log) = process.ended();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("told again"), "{log}");
    assert!(!log.contains("THEKEY") && !log.contains("thesecret"), "{log}");
    let dir = format!("recording.dir={}", process.dir.join("recordings").display());
    let listed = output(&mut mixminus(&["recordings", "list", "--set", &dir]));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("s3://bucket/call.wav"), "{listed}");
}

/// Fault row S5.
#[test]
fn a_bucket_that_cannot_be_reached_does_not_hold_up_an_ordinary_stop() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("s3.endpoint=http://{}", closed.local_addr().unwrap());
    drop(closed);
    let mut process = Process::start(&[&endpoint, "s3.allow_http=true", "s3.path_style=true"]);
    assert_eq!(process.status("POST", "/v1/legs", &leg("r", "a")), 201);
    let options =
        json!({ "destinationUrl": "s3://bucket/call", "credentials": "THEKEY:thesecret:eu-north-1" });
    let route = "/v1/conferences/id/r/recording";
    assert_eq!(process.status("POST", route, &options), 201);
    assert_eq!(process.status("DELETE", "/v1/conferences/id/r", &json!({})), 204);
    eventually("the bucket is known to be out of reach", || {
        let recordings = send(process.http, "GET", "/v1/recordings", &[], b"").json(200);
        recordings["recordings"][0]["error"].is_string()
    });
    process.signal("TERM");
    let (status, log) = process.ended();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn recover_says_what_it_cannot_read() {
    let (_, dir) = place_of_its_own();
    let folder = dir.join(".spool/broken");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("journal-0001"), "no journal").unwrap();
    let set = format!("recording.dir={}", dir.display());
    let output = output(&mut mixminus(&["recordings", "recover", "--set", &set]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("broken"), "{said}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn sighup_reads_the_keys_again_and_keeps_the_old_ones_when_they_are_wrong() {
    use std::os::unix::fs::PermissionsExt;
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    let write = |text: &str| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("old:c2VjcmV0\n");
    let config = dir.join("config.toml");
    std::fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let process = Process::start_with(
        "",
        &["--config", config.to_str().unwrap()],
        &[&format!("auth.keys_file={}", file.display())],
    );
    let status = |credentials: &str| {
        use base64::Engine as _;
        let basic = format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(credentials)
        );
        send(process.http, "GET", "/v1/legs", &[("authorization", &basic)], b"").status
    };
    assert_eq!((status("old:c2VjcmV0"), status("new:c2VjcmV0")), (200, 401));
    write("new:c2VjcmV0\n");
    process.signal("HUP");
    eventually("the new key is in force", || status("new:c2VjcmV0") == 200);
    assert_eq!(status("old:c2VjcmV0"), 401);
    write("broken");
    process.signal("HUP");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(status("new:c2VjcmV0"), 200);
    // The limits are read again with them.
    write("new:c2VjcmV0\n");
    std::fs::write(&config, "[auth]\nrequests_per_s = 1\n").unwrap();
    process.signal("HUP");
    eventually("the new limit is in force", || status("new:c2VjcmV0") == 429);
    std::fs::write(&config, "[auth]\nrequests_per_s = -1\n").unwrap();
    process.signal("HUP");
    std::thread::sleep(Duration::from_millis(100));
    eventually("the limit stays", || status("new:c2VjcmV0") == 429);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Fault row S3.
#[test]
fn without_file_descriptors_a_leg_is_refused_and_those_that_are_go_on() {
    let process = Process::start_with("-n 44", &[], &["engine.legs=16", "rtp.port_rest_s=1"]);
    let refused = (0..16).find_map(|index| {
        let body = leg("r", &format!("call-{index}"));
        let reply = send(process.http, "POST", "/v1/legs", &[], body.to_string().as_bytes());
        (reply.status != 201).then_some((index, reply))
    });
    let (seated, reply) = refused.expect("44 descriptors are too few for 16 legs");
    assert!(seated > 3);
    assert!(reply.refused(50300).contains("file descriptor"));
    assert_eq!(process.status("GET", "/v1/legs/call-0", &json!({})), 200);
    assert_eq!(process.status("DELETE", "/v1/legs/call-0", &json!({})), 204);
    eventually(
        "the descriptors of its ports are free once those have rested",
        || process.status("POST", "/v1/legs", &leg("r", "again")) == 201,
    );
}
