//! Both cores of the push protocol against each other, over a network that drops, repeats, reorders and cuts, with replicas that lag and begin
//! anew, and proxies that die while they write. Everything is the seed's: no clock, no threads, no disk.
//!
//! Safety is checked after every step: what a proxy holds is exactly what some revision was, in force it never goes back within a life, and what
//! it has acknowledged as revoked stays refused. Liveness at the end: when the network is quiet, everybody holds the head and refuses exactly the
//! keys that it refuses.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use waybill_model::{
    compile::{Compiled, compile},
    key::KeyHash,
    snapshot::Snapshot,
    world::{Delta, Key, World},
};
use waybill_proto::{
    model::v1::{ApiKey, Metadata, Model, Org, Resource, RoutePolicy, Workspace, resource::Spec},
    sync::v1::{ConnectRequest, ConnectResponse, connect_response},
};
use waybill_publish::{
    Publication, Session, diff,
    index::Step,
    session::{self, Frames},
};
use waybill_sync::{
    Held, Identity, Overlay, adopt, container,
    subscriber::{self, Job, Subscriber},
};

const KEYS: u64 = 3;
const PROXIES: usize = 2;
const REPLICAS: usize = 2;
const STEPS: u64 = 150;

/// Seeds of a plain run.
const SEEDS: u64 = 10_000;

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

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    /// True so many times out of a hundred.
    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

fn resource(name: &str, generation: u64, spec: Spec) -> Arc<Resource> {
    let metadata = Metadata { name: name.to_owned(), uid: format!("uid-{name}"), generation, ..Metadata::default() };
    Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
}

fn key_hash(key: u64) -> [u8; 16] {
    [u8::try_from(key).unwrap() + 1; 16]
}

fn api_key(key: u64, generation: u64, disabled: bool) -> Arc<Resource> {
    let spec = ApiKey { workspace: "ws".to_owned(), hash: key_hash(key).to_vec().into(), disabled, ..ApiKey::default() };
    resource(&format!("k{key}"), generation, Spec::ApiKey(spec))
}

fn admits(world: &World, key: u64) -> bool {
    let key = Key { kind: waybill_model::resource::Kind::ApiKey, uid: format!("uid-k{key}").into() };
    world.get(&key).is_some_and(|entry| matches!(&entry.resource().spec, Some(Spec::ApiKey(spec)) if !spec.disabled))
}

fn compiler(world: &World) -> Compiled {
    compile(world, &|_| None)
}

/// All resources of a world: what is compared, without anybody's hashes.
fn content(world: &World) -> BTreeMap<Key, Arc<Resource>> {
    world.resources().filter_map(|resource| Some((Key::of(&resource)?, resource))).collect()
}

/// A replica: how far it has followed the store.
struct Replica {
    now: Publication,
}

impl Replica {
    fn catch_up(&mut self, head: &Arc<World>) {
        if head.revision() <= self.now.revision() {
            return;
        }
        let Delta { puts, removes, .. } = diff::diff(self.now.world(), head);
        let changed = puts.iter().filter_map(|resource| Key::of(resource)).chain(removes).collect();
        let step = Step { before: Arc::clone(self.now.world()), world: Arc::clone(head), changed, rollout: None };
        self.now = self.now.after(step).0;
    }
}

/// A stream between a replica and a proxy: the session, and what is on its way.
struct Link {
    replica: usize,
    session: Session,
    up: VecDeque<ConnectRequest>,
    down: VecDeque<ConnectResponse>,
    frames: Option<Frames>,
}

#[derive(Default)]
struct Disk {
    current: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
    overlay: Option<Vec<u8>>,
}

struct Proxy {
    subscriber: Subscriber,
    snapshot: Arc<Snapshot>,
    denied: BTreeSet<String>,
    disk: Disk,
    /// What is being written when the process dies may be torn.
    writing: Option<Held>,
    writing_overlay: Option<Overlay>,
    compiling: Option<Job>,
    link: Option<Link>,
    shown: u64,
    /// Denials that are on the disk, as the control plane was told, and the revisions that say the same.
    acknowledged: BTreeMap<String, u64>,
}

