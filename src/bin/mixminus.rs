use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mixminus::load;

#[derive(Parser)]
#[command(version, about)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Synthetic RTP load against a running daemon.
    Load(load::LoadArgs),
}

fn main() -> ExitCode {
    let Command::Load(args) = Program::parse().command;
    load::run(args).unwrap_or_else(|error| {
        eprintln!("mixminus: {error}");
        error.exit_code()
    })
}
