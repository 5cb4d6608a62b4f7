//! What a model wrote, in bytes.

/// Output as UTF-8 bytes of what the model wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub text: u64,
    pub reasoning: u64,
    /// Names and arguments of tool calls.
    pub tool_calls: u64,
    /// Sound or pictures, which are not counted in bytes of text.
    pub has_media: bool,
    /// An encrypted thought or the result of a provider's own tool, which no one can count.
    pub has_opaque: bool,
    /// A tool call was there, even one of no bytes.
    pub has_tool_calls: bool,
}

impl Output {
    pub fn bytes(&self) -> u64 {
        self.text + self.reasoning + self.tool_calls
    }

    pub fn is_empty(&self) -> bool {
        self.bytes() == 0 && !self.has_media && !self.has_opaque && !self.has_tool_calls
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.text += other.text;
        self.reasoning += other.reasoning;
        self.tool_calls += other.tool_calls;
        self.has_media |= other.has_media;
        self.has_opaque |= other.has_opaque;
        self.has_tool_calls |= other.has_tool_calls;
    }
}
