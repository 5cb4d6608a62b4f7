//! The breaker of one endpoint: it opens after failures, lets one request through after a while, and with a success closes and lets the others
//! come back little by little.
//!
//! A pure state machine; times are milliseconds since 1970, and a clock that was set back never keeps a breaker open for longer than the longest
//! time it may be open at all.

use crate::{
    choice::SplitMix64,
    outcome::{Class, Outcome},
};

/// Failures in a row that open a closed breaker.
pub const FAILURES_TO_OPEN: u32 = 5;
/// A breaker is open this long, times the number of times in a row it opened.
pub const OPEN_STEP_MS: i64 = 10_000;
/// No breaker is open for longer at a time.
pub const LONGEST_OPEN_MS: i64 = 300_000;
/// A request that was let through and never ended stops barring the others; the longest wait for a first token.
pub const PROBE_LAPSE_MS: i64 = 120_000;
/// Cool-down after a 429 that does not say how long.
pub const RATE_LIMIT_COOL_DOWN_MS: i64 = 1_000;
/// A provider's `Retry-After` is believed up to here.
pub const LONGEST_COOL_DOWN_MS: i64 = 300_000;
/// How long an endpoint takes to get its whole share again after its breaker has closed: what has just come back does not bear everything at once.
pub const SLOW_START_MS: i64 = 60_000;
/// The share it begins with, in thousandths.
pub const SLOW_START_PERMILLE: u16 = 100;
/// The whole share, in thousandths.
pub const WHOLE_PERMILLE: u16 = 1000;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Requests pass.
    Closed {
        /// In a row, so far.
        failures: u32,
    },
    /// None passes before the instant; then it is half open, and the next one that starts is let through.
    Open {
        /// Milliseconds since 1970.
        until_unix_ms: i64,
    },
    /// One request was let through, and none passes until it has ended.
    Probing {
        /// Milliseconds since 1970.
        since_unix_ms: i64,
    },
}

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Breaker {
    state: State,
    /// How often in a row it opened.
    opened: u32,
    /// The provider wants no request before this instant.
    cooling_until_unix_ms: i64,
    /// The share grows until this instant.
    slow_until_unix_ms: i64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 }, opened: 0, cooling_until_unix_ms: i64::MIN, slow_until_unix_ms: i64::MIN }
    }
}

impl Breaker {
    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether a request may pass now.
    #[must_use]
    pub const fn admits(&self, now_unix_ms: i64) -> bool {
        let passed = match self.state {
            State::Closed { .. } => true,
            State::Open { until_unix_ms } => !waits(until_unix_ms, now_unix_ms, LONGEST_OPEN_MS),
            State::Probing { since_unix_ms } => !waits(since_unix_ms.saturating_add(PROBE_LAPSE_MS), now_unix_ms, PROBE_LAPSE_MS),
        };
        passed && !self.is_cooling(now_unix_ms)
    }

    /// The provider wants no request now.
    #[must_use]
    pub const fn is_cooling(&self, now_unix_ms: i64) -> bool {
        waits(self.cooling_until_unix_ms, now_unix_ms, LONGEST_COOL_DOWN_MS)
    }

    /// The share of its requests that the endpoint should get now, in thousandths.
    #[must_use]
    pub fn weight_permille(&self, now_unix_ms: i64) -> u16 {
        if !self.admits(now_unix_ms) {
            return 0;
        }
        if !self.is_slow(now_unix_ms) {
            return WHOLE_PERMILLE;
        }
        let left_ms = self.slow_until_unix_ms.saturating_sub(now_unix_ms);
        let lacking = i64::from(WHOLE_PERMILLE - SLOW_START_PERMILLE) * left_ms / SLOW_START_MS;
        WHOLE_PERMILLE - u16::try_from(lacking).unwrap_or(0)
    }

    const fn is_slow(&self, now_unix_ms: i64) -> bool {
        waits(self.slow_until_unix_ms, now_unix_ms, SLOW_START_MS)
    }

