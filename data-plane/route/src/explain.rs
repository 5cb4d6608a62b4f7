//! A decision in the form that is spooled, and in words.

use waybill_model::{
    guardrail::{Breach, Rule},
    money::Picousd,
    snapshot::{Endpoint, Snapshot},
};
use waybill_proto::usage::v1 as wire;

use crate::{
    loss::Loss,
    plan::{Candidate, Record, Verdict},
    wishes::Wishes,
};

/// Candidates that a decision names; of further ones it says how many there were.
const MOST_CANDIDATES: usize = 64;

impl Record {
    /// The decision as it is spooled: planned candidates first, by rank, then those that lost.
    ///
    /// Snapshot and wishes must be those that the plan was made with; `deny_epoch` is the counter of the deny overlay then in force.
    #[must_use]
    pub fn decision(&self, snapshot: &Snapshot, wishes: &Wishes<'_>, deny_epoch: u64) -> wire::Decision {
        let mut order: Vec<&Candidate> = self.candidates.iter().collect();
        order.sort_by_key(|candidate| if let Verdict::Planned { rank, .. } = candidate.verdict { rank } else { u32::MAX });
        let more = order.len().saturating_sub(MOST_CANDIDATES);
        let named = order.into_iter().take(MOST_CANDIDATES);
        let candidates = named
            .filter_map(|candidate| {
                let endpoint = snapshot.endpoints().get(candidate.endpoint as usize)?;
                Some(candidate_of(endpoint, candidate.verdict, snapshot, wishes))
            })
            .collect();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        wire::Decision { revision: self.revision, deny_epoch, seed: self.seed, candidates, more }
    }
}

fn candidate_of(endpoint: &Endpoint, verdict: Verdict, snapshot: &Snapshot, wishes: &Wishes<'_>) -> wire::Candidate {
    let name = str::to_owned(&endpoint.name);
    match verdict {
        Verdict::Planned { rank, share_ppm, behind } => wire::Candidate {
            endpoint: name,
            reason: wire::Reason::Planned.into(),
            rank,
            score: u64::from(share_ppm),
            // It is tried, but after those that nothing is said against.
            detail: behind.map(|loss| detail(loss, endpoint, snapshot, wishes)).unwrap_or_default(),
        },
        Verdict::Lost(loss) => wire::Candidate {
            endpoint: name,
            reason: loss.reason().into(),
            rank: 0,
            score: loss.limit(),
            detail: detail(loss, endpoint, snapshot, wishes),
        },
    }
}

