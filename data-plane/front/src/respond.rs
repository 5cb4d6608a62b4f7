//! Answers of our own.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use waybill_dialect::{Dialect, ErrorBody, envelope};

/// A whole answer of our own.
pub type Reply = Response<Bytes>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer that an error becomes in the caller's dialect: the one place that turns errors into status codes, headers and an envelope.
/// `request_id` is shown by the dialects that have a place for it.
#[must_use]
pub fn error_answer(dialect: Dialect, error: &ErrorBody, request_id: &str) -> Reply {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json_answer(status, envelope(dialect, error, request_id));
    if let Some(seconds) = error.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// An answer in JSON.
#[must_use]
pub fn json_answer(status: StatusCode, body: Bytes) -> Reply {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, JSON);
    answer
}
