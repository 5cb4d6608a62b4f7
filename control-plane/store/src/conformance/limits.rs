//! What is too much is refused by name, and nothing of it is done.

use bytes::Bytes;

use super::{Subject, delete, doing, key, put};
use crate::{Compare, Error, Fault, MAX_OPERATIONS, MAX_REQUEST_BYTES, Operation, Position, Range, Read, Transaction};

async fn refusal(subject: &Subject, transaction: Transaction) -> Error {
    let before = subject.now().await;
    let error = subject.store.commit(transaction).await.expect_err("a refusal");
    assert_eq!((error.fault(), error.may_retry()), (Fault::Caller, false), "{error}");
    assert_eq!(subject.now().await, before, "{error}");
    assert_eq!(subject.entries(Read::now(super::all())).await, []);
    error
}

/// 128 in each list is fine, 129 in any is not.
pub async fn the_longest_list_counts(subject: Subject) {
    let list = |count: usize| -> Transaction {
        let puts = || (0..count).map(|n| put(&format!("{n}"), "")).collect::<Vec<_>>();
        Transaction { compares: (0..count).map(|n| Compare::absent(key(format!("{n}")))).collect(), then: puts(), otherwise: puts() }
    };
    let full = list(MAX_OPERATIONS);
    let over = list(MAX_OPERATIONS + 1);
    for transaction in [
        Transaction { compares: over.compares, ..full.clone() },
        Transaction { then: over.then, ..full.clone() },
        Transaction { otherwise: over.otherwise, ..full.clone() },
    ] {
        let error = refusal(&subject, transaction).await;
        assert!(matches!(error, Error::TooManyOperations { counted: 129, limit: 128 }), "{error:?}");
    }
    let outcome = subject.commit(full).await;
    assert!(outcome.succeeded);
    let held = subject.entries(Read::now(super::all())).await;
    assert_eq!(held.len(), MAX_OPERATIONS);
    assert!(held.iter().all(|entry| entry.created == outcome.position));
}

/// The bound counts keys and values of both branches, and what is wrapped around them.
pub async fn the_size_of_a_request_is_limited(subject: Subject) {
    let of = |bytes: usize| doing(vec![put("k", vec![7_u8; bytes])]);
    let around = of(0).bytes();
    let largest = MAX_REQUEST_BYTES - around;
    let halves = Transaction { then: of(largest / 2).then, otherwise: of(largest / 2 + 1).then, ..Transaction::default() };
    for (transaction, expected) in [
        (of(largest + 1), MAX_REQUEST_BYTES + 1),
        (of(4 * MAX_REQUEST_BYTES), 4 * MAX_REQUEST_BYTES + around),
        (halves.clone(), halves.bytes()),
    ] {
        match refusal(&subject, transaction).await {
            Error::RequestTooLarge { bytes, limit } => assert_eq!((bytes, limit), (expected, MAX_REQUEST_BYTES)),
            other => panic!("{other:?}"),
        }
    }
    subject.commit(of(largest)).await;
    let entry = subject.store.get(&key("k")).await.expect("a read").entry.expect("k");
    assert_eq!(entry.value, Bytes::from(vec![7_u8; largest]));
}

/// Putting a key twice, or putting and deleting it, is refused, in the branch not taken as well.
pub async fn a_branch_writes_a_key_once(subject: Subject) {
    let around = Operation::Delete(Range::between(&key("a"), &key("z")));
    for (branch, written_twice) in [
        (vec![put("k", "1"), put("k", "2")], true),
        (vec![put("k", "1"), put("l", ""), put("k", "1")], true),
        (vec![put("k", "1"), delete("k")], true),
        (vec![delete("k"), put("k", "1")], true),
        (vec![around.clone(), put("k", "1")], true),
        (vec![around.clone(), delete("k"), delete("k")], false),
        (vec![around, put("zz", "")], false),
        (vec![Operation::Get(key("k")), put("k", ""), Operation::Get(key("k"))], false),
    ] {
        let taken = doing(branch.clone());
        let not_taken = Transaction { then: Vec::new(), otherwise: branch.clone(), compares: Vec::new() };
        let never = Compare::unchanged(key("k"), Position(u64::from(u32::MAX)));
        let dodged = Transaction { compares: vec![never], then: branch.clone(), otherwise: Vec::new() };
        for transaction in [taken, not_taken, dodged] {
            if written_twice {
                let error = refusal(&subject, transaction).await;
                assert!(matches!(&error, Error::DuplicateKey { key: named } if *named == key("k")), "{error:?}");
            } else {
                subject.commit(transaction).await;
                subject.commit(doing(vec![Operation::Delete(super::all())])).await;
            }
        }
    }
}
