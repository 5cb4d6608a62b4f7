//! Rollouts under seeds, with both planes: the operators' verbs and the conductor over the real store, a publisher, and proxies with a disk each. A
//! change passes every check and is poison all the same: what it names panics in the compiler of a proxy, or ends its process.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use waybill_admin::{Admin, Answer, Backlog, Fleet, Host, Parts, Running};
use waybill_model::{id::GenerationId, key::Pepper, snapshot::Secret};
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, EndpointHealthRow, RefusalRow, RolloutPlan, RolloutRow},
    model::v1::{Metadata, Provider, ProviderAccount, Resource, SecretRef, resource::Spec},
};
use waybill_publish::{Publisher, conduct::Conductor};
use waybill_store::{Candidacy, Election, MonotonicClock, Sqlite, Store, keys};
use waybill_sync::{Current, Identity, Secrets, Sync};

/// Of the fleet. A quarter of it is the ring behind the first.
const PROXIES: u64 = 6;

/// Between two looks of the conductor, by its own clock and by ours.
const LOOK_MS: u64 = 100;
const LOOK: Duration = Duration::from_millis(2);

/// From the beginning of a poisoned rollout until it is taken back, by the conductor's clock.
const ROLLBACK_MS: u64 = 60_000;

const LONG: Duration = Duration::from_secs(60);

/// What the change does to a proxy that compiles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poison {
    None,
    Panics,
    Kills,
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The account's secret is where the change is: it is looked up by the compiler of a proxy only.
fn account(env: &str) -> Resource {
    let secret = Some(SecretRef { env: env.to_owned(), ..SecretRef::default() });
    let spec = ProviderAccount { provider: "p".to_owned(), secret, ..ProviderAccount::default() };
    resource("a", Spec::ProviderAccount(spec))
}

fn resource(name: &str, spec: Spec) -> Resource {
    Resource { metadata: Some(Metadata { name: name.to_owned(), ..Metadata::default() }), spec: Some(spec) }
}

/// What has been seen of the change.
#[derive(Default)]
struct Seen {
    /// Proxies that have compiled it.
    touched: Mutex<BTreeSet<u64>>,
    deaths: AtomicU64,
}

struct Proxy {
    current: Arc<Mutex<Current>>,
    end: mpsc::Sender<()>,
    machine: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.machine.abort();
    }
}

impl Proxy {
    /// A machine on which a proxy runs, and is started again whenever it dies.
    fn start(number: u64, folder: &Path, publisher: &Publisher, poison: Poison, seen: &Arc<Seen>) -> Self {
        let (folder, publisher, seen): (PathBuf, _, _) = (folder.join(format!("p{number}")), publisher.clone(), Arc::clone(seen));
        let boot = move |life: u64| {
            let (die, dying) = mpsc::channel::<()>(1);
            let identity = Identity { proxy: format!("p{number}"), process: life, ..Identity::default() };
            // The dead one's writer is a thread of this process, and may be at it still: a machine starts what did not start again.
            let load = || Sync::load(&folder, identity.clone(), secrets(number, poison, die.clone(), &seen)).ok();
            let sync = (0..1_000).find_map(|_| {
                std::thread::yield_now();
                load()
            });
            (sync.expect("a start from the disk"), dying, Arc::clone(&seen))
        };
        let (mut sync, mut dying, _) = boot(1);
        let current = Arc::new(Mutex::new(sync.current()));
        let shown = Arc::clone(&current);
        let (end, mut ends) = mpsc::channel::<()>(1);
        let machine = tokio::spawn(async move {
            for life in 2.. {
                let alive = async {
                    loop {
                        let (requests, incoming) = mpsc::channel(16);
                        let (outgoing, responses) = mpsc::channel(16);
                        // The control plane's end lives on when the proxy dies, and sees the stream close.
                        let plane = publisher.clone();
                        tokio::spawn(async move { plane.serve(incoming, outgoing).await });
                        sync.run(requests, responses).await;
                    }
                };
                let in_peace = tokio::select! {
                    () = alive => false,
                    _ = dying.recv() => false,
                    _ = ends.recv() => true,
                };
                if in_peace {
                    sync.stop().await;
                }
                let seen;
                (sync, dying, seen) = boot(life);
                seen.deaths.fetch_add(u64::from(!in_peace), Ordering::Relaxed);
                *shown.lock().unwrap() = sync.current();
            }
        });
        Self { current, end, machine }
    }

    fn revision(&self) -> u64 {
        self.current.lock().unwrap().load().revision
    }
}

/// Secrets as this proxy finds them: the one that the change names is the poison.
fn secrets(number: u64, poison: Poison, die: mpsc::Sender<()>, seen: &Arc<Seen>) -> Secrets {
    let seen = Arc::clone(seen);
    Arc::new(move |reference: &SecretRef| {
        if reference.env == "NEW" {
            seen.touched.lock().unwrap().insert(number);
            match poison {
                Poison::None => {}
                Poison::Panics => panic!("the compiler meets something that it does not expect"),
                Poison::Kills => drop(die.try_send(())),
            }
        }
        Some(Secret::new("secret"))
    })
}

/// What the admin service sees of the fleet.
struct Watching(Publisher);

impl Running for Watching {
    fn fleet(&self) -> Answer<'_, Fleet> {
        let states = self.0.proxies();
        Box::pin(async move { Fleet { states, ..Fleet::default() } })
    }

    fn refusal(&self, _: GenerationId) -> Option<RefusalRow> {
        None
    }

    fn health(&self, _: &str) -> Vec<EndpointHealthRow> {
        Vec::new()
    }

    fn backlog(&self) -> Backlog {
        Backlog::default()
    }
}

