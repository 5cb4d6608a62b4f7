//! The ledger read back: by request, by filter, by key.

use std::time::Duration;

use tokio::time::Instant;
use waybill_billing::{Cost, Ledger, Progress, Scope, Sqlite};
use waybill_proto::{
    admin::v1::{EventRow, EventsRequest},
    usage::v1::{Closed, Event, Kind},
};

use crate::sample;

/// Attempt `number` as the n-th of the request of attempt `generation`.
fn of(generation: u64, nth: u32, number: u64, kind: Kind) -> Event {
    let mut event = sample::event(number, kind);
    let owner = sample::event(generation, kind).attempt.expect("an attempt");
    if let Some(attempt) = &mut event.attempt {
        attempt.number = nth;
        attempt.generation_id = owner.generation_id;
        (attempt.org, attempt.workspace, attempt.api_key) = (owner.org, owner.workspace, owner.api_key);
    }
    event
}

fn with_answer(mut event: Event, answer: &str) -> Event {
    event.provider_answer_id = answer.into();
    event
}

async fn book(ledger: &Sqlite, first: u64, events: &[Event]) {
    let records: Vec<_> = (first..).zip(events).map(|(sequence, event)| sample::spooled(1, sequence, event)).collect();
    assert_eq!(ledger.commit(&records, Progress::None).await.expect("committed").inserted, events.len());
}

fn numbers(rows: &[EventRow]) -> Vec<u32> {
    rows.iter().filter_map(|row| row.event.as_ref()?.attempt.as_ref()).map(|attempt| attempt.number).collect()
}

fn sequences(rows: &[EventRow]) -> Vec<u64> {
    rows.iter().map(|row| row.sequence).collect()
}

#[tokio::test]
async fn a_request_is_found_by_its_id_and_by_the_providers_within_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let foreign_answer = sample::generation_id(1).to_string();
    book(
        &ledger,
        1,
        &[
            of(0, 2, 2, Kind::Orphaned),
            with_answer(of(0, 3, 3, Kind::Settled), "resp_1"),
            of(0, 1, 0, Kind::Failed),
            with_answer(sample::event(6, Kind::Settled), "resp_1"),
            with_answer(sample::event(9, Kind::Settled), &foreign_answer),
            with_answer(sample::event(4, Kind::Settled), "resp_2"),
        ],
    )
    .await;
    let (own, other) = (sample::scope(0), sample::scope(1));
    let elsewhere = Scope { org: "else".into(), ..own.clone() };
    let first = sample::generation_id(0).to_string();
    let rows: [(&str, &Scope, &[u64]); 10] = [
        (&first, &own, &[3, 1, 2]),
        ("resp_1", &own, &[4]),
        (&foreign_answer, &own, &[5]),
        ("resp_2", &own, &[]),
        ("resp_2", &other, &[6]),
        (&first, &other, &[]),
        (&first, &elsewhere, &[]),
        ("resp_1", &elsewhere, &[]),
        ("", &own, &[]),
        ("gen-%", &own, &[]),
    ];
    for (id, scope, expected) in rows {
        assert_eq!(sequences(&ledger.generation(id, scope).await.expect("found")), expected, "{id} {scope:?}");
    }
    for (id, expected) in [
        (first.as_str(), [3, 1, 2].as_slice()),
        (&sample::attempt_id(2).to_string(), &[3, 1, 2]),
        ("resp_2", &[6]),
        ("resp_1", &[4]),
        ("att-x", &[]),
    ] {
        assert_eq!(sequences(&ledger.explain(id).await.expect("explained")), expected, "{id}");
    }
    let attempts = ledger.generation(&first, &own).await.expect("found");
    assert_eq!(numbers(&attempts), [1, 2, 3]);
    let mut cost = Cost::default();
    attempts
        .iter()
        .filter_map(|row| Some((row.event.as_ref()?, row.adjusted.as_ref())))
        .for_each(|(event, adjusted)| cost.add(event, adjusted));
    let amount = |number, kind| i128::from(sample::event(number, kind).amount_picousd);
    assert_eq!(cost, Cost { booked: amount(3, Kind::Settled), pending: amount(2, Kind::Orphaned) });
}

#[tokio::test]
async fn events_are_filtered_and_the_newest_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let kind = |number: u64| if number.is_multiple_of(2) { Kind::Settled } else { Kind::Failed };
    book(&ledger, 1, &(1..=150).map(|number| sample::event(number, kind(number))).collect::<Vec<_>>()).await;
    ledger.commit(&[sample::closed(1, 151, 150, true)], Progress::None).await.expect("committed");
    let all = EventsRequest::default;
    let matching = |wanted: fn(u64) -> bool, limit: usize| -> Vec<u64> {
        let mut found: Vec<u64> = (1..=150).rev().filter(|number| wanted(*number)).take(limit).collect();
        found.reverse();
        found
    };
    let rows = [
        (all(), matching(|_| true, 100)),
        (EventsRequest { limit: 2, ..all() }, vec![149, 150]),
        (EventsRequest { api_key: "key-2".into(), limit: 200, ..all() }, matching(|number| number % 3 == 2, 200)),
        (EventsRequest { workspace: "w-1".into(), ..all() }, matching(|number| number % 3 == 1, 100)),
        (EventsRequest { model: "author/model-3".into(), ..all() }, matching(|number| number % 4 == 3, 100)),
        (EventsRequest { kind: Kind::Failed.into(), api_key: "key-0".into(), ..all() }, matching(|number| number % 6 == 3, 100)),
        (EventsRequest { kind: Kind::Closed.into(), ..all() }, vec![151]),
        (EventsRequest { api_key: "nobody".into(), ..all() }, vec![]),
        (EventsRequest { before: 100, limit: 3, ..all() }, vec![97, 98, 99]),
    ];
    for (request, expected) in rows {
        assert_eq!(sequences(&ledger.events(&request).await.expect("listed")), expected, "{request:?}");
    }
    let status = ledger.status().await.expect("status");
    assert_eq!(status.incarnations[0].closed, Some(Closed { last_sequence: 150, doubt: true }));
}

