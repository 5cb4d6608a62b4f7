//! A streamed answer, whatever its dialect: how it is shown, where it stands, how it ended.

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
    /// `[DONE]` was seen: price, write the terminal event, [`Stream::release`].
    Done,
}

/// How the provider left the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With `[DONE]`, a finish reason for each answer, or the final usage.
    Complete,
    /// With an error, see [`Stream::error`].
    Failed,
    /// In the middle.
    Truncated,
}

/// The provider breaks a limit; the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's stream holds more than {limit} bytes in one frame or after its usage (limit frame_bytes)")]
pub struct FrameTooLarge {
    pub limit: usize,
}
