//! The tables, and what they must look like to be opened.

use sqlx::{Connection, SqliteConnection};

use super::{failure, from_sql, history};
use crate::{Error, Position};

/// Of the tables below. A build opens what it or an older build wrote.
const VERSION: i64 = 1;

/// History holds every value once; current points into it. Sequence is the order of events
/// across and within commits.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS store_meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT OR IGNORE INTO store_meta (name, value) VALUES ('schema', 1), ('compacted', 0);
    CREATE TABLE IF NOT EXISTS store_history (
        sequence INTEGER PRIMARY KEY,
        position INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        created INTEGER NOT NULL,
        version INTEGER NOT NULL,
        deleted INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS store_history_key ON store_history (key, position);
    CREATE INDEX IF NOT EXISTS store_history_position ON store_history (position);
    CREATE TABLE IF NOT EXISTS store_current (key BLOB PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
";

/// Makes the tables where they are missing and returns the position the file is at.
pub(super) async fn prepare(writer: &mut SqliteConnection) -> Result<Position, Error> {
    let mut sql = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure("begin to open"))?;
    refuse_newer(&mut sql).await?;
    sqlx::raw_sql(TABLES).execute(&mut *sql).await.map_err(failure("make the tables"))?;
    let position = history::position(&mut sql).await?;
    let compacted = history::compacted(&mut sql).await?;
    if compacted > position {
        return Err(Error::Corrupt { what: format!("compacted at {compacted}, but only at {position}") });
    }
    sql.commit().await.map_err(failure("make the tables"))?;
    Ok(position)
}

async fn refuse_newer(sql: &mut SqliteConnection) -> Result<(), Error> {
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM sqlite_schema WHERE name = 'store_meta'")
        .fetch_optional(&mut *sql)
        .await
        .map_err(failure("look for the tables"))?;
    if known.is_none() {
        return Ok(());
    }
    let found = meta(sql, "schema").await?;
    if found > VERSION {
        return Err(Error::NewerSchema { found, supported: VERSION });
    }
    from_sql(found).map(drop)
}

/// Reads one of the numbers the file keeps about itself.
pub(super) async fn meta(sql: &mut SqliteConnection, name: &'static str) -> Result<i64, Error> {
    sqlx::query_scalar("SELECT value FROM store_meta WHERE name = ?")
        .bind(name)
        .fetch_optional(sql)
        .await
        .map_err(failure("read the meta table"))?
        .ok_or_else(|| Error::Corrupt { what: format!("the meta table has no {name}") })
}
