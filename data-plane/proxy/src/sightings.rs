//! What the workers of a proxy have seen of each endpoint. Each hands its counts over once a second; the lock is never taken for a request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use waybill_proto::sync::v1::{ClassCount, EndpointCounts, ErrorClass, HealthCounts};

use crate::uptime::{Span, Uptime};

/// See the module.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// By endpoint and class, since they were taken last.
    counts: BTreeMap<String, BTreeMap<i32, u64>>,
    /// By worker: the endpoints whose breaker is open there.
    open: BTreeMap<u32, BTreeSet<String>>,
    /// Endpoints that were said to have open breakers: when none is open any more, that is said as well.
    told: BTreeSet<String>,
    uptimes: BTreeMap<String, Uptime>,
}

impl Sightings {
    /// Takes what a worker counted, and which of its breakers are open now.
    pub(crate) fn add(&self, worker: u32, counted: Vec<EndpointCounts>, now_unix_ms: i64) {
        let mut seen = self.lock();
        let open = counted.iter().filter(|counts| counts.open_breakers > 0).map(|counts| counts.endpoint.clone()).collect();
        seen.open.insert(worker, open);
        for EndpointCounts { endpoint, counts, .. } in counted {
            let uptime = seen.uptimes.entry(endpoint.clone()).or_default();
            for count in &counts {
                match count.class() {
                    ErrorClass::None => uptime.note(count.count, 0, now_unix_ms),
                    ErrorClass::RateLimited | ErrorClass::Caller => {}
                    _ => uptime.note(0, count.count, now_unix_ms),
                }
            }
            let sums = seen.counts.entry(endpoint).or_default();
            for count in counts {
                *sums.entry(count.class).or_default() += count.count;
            }
        }
    }

    /// What the workers counted since the last time, and how many of their breakers are open: endpoints with ended attempts, with open breakers, or
    /// whose last one has closed. What a proxy reports to the control plane once a second; nothing where there is nothing new.
    #[must_use]
    pub fn take(&self) -> HealthCounts {
        let mut seen = self.lock();
        let mut counts = std::mem::take(&mut seen.counts);
        let mut open: BTreeMap<String, u32> = BTreeMap::new();
        for endpoint in seen.open.values().flatten() {
            *open.entry(endpoint.clone()).or_default() += 1;
        }
        let told = std::mem::replace(&mut seen.told, open.keys().cloned().collect());
        for endpoint in told.into_iter().chain(open.keys().cloned()) {
            counts.entry(endpoint).or_default();
        }
        drop(seen);
        let endpoints = counts.into_iter().map(|(endpoint, counts)| EndpointCounts {
            open_breakers: open.get(&endpoint).copied().unwrap_or(0),
            counts: counts.into_iter().filter(|(_, count)| *count > 0).map(|(class, count)| ClassCount { class, count }).collect(),
            endpoint,
        });
        HealthCounts { endpoints: endpoints.collect() }
    }

    /// Shares of good attempts at an endpoint within the spans, in hundredths of a percent; none where too little was seen.
    pub(crate) fn uptimes<const N: usize>(&self, endpoint: &str, spans: [Span; N], now_unix_ms: i64) -> [Option<u32>; N] {
        let seen = self.lock();
        spans.map(|span| seen.uptimes.get(endpoint)?.within(span, now_unix_ms))
    }

    /// No code that holds the lock panics half-way through a change, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(endpoint: &str, counts: &[(ErrorClass, u64)], open_breakers: u32) -> EndpointCounts {
        let counts = counts.iter().map(|(class, count)| ClassCount { class: (*class).into(), count: *count }).collect();
        EndpointCounts { endpoint: endpoint.to_owned(), counts, open_breakers }
    }

    #[test]
    fn counts_of_all_workers_are_added_up_and_taken_once() {
        let sightings = Sightings::default();
        sightings.add(0, vec![counted("m@a", &[(ErrorClass::None, 3), (ErrorClass::Server, 1)], 0), counted("m@b", &[], 1)], 0);
        sightings.add(1, vec![counted("m@a", &[(ErrorClass::None, 4)], 0), counted("m@b", &[(ErrorClass::Cut, 5)], 1)], 0);
        sightings.add(0, vec![counted("m@a", &[(ErrorClass::None, 1)], 0), counted("m@b", &[], 1)], 1_000);
        let a = counted("m@a", &[(ErrorClass::None, 8), (ErrorClass::Server, 1)], 0);
        assert_eq!(sightings.take().endpoints, [a, counted("m@b", &[(ErrorClass::Cut, 5)], 2)]);
        assert_eq!(sightings.take().endpoints, [counted("m@b", &[], 2)], "open breakers are said each time");
        sightings.add(0, vec![], 2_000);
        assert_eq!(sightings.take().endpoints, [counted("m@b", &[], 1)]);
        sightings.add(1, vec![], 2_000);
        assert_eq!(sightings.take().endpoints, [counted("m@b", &[], 0)], "and once that none is open any more");
        assert_eq!(sightings.take().endpoints, []);
    }

    #[test]
    fn what_a_caller_or_a_limit_caused_is_no_downtime() {
        let sightings = Sightings::default();
        let counts = [(ErrorClass::None, 8), (ErrorClass::Caller, 50), (ErrorClass::RateLimited, 50), (ErrorClass::Credential, 2)];
        sightings.add(0, vec![counted("m@a", &counts, 0)], 0);
        assert_eq!(sightings.uptimes("m@a", [Span::Minutes5], 0), [Some(8_000)]);
        assert_eq!(sightings.uptimes("m@b", [Span::Minutes5], 0), [None]);
    }
}
