//! One batch, one transaction: events, postings, balances, spend, sequence numbers, quarantine and the reader's mark.
//!
//! Locks are taken in one order: the partition, the logs, the events, the accounts, the balances, the spend; within each by number or name. Two
//! writers of the same log therefore take turns, which makes the set of its sequence numbers, and the judgement by them, exact. Two logs can only
//! meet in the end of one attempt: the index decides, and whoever lost looks again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
};

use sqlx::{PgConnection, Row};
use waybill_proto::usage::v1::{Closed, Spooled};

use super::{
    Postgres, bits,
    book::{self, Accounts, NO_PARTITION},
    plain,
    work::Work,
};
use crate::{
    batch::Batch,
    error::Error,
    failpoint,
    intake::{AttemptKey, Fault, Known, Record, Verdict},
    progress::{Cursor, PartitionProgress, Progress, Report},
    sequences::Sequences,
};

/// Events by name.
pub(super) const BOOKED: &str = "SELECT e.incarnation, e.sequence, e.hash FROM UNNEST($1::int8[], $2::int8[]) AS w (incarnation, sequence) \
    JOIN ledger_events e ON e.incarnation = w.incarnation AND e.sequence = w.sequence";

/// Attempts that have a terminal event.
pub(super) const ENDED: &str = "SELECT attempt FROM ledger_events WHERE kind BETWEEN 2 AND 5 AND attempt = ANY($1::bytea[])";

impl Postgres {
    pub(super) async fn commit(&self, batch: &[Spooled], progress: Progress<'_>) -> Result<Report, Error> {
        if batch.is_empty() && matches!(progress, Progress::None | Progress::Spool([])) {
            return Ok(Report::default());
        }
        let batch = Batch::read(batch, self.own);
        let Written { verdicts, quarantined, accounts } = self.transact(&Commit { ledger: self, batch: &batch, progress }).await?;
        failpoint::pass("ledger.after_commit");
        if !accounts.is_empty() {
            Arc::make_mut(&mut self.accounts.write().unwrap_or_else(PoisonError::into_inner)).extend(accounts);
        }
        let bookings = batch.bookings(&verdicts);
        self.waiting.announce_all(&bookings);
        batch.log(&verdicts);
        let inserted = bookings.len();
        Ok(Report { inserted, duplicates: batch.records.len() - inserted - quarantined, quarantined })
    }

    pub(super) async fn cursors(&self) -> Result<Vec<Cursor>, Error> {
        let rows = sqlx::query("SELECT incarnation, segment, position FROM ledger_cursors").fetch_all(&self.pool).await?;
        let cursor = |row: &sqlx::postgres::PgRow| {
            let [incarnation, segment, offset] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?].map(i64::cast_unsigned);
            let segment = u32::try_from(segment).map_err(|_| Error::Damaged(format!("the segment of cursor {incarnation:016x}")))?;
            Ok(Cursor { incarnation, segment, offset })
        };
        rows.iter().map(cursor).collect()
    }
}

struct Commit<'a> {
    ledger: &'a Postgres,
    batch: &'a Batch<'a>,
    progress: Progress<'a>,
}

struct Written {
    verdicts: Vec<Verdict>,
    quarantined: usize,
    /// Accounts that were looked up, to be remembered.
    accounts: Accounts,
}

impl Work for Commit<'_> {
    type Done = Written;
    type Error = Error;

    async fn write(&self, connection: &mut PgConnection, turn: u32) -> Result<Written, Error> {
        failpoint::pass("ledger.begin");
        let slot = move_on(connection, self.progress).await?;
        let incarnations = self.batch.incarnations();
        book::lock(connection, &incarnations).await?;
        let arrived = book::arrived(connection, &incarnations).await?;
        let verdicts = self.judge(connection, &arrived, turn).await?;
        let bookings = self.batch.bookings(&verdicts);
        let known = Arc::clone(&self.ledger.accounts.read().unwrap_or_else(PoisonError::into_inner));
        let (_, accounts) = book::write(connection, &bookings, slot, &known).await?;
        let quarantined = set_aside(connection, &self.batch.faults(&verdicts)).await?;
        book::write_arrived(connection, &arrived, &self.batch.arrived_after(&arrived)).await?;
        close(connection, &self.batch.ends(&verdicts)).await?;
        failpoint::pass("ledger.before_commit");
        Ok(Written { verdicts, quarantined, accounts })
    }
}

impl Commit<'_> {
    /// That an attempt has ended already is looked up only when the index has said so: it nearly never has.
    async fn judge(&self, connection: &mut PgConnection, arrived: &HashMap<u64, Sequences>, turn: u32) -> Result<Vec<Verdict>, Error> {
        let mut known = Known { own: self.ledger.own, ..Known::default() };
        let met = self.batch.met(arrived);
        if !met.is_empty() {
            let incarnations: Vec<i64> = met.iter().map(|name| bits(name.0)).collect();
            let sequences: Vec<i64> = met.iter().map(|name| bits(name.1)).collect();
            for row in sqlx::query(BOOKED).bind(incarnations).bind(sequences).fetch_all(&mut *connection).await? {
                let [incarnation, sequence] = [row.try_get(0)?, row.try_get(1)?].map(i64::cast_unsigned);
                let hash: Vec<u8> = row.try_get(2)?;
                let hash = hash.try_into().map_err(|_| Error::Damaged(format!("the hash of event {incarnation:016x}.{sequence}")))?;
                known.events.insert((incarnation, sequence), hash);
            }
        }
        if turn > 1 {
            let attempts: Vec<AttemptKey> = self.batch.attempts();
            let attempts: Vec<&[u8]> = attempts.iter().map(|attempt| &attempt[..]).collect();
            for row in sqlx::query(ENDED).bind(attempts).fetch_all(connection).await? {
                known.ended.extend(<AttemptKey>::try_from(row.try_get::<Vec<u8>, _>(0)?));
            }
        }
        Ok(known.judge(&self.batch.records))
    }
}

