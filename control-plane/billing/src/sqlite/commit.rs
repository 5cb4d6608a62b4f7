//! One batch, one transaction: events, postings, balances, spend, sequence numbers, quarantine and the reader's cursors.

use std::collections::HashMap;

use sqlx::{Connection, Row, SqliteConnection};
use waybill_proto::usage::v1::{Closed, Spooled};

use super::{
    IMMEDIATE, Sqlite, bits, book,
    bulk::{self, Lookup},
};
use crate::{
    batch::Batch,
    error::Error,
    failpoint,
    intake::{Fault, Known, Record, Verdict},
    progress::{Cursor, Progress, Report},
    sequences::Sequences,
};

/// Events by name.
pub const BOOKED: Lookup = Lookup {
    head: "WITH wanted (incarnation, sequence) AS",
    tail: "SELECT e.incarnation, e.sequence, e.hash FROM wanted w CROSS JOIN ledger_events e \
        ON e.incarnation = w.incarnation AND e.sequence = w.sequence",
};

/// Attempts that have a terminal event.
pub const ENDED: Lookup = Lookup { head: "SELECT attempt FROM ledger_events WHERE kind BETWEEN 2 AND 5 AND attempt IN", tail: "" };

impl Sqlite {
    pub(super) async fn commit(&self, batch: &[Spooled], progress: Progress<'_>) -> Result<Report, Error> {
        if batch.is_empty() && matches!(progress, Progress::None | Progress::Spool([])) {
            return Ok(Report::default());
        }
        let batch = Batch::read(batch, self.own);
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(IMMEDIATE).await?;
        failpoint::pass("ledger.begin");
        move_on(&mut transaction, progress).await?;
        let arrived = book::arrived(&mut transaction, &batch.incarnations()).await?;
        let verdicts = self.judge(&mut transaction, &batch, &arrived).await?;
        let bookings = batch.bookings(&verdicts);
        if !bookings.is_empty() {
            book::write(&mut transaction, &bookings).await?;
        }
        let quarantined = set_aside(&mut transaction, &batch.faults(&verdicts)).await?;
        count_sequences(&mut transaction, &batch, &arrived).await?;
        close_incarnations(&mut transaction, &Vec::from_iter(batch.ends(&verdicts))).await?;
        failpoint::pass("ledger.before_commit");
        transaction.commit().await?;
        failpoint::pass("ledger.after_commit");
        drop(writer);
        self.waiting.announce_all(&bookings);
        batch.log(&verdicts);
        let inserted = bookings.len();
        Ok(Report { inserted, duplicates: batch.records.len() - inserted - quarantined, quarantined })
    }

    pub(super) async fn cursors(&self) -> Result<Vec<Cursor>, Error> {
        let rows = sqlx::query("SELECT incarnation, segment, offset FROM ledger_cursors").fetch_all(&self.readers).await?;
        let cursor = |row: &sqlx::sqlite::SqliteRow| {
            let incarnation: i64 = row.try_get(0)?;
            let offset: i64 = row.try_get(2)?;
            Ok(Cursor { incarnation: incarnation.cast_unsigned(), segment: row.try_get(1)?, offset: offset.cast_unsigned() })
        };
        rows.iter().map(cursor).collect()
    }