#[tokio::test]
async fn missing_sequences_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let record = |sequence| sample::spooled(8, sequence, &sample::event(sequence, Kind::Settled));
    ledger.commit(&[record(1), record(2), record(4), record(9)], Progress::None).await.expect("committed");
    let open = ledger.status().await.expect("status").incarnations.remove(0);
    assert_eq!((open.watermark, open.highest, open.missing, open.closed), (2, 9, vec![(3, 3), (5, 8)], None));
    assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new(), "they may still come");
    ledger.commit(&[record(3), sample::closed(8, 13, 12, false)], Progress::None).await.expect("committed");
    let closed = ledger.status().await.expect("status").incarnations.remove(0);
    assert_eq!((closed.watermark, closed.highest, closed.missing), (4, 13, vec![(5, 8), (10, 12)]));
    let faults = ledger.verify().await.expect("verified").faults;
    assert!(faults.len() == 1 && faults[0].ends_with("never arrived: 5-8, 10-12"), "{faults:?}");
}

#[tokio::test]
async fn spend_is_kept_by_key_and_by_day() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let on = |number: u64, days: i64, kind| {
        let mut event = sample::event(number, kind);
        event.attempt.as_mut().expect("an attempt").start_unix_us = sample::NOON_US + days * 86_400_000_000;
        event
    };
    // A Wednesday, the fourth of the month; all of key 0 but one.
    let events =
        [on(0, 0, Kind::Settled), on(3, 0, Kind::Partial), on(6, -2, Kind::Settled), on(9, -3, Kind::Settled), on(12, -4, Kind::Settled)];
    book(&ledger, 1, &events).await;
    book(&ledger, 6, &[on(15, 0, Kind::Orphaned), on(18, 0, Kind::Failed), on(1, 0, Kind::Settled)]).await;
    let sum =
        |numbers: &[u64]| -> i128 { numbers.iter().map(|number| i128::from(sample::event(*number, Kind::Settled).amount_picousd)).sum() };
    let usage = ledger.key_usage(&sample::scope(0), sample::NOON_US).await.expect("usage");
    assert_eq!((usage.daily, usage.weekly), (sum(&[0, 3]), sum(&[0, 3, 6])));
    assert_eq!((usage.monthly, usage.total), (sum(&[0, 3, 6, 9]), sum(&[0, 3, 6, 9, 12])));
    let next_month = ledger.key_usage(&sample::scope(0), sample::NOON_US + 31 * 86_400_000_000).await.expect("usage");
    assert_eq!((next_month.monthly, next_month.total), (0, usage.total));
    assert_eq!(ledger.key_usage(&sample::scope(7), sample::NOON_US).await.expect("usage").total, 0);
}

#[tokio::test]
async fn who_waits_for_a_request_is_woken_by_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let far = Instant::now() + Duration::from_secs(3_600);
    let event = sample::event(0, Kind::Settled);
    let by_id = sample::generation_id(0).to_string();
    let scope = sample::scope(0);
    let arriving = [sample::event(3, Kind::Settled), event.clone()];
    let (by_id, by_answer, ()) = tokio::join!(
        ledger.wait_for(&by_id, &scope, far),
        ledger.wait_for(&event.provider_answer_id, &scope, far),
        book(&ledger, 1, &arriving),
    );
    assert_eq!(sequences(&by_id.expect("found")), [2]);
    assert_eq!(sequences(&by_answer.expect("found")), [2]);
    let passed = ledger.wait_for("resp_9", &scope, Instant::now()).await.expect("answered");
    assert_eq!(passed, [], "the deadline has passed");
}

#[tokio::test]
async fn a_failed_attempt_is_not_taken_for_the_whole_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    book(&ledger, 1, &[of(0, 1, 0, Kind::Failed)]).await;
    let id = sample::generation_id(0).to_string();
    let (scope, far) = (sample::scope(0), Instant::now() + Duration::from_secs(3_600));
    let next = [of(0, 2, 2, Kind::Settled)];
    let (found, ()) = tokio::join!(ledger.wait_for(&id, &scope, far), book(&ledger, 2, &next));
    assert_eq!(sequences(&found.expect("found")), [1, 2]);
    book(&ledger, 3, &[sample::event(3, Kind::Failed)]).await;
    let alone = ledger.wait_for(&sample::generation_id(3).to_string(), &scope, far).await.expect("found");
    assert_eq!(sequences(&alone), [3], "nothing follows, and nobody waits for an hour");
}

#[tokio::test]
async fn balances_are_listed_by_the_beginning_of_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    book(&ledger, 1, &[sample::event(0, Kind::Settled), sample::event(1, Kind::Settled)]).await;
    for (prefix, expected) in [("", 7), ("receivable/", 2), ("receivable/w-1", 1), ("%", 0), ("provider_", 4)] {
        assert_eq!(ledger.balances(prefix).await.expect("balances").len(), expected, "{prefix}");
    }
}
