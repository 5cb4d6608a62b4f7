//! A publisher over the real store and three proxies: streams that are cut, proxies that die and start from their disk, broken resources, revoked
//! keys. The checker reads the store's history as it was written here, and what the proxies have in force; it shares no books with either plane.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle};
use waybill_model::key::KeyHash;
use waybill_proto::model::v1::{ApiKey, Metadata, Model, Org, Resource, RoutePolicy, Workspace, resource::Spec};
use waybill_publish::{Publisher, stored};
use waybill_store::{MonotonicClock, Operation, Sqlite, Store, Transaction, keys};
use waybill_sync::{Current, Identity, Sync};

const KEYS: u64 = 4;
const PROXIES: usize = 3;

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

fn resource(name: &str, generation: u64, spec: Spec) -> Resource {
    let metadata = Metadata { name: name.to_owned(), uid: format!("uid-{name}"), generation, ..Metadata::default() };
    Resource { metadata: Some(metadata), spec: Some(spec) }
}

fn hash(key: u64) -> [u8; 16] {
    [u8::try_from(key).unwrap() + 1; 16]
}

/// What a revision says, as the checker sees it: which keys let callers in, and the description of every model.
#[derive(Clone, Debug, Default, PartialEq)]
struct Truth {
    open: BTreeMap<u64, bool>,
    models: BTreeMap<String, String>,
}

struct Control {
    store: Arc<dyn Store>,
    publisher: Publisher,
    history: Vec<Truth>,
}

impl Control {
    async fn start(folder: &tempfile::TempDir) -> Self {
        let file = folder.path().join("store.db");
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&file, Arc::new(MonotonicClock::start())).await.unwrap());
        let publisher = Publisher::start(Arc::clone(&store)).await.unwrap();
        let mut control = Self { store, publisher, history: vec![Truth::default()] };
        let mut first = vec![resource("org", 1, Spec::Org(Org::default()))];
        first.push(resource("ws", 1, Spec::Workspace(Workspace { org: "org".to_owned(), ..Workspace::default() })));
        first.extend((0..KEYS).map(|key| api_key(key, 1, false)));
        let open = (0..KEYS).map(|key| (key, true)).collect();
        control.commit(first, &[], Truth { open, models: BTreeMap::new() }).await;
        control
    }

    async fn commit(&mut self, upserts: Vec<Resource>, deletes: &[(&str, String)], truth: Truth) {
        let key = |resource: &Resource| {
            let kind = waybill_model::resource::Kind::of(resource).unwrap().name();
            keys::resource(kind, &resource.metadata.as_ref().unwrap().uid)
        };
        let revision = self.history.len() as u64;
        let mut then: Vec<Operation> =
            upserts.iter().map(|resource| Operation::Put(key(resource), stored::resource_value(resource))).collect();
        then.extend(deletes.iter().map(|(kind, uid)| Operation::delete(&keys::resource(kind, uid))));
        then.push(Operation::Put(keys::head(), stored::Head { revision, log_hash: vec![] }.to_value()));
        self.store.commit(Transaction { then, ..Transaction::default() }).await.unwrap();
        self.history.push(truth);
    }

    /// One change set out of those that operators make: models come, change and go, keys are switched off and on, a policy is broken.
    async fn change(&mut self, dice: &mut Dice) {
        let generation = self.history.len() as u64;
        let mut truth = self.history.last().unwrap().clone();
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        for _ in 0..=dice.below(3) {
            let name = format!("x/m{}", dice.below(6));
            upserts.retain(|resource: &Resource| resource.metadata.as_ref().unwrap().name != name);
            deletes.retain(|(_, uid)| *uid != format!("uid-{name}"));
            if dice.below(4) == 0 {
                truth.models.remove(&name);
                deletes.push(("Model", format!("uid-{name}")));
            } else {
                let description = dice.below(1_000).to_string();
                upserts.push(resource(&name, generation, Spec::Model(Model { description: description.clone(), ..Model::default() })));
                truth.models.insert(name, description);
            }
        }
        if dice.below(3) == 0 {
            let (key, disabled) = (dice.below(KEYS), dice.below(2) == 0);
            upserts.push(api_key(key, generation, disabled));
            truth.open.insert(key, !disabled);
        }
        if dice.below(3) == 0 {
            let policy = RoutePolicy { max_prompt_price: "not a price".to_owned(), ..RoutePolicy::default() };
            upserts.push(resource("broken", generation, Spec::RoutePolicy(policy)));
        }
        self.commit(upserts, &deletes, truth).await;
    }
}

fn api_key(key: u64, generation: u64, disabled: bool) -> Resource {
    let spec = ApiKey { workspace: "ws".to_owned(), hash: hash(key).to_vec().into(), disabled, ..ApiKey::default() };
    resource(&format!("k{key}"), generation, Spec::ApiKey(spec))
}

/// A proxy: its disk, and the process that runs on it.
struct Proxy {
    name: String,
    folder: PathBuf,
    life: u64,
    current: Current,
    process: JoinHandle<()>,
    /// Dropping it cuts the stream of the moment.
    cut: mpsc::Sender<()>,
    shown: u64,
}

impl Proxy {
    fn start(number: usize, folder: &tempfile::TempDir, publisher: &Publisher) -> Self {
        let (name, folder) = (format!("p{number}"), folder.path().join(format!("p{number}")));
        let (current, process, cut) = boot(&name, &folder, 0, publisher);
        Self { name, folder, life: 0, shown: 0, current, process, cut }
    }

