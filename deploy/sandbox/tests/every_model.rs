//! Every model of the table answers as its row says: whole and streamed, over HTTP/1.1 and HTTP/2, cut and uncut.

mod client;

use std::time::{Duration, Instant};

use client::{Break, Http, Received, Said, send};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use waybill_sandbox::models::{Row, TABLE};
use waybill_sandbox::{Options, Sandbox};

const QUESTION: &str = "What is in the box?";
const STALL: Duration = Duration::from_millis(60);
const ENDLESS_CHUNKS: u64 = 6;

/// Four bytes of text, rounded up, are a token.
fn tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

fn tool(name: &str) -> Value {
    let parameters = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}}});
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

/// One model under test.
struct Asked<'a> {
    sandbox: &'a Sandbox,
    http: Http,
    row: &'a Row,
}

impl Asked<'_> {
    async fn receive(&self, stream: bool, more: Value) -> Received {
        let mut body = json!({"model": self.row.model(), "messages": [{"role": "user", "content": QUESTION}], "stream": stream});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let headers = [("content-type", "application/json")];
        send(self.http, self.sandbox.addr(), Method::POST, "/v1/chat/completions", &headers, body.to_string()).await
    }

    async fn whole(&self, more: Value) -> Said {
        let received = self.receive(false, more).await;
        assert_eq!((received.status, received.header("content-type")), (Some(StatusCode::OK), "application/json"));
        assert_eq!(received.broken, None);
        received.said()
    }

    async fn stream(&self, more: Value) -> Said {
        let mut asked = json!({"stream_options": {"include_usage": true}});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let received = self.receive(true, asked).await;
        assert_eq!((received.status, received.broken), (Some(StatusCode::OK), None));
        assert!(received.header("content-type").starts_with("text/event-stream"));
        received.said()
    }

    /// Whole and streamed, complete, stating one usage at the end.
    async fn both(&self, more: Value) -> [Said; 2] {
        let (whole, stream) = (self.whole(more.clone()).await, self.stream(more.clone()).await);
        assert!(stream.done && !whole.done);
        assert_eq!((whole.objects, whole.stated().len(), stream.stated().len()), (1, 1, 1));
        assert_eq!(stream.usages.len(), stream.objects, "the other frames say null");
        assert!(stream.usages.last().is_some_and(|usage| !usage.is_null()), "usage is at the end");
        let unasked = self.stream(json!({"stream_options": null})).await;
        assert!(unasked.done && unasked.usages.is_empty(), "usage that nobody asked for");
        for said in [&whole, &stream] {
            assert_eq!(said.model, self.row.model());
            assert!(said.finish.is_some() && said.unreadable == 0 && said.error.is_none());
        }
        [whole, stream]
    }

    /// As `both`, with this text and the usage that follows from it.
    async fn text(&self, more: Value, text: &str) {
        for said in self.both(more).await {
            assert_eq!((said.text.as_str(), said.finish.as_deref()), (text, Some("stop")));
            assert_eq!(said.stated(), [(tokens(QUESTION), tokens(text), 0, 0)]);
        }
    }

    async fn plain(&self, more: Value) -> [Said; 2] {
        let both = self.both(more).await;
        for said in &both {
            assert!(said.text.contains("sandbox") && said.calls.is_empty(), "{said:?}");
        }
        both
    }

    async fn fails(&self, status: u16) -> Received {
        let stream = self.receive(true, json!({})).await;
        let whole = self.receive(false, json!({})).await;
        for received in [&stream, &whole] {
            assert_eq!((received.status.map(|status| status.as_u16()), received.broken), (Some(status), None));
        }
        whole
    }

    async fn error(&self, status: u16, kind: &str) -> Received {
        let received = self.fails(status).await;
        let error = &received.json()["error"];
        assert!(error["message"].as_str().unwrap().contains("sandbox"), "{error}");
        assert_eq!(error["type"], kind);
        assert!(error["code"].is_string() && error.get("param").is_some());
        received
    }

    /// An answer that breaks: what came of the stream, and of the whole answer.
    async fn breaks(&self, how: Break) -> [Received; 2] {
        let both = [self.receive(true, json!({})).await, self.receive(false, json!({})).await];
        for received in &both {
            // In HTTP/2 one stream is reset, whatever the model does to its connection in HTTP/1.1.
            let expected = if self.http == Http::One { how } else { Break::Closed };
            assert_eq!(received.broken, Some(expected), "{received:?}");
        }
        both
    }

    async fn breaks_midway(&self, how: Break, pieces: usize) {
        let [stream, whole] = self.breaks(how).await;
        let said = stream.said();
        assert_eq!((said.pieces, said.finish, said.done), (pieces, None, false));
        assert!(whole.text().starts_with("{\"id\"") && whole.said().unreadable == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_does_what_its_row_says_over_http_1() {
    check_table(Http::One, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_does_what_its_row_says_over_http_2() {
    check_table(Http::Two, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_does_what_its_row_says_with_its_bytes_cut() {
    check_table(Http::One, Some(7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_does_what_its_row_says_with_its_bytes_cut_over_http_2() {
    check_table(Http::Two, Some(9)).await;
}

async fn check_table(http: Http, cut_seed: Option<u64>) {
    let options = Options { cut_seed, stall: STALL, endless_chunks: ENDLESS_CHUNKS, ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    for row in TABLE {
        println!("{}: {}", row.example, row.about);
        let asked = Asked { sandbox: &sandbox, http, row };
        if !row.example.starts_with("error-") || !check_error(&asked).await {
            check_row(&asked).await;
        }
    }
    let listed = send(http, sandbox.addr(), Method::GET, "/v1/models", &[], "").await.json();
    let ids: Vec<&str> = listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, TABLE.iter().map(Row::model).collect::<Vec<_>>());
    for id in ids {
        let shown = send(http, sandbox.addr(), Method::GET, &format!("/v1/models/{id}"), &[], "").await.json();
        assert_eq!(shown["id"], id);
    }
}

/// The failures that are a status and the envelope.
async fn check_error(asked: &Asked<'_>) -> bool {
    let (status, kind) = match asked.row.example {
        "error-400" => (400, "invalid_request_error"),
        "error-401" => (401, "authentication_error"),
        "error-402" => (402, "insufficient_quota"),
        "error-403" => (403, "permission_error"),
        "error-404" => (404, "invalid_request_error"),
        "error-408" => (408, "invalid_request_error"),
        "error-413" => (413, "invalid_request_error"),
        "error-422" => (422, "invalid_request_error"),
        "error-429" => (429, "rate_limit_error"),
        "error-500" => (500, "server_error"),
        "error-502" => (502, "server_error"),
        "error-503" => (503, "server_error"),
        "error-529" => (529, "overloaded_error"),
        _ => return false,
    };
    let received = asked.error(status, kind).await;
    assert_eq!(received.header("retry-after"), if status == 429 { "1" } else { "" });
    true
}

async fn check_row(asked: &Asked<'_>) {
    match asked.row.example {
        "chat" => chat(asked).await,
        "echo" => asked.text(json!({}), &format!("sandbox: {QUESTION}")).await,
        "errand" => errand(asked).await,
        "tools" => calls(asked, &["weather"]).await,
        "parallel-tools" => calls(asked, &["weather", "time"]).await,
        "structured" => structured(asked).await,
        "reasoning" | "redacted-reasoning" => reasoning(asked, json!({})).await,
        "stream-20x50ms" => timed(asked, Duration::from_secs(1)).await,
        "delay-500ms" => timed(asked, Duration::from_millis(500)).await,
        "burst-200" => asked.text(json!({}), &(1..=200).map(|n| format!("sandbox {n} ")).collect::<String>()).await,
        "cache" => cache(asked).await,
        "usage-1200-30" => {
            for said in asked.plain(json!({})).await {
                assert_eq!(said.stated(), [(1_200, 30, 0, 0)]);
            }
        }
        "long-context" => {
            let long = "word ".repeat(150_000);
            let said = asked.whole(json!({"messages": [{"role": "user", "content": long}]})).await;
            assert_eq!(said.stated()[0].0, tokens(&long));
            assert!(said.text.contains(&tokens(&long).to_string()), "{}", said.text);
        }
        "context-1000" => {
            asked.both(json!({})).await;
            let beyond = asked.receive(false, json!({"messages": [{"role": "user", "content": "x".repeat(4_001)}]})).await;
            assert_eq!(
                (beyond.status, &beyond.json()["error"]["code"]),
                (Some(StatusCode::BAD_REQUEST), &json!("context_length_exceeded"))
            );
        }
        "refusal" => {
            for said in asked.both(json!({})).await {
                assert!(said.refusal.contains("sandbox") && said.text.is_empty());
                assert_eq!(said.stated()[0].1, tokens(&said.refusal));
            }
        }
        "content-filter" => {
            for said in asked.plain(json!({})).await {
                assert_eq!(said.finish.as_deref(), Some("content_filter"));
            }
        }
        _ => check_fault(asked).await,
    }
}

async fn check_fault(asked: &Asked<'_>) {
    match asked.row.example {
        "error-html" => {
            let received = asked.fails(502).await;
            assert!(received.header("content-type").starts_with("text/html") && received.text().starts_with("<html>"));
        }
        "error-in-200" => {
            let stream = asked.stream(json!({})).await;
            assert_eq!((stream.pieces, stream.done, stream.finish), (2, false, None));
            for error in [stream.error, asked.whole(json!({})).await.error] {
                assert_eq!(error.unwrap()["type"], "server_error");
            }
        }
        "reset-before-byte" => {
            let [stream, whole] = asked.breaks(Break::Reset).await;
            assert_eq!((stream.status, whole.status), (None, None));
        }
        "reset-after-headers" => {
            for received in asked.breaks(Break::Reset).await {
                assert_eq!((received.status, received.body.len()), (Some(StatusCode::OK), 0));
            }
        }
        "reset-midway-3" => asked.breaks_midway(Break::Reset, 3).await,
        "close-midway-3" => asked.breaks_midway(Break::Closed, 3).await,
        "stall-before-byte" => {
            let asked_at = Instant::now();
            let [stream, whole] = asked.breaks(Break::Closed).await;
            assert!(asked_at.elapsed() >= STALL * 2);
            assert_eq!((stream.status, whole.status), (None, None));
        }
        "stall-midway-3" => {
            let asked_at = Instant::now();
            asked.breaks_midway(Break::Closed, 3).await;
            assert!(asked_at.elapsed() >= STALL * 2);
        }
        "truncated-json" => {
            assert_eq!(asked.whole(json!({})).await.unreadable, 1);
            let stream = asked.stream(json!({})).await;
            assert_eq!((stream.pieces, stream.unreadable, stream.done), (2, 1, false));
        }
        "short-body" => {
            let [stream, whole] = asked.breaks(Break::Closed).await;
            assert_eq!(stream.said().pieces, 2);
            let promised: usize = whole.header("content-length").parse().unwrap();
            assert!(!whole.body.is_empty() && whole.body.len() < promised);
        }
        "malformed-frame" => {
            assert_eq!(asked.whole(json!({})).await.unreadable, 1);
            let stream = asked.stream(json!({})).await;
            assert_eq!((stream.unreadable, stream.done, stream.stated().len()), (1, true, 1));
        }
        "huge-frame-5" => {
            let text = asked.receive(true, json!({})).await.text();
            assert!(text.len() > 5 << 20 && text.ends_with("data: [DONE]\n\n"));
            assert!(asked.whole(json!({})).await.finish.is_some());
        }
        "empty-answer" => asked.text(json!({}), "").await,
        "empty-body" => assert!(asked.fails(200).await.body.is_empty()),
        "refuse" => {
            let refused = tokio::net::TcpStream::connect(asked.sandbox.refusing_addr()).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let message = asked.error(421, "invalid_request_error").await.text();
            assert!(message.contains(&asked.sandbox.refusing_addr().to_string()));
        }
        "usage-twice" => {
            let stream = asked.stream(json!({})).await;
            let own = tokens(&stream.text);
            let outputs: Vec<u64> = stream.stated().iter().map(|usage| usage.1).collect();
            assert_eq!((outputs, stream.done), (vec![own / 2, own], true));
            assert_eq!(asked.whole(json!({})).await.stated()[0].1, own);
            assert!(asked.stream(json!({"stream_options": null})).await.usages.is_empty(), "usage that nobody asked for");
        }
        "two-finishes" => {
            let text = asked.receive(true, json!({})).await.text();
            assert_eq!(text.matches(r#""finish_reason":"stop""#).count(), 2, "{text}");
            assert!(text.ends_with("data: [DONE]\n\n") && asked.whole(json!({})).await.finish.is_some());
        }
        "index-jump" => {
            let text = asked.receive(true, json!({"tools": [tool("weather"), tool("time")]})).await.text();
            let indices: Vec<u64> = text
                .split("\n\n")
                .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok())
                .filter(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0/function/name").is_some())
                .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0/index")?.as_u64())
                .collect();
            assert_eq!(indices, [0, 2]);
        }
        "flaky-2" => {
            for expected in [503, 503, 200, 200] {
                assert_eq!(asked.receive(true, json!({})).await.status.unwrap().as_u16(), expected);
            }
        }
        _ => check_oddity(asked).await,
    }
}

/// Answers that are complete but not as they should be.
async fn check_oddity(asked: &Asked<'_>) {
    let (whole, stream) = match asked.row.example {
        "wrong-type" => {
            let (whole, stream) = (asked.receive(false, json!({})).await, asked.receive(true, json!({})).await);
            assert_eq!((whole.header("content-type"), stream.header("content-type")), ("text/plain", "text/plain"));
            (whole.said(), stream.said())
        }
        "endless" => {
            let asked_at = Instant::now();
            let received = asked.receive(false, json!({})).await;
            assert!(received.text().starts_with("\n\n\n") && asked_at.elapsed() >= Duration::from_millis(20 * ENDLESS_CHUNKS));
            (received.said(), asked.stream(json!({})).await)
        }
        _ => (asked.whole(json!({})).await, asked.stream(json!({})).await),
    };
    assert_eq!(stream.text, whole.text);
    assert!(whole.text.contains("sandbox") && whole.finish.is_some() && stream.finish.is_some());
    let own = (tokens(QUESTION), tokens(&whole.text), 0, 0);
    assert_eq!(stream.done, asked.row.example != "no-done");
    match asked.row.example {
        "no-usage" => assert!(whole.usages.is_empty() && stream.usages.is_empty()),
        "usage-null" => assert!(!whole.usages.is_empty() && stream.usages.len() == stream.objects && stream.stated().is_empty()),
        "usage-in-each-chunk" => {
            let stated = stream.stated();
            assert_eq!(stated.len(), stream.objects);
            assert!(stated.is_sorted_by_key(|usage| usage.1) && stated[1].1 < own.1);
            assert_eq!((stated.last(), whole.stated().last()), (Some(&own), Some(&own)));
        }
        "usage-with-finish" => {
            assert_eq!((whole.stated(), stream.stated()), (vec![own], vec![own]));
            assert_eq!(stream.usages.len(), 1);
        }
        "no-done" => assert_eq!(stream.stated(), [own]),
        "wrong-type" => assert_eq!(whole.stated(), [own]),
        "endless" => assert_eq!(stream.pieces as u64, ENDLESS_CHUNKS),
        unknown => panic!("the row {unknown} has no check"),
    }
}

async fn chat(asked: &Asked<'_>) {
    asked.plain(json!({})).await;
    calls(asked, &["weather"]).await;
    structured(asked).await;
    reasoning(asked, json!({"reasoning_effort": "low"})).await;
    for said in asked.both(json!({"max_tokens": 5, "n": 1})).await {
        assert_eq!((said.finish.as_deref(), said.stated()[0].1, said.text.len()), (Some("length"), 5, 20));
    }
    for said in asked.both(json!({"stop": ["nobody", " sandbox"]})).await {
        assert_eq!((said.finish.as_deref(), said.text.as_str()), (Some("stop"), "This is the Waybill"));
    }
    let three = asked.receive(false, json!({"n": 3})).await.json();
    assert_eq!(three["choices"].as_array().unwrap().len(), 3);
}

async fn calls(asked: &Asked<'_>, expected: &[&str]) {
    let tools = json!({"tools": [tool("weather"), tool("time")]});
    for said in asked.both(tools.clone()).await {
        let names: Vec<&str> = said.calls.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names.as_slice(), said.finish.as_deref()), (expected, Some("tool_calls")));
        let mut bytes = String::new();
        for (_, arguments) in &said.calls {
            let read: Value = serde_json::from_str(arguments).unwrap();
            assert_eq!(read, json!({"city": "sandbox", "days": 3}));
            bytes += arguments;
        }
        assert_eq!(said.stated()[0].1, tokens(&bytes));
        let mut ids = said.call_ids.clone();
        ids.dedup();
        assert_eq!(ids.len(), expected.len());
    }
    let mut result = tools;
    result["messages"] = json!([{"role": "user", "content": QUESTION}, {"role": "tool", "tool_call_id": "x", "content": "rain"}]);
    for said in asked.plain(result).await {
        assert!(said.text.contains("rain") && said.finish.as_deref() == Some("stop"));
    }
}

/// What the prompt tells, step by step; a step that cannot be done is refused.
async fn errand(asked: &Asked<'_>) {
    let tool = json!([{"type": "function", "function": {"name": "weather", "parameters": {}}}]);
    let prompt = |line: &str| json!({"role": "user", "content": format!("sandbox: {line}\nsandbox: say Done in the sandbox.")});
    let first = json!({"tools": tool, "messages": [prompt("call weather {\"city\": \"Bern\"}")]});
    for said in asked.both(first).await {
        assert_eq!(
            (said.calls.as_slice(), said.finish.as_deref()),
            (&[("weather".to_owned(), "{\"city\":\"Bern\"}".to_owned())][..], Some("tool_calls"))
        );
    }
    let turns = json!([prompt("call weather"), {"role": "assistant", "content": null}, {"role": "tool", "content": "rain"}]);
    assert_eq!(asked.whole(json!({"tools": tool, "messages": turns})).await.text, "Done in the sandbox.");
    for line in ["call tides {}", "call weather {city}", "sing"] {
        let refused = asked.receive(false, json!({"tools": tool, "messages": [prompt(line)]})).await;
        assert_eq!(refused.status, Some(StatusCode::BAD_REQUEST), "{line}");
    }
    asked.plain(json!({})).await;
}

async fn structured(asked: &Asked<'_>) {
    let schema = json!({"type": "object", "required": ["name", "age"], "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}}});
    for said in asked.both(json!({"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}})).await {
        let answer: Value = serde_json::from_str(&said.text).unwrap();
        assert_eq!(answer, json!({"name": "sandbox", "age": 18}));
    }
    for said in asked.both(json!({"response_format": {"type": "json_object"}})).await {
        assert!(serde_json::from_str::<Value>(&said.text).unwrap().is_object());
    }
}

async fn reasoning(asked: &Asked<'_>, more: Value) {
    for said in asked.plain(more).await {
        assert!(!said.reasoning.is_empty());
        let (reasoning, text) = (tokens(&said.reasoning), tokens(&said.text));
        assert_eq!(said.stated(), [(tokens(QUESTION), reasoning + text, 0, reasoning)]);
    }
}

async fn timed(asked: &Asked<'_>, least: Duration) {
    for stream in [false, true] {
        let asked_at = Instant::now();
        let said = asked.receive(stream, json!({})).await.said();
        assert!(asked_at.elapsed() >= least && said.text.contains("sandbox") && said.finish.is_some());
    }
}

async fn cache(asked: &Asked<'_>) {
    let (first, second) = ("a prefix that nobody else has used", "and a question");
    let ask = |texts: &[&str]| {
        let messages: Vec<Value> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        asked.stream(json!({"messages": messages}))
    };
    let all = tokens(&format!("{first}{second}"));
    for (texts, prompt, cached) in
        [(vec![first, second], all, 0), (vec![first, second], all, all), (vec![first, "x"], tokens(&format!("{first}x")), tokens(first))]
    {
        let said = ask(&texts).await;
        assert_eq!((said.stated()[0].0, said.stated()[0].2), (prompt, cached), "{texts:?}");
    }
}
