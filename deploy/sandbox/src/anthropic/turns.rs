//! What the real API demands of a conversation: who begins, what a block must hold, and that each tool call has its result.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use super::read::{Block, Content, refused};
use crate::compose::Refused;

/// What signatures of the sandbox begin with.
const SIGNATURE: &str = "sandbox-";

#[derive(Debug, Deserialize)]
pub(super) struct Turn {
    pub role: String,
    pub content: Content,
}

/// The signature of a thought: a caller has to bring back both as they were.
pub(super) fn signature(thought: &str) -> String {
    let mut hasher = DefaultHasher::new();
    thought.hash(&mut hasher);
    format!("{SIGNATURE}{:016x}", hasher.finish())
}

pub(super) fn check(turns: &[Turn]) -> Result<(), Refused> {
    match turns.first() {
        None => return Err(refused("messages", "at least one message is required")),
        Some(first) if first.role == "assistant" => return Err(refused("messages", "first message must use the \"user\" role")),
        Some(_) => {}
    }
    for (index, turn) in turns.iter().enumerate() {
        check_turn(index, turn, index + 1 == turns.len())?;
    }
    check_results(turns)
}

fn check_turn(index: usize, turn: &Turn, is_last: bool) -> Result<(), Refused> {
    // Instructions may also come later, between turns (a beta of the real API that agents use).
    let is_instruction = turn.role == "system" && index > 0;
    if !is_instruction && !["user", "assistant"].contains(&turn.role.as_str()) {
        return Err(refused(format!("messages.{index}.role"), "Input should be 'user' or 'assistant'"));
    }
    let is_empty = match &turn.content {
        Content::Text(text) => text.is_empty(),
        Content::Blocks(blocks) => blocks.is_empty(),
    };
    if is_empty && !(is_last && turn.role == "assistant") {
        let message = "all messages must have non-empty content except for the optional final assistant message";
        return Err(refused(format!("messages.{index}"), message));
    }
    for (position, block) in turn.blocks().iter().enumerate() {
        if let Some((field, message)) = fault(block, &turn.role) {
            return Err(refused(format!("messages.{index}.content.{position}.{}{field}", block.kind), message));
        }
    }
    Ok(())
}

/// The field of a block that is at fault, and what is wrong.
fn fault(block: &Block, role: &str) -> Option<(&'static str, &'static str)> {
    let required = "Field required";
    match block.kind.as_str() {
        "text" if block.text.as_ref().is_none_or(String::is_empty) => Some((".text", "text content blocks must be non-empty")),
        "image" | "document" => {
            let source = block.source.as_ref().and_then(|source| source["type"].as_str());
            source.is_none().then_some((".source.type", required))
        }
        "tool_use" if role != "assistant" => Some(("", "`tool_use` blocks can only be in `assistant` messages")),
        "tool_use" if block.id.is_none() => Some((".id", required)),
        "tool_use" if block.name.is_none() => Some((".name", required)),
        "tool_use" => (!block.input.as_ref().is_some_and(serde_json::Value::is_object)).then_some((".input", "Input should be an object")),
        "tool_result" if role != "user" => Some(("", "`tool_result` blocks can only be in `user` messages")),
        "tool_result" => block.tool_use_id.is_none().then_some((".tool_use_id", required)),
        "thinking" => match (&block.thinking, &block.signature) {
            (None, _) => Some((".thinking", required)),
            (_, None) => Some((".signature", required)),
            (Some(thought), Some(given)) if given.starts_with(SIGNATURE) && *given != signature(thought) => {
                Some((".signature", "Invalid `signature` in `thinking` block"))
            }
            _ => None,
        },
        "redacted_thinking" => block.data.is_none().then_some((".data", required)),
        _ => None,
    }
}