/// Moves the reader's mark, first of all: a reader that is fenced must not even look. Its row is held until the end, so that an assignment waits for
/// what is being written. Gives the slot to add up in.
async fn move_on(connection: &mut PgConnection, progress: Progress<'_>) -> Result<i32, Error> {
    match progress {
        Progress::None => Ok(NO_PARTITION),
        Progress::Spool(cursors) => move_cursors(connection, cursors).await.map(|()| NO_PARTITION),
        Progress::Partition(reader) => move_offset(connection, reader).await.map(|()| reader.partition),
    }
}

async fn move_offset(connection: &mut PgConnection, reader: &PartitionProgress) -> Result<(), Error> {
    const FIND: &str = "SELECT epoch, next_offset FROM ledger_partitions WHERE topic = $1 AND partition = $2 FOR UPDATE";
    let row = sqlx::query(FIND).bind(&reader.topic).bind(reader.partition).fetch_optional(&mut *connection).await?;
    let stored = row.map(|row| Ok::<_, sqlx::Error>((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get(1)?))).transpose()?;
    reader.fence(stored)?;
    sqlx::query("UPDATE ledger_partitions SET next_offset = $3 WHERE topic = $1 AND partition = $2")
        .bind(&reader.topic)
        .bind(reader.partition)
        .bind(reader.next)
        .execute(connection)
        .await?;
    Ok(())
}

async fn move_cursors(connection: &mut PgConnection, cursors: &[Cursor]) -> Result<(), Error> {
    const UPSERT: &str = "INSERT INTO ledger_cursors (incarnation, segment, position) SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::int8[]) \
        ON CONFLICT (incarnation) DO UPDATE SET segment = excluded.segment, position = excluded.position \
        WHERE (excluded.segment, excluded.position) > (ledger_cursors.segment, ledger_cursors.position)";
    // One statement cannot touch a row twice: of several cursors of a log the furthest counts.
    let mut furthest: BTreeMap<u64, &Cursor> = BTreeMap::new();
    for cursor in cursors {
        let known = furthest.entry(cursor.incarnation).or_insert(cursor);
        *known = (*known).max(cursor);
    }
    if furthest.is_empty() {
        return Ok(());
    }
    sqlx::query(UPSERT)
        .bind(furthest.keys().copied().map(bits).collect::<Vec<_>>())
        .bind(furthest.values().map(|cursor| i64::from(cursor.segment)).collect::<Vec<_>>())
        .bind(furthest.values().map(|cursor| bits(cursor.offset)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps what cannot be booked, each content once, and gives how many are new.
async fn set_aside(connection: &mut PgConnection, faulty: &[(&Record<'_>, &Fault)]) -> Result<usize, Error> {
    const INSERT: &str = "INSERT INTO ledger_quarantine (incarnation, sequence, hash, kind, attempt, reason, payload) \
        SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::bytea[], $4::int4[], $5::bytea[], $6::text[], $7::bytea[]) ON CONFLICT DO NOTHING";
    if faulty.is_empty() {
        return Ok(0);
    }
    let spooled = || faulty.iter().map(|(record, _)| record.spooled);
    let result = sqlx::query(INSERT)
        .bind(spooled().map(|spooled| bits(spooled.incarnation)).collect::<Vec<_>>())
        .bind(spooled().map(|spooled| bits(spooled.sequence)).collect::<Vec<_>>())
        .bind(faulty.iter().map(|(record, _)| &record.hash[..]).collect::<Vec<_>>())
        .bind(spooled().map(|spooled| spooled.kind).collect::<Vec<_>>())
        .bind(spooled().map(|spooled| &spooled.attempt_id[..]).collect::<Vec<_>>())
        .bind(faulty.iter().map(|(_, fault)| plain(&fault.to_string())).collect::<Vec<_>>())
        .bind(spooled().map(|spooled| &spooled.payload[..]).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(usize::try_from(result.rows_affected()).unwrap_or(usize::MAX))
}

async fn close(connection: &mut PgConnection, ends: &BTreeMap<u64, Closed>) -> Result<(), Error> {
    // The later word adds to the earlier one. Their rows are locked by this transaction.
    const UPDATE: &str = "UPDATE ledger_incarnations i SET last_sequence = greatest(i.last_sequence, t.last_sequence), doubt = i.doubt OR t.doubt \
        FROM UNNEST($1::int8[], $2::int8[], $3::bool[]) AS t (incarnation, last_sequence, doubt) WHERE i.incarnation = t.incarnation";
    if ends.is_empty() {
        return Ok(());
    }
    sqlx::query(UPDATE)
        .bind(ends.keys().copied().map(bits).collect::<Vec<_>>())
        .bind(ends.values().map(|closed| bits(closed.last_sequence)).collect::<Vec<_>>())
        .bind(ends.values().map(|closed| closed.doubt).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
