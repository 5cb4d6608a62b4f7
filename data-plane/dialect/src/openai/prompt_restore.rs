//! A prompt of chat completions as the request that it was: every value as before, but for what is said to the gateway.

use bytes::Bytes;

use super::prompt_write::stream;
use super::turn_read::{CACHE_BESIDE, DEVELOPER, TOOL};
use crate::json::Writer;
use crate::neutral::{Block, Carrier, Content, Place, Prompt, Reasoning, Role, Turn};

pub(super) fn restore(prompt: &Prompt, carrier: &Carrier<'_>) -> Bytes {
    let mut json = Writer::with_capacity(4096);
    json.object(|json| {
        json.key("model").string(carrier.provider_model);
        json.key("messages").array(|json| prompt.turns.iter().for_each(|turn| message(turn, json)));
        parameters(prompt, carrier, json);
        prompt.extension.write(json);
    });
    json.into_bytes()
}

fn parameters(prompt: &Prompt, carrier: &Carrier<'_>, json: &mut Writer) {
    if !prompt.tools.is_empty() {
        json.key("tools")
            .array(|json| prompt.tools.iter().filter_map(|tool| tool.extension.whole()).for_each(|tool| json.raw(tool.json())));
    }
    if let Some(parallel) = prompt.parallel_tool_calls {
        json.key("parallel_tool_calls").bool(parallel);
    }
    let further = |json: &mut Writer| {
        for (name, raw) in prompt.extension.members() {
            if let Some(name) = name.escaped().strip_prefix(b"stream_options.") {
                json.escaped_key(name).raw(raw.json());
            }
        }
    };
    stream(carrier, further, json);
    if let Some(tokens) = prompt.max_output {
        let spelling = prompt.extension.spelling();
        if spelling != "max_completion_tokens" {
            json.key("max_tokens").number(tokens);
        }
        if matches!(spelling, "max_completion_tokens" | "both") {
            json.key("max_completion_tokens").number(tokens);
        }
    }
    for (name, number) in [("temperature", &prompt.temperature), ("top_p", &prompt.top_p), ("top_k", &prompt.top_k)] {
        if let Some(number) = number {
            json.key(name).raw(number.json());
        }
    }
    for (name, text) in [("user", &prompt.user), ("service_tier", &prompt.service_tier)] {
        if let Some(text) = text {
            json.key(name).escaped(text.escaped());
        }
    }
}

fn message(turn: &Turn, json: &mut Writer) {
    // The result of a function of old is one whole.
    if let [Block { content: Content::Foreign { raw, .. }, .. }] = turn.blocks.as_slice()
        && turn.role == Role::User
        && turn.extension.spelling() == "function"
    {
        return json.raw(raw.json());
    }
    json.object(|json| {
        json.key("role").string(match turn.role {
            Role::System if turn.extension.spelling() == DEVELOPER => DEVELOPER,
            Role::System => "system",
            Role::User if turn.extension.spelling() == TOOL => TOOL,
            Role::User => "user",
            Role::Assistant => "assistant",
        });
        for block in &turn.blocks {
            if let Content::ToolResult { call_id, content: inner, .. } = &block.content {
                json.key("tool_call_id").escaped(call_id.escaped());
                content(inner, json);
                marker(block, json);
            }
        }
        content(&turn.blocks, json);
        beside(&turn.blocks, json);
        turn.extension.write(json);
    });
}

/// `content` from those blocks that stood in it.
fn content(blocks: &[Block], json: &mut Writer) {
    let stood = |block: &&Block| matches!(block.place, Place::Content { .. });
    let Some(first) = blocks.iter().find(stood) else { return };
    if let (Place::Content { part: None, .. }, Content::Text { text, .. }) = (first.place, &first.content) {
        json.key("content").escaped(text.escaped());
    } else {
        json.key("content").array(|json| blocks.iter().filter(stood).for_each(|block| part(block, json)));
    }
    if let Some(block) = blocks.iter().find(|block| block.extension.spelling() == CACHE_BESIDE) {
        marker(block, json);
    }
}

fn marker(block: &Block, json: &mut Writer) {
    if let Some(cache) = &block.cache {
        json.key("cache_control").raw(cache.raw.json());
    }
}

fn part(block: &Block, json: &mut Writer) {
    match (block.extension.whole(), &block.content) {
        (Some(whole), _) => json.raw(whole.json()),
        (None, Content::Text { text, .. }) => json.object(|json| {
            json.key("type").string("text");
            json.key("text").escaped(text.escaped());
            if block.extension.spelling() != CACHE_BESIDE {
                marker(block, json);
            }
            block.extension.write(json);
        }),
        (None, Content::Foreign { raw, .. }) => json.raw(raw.json()),
        (None, _) => {}
    }
}

/// What stood beside the content.
fn beside(blocks: &[Block], json: &mut Writer) {
    let beside = || blocks.iter().filter(|block| matches!(block.place, Place::Message(_) | Place::ToolCall { .. }));
    let mut details = beside().filter(|block| matches!(block.content, Content::Reasoning(_))).filter_map(|block| block.extension.whole());
    if let Some(first) = details.next() {
        json.key("reasoning_details").array(|json| std::iter::once(first).chain(details).for_each(|detail| json.raw(detail.json())));
    }
    let mut calls = beside().filter(|block| matches!(block.place, Place::ToolCall { .. })).filter_map(|block| block.extension.whole());
    if let Some(first) = calls.next() {
        json.key("tool_calls").array(|json| std::iter::once(first).chain(calls).for_each(|call| json.raw(call.json())));
    }
    for block in beside() {
        match &block.content {
            Content::Reasoning(Reasoning::Text { text, .. }) if block.extension.whole().is_none() => {
                json.key(block.extension.spelling()).escaped(text.escaped());
            }
            Content::Refusal(text) => json.key("refusal").escaped(text.escaped()),
            Content::Foreign { kind, raw } if matches!(block.place, Place::Message(_)) => json.escaped_key(kind.escaped()).raw(raw.json()),
            _ => {}
        }
    }
}
