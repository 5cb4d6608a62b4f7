//! How many events a second a ledger takes, and how long it takes to check them.
//!
//! `cargo run --release -p waybill-billing --example measure [-- EVENTS [PLACE [BATCH [WRITERS]]]]`
//!
//! PLACE is a folder (default: a temporary one) or the `postgres://` URL of an empty database. Each writer has logs of its own, as consumers of
//! different partitions have.

#[allow(dead_code)]
#[path = "../tests/ledger/sample.rs"]
mod sample;

use std::{env, error::Error, path::PathBuf, sync::Arc, time::Instant};

use waybill_billing::{Ledger, PartitionProgress, Progress, Sqlite};
use waybill_proto::usage::v1::{Kind, Spooled};

type Failure = Box<dyn Error + Send + Sync>;

/// Every hundredth attempt is orphaned, every twentieth has failed.
fn batch(writer: u64, first: u64, length: u64) -> Vec<Spooled> {
    let kind = |number: u64| match number {
        number if number % 100 == 99 => Kind::Orphaned,
        number if number % 20 == 19 => Kind::Failed,
        _ => Kind::Settled,
    };
    let attempt = |number: u64| number + writer * 1_000_000_000;
    (first..first + length)
        .map(|number| sample::spooled(2 * writer + number % 2, number / 2 + 1, &sample::event(attempt(number), kind(number))))
        .collect()
}

/// Seconds of processor time of this process, all threads, where the system tells it: a busy machine does not change them as it does the clock.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // Ticks of 1/100 s.
    Some((user + system) / 100.0)
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Arc<dyn Ledger>, Failure> {
    let access = waybill_billing::Access::read(url, None)?;
    waybill_billing::Postgres::migrate(&access).await?;
    Ok(Arc::new(waybill_billing::Postgres::open(&access).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<Arc<dyn Ledger>, Failure> {
    Err("this build has no PostgreSQL".into())
}

/// Commits one writer's batches; gives the seconds in commits and the slowest one.
async fn write(ledger: Arc<dyn Ledger>, writer: u64, batches: Vec<Vec<Spooled>>) -> Result<(f64, f64), Failure> {
    let partition = i32::try_from(writer)?;
    let epoch = ledger.assign("measure", partition).await?.epoch;
    let (mut spent, mut slowest, mut from) = (0.0, 0.0_f64, 0_i64);
    for batch in batches {
        let next = from + i64::try_from(batch.len())?;
        let reader = PartitionProgress { topic: "measure".to_owned(), partition, epoch, from, next };
        let start = Instant::now();
        let report = ledger.commit(&batch, Progress::Partition(&reader)).await?;
        let took = start.elapsed().as_secs_f64();
        (spent, slowest, from) = (spent + took, slowest.max(took), next);
        assert_eq!(report.inserted, batch.len(), "each event is new");
    }
    Ok((spent, slowest))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(200_000), |events| events.parse())?;
    let temporary = tempfile::tempdir()?;
    let place = arguments.next().unwrap_or_else(|| temporary.path().display().to_string());
    let length: u64 = arguments.next().map_or(Ok(500), |length| length.parse())?;
    let writers: u64 = arguments.next().map_or(Ok(1), |writers| writers.parse())?;
    let folder = (!place.starts_with("postgres")).then(|| PathBuf::from(&place));
    let ledger: Arc<dyn Ledger> = match &folder {
        Some(folder) => Arc::new(Sqlite::open(&folder.join("waybill.db")).await?),
        None => postgres(&place).await?,
    };
    ledger.remember_prices(&[sample::tariff()]).await?;
    let of_each = events / writers;
    let batches = |writer| (0..of_each).step_by(length as usize).map(|first| batch(writer, first, length)).collect::<Vec<_>>();
    let work: Vec<(u64, Vec<Vec<Spooled>>)> = (0..writers).map(|writer| (writer, batches(writer))).collect();
    let records = || work.iter().flat_map(|(_, batches)| batches).flatten();
    let (count, bytes) = (records().count(), records().map(|record| record.payload.len()).sum::<usize>());
    let (before, start) = (processor(), Instant::now());
    let writing: Vec<_> = work.into_iter().map(|(writer, batches)| tokio::spawn(write(Arc::clone(&ledger), writer, batches))).collect();
    let mut slowest = 0.0_f64;
    for writing in writing {
        slowest = slowest.max(writing.await??.1);
    }
    let seconds = start.elapsed().as_secs_f64();
    if let (Some(before), Some(after)) = (before, processor()) {
        println!("processor time of this process: {:.1} µs an event", (after - before) * 1e6 / count as f64);
    }
    println!(
        "{count} events in {seconds:.2} s by {writers} in batches of {length}: {:.0} events/s, slowest batch {:.1} ms, payload {} B an event",
        count as f64 / seconds,
        slowest * 1e3,
        bytes / count
    );
    if let Some(folder) = &folder {
        println!("file: {} B an event", std::fs::metadata(folder.join("waybill.db"))?.len() / count as u64);
    }
    let start = Instant::now();
    ledger.commit(&batch(0, 0, length), Progress::None).await?;
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
