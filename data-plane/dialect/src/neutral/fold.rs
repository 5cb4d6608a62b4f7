//! Events back into the message that they told in pieces.

use super::block::{Block, Content, Reasoning};
use super::event::{Delta, Event, EventKind, Opened};
use super::extension::Extension;
use super::message::Message;
use super::text::{Arguments, Text};

/// The whole answer of a sequence of events.
pub fn fold(events: &[Event]) -> Message {
    let mut message =
        Message { id: None, model: None, blocks: Vec::new(), finish: None, stop_sequence: None, extension: Extension::default() };
    for event in events {
        match event.kind() {
            EventKind::Start { id, model } => {
                message.id.clone_from(id);
                message.model.clone_from(model);
            }
            EventKind::Open { what, .. } => message.blocks.push(Block::new(opened(what))),
            EventKind::Delta { delta, .. } => {
                if let Some(block) = message.blocks.last_mut() {
                    add(&mut block.content, delta);
                }
            }
            EventKind::Close { .. } => {}
            EventKind::Finish { finish, stop_sequence } => {
                message.finish = Some(finish.clone());
                message.stop_sequence.clone_from(stop_sequence);
            }
        }
    }
    message
}

fn opened(what: &Opened) -> Content {
    match what {
        Opened::Text => Content::text(Text::default()),
        Opened::Refusal => Content::Refusal(Text::default()),
        Opened::Reasoning(reasoning) => Content::Reasoning(reasoning.clone()),
        Opened::ToolCall { id, name } => {
            Content::ToolCall { id: id.clone(), name: name.clone(), arguments: Arguments::Text(Text::default()) }
        }
        Opened::Foreign { kind, raw } => Content::Foreign { kind: kind.clone(), raw: raw.clone() },
    }
}

fn add(content: &mut Content, delta: &Delta) {
    match (content, delta) {
        (Content::Text { text, .. } | Content::Refusal(text), Delta::Text(more)) => append(text, more),
        (Content::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation.clone()),
        (Content::Reasoning(Reasoning::Text { text, .. } | Reasoning::Summary { text }), Delta::Reasoning(more)) => append(text, more),
        (Content::Reasoning(Reasoning::Text { signature, .. }), Delta::Signature(more)) => {
            append(signature.get_or_insert_default(), more);
        }
        (Content::ToolCall { arguments: Arguments::Text(text), .. }, Delta::Arguments(more)) => append(text, more),
        _ => {}
    }
}

fn append(text: &mut Text, more: &Text) {
    *text = Text::joined(&[std::mem::take(text), more.clone()]);
}
