use std::sync::Arc;

use waybill_model::world::Delta;
use waybill_proto::{
    model::v1::Resource,
    sync::v1::{ConnectResponse, Verdict, connect_response},
};

use super::*;
use crate::{
    diff::diff,
    index::Step,
    rollout::{Member, Rollout, State, Target},
    sample::{Dice, api_key, content, org},
};

fn published(before: &Publication, revision: u64, resources: Vec<Arc<Resource>>) -> Publication {
    stepped(before, revision, resources, None, &[])
}

/// The same with the rollout that is on its way then, and of the rollouts whose step it is.
fn stepped(
    before: &Publication,
    revision: u64,
    resources: Vec<Arc<Resource>>,
    rollout: Option<&Rollout>,
    steps_of: &[&Rollout],
) -> Publication {
    let world = Arc::new(World::new(revision, resources));
    let delta = diff(before.world(), &world);
    let changed = delta.puts.iter().filter_map(|resource| waybill_model::world::Key::of(resource)).chain(delta.removes);
    let changed = changed.chain(steps_of.iter().flat_map(|rollout| rollout.keys())).collect();
    before.after(Step { before: Arc::clone(before.world()), world, changed, rollout: rollout.cloned().map(Arc::new) }).0
}

/// A rollout that changes `fixed`, makes `made` and takes `gone` away, for these proxies.
fn rollout(members: &[&str]) -> Rollout {
    let upserts = [org("fixed", "new"), org("made", "new")].map(|resource| Resource::clone(&resource));
    let gone = Target::of(&org("gone", "")).expect("an org");
    let targets = upserts.iter().filter_map(Target::of).chain([gone.clone()]).collect();
    let member = |proxy: &&str| Member { proxy: (*proxy).to_owned(), ..Member::default() };
    Rollout {
        state: State::Baking.into(),
        upserts: upserts.into(),
        deletes: vec![gone],
        targets,
        members: members.iter().map(member).collect(),
        ..Rollout::default()
    }
}

fn first(revision: u64, resources: Vec<Arc<Resource>>) -> Publication {
    Publication::first(Arc::new(World::new(revision, resources)))
}

fn hello(world: &World) -> Hello {
    let shard = |((kind, shard), hash): ((waybill_model::resource::Kind, u8), Hash)| ShardHash {
        kind: kind.name().to_owned(),
        shard: shard.into(),
        hash: hash.to_vec().into(),
    };
    Hello {
        proxy: "p".to_owned(),
        schema_min: 1,
        schema_max: 1,
        applied_revision: world.revision(),
        root_hash: world.root_hash().to_vec().into(),
        shards: world.shard_hashes().into_iter().map(shard).collect(),
        ..Hello::default()
    }
}

fn said(message: connect_request::Message) -> Event {
    Event::Received(ConnectRequest { message: Some(message) })
}

fn greet(session: &mut Session, hello: Hello, now: &Publication) -> Vec<Action> {
    session.on(said(connect_request::Message::Hello(hello)), now, 0)
}

fn report(nonce: u64, world: &World) -> Report {
    Report { nonce, applied_revision: world.revision(), root_hash: world.root_hash().to_vec().into(), ..Report::default() }
}

fn answer(session: &mut Session, report: Report, now: &Publication) -> Vec<Action> {
    session.on(said(connect_request::Message::Report(report)), now, 1)
}

/// The one push among the actions.
fn pushed(actions: Vec<Action>) -> Option<Push> {
    let mut pushes = actions.into_iter().filter_map(|action| if let Action::Push(push) = action { Some(push) } else { None });
    let push = pushes.next();
    assert!(pushes.next().is_none(), "one push at a time");
    push
}

fn delta(actions: Vec<Action>) -> Option<Delta> {
    pushed(actions).map(|push| push.delta().clone())
}

fn refusal(actions: &[Action]) -> Option<&Refusal> {
    actions.iter().find_map(|action| if let Action::Close(refusal) = action { Some(refusal) } else { None })
}

