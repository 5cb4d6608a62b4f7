//! What proxies say of their logs, what is missing of them, and what an operator has written off.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use waybill_proto::{sync::v1::LogReport, usage::v1::Event};

use super::{Postgres, bits, book, plain, query, work::Work};
use crate::{
    error::{Error, Refusal},
    gaps::{self, Gap, Log, Reported},
    resolve::WriteOff,
    sequences::ranges_text,
};

impl Postgres {
    pub(super) async fn note_logs(&self, proxy: &str, process: u64, logs: &[LogReport], unix_ms: i64) -> Result<(), Error> {
        let logs: Vec<LogReport> = logs.iter().filter(|log| log.incarnation != self.own).copied().collect();
        let proxy = plain(proxy);
        if logs.is_empty() { Ok(()) } else { self.transact(&Note { proxy: &proxy, process, logs: &logs, unix_ms }).await }
    }

    pub(super) async fn gaps(&self, now_unix_ms: i64) -> Result<Vec<Gap>, Error> {
        let mut snapshot = self.snapshot().await?;
        let mut gaps = Vec::new();
        for log in logs(&mut snapshot, self.own).await? {
            gaps.extend(gap(&mut snapshot, &log, now_unix_ms).await?);
        }
        snapshot.end().await?;
        gaps::oldest_first(&mut gaps);
        Ok(gaps)
    }

    pub(super) async fn write_off(&self, incarnation: u64, word: WriteOff) -> Result<Gap, Refusal> {
        word.check()?;
        self.transact(&Lose { own: self.own, incarnation, word: &word }).await
    }
}

struct Note<'a> {
    proxy: &'a str,
    process: u64,
    logs: &'a [LogReport],
    unix_ms: i64,
}

impl Work for Note<'_> {
    type Done = ();
    type Error = Error;

    async fn write(&self, connection: &mut PgConnection, _: u32) -> Result<(), Error> {
        // Two replicas may hear of a proxy at once: they take turns.
        const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('ledger_logs/' || $1, 0))";
        sqlx::query(LOCK).bind(self.proxy).execute(&mut *connection).await?;
        let incarnations: Vec<u64> = self.logs.iter().map(|log| log.incarnation).collect();
        let arrived = book::arrived(connection, &incarnations).await?;
        let written_off = written_off(&mut *connection).await?;
        let mut reported = reported(connection, &incarnations).await?;
        let mut rows: BTreeMap<u64, Reported> = BTreeMap::new();
        for report in self.logs {
            let incarnation = report.incarnation;
            let known = rows.remove(&incarnation).or_else(|| reported.remove(&incarnation)).unwrap_or_default();
            let arrived = arrived.get(&incarnation).cloned().unwrap_or_default();
            let log = Log { arrived, written_off: written_off.get(&incarnation).copied(), ..Log::default() };
            rows.insert(incarnation, known.with(self.proxy, self.process, report, log.settled().watermark(), self.unix_ms));
        }
        write_reported(connection, &rows).await
    }
}

struct Lose<'a> {
    own: u64,
    incarnation: u64,
    word: &'a WriteOff,
}

impl Work for Lose<'_> {
    type Done = Gap;
    type Error = Refusal;

    async fn write(&self, connection: &mut PgConnection, _: u32) -> Result<Gap, Refusal> {
        const INSERT: &str = "INSERT INTO ledger_write_offs (incarnation, last_sequence, missing, operator, reason, unix_ms) VALUES ($1, $2, $3, $4, $5, $6)";
        // The log's own lock: what arrives now comes before or after this word.
        book::lock(connection, &[self.incarnation]).await?;
        let log = logs(connection, self.own).await?.into_iter().find(|log| log.incarnation == self.incarnation);
        let Some(gap) = gap(connection, &log.unwrap_or_default(), self.word.unix_ms).await? else {
            return Err(Refusal::NoGap(self.incarnation));
        };
        sqlx::query(INSERT)
            .bind(bits(self.incarnation))
            .bind(bits(gap.last_sequence))
            .bind(ranges_text(&gap.missing, usize::MAX))
            .bind(plain(self.word.operator.trim()))
            .bind(plain(self.word.reason.trim()))
            .bind(self.word.unix_ms)
            .execute(connection)
            .await?;
        Ok(gap)
    }
}

