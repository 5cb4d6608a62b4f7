//! The configuration store: one contract, met by an embedded file here and by a cluster's store
//! alike. Keys in bytewise order, transactions with compares, a history to watch, leadership.
//! Values are opaque bytes.
//!
//! # Layout
//!
//! - [`keys`]: the key layout; nothing else in the product spells a key.
//! - `contract`: [`Store`], what every store answers.
//! - `entry`: [`Key`], [`Range`], [`Entry`] and [`Position`].
//! - `transaction`: [`Transaction`], its limits, its [`Outcome`].
//! - `decide`: what a transaction does to the keys it touches; pure.
//! - `watch`: [`Watch`] and the bounded buffer behind it.
//! - `lead`: [`Leadership`] and its fence; [`Clock`].
//! - `campaign`: [`campaign`], for work that one replica does at a time.
//! - `error`: [`Error`], whose [`Fault`], may it be retried.
//! - [`bundle`]: content too large for a transaction, in chunks behind one pointer.
//! - `schema`: [`migrate`] and [`check_schema`].
//! - [`copy`]: whole stores as streams.
//! - `sqlite`: [`Sqlite`], the store of a single machine.
//! - `etcd`: `Etcd`, the store of a cluster (feature `etcd`).
//! - `conformance`: the suite that every implementation passes (feature `conformance`).
//!
//! # Invariants
//!
//! - A commit is seen by all or by nobody, at one position; positions never go back.
//! - A listing shows one position, and a watch after it misses nothing and repeats nothing.
//! - A watcher gets one batch per commit, in order; it is never buffered for without bound.
//! - Limits are those of etcd, counted the same on every store, and refused by name.
//! - A write that carries a leader's fence does not land after the leadership has ended.

pub mod bundle;
mod campaign;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contract;
pub mod copy;
mod decide;
mod entry;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod failpoint;
pub mod keys;
mod lead;
mod schema;
mod sqlite;
mod transaction;
mod watch;

pub use campaign::{JOB_TTL, campaign, campaign_until};
pub use contract::{Answer, Read, Store};
pub use entry::{Entry, Found, Key, Listing, Position, Range};
pub use error::{Error, Fault};
#[cfg(feature = "etcd")]
pub use etcd::{Etcd, EtcdCondition, EtcdSettings, EtcdTiming, EtcdTls, EtcdUser};
pub use lead::{Candidacy, Clock, Election, Leadership, MonotonicClock};
pub use schema::{Migrated, SCHEMA, check_schema, migrate};
pub use sqlite::Sqlite;
pub use transaction::{Compare, Done, MAX_OPERATIONS, MAX_REQUEST_BYTES, Operation, Outcome, Relation, Target, Transaction};
pub use watch::{Batch, Event, Update, WATCH_BUFFER_BYTES, Watch};
