//! Three proxies against a control plane that is written from the protocol's description.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use waybill_model::{resource::Kind, world::Key};
use waybill_proto::sync::v1::{Put, Remove};

use super::{
    tests::{fresh, heard, run, whole},
    *,
};
use crate::{
    container,
    sample::{Dice, content, org, provider},
};

/// A control plane of the simulation: it knows the protocol from its description. It sends the difference to what the proxy last acknowledged on
/// this stream, or everything.
struct Plane {
    worlds: BTreeMap<u64, World>,
    denied: BTreeMap<String, Deny>,
    epoch: u64,
}

impl Plane {
    fn head(&self) -> &World {
        self.worlds.last_key_value().unwrap().1
    }

    fn messages(&self, nonce: u64, base: Option<&World>) -> Vec<connect_response::Message> {
        use connect_response::Message;
        let Some(base) = base else { return whole(nonce, self.head()) };
        let (old, new) = (content(base), content(self.head()));
        let revision = self.head().revision();
        let mut messages = vec![Message::Begin(Begin { nonce, revision, replace: vec![] })];
        for (place, resource) in &new {
            if old.get(place) != Some(resource) {
                messages.push(Message::Put(Put { nonce, resource: Some(resource.clone()) }));
            }
        }
        for (kind, uid) in old.keys().filter(|place| !new.contains_key(place)) {
            messages.push(Message::Remove(Remove { nonce, kind: (*kind).to_owned(), uid: uid.clone() }));
        }
        messages.push(Message::Commit(Commit { nonce, revision, root_hash: self.head().root_hash().to_vec().into() }));
        messages
    }
}

/// One proxy of the simulation with its disk and its stream.
struct Node {
    subscriber: Subscriber,
    disk: Option<Vec<u8>>,
    overlay_disk: Option<Vec<u8>>,
    down: VecDeque<connect_response::Message>,
    up: VecDeque<ConnectRequest>,
    nonce: u64,
    outstanding: Option<u64>,
    acked: Option<World>,
    /// Last seen from outside: revisions never go back within a life.
    shown: u64,
    connected: bool,
    denied: BTreeSet<String>,
}

impl Node {
    fn new() -> Self {
        Self {
            subscriber: fresh(),
            disk: None,
            overlay_disk: None,
            down: VecDeque::new(),
            up: VecDeque::new(),
            nonce: 0,
            outstanding: None,
            acked: None,
            shown: 0,
            connected: false,
            denied: BTreeSet::new(),
        }
    }

    fn event(&mut self, event: Event, plane: &Plane, seed: u64) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in run(&mut self.subscriber, event, 1) {
                match action {
                    Action::Send(request) => self.up.push_back(request),
                    Action::Swap(snapshot) => {
                        assert!(snapshot.revision >= self.shown, "seed {seed}: revisions are monotone");
                        self.shown = snapshot.revision;
                        // No mix: what is held is exactly what the control plane had at that revision.
                        let held = content(self.subscriber.held().desired());
                        assert_eq!(held, content(&plane.worlds[&snapshot.revision]), "seed {seed}: no mix");
                    }
                    Action::Keep(held) => {
                        self.disk = Some(container::generation(&held, 0));
                        events.push_back(Event::Oldest(held.desired().revision()));
                    }
                    Action::Deny(denied, overlay) => {
                        self.denied = overlay.uids().map(str::to_owned).collect();
                        assert_eq!(denied.len(), self.denied.len());
                        self.overlay_disk = Some(container::overlay(&overlay));
                        events.push_back(Event::DenyStored(overlay.epoch()));
                    }
                    Action::KeepOverlay(overlay) => {
                        self.denied = overlay.uids().map(str::to_owned).collect();
                        self.overlay_disk = Some(container::overlay(&overlay));
                    }
                    Action::Close(_) => self.hang_up(),
                    Action::Differs { revision } => panic!("seed {seed}: a difference at revision {revision}"),
                    Action::Advise(_) => unreachable!("nobody advises here"),
                    Action::Compile(_) => unreachable!("run() compiles"),
                }
            }
        }
    }

    fn hang_up(&mut self) {
        self.connected = false;
        self.down.clear();
        self.up.clear();
        self.outstanding = None;
        self.acked = None;
        self.nonce = 0;
    }

    fn connect(&mut self, plane: &Plane, seed: u64) {
        self.connected = true;
        self.event(Event::Opened, plane, seed);
    }

    fn restart(&mut self) {
        self.hang_up();
        let held = self.disk.as_ref().map(|file| container::read_generation(file).unwrap().0).unwrap_or_default();
        let overlay = self.overlay_disk.as_ref().map(|file| container::read_overlay(file).unwrap()).unwrap_or_default();
        self.denied = overlay.uids().map(str::to_owned).collect();
        self.shown = held.desired().revision();
        self.subscriber = Subscriber::new(Identity::default(), held, overlay, None);
    }

    /// The control plane hears something.
    fn hear(&mut self, plane: &Plane, seed: u64) {
        let Some(request) = self.up.pop_front() else { return };
        match request.message.unwrap() {
            connect_request::Message::Hello(hello) => {
                let known = plane.worlds.get(&hello.applied_revision).filter(|world| world.root_hash()[..] == hello.root_hash[..]);
                self.acked = known.cloned();
                let behind = plane.denied.values().filter(|deny| deny.epoch > hello.deny_epoch);
                self.down.extend(behind.cloned().map(connect_response::Message::Deny));
            }
            connect_request::Message::Report(report) if Some(report.nonce) == self.outstanding => {
                self.outstanding = None;
                self.acked = plane.worlds.get(&report.applied_revision).filter(|_| !report.resync).cloned();
                if !report.resync {
                    assert_eq!(report.root_hash[..], plane.worlds[&report.applied_revision].root_hash()[..], "seed {seed}");
                }
            }
            _ => {}
        }
        self.push(plane);
    }

    fn push(&mut self, plane: &Plane) {
        let in_step = self.acked.as_ref().is_some_and(|world| world.revision() == plane.head().revision());
        if self.connected && self.outstanding.is_none() && !in_step {
            self.nonce += 1;
            self.outstanding = Some(self.nonce);
            self.down.extend(plane.messages(self.nonce, self.acked.as_ref()));
        }
    }
}

