//! The loop of provider health closed: proxies that route by their own breakers and by advice, their counts folded, the decision advised to all. Time is a
//! number; nothing sleeps.

use std::{collections::BTreeMap, sync::Arc};

use waybill_health::{Fold, Places, decide};
use waybill_model::{
    compile::compile,
    guardrail::unbounded,
    snapshot::{RoutePolicy, Snapshot},
    world::World,
};
use waybill_proto::{
    model::v1::{Endpoint, Metadata, Model, Provider, ProviderAccount, Resource, resource::Spec},
    sync::v1::{ClassCount, EndpointCounts, EndpointHealth, ProxyState},
};
use waybill_route::{Advice, Class, Health, Outcome, Wishes, plan};

const START_MS: i64 = 1_800_000_000_000;

/// Requests of one proxy in a second.
const REQUESTS: u64 = 10;

/// The model `lab/m` at two providers; the policy wants `a` first.
fn world() -> World {
    let resource = |kind: &str, name: &str, spec| {
        let metadata = Metadata { name: name.to_owned(), uid: format!("{kind}:{name}"), generation: 1, ..Metadata::default() };
        Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
    };
    let mut resources = vec![resource("model", "lab/m", Spec::Model(Model::default()))];
    for provider in ["a", "b"] {
        let own = Provider { dialect: "openai".into(), base_url: "http://127.0.0.1:9/v1".into(), ..Provider::default() };
        resources.push(resource("provider", provider, Spec::Provider(own)));
        let account = ProviderAccount { provider: provider.into(), ..ProviderAccount::default() };
        resources.push(resource("account", provider, Spec::ProviderAccount(account)));
        let endpoint = Endpoint {
            model: "lab/m".into(),
            provider: provider.into(),
            account: provider.into(),
            provider_model: "m".into(),
            allow_unpriced: true,
            ..Endpoint::default()
        };
        resources.push(resource("endpoint", &format!("m@{provider}"), Spec::Endpoint(endpoint)));
    }
    World::new(1, resources)
}

/// A proxy of one worker.
#[derive(Default)]
struct Proxy {
    health: Health,
    totals: BTreeMap<String, (BTreeMap<i32, u64>, u32)>,
}

struct Fleet {
    snapshot: Snapshot,
    places: Places,
    proxies: Vec<Proxy>,
    fold: Fold,
    records: BTreeMap<String, EndpointHealth>,
    second: i64,
}

impl Fleet {
    fn of(proxies: usize) -> Self {
        let world = world();
        let compiled = compile(&world, &|_| None);
        assert_eq!(compiled.rejected, []);
        Self {
            snapshot: compiled.snapshot,
            places: Places::of(&world),
            proxies: (0..proxies).map(|_| Proxy::default()).collect(),
            fold: Fold::new(),
            records: BTreeMap::new(),
            second: 0,
        }
    }

    /// One second: requests, counts, the decision, advice. Returns for each proxy how many attempts failed.
    fn second(&mut self, fails: &dyn Fn(usize, &str) -> bool) -> Vec<u32> {
        self.second += 1;
        let now_ms = START_MS + self.second * 1000;
        let mut failed = Vec::new();
        for (number, proxy) in self.proxies.iter_mut().enumerate() {
            failed.push(
                (0..REQUESTS).map(|request| proxy.request(&self.snapshot, now_ms, request, &|endpoint| fails(number, endpoint))).sum(),
            );
            proxy.count();
        }
        let states: Vec<ProxyState> = self.proxies.iter().enumerate().map(|(number, proxy)| proxy.state(number, self.second)).collect();
        self.fold.observe(&states, &self.places, now_ms);
        for transition in decide(&self.fold, &self.records, &self.places, now_ms) {
            self.fold.forget(&transition.endpoint, &self.places);
            match transition.record {
                Some(record) => drop(self.records.insert(transition.endpoint, record)),
                None => drop(self.records.remove(&transition.endpoint)),
            }
        }
        let said: Vec<EndpointHealth> = self.records.values().cloned().collect();
        let advice = Arc::new(Advice::new(&said, now_ms + 30_000));
        self.proxies.iter_mut().for_each(|proxy| proxy.health.advise(Arc::clone(&advice)));
        failed
    }

    /// Of a hundred requests of a proxy now, how many would go to `m@a` first.
    fn first_at_a(&self, proxy: usize) -> usize {
        let health = &self.proxies[proxy].health;
        let now_ms = START_MS + self.second * 1000 + 1;
        let first = |seed| planned(&self.snapshot, health, now_ms, seed)[0] == "m@a";
        (0..100).filter(|seed| first(*seed)).count()
    }
}

