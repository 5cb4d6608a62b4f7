//! Both planes over the real listener: who is let in, what is told, what happens when a replica goes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use waybill_model::resource::Kind;
use waybill_peer::{PeerClient, PeerServer, Role};
use waybill_proto::{
    model::v1::{Metadata, Org, Resource, resource::Spec},
    sync::v1::{Advice, EndpointCounts, EndpointHealth, HealthCounts, PepperPrint, SpoolReport},
    usage::v1::{GenerationRequest, GenerationResponse, IngestRequest, IngestResponse, KeyScope, SpentRequest, SpentResponse, Spooled},
};
use waybill_publish::{
    Limits, Peers, Publisher, Served, Usage, stored,
    usage::{Answer, Unanswered},
};
use waybill_store::{MonotonicClock, Operation, Sqlite, Store, Transaction, keys};
use waybill_sync::{Current, Identity, Obstacle, Outgoing, Remote, Sync};

use crate::certificates::Authority;

const LONG: Duration = Duration::from_secs(60);

struct Rig {
    _folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    authority: Authority,
    revision: u64,
    /// Of the replicas that are started from now on.
    peppers: Vec<PepperPrint>,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&file, Arc::new(MonotonicClock::start())).await.unwrap());
        let mut rig = Self { _folder: folder, store, authority: Authority::new(), revision: 0, peppers: Vec::new() };
        rig.commit().await;
        rig
    }

    /// A change set of one resource.
    async fn commit(&mut self) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        let metadata = Metadata { name: format!("o{revision}"), uid: format!("uid-{revision}"), generation: 1, ..Metadata::default() };
        let resource = Resource { metadata: Some(metadata), spec: Some(Spec::Org(Org::default())) };
        let head = stored::Head { revision, log_hash: vec![] }.to_value();
        let key = keys::resource(Kind::Org.name(), &format!("uid-{revision}"));
        let then = vec![Operation::Put(key, stored::resource_value(&resource)), Operation::Put(keys::head(), head)];
        self.store.commit(Transaction { then, ..Transaction::default() }).await.unwrap();
        revision
    }

    async fn replica(&self, name: &str, limits: Limits) -> Replica {
        let publisher = Publisher::start(Arc::clone(&self.store)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let credentials = self.authority.credentials(Role::Control, &[name]);
        let peers =
            Peers::new(publisher.clone(), name, "test", Arc::clone(&self.store), PeerClient::new(credentials.clone(), Role::Control));
        let served = Served {
            publisher: publisher.clone(),
            usage: Some(Arc::new(Ledger)),
            replica: name.to_owned(),
            build: "test".to_owned(),
            peppers: self.peppers.clone(),
            limits,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let server = PeerServer::new(credentials);
            waybill_publish::serve(listener, &server, served, async { drop(stopped.await) }).await.unwrap();
        });
        Replica { publisher, peers, address, stop, serving }
    }

    /// A connection to these replicas, by a certificate of a role.
    fn remote(&self, role: Role, name: &str, replicas: &[&Replica]) -> Remote {
        let client = PeerClient::new(self.authority.credentials(role, &[name]), Role::Control);
        Remote::new(client, replicas.iter().map(|replica| replica.address.clone()).collect())
    }
}

struct Replica {
    publisher: Publisher,
    peers: Peers,
    address: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Replica {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
    }

    /// Waits until a proxy is as it should be.
    async fn until(&self, proxy: &str, is: impl Fn(&waybill_proto::sync::v1::ProxyState) -> bool) {
        let found = async {
            while !self.publisher.proxies().iter().any(|known| known.proxy == proxy && is(known)) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LONG, found).await.unwrap();
    }
}

struct Proxy {
    current: Current,
    outgoing: Outgoing,
    following: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.following.abort();
    }
}

fn proxy(name: &str, remote: &Remote) -> Proxy {
    proxy_of(Identity { proxy: name.to_owned(), process: 1, build: "test".to_owned(), ..Identity::default() }, remote)
}

fn proxy_of(identity: Identity, remote: &Remote) -> Proxy {
    let mut sync = Sync::without_folder(identity, Arc::new(|_| None));
    let (current, outgoing, remote) = (sync.current(), sync.outgoing(), remote.clone());
    let following = tokio::spawn(async move { match sync.follow(|| remote.connect()).await {} });
    Proxy { current, outgoing, following }
}

/// A ledger of two words: it knows one generation, and it is away for a key that is called `away`.
struct Ledger;

