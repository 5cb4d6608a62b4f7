use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::limits::Limits;
use crate::neutral::{Carrier, Content, Effort, Place, Prompt, Reasoning, Role, ToolChoice};
use crate::openai::{read_prompt, write_prompt};
use crate::{Fault, FaultKind};

fn read(request: &Value) -> Result<Prompt, Fault> {
    read_prompt(&Bytes::from(request.to_string()), &Limits::default())
}

/// A request of one user message with `further` members.
fn with(further: Value) -> Value {
    let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(request), Value::Object(further)) = (request.as_object_mut(), further) {
        request.extend(further);
    }
    request
}

fn message(message: Value) -> Value {
    json!({"model": "m", "messages": [message]})
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    use FaultKind::{InvalidValue, Missing, WrongType};
    let user = json!({"role": "user", "content": "hi"});
    let rows = [
        (json!({"model": "m"}), Missing, "messages"),
        (json!({"messages": []}), InvalidValue, "messages"),
        (json!({"messages": {}}), WrongType, "messages"),
        (json!({"messages": ["hi"]}), WrongType, "messages[0]"),
        (message(json!({"content": "hi"})), Missing, "messages[0].role"),
        (message(json!({"role": "robot", "content": "hi"})), InvalidValue, "messages[0].role"),
        (message(json!({"role": "user"})), Missing, "messages[0].content"),
        (message(json!({"role": "user", "content": null})), Missing, "messages[0].content"),
        (message(json!({"role": "user", "content": 3})), WrongType, "messages[0].content"),
        (message(json!({"role": "user", "content": [3]})), WrongType, "messages[0].content[0]"),
        (message(json!({"role": "user", "content": [{"text": "x"}]})), Missing, "messages[0].content[0].type"),
        (message(json!({"role": "user", "content": [{"type": "text"}]})), Missing, "messages[0].content[0].text"),
        (message(json!({"role": "user", "content": [{"type": "text", "text": 1}]})), WrongType, "messages[0].content[0].text"),
        (message(json!({"role": "user", "content": [{"type": "image_url"}]})), Missing, "messages[0].content[0].image_url"),
        (
            message(json!({"role": "user", "content": [{"type": "image_url", "image_url": {}}]})),
            Missing,
            "messages[0].content[0].image_url.url",
        ),
        (message(json!({"role": "user", "content": [{"type": "file", "file": {}}]})), Missing, "messages[0].content[0].file.file_data"),
        (
            message(json!({"role": "user", "content": [{"type": "text", "text": "", "cache_control": 1}]})),
            WrongType,
            "messages[0].content[0].cache_control",
        ),
        (message(json!({"role": "tool", "content": "x"})), Missing, "messages[0].tool_call_id"),
        (message(json!({"role": "tool", "tool_call_id": "c", "content": "x"})), InvalidValue, "messages[0].tool_call_id"),
        (message(json!({"role": "assistant", "tool_calls": {}})), WrongType, "messages[0].tool_calls"),
        (message(json!({"role": "assistant", "tool_calls": [{}]})), Missing, "messages[0].tool_calls[0].id"),
        (message(json!({"role": "assistant", "tool_calls": [{"id": "c"}]})), Missing, "messages[0].tool_calls[0].function"),
        (
            message(json!({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": 3}}]})),
            WrongType,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (message(json!({"role": "assistant", "content": "x", "reasoning": []})), WrongType, "messages[0].reasoning"),
        (with(json!({"max_tokens": 3, "max_completion_tokens": 4})), InvalidValue, "max_tokens"),
        (with(json!({"max_tokens": "3"})), WrongType, "max_tokens"),
        (with(json!({"max_tokens": 0})), InvalidValue, "max_tokens"),
        (with(json!({"max_completion_tokens": 0})), InvalidValue, "max_completion_tokens"),
        (with(json!({"max_completion_tokens": 1.5})), InvalidValue, "max_completion_tokens"),
        (with(json!({"n": 0})), InvalidValue, "n"),
        (with(json!({"stream": "yes"})), WrongType, "stream"),
        (with(json!({"stream_options": {"include_usage": 1}})), WrongType, "stream_options.include_usage"),
        (with(json!({"temperature": "hot"})), WrongType, "temperature"),
        (with(json!({"temperature": 2.5})), InvalidValue, "temperature"),
        (with(json!({"top_p": -0.1})), InvalidValue, "top_p"),
        (with(json!({"top_k": 1.5})), InvalidValue, "top_k"),
        (with(json!({"stop": ["a", "b", "c", "d", "e"]})), InvalidValue, "stop"),
        (with(json!({"stop": ["a", 1]})), WrongType, "stop[1]"),
        (with(json!({"reasoning_effort": "much"})), InvalidValue, "reasoning_effort"),
        (with(json!({"reasoning": {"effort": "low"}, "reasoning_effort": "high"})), InvalidValue, "reasoning.effort"),
        (with(json!({"reasoning": {"effort": "low", "max_tokens": 5}})), InvalidValue, "reasoning.max_tokens"),
        (with(json!({"reasoning": {"exclude": 1}})), WrongType, "reasoning.exclude"),
        (with(json!({"tools": [{"type": "function"}]})), Missing, "tools[0].function"),
        (with(json!({"tools": [{}]})), Missing, "tools[0].type"),
        (with(json!({"tools": [{"type": "function", "function": {"name": ""}}]})), InvalidValue, "tools[0].function.name"),
        (
            with(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]})),
            WrongType,
            "tools[0].function.parameters",
        ),
        (with(json!({"tool_choice": "some"})), InvalidValue, "tool_choice"),
        (with(json!({"tool_choice": {"type": "function"}})), Missing, "tool_choice.function"),
        (with(json!({"response_format": {}})), Missing, "response_format.type"),
        (with(json!({"response_format": {"type": "json_schema"}})), Missing, "response_format.json_schema"),
        (json!({"messages": [user, {"role": "assistant", "content": 1}]}), WrongType, "messages[1].content"),
    ];
    for (request, kind, path) in rows {
        match read(&request) {
            Ok(prompt) => panic!("{request} was read as {prompt:?}"),
            Err(fault) => assert_eq!((fault.kind, fault.path.as_str()), (kind, path), "{request}"),
        }
    }
}

#[test]
fn a_conversation_becomes_turns_whose_blocks_know_their_place() {
    let request = json!({"model": "m", "max_completion_tokens": 9, "reasoning": {"max_tokens": 5, "exclude": true}, "messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "see", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}]},
        {"role": "assistant", "content": null, "reasoning": "hm", "reasoning_details": [
            {"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1"}],
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]});
    let prompt = read(&request).expect("a request");
    assert_eq!(prompt.max_output, Some(9));
    let wish = prompt.reasoning.expect("asked");
    assert!(wish.hidden && wish.budget == Some(5));
    let roles: Vec<Role> = prompt.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User]);
    let places: Vec<String> = prompt.turns.iter().flat_map(|turn| &turn.blocks).map(|block| block.place.to_string()).collect();
    assert_eq!(
        places,
        [
            "messages[0].content",
            "messages[1].content[0]",
            "messages[1].content[1]",
            "messages[2]",
            "messages[2]",
            "messages[2].tool_calls[0]",
            "messages[3]"
        ]
    );
    let image = &prompt.turns[1].blocks[1];
    assert!(matches!(image.content, Content::Image(_)));
    assert_eq!(image.extension.members().map(|(name, _)| name.decode().into_owned()).collect::<Vec<_>>(), ["image_url.detail"]);
    let [signed, foreign, _] = prompt.turns[2].blocks.as_slice() else { panic!("{:?}", prompt.turns[2]) };
    assert!(matches!(&signed.content, Content::Reasoning(Reasoning::Text { signature: Some(signature), .. }) if signature.is("S")));
    // Another maker's sealed thought would be refused by everybody else, so nothing of it is shown to other dialects.
    assert!(matches!(&foreign.content, Content::Reasoning(Reasoning::Text { text, signature: None }) if text.is_empty()));
    assert!(prompt.turns[2].extension.is_empty(), "{:?}", prompt.turns[2].extension);
    let Content::ToolResult { content, .. } = &prompt.turns[3].blocks[0].content else { panic!("a result") };
    assert_eq!(content[0].place, Place::Content { message: 3, part: None });
}

