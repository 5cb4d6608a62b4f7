//! The plan: which endpoints are tried, in which order, and what became of all the others.

use std::sync::Arc;

use waybill_model::{
    guardrail::Filter,
    pattern::place,
    price::Tariff,
    snapshot::{DEFAULT_MAX_ATTEMPTS, Endpoint, Model, RoutePolicy, Snapshot},
};

use crate::{
    choice::{Contender, Price, arrange},
    health::Health,
    judge::{Court, missing_preferred, sets_preferred},
    lag::Lag,
    loss::Loss,
    refusal::{NoEndpoints, Refusal},
    resolve::resolve,
    wishes::Wishes,
};

/// An endpoint to be tried.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Where the request goes.
    pub endpoint: Arc<Endpoint>,
    /// The tariff in force when the plan was made; `None` = unpriced, and allowed to be.
    pub tariff: Option<Arc<Tariff>>,
    /// Position in the plan, from 1.
    pub rank: u32,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is tried.
    Planned {
        /// Position in the plan, from 1.
        rank: u32,
        /// Chance it had to come first in its group, in millionths; 0 = it was not drawn but sorted.
        share_ppm: u32,
        /// What it stands behind the others for.
        behind: Option<Loss>,
    },
    /// It is not tried.
    Lost(Loss),
}

/// An endpoint that was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its position in the snapshot.
    pub endpoint: u32,
    /// What became of it.
    pub verdict: Verdict,
}

/// How a request was routed, in numbers that only mean something together with the snapshot and the wishes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Revision of the snapshot.
    pub revision: u64,
    /// What the draws came from.
    pub seed: u64,
    /// All endpoints of the asked models, in the order of the models and then by name.
    pub candidates: Vec<Candidate>,
}

/// The ordered attempts, with the record of how they came about. There is at least one.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to try, the first first.
    pub attempts: Vec<Attempt>,
    /// For the decision that is spooled and explained.
    pub record: Record,
}

/// Plans the attempts of a request. `guard` is what the Guardrails of the key say of an endpoint.
///
/// # Errors
/// A name that means no model or several, or no endpoint that passes every hard filter; it says why each lost.
pub fn plan(
    wishes: &Wishes<'_>,
    snapshot: &Snapshot,
    policy: &RoutePolicy,
    guard: Filter<'_>,
    health: &Health,
    now_unix_ms: i64,
    seed: u64,
) -> Result<Plan, Refusal> {
    let models = resolve(wishes, snapshot)?;
    let court = Court { wishes, policy, guard };
    let lag = Lag::of(health, now_unix_ms, seed);
    let mut hearing = Hearing::new(models.iter().map(|model| model.endpoints.len()).sum());
    for (position, model) in models.iter().enumerate() {
        hearing.hear(&court, position, model, now_unix_ms, &lag);
    }
    let Hearing { mut candidates, mut contenders } = hearing;
    let cap = Cap::of(wishes, policy);
    arrange(&mut contenders, wishes.sort_by_price || policy.sort_by_price, seed, cap.most as usize);
    let ranks = contenders.iter().zip(1_u32..);
    for (contender, rank) in ranks {
        let verdict = if rank <= cap.most {
            Verdict::Planned { rank, share_ppm: contender.share_ppm, behind: contender.behind }
        } else {
            Verdict::Lost(contender.behind.unwrap_or(cap.loss))
        };
        settle(&mut candidates, contender.candidate, verdict);
    }
    let record = Record { revision: snapshot.revision, seed, candidates };
    if contenders.is_empty() {
        return Err(Refusal::NoEndpoints(Box::new(NoEndpoints::new(wishes, snapshot, &models, record))));
    }
    let planned = contenders.iter().take(cap.most as usize).zip(1..);
    let attempts = planned.filter_map(|(contender, rank)| {
        let position = record.candidates.get(contender.candidate)?.endpoint;
        let endpoint = Arc::clone(snapshot.endpoints().get(position as usize)?);
        let tariff = endpoint.tariff(now_unix_ms).map(Arc::clone);
        Some(Attempt { endpoint, tariff, rank })
    });
    Ok(Plan { attempts: attempts.collect(), record })
}

