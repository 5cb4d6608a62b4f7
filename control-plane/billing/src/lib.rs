//! The ledger: usage events become double-entry postings, balances and spend, once each, whatever dies in between.
//!
//! # Layout
//! Pure, without I/O or clock:
//! - `ledger`: events → entries. `intake`: records → booked, duplicate, or quarantine. `sequences`: what has arrived. `gaps`: what has not.
//!   `progress`: how far a reader is, and its fence. `usage`: spend by day. `reprice`: prices an event again.
//!
//! Around it:
//! - `contract`: [`Ledger`], what every ledger answers. `resolve`: an operator's word. `status`: counts.
//! - `sqlite`: [`Sqlite`], one file, one writer: `commit` (one batch = one transaction), `adjust`, `logs`, `query`, `prices`, `verify`.
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

mod contract;
mod error;
mod failpoint;
mod gaps;
mod intake;
mod ledger;
mod progress;
mod reprice;
mod resolve;
mod sequences;
mod sqlite;
mod status;
mod usage;
mod waiting;

pub use contract::{Answer, Ledger, Prices};
pub use error::{Error, Refusal};
pub use gaps::{Gap, State};
pub use intake::Fault;
pub use ledger::{Account, Cost, Entries, Entry, Unpostable, post, post_adjustment};
pub use progress::{Assignment, Cursor, PartitionProgress, Progress, Report};
pub use reprice::{Repriced, arithmetic, reprice};
pub use resolve::{Adjustment, WriteOff};
pub use sequences::Sequences;
pub use sqlite::Sqlite;
pub use status::{IncarnationStatus, Quarantined, Status};
pub use usage::{KeyUsage, Scope};
