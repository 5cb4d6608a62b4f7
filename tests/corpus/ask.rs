//! Asking: each case in every way that matters, one after another, through the proxy.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use waybill_sandbox::Recording;
use waybill_tests::{Answer, Client, Request};

use crate::case::{Case, Kind};
use crate::replay::{Offer, Played, Quirks, Replay, SPARE, Traces};

const PATIENCE: Duration = Duration::from_secs(30);

/// How a case is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `/v1`, usage asked for, no cost: byte for byte.
    Asked,
    /// `/v1`, usage not asked for, no cost: byte for byte but for the frame of usage alone.
    Unasked,
    /// `/api/v1`, as it was recorded: with its cost.
    Shown,
    /// `/v1`, with a second provider that answers.
    Failover,
}

impl Way {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "/v1",
            Self::Unasked => "/v1 without usage",
            Self::Shown => "/api/v1",
            Self::Failover => "/v1 with a spare",
        }
    }
}

/// One request.
pub struct Ask {
    /// Index of the case.
    pub case: usize,
    pub way: Way,
    pub model: String,
    pub body: Value,
}

/// A request with all that came of it.
pub struct Seen {
    pub ask: Ask,
    pub answer: Answer,
    /// The id the caller was told.
    pub generation: String,
}

/// Asks everything; `rounds` differently cut answers for each way.
pub fn all(cases: &[Case], rounds: u32, seed: u64) -> Result<(Vec<Seen>, Traces)> {
    let asks = plan(cases, rounds);
    let mut played: Vec<Played> = cases
        .iter()
        .enumerate()
        .map(|(at, case)| Played { name: provider(at), recording: case.recording(), quirks: case.quirks() })
        .collect();
    played.extend([false, true].map(|stream| Played { name: spare(stream), recording: spare_answer(stream), quirks: Quirks::default() }));
    let offers: Vec<Offer> = asks.iter().map(|ask| offer(ask, cases)).collect();
    let replay = Replay::start(played, &offers, seed)?;
    let mut client = Client::connect(replay.address(), PATIENCE)?;
    let mut seen = Vec::with_capacity(asks.len());
    for ask in asks {
        let request = request(&ask, &replay.key);
        let answer = match client.send(&request) {
            Ok(answer) => answer,
            // The proxy may close after an error; the next one is asked on a new connection.
            Err(_) => {
                client = Client::connect(replay.address(), PATIENCE)?;
                client.send(&request).with_context(|| format!("{}, {}", cases[ask.case].id, ask.way.name()))?
            }
        };
        let generation = answer.head.text("x-generation-id").unwrap_or_default().to_owned();
        seen.push(Seen { ask, answer, generation });
    }
    Ok((seen, replay.end()?))
}

/// Name of the provider of a case.
pub fn provider(case: usize) -> String {
    format!("recorded-{case}")
}

fn spare(stream: bool) -> String {
    format!("{SPARE}-{}", if stream { "stream" } else { "whole" })
}

fn plan(cases: &[Case], rounds: u32) -> Vec<Ask> {
    let mut asks = Vec::new();
    for (case, recorded) in cases.iter().enumerate() {
        let mut ways = [Way::Asked, Way::Shown].repeat(rounds as usize);
        ways.extend(match recorded.kind {
            Kind::Answer if recorded.is_stream() => Some(Way::Unasked),
            Kind::Refused(_) => Some(Way::Failover),
            Kind::Answer | Kind::Broken(_) => None,
        });
        for way in ways {
            // Each request has a model and an endpoint of its own: no breaker remembers an earlier failure.
            let model = format!("corpus/{}", asks.len());
            let body = body(case, recorded, way, &model);
            asks.push(Ask { case, way, model, body });
        }
    }
    asks
}

fn offer(ask: &Ask, cases: &[Case]) -> Offer {
    let mut providers = vec![provider(ask.case)];
    if ask.way == Way::Failover {
        providers.push(spare(cases[ask.case].is_stream()));
    }
    Offer { model: ask.model.clone(), providers }
}

/// The recorded request with our model; providers it names are ours now, whom it leads to is not what is tested.
fn body(at: usize, case: &Case, way: Way, model: &str) -> Value {
    let mut body = case.body.clone();
    body["model"] = model.into();
    if let Some(preferences) = body.get_mut("provider").and_then(Value::as_object_mut) {
        for name in ["only", "order"] {
            if preferences.contains_key(name) {
                preferences.insert(name.to_owned(), json!([provider(at)]));
            }
        }
        preferences.remove("ignore");
    }
    let members = body.as_object_mut();
    match (way, members) {
        (Way::Asked, _) if case.is_stream() => body["stream_options"] = json!({ "include_usage": true }),
        (Way::Unasked, Some(members)) => {
            members.remove("stream_options");
            members.remove("usage");
        }
        (Way::Failover, Some(members)) => {
            members.insert("provider".to_owned(), json!({ "order": [provider(at)] }));
        }
        _ => {}
    }
    body
}

fn request(ask: &Ask, key: &str) -> Request {
    let path = if ask.way == Way::Shown { "/api/v1/chat/completions" } else { "/v1/chat/completions" };
    let request = Request::post(path, ask.body.to_string()).bearer(key);
    if ask.way == Way::Shown { request } else { request.field("x-waybill-cost", "omit") }
}

fn spare_answer(stream: bool) -> Recording {
    let member = if stream { "delta" } else { "message" };
    let choice = json!({ "index": 0, member: { "role": "assistant", "content": "The spare one." }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4 });
    let answer =
        json!({ "id": "chatcmpl-spare", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage });
    let body = if stream { format!("data: {answer}\n\ndata: [DONE]\n\n") } else { answer.to_string() };
    Recording { status: http::StatusCode::OK, headers: Vec::new(), body: body.into(), is_sse: stream }
}
