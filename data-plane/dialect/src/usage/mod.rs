//! What an attempt consumed, as the provider reported it.

mod object;

pub(crate) use object::{UsageObject, cost_text, count};

/// Counts in disjoint classes: nothing is in two of them, so each may be multiplied by its own price.
///
/// A class that the provider did not mention is 0; a usage object that was not there at all is no `Reading`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Input tokens that no other input class counts.
    pub input: u64,
    pub cache_read: u64,
    /// Cache writes of five minutes, and those whose life was not said.
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub audio_input: u64,
    /// Output tokens that no other output class counts.
    pub output: u64,
    pub reasoning: u64,
    pub audio_output: u64,
    pub image_output: u64,
    /// Tokens of fetched sources that are billed apart from input (Perplexity).
    pub citation: u64,
    /// Web searches, counted in requests.
    pub searches: u64,
    /// What the provider says the answer cost, in USD, as it printed it. Evidence, never the bill.
    pub reported_cost: Option<Box<str>>,
}

impl Reading {
    /// All tokens that went in. At most [`Reading::MAX_COUNT`] per class, so no sum can overflow.
    pub fn total_input(&self) -> u64 {
        self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h + self.audio_input
    }

    /// All tokens that came out.
    pub fn total_output(&self) -> u64 {
        self.output + self.reasoning + self.audio_output + self.image_output
    }

    /// Beyond it a count is a lie: a hundred thousand times the longest context there is.
    pub const MAX_COUNT: u64 = 1 << 40;
}

/// Why a usage object is not believed. The provider's fault; the attempt then has no reported usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageFault {
    #[error("usage is no object")]
    NotAnObject,
    #[error("usage is broken JSON")]
    Malformed,
    #[error("usage.{0} is negative")]
    Negative(&'static str),
    #[error("usage.{0} is no whole number")]
    NotANumber(&'static str),
    #[error("usage.{0} is beyond any possible count")]
    Absurd(&'static str),
    #[error("usage counts neither prompt nor completion tokens")]
    Empty,
}
