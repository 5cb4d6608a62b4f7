//! Bundles: whole or not at all.

use super::{Subject, doing};
use crate::bundle::{self, CHUNK_BYTES};
use crate::{Error, Operation, Read, keys};

/// Sizes around a chunk's, and one that no request could hold.
pub async fn a_bundle_reads_back_whatever_its_size(subject: Subject) {
    let store = &*subject.store;
    for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 7] {
        let content: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let pointer = bundle::write(store, "prices", &content).await.expect("a bundle");
        assert_eq!(pointer.chunks as usize, size.div_ceil(CHUNK_BYTES));
        assert_eq!(bundle::read(store, &pointer).await.expect("its content"), content);
    }
}

/// What is written is in force when the pointer says so, and what is not in force can be swept.
pub async fn a_bundle_is_in_force_from_the_flip_on(subject: Subject) {
    let store = &*subject.store;
    let first = bundle::write(store, "prices", &vec![1; CHUNK_BYTES * 2]).await.expect("a bundle");
    assert_eq!(bundle::current(store, "prices").await.expect("a pointer"), None);
    subject.write(vec![first.flip()]).await;
    let second = bundle::write(store, "prices", &vec![2; CHUNK_BYTES * 2]).await.expect("a bundle");
    assert_eq!(bundle::current(store, "prices").await.expect("a pointer").as_ref(), Some(&first));
    let other = bundle::write(store, "prices2", b"of a kind whose name begins alike").await.expect("a bundle");
    subject.commit(doing(vec![second.flip(), Operation::Put(keys::head(), "2".into())])).await;
    assert_eq!(bundle::current(store, "prices").await.expect("a pointer").as_ref(), Some(&second));
    let before = subject.now().await;
    bundle::write(store, "prices", &vec![2; CHUNK_BYTES * 2]).await.expect("the same bundle");
    assert_eq!(subject.now().await, before, "what lies there is not written again");
    bundle::sweep(store, "prices").await.expect("a sweep");
    assert!(matches!(bundle::read(store, &first).await, Err(Error::Corrupt { .. })));
    for kept in [&second, &other] {
        bundle::read(store, kept).await.expect("what was kept");
    }
    assert_eq!(subject.entries(Read::now(keys::bundles("prices"))).await.len(), 2);
}

/// A chunk that is missing or another's is found.
pub async fn a_damaged_bundle_is_refused(subject: Subject) {
    let store = &*subject.store;
    let pointer = bundle::write(store, "prices", &vec![3; CHUNK_BYTES * 3]).await.expect("a bundle");
    let key = keys::bundle_chunk("prices", &pointer.sha256, 1);
    for damage in [Operation::Put(key.clone(), vec![4; CHUNK_BYTES].into()), Operation::delete(&key)] {
        subject.write(vec![damage]).await;
        assert!(matches!(bundle::read(store, &pointer).await, Err(Error::Corrupt { .. })));
        // Writing it again heals it.
        assert_eq!(bundle::write(store, "prices", &vec![3; CHUNK_BYTES * 3]).await.expect("a bundle"), pointer);
        bundle::read(store, &pointer).await.expect("its content");
    }
}
