use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::neutral::{Carrier, Prompt, ReasoningControls};
use crate::openai::write_prompt;
use crate::{AsksUsage, Fault, FaultKind, Limits, anthropic};

const PLAIN: Carrier<'static> = Carrier {
    provider_model: "model-up",
    stream: false,
    asks_usage: AsksUsage::StreamOptions,
    takes_gateway_fields: false,
    max_output: 0,
    context_window: 0,
    reasoning: ReasoningControls { effort: false, budget: false, adaptive: false, toggle: false },
    parameters: &[],
};
const GATEWAY: Carrier<'static> = Carrier { takes_gateway_fields: true, ..PLAIN };
const BY_EFFORT: Carrier<'static> =
    Carrier { reasoning: ReasoningControls { effort: true, budget: false, adaptive: false, toggle: false }, ..PLAIN };

/// A request of Anthropic's with one message and `further` members.
fn with(further: Value) -> Value {
    let mut request = json!({"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(request), Value::Object(further)) = (request.as_object_mut(), further) {
        request.extend(further);
    }
    request
}

fn user(content: Value) -> Value {
    with(json!({"messages": [{"role": "user", "content": content}]}))
}

fn read(request: &Value) -> Prompt {
    anthropic::read_prompt(&Bytes::from(request.to_string()), &Limits::default()).expect("a request")
}

fn translate(request: &Value, carrier: &Carrier<'_>) -> Result<(Value, Vec<String>), Fault> {
    let (body, notices) = write_prompt(&read(request), carrier)?;
    Ok((serde_json::from_slice(&body).expect("JSON"), notices.iter().map(ToString::to_string).collect()))
}

/// The request is translated into one that has `expected` among its members, with these notices.
fn check(request: Value, carrier: &Carrier<'_>, expected: Value, notices: &[&str]) {
    let (found, told) = translate(&request, carrier).unwrap_or_else(|fault| panic!("{request} was refused: {fault}"));
    let picked: Value = expected.as_object().expect("members").keys().map(|name| (name.clone(), found[name].clone())).collect();
    assert_eq!(picked, expected, "{request}");
    assert_eq!(told, notices, "{request}");
}

#[test]
fn parameters_are_carried_approximated_or_dropped_with_a_word() {
    let thinker: [Box<str>; 2] = ["max_completion_tokens".into(), "reasoning".into()];
    let rows = [
        (
            json!({}),
            PLAIN,
            json!({"model": "model-up", "max_tokens": 1000, "stream": null, "messages": [{"role": "user", "content": "hi"}]}),
            &[][..],
        ),
        (
            json!({"stream": true}),
            Carrier { stream: true, ..PLAIN },
            json!({"stream": true, "stream_options": {"include_usage": true}}),
            &[],
        ),
        (
            json!({"stream": true}),
            Carrier { stream: true, asks_usage: AsksUsage::Always, ..PLAIN },
            json!({"stream": true, "stream_options": null}),
            &[],
        ),
        (
            json!({"temperature": 0.5, "top_p": 1}),
            Carrier { parameters: &thinker, ..PLAIN },
            json!({"temperature": null, "top_p": null, "max_tokens": null, "max_completion_tokens": 1000}),
            &["temperature: dropped, the model takes none", "top_p: dropped, the model takes none"],
        ),
        (json!({"temperature": 0.50, "top_p": 1}), PLAIN, json!({"temperature": 0.5, "top_p": 1}), &[]),
        (json!({"top_k": 5}), GATEWAY, json!({"top_k": 5}), &[]),
        (json!({"top_k": 5}), PLAIN, json!({"top_k": null}), &["top_k: dropped, chat completions have none"]),
        (json!({"stop_sequences": ["a", "b"]}), PLAIN, json!({"stop": ["a", "b"]}), &[]),
        (json!({"metadata": {"user_id": "u"}}), PLAIN, json!({"user": "u"}), &[]),
        (json!({"metadata": {"user_id": "ü".repeat(64)}}), PLAIN, json!({"user": "ü".repeat(64)}), &[]),
        (
            json!({"metadata": {"user_id": "u".repeat(65)}}),
            PLAIN,
            json!({"user": null}),
            &["metadata.user_id: dropped, chat completions take at most 64 characters"],
        ),
        (json!({"service_tier": "auto"}), PLAIN, json!({"service_tier": "auto"}), &[]),
        (json!({"service_tier": "standard_only"}), PLAIN, json!({"service_tier": "default"}), &[]),
        (
            json!({"service_tier": "x"}),
            PLAIN,
            json!({"service_tier": null}),
            &["service_tier: dropped, this tier has no counterpart in chat completions"],
        ),
        (
            json!({"context_management": {}, "new": 1}),
            PLAIN,
            json!({"new": null}),
            &[
                "context_management: dropped, has no counterpart in chat completions",
                "new: dropped, has no counterpart in chat completions",
            ],
        ),
        (json!({"cache_control": {"type": "ephemeral"}}), GATEWAY, json!({"cache_control": {"type": "ephemeral"}}), &[]),
        (
            json!({"cache_control": {"type": "ephemeral"}}),
            PLAIN,
            json!({"cache_control": null}),
            &["cache_control: dropped, has no counterpart in chat completions"],
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
            PLAIN,
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": {"type": "object"}}}}),
            &[],
        ),
    ];
    for (further, carrier, expected, notices) in rows {
        check(with(further), &carrier, expected, notices);
    }
}

#[test]
fn thinking_is_asked_for_in_the_words_that_the_endpoint_takes() {
    let enabled = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048});
    let disabled = json!({"thinking": {"type": "disabled"}});
    let adaptive = json!({"thinking": {"type": "adaptive"}});
    let max = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}});
    let nothing = json!({"reasoning": null, "reasoning_effort": null});
    let rows = [
        (&enabled, GATEWAY, json!({"reasoning": {"max_tokens": 1024}, "reasoning_effort": null}), &[][..]),
        (
            &enabled,
            BY_EFFORT,
            json!({"reasoning_effort": "medium", "reasoning": null}),
            &["thinking.budget_tokens: approximated, sent as the nearest reasoning_effort"],
        ),
        (&enabled, PLAIN, nothing.clone(), &["thinking: dropped, this endpoint is not known to take a reasoning effort"]),
        (&disabled, GATEWAY, json!({"reasoning": {"enabled": false}}), &[]),
        (&disabled, PLAIN, nothing.clone(), &[]),
        (
            &disabled,
            BY_EFFORT,
            nothing.clone(),
            &["thinking: dropped, chat completions cannot switch it off; the model thinks as it is set"],
        ),
        (&adaptive, GATEWAY, json!({"reasoning": {"enabled": true}}), &[]),
        (&adaptive, BY_EFFORT, nothing.clone(), &["thinking: approximated, left to the model's own measure"]),
        (&max, GATEWAY, json!({"reasoning": {"effort": "max"}}), &[]),
        (&max, BY_EFFORT, json!({"reasoning_effort": "xhigh"}), &["output_config.effort: approximated, sent as xhigh, the most there is"]),
    ];
    for (further, carrier, expected, notices) in rows {
        check(with(further.clone()), &carrier, expected, notices);
    }
}

