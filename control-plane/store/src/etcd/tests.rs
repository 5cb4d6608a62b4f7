//! The conformance suite on real servers, and what is true of a cluster only.

mod access;
mod faults;
mod figures;
mod servers;
mod together;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::conformance::cluster;
use crate::{Compare, Etcd, EtcdSettings, Key, Operation, Position, Relation, Target, Transaction, keys};
use servers::{FAST, Servers};

fn put(key: Key, value: impl Into<bytes::Bytes>) -> Transaction {
    Transaction { then: vec![Operation::Put(key, value.into())], ..Transaction::default() }
}

/// Connects as soon as the servers answer.
async fn connect(settings: EtcdSettings) -> Etcd {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        match Etcd::connect(settings.clone()).await {
            Ok(store) => return store,
            Err(error) if error.may_retry() && std::time::Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The suite, on the cluster that the environment names, else on a server of its own.
mod conformance {
    use super::*;

    /// A server lives as long as a case holds or awaits it.
    static SERVER: Mutex<Weak<Servers>> = Mutex::new(Weak::new());

    fn there_is_a_cluster() -> bool {
        cluster::settings_of_environment().is_some() || servers::program().is_some()
    }

    fn own_server() -> Arc<Servers> {
        let mut running = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Servers::start(servers::program().expect("etcd"), 1, None, &[FAST]));
            *running = Arc::downgrade(&started);
            started
        })
    }

    fn a_cluster() -> crate::conformance::Making {
        Box::pin(async {
            match cluster::settings_of_environment() {
                Some(settings) => cluster::emptied(Arc::new(connect(settings).await), ()).await,
                None => {
                    let server = own_server();
                    cluster::emptied(Arc::new(connect(server.settings()).await), server).await
                }
            }
        })
    }

    crate::conformance_suite!(a_cluster, when there_is_a_cluster, histories 6);
}

#[test]
fn only_what_cannot_land_twice_is_sent_again() {
    let (head, other) = (keys::head(), keys::log(1));
    let at = |key: &Key, position| Compare::unchanged(key.clone(), Position(position));
    let put = |key: &Key| Operation::Put(key.clone(), "x".into());
    let fence = Compare { key: head.clone(), target: Target::Created(Position(7)), relation: Relation::Equal };
    let not = Compare { relation: Relation::NotEqual, ..at(&head, 7) };
    let version = Compare { key: head.clone(), target: Target::Version(7), relation: Relation::Equal };
    let rows = [
        ("it puts what it compares by position", vec![at(&head, 7)], vec![put(&head), put(&other)], vec![], true),
        (
            "one guard is enough",
            vec![Compare::absent(other.clone()), at(&head, 7)],
            vec![put(&head)],
            vec![Operation::Get(other.clone())],
            true,
        ),
        ("no compare", vec![], vec![put(&head)], vec![], false),
        ("the key may be deleted and be absent again", vec![Compare::absent(head.clone())], vec![put(&head)], vec![], false),
        ("what it compares it does not put", vec![at(&other, 7)], vec![put(&head)], vec![], false),
        ("a delete of what is not there changes nothing", vec![at(&head, 7)], vec![Operation::delete(&head)], vec![], false),
        ("a fence holds as long as the term", vec![fence], vec![put(&head)], vec![], false),
        ("another relation", vec![not], vec![put(&head)], vec![], false),
        ("versions return", vec![version], vec![put(&head)], vec![], false),
        ("the second time it would do the other branch", vec![at(&head, 7)], vec![put(&head)], vec![put(&other)], false),
    ];
    for (what, compares, then, otherwise, expected) in rows {
        assert_eq!(super::lands_once(&Transaction { compares, then, otherwise }), expected, "{what}");
    }
}
