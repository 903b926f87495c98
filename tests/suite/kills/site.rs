//! A directory of recordings, an object store behind a proxy, and the daemons that come and go between them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mixminus::demo::ObjectStore;
use serde_json::Value;

use crate::support::fault_proxy::FaultProxy;
use crate::support::http::{Reply, send};
use crate::support::logs::{self, Log, PROGRAM, Process, output};

pub const BUCKET: &str = "calls";
const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "hush+Secret/of:calls";
pub const CREDENTIALS: &str = "AKIDEXAMPLE:hush+Secret/of:calls:eu-central-1";

/// Long enough for whatever comes to come on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

static SITES: AtomicU8 = AtomicU8::new(1);

/// In memory where the machine has such a place: what a kill leaves does not depend on the disk, and a disk of others
/// decides how long it takes.
fn place() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let given = std::env::var_os("MIXMINUS_KILLS_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    })
}

/// What outlives a daemon.
pub struct Site {
    pub dir: PathBuf,
    pub store: ObjectStore,
    pub proxy: FaultProxy,
    /// Where its daemons take their media: an address of its own has all ports.
    media: Ipv4Addr,
    /// What is logged meanwhile in this process.
    _log: Log,
}

impl Site {
    pub fn new() -> Site {
        let dir = place().join(format!("mixminus-kills-{}", uuid::Uuid::new_v4()));
        let store = ObjectStore::start(&dir.join("store"), KEY_ID, SECRET).expect("a free port");
        store.make_bucket(BUCKET).unwrap();
        let credentials = dir.join("credentials");
        fs::write(&credentials, CREDENTIALS).unwrap();
        fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
        logs::learn_credentials(CREDENTIALS);
        let process = std::process::id().to_le_bytes();
        let media = Ipv4Addr::new(127, process[1], process[0], SITES.fetch_add(1, Ordering::Relaxed));
        Site {
            proxy: FaultProxy::start(store.address()),
            store,
            dir,
            media,
            _log: Log::within(&[]),
        }
    }

    pub fn recordings(&self) -> PathBuf {
        self.dir.join("recordings")
    }

    /// The program with this site's settings; `words` go before them.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).args(self.settings());
        command.env_remove("MIXMINUS_RECORDING__DIR");
        command
    }

    fn settings(&self) -> Vec<String> {
        [
            "http.listen=127.0.0.1:0".to_owned(),
            "grpc.listen=127.0.0.1:0".to_owned(),
            format!("rtp.bind={}", self.media),
            "rtp.ports=20000-29999".to_owned(),
            "rtp.port_rest_s=0".to_owned(),
            "engine.threads=1".to_owned(),
            "engine.legs=256".to_owned(),
            "engine.rooms=256".to_owned(),
            "admission.calibrate=assumed".to_owned(),
            format!("recording.dir={}", self.recordings().display()),
            format!("s3.endpoint={}", self.proxy.url()),
            "s3.allow_http=true".to_owned(),
            "s3.path_style=true".to_owned(),
            format!("s3.credentials_file={}", self.dir.join("credentials").display()),
        ]
        .into_iter()
        .flat_map(|set| ["--set".to_owned(), set])
        .collect()
    }

    /// What `mixminus recordings WORD` says and how it ends.
    pub fn by_hand(&self, word: &str) -> Output {
        output(&mut self.command(&["recordings", word]))
    }

    /// A daemon that is ready.
    pub fn start(&self) -> Daemon {
        Daemon::start(self, Command::new(PROGRAM))
    }

    /// The same, run by another program: its own words follow the wrapper's.
    pub fn start_in(&self, mut wrapper: Command) -> Daemon {
        wrapper.arg(PROGRAM);
        Daemon::start(self, wrapper)
    }

    /// All that lies below the directory of recordings, by paths from there, but the journal of events.
    pub fn files(&self) -> Vec<String> {
        let mut files = files_below(&self.recordings());
        files.retain(|file| !file.starts_with(".events/"));
        files
    }
}

pub fn files_below(root: &Path) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = item.path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    files.sort();
    files
}

impl Drop for Site {
    fn drop(&mut self) {
        match thread::panicking() {
            true => println!("left for a look: {}", self.dir.display()),
            false => drop(fs::remove_dir_all(&self.dir)),
        }
    }
}

pub struct Daemon {
    process: Process,
    pub http: SocketAddr,
}

impl Daemon {
    fn start(site: &Site, mut command: Command) -> Daemon {
        let ready = site.dir.join("ready.json");
        let log = site.dir.join("daemon.log");
        let _ = fs::remove_file(&ready);
        command
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .args(site.settings());
        let mut daemon = Daemon {
            process: Process::start(command, &log),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        until("the daemon is ready", || {
            if let Some(status) = daemon.process.ended() {
                panic!("the daemon ended with {status}: {}", daemon.log());
            }
            let ready: Option<Value> = serde_json::from_slice(&fs::read(&ready).ok()?).ok();
            daemon.http = ready?["http"].as_str()?.parse().ok()?;
            Some(())
        });
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL; the time just before it.
    pub fn kill(mut self) -> SystemTime {
        let at = SystemTime::now();
        self.process.kill();
        at
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status();
        assert!(told.unwrap().success());
    }

    /// SIGTERM, with no room left to wait for; returns when it has ended.
    pub fn stop(self) {
        self.terminate();
        self.has_ended();
    }

    /// Returns when it has ended.
    pub fn has_ended(mut self) {
        until("the daemon ends", || self.process.ended());
    }

    /// What this daemon and those before it have logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn get(&self, path: &str) -> Reply {
        send(self.http, "GET", path, &[], b"")
    }

    pub fn delete(&self, path: &str) -> Reply {
        send(self.http, "DELETE", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        send(self.http, "POST", path, &[], body.to_string().as_bytes())
    }

    /// The recording of a room, begun: its id.
    pub fn record(&self, room: &str, options: &Value) -> String {
        let begun = self.post(&recording_of(room), options).json(201);
        begun["recordingId"].as_str().unwrap().to_owned()
    }

    pub fn recording(&self, id: &str) -> Value {
        self.get(&format!("/v1/recordings/{id}")).json(200)
    }

    pub fn wait_for_state(&self, id: &str, state: &str) -> Value {
        let mut last = Value::Null;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.recording(id);
            if now["state"] == state {
                return now;
            }
            if now != last {
                last = now;
            }
            assert!(Instant::now() < deadline, "never {state}: {last}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait_until_available(&self, id: &str) -> Value {
        self.wait_for_state(id, "available")
    }

    /// Bytes of memory in use, those it shares with nobody and those of its program.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        1_024 * line.trim().split(' ').next().unwrap().parse::<u64>().unwrap()
    }
}

pub fn recording_of(room: &str) -> String {
    format!("/v1/conferences/id/{room}/recording")
}

/// Waits until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut asked: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = asked() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
