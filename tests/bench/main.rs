//! The benchmark's driver: what a request costs through `waybill up`, as a multiple of what it costs through a bare proxy, in one interleaved run.
//!
//! # Layout
//! - `case`: what is asked for. `mock`: who answers. `reference`, `nginx`, `gateway`: who stands between.
//! - `cores`, `cpu`: pinning and what the kernel counts. `load`: the generator, which checks every answer.
//! - `target`: a proxy and what a window of load costs it. `ledger`: whether every request was booked.
//! - `rounds`: interleaved windows and their medians. `still`: start-up and memory. `profile`: where the time goes.
//! - `sync`: the push protocol at scale, from a control plane in a process of its own.
//! - `report`: the table and the JSON list.
//!
//! # Invariants
//! - No figure from a window in which one request failed or one event is missing from the ledger.
//! - A figure of speed fails nothing; a failed request, a missing event or a wrong ledger does.

mod case;
mod cores;
mod gateway;
mod ledger;
mod load;
mod mock;
mod nginx;
mod profile;
mod reference;
mod report;
mod rounds;
mod still;
mod sync;
mod target;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use crate::case::CASES;
use crate::cores::Cores;
use crate::mock::Mock;
use crate::report::Report;
use crate::rounds::Pace;
use crate::target::Kind;

const STILL: [&str; 4] = ["idle-1000", "start-up", "idle-memory", "sync"];

/// CPU per request, memory and start-up of `waybill up` against a bare hyper proxy.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// Cases; none = all.
    cases: Vec<String>,
    /// Two rounds of one second each instead of five of two.
    #[arg(long)]
    quick: bool,
    /// Also print where the time goes.
    #[arg(long)]
    profile: bool,
    /// Leave the product out: the reference, nginx and the mock alone.
    #[arg(long)]
    reference_only: bool,
    /// Write the figures as a list of `{name, value, unit, reach, ok}`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Be the bare proxy in front of an upstream.
    #[command(hide = true)]
    Reference { upstream: SocketAddr },
    /// Be a control plane with a large configuration.
    #[command(hide = true)]
    Control { folder: PathBuf, endpoints: usize, keys: usize },
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match args.role {
        Some(Role::Reference { upstream }) => {
            reference::serve(upstream)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Role::Control { folder, endpoints, keys }) => {
            sync::serve(&folder, sync::Size { endpoints, keys })?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let known: Vec<&str> = CASES.iter().map(|case| case.name).chain(STILL).collect();
    for case in &args.cases {
        ensure!(known.contains(&case.as_str()), "no case is called {case}; there are {}", known.join(", "));
    }
    let mut report = Report::default();
    run(&args, &mut report)?;
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    Ok(if report.is_void() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run(args: &Args, report: &mut Report) -> Result<()> {
    let wanted = |name: &str| args.cases.is_empty() || args.cases.iter().any(|case| case == name);
    let pace =
        if args.quick { Pace { rounds: 2, window: Duration::from_secs(1) } } else { Pace { rounds: 5, window: Duration::from_secs(2) } };
    let cores = Cores::split()?;
    if wanted("sync") && !args.reference_only {
        sync::run(args.quick, &cores, report);
    }
    if args.cases == ["sync"] {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mock = Mock::start(folder.path(), &cores.load)?;
    let mut kinds = vec![Kind::Hyper];
    match nginx::installed() {
        Some(_) => kinds.push(Kind::Nginx),
        None => println!("nginx is not installed: no second opinion on the reference"),
    }
    if !args.reference_only {
        kinds.extend([Kind::Waybill, Kind::Across]);
    }
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        rounds::run(case, &kinds, pace, args.profile, &mock, &cores, report)?;
    }
    if wanted("idle-1000") {
        still::idle_streams(&kinds, &mock, &cores, report)?;
    }
    if wanted("start-up") && !args.reference_only {
        still::start_up(pace.rounds, &mock, &cores, report);
    }
    if wanted("idle-memory") && !args.reference_only {
        still::idle_memory(&mock, &cores, report)?;
    }
    Ok(())
}
