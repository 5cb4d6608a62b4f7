//! The breaker of one endpoint: it opens after failures in a row, lets one request through after a while, and closes with a success.
//!
//! A pure state machine; times are milliseconds since 1970, and a clock that was set back never keeps a breaker open for longer than the longest
//! time it may be open at all.

use crate::choice::SplitMix64;

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

/// How an attempt failed, kept apart because it means different things.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// No connection: refused, name not found, TLS.
    Connect,
    /// No first token in time.
    FirstToken,
    /// The answer stopped flowing.
    Stall,
    /// A 5xx.
    Server,
    /// 503 or 529.
    Overloaded,
    /// 429: a limit of the account, not a fault of the endpoint. Milliseconds of its `Retry-After`.
    RateLimited { retry_after_ms: Option<i64> },
    /// 401, 402, 403: the account's credential, funds or rights.
    Credential,
    /// 404: the provider does not serve what we ask it for.
    NotServed,
    /// The answer breaks the provider's own protocol.
    Malformed,
    /// The connection ended within the answer.
    Cut,
    /// A success without content.
    Empty,
    /// Any other 4xx: caused by the caller, it says nothing about the endpoint.
    Caller,
}

impl Class {
    /// The class of a status; `None` = no failure.
    #[must_use]
    pub const fn of_status(status: u16, retry_after_ms: Option<i64>) -> Option<Self> {
        Some(match status {
            401..=403 => Self::Credential,
            404 => Self::NotServed,
            408 => Self::FirstToken,
            429 => Self::RateLimited { retry_after_ms },
            503 | 529 => Self::Overloaded,
            400..=499 => Self::Caller,
            500..=599 => Self::Server,
            _ => return None,
        })
    }
}

/// How an attempt ended, for the breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// An answer.
    Success,
    /// No answer, or a bad one.
    Failure(Class),
    /// Nobody knows: the client hung up, or the attempt was given up before it was sent.
    Unknown,
}

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
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 }, opened: 0, cooling_until_unix_ms: i64::MIN }
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
        passed && !waits(self.cooling_until_unix_ms, now_unix_ms, LONGEST_COOL_DOWN_MS)
    }

    /// It is as good as new: nothing needs to be remembered.
    #[must_use]
    pub const fn is_clean(&self, now_unix_ms: i64) -> bool {
        matches!(self.state, State::Closed { failures: 0 }) && !waits(self.cooling_until_unix_ms, now_unix_ms, LONGEST_COOL_DOWN_MS)
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
            (_, Outcome::Success) => Self { cooling_until_unix_ms: self.cooling_until_unix_ms, ..Self::default() },
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
            (State::Open { .. }, Outcome::Failure(_)) => self,
        }
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
