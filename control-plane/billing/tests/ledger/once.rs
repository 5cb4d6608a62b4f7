//! However records are delivered, the ledger is the one of a single delivery.

use std::path::Path;

use proptest::prelude::*;
use tokio::task::yield_now;
use waybill_billing::{Cursor, Ledger, Progress, Report, Sqlite};
use waybill_proto::usage::v1::{Kind, Spooled};

use crate::sample;

const KINDS: [Kind; 4] = [Kind::Settled, Kind::Partial, Kind::Failed, Kind::Orphaned];

/// Records of three incarnations. Each second one is complete and closed, each fifth record is damaged.
fn records(attempts: &[(u64, usize)]) -> Vec<Spooled> {
    let mut next = [1_u64; 3];
    let mut records = Vec::new();
    for (number, (incarnation, kind)) in (0_u64..).zip(attempts) {
        let sequence = &mut next[usize::try_from(*incarnation).expect("small")];
        let mut record = sample::spooled(u64::MAX - incarnation, *sequence, &sample::event(number, KINDS[*kind]));
        if number % 5 == 4 {
            record.payload = record.payload.slice(..record.payload.len() - 1);
        }
        records.push(record);
        *sequence += 1;
    }
    records.push(sample::closed(u64::MAX, next[0], next[0] - 1, false));
    records.push(sample::closed(u64::MAX - 2, next[2] + 1, next[2], true));
    records
}

#[derive(Clone, Debug)]
enum Delivery {
    /// A batch of these records (modulo their number).
    Whole(Vec<usize>),
    /// The same, but the caller gives up at its n-th turn.
    Interrupted(Vec<usize>, usize),
    /// The process dies and starts again.
    Restart,
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let batch = proptest::collection::vec(0_usize..1_000, 0..30);
    prop_oneof![
        4 => batch.clone().prop_map(Delivery::Whole),
        2 => (batch, 0_usize..60).prop_map(|(batch, turns)| Delivery::Interrupted(batch, turns)),
        1 => Just(Delivery::Restart),
    ]
}

async fn deliver(folder: &Path, records: &[Spooled], deliveries: &[Delivery]) {
    let mut ledger = sample::open(folder).await;
    let pick = |numbers: &[usize]| -> Vec<Spooled> { numbers.iter().map(|number| records[number % records.len()].clone()).collect() };
    for delivery in deliveries {
        match delivery {
            Delivery::Whole(batch) => drop(ledger.commit(&pick(batch), Progress::None).await.expect("committed")),
            Delivery::Interrupted(batch, turns) => {
                let turns = async {
                    for _ in 0..*turns {
                        yield_now().await
                    }
                };
                let batch = pick(batch);
                tokio::select! {
                    biased;
                    () = turns => {}
                    report = ledger.commit(&batch, Progress::None) => drop(report.expect("committed")),
                }
            }
            Delivery::Restart => {
                drop(ledger);
                ledger = sample::open(folder).await;
            }
        }
    }
    finish(&ledger, records).await;
}

/// Whatever came before, in the end the reader delivers everything once more.
async fn finish(ledger: &Sqlite, records: &[Spooled]) {
    ledger.commit(records, Progress::Spool(&[Cursor { incarnation: 5, segment: 2, offset: 64 }])).await.expect("committed");
    ledger.commit(&[], Progress::Spool(&[Cursor { incarnation: 5, segment: 1, offset: 640 }])).await.expect("committed");
    let faults = ledger.verify().await.expect("verified").faults;
    // The third incarnation lost its last event and says so.
    assert!(faults.len() == 1 && faults[0].contains("never arrived"), "{faults:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn duplicates_splits_order_and_crashes_do_not_change_the_ledger(
        attempts in proptest::collection::vec((0_u64..3, 0_usize..4), 1..40),
        deliveries in proptest::collection::vec(delivery(), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let records = records(&attempts);
            let (once, often) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
            finish(&sample::open(once.path()).await, &records).await;
            deliver(often.path(), &records, &deliveries).await;
            assert_eq!(sample::content(often.path()).await, sample::content(once.path()).await);
        });
    }
}

