//! The operator's commands: a client of the admin surface and nothing more.
//!
//! # Layout
//! - `command`: [`Command`], what is typed. `run`: [`run`], from there to an exit code.
//! - `backend`: [`Backend`], whoever answers: `remote` over gRPC, or the same service in this process.
//! - `apply`, `keys`, `read`, `ledger`, `explain`, `status`, `health`: the verbs; each turns answers into text.
//! - `wait`: what became of a change in the fleet.
//! - `sources`: files and folders. `show`: tables, JSON, YAML, times and amounts. `error`: [`Error`], [`Exit`].
//!
//! # Invariants
//! - Documents are read here, so a fault has its file and line before anything is sent.
//! - Results go to standard output, everything else to standard error.
//! - Exit codes are promised: see [`Exit`].

mod apply;
mod backend;
mod command;
mod error;
mod explain;
mod health;
mod keys;
mod ledger;
mod read;
mod remote;
mod rollout;
mod run;
mod show;
mod sources;
mod status;
mod wait;

pub use backend::{Answer, Backend};
pub use command::{Command, Connection, LedgerArgs};
pub use error::{Error, Exit};
pub use run::{execute, run};
pub use show::{Format, Report, time_us};
