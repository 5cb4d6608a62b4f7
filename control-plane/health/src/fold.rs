//! What all proxies counted: from the totals that each of them has reached to counts of the last minute.

use std::collections::BTreeMap;

use waybill_proto::{
    admin::v1::EndpointHealthRow,
    sync::v1::{ClassCount, EndpointCounts, ErrorClass, ProxyState},
};

use crate::{
    classes::{CLASSES, Says, says},
    places::Places,
    verdict::{Report, Tally, Verdict, judge},
    window::{STEP_MS, Span, Sum, Window},
};

/// Counts by number of the class.
pub type ByClass = [u64; CLASSES];

impl Sum for ByClass {
    fn plus(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self
    }
}

/// The counts of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    /// By name of the proxy.
    proxies: BTreeMap<String, Process>,
    endpoints: BTreeMap<String, Seen>,
    /// By account: success, and refused credentials.
    accounts: BTreeMap<String, Reporters>,
}

/// What one process of a proxy has reached.
#[derive(Clone, Debug, Default)]
struct Process {
    process: u64,
    seen_ms: i64,
    totals: BTreeMap<String, ByClass>,
    open_breakers: BTreeMap<String, u32>,
}

/// By name of the proxy.
type Reporters = BTreeMap<String, Window<Tally>>;

#[derive(Clone, Debug, Default)]
struct Seen {
    /// Since the last transition.
    reporters: Reporters,
    /// For people: the last minute, whatever was decided in it.
    classes: Window<ByClass>,
    counting: BTreeMap<String, i64>,
}

impl Fold {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the states of all proxies, as they are now (milliseconds since 1970). A total is counted by what it grew; the first total of a stream
    /// is where counting begins, unless the process is new as well: then all of it is fresh.
    pub fn observe(&mut self, states: &[ProxyState], places: &Places, now_ms: i64) {
        let mut proxies = std::mem::take(&mut self.proxies);
        for state in states {
            if !state.connected {
                // Its process is remembered, so that it does not pass for a new one when it comes back.
                let away = Process { process: state.process, seen_ms: i64::MIN, ..Process::default() };
                self.proxies.insert(state.proxy.clone(), away);
                continue;
            }
            let since_ms = i64::try_from(state.since_ms).unwrap_or(i64::MAX);
            let known = proxies.remove(&state.proxy);
            let same_stream = |known: &Process| known.process == state.process && now_ms.saturating_sub(since_ms) <= known.seen_ms;
            let before = match &known {
                Some(known) if same_stream(known) => Some(&known.totals),
                Some(known) if known.process == state.process => None,
                _ if since_ms <= STEP_MS => Some(const { &BTreeMap::new() }),
                _ => None,
            };
            let mut next = Process { process: state.process, seen_ms: now_ms, ..Process::default() };
            for counts in &state.counts {
                let total = by_class(&counts.counts);
                if let Some(before) = before {
                    let grown = grown(before.get(&counts.endpoint).unwrap_or(&[0; CLASSES]), &total);
                    self.count(&state.proxy, counts, grown, places, now_ms);
                }
                next.totals.insert(counts.endpoint.clone(), total);
                if counts.open_breakers > 0 {
                    next.open_breakers.insert(counts.endpoint.clone(), counts.open_breakers);
                }
            }
            self.proxies.insert(state.proxy.clone(), next);
        }
        self.forget_old(now_ms);
    }

    fn count(&mut self, proxy: &str, counts: &EndpointCounts, grown: ByClass, places: &Places, now_ms: i64) {
        let (tally, refused) = tally(&grown);
        if grown.iter().all(|count| *count == 0) {
            return;
        }
        let seen = self.endpoints.entry(counts.endpoint.clone()).or_default();
        seen.classes.add(grown, now_ms);
        seen.counting.insert(proxy.to_owned(), now_ms);
        if tally.all() == 0 {
            return;
        }
        seen.reporters.entry(proxy.to_owned()).or_default().add(tally, now_ms);
        if let Some(place) = places.get(&counts.endpoint) {
            let account = self.accounts.entry(place.account.clone()).or_default();
            account.entry(proxy.to_owned()).or_default().add(Tally { good: tally.good, bad: refused }, now_ms);
        }
    }

