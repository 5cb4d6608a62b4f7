//! One message of a request as a turn.

use bytes::Bytes;

use super::member::{Typed, missing, object, wrong_type};
use super::prompt_read::{cache, foreign_kind};
use super::{media, reasoning, tools};
use crate::fault::Fault;
use crate::json::{Members, Node, Tree};
use crate::neutral::{Block, Content, Extension, Place, Raw, Reasoning, Role, Text, Turn};
use crate::read::invalid;

/// How the role was spelt, where the neutral form has fewer.
pub(super) const DEVELOPER: &str = "developer";
pub(super) const TOOL: &str = "tool";
/// The marker stood beside the content and not in a part.
pub(super) const CACHE_BESIDE: &str = "cache beside";

/// Reads message `at`.
pub(super) fn turn(source: &Bytes, at: u32, mut members: Members<'_>) -> Result<Turn, Fault> {
    let role = members.need_text(source, "role")?;
    let (role, spelling) = match &*role.decode() {
        "system" => (Role::System, ""),
        "developer" => (Role::System, DEVELOPER),
        "user" => (Role::User, ""),
        "assistant" => (Role::Assistant, ""),
        "tool" => (Role::User, TOOL),
        "function" => return Ok(function_result(source, at, &members)),
        _ => return Err(invalid("role", "must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"")),
    };
    let mut extension = Extension::default().spelt(spelling);
    let mut blocks = Vec::new();
    if role == Role::Assistant {
        blocks = reasoning::history(source, &mut members, &mut extension)?;
        blocks.iter_mut().for_each(|block| block.place = Place::Message(at));
    }
    let mut content = content(source, at, &mut members, &mut extension)?;
    let said_nothing = content.is_empty() && extension.get("content").is_none();
    if said_nothing && role != Role::Assistant && spelling != TOOL {
        return Err(missing("content"));
    }
    let mut marker = cache(source, &mut members)?;
    if spelling == TOOL {
        let call_id = members.need_text(source, "tool_call_id")?;
        let mut result = Block::new(Content::ToolResult { call_id, content, is_error: false }).at(Place::Message(at));
        result.cache = marker.take();
        blocks.push(result);
    } else {
        if let Some(last) = content.last_mut().filter(|last| last.cache.is_none())
            && marker.is_some()
        {
            last.cache = marker.take();
            last.extension = std::mem::take(&mut last.extension).spelt(CACHE_BESIDE);
        }
        blocks.append(&mut content);
    }
    if let Some(marker) = marker {
        extension.keep("cache_control", marker.raw);
    }
    if role == Role::Assistant {
        answer_members(source, at, &mut members, &mut blocks, &mut extension)?;
    }
    let mut rest = Extension::rest(source, &members).spelt(spelling);
    rest.append(extension);
    Ok(Turn { role, blocks, message: Some(at), extension: rest })
}

/// The result of the tools of old: no other dialect has such a thing, so it crosses as it is or not at all.
fn function_result(source: &Bytes, at: u32, members: &Members<'_>) -> Turn {
    let extension = Extension::rest(source, members);
    let mut json = crate::json::Writer::default();
    json.object(|json| {
        json.key("role").string("function");
        extension.write(json);
    });
    let raw = Raw::written(json.into_bytes());
    let mut block = Block::new(Content::Foreign { kind: Text::word("function"), raw: raw.clone() }).at(Place::Message(at));
    block.extension.keep_whole(raw);
    Turn { role: Role::User, blocks: vec![block], message: Some(at), extension: Extension::default().spelt("function") }
}

/// What an assistant's message has beside its content.
fn answer_members(
    source: &Bytes,
    at: u32,
    members: &mut Members<'_>,
    blocks: &mut Vec<Block>,
    extension: &mut Extension,
) -> Result<(), Fault> {
    if let Some(refusal) = members.take_text(source, "refusal")? {
        blocks.push(Block::new(Content::Refusal(refusal)).at(Place::Message(at)));
    }
    blocks.append(&mut tools::calls(source, members, at, extension)?);
    for name in ["function_call", "audio"] {
        if let Some(tree) = members.take(name) {
            let raw = Raw::of(source, &tree);
            blocks.push(Block::new(Content::Foreign { kind: Text::word(name), raw }).at(Place::Message(at)));
        }
    }
    // Clients send back what they got, empty lists and all.
    if let Some(Tree { node: Node::Array(none), .. }) = members.get("annotations")
        && none.is_empty()
        && let Some(tree) = members.take("annotations")
    {
        extension.keep_known("annotations", Raw::of(source, &tree));
    }
    Ok(())
}

/// Reads `content`: a string, or parts.
fn content(source: &Bytes, at: u32, members: &mut Members<'_>, extension: &mut Extension) -> Result<Vec<Block>, Fault> {
    let Some(tree) = members.take("content") else { return Ok(Vec::new()) };
    let raw = Raw::of(source, &tree);
    match tree.node {
        Node::String(text) => {
            let place = Place::Content { message: at, part: None };
            Ok(vec![Block::new(Content::text(Text::of(source, &text))).at(place)])
        }
        Node::Array(parts) if parts.is_empty() => {
            extension.keep_known("content", raw);
            Ok(Vec::new())
        }
        Node::Array(parts) => {
            let parts = (0..).zip(parts).map(|(index, tree)| {
                let block = part(source, tree).map_err(|fault| fault.inside(&format!("content[{index}]")))?;
                Ok(block.at(Place::Content { message: at, part: Some(index) }))
            });
            parts.collect()
        }
        _ => Err(wrong_type(&tree, "a string or an array").inside("content")),
    }
}

fn part(source: &Bytes, tree: Tree<'_>) -> Result<Block, Fault> {
    let whole = Raw::of(source, &tree);
    // Some providers take bare strings among the parts.
    if let Node::String(text) = &tree.node {
        let mut block = Block::new(Content::text(Text::of(source, text)));
        block.extension.keep_whole(whole);
        return Ok(block);
    }
    let mut members = object(tree)?;
    let kind = foreign_kind(source, &members).ok_or_else(|| missing("type"))?;
    let mut inner = Extension::default();
    let word = kind.decode();
    let content = match &*word {
        "text" => Content::text(members.need_text(source, "text")?),
        "refusal" => Content::Refusal(members.need_text(source, "refusal")?),
        "thinking" => thinking(source, &mut members)?,
        kind => match media::read(source, kind, &mut members, &mut inner)? {
            Some(content) => content,
            None => Content::Foreign { kind: Text::new(kind), raw: whole.clone() },
        },
    };
    let mut block = Block::new(content);
    members.take("type");
    block.cache = cache(source, &mut members)?;
    if !matches!(block.content, Content::Foreign { .. }) {
        block.extension = Extension::rest(source, &members);
    }
    if !matches!(block.content, Content::Text { .. }) {
        block.extension.keep_whole(whole);
    }
    block.extension.append(inner);
    Ok(block)
}

fn thinking(source: &Bytes, members: &mut Members<'_>) -> Result<Content, Fault> {
    let text = reasoning::thinking_part(source, members).ok_or_else(|| missing("thinking"))?;
    members.take("thinking");
    members.take("closed");
    // Mistral's own, which no other provider can check.
    members.take("signature");
    Ok(Content::Reasoning(Reasoning::Text { text, signature: None }))
}
