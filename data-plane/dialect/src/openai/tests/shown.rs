//! Answers and streams as they are written for callers, and read back.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::messages::{call, message, read_stream, text, thought, words};
use crate::neutral::{Assembler, Block, Content, Delta, Event, Finish, Key, Message, Notice, Opened, Raw, Reasoning, Shown, Text, fold};
use crate::openai::{EventsReader, EventsWriter, read_message, write_message};
use crate::usage::Reading;

fn reading() -> Reading {
    Reading { input: 10, cache_read: 20, cache_write_5m: 3, cache_write_1h: 4, output: 5, reasoning: 6, searches: 1, ..Reading::default() }
}

fn usage() -> Value {
    json!({"prompt_tokens": 37, "completion_tokens": 11, "total_tokens": 48,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 7, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 0},
        "server_tool_use_details": {"web_search_requests": 1}, "cost": 0.25})
}

/// A message of Anthropic's with all that may be in one.
fn rich() -> Message {
    let cited = Content::Text {
        text: text("é so"),
        citations: vec![
            Raw::written(
                &br#"{"type":"web_search_result_location","url":"https://x","title":"X","encrypted_index":"i","cited_text":"c"}"#[..],
            ),
            Raw::written(&br#"{"type":"char_location","document_index":0,"cited_text":"c"}"#[..]),
        ],
    };
    let search = Content::Foreign { kind: text("server_tool_use"), raw: Raw::written(&br#"{"type":"server_tool_use"}"#[..]) };
    let contents = vec![
        thought("hm", Some("S")),
        Content::Reasoning(Reasoning::Encrypted { data: text("E") }),
        search,
        words("it is "),
        cited,
        call("c1", "f", "{\"a\":1}"),
        call("c2", "g", ""),
    ];
    message(contents, Some(Finish::ToolCalls))
}

fn said() -> Value {
    json!({"role": "assistant", "content": "it is é so", "refusal": null, "reasoning": "hm",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "E", "format": "anthropic-claude-v1", "index": 1}],
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://x", "title": "X", "content": "c", "start_index": 6, "end_index": 10}}],
        "tool_calls": [
            {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
            {"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]})
}

#[test]
fn a_whole_answer_has_all_that_clients_of_this_dialect_look_for() {
    let reading = reading();
    let shown = Shown {
        id: "gen-7",
        model: "asked",
        created_s: 5,
        reading: Some(&reading),
        cost_picousd: Some(250_000_000_000),
        service_tier: Some("default"),
        openrouter: true,
    };
    let (body, notices) = write_message(&rich(), &shown);
    let found: Value = serde_json::from_slice(&body).expect("JSON");
    let mut expected = json!({"id": "gen-7", "object": "chat.completion", "created": 5, "model": "maker/model",
        "choices": [{"index": 0, "message": said(), "logprobs": null, "finish_reason": "tool_calls", "native_finish_reason": "tool_use"}],
        "usage": usage(), "service_tier": "default", "system_fingerprint": null});
    assert_eq!(found, expected);
    assert_eq!(notices, lost());

    let plain = Shown { openrouter: false, service_tier: None, reading: None, cost_picousd: None, ..shown };
    let (body, _) = write_message(&Message { model: None, ..rich() }, &plain);
    let found: Value = serde_json::from_slice(&body).expect("JSON");
    expected["model"] = "asked".into();
    expected["choices"][0].as_object_mut().expect("a choice").remove("native_finish_reason");
    for name in ["usage", "service_tier", "system_fingerprint"] {
        expected.as_object_mut().expect("an object").remove(name);
    }
    assert_eq!(found, expected);
}

fn lost() -> Vec<Notice> {
    vec![
        Notice::dropped("content[4].citations", "only pages of the web can be cited here"),
        Notice::dropped("content[2]", "a block that chat completions do not have"),
    ]
}

#[test]
fn every_end_has_its_word() {
    let rows = [
        (Finish::Stop, "stop", "end_turn", 0),
        (Finish::StopSequence, "stop", "stop_sequence", 0),
        (Finish::Length, "length", "max_tokens", 0),
        (Finish::ContextWindow, "length", "model_context_window_exceeded", 0),
        (Finish::ToolCalls, "tool_calls", "tool_use", 0),
        (Finish::Refusal, "content_filter", "refusal", 0),
        (Finish::Pause, "stop", "pause_turn", 1),
        (Finish::Other(text("new")), "stop", "new", 1),
    ];
    for (finish, word, native, notices) in rows {
        let whole = message(vec![words("x")], Some(finish));
        let (body, found) = write_message(&whole, &Shown { openrouter: true, ..Shown::default() });
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&body["choices"][0]["finish_reason"], &body["choices"][0]["native_finish_reason"]), (&json!(word), &json!(native)));
        assert_eq!(found.len(), notices);
        let frames = write_events(&events(&whole), true, None);
        assert!(frames.iter().any(|frame| frame.contains(&format!("\"finish_reason\":\"{word}\",\"native_finish_reason\":\"{native}\""))));
        assert_eq!(frames.iter().filter(|frame| frame.starts_with(": x-waybill-warning ")).count(), notices, "{frames:?}");
    }
}

/// The message in pieces, as a reader of Anthropic's would tell it.
fn events(message: &Message) -> Vec<Event> {
    let mut assembler = Assembler::new(1 << 20);
    let mut out = Vec::new();
    assembler.start(message.id.clone(), message.model.clone(), &mut out);
    for (block, at) in message.blocks.iter().zip(0..) {
        let key = Key::Block(at);
        let empty = Text::default();
        let (what, deltas) = match &block.content {
            Content::Text { text, citations } => {
                let citations = citations.iter().cloned().map(Delta::Citation);
                (Opened::Text, halves(text).map(Delta::Text).into_iter().chain(citations).collect())
            }
            Content::Refusal(text) => (Opened::Refusal, halves(text).map(Delta::Text).to_vec()),
            Content::Reasoning(Reasoning::Text { text, signature }) => {
                let opened = Opened::Reasoning(Reasoning::Text { text: empty, signature: None });
                let signature = signature.iter().cloned().map(Delta::Signature);
                (opened, halves(text).map(Delta::Reasoning).into_iter().chain(signature).collect())
            }
            Content::Reasoning(Reasoning::Summary { text }) => {
                (Opened::Reasoning(Reasoning::Summary { text: empty }), halves(text).map(Delta::Reasoning).to_vec())
            }
            Content::Reasoning(sealed) => (Opened::Reasoning(sealed.clone()), vec![]),
            Content::ToolCall { id, name, arguments } => {
                let opened = Opened::ToolCall { id: id.clone(), name: name.clone() };
                (opened, halves(&arguments.to_text()).map(Delta::Arguments).to_vec())
            }
            Content::Foreign { kind, raw } => (Opened::Foreign { kind: kind.clone(), raw: raw.clone() }, vec![]),
            other => panic!("no answer holds {other:?}"),
        };
        assembler.open(key, what, &mut out).expect("room");
        for delta in deltas {
            assembler.delta(key, delta, &mut out).expect("of its kind");
        }
        assembler.close(key, &mut out);
    }
    if let Some(finish) = &message.finish {
        assembler.finish(finish.clone(), message.stop_sequence.clone(), &mut out);
    }
    out
}

fn halves(whole: &Text) -> [Text; 2] {
    let letters: Vec<char> = whole.decode().chars().collect();
    let (first, second) = letters.split_at(letters.len() / 2);
    [first, second].map(|half| text(&half.iter().collect::<String>()))
}

fn write_events(events: &[Event], openrouter: bool, reading: Option<&Reading>) -> Vec<String> {
    let mut writer = EventsWriter::new("gen-7".to_owned(), "asked".to_owned(), 5, true, openrouter);
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.push(event, &mut out));
    writer.end(reading, Some(250_000_000_000), Some("default"), &mut out);
    writer.end(reading, None, None, &mut out);
    out.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect()
}

#[test]
fn a_stream_tells_the_whole_answer_and_its_end_in_order() {
    let frames = write_events(&events(&rich()), true, Some(&reading()));
    let chunks: Vec<Value> = frames
        .iter()
        .filter_map(|frame| frame.strip_prefix("data: ")?.strip_suffix("\n\n"))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    for chunk in &chunks {
        assert_eq!(
            (&chunk["id"], &chunk["object"], &chunk["created"], &chunk["model"]),
            (&json!("gen-7"), &json!("chat.completion.chunk"), &json!(5), &json!("maker/model"))
        );
    }
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    let joined = |name: &str| deltas.iter().filter_map(|delta| delta[name].as_str()).collect::<String>();
    assert_eq!((joined("content"), joined("reasoning")), ("it is é so".to_owned(), "hm".to_owned()));
    let annotations: Vec<&Value> = deltas.iter().filter_map(|delta| delta["annotations"].as_array()).flatten().collect();
    assert_eq!(annotations, said()["annotations"].as_array().expect("a list").iter().collect::<Vec<_>>());
    let calls: Vec<(u64, &Value, &Value)> = deltas
        .iter()
        .filter_map(|delta| delta["tool_calls"].as_array())
        .flatten()
        .map(|call| (call["index"].as_u64().expect("a number"), &call["id"], &call["function"]["arguments"]))
        .collect();
    let (none, c1, c2) = (&Value::Null, &json!("c1"), &json!("c2"));
    let arguments = [json!(""), json!("{\"a"), json!("\":1}"), json!("{}")];
    assert_eq!(
        calls,
        [(0, c1, &arguments[0]), (0, none, &arguments[1]), (0, none, &arguments[2]), (1, c2, &arguments[0]), (1, none, &arguments[3])]
    );
    let [.., warning, last, with_usage, done] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(
        warning,
        ": x-waybill-warning content[2]: dropped, a block that chat completions do not have; \
         content[4].citations: dropped, only pages of the web can be cited here\n\n"
    );
    let data = |frame: &str| serde_json::from_str::<Value>(frame.trim_start_matches("data: ")).expect("JSON");
    assert_eq!(
        data(last)["choices"],
        json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls", "native_finish_reason": "tool_use"}])
    );
    assert_eq!((&data(with_usage)["usage"], &data(with_usage)["choices"]), (&usage(), &json!([])));
    assert_eq!(done, "data: [DONE]\n\n");
}

#[test]
fn a_stream_of_nothing_still_begins_and_ends() {
    let frames = write_events(&[], false, None);
    assert_eq!(frames.len(), 3, "{frames:?}");
    assert!(frames[0].contains(r#""delta":{"role":"assistant","content":""}"#) && frames[0].contains(r#""model":"asked""#));
    assert!(frames[1].contains(r#""finish_reason":"stop""#) && !frames[1].contains("native"));
}

fn contents() -> impl Strategy<Value = Content> {
    let words = || prop::sample::select(vec!["a", "two words", "\"quoted\" \\ \n", "é😀\u{2028}", "data: x\n\n"]);
    prop_oneof![
        words().prop_map(super::messages::words),
        words().prop_map(|text| Content::Refusal(Text::new(text))),
        (words(), prop::option::of(words())).prop_map(|(text, signature)| thought(text, signature)),
        words().prop_map(|text| Content::Reasoning(Reasoning::Summary { text: Text::new(text) })),
        words().prop_map(|data| Content::Reasoning(Reasoning::Encrypted { data: Text::new(data) })),
        (0..50_u32, words()).prop_map(|(id, text)| call(&format!("c{id}"), "f", &json!({"a": text, "b": [{}]}).to_string())),
    ]
}

/// Texts that follow one another are one here, and no two calls have one id.
fn messages() -> impl Strategy<Value = Message> {
    let finish = prop::sample::select(vec![Finish::Stop, Finish::Length, Finish::ContentFilter]);
    (prop::collection::vec(contents(), 0..8), finish).prop_map(|(mut contents, finish)| {
        contents
            .dedup_by(|a, b| matches!((a, b), (Content::Text { .. }, Content::Text { .. }) | (Content::Refusal(_), Content::Refusal(_))));
        let mut ids = std::collections::HashSet::new();
        contents.retain(|content| match content {
            Content::ToolCall { id, .. } => ids.insert(id.clone()),
            _ => true,
        });
        let finish = if ids.is_empty() || finish != Finish::Stop { finish } else { Finish::ToolCalls };
        // Two texts may have come together when a call between them left.
        contents
            .dedup_by(|a, b| matches!((a, b), (Content::Text { .. }, Content::Text { .. }) | (Content::Refusal(_), Content::Refusal(_))));
        Message { id: Some(text("gen-7")), ..message(contents, Some(finish)) }
    })
}

proptest! {
    #[test]
    fn a_message_written_as_a_stream_and_cut_anywhere_is_the_same_message(message in messages(), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let frames = write_events(&events(&message), true, Some(&reading()));
        prop_assert_eq!(fold(&read_stream(&frames.concat(), &cuts)), message);
    }

    /// Whole, all thoughts come first, and all calls last.
    #[test]
    fn a_message_written_whole_has_the_same_texts_thoughts_and_calls(message in messages()) {
        let (body, notices) = write_message(&message, &Shown { id: "gen-7", ..Shown::default() });
        prop_assert!(notices.is_empty());
        let found = read_message(&body).expect("an answer");
        prop_assert_eq!((found.id, found.finish), (message.id.clone(), message.finish.clone()));
        let picked = |blocks: &[Block], pick: fn(&Content) -> bool| -> Vec<Content> {
            blocks.iter().map(|block| block.content.clone()).filter(pick).collect()
        };
        let is_thought = |content: &Content| matches!(content, Content::Reasoning(_));
        let is_call = |content: &Content| matches!(content, Content::ToolCall { .. });
        prop_assert_eq!(picked(&found.blocks, is_thought), picked(&message.blocks, is_thought));
        prop_assert_eq!(picked(&found.blocks, is_call), picked(&message.blocks, is_call));
        let texts = |blocks: &[Block]| blocks.iter().filter_map(|block| match &block.content {
            Content::Text { text, .. } => Some(text.decode().into_owned()),
            _ => None,
        }).collect::<String>();
        prop_assert_eq!(texts(&found.blocks), texts(&message.blocks));
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = read_message(&bytes);
        let mut reader = EventsReader::new(64);
        let mut out = Vec::new();
        let _ = reader.push(&bytes, &mut out);
        reader.finish(&mut out);
    }

    #[test]
    fn no_damage_makes_the_readers_panic(message in messages(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let damaged = |text: &[u8]| {
            let mut text = text.to_vec();
            let at = at.index(text.len());
            text[at] = byte;
            Bytes::from(text)
        };
        let (body, _) = write_message(&message, &Shown::default());
        let _ = read_message(&damaged(&body));
        let mut out = Vec::new();
        let mut reader = EventsReader::new(1 << 16);
        let _ = reader.push(&damaged(write_events(&events(&message), true, None).concat().as_bytes()), &mut out);
        reader.finish(&mut out);
    }
}
