//! The binary: every role, and the operator's commands.
//!
//! # Layout
//! - `up`: all roles in one process. `configure`: what they start with. `running`: what the planes ask of one another. `state`: its folder.
//!   `providers`: what is found to answer with. `banner`: what a start tells people. `consume`: from the spool to the ledger.
//! - `control`, `proxy`, `billing`: roles as processes of their own; `settings`: what they are told. `stores`: the store and the ledger by their URLs.
//!   `stored`: verbs on them.
//!   `peers`: who a process is to the other plane.
//! - `kafka`: the operator's commands for the usage topic.
//! - `folder`: a folder of one process, and the spool in it. `secrets`: peppers, tokens. `pepper`: the store's keys are its own. `books`: what a
//!   proxy asks of the ledger.
//! - `health`: what proxies count and what the fleet decides. `ops`: readiness and metrics. `listen`, `signals`, `ready`: addresses, ends, and who is told. `probe`: asks whether a role is ready. `schema`: forms of files.
//! - `offline`: the ledger's verbs on a state folder, while nothing runs on it. `memory`: what the allocator keeps.

mod banner;
#[cfg(feature = "cluster")]
mod billing;
mod books;
mod configure;
mod consume;
mod control;
mod folder;
mod health;
#[cfg(feature = "cluster")]
mod kafka;
mod listen;
mod memory;
mod offline;
mod ops;
mod peers;
mod pepper;
mod probe;
mod providers;
mod proxy;
mod ready;
mod running;
mod schema;
mod secrets;
mod settings;
mod signals;
mod state;
mod stored;
mod stores;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::settings::{Given, Role};

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
    /// Runs a replica of the control plane: operators, proxies and the store.
    Control(Box<Given<settings::Control>>),
    /// Runs a proxy: what applications call.
    Proxy(Box<Given<settings::Proxy>>),
    /// Runs a consumer of usage events: from Kafka into the ledger.
    Billing(Box<Given<settings::Billing>>),
    /// Brings what is stored to the schema of this build.
    Migrate(Box<stored::Migrate>),
    /// Writes a configuration store to a file.
    Backup(Box<stored::Backup>),
    /// Brings a backup back.
    Restore(Box<stored::Restore>),
    /// Verbs on whole configuration stores.
    Store(stored::Stores),
    /// Makes the secrets that a cluster shares.
    Secrets(secrets::Secrets),
    /// Asks a role whether it can do its work.
    Probe(probe::Probe),
    /// Shows the form of the files that are read.
    Schema(schema::Schema),
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
        Command::Control(given) => as_told(&given, control::run),
        Command::Proxy(given) => as_told(&given, proxy::run),
        Command::Billing(given) => as_told(&given, billing),
        Command::Migrate(migrate) => once(stored::migrate(&migrate)),
        Command::Backup(backup) => once(stored::backup(&backup)),
        Command::Restore(restore) => once(stored::restore(&restore)),
        Command::Store(stores) => once(stored::stores(&stores)),
        Command::Secrets(secrets) => secrets::run(&secrets),
        Command::Probe(probe) => probe::run(&probe),
        Command::Schema(schema) => schema::run(&schema),
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

#[cfg(feature = "cluster")]
use billing::run as billing;

/// Its settings are refused in this build.
#[cfg(not(feature = "cluster"))]
fn billing(_: &settings::Billing) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build does not speak to Kafka: take one with the feature `cluster`")
}

/// Runs a role by its settings, once they can be used.
fn as_told<R: Role>(given: &Given<R>, run: impl Fn(&R) -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    run(&settings::read(given)?)
}

/// Runs a verb that ends by itself.
fn once(verb: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(verb)
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
