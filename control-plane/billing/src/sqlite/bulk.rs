//! Many rows in one statement: row by row is several times slower.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, query_builder::Separated, sqlite::SqliteRow};

/// Rows of one statement. Full ones share a prepared statement.
const ROWS: usize = 100;

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
    let mut changed = 0;
    for rows in rows.chunks(ROWS) {
        let mut statement = QueryBuilder::<Sqlite>::new(head);
        statement.push_values(rows, |mut values, row| bind(&mut values, row)).push(" ").push(tail);
        let result = statement.build().persistent(rows.len() == ROWS).execute(&mut *connection).await?;
        changed += result.rows_affected();
    }
    Ok(changed)
}

/// Runs `<head> (VALUES (…), (…), …) <tail>` for all keys, and gives the rows found.
///
/// # Errors
/// The database failed.
pub async fn find<T>(
    connection: &mut SqliteConnection,
    head: &'static str,
    keys: &[T],
    tail: &'static str,
    mut bind: impl FnMut(&mut Values<'_>, &T),
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut found = Vec::new();
    for keys in keys.chunks(ROWS) {
        let mut statement = QueryBuilder::<Sqlite>::new(head);
        statement.push(" (").push_values(keys, |mut values, key| bind(&mut values, key)).push(") ").push(tail);
        found.extend(statement.build().persistent(keys.len() == ROWS).fetch_all(&mut *connection).await?);
    }
    Ok(found)
}
