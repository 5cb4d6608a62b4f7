//! Readers of answers, whole and streamed, one for each dialect; they share nothing with the product.
//!
//! # Layout
//! - `openai`, `anthropic`: what an answer says. `order`: whether a stream that was written here keeps the order its clients rely on.

mod anthropic;
mod openai;
mod order;

use serde_json::{Map, Value};

use crate::dialect::Dialect;

pub use order::{faults, faults_of_whole, own_id};

/// What an answer says.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Reading {
    /// Events of a stream, `[DONE]` not counted.
    pub events: usize,
    /// OpenAI: `[DONE]` came. Anthropic: `message_stop` came.
    pub done: bool,
    pub text: String,
    /// OpenAI: under `reasoning_content` or `reasoning`, or in parts of the content.
    pub reasoning: String,
    /// OpenAI: the same thought, or another, under `reasoning_details`.
    pub reasoning_details: String,
    pub refusal: String,
    pub calls: Vec<Call>,
    /// The provider's own word.
    pub finish: Option<String>,
    /// The word of the provider behind the one that was asked, where it is shown.
    pub native_finish: Option<String>,
    pub usage: Option<Usage>,
    /// The usage object that was told last, where a cost may stand.
    pub usage_object: Option<Value>,
    /// An `error` at the top level, or the payload of an error event.
    pub error: Option<Value>,
    /// Spoken or drawn output, which has no text.
    pub has_media: bool,
    /// Blocks that only this dialect has: what tools of the provider were asked and answered.
    pub own_blocks: usize,
    /// An event was no JSON.
    pub malformed: bool,
}

/// A call of a tool.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Call {
    pub id: Option<String>,
    pub name: String,
    /// Text of JSON.
    pub arguments: String,
    index: Option<u64>,
}

impl Call {
    /// The arguments as JSON; as a string where they are none.
    pub fn parsed(&self) -> Value {
        if self.arguments.trim().is_empty() {
            return Value::Object(Map::new());
        }
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| self.arguments.clone().into())
    }
}

/// Counts as the provider printed them: `None` = not mentioned.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// With what the cache served and kept.
    pub input: u64,
    pub output: u64,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
}

impl Reading {
    /// Reads a whole answer.
    pub fn whole(dialect: Dialect, body: &[u8]) -> Option<Self> {
        let value = serde_json::from_slice(body).ok()?;
        Some(match dialect {
            Dialect::OpenAi => openai::whole(&value),
            Dialect::Anthropic => anthropic::whole(&value),
        })
    }

    /// Reads a stream.
    pub fn stream(dialect: Dialect, body: &[u8]) -> Self {
        match dialect {
            Dialect::OpenAi => openai::stream(body),
            Dialect::Anthropic => anthropic::stream(body),
        }
    }

    /// Reads either.
    pub fn of(dialect: Dialect, is_sse: bool, body: &[u8]) -> Option<Self> {
        if is_sse { Some(Self::stream(dialect, body)) } else { Self::whole(dialect, body) }
    }

    /// The model wrote something.
    pub fn has_output(&self) -> bool {
        let texts = [&self.text, &self.reasoning, &self.reasoning_details, &self.refusal];
        texts.iter().any(|text| !text.is_empty()) || !self.calls.is_empty() || self.has_media
    }
}

/// The events of a stream; a last event whose blank line is missing counts: the body has ended.
fn events(body: &[u8]) -> Vec<waybill_tests::Event> {
    let mut reader = waybill_tests::SseReader::default();
    reader.feed(body);
    reader.feed(b"\n\n");
    std::iter::from_fn(|| reader.next_event()).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::case::{self, Case, Kind};
    use crate::folder::Folder;
    use crate::judge::{calls_of, expected_calls, expected_text};

    fn fixtures() -> Vec<Case> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/fixtures");
        case::all(Folder::read(&folder).expect("the fixtures")).0
    }

    #[test]
    fn every_fixture_is_read_as_it_says() {
        for case in fixtures().iter().filter(|case| matches!(case.kind, Kind::Answer)) {
            let read = Reading::of(case.dialect, case.is_sse, &case.served).expect("readable");
            let expect = &case.expect;
            assert_eq!(read.text, expected_text(expect, "text"), "{}", case.id);
            assert_eq!(read.reasoning, expected_text(expect, "reasoning"), "{}", case.id);
            assert_eq!(calls_of(&read), expected_calls(expect), "{}", case.id);
            assert_eq!(read.finish.as_deref(), expect["finish"].as_str(), "{}", case.id);
            assert_eq!(read.usage.map(|usage| (usage.input, usage.output)), usage(expect), "{}", case.id);
        }
    }

    fn usage(expect: &Value) -> Option<(u64, u64)> {
        Some((expect["usage"]["input"].as_u64()?, expect["usage"]["output"].as_u64()?))
    }

    /// The judge of order knows good streams as good, and each of them as bad when an event is lost or told twice.
    #[test]
    fn a_stream_that_lacks_an_event_is_out_of_order() {
        for case in fixtures().iter().filter(|case| matches!(case.kind, Kind::Answer) && case.is_sse && case.dialect == Dialect::Anthropic)
        {
            let frames = crate::splice::frames(&case.served);
            if !case.id.contains("server-tool") {
                assert_eq!(faults(case.dialect, &case.served), Ok(()), "{}", case.id);
            }
            for (at, frame) in frames.iter().enumerate() {
                let text = String::from_utf8_lossy(frame);
                if !text.contains("ping") && !text.contains("_delta\"") {
                    let without: Vec<u8> =
                        frames.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, frame)| frame.to_vec()).collect();
                    assert!(faults(case.dialect, &without).is_err(), "{} without {text}", case.id);
                }
                let twice = [&frames[..=at], &frames[at..]].concat().concat();
                assert!(
                    text.contains("ping") || text.contains("content_block_delta") || faults(case.dialect, &twice).is_err(),
                    "{} twice {text}",
                    case.id
                );
            }
        }
    }
}
