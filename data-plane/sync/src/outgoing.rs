//! What the rooms of a proxy have to say to the control plane besides its configuration: what they counted, how their spool stands.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use waybill_proto::sync::v1::{ClassCount, EndpointCounts, HealthCounts, SpoolReport, connect_request::Message};

/// Most endpoints whose counts wait; what is counted beyond is left out. Advice about health is help, never a promise.
const MAX_ENDPOINTS: usize = 50_000;

/// A handle to say it by. Cheap to clone; saying never waits.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    counts: BTreeMap<String, EndpointCounts>,
    spool: Option<SpoolReport>,
}

impl Outgoing {
    /// Says what was counted since the last time. While there is no stream it is forgotten: old counts would pass for new ones.
    pub fn report_health(&self, counts: HealthCounts) {
        let mut waiting = self.lock();
        for endpoint in counts.endpoints {
            if waiting.counts.len() < MAX_ENDPOINTS || waiting.counts.contains_key(&endpoint.endpoint) {
                let sum = waiting.counts.entry(endpoint.endpoint.clone()).or_default();
                *sum = added(std::mem::take(sum), endpoint);
            }
        }
        drop(waiting);
        self.shared.bell.notify_one();
    }

    /// Says how the spool stands. Only the newest counts, and it waits for the next stream.
    pub fn report_spool(&self, report: SpoolReport) {
        self.lock().spool = Some(report);
        self.shared.bell.notify_one();
    }

    /// Waits until there may be something to say.
    pub(crate) async fn rung(&self) {
        self.shared.bell.notified().await;
    }

    /// What waits to be said.
    pub(crate) fn take(&self) -> Vec<Message> {
        let Waiting { counts, spool } = std::mem::take(&mut *self.lock());
        let counts = (!counts.is_empty()).then(|| Message::Health(HealthCounts { endpoints: counts.into_values().collect() }));
        counts.into_iter().chain(spool.map(Message::Spool)).collect()
    }

    /// A stream begins: what was counted before is old.
    pub(crate) fn forget_counts(&self) {
        self.lock().counts.clear();
        self.shared.bell.notify_one();
    }

    /// No code that holds the lock panics half-way through a change, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn added(sum: EndpointCounts, more: EndpointCounts) -> EndpointCounts {
    let mut classes: BTreeMap<i32, u64> = BTreeMap::new();
    for ClassCount { class, count } in sum.counts.into_iter().chain(more.counts) {
        let total = classes.entry(class).or_default();
        *total = total.saturating_add(count);
    }
    let counts = classes.into_iter().map(|(class, count)| ClassCount { class, count }).collect();
    EndpointCounts { endpoint: more.endpoint, counts, open_breakers: more.open_breakers }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(endpoint: &str, counts: &[(i32, u64)], open_breakers: u32) -> HealthCounts {
        let counts = counts.iter().map(|(class, count)| ClassCount { class: *class, count: *count }).collect();
        HealthCounts { endpoints: vec![EndpointCounts { endpoint: endpoint.to_owned(), counts, open_breakers }] }
    }

    #[test]
    fn what_waits_is_added_up_and_of_the_spool_the_newest_is_said() {
        let outgoing = Outgoing::default();
        outgoing.report_health(counts("e", &[(1, 2), (3, 1)], 0));
        outgoing.report_health(counts("e", &[(3, 4)], 2));
        outgoing.report_spool(SpoolReport { spool_bytes: 1, ..SpoolReport::default() });
        outgoing.report_spool(SpoolReport { spool_bytes: 2, ..SpoolReport::default() });
        let spool = Message::Spool(SpoolReport { spool_bytes: 2, ..SpoolReport::default() });
        assert_eq!(outgoing.take(), [Message::Health(counts("e", &[(1, 2), (3, 5)], 2)), spool]);
        assert_eq!(outgoing.take(), []);
    }

    #[test]
    fn counts_of_before_a_stream_are_not_said_on_it() {
        let outgoing = Outgoing::default();
        outgoing.report_health(counts("e", &[(1, 2)], 0));
        outgoing.report_spool(SpoolReport::default());
        outgoing.forget_counts();
        assert_eq!(outgoing.take(), [Message::Spool(SpoolReport::default())]);
    }
}
