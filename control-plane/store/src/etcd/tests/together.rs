//! The file and the cluster together: the way from one to the other and back; and jobs on real leases.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::connect;
use super::servers::{FAST, Servers, program};
use crate::copy::{self, Onto};
use crate::{Candidacy, JOB_TTL, Leadership, MonotonicClock, Operation, Sqlite, Store, Transaction, campaign_until, keys, migrate};

#[tokio::test]
async fn a_store_goes_from_a_file_to_a_cluster_and_back_without_loss() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 1, None, &[FAST]);
    let cluster = connect(servers.settings()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let open = async |name: &str| Sqlite::open(&folder.path().join(name), Arc::new(MonotonicClock::start())).await.expect("a store");
    let (file, back) = (open("file.db").await, open("back.db").await);
    migrate(&file).await.expect("a mark");
    for n in 0..30_u64 {
        let mut then: Vec<Operation> = (0..100).map(|m| Operation::Put(keys::log(n * 100 + m), vec![m as u8; 300].into())).collect();
        then.push(Operation::Put(keys::head(), n.to_string().into()));
        file.commit(Transaction { then, ..Transaction::default() }).await.expect("a commit");
    }
    let large = Operation::Put(keys::bundle_chunk("prices", "00", 0), vec![5; 1_500_000].into());
    file.commit(Transaction { then: vec![large], ..Transaction::default() }).await.expect("a commit");
    let there = copy::copy(&file, &cluster, Onto::Empty).await.expect("a copy");
    let dumped = copy::dump(&cluster, &mut Vec::new()).await.expect("a dump");
    let returned = copy::copy(&cluster, &back, Onto::Empty).await.expect("a copy");
    assert_eq!((there.digest, dumped.digest), (returned.digest, returned.digest));
    assert_eq!(copy::digest(&file).await.expect("a digest"), returned.digest);
    assert_eq!(returned.digest.entries, 3_000 + 3);
}

#[tokio::test]
async fn the_next_takes_over_a_job_at_once_when_it_is_given_up_and_the_former_cannot_write() {
    let Some(program) = program() else { return };
    let servers = Servers::start(program, 1, None, &[FAST]);
    let mut terms: Vec<Leadership> = Vec::new();
    for holder in ["first", "second"] {
        // Each a process of its own, as far as the cluster can tell.
        let store: Arc<dyn Store> = Arc::new(connect(servers.settings()).await);
        let (told, mut tells) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let work = |leadership: Leadership| {
            let (store, told) = (Arc::clone(&store), told.clone());
            async move {
                let then = vec![Operation::Put(keys::health("e"), holder.into())];
                let write = Transaction { compares: vec![leadership.fence()], then, otherwise: Vec::new() };
                assert!(store.commit(write).await.expect("a commit").succeeded);
                told.send(leadership).await.expect("the test listens");
                std::future::pending().await
            }
        };
        let candidacy = Candidacy { key: keys::leader("health", 0), holder: holder.into(), ttl: JOB_TTL };
        let standing = campaign_until(Arc::clone(&store), candidacy, work, async { drop(stopped.await) });
        let watching = async {
            let leadership = tells.recv().await.expect("a leader");
            stop.send(()).expect("the campaign listens");
            leadership
        };
        terms.push(tokio::join!(standing, watching).1);
        assert_eq!(store.get(&keys::leader("health", 0)).await.expect("a read").entry, None);
        assert_eq!(store.get(&keys::health("e")).await.expect("a read").entry.expect("a value").value, Bytes::from(holder));
    }
    assert!(terms[0].created < terms[1].created, "{terms:?}");
    let late = Transaction { compares: vec![terms[0].fence()], ..Transaction::default() };
    assert!(!connect(servers.settings()).await.commit(late).await.expect("a commit").succeeded);
}
