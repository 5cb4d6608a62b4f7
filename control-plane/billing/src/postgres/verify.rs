//! Checks the ledger against itself, and prices its events again: one snapshot, read page by page beside the writers.

use std::collections::HashMap;

use sqlx::{PgConnection, Row, postgres::PgRow};
use waybill_proto::{
    admin::v1::{RecomputeResponse, VerifyResponse},
    usage::v1::Event,
};

use super::{Postgres, amount, answer, logs, prices, query};
use crate::{
    audit::{Audit, Form, Kept},
    contract::Prices,
    error::Error,
    recount::Recount,
    row::Stored,
    usage::Scope,
};

/// Events of one page.
const PAGE: i64 = 1_000;

/// A transaction that is taken back leaves a hole among the ids.
const FORM: Form = Form { dense_ids: false, answer };

impl Postgres {
    pub(super) async fn verify(&self) -> Result<VerifyResponse, Error> {
        const ACCOUNTS: &str = "SELECT a.id, a.name, coalesce(sum(b.amount), 0)::text FROM ledger_accounts a \
            LEFT JOIN ledger_balances b ON b.account = a.id GROUP BY a.id";
        let mut snapshot = self.snapshot().await?;
        let (_, price_faults) = prices::read(&mut *snapshot).await?;
        let mut accounts = HashMap::new();
        for row in sqlx::query(ACCOUNTS).fetch_all(&mut *snapshot).await? {
            accounts.insert(row.try_get(0)?, (row.try_get(1)?, amount(row.try_get(2)?)?));
        }
        let mut audit = Audit::begin(self.own, accounts, price_faults, FORM);
        let mut last = 0;
        loop {
            let page = page(&mut snapshot, last).await?;
            let (Some(first), Some(end)) = (page.first(), page.last()) else { break };
            let postings = postings(&mut snapshot, first.id, end.id).await?;
            last = end.id;
            for row in &page {
                let orphan = orphan(&mut snapshot, row).await?;
                audit.event(row, postings.get(&row.id).map_or(&[], Vec::as_slice), orphan.as_ref());
            }
        }
        let kept = kept(&mut snapshot).await?;
        snapshot.end().await?;
        Ok(audit.finish(kept))
    }

    pub(super) async fn recompute(&self, price: &Prices<'_>) -> Result<RecomputeResponse, Error> {
        const FIND: &str = "SELECT id, incarnation, sequence, payload FROM ledger_events WHERE id > $1 AND kind <> 7 ORDER BY id LIMIT $2";
        let mut snapshot = self.snapshot().await?;
        let (mut recount, mut last) = (Recount::begin(price), 0_i64);
        loop {
            let rows = sqlx::query(FIND).bind(last).bind(PAGE).fetch_all(&mut *snapshot).await?;
            let Some(end) = rows.last() else { break };
            last = end.try_get(0)?;
            for row in &rows {
                recount.event(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            }
        }
        snapshot.end().await?;
        Ok(recount.finish())
    }
}

async fn page(snapshot: &mut PgConnection, last: i64) -> Result<Vec<Stored>, Error> {
    const FIND: &str = "SELECT * FROM ledger_events WHERE id > $1 ORDER BY id LIMIT $2";
    let rows = sqlx::query(FIND).bind(last).bind(PAGE).fetch_all(snapshot).await?;
    Ok(rows.iter().map(stored).collect::<Result<_, _>>()?)
}

fn stored(row: &PgRow) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        id: row.try_get("id")?,
        incarnation: row.try_get("incarnation")?,
        sequence: row.try_get("sequence")?,
        kind: row.try_get::<i16, _>("kind")?.into(),
        attempt: row.try_get::<Option<_>, _>("attempt")?.unwrap_or_default(),
        generation: row.try_get::<Option<_>, _>("generation")?.unwrap_or_default(),
        number: row.try_get("number")?,
        scope: Scope { org: row.try_get("org")?, workspace: row.try_get("workspace")?, api_key: row.try_get("api_key")? },
        model: row.try_get("model")?,
        answer: row.try_get::<Option<_>, _>("answer")?.unwrap_or_default(),
        amount: row.try_get("amount")?,
        hash: row.try_get("hash")?,
        payload: row.try_get("payload")?,
    })
}

