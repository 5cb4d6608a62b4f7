//! Reads OpenAI chat answers.

use serde_json::{Value, json};

use super::{Call, Reading, Usage, events, text};

pub fn whole(value: &Value) -> Reading {
    let mut reading = Reading::default();
    reading.object(value, "message");
    reading
}

pub fn stream(body: &[u8]) -> Reading {
    let mut reading = Reading::default();
    for event in events(body) {
        if event.data.trim() == "[DONE]" {
            reading.done = true;
            continue;
        }
        reading.events += 1;
        match serde_json::from_str::<Value>(&event.data) {
            Ok(value) => {
                reading.object(&value, "delta");
                if event.name == "error" && reading.error.is_none() {
                    reading.error = Some(value);
                }
            }
            Err(_) => reading.malformed = true,
        }
    }
    reading
}

impl Reading {
    fn object(&mut self, value: &Value, member: &str) {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            self.error.get_or_insert_with(|| error.clone());
        }
        let groq = value.get("x_groq").and_then(|groq| groq.get("usage"));
        if let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) {
            self.usage_object = Some(usage.clone());
            self.usage = Usage::read(usage).or(self.usage);
        } else if let Some(usage) = groq {
            self.usage = Usage::read(usage).or(self.usage);
        }
        let choices = value.get("choices").and_then(Value::as_array).into_iter().flatten();
        // The reading that is compared with tells the first of several answers.
        for choice in choices.filter(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0) {
            if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str).filter(|finish| !finish.is_empty()) {
                self.finish = Some(finish.to_owned());
                self.native_finish = text(choice, "native_finish_reason").map(str::to_owned);
            }
            if let Some(message) = choice.get(member) {
                self.message(message);
            }
        }
    }

    fn message(&mut self, message: &Value) {
        match message.get("content") {
            Some(Value::String(text)) => self.text.push_str(text),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| self.part(part)),
            _ => {}
        }
        if let Some(refusal) = text(message, "refusal") {
            self.refusal.push_str(refusal);
        }
        // One thought under both names is one thought.
        let thought = text(message, "reasoning_content").filter(|thought| !thought.is_empty()).or(text(message, "reasoning"));
        self.reasoning.push_str(thought.unwrap_or_default());
        for detail in message.get("reasoning_details").and_then(Value::as_array).into_iter().flatten() {
            self.reasoning_details.push_str(text(detail, "text").or(text(detail, "summary")).unwrap_or_default());
        }
        // Snowflake sends an empty one with every answer.
        let says = |name: &str| message.get("audio").and_then(|audio| text(audio, name)).is_some_and(|said| !said.is_empty());
        self.has_media |= says("data") || says("transcript");
        self.has_media |= message.get("images").and_then(Value::as_array).is_some_and(|images| !images.is_empty());
        for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.call(call);
        }
        // The older form of the one call there could be.
        if let Some(function) = message.get("function_call").filter(|function| function.is_object()) {
            self.call(&json!({ "index": 0, "function": function }));
        }
    }

    fn part(&mut self, part: &Value) {
        for thought in part.get("thinking").and_then(Value::as_array).into_iter().flatten() {
            self.reasoning.push_str(text(thought, "text").unwrap_or_default());
        }
        self.text.push_str(text(part, "text").unwrap_or_default());
    }

    /// A whole call, or a piece of the one with its index.
    fn call(&mut self, call: &Value) {
        let index = call.get("index").and_then(Value::as_u64);
        let id = text(call, "id").filter(|id| !id.is_empty() && *id != "null");
        let known = index.and_then(|index| self.calls.iter().position(|known| known.index == Some(index)));
        // Some providers number every call 0 and tell them apart by their ids.
        let same = known.filter(|at| id.is_none() || self.calls[*at].id.as_deref() == id || self.calls[*at].id.is_none());
        let at = same.unwrap_or_else(|| {
            self.calls.iter_mut().filter(|known| known.index == index).for_each(|known| known.index = None);
            self.calls.push(Call { index, ..Call::default() });
            self.calls.len() - 1
        });
        let piece = &mut self.calls[at];
        if let Some(id) = id {
            piece.id = Some(id.to_owned());
        }
        let Some(function) = call.get("function") else { return };
        if piece.name.is_empty() {
            piece.name.push_str(text(function, "name").unwrap_or_default());
        }
        match function.get("arguments") {
            Some(Value::String(arguments)) => piece.arguments.push_str(arguments),
            Some(arguments @ Value::Object(_)) => piece.arguments.push_str(&arguments.to_string()),
            _ => {}
        }
    }
}

impl Usage {
    /// Reads a usage object, by every name the providers of this dialect use.
    fn read(usage: &Value) -> Option<Self> {
        let count = |outer: &str, name: &str| match outer {
            "" => usage.get(name)?.as_u64(),
            outer => usage.get(outer)?.get(name)?.as_u64(),
        };
        let prompt = |name| count("prompt_tokens_details", name);
        Some(Self {
            input: count("", "prompt_tokens")?,
            output: count("", "completion_tokens").unwrap_or(0),
            cache_read: prompt("cached_tokens").or(count("", "prompt_cache_hit_tokens")).or(count("", "num_cached_tokens")),
            cache_write: prompt("cache_write_tokens").or(count("", "cache_creation_input_tokens")),
            reasoning: count("completion_tokens_details", "reasoning_tokens").or(count("", "reasoning_tokens")),
        })
    }
}
