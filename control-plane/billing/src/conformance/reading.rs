//! The ledger read back: by request, by filter, by key.

use std::time::Duration;

use tokio::time::Instant;
use waybill_model::price::{Rate, Tariff};
use waybill_proto::{
    admin::v1::EventsRequest,
    usage::v1::{Event, Kind},
};

use super::{Subject, booking::scope, commit, sample, sequences};
use crate::{Ledger, Scope};

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

async fn book(ledger: &dyn Ledger, first: u64, events: &[Event]) {
    let records: Vec<_> = (first..).zip(events).map(|(sequence, event)| sample::spooled(1, sequence, event)).collect();
    assert_eq!(commit(ledger, &records).await.inserted, events.len());
}

/// Attempts by number; a provider's id that was seen twice gives the newest; nobody sees another key's.
pub async fn a_request_is_found_by_its_key_only(subject: Subject) {
    let ledger = subject.open().await;
    let foreign_answer = sample::generation_id(1).to_string();
    let events = [
        of(0, 2, 2, Kind::Orphaned),
        with_answer(of(0, 3, 3, Kind::Settled), "resp_1"),
        of(0, 1, 0, Kind::Failed),
        with_answer(sample::event(6, Kind::Settled), "resp_1"),
        with_answer(sample::event(9, Kind::Settled), &foreign_answer),
        with_answer(sample::event(4, Kind::Settled), "resp_2"),
    ];
    for (sequence, event) in (1..).zip(&events) {
        book(&*ledger, sequence, std::slice::from_ref(event)).await;
    }
    let (own, other) = (scope(0), scope(1));
    let elsewhere = Scope { org: "else".into(), ..own.clone() };
    let nobody = Scope { org: "acme\0".into(), ..own.clone() };
    let first = sample::generation_id(0).to_string();
    let rows: [(&str, &Scope, &[u64]); 12] = [
        (&first, &own, &[3, 1, 2]),
        ("resp_1", &own, &[4]),
        (&foreign_answer, &own, &[5]),
        ("resp_2", &own, &[]),
        ("resp_2", &other, &[6]),
        (&first, &other, &[]),
        (&first, &elsewhere, &[]),
        (&first, &nobody, &[]),
        ("resp_1", &elsewhere, &[]),
        ("", &own, &[]),
        ("gen-%", &own, &[]),
        ("resp\0", &own, &[]),
    ];
    for (id, scope, expected) in rows {
        assert_eq!(sequences(&ledger.generation(id, scope).await.expect("found")), expected, "{id} {scope:?}");
    }
    let attempt = sample::attempt_id(2).to_string();
    for (id, expected) in
        [(first.as_str(), [3, 1, 2].as_slice()), (&attempt, &[3, 1, 2]), ("resp_2", &[6]), ("resp_1", &[4]), ("att-x", &[])]
    {
        assert_eq!(sequences(&ledger.explain(id).await.expect("explained")), expected, "{id}");
    }
}

/// Listings by key, model, workspace, kind and position.
pub async fn events_are_filtered_and_the_newest_are_kept(subject: Subject) {
    let ledger = subject.open().await;
    let kind = |number: u64| if number.is_multiple_of(2) { Kind::Settled } else { Kind::Failed };
    book(&*ledger, 1, &(1..=150).map(|number| sample::event(number, kind(number))).collect::<Vec<_>>()).await;
    commit(&*ledger, &[sample::closed(1, 151, 150, true)]).await;
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
        (EventsRequest { api_key: "key-0\0".into(), ..all() }, vec![]),
    ];
    for (request, expected) in rows {
        assert_eq!(sequences(&ledger.events(&request).await.expect("listed")), expected, "{request:?}");
    }
    let newest = ledger.events(&EventsRequest { limit: 50, ..all() }).await.expect("listed");
    let before = newest.first().expect("a row").position;
    let page = ledger.events(&EventsRequest { limit: 3, before, ..all() }).await.expect("listed");
    assert_eq!((sequences(&newest)[0], sequences(&page)), (101, vec![98, 99, 100]), "pages go on where the one before began");
}

