//! Requests of Anthropic's own dialect: what is refused, and that all others come back as they were.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{carrier, own, parse, value};
use crate::anthropic::{read_prompt, write_prompt};
use crate::fault::FaultKind::{InvalidJson, InvalidUtf8, InvalidValue, Missing, TooLarge, TooManyKeys, WrongType};
use crate::limits::Limits;
use crate::neutral::{Carrier, Content, Extension, MediaSource, Role, ToolChoice, Ttl};

/// The request without what the gateway reads, with the names that the carrier gives.
fn restored(request: &Value) -> Value {
    let body = Bytes::from(request.to_string());
    let prompt = read_prompt(&body, &Limits::default()).unwrap_or_else(|fault| panic!("{fault}: {request}"));
    let carrier = Carrier { stream: prompt.stream, ..carrier() };
    let (written, notices) = write_prompt(&prompt, &carrier).expect("its own");
    assert_eq!(notices, [], "{request}");
    value(&written)
}

#[test]
fn every_member_of_the_dialect_is_restored() {
    let messages = json!([
            {"role": "user", "content": "hello \u{1F600} \"x\"\n"},
            {"role": "user", "content": [
                {"type": "text", "text": "t", "citations": null},
                {"type": "text", "text": "t", "citations": []},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://x/a.png", "new": 1}, "cache_control": {"type": "ephemeral", "ttl": "5m"}},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {"type": "image", "source": {"type": "of_tomorrow", "x": [1]}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}, "title": "t", "context": null, "citations": {"enabled": false}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "context": "c", "citations": {"enabled": true, "new": 1}},
                {"type": "document", "source": {"type": "content", "content": "as a string"}},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
                {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
                {"type": "search_result", "source": "https://x", "title": "t", "content": [{"type": "text", "text": "x"}]},
                {"type": "container_upload", "file_id": "f"},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "xx"},
                {"type": "text", "text": "t", "citations": [{"type": "char_location", "cited_text": "x"}]},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": {"y": [1, 2.50]}}, "caller": {"type": "direct"}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}},
                {"type": "tool_use", "id": "c", "name": "f", "input": {}},
                {"type": "tool_use", "id": "d", "name": "f", "input": {}},
            ], "new": 1},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a"},
                {"type": "tool_result", "tool_use_id": "b", "content": "r", "is_error": false},
                {"type": "tool_result", "tool_use_id": "c", "content": [], "is_error": true},
                {"type": "tool_result", "tool_use_id": "d", "content": [{"type": "text", "text": "x"}, {"type": "image", "source": {"type": "url", "url": "https://x"}}, {"type": "tool_reference", "tool_name": "f"}]},
            ]},
            {"role": "system", "content": "in between"},
            {"role": "assistant", "content": ""},
    ]);
    let full = json!({
        "model": "claude", "max_tokens": 2048, "stream": true, "temperature": 0.5, "top_p": 0.9, "top_k": 40,
        "stop_sequences": ["a", "\n"], "service_tier": "auto", "metadata": {"user_id": "u", "more": 1}, "inference_geo": "us",
        "container": null, "cache_control": {"type": "ephemeral"}, "context_management": {"edits": [{"type": "x"}]},
        "mcp_servers": [{"type": "url", "url": "https://x"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized", "new": 1},
        "output_config": {"effort": "xhigh", "format": {"type": "json_schema", "schema": {"type": "object"}, "new": 2}, "task_budget": {}},
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": false, "new": 3},
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true, "cache_control": {"type": "ephemeral"}, "defer_loading": true},
            {"type": "custom", "name": "g"},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        ],
        "messages": messages,
    });
    assert_eq!(restored(&full), full);
    let small = json!({"model": "claude", "max_tokens": 1, "stream": false, "system": "s", "messages": [{"role": "user", "content": []}],
        "output_format": {"type": "json_schema", "schema": {}}, "thinking": {"type": "disabled"}, "tool_choice": {"type": "of_tomorrow"}});
    assert_eq!(restored(&small), small);
    let adaptive = json!({"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tools": [],
        "thinking": {"type": "adaptive", "display": "omitted"}, "metadata": {}, "output_config": {}});
    assert_eq!(restored(&adaptive), adaptive);
    let nothing =
        json!({"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "tools": [ ], "stop_sequences": []});
    assert_eq!(restored(&nothing), nothing);
}

#[test]
fn what_is_said_to_the_gateway_stays_with_it() {
    let request = json!({"model": "a/b", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "models": ["a"], "fallbacks": [],
        "provider": null, "route": "x", "plugins": [], "session_id": "s", "trace": {}, "usage": {}, "preset": "p", "debug": {}, "transforms": []});
    let expected = json!({"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(restored(&request), expected);
}

#[test]
fn the_neutral_form_says_what_the_request_says() {
    let prompt = own(
        r#"{"max_tokens":9,"model":"m","system":"s","tool_choice":{"type":"any","disable_parallel_tool_use":true},"metadata":{"user_id":"u"},
        "thinking":{"type":"enabled","budget_tokens":2000,"display":"omitted"},"output_config":{"effort":"low"},
        "messages":[{"role":"user","content":[{"type":"document","title":"t","citations":{"enabled":true},"source":{"type":"text","media_type":"text/plain","data":"d"},
        "cache_control":{"type":"ephemeral","ttl":"1h"}}]}]}"#,
    );
    assert_eq!(
        prompt.turns.iter().map(|turn| (turn.role, turn.message)).collect::<Vec<_>>(),
        [(Role::System, None), (Role::User, Some(0))]
    );
    assert_eq!((prompt.tool_choice, prompt.parallel_tool_calls), (Some(ToolChoice::Required), Some(false)));
    let wish = prompt.reasoning.expect("told");
    assert_eq!(
        (wish.enabled, wish.budget, wish.hidden, wish.effort.map(|effort| effort.name())),
        (Some(true), Some(2000), true, Some("low"))
    );
    let block = &prompt.turns[1].blocks[0];
    assert_eq!(block.cache.as_ref().map(|cache| cache.ttl), Some(Ttl::OneHour));
    let Content::Document(media) = &block.content else { panic!("a document") };
    assert!(media.citations && matches!(&media.source, MediaSource::PlainText(text) if text.is("d")));
    assert!(media.title.as_ref().is_some_and(|title| title.is("t")));
    assert_eq!(block.place.to_string(), "messages[0].content[0]");
}

/// A writer of another dialect can name what it leaves out, wherever it lies, and nothing else.
#[test]
fn what_only_this_dialect_has_is_known_by_its_path() {
    let prompt = own(
        r#"{"max_tokens":9,"model":"m","stream":false,"container":"c","top_k":null,"thinking":{"type":"adaptive","a":1},"metadata":{"user_id":"u","b":1},
        "tool_choice":{"type":"any","c":1},"output_config":{"effort":"low","d":1,"format":{"type":"json_schema","schema":{},"e":1}},
        "tools":[{"name":"f","defer_loading":true}],"messages":[{"role":"user","f":1,"content":[
        {"type":"document","source":{"type":"url","url":"u","g":1},"citations":{"enabled":true,"h":1},"i":1},{"type":"text","text":"x","citations":[]}]}]}"#,
    );
    let names = |extension: &Extension| extension.members().map(|(name, _)| name.decode().into_owned()).collect::<Vec<_>>();
    let turn = &prompt.turns[0];
    let found = [names(&prompt.extension), names(&prompt.tools[0].extension), names(&turn.extension), names(&turn.blocks[0].extension)];
    let expected: [&[&str]; 4] = [
        &["container", "tool_choice.c", "thinking.a", "output_config.format.e", "output_config.d", "metadata.b"],
        &["defer_loading"],
        &["f"],
        &["i", "source.g", "citations.h"],
    ];
    assert_eq!(found, expected);
    assert!(turn.blocks[1].extension.is_empty());
}

#[test]
fn a_fault_names_its_field() {
    let with = |members: &str| format!(r#"{{"max_tokens":5,"messages":[{{"role":"user","content":"x"}}],{members}}}"#);
    let message = |message: &str| format!(r#"{{"max_tokens":5,"messages":[{message}]}}"#);
    let block = |block: &str| message(&format!(r#"{{"role":"user","content":[{block}]}}"#));
    let called = |result: &str| {
        message(&format!(
            r#"{{"role":"assistant","content":[{{"type":"tool_use","id":"a","name":"f","input":{{}}}}]}},{{"role":"user","content":[{{"type":"text","text":"x"}},{result}]}}"#
        ))
    };
    let rows = [
        ("[]".to_owned(), WrongType, ""),
        ("{".to_owned(), InvalidJson, ""),
        (r#"{"messages":[{"role":"user","content":"x"}]}"#.to_owned(), Missing, "max_tokens"),
        (r#"{"max_tokens":0,"messages":[{"role":"user","content":"x"}]}"#.to_owned(), InvalidValue, "max_tokens"),
        (r#"{"max_tokens":"5","messages":[{"role":"user","content":"x"}]}"#.to_owned(), WrongType, "max_tokens"),
        (r#"{"max_tokens":1.5,"messages":[{"role":"user","content":"x"}]}"#.to_owned(), InvalidValue, "max_tokens"),
        (r#"{"max_tokens":5}"#.to_owned(), Missing, "messages"),
        (r#"{"max_tokens":5,"messages":[]}"#.to_owned(), InvalidValue, "messages"),
        (r#"{"max_tokens":5,"messages":{}}"#.to_owned(), WrongType, "messages"),
        (message("1"), WrongType, "messages[0]"),
        (message(r#"{"content":"x"}"#), Missing, "messages[0].role"),
        (message(r#"{"role":"tool","content":"x"}"#), InvalidValue, "messages[0].role"),
        (message(r#"{"role":"user"}"#), Missing, "messages[0].content"),
        (message(r#"{"role":"user","content":{}}"#), WrongType, "messages[0].content"),
        (block("1"), WrongType, "messages[0].content[0]"),
        (block("{}"), Missing, "messages[0].content[0].type"),
        (block(r#"{"type":"text"}"#), Missing, "messages[0].content[0].text"),
        (block(r#"{"type":"text","text":1}"#), WrongType, "messages[0].content[0].text"),
        (block(r#"{"type":"text","text":"x","citations":{}}"#), WrongType, "messages[0].content[0].citations"),
        (block(r#"{"type":"text","text":"x","cache_control":1}"#), WrongType, "messages[0].content[0].cache_control"),
        (block(r#"{"type":"text","text":"x","cache_control":{}}"#), Missing, "messages[0].content[0].cache_control.type"),
        (block(r#"{"type":"image"}"#), Missing, "messages[0].content[0].source"),
        (block(r#"{"type":"image","source":{}}"#), Missing, "messages[0].content[0].source.type"),
        (block(r#"{"type":"image","source":{"type":"base64"}}"#), Missing, "messages[0].content[0].source.media_type"),
        (block(r#"{"type":"image","source":{"type":"url"}}"#), Missing, "messages[0].content[0].source.url"),
        (block(r#"{"type":"document","source":{"type":"content"}}"#), Missing, "messages[0].content[0].source.content"),
        (
            block(r#"{"type":"document","source":{"type":"content","content":[{"type":"text"}]}}"#),
            Missing,
            "messages[0].content[0].source.content[0].text",
        ),
        (
            block(r#"{"type":"document","source":{"type":"url","url":"x"},"citations":{"enabled":1}}"#),
            WrongType,
            "messages[0].content[0].citations.enabled",
        ),
        (block(r#"{"type":"tool_result","tool_use_id":"a"}"#), InvalidValue, "messages[0].content[0].tool_use_id"),
        (block(r#"{"type":"tool_use","id":"a","name":"f","input":{}}"#), InvalidValue, "messages[0].content[0]"),
        (block(r#"{"type":"tool_use","id":"a","name":"f","input":"{}"}"#), WrongType, "messages[0].content[0].input"),
        (called(r#"{"type":"tool_result","tool_use_id":"b"}"#), InvalidValue, "messages[1].content[1].tool_use_id"),
        (
            called(
                r#"{"type":"tool_result","tool_use_id":"a"}]},{"role":"assistant","content":"x"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}"#,
            ),
            InvalidValue,
            "messages[3].content[0].tool_use_id",
        ),
        (called(r#"{"type":"tool_result","tool_use_id":"a","content":1}"#), WrongType, "messages[1].content[1].content"),
        (
            called(r#"{"type":"tool_result","tool_use_id":"a","content":[{"type":"text"}]}"#),
            Missing,
            "messages[1].content[1].content[0].text",
        ),
        (called(r#"{"type":"tool_result","tool_use_id":"a","is_error":"no"}"#), WrongType, "messages[1].content[1].is_error"),
        (with(r#""system":1"#), WrongType, "system"),
        (with(r#""system":[{"type":"text"}]"#), Missing, "system[0].text"),
        (with(r#""stream":"yes""#), WrongType, "stream"),
        (with(r#""temperature":1.1"#), InvalidValue, "temperature"),
        (with(r#""temperature":"1""#), WrongType, "temperature"),
        (with(r#""top_p":-1"#), InvalidValue, "top_p"),
        (with(r#""top_k":-1"#), InvalidValue, "top_k"),
        (with(r#""stop_sequences":"x""#), WrongType, "stop_sequences"),
        (with(r#""stop_sequences":["x",1]"#), WrongType, "stop_sequences[1]"),
        (with(r#""tools":{}"#), WrongType, "tools"),
        (with(r#""tools":[{}]"#), Missing, "tools[0].name"),
        (with(r#""tools":[{"name":"f","input_schema":[]}]"#), WrongType, "tools[0].input_schema"),
        (with(r#""tools":[{"name":""}]"#), InvalidValue, "tools[0].name"),
        (with(r#""tool_choice":"auto""#), WrongType, "tool_choice"),
        (with(r#""tool_choice":{"type":"tool"}"#), Missing, "tool_choice.name"),
        (with(r#""tool_choice":{"type":"auto","disable_parallel_tool_use":1}"#), WrongType, "tool_choice.disable_parallel_tool_use"),
        (with(r#""thinking":{"type":"enabled"}"#), Missing, "thinking.budget_tokens"),
        (with(r#""thinking":{"type":"enabled","budget_tokens":1023}"#), InvalidValue, "thinking.budget_tokens"),
        (with(r#""thinking":{"type":"always"}"#), InvalidValue, "thinking.type"),
        (with(r#""output_config":{"effort":"minimal"}"#), InvalidValue, "output_config.effort"),
        (with(r#""output_config":{"format":{"type":"json_schema"}}"#), Missing, "output_config.format.schema"),
        (with(r#""output_format":{"type":"json_schema","schema":1}"#), WrongType, "output_format.schema"),
        (with(r#""metadata":{"user_id":1}"#), WrongType, "metadata.user_id"),
        (with(r#""service_tier":1"#), WrongType, "service_tier"),
    ];
    for (body, kind, path) in rows {
        let fault = read_prompt(&Bytes::from(body.clone()), &Limits::default()).expect_err(&body);
        assert_eq!((fault.kind, fault.path.as_str()), (kind, path), "{body}");
    }
    let limits = Limits { body_bytes: 100, json_keys: 5, ..Limits::default() };
    let long = with(&format!(r#""x":"{}""#, "a".repeat(100)));
    for (body, kind) in
        [(long.into_bytes(), TooLarge), (b"{\"\xff\":1}".to_vec(), InvalidUtf8), (with(r#""a":1,"b":2"#).into_bytes(), TooManyKeys)]
    {
        assert_eq!(read_prompt(&body.into(), &limits).map(|_| ()).map_err(|fault| fault.kind), Err(kind));
    }
}

#[test]
fn thoughts_that_were_never_signed_do_not_go_back_to_anthropic() {
    let body = |thinking: &str, signature: &str, end: &str| {
        format!(
            r#"{{"model":"claude","max_tokens":4000{thinking},"messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":[{{"type":"thinking","thinking":"hm"{signature}}}]}},
            {{"role":"assistant","content":[{{"type":"thinking","thinking":"hm","signature":""}},{{"type":"tool_use","id":"a","name":"f","input":{{}}}}]}}{end}]}}"#
        )
    };
    let result = r#",{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}"#;
    let budget = r#","thinking":{"type":"enabled","budget_tokens":2000}"#;
    let rows = [
        ("", ",\"signature\":\"s\"", "", vec!["messages[2].content[0]"], 3, false),
        ("", "", "", vec!["messages[1].content[0]", "messages[2].content[0]"], 2, false),
        (budget, "", "", vec!["messages[1].content[0]", "messages[2].content[0]"], 2, true),
        (budget, "", result, vec!["messages[1].content[0]", "messages[2].content[0]", "thinking"], 3, false),
        (r#","thinking":{"type":"adaptive"}"#, "", result, vec!["messages[1].content[0]", "messages[2].content[0]"], 3, true),
    ];
    for (thinking, signature, end, paths, messages, thinks) in rows {
        let body = body(thinking, signature, end);
        let (written, notices) = write_prompt(&own(&body), &carrier()).expect("its own");
        let written = value(&written);
        assert_eq!(notices.iter().map(|notice| notice.path.as_str()).collect::<Vec<_>>(), paths, "{body}");
        assert_eq!(written["messages"].as_array().map(Vec::len), Some(messages), "{written}");
        assert_eq!(written["thinking"].is_object(), thinks, "{written}");
        assert!(!written.to_string().contains("\"signature\":\"\""), "{written}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", Just("\u{1F600}\n\"\\".to_owned()), Just(String::new())]
}

fn optional(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Vec<(String, Value)>> {
    prop_oneof![Just(vec![]), value.prop_map(move |value| vec![(name.to_owned(), value)])].boxed()
}

fn cache() -> BoxedStrategy<Vec<(String, Value)>> {
    let marker = prop_oneof![
        Just(json!({"type": "ephemeral"})),
        Just(json!({"type": "ephemeral", "ttl": "1h"})),
        Just(json!({"type": "of_tomorrow", "ttl": "5m"})),
        Just(Value::Null),
    ];
    optional("cache_control", marker)
}

fn object(base: Value, members: Vec<Vec<(String, Value)>>) -> Value {
    let mut object = base;
    object.as_object_mut().expect("an object").extend(members.into_iter().flatten());
    object
}

fn source() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|data| json!({"type": "base64", "media_type": "application/pdf", "data": data})),
        text().prop_map(|url| json!({"type": "url", "url": url})),
        text().prop_map(|id| json!({"type": "file", "file_id": id, "x": null})),
        text().prop_map(|data| json!({"type": "text", "media_type": "text/plain", "data": data})),
        text().prop_map(|text| json!({"type": "content", "content": [{"type": "text", "text": text}]})),
        text().prop_map(|text| json!({"type": "content", "content": text})),
    ]
}

fn user_block() -> BoxedStrategy<Value> {
    let flags = optional("citations", any::<bool>().prop_map(|on| json!({"enabled": on})));
    prop_oneof![
        (text(), cache()).prop_map(|(text, cache)| object(json!({"type": "text", "text": text}), vec![cache])),
        (source(), cache()).prop_map(|(source, cache)| object(json!({"type": "image", "source": source}), vec![cache])),
        (source(), cache(), flags, optional("title", text().prop_map(Value::String)))
            .prop_map(|(source, cache, flags, title)| object(json!({"type": "document", "source": source}), vec![cache, flags, title])),
        text().prop_map(|kind| json!({"type": format!("x{kind}"), "citations": 1, "content": [1, {"input": null}]})),
    ]
    .boxed()
}

fn assistant_block() -> impl Strategy<Value = Value> {
    prop_oneof![
        (text(), cache())
            .prop_map(|(text, cache)| object(json!({"type": "text", "text": text, "citations": [{"type": "x"}]}), vec![cache])),
        ("[a-z]{1,6}", text()).prop_map(|(signature, text)| json!({"type": "thinking", "thinking": text, "signature": signature})),
        text().prop_map(|data| json!({"type": "redacted_thinking", "data": data})),
        (text(), text()).prop_map(|(id, name)| json!({"type": "server_tool_use", "id": id, "name": name, "input": {"a": [1]}})),
    ]
}

fn request() -> impl Strategy<Value = Value> {
    let content = || prop_oneof![text().prop_map(Value::String), prop::collection::vec(user_block(), 0..4).prop_map(Value::Array)];
    let result = (content(), prop::option::of(any::<bool>()));
    let turn = (content(), prop::collection::vec(assistant_block(), 0..4), result, cache());
    let turns = prop::collection::vec(turn, 1..4).prop_map(|turns| {
        let mut messages = Vec::new();
        for (at, (user, mut assistant, (result, is_error), cache)) in turns.into_iter().enumerate() {
            messages.push(json!({"role": "user", "content": user}));
            assistant.push(json!({"type": "tool_use", "id": format!("id.{at}"), "name": "f", "input": {"b": 1.50, "a": null}}));
            messages.push(json!({"role": "assistant", "content": assistant}));
            let is_error = is_error.map(|is| vec![("is_error".to_owned(), json!(is))]).unwrap_or_default();
            let result = json!({"type": "tool_result", "tool_use_id": format!("id.{at}"), "content": result});
            messages.push(json!({"role": "user", "content": [object(result, vec![is_error, cache])]}));
        }
        Value::Array(messages)
    });
    let tool = (text(), cache(), optional("strict", any::<bool>().prop_map(Value::Bool)), optional("type", Just(json!("custom"))));
    let tool = tool.prop_map(|(name, cache, strict, kind)| {
        object(json!({"name": format!("t{name}"), "input_schema": {"x": {}}}), vec![cache, strict, kind])
    });
    let thinking = prop_oneof![
        Just(json!({"type": "adaptive", "display": "omitted"})),
        (1024..9000_u32).prop_map(|budget| json!({"type": "enabled", "budget_tokens": budget})),
        Just(json!({"type": "disabled"})),
        Just(Value::Null),
    ];
    let members = (
        optional("system", content_of_texts()),
        optional("tools", prop::collection::vec(tool, 1..3).prop_map(Value::Array)),
        optional("thinking", thinking),
        optional("stream", any::<bool>().prop_map(Value::Bool)),
        optional("temperature", (0..=100_u32).prop_map(|number| json!(f64::from(number) / 100.0))),
        optional("stop_sequences", prop::collection::vec(text(), 1..3).prop_map(|words| json!(words))),
        optional("output_config", Just(json!({"effort": "max", "x": 1}))),
        optional("tool_choice", any::<bool>().prop_map(|single| json!({"type": "auto", "disable_parallel_tool_use": single}))),
        optional("unknown", Just(json!({"a": [null]}))),
    );
    (turns, members).prop_map(|(messages, (system, tools, thinking, stream, temperature, stop, output, choice, unknown))| {
        let base = json!({"model": "claude", "max_tokens": 64000, "messages": messages});
        object(base, vec![system, tools, thinking, stream, temperature, stop, output, choice, unknown])
    })
}

fn content_of_texts() -> impl Strategy<Value = Value> {
    let block = (text(), cache()).prop_map(|(text, cache)| object(json!({"type": "text", "text": text}), vec![cache]));
    prop_oneof![text().prop_map(Value::String), prop::collection::vec(block, 0..3).prop_map(Value::Array)]
}

proptest! {
    #[test]
    fn reading_and_writing_an_own_request_changes_nothing(request in request()) {
        prop_assert_eq!(restored(&request), request);
    }

    #[test]
    fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_prompt(&Bytes::from(bytes), &Limits::default());
    }

    /// Requests that are broken in one place reach deeper than bytes at random.
    #[test]
    fn no_broken_request_panics_the_reader(request in request(), at in any::<prop::sample::Index>(), with in prop::sample::select(b"{}[]\",:0x ".to_vec())) {
        let mut body = request.to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = with;
        if let Ok(prompt) = read_prompt(&Bytes::from(body), &Limits::default()) {
            let (written, _) = write_prompt(&prompt, &carrier()).expect("its own");
            value(&written);
        }
    }
}

#[test]
fn equal_names_are_written_once() {
    let twice = own(r#"{"max_tokens":1,"max_tokens":2,"messages":[{"role":"user","content":"x"}]}"#);
    let (written, _) = write_prompt(&twice, &carrier()).expect("its own");
    assert_eq!(value(&written), parse(r#"{"model":"claude","max_tokens":2,"messages":[{"role":"user","content":"x"}]}"#));
    assert_eq!(String::from_utf8_lossy(&written).matches("max_tokens").count(), 1);
}
