//! What is booked, what is not, and how an operator resolves an orphan.

use waybill_model::money::Picousd;
use waybill_proto::usage::v1::{Kind, Spooled};

use super::{Subject, balances, commit, every_event, is_sound, sample, sequences};
use crate::{Adjustment, Cursor, Progress, Refusal, Report, Scope};

pub(super) fn scope(key: u64) -> Scope {
    let (org, workspace, api_key) = sample::owner(key);
    Scope { org, workspace, api_key }
}

fn by(operator: &str, reason: &str) -> Adjustment {
    Adjustment { operator: operator.into(), reason: reason.into(), unix_us: sample::NOON_US }
}

/// The report counts each record once, and what was set aside has arrived.
pub async fn each_record_is_counted_once(subject: Subject) {
    let ledger = subject.open().await;
    let settled = sample::spooled(1, 1, &sample::event(1, Kind::Settled));
    let second = sample::spooled(1, 2, &sample::event(1, Kind::Orphaned));
    let other = sample::spooled(1, 1, &sample::event(2, Kind::Settled));
    let garbage = Spooled { payload: vec![0xff; 9].into(), ..sample::spooled(1, 3, &sample::event(3, Kind::Settled)) };
    let own = sample::spooled(ledger.incarnation(), 1, &sample::event(4, Kind::Settled));
    let unreadable = Spooled { payload: b"not even a record".to_vec().into(), ..Spooled::default() };
    let batch = [settled.clone(), settled, second, other, garbage, own, unreadable];
    assert_eq!(commit(&*ledger, &batch).await, Report { inserted: 1, duplicates: 1, quarantined: 5 });
    assert_eq!(commit(&*ledger, &batch).await, Report { inserted: 0, duplicates: 7, quarantined: 0 });
    let mut reasons: Vec<String> = ledger.quarantine(10).await.expect("rows").into_iter().map(|row| row.reason).collect();
    reasons.sort_unstable();
    let expected = [
        "a terminal event of the same attempt is booked already",
        "another content is booked under the same incarnation and sequence",
        "it claims the ledger's own incarnation",
        "the payload cannot be decoded",
        "the sequence number is missing or malformed",
    ];
    assert!(
        reasons.len() == expected.len() && reasons.iter().zip(expected).all(|(reason, start)| reason.starts_with(start)),
        "{reasons:?}"
    );
    assert_eq!(ledger.quarantine(2).await.expect("rows").len(), 2);
    let status = ledger.status().await.expect("status");
    assert_eq!((status.events, status.quarantined, status.incarnations.len()), (1, 5, 1));
    assert_eq!((status.incarnations[0].watermark, status.incarnations[0].missing.len()), (3, 0));
    is_sound(&*ledger).await;
}

/// Names that no resource can have do not stop a batch.
pub async fn what_no_database_could_keep_is_set_aside(subject: Subject) {
    let ledger = subject.open().await;
    let named = |number: u64, workspace: &str| {
        let mut event = sample::event(number, Kind::Settled);
        event.attempt.as_mut().expect("an attempt").workspace = workspace.into();
        sample::spooled(1, number, &event)
    };
    let batch = [named(1, "w\0"), named(2, &"w".repeat(60_000)), named(3, "w")];
    assert_eq!(commit(&*ledger, &batch).await, Report { inserted: 1, duplicates: 0, quarantined: 2 });
    is_sound(&*ledger).await;
}

/// Whatever a provider calls its answer, the event is booked and found by it.
pub async fn what_a_provider_sends_is_kept_and_found(subject: Subject) {
    let ledger = subject.open().await;
    let answers = ["a\0b".to_owned(), "x".repeat(20_000), "é\u{fffd}".to_owned(), " ".to_owned()];
    let records: Vec<Spooled> = (0_u64..)
        .zip(&answers)
        .map(|(number, answer)| {
            let mut event = sample::event(3 * number, Kind::Settled);
            event.provider_answer_id = answer.clone();
            event.finish_reason = "\0".into();
            sample::spooled(1, number + 1, &event)
        })
        .collect();
    assert_eq!(commit(&*ledger, &records).await.inserted, answers.len());
    for (sequence, answer) in (1..).zip(&answers) {
        assert_eq!(sequences(&ledger.generation(answer, &scope(0)).await.expect("found")), [sequence]);
        assert_eq!(sequences(&ledger.explain(answer).await.expect("found")), [sequence]);
    }
    is_sound(&*ledger).await;
}

/// Balances and spend do not end at 64 bits.
pub async fn sums_beyond_64_bits_are_kept_exactly(subject: Subject) {
    let ledger = subject.open().await;
    let dear = |number| {
        let mut event = sample::event(3 * number, Kind::Settled);
        event.amount_picousd = i64::MAX;
        sample::spooled(1, number, &event)
    };
    for number in 1..=3 {
        commit(&*ledger, &[dear(2 * number - 1), dear(2 * number)]).await;
    }
    let six = 6 * i128::from(i64::MAX);
    assert_eq!(ledger.balances("usage").await.expect("balances")[0].amount_picousd, (-six).to_string());
    assert_eq!(ledger.key_usage(&scope(0), sample::NOON_US).await.expect("usage").daily, six);
    let faults = ledger.verify().await.expect("verified").faults;
    assert!(faults.iter().all(|fault| fault.contains("the lines make")), "{faults:?}");
}

