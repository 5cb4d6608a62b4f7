//! A request to the Messages API into the neutral form: every member that has a place there is checked, the rest is kept as it was.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use super::block_read::{Known, OPAQUE, read_cache, read_content};
use crate::Dialect;
use crate::fault::{Fault, FaultKind};
use crate::json::{Node, ScanLimits, Tree};
use crate::limits::Limits;
use crate::neutral::{
    Block, Content, Effort, Extension, Fields, OutputFormat, Place, Prompt, Raw, ReasoningWish, Role, Text, Tool, ToolChoice, ToolKind,
    Turn, invalid, missing, text_of,
};

/// What a request says to the gateway alone: [`crate::Call`] has it, no provider gets it.
const GATEWAY_ONLY: &[&str] =
    &["models", "fallbacks", "provider", "route", "plugins", "session_id", "trace", "usage", "preset", "debug", "transforms"];
/// The least that Anthropic takes.
pub(super) const LEAST_BUDGET: u64 = 1024;

/// Reads a whole request.
///
/// # Errors
/// The first member that is missing, of the wrong type, out of range or in contradiction to another, with its path.
pub fn read_prompt(body: &Bytes, limits: &Limits) -> Result<Prompt, Fault> {
    if body.len() > limits.body_bytes {
        let message = format!("the body has {} bytes, the limit is {}", body.len(), limits.body_bytes);
        return Err(Fault::new(FaultKind::TooLarge, "", message));
    }
    if let Err(error) = simdutf8::compat::from_utf8(body) {
        return Err(Fault::new(FaultKind::InvalidUtf8, "", format!("invalid UTF-8 at byte {}", error.valid_up_to())));
    }
    let tree = Tree::read(body, ScanLimits { depth: limits.json_depth, keys: limits.json_keys }, OPAQUE)?;
    let mut fields = Fields::of(body, tree)?;
    for name in GATEWAY_ONLY.iter().chain(&["model"]) {
        fields.cut(name);
    }
    let mut known = Known::default();
    let mut turns: Vec<Turn> = system(body, &mut fields)?.into_iter().collect();
    turns.extend(messages(body, &mut fields)?);
    check_results(&turns)?;
    let max_output = fields.whole("max_tokens", 1)?.ok_or_else(|| missing("max_tokens"))?;
    let stream = fields.bool("stream")?;
    let (tool_choice, parallel_tool_calls) = tool_choice(&mut fields, &mut known)?;
    let temperature = fields.number("temperature", 0.0, 1.0)?;
    let top_p = fields.number("top_p", 0.0, 1.0)?;
    let top_k = fields.number("top_k", 0.0, 9e15)?;
    let empty = empty_lists(&fields);
    let stop = stop(body, &mut fields)?;
    let reasoning = thinking(&mut fields, &mut known)?;
    let (effort, output) = output_config(&mut fields, &mut known)?;
    let reasoning = match (reasoning, effort) {
        (wish, None) => wish,
        (wish, effort) => Some(ReasoningWish { effort, ..wish.unwrap_or_default() }),
    };
    let user = metadata(&mut fields, &mut known)?;
    let service_tier = fields.text("service_tier")?;
    let tools = tools(body, &mut fields)?;
    let mut extension = fields.rest().spelt(if stream == Some(false) { "whole" } else { "" });
    known.keep_in(&mut extension);
    for (name, list) in empty {
        extension.keep_known(name, list);
    }
    Ok(Prompt {
        origin: Dialect::Anthropic,
        turns,
        tools,
        tool_choice,
        parallel_tool_calls,
        stream: stream == Some(true),
        n: 1,
        max_output: Some(max_output),
        temperature,
        top_p,
        top_k,
        stop,
        reasoning,
        output,
        user,
        service_tier,
        extension,
    })
}

fn system(body: &Bytes, fields: &mut Fields<'_>) -> Result<Option<Turn>, Fault> {
    let Some(tree) = fields.take("system") else { return Ok(None) };
    let is_string = matches!(tree.node, Node::String(_));
    let place = |part| Place::System(if is_string { None } else { Some(part) });
    let blocks = read_content(body, "system", tree, place)?;
    Ok(Some(Turn { role: Role::System, blocks, message: None, extension: spelt(Extension::default(), is_string) }))
}

/// The writer must know whether content was a string.
fn spelt(extension: Extension, is_string: bool) -> Extension {
    if is_string { extension.spelt("string") } else { extension }
}

