use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use crate::anthropic::{read_answer, splice_cost};
use crate::usage::{Reading, UsageFault};

const SPOKEN: &str = r#"[{"type":"text","text":"A \u00e9"}]"#;

fn answer(content: &str, finish: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"model-1","content":{content},"stop_reason":{finish},"usage":{usage}}}"#
    )
}

fn reading(usage: &str) -> Result<Reading, UsageFault> {
    let answer = read_answer(answer(SPOKEN, r#""end_turn""#, usage).as_bytes()).expect("reads");
    match (answer.usage, answer.usage_fault) {
        (Some(reading), None) => Ok(reading),
        (None, Some(fault)) => Err(fault),
        other => panic!("either or: {other:?}"),
    }
}

#[test]
fn usage_falls_into_disjoint_classes() {
    let plain = Reading { input: 10, output: 7, ..Reading::default() };
    let rows = [
        (r#"{"input_tokens":10,"output_tokens":7}"#, plain.clone()),
        (
            r#"{"input_tokens":10,"cache_creation_input_tokens":null,"cache_read_input_tokens":0,"output_tokens":7,"server_tool_use":null}"#,
            plain.clone(),
        ),
        (
            r#"{"input_tokens":10,"cache_creation_input_tokens":50,"cache_read_input_tokens":2441,"output_tokens":7,"service_tier":"standard",
               "cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":30}}"#,
            Reading { cache_read: 2441, cache_write_5m: 20, cache_write_1h: 30, ..plain.clone() },
        ),
        (r#"{"input_tokens":10,"cache_creation_input_tokens":50,"output_tokens":7}"#, Reading { cache_write_5m: 50, ..plain.clone() }),
        (
            r#"{"input_tokens":10,"output_tokens":7,"cache_creation":{"ephemeral_1h_input_tokens":30}}"#,
            Reading { cache_write_1h: 30, ..plain.clone() },
        ),
        (
            r#"{"input_tokens":10,"output_tokens":198,"output_tokens_details":{"thinking_tokens":122}}"#,
            Reading { output: 76, reasoning: 122, ..plain.clone() },
        ),
        (
            r#"{"input_tokens":10,"output_tokens":7,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":9}}"#,
            Reading { searches: 3, ..plain.clone() },
        ),
        (r#"{"input_tokens":10,"output_tokens":7,"cost":0.5}"#, Reading { reported_cost: Some("0.5".into()), ..plain.clone() }),
        // A compaction is billed and not in the totals; the runs of the message itself are.
        (
            r#"{"input_tokens":10,"output_tokens":7,"iterations":[
               {"type":"compaction","input_tokens":600,"output_tokens":50,"cache_creation":{"ephemeral_1h_input_tokens":4}},
               {"type":"message","input_tokens":10,"output_tokens":7}]}"#,
            Reading { input: 610, output: 57, cache_write_1h: 4, ..Reading::default() },
        ),
        (
            r#"{"iterations":[{"input_tokens":2,"output_tokens":1,"type":"advisor_message"}],"input_tokens":10,"output_tokens":7}"#,
            Reading { input: 12, output: 8, ..Reading::default() },
        ),
        (
            r#"{"input_tokens":10,"output_tokens":7,"iterations":[{"type":"message","input_tokens":8,"output_tokens":0},
               {"type":"fallback_message","input_tokens":10,"output_tokens":7}]}"#,
            plain,
        ),
    ];
    for (usage, expected) in rows {
        assert_eq!(reading(usage), Ok(expected), "{usage}");
    }
}

