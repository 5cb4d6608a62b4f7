use proptest::prelude::*;
use serde_json::{Value, json};

use crate::classify::{ErrorHeaders, Retry, classify, classify_in_body};
use crate::error::{ErrorBody, ErrorType};
use crate::fault::{Fault, FaultKind};
use crate::openai::{DONE_FRAME, envelope, error_frame};

const NO_HEADERS: ErrorHeaders<'static> = ErrorHeaders { retry_after: None, retry_after_ms: None, content_type: None, now_s: 0 };

#[test]
fn the_vocabulary_has_27_types_each_with_its_own_name() {
    assert_eq!(ErrorType::TABLE.len(), 27);
    for (member, name, status) in ErrorType::TABLE {
        assert_eq!(ErrorType::from_name(name), Some(*member));
        assert_eq!((member.name(), member.default_status()), (*name, *status));
    }
    assert_eq!(ErrorType::from_name("nonsense"), None);
}

#[test]
fn the_envelope_reads_in_both_families_of_clients() {
    let error = ErrorBody::new(ErrorType::RateLimitExceeded, "slow \"down\"").with("limit", "requests per minute").with_retry_after(7);
    let value: Value = serde_json::from_slice(&envelope(&error)).expect("JSON");
    let expected = json!({"error": {"code": 429, "message": "slow \"down\"", "type": "rate_limit_error", "param": null,
        "metadata": {"error_type": "rate_limit_exceeded", "limit": "requests per minute", "retry_after": 7}}});
    assert_eq!(value, expected);
    let fault = Fault { kind: FaultKind::WrongType, path: "provider.zdr".into(), message: "must be true or false".into() };
    let value: Value = serde_json::from_slice(&envelope(&ErrorBody::from(&fault))).expect("JSON");
    assert_eq!(value["error"]["param"], "provider.zdr");
    assert_eq!((&value["error"]["code"], &value["error"]["message"]), (&json!(400), &json!("provider.zdr: must be true or false")));
}

#[test]
fn an_error_in_a_stream_is_a_chunk_that_ends_it() {
    let frame = error_frame(&ErrorBody::new(ErrorType::ProviderUnavailable, "gone\nfar"), "gen-1", "maker/model", 1_700_000_000);
    let text = std::str::from_utf8(&frame).expect("UTF-8");
    let chunk: Value = serde_json::from_str(text.strip_prefix("data: ").expect("data")).expect("JSON");
    assert!(text.ends_with("\n\n") && text.matches('\n').count() == 2);
    assert_eq!(chunk["choices"][0]["finish_reason"], "error");
    assert_eq!(chunk["choices"][0]["delta"]["content"], "");
    assert_eq!((&chunk["error"]["code"], &chunk["error"]["metadata"]["error_type"]), (&json!(502), &json!("provider_unavailable")));
    assert_eq!(DONE_FRAME, b"data: [DONE]\n\n");
}