#[test]
fn what_only_this_family_has_is_named_and_what_is_said_to_the_gateway_is_not() {
    let request = with(json!({
        "seed": 1, "logit_bias": {"1": 2}, "verbosity": "low", "user": "u", "temperature": null, "seed2": null,
        "models": ["x"], "provider": {}, "route": "fallback", "plugins": [], "usage": {"include": true}, "preset": "p",
        "debug": {}, "session_id": "s", "trace": {}, "transforms": [], "stream_options": {"include_usage": true, "include_obfuscation": false},
        "reasoning": {"effort": "none", "summary": "auto"}, "stop": "x", "n": 1, "top_k": -1, "tool_choice": "any",
    }));
    let prompt = read(&request).expect("a request");
    let mut names: Vec<String> = prompt.extension.members().map(|(name, _)| name.decode().into_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, ["logit_bias", "reasoning.summary", "seed", "stream_options.include_obfuscation", "verbosity"]);
    assert_eq!(prompt.tool_choice, Some(ToolChoice::Required));
    assert_eq!(prompt.top_k, None);
    let wish = prompt.reasoning.expect("asked");
    assert!(wish.effort == Some(Effort::None) && wish.is_off());
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("a \"b\" \\ \n é 😀".to_owned()), "[a-z]{1,8}"]
}

