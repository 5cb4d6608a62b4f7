//! The content of a request.

use super::block::{Block, Cache};
use super::extension::Extension;
use super::text::{Raw, Text};
use crate::Dialect;

/// What a request says to the model. What it says to the gateway is in [`crate::Call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The dialect it was read from: its extensions are of this one.
    pub origin: Dialect,
    /// Instructions and conversation in order. Anthropic's `system` is a turn before the first message.
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// `Some(false)`: at most one call in an answer.
    pub parallel_tool_calls: Option<bool>,
    pub stream: bool,
    /// Answers asked for.
    pub n: u32,
    /// Most tokens of the answer, thoughts included.
    pub max_output: Option<u64>,
    /// Numbers as they were spelt.
    pub temperature: Option<Raw>,
    pub top_p: Option<Raw>,
    pub top_k: Option<Raw>,
    pub stop: Vec<Text>,
    pub reasoning: Option<ReasoningWish>,
    pub output: Option<OutputFormat>,
    /// Who the end user is, for the provider's abuse detection.
    pub user: Option<Text>,
    pub service_tier: Option<Text>,
    pub extension: Extension,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions (`system`, `developer`).
    System,
    /// The user and the results of tools.
    User,
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub role: Role,
    pub blocks: Vec<Block>,
    /// Its position in the caller's `messages`; `None` for Anthropic's `system`.
    pub message: Option<u32>,
    pub extension: Extension,
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    pub kind: ToolKind,
    pub cache: Option<Cache>,
    /// Its position in the caller's `tools`.
    pub index: u32,
    pub extension: Extension,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolKind {
    /// A function of the caller.
    Function {
        name: Text,
        description: Option<Text>,
        /// JSON schema of the arguments.
        parameters: Option<Raw>,
        strict: Option<bool>,
    },
    /// One that only the origin's dialect has, such as a tool that the provider runs.
    Foreign { kind: Text, raw: Raw },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    /// Some tool must be called.
    Required,
    /// This one must be called.
    Function(Text),
    Foreign(Raw),
}

/// How much the model is to think.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasoningWish {
    /// `Some(false)`: not at all. `Some(true)` without more: as much as the provider holds right.
    pub enabled: Option<bool>,
    pub effort: Option<Effort>,
    /// Tokens.
    pub budget: Option<u64>,
    /// The model decides by itself (Anthropic's `adaptive`).
    pub adaptive: bool,
    /// Thoughts are not to be shown.
    pub hidden: bool,
}

impl ReasoningWish {
    /// The model is not to think at all.
    pub fn is_off(&self) -> bool {
        self.enabled == Some(false) || self.effort == Some(Effort::None)
    }
}

/// OpenAI's and OpenRouter's words, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    pub const TABLE: &'static [(Self, &'static str, u64)] = &[
        (Self::None, "none", 0),
        (Self::Minimal, "minimal", 10),
        (Self::Low, "low", 20),
        (Self::Medium, "medium", 50),
        (Self::High, "high", 80),
        (Self::XHigh, "xhigh", 95),
        (Self::Max, "max", 95),
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known, _)| *known == name).map(|(effort, ..)| *effort)
    }

    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(effort, ..)| *effort == self).map_or("medium", |(_, name, _)| name)
    }

    /// Share of the answer's most tokens that goes into thinking, in percent: OpenRouter's rule.
    pub fn percent(self) -> u64 {
        Self::TABLE.iter().find(|(effort, ..)| *effort == self).map_or(50, |(_, _, percent)| *percent)
    }

    /// The effort whose share is nearest to `budget` of `max_output`.
    pub fn nearest(budget: u64, max_output: u64) -> Self {
        let percent = budget.saturating_mul(100) / max_output.max(1);
        let distance = |(_, _, share): &&(Self, &str, u64)| share.abs_diff(percent);
        Self::TABLE.iter().skip(1).min_by_key(distance).map_or(Self::Medium, |(effort, ..)| *effort)
    }
}

/// The form of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    Text,
    /// Any JSON object.
    JsonObject,
    JsonSchema {
        name: Option<Text>,
        description: Option<Text>,
        schema: Raw,
        strict: Option<bool>,
    },
    Foreign(Raw),
}
