//! The fleet: what every proxy has applied, also of proxies that are away.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use waybill_proto::sync::v1::Verdict;

use crate::session::Member;

/// A proxy that is away is forgotten after this, milliseconds.
const FORGET_MS: u64 = 60 * 60 * 1000;

/// Most proxies that are remembered while they are away.
const MAX_AWAY: usize = 1_000;

/// One proxy, as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyStatus {
    /// Its stable name.
    pub proxy: String,
    /// Random per process life.
    pub process: u64,
    /// The logs of the process.
    pub incarnations: Vec<u64>,
    /// Its build.
    pub build: String,
    /// It has an open stream.
    pub connected: bool,
    /// The revision in force there.
    pub applied_revision: u64,
    /// The deny epoch in force and on disk there.
    pub deny_epoch: u64,
    /// Seconds since it was last in step with the head; 0 = it is.
    pub stale_seconds: u64,
    /// Resources that are not in force there as they were sent.
    pub rejected: Vec<Verdict>,
    /// Resources that are in force there and will not serve as they are.
    pub warnings: Vec<Verdict>,
}

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
    left_ms: Option<u64>,
}

impl Fleet {
    pub fn new() -> Self {
        Self { proxies: Mutex::default(), version: watch::Sender::new(0) }
    }

    /// Takes what a session knows. A newer session of the same proxy has taken the place of this one for good.
    pub fn update(&self, session: u64, member: &Member) {
        let mut proxies = self.lock();
        match proxies.get_mut(&member.proxy) {
            Some(place) if place.session > session => return,
            Some(place) => *place = Place { session, member: member.clone(), left_ms: None },
            None => drop(proxies.insert(member.proxy.clone(), Place { session, member: member.clone(), left_ms: None })),
        }
        drop(proxies);
        self.version.send_modify(|version| *version += 1);
    }

    /// The session has ended.
    pub fn left(&self, session: u64, proxy: &str, now_ms: u64) {
        let mut proxies = self.lock();
        if let Some(place) = proxies.get_mut(proxy).filter(|place| place.session == session) {
            place.left_ms = Some(now_ms);
        }
        forget(&mut proxies, now_ms);
        drop(proxies);
        self.version.send_modify(|version| *version += 1);
    }

    /// All of them, by name.
    pub fn proxies(&self, now_ms: u64) -> Vec<ProxyStatus> {
        self.lock().values().map(|place| place.status(now_ms)).collect()
    }

    /// Follows every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// No code that holds the lock panics half-way through a change, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn status(&self, now_ms: u64) -> ProxyStatus {
        let (member, applied) = (&self.member, &self.member.applied);
        let in_step = applied.in_step && self.left_ms.is_none();
        // A proxy that left in step was so until it left.
        let last_ms = if applied.in_step { self.left_ms.unwrap_or(now_ms) } else { applied.in_step_ms };
        ProxyStatus {
            proxy: member.proxy.clone(),
            process: member.process,
            incarnations: member.incarnations.clone(),
            build: member.build.clone(),
            connected: self.left_ms.is_none(),
            applied_revision: applied.revision,
            deny_epoch: applied.deny_epoch,
            stale_seconds: if in_step { 0 } else { now_ms.saturating_sub(last_ms) / 1000 },
            rejected: applied.rejected.clone(),
            warnings: applied.warnings.clone(),
        }
    }
}

fn forget(proxies: &mut BTreeMap<String, Place>, now_ms: u64) {
    proxies.retain(|_, place| place.left_ms.is_none_or(|left_ms| now_ms.saturating_sub(left_ms) < FORGET_MS));
    let mut away: Vec<(u64, String)> = proxies.iter().filter_map(|(name, place)| Some((place.left_ms?, name.clone()))).collect();
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
        fleet.update(1, &member("p", true, 0));
        assert_eq!(seen(&fleet, 60_000), [("p".to_owned(), true, 0)]);
        fleet.update(1, &member("p", false, 60_000));
        assert_eq!(seen(&fleet, 63_000), [("p".to_owned(), true, 3)]);
        fleet.update(1, &member("p", true, 64_000));
        fleet.left(1, "p", 70_000);
        assert_eq!(seen(&fleet, 75_999), [("p".to_owned(), false, 5)]);
    }

    #[test]
    fn an_older_session_of_the_same_proxy_is_not_heard_any_more() {
        let fleet = Fleet::new();
        fleet.update(2, &member("p", true, 0));
        fleet.update(1, &member("p", false, 0));
        fleet.left(1, "p", 1_000);
        assert_eq!(seen(&fleet, 9_000), [("p".to_owned(), true, 0)]);
    }

    #[test]
    fn proxies_that_are_away_are_forgotten_by_age_and_by_number() {
        let fleet = Fleet::new();
        for number in 0..MAX_AWAY as u64 + 5 {
            fleet.update(number, &member(&format!("p{number:05}"), true, 0));
        }
        for number in 0..MAX_AWAY as u64 + 3 {
            fleet.left(number, &format!("p{number:05}"), number);
        }
        let names: Vec<String> = fleet.proxies(2_000).into_iter().map(|proxy| proxy.proxy).collect();
        assert_eq!((names.len(), names.first().map(String::as_str)), (MAX_AWAY + 2, Some("p00003")));
        fleet.left(0, "p00000", FORGET_MS + 5_000);
        assert_eq!(fleet.proxies(FORGET_MS + 5_000).len(), 2);
    }
}
