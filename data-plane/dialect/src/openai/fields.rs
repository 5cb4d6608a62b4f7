//! The one table of request fields that are read here, level by level.

use crate::fields::level;

level! {
    /// The request itself.
    Field {
        Model = "model", Messages = "messages", Stream = "stream", MaxTokens = "max_tokens",
        MaxCompletionTokens = "max_completion_tokens", StreamOptions = "stream_options", N = "n",
        Temperature = "temperature", TopP = "top_p", Tools = "tools", ToolChoice = "tool_choice",
        ParallelToolCalls = "parallel_tool_calls", ResponseFormat = "response_format", Stop = "stop",
        Seed = "seed", Reasoning = "reasoning", ReasoningEffort = "reasoning_effort",
        FrequencyPenalty = "frequency_penalty", PresencePenalty = "presence_penalty",
        RepetitionPenalty = "repetition_penalty", TopK = "top_k", MinP = "min_p", TopA = "top_a",
        LogitBias = "logit_bias", Logprobs = "logprobs", TopLogprobs = "top_logprobs",
        Prediction = "prediction", StructuredOutputs = "structured_outputs",
        IncludeReasoning = "include_reasoning", Verbosity = "verbosity",
        WebSearchOptions = "web_search_options", SearchParameters = "search_parameters",
        ServiceTier = "service_tier", Modalities = "modalities", BestOf = "best_of",
        Functions = "functions", FunctionCall = "function_call",
        Models = "models", Provider = "provider", Usage = "usage", Route = "route", Plugins = "plugins",
        Transforms = "transforms", Preset = "preset", Debug = "debug", SessionId = "session_id", Trace = "trace",
    }
}

level! {
    StreamOptions { IncludeUsage = "include_usage", }
}

level! {
    UsageOptions { Include = "include", }
}

level! {
    /// One of `messages`.
    Message {
        Role = "role", Content = "content", Audio = "audio", ToolCalls = "tool_calls", ToolCallId = "tool_call_id",
    }
}

level! {
    /// One of a message's `tool_calls`.
    ToolCall { Id = "id", }
}

level! {
    /// One part of a message's content.
    Part {
        Type = "type", Text = "text", ImageUrl = "image_url", InputAudio = "input_audio", File = "file",
        VideoUrl = "video_url", DocumentUrl = "document_url",
    }
}

level! {
    ImageUrl { Url = "url", }
}

level! {
    File { FileId = "file_id", FileData = "file_data", }
}

level! {
    /// One of `tools`.
    Tool { Type = "type", Function = "function", }
}

level! {
    ResponseFormat { Type = "type", }
}

/// Towards providers that do not know them, these members are cut out of the request.
pub(super) const GATEWAY_ONLY: &[Field] = &[
    Field::Models,
    Field::Provider,
    Field::Usage,
    Field::Route,
    Field::Plugins,
    Field::Transforms,
    Field::Preset,
    Field::Debug,
    Field::SessionId,
    Field::Trace,
];

/// These are carried out here, so no provider gets them: a fallback of its own would be billed at a model that
/// was not priced.
pub(super) const NEVER_FORWARDED: &[Field] = &[Field::Models, Field::Route, Field::Plugins, Field::Transforms];

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fields::tests::{check, spellings};

    /// Every field that is read, with the JSON around it: `%` stands for the member under test.
    pub(in crate::openai) fn all_fields() -> Vec<(&'static str, &'static str)> {
        let levels: Vec<(&str, Vec<&str>)> = vec![
            ("%", spellings::<Field>()),
            (r#""stream_options":{%}"#, spellings::<StreamOptions>()),
            (r#""usage":{%}"#, spellings::<UsageOptions>()),
            (r#""messages":[{%}]"#, spellings::<Message>()),
            (r#""messages":[{"tool_calls":[{%}]}]"#, spellings::<ToolCall>()),
            (r#""messages":[{"content":[{%}]}]"#, spellings::<Part>()),
            (r#""messages":[{"content":[{"image_url":{%}}]}]"#, spellings::<ImageUrl>()),
            (r#""messages":[{"content":[{"file":{%}}]}]"#, spellings::<File>()),
            (r#""tools":[{%}]"#, spellings::<Tool>()),
            (r#""response_format":{%}"#, spellings::<ResponseFormat>()),
        ];
        let levels = levels.into_iter().chain(crate::preferences::tests::levels());
        levels.flat_map(|(around, names)| names.into_iter().map(move |name| (around, name))).collect()
    }

    #[test]
    fn the_levels_fit_their_sets_and_find_each_of_their_names() {
        check::<Field>();
        check::<Part>();
    }
}
