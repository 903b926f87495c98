//! Every log of the suite is searched for every secret of the suite: that of a process when it ends, that of this
//! process when a daemon within it does. Where one is found, the test fails.
//!
//! ```text
//! files that a daemon is told of      ─┐
//! what clients send and are answered  ─┴▶ secrets ─▶ looked for in all that was said
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mixminus::control::log::levels;
use tracing_subscriber::prelude::*;

/// Nobody else runs it, so that nothing it says is overlooked.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mixminus");

/// Shorter ones, and words, stand in any text.
const SECRET_CHARS_MIN: usize = 6;

/// A master key with its salt has 30 bytes.
const KEY_CHARS_MIN: usize = 40;

/// Files of secrets that a daemon is told of.
const FILES: [&str; 3] = ["auth.keys_file=", "webhooks.secret_file=", "s3.credentials_file="];

static SECRETS: LazyLock<Mutex<Secrets>> = LazyLock::new(Mutex::default);

/// Secrets by the longest word in each, so that a text is searched for all of them at once.
#[derive(Default)]
struct Secrets(HashMap<String, BTreeSet<String>>);

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
}

impl Secrets {
    fn keep(&mut self, secret: &str) {
        let secret = secret.trim_end_matches('=');
        let is_a_word = secret.chars().all(|c| c.is_ascii_lowercase());
        if secret.len() >= SECRET_CHARS_MIN
            && !is_a_word
            && let Some(word) = words(secret).max_by_key(|word| word.len())
        {
            let secrets = self.0.entry(word.to_owned()).or_default();
            secrets.insert(secret.to_owned());
        }
    }

    /// As it stands in a header: `Basic …`, `Application key:signature`, or anything that is tried in their place.
    fn keep_authorization(&mut self, value: &str) {
        let Some((_, credentials)) = value.trim().split_once(' ') else {
            return;
        };
        self.keep(credentials.rsplit(':').next().unwrap_or_default());
        let plain = STANDARD
            .decode(credentials)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((_, secret)) = plain.as_deref().and_then(|plain| plain.split_once(':')) {
            self.keep(secret);
        }
    }

    /// `key:secret:region`
    fn keep_credentials(&mut self, credentials: &str) {
        let without_region = credentials.rsplit_once(':').map(|(kept, _)| kept);
        if let Some((key, secret)) = without_region.and_then(|kept| kept.split_once(':')) {
            self.keep(key);
            self.keep(secret);
        }
    }

    /// `key:secret`, the secret in base64, a line each.
    fn keep_keys(&mut self, keys: &str) {
        for (_, rest) in keys.lines().filter_map(|line| line.split_once(':')) {
            let secret = rest.split([' ', ':']).next().unwrap_or_default();
            self.keep(secret);
            let plain = STANDARD.decode(secret).ok();
            if let Some(plain) = plain.and_then(|bytes| String::from_utf8(bytes).ok()) {
                self.keep(&plain);
            }
        }
    }

    fn keep_files(&mut self, settings: &[String], dir: &Path) {
        for setting in settings {
            for file in FILES {
                let Some(path) = setting.strip_prefix(file) else {
                    continue;
                };
                let path = dir.join(path);
                // Some are pipes, some not there.
                let text = match path.is_file() {
                    true => fs::read_to_string(path).unwrap_or_default(),
                    false => continue,
                };
                match file.starts_with("s3.") {
                    true => self.keep_credentials(text.trim()),
                    false => self.keep_keys(&text),
                }
            }
        }
    }

    fn learn(&mut self, said: &str) {
        for line in said.lines().take_while(|line| !line.is_empty()) {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("authorization")
            {
                self.keep_authorization(value);
            }
        }
        for (at, marker) in said.match_indices("inline:") {
            let key =
                said[at + marker.len()..].split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c));
            let key = key.into_iter().next().unwrap_or_default();
            if key.len() >= KEY_CHARS_MIN {
                self.keep(key);
            }
        }
        for (at, marker) in said.match_indices("\"credentials\":\"") {
            let credentials = said[at + marker.len()..].split('"').next();
            self.keep_credentials(credentials.unwrap_or_default());
        }
    }

    /// The lines with a secret in them.
    fn betrayed_by<'a>(&'a self, said: &'a str) -> Vec<&'a str> {
        let betrays = |line: &&str| {
            let found = words(line).filter_map(|word| self.0.get(word)).flatten();
            found.into_iter().any(|secret| line.contains(secret))
        };
        said.lines().filter(betrays).collect()
    }
}

/// Takes note of the secrets in what a client sends or is answered: the lines of a header, then a body.
pub fn learn(said: &str) {
    secrets().learn(said);
}

/// The same of `key:secret:region`.
pub fn learn_credentials(credentials: &str) {
    secrets().keep_credentials(credentials);
}