#[test]
fn hello_is_answered_by_what_the_proxy_lacks() {
    let old = first(3, vec![org("a", "1"), org("b", "1")]);
    let now = published(&old, 4, vec![org("a", "2"), org("b", "1")]);
    let foreign = World::new(3, [org("a", "9"), org("b", "1"), org("z", "1")]);
    // What it holds; resources put, removed, shards replaced; `None` = nothing is sent.
    type Row<'a> = (&'a World, Option<(usize, usize, usize)>);
    let rows: [Row<'_>; 4] = [
        (now.world(), None),
        (old.world(), Some((1, 0, 0))),
        (&World::default(), Some((2, 0, 2))),
        (&World::new(1, [org("a", "2"), org("z", "1")]), Some((1, 0, 2))),
    ];
    for (held, expected) in rows {
        let sent = delta(greet(&mut Session::new(0), hello(held), &now));
        assert_eq!(sent.as_ref().map(|delta| (delta.puts.len(), delta.removes.len(), delta.replace.len())), expected, "{held:?}");
        if let Some(sent) = sent {
            assert_eq!(content(&held.apply(&sent)), content(now.world()));
        }
    }
    // It names a known revision, but means another world by it: the commit's hash tells it, and its resync what it holds.
    let mut session = Session::new(0);
    assert!(pushed(greet(&mut session, hello(&foreign), &now)).is_some());
    let resync = Report { resync: true, shards: hello(&foreign).shards, ..report(1, &foreign) };
    let sent = delta(answer(&mut session, resync, &now)).unwrap();
    assert_eq!(content(&foreign.apply(&sent)), content(now.world()));
}

#[test]
fn a_proxy_that_holds_something_and_names_no_shard_gets_everything() {
    let now = first(4, vec![org("a", "2")]);
    let held = World::new(2, [org("z", "1")]);
    let silent = Hello { shards: vec![], ..hello(&held) };
    let sent = delta(greet(&mut Session::new(0), silent, &now)).unwrap();
    assert_eq!(content(&held.apply(&sent)), content(now.world()));
}

#[test]
fn what_breaks_the_protocol_is_refused_by_name() {
    let now = first(1, vec![]);
    let good = hello(now.world());
    let rows: [(Hello, Option<Refusal>); 5] = [
        (good.clone(), None),
        (Hello { schema_max: 9, ..good.clone() }, None),
        (Hello { schema_min: 2, schema_max: 3, ..good.clone() }, Some(Refusal::Schema { min: 2, max: 3 })),
        (Hello { schema_min: 0, schema_max: 0, ..good.clone() }, Some(Refusal::Schema { min: 0, max: 0 })),
        (Hello { proxy: String::new(), ..good.clone() }, Some(Refusal::Protocol("Hello without the proxy's name"))),
    ];
    for (hello, expected) in rows {
        assert_eq!(refusal(&greet(&mut Session::new(0), hello, &now)), expected.as_ref());
    }
    let early = Session::new(0).on(said(connect_request::Message::Heartbeat(Heartbeat::default())), &now, 0);
    assert!(matches!(refusal(&early), Some(Refusal::Protocol(_))));
    let mut session = Session::new(0);
    greet(&mut session, good.clone(), &now);
    assert!(matches!(refusal(&greet(&mut session, good, &now)), Some(Refusal::Protocol(_))));
}

#[test]
fn changes_during_a_push_are_merged_into_the_next_one() {
    let one = first(1, vec![org("a", "1")]);
    let mut session = Session::new(0);
    assert!(pushed(greet(&mut session, hello(&World::default()), &one)).is_some());
    let two = published(&one, 2, vec![org("a", "1"), org("b", "1")]);
    let three = published(&two, 3, vec![org("a", "3")]);
    for now in [&two, &three] {
        assert!(pushed(session.on(Event::Published, now, 1)).is_none());
    }
    let sent = delta(answer(&mut session, report(1, one.world()), &three)).unwrap();
    assert_eq!((sent.revision, sent.puts.len(), sent.removes.len()), (3, 1, 1));
    assert!(pushed(answer(&mut session, report(2, three.world()), &three)).is_none());
    assert!(session.member().unwrap().applied.in_step);
}

#[test]
fn a_deny_entry_overtakes_a_push_that_has_no_answer() {
    let one = first(1, vec![api_key("k", false, 1)]);
    let mut session = Session::new(0);
    greet(&mut session, hello(&World::default()), &one);
    let two = published(&one, 2, vec![api_key("k", true, 1)]);
    let actions = session.on(Event::Published, &two, 1);
    assert!(matches!(&actions[..], [Action::Deny(deny)] if deny.api_key_uid == "k" && deny.revision == 2 && !deny.lift), "{actions:?}");
    assert!(session.on(Event::Published, &two, 2).is_empty(), "it is sent once");
    // Another stream of the same proxy: only what it does not have.
    let told = |epoch| {
        let held = Hello { deny_epoch: epoch, ..hello(two.world()) };
        greet(&mut Session::new(0), held, &two).len()
    };
    assert_eq!((told(0), told(2 << 8)), (1, 0));
}

