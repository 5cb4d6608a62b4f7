//! The ledger in SQLite: one writer, a few readers, in the same file as the configuration but on connections of its own.

mod adjust;
mod book;
mod bulk;
mod commit;
mod prices;
mod query;
mod recompute;
mod schema;
mod verify;

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;

pub use self::{
    adjust::Adjustment,
    commit::{Cursor, Report},
    query::{IncarnationStatus, Quarantined, Status},
};
use crate::{error::Error, waiting::Waiting};

/// How long a writer waits for another one (the configuration store writes to the same file, for milliseconds).
const BUSY: Duration = Duration::from_secs(10);

/// Readers at the same time; more wait for one of them.
const READERS: u32 = 4;

/// Pages that the writer keeps, KiB. The index of the providers' answer ids is the only one that is written at random places.
const CACHE_KIB: &str = "-32768";

/// Pages in the write-ahead log before they are copied into the file (16 MiB): a hot page is then copied once for many commits.
const CHECKPOINT_PAGES: &str = "4096";

/// The ledger.
///
/// All writes go through one connection, so they are in order; reads run beside them on snapshots.
#[derive(Debug)]
pub struct Ledger {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    own: u64,
    waiting: Waiting,
}

impl Ledger {
    /// Opens the ledger of a file, which it makes if there is none.
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
        Ok(Self { writer: Mutex::new(writer), readers, own, waiting: Waiting::default() })
    }

    /// The incarnation under which the ledger writes its own events.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.own
    }

    /// Ends its connections, after what is being written.
    ///
    /// # Errors
    /// The last connection could not be ended cleanly; nothing that was committed is lost.
    pub async fn close(self) -> Result<(), Error> {
        self.readers.close().await;
        self.writer.into_inner().close().await?;
        Ok(())
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
