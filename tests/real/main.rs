//! The contracts on real servers: etcd, Kafka and PostgreSQL as children of this process, killed, paused and started again.
//!
//! # Layout
//! - `store`: the contract of the store, on etcd. `ledger`: that of the ledger, on PostgreSQL.
//! - `usage`: that of the usage transport, through Kafka. `suite`: how their cases are run.
//! - `tls`: Kafka with certificates and passwords, by a build of its own; it runs when it is named (`kafka-tls`).
//! - `etcd`, `kafka`, `postgres`: each server behaves as the tests of the product take for granted.
//! - `fetch.py`, `servers/`: how the servers are got (`README.md`).
//!
//! # Invariants
//! - Each case has servers and folders of its own, and what one leaves behind cannot help the next.
//! - A server that cannot be had skips its cases with a reason; with `CI=true` they fail.

mod etcd;
mod kafka;
mod ledger;
mod postgres;
mod store;
mod suite;
mod tls;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use waybill_tests::{Report, Scratch};

/// Runs the contracts on real servers.
#[derive(Parser)]
struct Args {
    /// Only the cases whose names contain one of these.
    cases: Vec<String>,
    /// Write the figures as a list of `{name, value, unit, reach, ok}`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One case: it gets a folder of its own and may add figures.
struct Case {
    name: &'static str,
    run: fn(&std::path::Path, &mut Report) -> Result<()>,
}

const CASES: [&[Case]; 6] = [etcd::CASES, kafka::CASES, postgres::CASES, store::CASES, ledger::CASES, usage::CASES];

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let scratch = Scratch::new("real")?;
    let mut report = Report::new("real");
    let is_chosen = |name: &str| args.cases.is_empty() || args.cases.iter().any(|part| name.contains(part.as_str()));
    let named = args.cases.iter().any(|part| part.starts_with("kafka-tls"));
    let cases: Vec<&Case> = if named { tls::CASES.iter().collect() } else { CASES.into_iter().flatten().collect() };
    for (number, case) in cases.into_iter().filter(|case| is_chosen(case.name)).enumerate() {
        let start = Instant::now();
        let folder = scratch.path().join(number.to_string());
        let outcome = (case.run)(&folder, &mut report);
        if report.test(case.name, &outcome, start.elapsed()) && folder.exists() {
            // Only what a failure has left is worth its room.
            std::fs::remove_dir_all(&folder)?;
        }
    }
    if report.has_failed() {
        println!("data and logs are kept in {}", scratch.keep().display());
    }
    report.close();
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
