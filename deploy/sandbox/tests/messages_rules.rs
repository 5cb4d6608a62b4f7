//! What the real Messages API demands, the sandbox demands too; and what is asked beside a message.

mod client;

use client::{Http, send};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use waybill_sandbox::models::TABLE;
use waybill_sandbox::{Keep, Options, Outcome, Provider, Recording, Recordings, Sandbox, Script, Usage};

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

fn ask(changes: &Value) -> String {
    let mut body = json!({"model": "sandbox/chat", "max_tokens": 100, "messages": [{"role": "user", "content": "12345678"}]});
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body.as_object_mut().unwrap().retain(|_, value| *value != "absent");
    body.to_string()
}

#[tokio::test]
async fn a_request_is_refused_with_the_field_that_is_at_fault() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let schema = json!({"type": "object"});
    let rows = [
        (json!({"max_tokens": "absent"}), 400, "max_tokens: Field required"),
        (json!({"max_tokens": 0}), 400, "max_tokens: "),
        (json!({"messages": "absent"}), 400, "messages: Field required"),
        (json!({"messages": []}), 400, "messages: at least"),
        (json!({"model": "claude-opus-4-5"}), 404, "model: "),
        (json!({"temperature": 1.5}), 400, "temperature: range: 0..1"),
        (json!({"temperature": 1.0, "top_p": 0.5, "metadata": {"user_id": "u"}}), 200, ""),
        (json!({"provider": {"order": ["a"]}}), 400, "provider: Extra inputs are not permitted"),
        (json!({"models": ["a"]}), 400, "models: Extra inputs are not permitted"),
        (json!({"max_completion_tokens": 9}), 400, "max_completion_tokens: Extra inputs are not permitted"),
        (json!({"thinking": {"type": "enabled"}}), 400, "thinking.enabled.budget_tokens: "),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 100}}), 400, "thinking.enabled.budget_tokens: "),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}), 400, "max_tokens: "),
        (json!({"thinking": {"type": "maybe"}}), 400, "thinking: "),
        (json!({"thinking": {"type": "adaptive"}, "tool_choice": {"type": "any"}, "tools": []}), 400, "tool_choice: Thinking"),
        (json!({"tools": [{"name": "f"}]}), 400, "tools.0.custom.input_schema: "),
        (json!({"tools": [{"name": "f", "input_schema": {}}]}), 400, "tools.0.custom.input_schema.type: "),
        (json!({"tools": [{"name": "f g", "input_schema": schema}]}), 400, "tools.0.custom.name: "),
        (json!({"tools": [{"input_schema": schema}]}), 400, "tools.0.custom.name: "),
        (json!({"tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "tool", "name": "g"}}), 400, "tool_choice: "),
        (json!({"tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "required"}}), 400, "tool_choice: "),
        (json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}), 400, "messages.0.content.0.image.source"),
    ];
    for (changes, status, message) in rows {
        let received = send(Http::One, sandbox.addr(), Method::POST, MESSAGES, &[VERSION], ask(&changes)).await;
        let body = received.json();
        assert_eq!(received.status.unwrap().as_u16(), status, "{changes}: {body}");
        assert!(body["error"]["message"].as_str().unwrap_or_default().starts_with(message), "{changes}: {body}");
        let expected = [(200, Value::Null), (400, json!("invalid_request_error")), (404, json!("not_found_error"))];
        assert!(expected.contains(&(status, body["error"]["type"].clone())), "{body}");
    }
    for (path, body) in [(MESSAGES, ask(&json!({}))), (COUNT, ask(&json!({}))), (MESSAGES, "{".to_owned())] {
        let received = send(Http::One, sandbox.addr(), Method::POST, path, &[], body).await;
        let message = received.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!((received.status, message.as_str()), (Some(StatusCode::BAD_REQUEST), "anthropic-version: header is required"));
    }
    for (method, path, status) in [(Method::GET, MESSAGES, 405), (Method::POST, "/v1/messages/batches", 404)] {
        let received = send(Http::One, sandbox.addr(), method, path, &[VERSION], "").await;
        assert_eq!((received.status.unwrap().as_u16(), &received.json()["type"]), (status, &json!("error")), "{path}");
    }
}

#[tokio::test]
async fn tokens_are_counted_by_the_rule_of_the_bill() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
    let result =
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "rain"}]}]});
    let rows = [
        (json!({}), 2),
        (json!({"max_tokens": "absent"}), 2),
        (json!({"system": "123"}), 3),
        (json!({"system": [{"type": "text", "text": "1234"}, {"type": "text", "text": "5"}]}), 4),
        (json!({"messages": [{"role": "user", "content": "1234"}, call, result]}), 2),
    ];
    for (changes, expected) in rows {
        let received = send(Http::One, sandbox.addr(), Method::POST, COUNT, &[VERSION], ask(&changes)).await;
        assert_eq!((received.status, received.json()), (Some(StatusCode::OK), json!({"input_tokens": expected})), "{changes}");
        if changes["max_tokens"] != "absent" {
            let received = send(Http::One, sandbox.addr(), Method::POST, MESSAGES, &[VERSION], ask(&changes)).await;
            assert_eq!(received.told().usage().0, expected, "{changes}");
        }
    }
    let failing = send(Http::One, sandbox.addr(), Method::POST, COUNT, &[VERSION], ask(&json!({"model": "sandbox/error-529"}))).await;
    assert_eq!((failing.status.unwrap().as_u16(), &failing.json()["error"]["type"]), (529, &json!("overloaded_error")));
}

