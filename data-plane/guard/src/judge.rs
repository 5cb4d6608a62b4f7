//! Whether the Guardrails of a key let something through, and by which rule they do not.

use waybill_model::{
    guardrail::{Bounds, Breach, Guardrail, Rule},
    meter::Meter,
    pattern::any_names,
    price::Tariff,
    snapshot::{Endpoint, Model},
};

use crate::refusal::{Closed, Refusal};

/// What holds for one request of a key.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    bounds: &'a Bounds,
    least_input_tokens: u64,
}

impl<'a> Guard<'a> {
    /// The guard of a request. A prompt of at least so many tokens is priced by the band that it certainly reaches; 0 where that is not known.
    #[must_use]
    pub const fn new(bounds: &'a Bounds, least_input_tokens: u64) -> Self {
        Self { bounds, least_input_tokens }
    }

    /// Whether the key may send anything at all.
    ///
    /// # Errors
    /// A Guardrail of the key cannot be kept as it is written: a fault of ours, and nothing is let through.
    pub fn open(bounds: &Bounds) -> Result<(), Closed> {
        match &bounds.unusable {
            Some(guardrail) => Err(Closed { guardrail: guardrail.clone() }),
            None => Ok(()),
        }
    }

    /// Whether one of the models that a request names may be called by the key.
    ///
    /// # Errors
    /// None may; it says what the first one is refused by.
    pub fn models(&self, asked: &[&Model]) -> Result<(), Refusal> {
        let Some(first) = asked.first() else { return Ok(()) };
        if asked.iter().any(|model| self.model(&model.name).is_ok()) {
            return Ok(());
        }
        let refused = |guardrail: &Guardrail| Some(Refusal::new(&first.name, guardrail, of_model(guardrail, &first.name)?));
        self.bounds.guardrails.iter().find_map(|guardrail| refused(guardrail)).map_or(Ok(()), Err)
    }

    /// Whether a model may be called by the key.
    ///
    /// # Errors
    /// The first Guardrail by name that shuts it out.
    pub fn model(&self, name: &str) -> Result<(), Breach> {
        self.all(|guardrail| of_model(guardrail, name))
    }

    /// Whether an endpoint may be called by the key at the tariff in force.
    ///
    /// # Errors
    /// The first Guardrail by name that shuts it out, and its first rule.
    pub fn endpoint(&self, endpoint: &Endpoint, tariff: Option<&Tariff>) -> Result<(), Breach> {
        self.all(|guardrail| {
            of_model(guardrail, &endpoint.model)
                .or_else(|| of_provider(guardrail, endpoint))
                .or_else(|| self.of_price(guardrail, tariff))
                .or_else(|| of_data(guardrail, endpoint))
        })
    }

    fn all(&self, rule: impl Fn(&Guardrail) -> Option<Rule>) -> Result<(), Breach> {
        let broken = |guardrail: &Guardrail| rule(guardrail).map(|rule| Breach { guardrail: guardrail.index, rule });
        self.bounds.guardrails.iter().find_map(|guardrail| broken(guardrail)).map_or(Ok(()), Err)
    }

    fn of_price(&self, guardrail: &Guardrail, tariff: Option<&Tariff>) -> Option<Rule> {
        let price = |meter| tariff.map(|tariff| tariff.rate(meter, "", self.least_input_tokens).map_or(0, |rate| rate.picousd_per_million));
        let prompt = guardrail.max_prompt_price.and_then(|limit| match price(Meter::Input) {
            None => Some(Rule::UnpricedPrompt),
            Some(price) => (price > limit).then_some(Rule::MaxPromptPrice { price, limit }),
        });
        prompt.or_else(|| match (guardrail.max_completion_price?, price(Meter::Output)) {
            (_, None) => Some(Rule::UnpricedCompletion),
            (limit, Some(price)) => (price > limit).then_some(Rule::MaxCompletionPrice { price, limit }),
        })
    }
}

fn of_model(guardrail: &Guardrail, model: &str) -> Option<Rule> {
    if guardrail.ignored_models.contains(model) {
        return Some(Rule::IgnoredModels);
    }
    (!guardrail.allowed_models.is_empty() && !guardrail.allowed_models.contains(model)).then_some(Rule::AllowedModels)
}

fn of_provider(guardrail: &Guardrail, endpoint: &Endpoint) -> Option<Rule> {
    if any_names(&guardrail.ignored_providers, endpoint) {
        return Some(Rule::IgnoredProviders);
    }
    (!guardrail.allowed_providers.is_empty() && !any_names(&guardrail.allowed_providers, endpoint)).then_some(Rule::AllowedProviders)
}

fn of_data(guardrail: &Guardrail, endpoint: &Endpoint) -> Option<Rule> {
    if guardrail.zero_data_retention && !endpoint.zero_data_retention {
        return Some(Rule::ZeroDataRetention);
    }
    (guardrail.no_training && endpoint.trains_on_prompts).then_some(Rule::NoTraining)
}