fn marker() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop_oneof![Just(json!({"type": "ephemeral"})), Just(json!({"type": "ephemeral", "ttl": "1h"}))])
}

/// The object with those of the members that are there.
fn object(members: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    Value::Object(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn part() -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![
        words().prop_map(|text| json!({"type": "text", "text": text})),
        Just(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}})),
        Just(json!({"type": "image_url", "image_url": "https://example.org/x.png"})),
        Just(json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}})),
        Just(json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}})),
        Just(json!({"type": "file", "file": {"file_id": "file-1"}})),
        Just(json!({"type": "video_url", "video_url": {"url": "https://example.org/x.mp4"}})),
        Just(json!({"type": "document_url", "document_url": "https://example.org/x.pdf", "document_name": "x"})),
        Just(json!({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": true})),
        Just(json!({"type": "refusal", "refusal": "no"})),
        Just(json!({"type": "hologram", "hologram": {"a": [1, null]}})),
    ];
    (kinds, marker(), any::<bool>()).prop_map(|(mut part, marker, extra)| {
        if let Some(part) = part.as_object_mut() {
            part.extend(marker.map(|marker| ("cache_control".to_owned(), marker)));
            part.extend(extra.then(|| ("vendor".to_owned(), json!({"x": null}))));
        }
        part
    })
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof![words().prop_map(Value::String), prop::collection::vec(part(), 0..4).prop_map(Value::Array)]
}

fn details() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop::sample::select(vec![
        json!([]),
        json!([{"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "id": null, "index": 0}]),
        json!([{"type": "reasoning.summary", "summary": "s"}, {"type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1"}]),
        json!([{"type": "reasoning.new", "x": 1}]),
    ]))
}

fn turn() -> impl Strategy<Value = Value> {
    let asked = (prop::sample::select(vec!["system", "developer", "user"]), content(), marker(), prop::option::of(words()));
    let asked = asked.prop_map(|(role, content, marker, name)| {
        object([("role", Some(role.into())), ("content", Some(content)), ("cache_control", marker), ("name", name.map(Value::from))])
    });
    let calls = prop::option::of(prop::sample::select(vec![
        json!([]),
        json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}},
            {"index": 1, "id": "c2", "function": {"name": "g", "arguments": {"a": 1}}, "extra_content": {"x": 1}}]),
        json!([{"id": "c3", "type": "custom", "custom": {"name": "h", "input": "x"}}]),
    ]));
    let optional = |value: Value| prop::option::of(Just(value));
    let said = (
        prop::option::of(prop_oneof![Just(Value::Null), content()]),
        calls,
        details(),
        prop::option::of(words().prop_map(Value::String)),
        prop::option::of(words().prop_map(Value::String)),
        prop::option::of(prop_oneof![Just(Value::Null), Just(json!("no"))]),
        prop::option::of(prop_oneof![Just(json!([])), Just(json!([{"type": "url_citation"}])), Just(Value::Null)]),
        optional(json!({"id": "audio_1"})),
        optional(json!({"name": "f", "arguments": "{}"})),
    );
    let said = said.prop_map(|(content, calls, details, reasoning, reasoning_content, refusal, annotations, audio, function_call)| {
        object([
            ("role", Some("assistant".into())),
            ("content", content),
            ("tool_calls", calls),
            ("reasoning_details", details),
            ("reasoning", reasoning),
            ("reasoning_content", reasoning_content),
            ("refusal", refusal),
            ("annotations", annotations),
            ("audio", audio),
            ("function_call", function_call),
        ])
    });
    prop_oneof![3 => asked, 3 => said, 1 => Just(json!({"role": "function", "name": "f", "content": "1"}))]
}

