//! The same answers in Anthropic's Messages dialect.

use std::fmt::Write as _;

use super::{Name, STAMP_DIGITS, STREAM_HEAD, chunked, filler, json_answer};
use crate::anthropic::{text, usage_object};
use crate::usage::Usage;

/// A whole answer whose body has exactly `size` bytes.
pub(super) fn whole(name: Name, size: usize) -> Vec<u8> {
    let body = |words: &str| message(name, &format!(r#"{{"type":"text","text":"{words}"}}"#), "\"end_turn\"", name.usage());
    json_answer("200 OK", body(&filler(size.saturating_sub(body("").len()))).as_bytes())
}

fn message(name: Name, content: &str, stop_reason: &str, usage: Usage) -> String {
    format!(
        r#"{{"id":"msg_sandbox_bench","type":"message","role":"assistant","model":"{}","content":[{content}],"stop_reason":{stop_reason},"stop_sequence":null,"usage":{}}}"#,
        name.text(),
        text::value(&usage_object(usage, false)),
    )
}

pub(super) fn opening(name: Name) -> Vec<u8> {
    let begun = message(name, "", "null", Usage { completion: 1, ..name.usage() });
    let frames = [
        event("message_start", &format!(r#"{{"type":"message_start","message":{begun}}}"#)),
        event("content_block_start", r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#),
        event("ping", r#"{"type":"ping"}"#),
    ];
    std::iter::once(STREAM_HEAD.as_bytes().to_vec()).chain(frames.iter().map(|frame| chunked(frame))).flatten().collect()
}

/// The chunk that says this text, with a send time in microseconds if there is one.
pub(super) fn chunk(text: &str, sent_us: Option<u64>) -> String {
    let mut data = format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}"#);
    if let Some(sent_us) = sent_us {
        // Writing to a string cannot fail.
        let _ = write!(data, r#","sent_us":{sent_us:0STAMP_DIGITS$}"#);
    }
    event("content_block_delta", &(data + "}"))
}

pub(super) fn ending(name: Name) -> Vec<u8> {
    let usage = text::value(&usage_object(name.usage(), true));
    let delta = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{usage}}}"#);
    let frames = [
        event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
        event("message_delta", &delta),
        event("message_stop", r#"{"type":"message_stop"}"#),
    ];
    frames.iter().map(|frame| chunked(frame)).chain(std::iter::once(b"0\r\n\r\n".to_vec())).flatten().collect()
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
