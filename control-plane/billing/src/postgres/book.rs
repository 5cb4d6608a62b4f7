//! Writes events with all that follows from them: postings, balances, spend. The caller holds the transaction and the locks of the logs, and has
//! judged the events. Many rows are one statement, from arrays.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgConnection, Row};
use waybill_proto::usage::v1::Attempt;

use super::{answer, bits};
use crate::{
    batch::{Booking, Postings, range_changes, spend},
    error::Error,
    intake::Identity,
    sequences::Sequences,
};

/// The slot of everybody who does not read a partition.
pub const NO_PARTITION: i32 = -1;

/// The ids of accounts, which never change.
pub type Accounts = HashMap<String, i64>;

/// Writes the events, and gives their ids in order, with the accounts that were looked up.
///
/// # Errors
/// [`Error::Conflict`] if somebody else booked one of them or ended one of their attempts meanwhile.
pub async fn write(
    connection: &mut PgConnection,
    bookings: &[Booking<'_>],
    slot: i32,
    known: &Accounts,
) -> Result<(Vec<i64>, Accounts), Error> {
    if bookings.is_empty() {
        return Ok(Default::default());
    }
    let ids = write_events(connection, bookings).await?;
    let Postings { entries, sums } = Postings::of(bookings)?;
    let looked_up = accounts(connection, &sums, known).await?;
    let id =
        |account: &String| known.get(account).or_else(|| looked_up.committed.get(account)).or_else(|| looked_up.new.get(account)).copied();
    let (mut events, mut accounts, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
    for (place, account, amount) in &entries {
        events.push(ids.get(*place).copied().unwrap_or_default());
        accounts.push(id(account).ok_or(Error::Conflict)?);
        amounts.push(*amount);
    }
    if !entries.is_empty() {
        sqlx::query("INSERT INTO ledger_postings (event, account, amount) SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::int8[])")
            .bind(events)
            .bind(accounts)
            .bind(amounts)
            .execute(&mut *connection)
            .await?;
    }
    let mut balances =
        sums.iter().map(|(account, sum)| Ok((id(account).ok_or(Error::Conflict)?, *sum))).collect::<Result<Vec<_>, Error>>()?;
    balances.sort_unstable();
    write_balances(connection, &balances, slot).await?;
    write_spend(connection, bookings, slot).await?;
    count(connection, bookings.len(), slot).await?;
    Ok((ids, looked_up.committed))
}

async fn write_events(connection: &mut PgConnection, bookings: &[Booking<'_>]) -> Result<Vec<i64>, Error> {
    const INSERT: &str = "INSERT INTO ledger_events \
        (incarnation, sequence, kind, attempt, generation, number, org, workspace, api_key, model, answer, amount, hash, payload) \
        SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::int2[], $4::bytea[], $5::bytea[], $6::int8[], $7::text[], $8::text[], $9::text[], \
            $10::text[], $11::bytea[], $12::int8[], $13::bytea[], $14::bytea[]) \
        RETURNING id, incarnation, sequence";
    let nobody = Attempt::default();
    let events = || bookings.iter().map(|booking| booking.ended.map(|(event, _)| event));
    let attempts = || bookings.iter().map(|booking| booking.ended.map_or(&nobody, |(_, attempt)| attempt));
    let ended = |bytes: fn(&Attempt) -> &[u8]| -> Vec<Option<&[u8]>> {
        bookings.iter().map(|booking| booking.ended.map(|(_, attempt)| bytes(attempt))).collect()
    };
    let answers: Vec<Option<Vec<u8>>> =
        events().map(|event| event.map(|event| answer(&event.provider_answer_id)).filter(|hash| !hash.is_empty())).collect();
    let rows = sqlx::query(INSERT)
        .bind(bookings.iter().map(|booking| bits(booking.identity.0)).collect::<Vec<_>>())
        .bind(bookings.iter().map(|booking| bits(booking.identity.1)).collect::<Vec<_>>())
        .bind(bookings.iter().map(|booking| i16::try_from(booking.kind).unwrap_or_default()).collect::<Vec<_>>())
        .bind(ended(|attempt| &attempt.attempt_id))
        .bind(ended(|attempt| &attempt.generation_id))
        .bind(attempts().map(|attempt| i64::from(attempt.number)).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.org.as_str()).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.workspace.as_str()).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.api_key.as_str()).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.model.as_str()).collect::<Vec<_>>())
        .bind(answers)
        .bind(events().map(|event| event.map_or(0, |event| event.amount_picousd)).collect::<Vec<_>>())
        .bind(bookings.iter().map(|booking| &booking.hash[..]).collect::<Vec<_>>())
        .bind(bookings.iter().map(|booking| booking.payload).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await
        .map_err(taken)?;
    let mut ids: HashMap<Identity, i64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        ids.insert((row.try_get::<i64, _>(1)?.cast_unsigned(), row.try_get::<i64, _>(2)?.cast_unsigned()), row.try_get(0)?);
    }
    bookings.iter().map(|booking| ids.get(&booking.identity).copied().ok_or(Error::Conflict)).collect()
}

