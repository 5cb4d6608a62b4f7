use std::collections::{BTreeMap, VecDeque};

use waybill_model::{
    compile::{Compiled, compile},
    resource::Kind,
};
use waybill_proto::{
    model::v1::Resource,
    sync::v1::{Put, ShardHash},
};

use super::*;
use crate::sample::{content, org, provider};

fn compiler(world: &World) -> Compiled {
    compile(world, &|_| None)
}

pub fn fresh() -> Subscriber {
    Subscriber::new(Identity { proxy: "p".to_owned(), ..Identity::default() }, Held::default(), Overlay::default(), None)
}

pub fn heard(message: connect_response::Message) -> Event {
    Event::Received(ConnectResponse { message: Some(message) })
}

/// The messages of a change to `world`, everything replaced.
pub fn whole(nonce: u64, world: &World) -> Vec<connect_response::Message> {
    use connect_response::Message;
    let revision = world.revision();
    let replace =
        Kind::ALL.iter().flat_map(|kind| (0..256).map(|shard| ShardHash { kind: kind.name().to_owned(), shard, hash: Vec::new().into() }));
    let puts = world.iter().map(|(_, entry)| Message::Put(Put { nonce, resource: Some(Arc::unwrap_or_clone(entry.resource())) }));
    let commit = Message::Commit(Commit { nonce, revision, root_hash: world.root_hash().to_vec().into() });
    [Message::Begin(Begin { nonce, revision, replace: replace.collect() })].into_iter().chain(puts).chain([commit]).collect()
}

/// Does what the shell does with a job, at once.
pub fn run(subscriber: &mut Subscriber, event: Event, now_ms: u64) -> Vec<Action> {
    let mut done = Vec::new();
    let mut todo = VecDeque::from(subscriber.on(event, now_ms));
    while let Some(action) = todo.pop_front() {
        match action {
            Action::Compile(job) => todo.extend(subscriber.on(Event::Compiled(job.run(&compiler)), now_ms)),
            other => done.push(other),
        }
    }
    done
}

fn reports(actions: &[Action]) -> Vec<&Report> {
    let report = |action| match action {
        &Action::Send(ConnectRequest { message: Some(connect_request::Message::Report(ref report)) }) => Some(report),
        _ => None,
    };
    actions.iter().filter_map(report).collect()
}

fn swapped(actions: &[Action]) -> Vec<u64> {
    actions.iter().filter_map(|action| if let Action::Swap(snapshot) = action { Some(snapshot.revision) } else { None }).collect()
}

fn open(subscriber: &mut Subscriber) {
    run(subscriber, Event::Opened, 0);
}

#[test]
fn nothing_is_visible_before_the_commit_and_everything_after_it() {
    let mut subscriber = fresh();
    open(&mut subscriber);
    let world = World::new(3, [org("a", "1"), provider(1, "nonsense")]);
    let mut messages = whole(1, &world);
    let commit = messages.pop().unwrap();
    for message in messages {
        assert!(run(&mut subscriber, heard(message), 1).is_empty());
        assert!(subscriber.held().desired().is_empty() && !subscriber.in_step());
    }
    let actions = run(&mut subscriber, heard(commit.clone()), 2);
    assert_eq!(swapped(&actions), [3]);
    let [report] = reports(&actions)[..] else { panic!("one report: {actions:?}") };
    assert_eq!((report.nonce, report.applied_revision, &report.root_hash[..]), (1, 3, &world.root_hash()[..]));
    assert_eq!(report.rejected.iter().map(|verdict| &*verdict.code).collect::<Vec<_>>(), ["bad_base_url"]);
    assert!(subscriber.in_step());
    // The commit once more: the same answer, no second swap.
    let again = run(&mut subscriber, heard(commit), 3);
    assert_eq!((swapped(&again).len(), reports(&again)), (0, vec![report]));
}

