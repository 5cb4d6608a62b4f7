//! A prompt of another dialect made fit for Anthropic: the rules of the table in `dialect/README.md`, member by member.

use std::collections::HashSet;

use super::{fit_reasoning, fit_turns, unsigned};
use crate::Dialect;
use crate::fault::{Fault, FaultKind};
use crate::json::{Node, ScanLimits, Tree};
use crate::neutral::{
    Cache, Carrier, Content, Extension, Notice, OutputFormat, Prompt, Raw, Role, Text, Tool, ToolChoice, ToolKind, Ttl, Turn,
};

/// What the answer may have if neither caller nor catalog says.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// Leaving these out would give the caller something else than was asked for.
const REFUSED: &[&str] = &["audio", "web_search_options", "search_parameters", "functions", "function_call"];

/// Makes the prompt fit.
///
/// # Errors
/// Something has no counterpart and must not be left out.
pub(super) fn prompt(prompt: &Prompt, carrier: &Carrier<'_>, notices: &mut Vec<Notice>) -> Result<Prompt, Fault> {
    if prompt.n > 1 {
        return Err(unsupported("n", "Anthropic gives one answer to a request"));
    }
    let mut extension = Extension::default();
    members(&prompt.extension, &mut extension, notices)?;
    let turns = fit_turns::turns(prompt, notices)?;
    let mut tools = prompt.tools.iter().map(|tool| fit_tool(tool, notices)).collect::<Result<Vec<_>, _>>()?;
    let (mut tool_choice, mut parallel_tool_calls) = choice(prompt, notices)?;
    if tools.is_empty() {
        tools = declared_by(&turns, notices);
        if !tools.is_empty() {
            (tool_choice, parallel_tool_calls) = (Some(ToolChoice::None), None);
        }
    }
    let mut most = Most { tokens: most_tokens(prompt, carrier, notices), is_told: prompt.max_output.is_some() };
    let obstacle = obstacle(tool_choice.as_ref(), &turns);
    let budget_obstacle = unsigned::unfinished_thought(&turns);
    let before = notices.len();
    let reasoning =
        prompt.reasoning.as_ref().and_then(|wish| fit_reasoning::wish(wish, carrier, &mut most, [obstacle, budget_obstacle], notices));
    if prompt.extension.get(fit_reasoning::PATH).is_none() && prompt.extension.get(fit_reasoning::SHORT).is_some() {
        let named = notices.iter_mut().skip(before).filter(|notice| notice.path == fit_reasoning::PATH);
        named.for_each(|notice| fit_reasoning::SHORT.clone_into(&mut notice.path));
    }
    let thinks = reasoning.as_ref().is_some_and(|wish| wish.budget.is_some() || wish.adaptive);
    let (temperature, top_p, top_k) = sampling(prompt, carrier, thinks, notices);
    Ok(Prompt {
        origin: Dialect::Anthropic,
        turns,
        tools,
        tool_choice,
        parallel_tool_calls,
        stream: prompt.stream,
        n: 1,
        max_output: Some(most.tokens),
        temperature,
        top_p,
        top_k,
        stop: stop(prompt)?,
        reasoning,
        output: output(prompt, notices)?,
        user: prompt.user.clone(),
        service_tier: tier(prompt, notices),
        extension,
    })
}

/// The most tokens of the answer, and whether the caller said so.
pub(super) struct Most {
    pub tokens: u64,
    pub is_told: bool,
}

pub(super) fn unsupported(path: impl Into<String>, why: &str) -> Fault {
    Fault::new(FaultKind::Unsupported, path, why)
}

/// A marker that Anthropic understands; every other is named.
pub(super) fn cache(cache: Option<&Cache>, path: impl Fn() -> String, notices: &mut Vec<Notice>) -> Option<Cache> {
    let cache = cache?;
    if cache.ttl == Ttl::Other {
        notices.push(Notice::dropped(format!("{}.cache_control", path()), "no such marker there"));
        return None;
    }
    Some(cache.clone())
}

/// Names what an extension holds.
pub(super) fn name_members(extension: &Extension, path: impl Fn() -> String, notices: &mut Vec<Notice>) {
    for (name, _) in extension.members() {
        notices.push(Notice::dropped(format!("{}.{}", path(), name.decode()), "Anthropic has no such field"));
    }
}

