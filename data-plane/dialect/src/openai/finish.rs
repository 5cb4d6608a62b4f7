//! Why an answer ended, in the words of chat completions and of those who speak it.

use crate::neutral::{Finish, Text};

/// Reads a `finish_reason`. Some providers say `stop` where they mean that tools are called.
pub(super) fn read(word: &Text, has_calls: bool) -> Finish {
    match &*word.decode() {
        "stop" | "tool_calls" | "function_call" if has_calls => Finish::ToolCalls,
        "stop" => Finish::Stop,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        // The second is Mistral's.
        "length" | "max_tokens" => Finish::Length,
        "model_length" => Finish::ContextWindow,
        "content_filter" => Finish::ContentFilter,
        "error" => Finish::Error,
        _ => Finish::Other(word.clone()),
    }
}

/// The nearest of OpenRouter's five words.
pub(super) fn word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence | Finish::Pause | Finish::Other(_) => "stop",
        Finish::Length | Finish::ContextWindow => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter | Finish::Refusal => "content_filter",
        Finish::Error => "error",
    }
}

/// The word of the provider, which is Anthropic where an answer is translated into this dialect.
pub(super) fn native(finish: &Finish) -> Text {
    Text::word(match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ContextWindow => "model_context_window_exceeded",
        Finish::ToolCalls => "tool_use",
        Finish::Refusal => "refusal",
        Finish::Pause => "pause_turn",
        Finish::ContentFilter => "content_filter",
        Finish::Error => "error",
        Finish::Other(word) => return word.clone(),
    })
}

/// What the nearest word does not tell.
pub(super) fn lost(finish: &Finish) -> Option<&'static str> {
    match finish {
        Finish::Pause => Some("told as stop: the turn was paused and goes on when it is sent back"),
        Finish::Other(_) => Some("told as stop"),
        _ => None,
    }
}
