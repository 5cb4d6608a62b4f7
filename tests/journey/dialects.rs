//! Callers and providers who speak different dialects, or the same one that is not OpenAI's.

use serde_json::{Value, json};
use waybill_proto::usage::v1::{Kind, Lane, Reason, Source};
use waybill_proxy::Limits;
use waybill_sandbox::{Options, Provider, Reply, Script, Step};
use waybill_tests::{Answer, Request};

use crate::fixture::{CACHED, Fixture, INPUT, OUTPUT};

/// A caller's dialect, by what it sends and how its answers are read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaks {
    Chat,
    Messages,
}

use Speaks::{Chat, Messages};

/// What an answer tells, whatever its dialect and form.
#[derive(Debug, PartialEq)]
struct Told {
    text: String,
    finish: String,
    input: u64,
    output: u64,
    cost: String,
}

impl Speaks {
    fn body(self, model: &str, stream: bool, provider: &Value) -> Value {
        let mut body = json!({
            "model": model, "messages": [{ "role": "user", "content": "Say something." }], "stream": stream, "provider": provider, "max_tokens": 500,
        });
        if self == Chat && stream {
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    }

    fn request(self, fixture: &Fixture, body: &Value) -> Request {
        if self == Chat { fixture.chat(body) } else { fixture.messages(body) }
    }

    fn told(self, answer: &Answer, stream: bool) -> Told {
        match (self, stream) {
            (Chat, false) => {
                let seen = answer.json().expect("JSON");
                let choice = &seen["choices"][0];
                Told { text: text(&choice["message"]["content"]), finish: text(&choice["finish_reason"]), ..usage(&seen["usage"]) }
            }
            (Messages, false) => {
                let seen = answer.json().expect("JSON");
                let said: Vec<String> = seen["content"].as_array().expect("blocks").iter().map(|block| text(&block["text"])).collect();
                Told { text: said.concat(), finish: text(&seen["stop_reason"]), ..usage(&seen["usage"]) }
            }
            (Chat, true) => {
                let mut told = Told { text: String::new(), finish: String::new(), input: 0, output: 0, cost: String::new() };
                let frames = frames(&answer.body);
                assert_eq!(frames.last().map(|(_, data)| data.as_str()), Some("[DONE]"), "{frames:?}");
                for (_, data) in frames.iter().filter(|(_, data)| data != "[DONE]") {
                    let frame: Value = serde_json::from_str(data).expect("JSON");
                    told.text.push_str(&text(&frame["choices"][0]["delta"]["content"]));
                    told.finish.push_str(&text(&frame["choices"][0]["finish_reason"]));
                    if frame["usage"].is_object() {
                        told = Told { text: told.text, finish: told.finish, ..usage(&frame["usage"]) };
                    }
                }
                told
            }
            (Messages, true) => {
                let mut told = Told { text: String::new(), finish: String::new(), input: 0, output: 0, cost: String::new() };
                let frames = frames(&answer.body);
                let names: Vec<&str> = frames.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "ping").collect();
                assert_eq!((names.first(), names.last()), (Some(&"message_start"), Some(&"message_stop")), "{names:?}");
                let mut input = 0;
                for (_, data) in &frames {
                    let event: Value = serde_json::from_str(data).expect("JSON");
                    told.text.push_str(&text(&event["delta"]["text"]));
                    told.finish.push_str(&text(&event["delta"]["stop_reason"]));
                    input = event["message"]["usage"]["input_tokens"].as_u64().unwrap_or(input);
                    if event["type"] == "message_delta" {
                        let last = usage(&event["usage"]);
                        told = Told { text: told.text, finish: told.finish, input: last.input.max(input), ..last };
                    }
                }
                told
            }
        }
    }

