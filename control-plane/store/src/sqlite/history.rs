//! Reading the store as it is and as it was, and forgetting how it was.

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::{failure, from_sql, schema, to_sql};
use crate::{Batch, Entry, Error, Event, Key, Listing, Position, Range, Read};

/// Rows looked at in one step of a compaction: a few milliseconds.
const SWEEP_ROWS: i64 = 2_000;

/// The position of the last commit. The last row of history is never compacted away.
pub(super) async fn position(sql: &mut SqliteConnection) -> Result<Position, Error> {
    let position: Option<i64> =
        sqlx::query_scalar("SELECT MAX(position) FROM store_history").fetch_one(sql).await.map_err(failure("read the position"))?;
    from_sql(position.unwrap_or(0)).map(Position)
}

/// The oldest position that can still be read.
pub(super) async fn compacted(sql: &mut SqliteConnection) -> Result<Position, Error> {
    schema::meta(sql, "compacted").await.and_then(from_sql).map(Position)
}

/// Reads a range within a read transaction.
pub(super) async fn list(sql: &mut SqliteConnection, read: &Read) -> Result<Listing, Error> {
    let current = position(sql).await?;
    let at = read.at.unwrap_or(current);
    if at > current {
        return Err(Error::FuturePosition { asked: at, current });
    }
    let mut query = if at == current { list_current(&read.range) } else { list_past(sql, &read.range, at).await? };
    query.push(" ORDER BY key");
    // One more than asked for tells whether there are more.
    let limit = read.limit.map(|limit| limit.get() as usize);
    if let Some(limit) = limit {
        query.push(" LIMIT ").push_bind(to_sql(limit as u64 + 1));
    }
    let rows = query.build().fetch_all(sql).await.map_err(failure("list"))?;
    let mut entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let more = limit.is_some_and(|limit| entries.len() > limit);
    if let Some(limit) = limit {
        entries.truncate(limit);
    }
    Ok(Listing { position: at, entries, more })
}

fn list_current(range: &Range) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT c.key AS key, h.value, h.created, h.position, h.version \
         FROM store_current c JOIN store_history h ON h.sequence = c.sequence WHERE ",
    );
    within(&mut query, "c.key", range);
    query
}

async fn list_past(sql: &mut SqliteConnection, range: &Range, at: Position) -> Result<QueryBuilder<Sqlite>, Error> {
    let oldest = compacted(sql).await?;
    if at < oldest {
        return Err(Error::Compacted { oldest });
    }
    let mut query = QueryBuilder::new("SELECT h.key AS key, h.value, h.created, h.position, h.version FROM store_history h WHERE ");
    within(&mut query, "h.key", range);
    query
        .push(" AND h.deleted = 0 AND h.position = (SELECT MAX(n.position) FROM store_history n WHERE n.key = h.key AND n.position <= ")
        .push_bind(to_sql(at.0))
        .push(")");
    Ok(query)
}

/// Adds the bounds of a range on a key column.
pub(super) fn within(query: &mut QueryBuilder<Sqlite>, column: &str, range: &Range) {
    query.push(column).push(" >= ").push_bind(range.start());
    if let Some(end) = range.end() {
        query.push(" AND ").push(column).push(" < ").push_bind(end);
    }
}

/// Reads an entry from columns key, value, created, position, version.
pub(super) fn entry(row: &SqliteRow) -> Result<Entry, Error> {
    entry_of(row, ["key", "value", "created", "position", "version"])
}

fn entry_of(row: &SqliteRow, [key, value, created, position, version]: [&str; 5]) -> Result<Entry, Error> {
    let number = |column| row.try_get::<i64, _>(column).map_err(failure("read a number"));
    Ok(Entry {
        key: key_of(row, key)?,
        value: row.try_get::<Vec<u8>, _>(value).map(Bytes::from).map_err(failure("read a value"))?,
        created: Position(from_sql(number(created)?)?),
        modified: Position(from_sql(number(position)?)?),
        version: from_sql(number(version)?)?,
    })
}

fn key_of(row: &SqliteRow, column: &str) -> Result<Key, Error> {
    row.try_get::<Vec<u8>, _>(column).map(Key::from_bytes).map_err(failure("read a key"))
}

/// Refuses a watch that begins before what is left of history.
pub(super) async fn check_watchable(readers: &SqlitePool, after: Position) -> Result<(), Error> {
    let mut sql = readers.acquire().await.map_err(failure("begin to watch"))?;
    let oldest = compacted(&mut sql).await?;
    if after < oldest { Err(Error::Compacted { oldest }) } else { Ok(()) }
}

