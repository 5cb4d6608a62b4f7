//! What the consumer has done and how it is.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::partitions::Health;

/// One number, as metrics show it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub value: u64,
    /// It only rises.
    pub counter: bool,
}

/// Written by the consumer, read by anybody.
#[derive(Debug, Default)]
pub struct Consumed {
    /// Events that were booked.
    pub events: AtomicU64,
    /// Records that the ledger had already.
    pub duplicates: AtomicU64,
    /// Records that were set aside.
    pub quarantined: AtomicU64,
    /// Batches in the ledger.
    pub commits: AtomicU64,
    /// Failures of the ledger since its last success.
    pub failures: AtomicU64,
    /// Batches that were not written because somebody else owned the partition.
    pub fenced: AtomicU64,
    health: Mutex<Health>,
}

impl Consumed {
    pub(crate) fn tell(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    /// How the consumer is. Progress is health: see [`Health::is_healthy`].
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All numbers.
    #[must_use]
    pub fn metrics(&self) -> [Metric; 10] {
        let health = self.health();
        let number = |name, help, value: &AtomicU64, counter| Metric { name, help, value: value.load(Ordering::Relaxed), counter };
        let gauge = |name, help, value| Metric { name, help, value, counter: false };
        [
            number("waybill_ledger_events", "Events booked by this process.", &self.events, true),
            number("waybill_ledger_duplicates", "Usage records that the ledger had already.", &self.duplicates, true),
            number("waybill_ledger_quarantined", "Usage records set aside.", &self.quarantined, true),
            number("waybill_ledger_commits", "Batches of usage records in the ledger.", &self.commits, true),
            number("waybill_ledger_failures", "Failures since the ledger last kept up.", &self.failures, false),
            number("waybill_consumer_fenced", "Batches that another owner's epoch kept out of the ledger.", &self.fenced, true),
            gauge("waybill_consumer_partitions", "Partitions that this process reads.", health.partitions as u64),
            gauge("waybill_consumer_lag", "Usage records in those partitions that are not in the ledger.", health.lag),
            gauge("waybill_consumer_stalled", "Partitions with a lag and without a commit for a minute.", health.stalled.len() as u64),
            gauge("waybill_consumer_stopped", "Partitions that wait for an operator's decision.", health.stopped.len() as u64),
        ]
    }
}
