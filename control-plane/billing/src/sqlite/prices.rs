//! The price versions that events name, so that a bill can be recomputed from the database alone.

use std::collections::HashMap;

use sqlx::Row;
use waybill_model::price::Tariff;

use super::{Sqlite, bulk};
use crate::{error::Error, prices};

impl Sqlite {
    pub(super) async fn remember_prices(&self, tariffs: &[Tariff]) -> Result<(), Error> {
        let mut writer = self.writer().await?;
        const HEAD: &str = "INSERT INTO ledger_price_versions (version, text)";
        // One statement is one transaction, and a version that was kept twice is kept once.
        bulk::insert(&mut writer, HEAD, tariffs, "ON CONFLICT DO NOTHING", |values, tariff| {
            values.push_bind(tariff.version().as_str().to_owned()).push_bind(tariff.to_text());
        })
        .await?;
        Ok(())
    }

    pub(super) async fn price_versions(&self) -> Result<HashMap<String, Tariff>, Error> {
        let (tariffs, faults) = self.read_prices().await?;
        faults.into_iter().next().map_or(Ok(tariffs), |fault| Err(Error::Damaged(fault)))
    }

    /// The tariffs whose text is what their version says, and the faults of the others.
    pub(super) async fn read_prices(&self) -> Result<(HashMap<String, Tariff>, Vec<String>), Error> {
        let rows = sqlx::query("SELECT version, text FROM ledger_price_versions ORDER BY version").fetch_all(&self.readers).await?;
        let rows: Result<Vec<(String, String)>, sqlx::Error> = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        Ok(prices::sorted(rows?))
    }
}
