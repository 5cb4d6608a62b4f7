//! The health of the endpoints as one worker thread sees it: its own breakers, what it counted, and what the fleet advises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use waybill_model::snapshot::{Endpoint, Snapshot};
use waybill_proto::sync::v1::{ClassCount, EndpointCounts, ErrorClass};

use crate::{
    advice::{Advice, Ejected},
    breaker::{Breaker, FAILURES_TO_OPEN, State, WHOLE_PERMILLE},
    outcome::{Class, Outcome},
    window::Window,
};

/// Numbers of error classes, from 0.
const CLASSES: usize = ErrorClass::Caller as usize + 1;

/// Where an attempt goes, by name: the endpoint, and the account whose credential it takes there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place<'a> {
    /// Name of the Endpoint.
    pub endpoint: &'a str,
    /// Name of the ProviderAccount.
    pub account: &'a str,
}

impl<'a> From<&'a Endpoint> for Place<'a> {
    fn from(endpoint: &'a Endpoint) -> Self {
        Self { endpoint: &endpoint.name, account: &endpoint.account.name }
    }
}

/// Why an endpoint does not get all of its share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// Its breaker is open.
    Breaker,
    /// The provider wants no request yet (`Retry-After`).
    CoolDown,
    /// The credential of its account is refused at several endpoints.
    Account,
    /// Its breaker has closed of late.
    SlowStart,
    /// The fleet advises against it.
    Ejected(Ejected),
}

/// The end of the sentence "this endpoint …".
impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Breaker => "failed of late",
            Self::CoolDown => "wants no request yet (Retry-After)",
            Self::Account => "shares an account whose credential is refused",
            Self::SlowStart => "failed of late and gets its share back little by little",
            Self::Ejected(ejected) => return ejected.fmt(formatter),
        })
    }
}

impl Why {
    /// The stable word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breaker => "breaker_open",
            Self::CoolDown => "cooling_down",
            Self::Account => "account",
            Self::SlowStart => "slow_start",
            Self::Ejected(_) => "ejected",
        }
    }
}

/// How an endpoint stands: min(what this worker saw, what the fleet advises).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The share of its requests that it should get, in thousandths.
    pub weight_permille: u16,
    /// Why it is not the whole.
    pub why: Option<Why>,
}

impl Standing {
    const HEALTHY: Self = Self { weight_permille: WHOLE_PERMILLE, why: None };

    fn worse(self, other: Self) -> Self {
        if other.weight_permille < self.weight_permille { other } else { self }
    }
}

/// See the module. By name, so that it outlives the snapshot it was seen in; asking costs nothing on a good day, since only what is bad is asked for.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Of endpoints of which something bad is known.
    breakers: BTreeMap<Box<str>, Breaker>,
    /// Of accounts whose credential was refused.
    accounts: BTreeMap<Box<str>, Account>,
    /// Of endpoints that were tried.
    seen: BTreeMap<Box<str>, Seen>,
    advice: Arc<Advice>,
}

/// The credential of an account.
#[derive(Clone, Debug)]
struct Account {
    breaker: Breaker,
    /// The only endpoint that refused it so far. A provider that denies one model to an account has nothing against its others.
    only: Option<Box<str>>,
}

/// What ended at an endpoint.
#[derive(Clone, Debug, Default)]
struct Seen {
    window: Window,
    /// By number of the class, since they were taken last.
    counts: [u64; CLASSES],
}

impl Health {
    /// Nothing bad is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing bad is known of any endpoint.
    #[must_use]
    pub fn is_quiet(&self, now_unix_ms: i64) -> bool {
        self.breakers.is_empty() && self.accounts.is_empty() && !self.advice.holds(now_unix_ms)
    }