fn planned(snapshot: &Snapshot, health: &Health, now_ms: i64, seed: u64) -> Vec<String> {
    let policy = RoutePolicy { order: ["a".into(), "b".into()].into(), ..RoutePolicy::default() };
    let plan = plan(&Wishes::of_model("lab/m"), snapshot, &policy, &unbounded, health, now_ms, seed).expect("a plan");
    plan.attempts.iter().map(|attempt| attempt.endpoint.name.to_string()).collect()
}

impl Proxy {
    /// Makes the attempts of one request, and tells how many failed.
    fn request(&mut self, snapshot: &Snapshot, now_ms: i64, request: u64, fails: &dyn Fn(&str) -> bool) -> u32 {
        let seed = now_ms.unsigned_abs() * REQUESTS + request;
        let mut failed = 0;
        for name in planned(snapshot, &self.health, now_ms, seed) {
            let endpoint = snapshot.endpoints().iter().find(|endpoint| *endpoint.name == *name).expect("it is in the snapshot");
            self.health.started(&**endpoint, now_ms);
            let outcome = if fails(&name) { Outcome::Failure(Class::Connect) } else { Outcome::Success };
            self.health.ended(&**endpoint, outcome, now_ms, seed);
            if outcome == Outcome::Success {
                break;
            }
            failed += 1;
        }
        failed
    }

    /// Adds what was counted to the totals, as a replica does.
    fn count(&mut self) {
        self.totals.values_mut().for_each(|(_, open)| *open = 0);
        for delta in self.health.take_counts() {
            let (totals, open) = self.totals.entry(delta.endpoint).or_default();
            *open = delta.open_breakers;
            delta.counts.iter().for_each(|count| *totals.entry(count.class).or_default() += count.count);
        }
    }

    fn state(&self, number: usize, second: i64) -> ProxyState {
        let counts = self.totals.iter().map(|(endpoint, (totals, open_breakers))| EndpointCounts {
            endpoint: endpoint.clone(),
            counts: totals.iter().map(|(class, count)| ClassCount { class: *class, count: *count }).collect(),
            open_breakers: *open_breakers,
        });
        let since_ms = u64::try_from(second * 1000).expect("a time that passed");
        ProxyState {
            proxy: format!("p-{number}"),
            process: 1,
            connected: true,
            since_ms,
            counts: counts.collect(),
            ..ProxyState::default()
        }
    }
}

#[test]
fn a_provider_that_fails_for_two_of_three_is_ejected_for_all_and_comes_back() {
    let mut fleet = Fleet::of(3);
    for _ in 0..30 {
        assert_eq!(fleet.second(&|_, _| false), [0, 0, 0]);
    }
    assert_eq!(fleet.first_at_a(2), 100);

    let broken = |proxy: usize, endpoint: &str| endpoint == "m@a" && proxy < 2;
    let noticed = (1..=20).find(|_| {
        fleet.second(&broken);
        !fleet.records.is_empty()
    });
    assert!(noticed.is_some_and(|seconds| seconds <= 15), "noticed after {noticed:?} s");
    assert_eq!(fleet.first_at_a(2), 0, "also where it would have served");
    assert!(
        planned(&fleet.snapshot, &fleet.proxies[2].health, START_MS + fleet.second * 1000, 1).contains(&"m@a".to_owned()),
        "after the others"
    );

    // For two minutes it stays out, but for its trials.
    let mut failed = 0;
    for _ in 0..120 {
        failed += fleet.second(&broken).iter().sum::<u32>();
    }
    assert!(fleet.records.contains_key("m@a"));
    assert!(failed < 60, "{failed} of 3600 requests were tried there in vain");

    let back = (1..=180).find(|_| {
        fleet.second(&|_, _| false);
        fleet.records.is_empty()
    });
    assert!(back.is_some(), "it came back: {:?}", fleet.records);
    for _ in 0..400 {
        fleet.second(&|_, _| false);
    }
    assert_eq!([fleet.first_at_a(0), fleet.first_at_a(1), fleet.first_at_a(2)], [100; 3]);
}

#[test]
fn a_proxy_with_a_bad_network_ejects_nobody_for_the_others() {
    for odd in 0..3 {
        let mut fleet = Fleet::of(3);
        for second in 0..300 {
            let failed = fleet.second(&|proxy, _| proxy == odd && second >= 20);
            let others: u32 = failed.iter().enumerate().filter(|(proxy, _)| *proxy != odd).map(|(_, failed)| *failed).sum();
            assert_eq!((others, fleet.records.len()), (0, 0), "second {second}");
        }
        for proxy in (0..3).filter(|proxy| *proxy != odd) {
            assert_eq!(fleet.first_at_a(proxy), 100);
        }
        // The odd one still tries everything it has.
        let now_ms = START_MS + fleet.second * 1000;
        assert_eq!(planned(&fleet.snapshot, &fleet.proxies[odd].health, now_ms, 1).len(), 2);
    }
}
