//! Faults: the cluster under seeded load while something breaks, and what its ledger, its callers and its fleet say of it.
//!
//! # Layout
//! - `run`: the cluster with its callers, and what was seen so far. `rows`: the scenarios, by what breaks.
//! - `judge`: the promises over everything seen. `secrets`: what must not be in any log, metric or spool. `table`: what is told.
//!
//! # Invariants
//! - One fault at a time, on a cluster that was well before it; a row that fails gets the next one a new cluster.
//! - Nothing in a scenario asserts what the judgement can find: it breaks, mends and measures.
//! - The judgement is over all requests since the cluster's start, so that a late consequence is found too.

mod judge;
mod rows;
mod run;
mod secrets;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use waybill_tests::cluster::Shape;
use waybill_tests::{Report, Scratch};

use crate::rows::{ROWS, Row};
use crate::run::Run;
use crate::table::{Line, Table};

/// Breaks the cluster in the ways of the fault matrix and judges what comes of it.
#[derive(Parser)]
struct Args {
    /// Numbers of rows; all of them if left out.
    rows: Vec<u32>,
    /// Only the rows that are quick.
    #[arg(long)]
    fast: bool,
    /// Decides the load and what breaks when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures as a list of `{name, value, unit, reach, ok}`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(unknown) = args.rows.iter().find(|number| ROWS.iter().all(|row| row.number != **number)) {
        let known: Vec<String> = ROWS.iter().map(|row| row.number.to_string()).collect();
        bail!("there is no row {unknown}; there are {}", known.join(", "));
    }
    let is_chosen = |row: &&Row| (args.rows.is_empty() || args.rows.contains(&row.number)) && (!args.fast || row.is_fast);
    let scratch = Scratch::new("faults")?;
    let mut report = Report::new("faults");
    let mut table = Table::default();
    let mut clusters = Clusters { folder: scratch.path().to_owned(), seed: args.seed, count: 0, standing: None };
    for row in ROWS.iter().filter(is_chosen) {
        println!("row {}: {}", row.number, row.fault);
        let start = Instant::now();
        let mut line = Line::new(row);
        let outcome = one(row, &mut clusters, &mut line);
        let name = format!("row {}: {}", row.number, row.fault);
        if !report.test(&name, &outcome, start.elapsed()) {
            // Whatever it has left behind is not the next row's fault.
            clusters.standing = None;
        }
        line.tell(&mut report);
        table.add(line);
    }
    drop(clusters);
    table.print();
    if report.has_failed() {
        println!("data and logs are kept in {}", scratch.keep().display());
    }
    report.close();
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The cluster that stands, and how many there have been.
struct Clusters {
    folder: PathBuf,
    seed: u64,
    count: u64,
    standing: Option<(fn() -> Shape, Run)>,
}

impl Clusters {
    /// The one that stands, if it has this shape, else a new one.
    fn of(&mut self, shape: fn() -> Shape) -> Result<&mut Run> {
        let is_other = |(standing, _): &(fn() -> Shape, Run)| !std::ptr::fn_addr_eq(*standing, shape);
        if self.standing.as_ref().is_none_or(is_other) {
            self.standing = None;
            self.count += 1;
            let start = Instant::now();
            let run = Run::start(&self.folder.join(format!("cluster-{}", self.count)), &shape(), self.seed + self.count)?;
            println!("  a cluster in {:.1} s", start.elapsed().as_secs_f64());
            self.standing = Some((shape, run));
        }
        self.standing.as_mut().map(|(_, run)| run).context("a cluster stands")
    }
}

/// One row, on a cluster of its shape.
fn one(row: &Row, clusters: &mut Clusters, line: &mut Line) -> Result<()> {
    let run = clusters.of(row.shape)?;
    run.begin(row.number);
    let broken = (row.run)(run, line);
    run.heal();
    broken?;
    line.settled(run.settle(SETTLE_LIMIT)?);
    let findings = judge::judge(run, row, line)?;
    if findings.is_empty() { Ok(()) } else { bail!("{} findings:\n  {}", findings.len(), findings.join("\n  ")) }
}

/// From the end of a fault until the ledger knows of everything that happened.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
