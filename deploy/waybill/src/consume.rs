//! From the spool to the ledger, in one process: a batch of records and the cursors behind it are one transaction.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use waybill_billing::{Cursor, Ledger, Progress};
use waybill_meter::{Batch, Kind, Position, Reader, Record, Spool};
use waybill_proto::usage::v1::Spooled;

/// Records of one transaction. Each writes the same hot pages of the indexes once more and waits for the disk: an event costs 39 us in batches of
/// 250, 34 in those of 500, 24 in those of 2,000, and no less beyond. Whoever else writes to the file waits 50 ms for so many.
const BATCH: usize = 2000;

/// After a commit, time for more to come.
const GATHER: Duration = Duration::from_millis(20);

/// The same while much is coming.
const BUSY_GATHER: Duration = Duration::from_millis(100);

/// So many records since the last commit are much.
const BUSY: usize = 100;

/// After a failure of the database or the disk.
const PAUSE: Duration = Duration::from_secs(1);

/// What the consumer has done so far.
#[derive(Debug, Default)]
pub struct Consumed {
    /// This process, whose logs may change: one that breaks gives way to a new one.
    process: u64,
    /// Events that were booked by this process, whoever wrote them.
    pub events: AtomicU64,
    /// Ends of attempts of this process that the ledger has.
    own_ends: AtomicU64,
    /// Records that were set aside.
    pub quarantined: AtomicU64,
    /// Ranges of the spool that hold no readable record.
    pub damaged: AtomicU64,
    /// Failures of the database or the disk since the last success.
    pub failures: AtomicU64,
}

impl Consumed {
    /// Nothing yet, of the process that writes its logs under this number.
    pub fn of(process: u64) -> Self {
        Self { process, ..Self::default() }
    }

    /// Of so many ended attempts of this process, how many the ledger does not have yet.
    pub fn lag(&self, ended: u64) -> u64 {
        ended.saturating_sub(self.own_ends.load(Ordering::Relaxed))
    }
}

/// Reads the spool into the ledger until `stop`, then once more until nothing is left.
pub async fn run(spool: Spool, ledger: Arc<dyn Ledger>, consumed: Arc<Consumed>, mut stop: watch::Receiver<bool>) {
    let Some(from) = cursors(&*ledger, &mut stop).await else { return };
    let mut reader = spool.reader(from.iter().map(position));
    loop {
        let seen = spool.progress();
        // Asked before the reading: what is written before the stop is read after it.
        let stopping = *stop.borrow();
        match drain(&mut reader, &*ledger, &consumed).await {
            Ok(_) if stopping => return,
            Ok(records) => {
                consumed.failures.store(0, Ordering::Relaxed);
                let gather = if records < BUSY { GATHER } else { BUSY_GATHER };
                let more = async {
                    spool.progress_after(seen).await;
                    tokio::time::sleep(gather).await;
                };
                tokio::select! {
                    () = more => {}
                    _ = stop.changed() => {}
                }
            }
            Err(error) => {
                let failures = consumed.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(error = format!("{error:#}"), failures, "the ledger does not keep up; nothing is lost, it is tried again");
                if *stop.borrow() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
                // The reader stands behind the batch that failed: read on from there, and the next commit would move the cursors past it.
                let Some(from) = cursors(&*ledger, &mut stop).await else { return };
                reader.rewind(from.iter().map(position));
            }
        }
    }
}

/// How far the ledger has read; `None` if the stop comes first.
async fn cursors(ledger: &dyn Ledger, stop: &mut watch::Receiver<bool>) -> Option<Vec<Cursor>> {
    loop {
        match ledger.cursors().await {
            Ok(cursors) => return Some(cursors),
            Err(error) => tracing::error!(%error, "the ledger's cursors cannot be read; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.changed() => return None,
        }
    }
}

/// A cursor as the reader wants it.
pub fn position(cursor: &Cursor) -> (u64, Position) {
    // Offsets in a segment have 32 bits; the ledger's column is wider.
    (cursor.incarnation, Position { segment: cursor.segment, offset: u32::try_from(cursor.offset).unwrap_or(u32::MAX) })
}

/// Reads and commits until nothing is left, and gives the number of records.
pub async fn drain(reader: &mut Reader, ledger: &dyn Ledger, consumed: &Consumed) -> anyhow::Result<usize> {
    let mut records = 0;
    loop {
        let batch = reader.next(BATCH)?;
        if batch.is_empty() {
            return Ok(records);
        }
        records += batch.records.len();
        commit(reader, ledger, consumed, batch).await?;
    }
}

async fn commit(reader: &mut Reader, ledger: &dyn Ledger, consumed: &Consumed, batch: Batch) -> anyhow::Result<()> {
    let own_ends = own_ends(reader, &batch, consumed.process);
    let records: Vec<Spooled> = batch.records.into_iter().map(Record::into_wire).collect();
    let cursors: Vec<Cursor> = batch
        .cursors
        .iter()
        .map(|(incarnation, position)| Cursor { incarnation: *incarnation, segment: position.segment, offset: position.offset.into() })
        .collect();
    let report = ledger.commit(&records, Progress::Spool(&cursors)).await?;
    consumed.events.fetch_add(report.inserted as u64, Ordering::Relaxed);
    consumed.own_ends.fetch_add(own_ends, Ordering::Relaxed);
    consumed.quarantined.fetch_add(report.quarantined as u64, Ordering::Relaxed);
    consumed.damaged.fetch_add(batch.damage.len() as u64, Ordering::Relaxed);
    for damage in &batch.damage {
        tracing::error!(?damage, "a range of the spool cannot be read; its events are missing from the ledger");
    }
    if report.quarantined > 0 {
        tracing::error!(records = report.quarantined, "usage records were set aside; `waybill status` counts them");
    }
    // A log that ended without a further record has no new cursor: a process may have died between its last commit and the release.
    let ended = batch.finished.iter().filter_map(|log| Some((*log, reader.cursor(*log)?)));
    let behind: BTreeMap<u64, Position> = batch.cursors.iter().map(|(log, position)| (*log, *position)).chain(ended).collect();
    for (incarnation, position) in behind {
        reader.release(incarnation, position)?;
    }
    Ok(())
}

/// How many of the batch are ends of attempts of this process.
fn own_ends(reader: &Reader, batch: &Batch, process: u64) -> u64 {
    let own: Vec<u64> = batch.cursors.keys().copied().filter(|incarnation| reader.process_of(*incarnation) == Some(process)).collect();
    batch.records.iter().filter(|record| record.kind != Kind::Closed && own.contains(&record.incarnation)).count() as u64
}
