//! Reads the ledger back.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, QueryBuilder, Row, SqliteConnection, SqliteExecutor, sqlite::SqliteRow};
use waybill_model::id::{AttemptId, GenerationId};
use waybill_proto::{
    admin::v1::{Balance, EventRow, EventsRequest},
    usage::v1::{Closed, Kind},
};

use super::{Sqlite, amount};
use crate::{
    error::Error,
    row::{self, DEFAULT_EVENTS, MOST_EVENTS},
    sequences::Sequences,
    status::{IncarnationStatus, Quarantined, Status},
    usage::{KeyUsage, Scope, windows},
};

/// The columns of an event `e` with the event `a` that resolved it.
const ROW: &str = "SELECT e.incarnation, e.sequence, e.kind, e.payload, a.payload, e.id FROM ledger_events e \
    LEFT JOIN ledger_events a ON e.kind = 5 AND a.kind = 6 AND a.attempt = e.attempt ";

/// What makes a row one of a key. The plus keeps SQLite from walking through all events of a busy key instead of the few of a request.
const OF_KEY: &str = " AND +e.api_key = ? AND e.workspace = ? AND e.org = ?";

const OF_GENERATION: &str = "WHERE e.generation = ? AND e.kind BETWEEN 2 AND 5";
const OF_ATTEMPT: &str = "SELECT generation FROM ledger_events WHERE attempt = ? AND kind BETWEEN 2 AND 5";
const OF_ANSWER: &str = "SELECT generation FROM ledger_events e WHERE answer = ? AND generation IS NOT NULL";
const NEWEST: &str = " ORDER BY id DESC LIMIT 1";

impl Sqlite {
    pub(super) async fn generation(&self, id: &str, scope: &Scope) -> Result<Vec<EventRow>, Error> {
        if let Ok(generation) = id.parse::<GenerationId>() {
            let attempts = self.attempts(generation.as_bytes(), Some(scope)).await?;
            if !attempts.is_empty() {
                return Ok(attempts);
            }
        }
        let query = sqlx::query_scalar(AssertSqlSafe([OF_ANSWER, OF_KEY, NEWEST].concat()));
        let query = query.bind(id).bind(&scope.api_key).bind(&scope.workspace).bind(&scope.org);
        let found: Option<Vec<u8>> = query.fetch_optional(&self.readers).await?;
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
            Ok(attempt) => sqlx::query_scalar(OF_ATTEMPT).bind(&attempt.as_bytes()[..]).fetch_optional(&self.readers).await?,
            Err(_) => sqlx::query_scalar(AssertSqlSafe([OF_ANSWER, NEWEST].concat())).bind(id).fetch_optional(&self.readers).await?,
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
        query.fetch_all(&self.readers).await?.iter().map(event_row).collect()
    }

    pub(super) async fn events(&self, request: &EventsRequest) -> Result<Vec<EventRow>, Error> {
        let mut query = QueryBuilder::<sqlx::Sqlite>::new(ROW);
        match request.kind() {
            Kind::Unspecified => query.push("WHERE e.kind <> ").push_bind(i32::from(Kind::Closed)),
            kind => query.push(of_kind(kind)),
        };
        for (column, wanted) in
            [(" AND e.api_key = ", &request.api_key), (" AND e.model = ", &request.model), (" AND e.workspace = ", &request.workspace)]
        {
            if !wanted.is_empty() {
                query.push(column).push_bind(wanted.clone());
            }
        }
        if request.before != 0 {
            query.push(" AND e.id < ").push_bind(i64::try_from(request.before).unwrap_or(i64::MAX));
        }
        let limit = if request.limit == 0 { DEFAULT_EVENTS } else { request.limit.min(MOST_EVENTS) };
        query.push(" ORDER BY e.id DESC LIMIT ").push_bind(limit);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().rev().map(event_row).collect()
    }

