//! A provider that answers as another one once did: recorded status, headers and bytes, by an id in the path.
//!
//! The base URL of a recording is `http://ADDR/r/<id>/v1`; whatever is asked below it is answered with the recording, in any dialect. With
//! [`crate::Options::cut_seed`] the bytes are cut at random positions.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::dialect::Dialect;
use crate::reply::{Marks, Opening, Payload, Reply, Step};
use crate::request::Request;
use crate::server::Respond;

/// Headers that speak of how the bytes travelled then, not of what they are.
const TRAVEL: [HeaderName; 4] = [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING];

/// An answer as it was recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    pub status: StatusCode,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// An event stream: sent chunked, and typed as one if the headers do not say.
    pub is_sse: bool,
}

/// Recordings by id.
#[derive(Clone, Debug, Default)]
pub struct Recordings(HashMap<String, Recording>);

impl Recordings {
    pub fn insert(&mut self, id: impl Into<String>, recording: Recording) {
        self.0.insert(id.into(), recording);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, Recording)> for Recordings {
    fn from_iter<I: IntoIterator<Item = (String, Recording)>>(recordings: I) -> Self {
        Self(recordings.into_iter().collect())
    }
}

impl Respond for Recordings {
    fn respond(&self, request: &Request) -> Reply {
        let id = request.path.strip_prefix("/r/").and_then(|rest| rest.split('/').next());
        match id.and_then(|id| self.0.get(id)) {
            Some(recording) => recording.reply(),
            None => {
                let message = format!("There is no recording for {}.", request.path);
                Dialect::of(request).error(StatusCode::NOT_FOUND, "not_recorded", None, &message)
            }
        }
    }
}

impl Recording {
    fn reply(&self) -> Reply {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else { continue };
            if !TRAVEL.contains(&name) {
                headers.append(name, value);
            }
        }
        let kind = if self.is_sse { "text/event-stream" } else { "application/json" };
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
        let body = match self.is_sse {
            true => Payload::Steps(Box::new(std::iter::once(Step::send(self.body.clone())))),
            false => Payload::Whole(self.body.clone(), Marks::default()),
        };
        Reply { delay: std::time::Duration::ZERO, opening: Opening::Head, status: self.status, headers, body, usage: None }
    }
}
