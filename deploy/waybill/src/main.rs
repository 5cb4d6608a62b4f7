//! The binary: every role, and the operator's commands.
//!
//! # Layout
//! - `up`: all roles in one process. `configure`: what they start with. `running`: what the planes ask of one another.
//! - `state`: the folder. `providers`: what is found to answer with. `pepper`: the store's keys are its own.
//! - `consume`: from the spool to the ledger. `books`: what the proxy asks of the ledger. `ops`: health and metrics.
//! - `kafka`: the operator's commands for the usage topic.
//! - `offline`: the ledger's verbs on a state folder, while nothing runs on it.
//! - `memory`: what the allocator keeps. `banner`, `ready`: what a start tells people and programs.

mod banner;
mod books;
mod configure;
mod consume;
mod health;
#[cfg(feature = "cluster")]
mod kafka;
mod memory;
mod offline;
mod ops;
mod pepper;
mod providers;
mod ready;
mod running;
mod state;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Up(Box<up::Up>),
    /// The topic of usage records.
    #[cfg(feature = "cluster")]
    #[command(subcommand)]
    Kafka(kafka::Kafka),
    /// The records on the topic.
    #[cfg(feature = "cluster")]
    #[command(subcommand)]
    Usage(kafka::Usage),
    #[command(flatten)]
    Operator(waybill_cli::Command),
}

fn main() -> ExitCode {
    memory::keep_buffers();
    let cli = Cli::parse();
    waybill_telemetry::logs(if cli.log_json { waybill_telemetry::Format::Json } else { waybill_telemetry::Format::Pretty });
    let outcome = match cli.command {
        Command::Up(up) => up::run(&up),
        #[cfg(feature = "cluster")]
        Command::Kafka(command) => kafka::kafka(command),
        #[cfg(feature = "cluster")]
        Command::Usage(command) => kafka::usage(command),
        Command::Operator(command) => operate(&command),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("waybill: {error:#}");
        ExitCode::FAILURE
    })
}

/// Runs an operator's command: against a running Waybill, or on a state folder.
fn operate(command: &waybill_cli::Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(folder) = command.state() else { return Ok(waybill_cli::run(command, None).await) };
        let offline = offline::Offline::open(folder).await?;
        Ok(waybill_cli::run(command, Some(&offline)).await)
    })
}