async fn run(seed: u64, poison: Poison) {
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&file, Arc::new(MonotonicClock::start())).await.unwrap());
    let publisher = Publisher::start(Arc::clone(&store)).await.unwrap();
    let admin = Admin::new(Parts {
        store: Arc::clone(&store),
        ledger: Arc::new(waybill_billing::Sqlite::open(&folder.path().join("ledger.db")).await.unwrap()),
        peppers: vec![Pepper::new(1, &[7; 32])],
        surroundings: Arc::new(Host),
        running: Arc::new(Watching(publisher.clone())),
        build: "test".to_owned(),
    });
    let provider = Provider { dialect: "openai".to_owned(), base_url: "https://api.example.com/v1".to_owned(), ..Provider::default() };
    let upserts = vec![resource("p", Spec::Provider(provider)), account("OLD")];
    let base = admin.apply(ApplyChangeSetRequest { upserts, ..ApplyChangeSetRequest::default() }, "ada").await.unwrap().revision;
    let seen = Arc::<Seen>::default();
    let proxies: Vec<Proxy> = (0..PROXIES).map(|number| Proxy::start(number, folder.path(), &publisher, poison, &seen)).collect();
    timeout(LONG, reached(&publisher, base)).await.unwrap_or_else(|_| panic!("seed {seed}: the fleet is not at {base}"));

    // What they hold has served: a process that ends in peace says so, as one does that lasts.
    for proxy in &proxies {
        proxy.end.send(()).await.unwrap();
    }
    let restarted = async {
        while !publisher.proxies().iter().all(|state| state.process == 2 && state.connected) {
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(LONG, restarted).await.unwrap_or_else(|_| panic!("seed {seed}: the fleet does not start again"));

    let rollout = Some(RolloutPlan { bake_ms: 1_000 + dice.below(2_000) });
    let change = ApplyChangeSetRequest { upserts: vec![account("NEW")], rollout, ..ApplyChangeSetRequest::default() };
    let id = admin.apply(change, "ada").await.unwrap().rollout;
    let (row, took_ms) = conducted(&admin, &*store, &id, &proxies, &mut dice, base).await;

    let (touched, deaths) = (seen.touched.lock().unwrap().len() as u64, seen.deaths.load(Ordering::Relaxed));
    let told = format!("seed {seed}: {poison:?}: {} ({}), touched {touched}, died {deaths} times, {took_ms} ms", row.state, row.reason);
    if poison == Poison::None {
        assert_eq!((row.state.as_str(), touched, deaths), ("done", PROXIES, 0), "{told}");
    } else {
        assert!(row.state == "halted" && touched <= 1 && took_ms < ROLLBACK_MS, "{told}");
        // The crash guard goes back after the second death, if the conductor does not before it.
        assert!((poison == Poison::Kills) == (deaths > 0) && deaths <= 2, "{told}");
        assert_eq!(row.proxies.len(), 1, "{told}");
    }
    // What it holds now is everybody's again, and goes on.
    let upserts = vec![account("OTHER")];
    let last = admin.apply(ApplyChangeSetRequest { upserts, ..ApplyChangeSetRequest::default() }, "ada").await.unwrap().revision;
    timeout(LONG, reached(&publisher, last)).await.unwrap_or_else(|_| panic!("{told}: the fleet is not at {last}"));
    assert!(proxies.iter().all(|proxy| proxy.revision() == last), "{told}");
}

/// Conducts to the end. The conductor is replaced now and then; every proxy serves something all the time.
async fn conducted(admin: &Admin, store: &dyn Store, id: &str, proxies: &[Proxy], dice: &mut Dice, base: u64) -> (RolloutRow, u64) {
    let job = Candidacy { key: keys::leader("rollout", 0), holder: "test".into(), ttl: Duration::from_secs(600) };
    let Election::Won(leadership) = store.lead(&job).await.unwrap() else { panic!("nobody else stands") };
    let (mut conductor, mut now_ms) = (Conductor::default(), 0);
    loop {
        admin.look_at_rollout(&mut conductor, now_ms, &leadership.fence()).await.unwrap();
        let row = admin.rollouts().await.unwrap().rollouts.into_iter().find(|row| row.id == id).unwrap();
        if row.state != "baking" {
            return (row, now_ms);
        }
        assert!(now_ms < 600_000, "it does not end: {row:?}");
        assert!(proxies.iter().all(|proxy| proxy.revision() >= base), "a proxy serves less than it did");
        if dice.below(100) == 0 {
            conductor = Conductor::default();
        }
        now_ms += LOOK_MS;
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until every proxy is connected and has applied a revision without refusing anything.
async fn reached(publisher: &Publisher, revision: u64) {
    loop {
        let states = publisher.proxies();
        let is_there = |state: &&waybill_proto::sync::v1::ProxyState| {
            state.connected && state.applied_revision == revision && state.rejected.is_empty()
        };
        if states.iter().filter(is_there).count() as u64 == PROXIES {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_that_passes_every_check_reaches_one_proxy_and_is_taken_back() {
    for seed in 0..3 {
        run(seed, Poison::Panics).await;
        run(seed, Poison::Kills).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_poison_becomes_everybodys() {
    for seed in 0..2 {
        run(seed, Poison::None).await;
    }
}
