//! The express lane of whichever dialect, so that no one outside names a dialect's folder.

use bytes::Bytes;

use crate::answer::{Answer, AnswerOptions, BrokenAnswer};
use crate::body::Body;
use crate::call::Call;
use crate::cost::Spliced;
use crate::dialect::Dialect;
use crate::error::ErrorBody;
use crate::fault::Fault;
use crate::limits::Limits;
use crate::target::Target;
use crate::{anthropic, openai};

/// Reads a request for an answer, written in `dialect`.
///
/// # Errors
/// The first fault in the order of the bytes, with its path; what is missing is found last.
pub fn read_request(dialect: Dialect, body: &Bytes, limits: &Limits) -> Result<Call, Fault> {
    match dialect {
        Dialect::OpenAi => openai::read_request(body, limits),
        Dialect::Anthropic => anthropic::read_request(body, limits),
    }
}

/// The request as `target` is to get it, in the dialect it was written in. `body` is the one that `call` was read from.
pub fn rewrite(body: &Bytes, call: &Call, target: &Target<'_>) -> Body {
    match call.dialect {
        Dialect::OpenAi => openai::rewrite(body, call, target),
        Dialect::Anthropic => anthropic::rewrite(body, call, target),
    }
}

/// Reads a whole answer of a provider that speaks `dialect`.
///
/// # Errors
/// The body is not one JSON object.
pub fn read_answer(dialect: Dialect, body: &[u8]) -> Result<Answer, BrokenAnswer> {
    match dialect {
        Dialect::OpenAi => openai::read_answer(body),
        Dialect::Anthropic => anthropic::read_answer(body),
    }
}

/// The answer with our cost in its usage object. An answer without one stays as it is. `answer` was read from `body`.
pub fn splice_cost(dialect: Dialect, body: &Bytes, answer: &Answer, cost_picousd: i64, options: AnswerOptions) -> Spliced {
    match dialect {
        Dialect::OpenAi => openai::splice_cost(body, answer, cost_picousd, options),
        Dialect::Anthropic => anthropic::splice_cost(body, answer, cost_picousd),
    }
}

/// The body of an error answer to a caller who speaks `dialect`. `request_id` is the generation's id, or empty if there is none.
pub fn envelope(dialect: Dialect, error: &ErrorBody, request_id: &str) -> Bytes {
    match dialect {
        Dialect::OpenAi => openai::envelope(error),
        Dialect::Anthropic => anthropic::envelope(error, request_id),
    }
}

/// An error after the answer has begun, and the end of the stream as far as the dialect has one after an error.
pub fn error_frames(dialect: Dialect, error: &ErrorBody, id: &str, model: &str, created_s: u64) -> Vec<Bytes> {
    let mut frames = match dialect {
        Dialect::OpenAi => vec![openai::error_frame(error, id, model, created_s)],
        Dialect::Anthropic => vec![anthropic::error_frame(error, id)],
    };
    frames.extend(end_frames(dialect));
    frames
}

/// What closes a stream in which the provider's own end will not come.
pub fn end_frames(dialect: Dialect) -> Option<Bytes> {
    match dialect {
        Dialect::OpenAi => Some(Bytes::from_static(openai::DONE_FRAME)),
        Dialect::Anthropic => None,
    }
}
