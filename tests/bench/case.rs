//! What is asked for: the cases and their requests.

use std::fmt::Write as _;

/// A case that is measured in windows of load.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// As on the command line and in the report.
    pub name: &'static str,
    /// The mock's model, which decides about the answer.
    pub model: &'static str,
    /// Length of the request's body, bytes.
    pub request_bytes: usize,
    /// Ask for a stream, with usage.
    pub stream: bool,
    /// Where `model` stands: the SDKs for Python and Node send it after the messages.
    pub model_last: bool,
    /// Requests in flight.
    pub connections: usize,
    /// What is reached for.
    pub reach: Reach,
}

/// What a case reaches for; `None` = the figure is for information.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// CPU of the data plane's threads, as a multiple of the bare proxy's.
    pub data_plane_ratio: Option<f64>,
    /// CPU of the whole process, as a multiple of the bare proxy's.
    pub process_ratio: Option<f64>,
    /// CPU of the data plane's threads for one chunk, µs.
    pub chunk_us: Option<f64>,
    /// What the same costs when it is asked for in the other dialect.
    pub across: Option<Across>,
}

/// What translation reaches for, against the express lane in the same round.
#[derive(Debug, Clone, Copy)]
pub enum Across {
    /// CPU of the data plane's threads, as a multiple.
    Ratio(f64),
    /// More CPU for one chunk, µs.
    ChunkUs(f64),
}

const NO_REACH: Reach = Reach { data_plane_ratio: None, process_ratio: None, chunk_us: None, across: None };

/// All cases of this kind, in the order in which they run.
pub const CASES: [Case; 6] = [
    Case {
        name: "unary-1k",
        model: "bench-1k",
        request_bytes: 1_000,
        stream: false,
        model_last: false,
        connections: 8,
        reach: Reach { data_plane_ratio: Some(1.5), process_ratio: Some(2.5), ..NO_REACH },
    },
    Case {
        name: "unary-10k",
        model: "bench-10k",
        request_bytes: 10_000,
        stream: false,
        model_last: false,
        connections: 8,
        reach: Reach { across: Some(Across::Ratio(2.0)), ..NO_REACH },
    },
    Case {
        name: "unary-160k",
        model: "bench-160k",
        request_bytes: 160_000,
        stream: false,
        model_last: false,
        connections: 8,
        reach: Reach { data_plane_ratio: Some(1.5), across: Some(Across::Ratio(3.0)), ..NO_REACH },
    },
    Case {
        name: "unary-160k-model-last",
        model: "bench-160k",
        request_bytes: 160_000,
        stream: false,
        model_last: true,
        connections: 8,
        reach: Reach { data_plane_ratio: Some(1.5), ..NO_REACH },
    },
    Case {
        name: "burst-200",
        model: "bench-burst-200",
        request_bytes: 1_000,
        stream: true,
        model_last: false,
        connections: 8,
        reach: Reach { chunk_us: Some(3.0), across: Some(Across::ChunkUs(2.0)), ..NO_REACH },
    },
    Case {
        name: "paced-100x1ms",
        model: "bench-paced-100x1ms",
        request_bytes: 1_000,
        stream: true,
        model_last: false,
        connections: 32,
        reach: NO_REACH,
    },
];

impl Case {
    /// The request's body, in which the model is called `model`.
    pub fn body(&self, model: &str) -> String {
        body(model, self.request_bytes, self.stream, self.model_last)
    }

    /// The same in Anthropic's dialect.
    pub fn messages_body(&self, model: &str) -> String {
        messages_body(model, self.request_bytes, self.stream)
    }
}

/// A chat of the given size whose text looks like what people send: prose, code, line breaks, quotes. The size is met to the byte.
pub fn body(model: &str, bytes: usize, stream: bool, model_last: bool) -> String {
    let settings = if stream {
        r#""temperature":0.7,"max_tokens":1024,"stream":true,"stream_options":{"include_usage":true}"#
    } else {
        r#""temperature":0.7,"max_tokens":1024"#
    };
    let (before, after) = if model_last {
        (r#"{"messages":["#.to_owned(), format!(r#"],{settings},"model":"{model}"}}"#))
    } else {
        (format!(r#"{{"model":"{model}",{settings},"messages":["#), "]}".to_owned())
    };
    filled(before, &after, bytes, "system")
}

/// The same in Anthropic's dialect, whose system prompt stands beside the messages.
pub fn messages_body(model: &str, bytes: usize, stream: bool) -> String {
    let mut before = format!(r#"{{"model":"{model}","temperature":0.7,"max_tokens":1024,"stream":{stream},"system":""#);
    prose(&mut before, 200);
    before.push_str(r#"","messages":["#);
    filled(before, "]}", bytes, "user")
}

/// Messages of text between `before` and `after`, all together of the given size; the roles of those after the first take turns.
fn filled(before: String, after: &str, bytes: usize, first: &'static str) -> String {
    let mut text = before;
    let end = bytes.saturating_sub(after.len());
    let mut role = first;
    loop {
        write!(text, r#"{{"role":"{role}","content":""#).ok();
        // The last message takes what is left, so that none is too short to hold its own frame.
        let left = end.saturating_sub(text.len() + 2);
        let length = if left > 3_000 { 2_000 } else { left };
        prose(&mut text, length);
        text.push_str("\"}");
        if length == left {
            break;
        }
        text.push(',');
        role = if role == "user" { "assistant" } else { "user" };
    }
    text + after
}

/// Appends this many bytes of text, escaped as in JSON.
fn prose(text: &mut String, bytes: usize) {
    const PHRASES: [&str; 8] = [
        "The shipment left the warehouse on Tuesday and should arrive before noon. ",
        "Please summarise the attached minutes in three short paragraphs, in plain language. ",
        "She said \\\"not before Friday\\\" and hung up; nobody had asked for the price. ",
        "\\n\\nfn total(lines: &[Line]) -> i64 {\\n    lines.iter().map(|line| line.amount).sum()\\n}\\n\\n",
        "Compare both offers by cost, delivery time and risk, then recommend one. ",
        "| item | units | price |\\n|---|--:|--:|\\n| paper | 500 | 4.20 |\\n",
        "An answer that is long but wrong helps less than a short one that is right. ",
        "It rained for nine days, and on the tenth the bridge was closed to lorries. ",
    ];
    let end = text.len() + bytes;
    let mut turn = text.len();
    loop {
        let phrase = PHRASES.get(turn % PHRASES.len()).copied().unwrap_or_default();
        if text.len() + phrase.len() > end {
            break;
        }
        text.push_str(phrase);
        turn = turn.wrapping_mul(31).wrapping_add(7);
    }
    while text.len() < end {
        text.push('.');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_chat_of_its_size() {
        for case in CASES {
            let text = case.body("bench/some-model");
            assert_eq!(text.len(), case.request_bytes, "{}", case.name);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["model"], "bench/some-model");
            assert_eq!(value["stream"].as_bool().unwrap_or(false), case.stream);
            assert!(value["messages"].as_array().unwrap().iter().all(|message| !message["content"].as_str().unwrap().is_empty()));
            assert_eq!(text.ends_with(r#""model":"bench/some-model"}"#), case.model_last);
            let text = case.messages_body("bench/some-model");
            assert_eq!(text.len(), case.request_bytes, "{}", case.name);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["messages"][0]["role"], "user");
            assert_eq!(value["stream"], case.stream);
        }
    }
}