/// The commits after one position, up to and with another, that touched the range.
pub(super) async fn batches(readers: &SqlitePool, range: &Range, after: Position, until: Position) -> Result<Vec<Batch>, Error> {
    let mut sql = readers.begin().await.map_err(failure("begin to read history"))?;
    let oldest = compacted(&mut sql).await?;
    if after < oldest {
        return Err(Error::Compacted { oldest });
    }
    // The unary plus keeps the planner on the index of positions: the range may be the whole
    // store, the positions are few.
    let mut query = QueryBuilder::new(
        "SELECT h.key AS key, h.value, h.created, h.position, h.version, h.deleted, \
         p.value AS old_value, p.created AS old_created, p.position AS old_position, p.version AS old_version \
         FROM store_history h LEFT JOIN store_history p ON p.deleted = 0 AND p.key = h.key AND p.position = \
         (SELECT MAX(o.position) FROM store_history o WHERE o.key = h.key AND o.position < h.position) \
         WHERE h.position > ",
    );
    query.push_bind(to_sql(after.0)).push(" AND h.position <= ").push_bind(to_sql(until.0)).push(" AND ");
    within(&mut query, "+h.key", range);
    query.push(" ORDER BY h.position, h.sequence");
    let rows = query.build().fetch_all(&mut *sql).await.map_err(failure("read history"))?;
    sql.rollback().await.map_err(failure("end reading history"))?;
    let mut batches: Vec<Batch> = Vec::new();
    for row in &rows {
        let (position, event) = event(row)?;
        match batches.last_mut() {
            Some(batch) if batch.position == position => batch.events.push(event),
            _ => batches.push(Batch { position, events: vec![event] }),
        }
    }
    Ok(batches)
}

fn event(row: &SqliteRow) -> Result<(Position, Event), Error> {
    let existed = row.try_get::<Option<i64>, _>("old_position").map_err(failure("read a position"))?.is_some();
    let previous = existed.then(|| entry_of(row, ["key", "old_value", "old_created", "old_position", "old_version"])).transpose()?;
    let entry = entry(row)?;
    let position = entry.modified;
    let deleted = row.try_get::<bool, _>("deleted").map_err(failure("read a mark"))?;
    let event = if deleted { Event::Delete { key: entry.key, previous } } else { Event::Put { entry, previous } };
    Ok((position, event))
}

/// Moves the oldest readable position up to `at`. False if it was there already.
pub(super) async fn begin_compaction(writer: &mut SqliteConnection, at: Position) -> Result<bool, Error> {
    let mut sql = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure("begin to compact"))?;
    let current = position(&mut sql).await?;
    if at > current {
        return Err(Error::FuturePosition { asked: at, current });
    }
    if at <= compacted(&mut sql).await? {
        return Ok(false);
    }
    sqlx::query("UPDATE store_meta SET value = ? WHERE name = 'compacted'")
        .bind(to_sql(at.0))
        .execute(&mut *sql)
        .await
        .map_err(failure("mark as compacted"))?;
    sql.commit().await.map_err(failure("mark as compacted"))?;
    Ok(true)
}

/// How far a compaction has come.
#[derive(Debug, Default)]
pub(super) struct Swept {
    sequence: i64,
    pub finished: bool,
}

/// One step of a compaction: deletes what no read at or after `at` can see. Deletions at `at`
/// itself stay, so that the last row of history is never lost.
pub(super) async fn sweep(writer: &mut SqliteConnection, at: Position, done: Swept) -> Result<Swept, Error> {
    let mut sql = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure("begin to compact"))?;
    let upper: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(sequence) FROM (SELECT sequence FROM store_history WHERE sequence > ? AND position <= ? \
         ORDER BY sequence LIMIT ?)",
    )
    .bind(done.sequence)
    .bind(to_sql(at.0))
    .bind(SWEEP_ROWS)
    .fetch_one(&mut *sql)
    .await
    .map_err(failure("compact"))?;
    let Some(upper) = upper else {
        return Ok(Swept { finished: true, ..done });
    };
    sqlx::query(
        "DELETE FROM store_history WHERE sequence IN (SELECT h.sequence FROM store_history h \
         WHERE h.sequence > ?1 AND h.sequence <= ?2 AND h.position <= ?3 AND ((h.deleted = 1 AND h.position < ?3) \
         OR EXISTS (SELECT 1 FROM store_history n WHERE n.key = h.key AND n.position > h.position AND n.position <= ?3)))",
    )
    .bind(done.sequence)
    .bind(upper)
    .bind(to_sql(at.0))
    .execute(&mut *sql)
    .await
    .map_err(failure("compact"))?;
    sql.commit().await.map_err(failure("compact"))?;
    Ok(Swept { sequence: upper, finished: false })
}
