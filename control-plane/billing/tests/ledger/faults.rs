//! Each planted fault is found: by `verify` what contradicts the ledger itself, by `recompute` what contradicts the prices.

use prost::Message;
use waybill_billing::{Adjustment, Ledger, Progress, Sqlite};
use waybill_model::{
    money::Picousd,
    price::{Rate, Tariff},
};
use waybill_proto::usage::v1::{Event, Kind, Source};

use crate::sample;

/// A sound ledger with one of each kind, an adjusted orphan, a closed incarnation and something in quarantine.
async fn sound(folder: &std::path::Path) -> Sqlite {
    let ledger = sample::open(folder).await;
    let kinds = [Kind::Settled, Kind::Partial, Kind::Failed, Kind::Orphaned, Kind::Orphaned];
    let mut records: Vec<_> = (1..).zip(kinds).map(|(number, kind)| sample::spooled(1, number, &sample::event(number, kind))).collect();
    records.push(sample::spooled(1, 6, &sample::event(1, Kind::Failed)));
    records.push(sample::closed(1, 7, 6, false));
    ledger.commit(&records, Progress::None).await.expect("committed");
    ledger.remember_prices(&[sample::tariff()]).await.expect("remembered");
    let adjustment = Adjustment { operator: "ann".into(), reason: "invoice".into(), unix_us: 1 };
    ledger.adjust(sample::attempt_id(5), Picousd(3), adjustment).await.expect("adjusted");
    ledger
}

#[tokio::test]
async fn a_sound_ledger_has_no_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sound(folder.path()).await;
    let verified = ledger.verify().await.expect("verified");
    assert_eq!(verified.faults, Vec::<String>::new());
    assert_eq!((verified.events, verified.postings, verified.attempts, verified.incarnations), (7, 4 + 4 + 2 + 2 + 6, 5, 2));
    let prices = ledger.price_versions().await.expect("prices");
    let recomputed = ledger.recompute(&|version| prices.get(version).cloned()).await.expect("recomputed");
    assert_eq!((recomputed.events, recomputed.unpriced, recomputed.differences), (6, 0, vec![]));
}

#[tokio::test]
async fn verify_finds_each_planted_fault() {
    const DUPLICATE: &str = "INSERT INTO ledger_events SELECT 8, incarnation, 99, kind, attempt, generation, number, org, workspace, api_key, \
        model, answer, amount, hash, payload FROM ledger_events WHERE";
    let rows: [(&str, &str); 22] = [
        ("UPDATE ledger_postings SET amount = amount + 1 WHERE event = 1 AND amount > 0", "its entries sum to 2, not to zero"),
        ("UPDATE ledger_postings SET amount = amount * 2 WHERE event = 1", "it is posted as"),
        ("UPDATE ledger_postings SET amount = amount * 2 WHERE event = 1", "its postings sum to"),
        (
            "UPDATE ledger_postings SET account = 999 WHERE event = 1 AND account = (SELECT max(account) FROM ledger_postings WHERE event = 1)",
            "does not exist",
        ),
        ("DELETE FROM ledger_postings WHERE event = 4", "it is posted as []"),
        ("DELETE FROM ledger_postings WHERE event = 7", "it is posted as []"),
        ("INSERT INTO ledger_postings VALUES (99, 1, 1)", "postings, of which"),
        ("INSERT INTO ledger_postings VALUES (3, 1, 1), (3, 2, -1)", "which should be []"),
        ("UPDATE ledger_accounts SET balance = balance - 1 WHERE name = 'usage_revenue'", "account usage_revenue: the balance is"),
        ("DELETE FROM ledger_events WHERE id = 2", "there is a hole before row 3"),
        ("UPDATE ledger_events SET amount = amount + 1 WHERE id = 1", "the columns of its row are not what its payload says"),
        ("UPDATE ledger_events SET api_key = 'key-2' WHERE id = 1", "the columns of its row are not what its payload says"),
        ("UPDATE ledger_events SET hash = zeroblob(16) WHERE id = 1", "the content is not the one that was booked"),
        ("UPDATE ledger_events SET payload = x'ff' WHERE id = 1", "the payload cannot be decoded"),
        ("UPDATE ledger_key_usage SET amount = amount + 1", "is not in its spend"),
        ("UPDATE ledger_sequences SET last = last + 1 WHERE incarnation = 1", "are not those of its records"),
        ("INSERT INTO ledger_sequences VALUES (77, 1, 1)", "of which there is no record"),
        ("DELETE FROM ledger_quarantine", "these sequences never arrived: 6"),
        ("UPDATE ledger_closed SET doubt = 1", "its end is kept as"),
        ("UPDATE ledger_price_versions SET text = 'input - 0 1'", "the version is the hash of"),
        ("two terminal events", "it has more than one terminal event"),
        ("two adjustments", "it was adjusted more than once"),
    ];
    for (fault, expected) in rows {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = sound(folder.path()).await;
        let mut past = sample::past(folder.path()).await;
        let statements = match fault {
            "two terminal events" => vec!["DROP INDEX ledger_events_terminal".into(), format!("{DUPLICATE} id = 1")],
            "two adjustments" => vec!["DROP INDEX ledger_events_adjusted".into(), format!("{DUPLICATE} kind = 6")],
            statement => vec![statement.to_owned()],
        };
        let mut changed = 0;
        for statement in statements {
            changed = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut past).await.expect("planted").rows_affected();
        }
        assert!(changed > 0, "{fault}");
        let faults = ledger.verify().await.expect("verified").faults;
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{fault}: {faults:?}");
    }
}

