//! Streams, both ways.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::answer::{call, message};
use super::parse;
use crate::anthropic::{EventsReader, EventsWriter};
use crate::neutral::{
    Arguments, Assembler, Content, Delta, Disorder, Event, EventKind, Finish, Key, Message, Opened, Raw, Reasoning, Text, fold,
};
use crate::usage::Reading;

fn text(text: &str) -> Text {
    Text::new(text)
}

fn writer() -> EventsWriter {
    EventsWriter::new("gen-1", "a/b", 0, true, false)
}

/// Frames as (event, data), each checked for its form; comments as (`:`, text).
fn frames(out: &[Bytes]) -> Vec<(String, Value)> {
    let frame = |frame: &Bytes| {
        let frame = std::str::from_utf8(frame).expect("UTF-8").strip_suffix("\n\n").expect("a blank line");
        if let Some(comment) = frame.strip_prefix(": ") {
            return (":".to_owned(), Value::from(comment));
        }
        let (event, data) = frame.split_once('\n').expect("two lines");
        let event = event.strip_prefix("event: ").expect("an event");
        let data = parse(data.strip_prefix("data: ").filter(|data| !data.contains(['\n', '\r'])).expect("one line of data"));
        assert_eq!(data["type"], event);
        (event.to_owned(), data)
    };
    out.iter().map(frame).collect()
}

fn written(events: &[Event]) -> Vec<Bytes> {
    let (mut writer, mut out) = (writer(), Vec::new());
    events.iter().for_each(|event| writer.push(event, &mut out));
    writer.end(None, None, None, &mut out);
    out
}

fn read(bytes: &[u8]) -> Result<Vec<Event>, Disorder> {
    let (mut reader, mut out) = (EventsReader::new(1 << 20), Vec::new());
    reader.push(&Bytes::copy_from_slice(bytes), &mut out)?;
    reader.finish(&mut out);
    Ok(out)
}

fn stream(events: &[Value]) -> Vec<u8> {
    let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x"));
    events.iter().map(frame).collect::<String>().into_bytes()
}

/// Events of a whole message, in pieces as small as a letter.
fn told(message: &Message) -> Vec<Event> {
    let (mut assembler, mut out) = (Assembler::new(1 << 20), Vec::new());
    assembler.start(message.id.clone(), message.model.clone(), &mut out);
    for (block, at) in message.blocks.iter().zip(0_u32..) {
        let key = Key::Block(at);
        let pieces = |text: &Text| text.decode().chars().map(|letter| Text::new(&letter.to_string())).collect::<Vec<_>>();
        let (what, deltas): (Opened, Vec<Delta>) = match &block.content {
            Content::Text { text, citations } => {
                let texts = pieces(text).into_iter().map(Delta::Text);
                (Opened::Text, texts.chain(citations.iter().cloned().map(Delta::Citation)).collect())
            }
            Content::ToolCall { id, name, arguments } => (
                Opened::ToolCall { id: id.clone(), name: name.clone() },
                pieces(&arguments.to_text()).into_iter().map(Delta::Arguments).collect(),
            ),
            Content::Reasoning(Reasoning::Text { text, signature }) => (
                Opened::Reasoning(Reasoning::Text { text: Text::default(), signature: None }),
                pieces(text).into_iter().map(Delta::Reasoning).chain(signature.clone().map(Delta::Signature)).collect(),
            ),
            Content::Reasoning(encrypted) => (Opened::Reasoning(encrypted.clone()), vec![]),
            Content::Foreign { kind, raw } => (Opened::Foreign { kind: kind.clone(), raw: raw.clone() }, vec![]),
            other => panic!("not generated: {other:?}"),
        };
        assembler.open(key, what, &mut out).expect("room");
        deltas.into_iter().for_each(|delta| assembler.delta(key, delta, &mut out).expect("open"));
        assembler.close(key, &mut out);
    }
    assembler.finish(message.finish.clone().expect("finished"), message.stop_sequence.clone(), &mut out);
    out
}

