//! The closed vocabulary of errors that callers see, and what follows from each.

/// Stable error types, as OpenRouter publishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    ContextLengthExceeded,
    MaxTokensExceeded,
    TokenLimitExceeded,
    StringTooLong,
    Authentication,
    PermissionDenied,
    PaymentRequired,
    RateLimitExceeded,
    ProviderOverloaded,
    ProviderUnavailable,
    InvalidRequest,
    InvalidPrompt,
    NotFound,
    PreconditionFailed,
    PayloadTooLarge,
    Unprocessable,
    ContentPolicyViolation,
    Refusal,
    InvalidImage,
    ImageTooLarge,
    ImageTooSmall,
    UnsupportedImageFormat,
    ImageNotFound,
    ImageDownloadFailed,
    Server,
    Timeout,
    Unmapped,
}

impl ErrorType {
    /// Name on the wire and default HTTP status; the one table of this vocabulary.
    pub const TABLE: &'static [(Self, &'static str, u16)] = &[
        (Self::ContextLengthExceeded, "context_length_exceeded", 400),
        (Self::MaxTokensExceeded, "max_tokens_exceeded", 400),
        (Self::TokenLimitExceeded, "token_limit_exceeded", 400),
        (Self::StringTooLong, "string_too_long", 400),
        (Self::Authentication, "authentication", 401),
        (Self::PermissionDenied, "permission_denied", 403),
        (Self::PaymentRequired, "payment_required", 402),
        (Self::RateLimitExceeded, "rate_limit_exceeded", 429),
        (Self::ProviderOverloaded, "provider_overloaded", 503),
        (Self::ProviderUnavailable, "provider_unavailable", 502),
        (Self::InvalidRequest, "invalid_request", 400),
        (Self::InvalidPrompt, "invalid_prompt", 400),
        (Self::NotFound, "not_found", 404),
        (Self::PreconditionFailed, "precondition_failed", 412),
        (Self::PayloadTooLarge, "payload_too_large", 413),
        (Self::Unprocessable, "unprocessable", 422),
        (Self::ContentPolicyViolation, "content_policy_violation", 403),
        (Self::Refusal, "refusal", 400),
        (Self::InvalidImage, "invalid_image", 400),
        (Self::ImageTooLarge, "image_too_large", 400),
        (Self::ImageTooSmall, "image_too_small", 400),
        (Self::UnsupportedImageFormat, "unsupported_image_format", 400),
        (Self::ImageNotFound, "image_not_found", 400),
        (Self::ImageDownloadFailed, "image_download_failed", 400),
        (Self::Server, "server", 500),
        (Self::Timeout, "timeout", 504),
        (Self::Unmapped, "unmapped", 500),
    ];

    /// The row is found by the member itself, so the order of the table is free.
    fn row(self) -> (&'static str, u16) {
        Self::TABLE.iter().find(|(member, ..)| *member == self).map_or(("unmapped", 500), |(_, name, status)| (*name, *status))
    }

    pub fn name(self) -> &'static str {
        self.row().0
    }

    pub fn default_status(self) -> u16 {
        self.row().1
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known, _)| *known == name).map(|(member, ..)| *member)
    }

    /// Whether another endpoint may succeed where this one failed.
    pub fn retries_elsewhere(self) -> bool {
        matches!(self, Self::RateLimitExceeded | Self::ProviderOverloaded | Self::ProviderUnavailable | Self::Server | Self::Timeout)
    }

    /// The family that Anthropic's clients know as `error.type`.
    pub fn anthropic_type(self) -> &'static str {
        match self {
            Self::Authentication => "authentication_error",
            Self::PermissionDenied | Self::ContentPolicyViolation => "permission_error",
            Self::PaymentRequired => "billing_error",
            Self::NotFound => "not_found_error",
            Self::PayloadTooLarge => "request_too_large",
            Self::RateLimitExceeded => "rate_limit_error",
            Self::ProviderOverloaded => "overloaded_error",
            Self::Timeout => "timeout_error",
            Self::ProviderUnavailable | Self::Server | Self::Unmapped => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// The family that OpenAI's clients know as `error.type`.
    pub fn openai_type(self) -> &'static str {
        match self {
            Self::Authentication => "authentication_error",
            Self::PermissionDenied => "permission_error",
            Self::PaymentRequired => "insufficient_quota",
            Self::RateLimitExceeded => "rate_limit_error",
            Self::ProviderOverloaded | Self::ProviderUnavailable | Self::Server | Self::Timeout | Self::Unmapped => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl std::fmt::Display for ErrorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An error as a caller is to see it, before a dialect gives it a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// HTTP status, also shown as `code`.
    pub status: u16,
    pub error_type: ErrorType,
    pub message: String,
    /// Path of the field at fault.
    pub param: Option<String>,
    /// A finer code than the type, which clients act upon; Anthropic's dialect has a place for it.
    pub code: Option<&'static str>,
    /// Further pairs of `metadata`: limits that were hit, guardrail, provider, ….
    pub metadata: Vec<(&'static str, String)>,
    /// Seconds after which the same request may succeed; the answer's `Retry-After`.
    pub retry_after: Option<u64>,
}

impl ErrorBody {
    /// An error with its type's default status.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self {
            status: error_type.default_status(),
            error_type,
            message: message.into(),
            param: None,
            code: None,
            metadata: Vec::new(),
            retry_after: None,
        }
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<&crate::fault::Fault> for ErrorBody {
    fn from(fault: &crate::fault::Fault) -> Self {
        let error = Self { code: fault.code(), ..Self::new(fault.error_type(), fault.to_string()) };
        if fault.path.is_empty() { error } else { error.with_param(fault.path.clone()) }
    }
}
