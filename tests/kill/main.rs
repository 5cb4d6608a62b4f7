//! Deaths: the product is killed under load, at named places and at random instants, and its ledger is held against what callers saw and what
//! the provider recorded.
//!
//! # Layout
//! - `script`: the deaths in their order. `lives`: the product from start to death, again and again. `report`: tables and figures.
//! - Who calls, who answers and who judges is the oracle of `waybill_tests`.
//!
//! # Invariants
//! - The seed decides the script; what a random instant hits depends on the machine.

mod lives;
mod report;
mod script;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;

use crate::lives::Lives;
use crate::report::Report;
use waybill_tests::Random;
use waybill_tests::oracle::configuration;
use waybill_tests::oracle::load::{Door, Load, Pace};
use waybill_tests::oracle::provider::Provider;
use waybill_tests::oracle::rows::{Ledger, Source};
use waybill_tests::oracle::verdict::{Evidence, Verdict, judge};

/// Kills the product under load and judges its ledger.
#[derive(Parser)]
struct Args {
    /// Decides the deaths.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Deaths at random instants; the named places are visited in any case.
    #[arg(long, default_value_t = 50)]
    points: u32,
    /// Write the figures as a list of `{name, value, unit, reach, ok}`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep state, records and logs here. Without it they are kept, and named, only when something failed.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let scratch = tempfile::Builder::new().prefix("waybill-kill-").tempdir()?;
    let folder = match &args.keep {
        Some(folder) => std::path::absolute(folder)?,
        None => scratch.path().to_owned(),
    };
    std::fs::create_dir_all(&folder)?;
    let outcome = run(&args, &folder);
    let is_good = matches!(&outcome, Ok(report) if !report.has_failed());
    if !is_good && args.keep.is_none() {
        println!("state, records and logs are kept in {}", scratch.keep().display());
    }
    let report = outcome?;
    report.print();
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(args: &Args, folder: &Path) -> Result<Report> {
    let start = Instant::now();
    let mut random = Random::new(args.seed);
    let script = script::script(args.points, &mut random);
    let provider = Provider::start(folder)?;
    let (config, key) = configuration::write(folder, &provider.base_url, &mut random)?;
    let door = Arc::new(Door::default());
    let load = Load::start(&door, &key, args.seed, Pace::BUSY);
    let mut lives = Lives::new(folder, &config, &door);
    println!("seed {}: {} deaths", args.seed, script.len() - 1);
    let lived = script.iter().try_for_each(|death| lives.until(death).with_context(|| format!("on the way to {death:?}")));
    let sent = load.stop();
    lived?;
    let records = provider.stop()?;
    println!("{} lives in {:.0} s; reading the ledger", lives.lives.len(), start.elapsed().as_secs_f64());
    let ledger = Ledger::read(&Source::State(lives.state()), folder)?;
    let told = lives.lives.len() - 1;
    let evidence = Evidence {
        seed: args.seed,
        sent: &sent,
        records: &records,
        remains: &lives.remains,
        ledger: &ledger,
        told: Some(told),
        is_over: true,
    };
    let verdict = judge(&evidence, lives.lives.len());
    print_inventory(&evidence, &verdict);
    let report = Report::new(&lives.lives, &lives.failures, &verdict);
    println!("  {:.0} s in all", start.elapsed().as_secs_f64());
    Ok(report)
}

/// What was judged, counted from the inputs, against what there was.
fn print_inventory(evidence: &Evidence<'_>, verdict: &Verdict) {
    let judged: u64 = verdict.tallies.iter().map(|tally| tally.requests).sum();
    let (sent, records, events) = (evidence.sent.len(), evidence.records.len(), evidence.ledger.rows.len());
    let left = evidence.remains.attempts.len();
    println!(
        "{judged} of {sent} requests judged; {records} records of the provider, {events} events, {left} attempts in spools of the dead"
    );
    println!("excluded: {} requests; no record, no event, no attempt", sent as u64 - judged);
}