fn members(from: &Extension, to: &mut Extension, notices: &mut Vec<Notice>) -> Result<(), Fault> {
    for (name, raw) in from.members() {
        let name = name.decode();
        match &*name {
            "cache_control" if raw.is_object() => to.keep("cache_control", raw.clone()),
            "modalities" if only_text(raw) => {}
            "modalities" => return Err(unsupported("modalities", "Anthropic answers in text only")),
            known if REFUSED.contains(&known) => return Err(unsupported(known, "Anthropic's messages have no such field")),
            other => notices.push(Notice::dropped(other, "Anthropic has no such field")),
        }
    }
    Ok(())
}

fn only_text(modalities: &Raw) -> bool {
    let tree = Tree::read(modalities.json(), ScanLimits::ANSWER, &[]);
    let is_text = |tree: &Tree<'_>| matches!(&tree.node, Node::String(text) if text.is("text"));
    matches!(tree, Ok(Tree { node: Node::Array(names), .. }) if names.iter().all(is_text))
}

fn fit_tool(tool: &Tool, notices: &mut Vec<Notice>) -> Result<Tool, Fault> {
    let path = || format!("tools[{}]", tool.index);
    let ToolKind::Function { name, description, parameters, strict } = &tool.kind else {
        return Err(unsupported(path(), "Anthropic has no tool of this type"));
    };
    let kind = ToolKind::Function {
        name: name.clone(),
        description: description.clone(),
        parameters: Some(schema_of_object(parameters.as_ref())),
        strict: strict.filter(|strict| *strict),
    };
    name_members(&tool.extension, path, notices);
    Ok(Tool { kind, cache: cache(tool.cache.as_ref(), path, notices), index: tool.index, extension: Extension::default() })
}

