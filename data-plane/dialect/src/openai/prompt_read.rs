//! The whole of a chat completion request, for translation: every member that the neutral form knows is checked for type, range and contradiction.

use std::collections::HashSet;

use bytes::Bytes;

use super::member::{Typed, array, missing, object, text, wrong_type};
use super::turn_read;
use super::{reasoning, tools};
use crate::Dialect;
use crate::fault::{Fault, FaultKind};
use crate::json::{Members, Node, ScanLimits, Tree};
use crate::limits::Limits;
use crate::neutral::{Cache, Content, Extension, OutputFormat, Place, Prompt, Raw, Role, Text, Ttl, Turn};
use crate::read::invalid;

/// What is said to the gateway and not to the model.
const GATEWAY_ONLY: &[&str] =
    &["model", "models", "provider", "route", "plugins", "transforms", "usage", "preset", "debug", "session_id", "trace"];

/// Nothing inside these is read.
const OPAQUE: &[&str] = &["parameters", "schema", "logit_bias", "metadata"];

/// OpenAI's limit.
const MOST_STOPS: usize = 4;

/// Reads a request to be translated.
///
/// # Errors
/// A member that the neutral form knows is of a wrong type, out of range, missing or against another one; with its path.
pub fn read_prompt(body: &Bytes, limits: &Limits) -> Result<Prompt, Fault> {
    if body.len() > limits.body_bytes {
        let message = format!("the body has {} bytes, the limit is {}", body.len(), limits.body_bytes);
        return Err(Fault::new(FaultKind::TooLarge, "", message));
    }
    if simdutf8::basic::from_utf8(body).is_err() {
        return Err(Fault::new(FaultKind::InvalidUtf8, "", "invalid UTF-8"));
    }
    let scan_limits = ScanLimits { depth: limits.json_depth, keys: limits.json_keys };
    let tree = Tree::read(body, scan_limits, OPAQUE)?;
    let mut members = object(tree)?;
    for name in GATEWAY_ONLY {
        members.take_even_null(name);
    }
    let mut extension = Extension::default();
    let mut prompt = parameters(body, &mut members, &mut extension)?;
    let messages = members.take("messages").ok_or_else(|| missing("messages"))?;
    prompt.turns = turns(body, messages)?;
    prompt.extension = Extension::rest(body, &members).spelt(extension.spelling());
    prompt.extension.append(extension);
    Ok(prompt)
}

/// All but the messages.
fn parameters(source: &Bytes, members: &mut Members<'_>, extension: &mut Extension) -> Result<Prompt, Fault> {
    let keep = |members: &Members<'_>, extension: &mut Extension, name: &'static str| {
        if let Some(tree) = members.get(name).filter(|tree| !tree.is_null()) {
            extension.keep_known(name, Raw::of(source, tree));
        }
    };
    for name in ["n", "stop", "response_format", "tool_choice"] {
        keep(members, extension, name);
    }
    if members.get("tools").is_some_and(|tools| matches!(&tools.node, Node::Array(tools) if tools.is_empty())) {
        keep(members, extension, "tools");
    }
    let n = match members.take_whole("n")?.map(u32::try_from) {
        None => 1,
        Some(Ok(n)) if n > 0 => n,
        Some(_) => return Err(invalid("n", "must be at least 1 and fit into 32 bits")),
    };
    let max_output = max_output(members, extension)?;
    let stream = members.take_bool("stream")?;
    if stream == Some(false) {
        extension.keep_known("stream", Raw::written(&b"false"[..]));
    }
    if let Some(mut options) = members.take_object("stream_options")? {
        options.take_bool("include_usage").map_err(|fault| fault.inside("stream_options"))?;
        extension.keep_inner(source, "stream_options.", &options);
    }
    let output = members.take("response_format").map(|tree| output_format(source, tree));
    let choice = members.take("tool_choice").map(|tree| tools::tool_choice(source, &tree));
    Ok(Prompt {
        origin: Dialect::OpenAi,
        turns: Vec::new(),
        tools: match members.take("tools") {
            Some(tree) => tools::tools(source, tree)?,
            None => Vec::new(),
        },
        tool_choice: choice.transpose().map_err(|fault| fault.inside("tool_choice"))?,
        parallel_tool_calls: members.take_bool("parallel_tool_calls")?,
        stream: stream == Some(true),
        n,
        max_output,
        temperature: members.take_number(source, "temperature", 0.0..=2.0)?,
        top_p: members.take_number(source, "top_p", 0.0..=1.0)?,
        top_k: top_k(source, members, extension)?,
        stop: stop(source, members)?,
        reasoning: reasoning::wish(source, members, extension)?,
        output: output.transpose().map_err(|fault| fault.inside("response_format"))?,
        user: members.take_text(source, "user")?,
        service_tier: members.take_text(source, "service_tier")?,
        extension: Extension::default(),
    })
}

/// The spelling says which of the two members it was.
fn max_output(members: &mut Members<'_>, extension: &mut Extension) -> Result<Option<u64>, Fault> {
    let old = members.take_whole("max_tokens")?;
    let new = members.take_whole("max_completion_tokens")?;
    for (name, told) in [("max_tokens", old), ("max_completion_tokens", new)] {
        if told == Some(0) {
            return Err(invalid(name, "must be at least 1"));
        }
    }
    let spelling = match (old, new) {
        (Some(old), Some(new)) if old != new => {
            return Err(invalid("max_tokens", "differs from max_completion_tokens; send one of them"));
        }
        (Some(_), Some(_)) => "both",
        (None, Some(_)) => "max_completion_tokens",
        _ => "max_tokens",
    };
    *extension = std::mem::take(extension).spelt(spelling);
    Ok(new.or(old))
}