#[tokio::test]
async fn an_adjustment_of_what_is_not_orphaned_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sound(folder.path()).await;
    let mut past = sample::past(folder.path()).await;
    let settled = sample::attempt_id(1);
    sqlx::query("UPDATE ledger_events SET attempt = ? WHERE kind = 6")
        .bind(&settled.as_bytes()[..])
        .execute(&mut past)
        .await
        .expect("planted");
    let faults = ledger.verify().await.expect("verified").faults;
    assert!(faults.contains(&format!("{settled}: it was adjusted and is not orphaned")), "{faults:?}");
}

#[tokio::test]
async fn arithmetic_and_prices_are_checked_line_by_line() {
    let cheaper =
        Tariff::new(sample::tariff().rates().iter().map(|rate| Rate { picousd_per_million: rate.picousd_per_million / 2, ..rate.clone() }));
    // The kind, what is done to its event, what verify says of it, and recompute.
    type Row<'a> = (Kind, &'a dyn Fn(&mut Event), Option<&'a str>, Option<&'a str>);
    let version = |event: &mut Event, version: &str| event.attempt.as_mut().expect("an attempt").price_version = version.into();
    let rows: [Row<'_>; 20] = [
        (Kind::Settled, &|_| {}, None, None),
        (Kind::Settled, &|event| event.amount_picousd += 1, Some("the amount is"), Some("the amount is")),
        (Kind::Settled, &|event| event.lines[0].amount_picousd += 1, Some("line input"), Some("the price version gives input")),
        (Kind::Settled, &|event| event.lines[0].rate_picousd += 1_000_000, Some("line input"), Some("the event has input")),
        (Kind::Settled, &|event| event.lines[1].quantity += 1_000_000, Some("line cache_read"), Some("the price version gives cache_read")),
        (Kind::Settled, &|event| event.lines[0].meter = "tokens".into(), None, Some("`tokens` is not a meter")),
        (Kind::Settled, &|event| event.lines[0].tier = "flex".into(), None, Some("the event has input (flex")),
        (Kind::Settled, &|event| drop(event.lines.pop()), Some("the lines make"), Some("the lines make")),
        (Kind::Settled, &|event| version(event, "0123456789abcdef"), None, Some("price version 0123456789abcdef is unknown")),
        (Kind::Settled, &|event| version(event, cheaper.version().as_str()), None, Some("the price version gives input")),
        (Kind::Settled, &|event| version(event, ""), None, Some("it has no price version and an amount of")),
        (Kind::Failed, &|event| version(event, ""), None, None),
        (Kind::Partial, &|event| event.amount_picousd -= 1, Some("the lines make"), Some("the lines make")),
        (
            Kind::Partial,
            &|event| {
                event.source = Source::Estimated.into();
                event.amount_picousd = 5;
                event.attempt.as_mut().expect("an attempt").reservation_picousd = 5;
            },
            None,
            None,
        ),
        (Kind::Orphaned, &|_| {}, None, None),
        (Kind::Orphaned, &|event| event.lines = event.attempt.as_ref().expect("an attempt").bound.clone(), None, None),
        (Kind::Orphaned, &|event| event.amount_picousd -= 1, Some("the amount is"), Some("the reservation was")),
        (
            Kind::Orphaned,
            &|event| event.attempt.as_mut().expect("an attempt").bound[0].rate_picousd += 1_000_000,
            Some("line input"),
            Some("the price version gives"),
        ),
        (
            Kind::Orphaned,
            &|event| event.attempt.as_mut().expect("an attempt").bound[1].tier = "flex".into(),
            None,
            Some("no rate for output (flex"),
        ),
        (Kind::Orphaned, &|event| version(event, "unknown"), None, Some("price version unknown is unknown")),
    ];
    for (number, (kind, change, verified, recomputed)) in (1_u64..).zip(rows) {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = sample::open(folder.path()).await;
        ledger.remember_prices(&[sample::tariff(), cheaper.clone(), sample::tariff()]).await.expect("remembered");
        let mut event = sample::event(number, kind);
        change(&mut event);
        assert_eq!(ledger.commit(&[sample::spooled(1, 1, &event)], Progress::None).await.expect("committed").inserted, 1, "{number}");
        let prices = ledger.price_versions().await.expect("prices");
        let found = [
            (ledger.verify().await.expect("verified").faults, verified),
            (ledger.recompute(&|version| prices.get(version).cloned()).await.expect("recomputed").differences, recomputed),
        ];
        for (found, expected) in found {
            let right = expected.map_or(found.is_empty(), |expected| found.iter().any(|fault| fault.contains(expected)));
            assert!(right, "row {number}, {kind:?}: {found:?}, expected {expected:?}");
        }
    }
}

