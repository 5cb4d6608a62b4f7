//! How many events a second the ledger takes in batches of 500, on the disk of the temporary folder or of the path given.
//!
//! `cargo run --release -p waybill-billing --example measure [-- EVENTS [FOLDER]]`

#[allow(dead_code)]
#[path = "../tests/ledger/sample.rs"]
mod sample;

use std::{env, error::Error, path::PathBuf, time::Instant};

use waybill_billing::{Cursor, Ledger, Progress};
use waybill_proto::usage::v1::{Kind, Spooled};

const BATCH: u64 = 500;

/// Every hundredth attempt is orphaned, every twentieth has failed.
fn batch(first: u64) -> Vec<Spooled> {
    let kind = |number: u64| match number {
        number if number % 100 == 99 => Kind::Orphaned,
        number if number % 20 == 19 => Kind::Failed,
        _ => Kind::Settled,
    };
    (first..first + BATCH).map(|number| sample::spooled(number % 2, number / 2 + 1, &sample::event(number, kind(number)))).collect()
}

/// Seconds of processor time of this process, all threads, where the system tells it: a busy machine does not change them as it does the clock.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // Ticks of 1/100 s.
    Some((user + system) / 100.0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(200_000), |events| events.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let ledger = sample::open(&folder).await;
    ledger.remember_prices(&[sample::tariff()]).await?;
    let (mut spent, mut slowest) = (0.0, 0.0_f64);
    let batches: Vec<(u64, Vec<Spooled>)> = (0..events).step_by(BATCH as usize).map(|first| (first, batch(first))).collect();
    let bytes: usize = batches.iter().flat_map(|(_, batch)| batch).map(|record| record.payload.len()).sum();
    let before = processor();
    for (first, batch) in batches {
        let start = Instant::now();
        let report = ledger.commit(&batch, Progress::Spool(&[Cursor { incarnation: 0, segment: 0, offset: first }])).await?;
        let took = start.elapsed().as_secs_f64();
        (spent, slowest) = (spent + took, slowest.max(took));
        assert_eq!(report.inserted, batch.len(), "each event is new");
        if (first + BATCH).is_multiple_of(100_000) {
            println!(
                "{:>9} events  {:>7.0} events/s so far  slowest batch {:.1} ms",
                first + BATCH,
                (first + BATCH) as f64 / spent,
                slowest * 1e3
            );
        }
    }
    if let (Some(before), Some(after)) = (before, processor()) {
        println!("processor time: {:.1} µs an event", (after - before) * 1e6 / events as f64);
    }
    let size = std::fs::metadata(folder.join("waybill.db"))?.len();
    println!(
        "{events} events in {spent:.2} s: {:.0} events/s, payload {} B, file {} B an event",
        events as f64 / spent,
        bytes as u64 / events,
        size / events
    );
    let start = Instant::now();
    let batch = batch(0);
    ledger.commit(&batch, Progress::None).await?;
    println!("a batch delivered again: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let verified = ledger.verify().await?;
    println!("verify: {:.2} s, {} postings, faults {:?}", start.elapsed().as_secs_f64(), verified.postings, verified.faults);
    let start = Instant::now();
    let prices = ledger.price_versions().await?;
    let recomputed = ledger.recompute(&|version| prices.get(version).cloned()).await?;
    println!("recompute: {:.2} s, {} events, differences {:?}", start.elapsed().as_secs_f64(), recomputed.events, recomputed.differences);
    Ok(())
}
