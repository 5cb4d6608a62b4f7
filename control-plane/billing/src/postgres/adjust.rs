//! Resolves an attempt whose end nobody saw, by the word of a named operator.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use prost::Message;
use sqlx::{PgConnection, Row};
use waybill_model::{id::AttemptId, money::Picousd};
use waybill_proto::{admin::v1::EventRow, usage::v1::Event};

use super::{
    Postgres,
    book::{self, NO_PARTITION},
    plain, query,
    work::Work,
};
use crate::{
    error::{Error, Refusal},
    failpoint,
    resolve::{self, Adjustment},
    sequences::Sequences,
};

impl Postgres {
    pub(super) async fn adjust(&self, attempt: AttemptId, amount: Picousd, word: Adjustment) -> Result<EventRow, Refusal> {
        word.check(amount)?;
        let row = self.transact(&Adjust { ledger: self, attempt, amount, word: &word }).await?;
        failpoint::pass("ledger.after_commit");
        Ok(row)
    }

    pub(super) async fn adjustment(&self, attempt: AttemptId) -> Result<Option<Adjustment>, Error> {
        const FIND: &str = "SELECT a.operator, a.reason, a.unix_us FROM ledger_events e JOIN ledger_adjustments a ON a.event = e.id \
            WHERE e.kind = 6 AND e.attempt = $1";
        let row = sqlx::query(FIND).bind(&attempt.as_bytes()[..]).fetch_optional(&self.pool).await?;
        row.map(|row| Ok(Adjustment { operator: row.try_get(0)?, reason: row.try_get(1)?, unix_us: row.try_get(2)? })).transpose()
    }
}

struct Adjust<'a> {
    ledger: &'a Postgres,
    attempt: AttemptId,
    amount: Picousd,
    word: &'a Adjustment,
}

impl Work for Adjust<'_> {
    type Done = EventRow;
    type Error = Refusal;

    async fn write(&self, connection: &mut PgConnection, _: u32) -> Result<EventRow, Refusal> {
        failpoint::pass("ledger.begin");
        // Who adjusts holds the ledger's own log, so that of two operators the second sees the word of the first.
        book::lock(connection, &[self.ledger.own]).await?;
        let row = resolve::unresolved(query::terminal(connection, self.attempt).await?, self.attempt)?;
        let orphan = row.event.unwrap_or_default();
        let adjusted = resolve::adjusted(&orphan, self.amount);
        self.book(connection, &orphan, &adjusted).await?;
        failpoint::pass("ledger.before_commit");
        Ok(EventRow { event: Some(orphan), adjusted: Some(adjusted), ..row })
    }
}

impl Adjust<'_> {
    async fn book(&self, connection: &mut PgConnection, orphan: &Event, adjusted: &Event) -> Result<(), Error> {
        let own = self.ledger.own;
        let before = book::arrived(connection, &[own]).await?;
        let sequence = before.get(&own).map_or(0, Sequences::highest) + 1;
        let ranges = before.get(&own).into_iter().flat_map(Sequences::ranges);
        let after = BTreeMap::from([(own, Sequences::of(ranges.chain([(sequence, sequence)])))]);
        let payload = adjusted.encode_to_vec();
        let booking = resolve::booking((own, sequence), orphan, adjusted, &payload)?;
        let known = Arc::clone(&self.ledger.accounts.read().unwrap_or_else(PoisonError::into_inner));
        let (ids, _) = book::write(connection, &[booking], NO_PARTITION, &known).await?;
        book::write_arrived(connection, &before, &after).await?;
        sqlx::query("INSERT INTO ledger_adjustments (event, operator, reason, unix_us) SELECT * FROM UNNEST($1::int8[], $2::text[], $3::text[], $4::int8[])")
            .bind(ids)
            .bind(vec![plain(self.word.operator.trim())])
            .bind(vec![plain(self.word.reason.trim())])
            .bind(vec![self.word.unix_us])
            .execute(connection)
            .await?;
        Ok(())
    }
}