#[test]
fn what_is_out_of_order_or_does_not_lead_where_it_says_asks_for_a_resync_once() {
    let world = World::new(3, [org("a", "1"), org("b", "1")]);
    type Break = fn(Vec<connect_response::Message>) -> Vec<connect_response::Message>;
    let rows: [(&str, Break); 5] = [
        ("no begin", |messages| messages[1..].to_vec()),
        ("a put is lost", |messages| [&messages[..1], &messages[2..]].concat()),
        ("a put of another change", |mut messages| {
            if let connect_response::Message::Put(put) = &mut messages[1] {
                put.nonce = 9;
            }
            messages
        }),
        ("another revision in the commit", |mut messages| {
            if let Some(connect_response::Message::Commit(commit)) = messages.last_mut() {
                commit.revision = 4;
            }
            messages
        }),
        ("a resource without a spec", |mut messages| {
            messages.insert(1, connect_response::Message::Put(Put { nonce: 1, resource: Some(Resource::default()) }));
            messages
        }),
    ];
    for (what, damage) in rows {
        let mut subscriber = fresh();
        open(&mut subscriber);
        let actions: Vec<Action> =
            damage(whole(1, &world)).into_iter().flat_map(|message| run(&mut subscriber, heard(message), 1)).collect();
        let asked: Vec<bool> = reports(&actions).into_iter().map(|report| report.resync).collect();
        assert_eq!((asked, swapped(&actions).len()), (vec![true], 0), "{what}");
        let mended: Vec<Action> = whole(10, &world).into_iter().flat_map(|message| run(&mut subscriber, heard(message), 2)).collect();
        assert_eq!((swapped(&mended), content(subscriber.held().desired())), (vec![3], content(&world)), "{what}");
    }
}

#[test]
fn a_control_plane_that_is_behind_is_left() {
    let mut subscriber = fresh();
    open(&mut subscriber);
    whole(1, &World::new(5, [org("a", "1")])).into_iter().for_each(|message| drop(run(&mut subscriber, heard(message), 1)));
    let begin = connect_response::Message::Begin(Begin { nonce: 2, revision: 4, replace: vec![] });
    let actions = run(&mut subscriber, heard(begin), 2);
    assert!(matches!(actions[..], [Action::Close(Lost::Behind { offered: 4, held: 5 })]), "{actions:?}");
}

#[test]
fn a_blamed_revision_is_answered_and_not_tried_and_the_next_one_is() {
    let held = Held::stored(Arc::new(World::new(6, [org("a", "1")])), BTreeMap::new());
    let mut subscriber = Subscriber::new(Identity::default(), held, Overlay::default(), Some(7));
    let first = run(&mut subscriber, Event::Opened, 0);
    assert_eq!(reports(&first)[0].rejected[0].code, "crash_loop");
    let feed = |subscriber: &mut Subscriber, nonce, revision| -> Vec<Action> {
        whole(nonce, &World::new(revision, [org("a", "2")])).into_iter().flat_map(|message| run(subscriber, heard(message), 1)).collect()
    };
    let refused = feed(&mut subscriber, 1, 7);
    let [report] = reports(&refused)[..] else { panic!("{refused:?}") };
    assert_eq!((report.nonce, report.applied_revision, report.resync, &*report.rejected[0].code), (1, 6, false, "crash_loop"));
    assert!(swapped(&refused).is_empty());
    let taken = feed(&mut subscriber, 2, 8);
    assert_eq!((swapped(&taken), reports(&taken)[0].rejected.len()), (vec![8], 0));
}

