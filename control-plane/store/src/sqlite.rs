//! The store of a single machine: one SQLite file, one writer, many readers.
//!
//! WAL with `synchronous=FULL`: a commit that was answered is on disk. The file may be shared
//! with the tables of others in the same process; a second process is kept out by the lock of
//! the state folder. Watchers are woken after each commit and read from the history table, so
//! that being woken late or together costs nothing.
//!
//! Leaderships live in this process's memory: whoever led before it began is gone, since the
//! folder was locked, so opening the file deletes the keys of leaders and replicas that are left
//! in it.

mod history;
mod pump;
mod schema;
mod terms;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, watch};

use crate::contract::Answer;
use crate::watch::Feed;
use crate::{
    Candidacy, Clock, Compare, Done, Election, Error, Found, Key, Leadership, Listing, Operation, Outcome, Position, Range, Read, Store,
    Transaction, Watch, keys,
};
use terms::Terms;

/// How long a statement waits for another connection's transaction to end. The ledger writes to
/// the same file in transactions of some ten milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Readers that can be at work at once; more wait.
const READERS: u32 = 4;

/// A store in a SQLite file. Clones are the same store; when the last is dropped, watches end.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    /// The position of the last commit. Changes under the writer's lock only.
    head: watch::Sender<Position>,
    terms: Terms,
}

impl Sqlite {
    /// Opens the file, creating it and its tables where they are missing, as the one process that has it.
    pub async fn open(file: &Path, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let store = Self::open_beside(file, clock).await?;
        store.inner.bury_leaders().await?;
        Ok(store)
    }

    /// The same beside a process that has it and may lead jobs: to read it, or to write what needs no leader.
    pub async fn open_beside(file: &Path, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let mut writer = connect(&options).await?;
        let position = schema::prepare(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.create_if_missing(false).pragma("query_only", "on"))
            .await
            .map_err(failure("open the file for reading"))?;
        let (head, _) = watch::channel(position);
        Ok(Self { inner: Arc::new(Inner { writer: Mutex::new(writer), readers, head, terms: Terms::new(clock) }) })
    }
}

/// Between two tries to open a file whose journal somebody else is changing.
const OPENING_PAUSE: Duration = Duration::from_millis(2);

/// Opens the file. SQLite's own patience does not cover the moment in which a file is turned to the write-ahead log, so it is had here.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    let deadline = tokio::time::Instant::now() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Err(sqlx::Error::Database(error)) if is_busy(&*error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(OPENING_PAUSE).await;
            }
            connected => return connected.map_err(failure("open the file")),
        }
    }
}

/// SQLITE_BUSY and its extended codes; the primary code is the low byte.
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    const SQLITE_BUSY: u32 = 5;
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

impl Inner {
    /// Leaders of an earlier process are gone, whatever time they had left.
    async fn bury_leaders(&self) -> Result<(), Error> {
        let left = [keys::leaders(), keys::replicas()];
        let transaction = Transaction { then: left.map(Operation::Delete).to_vec(), ..Transaction::default() };
        self.commit(&transaction).await.map(drop)
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Outcome, Error> {
        transaction.check()?;
        let mut writer = self.writer.lock().await;
        for ended in self.terms.overdue() {
            self.write(&mut writer, &deletion(&ended)).await?;
            self.terms.forget(&ended);
        }
        self.write(&mut writer, transaction).await
    }

    async fn write(&self, writer: &mut SqliteConnection, transaction: &Transaction) -> Result<Outcome, Error> {
        let outcome = write::apply(writer, transaction).await;
        let position = match &outcome {
            Ok(outcome) => outcome.position,
            // A commit that failed may have landed all the same; watchers must not wait for the next.
            Err(_) => history::position(writer).await?,
        };
        self.head.send_if_modified(|head| std::mem::replace(head, position) != position);
        outcome
    }

    async fn list(&self, read: &Read) -> Result<Listing, Error> {
        let mut sql = self.readers.begin().await.map_err(failure("begin to read"))?;
        let listing = history::list(&mut sql, read).await?;
        sql.rollback().await.map_err(failure("end reading"))?;
        Ok(listing)
    }

    async fn lead(&self, candidacy: &Candidacy) -> Result<Election, Error> {
        let Candidacy { key, holder, ttl } = candidacy;
        let begun = self.terms.now();
        let outcome = self
            .commit(&Transaction {
                compares: vec![Compare::absent(key.clone())],
                then: vec![Operation::Put(key.clone(), holder.clone())],
                otherwise: vec![Operation::Get(key.clone())],
            })
            .await?;
        match outcome.results.into_iter().next() {
            Some(Done::Put) => {
                let leadership = Leadership { key: key.clone(), created: outcome.position, ttl: *ttl };
                self.terms.begin(&leadership, begun);
                Ok(Election::Won(leadership))
            }
            Some(Done::Got(Some(entry))) => Ok(Election::Held(entry)),
            other => Err(Error::Corrupt { what: format!("standing for {key} gave {other:?}") }),
        }
    }

    async fn resign(&self, leadership: &Leadership) -> Result<(), Error> {
        self.commit(&deletion(leadership)).await?;
        self.terms.forget(leadership);
        Ok(())
    }

    async fn compact(&self, at: Position) -> Result<(), Error> {
        {
            let mut writer = self.writer.lock().await;
            if !history::begin_compaction(&mut writer, at).await? {
                return Ok(());
            }
        }
        let mut done = history::Swept::default();
        while !done.finished {
            // The writer is given back between steps, so that commits do not wait for the whole.
            let mut writer = self.writer.lock().await;
            done = history::sweep(&mut writer, at, done).await?;
        }
        Ok(())
    }
}

impl Store for Sqlite {
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Found> {
        Box::pin(async move {
            let Listing { position, entries, .. } = self.inner.list(&Read::now(Range::one(key))).await?;
            Ok(Found { position, entry: entries.into_iter().next() })
        })
    }

