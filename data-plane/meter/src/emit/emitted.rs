//! What the emitter has done, for metrics and for whoever asks how it is.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number, as metrics show it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub value: u64,
    /// It only rises.
    pub counter: bool,
}

/// Written by the emitter, read by anybody.
#[derive(Debug, Default)]
pub struct Emitted {
    /// Records that Kafka has acknowledged.
    pub delivered: AtomicU64,
    /// Records that the second way has taken.
    pub ingested: AtomicU64,
    /// Records that Kafka refused and that were sent again.
    pub undelivered: AtomicU64,
    /// Failures of the second way.
    pub ingest_failures: AtomicU64,
    /// Producers that were made; each but the first replaces one that failed for good.
    pub producers: AtomicU64,
    /// Ranges of the spool that hold no readable record.
    pub damaged: AtomicU64,
    /// Records in memory that wait for an acknowledgement.
    pub waiting: AtomicU64,
    /// 1 while the second way is open.
    pub second_way: AtomicU64,
}

impl Emitted {
    /// All of them.
    #[must_use]
    pub fn metrics(&self) -> [Metric; 8] {
        let metric = |name, help, value: &AtomicU64, counter| Metric { name, help, value: value.load(Ordering::Relaxed), counter };
        [
            metric("waybill_emit_delivered", "Usage records that Kafka has acknowledged.", &self.delivered, true),
            metric("waybill_emit_ingested", "Usage records that went to the control plane, since Kafka was silent.", &self.ingested, true),
            metric("waybill_emit_undelivered", "Usage records that Kafka refused and that were sent again.", &self.undelivered, true),
            metric("waybill_emit_ingest_failures", "Failures of the second way of usage records.", &self.ingest_failures, true),
            metric(
                "waybill_emit_producers",
                "Kafka producers that were made; each but the first replaces a failed one.",
                &self.producers,
                true,
            ),
            metric("waybill_spool_damage", "Ranges of the spool that cannot be read.", &self.damaged, true),
            metric("waybill_emit_waiting", "Usage records in memory that wait for an acknowledgement.", &self.waiting, false),
            metric("waybill_emit_second_way", "1 while usage records also go to the control plane.", &self.second_way, false),
        ]
    }
}