#[tokio::test]
async fn an_amount_that_is_changed_behind_the_ledgers_back_is_found_by_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sound(folder.path()).await;
    let mut cheaper = sample::event(1, Kind::Settled);
    cheaper.lines.truncate(1);
    cheaper.amount_picousd = cheaper.lines[0].amount_picousd;
    cheaper.lines[0].rate_picousd /= 2;
    let mut past = sample::past(folder.path()).await;
    sqlx::query("UPDATE ledger_events SET payload = ? WHERE id = 1")
        .bind(cheaper.encode_to_vec())
        .execute(&mut past)
        .await
        .expect("planted");
    let faults = ledger.verify().await.expect("verified").faults;
    assert!(faults.iter().any(|fault| fault.contains("the content is not the one that was booked")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("it is posted as")), "{faults:?}");
    let differences = ledger.recompute(&|_| Some(sample::tariff())).await.expect("recomputed").differences;
    assert!(!differences.is_empty() && differences[0].contains(&sample::attempt_id(1).to_string()), "{differences:?}");
}

#[tokio::test]
async fn a_price_text_that_was_changed_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sound(folder.path()).await;
    let mut past = sample::past(folder.path()).await;
    sqlx::query("UPDATE ledger_price_versions SET text = 'input - 0 1'").execute(&mut past).await.expect("planted");
    let error = ledger.price_versions().await.expect_err("refused").to_string();
    assert!(error.contains("the version is the hash of"), "{error}");
}
