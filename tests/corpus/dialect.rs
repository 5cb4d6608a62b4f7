//! The two languages of the recordings, as callers and as providers.

use serde_json::{Value, json};

/// A dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    pub const ALL: [Self; 2] = [Self::OpenAi, Self::Anthropic];

    /// The name that a provider's configuration has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    pub const fn other(self) -> Self {
        match self {
            Self::OpenAi => Self::Anthropic,
            Self::Anthropic => Self::OpenAi,
        }
    }

    /// The folder of its recordings.
    pub fn of_folder(endpoint: &str) -> Option<Self> {
        match endpoint {
            "chat" => Some(Self::OpenAi),
            "messages" => Some(Self::Anthropic),
            _ => None,
        }
    }

    /// Where callers ask, below the version.
    pub const fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/chat/completions",
            Self::Anthropic => "/messages",
        }
    }

    /// A request that asks for next to nothing: the replayed provider answers with its recording whatever it is asked.
    pub fn plain_request(self, stream: bool, tools: &[String]) -> Value {
        let mut body = json!({ "messages": [{ "role": "user", "content": "Is anybody there?" }], "stream": stream });
        if self == Self::Anthropic {
            body["max_tokens"] = 1024.into();
        }
        let schema = json!({ "type": "object" });
        let tool = |name: &String| match self {
            Self::OpenAi => json!({ "type": "function", "function": { "name": name, "parameters": schema } }),
            Self::Anthropic => json!({ "name": name, "input_schema": schema }),
        };
        if !tools.is_empty() {
            body["tools"] = tools.iter().map(tool).collect();
        }
        body
    }
}

/// Who asks and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub caller: Dialect,
    pub provider: Dialect,
}

impl Pair {
    pub fn is_across(self) -> bool {
        self.caller != self.provider
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} asks {}", self.caller.name(), self.provider.name())
    }
}
