//! Why an endpoint is not tried. Numbers only, so that judging builds no text; `explain` has the words.

use waybill_model::guardrail::{Breach, Rule};
use waybill_proto::usage::v1::Reason;

use crate::{advice::Ejected, health::Why};

/// Why a candidate was not planned.
///
/// Prices and their limits are pico-USD per million units, those of a request pico-USD for one. A `missing` has bit *i* set where the *i*-th name
/// of the wish is not supported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// A Guardrail of the key shuts it out.
    Guardrail(Breach),
    /// Out of service by the operator.
    Disabled,
    /// The account's secret is not to be had in this process.
    NoSecret,
    /// The provider speaks a dialect that the caller's cannot be turned into.
    Dialect,
    /// The policy allows other providers only.
    PolicyOnly,
    /// The policy forbids the provider.
    PolicyIgnored,
    /// Not in `provider.only`.
    NotOnly,
    /// In `provider.ignore`.
    Ignored,
    /// Not in `provider.order`, with fallbacks forbidden.
    NotInOrder,
    /// May train on prompts, with `data_collection: deny`.
    Trains,
    /// Keeps prompts, with `zdr`.
    Retains,
    /// Of another quantization.
    Quantization,
    /// Does not take a kind of input.
    InputModality { missing: u64 },
    /// Does not give a kind of output.
    OutputModality { missing: u64 },
    /// Does not support parameters that are required.
    Parameters { missing: u64 },
    /// Does not support parameters that another endpoint of the model supports.
    SupportedElsewhere { missing: u64 },
    /// The prompt is certainly longer than the context window.
    ContextLength { at_least: u64, window: u64 },
    /// Cannot give an answer as long as was asked for.
    MaxOutput { asked: u64, limit: u64 },
    /// Has no price, and nothing allows that.
    Unpriced,
    /// Has no price, so that a price limit cannot be kept.
    UnpricedUnderLimit,
    /// The policy's limit of the prompt price.
    PolicyPromptPrice { price: i64, limit: i64 },
    /// The policy's limit of the completion price.
    PolicyCompletionPrice { price: i64, limit: i64 },
    /// `max_price.prompt`.
    PromptPrice { price: i64, limit: i64 },
    /// `max_price.completion`.
    CompletionPrice { price: i64, limit: i64 },
    /// `max_price.request`.
    RequestPrice { price: i64, limit: i64 },
    /// This worker's breaker is open, or it is cooling down or coming back, and there were enough others.
    BreakerOpen(Why),
    /// The fleet advises against it, and there were enough others.
    Ejected(Ejected),
    /// Behind the only attempt, with `allow_fallbacks: false`.
    NoFallbacks,
    /// Behind the only attempt that the policy allows.
    PolicyNoFallbacks,
    /// Behind as many attempts as a request may have.
    MaxAttempts { most: u32 },
}

/// Who can change that an endpoint lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// What the caller asked for.
    Wish,
    /// What the operator has set up.
    Setup,
    /// What the operator has forbidden.
    Guardrail,
}

