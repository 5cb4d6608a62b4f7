use std::sync::{Arc, Mutex};

use waybill_model::world::World;
use waybill_proto::{
    model::v1::{Endpoint, Metadata, Resource, resource::Spec},
    sync::v1::{Advice, ClassCount, EndpointCounts, ErrorClass, ProxyState},
};
use waybill_store::{Election, MonotonicClock, Sqlite};

use super::*;
use crate::{EJECTED_MS, States, TRIAL_AFTER_MS, TRIAL_PERMILLE};

const NOW: i64 = 1_800_000_000_000;

/// Three proxies, each with totals (good, bad) of the endpoint `m@a`; and what was advised last.
#[derive(Default)]
struct Three {
    totals: Mutex<[(u64, u64); 3]>,
    advised: Mutex<Vec<(String, u32)>>,
}

impl Three {
    fn count(&self, more: [(u64, u64); 3]) {
        self.totals.lock().expect("totals").iter_mut().zip(more).for_each(|(total, more)| *total = (total.0 + more.0, total.1 + more.1));
    }

    fn advised(&self) -> Vec<(String, u32)> {
        self.advised.lock().expect("advised").clone()
    }
}

impl Fleet for Three {
    fn states(&self) -> States<'_> {
        let totals = *self.totals.lock().expect("totals");
        let states = totals.into_iter().enumerate().map(|(number, (good, bad))| {
            let counts = [(ErrorClass::None, good), (ErrorClass::Overloaded, bad)];
            let counts = counts.map(|(class, count)| ClassCount { class: class.into(), count }).into();
            let counts = vec![EndpointCounts { endpoint: "m@a".to_owned(), counts, open_breakers: u32::from(bad > 0) }];
            ProxyState { proxy: format!("p-{number}"), process: 1, connected: true, since_ms: 600_000, counts, ..ProxyState::default() }
        });
        let states = states.collect();
        Box::pin(async move { states })
    }

    fn world(&self) -> Arc<World> {
        let endpoints = ["a", "b"].map(|provider| {
            let endpoint = Endpoint { model: "lab/m".into(), provider: provider.into(), account: provider.into(), ..Endpoint::default() };
            let name = format!("m@{provider}");
            let metadata = Metadata { name: name.clone(), uid: name, generation: 1, ..Metadata::default() };
            Arc::new(Resource { metadata: Some(metadata), spec: Some(Spec::Endpoint(endpoint)) })
        });
        Arc::new(World::new(3, endpoints))
    }

    fn advise(&self, advice: Advice) {
        assert_eq!(advice.ttl_ms, 30_000);
        let told = advice.endpoints.into_iter().map(|health| (health.endpoint, health.weight_permille));
        *self.advised.lock().expect("advised") = told.collect();
    }
}

struct Replica {
    desk: Desk,
    fleet: Arc<Three>,
}

impl Replica {
    fn of(store: &Arc<dyn Store>, fleet: &Arc<Three>) -> Self {
        let other = Arc::clone(fleet) as Arc<dyn Fleet>;
        Self { desk: Desk::new(Arc::clone(store), other), fleet: Arc::clone(fleet) }
    }

    async fn turn(&self, leadership: &Leadership, now_ms: i64) -> bool {
        self.desk.turn(leadership, || now_ms).await.expect("the store answers")
    }
}

async fn store(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    Arc::new(Sqlite::open(&folder.path().join("health.db"), Arc::new(MonotonicClock::start())).await.expect("a store"))
}

async fn elected(store: &dyn Store) -> Leadership {
    let candidacy = Candidacy { key: keys::leader(JOB, 0), holder: Bytes::from_static(b"r-1"), ttl: JOB_TTL };
    let Election::Won(leadership) = store.lead(&candidacy).await.expect("an election") else { panic!("somebody else leads") };
    leadership
}

#[tokio::test]
async fn an_ejection_is_written_followed_shown_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, three) = (store(&folder).await, Arc::new(Three::default()));
    let (leader, other) = (Replica::of(&store, &three), Replica::of(&store, &Arc::default()));
    let leadership = elected(&*store).await;
    assert!(leader.turn(&leadership, NOW).await);
    three.count([(1, 40), (0, 40), (40, 0)]);
    assert!(leader.turn(&leadership, NOW + 1_000).await);
    assert_eq!(three.advised(), [("m@a".to_owned(), 0)]);

    other.desk.list(|| NOW + 1_000).await.expect("listed");
    assert_eq!(other.fleet.advised(), three.advised(), "the other replica advises the same");
    let rows = leader.desk.rows("", NOW + 1_000);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let advice = row.advice.as_ref().expect("it is ejected");
    assert_eq!((row.endpoint.as_str(), row.model.as_str(), row.provider.as_str()), ("m@a", "lab/m", "a"));
    assert_eq!((row.reporters, row.open_breakers), (3, 2));
    assert_eq!(
        (advice.reporters, advice.agreeing, advice.since_unix_ms, advice.until_unix_ms),
        (3, 2, NOW + 1_000, NOW + 1_000 + EJECTED_MS)
    );
    assert_eq!(advice.causes, row.last_minute);
    assert_eq!(leader.desk.rows("lab/m", NOW + 1_000).len(), 2, "of a model all endpoints are shown");

    let trial = NOW + 1_000 + TRIAL_AFTER_MS;
    assert!(leader.turn(&leadership, trial).await);
    assert_eq!(three.advised(), [("m@a".to_owned(), TRIAL_PERMILLE)]);
    three.count([(2, 0), (0, 0), (1, 0)]);
    assert!(leader.turn(&leadership, trial + 1_000).await);
    assert_eq!(three.advised(), []);
    assert!(store.list(&Read::now(keys::health_all())).await.expect("listed").entries.is_empty());
    other.desk.list(|| trial + 1_000).await.expect("listed");
    assert_eq!(other.fleet.advised(), []);
}

#[tokio::test]
async fn who_leads_no_longer_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, three) = (store(&folder).await, Arc::new(Three::default()));
    let former = Replica::of(&store, &three);
    let leadership = elected(&*store).await;
    assert!(former.turn(&leadership, NOW).await);
    store.resign(leadership.clone()).await.expect("resigned");
    let _successor = elected(&*store).await;
    three.count([(0, 40), (0, 40), (0, 40)]);
    assert!(!former.turn(&leadership, NOW + 1_000).await, "it learns that it leads no longer");
    assert!(store.list(&Read::now(keys::health_all())).await.expect("listed").entries.is_empty());
    assert_eq!(three.advised(), []);
}

#[tokio::test]
async fn a_record_that_nobody_takes_back_is_advised_until_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, three) = (store(&folder).await, Arc::new(Three::default()));
    let leader = Replica::of(&store, &three);
    let leadership = elected(&*store).await;
    assert!(leader.turn(&leadership, NOW).await);
    three.count([(0, 40), (0, 40), (0, 40)]);
    assert!(leader.turn(&leadership, NOW).await);
    for (passed, advised) in [(EJECTED_MS - 1, 1), (EJECTED_MS, 0)] {
        leader.desk.advise(NOW + passed);
        assert_eq!(three.advised().len(), advised, "{passed}");
        assert_eq!(leader.desk.rows("m@a", NOW + passed)[0].advice.is_some(), advised == 1);
    }
}
