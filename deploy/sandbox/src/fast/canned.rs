//! The answers of the fast responder, made once per model name.

use std::fmt::Write as _;
use std::time::Duration;

use http::StatusCode;
use memchr::memmem;
use serde_json::json;

use crate::anthropic;
use crate::dialect::Dialect;
use crate::openai::{self, FINGERPRINT};
use crate::usage::Usage;

mod messages;

/// Chunks a name may ask for at most.
const MAX_CHUNKS: u32 = 100_000;
const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
/// Digits of a send time in microseconds since the Unix epoch, and of a chunk's number.
const STAMP_DIGITS: usize = 16;
const NUMBER_DIGITS: usize = 6;

/// 411: the only framing this responder reads.
pub(super) const LENGTH_REQUIRED: &[u8] = b"HTTP/1.1 411 Length Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A model of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    OneK,
    TenK,
    Large,
    Burst { chunks: u32 },
    Paced { chunks: u32, pace_ms: u32 },
    Idle,
}

/// What is written for a model.
pub(super) enum Answer {
    Bytes(Vec<u8>),
    Paced { head: Vec<u8>, chunk: Stamped, chunks: u32, pace: Duration, end: Vec<u8> },
    Idle { head: Vec<u8> },
}

/// A chunk with room for its number and its send time.
pub(super) struct Stamped {
    bytes: Vec<u8>,
    number_at: usize,
    stamp_at: usize,
}

/// What a call of this model costs, as its answer states.
pub fn usage(model: &str) -> Option<Usage> {
    Name::parse(model.as_bytes()).filter(|name| name.text() == model).map(Name::usage)
}

impl Name {
    /// The model that a request body names, by the first `"bench-` in it.
    pub(super) fn find(body: &[u8]) -> Option<Self> {
        let start = memmem::find(body, b"\"bench-")? + 1;
        let name = body.get(start..)?;
        let end = memchr::memchr(b'"', name)?;
        Self::parse(name.get(..end)?)
    }

    fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name.strip_prefix(b"bench-")?).ok()?;
        let chunks = |text: &str| text.parse().ok().filter(|chunks| *chunks <= MAX_CHUNKS);
        Some(match name {
            "1k" => Self::OneK,
            "10k" => Self::TenK,
            "160k" => Self::Large,
            "idle" => Self::Idle,
            _ => match name.strip_prefix("paced-") {
                None => Self::Burst { chunks: chunks(name.strip_prefix("burst-")?)? },
                Some(paced) => {
                    let (count, pace) = paced.split_once('x')?;
                    Self::Paced { chunks: chunks(count)?, pace_ms: pace.strip_suffix("ms")?.parse().ok()? }
                }
            },
        })
    }

    fn text(self) -> String {
        match self {
            Self::OneK => "bench-1k".to_owned(),
            Self::TenK => "bench-10k".to_owned(),
            Self::Large => "bench-160k".to_owned(),
            Self::Idle => "bench-idle".to_owned(),
            Self::Burst { chunks } => format!("bench-burst-{chunks}"),
            Self::Paced { chunks, pace_ms } => format!("bench-paced-{chunks}x{pace_ms}ms"),
        }
    }

    fn usage(self) -> Usage {
        let (prompt, completion, cached) = match self {
            Self::OneK => (230, 90, 0),
            Self::TenK => (2_400, 2_300, 1_024),
            Self::Large => (40_600, 930, 38_912),
            Self::Burst { chunks } | Self::Paced { chunks, .. } => (230, u64::from(chunks), 0),
            Self::Idle => (230, 1, 0),
        };
        Usage { prompt, completion, cached, ..Usage::default() }
    }

    pub(super) fn answer(self, dialect: Dialect) -> Answer {
        match self {
            Self::OneK => Answer::Bytes(self.whole(dialect, 1 << 10)),
            Self::TenK => Answer::Bytes(self.whole(dialect, 10 << 10)),
            Self::Large => Answer::Bytes(self.whole(dialect, 4 << 10)),
            Self::Burst { chunks } => {
                let mut bytes = self.opening(dialect);
                for number in 1..=chunks {
                    bytes.extend_from_slice(&chunked(&self.chunk(dialect, number, None)));
                }
                bytes.extend_from_slice(&self.ending(dialect));
                Answer::Bytes(bytes)
            }
            Self::Paced { chunks, pace_ms } => Answer::Paced {
                head: self.opening(dialect),
                chunk: self.stamped_chunk(dialect),
                chunks,
                pace: Duration::from_millis(u64::from(pace_ms)),
                end: self.ending(dialect),
            },
            Self::Idle => Answer::Idle { head: [self.opening(dialect), chunked(&self.chunk(dialect, 1, None))].concat() },
        }
    }

    /// A whole answer whose body has exactly `size` bytes.
    fn whole(self, dialect: Dialect, size: usize) -> Vec<u8> {
        if dialect == Dialect::Anthropic {
            return messages::whole(self, size);
        }
        let body = |content: &str| {
            openai::to_bytes(&json!({
                "id": "chatcmpl-sandbox-bench", "object": "chat.completion", "created": 1_790_000_000, "model": self.text(),
                "choices": [{"index": 0, "message": {"role": "assistant", "content": content, "refusal": null},
                    "logprobs": null, "finish_reason": "stop"}],
                "usage": self.usage().object(), "service_tier": "default", "system_fingerprint": FINGERPRINT,
            }))
        };
        json_answer("200 OK", &body(&filler(size.saturating_sub(body("").len()))))
    }

    fn opening(self, dialect: Dialect) -> Vec<u8> {
        if dialect == Dialect::Anthropic {
            return messages::opening(self);
        }
        let delta = r#"{"role":"assistant","content":"","refusal":null}"#;
        [
            STREAM_HEAD.as_bytes(),
            &chunked(&self.frame(&format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]"#), "null", None)),
        ]
        .concat()
    }

    /// The chunk of a number, with a send time in microseconds if there is one.
    fn chunk(self, dialect: Dialect, number: u32, sent_us: Option<u64>) -> String {
        let text = format!(" t{number:0NUMBER_DIGITS$}");
        if dialect == Dialect::Anthropic {
            return messages::chunk(&text, sent_us);
        }
        let choices = format!(r#"[{{"index":0,"delta":{{"content":"{text}"}},"logprobs":null,"finish_reason":null}}]"#);
        self.frame(&choices, "null", sent_us)
    }

    fn stamped_chunk(self, dialect: Dialect) -> Stamped {
        // Digits that occur nowhere else mark the two places.
        let (number, stamp) = (987_654, 9_876_543_210_123_456);
        let bytes = chunked(&self.chunk(dialect, number, Some(stamp)));
        let at = |text: String| memmem::find(&bytes, text.as_bytes()).unwrap_or_default();
        let (number_at, stamp_at) = (at(format!(" t{number}")) + 2, at(stamp.to_string()));
        Stamped { bytes, number_at, stamp_at }
    }

    fn ending(self, dialect: Dialect) -> Vec<u8> {
        if dialect == Dialect::Anthropic {
            return messages::ending(self);
        }
        let finish = self.frame(r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#, "null", None);
        let usage = openai::to_bytes(&self.usage().object());
        let usage = self.frame("[]", &String::from_utf8_lossy(&usage), None);
        let done = String::from_utf8_lossy(openai::DONE);
        [chunked(&finish), chunked(&usage), chunked(&done), b"0\r\n\r\n".to_vec()].concat()
    }

    fn frame(self, choices: &str, usage: &str, sent_us: Option<u64>) -> String {
        let mut frame = format!(
            r#"data: {{"id":"chatcmpl-sandbox-bench","object":"chat.completion.chunk","created":1790000000,"model":"{}","service_tier":"default","system_fingerprint":"{FINGERPRINT}","choices":{choices},"usage":{usage}"#,
            self.text(),
        );
        if let Some(sent_us) = sent_us {
            // Writing to a string cannot fail.
            let _ = write!(frame, r#","sent_us":{sent_us:0STAMP_DIGITS$}"#);
        }
        frame + "}\n\n"
    }
}

impl Stamped {
    pub(super) fn stamped(&self, number: u32, sent_us: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        write_digits(&mut bytes, self.number_at, NUMBER_DIGITS, u64::from(number));
        write_digits(&mut bytes, self.stamp_at, STAMP_DIGITS, sent_us);
        bytes
    }
}

fn write_digits(bytes: &mut [u8], at: usize, digits: usize, mut number: u64) {
    for place in bytes.iter_mut().skip(at).take(digits).rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// So many bytes of text.
fn filler(bytes: usize) -> String {
    "The sandbox speaks. ".chars().cycle().take(bytes).collect()
}

/// One chunk of a chunked body.
fn chunked(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// 404: the body names no model of this responder.
pub(super) fn unknown(dialect: Dialect) -> Vec<u8> {
    let message = "The sandbox finds no model of the benchmark.";
    let body = match dialect {
        Dialect::OpenAi => openai::error_body(StatusCode::NOT_FOUND, "model_not_found", Some("model"), message),
        Dialect::Anthropic => anthropic::error_body(StatusCode::NOT_FOUND, Some("model"), message),
    };
    json_answer("404 Not Found", &body)
}

/// The list of models to try.
pub(super) fn models() -> Vec<u8> {
    let names = [Name::OneK, Name::TenK, Name::Large, Name::Burst { chunks: 200 }, Name::Paced { chunks: 100, pace_ms: 1 }, Name::Idle];
    let data = names.map(|name| json!({"id": name.text(), "object": "model", "created": 0, "owned_by": "waybill-sandbox"}));
    json_answer("200 OK", &openai::to_bytes(&json!({"object": "list", "data": data})))
}

/// How many calls were answered.
pub(super) fn count(answered: u64) -> Vec<u8> {
    json_answer("200 OK", &openai::to_bytes(&json!({"answered": answered})))
}

fn json_answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
