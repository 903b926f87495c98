//! `mixminus demo`: the main job, end to end, on one machine and with no set-up. It starts the daemon, seats a party of
//! each codec with real speech in a room over real sockets, two of them encrypted, presses keys, mutes, holds and kicks,
//! records the mix and each voice, and judges by signal who heard whom and what was recorded. With `--s3` the recording
//! goes to an object store, which runs in this process.
//!
//! Like any switch it knows the daemon only by HTTP and RTP, and what it finds can fail: its exit status tells.

pub mod archive;
pub mod check;
pub mod daemon;
pub mod judge;
pub mod keys;
pub mod object_store;
pub mod script;
pub mod sound;
pub mod stage;
pub mod tracks;

pub use object_store::ObjectStore;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use self::archive::Archive;
use self::daemon::{Daemon, DaemonError, LOG};
use self::judge::{Check, Verdict, judge};
use self::script::PARTIES;
use self::stage::Performance;
use crate::codec::CodecError;
use crate::load::api::{Api, ApiError};
use crate::load::speech::SpeechError;

/// Holds a conference of seven synthetic parties and checks by signal that each heard what it should.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where the recording, its receipt and what each party heard are left.
    #[arg(long, default_value = "mixminus-demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Start an object store (S3) for the demo, and leave the recording in a bucket of it.
    #[arg(long)]
    pub s3: bool,
}

#[derive(Debug, Error)]
pub enum DemoError {
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Speech(#[from] SpeechError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the system refused a socket, thread or file: {0}")]
    System(#[from] io::Error),
}

/// Runs the demo; success means that every check passed.
pub fn run(args: DemoArgs) -> Result<ExitCode, DemoError> {
    fs::create_dir_all(&args.out)?;
    let directory = fs::canonicalize(&args.out)?;
    let archive = match args.s3 {
        true => Archive::in_bucket(&directory)?,
        false => Archive::local(&directory),
    };
    if let Some(endpoint) = archive.settings.first() {
        println!("        An object store has started: {endpoint}");
    }
    println!("        The daemon starts.");
    let daemon = Daemon::start(&directory, &archive.settings)?;
    println!("        It serves at {}.", daemon.url);
    let performance = stage::perform(&Api::new(&daemon.url, None), &directory, &archive)?;
    drop(daemon);
    println!("        The daemon has ended. Now everything that was heard is compared with what was said.\n");
    let Performance {
        heard,
        recording,
        checks,
        files,
    } = performance;
    let mut verdict = judge(&heard, recording.as_ref())?;
    verdict.checks.extend(checks);
    if let Some(secret) = &archive.secret {
        verdict
            .checks
            .push(unlogged(secret, &fs::read_to_string(directory.join(LOG))?));
    }
    let matrix = matrix(&verdict);
    print!("{matrix}{}", account(&verdict.checks));
    fs::write(
        directory.join("checks.txt"),
        format!("{matrix}{}", list(&verdict.checks)),
    )?;
    print!("{}", left_behind(&args.out, &archive, &files));
    Ok(if verdict.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Who heard whom of those that spoke alone.
fn matrix(verdict: &Verdict) -> String {
    let mut text = String::from(
        "How alike what each heard is to what was said (1.00 is the same; of oneself, the level in dB):\n\n",
    );
    text.push_str(&format!("  {:<14}", "heard by"));
    for speaker in 0..PARTIES {
        text.push_str(&format!("{:>10}", script::name(speaker)));
    }
    text.push('\n');
    for (listener, row) in verdict.matrix.iter().enumerate() {
        let name = if listener < PARTIES {
            script::name(listener)
        } else {
            "the recording"
        };
        text.push_str(&format!("  {name:<14}"));
        for (speaker, found) in row.iter().enumerate() {
            let figure = if speaker == listener {
                format!("{:.0} dB", found.level_db)
            } else {
                format!("{:.2}", found.likeness)
            };
            text.push_str(&format!("{figure:>10}"));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Each failed check, and how many there were; of those that passed, only the number.
fn account(checks: &[Check]) -> String {
    let failed: Vec<&Check> = checks.iter().filter(|check| !check.passed).collect();
    let mut text = String::new();
    for check in &failed {
        text.push_str(&format!("  FAILED: {}\n", check.sentence));
    }
    match failed.len() {
        0 => text.push_str(&format!(
            "All {} checks passed: each party heard the others and not itself, nobody heard the muted, the held, \
             the kicked\nor a key, the recording has what was said and each track one voice of it, and the receipt \
             is true.\n",
            checks.len()
        )),
        failures => text.push_str(&format!("{failures} of {} checks failed.\n", checks.len())),
    }
    text
}

/// Every check with its figures.
fn list(checks: &[Check]) -> String {
    checks
        .iter()
        .map(|check| {
            format!(
                "{}  {}\n",
                if check.passed { "ok    " } else { "FAILED" },
                check.sentence
            )
        })
        .collect()
}

/// The secret that the recording was asked for with stands in no line of the daemon's log.
fn unlogged(secret: &str, log: &str) -> Check {
    Check {
        sentence: "the store's secret is not in the daemon's log".to_owned(),
        passed: !log.contains(secret),
    }
}

/// Where everything lies.
fn left_behind(out: &Path, archive: &Archive, files: &[(String, String)]) -> String {
    let mut text = match archive.bucket {
        None => "The recording is".to_owned(),
        Some(bucket) => format!("The recording is in the bucket {bucket}, whose objects are files"),
    };
    text.push_str(&format!(" in {}:\n", archive.folder.display()));
    let width = files.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, what) in files {
        text.push_str(&format!("  {name:<width$}  {what}\n"));
    }
    text.push_str(&format!(
        "Every check with its figures is in {}, what each heard lies beside it.\n",
        out.join("checks.txt").display()
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_told_in_full_and_counted() {
        let check = |passed, sentence: &str| Check {
            sentence: sentence.into(),
            passed,
        };
        let text = account(&[check(true, "alma hears boris"), check(false, "boris hears craig")]);
        assert_eq!(text, "  FAILED: boris hears craig\n1 of 2 checks failed.\n");
        assert!(account(&[check(true, "")]).starts_with("All 1 checks passed"));
    }

    #[test]
    fn a_secret_in_the_log_fails() {
        assert!(unlogged("hush", "ready\nrecording started\n").passed);
        assert!(!unlogged("hush", "ready\ncredentials key:hush:region\n").passed);
    }

    #[test]
    fn what_is_left_behind_is_named_with_its_place() {
        let archive = Archive::local(Path::new("/demo"));
        let files = [
            ("a.wav".to_owned(), "the mix".to_owned()),
            ("a.json".to_owned(), "the receipt".to_owned()),
        ];
        let text = left_behind(Path::new("demo"), &archive, &files);
        assert_eq!(
            text,
            "The recording is in /demo/recordings:\n  a.wav   the mix\n  a.json  the receipt\n\
             Every check with its figures is in demo/checks.txt, what each heard lies beside it.\n"
        );
    }
}