/// Anthropic demands that a schema says `"type":"object"`; a schema of arguments that says nothing means that.
fn schema_of_object(schema: Option<&Raw>) -> Raw {
    let written = |rest: &[u8]| Raw::written([br#"{"type":"object""#, rest].concat());
    let Some(schema) = schema else { return written(b"}") };
    let Ok(Tree { node: Node::Object(members), .. }) = Tree::read(schema.json(), ScanLimits::ANSWER, &[]) else {
        return schema.clone();
    };
    if members.get("type").is_some_and(|kind| !kind.is_null()) {
        return schema.clone();
    }
    let rest = schema.json().get(1..).unwrap_or_default();
    if members.is_empty() { written(b"}") } else { written(&[b",", rest].concat()) }
}

/// Anthropic demands that tools which the conversation calls are declared.
fn declared_by(turns: &[Turn], notices: &mut Vec<Notice>) -> Vec<Tool> {
    let mut seen = HashSet::new();
    let mut tools = Vec::new();
    for block in turns.iter().flat_map(|turn| &turn.blocks) {
        let Content::ToolCall { name, .. } = &block.content else { continue };
        if seen.insert(name.decode()) {
            let kind = ToolKind::Function { name: name.clone(), description: None, parameters: Some(schema_of_object(None)), strict: None };
            tools.push(Tool { kind, cache: None, index: 0, extension: Extension::default() });
        }
    }
    if !tools.is_empty() {
        notices.push(Notice::approximated("tools", "those that the conversation calls are declared, not to be called again"));
    }
    tools
}

fn choice(prompt: &Prompt, notices: &mut Vec<Notice>) -> Result<(Option<ToolChoice>, Option<bool>), Fault> {
    if let Some(ToolChoice::Foreign(_)) = &prompt.tool_choice {
        return Err(unsupported("tool_choice", "Anthropic has no such choice"));
    }
    if prompt.tools.is_empty() {
        if !matches!(prompt.tool_choice, None | Some(ToolChoice::None | ToolChoice::Auto)) {
            notices.push(Notice::dropped("tool_choice", "there are no tools"));
        }
        return Ok((None, None));
    }
    // Parallel calls are the default on both sides.
    let single = prompt.parallel_tool_calls.filter(|parallel| !parallel);
    let choice = match (&prompt.tool_choice, single) {
        (None, Some(_)) => Some(ToolChoice::Auto),
        (choice, _) => choice.clone(),
    };
    let single = single.filter(|_| choice != Some(ToolChoice::None));
    Ok((choice, single))
}

fn most_tokens(prompt: &Prompt, carrier: &Carrier<'_>, notices: &mut Vec<Notice>) -> u64 {
    match prompt.max_output {
        Some(asked) if carrier.max_output > 0 && asked > carrier.max_output => {
            notices.push(Notice::approximated("max_tokens", "lowered to the model's most"));
            carrier.max_output
        }
        Some(asked) => asked,
        None if carrier.max_output > 0 => carrier.max_output,
        None => DEFAULT_MAX_TOKENS,
    }
}

/// Why the model cannot think at all in this request.
fn obstacle(choice: Option<&ToolChoice>, turns: &[Turn]) -> Option<&'static str> {
    if matches!(choice, Some(ToolChoice::Required | ToolChoice::Function(_))) {
        return Some("Anthropic's models do not think when a tool call is forced");
    }
    let prefilled = turns.last().is_some_and(|turn| turn.role == Role::Assistant);
    prefilled.then_some("Anthropic's models do not think when the answer is begun for them")
}

type Number = Option<Raw>;

fn sampling(prompt: &Prompt, carrier: &Carrier<'_>, thinks: bool, notices: &mut Vec<Notice>) -> (Number, Number, Number) {
    let value = |raw: &Raw| std::str::from_utf8(raw.json()).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    let mut temperature = prompt.temperature.clone();
    let mut top_p = prompt.top_p.clone();
    let mut top_k = prompt.top_k.clone();
    if temperature.as_ref().is_some_and(|raw| value(raw) > 1.0) {
        notices.push(Notice::approximated("temperature", "clamped to 1"));
        temperature = Some(Raw::written("1"));
    }
    let mut leave_out = |number: &mut Number, path: &str, why| {
        *number = None;
        notices.push(Notice::dropped(path, why));
    };
    for (name, number) in [("temperature", &mut temperature), ("top_p", &mut top_p), ("top_k", &mut top_k)] {
        if number.is_some() && !carrier.takes(name) {
            leave_out(number, name, "the model takes none");
        }
    }
    if thinks {
        const WHY: &str = "not taken while the model thinks";
        if temperature.as_ref().is_some_and(|raw| value(raw) != 1.0) {
            leave_out(&mut temperature, "temperature", WHY);
        }
        if top_p.as_ref().is_some_and(|raw| value(raw) < 0.95) {
            leave_out(&mut top_p, "top_p", WHY);
        }
        if top_k.is_some() {
            leave_out(&mut top_k, "top_k", WHY);
        }
    }
    // Newer models refuse the two together; 1 cuts nothing off.
    if temperature.is_some() && top_p.as_ref().is_some_and(|raw| value(raw) >= 1.0) {
        leave_out(&mut top_p, "top_p", "1 says nothing beside temperature");
    }
    (temperature, top_p, top_k)
}

fn stop(prompt: &Prompt) -> Result<Vec<Text>, Fault> {
    match prompt.stop.iter().any(fit_turns::is_blank) {
        true => Err(unsupported("stop", "Anthropic takes no stop sequence that is made of blanks")),
        false => Ok(prompt.stop.clone()),
    }
}

fn output(prompt: &Prompt, notices: &mut Vec<Notice>) -> Result<Option<OutputFormat>, Fault> {
    let told = match &prompt.output {
        None | Some(OutputFormat::Text) => return Ok(None),
        Some(OutputFormat::JsonObject) => {
            notices.push(Notice::dropped("response_format", "Anthropic has no JSON mode without a schema"));
            return Ok(None);
        }
        Some(OutputFormat::Foreign(_)) => return Err(unsupported("response_format", "Anthropic has no such format")),
        Some(told) => told,
    };
    if let OutputFormat::JsonSchema { name, description, strict, .. } = told {
        let path = |name: &str| format!("response_format.json_schema.{name}");
        for (member, is_told) in [("name", name.is_some()), ("description", description.is_some())] {
            if is_told {
                notices.push(Notice::dropped(path(member), "Anthropic has no such field"));
            }
        }
        if *strict == Some(false) {
            notices.push(Notice::approximated(path("strict"), "Anthropic always follows the schema"));
        }
    }
    Ok(Some(told.clone()))
}

fn tier(prompt: &Prompt, notices: &mut Vec<Notice>) -> Option<Text> {
    match &*prompt.service_tier.as_ref()?.decode() {
        "auto" => Some(Text::word("auto")),
        "default" => Some(Text::word("standard_only")),
        _ => {
            notices.push(Notice::dropped("service_tier", "Anthropic has no such tier"));
            None
        }
    }
}
