//! What the fleet knows of the endpoints' health, as one proxy follows it until it expires.

use std::{collections::BTreeMap, fmt};

use waybill_proto::sync::v1::{EndpointHealth, ErrorClass};

use crate::breaker::WHOLE_PERMILLE;

/// No advice is followed for longer than this after it has come, whatever its sender says.
pub const LONGEST_ADVICE_MS: i64 = 120_000;

/// The share of a model's capacity below which advice about it is not followed (Envoy's default panic threshold, 50 %): when most of what could
/// answer is said to be bad, trying is better than believing.
pub const PANIC_PERMILLE: u64 = 500;

/// Why the fleet left an endpoint out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ejected {
    /// The share that is left to it, in thousandths.
    pub weight_permille: u16,
    /// What most of its failures were.
    pub class: ErrorClass,
    /// Proxies that saw it fail.
    pub agreeing: u32,
    /// Proxies that used it.
    pub reporters: u32,
}

/// The end of the sentence "this endpoint …".
impl fmt::Display for Ejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class.as_str_name().trim_start_matches("ERROR_CLASS_").to_ascii_lowercase();
        let Self { agreeing, reporters, .. } = self;
        write!(formatter, "is ejected for the whole fleet: failures mostly of class `{class}`, seen by {agreeing} of {reporters} proxies")
    }
}

/// Advice on those endpoints that are not healthy.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    endpoints: BTreeMap<Box<str>, Ejected>,
    until_unix_ms: i64,
}

impl Advice {
    /// What was said, and until when it holds (milliseconds since 1970).
    #[must_use]
    pub fn new(said: &[EndpointHealth], until_unix_ms: i64) -> Self {
        let unhealthy = said.iter().filter(|health| health.weight_permille < u32::from(WHOLE_PERMILLE));
        let endpoints = unhealthy.map(|health| (health.endpoint.as_str().into(), ejected(health)));
        Self { endpoints: endpoints.collect(), until_unix_ms }
    }

    /// It is to be followed: it names an endpoint, and it has not expired.
    #[must_use]
    pub fn holds(&self, now_unix_ms: i64) -> bool {
        let left_ms = self.until_unix_ms.saturating_sub(now_unix_ms);
        !self.endpoints.is_empty() && left_ms > 0 && left_ms <= LONGEST_ADVICE_MS
    }

    /// What it says of an endpoint; nothing = it is healthy.
    #[must_use]
    pub fn of(&self, endpoint: &str) -> Option<Ejected> {
        self.endpoints.get(endpoint).copied()
    }

    /// Too little would be left of these endpoints together if it was followed.
    pub(crate) fn panics<'a>(&self, endpoints: impl Iterator<Item = &'a str>) -> bool {
        let weights = endpoints.map(|endpoint| u64::from(self.of(endpoint).map_or(WHOLE_PERMILLE, |ejected| ejected.weight_permille)));
        let (left, count) = weights.fold((0, 0_u64), |(left, count), weight| (left + weight, count + 1));
        left < count * PANIC_PERMILLE
    }
}

fn ejected(health: &EndpointHealth) -> Ejected {
    let worst = health.causes.iter().filter(|cause| cause.class() != ErrorClass::None).max_by_key(|cause| cause.count);
    Ejected {
        weight_permille: u16::try_from(health.weight_permille).unwrap_or(WHOLE_PERMILLE),
        class: worst.map_or(ErrorClass::Unspecified, |cause| cause.class()),
        agreeing: health.agreeing,
        reporters: health.reporters,
    }
}
