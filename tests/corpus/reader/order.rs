//! The order of a stream that was written here, as far as the clients of its dialect rely on it.

use serde_json::Value;
use waybill_tests::Event;

use super::{events, text};
use crate::dialect::Dialect;

/// What is out of order in a stream that ended well; nothing, if all is well.
pub fn faults(dialect: Dialect, body: &[u8]) -> Result<(), String> {
    let events = events(body);
    match dialect {
        Dialect::OpenAi => chunks(&events),
        Dialect::Anthropic => blocks(&events),
    }
}

fn value(event: &Event) -> Result<Value, String> {
    serde_json::from_str(&event.data).map_err(|error| format!("{error}: {}", event.data))
}

fn ensure(holds: bool, what: &str, event: &Event) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what}: {}", event.data)) }
}

/// Chunks of one answer: one id, one model, one role, one finish, calls in turn, then the usage, then `[DONE]`.
fn chunks(events: &[Event]) -> Result<(), String> {
    let (last, chunks) = events.split_last().ok_or("nothing")?;
    ensure(last.data == "[DONE]", "it does not end with [DONE]", last)?;
    let mut same: Option<(Value, Value)> = None;
    let (mut has_role, mut is_finished, mut has_usage, mut calls) = (false, false, false, 0);
    for event in chunks {
        let chunk = value(event)?;
        ensure(event.name.is_empty(), "a name", event)?;
        ensure(text(&chunk, "object") == Some("chat.completion.chunk"), "no chunk", event)?;
        ensure(chunk["created"].is_u64(), "no time", event)?;
        let names = (chunk["id"].clone(), chunk["model"].clone());
        ensure(
            names.0.as_str().is_some_and(|id| !id.is_empty()) && names.1.as_str().is_some_and(|model| !model.is_empty()),
            "no names",
            event,
        )?;
        ensure(*same.get_or_insert_with(|| names.clone()) == names, "other names", event)?;
        let choices = chunk["choices"].as_array().ok_or("no choices")?;
        ensure(!has_usage, "something after the usage", event)?;
        has_usage |= chunk["usage"].is_object();
        let Some(choice) = choices.first() else {
            ensure(is_finished && has_usage, "a chunk without a choice", event)?;
            continue;
        };
        ensure(choices.len() == 1 && choice["index"] == 0, "another answer", event)?;
        ensure(!is_finished, "something after the finish", event)?;
        is_finished |= choice["finish_reason"].is_string();
        has_role |= choice["delta"]["role"] == "assistant";
        ensure(has_role, "no role before this", event)?;
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().ok_or("a call without an index")?;
            let is_new = index == calls;
            calls += u64::from(is_new);
            ensure(is_new || index + 1 == calls, "calls not in turn", event)?;
            let begins = call["id"].is_string() && call["function"]["name"].is_string();
            ensure(begins == is_new, "a call has id and name in its first piece and in no other", event)?;
        }
    }
    if is_finished { Ok(()) } else { Err("no finish_reason".to_owned()) }
}

/// `message_start`, blocks one after another and numbered from 0, one `message_delta`, `message_stop`.
fn blocks(events: &[Event]) -> Result<(), String> {
    let (mut open, mut next, mut step) = (None::<String>, 0, 0);
    for event in events {
        let value = value(event)?;
        let kind = text(&value, "type").unwrap_or_default();
        ensure(kind == event.name, "name and type differ", event)?;
        match kind {
            "ping" => ensure(step > 0, "ping before the beginning", event)?,
            "message_start" => {
                let message = &value["message"];
                ensure(step == 0, "a second beginning", event)?;
                ensure(
                    message["role"] == "assistant" && message["type"] == "message" && message["content"] == Value::Array(Vec::new()),
                    "no empty message",
                    event,
                )?;
                ensure(
                    message["usage"]["input_tokens"].is_u64() && message["usage"]["output_tokens"].is_u64(),
                    "no usage at the beginning",
                    event,
                )?;
                ensure(message["id"].is_string() && message["model"].is_string(), "no names", event)?;
                step = 1;
            }
            "content_block_start" => {
                ensure(step == 1 && open.is_none() && value["index"] == next, "a block begins at the wrong time", event)?;
                open = text(&value["content_block"], "type").map(str::to_owned);
                ensure(open.is_some(), "a block without a type", event)?;
            }
            "content_block_delta" => {
                let delta = text(&value["delta"], "type").unwrap_or_default();
                let fits = match open.as_deref() {
                    Some("text") => delta == "text_delta" || delta == "citations_delta",
                    Some("thinking") => delta == "thinking_delta" || delta == "signature_delta",
                    Some("tool_use" | "server_tool_use" | "mcp_tool_use") => delta == "input_json_delta",
                    _ => false,
                };
                ensure(fits && value["index"] == next, "a piece of another block", event)?;
            }
            "content_block_stop" => {
                ensure(open.take().is_some() && value["index"] == next, "an end of another block", event)?;
                next += 1;
            }
            "message_delta" => {
                ensure(step == 1 && open.is_none(), "an end while something is open", event)?;
                ensure(value["delta"]["stop_reason"].is_string(), "no stop_reason", event)?;
                ensure(value["usage"]["output_tokens"].is_u64(), "no usage", event)?;
                step = 2;
            }
            "message_stop" => {
                ensure(step == 2, "stopped without an end", event)?;
                step = 3;
            }
            _ => return Err(format!("no such event: {}", event.data)),
        }
        ensure(step < 3 || kind == "message_stop", "something after the end", event)?;
    }
    if step == 3 { Ok(()) } else { Err("it never stops".to_owned()) }
}

/// What a whole answer that was written here lacks.
pub fn faults_of_whole(dialect: Dialect, body: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let has_names = [&answer["id"], &answer["model"]].iter().all(|name| name.as_str().is_some_and(|name| !name.is_empty()));
    let is_right = has_names
        && match dialect {
            Dialect::OpenAi => {
                let choice = &answer["choices"][0];
                let message = &choice["message"];
                text(&answer, "object") == Some("chat.completion")
                    && answer["created"].is_u64()
                    && choice["index"] == 0
                    && choice["finish_reason"].is_string()
                    && message["role"] == "assistant"
                    // Null where there is nothing to say, never left out.
                    && message.get("content").is_some()
            }
            Dialect::Anthropic => {
                let blocks = answer["content"].as_array();
                text(&answer, "type") == Some("message")
                    && answer["role"] == "assistant"
                    && answer["stop_reason"].is_string()
                    && answer.get("stop_sequence").is_some()
                    && answer["usage"]["input_tokens"].is_u64()
                    && blocks.is_some_and(|blocks| blocks.iter().all(|block| block["type"].is_string() && block["text"] != ""))
            }
        };
    if is_right { Ok(()) } else { Err(answer.to_string().chars().take(300).collect()) }
}

/// The id by which an answer calls itself.
pub fn own_id(dialect: Dialect, is_sse: bool, body: &[u8]) -> Option<String> {
    let first: Value = if is_sse { serde_json::from_str(&events(body).first()?.data).ok()? } else { serde_json::from_slice(body).ok()? };
    let named = if is_sse && dialect == Dialect::Anthropic { &first["message"] } else { &first };
    text(named, "id").map(str::to_owned)
}