#[test]
fn providers_errors_become_ours() {
    use ErrorType as E;
    use Retry::{Anywhere, Elsewhere, Never};
    // (status, body, status for the caller, type, retry)
    let rows: &[(u16, &str, u16, ErrorType, Retry)] = &[
        (400, r#"{"error":{"message":"bad n","type":"invalid_request_error","code":null}}"#, 400, E::InvalidRequest, Never),
        (400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#, 400, E::ContextLengthExceeded, Never),
        (400, r#"{"error":{"message":"This model's maximum context length is 10 tokens."}}"#, 400, E::ContextLengthExceeded, Never),
        (413, r#"{"error":{"message":"prompt too long; 5 over"}}"#, 400, E::ContextLengthExceeded, Never),
        (400, r#"{"message":"too many tokens: size limit exceeded by 25 tokens."}"#, 400, E::ContextLengthExceeded, Never),
        (400, r#"{"error":{"message":"max_tokens is too large: 9"}}"#, 400, E::MaxTokensExceeded, Never),
        (400, r#"{"error":{"code":"content_filter","message":"no"}}"#, 403, E::ContentPolicyViolation, Never),
        (
            400,
            r#"{"error":{"code":"invalid_image_url","message":"Error while downloading http://h/i.png."}}"#,
            400,
            E::ImageDownloadFailed,
            Never,
        ),
        (400, r#"{"error":{"code":"tool_use_failed","message":"bad call"}}"#, 400, E::InvalidRequest, Elsewhere),
        (
            400,
            r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"provider_name":"P","raw":"one image only"}}}"#,
            400,
            E::InvalidRequest,
            Elsewhere,
        ),
        (401, r#"{"error":{"message":"Incorrect API key provided: sk-abcdefgh"}}"#, 503, E::ProviderUnavailable, Elsewhere),
        (401, r#"{"detail":"Invalid API Key"}"#, 503, E::ProviderUnavailable, Elsewhere),
        (400, r#"{"error":{"message":"API key not valid. Please pass a valid API key."}}"#, 503, E::ProviderUnavailable, Elsewhere),
        (400, r#"{"code":"invalid-argument","error":"Incorrect API key provided: x***y."}"#, 503, E::ProviderUnavailable, Elsewhere),
        (402, r#"{"error":{"message":"Insufficient credits","code":402}}"#, 503, E::ProviderUnavailable, Elsewhere),
        (403, r#"{"error":{"message":"project has no access"}}"#, 503, E::ProviderUnavailable, Elsewhere),
        (
            403,
            r#"{"error":{"code":403,"message":"flagged","metadata":{"reasons":["x"],"flagged_input":"y"}}}"#,
            403,
            E::ContentPolicyViolation,
            Never,
        ),
        (404, r#"{"error":{"code":"DeploymentNotFound","message":"no such deployment"}}"#, 404, E::NotFound, Elsewhere),
        (408, "", 504, E::Timeout, Anywhere),
        (413, "too big", 413, E::PayloadTooLarge, Never),
        (422, r#"{"detail":[{"loc":["body","n"],"msg":"not a number"}]}"#, 422, E::Unprocessable, Never),
        (429, r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, 429, E::RateLimitExceeded, Anywhere),
        (429, r#"{"error":{"message":"slow down","type":"invalid_request_error"}}"#, 429, E::RateLimitExceeded, Anywhere),
        (
            429,
            r#"{"error":{"message":"Request too large for m: Limit 1, Requested 2.","code":"rate_limit_exceeded"}}"#,
            429,
            E::RateLimitExceeded,
            Elsewhere,
        ),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
            503,
            E::ProviderUnavailable,
            Elsewhere,
        ),
        (429, r#"{"message":"Too many tokens, please wait."}"#, 429, E::RateLimitExceeded, Anywhere),
        (
            429,
            r#"[{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED"}}]"#,
            429,
            E::RateLimitExceeded,
            Anywhere,
        ),
        (500, r#"{"error":{"message":"oops","type":"server_error"}}"#, 502, E::ProviderUnavailable, Anywhere),
        (502, "<html><body>Bad Gateway</body></html>", 502, E::ProviderUnavailable, Anywhere),
        (503, r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#, 503, E::ProviderOverloaded, Anywhere),
        (504, "", 504, E::Timeout, Anywhere),
        (524, "<html>", 504, E::Timeout, Anywhere),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, 503, E::ProviderOverloaded, Anywhere),
    ];
    for (status, body, expected, error_type, retry) in rows {
        let found = classify(*status, &NO_HEADERS, body.as_bytes());
        assert_eq!((found.status, found.error_type, found.retry), (*expected, *error_type, *retry), "{status} {body}");
        assert_eq!(found.provider_status, *status);
        assert_ne!(found.status, 401);
        assert!(!found.message.is_empty() && !found.message.contains('<'), "{}", found.message);
    }
}

#[test]
fn errors_inside_a_2xx_are_judged_by_what_they_name() {
    let rows = [
        (r#"{"code":429,"message":"m"}"#, 429, ErrorType::RateLimitExceeded),
        (r#"{"error":{"message":"m","code":"tool_use_failed","status_code":400}}"#, 400, ErrorType::InvalidRequest),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, 503, ErrorType::ProviderOverloaded),
        (r#"{"message":"m","type":"invalid_request_error"}"#, 400, ErrorType::InvalidRequest),
        (r#""it broke""#, 502, ErrorType::ProviderUnavailable),
        ("", 502, ErrorType::ProviderUnavailable),
        (r#"{"code":"insufficient_quota","message":"m"}"#, 503, ErrorType::ProviderUnavailable),
    ];
    for (error, status, error_type) in rows {
        let found = classify_in_body(error.as_bytes());
        assert_eq!((found.status, found.error_type), (status, error_type), "{error}");
    }
}

#[test]
fn messages_are_found_wherever_they_are_packed_and_carry_no_account() {
    let rows = [
        (503, r#"{"error":{"message":"{\n \"error\": {\"code\": 503, \"message\": \"inner words\"}}"}}"#, "inner words"),
        (429, r#"{"error":{"message":"Provider returned error","metadata":{"raw":"raw words"}}}"#, "raw words"),
        (422, r#"{"detail":[{"msg":"list words"}]}"#, "list words"),
        (500, "plain words", "plain words"),
        (429, r#"{"error":{"message":"limit of org-Ab12cd34 (key sk-12345678), wait"}}"#, "limit of *** (key ***), wait"),
        (401, r#"{"error":{"message":"key sk-12345678 is wrong"}}"#, "the provider refused this gateway's account"),
        (500, "", "the provider answered 500 and said no reason"),
    ];
    for (status, body, message) in rows {
        assert_eq!(classify(status, &NO_HEADERS, body.as_bytes()).message, message, "{body}");
    }
}

#[test]
fn waiting_is_told_only_where_it_helps() {
    let after = |status, seconds, millis, body: &str| {
        // Wed, 21 Oct 2015 07:28:00 GMT, less half a minute.
        let headers = ErrorHeaders { retry_after: seconds, retry_after_ms: millis, content_type: None, now_s: 1_445_412_450 };
        classify(status, &headers, body.as_bytes()).retry_after
    };
    assert_eq!(after(429, Some("20"), None, "{}"), Some(20));
    assert_eq!(after(429, Some("1"), Some("1494"), "{}"), Some(2));
    assert_eq!(after(503, Some(" 86400 "), None, "{}"), Some(86400));
    assert_eq!(after(503, Some("86401"), None, "{}"), Some(86400), "a day at most");
    assert_eq!(after(429, Some("1"), Some("99000000000"), "{}"), Some(86400));
    for (date, wait) in [
        ("Wed, 21 Oct 2015 07:28:00 GMT", Some(30)),
        (" Wednesday, 21-Oct-15 07:28:00 GMT ", Some(30)),
        ("Wed Oct 21 07:28:00 2015", Some(30)),
        ("Wed, 21 Oct 2015 07:27:30 GMT", Some(0)),
        ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
        ("Sat, 24 Oct 2015 07:28:00 GMT", Some(86400)),
        ("Wed, 21 Oct 2015 07:28:00 CET", None),
        ("2015-10-21T07:28:00Z", None),
        ("soon", None),
        ("-5", None),
    ] {
        assert_eq!(after(429, Some(date), None, "{}"), wait, "{date}");
    }
    assert_eq!(after(429, Some("Wed, 21 Oct 2015 07:28:00 GMT"), Some("2000"), "{}"), Some(2), "the precise one holds");
    assert_eq!(after(429, Some("20"), None, r#"{"error":{"code":"insufficient_quota"}}"#), None);
    assert_eq!(after(400, Some("20"), None, "{}"), None);
}

proptest! {
    #[test]
    fn arbitrary_bodies_never_panic_and_never_blame_the_callers_key(status in 400u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_ne!(classify(status, &NO_HEADERS, &body).status, 401);
        prop_assert_ne!(classify_in_body(&body).status, 401);
    }

    #[test]
    fn nesting_has_an_end(depth in 0usize..40) {
        let mut text = "\"words\"".to_owned();
        for _ in 0..depth.min(12) {
            text = json!({"error": {"message": text}}).to_string();
        }
        let deep = format!("{}1{}", r#"{"error":"#.repeat(depth), "}".repeat(depth));
        classify(500, &NO_HEADERS, text.as_bytes());
        classify(500, &NO_HEADERS, deep.as_bytes());
    }
}
