//! `mixminus load`: synthetic RTP load against a running daemon, or against a bare reflector (`--floor`).
//!
//! It knows the daemon only as its users do: by HTTP, RTP and `/metrics`. The parts of it that are no load, the
//! speech, the synthetic party and the captured stream, serve `mixminus demo` too.

pub mod api;
pub mod codecs;
pub mod commands;
pub mod correlation;
pub mod distribution;
pub mod floor;
pub mod hearing;
pub mod impair;
pub mod keys;
pub mod network;
pub mod party;
pub mod probe;
pub mod progress;
pub mod proxy;
pub mod ramp;
pub mod reading;
pub mod ready;
pub mod recordings;
pub mod report;
pub mod run;
pub mod scenario;
pub mod scrape;
pub mod sdp;
pub mod socket;
pub mod speech;
pub mod stream;
pub mod track;
pub mod watch;

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use thiserror::Error;

use self::api::Api;
use self::codecs::{encoding, packet_times, usual_packet_time};
use self::floor::Reflector;
use self::run::{Target, Timing};
use self::scenario::Scenario;
use crate::codec::Codec;
use crate::srtp::Suite;

/// The most legs one generator will make: each takes a socket, and there are not more ports at one address.
const LEGS_MAX: usize = 25_000;

/// Legs that are wanted where nothing is said, and where as many as will be taken are.
const LEGS: usize = 100;
const LEGS_RAMPED: usize = 10_000;

/// With a proxy, each leg takes three sockets.
const IMPAIRED_LEGS_MAX: usize = LEGS_MAX / 3;

/// Sends synthetic RTP to a running daemon and reports what came back.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The daemon's HTTP origin.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// `key:secret`, where the daemon wants one.
    #[arg(long)]
    pub key: Option<String>,
    /// How many legs to seat: 100 unless it is said, and with a --ramp that goes on until one is refused 10000.
    #[arg(long)]
    pub legs: Option<usize>,
    /// In how many rooms, instead of --room-size.
    #[arg(long, conflicts_with = "room_size")]
    pub rooms: Option<usize>,
    /// How many legs sit in a room.
    #[arg(long, default_value_t = 10)]
    pub room_size: usize,
    /// pcmu, pcma, g722, g729, ilbc20, ilbc30 (20 and 30 ms), opus (48 kHz), opus16, opus8, l16 (16 kHz), l16-8 or
    /// l16-48.
    #[arg(long, default_value = "pcmu")]
    pub codec: String,
    /// How many of each room talk; the others send noise at −65 dBFS.
    #[arg(long, default_value_t = 2)]
    pub talkers: usize,
    /// How long to measure, in seconds, after the ramp and two seconds to settle.
    #[arg(long, default_value_t = 20)]
    pub duration: u64,
    /// Over how many seconds the legs are seated, 5 unless it is said. Without a number: until the daemon refuses one;
    /// those that it took are held then, and the report says how many they are and whether any of them missed anything.
    /// A generator on the daemon's own machine takes processor time that the daemon then has not.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_value = "5", default_missing_value = UNTIL_REFUSED)]
    pub ramp: Ramp,
    /// Legs that are seated in each second of a --ramp without a number.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub joins: u32,
    /// Milliseconds of sound in each packet: 10, 20, 30, 40, 50 or 60, in whole frames of the codec; 20 unless it is
    /// said, 30 with ilbc30.
    #[arg(long)]
    pub ptime: Option<u8>,
    /// Encrypt (SRTP, keys in SDP): AES_CM_128_HMAC_SHA1_80 unless it is said, AES_CM_128_HMAC_SHA1_32,
    /// AES_256_CM_HMAC_SHA1_80, AEAD_AES_128_GCM or AEAD_AES_256_GCM.
    #[arg(
        long,
        value_name = "SUITE",
        num_args = 0..=1,
        default_missing_value = Suite::AesCm128HmacSha1_80.name(),
        conflicts_with = "floor"
    )]
    pub srtp: Option<String>,
    /// Put a bad network between the parties and the daemon, both ways: loss=5,jitter=40,seed=7. Keys: loss, reorder,
    /// duplicate (percent), burst (packets), delay, jitter (ms), spike, outage (ms, or ms/seconds between two), drift
    /// (ppm of the parties' clocks), seed.
    #[arg(long, value_name = "KEY=VALUE,…", conflicts_with = "floor")]
    pub impair: Option<String>,
    /// Have the daemon record every room, to where its configuration says, from before what is measured to after it.
    #[arg(long, conflicts_with = "floor")]
    pub record: bool,
    /// Mute and unmute legs that only listen, so often in each second, while it is measured: how long the answers take,
    /// and, in a room beside the others, until it is heard.
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "floor", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub commands: Option<u32>,
    /// Write the report to this file as JSON too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure a built-in bare reflector instead of a daemon: the floor that every server stands on.
    #[arg(long)]
    pub floor: bool,
    /// The address from which RTP is sent.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDR")]
    pub bind: IpAddr,
    /// Decides who sends when.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Be that reflector: what --floor starts.
    #[arg(long, hide = true)]
    pub reflect: bool,
}

