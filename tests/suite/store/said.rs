//! What the program itself says of an upload, at its most talkative.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use mixminus::demo::ObjectStore;
use serde_json::{Value, json};

use super::{BUCKET, KEY_ID, SECRET};
use crate::support::http::{eventually, offer, place_of_its_own, send};
use crate::support::logs::{PROGRAM, Process};

/// The program, killed when the test ends.
pub struct Daemon {
    process: Process,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    dir: PathBuf,
}

impl Daemon {
    pub fn start(dir: PathBuf, ports: &str, sets: &[String]) -> Daemon {
        fs::create_dir_all(&dir).unwrap();
        let ready = dir.join("ready.json");
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--ready-file").arg(&ready);
        for set in sets {
            command.args(["--set", set]);
        }
        command.current_dir(&dir).env("MIXMINUS_RTP__PORTS", ports);
        let process = Process::start(command, &dir.join("log"));
        let written = || -> Option<Value> { serde_json::from_slice(&fs::read(&ready).ok()?).ok() };
        eventually("the ready file is there", || written().is_some());
        let written = written().unwrap();
        let address = |face: &str| written[face].as_str().unwrap().parse().unwrap();
        Daemon {
            process,
            http: address("http"),
            grpc: address("grpc"),
            dir,
        }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        send(self.http, "POST", path, &[], body.to_string().as_bytes()).json(201)
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn no_key_and_no_secret_is_in_the_log_at_any_level() {
    let (ports, dir) = place_of_its_own();
    let bucket = ObjectStore::start(&dir.join("s3"), KEY_ID, SECRET).expect("a free port");
    bucket.make_bucket(BUCKET).unwrap();
    let sets = [
        "http.listen=127.0.0.1:0",
        "grpc.listen=127.0.0.1:0",
        "engine.threads=1",
        "engine.legs=16",
        "engine.rooms=16",
        "admission.calibrate=assumed",
        "recording.dir=recordings",
        "log.level=trace",
        "s3.allow_http=true",
        "s3.path_style=true",
    ];
    let endpoint = format!("s3.endpoint={}", bucket.url());
    let sets: Vec<_> = sets
        .iter()
        .map(|set| (*set).to_owned())
        .chain([endpoint])
        .collect();
    let daemon = Daemon::start(dir, &ports, &sets);
    let leg = json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) });
    daemon.post("/v1/legs", &leg);
    let route = "/v1/conferences/id/r/recording";
    for credentials in [
        format!("{KEY_ID}:{SECRET}:eu-north-1"),
        format!("{KEY_ID}:not-{SECRET}:eu-north-1"),
    ] {
        let options = json!({ "destinationUrl": "s3://calls/talk", "credentials": credentials });
        let started = daemon.post(route, &options);
        let status = format!("/v1/recordings/{}", started["recordingId"].as_str().unwrap());
        let shown = || send(daemon.http, "GET", &status, &[], b"").json(200);
        eventually("sound is there", || shown()["bytes"].as_u64().unwrap() > 2_000);
        send(daemon.http, "DELETE", route, &[], b"").json(200);
        eventually("it is there, or refused", || {
            shown()["state"] == "available" || shown()["error"].is_string()
        });
    }
    let log = daemon.log();
    assert!(log.contains("SignatureDoesNotMatch"), "it is the log of all that");
    for secret in [SECRET, KEY_ID] {
        let before = log.find(secret).map(|at| {
            let start = log[..at].char_indices().rev().nth(80).map_or(0, |(at, _)| at);
            &log[start..at]
        });
        assert_eq!(before, None, "{secret} is in the log");
    }
}