impl Usage for Ledger {
    fn ingest(&self, request: IngestRequest) -> Answer<'_, IngestResponse> {
        let booked = request.records.len() as u64;
        Box::pin(async move { Ok(IngestResponse { booked, ..IngestResponse::default() }) })
    }

    fn generation(&self, request: GenerationRequest) -> Answer<'_, GenerationResponse> {
        let events = if request.id == "gen-1" { vec![waybill_proto::usage::v1::Event::default()] } else { Vec::new() };
        Box::pin(async move { Ok(GenerationResponse { events }) })
    }

    fn spent(&self, request: SpentRequest) -> Answer<'_, SpentResponse> {
        let key = request.scope.unwrap_or_default().api_key;
        Box::pin(async move {
            if key == "away" {
                Err(Unanswered::Away("no database".to_owned()))
            } else {
                Ok(SpentResponse { total: key, ..SpentResponse::default() })
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_follows_and_tells_and_is_advised_over_the_network() {
    let mut rig = Rig::new().await;
    let replica = rig.replica("c-1", Limits::default()).await;
    let proxy = proxy("p-1", &rig.remote(Role::Proxy, "p-1", &[&replica]));
    timeout(LONG, proxy.current.reached(1)).await.unwrap();
    let revision = rig.commit().await;
    timeout(LONG, proxy.current.reached(revision)).await.unwrap();
    replica.until("p-1", |known| known.connected && known.applied_revision == revision && known.build == "test").await;

    let counts = EndpointCounts { endpoint: "e".to_owned(), open_breakers: 1, ..EndpointCounts::default() };
    proxy.outgoing.report_health(HealthCounts { endpoints: vec![counts] });
    proxy.outgoing.report_spool(SpoolReport { spool_bytes: 7, ..SpoolReport::default() });
    replica.until("p-1", |known| known.counts.len() == 1 && known.spool.as_ref().is_some_and(|spool| spool.spool_bytes == 7)).await;

    let health = EndpointHealth { endpoint: "e".to_owned(), weight_permille: 0, ..EndpointHealth::default() };
    replica.publisher.advise(Advice { endpoints: vec![health], ttl_ms: 30_000 });
    let advised = async {
        while proxy.current.advised().weight_permille("e", std::time::Instant::now()) != 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, advised).await.unwrap();
    replica.stop().await;
    assert!(proxy.current.is_ready(), "it serves what it holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_goes_to_another_replica_when_its_own_ends_and_the_replicas_know_of_each_other() {
    let mut rig = Rig::new().await;
    let (one, two) = (rig.replica("c-1", Limits::default()).await, rig.replica("c-2", Limits::default()).await);
    let running: Vec<JoinHandle<()>> = [&one, &two]
        .into_iter()
        .map(|replica| {
            let (peers, address) = (replica.peers.clone(), replica.address.clone());
            tokio::spawn(async move { peers.run(&address, std::future::pending()).await })
        })
        .collect();
    let proxy = proxy("p-1", &rig.remote(Role::Proxy, "p-1", &[&one, &two]));
    timeout(LONG, proxy.current.reached(1)).await.unwrap();
    // Both replicas tell the same, whichever serves the proxy.
    for replica in [&one, &two] {
        let both = async {
            loop {
                let known = replica.peers.fleet().await;
                let answered = known.replicas.iter().filter(|replica| replica.error.is_empty()).count();
                if answered == 2 && known.proxies.iter().any(|(_, proxy)| proxy.connected) {
                    break known;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let known = timeout(LONG, both).await.unwrap();
        assert_eq!(known.replicas.iter().map(|replica| &*replica.replica).collect::<Vec<_>>(), ["c-1", "c-2"]);
        assert_eq!(known.proxies.len(), 1);
    }
    let served_by_one = one.publisher.connected() == 1;
    let (goes, stays) = if served_by_one { (one, two) } else { (two, one) };
    goes.stop().await;
    let revision = rig.commit().await;
    timeout(LONG, proxy.current.reached(revision)).await.unwrap();
    stays.until("p-1", |known| known.connected && known.applied_revision == revision).await;
    let known = stays.peers.fleet().await;
    let silent = known.replicas.iter().filter(|replica| !replica.error.is_empty()).count();
    assert_eq!((silent, known.proxies[0].1.connected), (1, true), "{:?}", known.replicas);
    running.iter().for_each(JoinHandle::abort);
    stays.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_may_not_call_itself_otherwise_than_its_certificate_does() {
    let rig = Rig::new().await;
    let replica = rig.replica("c-1", Limits::default()).await;
    let posing = proxy("p-2", &rig.remote(Role::Proxy, "p-1", &[&replica]));
    let refused = async {
        while replica.publisher.figures().proxies_refused.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, refused).await.unwrap();
    assert!(!posing.current.is_ready() && replica.publisher.proxies().is_empty());
    replica.stop().await;
}

/// A proxy whose pepper is another one would refuse every key: both sides say so, and it is not to be asked until that is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_another_pepper_is_refused_and_knows_why() {
    let mut rig = Rig::new().await;
    let print = |byte| vec![PepperPrint { id: 1, fingerprint: vec![byte; 8].into() }];
    rig.peppers = print(7);
    let replica = rig.replica("c-1", Limits::default()).await;
    let identity = |name: &str, peppers| Identity { proxy: name.to_owned(), peppers, ..Identity::default() };
    let good = proxy_of(identity("p-1", print(7)), &rig.remote(Role::Proxy, "p-1", &[&replica]));
    let other = proxy_of(identity("p-2", print(8)), &rig.remote(Role::Proxy, "p-2", &[&replica]));
    timeout(LONG, good.current.reached(1)).await.unwrap();
    let refused = async {
        loop {
            match other.current.refused() {
                Some(refused) => break refused,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    let refused = timeout(LONG, refused).await.unwrap();
    assert!(refused.unfit && refused.reason.contains("another pepper 1"), "{refused:?}");
    assert!(!other.current.is_ready() && good.current.refused().is_none());
    assert!(replica.publisher.figures().proxies_refused.load(Ordering::Relaxed) > 0);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_is_for_its_role() {
    let rig = Rig::new().await;
    let replica = rig.replica("c-1", Limits::default()).await;
    // The stream and the ledger are for proxies.
    for role in [Role::Control, Role::Billing, Role::Operator] {
        let other = rig.remote(role, "x", &[&replica]);
        let unreached = other.connect().await.unwrap_err();
        assert!(unreached.obstacle == Obstacle::Refused && unreached.reason.contains("it is for the role proxy"), "{unreached}");
        let unanswered = other.usage().spent(KeyScope::default()).await.unwrap_err();
        assert!(matches!(&unanswered, waybill_sync::Unanswered::Refused(reason) if reason.contains("role proxy")), "{unanswered}");
    }
    // The fleet is for replicas.
    let client = PeerClient::new(rig.authority.credentials(Role::Proxy, &["p-1"]), Role::Control);
    let channel = client.channel(&replica.address).await.unwrap();
    let mut fleet = waybill_proto::sync::v1::peer_service_client::PeerServiceClient::new(channel);
    let refused = fleet.fleet(waybill_proto::sync::v1::FleetRequest {}).await.unwrap_err();
    assert!(refused.message().contains("it is for the role control"), "{refused}");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_many_are_brought_up_to_date_is_told_when_to_come_back() {
    let rig = Rig::new().await;
    let replica = rig.replica("c-1", Limits { handshakes: 0, ..Limits::default() }).await;
    let unreached = rig.remote(Role::Proxy, "p-1", &[&replica]).connect().await.unwrap_err();
    assert_eq!((unreached.after, unreached.obstacle), (Some(Duration::from_secs(2)), Obstacle::Failed));
    assert_eq!(replica.publisher.figures().handshakes_refused.load(Ordering::Relaxed), 1);
    replica.stop().await;
    // One place is enough for many, one after the other: it is given back when a proxy is up to date.
    let replica = rig.replica("c-2", Limits { handshakes: 1, ..Limits::default() }).await;
    let names = ["p-1", "p-2", "p-3"];
    let proxies: Vec<Proxy> = names.iter().map(|name| proxy(name, &rig.remote(Role::Proxy, name, &[&replica]))).collect();
    for proxy in &proxies {
        timeout(LONG, proxy.current.reached(1)).await.unwrap();
    }
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_age_and_the_proxy_comes_back() {
    let mut rig = Rig::new().await;
    let replica = rig.replica("c-1", Limits { age: Duration::from_millis(100), ..Limits::default() }).await;
    let proxy = proxy("p-1", &rig.remote(Role::Proxy, "p-1", &[&replica]));
    timeout(LONG, proxy.current.reached(1)).await.unwrap();
    replica.until("p-1", |known| !known.connected).await;
    replica.until("p-1", |known| known.connected).await;
    let revision = rig.commit().await;
    timeout(LONG, proxy.current.reached(revision)).await.unwrap();
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_asked_through_the_control_plane() {
    let rig = Rig::new().await;
    let replica = rig.replica("c-1", Limits::default()).await;
    let usage = rig.remote(Role::Proxy, "p-1", &[&replica]).usage();
    let scope = |api_key: &str| KeyScope { api_key: api_key.to_owned(), ..KeyScope::default() };
    // More than goes in one call.
    let records = (0..9).map(|sequence| Spooled { sequence, payload: vec![0; 1024 * 1024].into(), ..Spooled::default() }).collect();
    assert_eq!(usage.ingest(records).await.unwrap().booked, 9);
    assert_eq!(usage.generation(scope("k"), "gen-1", Duration::ZERO).await.unwrap().len(), 1);
    assert_eq!(usage.generation(scope("k"), "gen-2", Duration::ZERO).await.unwrap().len(), 0);
    assert_eq!(usage.spent(scope("k")).await.unwrap().total, "k");
    let away = usage.spent(scope("away")).await.unwrap_err();
    assert!(matches!(&away, waybill_sync::Unanswered::Away(reason) if reason.contains("no database")), "{away}");
    // And when nobody is there.
    replica.stop().await;
    assert!(matches!(usage.spent(scope("k")).await, Err(waybill_sync::Unanswered::Away(_))));
}
