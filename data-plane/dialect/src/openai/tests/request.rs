use bytes::Bytes;
use proptest::prelude::*;

use crate::call::{
    Call, DataCollection, MaxPrice, Need, Needs, Parameter, Parameters, ProviderPreferences, Sort, Unbounded, UnboundedCauses,
};
use crate::fault::{Fault, FaultKind};
use crate::limits::Limits;
use crate::openai::{fields, read_request};

const MESSAGES: &str = r#""messages":[{"role":"user","content":"hello"}]"#;

fn read(body: &str) -> Result<Call, Fault> {
    read_request(&Bytes::copy_from_slice(body.as_bytes()), &Limits::default())
}

/// A request with these members besides a model and a message.
fn with(members: &str) -> Result<Call, Fault> {
    read(&format!(r#"{{"model":"maker/model",{MESSAGES},{members}}}"#))
}

fn with_content(content: &str) -> Result<Call, Fault> {
    read(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#))
}

#[test]
fn the_smallest_request_gets_the_defaults() {
    let call = read(r#"{"model":"m","messages":[{}]}"#).expect("reads");
    assert_eq!((&*call.model, call.n, call.stream, call.usage_asked, call.max_output), ("m", 1, false, false, None));
    assert_eq!(call.provider, ProviderPreferences::default());
    assert!(call.provider.allow_fallbacks);
    assert!(call.parameters.is_empty() && call.needs.is_empty() && call.unbounded.is_empty() && call.models.is_empty());
    assert_eq!(call.body_bytes, 29);
}

#[test]
fn every_field_of_the_call_is_read() {
    let call = with(
        r#""models":["a/b","c"],"stream":true,"stream_options":{"include_usage":true},"n":3,"max_tokens":50,
           "max_completion_tokens":50,"temperature":0,"top_p":null,"seed":7,"stop":"x","tools":[{"type":"function","function":{}}],
           "tool_choice":"auto","response_format":{"type":"json_schema","json_schema":{}},"service_tier":"flex","session_id":"s-1",
           "provider":{"order":["p1","p2"],"only":["p3"],"ignore":[],"allow_fallbacks":false,"require_parameters":true,
             "max_price":{"prompt":0.5,"completion":"2","request":1e-3},"sort":"latency","data_collection":"deny","zdr":true,
             "quantizations":["fp8","bf16"],"enforce_distillable_text":false},
           "unknown_field":{"Model":"x","n":1,"n":2},"route":"fallback","plugins":[],"transforms":[],"trace":{"trace_id":"t"}"#,
    )
    .expect("reads");
    assert_eq!(call.models, ["a/b".into(), "c".into()]);
    assert!(call.stream && call.usage_asked);
    assert_eq!((call.n, call.max_output), (3, Some(50)));
    assert_eq!((call.service_tier.as_deref(), call.session.as_deref()), (Some("flex"), Some("s-1")));
    use Parameter as P;
    let expected = [
        P::Temperature,
        P::Seed,
        P::Stop,
        P::Tools,
        P::ToolChoice,
        P::ResponseFormat,
        P::StructuredOutputs,
        P::MaxTokens,
        P::MaxCompletionTokens,
    ];
    assert_eq!(call.parameters, Parameters::from_iter(expected));
    assert_eq!(call.needs, Needs::from_iter([Need::Tools, Need::StructuredOutput]));
    assert!(call.unbounded.is_empty());
    let expected = ProviderPreferences {
        order: vec!["p1".into(), "p2".into()],
        only: vec!["p3".into()],
        ignore: vec![],
        allow_fallbacks: false,
        require_parameters: true,
        max_price: MaxPrice { prompt: Some(500_000_000_000), completion: Some(2_000_000_000_000), request: Some(1_000_000_000) },
        sort: Some(Sort::Latency),
        data_collection: Some(DataCollection::Deny),
        zdr: true,
        quantizations: vec!["fp8".into(), "bf16".into()],
    };
    assert_eq!(call.provider, expected);
}

#[test]
fn a_list_of_models_can_stand_for_the_model() {
    let call = read(&format!(r#"{{"models":["a","b"],{MESSAGES}}}"#)).expect("reads");
    assert_eq!((&*call.model, call.models.as_slice()), ("a", ["b".into()].as_slice()));
}

#[test]
fn every_parameter_of_the_vocabulary_is_noticed_and_null_is_not_set() {
    for parameter in Parameter::ALL {
        let value = match parameter {
            Parameter::Tools => r#"[{"type":"function"}]"#,
            Parameter::MaxTokens | Parameter::MaxCompletionTokens => "1",
            Parameter::ResponseFormat => r#"{"type":"json_object"}"#,
            _ => "true",
        };
        let call = with(&format!(r#""{parameter}":{value}"#)).expect("reads");
        assert_eq!(call.parameters, Parameters::from_iter([*parameter]));
        let call = with(&format!(r#""{parameter}":null"#)).expect("reads");
        assert!(call.parameters.is_empty(), "{parameter}");
    }
}

#[test]
fn faults_name_the_field_and_the_kind() {
    use FaultKind as K;
    let rows: &[(&str, K, &str)] = &[
        (r#""stream":"yes""#, K::WrongType, "stream"),
        (r#""stream":1"#, K::WrongType, "stream"),
        (r#""n":0"#, K::InvalidValue, "n"),
        (r#""n":-1"#, K::InvalidValue, "n"),
        (r#""n":1.0"#, K::WrongType, "n"),
        (r#""n":"2""#, K::WrongType, "n"),
        (r#""n":4294967296"#, K::InvalidValue, "n"),
        (r#""max_tokens":1e3"#, K::WrongType, "max_tokens"),
        (r#""max_tokens":10,"max_completion_tokens":11"#, K::InvalidValue, "max_tokens"),
        (r#""stream_options":[]"#, K::WrongType, "stream_options"),
        (r#""stream_options":{"include_usage":1}"#, K::WrongType, "stream_options.include_usage"),
        (r#""models":"a""#, K::WrongType, "models"),
        (r#""models":["a",""]"#, K::InvalidValue, "models[1]"),
        (r#""models":["a",null]"#, K::WrongType, "models[1]"),
        (r#""provider":[]"#, K::WrongType, "provider"),
        (r#""provider":{"onyl":["a"]}"#, K::Unsupported, "provider.onyl"),
        (r#""provider":{"order":"a"}"#, K::WrongType, "provider.order"),
        (r#""provider":{"order":[1]}"#, K::WrongType, "provider.order[0]"),
        (r#""provider":{"zdr":"true"}"#, K::WrongType, "provider.zdr"),
        (r#""provider":{"sort":"exacto"}"#, K::Unsupported, "provider.sort"),
        (r#""provider":{"sort":{"by":"speed"}}"#, K::Unsupported, "provider.sort.by"),
        (r#""provider":{"sort":{"by":"price","partition":"none"}}"#, K::Unsupported, "provider.sort.partition"),
        (r#""provider":{"data_collection":"maybe"}"#, K::InvalidValue, "provider.data_collection"),
        (r#""provider":{"quantizations":["fp8","fp7"]}"#, K::InvalidValue, "provider.quantizations[1]"),
        (r#""provider":{"enforce_distillable_text":true}"#, K::Unsupported, "provider.enforce_distillable_text"),
        (r#""provider":{"max_price":{"prompt":-0.1}}"#, K::InvalidValue, "provider.max_price.prompt"),
        (r#""provider":{"max_price":{"prompt":"NaN"}}"#, K::InvalidValue, "provider.max_price.prompt"),
        (r#""provider":{"max_price":{"completion":0.0000000000001}}"#, K::InvalidValue, "provider.max_price.completion"),
        (r#""provider":{"max_price":{"prompt":1e7}}"#, K::InvalidValue, "provider.max_price.prompt"),
        (r#""provider":{"max_price":{"prompt":true}}"#, K::WrongType, "provider.max_price.prompt"),
        (r#""provider":{"max_price":{"image":1}}"#, K::Unsupported, "provider.max_price.image"),
        (r#""plugins":[{"id":"web"}]"#, K::Unsupported, "plugins"),
        (r#""transforms":["middle-out"]"#, K::Unsupported, "transforms"),
        (r#""route":"fastest""#, K::Unsupported, "route"),
        (r#""preset":"p""#, K::Unsupported, "preset"),
        (r#""tools":{}"#, K::WrongType, "tools"),
        (r#""tools":[1]"#, K::WrongType, "tools[0]"),
        (r#""service_tier":1"#, K::WrongType, "service_tier"),
        (r#""response_format":"json""#, K::WrongType, "response_format"),
        (r#""modalities":["text",2]"#, K::WrongType, "modalities[1]"),
        (r#""n":1,"n":1"#, K::Duplicate, "n"),
        (r#""provider":{"zdr":true,"zdr":false}"#, K::Duplicate, "provider.zdr"),
        (r#""N":5"#, K::Misspelt, "n"),
        (r#""\u006e":5"#, K::Misspelt, "n"),
        (r#""maxTokens":5"#, K::Misspelt, "max_tokens"),
        (r#""\u017ftream":true"#, K::Misspelt, "stream"),
        ("\"max_to\u{212a}ens\":5", K::Misspelt, "max_tokens"),
        (r#""stream_options":{"Include_Usage":false}"#, K::Misspelt, "stream_options.include_usage"),
        (r#""provider":{"Only":["a"]}"#, K::Misspelt, "provider.only"),
    ];
    for (members, kind, path) in rows {
        let fault = with(members).expect_err(members);
        assert_eq!((fault.kind, fault.path.as_str()), (*kind, *path), "{members}: {fault}");
    }
}

#[test]
fn what_is_missing_or_broken_as_a_whole() {
    use FaultKind as K;
    let rows: &[(&str, K, &str)] = &[
        ("", K::InvalidJson, ""),
        ("[]", K::WrongType, ""),
        ("null", K::WrongType, ""),
        ("{}", K::Missing, "model"),
        (r#"{"model":"m"}"#, K::Missing, "messages"),
        (r#"{"model":null,"messages":[{}]}"#, K::WrongType, "model"),
        (r#"{"model":"","messages":[{}]}"#, K::InvalidValue, "model"),
        (r#"{"model":"\ud800","messages":[{}]}"#, K::InvalidValue, "model"),
        (r#"{"model":7,"messages":[{}]}"#, K::WrongType, "model"),
        (r#"{"model":"m","messages":null}"#, K::WrongType, "messages"),
        (r#"{"model":"m","messages":[]}"#, K::InvalidValue, "messages"),
        (r#"{"model":"m","messages":{}}"#, K::WrongType, "messages"),
        (r#"{"model":"m","messages":[{},"x"]}"#, K::WrongType, "messages[1]"),
        (r#"{"model":"m","messages":[{}]}x"#, K::InvalidJson, ""),
        (r#"{"model":"m","messages":[{}],}"#, K::InvalidJson, ""),
        (r#"{"model":"m","messages":[{"content":"a]}"#, K::InvalidJson, ""),
    ];
    for (body, kind, path) in rows {
        let fault = read(body).expect_err(body);
        assert_eq!((fault.kind, fault.path.as_str()), (*kind, *path), "{body}: {fault}");
    }
    assert_eq!(
        read(r#"{"model":"m","messages":[{}],"x":tru}"#).expect_err("broken").to_string(),
        "invalid JSON at byte 33: expected `true`, `false` or `null`"
    );
    let fault = read_request(&Bytes::from_static(b"{\"model\":\"m\xff\"}"), &Limits::default()).expect_err("UTF-8");
    assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::InvalidUtf8, "invalid UTF-8 at byte 11"));
}

#[test]
fn limits_are_named() {
    let limits = Limits { body_bytes: 100, json_depth: 4, json_keys: 6, list_entries: 2, name_bytes: 8 };
    let kind = |body: &str| read_request(&Bytes::copy_from_slice(body.as_bytes()), &limits).expect_err(body).kind;
    let request = |members: &str| format!(r#"{{"model":"m","messages":[{{}}],{members}}}"#);
    assert_eq!(kind(&" ".repeat(101)), FaultKind::TooLarge);
    assert_eq!(kind(&request(r#""x":[[[[1]]]]"#)), FaultKind::TooDeep);
    assert_eq!(kind(&request(r#""x":{"a":1,"b":1,"c":1,"d":1}"#)), FaultKind::TooManyKeys);
    assert_eq!(kind(&request(r#""models":["a","b","c"]"#)), FaultKind::InvalidValue);
    assert_eq!(kind(&request(r#""models":["123456789"]"#)), FaultKind::InvalidValue);
}

/// Derived from the table of fields: what is read in one place cannot be smuggled past in another spelling.
#[test]
fn each_field_has_one_spelling_and_stands_once() {
    let fields = fields::tests::all_fields();
    assert!(fields.len() > 60);
    for (around, name) in fields {
        let request = |member: String| {
            let rest = match around.contains("messages") || name == "messages" {
                true => r#"{"model":"m","#.to_owned(),
                false => format!(r#"{{"model":"m",{MESSAGES},"#),
            };
            let rest = if name == "model" { format!("{{{MESSAGES},") } else { rest };
            format!("{rest}{}}}", around.replace('%', &member))
        };
        let kind = |member: String| read(&request(member)).err().map(|fault| fault.kind);
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        let mixed: String =
            name.chars().enumerate().map(|(at, letter)| if at == 0 { letter.to_ascii_uppercase() } else { letter }).collect();
        let spellings = [name.to_uppercase(), mixed, escaped, name.replace('_', "-"), name.replace('_', "")];
        for spelling in spellings.iter().filter(|spelling| *spelling != name) {
            assert_eq!(kind(format!("\"{spelling}\":null")), Some(FaultKind::Misspelt), "{around} {spelling}");
        }
        if name != "model" && name != "messages" {
            assert_eq!(kind(format!("\"{name}\":null,\"{name}\":null")), Some(FaultKind::Duplicate), "{around} {name}");
        }
    }
}

#[test]
fn a_tool_message_answers_a_call_that_was_made() {
    let made = r#"{"tool_calls":[{"id":"a","type":"function"},{"id":"b\u0062"},{"id":7},"x"],"role":"assistant"}"#;
    let tool = |id: &str| format!(r#"{{"role":"tool","content":"r","tool_call_id":{id}}}"#);
    let rows = [
        (format!("[{made},{},{}]", tool(r#""a""#), tool(r#""bb""#)), None),
        (format!(r#"[{made},{{"role":"user"}},{}]"#, tool(r#""a""#)), None),
        (format!(r#"[{made},{}]"#, tool("null")), None),
        (r#"[{"role":"tool","content":"r"}]"#.to_owned(), None),
        (r#"[{"role":"user","tool_call_id":"z"}]"#.to_owned(), None),
        (format!("[{made},{}]", tool(r#""c""#)), Some("messages[1].tool_call_id")),
        (format!("[{},{made}]", tool(r#""a""#)), Some("messages[0].tool_call_id")),
    ];
    for (messages, path) in rows {
        let found = read(&format!(r#"{{"model":"m","messages":{messages}}}"#)).err().map(|fault| fault.path);
        assert_eq!(found.as_deref(), path, "{messages}");
    }
}

#[test]
fn content_tells_needs_and_causes_without_being_read() {
    use Need as N;
    use Unbounded as U;
    let rows: &[(&str, &[Need], &[Unbounded])] = &[
        (r#""text with {\"type\":\"image_url\"}""#, &[], &[]),
        ("null", &[], &[]),
        (r#"[{"type":"text","text":"hello"},"bare"]"#, &[], &[]),
        (r#"[{"type":"image_url","image_url":{"url":"https://host/a.png","detail":"low"}}]"#, &[N::ImageInput], &[U::ImageUrl]),
        (r#"[{"image_url":"https://host/a.png"}]"#, &[N::ImageInput], &[U::ImageUrl]),
        (r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]"#, &[N::ImageInput], &[U::InlineImage]),
        (r#"[{"type":"image_url","image_url":{"file":"x"}}]"#, &[N::ImageInput], &[U::ContentPart]),
        (r#"[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]"#, &[N::AudioInput], &[U::Audio]),
        (r#"[{"type":"file","file":{"file_id":"f-1"}}]"#, &[N::FileInput], &[U::File, U::FileId]),
        (r#"[{"type":"file","file":{"file_data":"data:application/pdf;base64,AA=="}}]"#, &[N::FileInput], &[U::File]),
        (r#"[{"type":"document_url","document_url":"https://host/a.pdf"}]"#, &[N::FileInput], &[U::File]),
        (r#"[{"type":"video_url","video_url":{"url":"https://host/a.mp4"}}]"#, &[N::VideoInput], &[U::Video]),
        (r#"[{"type":"hologram"}]"#, &[], &[U::ContentPart]),
    ];
    for (content, needs, causes) in rows {
        let call = with_content(content).expect(content);
        assert_eq!(call.needs, Needs::from_iter(needs.iter().copied()), "{content}");
        assert_eq!(call.unbounded, UnboundedCauses::from_iter(causes.iter().copied()), "{content}");
    }
    let fault = with_content(r#"[{"type":"text"},{"type":"image_url","image_url":{"url":5}}]"#).expect_err("wrong type");
    assert_eq!(fault.path, "messages[0].content[1].image_url.url");
}

#[test]
fn other_causes_of_an_open_bound() {
    use Unbounded as U;
    let rows: &[(&str, &[Unbounded])] = &[
        (r#""service_tier":"auto""#, &[U::ServiceTierAuto]),
        (r#""service_tier":"flex""#, &[]),
        (r#""web_search_options":{}"#, &[U::WebSearch]),
        (r#""web_search_options":null"#, &[]),
        (r#""search_parameters":{"mode":"on"}"#, &[U::WebSearch]),
        (r#""tools":[{"type":"function"},{"type":"custom"}]"#, &[]),
        (r#""tools":[{"type":"function"},{"type":"openrouter:web_search"}]"#, &[U::ServerTool]),
        (r#""prediction":{"type":"content"}"#, &[U::Prediction]),
        (r#""modalities":["text","image"]"#, &[U::ImageOutput]),
        (r#""best_of":2"#, &[U::BestOf]),
        (r#""best_of":1"#, &[]),
    ];
    for (members, causes) in rows {
        assert_eq!(with(members).expect(members).unbounded, UnboundedCauses::from_iter(causes.iter().copied()), "{members}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_request(&Bytes::from(bytes), &Limits::default());
    }

    #[test]
    fn a_cut_or_dented_request_never_panics(at in 0usize..400, byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = format!(
            r#"{{"model":"m",{MESSAGES},"provider":{{"max_price":{{"prompt":1}},"sort":{{"by":"price"}}}},"tools":[{{"type":"function"}}]}}"#
        ).into_bytes();
        let at = at % body.len();
        if cut { body.truncate(at) } else { body[at] = byte }
        if let Ok(call) = read_request(&Bytes::from(body), &Limits::default()) {
            prop_assert!(!cut && !call.model.is_empty());
        }
    }
}
