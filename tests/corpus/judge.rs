//! Judging: what came of a request against what is to come of its case.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waybill_model::id::AttemptId;
use waybill_proto::usage::v1::{Event, Kind as EventKind};

use crate::ask::{Seen, Way};
use crate::bill::{self, Classes, Row};
use crate::case::{Case, Kind};
use crate::errors::{self, Expected, Retry};
use crate::reader::{Reading, Usage};
use crate::replay::{self, Traces};
use crate::splice;

/// What is looked at, with what it means.
pub const CHECKS: [(&str, &str); 10] = [
    ("bytes", "/v1 without cost: the provider's bytes; without usage asked for: all but the frame of usage alone"),
    (
        "cost",
        "/api/v1: the provider's bytes, the right cost in the usage, and what OpenRouter's strict clients need of nulls, nothing else",
    ),
    ("answer", "text, reasoning, refusal, tool calls, finish, events as expected"),
    ("usage", "input, output, cache and reasoning as the caller reads them"),
    ("event", "one terminal event per attempt, with the right kind, lines, totals and amount"),
    ("request", "the provider was asked what the caller asked"),
    ("error", "status, error_type and wait of an error answer"),
    ("retry", "whether another provider is tried"),
    ("in-band", "an error after output: all before it, then our error chunk and [DONE]"),
    ("id", "the answer names its generation"),
];

/// Something that was not as it is to be.
pub struct Miss {
    pub case: String,
    pub way: &'static str,
    pub check: &'static str,
    pub detail: String,
}

/// All that was judged.
#[derive(Default)]
pub struct Verdict {
    /// Times each check was made.
    pub made: BTreeMap<&'static str, usize>,
    pub misses: Vec<Miss>,
    /// Cases by the row of arithmetic they needed.
    pub arithmetic: BTreeMap<&'static str, (&'static Row, Vec<String>)>,
}

/// Judges every request.
pub fn all(cases: &[Case], seen: &[Seen], traces: &Traces) -> Verdict {
    let mut verdict = Verdict::default();
    for seen in seen {
        Court { case: &cases[seen.ask.case], seen, traces, verdict: &mut verdict }.judge();
    }
    verdict
}

struct Court<'a> {
    case: &'a Case,
    seen: &'a Seen,
    traces: &'a Traces,
    verdict: &'a mut Verdict,
}

