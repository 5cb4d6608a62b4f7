use bytes::Bytes;
use proptest::prelude::*;

use crate::anthropic::{fields, read_count_request, read_request};
use crate::call::{Call, Need, Needs, Parameter, Parameters, Unbounded, UnboundedCauses};
use crate::dialect::Dialect;
use crate::fault::{Fault, FaultKind};
use crate::limits::Limits;

const BASE: &str = r#""model":"m","max_tokens":9"#;
const MESSAGES: &str = r#""messages":[{"role":"user","content":"hello"}]"#;

fn read(body: &str) -> Result<Call, Fault> {
    read_request(&Bytes::copy_from_slice(body.as_bytes()), &Limits::default())
}

fn with(members: &str) -> Result<Call, Fault> {
    read(&format!("{{{BASE},{MESSAGES},{members}}}"))
}

fn with_messages(messages: &str) -> Result<Call, Fault> {
    read(&format!(r#"{{{BASE},"messages":{messages}}}"#))
}

fn with_content(content: &str) -> Result<Call, Fault> {
    with_messages(&format!(r#"[{{"role":"user","content":{content}}}]"#))
}

#[test]
fn a_bare_request_is_a_call() {
    let call = read(&format!("{{{BASE},{MESSAGES}}}")).expect("reads");
    assert_eq!((call.dialect, &*call.model, call.n, call.stream, call.usage_asked), (Dialect::Anthropic, "m", 1, false, true));
    assert_eq!((call.max_output, call.parameters), (Some(9), Parameters::from_iter([Parameter::MaxTokens])));
    assert!(call.needs.is_empty() && call.unbounded.is_empty() && call.models.is_empty());
}

#[test]
fn every_field_of_the_call_is_read() {
    let call = with(
        r#""stream":true,"system":[{"type":"text","text":"s"}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"auto"},
           "thinking":{"type":"enabled","budget_tokens":1024},"stop_sequences":["x"],"temperature":1,"top_p":0.5,"top_k":3,
           "output_config":{"effort":"low","format":{"type":"json_schema","schema":{}}},"metadata":{"user_id":"u"},
           "service_tier":"standard_only","models":["a","b"],"provider":{"only":["p"]},"session_id":"s","route":"fallback",
           "plugins":[],"trace":{},"speed":"standard","unknown":{"Model":1}"#,
    )
    .expect("reads");
    use Parameter as P;
    let expected = [
        P::MaxTokens,
        P::Tools,
        P::ToolChoice,
        P::Reasoning,
        P::ReasoningEffort,
        P::Stop,
        P::Temperature,
        P::TopP,
        P::TopK,
        P::StructuredOutputs,
        P::ResponseFormat,
    ];
    assert_eq!(call.parameters, Parameters::from_iter(expected));
    assert_eq!(call.needs, Needs::from_iter([Need::Tools, Need::StructuredOutput]));
    assert!(call.stream && call.unbounded.is_empty());
    assert_eq!(call.models, ["a".into(), "b".into()]);
    assert_eq!((call.service_tier.as_deref(), call.session.as_deref()), (Some("standard_only"), Some("s")));
    assert_eq!(call.provider.only, ["p".into()]);
    let call = with(r#""fallbacks":[{"model":"x"},{"model":"y"}],"thinking":{"type":"disabled"}"#).expect("reads");
    assert_eq!((call.models, call.parameters), (vec!["x".into(), "y".into()], Parameters::from_iter([P::MaxTokens])));
}

#[test]
fn a_count_needs_no_maximum_and_is_no_stream() {
    let count = |members: &str| read_count_request(&Bytes::from(format!(r#"{{"model":"m",{MESSAGES}{members}}}"#)), &Limits::default());
    assert_eq!(count("").expect("reads").max_output, None);
    assert_eq!(count(r#","max_tokens":5"#).expect("reads").max_output, Some(5));
    assert_eq!(count(r#","stream":true"#).expect_err("a stream").path, "stream");
    let fault = read(&format!(r#"{{"model":"m",{MESSAGES}}}"#)).expect_err("no maximum");
    assert_eq!((fault.kind, &*fault.path), (FaultKind::Missing, "max_tokens"));
    assert_eq!(read(&format!(r#"{{"model":"m","max_tokens":null,{MESSAGES}}}"#)).expect_err("null").kind, FaultKind::Missing);
}

#[test]
fn faults_name_the_field_and_the_kind() {
    use FaultKind as K;
    let rows: &[(&str, K, &str)] = &[
        (r#""stream":1"#, K::WrongType, "stream"),
        (r#""max_tokens":1"#, K::Duplicate, "max_tokens"),
        (r#""maxTokens":1"#, K::Misspelt, "max_tokens"),
        (r#""system":{}"#, K::WrongType, "system"),
        (r#""system":[{"text":"s"}]"#, K::Missing, "system[0].type"),
        (r#""tools":{}"#, K::WrongType, "tools"),
        (r#""tools":[1]"#, K::WrongType, "tools[0]"),
        (r#""tools":[{"type":7}]"#, K::WrongType, "tools[0].type"),
        (r#""thinking":"on""#, K::WrongType, "thinking"),
        (r#""output_config":{"format":{"type":1}}"#, K::WrongType, "output_config.format.type"),
        (r#""context_management":{"edits":[{"type":[]}]}"#, K::WrongType, "context_management.edits[0].type"),
        (r#""service_tier":1"#, K::WrongType, "service_tier"),
        (r#""speed":"fast""#, K::Unsupported, "speed"),
        (r#""inference_geo":"us""#, K::Unsupported, "inference_geo"),
        (r#""thread":{"type":"create"}"#, K::HeldConversation, "thread"),
        (r#""thread":{"type":"continue","previous_message_id":"msg_1"}"#, K::HeldConversation, "thread"),
        (r#""provider":{"onyl":["a"]}"#, K::Unsupported, "provider.onyl"),
        (r#""plugins":[{"id":"web"}]"#, K::Unsupported, "plugins"),
        (r#""preset":"p""#, K::Unsupported, "preset"),
        (r#""route":"fastest""#, K::Unsupported, "route"),
        (r#""models":["a"],"fallbacks":[{"model":"b"}]"#, K::InvalidValue, "fallbacks"),
        (r#""fallbacks":[{}]"#, K::Missing, "fallbacks[0].model"),
        (r#""fallbacks":[{"model":"a"},{"model":"a"},{"model":"a"},{"model":"a"}]"#, K::InvalidValue, "fallbacks[3]"),
    ];
    for (members, kind, path) in rows {
        let fault = with(members).expect_err(members);
        assert_eq!((fault.kind, fault.path.as_str()), (*kind, *path), "{members}: {fault}");
    }
    let rows: &[(&str, K, &str)] = &[
        ("[]", K::InvalidValue, "messages"),
        ("null", K::WrongType, "messages"),
        (r#""x""#, K::WrongType, "messages"),
        (r#"["x"]"#, K::WrongType, "messages[0]"),
        (r#"[{"role":"user","content":5}]"#, K::WrongType, "messages[0].content"),
        (r#"[{"role":"user","content":["x"]}]"#, K::WrongType, "messages[0].content[0]"),
    ];
    for (messages, kind, path) in rows {
        let fault = with_messages(messages).expect_err(messages);
        assert_eq!((fault.kind, fault.path.as_str()), (*kind, *path), "{messages}: {fault}");
    }
    for (body, kind, path) in [
        ("{}", K::Missing, "max_tokens"),
        ("[]", K::WrongType, ""),
        (r#"{"max_tokens":1}"#, K::Missing, "model"),
        (r#"{"model":"m","max_tokens":1}"#, K::Missing, "messages"),
        (r#"{"model":"m","max_tokens":1,}"#, K::InvalidJson, ""),
    ] {
        let fault = read(body).expect_err(body);
        assert_eq!((fault.kind, fault.path.as_str()), (kind, path), "{body}: {fault}");
    }
}

#[test]
fn a_result_answers_a_call_of_the_turn_before() {
    const CALLS: &str = r#"{"content":[{"type":"tool_use","id":"a","name":"f","input":{}}],"role":"assistant"}"#;
    const OTHER: &str = r#"{"role":"assistant","content":[{"type":"tool_use","id":"b\u0062","name":"f","input":{}}]}"#;
    let result =
        |id: &str| format!(r#"{{"role":"user","content":[{{"type":"text","text":"t"}},{{"type":"tool_result","tool_use_id":"{id}"}}]}}"#);
    let (a, bb) = (result("a"), result("bb"));
    let rows = [
        (format!("[{CALLS},{a}]"), None),
        (format!("[{CALLS},{OTHER},{a},{bb}]"), None),
        (format!("[{a}]"), Some("messages[0].content[1].tool_use_id")),
        (format!("[{CALLS},{bb}]"), Some("messages[1].content[1].tool_use_id")),
        (format!(r#"[{CALLS},{a},{{"role":"assistant","content":"x"}},{a}]"#), Some("messages[3].content[1].tool_use_id")),
        (r#"[{"role":"user","content":[{"type":"tool_result"}]}]"#.to_owned(), Some("messages[0].content[0].tool_use_id")),
        (r#"[{"role":"assistant","content":[{"type":"tool_use"}]}]"#.to_owned(), Some("messages[0].content[0].id")),
        (r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":7}]}]"#.to_owned(), Some("messages[0].content[0].tool_use_id")),
    ];
    for (messages, path) in rows {
        assert_eq!(with_messages(&messages).err().map(|fault| fault.path).as_deref(), path, "{messages}");
    }
}

#[test]
fn content_tells_needs_and_causes_without_being_read() {
    use Need as N;
    use Unbounded as U;
    let rows: &[(&str, &[Need], &[Unbounded])] = &[
        (r#""text {\"type\":\"image\"}""#, &[], &[]),
        (r#"[{"type":"text","text":"t","citations":null}]"#, &[], &[]),
        (r#"[{"type":"image","source":{"type":"base64","data":"AA==","media_type":"image/png"}}]"#, &[N::ImageInput], &[U::InlineImage]),
        (r#"[{"type":"image","source":{"type":"url","url":"https://h/i.png"}}]"#, &[N::ImageInput], &[U::ImageUrl]),
        (r#"[{"source":{"file_id":"f","type":"file"},"type":"image"}]"#, &[N::ImageInput], &[U::FileId]),
        (r#"[{"type":"image","source":{"type":"base64","url":"https://h/i.png"}}]"#, &[N::ImageInput], &[U::InlineImage, U::ContentPart]),
        (r#"[{"type":"document","source":{"type":"text","data":"plain"}}]"#, &[], &[]),
        (r#"[{"type":"document","source":{"type":"base64","data":"AA=="}}]"#, &[N::FileInput], &[U::File]),
        (r#"[{"type":"document","source":{"type":"file","file_id":"f"}}]"#, &[N::FileInput], &[U::File, U::FileId]),
        (
            r#"[{"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"url"}}]}}]"#,
            &[N::ImageInput],
            &[U::ImageUrl],
        ),
        (r#"[{"type":"search_result","source":"https://h","content":[{"type":"text","text":"t"}]}]"#, &[], &[]),
        (r#"[{"type":"container_upload","file_id":"f"}]"#, &[], &[U::FileId]),
        (r#"[{"type":"web_search_tool_result","tool_use_id":"s","content":{"type":"web_search_tool_result_error"}}]"#, &[], &[]),
        (r#"[{"type":"hologram"}]"#, &[], &[U::ContentPart]),
    ];
    for (content, needs, causes) in rows {
        let call = with_content(content).expect(content);
        assert_eq!(call.needs, Needs::from_iter(needs.iter().copied()), "{content}");
        assert_eq!(call.unbounded, UnboundedCauses::from_iter(causes.iter().copied()), "{content}");
    }
    let inside = r#"[{"role":"assistant","content":[{"type":"tool_use","id":"a"}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"image","source":{"type":"url"}}]}]}]"#;
    assert!(with_messages(inside).expect("reads").needs.contains(Need::ImageInput));
    for (content, path) in [
        (r#"[{"type":"image"}]"#, "messages[0].content[0].source"),
        (r#"[{"type":"image","source":{"data":"AA=="}}]"#, "messages[0].content[0].source.type"),
        (r#"[{"type":"document","source":null}]"#, "messages[0].content[0].source"),
        (r#"[{"text":"t"}]"#, "messages[0].content[0].type"),
    ] {
        let fault = with_content(content).expect_err(content);
        assert_eq!((fault.kind, &*fault.path), (FaultKind::Missing, path));
    }
}

#[test]
fn other_causes_of_an_open_bound() {
    use Unbounded as U;
    let rows: &[(&str, &[Unbounded])] = &[
        (r#""service_tier":"auto""#, &[U::ServiceTierAuto]),
        (r#""tools":[{"name":"f"},{"type":"custom"},{"type":"bash_20250124"},{"type":"computer_20250124"}]"#, &[]),
        (r#""tools":[{"type":"web_search_20250305"}]"#, &[U::ServerTool, U::WebSearch]),
        (r#""tools":[{"type":"code_execution_20250825"}]"#, &[U::ServerTool]),
        (r#""mcp_servers":[{"type":"url"}]"#, &[U::ServerTool]),
        (r#""mcp_servers":[]"#, &[]),
        (r#""container":"c""#, &[U::ServerTool]),
        (r#""context_management":{"edits":[{"type":"clear_thinking_20251015"}]}"#, &[]),
        (r#""context_management":{"edits":[{"type":"compact_20260112"}]}"#, &[U::Compaction]),
    ];
    for (members, causes) in rows {
        assert_eq!(with(members).expect(members).unbounded, UnboundedCauses::from_iter(causes.iter().copied()), "{members}");
    }
}

/// Derived from the table of fields: what is read in one place cannot be smuggled past in another spelling.
#[test]
fn each_field_has_one_spelling_and_stands_once() {
    let fields = fields::tests::all_fields();
    assert!(fields.len() > 70);
    for (around, name) in fields {
        let request = |member: String| {
            let mut members = vec![around.replace('%', &member)];
            members.extend([r#""model":"m""#, MESSAGES, r#""max_tokens":9"#].into_iter().filter_map(|needed| {
                let own = needed.split('"').nth(1).unwrap_or_default();
                (name != own && !around.starts_with(&format!("\"{own}\""))).then(|| needed.to_owned())
            }));
            format!("{{{}}}", members.join(","))
        };
        let kind = |member: String| read(&request(member)).err().map(|fault| fault.kind);
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        let mixed = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        let spellings = [name.to_uppercase(), mixed, escaped, name.replace('_', "-"), name.replace('_', "")];
        for spelling in spellings.iter().filter(|spelling| *spelling != name) {
            assert_eq!(kind(format!("\"{spelling}\":null")), Some(FaultKind::Misspelt), "{around} {spelling}");
        }
        if !(around == "%" && matches!(name, "model" | "messages")) {
            assert_eq!(kind(format!("\"{name}\":null,\"{name}\":null")), Some(FaultKind::Duplicate), "{around} {name}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_request(&Bytes::from(bytes), &Limits::default());
    }

    #[test]
    fn a_cut_or_dented_request_never_panics(at in 0usize..600, byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = format!(
            r#"{{{BASE},"messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"a","input":{{}}}}]}},{{"role":"user",
            "content":[{{"type":"tool_result","tool_use_id":"a","content":[{{"type":"image","source":{{"type":"url"}}}}]}}]}}],
            "tools":[{{"type":"web_search_1"}}],"context_management":{{"edits":[{{"type":"compact_1"}}]}}}}"#
        ).into_bytes();
        let at = at % body.len();
        if cut { body.truncate(at) } else { body[at] = byte }
        if let Ok(call) = read_request(&Bytes::from(body), &Limits::default()) {
            prop_assert!(!cut && !call.model.is_empty() && call.max_output.is_some());
        }
    }

    #[test]
    fn no_depth_of_content_grows_the_stack_beyond_the_limit(depth in 0usize..3000) {
        let content = format!("{}1{}", r#"[{"type":"x","content":"#.repeat(depth), "}]".repeat(depth));
        prop_assert_eq!(with_content(&content).is_err(), depth == 0 || depth > 30);
    }
}
