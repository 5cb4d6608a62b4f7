//! Reads Anthropic messages.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Call, Reading, Usage, events, text};

/// What streams tell in pieces, until they end.
#[derive(Default)]
struct Stream {
    reading: Reading,
    /// Which call an open block is, by the block's index.
    calls: BTreeMap<u64, usize>,
    usage: BTreeMap<String, Value>,
}

pub fn whole(value: &Value) -> Reading {
    let mut stream = Stream::default();
    if text(value, "type") == Some("error") || value.get("error").is_some() {
        stream.reading.error = Some(value.get("error").unwrap_or(value).clone());
    }
    for block in value.get("content").and_then(Value::as_array).into_iter().flatten() {
        stream.block(block, None);
    }
    stream.reading.finish = text(value, "stop_reason").map(str::to_owned);
    stream.usage(value.get("usage"));
    stream.end()
}

pub fn stream(body: &[u8]) -> Reading {
    let mut stream = Stream::default();
    for event in events(body) {
        stream.reading.events += 1;
        match serde_json::from_str::<Value>(&event.data) {
            Ok(value) => stream.event(&event.name, &value),
            Err(_) => stream.reading.malformed = true,
        }
    }
    stream.end()
}

impl Stream {
    fn event(&mut self, name: &str, value: &Value) {
        let index = value.get("index").and_then(Value::as_u64).unwrap_or(0);
        let delta = value.get("delta");
        match text(value, "type").unwrap_or(name) {
            "message_start" => self.usage(value.get("message").and_then(|message| message.get("usage"))),
            "content_block_start" => {
                if let Some(block) = value.get("content_block") {
                    self.block(block, Some(index));
                }
            }
            "content_block_delta" => {
                if let Some(delta) = delta {
                    self.delta(index, delta);
                }
            }
            "message_delta" => {
                if let Some(reason) = delta.and_then(|delta| text(delta, "stop_reason")) {
                    self.reading.finish = Some(reason.to_owned());
                }
                self.usage(value.get("usage"));
            }
            "message_stop" => self.reading.done = true,
            "error" => self.reading.error = Some(value.get("error").unwrap_or(value).clone()),
            _ if name == "error" || value.get("error").is_some() => {
                self.reading.error = Some(value.get("error").unwrap_or(value).clone());
            }
            _ => {}
        }
    }

    /// A whole block, or the beginning of one that has an index.
    fn block(&mut self, block: &Value, index: Option<u64>) {
        let reading = &mut self.reading;
        match text(block, "type").unwrap_or_default() {
            "text" => reading.text.push_str(text(block, "text").unwrap_or_default()),
            "thinking" => reading.reasoning.push_str(text(block, "thinking").unwrap_or_default()),
            "tool_use" => {
                let input = block.get("input").filter(|input| input.as_object().is_some_and(|members| !members.is_empty()));
                if let Some(index) = index {
                    self.calls.insert(index, reading.calls.len());
                }
                reading.calls.push(Call {
                    id: text(block, "id").map(str::to_owned),
                    name: text(block, "name").unwrap_or_default().to_owned(),
                    arguments: input.map(Value::to_string).unwrap_or_default(),
                    index,
                });
            }
            "redacted_thinking" => {}
            _ => reading.own_blocks += 1,
        }
    }

    fn delta(&mut self, index: u64, delta: &Value) {
        let piece = |name| text(delta, name).unwrap_or_default();
        match text(delta, "type").unwrap_or_default() {
            "text_delta" => self.reading.text.push_str(piece("text")),
            "thinking_delta" => self.reading.reasoning.push_str(piece("thinking")),
            "input_json_delta" => {
                let call = self.calls.get(&index).and_then(|at| self.reading.calls.get_mut(*at));
                if let Some(call) = call {
                    call.arguments.push_str(piece("partial_json"));
                }
            }
            _ => {}
        }
    }

    /// Counts are running totals: what is told later stands, what is told as null says nothing.
    fn usage(&mut self, usage: Option<&Value>) {
        for (name, value) in usage.and_then(Value::as_object).into_iter().flatten() {
            if !value.is_null() {
                self.usage.insert(name.clone(), value.clone());
            }
        }
    }

    fn end(self) -> Reading {
        let mut reading = self.reading;
        let count = |name: &str| self.usage.get(name).and_then(Value::as_u64);
        let (read, write) = (count("cache_read_input_tokens").unwrap_or(0), count("cache_creation_input_tokens").unwrap_or(0));
        reading.usage = count("input_tokens").map(|input| Usage {
            input: input + read + write,
            output: count("output_tokens").unwrap_or(0),
            // A cache that is not mentioned was not used.
            cache_read: Some(read),
            cache_write: Some(write),
            reasoning: None,
        });
        reading.usage_object = reading.usage.map(|_| Value::Object(self.usage.into_iter().collect()));
        reading
    }
}
