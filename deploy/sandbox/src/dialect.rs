//! The dialects, as far as they differ in errors and in how an answer breaks.

use bytes::Bytes;
use http::StatusCode;

use crate::reply::Reply;
use crate::request::Request;
use crate::{anthropic, openai};

/// In which an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    /// The dialect of a request: its path tells, and where that is of both, the header that Anthropic's clients always send.
    pub(crate) fn of(request: &Request) -> Self {
        let path = request.path.split('?').next().unwrap_or_default();
        let messages = path.ends_with("/messages") || path.ends_with("/messages/count_tokens");
        if messages || request.headers.contains_key(anthropic::VERSION) { Self::Anthropic } else { Self::OpenAi }
    }

    /// An error answer.
    pub(crate) fn error(self, status: StatusCode, code: &str, param: Option<&str>, message: &str) -> Reply {
        match self {
            Self::OpenAi => openai::error(status, code, param, message),
            Self::Anthropic => anthropic::error(status, param, message),
        }
    }

    /// The body of an answer that fails though its status is 200.
    pub(crate) fn midway_error(self) -> Bytes {
        let message = "The sandbox failed after it had begun.";
        match self {
            Self::OpenAi => openai::error_body(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", None, message),
            Self::Anthropic => anthropic::error_body(StatusCode::from_u16(529).unwrap_or_default(), None, message),
        }
    }

    /// A frame of an error inside a stream.
    pub(crate) fn midway_frame(self) -> Bytes {
        let opening: &[u8] = match self {
            Self::OpenAi => b"data: ",
            Self::Anthropic => b"event: error\ndata: ",
        };
        [opening, &self.midway_error(), b"\n\n"].concat().into()
    }

    /// A frame that ends in mid-JSON.
    pub(crate) const fn cut_frame(self) -> &'static str {
        match self {
            Self::OpenAi => "data: {\"id\":\"chatcmpl-sandbox-cut\",\"obj",
            Self::Anthropic => "event: content_block_delta\ndata: {\"type\":\"content_block_del",
        }
    }

    /// A whole frame that is not JSON.
    pub(crate) const fn malformed_frame(self) -> &'static str {
        match self {
            Self::OpenAi => "data: {\"id\":\"chatcmpl-sandbox-malformed\",\"choices\":[{\"index\":0,\n\n",
            Self::Anthropic => "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\n\n",
        }
    }
}
