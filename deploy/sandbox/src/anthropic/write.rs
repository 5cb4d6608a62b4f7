//! Whole answers and the frames of streams.

use bytes::Bytes;
use serde::Serialize;

use super::text;
use super::turns::signature;
use crate::compose::{Choice, fragments};
use crate::frame::{Frame, Head, Kind, Stating};
use crate::usage::{Usage, tokens};

/// Pieces between two pings of a stream.
const PIECES_PER_PING: u64 = 16;

/// The `usage` object.
#[derive(Serialize)]
pub(crate) struct UsageObject {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    /// Not where a message ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation: Option<CacheCreation>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

/// The `usage` object of a whole message, or of the end of a stream, which has fewer fields.
pub(crate) fn usage_object(usage: Usage, is_end: bool) -> UsageObject {
    let Usage { prompt, completion, cached, cache_write_5m, cache_write_1h, .. } = usage;
    let written = cache_write_5m + cache_write_1h;
    let creation = CacheCreation { ephemeral_5m_input_tokens: cache_write_5m, ephemeral_1h_input_tokens: cache_write_1h };
    UsageObject {
        input_tokens: prompt.saturating_sub(cached + written),
        cache_creation_input_tokens: written,
        cache_read_input_tokens: cached,
        cache_creation: (!is_end).then_some(creation),
        output_tokens: completion,
        service_tier: (!is_end).then_some("standard"),
    }
}

/// A block of the answer.
enum Block {
    Thinking(Vec<String>),
    Redacted(String),
    Text(Box<dyn Iterator<Item = String> + Send>),
    ToolUse { id: String, name: String, input: String },
}

fn blocks(head: &Head, choice: Choice) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !choice.reasoning.is_empty() {
        blocks.push(Block::Thinking(choice.reasoning));
    }
    blocks.extend(choice.redacted.map(Block::Redacted));
    if !choice.content.is_empty() {
        blocks.push(Block::Text(choice.content.into_strings()));
    }
    if let Some(refusal) = choice.refusal {
        blocks.push(Block::Text(Box::new(std::iter::once(refusal))));
    }
    let own = head.id.trim_start_matches("msg_sandbox_");
    blocks.extend(choice.calls.into_iter().enumerate().map(|(index, call)| Block::ToolUse {
        // The head's id is of one request, so these ids do not repeat in a conversation.
        id: format!("toolu_sandbox_{own}_{index}"),
        name: call.name,
        input: call.arguments,
    }));
    blocks
}

fn stop_reason(choice: &Choice) -> &'static str {
    match choice.finish {
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        "content_filter" => "refusal",
        _ if choice.refusal.is_some() => "refusal",
        _ if choice.stopped_by.is_some() => "stop_sequence",
        _ => "end_turn",
    }
}

/// The member that states the usage, where one is wanted.
fn stated(stating: Stating, usage: Usage, is_end: bool) -> String {
    match stating {
        Stating::Never => String::new(),
        Stating::Null => ",\"usage\":null".to_owned(),
        _ => format!(",\"usage\":{}", text::value(&usage_object(usage, is_end))),
    }
}

/// `stop_reason` and `stop_sequence`.
fn stop(reason: Option<&str>, stopped_by: Option<&str>) -> String {
    format!("\"stop_reason\":{},\"stop_sequence\":{}", text::string(reason), text::string(stopped_by))
}

/// The message that has so much content; `usage` is the member with the comma before it.
fn message(head: &Head, content: &[String], stop: &str, usage: &str) -> String {
    let members = text::object([
        ("id", text::string(head.id.as_str())),
        ("type", text::string("message")),
        ("role", text::string("assistant")),
        ("model", text::string(head.model.as_str())),
        ("content", text::list(content)),
    ]);
    format!("{},{stop}{usage}}}", members.strip_suffix('}').unwrap_or(&members))
}

/// A block or a delta: its type, then one more member.
fn typed(kind: &str, name: &str, value: String) -> String {
    text::object([("type", text::string(kind)), (name, value)])
}

fn thinking(thought: &str, signature: &str) -> String {
    let members = [("type", text::string("thinking")), ("thinking", text::string(thought)), ("signature", text::string(signature))];
    text::object(members)
}

fn tool_use(id: &str, name: &str, input: String) -> String {
    let members = [("type", text::string("tool_use")), ("id", text::string(id)), ("name", text::string(name)), ("input", input)];
    text::object(members)
}

/// A whole answer.
pub(crate) fn whole(head: &Head, choice: Choice, usage: Usage, stating: Stating) -> Bytes {
    let stop = stop(Some(stop_reason(&choice)), choice.stopped_by.as_deref());
    let content: Vec<String> = blocks(head, choice)
        .into_iter()
        .map(|block| match block {
            Block::Thinking(pieces) => {
                let thought = pieces.concat();
                thinking(&thought, &signature(&thought))
            }
            Block::Redacted(data) => typed("redacted_thinking", "data", text::string(data.as_str())),
            Block::Text(pieces) => typed("text", "text", text::string(pieces.collect::<String>().as_str())),
            Block::ToolUse { id, name, input } => {
                // Arguments that were cut off are no JSON; the real API then gives what it has, which here is nothing.
                let is_whole = serde_json::from_str::<serde::de::IgnoredAny>(&input).is_ok();
                tool_use(&id, &name, if is_whole { input } else { "{}".to_owned() })
            }
        })
        .collect();
    message(head, &content, &stop, &stated(stating, usage, false)).into()
}