struct Simulation {
    dice: Dice,
    /// This network loses, repeats and reorders; otherwise it only cuts.
    lossy: bool,
    now_ms: u64,
    /// By revision.
    worlds: Vec<Arc<World>>,
    replicas: Vec<Replica>,
    proxies: Vec<Proxy>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut first = vec![resource("org", 1, Spec::Org(Org::default()))];
        first.push(resource("ws", 1, Spec::Workspace(Workspace { org: "org".to_owned(), ..Workspace::default() })));
        first.extend((0..KEYS).map(|key| api_key(key, 1, false)));
        let worlds = vec![Arc::default(), Arc::new(World::new(1, first))];
        let replicas = (0..REPLICAS).map(|_| Replica { now: Publication::first(Arc::clone(&worlds[1])) }).collect();
        let proxies = (0..PROXIES).map(|_| Proxy::boot(Disk::default())).collect();
        Self { dice: Dice(seed), lossy: seed.is_multiple_of(2), now_ms: 0, worlds, replicas, proxies }
    }

    fn head(&self) -> &Arc<World> {
        self.worlds.last().unwrap()
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.quiet();
    }

    fn step(&mut self) {
        let proxy = self.dice.index(PROXIES);
        match self.dice.below(40) {
            0..=2 => self.change(),
            3..=5 => self.publish(),
            6 => self.restart_replica(),
            7 => self.cut(proxy),
            8 => self.crash(proxy),
            9..=10 => self.pass(),
            11..=14 => self.connect(proxy),
            15..=18 => self.proxies[proxy].compile(self.now_ms),
            19..=22 => self.proxies[proxy].write(self.now_ms),
            23..=28 => self.pump(proxy),
            _ => self.deliver(proxy),
        }
    }

    /// One change set: models come, change and go, keys are switched off and on or deleted, a policy is broken.
    fn change(&mut self) {
        let generation = self.worlds.len() as u64;
        let mut next = World::clone(self.head());
        next.set_revision(generation);
        for _ in 0..=self.dice.below(2) {
            let name = format!("x/m{}", self.dice.below(5));
            if self.dice.percent(25) {
                next.remove(&Key { kind: waybill_model::resource::Kind::Model, uid: format!("uid-{name}").into() });
            } else {
                let description = self.dice.below(1_000).to_string();
                next.put(resource(&name, generation, Spec::Model(Model { description, ..Model::default() })));
            }
        }
        match self.dice.below(6) {
            0 | 1 => drop(next.put(api_key(self.dice.below(KEYS), generation, true))),
            2 => drop(next.put(api_key(self.dice.below(KEYS), generation, false))),
            3 => {
                let uid = format!("uid-k{}", self.dice.below(KEYS)).into();
                next.remove(&Key { kind: waybill_model::resource::Kind::ApiKey, uid });
            }
            4 => {
                let policy = RoutePolicy { max_prompt_price: "not a price".to_owned(), ..RoutePolicy::default() };
                next.put(resource("broken", generation, Spec::RoutePolicy(policy)));
            }
            _ => {}
        }
        self.worlds.push(Arc::new(next));
    }

    /// A replica hears of what has changed; several change sets may have become one step.
    fn publish(&mut self) {
        let replica = self.dice.index(REPLICAS);
        let head = Arc::clone(self.head());
        self.replicas[replica].catch_up(&head);
        for proxy in 0..PROXIES {
            if self.proxies[proxy].link.as_ref().is_some_and(|link| link.replica == replica) {
                self.session(proxy, session::Event::Published);
            }
        }
    }

    /// A replica begins anew: it shows the head, and knows nothing of how it came about.
    fn restart_replica(&mut self) {
        let replica = self.dice.index(REPLICAS);
        self.replicas[replica].now = Publication::first(Arc::clone(self.head()));
        for proxy in 0..PROXIES {
            if self.proxies[proxy].link.as_ref().is_some_and(|link| link.replica == replica) {
                self.cut(proxy);
            }
        }
    }

    fn cut(&mut self, proxy: usize) {
        let now_ms = self.now_ms;
        if self.proxies[proxy].link.take().is_some() {
            self.proxies[proxy].event(subscriber::Event::Lost, now_ms);
        }
    }

    fn connect(&mut self, proxy: usize) {
        if self.proxies[proxy].link.is_none() {
            let replica = self.dice.index(REPLICAS);
            self.connect_to(proxy, replica);
        }
    }

    fn connect_to(&mut self, proxy: usize, replica: usize) {
        let now_ms = self.now_ms;
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.proxies[proxy].link = Some(Link { replica, session: Session::new(now_ms), up, down, frames: None });
        self.proxies[proxy].event(subscriber::Event::Opened, now_ms);
    }

    /// The process dies. What it was writing is there, is not, or is torn; then it starts again from its disk.
    fn crash(&mut self, proxy: usize) {
        let dice = &mut self.dice;
        let dead = &mut self.proxies[proxy];
        let mut disk = std::mem::take(&mut dead.disk);
        let mut torn_overlay = false;
        if let Some(held) = dead.writing.take() {
            match dice.below(3) {
                0 => disk.replace(&held),
                1 => disk.current = Some(torn(container::generation(&held, 0), dice)),
                _ => {}
            }
        }
        if let Some(overlay) = dead.writing_overlay.take() {
            match dice.below(8) {
                0..=2 => disk.overlay = Some(container::overlay(&overlay)),
                3 => (disk.overlay, torn_overlay) = (Some(torn(container::overlay(&overlay), dice)), true),
                _ => {}
            }
        }
        let acknowledged = if torn_overlay { BTreeMap::new() } else { std::mem::take(&mut dead.acknowledged) };
        self.proxies[proxy] = Proxy { acknowledged, ..Proxy::boot(disk) };
    }

    fn pass(&mut self) {
        self.now_ms += self.dice.below(8_000);
        let now_ms = self.now_ms;
        for proxy in 0..PROXIES {
            if self.proxies[proxy].subscriber.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                self.proxies[proxy].event(subscriber::Event::Tick, now_ms);
            }
            if self.proxies[proxy].link.as_ref().is_some_and(|link| link.session.due_ms() <= now_ms) {
                self.session(proxy, session::Event::Tick);
            }
        }
    }

    /// Moves messages of a push onto the way.
    fn pump(&mut self, proxy: usize) {
        let count = 1 + self.dice.index(12);
        if let Some(link) = &mut self.proxies[proxy].link
            && let Some(frames) = &mut link.frames
        {
            let before = link.down.len();
            link.down.extend(frames.take(count));
            if link.down.len() < before + count {
                link.frames = None;
            }
        }
    }

    /// Delivers something of what is on its way, as the network pleases.
    fn deliver(&mut self, proxy: usize) {
        let lossy = self.lossy;
        let dice = &mut self.dice;
        for _ in 0..=dice.below(6) {
            let upwards = dice.percent(50);
            let Some(link) = self.proxies[proxy].link.as_mut() else { return };
            if upwards {
                if let Some(request) = taken(&mut link.up, lossy, dice) {
                    let now = &self.replicas[link.replica].now;
                    let actions = link.session.on(session::Event::Received(request), now, self.now_ms);
                    self.proxies[proxy].obey(actions, self.now_ms);
                }
            } else if let Some(response) = taken(&mut link.down, lossy, dice) {
                self.proxies[proxy].event(subscriber::Event::Received(response), self.now_ms);
            }
        }
    }

    fn session(&mut self, proxy: usize, event: session::Event) {
        let Some(link) = &mut self.proxies[proxy].link else { return };
        let now = &self.replicas[link.replica].now;
        let actions = link.session.on(event, now, self.now_ms);
        self.proxies[proxy].obey(actions, self.now_ms);
    }

    fn check(&mut self) {
        for proxy in &mut self.proxies {
            let held = proxy.subscriber.held().desired();
            let truth = &self.worlds[usize::try_from(held.revision()).unwrap()];
            assert_eq!(content(held), content(truth), "no mix at revision {}", held.revision());
            assert!(proxy.snapshot.revision >= proxy.shown, "went back from {} to {}", proxy.shown, proxy.snapshot.revision);
            proxy.shown = proxy.snapshot.revision;
            let shown = proxy.shown;
            // An older revision than the one that revokes a key does not bring it back.
            for (uid, revision) in proxy.acknowledged.iter().filter(|(_, revision)| **revision > shown) {
                assert!(proxy.refuses(uid), "{uid} was acknowledged as revoked by {revision} and is let in at {shown}");
            }
            let truth = &self.worlds[usize::try_from(shown).unwrap()];
            for key in (0..KEYS).filter(|key| !admits(truth, *key)) {
                assert!(proxy.refuses(&format!("uid-k{key}")), "key {key} is let in at {shown}");
            }
        }
    }

    /// The network is good again, replicas know the head, and everybody connects anew.
    fn quiet(&mut self) {
        self.lossy = false;
        let head = Arc::clone(self.head());
        self.replicas.iter_mut().for_each(|replica| replica.catch_up(&head));
        for proxy in 0..PROXIES {
            self.cut(proxy);
            let replica = self.dice.index(REPLICAS);
            self.connect_to(proxy, replica);
        }
        for _ in 0..200 {
            for proxy in 0..PROXIES {
                for _ in 0..20 {
                    self.pump(proxy);
                    self.deliver(proxy);
                }
                self.proxies[proxy].compile(self.now_ms);
                self.proxies[proxy].write(self.now_ms);
                if self.proxies[proxy].link.is_none() {
                    self.connect(proxy);
                }
            }
            self.check();
            if self.proxies.iter().all(|proxy| proxy.is_at(&head)) {
                break;
            }
        }
        for proxy in &self.proxies {
            assert!(proxy.is_at(&head), "at quiet it holds {} and not {}", proxy.subscriber.held().desired().revision(), head.revision());
            for key in 0..KEYS {
                assert_eq!(!proxy.refuses(&format!("uid-k{key}")), admits(&head, key), "key {key} at quiet");
            }
        }
    }
}

