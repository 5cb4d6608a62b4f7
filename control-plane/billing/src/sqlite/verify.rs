//! Checks the ledger against itself: one snapshot, read page by page beside the writer.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use waybill_proto::{admin::v1::VerifyResponse, usage::v1::Event};

use super::{Sqlite, amount, logs, query};
use crate::{
    audit::{Audit, Form, Kept},
    error::Error,
    row::Stored,
    usage::Scope,
};

/// Events of one page.
pub const PAGE: i64 = 1_000;

const FORM: Form = Form { dense_ids: true, answer: |answer| answer.as_bytes().to_vec() };

impl Sqlite {
    pub(super) async fn verify(&self) -> Result<VerifyResponse, Error> {
        let (_, price_faults) = self.read_prices().await?;
        let mut snapshot = self.readers.begin().await?;
        let mut accounts = HashMap::new();
        for row in sqlx::query("SELECT id, name, balance FROM ledger_accounts").fetch_all(&mut *snapshot).await? {
            accounts.insert(row.try_get(0)?, (row.try_get(1)?, amount(row.try_get(2)?)?));
        }
        let mut audit = Audit::begin(self.own, accounts, price_faults, FORM);
        // A page that lies whole in a hole of the ids (they have none, unless somebody made one) ends the pass, and the counts differ.
        let mut first = 1;
        loop {
            let page = page(&mut snapshot, first).await?;
            if page.is_empty() {
                break;
            }
            let postings = postings(&mut snapshot, first, first + PAGE).await?;
            for row in &page {
                let orphan = orphan(&mut snapshot, row).await?;
                audit.event(row, postings.get(&row.id).map_or(&[], Vec::as_slice), orphan.as_ref());
            }
            first += PAGE;
        }
        Ok(audit.finish(kept(&mut snapshot).await?))
    }
}

async fn page(snapshot: &mut SqliteConnection, first: i64) -> Result<Vec<Stored>, Error> {
    const FIND: &str = "SELECT * FROM ledger_events WHERE id >= ? AND id < ? ORDER BY id";
    let rows = sqlx::query(FIND).bind(first).bind(first + PAGE).fetch_all(snapshot).await?;
    Ok(rows.iter().map(stored).collect::<Result<_, _>>()?)
}

fn stored(row: &SqliteRow) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        id: row.try_get("id")?,
        incarnation: row.try_get("incarnation")?,
        sequence: row.try_get("sequence")?,
        kind: row.try_get("kind")?,
        attempt: row.try_get::<Option<_>, _>("attempt")?.unwrap_or_default(),
        generation: row.try_get::<Option<_>, _>("generation")?.unwrap_or_default(),
        number: row.try_get("number")?,
        scope: Scope { org: row.try_get("org")?, workspace: row.try_get("workspace")?, api_key: row.try_get("api_key")? },
        model: row.try_get("model")?,
        answer: row.try_get::<Option<String>, _>("answer")?.unwrap_or_default().into_bytes(),
        amount: row.try_get("amount")?,
        hash: row.try_get("hash")?,
        payload: row.try_get("payload")?,
    })
}

/// (account, amount) by event, of the events from `first` up to `end`, which is not one of them.
async fn postings(snapshot: &mut SqliteConnection, first: i64, end: i64) -> Result<HashMap<i64, Vec<(i64, i64)>>, Error> {
    const FIND: &str = "SELECT event, account, amount FROM ledger_postings WHERE event >= ? AND event < ?";
    let mut postings: HashMap<i64, Vec<(i64, i64)>> = HashMap::new();
    for row in sqlx::query(FIND).bind(first).bind(end).fetch_all(snapshot).await? {
        postings.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, row.try_get(2)?));
    }
    Ok(postings)
}

async fn orphan(snapshot: &mut SqliteConnection, row: &Stored) -> Result<Option<Event>, Error> {
    match Audit::needs(row) {
        Some(attempt) => Ok(query::terminal(snapshot, attempt).await?.and_then(|row| row.event)),
        None => Ok(None),
    }
}

async fn kept(snapshot: &mut SqliteConnection) -> Result<Kept, Error> {
    let mut kept = Kept { attempt_faults: attempt_faults(snapshot).await?, ..Kept::default() };
    for (count, find) in [
        (&mut kept.events, "SELECT count(*) FROM ledger_events"),
        (&mut kept.counted, "SELECT coalesce(max(id), 0) FROM ledger_events"),
        (&mut kept.postings, "SELECT count(*) FROM ledger_postings"),
        (&mut kept.attempts, "SELECT count(DISTINCT attempt) FROM ledger_events WHERE kind BETWEEN 2 AND 5"),
    ] {
        *count = sqlx::query_scalar::<_, i64>(find).fetch_one(&mut *snapshot).await?.cast_unsigned();
    }
    for row in sqlx::query("SELECT org, workspace, api_key, day, amount FROM ledger_key_usage").fetch_all(&mut *snapshot).await? {
        let scope = Scope { org: row.try_get(0)?, workspace: row.try_get(1)?, api_key: row.try_get(2)? };
        kept.spend.push(((scope, row.try_get(3)?), amount(row.try_get(4)?)?));
    }
    for row in sqlx::query("SELECT incarnation, sequence FROM ledger_quarantine").fetch_all(&mut *snapshot).await? {
        kept.set_aside.push((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get::<i64, _>(1)?.cast_unsigned()));
    }
    kept.incarnations = query::incarnations(snapshot).await?;
    kept.written_off = logs::all_written_off(snapshot).await?;
    Ok(kept)
}

async fn attempt_faults(snapshot: &mut SqliteConnection) -> Result<Vec<(Vec<u8>, &'static str)>, Error> {
    let mut faults = Vec::new();
    for (find, fault) in [
        (
            "SELECT attempt FROM ledger_events WHERE kind BETWEEN 2 AND 5 GROUP BY attempt HAVING count(*) > 1",
            "it has more than one terminal event",
        ),
        ("SELECT attempt FROM ledger_events WHERE kind = 6 GROUP BY attempt HAVING count(*) > 1", "it was adjusted more than once"),
        (
            "SELECT attempt FROM ledger_events a WHERE kind = 6 \
                 AND NOT EXISTS (SELECT 1 FROM ledger_events o WHERE o.kind = 5 AND o.kind BETWEEN 2 AND 5 AND o.attempt = a.attempt)",
            "it was adjusted and is not orphaned",
        ),
    ] {
        for row in sqlx::query(find).fetch_all(&mut *snapshot).await? {
            faults.push((row.try_get(0)?, fault));
        }
    }
    Ok(faults)
}
