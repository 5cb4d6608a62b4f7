use std::sync::Arc;

use waybill_model::world::{Delta, Key};
use waybill_proto::{
    model::v1::Resource,
    sync::v1::{Advice, EndpointCounts, HealthCounts, Hello, Report, SpoolReport, connect_request, connect_response::Message},
};
use waybill_store::{MonotonicClock, Operation, Sqlite, Transaction};

use super::*;
use crate::{
    sample::{api_key, content, org},
    stored::{Head, resource_value},
};

struct Rig {
    _folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    publisher: Publisher,
}

async fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.path().join("store.db"), Arc::new(MonotonicClock::start())).await.unwrap());
    let publisher = Publisher::start(Arc::clone(&store)).await.unwrap();
    Rig { _folder: folder, store, publisher }
}

impl Rig {
    async fn commit(&self, revision: u64, resources: &[Arc<Resource>]) {
        let put = |resource: &Arc<Resource>| {
            let key = Key::of(resource).unwrap();
            Operation::Put(keys::resource(key.kind.name(), &key.uid), resource_value(resource))
        };
        let mut then: Vec<Operation> = resources.iter().map(put).collect();
        then.push(Operation::Put(keys::head(), Head { revision, log_hash: vec![] }.to_value()));
        self.store.commit(Transaction { then, ..Transaction::default() }).await.unwrap();
    }
}

/// A proxy that applies whatever comes. Ends when its stream does; `deaf` = it never answers.
async fn proxy(publisher: Publisher, name: &str, deaf: bool) -> mpsc::UnboundedReceiver<Message> {
    let (requests, incoming) = mpsc::channel(4);
    let (outgoing, mut responses) = mpsc::channel::<ConnectResponse>(4);
    tokio::spawn(async move { publisher.serve(incoming, outgoing).await });
    let hello = Hello {
        proxy: name.to_owned(),
        schema_min: 1,
        schema_max: 1,
        root_hash: World::default().root_hash().to_vec().into(),
        ..Hello::default()
    };
    requests.send(ConnectRequest { message: Some(connect_request::Message::Hello(hello)) }).await.unwrap();
    let (seen, log) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut world = World::default();
        let mut delta = Delta::default();
        while let Some(response) = responses.recv().await {
            let message = response.message.unwrap();
            match message.clone() {
                Message::Begin(begin) => delta = Delta { revision: begin.revision, ..Delta::default() },
                Message::Put(put) => delta.puts.push(Arc::new(put.resource.unwrap())),
                Message::Remove(remove) => delta.removes.push(Key { kind: remove.kind.parse().unwrap(), uid: remove.uid.into() }),
                Message::Commit(commit) if !deaf => {
                    world = world.apply(&delta);
                    let root_hash = world.root_hash().to_vec().into();
                    let report = Report { nonce: commit.nonce, applied_revision: commit.revision, root_hash, ..Report::default() };
                    requests.send(ConnectRequest { message: Some(connect_request::Message::Report(report)) }).await.unwrap();
                }
                _ => {}
            }
            if seen.send(message).is_err() {
                return;
            }
        }
    });
    log
}

#[tokio::test]
async fn a_commit_reaches_readers_and_proxies() {
    let rig = rig().await;
    assert_eq!(rig.publisher.world().revision(), 0);
    let _log = proxy(rig.publisher.clone(), "p", false).await;
    rig.commit(1, &[org("a", "1")]).await;
    rig.commit(2, &[org("b", "1")]).await;
    let world = rig.publisher.wait_for(2).await.unwrap();
    assert_eq!(content(&world).len(), 2);
    rig.publisher.shared.fleet.changes().wait_for(|version| *version > 0).await.unwrap();
    let proxies = rig.publisher.applied(2).await.unwrap();
    assert_eq!(proxies.iter().map(|proxy| (&*proxy.proxy, proxy.applied_revision, proxy.stale_seconds)).collect::<Vec<_>>(), [("p", 2, 0)]);
}

