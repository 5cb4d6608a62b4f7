//! Our errors in the shape that Anthropic's SDKs read.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;

/// The body of an error answer.
pub fn envelope(error: &ErrorBody, request_id: &str) -> Bytes {
    shape(error, request_id).to_string().into()
}

/// An error after the answer has begun: the last event of the stream.
pub fn error_frame(error: &ErrorBody, request_id: &str) -> Bytes {
    format!("event: error\ndata: {}\n\n", shape(error, request_id)).into()
}

fn shape(error: &ErrorBody, request_id: &str) -> Value {
    let mut metadata = Map::new();
    for (key, value) in &error.metadata {
        metadata.insert((*key).to_owned(), value.as_str().into());
    }
    if let Some(param) = &error.param {
        metadata.insert("param".to_owned(), param.as_str().into());
    }
    if let Some(seconds) = error.retry_after {
        metadata.insert("retry_after".to_owned(), seconds.into());
    }
    let mut inner = json!({
        "type": error.error_type.anthropic_type(),
        "message": error.message,
        "error_type": error.error_type.name(),
        "metadata": metadata,
    });
    if let (Some(inner), Some(code)) = (inner.as_object_mut(), error.code) {
        inner.insert("details".to_owned(), json!({ "error_code": code }));
    }
    let mut outer = json!({ "type": "error", "error": inner });
    if let (Some(outer), false) = (outer.as_object_mut(), request_id.is_empty()) {
        outer.insert("request_id".to_owned(), request_id.into());
    }
    outer
}
