//! Several writers: owners of partitions, those who were replaced, and the second way of events.

use waybill_proto::usage::v1::{Kind, Spooled};

use super::{Subject, balances, commit, every_event, is_sound, sample};
use crate::{Assignment, Error, Ledger, Partition, PartitionProgress, Progress, Refusal, Report, Reset};

const TOPIC: &str = "wb.usage.v1";

pub(super) fn progress(partition: i32, epoch: u64, from: i64, next: i64) -> PartitionProgress {
    PartitionProgress { topic: TOPIC.to_owned(), partition, epoch, from, next }
}

fn records(incarnation: u64, first: u64, last: u64) -> Vec<Spooled> {
    let number = |sequence| incarnation * 1_000 + sequence;
    (first..=last).map(|sequence| sample::spooled(incarnation, sequence, &sample::event(number(sequence), Kind::Settled))).collect()
}

async fn read(ledger: &dyn Ledger, batch: &[Spooled], progress: &PartitionProgress) -> Result<Report, Error> {
    ledger.commit(batch, Progress::Partition(progress)).await
}

/// Each row against the same state: epoch 2, offset 10.
pub async fn only_the_owner_who_stands_where_the_ledger_does_may_write(subject: Subject) {
    let (zombie, owner) = (subject.open().await, subject.open().await);
    assert_eq!(zombie.assign(TOPIC, 3).await.expect("assigned"), Assignment { epoch: 1, next_offset: None });
    read(&*zombie, &records(1, 1, 4), &progress(3, 1, 6, 10)).await.expect("the first may begin anywhere");
    assert_eq!(owner.assign(TOPIC, 3).await.expect("assigned"), Assignment { epoch: 2, next_offset: Some(10) });
    assert_eq!(owner.assign(TOPIC, 4).await.expect("assigned"), Assignment { epoch: 1, next_offset: None });
    assert_eq!(owner.assign("another", 3).await.expect("assigned"), Assignment { epoch: 1, next_offset: None });
    let before = balances(&*owner).await;
    for fenced in [
        progress(3, 1, 10, 12),
        progress(3, 1, 6, 10),
        progress(3, 3, 10, 12),
        progress(3, 0, 10, 12),
        progress(3, 2, 9, 12),
        progress(3, 2, 11, 12),
        progress(3, 2, 6, 9),
        progress(5, 1, 0, 2),
        progress(5, 0, 0, 2),
    ] {
        for batch in [records(1, 5, 6), Vec::new()] {
            let error = read(&*zombie, &batch, &fenced).await.expect_err("fenced");
            assert!(matches!(error, Error::Fenced { .. }) && !error.may_retry(), "{fenced:?}: {error}");
        }
    }
    let error = read(&*owner, &[], &progress(3, 2, 10, 9)).await.expect_err("refused");
    assert!(matches!(error, Error::Backwards { .. }), "{error}");
    assert_eq!(balances(&*owner).await, before, "nothing was written");
    assert_eq!(owner.status().await.expect("status").incarnations[0].highest, 4);
    assert_eq!(read(&*owner, &records(1, 5, 6), &progress(3, 2, 10, 12)).await.expect("committed").inserted, 2);
    // A topic has holes: compacted or aborted records, control records.
    assert_eq!(read(&*owner, &[], &progress(3, 2, 12, 40)).await.expect("committed"), Report::default());
    assert_eq!(zombie.assign(TOPIC, 3).await.expect("assigned"), Assignment { epoch: 3, next_offset: Some(40) });
    is_sound(&*owner).await;
}

