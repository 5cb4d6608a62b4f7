//! Resolves an attempt whose end nobody saw, by the word of a named operator.

use prost::Message;
use sqlx::{Connection, Row, SqliteConnection};
use waybill_model::{id::AttemptId, money::Picousd};
use waybill_proto::{admin::v1::EventRow, usage::v1::Event};

use super::{IMMEDIATE, Sqlite, book, query};
use crate::{
    error::{Error, Refusal},
    failpoint,
    resolve::{self, Adjustment},
    sequences::Sequences,
};

impl Sqlite {
    pub(super) async fn adjust(&self, attempt: AttemptId, amount: Picousd, adjustment: Adjustment) -> Result<EventRow, Refusal> {
        adjustment.check(amount)?;
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(IMMEDIATE).await?;
        failpoint::pass("ledger.begin");
        let row = resolve::unresolved(query::terminal(&mut *transaction, attempt).await?, attempt)?;
        let orphan = row.event.unwrap_or_default();
        let adjusted = resolve::adjusted(&orphan, amount);
        self.write_adjustment(&mut transaction, &orphan, &adjusted, &adjustment).await?;
        failpoint::pass("ledger.before_commit");
        transaction.commit().await?;
        failpoint::pass("ledger.after_commit");
        drop(writer);
        Ok(EventRow { event: Some(orphan), adjusted: Some(adjusted), ..row })
    }

    async fn write_adjustment(
        &self,
        connection: &mut SqliteConnection,
        orphan: &Event,
        adjusted: &Event,
        adjustment: &Adjustment,
    ) -> Result<(), Error> {
        let before = book::arrived(connection, &[self.own]).await?.remove(&self.own).unwrap_or_default();
        let sequence = before.highest() + 1;
        let after = Sequences::of(before.ranges().chain([(sequence, sequence)]));
        let payload = adjusted.encode_to_vec();
        let booking = resolve::booking((self.own, sequence), orphan, adjusted, &payload)?;
        let id = book::write(connection, &[booking]).await?;
        book::write_arrived(connection, self.own, &before, &after).await?;
        sqlx::query("INSERT INTO ledger_adjustments (event, operator, reason, unix_us) VALUES (?, ?, ?, ?)")
            .bind(id)
            .bind(adjustment.operator.trim())
            .bind(adjustment.reason.trim())
            .bind(adjustment.unix_us)
            .execute(connection)
            .await?;
        Ok(())
    }

    pub(super) async fn adjustment(&self, attempt: AttemptId) -> Result<Option<Adjustment>, Error> {
        const FIND: &str = "SELECT a.operator, a.reason, a.unix_us FROM ledger_events e JOIN ledger_adjustments a ON a.event = e.id \
            WHERE e.kind = 6 AND e.attempt = ?";
        let row = sqlx::query(FIND).bind(&attempt.as_bytes()[..]).fetch_optional(&self.readers).await?;
        row.map(|row| Ok(Adjustment { operator: row.try_get(0)?, reason: row.try_get(1)?, unix_us: row.try_get(2)? })).transpose()
    }
}