    pub(super) async fn balances(&self, prefix: &str) -> Result<Vec<Balance>, Error> {
        const FIND: &str = "SELECT name, balance FROM ledger_accounts WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name";
        let rows = sqlx::query(FIND).bind(prefix).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok(Balance { account: row.try_get(0)?, amount_picousd: row.try_get(1)? })).collect()
    }

    pub(super) async fn key_usage(&self, scope: &Scope, now_unix_us: i64) -> Result<KeyUsage, Error> {
        const FIND: &str = "SELECT day, amount FROM ledger_key_usage WHERE org = ? AND workspace = ? AND api_key = ?";
        let rows = sqlx::query(FIND).bind(&scope.org).bind(&scope.workspace).bind(&scope.api_key).fetch_all(&self.readers).await?;
        let days: Result<Vec<(i64, i128)>, Error> = rows.iter().map(|row| Ok((row.try_get(0)?, amount(row.try_get(1)?)?))).collect();
        Ok(windows(days?, now_unix_us))
    }

    pub(super) async fn status(&self) -> Result<Status, Error> {
        let mut snapshot = self.readers.begin().await?;
        // Ids have no holes, so that the last one is the count.
        const COUNTS: &str = "SELECT (SELECT coalesce(max(id), 0) FROM ledger_events), \
            (SELECT count(*) FROM ledger_events WHERE kind = 5 AND kind >= 5) \
            - (SELECT count(*) FROM ledger_events WHERE kind = 6 AND kind >= 5), \
            (SELECT count(*) FROM ledger_quarantine)";
        let counts = sqlx::query(COUNTS).fetch_one(&mut *snapshot).await?;
        let count = |column| counts.try_get::<i64, usize>(column).map(i64::cast_unsigned);
        let incarnations = incarnations(&mut snapshot).await?;
        Ok(Status { events: count(0)?, orphaned_open: count(1)?, quarantined: count(2)?, incarnations })
    }

    pub(super) async fn quarantine(&self, limit: u32) -> Result<Vec<Quarantined>, Error> {
        const FIND: &str = "SELECT incarnation, sequence, kind, attempt, reason, payload FROM ledger_quarantine ORDER BY id DESC LIMIT ?";
        let rows = sqlx::query(FIND).bind(limit).fetch_all(&self.readers).await?;
        let quarantined = |row: &SqliteRow| {
            let (incarnation, sequence): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Quarantined {
                incarnation: incarnation.cast_unsigned(),
                sequence: sequence.cast_unsigned(),
                kind: row.try_get(2)?,
                attempt_id: row.try_get(3)?,
                reason: row.try_get(4)?,
                payload: row.try_get(5)?,
            })
        };
        rows.iter().map(quarantined).collect()
    }
}

/// The terminal event of an attempt.
pub async fn terminal(connection: impl SqliteExecutor<'_>, attempt: AttemptId) -> Result<Option<EventRow>, Error> {
    let mut query = QueryBuilder::<sqlx::Sqlite>::new(ROW);
    query.push("WHERE e.kind BETWEEN 2 AND 5 AND e.attempt = ").push_bind(attempt.as_bytes().to_vec());
    query.build().fetch_optional(connection).await?.as_ref().map(event_row).transpose()
}

/// What has arrived, by incarnation.
pub async fn sequences(connection: &mut SqliteConnection) -> Result<BTreeMap<u64, Sequences>, Error> {
    let mut ranges: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for row in sqlx::query("SELECT incarnation, first, last FROM ledger_sequences").fetch_all(connection).await? {
        let [incarnation, first, last] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?].map(i64::cast_unsigned);
        ranges.entry(incarnation).or_default().push((first, last));
    }
    Ok(ranges.into_iter().map(|(incarnation, ranges)| (incarnation, Sequences::of(ranges))).collect())
}

