//! What a model thought, in the four forms of this family: `reasoning_details` (OpenRouter), `reasoning`, `reasoning_content` (DeepSeek and
//! others), and content parts of type `thinking` (Mistral). And how much it is to think.

use bytes::Bytes;

use super::member::{Typed, array, object, text, wrong_type};
use crate::fault::Fault;
use crate::json::{Members, Node, Tree};
use crate::neutral::{Block, Content, Effort, Extension, Raw, Reasoning, ReasoningWish, Text};
use crate::read::invalid;

/// The `format` of thoughts that Anthropic's models sign; others' signatures mean nothing to them.
pub(super) const ANTHROPIC_FORMAT: &str = "anthropic-claude-v1";

/// One of `reasoning_details`; `None` for a type that is not known, which its owner alone can read.
pub(super) struct Detail {
    pub reasoning: Reasoning,
    pub index: Option<u32>,
    /// It is Anthropic's, or does not say whose.
    pub is_anthropic: bool,
}

/// Reads one of `reasoning_details`.
pub(super) fn detail(source: &Bytes, tree: &Tree<'_>) -> Option<Detail> {
    let Node::Object(members) = &tree.node else { return None };
    let string = |name: &str| match &members.get(name)?.node {
        Node::String(text) => Some(Text::of(source, text)),
        _ => None,
    };
    let reasoning = match &*members.word("type")? {
        "reasoning.text" => {
            let signature = string("signature").filter(|signature| !signature.is_empty());
            Reasoning::Text { text: string("text").unwrap_or_default(), signature }
        }
        "reasoning.summary" => Reasoning::Summary { text: string("summary").unwrap_or_default() },
        "reasoning.encrypted" => Reasoning::Encrypted { data: string("data")? },
        _ => return None,
    };
    let index = match members.get("index").map(|tree| &tree.node) {
        Some(Node::Number(number)) => number.parse().ok(),
        _ => None,
    };
    let is_anthropic = members.word("format").is_none_or(|format| format == ANTHROPIC_FORMAT || format == "unknown");
    Some(Detail { reasoning, index, is_anthropic })
}

impl Detail {
    /// What another provider than the thoughts' owner may see of them: neither a signature nor sealed data, which only the owner can check.
    pub(super) fn for_others(self) -> Reasoning {
        match self.reasoning {
            reasoning if self.is_anthropic => reasoning,
            Reasoning::Text { text, .. } => Reasoning::Text { text, signature: None },
            Reasoning::Encrypted { .. } => Reasoning::Text { text: Text::default(), signature: None },
            summary @ Reasoning::Summary { .. } => summary,
        }
    }
}

/// Reads the thoughts of a message in the history. The details win over the strings, which only repeat them.
pub(super) fn history(source: &Bytes, message: &mut Members<'_>, extension: &mut Extension) -> Result<Vec<Block>, Fault> {
    let mut blocks = Vec::new();
    if let Some(tree) = message.take("reasoning_details") {
        let raw = Raw::of(source, &tree);
        let details = array(tree).map_err(|fault| fault.inside("reasoning_details"))?;
        if details.is_empty() {
            extension.keep_known("reasoning_details", raw);
        }
        for tree in &details {
            let thought = match detail(source, tree) {
                Some(detail) => Content::Reasoning(detail.for_others()),
                None => Content::Reasoning(Reasoning::Text { text: Text::default(), signature: None }),
            };
            let mut block = Block::new(thought);
            block.extension.keep_whole(Raw::of(source, tree));
            blocks.push(block);
        }
    }
    for name in ["reasoning", "reasoning_content"] {
        let Some(tree) = message.take(name) else { continue };
        let thought = text(source, &tree).map_err(|fault| fault.inside(name))?;
        if blocks.is_empty() && !thought.is_empty() {
            let mut block = Block::new(Content::Reasoning(Reasoning::Text { text: thought, signature: None }));
            block.extension = Extension::default().spelt(name);
            blocks.push(block);
        } else {
            extension.keep_known(name, Raw::of(source, &tree));
        }
    }
    Ok(blocks)
}

