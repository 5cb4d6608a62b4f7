//! What the stream writers of both dialects have in common: frames, and what each is for.

use bytes::Bytes;

use crate::usage::Usage;

/// What every object of an answer begins with.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub id: String,
    /// Seconds since the Unix epoch.
    pub created: u64,
    pub model: String,
    /// The distance between the indices of two tool calls or blocks in a stream: one, unless the model is there to jump.
    pub stride: usize,
}

/// Where a stream or an answer states its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stating {
    /// In OpenAI's dialect, when asked: in a frame of its own at the end, and every other frame says null. In Anthropic's, always: where the
    /// message begins and where it ends.
    AtEnd,
    /// As at the end, but before it once with half of the output.
    Twice,
    /// In no frame, and no frame has the field. OpenAI's way when not asked. Whole answers state it all the same.
    NotAsked,
    Never,
    Null,
    InEachChunk,
    WithFinish,
}

/// A frame of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: Kind,
    pub bytes: Bytes,
    pub usage: Option<Usage>,
    /// Bytes of what the model says that it holds.
    pub said: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What carries no words: the role, the beginning and the end of a block, a ping.
    Scaffold,
    /// A piece of reasoning, content, refusal or of a tool call's arguments.
    Piece,
    Finish,
    Usage,
    Done,
}
