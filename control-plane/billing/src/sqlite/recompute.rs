//! Prices every event again: one snapshot, read page by page beside the writer.

use std::collections::HashMap;

use prost::Message;
use sqlx::Row;
use waybill_model::price::Tariff;
use waybill_proto::{admin::v1::RecomputeResponse, usage::v1::Event};

use super::{
    Sqlite,
    verify::{PAGE, attempt_text, listed, name},
};
use crate::{
    contract::Prices,
    error::Error,
    reprice::{Repriced, reprice},
};

impl Sqlite {
    pub(super) async fn recompute(&self, price: &Prices<'_>) -> Result<RecomputeResponse, Error> {
        let mut snapshot = self.readers.begin().await?;
        let mut tariffs: HashMap<String, Option<Tariff>> = HashMap::new();
        let mut answer = RecomputeResponse::default();
        let (mut differences, mut last) = (Vec::new(), 0_i64);
        loop {
            const FIND: &str =
                "SELECT id, incarnation, sequence, payload FROM ledger_events WHERE id > ? AND kind <> 7 ORDER BY id LIMIT ?";
            let rows = sqlx::query(FIND).bind(last).bind(PAGE).fetch_all(&mut *snapshot).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                last = row.try_get(0)?;
                answer.events += 1;
                let Ok(event) = Event::decode(row.try_get::<&[u8], _>(3)?) else {
                    differences.push(format!("{}: the payload cannot be decoded", name(row.try_get(1)?, row.try_get(2)?)));
                    continue;
                };
                let version = event.attempt.as_ref().map_or("", |attempt| &attempt.price_version);
                if !tariffs.contains_key(version) {
                    tariffs.insert(version.to_owned(), if version.is_empty() { None } else { price(version) });
                }
                let tariff = tariffs.get(version).and_then(Option::as_ref);
                match reprice(&event, tariff) {
                    Repriced::Same => {}
                    Repriced::Unpriced => answer.unpriced += 1,
                    Repriced::Different(all) => {
                        let name = name(row.try_get(1)?, row.try_get(2)?);
                        differences.extend(all.into_iter().map(|difference| format!("{name}, {}: {difference}", attempt_text(&event))));
                    }
                }
            }
        }
        answer.differences = listed(differences);
        Ok(answer)
    }
}
