//! A prompt as a request to the Messages API.

use bytes::Bytes;

use super::block_write::write_blocks;
use super::fit;
use super::unsigned;
use crate::Dialect;
use crate::fault::Fault;
use crate::json::Writer;
use crate::neutral::{Block, Carrier, Content, Notice, OutputFormat, Prompt, ReasoningWish, Role, Text, Tool, ToolChoice, ToolKind, Turn};

/// Writes the whole request. A prompt of this dialect is restored, but for thoughts without a signature, which Anthropic refuses;
/// one of another dialect is made fit first, and each thing that could not be carried as it was is named.
///
/// # Errors
/// The prompt asks for what Anthropic does not have and what must not be left out: kind Unsupported, with the path in the caller's request.
pub fn write_prompt(prompt: &Prompt, carrier: &Carrier<'_>) -> Result<(Bytes, Vec<Notice>), Fault> {
    let mut notices = Vec::new();
    let changed = match prompt.origin {
        Dialect::Anthropic => unsigned::without(prompt, &mut notices),
        Dialect::OpenAi => Some(fit::prompt(prompt, carrier, &mut notices)?),
    };
    Ok((write(changed.as_ref().unwrap_or(prompt), carrier), notices))
}

fn write(prompt: &Prompt, carrier: &Carrier<'_>) -> Bytes {
    let mut json = Writer::with_capacity(4096);
    json.object(|json| {
        json.key("model").string(carrier.provider_model);
        if let Some(most) = prompt.max_output {
            json.key("max_tokens").number(most);
        }
        turns(json, &prompt.turns);
        if !prompt.tools.is_empty() {
            json.key("tools").array(|json| prompt.tools.iter().for_each(|tool| write_tool(json, tool)));
        }
        choice(json, prompt);
        for (name, number) in [("temperature", &prompt.temperature), ("top_p", &prompt.top_p), ("top_k", &prompt.top_k)] {
            if let Some(number) = number {
                json.key(name).raw(number.json());
            }
        }
        if !prompt.stop.is_empty() {
            json.key("stop_sequences").array(|json| prompt.stop.iter().for_each(|stop| json.escaped(stop.escaped())));
        }
        thinking(json, prompt);
        output_config(json, prompt);
        metadata(json, prompt);
        if let Some(tier) = &prompt.service_tier {
            json.key("service_tier").escaped(tier.escaped());
        }
        if carrier.stream {
            json.key("stream").bool(true);
        } else if prompt.extension.spelling() == "whole" {
            json.key("stream").bool(false);
        }
        // Members that were kept as they were spelt are in it; they are not written before.
        prompt.extension.write(json);
    });
    json.into_bytes()
}

fn turns(json: &mut Writer, turns: &[Turn]) {
    for turn in turns.iter().filter(|turn| turn.message.is_none()) {
        json.key("system");
        content(json, turn);
    }
    json.key("messages").array(|json| {
        for turn in turns.iter().filter(|turn| turn.message.is_some()) {
            json.object(|json| {
                json.key("role").string(match turn.role {
                    Role::System => "system",
                    Role::User => "user",
                    Role::Assistant => "assistant",
                });
                json.key("content");
                content(json, turn);
                turn.extension.write(json);
            });
        }
    });
}

fn content(json: &mut Writer, turn: &Turn) {
    match (turn.extension.spelling(), turn.blocks.as_slice()) {
        ("string", [Block { content: Content::Text { text, .. }, .. }]) => json.escaped(text.escaped()),
        (_, blocks) => json.array(|json| write_blocks(json, blocks)),
    }
}

fn write_tool(json: &mut Writer, tool: &Tool) {
    let (name, description, parameters, strict) = match &tool.kind {
        ToolKind::Foreign { raw, .. } => return json.raw(raw.json()),
        ToolKind::Function { name, description, parameters, strict } => (name, description, parameters, strict),
    };
    json.object(|json| {
        if tool.extension.spelling() == "custom" {
            json.key("type").string("custom");
        }
        json.key("name").escaped(name.escaped());
        if let Some(description) = description {
            json.key("description").escaped(description.escaped());
        }
        if let Some(parameters) = parameters {
            json.key("input_schema").raw(parameters.json());
        }
        if let Some(strict) = strict {
            json.key("strict").bool(*strict);
        }
        if let Some(cache) = &tool.cache {
            json.key("cache_control").raw(cache.raw.json());
        }
        tool.extension.write(json);
    });
}

fn choice(json: &mut Writer, prompt: &Prompt) {
    let Some(choice) = prompt.tool_choice.as_ref().filter(|_| !is_kept(prompt, "tool_choice")) else { return };
    let (kind, name): (&str, Option<&Text>) = match choice {
        ToolChoice::Auto => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required => ("any", None),
        ToolChoice::Function(name) => ("tool", Some(name)),
        ToolChoice::Foreign(raw) => return json.key("tool_choice").raw(raw.json()),
    };
    json.key("tool_choice").object(|json| {
        json.key("type").string(kind);
        if let Some(name) = name {
            json.key("name").escaped(name.escaped());
        }
        if let Some(parallel) = prompt.parallel_tool_calls {
            json.key("disable_parallel_tool_use").bool(!parallel);
        }
    });
}

/// Whether the extension has the member as it was spelt.
fn is_kept(prompt: &Prompt, name: &str) -> bool {
    prompt.extension.get(name).is_some()
}

fn thinking(json: &mut Writer, prompt: &Prompt) {
    let Some(wish) = prompt.reasoning.as_ref().filter(|_| !is_kept(prompt, "thinking")) else { return };
    let kind = match wish {
        ReasoningWish { enabled: Some(false), .. } => "disabled",
        ReasoningWish { budget: Some(_), .. } => "enabled",
        ReasoningWish { adaptive: true, .. } => "adaptive",
        _ => return,
    };
    json.key("thinking").object(|json| {
        json.key("type").string(kind);
        if let Some(budget) = wish.budget.filter(|_| kind == "enabled") {
            json.key("budget_tokens").number(budget);
        }
        if wish.hidden && kind != "disabled" {
            json.key("display").string("omitted");
        }
    });
}

fn output_config(json: &mut Writer, prompt: &Prompt) {
    if is_kept(prompt, "output_config") {
        return;
    }
    let effort = prompt.reasoning.as_ref().and_then(|wish| wish.effort);
    let schema = match &prompt.output {
        Some(OutputFormat::JsonSchema { schema, .. }) if !is_kept(prompt, "output_format") => Some(schema),
        _ => None,
    };
    if effort.is_none() && schema.is_none() {
        return;
    }
    json.key("output_config").object(|json| {
        if let Some(effort) = effort {
            json.key("effort").string(effort.name());
        }
        if let Some(schema) = schema {
            json.key("format").object(|json| {
                json.key("type").string("json_schema");
                json.key("schema").raw(schema.json());
            });
        }
    });
}

fn metadata(json: &mut Writer, prompt: &Prompt) {
    if let Some(user) = prompt.user.as_ref().filter(|_| !is_kept(prompt, "metadata")) {
        json.key("metadata").object(|json| json.key("user_id").escaped(user.escaped()));
    }
}
