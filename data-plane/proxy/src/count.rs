//! How many tokens a request has: told by a provider that counts, else estimated. It is no attempt: providers count for nothing, so there is no
//! intent and no bill.

use std::{future::poll_fn, rc::Rc};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;
use waybill_dialect::{Call, Dialect, ErrorBody, ErrorHeaders, ErrorType, classify, read_count_request, rewrite};
use waybill_front::{Reply, json_answer};
use waybill_guard::Guard;
use waybill_model::{id::GenerationId, price::Tariff, snapshot::Endpoint};
use waybill_route::{Plan, Refusal, Wishes, plan};
use waybill_upstream::{Exchange, Payload, Progress};

use crate::{
    answering::WARNING,
    attempts::limits_of,
    carriage::target,
    failing::ERROR_BYTES,
    guarded::refusal_error,
    outbound::{self, Caller, Wanted},
    stack::{Names, let_in, taken},
    worker::Worker,
};

/// Bytes of text that are taken for one token where nobody counts.
const BYTES_PER_TOKEN: usize = 4;

const ESTIMATED: &str = "input_tokens: estimated, a quarter of the bytes of the text, since no endpoint of this model counts; pictures and documents are not in it";

/// A request whose tokens are to be counted.
struct Count<'a> {
    worker: &'a Rc<Worker>,
    generation: GenerationId,
    headers: HeaderMap,
    call: Call,
    body: Bytes,
}

/// Answers `messages/count_tokens`.
///
/// # Errors
/// Nobody is let in, the request is at fault, no endpoint fits, or none of those that count answers.
pub(crate) async fn answer(worker: &Rc<Worker>, generation: GenerationId, headers: HeaderMap, body: Incoming) -> Result<Reply, ErrorBody> {
    let (snapshot, key) = let_in(worker, &headers)?;
    let body = taken(worker, body).await?;
    let call = read_count_request(&body, &limits_of(worker.limits())).map_err(|fault| ErrorBody::from(&fault))?;
    let workspace = key.workspace.clone().ok_or_else(|| waybill_front::Denied::Unusable.error())?;
    let names = Names::of(&call);
    let planned = |dialects: &'static [&'static str]| -> Result<Plan, Refusal> {
        let wishes = Wishes { dialects, ..names.wishes(&call) };
        let seed = worker.random();
        let guard = Guard::new(&key.bounds, wishes.least_input_tokens);
        let filter = |endpoint: &Endpoint, tariff: Option<&Tariff>| guard.endpoint(endpoint, tariff);
        worker.with_health(|health| plan(&wishes, &snapshot, &workspace.policy, &filter, health, worker.unix_ms(), seed))
    };
    match planned(&["anthropic"]) {
        Ok(plan) => Count { worker, generation, headers, call, body }.ask_all(&plan).await,
        Err(refusal) if planned(names.dialects).is_err() => Err(refusal_error(&refusal, &names.wishes(&call), &key.bounds, &snapshot)),
        Err(_) => Ok(estimate(&body)),
    }
}

