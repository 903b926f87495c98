//! The program: arguments → configuration → run → exit status, nothing else.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mixminus::config::{self, Config, ConfigError};
use mixminus::control::daemon::{self, ServeError, serve};
use mixminus::control::log::{Limit, levels};
use mixminus::control::store::object_store;
use mixminus::record::{Recorder, RecordingState, RecordingStatus, SpoolEntry, list_spool};
use mixminus::{demo, load};
use tracing::Level;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::prelude::*;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon.
    Serve {
        #[command(flatten)]
        configuration: Configuration,
        /// File to write the addresses to once the daemon is ready.
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Print the effective configuration, with where each value came from.
    Config {
        #[command(flatten)]
        configuration: Configuration,
    },
    /// Synthetic RTP load against a running daemon.
    Load(load::LoadArgs),
    /// The main job end to end: a daemon, five speaking parties, a recording, and checks by signal.
    Demo(demo::DemoArgs),
    /// Look after recordings on disk.
    Recordings {
        #[command(flatten)]
        configuration: Configuration,
        #[command(subcommand)]
        command: Recordings,
    },
}

#[derive(Subcommand)]
enum Recordings {
    /// What lies in the recordings' directory.
    List,
    /// Finish what a crash left.
    Recover,
}

#[derive(Args)]
struct Configuration {
    /// Configuration file, in TOML.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over the file and the environment; may be repeated.
    #[arg(long = "set", global = true, value_name = "section.key=value")]
    sets: Vec<String>,
}

/// What the program could not do, and the exit status that says of which kind it is.
struct Failed {
    status: u8,
    sentence: String,
}

/// The caller asked for something that cannot be.
const MISUSE: u8 = 2;

/// How often `recordings recover` says what it waits for, when that changes.
const STILL_THERE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve {
            configuration,
            ready_file,
        } => run_daemon(configuration, ready_file),
        Command::Load(args) => {
            return load::run(args).unwrap_or_else(|error| {
                eprintln!("{error}");
                error.exit_code()
            });
        }
        Command::Demo(args) => {
            return demo::run(args).unwrap_or_else(|error| {
                eprintln!("{error}");
                ExitCode::FAILURE
            });
        }
        Command::Config { configuration } => configuration
            .load()
            .map(|config| say(config.describe().trim_end())),
        Command::Recordings {
            configuration,
            command,
        } => configuration.load().and_then(|config| match command {
            Recordings::List => list_recordings(&config),
            Recordings::Recover => recover_recordings(&config),
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { status, sentence }) => {
            eprintln!("{sentence}");
            ExitCode::from(status)
        }
    }
}

fn run_daemon(configuration: Configuration, ready_file: Option<PathBuf>) -> Result<(), Failed> {
    let config = configuration.load()?;
    log_to_stderr(&config, config.log.level);
    let runtime = daemon::runtime(&config).map_err(not_served)?;
    let served = runtime.block_on(serve(config, || configuration.read(), ready_file));
    // Whoever told it twice to stop does not wait for a disk or an object store: the journals are safe without that.
    runtime.shutdown_background();
    served.map_err(not_served)
}

fn not_served(error: ServeError) -> Failed {
    let is_misuse = matches!(error, ServeError::Configuration(_));
    Failed {
        status: if is_misuse { MISUSE } else { 1 },
        sentence: error.to_string(),
    }
}

fn log_to_stderr(config: &Config, level: Level) {
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = match config.log.json {
        true => log.json().boxed(),
        false => log.with_target(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(log.with_filter(levels(level).and(Limit::new(config.log.per_s))))
        .init();
}

fn list_recordings(config: &Config) -> Result<(), Failed> {
    let entries = list_spool(&config.recording.dir).map_err(|error| unusable(config, &error))?;
    entries.iter().for_each(say);
    Ok(())
}

/// Prints a line. Nobody may be reading any more, as behind `head`: that ends nothing.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Finishes what a daemon has left behind, and says what became of it. It takes as long as the object store keeps it
/// waiting.
fn recover_recordings(config: &Config) -> Result<(), Failed> {
    log_to_stderr(config, Level::WARN);
    let store = object_store(config).map_err(|error| Failed {
        status: MISUSE,
        sentence: error.to_string(),
    })?;
    // What was delivered before is told to those who listen to a daemon, not here again.
    let delivered: HashSet<String> = list_spool(&config.recording.dir)
        .map_err(|error| unusable(config, &error))?
        .into_iter()
        .filter_map(|entry| match entry {
            SpoolEntry::Delivered(receipt) => Some(receipt.recording_id),
            SpoolEntry::Waiting(..) | SpoolEntry::Damaged(..) => None,
        })
        .collect();
    let tell = move |status: &RecordingStatus| {
        if !delivered.contains(&status.recording_id) {
            say(status);
        }
    };
    let recorder = Recorder::start(&config.recording.dir, Vec::new(), store, Box::new(tell))
        .map_err(|error| unusable(config, &error))?;
    let mut waits = Vec::new();
    while !recorder.wait_until_all_settled(STILL_THERE) {
        let waiting: Vec<_> = recorder
            .list()
            .into_iter()
            .filter(|status| !status.state.is_settled())
            .map(|status| status.to_string())
            .collect();
        if waiting != waits {
            waiting.iter().for_each(say);
            waits = waiting;
        }
    }
    let failed = |status: &RecordingStatus| status.state == RecordingState::Failed;
    match recorder.list().iter().filter(|status| failed(status)).count() {
        0 => Ok(()),
        failed => Err(Failed {
            status: 1,
            sentence: format!("{failed} of the recordings could not be finished: they stay in the spool."),
        }),
    }
}

fn unusable(config: &Config, error: &std::io::Error) -> Failed {
    Failed {
        status: 1,
        sentence: format!(
            "recording.dir {} cannot be used: {error}.",
            config.recording.dir.display()
        ),
    }
}

impl Configuration {
    fn load(&self) -> Result<Config, Failed> {
        self.read().map_err(|error| Failed {
            status: MISUSE,
            sentence: error.to_string(),
        })
    }

    fn read(&self) -> Result<Config, ConfigError> {
        let environment = config::environment(std::env::vars_os())?;
        Config::load(self.config.clone(), environment, &self.sets)
    }
}
