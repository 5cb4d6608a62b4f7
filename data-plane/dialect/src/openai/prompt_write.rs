//! A prompt as a chat completion request. A prompt of this dialect's own is restored as it was read; one of another dialect is translated by the
//! table in the crate's README: carried, approximated, dropped or refused, and none of the last three without a word.

use bytes::Bytes;

use super::{prompt_restore, turn_write};
use crate::Dialect;
use crate::fault::Fault;
use crate::json::Writer;
use crate::neutral::{
    Carrier, Effort, Extension, Notice, OutputFormat, Place, Prompt, Raw, ReasoningWish, Text, Tool, ToolChoice, ToolKind,
};
use crate::read::unsupported;
use crate::target::AsksUsage;

/// OpenAI's limit.
const MOST_STOPS: usize = 4;
/// The most characters of `user`: OpenAI takes 64, OpenRouter and Z.ai 128; beyond it they refuse the request.
const LONGEST_USER: usize = 64;

/// Writes the request that `carrier` is to get, and what could not be carried as it was.
///
/// # Errors
/// Something that must not be left out has no counterpart here; the fault has the path in the caller's request.
pub fn write_prompt(prompt: &Prompt, carrier: &Carrier<'_>) -> Result<(Bytes, Vec<Notice>), Fault> {
    if prompt.origin == Dialect::OpenAi {
        return Ok((prompt_restore::restore(prompt, carrier), Vec::new()));
    }
    let mut translation = Translation { carrier, notices: Vec::new(), fault: None };
    let mut json = Writer::with_capacity(4096);
    json.object(|json| translation.request(prompt, json));
    match translation.fault {
        Some(fault) => Err(fault),
        None => Ok((json.into_bytes(), translation.notices)),
    }
}

/// `stream`, and how the provider is brought to tell usage in it.
pub(super) fn stream(carrier: &Carrier<'_>, further: impl FnOnce(&mut Writer), json: &mut Writer) {
    if !carrier.stream {
        return;
    }
    json.key("stream").bool(true);
    if carrier.asks_usage == AsksUsage::StreamOptions {
        json.key("stream_options").object(|json| {
            json.key("include_usage").bool(true);
            further(json);
        });
    }
}

/// A translation under way.
pub(super) struct Translation<'a> {
    pub carrier: &'a Carrier<'a>,
    notices: Vec<Notice>,
    /// The first refusal; what is written after it goes nowhere.
    fault: Option<Fault>,
}

