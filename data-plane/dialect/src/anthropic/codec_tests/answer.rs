//! Whole answers, both ways.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::{parse, value};
use crate::anthropic::{read_message, write_message};
use crate::neutral::{
    Arguments, Block, Content, Extension, Finish, Media, MediaSource, Message, Raw, Reasoning, Shown, Text, warning_header,
};
use crate::usage::Reading;

fn text(text: &str) -> Text {
    Text::new(text)
}

fn raw(json: &str) -> Raw {
    Raw::written(json.as_bytes().to_vec())
}

pub(super) fn message(contents: Vec<Content>, finish: Option<Finish>) -> Message {
    let blocks = contents.into_iter().map(Block::new).collect();
    Message { id: None, model: None, blocks, finish, stop_sequence: None, extension: Extension::default() }
}

pub(super) fn call(id: &str, arguments: Arguments) -> Content {
    Content::ToolCall { id: text(id), name: text("f"), arguments }
}

#[test]
fn an_answer_of_another_provider_is_shown_in_blocks() {
    let reading = Reading {
        input: 10,
        cache_read: 4,
        cache_write_5m: 2,
        cache_write_1h: 1,
        audio_input: 3,
        output: 5,
        reasoning: 6,
        searches: 2,
        ..Reading::default()
    };
    let citation = r#"{"type":"url_citation","url_citation":{"url":"https://x","title":"t","content":"c","start_index":0}}"#;
    let contents = vec![
        Content::Reasoning(Reasoning::Text { text: text("hm"), signature: None }),
        Content::Reasoning(Reasoning::Summary { text: text("sum") }),
        Content::Reasoning(Reasoning::Encrypted { data: text("xx") }),
        Content::text(text("")),
        Content::Text {
            text: text("a\"b"),
            citations: vec![raw(citation), raw(r#"{"type":"url_citation","url":"https://y"}"#), raw("{}")],
        },
        call("", Arguments::Text(text(""))),
        call("b.1", Arguments::Text(text("no"))),
        Content::Audio(Media { source: MediaSource::Url(text("x")), title: None, context: None, citations: false }),
        Content::Foreign { kind: text("custom"), raw: raw("{}") },
    ];
    let shown = Shown {
        id: "gen-1",
        model: "a/b",
        reading: Some(&reading),
        cost_picousd: Some(1_500_000),
        service_tier: Some("default"),
        ..Shown::default()
    };
    let (written, notices) = write_message(&message(contents, Some(Finish::ToolCalls)), &shown);
    let expected = json!({
        "id": "gen-1", "type": "message", "role": "assistant", "model": "a/b",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "thinking", "thinking": "sum", "signature": ""},
            {"type": "redacted_thinking", "data": "xx"},
            {"type": "text", "text": "a\"b", "citations": [
                {"type": "web_search_result_location", "url": "https://x", "title": "t", "cited_text": "c", "encrypted_index": ""},
                {"type": "web_search_result_location", "url": "https://y", "title": null, "cited_text": "", "encrypted_index": ""},
            ]},
            {"type": "tool_use", "id": "toolu_gen-1_5", "name": "f", "input": {}},
            {"type": "tool_use", "id": "b.1", "name": "f", "input": {"arguments": "no"}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {
            "input_tokens": 13, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4,
            "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 1},
            "output_tokens": 11, "server_tool_use": {"web_search_requests": 2}, "service_tier": "standard",
        },
    });
    let mut written = value(&written);
    // A number finer than a float tells is compared as text elsewhere; this one is exact.
    assert_eq!(written["usage"].as_object_mut().and_then(|usage| usage.remove("cost")), Some(json!(0.0000015)));
    assert_eq!(written, expected);
    assert_eq!(
        warning_header(&notices),
        "content[4].citations: dropped, Anthropic has no such citation; \
         content[6]: approximated, arguments that are no JSON object as the one argument `arguments`; \
         content[7]: dropped, Anthropic's answers have no such content; content[8]: dropped, Anthropic's answers have no such content"
    );
}

#[test]
fn what_the_provider_did_not_tell_is_zero_and_the_callers_name_stands_for_the_model() {
    let shown = Shown { id: "gen", model: "a/b", ..Shown::default() };
    let mut answer = message(vec![], None);
    let written = value(&write_message(&answer, &shown).0);
    assert_eq!(
        (&written["model"], &written["usage"]["output_tokens"], &written["usage"]["cost"]),
        (&json!("a/b"), &json!(0), &json!(null))
    );
    answer.model = Some(text("theirs"));
    assert_eq!(value(&write_message(&answer, &shown).0)["model"], "theirs");
}

#[test]
fn the_reason_to_stop_is_told_in_both_words() {
    let plain = || vec![Content::text(text("x"))];
    let calls = || vec![call("a", Arguments::Text(text("{}")))];
    let refusal = || vec![Content::Refusal(text("no"))];
    let other = Finish::Other(text("of_tomorrow"));
    let rows = [
        (plain(), Some(Finish::Stop), "end_turn", Some(Finish::Stop)),
        (plain(), None, "end_turn", Some(Finish::Stop)),
        (plain(), Some(Finish::Length), "max_tokens", Some(Finish::Length)),
        (plain(), Some(Finish::StopSequence), "stop_sequence", Some(Finish::StopSequence)),
        (calls(), Some(Finish::ToolCalls), "tool_use", Some(Finish::ToolCalls)),
        (calls(), Some(Finish::Stop), "tool_use", Some(Finish::ToolCalls)),
        (calls(), Some(Finish::Length), "max_tokens", Some(Finish::Length)),
        (plain(), Some(Finish::ContentFilter), "refusal", Some(Finish::Refusal)),
        (plain(), Some(Finish::Refusal), "refusal", Some(Finish::Refusal)),
        (refusal(), Some(Finish::Stop), "refusal", Some(Finish::Refusal)),
        (plain(), Some(Finish::Pause), "pause_turn", Some(Finish::Pause)),
        (plain(), Some(Finish::ContextWindow), "model_context_window_exceeded", Some(Finish::ContextWindow)),
        (plain(), Some(Finish::Error), "max_tokens", Some(Finish::Length)),
        // Another family's word is none here.
        (plain(), Some(other.clone()), "end_turn", Some(Finish::Stop)),
        (calls(), Some(other), "tool_use", Some(Finish::ToolCalls)),
    ];
    for (contents, finish, word, back) in rows {
        let (written, _) = write_message(&message(contents, finish.clone()), &Shown::default());
        assert_eq!(value(&written)["stop_reason"], word, "{finish:?}");
        assert_eq!(read_message(&written).expect("an answer").finish, back, "{finish:?}");
    }
}

#[test]
fn an_answer_of_anthropics_is_read_block_by_block() {
    let body = r#"
        {"id":"msg_1","type":"message","role":"assistant","model":"claude","stop_reason":"stop_sequence","stop_sequence":"\n","container":{"id":"c"},
        "content":[{"type":"thinking","thinking":"hm","signature":"sig"},{"type":"text","text":"t","citations":[{"type":"char_location"}]},
        {"type":"tool_use","id":"a","name":"f","input":{"x":1.50}},{"type":"server_tool_use","id":"s","name":"w","input":{}}],
        "usage":{"input_tokens":1,"output_tokens":2}}"#;
    let answer = read_message(&Bytes::from(body)).expect("an answer");
    let contents: Vec<Content> = answer.blocks.iter().map(|block| block.content.clone()).collect();
    let expected = vec![
        Content::Reasoning(Reasoning::Text { text: text("hm"), signature: Some(text("sig")) }),
        Content::Text { text: text("t"), citations: vec![raw(r#"{"type":"char_location"}"#)] },
        call("a", Arguments::Object(raw(r#"{"x":1.50}"#))),
        Content::Foreign { kind: text("server_tool_use"), raw: raw(r#"{"type":"server_tool_use","id":"s","name":"w","input":{}}"#) },
    ];
    assert_eq!(contents, expected);
    assert_eq!((answer.id, answer.model, answer.finish), (Some(text("msg_1")), Some(text("claude")), Some(Finish::StopSequence)));
    assert_eq!(answer.stop_sequence, Some(text("\n")));
    assert_eq!(answer.extension.members().map(|(name, _)| name.decode().into_owned()).collect::<Vec<_>>(), ["container"]);
    let again = read_message(&Bytes::from(body)).expect("an answer");
    let (written, notices) = write_message(&again, &Shown { id: "gen", ..Shown::default() });
    assert_eq!((value(&written)["content"].clone(), notices), (parse(body)["content"].clone(), vec![]), "its own blocks pass as they are");
}

#[test]
fn a_broken_answer_says_where() {
    let rows: [(&[u8], usize); 5] =
        [(b"", 0), (b"[]", 0), (b"{\"a\":", 5), (b"{\"id\":1}", 0), (b"{\"content\":[{\"type\":\"text\"}]}", 12)];
    for (body, at) in rows {
        let broken = read_message(&Bytes::from(body)).map(|_| ()).map_err(|broken| broken.at);
        assert_eq!(broken, Err(at), "{}", String::from_utf8_lossy(body));
    }
    let message = read_message(&Bytes::from_static(b"{\"id\":\"\xff\"}")).expect("what is no UTF-8 costs nobody the answer");
    assert_eq!(message.id, Some(text("\u{fffd}")));
}

proptest! {
    #[test]
    fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_message(&Bytes::from(bytes));
    }
}