#[tokio::test]
async fn a_key_is_borne_as_either_header() {
    let sandbox = Sandbox::start(Options { token: Some("secret".to_owned()), ..Options::default() }).unwrap();
    let chat = "/v1/chat/completions";
    for (path, header, value, expected) in [
        (MESSAGES, "x-api-key", "secret", 200),
        (MESSAGES, "authorization", "Bearer secret", 200),
        (MESSAGES, "x-api-key", "Bearer secret", 401),
        (MESSAGES, "x-api-key", "wrong", 401),
        (MESSAGES, "authorization", "secret", 401),
        (COUNT, "x-api-key", "secret", 200),
        ("/v1/models", "x-api-key", "secret", 200),
        (chat, "authorization", "Bearer secret", 200),
        // Only a client of the other dialect sends its key there.
        (chat, "x-api-key", "secret", 401),
    ] {
        let method = if path == "/v1/models" { Method::GET } else { Method::POST };
        let version = if path == chat { ("x-none", "") } else { VERSION };
        let received = send(Http::One, sandbox.addr(), method, path, &[(header, value), version], ask(&json!({}))).await;
        assert_eq!(received.status.unwrap().as_u16(), expected, "{path} {header}: {value}");
        if expected == 401 && path != chat {
            assert_eq!(received.json()["error"]["type"], "authentication_error");
        }
    }
}