/// What is known so far: the verdicts, and who is still in.
struct Hearing {
    candidates: Vec<Candidate>,
    contenders: Vec<Contender>,
}

impl Hearing {
    fn new(endpoints: usize) -> Self {
        Self { candidates: Vec::with_capacity(endpoints), contenders: Vec::with_capacity(endpoints) }
    }

    /// Judges the endpoints of one model.
    fn hear(&mut self, court: &Court<'_>, position: usize, model: &Model, now_unix_ms: i64, lag: &Option<Lag<'_>>) {
        let first = self.contenders.len();
        let order = if court.wishes.order.is_empty() { &*court.policy.order } else { court.wishes.order };
        for endpoint in &model.endpoints {
            let tariff = endpoint.tariff(now_unix_ms);
            let verdict = match court.judge(model, endpoint, tariff.map(AsRef::as_ref)) {
                Err(loss) => Verdict::Lost(loss),
                Ok(()) => {
                    let price = Price::of(tariff.map(|tariff| tariff.headline()));
                    self.contenders.push(Contender::new(self.candidates.len(), position, place(order, endpoint), price));
                    // Stands only until the order is known.
                    Verdict::Planned { rank: 0, share_ppm: 0, behind: None }
                }
            };
            self.candidates.push(Candidate { endpoint: endpoint.index, verdict });
        }
        if sets_preferred(court.wishes) {
            self.prefer(court.wishes, model, first);
        }
        if let Some(lag) = lag {
            let before = self.candidates.len() - model.endpoints.len();
            lag.put_behind(self.contenders.get_mut(first..).unwrap_or_default(), before, model);
        }
    }

    /// Keeps those endpoints of the model that support the preferred parameters, as long as some are left.
    fn prefer(&mut self, wishes: &Wishes<'_>, model: &Model, first: usize) {
        let before = self.candidates.len() - model.endpoints.len();
        let missing = self.contenders.iter().skip(first).map(|contender| {
            let endpoint = model.endpoints.get(contender.candidate - before);
            (contender.candidate, endpoint.map(|endpoint| missing_preferred(wishes, endpoint)).unwrap_or_default())
        });
        let mut missing: Vec<(usize, [u64; 3])> = missing.collect();
        let mut dropped = Vec::new();
        for weight in 0..3 {
            let lacks = |of: &[u64; 3]| of.get(weight).copied().unwrap_or(0);
            if missing.iter().any(|(_, of)| lacks(of) == 0) {
                dropped.extend(missing.extract_if(.., |(_, of)| lacks(of) != 0));
            }
        }
        for (candidate, of) in dropped {
            let missing = of.iter().fold(0, |all, bit| all | bit);
            settle(&mut self.candidates, candidate, Verdict::Lost(Loss::SupportedElsewhere { missing }));
            self.contenders.retain(|contender| contender.candidate != candidate);
        }
    }
}

/// How many attempts there may be, and what the next one loses by.
struct Cap {
    most: u32,
    loss: Loss,
}

impl Cap {
    fn of(wishes: &Wishes<'_>, policy: &RoutePolicy) -> Self {
        if policy.no_fallbacks {
            return Self { most: 1, loss: Loss::PolicyNoFallbacks };
        }
        if !wishes.allow_fallbacks && wishes.order.is_empty() {
            return Self { most: 1, loss: Loss::NoFallbacks };
        }
        let most = if policy.max_attempts == 0 { DEFAULT_MAX_ATTEMPTS } else { policy.max_attempts };
        Self { most, loss: Loss::MaxAttempts { most } }
    }
}

fn settle(candidates: &mut [Candidate], at: usize, verdict: Verdict) {
    if let Some(candidate) = candidates.get_mut(at) {
        candidate.verdict = verdict;
    }
}