#[tokio::test]
async fn the_report_counts_each_record_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let settled = sample::spooled(1, 1, &sample::event(1, Kind::Settled));
    let second = sample::spooled(1, 2, &sample::event(1, Kind::Orphaned));
    let other = sample::spooled(1, 1, &sample::event(2, Kind::Settled));
    let garbage = Spooled { payload: vec![0xff; 9].into(), ..sample::spooled(1, 3, &sample::event(3, Kind::Settled)) };
    let own = sample::spooled(ledger.incarnation(), 1, &sample::event(4, Kind::Settled));
    let batch = [settled.clone(), settled, second, other, garbage, own];
    let report = ledger.commit(&batch, Progress::None).await.expect("committed");
    assert_eq!(report, Report { inserted: 1, duplicates: 1, quarantined: 4 });
    let report = ledger.commit(&batch, Progress::None).await.expect("committed");
    assert_eq!(report, Report { inserted: 0, duplicates: 6, quarantined: 0 });
    let reasons: Vec<(u64, String)> =
        ledger.quarantine(10).await.expect("rows").into_iter().map(|row| (row.sequence, row.reason)).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(reasons[0].1.contains("own incarnation") && reasons[1].1.contains("cannot be decoded"), "{reasons:?}");
    assert!(
        reasons[2].1.contains("same incarnation and sequence") && reasons[3].1.contains("terminal event of the same attempt"),
        "{reasons:?}"
    );
    let status = ledger.status().await.expect("status");
    assert_eq!((status.events, status.quarantined, status.incarnations.len()), (1, 4, 1));
    assert_eq!((status.incarnations[0].watermark, status.incarnations[0].missing.len()), (3, 0), "what was set aside has arrived");
    assert_eq!(ledger.verify().await.expect("verified").faults, Vec::<String>::new());
}

#[tokio::test]
async fn cursors_come_back_and_never_move_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let cursor = |incarnation, segment, offset| Cursor { incarnation, segment, offset };
    for cursors in [
        [cursor(u64::MAX, 1, 900), cursor(2, 3, 4)],
        [cursor(u64::MAX, 2, 64), cursor(2, 3, 3)],
        [cursor(u64::MAX, 1, 5000), cursor(2, 2, 99)],
    ] {
        ledger.commit(&[], Progress::Spool(&cursors)).await.expect("committed");
    }
    drop(ledger);
    let mut cursors = sample::open(folder.path()).await.cursors().await.expect("cursors");
    cursors.sort_unstable();
    assert_eq!(cursors, [cursor(2, 3, 4), cursor(u64::MAX, 2, 64)]);
}

#[tokio::test]
async fn sums_beyond_64_bits_are_kept_exactly() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = sample::open(folder.path()).await;
    let dear = |number| {
        let mut event = sample::event(3 * number, Kind::Settled);
        event.amount_picousd = i64::MAX;
        sample::spooled(1, number, &event)
    };
    for number in 1..=3 {
        ledger.commit(&[dear(2 * number - 1), dear(2 * number)], Progress::None).await.expect("committed");
    }
    let six = 6 * i128::from(i64::MAX);
    let balances = ledger.balances("usage").await.expect("balances");
    assert_eq!(balances[0].amount_picousd, (-six).to_string());
    assert_eq!(ledger.key_usage(&sample::scope(0), sample::NOON_US).await.expect("usage").daily, six);
    let faults = ledger.verify().await.expect("verified").faults;
    assert!(faults.iter().all(|fault| fault.contains("the lines make")), "{faults:?}");
}

#[tokio::test]
async fn a_file_of_a_newer_build_is_not_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = sample::open(folder.path()).await.incarnation();
    assert_eq!(sample::open(folder.path()).await.incarnation(), own, "made with the database, once");
    sqlx::query("UPDATE ledger_schema SET version = 4").execute(&mut sample::past(folder.path()).await).await.expect("updated");
    let error = Sqlite::open(&folder.path().join("waybill.db")).await.expect_err("refused");
    assert_eq!(error.to_string(), "the ledger has schema 4, this build knows up to 3: start the newer build");
}