impl Court<'_> {
    fn judge(&mut self) {
        let id = &self.seen.generation;
        self.check("id", if id.starts_with("gen-") { Ok(()) } else { Err(format!("`{id}`")) });
        match (&self.case.kind, self.seen.ask.way) {
            (Kind::Answer, _) => self.answer(),
            (Kind::Refused(expected), Way::Failover) => self.retry(*expected),
            (Kind::Refused(expected), _) => self.refused(*expected),
            (Kind::Broken(expected), _) => self.broken(*expected),
        }
        let asked = self.asked();
        self.check("request", asked);
    }

    fn check(&mut self, check: &'static str, outcome: Result<(), String>) {
        *self.verdict.made.entry(check).or_default() += 1;
        if let Err(detail) = outcome {
            self.verdict.misses.push(Miss { case: self.case.id.clone(), way: self.seen.ask.way.name(), check, detail });
        }
    }

    /// An answer that is to pass.
    fn answer(&mut self) {
        let (status, body) = (self.seen.answer.head.status, &self.seen.answer.body);
        if status != 200 {
            return self.check("bytes", Err(format!("{status} {}", shown(body))));
        }
        let read = if self.case.is_sse { Some(Reading::stream(body)) } else { Reading::whole(body) };
        let Some(read) = read else { return self.check("answer", Err(format!("not readable: {}", shown(body)))) };
        let classes = self.classes();
        let served = &self.case.served;
        match self.seen.ask.way {
            Way::Shown => {
                let cost = bill::usd(classes.map_or(0, |classes| classes.amount()));
                // A usage that is told in another place than the top level has no room for a cost.
                let has_cost = read.usage_object.is_some();
                let (served, body) = if self.case.is_sse {
                    (splice::without_nulls(served), body.clone())
                } else {
                    (served.to_vec(), if has_cost { splice::without_added_fingerprint(served, body) } else { body.clone() })
                };
                let right = if has_cost { splice::is_with_cost(&served, &body, &cost) } else { served == body };
                self.check("cost", if right { Ok(()) } else { Err(format!("cost {cost}: {}", difference(&served, &body))) });
            }
            Way::Unasked => self.same_bytes(&splice::without_usage_frame(served)),
            Way::Asked | Way::Failover => self.same_bytes(served),
        }
        self.reading(&read);
        if self.seen.ask.way != Way::Unasked {
            let expected = usage(&self.case.expect["usage"]);
            self.check("usage", equal(&read.usage, &expected));
        }
        let events = self.events();
        self.check("event", one(&events).and_then(|event| right_end(event, classes, "complete")));
    }

    fn same_bytes(&mut self, expected: &[u8]) {
        let body = &self.seen.answer.body;
        self.check("bytes", if body == expected { Ok(()) } else { Err(difference(expected, body)) });
    }

    fn reading(&mut self, read: &Reading) {
        let expect = &self.case.expect;
        let text = |name: &str| expect[name].as_str().unwrap_or_default().to_owned();
        let calls: Vec<Value> =
            read.calls.iter().map(|call| json!({ "id": call.id, "name": call.name, "arguments": call.parsed() })).collect();
        // Snowflake sends an empty `function_call` with every answer; a call without a name is none, whoever reads it as one.
        let named = |calls: Vec<Value>| calls.into_iter().filter(|call| call["name"] != "").collect::<Vec<_>>();
        let expected_calls = expect["tool_calls"].as_array().cloned().unwrap_or_default();
        // A reading that does not look there says nothing about it.
        let details = expect.get("reasoning_details").cloned().unwrap_or_else(|| json!(read.reasoning_details));
        // The frame of usage alone is one event less.
        let events = if self.seen.ask.way == Way::Unasked { Value::Null } else { expect["events"].clone() };
        let parts = [
            ("text", json!(read.text), json!(text("text"))),
            ("reasoning", json!(read.reasoning), json!(text("reasoning"))),
            ("refusal", json!(read.refusal), json!(text("refusal"))),
            ("reasoning_details", json!(read.reasoning_details), details),
            ("tool calls", json!(named(calls)), json!(named(expected_calls))),
            ("finish", json!(read.finish), expect["finish"].clone()),
            ("events", if events.is_null() { Value::Null } else { json!(read.events) }, events),
            ("[DONE]", json!(read.done), expect.get("done_marker").cloned().unwrap_or(json!(false))),
        ];
        let wrong: Vec<String> = parts
            .iter()
            .filter(|(_, seen, expected)| seen != expected)
            .map(|(name, seen, expected)| format!("{name}: {seen} instead of {expected}"))
            .collect();
        self.check("answer", if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) });
    }

    /// An error answer.
    fn refused(&mut self, expected: Expected) {
        let answer = &self.seen.answer;
        let error = answer.json().map(|body| body["error"].clone()).unwrap_or_default();
        let wait = errors::wait(&self.case.headers).filter(|_| expected.retry == Retry::Anywhere);
        let seen = (
            answer.head.status,
            error["code"].as_u64(),
            error["metadata"]["error_type"].as_str(),
            answer.head.text("retry-after").and_then(|seconds| seconds.parse::<u64>().ok()),
            error["message"].as_str().is_some_and(|message| !message.is_empty()),
        );
        let right = (expected.status, Some(u64::from(expected.status)), Some(expected.error_type), wait, true);
        self.check("error", equal(&seen, &right).map_err(|wrong| format!("{wrong} ({}): {error}", expected.why)));
        let events = self.events();
        self.check("event", one(&events).and_then(|event| right_failure(event, &expected)));
    }

    /// A provider that refuses, and another one that answers.
    fn retry(&mut self, expected: Expected) {
        let status = self.seen.answer.head.status;
        let tried = expected.retry != Retry::Never;
        let right = status == if tried { 200 } else { expected.status };
        self.check(
            "retry",
            if right { Ok(()) } else { Err(format!("{status}, and the table says {:?}: {}", expected.retry, expected.why)) },
        );
        let events = self.events();
        let numbers: Vec<u32> = events.iter().filter_map(|event| Some(event.attempt.as_ref()?.number)).collect();
        self.check("event", equal(&numbers, &if tried { vec![1, 2] } else { vec![1] }));
    }

    /// An error after output.
    fn broken(&mut self, expected: Expected) {
        let body = &self.seen.answer.body;
        let before = &self.case.served[..self.case.error_at()];
        let frames = splice::frames(body.strip_prefix(before).unwrap_or_default());
        let ours = frames.first().and_then(|frame| splice::payload(frame)).unwrap_or_default();
        let error = &ours["error"];
        let seen = (
            self.seen.answer.head.status,
            frames.len(),
            frames.last() == Some(&&b"data: [DONE]\n\n"[..]),
            error["code"].as_u64(),
            error["metadata"]["error_type"].as_str(),
            ours["choices"][0]["finish_reason"].as_str(),
        );
        let right = (200, 2, true, Some(u64::from(expected.status)), Some(expected.error_type), Some("error"));
        self.check("in-band", equal(&seen, &right).map_err(|wrong| format!("{wrong} ({}): {}", expected.why, difference(before, body))));
        let read = Reading::stream(body);
        let text = |name: &str| self.case.expect[name].as_str().unwrap_or_default();
        self.check("answer", equal(&(read.text.as_str(), read.reasoning.as_str()), &(text("text"), text("reasoning"))));
        let (classes, events) = (self.classes(), self.events());
        let end = one(&events).and_then(|event| {
            equal(&event.error_type.as_str(), &expected.error_type)?;
            right_end(event, classes, "provider_error")
        });
        self.check("event", end);
    }

    /// What the bill is to say; `None` where the provider told no usage.
    fn classes(&mut self) -> Option<Classes> {
        let usage = usage(&self.case.expect["usage"])?;
        let (classes, row) = Classes::of(usage, &self.case.expect["usage_raw"]);
        if let Some(row) = row {
            let cases = &mut self.verdict.arithmetic.entry(row.name).or_insert_with(|| (row, Vec::new())).1;
            if cases.last() != Some(&self.case.id) {
                cases.push(self.case.id.clone());
            }
        }
        Some(classes)
    }

    fn events(&self) -> Vec<Event> {
        self.traces.events.get(&self.seen.generation).cloned().unwrap_or_default()
    }

    /// The first attempt's request as the provider got it: the caller's, with the provider's model, usage asked for, and without what is
    /// for gateways where the provider is none.
    fn asked(&self) -> Result<(), String> {
        let events = self.events();
        let attempt = events.iter().find_map(|event| event.attempt.as_ref().filter(|attempt| attempt.number == 1)).ok_or("no event")?;
        let id: [u8; 16] = attempt.attempt_id.to_vec().try_into().map_err(|_| "an attempt without an id")?;
        let record = self.traces.records.get(&AttemptId::from_bytes(id).to_string()).ok_or("the provider does not know the attempt")?;
        let got: Value = serde_json::from_slice(&record.body).map_err(|error| error.to_string())?;
        let mut expected = self.seen.ask.body.clone();
        expected["model"] = replay::provider_model(&self.seen.ask.model).into();
        let quirks = self.case.quirks();
        if self.case.is_stream() && !quirks.tells_usage {
            if !expected["stream_options"].is_object() {
                expected["stream_options"] = json!({});
            }
            expected["stream_options"]["include_usage"] = true.into();
        }
        if let Some(members) = expected.as_object_mut() {
            // Carried out here, whoever the provider is.
            let mut gone = vec!["models", "route", "plugins", "transforms"];
            if !quirks.is_gateway {
                gone.extend(["provider", "usage", "preset", "debug", "session_id", "trace"]);
            }
            if quirks.tells_usage {
                gone.push("stream_options");
            }
            gone.into_iter().for_each(|name| drop(members.remove(name)));
        }
        if got == expected { Ok(()) } else { Err(difference(expected.to_string().as_bytes(), got.to_string().as_bytes())) }
    }
}

