//! What callers see.

use serde_json::{Value, json};
use waybill_proxy::Limits;
use waybill_sandbox::{Options, Provider, Reply, Script};
use waybill_tests::Request;

use crate::fixture::Fixture;

fn body(model: &str, stream: bool) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Say something." }], "stream": stream, "provider": { "only": ["here"] } })
}

/// Model, status, error type, what the message says.
const FAILURES: [(&str, u16, &str, &str); 19] = [
    ("sandbox/error-400", 400, "invalid_request", ""),
    ("sandbox/error-401", 503, "provider_unavailable", ""),
    ("sandbox/error-402", 503, "provider_unavailable", ""),
    ("sandbox/error-403", 503, "provider_unavailable", ""),
    ("sandbox/error-404", 404, "not_found", ""),
    ("sandbox/error-408", 504, "timeout", ""),
    ("sandbox/error-413", 413, "payload_too_large", ""),
    ("sandbox/error-422", 422, "unprocessable", ""),
    ("sandbox/error-429", 429, "rate_limit_exceeded", ""),
    ("sandbox/error-500", 502, "provider_unavailable", ""),
    ("sandbox/error-502", 502, "provider_unavailable", ""),
    ("sandbox/error-503", 503, "provider_overloaded", ""),
    ("sandbox/error-529", 503, "provider_overloaded", ""),
    ("sandbox/error-html", 502, "provider_unavailable", ""),
    ("sandbox/reset-before-byte", 502, "provider_unavailable", "gave no answer"),
    ("sandbox/reset-after-headers", 502, "provider_unavailable", "gave no answer"),
    ("sandbox/truncated-json", 502, "provider_unavailable", "no readable answer"),
    ("sandbox/empty-answer", 502, "provider_unavailable", "empty answer"),
    ("sandbox/empty-body", 502, "provider_unavailable", "no readable answer"),
];

