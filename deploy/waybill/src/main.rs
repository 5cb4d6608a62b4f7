//! The binary: every role, and the operator's commands.
//!
//! # Layout
//! - `up`: all roles in one process. `state`: its folder. `providers`: what it finds to answer with. `pepper`: the store's keys are its own.
//! - `consume`: from the spool to the ledger. `books`: what the proxy asks of the ledger. `ops`: health and metrics.
//! - `banner`, `ready`: what a start tells people and programs.

mod banner;
mod books;
mod consume;
mod ops;
mod pepper;
mod providers;
mod ready;
mod state;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The routing layer for LLM calls: one endpoint, every provider, one right bill.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, about, propagate_version = true)]
struct Cli {
    /// Logs as one JSON object a line.
    #[arg(long, global = true, env = "WAYBILL_LOG_JSON")]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every role in this process, on embedded stores.
    Up(up::Up),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    waybill_telemetry::logs(if cli.log_json { waybill_telemetry::Format::Json } else { waybill_telemetry::Format::Pretty });
    let outcome = match cli.command {
        Command::Up(up) => up::run(&up),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("waybill: {error:#}");
        ExitCode::FAILURE
    })
}