    /// The process dies without a word and starts again from its disk.
    async fn kill(&mut self, publisher: &Publisher) {
        self.process.abort();
        drop((&mut self.process).await);
        self.life += 1;
        (self.current, self.process, self.cut) = boot(&self.name, &self.folder, self.life, publisher);
        self.shown = 0;
    }

    /// What is in force must be exactly one revision, and not an older one than before.
    fn look(&mut self, history: &[Truth], seed: u64) {
        let snapshot = self.current.load();
        assert!(snapshot.revision >= self.shown, "seed {seed}: {} went back from {} to {}", self.name, self.shown, snapshot.revision);
        self.shown = snapshot.revision;
        let models = snapshot.models().iter().map(|model| (model.name.to_string(), model.description.to_string())).collect();
        let open = |key: u64| {
            let found = snapshot.key(&KeyHash::try_from(&hash(key)[..]).unwrap());
            found.is_some_and(|key| !key.disabled && key.workspace.is_some())
        };
        let seen = Truth { models, open: (0..KEYS).filter(|_| snapshot.revision > 0).map(|key| (key, open(key))).collect() };
        assert_eq!(seen, history[usize::try_from(snapshot.revision).unwrap()], "seed {seed}: {} at {}", self.name, snapshot.revision);
    }
}

fn boot(name: &str, folder: &std::path::Path, life: u64, publisher: &Publisher) -> (Current, JoinHandle<()>, mpsc::Sender<()>) {
    let identity = Identity { proxy: name.to_owned(), process: life, ..Identity::default() };
    let mut sync = Sync::load(folder, identity, Arc::new(|_| None)).unwrap();
    let (current, publisher) = (sync.current(), publisher.clone());
    let (cut, mut cuts) = mpsc::channel::<()>(8);
    let process = tokio::spawn(async move {
        loop {
            let (requests, incoming) = mpsc::channel(16);
            let (outgoing, responses) = mpsc::channel(16);
            tokio::select! {
                _ = publisher.serve(incoming, outgoing) => {}
                _ = sync.run(requests, responses) => {}
                _ = cuts.recv() => {}
            }
        }
    });
    (current, process, cut)
}

async fn run(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(seed);
    let mut control = Control::start(&folder).await;
    let mut proxies: Vec<Proxy> = (0..PROXIES).map(|number| Proxy::start(number, &folder, &control.publisher)).collect();
    for _ in 0..120 {
        let proxy = usize::try_from(dice.below(PROXIES as u64)).unwrap();
        match dice.below(10) {
            0..=2 => control.change(&mut dice).await,
            3 => drop(proxies[proxy].cut.send(()).await),
            4 => proxies[proxy].kill(&control.publisher).await,
            5 => control.publisher = Publisher::start(Arc::clone(&control.store)).await.unwrap(),
            // The order of what is ready is the scheduler's; the number of turns is the seed's.
            _ => {
                for _ in 0..dice.below(200) {
                    tokio::task::yield_now().await;
                }
            }
        }
        proxies.iter_mut().for_each(|proxy| proxy.look(&control.history, seed));
    }
    quiet(&mut control, &mut proxies, seed).await;
}

/// Everybody comes to the head, says so, and refuses exactly the keys that it refuses.
async fn quiet(control: &mut Control, proxies: &mut [Proxy], seed: u64) {
    let head = control.history.len() as u64 - 1;
    // Those whose stream is to a control plane that was replaced come over to the new one.
    for proxy in proxies.iter_mut() {
        proxy.kill(&control.publisher).await;
    }
    for proxy in proxies.iter_mut() {
        let reached = tokio::time::timeout(Duration::from_secs(60), proxy.current.reached(head)).await;
        assert!(reached.is_ok(), "seed {seed}: {} is at {} and not at {head}", proxy.name, proxy.current.load().revision);
        proxy.look(&control.history, seed);
    }
    let mut in_step = false;
    while !in_step {
        let status = control.publisher.applied(head).await.unwrap();
        in_step = status.len() == PROXIES && status.iter().all(|proxy| proxy.connected && proxy.applied_revision == head);
        tokio::task::yield_now().await;
    }
    let open: Vec<u64> =
        control.history[usize::try_from(head).unwrap()].open.iter().filter(|(_, open)| **open).map(|(key, _)| *key).collect();
    for proxy in proxies.iter() {
        let lifted = async {
            while open.iter().any(|key| proxy.current.is_denied(&format!("uid-k{key}"))) {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), lifted).await.is_ok(), "seed {seed}: {} refuses a good key", proxy.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_quiet_every_proxy_holds_the_head_and_never_showed_a_mix() {
    for seed in 0..8 {
        run(seed).await;
    }
}

/// A revocation does not wait for a push that a proxy has not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = Control::start(&folder).await;
    let proxies: Vec<Proxy> = (0..PROXIES).map(|number| Proxy::start(number, &folder, &control.publisher)).collect();
    for proxy in &proxies {
        proxy.current.reached(1).await;
    }
    let mut truth = control.history[1].clone();
    truth.open.insert(0, false);
    control.commit(vec![api_key(0, 2, true)], &[], truth).await;
    for proxy in &proxies {
        proxy.current.reached(2).await;
        let snapshot = proxy.current.load();
        assert!(snapshot.key(&KeyHash::try_from(&hash(0)[..]).unwrap()).is_some_and(|key| key.disabled));
    }
}