#[test]
fn a_denial_of_an_earlier_replica_is_lifted_if_the_key_is_good() {
    let now = first(5, vec![api_key("good", false, 1), api_key("bad", true, 1)]);
    let held = Hello { deny_epoch: 9, denied: vec!["good".to_owned(), "bad".to_owned()], ..hello(now.world()) };
    let actions = greet(&mut Session::new(0), held, &now);
    assert!(matches!(&actions[..], [Action::Deny(deny)] if deny.api_key_uid == "good" && deny.lift), "{actions:?}");
}

#[test]
fn a_proxy_that_never_reaches_the_hash_is_told_so_after_three_resyncs() {
    let now = first(1, vec![org("a", "1")]);
    let mut session = Session::new(0);
    greet(&mut session, hello(&World::default()), &now);
    // Once by its own word, once by a hash that is wrong although it says nothing.
    let wrong = Report { root_hash: vec![9; 16].into(), ..report(1, now.world()) };
    assert!(pushed(answer(&mut session, wrong, &now)).is_some());
    let resync = |nonce| Report { resync: true, ..report(nonce, &World::default()) };
    assert!(pushed(answer(&mut session, resync(2), &now)).is_some());
    assert_eq!(refusal(&answer(&mut session, resync(3), &now)), Some(&Refusal::Diverged { revision: 1 }));
}

#[test]
fn a_revision_that_is_refused_as_a_whole_is_not_sent_again_but_the_next_one_is() {
    let one = first(1, vec![org("a", "1")]);
    let two = published(&one, 2, vec![org("a", "2")]);
    let mut session = Session::new(0);
    assert!(pushed(greet(&mut session, hello(one.world()), &two)).is_some());
    let crash_loop = Verdict { code: "crash_loop".to_owned(), ..Verdict::default() };
    let refused = Report { rejected: vec![crash_loop.clone()], ..report(1, one.world()) };
    assert!(pushed(answer(&mut session, refused, &two)).is_none());
    assert!(pushed(session.on(Event::Tick, &two, 2)).is_none());
    let applied = &session.member().unwrap().applied;
    assert_eq!((applied.revision, applied.in_step, &applied.rejected[..]), (1, false, &[crash_loop][..]));
    let three = published(&two, 3, vec![org("a", "3")]);
    assert_eq!(delta(session.on(Event::Published, &three, 3)).map(|delta| delta.revision), Some(3));
}

#[test]
fn a_proxy_that_is_ahead_of_this_replica_waits_for_it() {
    let one = first(1, vec![org("a", "1")]);
    let ahead = World::new(2, [org("a", "2")]);
    let mut session = Session::new(0);
    assert!(greet(&mut session, hello(&ahead), &one).is_empty());
    let two = published(&one, 2, vec![org("a", "2")]);
    assert!(session.on(Event::Published, &two, 1).is_empty());
    assert!(session.member().unwrap().applied.in_step);
}

#[test]
fn a_proxy_that_fell_out_of_the_change_log_is_sent_home_to_come_back_with_its_hashes() {
    let one = first(1, vec![org("a", "1")]);
    let mut session = Session::new(0);
    greet(&mut session, hello(one.world()), &one);
    let mut now = one.clone();
    for revision in 2..1_100 {
        now = published(&now, revision, vec![org("a", &revision.to_string())]);
    }
    assert_eq!(refusal(&session.on(Event::Published, &now, 1)), Some(&Refusal::FellBehind { revision: 1_099 }));
    let sent = delta(greet(&mut Session::new(0), hello(one.world()), &now)).unwrap();
    assert_eq!(content(&one.world().apply(&sent)), content(now.world()));
}

#[test]
fn heartbeats_go_out_every_five_seconds_and_three_missed_ones_end_the_session() {
    let now = first(1, vec![]);
    let mut session = Session::new(0);
    greet(&mut session, hello(now.world()), &now);
    let mut log = Vec::new();
    loop {
        let at = session.due_ms();
        let actions = session.on(Event::Tick, &now, at);
        log.push((at, matches!(actions[..], [Action::Heartbeat(_)])));
        if refusal(&actions) == Some(&Refusal::Silent) {
            break;
        }
    }
    assert_eq!(log, [(5_000, true), (10_000, true), (15_000, false)]);
}

/// A proxy of the simulation: it knows the protocol from its description and keeps its own books.
struct Proxy {
    world: World,
    open: Option<(u64, Delta)>,
    inbox: std::collections::VecDeque<ConnectResponse>,
    unanswered: u32,
}