/// Three proxies under lost streams, repeated commits, restarts from the disk, rejected resources and denials.
#[test]
fn at_quiet_every_proxy_holds_the_head_whatever_happened() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let mut plane = Plane { worlds: BTreeMap::from([(1, World::new(1, [org("a", "1")]))]), denied: BTreeMap::new(), epoch: 0 };
        let mut nodes = [Node::new(), Node::new(), Node::new()];
        for round in 0..1_200 {
            let quiet = round >= 700;
            if !quiet && dice.below(25) == 0 {
                change(&mut plane, &mut dice, &mut nodes);
            }
            let node = &mut nodes[dice.below(3) as usize];
            match dice.below(if quiet { 6 } else { 12 }) {
                0..=2 => {
                    if let Some(message) = node.down.pop_front() {
                        if !quiet && dice.below(8) == 0 && matches!(message, connect_response::Message::Commit(_)) {
                            node.down.push_front(message.clone());
                        }
                        node.event(heard(message), &plane, seed);
                    }
                }
                3 | 4 => node.hear(&plane, seed),
                5 if !node.connected => node.connect(&plane, seed),
                6 if dice.below(6) == 0 => {
                    node.event(Event::Lost, &plane, seed);
                    node.hang_up();
                }
                7 if dice.below(12) == 0 => node.restart(),
                // A message is lost within a living stream: the hash tells.
                8 if dice.below(20) == 0 && matches!(node.down.front(), Some(connect_response::Message::Put(_))) => {
                    node.down.pop_front();
                }
                _ => {}
            }
        }
        for node in &mut nodes {
            settle(node, &plane, seed);
        }
    }
}

fn change(plane: &mut Plane, dice: &mut Dice, nodes: &mut [Node; 3]) {
    let revision = plane.head().revision() + 1;
    let mut next = plane.head().clone();
    next.set_revision(revision);
    match dice.below(4) {
        0 => drop(next.remove(&Key { kind: Kind::Org, uid: format!("uid-o{}", dice.below(5)).into() })),
        1 => drop(next.put(provider(revision, if dice.below(2) == 0 { "https://a.example" } else { "broken" }))),
        _ => drop(next.put(org(&format!("o{}", dice.below(5)), &dice.below(3).to_string()))),
    }
    plane.worlds.insert(revision, next);
    if dice.below(3) == 0 {
        plane.epoch += 1;
        let uid = format!("k{}", dice.below(3));
        let deny = Deny { epoch: plane.epoch, api_key_uid: uid.clone(), lift: dice.below(2) == 0, revision };
        plane.denied.insert(uid, deny.clone());
        for node in nodes.iter_mut().filter(|node| node.connected) {
            node.down.push_front(connect_response::Message::Deny(deny.clone()));
        }
    }
    nodes.iter_mut().for_each(|node| node.push(plane));
}

/// Delivers everything that is still on its way, and looks.
fn settle(node: &mut Node, plane: &Plane, seed: u64) {
    for _ in 0..10_000 {
        if !node.connected {
            node.connect(plane, seed);
        }
        match node.down.pop_front() {
            Some(message) => node.event(heard(message), plane, seed),
            None if node.up.is_empty() => break,
            None => node.hear(plane, seed),
        }
    }
    let held = node.subscriber.held();
    assert_eq!(content(held.desired()), content(plane.head()), "seed {seed}");
    assert_eq!((held.desired().revision(), held.desired().root_hash()), (plane.head().revision(), plane.head().root_hash()), "seed {seed}");
    // A denial that is not carried by the revision in force is in the overlay; one that is, may have gone.
    for (uid, deny) in &plane.denied {
        let carried = deny.revision <= held.desired().revision();
        assert!(carried || node.denied.contains(uid) != deny.lift, "seed {seed}: {deny:?}");
    }
}
