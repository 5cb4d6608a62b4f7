//! A provider's error becomes one of ours: what the caller is told, and whether another try makes sense.
//!
//! Status and code decide; the type is looked at last, because providers use it loosely (one answers 429 with
//! `invalid_request_error`).

mod provider_error;

use std::time::{Duration, UNIX_EPOCH};

use self::provider_error::{ProviderError, scrubbed};
use crate::error::{ErrorBody, ErrorType};

/// The headers of an error answer that matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorHeaders<'a> {
    pub retry_after: Option<&'a str>,
    pub retry_after_ms: Option<&'a str>,
    pub content_type: Option<&'a str>,
    /// The present, in Unix seconds: `retry_after` may be a date.
    pub now_s: u64,
}

/// Longest wait that is believed, in seconds.
const LONGEST_WAIT_S: u64 = 24 * 60 * 60;

/// Where a retry can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nowhere: the request itself is at fault.
    Never,
    /// At another endpoint; at this one waiting does not help.
    Elsewhere,
    /// At another endpoint, or here after a while.
    Anywhere,
}

/// A provider's error, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    pub error_type: ErrorType,
    /// For the caller. The provider's 401, 402 and 403 are ours to answer for, so they never appear here.
    pub status: u16,
    pub retry: Retry,
    /// Seconds the provider asks to wait; only if waiting helps.
    pub retry_after: Option<u64>,
    /// The status the provider answered with; for an error inside a 2xx the one it names, else 0.
    pub provider_status: u16,
    pub provider_code: Option<String>,
    /// For the caller: without names of accounts or keys.
    pub message: String,
    /// For the operator, as the provider said it.
    pub provider_message: Option<String>,
}

impl Classified {
    /// Whether another endpoint may succeed.
    pub fn retries_elsewhere(&self) -> bool {
        self.retry != Retry::Never
    }

    /// Whether another *model* of the caller's list may succeed where this one refuses for itself.
    pub fn retries_with_other_model(&self) -> bool {
        self.retries_elsewhere()
            || matches!(
                self.error_type,
                ErrorType::ContextLengthExceeded
                    | ErrorType::MaxTokensExceeded
                    | ErrorType::ContentPolicyViolation
                    | ErrorType::NotFound
                    | ErrorType::Refusal
            )
    }

    /// The error as the caller is to see it.
    pub fn to_body(&self) -> ErrorBody {
        let mut body = ErrorBody::new(self.error_type, self.message.clone()).with_status(self.status);
        body.retry_after = self.retry_after;
        match &self.provider_code {
            Some(code) => body.with("provider_code", code.clone()),
            None => body,
        }
    }
}

/// Judges a provider's answer that is no 2xx.
pub fn classify(status: u16, headers: &ErrorHeaders<'_>, body: &[u8]) -> Classified {
    judge(status, status, headers, ProviderError::read(body))
}

/// Judges an error that came inside a 2xx: the value of `error`, or the payload of an error event.
pub fn classify_in_body(error: &[u8]) -> Classified {
    let error = ProviderError::read(error);
    let named = error.status.unwrap_or(0);
    let status = if named == 0 { status_of_words(&error) } else { named };
    judge(status, named, &ErrorHeaders::default(), error)
}

/// The status that an error without one stands for. What says nothing is the provider's fault.
fn status_of_words(error: &ProviderError) -> u16 {
    let mut words = [&error.code, &error.kind].into_iter().flatten();
    words
        .find_map(|word| match word.as_str() {
            "overloaded_error" | "UNAVAILABLE" | "overloaded" => Some(529),
            "billing_error" => Some(402),
            "request_too_large" => Some(413),
            "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" | "insufficient_quota" => Some(429),
            "invalid_request_error" | "INVALID_ARGUMENT" | "context_length_exceeded" => Some(400),
            "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => Some(401),
            "permission_error" | "PERMISSION_DENIED" => Some(403),
            "not_found_error" | "model_not_found" | "NOT_FOUND" => Some(404),
            "timeout_error" | "DEADLINE_EXCEEDED" => Some(504),
            _ => None,
        })
        .unwrap_or(502)
}

fn judge(status: u16, provider_status: u16, headers: &ErrorHeaders<'_>, error: ProviderError) -> Classified {
    let said = Said::new(&error);
    let (error_type, caller_status, retry) = verdict(status, &error, &said);
    let wait = if retry == Retry::Anywhere { seconds(headers) } else { None };
    let told = error.message.as_deref().map(scrubbed);
    let message = match (is_account_fault(status, error_type), told) {
        (true, _) => "the provider refused this gateway's account".to_owned(),
        (false, Some(told)) => told,
        (false, None) => format!("the provider answered {status} and said no reason"),
    };
    Classified {
        error_type,
        status: caller_status,
        retry,
        retry_after: wait,
        provider_status,
        provider_code: error.code.or(error.kind),
        message,
        provider_message: error.message,
    }
}

