//! Why an answer ended, in the words of the other dialect, by hand.

use crate::dialect::Dialect;

/// The provider's word (`*` = any, none included), what else the answer has, the caller's words that say the same.
struct Row(Dialect, &'static str, Beside, &'static [&'static str]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Calls,
    Refusal,
    Anything,
}

const ROWS: &[Row] = &[
    // Agents that speak Anthropic go on only at `tool_use`; some providers write `stop` beside a call.
    Row(Dialect::OpenAi, "stop", Beside::Calls, &["tool_use"]),
    Row(Dialect::OpenAi, "stop", Beside::Refusal, &["refusal", "end_turn"]),
    Row(Dialect::OpenAi, "stop", Beside::Anything, &["end_turn"]),
    Row(Dialect::OpenAi, "eos", Beside::Anything, &["end_turn"]),
    Row(Dialect::OpenAi, "length", Beside::Anything, &["max_tokens"]),
    Row(Dialect::OpenAi, "tool_calls", Beside::Anything, &["tool_use"]),
    Row(Dialect::OpenAi, "function_call", Beside::Anything, &["tool_use"]),
    Row(Dialect::OpenAi, "content_filter", Beside::Anything, &["refusal"]),
    Row(Dialect::OpenAi, "*", Beside::Calls, &["tool_use"]),
    Row(Dialect::OpenAi, "*", Beside::Anything, &["end_turn"]),
    Row(Dialect::Anthropic, "end_turn", Beside::Anything, &["stop"]),
    Row(Dialect::Anthropic, "stop_sequence", Beside::Anything, &["stop"]),
    Row(Dialect::Anthropic, "max_tokens", Beside::Anything, &["length"]),
    Row(Dialect::Anthropic, "model_context_window_exceeded", Beside::Anything, &["length"]),
    Row(Dialect::Anthropic, "tool_use", Beside::Anything, &["tool_calls"]),
    Row(Dialect::Anthropic, "refusal", Beside::Anything, &["content_filter"]),
    // OpenAI knows no pause: the turn is over, and what is missing can be asked for.
    Row(Dialect::Anthropic, "pause_turn", Beside::Anything, &["stop"]),
];

/// The words of the other dialect for `word` of a provider; empty = the table has no row, which is a fault of the table.
pub fn across(provider: Dialect, word: Option<&str>, has_calls: bool, has_refusal: bool) -> &'static [&'static str] {
    let fits = |row: &&Row| {
        let beside = match row.2 {
            Beside::Calls => has_calls,
            Beside::Refusal => has_refusal,
            Beside::Anything => true,
        };
        row.0 == provider && (row.1 == "*" || word == Some(row.1)) && beside
    };
    ROWS.iter().find(fits).map_or(&[], |row| row.3)
}
