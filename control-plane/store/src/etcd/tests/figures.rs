//! Figures, not tests: `cargo test -p waybill-store -- --ignored --nocapture figures`.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connect;
use super::faults::count_on;
use super::servers::{Authority, FAST, Servers, program};
use crate::{Compare, Operation, Read, Store, Transaction, keys};

fn shown(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!("{what}: n {} p50 {:?} p99 {:?} max {:?}", times.len(), at(50), at(99), at(100));
}

#[tokio::test]
#[ignore = "measures"]
async fn writes_and_listings_on_three_servers() {
    let Some(program) = program() else { return };
    for (name, tls, flags) in [("fsync, TLS", true, &[][..]), ("fsync", false, &[]), ("no fsync", false, &[FAST])] {
        let servers = Servers::start(program.clone(), 3, tls.then(|| Authority::new("ours")), flags);
        let store = connect(servers.settings()).await;
        let value = Bytes::from(vec![b'x'; 1024]);
        let mut puts = Vec::new();
        for n in 0..2_000_u64 {
            let put = Transaction { then: vec![Operation::Put(keys::log(n % 100), value.clone())], ..Transaction::default() };
            let begun = Instant::now();
            store.commit(put).await.expect("a commit");
            puts.push(begun.elapsed());
        }
        shown(&format!("{name}: put of 1 KiB"), puts);
        let (mut sets, mut revision) = (Vec::new(), 0_u64);
        for _ in 0..200 {
            revision += 1;
            let mut transaction = Transaction::default();
            for n in 0..50 {
                let uid = format!("{revision:010}{n:04}");
                let (resource, name) = (keys::resource("Endpoint", &uid), keys::name("Endpoint", "acme", &uid));
                transaction.compares.extend([Compare::absent(resource.clone()), Compare::absent(name.clone())]);
                transaction.then.push(Operation::Put(resource, value.clone()));
                transaction.then.push(Operation::Put(name, uid.into()));
            }
            transaction.then.push(Operation::Put(keys::head(), revision.to_string().into()));
            let begun = Instant::now();
            assert!(store.commit(transaction).await.expect("a commit").succeeded);
            sets.push(begun.elapsed());
        }
        shown(&format!("{name}: change set of 50 resources"), sets);
        let mut listings = Vec::new();
        for _ in 0..20 {
            let begun = Instant::now();
            let listing = store.list(&Read::now(keys::resources("Endpoint"))).await.expect("a listing");
            assert_eq!(listing.entries.len(), 10_000);
            listings.push(begun.elapsed());
        }
        shown(&format!("{name}: listing of 10,000 resources of 1 KiB"), listings);
    }
}

#[tokio::test]
#[ignore = "measures"]
async fn time_without_writes_when_the_leader_is_killed() {
    let Some(program) = program() else { return };
    let mut servers = Servers::start(program, 3, None, &[FAST]);
    let store = connect(servers.settings()).await;
    store.commit(Transaction { then: vec![Operation::Put(keys::head(), "0".into())], ..Transaction::default() }).await.expect("a commit");
    let mut gaps = Vec::new();
    for round in 0..10 {
        let leader = servers.leader().await;
        count_on(&store, 20).await;
        servers.kill(leader);
        let counted = count_on(&store, 100).await;
        println!("kill {round}: {:?} without a write, {} answers lost, {} landed", counted.longest, counted.unknown, counted.landed);
        gaps.push(counted.longest);
        servers.run(leader);
    }
    shown("time without writes", gaps);
}
