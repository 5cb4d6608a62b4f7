//! What is said when nothing can be tried: what, whose fault, and what would help.

use std::fmt;

use waybill_model::{
    guardrail::Breach,
    snapshot::{Model, Snapshot},
};

use crate::{
    explain::detail,
    loss::{Cause, Loss},
    plan::{Record, Verdict},
    wishes::Wishes,
};

/// Providers that one sentence names.
const MOST_PROVIDERS: usize = 4;

/// Why a request has no plan. The caller's fault but for [`Code::TemporarilyUnavailable`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is no such model.
    #[error("there is no model `{name}`{}", alternatives(": did you mean ", nearest, "?"))]
    UnknownModel {
        /// As the caller spelt it.
        name: Box<str>,
        /// The names most like it; may be empty.
        nearest: Vec<Box<str>>,
    },
    /// A bare slug that several authors have.
    #[error("the model `{name}` is ambiguous{}", alternatives(": say which of ", candidates, " is meant"))]
    AmbiguousModel {
        /// As the caller spelt it.
        name: Box<str>,
        /// The canonical names it may mean.
        candidates: Vec<Box<str>>,
    },
    /// No endpoint passes every filter.
    #[error("{0}")]
    NoEndpoints(Box<NoEndpoints>),
}

/// `error.availability.code`: OpenRouter's words where it has one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    /// The name means nothing.
    ModelNotFound,
    /// The name means several models.
    ModelAmbiguous,
    /// The models have no endpoints at all.
    NoEndpoints,
    /// The Guardrails of the key leave nothing of what was asked for.
    GuardrailRestricted,
    /// The data policy asked for leaves nothing.
    PrivacyRestricted,
    /// What was asked for, together with the policy, leaves nothing.
    ConstraintFiltered,
    /// What the operator has set up leaves nothing, whatever is asked for.
    TemporarilyUnavailable,
}

impl Code {
    /// The stable word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ModelNotFound => "model_not_found",
            Self::ModelAmbiguous => "model_ambiguous",
            Self::NoEndpoints => "no_endpoints",
            Self::GuardrailRestricted => "guardrail_restricted",
            Self::PrivacyRestricted => "privacy_restricted",
            Self::ConstraintFiltered => "constraint_filtered",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// Endpoints that lost for the same reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excluded {
    /// What the one nearest to the wish lost by.
    pub loss: Loss,
    /// How many lost so.
    pub count: u32,
    /// Their providers, each once, by name.
    pub providers: Vec<Box<str>>,
    /// What the one nearest to the wish lost by, in words: the end of a sentence about an endpoint.
    pub detail: String,
}

/// No endpoint passes every filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoEndpoints {
    /// Canonical names of the models that were looked at.
    pub models: Vec<Box<str>>,
    /// Why there is nothing left, the most frequent reason first.
    pub excluded: Vec<Excluded>,
    /// The verdict on every candidate.
    pub record: Record,
}

impl NoEndpoints {
    pub(crate) fn new(wishes: &Wishes<'_>, snapshot: &Snapshot, models: &[&Model], record: Record) -> Self {
        let mut excluded: Vec<Excluded> = Vec::new();
        for candidate in &record.candidates {
            let Verdict::Lost(loss) = candidate.verdict else { continue };
            let Some(endpoint) = snapshot.endpoints().get(candidate.endpoint as usize) else { continue };
            let Some(group) = excluded.iter_mut().find(|known| known.loss.is_alike(loss)) else {
                let providers = vec![endpoint.provider.name.clone()];
                excluded.push(Excluded { loss, count: 1, providers, detail: detail(loss, endpoint, snapshot, wishes) });
                continue;
            };
            group.count += 1;
            if let Err(place) = group.providers.binary_search(&endpoint.provider.name) {
                group.providers.insert(place, endpoint.provider.name.clone());
            }
            if group.loss.nearer(loss) != group.loss {
                group.loss = loss;
                group.detail = detail(loss, endpoint, snapshot, wishes);
            }
        }
        excluded.sort_by_key(|group| std::cmp::Reverse(group.count));
        Self { models: models.iter().map(|model| model.name.clone()).collect(), excluded, record }
    }

