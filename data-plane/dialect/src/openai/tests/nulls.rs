use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use crate::openai::Stream;
use crate::stream::StreamOptions;

const OMIT: StreamOptions = StreamOptions { n: 1, show_usage: true, omit_nulls: true, frame_bytes: 1 << 20 };

/// All that a client sees of a stream that came in these pieces, with `cost` if one is given.
fn shown(pieces: &[&str], options: StreamOptions, cost: Option<i64>) -> String {
    let (mut stream, mut out) = (Stream::new(options), Vec::new());
    for piece in pieces {
        stream.push(&Bytes::copy_from_slice(piece.as_bytes()), &mut out).expect("within limits");
    }
    stream.finish(&mut out);
    stream.release(cost, &mut out);
    String::from_utf8(out.concat()).expect("text")
}

fn without_nulls(text: &str) -> String {
    shown(&[text], OMIT, None)
}

#[test]
fn null_members_are_cut_with_one_comma() {
    // (payload, what is left of it)
    let rows: &[(&str, &str)] = &[
        (r#"{"id":"a","usage":null}"#, r#"{"id":"a"}"#),
        (r#"{"usage":null,"id":"a"}"#, r#"{"id":"a"}"#),
        (r#"{"id":"a","usage":null,"choices":[]}"#, r#"{"id":"a","choices":[]}"#),
        (r#"{"usage":null}"#, "{}"),
        (r#"{"system_fingerprint":null,"usage":null}"#, "{}"),
        (r#"{"usage":null,"system_fingerprint":null,"id":"a"}"#, r#"{"id":"a"}"#),
        (r#"{"id":"a","usage":null,"system_fingerprint":null}"#, r#"{"id":"a"}"#),
        (r#"{"id":"a","usage":null,"system_fingerprint":null,"x":1}"#, r#"{"id":"a","x":1}"#),
        (r#"{"usage":null,"id":"a","system_fingerprint":null}"#, r#"{"id":"a"}"#),
        (r#" { "usage" : null , "id" : "a" } "#, r#" {  "id" : "a" } "#),
        (r#"{ "id" : "a" , "usage" : null , "x" : 1 }"#, r#"{ "id" : "a"  , "x" : 1 }"#),
        (r#"{ "id" : "a" , "usage" : null }"#, r#"{ "id" : "a"  }"#),
        (r#"{ "usage" : null , "system_fingerprint" : null , "x":1}"#, r#"{   "x":1}"#),
        // What is not null, not at the top or not of these names stays.
        (r#"{"id":"a","usage":{},"system_fingerprint":"fp"}"#, r#"{"id":"a","usage":{},"system_fingerprint":"fp"}"#),
        (r#"{"choices":[{"usage":null}],"x":{"usage":null}}"#, r#"{"choices":[{"usage":null}],"x":{"usage":null}}"#),
        (r#"{"id":",\"usage\":null","service_tier":null}"#, r#"{"id":",\"usage\":null","service_tier":null}"#),
        (r#"["usage",null]"#, r#"["usage",null]"#),
        (r#"{"usage":null"#, r#"{"usage":null"#),
    ];
    for (before, after) in rows {
        for (head, tail) in [("data: ", "\n\n"), ("data:", "\r\n\r\n"), (": note\nid: 1\ndata: ", "\n\n"), ("\u{feff}data: ", "\r\r")] {
            let (text, expected) = (format!("{head}{before}{tail}"), format!("{head}{after}{tail}"));
            assert_eq!(without_nulls(&text), expected, "{before}");
            assert_eq!(shown(&[&text], StreamOptions::default(), None), text);
        }
    }
}

#[test]
fn frames_that_are_held_back_are_cut_too() {
    let word = r#"data: {"choices":[{"delta":{"content":"x"}}],"usage":null}"#;
    let usage = r#"data: {"system_fingerprint":null,"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let error = r#"data: {"usage":null,"error":{"message":"it broke"}}"#;
    let text = [word, usage, r#"data: {"usage":null}"#, word, error, usage, "data: [DONE]", ""].join("\n\n");
    let cut = |text: &str| text.replace(r#","usage":null"#, "").replace(r#""usage":null,"#, "").replace(r#""usage":null"#, "");
    let cut = |text: &str| cut(text).replace(r#""system_fingerprint":null,"#, "");
    assert_eq!(without_nulls(&text), cut(&text));
    let (before, last) = text.rsplit_once("2}}").expect("usage");
    let with_cost = format!("{before}2,\"cost\":0.000000000005}}}}{last}");
    assert_eq!(shown(&[&text], OMIT, Some(5)), cut(&with_cost));
}

#[test]
fn data_over_several_lines_is_cut() {
    // (frame, what is left of it)
    let rows = [
        ("data: {\"id\":1,\ndata: \"usage\":null}\n\n", "data: {\"id\":1}\n\n"),
        ("\u{feff}data: {\"usage\":\ndata: null,\ndata: \"id\":1}\n\n", "\u{feff}data: {\ndata: \"id\":1}\n\n"),
        ("event: message\ndata: {\"usage\":null\ndata: ,\"id\":1}\n\n", "event: message\ndata: {\"id\":1}\n\n"),
    ];
    for (before, after) in rows {
        assert_eq!(without_nulls(before), after);
        assert_eq!(shown(&[before], StreamOptions::default(), None), before);
    }
}

#[test]
fn what_stays_are_slices_of_what_came() {
    let frame = "data: {\"id\":\"a\",\"usage\":null}\n\n";
    let chunk = Bytes::from(frame.repeat(3));
    let mut out = Vec::new();
    Stream::new(OMIT).push(&chunk, &mut out).expect("fits");
    let memory = chunk.as_ptr_range();
    assert!(out.iter().all(|piece| memory.contains(&piece.as_ptr())));
    // The end of a frame and the beginning of the next one leave together.
    assert_eq!(out.len(), 4);
}

const MEMBERS: [&str; 5] = [
    r#""usage"~:~null"#,
    r#""system_fingerprint"~:~null"#,
    r#""id"~:~"a""#,
    r#""service_tier"~:~null"#,
    r#""choices"~:~[{"delta":{"content":",\"usage\":null"}}]"#,
];

/// Some of the members in any order, with white space around every token.
fn any_object() -> impl Strategy<Value = String> {
    let members = prop::sample::subsequence(MEMBERS.to_vec(), 0..=MEMBERS.len()).prop_shuffle();
    let blank = prop::sample::select(vec!["", " ", "\t "]);
    (members, blank).prop_map(|(members, blank)| format!("{{~{}~}}", members.join("~,~")).replace('~', blank))
}

proptest! {
    #[test]
    fn cut_anywhere_only_the_nulls_are_gone(objects in prop::collection::vec(any_object(), 1..5), cut in any::<prop::sample::Index>()) {
        let text: String = objects.iter().map(|object| format!("data: {object}\n\n")).collect();
        let (first, second) = text.split_at(cut.index(text.len()));
        let after = shown(&[first, second], OMIT, None);
        prop_assert_eq!(&after, &without_nulls(&text));
        let left: Vec<Value> =
            after.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).expect("valid")).collect();
        let expected: Vec<Value> = objects.iter().map(|object| {
            let mut value: Value = serde_json::from_str(object).expect("valid");
            if let Some(members) = value.as_object_mut() {
                members.retain(|name, value| !value.is_null() || !matches!(name.as_str(), "usage" | "system_fingerprint"));
            }
            value
        }).collect();
        prop_assert_eq!(left, expected);
    }
}
