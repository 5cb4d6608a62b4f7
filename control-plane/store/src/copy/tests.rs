//! Stores copied, dumped and brought back, and dumps that were damaged on the way.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Candidacy, Key, MAX_REQUEST_BYTES, MonotonicClock, Operation, Sqlite, Transaction, keys};

struct File {
    store: Sqlite,
    _folder: tempfile::TempDir,
}

async fn a_store() -> File {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::open(&folder.path().join("store.db"), Arc::new(MonotonicClock::start())).await.expect("a store");
    File { store, _folder: folder }
}

async fn write(store: &Sqlite, entries: Vec<(Key, Vec<u8>)>) {
    for entries in entries.chunks(50) {
        let then = entries.iter().map(|(key, value)| Operation::Put(key.clone(), value.clone().into())).collect();
        store.commit(Transaction { then, ..Transaction::default() }).await.expect("a commit");
    }
}

/// Something of everything that is stored, more than a page of it, and a value of the largest kind.
async fn a_full_store() -> File {
    let file = a_store().await;
    let mut entries = vec![(keys::head(), b"head".to_vec()), (keys::schema(), b"1".to_vec()), (keys::pepper(1), vec![0, 255])];
    entries.extend((0..1_300).map(|n| (keys::resource("Model", &format!("u{n}")), format!("model {n}").into_bytes())));
    entries.extend((0..40).map(|n| (keys::log(n), vec![n as u8; 30_000])));
    entries.push((keys::idempotency("a/b"), Vec::new()));
    write(&file.store, entries).await;
    write(&file.store, vec![(keys::bundle_chunk("prices", "ab", 0), vec![7; MAX_REQUEST_BYTES - 400])]).await;
    for key in [keys::leader("job", 0), keys::replica("r")] {
        file.store.lead(&Candidacy { key, holder: "x".into(), ttl: Duration::from_secs(60) }).await.expect("an election");
    }
    file
}

#[tokio::test]
async fn a_store_is_copied_without_those_who_lead_in_it() {
    let (from, to) = (a_full_store().await, a_store().await);
    let copied = copy(&from.store, &to.store, Onto::Empty).await.expect("a copy");
    assert_eq!(copied.digest.entries, 1_300 + 40 + 5);
    assert_eq!(digest(&to.store).await.expect("a digest"), copied.digest);
    for key in [keys::leader("job", 0), keys::replica("r")] {
        assert_eq!(to.store.get(&key).await.expect("a read").entry, None);
    }
    // The head came last, after all that it stands for.
    let head = to.store.get(&keys::head()).await.expect("a read");
    assert_eq!(head.entry.expect("the head").modified, head.position);
}

#[tokio::test]
async fn a_target_that_holds_something_is_replaced_only_when_that_is_said() {
    let (from, to) = (a_full_store().await, a_store().await);
    let before = [(keys::log(3), vec![3; 30_000]), (keys::log(4), b"other".to_vec()), (keys::resource("Model", "stale"), b"x".to_vec())];
    write(&to.store, before.to_vec()).await;
    let held = digest(&to.store).await.expect("a digest");
    let refused = copy(&from.store, &to.store, Onto::Empty).await.expect_err("a refusal");
    assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
    assert_eq!(digest(&to.store).await.expect("a digest"), held);
    let untouched = to.store.get(&keys::log(3)).await.expect("a read").entry;
    let copied = copy(&from.store, &to.store, Onto::Anything).await.expect("a copy");
    assert_eq!(copied.digest, digest(&from.store).await.expect("a digest"));
    assert_eq!(to.store.get(&keys::log(3)).await.expect("a read").entry, untouched, "what is equal is not written again");
    // An empty store replaces all of it, the head at last.
    let empty = a_store().await;
    let copied = copy(&empty.store, &to.store, Onto::Anything).await.expect("a copy");
    assert_eq!(copied.digest.entries, 0);
}

#[tokio::test]
async fn a_dump_brings_back_what_it_was_made_of() {
    let (from, to) = (a_full_store().await, a_store().await);
    let mut bytes = Vec::new();
    let dumped = dump(&from.store, &mut bytes).await.expect("a dump");
    assert!(dumped.position.is_some());
    assert_eq!(verify(&mut Cursor::new(&bytes)).expect("a whole dump"), dumped.digest);
    let loaded = load(&to.store, &mut Cursor::new(&bytes), Onto::Empty).await.expect("a load");
    assert_eq!(loaded.digest, dumped.digest);
    let mut again = Vec::new();
    dump(&to.store, &mut again).await.expect("a dump");
    assert!(again == bytes, "a copy dumps as its original does");
    let refused = load(&to.store, &mut Cursor::new(&bytes), Onto::Empty).await.expect_err("a refusal");
    assert!(matches!(refused, Error::NotEmpty { .. }), "{refused}");
}

#[tokio::test]
async fn a_store_that_changes_meanwhile_is_dumped_as_it_was_at_one_position() {
    let from = a_full_store().await;
    let before = digest(&from.store).await.expect("a digest");
    let mut reading = transfer::Reading::begin(&from.store);
    while reading.page().await.expect("a page").is_some() {
        write(&from.store, vec![(keys::log(9), b"later".to_vec()), (keys::resource("Model", "new"), b"later".to_vec())]).await;
    }
    assert_eq!(reading.end().1, before);
}

#[tokio::test]
async fn a_store_of_a_newer_schema_is_neither_read_nor_written() {
    let (newer, plain) = (a_store().await, a_store().await);
    write(&newer.store, vec![(keys::schema(), b"99".to_vec())]).await;
    for refused in [
        copy(&newer.store, &plain.store, Onto::Anything).await,
        copy(&plain.store, &newer.store, Onto::Anything).await,
        dump(&newer.store, &mut Vec::new()).await,
    ] {
        assert!(matches!(refused, Err(Error::Store(crate::Error::NewerSchema { .. }))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_dump_with_any_byte_changed_or_missing_is_refused_and_writes_nothing() {
    let (from, to) = (a_store().await, a_store().await);
    write(&from.store, vec![(keys::head(), b"head".to_vec()), (keys::log(1), b"one".to_vec())]).await;
    let mut whole = Vec::new();
    dump(&from.store, &mut whole).await.expect("a dump");
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 1;
        let refused = load(&to.store, &mut Cursor::new(&changed), Onto::Empty).await;
        assert!(matches!(refused, Err(Error::Damaged { .. })), "byte {index}: {refused:?}");
        let refused = load(&to.store, &mut Cursor::new(&whole[..index]), Onto::Empty).await;
        assert!(matches!(refused, Err(Error::Damaged { .. })), "cut at {index}: {refused:?}");
    }
    whole.push(0);
    assert!(matches!(load(&to.store, &mut Cursor::new(&whole), Onto::Empty).await, Err(Error::Damaged { .. })));
    assert_eq!(digest(&to.store).await.expect("a digest").entries, 0);
}

proptest! {
    #[test]
    fn whatever_is_read_as_a_dump_it_is_refused_by_name(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let dump = [HEADING, &bytes].concat();
        let refused = verify(&mut Cursor::new(dump));
        prop_assert!(matches!(refused, Err(Error::Damaged { .. })), "{:?}", refused);
    }
}
