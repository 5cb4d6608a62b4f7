use std::{collections::BTreeMap, fs};

use waybill_model::{resource::Kind, world::World};
use waybill_proto::sync::v1::{
    Advice, Begin, Commit, Deny, EndpointCounts, EndpointHealth, HealthCounts, Put, Report, ShardHash, SpoolReport, connect_request,
    connect_response::Message,
};

use super::*;
use crate::{
    container,
    guard::Mark,
    sample::{api_key, content, org, provider, workspace},
};

fn identity() -> Identity {
    Identity { proxy: "p".to_owned(), process: 7, incarnations: vec![1, 2], build: "test".to_owned(), ..Identity::default() }
}

fn load(folder: &Path) -> Sync {
    Sync::load(folder, identity(), Arc::new(|_| None)).unwrap()
}

fn file(revision: u64, text: &str) -> Vec<u8> {
    container::generation(&Held::stored(Arc::new(World::new(revision, [org("a", text)])), BTreeMap::new()), 0)
}

/// The control plane's end of a stream.
struct Plane {
    requests: mpsc::Receiver<ConnectRequest>,
    responses: mpsc::Sender<ConnectResponse>,
}

impl Plane {
    async fn hear(&mut self) -> connect_request::Message {
        self.requests.recv().await.unwrap().message.unwrap()
    }

    /// The next report that answers something or acknowledges a denial.
    async fn report(&mut self) -> Report {
        loop {
            if let connect_request::Message::Report(report) = self.hear().await {
                return report;
            }
        }
    }

    async fn say(&self, message: Message) {
        self.responses.send(ConnectResponse { message: Some(message) }).await.unwrap();
    }

    async fn push(&mut self, nonce: u64, world: &World) -> Report {
        let revision = world.revision();
        let all = |kind: &Kind| {
            (0..256).map(|shard| ShardHash { kind: kind.name().to_owned(), shard, hash: Vec::new().into() }).collect::<Vec<_>>()
        };
        self.say(Message::Begin(Begin { nonce, revision, replace: Kind::ALL.iter().flat_map(all).collect() })).await;
        for (_, entry) in world.iter() {
            self.say(Message::Put(Put { nonce, resource: Some(Arc::unwrap_or_clone(entry.resource())) })).await;
        }
        self.say(Message::Commit(Commit { nonce, revision, root_hash: world.root_hash().to_vec().into() })).await;
        loop {
            let report = self.report().await;
            if report.nonce == nonce {
                return report;
            }
        }
    }
}

fn stream() -> (Requests, Responses, Plane) {
    let (up, requests) = mpsc::channel(4);
    let (responses, down) = mpsc::channel(4);
    (up, down, Plane { requests, responses })
}

/// Runs a proxy against a control plane's script, to the end of the stream and of the writes.
async fn against<F: Future<Output = ()>>(mut sync: Sync, script: impl FnOnce(Plane) -> F) -> Lost {
    let (requests, responses, plane) = stream();
    let (lost, ()) = tokio::join!(sync.run(requests, responses), script(plane));
    sync.stop().await;
    lost
}

#[tokio::test]
async fn what_was_applied_serves_after_a_restart_without_a_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(4, [org("a", "1"), workspace("ws", ""), api_key("k", "ws", &[7; 16], false), provider(1, "broken")]);
    let sync = load(folder.path());
    let current = sync.current();
    assert!(!current.is_ready());
    let lost = against(sync, async |mut plane| {
        let connect_request::Message::Hello(hello) = plane.hear().await else { panic!("Hello comes first") };
        assert_eq!((&*hello.proxy, hello.process, &hello.incarnations[..], hello.applied_revision), ("p", 7, &[1, 2][..], 0));
        let report = plane.push(1, &world).await;
        assert_eq!((report.applied_revision, report.rejected.len()), (4, 1));
        assert_eq!((current.load().revision, current.stale_seconds()), (4, 0));
    })
    .await;
    assert_eq!(lost, Lost::Closed);

    let again = load(folder.path());
    assert_eq!(again.current().load().revision, 4);
    assert_eq!(again.current().load().key_count(), 1);
    assert_eq!(content(again.subscriber.held().desired()), content(&world));
    against(again, async |mut plane| {
        let connect_request::Message::Hello(hello) = plane.hear().await else { panic!("Hello comes first") };
        assert_eq!((hello.applied_revision, &hello.root_hash[..]), (4, &world.root_hash()[..]));
        // Nobody there knows of the resource that is not in force: it is said again.
        assert_eq!(plane.report().await.rejected[0].code, "bad_base_url");
    })
    .await;
}

