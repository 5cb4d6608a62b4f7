//! The ground truth: what the provider was asked and what it sent, kept by the provider itself.
//!
//! A record grows by events. Each event is noted (and, with a file, handed to the kernel) **before** the bytes it speaks of are
//! sent, so whatever a client has seen is in the record, also when the client is killed the moment after. The file holds one
//! event per line as JSON; [`read`] folds the lines back into records.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// Everything known about one request and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// 1 for the first request this provider (or its records file) has seen.
    pub arrival: u64,
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Name and value as received; bytes of a value that are not ASCII are read as Latin-1.
    pub headers: Vec<(String, String)>,
    /// The exact bytes of the request.
    pub body: Bytes,
    /// The `model` field of the request, when the body has one.
    pub model: Option<String>,
    /// Ids of the form `att-…` found in the header values, in order.
    pub attempt_ids: Vec<String>,
    /// Ids of the form `gen-…` found in the header values, in order.
    pub generation_ids: Vec<String>,
    /// The status that was sent; none when the answer broke before it.
    pub status: Option<u16>,
    /// What the call costs by the provider's books.
    pub usage: Option<Usage>,
    /// The last statement of usage that was sent whole.
    pub usage_sent: Option<Usage>,
    /// The stream's own end (`[DONE]`, `message_stop`) was sent.
    pub done_sent: bool,
    /// How the answer ended; none while it runs.
    pub outcome: Option<Outcome>,
    /// Bytes of the answer's body that were handed to the socket; exact once there is an outcome.
    pub body_bytes: u64,
    /// Of these, what the model says, without its wrapping, up to where a stream breaks; 0 for whole answers.
    pub said_bytes: u64,
    /// Microseconds since the Unix epoch, from a clock that never steps back.
    pub arrived_us: u64,
    pub answered_us: Option<u64>,
    pub ended_us: Option<u64>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Sent to its end.
    Ended,
    /// The client went away first (or the provider was stopped first).
    HungUp,
    /// The provider reset the connection on purpose.
    Reset,
    /// The provider closed the connection on purpose, the body unfinished.
    Closed,
}

/// One line of a records file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub arrival: u64,
    pub at_us: u64,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Arrived {
        method: String,
        path: String,
        headers: Vec<(String, String)>,
        body: Text,
    },
    Answering {
        status: u16,
        usage: Option<Usage>,
    },
    Usage {
        usage: Usage,
    },
    Done,
    Over {
        outcome: Outcome,
        body_bytes: u64,
        #[serde(default)]
        said_bytes: u64,
    },
}

/// Bytes in JSON: as a string when they are UTF-8 (then exact), else in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Text {
    Utf8(String),
    Hex(String),
}

impl From<&Bytes> for Text {
    fn from(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Hex(bytes.iter().map(|b| format!("{b:02x}")).collect()),
        }
    }
}

impl Text {
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Utf8(text) => text.into(),
            Self::Hex(hex) => {
                hex.as_bytes().chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
            }
        }
    }
}

impl Record {
    /// The record after one more event.
    pub(crate) fn apply(&mut self, line: Line) {
        self.arrival = line.arrival;
        match line.event {
            Event::Arrived { method, path, headers, body } => {
                let body = body.into_bytes();
                self.attempt_ids = ids(&headers, "att-");
                self.generation_ids = ids(&headers, "gen-");
                self.model = model(&body);
                self.arrived_us = line.at_us;
                (self.method, self.path, self.headers, self.body) = (method, path, headers, body);
            }
            Event::Answering { status, usage } => {
                self.status = Some(status);
                self.usage = usage;
                self.answered_us = Some(line.at_us);
            }
            Event::Usage { usage } => self.usage_sent = Some(usage),
            Event::Done => self.done_sent = true,
            Event::Over { outcome, body_bytes, said_bytes } => {
                self.outcome = Some(outcome);
                (self.body_bytes, self.said_bytes) = (body_bytes, said_bytes);
                self.ended_us = Some(line.at_us);
            }
        }
    }
}