    /// The type of an error and the path it names.
    fn error(self, answer: &Value) -> (String, String) {
        let error = &answer["error"];
        match self {
            Chat => (text(&error["metadata"]["error_type"]), text(&error["param"])),
            Messages => {
                assert_eq!(answer["type"], "error", "{answer}");
                assert!(text(&answer["request_id"]).starts_with("gen-"), "{answer}");
                (text(&error["error_type"]), text(&error["metadata"]["param"]))
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn usage(usage: &Value) -> Told {
    let count = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64()).unwrap_or(0);
    Told {
        text: String::new(),
        finish: String::new(),
        input: count(["prompt_tokens", "input_tokens"]),
        output: count(["completion_tokens", "output_tokens"]),
        cost: usage["cost"].to_string(),
    }
}

/// Name and data of every event.
fn frames(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let line = |frame: &str, name: &str| frame.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()));
    text.split("\n\n").filter_map(|frame| line(frame, "data:").map(|data| (line(frame, "event:").unwrap_or_default(), data))).collect()
}

/// A stream of Anthropic's.
fn written(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())).collect()
}

fn only(provider: &str) -> Value {
    json!({ "only": [provider] })
}

#[test]
fn either_caller_is_answered_by_either_provider_whole_and_streamed_and_billed_alike() {
    for (speaks, provider, lane) in [
        (Chat, "here", Lane::Express),
        (Chat, "across", Lane::Translated),
        (Messages, "across", Lane::Express),
        (Messages, "here", Lane::Translated),
    ] {
        for stream in [false, true] {
            let case = format!("{speaks:?} {provider} {stream}");
            let fixture = Fixture::start();
            let request = speaks.body("sandbox/usage-1200-30", stream, &only(provider));
            let answer = fixture.send(&speaks.request(&fixture, &request));
            assert_eq!(answer.head.status, 200, "{case}: {}", String::from_utf8_lossy(&answer.body));
            let kind = answer.head.text("content-type").unwrap_or_default().to_owned();
            assert!(kind.starts_with(if stream { "text/event-stream" } else { "application/json" }), "{case}: {kind}");
            let id = answer.head.text("x-generation-id").expect("an id").to_owned();
            assert_eq!(answer.head.text("request-id"), (speaks == Messages).then_some(&*id), "{case}");
            let told = speaks.told(&answer, stream);
            assert!(told.text.len() > 10, "{case}: {told:?}");
            assert_eq!(told.finish, if speaks == Chat { "stop" } else { "end_turn" }, "{case}");
            // 1200 × 3 USD + 30 × 15 USD, per million.
            assert_eq!((told.input, told.output, told.cost.as_str()), (1200, 30, "0.00405"), "{case}");
            if lane == Lane::Translated && !stream {
                assert_eq!(answer.json().expect("JSON")["id"], json!(id), "{case}: the answer has no id of the provider's");
            }
            let (ends, records) = fixture.ends();
            assert_eq!((ends.len(), records.len()), (1, 1), "{case}");
            assert_eq!((ends[0].kind, ends[0].event.amount_picousd), (Kind::Settled, 1200 * INPUT + 30 * OUTPUT), "{case}");
            let attempt = ends[0].event.attempt.as_ref().expect("an attempt");
            let dialects = [speaks == Messages, provider == "across"].map(|other| if other { "anthropic" } else { "openai" });
            assert_eq!([attempt.caller_dialect.as_str(), attempt.endpoint_dialect.as_str()], dialects, "{case}");
            assert_eq!(attempt.lane(), lane, "{case}");
        }
    }
}

#[test]
fn what_a_translation_leaves_out_is_named() {
    let fixture = Fixture::start();
    let mut request = Chat.body("sandbox/chat", false, &only("across"));
    request["seed"] = json!(7);
    request["temperature"] = json!(1.5);
    let answer = fixture.send(&fixture.chat(&request));
    let warning = answer.head.text("x-waybill-warning").unwrap_or_default().to_owned();
    assert!(warning.contains("seed: ") && warning.contains("temperature: "), "{warning:?}");
    let express = fixture.send(&fixture.chat(&Chat.body("sandbox/chat", false, &only("here"))));
    assert_eq!(express.head.field("x-waybill-warning"), None);
    let (ends, _) = fixture.ends();
    let notices: Vec<u32> = ends.iter().map(|end| end.event.attempt.as_ref().map_or(0, |attempt| attempt.notices)).collect();
    assert_eq!(notices, [2, 0]);
}

