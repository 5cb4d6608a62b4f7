//! An orphaned attempt is resolved once, by a named operator.

use waybill_billing::{Adjustment, Ledger, Progress, Refusal, Sqlite};
use waybill_model::money::Picousd;
use waybill_proto::{admin::v1::EventsRequest, usage::v1::Kind};

use crate::sample;

fn by(operator: &str, reason: &str) -> Adjustment {
    Adjustment { operator: operator.into(), reason: reason.into(), unix_us: sample::NOON_US }
}

async fn balances(ledger: &Sqlite) -> Vec<(String, i128)> {
    let all = ledger.balances("").await.expect("balances");
    all.into_iter()
        .map(|balance| (balance.account, balance.amount_picousd.parse().expect("a number")))
        .filter(|(_, amount)| *amount != 0)
        .collect()
}

#[tokio::test]
async fn the_reversal_frees_the_suspense_and_the_amount_is_booked_as_settled() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let orphan = sample::event(3, Kind::Orphaned);
    let held = i128::from(orphan.amount_picousd);
    ledger
        .commit(&[sample::spooled(1, 1, &orphan), sample::spooled(1, 2, &sample::event(6, Kind::Orphaned))], Progress::None)
        .await
        .expect("committed");
    let other = i128::from(sample::event(6, Kind::Orphaned).amount_picousd);
    assert_eq!(
        balances(&ledger).await,
        [
            ("provider_payable_unconfirmed/account-0".into(), -other),
            ("provider_payable_unconfirmed/account-1".into(), -held),
            ("suspense/w-0".into(), held + other),
        ]
    );
    assert_eq!(ledger.status().await.expect("status").orphaned_open, 2);
    assert_eq!(ledger.key_usage(&sample::scope(0), sample::NOON_US).await.expect("usage").total, 0, "what is in suspense is not spent");

    let row = ledger.adjust(sample::attempt_id(3), Picousd(77), by(" ann ", "the invoice of March")).await.expect("adjusted");
    let adjusted = row.adjusted.expect("the event that resolved it");
    assert_eq!((row.incarnation, row.sequence, row.event.as_ref()), (1, 1, Some(&orphan)));
    assert_eq!((adjusted.kind(), adjusted.amount_picousd, &adjusted.attempt), (Kind::Adjusted, 77, &orphan.attempt));
    assert_eq!(
        balances(&ledger).await,
        [
            ("provider_cost/account-1".into(), 77),
            ("provider_payable/account-1".into(), -77),
            ("provider_payable_unconfirmed/account-0".into(), -other),
            ("receivable/w-0".into(), 77),
            ("suspense/w-0".into(), other),
            ("usage_revenue".into(), -77),
        ]
    );
    assert_eq!(ledger.status().await.expect("status").orphaned_open, 1);
    assert_eq!(ledger.key_usage(&sample::scope(0), sample::NOON_US).await.expect("usage").daily, 77);
    assert_eq!(ledger.adjustment(sample::attempt_id(3)).await.expect("read"), Some(by("ann", "the invoice of March")));
    let explained = ledger.explain(&sample::attempt_id(3).to_string()).await.expect("explained");
    assert_eq!(explained[0].adjusted.as_ref(), Some(&adjusted));
    let listed = ledger.events(&EventsRequest { kind: Kind::Adjusted.into(), ..EventsRequest::default() }).await.expect("listed");
    assert_eq!((listed[0].incarnation, listed[0].sequence), (ledger.incarnation(), 1));

    ledger.adjust(sample::attempt_id(6), Picousd(0), by("ben", "never billed")).await.expect("adjusted");
    assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new());
    let prices = |_: &str| Some(sample::tariff());
    assert_eq!(
        ledger.recompute(&prices).await.expect("recomputed").differences,
        Vec::<String>::new(),
        "an operator's amount has no quantities"
    );
}

#[tokio::test]
async fn what_cannot_be_adjusted_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let kinds = [Kind::Settled, Kind::Failed, Kind::Orphaned, Kind::Orphaned];
    let records: Vec<_> = (1..).zip(kinds).map(|(number, kind)| sample::spooled(1, number, &sample::event(number, kind))).collect();
    ledger.commit(&records, Progress::None).await.expect("committed");
    ledger.adjust(sample::attempt_id(4), Picousd(1), by("ann", "invoice")).await.expect("adjusted");
    let before = sample::content(folder.path()).await;
    let rows: [(u64, i64, Adjustment, &str); 8] = [
        (9, 1, by("ann", "invoice"), "is not in the ledger"),
        (1, 1, by("ann", "invoice"), "is settled, not orphaned"),
        (2, 1, by("ann", "invoice"), "is failed, not orphaned"),
        (4, 1, by("ann", "invoice"), "has been adjusted already"),
        (3, 1, by(" ", "invoice"), "name of its operator"),
        (3, 1, by("ann", "\n"), "on what evidence"),
        (3, -1, by("ann", "invoice"), "must not be negative"),
        (3, i64::MIN, by("ann", "invoice"), "must not be negative"),
    ];
    for (attempt, amount, adjustment, expected) in rows {
        let refusal: Refusal = ledger.adjust(sample::attempt_id(attempt), Picousd(amount), adjustment).await.expect_err(expected);
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }
    assert_eq!(sample::content(folder.path()).await, before);
}

#[tokio::test]
async fn of_two_operators_at_once_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (sample::open(folder.path()).await, sample::open(folder.path()).await);
    one.commit(&[sample::spooled(1, 1, &sample::event(1, Kind::Orphaned))], Progress::None).await.expect("committed");
    let attempt = sample::attempt_id(1);
    let (first, second) = tokio::join!(one.adjust(attempt, Picousd(1), by("ann", "a")), two.adjust(attempt, Picousd(2), by("ben", "b")));
    assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1, "{first:?} {second:?}");
    assert_eq!(one.verify().await.expect("verified").faults, Vec::<String>::new());
}
