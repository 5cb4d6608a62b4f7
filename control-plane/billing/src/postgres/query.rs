//! Reads the ledger back.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, PgExecutor, QueryBuilder, Row, postgres::PgRow};
use waybill_model::id::{AttemptId, GenerationId};
use waybill_proto::{
    admin::v1::{Balance, EventRow, EventsRequest},
    usage::v1::{Closed, Kind},
};

use super::{Postgres, amount, answer};
use crate::{
    error::Error,
    row::{self, DEFAULT_EVENTS, MOST_EVENTS},
    sequences::Sequences,
    status::{IncarnationStatus, Quarantined, Status},
    usage::{KeyUsage, Scope, windows},
};

/// The columns of an event `e` with the event `a` that resolved it.
pub(super) const ROW: &str = "SELECT e.incarnation, e.sequence, e.kind, e.payload, a.payload, e.id FROM ledger_events e \
    LEFT JOIN ledger_events a ON e.kind = 5 AND a.kind = 6 AND a.attempt = e.attempt ";

/// What makes a row one of a key. The addition keeps the planner from walking through all events of a busy key instead of the few of a request.
pub(super) const OF_KEY: &str = " AND e.api_key || '' = $2 AND e.workspace = $3 AND e.org = $4";

pub(super) const OF_GENERATION: &str = "WHERE e.generation = $1 AND e.kind BETWEEN 2 AND 5";
pub(super) const OF_ATTEMPT: &str = "SELECT generation FROM ledger_events WHERE attempt = $1 AND kind BETWEEN 2 AND 5";
pub(super) const OF_ANSWER: &str = "SELECT generation FROM ledger_events e WHERE answer = $1 AND generation IS NOT NULL";
pub(super) const NEWEST: &str = " ORDER BY id DESC LIMIT 1";

