//! A whole answer: what it consumed, whether it holds anything, and where the cost goes.

use bytes::Bytes;

use super::chunk::{Chunk, Form};
use crate::answer::{Answer, AnswerOptions, BrokenAnswer, decoded};
use crate::body::{Body, Edit};
use crate::classify::classify_in_body;
use crate::cost::{self, Spliced};
use crate::usage::{Reading, UsageFault, UsageObject};

/// Reads a whole answer. Blank lines before it are padding that some providers send to keep the connection open.
///
/// # Errors
/// The body is not one JSON object.
pub fn read_answer(body: &[u8]) -> Result<Answer, BrokenAnswer> {
    let chunk = Chunk::read(body, Form::Whole).map_err(|error| BrokenAnswer { at: error.at })?;
    let told = best_of(chunk.usage.as_ref(), chunk.x_groq_usage.as_ref());
    let (usage, usage_fault) = match told {
        Some(Ok(reading)) => (Some(reading.clone()), None),
        Some(Err(fault)) => (None, Some(fault.clone())),
        None => (None, None),
    };
    let error = chunk.error.or(chunk.choices.error).map(|span| span.of(body));
    let finish = chunk.choices.finish.and_then(|reason| reason.decode());
    let unfinished = says_nothing(finish.as_deref());
    let finished_in_error = finish.as_deref() == Some("error");
    let counted = usage.as_ref().map_or(0, Reading::total_output);
    let output = chunk.choices.output;
    Ok(Answer {
        id: decoded(chunk.id),
        model: decoded(chunk.model),
        service_tier: decoded(chunk.service_tier),
        empty: error.is_none() && output.is_empty() && (counted == 0 && unfinished || finished_in_error),
        finish: finish.map(|reason| reason.into()),
        output,
        error_in_body: error.map(classify_in_body),
        usage,
        usage_fault,
        place: chunk.usage.filter(|usage| usage.reading.is_ok() || usage.span.of(body).starts_with(b"{")),
        has_fingerprint: chunk.has_fingerprint,
    })
}

/// The answer with our cost in its usage object. An answer without one stays as it is.
pub fn splice_cost(body: &Bytes, answer: &Answer, cost_picousd: i64, options: AnswerOptions) -> Spliced {
    let Some(usage) = &answer.place else {
        return Spliced { body: Body::from(body.clone()), replaced: None };
    };
    let mut further = Vec::new();
    if options.add_fingerprint && !answer.has_fingerprint {
        let at = usage.span.end as usize;
        further.push(Edit { start: at, end: at, with: Bytes::from_static(b",\"system_fingerprint\":null") });
    }
    cost::splice(body, usage, cost_picousd, further)
}

/// A finish reason that explains no silence: none, an ordinary stop, an error. (`length`, `content_filter` and `tool_calls` do.)
pub(super) fn says_nothing(finish: Option<&str>) -> bool {
    matches!(finish, None | Some("stop" | "error"))
}

/// The first reading that is believed, else the first fault.
pub(super) fn best_of<'a>(usage: Option<&'a UsageObject>, second: Option<&'a UsageObject>) -> Option<&'a Result<Reading, UsageFault>> {
    let believed = [usage, second].into_iter().flatten().find(|usage| usage.reading.is_ok());
    believed.or(usage).or(second).map(|usage| &usage.reading)
}