/// What a `--ramp` without a number stands for.
const UNTIL_REFUSED: &str = "refusal";

/// How long legs are seated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ramp {
    Seconds(u64),
    UntilRefused,
}

impl FromStr for Ramp {
    type Err = String;

    fn from_str(text: &str) -> Result<Ramp, String> {
        match text {
            UNTIL_REFUSED => Ok(Ramp::UntilRefused),
            seconds => match seconds.parse() {
                Ok(seconds) => Ok(Ramp::Seconds(seconds)),
                Err(_) => Err("it must be a whole number of seconds, or nothing".to_owned()),
            },
        }
    }
}

impl LoadArgs {
    fn legs_wanted(&self) -> usize {
        self.legs.unwrap_or(match self.ramp {
            Ramp::Seconds(_) => LEGS,
            Ramp::UntilRefused => LEGS_RAMPED,
        })
    }
}

#[derive(Debug, Error)]
pub enum LoadError {
    /// The sentence names the argument, its value and what is allowed.
    #[error("{0}")]
    Argument(String),
    #[error(transparent)]
    Impairment(#[from] impair::ImpairError),
    #[error(transparent)]
    Api(#[from] api::ApiError),
    #[error(transparent)]
    Speech(#[from] speech::SpeechError),
    #[error(transparent)]
    Codec(#[from] crate::codec::CodecError),
    #[error("the system refused a socket, thread or process: {0}")]
    System(#[from] io::Error),
    #[error("the report cannot be written to {file}: {error}")]
    Report { file: PathBuf, error: io::Error },
}

impl LoadError {
    /// 2 where the command line is at fault, else 1.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            LoadError::Argument(_) | LoadError::Impairment(_) => 2,
            _ => 1,
        })
    }
}

/// Runs the load and prints the report; success means that every leg was seated and heard something.
pub fn run(args: LoadArgs) -> Result<ExitCode, LoadError> {
    if args.reflect {
        floor::serve(args.legs_wanted(), args.bind)?;
        return Ok(ExitCode::SUCCESS);
    }
    let codec = codecs::codec_named(&args.codec)
        .map_err(|error| LoadError::Argument(format!("--codec {} is not known: {error}", args.codec)))?;
    let srtp = args.srtp.as_deref().map(suite_named).transpose()?;
    let impairment = args.impair.as_deref().map(str::parse).transpose()?;
    let legs = args.legs_wanted();
    let room_size = validated(&args)?;
    let encoding = encoding(codec, packet_time(&args, codec)?);
    // Lives as long as the run.
    let reflector = args
        .floor
        .then(|| Reflector::start(legs, args.bind))
        .transpose()?;
    let (target, scenario) = if let Some(reflector) = &reflector {
        let scenario = Scenario::plan_floor(legs, encoding, args.seed);
        (
            Target::Floor {
                ports: reflector.ports.clone(),
                pid: reflector.pid(),
            },
            scenario,
        )
    } else {
        let scenario = Scenario {
            srtp,
            impairment,
            records: args.record,
            commands: args.commands,
            ..Scenario::plan(legs, room_size, args.talkers, encoding, args.seed)
        };
        (Target::Daemon(Api::new(&args.url, args.key.as_deref())), scenario)
    };
    let timing = Timing {
        ramp: match args.ramp {
            Ramp::Seconds(seconds) => Duration::from_secs(seconds),
            Ramp::UntilRefused => Duration::ZERO,
        },
        measured: Duration::from_secs(args.duration),
        bind: args.bind,
    };
    let interrupted = on_interrupt()?;
    let is_good = if args.ramp == Ramp::UntilRefused {
        let report = ramp::run(&scenario, &target, &timing, &args.codec, args.joins, &interrupted)?;
        tell(&report, args.json)?;
        report.is_good()
    } else {
        let report = run::run(&scenario, &target, &timing, &args.codec, &interrupted)?;
        tell(&report, args.json)?;
        report.is_good()
    };
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints a report, and writes it to the file as JSON.
fn tell(report: &(impl Display + Serialize), json: Option<PathBuf>) -> Result<(), LoadError> {
    print!("{report}");
    if let Some(file) = json {
        let json = serde_json::to_vec_pretty(report).map_err(io::Error::from);
        json.and_then(|json| fs::write(&file, json))
            .map_err(|error| LoadError::Report { file, error })?;
    }
    Ok(())
}

/// The size of a room, if all the figures make sense.
fn validated(args: &LoadArgs) -> Result<usize, LoadError> {
    let legs = args.legs_wanted();
    let wrong = |sentence: String| Err(LoadError::Argument(sentence));
    if !(1..=LEGS_MAX).contains(&legs) {
        return wrong(format!("--legs {legs} is not within 1 to {LEGS_MAX}"));
    }
    if args.impair.is_some() && legs > IMPAIRED_LEGS_MAX {
        return wrong(format!(
            "--legs {legs} is not within 1 to {IMPAIRED_LEGS_MAX}, as many as --impair can have"
        ));
    }
    if args.ramp == Ramp::UntilRefused
        && (args.floor || args.record || args.commands.is_some() || args.impair.is_some())
    {
        return wrong(
            "--ramp without a number goes with none of --floor, --record, --commands and --impair".to_owned(),
        );
    }
    if args.duration == 0 {
        return wrong("--duration 0 leaves nothing to measure; it must be 1 or more".to_owned());
    }
    let room_size = match args.rooms {
        None => args.room_size,
        Some(rooms) if (1..=legs).contains(&rooms) => legs.div_ceil(rooms),
        Some(rooms) => {
            return wrong(format!(
                "--rooms {rooms} is not within 1 to {legs}, the number of legs"
            ));
        }
    };
    if room_size == 0 {
        return wrong("--room-size 0 seats nobody; it must be 1 or more".to_owned());
    }
    if args.talkers > room_size {
        return wrong(format!(
            "--talkers {} is more than the {room_size} legs of a room",
            args.talkers
        ));
    }
    Ok(room_size)
}

fn suite_named(name: &str) -> Result<Suite, LoadError> {
    Suite::from_name(name).ok_or_else(|| {
        let known = Suite::ALL.map(Suite::name).join(", ");
        LoadError::Argument(format!("--srtp {name} is not known: it is none of {known}"))
    })
}

fn packet_time(args: &LoadArgs, codec: Codec) -> Result<u8, LoadError> {
    let allowed = packet_times(codec);
    match args.ptime {
        None => Ok(usual_packet_time(codec)),
        Some(ptime) if allowed.contains(&ptime) => Ok(ptime),
        Some(ptime) => {
            let allowed: Vec<String> = allowed.iter().map(u8::to_string).collect();
            Err(LoadError::Argument(format!(
                "--ptime {ptime} is none of {}, which --codec {} can have",
                allowed.join(", "),
                args.codec
            )))
        }
    }
}

/// Turns true on the first Ctrl-C, so that the legs are taken away before the end.
fn on_interrupt() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    thread::Builder::new().name("interrupt".into()).spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(interrupted)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn args(line: &str) -> LoadArgs {
        let words = std::iter::once("load").chain(line.split_whitespace());
        Program::try_parse_from(words).expect("clap takes it").load
    }

    #[test]
    fn rooms_and_room_size_say_the_same() {
        assert_eq!(validated(&args("--legs 100 --rooms 10")).expect("it is good"), 10);
        assert_eq!(validated(&args("--legs 100 --rooms 3")).expect("it is good"), 34);
        assert_eq!(
            validated(&args("--legs 100 --room-size 25")).expect("it is good"),
            25
        );
    }

    #[test]
    fn a_ramp_is_so_long_or_until_a_leg_is_refused() {
        for (line, ramp, legs) in [
            ("", Ramp::Seconds(5), 100),
            ("--ramp 30", Ramp::Seconds(30), 100),
            ("--ramp --codec g729", Ramp::UntilRefused, LEGS_RAMPED),
            ("--codec g729 --legs 7 --ramp", Ramp::UntilRefused, 7),
        ] {
            let args = args(line);
            assert_eq!((args.ramp, args.legs_wanted()), (ramp, legs), "{line}");
        }
        assert!("soon".parse::<Ramp>().is_err());
    }

    #[test]
    fn a_bad_figure_is_one_sentence_that_names_it() {
        for (line, named) in [
            ("--legs 0", "--legs 0"),
            ("--legs 5 --rooms 6", "--rooms 6"),
            ("--room-size 0", "--room-size 0"),
            ("--talkers 11", "--talkers 11"),
            ("--duration 0", "--duration 0"),
            ("--legs 9000 --impair loss=1", "--legs 9000"),
            ("--ramp --record", "--ramp without a number"),
            ("--ramp --commands 5", "--ramp without a number"),
        ] {
            let error = validated(&args(line)).expect_err(line);
            assert!(error.to_string().starts_with(named), "{error}");
        }
        for (line, named) in [
            ("--ptime 25", "--ptime 25"),
            ("--srtp AES", "--srtp AES is not known"),
            ("--impair loss=500", "--impair loss=500 is not 0 to 100"),
            ("--impair latency=5", "--impair knows no \"latency\""),
            ("--codec ilbc30 --ptime 20", "--ptime 20 is none of 30, 60,"),
        ] {
            let error = run(args(line)).expect_err(line);
            assert!(error.to_string().starts_with(named), "{error}");
        }
        assert_eq!(args("").srtp, None);
        assert_eq!(
            args("--srtp --legs 4").srtp.as_deref(),
            Some("AES_CM_128_HMAC_SHA1_80")
        );
        let ilbc = Codec::Ilbc(crate::codec::ilbc::Mode::Ms30);
        assert_eq!(packet_time(&args(""), Codec::Pcmu).expect("it is good"), 20);
        assert_eq!(packet_time(&args(""), ilbc).expect("it is good"), 30);
        assert_eq!(packet_time(&args("--ptime 60"), ilbc).expect("it is good"), 60);
        let error = run(args("--codec g711")).expect_err("there is no such codec");
        assert!(error.to_string().contains("--codec g711"));
    }
}
