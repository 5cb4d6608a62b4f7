//! What a caller asks of the routing, borrowed from the request.

/// `provider.max_price`: hard upper limits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MaxPrice {
    /// pico-USD per million input tokens.
    pub prompt: Option<i64>,
    /// pico-USD per million output tokens.
    pub completion: Option<i64>,
    /// pico-USD for one request.
    pub request: Option<i64>,
}

impl MaxPrice {
    /// Some limit is set.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.prompt.is_some() || self.completion.is_some() || self.request.is_some()
    }
}

/// All that routing must know of a request; the names are OpenRouter's.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    /// The model as the caller spelt it: canonical, or a bare slug that is unique.
    pub model: &'a str,
    /// Models to fall back to, in order.
    pub models: &'a [Box<str>],
    /// Dialects that the request can be carried in: the caller's own first, then those it can be translated into.
    pub dialects: &'a [&'a str],
    /// `provider.order`: tried first, in this order.
    pub order: &'a [Box<str>],
    /// `provider.only`; empty = all.
    pub only: &'a [Box<str>],
    /// `provider.ignore`.
    pub ignore: &'a [Box<str>],
    /// `provider.allow_fallbacks`. `false`: only what `order` names or, without an `order`, one attempt.
    pub allow_fallbacks: bool,
    /// `provider.require_parameters`.
    pub require_parameters: bool,
    /// Names of the parameters that the request sets.
    pub parameters: &'a [&'a str],
    /// What the prompt consists of beyond text: `image`, `audio`, `file`, `video`.
    pub input_modalities: &'a [&'a str],
    /// What the answer is to consist of beyond text: `image`, `audio`.
    pub output_modalities: &'a [&'a str],
    /// `provider.quantizations`; empty = any.
    pub quantizations: &'a [Box<str>],
    /// `provider.max_price`.
    pub max_price: MaxPrice,
    /// `provider.sort: price` instead of the weighted draw.
    pub sort_by_price: bool,
    /// `provider.data_collection: deny`.
    pub deny_data_collection: bool,
    /// `provider.zdr`.
    pub zero_data_retention: bool,
    /// Most output tokens the caller asks for.
    pub max_output: Option<u64>,
    /// A number of tokens that the prompt has at least. An endpoint is left out for its context window only where this exceeds it: a wrong
    /// exclusion takes an answer away, a wrong inclusion costs one refusal by a provider. 0 where nothing is certain, as with media in the
    /// body, whose bytes say nothing about their tokens. See [`least_input_tokens`].
    pub least_input_tokens: u64,
}

impl<'a> Wishes<'a> {
    /// Asks for a model in the dialect `openai` and for nothing else.
    #[must_use]
    pub const fn of_model(model: &'a str) -> Self {
        Self {
            model,
            models: &[],
            dialects: &["openai"],
            order: &[],
            only: &[],
            ignore: &[],
            allow_fallbacks: true,
            require_parameters: false,
            parameters: &[],
            input_modalities: &[],
            output_modalities: &[],
            quantizations: &[],
            max_price: MaxPrice { prompt: None, completion: None, request: None },
            sort_by_price: false,
            deny_data_collection: false,
            zero_data_retention: false,
            max_output: None,
            least_input_tokens: 0,
        }
    }
}

/// Bytes of a JSON body without media that no tokenizer packs more than one token into, on the average of a whole prompt. Plain English has
/// 4 to 5 bytes a token, code with wide indentation up to 8; escapes (`\u00e9`) lengthen the body, so twice the highest is taken.
const BYTES_PER_TOKEN: u64 = 16;

/// What a prompt of so many bytes of JSON has at least, in tokens.
#[must_use]
pub const fn least_input_tokens(body_bytes: u64) -> u64 {
    body_bytes / BYTES_PER_TOKEN
}
