//! The one table of request fields that are read here, level by level.
//!
//! A provider may match keys without regard to case (Go), accept camelCase for snake_case (protobuf's JSON form),
//! or take the first or the last of two equal keys. A field that decides over money or routing must mean the same
//! to it as to us: each is accepted in exactly one spelling, once, and every other spelling is refused.

use crate::fault::{Fault, FaultKind};
use crate::json::Text;

/// The fields of one level of the request.
pub(super) trait Level: Copy + 'static {
    /// Every field with its only accepted spelling.
    const TABLE: &'static [(Self, &'static str)];

    fn exact(raw: &[u8]) -> Option<Self>;

    /// Position in the table, for the set of fields seen.
    fn index(self) -> u32;
}

macro_rules! level {
    ($(#[$about:meta])* $Name:ident { $( $Field:ident = $spelling:literal, )+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $Name { $( $Field, )+ }

        impl Level for $Name {
            const TABLE: &'static [(Self, &'static str)] = &[$( (Self::$Field, $spelling), )+];

            #[inline]
            fn exact(raw: &[u8]) -> Option<Self> {
                $( if raw == $spelling.as_bytes() { return Some(Self::$Field); } )+
                None
            }

            fn index(self) -> u32 {
                self as u32
            }
        }
    };
}

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
    Provider {
        Order = "order", Only = "only", Ignore = "ignore", AllowFallbacks = "allow_fallbacks",
        RequireParameters = "require_parameters", MaxPrice = "max_price", Sort = "sort",
        DataCollection = "data_collection", Zdr = "zdr", Quantizations = "quantizations",
        EnforceDistillableText = "enforce_distillable_text",
    }
}

level! {
    MaxPrice { Prompt = "prompt", Completion = "completion", Request = "request", }
}

level! {
    SortBy { By = "by", Partition = "partition", }
}

level! {
    /// One of `messages`.
    Message { Role = "role", Content = "content", Audio = "audio", }
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

/// The fields of one object met so far.
#[derive(Default)]
pub(super) struct Seen(u64);

impl Seen {
    /// Which field the key is. `None`: none of this level, to be skipped.
    pub(super) fn field<L: Level>(&mut self, key: &Text<'_>) -> Result<Option<L>, Fault> {
        let exact = if key.is_escaped() { None } else { L::exact(key.raw()) };
        let Some(field) = exact else {
            return match misspelt::<L>(key) {
                Some(name) => Err(Fault::new(
                    FaultKind::Misspelt,
                    name,
                    format!("this field must be spelt exactly \"{name}\" (another spelling at byte {})", key.start()),
                )),
                None => Ok(None),
            };
        };
        let bit = 1 << field.index();
        if self.0 & bit != 0 {
            let name = L::TABLE.get(field.index() as usize).map_or("", |(_, name)| *name);
            return Err(Fault::new(FaultKind::Duplicate, name, "this field stands twice"));
        }
        self.0 |= bit;
        Ok(Some(field))
    }
}

/// The field that some reader may take the key for.
fn misspelt<L: Level>(key: &Text<'_>) -> Option<&'static str> {
    // The longest name has 24 letters; an escape takes at most six bytes for one.
    if key.raw().len() > 6 * 32 {
        return None;
    }
    let text = key.decode()?;
    let same = |name: &str| text.chars().filter_map(fold).eq(name.chars().filter_map(fold));
    L::TABLE.iter().map(|(_, name)| *name).find(|name| same(name))
}

/// Case folding as the most generous reader does it; separators do not count.
fn fold(letter: char) -> Option<char> {
    match letter {
        '_' | '-' => None,
        'ſ' => Some('s'),
        '\u{212a}' => Some('k'),
        'ı' | 'İ' => Some('i'),
        other => Some(other.to_ascii_lowercase()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn spellings<L: Level>() -> Vec<&'static str> {
        L::TABLE.iter().map(|(_, name)| *name).collect()
    }

    /// Every field that is read, with the JSON around it: `%` stands for the member under test.
    pub(in crate::openai) fn all_fields() -> Vec<(&'static str, &'static str)> {
        let levels: Vec<(&str, Vec<&str>)> = vec![
            ("%", spellings::<Field>()),
            (r#""stream_options":{%}"#, spellings::<StreamOptions>()),
            (r#""usage":{%}"#, spellings::<UsageOptions>()),
            (r#""provider":{%}"#, spellings::<Provider>()),
            (r#""provider":{"max_price":{%}}"#, spellings::<MaxPrice>()),
            (r#""provider":{"sort":{%}}"#, spellings::<SortBy>()),
            (r#""messages":[{%}]"#, spellings::<Message>()),
            (r#""messages":[{"content":[{%}]}]"#, spellings::<Part>()),
            (r#""messages":[{"content":[{"image_url":{%}}]}]"#, spellings::<ImageUrl>()),
            (r#""messages":[{"content":[{"file":{%}}]}]"#, spellings::<File>()),
            (r#""tools":[{%}]"#, spellings::<Tool>()),
            (r#""response_format":{%}"#, spellings::<ResponseFormat>()),
        ];
        levels.into_iter().flat_map(|(around, names)| names.into_iter().map(move |name| (around, name))).collect()
    }

    #[test]
    fn a_level_fits_its_set_and_finds_each_of_its_names() {
        fn check<L: Level + PartialEq + std::fmt::Debug>() {
            assert!(L::TABLE.len() <= 64);
            for (at, (field, name)) in L::TABLE.iter().enumerate() {
                assert_eq!(field.index() as usize, at);
                assert_eq!(L::exact(name.as_bytes()), Some(*field));
            }
        }
        check::<Field>();
        check::<Provider>();
        check::<Part>();
    }
}
