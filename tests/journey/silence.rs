//! Providers who do not come to an end, and callers who do not begin or do not wait.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};
use waybill_proto::usage::v1::Kind;
use waybill_proxy::Limits;
use waybill_sandbox::{Options, Provider, Reply, Script, Step};

use crate::fixture::{Fixture, INPUT, OUTPUT, PATIENCE};

fn body(stream: bool, provider: &str) -> Value {
    json!({
        "model": "sandbox/chat", "messages": [{ "role": "user", "content": "Say something." }], "stream": stream,
        "provider": { "only": [provider] },
    })
}

fn limits(text: &str) -> Limits {
    let mut limits = Limits::default();
    text.split(' ').for_each(|text| limits.set(text).expect("a limit"));
    limits
}

fn scripted(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Provider {
    Provider::spawn_thread(Options::default(), Script::by_model().otherwise(move |_| answer())).expect("a provider")
}

const TEXT: &str = r#"data: {"id":"c-1","choices":[{"index":0,"delta":{"content":"Yes."},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"data: {"id":"c-1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
const ERROR: &str = r#"data: {"error":{"message":"no room","type":"overloaded_error","code":529}}"#;
const DONE: &str = "data: [DONE]";

#[test]
fn a_stream_is_over_when_it_says_so_even_if_its_connection_stays_open() {
    let provider = scripted(|| {
        let all = format!("{TEXT}\n\n{USAGE}\n\n{DONE}\n\n");
        Reply::stream([Step::send(all), Step::Flush, Step::Stall], None)
    });
    let fixture = Fixture::beside(Limits::default(), Some(&provider.base_url().to_string()));
    let mut events = Vec::new();
    {
        let mut client = fixture.client();
        let mut stream = client.open(&fixture.chat(&body(true, "beside"))).expect("a stream");
        while let Some(event) = stream.event().expect("whole events") {
            events.push(event.data);
        }
    }
    assert_eq!(events.len(), 2, "the usage was not asked for: {events:?}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{events:?}");
    let (ends, _) = fixture.ends();
    let seen: Vec<_> = ends.iter().map(|end| (end.kind, end.event.outcome.as_str(), end.event.amount_picousd)).collect();
    assert_eq!(seen, [(Kind::Settled, "complete", 10 * INPUT + 5 * OUTPUT)]);
}

#[test]
fn a_stream_that_falls_silent_before_any_output_is_billed_by_what_it_has_told() {
    // What it says, the end of the attempt, what the caller is told.
    let rows = [
        (USAGE, Kind::Settled, "timeout", 504, 10 * INPUT + 5 * OUTPUT),
        (ERROR, Kind::Failed, "provider_error", 503, 0),
        (": still here", Kind::Orphaned, "timeout", 504, -1),
    ];
    for (says, kind, outcome, status, amount) in rows {
        let provider = scripted(move || Reply::stream([Step::send(format!("{says}\n\n")), Step::Flush, Step::Stall], None));
        let fixture = Fixture::beside(limits("stall_time=100ms"), Some(&provider.base_url().to_string()));
        let answer = fixture.send(&fixture.chat(&body(true, "beside")));
        assert_eq!(answer.head.status, status, "{says}");
        let (ends, _) = fixture.ends();
        let event = &ends[0].event;
        assert_eq!((ends.len(), ends[0].kind, event.outcome.as_str()), (1, kind, outcome), "{says}");
        let reservation = event.attempt.as_ref().map_or(0, |attempt| attempt.reservation_picousd);
        assert_eq!(event.amount_picousd, if amount < 0 { reservation } else { amount }, "{says}");
    }
}

#[test]
fn a_caller_who_is_kept_waiting_hears_that_the_stream_is_open_and_failing_over_stays_possible() {
    // The providers in their order, whether one answers, the ends of the attempts.
    let rows = [
        (json!(["beside", "here"]), true, vec![Kind::Orphaned, Kind::Settled]),
        (json!(["beside", "nowhere"]), false, vec![Kind::Orphaned, Kind::Failed]),
    ];
    for (order, answers, kinds) in rows {
        let provider = scripted(|| Reply::stream([Step::send(": still here\n\n"), Step::Flush, Step::Stall], None));
        let fixture = Fixture::beside(limits("stall_time=400ms keep_alive_time=50ms"), Some(&provider.base_url().to_string()));
        let mut request = body(true, "beside");
        request["provider"] = json!({ "order": order, "allow_fallbacks": false });
        let answer = fixture.send(&fixture.chat(&request));
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!((answer.head.status, answer.head.text("content-type")), (200, Some("text/event-stream")), "{order}");
        assert!(answer.head.field("x-generation-id").is_some(), "{order}");
        let signs = text.matches(": waybill processing\n\n").count();
        assert!(text.starts_with(": waybill processing\n\n") && signs >= 2, "{order}: {text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{order}: {text}");
        assert_eq!(text.contains("could not be reached"), !answers, "{order}: {text}");
        let (ends, _) = fixture.ends();
        assert_eq!(ends.iter().map(|end| end.kind).collect::<Vec<_>>(), kinds, "{order}");
    }
}

#[test]
fn a_whole_answer_may_take_its_time_also_when_nobody_waits_for_it() {
    let (arrived, arrivals) = mpsc::channel();
    let provider = scripted(move || {
        let _ = arrived.send(());
        let answer = json!({
            "id": "c-1", "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Yes." }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 },
        });
        Reply::json(StatusCode::OK, answer.to_string()).after(Duration::from_millis(400))
    });
    let fixture = Fixture::beside(limits("first_token_time=50ms"), Some(&provider.base_url().to_string()));
    let mut caller = TcpStream::connect(fixture.address()).expect("a connection");
    caller.write_all(&fixture.chat(&body(false, "beside")).to_bytes(fixture.address())).expect("sent");
    arrivals.recv_timeout(PATIENCE).expect("the provider is asked");
    drop(caller);
    let (ends, _) = fixture.ends();
    let seen: Vec<_> = ends.iter().map(|end| (end.kind, end.event.outcome.as_str(), end.event.amount_picousd)).collect();
    assert_eq!(seen, [(Kind::Settled, "client_hang_up", 10 * INPUT + 5 * OUTPUT)]);
}

