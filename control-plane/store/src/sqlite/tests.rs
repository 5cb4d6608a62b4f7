//! The conformance suite on a SQLite file, and what is true of a file only.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::Sqlite;
use crate::conformance::{Making, ManualClock, Subject};
use crate::{Candidacy, Election, Entry, Error, Fault, Key, MonotonicClock, Operation, Position, Range, Read, Store, Transaction, keys};

fn an_empty_file() -> Making {
    Box::pin(async {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::default());
        let store = Sqlite::open(&folder.path().join("store.db"), clock.clone()).await.expect("a store");
        Subject { store: Arc::new(store), time: clock, surroundings: Box::new(folder) }
    })
}

mod conformance {
    crate::conformance_suite!(super::an_empty_file);
}

async fn open(file: &Path) -> Result<Sqlite, Error> {
    Sqlite::open(file, Arc::new(MonotonicClock::start())).await
}

/// A connection of somebody else's to the same file.
async fn neighbour(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.expect("a connection")
}

fn put(key: Key, value: impl Into<Bytes>) -> Transaction {
    Transaction { then: vec![Operation::Put(key, value.into())], ..Transaction::default() }
}

async fn everything(store: &Sqlite) -> (Position, Vec<Entry>) {
    let listing = store.list(&Read::now(Range::prefix(&b""[..]))).await.expect("a listing");
    (listing.position, listing.entries)
}

#[tokio::test]
async fn a_file_that_was_never_closed_opens_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    let store = open(&file).await.expect("a store");
    for revision in 0..20 {
        store.commit(put(keys::log(revision % 7), format!("{revision}"))).await.expect("a commit");
    }
    store.commit(Transaction { then: vec![Operation::delete(&keys::log(3))], ..Transaction::default() }).await.expect("a commit");
    let before = everything(&store).await;
    let past = store.list(&Read::at(keys::logs(), Position(9))).await.expect("a listing");
    // A process that dies leaves file and log as they are: so does a copy taken while it lives.
    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        std::fs::copy(format!("{}{suffix}", file.display()), format!("{}{suffix}", copy.display())).expect("a copy");
    }
    drop(store);
    for file in [&copy, &file] {
        let reopened = open(file).await.expect("the file again");
        assert_eq!(everything(&reopened).await, before);
        assert_eq!(reopened.list(&Read::at(keys::logs(), Position(9))).await.expect("a listing"), past);
        let next = reopened.commit(put(keys::head(), "x")).await.expect("a commit");
        assert_eq!(next.position.0, before.0.0 + 1);
    }
}

#[tokio::test]
async fn leaders_of_an_earlier_process_are_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    let mut terms = Vec::new();
    for _ in 0..3 {
        let store = open(&file).await.expect("a store");
        for key in [keys::leader("job", 0), keys::replica("r")] {
            let candidacy = Candidacy { key, holder: "a".into(), ttl: std::time::Duration::from_secs(3600) };
            match store.lead(&candidacy).await.expect("an election") {
                Election::Won(leadership) => terms.push(leadership.created),
                Election::Held(entry) => panic!("{entry:?}"),
            }
        }
    }
    assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
}

#[tokio::test]
async fn a_newer_schema_and_a_file_of_another_kind_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let newer = folder.path().join("newer.db");
    drop(open(&newer).await.expect("a store"));
    sqlx::query("UPDATE store_meta SET value = 2 WHERE name = 'schema'").execute(&mut neighbour(&newer).await).await.expect("an update");
    let refused = open(&newer).await.err().expect("a refusal");
    assert!(matches!(refused, Error::NewerSchema { found: 2, supported: 1 }), "{refused:?}");

    let foreign = folder.path().join("foreign.db");
    std::fs::write(&foreign, [0x5a; 8192]).expect("a file");
    let refused = open(&foreign).await.err().expect("a refusal");
    assert!(matches!(refused, Error::Corrupt { .. }) && refused.fault() == Fault::Ours, "{refused:?}");

    let nowhere = open(&folder.path().join("no/such/folder.db")).await.err().expect("a refusal");
    assert!(matches!(nowhere, Error::Unavailable { .. }) && nowhere.may_retry(), "{nowhere:?}");
}

#[tokio::test]
async fn a_neighbour_may_open_the_file_at_the_same_time() {
    for _ in 0..30 {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("store.db");
        let ledger = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .busy_timeout(std::time::Duration::from_secs(10));
        // SQLite does not wait for the lock under which it turns to the write-ahead log, so the neighbour tries again; the store must not need to be
        // asked twice.
        let neighbour = async {
            loop {
                match ledger.connect().await {
                    Err(sqlx::Error::Database(error)) if error.message().contains("locked") => tokio::task::yield_now().await,
                    connected => break connected,
                }
            }
        };
        let (store, ledger) = tokio::join!(open(&file), neighbour);
        store.expect("a store").commit(put(keys::head(), "1")).await.expect("a commit");
        ledger.expect("a connection");
    }
}

