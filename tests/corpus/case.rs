//! Cases: what a provider answers, what it is asked with, and what is to come of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waybill_sandbox::Recording;

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
    /// What the caller sends, but for model and options.
    pub body: Value,
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
}

impl Case {
    pub fn quirks(&self) -> Quirks {
        let provider = self.provider.as_str();
        Quirks { is_gateway: GATEWAYS.contains(&provider), tells_usage: TELLS_USAGE.contains(&provider) }
    }

    pub fn is_stream(&self) -> bool {
        self.body.get("stream") == Some(&Value::Bool(true))
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
        frames.iter().take_while(|frame| Reading::stream(frame).error.is_none()).map(|frame| frame.len()).sum()
    }
}

/// All cases of a folder; ids of what the table of errors has no row for.
pub fn all(folder: Folder) -> (Vec<Case>, Vec<String>) {
    let (mut cases, mut unknown) = (Vec::new(), Vec::new());
    let mut keep = |id: String, case: Option<Case>| match case {
        Some(case) => cases.push(case),
        None => unknown.push(id),
    };
    for interaction in folder.chats {
        keep(interaction.id.clone(), recorded(interaction));
    }
    for interaction in folder.foreign_errors {
        let interaction = with_plain_request(interaction);
        keep(interaction.id.clone(), recorded(interaction));
    }
    for wild in &folder.wild {
        for (form, case) in wild_cases(wild) {
            keep(format!("{}-{form}", wild.id), case);
        }
    }
    (cases, unknown)
}

fn recorded(interaction: Interaction) -> Option<Case> {
    let Interaction { id, provider, request, response, expect, .. } = interaction;
    let served = response.bytes();
    let expect = expect.unwrap_or_default();
    let kind = if response.status >= 400 {
        let body = serde_json::from_slice(&served).unwrap_or_else(|_| String::from_utf8_lossy(&served).into());
        Kind::Refused(errors::expected(response.status, &body)?)
    } else {
        kind_of_success(response.is_sse, &served)?
    };
    let (status, headers, is_sse) = (response.status, response.headers, response.is_sse);
    Some(Case { id, provider, body: request.body, status, headers, served, is_sse, kind, expect, is_interaction: true })
}

/// A 2xx answer, which may hold an error.
fn kind_of_success(is_sse: bool, served: &[u8]) -> Option<Kind> {
    let read = if is_sse { Reading::stream(served) } else { Reading::whole(served)? };
    let Some(error) = &read.error else { return Some(Kind::Answer) };
    let expected = errors::expected_in_stream(error)?;
    Some(if is_sse && read.has_output() { Kind::Broken(expected) } else { Kind::Refused(expected) })
}

fn with_plain_request(mut interaction: Interaction) -> Interaction {
    interaction.request.body = plain_request(false);
    interaction
}

fn plain_request(stream: bool) -> Value {
    json!({ "messages": [{ "role": "user", "content": "Is anybody there?" }], "stream": stream })
}

/// What was written before an error broke in.
const BEGUN: &str = "One moment, I am";

fn begun() -> String {
    let chunk = |delta: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": null });
        json!({ "id": "chatcmpl-broken", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice] })
    };
    let (first, second) = BEGUN.split_at(BEGUN.len() / 2);
    let deltas = [json!({ "role": "assistant", "content": "" }), json!({ "content": first }), json!({ "content": second })];
    deltas.into_iter().map(|delta| format!("data: {}\n\n", chunk(delta))).collect()
}

/// A quoted error as an answer to a whole and to a streamed request, as the first thing in a stream, and after output.
fn wild_cases(wild: &WildError) -> Vec<(&'static str, Option<Case>)> {
    let mut cases = Vec::new();
    let event = match (&wild.event, &wild.data) {
        (Some(name), Some(data)) => format!("event: {name}\ndata: {data}\n\n"),
        // An object that does not say `error` is known as an error by the event only.
        _ if wild.body.get("error").is_none() => format!("event: error\ndata: {}\n\n", wild.body),
        _ => format!("data: {}\n\n", wild.body),
    };
    let told = wild.data.as_ref().map_or_else(|| wild.body.clone(), |data| serde_json::from_str(data).unwrap_or_default());
    let case = |form: &str, stream, status, headers: &BTreeMap<String, String>, served: String, is_sse, kind| Case {
        id: format!("{}-{form}", wild.id),
        provider: wild.provider.clone(),
        body: plain_request(stream),
        status,
        headers: headers.clone(),
        served: served.into_bytes(),
        is_sse,
        kind,
        expect: json!({ "text": BEGUN, "usage": null }),
        is_interaction: false,
    };
    if wild.kind != "sse" {
        for (form, stream) in [("whole", false), ("stream", true)] {
            let expected = errors::expected(wild.status, &wild.body).map(Kind::Refused);
            cases.push((form, expected.map(|kind| case(form, stream, wild.status, &wild.headers, wild.body.to_string(), false, kind))));
        }
    }
    let none = BTreeMap::new();
    let expected = errors::expected_in_stream(&told);
    cases.push(("first", expected.map(|error| case("first", true, 200, &none, event.clone(), true, Kind::Refused(error)))));
    cases.push(("after-output", expected.map(|error| case("after-output", true, 200, &none, begun() + &event, true, Kind::Broken(error)))));
    cases
}
