//! Reads a Messages request into a call, refusing what the real API refuses.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::turns::{self, Turn};
use crate::compose::Refused;
use crate::prefix::{Segment, Ttl};
use crate::request::{Chat, Content as Text, Function, Message, Tool as Callable};

/// The smallest thinking budget, in tokens.
const LEAST_BUDGET: u64 = 1_024;
/// Top-level fields that the real API knows (with its betas) and the sandbox does not read. Any other is refused there, and here.
const UNREAD: [&str; 16] = [
    "metadata",
    "service_tier",
    "top_k",
    "top_p",
    "container",
    "context_management",
    "mcp_servers",
    "inference_geo",
    "speed",
    "cache_control",
    "fallbacks",
    "safeguards",
    "billing_policy",
    "compaction",
    "diagnostics",
    "fallback_credit_token",
];

/// A Messages request, as far as the sandbox reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Messages {
    pub model: String,
    messages: Option<Vec<Turn>>,
    max_tokens: Option<u64>,
    system: Option<Content>,
    stream: Option<bool>,
    temperature: Option<f64>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<ToolChoice>,
    stop_sequences: Option<Vec<String>>,
    thinking: Option<Thinking>,
    output_config: Option<OutputConfig>,
    output_format: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

/// A block of content: the fields of all kinds.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type")]
    pub kind: String,
    pub text: Option<String>,
    pub id: Option<String>,
    pub name: Option<String>,
    pub input: Option<Value>,
    pub tool_use_id: Option<String>,
    pub content: Option<Content>,
    pub source: Option<Value>,
    pub thinking: Option<String>,
    pub signature: Option<String>,
    pub data: Option<String>,
    pub cache_control: Option<CacheControl>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct CacheControl {
    ttl: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    input_schema: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ToolChoice {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: String,
    budget_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct OutputConfig {
    format: Option<Value>,
}

pub(super) fn refused(param: impl AsRef<str>, message: &str) -> Refused {
    Refused { status: 400, code: "invalid_request_error", param: None, message: format!("{}: {message}", param.as_ref()) }
}

impl Content {
    /// Its text: a string, or the text of its blocks, with that of tool results.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Blocks(blocks) => blocks.iter().map(Block::own_text).collect(),
        }
    }
}

impl Block {
    fn own_text(&self) -> String {
        match &self.content {
            Some(content) => content.text(),
            None => self.text.clone().unwrap_or_default(),
        }
    }

    fn mark(&self) -> Option<Ttl> {
        let control = self.cache_control.as_ref()?;
        Some(if control.ttl.as_deref() == Some("1h") { Ttl::Hour } else { Ttl::FiveMinutes })
    }
}

/// The call of which only the prompt's tokens are wanted.
pub(crate) fn counted(asked: &Messages) -> Result<Chat, Refused> {
    let messages = asked.checked_turns()?;
    Ok(Chat { model: asked.model.clone(), messages, ..Chat::default() })
}

impl Messages {
    /// The call in the form that the sandbox answers.
    pub(crate) fn chat(&self) -> Result<Chat, Refused> {
        self.check()?;
        let forced = self.tool_choice.as_ref().map(|choice| match (choice.kind.as_str(), &choice.name) {
            ("tool", Some(name)) => Ok(json!({"type": "function", "function": {"name": name}})),
            ("any", _) => Ok(json!("required")),
            ("auto" | "none", _) => Ok(json!(choice.kind)),
            _ => Err(refused("tool_choice", "Input should be auto, any, tool (with a name) or none")),
        });
        let one_call = self.tool_choice.as_ref().and_then(|choice| choice.disable_parallel_tool_use) == Some(true);
        Ok(Chat {
            model: self.model.clone(),
            messages: self.checked_turns()?,
            stream: self.stream,
            tools: Some(self.functions()?),
            tool_choice: forced.transpose()?,
            parallel_tool_calls: one_call.then_some(false),
            response_format: self.format(),
            reasoning_effort: self.thinks().then(|| "medium".to_owned()),
            max_tokens: self.max_tokens,
            stop: self.stop_sequences.clone().unwrap_or_default(),
            ..Chat::default()
        })
    }

