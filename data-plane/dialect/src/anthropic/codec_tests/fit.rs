//! Chat completions as requests to Anthropic: every rule of the table, with what it says about it.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{carrier, controls, parse, value};
use crate::anthropic::{read_prompt, write_prompt};
use crate::fault::{Fault, FaultKind};
use crate::limits::Limits;
use crate::neutral::{Carrier, warning_header};

fn write(request: &str, carrier: &Carrier<'_>) -> Result<(Value, String), Fault> {
    let body = Bytes::copy_from_slice(request.as_bytes());
    let prompt = crate::openai::read_prompt(&body, &Limits::default()).unwrap_or_else(|fault| panic!("{fault}: {request}"));
    let (written, notices) = write_prompt(&prompt, carrier)?;
    read_prompt(&written, &Limits::default()).unwrap_or_else(|fault| panic!("no request of its own: {fault}: {request}"));
    Ok((value(&written), warning_header(&notices)))
}

/// One line: the messages of a chat completion, what becomes of them, and what is said.
fn conversation(messages: &str, expected: &str, notices: &str) {
    let (written, said) = write(&format!(r#"{{"messages":{messages}}}"#), &carrier()).unwrap_or_else(|fault| panic!("{fault}: {messages}"));
    let mut found = json!({ "messages": written["messages"] });
    for name in ["system", "tools", "tool_choice"] {
        if !written[name].is_null() {
            found[name] = written[name].clone();
        }
    }
    assert_eq!(found, parse(expected), "{messages}");
    assert_eq!(said, notices, "{messages}");
}

#[test]
fn the_conversation_is_brought_into_anthropics_order() {
    let rows = [
        (r#"[{"role":"user","content":"x"}]"#, r#"{"messages":[{"role":"user","content":"x"}]}"#, ""),
        (
            r#"[{"role":"system","content":"a"},{"role":"developer","content":[{"type":"text","text":"b","cache_control":{"type":"ephemeral","ttl":"1h"}}]},{"role":"user","content":"x"}]"#,
            r#"{"system":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":"x"}]}"#,
            "",
        ),
        (
            r#"[{"role":"user","content":"x"},{"role":"system","content":"late"}]"#,
            r#"{"system":"late","messages":[{"role":"user","content":"x"}]}"#,
            "messages[1]: approximated, put before the conversation",
        ),
        (
            r#"[{"role":"system","content":"a"},{"role":"system","content":"b"}]"#,
            r#"{"system":"a","messages":[{"role":"user","content":"b"}]}"#,
            "messages: approximated, the last instructions are sent as the user's, since no other message is there",
        ),
        (
            r#"[{"role":"user","content":"a"},{"role":"user","name":"n","content":"b"},{"role":"assistant","content":"c"},{"role":"assistant","content":"d \n"}]"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]}]}"#,
            "messages[1].name: dropped, Anthropic has no such field; messages[3].content: approximated, without the blanks at its end",
        ),
        (
            r#"[{"role":"user","content":""},{"role":"user","content":" \n\u00a0"},{"role":"user","content":"x"}]"#,
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "messages[0]: dropped, Anthropic takes no empty message; messages[1].content: dropped, Anthropic takes no text that is made of blanks; \
             messages[1]: dropped, Anthropic takes no empty message",
        ),
        (
            r#"[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"9d"},"more":1}]}]"#,
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "messages[0].content[0].more: dropped, Anthropic has no such field; messages[0].content[0].cache_control: dropped, no such marker there",
        ),
        (
            r#"[{"role":"user","content":"x"},{"role":"assistant","content":null,"refusal":"no"},{"role":"user","content":"y"}]"#,
            r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"no"},{"role":"user","content":"y"}]}"#,
            "messages[1]: approximated, a refusal as text",
        ),
    ];
    for (messages, expected, notices) in rows {
        conversation(messages, expected, notices);
    }
}

