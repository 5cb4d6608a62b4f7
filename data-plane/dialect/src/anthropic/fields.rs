//! The one table of request fields that are read here, level by level.

use crate::fields::level;

level! {
    /// The request itself.
    Field {
        Model = "model", Messages = "messages", MaxTokens = "max_tokens", Stream = "stream", System = "system",
        Tools = "tools", ToolChoice = "tool_choice", Thinking = "thinking", OutputConfig = "output_config",
        OutputFormat = "output_format", Metadata = "metadata", ServiceTier = "service_tier",
        StopSequences = "stop_sequences", Temperature = "temperature", TopP = "top_p", TopK = "top_k",
        ContextManagement = "context_management", McpServers = "mcp_servers", Container = "container",
        Speed = "speed", InferenceGeo = "inference_geo", Thread = "thread",
        Models = "models", Fallbacks = "fallbacks", Provider = "provider", Usage = "usage", Route = "route",
        Plugins = "plugins", Transforms = "transforms", Preset = "preset", Debug = "debug",
        SessionId = "session_id", Trace = "trace",
    }
}

level! {
    /// One of `messages`.
    Message { Role = "role", Content = "content", }
}

level! {
    /// One block of content, wherever it stands.
    Block { Type = "type", Source = "source", Id = "id", ToolUseId = "tool_use_id", Content = "content", }
}

level! {
    /// Where a picture or a document comes from.
    Source { Type = "type", Data = "data", Url = "url", FileId = "file_id", Content = "content", }
}

level! {
    /// One of `tools`.
    Tool { Type = "type", }
}

level! {
    Thinking { Type = "type", }
}

level! {
    OutputConfig { Effort = "effort", Format = "format", }
}

level! {
    Format { Type = "type", }
}

level! {
    ContextManagement { Edits = "edits", }
}

level! {
    /// One of `context_management.edits`.
    ContextEdit { Type = "type", }
}

level! {
    /// One of `fallbacks`.
    Fallback { Model = "model", }
}

/// Towards providers that do not know them, these members are cut out of the request.
pub(super) const GATEWAY_ONLY: &[Field] = &[
    Field::Models,
    Field::Fallbacks,
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
pub(super) const NEVER_FORWARDED: &[Field] = &[Field::Models, Field::Fallbacks, Field::Route, Field::Plugins, Field::Transforms];

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fields::tests::{check, spellings};

    /// Every field that is read, with the JSON around it: `%` stands for the member under test.
    pub(in crate::anthropic) fn all_fields() -> Vec<(&'static str, &'static str)> {
        let levels: Vec<(&str, Vec<&str>)> = vec![
            ("%", spellings::<Field>()),
            (r#""messages":[{%}]"#, spellings::<Message>()),
            (r#""messages":[{"content":[{%}]}]"#, spellings::<Block>()),
            (r#""messages":[{"content":[{"content":[{%}]}]}]"#, spellings::<Block>()),
            (r#""messages":[{"content":[{"source":{%}}]}]"#, spellings::<Source>()),
            (r#""messages":[{"content":[{"source":{"content":[{%}]}}]}]"#, spellings::<Block>()),
            (r#""system":[{%}]"#, spellings::<Block>()),
            (r#""tools":[{%}]"#, spellings::<Tool>()),
            (r#""thinking":{%}"#, spellings::<Thinking>()),
            (r#""output_config":{%}"#, spellings::<OutputConfig>()),
            (r#""output_config":{"format":{%}}"#, spellings::<Format>()),
            (r#""output_format":{%}"#, spellings::<Format>()),
            (r#""context_management":{%}"#, spellings::<ContextManagement>()),
            (r#""context_management":{"edits":[{%}]}"#, spellings::<ContextEdit>()),
            (r#""fallbacks":[{%}]"#, spellings::<Fallback>()),
        ];
        let levels = levels.into_iter().chain(crate::preferences::tests::levels());
        levels.flat_map(|(around, names)| names.into_iter().map(move |name| (around, name))).collect()
    }

    #[test]
    fn the_levels_fit_their_sets_and_find_each_of_their_names() {
        check::<Field>();
        check::<Block>();
        check::<Source>();
    }
}