/// The batch has landed and its answer has not: the same commit again is right.
pub async fn a_commit_whose_answer_was_lost_is_repeated(subject: Subject) {
    let ledger = subject.open().await;
    let epoch = ledger.assign(TOPIC, 0).await.expect("assigned").epoch;
    let mut batch = records(1, 1, 5);
    batch.push(Spooled { payload: vec![0xff].into(), ..records(1, 6, 6).remove(0) });
    let here = progress(0, epoch, 0, 6);
    assert_eq!(read(&*ledger, &batch, &here).await.expect("committed"), Report { inserted: 5, duplicates: 0, quarantined: 1 });
    let again = subject.open().await;
    assert_eq!(read(&*again, &batch, &here).await.expect("committed"), Report { inserted: 0, duplicates: 6, quarantined: 0 });
    let other = again.assign(TOPIC, 0).await.expect("assigned");
    assert_eq!(other, Assignment { epoch: epoch + 1, next_offset: Some(6) });
    assert!(matches!(read(&*ledger, &batch, &here).await, Err(Error::Fenced { .. })), "but not when another owner may have gone on");
    is_sound(&*ledger).await;
}

/// The same records by Kafka and by `Ingest`, at the same time, cut differently.
pub async fn the_second_way_and_the_first_at_once_book_once(subject: Subject) {
    let (first, second, third) = (subject.open().await, subject.open().await, subject.open().await);
    let epoch = first.assign(TOPIC, 0).await.expect("assigned").epoch;
    let all: Vec<Spooled> = (1..=3).flat_map(|incarnation| records(incarnation, 1, 60)).collect();
    let mut backwards = all.clone();
    backwards.reverse();
    let by_kafka = async {
        let (mut inserted, mut from) = (0, 0);
        for batch in all.chunks(25) {
            let next = from + i64::try_from(batch.len()).expect("small");
            inserted += read(&*first, batch, &progress(0, epoch, from, next)).await.expect("committed").inserted;
            from = next;
        }
        inserted
    };
    let by_hand = async |ledger: &dyn Ledger, records: &[Spooled], length| {
        let mut inserted = 0;
        for batch in records.chunks(length) {
            inserted += commit(ledger, batch).await.inserted;
        }
        inserted
    };
    let (one, two, three) = tokio::join!(by_kafka, by_hand(&*second, &all, 31), by_hand(&*third, &backwards, 40));
    assert_eq!(one + two + three, all.len(), "{one} {two} {three}");
    let status = first.status().await.expect("status");
    assert_eq!((status.events, status.quarantined), (180, 0));
    assert!(status.incarnations.iter().all(|log| (log.watermark, log.missing.len()) == (60, 0)), "{status:?}");
    is_sound(&*first).await;
}

/// Two logs that claim the end of the same attempts, in opposite orders: each attempt has one end, the others are set aside.
pub async fn an_attempt_ends_once_whoever_comes_first(subject: Subject) {
    let (one, two) = (subject.open().await, subject.open().await);
    for round in 0..10_u64 {
        let attempts: Vec<u64> = (round * 10..round * 10 + 10).collect();
        let claim = |incarnation: u64, attempt: u64, kind| sample::spooled(incarnation, attempt + 1, &sample::event(attempt, kind));
        let first: Vec<Spooled> = attempts.iter().map(|attempt| claim(1, *attempt, Kind::Settled)).collect();
        let second: Vec<Spooled> = attempts.iter().rev().map(|attempt| claim(2, *attempt, Kind::Orphaned)).collect();
        let (first, second) = tokio::join!(commit(&*one, &first), commit(&*two, &second));
        assert_eq!((first.inserted + second.inserted, first.quarantined + second.quarantined), (10, 10), "{first:?} {second:?}");
    }
    let status = one.status().await.expect("status");
    assert_eq!((status.events, status.quarantined), (100, 100));
    assert!(status.incarnations.iter().all(|log| log.watermark == 100), "{status:?}");
    is_sound(&*one).await;
}

