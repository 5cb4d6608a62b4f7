//! Servers that die, freeze and fill up.

use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions};
use tokio_stream::StreamExt;

use super::super::cluster::WITHOUT_MOST;
use super::servers::{FAST, Servers, program};
use super::{connect, put};
use crate::{Compare, Entry, Error, Etcd, EtcdCondition, Event, Operation, Position, Store, Transaction, Update, keys};

/// Far beyond an election, for a machine that does much else.
const SOON: Duration = Duration::from_secs(20);

/// Adds one to a counter, if it is still as it was read.
fn step(entry: &Entry) -> Transaction {
    let count: u64 = std::str::from_utf8(&entry.value).expect("text").parse().expect("a number");
    Transaction { compares: vec![Compare::unchanged(entry.key.clone(), entry.modified)], ..put(entry.key.clone(), (count + 1).to_string()) }
}

pub(super) async fn counter(store: &Etcd) -> Entry {
    let deadline = Instant::now() + SOON;
    loop {
        match store.get(&keys::head()).await {
            Ok(found) => return found.entry.expect("the counter"),
            Err(error) => assert!(error.may_retry() && Instant::now() < deadline, "{error}"),
        }
    }
}

/// What came of counting through a fault.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) landed: u64,
    pub(super) unknown: u64,
    pub(super) longest: Duration,
}

/// Counts until `enough` commits in a row have landed, or a minute has passed.
pub(super) async fn count_on(store: &Etcd, enough: u64) -> Counted {
    let mut counted = Counted::default();
    let (mut row, mut last) = (0, Instant::now());
    let begun = Instant::now();
    let mut held = counter(store).await;
    while row < enough {
        assert!(begun.elapsed() < Duration::from_secs(60), "only {row} commits in a row");
        match store.commit(step(&held)).await {
            Ok(outcome) => {
                assert!(outcome.succeeded, "nobody else counts");
                counted.longest = counted.longest.max(last.elapsed());
                (row, last) = (row + 1, Instant::now());
                counted.landed += 1;
            }
            Err(Error::Unavailable { .. }) => {
                row = 0;
                counted.unknown += 1;
            }
            Err(other) => panic!("{other}"),
        }
        held = counter(store).await;
    }
    counted
}

#[tokio::test]
async fn a_leader_that_is_killed_costs_an_election_and_nothing_else() {
    let Some(program) = program() else { return };
    let mut servers = Servers::start(program, 3, None, &[FAST]);
    let store = connect(servers.settings()).await;
    store.commit(put(keys::head(), "0")).await.expect("a commit");
    let (mut landed, mut unknown) = (0, 0);
    for _ in 0..2 {
        let leader = servers.leader().await;
        servers.kill(leader);
        // A hundred in a row: no fraction of the calls goes on asking the dead.
        let counted = count_on(&store, 100).await;
        assert!(counted.longest < SOON, "{:?} without a write", counted.longest);
        (landed, unknown) = (landed + counted.landed, unknown + counted.unknown);
        servers.run(leader);
    }
    let count: u64 = String::from_utf8_lossy(&counter(&store).await.value).parse().expect("a number");
    assert!((landed..=landed + unknown).contains(&count), "counted {count}, landed {landed}, perhaps {unknown}");
}

/// Follows a watch from a position, and a new one from where the last one ended, until the counter
/// has reached the end. What each commit showed, in order.
async fn followed(
    store: Etcd,
    start: Position,
    mut end: tokio::sync::watch::Receiver<Option<Position>>,
) -> (Vec<(Position, String)>, usize) {
    let (mut seen, mut after, mut watches) = (Vec::new(), start, 0);
    loop {
        watches += 1;
        let mut watch = match store.watch(keys::config(), after).await {
            Ok(watch) => watch,
            Err(error) => {
                assert!(error.may_retry(), "{error}");
                continue;
            }
        };
        loop {
            if end.borrow().is_some_and(|end| after >= end) {
                return (seen, watches);
            }
            let update = tokio::select! {
                update = watch.next() => update,
                told = end.changed() => {
                    told.expect("the counter lives");
                    continue;
                }
            };
            match update {
                Some(Ok(Update::Batch(batch))) => {
                    let [Event::Put { entry, .. }] = &batch.events[..] else { panic!("{batch:?}") };
                    seen.push((batch.position, String::from_utf8_lossy(&entry.value).into_owned()));
                    after = batch.position;
                }
                Some(Ok(Update::Progress(reached))) => after = reached.max(after),
                Some(Err(error)) => {
                    assert!(error.may_retry(), "{error}");
                    break;
                }
                None => break,
            }
        }
    }
}

