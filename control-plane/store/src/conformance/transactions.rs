//! Compares, branches, and what a commit leaves behind.

use bytes::Bytes;

use super::{Subject, delete, doing, guarded, key, put};
use crate::{Compare, Done, Operation, Position, Range, Relation, Target, Transaction};

/// The whole table of relations, for a key that exists and one that does not.
pub async fn every_relation_holds_as_it_should(subject: Subject) {
    let created = subject.write(vec![put("k", "a")]).await;
    let modified = subject.write(vec![put("k", "b")]).await;
    let ahead = Position(modified.0 + 1);
    let value = |text: &'static str| Target::Value(Bytes::from_static(text.as_bytes()));
    // Each row: the key, what it is compared with, and whether =, ≠, <, > hold.
    let rows = [
        ("k", Target::Created(created), [true, false, false, false]),
        ("k", Target::Created(modified), [false, true, true, false]),
        ("k", Target::Created(Position::NONE), [false, true, false, true]),
        ("k", Target::Modified(modified), [true, false, false, false]),
        ("k", Target::Modified(created), [false, true, false, true]),
        ("k", Target::Modified(ahead), [false, true, true, false]),
        ("k", Target::Version(2), [true, false, false, false]),
        ("k", Target::Version(1), [false, true, false, true]),
        ("k", Target::Version(3), [false, true, true, false]),
        ("k", value("b"), [true, false, false, false]),
        ("k", value("a"), [false, true, false, true]),
        ("k", value("ba"), [false, true, true, false]),
        ("k", value(""), [false, true, false, true]),
        ("missing", Target::Created(Position::NONE), [true, false, false, false]),
        ("missing", Target::Modified(Position::NONE), [true, false, false, false]),
        ("missing", Target::Modified(modified), [false, true, true, false]),
        ("missing", Target::Version(0), [true, false, false, false]),
        ("missing", Target::Version(1), [false, true, true, false]),
        ("missing", value("b"), [false, false, false, false]),
        ("missing", value(""), [false, false, false, false]),
    ];
    let relations = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];
    for (name, target, expected) in rows {
        for (relation, expected) in relations.into_iter().zip(expected) {
            let compare = Compare { key: key(name), target: target.clone(), relation };
            let outcome = subject.commit(guarded(vec![compare.clone()], Vec::new())).await;
            assert_eq!(outcome.succeeded, expected, "{compare:?}");
        }
    }
    for (held, missing, expected) in [(2, 0, true), (2, 1, false), (1, 0, false)] {
        let version = |name, version| Compare { key: key(name), target: Target::Version(version), relation: Relation::Equal };
        let both = vec![version("k", held), version("missing", missing)];
        assert_eq!(subject.commit(guarded(both, Vec::new())).await.succeeded, expected, "{held} {missing}");
    }
}

/// A branch is done in order, at one position, and the other branch not at all.
pub async fn steps_see_what_earlier_steps_did(subject: Subject) {
    let before = subject.write(vec![put("old", "0"), put("old/1", "0"), put("old/2", "")]).await;
    let outcome = subject
        .commit(Transaction {
            compares: vec![Compare::absent(key("new"))],
            then: vec![
                Operation::Get(key("new")),
                put("new", "1"),
                Operation::Get(key("new")),
                Operation::Delete(super::under("old/")),
                Operation::Get(key("old/1")),
                delete("nowhere"),
            ],
            otherwise: vec![put("wrong", "")],
        })
        .await;
    assert!(outcome.succeeded && outcome.position > before, "{outcome:?}");
    let [missing, put_once, Done::Got(Some(new)), gone, missing_now, none] = outcome.results.as_slice() else {
        panic!("{outcome:?}");
    };
    assert_eq!((missing, put_once), (&Done::Got(None), &Done::Put));
    assert_eq!((gone, missing_now, none), (&Done::Deleted(2), &Done::Got(None), &Done::Deleted(0)));
    assert_eq!((&new.value[..], new.created, new.modified, new.version), (&b"1"[..], outcome.position, outcome.position, 1));

    let again = subject
        .commit(Transaction {
            compares: vec![Compare::absent(key("new"))],
            then: vec![put("wrong", "")],
            otherwise: vec![Operation::Get(key("new")), put("old", "2")],
        })
        .await;
    assert!(!again.succeeded && again.position > outcome.position, "{again:?}");
    assert_eq!(again.results, [Done::Got(Some(new.clone())), Done::Put]);
    let names: Vec<String> = subject.entries(crate::Read::now(super::all())).await.into_iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(names, [key("new").to_string(), key("old").to_string()]);
}

/// Deleting ends a key's life: the next put creates it anew.
pub async fn a_key_that_comes_back_is_new(subject: Subject) {
    let created = subject.write(vec![put("k", "1")]).await;
    let modified = subject.write(vec![put("k", "2")]).await;
    let entry = subject.store.get(&key("k")).await.expect("a read").entry.expect("k");
    assert_eq!((entry.created, entry.modified, entry.version), (created, modified, 2));
    let deleted = subject.write(vec![delete("k")]).await;
    let found = subject.store.get(&key("k")).await.expect("a read");
    assert_eq!((found.position, found.entry), (deleted, None));
    let reborn = subject.write(vec![put("k", "2")]).await;
    let entry = subject.store.get(&key("k")).await.expect("a read").entry.expect("k");
    assert_eq!((entry.created, entry.modified, entry.version), (reborn, reborn, 1));
}

/// Reads, deletes of nothing and empty branches leave the position where it was.
pub async fn what_changes_nothing_takes_no_position(subject: Subject) {
    let position = subject.write(vec![put("k", "1")]).await;
    let whole = Range::between(&key("a"), &key("b"));
    for transaction in [
        Transaction::default(),
        doing(vec![Operation::Get(key("k"))]),
        doing(vec![delete("nowhere"), Operation::Delete(whole)]),
        guarded(vec![Compare::absent(key("k"))], vec![put("k", "2")]),
    ] {
        assert_eq!(subject.commit(transaction.clone()).await.position, position, "{transaction:?}");
    }
    // Putting the value that is there is a change, as its position and version show.
    assert!(subject.write(vec![put("k", "1")]).await > position);
}

/// Many commits at once that all want a key to be absent.
pub async fn of_rivals_for_a_key_one_wins(subject: Subject) {
    let mut rivals = tokio::task::JoinSet::new();
    for rival in 0..16 {
        let store = subject.store.clone();
        let claim = guarded(vec![Compare::absent(key("prize"))], vec![put("prize", format!("{rival}"))]);
        rivals.spawn(async move { (rival, store.commit(claim).await.expect("a commit")) });
    }
    let results = rivals.join_all().await;
    let winners: Vec<_> = results.iter().filter(|(_, outcome)| outcome.succeeded).collect();
    let [(winner, outcome)] = winners.as_slice() else { panic!("{winners:?}") };
    let entry = subject.store.get(&key("prize")).await.expect("a read").entry.expect("the prize");
    assert_eq!((entry.value, entry.created), (Bytes::from(format!("{winner}")), outcome.position));
}
