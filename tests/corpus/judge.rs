//! Judging: what came of a request against what is to come of its case. Here what both lanes have in common, and the express one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use waybill_model::id::AttemptId;
use waybill_proto::usage::v1::{Event, Kind as EventKind};
use waybill_sandbox::Record;

use crate::ask::{Seen, Way};
use crate::bill::{self, Classes, Row};
use crate::case::{Case, Kind};
use crate::dialect::{Dialect, Pair};
use crate::errors::{self, Expected, Retry};
use crate::reader::{Reading, Usage};
use crate::replay::{self, Traces};
use crate::splice;

/// Something that was not as it is to be.
pub struct Miss {
    pub case: String,
    pub pair: Pair,
    pub way: &'static str,
    pub check: &'static str,
    pub detail: String,
}

/// All that was judged.
#[derive(Default)]
pub struct Verdict {
    /// Times each check was made.
    pub made: BTreeMap<(Pair, &'static str), usize>,
    pub misses: Vec<Miss>,
    /// What the target's dialect cannot say, and what was named to the caller as lost: the cases by check and reason.
    pub beyond: BTreeMap<(Pair, &'static str, String), BTreeSet<String>>,
    /// Cases by the row of arithmetic they needed.
    pub arithmetic: BTreeMap<&'static str, (&'static Row, Vec<String>)>,
}

impl Verdict {
    /// A check that was made.
    pub fn note(&mut self, case: &str, pair: Pair, way: &'static str, check: &'static str, outcome: Result<(), String>) {
        *self.made.entry((pair, check)).or_default() += 1;
        if let Err(detail) = outcome {
            self.misses.push(Miss { case: case.to_owned(), pair, way, check, detail });
        }
    }

    /// What cannot be said in the target's dialect, or was lost by name.
    pub fn beyond(&mut self, case: &str, pair: Pair, check: &'static str, reason: impl Into<String>) {
        self.beyond.entry((pair, check, reason.into())).or_default().insert(case.to_owned());
    }
}

/// Judges every request.
pub fn all(cases: &[Case], seen: &[Seen], traces: &Traces) -> Verdict {
    let mut verdict = Verdict::default();
    for seen in seen {
        Court { case: &cases[seen.ask.case], seen, traces, verdict: &mut verdict }.judge();
    }
    verdict
}

pub struct Court<'a> {
    pub case: &'a Case,
    pub seen: &'a Seen,
    pub traces: &'a Traces,
    pub verdict: &'a mut Verdict,
}

