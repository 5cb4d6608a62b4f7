//! What a caller is told: which Guardrail, which rule, what of the request.

use waybill_model::guardrail::{Guardrail, Rule};

/// A Guardrail of the key cannot be kept in this proxy. A fault of ours; the request may be repeated once it is mended.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the Guardrail `{guardrail}`, which holds for this key, cannot be kept in the configuration in force, so nothing is sent")]
pub struct Closed {
    /// Its name.
    pub guardrail: Box<str>,
}

/// A Guardrail of the key shuts out the model. The caller's fault; a retry does not help.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this key may not call the model `{model}`: it is {} of the Guardrail `{guardrail}`", place(*rule))]
pub struct Refusal {
    /// Canonical name of the model.
    pub model: Box<str>,
    /// Name of the Guardrail.
    pub guardrail: Box<str>,
    /// Its rule.
    pub rule: Rule,
}

impl Refusal {
    pub(crate) fn new(model: &str, guardrail: &Guardrail, rule: Rule) -> Self {
        Self { model: model.into(), guardrail: guardrail.name.clone(), rule }
    }
}

fn place(rule: Rule) -> String {
    let within = if rule == Rule::AllowedModels { "not in" } else { "in" };
    format!("{within} {}", rule.field())
}