/// -1, which some servers read as "all of them", is as good as none.
fn top_k(source: &Bytes, members: &mut Members<'_>, extension: &mut Extension) -> Result<Option<Raw>, Fault> {
    let Some(tree) = members.take("top_k") else { return Ok(None) };
    let raw = Raw::of(source, &tree);
    match tree.node {
        Node::Number("-1") => {
            extension.keep_known("top_k", raw);
            Ok(None)
        }
        Node::Number(number) if number.parse::<u64>().is_ok() => Ok(Some(raw)),
        Node::Number(_) => Err(invalid("top_k", "must be an integer from 0 up")),
        _ => Err(wrong_type(&tree, "an integer").inside("top_k")),
    }
}

fn stop(source: &Bytes, members: &mut Members<'_>) -> Result<Vec<Text>, Fault> {
    let Some(tree) = members.take("stop") else { return Ok(Vec::new()) };
    if let Node::String(word) = &tree.node {
        return Ok(vec![Text::of(source, word)]);
    }
    let words = array(tree).map_err(|fault| fault.inside("stop"))?;
    if words.len() > MOST_STOPS {
        return Err(invalid("stop", &format!("must hold at most {MOST_STOPS} strings")));
    }
    let words = words.iter().enumerate().map(|(at, tree)| text(source, tree).map_err(|fault| fault.inside(&format!("stop[{at}]"))));
    words.collect()
}

fn output_format(source: &Bytes, tree: Tree<'_>) -> Result<OutputFormat, Fault> {
    let raw = Raw::of(source, &tree);
    let mut members = object(tree)?;
    let kind = members.need_text(source, "type")?;
    match &*kind.decode() {
        "text" => Ok(OutputFormat::Text),
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => {
            let mut schema = members.take_object("json_schema")?.ok_or_else(|| missing("json_schema"))?;
            let inside = |fault: Fault| fault.inside("json_schema");
            Ok(OutputFormat::JsonSchema {
                name: schema.take_text(source, "name").map_err(inside)?,
                description: schema.take_text(source, "description").map_err(inside)?,
                strict: schema.take_bool("strict").map_err(inside)?,
                // OpenAI lets it be left out, which allows any object.
                schema: schema.take_schema(source, "schema").map_err(inside)?.unwrap_or_else(any_object),
            })
        }
        _ => Ok(OutputFormat::Foreign(raw)),
    }
}

fn any_object() -> Raw {
    Raw::written(&br#"{"type":"object"}"#[..])
}

fn turns(source: &Bytes, tree: Tree<'_>) -> Result<Vec<Turn>, Fault> {
    let messages = array(tree).map_err(|fault| fault.inside("messages"))?;
    if messages.is_empty() {
        return Err(invalid("messages", "must not be empty"));
    }
    let mut called = HashSet::new();
    let mut turns = Vec::with_capacity(messages.len());
    for (at, tree) in (0..).zip(messages) {
        let turn = object(tree).and_then(|members| {
            let turn = turn_read::turn(source, at, members)?;
            check_calls(&turn, &mut called)?;
            Ok(turn)
        });
        turns.push(turn.map_err(|fault| fault.inside(&format!("messages[{at}]")))?);
    }
    Ok(turns)
}

/// A result answers a call of an earlier message.
fn check_calls(turn: &Turn, called: &mut HashSet<Box<str>>) -> Result<(), Fault> {
    for block in &turn.blocks {
        match &block.content {
            Content::ToolCall { id, .. } if turn.role == Role::Assistant => {
                called.insert(id.decode().into());
            }
            Content::Foreign { raw, .. } if matches!(block.place, Place::ToolCall { .. }) => {
                // A custom tool's call has an id as well.
                if let Ok(tree) = Tree::read(raw.json(), ScanLimits::ANSWER, &[])
                    && let Node::Object(members) = tree.node
                    && let Some(id) = members.word("id")
                {
                    called.insert(id.into());
                }
            }
            Content::ToolResult { call_id, .. } if !called.contains(&*call_id.decode()) => {
                return Err(invalid("tool_call_id", "answers no call of an assistant's message before it"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The `type` of a part, tool or call, if it is a string.
pub(super) fn foreign_kind(source: &Bytes, members: &Members<'_>) -> Option<Text> {
    match &members.get("type")?.node {
        Node::String(kind) => Some(Text::of(source, kind)),
        _ => None,
    }
}

/// Takes OpenRouter's `cache_control`, which is Anthropic's.
pub(super) fn cache(source: &Bytes, members: &mut Members<'_>) -> Result<Option<Cache>, Fault> {
    let Some(tree) = members.take("cache_control") else { return Ok(None) };
    let Node::Object(marker) = &tree.node else { return Err(wrong_type(&tree, "an object").inside("cache_control")) };
    let ttl = match marker.word("ttl").as_deref() {
        _ if marker.word("type").as_deref() != Some("ephemeral") => Ttl::Other,
        None if marker.get("ttl").is_none_or(Tree::is_null) => Ttl::FiveMinutes,
        Some("5m") => Ttl::FiveMinutes,
        Some("1h") => Ttl::OneHour,
        _ => Ttl::Other,
    };
    Ok(Some(Cache { ttl, raw: Raw::of(source, &tree) }))
}