impl Court<'_> {
    fn judge(&mut self) {
        let id = &self.seen.generation;
        self.check("id", if id.starts_with("gen-") { Ok(()) } else { Err(format!("`{id}`")) });
        let is_across = self.pair().is_across();
        if !is_across && self.case.is_senseless() {
            return self.senseless();
        }
        match (&self.case.kind, self.seen.ask.way) {
            (_, Way::Carried | Way::CarriedToGateway) => return self.carried(),
            (Kind::Counted, _) => return self.counted(),
            (Kind::Answer, _) if is_across => self.translated(),
            (Kind::Answer, _) => self.answer(),
            (Kind::Refused(expected), Way::Failover) => self.retry(*expected),
            (Kind::Refused(expected), _) => self.refused(*expected),
            (Kind::Broken(expected), _) => self.broken(*expected),
        }
        let asked = if is_across { self.asked_across().map(drop) } else { self.asked() };
        self.check("request", asked);
    }

    pub const fn pair(&self) -> Pair {
        self.seen.ask.pair
    }

    pub fn check(&mut self, check: &'static str, outcome: Result<(), String>) {
        let (case, pair, way) = (&self.case.id, self.pair(), self.seen.ask.way.name());
        self.verdict.note(case, pair, way, check, outcome);
    }

    pub fn beyond(&mut self, check: &'static str, reason: impl Into<String>) {
        let pair = self.pair();
        self.verdict.beyond(&self.case.id, pair, check, reason);
    }

    /// An answer that is to pass.
    fn answer(&mut self) {
        let (status, body) = (self.seen.answer.head.status, &self.seen.answer.body);
        if status != 200 {
            return self.check("bytes", Err(format!("{status} {}", shown(body))));
        }
        let read = Reading::of(self.case.dialect, self.case.is_sse, body);
        let Some(read) = read else { return self.check("text", Err(format!("not readable: {}", shown(body)))) };
        let classes = self.classes();
        let served = &self.case.served;
        match self.seen.ask.way {
            Way::Shown => {
                let cost = bill::usd(classes.map_or(0, |classes| classes.amount()));
                // A usage that is told in another place than the top level has no room for a cost.
                let has_cost = read.usage_object.is_some();
                let (served, body) = match (self.case.dialect, self.case.is_sse) {
                    (Dialect::OpenAi, true) => (splice::without_nulls(served), body.clone()),
                    (Dialect::OpenAi, false) if has_cost => (served.to_vec(), splice::without_added_fingerprint(served, body)),
                    (Dialect::OpenAi | Dialect::Anthropic, _) => (served.to_vec(), body.clone()),
                };
                let right = if has_cost { splice::is_with_cost(&served, &body, &cost) } else { served == body };
                self.check("cost", if right { Ok(()) } else { Err(format!("cost {cost}: {}", difference(&served, &body))) });
            }
            Way::Unasked => self.same_bytes(&splice::without_usage_frame(served)),
            _ => self.same_bytes(served),
        }
        self.reading(&read);
        if self.seen.ask.way != Way::Unasked {
            let expected = usage(&self.case.expect["usage"]);
            self.check("usage", equal(&read.usage, &expected));
        }
        self.bill(classes);
    }

    /// The one event of an answer that came whole.
    pub fn bill(&mut self, classes: Option<Classes>) {
        let events = self.events();
        self.check("bill", one(&events).and_then(|event| right_end(event, classes, "complete")));
    }

    fn same_bytes(&mut self, expected: &[u8]) {
        let body = &self.seen.answer.body;
        self.check("bytes", if body == expected { Ok(()) } else { Err(difference(expected, body)) });
    }

    fn reading(&mut self, read: &Reading) {
        let expect = &self.case.expect;
        // A reading that does not look there says nothing about it.
        let details = expect.get("reasoning_details").cloned().unwrap_or_else(|| json!(read.reasoning_details));
        let done = expect.get("done_marker").filter(|_| self.case.dialect == Dialect::OpenAi).cloned().unwrap_or(json!(read.done));
        // The frame of usage alone is one event less.
        let events = if self.seen.ask.way == Way::Unasked { Value::Null } else { expect["events"].clone() };
        let parts = [
            ("text", "text", json!(read.text), json!(expected_text(expect, "text"))),
            ("text", "refusal", json!(read.refusal), json!(expected_text(expect, "refusal"))),
            ("reasoning", "reasoning", json!(read.reasoning), json!(expected_text(expect, "reasoning"))),
            ("tool calls", "tool calls", calls_of(read), expected_calls(expect)),
            ("finish", "finish", json!(read.finish), expect["finish"].clone()),
            ("rest", "reasoning_details", json!(read.reasoning_details), details),
            ("rest", "events", if events.is_null() { Value::Null } else { json!(read.events) }, events),
            ("rest", "end mark", json!(read.done), done),
        ];
        for check in ["text", "reasoning", "tool calls", "finish", "rest"] {
            let wrong: Vec<String> = parts
                .iter()
                .filter(|(of, _, seen, expected)| *of == check && seen != expected)
                .map(|(_, name, seen, expected)| format!("{name}: {seen} instead of {expected}"))
                .collect();
            self.check(check, if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) });
        }
    }

    /// What the provider counts passes; where none counts an estimate says that it is one. Nobody bills it.
    fn counted(&mut self) {
        let answer = &self.seen.answer;
        let outcome = if self.pair().is_across() {
            let warning = answer.head.text("x-waybill-warning").unwrap_or_default();
            let count = answer.json().ok().and_then(|body| body["input_tokens"].as_u64()).filter(|count| *count > 0);
            if count.is_some() && warning.starts_with("input_tokens: estimated") { Ok(()) } else { Err(format!("{count:?}, {warning}")) }
        } else {
            equal(&String::from_utf8_lossy(&answer.body), &String::from_utf8_lossy(&self.case.served))
        };
        self.check("count", outcome);
        self.check("bill", equal(&self.events().len(), &0));
    }

    /// Refused before anybody was asked: nothing is owed.
    fn senseless(&mut self) {
        let answer = &self.seen.answer;
        let told = answer.json().map(|body| errors::told(self.pair().caller, answer.head.status, &body)).unwrap_or_default();
        let seen = (answer.head.status, told.error_type.as_deref(), told.is_well_formed);
        self.check("error", equal(&seen, &(400, Some("invalid_request"), true)));
        self.check("bill", equal(&self.events().len(), &0));
    }

    /// An error answer.
    fn refused(&mut self, expected: Expected) {
        let answer = &self.seen.answer;
        let told = answer.json().map(|body| errors::told(self.pair().caller, answer.head.status, &body)).unwrap_or_default();
        let wait = errors::wait(&self.case.headers).filter(|_| expected.retry == Retry::Anywhere);
        let retry_after = answer.head.text("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        let seen =
            (answer.head.status, told.status.unwrap_or(answer.head.status), told.error_type.as_deref(), retry_after, told.is_well_formed);
        let right = (expected.status, expected.status, Some(expected.error_type), wait, true);
        self.check("error", equal(&seen, &right).map_err(|wrong| format!("{wrong} ({}): {}", expected.why, shown(&answer.body))));
        let events = self.events();
        self.check("bill", one(&events).and_then(|event| right_failure(event, &expected)));
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
        self.check("bill", equal(&numbers, &if tried { vec![1, 2] } else { vec![1] }));
    }

    /// An error after output: what was before it, our error, and the end that the caller's dialect has.
    fn broken(&mut self, expected: Expected) {
        let (body, caller) = (&self.seen.answer.body, self.pair().caller);
        let frames = splice::frames(body);
        let at = frames.iter().position(|frame| Reading::stream(caller, frame).error.is_some()).unwrap_or(frames.len());
        let (before, after) = frames.split_at(at);
        let ours = after.first().and_then(|frame| splice::payload(frame)).unwrap_or_default();
        let told = errors::told(caller, expected.status, &ours);
        let seen = (self.seen.answer.head.status, told.status.unwrap_or(expected.status), told.error_type.as_deref(), told.is_well_formed);
        let mut right = equal(&seen, &(200, expected.status, Some(expected.error_type), true));
        right = right.and(match caller {
            Dialect::OpenAi => equal(&ours["choices"][0]["finish_reason"].as_str(), &Some("error"))
                .and(equal(&after.get(1..), &Some(&[&b"data: [DONE]\n\n"[..]][..])).map_err(|_| "no [DONE], or more".to_owned())),
            Dialect::Anthropic => {
                let named = after.first().is_some_and(|frame| frame.starts_with(b"event: error\n"));
                if named && after.len() == 1 { Ok(()) } else { Err(format!("event: error {named}, {} frames from it on", after.len())) }
            }
        });
        if !self.pair().is_across() {
            let expected = &self.case.served[..self.case.error_at()];
            right = right.and(if before.concat() == expected { Ok(()) } else { Err(difference(expected, &before.concat())) });
        }
        self.check("in-band", right.map_err(|wrong| format!("{wrong} ({}): {}", expected.why, shown(&after.concat()))));
        let read = Reading::stream(caller, body);
        let expect = &self.case.expect;
        self.check("text", equal(&read.text.as_str(), &expected_text(expect, "text")));
        self.check("reasoning", equal(&read.reasoning.as_str(), &expected_text(expect, "reasoning")));
        let (classes, events) = (self.classes(), self.events());
        let end = one(&events).and_then(|event| {
            equal(&event.error_type.as_str(), &expected.error_type)?;
            right_end(event, classes, "provider_error")
        });
        self.check("bill", end);
    }

    /// What the bill is to say; `None` where the provider told no usage.
    pub fn classes(&mut self) -> Option<Classes> {
        let usage = usage(&self.case.expect["usage"])?;
        let (classes, row) = Classes::of(self.case.dialect, usage, &self.case.expect["usage_raw"]);
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

    /// The first attempt's request as the provider got it.
    pub fn record(&self) -> Result<&Record, String> {
        let events = self.events();
        let attempt = events.iter().find_map(|event| event.attempt.as_ref().filter(|attempt| attempt.number == 1)).ok_or("no event")?;
        let id: [u8; 16] = attempt.attempt_id.to_vec().try_into().map_err(|_| "an attempt without an id")?;
        self.traces.records.get(&AttemptId::from_bytes(id).to_string()).ok_or_else(|| "the provider does not know the attempt".to_owned())
    }

    /// The provider was asked at its path, with its key where its dialect wants it; what it was asked.
    pub fn asked_across(&self) -> Result<Value, String> {
        let record = self.record()?;
        let got: Value = serde_json::from_slice(&record.body).map_err(|error| error.to_string())?;
        let provider = self.pair().provider;
        let header = |name: &str| record.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let is_keyed = match provider {
            Dialect::OpenAi => header("authorization").is_some_and(|value| value.starts_with("Bearer ")) && header("x-api-key").is_none(),
            Dialect::Anthropic => {
                header("x-api-key").is_some() && header("authorization").is_none() && header("anthropic-version") == Some("2023-06-01")
            }
        };
        let seen = (record.path.ends_with(provider.path()), is_keyed, got["model"].as_str(), got["stream"].as_bool().unwrap_or(false));
        let model = replay::provider_model(&self.seen.ask.model);
        equal(&seen, &(true, true, Some(model.as_str()), self.case.is_stream()))?;
        Ok(got)
    }

    /// The caller's request, with the provider's model, usage asked for, and without what is for gateways where the provider is none.
    fn asked(&self) -> Result<(), String> {
        let got = self.asked_across()?;
        let mut expected = self.seen.ask.body.clone();
        expected["model"] = replay::provider_model(&self.seen.ask.model).into();
        let quirks = self.case.quirks();
        if self.case.is_stream() && !quirks.tells_usage && self.case.dialect == Dialect::OpenAi {
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

pub fn expected_text<'a>(expect: &'a Value, name: &str) -> &'a str {
    expect[name].as_str().unwrap_or_default()
}

/// Snowflake sends an empty `function_call` with every answer; a call without a name is none, whoever reads it as one.
fn named(calls: impl Iterator<Item = Value>) -> Value {
    calls.filter(|call| call["name"] != "").collect()
}

pub fn calls_of(read: &Reading) -> Value {
    named(read.calls.iter().map(|call| json!({ "id": call.id, "name": call.name, "arguments": call.parsed() })))
}

/// The calls of an answer, an id left out where a provider named none: it gets one from the gateway, since the result must name its call.
pub fn without_ids(read: &Reading, expected: &Value) -> Value {
    let mut calls = calls_of(read);
    for (call, expected) in calls.as_array_mut().into_iter().flatten().zip(expected.as_array().into_iter().flatten()) {
        if expected["id"].is_null() && call["id"].as_str().is_some_and(|id| !id.is_empty()) {
            call["id"] = Value::Null;
        }
    }
    calls
}

pub fn expected_calls(expect: &Value) -> Value {
    named(expect["tool_calls"].as_array().cloned().unwrap_or_default().into_iter())
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

pub fn equal<T: PartialEq + std::fmt::Debug>(seen: &T, expected: &T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("{seen:?} instead of {expected:?}")) }
}

/// Where two texts part.
pub fn difference(expected: &[u8], seen: &[u8]) -> String {
    let at = expected.iter().zip(seen).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| shown(bytes.get(at.saturating_sub(30)..).unwrap_or_default());
    format!("they part at byte {at} of {} and {}: expected {}, seen {}", expected.len(), seen.len(), around(expected), around(seen))
}

pub fn shown(bytes: &[u8]) -> String {
    format!("`{}`", String::from_utf8_lossy(&bytes[..bytes.len().min(160)]))
}
