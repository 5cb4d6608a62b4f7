//! What is missing of logs, by the word of their proxies.

use waybill_proto::{sync::v1::LogReport, usage::v1::Kind};

use super::{Subject, commit, is_sound, sample};
use crate::{Gap, Ledger, Refusal, State, WriteOff};

const SECOND: i64 = 1_000;

fn report(incarnation: u64, last_sequence: u64) -> LogReport {
    LogReport { incarnation, last_sequence, closed: false }
}

async fn note(ledger: &dyn Ledger, seconds: i64, process: u64, logs: &[LogReport]) {
    ledger.note_logs("p-1", process, logs, seconds * SECOND).await.expect("noted");
}

async fn book(ledger: &dyn Ledger, incarnation: u64, sequences: &[u64]) {
    let record = |sequence: &u64| sample::spooled(incarnation, *sequence, &sample::event(incarnation * 100 + sequence, Kind::Settled));
    commit(ledger, &sequences.iter().map(record).collect::<Vec<_>>()).await;
}

fn word(operator: &str, reason: &str, seconds: i64) -> WriteOff {
    WriteOff { operator: operator.into(), reason: reason.into(), unix_ms: seconds * SECOND }
}

/// (log, what is missing, state, age in seconds).
async fn gaps(ledger: &dyn Ledger, seconds: i64) -> Vec<(u64, Vec<(u64, u64)>, State, u64)> {
    let row = |gap: Gap| {
        let age = gap.age_seconds(seconds * SECOND);
        (gap.incarnation, gap.missing, gap.state, age)
    };
    ledger.gaps(seconds * SECOND).await.expect("gaps").into_iter().map(row).collect()
}

/// Numbers that a proxy has given out and that do not come.
pub async fn what_is_late_is_a_gap_until_it_comes(subject: Subject) {
    let (ledger, other) = (subject.open().await, subject.open().await);
    note(&*ledger, 0, 1, &[report(7, 3), report(8, 0)]).await;
    assert_eq!(gaps(&*ledger, 29).await, [], "it is on its way");
    book(&*ledger, 7, &[1, 3]).await;
    note(&*other, 10, 1, &[report(7, 5), report(8, 0)]).await;
    note(&*ledger, 20, 1, &[report(7, 5), report(8, 2)]).await;
    assert_eq!(gaps(&*other, 40).await, [(7, vec![(2, 2), (4, 5)], State::Missing, 40)]);
    assert_eq!(gaps(&*ledger, 60).await, [(7, vec![(2, 2), (4, 5)], State::Missing, 60), (8, vec![(1, 2)], State::Missing, 40)]);
    // A late report of another replica takes nothing back.
    note(&*other, 15, 1, &[report(7, 4)]).await;
    book(&*ledger, 7, &[2, 4]).await;
    book(&*ledger, 8, &[1, 2]).await;
    note(&*ledger, 60, 1, &[report(7, 5), report(8, 2)]).await;
    assert_eq!(gaps(&*ledger, 100).await, [(7, vec![(5, 5)], State::Missing, 40)], "since the report at which it was missing");
    book(&*ledger, 7, &[5]).await;
    assert_eq!(gaps(&*ledger, 100).await, []);
    let gap = &ledger.gaps(10_000 * SECOND).await.expect("gaps")[0];
    assert_eq!((gap.proxy.as_str(), gap.process, gap.last_sequence), ("p-1", 1, 5), "nothing was heard of it any more");
}