/// The usage of an `expect`.
fn usage(expect: &Value) -> Option<Usage> {
    let count = |name: &str| expect[name].as_u64();
    Some(Usage {
        input: count("input")?,
        output: count("output").unwrap_or(0),
        cache_read: count("cache_read"),
        cache_write: count("cache_write"),
        reasoning: count("reasoning"),
    })
}

fn one(events: &[Event]) -> Result<&Event, String> {
    match events {
        [event] => Ok(event),
        events => Err(format!("{} terminal events", events.len())),
    }
}

/// With usage: settled at it. Without: estimated.
fn right_end(event: &Event, classes: Option<Classes>, outcome: &str) -> Result<(), String> {
    let kind = if classes.is_some() { EventKind::Settled } else { EventKind::Partial };
    equal(&(event.kind(), event.outcome.as_str()), &(kind, outcome))?;
    match classes {
        Some(classes) => classes.compare(event),
        None if event.amount_picousd > 0 => Ok(()),
        None => Err("an estimate of nothing".to_owned()),
    }
}

fn right_failure(event: &Event, expected: &Expected) -> Result<(), String> {
    equal(&(event.kind(), event.amount_picousd, event.error_type.as_str()), &(EventKind::Failed, 0, expected.error_type))
}

fn equal<T: PartialEq + std::fmt::Debug>(seen: &T, expected: &T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("{seen:?} instead of {expected:?}")) }
}

/// Where two texts part.
fn difference(expected: &[u8], seen: &[u8]) -> String {
    let at = expected.iter().zip(seen).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| shown(bytes.get(at.saturating_sub(30)..).unwrap_or_default());
    format!("they part at byte {at} of {} and {}: expected {}, seen {}", expected.len(), seen.len(), around(expected), around(seen))
}

fn shown(bytes: &[u8]) -> String {
    format!("`{}`", String::from_utf8_lossy(&bytes[..bytes.len().min(160)]))
}
