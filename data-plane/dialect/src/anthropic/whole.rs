//! A whole answer: what it consumed, whether it holds anything, and where the cost goes.

use bytes::Bytes;

use super::event::Told;
use crate::answer::{Answer, BrokenAnswer, decoded};
use crate::body::Body;
use crate::classify::classify_in_body;
use crate::cost::{self, Spliced};
use crate::usage::Reading;

/// Reads a whole answer.
///
/// # Errors
/// The body is not one JSON object.
pub fn read_answer(body: &[u8]) -> Result<Answer, BrokenAnswer> {
    let told = Told::read(body).map_err(|error| BrokenAnswer { at: error.at })?;
    let is_error = told.error.is_some() || told.kind.is_some_and(|kind| kind.is("error"));
    let (usage, usage_fault) = match told.usage.as_ref().map(|usage| usage.counts.reading()) {
        Some(Ok(reading)) => (Some(reading), None),
        Some(Err(fault)) => (None, Some(fault)),
        None => (None, None),
    };
    let finish = decoded(told.stop_reason);
    let counted = usage.as_ref().map_or(0, Reading::total_output);
    let place = told.usage.as_ref().and_then(|usage| usage.place());
    Ok(Answer {
        id: decoded(told.id),
        model: decoded(told.model),
        service_tier: told.usage.and_then(|usage| decoded(usage.service_tier)),
        empty: !is_error && told.output.is_empty() && counted == 0 && says_nothing(finish.as_deref()),
        finish,
        output: told.output,
        error_in_body: is_error.then(|| classify_in_body(told.error.map_or(body, |error| error.of(body)))),
        usage,
        usage_fault,
        place,
        has_fingerprint: false,
    })
}

/// The answer with our cost in its usage object. An answer without one stays as it is.
pub fn splice_cost(body: &Bytes, answer: &Answer, cost_picousd: i64) -> Spliced {
    match &answer.place {
        Some(usage) => cost::splice(body, usage, cost_picousd, Vec::new()),
        None => Spliced { body: Body::from(body.clone()), replaced: None },
    }
}

/// A reason to stop that explains no silence: none, or that all was said.
pub(super) fn says_nothing(finish: Option<&str>) -> bool {
    matches!(finish, None | Some("end_turn"))
}