    fn list<'a>(&'a self, read: &'a Read) -> Answer<'a, Listing> {
        Box::pin(self.inner.list(read))
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        let inner = Arc::clone(&self.inner);
        Box::pin(to_the_end(async move { inner.commit(&transaction).await }))
    }

    fn watch(&self, range: Range, after: Position) -> Answer<'_, Watch> {
        Box::pin(async move {
            history::check_watchable(&self.inner.readers, after).await?;
            let (feed, watch) = Feed::open();
            let head = self.inner.head.subscribe();
            tokio::spawn(pump::Pump { readers: self.inner.readers.clone(), head, range, delivered: after, told: None }.run(feed));
            Ok(watch)
        })
    }

    fn compact(&self, at: Position) -> Answer<'_, ()> {
        let inner = Arc::clone(&self.inner);
        Box::pin(to_the_end(async move { inner.compact(at).await }))
    }

    fn lead<'a>(&'a self, candidacy: &'a Candidacy) -> Answer<'a, Election> {
        let inner = Arc::clone(&self.inner);
        let candidacy = candidacy.clone();
        Box::pin(to_the_end(async move { inner.lead(&candidacy).await }))
    }

    fn renew<'a>(&'a self, leadership: &'a Leadership) -> Answer<'a, ()> {
        Box::pin(async move { self.inner.terms.renew(leadership) })
    }

    fn resign(&self, leadership: Leadership) -> Answer<'_, ()> {
        let inner = Arc::clone(&self.inner);
        Box::pin(to_the_end(async move { inner.resign(&leadership).await }))
    }
}

/// Removes the leader key, if it is still that of this term.
fn deletion(leadership: &Leadership) -> Transaction {
    Transaction { compares: vec![leadership.fence()], then: vec![Operation::delete(&leadership.key)], otherwise: Vec::new() }
}

/// Runs what must not stop half-way because the caller does.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
    tokio::spawn(work).await.unwrap_or_else(|fault| Err(Error::Unavailable { what: format!("the write was cut short: {fault}") }))
}

/// Says what was being done when SQLite failed, and sorts damage from trouble.
fn failure(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| {
        let what = format!("{doing}: {error}");
        if is_damage(&error) { Error::Corrupt { what } } else { Error::Unavailable { what } }
    }
}

fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        // The low byte is the primary result code: SQLITE_CORRUPT or SQLITE_NOTADB.
        sqlx::Error::Database(error) => {
            error.code().and_then(|code| code.parse::<i64>().ok()).is_some_and(|code| matches!(code & 0xff, 11 | 26))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => true,
        _ => false,
    }
}

/// SQLite's integers have a sign, positions and versions have not.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Corrupt { what: format!("a negative number: {number}") })
}