#[tokio::test]
async fn a_revocation_holds_after_a_restart_and_is_acknowledged_only_when_it_would() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("current"), file(1, "x")).unwrap();
    let sync = load(folder.path());
    let current = sync.current();
    against(sync, async |mut plane| {
        plane.hear().await;
        plane.say(Message::Deny(Deny { epoch: 512, api_key_uid: "k".to_owned(), lift: false, revision: 2 })).await;
        assert_eq!(plane.report().await.deny_epoch, 512);
        assert!(current.is_denied("k"));
        // What is on the disk at this moment would be found by the next process.
        assert!(load(folder.path()).current().is_denied("k"));
    })
    .await;
    let again = load(folder.path());
    assert!(again.current().is_denied("k") && !again.current().is_denied("other"));
    assert_eq!((again.current().denied().epoch(), again.current().load().revision), (512, 1));
}

#[test]
fn a_generation_cut_at_any_byte_falls_back_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (current, previous) = (file(9, "new"), file(8, "old"));
    fs::write(folder.path().join("previous"), previous).unwrap();
    for length in 0..current.len() {
        fs::write(folder.path().join("current"), &current[..length]).unwrap();
        assert_eq!(load(folder.path()).current().load().revision, 8, "cut at {length}");
    }
    fs::write(folder.path().join("current"), &current).unwrap();
    assert_eq!(load(folder.path()).current().load().revision, 9);
    fs::remove_file(folder.path().join("current")).unwrap();
    assert_eq!(load(folder.path()).current().load().revision, 8, "a death between the two moves");
    fs::write(folder.path().join("previous"), b"rubbish").unwrap();
    assert!(!load(folder.path()).current().is_ready(), "nothing left: not ready, and no error");
}

#[test]
fn two_deaths_with_the_mark_set_start_from_the_generation_before_and_stay_there() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put("current", &file(9, "new"));
    put("previous", &file(8, "old"));
    put("attempt", Mark::None.attempt(9).to_text().unwrap().as_bytes());
    // Each load is a process that dies: nothing takes the mark away.
    let starts: Vec<u64> = (0..4).map(|_| load(folder.path()).current().load().revision).collect();
    assert_eq!(starts, [9, 8, 8, 8]);
    assert_eq!(Folder::open(folder.path()).unwrap().mark(), Mark::Blamed { revision: 9 });
}

#[tokio::test]
async fn a_blamed_revision_is_refused_until_another_one_comes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("current"), file(9, "new")).unwrap();
    fs::write(folder.path().join("previous"), file(8, "old")).unwrap();
    fs::write(folder.path().join("attempt"), "attempt 9 2\n").unwrap();
    against(load(folder.path()), async |mut plane| {
        let refused = plane.push(1, &World::new(9, [org("a", "new")])).await;
        assert_eq!((refused.applied_revision, &*refused.rejected[0].code), (8, "crash_loop"));
        let taken = plane.push(2, &World::new(10, [org("a", "mended")])).await;
        assert_eq!((taken.applied_revision, taken.rejected.len()), (10, 0));
    })
    .await;
    assert_eq!(load(folder.path()).current().load().revision, 10);
    assert_eq!(Folder::open(folder.path()).unwrap().mark(), Mark::None, "a process that ends in peace leaves no mark");
}

#[tokio::test]
async fn the_generation_before_is_kept_only_if_it_was_proven() {
    let folder = tempfile::tempdir().unwrap();
    let revisions = || {
        let folder = Folder::open(folder.path()).unwrap();
        [Generation::Current, Generation::Previous].map(|generation| folder.revision(generation))
    };
    let mut sync = load(folder.path());
    for (revision, proven, expected) in [
        (1, false, [Some(1), None]),
        (2, true, [Some(2), None]),
        (3, false, [Some(3), Some(2)]),
        (4, true, [Some(4), Some(2)]),
        (5, false, [Some(5), Some(4)]),
    ] {
        let (requests, responses, mut plane) = stream();
        let script = async move {
            plane.push(1, &World::new(revision, [org("a", &revision.to_string())])).await;
        };
        let (lost, ()) = tokio::join!(sync.run(requests, responses), script);
        assert_eq!(lost, Lost::Closed);
        while !sync.keeper.is_idle() {
            sync.wait(None, None).await;
        }
        if proven {
            sync.prove();
        }
        assert_eq!(revisions(), expected, "{revision}");
    }
}

