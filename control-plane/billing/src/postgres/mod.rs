//! The ledger in PostgreSQL: any number of processes read and write it at the same time.

mod access;
mod adjust;
mod book;
mod commit;
mod logs;
mod migrate;
mod partitions;
mod prices;
mod query;
#[cfg(test)]
mod tests;
mod verify;
mod work;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use sqlx::{Executor, PgPool, postgres::PgPoolOptions};
use tokio::time::Instant;
use waybill_model::{id::AttemptId, money::Picousd, price::Tariff};
use waybill_proto::{
    admin::v1::{Balance, EventRow, EventsRequest, RecomputeResponse, VerifyResponse},
    sync::v1::LogReport,
    usage::v1::Spooled,
};

use self::book::Accounts;
pub use self::{
    access::{Access, Password},
    migrate::Migrated,
};
use crate::{
    contract::{Answer, Ledger, Prices},
    error::{Error, Refusal},
    gaps::Gap,
    progress::{Assignment, Cursor, Partition, Progress, Report},
    resolve::{Adjustment, Reset, WriteOff},
    status::{Quarantined, Status},
    usage::{KeyUsage, Scope},
    waiting::Waiting,
};

/// Connections of a process. More calls wait for one of them.
const CONNECTIONS: u32 = 8;

/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);

/// How often somebody who waits for an event looks whether another process has booked it.
const POLL: Duration = Duration::from_millis(50);

/// What each connection is told. Look-ups go by an index from the first row on, whatever the planner believes of a table that has just grown. A
/// process that stops in the middle of a transaction does not hold its locks for ever. What is committed is on the disk.
const SESSION: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
    SET idle_in_transaction_session_timeout = '20s'; SET lock_timeout = '25s'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// The ledger of a cluster.
pub struct Postgres {
    pool: PgPool,
    own: u64,
    /// Accounts are never renamed: those that were met once need no look-up.
    accounts: RwLock<Arc<Accounts>>,
    waiting: Waiting,
}

impl Postgres {
    /// Enters the ledger of a database, whose tables [`Postgres::migrate`] has made.
    ///
    /// # Errors
    /// The database cannot be entered, or its tables are not those of this build ([`Error::OlderSchema`], [`Error::NewerSchema`]).
    pub async fn open(access: &Access) -> Result<Self, Error> {
        let options = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE).after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(sqlx::raw_sql(SESSION)).await?;
                Ok(())
            })
        });
        let pool = options.connect_with(access.options()).await?;
        let own = migrate::check(&mut *pool.acquire().await?).await?;
        let (accounts, waiting) = (RwLock::default(), Waiting::polling(POLL));
        Ok(Self { pool, own, accounts, waiting })
    }

    async fn close(&self) -> Result<(), Error> {
        self.pool.close().await;
        Ok(())
    }
}

impl fmt::Debug for Postgres {
    /// The pool knows the password, so it is not shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Postgres").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Ledger for Postgres {
    fn incarnation(&self) -> u64 {
        self.own
    }

    fn commit<'a>(&'a self, batch: &'a [Spooled], progress: Progress<'a>) -> Answer<'a, Report> {
        Box::pin(self.commit(batch, progress))
    }

    fn cursors(&self) -> Answer<'_, Vec<Cursor>> {
        Box::pin(self.cursors())
    }

    fn assign<'a>(&'a self, topic: &'a str, partition: i32) -> Answer<'a, Assignment> {
        Box::pin(self.assign(topic, partition))
    }

    fn partitions<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<Partition>> {
        Box::pin(self.partitions(topic))
    }

    fn reset<'a>(&'a self, reset: &'a Reset) -> Answer<'a, (), Refusal> {
        Box::pin(self.reset(reset))
    }

    fn resets<'a>(&'a self, topic: &'a str) -> Answer<'a, Vec<Reset>> {
        Box::pin(self.resets(topic))
    }

    fn note_logs<'a>(&'a self, proxy: &'a str, process: u64, logs: &'a [LogReport], unix_ms: i64) -> Answer<'a, ()> {
        Box::pin(self.note_logs(proxy, process, logs, unix_ms))
    }

    fn gaps(&self, now_unix_ms: i64) -> Answer<'_, Vec<Gap>> {
        Box::pin(self.gaps(now_unix_ms))
    }

    fn write_off(&self, incarnation: u64, word: WriteOff) -> Answer<'_, Gap, Refusal> {
        Box::pin(self.write_off(incarnation, word))
    }

    fn adjust(&self, attempt: AttemptId, amount: Picousd, word: Adjustment) -> Answer<'_, EventRow, Refusal> {
        Box::pin(self.adjust(attempt, amount, word))
    }

    fn adjustment(&self, attempt: AttemptId) -> Answer<'_, Option<Adjustment>> {
        Box::pin(self.adjustment(attempt))
    }

    fn generation<'a>(&'a self, id: &'a str, scope: &'a Scope) -> Answer<'a, Vec<EventRow>> {
        Box::pin(self.generation(id, scope))
    }

    fn wait_for<'a>(&'a self, id: &'a str, scope: &'a Scope, deadline: Instant) -> Answer<'a, Vec<EventRow>> {
        Box::pin(self.waiting.request(id, deadline, move || self.generation(id, scope)))
    }

    fn explain<'a>(&'a self, id: &'a str) -> Answer<'a, Vec<EventRow>> {
        Box::pin(self.explain(id))
    }

    fn explain_by<'a>(&'a self, id: &'a str, deadline: Instant) -> Answer<'a, Vec<EventRow>> {
        Box::pin(self.waiting.any(id, deadline, move || self.explain(id)))
    }

    fn events<'a>(&'a self, request: &'a EventsRequest) -> Answer<'a, Vec<EventRow>> {
        Box::pin(self.events(request))
    }

    fn balances<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Balance>> {
        Box::pin(self.balances(prefix))
    }

    fn key_usage<'a>(&'a self, scope: &'a Scope, now_unix_us: i64) -> Answer<'a, KeyUsage> {
        Box::pin(self.key_usage(scope, now_unix_us))
    }

    fn status(&self) -> Answer<'_, Status> {
        Box::pin(self.status())
    }

    fn quarantine(&self, limit: u32) -> Answer<'_, Vec<Quarantined>> {
        Box::pin(self.quarantine(limit))
    }

    fn remember_prices<'a>(&'a self, tariffs: &'a [Tariff]) -> Answer<'a, ()> {
        Box::pin(self.remember_prices(tariffs))
    }

    fn price_versions(&self) -> Answer<'_, HashMap<String, Tariff>> {
        Box::pin(self.price_versions())
    }

    fn verify(&self) -> Answer<'_, VerifyResponse> {
        Box::pin(self.verify())
    }

    fn recompute<'a>(&'a self, price: &'a Prices<'a>) -> Answer<'a, RecomputeResponse> {
        Box::pin(self.recompute(price))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.close())
    }
}

/// PostgreSQL has no unsigned integers: incarnations are stored by their bits.
const fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// An amount that may exceed 64 bits, from its decimal text.
fn amount(text: &str) -> Result<i128, Error> {
    text.parse().map_err(|_| Error::Damaged(format!("`{text}` is not an amount")))
}

/// Text of people, without the one letter that PostgreSQL does not keep.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What a provider's id of an answer is searched by; empty for an empty one.
fn answer(id: &str) -> Vec<u8> {
    let mut hash = vec![0; if id.is_empty() { 0 } else { 16 }];
    blake3::Hasher::new().update(id.as_bytes()).finalize_xof().fill(&mut hash);
    hash
}
