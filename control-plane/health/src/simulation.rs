//! Fleets of proxies over minutes, from a seed: an endpoint breaks down for some of them and comes back, and one proxy is odd.

use std::collections::BTreeMap;

use waybill_proto::sync::v1::{ClassCount, EndpointCounts, EndpointHealth, ErrorClass, ProxyState};

use crate::{EJECTED_MS, Fold, MOST_TRANSITIONS, Place, Places, decide};

const START_MS: i64 = 1_800_000_000_000;
/// Seconds of a run; when an endpoint breaks down, and when it is whole again.
const RUN: i64 = 420;
const BREAKS: i64 = 60;
const HEALS: i64 = 260;
/// Seconds within which a break-down is noticed: two steps of the window, and a leader that has just begun.
const NOTICED: i64 = 30;
/// Seconds within which a recovery is noticed: a trial that has just failed, the wait for the next, its successes at a twentieth of little traffic.
const RECOVERED: i64 = 120;

/// Runs of a test.
const SEEDS: u64 = 40;

/// (model, endpoints).
const MODELS: [(&str, usize); 3] = [("lab/four", 4), ("lab/two", 2), ("lab/one", 1)];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Odd {
    Nobody,
    /// Its own network is broken: everything fails.
    Partitioned,
    /// It reports failures that never were, many of them, and totals that go up and down.
    Liar,
    /// Its process ends every few seconds.
    Restarting,
    /// It goes from replica to replica, each of which has seen a part of it.
    Wandering,
}

struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    fn happens(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}

#[derive(Default)]
struct Proxy {
    process: u64,
    stream_since: i64,
    totals: BTreeMap<String, [u64; 2]>,
    /// What the other replica has seen of it.
    elsewhere: BTreeMap<String, [u64; 2]>,
    breakers: BTreeMap<String, Breaker>,
}

/// A breaker of the simplest kind: after five failures in a row nothing for ten seconds, then one request at a time.
#[derive(Clone, Copy, Default)]
struct Breaker {
    row: u32,
    open_until: i64,
}

impl Breaker {
    /// How many requests pass in a second.
    fn passes(self, second: i64) -> u64 {
        match self.row {
            0..5 => 4,
            _ if second < self.open_until => 0,
            _ => 1,
        }
    }

    fn ended(&mut self, good: bool, second: i64) {
        self.row = if good { 0 } else { self.row + 1 };
        if self.row >= 5 {
            self.open_until = second + 10;
        }
    }
}

