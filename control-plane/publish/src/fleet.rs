//! The fleet: what every proxy has applied, also of proxies that are away.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use waybill_proto::sync::v1::{ClassCount, EndpointCounts, HealthCounts, ProxyState, SpoolReport};

use crate::session::Member;

/// A proxy that is away is forgotten after this, milliseconds.
const FORGET_MS: u64 = 60 * 60 * 1000;

/// Most proxies that are remembered while they are away.
const MAX_AWAY: usize = 1_000;

/// Most endpoints of which a proxy's counts are kept; what it counts beyond is left out.
const MAX_ENDPOINTS: usize = 50_000;

/// All proxies by name.
#[derive(Debug)]
pub(crate) struct Fleet {
    proxies: Mutex<BTreeMap<String, Place>>,
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Place {
    session: u64,
    member: Member,
    /// It has a session since then, or none since then.
    since_ms: u64,
    connected: bool,
    told: Told,
}

/// What a proxy told besides its configuration, in one process life.
#[derive(Debug, Default)]
struct Told {
    counts: BTreeMap<String, Counted>,
    spool: Option<SpoolReport>,
}

/// What was counted at one endpoint, by error class.
#[derive(Debug, Default)]
struct Counted {
    classes: BTreeMap<i32, u64>,
    open_breakers: u32,
}

impl Fleet {
    pub fn new() -> Self {
        Self { proxies: Mutex::default(), version: watch::Sender::new(0) }
    }

    /// Takes what a session knows. A newer session of the same proxy has taken the place of this one for good.
    pub fn update(&self, session: u64, member: &Member, now_ms: u64) {
        let mut proxies = self.lock();
        match proxies.get_mut(&member.proxy) {
            Some(place) if place.session > session || (place.connected && place.session == session && place.member == *member) => return,
            Some(place) => place.take(session, member, now_ms),
            None => {
                let place = Place { session, member: member.clone(), since_ms: now_ms, connected: true, told: Told::default() };
                proxies.insert(member.proxy.clone(), place);
            }
        }
        drop(proxies);
        self.version.send_modify(|version| *version += 1);
    }

    /// Adds what a proxy counted.
    pub fn count(&self, session: u64, proxy: &str, counts: HealthCounts) {
        let mut proxies = self.lock();
        if let Some(place) = proxies.get_mut(proxy).filter(|place| place.session == session) {
            counts.endpoints.into_iter().for_each(|endpoint| place.told.count(endpoint));
        }
    }

    /// Takes what a proxy says of its spool.
    pub fn spool(&self, session: u64, proxy: &str, report: SpoolReport) {
        let mut proxies = self.lock();
        if let Some(place) = proxies.get_mut(proxy).filter(|place| place.session == session) {
            place.told.spool = Some(report);
        }
    }

    /// The session has ended.
    pub fn left(&self, session: u64, proxy: &str, now_ms: u64) {
        let mut proxies = self.lock();
        if let Some(place) = proxies.get_mut(proxy).filter(|place| place.session == session) {
            (place.connected, place.since_ms) = (false, now_ms);
        }
        forget(&mut proxies, now_ms);
        drop(proxies);
        self.version.send_modify(|version| *version += 1);
    }

    /// All of them, by name.
    pub fn proxies(&self, now_ms: u64) -> Vec<ProxyState> {
        self.lock().values().map(|place| place.state(now_ms)).collect()
    }

    /// How many are connected.
    pub fn connected(&self) -> usize {
        self.lock().values().filter(|place| place.connected).count()
    }

    /// Every connected proxy is at the revision or beyond.
    pub fn has_applied(&self, revision: u64) -> bool {
        self.lock().values().all(|place| !place.connected || place.member.applied.revision >= revision)
    }

    /// Follows every change of who is there and what is applied.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// No code that holds the lock panics half-way through a change, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn take(&mut self, session: u64, member: &Member, now_ms: u64) {
        if self.member.process != member.process {
            self.told = Told::default();
        }
        if self.session != session || !self.connected {
            (self.session, self.since_ms, self.connected) = (session, now_ms, true);
        }
        self.member = member.clone();
    }

    fn state(&self, now_ms: u64) -> ProxyState {
        let (member, applied) = (&self.member, &self.member.applied);
        let in_step = applied.in_step && self.connected;
        let left_ms = if self.connected { now_ms } else { self.since_ms };
        // A proxy that left in step was so until it left.
        let last_ms = if applied.in_step { left_ms } else { applied.in_step_ms };
        ProxyState {
            proxy: member.proxy.clone(),
            process: member.process,
            build: member.build.clone(),
            applied_revision: applied.revision,
            deny_epoch: applied.deny_epoch,
            stale_seconds: if in_step { 0 } else { now_ms.saturating_sub(last_ms) / 1000 },
            rejected: applied.rejected.clone(),
            warnings: applied.warnings.clone(),
            connected: self.connected,
            since_ms: now_ms.saturating_sub(self.since_ms),
            counts: self.told.counts.iter().map(|(endpoint, counted)| counted.shown(endpoint)).collect(),
            spool: self.told.spool.clone(),
        }
    }
}

