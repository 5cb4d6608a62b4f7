//! What the suites share: processes in a clean environment, the product under test, a small HTTP client.
//!
//! # Layout
//! - `environment`: which variables a tested program sees, and where its file is.
//! - `process`: a child that is ended when its guard goes.
//! - `servers`: real servers as children: etcd, Kafka, PostgreSQL; their ports, certificates and folders. `fault`: a TCP proxy that breaks connections.
//! - `instance`: `waybill up` in a state folder of its own.
//! - `http1`, `sse`: incremental readers of answers, pure.
//! - `cluster`: all roles as processes, joined to real servers.
//! - `oracle`: what a ledger must say, from all who saw a request.
//! - `cpu`: what the kernel says a process has used.
//! - `report`: how a suite tells what it found.
//! - `client`: a blocking client on top of them. `random`: numbers that follow from a seed.
//!
//! # Invariants
//! - Nothing here shares code with the product: a fault in a parser of the product cannot hide behind the same fault in the tests.
//! - A tested program sees no variable of the caller but a short list, so no provider key of a developer's shell is ever used.
//! - Every process ends with its guard; every wait has a deadline.

mod client;
mod environment;
mod fault;
mod http1;
mod instance;
mod process;
mod random;
mod report;
mod servers;
mod sse;

#[path = "../cluster/mod.rs"]
pub mod cluster;
pub mod cpu;
#[path = "../oracle/mod.rs"]
pub mod oracle;

pub use client::{Answer, Client, Request, Streaming};
pub use environment::{clean, program};
pub use fault::{Direction, FaultProxy, Rule};
pub use http1::{Fault, Head, Part, Reader as HttpReader};
pub use instance::{Instance, Ready, Up};
pub use process::{Launch, Process, wait_until};
pub use random::Random;
pub use report::{Figure, Report};
pub use servers::{Authority, Etcd, EtcdSecurity, Identity, Kafka, KafkaSetup, Missing, Names, Node, PortBlock, Postgres, Sasl, Scratch};
pub use sse::{Event, Reader as SseReader};
