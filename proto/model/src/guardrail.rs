//! Guardrails at run time: what holds for a key, and by which rule something is refused. Only words and data; the guard room judges.

use std::sync::Arc;

use waybill_proto::model::v1::{self as wire, OnError, Resource, resource::Spec};

use crate::{pattern::ModelList, price::Tariff, snapshot::Endpoint};

/// A Guardrail that can be kept.
#[derive(Clone, Debug, Default)]
pub struct Guardrail {
    /// Its name.
    pub name: Box<str>,
    /// Position in [`Snapshot::guardrails`](crate::snapshot::Snapshot::guardrails).
    pub index: u32,
    /// Only these models; empty = all.
    pub allowed_models: ModelList,
    /// Never these models.
    pub ignored_models: ModelList,
    /// Only these providers; empty = all.
    pub allowed_providers: Box<[Box<str>]>,
    /// Never these providers.
    pub ignored_providers: Box<[Box<str>]>,
    /// Dearest prompt price, pico-USD per million tokens.
    pub max_prompt_price: Option<i64>,
    /// Dearest completion price, pico-USD per million tokens.
    pub max_completion_price: Option<i64>,
    /// Only endpoints that keep nothing of the prompts.
    pub zero_data_retention: bool,
    /// Only endpoints that do not train on the prompts.
    pub no_training: bool,
}

/// All Guardrails in whose scope a key is. Shared by all keys with the same ones.
///
/// They hold together, each by itself: so allow lists intersect, deny lists add, the lowest price limit counts and a wish for no retention or no
/// training is one of all.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// By name.
    pub guardrails: Box<[Arc<Guardrail>]>,
    /// The name of one that cannot be kept as it is written: nothing is let through, as a fault of ours.
    pub unusable: Option<Box<str>>,
}

/// A rule of a Guardrail, with what an endpoint lost by. Prices are pico-USD per million tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// The model is in no entry of `allowedModels`.
    AllowedModels,
    /// The model is in `ignoredModels`.
    IgnoredModels,
    /// The provider is in no entry of `allowedProviders`.
    AllowedProviders,
    /// The provider is in `ignoredProviders`.
    IgnoredProviders,
    /// The prompt price is above `maxPromptPrice`.
    MaxPromptPrice { price: i64, limit: i64 },
    /// The completion price is above `maxCompletionPrice`.
    MaxCompletionPrice { price: i64, limit: i64 },
    /// There is no price, so that `maxPromptPrice` cannot be kept.
    UnpricedPrompt,
    /// There is no price, so that `maxCompletionPrice` cannot be kept.
    UnpricedCompletion,
    /// The endpoint is not known to keep nothing of the prompts.
    ZeroDataRetention,
    /// The endpoint may train on the prompts.
    NoTraining,
}

impl Rule {
    /// The field of the Guardrail, as documents spell it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::AllowedModels => "allowedModels",
            Self::IgnoredModels => "ignoredModels",
            Self::AllowedProviders => "allowedProviders",
            Self::IgnoredProviders => "ignoredProviders",
            Self::MaxPromptPrice { .. } | Self::UnpricedPrompt => "maxPromptPrice",
            Self::MaxCompletionPrice { .. } | Self::UnpricedCompletion => "maxCompletionPrice",
            Self::ZeroDataRetention => "zeroDataRetention",
            Self::NoTraining => "noTraining",
        }
    }
}

/// What refused something: a Guardrail, and which of its rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Breach {
    /// Position in [`Snapshot::guardrails`](crate::snapshot::Snapshot::guardrails).
    pub guardrail: u32,
    /// The rule.
    pub rule: Rule,
}

/// What the Guardrails of a key say of an endpoint at the tariff in force. This is how the guard room judges for the routing.
pub type Filter<'a> = &'a dyn Fn(&Endpoint, Option<&Tariff>) -> Result<(), Breach>;

/// Lets everything through: where no Guardrail holds.
///
/// # Errors
/// Never.
pub const fn unbounded(_: &Endpoint, _: Option<&Tariff>) -> Result<(), Breach> {
    Ok(())
}

/// The last good version of this Guardrail goes on where it cannot be compiled; else its scope is refused.
#[must_use]
pub fn keeps_last(resource: &Resource) -> bool {
    matches!(&resource.spec, Some(Spec::Guardrail(spec)) if spec.on_error == i32::from(OnError::KeepLast))
}

/// What stands in the place of a Guardrail that cannot be compiled: its scope, and as its only rule the one that no operator can write.
/// `None` for a resource of another kind.
#[must_use]
pub fn closed(resource: &Resource) -> Option<Resource> {
    let Some(Spec::Guardrail(spec)) = &resource.spec else { return None };
    let closed = wire::Guardrail {
        workspaces: spec.workspaces.clone(),
        members: spec.members.clone(),
        api_keys: spec.api_keys.clone(),
        allowed_models: vec![String::new()],
        ..wire::Guardrail::default()
    };
    Some(Resource { metadata: resource.metadata.clone(), spec: Some(Spec::Guardrail(closed)) })
}

/// It is what [`closed`] makes.
#[must_use]
pub fn is_closed(resource: &Resource) -> bool {
    matches!(&resource.spec, Some(Spec::Guardrail(spec)) if matches!(&spec.allowed_models[..], [only] if only.is_empty()))
}
