//! What every transport must keep: each event once in the ledger, to the pico-dollar, whatever is stopped, killed, forgotten or sent twice.

use std::{
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use waybill_billing::{Ledger, Progress, Sqlite, Status};
use waybill_meter::{Record, Spool};

use crate::events::{cost, log, spool, write};

/// Longest wait for the last event. A fresh group of consumers takes seconds to form.
const PATIENCE: Duration = Duration::from_secs(60);

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way from a spool to a ledger.
pub trait Transport: Sync {
    /// Begins to carry.
    fn start(&self, spool: &Spool, ledger: &Arc<dyn Ledger>) -> Boxed<'_, Box<dyn Carrying>>;

    /// Loses what the proxy's side remembers of how far it has come.
    fn forget(&self, spool: &Path);
}

/// A transport at work.
pub trait Carrying: Send {
    /// Ends as a process does that is told to stop: what can be carried within a minute is.
    fn stop(self: Box<Self>) -> Boxed<'static, ()>;

    /// Ends as a process does that is killed.
    fn kill(self: Box<Self>) -> Boxed<'static, ()>;
}

struct Scene {
    folder: tempfile::TempDir,
    ledger: Arc<dyn Ledger>,
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Sqlite::open(&folder.path().join("ledger.db")).await.expect("a ledger");
        Self { folder, ledger: Arc::new(ledger) }
    }

    fn spool(&self) -> Spool {
        spool(&self.folder.path().join("spool"))
    }

    async fn status(&self) -> Status {
        self.ledger.status().await.expect("a status")
    }

    /// Waits until the ledger has so many events.
    async fn arrived(&self, events: u64) -> Status {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            if status.events >= events {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{} of {events} events arrived: {status:?}", status.events);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All of these attempts are in the ledger once, with the ends of so many logs, and the books are right.
    async fn check(&self, attempts: u64, logs: u64) {
        let status = self.arrived(attempts + logs).await;
        assert_eq!((status.events, status.quarantined), (attempts + logs, 0), "{status:?}");
        for incarnation in &status.incarnations {
            let closed = incarnation.closed.as_ref().unwrap_or_else(|| panic!("{incarnation:?} is not closed"));
            assert!(
                incarnation.missing.is_empty() && !closed.doubt && incarnation.watermark == closed.last_sequence + 1,
                "{incarnation:?}"
            );
        }
        let balances = self.ledger.balances("receivable/").await.expect("balances");
        let owed: i128 = balances.iter().map(|balance| balance.amount_picousd.parse::<i128>().expect("a number")).sum();
        assert_eq!(owed, cost(0..attempts));
        let verified = self.ledger.verify().await.expect("verified");
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    }
}

/// Everything below, one after the other.
pub async fn all(transport: &dyn Transport) {
    carries_everything_once_and_empties_the_spool(transport).await;
    a_stop_loses_nothing(transport).await;
    a_kill_and_a_lost_cursor_cost_duplicates_only(transport).await;
    both_ways_at_once_are_harmless(transport).await;
}

async fn carries_everything_once_and_empties_the_spool(transport: &dyn Transport) {
    let scene = Scene::set().await;
    let spool = scene.spool();
    let carrying = transport.start(&spool, &scene.ledger).await;
    let mut logs = [log(&spool, 1), log(&spool, 2)];
    for round in 0..20 {
        let first = round * 200;
        write(&mut logs[0], first..first + 100);
        write(&mut logs[1], first + 100..first + 200);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for log in &mut logs {
        log.close(false).expect("closed");
    }
    scene.check(4000, 2).await;
    carrying.stop().await;
    assert_eq!((spool.used_bytes(), spool.report().waiting_events), (0, 0), "what has arrived is released: {:?}", spool.report());
}

async fn a_stop_loses_nothing(transport: &dyn Transport) {
    let scene = Scene::set().await;
    for life in 0..3 {
        let spool = scene.spool();
        let mut log = log(&spool, 10 + life);
        let carrying = transport.start(&spool, &scene.ledger).await;
        write(&mut log, life * 500..life * 500 + 500);
        log.close(false).expect("closed");
        carrying.stop().await;
        assert_eq!(spool.report().waiting_events, 0, "a stop carries what is left");
    }
    let spool = scene.spool();
    let carrying = transport.start(&spool, &scene.ledger).await;
    scene.check(1500, 3).await;
    carrying.stop().await;
}

async fn a_kill_and_a_lost_cursor_cost_duplicates_only(transport: &dyn Transport) {
    let scene = Scene::set().await;
    for life in 0..4 {
        let spool = scene.spool();
        let mut log = log(&spool, 20 + life);
        let carrying = transport.start(&spool, &scene.ledger).await;
        write(&mut log, life * 500..life * 500 + 500);
        if life > 0 {
            scene.arrived(life * 501 - 400).await;
        }
        carrying.kill().await;
        // The log is left open: the next start recovers it.
        drop((log, spool));
        if life % 2 == 1 {
            transport.forget(&scene.folder.path().join("spool"));
        }
    }
    let spool = scene.spool();
    let carrying = transport.start(&spool, &scene.ledger).await;
    scene.check(2000, 4).await;
    carrying.stop().await;
}

async fn both_ways_at_once_are_harmless(transport: &dyn Transport) {
    let scene = Scene::set().await;
    let spool = scene.spool();
    let mut log = log(&spool, 30);
    write(&mut log, 0..1000);
    log.close(false).expect("closed");
    let carrying = transport.start(&spool, &scene.ledger).await;
    let other = spool.reader([]);
    let records: Vec<_> = read(other).into_iter().map(Record::into_wire).collect();
    for part in records.chunks(70) {
        scene.ledger.commit(part, Progress::None).await.expect("taken");
    }
    scene.check(1000, 1).await;
    carrying.stop().await;
    scene.check(1000, 1).await;
}

fn read(mut reader: waybill_meter::Reader) -> Vec<Record> {
    let mut records = Vec::new();
    // What the transport has released meanwhile is in the ledger.
    while let Ok(batch) = reader.next(1000) {
        if batch.is_empty() {
            break;
        }
        records.extend(batch.records);
    }
    records
}
