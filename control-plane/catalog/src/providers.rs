//! The closed table of providers.

use waybill_proto::model::v1::{AsksUsage, HangUp};

/// A provider that is known: where it is and how it differs.
#[derive(Debug)]
pub struct Row {
    /// Name of the Provider, its account and its price book.
    pub name: &'static str,
    /// Name for people.
    pub display_name: &'static str,
    /// Variables that may hold the key; the first that is set counts.
    pub key_variables: &'static [&'static str],
    /// The ones of them whose secret goes out as a bearer token though the dialect has another header.
    pub bearer_variables: &'static [&'static str],
    /// The dialect it speaks.
    pub dialect: &'static str,
    /// Variable that may hold another base URL.
    pub base_url_variable: &'static str,
    /// What clients of this provider put behind the value of that variable by themselves, so that we do too unless it is there.
    pub base_url_ends: &'static str,
    /// The provider's own base URL.
    pub base_url: &'static str,
    /// Other spellings of it.
    pub also: &'static [&'static str],
    /// How a stream is made to carry usage.
    pub asks_usage: AsksUsage,
    /// What happens upstream when the client of a stream hangs up: [`HangUp::Cancel`] only where it is known that billing stops.
    pub hang_up: HangUp,
    /// Error statuses that are free; empty = every 4xx and 5xx without usage.
    pub free_statuses: &'static [u32],
    /// It understands OpenRouter's request fields.
    pub takes_gateway_fields: bool,
    /// Where the quirks are documented.
    pub source: &'static str,
    /// Models and prices, as `import/build.py` wrote them.
    pub(crate) data: &'static str,
}

/// Streams carry usage on request, billing after a hang-up is the whole answer: what holds unless a source says otherwise.
macro_rules! provider {
    ($name:literal, $display_name:literal, [$($key:literal),+], $base_url_variable:literal, $base_url:literal, $source:expr $(, $field:ident: $value:expr)*) => {
        Row {
            $($field: $value,)*
            ..Row {
                name: $name,
                display_name: $display_name,
                key_variables: &[$($key),+],
                bearer_variables: &[],
                dialect: "openai",
                base_url_variable: $base_url_variable,
                base_url_ends: "",
                base_url: $base_url,
                also: &[],
                asks_usage: AsksUsage::StreamOptions,
                hang_up: HangUp::Drain,
                free_statuses: &[],
                takes_gateway_fields: false,
                source: $source,
                data: include_str!(concat!("../data/", $name, ".json")),
            }
        }
    };
}

/// OpenRouter's page on streaming lists providers at which closing the connection stops generation and billing, and others at which the
/// whole answer is billed. It speaks of streams only: an answer that comes whole is billed whole everywhere.
const STOPS: &str = "openrouter.ai/docs/api-reference/streaming, stream cancellation: listed as stopping";
const GOES_ON: &str = "openrouter.ai/docs/api-reference/streaming, stream cancellation: listed as not stopping";
const UNLISTED: &str = "openrouter.ai/docs/api-reference/streaming, stream cancellation: not listed, so drained";

/// All known providers.
pub const PROVIDERS: &[Row] = &[
    provider!("openai", "OpenAI", ["OPENAI_API_KEY"], "OPENAI_BASE_URL", "https://api.openai.com/v1", STOPS, hang_up: HangUp::Cancel),
    // Its clients read both key variables: the first as `x-api-key`, the second as a bearer token (anthropics/anthropic-sdk-python, README),
    // and put `/v1/messages` behind the base URL. Usage is part of every stream.
    provider!(
        "anthropic", "Anthropic", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"], "ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1", STOPS,
        bearer_variables: &["ANTHROPIC_AUTH_TOKEN"], dialect: "anthropic", base_url_ends: "/v1", asks_usage: AsksUsage::Always,
        hang_up: HangUp::Cancel
    ),
    // It asks many providers, of which some go on; usage comes on request in every recorded answer.
    provider!(
        "openrouter", "OpenRouter", ["OPENROUTER_API_KEY"], "OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1",
        "openrouter.ai/docs/api-reference/streaming: whether billing stops depends on the provider behind it",
        takes_gateway_fields: true
    ),
    provider!("groq", "Groq", ["GROQ_API_KEY"], "GROQ_BASE_URL", "https://api.groq.com/openai/v1", GOES_ON),
    provider!(
        "mistral", "Mistral", ["MISTRAL_API_KEY"], "MISTRAL_BASE_URL", "https://api.mistral.ai/v1",
        "usage comes unasked and `stream_options` is answered with 422 (openai/openai-agents-python#442, dnakov/anon-kode#53); openrouter.ai/docs/api-reference/streaming, stream cancellation: listed as not stopping",
        asks_usage: AsksUsage::Always
    ),
    provider!(
        "deepseek", "DeepSeek", ["DEEPSEEK_API_KEY"], "DEEPSEEK_BASE_URL", "https://api.deepseek.com", STOPS,
        also: &["https://api.deepseek.com/v1"], hang_up: HangUp::Cancel
    ),
    provider!("xai", "xAI", ["XAI_API_KEY"], "XAI_BASE_URL", "https://api.x.ai/v1", STOPS, hang_up: HangUp::Cancel),
    provider!(
        "together", "Together AI", ["TOGETHER_API_KEY"], "TOGETHER_BASE_URL", "https://api.together.xyz/v1", STOPS,
        also: &["https://api.together.ai/v1"], hang_up: HangUp::Cancel
    ),
    provider!(
        "fireworks", "Fireworks AI", ["FIREWORKS_API_KEY"], "FIREWORKS_BASE_URL", "https://api.fireworks.ai/inference/v1", STOPS,
        hang_up: HangUp::Cancel
    ),
    provider!("cerebras", "Cerebras", ["CEREBRAS_API_KEY"], "CEREBRAS_BASE_URL", "https://api.cerebras.ai/v1", UNLISTED),
    provider!("perplexity", "Perplexity", ["PERPLEXITY_API_KEY"], "PERPLEXITY_BASE_URL", "https://api.perplexity.ai", GOES_ON),
    provider!(
        "gemini",
        "Google Gemini",
        ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        "GEMINI_BASE_URL",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        GOES_ON
    ),
    provider!("nvidia", "NVIDIA", ["NVIDIA_API_KEY"], "NVIDIA_BASE_URL", "https://integrate.api.nvidia.com/v1", UNLISTED),
    provider!(
        "huggingface",
        "Hugging Face",
        ["HF_TOKEN", "HUGGINGFACE_API_KEY"],
        "HUGGINGFACE_BASE_URL",
        "https://router.huggingface.co/v1",
        GOES_ON
    ),
    provider!("zai", "Z.ai", ["ZAI_API_KEY"], "ZAI_BASE_URL", "https://api.z.ai/api/paas/v4", UNLISTED),
    provider!("moonshot", "Moonshot AI", ["MOONSHOT_API_KEY"], "MOONSHOT_BASE_URL", "https://api.moonshot.ai/v1", UNLISTED),
    provider!(
        "deepinfra", "DeepInfra", ["DEEPINFRA_API_KEY"], "DEEPINFRA_BASE_URL", "https://api.deepinfra.com/v1/openai", STOPS,
        hang_up: HangUp::Cancel
    ),
    provider!(
        "novita", "Novita AI", ["NOVITA_API_KEY"], "NOVITA_BASE_URL", "https://api.novita.ai/openai", STOPS, hang_up: HangUp::Cancel
    ),
];
