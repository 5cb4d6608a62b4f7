//! Closed lists of words.

/// Dialects that a provider can speak.
pub const DIALECTS: &[&str] = &["openai", "anthropic"];

/// What a model can take.
pub const INPUT_MODALITIES: &[&str] = &["text", "image", "file", "audio", "video"];

/// What a model can give.
pub const OUTPUT_MODALITIES: &[&str] = &["text", "image", "audio"];

/// Sort orders of a route policy.
pub const SORTS: &[&str] = &["price"];

/// Number formats of weights. Source: the schema `Quantization` of OpenRouter's API description.
pub const QUANTIZATIONS: &[&str] = &["int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"];

/// Ways in which a request can steer the reasoning of a model: a level, a ceiling in tokens, on or off, or left to the model.
pub const REASONING_CONTROLS: &[&str] = &["effort", "budget_tokens", "toggle", "adaptive"];

/// Request parameters that an endpoint can support. Source: the schema `Parameter` of OpenRouter's API description.
pub const PARAMETERS: &[&str] = &[
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "top_a",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "max_completion_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "prediction",
    "seed",
    "response_format",
    "structured_outputs",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "include_reasoning",
    "reasoning",
    "reasoning_effort",
    "web_search_options",
    "verbosity",
];

/// Headers that a provider may not add: the ones that carry the secret, that frame the message (RFC 9110 §7.6.1 and §8.6) or that say what
/// the body is, because the byte path sets them itself; and the usual headers of keys, because a secret belongs in an account.
pub const RESERVED_HEADERS: &[&str] = &[
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-goog-api-key",
];