impl Translation<'_> {
    pub(super) fn refuse(&mut self, path: impl ToString, why: &str) {
        self.fault.get_or_insert_with(|| unsupported(&path.to_string(), why));
    }

    pub(super) fn drop(&mut self, path: impl ToString, why: &'static str) {
        self.notices.push(Notice::dropped(path.to_string(), why));
    }

    pub(super) fn approximate(&mut self, path: impl ToString, how: &'static str) {
        self.notices.push(Notice::approximated(path.to_string(), how));
    }

    /// Names whatever only the caller's dialect has. `outer` is the path of the object, empty for the request.
    pub(super) fn leave_out(&mut self, outer: impl std::fmt::Display, extension: &Extension) {
        if extension.is_empty() {
            return;
        }
        let outer = outer.to_string();
        for (name, _) in extension.members() {
            let dot = if outer.is_empty() { "" } else { "." };
            self.drop(format!("{outer}{dot}{}", name.decode()), "has no counterpart in chat completions");
        }
    }

    fn request(&mut self, prompt: &Prompt, json: &mut Writer) {
        json.key("model").string(self.carrier.provider_model);
        json.key("messages").array(|json| {
            for turn in &prompt.turns {
                turn_write::turn(self, turn, json);
            }
        });
        self.tools(prompt, json);
        stream(self.carrier, |_| {}, json);
        if let Some(tokens) = prompt.max_output {
            let name = if self.carrier.names_max_completion_tokens() { "max_completion_tokens" } else { "max_tokens" };
            json.key(name).number(tokens);
        }
        self.sampling(prompt, json);
        if let Some(wish) = &prompt.reasoning {
            // An effort may have been told alone.
            let path = if prompt.extension.get("thinking").is_some() { "thinking" } else { "output_config.effort" };
            self.reasoning(wish, path, prompt.max_output, json);
        }
        if let Some(format) = &prompt.output {
            self.output(format, json);
        }
        self.caller(prompt, json);
        self.members_of_the_request(&prompt.extension, json);
    }

    fn sampling(&mut self, prompt: &Prompt, json: &mut Writer) {
        for (name, number) in [("temperature", &prompt.temperature), ("top_p", &prompt.top_p)] {
            match number {
                Some(number) if self.carrier.takes(name) => json.key(name).raw(number.json()),
                Some(_) => self.drop(name, "the model takes none"),
                None => {}
            }
        }
        if let Some(top_k) = &prompt.top_k {
            if self.carrier.takes_gateway_fields {
                json.key("top_k").raw(top_k.json());
            } else {
                self.drop("top_k", "chat completions have none");
            }
        }
        if prompt.n > 1 {
            json.key("n").number(prompt.n.into());
        }
        if prompt.stop.len() > MOST_STOPS {
            self.refuse("stop_sequences", "chat completions take at most 4");
        }
        if !prompt.stop.is_empty() && !self.carrier.takes("stop") {
            self.refuse("stop_sequences", "the model takes none");
        }
        if !prompt.stop.is_empty() {
            json.key("stop").array(|json| prompt.stop.iter().for_each(|word| json.escaped(word.escaped())));
        }
    }

    fn caller(&mut self, prompt: &Prompt, json: &mut Writer) {
        match &prompt.user {
            // An agent's name for its user is a text of some 170 characters, and all that it asked would be refused for it.
            Some(user) if user.decode().chars().count() > LONGEST_USER => {
                self.drop("metadata.user_id", "chat completions take at most 64 characters");
            }
            Some(user) => json.key("user").escaped(user.escaped()),
            None => {}
        }
        match prompt.service_tier.as_ref().map(Text::decode).as_deref() {
            None => {}
            Some("auto") => json.key("service_tier").string("auto"),
            Some("standard_only") => json.key("service_tier").string("default"),
            Some(_) => self.drop("service_tier", "this tier has no counterpart in chat completions"),
        }
    }

    fn members_of_the_request(&mut self, extension: &Extension, json: &mut Writer) {
        for (name, raw) in extension.members() {
            let name = name.decode();
            match &*name {
                "cache_control" if self.carrier.takes_gateway_fields => json.key("cache_control").raw(raw.json()),
                "container" | "mcp_servers" => self.refuse(name, "chat completions have no such thing"),
                _ => self.drop(name, "has no counterpart in chat completions"),
            }
        }
    }

    fn tools(&mut self, prompt: &Prompt, json: &mut Writer) {
        if prompt.tools.is_empty() {
            if prompt.tool_choice.is_some() {
                self.drop("tool_choice", "there are no tools");
            }
            return;
        }
        json.key("tools").array(|json| prompt.tools.iter().for_each(|tool| self.tool(tool, json)));
        match &prompt.tool_choice {
            None => {}
            Some(ToolChoice::Auto) => json.key("tool_choice").string("auto"),
            Some(ToolChoice::None) => json.key("tool_choice").string("none"),
            Some(ToolChoice::Required) => json.key("tool_choice").string("required"),
            Some(ToolChoice::Function(name)) => json.key("tool_choice").object(|json| {
                json.key("type").string("function");
                json.key("function").object(|json| json.key("name").escaped(name.escaped()));
            }),
            Some(ToolChoice::Foreign(_)) => self.refuse("tool_choice", "chat completions have no such choice"),
        }
        if let Some(parallel) = prompt.parallel_tool_calls {
            json.key("parallel_tool_calls").bool(parallel);
        }
    }

    fn tool(&mut self, tool: &Tool, json: &mut Writer) {
        let path = format!("tools[{}]", tool.index);
        let ToolKind::Function { name, description, parameters, strict } = &tool.kind else {
            return self.refuse(path, "chat completions have no such tool; only the caller's own functions can be carried");
        };
        json.object(|json| {
            json.key("type").string("function");
            json.key("function").object(|json| {
                json.key("name").escaped(name.escaped());
                if let Some(description) = description {
                    json.key("description").escaped(description.escaped());
                }
                if let Some(parameters) = parameters {
                    json.key("parameters").raw(parameters.json());
                }
                if let Some(strict) = strict {
                    json.key("strict").bool(*strict);
                }
            });
            if let Some(cache) = &tool.cache {
                self.cache(&cache.raw, || format!("{path}.cache_control"), json);
            }
        });
        self.leave_out(path, &tool.extension);
    }

    /// A cache marker within the object that is being written.
    pub(super) fn cache(&mut self, marker: &Raw, path: impl FnOnce() -> String, json: &mut Writer) {
        if self.carrier.takes_gateway_fields {
            json.key("cache_control").raw(marker.json());
        } else {
            self.drop(path(), "this provider caches by itself or not at all");
        }
    }

    pub(super) fn cache_at(&mut self, marker: &Raw, place: Place, json: &mut Writer) {
        self.cache(marker, || format!("{place}.cache_control"), json);
    }

    fn reasoning(&mut self, wish: &ReasoningWish, path: &'static str, max_output: Option<u64>, json: &mut Writer) {
        if self.carrier.takes_gateway_fields {
            return gateway_reasoning(wish, json);
        }
        let controls = self.carrier.reasoning;
        if wish.hidden {
            self.drop("thinking.display", "this provider decides what it shows");
        }
        if wish.is_off() {
            // Nothing is to be switched off where nothing is known to think.
            if controls.are_known() {
                self.drop(path, "chat completions cannot switch it off; the model thinks as it is set");
            }
            return;
        }
        if !controls.effort {
            return self.drop(path, "this endpoint is not known to take a reasoning effort");
        }
        let effort = match (wish.effort, wish.budget) {
            (Some(effort), _) => effort.min(Effort::XHigh),
            (None, Some(budget)) => {
                Effort::nearest(budget, max_output.filter(|most| *most > 0).unwrap_or(self.carrier.max_output)).min(Effort::High)
            }
            (None, None) => return self.approximate(path, "left to the model's own measure"),
        };
        json.key("reasoning_effort").string(effort.name());
        match (wish.effort, wish.budget) {
            (Some(asked), None) if asked == effort => {}
            (Some(_), None) => self.approximate("output_config.effort", "sent as xhigh, the most there is"),
            _ => self.approximate("thinking.budget_tokens", "sent as the nearest reasoning_effort"),
        }
    }

    fn output(&mut self, format: &OutputFormat, json: &mut Writer) {
        match format {
            OutputFormat::Text => json.key("response_format").object(|json| json.key("type").string("text")),
            OutputFormat::JsonObject => json.key("response_format").object(|json| json.key("type").string("json_object")),
            OutputFormat::JsonSchema { name, description, schema, strict } => json.key("response_format").object(|json| {
                json.key("type").string("json_schema");
                json.key("json_schema").object(|json| {
                    // A name is demanded here.
                    json.key("name").escaped(name.as_ref().map_or(&b"response"[..], Text::escaped));
                    if let Some(description) = description {
                        json.key("description").escaped(description.escaped());
                    }
                    json.key("schema").raw(schema.json());
                    if let Some(strict) = strict {
                        json.key("strict").bool(*strict);
                    }
                });
            }),
            OutputFormat::Foreign(_) => self.refuse("output_config.format", "chat completions have no such format"),
        }
    }
}

/// OpenRouter's object says all that there is to say.
fn gateway_reasoning(wish: &ReasoningWish, json: &mut Writer) {
    json.key("reasoning").object(|json| {
        if wish.is_off() {
            return json.key("enabled").bool(false);
        }
        match (wish.budget, wish.effort) {
            (Some(budget), _) => json.key("max_tokens").number(budget),
            (None, Some(effort)) => json.key("effort").string(effort.name()),
            (None, None) => json.key("enabled").bool(true),
        }
        if wish.hidden {
            json.key("exclude").bool(true);
        }
    });
}
