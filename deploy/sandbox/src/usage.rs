//! What a call costs in tokens, by a rule simple enough to be worked out on paper.
//!
//! The sandbox has no tokenizer. A token is four bytes of UTF-8, rounded up, counted once over all the text of a side:
//!
//! - prompt: the `content` of every message (a string, or the `text` of each text part); in Anthropic's dialect also `system`, and the text in
//!   tool results;
//! - reasoning: the reasoning text of a choice;
//! - completion: the reasoning tokens plus the tokens of the content, the refusal and the tool calls' arguments of a choice;
//!   with several choices, the sum over them.

use serde::{Deserialize, Serialize};

/// UTF-8 bytes that make one token.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of so many bytes of text.
pub fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// The tokens of one call as the provider's books have them.
///
/// All fields are counts of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All input tokens, cached ones included.
    pub prompt: u64,
    /// All output tokens, reasoning included.
    pub completion: u64,
    /// The part of `prompt` that was read from the provider's cache.
    pub cached: u64,
    /// The part of `completion` that was reasoning; 0 where the dialect does not tell it apart (Anthropic's).
    pub reasoning: u64,
    /// The part of `prompt` that was written to a cache for five minutes.
    #[serde(default)]
    pub cache_write_5m: u64,
    /// The part of `prompt` that was written to a cache for an hour.
    #[serde(default)]
    pub cache_write_1h: u64,
}

/// The `usage` object of the OpenAI chat dialect.
#[derive(Serialize)]
pub(crate) struct UsageObject {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl Usage {
    /// The same with half of the output: what is true before it is over.
    pub(crate) fn halfway(self) -> Self {
        let completion = self.completion / 2;
        Self { completion, reasoning: self.reasoning.min(completion), ..self }
    }

    pub(crate) fn object(self) -> UsageObject {
        UsageObject {
            prompt_tokens: self.prompt,
            completion_tokens: self.completion,
            total_tokens: self.prompt + self.completion,
            prompt_tokens_details: PromptDetails { cached_tokens: self.cached, audio_tokens: 0 },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: self.reasoning,
                audio_tokens: 0,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn a_token_is_four_bytes_rounded_up() {
        for (bytes, expected) in [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), ("ä€".len() as u64, 2)] {
            assert_eq!(tokens(bytes), expected, "{bytes} bytes");
        }
    }
}
