//! The meter: what every attempt was meant to cost, what it did cost, and the record of both that outlives the process.
//!
//! # Layout
//!
//! - [`intent`]: the bound of an attempt. [`tally`]: its one terminal event. Both pure.
//! - `wire`: both written as protocol buffers.
//! - `spool`: the write-ahead log of intents and ends on this machine's disk.
//! - `emit`: from there to Kafka, in builds for a cluster.
//!
//! # Invariants
//!
//! - An intent is in the spool before its attempt is sent, and one terminal record before its last chunk is released.
//! - Death of the process loses nothing that was written; readers see only what survives the machine's death.

#[cfg(feature = "kafka")]
pub mod emit;
pub mod intent;
mod spool;
pub mod tally;
mod wire;

pub use spool::{
    Batch, Closed, Damage, Durable, End, Failure, Identity, IntentRecord, Kind, Log, LogInfo, LogReport, MAX_PAYLOAD_BYTES, OpenError,
    Options, Poisoned, Position, Pressure, Progress, ReadError, Reader, Record, Recovered, RecoveryError, Refusal, Report, SegmentHeader,
    Spool, StartError, failpoint,
};