impl Disk {
    fn replace(&mut self, held: &Held) {
        self.previous = self.current.replace(container::generation(held, 0));
    }

    /// The first of the generations that can be believed.
    fn load(&self) -> Option<Held> {
        let files = [&self.current, &self.previous].into_iter().flatten();
        files.filter_map(|file| container::read_generation(file).ok()).map(|(held, _)| held).next()
    }

    /// The oldest revision that may come into force again.
    fn oldest(&self) -> u64 {
        let revision = |file: &Vec<u8>| container::revision(file).unwrap_or(0);
        [&self.current, &self.previous].into_iter().flatten().map(revision).min().unwrap_or(0)
    }
}

impl Proxy {
    fn boot(disk: Disk) -> Self {
        let held = disk.load().unwrap_or_default();
        let outcome = adopt(&held, Arc::clone(held.desired()), &compiler).unwrap();
        let overlay = disk.overlay.as_ref().and_then(|file| container::read_overlay(file).ok()).unwrap_or_default();
        let identity = Identity { proxy: "p".to_owned(), ..Identity::default() };
        let denied = overlay.uids().map(str::to_owned).collect();
        Self {
            subscriber: Subscriber::new(identity, outcome.held, overlay, None),
            snapshot: Arc::new(outcome.snapshot),
            denied,
            disk,
            writing: None,
            writing_overlay: None,
            compiling: None,
            link: None,
            shown: 0,
            acknowledged: BTreeMap::new(),
        }
    }

