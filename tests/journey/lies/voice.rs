//! The words of a provider in either dialect, from which lies are put together.

use serde_json::{Value, json};

/// A provider's dialect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Voice {
    OpenAi,
    Anthropic,
}

use Voice::{Anthropic, OpenAi};

impl Voice {
    pub const fn name(self) -> &'static str {
        match self {
            OpenAi => "openai",
            Anthropic => "anthropic",
        }
    }

    pub const fn other(self) -> Self {
        match self {
            OpenAi => Anthropic,
            Anthropic => OpenAi,
        }
    }

    /// One event.
    pub fn frame(self, data: &Value) -> String {
        match self {
            OpenAi => format!("data: {data}\n\n"),
            Anthropic => format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or("ping")),
        }
    }

    fn delta(self, delta: &Value, finish: Option<&str>) -> String {
        self.frame(&json!({ "id": "c-1", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] }))
    }

    /// Ten tokens went in.
    pub fn begins(self) -> String {
        match self {
            OpenAi => self.delta(&json!({ "role": "assistant", "content": "" }), None),
            Anthropic => {
                let usage = json!({ "input_tokens": 10, "output_tokens": 1 });
                let message = json!({ "id": "m-1", "type": "message", "role": "assistant", "model": "x", "content": [], "stop_reason": null, "usage": usage });
                self.frame(&json!({ "type": "message_start", "message": message }))
            }
        }
    }

    /// A block of text, of which the first has the number 0.
    pub fn says_in(self, block: u32, text: &str) -> String {
        match self {
            OpenAi => self.delta(&json!({ "content": text }), None),
            Anthropic => [
                json!({ "type": "content_block_start", "index": block, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "index": block, "delta": { "type": "text_delta", "text": text } }),
                json!({ "type": "content_block_stop", "index": block }),
            ]
            .iter()
            .map(|event| self.frame(event))
            .collect(),
        }
    }

    pub fn says(self, text: &str) -> String {
        self.says_in(0, text)
    }

    /// A tool call that begins, under the provider's number for it.
    pub fn calls(self, number: u32) -> String {
        match self {
            OpenAi => {
                let call = json!({ "index": number, "id": format!("t-{number}"), "type": "function", "function": { "name": "f", "arguments": "{}" } });
                self.delta(&json!({ "tool_calls": [call] }), None)
            }
            Anthropic => [
                json!({ "type": "content_block_start", "index": number, "content_block": { "type": "tool_use", "id": format!("t-{number}"), "name": "f", "input": {} } }),
                json!({ "type": "content_block_delta", "index": number, "delta": { "type": "input_json_delta", "partial_json": "{}" } }),
                json!({ "type": "content_block_stop", "index": number }),
            ]
            .iter()
            .map(|event| self.frame(event))
            .collect(),
        }
    }

    /// A fragment of a call that never began.
    pub fn fragment(self, number: u32) -> String {
        match self {
            OpenAi => self.delta(&json!({ "tool_calls": [{ "index": number, "function": { "arguments": "{\"a\":1}" } }] }), None),
            Anthropic => self.frame(
                &json!({ "type": "content_block_delta", "index": number, "delta": { "type": "input_json_delta", "partial_json": "{\"a\":1}" } }),
            ),
        }
    }

    /// The end of the answer, without usage.
    pub fn finishes(self, word: &str) -> String {
        match self {
            OpenAi => self.delta(&json!({}), Some(word)),
            Anthropic => {
                self.frame(&json!({ "type": "message_delta", "delta": { "stop_reason": self.word(word), "stop_sequence": null } }))
            }
        }
    }

    /// The end of the answer with its usage, which is text since it need not be JSON that means anything.
    pub fn counts(self, word: &str, usage: &str) -> String {
        match self {
            OpenAi => format!("{}data: {{\"id\":\"c-1\",\"choices\":[],\"usage\":{usage}}}\n\n", self.finishes(word)),
            Anthropic => {
                let word = self.word(word);
                format!(
                    "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{word}\",\"stop_sequence\":null}},\"usage\":{usage}}}\n\n"
                )
            }
        }
    }

    pub fn over(self) -> String {
        match self {
            OpenAi => "data: [DONE]\n\n".to_owned(),
            Anthropic => self.frame(&json!({ "type": "message_stop" })),
        }
    }

    /// The provider has no room.
    pub fn error(self) -> String {
        match self {
            OpenAi => json!({ "error": { "message": "no room", "type": "overloaded_error", "code": 529 } }).to_string(),
            Anthropic => json!({ "type": "error", "error": { "type": "overloaded_error", "message": "no room" } }).to_string(),
        }
    }

    pub fn error_frame(self) -> String {
        match self {
            OpenAi => format!("data: {}\n\n", self.error()),
            Anthropic => format!("event: error\ndata: {}\n\n", self.error()),
        }
    }

    /// The text of a usage object.
    pub fn usage(self, input: &str, output: &str) -> String {
        match self {
            OpenAi => format!("{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}"),
            Anthropic => format!("{{\"input_tokens\":{input},\"output_tokens\":{output}}}"),
        }
    }

    /// A whole answer of one text.
    pub fn whole(self, text: &str, usage: &str) -> String {
        self.holding(
            &if self == OpenAi { json!({ "role": "assistant", "content": text }) } else { json!([{ "type": "text", "text": text }]) },
            usage,
        )
    }

    /// A whole answer with this message or these blocks.
    pub fn holding(self, content: &Value, usage: &str) -> String {
        match self {
            OpenAi => format!(
                "{{\"id\":\"c-1\",\"object\":\"chat.completion\",\"model\":\"x\",\"choices\":[{{\"index\":0,\"message\":{content},\"finish_reason\":\"stop\"}}],\"usage\":{usage}}}"
            ),
            Anthropic => format!(
                "{{\"id\":\"m-1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"x\",\"content\":{content},\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{usage}}}"
            ),
        }
    }

    /// A whole answer that calls so many tools.
    pub fn calling(self, calls: u32, usage: &str) -> String {
        match self {
            OpenAi => {
                let call =
                    |number| json!({ "id": format!("t-{number}"), "type": "function", "function": { "name": "f", "arguments": "{}" } });
                let calls: Vec<Value> = (0..calls).map(call).collect();
                self.holding(&json!({ "role": "assistant", "content": "Yes.", "tool_calls": calls }), usage)
            }
            Anthropic => {
                let call = |number| json!({ "type": "tool_use", "id": format!("t-{number}"), "name": "f", "input": {} });
                let calls = std::iter::once(json!({ "type": "text", "text": "Yes." })).chain((0..calls).map(call));
                self.holding(&calls.collect(), usage)
            }
        }
    }

    const fn word(self, word: &str) -> &str {
        match (self, word.as_bytes()) {
            (Anthropic, b"stop") => "end_turn",
            (Anthropic, b"length") => "max_tokens",
            _ => word,
        }
    }
}