/// What exactly an endpoint lost by, as the end of the sentence "this endpoint …".
pub fn detail(loss: Loss, endpoint: &Endpoint, snapshot: &Snapshot, wishes: &Wishes<'_>) -> String {
    let provider = &endpoint.provider.name;
    match loss {
        Loss::Guardrail(breach) => shut_out(breach, endpoint, snapshot),
        Loss::Disabled => "is out of service".to_owned(),
        Loss::NoSecret => "has no credential in this proxy".to_owned(),
        Loss::Dialect => {
            let own = wishes.dialects.first().copied().unwrap_or_default();
            format!("speaks the dialect `{}`, which a request in `{own}` cannot reach", endpoint.provider.dialect)
        }
        Loss::PolicyOnly => format!("is of `{provider}`, which the workspace's policy does not allow"),
        Loss::PolicyIgnored => format!("is of `{provider}`, which the workspace's policy forbids"),
        Loss::NotOnly => format!("is of `{provider}`, which is not in provider.only"),
        Loss::Ignored => format!("is of `{provider}`, which is in provider.ignore"),
        Loss::NotInOrder => format!("is of `{provider}`, which is not in provider.order, and provider.allow_fallbacks is false"),
        Loss::Trains => "may train on prompts, and provider.data_collection is deny".to_owned(),
        Loss::Retains => "is not known to keep nothing of the prompt, and zero data retention was asked for".to_owned(),
        Loss::Quantization => {
            format!("has the quantization `{}`, which is not in provider.quantizations", endpoint.quantization)
        }
        Loss::InputModality { missing } => format!("does not take {}", listed(missing, wishes.input_modalities)),
        Loss::OutputModality { missing } => format!("does not give {}", listed(missing, wishes.output_modalities)),
        Loss::Parameters { missing } => {
            format!("does not support {}, and provider.require_parameters is true", listed(missing, wishes.parameters))
        }
        Loss::SupportedElsewhere { missing } => {
            format!("does not support {}, which another endpoint does", listed(missing, wishes.parameters))
        }
        Loss::ContextLength { at_least, window } => {
            format!("has a context window of {window} tokens, and the prompt has at least {at_least}")
        }
        Loss::MaxOutput { asked, limit } => format!("answers with at most {limit} tokens, and {asked} were asked for"),
        Loss::Unpriced => "has no price in force, and nothing allows that".to_owned(),
        Loss::UnpricedUnderLimit => "has no price in force, so a price limit cannot be kept".to_owned(),
        Loss::PolicyPromptPrice { price, limit } => dearer("prompt", price, limit, "the workspace's policy", " per million tokens"),
        Loss::PolicyCompletionPrice { price, limit } => dearer("completion", price, limit, "the workspace's policy", " per million tokens"),
        Loss::PromptPrice { price, limit } => dearer("prompt", price, limit, "provider.max_price", " per million tokens"),
        Loss::CompletionPrice { price, limit } => dearer("completion", price, limit, "provider.max_price", " per million tokens"),
        Loss::RequestPrice { price, limit } => dearer("request", price, limit, "provider.max_price", ""),
        Loss::BreakerOpen(why) => format!("{why}, and others stand before it"),
        Loss::Ejected(ejected) => format!("{ejected}, and others stand before it"),
        Loss::NoFallbacks => "stands behind the only attempt, for provider.allow_fallbacks is false".to_owned(),
        Loss::PolicyNoFallbacks => "stands behind the only attempt that the workspace's policy allows".to_owned(),
        Loss::MaxAttempts { most } => format!("stands behind the {most} attempts that a request may have"),
    }
}

fn shut_out(Breach { guardrail, rule }: Breach, endpoint: &Endpoint, snapshot: &Snapshot) -> String {
    let name = snapshot.guardrails().get(guardrail as usize).map(|guardrail| &*guardrail.name).unwrap_or_default();
    let whose = format!("the Guardrail `{name}`");
    let (model, provider, field) = (&endpoint.model, &endpoint.provider.name, rule.field());
    match rule {
        Rule::AllowedModels => format!("serves `{model}`, which is not in {field} of {whose}"),
        Rule::IgnoredModels => format!("serves `{model}`, which is in {field} of {whose}"),
        Rule::AllowedProviders => format!("is of `{provider}`, which is not in {field} of {whose}"),
        Rule::IgnoredProviders => format!("is of `{provider}`, which is in {field} of {whose}"),
        Rule::MaxPromptPrice { price, limit } => dearer("prompt", price, limit, &whose, " per million tokens"),
        Rule::MaxCompletionPrice { price, limit } => dearer("completion", price, limit, &whose, " per million tokens"),
        Rule::UnpricedPrompt | Rule::UnpricedCompletion => format!("has no price in force, so {field} of {whose} cannot be kept"),
        Rule::ZeroDataRetention => format!("is not known to keep nothing of the prompt, and {whose} wants {field}"),
        Rule::NoTraining => format!("may train on prompts, and {whose} wants {field}"),
    }
}

fn dearer(what: &str, price: i64, limit: i64, whose: &str, unit: &str) -> String {
    format!("has a {what} price of {} USD{unit}, and {whose} allows at most {}", Picousd(price), Picousd(limit))
}

fn listed(missing: u64, names: &[&str]) -> String {
    let of_bit = |place: usize| missing >> place.min(63) & 1 == 1;
    let missing: Vec<&str> = names.iter().enumerate().filter(|(place, _)| of_bit(*place)).map(|(_, name)| *name).collect();
    missing.join(", ")
}
