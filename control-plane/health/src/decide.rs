//! From counts and records to transitions.
//!
//! An endpoint that is bad for the fleet is *ejected*: weight 0. After half a minute it goes on *trial*: a small part of its requests are real ones
//! again, each of which can still go elsewhere. Successes end the ejection, failures begin it anew, and five minutes after it began it ends in any case: then the proxies' own breakers
//! see to it, and the counts may eject it again.

use std::collections::BTreeMap;

use waybill_proto::sync::v1::{ClassCount, EndpointHealth, ErrorClass};

use crate::{
    fold::Fold,
    places::{Place, Places},
    verdict::{Tally, Verdict},
};

/// An ejection ends after this time in any case.
pub const EJECTED_MS: i64 = 300_000;
/// The first trial begins after this time without any request.
pub const TRIAL_AFTER_MS: i64 = 30_000;
/// The share of an endpoint on trial, in thousandths.
pub const TRIAL_PERMILLE: u32 = 50;
/// Successes that end an ejection, and failures that end a trial.
pub const TRIAL_ENDS: u64 = 3;
/// Most transitions of one decision.
pub const MOST_TRANSITIONS: usize = 10;

/// A healthy endpoint's share, in thousandths.
const WHOLE: u32 = 1000;

/// A change of an endpoint's health.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Name of the Endpoint.
    pub endpoint: String,
    /// What is to be recorded; `None` = it is healthy, so nothing is.
    pub record: Option<EndpointHealth>,
}

/// Decides what is to change, the most pressing first, at most [`MOST_TRANSITIONS`] at a time: those that give something back before those that take
/// something away, the worst of these first.
#[must_use]
pub fn decide(fold: &Fold, records: &BTreeMap<String, EndpointHealth>, places: &Places, now_ms: i64) -> Vec<Transition> {
    let mut capacities = Capacities::of(records, places);
    let mut transitions = Vec::new();
    let mut worse = Vec::new();
    for (endpoint, record) in records {
        match course(fold, record, places.get(endpoint), now_ms) {
            Course::Stay => {}
            Course::To(record) if record.as_ref().map_or(WHOLE, |record| record.weight_permille) > 0 => {
                capacities.change(endpoint, record.as_ref(), places);
                transitions.push(Transition { endpoint: endpoint.clone(), record });
            }
            Course::To(record) => worse.extend(record.map(|record| (u64::MAX, record))),
        }
    }
    release(&mut transitions, &mut capacities, records, places);
    worse.extend(ejections(fold, records, places, now_ms));
    worse.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.endpoint.cmp(&b.1.endpoint)));
    for (_, record) in worse {
        if capacities.allow(&record, places) {
            capacities.change(&record.endpoint, Some(&record), places);
            transitions.push(Transition { endpoint: record.endpoint.clone(), record: Some(record) });
        }
    }
    transitions.truncate(MOST_TRANSITIONS);
    transitions
}

enum Course {
    Stay,
    To(Option<EndpointHealth>),
}

/// What becomes of an endpoint that is not healthy.
fn course(fold: &Fold, record: &EndpointHealth, place: Option<&Place>, now_ms: i64) -> Course {
    // The minute since the last transition: what was counted before it is forgotten.
    let verdict = fold.verdict(&record.endpoint, now_ms);
    let is_good = |tally: Tally| tally.good >= TRIAL_ENDS && tally.good > tally.bad && !tally.is_bad();
    // One proxy to which everything fails does not keep the others from it.
    let recovered = is_good(verdict.sum) || is_good(verdict.others);
    if place.is_none() || now_ms >= record.until_unix_ms || recovered {
        return Course::To(None);
    }
    let on_trial = record.weight_permille > 0;
    // Nor does it end a trial alone.
    let failed = verdict.sum.bad >= TRIAL_ENDS && verdict.sum.is_bad() && verdict.others.is_bad();
    if on_trial && failed {
        let causes = fold.last_minute(&record.endpoint, now_ms);
        let (reporters, agreeing) = (verdict.reporters, verdict.agreeing);
        return Course::To(Some(EndpointHealth {
            weight_permille: 0,
            since_unix_ms: now_ms,
            causes,
            reporters,
            agreeing,
            ..record.clone()
        }));
    }
    if !on_trial && now_ms.saturating_sub(record.since_unix_ms) >= TRIAL_AFTER_MS {
        return Course::To(Some(EndpointHealth { weight_permille: TRIAL_PERMILLE, since_unix_ms: now_ms, ..record.clone() }));
    }
    Course::Stay
}