struct Simulation {
    seed: u64,
    random: Random,
    places: Places,
    proxies: Vec<Proxy>,
    odd: Odd,
    broken: String,
    /// How many of the proxies the break-down hits, from the first on.
    hit: usize,
    fold: Fold,
    records: BTreeMap<String, EndpointHealth>,
    ejected_at: BTreeMap<String, i64>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let names = MODELS.iter().flat_map(|(model, count)| (0..*count).map(move |number| (*model, number)));
        let endpoints = names.map(|(model, number)| {
            let name = format!("{model}@{number}");
            (name.clone(), Place { model: model.to_owned(), provider: format!("p{number}"), account: name })
        });
        let count = 3 + usize::try_from(random.below(6)).expect("small");
        let odd = [Odd::Nobody, Odd::Partitioned, Odd::Liar, Odd::Restarting, Odd::Wandering][random.below(5) as usize];
        let broken = ["lab/four@1", "lab/two@0", "lab/one@0"][random.below(3) as usize].to_owned();
        // The odd one is the last; it is not among those that are hit.
        let hit = usize::try_from(random.below(count as u64)).expect("small");
        Self {
            seed,
            places: Places::new(1, endpoints),
            proxies: (0..count).map(|_| Proxy { process: random.draw(), ..Proxy::default() }).collect(),
            odd,
            broken,
            hit,
            fold: Fold::new(),
            records: BTreeMap::new(),
            ejected_at: BTreeMap::new(),
            random,
        }
    }

    fn is_odd(&self, proxy: usize) -> bool {
        proxy + 1 == self.proxies.len() && self.odd != Odd::Nobody
    }

    /// One second of traffic, and what the replicas know of the proxies then.
    fn second(&mut self, second: i64) -> Vec<ProxyState> {
        let endpoints: Vec<String> = self.places.iter().map(|(name, _)| name.to_owned()).collect();
        let mut states = Vec::new();
        for number in 0..self.proxies.len() {
            let odd = if self.is_odd(number) { self.odd } else { Odd::Nobody };
            let mut proxy = std::mem::take(&mut self.proxies[number]);
            if odd == Odd::Restarting && self.random.happens(150) {
                proxy = Proxy { process: self.random.draw(), stream_since: second, ..Proxy::default() };
            }
            if odd == Odd::Wandering && self.random.happens(150) {
                std::mem::swap(&mut proxy.totals, &mut proxy.elsewhere);
                proxy.stream_since = second;
            }
            for endpoint in &endpoints {
                let weight = self.records.get(endpoint).map_or(1000, |record| u64::from(record.weight_permille));
                let is_broken = *endpoint == self.broken && (BREAKS..HEALS).contains(&second) && number < self.hit;
                let good_permille = match odd {
                    Odd::Partitioned => 0,
                    _ if is_broken => 50,
                    _ => 990,
                };
                let total = proxy.totals.entry(endpoint.clone()).or_default();
                let breaker = proxy.breakers.entry(endpoint.clone()).or_default();
                for _ in 0..breaker.passes(second) {
                    if self.random.happens(weight) {
                        let good = self.random.happens(good_permille);
                        total[usize::from(!good)] += 1;
                        breaker.ended(good, second);
                    }
                }
                if odd == Odd::Liar {
                    total[1] = self.random.below(1_000_000);
                }
            }
            states.push(proxy.state(number, second));
            self.proxies[number] = proxy;
        }
        states
    }

    fn run(mut self) {
        for second in 0..RUN {
            let now_ms = START_MS + second * 1000;
            let states = self.second(second);
            if self.random.happens(10) {
                // Another replica leads, and has looked at nothing before.
                self.fold = Fold::new();
            }
            self.fold.observe(&states, &self.places, now_ms);
            let transitions = decide(&self.fold, &self.records, &self.places, now_ms);
            assert!(transitions.len() <= MOST_TRANSITIONS, "seed {}", self.seed);
            for transition in transitions {
                self.fold.forget(&transition.endpoint, &self.places);
                match transition.record {
                    Some(record) => {
                        if record.weight_permille == 0 {
                            self.ejected_at.insert(transition.endpoint.clone(), second);
                        }
                        drop(self.records.insert(transition.endpoint, record));
                    }
                    None => drop(self.records.remove(&transition.endpoint)),
                }
            }
            self.check(second);
        }
    }

    fn check(&self, second: i64) {
        let of = |what: &str| {
            format!(
                "seed {}: {what} at {second} s: {:?}, {} of {} hit, {:?}",
                self.seed,
                self.odd,
                self.hit,
                self.proxies.len(),
                self.records
            )
        };
        for endpoint in self.records.keys() {
            assert_eq!(*endpoint, self.broken, "{}", of("one proxy ejected something"));
        }
        for (model, count) in MODELS {
            let of_model = self.places.iter().filter(|(_, place)| place.model == model);
            let left: u32 = of_model.map(|(name, _)| self.records.get(name).map_or(1000, |record| record.weight_permille)).sum();
            assert!(2 * left as usize >= 1000 * count, "{}", of("too little is left"));
        }
        // A proxy that is cut off, or that lies, agrees with everything that is bad.
        let agreeing = self.hit + usize::from(matches!(self.odd, Odd::Partitioned | Odd::Liar));
        let can_go = !self.broken.starts_with("lab/one");
        let enough = self.hit >= 2 && 10 * self.hit >= 3 * self.proxies.len();
        let was_ejected = self.ejected_at.get(&self.broken).is_some_and(|at| *at >= BREAKS);
        if second == BREAKS + NOTICED && can_go && enough {
            assert!(was_ejected, "{}", of("not ejected"));
        }
        if agreeing < 2 || !can_go {
            assert!(!was_ejected, "{}", of("ejected by too few"));
        }
        if second >= HEALS + RECOVERED {
            assert!(self.records.is_empty(), "{}", of("not recovered"));
        }
        for record in self.records.values() {
            assert!(record.until_unix_ms - (START_MS + second * 1000) <= EJECTED_MS, "{}", of("for too long"));
        }
    }
}

impl Proxy {
    fn state(&self, number: usize, second: i64) -> ProxyState {
        let counts = self.totals.iter().map(|(endpoint, [good, bad])| EndpointCounts {
            endpoint: endpoint.clone(),
            counts: [(ErrorClass::None, *good), (ErrorClass::Connect, *bad)]
                .into_iter()
                .map(|(class, count)| ClassCount { class: class.into(), count })
                .collect(),
            open_breakers: self.breakers.get(endpoint).map_or(0, |breaker| u32::from(breaker.row >= 5)),
        });
        ProxyState {
            proxy: format!("p{number}"),
            process: self.process,
            connected: true,
            since_ms: u64::try_from((second - self.stream_since) * 1000).unwrap_or(0),
            counts: counts.collect(),
            ..ProxyState::default()
        }
    }
}

#[test]
fn no_seed_lets_one_proxy_decide_or_keeps_a_broken_endpoint() {
    for seed in 0..SEEDS {
        Simulation::new(seed).run();
    }
}
