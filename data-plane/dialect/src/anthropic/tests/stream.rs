use bytes::Bytes;
use proptest::prelude::*;

use crate::anthropic::Stream;
use crate::error::ErrorType;
use crate::stream::{Ending, FrameTooLarge, Step, StreamOptions};
use crate::usage::{Reading, UsageFault};

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"model-1","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1,"service_tier":"standard"}}}"#;
const BLOCK: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const PING: &str = r#"{"type":"ping"}"#;
const WORD: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"river \"usage\":{} é"}}"#;
const STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
const DELTA: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}"#;
const END: &str = r#"{"type":"message_stop"}"#;
const ERROR: &str = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

fn event(data: &str) -> String {
    let kind = data.split('"').nth(3).unwrap_or_default();
    format!("event: {kind}\ndata: {data}\n\n")
}

fn text(events: &[&str]) -> String {
    events.iter().map(|data| event(data)).collect()
}

fn joined(pieces: &[Bytes]) -> String {
    String::from_utf8(pieces.concat()).expect("UTF-8")
}

/// Feeds the pieces; gives what passed, then the machine.
fn fed(pieces: &[&str]) -> (String, Stream) {
    let (mut stream, mut out) = (Stream::new(StreamOptions::default()), Vec::new());
    for piece in pieces {
        stream.push(&Bytes::copy_from_slice(piece.as_bytes()), &mut out).expect("within limits");
    }
    (joined(&out), stream)
}

fn released(stream: &mut Stream, cost: Option<i64>) -> (String, Option<Bytes>) {
    let mut out = Vec::new();
    let replaced = stream.release(cost, &mut out);
    (joined(&out), replaced)
}