    fn refuses(&self, uid: &str) -> bool {
        let key: u64 = uid.trim_start_matches("uid-k").parse().unwrap();
        let found = self.snapshot.key(&KeyHash::try_from(&key_hash(key)[..]).unwrap());
        self.denied.contains(uid) || found.is_none_or(|key| key.disabled || key.workspace.is_none())
    }

    fn is_at(&self, head: &World) -> bool {
        let settled = self.link.as_ref().is_some_and(|link| {
            let known = link.session.member().is_some_and(|member| member.applied.in_step);
            let sent = link.frames.is_none() && link.down.is_empty() && link.up.is_empty();
            known && sent
        });
        settled && self.writing_overlay.is_none() && self.subscriber.held().desired().revision() == head.revision()
    }

    fn compile(&mut self, now_ms: u64) {
        if let Some(job) = self.compiling.take() {
            self.event(subscriber::Event::Compiled(job.run(&compiler)), now_ms);
        }
    }

    /// What waits for the disk is there.
    fn write(&mut self, now_ms: u64) {
        if let Some(overlay) = self.writing_overlay.take() {
            self.disk.overlay = Some(container::overlay(&overlay));
            let denials = overlay.entries().filter(|entry| !entry.lift);
            self.acknowledged = denials.map(|entry| (entry.api_key_uid.clone(), entry.revision)).collect();
            self.event(subscriber::Event::DenyStored(overlay.epoch()), now_ms);
        }
        if let Some(held) = self.writing.take() {
            self.disk.replace(&held);
            self.event(subscriber::Event::Oldest(self.disk.oldest()), now_ms);
        }
    }