/// Healthy endpoints that are bad for the fleet, with how bad: the failures of a million.
fn ejections(fold: &Fold, records: &BTreeMap<String, EndpointHealth>, places: &Places, now_ms: i64) -> Vec<(u64, EndpointHealth)> {
    let mut accounts: BTreeMap<&str, Verdict> = BTreeMap::new();
    let mut ejections = Vec::new();
    for (endpoint, place) in places.iter().filter(|(endpoint, _)| !records.contains_key(*endpoint)) {
        let of_account = *accounts.entry(&place.account).or_insert_with(|| fold.verdict_of_account(&place.account, now_ms));
        let own = fold.verdict(endpoint, now_ms);
        let (verdict, causes) = match (own.is_bad, of_account.is_bad) {
            (false, false) => continue,
            (true, _) => (own, fold.last_minute(endpoint, now_ms)),
            (false, true) => (of_account, vec![ClassCount { class: ErrorClass::Credential.into(), count: of_account.sum.bad }]),
        };
        let sum = verdict.sum;
        let failures_ppm = u128::from(sum.bad) * 1_000_000 / u128::from(sum.all().max(1));
        let record = EndpointHealth {
            endpoint: endpoint.to_owned(),
            weight_permille: 0,
            causes,
            reporters: verdict.reporters,
            agreeing: verdict.agreeing,
            since_unix_ms: now_ms,
            until_unix_ms: now_ms.saturating_add(EJECTED_MS),
        };
        ejections.push((u64::try_from(failures_ppm).unwrap_or(u64::MAX), record));
    }
    ejections
}

/// A model that has lost endpoints by a change of the configuration may have too little left: then its ejected ones come back, the best first.
fn release(transitions: &mut Vec<Transition>, capacities: &mut Capacities, records: &BTreeMap<String, EndpointHealth>, places: &Places) {
    let mut still: Vec<&EndpointHealth> =
        records.values().filter(|record| !transitions.iter().any(|transition| transition.endpoint == record.endpoint)).collect();
    still.sort_by_key(|record| (std::cmp::Reverse(record.weight_permille), record.since_unix_ms));
    for record in still {
        if capacities.is_low(&record.endpoint, places) {
            capacities.change(&record.endpoint, None, places);
            transitions.push(Transition { endpoint: record.endpoint.clone(), record: None });
        }
    }
}

/// What is left of each model's endpoints, in thousandths of one.
struct Capacities {
    by_model: BTreeMap<String, Capacity>,
    weights: BTreeMap<String, u32>,
}

#[derive(Default)]
struct Capacity {
    left: u64,
    endpoints: u64,
}

impl Capacities {
    fn of(records: &BTreeMap<String, EndpointHealth>, places: &Places) -> Self {
        let mut capacities = Self { by_model: BTreeMap::new(), weights: BTreeMap::new() };
        for (endpoint, place) in places.iter() {
            let weight = records.get(endpoint).map_or(WHOLE, |record| record.weight_permille.min(WHOLE));
            let of_model = capacities.by_model.entry(place.model.clone()).or_default();
            of_model.endpoints += 1;
            of_model.left += u64::from(weight);
            capacities.weights.insert(endpoint.to_owned(), weight);
        }
        capacities
    }

    fn of_model(&mut self, endpoint: &str, places: &Places) -> Option<&mut Capacity> {
        self.by_model.get_mut(&places.get(endpoint)?.model)
    }

    fn change(&mut self, endpoint: &str, record: Option<&EndpointHealth>, places: &Places) {
        let weight = record.map_or(WHOLE, |record| record.weight_permille.min(WHOLE));
        let before = self.weights.insert(endpoint.to_owned(), weight).unwrap_or(weight);
        if let Some(of_model) = self.of_model(endpoint, places) {
            of_model.left = (of_model.left + u64::from(weight)).saturating_sub(u64::from(before));
        }
    }

    /// Less than half is left of the model.
    fn is_low(&mut self, endpoint: &str, places: &Places) -> bool {
        self.of_model(endpoint, places).is_some_and(|of_model| 2 * of_model.left < of_model.endpoints * u64::from(WHOLE))
    }

    /// At least half of the model would be left without what this record takes away; so the last endpoint is never taken.
    fn allow(&mut self, record: &EndpointHealth, places: &Places) -> bool {
        let before = u64::from(self.weights.get(&record.endpoint).copied().unwrap_or(0));
        let after = u64::from(record.weight_permille);
        self.of_model(&record.endpoint, places)
            .is_some_and(|of_model| 2 * (of_model.left + after).saturating_sub(before) >= of_model.endpoints * u64::from(WHOLE))
    }
}

#[cfg(test)]
mod tests;
