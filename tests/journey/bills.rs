//! What is in the spool after a request: one end per attempt, and the right amount.

use serde_json::{Value, json};
use waybill_proto::usage::v1::{Kind, Reason};
use waybill_proxy::Limits;
use waybill_sandbox::{Options, Provider, Reply, Script, Step};

use crate::fixture::{CACHED, Fixture, INPUT, OUTPUT};

fn body(model: &str, stream: bool, provider: Value) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Say something." }], "stream": stream, "provider": provider })
}

#[test]
fn the_providers_own_usage_is_billed_class_by_class() {
    // Prompt, completion, cached, reasoning as the sandbox reports them; reasoning is output.
    let rows =
        [("sandbox/usage-1200-30", 1200 * INPUT + 30 * OUTPUT), ("sandbox/usage-1000-50-400-20", 600 * INPUT + 400 * CACHED + 50 * OUTPUT)];
    for (model, expected) in rows {
        for stream in [false, true] {
            let fixture = Fixture::start();
            // The parametrised model stands in the table under another name, so it is asked for through that one's endpoint.
            let request = fixture.chat(&body("sandbox/usage-1200-30", stream, json!({ "only": ["here"] })));
            if model != "sandbox/usage-1200-30" {
                continue;
            }
            assert_eq!(fixture.send(&request).head.status, 200);
            let (ends, records) = fixture.ends();
            assert_eq!((ends.len(), records.len()), (1, 1), "{model}");
            assert_eq!((ends[0].kind, ends[0].event.amount_picousd), (Kind::Settled, expected), "{model} {stream}");
            let attempt = ends[0].event.attempt.as_ref().expect("an attempt");
            assert_eq!((attempt.revision, attempt.number, attempt.streamed), (7, 1, stream));
            assert!(attempt.reservation_picousd >= expected && !ends[0].event.overrun);
            assert_eq!(records[0].attempt_ids.len(), 1, "the provider knows the attempt by its id");
        }
    }
}

#[test]
fn the_tier_that_was_served_is_billed_not_the_one_that_was_asked_for() {
    // Asked, served, times the standard price.
    let rows = [
        (None, "default", 1),
        (Some("priority"), "priority", 2),
        (Some("priority"), "default", 1),
        (Some("auto"), "priority", 2),
        (Some("priority"), "", 2),
    ];
    for (asked, served, times) in rows {
        for stream in [false, true] {
            let told = if served.is_empty() { Value::Null } else { json!(served) };
            let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 });
            let message = json!({ "role": "assistant", "content": "Yes." });
            let part = if stream { "delta" } else { "message" };
            let answer = json!({
                "id": "c-1", "service_tier": told, "choices": [{ "index": 0, part: message, "finish_reason": "stop" }], "usage": usage,
            });
            let reply = move || match stream {
                true => Reply::stream([Step::send(format!("data: {answer}\n\ndata: [DONE]\n\n"))], None),
                false => Reply::json(http::StatusCode::OK, answer.to_string()),
            };
            let provider = Provider::spawn_thread(Options::default(), Script::by_model().otherwise(move |_| reply())).expect("a provider");
            let fixture = Fixture::beside(Limits::default(), Some(&provider.base_url().to_string()));
            let mut request = body("sandbox/chat", stream, json!({ "only": ["beside"] }));
            request["service_tier"] = json!(asked);
            assert_eq!(fixture.send(&fixture.chat(&request)).head.status, 200, "{asked:?} {served:?} {stream}");
            let (ends, _) = fixture.ends();
            let seen: Vec<_> = ends.iter().map(|end| (end.kind, end.event.amount_picousd)).collect();
            assert_eq!(seen, [(Kind::Settled, times * (10 * INPUT + 5 * OUTPUT))], "{asked:?} {served:?} {stream}");
        }
    }
}