/// Windows of the calendar, by the time the attempts began.
pub async fn spend_is_kept_by_key_and_by_day(subject: Subject) {
    let ledger = subject.open().await;
    let on = |number: u64, days: i64, kind| {
        let mut event = sample::event(number, kind);
        event.attempt.as_mut().expect("an attempt").start_unix_us = sample::NOON_US + days * 86_400_000_000;
        event
    };
    // A Wednesday, the fourth of the month; all of key 0 but one.
    let events =
        [on(0, 0, Kind::Settled), on(3, 0, Kind::Partial), on(6, -2, Kind::Settled), on(9, -3, Kind::Settled), on(12, -4, Kind::Settled)];
    book(&*ledger, 1, &events).await;
    book(&*ledger, 6, &[on(15, 0, Kind::Orphaned), on(18, 0, Kind::Failed), on(1, 0, Kind::Settled)]).await;
    let sum =
        |numbers: &[u64]| -> i128 { numbers.iter().map(|number| i128::from(sample::event(*number, Kind::Settled).amount_picousd)).sum() };
    let usage = ledger.key_usage(&scope(0), sample::NOON_US).await.expect("usage");
    assert_eq!((usage.daily, usage.weekly), (sum(&[0, 3]), sum(&[0, 3, 6])));
    assert_eq!((usage.monthly, usage.total), (sum(&[0, 3, 6, 9]), sum(&[0, 3, 6, 9, 12])));
    assert_eq!(ledger.key_usage(&scope(7), sample::NOON_US).await.expect("usage").total, 0);
    for (prefix, expected) in [("receivable/w-1", 1), ("%", 0), ("provider_cost", 2), ("\0", 0)] {
        assert_eq!(ledger.balances(prefix).await.expect("balances").len(), expected, "{prefix:?}");
    }
}

/// Whoever waits is woken by what the same process books, and does not miss what another one has booked.
pub async fn who_waits_is_woken_by_another_process(subject: Subject) {
    let (asked, other) = (subject.open().await, subject.open().await);
    let far = Instant::now() + Duration::from_secs(600);
    let event = sample::event(0, Kind::Settled);
    let (id, own) = (sample::generation_id(0).to_string(), scope(0));
    let arriving = [sample::event(3, Kind::Settled), event.clone()];
    let (by_id, by_answer, explained, ()) = tokio::join!(
        asked.wait_for(&id, &own, far),
        asked.wait_for(&event.provider_answer_id, &own, far),
        asked.explain_by(&id, far),
        book(&*asked, 1, &arriving),
    );
    for found in [by_id, by_answer, explained] {
        assert_eq!(sequences(&found.expect("found")), [2]);
    }
    book(&*other, 3, &[of(6, 1, 6, Kind::Failed)]).await;
    let (id, next) = (sample::generation_id(6).to_string(), [of(6, 2, 9, Kind::Settled)]);
    let (found, ()) = tokio::join!(asked.wait_for(&id, &own, far), book(&*asked, 4, &next));
    assert_eq!(sequences(&found.expect("found")), [3, 4], "a failed attempt is not the whole request");
    let passed = asked.wait_for("resp_9", &own, Instant::now()).await.expect("answered");
    assert_eq!(passed, [], "the deadline has passed");
}

/// Price versions come back, and every event is what its price version makes of it.
pub async fn prices_are_remembered_and_every_event_is_priced_again(subject: Subject) {
    let ledger = subject.open().await;
    let cheaper =
        Tariff::new(sample::tariff().rates().iter().map(|rate| Rate { picousd_per_million: rate.picousd_per_million / 2, ..rate.clone() }));
    ledger.remember_prices(&[]).await.expect("nothing to remember");
    ledger.remember_prices(&[sample::tariff(), cheaper.clone(), sample::tariff()]).await.expect("remembered");
    subject.open().await.remember_prices(std::slice::from_ref(&cheaper)).await.expect("remembered again");
    let prices = ledger.price_versions().await.expect("prices");
    assert_eq!(prices.len(), 2);
    let mut wrong = sample::event(4, Kind::Settled);
    wrong.attempt.as_mut().expect("an attempt").price_version = cheaper.version().as_str().into();
    let kinds = [Kind::Settled, Kind::Partial, Kind::Failed, Kind::Orphaned];
    let mut events: Vec<Event> = (10..).zip(kinds).map(|(number, kind)| sample::event(number, kind)).collect();
    book(&*ledger, 1, &events).await;
    let recomputed = ledger.recompute(&|version| prices.get(version).cloned()).await.expect("recomputed");
    assert_eq!((recomputed.events, recomputed.differences), (4, vec![]));
    events.push(wrong);
    book(&*ledger, 5, &events[4..]).await;
    let recomputed = ledger.recompute(&|version| prices.get(version).cloned()).await.expect("recomputed");
    assert!(recomputed.differences.iter().all(|difference| difference.contains(&sample::attempt_id(4).to_string())));
    assert!(!recomputed.differences.is_empty());
}