impl Proxy {
    fn take(&mut self, response: ConnectResponse) -> Option<Report> {
        match response.message.unwrap() {
            connect_response::Message::Begin(begin) => {
                assert!(begin.revision >= self.world.revision(), "never back");
                assert_eq!(self.unanswered, 0, "one push at a time");
                self.unanswered += 1;
                let replace = begin.replace.iter().map(|shard| (shard.kind.parse().unwrap(), u8::try_from(shard.shard).unwrap())).collect();
                self.open = Some((begin.nonce, Delta { revision: begin.revision, replace, ..Delta::default() }));
            }
            connect_response::Message::Put(put) => self.open.as_mut().unwrap().1.puts.push(Arc::new(put.resource.unwrap())),
            connect_response::Message::Remove(remove) => {
                let key = waybill_model::world::Key { kind: remove.kind.parse().unwrap(), uid: remove.uid.into() };
                self.open.as_mut().unwrap().1.removes.push(key);
            }
            connect_response::Message::Commit(commit) => {
                let (nonce, delta) = self.open.take().unwrap();
                self.unanswered -= 1;
                self.world = self.world.apply(&delta);
                assert_eq!((nonce, &self.world.root_hash()[..]), (commit.nonce, &commit.root_hash[..]), "a delta leads where it says");
                return Some(report(nonce, &self.world));
            }
            connect_response::Message::Heartbeat(_) | connect_response::Message::Deny(_) | connect_response::Message::Advice(_) => {}
        }
        None
    }
}

#[test]
fn only_members_of_a_rollout_get_its_change_and_after_a_halt_nobody_has_it() {
    let base = || vec![org("fixed", "old"), org("gone", "old"), org("other", "1")];
    let member = || rollout(&["p"]);
    let texts = |world: &World| -> Vec<String> { content(world).into_keys().map(|(_, uid)| uid).collect() };
    let mut now = first(1, base());
    let mut sessions = ["p", "q"].map(|name| (name, Session::new(0), World::default()));
    let mut nonce = 0;
    let mut push_all = |now: &Publication| {
        nonce += 1;
        for (name, session, world) in &mut sessions {
            let actions = match session.member() {
                None => greet(session, Hello { proxy: (*name).to_owned(), ..hello(world) }, now),
                Some(_) => session.on(Event::Published, now, 0),
            };
            let push = pushed(actions).expect("each step is a revision of its own");
            *world = world.apply(push.delta());
            let answered = answer(session, report(nonce, world), now);
            assert!(answered.is_empty(), "{answered:?}");
            assert_eq!((world.root_hash(), world.revision()), (now.view(name).root, now.revision()));
        }
        sessions.each_ref().map(|(.., world)| texts(world))
    };
    let old = ["fixed", "gone", "other"].map(str::to_owned);
    let new = ["fixed", "made", "other"].map(str::to_owned);
    assert_eq!(push_all(&now), [&old, &old]);
    now = stepped(&now, 2, base(), Some(&rollout(&[])), &[&rollout(&[])]);
    assert_eq!(push_all(&now), [&old, &old]);
    now = stepped(&now, 3, base(), Some(&member()), &[&member()]);
    assert_eq!(push_all(&now), [&new, &old]);
    // Another change meanwhile reaches both.
    now = stepped(&now, 4, base().into_iter().chain([org("more", "1")]).collect(), Some(&member()), &[]);
    assert_eq!(push_all(&now).map(|uids| uids.contains(&"more".to_owned())), [true, true]);
    now = stepped(&now, 5, base(), None, &[&member()]);
    assert_eq!(push_all(&now), [&old, &old]);
}

/// What everybody holds, before or after the rollout was done.
fn held(texts: &std::collections::BTreeMap<u64, u64>, done: bool) -> Vec<Arc<Resource>> {
    let own = texts.iter().map(|(uid, text)| org(&format!("u{uid}"), &text.to_string()));
    let others = if done { [org("fixed", "new"), org("made", "new")] } else { [org("fixed", "old"), org("gone", "old")] };
    own.chain(others).collect()
}

