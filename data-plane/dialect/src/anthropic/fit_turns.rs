//! The conversation of another dialect made fit: instructions first, turns that alternate, results before everything else, no empty text.

use super::fit::{cache, name_members, unsupported};
use super::unsigned::is_unsigned;
use super::{fit_media, tool_id};
use crate::fault::Fault;
use crate::neutral::{Arguments, Block, Content, Extension, Notice, Prompt, Reasoning, Role, Text, Turn};

/// All turns, the instructions as one turn before the first message.
pub(super) fn turns(prompt: &Prompt, notices: &mut Vec<Notice>) -> Result<Vec<Turn>, Fault> {
    let mut system = Vec::new();
    let mut messages: Vec<Turn> = Vec::new();
    let mut last_system = None;
    for turn in &prompt.turns {
        name_members(&turn.extension, || path(turn), notices);
        let mut blocks = Vec::with_capacity(turn.blocks.len());
        for block in &turn.blocks {
            blocks.extend(fit_block(block, turn.role, notices)?);
        }
        if blocks.is_empty() {
            if turn.role != Role::System {
                notices.push(Notice::dropped(path(turn), "Anthropic takes no empty message"));
            }
            continue;
        }
        match (turn.role, messages.last_mut()) {
            (Role::System, last) => {
                if last.is_some() {
                    notices.push(Notice::approximated(path(turn), "put before the conversation"));
                }
                last_system = Some((system.len(), turn.message));
                system.extend(blocks);
            }
            (role, Some(last)) if last.role == role => last.blocks.extend(blocks),
            (role, _) => messages.push(Turn { role, blocks, message: turn.message.or(Some(0)), extension: Extension::default() }),
        }
    }
    if messages.is_empty() {
        // Instructions alone are a prompt elsewhere; here the last of them must be what the user says.
        let Some((from, message)) = last_system else { return Err(unsupported("messages", "no message has any content")) };
        notices.push(Notice::approximated("messages", "the last instructions are sent as the user's, since no other message is there"));
        let blocks = system.split_off(from);
        messages.push(Turn { role: Role::User, blocks, message: message.or(Some(0)), extension: Extension::default() });
    }
    messages.iter_mut().for_each(order);
    trim_prefill(&mut messages, notices);
    let blocks = system;
    let system = Turn { role: Role::System, extension: simple(&blocks), blocks, message: None };
    messages.iter_mut().for_each(|turn| turn.extension = simple(&turn.blocks));
    Ok([system].into_iter().filter(|turn| !turn.blocks.is_empty()).chain(messages).collect())
}

fn path(turn: &Turn) -> String {
    turn.message.map_or_else(|| "system".to_owned(), |message| format!("messages[{message}]"))
}

/// One text without more is written as a string, as most callers do.
fn simple(blocks: &[Block]) -> Extension {
    let is_plain = matches!(blocks, [Block { content: Content::Text { citations, .. }, cache: None, .. }] if citations.is_empty());
    Extension::default().spelt(if is_plain { "string" } else { "" })
}

/// Results of tools come first in a user's turn, as Anthropic demands.
fn order(turn: &mut Turn) {
    if turn.role == Role::User {
        turn.blocks.sort_by_key(|block| !matches!(block.content, Content::ToolResult { .. }));
    }
}

