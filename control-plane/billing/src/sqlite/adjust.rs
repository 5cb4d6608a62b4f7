//! Resolves an attempt whose end nobody saw, by the word of a named operator.

use prost::Message;
use sqlx::{Connection, Row, SqliteConnection};
use waybill_model::{id::AttemptId, money::Picousd};
use waybill_proto::{
    admin::v1::EventRow,
    usage::v1::{Event, Kind, Source},
};

use super::{
    IMMEDIATE, Sqlite,
    book::{self, Booking},
    query,
};
use crate::{
    error::{Error, Refusal},
    failpoint,
    intake::content_hash,
    ledger::post_adjustment,
    resolve::Adjustment,
    sequences::Sequences,
};

impl Sqlite {
    pub(super) async fn adjust(&self, attempt: AttemptId, amount: Picousd, adjustment: Adjustment) -> Result<EventRow, Refusal> {
        adjustment.check()?;
        if amount.0 < 0 {
            return Err(Refusal::NegativeAmount);
        }
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(IMMEDIATE).await?;
        failpoint::pass("ledger.begin");
        let row = orphan(&mut transaction, attempt).await?;
        let orphan = row.event.unwrap_or_default();
        let adjusted = Event {
            attempt: orphan.attempt.clone(),
            kind: Kind::Adjusted.into(),
            source: Source::Operator.into(),
            amount_picousd: amount.0,
            provider_answer_id: orphan.provider_answer_id.clone(),
            model_served: orphan.model_served.clone(),
            outcome: "adjusted".to_owned(),
            ..Event::default()
        };
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
        let attempt = adjusted.attempt.as_ref().ok_or_else(|| Error::Damaged("an orphaned event has no attempt".to_owned()))?;
        let entries = post_adjustment(orphan, adjusted).map_err(|error| Error::Damaged(error.to_string()))?;
        let payload = adjusted.encode_to_vec();
        let booking = Booking {
            identity: (self.own, sequence),
            kind: adjusted.kind,
            ended: Some((adjusted, attempt)),
            entries,
            hash: content_hash(adjusted.kind, &attempt.attempt_id, &payload),
            payload: &payload,
        };
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

/// The event of an attempt that is orphaned and that nobody has resolved.
async fn orphan(connection: &mut SqliteConnection, attempt: AttemptId) -> Result<EventRow, Refusal> {
    let row = query::terminal(connection, attempt).await?.ok_or(Refusal::Unknown(attempt))?;
    let kind = row.event.as_ref().map_or(Kind::Unspecified, Event::kind);
    if kind != Kind::Orphaned {
        let kind = kind.as_str_name().trim_start_matches("KIND_").to_ascii_lowercase();
        return Err(Refusal::NotOrphaned { attempt, kind });
    }
    if row.adjusted.is_some() {
        return Err(Refusal::AlreadyAdjusted(attempt));
    }
    Ok(row)
}