/// The thoughts of an answer or of a piece of it: of the forms that tell the same, the richest.
pub(super) fn answered(source: &Bytes, message: &Members<'_>) -> Vec<Detail> {
    let details: Vec<Detail> = match message.get("reasoning_details").map(|tree| &tree.node) {
        Some(Node::Array(details)) => details.iter().filter_map(|tree| detail(source, tree)).collect(),
        _ => Vec::new(),
    };
    if !details.is_empty() {
        return details;
    }
    let thought = ["reasoning", "reasoning_content"].iter().find_map(|name| string(source, message, name));
    let detail = |text| Detail { reasoning: unsigned(text), index: None, is_anthropic: false };
    thought.map(detail).into_iter().collect()
}

pub(super) fn unsigned(text: Text) -> Reasoning {
    Reasoning::Text { text, signature: None }
}

/// A string that is not empty.
pub(super) fn string(source: &Bytes, members: &Members<'_>, name: &str) -> Option<Text> {
    match &members.get(name)?.node {
        Node::String(text) => Some(Text::of(source, text)).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// The text of a `thinking` part: a string, or parts of its own.
pub(super) fn thinking_part(source: &Bytes, part: &Members<'_>) -> Option<Text> {
    match &part.get("thinking")?.node {
        Node::String(text) => Some(Text::of(source, text)),
        Node::Array(parts) => {
            let text = |tree: &Tree<'_>| match &tree.node {
                Node::Object(part) => string(source, part, "text"),
                _ => None,
            };
            Some(Text::joined(&parts.iter().filter_map(text).collect::<Vec<_>>()))
        }
        _ => None,
    }
}

/// Reads `reasoning`, `reasoning_effort` and `include_reasoning`.
pub(super) fn wish(source: &Bytes, request: &mut Members<'_>, extension: &mut Extension) -> Result<Option<ReasoningWish>, Fault> {
    let mut wish = ReasoningWish::default();
    let mut asked = false;
    if let Some(tree) = request.take("reasoning_effort") {
        wish.effort = Some(effort(source, &tree).map_err(|fault| fault.inside("reasoning_effort"))?);
        extension.keep_known("reasoning_effort", Raw::of(source, &tree));
        asked = true;
    }
    if let Some(tree) = request.take("reasoning") {
        extension.keep_known("reasoning", Raw::of(source, &tree));
        let members = object(tree).map_err(|fault| fault.inside("reasoning"))?;
        steering(source, members, &mut wish, extension).map_err(|fault| fault.inside("reasoning"))?;
        asked = true;
    }
    if let Some(tree) = request.take("include_reasoning") {
        let Node::Bool(shown) = tree.node else { return Err(wrong_type(&tree, "true or false").inside("include_reasoning")) };
        extension.keep_known("include_reasoning", Raw::of(source, &tree));
        wish.hidden |= !shown;
        asked |= !shown;
    }
    Ok(asked.then_some(wish))
}

fn steering(source: &Bytes, mut members: Members<'_>, wish: &mut ReasoningWish, extension: &mut Extension) -> Result<(), Fault> {
    if let Some(tree) = members.take("effort") {
        let effort = effort(source, &tree).map_err(|fault| fault.inside("effort"))?;
        if wish.effort.is_some_and(|other| other != effort) {
            return Err(invalid("effort", "differs from reasoning_effort; send one of them"));
        }
        wish.effort = Some(effort);
    }
    wish.budget = members.take_whole("max_tokens")?;
    if wish.budget.is_some() && wish.effort.is_some() {
        return Err(invalid("max_tokens", "cannot go with an effort; send one of them"));
    }
    wish.enabled = members.take_bool("enabled")?;
    wish.hidden |= members.take_bool("exclude")? == Some(true);
    extension.keep_inner(source, "reasoning.", &members);
    Ok(())
}

fn effort(source: &Bytes, tree: &Tree<'_>) -> Result<Effort, Fault> {
    let word = text(source, tree)?;
    Effort::from_name(&word.decode()).ok_or_else(|| {
        let known: Vec<&str> = Effort::TABLE.iter().map(|(_, name, _)| *name).collect();
        invalid("", &format!("must be one of {}", known.join(", ")))
    })
}
