//! The price versions that events name, so that a bill can be recomputed from the database alone.

use std::collections::HashMap;

use sqlx::{PgConnection, PgExecutor, Row};
use waybill_model::price::Tariff;

use super::{Postgres, work::Work};
use crate::{error::Error, prices};

impl Postgres {
    pub(super) async fn remember_prices(&self, tariffs: &[Tariff]) -> Result<(), Error> {
        if tariffs.is_empty() { Ok(()) } else { self.transact(&Remember(tariffs)).await }
    }

    pub(super) async fn price_versions(&self) -> Result<HashMap<String, Tariff>, Error> {
        let (tariffs, faults) = read(&self.pool).await?;
        faults.into_iter().next().map_or(Ok(tariffs), |fault| Err(Error::Damaged(fault)))
    }
}

struct Remember<'a>(&'a [Tariff]);

impl Work for Remember<'_> {
    type Done = ();
    type Error = Error;

    async fn write(&self, connection: &mut PgConnection, _: u32) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO ledger_price_versions (version, text) SELECT * FROM UNNEST($1::text[], $2::text[]) ORDER BY 1 \
            ON CONFLICT DO NOTHING";
        sqlx::query(INSERT)
            .bind(self.0.iter().map(|tariff| tariff.version().as_str().to_owned()).collect::<Vec<_>>())
            .bind(self.0.iter().map(Tariff::to_text).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// The tariffs whose text is what their version says, and the faults of the others.
pub async fn read(connection: impl PgExecutor<'_>) -> Result<(HashMap<String, Tariff>, Vec<String>), Error> {
    let rows = sqlx::query("SELECT version, text FROM ledger_price_versions ORDER BY version").fetch_all(connection).await?;
    let rows: Result<Vec<(String, String)>, sqlx::Error> = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
    Ok(prices::sorted(rows?))
}