#[tokio::test]
async fn the_models_come_in_pages_to_a_client_of_this_dialect() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let expected: Vec<String> = TABLE.iter().map(|row| row.model()).collect();
    let get = |query: String| {
        let addr = sandbox.addr();
        async move { send(Http::One, addr, Method::GET, &format!("/v1/models{query}"), &[VERSION], "").await.json() }
    };
    let ids = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = get("?limit=1000".to_owned()).await;
    assert_eq!((ids(&all), &all["has_more"]), (expected.clone(), &json!(false)));
    let (mut seen, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(query).await;
        assert!(page["data"].as_array().unwrap().iter().all(|model| model["type"] == "model" && model["display_name"].is_string()));
        assert_eq!(
            (page["first_id"].as_str(), page["last_id"].as_str()),
            (ids(&page).first().map(String::as_str), ids(&page).last().map(String::as_str))
        );
        seen.extend(ids(&page));
        if page["has_more"] == false {
            break;
        }
        assert_eq!(ids(&page).len(), 20);
        query = format!("?after_id={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_was_asked_and_sent_is_recorded_in_this_dialect_too() {
    let sandbox = Sandbox::start(Options { records: Keep::Memory, ..Options::default() }).unwrap();
    let own = Usage { prompt: 9, completion: 8, cached: 4, reasoning: 0, cache_write_5m: 2, cache_write_1h: 1 };
    let prompt = Usage { prompt: 2, ..Usage::default() };
    let rows = [
        ("sandbox/usage-9-8-4-3-2-1", true, Some(Outcome::Ended), Some(own), Some(own), true),
        ("sandbox/usage-9-8-4-3-2-1", false, Some(Outcome::Ended), Some(own), Some(own), false),
        // "sandbox 1 " to "sandbox 5 " are 50 bytes, of which one has been sent; the beginning stated the first token.
        (
            "sandbox/reset-midway-1",
            true,
            Some(Outcome::Reset),
            Some(Usage { completion: 13, ..prompt }),
            Some(Usage { completion: 1, ..prompt }),
            false,
        ),
        ("sandbox/no-usage", true, Some(Outcome::Ended), Some(Usage { completion: 25, ..prompt }), None, true),
        ("sandbox/error-529", true, Some(Outcome::Ended), None, None, false),
    ];
    for (arrival, (model, stream, outcome, usage, sent, done)) in rows.into_iter().enumerate() {
        let body = ask(&json!({"model": model, "stream": stream}));
        let path = "/v1/messages?beta=true";
        let received = send(Http::One, sandbox.addr(), Method::POST, path, &[VERSION, ("x-api-key", "k")], body.clone()).await;
        sandbox.quiet(arrival as u64 + 1).await;
        let record = sandbox.records().pop().unwrap();
        assert_eq!((record.path.as_str(), record.body.as_ref(), record.model.as_deref()), (path, body.as_bytes(), Some(model)));
        assert_eq!((record.outcome, record.usage, record.usage_sent, record.done_sent), (outcome, usage, sent, done), "{model}");
        assert_eq!(record.body_bytes, received.body.len() as u64);
        if outcome == Some(Outcome::Ended) && sent == Some(own) {
            assert_eq!(received.told().usage(), (2, 8, 4, 2, 1));
        }
    }
}

/// An interaction as a corpus keeps it: the answer's status, headers, exact text, and whether it is an event stream.
const RECORDED: &str = r#"{"id": "m", "endpoint": "messages", "request": {"method": "POST", "path": "/v1/messages"},
    "response": {"status": 200, "headers": {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_1"}, "is_sse": true,
    "body_text": "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_sandbox_old\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":7}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"}}"#;

#[tokio::test]
async fn a_recorded_message_is_played_and_a_script_answers() {
    let interaction: Value = serde_json::from_str(RECORDED).unwrap();
    let response = &interaction["response"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let recording = Recording {
        status: StatusCode::from_u16(response["status"].as_u64().unwrap() as u16).unwrap(),
        headers: response["headers"].as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        body: text(&response["body_text"]).into(),
        is_sse: response["is_sse"] == true,
    };
    let recordings: Recordings = [("m".to_owned(), recording)].into_iter().collect();
    for cut_seed in [None, Some(5)] {
        let provider = Provider::start(Options { cut_seed, ..Options::default() }, recordings.clone()).unwrap();
        let path = format!("/r/m{MESSAGES}");
        let played = send(Http::One, provider.addr(), Method::POST, &path, &[VERSION], ask(&json!({}))).await;
        assert_eq!((played.text(), played.header("request-id")), (text(&response["body_text"]), "req_1"));
        let told = played.told();
        assert_eq!((told.usage(), told.stop_reason.as_deref(), told.done), ((3, 7, 0, 0, 0), Some("end_turn"), true));
        let missing = send(Http::One, provider.addr(), Method::POST, &format!("/r/n{MESSAGES}"), &[], "{}").await;
        assert_eq!((missing.status, &missing.json()["error"]["type"]), (Some(StatusCode::NOT_FOUND), &json!("not_found_error")));
    }
    let script = Provider::start(Options::default(), Script::by_model()).unwrap();
    let unknown = send(Http::One, script.addr(), Method::POST, MESSAGES, &[VERSION], ask(&json!({}))).await;
    assert_eq!((unknown.status, &unknown.json()["type"]), (Some(StatusCode::NOT_IMPLEMENTED), &json!("error")));
}