/// How incarnations have ended.
pub async fn ends(connection: &mut SqliteConnection) -> Result<BTreeMap<u64, Closed>, Error> {
    let mut ends: BTreeMap<u64, Closed> = BTreeMap::new();
    for row in sqlx::query("SELECT incarnation, last_sequence, doubt FROM ledger_closed").fetch_all(connection).await? {
        let [incarnation, last_sequence, doubt] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?].map(i64::cast_unsigned);
        ends.insert(incarnation, Closed { last_sequence, doubt: doubt != 0 });
    }
    Ok(ends)
}

/// All incarnations that have sent something, in the order of their numbers.
pub async fn incarnations(connection: &mut SqliteConnection) -> Result<Vec<IncarnationStatus>, Error> {
    let arrived = sequences(connection).await?;
    let ends = ends(connection).await?;
    Ok(arrived
        .into_iter()
        .map(|(incarnation, arrived)| IncarnationStatus::of(incarnation, &arrived, ends.get(&incarnation).copied()))
        .collect())
}

/// The rare kinds have an index, which SQLite uses when it is told in its own words that it may.
fn of_kind(kind: Kind) -> String {
    let kind = i32::from(kind);
    format!("WHERE e.kind = {kind}{}", if kind >= i32::from(Kind::Orphaned) { " AND e.kind >= 5" } else { "" })
}

fn event_row(row: &SqliteRow) -> Result<EventRow, Error> {
    let number = |column| row.try_get::<i64, usize>(column).map(i64::cast_unsigned);
    row::event_row((number(0)?, number(1)?), row.try_get(2)?, row.try_get(3)?, row.try_get(4)?, number(5)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{book, bulk::Lookup, commit};

    /// Each statement that runs per batch or per request finds its rows by an index, however large the ledger is.
    #[tokio::test]
    async fn no_look_up_walks_through_a_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Sqlite::open(&folder.path().join("waybill.db")).await.expect("it opens");
        let many = |lookup: Lookup, keys: &str| format!("{} (VALUES {keys}, {keys}) {}", lookup.head, lookup.tail);
        let rows: [(String, &str); 13] = [
            (many(commit::BOOKED, "(1, 2)"), "ledger_events_identity"),
            (many(commit::ENDED, "(x'00')"), "ledger_events_terminal"),
            (many(book::ACCOUNTS, "('a')"), "sqlite_autoindex_ledger_accounts_1"),
            (many(book::SPEND, "('a', 'b', 'c', 1)"), "PRIMARY KEY (org=? AND workspace=? AND api_key=? AND day=?)"),
            (many(book::ARRIVED, "(1)"), "PRIMARY KEY (incarnation=?)"),
            ([ROW, OF_GENERATION, OF_KEY].concat(), "ledger_events_generation"),
            ([ROW, OF_GENERATION].concat(), "ledger_events_generation"),
            ([OF_ANSWER, OF_KEY, NEWEST].concat(), "ledger_events_answer"),
            ([OF_ANSWER, NEWEST].concat(), "ledger_events_answer"),
            (OF_ATTEMPT.to_owned(), "ledger_events_terminal"),
            ([ROW, &of_kind(Kind::Orphaned), " ORDER BY e.id DESC LIMIT 9"].concat(), "ledger_events_rare"),
            ([ROW, &of_kind(Kind::Adjusted), " ORDER BY e.id DESC LIMIT 9"].concat(), "ledger_events_rare"),
            ([ROW, "WHERE e.kind <> 7 AND e.api_key = ? ORDER BY e.id DESC LIMIT 9"].concat(), "ledger_events_api_key"),
        ];
        for (statement, index) in rows {
            let plan =
                sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"))).fetch_all(&ledger.readers).await.expect("a plan");
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{statement}: {plan:?}");
            // The keys that were asked for are walked through, the tables are not.
            let walks = |step: &&String| {
                step.starts_with("SCAN") && !step.contains("VALUES") && !step.ends_with("CONSTANT ROWS") && *step != "SCAN w"
            };
            assert_eq!(plan.iter().find(walks), None, "{statement}: {plan:?}");
        }
    }
}