#[test]
fn calls_and_their_results_match_and_come_first() {
    conversation(
        r#"[{"role":"user","content":"x"},
        {"role":"assistant","content":"","tool_calls":[{"id":"call.1","type":"function","function":{"name":"f","arguments":"{\"a\":\"\\u00fc\"}"}},
        {"id":"b","type":"function","function":{"name":"g","arguments":""}},{"id":"c","type":"function","function":{"name":"f","arguments":"no \"json\""}}]},
        {"role":"tool","tool_call_id":"call.1","content":"r"},{"role":"tool","tool_call_id":"b","content":""},
        {"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]},
        {"role":"user","content":"y"}]"#,
        r#"{"tools":[{"name":"f","input_schema":{"type":"object"}},{"name":"g","input_schema":{"type":"object"}}],"tool_choice":{"type":"none"},
        "messages":[{"role":"user","content":"x"},{"role":"assistant","content":[
        {"type":"tool_use","id":"wb-63616c6c2e31","name":"f","input":{"a":"ü"}},{"type":"tool_use","id":"b","name":"g","input":{}},
        {"type":"tool_use","id":"c","name":"f","input":{"arguments":"no \"json\""}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"wb-63616c6c2e31","content":[{"type":"text","text":"r"}]},
        {"type":"tool_result","tool_use_id":"b"},{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]},
        {"type":"text","text":"y"}]}]}"#,
        "messages[1].tool_calls[0]: approximated, its id is spelt in letters that Anthropic takes; \
         messages[1].tool_calls[2]: approximated, arguments that are no JSON object as the one argument `arguments`; \
         messages[2]: approximated, its id is spelt in letters that Anthropic takes; \
         tools: approximated, those that the conversation calls are declared, not to be called again",
    );
}

#[test]
fn a_result_goes_before_what_the_user_said_meanwhile() {
    conversation(
        r#"[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"user","content":"y"},{"role":"tool","tool_call_id":"a","content":"r"}]"#,
        r#"{"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"none"},"messages":[
        {"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"r"}]},{"type":"text","text":"y"}]}]}"#,
        "tools: approximated, those that the conversation calls are declared, not to be called again",
    );
}

#[test]
fn thoughts_go_back_only_if_they_are_signed() {
    let signed = r#"{"type":"reasoning.text","text":"hm","signature":"sig","format":"anthropic-claude-v1","index":0}"#;
    let sealed = r#"{"type":"reasoning.encrypted","data":"xx","format":"anthropic-claude-v1"}"#;
    let foreign = r#"{"type":"reasoning.encrypted","data":"yy","format":"openai-responses-v1"}"#;
    let summary = r#"{"type":"reasoning.summary","summary":"s"}"#;
    conversation(
        &format!(
            r#"[{{"role":"user","content":"x"}},{{"role":"assistant","content":"y","reasoning_details":[{signed},{sealed},{foreign},{summary}]}},{{"role":"user","content":"z"}}]"#
        ),
        r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"sig"},
        {"type":"redacted_thinking","data":"xx"},{"type":"text","text":"y"}]},{"role":"user","content":"z"}]}"#,
        "messages[1]: dropped, thoughts without a signature are refused by Anthropic; messages[1]: dropped, thoughts without a signature are refused by Anthropic",
    );
    conversation(
        r#"[{"role":"user","content":"x"},{"role":"assistant","content":"y","reasoning_content":"hm"},{"role":"user","content":"z"}]"#,
        r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"},{"role":"user","content":"z"}]}"#,
        "messages[1]: dropped, thoughts without a signature are refused by Anthropic",
    );
}