/// Somebody else was faster with one of the events. The database is left to fail: `ON CONFLICT` would look into each unique index before it writes,
/// and this happens nearly never: what is known was looked up, the locks of the logs are held.
fn taken(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(from) if from.is_unique_violation() => Error::Conflict,
        _ => error.into(),
    }
}

/// Accounts that were not known.
#[derive(Default)]
struct LookedUp {
    /// They stand, whatever becomes of this transaction.
    committed: Accounts,
    /// This transaction opens them.
    new: Accounts,
}

async fn accounts(connection: &mut PgConnection, sums: &BTreeMap<String, i128>, known: &Accounts) -> Result<LookedUp, Error> {
    let mut wanted: Vec<&str> = sums.keys().filter(|name| !known.contains_key(*name)).map(String::as_str).collect();
    if wanted.is_empty() {
        return Ok(LookedUp::default());
    }
    let committed = find_accounts(connection, &wanted).await?;
    wanted.retain(|name| !committed.contains_key(*name));
    if wanted.is_empty() {
        return Ok(LookedUp { committed, new: Accounts::new() });
    }
    sqlx::query("INSERT INTO ledger_accounts (name) SELECT UNNEST($1::text[]) ON CONFLICT DO NOTHING")
        .bind(&wanted)
        .execute(&mut *connection)
        .await?;
    let new = find_accounts(connection, &wanted).await?;
    Ok(LookedUp { committed, new })
}