impl Told {
    fn count(&mut self, delta: EndpointCounts) {
        if self.counts.len() >= MAX_ENDPOINTS && !self.counts.contains_key(&delta.endpoint) {
            return;
        }
        let counted = self.counts.entry(delta.endpoint).or_default();
        counted.open_breakers = delta.open_breakers;
        for ClassCount { class, count } in delta.counts {
            let total = counted.classes.entry(class).or_default();
            *total = total.saturating_add(count);
        }
    }
}

impl Counted {
    fn shown(&self, endpoint: &str) -> EndpointCounts {
        EndpointCounts {
            endpoint: endpoint.to_owned(),
            counts: self.classes.iter().map(|(class, count)| ClassCount { class: *class, count: *count }).collect(),
            open_breakers: self.open_breakers,
        }
    }
}

fn forget(proxies: &mut BTreeMap<String, Place>, now_ms: u64) {
    proxies.retain(|_, place| place.connected || now_ms.saturating_sub(place.since_ms) < FORGET_MS);
    let mut away: Vec<(u64, String)> =
        proxies.iter().filter(|(_, place)| !place.connected).map(|(name, place)| (place.since_ms, name.clone())).collect();
    away.sort_unstable();
    for (_, name) in away.iter().take(away.len().saturating_sub(MAX_AWAY)) {
        proxies.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use waybill_proto::sync::v1::Hello;

    use super::*;

    fn member(proxy: &str, in_step: bool, at_ms: u64) -> Member {
        let mut member = Member::of_test(Hello { proxy: proxy.to_owned(), ..Hello::default() });
        member.applied.in_step = in_step;
        member.applied.in_step_ms = at_ms;
        member
    }

    fn seen(fleet: &Fleet, now_ms: u64) -> Vec<(String, bool, u64)> {
        fleet.proxies(now_ms).into_iter().map(|proxy| (proxy.proxy, proxy.connected, proxy.stale_seconds)).collect()
    }

    #[test]
    fn staleness_counts_from_the_last_time_in_step() {
        let fleet = Fleet::new();
        fleet.update(1, &member("p", true, 0), 0);
        assert_eq!(seen(&fleet, 60_000), [("p".to_owned(), true, 0)]);
        fleet.update(1, &member("p", false, 60_000), 60_000);
        assert_eq!(seen(&fleet, 63_000), [("p".to_owned(), true, 3)]);
        fleet.update(1, &member("p", true, 64_000), 64_000);
        fleet.left(1, "p", 70_000);
        assert_eq!(seen(&fleet, 75_999), [("p".to_owned(), false, 5)]);
    }

    #[test]
    fn an_older_session_of_the_same_proxy_is_not_heard_any_more() {
        let fleet = Fleet::new();
        fleet.update(2, &member("p", true, 0), 0);
        fleet.update(1, &member("p", false, 0), 0);
        fleet.left(1, "p", 1_000);
        assert_eq!(seen(&fleet, 9_000), [("p".to_owned(), true, 0)]);
    }

    #[test]
    fn proxies_that_are_away_are_forgotten_by_age_and_by_number() {
        let fleet = Fleet::new();
        for number in 0..MAX_AWAY as u64 + 5 {
            fleet.update(number, &member(&format!("p{number:05}"), true, 0), 0);
        }
        for number in 0..MAX_AWAY as u64 + 3 {
            fleet.left(number, &format!("p{number:05}"), number);
        }
        let names: Vec<String> = fleet.proxies(2_000).into_iter().map(|proxy| proxy.proxy).collect();
        assert_eq!((names.len(), names.first().map(String::as_str)), (MAX_AWAY + 2, Some("p00003")));
        fleet.left(0, "p00000", FORGET_MS + 5_000);
        assert_eq!(fleet.proxies(FORGET_MS + 5_000).len(), 2);
    }

    fn counts(endpoint: &str, class: i32, count: u64) -> HealthCounts {
        let counts = vec![ClassCount { class, count }];
        HealthCounts { endpoints: vec![EndpointCounts { endpoint: endpoint.to_owned(), counts, open_breakers: 1 }] }
    }

    #[test]
    fn counts_add_up_over_the_sessions_of_one_process_and_begin_anew_with_the_next() {
        let fleet = Fleet::new();
        let total = || fleet.proxies(0)[0].counts.iter().flat_map(|endpoint| &endpoint.counts).map(|count| count.count).sum::<u64>();
        let of = |process| {
            let mut member = member("p", true, 0);
            member.process = process;
            member
        };
        fleet.update(1, &of(7), 0);
        fleet.count(1, "p", counts("e", 1, 5));
        fleet.update(2, &of(7), 0);
        fleet.count(2, "p", counts("e", 1, 2));
        // A session that another took the place of is not heard any more.
        fleet.count(1, "p", counts("e", 1, 100));
        fleet.spool(2, "p", SpoolReport { spool_bytes: 9, ..SpoolReport::default() });
        assert_eq!((total(), fleet.proxies(0)[0].spool.as_ref().map(|spool| spool.spool_bytes)), (7, Some(9)));
        fleet.update(3, &of(8), 0);
        assert_eq!((total(), fleet.proxies(0)[0].spool.clone()), (0, None));
        assert_eq!((fleet.connected(), fleet.has_applied(0), fleet.has_applied(1)), (1, true, false));
    }
}