/// All logs but the ledger's own that somebody has spoken of, in the order of their numbers.
async fn logs(connection: &mut PgConnection, own: u64) -> Result<Vec<Log>, Error> {
    // Of each proxy the process that reported last lives; an earlier one does not.
    const ALL: &str = "SELECT l.incarnation, l.proxy, l.process, l.last_sequence, l.closed, l.seen_ms, l.mark_sequence, l.mark_ms, \
        EXISTS (SELECT 1 FROM ledger_logs n WHERE n.proxy = l.proxy AND n.seen_ms > l.seen_ms AND n.process <> l.process) FROM ledger_logs l";
    let mut logs: BTreeMap<u64, Log> = BTreeMap::new();
    for (incarnation, arrived) in query::sequences(&mut *connection).await? {
        logs.entry(incarnation).or_default().arrived = arrived;
    }
    for (incarnation, closed) in query::ends(&mut *connection).await? {
        logs.entry(incarnation).or_default().closed = Some(closed);
    }
    for (incarnation, last) in written_off(&mut *connection).await? {
        logs.entry(incarnation).or_default().written_off = Some(last);
    }
    for row in sqlx::query(ALL).fetch_all(connection).await? {
        let (incarnation, reported) = read_reported(&row)?;
        let log = logs.entry(incarnation).or_default();
        (log.reported, log.succeeded) = (Some(reported), row.try_get(8)?);
    }
    logs.remove(&own);
    Ok(logs.into_iter().map(|(incarnation, log)| Log { incarnation, ..log }).collect())
}

/// The gap of a log. Where no proxy has told since when, the next event behind what is missing does: it ended later.
async fn gap(connection: &mut PgConnection, log: &Log, now_unix_ms: i64) -> Result<Option<Gap>, Error> {
    let Some(mut gap) = log.gap(now_unix_ms) else { return Ok(None) };
    if gap.since_unix_ms.is_none() {
        gap.since_unix_ms = ended(connection, gap.incarnation, gap.first_in_question()).await?;
    }
    Ok(gap.is_late(now_unix_ms).then_some(gap))
}

/// When the event with this number or the next one above it ended, milliseconds since 1970; if there is none, the next one below.
async fn ended(connection: &mut PgConnection, incarnation: u64, sequence: u64) -> Result<Option<i64>, Error> {
    const ABOVE: &str =
        "SELECT payload FROM ledger_events WHERE incarnation = $1 AND sequence >= $2 AND kind <> 7 ORDER BY sequence LIMIT 1";
    const BELOW: &str =
        "SELECT payload FROM ledger_events WHERE incarnation = $1 AND sequence < $2 AND kind <> 7 ORDER BY sequence DESC LIMIT 1";
    for find in [ABOVE, BELOW] {
        let found: Option<Vec<u8>> =
            sqlx::query_scalar(find).bind(bits(incarnation)).bind(bits(sequence)).fetch_optional(&mut *connection).await?;
        if let Some(event) = found.and_then(|payload| Event::decode(&payload[..]).ok()) {
            return Ok(gaps::end_of(&event));
        }
    }
    Ok(None)
}

async fn reported(connection: &mut PgConnection, incarnations: &[u64]) -> Result<HashMap<u64, Reported>, Error> {
    const FIND: &str = "SELECT incarnation, proxy, process, last_sequence, closed, seen_ms, mark_sequence, mark_ms FROM ledger_logs \
        WHERE incarnation = ANY($1::int8[])";
    let wanted: Vec<i64> = incarnations.iter().copied().map(bits).collect();
    let rows = sqlx::query(FIND).bind(wanted).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(read_reported(row)?)).collect()
}

fn read_reported(row: &PgRow) -> Result<(u64, Reported), sqlx::Error> {
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

async fn write_reported(connection: &mut PgConnection, rows: &BTreeMap<u64, Reported>) -> Result<(), Error> {
    const UPSERT: &str = "INSERT INTO ledger_logs (incarnation, proxy, process, last_sequence, closed, seen_ms, mark_sequence, mark_ms) \
        SELECT * FROM UNNEST($1::int8[], $2::text[], $3::int8[], $4::int8[], $5::bool[], $6::int8[], $7::int8[], $8::int8[]) \
        ON CONFLICT (incarnation) DO UPDATE SET proxy = excluded.proxy, process = excluded.process, last_sequence = excluded.last_sequence, \
        closed = excluded.closed, seen_ms = excluded.seen_ms, mark_sequence = excluded.mark_sequence, mark_ms = excluded.mark_ms";
    sqlx::query(UPSERT)
        .bind(rows.keys().copied().map(bits).collect::<Vec<_>>())
        .bind(rows.values().map(|reported| reported.proxy.as_str()).collect::<Vec<_>>())
        .bind(rows.values().map(|reported| bits(reported.process)).collect::<Vec<_>>())
        .bind(rows.values().map(|reported| bits(reported.last_sequence)).collect::<Vec<_>>())
        .bind(rows.values().map(|reported| reported.closed).collect::<Vec<_>>())
        .bind(rows.values().map(|reported| reported.seen_unix_ms).collect::<Vec<_>>())
        .bind(rows.values().map(|reported| bits(reported.mark_sequence)).collect::<Vec<_>>())
        .bind(rows.values().map(|reported| reported.mark_unix_ms).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// The numbers up to which logs are written off.
pub async fn written_off(connection: impl PgExecutor<'_>) -> Result<HashMap<u64, u64>, Error> {
    const FIND: &str = "SELECT incarnation, max(last_sequence) FROM ledger_write_offs GROUP BY incarnation";
    let rows = sqlx::query(FIND).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get::<i64, _>(1)?.cast_unsigned()))).collect()
}
