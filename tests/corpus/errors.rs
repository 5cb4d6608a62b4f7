//! What a provider's error is to become for the caller, by hand.
//!
//! The rule behind the rows: status and code decide, the type is looked at last; what lies between the provider and this gateway (keys, funds,
//! rights) is never the caller's fault; what the request itself caused is not tried again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dialect::Dialect;

/// Where another try makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The request is at fault.
    Never,
    /// At another provider; at this one waiting does not help, so no wait is told.
    Elsewhere,
    /// At another provider, or at this one after the wait it told.
    Anywhere,
}

/// What the caller is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    pub error_type: &'static str,
    pub retry: Retry,
    pub why: &'static str,
}

/// A row: the provider's status, and words of which one must stand in a code, a type or the message (none = any).
struct Row(&'static [u16], &'static [&'static str], u16, &'static str, Retry, &'static str);

const REQUEST: &[u16] = &[400, 404, 413, 422];

/// The first row that fits.
const ROWS: &[Row] = &[
    Row(&[401, 403], &["flagged_input", "content_filter"], 403, "content_policy_violation", Retry::Never, "a verdict on the prompt"),
    Row(&[401, 402, 403], &[], 503, "provider_unavailable", Retry::Elsewhere, "our account at the provider, never the caller's key"),
    Row(
        &[400],
        &["invalid_api_key", "api key not valid", "incorrect api key"],
        503,
        "provider_unavailable",
        Retry::Elsewhere,
        "our key, though the status blames the request",
    ),
    Row(
        &[429],
        &["insufficient_quota", "exceeded your current quota"],
        503,
        "provider_unavailable",
        Retry::Elsewhere,
        "our funds: waiting does not refill them",
    ),
    Row(&[429], &["request too large"], 429, "rate_limit_exceeded", Retry::Elsewhere, "it never fits into this account's limit"),
    Row(&[429], &[], 429, "rate_limit_exceeded", Retry::Anywhere, "a limit that passes"),
    Row(
        &[400, 413],
        &[
            "context_length_exceeded",
            "maximum context length",
            "max context length",
            "prompt is too long",
            "too_many_prompt_tokens",
            "too_many_tokens",
            "too many tokens: size limit exceeded",
        ],
        400,
        "context_length_exceeded",
        Retry::Never,
        "the prompt is too long for the model",
    ),
    Row(&[400], &["error while downloading"], 400, "image_download_failed", Retry::Never, "the provider could not fetch the caller's file"),
    Row(&[400], &["invalid_image_file", "invalid image data"], 400, "invalid_image", Retry::Never, "the caller's image"),
    Row(&[400], &["tool_use_failed"], 400, "invalid_request", Retry::Elsewhere, "the model wrote a wrong tool call; another one may not"),
    Row(&[400], &["provider_name"], 400, "invalid_request", Retry::Elsewhere, "one provider of an aggregator refuses; another may not"),
    Row(REQUEST, &["model_not_found", "deploymentnotfound"], 404, "not_found", Retry::Elsewhere, "this provider does not have the model"),
    Row(&[404], &[], 404, "not_found", Retry::Elsewhere, "this provider does not have what was asked for"),
    Row(&[413], &[], 413, "payload_too_large", Retry::Never, "the request is too large"),
    Row(&[422], &[], 422, "unprocessable", Retry::Never, "the request makes no sense to the provider"),
    Row(&[400], &[], 400, "invalid_request", Retry::Never, "the request is at fault"),
    Row(&[408, 504], &[], 504, "timeout", Retry::Anywhere, "the provider was too slow"),
    Row(&[503, 529], &[], 503, "provider_overloaded", Retry::Anywhere, "the provider is full"),
    Row(&[500, 502], &[], 502, "provider_unavailable", Retry::Anywhere, "the provider is broken"),
];

/// Statuses that words stand for, where an error inside a stream names none.
const WORDS: &[(&str, u16)] = &[
    ("overloaded_error", 529),
    ("insufficient_quota", 429),
    ("rate_limit_exceeded", 429),
    ("rate_limit_error", 429),
    ("authentication_error", 401),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
    ("invalid_request_error", 400),
    ("timeout_error", 504),
    ("server_error", 500),
    ("api_error", 500),
];

/// What an error answer with this status and body is to become. `None` = the table has no row, which is a fault of the table.
pub fn expected(status: u16, body: &Value) -> Option<Expected> {
    let words = words(body);
    let fits = |row: &&Row| row.0.contains(&status) && (row.1.is_empty() || row.1.iter().any(|word| words.contains(word)));
    ROWS.iter().find(fits).map(|Row(_, _, status, error_type, retry, why)| Expected { status: *status, error_type, retry: *retry, why })
}

/// The same for an error inside a stream. Its status is the one it names, else the one its words stand for, else a fault of the provider.
pub fn expected_in_stream(error: &Value) -> Option<Expected> {
    let words = words(error);
    let worded = || WORDS.iter().find(|(word, _)| words.contains(word)).map(|(_, status)| *status);
    expected(named_status(error).or_else(worded).unwrap_or(502), error)
}

/// What an error of ours tells a caller.
#[derive(Debug, Default)]
pub struct Told {
    /// Where the dialect has a place for it.
    pub status: Option<u16>,
    pub error_type: Option<String>,
    /// It has all that the dialect's clients read, and says something.
    pub is_well_formed: bool,
}

/// Anthropic's types, by the status of the answer they come with.
const ANTHROPIC_TYPES: &[(u16, &[&str])] = &[
    (400, &["invalid_request_error"]),
    (401, &["authentication_error"]),
    (402, &["billing_error"]),
    (403, &["permission_error"]),
    (404, &["not_found_error"]),
    (413, &["request_too_large"]),
    (422, &["invalid_request_error"]),
    (429, &["rate_limit_error"]),
    (502, &["api_error"]),
    (503, &["overloaded_error", "api_error"]),
    (504, &["timeout_error"]),
];

/// Reads one of our errors, as an answer with this status or as the event of an error that would have it.
pub fn told(caller: Dialect, status: u16, body: &Value) -> Told {
    let error = &body["error"];
    let has_message = error["message"].as_str().is_some_and(|message| !message.is_empty());
    let word = |value: &Value| value.as_str().map(str::to_owned);
    match caller {
        Dialect::OpenAi => Told {
            status: error["code"].as_u64().and_then(|code| code.try_into().ok()),
            error_type: word(&error["metadata"]["error_type"]),
            is_well_formed: has_message,
        },
        Dialect::Anthropic => {
            let kind = error["type"].as_str().unwrap_or_default();
            let is_known = ANTHROPIC_TYPES.iter().any(|(of, types)| *of == status && types.contains(&kind));
            let is_event = body["type"] == "error" && body["request_id"].as_str().is_some_and(|id| id.starts_with("gen-"));
            Told { status: None, error_type: word(&error["error_type"]), is_well_formed: has_message && is_known && is_event }
        }
    }
}

/// Seconds the provider asks to wait, rounded up.
pub fn wait(headers: &BTreeMap<String, String>) -> Option<u64> {
    let number = |name: &str| headers.get(name).and_then(|value| value.parse::<u64>().ok());
    number("retry-after-ms").map(|millis| millis.div_ceil(1000)).or_else(|| number("retry-after"))
}

/// All an error says, names of its fields included, in small letters.
fn words(body: &Value) -> String {
    body.to_string().to_lowercase()
}

/// A number in `code` or `status_code`, at any depth, that is an HTTP status of an error.
fn named_status(value: &Value) -> Option<u16> {
    let status = |value: &Value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|status| (400..600).contains(status))
    };
    match value {
        Value::Object(members) => {
            let own = ["code", "status_code"].iter().find_map(|name| status(members.get(*name)?));
            own.or_else(|| members.values().find_map(named_status))
        }
        Value::Array(list) => list.iter().find_map(named_status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_in_a_stream_has_the_status_it_names_or_its_words_stand_for() {
        let rows = [
            (json!({ "code": 503, "message": "x" }), 503),
            (json!([{ "error": { "code": "429" } }]), 429),
            (json!({ "type": "overloaded_error" }), 503),
            (json!({ "code": "rate_limit_error", "type": "invalid_request_error" }), 429),
            (json!({ "message": "who knows" }), 502),
        ];
        for (error, status) in rows {
            assert_eq!(expected_in_stream(&error).map(|expected| expected.status), Some(status), "{error}");
        }
    }
}