impl Count<'_> {
    /// One after another until one counts.
    async fn ask_all(&self, plan: &Plan) -> Result<Reply, ErrorBody> {
        let mut last = None;
        for planned in &plan.attempts {
            match self.ask(&planned.endpoint).await {
                Ok(reply) => return Ok(reply),
                Err((error, elsewhere)) => {
                    let error = error.with("provider_name", planned.endpoint.provider.name.to_string());
                    if !elsewhere {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| ErrorBody::new(ErrorType::ProviderUnavailable, "No endpoint was asked.").with_status(503)))
    }

    /// The error says as well whether another one may be asked.
    async fn ask(&self, endpoint: &Endpoint) -> Result<Reply, (ErrorBody, bool)> {
        let name = &endpoint.provider.display_name;
        let silent = |what: String| (ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider {name} {what}.")), true);
        let payload = Payload::new(rewrite(&self.body, &self.call, &target(endpoint)).into_pieces());
        let caller = Caller { dialect: Dialect::Anthropic, headers: &self.headers };
        let request = outbound::request(endpoint, self.generation.to_string(), self.worker.hop(), caller, Wanted::Count, payload);
        let request = request.map_err(|error| silent(format!("has a configuration that makes no valid request: {error}")))?;
        let limit = self.worker.limits().first_token_time;
        let exchanged = timeout(limit, exchange(self.worker, endpoint, request)).await;
        let (status, headers, body) = match exchanged {
            Err(_) => return Err(silent(format!("did not count within {limit:?} (limit first_token_time)"))),
            Ok(Err(failure)) => return Err(silent(format!("gave no answer: {failure}"))),
            Ok(Ok(answer)) => answer,
        };
        if status.is_success() {
            let counts = serde_json::from_slice::<Value>(&body).is_ok_and(|answer| answer["input_tokens"].is_u64());
            return if counts { Ok(json_answer(StatusCode::OK, body)) } else { Err(silent("sent no readable count".to_owned())) };
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let told = ErrorHeaders {
            retry_after: header("retry-after"),
            retry_after_ms: header("retry-after-ms"),
            content_type: header("content-type"),
            now_s: self.worker.unix_us() / 1_000_000,
        };
        let classified = classify(status.as_u16(), &told, &body);
        Err((classified.to_body(), classified.retries_elsewhere()))
    }
}

async fn exchange(
    worker: &Worker,
    endpoint: &Endpoint,
    request: http::Request<Payload>,
) -> Result<(StatusCode, HeaderMap, Bytes), waybill_upstream::Failure> {
    let mut exchange = Exchange::start(worker.pool(), &endpoint.provider.origin, request).await?;
    let head = poll_fn(|context| exchange.poll_head(context)).await?;
    let mut body = BytesMut::new();
    loop {
        let mut pieces = Vec::new();
        let progress = poll_fn(|context| exchange.poll_body(context, &mut pieces)).await?;
        pieces.iter().for_each(|piece| body.extend_from_slice(piece));
        // Neither a count nor an error is so long; what is cut off makes it unreadable.
        if progress == Progress::End || body.len() > ERROR_BYTES {
            return Ok((head.status, head.headers, body.freeze()));
        }
    }
}

/// The count that nobody made.
fn estimate(body: &[u8]) -> Reply {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let bytes: usize = ["system", "messages", "tools"].iter().map(|name| text_bytes(&request[*name])).sum();
    let counted = json!({ "input_tokens": bytes.div_ceil(BYTES_PER_TOKEN), "estimated": true });
    let mut answer = json_answer(StatusCode::OK, counted.to_string().into());
    answer.headers_mut().insert(WARNING, HeaderValue::from_static(ESTIMATED));
    answer
}

/// Bytes of what a model reads as text: strings, and the JSON of arguments and schemas. The text of pictures, documents and seals is none.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(text_bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match name.as_str() {
                "type" | "role" | "id" | "tool_use_id" | "cache_control" | "signature" | "data" | "media_type" | "url" | "file_id" => 0,
                "input" | "input_schema" => value.to_string().len(),
                _ => text_bytes(value),
            })
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_a_quarter_of_the_bytes_of_the_text() {
        let rows = [
            (json!({ "messages": [{ "role": "user", "content": "12345" }] }), 2),
            (json!({ "system": "1234", "messages": [{ "role": "user", "content": [{ "type": "text", "text": "äöü" }] }] }), 3),
            (json!({ "messages": [], "tools": [{ "name": "f", "description": "abc", "input_schema": { "type": "object" } }] }), 6),
            (
                json!({ "messages": [{ "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "ff", "input": { "a": 1 } }] }] }),
                3,
            ),
            (
                json!({ "messages": [{ "content": [{ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } }] }] }),
                0,
            ),
            (json!({ "model": "not counted", "messages": [] }), 0),
        ];
        for (request, tokens) in rows {
            let answer = estimate(request.to_string().as_bytes());
            let told: Value = serde_json::from_slice(answer.body()).expect("JSON");
            assert_eq!(told, json!({ "input_tokens": tokens, "estimated": true }), "{request}");
            assert!(answer.headers().contains_key(WARNING));
        }
    }
}
