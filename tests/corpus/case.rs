//! Cases: what a provider answers, what it is asked with, and what is to come of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waybill_sandbox::Recording;

use crate::dialect::Dialect;
use crate::errors::{self, Expected};
use crate::folder::{Folder, Interaction, WildError};
use crate::reader::Reading;
use crate::replay::Quirks;
use crate::splice;

/// Providers that are gateways themselves, so that fields for gateways reach them.
const GATEWAYS: [&str; 2] = ["openrouter", "vercel-gateway"];

/// Providers that answer 422 to `stream_options` and tell usage without them.
const TELLS_USAGE: [&str; 1] = ["mistral"];

/// One answer of a provider, asked for in several ways.
pub struct Case {
    pub id: String,
    pub provider: String,
    /// The provider's.
    pub dialect: Dialect,
    /// What the caller sends in the same dialect, but for model and options.
    pub body: Value,
    /// The body was recorded, not made up.
    pub is_request: bool,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub served: Vec<u8>,
    pub is_sse: bool,
    pub kind: Kind,
    /// The independent reading of an answer.
    pub expect: Value,
    /// It is one of the folder's interactions, not made of a quoted error.
    pub is_interaction: bool,
}

/// What comes of a case.
pub enum Kind {
    /// A whole answer or a whole stream.
    Answer,
    /// An error status, or an error as the first thing in a stream: the caller gets an error answer.
    Refused(Expected),
    /// An error after output: the caller gets it in band.
    Broken(Expected),
    /// A count of tokens.
    Counted,
}

impl Case {
    pub fn quirks(&self) -> Quirks {
        let provider = self.provider.as_str();
        Quirks { is_gateway: GATEWAYS.contains(&provider), tells_usage: TELLS_USAGE.contains(&provider) }
    }

    pub fn is_stream(&self) -> bool {
        self.body.get("stream") == Some(&Value::Bool(true))
    }

    /// A turn that is no object: what is read here decides over money, so it is refused before any provider sees it.
    pub fn is_senseless(&self) -> bool {
        self.body["messages"].as_array().is_some_and(|turns| turns.iter().any(|turn| !turn.is_object()))
    }

    pub fn recording(&self) -> Recording {
        Recording {
            status: http::StatusCode::from_u16(self.status).unwrap_or(http::StatusCode::IM_A_TEAPOT),
            headers: self.headers.clone().into_iter().collect(),
            body: self.served.clone().into(),
            is_sse: self.is_sse,
        }
    }

    /// Where the frame of the error begins.
    pub fn error_at(&self) -> usize {
        let frames = splice::frames(&self.served);
        frames.iter().take_while(|frame| Reading::stream(self.dialect, frame).error.is_none()).map(|frame| frame.len()).sum()
    }
}

/// All cases of a folder; ids of what the table of errors has no row for.
pub fn all(folder: Folder) -> (Vec<Case>, Vec<String>) {
    let (mut cases, mut unknown) = (Vec::new(), Vec::new());
    let mut errors: Vec<Quoted> = folder.wild.iter().map(Quoted::of_wild).collect();
    let recorded_errors = folder.spoken.iter().map(|(_, interaction)| interaction).chain(&folder.foreign_errors);
    errors.extend(recorded_errors.filter_map(Quoted::of_recorded));
    let mut keep = |id: String, case: Option<Case>| match case {
        Some(case) => cases.push(case),
        None => unknown.push(id),
    };
    for (dialect, interaction) in folder.spoken {
        keep(interaction.id.clone(), recorded(dialect, interaction, true));
    }
    for (dialect, interaction) in folder.answers {
        keep(interaction.id.clone(), recorded(dialect, interaction, false));
    }
    for interaction in folder.counts {
        let id = interaction.id.clone();
        keep(id, recorded(Dialect::Anthropic, interaction, false).map(|case| Case { kind: Kind::Counted, ..case }));
    }
    for interaction in folder.foreign_errors {
        let request = Dialect::OpenAi.plain_request(false, &[]);
        let interaction = Interaction { request: crate::folder::Asked { body: request }, ..interaction };
        keep(interaction.id.clone(), recorded(Dialect::OpenAi, interaction, false));
    }
    for quoted in &errors {
        for dialect in Dialect::ALL {
            for (form, case) in quoted.cases(dialect) {
                keep(format!("{}-{form}-{}", quoted.id, dialect.name()), case);
            }
        }
    }
    (cases, unknown)
}

fn recorded(dialect: Dialect, interaction: Interaction, is_request: bool) -> Option<Case> {
    let Interaction { id, provider, request, response, expect, .. } = interaction;
    let served = response.bytes();
    let expect = expect.unwrap_or_default();
    let kind = if response.status >= 400 {
        Kind::Refused(errors::expected(response.status, &error_body(&served))?)
    } else {
        kind_of_success(dialect, response.is_sse, &served)?
    };
    let (status, headers, is_sse) = (response.status, response.headers, response.is_sse);
    Some(Case {
        id,
        provider,
        dialect,
        body: request.body,
        is_request,
        status,
        headers,
        served,
        is_sse,
        kind,
        expect,
        is_interaction: true,
    })
}