#[test]
fn tools_and_the_choice_among_them_are_carried() {
    let tool = json!({"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true, "cache_control": {"type": "ephemeral"}, "x": 1});
    let function = json!({"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true});
    let left_out = "tools[0].x: dropped, has no counterpart in chat completions";
    check(
        with(json!({"tools": [tool], "tool_choice": {"type": "any", "disable_parallel_tool_use": true}})),
        &GATEWAY,
        json!({"tools": [{"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}], "tool_choice": "required", "parallel_tool_calls": false}),
        &[left_out],
    );
    check(
        with(json!({"tools": [tool], "tool_choice": {"type": "tool", "name": "f"}})),
        &PLAIN,
        json!({"tools": [{"type": "function", "function": function}], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
        &["tools[0].cache_control: dropped, this provider caches by itself or not at all", left_out],
    );
    for (choice, word) in [("auto", "auto"), ("none", "none")] {
        let tool = json!({"name": "f", "input_schema": {}});
        check(with(json!({"tools": [tool], "tool_choice": {"type": choice}})), &PLAIN, json!({"tool_choice": word}), &[]);
    }
    check(
        with(json!({"tool_choice": {"type": "auto"}})),
        &PLAIN,
        json!({"tool_choice": null}),
        &["tool_choice: dropped, there are no tools"],
    );
}

#[test]
fn content_becomes_a_string_where_one_text_says_it_all_and_parts_elsewhere() {
    let marker = json!({"type": "ephemeral"});
    let pdf = json!({"type": "document", "title": "T.pdf", "context": "c", "citations": {"enabled": true},
        "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}});
    let rows = [
        (json!([{"type": "text", "text": "a\n\u{e9}"}]), PLAIN, json!("a\n\u{e9}"), &[][..]),
        (
            json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            PLAIN,
            json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            &[],
        ),
        (
            json!([{"type": "text", "text": "a", "cache_control": marker}]),
            PLAIN,
            json!("a"),
            &["messages[0].content[0].cache_control: dropped, this provider caches by itself or not at all"],
        ),
        (
            json!([{"type": "text", "text": "a", "cache_control": marker}]),
            GATEWAY,
            json!([{"type": "text", "text": "a", "cache_control": marker}]),
            &[],
        ),
        (
            json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]),
            PLAIN,
            json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]),
            &[],
        ),
        (
            json!([{"type": "image", "source": {"type": "url", "url": "https://x/a.png"}, "cache_control": marker}]),
            GATEWAY,
            json!([{"type": "image_url", "image_url": {"url": "https://x/a.png"}, "cache_control": marker}]),
            &[],
        ),
        (
            json!([pdf]),
            PLAIN,
            json!([{"type": "file", "file": {"filename": "T.pdf", "file_data": "data:application/pdf;base64,AA"}}]),
            &[
                "messages[0].content[0].citations: approximated, off: chat completions cite no documents",
                "messages[0].content[0].context: dropped, a file has none in chat completions",
            ],
        ),
        (
            json!([{"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}]),
            GATEWAY,
            json!([{"type": "file", "file": {"filename": "document.pdf", "file_data": "https://x/a.pdf"}}]),
            &[],
        ),
        (
            json!([{"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}]),
            PLAIN,
            json!([{"type": "text", "text": "words"}]),
            &["messages[0].content[0].title: dropped, a text part has none"],
        ),
        (
            json!([{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}]),
            PLAIN,
            json!([{"type": "text", "text": "a"}]),
            &["messages[0].content[0].source: approximated, its content sent as parts of the message"],
        ),
    ];
    for (content, carrier, expected, notices) in rows {
        check(user(content), &carrier, json!({"messages": [{"role": "user", "content": expected}]}), notices);
    }
    check(
        with(json!({"system": [{"type": "text", "text": "s", "cache_control": marker}]})),
        &GATEWAY,
        json!({"messages": [{"role": "system", "content": [{"type": "text", "text": "s", "cache_control": marker}]}, {"role": "user", "content": "hi"}]}),
        &[],
    );
    check(
        with(json!({"system": "s"})),
        &PLAIN,
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}),
        &[],
    );
}

/// A turn that thinks, speaks and calls, and the results of its calls.
fn conversation() -> Value {
    with(json!({"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "redacted_thinking", "data": "E"},
            {"type": "text", "text": "see", "citations": [{"type": "char_location"}]},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": "\"x\""}},
            {"type": "tool_use", "id": "c2", "name": "g", "input": {}, "cache_control": {"type": "ephemeral"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "1"},
                {"type": "image", "source": {"type": "url", "url": "https://x"}}]},
            {"type": "tool_result", "tool_use_id": "c2", "content": "broken", "is_error": true},
            {"type": "text", "text": "and now?"},
        ]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c3", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c3"}]},
        {"role": "assistant", "content": "The answer is"},
    ]}))
}

#[test]
fn a_turn_falls_apart_into_messages_of_their_own_kind() {
    let call =
        |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let mut assistant =
        json!({"role": "assistant", "content": "see", "tool_calls": [call("c1", "f", r#"{"a":"\"x\""}"#), call("c2", "g", "{}")]});
    let expected = |assistant: &Value| {
        json!({"messages": [
            {"role": "user", "content": "go"},
            assistant,
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": "Error: broken"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}, {"type": "text", "text": "and now?"}]},
            {"role": "assistant", "content": null, "tool_calls": [call("c3", "f", "{}")]},
            {"role": "tool", "tool_call_id": "c3", "content": ""},
            {"role": "assistant", "content": "The answer is"},
        ]})
    };
    let thoughts = [
        "messages[1].content[0]: dropped, this provider takes no thoughts back",
        "messages[1].content[1]: dropped, this provider takes no thoughts back",
    ];
    let always = [
        "messages[1].content[2].citations: dropped, chat completions take none back",
        "messages[1].content[4].cache_control: dropped, a tool call can hold none",
        "messages[2].content[0].content[1]: approximated, sent in a user message after the tool's",
        "messages[2].content[1].is_error: approximated, told by the words \"Error: \" before the text",
    ];
    let mut notices = always.to_vec();
    notices.splice(1..1, thoughts);
    check(conversation(), &PLAIN, expected(&assistant), &notices);
    assistant["reasoning_details"] = json!([
        {"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "E", "format": "anthropic-claude-v1", "index": 1},
    ]);
    check(conversation(), &GATEWAY, expected(&assistant), &always);
}

#[test]
fn a_result_keeps_its_marker_on_its_last_text() {
    let result = json!({"type": "tool_result", "tool_use_id": "c", "content": "1", "cache_control": {"type": "ephemeral"}});
    let request = with(json!({"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {"role": "user", "content": [result]},
    ]}));
    let (found, notices) = translate(&request, &GATEWAY).expect("carried");
    assert_eq!(found["messages"][2]["content"], json!([{"type": "text", "text": "1", "cache_control": {"type": "ephemeral"}}]));
    assert_eq!(notices, Vec::<String>::new());
    let (found, notices) = translate(&request, &PLAIN).expect("carried");
    assert_eq!(found["messages"][2]["content"], "1");
    assert_eq!(notices, ["messages[2].content[0].cache_control: dropped, there is no place for it in a tool's message here"]);
}

#[test]
fn what_must_not_be_left_out_is_refused_with_its_path() {
    let document = |source: Value| user(json!([{"type": "document", "source": source}]));
    let rows = [
        (with(json!({"stop_sequences": ["a", "b", "c", "d", "e"]})), "stop_sequences"),
        (with(json!({"mcp_servers": [{"name": "x"}]})), "mcp_servers"),
        (with(json!({"container": "x"})), "container"),
        (with(json!({"tools": [{"name": "f", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"}]})), "tools[1]"),
        (document(json!({"type": "file", "file_id": "f"})), "messages[0].content[0].source"),
        (document(json!({"type": "url", "url": "https://x"})), "messages[0].content[0].source"),
        (user(json!([{"type": "image", "source": {"type": "file", "file_id": "f"}}])), "messages[0].content[0].source"),
        (
            user(json!([{"type": "text", "text": "a"}, {"type": "search_result", "source": "x", "title": "t", "content": []}])),
            "messages[0].content[1]",
        ),
        (
            with(
                json!({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]}]}),
            ),
            "messages[0].content[0]",
        ),
        (with(json!({"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "new"}})), "tool_choice"),
        (with(json!({"output_config": {"format": {"type": "new"}}})), "output_config.format"),
    ];
    for (request, path) in rows {
        let fault = translate(&request, &PLAIN).expect_err(path);
        assert_eq!((fault.kind, fault.path.as_str()), (FaultKind::Unsupported, path), "{request}");
    }
}

fn blocks() -> impl Strategy<Value = Vec<Value>> {
    let block = prop::sample::select(vec![
        json!({"type": "text", "text": "a \"b\"", "vendor": 1}),
        json!({"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}),
        json!({"type": "thinking", "thinking": "hm", "signature": ""}),
        json!({"type": "tool_use", "id": "c", "name": "f", "input": {"a": [1]}}),
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}),
    ]);
    prop::collection::vec(block, 0..5)
}

proptest! {
    /// Whatever comes out is read by this dialect's own reader, and each foreign member has its notice.
    #[test]
    fn what_is_translated_is_a_request_of_this_dialect(turns in prop::collection::vec(blocks(), 1..4), gateway in any::<bool>()) {
        let messages: Vec<Value> = turns.iter().map(|blocks| json!({"role": "assistant", "content": blocks})).collect();
        let request = with(json!({"messages": messages, "tools": [{"name": "f", "input_schema": {}}]}));
        let carrier = if gateway { GATEWAY } else { PLAIN };
        let (body, notices) = write_prompt(&read(&request), &carrier).expect("nothing to refuse");
        let found = crate::openai::read_prompt(&body, &Limits::default()).expect("a request");
        prop_assert_eq!(found.turns.len(), turns.len());
        let foreign = request.to_string().matches("\"vendor\"").count();
        prop_assert_eq!(notices.iter().filter(|notice| notice.path.ends_with(".vendor")).count(), foreign);
    }
}
