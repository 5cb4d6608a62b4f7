//! The consumer: from Kafka into the ledger, exactly once in effect.
//!
//! Offsets lie in the ledger and move in the transaction that books what was read; Kafka's own are never used. The group of consumers only says
//! who reads which partition; that its word can be late is why each assignment takes a new epoch in the ledger, under which alone its owner may
//! commit.
//!
//! # Layout
//! - `partitions`: what is gathered, committed, fenced, stopped. Pure. `simulation`: its worlds.
//! - `kafka`: the shell. `client`: the Kafka client, and what it is told by the group.
//! - `consumed`: what it has done, and how it is.

mod client;
mod consumed;
mod kafka;
mod partitions;
#[cfg(test)]
mod simulation;

pub use consumed::{Consumed, Metric};
pub use kafka::{Options, StartError, run};
pub use partitions::{Health, Limits, Stop};