#[tokio::test]
async fn a_publisher_that_starts_later_shows_what_is_stored() {
    let rig = rig().await;
    rig.commit(1, &[org("a", "1")]).await;
    let later = Publisher::start(Arc::clone(&rig.store)).await.unwrap();
    assert_eq!((later.world().revision(), later.world().len()), (1, 1));
}

#[tokio::test]
async fn a_revocation_passes_a_proxy_that_does_not_answer() {
    let rig = rig().await;
    rig.commit(1, &[api_key("k", false, 1)]).await;
    rig.publisher.wait_for(1).await.unwrap();
    let mut log = proxy(rig.publisher.clone(), "p", true).await;
    while !matches!(log.recv().await.unwrap(), Message::Commit(_)) {}
    rig.commit(2, &[api_key("k", true, 1)]).await;
    let Message::Deny(deny) = log.recv().await.unwrap() else { panic!("the next thing it hears is the denial") };
    assert_eq!((&*deny.api_key_uid, deny.revision, deny.lift), ("k", 2, false));
    assert_eq!(rig.publisher.proxies()[0].applied_revision, 0);
}

#[tokio::test]
async fn a_proxy_that_goes_is_shown_as_away_and_nobody_waits_for_it() {
    let rig = rig().await;
    rig.commit(1, &[org("a", "1")]).await;
    rig.publisher.wait_for(1).await.unwrap();
    let mut log = proxy(rig.publisher.clone(), "p", true).await;
    while !matches!(log.recv().await.unwrap(), Message::Commit(_)) {}
    drop(log);
    rig.commit(2, &[api_key("k", false, 1)]).await;
    rig.publisher.wait_for(2).await.unwrap();
    rig.commit(3, &[api_key("k", true, 1)]).await;
    let proxies = rig.publisher.applied(3).await.unwrap();
    assert_eq!((proxies[0].connected, proxies[0].applied_revision), (false, 0));
}

#[tokio::test]
async fn advice_reaches_who_is_connected_and_until_it_expires_who_comes_later() {
    let rig = rig().await;
    tokio::time::pause();
    let mut early = proxy(rig.publisher.clone(), "early", false).await;
    rig.publisher.changes().wait_for(|version| *version > 0).await.unwrap();
    rig.publisher.advise(Advice { ttl_ms: 30_000, ..Advice::default() });
    let advised = async |log: &mut mpsc::UnboundedReceiver<Message>| loop {
        if let Message::Advice(advice) = log.recv().await.unwrap() {
            return advice.ttl_ms;
        }
    };
    assert_eq!(advised(&mut early).await, 30_000);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut late = proxy(rig.publisher.clone(), "late", false).await;
    let left_ms = advised(&mut late).await;
    assert!((19_000..=20_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test]
async fn what_a_proxy_tells_is_kept_and_shown() {
    let rig = rig().await;
    let (requests, incoming) = mpsc::channel(4);
    let (outgoing, _responses) = mpsc::channel(4);
    let serving = tokio::spawn({
        let publisher = rig.publisher.clone();
        async move { publisher.serve(incoming, outgoing).await }
    });
    let hello = Hello { proxy: "p".to_owned(), schema_min: 1, schema_max: 1, ..Hello::default() };
    let counts =
        HealthCounts { endpoints: vec![EndpointCounts { endpoint: "e".to_owned(), open_breakers: 2, ..EndpointCounts::default() }] };
    let spool = SpoolReport { waiting_events: 3, ..SpoolReport::default() };
    use connect_request::Message::{Health, Spool};
    for message in [connect_request::Message::Hello(hello), Health(counts.clone()), Spool(spool.clone())] {
        requests.send(ConnectRequest { message: Some(message) }).await.unwrap();
    }
    drop(requests);
    serving.await.unwrap();
    let known = rig.publisher.proxies().remove(0);
    assert_eq!((known.counts, known.spool, known.connected), (counts.endpoints, Some(spool), false));
}