#[tokio::test]
async fn a_neighbour_that_writes_to_the_same_file_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    let store = open(&file).await.expect("a store");
    let mut ledger = neighbour(&file).await;
    sqlx::query("CREATE TABLE rows (n INTEGER)").execute(&mut ledger).await.expect("a table");
    let mut held = ledger.begin_with("BEGIN IMMEDIATE").await.expect("the write lock");
    sqlx::query("INSERT INTO rows VALUES (0)").execute(&mut *held).await.expect("a row");
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.commit(put(keys::head(), "1")).await }
    });
    // Reading does not wait for the lock, and does not see what waits for it.
    assert_eq!(store.get(&keys::head()).await.expect("a read").entry, None);
    held.commit().await.expect("the end of the lock");
    writing.await.expect("the task").expect("the commit that waited");
    for round in 0..20 {
        let mut held = ledger.begin_with("BEGIN IMMEDIATE").await.expect("the write lock");
        sqlx::query("INSERT INTO rows VALUES (?)").bind(round).execute(&mut *held).await.expect("a row");
        let (committed, ended) = tokio::join!(store.commit(put(keys::head(), "2")), held.commit());
        committed.expect("a commit between others");
        ended.expect("a row");
    }
}

#[tokio::test]
async fn compacting_many_rows_leaves_what_can_still_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    let store = open(&file).await.expect("a store");
    for round in 0..60 {
        let then = (0..100).map(|n| Operation::Put(keys::log(n), format!("{round}").into())).collect();
        store.commit(Transaction { then, ..Transaction::default() }).await.expect("a commit");
    }
    store
        .commit(Transaction { then: vec![Operation::Delete(keys::logs_between(0, 40))], ..Transaction::default() })
        .await
        .expect("a commit");
    let (position, entries) = everything(&store).await;
    store.compact(position).await.expect("a compaction");
    assert_eq!(everything(&store).await, (position, entries));
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM store_history").fetch_one(&mut neighbour(&file).await).await.expect("a count");
    assert_eq!(rows, 60 + 40, "the living, and the deletions that mark the position");
}

#[tokio::test]
async fn who_opens_the_file_beside_another_takes_no_job_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    let store = open(&file).await.expect("a store");
    let candidacy = Candidacy { key: keys::leader("tidy", 0), holder: "first".into(), ttl: Duration::from_secs(60) };
    let Ok(Election::Won(leadership)) = store.lead(&candidacy).await else { panic!("nobody else stands") };
    let fenced = || Transaction { compares: vec![leadership.fence()], then: put(keys::head(), "1").then, ..Transaction::default() };
    drop(Sqlite::open_beside(&file, Arc::new(MonotonicClock::start())).await.expect("beside"));
    assert!(store.commit(fenced()).await.expect("a commit").succeeded, "a look at the file ended the term");
    drop(open(&file).await.expect("in its place"));
    assert!(!store.commit(fenced()).await.expect("a commit").succeeded, "the term outlived its process");
}

/// Which file the child process of the kill test writes to.
const CHILD: &str = "WAYBILL_STORE_TEST_FILE";

/// Not a test by itself: the process that the next test kills.
#[tokio::test]
async fn the_victim_commits_once() {
    if let Ok(file) = std::env::var(CHILD) {
        let store = open(Path::new(&file)).await.expect("a store");
        store.commit(put(keys::head(), "written")).await.expect("a commit");
    }
}

#[test]
fn a_process_killed_inside_a_commit_leaves_all_of_it_or_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (failpoint, killed, expected) in [
        ("store.commit.before", Some(9), None),
        ("store.commit.after", Some(9), Some(Bytes::from("written"))),
        ("", None, Some(Bytes::from("written"))),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("store.db");
        let victim = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "sqlite::tests::the_victim_commits_once"])
            .env(CHILD, &file)
            .env("WAYBILL_FAILPOINT", failpoint)
            .output()
            .expect("a child");
        assert_eq!(victim.status.signal(), killed, "{failpoint}: {victim:?}");
        runtime.block_on(async {
            let store = open(&file).await.expect("the file again");
            let held = store.get(&keys::head()).await.expect("a read").entry.map(|entry| entry.value);
            assert_eq!(held, expected, "{failpoint}");
            store.commit(put(keys::head(), "next")).await.expect("a commit");
        });
    }
}

/// A figure, not a test: `cargo test -p waybill-store -- --ignored --nocapture change_sets`.
#[tokio::test]
#[ignore = "measures"]
async fn change_sets_of_fifty_resources_per_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("store.db")).await.expect("a store");
    let value = Bytes::from(vec![b'x'; 1024]);
    let rounds = 200_u64;
    let mut times = Vec::new();
    for revision in 1..=rounds {
        let mut transaction = Transaction::default();
        for n in 0..50 {
            let uid = format!("{revision:010}{n:04}");
            let (resource, name) = (keys::resource("Endpoint", &uid), keys::name("Endpoint", "acme", &uid));
            transaction.compares.push(crate::Compare::absent(resource.clone()));
            transaction.compares.push(crate::Compare::absent(name.clone()));
            transaction.then.push(Operation::Put(resource, value.clone()));
            transaction.then.push(Operation::Put(name, uid.into()));
        }
        for key in [keys::head(), keys::log(revision), keys::idempotency(&revision.to_string())] {
            transaction.then.push(Operation::Put(key, value.clone()));
        }
        let begun = std::time::Instant::now();
        assert!(store.commit(transaction).await.expect("a commit").succeeded);
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let per_second = times.len() as f64 / times.iter().sum::<std::time::Duration>().as_secs_f64();
    println!("{per_second:.0} change sets/s, p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
}