impl Loss {
    /// The reason in the record of the decision.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Guardrail(_) => Reason::Guardrail,
            Self::Disabled => Reason::Disabled,
            Self::NoSecret => Reason::NoSecret,
            Self::Dialect => Reason::Dialect,
            Self::PolicyOnly | Self::PolicyIgnored | Self::PolicyPromptPrice { .. } | Self::PolicyCompletionPrice { .. } => Reason::Policy,
            Self::NotOnly => Reason::NotOnly,
            Self::Ignored => Reason::Ignored,
            Self::NotInOrder => Reason::NotInOrder,
            Self::Trains | Self::Retains => Reason::DataPolicy,
            Self::Quantization => Reason::Quantization,
            Self::InputModality { .. } | Self::OutputModality { .. } => Reason::Modality,
            Self::Parameters { .. } | Self::SupportedElsewhere { .. } => Reason::Parameters,
            Self::ContextLength { .. } => Reason::ContextLength,
            Self::MaxOutput { .. } => Reason::MaxOutput,
            Self::Unpriced | Self::UnpricedUnderLimit => Reason::Unpriced,
            Self::PromptPrice { .. } | Self::CompletionPrice { .. } | Self::RequestPrice { .. } => Reason::MaxPrice,
            Self::BreakerOpen(_) => Reason::BreakerOpen,
            Self::Ejected(_) => Reason::Ejected,
            Self::NoFallbacks | Self::PolicyNoFallbacks => Reason::NoFallbacks,
            Self::MaxAttempts { .. } => Reason::MaxAttempts,
        }
    }

    /// The limit it lost by; 0 = none.
    #[must_use]
    pub const fn limit(self) -> u64 {
        match self {
            Self::ContextLength { window: limit, .. } | Self::MaxOutput { limit, .. } => limit,
            Self::PolicyPromptPrice { limit, .. }
            | Self::PolicyCompletionPrice { limit, .. }
            | Self::PromptPrice { limit, .. }
            | Self::CompletionPrice { limit, .. }
            | Self::RequestPrice { limit, .. }
            | Self::Guardrail(Breach { rule: Rule::MaxPromptPrice { limit, .. } | Rule::MaxCompletionPrice { limit, .. }, .. }) => {
                limit.unsigned_abs()
            }
            Self::MaxAttempts { most } => most as u64,
            _ => 0,
        }
    }

    /// The word of `error.availability.excluded_by`: OpenRouter's where it has one.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Guardrail(Breach { rule, .. }) => guardrail_word(rule),
            Self::Disabled => "disabled",
            Self::NoSecret => "no_secret",
            Self::Dialect => "dialect",
            Self::PolicyOnly | Self::PolicyIgnored => "policy:providers",
            Self::PolicyPromptPrice { .. } | Self::PolicyCompletionPrice { .. } => "policy:max_price",
            Self::NotOnly | Self::Ignored | Self::NotInOrder => "allowed_providers",
            Self::Trains => "data_policy:training",
            Self::Retains => "data_policy:zdr",
            Self::Quantization => "quantization",
            Self::InputModality { .. } | Self::OutputModality { .. } => "modality",
            Self::Parameters { .. } | Self::SupportedElsewhere { .. } => "require_parameters",
            Self::ContextLength { .. } => "context_length",
            Self::MaxOutput { .. } => "max_output",
            Self::Unpriced | Self::UnpricedUnderLimit => "unpriced",
            Self::PromptPrice { .. } | Self::CompletionPrice { .. } | Self::RequestPrice { .. } => "max_price",
            Self::BreakerOpen(_) => "breaker_open",
            Self::Ejected(_) => "ejected",
            Self::NoFallbacks | Self::PolicyNoFallbacks => "no_fallbacks",
            Self::MaxAttempts { .. } => "max_attempts",
        }
    }

    /// They lost for the same reason; only the numbers differ.
    pub(crate) fn is_alike(self, other: Self) -> bool {
        match (self, other) {
            (Self::Guardrail(one), Self::Guardrail(other)) => {
                one.guardrail == other.guardrail && std::mem::discriminant(&one.rule) == std::mem::discriminant(&other.rule)
            }
            _ => std::mem::discriminant(&self) == std::mem::discriminant(&other),
        }
    }

    pub(crate) const fn cause(self) -> Cause {
        match self {
            Self::Guardrail(_) => Cause::Guardrail,
            Self::Disabled | Self::NoSecret | Self::Unpriced => Cause::Setup,
            _ => Cause::Wish,
        }
    }

    /// Of two losses of one kind the one that lies nearer to the wish: the longer limit, the lower price, the fewer missing names.
    pub(crate) fn nearer(self, other: Self) -> Self {
        let distance = |loss: Self| match loss {
            Self::ContextLength { window: limit, .. } | Self::MaxOutput { limit, .. } => u64::MAX - limit,
            Self::PolicyPromptPrice { price, .. }
            | Self::PolicyCompletionPrice { price, .. }
            | Self::PromptPrice { price, .. }
            | Self::CompletionPrice { price, .. }
            | Self::RequestPrice { price, .. }
            | Self::Guardrail(Breach { rule: Rule::MaxPromptPrice { price, .. } | Rule::MaxCompletionPrice { price, .. }, .. }) => {
                price.unsigned_abs()
            }
            Self::InputModality { missing }
            | Self::OutputModality { missing }
            | Self::Parameters { missing }
            | Self::SupportedElsewhere { missing } => u64::from(missing.count_ones()),
            _ => 0,
        };
        if distance(other) < distance(self) { other } else { self }
    }
}

/// Words of `excluded_by` for the rules of Guardrails, in the manner of OpenRouter's.
const fn guardrail_word(rule: Rule) -> &'static str {
    match rule {
        Rule::AllowedModels | Rule::IgnoredModels => "guardrail:models",
        Rule::AllowedProviders | Rule::IgnoredProviders => "guardrail:providers",
        Rule::MaxPromptPrice { .. } | Rule::MaxCompletionPrice { .. } | Rule::UnpricedPrompt | Rule::UnpricedCompletion => {
            "guardrail:max_price"
        }
        Rule::ZeroDataRetention => "guardrail:zdr",
        Rule::NoTraining => "guardrail:training",
    }
}
