//! The breakers of one worker thread.

use std::collections::BTreeMap;

use waybill_model::snapshot::Snapshot;

use crate::breaker::{Breaker, Outcome};

/// The health of the endpoints as one worker thread sees it. By name, so that it outlives the snapshot it was seen in; an endpoint of which
/// nothing bad is known takes no room, so that asking costs nothing on a good day.
#[derive(Clone, Debug, Default)]
pub struct Health {
    breakers: BTreeMap<Box<str>, Breaker>,
}

impl Health {
    /// Nothing bad is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a request may go to the endpoint now.
    #[must_use]
    pub fn admits(&self, endpoint: &str, now_unix_ms: i64) -> bool {
        self.breakers.is_empty() || self.breakers.get(endpoint).is_none_or(|breaker| breaker.admits(now_unix_ms))
    }

    /// A request leaves for the endpoint. Every start needs its [`Self::ended`].
    pub fn started(&mut self, endpoint: &str, now_unix_ms: i64) {
        if let Some(breaker) = self.breakers.get_mut(endpoint) {
            *breaker = breaker.started(now_unix_ms);
        }
    }

    /// A request to the endpoint ended.
    pub fn ended(&mut self, endpoint: &str, outcome: Outcome, now_unix_ms: i64, seed: u64) {
        let known = self.breakers.get(endpoint).copied();
        let next = known.unwrap_or_default().ended(outcome, now_unix_ms, seed);
        match (known, next.is_clean(now_unix_ms)) {
            (None, true) => {}
            (Some(_), true) => drop(self.breakers.remove(endpoint)),
            (Some(_), false) => drop(self.breakers.get_mut(endpoint).map(|breaker| *breaker = next)),
            (None, false) => drop(self.breakers.insert(endpoint.into(), next)),
        }
    }

    /// Endpoints of which something bad is known, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Breaker)> {
        self.breakers.iter().map(|(name, breaker)| (&**name, breaker))
    }

    /// Forgets endpoints that a snapshot no longer has; for when it is swapped in.
    pub fn keep_of(&mut self, snapshot: &Snapshot) {
        if !self.breakers.is_empty() {
            let names: std::collections::BTreeSet<&str> = snapshot.endpoints().iter().map(|endpoint| &*endpoint.name).collect();
            self.breakers.retain(|name, _| names.contains(&**name));
        }
    }
}