fn fit_block(block: &Block, role: Role, notices: &mut Vec<Notice>) -> Result<Option<Block>, Fault> {
    let refuse = |why| unsupported(block.place.to_string(), why);
    let place = || block.place.to_string();
    let content = match &block.content {
        Content::Text { text, .. } if text.is_empty() && block.cache.is_none() => return Ok(None),
        Content::Text { text, .. } | Content::Refusal(text) if is_blank(text) => {
            notices.push(Notice::dropped(place(), "Anthropic takes no text that is made of blanks"));
            return Ok(None);
        }
        Content::Text { .. } | Content::Refusal(_) => Content::text(fit_text(block, notices)),
        _ if role == Role::System => return Err(refuse("instructions are text")),
        Content::Reasoning(reasoning) => match fit_thoughts(block, reasoning, role)? {
            Thoughts::Kept(content) => content,
            Thoughts::Dropped(why) => {
                notices.push(Notice::dropped(place(), why));
                return Ok(None);
            }
        },
        Content::ToolCall { id, name, arguments } => {
            let object = arguments.to_object();
            if object.is_none() {
                notices.push(Notice::approximated(place(), "arguments that are no JSON object as the one argument `arguments`"));
            }
            let arguments = Arguments::Object(object.unwrap_or_else(|| super::block_write::input(arguments)));
            Content::ToolCall { id: fit_id(id, place, notices), name: name.clone(), arguments }
        }
        Content::ToolResult { call_id, content, is_error } => {
            let call_id = fit_id(call_id, place, notices);
            let mut inner = Vec::with_capacity(content.len());
            for block in content {
                inner.extend(fit_block(block, Role::User, notices)?);
            }
            Content::ToolResult { call_id, content: inner, is_error: *is_error }
        }
        Content::Image(_) | Content::Document(_) if role != Role::User => {
            return Err(refuse("Anthropic takes pictures and documents from the user only"));
        }
        Content::Image(media) => Content::Image(fit_media::image(media).map_err(refuse)?),
        Content::Document(media) => Content::Document(fit_media::document(media).map_err(refuse)?),
        Content::Audio(_) => return Err(refuse("Anthropic's models do not hear")),
        Content::Video(_) => return Err(refuse("Anthropic's models watch no videos")),
        Content::Foreign { .. } => return Err(refuse("Anthropic has no content of this type")),
    };
    let mut marker = block.cache.as_ref();
    if matches!(content, Content::Reasoning(_)) {
        if marker.take().is_some() {
            notices.push(Notice::dropped(format!("{}.cache_control", block.place), "thoughts carry no marker"));
        }
    } else {
        name_members(&block.extension, place, notices);
    }
    Ok(Some(Block { content, cache: cache(marker, place, notices), place: block.place, extension: Extension::default() }))
}

fn fit_text(block: &Block, notices: &mut Vec<Notice>) -> Text {
    match &block.content {
        Content::Text { text, citations } => {
            if !citations.is_empty() {
                notices.push(Notice::dropped(format!("{}.citations", block.place), "they are another provider's"));
            }
            text.clone()
        }
        Content::Refusal(text) => {
            notices.push(Notice::approximated(block.place.to_string(), "a refusal as text"));
            text.clone()
        }
        _ => Text::default(),
    }
}

enum Thoughts {
    Kept(Content),
    Dropped(&'static str),
}

fn fit_thoughts(block: &Block, reasoning: &Reasoning, role: Role) -> Result<Thoughts, Fault> {
    if role != Role::Assistant {
        return Err(unsupported(block.place.to_string(), "only the assistant has thoughts"));
    }
    Ok(if is_unsigned(block) {
        Thoughts::Dropped("thoughts without a signature are refused by Anthropic")
    } else {
        Thoughts::Kept(Content::Reasoning(reasoning.clone()))
    })
}

fn fit_id(id: &Text, place: impl Fn() -> String, notices: &mut Vec<Notice>) -> Text {
    let Some(fit) = tool_id::fit(id) else { return id.clone() };
    notices.push(Notice::approximated(place(), "its id is spelt in letters that Anthropic takes"));
    fit
}

/// Nothing but white space, found without decoding a text that is more.
pub(super) fn is_blank(text: &Text) -> bool {
    let mut rest = text.escaped();
    loop {
        rest = match rest {
            [] => return true,
            [b' ', tail @ ..] | [b'\\', b'n' | b'r' | b't' | b'f', tail @ ..] => tail,
            [b'\\', b'u', ..] => return text.decode().trim().is_empty(),
            [byte, ..] if !byte.is_ascii() => return text.decode().trim().is_empty(),
            _ => return false,
        };
    }
}

/// Anthropic refuses an answer that is begun for the model and ends in a blank.
fn trim_prefill(messages: &mut [Turn], notices: &mut Vec<Notice>) {
    let Some(Turn { role: Role::Assistant, blocks, .. }) = messages.last_mut() else { return };
    let Some(Block { content: Content::Text { text, .. }, place, .. }) = blocks.last_mut() else { return };
    let decoded = text.decode();
    let trimmed = decoded.trim_end();
    if trimmed.len() < decoded.len() {
        notices.push(Notice::approximated(place.to_string(), "without the blanks at its end"));
        *text = Text::new(trimmed);
    }
}
