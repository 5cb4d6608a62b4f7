use bytes::Bytes;
use proptest::prelude::*;

use crate::error::ErrorType;
use crate::openai::Stream;
use crate::stream::{Ending, Step, StreamOptions};
use crate::usage::{Reading, UsageFault};

const ROLE: &str =
    r#"{"id":"c-1","model":"model-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const WORD: &str = r#"{"id":"c-1","choices":[{"index":0,"delta":{"content":"river \"usage\":{}"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;
const STOP_AND_USAGE: &str =
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"cost":1.5}}"#;
const RUNNING: &str =
    r#"{"choices":[{"index":0,"delta":{"content":"on"},"finish_reason":null}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;
const NULLS: &str = r#"{"usage":null,"choices":[{"delta":{},"finish_reason":null}], "system_fingerprint": null}"#;
const ERROR: &str = r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502,"message":"it broke"}}"#;

fn frames(payloads: &[&str]) -> String {
    payloads.iter().map(|payload| format!("data: {payload}\n\n")).collect()
}

/// A stream run to its end.
struct Run {
    passed: String,
    released: String,
    ending: Ending,
    steps: Vec<Step>,
    stream: Stream,
}

fn run(text: &[u8], options: StreamOptions, cost: Option<i64>, cuts: &[usize]) -> Run {
    let all = Bytes::copy_from_slice(text);
    let mut stream = Stream::new(options);
    let (mut out, mut steps, mut at) = (Vec::new(), Vec::new(), 0);
    for end in cuts.iter().copied().chain([all.len()]) {
        let end = end.clamp(at, all.len());
        steps.push(stream.push(&all.slice(at..end), &mut out).expect("within limits"));
        at = end;
    }
    let ending = stream.finish(&mut out);
    let passed = String::from_utf8_lossy(&out.concat()).into_owned();
    out.clear();
    stream.release(cost, &mut out);
    let released = String::from_utf8_lossy(&out.concat()).into_owned();
    Run { passed, released, ending, steps, stream }
}

fn whole(text: &str) -> Run {
    run(text.as_bytes(), StreamOptions::default(), None, &[])
}

fn counted(input: u64, output: u64) -> Option<Reading> {
    Some(Reading { input, output, ..Reading::default() })
}

#[test]
fn the_terminal_part_is_held_until_it_is_released() {
    let head = format!(": padding\n\n{}", frames(&[ROLE, WORD, STOP]));
    let tail = frames(&[USAGE, "[DONE]"]);
    let found = whole(&format!("{head}{tail}"));
    assert_eq!((found.passed, found.released), (head, tail));
    assert_eq!((found.ending, found.steps.as_slice()), (Ending::Complete, [Step::Done].as_slice()));
    assert_eq!(found.stream.usage().cloned(), counted(7, 3));
    assert_eq!(found.stream.usage_raw().map(|raw| &raw[..1]), Some(b"{".as_slice()));
    assert_eq!((found.stream.id(), found.stream.model(), found.stream.finish_reason()), (Some("c-1"), Some("model-1"), Some("stop")));
    assert_eq!(found.stream.output().bytes(), 16);
}

#[test]
fn the_steps_tell_when_the_end_begins() {
    let text = frames(&[ROLE, WORD, STOP, USAGE, "[DONE]"]);
    let mut ends: Vec<usize> = text.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    ends.pop();
    let found = run(text.as_bytes(), StreamOptions::default(), None, &ends);
    assert_eq!(found.steps, [Step::More, Step::More, Step::More, Step::Holding, Step::Done]);
}

#[test]
fn the_cost_goes_into_the_last_usage_that_is_held() {
    // (payloads, released with cost 5)
    let with_cost = USAGE.replace("\"total_tokens\":10}", "\"total_tokens\":10,\"cost\":0.000000000005}");
    let replaced = STOP_AND_USAGE.replace("1.5", "0.000000000005");
    let rows: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (vec![WORD, STOP, USAGE, "[DONE]"], vec![&with_cost, "[DONE]"]),
        (vec![WORD, STOP, USAGE], vec![&with_cost]),
        (vec![WORD, STOP_AND_USAGE, "[DONE]"], vec![&replaced, "[DONE]"]),
        (vec![WORD, STOP_AND_USAGE, USAGE, "[DONE]"], vec![STOP_AND_USAGE, &with_cost, "[DONE]"]),
        (vec![WORD, STOP, "[DONE]"], vec!["[DONE]"]),
        (vec![RUNNING, STOP, "[DONE]"], vec!["[DONE]"]),
    ];
    for (payloads, expected) in rows {
        let text = frames(&payloads);
        let found = run(text.as_bytes(), StreamOptions::default(), Some(5), &[]);
        assert_eq!(found.released, frames(&expected), "{payloads:?}");
        assert_eq!(found.ending, Ending::Complete);
    }
    let mut stream = Stream::new(StreamOptions::default());
    let mut out = Vec::new();
    stream.push(&Bytes::from(frames(&[STOP_AND_USAGE])), &mut out).expect("fits");
    assert_eq!(stream.release(Some(5), &mut out).as_deref(), Some(b"1.5".as_slice()));
}

