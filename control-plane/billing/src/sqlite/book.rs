//! Writes events with all that follows from them: postings, balances, spend. The caller holds the transaction and has judged the events.

use std::collections::{BTreeMap, HashMap};

use sqlx::{Row, SqliteConnection};
use waybill_proto::usage::v1::Attempt;

use super::{
    amount, bits,
    bulk::{self, Lookup},
};
use crate::{
    batch::{Booking, Postings, range_changes, spend},
    error::Error,
    sequences::Sequences,
    usage::Scope,
};

/// Accounts by name.
pub const ACCOUNTS: Lookup = Lookup { head: "SELECT id, name, balance FROM ledger_accounts WHERE name IN", tail: "" };

/// Spend by key and day.
pub const SPEND: Lookup = Lookup {
    head: "WITH wanted (org, workspace, api_key, day) AS",
    tail: "SELECT u.org, u.workspace, u.api_key, u.day, u.amount FROM wanted w CROSS JOIN ledger_key_usage u \
        ON u.org = w.org AND u.workspace = w.workspace AND u.api_key = w.api_key AND u.day = w.day",
};

/// Sequence numbers by incarnation.
pub const ARRIVED: Lookup = Lookup { head: "SELECT incarnation, first, last FROM ledger_sequences WHERE incarnation IN", tail: "" };