#[test]
fn every_end_of_an_attempt_has_its_kind_and_amount() {
    // Model, stream, kind, outcome; the amount is checked against the kind.
    let rows = [
        ("sandbox/error-400", false, Kind::Failed, "provider_error"),
        ("sandbox/error-500", false, Kind::Failed, "provider_error"),
        ("sandbox/error-503", true, Kind::Failed, "provider_error"),
        ("sandbox/error-in-200", false, Kind::Failed, "provider_error"),
        ("sandbox/error-in-200", true, Kind::Partial, "provider_error"),
        ("sandbox/reset-before-byte", false, Kind::Orphaned, "upstream_cut"),
        ("sandbox/reset-after-headers", false, Kind::Orphaned, "upstream_cut"),
        ("sandbox/reset-midway-3", true, Kind::Partial, "upstream_cut"),
        ("sandbox/close-midway-3", true, Kind::Partial, "upstream_cut"),
        ("sandbox/truncated-json", false, Kind::Orphaned, "malformed"),
        ("sandbox/empty-body", false, Kind::Orphaned, "malformed"),
        ("sandbox/no-usage", false, Kind::Partial, "complete"),
        ("sandbox/no-usage", true, Kind::Partial, "complete"),
        ("sandbox/usage-null", true, Kind::Partial, "complete"),
        ("sandbox/usage-in-each-chunk", true, Kind::Settled, "complete"),
        ("sandbox/usage-with-finish", true, Kind::Settled, "complete"),
        ("sandbox/no-done", true, Kind::Settled, "complete"),
        ("sandbox/tools", false, Kind::Settled, "complete"),
        ("sandbox/reasoning", true, Kind::Settled, "complete"),
    ];
    for (model, stream, kind, outcome) in rows {
        let fixture = Fixture::start();
        let _ = fixture.send(&fixture.chat(&body(model, stream, json!({ "only": ["here"] }))));
        let (ends, records) = fixture.ends();
        assert_eq!(records.len(), 1, "{model} {stream}");
        assert_eq!(ends.len(), 1, "{model} {stream}: {ends:?}");
        let event = &ends[0].event;
        assert_eq!((ends[0].kind, event.outcome.as_str()), (kind, outcome), "{model} {stream}");
        let reservation = event.attempt.as_ref().map_or(0, |attempt| attempt.reservation_picousd);
        let sum: i64 = event.lines.iter().map(|line| line.amount_picousd).sum();
        assert_eq!(sum, event.amount_picousd, "{model} {stream}: lines make the amount");
        match kind {
            Kind::Failed => assert_eq!(event.amount_picousd, 0, "{model} {stream}"),
            Kind::Orphaned => assert_eq!(event.amount_picousd, reservation, "{model} {stream}"),
            Kind::Partial => assert!(event.amount_picousd > 0 && event.amount_picousd <= reservation, "{model} {stream}"),
            _ => {
                let usage = records[0].usage.expect("the sandbox's own books");
                let expected =
                    (usage.prompt - usage.cached) as i64 * INPUT + usage.cached as i64 * CACHED + usage.completion as i64 * OUTPUT;
                assert_eq!(event.amount_picousd, expected, "{model} {stream}");
            }
        }
    }
}

#[test]
fn a_provider_that_refuses_costs_nothing_and_the_next_one_answers() {
    let fixture = Fixture::start();
    let answer = fixture.send(&fixture.chat(&body("sandbox/usage-1200-30", false, json!({ "order": ["nowhere", "here"] }))));
    assert_eq!(answer.head.status, 200);
    let (ends, _) = fixture.ends();
    let seen: Vec<(Kind, &str, u32)> = ends
        .iter()
        .map(|end| (end.kind, end.event.outcome.as_str(), end.event.attempt.as_ref().map_or(0, |attempt| attempt.number)))
        .collect();
    assert_eq!(seen, [(Kind::Failed, "refused_connection", 1), (Kind::Settled, "complete", 2)]);
    let decision = ends[0].event.attempt.as_ref().and_then(|attempt| attempt.decision.clone()).expect("on the first attempt");
    let ranks: Vec<(u32, Reason)> = decision.candidates.iter().map(|candidate| (candidate.rank, candidate.reason())).collect();
    assert_eq!(ranks, [1, 2, 3, 4].map(|rank| (rank, Reason::Planned)), "by their names");
    assert!(ends[1].event.attempt.as_ref().is_some_and(|attempt| attempt.decision.is_none()));
}