fn error_body(served: &[u8]) -> Value {
    serde_json::from_slice(served).unwrap_or_else(|_| String::from_utf8_lossy(served).into())
}

/// A 2xx answer, which may hold an error.
fn kind_of_success(dialect: Dialect, is_sse: bool, served: &[u8]) -> Option<Kind> {
    let read = Reading::of(dialect, is_sse, served)?;
    let Some(error) = &read.error else { return Some(Kind::Answer) };
    let expected = errors::expected_in_stream(error)?;
    Some(if is_sse && read.has_output() { Kind::Broken(expected) } else { Kind::Refused(expected) })
}

/// What was written before an error broke in.
const BEGUN: &str = "One moment, I am";

fn begun(dialect: Dialect) -> String {
    let (first, second) = BEGUN.split_at(BEGUN.len() / 2);
    match dialect {
        Dialect::OpenAi => {
            let chunk = |delta: Value| {
                let choice = json!({ "index": 0, "delta": delta, "finish_reason": null });
                json!({ "id": "chatcmpl-broken", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice] })
            };
            let deltas = [json!({ "role": "assistant", "content": "" }), json!({ "content": first }), json!({ "content": second })];
            deltas.into_iter().map(|delta| format!("data: {}\n\n", chunk(delta))).collect()
        }
        Dialect::Anthropic => {
            let usage = json!({ "input_tokens": 5, "output_tokens": 1 });
            let message = json!({
                "id": "msg_broken", "type": "message", "role": "assistant", "model": "m", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": usage,
            });
            let delta = |text: &str| json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } });
            let events = [
                json!({ "type": "message_start", "message": message }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                delta(first),
                delta(second),
            ];
            events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())).collect()
        }
    }
}

/// An error that is served in every form and dialect.
struct Quoted {
    id: String,
    provider: String,
    /// As the whole answer it was; `None` if it was only ever seen inside a stream.
    status: Option<u16>,
    headers: BTreeMap<String, String>,
    body: Value,
    /// Type and payload of the event it was, if it was one.
    event: Option<(String, String)>,
}

impl Quoted {
    fn of_wild(wild: &WildError) -> Self {
        let event = wild.event.clone().zip(wild.data.clone());
        let body = event.as_ref().map_or_else(|| wild.body.clone(), |(_, data)| serde_json::from_str(data).unwrap_or_default());
        let status = (wild.kind != "sse").then_some(wild.status);
        Self { id: wild.id.clone(), provider: wild.provider.clone(), status, headers: wild.headers.clone(), body, event }
    }

    /// A recorded error answer that is JSON.
    fn of_recorded(interaction: &Interaction) -> Option<Self> {
        let response = &interaction.response;
        let body = serde_json::from_slice(&response.bytes()).ok().filter(|_| response.status >= 400)?;
        let (id, provider) = (interaction.id.clone(), interaction.provider.clone());
        Some(Self { id, provider, status: Some(response.status), headers: response.headers.clone(), body, event: None })
    }

    /// The event that tells it in a stream.
    fn frame(&self, dialect: Dialect) -> String {
        let body = &self.body;
        match (&self.event, dialect) {
            (Some((name, data)), _) => format!("event: {name}\ndata: {data}\n\n"),
            (None, Dialect::OpenAi) if body.get("error").is_some() => format!("data: {body}\n\n"),
            // An object that does not say `error` is known as an error by the event only.
            (None, Dialect::OpenAi) => format!("event: error\ndata: {body}\n\n"),
            (None, Dialect::Anthropic) => {
                let mut told = body.clone();
                if told.get("error").is_some() {
                    told["type"] = "error".into();
                }
                format!("event: error\ndata: {told}\n\n")
            }
        }
    }

    /// As an answer to a whole and to a streamed request, as the first thing in a stream, and after output.
    fn cases(&self, dialect: Dialect) -> Vec<(&'static str, Option<Case>)> {
        let case = |form: &str, stream, status, headers: &BTreeMap<String, String>, served: String, is_sse, kind| Case {
            id: format!("{}-{form}-{}", self.id, dialect.name()),
            provider: self.provider.clone(),
            dialect,
            body: dialect.plain_request(stream, &[]),
            is_request: false,
            status,
            headers: headers.clone(),
            served: served.into_bytes(),
            is_sse,
            kind,
            expect: json!({ "text": BEGUN, "usage": null }),
            is_interaction: false,
        };
        let mut cases = Vec::new();
        if let Some(status) = self.status {
            for (form, stream) in [("whole", false), ("stream", true)] {
                let expected = errors::expected(status, &self.body).map(Kind::Refused);
                cases.push((form, expected.map(|kind| case(form, stream, status, &self.headers, self.body.to_string(), false, kind))));
            }
        }
        let none = BTreeMap::new();
        let expected = errors::expected_in_stream(&self.body);
        let frame = self.frame(dialect);
        cases.push(("first", expected.map(|error| case("first", true, 200, &none, frame.clone(), true, Kind::Refused(error)))));
        let late = begun(dialect) + &frame;
        cases.push(("after-output", expected.map(|error| case("after-output", true, 200, &none, late, true, Kind::Broken(error)))));
        cases
    }
}