    fn event(&mut self, event: subscriber::Event, now_ms: u64) {
        use subscriber::Action;
        for action in self.subscriber.on(event, now_ms) {
            match action {
                Action::Send(request) => self.link.iter_mut().for_each(|link| link.up.push_back(request.clone())),
                Action::Compile(job) => assert!(self.compiling.replace(job).is_none(), "one at a time"),
                Action::Swap(snapshot) => self.snapshot = snapshot,
                Action::Keep(held) => self.writing = Some(held),
                Action::Deny(_, overlay) => {
                    self.denied = overlay.uids().map(str::to_owned).collect();
                    // What is lifted is not revoked any more, whatever the disk says.
                    self.acknowledged.retain(|uid, _| self.denied.contains(uid));
                    self.writing_overlay = Some(overlay);
                }
                Action::KeepOverlay(overlay) => {
                    self.denied = overlay.uids().map(str::to_owned).collect();
                    self.writing_overlay = Some(overlay);
                }
                Action::Advise(_) => unreachable!("nobody advises here"),
                Action::Differs { revision } => panic!("the hashes at revision {revision} differ"),
                Action::Close(_) => self.link = None,
            }
        }
    }

    fn obey(&mut self, actions: Vec<session::Action>, now_ms: u64) {
        use session::Action;
        let Some(link) = &mut self.link else { return };
        let say = |message| ConnectResponse { message: Some(message) };
        let mut closed = false;
        for action in actions {
            match action {
                Action::Deny(deny) => link.down.push_back(say(connect_response::Message::Deny(deny))),
                Action::Heartbeat(beat) => link.down.push_back(say(connect_response::Message::Heartbeat(beat))),
                Action::Push(push) => link.frames = Some(push.into_iter()),
                Action::Differs { revision } => panic!("the hashes at revision {revision} differ"),
                Action::Count(_) | Action::Spool(_) => unreachable!("nobody counts here"),
                Action::Close(_) => closed = true,
            }
        }
        if closed {
            self.link = None;
            self.event(subscriber::Event::Lost, now_ms);
        }
    }
}

/// The next message of a way; on a lossy one perhaps another, perhaps twice, perhaps never.
fn taken<T: Clone>(way: &mut VecDeque<T>, lossy: bool, dice: &mut Dice) -> Option<T> {
    if way.is_empty() {
        return None;
    }
    if !lossy {
        return way.pop_front();
    }
    match dice.below(100) {
        0..=1 => {
            way.pop_front();
            None
        }
        2..=3 => way.front().cloned(),
        4..=6 => way.remove(dice.index(way.len().min(4))),
        _ => way.pop_front(),
    }
}

/// A file of which a part was written, or one byte is another.
fn torn(mut file: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let at = dice.index(file.len());
    if dice.percent(50) {
        file.truncate(at);
    } else {
        file[at] ^= 1 << dice.below(8);
    }
    file
}

/// `WAYBILL_SIM_SEED=n` runs one seed, `WAYBILL_SIM_SEEDS=n` so many.
#[test]
fn at_quiet_everybody_holds_the_head_and_nobody_ever_held_a_mix() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("WAYBILL_SIM_SEED") {
        return Simulation::new(seed).run();
    }
    let seeds = number("WAYBILL_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, began) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let ran = catch_unwind(AssertUnwindSafe(|| Simulation::new(seed).run()));
                    assert!(ran.is_ok(), "seed {seed}: run it again with WAYBILL_SIM_SEED={seed}");
                }
            });
        }
    });
    println!("{seeds} seeds of {STEPS} steps in {:.1} s", began.elapsed().as_secs_f64());
}
