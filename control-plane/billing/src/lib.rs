//! The ledger: usage events become double-entry postings, balances and spend, once each, whatever dies in between.
//!
//! # Layout
//! Pure, without I/O or clock:
//! - `ledger`: events → entries. `intake`: records → booked, duplicate, or quarantine. `sequences`: what has arrived. `usage`: spend by day.
//!   `reprice`: prices an event again.
//!
//! Around it:
//! - `sqlite`: [`Ledger`], one file, one writer: `commit` (one batch = one transaction), `adjust`, `query`, `prices`, `verify`.
//! - `waiting`: callers who wait for an event. `failpoint`: deaths for the kill tests. `error`: what can go wrong.
//!
//! # Invariants
//! - The entries of every event sum to zero; nothing else is ever written.
//! - Rows, postings, balances, spend, sequence numbers and the reader's cursors of a batch are written in one transaction.
//! - (incarnation, sequence) is booked once; an attempt has at most one terminal event, an orphaned one at most one adjustment.
//! - No record stops the ledger: what contradicts or cannot be read lies in quarantine.
//! - Rows of events are never changed. A correction is an event of its own that reverses the entries of the first.
//!
//! # The consumer
//! ```no_run
//! # async fn read_spools(_: &[waybill_billing::Cursor]) -> (Vec<waybill_proto::usage::v1::Spooled>, Vec<waybill_billing::Cursor>) { Default::default() }
//! # async fn consume(ledger: &waybill_billing::Ledger) -> Result<(), waybill_billing::Error> {
//! let mut cursors = ledger.cursors().await?;
//! loop {
//!     let (batch, next) = read_spools(&cursors).await;
//!     let report = ledger.commit(&batch, &next).await?;
//!     if report.quarantined > 0 { /* alarm */ }
//!     cursors = next;
//! }
//! # }
//! ```

mod error;
mod failpoint;
mod intake;
mod ledger;
mod reprice;
mod sequences;
mod sqlite;
mod usage;
mod waiting;

pub use error::{Error, Refusal};
pub use intake::Fault;
pub use ledger::{Account, Cost, Entries, Entry, Unpostable, post, post_adjustment};
pub use reprice::{Repriced, arithmetic, reprice};
pub use sequences::Sequences;
pub use sqlite::{Adjustment, Cursor, IncarnationStatus, Ledger, Quarantined, Report, Status};
pub use usage::{KeyUsage, Scope};