fn messages(body: &Bytes, fields: &mut Fields<'_>) -> Result<Vec<Turn>, Fault> {
    let messages = fields.array("messages")?.ok_or_else(|| missing("messages"))?;
    if messages.is_empty() {
        return Err(invalid("messages", "at least one message is required"));
    }
    let read = |(at, tree): (usize, _)| message(body, tree, at).map_err(|fault| fault.inside(&format!("messages[{at}]")));
    messages.into_iter().enumerate().map(read).collect()
}

fn message(body: &Bytes, tree: Tree<'_>, at: usize) -> Result<Turn, Fault> {
    let mut fields = Fields::of(body, tree)?;
    let role = fields.required_text("role")?;
    let role = match &*role.decode() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(invalid("role", "must be user or assistant")),
    };
    let content = fields.take("content").ok_or_else(|| missing("content"))?;
    let is_string = matches!(content.node, Node::String(_));
    let message = u32::try_from(at).unwrap_or(u32::MAX);
    let place = |part| Place::Content { message, part: if is_string { None } else { Some(part) } };
    let blocks = read_content(body, "content", content, place)?;
    Ok(Turn { role, blocks, message: Some(message), extension: spelt(fields.rest(), is_string) })
}

/// A result answers a call of the assistant's turn before it; without one it means nothing.
fn check_results(turns: &[Turn]) -> Result<(), Fault> {
    let mut called: HashSet<Cow<'_, str>> = HashSet::new();
    let mut last = Role::User;
    for turn in turns.iter().filter(|turn| turn.role != Role::System) {
        if turn.role == Role::Assistant && last != Role::Assistant {
            called.clear();
        }
        last = turn.role;
        for block in &turn.blocks {
            check_block(turn.role, block, &mut called)?;
        }
    }
    Ok(())
}

fn check_block<'a>(role: Role, block: &'a Block, called: &mut HashSet<Cow<'a, str>>) -> Result<(), Fault> {
    let fault = |name: &str, message| Err(invalid(&format!("{}{name}", block.place), message));
    match (&block.content, role) {
        (Content::ToolCall { id, .. }, Role::Assistant) => {
            called.insert(id.decode());
            Ok(())
        }
        (Content::ToolCall { .. }, _) => fault("", "only the assistant calls tools"),
        (Content::ToolResult { call_id, .. }, Role::User) if called.contains(&call_id.decode()) => Ok(()),
        (Content::ToolResult { .. }, Role::User) => {
            fault(".tool_use_id", "the assistant's turn before this one has no tool_use with this id")
        }
        (Content::ToolResult { .. }, _) => fault("", "only the user gives results of tools"),
        _ => Ok(()),
    }
}

fn tools(body: &Bytes, fields: &mut Fields<'_>) -> Result<Vec<Tool>, Fault> {
    let tools = fields.array("tools")?.unwrap_or_default();
    let read = |(at, tree): (usize, _)| tool(body, tree, at).map_err(|fault| fault.inside(&format!("tools[{at}]")));
    tools.into_iter().enumerate().map(read).collect()
}

fn tool(body: &Bytes, tree: Tree<'_>, at: usize) -> Result<Tool, Fault> {
    let raw = Raw::of(body, &tree);
    let mut fields = Fields::of(body, tree)?;
    let index = u32::try_from(at).unwrap_or(u32::MAX);
    let kind = fields.text("type")?;
    if let Some(kind) = kind.as_ref().filter(|kind| !kind.is("custom")) {
        let kind = ToolKind::Foreign { kind: kind.clone(), raw };
        return Ok(Tool { kind, cache: None, index, extension: Extension::default() });
    }
    let function = ToolKind::Function {
        name: fields.required_name("name")?,
        description: fields.text("description")?,
        parameters: fields.object("input_schema")?,
        strict: fields.bool("strict")?,
    };
    let cache = read_cache(&mut fields)?;
    let extension = fields.rest().spelt(if kind.is_some() { "custom" } else { "" });
    Ok(Tool { kind: function, cache, index, extension })
}

fn tool_choice<'a>(fields: &mut Fields<'a>, known: &mut Known<'a>) -> Result<(Option<ToolChoice>, Option<bool>), Fault> {
    let Some((mut inner, raw)) = fields.inner("tool_choice")? else { return Ok((None, None)) };
    let named = |fault: Fault| fault.inside("tool_choice");
    let kind = inner.required_text("type").map_err(named)?;
    let choice = match &*kind.decode() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Function(inner.required_name("name").map_err(named)?),
        _ => return Ok((Some(ToolChoice::Foreign(raw)), None)),
    };
    let disabled = inner.bool("disable_parallel_tool_use").map_err(named)?;
    known.member("tool_choice", raw);
    known.left_of("tool_choice.", inner);
    Ok((Some(choice), disabled.map(|disabled| !disabled)))
}

