//! What the fleet knows of the endpoints' health, and until when it holds. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use waybill_proto::sync::v1::{Advice, EndpointHealth};

/// Advice holds no longer than this, whatever it says.
const LONGEST: Duration = Duration::from_secs(300);

/// Thousandths: the whole.
const WHOLE: u32 = 1_000;

/// Advice with its end. The default advises nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advised {
    endpoints: HashMap<Box<str>, EndpointHealth>,
    until: Option<Instant>,
}

impl Advised {
    /// Advice that has come now.
    #[must_use]
    pub fn new(advice: Advice, now: Instant) -> Self {
        let ttl = Duration::from_millis(advice.ttl_ms).min(LONGEST);
        let endpoints = advice.endpoints.into_iter().map(|health| (health.endpoint.as_str().into(), health)).collect();
        Self { endpoints, until: Some(now + ttl) }
    }

    /// It holds at this time. When it does not, a proxy has its own breakers only.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// What is advised of an endpoint at this time; `None` = nothing, so it is healthy as far as the fleet knows.
    #[must_use]
    pub fn of(&self, endpoint: &str, now: Instant) -> Option<&EndpointHealth> {
        self.endpoints.get(endpoint).filter(|_| self.holds(now))
    }

    /// The share of its traffic that an endpoint should get at this time, in thousandths.
    #[must_use]
    pub fn weight_permille(&self, endpoint: &str, now: Instant) -> u32 {
        self.of(endpoint, now).map_or(WHOLE, |health| health.weight_permille.min(WHOLE))
    }

    /// Everything that is advised at this time, by endpoint.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = &EndpointHealth> {
        self.endpoints.values().filter(move |_| self.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_holds_until_it_expires_and_what_it_does_not_name_is_healthy() {
        let now = Instant::now();
        let health = EndpointHealth { endpoint: "e".to_owned(), weight_permille: 100, ..EndpointHealth::default() };
        let advised = Advised::new(Advice { endpoints: vec![health], ttl_ms: 30_000 }, now);
        let rows = [("e", 0, 100), ("e", 29_999, 100), ("e", 30_000, 1_000), ("other", 0, 1_000)];
        for (endpoint, after_ms, weight) in rows {
            assert_eq!(advised.weight_permille(endpoint, now + Duration::from_millis(after_ms)), weight, "{endpoint} {after_ms}");
        }
        assert_eq!((advised.all(now).count(), advised.all(now + LONGEST).count()), (1, 0));
        let endless = Advised::new(Advice { ttl_ms: u64::MAX, ..Advice::default() }, now);
        assert!(endless.holds(now) && !endless.holds(now + LONGEST) && !Advised::default().holds(now));
    }
}