/// A process that went without closing its logs.
pub async fn a_log_without_an_end_is_open_when_its_process_is_gone(subject: Subject) {
    let ledger = subject.open().await;
    for log in [7, 8, 9] {
        book(&*ledger, log, &[1, 2]).await;
    }
    note(&*ledger, 0, 1, &[report(7, 2), report(8, 2), report(9, 2)]).await;
    assert_eq!(gaps(&*ledger, 119).await, []);
    assert_eq!(gaps(&*ledger, 120).await.len(), 3, "silent for too long");
    note(&*ledger, 40, 2, &[report(10, 0)]).await;
    let open = |log| (log, vec![], State::Open, 45);
    assert_eq!(gaps(&*ledger, 45).await, [open(7), open(8), open(9)], "a later process of the same proxy has reported");
    // Recovery of its spool closes two of them, one with doubt.
    commit(&*ledger, &[sample::closed(7, 3, 2, false), sample::closed(8, 3, 2, true)]).await;
    assert_eq!(gaps(&*ledger, 50).await, [(8, vec![], State::Doubt, 50), (9, vec![], State::Open, 50)]);
    note(&*ledger, 50, 2, &[report(9, 2), report(10, 0)]).await;
    assert_eq!(gaps(&*ledger, 60).await, [(8, vec![], State::Doubt, 60)], "the later process has taken it over");
}

/// A named operator declares what is missing as lost.
pub async fn what_is_written_off_is_no_gap_any_more(subject: Subject) {
    let ledger = subject.open().await;
    note(&*ledger, 0, 1, &[report(7, 4), report(8, 1), report(9, 0)]).await;
    book(&*ledger, 7, &[1]).await;
    book(&*ledger, 8, &[1]).await;
    commit(&*ledger, &[sample::closed(7, 5, 4, false), sample::closed(8, 2, 1, true)]).await;
    for (refused, expected) in [
        (ledger.write_off(7, word(" ", "disk", 200)).await, "name of its operator"),
        (ledger.write_off(7, word("ann", "", 200)).await, "on what evidence"),
        (ledger.write_off(99, word("ann", "disk", 200)).await, "nothing is missing of log 0000000000000063"),
    ] {
        let refusal: Refusal = refused.expect_err(expected);
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }
    let faults = ledger.verify().await.expect("verified").faults;
    assert!(faults.len() == 1 && faults[0].ends_with("never arrived: 2-4"), "{faults:?}");
    let gone = ledger.write_off(7, word("ann", "the disk", 200)).await.expect("written off");
    assert_eq!((gone.missing, gone.state, gone.last_sequence), (vec![(2, 4)], State::Missing, 5));
    assert_eq!(ledger.write_off(8, word("ann", "the disk", 200)).await.expect("written off").state, State::Doubt);
    assert_eq!(ledger.write_off(9, word("ann", "the disk", 200)).await.expect("written off").state, State::Open);
    assert_eq!(gaps(&*ledger, 300).await, []);
    is_sound(&*ledger).await;
    assert!(matches!(ledger.write_off(7, word("ann", "again", 300)).await, Err(Refusal::NoGap(7))));
    // It comes back after all: it is booked as ever. And what is given out later can be missing again.
    book(&*ledger, 7, &[3]).await;
    assert_eq!(ledger.status().await.expect("status").events, 5);
    note(&*ledger, 310, 2, &[report(9, 3)]).await;
    assert_eq!(gaps(&*ledger, 340).await, [(9, vec![(1, 3)], State::Missing, 30)]);
}

/// Before any report: the hole is at least as old as what came behind it.
pub async fn a_log_that_nobody_reported_has_a_gap_as_old_as_the_event_behind_it(subject: Subject) {
    let ledger = subject.open().await;
    book(&*ledger, 1, &[1, 2, 6]).await;
    let ended = sample::NOON_US / 1_000 / SECOND;
    // Event 106 began 106 ms after noon and took 1 ms.
    assert_eq!(gaps(&*ledger, ended + 30).await, []);
    assert_eq!(gaps(&*ledger, ended + 31).await, [(1, vec![(3, 5)], State::Missing, 30)]);
    commit(&*ledger, &[sample::closed(1, 9, 8, false)]).await;
    assert_eq!(gaps(&*ledger, ended + 31).await, [(1, vec![(3, 5), (7, 8)], State::Missing, 30)]);
}