/// The words of an error, ready to be looked for.
struct Said {
    codes: Vec<String>,
    message: String,
}

impl Said {
    fn new(error: &ProviderError) -> Self {
        let codes = [&error.code, &error.kind].into_iter().flatten().map(|code| code.to_ascii_lowercase()).collect();
        Self { codes, message: error.message.as_deref().unwrap_or_default().to_ascii_lowercase() }
    }

    fn code(&self, any: &[&str]) -> bool {
        self.codes.iter().any(|code| any.contains(&code.as_str()))
    }

    fn phrase(&self, any: &[&str]) -> bool {
        any.iter().any(|phrase| self.message.contains(phrase))
    }
}

/// What a provider says in codes and phrases about requests that no waiting heals; the first row that fits wins.
struct Row {
    error_type: ErrorType,
    codes: &'static [&'static str],
    phrases: &'static [&'static str],
}

const REQUEST_FAULTS: &[Row] = &[
    Row {
        error_type: ErrorType::ContextLengthExceeded,
        codes: &["context_length_exceeded", "too_many_prompt_tokens", "model_context_window_exceeded"],
        phrases: &[
            "maximum context length",
            "max context length",
            "context length exceeded",
            "exceeds the context",
            "exceed the context",
            "exceed context limit",
            "context window",
            "prompt is too long",
            "prompt too long",
            "input is too long",
            "total length of all messages is too long",
            "exceeds the maximum number of tokens",
            "too many tokens in the prompt",
            "too many tokens: size limit exceeded",
            "maximum prompt length",
        ],
    },
    Row {
        error_type: ErrorType::MaxTokensExceeded,
        codes: &["max_tokens_exceeded"],
        phrases: &[
            "max_tokens is too large",
            "max_completion_tokens is too large",
            "max_tokens must be less than",
            "max_tokens must be at most",
            "max_tokens is greater than",
            "the maximum allowed number of output tokens",
        ],
    },
    Row {
        error_type: ErrorType::ContentPolicyViolation,
        codes: &[
            "content_filter",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "data_inspection_failed",
            "moderation_blocked",
        ],
        phrases: &["content management policy", "content policy", "requires moderation"],
    },
    Row { error_type: ErrorType::StringTooLong, codes: &["string_above_max_length", "string_too_long"], phrases: &[] },
    Row { error_type: ErrorType::InvalidPrompt, codes: &["invalid_prompt"], phrases: &[] },
    Row {
        error_type: ErrorType::ImageDownloadFailed,
        codes: &["image_download_failed"],
        phrases: &["error while downloading", "failed to download image", "timeout while downloading"],
    },
    Row { error_type: ErrorType::ImageNotFound, codes: &["image_file_not_found", "image_not_found"], phrases: &[] },
    Row {
        error_type: ErrorType::ImageTooLarge,
        codes: &["image_too_large", "image_file_too_large"],
        phrases: &["image exceeds", "image is too large"],
    },
    Row { error_type: ErrorType::ImageTooSmall, codes: &["image_too_small"], phrases: &["image is too small"] },
    Row {
        error_type: ErrorType::UnsupportedImageFormat,
        codes: &["unsupported_image_media_type", "unsupported_image_format", "invalid_image_format"],
        phrases: &["unsupported image"],
    },
    Row {
        error_type: ErrorType::InvalidImage,
        codes: &["invalid_image", "invalid_base64_image", "image_parse_error", "invalid_image_url"],
        phrases: &["could not process image", "invalid image"],
    },
    Row { error_type: ErrorType::NotFound, codes: &["model_not_found", "deploymentnotfound", "unknown_model"], phrases: &[] },
];

fn verdict(status: u16, error: &ProviderError, said: &Said) -> (ErrorType, u16, Retry) {
    if let Some(named) = error.named.filter(|_| !matches!(status, 401 | 402)) {
        return of_our_vocabulary(named, error, said);
    }
    match status {
        429 => rate_limited(said),
        402 => account_fault(),
        401 | 403 if is_moderation(error, said) => (ErrorType::ContentPolicyViolation, 403, Retry::Never),
        401 | 403 => account_fault(),
        400..=499 => request_refused(status, error, said),
        503 | 529 => (ErrorType::ProviderOverloaded, 503, Retry::Anywhere),
        504 | 522 | 524 => (ErrorType::Timeout, 504, Retry::Anywhere),
        _ => (ErrorType::ProviderUnavailable, 502, Retry::Anywhere),
    }
}

