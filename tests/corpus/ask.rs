//! Asking: each case in every way that matters, one after another, through the proxy.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use waybill_sandbox::Recording;
use waybill_tests::{Answer, Client, Request};

use crate::case::{Case, Kind};
use crate::dialect::{Dialect, Pair};
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
    /// `/v1`, the recorded request to a provider of the other dialect, which answers something: what arrives there is looked at.
    Carried,
    /// The same to a provider that knows what OpenRouter adds to OpenAI's requests.
    CarriedToGateway,
    /// How many tokens it has.
    Counted,
}

impl Way {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "/v1",
            Self::Unasked => "/v1 without usage",
            Self::Shown => "/api/v1",
            Self::Failover => "/v1 with a spare",
            Self::Carried => "/v1 carried",
            Self::CarriedToGateway => "/v1 carried to a gateway",
            Self::Counted => "/v1 counted",
        }
    }
}

/// One request.
pub struct Ask {
    /// Index of the case.
    pub case: usize,
    pub way: Way,
    pub pair: Pair,
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
        .map(|(at, case)| Played { name: provider(at), dialect: case.dialect, recording: case.recording(), quirks: case.quirks() })
        .collect();
    for dialect in Dialect::ALL {
        for (stream, is_gateway) in [(false, false), (false, true), (true, false), (true, true)] {
            let quirks = Quirks { is_gateway, ..Quirks::default() };
            played.push(Played { name: spare(dialect, stream, is_gateway), dialect, recording: spare_answer(dialect, stream), quirks });
        }
    }
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

fn spare(dialect: Dialect, stream: bool, is_gateway: bool) -> String {
    format!("{SPARE}-{}-{}{}", dialect.name(), if stream { "stream" } else { "whole" }, if is_gateway { "-gateway" } else { "" })
}

fn plan(cases: &[Case], rounds: u32) -> Vec<Ask> {
    let mut asks = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        if matches!(case.kind, Kind::Counted) {
            for provider in Dialect::ALL {
                push(&mut asks, at, case, Way::Counted, Pair { caller: Dialect::Anthropic, provider });
            }
            continue;
        }
        for caller in Dialect::ALL {
            let pair = Pair { caller, provider: case.dialect };
            for way in ways(case, caller, rounds) {
                push(&mut asks, at, case, way, pair);
            }
        }
        if case.is_request {
            let pair = Pair { caller: case.dialect, provider: case.dialect.other() };
            push(&mut asks, at, case, Way::Carried, pair);
            if pair.provider == Dialect::OpenAi {
                push(&mut asks, at, case, Way::CarriedToGateway, pair);
            }
        }
    }
    asks
}

/// An error that was quoted is short: once is enough.
fn ways(case: &Case, caller: Dialect, rounds: u32) -> Vec<Way> {
    let rounds = if case.is_interaction { rounds } else { 1 };
    let mut ways = [Way::Asked, Way::Shown].repeat(rounds as usize);
    ways.extend(match case.kind {
        // In the other dialect usage is always told.
        Kind::Answer if case.is_stream() && caller == Dialect::OpenAi => Some(Way::Unasked),
        Kind::Refused(_) => Some(Way::Failover),
        Kind::Answer | Kind::Broken(_) | Kind::Counted => None,
    });
    ways
}

fn push(asks: &mut Vec<Ask>, at: usize, case: &Case, way: Way, pair: Pair) {
    // Each request has a model and an endpoint of its own: no breaker remembers an earlier failure.
    let model = format!("corpus/{}", asks.len());
    let body = body(at, case, way, pair, &model);
    asks.push(Ask { case: at, way, pair, model, body });
}

fn offer(ask: &Ask, cases: &[Case]) -> Offer {
    let case = &cases[ask.case];
    let spare = spare(ask.pair.provider, case.is_stream(), ask.way == Way::CarriedToGateway);
    let providers = match ask.way {
        Way::Failover => vec![provider(ask.case), spare],
        Way::Carried | Way::CarriedToGateway => vec![spare],
        Way::Counted if ask.pair.is_across() => vec![spare],
        Way::Asked | Way::Unasked | Way::Shown | Way::Counted => vec![provider(ask.case)],
    };
    Offer { model: ask.model.clone(), providers }
}

/// In its own dialect: the recorded request with our model; providers it names are ours now, whom it leads to is not what is tested. In the
/// other dialect: as little as can be asked.
fn body(at: usize, case: &Case, way: Way, pair: Pair, model: &str) -> Value {
    let mut body = if pair.caller == case.dialect {
        case.body.clone()
    } else {
        let calls = case.expect["tool_calls"].as_array().into_iter().flatten();
        // Some providers put a call of nothing beside their text; no tool is called that, and none could be declared.
        let named = calls.filter_map(|call| call["name"].as_str()).filter(|name| !name.is_empty());
        let mut names: Vec<String> = named.map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        pair.caller.plain_request(case.is_stream(), &names)
    };
    body["model"] = model.into();
    if let Some(preferences) = body.get_mut("provider").and_then(Value::as_object_mut) {
        let leads_to = if way == Way::Carried { spare(pair.provider, case.is_stream(), false) } else { provider(at) };
        for name in ["only", "order"] {
            if preferences.contains_key(name) {
                preferences.insert(name.to_owned(), json!([leads_to]));
            }
        }
        preferences.remove("ignore");
    }
    let members = body.as_object_mut();
    match (way, members) {
        (Way::Asked, _) if case.is_stream() && pair.caller == Dialect::OpenAi => body["stream_options"] = json!({ "include_usage": true }),
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
    let base = if ask.way == Way::Shown { "/api/v1" } else { "/v1" };
    let count = if ask.way == Way::Counted { "/count_tokens" } else { "" };
    let request = Request::post(&format!("{base}{}{count}", ask.pair.caller.path()), ask.body.to_string());
    // Anthropic's clients send a key under its own name, unless they are told to send it as a token.
    let request = match ask.pair.caller {
        Dialect::Anthropic if ask.way != Way::Shown => request.field("x-api-key", key).field("anthropic-version", "2023-06-01"),
        Dialect::OpenAi | Dialect::Anthropic => request.bearer(key),
    };
    if ask.way == Way::Shown { request } else { request.field("x-waybill-cost", "omit") }
}

const SPARE_TEXT: &str = "The spare one.";

fn spare_answer(dialect: Dialect, stream: bool) -> Recording {
    let body = match (dialect, stream) {
        (Dialect::OpenAi, _) => {
            let member = if stream { "delta" } else { "message" };
            let choice = json!({ "index": 0, member: { "role": "assistant", "content": SPARE_TEXT }, "finish_reason": "stop" });
            let usage = json!({ "prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4 });
            let answer =
                json!({ "id": "chatcmpl-spare", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage });
            if stream { format!("data: {answer}\n\ndata: [DONE]\n\n") } else { answer.to_string() }
        }
        (Dialect::Anthropic, false) => json!({
            "id": "msg_spare", "type": "message", "role": "assistant", "model": "m", "content": [{ "type": "text", "text": SPARE_TEXT }],
            "stop_reason": "end_turn", "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 3 },
        })
        .to_string(),
        (Dialect::Anthropic, true) => [
            json!({ "type": "message_start", "message": {
                "id": "msg_spare", "type": "message", "role": "assistant", "model": "m", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 1 },
            } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": SPARE_TEXT } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null }, "usage": { "output_tokens": 3 } }),
            json!({ "type": "message_stop" }),
        ]
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        .collect(),
    };
    Recording { status: http::StatusCode::OK, headers: Vec::new(), body: body.into(), is_sse: stream }
}
