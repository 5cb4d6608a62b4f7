//! The ledger: usage events become double-entry postings, balances and spend, once each, whatever dies in between.
//!
//! # Layout
//! Pure, without I/O or clock:
//! - `ledger`: events → entries. `intake`: records → booked, duplicate, or quarantine. `sequences`: what has arrived. `gaps`: what has not. `prices`: texts under their hashes.
//!   `batch`: what a batch does to the ledger. `resolve`: an operator's word. `audit`, `recount`: every event checked, every event priced again.
//!   `progress`: how far a reader is, and its fence. `usage`: spend by day. `reprice`: prices an event again.
//!
//! Around it:
//! - `contract`: [`Ledger`], what every ledger answers. `status`: counts. `row`: an event as it lies in its row.
//! - `sqlite`: [`Sqlite`], one file, one writer: `commit` (one batch = one transaction), `partitions`, `adjust`, `logs`, `query`, `prices`,
//!   `verify`.
//! - `postgres`: [`Postgres`], a cluster's ledger, any number of writers (feature `postgres`): the same files, and `access` (the URL), `migrate`
//!   (the tables of `migrations/postgres`), `work` (one transaction, tried again).
//! - `conformance`: the suite that every ledger passes (feature `conformance`).
//! - `consume`: from Kafka into it, in builds for a cluster. `topics`: the topic's settings. `reach`: what the
//!   brokers have against a client. `tail`: its records as text.
//! - `waiting`: callers who wait for an event. `failpoint`: deaths for the kill tests. `error`: what can go wrong.
//!
//! # Invariants
//! - The entries of every event sum to zero; nothing else is ever written.
//! - Rows, postings, balances, spend, sequence numbers and the reader's mark of a batch are written in one transaction.
//! - (incarnation, sequence) is booked once; an attempt has at most one terminal event, an orphaned one at most one adjustment.
//! - No record stops the ledger: what contradicts or cannot be read lies in quarantine.
//! - Rows of events are never changed. A correction is an event of its own that reverses the entries of the first.
//!
//! # The consumer
//! ```no_run
//! # async fn read_spools(_: &[waybill_billing::Cursor]) -> (Vec<waybill_proto::usage::v1::Spooled>, Vec<waybill_billing::Cursor>) { Default::default() }
//! # async fn consume(ledger: &dyn waybill_billing::Ledger) -> Result<(), waybill_billing::Error> {
//! let mut cursors = ledger.cursors().await?;
//! loop {
//!     let (batch, next) = read_spools(&cursors).await;
//!     let report = ledger.commit(&batch, waybill_billing::Progress::Spool(&next)).await?;
//!     if report.quarantined > 0 { /* alarm */ }
//!     cursors = next;
//! }
//! # }
//! ```

mod audit;
mod batch;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(feature = "kafka")]
pub mod consume;
mod contract;
mod error;
mod failpoint;
mod gaps;
mod intake;
mod ledger;
#[cfg(feature = "postgres")]
mod postgres;
mod prices;
mod progress;
#[cfg(feature = "kafka")]
mod reach;
mod recount;
mod reprice;
mod resolve;
mod row;
mod sequences;
mod sqlite;
mod status;
#[cfg(feature = "kafka")]
pub mod tail;
#[cfg(feature = "kafka")]
pub mod topics;
mod usage;
mod waiting;

pub use contract::{Answer, Ledger, Prices};
pub use error::{Error, Refusal};
pub use gaps::{Gap, State};
pub use intake::Fault;
pub use ledger::{Account, Cost, Entries, Entry, Unpostable, post, post_adjustment};
#[cfg(feature = "postgres")]
pub use postgres::{Access, Migrated, Password, Postgres};
pub use progress::{Assignment, Cursor, Partition, PartitionProgress, Progress, Report};
pub use reprice::{Repriced, arithmetic, reprice};
pub use resolve::{Adjustment, Reset, WriteOff};
pub use sequences::Sequences;
pub use sqlite::Sqlite;
pub use status::{IncarnationStatus, Quarantined, Status};
pub use usage::{KeyUsage, Scope};