impl Postgres {
    pub(super) async fn generation(&self, id: &str, scope: &Scope) -> Result<Vec<EventRow>, Error> {
        if scope.org.contains('\0') || scope.workspace.contains('\0') || scope.api_key.contains('\0') {
            return Ok(Vec::new());
        }
        if let Ok(generation) = id.parse::<GenerationId>() {
            let attempts = self.attempts(generation.as_bytes(), Some(scope)).await?;
            if !attempts.is_empty() {
                return Ok(attempts);
            }
        }
        let query = sqlx::query_scalar(AssertSqlSafe([OF_ANSWER, OF_KEY, NEWEST].concat()));
        let query = query.bind(answer(id)).bind(&scope.api_key).bind(&scope.workspace).bind(&scope.org);
        let found: Option<Vec<u8>> = query.fetch_optional(&self.pool).await?;
        match found {
            Some(generation) => self.attempts(&generation, Some(scope)).await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn explain(&self, id: &str) -> Result<Vec<EventRow>, Error> {
        if let Ok(generation) = id.parse::<GenerationId>() {
            let attempts = self.attempts(generation.as_bytes(), None).await?;
            if !attempts.is_empty() {
                return Ok(attempts);
            }
        }
        let generation: Option<Vec<u8>> = match id.parse::<AttemptId>() {
            Ok(attempt) => sqlx::query_scalar(OF_ATTEMPT).bind(&attempt.as_bytes()[..]).fetch_optional(&self.pool).await?,
            Err(_) => sqlx::query_scalar(AssertSqlSafe([OF_ANSWER, NEWEST].concat())).bind(answer(id)).fetch_optional(&self.pool).await?,
        };
        match generation {
            Some(generation) => self.attempts(&generation, None).await,
            None => Ok(Vec::new()),
        }
    }

    async fn attempts(&self, generation: &[u8], scope: Option<&Scope>) -> Result<Vec<EventRow>, Error> {
        let of_key = if scope.is_some() { OF_KEY } else { "" };
        let mut query = sqlx::query(AssertSqlSafe([ROW, OF_GENERATION, of_key, " ORDER BY e.number, e.id"].concat())).bind(generation);
        if let Some(scope) = scope {
            query = query.bind(&scope.api_key).bind(&scope.workspace).bind(&scope.org);
        }
        query.fetch_all(&self.pool).await?.iter().map(event_row).collect()
    }

    pub(super) async fn events(&self, request: &EventsRequest) -> Result<Vec<EventRow>, Error> {
        let mut query = QueryBuilder::<sqlx::Postgres>::new(ROW);
        // Literals, so that the planner sees when the index of the rare kinds will do.
        match request.kind() {
            Kind::Unspecified => query.push("WHERE e.kind <> 7"),
            kind => query.push(format!("WHERE e.kind = {}", i32::from(kind))),
        };
        for (column, wanted) in
            [(" AND e.api_key = ", &request.api_key), (" AND e.model = ", &request.model), (" AND e.workspace = ", &request.workspace)]
        {
            if wanted.contains('\0') {
                return Ok(Vec::new());
            }
            if !wanted.is_empty() {
                query.push(column).push_bind(wanted.clone());
            }
        }
        if request.before != 0 {
            query.push(" AND e.id < ").push_bind(i64::try_from(request.before).unwrap_or(i64::MAX));
        }
        let limit = if request.limit == 0 { DEFAULT_EVENTS } else { request.limit.min(MOST_EVENTS) };
        query.push(" ORDER BY e.id DESC LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().rev().map(event_row).collect()
    }

    pub(super) async fn balances(&self, prefix: &str) -> Result<Vec<Balance>, Error> {
        const FIND: &str = "SELECT a.name, coalesce(sum(b.amount), 0)::text FROM ledger_accounts a LEFT JOIN ledger_balances b ON b.account = a.id \
            WHERE starts_with(a.name, $1) GROUP BY a.name ORDER BY a.name";
        if prefix.contains('\0') {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(FIND).bind(prefix).fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok(Balance { account: row.try_get(0)?, amount_picousd: row.try_get(1)? })).collect()
    }

    pub(super) async fn key_usage(&self, scope: &Scope, now_unix_us: i64) -> Result<KeyUsage, Error> {
        const FIND: &str =
            "SELECT day, sum(amount)::text FROM ledger_key_usage WHERE org = $1 AND workspace = $2 AND api_key = $3 GROUP BY day";
        let rows = sqlx::query(FIND).bind(&scope.org).bind(&scope.workspace).bind(&scope.api_key).fetch_all(&self.pool).await?;
        let days: Result<Vec<(i64, i128)>, Error> = rows.iter().map(|row| Ok((row.try_get(0)?, amount(row.try_get(1)?)?))).collect();
        Ok(windows(days?, now_unix_us))
    }

    pub(super) async fn status(&self) -> Result<Status, Error> {
        const COUNTS: &str = "SELECT (SELECT coalesce(sum(events), 0)::int8 FROM ledger_counts), \
            (SELECT count(*) FROM ledger_events WHERE kind = 5) - (SELECT count(*) FROM ledger_events WHERE kind = 6), \
            (SELECT count(*) FROM ledger_quarantine)";
        let mut snapshot = self.snapshot().await?;
        let counts = sqlx::query(COUNTS).fetch_one(&mut *snapshot).await?;
        let count = |column| counts.try_get::<i64, usize>(column).map(i64::cast_unsigned);
        let incarnations = incarnations(&mut snapshot).await?;
        snapshot.end().await?;
        Ok(Status { events: count(0)?, orphaned_open: count(1)?, quarantined: count(2)?, incarnations })
    }

    pub(super) async fn quarantine(&self, limit: u32) -> Result<Vec<Quarantined>, Error> {
        const FIND: &str = "SELECT incarnation, sequence, kind, attempt, reason, payload FROM ledger_quarantine ORDER BY id DESC LIMIT $1";
        let rows = sqlx::query(FIND).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        let quarantined = |row: &PgRow| {
            let [incarnation, sequence] = [row.try_get(0)?, row.try_get(1)?].map(i64::cast_unsigned);
            let (kind, attempt_id) = (row.try_get(2)?, row.try_get(3)?);
            Ok(Quarantined { incarnation, sequence, kind, attempt_id, reason: row.try_get(4)?, payload: row.try_get(5)? })
        };
        rows.iter().map(quarantined).collect()
    }
}

/// The terminal event of an attempt.
pub async fn terminal(connection: &mut PgConnection, attempt: AttemptId) -> Result<Option<EventRow>, Error> {
    let query = sqlx::query(AssertSqlSafe([ROW, "WHERE e.kind BETWEEN 2 AND 5 AND e.attempt = $1"].concat()));
    query.bind(&attempt.as_bytes()[..]).fetch_optional(connection).await?.as_ref().map(event_row).transpose()
}

/// What has arrived, by incarnation.
pub async fn sequences(connection: impl PgExecutor<'_>) -> Result<BTreeMap<u64, Sequences>, Error> {
    let mut ranges: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for row in sqlx::query("SELECT incarnation, first, last FROM ledger_sequences").fetch_all(connection).await? {
        let [incarnation, first, last] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?].map(i64::cast_unsigned);
        ranges.entry(incarnation).or_default().push((first, last));
    }
    Ok(ranges.into_iter().map(|(incarnation, ranges)| (incarnation, Sequences::of(ranges))).collect())
}

/// How incarnations have ended.
pub async fn ends(connection: impl PgExecutor<'_>) -> Result<BTreeMap<u64, Closed>, Error> {
    const FIND: &str = "SELECT incarnation, last_sequence, doubt FROM ledger_incarnations WHERE last_sequence IS NOT NULL";
    let mut ends: BTreeMap<u64, Closed> = BTreeMap::new();
    for row in sqlx::query(FIND).fetch_all(connection).await? {
        let [incarnation, last_sequence] = [row.try_get(0)?, row.try_get(1)?].map(i64::cast_unsigned);
        ends.insert(incarnation, Closed { last_sequence, doubt: row.try_get(2)? });
    }
    Ok(ends)
}

/// All incarnations that have sent something, in the order of their numbers.
pub async fn incarnations(connection: &mut PgConnection) -> Result<Vec<IncarnationStatus>, Error> {
    let arrived = sequences(&mut *connection).await?;
    let ends = ends(connection).await?;
    let status = |(incarnation, arrived): (u64, Sequences)| IncarnationStatus::of(incarnation, &arrived, ends.get(&incarnation).copied());
    Ok(arrived.into_iter().map(status).collect())
}

fn event_row(row: &PgRow) -> Result<EventRow, Error> {
    let number = |column| row.try_get::<i64, usize>(column).map(i64::cast_unsigned);
    let kind = row.try_get::<i16, _>(2)?.into();
    row::event_row((number(0)?, number(1)?), kind, row.try_get(3)?, row.try_get(4)?, number(5)?)
}
