//! The write-ahead spool: every attempt's intent and end, on this machine's disk before they matter anywhere else.
//!
//! # Layout
//!
//! Pure, bytes in and decisions out:
//! - `record`: the codec of one record
//! - `segment`: a segment's header, names, positions
//! - `scan`: records, damage and torn tails in a segment's bytes
//! - `plan`: what recovery writes
//!
//! Files and threads:
//! - `disk`: creating, allocating, listing, syncing
//! - `bound`: how much disk all logs may take
//! - `durable`: how far a log is written and synced; waiting for it
//! - `sync`: the group commit thread
//! - `log`: the writer
//! - `recovery`: runs the plan
//! - `reader`: events in batches, and their release
//! - `report`: how far each log has written, told outside of the events' own way
//! - `travel`: records as billing reads them
//! - `spool`: all of them together
//! - `failpoint`: places to die at in tests
//!
//! On the disk: one folder per log, named by its incarnation in 16 hexadecimal digits; in it the segments `00000000.seg`, `00000001.seg`, ….
//!
//! # Invariants
//!
//! - One terminal record per intent, with a sequence number of its own, dense from 1 to `closed`.
//! - The current segment always has room for the end of every open intent and for `closed`: ends and recovery need no new disk.
//! - The open intents are whole in the last finished segment: the ones before it are needed by readers only.
//! - Readers never pass the last completed sync, and read a dead log only when recovery has closed it.
//! - No record is believed whose checksums are not right for its place; what cannot be read is listed.

mod bound;
mod disk;
mod durable;
mod failpoint;
mod log;
mod plan;
mod reader;
mod record;
mod recovery;
mod report;
mod scan;
mod segment;
#[allow(clippy::module_inception)]
mod spool;
mod sync;
#[cfg(test)]
mod tests;
mod travel;

pub use bound::Pressure;
pub use durable::{Durable, Poisoned};
pub use failpoint::failpoint;
pub use log::{End, Failure, Log, Refusal};
pub use plan::{Closed, Damage, IntentRecord};
pub use reader::{Batch, ReadError, Reader, Record};
pub use record::{Kind, MAX_PAYLOAD_BYTES};
pub use recovery::{Recovered, RecoveryError};
pub use report::{LogReport, Report};
pub use segment::{Identity, Position, SegmentHeader};
pub use spool::{LogInfo, OpenError, Options, Spool, StartError};
pub use sync::Progress;
