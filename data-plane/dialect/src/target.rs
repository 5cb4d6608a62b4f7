//! What an endpoint wants to see in a request.

/// How a provider is brought to tell usage in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsksUsage {
    /// By `stream_options.include_usage`, OpenAI's rule.
    #[default]
    StreamOptions,
    /// It tells unasked, and may refuse `stream_options` (Mistral answers 422), which is therefore cut out.
    Always,
    /// It never tells; `stream_options` is cut out.
    Never,
}

/// A limit of the output that the caller did not set and a hard budget asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxOutput {
    pub field: MaxOutputField,
    pub tokens: u64,
}

/// The name under which a provider takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxOutputField {
    MaxTokens,
    MaxCompletionTokens,
}

/// What one endpoint wants to see in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// The model's name at the provider.
    pub provider_model: &'a str,
    pub asks_usage: AsksUsage,
    /// Cut out all gateway-only fields (see `data-plane/README.md`). Without it, those that are carried out here
    /// (`models`, `route`, `plugins`, `transforms`) are still cut, and the rest passes.
    pub drop_gateway_fields: bool,
    /// Has no effect if the caller set a maximum.
    pub max_output: Option<MaxOutput>,
}