fn result() -> impl Strategy<Value = Value> {
    let content = prop_oneof![Just(Value::Null), content()];
    (content, marker(), prop::sample::select(vec!["c1", "c2"])).prop_map(|(content, marker, id)| {
        object([("role", Some("tool".into())), ("tool_call_id", Some(id.into())), ("content", Some(content)), ("cache_control", marker)])
    })
}

fn parameters() -> impl Strategy<Value = Value> {
    let pool = vec![
        ("max_tokens", json!(100)),
        ("max_completion_tokens", json!(100)),
        ("temperature", json!(0.70)),
        ("temperature", Value::Null),
        ("top_p", json!(1)),
        ("top_k", json!(40)),
        ("top_k", json!(-1)),
        ("n", json!(1)),
        ("n", json!(2)),
        ("stop", json!("x")),
        ("stop", json!(["x", "y"])),
        ("stop", json!([])),
        ("tools", json!([])),
        (
            "tools",
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": null}, "cache_control": {"type": "ephemeral"}},
            {"type": "web_search", "x": 1}, {"function": {"name": "g", "description": "d", "new": 1}}]),
        ),
        ("tool_choice", json!("auto")),
        ("tool_choice", json!("any")),
        ("tool_choice", json!({"type": "function", "function": {"name": "f"}})),
        ("tool_choice", json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}})),
        ("parallel_tool_calls", json!(false)),
        ("response_format", json!({"type": "text"})),
        ("response_format", json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": true}})),
        ("response_format", json!({"type": "json_schema", "json_schema": {"name": "n"}})),
        ("response_format", json!({"type": "grammar", "grammar": "x"})),
        ("reasoning", json!({"effort": "low", "summary": "auto"})),
        ("reasoning", json!({"max_tokens": 7, "exclude": true})),
        ("reasoning", json!({"enabled": true})),
        ("reasoning_effort", json!("low")),
        ("include_reasoning", json!(true)),
        ("user", json!("u\u{e9}")),
        ("service_tier", json!("flex")),
        ("seed", json!(1)),
        ("metadata", json!({"a": "b"})),
        ("functions", json!([{"name": "f"}])),
        ("vendor_extra", json!({"deep": [1, {"x": null}]})),
    ];
    prop::collection::vec(prop::sample::select(pool), 0..12)
        .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
        .prop_filter("not both an effort and a number", |value| {
            value["reasoning"]["max_tokens"].is_null() || value["reasoning_effort"].is_null()
        })
}

fn requests() -> impl Strategy<Value = Value> {
    let call = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "not json"}}]});
    let stream = prop::option::of(any::<bool>());
    (prop::collection::vec(turn(), 1..5), prop::collection::vec(result(), 0..3), parameters(), stream).prop_map(
        move |(mut turns, results, parameters, stream)| {
            turns.insert(0, call.clone());
            turns.splice(1..1, results);
            let mut request = json!({"model": "m", "messages": turns});
            if let (Some(request), Value::Object(parameters)) = (request.as_object_mut(), parameters) {
                request.extend(parameters);
                request.extend(stream.map(|stream| ("stream".to_owned(), stream.into())));
                if stream == Some(true) {
                    request.insert("stream_options".to_owned(), json!({"include_usage": true, "include_obfuscation": false}));
                }
            }
            request
        },
    )
}

proptest! {
    #[test]
    fn a_request_of_this_dialect_comes_back_as_it_was(request in requests()) {
        let prompt = read(&request).expect("a request");
        let carrier = Carrier { provider_model: "m", stream: prompt.stream, ..Carrier::default() };
        let (written, notices) = write_prompt(&prompt, &carrier).expect("nothing to refuse");
        let written: Value = serde_json::from_slice(&written).expect("JSON");
        prop_assert_eq!(&written, &request);
        prop_assert!(notices.is_empty());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_prompt(&bytes.into(), &Limits::default());
    }

    /// Any JSON under the names that the reader knows.
    #[test]
    fn no_values_make_the_reader_panic(request in requests(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = request.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = read_prompt(&text.into(), &Limits::default());
    }
}
