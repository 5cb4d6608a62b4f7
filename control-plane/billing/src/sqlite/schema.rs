//! The tables, and the version of their form.
//!
//! Entries are 64-bit integers. Sums (balances, spend) may exceed them; they are decimal text, added up in 128 bits by the one writer, because
//! SQLite's own arithmetic turns into floating point where it overflows.

use sqlx::{Connection, Row, SqliteConnection};

use super::IMMEDIATE;
use crate::error::Error;

/// The form that this build writes.
const VERSION: i64 = 3;

/// The first form, and what each later version adds to it.
const FIRST: &[&str] = &[
    // `incarnation` is the ledger's own, under which adjustments are written. It is made with the database and never again.
    "CREATE TABLE ledger_schema (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), version INTEGER NOT NULL, incarnation INTEGER NOT NULL) STRICT",
    "INSERT INTO ledger_schema VALUES (1, 1, random())",
    // Every event, in the order of its arrival; ids have no holes. The columns beside the payload are what is searched by.
    "CREATE TABLE ledger_events (
        id INTEGER PRIMARY KEY,
        incarnation INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        attempt BLOB,
        generation BLOB,
        number INTEGER NOT NULL,
        org TEXT NOT NULL,
        workspace TEXT NOT NULL,
        api_key TEXT NOT NULL,
        model TEXT NOT NULL,
        answer TEXT,
        amount INTEGER NOT NULL,
        hash BLOB NOT NULL,
        payload BLOB NOT NULL
    ) STRICT",
    "CREATE UNIQUE INDEX ledger_events_identity ON ledger_events (incarnation, sequence)",
    // Kinds 2 to 5 are terminal: settled, partial, failed, orphaned. 6 is adjusted.
    "CREATE UNIQUE INDEX ledger_events_terminal ON ledger_events (attempt) WHERE kind BETWEEN 2 AND 5",
    "CREATE UNIQUE INDEX ledger_events_adjusted ON ledger_events (attempt) WHERE kind = 6",
    "CREATE INDEX ledger_events_rare ON ledger_events (kind) WHERE kind >= 5",
    "CREATE INDEX ledger_events_generation ON ledger_events (generation) WHERE generation IS NOT NULL",
    "CREATE INDEX ledger_events_answer ON ledger_events (answer) WHERE answer IS NOT NULL",
    "CREATE INDEX ledger_events_api_key ON ledger_events (api_key)",
    "CREATE TABLE ledger_accounts (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, balance TEXT NOT NULL) STRICT",
    // No account occurs twice among the entries of one event.
    "CREATE TABLE ledger_postings (event INTEGER NOT NULL, account INTEGER NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (event, account)) STRICT, WITHOUT ROWID",
    "CREATE TABLE ledger_key_usage (
        org TEXT NOT NULL, workspace TEXT NOT NULL, api_key TEXT NOT NULL, day INTEGER NOT NULL, amount TEXT NOT NULL,
        PRIMARY KEY (org, workspace, api_key, day)
    ) STRICT, WITHOUT ROWID",
    // Which sequence numbers have arrived, booked or set aside; both ends are included.
    "CREATE TABLE ledger_sequences (
        incarnation INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (incarnation, first)
    ) STRICT, WITHOUT ROWID",
    "CREATE TABLE ledger_closed (incarnation INTEGER PRIMARY KEY, last_sequence INTEGER NOT NULL, doubt INTEGER NOT NULL) STRICT",
    "CREATE TABLE ledger_cursors (incarnation INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL) STRICT",
    "CREATE TABLE ledger_quarantine (
        id INTEGER PRIMARY KEY,
        incarnation INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        hash BLOB NOT NULL,
        kind INTEGER NOT NULL,
        attempt BLOB NOT NULL,
        reason TEXT NOT NULL,
        payload BLOB NOT NULL,
        UNIQUE (incarnation, sequence, hash)
    ) STRICT",
    "CREATE TABLE ledger_adjustments (event INTEGER PRIMARY KEY, operator TEXT NOT NULL, reason TEXT NOT NULL, unix_us INTEGER NOT NULL) STRICT",
    "CREATE TABLE ledger_price_versions (version TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID",
];

const SECOND: &[&str] = &[
    // Who owns a partition (the newest epoch), and how far it was read.
    "CREATE TABLE ledger_partitions (topic TEXT NOT NULL, partition INTEGER NOT NULL, epoch INTEGER NOT NULL, next_offset INTEGER, \
        PRIMARY KEY (topic, partition)) STRICT, WITHOUT ROWID",
    // What proxies say of their logs.
    "CREATE TABLE ledger_logs (
        incarnation INTEGER PRIMARY KEY,
        proxy TEXT NOT NULL,
        process INTEGER NOT NULL,
        last_sequence INTEGER NOT NULL,
        closed INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL,
        mark_sequence INTEGER NOT NULL,
        mark_ms INTEGER NOT NULL
    ) STRICT",
    "CREATE INDEX ledger_logs_proxy ON ledger_logs (proxy, seen_ms)",
    "CREATE TABLE ledger_write_offs (
        id INTEGER PRIMARY KEY,
        incarnation INTEGER NOT NULL,
        last_sequence INTEGER NOT NULL,
        missing TEXT NOT NULL,
        operator TEXT NOT NULL,
        reason TEXT NOT NULL,
        unix_ms INTEGER NOT NULL
    ) STRICT",
    "CREATE INDEX ledger_write_offs_log ON ledger_write_offs (incarnation)",
    "UPDATE ledger_schema SET version = 2",
];

const THIRD: &[&str] = &[
    // Partitions that a named operator has let go on elsewhere.
    "CREATE TABLE ledger_resets (
        id INTEGER PRIMARY KEY,
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        from_offset INTEGER,
        to_offset INTEGER NOT NULL,
        operator TEXT NOT NULL,
        reason TEXT NOT NULL,
        unix_ms INTEGER NOT NULL
    ) STRICT",
    "CREATE INDEX ledger_resets_topic ON ledger_resets (topic, id)",
    "UPDATE ledger_schema SET version = 3",
];

/// Makes the tables if there are none, and gives the ledger's own incarnation.
///
/// # Errors
/// A newer build has written the file, or the database failed.
pub async fn prepare(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let mut transaction = connection.begin_with(IMMEDIATE).await?;
    let made = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'ledger_schema'")
        .fetch_optional(&mut *transaction)
        .await?;
    if made.is_none() {
        execute(&mut transaction, FIRST).await?;
    }
    let row = sqlx::query("SELECT version, incarnation FROM ledger_schema").fetch_one(&mut *transaction).await?;
    let found: i64 = row.try_get(0)?;
    if found > VERSION {
        return Err(Error::NewerSchema { found, known: VERSION });
    }
    if found < 2 {
        execute(&mut transaction, SECOND).await?;
    }
    if found < 3 {
        execute(&mut transaction, THIRD).await?;
    }
    let own: i64 = row.try_get(1)?;
    transaction.commit().await?;
    Ok(own.cast_unsigned())
}

async fn execute(connection: &mut SqliteConnection, statements: &[&'static str]) -> Result<(), Error> {
    for statement in statements {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}