#[test]
fn what_cannot_be_carried_goes_to_another_endpoint_or_is_refused_with_its_path() {
    // Two answers at once are more than Anthropic gives.
    let request = |provider: Value| {
        let mut request = Chat.body("sandbox/chat", false, &provider);
        request["n"] = json!(2);
        request
    };
    let fixture = Fixture::start();
    let answer = fixture.send(&fixture.chat(&request(json!({ "order": ["across", "here"] }))));
    assert_eq!(answer.head.status, 200, "{:?}", answer.json());
    // Wherever the only attempt that is allowed was drawn.
    for _ in 0..8 {
        let drawn = json!({ "only": ["across", "here"], "allow_fallbacks": false });
        assert_eq!(fixture.send(&fixture.chat(&request(drawn))).head.status, 200);
    }
    let refused = fixture.send(&fixture.chat(&request(only("across"))));
    assert_eq!(refused.head.status, 400);
    assert_eq!(Chat.error(&refused.json().expect("JSON")), ("invalid_request".to_owned(), "n".to_owned()));
    let refusals = fixture.proxy.as_ref().expect("it runs").refusals().clone();
    let id = refused.head.text("x-generation-id").expect("an id").parse().expect("a generation");
    let remembered = refusals.find(id).expect("remembered");
    let reasons: Vec<Reason> = remembered.decision.candidates.iter().map(|candidate| candidate.reason()).collect();
    assert!(reasons.contains(&Reason::Dialect) && !reasons.contains(&Reason::Planned), "{reasons:?}");
    let (ends, _) = fixture.ends();
    assert_eq!(ends.len(), 9, "nothing is written of what was not sent");
    let attempt = ends[0].event.attempt.as_ref().expect("an attempt");
    assert_eq!((attempt.number, attempt.provider.as_str()), (1, "here"));
    let decision = attempt.decision.as_ref().expect("on the first attempt");
    let told = decision.candidates.iter().find(|candidate| candidate.endpoint.ends_with("@across")).expect("a candidate");
    assert_eq!((told.reason(), told.rank), (Reason::Dialect, 0));
    assert!(told.detail.contains("anthropic") && told.detail.contains('n'), "{}", told.detail);
}

#[test]
fn failing_over_crosses_dialects_in_both_directions() {
    for speaks in [Chat, Messages] {
        for order in [json!(["nowhere", "across"]), json!(["beside", "here"])] {
            let failing = Provider::spawn_thread(
                Options::default(),
                Script::by_model().otherwise(|_| {
                    let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "no room" } });
                    Reply::json(http::StatusCode::from_u16(529).expect("a status"), error.to_string())
                }),
            )
            .expect("a provider");
            let fixture = Fixture::speaking(Limits::default(), Some((&failing.base_url().to_string(), "anthropic")));
            for stream in [false, true] {
                let request = speaks.body("sandbox/chat", stream, &json!({ "order": order, "allow_fallbacks": false }));
                let answer = fixture.send(&speaks.request(&fixture, &request));
                assert_eq!(answer.head.status, 200, "{speaks:?} {order} {stream}");
                assert!(!speaks.told(&answer, stream).text.is_empty(), "{speaks:?} {order} {stream}");
            }
            let (ends, _) = fixture.ends();
            assert_eq!(ends.iter().map(|end| end.kind).collect::<Vec<_>>(), [Kind::Failed, Kind::Settled, Kind::Failed, Kind::Settled]);
        }
    }
}

