//! A message as a whole chat completion, for callers whose provider speaks another dialect.

use bytes::Bytes;

use super::turn_write::detail;
use super::{citations, finish, usage_write};
use crate::json::Writer;
use crate::neutral::{Arguments, Block, Content, Finish, Message, Notice, Raw, Reasoning, Shown, Text};

pub(super) const FOREIGN: &str = "a block that chat completions do not have";
pub(super) const UNCITED: &str = "only pages of the web can be cited here";

/// Writes the answer, and what of it cannot be shown.
pub fn write_message(message: &Message, shown: &Shown<'_>) -> (Bytes, Vec<Notice>) {
    let mut notices = Vec::new();
    let mut json = Writer::with_capacity(1024);
    json.object(|json| {
        json.key("id").string(shown.id);
        json.key("object").string("chat.completion");
        json.key("created").number(shown.created_s);
        match &message.model {
            Some(model) => json.key("model").escaped(model.escaped()),
            None => json.key("model").string(shown.model),
        }
        json.key("choices").array(|json| json.object(|json| choice(message, shown, &mut notices, json)));
        if let Some(reading) = shown.reading {
            json.key("usage");
            usage_write::usage(reading, shown.cost_picousd, json);
        }
        if let Some(tier) = shown.service_tier {
            json.key("service_tier").string(tier);
        }
        if shown.openrouter {
            json.key("system_fingerprint").null();
        }
    });
    (json.into_bytes(), notices)
}

fn choice(message: &Message, shown: &Shown<'_>, notices: &mut Vec<Notice>, json: &mut Writer) {
    let finish = message.finish.clone().unwrap_or(Finish::Stop);
    json.key("index").number(0);
    json.key("message").object(|json| said(&message.blocks, notices, json));
    json.key("logprobs").null();
    json.key("finish_reason").string(finish::word(&finish));
    if shown.openrouter {
        json.key("native_finish_reason").escaped(finish::native(&finish).escaped());
    }
    if let Some(lost) = finish::lost(&finish) {
        notices.push(Notice::approximated("finish_reason", lost));
    }
}

fn said(blocks: &[Block], notices: &mut Vec<Notice>, json: &mut Writer) {
    json.key("role").string("assistant");
    let texts =
        |pick: fn(&Content) -> Option<&Text>| blocks.iter().filter_map(|block| pick(&block.content)).map(Text::escaped).collect::<Vec<_>>();
    string_or_null("content", texts(text), json);
    string_or_null("refusal", texts(refusal), json);
    thoughts(blocks, json);
    annotations(blocks, notices, json);
    let calls: Vec<_> = blocks.iter().filter_map(call).collect();
    if !calls.is_empty() {
        json.key("tool_calls").array(|json| {
            for ((id, name, arguments), index) in calls.into_iter().zip(0..) {
                json.object(|json| {
                    json.key("index").number(index);
                    json.key("id").escaped(id.escaped());
                    json.key("type").string("function");
                    json.key("function").object(|json| {
                        json.key("name").escaped(name.escaped());
                        json.key("arguments").escaped(written(arguments).escaped());
                    });
                });
            }
        });
    }
    for (block, at) in blocks.iter().zip(0_u32..) {
        if let Some(why) = hidden(&block.content) {
            notices.push(Notice::dropped(format!("content[{at}]"), why));
        }
    }
}

fn string_or_null(name: &str, pieces: Vec<&[u8]>, json: &mut Writer) {
    json.key(name);
    if pieces.is_empty() { json.null() } else { json.escaped_pieces(pieces) }
}

fn text(content: &Content) -> Option<&Text> {
    match content {
        Content::Text { text, .. } => Some(text),
        _ => None,
    }
}

fn refusal(content: &Content) -> Option<&Text> {
    match content {
        Content::Refusal(text) => Some(text),
        _ => None,
    }
}

fn call(block: &Block) -> Option<(&Text, &Text, &Arguments)> {
    match &block.content {
        Content::ToolCall { id, name, arguments } => Some((id, name, arguments)),
        _ => None,
    }
}

/// Clients parse them, so there is always an object.
fn written(arguments: &Arguments) -> Text {
    Some(arguments.to_text()).filter(|text| !text.is_empty()).unwrap_or(Text::word("{}"))
}

/// Why a block cannot be shown in this dialect.
fn hidden(content: &Content) -> Option<&'static str> {
    match content {
        Content::Text { .. } | Content::Refusal(_) | Content::Reasoning(_) | Content::ToolCall { .. } => None,
        Content::Foreign { .. } => Some(FOREIGN),
        _ => Some("chat completions answer in text"),
    }
}

/// Both forms: the string that most clients show, and the details that prove the thoughts when they are sent back.
fn thoughts(blocks: &[Block], json: &mut Writer) {
    let thoughts: Vec<&Reasoning> = blocks
        .iter()
        .filter_map(|block| match &block.content {
            Content::Reasoning(reasoning) => Some(reasoning),
            _ => None,
        })
        .collect();
    if thoughts.is_empty() {
        return;
    }
    let texts: Vec<&[u8]> = thoughts
        .iter()
        .filter_map(|thought| match thought {
            Reasoning::Text { text, .. } | Reasoning::Summary { text } => Some(text.escaped()),
            Reasoning::Encrypted { .. } => None,
        })
        .collect();
    if !texts.is_empty() {
        json.key("reasoning").escaped_pieces(texts);
    }
    json.key("reasoning_details").array(|json| {
        for (thought, index) in thoughts.into_iter().zip(0..) {
            detail(thought, index, json);
        }
    });
}

/// Where the citations lie in the text is counted in letters, and only if there are any.
fn annotations(blocks: &[Block], notices: &mut Vec<Notice>, json: &mut Writer) {
    let cited = |block: &Block| matches!(&block.content, Content::Text { citations, .. } if !citations.is_empty());
    if !blocks.iter().any(cited) {
        return;
    }
    let mut end = 0;
    json.key("annotations").array(|json| {
        for (block, at) in blocks.iter().zip(0_u32..) {
            let Content::Text { text, citations } = &block.content else { continue };
            let start = end;
            end += letters(text);
            let shown = |citation: &Raw, json: &mut Writer| citations::annotation(citation, start, end, json);
            let left_out = citations.iter().filter(|citation| !shown(citation, json)).count();
            if left_out > 0 {
                notices.push(Notice::dropped(format!("content[{at}].citations"), UNCITED));
            }
        }
    });
}

pub(super) fn letters(text: &Text) -> u64 {
    text.decode().chars().count() as u64
}
