//! A provider's whole answer as a message. What a provider leaves out or spells in its own way is no fault here: the meter judges the answer.

use bytes::Bytes;

use super::{calls, finish, reasoning, tools};
use crate::answer::BrokenAnswer;
use crate::json::{Members, Node, ScanLimits, Tree};
use crate::neutral::{Arguments, Block, Content, Extension, Message, Raw, Reasoning, Text};
use crate::sse::as_text;

/// Nothing inside these is read.
pub(super) const OPAQUE: &[&str] = &["logprobs", "usage", "prompt_filter_results", "content_filter_results"];

/// Reads the first choice of an answer. What is no UTF-8 becomes U+FFFD.
///
/// # Errors
/// The body is not one JSON object.
pub fn read_message(body: &Bytes) -> Result<Message, BrokenAnswer> {
    let body = &as_text(body);
    let tree = Tree::read(body, ScanLimits::ANSWER, OPAQUE).map_err(|error| BrokenAnswer { at: error.at })?;
    let Node::Object(answer) = &tree.node else { return Err(BrokenAnswer { at: 0 }) };
    let id = reasoning::string(body, answer, "id");
    let mut message = Message {
        model: reasoning::string(body, answer, "model"),
        blocks: Vec::new(),
        finish: None,
        stop_sequence: None,
        extension: Extension::default(),
        id,
    };
    let Some(choice) = first_choice(answer) else { return Ok(message) };
    if let Some(Tree { node: Node::Object(said), .. }) = choice.get("message") {
        message.blocks = blocks(body, said, message.id.as_ref());
    }
    let has_calls = message.blocks.iter().any(|block| matches!(block.content, Content::ToolCall { .. }));
    message.finish = reasoning::string(body, choice, "finish_reason").map(|word| finish::read(&word, has_calls));
    Ok(message)
}

/// Only one answer is asked for where answers are translated.
fn first_choice<'t, 'a>(answer: &'t Members<'a>) -> Option<&'t Members<'a>> {
    let Node::Array(choices) = &answer.get("choices")?.node else { return None };
    choices.iter().find_map(|choice| match &choice.node {
        Node::Object(choice) if is_first(choice) => Some(choice),
        _ => None,
    })
}

/// Whether it is the choice of index 0, or says nothing about it.
pub(super) fn is_first(choice: &Members<'_>) -> bool {
    !matches!(choice.get("index").map(|tree| &tree.node), Some(Node::Number(index)) if *index != "0")
}

fn blocks(source: &Bytes, said: &Members<'_>, id: Option<&Text>) -> Vec<Block> {
    let thoughts = reasoning::answered(source, said).into_iter().map(reasoning::Detail::for_others);
    let mut blocks: Vec<Block> =
        thoughts.filter(|thought| !is_blank(thought)).map(|thought| Block::new(Content::Reasoning(thought))).collect();
    let mut citations = citations(source, said);
    let mut run = Vec::new();
    for piece in pieces(source, said) {
        match piece {
            Piece::Text(text) => run.push(text),
            Piece::Thought(text) => {
                end_text(&mut run, &mut blocks);
                blocks.push(Block::new(Content::Reasoning(reasoning::unsigned(text))));
            }
        }
    }
    end_text(&mut run, &mut blocks);
    let last_text = blocks.iter_mut().rev().find_map(|block| match &mut block.content {
        Content::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(last) = last_text {
        last.append(&mut citations);
    }
    if let Some(refusal) = reasoning::string(source, said, "refusal") {
        blocks.push(Block::new(Content::Refusal(refusal)));
    }
    blocks.extend(images(source, said).map(|raw| Block::new(Content::Foreign { kind: Text::word("image_url"), raw })));
    blocks.extend(speech(source, said).map(|raw| Block::new(Content::Foreign { kind: Text::word("audio"), raw })));
    if let Some(Tree { node: Node::Array(calls), .. }) = said.get("tool_calls") {
        blocks.extend(calls.iter().zip(0..).filter_map(|(tree, at)| call(source, tree, at, id)));
    }
    blocks
}

/// Texts that follow one another are one, put together at once.
fn end_text(run: &mut Vec<Text>, blocks: &mut Vec<Block>) {
    if !run.is_empty() {
        blocks.push(Block::new(Content::text(Text::joined(run))));
        run.clear();
    }
}

fn is_blank(thought: &Reasoning) -> bool {
    match thought {
        Reasoning::Text { text, signature } => text.is_empty() && signature.is_none(),
        Reasoning::Summary { text } => text.is_empty(),
        Reasoning::Encrypted { .. } => false,
    }
}

/// A piece of `content`.
pub(super) enum Piece {
    Text(Text),
    Thought(Text),
}

/// `content`, be it a string or parts (Mistral thinks in parts of its own).
pub(super) fn pieces(source: &Bytes, said: &Members<'_>) -> Vec<Piece> {
    match said.get("content").map(|tree| &tree.node) {
        Some(Node::String(text)) if !text.raw().is_empty() => vec![Piece::Text(Text::of(source, text))],
        Some(Node::Array(parts)) => parts.iter().filter_map(|part| piece(source, part)).collect(),
        _ => Vec::new(),
    }
}

fn piece(source: &Bytes, part: &Tree<'_>) -> Option<Piece> {
    match &part.node {
        Node::String(text) => Some(Piece::Text(Text::of(source, text))),
        Node::Object(part) => match reasoning::thinking_part(source, part) {
            Some(thought) => Some(Piece::Thought(thought)),
            None => reasoning::string(source, part, "text").map(Piece::Text),
        },
        _ => None,
    }
}

/// `annotations`, each as it was.
pub(super) fn citations(source: &Bytes, said: &Members<'_>) -> Vec<Raw> {
    match said.get("annotations").map(|tree| &tree.node) {
        Some(Node::Array(annotations)) => annotations.iter().map(|tree| Raw::of(source, tree)).filter(Raw::is_object).collect(),
        _ => Vec::new(),
    }
}

/// The `audio` of a spoken answer, which no other dialect has; some providers send an empty one with every answer.
pub(super) fn speech(source: &Bytes, said: &Members<'_>) -> Option<Raw> {
    let tree = said.get("audio")?;
    let Node::Object(audio) = &tree.node else { return None };
    let says = |name| reasoning::string(source, audio, name).is_some_and(|text| !text.is_empty());
    (says("data") || says("transcript")).then(|| Raw::of(source, tree))
}

/// OpenRouter's `images`, which no other dialect has.
pub(super) fn images(source: &Bytes, said: &Members<'_>) -> impl Iterator<Item = Raw> {
    let images = match said.get("images").map(|tree| &tree.node) {
        Some(Node::Array(images)) => images.iter().map(|tree| Raw::of(source, tree)).collect(),
        _ => Vec::new(),
    };
    images.into_iter()
}

fn call(source: &Bytes, tree: &Tree<'_>, at: u32, answer: Option<&Text>) -> Option<Block> {
    let Node::Object(call) = &tree.node else { return None };
    let Some(Tree { node: Node::Object(function), .. }) = call.get("function") else { return None };
    let name = reasoning::string(source, function, "name")?;
    let id = reasoning::string(source, call, "id").unwrap_or_else(|| calls::made_up_id(answer, at));
    let arguments = function.get("arguments").and_then(|tree| tools::arguments(source, tree));
    let arguments = Arguments::Text(arguments.map(|arguments| arguments.to_text()).unwrap_or_default());
    Some(Block::new(Content::ToolCall { id, name, arguments }))
}
