//! The neutral form of a request: what routing, the bound and the meter must know, and nothing of the prompt.

use crate::dialect::Dialect;
use crate::named_set::named_set;
use crate::places::Places;

named_set! {
    /// A request parameter that an endpoint may or may not support; OpenRouter's `supported_parameters`.
    enum Parameter {
        Temperature = "temperature",
        TopP = "top_p",
        TopK = "top_k",
        MinP = "min_p",
        TopA = "top_a",
        FrequencyPenalty = "frequency_penalty",
        PresencePenalty = "presence_penalty",
        RepetitionPenalty = "repetition_penalty",
        MaxTokens = "max_tokens",
        MaxCompletionTokens = "max_completion_tokens",
        LogitBias = "logit_bias",
        Logprobs = "logprobs",
        TopLogprobs = "top_logprobs",
        Prediction = "prediction",
        Seed = "seed",
        ResponseFormat = "response_format",
        StructuredOutputs = "structured_outputs",
        Stop = "stop",
        Tools = "tools",
        ToolChoice = "tool_choice",
        ParallelToolCalls = "parallel_tool_calls",
        IncludeReasoning = "include_reasoning",
        Reasoning = "reasoning",
        ReasoningEffort = "reasoning_effort",
        WebSearchOptions = "web_search_options",
        Verbosity = "verbosity",
    }
    /// The parameters that a request set to something else than `null`.
    set Parameters
}

named_set! {
    /// What an endpoint must be able to do for the request to make sense there.
    enum Need {
        Tools = "tools",
        StructuredOutput = "structured_output",
        ImageInput = "image_input",
        AudioInput = "audio_input",
        FileInput = "file_input",
        VideoInput = "video_input",
        ImageOutput = "image_output",
        AudioOutput = "audio_output",
    }
    /// All that a request needs.
    set Needs
}

named_set! {
    /// Why the bound (body bytes at the dearest input meter, asked output at the dearest output meter) may be too low.
    enum Unbounded {
        /// The provider fetches the image; its size is not in the body.
        ImageUrl = "image_url",
        /// A compressed image may decode to more tokens than it has bytes.
        InlineImage = "inline_image",
        /// A compressed document may hold more text than it has bytes, or the provider fetches it.
        File = "file",
        /// A file that lies at the provider.
        FileId = "file_id",
        Audio = "audio",
        Video = "video",
        /// A content part of a type that is not known here.
        ContentPart = "content_part",
        /// The provider chooses the tier, and with it the price.
        ServiceTierAuto = "service_tier_auto",
        /// A tool that the provider runs, whose results it adds to the prompt.
        ServerTool = "server_tool",
        /// Search results are added to the prompt.
        WebSearch = "web_search",
        /// Rejected predicted tokens are billed as output beyond the asked maximum.
        Prediction = "prediction",
        /// Images in the answer are priced apart from tokens.
        ImageOutput = "image_output",
        /// The provider sums the prompt up when it grows too long, and bills that as well.
        Compaction = "compaction",
        /// More answers are generated than are returned.
        BestOf = "best_of",
    }
    /// The causes found; empty = the call is bounded.
    set UnboundedCauses
}

/// How `provider.sort` orders the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Price,
    Throughput,
    Latency,
}

/// `provider.data_collection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataCollection {
    Allow,
    Deny,
}

/// `provider.max_price`: hard upper limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxPrice {
    /// Pico-USD per million input tokens.
    pub prompt: Option<i64>,
    /// Pico-USD per million output tokens.
    pub completion: Option<i64>,
    /// Pico-USD for **one** request.
    pub request: Option<i64>,
}

/// The `provider` object of OpenRouter's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderPreferences {
    pub order: Vec<Box<str>>,
    pub only: Vec<Box<str>>,
    pub ignore: Vec<Box<str>>,
    /// Default `true`.
    pub allow_fallbacks: bool,
    /// Default `false`.
    pub require_parameters: bool,
    pub max_price: MaxPrice,
    pub sort: Option<Sort>,
    pub data_collection: Option<DataCollection>,
    /// Zero data retention asked for; can only tighten.
    pub zdr: bool,
    /// Lower-case names out of OpenRouter's closed list; empty = any.
    pub quantizations: Vec<Box<str>>,
}

impl Default for ProviderPreferences {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            allow_fallbacks: true,
            require_parameters: false,
            max_price: MaxPrice::default(),
            sort: None,
            data_collection: None,
            zdr: false,
            quantizations: Vec::new(),
        }
    }
}

/// A request in neutral form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The dialect it was written in, in which it is to be answered.
    pub dialect: Dialect,
    /// As the caller spelt it, never empty.
    pub model: Box<str>,
    /// Further models to fall back to, in order, `model` not among them unless the caller repeated it.
    pub models: Vec<Box<str>>,
    pub stream: bool,
    /// The caller asked to see usage (`stream_options.include_usage` or `usage.include`).
    pub usage_asked: bool,
    /// Answers asked for, at least 1.
    pub n: u32,
    /// `max_completion_tokens`, else `max_tokens`.
    pub max_output: Option<u64>,
    pub provider: ProviderPreferences,
    pub parameters: Parameters,
    pub needs: Needs,
    pub unbounded: UnboundedCauses,
    /// As the caller spelt it.
    pub service_tier: Option<Box<str>>,
    /// `session_id`, for sticky routing.
    pub session: Option<Box<str>>,
    /// Bytes of the request body: the upper bound of its input tokens.
    pub body_bytes: u64,
    pub(crate) places: Places,
}

impl Call {
    /// A call without a body behind it, for rooms that plan or meter and never rewrite.
    pub fn of_model(model: &str) -> Self {
        Self {
            dialect: Dialect::OpenAi,
            model: model.into(),
            models: Vec::new(),
            stream: false,
            usage_asked: false,
            n: 1,
            max_output: None,
            provider: ProviderPreferences::default(),
            parameters: Parameters::EMPTY,
            needs: Needs::EMPTY,
            unbounded: UnboundedCauses::EMPTY,
            service_tier: None,
            session: None,
            body_bytes: 0,
            places: Places::default(),
        }
    }
}
