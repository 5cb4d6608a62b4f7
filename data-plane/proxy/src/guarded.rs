//! What the Guardrails of a key come to in an answer: who is turned away, and what the lists leave out.

use waybill_dialect::{ErrorBody, ErrorType};
use waybill_guard::{Closed, Guard, Refusal as Forbidden};
use waybill_model::{
    guardrail::{Bounds, Breach},
    snapshot::{Endpoint, Found, Model, Snapshot},
};
use waybill_route::{Refusal, Wishes};

/// Where the reason of a 403 stands for programs: the Guardrail, and its field.
const GUARDRAIL: &str = "guardrail";
const RULE: &str = "guardrail_rule";

/// Nothing of this key is served, by a fault of ours.
pub(crate) fn closed_error(closed: &Closed) -> ErrorBody {
    let message = format!("{}. It is no fault of the request; `waybill status` says why.", capital(&closed.to_string()));
    let error = ErrorBody::new(ErrorType::Server, message).with_status(503).with_retry_after(5);
    error.with(GUARDRAIL, closed.guardrail.to_string()).with("reason", "guardrail_unusable")
}

/// The key may not call what was asked for.
pub(crate) fn forbidden_error(forbidden: &Forbidden) -> ErrorBody {
    ErrorBody::new(ErrorType::PermissionDenied, format!("{}.", capital(&forbidden.to_string())))
        .with("availability_code", waybill_route::Code::GuardrailRestricted.name())
        .with(GUARDRAIL, forbidden.guardrail.to_string())
        .with(RULE, forbidden.rule.field())
}

/// Why nothing can be tried: that a Guardrail shuts out the models themselves is said before all else.
pub(crate) fn refusal_error(refusal: &Refusal, wishes: &Wishes<'_>, bounds: &Bounds, snapshot: &Snapshot) -> ErrorBody {
    let model = |name: &str| if let Found::Model(model) = snapshot.model(name) { Some(model) } else { None };
    let asked: Option<Vec<&Model>> = std::iter::once(wishes.model).chain(wishes.models.iter().map(AsRef::as_ref)).map(model).collect();
    let forbidden = asked.and_then(|asked| Guard::new(bounds, wishes.least_input_tokens).models(&asked).err());
    forbidden.map_or_else(|| unroutable_error(refusal, snapshot), |forbidden| forbidden_error(&forbidden))
}

fn unroutable_error(refusal: &Refusal, snapshot: &Snapshot) -> ErrorBody {
    let error_type = ErrorType::from_name(refusal.error_type()).unwrap_or(ErrorType::NotFound);
    let said = refusal.to_string();
    let said = if said.ends_with('?') { said } else { format!("{said}.") };
    let mut error = ErrorBody::new(error_type, said).with("availability_code", refusal.code().name());
    if refusal.retryable() {
        error = error.with_status(503).with_retry_after(10);
    }
    let excluded_by = refusal.excluded_by();
    if !excluded_by.is_empty() {
        error = error.with("excluded_by", excluded_by.join(","));
    }
    if let Some(Breach { guardrail, rule }) = refusal.breach()
        && let Some(guardrail) = snapshot.guardrails().get(guardrail as usize)
    {
        error = error.with(GUARDRAIL, guardrail.name.to_string()).with(RULE, rule.field());
    }
    error
}

/// The endpoints of a model that are in service and that the key may call.
pub(crate) fn open_endpoints<'a>(model: &'a Model, guard: Guard<'a>, now_unix_ms: i64) -> impl Iterator<Item = &'a Endpoint> {
    let may = move |endpoint: &&Endpoint| guard.endpoint(endpoint, endpoint.tariff(now_unix_ms).map(AsRef::as_ref)).is_ok();
    model.endpoints.iter().map(AsRef::as_ref).filter(|endpoint| !endpoint.disabled).filter(may)
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