/// Lists of nothing, which say as much as none, but are not the same value.
fn empty_lists(fields: &Fields<'_>) -> Vec<(&'static str, Raw)> {
    let is_empty = |raw: &Raw| raw.json().strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii() == b"]");
    let list = |name| Some((name, fields.peek(name).filter(is_empty)?));
    ["stop_sequences", "tools"].into_iter().filter_map(list).collect()
}

fn stop(body: &Bytes, fields: &mut Fields<'_>) -> Result<Vec<Text>, Fault> {
    let stop = fields.array("stop_sequences")?.unwrap_or_default();
    stop.iter().enumerate().map(|(at, tree)| text_of(body, &format!("stop_sequences[{at}]"), tree)).collect()
}

fn thinking<'a>(fields: &mut Fields<'a>, known: &mut Known<'a>) -> Result<Option<ReasoningWish>, Fault> {
    let Some((mut inner, raw)) = fields.inner("thinking")? else { return Ok(None) };
    let named = |fault: Fault| fault.inside("thinking");
    let kind = inner.required_text("type").map_err(named)?;
    let mut wish = match &*kind.decode() {
        "disabled" => ReasoningWish { enabled: Some(false), ..ReasoningWish::default() },
        "adaptive" => ReasoningWish { enabled: Some(true), adaptive: true, ..ReasoningWish::default() },
        "enabled" => {
            let budget = inner.whole("budget_tokens", LEAST_BUDGET).map_err(named)?;
            let budget = budget.ok_or_else(|| named(missing("budget_tokens")))?;
            ReasoningWish { enabled: Some(true), budget: Some(budget), ..ReasoningWish::default() }
        }
        _ => return Err(named(invalid("type", "must be enabled, disabled or adaptive"))),
    };
    wish.hidden = inner.text("display").map_err(named)?.is_some_and(|display| display.is("omitted"));
    known.member("thinking", raw);
    known.left_of("thinking.", inner);
    Ok(Some(wish))
}

fn output_config<'a>(fields: &mut Fields<'a>, known: &mut Known<'a>) -> Result<(Option<Effort>, Option<OutputFormat>), Fault> {
    let mut effort = None;
    let mut output = None;
    if let Some((mut inner, raw)) = fields.inner("output_config")? {
        let named = |fault: Fault| fault.inside("output_config");
        if let Some(word) = inner.text("effort").map_err(named)? {
            let told = Effort::from_name(&word.decode()).filter(|effort| *effort >= Effort::Low);
            effort = Some(told.ok_or_else(|| named(invalid("effort", "must be low, medium, high, xhigh or max")))?);
        }
        output = format("format", "output_config.format.", &mut inner, known).map_err(named)?;
        known.member("output_config", raw);
        known.left_of("output_config.", inner);
    }
    // The name that the member had while it was new.
    if let Some(raw) = fields.peek("output_format").filter(|_| output.is_none()) {
        output = format("output_format", "output_format.", fields, known)?;
        known.member("output_format", raw);
    }
    Ok((effort, output))
}

fn format<'a>(
    name: &'static str,
    path: &'static str,
    fields: &mut Fields<'a>,
    known: &mut Known<'a>,
) -> Result<Option<OutputFormat>, Fault> {
    let Some((mut inner, raw)) = fields.inner(name)? else { return Ok(None) };
    let named = |fault: Fault| fault.inside(name);
    if !inner.required_text("type").map_err(named)?.is("json_schema") {
        return Ok(Some(OutputFormat::Foreign(raw)));
    }
    let schema = inner.object("schema").map_err(named)?.ok_or_else(|| named(missing("schema")))?;
    known.left_of(path, inner);
    Ok(Some(OutputFormat::JsonSchema { name: None, description: None, schema, strict: None }))
}

fn metadata<'a>(fields: &mut Fields<'a>, known: &mut Known<'a>) -> Result<Option<Text>, Fault> {
    let Some((mut inner, raw)) = fields.inner("metadata")? else { return Ok(None) };
    let user = inner.text("user_id").map_err(|fault| fault.inside("metadata"))?;
    known.member("metadata", raw);
    known.left_of("metadata.", inner);
    Ok(user)
}
