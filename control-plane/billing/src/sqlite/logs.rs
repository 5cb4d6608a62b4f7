//! What proxies say of their logs, what is missing of them, and what an operator has written off.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteRow};
use waybill_proto::{sync::v1::LogReport, usage::v1::Event};

use super::{
    IMMEDIATE, Sqlite, bits, book,
    bulk::{self, Lookup},
    query,
};
use crate::{
    error::{Error, Refusal},
    gaps::{self, Gap, Log, Reported},
    resolve::WriteOff,
    sequences::ranges_text,
};

/// Reports by log.
pub const REPORTED: Lookup = Lookup {
    head: "SELECT incarnation, proxy, process, last_sequence, closed, seen_ms, mark_sequence, mark_ms FROM ledger_logs WHERE incarnation IN",
    tail: "",
};

/// How far logs are written off.
pub const WRITTEN_OFF: Lookup =
    Lookup { head: "SELECT incarnation, max(last_sequence) FROM ledger_write_offs WHERE incarnation IN", tail: "GROUP BY incarnation" };

impl Sqlite {
    pub(super) async fn note_logs(&self, proxy: &str, process: u64, logs: &[LogReport], unix_ms: i64) -> Result<(), Error> {
        let incarnations: Vec<u64> = logs.iter().map(|log| log.incarnation).filter(|incarnation| *incarnation != self.own).collect();
        if incarnations.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(IMMEDIATE).await?;
        let arrived = book::arrived(&mut transaction, &incarnations).await?;
        let written_off = written_off(&mut transaction, &incarnations).await?;
        let mut reported = reported(&mut transaction, &incarnations).await?;
        let mut rows: BTreeMap<u64, Reported> = BTreeMap::new();
        for report in logs.iter().filter(|log| log.incarnation != self.own) {
            let incarnation = report.incarnation;
            let known = rows.remove(&incarnation).or_else(|| reported.remove(&incarnation)).unwrap_or_default();
            let arrived = arrived.get(&incarnation).cloned().unwrap_or_default();
            let log = Log { arrived, written_off: written_off.get(&incarnation).copied(), ..Log::default() };
            rows.insert(incarnation, known.with(proxy, process, report, log.settled().watermark(), unix_ms));
        }
        write_reported(&mut transaction, &Vec::from_iter(rows)).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn gaps(&self, now_unix_ms: i64) -> Result<Vec<Gap>, Error> {
        let mut snapshot = self.readers.begin().await?;
        let mut gaps = Vec::new();
        for log in logs(&mut snapshot, self.own).await? {
            gaps.extend(gap(&mut snapshot, &log, now_unix_ms).await?);
        }
        gaps::oldest_first(&mut gaps);
        Ok(gaps)
    }

    pub(super) async fn write_off(&self, incarnation: u64, word: WriteOff) -> Result<Gap, Refusal> {
        word.check()?;
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(IMMEDIATE).await?;
        let log = logs(&mut transaction, self.own).await?.into_iter().find(|log| log.incarnation == incarnation);
        let Some(gap) = gap(&mut transaction, &log.unwrap_or_default(), word.unix_ms).await? else {
            return Err(Refusal::NoGap(incarnation));
        };
        sqlx::query(
            "INSERT INTO ledger_write_offs (incarnation, last_sequence, missing, operator, reason, unix_ms) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(bits(incarnation))
        .bind(bits(gap.last_sequence))
        .bind(ranges_text(&gap.missing, usize::MAX))
        .bind(word.operator.trim())
        .bind(word.reason.trim())
        .bind(word.unix_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(gap)
    }
}

/// All logs but the ledger's own that somebody has spoken of, in the order of their numbers.
async fn logs(connection: &mut SqliteConnection, own: u64) -> Result<Vec<Log>, Error> {
    let mut logs: BTreeMap<u64, Log> = BTreeMap::new();
    for (incarnation, arrived) in query::sequences(connection).await? {
        logs.entry(incarnation).or_default().arrived = arrived;
    }
    for (incarnation, closed) in query::ends(connection).await? {
        logs.entry(incarnation).or_default().closed = Some(closed);
    }
    for row in sqlx::query("SELECT incarnation, max(last_sequence) FROM ledger_write_offs GROUP BY incarnation")
        .fetch_all(&mut *connection)
        .await?
    {
        let [incarnation, last] = [row.try_get(0)?, row.try_get(1)?].map(i64::cast_unsigned);
        logs.entry(incarnation).or_default().written_off = Some(last);
    }
    // Of each proxy the process that reported last lives; an earlier one does not.
    const ALL: &str = "SELECT l.incarnation, l.proxy, l.process, l.last_sequence, l.closed, l.seen_ms, l.mark_sequence, l.mark_ms, \
        EXISTS (SELECT 1 FROM ledger_logs n WHERE n.proxy = l.proxy AND n.seen_ms > l.seen_ms AND n.process <> l.process) FROM ledger_logs l";
    for row in sqlx::query(ALL).fetch_all(connection).await? {
        let (incarnation, reported) = read_reported(&row)?;
        let log = logs.entry(incarnation).or_default();
        (log.reported, log.succeeded) = (Some(reported), row.try_get(8)?);
    }
    logs.remove(&own);
    Ok(logs.into_iter().map(|(incarnation, log)| Log { incarnation, ..log }).collect())
}

/// The gap of a log. Where no proxy has told since when, the next event behind what is missing does: it ended later.
async fn gap(connection: &mut SqliteConnection, log: &Log, now_unix_ms: i64) -> Result<Option<Gap>, Error> {
    let Some(mut gap) = log.gap(now_unix_ms) else { return Ok(None) };
    if gap.since_unix_ms.is_none() {
        gap.since_unix_ms = ended(connection, gap.incarnation, gap.first_in_question()).await?;
    }
    Ok(gap.is_late(now_unix_ms).then_some(gap))
}

/// When the event with this number or the next one above it ended, milliseconds since 1970; if there is none, the next one below.
async fn ended(connection: &mut SqliteConnection, incarnation: u64, sequence: u64) -> Result<Option<i64>, Error> {
    const ABOVE: &str =
        "SELECT payload FROM ledger_events WHERE incarnation = ?1 AND sequence >= ?2 AND kind <> 7 ORDER BY sequence LIMIT 1";
    const BELOW: &str =
        "SELECT payload FROM ledger_events WHERE incarnation = ?1 AND sequence < ?2 AND kind <> 7 ORDER BY sequence DESC LIMIT 1";
    for find in [ABOVE, BELOW] {
        let found: Option<Vec<u8>> =
            sqlx::query_scalar(find).bind(bits(incarnation)).bind(bits(sequence)).fetch_optional(&mut *connection).await?;
        if let Some(event) = found.and_then(|payload| Event::decode(&payload[..]).ok()) {
            return Ok(gaps::end_of(&event));
        }
    }
    Ok(None)
}

async fn reported(connection: &mut SqliteConnection, incarnations: &[u64]) -> Result<HashMap<u64, Reported>, Error> {
    let rows = bulk::find(connection, REPORTED, incarnations, |values, incarnation| {
        values.push_bind(bits(*incarnation));
    })
    .await?;
    rows.iter().map(|row| Ok(read_reported(row)?)).collect()
}

fn read_reported(row: &SqliteRow) -> Result<(u64, Reported), sqlx::Error> {
    let number = |column| row.try_get::<i64, usize>(column).map(i64::cast_unsigned);
    let reported = Reported {
        proxy: row.try_get(1)?,
        process: number(2)?,
        last_sequence: number(3)?,
        closed: row.try_get(4)?,
        seen_unix_ms: row.try_get(5)?,
        mark_sequence: number(6)?,
        mark_unix_ms: row.try_get(7)?,
    };
    Ok((number(0)?, reported))
}

async fn write_reported(connection: &mut SqliteConnection, rows: &[(u64, Reported)]) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO ledger_logs (incarnation, proxy, process, last_sequence, closed, seen_ms, mark_sequence, mark_ms)";
    const UPSERT: &str = "ON CONFLICT (incarnation) DO UPDATE SET proxy = excluded.proxy, process = excluded.process, \
        last_sequence = excluded.last_sequence, closed = excluded.closed, seen_ms = excluded.seen_ms, mark_sequence = excluded.mark_sequence, \
        mark_ms = excluded.mark_ms";
    bulk::insert(connection, HEAD, rows, UPSERT, |values, (incarnation, reported)| {
        values.push_bind(bits(*incarnation)).push_bind(reported.proxy.clone()).push_bind(bits(reported.process));
        values.push_bind(bits(reported.last_sequence)).push_bind(reported.closed).push_bind(reported.seen_unix_ms);
        values.push_bind(bits(reported.mark_sequence)).push_bind(reported.mark_unix_ms);
    })
    .await?;
    Ok(())
}

/// The numbers up to which logs are written off.
pub async fn written_off(connection: &mut SqliteConnection, incarnations: &[u64]) -> Result<HashMap<u64, u64>, Error> {
    let rows = bulk::find(connection, WRITTEN_OFF, incarnations, |values, incarnation| {
        values.push_bind(bits(*incarnation));
    })
    .await?;
    rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get::<i64, _>(1)?.cast_unsigned()))).collect()
}

/// The same of all logs.
pub async fn all_written_off(connection: &mut SqliteConnection) -> Result<HashMap<u64, u64>, Error> {
    const FIND: &str = "SELECT incarnation, max(last_sequence) FROM ledger_write_offs GROUP BY incarnation";
    let rows = sqlx::query(FIND).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get::<i64, _>(1)?.cast_unsigned()))).collect()
}
