//! Answers and streams of providers as they are read.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::neutral::{Arguments, Block, Content, Disorder, Event, Extension, Finish, Message, Raw, Reasoning, Text, fold};
use crate::openai::{EventsReader, read_message};

pub(super) fn text(text: &str) -> Text {
    Text::new(text)
}

pub(super) fn words(text: &str) -> Content {
    Content::text(Text::new(text))
}

pub(super) fn thought(words: &str, signature: Option<&str>) -> Content {
    Content::Reasoning(Reasoning::Text { text: text(words), signature: signature.map(text) })
}

pub(super) fn call(id: &str, name: &str, arguments: &str) -> Content {
    Content::ToolCall { id: text(id), name: text(name), arguments: Arguments::Text(text(arguments)) }
}

pub(super) fn message(contents: Vec<Content>, finish: Option<Finish>) -> Message {
    Message {
        id: None,
        model: Some(text("maker/model")),
        blocks: contents.into_iter().map(Block::new).collect(),
        finish,
        stop_sequence: None,
        extension: Extension::default(),
    }
}

/// What a model says in its message and why it stops, and the contents and end that are read from it.
type Row = (Value, Option<&'static str>, Vec<Content>, Option<Finish>);

fn rows() -> Vec<Row> {
    let signed = json!([{"type": "reasoning.text", "text": "hm", "signature": "S", "index": 0}, {"type": "reasoning.encrypted", "data": "E", "index": 1}]);
    vec![
        (json!({"content": "hi"}), Some("stop"), vec![words("hi")], Some(Finish::Stop)),
        (json!({"content": null}), Some("length"), vec![], Some(Finish::Length)),
        (json!({"content": ""}), None, vec![], None),
        (
            json!({"content": "a \"b\" \u{1F600}", "refusal": null}),
            Some("eos"),
            vec![words("a \"b\" \u{1F600}")],
            Some(Finish::Other(text("eos"))),
        ),
        (
            json!({"refusal": "no", "content": null}),
            Some("content_filter"),
            vec![Content::Refusal(text("no"))],
            Some(Finish::ContentFilter),
        ),
        (json!({"reasoning": "hm", "content": "hi"}), Some("stop"), vec![thought("hm", None), words("hi")], Some(Finish::Stop)),
        (json!({"reasoning_content": "hm", "content": "hi"}), Some("stop"), vec![thought("hm", None), words("hi")], Some(Finish::Stop)),
        (
            json!({"reasoning_content": "other", "reasoning": "hm", "reasoning_details": signed, "content": "hi"}),
            Some("stop"),
            vec![thought("hm", Some("S")), Content::Reasoning(Reasoning::Encrypted { data: text("E") }), words("hi")],
            Some(Finish::Stop),
        ),
        // Another maker's seal would be sent back to Anthropic, which refuses it.
        (
            json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "S", "format": "google-gemini-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "E", "format": "google-gemini-v1", "index": 1}], "content": "hi"}),
            Some("stop"),
            vec![thought("hm", None), words("hi")],
            Some(Finish::Stop),
        ),
        (
            json!({"reasoning_details": [{"type": "reasoning.summary", "summary": "s"}], "content": "hi"}),
            Some("stop"),
            vec![Content::Reasoning(Reasoning::Summary { text: text("s") }), words("hi")],
            Some(Finish::Stop),
        ),
        (
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]},
                {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
            Some("stop"),
            vec![thought("hm", None), words("ab")],
            Some(Finish::Stop),
        ),
        (json!({"content": "<think>x</think>y"}), Some("stop"), vec![words("<think>x</think>y")], Some(Finish::Stop)),
        (
            json!({"content": "see", "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                {"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}]}),
            Some("tool_calls"),
            vec![words("see"), call("c1", "f", "{\"a\":1}"), call("c2", "g", "")],
            Some(Finish::ToolCalls),
        ),
        // Whole calls of providers that count none, give no id, say `stop`, or send the arguments as an object.
        (
            json!({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, {"function": {"name": "f", "arguments": "{}"}}]}),
            Some("stop"),
            vec![call("call_gen-1_0", "f", "{\"a\":1}"), call("call_gen-1_1", "f", "{}")],
            Some(Finish::ToolCalls),
        ),
        (
            json!({"content": "it is so", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://x"}}]}),
            Some("stop"),
            vec![Content::Text {
                text: text("it is so"),
                citations: vec![Raw::written(&br#"{"type":"url_citation","url_citation":{"url":"https://x"}}"#[..])],
            }],
            Some(Finish::Stop),
        ),
        (
            json!({"content": "see", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}),
            Some("stop"),
            vec![
                words("see"),
                Content::Foreign {
                    kind: text("image_url"),
                    raw: Raw::written(&br#"{"image_url":{"url":"data:image/png;base64,AA"},"type":"image_url"}"#[..]),
                },
            ],
            Some(Finish::Stop),
        ),
        (
            json!({"content": null, "audio": {"data": "UklG", "id": "a", "transcript": "A foghorn."}}),
            Some("stop"),
            vec![Content::Foreign {
                kind: text("audio"),
                raw: Raw::written(&br#"{"data":"UklG","id":"a","transcript":"A foghorn."}"#[..]),
            }],
            Some(Finish::Stop),
        ),
        // Snowflake says so with every answer.
        (json!({"content": "x", "audio": {"data": "", "id": "", "transcript": ""}}), Some("stop"), vec![words("x")], Some(Finish::Stop)),
    ]
}

#[test]
fn a_whole_answer_is_read_whatever_its_providers_spelling() {
    for (said, finish, contents, end) in rows() {
        let answer = json!({"id": "gen-1", "model": "maker/model", "choices": [
            {"index": 1, "message": {"content": "another"}}, {"index": 0, "message": said, "finish_reason": finish}]});
        let found = read_message(&answer.to_string().into()).expect("an answer");
        assert_eq!(found.blocks.iter().map(|block| block.content.clone()).collect::<Vec<_>>(), contents, "{said}");
        assert_eq!((found.finish, found.id), (end, Some(text("gen-1"))), "{said}");
    }
    for broken in ["", "[]", "{", "{}x", "\u{0}"] {
        assert!(read_message(&Bytes::copy_from_slice(broken.as_bytes())).is_err(), "{broken}");
    }
    assert_eq!(read_message(&"{}".into()).expect("an object").blocks, []);
}

/// The same answers as one delta of a stream: the order of the members is ours, and what is written at once is read at once.
#[test]
fn a_chunk_that_says_all_is_read_as_the_whole_answer() {
    for (said, finish, contents, end) in rows() {
        let chunk = json!({"id": "gen-1", "model": "maker/model", "choices": [{"index": 0, "delta": said, "finish_reason": finish}]});
        let filter = json!({"id": "", "model": "", "choices": [], "prompt_filter_results": [{"x": 1}]});
        let second = json!({"choices": [{"index": 1, "delta": {"content": "another"}, "finish_reason": "stop"}]});
        let stream = format!(": hello\n\ndata: {filter}\n\ndata: {chunk}\n\ndata: {second}\n\ndata: not json\n\ndata: [DONE]\n\n");
        let found = fold(&read_stream(&stream, &[]));
        assert_eq!(found.blocks.iter().map(|block| block.content.clone()).collect::<Vec<_>>(), contents, "{said}");
        // A stream that says [DONE] and nothing else about its end is over.
        assert_eq!((found.finish, found.id), (end.or(Some(Finish::Stop)), Some(text("gen-1"))), "{said}");
    }
}

/// Reads a stream that was cut at `cuts`.
pub(super) fn read_stream(stream: &str, cuts: &[usize]) -> Vec<Event> {
    let stream = Bytes::copy_from_slice(stream.as_bytes());
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let mut reader = EventsReader::new(1 << 20);
    let mut events = Vec::new();
    for pair in cuts.windows(2) {
        reader.push(&stream.slice(pair[0]..pair[1]), &mut events).expect("in order");
    }
    reader.finish(&mut events);
    events
}

fn deltas(deltas: &[Value]) -> Message {
    let chunk = |delta: &Value| format!("data: {}\n\n", json!({"id": "g", "choices": [{"index": 0, "delta": delta}]}));
    let last = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
    let stream: String = deltas.iter().map(chunk).collect();
    fold(&read_stream(&format!("{stream}data: {last}\n\n"), &[]))
}

#[test]
fn calls_are_put_together_however_they_are_cut_and_counted() {
    let part = |index: Option<u32>, id: Option<&str>, name: Option<&str>, arguments: Option<&str>| {
        let mut item = json!({"function": {}});
        if let Some(index) = index {
            item["index"] = index.into();
        }
        if let Some(id) = id {
            item["id"] = id.into();
        }
        if let Some(name) = name {
            item["function"]["name"] = name.into();
        }
        if let Some(arguments) = arguments {
            item["function"]["arguments"] = arguments.into();
        }
        json!({"tool_calls": [item]})
    };
    let two = vec![call("a", "f", "{\"x\":1}"), call("b", "g", "{}")];
    let rows = [
        (
            "OpenAI's",
            vec![
                part(Some(0), Some("a"), Some("f"), Some("")),
                part(Some(0), None, None, Some("{\"x\"")),
                part(Some(0), None, None, Some(":1}")),
                part(Some(1), Some("b"), Some("g"), Some("")),
                part(Some(1), None, None, Some("{}")),
            ],
            two.clone(),
        ),
        (
            "alternating",
            vec![
                part(Some(0), Some("a"), Some("f"), None),
                part(Some(1), Some("b"), Some("g"), None),
                part(Some(0), None, None, Some("{\"x\"")),
                part(Some(1), None, None, Some("{}")),
                part(Some(0), None, None, Some(":1}")),
            ],
            two.clone(),
        ),
        ("uncounted", vec![part(None, Some("a"), Some("f"), Some("{\"x\":1}")), part(None, Some("b"), Some("g"), Some("{}"))], two.clone()),
        (
            "all of them counted 0",
            vec![part(Some(0), Some("a"), Some("f"), Some("{\"x\":1}")), part(Some(0), Some("b"), Some("g"), Some("{}"))],
            two.clone(),
        ),
        (
            "uncounted in pieces",
            vec![
                part(None, Some("a"), Some("f"), None),
                part(None, None, None, Some("{\"x\":1}")),
                part(None, Some("b"), Some("g"), None),
                part(None, None, None, Some("{}")),
            ],
            two.clone(),
        ),
        (
            "id and name told again and again",
            vec![
                part(Some(0), Some("a"), Some("f"), Some("{\"x\"")),
                part(Some(0), Some("a"), Some("f"), Some(":1}")),
                part(Some(1), Some("b"), Some("g"), Some("{}")),
            ],
            two.clone(),
        ),
        (
            "arguments before the name",
            vec![
                part(Some(0), Some("a"), None, Some("{\"x\"")),
                part(Some(0), None, Some("f"), Some(":1}")),
                part(Some(1), Some("b"), Some("g"), Some("{}")),
            ],
            two.clone(),
        ),
        (
            "no ids",
            vec![part(Some(0), None, Some("f"), Some("{}")), part(Some(1), Some(""), Some("g"), Some("{}"))],
            vec![call("call_g_0", "f", "{}"), call("call_g_1", "g", "{}")],
        ),
    ];
    for (what, pieces, contents) in rows {
        let found = deltas(&pieces);
        assert_eq!(found.blocks.into_iter().map(|block| block.content).collect::<Vec<_>>(), contents, "{what}");
    }
}

#[test]
fn a_call_that_was_never_named_is_not_left_out_in_silence() {
    let stream = |item: Value| {
        let chunk = json!({"choices": [{"delta": {"tool_calls": [item]}, "finish_reason": "tool_calls"}]});
        let mut reader = EventsReader::new(1 << 20);
        reader.push(&Bytes::from(format!("data: {chunk}\n\ndata: [DONE]\n\n")), &mut Vec::new())
    };
    assert_eq!(stream(json!({"index": 0, "id": "a", "function": {"arguments": "{}"}})), Err(Disorder::Misplaced));
    assert_eq!(stream(json!({"index": 0, "id": "a", "function": {"arguments": ""}})), Ok(()));
}

#[test]
fn a_frame_that_is_cut_is_not_passed_over() {
    let mut reader = EventsReader::new(1 << 20);
    let frames = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"N\n\n");
    assert_eq!(reader.push(&frames, &mut Vec::new()), Err(Disorder::Unreadable));
}

#[test]
fn calls_are_counted_and_bounded() {
    let mut reader = EventsReader::new(1 << 20);
    let call = |index: u32| {
        let call = json!({"index": index, "id": format!("c{index}"), "function": {"name": "f", "arguments": "{}"}});
        Bytes::from(format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": [call]}}]})))
    };
    let refused = (0..5000).position(|index| reader.push(&call(index), &mut Vec::new()).is_err());
    assert_eq!(refused, Some(4096));
}

#[test]
fn fragments_without_a_name_are_bounded_and_a_frame_without_an_end_too() {
    let chunk = json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "x".repeat(60)}}]}}]});
    let chunk = Bytes::from(format!("data: {chunk}\n\n"));
    let mut reader = EventsReader::new(200);
    let mut out = Vec::new();
    assert!((0..10).any(|_| reader.push(&chunk, &mut out).is_err()));
    let mut reader = EventsReader::new(200);
    assert!(reader.push(&Bytes::from(vec![b'x'; 201]), &mut out).is_err());
}

#[test]
fn a_stream_that_breaks_off_has_no_end() {
    let chunk = json!({"id": "g", "choices": [{"index": 0, "delta": {"content": "hi"}}]});
    let found = fold(&read_stream(&format!("data: {chunk}\n\n"), &[]));
    assert_eq!((found.finish, found.blocks.len()), (None, 1));
}
