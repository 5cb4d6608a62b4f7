//! Partitions of the topic: who owns them, how far they were read, and who let one go on elsewhere.

use sqlx::{PgConnection, Row};

use super::{Postgres, plain, work::Work};
use crate::{
    error::{Error, Refusal},
    progress::{Assignment, Partition},
    resolve::Reset,
};

impl Postgres {
    pub(super) async fn assign(&self, topic: &str, partition: i32) -> Result<Assignment, Error> {
        self.transact(&Assign { topic, partition }).await
    }

    pub(super) async fn partitions(&self, topic: &str) -> Result<Vec<Partition>, Error> {
        const FIND: &str = "SELECT partition, epoch, next_offset FROM ledger_partitions WHERE topic = $1 ORDER BY partition";
        let rows = sqlx::query(FIND).bind(topic).fetch_all(&self.pool).await?;
        let read = |row: &sqlx::postgres::PgRow| {
            Ok(Partition { partition: row.try_get(0)?, epoch: row.try_get::<i64, _>(1)?.cast_unsigned(), next_offset: row.try_get(2)? })
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn reset(&self, reset: &Reset) -> Result<(), Refusal> {
        reset.check()?;
        self.transact(reset).await
    }

    pub(super) async fn resets(&self, topic: &str) -> Result<Vec<Reset>, Error> {
        const FIND: &str = "SELECT topic, partition, from_offset, to_offset, operator, reason, unix_ms FROM ledger_resets \
            WHERE topic = $1 ORDER BY id";
        let rows = sqlx::query(FIND).bind(topic).fetch_all(&self.pool).await?;
        let read = |row: &sqlx::postgres::PgRow| {
            Ok(Reset {
                topic: row.try_get(0)?,
                partition: row.try_get(1)?,
                from: row.try_get(2)?,
                to: row.try_get(3)?,
                operator: row.try_get(4)?,
                reason: row.try_get(5)?,
                unix_ms: row.try_get(6)?,
            })
        };
        rows.iter().map(read).collect()
    }
}

struct Assign<'a> {
    topic: &'a str,
    partition: i32,
}

impl Work for Assign<'_> {
    type Done = Assignment;
    type Error = Error;

    async fn write(&self, connection: &mut PgConnection, _: u32) -> Result<Assignment, Error> {
        const ASSIGN: &str = "INSERT INTO ledger_partitions (topic, partition, epoch) VALUES ($1, $2, 1) \
            ON CONFLICT (topic, partition) DO UPDATE SET epoch = ledger_partitions.epoch + 1 RETURNING epoch, next_offset";
        let row = sqlx::query(ASSIGN).bind(self.topic).bind(self.partition).fetch_one(connection).await?;
        Ok(Assignment { epoch: row.try_get::<i64, _>(0)?.cast_unsigned(), next_offset: row.try_get(1)? })
    }
}

impl Work for Reset {
    type Done = ();
    type Error = Refusal;

    async fn write(&self, connection: &mut PgConnection, _: u32) -> Result<(), Refusal> {
        const FIND: &str = "SELECT next_offset FROM ledger_partitions WHERE topic = $1 AND partition = $2 FOR UPDATE";
        const MOVE: &str = "UPDATE ledger_partitions SET epoch = epoch + 1, next_offset = $3 WHERE topic = $1 AND partition = $2";
        const NOTE: &str = "INSERT INTO ledger_resets (topic, partition, from_offset, to_offset, operator, reason, unix_ms) \
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let found = sqlx::query(FIND).bind(&self.topic).bind(self.partition).fetch_optional(&mut *connection).await?;
        self.stands(found.map(|row| row.try_get::<Option<i64>, _>(0)).transpose()?)?;
        sqlx::query(MOVE).bind(&self.topic).bind(self.partition).bind(self.to).execute(&mut *connection).await?;
        sqlx::query(NOTE)
            .bind(&self.topic)
            .bind(self.partition)
            .bind(self.from)
            .bind(self.to)
            .bind(plain(self.operator.trim()))
            .bind(plain(self.reason.trim()))
            .bind(self.unix_ms)
            .execute(connection)
            .await?;
        Ok(())
    }
}