#[test]
fn each_failure_of_a_provider_has_one_clear_answer_in_the_callers_dialect() {
    let fixture = Fixture::start();
    let mut wrong = Vec::new();
    for (model, status, error_type, says) in FAILURES {
        let answer = fixture.send(&fixture.chat(&body(model, false)));
        let seen = answer.json().expect("JSON");
        let error = &seen["error"];
        let right = answer.head.status == status
            && error["metadata"]["error_type"] == error_type
            && error["code"] == status
            && error["message"].as_str().is_some_and(|message| message.contains(says));
        if !right {
            wrong.push(format!("{model}: {} {seen}", answer.head.status));
        }
        assert!(answer.head.field("x-generation-id").is_some_and(|id| id.starts_with(b"gen-")), "{model}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_caller_whose_prompts_are_refused_closes_no_endpoint_to_others() {
    let refusal = || {
        let error = json!({ "error": { "code": 403, "message": "Your input was flagged: it requires moderation." } });
        Reply::json(http::StatusCode::FORBIDDEN, error.to_string())
    };
    let provider = Provider::spawn_thread(Options::default(), Script::by_model().otherwise(move |_| refusal())).expect("a provider");
    let fixture = Fixture::beside(Limits::default(), Some(&provider.base_url().to_string()));
    let mut request = body("sandbox/chat", false);
    request["provider"] = json!({ "order": ["beside", "here"] });
    // One more than would open the breaker, and then `here` would answer.
    for number in 1..=6 {
        let answer = fixture.send(&fixture.chat(&request));
        assert_eq!(answer.head.status, 403, "request {number}: {:?}", answer.json());
    }
}

#[test]
fn a_whole_answer_carries_its_cost() {
    let fixture = Fixture::start();
    let answer = fixture.send(&fixture.chat(&body("sandbox/usage-1200-30", false)));
    assert_eq!(answer.head.status, 200);
    let text = String::from_utf8(answer.body.clone()).expect("UTF-8");
    // 1200 × 3 USD + 30 × 15 USD, per million.
    assert!(text.contains("\"cost\":0.00405"), "{text}");
    let omitted = fixture.send(&fixture.chat(&body("sandbox/usage-1200-30", false)).field("x-waybill-cost", "omit"));
    assert!(omitted.json().expect("JSON")["usage"]["cost"].is_null());
}

#[test]
fn usage_is_shown_by_the_rule_of_the_surface() {
    let fixture = Fixture::start();
    let rows = [("/v1", false, false), ("/v1", true, true), ("/api/v1", false, true)];
    for (surface, asked, shown) in rows {
        let mut body = body("sandbox/burst-200", true);
        if asked {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let request = Request::post(&format!("{surface}/chat/completions"), body.to_string()).bearer(&fixture.key);
        let mut client = fixture.client();
        let mut stream = client.open(&request).expect("a stream");
        let (mut frames, mut usage, mut done) = (0, None, false);
        while let Some(event) = stream.event().expect("whole events") {
            done = event.data == "[DONE]";
            if let Ok(frame) = serde_json::from_str::<Value>(&event.data) {
                frames += 1;
                usage = usage.or_else(|| frame.get("usage").filter(|usage| usage.is_object()).cloned());
            }
        }
        assert!(done && frames > 200, "{surface} {asked}: {frames} frames");
        assert_eq!(usage.is_some(), shown, "{surface} {asked}");
        assert_eq!(usage.is_some_and(|usage| usage["cost"].is_number()), shown, "{surface} {asked}");
    }
}

#[test]
fn a_stream_that_breaks_ends_with_an_error_chunk_and_done() {
    let fixture = Fixture::start();
    for model in ["sandbox/reset-midway-3", "sandbox/close-midway-3", "sandbox/error-in-200"] {
        let mut client = fixture.client();
        let request = fixture.chat(&body(model, true));
        let mut stream = client.open(&request).expect("a stream");
        assert_eq!(stream.head.status, 200);
        let mut events = Vec::new();
        while let Some(event) = stream.event().expect("whole events") {
            events.push(event.data);
        }
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{model}: {events:?}");
        let error: Value = serde_json::from_str(&events[events.len() - 2]).expect("a chunk");
        assert!(error["error"]["metadata"]["error_type"].is_string(), "{model}: {error}");
        assert_eq!(error["choices"][0]["finish_reason"], "error", "{model}");
    }
}

#[test]
fn callers_faults_are_named_with_their_path() {
    let fixture = Fixture::start();
    let message = json!([{ "role": "user", "content": "x" }]);
    let rows = [
        (json!({ "messages": message }), 400, "model"),
        (json!({ "model": "sandbox/chat" }), 400, "messages"),
        (json!({ "model": "sandbox/chat", "messages": [] }), 400, "messages"),
        (json!({ "model": "sandbox/chat", "messages": message, "n": "two" }), 400, "n"),
        (json!({ "model": "sandbox/chat", "messages": message, "Stream": true }), 400, "stream"),
        (json!({ "model": "sandbox/nothing", "messages": message }), 404, ""),
        (json!({ "model": "sandbox/chat", "messages": message, "provider": { "only": ["elsewhere"] } }), 404, ""),
        (json!({ "model": "sandbox/chat", "messages": message, "max_tokens": 5000 }), 400, ""),
    ];
    for (body, status, param) in rows {
        let answer = fixture.send(&fixture.chat(&body));
        let error = answer.json().expect("JSON")["error"].clone();
        assert_eq!(answer.head.status, status, "{body}: {error}");
        assert_eq!(error["param"].as_str().unwrap_or_default(), param, "{body}: {error}");
    }
    let answer = fixture.send(&Request::post("/v1/chat/completions", "{}"));
    assert_eq!(answer.head.status, 401);
    let looped = fixture.send(&fixture.chat(&body("sandbox/chat", false)).field("x-waybill-hop", "0000000000000abc"));
    assert_eq!(looped.head.status, 508);
}

#[test]
fn models_and_the_key_are_shown_in_both_families_shapes() {
    let fixture = Fixture::start();
    let list = fixture.send(&Request::get("/v1/models").bearer(&fixture.key)).json().expect("JSON");
    let models = list["data"].as_array().expect("a list");
    assert_eq!(models.len(), waybill_sandbox::models::TABLE.len());
    assert_eq!(list["total_count"], models.len());
    for field in ["id", "object", "owned_by", "canonical_slug", "pricing", "architecture", "top_provider", "links"] {
        assert!(!models[0][field].is_null(), "{field}");
    }
    assert_eq!(models[0]["pricing"]["prompt"], "0.000003");
    for field in ["display_name", "created_at", "type"] {
        assert!(models[0][field].is_string(), "{field}");
    }
    assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &models[0]["id"]));
    let page = Request::get("/v1/models?limit=2").field("x-api-key", &fixture.key).field("anthropic-version", "2023-06-01");
    let page = fixture.send(&page).json().expect("JSON");
    assert_eq!((page["data"].as_array().map(Vec::len), &page["has_more"], &page["last_id"]), (Some(2), &json!(true), &models[1]["id"]));
    let endpoints = fixture.send(&Request::get("/api/v1/models/sandbox/chat/endpoints").bearer(&fixture.key)).json().expect("JSON");
    assert_eq!(endpoints["data"]["endpoints"].as_array().map(Vec::len), Some(4));
    let key = fixture.send(&Request::get("/api/v1/key").bearer(&fixture.key));
    assert!(String::from_utf8_lossy(&key.body).contains("\"usage\":0.000000000001"), "printed from the integer");
}