/// (account, amount) by event, of the events from `first` to `last`.
async fn postings(snapshot: &mut PgConnection, first: i64, last: i64) -> Result<HashMap<i64, Vec<(i64, i64)>>, Error> {
    const FIND: &str = "SELECT event, account, amount FROM ledger_postings WHERE event BETWEEN $1 AND $2";
    let mut postings: HashMap<i64, Vec<(i64, i64)>> = HashMap::new();
    for row in sqlx::query(FIND).bind(first).bind(last).fetch_all(snapshot).await? {
        postings.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, row.try_get(2)?));
    }
    Ok(postings)
}

async fn orphan(snapshot: &mut PgConnection, row: &Stored) -> Result<Option<Event>, Error> {
    match Audit::needs(row) {
        Some(attempt) => Ok(query::terminal(snapshot, attempt).await?.and_then(|row| row.event)),
        None => Ok(None),
    }
}

async fn kept(snapshot: &mut PgConnection) -> Result<Kept, Error> {
    const USAGE: &str =
        "SELECT org, workspace, api_key, day, sum(amount)::text FROM ledger_key_usage GROUP BY org, workspace, api_key, day";
    let mut kept = Kept { attempt_faults: attempt_faults(snapshot).await?, ..Kept::default() };
    for (count, find) in [
        (&mut kept.events, "SELECT count(*) FROM ledger_events"),
        (&mut kept.counted, "SELECT coalesce(sum(events), 0)::int8 FROM ledger_counts"),
        (&mut kept.postings, "SELECT count(*) FROM ledger_postings"),
        (&mut kept.attempts, "SELECT count(DISTINCT attempt) FROM ledger_events WHERE kind BETWEEN 2 AND 5"),
    ] {
        *count = sqlx::query_scalar::<_, i64>(find).fetch_one(&mut *snapshot).await?.cast_unsigned();
    }
    for row in sqlx::query(USAGE).fetch_all(&mut *snapshot).await? {
        let scope = Scope { org: row.try_get(0)?, workspace: row.try_get(1)?, api_key: row.try_get(2)? };
        kept.spend.push(((scope, row.try_get(3)?), amount(row.try_get(4)?)?));
    }
    for row in sqlx::query("SELECT incarnation, sequence FROM ledger_quarantine").fetch_all(&mut *snapshot).await? {
        kept.set_aside.push((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get::<i64, _>(1)?.cast_unsigned()));
    }
    kept.incarnations = query::incarnations(snapshot).await?;
    kept.written_off = logs::written_off(snapshot).await?;
    Ok(kept)
}

async fn attempt_faults(snapshot: &mut PgConnection) -> Result<Vec<(Vec<u8>, &'static str)>, Error> {
    let mut faults = Vec::new();
    for (find, fault) in [
        (
            "SELECT attempt FROM ledger_events WHERE kind BETWEEN 2 AND 5 GROUP BY attempt HAVING count(*) > 1",
            "it has more than one terminal event",
        ),
        ("SELECT attempt FROM ledger_events WHERE kind = 6 GROUP BY attempt HAVING count(*) > 1", "it was adjusted more than once"),
        (
            "SELECT attempt FROM ledger_events a WHERE kind = 6 \
                 AND NOT EXISTS (SELECT 1 FROM ledger_events o WHERE o.kind = 5 AND o.attempt = a.attempt)",
            "it was adjusted and is not orphaned",
        ),
    ] {
        for row in sqlx::query(find).fetch_all(&mut *snapshot).await? {
            faults.push((row.try_get(0)?, fault));
        }
    }
    Ok(faults)
}
