//! Answers of our own.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use waybill_dialect::{ErrorBody, openai};

/// A whole answer of our own.
pub type Reply = Response<Bytes>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer that an error becomes: the one place that turns errors into status codes, headers and an envelope.
#[must_use]
pub fn error_answer(error: &ErrorBody) -> Reply {
    let mut answer = json_answer(StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), openai::envelope(error));
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