/// The `model` field of a JSON body.
pub(crate) fn model(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        model: String,
    }
    serde_json::from_slice::<Named>(body).ok().map(|named| named.model)
}

/// Ids of 26 lower-case base32 digits behind `prefix`, anywhere in the header values.
fn ids(headers: &[(String, String)], prefix: &str) -> Vec<String> {
    const DIGITS: usize = 26;
    let mut found = Vec::new();
    for (_, value) in headers {
        for (start, _) in value.match_indices(prefix) {
            let id = value.get(start..start + prefix.len() + DIGITS);
            let digits = id.and_then(|id| id.strip_prefix(prefix));
            if digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())) {
                found.extend(id.map(str::to_owned));
            }
        }
    }
    found
}

/// Why a records file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("records file: {0}")]
    Io(#[from] io::Error),
    #[error("records file, line {line}: {source}")]
    Line { line: usize, source: serde_json::Error },
}

/// Reads a records file, also while it is being written: a last line without its end is not there yet.
pub fn read(path: &Path) -> Result<Vec<Record>, Error> {
    fold(&fs::read(path)?)
}

fn fold(file: &[u8]) -> Result<Vec<Record>, Error> {
    let mut records = BTreeMap::<u64, Record>::new();
    let complete = file.iter().rposition(|b| *b == b'\n').map_or(0, |end| end);
    for (index, text) in file[..complete].split(|b| *b == b'\n').enumerate() {
        if text.is_empty() {
            continue;
        }
        let line: Line = serde_json::from_slice(text).map_err(|source| Error::Line { line: index + 1, source })?;
        records.entry(line.arrival).or_default().apply(line);
    }
    Ok(records.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(body: &'static [u8]) -> Line {
        let id = "att-0123456789abcdefghjkmnpqrs";
        let event = Event::Arrived {
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            headers: vec![("x-request-id".into(), format!("{id}; gen-tooshort"))],
            body: (&Bytes::from_static(body)).into(),
        };
        Line { arrival: 7, at_us: 1, event }
    }

    #[test]
    fn lines_fold_into_the_record_they_tell_of() {
        let usage = Usage { prompt: 3, completion: 4, cached: 1, reasoning: 2, cache_write_5m: 5, cache_write_1h: 6 };
        let events = [
            Event::Answering { status: 200, usage: Some(usage) },
            Event::Usage { usage },
            Event::Done,
            Event::Over { outcome: Outcome::Ended, body_bytes: 99, said_bytes: 42 },
        ];
        let later = events.into_iter().map(|event| Line { arrival: 7, at_us: 2, event });
        let mut file = String::new();
        for line in std::iter::once(arrived(b"{\"model\":\"m\"}")).chain(later) {
            file += &serde_json::to_string(&line).unwrap();
            file.push('\n');
        }
        let records = fold(format!("{file}{{\"arrival\":8,\"at").as_bytes()).unwrap();
        let [record] = records.as_slice() else { panic!("one record expected: {records:?}") };
        assert_eq!(record.model.as_deref(), Some("m"));
        assert_eq!(record.attempt_ids, ["att-0123456789abcdefghjkmnpqrs"]);
        assert!(record.generation_ids.is_empty());
        assert_eq!((record.status, record.usage_sent, record.done_sent), (Some(200), Some(usage), true));
        assert_eq!((record.outcome, record.body_bytes, record.said_bytes, record.arrived_us), (Some(Outcome::Ended), 99, 42, 1));
    }

    #[test]
    fn bytes_survive_the_file_exactly() {
        for body in [&b"plain"[..], "ä\n\"\\".as_bytes(), b"\xff\x00\xfe", b""] {
            let line = serde_json::to_string(&arrived(body)).unwrap();
            assert!(!line.contains('\n'));
            let records = fold(format!("{line}\n").as_bytes()).unwrap();
            assert_eq!(records[0].body, body);
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = fold(b"\n{}\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