#[test]
fn the_end_is_held_until_it_is_released_with_the_cost() {
    let (mut stream, mut out) = (Stream::new(StreamOptions::default()), Vec::new());
    let mut push = |stream: &mut Stream, data: &str| stream.push(&Bytes::from(event(data)), &mut out).expect("within limits");
    for data in [START, PING, BLOCK] {
        assert_eq!(push(&mut stream, data), Step::More);
        assert!(!stream.output_started(), "{data}");
    }
    for data in [WORD, STOP] {
        assert_eq!(push(&mut stream, data), Step::More);
        assert!(stream.output_started() && stream.usage().is_none());
    }
    assert_eq!(push(&mut stream, DELTA), Step::Holding);
    assert_eq!(push(&mut stream, PING), Step::Holding);
    assert_eq!(push(&mut stream, END), Step::Done);
    assert_eq!(joined(&out), text(&[START, PING, BLOCK, WORD, STOP]));
    let expected = Reading { input: 10, cache_read: 5, cache_write_5m: 10, cache_write_1h: 20, output: 7, ..Reading::default() };
    assert_eq!((stream.usage(), stream.usage_fault()), (Some(&expected), None));
    assert_eq!((stream.id(), stream.model(), stream.finish_reason()), (Some("msg_1"), Some("model-1"), Some("end_turn")));
    assert_eq!((stream.service_tier(), stream.output().text), (Some("standard"), 19));
    assert_eq!(stream.usage_raw().map(|raw| &**raw), Some(&br#"{"output_tokens":7}"#[..]));
    assert_eq!(stream.ending(), Ending::Complete);
    let (end, replaced) = released(&mut stream, Some(1_500_000_000));
    let priced = DELTA.replace(r#""output_tokens":7}"#, r#""output_tokens":7,"cost":0.0015}"#);
    assert_eq!((end, replaced), (text(&[&priced, PING, END]), None));
    // Afterwards nothing passes.
    let mut late = Vec::new();
    assert_eq!(stream.push(&Bytes::from(event(WORD)), &mut late), Ok(Step::Done));
    assert!(late.is_empty());
}

#[test]
fn usage_is_what_was_told_last() {
    let delta = |usage: &str| format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"tool_use"}},"usage":{usage}}}"#);
    let base = Reading { input: 10, cache_read: 5, cache_write_5m: 10, cache_write_1h: 20, output: 9, ..Reading::default() };
    let rows = [
        (r#"{"output_tokens":9}"#, Ok(base.clone())),
        (r#"{"input_tokens":null,"output_tokens":9}"#, Ok(base.clone())),
        (
            r#"{"input_tokens":61,"cache_read_input_tokens":0,"output_tokens":9,"server_tool_use":{"web_search_requests":2}}"#,
            Ok(Reading { input: 61, cache_read: 0, searches: 2, ..base.clone() }),
        ),
        (r#"{"cache_creation_input_tokens":30,"output_tokens":9}"#, Ok(base.clone())),
        (
            r#"{"cache_creation_input_tokens":100,"output_tokens":9}"#,
            Ok(Reading { cache_write_5m: 80, cache_write_1h: 20, ..base.clone() }),
        ),
        (r#"{"cache_creation_input_tokens":15,"output_tokens":9}"#, Ok(Reading { cache_write_5m: 0, cache_write_1h: 15, ..base.clone() })),
        (r#"{"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}"#, Ok(Reading { output: 5, reasoning: 4, ..base.clone() })),
        (r#"{"output_tokens":-1}"#, Err(UsageFault::Negative("output_tokens"))),
        ("[]", Err(UsageFault::NotAnObject)),
    ];
    for (usage, expected) in rows {
        let (_, stream) = fed(&[&text(&[START, WORD, &delta(usage), END])]);
        let found = stream.usage().cloned().ok_or_else(|| stream.usage_fault().cloned().expect("a fault"));
        assert_eq!(found, expected, "{usage}");
    }
    // A prefix that lives one hour goes on doing so when more of it is written.
    let hours = START.replace(r#""ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20"#, r#""ephemeral_1h_input_tokens":30"#);
    let (_, stream) = fed(&[&text(&[&hours, WORD, &delta(r#"{"cache_creation_input_tokens":70,"output_tokens":9}"#)])]);
    assert_eq!(stream.usage(), Some(&Reading { cache_write_5m: 0, cache_write_1h: 70, ..base.clone() }));
    // Usage that is told on the way passes, and the last one stands.
    let running = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":3}}"#;
    let (passed, stream) = fed(&[&text(&[START, START, running, WORD, &delta(r#"{"output_tokens":9}"#)])]);
    assert_eq!((passed, stream.usage()), (text(&[START, START, running, WORD]), Some(&base)));
}

#[test]
fn a_stream_that_breaks_off_has_told_its_input() {
    let (_, stream) = fed(&[&text(&[START, WORD])]);
    let input = Reading { input: 10, cache_read: 5, cache_write_5m: 10, cache_write_1h: 20, ..Reading::default() };
    assert_eq!((stream.usage(), stream.input_told()), (None, Some(input)));
    assert_eq!(fed(&[&text(&[PING])]).1.input_told(), None);
}

#[test]
fn a_stream_ends_in_one_of_three_ways() {
    let rows: &[(&[&str], Ending)] = &[
        (&[START, WORD, DELTA, END], Ending::Complete),
        (&[START, WORD, DELTA], Ending::Complete),
        (&[START, WORD, END], Ending::Complete),
        (&[START, WORD], Ending::Truncated),
        (&[], Ending::Truncated),
        (&[START, WORD, ERROR], Ending::Failed),
        (&[ERROR], Ending::Failed),
    ];
    for (events, ending) in rows {
        let (_, mut stream) = fed(&[&text(events)]);
        assert_eq!(stream.finish(&mut Vec::new()), *ending, "{events:?}");
    }
}

#[test]
fn an_error_is_held_and_judged() {
    let (passed, mut stream) = fed(&[&text(&[START, WORD, ERROR])]);
    assert_eq!(passed, text(&[START, WORD]));
    let error = stream.error().expect("an error");
    assert_eq!((error.status, error.error_type, &*error.message), (503, ErrorType::ProviderOverloaded, "Overloaded"));
    assert_eq!((stream.usage(), stream.usage_fault()), (None, None));
    assert_eq!(released(&mut stream, Some(1)).0, event(ERROR));
    for broken in ["event: error\ndata: it broke\n\n", "event: error\ndata: {\"message\":\"it broke\"}\n\n"] {
        let (passed, stream) = fed(&[broken]);
        assert_eq!((&*passed, stream.ending()), ("", Ending::Failed), "{broken}");
        assert_eq!(stream.error().expect("an error").message, "it broke");
    }
}

#[test]
fn each_kind_of_output_counts() {
    let block = |inner: &str| format!(r#"{{"type":"content_block_start","index":0,"content_block":{{{inner}}}}}"#);
    let delta = |inner: &str| format!(r#"{{"type":"content_block_delta","index":0,"delta":{{{inner}}}}}"#);
    // (event, bytes of text, of thought, of calls, whether output has begun)
    let rows = [
        (block(r#""type":"text","text":"""#), (0, 0, 0), false),
        (block(r#""type":"thinking","thinking":"","signature":"""#), (0, 0, 0), false),
        (block(r#""type":"tool_use","id":"t","name":"get","input":{}"#), (0, 0, 3), true),
        (block(r#""type":"server_tool_use","id":"t","name":"web_search","input":{}"#), (0, 0, 10), true),
        (block(r#""type":"redacted_thinking","data":"xx""#), (0, 0, 0), true),
        (block(r#""type":"web_search_tool_result","content":[]"#), (0, 0, 0), true),
        (delta(r#""type":"text_delta","text":"\n\u00e9""#), (3, 0, 0), true),
        (delta(r#""type":"thinking_delta","thinking":"hm""#), (0, 2, 0), true),
        (delta(r#""type":"input_json_delta","partial_json":"{\"a\"""#), (0, 0, 4), true),
        (delta(r#""type":"signature_delta","signature":"abc""#), (0, 0, 0), false),
        (delta(r#""type":"citations_delta","citation":{"cited_text":"x"}"#), (0, 0, 0), false),
        (delta(r#""type":"compaction_delta","content":"sum""#), (0, 0, 0), true),
        (PING.to_owned(), (0, 0, 0), false),
    ];
    for (data, bytes, started) in rows {
        let (_, stream) = fed(&[&event(&data)]);
        let output = stream.output();
        assert_eq!(((output.text, output.reasoning, output.tool_calls), stream.output_started()), (bytes, started), "{data}");
    }
}

#[test]
fn silence_is_no_answer_unless_it_has_a_reason() {
    let ended = |reason: &str, output: u64| {
        format!(r#"{{"type":"message_delta","delta":{{"stop_reason":{reason}}},"usage":{{"output_tokens":{output}}}}}"#)
    };
    for (delta, empty) in [
        (ended(r#""end_turn""#, 0), true),
        (ended("null", 0), true),
        (ended(r#""end_turn""#, 3), false),
        (ended(r#""refusal""#, 0), false),
        (ended(r#""max_tokens""#, 0), false),
        (ERROR.to_owned(), false),
    ] {
        assert_eq!(fed(&[&text(&[START, PING, &delta, END])]).1.is_empty(), empty, "{delta}");
    }
}

#[test]
fn output_after_what_seemed_the_end_goes_on() {
    let (passed, mut stream) = fed(&[&text(&[START, WORD, DELTA, BLOCK, WORD, DELTA, END])]);
    assert_eq!(passed, text(&[START, WORD, DELTA, BLOCK, WORD]));
    assert!(released(&mut stream, Some(5)).0.starts_with("event: message_delta\n"));
}

#[test]
fn what_is_no_event_passes_untouched() {
    let odd = ": note\n\nretry: 5\n\ndata: {broken\n\ndata:\n\n";
    let (passed, stream) = fed(&[odd]);
    assert_eq!((&*passed, stream.malformed_frames(), stream.ending()), (odd, 2, Ending::Truncated));
    let (passed, mut stream) = fed(&[&text(&[START, WORD, DELTA]), odd, &event(END)]);
    assert_eq!(passed, text(&[START, WORD]));
    let (end, _) = released(&mut stream, None);
    assert_eq!(end, format!("{}{odd}{}", event(DELTA), event(END)));
    // Data in several lines keeps its meaning when the cost goes in.
    let lines =
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\ndata: \"usage\":{}}\n\n";
    let (_, mut stream) = fed(&[lines]);
    let (end, _) = released(&mut stream, Some(2_000_000_000_000));
    assert_eq!(end, lines.replace("{}}", "{\"cost\":2}}"));
}

#[test]
fn a_providers_own_cost_gives_way() {
    let delta = DELTA.replace(r#""output_tokens":7}"#, r#""output_tokens":7,"cost":0.25}"#);
    let (_, mut stream) = fed(&[&text(&[START, WORD, &delta, END])]);
    assert_eq!(stream.usage().and_then(|usage| usage.reported_cost.as_deref()), Some("0.25"));
    let (end, replaced) = released(&mut stream, Some(1_000_000_000_000));
    assert_eq!((end, replaced.as_deref()), (text(&[&delta.replace("0.25", "1"), END]), Some(&b"0.25"[..])));
}

#[test]
fn frames_and_what_is_held_have_a_limit() {
    let options = StreamOptions { frame_bytes: 600, ..StreamOptions::default() };
    let too_large = Err(FrameTooLarge { limit: 600 });
    let mut stream = Stream::new(options);
    assert_eq!(stream.push(&Bytes::from("x".repeat(601)), &mut Vec::new()), too_large);
    let mut stream = Stream::new(options);
    assert_eq!(stream.push(&Bytes::from(text(&[WORD; 20])), &mut Vec::new()), Ok(Step::More));
    assert_eq!(stream.push(&Bytes::from(text(&[DELTA])), &mut Vec::new()), Ok(Step::Holding));
    assert_eq!(stream.push(&Bytes::from(text(&[PING; 30])), &mut Vec::new()), too_large);
}

fn shown(pieces: &[&[u8]]) -> (Vec<u8>, Stream) {
    let (mut stream, mut out) = (Stream::new(StreamOptions::default()), Vec::new());
    for piece in pieces {
        stream.push(&Bytes::copy_from_slice(piece), &mut out).expect("within limits");
    }
    stream.finish(&mut out);
    stream.release(Some(3_000_000_000_000), &mut out);
    (out.concat(), stream)
}

proptest! {
    #[test]
    fn the_cut_does_not_matter(cuts in prop::collection::vec(0usize..1400, 0..12), crlf in any::<bool>()) {
        let whole = text(&[START, PING, BLOCK, WORD, STOP, DELTA, END]);
        let whole = if crlf { whole.replace('\n', "\r\n") } else { whole };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % whole.len()).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).filter_map(|pair| whole.as_bytes().get(pair[0]..pair[1])).collect();
        let ((one, at_once), (many, in_pieces)) = (shown(&[whole.as_bytes()]), shown(&pieces));
        prop_assert_eq!(String::from_utf8(many), String::from_utf8(one));
        prop_assert_eq!((at_once.usage(), at_once.output(), at_once.ending()), (in_pieces.usage(), in_pieces.output(), in_pieces.ending()));
    }

    #[test]
    fn arbitrary_bytes_pass_as_they_came(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let (out, _) = shown(&[first, second]);
        prop_assert_eq!(out, bytes);
    }

    #[test]
    fn a_dented_stream_never_panics(at in 0usize..1400, byte in any::<u8>(), cut in 0usize..1400) {
        let mut whole = text(&[START, PING, BLOCK, WORD, STOP, DELTA, ERROR, END]).into_bytes();
        let (at, cut) = (at % whole.len(), cut % whole.len());
        whole[at] = byte;
        let (first, second) = whole.split_at(cut);
        let (out, _) = shown(&[first, second]);
        prop_assert!(out.len() <= whole.len() + r#","cost":3"#.len() + 64);
    }
}
