use serde_json::{Value, json};

use crate::anthropic::{envelope, error_frame};
use crate::classify::{ErrorHeaders, Retry, classify, classify_in_body};
use crate::dialect::Dialect;
use crate::error::{ErrorBody, ErrorType};

/// The types that Anthropic's clients know.
const KNOWN: &[&str] = &[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
];

#[test]
fn our_errors_have_anthropics_shape() {
    let error =
        ErrorBody::new(ErrorType::RateLimitExceeded, "slow \"down\"").with("limit", "requests").with_retry_after(7).with_param("x[0]");
    let value: Value = serde_json::from_slice(&envelope(&error, "gen-1")).expect("JSON");
    let expected = json!({"type": "error", "request_id": "gen-1", "error": {"type": "rate_limit_error", "message": "slow \"down\"",
        "error_type": "rate_limit_exceeded", "metadata": {"limit": "requests", "param": "x[0]", "retry_after": 7}}});
    assert_eq!(value, expected);
    let value: Value = serde_json::from_slice(&envelope(&error, "")).expect("JSON");
    assert!(value.get("request_id").is_none());
    let frame = error_frame(&ErrorBody::new(ErrorType::ProviderOverloaded, "gone\nfar"), "gen-1");
    let text = std::str::from_utf8(&frame).expect("UTF-8");
    let data = text.strip_prefix("event: error\ndata: ").and_then(|text| text.strip_suffix("\n\n")).expect("one event");
    let value: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!((&value["type"], &value["error"]["type"]), (&json!("error"), &json!("overloaded_error")));
    assert!(!data.contains('\n'));
}

#[test]
fn a_conversation_that_the_provider_should_keep_is_refused_as_sdks_understand_it() {
    let body = br#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"thread":{"type":"create"}}"#;
    let limits = crate::limits::Limits::default();
    let fault = crate::anthropic::read_request(&bytes::Bytes::from_static(body), &limits).expect_err("refused");
    let value: Value = serde_json::from_slice(&envelope(&ErrorBody::from(&fault), "gen-1")).expect("JSON");
    let error = &value["error"];
    assert_eq!((&error["type"], &error["metadata"]["param"]), (&json!("invalid_request_error"), &json!("thread")));
    assert_eq!(error["details"], json!({"error_code": "thread_unsupported_request"}));
}

#[test]
fn each_type_has_a_family_and_each_family_a_type() {
    for (error_type, name, _) in ErrorType::TABLE {
        assert!(KNOWN.contains(&error_type.anthropic_type()), "{name}");
    }
    for family in KNOWN {
        assert!(ErrorType::TABLE.iter().any(|(error_type, ..)| error_type.anthropic_type() == *family), "{family}");
    }
}

#[test]
fn an_answer_that_breaks_off_ends_as_its_dialect_ends() {
    let error = ErrorBody::new(ErrorType::Timeout, "m");
    let frames = |dialect| crate::lanes::error_frames(dialect, &error, "gen-1", "m", 7);
    assert_eq!(frames(Dialect::Anthropic), [error_frame(&error, "gen-1")]);
    assert_eq!(frames(Dialect::OpenAi).len(), 2);
    assert_eq!(frames(Dialect::OpenAi).last().map(|last| &**last), Some(crate::openai::DONE_FRAME));
}

#[test]
fn anthropics_errors_become_ours() {
    use ErrorType as E;
    use Retry::{Anywhere, Elsewhere, Never};
    // (status, error.type, message, status for the caller, type, retry)
    let rows = [
        (400, "invalid_request_error", "messages.0: wrong", 400, E::InvalidRequest, Never),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", 400, E::ContextLengthExceeded, Never),
        (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 9", 400, E::ContextLengthExceeded, Never),
        (
            400,
            "invalid_request_error",
            "max_tokens: 9 > 8, which is the maximum allowed number of output tokens for m",
            400,
            E::MaxTokensExceeded,
            Never,
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", 503, E::ProviderUnavailable, Elsewhere),
        (401, "authentication_error", "invalid x-api-key", 503, E::ProviderUnavailable, Elsewhere),
        (402, "billing_error", "pay", 503, E::ProviderUnavailable, Elsewhere),
        (403, "permission_error", "no", 503, E::ProviderUnavailable, Elsewhere),
        (404, "not_found_error", "model: m", 404, E::NotFound, Elsewhere),
        (413, "request_too_large", "too large", 413, E::PayloadTooLarge, Never),
        (429, "rate_limit_error", "wait", 429, E::RateLimitExceeded, Anywhere),
        (500, "api_error", "oops", 502, E::ProviderUnavailable, Anywhere),
        (504, "timeout_error", "slow", 504, E::Timeout, Anywhere),
        (529, "overloaded_error", "Overloaded", 503, E::ProviderOverloaded, Anywhere),
    ];
    let none = ErrorHeaders::default();
    for (status, kind, message, expected, error_type, retry) in rows {
        let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).to_string();
        let whole = classify(status, &none, body.as_bytes());
        assert_eq!((whole.status, whole.error_type, whole.retry), (expected, error_type, retry), "{status} {body}");
        // In a stream only the words tell the status; what they leave open is the provider's fault.
        let event = classify_in_body(body.as_bytes());
        assert_eq!((event.status, event.error_type), (expected, error_type), "in a stream: {body}");
    }
}

#[test]
fn a_gateway_that_speaks_our_vocabulary_is_taken_at_its_word() {
    let body =
        |named: &str| json!({"type": "error", "error": {"type": "invalid_request_error", "message": "m", "error_type": named}}).to_string();
    let rows = [
        (400, "context_length_exceeded", 400, ErrorType::ContextLengthExceeded, Retry::Never),
        (403, "content_policy_violation", 403, ErrorType::ContentPolicyViolation, Retry::Never),
        (503, "provider_overloaded", 503, ErrorType::ProviderOverloaded, Retry::Anywhere),
        (500, "timeout", 504, ErrorType::Timeout, Retry::Anywhere),
        (403, "permission_denied", 503, ErrorType::ProviderUnavailable, Retry::Elsewhere),
        (401, "invalid_request", 503, ErrorType::ProviderUnavailable, Retry::Elsewhere),
        (400, "no_such_name", 400, ErrorType::InvalidRequest, Retry::Never),
    ];
    for (status, named, expected, error_type, retry) in rows {
        let found = classify(status, &ErrorHeaders::default(), body(named).as_bytes());
        assert_eq!((found.status, found.error_type, found.retry), (expected, error_type, retry), "{status} {named}");
        assert_ne!(found.status, 401);
    }
    let openai = json!({"error": {"code": 400, "message": "m", "metadata": {"error_type": "image_too_large"}}}).to_string();
    assert_eq!(classify(400, &ErrorHeaders::default(), openai.as_bytes()).error_type, ErrorType::ImageTooLarge);
}
