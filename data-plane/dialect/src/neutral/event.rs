//! An answer in pieces.

use super::block::Reasoning;
use super::message::Finish;
use super::text::{Raw, Text};

/// One step of an answer. Only [`super::Assembler`] makes events, so every sequence of them is legal:
/// `Start (Open Delta* Close)* Finish`, blocks numbered from 0 without a gap, each delta of its open block's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(pub(super) EventKind);

impl Event {
    pub fn kind(&self) -> &EventKind {
        &self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Start { id: Option<Text>, model: Option<Text> },
    Open { block: u32, what: Opened },
    Delta { block: u32, delta: Delta },
    Close { block: u32 },
    Finish { finish: Finish, stop_sequence: Option<Text> },
}

/// What a block is. All its content comes in deltas, but for what never comes in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    Text,
    Refusal,
    /// Thoughts; `Encrypted` is whole, the others are empty and grow.
    Reasoning(Reasoning),
    ToolCall {
        id: Text,
        name: Text,
    },
    /// As in [`super::Content::Foreign`].
    Foreign {
        kind: Text,
        raw: Raw,
    },
}

/// What is added to the open block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// To `Text` or `Refusal`.
    Text(Text),
    Citation(Raw),
    /// To `Reasoning`.
    Reasoning(Text),
    Signature(Text),
    /// To `ToolCall`: a fragment of the arguments' JSON.
    Arguments(Text),
    /// To `Foreign`: an event of the origin's dialect, as it was.
    Foreign(Raw),
}