#[test]
fn a_compiler_that_panics_leaves_what_was_and_says_so() {
    let mut subscriber = fresh();
    open(&mut subscriber);
    let world = World::new(1, [org("a", "1")]);
    let actions: Vec<Action> = whole(1, &world).into_iter().flat_map(|message| subscriber.on(heard(message), 1)).collect();
    assert!(matches!(&actions[..], [Action::Compile(job)] if job.revision() == 1));
    let actions = subscriber.on(Event::Compiled(Err(Panicked("bug".to_owned()))), 2);
    let [report] = reports(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((report.applied_revision, &*report.rejected[0].code, report.rejected[0].generation), (0, "compile_panicked", 1));
    assert!(subscriber.held().desired().is_empty());
}

#[test]
fn an_outcome_that_comes_after_its_stream_is_taken_and_not_answered() {
    let mut subscriber = fresh();
    open(&mut subscriber);
    let world = World::new(1, [org("a", "1")]);
    let jobs: Vec<Action> = whole(1, &world).into_iter().flat_map(|message| subscriber.on(heard(message), 1)).collect();
    let Some(Action::Compile(job)) = jobs.into_iter().next() else { panic!("a job") };
    subscriber.on(Event::Lost, 2);
    let actions = subscriber.on(Event::Compiled(job.run(&compiler)), 3);
    assert_eq!((swapped(&actions), reports(&actions).len()), (vec![1], 0));
    let hello = subscriber.on(Event::Opened, 4);
    assert!(
        matches!(&hello[0], Action::Send(ConnectRequest { message: Some(connect_request::Message::Hello(hello)) }) if hello.applied_revision == 1)
    );
}

#[test]
fn a_denial_is_in_force_at_once_and_acknowledged_when_it_is_stored() {
    let mut subscriber = fresh();
    open(&mut subscriber);
    let deny = |epoch, lift| connect_response::Message::Deny(Deny { epoch, api_key_uid: "k".to_owned(), lift, revision: epoch / 10 });
    let actions = run(&mut subscriber, heard(deny(20, false)), 1);
    assert!(matches!(&actions[..], [Action::Deny(denied, _)] if denied.contains("k")), "{actions:?}");
    let stored = run(&mut subscriber, Event::DenyStored(20), 2);
    assert_eq!(reports(&stored).into_iter().map(|report| (report.nonce, report.deny_epoch)).collect::<Vec<_>>(), [(0, 20)]);
    assert!(run(&mut subscriber, heard(deny(10, true)), 3).is_empty(), "an older lift does not count");
    let lifted = run(&mut subscriber, heard(deny(30, true)), 4);
    assert!(matches!(&lifted[..], [Action::Deny(denied, _)] if denied.is_empty()));
    assert!(matches!(run(&mut subscriber, Event::Oldest(3), 5)[..], [Action::KeepOverlay(_)]));
}

#[test]
fn heartbeats_go_out_every_five_seconds_and_three_missed_ones_end_the_stream() {
    let mut subscriber = fresh();
    open(&mut subscriber);
    let mut log = Vec::new();
    while let Some(at) = subscriber.due_ms() {
        let actions = run(&mut subscriber, Event::Tick, at);
        log.push((at, matches!(actions[..], [Action::Send(_)])));
        if let [Action::Close(lost)] = &actions[..] {
            assert_eq!(*lost, Lost::Silent);
        }
    }
    assert_eq!(log, [(5_000, true), (10_000, true), (15_000, false)]);
}

#[test]
fn hashes_are_compared_once_a_minute_and_a_difference_asks_for_shards() {
    let world = World::new(5, [org("a", "1")]);
    let mut subscriber = fresh();
    run(&mut subscriber, Event::Opened, 0);
    for message in whole(1, &world) {
        run(&mut subscriber, heard(message), 1);
    }
    let root = world.root_hash().to_vec();
    let beat = |revision, root: &[u8]| {
        heard(connect_response::Message::Heartbeat(Heartbeat { revision, root_hash: root.to_vec().into(), ..Heartbeat::default() }))
    };
    // What the control plane believes: alike, nothing, of another revision, otherwise.
    let rows = [(5, root.clone(), false), (0, vec![], false), (4, vec![7; 16], false), (5, vec![7; 16], true)];
    for (revision, root, differs) in rows {
        let actions = run(&mut subscriber, beat(revision, &root), 2);
        let alarm = actions.iter().any(|action| matches!(action, Action::Differs { revision: 5 }));
        let asked = reports(&actions).iter().any(|report| report.resync && report.nonce == 0 && report.shards.len() == 1);
        assert_eq!((alarm, asked), (differs, differs), "{revision} {root:?}: {actions:?}");
    }
    // And what it says itself, once a minute.
    subscriber.on(beat(0, &[]), AUDIT_MS - 1);
    let said: Vec<_> = subscriber
        .on(Event::Tick, AUDIT_MS)
        .into_iter()
        .filter_map(|action| match action {
            Action::Send(ConnectRequest { message: Some(connect_request::Message::Heartbeat(beat)) }) => {
                Some((beat.revision, beat.root_hash))
            }
            _ => None,
        })
        .collect();
    assert_eq!(said, [(5, root.into())]);
    assert!(subscriber.due_ms().unwrap() > AUDIT_MS);
}
