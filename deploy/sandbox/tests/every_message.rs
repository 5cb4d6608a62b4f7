//! Every model of the table answers in Anthropic's Messages dialect as its row says: whole and streamed, HTTP/1.1 and HTTP/2, cut and uncut.

mod client;

use std::time::{Duration, Instant};

use client::messages::Told;
use client::{Break, Http, Received, send};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use waybill_sandbox::models::{Row, TABLE};
use waybill_sandbox::{Options, Sandbox};

const QUESTION: &str = "What is in the box?";
const STALL: Duration = Duration::from_millis(60);
const ENDLESS_CHUNKS: u64 = 6;
const MESSAGES: &str = "/v1/messages";

/// Four bytes of text, rounded up, are a token.
fn tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

fn extended(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// One model under test.
struct Asked<'a> {
    sandbox: &'a Sandbox,
    http: Http,
    row: &'a Row,
}

impl Asked<'_> {
    async fn receive(&self, stream: bool, more: Value) -> Received {
        let messages = json!([{"role": "user", "content": QUESTION}]);
        let body = extended(json!({"model": self.row.model(), "max_tokens": 400_000, "messages": messages, "stream": stream}), &more);
        let headers = [("content-type", "application/json"), ("anthropic-version", "2023-06-01")];
        send(self.http, self.sandbox.addr(), Method::POST, MESSAGES, &headers, body.to_string()).await
    }

    async fn whole(&self, more: Value) -> Told {
        let received = self.receive(false, more).await;
        assert_eq!((received.status, received.broken), (Some(StatusCode::OK), None), "{}", received.text());
        assert!(received.header("request-id").starts_with("req_sandbox_"));
        received.told()
    }

    async fn stream(&self, more: Value) -> Told {
        let received = self.receive(true, more).await;
        assert_eq!((received.status, received.broken), (Some(StatusCode::OK), None), "{}", received.text());
        received.told()
    }

    /// Whole and streamed: complete, the same words, the same usage.
    async fn both(&self, more: Value) -> Told {
        let (whole, stream) = (self.whole(more.clone()).await, self.stream(more).await);
        assert!(stream.done && stream.finishes == 1 && stream.pings > 0);
        assert_eq!((whole.usages.len(), stream.usages.len()), (1, 2), "usage where the message begins and where it ends");
        assert!(stream.usages[0]["output_tokens"].as_u64() <= Some(1), "at the beginning nothing has been said");
        assert_eq!((&whole.stop_reason, &whole.stop_sequence), (&stream.stop_reason, &stream.stop_sequence));
        assert_eq!(stream.indices, (0..stream.blocks.len() as u64).collect::<Vec<_>>());
        let without_ids = |told: &Told| -> Vec<Value> {
            let mut blocks = told.blocks.clone();
            blocks.iter_mut().for_each(|block| drop(block.as_object_mut().unwrap().remove("id")));
            blocks
        };
        assert_eq!(without_ids(&whole), without_ids(&stream));
        assert_eq!((&whole.model, &stream.model), (&self.row.model(), &self.row.model()));
        stream
    }

    /// As `both`, ended for this reason, with the usage that follows from these words.
    async fn says(&self, more: Value, reason: &str, output: impl Fn(&Told) -> u64) -> Told {
        let told = self.both(more).await;
        assert_eq!((told.stop_reason.as_deref(), told.usage()), (Some(reason), (tokens(QUESTION), output(&told), 0, 0, 0)));
        told
    }

    async fn plain(&self) {
        let told = self.says(json!({}), "end_turn", |told| tokens(&told.text())).await;
        assert!(told.text().contains("sandbox") && told.blocks.len() == 1);
    }

    async fn fails(&self, status: u16, kind: &str) -> Received {
        for stream in [true, false] {
            let received = self.receive(stream, json!({})).await;
            assert_eq!((received.status.map(|status| status.as_u16()), received.broken), (Some(status), None));
            let body = received.json();
            assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)));
            assert!(body["error"]["message"].as_str().unwrap().contains("sandbox") && body["request_id"].is_string());
        }
        self.receive(false, json!({})).await
    }

    /// An answer that breaks: what came of the stream, and of the whole answer.
    async fn breaks(&self, how: Break) -> [Received; 2] {
        let both = [self.receive(true, json!({})).await, self.receive(false, json!({})).await];
        for received in &both {
            let expected = if self.http == Http::One { how } else { Break::Closed };
            assert_eq!(received.broken, Some(expected), "{received:?}");
        }
        both
    }

    async fn breaks_midway(&self, how: Break) {
        let [stream, whole] = self.breaks(how).await;
        let told = stream.told();
        assert_eq!((told.pieces, told.finishes, told.done), (3, 0, false));
        assert_eq!(told.usages.len(), 1, "the beginning has told the input");
        assert!(whole.text().starts_with("{\"id\"") && whole.told().unreadable == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_does_what_its_row_says_over_http_1() {
    check_table(Http::One, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_does_what_its_row_says_over_http_2_with_its_bytes_cut() {
    check_table(Http::Two, Some(9)).await;
}

async fn check_table(http: Http, cut_seed: Option<u64>) {
    let options = Options { cut_seed, stall: STALL, endless_chunks: ENDLESS_CHUNKS, ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    for row in TABLE {
        println!("{}: {}", row.example, row.about);
        check_row(&Asked { sandbox: &sandbox, http, row }).await;
    }
}

async fn check_row(asked: &Asked<'_>) {
    match asked.row.example {
        "chat" => chat(asked).await,
        "echo" => {
            let told = asked.says(json!({}), "end_turn", |told| tokens(&told.text())).await;
            assert_eq!(told.text(), format!("sandbox: {QUESTION}"));
        }
        "errand" => errand(asked).await,
        "tools" => calls(asked, &["weather"]).await,
        "parallel-tools" => {
            calls(asked, &["weather", "time"]).await;
            let one = json!({"type": "auto", "disable_parallel_tool_use": true});
            assert_eq!(asked.both(extended(tools(), &json!({"tool_choice": one}))).await.blocks.len(), 1);
        }
        "structured" => structured(asked).await,
        "reasoning" => reasoning(asked, json!({}), &["thinking", "text"]).await,
        "redacted-reasoning" => reasoning(asked, json!({}), &["thinking", "redacted_thinking", "text"]).await,
        "stream-20x50ms" => timed(asked, Duration::from_secs(1)).await,
        "delay-500ms" => timed(asked, Duration::from_millis(500)).await,
        "burst-200" => {
            let told = asked.says(json!({}), "end_turn", |told| tokens(&told.text())).await;
            assert_eq!(told.text(), (1..=200).map(|n| format!("sandbox {n} ")).collect::<String>());
            assert!(told.pings > 10);
        }
        "cache" => cache(asked).await,
        "usage-1200-30" => assert_eq!(asked.both(json!({})).await.usage(), (1_200, 30, 0, 0, 0)),
        "long-context" | "context-1000" => context(asked).await,
        "refusal" | "content-filter" => {
            let told = asked.says(json!({}), "refusal", |told| tokens(&told.text())).await;
            assert!(told.text().contains("sandbox"));
        }
        _ => check_failure(asked).await,
    }
}

async fn check_failure(asked: &Asked<'_>) {
    let error = match asked.row.example {
        "error-400" | "error-422" => Some("invalid_request_error"),
        "error-401" => Some("authentication_error"),
        "error-402" => Some("billing_error"),
        "error-403" => Some("permission_error"),
        "error-404" => Some("not_found_error"),
        "error-408" => Some("timeout_error"),
        "error-413" => Some("request_too_large"),
        "error-429" => Some("rate_limit_error"),
        "error-500" | "error-502" | "error-503" => Some("api_error"),
        "error-529" => Some("overloaded_error"),
        _ => None,
    };
    match (error, asked.row.example) {
        (Some(kind), name) => {
            let received = asked.fails(name.trim_start_matches("error-").parse().unwrap(), kind).await;
            assert_eq!(received.header("retry-after"), if name == "error-429" { "1" } else { "" });
        }
        (_, "error-html") => {
            let received = asked.receive(true, json!({})).await;
            assert_eq!((received.status, received.header("content-type")), (Some(StatusCode::BAD_GATEWAY), "text/html"));
        }
        (_, "refuse") => drop(asked.fails(421, "invalid_request_error").await),
        (_, "flaky-2") => {
            for expected in [503, 503, 200, 200] {
                assert_eq!(asked.receive(true, json!({})).await.status.unwrap().as_u16(), expected);
            }
        }
        (_, "reset-before-byte") => drop(asked.breaks(Break::Reset).await),
        (_, "reset-after-headers") => {
            for received in asked.breaks(Break::Reset).await {
                assert_eq!((received.status, received.body.len()), (Some(StatusCode::OK), 0));
            }
        }
        (_, "huge-frame-5") => {
            let text = asked.receive(true, json!({})).await.text();
            assert!(text.len() > 5 << 20 && text.contains("event: message_stop"));
        }
        (_, "reset-midway-3") => asked.breaks_midway(Break::Reset).await,
        (_, "close-midway-3" | "stall-midway-3") => asked.breaks_midway(Break::Closed).await,
        (_, "stall-before-byte") => drop(asked.breaks(Break::Closed).await),
        (_, "short-body") => {
            let [stream, whole] = asked.breaks(Break::Closed).await;
            assert_eq!(stream.told().pieces, 2);
            assert!(whole.body.len() < whole.header("content-length").parse().unwrap());
        }
        _ => check_oddity(asked).await,
    }
}

/// Answers that HTTP has in order, and that are not as they should be.
async fn check_oddity(asked: &Asked<'_>) {
    let more = if asked.row.example == "index-jump" { tools() } else { json!({}) };
    let (whole, stream) = (asked.receive(false, more.clone()).await, asked.receive(true, more).await);
    assert_eq!((whole.status, stream.status, whole.broken, stream.broken), (Some(StatusCode::OK), Some(StatusCode::OK), None, None));
    if asked.row.example == "empty-body" {
        assert!(whole.body.is_empty() && stream.body.is_empty());
        return;
    }
    let type_of = |received: &Received| received.header("content-type").split(';').next().unwrap().to_owned();
    let is_plain = asked.row.example == "wrong-type";
    assert_eq!(type_of(&whole), if is_plain { "text/plain" } else { "application/json" });
    assert_eq!(type_of(&stream), if is_plain { "text/plain" } else { "text/event-stream" });
    let (answer, told) = (whole.told(), stream.told());
    let (words, said) = (tokens(&answer.text()), tokens(&told.text()));
    match asked.row.example {
        "error-in-200" => {
            assert_eq!((told.pieces, told.done, told.finishes), (2, false, 0));
            for error in [answer.error, told.error] {
                assert_eq!(error.unwrap()["type"], "overloaded_error");
            }
            assert!(stream.text().contains("event: error\ndata: {\"type\":\"error\",\"error\":{"), "{}", stream.text());
        }
        "truncated-json" => assert_eq!((answer.unreadable, told.pieces, told.unreadable, told.done), (1, 2, 1, false)),
        "malformed-frame" => assert_eq!((answer.unreadable, told.unreadable, told.done, told.usage().1), (1, 1, true, said)),
        "empty-answer" => assert!(answer.blocks.is_empty() && told.blocks.is_empty() && told.done && told.usage().1 == 0),
        "no-usage" => assert!(answer.usages.is_empty() && told.usages.is_empty() && told.done),
        "usage-null" => assert_eq!((answer.usages, told.usages), (vec![Value::Null], vec![Value::Null, Value::Null])),
        "usage-in-each-chunk" => {
            let outputs: Vec<_> = told.usages.iter().map(|usage| usage["output_tokens"].as_u64()).collect();
            assert!(outputs.len() == told.pieces + 2 && outputs.is_sorted() && told.usage().1 == words);
        }
        "usage-twice" => {
            let outputs: Vec<_> = told.usages.iter().map(|usage| usage["output_tokens"].as_u64().unwrap()).collect();
            assert_eq!((outputs, told.finishes, told.done), (vec![1, words / 2, words], 1, true));
        }
        "two-finishes" => assert_eq!((told.finishes, told.done, told.usages.len()), (2, true, 3)),
        "index-jump" => assert_eq!((told.indices, told.blocks.len(), told.done), (vec![0, 2], 2, true)),
        "no-done" => assert_eq!((told.finishes, told.done, told.usage().1), (1, false, words)),
        "usage-with-finish" | "wrong-type" => assert_eq!((told.usage().1, told.done, words), (said, true, said)),
        "endless" => {
            assert!(whole.text().starts_with("\n\n\n"));
            assert_eq!((told.pieces as u64, told.done), (ENDLESS_CHUNKS, true));
        }
        unknown => panic!("the row {unknown} has no check"),
    }
}

fn tools() -> Value {
    let schema = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}}});
    let tool = |name: &str| json!({"name": name, "description": "looks", "input_schema": schema});
    json!({"tools": [tool("weather"), {"type": "web_search_20250305", "name": "web_search"}, tool("time")]})
}

async fn chat(asked: &Asked<'_>) {
    asked.plain().await;
    calls(asked, &["weather"]).await;
    structured(asked).await;
    reasoning(asked, json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), &["thinking", "text"]).await;
    reasoning(asked, json!({"thinking": {"type": "adaptive"}}), &["thinking", "text"]).await;
    asked.says(json!({"thinking": {"type": "disabled"}}), "end_turn", |told| tokens(&told.text())).await;
    let short = asked.says(json!({"max_tokens": 5}), "max_tokens", |_| 5).await;
    assert_eq!(short.text().len(), 20);
    let stopped = asked.says(json!({"stop_sequences": ["nobody", " sandbox"]}), "stop_sequence", |told| tokens(&told.text())).await;
    assert_eq!((stopped.text().as_str(), stopped.stop_sequence.as_deref()), ("This is the Waybill", Some(" sandbox")));
    for (choice, expected) in [
        (json!({"type": "tool", "name": "time"}), Some("time")),
        (json!({"type": "any"}), Some("weather")),
        (json!({"type": "auto"}), Some("weather")),
        (json!({"type": "none"}), None),
    ] {
        let told = asked.both(extended(tools(), &json!({"tool_choice": choice}))).await;
        assert_eq!(told.blocks[0]["name"].as_str(), expected, "{choice}");
    }
}

