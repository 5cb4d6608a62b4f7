//! Prices every event again: one snapshot, read page by page beside the writer.

use sqlx::Row;
use waybill_proto::admin::v1::RecomputeResponse;

use super::{Sqlite, verify::PAGE};
use crate::{contract::Prices, error::Error, recount::Recount};

impl Sqlite {
    pub(super) async fn recompute(&self, price: &Prices<'_>) -> Result<RecomputeResponse, Error> {
        const FIND: &str = "SELECT id, incarnation, sequence, payload FROM ledger_events WHERE id > ? AND kind <> 7 ORDER BY id LIMIT ?";
        let mut snapshot = self.readers.begin().await?;
        let (mut recount, mut last) = (Recount::begin(price), 0_i64);
        loop {
            let rows = sqlx::query(FIND).bind(last).bind(PAGE).fetch_all(&mut *snapshot).await?;
            let Some(end) = rows.last() else { return Ok(recount.finish()) };
            last = end.try_get(0)?;
            for row in &rows {
                recount.event(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            }
        }
    }
}
