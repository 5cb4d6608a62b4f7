//! Usage records from the spool to the control plane, for a cluster without Kafka. A record leaves the spool when the control plane has said that it
//! is in the ledger; one that is sent twice is harmless, so nothing needs to be remembered but the spool itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use waybill_meter::{Batch, Reader, Record, Spool};
use waybill_proto::usage::v1::Spooled;
use waybill_sync::UsageClient;

use crate::ops::{Look, Sheet, Vital, names};

/// Records of one call: it is one transaction of the ledger.
const BATCH: usize = 2000;

/// After a call, time for more to come.
const GATHER: Duration = Duration::from_millis(20);

/// The first pause after records were not taken; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What has been sent.
#[derive(Debug, Default)]
pub struct Sent {
    records: AtomicU64,
    failures: AtomicU64,
    /// Ranges of the spool that hold no readable record.
    damaged: AtomicU64,
}

impl Vital for Sent {
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        sheet.write(&names::EVENTS_SENT, self.records.load(Ordering::Relaxed));
        sheet.write(&names::SEND_FAILURES, self.failures.load(Ordering::Relaxed));
        sheet.write(&names::SPOOL_DAMAGE, self.damaged.load(Ordering::Relaxed));
        Box::pin(async {})
    }
}

/// Sends what the spool holds until `stop`, then once more until nothing is left. Dropping it leaves the rest in the spool.
pub async fn run(spool: Spool, usage: UsageClient, sent: Arc<Sent>, mut stop: watch::Receiver<bool>) {
    let mut reader = spool.reader([]);
    loop {
        let seen = spool.progress();
        // Asked before the reading: what is written before the stop is read after it.
        let stopping = *stop.borrow();
        if !empty(&mut reader, &usage, &sent).await {
            // A part of the spool cannot be read now; its other logs go on.
            sleep(LONGEST_PAUSE).await;
            continue;
        }
        if stopping {
            return;
        }
        let more = async {
            spool.progress_after(seen).await;
            sleep(GATHER).await;
        };
        tokio::select! {
            () = more => {}
            _ = stop.changed() => {}
        }
    }
}

/// Sends all that can be read now; false if something cannot.
async fn empty(reader: &mut Reader, usage: &UsageClient, sent: &Sent) -> bool {
    loop {
        match reader.next(BATCH) {
            Ok(batch) if batch.is_empty() => return true,
            Ok(batch) => send(reader, usage, sent, batch).await,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read; nothing is lost, it is tried again");
                return false;
            }
        }
    }
}

/// Sends a batch until it is taken.
async fn send(reader: &mut Reader, usage: &UsageClient, sent: &Sent, batch: Batch) {
    let records: Vec<Spooled> = batch.records.into_iter().map(Record::into_wire).collect();
    let mut pause = FIRST_PAUSE;
    while !records.is_empty() {
        match usage.ingest(records.clone()).await {
            Ok(_) => break,
            Err(error) => {
                sent.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, records = records.len(), "usage records were not taken; they stay in the spool and are sent again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    sent.records.fetch_add(records.len() as u64, Ordering::Relaxed);
    sent.damaged.fetch_add(batch.damage.len() as u64, Ordering::Relaxed);
    for damage in &batch.damage {
        tracing::error!(?damage, "a range of the spool cannot be read; its events are missing from the ledger");
    }
    for (incarnation, position) in &batch.cursors {
        if let Err(error) = reader.release(*incarnation, *position) {
            // It is sent again after a restart, which is harmless.
            tracing::error!(%error, "what was taken stays in the spool");
        }
    }
}