#[tokio::test]
async fn without_a_folder_it_follows_all_the_same() {
    let mut sync = Sync::without_folder(identity(), Arc::new(|_| None));
    let current = sync.current();
    let (requests, responses, mut plane) = stream();
    let script = async {
        plane.push(1, &World::new(3, [org("a", "1")])).await;
        plane.say(Message::Deny(Deny { epoch: 1024, api_key_uid: "k".to_owned(), lift: false, revision: 4 })).await;
        while plane.report().await.deny_epoch != 1024 {}
        drop(plane);
    };
    tokio::join!(sync.run(requests, responses), script);
    assert!(current.is_denied("k"));
    current.reached(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_had_is_tried_again_and_again() {
    let mut sync = Sync::without_folder(identity(), Arc::new(|_| None));
    let current = sync.current();
    let mut attempts = 0;
    let connect = || {
        attempts += 1;
        let (requests, responses, mut plane) = stream();
        let there = attempts == 4;
        if there {
            tokio::spawn(async move { plane.push(1, &World::new(3, [org("a", "1")])).await });
        }
        let away = || Unreached { reason: "away".to_owned(), after: None, obstacle: Obstacle::Away };
        async move { if there { Ok(Stream { requests, responses, ended: None }) } else { Err(away()) } }
    };
    tokio::select! {
        never = sync.follow(connect) => match never {},
        () = current.reached(3) => {}
    }
    assert_eq!(attempts, 4);
}

#[tokio::test]
async fn what_rooms_report_is_said_after_the_hello_and_advice_is_followed() {
    let mut sync = Sync::without_folder(identity(), Arc::new(|_| None));
    let (current, outgoing) = (sync.current(), sync.outgoing());
    let counts = HealthCounts { endpoints: vec![EndpointCounts { endpoint: "e".to_owned(), ..EndpointCounts::default() }] };
    // Counted while nobody heard it: old when somebody does.
    outgoing.report_health(HealthCounts { endpoints: vec![EndpointCounts { endpoint: "old".to_owned(), ..EndpointCounts::default() }] });
    outgoing.report_spool(SpoolReport { spool_bytes: 5, ..SpoolReport::default() });
    let (requests, responses, mut plane) = stream();
    let script = async {
        assert!(matches!(plane.hear().await, connect_request::Message::Hello(_)));
        assert!(matches!(plane.hear().await, connect_request::Message::Spool(report) if report.spool_bytes == 5));
        outgoing.report_health(counts.clone());
        assert_eq!(plane.hear().await, connect_request::Message::Health(counts.clone()));
        let health = EndpointHealth { endpoint: "e".to_owned(), weight_permille: 0, ..EndpointHealth::default() };
        plane.say(Message::Advice(Advice { endpoints: vec![health], ttl_ms: 30_000 })).await;
        plane.push(1, &World::new(3, [org("a", "1")])).await;
        drop(plane);
    };
    tokio::join!(sync.run(requests, responses), script);
    let now = std::time::Instant::now();
    assert_eq!((current.advised().weight_permille("e", now), current.advised().weight_permille("f", now)), (0, 1_000));
}

/// The clock is paused: it runs on when nothing else can.
#[tokio::test(start_paused = true)]
async fn a_control_plane_that_asks_to_be_left_alone_is() {
    let mut sync = Sync::without_folder(identity(), Arc::new(|_| None));
    let began = Instant::now();
    let mut attempts = Vec::new();
    let (second, mut seen) = mpsc::channel(1);
    let connect = || {
        attempts.push(began.elapsed());
        if attempts.len() == 2 {
            second.try_send(attempts[1]).unwrap();
        }
        async { Err(Unreached { reason: "full".to_owned(), after: Some(Duration::from_secs(20)), obstacle: Obstacle::Failed }) }
    };
    let waited = tokio::select! {
        never = sync.follow(connect) => match never {},
        waited = seen.recv() => waited.unwrap(),
    };
    assert!((Duration::from_secs(20)..=Duration::from_secs(40)).contains(&waited), "{waited:?}");
}
