//! Arbitrary and damaged input for all that reads what others send: requests, whole answers, streams, in both dialects and across.
//!
//! # Layout
//! - `seeds`: well-formed input to begin with. `mutate`: what becomes of it. `targets`: who reads it, and what must hold of what comes out.
//! - `memory`: how much an input took. `report`: the table and the JSON list.
//!
//! # Invariants
//! - The seed and the number of inputs decide everything that is tried, whatever the machine.
//! - No panic, no memory out of proportion, no input whose time is out of proportion, no output that is broken or depends on where the input was cut.

mod memory;
mod mutate;
mod report;
mod seeds;
mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use waybill_tests::Random;

use crate::{
    memory::Peak,
    mutate::Mutator,
    report::{Report, Row},
    seeds::Seeds,
    targets::{TARGETS, Target},
};

#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// An input of this many bytes or fewer that takes longer is out of proportion; a debug build of a busy machine takes a hundredth.
const MOST_TIME: Duration = Duration::from_secs(2);

/// Damaged input for the dialects: no panic, bounded memory, sound output.
#[derive(Parser)]
struct Args {
    /// Targets; none = all.
    targets: Vec<String>,
    /// Inputs for each target: the seed and this number decide what is tried, so that the same run finds the same.
    #[arg(long, default_value_t = 20_000)]
    inputs: u64,
    /// Decides every input.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try this one input only, as when a finding is looked into; names one target.
    #[arg(long, value_name = "FILE", requires = "targets")]
    input: Option<PathBuf>,
    /// Write the figures as a list of `{name, value, unit, reach, ok}`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    for name in &args.targets {
        ensure!(known.contains(&name.as_str()), "no target is called {name}; there are {}", known.join(", "));
    }
    if let Some(file) = &args.input {
        return replay(&args, file);
    }
    let seeds = Seeds::read()?;
    println!("{} requests, {} answers, {} streams to begin with, seed {}", seeds.requests(), seeds.answers(), seeds.streams(), args.seed);
    // A panic is a finding: it is told with its input, not with a trace for each.
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = Report::default();
    for target in TARGETS.iter().filter(|target| args.targets.is_empty() || args.targets.iter().any(|name| name == target.name)) {
        report.add(run(target, &seeds, args.inputs, args.seed));
    }
    drop(std::panic::take_hook());
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    println!("{}", report.closing());
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One input, with all that a panic has to say.
fn replay(args: &Args, file: &Path) -> Result<ExitCode> {
    let input = fs::read(file)?;
    let target = TARGETS.iter().find(|target| Some(&target.name.to_owned()) == args.targets.first()).context("no such target")?;
    let outcome = (0..100).map(|seed| (target.read)(&input, &mut Random::new(seed))).find(Result::is_err);
    println!("{}", outcome.and_then(Result::err).unwrap_or_else(|| "nothing is wrong with it".to_owned()));
    Ok(ExitCode::SUCCESS)
}

fn run(target: &Target, seeds: &Seeds, inputs: u64, seed: u64) -> Row {
    let beginnings = seeds.of(target.shape);
    let mut mutator = Mutator::new(Random::new(seed), &beginnings);
    let mut row = Row::new(target.name);
    // Each seed as it is first: what is well formed must pass too.
    for beginning in &beginnings {
        one(target, beginning, mutator.random(), &mut row);
    }
    while row.finding.is_none() && row.inputs < inputs {
        let input = mutator.next();
        one(target, &input, mutator.random(), &mut row);
    }
    row
}

/// One input, and what it took.
fn one(target: &Target, input: &[u8], random: &mut Random, row: &mut Row) {
    let peak = Peak::begin();
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(input, random)));
    let (took, bytes) = (start.elapsed(), peak.bytes());
    row.inputs += 1;
    row.slowest = row.slowest.max(took);
    row.most_bytes_per_byte = row.most_bytes_per_byte.max(memory::per_byte(bytes, input.len()));
    let finding = match outcome {
        Err(panic) => Some(format!("panicked: {}", words(&*panic))),
        Ok(Err(finding)) => Some(finding),
        Ok(Ok(())) if !memory::is_in_proportion(bytes, input.len()) => Some(format!("took {bytes} bytes of memory")),
        Ok(Ok(())) if took > MOST_TIME => Some(format!("took {took:?}")),
        Ok(Ok(())) => None,
    };
    row.finding = row.finding.take().or(finding.map(|finding| {
        let file = std::env::temp_dir().join(format!("waybill-fuzz-{}.input", target.name));
        let kept = fs::write(&file, input).map_or_else(|error| error.to_string(), |()| file.display().to_string());
        format!("{finding}; input of {} bytes ({kept}): {}", input.len(), input.escape_ascii())
    }));
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "without a word".to_owned())
}
