//! Tools, the choice among them, and their calls, as a request tells them.

use bytes::Bytes;

use super::member::{Typed, array, missing, object, wrong_type};
use crate::fault::Fault;
use crate::json::{Members, Node, Tree};
use crate::neutral::{Arguments, Block, Content, Extension, Place, Raw, Text, Tool, ToolChoice, ToolKind};
use crate::read::invalid;

use super::prompt_read::{cache, foreign_kind};

/// Reads `tools`.
pub(super) fn tools(source: &Bytes, tree: Tree<'_>) -> Result<Vec<Tool>, Fault> {
    let tools = array(tree).map_err(|fault| fault.inside("tools"))?;
    let tools = (0..).zip(tools).map(|(index, tree)| tool(source, index, tree).map_err(|fault| fault.inside(&format!("tools[{index}]"))));
    tools.collect()
}

fn tool(source: &Bytes, index: u32, tree: Tree<'_>) -> Result<Tool, Fault> {
    let whole = Raw::of(source, &tree);
    let mut members = object(tree)?;
    let kind = foreign_kind(source, &members);
    let is_function = match &kind {
        Some(kind) => kind.is("function"),
        None => members.get("function").is_some(),
    };
    if !is_function {
        let kind = ToolKind::Foreign { kind: kind.ok_or_else(|| missing("type"))?, raw: whole.clone() };
        let mut extension = Extension::default();
        extension.keep_whole(whole);
        return Ok(Tool { kind, cache: None, index, extension });
    }
    members.take("type");
    let mut function = members.take_object("function")?.ok_or_else(|| missing("function"))?;
    let kind = self::function(source, &mut function).map_err(|fault| fault.inside("function"))?;
    let cache = cache(source, &mut members)?;
    let mut extension = Extension::rest(source, &members);
    extension.keep_inner(source, "function.", &function);
    extension.keep_whole(whole);
    Ok(Tool { kind, cache, index, extension })
}

fn function(source: &Bytes, function: &mut Members<'_>) -> Result<ToolKind, Fault> {
    let name = function.need_text(source, "name")?;
    if name.is_empty() {
        return Err(invalid("name", "must not be empty"));
    }
    Ok(ToolKind::Function {
        name,
        description: function.take_text(source, "description")?,
        parameters: function.take_schema(source, "parameters")?,
        strict: function.take_bool("strict")?,
    })
}

/// Reads `tool_choice`.
pub(super) fn tool_choice(source: &Bytes, tree: &Tree<'_>) -> Result<ToolChoice, Fault> {
    match &tree.node {
        Node::String(word) if word.is("auto") => Ok(ToolChoice::Auto),
        Node::String(word) if word.is("none") => Ok(ToolChoice::None),
        // Mistral's word.
        Node::String(word) if word.is("required") || word.is("any") => Ok(ToolChoice::Required),
        Node::String(_) => Err(invalid("", "must be \"none\", \"auto\", \"required\" or an object")),
        Node::Object(members) => {
            let kind = members.word("type");
            if kind.as_deref().is_some_and(|kind| kind != "function") {
                return Ok(ToolChoice::Foreign(Raw::of(source, tree)));
            }
            let function = members.get("function").ok_or_else(|| missing("function"))?;
            let Node::Object(function) = &function.node else { return Err(wrong_type(function, "an object").inside("function")) };
            let name = function.get("name").ok_or_else(|| missing("function.name"))?;
            super::member::text(source, name).map(ToolChoice::Function).map_err(|fault| fault.inside("function.name"))
        }
        _ => Err(wrong_type(tree, "a string or an object")),
    }
}

/// Reads the `tool_calls` of an assistant's message; an empty list is kept for its spelling.
pub(super) fn calls(source: &Bytes, message: &mut Members<'_>, at: u32, extension: &mut Extension) -> Result<Vec<Block>, Fault> {
    let Some(tree) = message.take("tool_calls") else { return Ok(Vec::new()) };
    let raw = Raw::of(source, &tree);
    let calls = array(tree).map_err(|fault| fault.inside("tool_calls"))?;
    if calls.is_empty() {
        extension.keep_known("tool_calls", raw);
    }
    let calls = (0..).zip(calls).map(|(index, tree)| {
        let block = call(source, tree).map_err(|fault| fault.inside(&format!("tool_calls[{index}]")))?;
        Ok(block.at(Place::ToolCall { message: at, call: index }))
    });
    calls.collect()
}

fn call(source: &Bytes, tree: Tree<'_>) -> Result<Block, Fault> {
    let whole = Raw::of(source, &tree);
    let mut members = object(tree)?;
    let kind = foreign_kind(source, &members);
    if let Some(kind) = kind.filter(|kind| !kind.is("function")) {
        let mut block = Block::new(Content::Foreign { kind, raw: whole.clone() });
        block.extension.keep_whole(whole);
        return Ok(block);
    }
    members.take("type");
    let id = members.need_text(source, "id")?;
    // Only the order counts, which the list has.
    members.take("index");
    let mut function = members.take_object("function")?.ok_or_else(|| missing("function"))?;
    let inside = |fault: Fault| fault.inside("function");
    let name = function.need_text(source, "name").map_err(inside)?;
    let arguments = match function.take("arguments") {
        None => Arguments::Text(Text::default()),
        Some(tree) => arguments(source, &tree).ok_or_else(|| wrong_type(&tree, "a string").inside("function.arguments"))?,
    };
    let mut block = Block::new(Content::ToolCall { id, name, arguments });
    block.extension = Extension::rest(source, &members);
    block.extension.keep_inner(source, "function.", &function);
    block.extension.keep_whole(whole);
    Ok(block)
}

/// A string that should hold an object; some send the object itself.
pub(super) fn arguments(source: &Bytes, tree: &Tree<'_>) -> Option<Arguments> {
    match &tree.node {
        Node::String(text) => Some(Arguments::Text(Text::of(source, text))),
        _ => Some(Raw::of(source, tree)).filter(Raw::is_object).map(Arguments::Object),
    }
}