#[test]
fn a_stream_of_another_provider_is_written_as_anthropics_clients_read_it() {
    let (mut assembler, mut events) = (Assembler::new(1000), Vec::new());
    assembler.start(Some(text("theirs")), Some(text("m\"")), &mut events);
    let out = &mut events;
    assembler.delta(Key::Thoughts(0), Delta::Reasoning(text("hm")), out).expect("opens");
    assembler.delta(Key::Text, Delta::Text(text("a\n")), out).expect("opens");
    let cited = Raw::written(&br#"{"type":"url_citation","url_citation":{"url":"u"}}"#[..]);
    assembler.delta(Key::Text, Delta::Citation(cited), out).expect("open");
    assembler.delta(Key::Text, Delta::Citation(Raw::written("{}")), out).expect("open");
    let custom = Opened::Foreign { kind: text("custom"), raw: Raw::written("{}") };
    assembler.open(Key::Block(9), custom, out).expect("room");
    assembler.delta(Key::Block(9), Delta::Foreign(Raw::written("{}")), out).expect("open");
    assembler.open(Key::Call(0), Opened::ToolCall { id: text(""), name: text("f") }, out).expect("room");
    assembler.delta(Key::Call(0), Delta::Arguments(text("{\"x\":")), out).expect("open");
    assembler.delta(Key::Call(0), Delta::Arguments(text("1}")), out).expect("open");
    assembler.open(Key::Call(1), Opened::ToolCall { id: text("b"), name: text("g") }, out).expect("room");
    assembler.finish(Finish::Stop, None, out);

    let (mut writer, mut out) = (writer(), Vec::new());
    events.iter().for_each(|event| writer.push(event, &mut out));
    let before_the_end = out.len();
    let reading = Reading { input: 7, output: 3, ..Reading::default() };
    writer.end(Some(&reading), Some(2_000_000_000_000), Some("priority"), &mut out);
    writer.end(None, None, None, &mut out);
    let none = json!({"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": 0});
    let mut usage = none.clone();
    (usage["input_tokens"], usage["output_tokens"], usage["service_tier"], usage["cost"]) =
        (json!(7), json!(3), json!("priority"), json!(2));
    let start = |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u32, kind: &str, name: &str, told: &str| json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, name: told}});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let expected = [
        json!({"type": "message_start", "message": {"id": "gen-1", "type": "message", "role": "assistant", "model": "m\"", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": none}}),
        json!({"type": "ping"}),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, "thinking_delta", "thinking", "hm"),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, "text_delta", "text", "a\n"),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation":
            {"type": "web_search_result_location", "url": "u", "title": null, "cited_text": "", "encrypted_index": ""}}}),
        stop(1),
        start(2, json!({"type": "tool_use", "id": "toolu_gen-1_3", "name": "f", "input": {}})),
        delta(2, "input_json_delta", "partial_json", "{\"x\":"),
        delta(2, "input_json_delta", "partial_json", "1}"),
        stop(2),
        start(3, json!({"type": "tool_use", "id": "b", "name": "g", "input": {}})),
        delta(3, "input_json_delta", "partial_json", "{}"),
        stop(3),
        json!(
            "x-waybill-warning content[1].citations: dropped, Anthropic has no such citation; \
            content[2]: dropped, Anthropic's answers have no such content"
        ),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ];
    let found: Vec<Value> = frames(&out).into_iter().map(|(_, data)| data).collect();
    assert_eq!(found, expected);
    assert_eq!(before_the_end, expected.len() - 3, "only the end waits");
}

