//! A streamed answer, whatever its dialect: how it is shown, where it stands, how it ended.

use bytes::Bytes;

use crate::classify::Classified;
use crate::dialect::Dialect;
use crate::output::Output;
use crate::usage::{Reading, UsageFault};
use crate::{anthropic, openai};

/// How a stream is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Answers asked for; the stream is over when so many have finished.
    pub n: u32,
    /// Frames that hold nothing but usage are shown.
    pub show_usage: bool,
    /// A top-level `usage` or `system_fingerprint` that is `null` is cut out: OpenRouter's strict clients stop at it.
    pub omit_nulls: bool,
    /// Most bytes of one frame, and of all that is held back.
    pub frame_bytes: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { n: 1, show_usage: true, omit_nulls: false, frame_bytes: 16 << 20 }
    }
}

/// Where the stream stands after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is held back but, at most, an unfinished frame.
    More,
    /// The terminal part has begun and is held back: usage or an error was seen.
    Holding,
    /// The last frame (`[DONE]`, `message_stop`) was seen: price, write the terminal event, [`Stream::release`].
    Done,
}

/// How the provider left the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its dialect's last frame, a finish reason for each answer, or the final usage.
    Complete,
    /// With an error, see [`Stream::error`].
    Failed,
    /// In the middle.
    Truncated,
}

/// The provider breaks a limit; the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's stream holds more than {limit} bytes in one frame, before its output or after its usage (limit frame_bytes)")]
pub struct FrameTooLarge {
    pub limit: usize,
}

/// The machine that follows a provider's stream. It takes bytes in any cut and gives slices of them.
#[derive(Debug)]
pub enum Stream {
    OpenAi(openai::Stream),
    Anthropic(anthropic::Stream),
}

impl Stream {
    /// Follows a provider that speaks `dialect`.
    pub fn new(dialect: Dialect, options: StreamOptions) -> Self {
        match dialect {
            Dialect::OpenAi => Self::OpenAi(openai::Stream::new(options)),
            Dialect::Anthropic => Self::Anthropic(anthropic::Stream::new(options)),
        }
    }

    /// Takes bytes from the provider and appends to `out` what may go to the client now.
    ///
    /// # Errors
    /// A frame, or all that is held back, grows beyond its limit.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<Step, FrameTooLarge> {
        match self {
            Self::OpenAi(stream) => stream.push(chunk, out),
            Self::Anthropic(stream) => stream.push(chunk, out),
        }
    }

    /// The provider closed. What is left becomes a last frame; then [`Stream::release`] whatever is held.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Ending {
        match self {
            Self::OpenAi(stream) => stream.finish(out),
            Self::Anthropic(stream) => stream.finish(out),
        }
    }

    /// Lets go what is held back, with `cost_picousd` in the last usage object if there is one and a cost is given.
    /// Afterwards nothing of the provider passes any more. Gives the provider's own `cost` that was replaced.
    pub fn release(&mut self, cost_picousd: Option<i64>, out: &mut Vec<Bytes>) -> Option<Bytes> {
        match self {
            Self::OpenAi(stream) => stream.release(cost_picousd, out),
            Self::Anthropic(stream) => stream.release(cost_picousd, out),
        }
    }

    /// How the stream stands if nothing more comes.
    pub fn ending(&self) -> Ending {
        match self {
            Self::OpenAi(stream) => stream.ending(),
            Self::Anthropic(stream) => stream.ending(),
        }
    }

    /// The usage of the whole answer, as told last.
    pub fn usage(&self) -> Option<&Reading> {
        match self {
            Self::OpenAi(stream) => stream.usage(),
            Self::Anthropic(stream) => stream.usage(),
        }
    }

    /// The input, where it was told before the usage of the whole answer, with no output: the better part of an estimate
    /// when the stream breaks off.
    pub fn input_told(&self) -> Option<Reading> {
        match self {
            Self::OpenAi(_) => None,
            Self::Anthropic(stream) => stream.input_told(),
        }
    }

    /// Why the usage told last is not believed.
    pub fn usage_fault(&self) -> Option<&UsageFault> {
        match self {
            Self::OpenAi(stream) => stream.usage_fault(),
            Self::Anthropic(stream) => stream.usage_fault(),
        }
    }

    /// The usage object told last as it came.
    pub fn usage_raw(&self) -> Option<&Bytes> {
        match self {
            Self::OpenAi(stream) => stream.usage_raw(),
            Self::Anthropic(stream) => stream.usage_raw(),
        }
    }

    /// The first finish reason, in the provider's own word.
    pub fn finish_reason(&self) -> Option<&str> {
        match self {
            Self::OpenAi(stream) => stream.finish_reason(),
            Self::Anthropic(stream) => stream.finish_reason(),
        }
    }

    /// The error that the stream holds.
    pub fn error(&self) -> Option<&Classified> {
        match self {
            Self::OpenAi(stream) => stream.error(),
            Self::Anthropic(stream) => stream.error(),
        }
    }

    /// The provider's id of the answer.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::OpenAi(stream) => stream.id(),
            Self::Anthropic(stream) => stream.id(),
        }
    }

    /// The model that the provider says it is.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::OpenAi(stream) => stream.model(),
            Self::Anthropic(stream) => stream.model(),
        }
    }

    /// The tier that is served, whose prices hold; `None` = not told.
    pub fn service_tier(&self) -> Option<&str> {
        match self {
            Self::OpenAi(stream) => stream.service_tier(),
            Self::Anthropic(stream) => stream.service_tier(),
        }
    }

    /// What the model has written so far, also in frames that are held back.
    pub fn output(&self) -> Output {
        match self {
            Self::OpenAi(stream) => stream.output(),
            Self::Anthropic(stream) => stream.output(),
        }
    }

    /// Whether any output has come: before it, failing over is invisible if the frames so far were not sent on.
    pub fn output_started(&self) -> bool {
        match self {
            Self::OpenAi(stream) => stream.output_started(),
            Self::Anthropic(stream) => stream.output_started(),
        }
    }

    /// Nothing was written, nothing was counted and no reason was given but that it is over.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::OpenAi(stream) => stream.is_empty(),
            Self::Anthropic(stream) => stream.is_empty(),
        }
    }

    /// Frames that were no JSON; they passed.
    pub fn malformed_frames(&self) -> u32 {
        match self {
            Self::OpenAi(stream) => stream.malformed_frames(),
            Self::Anthropic(stream) => stream.malformed_frames(),
        }
    }
}
