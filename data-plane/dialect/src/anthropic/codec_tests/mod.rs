//! The codec, by tables: own requests, prompts of the other dialect, answers and streams.

mod answer;
mod events;
mod fit;
mod own;

use bytes::Bytes;
use serde_json::Value;

use crate::limits::Limits;
use crate::neutral::{Carrier, Prompt, ReasoningControls};

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)))
}

fn parse(json: &str) -> Value {
    value(json.as_bytes())
}

fn carrier() -> Carrier<'static> {
    Carrier { provider_model: "claude", ..Carrier::default() }
}

fn own(json: &str) -> Prompt {
    super::read_prompt(&Bytes::copy_from_slice(json.as_bytes()), &Limits::default()).unwrap_or_else(|fault| panic!("{fault}: {json}"))
}

fn controls(words: &str) -> ReasoningControls {
    let has = |word| words.contains(word);
    ReasoningControls { effort: has("effort"), budget: has("budget"), adaptive: has("adaptive"), toggle: has("toggle") }
}