/// Writes the events, and gives the id of the first; the others follow without a hole.
pub async fn write(connection: &mut SqliteConnection, bookings: &[Booking<'_>]) -> Result<i64, Error> {
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM ledger_events").fetch_one(&mut *connection).await?;
    let first = last + 1;
    write_events(connection, bookings, first).await?;
    write_entries(connection, bookings, first).await?;
    write_spend(connection, bookings).await?;
    Ok(first)
}

async fn write_events(connection: &mut SqliteConnection, bookings: &[Booking<'_>], first: i64) -> Result<(), Error> {
    const HEAD: &str = "INSERT INTO ledger_events \
        (id, incarnation, sequence, kind, attempt, generation, number, org, workspace, api_key, model, answer, amount, hash, payload)";
    let nobody = Attempt::default();
    let mut id = first;
    bulk::insert(connection, HEAD, bookings, "", |values, booking| {
        let (event, attempt) = booking.ended.map_or((None, &nobody), |(event, attempt)| (Some(event), attempt));
        values.push_bind(id).push_bind(bits(booking.identity.0)).push_bind(bits(booking.identity.1)).push_bind(booking.kind);
        values.push_bind(event.map(|_| attempt.attempt_id.to_vec())).push_bind(event.map(|_| attempt.generation_id.to_vec()));
        values.push_bind(attempt.number).push_bind(attempt.org.clone()).push_bind(attempt.workspace.clone());
        values.push_bind(attempt.api_key.clone()).push_bind(attempt.model.clone());
        values.push_bind(event.map(|event| event.provider_answer_id.clone()).filter(|answer| !answer.is_empty()));
        values.push_bind(event.map_or(0, |event| event.amount_picousd));
        values.push_bind(booking.hash.to_vec()).push_bind(booking.payload.to_vec());
        id += 1;
    })
    .await?;
    Ok(())
}

/// Entries and balances. Accounts are written in the order of their names.
async fn write_entries(connection: &mut SqliteConnection, bookings: &[Booking<'_>], first: i64) -> Result<(), Error> {
    let Postings { entries, sums } = Postings::of(bookings)?;
    let ids = write_balances(connection, &sums).await?;
    let id = |account: &String| ids.get(account).copied().unwrap_or_default();
    bulk::insert(connection, "INSERT INTO ledger_postings (event, account, amount)", &entries, "", |values, (place, account, amount)| {
        values.push_bind(first + i64::try_from(*place).unwrap_or(i64::MAX)).push_bind(id(account)).push_bind(*amount);
    })
    .await?;
    Ok(())
}

/// Adds to the balances, opens the accounts that are new, and gives the ids of all.
async fn write_balances(connection: &mut SqliteConnection, sums: &BTreeMap<String, i128>) -> Result<HashMap<String, i64>, Error> {
    let names: Vec<&String> = sums.keys().collect();
    let found = bulk::find(connection, ACCOUNTS, &names, |values, name| {
        values.push_bind((*name).clone());
    })
    .await?;
    let mut open: HashMap<String, (i64, i128)> = HashMap::with_capacity(found.len());
    for row in found {
        open.insert(row.try_get(1)?, (row.try_get(0)?, amount(row.try_get(2)?)?));
    }
    let mut next: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM ledger_accounts").fetch_one(&mut *connection).await?;
    let mut rows: Vec<(i64, &String, String)> = Vec::with_capacity(sums.len());
    for (name, sum) in sums {
        let (id, balance) = open.get(name).copied().unwrap_or_else(|| {
            next += 1;
            (next - 1, 0)
        });
        rows.push((id, name, (balance + sum).to_string()));
    }
    const UPSERT: &str = "ON CONFLICT (id) DO UPDATE SET balance = excluded.balance";
    bulk::insert(connection, "INSERT INTO ledger_accounts (id, name, balance)", &rows, UPSERT, |values, (id, name, balance)| {
        values.push_bind(*id).push_bind((*name).clone()).push_bind(balance.clone());
    })
    .await?;
    Ok(rows.into_iter().map(|(id, name, _)| (name.clone(), id)).collect())
}

/// Adds to what keys have spent on their days.
async fn write_spend(connection: &mut SqliteConnection, bookings: &[Booking<'_>]) -> Result<(), Error> {
    let mut sums = spend(bookings);
    let wanted: Vec<&(Scope, i64)> = sums.keys().collect();
    let found = bulk::find(connection, SPEND, &wanted, |values, (scope, day)| {
        values.push_bind(scope.org.clone()).push_bind(scope.workspace.clone()).push_bind(scope.api_key.clone()).push_bind(*day);
    })
    .await?;
    for row in found {
        let scope = Scope { org: row.try_get(0)?, workspace: row.try_get(1)?, api_key: row.try_get(2)? };
        *sums.entry((scope, row.try_get(3)?)).or_default() += amount(row.try_get(4)?)?;
    }
    let rows: Vec<(&(Scope, i64), &i128)> = sums.iter().collect();
    const UPSERT: &str = "ON CONFLICT (org, workspace, api_key, day) DO UPDATE SET amount = excluded.amount";
    const HEAD: &str = "INSERT INTO ledger_key_usage (org, workspace, api_key, day, amount)";
    bulk::insert(connection, HEAD, &rows, UPSERT, |values, ((scope, day), sum)| {
        values.push_bind(scope.org.clone()).push_bind(scope.workspace.clone()).push_bind(scope.api_key.clone());
        values.push_bind(*day).push_bind(sum.to_string());
    })
    .await?;
    Ok(())
}

/// The sequence numbers of these incarnations that have arrived.
pub async fn arrived(connection: &mut SqliteConnection, incarnations: &[u64]) -> Result<HashMap<u64, Sequences>, Error> {
    let found = bulk::find(connection, ARRIVED, incarnations, |values, incarnation| {
        values.push_bind(bits(*incarnation));
    })
    .await?;
    let mut ranges: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
    for row in found {
        let (incarnation, first, last): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        ranges.entry(incarnation.cast_unsigned()).or_default().push((first.cast_unsigned(), last.cast_unsigned()));
    }
    Ok(ranges.into_iter().map(|(incarnation, ranges)| (incarnation, Sequences::of(ranges))).collect())
}

/// Writes what has changed between two states of an incarnation's sequence numbers.
pub async fn write_arrived(
    connection: &mut SqliteConnection,
    incarnation: u64,
    before: &Sequences,
    after: &Sequences,
) -> Result<(), Error> {
    let (gone, changed) = range_changes(before, after);
    for first in gone {
        sqlx::query("DELETE FROM ledger_sequences WHERE incarnation = ? AND first = ?")
            .bind(bits(incarnation))
            .bind(bits(first))
            .execute(&mut *connection)
            .await?;
    }
    const UPSERT: &str = "ON CONFLICT (incarnation, first) DO UPDATE SET last = excluded.last";
    bulk::insert(connection, "INSERT INTO ledger_sequences (incarnation, first, last)", &changed, UPSERT, |values, (first, last)| {
        values.push_bind(bits(incarnation)).push_bind(bits(*first)).push_bind(bits(*last));
    })
    .await?;
    Ok(())
}
