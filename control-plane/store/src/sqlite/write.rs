//! One transaction on the file: load what it touches, decide, write, commit.

use std::collections::BTreeSet;

use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection};

use super::{failure, history, to_sql};
use crate::decide::{Change, Decision, Held, decide};
use crate::{Error, Key, Operation, Outcome, Position, Transaction, failpoint, keys};

/// Rows of one statement. Seven numbers and blobs a row stay far below SQLite's 32,766 parameters.
const ROWS: usize = 500;

pub(super) async fn apply(writer: &mut SqliteConnection, transaction: &Transaction) -> Result<Outcome, Error> {
    // IMMEDIATE takes the write lock before anything is read, so that what the compares see
    // cannot change, and waiting for the lock is the busy timeout's work alone.
    let mut sql = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure("begin to write"))?;
    let current = history::position(&mut sql).await?;
    let held = load(&mut sql, transaction).await?;
    let Decision { outcome, changes } = decide(transaction, held, current);
    if changes.is_empty() {
        sql.rollback().await.map_err(failure("end a transaction without changes"))?;
        return Ok(outcome);
    }
    let sequence = last_sequence(&mut sql).await? + 1;
    let mut first = sequence;
    for changes in changes.chunks(ROWS) {
        write_history(&mut sql, changes, first, outcome.position).await?;
        write_current(&mut sql, changes, first).await?;
        first += to_sql(changes.len() as u64);
    }
    // Every start stands for its jobs anew: a death in that would let none come to its end.
    let of_a_term = changes.iter().all(|change| keys::leaders().contains(key_of(change)) || keys::replicas().contains(key_of(change)));
    if !of_a_term {
        failpoint::pass("store.commit.before");
    }
    sql.commit().await.map_err(failure("commit"))?;
    if !of_a_term {
        failpoint::pass("store.commit.after");
    }
    Ok(outcome)
}

fn key_of(change: &Change) -> &Key {
    match change {
        Change::Put(entry) => &entry.key,
        Change::Delete(key) => key,
    }
}

async fn last_sequence(sql: &mut SqliteConnection) -> Result<i64, Error> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT MAX(sequence) FROM store_history").fetch_one(sql).await.map_err(failure("read the last sequence"))?;
    Ok(last.unwrap_or(0))
}

async fn load(sql: &mut SqliteConnection, transaction: &Transaction) -> Result<Held, Error> {
    let mut keys: BTreeSet<&Key> = transaction.compares.iter().map(|compare| &compare.key).collect();
    let mut ranges = Vec::new();
    for operation in transaction.then.iter().chain(&transaction.otherwise) {
        match operation {
            Operation::Put(key, _) | Operation::Get(key) => drop(keys.insert(key)),
            Operation::Delete(range) => ranges.push(range),
        }
    }
    let mut held = Held::new();
    if keys.is_empty() && ranges.is_empty() {
        return Ok(held);
    }
    let mut query = QueryBuilder::new(
        "SELECT c.key AS key, h.value, h.created, h.position, h.version \
         FROM store_current c JOIN store_history h ON h.sequence = c.sequence WHERE c.key IN (",
    );
    let mut list = query.separated(", ");
    for key in keys {
        list.push_bind(key.as_bytes());
    }
    query.push(")");
    for range in ranges {
        query.push(" OR (");
        history::within(&mut query, "c.key", range);
        query.push(")");
    }
    let rows = query.build().fetch_all(sql).await.map_err(failure("read what a transaction touches"))?;
    for row in &rows {
        let entry = history::entry(row)?;
        held.insert(entry.key.clone(), entry);
    }
    Ok(held)
}

async fn write_history(sql: &mut SqliteConnection, changes: &[Change], first: i64, position: Position) -> Result<(), Error> {
    let mut query: QueryBuilder<Sqlite> =
        QueryBuilder::new("INSERT INTO store_history (sequence, position, key, value, created, version, deleted) ");
    query.push_values((first..).zip(changes), |mut row, (sequence, change)| {
        row.push_bind(sequence).push_bind(to_sql(position.0));
        match change {
            Change::Put(entry) => row
                .push_bind(entry.key.as_bytes())
                .push_bind(entry.value.as_ref())
                .push_bind(to_sql(entry.created.0))
                .push_bind(to_sql(entry.version))
                .push_bind(false),
            Change::Delete(key) => row.push_bind(key.as_bytes()).push_bind(&[][..]).push_bind(0_i64).push_bind(0_i64).push_bind(true),
        };
    });
    query.build().execute(sql).await.map_err(failure("write history")).map(drop)
}

async fn write_current(sql: &mut SqliteConnection, changes: &[Change], first: i64) -> Result<(), Error> {
    let mut put = Vec::new();
    let mut deleted = Vec::new();
    for (sequence, change) in (first..).zip(changes) {
        match change {
            Change::Put(entry) => put.push((&entry.key, sequence)),
            Change::Delete(key) => deleted.push(key),
        }
    }
    if !put.is_empty() {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT OR REPLACE INTO store_current (key, sequence) ");
        query.push_values(put, |mut row, (key, sequence)| {
            row.push_bind(key.as_bytes()).push_bind(sequence);
        });
        query.build().execute(&mut *sql).await.map_err(failure("write the current keys"))?;
    }
    if !deleted.is_empty() {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("DELETE FROM store_current WHERE key IN (");
        let mut list = query.separated(", ");
        for key in deleted {
            list.push_bind(key.as_bytes());
        }
        query.push(")");
        query.build().execute(sql).await.map_err(failure("delete current keys"))?;
    }
    Ok(())
}
