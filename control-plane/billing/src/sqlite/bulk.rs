//! Many rows in one statement: row by row is several times slower.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, query_builder::Separated, sqlite::SqliteRow};

/// Values of one statement, and so many rows as make them. Full statements share a prepared one.
const VALUES: usize = 1_500;

/// Keys of one look-up.
const KEYS: usize = 100;

/// A look-up of many keys: `<head> (VALUES (…), (…), …) <tail>`. A key of one column goes into `IN`; for one of several columns SQLite uses an
/// index only in a join.
#[derive(Clone, Copy)]
pub struct Lookup {
    pub head: &'static str,
    pub tail: &'static str,
}

/// The values of one row.
pub type Values<'a> = Separated<'a, Sqlite, &'static str>;

/// Runs `<head> VALUES (…), (…), … <tail>` for all rows, and gives the number of rows that changed.
///
/// # Errors
/// The database failed.
pub async fn insert<T>(
    connection: &mut SqliteConnection,
    head: &'static str,
    rows: &[T],
    tail: &'static str,
    mut bind: impl FnMut(&mut Values<'_>, &T),
) -> Result<u64, sqlx::Error> {
    // Every head names its columns.
    let full = VALUES / head.split(',').count();
    let mut changed = 0;
    for rows in rows.chunks(full) {
        let mut statement = QueryBuilder::<Sqlite>::new(head);
        statement.push_values(rows, |mut values, row| bind(&mut values, row)).push(" ").push(tail);
        let result = statement.build().persistent(rows.len() == full).execute(&mut *connection).await?;
        changed += result.rows_affected();
    }
    Ok(changed)
}

/// Looks all keys up, and gives the rows found.
///
/// # Errors
/// The database failed.
pub async fn find<T>(
    connection: &mut SqliteConnection,
    lookup: Lookup,
    keys: &[T],
    mut bind: impl FnMut(&mut Values<'_>, &T),
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut found = Vec::new();
    for keys in keys.chunks(KEYS) {
        let mut statement = QueryBuilder::<Sqlite>::new(lookup.head);
        statement.push(" (").push_values(keys, |mut values, key| bind(&mut values, key)).push(") ").push(lookup.tail);
        found.extend(statement.build().persistent(keys.len() == KEYS).fetch_all(&mut *connection).await?);
    }
    Ok(found)
}
