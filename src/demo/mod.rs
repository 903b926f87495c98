//! `mixminus demo`: the main job, end to end, on one machine and with no set-up. It starts the daemon, seats a party of
//! each codec with real speech in a room over real sockets, two of them encrypted, presses keys, mutes, holds and kicks,
//! records the mix, and judges by signal who heard whom.
//!
//! Like any switch it knows the daemon only by HTTP and RTP, and what it finds can fail: its exit status tells.

pub mod check;
pub mod daemon;
pub mod judge;
pub mod keys;
pub mod object_store;
pub mod script;
pub mod sound;
pub mod stage;

pub use object_store::ObjectStore;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use self::daemon::{Daemon, DaemonError};
use self::judge::{Check, Verdict, judge};
use self::script::PARTIES;
use crate::codec::CodecError;
use crate::load::api::{Api, ApiError};
use crate::load::speech::SpeechError;

/// Holds a conference of seven synthetic parties and checks by signal that each heard what it should.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where the recording, its receipt and what each party heard are left.
    #[arg(long, default_value = "mixminus-demo", value_name = "DIR")]
    pub out: PathBuf,
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
    println!("        The daemon starts.");
    let daemon = Daemon::start(&directory)?;
    println!("        It serves at {}.", daemon.url);
    let performance = stage::perform(&Api::new(&daemon.url, None), &directory)?;
    drop(daemon);
    println!("        The daemon has ended. Now everything that was heard is compared with what was said.\n");
    let mut verdict = judge(&performance.heard, performance.recording.as_ref())?;
    verdict.checks.extend(performance.checks);
    let matrix = matrix(&verdict);
    print!("{matrix}{}", account(&verdict.checks));
    fs::write(
        directory.join("checks.txt"),
        format!("{matrix}{}", list(&verdict.checks)),
    )?;
    print!("{}", left_behind(&args.out));
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
             the kicked\nor a key, and the recording has what was said.\n",
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

fn left_behind(out: &Path) -> String {
    format!(
        "The recording is {}, its receipt {};\nevery check with its figures is in {}, what each heard lies beside it.\n",
        out.join("recording.wav").display(),
        out.join("receipt.json").display(),
        out.join("checks.txt").display()
    )
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
}