/// The frames of a stream, made one at a time.
pub(crate) fn frames(head: Head, choice: Choice, usage: Usage, stating: Stating) -> impl Iterator<Item = Frame> + Send {
    let begun = Usage { completion: usage.completion.min(1), ..usage };
    let states = !matches!(stating, Stating::Never | Stating::Null);
    let empty = message(&head, &[], &stop(None, None), &stated(stating, begun, false));
    let start = Frame { usage: states.then_some(begun), ..frame(Kind::Scaffold, "message_start", &format!(",\"message\":{empty}")) };
    let last = ending(&choice, usage, stating);
    let stride = head.stride;
    let blocks = blocks(&head, choice).into_iter().enumerate().flat_map(move |(index, block)| block_frames(index * stride, block));
    let (mut pieces, mut sent) = (0, 0);
    let body = blocks.flat_map(move |(bytes, mut frame)| {
        let mut more = Vec::new();
        if frame.kind == Kind::Piece {
            pieces += 1;
            sent += bytes;
            frame.said = bytes;
            if stating == Stating::InEachChunk {
                let so_far = Usage { completion: tokens(sent).min(usage.completion), ..usage };
                more.push(delta(Kind::Usage, &stop(None, None), so_far, stating));
            }
            if pieces % PIECES_PER_PING == 0 {
                more.push(ping());
            }
        }
        std::iter::once(frame).chain(more)
    });
    [start, ping()].into_iter().chain(body).chain(last)
}

/// The frames behind the last block.
fn ending(choice: &Choice, usage: Usage, stating: Stating) -> Vec<Frame> {
    let before = (stating == Stating::Twice).then(|| delta(Kind::Usage, &stop(None, None), usage.halfway(), stating));
    let finish = delta(Kind::Finish, &stop(Some(stop_reason(choice)), choice.stopped_by.as_deref()), usage, stating);
    before.into_iter().chain([finish, frame(Kind::Done, "message_stop", "")]).collect()
}

/// A `message_delta`: one that says why the message stops, or one that only states usage.
fn delta(kind: Kind, stop: &str, usage: Usage, stating: Stating) -> Frame {
    let frame = frame(kind, "message_delta", &format!(",\"delta\":{{{stop}}}{}", stated(stating, usage, true)));
    Frame { usage: (!matches!(stating, Stating::Never | Stating::Null)).then_some(usage), ..frame }
}

fn ping() -> Frame {
    frame(Kind::Scaffold, "ping", "")
}

type Frames = Box<dyn Iterator<Item = (u64, Frame)> + Send>;

/// The frames of one block, each with the bytes of text it holds.
fn block_frames(index: usize, block: Block) -> Frames {
    let start = move |content: String| {
        let more = format!(",\"index\":{index},\"content_block\":{content}");
        (0, frame(Kind::Scaffold, "content_block_start", &more))
    };
    let piece = move |kind: Kind, delta: &str, member: &str, said: &str| {
        let delta = typed(delta, member, text::string(said));
        (said.len() as u64, frame(kind, "content_block_delta", &format!(",\"index\":{index},\"delta\":{delta}")))
    };
    let stop = (0, frame(Kind::Scaffold, "content_block_stop", &format!(",\"index\":{index}")));
    let pieces: Frames = match block {
        Block::Thinking(pieces) => {
            let begun = start(thinking("", ""));
            let signed = (0, piece(Kind::Scaffold, "signature_delta", "signature", &signature(&pieces.concat())).1);
            let thoughts = pieces.into_iter().map(move |said| piece(Kind::Piece, "thinking_delta", "thinking", &said));
            Box::new(std::iter::once(begun).chain(thoughts).chain(std::iter::once(signed)))
        }
        Block::Redacted(data) => Box::new(std::iter::once(start(typed("redacted_thinking", "data", text::string(data.as_str()))))),
        Block::Text(pieces) => {
            let begun = start(typed("text", "text", text::string("")));
            Box::new(std::iter::once(begun).chain(pieces.map(move |said| piece(Kind::Piece, "text_delta", "text", &said))))
        }
        Block::ToolUse { id, name, input } => {
            let begun = start(tool_use(&id, &name, "{}".to_owned()));
            let empty = piece(Kind::Scaffold, "input_json_delta", "partial_json", "");
            let arguments = fragments(&input).map(move |said| piece(Kind::Piece, "input_json_delta", "partial_json", &said));
            Box::new([begun, empty].into_iter().chain(arguments))
        }
    };
    Box::new(pieces.chain(std::iter::once(stop)))
}

/// An event of the stream, named as its data is; `more` are its members behind the type, each with the comma before it.
fn frame(kind: Kind, event: &str, more: &str) -> Frame {
    Frame { kind, bytes: format!("event: {event}\ndata: {{\"type\":\"{event}\"{more}}}\n\n").into(), usage: None, said: 0 }
}

/// The answer to a question for the tokens of a prompt.
pub(crate) fn count(input_tokens: u64) -> Bytes {
    text::object([("input_tokens", input_tokens.to_string())]).into()
}

/// A page of the list of models.
pub(crate) fn page(models: &[(String, &str)], has_more: bool) -> Bytes {
    let about = |about: &str| text::string(format!("Sandbox: {about}.").as_str());
    let data: Vec<String> = models
        .iter()
        .map(|(id, row)| {
            let created = text::string("1970-01-01T00:00:00Z");
            text::object([
                ("type", text::string("model")),
                ("id", text::string(id.as_str())),
                ("display_name", about(row)),
                ("created_at", created),
            ])
        })
        .collect();
    let id = |entry: Option<&(String, &str)>| text::string(entry.map(|(id, _)| id.as_str()));
    let ends = [("first_id", id(models.first())), ("last_id", id(models.last()))];
    let [first, last] = ends;
    text::object([("data", text::list(&data)), ("has_more", has_more.to_string()), first, last]).into()
}