#[test]
fn what_cannot_be_believed_is_no_usage() {
    let rows = [
        ("7", UsageFault::NotAnObject),
        ("{}", UsageFault::Empty),
        (r#"{"cache_read_input_tokens":5}"#, UsageFault::Empty),
        (r#"{"input_tokens":-1,"output_tokens":7}"#, UsageFault::Negative("input_tokens")),
        (r#"{"input_tokens":1.5,"output_tokens":7}"#, UsageFault::NotANumber("input_tokens")),
        (r#"{"input_tokens":1,"output_tokens":"7"}"#, UsageFault::NotANumber("output_tokens")),
        (r#"{"input_tokens":1,"output_tokens":1e30}"#, UsageFault::Absurd("output_tokens")),
        (
            r#"{"input_tokens":1,"output_tokens":1,"iterations":[{"type":"compaction","input_tokens":1000000000000,"output_tokens":1},
               {"type":"compaction","input_tokens":1000000000000,"output_tokens":1}]}"#,
            UsageFault::Absurd("iterations"),
        ),
    ];
    for (usage, fault) in rows {
        assert_eq!(reading(usage), Err(fault), "{usage}");
    }
}

#[test]
fn the_answer_tells_what_it_holds() {
    let usage = r#"{"input_tokens":1,"output_tokens":0,"service_tier":"priority"}"#;
    // (content, stop reason, bytes of text, of thought, of calls, whether it is as good as none)
    let rows = [
        (SPOKEN, r#""end_turn""#, (4, 0, 0), false),
        (r#"[{"type":"thinking","thinking":"hm","signature":"s"}]"#, r#""max_tokens""#, (0, 2, 0), false),
        (r#"[{"type":"tool_use","id":"t","name":"get","input":{"a":1}}]"#, r#""tool_use""#, (0, 0, 10), false),
        (r#"[{"type":"tool_use","id":"t","name":"","input":{}}]"#, r#""tool_use""#, (0, 0, 0), false),
        (r#"[{"type":"redacted_thinking","data":"x"}]"#, r#""end_turn""#, (0, 0, 0), false),
        (r#"[{"type":"web_search_tool_result","content":[]}]"#, r#""end_turn""#, (0, 0, 0), false),
        ("[]", r#""end_turn""#, (0, 0, 0), true),
        ("[]", "null", (0, 0, 0), true),
        (r#"[{"type":"text","text":""}]"#, r#""end_turn""#, (0, 0, 0), true),
        ("[]", r#""refusal""#, (0, 0, 0), false),
    ];
    for (content, finish, (text, thought, calls), empty) in rows {
        let answer = read_answer(answer(content, finish, usage).as_bytes()).expect("reads");
        let output = answer.output;
        assert_eq!((output.text, output.reasoning, output.tool_calls, answer.empty), (text, thought, calls, empty), "{content}");
        assert_eq!((answer.id.as_deref(), answer.model.as_deref()), (Some("msg_1"), Some("model-1")));
        assert_eq!(answer.service_tier.as_deref(), Some("priority"));
        assert_eq!(answer.finish.as_deref(), finish.strip_prefix('"').and_then(|word| word.strip_suffix('"')));
    }
    let error = read_answer(br#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#).expect("reads");
    assert_eq!(error.error_in_body.expect("an error").status, 503);
    assert!(!error.empty);
    assert!(read_answer(b"[]").is_err() && read_answer(b"<html>").is_err() && read_answer(b"{} x").is_err());
}

#[test]
fn the_cost_goes_into_the_usage_and_nothing_else_changes() {
    for (usage, expected, replaced) in [
        (r#"{"input_tokens":1,"output_tokens":2}"#, r#"{"input_tokens":1,"output_tokens":2,"cost":0.0015}"#, None),
        (r#"{"cost": 7 ,"input_tokens":1}"#, r#"{"cost": 0.0015 ,"input_tokens":1}"#, Some("7")),
        ("{}", r#"{"cost":0.0015}"#, None),
        ("null", "null", None),
        ("4", "4", None),
    ] {
        let body = Bytes::from(answer(SPOKEN, "null", usage));
        let read = read_answer(&body).expect("reads");
        let spliced = splice_cost(&body, &read, 1_500_000_000);
        assert_eq!(spliced.body.to_bytes(), answer(SPOKEN, "null", expected), "{usage}");
        assert_eq!(spliced.replaced.as_deref(), replaced.map(str::as_bytes));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_answer(&bytes);
    }

    #[test]
    fn a_dented_answer_stays_json_when_the_cost_goes_in(at in 0usize..400, byte in any::<u8>()) {
        let usage = r#"{"input_tokens":5,"output_tokens":7,"cost":1,"iterations":[{"type":"compaction","input_tokens":1}]}"#;
        let mut body = answer(SPOKEN, r#""end_turn""#, usage).into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let body = Bytes::from(body);
        if let Ok(read) = read_answer(&body) && serde_json::from_slice::<Value>(&body).is_ok() {
            let spliced = splice_cost(&body, &read, 25).body.to_bytes();
            prop_assert!(serde_json::from_slice::<Value>(&spliced).is_ok());
        }
    }

    #[test]
    fn no_count_is_lost_and_none_is_counted_twice(
        input in 0u64..1 << 30, output in 0u64..1 << 30, read in 0u64..1 << 30, five in 0u64..1 << 30, hour in 0u64..1 << 30, thought in 0u64..1 << 30,
    ) {
        let written = five + hour;
        let found = reading(&format!(
            r#"{{"input_tokens":{input},"output_tokens":{output},"cache_read_input_tokens":{read},"cache_creation_input_tokens":{written},
            "cache_creation":{{"ephemeral_1h_input_tokens":{hour},"ephemeral_5m_input_tokens":{five}}},
            "output_tokens_details":{{"thinking_tokens":{thought}}}}}"#
        )).expect("believed");
        prop_assert_eq!((found.total_input(), found.total_output()), (input + read + written, output));
        prop_assert_eq!((found.cache_write_5m, found.cache_write_1h), (five, hour));
    }
}