#[test]
fn what_is_cut_at_the_end_of_the_drain_time_is_billed_by_what_was_delivered() {
    let fixture = Fixture::with(limits("drain_time=100ms"));
    let mut client = fixture.client();
    let request = json!({
        "model": "sandbox/stall-midway-3", "messages": [{ "role": "user", "content": "Say something." }], "stream": true,
        "provider": { "only": ["here"] },
    });
    let mut stream = client.open(&fixture.chat(&request)).expect("a stream");
    stream.event().expect("an event").expect("one at least");
    let (ends, _) = fixture.ends();
    let event = &ends[0].event;
    assert_eq!((ends.len(), ends[0].kind, event.outcome.as_str()), (1, Kind::Partial, "abandoned"));
    let reservation = event.attempt.as_ref().map_or(0, |attempt| attempt.reservation_picousd);
    assert!(event.amount_picousd > 0 && event.amount_picousd < reservation, "{event:?}");
}

#[test]
fn a_connection_that_does_not_get_to_a_request_is_closed() {
    let fixture = Fixture::with(limits("header_time=100ms"));
    for begins in ["", "P", "PRI * HTTP/2.0\r\n", "GET /v1/models HTTP/1.1\r\n"] {
        let mut caller = TcpStream::connect(fixture.address()).expect("a connection");
        caller.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        caller.write_all(begins.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let closed = caller.read_to_end(&mut answer);
        assert!(!matches!(&closed, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{begins:?} holds its connection");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{begins:?}: {}", String::from_utf8_lossy(&answer));
    }
}
