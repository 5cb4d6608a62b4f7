//! The ledger in SQLite: one writer, a few readers, in the same file as the configuration but on connections of its own.

mod adjust;
mod book;
mod bulk;
mod commit;
mod logs;
mod partitions;
mod prices;
mod query;
mod recompute;
mod schema;
mod verify;

use std::{collections::HashMap, path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{
    sync::{MappedMutexGuard, Mutex, MutexGuard},
    time::Instant,
};
use waybill_model::{id::AttemptId, money::Picousd, price::Tariff};
use waybill_proto::{
    admin::v1::{Balance, EventRow, EventsRequest, RecomputeResponse, VerifyResponse},
    sync::v1::LogReport,
    usage::v1::Spooled,
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

/// How long a writer waits for another one (the configuration store writes to the same file, for milliseconds).
const BUSY: Duration = Duration::from_secs(10);

/// Readers at the same time; more wait for one of them.
const READERS: u32 = 4;

/// Pages that the writer keeps, KiB. The index of the providers' answer ids is the only one that is written at random places.
const CACHE_KIB: &str = "-32768";

/// Pages in the write-ahead log before they are copied into the file (16 MiB): a hot page is then copied once for many commits.
const CHECKPOINT_PAGES: &str = "4096";

/// The ledger of one machine.
///
/// All writes go through one connection, so they are in order; reads run beside them on snapshots.
#[derive(Debug)]
pub struct Sqlite {
    /// None once it is closed.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
    own: u64,
    waiting: Waiting,
}

impl Sqlite {
    /// Opens the ledger of a file, which it makes if there is none. A file of an older build is brought to the form of this one.
    ///
    /// # Errors
    /// The file cannot be opened, or a newer build has written it.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            .busy_timeout(BUSY)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .disable_statement_logging();
        let mut writer = options.clone().pragma("cache_size", CACHE_KIB).connect().await?;
        let own = schema::prepare(&mut writer).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self { writer: Mutex::new(Some(writer)), readers, own, waiting: Waiting::default() })
    }

    /// The one connection that writes, when it is free.
    async fn writer(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, Error> {
        MutexGuard::try_map(self.writer.lock().await, Option::as_mut).map_err(|_| Error::Closed)
    }

    async fn close(&self) -> Result<(), Error> {
        self.readers.close().await;
        match self.writer.lock().await.take() {
            Some(writer) => Ok(writer.close().await?),
            None => Ok(()),
        }
    }
}

impl Ledger for Sqlite {
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

/// A transaction that holds the write lock from its first moment, so that what it reads stays true until it ends.
const IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// SQLite has no unsigned integers: incarnations are stored by their bits.
const fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// An amount that may exceed 64 bits, from its decimal text.
fn amount(text: &str) -> Result<i128, Error> {
    text.parse().map_err(|_| Error::Damaged(format!("`{text}` is not an amount")))
}

#[cfg(test)]
mod tests {
    use crate::conformance;

    #[tokio::test]
    async fn a_file_passes_the_conformance_suite() {
        conformance::run(&|| Box::pin(conformance::sqlite()), 24).await;
    }
}
