//! The program: arguments → configuration → run → exit status, nothing else.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use mixminus::config::{self, Config, ConfigError};
use mixminus::control::daemon::{READY, ServeError, serve};
use mixminus::record::{list_spool, recover};
use mixminus::{demo, load};
use tracing::Level;
use tracing_subscriber::filter::Targets;
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
        Command::Config { configuration } => {
            configuration.load().map(|config| print!("{}", config.describe()))
        }
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
    log_to_stderr(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed {
            status: 1,
            sentence: format!("The runtime cannot be started: {error}."),
        })?;
    runtime
        .block_on(serve(config, || configuration.read(), ready_file))
        .map_err(|error| Failed {
            status: if matches!(error, ServeError::Configuration(_)) {
                MISUSE
            } else {
                1
            },
            sentence: error.to_string(),
        })
}

fn log_to_stderr(config: &Config) {
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = match config.log.json {
        true => log.json().boxed(),
        false => log.with_target(false).boxed(),
    };
    let levels = Targets::new()
        .with_default(config.log.level)
        .with_target(READY, Level::INFO.max(config.log.level));
    tracing_subscriber::registry()
        .with(log.with_filter(levels))
        .init();
}

fn list_recordings(config: &Config) -> Result<(), Failed> {
    for entry in list_spool(&config.recording.dir).map_err(|error| unreadable(config, &error))? {
        println!("{entry}");
    }
    Ok(())
}

fn recover_recordings(config: &Config) -> Result<(), Failed> {
    let recovered = recover(&config.recording.dir).map_err(|error| unreadable(config, &error))?;
    let mut failed = 0;
    for recording in &recovered {
        match &recording.outcome {
            Ok(receipt) => println!(
                "{}  {} samples at {} Hz",
                recording.key, receipt.samples, receipt.rate
            ),
            Err(error) => {
                failed += 1;
                println!("{}  not recovered: {error}", recording.key);
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failed {
            status: 1,
            sentence: format!("{failed} recordings could not be recovered."),
        }),
    }
}

fn unreadable(config: &Config, error: &std::io::Error) -> Failed {
    let dir = config.recording.dir.display();
    Failed {
        status: 1,
        sentence: format!("recording.dir {dir} cannot be read: {error}."),
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
