//! A reader of Messages answers that shares no code with what it reads: whole ones and streams, with every rule of the order of events.

use serde_json::{Value, json};

use super::Received;

/// An answer as it was meant.
#[derive(Debug, Default)]
pub struct Told {
    pub id: String,
    pub model: String,
    /// Blocks as the whole answer has them.
    pub blocks: Vec<Value>,
    /// Their indices in a stream.
    pub indices: Vec<u64>,
    pub stop_reason: Option<String>,
    pub stop_sequence: Option<String>,
    /// Every statement of usage, in order; null counts as one.
    pub usages: Vec<Value>,
    pub error: Option<Value>,
    pub done: bool,
    pub finishes: usize,
    pub pings: usize,
    /// Deltas of text, thinking and input.
    pub pieces: usize,
    pub unreadable: usize,
    inputs: Vec<String>,
    open: bool,
}

impl Received {
    /// Reads the body as a stream of events if it is one, else as one message.
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        let text = self.text();
        if !text.starts_with("event: ") {
            match serde_json::from_str::<Value>(&text) {
                Ok(message) => told.whole(message),
                Err(_) => told.unreadable += 1,
            }
            return told;
        }
        for event in text.split("\n\n").filter(|event| !event.is_empty()) {
            let (name, data) = event.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: ")).expect("an event with its name");
            let Ok(data) = serde_json::from_str::<Value>(data) else {
                told.unreadable += 1;
                continue;
            };
            assert_eq!(data["type"], name);
            assert!(event.contains("data: {\"type\":"), "the type comes first: {event}");
            told.event(name, data);
        }
        told
    }
}

impl Told {
    fn whole(&mut self, message: Value) {
        if message["type"] == "error" {
            self.error = Some(message["error"].clone());
            return;
        }
        self.message(&message);
        self.blocks = message["content"].as_array().unwrap().clone();
        self.stop_reason = message["stop_reason"].as_str().map(str::to_owned);
        self.stop_sequence = message["stop_sequence"].as_str().map(str::to_owned);
    }

    fn message(&mut self, message: &Value) {
        assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
        self.id = message["id"].as_str().unwrap().to_owned();
        assert!(self.id.starts_with("msg_sandbox_"), "does not say it is the sandbox: {message}");
        self.model = message["model"].as_str().unwrap().to_owned();
        self.usages.extend(message.get("usage").cloned());
    }

    fn event(&mut self, name: &str, data: Value) {
        assert!(!self.done && self.error.is_none(), "after the end: {data}");
        assert_eq!(name == "message_start", self.id.is_empty(), "{data}");
        match name {
            "message_start" => {
                let message = &data["message"];
                assert_eq!((&message["content"], &message["stop_reason"]), (&json!([]), &Value::Null));
                self.message(message);
            }
            "ping" => self.pings += 1,
            "content_block_start" => {
                assert!(!std::mem::replace(&mut self.open, true), "a block within a block");
                self.indices.push(data["index"].as_u64().unwrap());
                self.blocks.push(data["content_block"].clone());
                self.inputs.push(String::new());
            }
            "content_block_delta" => self.delta(&data),
            "content_block_stop" => {
                assert!(std::mem::take(&mut self.open));
                assert_eq!(data["index"].as_u64(), self.indices.last().copied());
                let block = self.blocks.last_mut().unwrap();
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(self.inputs.last().unwrap()).unwrap();
                }
            }
            "message_delta" => {
                self.usages.extend(data.get("usage").cloned());
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    assert!(!self.open, "it stops within a block");
                    self.finishes += 1;
                    self.stop_reason = Some(reason.to_owned());
                    self.stop_sequence = data["delta"]["stop_sequence"].as_str().map(str::to_owned);
                }
            }
            "message_stop" => {
                assert!(self.finishes > 0);
                self.done = true;
            }
            "error" => self.error = Some(data["error"].clone()),
            unknown => panic!("an event `{unknown}`"),
        }
    }

    fn delta(&mut self, data: &Value) {
        assert!(self.open && data["index"].as_u64() == self.indices.last().copied(), "{data}");
        let (block, input) = (self.blocks.last_mut().unwrap(), self.inputs.last_mut().unwrap());
        let delta = &data["delta"];
        let (field, kind) = match delta["type"].as_str().unwrap() {
            "text_delta" => ("text", "text"),
            "thinking_delta" => ("thinking", "thinking"),
            "signature_delta" => ("signature", "thinking"),
            "input_json_delta" => ("partial_json", "tool_use"),
            unknown => panic!("a delta `{unknown}`"),
        };
        assert_eq!(block["type"], kind);
        let piece = delta[field].as_str().unwrap();
        if field == "partial_json" {
            input.push_str(piece);
        } else {
            block[field] = format!("{}{piece}", block[field].as_str().unwrap()).into();
        }
        self.pieces += usize::from(field != "signature" && !piece.is_empty());
    }

    /// What these blocks say, joined.
    pub fn all(&self, kind: &str, field: &str) -> String {
        self.blocks.iter().filter(|block| block["type"] == kind).map(|block| block[field].as_str().unwrap()).collect()
    }

    pub fn text(&self) -> String {
        self.all("text", "text")
    }

    /// The last count of each class, as (input, output, cache read, write 5 m, write 1 h): the later statement that has it counts.
    pub fn usage(&self) -> (u64, u64, u64, u64, u64) {
        let number = |pointer: &str| self.usages.iter().rev().find_map(|usage| usage.pointer(pointer)?.as_u64()).unwrap_or(0);
        let (five, hour) = (number("/cache_creation/ephemeral_5m_input_tokens"), number("/cache_creation/ephemeral_1h_input_tokens"));
        assert_eq!(number("/cache_creation_input_tokens"), five + hour);
        (number("/input_tokens"), number("/output_tokens"), number("/cache_read_input_tokens"), five, hour)
    }
}