    /// What is over a minute old says nothing any more.
    fn forget_old(&mut self, now_ms: i64) {
        let keep = |reporters: &mut Reporters| reporters.retain(|_, window| !window.is_over(now_ms));
        self.endpoints.retain(|_, seen| {
            keep(&mut seen.reporters);
            seen.counting.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < 12 * STEP_MS);
            !seen.classes.is_over(now_ms)
        });
        self.accounts.retain(|_, reporters| {
            keep(reporters);
            !reporters.is_empty()
        });
    }

    /// A transition of the endpoint: what was counted before says nothing of what comes.
    pub fn forget(&mut self, endpoint: &str, places: &Places) {
        if let Some(seen) = self.endpoints.get_mut(endpoint) {
            seen.reporters.clear();
        }
        if let Some(place) = places.get(endpoint) {
            self.accounts.remove(&place.account);
        }
    }

    /// What the reporters of an endpoint say together: of the short window if that is bad, else of the minute.
    #[must_use]
    pub fn verdict(&self, endpoint: &str, now_ms: i64) -> Verdict {
        let open = |proxy: &str| self.proxies.get(proxy).is_some_and(|process| process.open_breakers.contains_key(endpoint));
        self.endpoints.get(endpoint).map_or_else(Verdict::default, |seen| worse(&seen.reporters, open, now_ms))
    }

    /// The same of the credential of an account.
    #[must_use]
    pub fn verdict_of_account(&self, account: &str, now_ms: i64) -> Verdict {
        self.accounts.get(account).map_or_else(Verdict::default, |reporters| worse(reporters, |_| false, now_ms))
    }

    /// The last minute of an endpoint by class, those that were counted alone.
    #[must_use]
    pub fn last_minute(&self, endpoint: &str, now_ms: i64) -> Vec<ClassCount> {
        let Some(seen) = self.endpoints.get(endpoint) else { return Vec::new() };
        let sums = seen.classes.sum(Span::Minute, now_ms);
        let counted = sums.iter().zip(0..).filter(|(count, _)| **count > 0);
        counted.map(|(count, class)| ClassCount { class, count: *count }).collect()
    }

    /// An endpoint, for people.
    #[must_use]
    pub fn row(&self, endpoint: &str, places: &Places, now_ms: i64) -> EndpointHealthRow {
        let place = places.get(endpoint);
        let open = self.proxies.values().filter(|process| process.open_breakers.contains_key(endpoint)).count();
        let reporters = self.endpoints.get(endpoint).map_or(0, |seen| seen.counting.len());
        EndpointHealthRow {
            endpoint: endpoint.to_owned(),
            model: place.map(|place| place.model.clone()).unwrap_or_default(),
            provider: place.map(|place| place.provider.clone()).unwrap_or_default(),
            advice: None,
            last_minute: self.last_minute(endpoint, now_ms),
            reporters: u32::try_from(reporters).unwrap_or(u32::MAX),
            open_breakers: u32::try_from(open).unwrap_or(u32::MAX),
        }
    }

    /// Endpoints of which something is known, by name; some may come twice.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        let open = self.proxies.values().flat_map(|process| process.open_breakers.keys());
        self.endpoints.keys().chain(open).map(String::as_str)
    }
}

fn worse(reporters: &Reporters, open: impl Fn(&str) -> bool, now_ms: i64) -> Verdict {
    let of = |span| judge(reporters.iter().map(|(proxy, window)| Report { tally: window.sum(span, now_ms), open: open(proxy) }));
    let short = of(Span::Short);
    if short.is_bad { short } else { of(Span::Minute) }
}

fn by_class(counts: &[ClassCount]) -> ByClass {
    let mut by_class = [0; CLASSES];
    for count in counts {
        if let Some(sum) = usize::try_from(count.class).ok().and_then(|class| by_class.get_mut(class)) {
            *sum = count.count;
        }
    }
    by_class
}

/// A total that shrank has begun anew somewhere: where it stands now is where counting begins.
fn grown(before: &ByClass, now: &ByClass) -> ByClass {
    if before.iter().zip(now).any(|(before, now)| now < before) {
        return [0; CLASSES];
    }
    std::array::from_fn(|class| match (now.get(class), before.get(class)) {
        (Some(now), Some(before)) => now - before,
        _ => 0,
    })
}

/// What says something of the endpoint, and the refused credentials among it.
fn tally(counts: &ByClass) -> (Tally, u64) {
    let mut tally = Tally::default();
    let mut refused = 0;
    for (count, number) in counts.iter().zip(0..) {
        let class = ErrorClass::try_from(number).unwrap_or(ErrorClass::Unspecified);
        match says(class) {
            Says::Good => tally.good = tally.good.saturating_add(*count),
            Says::Bad => tally.bad = tally.bad.saturating_add(*count),
            Says::Nothing => {}
        }
        if class == ErrorClass::Credential {
            refused = *count;
        }
    }
    (tally, refused)
}

#[cfg(test)]
mod tests;
