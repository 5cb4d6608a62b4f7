//! The scenarios, by what breaks. Numbers and promises are those of the fault matrix in `tests/README.md`.

mod broken;
mod control;
mod herd;
mod kafka;
mod ledger;
mod poison;
mod proxies;
mod rollout;
mod spool;
mod store;
mod watch;

use std::time::Duration;

use anyhow::Result;
use waybill_tests::cluster::Shape;

use crate::run::Run;
use crate::table::Line;

/// One row of the matrix.
pub struct Row {
    pub number: u32,
    /// What breaks.
    pub fault: &'static str,
    /// Part of every run of all tests.
    pub is_fast: bool,
    /// A request may be cut by the death of the very process that answers it. In all other rows every request is answered.
    pub may_break: bool,
    /// A request may be refused since it cannot be recorded, if it is told so.
    pub may_refuse: bool,
    /// The cluster that it wants.
    pub shape: fn() -> Shape,
    /// Breaks, mends and measures.
    pub run: fn(&mut Run, &mut Line) -> Result<()>,
}

const fn row(number: u32, fault: &'static str, run: fn(&mut Run, &mut Line) -> Result<()>) -> Row {
    Row { number, fault, is_fast: false, may_break: false, may_refuse: false, shape: usual, run }
}

/// The second way is taken soon, so that a row need not wait for half a minute.
fn usual() -> Shape {
    Shape { silence: Duration::from_secs(5), ..Shape::default() }
}

/// Each log of a proxy has room for two or three segments, all of them for five.
fn cramped() -> Shape {
    const SEGMENT_BYTES: u32 = 128 << 10;
    Shape { spool_bytes: 5 * u64::from(SEGMENT_BYTES), segment_bytes: SEGMENT_BYTES, ..usual() }
}

/// What a watch has told is compared with the store soon, so that a row need not wait for ten minutes.
fn audited() -> Shape {
    Shape { relist: Some(watch::RELIST), ..usual() }
}

const fn fast(row: Row) -> Row {
    Row { is_fast: true, ..row }
}

const fn breaking(row: Row) -> Row {
    Row { may_break: true, ..row }
}

pub const ROWS: &[Row] = &[
    fast(breaking(row(1, "kill -9 of proxies under load", proxies::killed))),
    fast(row(2, "kill -9 of each replica of the control plane, then of all", control::killed)),
    fast(row(3, "kill -9 of consumers at random instants", ledger::consumers_killed)),
    fast(row(4, "kill -9 of PostgreSQL", ledger::database_killed)),
    fast(row(5, "etcd loses its leader, dead or frozen", store::leader_lost)),
    row(6, "etcd loses its majority", store::majority_lost),
    row(7, "a replica is cut off while etcd compacts", store::compacted),
    fast(row(11, "Kafka is away, and comes back", kafka::away)),
    row(13, "Kafka freezes and thaws", kafka::frozen),
    row(15, "proxies are cut off from the control plane, each way and both", control::cut_off),
    fast(row(16, "proxies are cut off from Kafka alone", kafka::cut_off)),
    fast(row(22, "the provider breaks off, writes what is no answer, or states a wrong usage or none", broken::answered)),
    fast(breaking(row(23, "callers hang up at every part of an answer", proxies::left))),
    row(26, "configuration that must not reach anybody", control::poisoned),
    row(30, "proxies and replicas are replaced one by one", proxies::replaced),
    row(32, "a proxy is ended while its spool is full", proxies::ended_full),
    // These want a cluster of another shape, so they come last.
    Row { shape: audited, ..row(10, "the store's watch lies", watch::lying) },
    Row { shape: cramped, may_refuse: true, ..breaking(row(14, "spools are full, torn, or on a disk that fails", spool::failed)) },
    // Last, and on a cluster of its own: its proxies stay in the memory of the replicas.
    Row { shape: herd::shape, ..row(31, "a thousand streams lose their replica at once", herd::reconnects) },
];