    /// How an endpoint stands.
    #[must_use]
    pub fn standing<'a>(&self, place: impl Into<Place<'a>>, now_unix_ms: i64) -> Standing {
        let place = place.into();
        let advised = self.advice(now_unix_ms).and_then(|advice| advice.of(place.endpoint));
        let advised = advised
            .map_or(Standing::HEALTHY, |ejected| Standing { weight_permille: ejected.weight_permille, why: Some(Why::Ejected(ejected)) });
        self.local(place, now_unix_ms).worse(advised)
    }

    /// How it stands by what this worker saw itself.
    #[must_use]
    pub fn local<'a>(&self, place: impl Into<Place<'a>>, now_unix_ms: i64) -> Standing {
        let place = place.into();
        let own = self.breakers.get(place.endpoint).map_or(Standing::HEALTHY, |breaker| {
            let weight_permille = breaker.weight_permille(now_unix_ms);
            let why = match weight_permille {
                WHOLE_PERMILLE => None,
                0 if breaker.is_cooling(now_unix_ms) => Some(Why::CoolDown),
                0 => Some(Why::Breaker),
                _ => Some(Why::SlowStart),
            };
            Standing { weight_permille, why }
        });
        let account = self.accounts.get(place.account).map_or(WHOLE_PERMILLE, |account| account.breaker.weight_permille(now_unix_ms));
        own.worse(Standing { weight_permille: account, why: Some(Why::Account) })
    }

    /// Whether a request may go to the endpoint now, by what this worker saw itself.
    #[must_use]
    pub fn admits<'a>(&self, place: impl Into<Place<'a>>, now_unix_ms: i64) -> bool {
        self.local(place, now_unix_ms).weight_permille > 0
    }

    /// A request leaves. Every start needs its [`Self::ended`].
    pub fn started<'a>(&mut self, place: impl Into<Place<'a>>, now_unix_ms: i64) {
        let place = place.into();
        if let Some(breaker) = self.breakers.get_mut(place.endpoint) {
            *breaker = breaker.started(now_unix_ms);
        }
        if let Some(account) = self.accounts.get_mut(place.account) {
            account.breaker = account.breaker.started(now_unix_ms);
        }
    }

    /// A request ended. The seed spreads the instants at which the breakers of many proxies let their request through.
    pub fn ended<'a>(&mut self, place: impl Into<Place<'a>>, outcome: Outcome, now_unix_ms: i64, seed: u64) {
        let place = place.into();
        self.account_ended(place, outcome, now_unix_ms, seed);
        let Some(word) = outcome.word() else {
            // Nobody knows how it ended; that matters only to a breaker that waits for it.
            return self.breaker_ended(place.endpoint, outcome, false, now_unix_ms, seed);
        };
        let seen = match self.seen.get_mut(place.endpoint) {
            Some(seen) => seen,
            None => self.seen.entry(place.endpoint.into()).or_default(),
        };
        if let Some(count) = seen.counts.get_mut(word as usize) {
            *count += 1;
        }
        let failing = match outcome {
            Outcome::Failure(class) if class.counts() => {
                seen.window.note(true, now_unix_ms);
                seen.window.is_failing()
            }
            Outcome::Success => {
                seen.window.note(false, now_unix_ms);
                false
            }
            _ => false,
        };
        self.breaker_ended(place.endpoint, outcome, failing, now_unix_ms, seed);
    }

    fn breaker_ended(&mut self, endpoint: &str, outcome: Outcome, failing: bool, now_unix_ms: i64, seed: u64) {
        let known = self.breakers.get(endpoint).copied();
        if known.is_none() && outcome == Outcome::Success {
            return;
        }
        let before = known.unwrap_or_default();
        let ended = before.ended(outcome, now_unix_ms, seed);
        let next = if failing { ended.tripped(now_unix_ms, seed) } else { ended };
        if std::mem::discriminant(&before.state()) != std::mem::discriminant(&next.state())
            && let Some(seen) = self.seen.get_mut(endpoint)
        {
            // What led to opening says nothing about the endpoint that comes back.
            seen.window = Window::default();
        }
        match (known, next.is_clean(now_unix_ms)) {
            (None, true) => {}
            (Some(_), true) => drop(self.breakers.remove(endpoint)),
            (Some(_), false) => drop(self.breakers.get_mut(endpoint).map(|breaker| *breaker = next)),
            (None, false) => drop(self.breakers.insert(endpoint.into(), next)),
        }
    }

    /// The credential is the account's: where several endpoints refuse it, all of them are left out.
    fn account_ended(&mut self, place: Place<'_>, outcome: Outcome, now_unix_ms: i64, seed: u64) {
        let refused = outcome == Outcome::Failure(Class::Credential);
        if !refused && self.accounts.is_empty() {
            return;
        }
        let Some(account) = self.accounts.get_mut(place.account) else {
            if refused {
                let breaker = Breaker::default().ended(outcome, now_unix_ms, seed);
                self.accounts.insert(place.account.into(), Account { breaker, only: Some(place.endpoint.into()) });
            }
            return;
        };
        let told = match outcome {
            Outcome::Success => Outcome::Success,
            Outcome::Failure(Class::Credential) => outcome,
            // Whatever else went wrong, it was not the credential.
            _ => Outcome::Unknown,
        };
        if refused && account.only.as_deref().is_some_and(|only| only != place.endpoint) {
            account.only = None;
        }
        let last = account.breaker.state() == State::Closed { failures: FAILURES_TO_OPEN - 1 };
        if !(refused && last && account.only.is_some()) {
            account.breaker = account.breaker.ended(told, now_unix_ms, seed);
        }
        if account.breaker.is_clean(now_unix_ms) {
            self.accounts.remove(place.account);
        }
    }

    /// Follows what the fleet advises from now on.
    pub fn advise(&mut self, advice: Arc<Advice>) {
        self.advice = advice;
    }

    /// The advice, while it holds.
    #[must_use]
    pub fn advice(&self, now_unix_ms: i64) -> Option<&Advice> {
        self.advice.holds(now_unix_ms).then_some(&*self.advice)
    }

    /// Endpoints of which something bad is known, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Breaker)> {
        self.breakers.iter().map(|(name, breaker)| (&**name, breaker))
    }

    /// Takes what was counted since the last time, by name: every endpoint with an ended attempt or an open breaker.
    pub fn take_counts(&mut self) -> Vec<EndpointCounts> {
        let mut taken = Vec::new();
        for (endpoint, seen) in &mut self.seen {
            let is_open = self.breakers.get(endpoint).is_some_and(|breaker| !matches!(breaker.state(), State::Closed { .. }));
            let counts = std::mem::take(&mut seen.counts);
            let counted = counts.iter().zip(0..).filter(|(count, _)| **count > 0);
            let counts: Vec<ClassCount> = counted.map(|(count, class)| ClassCount { class, count: *count }).collect();
            if is_open || !counts.is_empty() {
                taken.push(EndpointCounts { endpoint: str::to_owned(endpoint), counts, open_breakers: u32::from(is_open) });
            }
        }
        taken
    }

    /// Forgets endpoints and accounts that a snapshot no longer has; for when it is swapped in. What was counted at them is taken no more.
    pub fn keep_of(&mut self, snapshot: &Snapshot) {
        let names: BTreeSet<&str> = snapshot.endpoints().iter().map(|endpoint| &*endpoint.name).collect();
        self.breakers.retain(|name, _| names.contains(&**name));
        self.seen.retain(|name, _| names.contains(&**name));
        if !self.accounts.is_empty() {
            let accounts: BTreeSet<&str> = snapshot.endpoints().iter().map(|endpoint| &*endpoint.account.name).collect();
            self.accounts.retain(|name, _| accounts.contains(&**name));
        }
    }
}