    /// It is as good as new: nothing needs to be remembered.
    #[must_use]
    pub const fn is_clean(&self, now_unix_ms: i64) -> bool {
        matches!(self.state, State::Closed { failures: 0 }) && !self.is_cooling(now_unix_ms) && !self.is_slow(now_unix_ms)
    }

    /// A request leaves. Where the breaker is open, also because all are, this is the one that is waited for.
    #[must_use]
    pub const fn started(self, now_unix_ms: i64) -> Self {
        let state = match self.state {
            State::Open { .. } => State::Probing { since_unix_ms: now_unix_ms },
            State::Probing { .. } if self.admits(now_unix_ms) => State::Probing { since_unix_ms: now_unix_ms },
            state => state,
        };
        Self { state, ..self }
    }

    /// A request ended. The seed spreads the instants at which the breakers of many proxies let their request through.
    #[must_use]
    pub fn ended(self, outcome: Outcome, now_unix_ms: i64, seed: u64) -> Self {
        match (self.state, outcome) {
            (State::Closed { .. }, Outcome::Success) => self.closed(now_unix_ms),
            (State::Probing { .. }, Outcome::Success) => {
                Self { slow_until_unix_ms: now_unix_ms.saturating_add(SLOW_START_MS), ..self }.closed(now_unix_ms)
            }
            (_, Outcome::Failure(Class::RateLimited { retry_after_ms })) => self.cooled(retry_after_ms, now_unix_ms),
            (State::Probing { .. }, Outcome::Unknown | Outcome::Failure(Class::Caller)) => {
                Self { state: State::Open { until_unix_ms: now_unix_ms }, ..self }
            }
            (_, Outcome::Unknown | Outcome::Failure(Class::Caller)) => self,
            (State::Closed { failures }, Outcome::Failure(_)) if failures + 1 < FAILURES_TO_OPEN => {
                Self { state: State::Closed { failures: failures + 1 }, ..self }
            }
            (State::Closed { .. } | State::Probing { .. }, Outcome::Failure(_)) => self.opened(now_unix_ms, seed),
            // The end of a request that had left before the breaker opened.
            (State::Open { .. }, Outcome::Success | Outcome::Failure(_)) => self,
        }
    }

    /// Too many of the last requests failed, if not in a row.
    #[must_use]
    pub fn tripped(self, now_unix_ms: i64, seed: u64) -> Self {
        if let State::Closed { .. } = self.state { self.opened(now_unix_ms, seed) } else { self }
    }

    /// Once it has all its share again, it is forgotten how often it opened.
    const fn closed(self, now_unix_ms: i64) -> Self {
        let opened = if self.is_slow(now_unix_ms) { self.opened } else { 0 };
        Self { state: State::Closed { failures: 0 }, opened, ..self }
    }

    fn opened(self, now_unix_ms: i64, seed: u64) -> Self {
        let opened = self.opened.saturating_add(1);
        let longest = OPEN_STEP_MS.saturating_mul(i64::from(opened)).min(LONGEST_OPEN_MS);
        // Up to a fifth less, so that the longest time holds.
        let less = longest / 5 * i64::try_from(SplitMix64(seed).draw() % 1001).unwrap_or(0) / 1000;
        Self { state: State::Open { until_unix_ms: now_unix_ms.saturating_add(longest - less) }, opened, ..self }
    }

    fn cooled(self, retry_after_ms: Option<i64>, now_unix_ms: i64) -> Self {
        let wait = retry_after_ms.unwrap_or(RATE_LIMIT_COOL_DOWN_MS).clamp(0, LONGEST_COOL_DOWN_MS);
        let until = now_unix_ms.saturating_add(wait);
        // The provider is alive, but it has not answered: the next request finds out.
        let state = if let State::Probing { .. } = self.state { State::Open { until_unix_ms: now_unix_ms } } else { self.state };
        Self { state, cooling_until_unix_ms: self.cooling_until_unix_ms.max(until), ..self }
    }
}

/// Whether an instant lies ahead, and no further than it can.
const fn waits(until_unix_ms: i64, now_unix_ms: i64, longest_ms: i64) -> bool {
    until_unix_ms > now_unix_ms && until_unix_ms <= now_unix_ms.saturating_add(longest_ms)
}