/// A reader of spools goes on where it was.
pub async fn cursors_come_back_and_never_move_back(subject: Subject) {
    let cursor = |incarnation, segment, offset| Cursor { incarnation, segment, offset };
    for cursors in [
        [cursor(u64::MAX, 1, 900), cursor(2, 3, 4)],
        [cursor(u64::MAX, 2, 64), cursor(2, 3, 3)],
        [cursor(u64::MAX, 1, 5000), cursor(2, 2, 99)],
        [cursor(9, 1, 7), cursor(9, 1, 9)],
    ] {
        subject.open().await.commit(&[], Progress::Spool(&cursors)).await.expect("committed");
    }
    let mut cursors = subject.open().await.cursors().await.expect("cursors");
    cursors.sort_unstable();
    assert_eq!(cursors, [cursor(2, 3, 4), cursor(9, 1, 9), cursor(u64::MAX, 2, 64)]);
}

/// The reversal frees the suspense, the amount is booked as settled, and what cannot be adjusted is refused.
pub async fn an_orphan_is_resolved_once(subject: Subject) {
    let ledger = subject.open().await;
    let orphan = sample::event(3, Kind::Orphaned);
    let held = i128::from(orphan.amount_picousd);
    commit(&*ledger, &[sample::spooled(1, 1, &orphan), sample::spooled(1, 2, &sample::event(4, Kind::Settled))]).await;
    let settled = i128::from(sample::event(4, Kind::Settled).amount_picousd);
    assert!(balances(&*ledger).await.contains(&("suspense/w-0".into(), held)));
    assert_eq!(ledger.status().await.expect("status").orphaned_open, 1);
    let row = ledger.adjust(sample::attempt_id(3), Picousd(77), by(" ann ", "the invoice of March")).await.expect("adjusted");
    let adjusted = row.adjusted.expect("the event that resolved it");
    assert_eq!((row.incarnation, row.sequence, row.event.as_ref()), (1, 1, Some(&orphan)));
    assert_eq!((adjusted.kind(), adjusted.amount_picousd, &adjusted.attempt), (Kind::Adjusted, 77, &orphan.attempt));
    assert_eq!(
        balances(&*ledger).await,
        [
            ("provider_cost/account-0".into(), settled),
            ("provider_cost/account-1".into(), 77),
            ("provider_payable/account-0".into(), -settled),
            ("provider_payable/account-1".into(), -77),
            ("receivable/w-0".into(), 77),
            ("receivable/w-1".into(), settled),
            ("usage_revenue".into(), -77 - settled),
        ]
    );
    assert_eq!(ledger.status().await.expect("status").orphaned_open, 0);
    assert_eq!(ledger.key_usage(&scope(0), sample::NOON_US).await.expect("usage").daily, 77);
    assert_eq!(ledger.adjustment(sample::attempt_id(3)).await.expect("read"), Some(by("ann", "the invoice of March")));
    assert_eq!(ledger.adjustment(sample::attempt_id(4)).await.expect("read"), None);
    let explained = ledger.explain(&sample::attempt_id(3).to_string()).await.expect("explained");
    assert_eq!(explained[0].adjusted.as_ref(), Some(&adjusted));
    let listed = every_event(&*ledger, Kind::Adjusted).await;
    assert_eq!((listed[0].incarnation, listed[0].sequence), (ledger.incarnation(), 1));
    let before = balances(&*ledger).await;
    let rows: [(u64, i64, Adjustment, &str); 6] = [
        (9, 1, by("ann", "invoice"), "is not in the ledger"),
        (4, 1, by("ann", "invoice"), "is settled, not orphaned"),
        (3, 1, by("ann", "invoice"), "has been adjusted already"),
        (3, 1, by(" ", "invoice"), "name of its operator"),
        (3, 1, by("ann", "\n"), "on what evidence"),
        (3, i64::MIN, by("ann", "invoice"), "must not be negative"),
    ];
    for (attempt, amount, word, expected) in rows {
        let refusal: Refusal = ledger.adjust(sample::attempt_id(attempt), Picousd(amount), word).await.expect_err(expected);
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }
    assert_eq!(balances(&*ledger).await, before);
    is_sound(&*ledger).await;
}

/// Two operators in two processes.
pub async fn of_two_operators_at_once_one_is_refused(subject: Subject) {
    let (one, two) = (subject.open().await, subject.open().await);
    let records: Vec<Spooled> = (1..=8).map(|number| sample::spooled(1, number, &sample::event(number, Kind::Orphaned))).collect();
    commit(&*one, &records).await;
    for number in 1..=8 {
        let attempt = sample::attempt_id(number);
        let (first, second) =
            tokio::join!(one.adjust(attempt, Picousd(1), by("ann", "a")), two.adjust(attempt, Picousd(2), by("ben", "b")));
        assert!(
            matches!((&first, &second), (Ok(_), Err(Refusal::AlreadyAdjusted(_))) | (Err(Refusal::AlreadyAdjusted(_)), Ok(_))),
            "{first:?} {second:?}"
        );
    }
    assert_eq!(every_event(&*one, Kind::Adjusted).await.len(), 8);
    is_sound(&*one).await;
}

/// What is asked of a ledger that was closed is an error, not an endless wait.
pub async fn a_closed_ledger_says_so(subject: Subject) {
    let ledger = subject.open().await;
    commit(&*ledger, &[sample::spooled(1, 1, &sample::event(1, Kind::Settled))]).await;
    ledger.close().await.expect("closed");
    ledger.close().await.expect("closed again");
    let late = ledger.commit(&[sample::spooled(1, 2, &sample::event(2, Kind::Settled))], Progress::None).await;
    assert!(matches!(late, Err(crate::Error::Closed)), "{late:?}");
    assert!(matches!(ledger.status().await, Err(crate::Error::Closed)));
    assert_eq!(subject.open().await.status().await.expect("status").events, 1);
}
