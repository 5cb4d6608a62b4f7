//! The hard filters: whether one endpoint can take the request at all.
//!
//! The first filter that fails gives the reason. Their order is that of the remedy: what the Guardrails of the key shut out, what the operator set
//! up, what the policy allows, which providers the caller allows, what the endpoint can do, what it costs.

use waybill_model::{
    guardrail::Filter,
    meter::Meter,
    pattern::{any_names, place},
    price::Tariff,
    snapshot::{Credential, Endpoint, Model, RoutePolicy},
};

use crate::{loss::Loss, wishes::Wishes};

/// What an endpoint is judged by, besides itself.
pub struct Court<'a> {
    pub wishes: &'a Wishes<'a>,
    pub policy: &'a RoutePolicy,
    pub guard: Filter<'a>,
}

/// Parameters that are preferred where some endpoint supports them, in falling weight: an answer that ignores them is a wrong answer
/// (OpenRouter's soft preference).
const PREFERRED: [&str; 3] = ["tools", "response_format", "verbosity"];

impl Court<'_> {
    /// Judges an endpoint with the tariff in force.
    ///
    /// # Errors
    /// The first filter it does not pass.
    pub fn judge(&self, model: &Model, endpoint: &Endpoint, tariff: Option<&Tariff>) -> Result<(), Loss> {
        (self.guard)(endpoint, tariff).map_err(Loss::Guardrail)?;
        self.in_service(endpoint)?;
        self.allowed(endpoint)?;
        self.data_policy(endpoint)?;
        self.able(model, endpoint)?;
        self.price(endpoint, tariff)
    }

    fn in_service(&self, endpoint: &Endpoint) -> Result<(), Loss> {
        lose_if(endpoint.disabled, Loss::Disabled)?;
        lose_if(endpoint.account.credential == Credential::Missing, Loss::NoSecret)?;
        lose_if(!self.wishes.dialects.contains(&&*endpoint.provider.dialect), Loss::Dialect)
    }

    fn allowed(&self, endpoint: &Endpoint) -> Result<(), Loss> {
        let (wishes, policy) = (self.wishes, self.policy);
        lose_if(!policy.only.is_empty() && !any_names(&policy.only, endpoint), Loss::PolicyOnly)?;
        lose_if(any_names(&policy.ignore, endpoint), Loss::PolicyIgnored)?;
        lose_if(!wishes.only.is_empty() && !any_names(wishes.only, endpoint), Loss::NotOnly)?;
        lose_if(any_names(wishes.ignore, endpoint), Loss::Ignored)?;
        let closed_order = !wishes.allow_fallbacks && !wishes.order.is_empty();
        lose_if(closed_order && place(wishes.order, endpoint) == wishes.order.len(), Loss::NotInOrder)
    }

    fn data_policy(&self, endpoint: &Endpoint) -> Result<(), Loss> {
        lose_if(self.wishes.deny_data_collection && endpoint.trains_on_prompts, Loss::Trains)?;
        lose_if(self.wishes.zero_data_retention && !endpoint.zero_data_retention, Loss::Retains)
    }

    fn able(&self, model: &Model, endpoint: &Endpoint) -> Result<(), Loss> {
        let wishes = self.wishes;
        let quantized = wishes.quantizations.is_empty() || wishes.quantizations.iter().any(|wanted| covers(wanted, &endpoint.quantization));
        lose_if(!quantized, Loss::Quantization)?;
        let missing = missing(wishes.input_modalities, &endpoint.input_modalities);
        lose_if(missing != 0, Loss::InputModality { missing })?;
        let missing = self::missing(wishes.output_modalities, &model.output_modalities);
        lose_if(missing != 0, Loss::OutputModality { missing })?;
        let missing = if wishes.require_parameters { missing_parameters(wishes, endpoint) } else { 0 };
        lose_if(missing != 0, Loss::Parameters { missing })?;
        let (at_least, window) = (wishes.least_input_tokens, endpoint.context_window);
        lose_if(window != 0 && at_least > window, Loss::ContextLength { at_least, window })?;
        let (asked, limit) = (wishes.max_output.unwrap_or(0), longest_answer(endpoint));
        lose_if(limit != 0 && asked > limit, Loss::MaxOutput { asked, limit })
    }

    fn price(&self, endpoint: &Endpoint, tariff: Option<&Tariff>) -> Result<(), Loss> {
        let (policy, most) = (self.policy, &self.wishes.max_price);
        let limited = most.is_set() || policy.max_prompt_price.is_some() || policy.max_completion_price.is_some();
        let Some(tariff) = tariff else {
            lose_if(!endpoint.allow_unpriced && !policy.allow_unpriced, Loss::Unpriced)?;
            return lose_if(limited, Loss::UnpricedUnderLimit);
        };
        if !limited {
            return Ok(());
        }
        // The band that the prompt certainly reaches: a limit is not kept by the price of shorter prompts.
        let price = |meter| tariff.rate(meter, "", self.wishes.least_input_tokens).map_or(0, |rate| rate.picousd_per_million);
        let above = |price: i64, limit: Option<i64>| limit.filter(|limit| price > *limit);
        let (prompt, completion) = (price(Meter::Input), price(Meter::Output));
        lose_by(above(prompt, policy.max_prompt_price), |limit| Loss::PolicyPromptPrice { price: prompt, limit })?;
        lose_by(above(completion, policy.max_completion_price), |limit| Loss::PolicyCompletionPrice { price: completion, limit })?;
        lose_by(above(prompt, most.prompt), |limit| Loss::PromptPrice { price: prompt, limit })?;
        lose_by(above(completion, most.completion), |limit| Loss::CompletionPrice { price: completion, limit })?;
        // A fee is never rounded down below its limit.
        let request = (i128::from(price(Meter::Request)) + 999_999).div_euclid(1_000_000);
        let request = i64::try_from(request).unwrap_or(i64::MAX);
        lose_by(above(request, most.request), |limit| Loss::RequestPrice { price: request, limit })
    }
}

