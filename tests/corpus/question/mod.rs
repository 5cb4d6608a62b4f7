//! Readers of requests, one for each dialect, that share nothing with the product: what a request says, fact by fact, each with its path.
//!
//! # Layout
//! - `openai`, `anthropic`: a request as facts.

mod anthropic;
mod openai;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dialect::Dialect;

/// Something that is said, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub path: String,
    pub says: String,
}

/// A request, in kinds of facts that are the same in both dialects; within a kind in the order in which they stand.
#[derive(Debug, Default)]
pub struct Question(BTreeMap<&'static str, Vec<Fact>>);

/// Kinds of facts; each is a check of its own.
pub const KINDS: [&str; 14] = [
    "request.texts",
    "request.system",
    "request.media",
    "request.calls",
    "request.results",
    "request.thoughts",
    "request.tools",
    "request.choice",
    "request.limits",
    "request.sampling",
    "request.format",
    "request.thinking",
    "request.cache",
    "request.rest",
];

impl Question {
    pub fn read(dialect: Dialect, body: &Value) -> Self {
        let mut question = Self::default();
        match dialect {
            Dialect::OpenAi => openai::read(&mut question, body),
            Dialect::Anthropic => anthropic::read(&mut question, body),
        }
        question
    }

    pub fn facts(&self, kind: &str) -> &[Fact] {
        self.0.get(kind).map_or(&[], Vec::as_slice)
    }

    fn note(&mut self, kind: &'static str, path: impl Into<String>, says: impl Into<String>) {
        self.0.entry(kind).or_default().push(Fact { path: path.into(), says: says.into() });
    }

    /// An empty text says nothing.
    fn text(&mut self, kind: &'static str, path: String, speaker: &str, text: &str) {
        if !text.trim().is_empty() {
            self.note(kind, path, format!("{speaker}: {text}"));
        }
    }

    /// A number, however it was spelt.
    fn number(&mut self, kind: &'static str, body: &Value, name: &str, same: &str) {
        if let Some(number) = body.get(name).and_then(Value::as_f64) {
            self.note(kind, name, format!("{same}: {number}"));
        }
    }

    /// Members that no reader knows. A null says nothing.
    fn rest(&mut self, outer: &str, value: &Value, known: &[&str]) {
        for (name, value) in value.as_object().into_iter().flatten() {
            if !known.contains(&name.as_str()) && !value.is_null() {
                let path = if outer.is_empty() { name.clone() } else { format!("{outer}.{name}") };
                self.note("request.rest", path, format!("{name}: {value}"));
            }
        }
    }

    /// A tier of service; `standard` is the dialect's word for the usual one.
    fn tier(&mut self, body: &Value, standard: &str) {
        let tier = word(body, "service_tier");
        if !tier.is_empty() {
            self.note("request.rest", "service_tier", format!("tier: {}", if tier == standard { "standard" } else { tier }));
        }
    }

    /// A mark that the prompt up to here is worth caching.
    fn cache(&mut self, outer: &str, value: &Value) {
        if let Some(mark) = value.get("cache_control").filter(|mark| !mark.is_null()) {
            self.note("request.cache", format!("{outer}.cache_control"), mark.to_string());
        }
    }
}

/// The content of a message: a string is its one text part.
fn parts(content: &Value, path: &str) -> Vec<(String, Value)> {
    match content {
        Value::String(text) => vec![(path.to_owned(), serde_json::json!({ "type": "text", "text": text }))],
        Value::Array(parts) => parts.iter().enumerate().map(|(at, part)| (format!("{path}[{at}]"), part.clone())).collect(),
        _ => Vec::new(),
    }
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A schema that is not told takes any object.
fn schema(value: Option<&Value>) -> Value {
    value
        .filter(|schema| schema.as_object().is_some_and(|members| !members.is_empty()))
        .cloned()
        .unwrap_or(serde_json::json!({ "type": "object" }))
}
