//! An answer as data: what is sent, when, where it breaks, and what it costs.
//!
//! The model table, scripts and recordings all answer with a [`Reply`]; one server plays it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::usage::Usage;

/// One answer to one request.
pub struct Reply {
    /// How long nothing is sent, not even the status line.
    pub delay: Duration,
    /// Whether there is a status line at all.
    pub opening: Opening,
    pub status: StatusCode,
    /// Without lengths and encodings: the server sets them from the body. A `content-length` given here is sent as it stands.
    pub headers: HeaderMap,
    pub body: Payload,
    /// What the call costs by the provider's books, whether or not the answer says so.
    pub usage: Option<Usage>,
}

/// What happens in place of the status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Status and headers, then the body.
    Head,
    /// Nothing until the client hangs up or the server's stall limit is reached; then the connection is closed.
    Stall,
    /// The connection is reset (HTTP/2: the stream is).
    Reset,
    /// The connection is closed in good order, without a byte.
    Close,
}

/// The body of an answer.
pub enum Payload {
    /// In one piece, with its length in the head.
    Whole(Bytes, Marks),
    /// In steps, chunked.
    Steps(Steps),
}

/// Steps are made while they are played, so that a long stream needs no memory.
pub type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// One step of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These bytes; what they carry is noted before they are handed to the socket.
    Send(Bytes, Marks),
    /// Not before so long after the answer began: an absolute timetable, which a slow reader does not stretch.
    At(Duration),
    /// A rest relative to the step before.
    Pause(Duration),
    /// Until everything so far has been written to the socket, so that the next bytes are a write of their own.
    Flush,
    /// Nothing more until the client hangs up or the server's stall limit is reached; then the connection is closed.
    Stall,
    /// What was sent is written out, then the connection is reset (HTTP/2: the stream is).
    Reset,
    /// What was sent is written out, then the connection is closed with the body unfinished (HTTP/2: the stream is reset).
    Close,
}

/// What some bytes carry, as far as a bill or a client cares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// They complete a statement of usage.
    pub usage: Option<Usage>,
    /// They complete the stream's own end (`[DONE]`, `message_stop`).
    pub done: bool,
    /// Bytes of what the model says that are in them; counted for streams.
    pub said: u64,
}

impl Marks {
    /// Bytes that complete a statement of usage.
    pub fn usage(usage: Usage) -> Self {
        Self { usage: Some(usage), ..Self::default() }
    }

    /// Bytes that complete the stream's own end.
    pub fn done() -> Self {
        Self { done: true, ..Self::default() }
    }

    /// Both, the later statement of usage counting.
    pub(crate) fn and(self, later: Self) -> Self {
        Self { usage: later.usage.or(self.usage), done: self.done || later.done, said: self.said + later.said }
    }
}

impl Step {
    /// Plain bytes.
    pub fn send(bytes: impl Into<Bytes>) -> Self {
        Self::Send(bytes.into(), Marks::default())
    }
}

impl Reply {
    /// A whole JSON answer that states no usage.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::whole(status, "application/json", body, None)
    }

    /// A whole answer of any type; `usage` is what the bytes state and what the call costs.
    pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>, usage: Option<Usage>) -> Self {
        let marks = Marks { usage, ..Marks::default() };
        Self::with(status, content_type, Payload::Whole(body.into(), marks), usage)
    }

    /// An event stream; `usage` is what the call costs, the steps say when it is stated.
    pub fn stream(steps: impl IntoIterator<Item = Step, IntoIter: Send + 'static>, usage: Option<Usage>) -> Self {
        let body = Payload::Steps(Box::new(steps.into_iter()));
        Self::with(StatusCode::OK, "text/event-stream; charset=utf-8", body, usage)
    }

    /// No answer, but something in place of the status line.
    pub fn never(opening: Opening) -> Self {
        Self { opening, ..Self::json(StatusCode::OK, Bytes::new()) }
    }

    /// With one more header; a value that is no header value is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With nothing sent for a while.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// With the call's true cost, which the answer itself need not state.
    pub fn costing(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    fn with(status: StatusCode, content_type: &'static str, body: Payload, usage: Option<Usage>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { delay: Duration::ZERO, opening: Opening::Head, status, headers, body, usage }
    }
}
