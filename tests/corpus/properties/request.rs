//! Requests through the codecs.

use bytes::Bytes;
use serde_json::{Value, json};
use waybill_dialect::neutral::{Carrier, Notice, Prompt, ReasoningControls};
use waybill_dialect::{AsksUsage, Fault, Limits, anthropic, openai};

use crate::carried::{self, Warnings};
use crate::case::{Case, Kind};
use crate::dialect::{Dialect, Pair};
use crate::judge::{Verdict, difference, equal, shown};
use crate::question::{KINDS, Question};

fn read(dialect: Dialect, body: &Bytes) -> Result<Prompt, Fault> {
    match dialect {
        Dialect::OpenAi => openai::read_prompt(body, &Limits::default()),
        Dialect::Anthropic => anthropic::read_prompt(body, &Limits::default()),
    }
}

fn write(dialect: Dialect, prompt: &Prompt, model: &str, gateway: bool) -> Result<(Bytes, Vec<Notice>), Fault> {
    let carrier = Carrier {
        provider_model: model,
        stream: prompt.stream,
        asks_usage: AsksUsage::StreamOptions,
        takes_gateway_fields: gateway,
        max_output: 64_000,
        context_window: 1_000_000,
        // What a gateway's models are steered by is known; of other providers nothing is.
        reasoning: ReasoningControls { effort: gateway, budget: gateway, adaptive: gateway, toggle: gateway },
        parameters: &[],
    };
    match dialect {
        Dialect::OpenAi => openai::write_prompt(prompt, &carrier),
        Dialect::Anthropic => anthropic::write_prompt(prompt, &carrier),
    }
}

pub fn check(case: &Case, verdict: &mut Verdict) {
    let (own, other) = (case.dialect, case.dialect.other());
    let body = Bytes::from(case.body.to_string());
    let model = case.body["model"].as_str().unwrap_or_default();
    let pair = Pair { caller: own, provider: own };
    let prompt = match read(own, &body) {
        Ok(prompt) => prompt,
        // A request that makes no sense in its own dialect: refused with a path, or the provider refused it too.
        Err(fault) if matches!(case.kind, Kind::Refused(_)) || carried::is_refusal(own, &fault.path) => {
            return verdict.beyond(&case.id, pair, "kept", format!("not readable: {fault}"));
        }
        Err(fault) => return verdict.note(&case.id, pair, "codec", "kept", Err(fault.to_string())),
    };
    let kept = write(own, &prompt, model, true).map_err(|fault| fault.to_string()).and_then(|(written, notices)| {
        let written: Value = serde_json::from_slice(&written).map_err(|error| error.to_string())?;
        equal(&notices.len(), &0)?;
        let expected = for_provider(case, model);
        if written == expected { Ok(()) } else { Err(difference(expected.to_string().as_bytes(), written.to_string().as_bytes())) }
    });
    verdict.note(&case.id, pair, "codec", "kept", kept);
    for gateway in [false, true] {
        let (way, pair) = (if gateway { "codec, gateway" } else { "codec" }, Pair { caller: own, provider: other });
        let (there, notices) = match write(other, &prompt, model, gateway) {
            Ok(written) => written,
            Err(fault) if carried::is_refusal(own, &fault.path) => {
                verdict.beyond(&case.id, pair, "request", format!("refused: {fault}"));
                continue;
            }
            Err(fault) => {
                verdict.note(&case.id, pair, way, "request", Err(fault.to_string()));
                continue;
            }
        };
        let warnings = Warnings::of(&notices);
        let (asked, arrived) =
            (Question::read(own, &case.body), Question::read(other, &serde_json::from_slice(&there).unwrap_or_default()));
        for kind in KINDS {
            carried::judge(kind, (&asked, &arrived), &warnings, &case.id, (pair, way), verdict);
        }
        let back = read(other, &there).and_then(|prompt| write(own, &prompt, model, true));
        let back = back.map_err(|fault| format!("what was written is refused: {fault}: {}", shown(&there))).and_then(|(back, more)| {
            let warnings = warnings.and(&more);
            let back = Question::read(own, &serde_json::from_slice(&back).unwrap_or_default());
            KINDS.iter().try_for_each(|kind| carried::compare(kind, asked.facts(kind), back.facts(kind), &warnings).map(drop))
        });
        verdict.note(&case.id, pair, way, "back", back.map_err(|wrong| format!("{wrong} [{}]", warnings.text())));
    }
}

/// The request without what is for the gateway, and with usage asked for in a stream.
fn for_provider(case: &Case, model: &str) -> Value {
    let mut body = case.body.clone();
    body["model"] = model.into();
    if case.dialect == Dialect::OpenAi && case.is_stream() {
        if !body["stream_options"].is_object() {
            body["stream_options"] = json!({});
        }
        body["stream_options"]["include_usage"] = true.into();
    }
    if let Some(members) = body.as_object_mut() {
        let for_gateway = ["models", "provider", "route", "plugins", "usage", "session_id", "trace", "preset", "debug", "transforms"];
        for_gateway.iter().for_each(|name| drop(members.remove(*name)));
    }
    body
}