async fn find_accounts(connection: &mut PgConnection, names: &[&str]) -> Result<Accounts, Error> {
    let rows = sqlx::query("SELECT name, id FROM ledger_accounts WHERE name = ANY($1::text[])").bind(names).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn write_balances(connection: &mut PgConnection, sums: &[(i64, i128)], slot: i32) -> Result<(), Error> {
    const UPSERT: &str = "INSERT INTO ledger_balances (account, slot, amount) \
        SELECT t.account, $3, t.amount::numeric FROM UNNEST($1::int8[], $2::text[]) AS t (account, amount) \
        ON CONFLICT (account, slot) DO UPDATE SET amount = ledger_balances.amount + excluded.amount";
    sqlx::query(UPSERT)
        .bind(sums.iter().map(|(account, _)| *account).collect::<Vec<_>>())
        .bind(sums.iter().map(|(_, sum)| sum.to_string()).collect::<Vec<_>>())
        .bind(slot)
        .execute(connection)
        .await?;
    Ok(())
}

/// Adds to what keys have spent on their days.
async fn write_spend(connection: &mut PgConnection, bookings: &[Booking<'_>], slot: i32) -> Result<(), Error> {
    const UPSERT: &str = "INSERT INTO ledger_key_usage (org, workspace, api_key, day, slot, amount) \
        SELECT t.org, t.workspace, t.api_key, t.day, $6, t.amount::numeric \
        FROM UNNEST($1::text[], $2::text[], $3::text[], $4::int8[], $5::text[]) AS t (org, workspace, api_key, day, amount) \
        ON CONFLICT (org, workspace, api_key, day, slot) DO UPDATE SET amount = ledger_key_usage.amount + excluded.amount";
    let sums = spend(bookings);
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query(UPSERT)
        .bind(sums.keys().map(|(scope, _)| scope.org.as_str()).collect::<Vec<_>>())
        .bind(sums.keys().map(|(scope, _)| scope.workspace.as_str()).collect::<Vec<_>>())
        .bind(sums.keys().map(|(scope, _)| scope.api_key.as_str()).collect::<Vec<_>>())
        .bind(sums.keys().map(|(_, day)| *day).collect::<Vec<_>>())
        .bind(sums.values().map(ToString::to_string).collect::<Vec<_>>())
        .bind(slot)
        .execute(connection)
        .await?;
    Ok(())
}

async fn count(connection: &mut PgConnection, events: usize, slot: i32) -> Result<(), Error> {
    const UPSERT: &str = "INSERT INTO ledger_counts (slot, events) VALUES ($1, $2) \
        ON CONFLICT (slot) DO UPDATE SET events = ledger_counts.events + excluded.events";
    sqlx::query(UPSERT).bind(slot).bind(i64::try_from(events).unwrap_or(i64::MAX)).execute(connection).await?;
    Ok(())
}

/// Takes the logs for this transaction, in the order of their numbers, so that nobody else writes for them until it ends.
pub async fn lock(connection: &mut PgConnection, incarnations: &[u64]) -> Result<(), Error> {
    const LOCK: &str = "SELECT incarnation FROM ledger_incarnations WHERE incarnation = ANY($1::int8[]) ORDER BY incarnation FOR UPDATE";
    let mut wanted: Vec<i64> = incarnations.iter().copied().map(bits).collect();
    wanted.sort_unstable();
    if wanted.is_empty() || sqlx::query(LOCK).bind(&wanted).fetch_all(&mut *connection).await?.len() == wanted.len() {
        return Ok(());
    }
    sqlx::query("INSERT INTO ledger_incarnations (incarnation) SELECT UNNEST($1::int8[]) ON CONFLICT DO NOTHING")
        .bind(&wanted)
        .execute(&mut *connection)
        .await?;
    sqlx::query(LOCK).bind(&wanted).fetch_all(connection).await?;
    Ok(())
}

/// The sequence numbers of these incarnations that have arrived.
pub async fn arrived(connection: &mut PgConnection, incarnations: &[u64]) -> Result<HashMap<u64, Sequences>, Error> {
    const FIND: &str = "SELECT incarnation, first, last FROM ledger_sequences WHERE incarnation = ANY($1::int8[])";
    let wanted: Vec<i64> = incarnations.iter().copied().map(bits).collect();
    let mut ranges: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
    for row in sqlx::query(FIND).bind(wanted).fetch_all(connection).await? {
        let [incarnation, first, last] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?].map(i64::cast_unsigned);
        ranges.entry(incarnation).or_default().push((first, last));
    }
    Ok(ranges.into_iter().map(|(incarnation, ranges)| (incarnation, Sequences::of(ranges))).collect())
}

/// Writes what has changed between two states of the logs' sequence numbers.
pub async fn write_arrived(
    connection: &mut PgConnection,
    before: &HashMap<u64, Sequences>,
    after: &BTreeMap<u64, Sequences>,
) -> Result<(), Error> {
    let none = Sequences::default();
    let (mut gone, mut changed) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new(), Vec::new()));
    for (incarnation, after) in after {
        let (firsts, ranges) = range_changes(before.get(incarnation).unwrap_or(&none), after);
        for first in firsts {
            gone.0.push(bits(*incarnation));
            gone.1.push(bits(first));
        }
        for (first, last) in ranges {
            changed.0.push(bits(*incarnation));
            changed.1.push(bits(first));
            changed.2.push(bits(last));
        }
    }
    if !gone.0.is_empty() {
        const DELETE: &str = "DELETE FROM ledger_sequences s USING UNNEST($1::int8[], $2::int8[]) AS t (incarnation, first) \
            WHERE s.incarnation = t.incarnation AND s.first = t.first";
        sqlx::query(DELETE).bind(gone.0).bind(gone.1).execute(&mut *connection).await?;
    }
    if !changed.0.is_empty() {
        const UPSERT: &str = "INSERT INTO ledger_sequences (incarnation, first, last) SELECT * FROM UNNEST($1::int8[], $2::int8[], $3::int8[]) \
            ON CONFLICT (incarnation, first) DO UPDATE SET last = excluded.last";
        sqlx::query(UPSERT).bind(changed.0).bind(changed.1).bind(changed.2).execute(connection).await?;
    }
    Ok(())
}