#[test]
fn errors_come_in_the_callers_dialect_with_one_table_of_statuses() {
    let fixture = Fixture::start();
    for provider in ["here", "across"] {
        for (model, status, error_type) in [
            ("sandbox/error-400", 400, "invalid_request"),
            ("sandbox/error-401", 503, "provider_unavailable"),
            ("sandbox/error-404", 404, "not_found"),
            ("sandbox/error-429", 429, "rate_limit_exceeded"),
            ("sandbox/error-500", 502, "provider_unavailable"),
            ("sandbox/error-529", 503, "provider_overloaded"),
            ("sandbox/empty-answer", 502, "provider_unavailable"),
            ("sandbox/truncated-json", 502, "provider_unavailable"),
        ] {
            for speaks in [Chat, Messages] {
                let answer = fixture.send(&speaks.request(&fixture, &speaks.body(model, false, &only(provider))));
                let case = format!("{speaks:?} {provider} {model}: {:?}", answer.json());
                assert_eq!(answer.head.status, status, "{case}");
                assert_eq!(speaks.error(&answer.json().expect("JSON")).0, error_type, "{case}");
            }
        }
    }
    // Before and beside any call.
    let message = json!([{ "role": "user", "content": "x" }]);
    let post = |path: &str, body: Value| Request::post(path, body.to_string()).field("x-api-key", &fixture.key);
    let rows = [
        (Request::post("/v1/messages", "{}"), 401, "authentication", ""),
        (post("/v1/messages", json!({ "model": "sandbox/chat", "messages": message })), 400, "invalid_request", "max_tokens"),
        (post("/v1/messages", json!({ "model": "sandbox/chat", "max_tokens": 5 })), 400, "invalid_request", "messages"),
        (post("/v1/messages", json!({ "model": "sandbox/none", "messages": message, "max_tokens": 5 })), 404, "not_found", ""),
        (post("/v1/messages/batches", json!({})), 404, "not_found", ""),
        (Request::get("/api/v1/messages").field("x-api-key", &fixture.key), 405, "invalid_request", ""),
        (post("/v1/messages", json!({})).bearer("wb_other"), 401, "authentication", ""),
        (post("/v1/messages", json!({})).field("x-waybill-hop", "0000000000000abc"), 508, "invalid_request", ""),
    ];
    for (request, status, error_type, path) in rows {
        let answer = fixture.send(&request);
        let seen = answer.json().expect("JSON");
        assert_eq!((answer.head.status, Messages.error(&seen)), (status, (error_type.to_owned(), path.to_owned())), "{seen}");
        assert!(answer.head.text("request-id").is_some_and(|id| seen["request_id"] == id), "{seen}");
    }
}

#[test]
fn a_stream_that_breaks_ends_in_the_callers_dialect_and_is_billed_by_what_was_delivered() {
    for (speaks, provider) in [(Chat, "across"), (Messages, "across"), (Messages, "here")] {
        for model in ["sandbox/reset-midway-3", "sandbox/close-midway-3", "sandbox/error-in-200"] {
            let case = format!("{speaks:?} {provider} {model}");
            let fixture = Fixture::start();
            let answer = fixture.send(&speaks.request(&fixture, &speaks.body(model, true, &only(provider))));
            assert_eq!(answer.head.status, 200, "{case}");
            let frames = frames(&answer.body);
            let last: Vec<&(String, String)> = frames.iter().rev().take(2).collect();
            let error = if speaks == Chat {
                assert_eq!(last[0].1, "[DONE]", "{case}: {frames:?}");
                last[1]
            } else {
                assert_eq!(last[0].0, "error", "{case}: {frames:?}");
                last[0]
            };
            let error: Value = serde_json::from_str(&error.1).expect("JSON");
            assert!(!speaks.error(&error).0.is_empty(), "{case}: {error}");
            assert!(!frames.iter().any(|(name, _)| name == "message_stop"), "{case}");
            let (ends, _) = fixture.ends();
            assert_eq!((ends.len(), ends[0].kind), (1, Kind::Partial), "{case}: {:?}", ends[0].event);
            assert!(ends[0].event.amount_picousd > 0, "{case}");
        }
    }
}