/// Consumers of different partitions at the same time, for the same keys and accounts.
pub async fn writers_of_their_own_partitions_add_up(subject: Subject) {
    let (first, second) = (subject.open().await, subject.open().await);
    let write = async |ledger: &dyn Ledger, partition: i32, incarnation: u64| {
        let epoch = ledger.assign(TOPIC, partition).await.expect("assigned").epoch;
        for (from, batch) in (0_i64..).step_by(20).zip(records(incarnation, 1, 100).chunks(20)) {
            let report = read(ledger, batch, &progress(partition, epoch, from, from + 20)).await.expect("committed");
            assert_eq!(report.inserted, 20);
        }
    };
    tokio::join!(write(&*first, 0, 1), write(&*second, 1, 2), write(&*first, 2, 3));
    let expected: i128 = (1..=3).flat_map(|log| records(log, 1, 100)).map(|record| i128::from(amount(&record))).sum();
    let revenue = balances(&*first).await.into_iter().find(|(name, _)| name == "usage_revenue");
    assert_eq!(revenue, Some(("usage_revenue".into(), -expected)));
    assert_eq!(every_event(&*first, Kind::Settled).await.len(), 300);
    is_sound(&*second).await;
}

/// Kafka has deleted what the ledger has not: who decides is named, the owner is fenced, and the word is kept.
pub async fn a_partition_goes_on_elsewhere_by_an_operators_word(subject: Subject) {
    let (owner, operator) = (subject.open().await, subject.open().await);
    assert_eq!(operator.partitions(TOPIC).await.expect("listed"), []);
    owner.assign("another", 3).await.expect("assigned");
    owner.assign(TOPIC, 4).await.expect("assigned");
    let epoch = owner.assign(TOPIC, 3).await.expect("assigned").epoch;
    read(&*owner, &records(1, 1, 4), &progress(3, epoch, 6, 10)).await.expect("committed");
    let standing = |partition, epoch, next_offset| Partition { partition, epoch, next_offset };
    assert_eq!(operator.partitions(TOPIC).await.expect("listed"), [standing(3, 1, Some(10)), standing(4, 1, None)]);
    let word = |from, to, operator: &str, reason: &str| Reset {
        topic: TOPIC.to_owned(),
        partition: 3,
        from,
        to,
        operator: operator.to_owned(),
        reason: reason.to_owned(),
        unix_ms: 7,
    };
    for (refused, expected) in [
        (word(Some(10), 20, " ", "deleted"), "this needs the name of its operator"),
        (word(Some(10), 20, "ann", ""), "this needs a reason: on what evidence?"),
        (word(Some(9), 20, "ann", "deleted"), "wb.usage.v1/3 does not stand at 9, but at 10: look again"),
        (word(None, 20, "ann", "deleted"), "wb.usage.v1/3 does not stand at no offset, but at 10: look again"),
        (Reset { partition: 5, ..word(Some(10), 20, "ann", "deleted") }, "the ledger knows no wb.usage.v1/5: nobody has read it"),
    ] {
        let error = operator.reset(&refused).await.expect_err("refused");
        assert!(!matches!(error, Refusal::Failed(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(
        (operator.partitions(TOPIC).await.expect("listed")[0], operator.resets(TOPIC).await.expect("listed").len()),
        (standing(3, 1, Some(10)), 0)
    );
    let moved = word(Some(10), 20, "ann", "deleted after a week");
    operator.reset(&moved).await.expect("moved");
    assert_eq!(owner.resets(TOPIC).await.expect("listed"), [moved]);
    assert_eq!(owner.resets("another").await.expect("listed"), []);
    let fenced = read(&*owner, &records(1, 5, 6), &progress(3, epoch, 10, 12)).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    assert_eq!(owner.assign(TOPIC, 3).await.expect("assigned"), Assignment { epoch: 3, next_offset: Some(20) });
    assert_eq!(read(&*owner, &records(1, 5, 6), &progress(3, 3, 20, 22)).await.expect("committed").inserted, 2);
    is_sound(&*owner).await;
}

fn amount(record: &Spooled) -> i64 {
    prost::Message::decode(record.payload.clone()).map(|event: waybill_proto::usage::v1::Event| event.amount_picousd).expect("an event")
}