#[test]
fn an_end_comes_whatever_came_before() {
    let mut started = Vec::new();
    let mut assembler = Assembler::new(100);
    assembler.delta(Key::Text, Delta::Text(text("x")), &mut started).expect("opens");
    let rows: [(&[Event], &[&str]); 2] = [
        (&[], &["message_start", "ping", "message_delta", "message_stop"]),
        (
            &started,
            &["message_start", "ping", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"],
        ),
    ];
    for (events, expected) in rows {
        let found = frames(&written(events));
        assert_eq!(found.iter().map(|(event, _)| event.as_str()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_stream_of_anthropics_is_read_event_by_event() {
    let start = |block: Value| vec![json!({"type": "content_block_start", "index": 0, "content_block": block})];
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let with = |mut events: Vec<Value>, more: Vec<Value>| {
        events.extend(more);
        events.push(json!({"type": "content_block_stop", "index": 0}));
        events
    };
    let fragment = |text: &str| delta(json!({"type": "input_json_delta", "partial_json": text}));
    let tool = |input: Value| start(json!({"type": "tool_use", "id": "a", "name": "f", "input": input}));
    let arguments = |told: &str| call("a", Arguments::Text(text(told)));
    let search = json!({"type": "server_tool_use", "id": "s", "name": "w", "input": {}});
    let search_raw = Raw::written(search.to_string().into_bytes());
    let rows = [
        (
            with(
                start(json!({"type": "text", "text": ""})),
                vec![delta(json!({"type": "text_delta", "text": "a"})), delta(json!({"type": "text_delta", "text": "b"}))],
            ),
            Content::text(text("ab")),
        ),
        (
            with(
                start(json!({"type": "text", "text": "a", "citations": [{"x": 1}]})),
                vec![delta(json!({"type": "citations_delta", "citation": {"y": 2}})), delta(json!({"type": "of_tomorrow"}))],
            ),
            Content::Text { text: text("a"), citations: vec![Raw::written(r#"{"x":1}"#), Raw::written(r#"{"y":2}"#)] },
        ),
        (with(tool(json!({})), vec![fragment(""), fragment("{\"x\":"), fragment("1}")]), arguments("{\"x\":1}")),
        (with(tool(json!({})), vec![]), arguments("")),
        (with(tool(json!({"x": 1})), vec![]), arguments("{\"x\":1}")),
        (with(tool(json!({"x": 1})), vec![fragment(""), fragment("{\"x\":1}")]), arguments("{\"x\":1}")),
        (
            with(
                start(json!({"type": "thinking", "thinking": "", "signature": ""})),
                vec![
                    delta(json!({"type": "thinking_delta", "thinking": "hm"})),
                    delta(json!({"type": "signature_delta", "signature": "sig"})),
                ],
            ),
            Content::Reasoning(Reasoning::Text { text: text("hm"), signature: Some(text("sig")) }),
        ),
        (
            with(start(json!({"type": "redacted_thinking", "data": "xx"})), vec![]),
            Content::Reasoning(Reasoning::Encrypted { data: text("xx") }),
        ),
        (with(start(search.clone()), vec![fragment("{\"q\":1}")]), Content::Foreign { kind: text("server_tool_use"), raw: search_raw }),
    ];
    for (block, content) in rows {
        let mut events = vec![
            json!({"type": "message_start", "message": {"id": "msg", "model": "claude", "usage": {"input_tokens": 1}}}),
            json!({"type": "ping"}),
        ];
        events.extend(block);
        events.extend([
            json!({"type": "of_tomorrow", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 2}}),
            json!({"type": "message_stop"}),
        ]);
        let mut expected = message(vec![content], Some(Finish::Stop));
        (expected.id, expected.model) = (Some(text("msg")), Some(text("claude")));
        assert_eq!(fold(&read(&stream(&events)).expect("in order")), expected, "{events:?}");
    }
}

#[test]
fn a_foreign_block_passes_with_what_is_added_to_it() {
    let search = json!({"type": "server_tool_use", "id": "s", "name": "w", "input": {}});
    let grown = json!({"type": "input_json_delta", "partial_json": "{\"q\":1}"});
    let events = [
        json!({"type": "message_start", "message": {}}),
        json!({"type": "content_block_start", "index": 0, "content_block": search}),
        json!({"type": "content_block_delta", "index": 0, "delta": grown}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_stop"}),
    ];
    let found = frames(&written(&read(&stream(&events)).expect("in order")));
    assert_eq!(found[2].1["content_block"], search);
    assert_eq!(found[3].1["delta"], grown);
}

#[test]
fn the_end_is_told_once_and_only_if_it_came() {
    let begin = vec![json!({"type": "message_start", "message": {}})];
    let reason = json!({"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}});
    let stop = json!({"type": "message_stop"});
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "x"}});
    let met = Some((Finish::StopSequence, Some(text("END"))));
    let rows = [
        (vec![], None),
        (vec![error], None),
        (vec![reason.clone()], met.clone()),
        (vec![reason.clone(), stop.clone()], met.clone()),
        (vec![reason, stop.clone(), stop.clone()], met),
        (vec![stop], Some((Finish::Stop, None))),
    ];
    for (more, expected) in rows {
        let events = read(&stream(&[begin.clone(), more.clone()].concat())).expect("in order");
        let ends: Vec<_> = events
            .iter()
            .filter_map(|event| match event.kind() {
                EventKind::Finish { finish, stop_sequence } => Some((finish.clone(), stop_sequence.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(ends, expected.into_iter().collect::<Vec<_>>(), "{more:?}");
    }
}

#[test]
fn disorder_is_told() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let frame = |data: &str| format!("data: {data}\n\n");
    let grows = |index: u32, kind: &str, name: &str| {
        frame(&format!(r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{name}":"x"}}}}"#))
    };
    let rows = [
        (frame(start) + &grows(0, "text_delta", "text"), Ok(())),
        (frame(start) + &grows(0, "thinking_delta", "thinking"), Err(Disorder::Misplaced)),
        (frame(start) + &grows(1, "text_delta", "text"), Err(Disorder::Misplaced)),
        (
            frame(r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"","input":{}}}"#),
            Err(Disorder::Misplaced),
        ),
        (frame("no json") + &frame("[1]") + &frame("{}") + ": c\n\n", Ok(())),
        (format!("data: {}", "x".repeat(1 << 20)), Err(Disorder::TooMuch { limit: 1 << 20 })),
    ];
    for (stream, outcome) in rows {
        assert_eq!(read(stream.as_bytes()).map(|_| ()), outcome, "{}", stream.get(..200).unwrap_or(&stream));
    }
    let mut broken = frame(start).into_bytes();
    broken.extend_from_slice(
        b"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\xff\"}}\n\n",
    );
    let message = fold(&read(&broken).expect("what is no UTF-8 costs nobody the answer"));
    assert_eq!(message.blocks.first().map(|block| block.content.clone()), Some(Content::text(text("\u{fffd}"))));
}

#[test]
fn a_value_that_spans_lines_stays_in_its_line() {
    let frame = "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"x_tool_result\",\ndata: \"content\":[1,\ndata: 2]}}\n\n";
    let found = frames(&written(&read(frame.as_bytes()).expect("in order")));
    assert_eq!(found[2].1["content_block"], json!({"type": "x_tool_result", "content": [1, 2]}));
}

fn content() -> impl Strategy<Value = Content> {
    let word = || prop_oneof!["[a-z\"\\\\\n]{1,8}", Just("ü\u{1F600}".to_owned())].prop_map(|word| Text::new(&word));
    let arguments = prop_oneof![Just("{\"a\":[{\"b\":\"}\"}]}"), Just("{}"), Just("not json")];
    prop_oneof![
        (word(), prop::bool::ANY).prop_map(|(text, cites)| {
            let citation = Raw::written(&br#"{"type":"char_location","x":"\u00fc"}"#[..]);
            Content::Text { text, citations: if cites { vec![citation] } else { vec![] } }
        }),
        (word(), prop::option::of(word())).prop_map(|(text, signature)| Content::Reasoning(Reasoning::Text { text, signature })),
        word().prop_map(|data| Content::Reasoning(Reasoning::Encrypted { data })),
        (word(), word(), arguments).prop_map(|(id, name, arguments)| Content::ToolCall {
            id,
            name,
            arguments: Arguments::Text(Text::new(arguments))
        }),
        Just(Content::Foreign { kind: text("search_result"), raw: Raw::written(&br#"{"type":"search_result","content":[]}"#[..]) }),
    ]
}

proptest! {
    #[test]
    fn a_message_survives_the_stream_in_any_cut(
        contents in prop::collection::vec(content(), 0..6),
        finish in prop::sample::select(vec![Finish::Length, Finish::ToolCalls, Finish::Pause, Finish::Refusal]),
        sequence in prop::option::of(Just(Text::new("\n"))),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let mut expected = message(contents, Some(finish));
        expected.stop_sequence = sequence;
        let stream = written(&told(&expected)).concat();
        (expected.id, expected.model) = (Some(text("gen-1")), Some(text("a/b")));
        let stream = Bytes::from(String::from_utf8(stream).expect("UTF-8").replace('\n', line_end));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let (mut reader, mut events) = (EventsReader::new(1 << 20), Vec::new());
        for pair in cuts.windows(2) {
            reader.push(&stream.slice(pair[0]..pair[1]), &mut events).expect("in order");
        }
        reader.finish(&mut events);
        prop_assert_eq!(fold(&events), expected);
    }

    #[test]
    fn no_bytes_panic_the_reader(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
        let (mut reader, mut out) = (EventsReader::new(100), Vec::new());
        for chunk in chunks {
            let _ = reader.push(&Bytes::from(chunk), &mut out);
        }
        reader.finish(&mut out);
    }

    /// A stream that is broken in one place reaches deeper than bytes at random; what comes out of it can be written.
    #[test]
    fn no_broken_stream_panics(contents in prop::collection::vec(content(), 1..4), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut stream = written(&told(&message(contents, Some(Finish::Stop)))).concat();
        let at = at.index(stream.len());
        stream[at] = with;
        let (mut reader, mut events) = (EventsReader::new(1 << 20), Vec::new());
        let _ = reader.push(&Bytes::from(stream), &mut events);
        reader.finish(&mut events);
        frames(&written(&events));
    }
}
