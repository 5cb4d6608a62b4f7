//! Why the model stopped: `stop_reason` both ways.

use crate::neutral::{Finish, Text};

/// The words that mean one thing in both directions.
const TABLE: &[(&str, Finish)] = &[
    ("end_turn", Finish::Stop),
    ("max_tokens", Finish::Length),
    ("stop_sequence", Finish::StopSequence),
    ("tool_use", Finish::ToolCalls),
    ("pause_turn", Finish::Pause),
    ("refusal", Finish::Refusal),
    ("model_context_window_exceeded", Finish::ContextWindow),
];

pub(super) fn read_finish(word: &Text) -> Finish {
    let told = word.decode();
    TABLE.iter().find(|(known, _)| *known == told).map_or_else(|| Finish::Other(word.clone()), |(_, finish)| finish.clone())
}

/// What the answer holds, as far as it decides over the word: some providers end a call of a tool or a refusal with an ordinary stop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holds {
    pub calls: bool,
    pub refusal: bool,
}

/// Never nothing: a client that finds no reason takes the answer for unfinished.
pub(super) fn stop_reason(finish: Option<&Finish>, holds: Holds) -> Text {
    let word = |word| Text::word(word);
    match finish {
        // Words of a provider that are not known, such as `eos`, are ends in the ordinary way: no client of this dialect knows them either.
        None | Some(Finish::Stop | Finish::Other(_)) if holds.refusal => word("refusal"),
        None | Some(Finish::Stop | Finish::Other(_)) if holds.calls => word("tool_use"),
        None | Some(Finish::Other(_)) => word("end_turn"),
        Some(Finish::ContentFilter) => word("refusal"),
        // The nearest that this dialect has: the answer is cut short.
        Some(Finish::Error) => word("max_tokens"),
        Some(known) => word(TABLE.iter().find(|(_, finish)| finish == known).map_or("end_turn", |(word, _)| word)),
    }
}
