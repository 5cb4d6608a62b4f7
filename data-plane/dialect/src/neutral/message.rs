//! A whole answer.

use super::block::Block;
use super::extension::Extension;
use super::text::Text;

/// What the model answered. Usage is not part of it: the meter reads that, in both lanes by the same code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: Option<Text>,
    pub model: Option<Text>,
    pub blocks: Vec<Block>,
    pub finish: Option<Finish>,
    /// The stop sequence that was met.
    pub stop_sequence: Option<Text>,
    pub extension: Extension,
}

/// Why the model stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was done.
    Stop,
    /// At one of the caller's stop sequences.
    StopSequence,
    /// At the most tokens asked for.
    Length,
    /// At the end of the context window.
    ContextWindow,
    ToolCalls,
    ContentFilter,
    /// The model, or a classifier beside it, refused.
    Refusal,
    /// A long turn was interrupted and may be continued by sending it back.
    Pause,
    Error,
    /// A word that is not known here.
    Other(Text),
}