/// A gateway that speaks our vocabulary has judged already. What it says of an account is said of ours.
fn of_our_vocabulary(named: ErrorType, error: &ProviderError, said: &Said) -> (ErrorType, u16, Retry) {
    match named {
        ErrorType::Authentication | ErrorType::PermissionDenied | ErrorType::PaymentRequired => account_fault(),
        ErrorType::RateLimitExceeded => rate_limited(said),
        ErrorType::ProviderOverloaded => (named, 503, Retry::Anywhere),
        ErrorType::Timeout => (named, 504, Retry::Anywhere),
        ErrorType::ProviderUnavailable | ErrorType::Server | ErrorType::Unmapped => (ErrorType::ProviderUnavailable, 502, Retry::Anywhere),
        _ => (named, named.default_status(), retry_of_request(named, error, said)),
    }
}

/// Two of the reasons for 429 last as long as the account or the request stays what it is.
fn rate_limited(said: &Said) -> (ErrorType, u16, Retry) {
    if said.code(&["insufficient_quota", "billing_hard_limit_reached", "quota_exceeded"])
        || said.phrase(&["exceeded your current quota", "insufficient balance"])
    {
        account_fault()
    } else if said.phrase(&["request too large", "must be reduced"]) {
        (ErrorType::RateLimitExceeded, 429, Retry::Elsewhere)
    } else {
        (ErrorType::RateLimitExceeded, 429, Retry::Anywhere)
    }
}

fn account_fault() -> (ErrorType, u16, Retry) {
    (ErrorType::ProviderUnavailable, 503, Retry::Elsewhere)
}

/// Whether the fault lies between the provider and us, so that its words are none of the caller's business.
fn is_account_fault(status: u16, error_type: ErrorType) -> bool {
    error_type == ErrorType::ProviderUnavailable && (400..500).contains(&status)
}

fn is_moderation(error: &ProviderError, said: &Said) -> bool {
    error.is_moderation
        || REQUEST_FAULTS
            .iter()
            .filter(|row| row.error_type == ErrorType::ContentPolicyViolation)
            .any(|row| said.code(row.codes) || said.phrase(row.phrases))
}

fn request_refused(status: u16, error: &ProviderError, said: &Said) -> (ErrorType, u16, Retry) {
    if status == 408 {
        return (ErrorType::Timeout, 504, Retry::Anywhere);
    }
    if status == 498 {
        return (ErrorType::ProviderOverloaded, 503, Retry::Anywhere);
    }
    if said.code(&["invalid_api_key", "authentication_error", "billing_error"])
        || said.phrase(&["invalid api key", "api key not valid", "incorrect api key", "credit balance is too low"])
    {
        return account_fault();
    }
    let row = REQUEST_FAULTS.iter().find(|row| said.code(row.codes) || said.phrase(row.phrases));
    let error_type = match (row, status) {
        (Some(row), _) => row.error_type,
        (None, 404) => ErrorType::NotFound,
        (None, 412) => ErrorType::PreconditionFailed,
        (None, 413) => ErrorType::PayloadTooLarge,
        (None, 422) => ErrorType::Unprocessable,
        (None, _) => ErrorType::InvalidRequest,
    };
    (error_type, error_type.default_status(), retry_of_request(error_type, error, said))
}

/// The model or the endpoint may have failed, not the request: a tool call that the model got wrong, a model that the
/// provider does not have, an aggregator's provider with limits of its own.
fn retry_of_request(error_type: ErrorType, error: &ProviderError, said: &Said) -> Retry {
    let may_succeed = error_type == ErrorType::NotFound
        || said.code(&["tool_use_failed"])
        || error.behind_aggregator && error_type == ErrorType::InvalidRequest;
    if may_succeed { Retry::Elsewhere } else { Retry::Never }
}

/// Seconds to wait, rounded up, at most a day. A date that has passed is no wait.
fn seconds(headers: &ErrorHeaders<'_>) -> Option<u64> {
    let millis = headers.retry_after_ms.and_then(|text| text.trim().parse::<u64>().ok());
    let precise = millis.map(|millis| millis.div_ceil(1000));
    let told = precise.or_else(|| {
        let text = headers.retry_after?.trim();
        text.parse().ok().or_else(|| until(text, headers.now_s))
    });
    told.map(|seconds| seconds.min(LONGEST_WAIT_S))
}

/// Seconds from now to an HTTP date (RFC 9110, 5.6.7: all three of its forms).
fn until(date: &str, now_s: u64) -> Option<u64> {
    let date = httpdate::parse_http_date(date).ok()?;
    let now = UNIX_EPOCH.checked_add(Duration::from_secs(now_s))?;
    Some(date.duration_since(now).map_or(0, |wait| wait.as_secs()))
}