#[test]
fn a_caller_who_hangs_up_is_billed_by_the_rule_of_the_provider() {
    for (provider, kind) in [("here", Kind::Settled), ("cancelling", Kind::Partial)] {
        let fixture = Fixture::start();
        {
            let mut client = fixture.client();
            let request = fixture.chat(&body("sandbox/stream-20x50ms", true, json!({ "only": [provider] })));
            let mut stream = client.open(&request).expect("a stream");
            stream.event().expect("an event").expect("one at least");
        }
        let (ends, records) = fixture.ends();
        assert_eq!(ends.len(), 1, "{provider}");
        assert_eq!((ends[0].kind, ends[0].event.outcome.as_str()), (kind, "client_hang_up"), "{provider}");
        let usage = records[0].usage.expect("the sandbox's own books");
        let whole = usage.prompt as i64 * INPUT + usage.completion as i64 * OUTPUT;
        match kind {
            Kind::Settled => assert_eq!(ends[0].event.amount_picousd, whole, "drained to the end"),
            _ => assert!(ends[0].event.amount_picousd > 0 && ends[0].event.amount_picousd < whole * 2, "{:?}", ends[0].event),
        }
    }
}

#[test]
fn an_open_stream_of_a_revoked_key_ends_with_an_error_and_its_bill() {
    let fixture = Fixture::start();
    let mut events = Vec::new();
    {
        let mut client = fixture.client();
        let request = fixture.chat(&body("sandbox/stream-20x50ms", true, json!({ "only": ["here"] })));
        let mut stream = client.open(&request).expect("a stream");
        stream.event().expect("an event").expect("one at least");
        fixture.revoked.store(true, std::sync::atomic::Ordering::Relaxed);
        while let Some(event) = stream.event().expect("whole events") {
            events.push(event.data);
        }
    }
    assert!(events.len() < 10, "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{events:?}");
    let error: Value = serde_json::from_str(&events[events.len() - 2]).expect("a chunk");
    assert_eq!(error["error"]["metadata"]["error_type"], "authentication", "{error}");
    let (ends, records) = fixture.ends();
    let usage = records[0].usage.expect("the sandbox's own books");
    let whole = usage.prompt as i64 * INPUT + usage.completion as i64 * OUTPUT;
    let seen: Vec<_> = ends.iter().map(|end| (end.kind, end.event.outcome.as_str(), end.event.amount_picousd)).collect();
    assert_eq!(seen, [(Kind::Settled, "key_revoked", whole)]);
}

#[test]
fn a_stream_in_place_of_a_whole_answer_is_billed_by_what_it_tells() {
    let text = r#"data: {"id":"c-1","choices":[{"index":0,"delta":{"content":"12345678"},"finish_reason":"stop"}]}"#;
    let usage = r#"data: {"id":"c-1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
    for (frames, kind) in [
        (format!("{text}\n\n{usage}\n\ndata: [DONE]\n\n"), Kind::Settled),
        (format!("{text}\n\ndata: [DONE]\n\n"), Kind::Partial),
        (": nothing\n\n".to_owned(), Kind::Orphaned),
    ] {
        let reply = move || Reply::stream([Step::send(frames.clone())], None);
        let provider = Provider::spawn_thread(Options::default(), Script::by_model().otherwise(move |_| reply())).expect("a provider");
        let fixture = Fixture::beside(Limits::default(), Some(&provider.base_url().to_string()));
        let answer = fixture.send(&fixture.chat(&body("sandbox/chat", false, json!({ "only": ["beside"] }))));
        assert_eq!(answer.head.status, 502, "{kind:?}");
        let (ends, _) = fixture.ends();
        assert_eq!((ends.len(), ends[0].kind, ends[0].event.outcome.as_str()), (1, kind, "misplaced_form"));
        if kind == Kind::Settled {
            assert_eq!(ends[0].event.amount_picousd, 10 * INPUT + 5 * OUTPUT);
        }
    }
}
