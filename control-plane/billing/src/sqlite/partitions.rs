//! Partitions of the topic: who owns them, how far they were read, and who let one go on elsewhere.

use sqlx::{Connection, Row};

use super::{IMMEDIATE, Sqlite};
use crate::{
    error::{Error, Refusal},
    progress::{Assignment, Partition},
    resolve::Reset,
};

impl Sqlite {
    pub(super) async fn assign(&self, topic: &str, partition: i32) -> Result<Assignment, Error> {
        const ASSIGN: &str = "INSERT INTO ledger_partitions (topic, partition, epoch) VALUES (?, ?, 1) \
            ON CONFLICT (topic, partition) DO UPDATE SET epoch = epoch + 1 RETURNING epoch, next_offset";
        let mut writer = self.writer().await?;
        let row = sqlx::query(ASSIGN).bind(topic).bind(partition).fetch_one(&mut *writer).await?;
        Ok(Assignment { epoch: row.try_get::<i64, _>(0)?.cast_unsigned(), next_offset: row.try_get(1)? })
    }

    pub(super) async fn partitions(&self, topic: &str) -> Result<Vec<Partition>, Error> {
        const FIND: &str = "SELECT partition, epoch, next_offset FROM ledger_partitions WHERE topic = ? ORDER BY partition";
        let rows = sqlx::query(FIND).bind(topic).fetch_all(&self.readers).await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Partition { partition: row.try_get(0)?, epoch: row.try_get::<i64, _>(1)?.cast_unsigned(), next_offset: row.try_get(2)? })
        };
        rows.iter().map(read).collect()
    }

    pub(super) async fn reset(&self, reset: &Reset) -> Result<(), Refusal> {
        const FIND: &str = "SELECT next_offset FROM ledger_partitions WHERE topic = ? AND partition = ?";
        const MOVE: &str = "UPDATE ledger_partitions SET epoch = epoch + 1, next_offset = ? WHERE topic = ? AND partition = ?";
        const NOTE: &str = "INSERT INTO ledger_resets (topic, partition, from_offset, to_offset, operator, reason, unix_ms) \
            VALUES (?, ?, ?, ?, ?, ?, ?)";
        reset.check()?;
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(IMMEDIATE).await?;
        let found = sqlx::query(FIND).bind(&reset.topic).bind(reset.partition).fetch_optional(&mut *transaction).await?;
        reset.stands(found.map(|row| row.try_get::<Option<i64>, _>(0)).transpose()?)?;
        sqlx::query(MOVE).bind(reset.to).bind(&reset.topic).bind(reset.partition).execute(&mut *transaction).await?;
        sqlx::query(NOTE)
            .bind(&reset.topic)
            .bind(reset.partition)
            .bind(reset.from)
            .bind(reset.to)
            .bind(reset.operator.trim())
            .bind(reset.reason.trim())
            .bind(reset.unix_ms)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn resets(&self, topic: &str) -> Result<Vec<Reset>, Error> {
        const FIND: &str = "SELECT topic, partition, from_offset, to_offset, operator, reason, unix_ms FROM ledger_resets \
            WHERE topic = ? ORDER BY id";
        let rows = sqlx::query(FIND).bind(topic).fetch_all(&self.readers).await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
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