/// The tools are called, and their results come back.
async fn calls(asked: &Asked<'_>, expected: &[&str]) {
    let told = asked.both(tools()).await;
    let names: Vec<_> = told.blocks.iter().map(|block| block["name"].as_str().unwrap()).collect();
    assert_eq!((names.as_slice(), told.stop_reason.as_deref()), (expected, Some("tool_use")));
    assert!(told.blocks.iter().all(|block| block["input"] == json!({"city": "sandbox", "days": 3})));
    let results: Vec<Value> = told
        .blocks
        .iter()
        .map(|block| json!({"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "rain"}]}))
        .collect();
    assert!(results.iter().all(|result| result["tool_use_id"].as_str().unwrap().starts_with("toolu_sandbox_")));
    let messages = json!([
        {"role": "user", "content": QUESTION}, {"role": "assistant", "content": told.blocks}, {"role": "user", "content": results}
    ]);
    let answer = asked.both(extended(tools(), &json!({"messages": messages}))).await;
    assert!(answer.text().contains("rain") && answer.stop_reason.as_deref() == Some("end_turn"));
}

/// Two steps: a call with the arguments that the prompt has, and after its result the words that it has.
async fn errand(asked: &Asked<'_>) {
    let prompt = json!({"role": "user", "content": "Go.\nsandbox: call weather {\"city\": \"Bern\"}\nsandbox: say Done in the sandbox."});
    let told = asked.both(extended(tools(), &json!({"messages": [prompt]}))).await;
    assert_eq!((told.stop_reason.as_deref(), told.blocks.len()), (Some("tool_use"), 1));
    assert_eq!((&told.blocks[0]["name"], &told.blocks[0]["input"]), (&json!("weather"), &json!({"city": "Bern"})));
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": told.blocks[0]["id"], "content": "rain"}]});
    let turns = json!([prompt, {"role": "assistant", "content": told.blocks}, result]);
    assert_eq!(asked.both(extended(tools(), &json!({"messages": turns}))).await.text(), "Done in the sandbox.");
    let thoughtful = json!({"messages": [prompt], "thinking": {"type": "adaptive"}});
    let kinds: Vec<Value> = asked.both(extended(tools(), &thoughtful)).await.blocks.iter().map(|block| block["type"].clone()).collect();
    assert_eq!(kinds, ["thinking", "tool_use"]);
    asked.plain().await;
}

async fn structured(asked: &Asked<'_>) {
    let schema = json!({"type": "object", "required": ["name", "age"], "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}}});
    let told = asked.both(json!({"output_config": {"format": {"type": "json_schema", "schema": schema}, "effort": "low"}})).await;
    assert_eq!(serde_json::from_str::<Value>(&told.text()).unwrap(), json!({"name": "sandbox", "age": 18}));
}

/// Thoughts are signed, counted as output, and taken back as they were and only so.
async fn reasoning(asked: &Asked<'_>, more: Value, kinds: &[&str]) {
    let told = asked.both(more.clone()).await;
    assert_eq!(told.blocks.iter().map(|block| block["type"].as_str().unwrap()).collect::<Vec<_>>(), kinds);
    assert_eq!(told.usage().1, tokens(&told.all("thinking", "thinking")) + tokens(&told.text()));
    let mut answered = told.blocks.clone();
    for expected in [StatusCode::OK, StatusCode::BAD_REQUEST] {
        let messages =
            json!([{"role": "user", "content": QUESTION}, {"role": "assistant", "content": answered}, {"role": "user", "content": "And?"}]);
        let received = asked.receive(false, extended(more.clone(), &json!({"messages": messages}))).await;
        assert_eq!(received.status, Some(expected), "{}", received.text());
        answered[0]["thinking"] = "something else".into();
    }
}

async fn timed(asked: &Asked<'_>, least: Duration) {
    for stream in [false, true] {
        let asked_at = Instant::now();
        let told = asked.receive(stream, json!({})).await.told();
        assert!(asked_at.elapsed() >= least && told.text().contains("sandbox") && told.stop_reason.is_some());
    }
}

async fn cache(asked: &Asked<'_>) {
    let block = |text: &str, ttl: Option<&str>| {
        let control = ttl.map(|ttl| json!({"type": "ephemeral", "ttl": ttl}));
        json!({"type": "text", "text": text, "cache_control": control})
    };
    let (system, first) = (format!("{:?} keeps this", asked.http), "a first part");
    let all = |text: &str| tokens(&format!("{system}{first}{text}"));
    let (hour, five) = (tokens(&system), tokens(&format!("{system}{first}")) - tokens(&system));
    for (text, read, writes) in [("one", 0, (five, hour)), ("two", five + hour, (0, 0)), ("three", five + hour, (0, 0))] {
        let messages = json!([{"role": "user", "content": [block(first, Some("5m")), block(text, None)]}]);
        let told = asked.stream(json!({"system": [block(&system, Some("1h"))], "messages": messages})).await;
        let expected = (all(text) - five - hour, tokens(&told.text()), read, writes.0, writes.1);
        assert_eq!(told.usage(), expected, "{text}");
    }
    let unmarked = asked.whole(json!({"system": system, "messages": [{"role": "user", "content": first}]})).await;
    assert_eq!(unmarked.usage().2, 0, "what nobody marks is not cached");
}

async fn context(asked: &Asked<'_>) {
    let window = if asked.row.example == "long-context" { 131_072 } else { 1_000 };
    asked.both(json!({})).await;
    let beyond = json!({"messages": [{"role": "user", "content": "x".repeat(4 * window + 1)}]});
    let received = asked.receive(false, beyond).await;
    if asked.row.example == "long-context" {
        assert_eq!(received.status, Some(StatusCode::OK));
        return;
    }
    let message = format!("prompt is too long: {} tokens > {window} maximum", window + 1);
    assert_eq!((received.status, &received.json()["error"]["message"]), (Some(StatusCode::BAD_REQUEST), &json!(message)));
}
