//! Our errors in the shape that both OpenAI's SDKs and OpenRouter's clients read.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;

/// The end of a stream.
pub const DONE_FRAME: &[u8] = b"data: [DONE]\n\n";

/// The body of an error answer.
pub fn envelope(error: &ErrorBody) -> Bytes {
    json!({ "error": error_object(error) }).to_string().into()
}

/// An error after the answer has begun: a chunk that ends the answer, to be followed by [`DONE_FRAME`].
pub fn error_frame(error: &ErrorBody, id: &str, model: &str, created_s: u64) -> Bytes {
    let chunk = json!({
        "id": id,
        "object": "chat.completion.chunk",
        "created": created_s,
        "model": model,
        "choices": [{
            "index": 0,
            "delta": { "content": "" },
            "finish_reason": "error",
            "native_finish_reason": "error",
        }],
        "error": error_object(error),
    });
    format!("data: {chunk}\n\n").into()
}

fn error_object(error: &ErrorBody) -> Value {
    let mut metadata = Map::new();
    metadata.insert("error_type".to_owned(), error.error_type.name().into());
    for (key, value) in &error.metadata {
        metadata.insert((*key).to_owned(), value.as_str().into());
    }
    if let Some(seconds) = error.retry_after {
        metadata.insert("retry_after".to_owned(), seconds.into());
    }
    json!({
        "code": error.status,
        "message": error.message,
        "type": error.error_type.openai_type(),
        "param": error.param,
        "metadata": metadata,
    })
}
