//! What is asked: the HTTP request as received, and a chat call read from it.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::Value;

use crate::prefix::Cached;
use crate::record;
use crate::usage::{Usage, tokens};

/// An HTTP request, received whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// 1 for the first request of this provider.
    pub arrival: u64,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    /// The `model` field of the body.
    pub fn model(&self) -> Option<String> {
        record::model(&self.body)
    }

    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A chat call, as far as the sandbox reads it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Chat {
    pub model: String,
    pub messages: Vec<Message>,
    #[serde(default)]
    pub stream: Option<bool>,
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub tools: Option<Vec<Tool>>,
    #[serde(default)]
    pub tool_choice: Option<Value>,
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub response_format: Option<Value>,
    #[serde(default)]
    pub reasoning_effort: Option<String>,
    #[serde(default)]
    pub max_tokens: Option<u64>,
    #[serde(default)]
    pub max_completion_tokens: Option<u64>,
    #[serde(default)]
    pub n: Option<u64>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default, deserialize_with = "one_or_more")]
    pub stop: Vec<String>,
}

/// `stop` is a text, a list of texts or null.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stop {
        One(String),
        More(Vec<String>),
        None,
    }
    Ok(match Stop::deserialize(deserializer)? {
        Stop::One(one) => vec![one],
        Stop::More(more) => more,
        Stop::None => vec![],
    })
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    pub include_usage: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Message {
    pub role: String,
    #[serde(default)]
    pub content: Option<Content>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    pub text: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tool {
    #[serde(default)]
    pub function: Option<Function>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Function {
    pub name: String,
    #[serde(default)]
    pub parameters: Value,
}

impl Message {
    /// The text of the message, parts joined.
    pub(crate) fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => parts.iter().filter_map(|part| part.text.as_deref()).collect(),
        }
    }

    pub(crate) fn text_bytes(&self) -> u64 {
        match &self.content {
            None => 0,
            Some(Content::Text(text)) => text.len() as u64,
            Some(Content::Parts(parts)) => parts.iter().filter_map(|part| part.text.as_ref()).map(|text| text.len() as u64).sum(),
        }
    }
}

impl Chat {
    /// Tokens of all message text.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        tokens(self.messages.iter().map(Message::text_bytes).sum())
    }

    /// The most tokens a choice may have.
    pub(crate) fn max_tokens(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    pub(crate) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    /// Whether the stream is to end with a frame of usage.
    pub(crate) fn asks_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true))
    }

    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        self.tools.iter().flatten().filter_map(|tool| tool.function.as_ref())
    }

    /// The text of the last message of `role`.
    pub(crate) fn last_text(&self, role: &str) -> Option<String> {
        self.messages.iter().rev().find(|message| message.role == role).map(Message::text)
    }

    pub(crate) fn usage(&self, completion: u64, reasoning: u64, cached: Cached) -> Usage {
        let Cached { read, write_5m, write_1h } = cached;
        Usage { prompt: self.prompt_tokens(), completion, cached: read, reasoning, cache_write_5m: write_5m, cache_write_1h: write_1h }
    }
}

#[cfg(test)]
mod tests {
    use super::Chat;

    #[test]
    fn the_prompt_is_the_text_of_all_messages_counted_once() {
        let rows = [
            (r#"[]"#, 0),
            (r#"[{"role":"user","content":"12345"}]"#, 2),
            (r#"[{"role":"system","content":"12"},{"role":"user","content":"34"}]"#, 1),
            (
                r#"[{"role":"user","content":[{"type":"text","text":"123"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"45"}]}]"#,
                2,
            ),
            (r#"[{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","tool_call_id":"1","content":"ää"}]"#, 1),
        ];
        for (messages, expected) in rows {
            let chat: Chat = serde_json::from_str(&format!(r#"{{"model":"m","messages":{messages}}}"#)).unwrap();
            assert_eq!(chat.prompt_tokens(), expected, "{messages}");
        }
    }
}