    fn all(&self, wanted: impl Fn(Loss) -> bool) -> bool {
        self.excluded.iter().all(|group| wanted(group.loss))
    }

    fn code(&self) -> Code {
        if self.excluded.is_empty() {
            Code::NoEndpoints
        } else if self.all(|loss| loss.cause() == Cause::Guardrail) {
            Code::GuardrailRestricted
        } else if self.all(|loss| loss.cause() != Cause::Wish) {
            // What the Guardrails leave is out of service.
            Code::TemporarilyUnavailable
        } else if self.all(|loss| loss.cause() != Cause::Setup) && !self.all(|loss| loss.cause() == Cause::Wish) {
            // What the Guardrails leave is not what was asked for.
            Code::GuardrailRestricted
        } else if self.all(|loss| matches!(loss, Loss::Trains | Loss::Retains)) {
            Code::PrivacyRestricted
        } else {
            Code::ConstraintFiltered
        }
    }
}

impl Refusal {
    /// The word of `error.availability.code`.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownModel { .. } => Code::ModelNotFound,
            Self::AmbiguousModel { .. } => Code::ModelAmbiguous,
            Self::NoEndpoints(none) => none.code(),
        }
    }

    /// The stable error type. `provider_unavailable` here is a fault of ours, to be answered with 503: nothing was sent anywhere.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. } => "not_found",
            Self::AmbiguousModel { .. } => "invalid_request",
            Self::NoEndpoints(none) => match none.code() {
                Code::TemporarilyUnavailable => "provider_unavailable",
                Code::GuardrailRestricted => "permission_denied",
                Code::ConstraintFiltered if none.all(|loss| matches!(loss, Loss::ContextLength { .. })) => "context_length_exceeded",
                Code::ConstraintFiltered if none.all(|loss| matches!(loss, Loss::MaxOutput { .. })) => "max_tokens_exceeded",
                _ => "not_found",
            },
        }
    }

    /// Words of `error.availability.excluded_by`, each once.
    #[must_use]
    pub fn excluded_by(&self) -> Vec<&'static str> {
        let Self::NoEndpoints(none) = self else { return Vec::new() };
        let mut words = Vec::new();
        for group in &none.excluded {
            if !words.contains(&group.loss.word()) {
                words.push(group.loss.word());
            }
        }
        words
    }

    /// The first rule of a Guardrail by which something lost, the most frequent first.
    #[must_use]
    pub fn breach(&self) -> Option<Breach> {
        let Self::NoEndpoints(none) = self else { return None };
        none.excluded.iter().find_map(|group| if let Loss::Guardrail(breach) = group.loss { Some(breach) } else { None })
    }

    /// The same request may succeed later without a change.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.code() == Code::TemporarilyUnavailable
    }
}

impl fmt::Display for NoEndpoints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let models = alternatives("", &self.models, "");
        if self.excluded.is_empty() {
            return write!(formatter, "no endpoint serves {models}");
        }
        write!(formatter, "no endpoint of {models} can take this request")?;
        for (group, separator) in self.excluded.iter().zip(std::iter::once(": ").chain(std::iter::repeat("; "))) {
            write!(formatter, "{separator}{group}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = self.providers.iter().take(MOST_PROVIDERS).map(AsRef::as_ref).collect();
        let more = if self.providers.len() > MOST_PROVIDERS { ", …" } else { "" };
        let providers = format!("{}{more}", named.join(", "));
        match self.count {
            1 => write!(formatter, "1 endpoint ({providers}) {}", self.detail),
            count => write!(formatter, "each of {count} endpoints ({providers}), the nearest of which {}", self.detail),
        }
    }
}

/// Names between two pieces of text, or nothing where there are none.
fn alternatives(before: &str, names: &[Box<str>], after: &str) -> String {
    if names.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{before}{}{after}", quoted.join(", "))
}
