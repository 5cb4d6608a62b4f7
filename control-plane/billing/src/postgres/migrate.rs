//! The versions of the tables. A start never changes them: `migrate` is a verb of its own, so that one job does it and all others wait for it.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::{Postgres, access::Access};
use crate::error::Error;

/// One step.
struct Migration {
    /// The version that it makes.
    version: i64,
    /// The oldest version whose builds may go on working with the tables after it: an upgrade, or a way back, without a pause.
    usable_from: i64,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, usable_from: 1, sql: include_str!("../../migrations/postgres/0001_ledger.sql") },
    Migration { version: 2, usable_from: 1, sql: include_str!("../../migrations/postgres/0002_resets.sql") },
];

/// The version that this build works with.
const KNOWN: i64 = 2;

/// Only one migrates at a time. An arbitrary number, the same for ever.
const LOCK: i64 = 0x5761_7962_696c_6c31;

/// What a migration has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Migrated {
    /// The version before; 0 = there were no tables.
    pub from: i64,
    /// The version now.
    pub to: i64,
}

impl Postgres {
    /// Brings the tables to the version of this build, each step in a transaction. Repeating it does nothing.
    ///
    /// # Errors
    /// The database cannot be entered or failed, or a newer build has made its tables.
    pub async fn migrate(access: &Access) -> Result<Migrated, Error> {
        let mut connection = PgConnection::connect_with(&access.options()).await?;
        sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
        let encoding: String = sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut connection).await?;
        if encoding != "UTF8" {
            return Err(Error::Address(format!("the database has the encoding {encoding}: make one with ENCODING 'UTF8'")));
        }
        let from = version(&mut connection).await?.map_or(0, |(version, _)| version);
        if from > KNOWN {
            return Err(Error::NewerSchema { found: from, known: KNOWN });
        }
        for step in MIGRATIONS.iter().filter(|step| step.version > from) {
            let mut transaction = connection.begin().await?;
            (&mut *transaction).execute(sqlx::raw_sql(AssertSqlSafe(step.sql))).await?;
            sqlx::query("UPDATE ledger_schema SET version = $1, usable_from = $2")
                .bind(step.version)
                .bind(step.usable_from)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        }
        connection.close().await?;
        Ok(Migrated { from, to: KNOWN })
    }
}

/// The ledger's own incarnation, if this build may work with the tables.
pub async fn check(connection: &mut PgConnection) -> Result<u64, Error> {
    let (found, usable_from) = version(connection).await?.unwrap_or((0, 0));
    if found < KNOWN {
        return Err(Error::OlderSchema { found, known: KNOWN });
    }
    if usable_from > KNOWN {
        return Err(Error::NewerSchema { found, known: KNOWN });
    }
    let own: i64 = sqlx::query_scalar("SELECT incarnation FROM ledger_schema").fetch_one(connection).await?;
    Ok(own.cast_unsigned())
}

/// The version of the tables and the oldest one that may work with them; `None` if there are none.
async fn version(connection: &mut PgConnection) -> Result<Option<(i64, i64)>, Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('ledger_schema') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(None);
    }
    let row = sqlx::query("SELECT version, usable_from FROM ledger_schema").fetch_one(connection).await?;
    Ok(Some((row.try_get(0)?, row.try_get(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_a_hole_and_end_at_the_known_version() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|step| step.version).collect();
        assert_eq!(versions, (1..=KNOWN).collect::<Vec<_>>());
        assert!(MIGRATIONS.iter().all(|step| step.usable_from <= step.version));
    }
}