#[test]
fn a_frame_of_nothing_but_usage_is_dropped_when_it_was_not_asked_for() {
    let hidden = StreamOptions { show_usage: false, ..StreamOptions::default() };
    let keeps_null = frames(&[r#"{"choices":[],"usage":null,"prompt_filter_results":[]}"#, WORD]);
    for (tail, expected) in [
        (frames(&[STOP, USAGE, "[DONE]"]), frames(&[STOP, "[DONE]"])),
        (frames(&[STOP_AND_USAGE, "[DONE]"]), frames(&[STOP_AND_USAGE, "[DONE]"])),
    ] {
        let found = run(format!("{keeps_null}{tail}").as_bytes(), hidden, None, &[]);
        assert_eq!(found.passed + &found.released, format!("{keeps_null}{expected}"));
        assert_eq!(found.stream.usage().map(|usage| usage.output), Some(3));
    }
}

#[test]
fn running_usage_passes_and_the_last_count_stands() {
    let text = frames(&[RUNNING, RUNNING, USAGE, RUNNING, STOP_AND_USAGE]);
    let found = whole(&text);
    // The early end was none: it is let go when output follows.
    assert_eq!(found.passed, frames(&[RUNNING, RUNNING, USAGE, RUNNING]));
    assert_eq!(found.released, frames(&[STOP_AND_USAGE]));
    assert_eq!(found.stream.usage().map(|usage| (usage.input, usage.output)), Some((7, 3)));
}

#[test]
fn usage_is_final_only_when_every_answer_has_finished() {
    let options = StreamOptions { n: 2, ..StreamOptions::default() };
    let other = WORD.replace("\"index\":0", "\"index\":1");
    let found = run(frames(&[STOP_AND_USAGE, &other, STOP_AND_USAGE]).as_bytes(), options, None, &[]);
    assert_eq!(found.passed, frames(&[STOP_AND_USAGE, &other]));
    assert_eq!((found.ending, found.released), (Ending::Complete, frames(&[STOP_AND_USAGE])));
    assert_eq!(run(frames(&[STOP]).as_bytes(), options, None, &[]).ending, Ending::Truncated);
}

#[test]
fn usage_in_groqs_place_counts_and_takes_no_cost() {
    let frame =
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":4,"completion_tokens":2}}}"#;
    let found = run(frames(&[WORD, frame, "[DONE]"]).as_bytes(), StreamOptions::default(), Some(5), &[]);
    assert_eq!(found.stream.usage().cloned(), counted(4, 2));
    assert_eq!(found.released, frames(&[frame, "[DONE]"]));
}

#[test]
fn errors_are_held_judged_and_end_the_stream() {
    let event = "event: error\ndata: {\"error\":{\"message\":\"bad call\",\"type\":\"invalid_request_error\",\"code\":\"tool_use_failed\",\"status_code\":400}}\n\n";
    let rows: Vec<(String, ErrorType)> = vec![
        (frames(&[ERROR]), ErrorType::ProviderUnavailable),
        (frames(&[ERROR, USAGE, "[DONE]"]), ErrorType::ProviderUnavailable),
        (event.to_owned(), ErrorType::InvalidRequest),
        (frames(&[r#"{"error":{"code":429,"message":"slow down"}}"#]), ErrorType::RateLimitExceeded),
        (frames(&[r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#]), ErrorType::ProviderUnavailable),
        ("event: error\ndata: it broke\n\n".to_owned(), ErrorType::ProviderUnavailable),
    ];
    for (tail, error_type) in rows {
        let head = frames(&[ROLE, WORD]);
        let found = whole(&format!("{head}{tail}"));
        assert_eq!((found.passed, found.released), (head, tail.clone()));
        assert_eq!((found.ending, found.stream.error().map(|error| error.error_type)), (Ending::Failed, Some(error_type)), "{tail}");
    }
    let found = whole(&frames(&[ERROR, USAGE, "[DONE]"]));
    assert_eq!(found.stream.usage().cloned(), counted(7, 3));
    assert!(!found.stream.output_started());
}

#[test]
fn a_cut_stream_is_known_from_a_complete_one() {
    let rows: &[(&[&str], Ending)] = &[
        (&[], Ending::Truncated),
        (&[ROLE, WORD], Ending::Truncated),
        (&[RUNNING], Ending::Truncated),
        (&[ROLE, WORD, STOP], Ending::Complete),
        (&[WORD, USAGE], Ending::Complete),
        (&[WORD, "[DONE]"], Ending::Complete),
    ];
    for (payloads, ending) in rows {
        assert_eq!(whole(&frames(payloads)).ending, *ending, "{payloads:?}");
    }
    assert!(whole(&frames(&["[DONE]"])).stream.is_empty());
    assert!(whole(&frames(&[ROLE])).stream.is_empty());
    assert!(!whole(&frames(&[WORD])).stream.is_empty());
    assert!(whole(&frames(&[STOP])).stream.is_empty());
    assert!(!whole(&frames(&[&STOP.replace("\"stop\"", "\"length\"")])).stream.is_empty());
}

#[test]
fn line_endings_comments_and_fields_pass_as_they_came() {
    let lf =
        format!(": hi\n\nid: 1\nretry: 5\ndata:{ROLE}\n\n\n\ndata: {WORD}\n\ndata\n\nevent: message\ndata: {USAGE}\n\ndata: [DONE]\n\n");
    for text in [lf.clone(), lf.replace('\n', "\r\n"), lf.replace('\n', "\r"), format!("\u{feff}data: {WORD}\n\n{lf}")] {
        let found = whole(&text);
        assert_eq!(format!("{}{}", found.passed, found.released), text);
        assert_eq!(found.stream.usage().cloned(), counted(7, 3), "{text:?}");
        assert!(found.stream.output_started());
        assert_eq!(found.ending, Ending::Complete);
    }
}

#[test]
fn a_last_frame_without_its_blank_line_counts() {
    for end in ["", "\n", "\r", "\r\n", "\r\n\r"] {
        let text = format!("{}data: {STOP_AND_USAGE}{end}", frames(&[WORD]));
        let found = whole(&text);
        assert_eq!((found.passed + &found.released, found.ending), (text, Ending::Complete), "{end:?}");
        assert_eq!(found.stream.usage().map(|usage| usage.output), Some(3));
    }
}

#[test]
fn data_over_several_lines_is_one_payload() {
    let text = "event: message\ndata: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1,\ndata:\"completion_tokens\":2}}\n\n";
    let found = run(text.as_bytes(), StreamOptions::default(), Some(5), &[]);
    assert_eq!(found.stream.usage().cloned(), counted(1, 2));
    let expected = "event: message\ndata: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1,\ndata: \"completion_tokens\":2,\"cost\":0.000000000005}}\n\n";
    assert_eq!(found.released, expected);
    assert_eq!(whole(text).released, text);
}

#[test]
fn one_malformed_frame_does_not_end_a_stream() {
    let text = frames(&[WORD, "{\"choices\":[", "<html>", WORD, USAGE, "[DONE]"]);
    let found = whole(&text);
    assert_eq!((found.passed + &found.released, found.ending, found.stream.malformed_frames()), (text, Ending::Complete, 2));
}

#[test]
fn a_lying_count_is_refused_by_name() {
    let lie = USAGE.replace(":7", ":-7");
    let found = whole(&frames(&[WORD, STOP, &lie, "[DONE]"]));
    assert_eq!((found.stream.usage(), found.stream.usage_fault()), (None, Some(&UsageFault::Negative("prompt_tokens"))));
}

#[test]
fn all_kinds_of_output_are_counted() {
    let rows: &[(&str, u64, u64, u64)] = &[
        (r#"{"content":"h\u00e9\n"}"#, 4, 0, 0),
        (r#"{"reasoning":"abc","reasoning_details":[{"type":"reasoning.text","text":"abc"}]}"#, 0, 3, 0),
        (r#"{"reasoning_content":"abcd","content":null}"#, 0, 4, 0),
        (r#"{"tool_calls":[{"index":0,"id":"call","function":{"name":"go","arguments":"{\"a\""}}]}"#, 0, 0, 6),
        (r#"{"refusal":"no"}"#, 2, 0, 0),
        (r#"{"content":[{"type":"text","text":"xy"}]}"#, 2, 0, 0),
        (r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hmm"}]},{"type":"text","text":"xy"}]}"#, 2, 3, 0),
        (r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"AAAA"}]}"#, 0, 0, 0),
    ];
    for (delta, text, reasoning, tool_calls) in rows {
        let payload = format!(r#"{{"choices":[{{"message":{{"content":"all so far"}},"delta":{delta}}}]}}"#);
        let output = whole(&frames(&[&payload])).stream.output();
        assert_eq!((output.text, output.reasoning, output.tool_calls), (*text, *reasoning, *tool_calls), "{delta}");
    }
}

#[test]
fn a_frame_and_what_is_held_have_a_limit() {
    let options = StreamOptions { frame_bytes: 300, ..StreamOptions::default() };
    let mut stream = Stream::new(options);
    let mut out = Vec::new();
    let fault = stream.push(&Bytes::from(format!("data: {}", "x".repeat(400))), &mut out).expect_err("too large");
    assert_eq!(fault.limit, 300);
    let mut stream = Stream::new(options);
    stream.push(&Bytes::from(frames(&[USAGE])), &mut out).expect("fits");
    assert!((0..10).any(|_| stream.push(&Bytes::from_static(b": a comment that never ends the waiting\n\n"), &mut out).is_err()));
}

#[test]
fn nothing_passes_after_the_release() {
    let mut stream = Stream::new(StreamOptions::default());
    let mut out = Vec::new();
    stream.push(&Bytes::from(frames(&[WORD, "[DONE]", WORD])), &mut out).expect("fits");
    stream.release(None, &mut out);
    let before = out.concat();
    assert_eq!(before, frames(&[WORD, "[DONE]"]).as_bytes());
    assert_eq!(stream.output().bytes(), 16);
    stream.push(&Bytes::from(frames(&[WORD])), &mut out).expect("fits");
    stream.finish(&mut out);
    assert_eq!(out.concat(), before);
}

#[test]
fn frames_that_pass_are_slices_of_what_came() {
    let chunk = Bytes::from(frames(&[ROLE, WORD, WORD, STOP]));
    let mut out = Vec::new();
    Stream::new(StreamOptions::default()).push(&chunk, &mut out).expect("fits");
    assert_eq!((out.len(), out[0].as_ptr(), out[0].len()), (1, chunk.as_ptr(), chunk.len()));
}

/// Any mix of frames, endings and noise.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::sample::select(vec![ROLE, WORD, STOP, USAGE, STOP_AND_USAGE, RUNNING, ERROR, NULLS, "[DONE]", "{", "", "7"]);
    let frame = prop_oneof![
        8 => payload.prop_map(|payload| format!("data: {payload}\n\n").into_bytes()),
        1 => prop::sample::select(vec![": note\n\n", "event: error\n", "id: 7\n", "\n", "\r", "data:\n", "data: {\"a\":\ndata: 1}\n\n", "data: {\"a\":1,\ndata: \"usage\":null}\n\n"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    (prop::collection::vec(frame, 0..12), prop::sample::select(vec!["\n", "\r\n", "\r"])).prop_map(|(frames, ending)| {
        let bytes = frames.concat();
        let mut out = Vec::new();
        for byte in bytes {
            if byte == b'\n' { out.extend_from_slice(ending.as_bytes()) } else { out.push(byte) }
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn cut_anywhere_a_stream_is_the_same(
        text in any_stream(),
        mut cuts in prop::collection::vec(0usize..1500, 0..12),
        show_usage in any::<bool>(),
        omit_nulls in any::<bool>(),
        n in 1u32..3,
        cost in prop::option::of(0i64..1000),
    ) {
        cuts.sort_unstable();
        let options = StreamOptions { n, show_usage, omit_nulls, ..StreamOptions::default() };
        let uncut = run(&text, options, cost, &[]);
        let cut = run(&text, options, cost, &cuts);
        prop_assert_eq!(&uncut.passed, &cut.passed);
        prop_assert_eq!(&uncut.released, &cut.released);
        prop_assert_eq!(uncut.ending, cut.ending);
        prop_assert_eq!(uncut.stream.usage(), cut.stream.usage());
        prop_assert_eq!(uncut.stream.output(), cut.stream.output());
        prop_assert_eq!(uncut.stream.error(), cut.stream.error());
        if show_usage && !omit_nulls && cost.is_none() {
            let (shown, text) = (uncut.passed + &uncut.released, String::from_utf8_lossy(&text));
            // Nothing is shown that came after the end.
            prop_assert!(text.starts_with(&shown), "{} of {}", shown, text);
            prop_assert!(shown == text || text.contains("[DONE]"), "{} of {}", shown, text);
        }
    }
}