/// Changes, deliveries message by message, lost streams, rollouts that reach the proxy or another one and are taken back or done, and control planes that
/// know nothing of the past: at quiet, the proxy holds the head as it is for it.
#[test]
fn whatever_is_lost_the_proxy_comes_to_the_head() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut now = first(1, vec![org("u0", "0"), org("fixed", "old"), org("gone", "old")]);
        let (mut trial, mut done) = (None::<Rollout>, false);
        let mut texts = std::collections::BTreeMap::from([(0, 0)]);
        let mut proxy = Proxy { world: World::default(), open: None, inbox: std::collections::VecDeque::new(), unanswered: 0 };
        let mut session: Option<Session> = None;
        for round in 0..400 {
            let quiet = round >= 300;
            let mut actions = Vec::new();
            match dice.below(if quiet { 6 } else { 11 }) {
                0..=4 => {
                    if let Some(report) = proxy.inbox.pop_front().and_then(|response| proxy.take(response))
                        && let Some(session) = &mut session
                    {
                        actions = answer(session, report, &now);
                    }
                }
                5 if session.is_none() => {
                    let mut opened = Session::new(0);
                    actions = greet(&mut opened, hello(&proxy.world), &now);
                    session = Some(opened);
                }
                6 => {
                    let (uid, text) = (dice.below(8), dice.below(3));
                    texts.insert(uid, text);
                    texts.retain(|_, text| *text > 0);
                    now = stepped(&now, now.revision() + 1, held(&texts, done), trial.as_ref(), &[]);
                    actions = session.as_mut().map(|session| session.on(Event::Published, &now, 0)).unwrap_or_default();
                }
                7 if dice.below(3) == 0 => {
                    session = None;
                    (proxy.open, proxy.unanswered) = (None, 0);
                    proxy.inbox.clear();
                }
                8 if dice.below(10) == 0 && session.is_none() => {
                    now = Publication::first(Arc::clone(now.world())).with_rollout(trial.as_ref());
                }
                9 | 10 => {
                    let before = trial.take();
                    trial = match (&before, dice.below(4)) {
                        (Some(_), 0) => None,
                        (Some(_), 1) => {
                            done = true;
                            None
                        }
                        (Some(_), _) => Some(rollout(&["q", "p"])),
                        (None, _) if done => None,
                        (None, 0) => Some(rollout(&["p"])),
                        (None, 1) => Some(rollout(&["q"])),
                        (None, _) => Some(rollout(&[])),
                    };
                    let steps: Vec<&Rollout> = before.iter().chain(&trial).collect();
                    now = stepped(&now, now.revision() + 1, held(&texts, done), trial.as_ref(), &steps);
                    actions = session.as_mut().map(|session| session.on(Event::Published, &now, 0)).unwrap_or_default();
                }
                _ => {}
            }
            assert_eq!(refusal(&actions), None, "seed {seed}");
            proxy.inbox.extend(pushed(actions).into_iter().flatten());
        }
        assert!(session.is_some() && proxy.inbox.is_empty(), "seed {seed}: quiet enough");
        assert_eq!(content(&proxy.world), content(&now.view("p").world), "seed {seed}");
        assert_eq!(proxy.world.revision(), now.revision(), "seed {seed}");
    }
}

#[test]
fn hashes_are_compared_once_a_minute_and_a_difference_is_told_and_repaired_by_shards() {
    let now = first(4, vec![org("a", "1"), org("b", "1")]);
    let wrong = World::new(4, [org("a", "9"), org("b", "1")]);
    let mut session = Session::new(0);
    assert!(pushed(greet(&mut session, hello(now.world()), &now)).is_none());
    let beats = |actions: &[Action]| -> Vec<(u64, Vec<u8>)> {
        let beat = |action: &Action| match action {
            Action::Heartbeat(heartbeat) => Some((heartbeat.revision, heartbeat.root_hash.to_vec())),
            _ => None,
        };
        actions.iter().filter_map(beat).collect()
    };
    let root = now.view("p").root.to_vec();
    let said_of = |world: &World| {
        said(connect_request::Message::Heartbeat(Heartbeat {
            revision: world.revision(),
            root_hash: world.root_hash().to_vec().into(),
            ..Heartbeat::default()
        }))
    };
    // The proxy's audit agrees: nothing is said of it.
    let agreed = session.on(said_of(now.world()), &now, AUDIT_MS - 1);
    assert!(!agreed.iter().any(|action| matches!(action, Action::Differs { .. })), "{agreed:?}");
    assert_eq!(beats(&session.on(said(connect_request::Message::Heartbeat(Heartbeat::default())), &now, AUDIT_MS)), [(4, root.clone())]);
    // It does not: what is believed is said at once, and what the proxy answers is repaired.
    let differs = session.on(said_of(&wrong), &now, AUDIT_MS + 1);
    assert!(differs.iter().any(|action| matches!(action, Action::Differs { revision: 4 })), "{differs:?}");
    assert_eq!(beats(&differs), [(4, root)]);
    let resync = Report { resync: true, shards: hello(&wrong).shards, ..report(0, &wrong) };
    let sent = delta(session.on(said(connect_request::Message::Report(resync)), &now, AUDIT_MS + 2)).unwrap();
    assert_eq!((sent.replace.len(), sent.puts.len()), (1, 1));
    assert_eq!(content(&wrong.apply(&sent)), content(now.world()));
}