fn secrets() -> MutexGuard<'static, Secrets> {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No secret stands in what a process with these settings has said, or the test fails.
fn search(said: &str, settings: &[String], dir: &Path) {
    let mut secrets = secrets();
    // They may have changed since the start.
    secrets.keep_files(settings, dir);
    let betrayed: Vec<String> = secrets.betrayed_by(said).into_iter().map(str::to_owned).collect();
    drop(secrets);
    if !betrayed.is_empty() && !std::thread::panicking() {
        panic!("a secret stands in a log:\n{}", betrayed.join("\n"));
    }
}

/// A process of the program, killed when it is dropped. What it says goes to a file.
pub struct Process {
    child: Child,
    log: Log,
}

impl Process {
    /// Its words follow those of other processes in the file `log`.
    pub fn start(mut command: Command, log: &Path) -> Process {
        let (settings, dir) = told(&command);
        let file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(log)
            .unwrap();
        let end = || file.try_clone().unwrap();
        // A setting of the test's own goes before.
        command.env("MIXMINUS_LOG__LEVEL", "trace");
        command.stdout(end()).stderr(end());
        let log = Log::begin(Arc::new(file), settings, dir);
        let child = command.spawn().expect("it is there");
        Process { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it and those before it have said.
    pub fn log(&self) -> String {
        read(&self.log.file, 0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs it to its end.
pub fn output(command: &mut Command) -> Output {
    let (settings, dir) = told(command);
    let output = command.stdin(Stdio::null()).output().expect("it is there");
    for said in [&output.stdout, &output.stderr] {
        search(&String::from_utf8_lossy(said), &settings, &dir);
    }
    output
}

/// The settings that a command gives the program, and the directory it runs in.
fn told(command: &Command) -> (Vec<String>, PathBuf) {
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    let dir = command.get_current_dir().unwrap_or(Path::new("."));
    (words.collect(), dir.to_owned())
}

/// What this process logs at its most talkative, in a file that nobody else sees.
static WITHIN: LazyLock<Arc<File>> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("mixminus-suite-{}.log", std::process::id()));
    let file = File::options()
        .create_new(true)
        .read(true)
        .append(true)
        .open(&path)
        .unwrap();
    fs::remove_file(path).unwrap();
    let file = Arc::new(file);
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Arc::clone(&file));
    let log = log.with_filter(levels(tracing::Level::TRACE));
    tracing_subscriber::registry().with(log).init();
    file
});

/// A log from here on, searched when this is dropped.
pub struct Log {
    file: Arc<File>,
    begun: u64,
    settings: Vec<String>,
    /// Where paths in the settings begin.
    dir: PathBuf,
}

impl Log {
    /// Of whatever runs within this process.
    pub fn within(settings: &[String]) -> Log {
        Log::begin(Arc::clone(&WITHIN), settings.to_vec(), PathBuf::from("."))
    }

    fn begin(file: Arc<File>, settings: Vec<String>, dir: PathBuf) -> Log {
        secrets().keep_files(&settings, &dir);
        Log {
            begun: file.metadata().unwrap().len(),
            file,
            settings,
            dir,
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        search(&read(&self.file, self.begun), &self.settings, &self.dir);
    }
}

fn read(file: &File, from: u64) -> String {
    let length = file.metadata().unwrap().len() - from;
    let mut said = vec![0; usize::try_from(length).unwrap()];
    file.read_exact_at(&mut said, from).unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_secret_is_found_wherever_it_was_learned_and_a_word_is_none() {
    let key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let mut secrets = Secrets::default();
    secrets.learn(&format!(
        "POST /v1/legs HTTP/1.1\r\nAuthorization: Basic c3dpdGNoOmN6Tmpjak4w\r\n\r\n{{\"sdp\":\"a=crypto:1 X inline:{key}|2^20\\r\\n\"}}"
    ));
    secrets.learn("authorization: Application switch:w+esR7Gp3dpdVjZDm4yBVFK5RPaOTaFPZPW1R6G+cnU=");
    secrets.learn("\n{\"credentials\":\"THEKEY:a/secret:of+mine:eu-north-1\"}");
    secrets.keep_keys("app:YSBzZWNyZXQgb2YgY2FsbGJhY2tz read\nother:YW5vdGhlcg==\n");
    for told in [
        "Basic c3dpdGNoOmN6Tmpjak4w",
        "secret=czNjcjN0",
        &format!("key=\"{key}\""),
        "application switch:w+esR7Gp3dpdVjZDm4yBVFK5RPaOTaFPZPW1R6G+cnU=",
        "key THEKEY",
        "a/secret:of+mine",
        "YSBzZWNyZXQgb2YgY2FsbGJhY2tz",
        "it is a secret of callbacks",
        "YW5vdGhlcg",
    ] {
        assert_eq!(secrets.betrayed_by(&format!("nothing\n{told}\n")), [told]);
    }
    let untold = "another switch:, application, eu-north-1, secret of mine, inline:, callbacks";
    assert!(secrets.betrayed_by(untold).is_empty());
}