#[test]
fn a_stream_out_of_order_is_broken_for_its_caller_and_billed_by_its_usage() {
    let stray = |delta: Value| json!({ "type": "content_block_delta", "index": 7, "delta": delta });
    let end =
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null }, "usage": { "output_tokens": 5 } });
    // In what passes; in what is held back, since a signature is no output.
    let rows = [
        vec![stray(json!({ "type": "input_json_delta", "partial_json": "{\"a\":1}" })), end.clone()],
        vec![end, stray(json!({ "type": "signature_delta", "signature": "c2ln" }))],
    ];
    for stray in rows {
        let begun = [
            json!({ "type": "message_start", "message": { "id": "m", "type": "message", "role": "assistant", "model": "x", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 1 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Yes." } }),
        ];
        let events: Vec<Value> = begun.into_iter().chain(stray).chain([json!({ "type": "message_stop" })]).collect();
        out_of_order(&written(&events));
    }
}

/// Asks for a stream that breaks its order five times, which opens the breaker of its endpoint, and once more.
fn out_of_order(stream: &str) {
    let stream = stream.to_owned();
    let provider = Provider::spawn_thread(
        Options::default(),
        Script::by_model().otherwise(move |_| Reply::stream([Step::send(stream.clone())], None)),
    )
    .expect("a provider");
    let fixture = Fixture::speaking(Limits::default(), Some((&provider.base_url().to_string(), "anthropic")));
    for _ in 0..5 {
        let answer = fixture.send(&fixture.chat(&Chat.body("sandbox/chat", true, &only("beside"))));
        let frames = frames(&answer.body);
        let error: Value = serde_json::from_str(&frames[frames.len() - 2].1).expect("JSON");
        assert_eq!(Chat.error(&error).0, "provider_unavailable", "{frames:?}");
        assert!(frames.iter().all(|(_, data)| !data.contains("\"stop\"")), "{frames:?}");
    }
    // The breaker puts the endpoint behind the one that is asked for second.
    let order = json!({ "order": ["beside", "here"], "allow_fallbacks": false });
    assert_eq!(fixture.send(&fixture.chat(&Chat.body("sandbox/chat", true, &order))).head.status, 200);
    let (ends, _) = fixture.ends();
    let seen: Vec<_> = ends.iter().map(|end| (end.event.outcome.as_str(), end.event.amount_picousd, end.kind)).collect();
    let broken = ("malformed", 10 * INPUT + 5 * OUTPUT, Kind::Settled);
    assert_eq!(seen[..5], [broken; 5], "{seen:?}");
    let last = ends[5].event.attempt.as_ref().expect("an attempt");
    assert_eq!((ends.len(), last.provider.as_str(), last.number), (6, "here", 1), "{seen:?}");
}

#[test]
fn a_caller_of_a_translated_stream_who_hangs_up_pays_for_it() {
    for (speaks, provider) in [(Chat, "across"), (Messages, "here")] {
        let fixture = Fixture::start();
        {
            let mut client = fixture.client();
            let request = speaks.request(&fixture, &speaks.body("sandbox/stream-20x50ms", true, &only(provider)));
            let mut stream = client.open(&request).expect("a stream");
            stream.event().expect("an event").expect("one at least");
        }
        let (ends, records) = fixture.ends();
        assert_eq!(ends.len(), 1, "{provider}");
        assert_eq!((ends[0].kind, ends[0].event.outcome.as_str()), (Kind::Settled, "client_hang_up"), "{provider}");
        let usage = records[0].usage.expect("the sandbox's own books");
        assert_eq!(ends[0].event.amount_picousd, usage.prompt as i64 * INPUT + usage.completion as i64 * OUTPUT, "{provider}");
    }
}

#[test]
fn a_stream_of_anthropics_that_is_left_or_cut_costs_the_input_it_told_and_an_estimate_of_its_output() {
    let usage = |input: u64, cached: u64, tier: &str| json!({ "input_tokens": input, "cache_read_input_tokens": cached, "output_tokens": 1, "service_tier": tier });
    // What the beginning tells, and the input's price; a provider that begins with zeros has told nothing.
    let rows = [
        (usage(10, 100, "standard"), Some((10 * INPUT + 100 * CACHED, 110)), OUTPUT),
        (usage(10, 0, "priority"), Some((2 * 10 * INPUT, 10)), 2 * OUTPUT),
        (usage(0, 0, "standard"), None, OUTPUT),
    ];
    for (usage, input, output) in rows {
        for (speaks, hangs_up) in [(Chat, true), (Messages, true), (Chat, false), (Messages, false)] {
            let case = format!("{speaks:?} {hangs_up} {usage}");
            let events = [
                json!({ "type": "message_start", "message": { "id": "msg-1", "type": "message", "role": "assistant", "model": "x",
                    "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage } }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "123456789" } }),
            ];
            let stream = written(&events);
            let end = if hangs_up { Step::Stall } else { Step::Reset };
            let provider = Provider::spawn_thread(
                Options::default(),
                Script::by_model().otherwise(move |_| Reply::stream([Step::send(stream.clone()), Step::Flush, end.clone()], None)),
            )
            .expect("a provider");
            let fixture = Fixture::speaking(Limits::default(), Some((&provider.base_url().to_string(), "anthropic")));
            {
                let mut client = fixture.client();
                let request = speaks.request(&fixture, &speaks.body("sandbox/chat", true, &only("beside")));
                let mut stream = client.open(&request).expect("a stream");
                while let Some(event) = stream.event().expect("an event") {
                    if hangs_up && event.data.contains("123456789") {
                        break;
                    }
                }
            }
            let (ends, _) = fixture.ends();
            assert_eq!(ends.len(), 1, "{case}");
            let event = &ends[0].event;
            let outcome = if hangs_up { "client_hang_up" } else { "upstream_cut" };
            assert_eq!((ends[0].kind, event.source(), event.outcome.as_str()), (Kind::Partial, Source::Estimated, outcome), "{case}");
            assert_eq!((event.provider_answer_id.as_str(), event.model_served.as_str()), ("msg-1", "x"), "{case}");
            // Nine bytes are three tokens.
            assert_eq!(event.output_tokens, 3, "{case}");
            match input {
                Some((price, tokens)) => assert_eq!((event.amount_picousd, event.input_tokens), (price + 3 * output, tokens), "{case}"),
                None => {
                    let estimate = i64::try_from(event.input_tokens).expect("few") * INPUT;
                    assert_eq!(event.amount_picousd, estimate + 3 * output, "{case}");
                    assert!(event.input_tokens > 20, "a quarter of the request's bytes: {case}");
                }
            }
        }
    }
}

#[test]
fn tokens_are_counted_by_a_provider_that_counts_and_else_estimated_for_nothing() {
    let fixture = Fixture::start();
    let count = |provider: Value| {
        let body = json!({ "model": "sandbox/chat", "messages": [{ "role": "user", "content": "12345" }], "provider": provider });
        let request = Request::post("/v1/messages/count_tokens", body.to_string()).field("x-api-key", &fixture.key);
        fixture.send(&request)
    };
    let counted = count(json!({}));
    let seen = counted.json().expect("JSON");
    assert_eq!(counted.head.status, 200, "{seen}");
    assert!(seen["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0) && seen["estimated"].is_null(), "{seen}");
    assert!(counted.head.field("request-id").is_some());
    let estimated = count(only("here"));
    assert_eq!(estimated.json().expect("JSON"), json!({ "input_tokens": 2, "estimated": true }));
    assert!(estimated.head.text("x-waybill-warning").is_some_and(|warning| warning.contains("estimated")));
    let nobody = count(only("elsewhere"));
    assert_eq!((nobody.head.status, Messages.error(&nobody.json().expect("JSON")).0.as_str()), (404, "not_found"));
    let broken = Request::post("/v1/messages/count_tokens", "{}").field("x-api-key", &fixture.key);
    assert_eq!(fixture.send(&broken).head.status, 400);
    let (ends, _) = fixture.ends();
    assert!(ends.is_empty(), "a count is no attempt: {ends:?}");
}

#[test]
fn a_caller_in_anthropics_dialect_who_is_kept_waiting_is_pinged() {
    let silent = Provider::spawn_thread(
        Options::default(),
        Script::by_model().otherwise(|_| Reply::stream([Step::send(": still here\n\n"), Step::Flush, Step::Stall], None)),
    )
    .expect("a provider");
    let mut limits = Limits::default();
    for limit in ["stall_time=300ms", "keep_alive_time=50ms"] {
        limits.set(limit).expect("a limit");
    }
    let fixture = Fixture::speaking(limits, Some((&silent.base_url().to_string(), "anthropic")));
    for (order, ends_with) in [(json!(["beside", "here"]), "message_stop"), (json!(["beside", "nowhere"]), "error")] {
        let mut request = Messages.body("sandbox/chat", true, &json!({ "order": order, "allow_fallbacks": false }));
        // Named behind the signs of life, where the head has gone.
        request["top_k"] = json!(5);
        let answer = fixture.send(&fixture.messages(&request));
        assert_eq!(answer.head.status, 200);
        let frames = frames(&answer.body);
        assert_eq!(frames.first().map(|(name, _)| name.as_str()), Some("ping"), "{order}");
        assert_eq!(frames.last().map(|(name, _)| name.as_str()), Some(ends_with), "{order}: {frames:?}");
        let warned = String::from_utf8_lossy(&answer.body).contains("\n\n: x-waybill-warning: top_k: ");
        assert_eq!(warned, ends_with == "message_stop", "{order}: {}", String::from_utf8_lossy(&answer.body));
    }
}
