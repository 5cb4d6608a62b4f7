//! The emitter: from the spool to Kafka, and by a second way while Kafka is silent.
//!
//! # Layout
//! - `delivery`: what waits, what is acknowledged, which way is open. Pure. `simulation`: its worlds.
//! - `cursors`: where it goes on after a restart.
//! - `kafka`: the shell around both. `producer`: the Kafka client, its reports and what it complains of.
//! - `emitted`: what it has done, for metrics.
//!
//! # Invariants
//! - Nothing is released before Kafka (under `acks=all`) or the ledger (by [`Ingest`]) has it, nor before the cursor behind it is on the disk.
//! - Duplicates are made freely and are harmless: the ledger books an (incarnation, sequence) once.
//! - A request never waits for any of this; what bounds it is the spool.

mod cursors;
mod delivery;
mod emitted;
mod kafka;
mod producer;
#[cfg(test)]
mod simulation;

use std::{fmt, pin::Pin};

pub use delivery::Limits;
pub use emitted::{Emitted, Metric};
pub use kafka::{Left, Options, run};
use waybill_proto::usage::v1::Spooled;

/// An answer to come.
pub type Ingesting<'a> = Pin<Box<dyn Future<Output = Result<(), IngestFailed>> + Send + 'a>>;

/// The second way: records straight into the ledger, through a control plane.
pub trait Ingest: fmt::Debug + Send + Sync {
    /// When this is `Ok`, all of the records are in the ledger: booked, known before, or set aside.
    fn ingest(&self, records: Vec<Spooled>) -> Ingesting<'_>;
}

/// The second way did not take the records, or nobody knows; they are sent again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct IngestFailed(pub String);
