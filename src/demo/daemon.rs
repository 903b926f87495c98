//! The daemon under demonstration: this program again, as a child process that serves on ports of its own.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use thiserror::Error;

/// How long the daemon may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it writes, in the demo's directory.
pub const LOG: &str = "daemon.log";
pub const RECORDINGS: &str = "recordings";

/// A daemon started for the demo; it ends with this value.
pub struct Daemon {
    child: Child,
    pub url: String,
}

#[derive(Debug, Error)]
pub enum DaemonError {
    #[error("the daemon cannot be started: {0}")]
    Start(#[from] io::Error),
    #[error("the daemon was not ready; its log is {log}")]
    NotReady { log: String },
}

impl Daemon {
    /// Starts the daemon with everything it writes under `directory` and with further settings (`section.key=value`), and
    /// waits until it is ready.
    pub fn start(directory: &Path, settings: &[String]) -> Result<Daemon, DaemonError> {
        let ready_file = directory.join("ready.json");
        let log = directory.join(LOG);
        // One of an earlier demo would name ports that are no more.
        let _ = fs::remove_file(&ready_file);
        let recordings = directory.join(RECORDINGS);
        let mut command = Command::new(env::current_exe()?);
        // SAFETY: between fork and exec only prctl is called, which is async-signal-safe and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                // However the demo ends, its daemon does not stay behind.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let child = command
            .arg("serve")
            .args(["--set", "http.listen=127.0.0.1:0"])
            .args(["--set", "grpc.listen=127.0.0.1:0"])
            .args(["--set", "rtp.ports=21000-21999"])
            .args(["--set", "admission.calibrate=assumed"])
            .arg("--set")
            .arg(format!("recording.dir={}", recordings.display()))
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let mut daemon = Daemon {
            child,
            url: String::new(),
        };
        let start = Instant::now();
        while start.elapsed() < PATIENCE && daemon.child.try_wait()?.is_none() {
            if let Some(http) = listening(&ready_file) {
                daemon.url = format!("http://{http}");
                return Ok(daemon);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(DaemonError::NotReady {
            log: log.display().to_string(),
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(pid) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: a signal to our own child, which was not waited for yet, so the number is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(20)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the ready file, once it is written whole.
fn listening(ready_file: &Path) -> Option<String> {
    let ready: Value = serde_json::from_slice(&fs::read(ready_file).ok()?).ok()?;
    ready["http"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_file_half_written_is_not_ready() {
        let file = env::temp_dir().join(format!("mixminus-ready-{}", std::process::id()));
        fs::write(&file, "{\"http\":\"127.0.0.1:80").expect("the temporary directory can be written");
        assert_eq!(listening(&file), None);
        fs::write(&file, "{\"http\":\"127.0.0.1:8080\"}").expect("the temporary directory can be written");
        assert_eq!(listening(&file).as_deref(), Some("127.0.0.1:8080"));
        fs::remove_file(&file).expect("it was written");
        assert_eq!(listening(&file), None);
    }
}