#[test]
fn pictures_and_documents_cross() {
    let part = |part: &str, expected: &str, notices: &str| {
        let messages = format!(r#"[{{"role":"user","content":[{part}]}}]"#);
        conversation(&messages, &format!(r#"{{"messages":[{{"role":"user","content":[{expected}]}}]}}"#), notices);
    };
    part(
        r#"{"type":"image_url","image_url":{"url":"data:image/jpg;base64,AA==","detail":"high"},"cache_control":{"type":"ephemeral"}}"#,
        r#"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"AA=="},"cache_control":{"type":"ephemeral"}}"#,
        "messages[0].content[0].image_url.detail: dropped, Anthropic has no such field",
    );
    part(
        r#"{"type":"image_url","image_url":{"url":"https://x/a"}}"#,
        r#"{"type":"image","source":{"type":"url","url":"https://x/a"}}"#,
        "",
    );
    part(
        r#"{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AA=="}}"#,
        r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA=="},"title":"a.pdf"}"#,
        "",
    );
    part(
        r#"{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,aMO8ISI="}}"#,
        r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hü!\""},"title":"a.txt"}"#,
        "",
    );
    part(
        r#"{"type":"file","file":{"file_data":"https://x/a.pdf"}}"#,
        r#"{"type":"document","source":{"type":"url","url":"https://x/a.pdf"}}"#,
        "",
    );
}

/// Members of a request beside a plain conversation.
fn members(members: &str, carrier: &Carrier<'_>) -> Result<(Value, String), Fault> {
    let (mut written, notices) = write(&format!(r#"{{"messages":[{{"role":"user","content":"x"}}],{members}}}"#), carrier)?;
    let object = written.as_object_mut().expect("an object");
    object.remove("messages");
    object.remove("model");
    Ok((written, notices))
}

#[test]
fn parameters_are_carried_approximated_or_named() {
    const F: &str = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    let with_f = |more: &str| format!("{F},{more}");
    let tools = r#""max_tokens":4096,"tools":[{"name":"f","input_schema":{"type":"object"}}]"#;
    let rows: Vec<(String, String, &str)> = vec![
        ("\"n\":1".into(), r#""max_tokens":4096"#.into(), ""),
        ("\"max_tokens\":7".into(), r#""max_tokens":7"#.into(), ""),
        ("\"max_completion_tokens\":7,\"temperature\":0.50".into(), r#""max_tokens":7,"temperature":0.50"#.into(), ""),
        ("\"temperature\":1.5".into(), r#""max_tokens":4096,"temperature":1"#.into(), "temperature: approximated, clamped to 1"),
        ("\"top_p\":0.5,\"top_k\":3".into(), r#""max_tokens":4096,"top_p":0.5,"top_k":3"#.into(), ""),
        ("\"top_p\":1".into(), r#""max_tokens":4096,"top_p":1"#.into(), ""),
        (
            "\"temperature\":0,\"top_p\":1".into(),
            r#""max_tokens":4096,"temperature":0"#.into(),
            "top_p: dropped, 1 says nothing beside temperature",
        ),
        (r#""stop":"x""#.into(), r#""max_tokens":4096,"stop_sequences":["x"]"#.into(), ""),
        (r#""user":"u""#.into(), r#""max_tokens":4096,"metadata":{"user_id":"u"}"#.into(), ""),
        (r#""service_tier":"auto""#.into(), r#""max_tokens":4096,"service_tier":"auto""#.into(), ""),
        (r#""service_tier":"default""#.into(), r#""max_tokens":4096,"service_tier":"standard_only""#.into(), ""),
        (r#""service_tier":"flex""#.into(), r#""max_tokens":4096"#.into(), "service_tier: dropped, Anthropic has no such tier"),
        (r#""modalities":["text"]"#.into(), r#""max_tokens":4096"#.into(), ""),
        (r#""cache_control":{"type":"ephemeral"}"#.into(), r#""max_tokens":4096,"cache_control":{"type":"ephemeral"}"#.into(), ""),
        (
            r#""seed":1,"logit_bias":{},"metadata":{},"store":false,"logprobs":null"#.into(),
            r#""max_tokens":4096"#.into(),
            "seed: dropped, Anthropic has no such field; logit_bias: dropped, Anthropic has no such field; \
             metadata: dropped, Anthropic has no such field; store: dropped, Anthropic has no such field",
        ),
        (r#""models":["a"],"provider":{},"stream_options":{"include_usage":true}"#.into(), r#""max_tokens":4096"#.into(), ""),
        (r#""response_format":{"type":"text"}"#.into(), r#""max_tokens":4096"#.into(), ""),
        (
            r#""response_format":{"type":"json_object"}"#.into(),
            r#""max_tokens":4096"#.into(),
            "response_format: dropped, Anthropic has no JSON mode without a schema",
        ),
        (
            r#""response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","strict":false,"schema":{"a":1}}}"#.into(),
            r#""max_tokens":4096,"output_config":{"format":{"type":"json_schema","schema":{"a":1}}}"#.into(),
            "response_format.json_schema.name: dropped, Anthropic has no such field; \
             response_format.json_schema.description: dropped, Anthropic has no such field; \
             response_format.json_schema.strict: approximated, Anthropic always follows the schema",
        ),
        (
            r#""tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"properties":{}}},"cache_control":{"type":"ephemeral"}},
            {"type":"function","function":{"name":"g","strict":false,"parameters":{},"more":1}}]"#
                .into(),
            r#""max_tokens":4096,"tools":[{"name":"f","description":"d","strict":true,"input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}},
            {"name":"g","input_schema":{"type":"object"}}]"#
                .into(),
            "tools[1].function.more: dropped, Anthropic has no such field",
        ),
        (with_f(r#""tool_choice":"auto","parallel_tool_calls":true"#), format!(r#"{tools},"tool_choice":{{"type":"auto"}}"#), ""),
        (with_f(r#""parallel_tool_calls":false"#), format!(r#"{tools},"tool_choice":{{"type":"auto","disable_parallel_tool_use":true}}"#), ""),
        (with_f(r#""tool_choice":"none","parallel_tool_calls":false"#), format!(r#"{tools},"tool_choice":{{"type":"none"}}"#), ""),
        (
            with_f(r#""tool_choice":"required","parallel_tool_calls":false"#),
            format!(r#"{tools},"tool_choice":{{"type":"any","disable_parallel_tool_use":true}}"#),
            "",
        ),
        (
            with_f(r#""tool_choice":{"type":"function","function":{"name":"f"}}"#),
            format!(r#"{tools},"tool_choice":{{"type":"tool","name":"f"}}"#),
            "",
        ),
        (r#""tool_choice":"required""#.into(), r#""max_tokens":4096"#.into(), "tool_choice: dropped, there are no tools"),
    ];
    for (request, expected, notices) in rows {
        let (written, said) = members(&request, &carrier()).unwrap_or_else(|fault| panic!("{fault}: {request}"));
        assert_eq!((written, said.as_str()), (parse(&format!("{{{expected}}}")), notices), "{request}");
    }
    let most = Carrier { max_output: 1000, stream: true, ..carrier() };
    let rows = [
        ("\"n\":1", r#"{"max_tokens":1000,"stream":true}"#, ""),
        ("\"max_tokens\":5000", r#"{"max_tokens":1000,"stream":true}"#, "max_tokens: approximated, lowered to the model's most"),
    ];
    for (request, expected, notices) in rows {
        assert_eq!(members(request, &most), Ok((parse(expected), notices.to_owned())), "{request}");
    }
    let parameters: [Box<str>; 2] = ["max_tokens".into(), "tools".into()];
    let fixed = Carrier { parameters: &parameters, ..carrier() };
    let said = "temperature: dropped, the model takes none; top_p: dropped, the model takes none";
    assert_eq!(members("\"temperature\":0.5,\"top_p\":0.9", &fixed), Ok((parse(r#"{"max_tokens":4096}"#), said.to_owned())));
}

#[test]
fn thinking_is_asked_for_in_the_controls_that_the_model_has() {
    let enabled = |budget: u64| format!(r#""thinking":{{"type":"enabled","budget_tokens":{budget}}}"#);
    let tool = r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required","reasoning_effort":"low""#;
    let forced = r#""tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"}"#;
    let rows: Vec<(&str, &str, &str, String, &str)> = vec![
        // controls, request, max_tokens written, the rest written, notices
        (
            "",
            r#""reasoning_effort":"high""#,
            "4096",
            String::new(),
            "reasoning_effort: dropped, the endpoint's model is not known to think",
        ),
        ("", r#""reasoning_effort":"none""#, "4096", String::new(), ""),
        ("", r#""reasoning":{"exclude":true}"#, "4096", String::new(), ""),
        ("budget", r#""reasoning_effort":"none""#, "4096", r#""thinking":{"type":"disabled"}"#.into(), ""),
        ("toggle", r#""reasoning":{"enabled":false}"#, "4096", r#""thinking":{"type":"disabled"}"#.into(), ""),
        ("effort", r#""reasoning":{"enabled":false}"#, "4096", String::new(), "reasoning: dropped, the model cannot be told not to think"),
        (
            "budget",
            r#""max_tokens":10000,"reasoning_effort":"high""#,
            "10000",
            enabled(8000),
            "reasoning_effort: approximated, as a share of max_tokens",
        ),
        (
            "budget effort",
            r#""max_tokens":3000,"reasoning_effort":"minimal""#,
            "3000",
            enabled(1024),
            "reasoning_effort: approximated, as a share of max_tokens",
        ),
        (
            "toggle",
            r#""max_tokens":3000,"reasoning":{"enabled":true}"#,
            "3000",
            enabled(1500),
            "reasoning: approximated, as a share of max_tokens",
        ),
        ("budget", r#""max_tokens":9000,"reasoning":{"max_tokens":2000}"#, "9000", enabled(2000), ""),
        (
            "budget",
            r#""max_tokens":9000,"reasoning":{"max_tokens":20}"#,
            "9000",
            enabled(1024),
            "reasoning: approximated, moved between 1024 and max_tokens",
        ),
        (
            "budget",
            r#""max_tokens":9000,"reasoning":{"max_tokens":9000}"#,
            "9000",
            enabled(8999),
            "reasoning: approximated, moved between 1024 and max_tokens",
        ),
        ("budget", r#""reasoning":{"max_tokens":9000}"#, "13096", enabled(9000), ""),
        (
            "budget",
            r#""max_tokens":1024,"reasoning_effort":"low""#,
            "1024",
            String::new(),
            "reasoning_effort: dropped, max_tokens leaves no room for thoughts, which take 1024 at least",
        ),
        (
            "budget",
            r#""max_tokens":9000,"reasoning":{"max_tokens":2000,"exclude":true,"summary":"auto"}"#,
            "9000",
            r#""thinking":{"type":"enabled","budget_tokens":2000,"display":"omitted"}"#.into(),
            "reasoning.summary: dropped, Anthropic has no such field",
        ),
        (
            "adaptive effort",
            r#""reasoning_effort":"high""#,
            "4096",
            r#""thinking":{"type":"adaptive"},"output_config":{"effort":"high"}"#.into(),
            "",
        ),
        (
            "adaptive effort budget",
            r#""reasoning_effort":"minimal""#,
            "4096",
            r#""thinking":{"type":"adaptive"},"output_config":{"effort":"low"}"#.into(),
            "reasoning_effort: approximated, minimal as low",
        ),
        (
            "adaptive",
            r#""reasoning_effort":"high""#,
            "4096",
            r#""thinking":{"type":"adaptive"}"#.into(),
            "reasoning_effort: approximated, the model decides how much",
        ),
        (
            "adaptive",
            r#""reasoning":{"enabled":true,"exclude":true}"#,
            "4096",
            r#""thinking":{"type":"adaptive","display":"omitted"}"#.into(),
            "",
        ),
        (
            "adaptive effort",
            r#""max_tokens":10000,"reasoning":{"max_tokens":5000}"#,
            "10000",
            r#""thinking":{"type":"adaptive"},"output_config":{"effort":"medium"}"#.into(),
            "reasoning: approximated, as the nearest effort",
        ),
        ("effort", r#""reasoning_effort":"xhigh""#, "4096", r#""output_config":{"effort":"xhigh"}"#.into(), ""),
        (
            "effort",
            r#""reasoning":{"effort":"low","exclude":true}"#,
            "4096",
            r#""output_config":{"effort":"low"}"#.into(),
            "reasoning.exclude: dropped, the model's thoughts cannot be left out there",
        ),
        (
            "budget",
            r#""max_tokens":9000,"reasoning":{"max_tokens":2000},"temperature":0.2,"top_p":0.5,"top_k":4"#,
            "9000",
            enabled(2000),
            "temperature: dropped, not taken while the model thinks; top_p: dropped, not taken while the model thinks; top_k: dropped, not taken while the model thinks",
        ),
        (
            "adaptive",
            r#""reasoning":{"enabled":true},"temperature":1,"top_p":0.95"#,
            "4096",
            r#""thinking":{"type":"adaptive"},"temperature":1,"top_p":0.95"#.into(),
            "",
        ),
        ("adaptive", tool, "4096", forced.into(), "reasoning_effort: dropped, Anthropic's models do not think when a tool call is forced"),
        ("effort", tool, "4096", format!(r#"{forced},"output_config":{{"effort":"low"}}"#), ""),
    ];
    for (words, request, most, expected, notices) in rows {
        let carrier = Carrier { reasoning: controls(words), ..carrier() };
        let comma = if expected.is_empty() { "" } else { "," };
        let expected = parse(&format!(r#"{{"max_tokens":{most}{comma}{expected}}}"#));
        assert_eq!(members(request, &carrier), Ok((expected, notices.to_owned())), "{words}: {request}");
    }
    let known = Carrier { reasoning: controls("budget"), max_output: 8000, ..carrier() };
    let expected = parse(&format!(r#"{{"max_tokens":8000,{}}}"#, enabled(7999)));
    let said = "reasoning: approximated, moved between 1024 and max_tokens".to_owned();
    assert_eq!(members(r#""reasoning":{"max_tokens":9000}"#, &known), Ok((expected, said)));
}

#[test]
fn thinking_gives_way_where_the_conversation_does_not_allow_it() {
    let call = r#"{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]DETAILS},{"role":"tool","tool_call_id":"a","content":"r"}"#;
    let signed = r#","reasoning_details":[{"type":"reasoning.text","text":"hm","signature":"sig"}]"#;
    let prefill = r#"{"role":"user","content":"x"},{"role":"assistant","content":"so"}"#.to_owned();
    let rows = [
        (call.replace("DETAILS", ""), "budget", false),
        (call.replace("DETAILS", signed), "budget", true),
        (call.replace("DETAILS", ""), "adaptive", true),
        (prefill.clone(), "budget", false),
        (prefill, "adaptive", false),
    ];
    for (messages, words, thinks) in rows {
        let request = format!(
            r#"{{"max_tokens":5000,"tools":[{{"type":"function","function":{{"name":"f"}}}}],"reasoning":{{"enabled":true}},"messages":[{messages}]}}"#
        );
        let (written, notices) = write(&request, &Carrier { reasoning: controls(words), ..carrier() }).expect("fits");
        assert_eq!(
            (written["thinking"].is_object(), notices.contains("reasoning: dropped")),
            (thinks, !thinks),
            "{words}: {request}: {notices}"
        );
    }
}

#[test]
fn what_has_no_counterpart_and_must_not_be_left_out_is_refused_with_its_path() {
    let with = |members: &str| format!(r#"{{"messages":[{{"role":"user","content":"x"}}],{members}}}"#);
    let part = |part: &str| format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#);
    let message = |message: &str| format!(r#"{{"messages":[{{"role":"user","content":"x"}},{message}]}}"#);
    let rows = [
        (with(r#""n":2"#), "n"),
        (with(r#""audio":{"voice":"x"}"#), "audio"),
        (with(r#""modalities":["text","audio"]"#), "modalities"),
        (with(r#""web_search_options":{}"#), "web_search_options"),
        (with(r#""functions":[]"#), "functions"),
        (with(r#""function_call":"auto""#), "function_call"),
        (with(r#""stop":["x","\n"]"#), "stop"),
        (with(r#""response_format":{"type":"grammar"}"#), "response_format"),
        (with(r#""tools":[{"type":"custom","custom":{"name":"x"}}]"#), "tools[0]"),
        (with(r#""tool_choice":{"type":"allowed_tools","allowed_tools":{}}"#), "tool_choice"),
        (part(r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}"#), "messages[0].content[0]"),
        (part(r#"{"type":"video_url","video_url":{"url":"https://x"}}"#), "messages[0].content[0]"),
        (part(r#"{"type":"file","file":{"file_id":"f"}}"#), "messages[0].content[0]"),
        (part(r#"{"type":"file","file":{"file_data":"data:application/zip;base64,AA"}}"#), "messages[0].content[0]"),
        (part(r#"{"type":"file","file":{"file_data":"data:text/plain;base64,/w=="}}"#), "messages[0].content[0]"),
        (part(r#"{"type":"image_url","image_url":{"url":"data:image/png,raw"}}"#), "messages[0].content[0]"),
        (part(r#"{"type":"image_url","image_url":{"url":"gs://x"}}"#), "messages[0].content[0]"),
        (part(r#"{"type":"of_tomorrow"}"#), "messages[0].content[0]"),
        (part(""), "messages"),
        (
            r#"{"messages":[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]}"#.to_owned(),
            "messages[0].content[0]",
        ),
        (message(r#"{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}"#), "messages[1].content[0]"),
        (message(r#"{"role":"assistant","content":"x","function_call":{"name":"f"}}"#), "messages[1]"),
        (message(r#"{"role":"assistant","content":"x","audio":{"id":"a"}}"#), "messages[1]"),
        (message(r#"{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{}}]}"#), "messages[1].tool_calls[0]"),
    ];
    for (request, path) in rows {
        let fault = write(&request, &carrier()).expect_err(&request);
        assert_eq!((fault.kind, fault.path.as_str()), (FaultKind::Unsupported, path), "{request}: {fault}");
    }
}

proptest! {
    /// Any conversation of texts becomes one that Anthropic takes: turns alternate, none is empty, no text is blank.
    #[test]
    fn turns_alternate_and_say_something(turns in prop::collection::vec((prop::sample::select(vec!["system", "user", "assistant"]), prop::sample::select(vec!["a", "", " ", "b ", "\u{a0}"])), 1..12)) {
        let messages: Vec<Value> = turns.iter().map(|(role, text)| json!({"role": role, "content": text})).collect();
        let request = json!({ "messages": messages }).to_string();
        match write(&request, &carrier()) {
            Err(fault) => prop_assert!(fault.path == "messages" && turns.iter().all(|(_, text)| text.trim().is_empty())),
            Ok((written, _)) => {
                let messages = written["messages"].as_array().expect("an array");
                prop_assert!(!messages.is_empty());
                for (at, message) in messages.iter().enumerate() {
                    prop_assert!(at == 0 || message["role"] != messages[at - 1]["role"]);
                    let texts: Vec<&str> = match &message["content"] {
                        Value::String(text) => vec![text],
                        content => content.as_array().expect("blocks").iter().filter_map(|block| block["text"].as_str()).collect(),
                    };
                    prop_assert!(!texts.is_empty() && texts.iter().all(|text| !text.trim().is_empty()));
                }
            }
        }
    }
}