    /// The blocks of the prompt with their marks, for the cache.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let system = self.system.iter().map(|system| ("system", system));
        let turns = self.messages.iter().flatten();
        let turns = turns.map(|turn| (if turn.role == "assistant" { "assistant" } else { "user" }, &turn.content));
        system
            .chain(turns)
            .flat_map(|(role, content)| match content {
                Content::Text(text) => vec![Segment { role, text: text.clone(), mark: None }],
                Content::Blocks(blocks) => {
                    blocks.iter().map(|block| Segment { role, text: block.own_text(), mark: block.mark() }).collect()
                }
            })
            .collect()
    }

    fn thinks(&self) -> bool {
        self.thinking.as_ref().is_some_and(|thinking| thinking.kind != "disabled")
    }

    fn check(&self) -> Result<(), Refused> {
        if let Some(field) = self.rest.keys().find(|field| !UNREAD.contains(&field.as_str())) {
            return Err(refused(field, "Extra inputs are not permitted"));
        }
        let Some(most) = self.max_tokens else { return Err(refused("max_tokens", "Field required")) };
        if most == 0 {
            return Err(refused("max_tokens", "Input should be greater than or equal to 1"));
        }
        if self.temperature.is_some_and(|temperature| !(0.0..=1.0).contains(&temperature)) {
            return Err(refused("temperature", "range: 0..1"));
        }
        self.check_thinking(most)
    }

    fn check_thinking(&self, most: u64) -> Result<(), Refused> {
        let Some(thinking) = &self.thinking else { return Ok(()) };
        match (thinking.kind.as_str(), thinking.budget_tokens) {
            ("adaptive" | "disabled", None) => {}
            ("enabled", Some(budget)) if budget < LEAST_BUDGET => {
                return Err(refused("thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024"));
            }
            ("enabled", Some(budget)) if budget >= most => {
                return Err(refused("max_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`"));
            }
            ("enabled", Some(_)) => {}
            ("enabled", None) => return Err(refused("thinking.enabled.budget_tokens", "Field required")),
            _ => return Err(refused("thinking", "Input should be enabled (with budget_tokens), adaptive or disabled")),
        }
        if self.thinks() && self.tool_choice.as_ref().is_some_and(|choice| ["any", "tool"].contains(&choice.kind.as_str())) {
            return Err(refused("tool_choice", "Thinking may not be enabled when tool_choice forces tool use."));
        }
        Ok(())
    }

    fn checked_turns(&self) -> Result<Vec<Message>, Refused> {
        let Some(turns) = &self.messages else { return Err(refused("messages", "Field required")) };
        turns::check(turns)?;
        let system = self.system.iter().map(|system| message("system", system.text()));
        Ok(system.chain(turns.iter().map(spoken)).collect())
    }

    fn functions(&self) -> Result<Vec<Callable>, Refused> {
        let own = self.tools.iter().flatten().enumerate().filter(|(_, tool)| tool.kind.as_deref().is_none_or(|kind| kind == "custom"));
        own.map(|(index, tool)| {
            let field = |name: &str| refused(format!("tools.{index}.custom.{name}"), "Field required");
            let name = tool.name.clone().ok_or_else(|| field("name"))?;
            let is_name = (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            if !is_name {
                return Err(refused(format!("tools.{index}.custom.name"), "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"));
            }
            let parameters = tool.input_schema.clone().filter(Value::is_object).ok_or_else(|| field("input_schema"))?;
            if parameters["type"] != "object" {
                return Err(refused(format!("tools.{index}.custom.input_schema.type"), "Input should be 'object'"));
            }
            Ok(Callable { function: Some(Function { name, parameters }) })
        })
        .collect()
    }

    fn format(&self) -> Option<Value> {
        let format = self.output_config.as_ref().and_then(|config| config.format.as_ref()).or(self.output_format.as_ref())?;
        (format["type"] == "json_schema").then(|| json!({"type": "json_schema", "json_schema": {"schema": format["schema"]}}))
    }
}

/// A turn as one message; a turn that ends with a tool's result speaks for the tool.
fn spoken(turn: &Turn) -> Message {
    let results: Vec<&Block> = match &turn.content {
        Content::Blocks(blocks) => blocks.iter().filter(|block| block.kind == "tool_result").collect(),
        Content::Text(_) => Vec::new(),
    };
    if results.is_empty() { message(&turn.role, turn.content.text()) } else { message("tool", turn.content.text()) }
}

fn message(role: &str, text: String) -> Message {
    Message { role: role.to_owned(), content: Some(Text::Text(text)) }
}