#[tokio::test]
async fn who_follows_through_kills_sees_every_commit_once_and_in_order() {
    let Some(program) = program() else { return };
    let mut servers = Servers::start(program, 3, None, &[FAST]);
    let settings = servers.settings();
    let store = connect(settings.clone()).await;
    let start = store.commit(put(keys::head(), "0")).await.expect("a commit").position;
    let (tell_end, end) = tokio::sync::watch::channel(None);
    // One follower for each server, so that every kill meets one.
    let mut followers = tokio::task::JoinSet::new();
    for first in 0..3 {
        let mut settings = settings.clone();
        settings.endpoints.rotate_left(first);
        settings.timing.progress = Duration::from_millis(200);
        let (store, end) = (connect(settings).await, end.clone());
        followers.spawn(followed(store, start, end));
    }
    for index in 0..3 {
        count_on(&store, 30).await;
        servers.kill(index);
        count_on(&store, 60).await;
        servers.run(index);
        servers.leader().await;
    }
    let last = counter(&store).await;
    let count: u64 = String::from_utf8_lossy(&last.value).parse().expect("a number");
    tell_end.send(Some(last.modified)).expect("followers");
    let all = tokio::time::timeout(Duration::from_secs(60), followers.join_all()).await.expect("the followers arrive");
    for (seen, _) in &all {
        let values: Vec<String> = seen.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(values, (1..=count).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(seen.is_sorted_by(|(a, _), (b, _)| a < b));
    }
    assert!(all.iter().map(|(_, watches)| watches - 1).sum::<usize>() > 0, "no kill met a watch");
}

#[tokio::test]
async fn without_a_quorum_calls_fail_by_name_and_quickly_and_go_on_afterwards() {
    let Some(program) = program() else { return };
    let mut servers = Servers::start(program, 3, None, &[FAST]);
    let settings = servers.settings();
    let attempt = settings.timing.attempt;
    let store = connect(settings).await;
    store.commit(put(keys::head(), "0")).await.expect("a commit");
    let step = step(&counter(&store).await);
    servers.kill(0);
    servers.kill(1);
    let refused = async || {
        let begun = Instant::now();
        for refused in [store.commit(step.clone()).await.map(drop), store.get(&keys::head()).await.map(drop)] {
            let error = refused.expect_err("a refusal");
            assert!(matches!(&error, Error::Unavailable { what } if what.contains("more than half of its servers")), "{error}");
        }
        begun.elapsed()
    };
    // One call finds it out, and the next one knows.
    let first = refused().await;
    assert!(first < WITHOUT_MOST + 2 * attempt, "{first:?}");
    let is_ill = |(_, condition): &(String, EtcdCondition)| matches!(condition, EtcdCondition::Ill { .. });
    let known = Instant::now();
    while !store.servers().iter().all(is_ill) {
        assert!(known.elapsed() < SOON, "{:?}", store.servers());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Once it is known, at once.
    for round in 0..3 {
        let took = refused().await;
        assert!(took < attempt / 2, "round {round}: {took:?}");
    }
    servers.run(0);
    count_on(&store, 20).await;
}

#[tokio::test]
async fn a_watch_at_a_server_that_freezes_ends_with_a_reason_and_a_read_goes_elsewhere() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 3, None, &[FAST]);
    let mut settings = servers.settings();
    // The first server only, so that the watch is surely there; a second store sees them all.
    let all = connect(settings.clone()).await;
    settings.endpoints.truncate(1);
    settings.timing.progress = Duration::from_millis(200);
    settings.timing.silence = Duration::from_secs(2);
    let store = connect(settings).await;
    let start = store.commit(put(keys::head(), "0")).await.expect("a commit").position;
    let mut watch = store.watch(keys::config(), start).await.expect("a watch");
    assert!(matches!(watch.next().await, Some(Ok(Update::Progress(reached))) if reached >= start));
    // A watch with nothing to tell lives on beyond the silence that would end it.
    assert!(tokio::time::timeout(Duration::from_secs(4), watch.next()).await.is_err(), "nothing happens");
    servers.freeze(0, true);
    let error = tokio::time::timeout(SOON, watch.next()).await.expect("an end").expect("a reason").expect_err("an error");
    assert!(matches!(&error, Error::Unavailable { what } if what.contains("says nothing")), "{error}");
    assert!(watch.next().await.is_none());
    for round in 0..20 {
        let read = tokio::time::timeout(SOON, all.get(&keys::head())).await.expect("in time");
        read.unwrap_or_else(|error| panic!("{round}: {error}"));
    }
    servers.freeze(0, false);
    count_on(&store, 3).await;
}

#[tokio::test]
async fn a_store_that_is_full_says_so_and_still_reads() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 1, None, &[FAST, "--quota-backend-bytes", "8388608"]);
    let store = connect(servers.settings()).await;
    let large = bytes::Bytes::from(vec![1_u8; 1_000_000]);
    let mut refused = None;
    for n in 0..40 {
        if let Err(error) = store.commit(put(keys::log(n), large.clone())).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert!(matches!(&refused, Error::Full { what } if what.contains("NOSPACE")) && !refused.may_retry(), "{refused:?}");
    assert!(store.get(&keys::log(0)).await.expect("a read").entry.is_some());
    // What the message says to do helps.
    let deleted = Transaction { then: vec![Operation::Delete(keys::logs())], ..Transaction::default() };
    let now = store.commit(deleted).await.expect("deleting needs no room").position;
    let mut client = Client::connect([&servers.settings().endpoints[0]], None).await.expect("a client");
    let physical = Some(CompactionOptions::new().with_physical());
    client.compact(i64::try_from(now.0).expect("a revision"), physical).await.expect("a compaction");
    client.defragment().await.expect("a defragmentation");
    let raised = client.alarm(AlarmAction::Get, AlarmType::None, None).await.expect("alarms");
    for alarm in raised.alarms() {
        let mut whose = AlarmOptions::new();
        whose.with_member(alarm.member_id());
        client.alarm(AlarmAction::Deactivate, alarm.alarm(), Some(whose)).await.expect("the end of the alarm");
    }
    store.commit(put(keys::log(1), large)).await.expect("a commit");
}
