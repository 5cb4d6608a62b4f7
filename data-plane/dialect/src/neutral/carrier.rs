//! Who is to carry a prompt.

use crate::target::AsksUsage;

/// What the endpoint that is to carry the prompt takes. A writer never sends what the endpoint would refuse unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carrier<'a> {
    /// The model's name at the provider.
    pub provider_model: &'a str,
    pub stream: bool,
    /// How it is brought to tell usage in a stream.
    pub asks_usage: AsksUsage,
    /// It knows OpenRouter's members of a request (`reasoning`, `cache_control`, …).
    pub takes_gateway_fields: bool,
    /// Most tokens of an answer; 0 = not known.
    pub max_output: u64,
    /// Tokens of prompt and answer together; 0 = not known.
    pub context_window: u64,
    pub reasoning: ReasoningControls,
    /// Names of the parameters that the model takes there, as OpenRouter's `supported_parameters`; empty = not known, taken as all.
    pub parameters: &'a [Box<str>],
}

impl Carrier<'_> {
    /// Whether the parameter is known to be taken, or nothing is known.
    pub fn takes(&self, parameter: &str) -> bool {
        self.parameters.is_empty() || self.parameters.iter().any(|name| **name == *parameter)
    }

    /// OpenAI's models refuse `max_tokens` more and more, other providers do not know `max_completion_tokens`: it is sent where it is listed.
    pub fn names_max_completion_tokens(&self) -> bool {
        self.parameters.iter().any(|name| **name == *"max_completion_tokens")
    }
}

/// How the model's thinking is steered there. None of them: not known, or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasoningControls {
    /// By a word (`low`, `high`, …).
    pub effort: bool,
    /// By a number of tokens.
    pub budget: bool,
    /// The model decides by itself, and can be told so.
    pub adaptive: bool,
    /// It can be switched on and off.
    pub toggle: bool,
}

impl ReasoningControls {
    pub const fn are_known(self) -> bool {
        self.effort || self.budget || self.adaptive || self.toggle
    }
}