    async fn judge(
        &self,
        connection: &mut SqliteConnection,
        batch: &Batch<'_>,
        arrived: &HashMap<u64, Sequences>,
    ) -> Result<Vec<Verdict>, Error> {
        let mut known = Known { own: self.own, ..Known::default() };
        for row in bulk::find(connection, BOOKED, &batch.met(arrived), |values, (incarnation, sequence)| {
            values.push_bind(bits(*incarnation)).push_bind(bits(*sequence));
        })
        .await?
        {
            let (incarnation, sequence, hash): (i64, i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let hash = hash.try_into().map_err(|_| Error::Damaged(format!("the hash of event {incarnation:016x}.{sequence}")))?;
            known.events.insert((incarnation.cast_unsigned(), sequence.cast_unsigned()), hash);
        }
        for row in bulk::find(connection, ENDED, &batch.attempts(), |values, attempt| {
            values.push_bind(attempt.to_vec());
        })
        .await?
        {
            let attempt: Vec<u8> = row.try_get(0)?;
            known.ended.extend(<[u8; 16]>::try_from(attempt));
        }
        Ok(known.judge(&batch.records))
    }
}

/// Keeps what cannot be booked, each content once, and gives how many are new.
async fn set_aside(connection: &mut SqliteConnection, faulty: &[(&Record<'_>, &Fault)]) -> Result<usize, Error> {
    const HEAD: &str = "INSERT INTO ledger_quarantine (incarnation, sequence, hash, kind, attempt, reason, payload)";
    let new = bulk::insert(connection, HEAD, faulty, "ON CONFLICT DO NOTHING", |values, (record, fault)| {
        let spooled = record.spooled;
        values.push_bind(bits(spooled.incarnation)).push_bind(bits(spooled.sequence)).push_bind(record.hash.to_vec());
        values
            .push_bind(spooled.kind)
            .push_bind(spooled.attempt_id.to_vec())
            .push_bind(fault.to_string())
            .push_bind(spooled.payload.to_vec());
    })
    .await?;
    Ok(usize::try_from(new).unwrap_or(usize::MAX))
}

async fn count_sequences(connection: &mut SqliteConnection, batch: &Batch<'_>, arrived: &HashMap<u64, Sequences>) -> Result<(), Error> {
    let none = Sequences::default();
    for (incarnation, after) in &batch.arrived_after(arrived) {
        book::write_arrived(connection, *incarnation, arrived.get(incarnation).unwrap_or(&none), after).await?;
    }
    Ok(())
}

async fn close_incarnations(connection: &mut SqliteConnection, ends: &[(u64, Closed)]) -> Result<(), Error> {
    // Recovery can be interrupted and close a log twice: the later word adds to the earlier one.
    const UPSERT: &str = "ON CONFLICT (incarnation) DO UPDATE SET \
        last_sequence = max(last_sequence, excluded.last_sequence), doubt = max(doubt, excluded.doubt)";
    bulk::insert(
        connection,
        "INSERT INTO ledger_closed (incarnation, last_sequence, doubt)",
        ends,
        UPSERT,
        |values, (incarnation, closed)| {
            values.push_bind(bits(*incarnation)).push_bind(bits(closed.last_sequence)).push_bind(i64::from(closed.doubt));
        },
    )
    .await?;
    Ok(())
}

/// Moves the reader's mark; first of all, since a reader that is fenced must not even look.
async fn move_on(connection: &mut SqliteConnection, progress: Progress<'_>) -> Result<(), Error> {
    match progress {
        Progress::Spool(cursors) => move_cursors(connection, cursors).await,
        Progress::Partition(reader) => {
            let find = sqlx::query("SELECT epoch, next_offset FROM ledger_partitions WHERE topic = ? AND partition = ?");
            let row = find.bind(&reader.topic).bind(reader.partition).fetch_optional(&mut *connection).await?;
            let stored = row.map(|row| Ok::<_, sqlx::Error>((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get(1)?))).transpose()?;
            reader.fence(stored)?;
            sqlx::query("UPDATE ledger_partitions SET next_offset = ? WHERE topic = ? AND partition = ?")
                .bind(reader.next)
                .bind(&reader.topic)
                .bind(reader.partition)
                .execute(connection)
                .await?;
            Ok(())
        }
        Progress::None => Ok(()),
    }
}

async fn move_cursors(connection: &mut SqliteConnection, cursors: &[Cursor]) -> Result<(), Error> {
    const UPSERT: &str = "ON CONFLICT (incarnation) DO UPDATE SET segment = excluded.segment, offset = excluded.offset \
        WHERE (excluded.segment, excluded.offset) > (segment, offset)";
    bulk::insert(connection, "INSERT INTO ledger_cursors (incarnation, segment, offset)", cursors, UPSERT, |values, cursor| {
        values.push_bind(bits(cursor.incarnation)).push_bind(cursor.segment).push_bind(bits(cursor.offset));
    })
    .await?;
    Ok(())
}
