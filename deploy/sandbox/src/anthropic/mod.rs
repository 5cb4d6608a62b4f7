//! Anthropic's Messages dialect on the wire.
//!
//! # Layout
//! - `read`: a request, with what the real API demands of it; `turns`: what it demands of the conversation.
//! - `write`: whole answers and stream frames, as `text`. Errors are here.

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use crate::reply::Reply;

mod read;
pub(crate) mod text;
mod turns;
mod write;

pub(crate) use read::{Messages, counted};
pub(crate) use write::{count, frames, page, usage_object, whole};

/// The header that every request of this dialect has.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// The header of the key.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header that names an answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// An error answer in the dialect's envelope.
pub(crate) fn error(status: StatusCode, param: Option<&str>, message: &str) -> Reply {
    Reply::json(status, error_body(status, param, message))
}

/// The dialect's error envelope. A field that is at fault stands at the beginning of the message, as the real API has it.
pub(crate) fn error_body(status: StatusCode, param: Option<&str>, message: &str) -> Bytes {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let message = param.map_or_else(|| message.to_owned(), |param| format!("{param}: {message}"));
    let error = text::object([("type", text::string(kind)), ("message", text::string(message.as_str())), ("details", text::string(None))]);
    text::object([("type", text::string("error")), ("error", error), ("request_id", text::string("req_sandbox"))]).into()
}