/// The request sets a parameter that is preferred to be supported.
pub fn sets_preferred(wishes: &Wishes<'_>) -> bool {
    wishes.parameters.iter().any(|name| PREFERRED.contains(name))
}

/// For each preferred parameter that the request sets and the endpoint does not support, the bit of its place in the wish; by weight.
pub fn missing_preferred(wishes: &Wishes<'_>, endpoint: &Endpoint) -> [u64; PREFERRED.len()] {
    let mut missing = [0; PREFERRED.len()];
    if endpoint.parameters.is_empty() {
        return missing;
    }
    for (place, name) in wishes.parameters.iter().enumerate() {
        if let Some(slot) = PREFERRED.iter().position(|preferred| preferred == name).and_then(|weight| missing.get_mut(weight))
            && !supports(&endpoint.parameters, name)
        {
            *slot = bit(place);
        }
    }
    missing
}

/// An unknown longest answer is bounded by the context window all the same.
fn longest_answer(endpoint: &Endpoint) -> u64 {
    if endpoint.max_output == 0 { endpoint.context_window } else { endpoint.max_output }
}

/// Whether a wished quantization includes another: `fp4` and `fp8` include the block-scaled forms of their width.
fn covers(wanted: &str, had: &str) -> bool {
    wanted == had || matches!((wanted, had), ("fp4", "mxfp4" | "nvfp4") | ("fp8", "mxfp8"))
}

fn missing(wanted: &[&str], had: &[Box<str>]) -> u64 {
    if had.is_empty() {
        return 0;
    }
    let absent = |name: &str| !had.iter().any(|had| **had == *name);
    wanted.iter().enumerate().filter(|(_, name)| absent(name)).fold(0, |mask, (place, _)| mask | bit(place))
}

fn missing_parameters(wishes: &Wishes<'_>, endpoint: &Endpoint) -> u64 {
    if endpoint.parameters.is_empty() {
        return 0;
    }
    let absent = |name: &str| !supports(&endpoint.parameters, name);
    wishes.parameters.iter().enumerate().filter(|(_, name)| absent(name)).fold(0, |mask, (place, _)| mask | bit(place))
}

/// Catalogs list one of the two names of the output limit, whichever the provider takes.
fn supports(parameters: &[Box<str>], name: &str) -> bool {
    let has = |name: &str| parameters.binary_search_by(|known| (**known).cmp(name)).is_ok();
    has(name)
        || match name {
            "max_tokens" => has("max_completion_tokens"),
            "max_completion_tokens" => has("max_tokens"),
            _ => false,
        }
}

/// The vocabularies are far below 64 names; what lies beyond shares the last bit, so that nothing missing is taken for supported.
fn bit(place: usize) -> u64 {
    1 << place.min(63)
}

fn lose_if(lost: bool, loss: Loss) -> Result<(), Loss> {
    if lost { Err(loss) } else { Ok(()) }
}

fn lose_by(limit: Option<i64>, loss: impl FnOnce(i64) -> Loss) -> Result<(), Loss> {
    limit.map_or(Ok(()), |limit| Err(loss(limit)))
}
