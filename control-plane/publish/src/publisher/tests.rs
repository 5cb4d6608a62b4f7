use std::sync::Arc;

use waybill_model::world::{Delta, Key};
use waybill_proto::{
    model::v1::Resource,
    sync::v1::{Hello, Report, connect_request},
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
