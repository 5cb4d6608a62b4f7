//! What prompts and answers are made of.

use super::extension::Extension;
use super::text::{Arguments, Raw, Text};

/// One piece of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub content: Content,
    /// The prompt up to here is worth caching.
    pub cache: Option<Cache>,
    /// Where it stands in the caller's request.
    pub place: Place,
    pub extension: Extension,
}

impl Block {
    pub fn new(content: Content) -> Self {
        Self { content, cache: None, place: Place::default(), extension: Extension::default() }
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text, with what it cites (one dialect's objects, as they were).
    Text {
        text: Text,
        citations: Vec<Raw>,
    },
    Image(Media),
    Document(Media),
    Audio(Media),
    Video(Media),
    ToolCall {
        id: Text,
        name: Text,
        arguments: Arguments,
    },
    ToolResult {
        call_id: Text,
        content: Vec<Block>,
        is_error: bool,
    },
    Reasoning(Reasoning),
    /// The model's words why it does not answer.
    Refusal(Text),
    /// What only the origin's dialect has: a server tool's call or result, a custom tool's call, ….
    Foreign {
        kind: Text,
        raw: Raw,
    },
}

impl Content {
    pub fn text(text: Text) -> Self {
        Self::Text { text, citations: Vec::new() }
    }
}

/// A picture, a document, a sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub source: MediaSource,
    /// File name or title.
    pub title: Option<Text>,
    /// What the document is about, for the model only.
    pub context: Option<Text>,
    /// The model is to cite from it.
    pub citations: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// `image/png` and base64 text.
    Base64 {
        media_type: Text,
        data: Text,
    },
    /// Plain text as a document.
    PlainText(Text),
    Url(Text),
    /// A file that lies at the provider.
    FileId(Text),
    /// A document made of content blocks.
    Blocks(Vec<Block>),
}

/// What the model thought, as far as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// The thoughts themselves. The signature proves to the provider that they are its own; without one some providers refuse them.
    Text { text: Text, signature: Option<Text> },
    /// A summary of them.
    Summary { text: Text },
    /// Thoughts that only the provider can read.
    Encrypted { data: Text },
}

/// A cache marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    pub ttl: Ttl,
    /// The marker as it was spelt.
    pub raw: Raw,
}

/// How long what is cached lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Five minutes, also where nothing is said.
    FiveMinutes,
    OneHour,
    /// Something else, see the spelling.
    Other,
}

/// Where a block stands in the caller's request: cheap to carry, spelt only when something is to be said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is part of an answer.
    #[default]
    Answer,
    /// `system`, or its part `n`.
    System(Option<u32>),
    /// `messages[m].content`, or its part `n`.
    Content { message: u32, part: Option<u32> },
    /// `messages[m].tool_calls[n]`.
    ToolCall { message: u32, call: u32 },
    /// `messages[m]`: what stands beside the content (`reasoning`, `refusal`, …).
    Message(u32),
    /// `messages[m].content[n].content[i]`: inside a tool's result.
    Inner { message: u32, part: u32, inner: u32 },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer => f.write_str("answer"),
            Self::System(None) => f.write_str("system"),
            Self::System(Some(part)) => write!(f, "system[{part}]"),
            Self::Content { message, part: None } => write!(f, "messages[{message}].content"),
            Self::Content { message, part: Some(part) } => write!(f, "messages[{message}].content[{part}]"),
            Self::ToolCall { message, call } => write!(f, "messages[{message}].tool_calls[{call}]"),
            Self::Message(message) => write!(f, "messages[{message}]"),
            Self::Inner { message, part, inner } => write!(f, "messages[{message}].content[{part}].content[{inner}]"),
        }
    }
}
