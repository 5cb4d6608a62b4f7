//! A whole answer: what it consumed, whether it holds anything, and where the cost goes.

use bytes::Bytes;

use super::chunk::{Chunk, Form, Output};
use super::classify::{Classified, classify_in_body};
use super::cost::{self, Spliced};
use super::usage::UsageObject;
use crate::body::{Body, Edit};
use crate::usage::{Reading, UsageFault};

/// A provider's whole answer, as far as it concerns routing and the bill.
#[derive(Clone, Debug)]
pub struct Answer {
    pub id: Option<Box<str>>,
    /// The model that the provider says it was.
    pub model: Option<Box<str>>,
    /// The tier that was served, whose prices hold; `None` = not told.
    pub service_tier: Option<Box<str>>,
    /// `None`: not told, or not believed (then `usage_fault` says why).
    pub usage: Option<Reading>,
    pub usage_fault: Option<UsageFault>,
    /// The provider's own word.
    pub finish: Option<Box<str>>,
    /// What the model wrote.
    pub output: Output,
    /// Nothing was written, nothing was counted and no reason is given but that it is over: as good as no answer.
    pub empty: bool,
    /// The error that a 2xx answer can hold.
    pub error_in_body: Option<Classified>,
    place: Option<UsageObject>,
    has_fingerprint: bool,
}

/// How a whole answer is to be shown when the cost is put into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerOptions {
    /// A `system_fingerprint` that is missing is added as `null`: OpenRouter's strict clients require the member.
    pub add_fingerprint: bool,
}

impl Answer {
    /// Where the top-level usage object lies in the body.
    pub fn usage_span(&self) -> Option<std::ops::Range<usize>> {
        self.place.as_ref().map(|usage| usage.span.start as usize..usage.span.end as usize)
    }
}

/// The provider sent 2xx and no JSON object: its fault, worth a retry elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no JSON object: broken at byte {at}")]
pub struct BrokenAnswer {
    pub at: usize,
}

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

pub(super) fn decoded(text: Option<crate::json::Text<'_>>) -> Option<Box<str>> {
    text.and_then(|text| text.decode()).filter(|text| !text.is_empty()).map(|text| text.into())
}