/// Turns of one role in a row count as one.
fn check_results(turns: &[Turn]) -> Result<(), Refused> {
    let mut open: Vec<&str> = Vec::new();
    let mut before = "";
    for (index, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.role != "system") {
        if turn.role == "user" {
            for (position, block) in turn.blocks().iter().enumerate().filter(|(_, block)| block.kind == "tool_result") {
                let id = block.tool_use_id.as_deref().unwrap_or_default();
                let known = open.iter().position(|open| *open == id);
                let Some(known) = known else {
                    let message = format!(
                        "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                    );
                    return Err(refused(format!("messages.{index}.content.{position}"), &message));
                };
                open.swap_remove(known);
            }
        } else {
            if before != "assistant" {
                unanswered(index.saturating_sub(1), &open)?;
            }
            open.extend(turn.blocks().iter().filter(|block| block.kind == "tool_use").filter_map(|block| block.id.as_deref()));
        }
        before = &turn.role;
    }
    // A conversation may end with calls: then the assistant goes on.
    if before == "user" { unanswered(turns.len() - 1, &open) } else { Ok(()) }
}

fn unanswered(index: usize, open: &[&str]) -> Result<(), Refused> {
    if open.is_empty() {
        return Ok(());
    }
    let ids = open.join(", ");
    let message = format!("`tool_use` ids were found without `tool_result` blocks immediately after: {ids}");
    Err(refused(format!("messages.{index}"), &message))
}

impl Turn {
    fn blocks(&self) -> &[Block] {
        match &self.content {
            Content::Text(_) => &[],
            Content::Blocks(blocks) => blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conversation_is_refused_where_it_breaks_the_rules() {
        let call = |id: &str| json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {}}]});
        let result = |id: &str| json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "x"}]});
        let user = json!({"role": "user", "content": "go"});
        let block = |block: serde_json::Value| json!([{"role": "user", "content": [block]}]);
        let thought = |signature: &str| json!([user, {"role": "assistant", "content": [{"type": "thinking", "thinking": "so", "signature": signature}]}]);
        let rows = [
            (json!([user]), ""),
            (json!([]), "messages: at least"),
            (json!([{"role": "assistant", "content": "a"}]), "messages: first"),
            (json!([{"role": "system", "content": "a"}]), "messages.0.role"),
            (json!([{"role": "user", "content": ""}]), "messages.0: all"),
            (json!([user, {"role": "assistant", "content": ""}]), ""),
            (json!([user, {"role": "assistant", "content": []}, user]), "messages.1: all"),
            (block(json!({"type": "text", "text": ""})), "messages.0.content.0.text.text"),
            (block(json!({"type": "image"})), "messages.0.content.0.image.source.type"),
            (block(json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}})), ""),
            (block(json!({"type": "tool_use", "id": "a", "name": "f", "input": {}})), "messages.0.content.0.tool_use"),
            (json!([user, call("a"), result("a")]), ""),
            (json!([user, call("a")]), ""),
            (json!([user, {"role": "system", "content": "Be brief."}, call("a"), result("a")]), ""),
            (json!([user, call("a"), {"role": "system", "content": "Be brief."}, result("a")]), ""),
            (json!([user, call("a"), call("b"), result("a"), result("b")]), ""),
            (json!([user, call("a"), user]), "messages.2: `tool_use` ids"),
            (json!([user, call("a"), user, call("b")]), "messages.2: `tool_use` ids"),
            (json!([user, call("a"), result("b")]), "messages.2.content.0: unexpected"),
            (json!([user, call("a"), result("a"), result("a")]), "messages.3.content.0: unexpected"),
            (json!([result("a")]), "messages.0.content.0: unexpected"),
            (thought(&signature("so")), ""),
            (thought("of another provider"), ""),
            (thought(&signature("other")), "messages.1.content.0.thinking.signature"),
            (
                json!([user, {"role": "assistant", "content": [{"type": "thinking", "thinking": "so"}]}]),
                "messages.1.content.0.thinking.signature",
            ),
            (
                json!([user, {"role": "assistant", "content": [{"type": "redacted_thinking"}]}]),
                "messages.1.content.0.redacted_thinking.data",
            ),
        ];
        for (turns, expected) in rows {
            let read: Vec<Turn> = serde_json::from_value(turns.clone()).unwrap();
            let said = check(&read).err().map(|refused| refused.message).unwrap_or_default();
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{turns}: {said:?}");
        }
    }
}
