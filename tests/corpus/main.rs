//! Recorded traffic: providers answer as real ones did, bytes cut at random positions, and the proxy is asked what they were asked.
//!
//! # Layout
//! - `folder`: a folder of recordings, and what of it is left out. `case`: what is served, and what is to come of it.
//! - `replay`: the providers and the proxy. `ask`: every request, one after another.
//! - `dialect`: the two languages. `reader`: reads answers. `question`: reads requests. `splice`: what may differ between two streams of bytes.
//! - `bill`: what a usage costs. `errors`: what an error becomes. `finish`: why an answer ended, in the words of the other dialect.
//! - `checks`: everything that is checked. `judge`: all of these against what was seen; `across`: translated answers, `carried`: translated
//!   requests. `report`: the tables and the JSON list.
//! - `properties`: what holds of the dialects' codecs themselves.
//!
//! # Invariants
//! - The readers share no code with the product: a fault in one of its parsers cannot hide behind the same fault here.
//! - Every file of a folder is asked or excluded with a reason; the counts come from the folder.
//! - The seed decides every cut of every answer, whatever else is asked in the same run.

mod across;
mod ask;
mod bill;
mod carried;
mod case;
mod checks;
mod dialect;
mod errors;
mod finish;
mod folder;
mod judge;
mod properties;
mod question;
mod reader;
mod replay;
mod report;
mod splice;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;

use crate::folder::Folder;
use crate::report::{Inventory, Report};

/// Recorded answers of real providers through the proxy: bytes, reading, bill, errors.
#[derive(Parser)]
struct Args {
    /// A folder in the corpus format; the suite's own fixtures are asked in any case.
    dir: Option<PathBuf>,
    /// Decides where answers are cut.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each answer is asked for in each way, differently cut.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Write the figures as a list of `{name, value, unit, reach, ok}`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut report = Report::default();
    run("fixtures", &here.join("corpus/fixtures"), &args, &mut report)?;
    // Beside the checkout, where a corpus may lie.
    let default = here.join("../../shared/corpus");
    let skipped = match &args.dir {
        Some(folder) => run("recorded", folder, &args, &mut report).map(|()| 0)?,
        None if default.is_dir() => run("recorded", &default, &args, &mut report).map(|()| 0)?,
        None => {
            println!("skipped: corpus: not present at ../shared/corpus; name a folder to ask it");
            1
        }
    };
    if let Some(file) = &args.json {
        report.write(file)?;
    }
    println!("{}", report.closing(skipped));
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run(name: &'static str, folder: &Path, args: &Args, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let folder = Folder::read(folder)?;
    let asked = folder.spoken.len() + folder.answers.len() + folder.counts.len() + folder.foreign_errors.len();
    let (files, excluded) = (folder.files.clone(), folder.excluded.clone());
    let (cases, unknown) = case::all(folder);
    let wild = cases.iter().filter(|case| !case.is_interaction).count();
    let (seen, traces) = ask::all(&cases, args.rounds, args.seed)?;
    let mut verdict = judge::all(&cases, &seen, &traces);
    properties::all(&cases, &mut verdict);
    report.folder(&Inventory { name, files, excluded, asked, cases: cases.len(), wild, unknown }, &verdict);
    println!("  {} requests in {:.1} s, seed {}", seen.len(), start.elapsed().as_secs_f64(), args.seed);
    Ok(())
}
